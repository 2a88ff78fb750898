// Makes vectors with the providers' own libraries: `npm install --ignore-scripts`, then `node sdk.mjs [ROW…]`
// prints the vectors of those rows, or of all, as they stand in src/catalog/.
//
// A case is a request that the library signs, or that it verifies: then it must take the request and refuse it
// with another body. Secrets are made up.

import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import Module, { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { accepts, atNow, hmac, NOW, toml, versionOf } from "./lib.mjs";

const require = createRequire(import.meta.url);
const JSON_TYPE = { "Content-Type": "application/json" };
const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY = Buffer.from(WHSEC.slice(6), "base64");

/** The headers of Standard Webhooks. */
const standard = (body, key, id = "msg_2Kx0example") => ({
  ...JSON_TYPE,
  "webhook-id": id,
  "webhook-timestamp": `${NOW}`,
  "webhook-signature": `v1,${hmac("sha256", key, `${id}.${NOW}.${body}`, "base64")}`,
});
const lower = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

// An Ed25519 key that was made up for these vectors.
const ED25519 = createPrivateKey({
  key: Buffer.from("302e020100300506032b657004220420" + "42".repeat(32), "hex"), format: "der", type: "pkcs8",
});
const ED25519_PUBLIC = createPublicKey(ED25519).export({ format: "der", type: "spki" }).subarray(12).toString("hex");

/** row → { from: package, name, secret, headers(body), body, verify(headers, body), … } */
export const CASES = {
  async "chargebee"() {
    const { basicAuthValidator } = await import("chargebee");
    const check = basicAuthValidator((user, password) => user === "hooks" && password === "s3cret-of-chargebee");
    const body = '{"id":"ev_16BHbhF4s42tO2lK","occurred_at":1700000000,"source":"admin_console","object":"event","api_version":"v2","event_type":"customer_created","content":{}}';
    return {
      from: "chargebee", name: "basicAuthValidator", secret: "hooks:s3cret-of-chargebee", body,
      headers: () => ({ ...JSON_TYPE, Authorization: `Basic ${btoa("hooks:s3cret-of-chargebee")}` }),
      verify: (headers) => check(lower(headers)),
      unsigned: true, actions: ["customer_created"], delivery_id: "ev_16BHbhF4s42tO2lK",
    };
  },
  async "cloudinary"() {
    return cloudinary("sha1");
  },
  async "cloudinary-sha256"() {
    return cloudinary("sha256");
  },
  async "discord-events"() {
    const { verifyKey } = require("discord-interactions");
    const body = '{"version":1,"application_id":"1234560123453231555","type":1,"event":{"type":"APPLICATION_AUTHORIZED","timestamp":"2023-11-14T22:13:20.000000","data":{"integration_type":1,"scopes":["applications.commands"],"user":{"id":"1"}}}}';
    return {
      from: "discord-interactions", name: "verifyKey of an event", secret: ED25519_PUBLIC, body,
      headers: () => ({
        ...JSON_TYPE,
        "X-Signature-Ed25519": sign(null, Buffer.from(`${NOW}${body}`), ED25519).toString("hex"),
        "X-Signature-Timestamp": `${NOW}`,
      }),
      verify: (headers, body) =>
        verifyKey(body, headers["X-Signature-Ed25519"], headers["X-Signature-Timestamp"], ED25519_PUBLIC),
      actions: ["APPLICATION_AUTHORIZED"],
    };
  },
  async "fathom"() {
    const { Fathom } = require("fathom-typescript");
    const body = '{"recording_id":123456789,"title":"Quarterly review","created_at":"2023-11-14T22:13:20Z"}';
    return {
      from: "fathom-typescript", name: "Fathom.verifyWebhook", secret: WHSEC, body,
      headers: () => standard(body, KEY), verify: (headers, body) => Fathom.verifyWebhook(WHSEC, headers, body),
      delivery_id: "msg_2Kx0example",
    };
  },
  // The sender itself. Not in package.json for its size: `npm pack ghost@6.65.0`, unpacked to node_modules/ghost.
  async "ghost"() {
    const load = Module._load;
    const stubs = { "@tryghost/debug": () => () => {}, "@tryghost/logging": console, "@tryghost/version": { safe: "6.65" } };
    Module._load = (name, ...rest) =>
      name.endsWith("shared/config") ? { get() {} } : (stubs[name] ?? load(name, ...rest));
    const log = console.info;
    console.info = () => {};
    const WebhookTrigger = require("./node_modules/ghost/core/server/services/webhooks/webhook-trigger.js");
    Module._load = load;
    const secret = "a secret of an integration";
    const hook = { event: "post.published", target_url: "https://hooks.example.com/in/ghost", secret };
    const Webhook = {
      findAllByEvent: async () => ({ models: [{ id: "1", get: (name) => hook[name] }] }), edit: async () => {},
    };
    let sent;
    const trigger = new WebhookTrigger({
      models: { Webhook }, limitService: { isLimited: () => false },
      payload: async () => ({ post: { current: { id: "5ddc9b9510d8970038255d02", title: "Hello" }, previous: {} } }),
      request: async (url, options) => (sent = options) && { statusCode: 200 },
    });
    await atNow(() => trigger.trigger("post.published", {}));
    console.info = log;
    const { "Content-Length": _, ...headers } = sent.headers;
    return {
      from: "ghost", name: "WebhookTrigger.trigger", secret, body: sent.body, headers: () => headers,
      actions: ["post.published"],
    };
  },
  async "mailersend"() {
    const mailersend = require("mailersend");
    const secret = "AwiyKkYTF2QP6Fo1AU5TBvNLGvUtsjVz";
    const body = '{"type":"activity.sent","created_at":"2023-11-14T22:13:20.000000Z","webhook_id":"wh_1","url":"https://hooks.example.com/in/mailersend","data":{"object":"activity","id":"62f114f8165fe0d8db0288e3","type":"sent","email":{"object":"email","id":"62f114f7165fe0d8db0288e1"}}}';
    const { MailerSendUtils } = require("mailersend/lib/services/mailersend.utils.js");
    return {
      from: "mailersend", name: "MailerSendUtils.verifyWebHook", secret, body,
      headers: () => ({ ...JSON_TYPE, Signature: hmac("sha256", secret, body) }),
      verify: (headers, body) => (mailersend.MailerSendUtils ?? MailerSendUtils).verifyWebHook(body, headers.Signature, secret),
      actions: ["activity.sent"],
    };
  },
  async "modern-treasury"() {
    const { default: ModernTreasury } = await import("modern-treasury");
    const secret = "mt_webhook_key_of_a_test";
    const client = new ModernTreasury({ organizationID: "o", apiKey: "k", webhookKey: secret });
    const body = '{"event":"created","data":{"id":"c743edb7-4059-496a-94b8-06fc081156fd","object":"payment_order","live_mode":true}}';
    return {
      from: "modern-treasury", name: "webhooks.getSignature", secret, body,
      headers: () => ({
        ...JSON_TYPE, "X-Signature": client.webhooks.getSignature(body), "X-Topic": "payment_order",
        "X-Event": "created", "X-Webhook-ID": "2f3d0c4e-7c7f-4a44-9e61-5a2a0f9d1e11",
      }),
      verify: (headers, body) => client.webhooks.validateSignature(body, headers["X-Signature"]),
    };
  },
  async "novu-bridge"() {
    const { Client, NovuRequestHandler } = require("@novu/framework");
    const secret = "made_up_novu_secret_key";
    const client = new Client({ secretKey: secret, strictAuthentication: true });
    const bridge = new NovuRequestHandler({ frameworkName: "test", workflows: [], client, handler: () => ({}) });
    const body = '{"event":"onMessage","conversationId":"c1"}';
    return {
      from: "@novu/framework", name: "NovuRequestHandler.validateHmac", secret, body,
      headers: () => ({ ...JSON_TYPE, "novu-signature": `t=${NOW}000,v1=${hmac("sha256", secret, `${NOW}000.${body}`)}` }),
      verify: (headers, body) => bridge.validateHmac(JSON.parse(body), headers["novu-signature"]),
    };
  },
  async "onfido"() {
    const { WebhookEventVerifier } = require("@onfido/api");
    const secret = "_ABC123abc_onfido_webhook_token";
    const body = '{"payload":{"resource_type":"check","action":"check.completed","object":{"id":"check-123","status":"complete","completed_at_iso8601":"2023-11-14T22:13:20Z","href":"https://api.onfido.com/v3.6/checks/check-123"}}}';
    return {
      from: "@onfido/api", name: "WebhookEventVerifier.readPayload", secret, body,
      headers: () => ({ ...JSON_TYPE, "X-SHA2-Signature": hmac("sha256", secret, body) }),
      verify: (headers, body) => new WebhookEventVerifier(secret).readPayload(body, headers["X-SHA2-Signature"]),
      actions: ["check.completed"],
    };
  },
  async "orb"() {
    const { default: Orb } = await import("orb-billing");
    const secret = "orb_webhook_secret_of_a_test";
    const client = new Orb({ apiKey: "k", webhookSecret: secret });
    const timestamp = "2023-11-14T22:13:20.123456";
    const body = '{"id":"o4mmewpfNNTnjfZc","created_at":"2023-11-14T22:13:20+00:00","type":"customer.created","properties":{},"customer":{"id":"cus_1"}}';
    return {
      from: "orb-billing", name: "webhooks.signPayload", secret, body,
      headers: () => ({
        ...JSON_TYPE, "X-Orb-Timestamp": timestamp,
        "X-Orb-Signature": client.webhooks.signPayload(body, { timestamp, secret }),
      }),
      verify: (headers, body) => client.webhooks.unwrap(body, headers),
      actions: ["customer.created"], delivery_id: "o4mmewpfNNTnjfZc",
    };
  },
  async "plivo"() {
    return plivo("https://hooks.example.com/in/plivo");
  },
  async "plivo "() {
    return plivo("https://hooks.example.com/in/plivo?tenant=7&b=2");
  },
  async "polar"() {
    const { validateEvent, WebhookVerificationError } = await import("@polar-sh/sdk/webhooks");
    const secret = "polar_whs_made_up_of_a_test_0123456789";
    const body = '{"type":"a.test","timestamp":"2023-11-14T22:13:20Z","data":{"id":"2f3d0c4e-7c7f-4a44-9e61-5a2a0f9d1e11"}}';
    return {
      from: "@polar-sh/sdk", name: "validateEvent", secret, body, headers: () => standard(body, secret),
      // An event that the library has no schema of passes its verification all the same.
      verify: (headers, body) => {
        try {
          validateEvent(body, headers, secret);
        } catch (error) {
          if (error instanceof WebhookVerificationError) throw error;
        }
      },
      actions: ["a.test"], delivery_id: "msg_2Kx0example",
    };
  },
  async "razorpay"() {
    const Razorpay = require("razorpay");
    const secret = "razorpay_webhook_secret";
    const body = '{"entity":"event","account_id":"acc_BFQ7uQEaa7j2z7","event":"payment.captured","contains":["payment"],"payload":{"payment":{"entity":{"id":"pay_DESlfW9H8K9uqM"}}},"created_at":1700000000}';
    return {
      from: "razorpay", name: "validateWebhookSignature", secret, body,
      headers: () => ({
        ...JSON_TYPE, "X-Razorpay-Signature": hmac("sha256", secret, body), "x-razorpay-event-id": "NjYc0Gd3kZBKrT",
      }),
      verify: (headers, body) => Razorpay.validateWebhookSignature(body, headers["X-Razorpay-Signature"], secret),
      actions: ["payment.captured"], delivery_id: "NjYc0Gd3kZBKrT",
    };
  },
  async "replicate"() {
    const { validateWebhook } = require("replicate");
    const body = '{"id":"ufawqhfynnddngldkgtslldrkq","model":"replicate/hello-world","status":"succeeded","output":"hello"}';
    return {
      from: "replicate", name: "validateWebhook", secret: WHSEC, body, headers: () => standard(body, KEY),
      verify: (headers, body) => validateWebhook({ headers, body }, WHSEC),
      delivery_id: "msg_2Kx0example",
    };
  },
  async "sanity"() {
    const { encodeSignatureHeader, isValidSignature, SIGNATURE_HEADER_NAME } = await import("@sanity/webhook");
    const secret = "some sanity secret of a test";
    const body = '{"_id":"drafts.1","_type":"post","title":"Hello"}';
    const signature = await encodeSignatureHeader(body, NOW * 1000, secret);
    return {
      from: "@sanity/webhook", name: "encodeSignatureHeader", secret, body,
      headers: () => ({ ...JSON_TYPE, [SIGNATURE_HEADER_NAME]: signature, "idempotency-key": "idem-1", "sanity-operation": "update" }),
      verify: (headers, body) => isValidSignature(body, headers[SIGNATURE_HEADER_NAME], secret),
    };
  },
  async "scrapfly"() {
    const { verifySignature } = await import(new URL("node_modules/scrapfly-sdk/esm/webhookserver.js", import.meta.url));
    const secret = "scrapfly-signing-secret";
    const body = '{"context":{"job":{"uuid":"0c12f2b5-7d0d-4b0b-8e93-8c1f2a3b4c5d"}},"result":{"content":"hi"}}';
    return {
      from: "scrapfly-sdk", name: "verifySignature", secret, body,
      headers: () => ({
        ...JSON_TYPE, "X-Scrapfly-Webhook-Resource-Type": "scrape",
        "X-Scrapfly-Webhook-Job-Id": "0c12f2b5-7d0d-4b0b-8e93-8c1f2a3b4c5d",
        "X-Scrapfly-Webhook-Signature": hmac("sha256", secret, body).toUpperCase(),
      }),
      verify: (headers, body) => verifySignature(body, headers["X-Scrapfly-Webhook-Signature"], secret),
    };
  },
  async "webflow"() {
    const { WebflowClient } = require("webflow-api");
    const secret = "webflow_client_secret";
    const webhooks = new WebflowClient({ accessToken: "t" }).webhooks;
    const body = '{"triggerType":"form_submission","payload":{"name":"Contact Us","siteId":"65427cf400e02b306eaa049c","data":{"First Name":"Zaphod"},"submittedAt":"2023-11-14T22:13:20.000Z","id":"6321ca84df3949bfc6752327"}}';
    return {
      from: "webflow-api", name: "webhooks.verifySignature", secret, body,
      headers: () => ({
        ...JSON_TYPE, "x-webflow-timestamp": `${NOW}000`,
        "x-webflow-signature": hmac("sha256", secret, `${NOW}000:${body}`),
      }),
      verify: (headers, body) => webhooks.verifySignature({ headers, body, secret }),
      actions: ["form_submission"],
    };
  },
  async "wix"() {
    const { AppStrategy, createClient } = await import("@wix/sdk");
    const { privateKey: rsa, publicKey: rsaPublic } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const publicKey = rsaPublic.export({ format: "pem", type: "spki" });
    const wix = createClient({ auth: AppStrategy({ appId: "app", publicKey }) });
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const data = JSON.stringify({ instanceId: "in-1", eventType: "wix.contacts.v4.contact_created", data: "{}" });
    const signed = `${part({ alg: "RS256", typ: "JWT" })}.${part({ data, iat: NOW, exp: NOW + 300 })}`;
    const body = `${signed}.${sign("sha256", Buffer.from(signed), rsa).toString("base64url")}`;
    return {
      from: "@wix/sdk", name: "webhooks.process", secret: publicKey, body,
      headers: () => ({ "Content-Type": "text/plain" }), verify: (_, body) => wix.webhooks.process(body),
    };
  },
  async "workos"() {
    const { WorkOS } = require("@workos-inc/node");
    const secret = "workos_signing_secret";
    const { webhooks } = new WorkOS("sk_made_up");
    const body = '{"id":"event_01EHZNVPK3SFK441A1RGBFSHRT","event":"dsync.user.created","data":{"id":"directory_user_1"},"created_at":"2023-11-14T22:13:20.000Z"}';
    const signature = hmac("sha256", secret, `${NOW}000.${body}`);
    return {
      from: "@workos-inc/node", name: "webhooks.verifyHeader", secret, body,
      headers: () => ({ ...JSON_TYPE, "WorkOS-Signature": `t=${NOW}000, v1=${signature}` }),
      // It parses the body and writes it anew: ours is as JSON.stringify writes it.
      verify: (headers, body) =>
        webhooks.verifyHeader({ payload: JSON.parse(body), sigHeader: headers["WorkOS-Signature"], secret }),
      actions: ["dsync.user.created"], delivery_id: "event_01EHZNVPK3SFK441A1RGBFSHRT",
    };
  },
  async "x-twitter"() {
    const { validateSignature } = require("twitter-autohook");
    const secret = "made_up_consumer_secret";
    const body = '{"for_user_id":"2244994945","tweet_create_events":[{"id_str":"1"}]}';
    return {
      from: "twitter-autohook", name: "validateSignature", secret, body,
      headers: () => ({ ...JSON_TYPE, "x-twitter-webhooks-signature": `sha256=${hmac("sha256", secret, body, "base64")}` }),
      verify: (headers, body) => validateSignature(headers, { consumer_secret: secret }, body),
    };
  },
  async "x-twitter "() {
    const { validateWebhook } = require("twitter-autohook");
    const secret = "made_up_consumer_secret";
    const token = "OTAwYmZlMDEtNzg5Ny00ZjYx";
    return {
      from: "twitter-autohook", name: "validateWebhook", secret, method: "GET",
      url: `https://hooks.example.com/in/x-twitter?crc_token=${token}`, expect: "answer", reply_status: 200,
      reply_body: JSON.stringify(validateWebhook(token, { consumer_secret: secret })),
    };
  },
};

async function cloudinary(algorithm) {
  const { v2 } = require("cloudinary");
  const secret = "made-up-api-secret";
  v2.config({ cloud_name: "c", api_key: "k", api_secret: secret, signature_algorithm: algorithm });
  const options = { api_secret: secret, signature_algorithm: algorithm };
  const body = '{"notification_type":"upload","timestamp":"2023-11-14T22:13:20+00:00","request_id":"2f1a","public_id":"sample"}';
  const signature = v2.utils.webhook_signature(body, `${NOW}`, options);
  return {
    from: "cloudinary", name: `webhook_signature, ${algorithm}`, secret, body,
    headers: () => ({ ...JSON_TYPE, "X-Cld-Timestamp": `${NOW}`, "X-Cld-Signature": signature }),
    verify: (headers, body) => {
      v2.config({ signature_algorithm: algorithm });
      const timestamp = Number(headers["X-Cld-Timestamp"]);
      return v2.utils.verifyNotificationSignature(body, timestamp, headers["X-Cld-Signature"]);
    },
    actions: ["upload"],
  };
}

async function plivo(url) {
  const { validateV3Signature } = require("plivo");
  const secret = "made_up_plivo_auth_token";
  const fields = { From: "+14155550100", To: "+14155550123", CallUUID: "7d3d-44", CallStatus: "ringing", Note: "a b&c" };
  const nonce = "05429567804466091622";
  const sorted = Object.keys(fields).sort().map((name) => name + fields[name]).join("");
  const [path, query] = url.split("?");
  const signed = query ? `${path}?${query.split("&").sort().join("&")}.${sorted}` : `${path}?${sorted}`;
  const parse = (body) => Object.fromEntries(new URLSearchParams(body));
  return {
    from: "plivo", name: query ? "validateV3Signature with a query" : "validateV3Signature", secret, url,
    body: new URLSearchParams(fields).toString(),
    headers: () => ({
      "Content-Type": "application/x-www-form-urlencoded", "X-Plivo-Signature-V3-Nonce": nonce,
      "X-Plivo-Signature-V3": hmac("sha256", secret, `${signed}.${nonce}`, "base64"),
    }),
    verify: (headers, body) =>
      validateV3Signature(
        "POST", url, headers["X-Plivo-Signature-V3-Nonce"], secret, headers["X-Plivo-Signature-V3"], parse(body),
      ),
  };
}

async function print(wanted) {
  for (const [key, make] of Object.entries(CASES)) {
    const row = key.trim();
    if (wanted.length && !wanted.includes(row)) continue;
    const made = await make();
    const vector = {
      url: `https://hooks.example.com/in/${row}`, ...made, headers: made.headers?.(),
      source: `npm ${made.from}@${versionOf(made.from)}`,
    };
    if (made.verify) {
      if (!(await accepts(() => made.verify(vector.headers, vector.body)))) throw new Error(`${row}: not accepted`);
      const other = vector.body.replace(/[a-z](?=[^a-z]*$)/, "Z");
      if (made.unsigned) {
        const other = { ...vector.headers, Authorization: `Basic ${btoa("hooks:guess")}` };
        if (await accepts(() => made.verify(other, vector.body))) throw new Error(`${row}: accepts anyone`);
      }
      if (!made.unsigned && (await accepts(() => made.verify(vector.headers, other)))) throw new Error(`${row}: accepts anything`);
    }
    console.log(`# ${row}\n${toml(vector)}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await print(process.argv.slice(2));
