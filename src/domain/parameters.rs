//! The parameter groups of the methodology file, as they are written there.
//!
//! Shares, rates and multipliers are decimal strings in the file and exact integers here. Where a
//! number comes from is in the methodology document; this file only names it. See `methodology`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decimal::{Atto, Ppt, ppt_from_decimal};
use crate::grade::Grade;

/// Epochs, years and windows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Blocks of an epoch: one day at twelve seconds.
    pub epoch_blocks: u64,
    /// Blocks of a year.
    pub year_blocks: u64,
    /// Epochs of a year.
    pub days_per_year: Atto,
    /// Slashes of one operator and set within this many blocks are one incident.
    pub incident_window_blocks: u64,
    /// Blocks a delegator needs to leave.
    pub exit_window_blocks: u64,
    /// Beacon slashings within this many beacon epochs are one incident.
    pub beacon_incident_window_epochs: u64,
    /// Years that count towards group totals.
    pub group_window_years: Atto,
    /// Seconds of a slot, by chain id.
    pub slot_seconds: BTreeMap<u64, u64>,
}

/// Half-life of counts and exposure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decay {
    /// Days after which a count is worth half.
    pub half_life_days: Atto,
    /// The same as a factor a day, 2^(-1/half-life).
    pub daily_factor: Atto,
}

/// A Gamma prior of a yearly rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaPrior {
    /// Shape: how many incidents the prior is worth.
    pub shape: Atto,
    /// Rate: how many years the prior is worth.
    pub rate: Atto,
}

/// Prior of class C3, whose mean depends on the complexity of the ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComplexityPrior {
    /// Shape.
    pub shape: Atto,
    /// Incidents a year at complexity zero; each point doubles it.
    pub base_mean: Atto,
}

/// Prior of class C4, whose mean depends on who holds the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapePrior {
    /// Shape.
    pub shape: Atto,
}

/// Priors of the hazards.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priors {
    /// Attributable signing fault.
    pub c1: GammaPrior,
    /// Liveness slash.
    pub c2: GammaPrior,
    /// Logic, slasher bug or false positive of the set.
    pub c3: ComplexityPrior,
    /// Authority compromised or abused.
    pub c4: ShapePrior,
    /// Consensus bug of a client.
    pub c6b: GammaPrior,
    /// Platform contract.
    pub c7: GammaPrior,
    /// Contract, governance or bridge of a liquid restaking token.
    pub c8: GammaPrior,
}

/// Prior of a severity: a full loss with a Beta probability, else a partial one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityPrior {
    /// Beta counts of a full loss: (full, partial).
    pub full: (Atto, Atto),
    /// Mean of a partial loss.
    pub partial_mean: Atto,
    /// Beta parameters of a partial loss, for the loss distribution.
    pub partial_beta: (Atto, Atto),
}

/// Priors of the severities.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Severities {
    /// Attributable signing fault.
    pub c1: SeverityPrior,
    /// Liveness slash.
    pub c2: SeverityPrior,
    /// Logic or slasher bug.
    pub c3: SeverityPrior,
    /// Authority.
    pub c4: SeverityPrior,
    /// Share lost when the platform's contracts fail.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub platform: Ppt,
    /// Share lost when a liquid restaking token's contracts fail.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub lrt_contract: Ppt,
    /// How many incidents the partial mean is worth.
    pub partial_pseudo_count: Atto,
    /// From this share of the allocation on a slash counts as full.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub full_threshold: Ppt,
}

/// Class C4: incidents a year by who can slash, and multipliers by who receives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Immutable verified slasher.
    pub immutable: Atto,
    /// Multisig behind a timelock of at least the exit window.
    pub timelocked_multisig: Atto,
    /// Multisig.
    pub multisig: Atto,
    /// A single key, or unknown.
    pub eoa_or_unknown: Atto,
    /// The recipient is the AVS, its slasher, or an address either controls: replaces the mean.
    pub self_controlled_recipient: Atto,
    /// Multiplier where slashed stake is paid out.
    pub redistributing: Atto,
    /// Multiplier where it is paid out after the delay of ELIP-016.
    pub redistributing_delayed: Atto,
    /// Blocks a timelock must last to count.
    pub timelock_blocks_min: u64,
}

