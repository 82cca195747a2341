// The load of load.sh: five queries by wrk to Assay and to PostGraphile, in turns.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [, , seconds, tools] = process.argv;
const slug = `operator-1-0x${(500).toString(16).padStart(40, "0")}`;
const queries = {
  leaderboard: {
    assay: "{ entities(first: 25, orderBy: { field: GRADE, direction: ASC }) { totalCount nodes { slug rating { grade score expectedLossPpt outlook coveragePpm position seq } } pageInfo { hasNextPage endCursor } } }",
    postgraphile: "{ allLeaderboards(first: 25, orderBy: GRADE_ASC) { totalCount nodes { slug grade score expectedLossPpt outlook coveragePpm position seq } pageInfo { hasNextPage endCursor } } }",
  },
  entity: {
    assay: `{ entity(slug: "${slug}") { slug address rating { grade score expectedLossPpt interval { lowPpt highPpt } conservativeGrade attribution { block class points expectedLossPpt } rationale { summary } position seq } } }`,
    postgraphile: `{ entityBySlug(slug: "${slug}") { slug address ratingPointsByEntityId(first: 1, orderBy: POSITION_DESC) { nodes { position seq assessmentByAssessmentHash { grade score expectedLossPpt lowPpt highPpt conservativeGrade attribution rationale } } } } }`,
  },
  history: {
    assay: `{ entity(slug: "${slug}") { ratingHistory(first: 100) { totalCount nodes { grade score expectedLossPpt position block { number time } } pageInfo { hasNextPage endCursor } } } }`,
    postgraphile: `{ entityBySlug(slug: "${slug}") { ratingPointsByEntityId(first: 100, orderBy: POSITION_DESC) { totalCount nodes { position blockNumber blockTime assessmentByAssessmentHash { grade score expectedLossPpt } } pageInfo { hasNextPage endCursor } } } }`,
  },
  actions: {
    assay: "{ ratingActions(first: 50) { nodes { kind fromGrade toGrade expectedLossPpt position seq recordedAt entity { slug } } pageInfo { hasNextPage endCursor } } }",
    postgraphile: "{ allRatingActions(first: 50, orderBy: STORAGE_POSITION_DESC) { nodes { kind fromGrade toGrade expectedLossPpt position seq recordedAt entityByEntityId { slug } } pageInfo { hasNextPage endCursor } } }",
  },
  "as of": {
    assay: `{ entity(slug: "${slug}", asOf: { position: "50000" }) { slug rating { grade score expectedLossPpt position } } }`,
    postgraphile: `{ entityBySlug(slug: "${slug}") { slug ratingPointsByEntityId(first: 1, orderBy: POSITION_DESC, condition: { position: "49500" }) { nodes { position assessmentByAssessmentHash { grade score expectedLossPpt } } } } }`,
  },
};
const folder = mkdtempSync(join(tmpdir(), "assay-load-"));
const urls = { assay: "http://127.0.0.1:4741/graphql", postgraphile: "http://127.0.0.1:4742/graphql" };
const node = join(tools, "node_modules/.bin/node");
const config = join(tools, "graphile.config.mjs");
writeFileSync(
  config,
  `import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { makeV4Preset } from "postgraphile/presets/v4";
import { makePgService } from "postgraphile/adaptors/pg";
export default {
  extends: [PostGraphileAmberPreset, makeV4Preset({ disableDefaultMutations: true, graphiql: false })],
  pgServices: [makePgService({ connectionString: process.env.DATABASE_URL, schemas: ["read_model"], poolConfig: { max: 8 } })],
  grafserv: { port: 4742, host: "127.0.0.1" }, grafast: { explain: false },
};
`,
);
const other = spawn(node, [join(tools, "node_modules/postgraphile/dist/cli-run.js"), "--config", config], {
  cwd: tools,
  env: { ...process.env, NODE_ENV: "production", GRAPHILE_ENV: "production" },
  stdio: ["ignore", "ignore", "inherit"],
});
process.on("exit", () => other.kill());

const post = (query) => ({ method: "POST", headers: { "content-type": "application/json", connection: "close" }, body: JSON.stringify({ query }) });
async function ready(url) {
  for (let tries = 0; tries < 120; tries += 1) {
    try {
      if ((await fetch(url, post("{ __typename }"))).ok) return;
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`${url} does not answer`);
}

/** wrk's report, and the 99th percentile with the other two. */
function load(name, server, query) {
  const script = join(folder, "query.lua");
  const body = JSON.stringify({ query });
  writeFileSync(
    script,
    `wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\nwrk.body = [==[${body}]==]\n` +
      `done = function(summary, latency, requests)\n io.write(string.format("\\nRESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.timeout + summary.errors.read))\nend\n`,
  );
  const run = (time) => execFileSync("wrk", ["-t1", "-c50", `-d${time}s`, "-s", script, urls[server]], { encoding: "utf8" });
  run(3);
  const [, requests, micros, p50, p99, errors] = /RESULT (\d+) (\d+) (\d+) (\d+) (\d+)/.exec(run(seconds)).map(Number);
  const result = { rps: Math.round(requests / (micros / 1e6)), p50_ms: p50 / 1000, p99_ms: p99 / 1000, errors };
  console.error(`${name.padEnd(12)} ${server.padEnd(13)} ${JSON.stringify(result)}`);
  return result;
}

await ready(urls.assay);
await ready(urls.postgraphile);
const results = {};
for (const [name, shapes] of Object.entries(queries)) {
  results[name] = {};
  for (const [server, query] of Object.entries(shapes)) {
    const answer = await (await fetch(urls[server], post(query))).json();
    if (answer.errors) throw new Error(`${server} ${name}: ${JSON.stringify(answer.errors)}`);
    results[name][server] = { bytes: JSON.stringify(answer.data).length, ...load(name, server, query) };
  }
  const { assay, postgraphile } = results[name];
  results[name].times = Math.round((10 * assay.rps) / postgraphile.rps) / 10;
}
console.log(JSON.stringify({ connections: 50, seconds: Number(seconds), ratings: 100_000, results }));
process.exit(0);
