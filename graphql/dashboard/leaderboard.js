// Who is rated how, with the open slashings above it.

import { figure, h, table } from "./dom.js";
import { blockName, blocksAsTime, grouped, kindName, mainDriver, moment, nameOf, ownNameOf, percent, percentOfMillion } from "./format.js";
import { badge, scale } from "./charts.js";
import { openSlashings, SLASHING } from "./slashings.js";
import { to } from "./frame.js";

const QUERY = `query Leaderboard($asOf: AsOf, $where: EntityWhere, $orderBy: EntityOrder, $after: String) {
  snapshot(asOf: $asOf) { position revision block { chainId number time } }
  open: slashings(asOf: $asOf, where: { isOpen: true }, first: 10) { totalCount nodes { ...S } }
  recent: ratingActions(asOf: $asOf, first: 6) {
    nodes { kind fromGrade toGrade block { number time }
      entity { slug kind address ... on OperatorSet { operatorSetId } } } }
  entities(asOf: $asOf, where: $where, orderBy: $orderBy, first: 50, after: $after) {
    totalCount
    nodes {
      slug kind chainId address
      rating { label grade score expectedLossPpt notRatedReason interval { bestGrade worstGrade }
        outlook isWatchNegative coveragePpm attribution { block class points }
        rationale { warnings } block { number time } }
      ratingBefore(days: 90) { label score }
      ... on Operator { profile { allocationDelayBlocks untrustedMetadataUri } }
      ... on Avs { avsProfile: profile { untrustedMetadataUri untrustedName } }
      ... on OperatorSet { operatorSetId terms { redistributionRecipient } }
      ... on Lrt { untrustedName }
    }
    pageInfo { hasNextPage endCursor }
  }
}
${SLASHING}`;

const KINDS = ["OPERATOR", "AVS", "OPERATOR_SET", "LRT"];
const ORDERS = {
  "grade": ["Safest first", { field: "GRADE", direction: "ASC" }],
  "-grade": ["Riskiest first", { field: "GRADE", direction: "DESC" }],
  "loss": ["Smallest expected loss first", { field: "EXPECTED_LOSS", direction: "ASC" }],
  "-loss": ["Largest expected loss first", { field: "EXPECTED_LOSS", direction: "DESC" }],
  "-new": ["Newest first", { field: "POSITION", direction: "DESC" }],
};
const GRADE_FILTERS = {
  "": "Any grade", investment: "Investment grade (BBB- and better)",
  speculative: "Below BBB-", watch: "On watch", nr: "Not rated",
};

function filterOf(parameters) {
  const [kind, grade, text] = ["kind", "grade", "q"].map((name) => parameters.get(name));
  const where = {};
  if (KINDS.includes(kind)) where.kind = [kind];
  if (text) where.slugContains = text;
  if (grade === "investment") where.grade = { worst: "BBB-" };
  if (grade === "speculative") where.grade = { best: "BB+" };
  if (grade === "watch") where.isWatchNegative = true;
  if (grade === "nr") where.isRated = false;
  return where;
}

export async function load({ ask, asOf, at, parameters, here, go }) {
  const order = ORDERS[parameters.get("order")] ? parameters.get("order") : "grade";
  const variables = {
    ...(asOf && { asOf }), where: filterOf(parameters), orderBy: ORDERS[order][1],
    ...(parameters.get("after") && { after: parameters.get("after") }),
  };
  const { data } = await ask(QUERY, variables);
  const page = data.entities;
  const body = h("div", null,
    h("h1", { class: "unseen" }, "Ratings of restaking"),
    openSlashings(data.open),
    h("div", { class: "head" },
      h("h2", null, figure(page.totalCount, grouped(page.totalCount)), page.totalCount === 1 ? " entity" : " entities"),
      filters(parameters, order, here, go)),
    page.nodes.length ? list(page.nodes) : h("section", { class: "empty" }, h("p", null, "Nothing fits this filter."),
      h("p", null, h("a", { href: here({ q: null, kind: null, grade: null, after: null }) }, "Show all"))),
    h("p", { class: "pages" },
      parameters.get("after") && h("a", { href: here({ after: null }) }, "First page"),
      page.pageInfo.hasNextPage && h("a", { href: here({ after: page.pageInfo.endCursor, at: data.snapshot.position }) }, "Next page")),
    recent(data.recent.nodes));
  return { title: "Ratings", body, snapshot: data.snapshot, query: QUERY, variables, csv: `/v1/export/ratings.csv${at ? `?at=${at}` : ""}` };
}

