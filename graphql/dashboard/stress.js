// What if: a scenario made with sliders, and the fixed ones. The address holds the scenario, so a
// permalink is a scenario at a position.

import { csvLink, figure, h, table } from "./dom.js";
import { ether, grouped, kindName, lineOf, percent, short } from "./format.js";
import { badge, shift } from "./charts.js";
import { linked } from "./frame.js";

const ENTITY = "slug kind address untrustedName ... on OperatorSet { operatorSetId }";

const EFFECT = `fragment Effect on ScenarioEffect { scenario slug lostPpt lostWei gradeBefore gradeAfter
  expectedLossBeforePpt expectedLossAfterPpt entity { ${ENTITY} } }`;

const CHOICES = `query Choices($asOf: AsOf) {
  snapshot(asOf: $asOf) { position revision block { chainId number time } }
  operators: entities(asOf: $asOf, where: { kind: [OPERATOR] }, first: 100) { totalCount nodes { ${ENTITY} } }
  sets: entities(asOf: $asOf, where: { kind: [OPERATOR_SET] }, first: 100) { totalCount nodes { ${ENTITY} } }
}`;

const FIXED = `query Stress($asOf: AsOf, $chainId: ChainId) {
  stress(asOf: $asOf, chainId: $chainId) { version hash chainId scenarios { name title downgraded
    effects(first: 3) { totalCount nodes { ...Effect } }
    tokens: effects(first: 20, kind: [LRT]) { totalCount nodes { ...Effect } } } }
}
${EFFECT}`;

const NETWORK = `query Network($asOf: AsOf, $chainId: ChainId) {
  network(asOf: $asOf, chainId: $chainId) { slackPpt isSlackExact shockPpt lossBoundPpt worstLossPpt isWorstLossExact unboundedReason stakeWei coveredStakeWei coveredCount uncoveredCount
    covered { slug avsAddress operatorSetId profitWei thresholdPpt isThresholdAssumed stakeWei pooledWei slackPpt isSlackExact }
    uncovered { slug avsAddress operatorSetId stakeWei reason } }
}`;

const NAMED = `query Scenario($asOf: AsOf, $chainId: ChainId, $scenarios: [String!]) {
  stress(asOf: $asOf, chainId: $chainId, scenarios: $scenarios) { scenarios { name title downgraded
    effects(first: 100) { totalCount nodes { ...Effect } } } }
}
${EFFECT}`;

const WHAT_IF = `query WhatIf($asOf: AsOf, $chainId: ChainId, $shocks: ShocksInput!) {
  whatIf(asOf: $asOf, chainId: $chainId, shocks: $shocks) { scenarios { name title downgraded
    effects(first: 100) { totalCount nodes { ...Effect } } } }
}
${EFFECT}`;

/** Entities drawn; the table has more. */
const DRAWN_MAX = 16;

/** A slider is asked about when it has stood still this long: a held key passes many values. */
const SETTLE_MS = 300;

const SLIDERS = [
  ["bug", "A client with a consensus bug runs on", "% of the validators", 100],
  ["exits", "Nobody can leave for", "days more", 90],
];

/** Parts of the address: ?slash=0x…:50&take=0x…:0&bug=20&exits=14 */
function shocksOf(parameters) {
  const pairs = (name) => parameters.getAll(name).map((text) => text.split(":"));
  const isAddress = (text) => /^0x[0-9a-f]{40}$/i.test(text);
  const share = (text) => String(Math.round(Math.min(100, Math.max(0, Number(text) || 0)) * 1e10));
  const slash = pairs("slash").filter(([operator, part]) => isAddress(operator) && Number(part) > 0).map(([operator, part]) => ({ operator, sharePpt: share(part) }));
  const compromise = pairs("take").filter(([avs, id]) => isAddress(avs) && /^\d+$/.test(id)).map(([avs, id]) => ({ avs, operatorSetId: Number(id) }));
  const [bug, exits] = ["bug", "exits"].map((name) => Number(parameters.get(name)) || 0);
  const shocks = {
    ...(slash.length && { slash }), ...(compromise.length && { compromise }),
    ...(bug > 0 && { clientBugPpt: share(bug) }), ...(exits > 0 && { exitsStoppedDays: Math.round(exits) }),
  };
  return Object.keys(shocks).length ? shocks : null;
}

