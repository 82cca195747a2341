// Reward against tail risk: what an operator or a token could hold, and what it holds.

import { chart, csvLink, figure, h, table } from "./dom.js";
import { day, lineOf, percent, short } from "./format.js";
import { badge, frontierCurve } from "./charts.js";
import { linked } from "./frame.js";

const NAMED = "slug kind address untrustedName rating { label grade }";

const CHOICES = `query Holders($asOf: AsOf) {
  snapshot(asOf: $asOf) { position revision block { chainId number time } }
  entities(asOf: $asOf, where: { kind: [OPERATOR, LRT] }, orderBy: { field: GRADE, direction: ASC }, first: 100) { nodes { ${NAMED} } }
}`;

const QUERY = `query Frontier($asOf: AsOf, $entity: String!) {
  snapshot(asOf: $asOf) { position revision block { chainId number time } }
  frontier(asOf: $asOf, entity: $entity) { levelPpt rewardsFrom rewardsTo
    positions { operatorAddress weightPpt limitPpt yearlyRewardPpt unpricedTokens realisedTokens { token sharePpt } isOfSet operator { ${NAMED} }
      operatorSet { operatorSetId ${NAMED} } }
    points { rewardPpt riskPpt gapPpt weightsPpt } held { rewardPpt riskPpt } }
}`;

export async function load({ ask, asOf, parameters, here, go }) {
  const place = asOf ? { asOf } : {};
  const choices = await ask(CHOICES, place);
  const entities = choices.data.entities.nodes;
  const chosen = parameters.get("of") ?? entities[0]?.slug;
  if (!chosen) return { title: "Frontier", body: h("section", { class: "empty" }, h("h1", null, "Nobody holds positions yet")), snapshot: choices.data.snapshot };
  const variables = { ...place, entity: chosen };
  const pick = h("select", { "aria-label": "Whose frontier", onchange: (event) => go(here({ of: event.target.value })) },
    entities.map((entity) => h("option", { value: entity.slug, selected: entity.slug === chosen }, lineOf(entity))));
  const head = [h("h1", null, "Reward against tail risk"),
    h("p", null, "For each reward that its positions can earn together, the least that can be lost in the worst years, and the weights that lose it."),
    h("p", { class: "filters" }, pick)];
  let answer;
  try {
    answer = await ask(QUERY, variables);
  } catch (refusal) {
    if (!refusal.code) throw refusal;
    return { title: "Frontier", body: h("div", null, head, h("p", { class: "note" }, refusal.message)), snapshot: choices.data.snapshot, query: QUERY, variables };
  }
  const body = h("div", null, head, answer.data.frontier && found(answer.data.frontier));
  return { title: "Frontier", body, snapshot: answer.data.snapshot, query: QUERY, variables };
}

function found(frontier) {
  const { positions, points, held } = frontier;
  const level = percent(frontier.levelPpt);
  const most = points.at(-1);
  const hasReward = most && most.rewardPpt !== "0";
  const name = (position) => `${position.operator ? lineOf(position.operator) : short(position.operatorAddress)} in ${position.operatorSet ? lineOf(position.operatorSet) : "a set"}`;
  const columns = [["reward_ppt", (one) => one.rewardPpt], ["risk_ppt", (one) => one.riskPpt], ["gap_ppt", (one) => one.gapPpt],
    ...positions.map((position, index) => [name(position), (one) => one.weightsPpt[index]])];
  return [
    hasReward
      ? chart("The frontier", frontierCurve(points, held), [
        held && ["What is held earns ", figure(held.rewardPpt, percent(held.rewardPpt)), " a year and loses ", figure(held.riskPpt, percent(held.riskPpt)), ` on average in the worst ${percent(1e12 - Number(frontier.levelPpt))} of years. `],
        "The most that can be earned is ", figure(most.rewardPpt, percent(most.rewardPpt)), ", at ", figure(most.riskPpt, percent(most.riskPpt)), ". ",
        frontier.rewardsFrom && `Rewards are those from ${day(frontier.rewardsFrom)} to ${day(frontier.rewardsTo)}, a year. `, csvLink("assay-frontier.csv", columns, points)],
      table("Points of the frontier", [
        ["Reward a year", (one) => figure(one.rewardPpt, percent(one.rewardPpt)), "number"],
        [`Expected shortfall at ${level}`, (one) => figure(one.riskPpt, percent(one.riskPpt)), "number"],
        ["At most above the least", (one) => figure(one.gapPpt, percent(one.gapPpt)), "number"],
        ["Weights", (one) => h("ul", { class: "plain" }, one.weightsPpt.map((weight, index) => weight !== "0" && h("li", null, `${name(positions[index])}: `, figure(weight, percent(weight))))), "driver"],
      ], points))
      : h("p", { class: "note" }, "No reward with a recorded price was paid to these positions, so every portfolio but an idle one is risk for nothing."),
    h("h2", null, "Positions"),
    table("Positions", [
      ["Operator", (one) => one.operator ? linked(one.operator) : short(one.operatorAddress)],
      ["Operator set", (one) => one.operatorSet ? [badge(one.operatorSet.rating?.label ?? "–", one.operatorSet.rating?.grade, "small"), " ", linked(one.operatorSet)] : "–"],
      ["Held", (one) => figure(one.weightPpt, percent(one.weightPpt)), "number"],
      ["At most", (one) => figure(one.limitPpt, percent(one.limitPpt)), "number"],
      ["Earns a year", (one) => [figure(one.yearlyRewardPpt, percent(one.yearlyRewardPpt)), one.isOfSet && h("span", { class: "tag" }, "of the whole set"), one.realisedTokens.map(({ token, sharePpt }) => h("span", { class: "tag bad", title: token }, "got ", figure(sharePpt, percent(sharePpt)), " of ", short(token)))], "number"],
      ["Earns in tokens without a price", (one) => one.unpricedTokens.map((token) => h("span", { class: "mono", title: token }, short(token), " "))],
    ], positions)];
}
