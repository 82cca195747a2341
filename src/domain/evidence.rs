//! What standing claims do to the inputs of a rating.
//!
//! One rule everywhere: what third parties vouch for replaces the worst case, the worse of two
//! that disagree; what anybody else says may only make it worse than that.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};

use crate::assess::When;
use crate::attestation::{CROSS_PLATFORM_STAKE, Claim, SlasherKind, Topic};
use crate::decimal::{Atto, Ppt};
use crate::hazard::Slack;
use crate::id::{OperatorId, OperatorSetId, StrategyId};
use crate::methodology::Methodology;
use crate::mitigation::{
    Claim as Credit, Covariates, Mitigant, OperatorClass, Standing, VerificationLevel,
    hazard_multiplier,
};
use crate::operator_set::{Redistribution, SlasherAuthority, VetoProfile};
use crate::ratio::Ratio;
use crate::ruleset::Complexity;
use crate::state::ChainState;
use crate::state::registry::{Current, Registry};
use crate::state::staker::{mul_wad_floor, slashable_shares};

/// What is attested about a set. `None`: nothing that may count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetEvidence {
    /// The published ruleset.
    pub ruleset: Option<AttestedRuleset>,
    /// Who can slash.
    pub authority: SlasherAuthority,
    /// The bound that a verified slasher enforces.
    pub slash_max: Option<Ppt>,
    /// Level of what is known of the slasher.
    pub authority_level: Option<VerificationLevel>,
    /// A resolver that can stop a slash.
    pub veto: Option<VetoProfile>,
    /// Share of the set's stake that an attack takes.
    pub alpha: Option<Ppt>,
    /// Cryptoeconomic slack.
    pub slack: Option<Slack>,
    /// Level of the profit from corruption; `None` where only a party to it says so.
    pub profit_level: Option<VerificationLevel>,
}

/// A ruleset as far as the model needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestedRuleset {
    /// Its complexity.
    pub complexity: Complexity,
    /// Whether absence alone can be slashed.
    pub slashes_liveness: bool,
    /// Level of the least of those who vouch for it.
    pub level: VerificationLevel,
}

/// Reads claims about sets and operators at one time.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The state of the chain.
    pub chain: &'a ChainState,
    /// The day.
    pub when: When,
    /// Levels, limits, half-lives.
    pub methodology: &'a Methodology,
}

