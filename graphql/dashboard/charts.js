// Charts as SVG, drawn by hand: each says nothing that its sentence and table do not say.

import { h, s } from "./dom.js";
import { GRADES, SCORE_MAX, blockName, day, family, moment, percent, percentOfBp, significant } from "./format.js";

/** A grade as people know it, with its colour. */
export const badge = (label, grade, size) =>
  h("span", { class: `grade g-${family(grade)}${size ? ` ${size}` : ""}` }, label);

/** Where a grade and its interval lie on the scale. Decoration: the text beside it says it. */
export function scale(grade, best, worst) {
  const x = (name) => 4 + GRADES.indexOf(name) * 5.8;
  if (!grade) return h("span");
  return s("svg", { class: "scale", viewBox: "0 0 118 12", width: 118, height: 12, "aria-hidden": true },
    s("line", { x1: 4, y1: 6, x2: 114, y2: 6, class: "track" }),
    best && s("line", { x1: x(best), y1: 6, x2: x(worst), y2: 6, class: `range g-${family(grade)}` }),
    s("circle", { cx: x(grade), cy: 6, r: 4, class: `mark g-${family(grade)}` }));
}

/** As wide as the page, or half of a wide one, so that its text is as large as the page's. */
function width(isHalf) {
  const main = document.getElementById("main").clientWidth - 50;
  return Math.max(300, isHalf && main > 900 ? main / 2 - 16 : main);
}

const LEFT = 46;
const RIGHT = 12;