/// Class C5: the rate of profitable corruption, 10^-(…) of the slack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corruption {
    /// Rate a year where the profit from corruption is unknown.
    pub unknown: Atto,
    /// Negative exponent at slack zero.
    pub exponent_at_zero: Atto,
    /// Added to it for each unit of slack, up to one.
    pub slope_with_slack: Atto,
    /// Taken from it for each unit of deficit, up to one.
    pub slope_with_deficit: Atto,
    /// Share of the stake an attack loses, where nobody attested it.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub default_alpha: Ppt,
    /// Squared coefficient of variation of the rate.
    pub cv2: Atto,
}

/// Credit for an independent veto.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Veto {
    /// Share of false slashes a perfect veto stops.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub weight: Ppt,
    /// Signers a resolver must have.
    pub signers_min: u32,
    /// Blocks it must have to decide.
    pub window_blocks_min: u64,
}

/// Operator frailty and new operators.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frailty {
    /// Shape and rate of the frailty.
    pub kappa: Atto,
    /// Lower clamp of its estimate.
    pub kappa_min: Atto,
    /// Upper clamp of its estimate.
    pub kappa_max: Atto,
    /// Share of the signing-fault rate that hits all of an operator's sets at once.
    pub operator_wide_share: Atto,
    /// Multiplier of a new operator's hazard.
    pub new_operator_multiplier: Atto,
    /// Years of exposure after which an operator is not new.
    pub new_operator_until_years: Atto,
}

/// What a mitigant does to a hazard at full credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Takes away this share of the hazard.
    Reduces(Atto),
    /// Adds this share to the hazard.
    Raises(Atto),
}

/// What a mitigant does to the two operator classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MitigantEffect {
    /// To signing faults.
    pub c1: Effect,
    /// To liveness slashes.
    pub c2: Effect,
}

/// What lowers or raises an operator's hazard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mitigation {
    /// Policy-enforced anti-slasher in secure hardware.
    pub anti_slasher: MitigantEffect,
    /// Remote signer with a slashing-protection database.
    pub remote_signer: MitigantEffect,
    /// Distributed validator technology.
    pub dvt: MitigantEffect,
    /// Doppelganger detection.
    pub doppelganger: MitigantEffect,
    /// Days after which an attestation is worth half.
    pub credit_half_life_days: Atto,
    /// Multiplier while keys migrated recently.
    pub key_migration: Atto,
    /// Days that are recent.
    pub key_migration_window_days: u64,
    /// Multiplier at low uptime.
    pub low_uptime: Atto,
    /// Uptime below which it is low.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub uptime_min: Ppt,
    /// Multiplier for serving many sets.
    pub many_sets: Atto,
    /// Sets above which they are many.
    pub sets_served_max: u32,
    /// Upper clamp of the product of the multipliers; the lower one is one.
    pub covariates_max: Atto,
    /// Lower clamp of mitigants times multipliers.
    pub multiplier_min: Atto,
    /// Upper clamp of mitigants times multipliers.
    pub multiplier_max: Atto,
    /// Notches that mitigants may lift a young operator.
    pub uplift_notches_max: u8,
    /// Years of exposure after which the limit ends.
    pub uplift_limited_until_years: Atto,
}

/// What a fresh attestation of each level is worth.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// The rated party says so.
    pub self_claim: Atto,
    /// A third party signed it.
    pub signed_third_party: Atto,
    /// A remote attestation bound to the operator's keys.
    pub verified_remote: Atto,
    /// Verified on chain or by proof.
    pub verified_on_chain: Atto,
}

/// Latent and dust exposure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    /// Weight of exposure that could arise before a delegator can leave.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub latent_weight: Ppt,
    /// Slashable ether below which time does not count as experience.
    pub dust_eth: Atto,
    /// Share of the set below which it does not either.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub dust_share_of_set: Ppt,
}

/// Loadings on the common factor, by class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the classes name themselves")]
pub struct FactorBeta {
    pub c1: Atto,
    pub c2: Atto,
    pub c3: Atto,
    pub c4: Atto,
    pub c5: Atto,
    pub c6: Atto,
}

