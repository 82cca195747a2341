// The methodology, from the file that every rating is made with.

import { figure, h, table } from "./dom.js";
import { GRADES, family, percent } from "./format.js";
import { badge } from "./charts.js";

const TITLES = {
  clock: "Clock", decay: "Decay of evidence", priors: "Priors of the hazards", severity: "Severities",
  authority: "Who can slash, and who receives", corruption: "Corruption that pays", veto: "Credit for a veto",
  frailty: "Operator frailty", mitigation: "What lowers or raises an operator's hazard",
  levels: "What an attestation is worth", exposure: "Latent and dust exposure",
  factor_beta: "Loadings on the common factor", caps: "Ceilings on grades", uncertainty: "Uncertainty",
  surveillance: "Surveillance",
};

const words = (name) => name.replaceAll("_", " ");
const asPercent = (text) => percent(Math.round(Number(text) * 1e12));

export async function load({ ask, asOf }) {
  const QUERY = "query Methodology($asOf: AsOf) { snapshot(asOf: $asOf) { position revision methodologyHash block { chainId number time } } }";
  const variables = asOf ? { asOf } : {};
  const [{ data }, file] = await Promise.all([ask(QUERY, variables), fetch("/v1/methodology").then((response) => response.json())]);
  const body = h("article", { class: "methodology" },
    h("h1", null, `Methodology, version ${file.version}`),
    h("p", null, "A rating is the loss that one unit of exposure is expected to suffer within a year, as a letter. Every constant below is read from one file; its hash stands in every rating. ",
      h("a", { href: "/v1/methodology" }, "The file")),
    data.snapshot.methodologyHash && h("p", { class: "mono wrap" }, data.snapshot.methodologyHash),
    h("h2", null, "The scale"),
    h("p", null, "A grade is given to an expected loss up to the bound beside it. Above the last bound stands CCC-; D is what has lost half. Lower scores are safer, everywhere: a notch is 1\u202f000."),
    table("The scale", [
      ["Grade", ([grade]) => badge(grade, grade, "small")],
      ["Expected loss a year, up to", ([, bound]) => figure(bound, asPercent(bound)), "number"],
      ["Idealised probability of default", ([grade]) => figure(file.idealised_default_probability[grade], asPercent(file.idealised_default_probability[grade])), "number"],
      ["", ([grade, bound]) => h("meter", { class: `g-${family(grade)}`, min: -7, max: 0, value: Math.log10(Number(bound)), "aria-hidden": true })],
    ], GRADES.filter((grade) => file.scale[grade]).map((grade) => [grade, file.scale[grade]])),
    h("div", { class: "constants" }, Object.entries(TITLES).map(([name, title]) => h("section", null, h("h2", null, title), values(file[name], title)))),
    h("h2", null, "Published rulesets"),
    table("Rulesets", [
      ["Name", (standard) => standard.name],
      ["Complexity in quarters", (standard) => figure(standard.quarters, standard.quarters), "number"],
      ["Rules", (standard) => h("ul", { class: "plain" }, standard.ruleset.rules.map((rule) => h("li", null, `${rule.id}: ${rule.text} (${rule.evidence})`))), "driver"],
      ["Commitment", (standard) => h("span", { class: "mono wrap" }, standard.hash)],
    ], file.rulesets.standards),
    h("p", null, `A ruleset that nobody published counts as ${file.rulesets.unpublished_quarters} quarters, each rule after the first as ${file.rulesets.extra_rule_quarters} more.`));
  return { title: "Methodology", body, snapshot: data.snapshot, query: QUERY, variables };
}

/** All constants of a group, whatever is nested in it, a line each. */
function values(group, title) {
  const lines = [];
  const walk = (value, path) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) walk(inner, [...path, words(name)]);
    } else lines.push([path.join(" · "), Array.isArray(value) ? value.join(" / ") : String(value)]);
  };
  walk(group, []);
  return table(title, [["Constant", ([name]) => name], ["Value", ([, value]) => figure(value, value), "number"]], lines);
}
