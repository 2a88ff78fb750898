// What all three workers have in common: each event's work is done once, and a failed one is tried again.
//
// Workers get a message at least once. The inbox remembers the messageIds that are done, in the database and in
// the transaction of the work itself: a worker that is killed has done both or neither.

import { DatabaseSync } from "node:sqlite";

export const ATTEMPTS_MAX = Number(process.env.ATTEMPTS_MAX ?? 5);
const RETRY_FIRST_MS = Number(process.env.RETRY_FIRST_S ?? 1) * 1000;
const RETRY_MAX_MS = 60_000;
/** How long a message is ours before another worker gets it, on NATS and Azure. */
export const LEASE_S = Number(process.env.LEASE_S ?? 30);

/** A message that no further attempt can mend. */
export class Poison extends Error {}

export class Inbox {
  constructor(path) {
    this.db = new DatabaseSync(path);
    this.db.exec(`PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS done (message_id TEXT PRIMARY KEY) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS orders (number TEXT, receiver TEXT, body BLOB);`);
    this.note = this.db.prepare("INSERT OR IGNORE INTO done VALUES (?)");
  }

  /** Does a message's work unless it is done; throws Poison, or whatever the work throws. */
  handle(payload) {
    const message = read(payload);
    this.db.exec("BEGIN IMMEDIATE");
    try {
      if (this.note.run(message.messageId).changes) work(this.db, message);
      this.db.exec("COMMIT");
    } catch (error) {
      this.db.exec("ROLLBACK");
      throw error;
    }
  }
}

/** Yours. Whatever it does through `db` is done once; pass messageId on as an idempotency key elsewhere. */
function work(db, message) {
  const number = message.data?.order;
  if (number === undefined) throw new Error("there is no order in it");
  const body = bodyOf(message);
  db.prepare("INSERT INTO orders VALUES (?, ?, ?)").run(String(number), message.receiver, body);
}

function read(payload) {
  let message;
  try {
    message = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch (error) {
    throw new Poison(`not a WebHookQueueContext: ${error.message}`);
  }
  if (typeof message?.messageId !== "string") throw new Poison("not a WebHookQueueContext: no messageId");
  if (message.version !== 1) throw new Poison(`version ${message.version} is newer than this worker`);
  return message;
}

/** The body as bytes. Of JSON only with `raw_body = true` the sender's very own spelling. */
export function bodyOf(message) {
  if (message.bodyBase64 !== undefined) return Buffer.from(message.bodyBase64, "base64");
  if (message.body !== undefined) return Buffer.from(message.body); // a form
  if (message.data === null) return Buffer.alloc(0); // a bare JSON null comes as bodyBase64
  return Buffer.from(typeof message.data === "string" ? message.data : JSON.stringify(message.data));
}

/** A random part of 1 s after the first failure, of 2 s after the second, and so on. */
export function retryDelayMs(attempt) {
  const longest = Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempt - 1, 20), RETRY_MAX_MS);
  return longest * (0.5 + Math.random() / 2);
}

/** Aborted by SIGTERM and SIGINT. */
export function stopSignal() {
  const stopping = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"]) process.once(name, () => stopping.abort());
  return stopping.signal;
}

/** Waits so long, or until the worker is stopped. */
export function pause(ms, stopping) {
  return new Promise((done) => {
    if (stopping.aborted) return done();
    const timer = setTimeout(finish, ms);
    function finish() {
      clearTimeout(timer);
      stopping.removeEventListener("abort", finish);
      done();
    }
    stopping.addEventListener("abort", finish);
  });
}

/** Says what became of an attempt; true if the message is a dead letter now. */
export function isDead(id, attempt, error) {
  const dead = error instanceof Poison || attempt >= ATTEMPTS_MAX;
  console.error(`${id} attempt ${attempt}: ${error.message}${dead ? ", dead" : ""}`);
  return dead;
}