/// Ceilings on grades, each an explicit line of the attribution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// The slasher is a single key, or unknown.
    pub slasher_eoa_or_unknown: Grade,
    /// The redistribution recipient is a single key.
    pub recipient_eoa: Grade,
    /// Nobody published the ruleset.
    pub ruleset_unpublished: Grade,
    /// The profit from corruption is unknown.
    pub corruption_profit_unknown: Grade,
    /// Reserves are between 99 and 100 % of liabilities.
    pub reserve_below_full: Grade,
    /// The proof of reserve is stale or absent.
    pub reserve_stale_or_absent: Grade,
    /// Redemptions are paused.
    pub redemptions_paused: Grade,
    /// The 99.9 % expected shortfall takes more than half of the exposure.
    pub tail_above_half: Grade,
    /// Coverage below [`Self::coverage_three_quarters`].
    pub coverage_below_three_quarters: Grade,
    /// Coverage below [`Self::coverage_half`].
    pub coverage_below_half: Grade,
    /// First threshold of coverage.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub coverage_three_quarters: Ppt,
    /// Second threshold of coverage.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub coverage_half: Ppt,
    /// Coverage below which nothing is rated that has no component read from the chain.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub coverage_rated_min: Ppt,
}

/// Intervals and the provisional suffix.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uncertainty {
    /// Normal quantile of the interval's ends.
    pub interval_z: Atto,
    /// Normal quantile of the conservative rating.
    pub conservative_z: Atto,
    /// Data sufficiency below which a rating is provisional.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub provisional_below: Ppt,
    /// Probability inside the interval, for display.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub interval_level: Ppt,
    /// Percentile of the conservative rating, for display.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub conservative_level: Ppt,
}

/// Hysteresis, watch and outlook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surveillance {
    /// How far above the worse boundary the expected loss must be, numerator and denominator.
    pub downgrade_factor: (u32, u32),
    /// For how many epochs in a row.
    pub downgrade_epochs: u16,
    /// From this many notches on a downgrade is immediate.
    pub jump_notches: u8,
    /// How far below the better boundary the expected loss must be, numerator and denominator.
    pub upgrade_factor: (u32, u32),
    /// For how many epochs in a row.
    pub upgrade_epochs: u16,
    /// Epochs since the last action before an upgrade.
    pub upgrade_cooldown_epochs: u16,
    /// Clean epochs after which a watch closes.
    pub watch_clean_epochs: u16,
    /// Epochs the outlook looks ahead.
    pub outlook_horizon_epochs: u64,
    /// Better projections in a row that make it positive.
    pub outlook_better_epochs: u16,
    /// Cumulative slash of the rated exposure that is a default.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub default_slash_share: Ppt,
}

/// Liquid restaking tokens: reserves, runs, liquidity and the base layer under them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrtParameters {
    /// Days after which a proof of reserve is stale.
    pub reserve_stale_days: u64,
    /// Reserves over liabilities below which it is a default.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub reserve_default: Ppt,
    /// For how many days in a row.
    pub reserve_default_days: u64,
    /// A single write-down of this share is a default.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub write_down_default: Ppt,
    /// Largest share that is redeemed at a stale value; taken where nobody attested the depth.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub run_share_max: Ppt,
    /// Share of validators on one client, where nobody attested it.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub client_share: Ppt,
    /// Ether at stake on the beacon chain, for the correlation penalty.
    pub beacon_active_eth: u64,
    /// Share of the supply that a redemption is timed for.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub redeemed_share: Ppt,
    /// Days to redeem it, from L1 to L4: below the first is L1, not below the last is L5.
    pub liquidity_days: [u64; 4],
    /// Loss on selling 1 % of the supply, bp, from L1 to L4 likewise.
    pub liquidity_cost_bp: [u64; 4],
    /// Days of EigenLayer's escrow.
    pub escrow_days: u64,
    /// Days in the beacon chain's exit queue, where nobody attested it.
    pub beacon_exit_days: u64,
    /// Market price over value below which the token is on watch.
    #[serde(deserialize_with = "ppt_from_decimal")]
    pub market_discount: Ppt,
}
