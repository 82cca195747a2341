// Reads Assay's ratings with viem: what a stored word says, and whether a signed rating that somebody
// handed over is one. Nothing to build: what is here is what runs. Types are in index.d.mts.
// @ts-check
import { compactSignatureToSignature, concat, encodeAbiParameters, getAbiItem, hashTypedData, keccak256, numberToHex } from "viem";
import { parseCompactSignature, recoverAddress, serializeSignature, size, slice } from "viem";
import { ratingOracleAbi } from "./abi.mjs";

export { ratingOracleAbi };

/** @type {typeof import("./index.d.mts").LETTERS} */
export const LETTERS = [
  "AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-",
  "BB+", "BB", "BB-", "B+", "B", "B-", "CCC+", "CCC", "CCC-", "D",
];

/** @type {typeof import("./index.d.mts").ENTITY_KINDS} */
export const ENTITY_KINDS = { operator: 1, avs: 2, operatorSet: 3, lrt: 4 };

/** @type {typeof import("./index.d.mts").entityKey} */
export const entityKey = ({ kind, chainId, address, operatorSetId = 0 }) =>
  keccak256(
    encodeAbiParameters(
      [{ type: "uint8" }, { type: "uint256" }, { type: "address" }, { type: "uint32" }],
      [ENTITY_KINDS[kind], BigInt(chainId), address, operatorSetId],
    ),
  );

/** @type {typeof import("./index.d.mts").decodeWord} */
export const decodeWord = (word) => {
  const bits = (/** @type {bigint} */ shift, /** @type {bigint} */ width) =>
    (word >> shift) & ((1n << width) - 1n);
  const number = (/** @type {bigint} */ shift, /** @type {bigint} */ width) => Number(bits(shift, width));
  const [asOf, lag, flags, grade] = [number(216n, 40n), number(192n, 24n), number(88n, 8n), number(80n, 8n)];
  const letter = LETTERS[grade - 1];
  if (word < 0n || word >> 256n !== 0n || letter === undefined) {
    throw new Error(`${word} is no rating: grade is ${grade}, expected 1 to 20`);
  }
  return {
    asOf,
    storedAt: asOf + lag,
    logPos: number(144n, 48n),
    seq: number(112n, 32n),
    model: number(96n, 16n),
    grade,
    letter,
    score: number(64n, 16n),
    pd: number(32n, 32n),
    el: number(0n, 32n),
    flags: {
      watchPositive: (flags & 0x01) !== 0,
      watchNegative: (flags & 0x02) !== 0,
      underReview: (flags & 0x04) !== 0,
      defaulted: (flags & 0x08) !== 0,
      withdrawn: (flags & 0x10) !== 0,
      manualOverride: (flags & 0x20) !== 0,
      suspended: (flags & 0x80) !== 0,
    },
  };
};

/** @type {typeof import("./index.d.mts").unreliable} */
export const unreliable = (rating, maxAge, now) => {
  if (rating === null) return "it was never rated";
  if (rating.flags.suspended) return "the guardian has suspended the rating";
  if (rating.flags.withdrawn) return "the rating is withdrawn";
  const age = Math.max(0, now - rating.asOf);
  return age > maxAge ? `the rating is ${age} s old, expected at most ${maxAge} s` : null;
};

/** @type {typeof import("./index.d.mts").ratingOf} */
export const ratingOf = async (client, oracle, entity) => {
  const word = await client.readContract({
    address: oracle,
    abi: ratingOracleAbi,
    functionName: "raw",
    args: [entity],
  });
  return word === 0n ? null : decodeWord(word);
};

/** @type {typeof import("./index.d.mts").councilOf} */
export const councilOf = async (client, oracle) => {
  const contract = { address: oracle, abi: ratingOracleAbi };
  const [chainId, epoch, threshold] = await Promise.all([
    client.getChainId(),
    client.readContract({ ...contract, functionName: "epoch" }),
    client.readContract({ ...contract, functionName: "threshold" }),
  ]);
  const signers = await client.readContract({ ...contract, functionName: "signersAt", args: [epoch] });
  return { chainId, oracle, epoch, threshold, signers };
};

const leaf = (/** @type {`0x${string}`} */ entity, /** @type {bigint} */ word) =>
  keccak256(concat(["0x00", entity, numberToHex(word, { size: 32 })]));

/** The root above a leaf, or null if the path does not fit the batch. */
const climb = (/** @type {import("./index.d.mts").Pull} */ { entity, word, index, count, path }) => {
  if (!(index >= 0 && index < count)) return null;
  let [hash, at, width, used] = [leaf(entity, word), index, count, 0];
  for (; width > 1; at = Math.floor(at / 2), width = Math.ceil(width / 2)) {
    const isRight = at % 2 === 1;
    // The last of an odd number moves up as it is.
    if (!isRight && at + 1 === width) continue;
    const sibling = path[used++];
    if (sibling === undefined) return null;
    hash = keccak256(concat(isRight ? ["0x01", sibling, hash] : ["0x01", hash, sibling]));
  }
  return used === path.length ? hash : null;
};

/** @type {typeof import("./index.d.mts").verifyPull} */
export const verifyPull = async (council, pull) => {
  const root = climb(pull);
  if (root === null) throw new Error("the path does not lead from the rating to a root");
  const digest = hashTypedData({
    domain: { name: "Assay", version: "1", chainId: council.chainId, verifyingContract: council.oracle },
    types: {
      RatingBatch: [
        { name: "root", type: "bytes32" },
        { name: "count", type: "uint32" },
        { name: "epoch", type: "uint32" },
        { name: "deadline", type: "uint40" },
      ],
    },
    primaryType: "RatingBatch",
    message: { root, count: pull.count, epoch: council.epoch, deadline: pull.deadline },
  });
  const named = council.signers.filter((_, index) => (pull.bitmap >> BigInt(index)) & 1n);
  const isComplete = named.length === council.threshold && size(pull.signatures) === 64 * named.length;
  if (pull.bitmap >> BigInt(council.signers.length) !== 0n || !isComplete) {
    throw new Error(`${named.length} signers are named, expected ${council.threshold} with a signature each`);
  }
  for (const [n, signer] of named.entries()) {
    const compact = parseCompactSignature(slice(pull.signatures, 64 * n, 64 * (n + 1)));
    const signature = serializeSignature(compactSignatureToSignature(compact));
    const found = await recoverAddress({ hash: digest, signature }).catch(() => null);
    if (found?.toLowerCase() !== signer.toLowerCase()) {
      throw new Error(`the signature of ${signer} is not its own`);
    }
  }
  return decodeWord(pull.word);
};

/** @type {typeof import("./index.d.mts").fulfilment} */
export const fulfilment = (pull) =>
  encodeAbiParameters(getAbiItem({ abi: ratingOracleAbi, name: "pull" }).inputs, [
    pull.entity, pull.word, pull.index, pull.count, pull.path, pull.bitmap, pull.signatures, pull.deadline,
  ]);
