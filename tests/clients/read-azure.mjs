// Takes everything out of an Azure Storage queue with Azure's own client, and prints one message per line as JSON.
//
//     read-azure.mjs CONNECTION_STRING QUEUE QUIET_SECONDS
//
// Ends when nothing has come for so long. The queue's text is base64 of what was sent, as Azure Functions expect it.

import { QueueClient } from "@azure/storage-queue";

const [connectionString, name, quiet] = process.argv.slice(2);
const queue = new QueueClient(connectionString, name);
let lastCame = Date.now();
while (Date.now() - lastCame < Number(quiet) * 1000) {
  const { receivedMessageItems } = await queue.receiveMessages({ numberOfMessages: 32, visibilityTimeout: 300 });
  if (receivedMessageItems.length > 0) lastCame = Date.now();
  else await new Promise((resolve) => setTimeout(resolve, 100));
  await Promise.all(
    receivedMessageItems.map(async (message) => {
      const line = {
        body: message.messageText,
        id: null,
        // What is accepted is stored; there is no other kind.
        persistent: true,
        expiresOn: message.expiresOn,
        headers: {},
      };
      process.stdout.write(JSON.stringify(line) + "\n");
      await queue.deleteMessage(message.messageId, message.popReceipt);
    }),
  );
}
