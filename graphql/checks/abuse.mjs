// Requests written to hurt, over a socket: each must be refused with a code. Prints, for each, what
// became of it and how long that took, and the server's resident memory before and after.
// abuse.mjs URL [PID of the server]
import { readFileSync } from "node:fs";
import http from "node:http";
import { gzipSync } from "node:zlib";

const [, , url, pid] = process.argv;
const endpoint = new URL("/graphql", url);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const json = { "content-type": "application/json" };
const ask = (query, variables) => ({ body: JSON.stringify({ query, variables }) });
const nest = (open, inner, close, n) => open.repeat(n) + inner + close.repeat(n);
const times = (n, each) => Array.from({ length: n }, (_, i) => each(i)).join(" ");
const page = "entities(first: 100) { nodes { ratingHistory(first: 100) { nodes { id } } } }";
const oneOf = (value) => ["query($v: [EntityKind!]) { entities(where: { kind: $v }) { totalCount } }", { v: value }];

const hostile = {
  "fields 30 deep": ask(nest("{a", "", "}", 30)),
  "fields 20,000 deep": ask(nest("{a", "", "}", 20_000)),
  "lists 9,000 deep": ask(`{a(b:${nest("[", "", "]", 9_000)})}`),
  "inline fragments 60 deep": ask(nest("{...on Query", "{__typename}", "}", 60)),
  "JSON 9,000 deep": { body: `{"query":"{a}","variables":${nest('{"a":', "1", "}", 9_000)}}` },
  "31 aliases": ask(`{${times(31, (i) => `a${i}: status { updatedAt }`)}}`),
  "5,000 aliases": ask(`{${times(5_000, (i) => `a${i}: __typename`)}}`),
  "pages of pages": ask(`{${page}}`),
  "30 pages of pages": ask(`{${times(30, (i) => `a${i}: ${page}`)}}`),
  "a cycle of fragments": ask("{...a} fragment a on Query {...b} fragment b on Query {...a}"),
  "a fragment of itself": ask("{...a} fragment a on Query { status { ...a } }"),
  "fragments that double 60 times": ask(`{...f0} ${times(60, (i) => `fragment f${i} on Query {...f${i + 1} ...f${i + 1}}`)} fragment f60 on Query {__typename}`),
  "900 fragments in a chain": ask(`{...f0} ${times(900, (i) => `fragment f${i} on Query {...f${i + 1}}`)} fragment f900 on Query {__typename}`),
  "a name of 90,000 characters": ask(`{${"x".repeat(90_000)}}`),
  "an operation's name of 90,000 characters": { body: JSON.stringify({ query: "query a { __typename } query b { __typename }", operationName: "x".repeat(90_000) }) },
  "a page of 2,147,483,647": ask("{ entities(first: 2147483647) { nodes { slug } } }"),
  "a page of 99,999,999,999": ask("{ entities(first: 99999999999) { totalCount } }"),
  "a page of -1": ask("{ entities(first: -1) { nodes { slug } } }"),
  "2,000 directives": ask(`{ __typename ${"@include(if: true) ".repeat(2_000)} }`),
  "21 directives": ask(`{ __typename ${"@include(if: true) ".repeat(21)} }`),
  "a batch of 1,000": { body: JSON.stringify(Array(1_000).fill({ query: "{__typename}" })) },
  "introspection that multiplies": ask(`{__schema{types{${nest("fields{type{", "name", "}}", 5)}}}}`),
  "possible types that multiply": ask(`{__schema{types{${nest("possibleTypes{", "name", "}", 6)}}}}`),
  "30 introspections": ask(`{${times(30, (i) => `a${i}: __schema { types { fields { args { type { name } } type { name } } } }`)}}`),
  "30 types": ask(`{${times(30, (i) => `a${i}: __type(name: "Query") { fields { name } }`)}}`),
  "a body of 1 MB": { body: JSON.stringify({ query: `{ __typename } #${"x".repeat(1_000_000)}` }) },
  "a body of 1 MB in pieces": { body: JSON.stringify({ query: `{ __typename } #${"x".repeat(1_000_000)}` }), headers: { "transfer-encoding": "chunked" } },
  "a compressed body": { body: gzipSync(JSON.stringify({ query: `{__typename} #${" ".repeat(9_000_000)}` })), headers: { "content-encoding": "gzip" } },
  "a variable with 9,000 values": ask(...oneOf(Array(9_000).fill("OPERATOR"))),
  "a variable of 90,000 characters": ask(...oneOf("x".repeat(90_000))),
  "a number beyond all numbers": { body: '{"query":"query($n: Int) { entities(first: $n) { totalCount } }","variables":{"n":1e999999}}' },
  "500 variables": ask(`query(${times(500, (i) => `$a${i}: Int!`)}) { __typename }`),
  "900 unknown fields": ask(`{${times(900, (i) => `x${i}`)}}`),
  "the same field through 200 fragments": ask(`{${times(200, (i) => `...f${i}`)}} ${times(200, (i) => `fragment f${i} on Query { a: entities(first: ${i}) { totalCount } }`)}`),
  "a string that never ends": ask(`{ entity(slug: "${"x".repeat(90_000)}`),
  "nothing but a comment": ask(`#${"x".repeat(90_000)}`),
  "zeros and marks": ask("\u0000\ufeff\u202e".repeat(9_000)),
  "SQL in a cursor": ask(`{ entities(after: "' OR 1=1 --") { totalCount } }`),
  "a cursor of 90,000 characters": ask(`{ entities(after: "${"A".repeat(90_000)}") { totalCount } }`),
  "a mutation": ask("mutation { drop }"),
  "a subscription without a socket": ask("subscription { news { id } }"),
  "a form from another site": { body: "query={__typename}", headers: { "content-type": "application/x-www-form-urlencoded" } },
  "a document of which nobody knows": { body: JSON.stringify({ documentId: `sha256:${"ab".repeat(32)}` }) },
  "another's document": { body: JSON.stringify({ query: "{__typename}", documentId: `sha256:${"ab".repeat(32)}` }) },
  "60,000 brackets in the URL": { method: "GET", path: `/graphql?query=${"[".repeat(60_000)}` },
  "a body that drips": { body: "{", headers: { "content-length": "1000" }, isSlow: true },
};

