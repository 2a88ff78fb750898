// What every case shares: the clock of the vectors, and how a vector is written into a row.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

/** The vectors' time: 2023-11-14T22:13:20Z. */
export const NOW = 1700000000;

export const hmac = (algorithm, key, message, encoding = "hex") =>
  createHmac(algorithm, key).update(message).digest(encoding);

const RealDate = Date;

/** Runs `f` while the process believes that it is `NOW`: libraries age what they verify. */
export async function atNow(f) {
  globalThis.Date = class extends RealDate {
    constructor(...given) {
      super(...(given.length ? given : [NOW * 1000]));
    }
    static now() {
      return NOW * 1000;
    }
  };
  try {
    return await f();
  } finally {
    globalThis.Date = RealDate;
  }
}

/** Whether `f` comes out true, or comes out at all; a library that throws refuses. */
export async function accepts(f) {
  try {
    return (await atNow(f)) !== false;
  } catch {
    return false;
  }
}

/** The installed version of a package: the vector names it. */
export function versionOf(name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file)).version;
}

const text = (value) => JSON.stringify(value);
const table = (values) =>
  `{ ${Object.entries(values).map(([name, value]) => `${text(name)} = ${text(value)}`).join(", ")} }`;

/** The vector as it stands in a row. */
export function toml(vector) {
  const lines = ["[[vectors]]", `name = ${text(vector.name)}`, 'origin = "sdk"', `source = ${text(vector.source)}`];
  if (vector.secret) lines.push(`secret = ${text(vector.secret)}`);
  if (vector.settings) lines.push(`settings = ${table(vector.settings)}`);
  if (vector.schemes) lines.push(`schemes = ${text(vector.schemes)}`);
  lines.push(`now = ${NOW}`);
  if (vector.method) lines.push(`method = ${text(vector.method)}`);
  lines.push(`url = ${text(vector.url)}`);
  if (vector.headers) lines.push(`headers = ${table(vector.headers)}`);
  if (vector.body) lines.push(`body = ${text(vector.body)}`);
  lines.push(`expect = ${text(vector.expect ?? "event")}`);
  if (vector.actions) lines.push(`actions = ${text(vector.actions)}`);
  if (vector.delivery_id) lines.push(`delivery_id = ${text(vector.delivery_id)}`);
  for (const name of ["reply_status", "reply_body"]) {
    if (vector[name] !== undefined) lines.push(`${name} = ${text(vector[name])}`);
  }
  return lines.join("\n") + "\n";
}