/** A rating's history: steps, the interval behind them, actions marked. Points are oldest first. */
export function history(points, actions) {
  const WIDTH = width();
  const rated = points.filter((point) => point.score !== null);
  const first = Date.parse(points[0].block.time);
  const final = Date.parse(points.at(-1).block.time);
  const last = final > first ? final : first + 86_400_000;
  const [low, high] = [Math.min(...rated.map((p) => p.score)), Math.max(...rated.map((p) => p.score))];
  const top = Math.max(0, Math.floor(low / 1000) - 1) * 1000;
  const bottom = Math.min(SCORE_MAX, (Math.floor(high / 1000) + 2) * 1000);
  const height = 230;
  const x = (time) => LEFT + ((Date.parse(time) - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (score) => 14 + ((score - top) / (bottom - top)) * (height - 44);
  const steps = rated.map((point, index) => {
    const at = x(point.block.time).toFixed(1);
    return index === 0 ? `M${at} ${y(point.score).toFixed(1)}` : `H${at}V${y(point.score).toFixed(1)}`;
  }).join("") + `H${WIDTH - RIGHT}`;
  const lines = [];
  const every = bottom - top > 9000 ? 2000 : 1000;
  for (let score = top; score <= bottom; score += every) {
    lines.push(s("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(score), y2: y(score), class: "grid" }),
      s("text", { x: LEFT - 6, y: y(score) + 4, "text-anchor": "end" }, GRADES[Math.min(19, Math.round(score / 1000))]));
  }
  const marks = actions.filter((action) => action.toGrade && action.rating?.score != null).map((action) => {
    const [cx, cy] = [x(action.block.time), y(action.rating.score)];
    const shape = { UPGRADED: `M${cx - 5} ${cy - 7}h10l-5 -9z`, DOWNGRADED: `M${cx - 5} ${cy + 7}h10l-5 9z` }[action.kind];
    return shape ? s("path", { d: shape, class: `action ${action.kind.toLowerCase()}` }) : s("circle", { cx, cy, r: 3.5, class: "action" });
  });
  return readable({
    height, label: "Rating history", points: rated, x: (point) => x(point.block.time),
    say: (point) => `${moment(point.block.time)}: ${point.label}, score ${point.score}`,
  }, lines, s("path", { d: steps, class: "steps" }), marks,
  s("text", { x: LEFT, y: height - 6 }, day(points[0].block.time)),
  s("text", { x: WIDTH - RIGHT, y: height - 6, "text-anchor": "end" }, day(points.at(-1).block.time)));
}

/** A drawing whose points can be read one by one, with the pointer and with the arrow keys. */
function readable({ height, label, points, x, say, isHalf }, ...drawn) {
  const WIDTH = width(isHalf);
  const cursor = s("line", { y1: 8, y2: height - 24, class: "cursor", visibility: "hidden" });
  const said = h("p", { class: "readout", "aria-live": "polite" }, "Point at the line, or focus it and use the arrow keys.");
  let index = points.length - 1;
  const show = (to) => {
    index = Math.max(0, Math.min(points.length - 1, to));
    const at = x(points[index]);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.setAttribute("visibility", "visible");
    said.textContent = say(points[index]);
  };
  const drawing = s("svg", {
    viewBox: `0 0 ${WIDTH} ${height}`, class: "plot", tabindex: 0, role: "img",
    "aria-label": `${label}; the arrow keys read it point by point`,
    onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length }[event.key];
      if (!step) return;
      event.preventDefault();
      show(index + step);
    },
    onpointermove: (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * WIDTH;
      const next = points.findIndex((point) => x(point) > at);
      show((next < 0 ? points.length : next) - 1);
    },
  }, drawn, cursor);
  return h("div", null, drawing, said);
}

/** P(loss > x) within a year, both axes logarithmic: rare and large losses are what it is about. */
export function survival({ exceedance, levels }) {
  const WIDTH = width(true);
  const height = 250;
  const [least, most, rarest, left] = [5, 10_000, 1e-6, 58];
  const points = exceedance.filter((point) => point.lossBp >= least && Number(point.probabilityPpt) / 1e12 >= rarest);
  if (points.length < 2) return null;
  const lowest = Math.max(rarest, Number(points.at(-1).probabilityPpt) / 1e12);
  const highest = Number(points[0].probabilityPpt) / 1e12;
  const [top, bottom] = [Math.ceil(Math.log10(highest)), Math.floor(Math.log10(lowest))];
  const x = (bp) => left + (Math.log10(bp / least) / Math.log10(most / least)) * (WIDTH - left - RIGHT);
  const y = (p) => 14 + ((top - Math.log10(p)) / Math.max(1, top - bottom)) * (height - 44);
  const line = points.map((point, index) => {
    const [px, py] = [x(point.lossBp).toFixed(1), y(Number(point.probabilityPpt) / 1e12).toFixed(1)];
    return index === 0 ? `M${px} ${py}` : `H${px}V${py}`;
  }).join("");
  const rows = [];
  for (let power = top; power >= bottom; power--) {
    rows.push(s("line", { x1: left, x2: WIDTH - RIGHT, y1: y(10 ** power), y2: y(10 ** power), class: "grid" }),
      s("text", { x: left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, `${significant(10 ** (power + 2))} %`));
  }
  const columns = [10, 100, 1_000, 10_000].map((bp) => [
    s("line", { x1: x(bp), x2: x(bp), y1: 14, y2: height - 30, class: "grid" }),
    s("text", { x: Math.min(x(bp), WIDTH - RIGHT), y: height - 8, "text-anchor": bp === most ? "end" : "middle" }, percentOfBp(bp))]);
  const marks = levels.filter((level) => level.valueAtRiskBp >= least).map((level) => [
    s("circle", { cx: x(level.valueAtRiskBp), cy: y(Math.min(highest, Math.max(lowest, 1 - Number(level.level)))), r: 4, class: "action" },
      s("title", null, `value at risk at ${Number(level.level) * 100} %`))]);
  return readable({
    height, isHalf: true, label: "Loss distribution", points, x: (point) => x(point.lossBp),
    say: (point) => `More than ${percentOfBp(point.lossBp)} is lost within a year with probability ${percent(point.probabilityPpt)}`,
  }, rows, columns, s("path", { d: line, class: "steps" }), marks);
}

/** Blocks drawn one by one. */
const BLOCKS_MAX = 8;

/** Points of a score, block by block, each beginning where the one before ends. */
export function waterfall(blocks, names) {
  const total = blocks.reduce((sum, block) => sum + block.points, 0);
  const span = Math.max(1, blocks.reduce(([sum, most], block) => [sum + block.points, Math.max(most, sum + block.points)], [0, 0])[1]);
  let sum = 0;
  const shown = blocks.filter((block) => block.points !== 0);
  const isCause = (block) => block.class !== "cap" && block.class !== "reserve";
  const small = shown.filter(isCause).slice(BLOCKS_MAX);
  const rest = small.length > 1 && { rest: small.length, points: small.reduce((all, block) => all + block.points, 0) };
  const drawn = rest ? [...shown.filter((block) => isCause(block) && !small.includes(block)), rest, ...shown.filter((block) => !isCause(block))] : shown;
  const rows = [...drawn, null].map((block) => {
    const from = block ? sum : 0;
    const points = block ? block.points : total;
    if (block) sum += points;
    const [start, end] = [Math.min(from, from + points), Math.max(from, from + points)];
    const name = block?.rest ? { label: `${block.rest} smaller parts`, subject: "" } : block ? blockName(block, names) : { label: "Score", subject: "" };
    return h("li", { class: block ? null : "total" },
      h("span", { class: "what" }, h("strong", null, name.label), name.subject && [" ", h("span", { class: "subject" }, name.subject)]),
      s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true },
        s("rect", { x: (start / span) * 100, y: 1, width: Math.max(0.4, ((end - start) / span) * 100), height: 8, class: block ? (points < 0 ? "down" : block.class === "cap" ? "cap" : "up") : "sum" })),
      h(block?.rest ? "span" : "data", { value: block?.rest ? null : points, class: "number" }, block && points > 0 ? `+${points}` : points));
  });
  return h("ol", { class: "waterfall" }, rows);
}

