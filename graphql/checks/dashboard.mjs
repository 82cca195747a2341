// The dashboard in a real browser: every page, both themes, two widths. Prints "slash now" and
// waits until the slash shows, without a reload. Fails with a sentence for each thing wrong.
// Arguments: server, folder for screenshots, slug of an entity, slug of the one to be slashed,
// slug of a token.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { ether, percent, percentOfBp, percentOfMillion, percentOfWad, grouped, shares, significant, span } from "../dashboard/format.js";

const [, , url, folder, slug, slashed, token] = process.argv;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const faults = [];
const check = (holds, sentence) => holds || faults.push(sentence);

const operator = slug.split("-").at(-1);
const PATHS = ["/", "/slashings", "/actions", "/feed", "/methodology", "/frontier", `/e/${slug}`, `/e/${token}`, "/stress",
  "/stress?scenario=slash-and-exits-stop", `/stress?slash=${operator}%3A40&bug=20&exits=14`];
const SCRIPT_BYTES_MAX = 60_000;

const browser = await chromium.launch({
  executablePath: process.env.ASSAY_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
});

/** A page on which everything that goes wrong is noted. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("request", (request) => check(request.url().startsWith(url) || request.url().startsWith("data:"), `foreign request: ${request.url()}`));
  return page;
}

/** Goes to a path and waits until it is drawn. */
async function visit(page, path) {
  await page.goto(url + path);
  await page.waitForFunction((path) => document.getElementById("main").dataset.ready === path, path, { timeout: 15_000 });
}

/** Every value in an answer, as text. */
function flat(value, found = new Set()) {
  if (value !== null && typeof value === "object") Object.values(value).forEach((inner) => flat(inner, found));
  else found.add(String(value));
  return found;
}

const asked = async (query, variables) => (await (await fetch(`${url}/graphql`, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ query, variables }),
})).json()).data;

/** Every figure on the page is in the API's answer to the query that the page names. */
async function compare(page, path) {
  const link = await page.getAttribute("[data-query]", "href");
  const parameters = new URL(link, url).searchParams;
  const answer = flat(await asked(parameters.get("query"), JSON.parse(parameters.get("variables"))));
  flat((await asked("{ status { head { position block { number } } chains { chainId } } }")), answer);
  if (path.startsWith("/e/")) flat(await asked("query ($slug: String!) { entity(slug: $slug) { publications(first: 10) { nodes { seq blockNumber } } } }", { slug: path.slice(3).split("?")[0] }), answer);
  if (path === "/stress") flat(await asked("{ network { slackPpt shockPpt lossBoundPpt worstLossPpt stakeWei coveredStakeWei coveredCount uncoveredCount covered { profitWei thresholdPpt stakeWei slackPpt } uncovered { stakeWei } } }"), answer);
  if (path === "/methodology") flat(await (await fetch(`${url}/v1/methodology`)).json(), answer);
  const figures = await page.$$eval("main data, #place data", (all) => all.map((one) => [one.value, one.textContent]));
  check(figures.length > 3, `${path} shows ${figures.length} figures`);
  const sum = await page.$$eval(".waterfall li:not(.total) .number", (all) => all.reduce((sum, one) => sum + Number(one.textContent), 0));
  const total = await page.$$eval(".waterfall .total data", (all) => all.map((one) => Number(one.value))[0]);
  if (total !== undefined) check(sum === total, `${path}: the parts add up to ${sum}, the score is ${total}`);
  for (const [value, text] of figures) {
    const isKnown = answer.has(value) || value.includes(" / ");
    check(isKnown, `${path} shows ${text} for ${value}, which the API does not say`);
    // What is written is the value in one of the ways that figures are written in.
    const ways = [value, grouped(value), `${grouped(value)} blocks`, `${grouped(value)} blocks.`, `${value} points`, `+${value}`];
    if (/^-?\d+$/.test(value)) ways.push(percent(value), percentOfMillion(Number(value)), percentOfWad(value), shares(value), span(Number(value) * 12), ether(value), percentOfBp(Number(value)), `${significant(Number(BigInt(value) / 10n ** 9n) / 1e9)} ETH`, `${value} days`, `▲ ${value}`, `▼ ${-value}`);
    if (/^0\.\d+$/.test(value)) ways.push(`${Number(value) * 100} %`, percent(Math.round(Number(value) * 1e12)));
    check(ways.includes(text), `${path} writes ${value} as ${text}`);
  }
}

