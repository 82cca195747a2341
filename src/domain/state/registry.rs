//! Who may attest, and what stands: signers, their claims, and which of those still count.
//!
//! Messages are folded at the epoch end from which they count, signers before claims. A claim
//! counts while its signer is registered for its level, it is not revoked and it has not expired.
//! A key that is struck off or demoted takes its claims with it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};

use super::ChainState;
use crate::attestation::{
    Attestation, Cause, Claim, Revocation, Signed, SignerRegistration, Topic,
};
use crate::block::DAY_SECONDS;
use crate::event::Event;
use crate::id::{OperatorId, OperatorSetId, StrategyId};
use crate::mitigation::VerificationLevel;

/// Signers and claims of one chain.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    administrator: Option<Address>,
    signers: BTreeMap<Address, Registration>,
    /// The newest claim of each signer on each topic.
    claims: BTreeMap<Topic, BTreeMap<Address, Standing>>,
    /// Where an attestation is, by its digest; it stays when it is superseded.
    places: BTreeMap<B256, (Topic, Address)>,
    /// Prices as of the last epoch's end, wei a 1e18 shares.
    pub prices: BTreeMap<StrategyId, U256>,
    /// Time of the last epoch's end.
    time: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Registration {
    level: VerificationLevel,
    affiliations: BTreeSet<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    digest: B256,
    attestation: Attestation,
}

/// A claim that counts at some time.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// What is claimed.
    pub claim: &'a Claim,
    /// How well it is verified.
    pub level: VerificationLevel,
    /// Whether it may make a rating better: a third party's at least, and not about its own.
    pub is_verified: bool,
    /// When it was observed, seconds since the Unix epoch.
    pub observed_at: u64,
    /// Days since then.
    pub age_days: u64,
}

/// What became of a recorded claim, whether or not it has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stands {
    /// A third party's, not about its own: it may move a rating either way.
    Verified = 1,
    /// The word of somebody concerned: it can only make a rating worse.
    Claimed = 2,
    /// Its signer said something newer on the same topic.
    Superseded = 3,
    /// Its signer took it back.
    Revoked = 4,
    /// Its signer is not registered for its level, or no more.
    SignerNotEntitled = 5,
}

impl Stands {
    /// Whether nothing that may still happen makes it count again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Superseded | Self::Revoked)
    }
}

/// Why a message does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEntitled {
    /// Nobody may register signers yet.
    #[error("the log has no administrator; appoint one first")]
    NoAdministrator,
    /// The message needs the administrator's signature.
    #[error("{signer} is not the administrator of this log, who is {administrator}")]
    NotAdministrator {
        /// Who signed.
        signer: Address,
        /// Who must.
        administrator: Address,
    },
    /// The signer is not registered, or will not be when the message counts.
    #[error("{signer} is not a registered signer when this counts")]
    UnknownSigner {
        /// Who signed.
        signer: Address,
    },
    /// The signer may not sign at this level.
    #[error("{signer} is registered for {registered:?} at most, the attestation says {claimed:?}")]
    LevelTooHigh {
        /// Who signed.
        signer: Address,
        /// Its best level.
        registered: VerificationLevel,
        /// What it says.
        claimed: VerificationLevel,
    },
    /// Only one's own attestations can be taken back.
    #[error("{signer} has recorded no attestation {attestation} that it could take back")]
    NothingToRevoke {
        /// Who signed.
        signer: Address,
        /// What it names.
        attestation: B256,
    },
}

