// Reads CloudEvents, one a line from standard input, with the CloudEvents SDK for JavaScript.
//
// Prints one line per event: what the SDK says of it.
import { createInterface } from "node:readline";

import { HTTP } from "cloudevents";

function described(data) {
  if (data === undefined || data === null) return { kind: "none" };
  // The SDK gives an element a byte, in an array of 32-bit numbers.
  if (ArrayBuffer.isView(data)) return { kind: "bytes", base64: Buffer.from(Uint8Array.from(data)).toString("base64") };
  if (typeof data === "string") return { kind: "text", base64: Buffer.from(data).toString("base64") };
  return { kind: "json", value: data };
}

for await (const body of createInterface({ input: process.stdin })) {
  const event = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json; charset=utf-8" }, body });
  event.validate();
  console.log(
    JSON.stringify({
      specversion: event.specversion,
      id: event.id,
      type: event.type,
      source: event.source,
      subject: event.subject ?? null,
      timeMs: Date.parse(event.time),
      datacontenttype: event.datacontenttype ?? null,
      delivery: event.sluiceddeliveryid ?? null,
      data: described(event.data),
    }),
  );
}
