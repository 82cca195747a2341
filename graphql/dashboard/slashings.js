// Slashes: the open ones first, with the time left and who loses what; and everything that was
// ever said about anyone.

import { figure, h, table, chart } from "./dom.js";
import { blocksAsTime, grouped, moment, nameOf, ownNameOf, percentOfWad, shares, short, strategyName } from "./format.js";
import { timeline, worst } from "./charts.js";
import { to } from "./frame.js";

export const SLASHING = `fragment S on SlashingEvent {
  id position isProvisional isOpen releaseBlock blocksLeft block { chainId number time } txHash
  operatorAddress operator { slug kind address rating { label grade } profile { untrustedMetadataUri untrustedName } }
  avsAddress operatorSetId operatorSet { slug kind address operatorSetId rating { label grade } }
  strategies { strategy wadSlashed allocationSlashedWad }
  slashedShares { strategy shares releasedShares }
  redistributionRecipient incident untrustedDescription
}`;

const operatorOf = (slash) => slash.operator
  ? to(`/e/${slash.operator.slug}`, nameOf(slash.operator))
  : h("span", { class: "mono" }, short(slash.operatorAddress));

const calledOf = (slash) => {
  const own = slash.operator && ownNameOf(slash.operator);
  return own && h("span", { class: "own", title: "What it calls itself: written by a stranger" }, ` “${own}”`);
};

const setOf = (slash) => slash.operatorSet
  ? to(`/e/${slash.operatorSet.slug}`, nameOf(slash.operatorSet))
  : h("span", { class: "mono" }, `${short(slash.avsAddress)} · set ${slash.operatorSetId}`);

/** What a slash took, in shares where the log has them, else as a share of the stake. */
function taken(slash) {
  if (slash.slashedShares.length) {
    const share = (strategy) => slash.strategies.find((one) => one.strategy === strategy)?.wadSlashed;
    return h("ul", { class: "plain" }, slash.slashedShares.map((one) => h("li", null,
      figure(one.shares, shares(one.shares)), " shares",
      share(one.strategy) && [" (", figure(share(one.strategy), percentOfWad(share(one.strategy))), " of its stake)"], " of ", h("span", { class: "mono", title: one.strategy }, strategyName(one.strategy)))));
  }
  return h("ul", { class: "plain" }, slash.strategies.map((one) => h("li", null,
    one.allocationSlashedWad == null
      ? ["at least ", figure(one.wadSlashed, percentOfWad(one.wadSlashed)), " of the stake in "]
      : [figure(one.allocationSlashedWad, percentOfWad(one.allocationSlashedWad)), " of the allocation in "],
    h("span", { class: "mono", title: one.strategy }, strategyName(one.strategy)))));
}

const goesTo = (slash) => slash.redistributionRecipient
  ? ["handed to ", h("span", { class: "mono", title: slash.redistributionRecipient }, short(slash.redistributionRecipient))]
  : "burnt";

const said = (slash) => slash.untrustedDescription &&
  h("p", { class: "untrusted" }, h("span", { class: "tag" }, "slasher's words"), " ", slash.untrustedDescription.slice(0, 280));

function card(slash) {
  const hasLeft = slash.blocksLeft > 0;
  return h("li", { class: "card" },
    h("p", { class: "left" }, hasLeft
      ? [h("strong", null, blocksAsTime(slash.blocksLeft)), " left"]
      : h("strong", null, "may leave now"),
    h("span", { class: "soft" }, " until block ", figure(slash.releaseBlock, grouped(slash.releaseBlock)))),
    h("div", null,
      h("p", null, "Delegators of ", operatorOf(slash), calledOf(slash), " lose:"), taken(slash),
      h("p", { class: "soft" }, "slashed by ", setOf(slash), ", to be ", goesTo(slash), " · ",
        h("time", { datetime: slash.block.time }, moment(slash.block.time)),
        slash.isProvisional && h("span", { class: "tag" }, "not final")), said(slash)));
}

/** The open slashings, or the sentence that there are none. */
export function openSlashings(page) {
  if (!page.totalCount) {
    return h("section", { class: "open none-open" }, h("h2", null, "No open slashing"),
      h("p", { class: "soft" }, "What is slashed can be burnt or handed over 7 days (50\u202f400 blocks) later. Nothing waits for that at this position. ", to("/slashings", "All slashings")));
  }
  return h("section", { class: "open" },
    h("div", { class: "head" }, h("h2", null, figure(page.totalCount, page.totalCount), page.totalCount === 1 ? " open slashing" : " open slashings"), to("/slashings", "All slashings")),
    h("ul", { class: "cards" }, [...page.nodes].sort((a, b) => a.blocksLeft - b.blocksLeft).map(card)));
}

const QUERY = `query Slashings($asOf: AsOf, $after: String) {
  snapshot(asOf: $asOf) { position revision block { chainId number time } }
  open: slashings(asOf: $asOf, where: { isOpen: true }, first: 20) { totalCount nodes { ...S } }
  slashings(asOf: $asOf, first: 50, after: $after) { totalCount nodes { ...S } pageInfo { hasNextPage endCursor } }
}
${SLASHING}`;

/** A list of slashes, the newest first. */
export const slashTable = (caption, slashes) => table(caption, [
  ["When", (slash) => [h("time", { datetime: slash.block.time }, moment(slash.block.time)),
    slash.isProvisional && h("span", { class: "tag" }, "not final"), slash.isOpen && h("span", { class: "tag bad" }, "open")], "fixed"],
  ["Operator", operatorOf],
  ["Operator set", setOf],
  ["Taken", taken],
  ["Goes", goesTo],
  ["Slasher's words (untrusted)", (slash) => h("span", { class: "untrusted" }, slash.untrustedDescription.slice(0, 280) || "–"), "driver"],
  ["Transaction", (slash) => h("span", { class: "mono", title: slash.txHash }, short(slash.txHash))],
], slashes);

export async function load(request) {
  if (request.path === "/actions") return (await import("/ui/feed.js")).actions(request);
  const { ask, asOf, at, parameters, here } = request;
  const variables = { ...(asOf && { asOf }), ...(parameters.get("after") && { after: parameters.get("after") }) };
  const { data } = await ask(QUERY, variables);
  const { nodes, totalCount, pageInfo } = data.slashings;
  const redistributed = nodes.filter((slash) => slash.redistributionRecipient).length;
  const largest = nodes.reduce((most, slash) => (most && worst(most) >= worst(slash) ? most : slash), null);
  const body = h("div", null,
    h("h1", null, "Slashings"),
    openSlashings(data.open),
    nodes.length === 0
      ? h("section", { class: "empty" }, h("p", null, "No slash is in the log at this position."))
      : [chart("When, and how much", timeline(nodes),
          [figure(totalCount, grouped(totalCount)), ` slashes, ${nodes.length} shown: ${redistributed} handed to a recipient (filled), ${nodes.length - redistributed} burnt. The largest took ${(worst(largest) * 100).toFixed(worst(largest) < 0.01 ? 2 : 0)} % of an allocation or stake, on ${moment(largest.block.time)}.`], null),
        slashTable("All slashes, the newest first", nodes)],
    h("p", { class: "pages" },
      parameters.get("after") && h("a", { href: here({ after: null }) }, "Newest"),
      pageInfo.hasNextPage && h("a", { href: here({ after: pageInfo.endCursor, at: data.snapshot.position }) }, "Older")));
  return { title: "Slashings", body, snapshot: data.snapshot, query: QUERY, variables, csv: `/v1/export/slashings.csv${at ? `?at=${at}` : ""}` };
}
