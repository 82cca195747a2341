//! What somebody says and signs that no chain tells: messages of our own log.
//!
//! A message is signed as EIP-712 typed data (the shell checks that), recorded once, and counts
//! from the first epoch end at least [`DELAY_BLOCKS`] after its signed effective block: so when it
//! counts is in the message, and not in when it reached a node.
//! Who may say what, and what a standing claim is worth, is in `state::registry`; what claims do
//! to a rating is in `evidence`.

mod claim;

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::block::{BLOCKS_PER_EPOCH, epoch_end};
use crate::event::Event;
use crate::loss_block::LossClass;
use crate::mitigation::VerificationLevel;

pub use claim::{
    CROSS_PLATFORM_STAKE, Claim, DEX_DEPTH, FIRST_LOSS_RESERVE, LENDING_EXPOSURE, NAV_VIEW,
    RESERVE_PROOF, REWARD_REALISATION, Topic,
};

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
                if let Claim::ReserveProof { proven_at, .. } = claim
                    && proven_at > observed_at
                {
                    return Some("it was observed before it was proven");
                }
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