impl Registry {
    /// What messages make, in the order in which they count.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut registry = Self::default();
        for event in events {
            registry.apply(event);
        }
        registry
    }

    /// Folds a message that counts from now on. One whose signer is not entitled leaves everything
    /// as it is: recording refuses it, but a key may have been struck off since.
    pub(super) fn apply(&mut self, event: &Event) {
        if self.entitled(event).is_err() {
            return;
        }
        match event {
            Event::AdministratorAppointed(signed) => {
                self.administrator = Some(signed.message.administrator);
            }
            Event::SignerRegistered(signed) => {
                let SignerRegistration { signer, level, affiliations, .. } = &signed.message;
                let entry = Registration { level: *level, affiliations: affiliations.clone() };
                self.signers.insert(*signer, entry);
            }
            Event::SignerRemoved(signed) => {
                self.signers.remove(&signed.message.signer);
            }
            Event::Attested(signed) => self.attest(signed),
            Event::AttestationRevoked(signed) => self.revoke(signed),
            _ => {}
        }
    }

    /// Whether the signer of a message may say it.
    ///
    /// # Errors
    /// When it may not, with the reason.
    pub fn entitled(&self, event: &Event) -> Result<(), NotEntitled> {
        match event {
            // The first proves that it holds its key; the owner of the log lets it in.
            Event::AdministratorAppointed(signed) => match self.administrator {
                None if signed.signer == signed.message.administrator => Ok(()),
                _ => self.is_administrator(signed.signer),
            },
            Event::SignerRegistered(signed) => self.is_administrator(signed.signer),
            Event::SignerRemoved(signed) => self.is_administrator(signed.signer),
            Event::MethodologyAdopted(signed) => self.is_administrator(signed.signer),
            Event::Attested(signed) => {
                let (signer, claimed) = (signed.signer, signed.message.level);
                let found = self.signers.get(&signer);
                let found = found.ok_or(NotEntitled::UnknownSigner { signer })?;
                if claimed > found.level {
                    let registered = found.level;
                    return Err(NotEntitled::LevelTooHigh { signer, registered, claimed });
                }
                Ok(())
            }
            Event::AttestationRevoked(signed) => {
                let (signer, attestation) = (signed.signer, signed.message.attestation);
                match self.places.get(&attestation) {
                    Some((_, author)) if *author == signer => Ok(()),
                    _ => Err(NotEntitled::NothingToRevoke { signer, attestation }),
                }
            }
            _ => Ok(()),
        }
    }

    fn is_administrator(&self, signer: Address) -> Result<(), NotEntitled> {
        match self.administrator {
            None => Err(NotEntitled::NoAdministrator),
            Some(administrator) if administrator == signer => Ok(()),
            Some(administrator) => Err(NotEntitled::NotAdministrator { signer, administrator }),
        }
    }

    fn attest(&mut self, signed: &Signed<Attestation>) {
        let topic = signed.message.claim.topic();
        let standing = Standing { digest: signed.digest, attestation: signed.message.clone() };
        self.places.insert(signed.digest, (topic, signed.signer));
        let claims = self.claims.entry(topic).or_default();
        // Of two by one signer the later effective block stands, whatever their order.
        let is_older = claims
            .get(&signed.signer)
            .is_some_and(|held| held.attestation.effective_block > signed.message.effective_block);
        if !is_older {
            claims.insert(signed.signer, standing);
        }
    }

    fn revoke(&mut self, signed: &Signed<Revocation>) {
        let Some((topic, signer)) = self.places.get(&signed.message.attestation) else { return };
        if let Some(claims) = self.claims.get_mut(topic) {
            let is_it = |held: &Standing| held.digest == signed.message.attestation;
            if claims.get(signer).is_some_and(is_it) {
                claims.remove(signer);
            }
        }
    }

    /// The claims on a topic that count at a time, by signer.
    pub fn current(&self, topic: Topic, time: u64) -> impl Iterator<Item = Current<'_>> {
        let claims = self.claims.get(&topic).into_iter().flatten();
        claims.filter_map(move |(signer, held)| self.weigh(*signer, held, time))
    }

    fn weigh<'a>(&self, signer: Address, held: &'a Standing, time: u64) -> Option<Current<'a>> {
        let Attestation { claim, level, observed_at, expires_at, .. } = &held.attestation;
        let is_verified = self.is_verified(signer, &held.attestation)?;
        (*expires_at > time).then(|| Current {
            claim,
            level: *level,
            is_verified,
            observed_at: *observed_at,
            age_days: time.saturating_sub(*observed_at) / DAY_SECONDS,
        })
    }

    /// Whether a claim may make a rating better; `None` if its signer may not say it.
    fn is_verified(&self, signer: Address, said: &Attestation) -> Option<bool> {
        let registration = self.signers.get(&signer)?;
        if said.level > registration.level {
            return None;
        }
        let is_own = said
            .claim
            .parties()
            .iter()
            .any(|party| *party == signer || registration.affiliations.contains(party));
        Some(said.level >= VerificationLevel::SignedThirdParty && !is_own)
    }

    /// What became of a claim; one that was never taken in has a signer who was not entitled.
    pub fn stands(&self, digest: &B256) -> Stands {
        let Some((topic, signer)) = self.places.get(digest) else {
            return Stands::SignerNotEntitled;
        };
        let held = self.claims.get(topic).and_then(|claims| claims.get(signer));
        match held {
            None => Stands::Revoked,
            Some(held) if held.digest != *digest => Stands::Superseded,
            Some(held) => match self.is_verified(*signer, &held.attestation) {
                None => Stands::SignerNotEntitled,
                Some(true) => Stands::Verified,
                Some(false) => Stands::Claimed,
            },
        }
    }

    /// Whether a third party's claim on a topic expired, and none stands.
    pub fn has_lapsed(&self, topic: Topic, time: u64) -> bool {
        let claims = self.claims.get(&topic).into_iter().flatten();
        let mut vouched = claims
            .filter(|(signer, held)| self.is_verified(**signer, &held.attestation) == Some(true))
            .map(|(_, held)| held.attestation.expires_at > time)
            .peekable();
        vouched.peek().is_some() && !vouched.any(|stands| stands)
    }

    /// Whether anything is attested at all.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Operators whose anti-slasher counted at the last epoch's end and counts no more.
    fn lapsed_anti_slashers(&self, before: &Self, time: u64) -> Vec<OperatorId> {
        let counts = |registry: &Self, topic, time| {
            registry.current(topic, time).any(|current| current.is_verified)
        };
        before
            .claims
            .iter()
            .filter_map(|(topic, claims)| {
                let is_anti_slasher =
                    |held: &Standing| matches!(held.attestation.claim, Claim::AntiSlasher { .. });
                match topic {
                    Topic::Operator(operator, _) if claims.values().any(is_anti_slasher) => {
                        Some((*topic, *operator))
                    }
                    _ => None,
                }
            })
            .filter(|(topic, _)| counts(before, *topic, before.time) && !counts(self, *topic, time))
            .map(|(_, operator)| operator)
            .collect()
    }

    /// The lowest price that a third party vouches for, of each strategy.
    fn prices_at(&self, time: u64) -> BTreeMap<StrategyId, U256> {
        let first = Topic::Price(StrategyId(Address::ZERO));
        let priced = self.claims.range(first..).map(|(topic, _)| *topic);
        priced
            .take_while(|topic| matches!(topic, Topic::Price(_)))
            .filter_map(|topic| {
                let Topic::Price(strategy) = topic else { return None };
                let wei = |current: Current<'_>| match current.claim {
                    Claim::Price { wei, .. } if current.is_verified => Some(*wei),
                    _ => None,
                };
                Some((strategy, self.current(topic, time).filter_map(wei).min()?))
            })
            .collect()
    }

    fn causes_at(&self, time: u64) -> BTreeMap<(OperatorId, OperatorSetId, u64), Cause> {
        let mut causes = BTreeMap::new();
        for topic in self.claims.keys() {
            let Topic::Incident(operator, set, block) = topic else { continue };
            let cause = |current: Current<'_>| match current.claim {
                Claim::Cause { cause, .. } if current.is_verified => Some(*cause),
                _ => None,
            };
            let found = self.current(*topic, time).filter_map(cause);
            // Of several the one that is worst for the whole set.
            if let Some(worst) = found.max_by_key(|cause| cause.class()) {
                causes.insert((*operator, *set, *block), worst);
            }
        }
        causes
    }
}

