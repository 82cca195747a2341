// One entity: its rating, how it came about, how it moved, what hangs on it.

import { chart, figure, h, table } from "./dom.js";
import { blockName, blocksAsTime, day, grouped, inSentence, inWords, kindName, mainDriver, moment, nameOf, namesIn, percent, percentOfBp, percentOfMillion, percentOfWad, shares, short, strategyName, withNames } from "./format.js";
import { badge, history, scale, survival, waterfall } from "./charts.js";
import { ATTESTATION, attestations } from "./attestations.js";
import { BACKING, lookThrough } from "./lrt.js";
import { actionLine, outlook } from "./leaderboard.js";
import { SLASHING, openSlashings, slashTable } from "./slashings.js";
import { linked, to } from "./frame.js";

const QUERY = `query Entity($slug: String!, $asOf: AsOf) {
  snapshot(asOf: $asOf) { position revision methodologyHash block { chainId number time } }
  governanceChanges(entity: $slug, asOf: $asOf, first: 20) { totalCount nodes { summary opensWatch position block { number time } } }
  entity(slug: $slug, asOf: $asOf) {
    slug kind chainId address untrustedName key firstSeen { number time }
    rating { label grade score expectedLossPpt notRatedReason interval { lowPpt highPpt bestGrade worstGrade }
      conservativeGrade coveragePpm sufficiencyPpm isProvisional outlook isWatchNegative
      attribution { block class hazardPpt severityPpt exposurePpt expectedLossPpt points provenance }
      lossDistribution { expectedLossPpt aboveOnePercentPpt worstBp levels { level valueAtRiskBp expectedShortfallPpt }
        exceedance { lossBp probabilityPpt } contributions { block shortfallPpt } }
      rationale { summary warnings drivers raise lower restsOn }
      position block { chainId number time } assessmentHash seq word }
    ratingBefore(days: 90) { label grade score }
    ratingHistory(first: 100) { totalCount nodes { label grade score position block { number time } } }
    ratingActions(first: 50) { totalCount nodes { kind fromGrade toGrade position revision block { number time } rating { score } } }
    attestations(first: 50) { totalCount nodes { ...Claim } }
    ... on Lrt { backing { ...Backing } rates(first: 1) { nodes { rate block { time } } } }
    ... on Operator {
      profile { allocationDelayBlocks pendingAllocationDelay { blocks effectBlock } delegationApprover }
      shares(first: 50) { totalCount nodes { strategy shares block { number time } } }
      memberships(first: 50) { totalCount nodes { ...M } }
      allocations(first: 50) { totalCount nodes { ...A } }
      slashings(first: 20) { totalCount nodes { ...S } } }
    ... on Avs {
      operatorSets(first: 50) { totalCount nodes { slug kind address operatorSetId rating { label grade expectedLossPpt } terms { redistributionRecipient slasher } } }
      slashings(first: 20) { totalCount nodes { ...S } } }
    ... on OperatorSet {
      operatorSetId avs { slug kind address untrustedName rating { label grade } }
      terms { slasher pendingSlasher { address effectBlock } redistributionRecipient strategies }
      members(first: 50) { totalCount nodes { ...M } }
      allocations(first: 50) { totalCount nodes { ...A } }
      slashings(first: 20) { totalCount nodes { ...S } } }
  }
}
fragment O on Operator { slug kind address untrustedName rating { label grade } }
fragment Set on OperatorSet { slug kind address untrustedName operatorSetId rating { label grade } }
fragment M on Membership { operatorAddress operator { ...O } avsAddress operatorSetId operatorSet { ...Set } isMember slashableUntilBlock }
fragment A on Allocation { operatorAddress operator { ...O } avsAddress operatorSetId operatorSet { ...Set } strategy currentMagnitudeWad pendingMagnitudeWad effectBlock maxMagnitudeWad }
${ATTESTATION}
${BACKING}
${SLASHING}`;

const PUBLISHED = `query Published($slug: String!) { entity(slug: $slug) {
  publications(first: 10) { totalCount nodes { oracleChainId oracle seq word txHash blockNumber status recordedAt } } } }`;

