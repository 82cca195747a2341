// GraphQL over HTTP, by the audit of graphql-http. Prints how many of the checks hold.
import { auditServer } from "graphql-http";

const [, , url] = process.argv;
const results = await auditServer({ url: `${url}/graphql`, fetchFn: fetch });
for (const one of results.filter((one) => one.status !== "ok")) console.error(one.status, one.name, one.reason);
console.log(JSON.stringify({ all: results.length, ok: results.filter((one) => one.status === "ok").length }));
process.exit(0);
