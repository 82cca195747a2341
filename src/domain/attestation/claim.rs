//! The claims: what each says, what it is about, and what is wrong with one that cannot be so.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{COVERED_RULESETS_MAX, Cause, RULES_MAX, SlasherKind, TEXT_BYTES_MAX};
use crate::decimal::Ppt;
use crate::id::{AvsId, LrtId, OperatorId, OperatorSetId, RatedEntity, StrategyId};
use crate::operator_set::RecipientKind;
use crate::ruleset::Ruleset;

/// The number of [`Claim::FirstLossReserve`].
pub const FIRST_LOSS_RESERVE: u8 = 32;
/// The number of [`Claim::DexDepth`].
pub const DEX_DEPTH: u8 = 33;
/// The number of [`Claim::LendingExposure`].
pub const LENDING_EXPOSURE: u8 = 34;
/// The number of [`Claim::NavView`].
pub const NAV_VIEW: u8 = 35;
/// The number of [`Claim::ReserveProof`].
pub const RESERVE_PROOF: u8 = 36;
/// The number of [`Claim::CrossPlatformStake`].
pub const CROSS_PLATFORM_STAKE: u8 = 37;
/// The number of [`Claim::RewardRealisation`].
pub const REWARD_REALISATION: u8 = 38;

/// What is claimed. Numbers are for ever; 32 and up came later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[serde(deny_unknown_fields, rename_all = "snake_case", rename_all_fields = "camelCase")]
#[repr(u8)]
pub enum Claim {
    /// The rules by which a set slashes.
    Ruleset {
        /// The set.
        set: OperatorSetId,
        /// The rules.
        ruleset: Ruleset,
    } = 1,
    /// What the slasher of a set is. Counts while this very address is the slasher.
    SlasherProfile {
        /// The set.
        set: OperatorSetId,
        /// The slasher.
        slasher: Address,
        /// What it is.
        kind: SlasherKind,
        /// Hash of its code; without one no bound on a slash counts.
        code_hash: Option<B256>,
        /// Largest share of an allocation that it can take, ppt.
        max_slash: Option<Ppt>,
    } = 2,
    /// What the recipient of a set's slashed stake is.
    RecipientProfile {
        /// The set.
        set: OperatorSetId,
        /// The recipient.
        recipient: Address,
        /// A contract, or a single key.
        kind: RecipientKind,
        /// Whether ELIP-016's delay and pause apply.
        is_delayed: bool,
        /// Whether the AVS or its slasher controls it.
        is_self_controlled: bool,
    } = 3,
    /// A resolver that can stop a slash.
    Veto {
        /// The set.
        set: OperatorSetId,
        /// Signers that do not depend on the AVS.
        independent_signers: u32,
        /// Blocks it has to decide.
        window_blocks: u64,
    } = 4,
    /// What corrupting a set would gain.
    ProfitFromCorruption {
        /// The set.
        set: OperatorSetId,
        /// Wei of ether.
        wei: U256,
        /// How it was estimated.
        method: String,
    } = 5,
    /// The share of a set's stake that corrupting it takes.
    CorruptionThreshold {
        /// The set.
        set: OperatorSetId,
        /// ppt, above zero.
        alpha: Ppt,
    } = 6,
    /// A policy engine in secure hardware that refuses to sign what is slashable.
    AntiSlasher {
        /// The operator.
        operator: OperatorId,
        /// Hash of the signing keys it guards.
        signing_keys: B256,
        /// Hash of its policy.
        policy: B256,
        /// Hashes of the rulesets the policy covers: it counts for no other.
        rulesets: BTreeSet<B256>,
    } = 7,
    /// How an operator runs.
    Infrastructure {
        /// The operator.
        operator: OperatorId,
        /// A remote signer with a slashing-protection database.
        has_remote_signer: bool,
        /// Distributed validator technology.
        has_dvt: bool,
        /// Doppelganger detection.
        has_doppelganger_detection: bool,
    } = 8,
    /// An operator moved its signing keys.
    KeyMigration {
        /// The operator.
        operator: OperatorId,
        /// When, seconds since the Unix epoch.
        migrated_at: u64,
    } = 9,
    /// How much of the time an operator was up.
    Uptime {
        /// The operator.
        operator: OperatorId,
        /// ppt.
        uptime: Ppt,
    } = 10,
    /// Why an incident happened.
    Cause {
        /// The operator slashed.
        operator: OperatorId,
        /// By which set.
        set: OperatorSetId,
        /// Block of the incident's first slash.
        block: u64,
        /// Why.
        cause: Cause,
    } = 11,
    /// What a share of a strategy is worth.
    Price {
        /// The strategy.
        strategy: StrategyId,
        /// Wei of ether a 1e18 shares.
        wei: U256,
    } = 12,
    /// The reason for which an entity is on watch is gone.
    WatchResolution {
        /// Who is rated.
        entity: RatedEntity,
    } = 13,
    /// What bears a token's losses before its holders do.
    FirstLossReserve {
        /// The token.
        token: LrtId,
        /// Where it lies.
        reserve: Address,
        /// Wei of ether.
        wei: U256,
        /// Whether it pays by code or contract; one that somebody may decide to use counts as
        /// nothing.
        is_automatic: bool,
    } = FIRST_LOSS_RESERVE,
    /// What it takes to sell a token on its markets.
    DexDepth {
        /// The token.
        token: LrtId,
        /// What selling 1 % of the supply at once loses against the token's value, ppt.
        cost: Ppt,
        /// Wei of ether for which it can be sold before a loss is recognised.
        wei: U256,
    } = DEX_DEPTH,
    /// Loans of ether against a token, taken to buy more of it.
    LendingExposure {
        /// The token.
        token: LrtId,
        /// Share of the supply that stands behind them, ppt.
        looped: Ppt,
        /// What is owed over what stands behind it, ppt; at most the threshold.
        loan_to_value: Ppt,
        /// Loan to value from which the lenders sell, ppt.
        liquidation_threshold: Ppt,
    } = LENDING_EXPOSURE,
    /// All that a token's holders own, as the protocol's contracts answer when they are asked.
    NavView {
        /// The token.
        token: LrtId,
        /// Wei of ether.
        wei: U256,
    } = NAV_VIEW,
    /// What was proven to be there for a token, at one moment.
    ReserveProof {
        /// The token.
        token: LrtId,
        /// Wei of ether that were proven.
        assets: U256,
        /// Wei of ether that holders were owed, above zero.
        liabilities: U256,
        /// When, seconds since the Unix epoch.
        proven_at: u64,
    } = RESERVE_PROOF,
    /// Stake of an operator with EigenLayer that other platforms can take too.
    CrossPlatformStake {
        /// The operator.
        operator: OperatorId,
        /// Which platforms.
        platforms: String,
        /// Wei of ether, of all of them together.
        wei: U256,
    } = CROSS_PLATFORM_STAKE,
    /// All that an earner ever earned of a token, as the tree under the rewards' root has it.
    RewardRealisation {
        /// An operator or a staker.
        earner: Address,
        /// What is paid.
        token: Address,
        /// In the token's own units.
        cumulative: U256,
    } = REWARD_REALISATION,
}

