// A liquid restaking token looked through: who holds its ether, which sets can slash it, for whom.

import { chart, figure, h, table } from "./dom.js";
import { ether, lineOf, percent, percentOfBp, short, significant, strategyName, withNames } from "./format.js";
import { badge } from "./charts.js";
import { flow } from "./flow.js";
import { linked } from "./frame.js";

export const BACKING = `fragment Backing on LrtBacking { nav seen unpricedStrategies slashingLossPpt lossWithoutRunPpt navGuardPpt
  redeemedBeforePpt marketOverValuePpt lossDays worstWriteDownPpt
  firstLoss { wei bp bornePpt }
  reserve { status liabilities assets coveragePpt stalePpt level }
  liquidity { grade days wanted queued buffer escrowed staked delayDays isPaused daysGrade sale { grade costPpt depth level } }
  lending { loopedPpt soldFromPpt addedPpt level }
  lossDistribution { afterReserve { reserveBp expectedLossPpt } }
  positions(first: 100) { totalCount nodes { place value strategy operatorAddress avsAddress operatorSetId
    operator { slug kind address untrustedName rating { label grade } }
    operatorSet { slug kind address untrustedName operatorSetId rulesetStandard rating { label grade }
      avs { slug kind address untrustedName rating { label grade } } } } } }`;

const PLACES = {
  UNALLOCATED: "promised to nobody", UNDELEGATED: "with no operator", EXITING: "leaving EigenLayer",
  BUFFER: "set aside to redeem", UNSEEN: "stated, not seen",
};

/** What sets of a published ruleset do. */
const VERTICALS = {
  "BFT-1": "consensus", "DA-1": "data availability", "ORACLE-1": "oracles", "INTEROP-1": "bridging", "COPROC-1": "coprocessing",
  "KEEPER-1": "keepers", "PRECONF-1": "preconfirmations", "CREDIT-1": "credit",
};

const verticalOf = (set) => {
  const standard = set?.rulesetStandard;
  return standard ? `${VERTICALS[standard] ?? "ruleset"} (${standard})` : "rules not published";
};

const RESERVES = {
  PROVEN: ["proven", "good"], BELOW_FULL: ["below 100 %", "bad"], INSUFFICIENT: ["insufficient", "bad"],
  STALE: ["proof is stale", "bad"], ABSENT: ["not proven", "bad"],
};

/** A leg's grade, and who says so. */
const leg = (grade) => [": L", figure(grade, grade)];
const said = (claim) => claim.level ? ", attested" : ", claimed";

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

/** What a node of the drawing is called, and where it leads. */
function stop(entity, address) {
  return {
    key: `${entity?.slug ?? address}`, name: entity ? lineOf(entity) : short(address),
    path: entity && `/e/${entity.slug}`, grade: entity?.rating?.grade, label: entity?.rating?.label,
  };
}

/** The way of one position: token, operator, operator set, AVS, vertical. */
function way(position, token) {
  const stops = [token];
  if (position.operatorAddress) stops.push(stop(position.operator, position.operatorAddress));
  if (position.avsAddress) {
    const set = stop(position.operatorSet, position.avsAddress);
    stops.push({ ...set, key: `${set.key}#${position.operatorSetId}` });
    stops.push(stop(position.operatorSet?.avs, position.avsAddress));
    stops.push({ key: verticalOf(position.operatorSet), name: verticalOf(position.operatorSet) });
  } else {
    stops.push({ key: position.place, name: PLACES[position.place] });
  }
  return { value: Number(BigInt(position.value) / 10n ** 9n), stops };
}