impl<'a> Evidence<'a> {
    const fn registry(&self) -> &'a Registry {
        &self.chain.registry
    }

    fn about_set(&self, set: OperatorSetId, kind: u8) -> Vec<Current<'a>> {
        self.registry().current(Topic::Set(set, kind), self.when.time).collect()
    }

    fn about_operator(&self, operator: OperatorId, kind: u8) -> Vec<Current<'a>> {
        self.registry().current(Topic::Operator(operator, kind), self.when.time).collect()
    }

    fn credit(&self, current: &Current<'_>) -> Atto {
        let standing = Standing::Current { age_days: current.age_days };
        let credit = Credit { level: current.level, standing };
        credit.credit(&self.methodology.levels, &self.methodology.mitigation)
    }

    /// Everything that is attested about a set.
    #[must_use]
    pub fn of_set(&self, set: OperatorSetId, slasher: Option<Address>) -> SetEvidence {
        let (authority, slash_max, authority_level) = self.authority(set, slasher);
        let alpha = self.alpha(set);
        let (slack, profit_level) = self.slack(set, alpha);
        SetEvidence {
            ruleset: self.ruleset(set),
            authority,
            slash_max,
            authority_level,
            veto: self.veto(set),
            alpha: alpha.map(|alpha| alpha.most),
            slack,
            profit_level,
        }
    }

    fn ruleset(&self, set: OperatorSetId) -> Option<AttestedRuleset> {
        let claims = self.about_set(set, 1);
        let level = claims.iter().filter(|claim| claim.is_verified).map(|c| c.level).min()?;
        let rulesets = claims.iter().filter_map(|current| match current.claim {
            Claim::Ruleset { ruleset, .. } => Some(ruleset),
            _ => None,
        });
        let known = &self.methodology.rulesets;
        let complexity = |ruleset: &crate::ruleset::Ruleset| match known.standard(ruleset.hash()) {
            Some(standard) => standard.complexity,
            None => ruleset.complexity(known.extra_rule_quarters),
        };
        Some(AttestedRuleset {
            complexity: rulesets.clone().map(complexity).max()?,
            slashes_liveness: rulesets.clone().any(|ruleset| ruleset.slashes_liveness()),
            level,
        })
    }

    /// Hashes of the rulesets that third parties vouch for.
    fn ruleset_hashes(&self, set: OperatorSetId) -> Vec<B256> {
        let claims = self.about_set(set, 1).into_iter().filter(|current| current.is_verified);
        claims
            .filter_map(|current| match current.claim {
                Claim::Ruleset { ruleset, .. } => Some(ruleset.hash()),
                _ => None,
            })
            .collect()
    }

    fn authority(
        &self,
        set: OperatorSetId,
        slasher: Option<Address>,
    ) -> (SlasherAuthority, Option<Ppt>, Option<VerificationLevel>) {
        let mut worst = None;
        let mut level: Option<VerificationLevel> = None;
        let mut bounds = Vec::new();
        let mut claims = self.about_set(set, 2);
        // Third parties first: what others say can only make it worse.
        claims.sort_by_key(|current| !current.is_verified);
        for current in claims {
            let Claim::SlasherProfile { slasher: about, kind, code_hash, max_slash, .. } =
                current.claim
            else {
                continue;
            };
            // A profile of another slasher than the log's says nothing about this one.
            if slasher.is_some_and(|slasher| slasher != *about) {
                continue;
            }
            let governance = &self.chain.governance;
            let found = self.authority_of(governance.worse(*kind, *about));
            if current.is_verified {
                level = Some(level.map_or(current.level, |level| level.min(current.level)));
                // A bound of code that was replaced since is none.
                let upgraded_at = governance.control(*about).and_then(|seen| seen.upgraded_at);
                let is_that_code = upgraded_at.is_none_or(|at| at <= current.observed_at);
                bounds.push(code_hash.and(*max_slash).filter(|_| is_that_code));
                worst = Some(worst.map_or(found, |worst: SlasherAuthority| worst.max(found)));
            } else if let Some(known) = worst {
                worst = Some(known.max(found));
            }
        }
        let bound = bounds.iter().copied().min().flatten().and(bounds.into_iter().max().flatten());
        (worst.unwrap_or(SlasherAuthority::EoaOrUnknown), bound, level)
    }

    fn authority_of(&self, kind: SlasherKind) -> SlasherAuthority {
        match kind {
            SlasherKind::Immutable => SlasherAuthority::Immutable,
            SlasherKind::Eoa => SlasherAuthority::EoaOrUnknown,
            // One key of many is one key.
            SlasherKind::Multisig { threshold: 0 | 1, .. } => SlasherAuthority::EoaOrUnknown,
            SlasherKind::Multisig { timelock_blocks, .. } => {
                if timelock_blocks >= self.methodology.authority.timelock_blocks_min {
                    SlasherAuthority::TimelockedMultisig
                } else {
                    SlasherAuthority::Multisig
                }
            }
        }
    }

    /// What becomes of a set's slashed stake, given what the log alone says.
    #[must_use]
    pub fn redistribution(&self, set: OperatorSetId, by_log: Redistribution) -> Redistribution {
        let recipient =
            self.chain.operator_sets.get(&set).and_then(|found| found.redistribution_recipient);
        let mut claims = self.about_set(set, 3);
        claims.sort_by_key(|current| !current.is_verified);
        let mut vouched = None;
        let mut worst = by_log;
        for current in claims {
            let Claim::RecipientProfile {
                recipient: about,
                kind,
                is_delayed,
                is_self_controlled,
                ..
            } = current.claim
            else {
                continue;
            };
            if Some(*about) != recipient {
                continue;
            }
            let found = if *is_self_controlled {
                Redistribution::SelfControlled(*kind)
            } else if *is_delayed {
                Redistribution::Delayed(*kind)
            } else {
                Redistribution::Immediate(*kind)
            };
            if current.is_verified {
                let held = vouched.unwrap_or(found);
                vouched = Some(worse_redistribution(held, found));
                worst = vouched.unwrap_or(found);
            } else {
                worst = worse_redistribution(worst, found);
            }
        }
        // What the log shows, nobody can talk away: a recipient that is the slasher stays that.
        match by_log {
            Redistribution::SelfControlled(_) | Redistribution::Burned => by_log,
            _ => worst,
        }
    }

    fn veto(&self, set: OperatorSetId) -> Option<VetoProfile> {
        let claims = self.about_set(set, 4);
        let profile = |current: &Current<'_>| match current.claim {
            Claim::Veto { independent_signers, window_blocks, .. } => Some(VetoProfile {
                signers: *independent_signers,
                window_blocks: *window_blocks,
                credit: self.credit(current),
            }),
            _ => None,
        };
        let weakest = |profiles: &mut dyn Iterator<Item = VetoProfile>| {
            profiles.min_by_key(|profile| profile.stopped(self.methodology))
        };
        let vouched = weakest(&mut claims.iter().filter(|c| c.is_verified).filter_map(profile))?;
        // Others can say that it is weaker than that.
        let mut others = claims.iter().filter(|c| !c.is_verified).filter_map(profile);
        let denies = |other: VetoProfile| {
            VetoProfile { credit: vouched.credit, ..other }.stopped(self.methodology)
                < vouched.stopped(self.methodology)
        };
        let denied = others.find(|other| denies(*other));
        Some(denied.map_or(vouched, |other| VetoProfile { credit: vouched.credit, ..other }))
    }

    fn alpha(&self, set: OperatorSetId) -> Option<Alpha> {
        let claims = self.about_set(set, 6);
        let value = |current: &Current<'_>| match current.claim {
            Claim::CorruptionThreshold { alpha, .. } => Some(*alpha),
            _ => None,
        };
        claims.iter().find(|current| current.is_verified)?;
        let values = || claims.iter().filter_map(value);
        Some(Alpha { least: values().min()?, most: values().max()? })
    }

    /// π, wei: the largest profit that anybody states, and the least level of the third parties
    /// among them.
    #[must_use]
    pub fn profit(&self, set: OperatorSetId) -> Option<(U256, Option<VerificationLevel>)> {
        let claims = self.about_set(set, 5);
        let profit = |current: &Current<'_>| match current.claim {
            Claim::ProfitFromCorruption { wei, .. } => Some(*wei),
            _ => None,
        };
        let level = claims.iter().filter(|current| current.is_verified).map(|c| c.level).min();
        Some((claims.iter().filter_map(profit).max()?, level))
    }

    /// The smallest α that anybody states, if a third party states one.
    #[must_use]
    pub fn threshold(&self, set: OperatorSetId) -> Option<Ppt> {
        self.alpha(set).map(|alpha| alpha.least)
    }

    /// γ = α·U/π − 1, with the largest profit and the smallest threshold that anybody states.
    fn slack(
        &self,
        set: OperatorSetId,
        alpha: Option<Alpha>,
    ) -> (Option<Slack>, Option<VerificationLevel>) {
        let alpha = alpha.map_or(self.methodology.corruption.default_alpha, |alpha| alpha.least);
        let Some((profit, level)) = self.profit(set) else { return (None, None) };
        let nodes = self.deterring_stakes(set);
        let stake = nodes.values().fold(U256::ZERO, |sum, wei| sum.saturating_add(*wei));
        let stake = (!nodes.is_empty()).then_some(stake);
        let slack = stake.and_then(|stake| slack(alpha, stake, profit));
        // A party's own word counts where it is worse than not knowing.
        let parameters = &self.methodology.corruption;
        let rate = |slack| crate::hazard::corruption_rate(slack, parameters);
        match (slack, level) {
            (Some(_), None) if rate(slack) <= rate(None) => (None, None),
            (slack, level) => (slack, slack.and(level)),
        }
    }

    /// Slashable stake of a set in wei, now or after all that is announced for the exit window,
    /// whichever is less. What has no price does not count. `None`: no stake of known value.
    #[must_use]
    pub fn stake_at_risk(&self, set: OperatorSetId) -> Option<U256> {
        let stakes = self.stakes_at_risk(set);
        let total = stakes.iter().fold(U256::ZERO, |sum, (_, _, wei)| sum.saturating_add(*wei));
        (!total.is_zero()).then_some(total)
    }

    /// The same by operator, less what other platforms can take of the operator's stake too, by
    /// whatever anybody says at most: a wei that is lost elsewhere deters nobody here. Who has
    /// nothing left is still there, with nothing.
    #[must_use]
    pub fn deterring_stakes(&self, set: OperatorSetId) -> BTreeMap<OperatorId, U256> {
        let mut nodes: BTreeMap<OperatorId, U256> = BTreeMap::new();
        for (operator, _, wei) in self.stakes_at_risk(set) {
            let node = nodes.entry(operator).or_default();
            *node = node.saturating_add(wei);
        }
        for (operator, node) in &mut nodes {
            *node = node.saturating_sub(self.stake_elsewhere(*operator));
        }
        nodes
    }

    /// Wei of an operator's stake that other platforms can take too: the most that anybody says.
    #[must_use]
    pub fn stake_elsewhere(&self, operator: OperatorId) -> U256 {
        let claims = self.about_operator(operator, CROSS_PLATFORM_STAKE);
        let said = claims.iter().filter_map(|current| match current.claim {
            Claim::CrossPlatformStake { wei, .. } => Some(*wei),
            _ => None,
        });
        said.max().unwrap_or_default()
    }

    /// The same by operator and strategy, what is nothing left out. Who deregistered is leaving.
    #[must_use]
    pub fn stakes_at_risk(&self, set: OperatorSetId) -> Vec<(OperatorId, StrategyId, U256)> {
        let Some(found) = self.chain.operator_sets.get(&set) else { return Vec::new() };
        let soon = self.when.block.saturating_add(self.methodology.clock.exit_window_blocks);
        let mut stakes = Vec::new();
        for operator in found.members.keys().filter(|id| found.can_slash(**id, soon)) {
            let Some(known) = self.chain.operators.get(operator) else { continue };
            for strategy in &found.strategies {
                let allocation = self.chain.allocations.get(&(*operator, set, *strategy));
                let (Some(allocation), Some(price)) = (allocation, self.chain.price(*strategy))
                else {
                    continue;
                };
                let shares = known.shares.get(strategy).copied().unwrap_or_default();
                let magnitude =
                    allocation.current_at(self.when.block).min(allocation.current_at(soon));
                let max = known.max_magnitude(*strategy);
                let slashable = slashable_shares(shares, U256::ZERO, magnitude, max);
                let value = slashable.and_then(|shares| mul_wad_floor(shares, price));
                if let Some(wei) = value.filter(|wei| !wei.is_zero()) {
                    stakes.push((*operator, *strategy, wei));
                }
            }
        }
        stakes
    }

    /// Whether third parties vouch for a ruleset of the set.
    #[must_use]
    pub fn has_ruleset(&self, set: OperatorSetId) -> bool {
        !self.ruleset_hashes(set).is_empty()
    }

    /// The multiplier of an operator's own hazard, with what it has in place.
    #[must_use]
    pub fn multiplier(
        &self,
        class: OperatorClass,
        operator: OperatorId,
        credits: &[(Mitigant, Atto)],
    ) -> Atto {
        let covariates = self.covariates(operator);
        hazard_multiplier(class, credits, &covariates, &self.methodology.mitigation)
    }

    /// What an operator has in place, with its credit, for a set.
    #[must_use]
    pub fn mitigants(&self, operator: OperatorId, set: OperatorSetId) -> Vec<(Mitigant, Atto)> {
        if self.registry().is_empty() {
            return Vec::new();
        }
        let hashes = self.ruleset_hashes(set);
        let mut credits = Vec::new();
        for current in self.about_operator(operator, 7) {
            let Claim::AntiSlasher { rulesets, .. } = current.claim else { continue };
            let covers = !hashes.is_empty() && hashes.iter().all(|hash| rulesets.contains(hash));
            if covers && current.is_verified {
                credits.push((Mitigant::AntiSlasher, self.credit(&current)));
            }
        }
        let mut held: BTreeMap<Mitigant, Option<Atto>> = BTreeMap::new();
        for current in self.about_operator(operator, 8) {
            let Claim::Infrastructure {
                has_remote_signer,
                has_dvt,
                has_doppelganger_detection,
                ..
            } = current.claim
            else {
                continue;
            };
            let credit = if current.is_verified { self.credit(&current) } else { Atto::ZERO };
            for (mitigant, has) in [
                (Mitigant::RemoteSigner, *has_remote_signer),
                (Mitigant::Dvt, *has_dvt),
                (Mitigant::Doppelganger, *has_doppelganger_detection),
            ] {
                // Anybody who says that it is not there is believed.
                let entry = held.entry(mitigant).or_insert(Some(Atto::ZERO));
                *entry = entry.filter(|_| has).map(|best| best.max(credit));
            }
        }
        credits.extend(held.into_iter().filter_map(|(mitigant, credit)| Some((mitigant, credit?))));
        credits.retain(|(_, credit)| *credit > Atto::ZERO);
        credits
    }

    /// What is observed about an operator: worse at any level.
    #[must_use]
    pub fn covariates(&self, operator: OperatorId) -> Covariates {
        let migrated = self.about_operator(operator, 9).into_iter().filter_map(|current| {
            let Claim::KeyMigration { migrated_at, .. } = current.claim else { return None };
            Some(self.when.time.saturating_sub(*migrated_at) / 86_400)
        });
        let uptime = self.about_operator(operator, 10).into_iter().filter_map(|current| {
            let Claim::Uptime { uptime, .. } = current.claim else { return None };
            Some(*uptime)
        });
        Covariates {
            key_migration_age_days: migrated.min(),
            uptime: uptime.min(),
            sets_served: self.sets_served(operator),
        }
    }

    fn sets_served(&self, operator: OperatorId) -> u32 {
        let first = (operator, FIRST_SET, StrategyId(Address::ZERO));
        let mut last = None;
        let mut count: u32 = 0;
        for ((who, set, _), allocation) in self.chain.allocations.range(first..) {
            if *who != operator {
                break;
            }
            if last != Some(*set) && allocation.current_at(self.when.block) > 0 {
                last = Some(*set);
                count = count.saturating_add(1);
            }
        }
        count
    }
}