/// What a claim is about. A signer's newer claim on a topic replaces its older one; claims of
/// different signers on one topic that differ are a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A claim of this kind about a set.
    Set(OperatorSetId, u8),
    /// A claim of this kind about an operator.
    Operator(OperatorId, u8),
    /// The cause of an incident.
    Incident(OperatorId, OperatorSetId, u64),
    /// The price of a strategy.
    Price(StrategyId),
    /// The watch of an entity.
    Watch(RatedEntity),
    /// A claim of this kind about a token.
    Token(LrtId, u8),
    /// What an earner got of what is paid.
    Earner(Address, Address),
}

impl Claim {
    /// The kind's number, the first byte of its canonical form.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Ruleset { .. } => 1,
            Self::SlasherProfile { .. } => 2,
            Self::RecipientProfile { .. } => 3,
            Self::Veto { .. } => 4,
            Self::ProfitFromCorruption { .. } => 5,
            Self::CorruptionThreshold { .. } => 6,
            Self::AntiSlasher { .. } => 7,
            Self::Infrastructure { .. } => 8,
            Self::KeyMigration { .. } => 9,
            Self::Uptime { .. } => 10,
            Self::Cause { .. } => 11,
            Self::Price { .. } => 12,
            Self::WatchResolution { .. } => 13,
            Self::FirstLossReserve { .. } => FIRST_LOSS_RESERVE,
            Self::DexDepth { .. } => DEX_DEPTH,
            Self::LendingExposure { .. } => LENDING_EXPOSURE,
            Self::NavView { .. } => NAV_VIEW,
            Self::ReserveProof { .. } => RESERVE_PROOF,
            Self::CrossPlatformStake { .. } => CROSS_PLATFORM_STAKE,
            Self::RewardRealisation { .. } => REWARD_REALISATION,
        }
    }

    /// The kind's name, as it is signed.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ruleset { .. } => "RulesetAttested",
            Self::SlasherProfile { .. } => "SlasherProfileAttested",
            Self::RecipientProfile { .. } => "RecipientProfileAttested",
            Self::Veto { .. } => "VetoAttested",
            Self::ProfitFromCorruption { .. } => "ProfitFromCorruptionAttested",
            Self::CorruptionThreshold { .. } => "AlphaAttested",
            Self::AntiSlasher { .. } => "AntiSlasherAttested",
            Self::Infrastructure { .. } => "InfraAttested",
            Self::KeyMigration { .. } => "KeyMigrationAttested",
            Self::Uptime { .. } => "UptimeAttested",
            Self::Cause { .. } => "CauseAttested",
            Self::Price { .. } => "PriceAttested",
            Self::WatchResolution { .. } => "WatchResolution",
            Self::FirstLossReserve { .. } => "FirstLossReserveAttested",
            Self::DexDepth { .. } => "DexDepthAttested",
            Self::LendingExposure { .. } => "LendingExposureAttested",
            Self::NavView { .. } => "NavViewAttested",
            Self::ReserveProof { .. } => "ReserveProofAttested",
            Self::CrossPlatformStake { .. } => "CrossPlatformStakeAttested",
            Self::RewardRealisation { .. } => "RewardRealisationAttested",
        }
    }

    /// What it is about.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Ruleset { set, .. }
            | Self::SlasherProfile { set, .. }
            | Self::RecipientProfile { set, .. }
            | Self::Veto { set, .. }
            | Self::ProfitFromCorruption { set, .. }
            | Self::CorruptionThreshold { set, .. } => Topic::Set(*set, self.kind()),
            Self::AntiSlasher { operator, .. }
            | Self::Infrastructure { operator, .. }
            | Self::KeyMigration { operator, .. }
            | Self::Uptime { operator, .. }
            | Self::CrossPlatformStake { operator, .. } => Topic::Operator(*operator, self.kind()),
            Self::Cause { operator, set, block, .. } => Topic::Incident(*operator, *set, *block),
            Self::Price { strategy, .. } => Topic::Price(*strategy),
            Self::WatchResolution { entity } => Topic::Watch(*entity),
            Self::FirstLossReserve { token, .. }
            | Self::DexDepth { token, .. }
            | Self::LendingExposure { token, .. }
            | Self::NavView { token, .. }
            | Self::ReserveProof { token, .. } => Topic::Token(*token, self.kind()),
            Self::RewardRealisation { earner, token, .. } => Topic::Earner(*earner, *token),
        }
    }

    /// Addresses whose own word on this is only a claim.
    #[must_use]
    pub fn parties(&self) -> Vec<Address> {
        match self.topic() {
            Topic::Set(OperatorSetId { avs: AvsId(avs), .. }, _) => vec![avs],
            Topic::Operator(operator, _) => vec![operator.0],
            Topic::Incident(operator, set, _) => vec![operator.0, set.avs.0],
            Topic::Price(strategy) => vec![strategy.0],
            Topic::Watch(entity) => vec![entity.address],
            Topic::Token(token, _) => vec![token.0],
            Topic::Earner(earner, _) => vec![earner],
        }
    }

    /// What is wrong with the claim itself, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let is_share = |share: &Ppt| *share <= Ppt::ONE;
        let is_amount = |wei: &U256| wei.bit_len() <= 128;
        let (is_sound, what) = match self {
            Self::Ruleset { ruleset, .. } => return ruleset_fault(ruleset),
            Self::SlasherProfile { kind, max_slash, .. } => {
                let is_possible = match kind {
                    SlasherKind::Multisig { threshold, signers, .. } => {
                        *threshold >= 1 && threshold <= signers
                    }
                    SlasherKind::Eoa | SlasherKind::Immutable => true,
                };
                let is_possible = is_possible && max_slash.as_ref().is_none_or(is_share);
                (
                    is_possible,
                    "a multisig needs 1 to all of its keys, and a slash takes at most all",
                )
            }
            Self::ProfitFromCorruption { wei, method, .. } => (
                !wei.is_zero() && method.len() <= TEXT_BYTES_MAX,
                "the profit must be above zero and the method at most 512 bytes",
            ),
            Self::CorruptionThreshold { alpha, .. } => {
                (*alpha > Ppt::ZERO && is_share(alpha), "alpha must be above zero and at most one")
            }
            Self::AntiSlasher { rulesets, .. } => (
                rulesets.len() <= COVERED_RULESETS_MAX,
                "an anti-slasher covers at most 32 rulesets",
            ),
            Self::Uptime { uptime, .. } => (is_share(uptime), "uptime is at most one"),
            Self::Price { wei, .. } => {
                (!wei.is_zero() && is_amount(wei), "a price must be above zero and below 2^128 wei")
            }
            Self::FirstLossReserve { wei, .. } => (is_amount(wei), "a reserve is below 2^128 wei"),
            Self::DexDepth { cost, wei, .. } => (
                is_share(cost) && is_amount(wei),
                "a sale costs at most all, and the depth is below 2^128 wei",
            ),
            Self::LendingExposure { looped, loan_to_value, liquidation_threshold, .. } => (
                is_share(looped)
                    && loan_to_value <= liquidation_threshold
                    && is_share(liquidation_threshold)
                    && *liquidation_threshold > Ppt::ZERO,
                "at most all of the supply is looped, and the loan to value is at most the \
                 liquidation threshold, which is above zero and at most one",
            ),
            Self::NavView { wei, .. } => (
                !wei.is_zero() && is_amount(wei),
                "what holders own must be above zero and below 2^128 wei",
            ),
            Self::ReserveProof { assets, liabilities, .. } => (
                !liabilities.is_zero() && is_amount(assets) && is_amount(liabilities),
                "assets and liabilities are below 2^128 wei, and liabilities above zero",
            ),
            Self::CrossPlatformStake { platforms, wei, .. } => (
                platforms.len() <= TEXT_BYTES_MAX && is_amount(wei),
                "the platforms have at most 512 bytes, and the stake is below 2^128 wei",
            ),
            Self::RecipientProfile { .. }
            | Self::Veto { .. }
            | Self::Infrastructure { .. }
            | Self::KeyMigration { .. }
            | Self::Cause { .. }
            | Self::WatchResolution { .. }
            | Self::RewardRealisation { .. } => return None,
        };
        (!is_sound).then_some(what)
    }
}

fn ruleset_fault(ruleset: &Ruleset) -> Option<&'static str> {
    let rules = &ruleset.rules;
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Some("a ruleset has 1 to 32 rules");
    }
    let is_sound = rules.iter().all(|rule| {
        rule.id.len() <= TEXT_BYTES_MAX
            && rule.text.len() <= TEXT_BYTES_MAX
            && rule.max_slash <= Ppt::ONE
    });
    (!is_sound).then_some("a rule's texts have at most 512 bytes and it slashes at most all")
}