// Scripts of the first view.
{
  const page = await open({ viewport: { width: 1280, height: 900 } });
  const scripts = [];
  page.on("response", (response) => response.url().endsWith(".js") && scripts.push(response));
  await visit(page, "/");
  let bytes = 0;
  for (const script of scripts) bytes += gzipSync(await script.body()).length;
  check(bytes < SCRIPT_BYTES_MAX, `the first view loads ${bytes} bytes of script, gzipped`);
  console.error(`script of the first view, gzipped: ${bytes} bytes`);
  await page.context().close();
}

const start = (await asked("{ status { head { position } } }")).status.head.position;
for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    const page = await open({ colorScheme, viewport: { width, height: 900 } });
    for (const path of [...PATHS, `/?at=${Math.max(1, start - 5)}`]) {
      await visit(page, path);
      const name = `${path.replace(/[^a-z0-9]+/gi, "_").slice(0, 40)}-${colorScheme}-${width}`;
      await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(wide <= 0, `${path} is ${wide} px too wide at ${width}`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run(document));
      for (const violation of violations.filter((one) => ["serious", "critical"].includes(one.impact))) {
        faults.push(`${name}: axe ${violation.id}: ${violation.nodes.length} × ${violation.nodes[0].html.slice(0, 160)} ${violation.nodes[0].any[0]?.message ?? ""}`);
      }
      if (colorScheme === "light" && width === 1280) await compare(page, path);
      // Its name stands in a document.
      const named = ["/", `/e/${slug}`, `/e/${token}`].includes(path);
      if (named) check((await page.textContent("main")).includes("“Operator Wren (DEMO)”"), `${path} does not say what the operator calls itself`);
      if (path === `/e/${slug}`) check(await page.$$eval("dl.claim", (all) => all.length) === 2, "the entity's page does not show its attestations");
    }
    await page.context().close();
  }
}

// A slider: what it says stands in the address, and the same address says the same again.
{
  const page = await open({ viewport: { width: 1280, height: 900 } });
  await visit(page, "/stress");
  await page.focus('input[type="range"][aria-label^="A client"]');
  for (let step = 0; step < 5; step++) await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => /bug=\d/.test(location.search) && document.getElementById("main").dataset.ready === location.pathname + location.search, null, { timeout: 30_000 });
  const address = await page.evaluate(() => location.pathname + location.search);
  const said = await page.textContent("figcaption, .note");
  await visit(page, address);
  check(await page.textContent("figcaption, .note") === said, `${address} does not say again what its slider said`);
  await page.context().close();
}

// A drawing of a token: every stop with a page of its own can be reached by keyboard, and leads there.
{
  const page = await open({ viewport: { width: 1280, height: 900 } });
  await visit(page, `/e/${token}`);
  await page.focus(".flow a.stop");
  check(await page.$$eval(".flow .band.dim", (all) => all.length) < await page.$$eval(".flow .band", (all) => all.length), "a focused stop shows none of its ways");
  const leads = await page.$eval(".flow a.stop", (one) => one.getAttribute("href"));
  await page.keyboard.press("Enter");
  await page.waitForFunction((path) => document.getElementById("main").dataset.ready === path, leads, { timeout: 15_000 });
  await page.context().close();
}

