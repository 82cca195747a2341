// What every page has: navigation, theme, the position it shows, and the way to the same page at
// another position.

import { ask } from "./api.js";
import { figure, h } from "./dom.js";
import { grouped, moment, nameOf } from "./format.js";

const PAGES = [
  ["/", "Ratings", "l"], ["/slashings", "Slashings", "s"], ["/actions", "Actions", "a"],
  ["/stress", "What if", "w"], ["/frontier", "Frontier", "r"], ["/feed", "Feed", "f"], ["/methodology", "Methodology", "m"],
];

/** The page's own address with other parameters; null removes one. */
export function here(changes, path = location.pathname) {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") parameters.delete(name);
    else parameters.set(name, value);
  }
  const text = parameters.toString();
  return path + (text ? `?${text}` : "");
}

/** A link within the dashboard, at the position that is shown. */
export function to(path, ...children) {
  const at = new URLSearchParams(location.search).get("at");
  return h("a", { href: at ? `${path}?at=${encodeURIComponent(at)}` : path }, children);
}

/** What an entity, or the AVS of a set, calls itself. */
export const ownName = (entity) => entity.untrustedName
  && h("span", { class: "own", title: "What it calls itself: written by a stranger, verified by nobody" }, ` “${entity.untrustedName}”`);

/** A link to an entity, and what it calls itself. */
export const linked = (entity) => [to(`/e/${entity.slug}`, nameOf(entity)), ownName(entity)];

export const STATUS = `query Status { status {
  head { position revision methodologyHash block { chainId number time } }
  feedPosition updatedAt
  chains { chainId headNumber finalized { number time } updatedAt lagBlocks unmappedLogs } } }`;

const DARK = "dark";
const LIGHT = "light";

function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? DARK : LIGHT;
  return document.documentElement.dataset.theme ?? system;
}

export function startTheme() {
  const kept = localStorage.getItem("theme");
  if (kept === DARK || kept === LIGHT) document.documentElement.dataset.theme = kept;
}

function switchTheme() {
  const next = theme() === DARK ? LIGHT : DARK;
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}

/** Draws the header once; `go` opens a path. */
export function drawTop(go) {
  const search = h("input", {
    type: "search", name: "q", placeholder: "Address, slug or kind", maxlength: 100,
    "aria-label": "Search entities", "aria-keyshortcuts": "/", autocomplete: "off",
  });
  const form = h("form", { role: "search", onsubmit: (event) => {
    event.preventDefault();
    const text = search.value.trim();
    const isSlug = /^(operator|avs|operator-set|lrt)-\d+-0x[0-9a-f]{40}(-\d+)?$/i.test(text);
    go(isSlug ? here({ q: null, after: null, kind: null }, `/e/${text.toLowerCase()}`)
      : here({ q: text, after: null }, "/"));
  } }, search);
  const nav = h("nav", { "aria-label": "Pages" }, PAGES.map(([path, name, key]) =>
    h("a", { href: path, "data-page": path, "aria-keyshortcuts": `g ${key}` }, name)),
    h("a", { href: "/graphiql", "data-outside": true }, "API"));
  document.getElementById("top").replaceChildren(
    h("a", { class: "brand", href: "/" }, h("img", { src: "/ui/icon.svg", alt: "", width: 24, height: 24 }), "Assay"),
    nav, form,
    h("button", { type: "button", class: "plain", onclick: switchTheme, "aria-label": "Switch between dark and light" }, "◐"));
}

/** Marks the page that is open, and keeps the position in the links of the header. */
export function markPage(path) {
  const at = new URLSearchParams(location.search).get("at");
  for (const link of document.querySelectorAll("#top nav a:not([data-outside])")) {
    const own = link.dataset.page;
    link.setAttribute("href", at ? `${own}?at=${at}` : own);
    const isOpen = own === path || (own === "/" && path.startsWith("/e/"));
    if (isOpen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** What the user may type to travel to: a position, a block, a day. */
async function positionOf(text) {
  if (/^\d+$/.test(text)) return text;
  const block = /^block:(?:(\d+):)?(\d+)$/.exec(text);
  const asOf = block
    ? { block: { chainId: Number(block[1] ?? 1), number: Number(block[2]) } }
    : { time: /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T23:59:59Z` : text };
  const { data } = await ask("query At($asOf: AsOf) { snapshot(asOf: $asOf) { position } }", { asOf });
  return data.snapshot.position;
}

/** Draws the bar that says as of when the page speaks. */
export function drawPlace({ snapshot, at, state, isDemo, links, go }) {
  const block = snapshot?.block;
  const problem = h("span", { class: "problem", role: "alert" });
  const input = h("input", {
    name: "at", size: 16, "aria-label": "Travel to a position, block:N or a day",
    placeholder: "position, block:N, 2026-03-29", autocomplete: "off", "aria-keyshortcuts": "t",
  });
  const travel = h("form", { class: "travel", onsubmit: async (event) => {
    event.preventDefault();
    try {
      go(here({ at: await positionOf(input.value.trim()), after: null }));
    } catch (refusal) {
      problem.textContent = refusal.message;
    }
  } }, input, h("button", null, "Travel"), problem);
  const bar = document.getElementById("place");
  bar.className = at ? "place past" : "place";
  bar.replaceChildren(
    ...(isDemo ? [h("p", { class: "demo" }, h("strong", null, "DEMO"), " – a made-up world: every name, address and figure is invented.")] : []),
    h("div", { class: "bar" },
      h("p", null,
        at ? h("strong", null, "In the past: ") : h("span", { class: `dot ${state}`, title: state === "live" ? "Live" : "Not connected" }),
        snapshot?.block
          ? ["as of block ", figure(block.number, grouped(block.number)), block.chainId === 1 ? "" : [" of chain ", figure(block.chainId, block.chainId)],
            " · ", h("time", { datetime: block.time }, moment(block.time)), " · position ", figure(snapshot.position, grouped(snapshot.position))]
          : "nothing is in the log yet",
        !at && state === "away" && h("span", { class: "problem" }, " · not connected, trying again")),
      h("p", { class: "links" },
        at ? h("a", { href: here({ at: null, after: null }) }, "Back to now")
          : snapshot?.position && h("a", { href: here({ at: snapshot.position }) }, "Permalink"),
        links),
      travel));
}
