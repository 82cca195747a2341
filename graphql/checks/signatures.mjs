// Whether deliveries verify by the library that receivers use. signatures.mjs SECRET FILE, where
// FILE holds [{id, timestamp, signature, body}]. Prints how many do, and how many still do with a
// byte of the body changed.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const [, , secret, file] = process.argv;
const webhook = new Webhook(secret);
const verifies = ({ id, timestamp, signature, body }) => {
  try {
    webhook.verify(body, { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature });
    return true;
  } catch {
    return false;
  }
};
const all = JSON.parse(readFileSync(file, "utf8"));
const altered = all.map((one) => ({ ...one, body: one.body.replace("{", "{ ") }));
console.log(JSON.stringify({ sound: all.filter(verifies).length, altered: altered.filter(verifies).length }));
