//! What lowers or raises an operator's own hazards: attested mitigants and observed covariates.
//!
//! Only classes C1 and C2 are touched: nothing an operator runs can stop a bad slasher. What an
//! attestation is worth falls with age and is nothing after it expires.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, Ppt};
use crate::hazard::half_life_factor;
use crate::parameters::{Effect, Levels, MitigantEffect, Mitigation};

/// How well an attestation is verified.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum VerificationLevel {
    /// The rated party says so.
    SelfClaim,
    /// A third party signed it.
    SignedThirdParty,
    /// A remote attestation bound to the operator's keys.
    VerifiedRemote,
    /// Verified on chain or by proof.
    VerifiedOnChain,
}

impl VerificationLevel {
    /// What a fresh attestation of this level is worth, 0 to 1.
    #[must_use]
    pub fn weight(self, levels: &Levels) -> Atto {
        match self {
            Self::SelfClaim => levels.self_claim,
            Self::SignedThirdParty => levels.signed_third_party,
            Self::VerifiedRemote => levels.verified_remote,
            Self::VerifiedOnChain => levels.verified_on_chain,
        }
    }
}

/// Whether an attestation still stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It stands, and is this old.
    Current {
        /// Days since it was observed.
        age_days: u64,
    },
    /// Expired or revoked.
    Lapsed,
}

/// A claim that something is in place, with how far it can be believed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Claim {
    /// How well it is verified.
    pub level: VerificationLevel,
    /// Whether it still stands.
    pub standing: Standing,
}

impl Claim {
    /// Credit of the claim, 0 to 1: level, halved every half-life, nothing once lapsed.
    #[must_use]
    pub fn credit(&self, levels: &Levels, mitigation: &Mitigation) -> Atto {
        let Standing::Current { age_days } = self.standing else {
            return Atto::ZERO;
        };
        let age = Atto::from_whole(age_days);
        let fresh = half_life_factor(age, mitigation.credit_half_life_days);
        self.level.weight(levels).saturating_mul(fresh)
    }
}

/// Something an operator has in place against its own faults.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mitigant {
    /// Policy-enforced anti-slasher in secure hardware. Only for rulesets that its policy names;
    /// for others the caller leaves it out.
    AntiSlasher,
    /// Remote signer with a slashing-protection database.
    RemoteSigner,
    /// Distributed validator technology.
    Dvt,
    /// Doppelganger detection.
    Doppelganger,
}

/// One of the two classes that are the operator's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorClass {
    /// C1.
    SigningFault,
    /// C2.
    Liveness,
}

/// What is observed about an operator that raises its hazard.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Covariates {
    /// Days since keys were migrated, where it is known or inferred.
    pub key_migration_age_days: Option<u64>,
    /// Attested uptime.
    pub uptime: Option<Ppt>,
    /// Operator sets served at once.
    pub sets_served: u32,
}

impl Covariates {
    /// The product of what applies, clamped.
    #[must_use]
    pub fn multiplier(&self, parameters: &Mitigation) -> Atto {
        let migrated = self
            .key_migration_age_days
            .is_some_and(|days| days <= parameters.key_migration_window_days);
        let is_unreliable = self.uptime.is_some_and(|uptime| uptime < parameters.uptime_min);
        let is_busy = self.sets_served > parameters.sets_served_max;
        let factors = [
            (migrated, parameters.key_migration),
            (is_unreliable, parameters.low_uptime),
            (is_busy, parameters.many_sets),
        ];
        let applied = factors.iter().filter(|(applies, _)| *applies);
        applied
            .fold(Atto::ONE, |product, (_, factor)| product.saturating_mul(*factor))
            .clamp(Atto::ONE, parameters.covariates_max.max(Atto::ONE))
    }
}

/// The multiplier of one of the operator's hazards: each mitigant's effect at its credit, times the
/// covariates, clamped. Of several claims for one mitigant the best counts.
#[must_use]
pub fn hazard_multiplier(
    class: OperatorClass,
    credits: &[(Mitigant, Atto)],
    covariates: &Covariates,
    parameters: &Mitigation,
) -> Atto {
    let mut best: BTreeMap<Mitigant, Atto> = BTreeMap::new();
    for (mitigant, credit) in credits {
        let held = best.entry(*mitigant).or_default();
        *held = (*held).max(*credit);
    }
    let mitigated = best.iter().fold(Atto::ONE, |product, (mitigant, credit)| {
        product.saturating_mul(factor(effect(*mitigant, class, parameters), *credit))
    });
    mitigated
        .saturating_mul(covariates.multiplier(parameters))
        .clamp(parameters.multiplier_min, parameters.multiplier_max.max(parameters.multiplier_min))
}

fn effect(mitigant: Mitigant, class: OperatorClass, parameters: &Mitigation) -> Effect {
    let MitigantEffect { c1, c2 } = match mitigant {
        Mitigant::AntiSlasher => parameters.anti_slasher,
        Mitigant::RemoteSigner => parameters.remote_signer,
        Mitigant::Dvt => parameters.dvt,
        Mitigant::Doppelganger => parameters.doppelganger,
    };
    match class {
        OperatorClass::SigningFault => c1,
        OperatorClass::Liveness => c2,
    }
}

fn factor(effect: Effect, credit: Atto) -> Atto {
    match effect {
        Effect::Reduces(share) => Atto::ONE.saturating_sub(share.saturating_mul(credit)),
        Effect::Raises(share) => Atto::ONE.saturating_add(share.saturating_mul(credit)),
    }
}
