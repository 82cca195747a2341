//! What somebody says and signs that no chain tells: messages of our own log.
//!
//! A message is signed as EIP-712 typed data (the shell checks that), recorded once, and counts
//! from the first epoch end at least [`DELAY_BLOCKS`] after its signed effective block: so when it
//! counts is in the message, and not in when it reached a node.
//! Who may say what, and what a standing claim is worth, is in `state::registry`; what claims do
//! to a rating is in `evidence`.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::block::{BLOCKS_PER_EPOCH, epoch_end};
use crate::decimal::Ppt;
use crate::event::Event;
use crate::id::{AvsId, LrtId, OperatorId, OperatorSetId, RatedEntity, StrategyId};
use crate::loss_block::LossClass;
use crate::mitigation::VerificationLevel;
use crate::operator_set::RecipientKind;
use crate::ruleset::Ruleset;

/// Blocks after its effective block before a message counts: every node has a day to learn of it.
pub const DELAY_BLOCKS: u64 = BLOCKS_PER_EPOCH;

/// Blocks that the effective block may lie ahead of the newest final one: 30 days.
pub const AHEAD_BLOCKS_MAX: u64 = 30 * BLOCKS_PER_EPOCH;

/// Seconds that a claim may stand after it was observed: two years.
pub const VALID_SECONDS_MAX: u64 = 2 * 365 * 86_400;

/// Rules of an attested ruleset; the largest standard has two.
pub const RULES_MAX: usize = 32;

/// Rulesets that one anti-slasher covers.
pub const COVERED_RULESETS_MAX: usize = 32;

/// Affiliations of one signer.
pub const AFFILIATIONS_MAX: usize = 64;

/// Bytes of any text in a message.
pub const TEXT_BYTES_MAX: usize = 512;

/// The number of [`Claim::FirstLossReserve`].
pub const FIRST_LOSS_RESERVE: u8 = 32;

/// The epoch at whose end a message with this effective block counts.
pub const fn counting_epoch(effective_block: u64) -> u64 {
    // The first epoch end at or after the block is the end of the block's own epoch.
    effective_block.saturating_add(DELAY_BLOCKS) / BLOCKS_PER_EPOCH
}

/// The block at whose end a message with this effective block counts.
pub const fn counting_block(effective_block: u64) -> u64 {
    epoch_end(counting_epoch(effective_block))
}

/// A message with its signature. The digest covers chain and message, the signature the digest.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signed<T> {
    /// What is said.
    pub message: T,
    /// EIP-712 digest: the message's name for ever.
    pub digest: B256,
    /// Who signed it.
    pub signer: Address,
    /// r, s and v.
    pub signature: [u8; 65],
}

/// Somebody is made administrator of the registry of signers. The first is appointed by whoever
/// owns the log, each further one by the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AdministratorAppointment {
    /// Who may register signers.
    pub administrator: Address,
    /// See the module.
    pub effective_block: u64,
}

/// A key is admitted, or admitted anew with other rights. Signed by the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignerRegistration {
    /// The key.
    pub signer: Address,
    /// The best level at which it may sign.
    pub level: VerificationLevel,
    /// AVSs, operators and tokens that the signer belongs to: about them it only claims.
    pub affiliations: BTreeSet<Address>,
    /// See the module.
    pub effective_block: u64,
}

/// A key is struck off: everything it signed stops counting. Signed by the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignerRemoval {
    /// The key.
    pub signer: Address,
    /// See the module.
    pub effective_block: u64,
}

/// A claim, by whoever signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attestation {
    /// What is claimed.
    pub claim: Claim,
    /// How well it is verified.
    pub level: VerificationLevel,
    /// Hash of the evidence.
    pub evidence: B256,
    /// When it was observed, seconds since the Unix epoch.
    pub observed_at: u64,
    /// See the module.
    pub effective_block: u64,
    /// When it stops counting, seconds since the Unix epoch.
    pub expires_at: u64,
}

