// Sends what a provider would, signed by the provider's own library, with Node's fetch.
//
//   SECRET=… node send.mjs github|github-ping|stripe|standard-webhooks URL
//
// Prints one line per request: its status, the SHA-256 of its body, its event and delivery id.
import { createHash, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";

import { sign } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";

const [kind, url] = process.argv.slice(2);
const secret = process.env.SECRET;
// A provider sends several at once; more would only measure this script.
const AT_ONCE = 8;

const makers = {
  github: () => githubExamples().filter(({ event }) => event !== "ping").map(github),
  "github-ping": () => githubExamples().filter(({ event }) => event === "ping").map(github),
  stripe: () => stripeEvents().map(stripe),
  "standard-webhooks": () => standardEvents().map(standard),
};

// All sets of examples that the package has: github.com's and those of GitHub Enterprise Server.
function githubExamples() {
  const require = createRequire(import.meta.url);
  const root = dirname(require.resolve("@octokit/webhooks-examples/package.json"));
  const sets = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return sets
    .map((set) => require(join(root, set.name, "index.json")))
    .flat()
    .flatMap(({ name, examples }) => examples.map((example) => ({ event: name, example })));
}

// Every second one is pretty-printed: bytes must survive, not only values.
async function github({ event, example }, index) {
  const body = JSON.stringify(example, null, index % 2 === 0 ? undefined : 2);
  const delivery = randomUUID();
  return {
    event,
    delivery,
    body,
    headers: {
      "Content-Type": "application/json",
      "User-Agent": "GitHub-Hookshot/044aadd",
      "X-GitHub-Event": event,
      "X-GitHub-Delivery": delivery,
      "X-Hub-Signature-256": await sign(secret, body),
    },
  };
}

function stripeEvents() {
  const types = ["payment_intent.succeeded", "invoice.paid", "customer.subscription.updated", "charge.refunded"];
  return types.map((type, index) => ({
    id: `evt_1Test${index}`,
    object: "event",
    api_version: "2025-09-30",
    created: 1760000000 + index,
    type,
    data: { object: { id: `obj_${index}`, amount: 1999, description: "Zażółć gęślą jaźń €\u2028" } },
  }));
}

function stripe(event, index) {
  const body = JSON.stringify(event, null, index % 2 === 0 ? 2 : undefined);
  const header = Stripe.webhooks.generateTestHeaderString({ payload: body, secret });
  return {
    event: event.type,
    delivery: event.id,
    body,
    headers: { "Content-Type": "application/json; charset=utf-8", "Stripe-Signature": header },
  };
}

function standardEvents() {
  return ["contact.created", "invoice.paid", "message.sent"].map((type) => ({
    type,
    timestamp: new Date().toISOString(),
    data: { note: "ünïcödé \\ \" / \u0000 \ud83d\ude80", big: 12345678901234567890n.toString() },
  }));
}

function standard(event) {
  const body = JSON.stringify(event);
  const delivery = `msg_${randomUUID()}`;
  const now = new Date();
  return {
    event: event.type,
    delivery,
    body,
    headers: {
      "Content-Type": "application/json",
      "webhook-id": delivery,
      "webhook-timestamp": Math.floor(now.getTime() / 1000).toString(),
      "webhook-signature": new Webhook(secret).sign(delivery, now, body),
    },
  };
}

async function send({ event, delivery, body, headers }) {
  const response = await fetch(url, { method: "POST", headers, body });
  const text = await response.text();
  const sha256 = createHash("sha256").update(body).digest("hex");
  console.log(JSON.stringify({ status: response.status, sha256, event, delivery, answer: text }));
}

const requests = await Promise.all(makers[kind]());
async function sender() {
  for (let request = requests.pop(); request; request = requests.pop()) {
    await send(request);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, sender));