/** The same on the command line. */
const commandOf = (shocks) => ["assay stress",
  ...(shocks.slash ?? []).map((one) => `--slash ${one.operator}=${Number(one.sharePpt) / 1e10}%`),
  ...(shocks.compromise ?? []).map((one) => `--compromise ${one.avs}:${one.operatorSetId}`),
  shocks.clientBugPpt && `--client-bug ${Number(shocks.clientBugPpt) / 1e10}%`,
  shocks.exitsStoppedDays && `--exits-stop ${shocks.exitsStoppedDays}`].filter(Boolean).join(" ");

export async function load({ ask, asOf, at, parameters, here, go, status }) {
  const chainId = Number(parameters.get("chain")) || (asOf ? undefined : status.head.block?.chainId) || status.chains[0]?.chainId;
  const place = { ...(asOf && { asOf }), ...(chainId && { chainId }) };
  const shocks = shocksOf(parameters);
  const name = parameters.get("scenario");
  const [query, variables] = shocks ? [WHAT_IF, { ...place, shocks }] : name ? [NAMED, { ...place, scenarios: [name] }] : [FIXED, place];
  const [choices, { data }] = await Promise.all([ask(CHOICES, asOf ? { asOf } : {}), ask(query, variables)]);
  // After it, not beside it: few questions that need the log are answered at once.
  const network = query === FIXED && (await ask(NETWORK, place)).data.network;
  const played = (data.whatIf ?? data.stress).scenarios;
  const isFixed = !shocks && !name;
  const body = h("div", null,
    h("h1", null, "What if"),
    h("p", null, "What the ratings would be, by the figures alone, if something happened now: each scenario is made into the events that the contracts would emit, and rated like any other."),
    form(parameters, choices.data, here, go),
    isFixed
      ? [h("h2", null, "The fixed scenarios"),
        h("p", { class: "soft" }, `Version ${data.stress.version}: the same for everyone, at every position. `, h("span", { class: "mono wrap" }, data.stress.hash)),
        overview(played, here), together(network, choices.data.sets.nodes)]
      : played.map((one) => h("section", null,
        h("div", { class: "head" }, h("h2", null, shocks ? "If that happened" : `If ${one.title}`), h("a", { href: here({ slash: null, take: null, bug: null, exits: null, scenario: null }) }, "All fixed scenarios")),
        result(one),
        h("p", { class: "soft" }, "The same on your own machine: ", h("code", { class: "wrap" }, shocks ? commandOf(shocks) : `assay stress --scenario ${name}`)))));
  return { title: "What if", body, snapshot: choices.data.snapshot, query, variables, csv: isFixed ? `/v1/export/stress.csv${at ? `?at=${at}` : ""}` : undefined };
}

