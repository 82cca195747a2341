import type { Address, Hex, PublicClient } from "viem";

export { ratingOracleAbi } from "./abi.mjs";

/** AAA (safest) to D, by grade from 1 to 20. */
export declare const LETTERS: readonly string[];

/** What can be rated, and its number in an entity's key. */
export declare const ENTITY_KINDS: {
  readonly operator: 1;
  readonly avs: 2;
  readonly operatorSet: 3;
  readonly lrt: 4;
};

/** Something that carries a rating. An operator set has the address of its AVS. */
export interface Entity {
  kind: keyof typeof ENTITY_KINDS;
  /** The chain it lives on, which need not be the oracle's. */
  chainId: number;
  address: Address;
  /** Only of an operator set. */
  operatorSetId?: number;
}

/** The key that a rating is stored under. */
export declare function entityKey(entity: Entity): Hex;

/** A rating, read from one word. */
export interface Rating {
  /** When it was observed: seconds since the Unix epoch. */
  asOf: number;
  /** When the contract took it, seconds since the Unix epoch; `asOf` in a word that is only signed. */
  storedAt: number;
  /** Position in Assay's log that explains it. */
  logPos: number;
  /** Counts the entity's ratings, the same on every chain. */
  seq: number;
  /** Index in the contract's registry of models. */
  model: number;
  /** 1 (AAA) to 20 (D). Lower is safer. */
  grade: number;
  /** The grade as it is written. */
  letter: string;
  /** Milli-notch, 0 (AAA) to 19,000 (D). Lower is safer. */
  score: number;
  /** P(loss of more than 1 % in a year), in 1e-9, rounded up. */
  pd: number;
  /** Expected loss in a year, in 1e-9, rounded up. */
  el: number;
  flags: {
    watchPositive: boolean;
    watchNegative: boolean;
    underReview: boolean;
    defaulted: boolean;
    /** No longer rated: the grade is the last there was. */
    withdrawn: boolean;
    manualOverride: boolean;
    /** The guardian warns against the rating. */
    suspended: boolean;
  };
}

/** What a word says, signed or stored. Throws if it is no rating. */
export declare function decodeWord(word: bigint): Rating;

/** The stored rating of an entity, however old; null if it was never rated. */
export declare function ratingOf(client: PublicClient, oracle: Address, entity: Hex): Promise<Rating | null>;

/**
 * Why a rating should not be relied on at the time `now` (seconds since the Unix epoch); null if it may.
 * The same rule as `ratingFast`, `ratingNoOlderThan` and `tryRating` of the contract.
 */
export declare function unreliable(rating: Rating | null, maxAge: number, now: number): string | null;

/** Who may sign for a contract. */
export interface Council {
  chainId: number;
  oracle: Address;
  /** Which set of signers this is: part of what they sign. */
  epoch: number;
  /** How many must sign. */
  threshold: number;
  /** Ascending. */
  signers: readonly Address[];
}

/** Who may sign for a contract now. */
export declare function councilOf(client: PublicClient, oracle: Address): Promise<Council>;

/** The arguments of the contract's `pull`: one rating, its place in a batch, and a quorum's signatures. */
export interface Pull {
  entity: Hex;
  word: bigint;
  index: number;
  count: number;
  path: readonly Hex[];
  bitmap: bigint;
  /** 64 bytes (EIP-2098) a signer, in the order of the bits. */
  signatures: Hex;
  /** Seconds since the Unix epoch. Not checked here: what was signed stays signed. */
  deadline: number;
}

/** What a rating says that somebody handed over, if the council signed it; throws if it did not. */
export declare function verifyPull(council: Council, pull: Pull): Promise<Rating>;

/** What ERC-7412's `fulfillOracleQuery` takes. */
export declare function fulfilment(pull: Pull): Hex;
