"""A worker on Azure Storage Queue: python azure_queue.py "CONNECTION STRING" [QUEUE]"""

import base64
import binascii
import signal
import sys
import threading

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient

from inbox import ATTEMPTS_MAX, LEASE_S, Inbox, Poison, retry_delay_s

IDLE_FIRST_S, IDLE_MAX_S = 0.1, 5.0


def main(connection_string, name):
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    # No decode policy: one that fails would fail the whole page, for ever.
    queue = QueueClient.from_connection_string(connection_string, name)
    poison = QueueClient.from_connection_string(connection_string, f"{name}-poison")
    # Work that takes longer than LEASE_S renews it with update_message.
    inbox, idle_s = Inbox("work.db"), IDLE_FIRST_S
    while not stopping.is_set():
        try:
            found = list(queue.receive_messages(visibility_timeout=LEASE_S, max_messages=1))
            for message in found:
                handle(queue, poison, message, inbox)
        except AzureError as error:
            # Also while the daemon hasn't made the queue yet.
            print(f"queue: {error.message.splitlines()[0]}; trying again", file=sys.stderr)
            found = []
        idle_s = IDLE_FIRST_S if found else min(idle_s * 2, IDLE_MAX_S)
        if not found:
            stopping.wait(idle_s)


def handle(queue, poison, message, inbox):
    attempt = message.dequeue_count
    try:
        inbox.handle(decode(message.content))
    except Exception as error:
        dead = isinstance(error, Poison) or attempt >= ATTEMPTS_MAX
        print(f"{message.id} attempt {attempt}: {error!r}{', dead' if dead else ''}", file=sys.stderr)
        if not dead:
            queue.update_message(message, visibility_timeout=round(retry_delay_s(attempt)))
            return
        # Safe among the dead letters before it is deleted. A crash in between leaves it in both.
        bury(poison, message.content)
    try:
        queue.delete_message(message)
    except ResourceNotFoundError:
        # The lease was lost: another worker has it, and the inbox knows what is done.
        print(f"{message.id}: its lease was over", file=sys.stderr)


def decode(content):
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Poison(f"not base64: {error}") from error


def bury(poison, content):
    try:
        poison.send_message(content, time_to_live=-1)
    except ResourceNotFoundError:
        try:
            poison.create_queue()
        except ResourceExistsError:
            pass
        poison.send_message(content, time_to_live=-1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "webhooks")
