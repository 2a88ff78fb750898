"""What all three workers have in common: each event's work is done once, and a failed one is tried again.

Workers get a message at least once. The inbox remembers the messageIds that are done, in the database and in the
transaction of the work itself: a worker that is killed has done both or neither.
"""

import base64
import json
import os
import random
import sqlite3

ATTEMPTS_MAX = int(os.environ.get("ATTEMPTS_MAX", "5"))
RETRY_FIRST_S = float(os.environ.get("RETRY_FIRST_S", "1"))
RETRY_MAX_S = 60.0
# How long a message is ours before another worker gets it, on NATS and Azure.
LEASE_S = int(os.environ.get("LEASE_S", "30"))


class Poison(Exception):
    """A message that no further attempt can mend."""


class Inbox:
    def __init__(self, path):
        # One message at a time, whichever thread it is on.
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS done (message_id TEXT PRIMARY KEY) WITHOUT ROWID")
        self.db.execute("CREATE TABLE IF NOT EXISTS orders (number TEXT, receiver TEXT, body BLOB)")

    def handle(self, payload):
        """Does a message's work unless it is done; raises Poison, or whatever the work raises."""
        message = read(payload)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            new = self.db.execute("INSERT OR IGNORE INTO done VALUES (?)", (message["messageId"],)).rowcount
            if new:
                work(self.db, message)
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise


def work(db, message):
    """Yours. Whatever it does through `db` is done once; pass messageId on as an idempotency key elsewhere."""
    number = message["data"]["order"]
    db.execute("INSERT INTO orders VALUES (?, ?, ?)", (number, message["receiver"], body_of(message)))


def read(payload):
    try:
        message = json.loads(payload)
        version, _ = message["version"], message["messageId"]
    except (ValueError, TypeError, KeyError) as error:
        raise Poison(f"not a WebHookQueueContext: {error!r}") from error
    if version != 1:
        raise Poison(f"version {version} of the message is newer than this worker")
    return message


def body_of(message):
    """The body as bytes. Of JSON only with `raw_body = true` the sender's very own spelling."""
    if "bodyBase64" in message:
        return base64.b64decode(message["bodyBase64"])
    if "body" in message:  # a form
        return message["body"].encode()
    data = message["data"]
    if data is None:  # an empty body; a bare JSON null comes as bodyBase64
        return b""
    return data.encode() if isinstance(data, str) else json.dumps(data).encode()


def retry_delay_s(attempt):
    """A random part of 1 s after the first failure, of 2 s after the second, and so on."""
    return random.uniform(0.5, 1) * min(RETRY_FIRST_S * 2 ** min(attempt - 1, 20), RETRY_MAX_S)