function filters(parameters, order, here, go) {
  const choose = (name, label, options, chosen) =>
    h("select", { "aria-label": label, onchange: (event) => go(here({ [name]: event.target.value, after: null })) },
      options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  const text = parameters.get("q");
  return h("div", { class: "filters" },
    text && h("a", { class: "chip", href: here({ q: null, after: null }) }, `“${text}” ×`),
    choose("kind", "Kind", [["", "All kinds"], ...KINDS.map((kind) => [kind, `${kindName(kind)}s`])], parameters.get("kind") ?? ""),
    choose("grade", "Grade", Object.entries(GRADE_FILTERS), parameters.get("grade") ?? ""),
    choose("order", "Order", Object.entries(ORDERS).map(([value, [name]]) => [value, name]), order));
}

/** How a score moved: positive is better. */
function change(entity) {
  const [now, then] = [entity.rating?.score, entity.ratingBefore?.score];
  if (now == null) return h("span", { class: "none" }, "–");
  if (then == null) return h("span", { class: "soft" }, "new");
  const notches = (then - now) / 1000;
  if (Math.abs(notches) < 0.05) return h("span", { class: "soft", title: `score ${then} before` }, "0");
  const isBetter = notches > 0;
  return h("span", { class: isBetter ? "better" : "worse", title: `score ${then} before` },
    `${isBetter ? "▲" : "▼"} ${Math.abs(notches).toFixed(1)}`);
}

export const OUTLOOKS = { POSITIVE: "▲ positive", STABLE: "stable", NEGATIVE: "▼ negative" };

export function outlook(rating) {
  if (!rating?.grade) return h("span", { class: "none" }, "–");
  return [h("span", { class: rating.outlook === "NEGATIVE" ? "worse" : rating.outlook === "POSITIVE" ? "better" : "soft" }, OUTLOOKS[rating.outlook]),
    rating.isWatchNegative && h("span", { class: "tag bad" }, "watch")];
}

function driver({ rating }) {
  if (!rating?.grade) return h("span", { class: "soft" }, rating?.notRatedReason?.replace(/^Not rated: /, "") ?? "not assessed yet");
  const block = mainDriver(rating.attribution);
  const { label, subject } = block ? blockName(block) : { label: "–", subject: "" };
  return [label === "Ceiling" ? `Ceiling: ${subject}` : label,
    rating.rationale.warnings.length > 0 && h("span", { class: "tag bad", title: rating.rationale.warnings.join(" ") }, "pays itself")];
}

/** Terms that change a delegator's risk without notice. */
function terms(entity) {
  const delay = entity.profile?.allocationDelayBlocks;
  if (delay === 0) return h("span", { class: "tag bad" }, "no allocation delay");
  if (delay != null) return ["delay ", figure(delay, blocksAsTime(delay))];
  if (entity.terms?.redistributionRecipient) return h("span", { class: "tag" }, "redistributes");
  return h("span", { class: "none" }, "–");
}

function list(entities) {
  return table("Ratings", [
    ["Rating", ({ rating }) => badge(rating?.label ?? "–", rating?.grade), "fixed"],
    ["Entity", (entity) => [to(`/e/${entity.slug}`, nameOf(entity)),
      ownNameOf(entity) && h("span", { class: "own", title: "What it calls itself: written by a stranger" }, ownNameOf(entity))], "name"],
    ["90 % interval", ({ rating }) => rating?.interval
      ? [scale(rating.grade, rating.interval.bestGrade, rating.interval.worstGrade), h("span", { class: "ends" }, `${rating.interval.bestGrade} to ${rating.interval.worstGrade}`)]
      : h("span", { class: "none" }, "–"), "interval"],
    ["Expected loss", ({ rating }) => rating?.grade ? figure(rating.expectedLossPpt, percent(rating.expectedLossPpt)) : h("span", { class: "none" }, "–"), "number"],
    ["90 days", change, "number"],
    ["Outlook", ({ rating }) => outlook(rating), "fixed"],
    ["Main driver", driver, "driver"],
    ["Terms", terms],
    ["Coverage", ({ rating }) => rating?.coveragePpm == null ? h("span", { class: "none" }, "–") : figure(rating.coveragePpm, percentOfMillion(rating.coveragePpm)), "number"],
  ], entities, { class: "ratings" });
}

export const ACTIONS = { ASSIGNED: "Assigned", AFFIRMED: "Affirmed", UPGRADED: "Upgraded", DOWNGRADED: "Downgraded", WITHDRAWN: "Withdrawn" };

/** A rating action in a line. */
export const actionLine = (action) => [
  h("span", { class: action.kind === "DOWNGRADED" || action.kind === "WITHDRAWN" ? "worse" : action.kind === "UPGRADED" ? "better" : "soft" }, ACTIONS[action.kind]), " ",
  action.fromGrade && action.fromGrade !== action.toGrade && [badge(action.fromGrade, action.fromGrade, "small"), " → "],
  badge(action.toGrade ?? "NR", action.toGrade, "small")];

function recent(actions) {
  return h("section", null,
    h("div", { class: "head" }, h("h2", null, "Latest rating actions"), to("/actions", "All of them")),
    h("ul", { class: "lines" }, actions.map((action) => h("li", null,
      h("time", { datetime: action.block.time }, moment(action.block.time)), actionLine(action),
      action.entity && to(`/e/${action.entity.slug}`, nameOf(action.entity))))));
}

