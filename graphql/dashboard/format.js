// How figures are written. Pure: nothing here touches the page.

export const GRADES = ["AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-", "BB+",
  "BB", "BB-", "B+", "B", "B-", "CCC+", "CCC", "CCC-", "D"];

/** The worst score, that of D. */
export const SCORE_MAX = 19_000;

/** Three significant digits, without an exponent and without trailing zeros. */
export function significant(number) {
  if (number === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(number))));
  const text = number.toFixed(Math.min(digits, 12));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** Parts in 1e12 as a percentage. */
export const percent = (ppt) => `${significant(Number(ppt) / 1e10)} %`;

/** Parts per million as a percentage. */
export const percentOfMillion = (ppm) => `${significant(ppm / 1e4)} %`;

/** 1e-18 as a percentage. */
export const percentOfWad = (wad) => `${significant(Number(BigInt(wad) / 10n ** 10n) / 1e6)} %`;

/** Digits in groups of three. */
export const grouped = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

/** Shares with 18 decimals as whole ones, rounded down beyond three digits. */
export function shares(text) {
  const wei = BigInt(text);
  const whole = wei / 10n ** 18n;
  if (whole >= 100n) return grouped(whole);
  return significant(Number(wei / 10n ** 9n) / 1e9);
}

/** Wei as ether. */
export const ether = (wei) => `${shares(wei)} ETH`;

/** Basis points as a percentage. */
export const percentOfBp = (bp) => `${significant(bp / 100)} %`;

const DAY = 86_400;

/** Seconds in the two largest units. */
export function span(seconds) {
  const units = [["d", DAY], ["h", 3_600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first];
  const rest = units[first + 1];
  const count = Math.floor(seconds / size);
  const more = rest ? Math.floor((seconds % size) / rest[1]) : 0;
  return `${count} ${name}${more && first < 2 ? ` ${more} ${rest[0]}` : ""}`;
}

/** Blocks as time: one in 12 seconds. */
export const blocksAsTime = (blocks) => span(blocks * 12);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A day: `29 Mar 2026`. */
export function day(time) {
  const date = new Date(time);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

/** A day and a time: `29 Mar 2026 14:05 UTC`. */
export const moment = (time) => `${day(time)} ${new Date(time).toISOString().slice(11, 16)} UTC`;

/** `0x12b7…cc3d`. */
export const short = (hex) => (hex.length > 14 ? `${hex.slice(0, 6)}…${hex.slice(-4)}` : hex);

const BEACON_CHAIN_ETH = "0xbeac0eeeeeeeeeeeeeeeeeeeeeeeeeeeeeebeac0";

/** A strategy: native ether by its name, any other by its address. */
export const strategyName = (address) =>
  address.toLowerCase() === BEACON_CHAIN_ETH ? "native ETH" : short(address);

const KINDS = { OPERATOR: "Operator", AVS: "AVS", OPERATOR_SET: "Operator set", LRT: "LRT" };

export const kindName = (kind) => KINDS[kind] ?? kind;

/** What an entity is called here: its kind and address; a set its number and its AVS. */
export function nameOf(entity) {
  if (entity.kind !== "OPERATOR_SET") return `${kindName(entity.kind)} ${short(entity.address)}`;
  return `Set ${entity.operatorSetId ?? entity.slug.split("-").pop()} of ${short(entity.address)}`;
}

/** A name that an entity gives itself within its metadata URI (`data:,Heron`), if any. */
export function ownName(uri) {
  const found = /^data:(?:text\/plain)?(?:;charset=utf-8)?,(.{1,80})$/i.exec(uri ?? "");
  if (!found) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

/** What an entity calls itself, if it says: in its metadata, or as its contract answers. */
export const ownNameOf = (entity) => {
  const profile = entity.profile ?? entity.avsProfile ?? entity;
  return ownName(profile.untrustedMetadataUri) ?? profile.untrustedName ?? null;
};

/** What entities call themselves, by address, wherever an answer tells it. */
export function namesIn(value, found = new Map()) {
  if (value === null || typeof value !== "object") return found;
  const own = ownNameOf(value);
  if (own && value.address) found.set(value.address.toLowerCase(), own);
  for (const inner of Object.values(value)) namesIn(inner, found);
  return found;
}

/** A text with addresses as the names that their owners gave themselves, or short. */
export const withNames = (text, names) => text.replace(/0x[0-9a-f]{40}/gi, (address) => {
  const own = names.get(address.toLowerCase());
  return own ? `“${own}”` : short(address);
});

/** The class of a grade's colour: `bbb`. */
export const family = (grade) => (grade ? grade.replace(/[+-]/g, "").toLowerCase() : "nr");

/** The block that drives a score most. */
export function mainDriver(attribution) {
  const blocks = (attribution ?? []).filter((block) => block.points > 0);
  return blocks.sort((a, b) => b.points - a.points)[0] ?? null;
}

const CLASSES = {
  C1: "Signing fault", C1w: "Signing fault, all sets", C2: "Liveness slash", C3: "Slasher logic",
  C4: "Slashing authority", C5: "Corruption that pays", C6: "Base layer", C7: "Platform contracts",
  C8: "LRT contracts",
};

const CEILINGS = {
  slasher_eoa_or_unknown: "slasher is one key or unknown", recipient_eoa: "recipient is one key",
  ruleset_unpublished: "ruleset unpublished", corruption_profit_unknown: "profit from corruption unknown",
  default_event: "in default",
};

/** A loss block or a ceiling in words: what it is, and what it concerns. */
export function blockName(block, names = new Map()) {
  const [first, ...rest] = block.block.split("|");
  if (block.class === "cap" || first === "cap") {
    const name = rest.join(" ");
    return { label: "Ceiling", subject: CEILINGS[name] ?? name.replaceAll("_", " ") };
  }
  const sets = /(?:operator-set-\d+-)?(0x[0-9a-f]{40})[-:](\d+)/gi;
  const subject = withNames(rest.join(" in ").replace(sets, "set $2 of $1").replace(/\+(\d+)$/, " and $1 more"), names);
  return { label: CLASSES[block.class] ?? block.class, subject };
}

/** The label within a sentence: "LRT contracts" stays, "Slasher logic" does not. */
export const inSentence = (label) => label.replace(/^[A-Z](?=[a-z])/, (first) => first.toLowerCase());

/** A sentence in which blocks have their names in place of their ids. */
export function inWords(sentence, attribution, names) {
  const blocks = [...(attribution ?? [])].sort((a, b) => b.block.length - a.block.length);
  const told = blocks.reduce((text, block) => {
    const { label, subject } = blockName(block, names);
    return text.replaceAll(block.block, subject ? `${label} (${subject})` : label);
  }, sentence);
  return withNames(told, names);
}
