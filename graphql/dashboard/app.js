// Opens the page that the address names, keeps it up to date, and listens to the keyboard.

import { Refusal, ask, askLink, follow } from "./api.js";
import { h } from "./dom.js";
import { STATUS, drawPlace, drawTop, here, markPage, startTheme } from "./frame.js";

const ROUTES = [
  [/^\/$/, "/ui/leaderboard.js"], [/^\/e\/([^/]+)$/, "/ui/entity.js"],
  [/^\/slashings$/, "/ui/slashings.js"], [/^\/actions$/, "/ui/slashings.js"],
  [/^\/stress$/, "/ui/stress.js"], [/^\/frontier$/, "/ui/frontier.js"], [/^\/feed$/, "/ui/feed.js"], [/^\/methodology$/, "/ui/methodology.js"],
];

/** Chains that are made up. */
const DEMO_CHAIN = 31337;

/** Until the server is asked again for what it had no time for. */
const RETRY_MS = 3_000;

const state = { link: "away", shown: null, status: null, turn: 0 };
const main = document.getElementById("main");

/** Goes to an address; with a wait, only when nobody goes elsewhere meanwhile. */
function go(path, waitMs = 0) {
  history.pushState(null, "", path);
  open({ isNew: true, waitMs });
}

/** What the page modules get: the address taken apart. */
function request() {
  const parameters = new URLSearchParams(location.search);
  for (const [pattern, module] of ROUTES) {
    const found = pattern.exec(location.pathname);
    if (found) {
      const at = parameters.get("at");
      const asOf = at ? { position: at } : undefined;
      return { module, parameters, at, asOf, slug: found[1] && decodeURIComponent(found[1]), path: location.pathname };
    }
  }
  return null;
}

/** Asks what the page asks and draws it. */
async function open({ isNew, waitMs = 0 }) {
  const turn = ++state.turn;
  if (waitMs > 0) await new Promise((done) => setTimeout(done, waitMs));
  if (turn !== state.turn) return;
  const asked = request();
  markPage(location.pathname);
  // Whoever moves a slider stays where it is.
  if (isNew && !focused()) scrollTo(0, 0);
  if (!asked) return draw(turn, problem("There is no such page.", "The pages are named above."), null, null);
  try {
    const [page, status] = await Promise.all([import(asked.module), ask(STATUS)]);
    state.status = status.data.status;
    state.feed ??= begin(state.status.feedPosition);
    const content = await page.load({ ...asked, ask, go, here, status: state.status });
    if (turn !== state.turn) return;
    const snapshot = content.snapshot ?? state.status.head;
    draw(turn, content.body, asked, { ...content, snapshot });
    document.title = `${content.title} · Assay`;
    if (isNew && state.shown && !focused()) main.focus({ preventScroll: true });
    state.shown = location.href;
    content.after?.();
  } catch (error) {
    if (turn !== state.turn) return;
    const isRefusal = error instanceof Refusal;
    const passes = !isRefusal || error.code === "UNAVAILABLE";
    draw(turn, problem(isRefusal ? error.message : "The server does not answer.", passes ? "It is tried again in a few seconds." : error.hint), asked, null);
    if (!passes) return;
    delete main.dataset.ready;
    setTimeout(() => turn === state.turn && open({ isNew: false }), RETRY_MS);
  }
}

const problem = (message, hint) =>
  h("section", { class: "empty" }, h("h1", null, message), hint && h("p", null, hint), h("p", null, h("a", { href: "/" }, "All ratings")));

/** The control of the page that has the focus, by its label. */
const focused = () => main.querySelector(":is(input, select):focus")?.getAttribute("aria-label");

let last = { asked: null, content: null };

function draw(turn, body, asked, content) {
  if (turn !== state.turn) return;
  last = { asked, content };
  const opened = [...main.querySelectorAll("details[open] > summary")].map((one) => one.textContent);
  const label = focused();
  main.replaceChildren(body);
  if (label) main.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus({ preventScroll: true });
  for (const summary of main.querySelectorAll("details > summary")) {
    if (opened.includes(summary.textContent)) summary.parentElement.open = true;
  }
  main.dataset.ready = location.pathname + location.search;
  drawBar();
}

function drawBar() {
  const { asked, content } = last;
  const links = content && [
    content.query && [" · ", h("a", { href: askLink(content.query, content.variables), "data-query": true }, "Show the query")],
    content.csv && [" · ", h("a", { href: content.csv, download: true }, "CSV")],
  ];
  const chains = state.status?.chains ?? [];
  drawPlace({
    snapshot: content?.snapshot, at: asked?.at, state: state.link, links, go,
    isDemo: chains.some((chain) => chain.chainId === DEMO_CHAIN),
  });
}

/** From now on whatever is new is shown, without a reload. */
function begin(place) {
  let timer;
  follow(place, (news) => {
    const parts = { RATING_ACTION: "a rating action", SLASHING: "a slashing", PUBLICATION: "a publication" };
    document.getElementById("news").textContent = news ? `New: ${parts[news.kind]}` : "";
    clearTimeout(timer);
    timer = setTimeout(() => !request()?.at && open({ isNew: false }), 250);
  }, (link) => {
    state.link = link;
    drawBar();
  });
  return true;
}

addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href]");
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!anchor || !isPlain || anchor.hasAttribute("download")) return;
  // The anchors of drawings have no parts of an address of their own.
  const link = new URL(anchor.getAttribute("href"), location.href);
  if (link.origin !== location.origin) return;
  if (link.pathname.startsWith("/graph") || /^\/(v1|feeds)\//.test(link.pathname)) return;
  if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
  event.preventDefault();
  go(link.pathname + link.search + link.hash);
});
addEventListener("popstate", () => open({ isNew: true }));

const KEYS = { l: "/", s: "/slashings", a: "/actions", w: "/stress", r: "/frontier", f: "/feed", m: "/methodology" };
let isGoing = false;
addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && isTyping) event.target.blur();
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const focus = { "/": "#top input", t: ".travel input" }[event.key];
  if (focus && !isGoing) {
    event.preventDefault();
    document.querySelector(focus)?.focus();
  }
  if (isGoing && KEYS[event.key]) go(here({ after: null, q: null, kind: null, grade: null, slash: null, take: null, bug: null, exits: null, scenario: null, of: null }, KEYS[event.key]));
  isGoing = event.key === "g";
});

startTheme();
drawTop(go);
open({ isNew: true });
