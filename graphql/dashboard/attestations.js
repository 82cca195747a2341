// Signed claims about an entity: who says what, until when, and what became of it.

import { figure, h, table } from "./dom.js";
import { day, short, withNames } from "./format.js";

export const ATTESTATION = `fragment Claim on Attestation { digest claim standing level signer evidence
  observedAt expiresAt position details { name untrustedValue } }`;

const STANDINGS = {
  VERIFIED: ["counts", "good"], CLAIMED: ["counts only against it", ""], EXPIRED: ["expired", "bad"],
  SUPERSEDED: ["superseded", ""], REVOKED: ["revoked", "bad"], SIGNER_NOT_ENTITLED: ["signer not entitled", "bad"],
};

const LEVELS = {
  SELF_CLAIM: "its own word", SIGNED_THIRD_PARTY: "signed by a third party",
  VERIFIED_REMOTE: "verified remotely", VERIFIED_ON_CHAIN: "verified on chain",
};

/** `SlasherProfileAttested` as words. */
const claimName = (claim) => claim.replace(/Attested$/, "").replace(/(?!^)([A-Z])/g, " $1").toLowerCase().replace(/^./, (first) => first.toUpperCase());

export function attestations(page, names, at) {
  const suffix = at ? `?at=${at}` : "";
  return h("section", null,
    h("div", { class: "head" }, h("h2", null, "What others attest"), h("a", { href: `/v1/export/attestations.csv${suffix}`, download: true }, "CSV of all")),
    page.totalCount === 0
      ? h("p", { class: "soft" }, "No signed claim about it is in the log. Where nobody says anything, the rating takes the worst case.")
      : table("Attestations", [
        ["Claim", (one) => h("strong", null, claimName(one.claim)), "fixed"],
        ["Now", (one) => h("span", { class: `tag ${STANDINGS[one.standing][1]}` }, STANDINGS[one.standing][0])],
        ["Until", (one) => h("time", { datetime: one.expiresAt }, day(one.expiresAt)), "fixed"],
        ["Observed", (one) => h("time", { datetime: one.observedAt }, day(one.observedAt)), "fixed"],
        ["Level", (one) => LEVELS[one.level], "fixed"],
        ["Signer", (one) => h("span", { class: "mono", title: one.signer }, short(one.signer))],
        ["What it says (untrusted)", (one) => h("details", null, h("summary", null, `${one.details.length} parts`),
          h("dl", { class: "claim" }, one.details.map(({ name, untrustedValue }) => [h("dt", null, name.replaceAll(".", " ")), h("dd", null, withNames(untrustedValue, names))]))), "driver"],
        ["Evidence", (one) => h("span", { class: "mono", title: one.evidence }, short(one.evidence))],
        ["Counts from position", (one) => figure(one.position, one.position), "number"],
      ], page.nodes));
}
