// A worker on RabbitMQ: node rabbitmq.mjs amqp://user:password@host [QUEUE]

import amqp from "amqplib";

import { Inbox, isDead, pause, retryDelayMs, stopSignal } from "./inbox.mjs";

// Messages that wait here for their next attempt count too.
const PREFETCH = 32;

const [url, queue = "webhooks"] = process.argv.slice(2);
const inbox = new Inbox("work.db");
const stopping = stopSignal();

while (!stopping.aborted) {
  try {
    await consume();
  } catch (error) {
    // Also while the daemon hasn't made the queue yet.
    console.error(`broker: ${error.message}; trying again`);
  }
  await pause(1000, stopping);
}

async function consume() {
  const connection = await amqp.connect(url, { timeout: 10_000 });
  const lost = new Promise((_, fail) => {
    connection.on("error", fail);
    connection.on("close", () => fail(new Error("the connection is closed")));
  });
  lost.catch(() => {});
  try {
    const channel = await connection.createChannel();
    const failed = new Promise((_, fail) => {
      channel.on("error", fail);
      channel.on("close", () => fail(new Error("the channel is closed")));
    });
    failed.catch(() => {});
    await channel.prefetch(PREFETCH);
    const cancelled = new Promise((_, fail) => {
      const take = (message) => (message ? handle(channel, message) : fail(new Error("the queue is gone")));
      channel.consume(queue, take).catch(fail);
    });
    const stopped = new Promise((done) => stopping.addEventListener("abort", done, { once: true }));
    await Promise.race([stopped, lost, failed, cancelled]);
  } finally {
    // What isn't acknowledged goes back into the queue.
    await connection.close().catch(() => {});
  }
}

function handle(channel, message) {
  if (stopping.aborted) return;
  // A quorum queue counts. `sluiced work`, which puts a failed message back as a new one, counts itself.
  const attempt = 1 + (message.properties.headers?.["x-delivery-count"] ?? 0);
  try {
    inbox.handle(message.content);
  } catch (error) {
    if (isDead(message.properties.messageId, attempt, error)) {
      // By the queue's x-dead-letter-exchange to the queue webhooks.dead. A queue without one DELETES it.
      channel.nack(message, false, false);
    } else {
      setTimeout(() => attemptAgain(channel, message), retryDelayMs(attempt)).unref();
    }
    return;
  }
  channel.ack(message);
}

function attemptAgain(channel, message) {
  try {
    channel.nack(message, false, true);
  } catch {
    // The channel is closed, and with that the message is back in the queue.
  }
}
