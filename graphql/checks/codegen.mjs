// A typed client made from introspection alone: codegen.mjs URL FOLDER KEPT. Writes the schema as the
// server tells it, which is the one in the file KEPT (`assay schema --json`), generates types for it and for every saved operation, and has tsc check a program
// that uses them.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { generate } from "@graphql-codegen/cli";
import { buildClientSchema, getIntrospectionQuery, printSchema } from "graphql";

const [, , url, folder, kept] = process.argv;
mkdirSync(folder, { recursive: true });
const headers = { "content-type": "application/json" };
const response = await fetch(`${url}/graphql`, { method: "POST", headers, body: JSON.stringify({ query: getIntrospectionQuery({ specifiedByUrl: true, oneOf: true }) }) });
const { data, errors } = await response.json();
if (errors) throw new Error(JSON.stringify(errors));
const schema = join(folder, "schema.graphql");
writeFileSync(schema, printSchema(buildClientSchema(data)));
const printed = printSchema(buildClientSchema(JSON.parse(readFileSync(kept)).data));
if (printed !== readFileSync(schema, "utf8")) throw new Error("the schema that is served is another one than that of the file");

const scalars = { BigInt: "string", Address: "string", Bytes32: "string", DateTime: "string", LogPosition: "string" };
const types = (plugin) => ({ plugins: [plugin], config: { scalars, enumsAsTypes: true } });
await generate(
  {
    schema,
    documents: resolve("operations/*.graphql"),
    generates: { [join(folder, "schema.ts")]: types("typescript"), [join(folder, "client.ts")]: types("typescript-operations") },
    silent: true,
  },
  true,
);
writeFileSync(
  join(folder, "use.ts"),
  `import type { LeaderboardQuery } from "./client";
export const slugs = (answer: LeaderboardQuery): string[] => answer.entities.nodes.map((node) => node.slug);
// @ts-expect-error a rating has no such field
export const wrong = (answer: LeaderboardQuery) => answer.entities.nodes[0].rating.wisdom;
`,
);
execFileSync(resolve("node_modules/.bin/tsc"), ["--noEmit", "--strict", "--skipLibCheck", "false", "--module", "esnext", "--moduleResolution", "bundler", "--types", "", join(folder, "use.ts"), join(folder, "schema.ts")], { stdio: "inherit" });
console.log(JSON.stringify({ types: data.__schema.types.length }));
