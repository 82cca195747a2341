// How the feed stands: chains and their lag, what was published where; and all rating actions.

import { figure, h, table } from "./dom.js";
import { grouped, moment, nameOf, short, span } from "./format.js";
import { to } from "./frame.js";
import { actionLine } from "./leaderboard.js";

const QUERY = `query Feed($after: String) {
  publications(first: 50, after: $after) { totalCount
    nodes { oracleChainId oracle entityKey seq word txHash replacedTxHashes blockNumber status recordedAt
      entity { slug kind address ... on OperatorSet { operatorSetId } rating { label grade seq } } }
    pageInfo { hasNextPage endCursor } }
  included: publications(first: 1, where: { status: [INCLUDED] }) { totalCount }
  final: publications(first: 1, where: { status: [FINAL] }) { totalCount }
  reorged: publications(first: 1, where: { status: [REORGED] }) { totalCount }
  status { updatedAt head { position } chains { chainId headNumber finalized { number time } updatedAt lagBlocks unmappedLogs } }
}`;

/** Behind this, a chain that is followed live is stale: two epochs of finality. */
const LAG_BLOCKS_STALE = 64;

const STATES = { INCLUDED: ["included", ""], FINAL: ["final", "good"], REORGED: ["taken back", "bad"] };

export async function load({ ask, at, parameters, here }) {
  const variables = parameters.get("after") ? { after: parameters.get("after") } : {};
  const { data } = await ask(QUERY, variables);
  const { publications, status } = data;
  const newest = publications.nodes[0];
  const age = newest && (Date.now() - Date.parse(newest.recordedAt)) / 1000;
  const body = h("div", null,
    h("h1", null, "Feed status"),
    at && h("p", { class: "note" }, "Publications and chains are shown as they stand now: they are not pinned to a position."),
    h("dl", { class: "facts" },
      fact("Ratings published", figure(publications.totalCount, grouped(publications.totalCount))),
      fact("final", figure(data.final.totalCount, grouped(data.final.totalCount))),
      fact("in a block not final", figure(data.included.totalCount, grouped(data.included.totalCount))),
      fact("taken back by a reorganisation", figure(data.reorged.totalCount, grouped(data.reorged.totalCount))),
      fact("Newest publication", newest ? `${span(Math.max(0, age))} ago` : "none yet"),
      fact("Answers last changed", status.updatedAt ? moment(status.updatedAt) : "never")),
    h("h2", null, "Chains that are followed"),
    table("Chains", [
      ["Chain", (chain) => figure(chain.chainId, chain.chainId)],
      ["Newest block", (chain) => figure(chain.headNumber, grouped(chain.headNumber)), "number"],
      ["Final block", (chain) => chain.finalized ? figure(chain.finalized.number, grouped(chain.finalized.number)) : "none", "number"],
      ["Its time", (chain) => chain.finalized ? h("time", { datetime: chain.finalized.time }, moment(chain.finalized.time)) : "–"],
      ["Behind", (chain) => [figure(chain.lagBlocks, `${grouped(chain.lagBlocks)} blocks`), chain.lagBlocks > LAG_BLOCKS_STALE && h("span", { class: "tag bad" }, "stale or a replay")], "number"],
      ["Logs nobody knows", (chain) => figure(chain.unmappedLogs, grouped(chain.unmappedLogs)), "number"],
    ], status.chains),
    h("h2", null, "Publications, the newest first"),
    publications.nodes.length === 0
      ? h("p", { class: "empty" }, "Nothing was published yet. Ratings are published by ", h("code", null, "assay run --oracle"), " and by the demo.")
      : table("Publications", [
        ["Seen", (one) => h("time", { datetime: one.recordedAt }, moment(one.recordedAt)), "fixed"],
        ["Entity", (one) => one.entity ? to(`/e/${one.entity.slug}`, nameOf(one.entity)) : h("span", { class: "mono" }, short(one.entityKey))],
        ["Number", (one) => figure(one.seq, one.seq), "number"],
        ["Status", (one) => h("span", { class: `tag ${STATES[one.status][1]}` }, STATES[one.status][0])],
        ["Newest?", (one) => one.entity?.rating?.seq == null ? "–" : one.entity.rating.seq === one.seq ? "yes" : "superseded"],
        ["Oracle", (one) => h("span", { class: "mono", title: one.oracle }, `${short(one.oracle)} on ${one.oracleChainId}`)],
        ["Block", (one) => figure(one.blockNumber, grouped(one.blockNumber)), "number"],
        ["Transaction", (one) => [h("span", { class: "mono", title: one.txHash }, short(one.txHash)),
          one.replacedTxHashes.length > 0 && h("span", { class: "tag", title: one.replacedTxHashes.join(" ") }, `replaced ${one.replacedTxHashes.map(short).join(", ")}`)]],
      ], publications.nodes),
    h("p", { class: "pages" },
      parameters.get("after") && h("a", { href: here({ after: null }) }, "Newest"),
      publications.pageInfo.hasNextPage && h("a", { href: here({ after: publications.pageInfo.endCursor }) }, "Older")));
  return { title: "Feed", body, query: QUERY, variables, csv: "/v1/export/publications.csv" };
}

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

