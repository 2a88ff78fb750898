// A worker on Azure Storage Queue: node azure.mjs "CONNECTION STRING" [QUEUE]

import { QueueClient } from "@azure/storage-queue";

import { Inbox, LEASE_S, Poison, isDead, pause, retryDelayMs, stopSignal } from "./inbox.mjs";

const [IDLE_FIRST_MS, IDLE_MAX_MS] = [100, 5000];

const [connectionString, name = "webhooks"] = process.argv.slice(2);
const queue = new QueueClient(connectionString, name);
const poison = new QueueClient(connectionString, `${name}-poison`);
const inbox = new Inbox("work.db");
const stopping = stopSignal();

for (let idleMs = IDLE_FIRST_MS; !stopping.aborted; ) {
  let found = [];
  try {
    found = (await queue.receiveMessages({ numberOfMessages: 1, visibilityTimeout: LEASE_S })).receivedMessageItems;
    for (const message of found) await handle(message);
  } catch (error) {
    // Also while the daemon hasn't made the queue yet.
    console.error(`queue: ${error.message.split("\n")[0]}; trying again`);
  }
  idleMs = found.length ? IDLE_FIRST_MS : Math.min(idleMs * 2, IDLE_MAX_MS);
  if (!found.length) await pause(idleMs, stopping);
}

/** Work that takes longer than LEASE_S renews it with updateMessage. */
async function handle(message) {
  const attempt = message.dequeueCount;
  try {
    inbox.handle(decode(message.messageText));
  } catch (error) {
    if (!isDead(message.messageId, attempt, error)) {
      const delay = Math.round(retryDelayMs(attempt) / 1000);
      await queue.updateMessage(message.messageId, message.popReceipt, message.messageText, delay);
      return;
    }
    // Safe among the dead letters before it is deleted. A crash in between leaves it in both.
    await bury(message.messageText);
  }
  try {
    await queue.deleteMessage(message.messageId, message.popReceipt);
  } catch (error) {
    if (error.statusCode !== 404) throw error;
    // The lease was lost: another worker has it, and the inbox knows what is done.
    console.error(`${message.messageId}: its lease was over`);
  }
}

/** Buffer.from would skip what isn't base64. */
function decode(text) {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new Poison("not base64");
  return bytes;
}

async function bury(text) {
  await poison.createIfNotExists();
  await poison.sendMessage(text, { messageTimeToLive: -1 });
}
