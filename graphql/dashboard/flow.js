// A flow from left to right, drawn by hand: each way is a value that passes some stops. Stops link
// to their pages; whoever points at one, or focuses it, sees its ways alone.

import { h, s } from "./dom.js";
import { family, significant } from "./format.js";
import { here } from "./frame.js";

/** Stops of a column drawn one by one; the smaller ones are one. */
const STOPS_MAX = 12;
const GAP = 14;
const BAR = 12;
const TOP = 26;
/** Width of the last column. */
const LAST = 190;

/** Ways are { value, stops: [{ key, name, path, grade, label }] }; the first stop is common to all. */
export function flow(ways, headings) {
  const all = ways.filter((way) => way.value > 0);
  const total = all.reduce((sum, way) => sum + way.value, 0);
  if (total === 0) return h("p", { class: "soft" }, "Nothing is in it.");
  const columns = headings.map(() => new Map());
  for (const way of all) {
    way.stops.forEach((stop, column) => {
      const known = columns[column].get(stop.key) ?? { ...stop, column, value: 0, from: 0, into: 0 };
      known.value += way.value;
      columns[column].set(stop.key, known);
    });
  }
  // What is too small for a stop of its own goes through a common one.
  for (const [column, stops] of columns.entries()) {
    const ranked = [...stops.values()].sort((a, b) => b.value - a.value);
    const small = ranked.slice(STOPS_MAX - 1);
    if (small.length < 2) continue;
    const rest = { key: "rest", name: `${small.length} others`, column, value: 0, from: 0, into: 0 };
    for (const one of small) {
      rest.value += one.value;
      stops.set(one.key, rest);
    }
  }
  const drawn = columns.map((stops) => [...new Set(stops.values())].sort((a, b) => b.value - a.value));
  const rows = Math.max(...drawn.map((stops) => stops.length));
  const width = Math.max(960, document.getElementById("main").clientWidth - 50);
  const height = Math.max(240, rows * 44 + TOP);
  const scale = (height - TOP - 8 - (rows - 1) * GAP) / total;
  const step = (width - BAR - LAST) / (headings.length - 1);
  for (const stops of drawn) {
    let y = TOP;
    for (const stop of stops) {
      Object.assign(stop, { x: 2 + stop.column * step, y, height: Math.max(2, stop.value * scale) });
      // A label needs its line, however thin the bar.
      y += Math.max(stop.height, 30) + GAP;
    }
  }
  const bottom = Math.max(...drawn.flat().map((stop) => stop.y + Math.max(stop.height, 30))) + 6;
  const links = new Map();
  for (const way of all) {
    const path = way.stops.map((stop, column) => columns[column].get(stop.key));
    for (let index = 1; index < path.length; index++) {
      const [from, into] = [path[index - 1], path[index]];
      const key = `${from.column} ${from.key} ${into.key}`;
      const link = links.get(key) ?? { from, into, value: 0, passes: new Set() };
      link.value += way.value;
      path.forEach((stop) => link.passes.add(stop));
      links.set(key, link);
    }
  }
  const ranked = [...links.values()].sort((a, b) => a.from.y - b.from.y || a.into.y - b.into.y);
  const bands = ranked.map((link) => {
    const { from, into } = link;
    const thick = Math.max(1, link.value * scale);
    const [y0, y1] = [from.y + from.from + thick / 2, into.y + into.into + thick / 2];
    from.from += thick;
    into.into += thick;
    const [x0, x1] = [from.x + BAR, into.x];
    const middle = (x0 + x1) / 2;
    link.node = s("path", { d: `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}`, "stroke-width": thick, class: `band g-${family(into.grade ?? from.grade)}` });
    return link.node;
  });
  const isolate = (stop) => {
    for (const link of ranked) link.node.classList.toggle("dim", stop !== null && !link.passes.has(stop));
  };
  const part = (stop) => `${significant((stop.value / total) * 100)} %`;
  const nodes = drawn.flat().map((stop) => {
    const most = Math.floor(((stop.column === headings.length - 1 ? LAST : step) - BAR - 12) / 7);
    const name = stop.name.length > most ? `${stop.name.slice(0, most - 1)}…` : stop.name;
    const attributes = {
      class: "stop", onpointerenter: () => isolate(stop), onpointerleave: () => isolate(null), onfocus: () => isolate(stop), onblur: () => isolate(null),
      ...(stop.path && { href: here({ after: null }, stop.path) }),
    };
    return s(stop.path ? "a" : "g", attributes,
      name !== stop.name && s("title", null, stop.name),
      s("rect", { x: stop.x, y: stop.y, width: BAR, height: stop.height, class: `bar g-${family(stop.grade)}` }),
      s("text", { x: stop.x + BAR + 6, y: stop.y + 12, class: "name" }, name),
      s("text", { x: stop.x + BAR + 6, y: stop.y + 26 }, [part(stop), stop.label && ` · ${stop.label}`]));
  });
  const titles = headings.map((heading, column) => s("text", { x: 2 + column * step, y: 14 }, heading));
  return h("div", { class: "scroll flow", tabindex: 0, role: "region", "aria-label": "The way of the ether, from left to right" },
    s("svg", { viewBox: `0 0 ${width} ${bottom}`, width, height: bottom, role: "group", "aria-label": "Token, operators, operator sets, AVSs, verticals" }, titles, bands, nodes));
}