export async function load({ ask, asOf, at, slug }) {
  const variables = { slug, ...(asOf && { asOf }) };
  const [{ data }, published] = await Promise.all([ask(QUERY, variables), ask(PUBLISHED, { slug })]);
  const entity = data.entity;
  if (!entity) {
    const body = h("section", { class: "empty" }, h("h1", null, "Nothing of that name was known"), h("p", null, slug), h("p", null, to("/", "All ratings")));
    return { title: "Unknown", body, snapshot: data.snapshot, query: QUERY, variables };
  }
  const slashes = entity.slashings?.nodes ?? [];
  const open = slashes.filter((slash) => slash.isOpen);
  const names = namesIn(data);
  const body = h("article", null,
    heading(entity),
    open.length > 0 && openSlashings({ totalCount: open.length, nodes: open }),
    entity.rating?.rationale.warnings.map((warning) => h("p", { class: "note bad" }, withNames(warning, names))),
    h("div", { class: "columns" }, h("div", null, why(entity, names), distribution(entity, names)), sentences(entity, names)),
    entity.backing && lookThrough(entity, names),
    moved(entity),
    actionsOf(entity),
    exposures(entity),
    control(data.governanceChanges),
    attestations(entity.attestations, names, at),
    slashes.length > 0 && h("section", null, h("h2", null, "Slashings"), slashTable("Slashings", slashes)),
    publications(published.data.entity?.publications, at),
    identity(entity));
  const suffix = at ? `&at=${at}` : "";
  return { title: nameOf(entity), body, snapshot: data.snapshot, query: QUERY, variables, csv: `/v1/export/history.csv?entity=${slug}${suffix}` };
}

function heading(entity) {
  const { rating } = entity;
  return h("header", { class: "entity" },
    badge(rating?.label ?? "–", rating?.grade, "large"),
    h("div", null,
      h("h1", null, nameOf(entity)),
      entity.untrustedName && h("p", { class: "own" }, entity.kind === "OPERATOR_SET" ? "of what" : "", ` calls itself “${entity.untrustedName}”, which nobody verified`),
      h("p", { class: "mono wrap" }, entity.address),
      rating?.grade
        ? h("dl", { class: "facts" },
          fact("Expected loss a year", figure(rating.expectedLossPpt, percent(rating.expectedLossPpt))),
          fact("90 % interval", [scale(rating.grade, rating.interval.bestGrade, rating.interval.worstGrade), " ", `${rating.interval.bestGrade} to ${rating.interval.worstGrade}`]),
          fact("Score", figure(rating.score, grouped(rating.score))),
          fact("90 days before", entity.ratingBefore ? [badge(entity.ratingBefore.label, entity.ratingBefore.grade, "small")] : "not rated"),
          fact("Outlook", outlook(rating)),
          fact("For lenders", badge(rating.conservativeGrade, rating.conservativeGrade, "small")),
          fact("Coverage", figure(rating.coveragePpm, percentOfMillion(rating.coveragePpm))),
          fact("Own record", figure(rating.sufficiencyPpm, percentOfMillion(rating.sufficiencyPpm))))
        : h("p", null, rating?.notRatedReason ?? "It was not assessed yet.")));
}

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