const FIRST_SET: OperatorSetId = OperatorSetId { avs: crate::id::AvsId(Address::ZERO), id: 0 };

/// Whether mitigants lower a hazard, or are left out to see what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mitigants {
    /// They count.
    Counted,
    /// They do not.
    Ignored,
}

#[derive(Debug, Clone, Copy)]
struct Alpha {
    least: Ppt,
    most: Ppt,
}

fn slack(alpha: Ppt, stake: U256, profit: U256) -> Option<Slack> {
    // In gwei, so that a fraction of two stakes fits.
    let gwei = |wei: U256| u128::try_from(wei.checked_div(U256::from(1_000_000_000_u64))?).ok();
    let (stake, profit) = (gwei(stake)?, gwei(profit)?.max(1));
    let ratio = Ratio::new(i128::try_from(stake).ok()?, profit).ok()?;
    let alpha = Ratio::new(i128::from(alpha.0), u128::from(Ppt::ONE.0)).ok()?;
    let covered = ratio.times(alpha).ok()?;
    // The rate does not move above a slack of one.
    let two = Ratio::whole(2);
    let ppt = covered.min(two).to_ppt()?;
    Some(Slack(i64::try_from(ppt).ok()?.saturating_sub(i64::try_from(Ppt::ONE.0).ok()?)))
}

/// The worse of two, by what it does to the rate of class C4, then by the recipient.
fn worse_redistribution(a: Redistribution, b: Redistribution) -> Redistribution {
    let rank = |redistribution: Redistribution| match redistribution {
        Redistribution::Burned => (0, None),
        Redistribution::Delayed(kind) => (1, Some(kind)),
        Redistribution::Immediate(kind) => (2, Some(kind)),
        Redistribution::SelfControlled(kind) => (3, Some(kind)),
    };
    if rank(b) > rank(a) { b } else { a }
}