export function lookThrough(entity, names) {
  const { backing, rates } = entity;
  const { positions, reserve, liquidity, lending } = backing;
  const token = { key: "token", name: lineOf(entity), grade: entity.rating?.grade, label: entity.rating?.label };
  const share = (value) => `${significant(Number(BigInt(value) * 10n ** 6n / BigInt(backing.nav || 1)) / 1e4)} %`;
  const slashable = positions.nodes.filter((one) => one.place === "SLASHABLE");
  const sum = (lines) => lines.reduce((all, one) => all + BigInt(one.value), 0n);
  const byOperator = Map.groupBy ? Map.groupBy(positions.nodes.filter((one) => one.operatorAddress), (one) => one.operatorAddress) : new Map();
  const largest = [...byOperator].map(([address, lines]) => [address, sum(lines)]).sort(([, a], [, b]) => (a < b ? 1 : -1))[0];
  const more = positions.totalCount > positions.nodes.length;
  const sentence = ["Of ", figure(backing.nav, ether(backing.nav)), ", ", figure(backing.seen, ether(backing.seen)), " are seen in the log; operator sets can slash ", share(sum(slashable).toString()), " of all.",
    largest && ` The largest operator, ${withNames(largest[0], names)}, holds ${share(largest[1].toString())}.`,
    more && ` The ${positions.nodes.length} first of ${positions.totalCount} positions are drawn.`];
  return h("section", null,
    chart("Where it is", flow(positions.nodes.map((position) => way(position, token)), ["Token", "Operator", "Operator set", "AVS", "Vertical"]), sentence, table("Positions", [
      ["Operator", (one) => one.operator ? [badge(one.operator.rating?.label ?? "–", one.operator.rating?.grade, "small"), " ", linked(one.operator)] : one.operatorAddress ? short(one.operatorAddress) : "–"],
      ["Operator set", (one) => one.operatorSet ? [badge(one.operatorSet.rating?.label ?? "–", one.operatorSet.rating?.grade, "small"), " ", linked(one.operatorSet)] : PLACES[one.place] ?? short(one.avsAddress)],
      ["Vertical", (one) => one.avsAddress ? verticalOf(one.operatorSet) : "–"],
      ["Of", (one) => one.strategy ? h("span", { class: "mono", title: one.strategy }, strategyName(one.strategy)) : "–"],
      ["Value", (one) => figure(one.value, ether(one.value)), "number"],
      ["Share", (one) => share(one.value), "number"],
    ], positions.nodes)),
    backing.unpricedStrategies.length > 0 && h("p", { class: "note bad" }, "Held, and of no recorded price: ", backing.unpricedStrategies.map((one) => h("span", { class: "mono", title: one }, strategyName(one), " "))),
    h("div", { class: "columns" },
      h("section", null, h("h2", null, "What backs it"), h("dl", { class: "facts" },
        fact("Reserve", h("span", { class: `tag ${RESERVES[reserve.status][1]}` }, RESERVES[reserve.status][0])),
        reserve.coveragePpt && fact("Assets over liabilities", figure(reserve.coveragePpt, percent(reserve.coveragePpt))),
        reserve.liabilities && fact("Owed to holders", figure(reserve.liabilities, ether(reserve.liabilities))),
        fact("Proven to be there", [figure(reserve.assets, ether(reserve.assets)), reserve.level && (reserve.level === "SELF_CLAIM" ? ", claimed" : ", attested")]),
        rates.nodes[0] && fact("A token is worth", figure(rates.nodes[0].rate, `${significant(Number(BigInt(rates.nodes[0].rate) / 10n ** 9n) / 1e9)} ETH`)),
        backing.marketOverValuePpt && fact("Market over value", figure(backing.marketOverValuePpt, percent(backing.marketOverValuePpt))),
        backing.firstLoss && fact("Bears the first loss", [figure(backing.firstLoss.wei, ether(backing.firstLoss.wei)), ", ", figure(backing.firstLoss.bp, percentOfBp(backing.firstLoss.bp))]),
        fact("Days with a loss so far", figure(backing.lossDays, backing.lossDays)),
        fact("Largest write-down", figure(backing.worstWriteDownPpt, percent(backing.worstWriteDownPpt))))),
      h("section", null, h("h2", null, "How fast it can be left"), h("dl", { class: "facts" },
        fact("Liquidity, 1 best to 5", figure(liquidity.grade, liquidity.grade)),
        fact("To redeem 5 % of it", [liquidity.isPaused ? "redemptions are stopped" : liquidity.days == null ? "nobody knows how long" : figure(liquidity.days, `${liquidity.days} days`), leg(liquidity.daysGrade)]),
        fact("To sell 1 % of it", liquidity.sale ? ["costs ", figure(liquidity.sale.costPpt, percent(liquidity.sale.costPpt)), leg(liquidity.sale.grade), said(liquidity.sale)] : "nobody attested what it costs"),
        liquidity.sale && fact("Markets take", figure(liquidity.sale.depth, ether(liquidity.sale.depth))),
        lending && fact("Behind loans to buy more", [figure(lending.loopedPpt, percent(lending.loopedPpt)), ", sold at a loss of ", figure(lending.soldFromPpt, percent(lending.soldFromPpt)), said(lending)]),
        fact("Leaves before a loss is seen", [figure(backing.redeemedBeforePpt, percent(backing.redeemedBeforePpt)), lending && lending.addedPpt !== "0" && [" and ", figure(lending.addedPpt, percent(lending.addedPpt)), " that lenders sell"]]),
        fact("In the queue", figure(liquidity.queued, ether(liquidity.queued))),
        fact("Set aside", figure(liquidity.buffer, ether(liquidity.buffer))),
        fact("Loss from slashing alone", figure(backing.slashingLossPpt, percent(backing.slashingLossPpt))),
        fact("If nobody could run", figure(backing.lossWithoutRunPpt, percent(backing.lossWithoutRunPpt))),
        backing.lossDistribution?.afterReserve.filter((one) => one.reserveBp > 0).map((one) => fact(["Behind a reserve of ", figure(one.reserveBp, percentOfBp(one.reserveBp))], figure(one.expectedLossPpt, percent(one.expectedLossPpt))))))));
}