/// A signer takes a claim of its own back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Revocation {
    /// Digest of the attestation.
    pub attestation: B256,
    /// See the module.
    pub effective_block: u64,
}

/// A methodology is adopted. Signed by the administrator. The binary holds the file; a log that
/// adopted another one than the binary has is not rated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MethodologyAdoption {
    /// sha256 of the file.
    pub methodology: B256,
    /// The version written in it.
    pub version: String,
    /// See the module.
    pub effective_block: u64,
}

/// What a slasher is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum SlasherKind {
    /// A single key.
    Eoa,
    /// `threshold` of `signers` keys, and so many blocks before what they say is done.
    Multisig {
        /// Signatures needed.
        threshold: u32,
        /// Keys.
        signers: u32,
        /// Blocks of delay; zero without a timelock.
        timelock_blocks: u64,
    },
    /// A verified contract that nobody can change.
    Immutable,
}

/// Cause of an incident, as an investigation found it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
    /// C1.
    SigningFault = 1,
    /// C2.
    Liveness = 2,
    /// C3.
    LogicBug = 3,
    /// C4.
    Authority = 4,
}

impl Cause {
    /// The loss class.
    #[must_use]
    pub const fn class(self) -> LossClass {
        match self {
            Self::SigningFault => LossClass::C1,
            Self::Liveness => LossClass::C2,
            Self::LogicBug => LossClass::C3,
            Self::Authority => LossClass::C4,
        }
    }
}

/// What is claimed. Numbers are for ever; 32 and up are for tokens.
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
            | Self::Uptime { operator, .. } => Topic::Operator(*operator, self.kind()),
            Self::Cause { operator, set, block, .. } => Topic::Incident(*operator, *set, *block),
            Self::Price { strategy, .. } => Topic::Price(*strategy),
            Self::WatchResolution { entity } => Topic::Watch(*entity),
            Self::FirstLossReserve { token, .. } => Topic::Token(*token, self.kind()),
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
        }
    }

    /// What is wrong with the claim itself, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let is_share = |share: &Ppt| *share <= Ppt::ONE;
        let is_sound = match self {
            Self::Ruleset { ruleset, .. } => return ruleset_fault(ruleset),
            Self::SlasherProfile { kind, max_slash, .. } => {
                let is_possible = match kind {
                    SlasherKind::Multisig { threshold, signers, .. } => {
                        *threshold >= 1 && threshold <= signers
                    }
                    SlasherKind::Eoa | SlasherKind::Immutable => true,
                };
                is_possible && max_slash.as_ref().is_none_or(is_share)
            }
            Self::ProfitFromCorruption { wei, method, .. } => {
                !wei.is_zero() && method.len() <= TEXT_BYTES_MAX
            }
            Self::CorruptionThreshold { alpha, .. } => *alpha > Ppt::ZERO && is_share(alpha),
            Self::AntiSlasher { rulesets, .. } => rulesets.len() <= COVERED_RULESETS_MAX,
            Self::Uptime { uptime, .. } => is_share(uptime),
            Self::Price { wei, .. } => !wei.is_zero() && wei.bit_len() <= 128,
            Self::FirstLossReserve { wei, .. } => wei.bit_len() <= 128,
            Self::RecipientProfile { .. }
            | Self::Veto { .. }
            | Self::Infrastructure { .. }
            | Self::KeyMigration { .. }
            | Self::Cause { .. }
            | Self::WatchResolution { .. } => true,
        };
        (!is_sound).then_some(match self {
            Self::SlasherProfile { .. } => {
                "a multisig needs 1 to all of its keys, and a slash takes at most all"
            }
            Self::ProfitFromCorruption { .. } => {
                "the profit must be above zero and the method at most 512 bytes"
            }
            Self::CorruptionThreshold { .. } => "alpha must be above zero and at most one",
            Self::AntiSlasher { .. } => "an anti-slasher covers at most 32 rulesets",
            Self::Uptime { .. } => "uptime is at most one",
            Self::FirstLossReserve { .. } => "a reserve is below 2^128 wei",
            _ => "a price must be above zero and below 2^128 wei",
        })
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