function distribution({ rating }, names) {
  const found = rating?.lossDistribution;
  const drawing = found && survival(found);
  if (!drawing) return null;
  const [, p99] = found.levels;
  const blocks = new Map(rating.attribution.map((block) => [block.block, block]));
  const largest = found.contributions.reduce((most, one) => (most && BigInt(most.shortfallPpt) >= BigInt(one.shortfallPpt) ? most : one), null);
  const of = blocks.get(largest?.block);
  return chart("What a year can cost", drawing,
    ["In 99 years of 100 no more than ", figure(p99.valueAtRiskBp, percentOfBp(p99.valueAtRiskBp)), " is lost; in the hundredth ", figure(p99.expectedShortfallPpt, percent(p99.expectedShortfallPpt)),
      " on average. More than 1 % is lost with probability ", figure(found.aboveOnePercentPpt, percent(found.aboveOnePercentPpt)), "; the worst that can happen costs ", figure(found.worstBp, percentOfBp(found.worstBp)), ".",
      of && [" What is lost then is mostly due to ", inSentence(blockName(of, names).label), "."]],
    [table("Value at risk and expected shortfall", [
      ["Level", (one) => figure(one.level, `${Number(one.level) * 100} %`)],
      ["Value at risk", (one) => figure(one.valueAtRiskBp, percentOfBp(one.valueAtRiskBp)), "number"],
      ["Expected shortfall", (one) => figure(one.expectedShortfallPpt, percent(one.expectedShortfallPpt)), "number"],
    ], found.levels),
    table("What each block adds to the shortfall at 99 %", [
      ["Block", (one) => { const name = blockName(blocks.get(one.block) ?? { block: one.block, class: "" }, names); return [name.label, " ", h("span", { class: "soft" }, name.subject)]; }],
      ["Its part", (one) => figure(one.shortfallPpt, percent(one.shortfallPpt)), "number"],
    ], found.contributions.filter((one) => one.shortfallPpt !== "0")),
    table("Probability that more is lost within a year", [
      ["Loss", (one) => figure(one.lossBp, percentOfBp(one.lossBp)), "number"],
      ["Probability of more", (one) => figure(one.probabilityPpt, percent(one.probabilityPpt)), "number"],
    ], found.exceedance.filter((one) => one.probabilityPpt !== "0"))]);
}

function why(entity, names) {
  const { rating } = entity;
  if (!rating?.grade || !rating.attribution.length) return null;
  const blocks = [...rating.attribution].sort((a, b) => (a.class === "cap") - (b.class === "cap") || (a.class === "reserve") - (b.class === "reserve") || b.points - a.points);
  const main = mainDriver(rating.attribution);
  const { label, subject } = blockName(main, names);
  const sentence = ["Score ", figure(rating.score, rating.score), ` is the sum of ${blocks.length} parts; the largest is ${label === "Ceiling" ? `the ceiling “${subject}”` : inSentence(label)}, `, figure(main.points, `${main.points} points`), ". Lower is safer; a notch is 1\u202f000.", blocks.some((block) => block.points === 0) && " Parts that add nothing are in the table."];
  return chart("Why this rating", waterfall(blocks, names), sentence, table("Loss blocks", [
    ["Block", (block) => { const name = blockName(block, names); return [name.label, " ", h("span", { class: "soft" }, name.subject)]; }],
    ["Points", (block) => figure(block.points, block.points), "number"],
    ["Expected loss", (block) => figure(block.expectedLossPpt, percent(block.expectedLossPpt)), "number"],
    ["Hazard a year", (block) => block.hazardPpt ? figure(block.hazardPpt, percent(block.hazardPpt)) : "–", "number"],
    ["Severity", (block) => block.severityPpt ? figure(block.severityPpt, percent(block.severityPpt)) : "–", "number"],
    ["Exposure", (block) => block.exposurePpt ? figure(block.exposurePpt, percent(block.exposurePpt)) : "–", "number"],
    ["Rests on", (block) => block.provenance?.replaceAll("_", " ") ?? "–"],
  ], blocks));
}

function sentences({ rating }, names) {
  if (!rating) return null;
  const { summary, drivers, raise, lower, restsOn } = rating.rationale;
  const list = (title, lines) => lines.length > 0 && [h("h3", null, title), h("ul", null, lines.map((line) => h("li", null, inWords(line, rating.attribution, names))))];
  return h("section", { class: "sentences" }, h("h2", null, "In words"),
    summary && h("p", null, summary),
    list("What drives it", drivers), list("What would raise it", raise), list("What would lower it", lower),
    list("What it rests on", restsOn));
}

function moved(entity) {
  const points = [...entity.ratingHistory.nodes].reverse();
  const rated = points.filter((point) => point.score !== null);
  if (rated.length === 0) return null;
  const [first, last] = [rated[0], rated.at(-1)];
  const more = entity.ratingHistory.totalCount > points.length ? ` The last ${points.length} of ${entity.ratingHistory.totalCount} assessments are drawn; the CSV has all.` : "";
  const sentence = first.label === last.label
    ? `${last.label} since ${day(first.block.time)}, over ${rated.length} assessments that changed something.${more}`
    : `From ${first.label} on ${day(first.block.time)} to ${last.label} on ${day(last.block.time)}, over ${rated.length} assessments that changed something.${more}`;
  return chart("How it moved", history(points, entity.ratingActions.nodes), sentence,
    table("Assessments", [
      ["Time", (point) => moment(point.block.time), "fixed"],
      ["Rating", (point) => badge(point.label, point.grade, "small")],
      ["Score", (point) => figure(point.score, point.score), "number"],
      ["Block", (point) => figure(point.block.number, grouped(point.block.number)), "number"],
    ], entity.ratingHistory.nodes));
}