const ACTIONS = `query Actions($asOf: AsOf, $where: RatingActionWhere, $after: String) {
  snapshot(asOf: $asOf) { position revision block { chainId number time } }
  ratingActions(asOf: $asOf, where: $where, first: 50, after: $after) { totalCount
    nodes { id kind fromGrade toGrade notches position revision recordedAt block { chainId number time } seq
      entity { slug kind address ... on OperatorSet { operatorSetId } } }
    pageInfo { hasNextPage endCursor } }
}`;

const KINDS = { "": "All actions", DOWNGRADED: "Downgrades", UPGRADED: "Upgrades", ASSIGNED: "First ratings", WITHDRAWN: "Withdrawals" };

/** Every rating action, the newest first. */
export async function actions({ ask, asOf, at, parameters, here, go }) {
  const kind = KINDS[parameters.get("kind")] ? parameters.get("kind") : "";
  const variables = {
    ...(asOf && { asOf }), ...(kind && { where: { kind: [kind] } }),
    ...(parameters.get("after") && { after: parameters.get("after") }),
  };
  const { data } = await ask(ACTIONS, variables);
  const { nodes, totalCount, pageInfo } = data.ratingActions;
  const body = h("div", null,
    h("h1", null, "Rating actions"),
    h("div", { class: "head" },
      h("p", null, figure(totalCount, grouped(totalCount)), " actions. What was said is kept, also where ratings were made anew since. ", h("a", { href: "/feeds/actions.atom" }, "Atom feed")),
      h("div", { class: "filters" }, h("select", { "aria-label": "What was done", onchange: (event) => go(here({ kind: event.target.value, after: null })) },
        Object.entries(KINDS).map(([value, name]) => h("option", { value, selected: value === kind }, name))))),
    nodes.length === 0 ? h("p", { class: "empty" }, "Nothing was said at this position.") : table("Rating actions", [
      ["Block time", (action) => h("time", { datetime: action.block.time }, moment(action.block.time)), "fixed"],
      ["Action", actionLine],
      ["Entity", (action) => action.entity && to(`/e/${action.entity.slug}`, nameOf(action.entity))],
      ["Notches", (action) => action.notches == null ? "–" : figure(action.notches, action.notches > 0 ? `▲ ${action.notches}` : action.notches < 0 ? `▼ ${-action.notches}` : "0"), "number"],
      ["Block", (action) => figure(action.block.number, grouped(action.block.number)), "number"],
      ["Position", (action) => figure(action.position, grouped(action.position)), "number"],
      ["Revision", (action) => figure(action.revision, action.revision), "number"],
    ], nodes),
    h("p", { class: "pages" },
      parameters.get("after") && h("a", { href: here({ after: null }) }, "Newest"),
      pageInfo.hasNextPage && h("a", { href: here({ after: pageInfo.endCursor, at: data.snapshot.position }) }, "Older")));
  return { title: "Rating actions", body, snapshot: data.snapshot, query: ACTIONS, variables, csv: `/v1/export/actions.csv${at ? `?at=${at}` : ""}` };
}