/** Where grades go from and to, a line each; decoration: the table beside it says it. */
export function shift(effects, nameOf) {
  const WIDTH = width();
  const scaleOf = [...GRADES, null];
  const places = effects.flatMap((effect) => [effect.gradeBefore, effect.gradeAfter]).map((grade) => scaleOf.indexOf(grade));
  const [first, last] = [Math.max(0, Math.min(...places) - 1), Math.min(GRADES.length, Math.max(...places) + 1)];
  const names = WIDTH < 500 ? 120 : 210;
  const x = (grade) => names + 24 + ((scaleOf.indexOf(grade) - first) / Math.max(1, last - first)) * (WIDTH - names - 48);
  const height = 26 + effects.length * 24;
  const every = Math.ceil((last - first + 1) / (WIDTH < 500 ? 5 : 12));
  const shown = scaleOf.slice(first, last + 1).filter((_, index) => index % every === 0);
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "plot flow", "aria-hidden": true },
    shown.map((grade) => [s("text", { x: x(grade), y: 14, "text-anchor": "middle" }, grade ?? "NR"), s("line", { x1: x(grade), x2: x(grade), y1: 20, y2: height, class: "grid" })]),
    effects.map((effect, index) => {
      const [y, from, into] = [36 + index * 24, x(effect.gradeBefore), x(effect.gradeAfter)];
      const [name, most] = [nameOf(effect), Math.floor(names / 7)];
      return [s("text", { x: 8, y: y + 4, class: "name" }, name.length > most ? `${name.slice(0, most - 1)}…` : name),
        s("line", { x1: from, x2: into, y1: y, y2: y, class: `shift g-${family(effect.gradeAfter)}` }),
        s("circle", { cx: from, cy: y, r: 4, class: "from" }), s("circle", { cx: into, cy: y, r: 6, class: `bar g-${family(effect.gradeAfter)}` })];
    }));
}

/** Reward over tail risk; a cross marks what is held. */
export function frontierCurve(points, held) {
  const WIDTH = width();
  const height = 280;
  const all = held ? [...points, held] : points;
  const share = (ppt) => Number(ppt) / 1e12;
  const [right, top] = [Math.max(...all.map((one) => share(one.riskPpt))) * 1.08 || 1, Math.max(...all.map((one) => share(one.rewardPpt))) * 1.12 || 1];
  const left = 58;
  const x = (one) => left + (share(one.riskPpt) / right) * (WIDTH - left - RIGHT);
  const y = (one) => height - 40 - (share(one.rewardPpt) / top) * (height - 58);
  const ticks = [0, 0.25, 0.5, 0.75].map((part) => [
    s("line", { x1: left + part * (WIDTH - left - RIGHT), x2: left + part * (WIDTH - left - RIGHT), y1: 14, y2: height - 36, class: "grid" }),
    s("text", { x: left + part * (WIDTH - left - RIGHT), y: height - 22, "text-anchor": "middle" }, `${significant(part * right * 100)} %`),
    s("line", { x1: left, x2: WIDTH - RIGHT, y1: height - 40 - part * (height - 58), y2: height - 40 - part * (height - 58), class: "grid" }),
    s("text", { x: left - 6, y: height - 36 - part * (height - 58), "text-anchor": "end" }, `${significant(part * top * 100)} %`)]);
  const path = points.map((one, index) => `${index ? "L" : "M"}${x(one).toFixed(1)} ${y(one).toFixed(1)}`).join("");
  return readable({
    height, label: "Frontier", points, x,
    say: (one) => `${percent(one.rewardPpt)} a year, with an expected shortfall of ${percent(one.riskPpt)}`,
  }, ticks, s("path", { d: path, class: "steps" }), points.map((one) => s("circle", { cx: x(one), cy: y(one), r: 3.5, class: "action" })),
  held && [s("path", { d: `M${x(held) - 6} ${y(held)}h12M${x(held)} ${y(held) - 6}v12`, class: "held" }), s("text", { x: x(held) + 9, y: y(held) - 6 }, "held")],
  s("text", { x: WIDTH - RIGHT, y: height - 6, "text-anchor": "end" }, "tail risk, reward upwards"));
}

/** Slashes on a line of time; the larger the share, the larger the dot. */
export function timeline(slashes) {
  const WIDTH = width();
  const times = slashes.map((slash) => Date.parse(slash.block.time));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = (time) => 16 + (last > first ? (time - first) / (last - first) : 0.5) * (WIDTH - 32);
  return s("svg", { viewBox: `0 0 ${WIDTH} 74`, class: "plot", role: "img", "aria-label": "Slashes by time" },
    s("line", { x1: 8, x2: WIDTH - 8, y1: 36, y2: 36, class: "grid" }),
    slashes.map((slash, index) => s("circle", {
      cx: x(times[index]), cy: 36, r: 4 + 12 * Math.sqrt(worst(slash)),
      class: slash.redistributionRecipient ? "slash taken" : "slash",
    }, s("title", null, `${moment(slash.block.time)}: ${slash.operatorAddress}`))),
    s("text", { x: 8, y: 70 }, day(first)), s("text", { x: WIDTH - 8, y: 70, "text-anchor": "end" }, day(last)));
}

/** The largest share that a slash took of any strategy, 0 to 1. */
export const worst = (slash) =>
  Math.max(0, ...slash.strategies.map((one) => Number(one.allocationSlashedWad ?? one.wadSlashed) / 1e18));
