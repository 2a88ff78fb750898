// A worker on NATS JetStream: node nats.mjs nats://host

import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, nanos } from "@nats-io/transport-node";

import { Inbox, LEASE_S, isDead, pause, retryDelayMs, stopSignal } from "./inbox.mjs";

const [STREAM, DEAD_STREAM] = ["WEBHOOKS", "WEBHOOKS_DEAD"];
// A stream with work-queue retention has one consumer for all workers, those of `sluiced work` too.
const CONSUMER = "sluiced";
const ACK_WAIT_MS = LEASE_S * 1000;

const [servers] = process.argv.slice(2);
const inbox = new Inbox("work.db");
const stopping = stopSignal();

while (!stopping.aborted) {
  try {
    await consume();
  } catch (error) {
    // Also while the daemon hasn't made the stream yet.
    console.error(`broker: ${error.message}; trying again`);
    await pause(1000, stopping);
  }
}

async function consume() {
  const connection = await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 500, pingInterval: 10_000 });
  try {
    const js = jetstream(connection);
    await prepare(await jetstreamManager(connection));
    const consumer = await js.consumers.get(STREAM, CONSUMER);
    while (!stopping.aborted) {
      const message = await consumer.next({ expires: 1000 });
      if (message) await handle(js, message);
    }
  } finally {
    await connection.close();
  }
}

/** What exists is used as it is: adding a consumer that exists would change it. */
async function prepare(manager) {
  const absent = (error) => {
    if (error.code !== 10059 && error.code !== 10014) throw error;
    return null;
  };
  if (!(await manager.streams.info(DEAD_STREAM).catch(absent))) {
    await manager.streams.add({ name: DEAD_STREAM, subjects: ["webhooks-dead.>"] });
  }
  if (!(await manager.consumers.info(STREAM, CONSUMER).catch(absent))) {
    const options = { durable_name: CONSUMER, ack_policy: AckPolicy.Explicit, ack_wait: nanos(ACK_WAIT_MS) };
    await manager.consumers.add(STREAM, options);
  }
}

async function handle(js, message) {
  const attempt = message.info.deliveryCount;
  const id = message.headers?.get("Nats-Msg-Id") || "?";
  // The server waits ACK_WAIT_MS for an answer; work that takes longer, and awaits, stays ours until it is done.
  const working = setInterval(() => message.working(), ACK_WAIT_MS / 3);
  try {
    inbox.handle(message.data);
  } catch (error) {
    if (!isDead(id, attempt, error)) return message.nak(retryDelayMs(attempt));
    await bury(js, message, id, attempt, error);
  } finally {
    clearInterval(working);
  }
  if (!(await message.ackAck())) throw new Error("an acknowledgement wasn't confirmed");
}

/** Safe among the dead letters before it is acknowledged; the sequence number makes a repeated burial none. */
async function bury(js, message, id, attempt, error) {
  const copy = headers();
  for (const [name, values] of message.headers ?? []) for (const value of values) copy.append(name, value);
  copy.set("Nats-Msg-Id", `${id}/dead-${message.seq}`);
  copy.set("sluiced-dead-reason", error.message.replace(/\s+/g, " "));
  copy.set("sluiced-dead-attempts", String(attempt));
  const subject = message.subject.replace(/^[^.]*\./, "webhooks-dead.");
  await js.publish(subject, message.data, { headers: copy });
}