/// Any of the messages, as a file or a request holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the messages name themselves")]
pub enum Message {
    AdministratorAppointment(AdministratorAppointment),
    SignerRegistration(SignerRegistration),
    SignerRemoval(SignerRemoval),
    Attestation(Attestation),
    Revocation(Revocation),
    MethodologyAdoption(MethodologyAdoption),
}

impl Message {
    /// See the module.
    #[must_use]
    pub const fn effective_block(&self) -> u64 {
        match self {
            Self::AdministratorAppointment(message) => message.effective_block,
            Self::SignerRegistration(message) => message.effective_block,
            Self::SignerRemoval(message) => message.effective_block,
            Self::Attestation(message) => message.effective_block,
            Self::Revocation(message) => message.effective_block,
            Self::MethodologyAdoption(message) => message.effective_block,
        }
    }

    /// What is wrong with the message itself, whoever signed it, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Attestation(Attestation { claim, observed_at, expires_at, .. }) => {
                let stands = expires_at.checked_sub(*observed_at);
                match stands {
                    None | Some(0) => Some("it expires before it was observed"),
                    Some(seconds) if seconds > VALID_SECONDS_MAX => {
                        Some("it would stand for more than two years; observe again")
                    }
                    Some(_) => claim.fault(),
                }
            }
            Self::SignerRegistration(message) => (message.affiliations.len() > AFFILIATIONS_MAX)
                .then_some("a signer has at most 64 affiliations"),
            Self::MethodologyAdoption(message) => (message.version.len() > TEXT_BYTES_MAX)
                .then_some("a version has at most 512 bytes"),
            Self::AdministratorAppointment(_) | Self::SignerRemoval(_) | Self::Revocation(_) => {
                None
            }
        }
    }

    /// The event that records it.
    #[must_use]
    pub fn into_event(self, digest: B256, signer: Address, signature: [u8; 65]) -> Event {
        fn signed<T>(m: T, digest: B256, signer: Address, signature: [u8; 65]) -> Signed<T> {
            Signed { message: m, digest, signer, signature }
        }
        match self {
            Self::AdministratorAppointment(message) => {
                Event::AdministratorAppointed(signed(message, digest, signer, signature))
            }
            Self::SignerRegistration(message) => {
                Event::SignerRegistered(signed(message, digest, signer, signature))
            }
            Self::SignerRemoval(message) => {
                Event::SignerRemoved(signed(message, digest, signer, signature))
            }
            Self::Attestation(message) => {
                Event::Attested(Box::new(signed(message, digest, signer, signature)))
            }
            Self::Revocation(message) => {
                Event::AttestationRevoked(signed(message, digest, signer, signature))
            }
            Self::MethodologyAdoption(message) => {
                Event::MethodologyAdopted(signed(message, digest, signer, signature))
            }
        }
    }

    /// The message of an event that records one, with what it was signed with.
    #[must_use]
    pub fn of_event(event: &Event) -> Option<Signed<Self>> {
        fn parts<T: Clone>(found: &Signed<T>, wrap: impl Fn(T) -> Message) -> Signed<Message> {
            Signed {
                message: wrap(found.message.clone()),
                digest: found.digest,
                signer: found.signer,
                signature: found.signature,
            }
        }
        Some(match event {
            Event::AdministratorAppointed(found) => parts(found, Self::AdministratorAppointment),
            Event::SignerRegistered(found) => parts(found, Self::SignerRegistration),
            Event::SignerRemoved(found) => parts(found, Self::SignerRemoval),
            Event::Attested(found) => parts(found, Self::Attestation),
            Event::AttestationRevoked(found) => parts(found, Self::Revocation),
            Event::MethodologyAdopted(found) => parts(found, Self::MethodologyAdoption),
            _ => return None,
        })
    }
}