function form(parameters, { operators, sets }, here, go) {
  const [slashed, part] = (parameters.get("slash") ?? ":50").toLowerCase().split(":");
  const show = () => {
    const at = (field) => fields[field].value;
    go(here({
      slash: at("operator") && `${at("operator")}:${at("part")}`, take: at("set"), scenario: null,
      bug: at("bug") === "0" ? null : at("bug"), exits: at("exits") === "0" ? null : at("exits"),
    }), SETTLE_MS);
  };
  const select = (label, options, chosen) => h("select", { "aria-label": label, onchange: show },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  const slider = (label, unit, max, value, needs) => {
    const output = h("output", null, value);
    const input = h("input", { type: "range", min: 0, max, step: 1, value, "aria-label": `${label} ${unit}`.trim(),
      oninput: () => (output.textContent = input.value), onchange: () => (!needs || fields[needs].value) && show() });
    return [input, h("span", { class: "soft" }, output, ` ${unit}`)];
  };
  const [partInput, partText] = slider("Share of its allocations that an operator loses", "% of its allocations", 100, Number(part) || 0, "operator");
  const [bugInput, bugText] = slider(SLIDERS[0][1], SLIDERS[0][2], SLIDERS[0][3], Number(parameters.get("bug")) || 0);
  const [exitsInput, exitsText] = slider(SLIDERS[1][1], SLIDERS[1][2], SLIDERS[1][3], Number(parameters.get("exits")) || 0);
  const fields = {
    operator: select("Operator that is slashed", [["", "no operator"], ...operators.nodes.map((one) => [one.address.toLowerCase(), lineOf(one)])], slashed),
    part: partInput,
    set: select("Operator set whose slasher takes everything", [["", "no set"], ...sets.nodes.map((one) => [`${one.address.toLowerCase()}:${one.operatorSetId}`, lineOf(one)])], (parameters.get("take") ?? "").toLowerCase()),
    bug: bugInput, exits: exitsInput,
  };
  const line = (title, ...parts) => h("div", { class: "shock" }, h("span", null, title), h("div", null, parts));
  return h("form", { class: "shocks", onsubmit: (event) => event.preventDefault() },
    line("An operator is slashed in every set it serves", fields.operator, fields.part, partText),
    line("The slasher of a set takes all it can", fields.set),
    line(SLIDERS[0][1], fields.bug, bugText), line(SLIDERS[1][1], fields.exits, exitsText));
}

const grade = (one) => badge(one ?? "NR", one, "small");

const called = ({ entity, slug }) => entity ? linked(entity) : short(slug);

const lost = (effect) => effect.lostPpt == null ? h("span", { class: "none" }, "unknown")
  : [figure(effect.lostPpt, percent(effect.lostPpt)), effect.lostWei != null && effect.lostWei !== "0" && [" · ", figure(effect.lostWei, ether(effect.lostWei))]];

function overview(scenarios, here) {
  const tokens = [...new Map(scenarios.flatMap((one) => one.tokens.nodes).filter((one) => one.entity).map((one) => [one.slug, one])).values()];
  return table("Fixed scenarios", [
    ["Scenario", (one) => h("a", { href: here({ scenario: one.name }) }, one.title), "driver"],
    ["Moves", (one) => figure(one.effects.totalCount, grouped(one.effects.totalCount)), "number"],
    ["Worse grade", (one) => figure(one.downgraded, grouped(one.downgraded)), "number"],
    ["Hit worst", (one) => one.effects.nodes[0] ? [called(one.effects.nodes[0]), " ", grade(one.effects.nodes[0].gradeBefore), " → ", grade(one.effects.nodes[0].gradeAfter)] : "nobody that the log knows"],
    ...tokens.map((token) => [`LRT ${token.entity.untrustedName ?? short(token.entity.address)}`, (one) => {
      const found = one.tokens.nodes.find((effect) => effect.slug === token.slug);
      return found ? [grade(found.gradeBefore), " → ", grade(found.gradeAfter), found.lostPpt !== "0" && found.lostPpt != null && [" ", figure(found.lostPpt, percent(found.lostPpt))]] : h("span", { class: "none" }, "as before");
    }, "fixed"]),
  ], scenarios);
}

/** The restaking network: what it would take that one shock makes further attacks pay. */
function together(network, sets) {
  const slack = (one) => (one.slackPpt == null ? h("span", { class: "none" }, "unknown") : [!one.isSlackExact && "at least ", figure(one.slackPpt, percent(one.slackPpt))]);
  const known = new Map(sets.map((one) => [one.slug, one]));
  const service = (one) => one.avsAddress === null ? "Ethereum’s consensus"
    : known.has(one.slug) ? linked(known.get(one.slug)) : `${short(one.avsAddress)}${one.operatorSetId === null ? "" : ` · set ${one.operatorSetId}`}`;
  const { covered, uncovered } = network;
  return h("section", null, h("h2", null, "If an attack paid"),
    h("p", null, "The stake that an attack needs is above what it would gain by a slack of ", slack(network), ": ", figure(network.coveredCount, grouped(network.coveredCount)), " operator sets with ", figure(network.coveredStakeWei, ether(network.coveredStakeWei)), " of ", figure(network.stakeWei, ether(network.stakeWei)), " have an attested gain, ", figure(network.uncoveredCount, grouped(network.uncoveredCount)), " services have none. The worst year of a thousand takes ", network.shockPpt === null ? "an unknown share" : figure(network.shockPpt, percent(network.shockPpt)), " of the stake; ",
      network.worstLossPpt === null ? `how far attacks could spread from there has no bound: ${network.unboundedReason}.` : [`with all attacks that this makes pay, ${network.isWorstLossExact ? "the worst of them tried one by one," : "at most"} `, figure(network.worstLossPpt, percent(network.worstLossPpt)), " is lost."]),
    covered.length > 0 && table("Sets whose corruption has an attested gain", [
      ["Set", service, "name"], ["Slack", slack, "number"],
      ["Stake", (one) => [figure(one.stakeWei, ether(one.stakeWei)), one.pooledWei !== "0" && [", of it pledged elsewhere too ", figure(one.pooledWei, ether(one.pooledWei))]], "number"],
      ["Gain", (one) => figure(one.profitWei, ether(one.profitWei)), "number"],
      ["An attack takes", (one) => [figure(one.thresholdPpt, percent(one.thresholdPpt)), one.isThresholdAssumed && " (assumed)"], "number"],
    ], covered),
    uncovered.length > 0 && h("details", null, h("summary", null, "What is not covered"), table("Services without an attested gain", [
      ["Service", service, "name"], ["Stake", (one) => figure(one.stakeWei, ether(one.stakeWei)), "number"], ["Why", (one) => one.reason],
    ], uncovered)));
}

function result(scenario) {
  const { nodes, totalCount } = scenario.effects;
  if (totalCount === 0) return h("p", { class: "note" }, "It moves nothing that the log knows.");
  const tokens = nodes.filter((one) => one.slug.startsWith("lrt-"));
  const more = totalCount > nodes.length ? ` The ${nodes.length} hit worst are shown.` : "";
  const columns = [
    ["entity", (one) => one.slug], ["lost_ppt", (one) => one.lostPpt], ["lost_wei", (one) => one.lostWei], ["grade_before", (one) => one.gradeBefore], ["grade_after", (one) => one.gradeAfter],
    ["expected_loss_before_ppt", (one) => one.expectedLossBeforePpt], ["expected_loss_after_ppt", (one) => one.expectedLossAfterPpt]];
  return h("figure", { class: "chart" },
    shift(nodes.slice(0, DRAWN_MAX), ({ entity, slug }) => entity ? lineOf(entity) : short(slug)),
    h("figcaption", null, "It moves ", figure(totalCount, grouped(totalCount)), " entities; ", figure(scenario.downgraded, grouped(scenario.downgraded)), " would have a worse grade or none.",
      tokens.length > 0 && ` ${tokens.length} of them are liquid restaking tokens.`, more, " ", csvLink("assay-what-if.csv", columns, nodes)),
    table("Whom it moves", [
      ["Entity", (one) => called(one), "name"],
      ["Kind", (one) => (one.entity ? kindName(one.entity.kind) : "–")],
      ["Lost at once", lost, "number"],
      ["Before", (one) => grade(one.gradeBefore)],
      ["After", (one) => grade(one.gradeAfter)],
      ["Expected loss before", (one) => figure(one.expectedLossBeforePpt, percent(one.expectedLossBeforePpt)), "number"],
      ["And after", (one) => figure(one.expectedLossAfterPpt, percent(one.expectedLossAfterPpt)), "number"],
    ], nodes));
}