function actionsOf({ ratingActions, slug }) {
  if (!ratingActions.nodes.length) return null;
  return h("section", null, h("h2", null, "What was said"),
    h("ul", { class: "lines" }, ratingActions.nodes.slice(0, 12).map((action) => h("li", null,
      h("time", { datetime: action.block.time }, moment(action.block.time)), actionLine(action),
      h("a", { href: `/e/${slug}?at=${action.position}` }, "as it was then")))));
}

/** Who can change what slashes for it, as it changed. */
function control({ nodes }) {
  if (!nodes.length) return null;
  return h("section", null, h("h2", null, "Who can change it"),
    h("ul", { class: "lines" }, nodes.map((change) => h("li", null,
      h("time", { datetime: change.block.time }, moment(change.block.time)), h("span", { class: "wrap" }, change.summary),
      change.opensWatch && h("span", { class: "tag bad" }, "opens a watch")))));
}

function exposures(entity) {
  const parts = [];
  const { profile, terms } = entity;
  if (entity.kind === "OPERATOR") {
    const delay = profile?.allocationDelayBlocks;
    parts.push(h("p", { class: delay === 0 ? "note bad" : "note" }, delay == null
      ? "It has not set an allocation delay."
      : delay === 0
        ? ["Its allocation delay is ", figure(delay, "0 blocks"), ": what its delegators risk can change without notice."]
        : ["New allocations take effect after ", figure(delay, `${grouped(delay)} blocks`), ` (${blocksAsTime(delay)}).`],
    profile?.pendingAllocationDelay && [" From block ", figure(profile.pendingAllocationDelay.effectBlock, grouped(profile.pendingAllocationDelay.effectBlock)), " on it is ", figure(profile.pendingAllocationDelay.blocks, `${grouped(profile.pendingAllocationDelay.blocks)} blocks.`)]));
    if (entity.shares.totalCount) parts.push(h("h3", null, "Delegated to it"), table("Shares", [
      ["Strategy", (one) => h("span", { class: "mono", title: one.strategy }, strategyName(one.strategy))],
      ["Shares", (one) => figure(one.shares, shares(one.shares)), "number"],
      ["Since", (one) => moment(one.block.time)],
    ], entity.shares.nodes));
  }
  if (terms) {
    parts.push(h("dl", { class: "facts" },
      fact("Who may slash", terms.slasher ? h("span", { class: "mono" }, short(terms.slasher)) : "no event says"),
      terms.pendingSlasher && fact("Slasher to come", [h("span", { class: "mono" }, short(terms.pendingSlasher.address)), " from block ", figure(terms.pendingSlasher.effectBlock, grouped(terms.pendingSlasher.effectBlock))]),
      fact("What is slashed", terms.redistributionRecipient ? ["goes to ", h("span", { class: "mono", title: terms.redistributionRecipient }, short(terms.redistributionRecipient))] : "is burnt"),
      fact("Strategies", terms.strategies.length ? figure(terms.strategies.length, terms.strategies.length) : "none in the log"), entity.avs && fact("AVS", rated(entity.avs))));
  }
  if (entity.operatorSets) parts.push(table("Operator sets", [
    ["Rating", (set) => badge(set.rating?.label ?? "–", set.rating?.grade, "small")],
    ["Operator set", (set) => to(`/e/${set.slug}`, nameOf(set))],
    ["Expected loss a year", (set) => set.rating?.grade ? figure(set.rating.expectedLossPpt, percent(set.rating.expectedLossPpt)) : "–", "number"],
    ["What is slashed", (set) => set.terms?.redistributionRecipient ? ["goes to ", h("span", { class: "mono" }, short(set.terms.redistributionRecipient))] : "is burnt"],
  ], entity.operatorSets.nodes));
  const isOperator = entity.kind === "OPERATOR";
  if (entity.allocations?.totalCount) parts.push(h("h3", null, "Allocations"), table("Allocations", [
    isOperator
      ? ["Operator set", (one) => one.operatorSet ? rated(one.operatorSet) : short(one.avsAddress)]
      : ["Operator", (one) => one.operator ? rated(one.operator) : short(one.operatorAddress)],
    ["Strategy", (one) => h("span", { class: "mono", title: one.strategy }, strategyName(one.strategy))],
    ["Slashable", (one) => [meter(one.currentMagnitudeWad), figure(one.currentMagnitudeWad, percentOfWad(one.currentMagnitudeWad))], "number"],
    ["Pending", (one) => one.pendingMagnitudeWad ? [figure(one.pendingMagnitudeWad, percentOfWad(one.pendingMagnitudeWad)), " from block ", figure(one.effectBlock, grouped(one.effectBlock))] : "–", "number"],
    ["Left after slashes", (one) => one.maxMagnitudeWad ? figure(one.maxMagnitudeWad, percentOfWad(one.maxMagnitudeWad)) : "–", "number"],
  ], entity.allocations.nodes));
  const members = entity.members ?? entity.memberships;
  if (members?.totalCount) parts.push(h("h3", null, isOperator ? "Memberships" : "Members"), table("Members", [
    isOperator
      ? ["Operator set", (one) => one.operatorSet ? rated(one.operatorSet) : short(one.avsAddress)]
      : ["Operator", (one) => one.operator ? rated(one.operator) : short(one.operatorAddress)],
    ["Now", (one) => one.isMember ? "member" : one.slashableUntilBlock ? ["left, slashable to block ", figure(one.slashableUntilBlock, grouped(one.slashableUntilBlock))] : "left"],
  ], members.nodes));
  return parts.length > 0 && h("section", null, h("h2", null, "What hangs on it"), parts);
}