/// What an epoch's messages changed beside the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Operators that lost an anti-slasher.
    pub anti_slashers_lapsed: Vec<OperatorId>,
    /// Sets about whose ruleset something else is said than was.
    pub rulesets_changed: BTreeSet<OperatorSetId>,
    /// Entities whose watch a third party resolved.
    pub watches_resolved: BTreeSet<crate::id::RatedEntity>,
}

impl ChainState {
    /// Folds the messages that count from an epoch's end on, in their order, and moves every claim
    /// to that time. Call at each epoch's end before [`ChainState::end_epoch`].
    pub fn fold_messages(&mut self, events: &[&Event], time: u64) -> Noticed {
        if events.is_empty() && self.registry.is_empty() {
            return Noticed::default();
        }
        let before = self.registry.clone();
        for event in events {
            self.registry.apply(event);
        }
        self.registry.time = time;
        self.registry.prices = self.registry.prices_at(time);
        let causes = self.registry.causes_at(time);
        for incident in &mut self.incidents {
            let key = (incident.operator, incident.operator_set, incident.first_block.number);
            incident.attested_cause = causes.get(&key).copied();
        }
        let mut noticed = Noticed {
            anti_slashers_lapsed: self.registry.lapsed_anti_slashers(&before, time),
            ..Noticed::default()
        };
        for event in events {
            let Event::Attested(signed) = event else { continue };
            match &signed.message.claim {
                Claim::Ruleset { set, ruleset } => {
                    let differs = |current: Current<'_>| match current.claim {
                        Claim::Ruleset { ruleset: held, .. } => held != ruleset,
                        _ => false,
                    };
                    if before.current(signed.message.claim.topic(), before.time).any(differs) {
                        noticed.rulesets_changed.insert(*set);
                    }
                }
                Claim::WatchResolution { entity } => {
                    let topic = signed.message.claim.topic();
                    if self.registry.current(topic, time).any(|current| current.is_verified) {
                        noticed.watches_resolved.insert(*entity);
                    }
                }
                _ => {}
            }
        }
        noticed
    }
}