const send = ({ body, headers, method = "POST", path = endpoint.pathname, isSlow }) =>
  new Promise((resolve) => {
    const began = performance.now();
    const ended = (answer) => resolve({ ...answer, ms: Math.round((performance.now() - began) * 10) / 10 });
    const options = { agent: isSlow ? undefined : agent, host: endpoint.hostname, port: endpoint.port, path, method };
    const request = http.request({ ...options, headers: { ...(method === "POST" && json), ...headers } }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", (error) => ended({ status: 0, code: error.code }));
      response.on("end", () => {
        const text = Buffer.concat(parts).toString();
        let code = null;
        try {
          code = JSON.parse(text).errors?.[0]?.extensions?.code ?? null;
        } catch {}
        ended({ status: response.statusCode, code, bytes: text.length });
      });
    });
    request.on("error", (error) => ended({ status: 0, code: error.code }));
    if (isSlow) {
      request.write(body);
      const drip = setInterval(() => request.write(" "), 500);
      request.on("close", () => clearInterval(drip));
    } else if (headers?.["transfer-encoding"]) {
      for (let at = 0; at < body.length; at += 50_000) request.write(body.slice(at, at + 50_000));
      request.end();
    } else {
      request.end(body);
    }
  });

const resident = () => (pid ? Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) : null);

// The first request opens the connection, and a warm server is what strangers meet.
const good = await send(ask("{ __typename }"));
const before = resident();
const refusals = [];
for (const [name, request] of Object.entries(hostile)) {
  refusals.push({ name, isSlow: request.isSlow ?? false, ...(await send(request)) });
}
const rounds = pid ? 20 : 0;
for (let round = 0; round < rounds; round += 1) {
  await Promise.all(Object.values(hostile).filter((one) => !one.isSlow).map(send));
}
const after = resident();
const last = await send(ask("{ __typename }"));
console.log(JSON.stringify({ refusals, rounds, rss_kib: [before, after], works: [good.status, last.status] }));
process.exit(0);
