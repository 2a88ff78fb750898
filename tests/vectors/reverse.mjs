// The other way round: the libraries of sdk.mjs verify what `sluiced send` signs. Usage: reverse.mjs BINARY [ROW…]

import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { once } from "node:events";
import { promisify } from "node:util";

import { CASES } from "./sdk.mjs";

const [binary, ...wanted] = process.argv.slice(2);
const run = promisify(execFile);

/** Headers under any spelling of their names, as the libraries' callers write them. */
const anyCase = (headers) =>
  new Proxy(headers, { get: (all, name) => (typeof name === "string" ? all[name.toLowerCase()] : all[name]) });

/** What `sluiced send` posts. */
async function sent(row, secret) {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const received = once(server, "request").then(async ([request, response]) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    response.end();
    return { headers: request.headers, body: Buffer.concat(chunks).toString() };
  });
  const to = `http://127.0.0.1:${server.address().port}`;
  try {
    await run(binary, ["send", row, "--to", to, "--secret", `text:${secret}`]);
    return await received;
  } finally {
    server.close();
  }
}

let failed = 0;
for (const [row, make] of Object.entries(CASES)) {
  if (row.endsWith(" ") || (wanted.length && !wanted.includes(row))) continue;
  // Only Discord and Wix have their private keys; Plivo signs the URL, which is another here.
  if (["discord-events", "plivo", "wix"].includes(row)) continue;
  const made = await make();
  const { headers, body } = await sent(row, made.secret);
  let verdict;
  try {
    verdict = (await made.verify(anyCase(headers), body)) !== false;
  } catch (error) {
    verdict = error.message;
  }
  console.log(`${row}: ${verdict === true ? "taken by" : "REFUSED by"} ${made.from}${verdict === true ? "" : `: ${verdict}`}`);
  failed += verdict !== true;
}
process.exit(failed ? 1 : 0);