// The keyboard alone: to the slashings, to an entity, and a chart read point by point.
{
  const page = await open({ viewport: { width: 1280, height: 900 } });
  await visit(page, "/");
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await page.waitForFunction(() => document.getElementById("main").dataset.ready === "/slashings");
  await page.keyboard.press("/");
  await page.keyboard.type(slug);
  await page.keyboard.press("Enter");
  await page.waitForFunction((slug) => document.getElementById("main").dataset.ready === `/e/${slug}`, slug);
  const said = ["score \\d+", "with probability \\d"];
  for (const drawing of await page.$$("figure svg[tabindex]")) {
    await drawing.focus();
    await page.keyboard.press("ArrowLeft");
    const text = await drawing.evaluate((one) => one.parentElement.querySelector(".readout").textContent);
    check(said.some((one) => new RegExp(one).test(text)), `the arrow keys do not read the chart: ${text}`);
  }
  check((await page.$$("figure svg[tabindex]")).length === 2, "an operator has two charts to read");
  // What a page links to as its query opens with that query.
  const link = await page.getAttribute("[data-query]", "href");
  await page.goto(url + link);
  await page.waitForFunction(() => document.body.innerText.includes("query Entity"), null, { timeout: 15_000 })
    .catch(() => faults.push("GraphiQL does not open with the page's query"));
  await page.context().close();
}

// GraphiQL runs a subscription: what was said before is told again from the start of the feed.
{
  const page = await open({ viewport: { width: 1280, height: 900 } });
  const query = 'subscription News { news(afterPosition: "0") { position kind isReplay } }';
  await page.goto(`${url}/graphiql?${new URLSearchParams({ query, variables: "{}" })}`);
  await page.click(".graphiql-execute-button", { timeout: 15_000 });
  await page.waitForFunction(() => document.querySelector(".result-window")?.innerText.includes("isReplay"), null, { timeout: 15_000 })
    .catch(() => faults.push("GraphiQL does not run a subscription"));
  await page.context().close();
}

// A slash is appended: the leaderboard, the entity's page and the feed status show it by themselves.
{
  const pages = {};
  for (const path of ["/", `/e/${slashed}`, "/feed"]) {
    pages[path] = await open({ viewport: { width: 1280, height: 900 } });
    await visit(pages[path], path);
    await pages[path].evaluate(() => (window.neverReloaded = true));
    await pages[path].waitForSelector(".dot.live");
  }
  const count = (page) => page.$eval(".open h2", (one) => Number(one.textContent.match(/\d+/)?.[0] ?? 0)).catch(() => 0);
  const before = { open: await count(pages["/"]), head: await pages["/feed"].$eval("td:nth-child(2) data", (one) => one.value) };
  const slashes = await pages[`/e/${slashed}`].$$eval(".tag.bad", (all) => all.filter((one) => one.textContent === "open").length);
  const lines = createInterface({ input: process.stdin });
  console.log("slash now");
  for await (const line of lines) if (line === "slashed") break;
  const within = { timeout: 20_000 };
  await pages["/"].waitForFunction((before) => Number(document.querySelector(".open h2")?.textContent.match(/\d+/)?.[0] ?? 0) > before, before.open, within)
    .catch(() => faults.push("the leaderboard does not show the slash"));
  await pages[`/e/${slashed}`].waitForFunction((before) => [...document.querySelectorAll(".tag.bad")].filter((one) => one.textContent === "open").length > before, slashes, within)
    .catch(() => faults.push("the entity's page does not show the slash"));
  await pages["/feed"].waitForFunction((before) => Number(document.querySelector("td:nth-child(2) data").value) > Number(before), before.head, within)
    .catch(() => faults.push("the feed status does not show the new block"));
  for (const [path, page] of Object.entries(pages)) check(await page.evaluate(() => window.neverReloaded === true), `${path} was loaded anew`);
  await pages["/"].screenshot({ path: `${folder}/after-the-slash.png`, fullPage: true });
}

await browser.close();
for (const fault of new Set(faults)) console.error(fault);
console.log(faults.length === 0 ? "all well" : `${new Set(faults).size} faults`);
process.exit(faults.length === 0 ? 0 : 1);