/** An entity with its rating. */
const rated = (entity) => [badge(entity.rating?.label ?? "–", entity.rating?.grade, "small"), " ", linked(entity)];

/** A bar for a share of one. Decoration: the figure stands beside it. */
const meter = (wad) => h("meter", { min: 0, max: 1, value: Number(wad) / 1e18, "aria-hidden": true });

function publications(page, at) {
  const states = { INCLUDED: "in a block", FINAL: "final", REORGED: "taken back" };
  return h("section", null, h("h2", null, "On chain"), at && h("p", { class: "soft" }, "As it stands now."),
    page?.totalCount
      ? table("Publications", [
        ["Number", (one) => figure(one.seq, one.seq), "number"],
        ["Status", (one) => h("span", { class: `tag ${one.status === "FINAL" ? "good" : one.status === "REORGED" ? "bad" : ""}` }, states[one.status])],
        ["Oracle", (one) => h("span", { class: "mono", title: one.oracle }, `${short(one.oracle)} on ${one.oracleChainId}`)],
        ["Block", (one) => figure(one.blockNumber, grouped(one.blockNumber)), "number"],
        ["Transaction", (one) => h("span", { class: "mono", title: one.txHash }, short(one.txHash))],
        ["Word", (one) => h("span", { class: "mono", title: one.word }, short(one.word))],
      ], page.nodes)
      : h("p", { class: "soft" }, "No rating of it was published yet."));
}

function identity({ slug, key, chainId, kind, firstSeen, rating }) {
  const line = (name, value) => [h("dt", null, name), h("dd", { class: "mono wrap" }, value)];
  return h("details", { class: "identity" }, h("summary", null, "Names and hashes"), h("dl", null,
    line("Slug", slug), line("Kind", kindName(kind)), line("Chain", figure(chainId, chainId)), line("Key in the oracle contract", key),
    line("First seen", `block ${firstSeen.number}, ${moment(firstSeen.time)}`),
    rating && [line("Assessed at", [`block ${rating.block.number}, position `, figure(rating.position, rating.position)]), line("Assessment hash", rating.assessmentHash)],
    rating?.word && [line("Word to sign", rating.word)]));
}
