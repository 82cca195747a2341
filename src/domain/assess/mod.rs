//! From state to opinion: the loss blocks of an entity, as its own log tells them.
//!
//! What neither an event nor an attestation tells is taken at its worst and said so.
//! A set without known members has its intrinsic rating; an AVS takes its worst set; an operator
//! whose strategies have no recorded price takes its worst strategy.

mod lrt;
pub mod network;
pub mod positions;

use std::collections::BTreeSet;

use crate::block::BlockRef;
use crate::cap::{Cap, CapReason, capped};
use crate::decimal::{Atto, Ppt};
use crate::evidence::{Evidence, Mitigants};
use crate::frailty::{ExpectedAt, Hazard, OperatorRecord, leave_one_out};
use crate::grade::Grade;
use crate::hazard::GammaRate;
use crate::id::{AvsId, EntityKind, LrtId, OperatorId, OperatorSetId, RatedEntity, StrategyId};
use crate::loss_block::{LossBlock, LossClass, LossProfile, Provenance, platform_block};
use crate::lrt::LrtOpinion;
use crate::methodology::Methodology;
use crate::mitigation::{Mitigant, OperatorClass, VerificationLevel};
use crate::operator::{OperatorInputs, SetPosition, operator_profile};
use crate::operator_set::{
    Member, RecipientKind, Redistribution, Service, SetInputs, SetProvenance, SetSeverities,
    WeightedSet, avs_profile, common_blocks, operator_severities, set_caps, set_profile,
};
use crate::sensitivity::{Sensitivity, set_sensitivities};
use crate::state::experience::{decayed_count, severity_record};
use crate::state::operator::WAD_PER_PPT;
use crate::state::slashing::Incident;
use crate::state::{ChainState, OperatorSet};
use crate::surveillance::WatchTrigger;
use crate::uncertainty::{NotRated, with_coverage_cap};
use crate::what_if::{Tweak, lrt_sensitivities, operator_sensitivities};

/// What the log says about an entity at a block, before hysteresis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Loss blocks, per unit of what is rated.
    pub profile: LossProfile,
    /// Ceilings.
    pub caps: Vec<Cap>,
    /// Whether a default event happened (methodology §2.0).
    pub is_default: bool,
    /// What the opinion rests on.
    pub basis: Basis,
    /// Sets of the entity whose slashes pay the AVS itself, or whoever may slash.
    pub self_dealing: BTreeSet<u32>,
    /// Why there can be no rating, where it is not for the blocks' sake.
    pub refusal: Option<NotRated>,
    /// What puts the entity on watch as long as it is so.
    pub watch: BTreeSet<WatchTrigger>,
    /// What stands behind a liquid restaking token.
    pub lrt: Option<Box<LrtOpinion>>,
}

/// What an opinion rests on, and what it had to do without.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    borsh::BorshSerialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// An operator set with known members, weighted by slashable stake.
    Members,
    /// An operator set's design alone: a benchmark operator.
    Intrinsic,
    /// An AVS by the worst of its sets.
    WorstSet,
    /// An operator by its only strategy with an allocation.
    OneStrategy,
    /// An operator by the worst of its strategies, for want of prices.
    WorstStrategy,
    /// Nothing that could lose anything is in the log.
    Nothing,
    /// A liquid restaking token by what it holds with operators and what their sets can slash.
    LookThrough,
}

/// A day of the look-ahead: everything scheduled is in force, nothing new happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Block at which magnitudes, slashers and delays are read.
    pub block: u64,
    /// Epoch to which experience is decayed.
    pub epoch: u64,
    /// Time at which attestations are read, seconds since the Unix epoch.
    pub time: u64,
}

impl When {
    /// The last block that a chain's state reflects.
    pub const fn newest(chain: &ChainState) -> Self {
        let epoch = chain.block_number / crate::block::BLOCKS_PER_EPOCH;
        Self { block: chain.block_number, epoch, time: chain.time }
    }

    /// Now.
    pub const fn at(block: BlockRef) -> Self {
        Self { block: block.number, epoch: block.epoch(), time: block.timestamp }
    }

    /// The end of the outlook's horizon.
    pub fn look_ahead(block: BlockRef, methodology: &Methodology) -> Self {
        let epochs = methodology.surveillance.outlook_horizon_epochs;
        let blocks = epochs.saturating_mul(methodology.clock.epoch_blocks);
        Self {
            block: block.number.saturating_add(blocks),
            epoch: block.epoch().saturating_add(epochs),
            // An epoch is a day (methodology §2.1).
            time: block.timestamp.saturating_add(epochs.saturating_mul(86_400)),
        }
    }
}

/// Forms an opinion on one entity.
pub fn assess(
    chain: &ChainState,
    entity: &RatedEntity,
    when: When,
    methodology: &Methodology,
) -> Opinion {
    assess_with(chain, entity, when, Tweak::NONE, methodology)
}

/// The same with one input changed.
pub fn assess_with(
    chain: &ChainState,
    entity: &RatedEntity,
    when: When,
    tweak: Tweak,
    methodology: &Methodology,
) -> Opinion {
    let assessor = Assessor { chain, when, methodology, tweak };
    match entity.kind {
        EntityKind::Operator => assessor.operator(OperatorId(entity.address)),
        EntityKind::Avs => assessor.avs(AvsId(entity.address)),
        EntityKind::OperatorSet => assessor
            .operator_set(OperatorSetId { avs: AvsId(entity.address), id: entity.operator_set_id }),
        // Its positions, the platform and the token's own contracts are one distribution.
        EntityKind::Lrt => return assessor.lrt(LrtId(entity.address)),
    }
    .all_in(chain, when, methodology)
}

/// The grade of an opinion by itself: model and ceilings, without what was said before.
pub fn grade_of(opinion: &Opinion, methodology: &Methodology) -> Grade {
    if opinion.is_default {
        return Grade::D;
    }
    let caps = with_coverage_cap(&opinion.caps, &opinion.profile, methodology);
    let grade = capped(methodology.scale.grade(opinion.profile.expected_loss()), &caps);
    // The ceiling of a heavy tail; the distribution is made only where it could bind.
    let tail = Cap::of(CapReason::TailAboveHalf, methodology).filter(|cap| cap.ceiling > grade);
    let cap = tail.zip(opinion.lrt.as_ref());
    let cap = cap.filter(|(_, lrt)| lrt.has_heavy_tail(&opinion.profile, methodology));
    cap.map_or(grade, |(cap, _)| grade.worse(cap.ceiling))
}

/// What would move a rating: the model run again with one input changed. An AVS is moved by its
/// worst set.
pub fn sensitivities(
    chain: &ChainState,
    entity: &RatedEntity,
    when: When,
    methodology: &Methodology,
) -> Vec<Sensitivity> {
    match entity.kind {
        EntityKind::Operator => return operator_sensitivities(chain, entity, when, methodology),
        EntityKind::Lrt => return lrt_sensitivities(chain, entity, when, methodology),
        EntityKind::Avs | EntityKind::OperatorSet => {}
    }
    let assessor = Assessor { chain, when, methodology, tweak: Tweak::NONE };
    let avs = AvsId(entity.address);
    let set = match entity.kind {
        EntityKind::OperatorSet => Some(OperatorSetId { avs, id: entity.operator_set_id }),
        EntityKind::Avs => assessor
            .sets_of(avs)
            .max_by_key(|set| assessor.operator_set(*set).profile.expected_loss()),
        EntityKind::Operator | EntityKind::Lrt => None,
    };
    let found = set.and_then(|set| Some((set, chain.operator_sets.get(&set)?)));
    found.map_or_else(Vec::new, |(set, found)| {
        let inputs = assessor.set_inputs(set, found, assessor.service(set, found));
        let platform = platform(chain, when, methodology);
        set_sensitivities(&inputs, std::slice::from_ref(&platform), methodology)
    })
}

impl Opinion {
    /// Scope A: with what the platform's own contracts can lose (methodology §2.0).
    fn all_in(mut self, chain: &ChainState, when: When, methodology: &Methodology) -> Self {
        if !self.profile.blocks().is_empty() {
            self.profile = self.profile.with([platform(chain, when, methodology)]);
        }
        self
    }

    fn nothing() -> Self {
        Self {
            profile: LossProfile::default(),
            caps: Vec::new(),
            is_default: false,
            basis: Basis::Nothing,
            self_dealing: BTreeSet::new(),
            refusal: None,
            watch: BTreeSet::new(),
            lrt: None,
        }
    }
}

/// What the platform's own contracts can lose, less the longer they are seen to live.
fn platform(chain: &ChainState, when: When, methodology: &Methodology) -> LossBlock {
    let epochs = when.epoch.saturating_sub(chain.first_epoch.unwrap_or(when.epoch));
    let days = Atto(u128::from(epochs).saturating_mul(Atto::ONE.0));
    let years = days.saturating_div(methodology.clock.days_per_year);
    platform_block(PLATFORM, years, methodology)
}

#[derive(Clone, Copy)]
struct Assessor<'a> {
    chain: &'a ChainState,
    when: When,
    methodology: &'a Methodology,
    tweak: Tweak,
}

impl Assessor<'_> {
    fn operator_set(&self, set: OperatorSetId) -> Opinion {
        let Some(found) = self.chain.operator_sets.get(&set) else { return Opinion::nothing() };
        let service = self.service(set, found);
        let basis = match service {
            Service::Members(_) => Basis::Members,
            Service::Benchmark { .. } => Basis::Intrinsic,
        };
        let inputs = self.set_inputs(set, found, service);
        Opinion {
            profile: set_profile(&inputs, self.methodology),
            caps: self.caps(&inputs),
            is_default: self.is_set_in_default(set),
            basis,
            self_dealing: self
                .chain
                .is_self_dealing(set, self.when.block)
                .then_some(set.id)
                .into_iter()
                .collect(),
            ..Opinion::nothing()
        }
    }

    fn avs(&self, avs: AvsId) -> Opinion {
        let sets: Vec<OperatorSetId> = self.sets_of(avs).collect();
        if sets.is_empty() {
            return Opinion { refusal: Some(NotRated::NoOperatorSet), ..Opinion::nothing() };
        }
        let opinions: Vec<Opinion> = sets.iter().map(|set| self.operator_set(*set)).collect();
        let weighted: Vec<WeightedSet> = sets
            .iter()
            .zip(&opinions)
            .map(|(set, opinion)| WeightedSet {
                set: set.to_string(),
                slashable: None,
                profile: opinion.profile.clone(),
            })
            .collect();
        let Some(worst) = avs_profile(&weighted) else { return Opinion::nothing() };
        let caps = sets
            .iter()
            .zip(&opinions)
            .find(|(set, _)| set.to_string() == worst.worst_set)
            .map(|(_, opinion)| opinion.caps.clone())
            .unwrap_or_default();
        Opinion {
            profile: worst.profile,
            caps,
            is_default: opinions.iter().any(|opinion| opinion.is_default),
            basis: Basis::WorstSet,
            self_dealing: opinions
                .iter()
                .flat_map(|opinion| &opinion.self_dealing)
                .copied()
                .collect(),
            ..Opinion::nothing()
        }
    }

    fn operator(&self, operator: OperatorId) -> Opinion {
        let strategies = self.allocated_strategies(operator);
        let is_default = self.is_operator_in_default(operator);
        let worst = strategies
            .iter()
            .map(|strategy| (*strategy, self.operator_in_strategy(operator, *strategy)))
            .max_by_key(|(_, (profile, _))| profile.expected_loss());
        let Some((strategy, (profile, mut caps))) = worst else {
            return Opinion { is_default, ..Opinion::nothing() };
        };
        caps.extend(self.uplift_cap(operator, strategy));
        let basis = if strategies.len() == 1 { Basis::OneStrategy } else { Basis::WorstStrategy };
        Opinion { profile, caps, is_default, basis, ..Opinion::nothing() }
    }

    fn operator_in_strategy(
        &self,
        operator: OperatorId,
        strategy: StrategyId,
    ) -> (LossProfile, Vec<Cap>) {
        let mut positions = Vec::new();
        let mut caps: BTreeSet<Cap> = BTreeSet::new();
        for set in self.sets_allocated(operator, strategy) {
            let Some(found) = self.chain.operator_sets.get(&set) else { continue };
            let inputs = self.set_inputs(set, found, self.benchmark());
            caps.extend(self.caps(&inputs));
            positions.push(self.position((operator, strategy), set, found, &inputs));
        }
        self.tweak.scale(&mut positions);
        let inputs = OperatorInputs {
            operator: operator.to_string(),
            positions,
            unencumbered: self.unencumbered(operator, strategy),
        };
        (operator_profile(&inputs, self.methodology), caps.into_iter().collect())
    }

    /// The ceiling on what mitigants may add to a young operator, if it has any.
    fn uplift_cap(&self, operator: OperatorId, strategy: StrategyId) -> Option<Cap> {
        let mut sets = self.sets_allocated(operator, strategy);
        if sets.all(|set| self.credits(operator, set).is_empty()) {
            return None;
        }
        let tweak = Tweak { mitigants: Mitigants::Ignored, ..self.tweak };
        let plain = Self { tweak, ..*self };
        let (profile, caps) = plain.operator_in_strategy(operator, strategy);
        let platform = platform(self.chain, self.when, self.methodology);
        let loss = profile.with([platform]).expected_loss();
        let unmitigated = capped(self.methodology.scale.grade(loss), &caps);
        Cap::of_uplift(unmitigated, self.operator_years(operator), self.methodology)
    }

    /// What an operator has in place for a set.
    fn credits(&self, operator: OperatorId, set: OperatorSetId) -> Vec<(Mitigant, Atto)> {
        let evidence = self.evidence();
        let can_cover = evidence.has_ruleset(set);
        self.tweak.credits(evidence.mitigants(operator, set), can_cover, self.methodology)
    }

    fn position(
        &self,
        (operator, strategy): (OperatorId, StrategyId),
        set: OperatorSetId,
        found: &OperatorSet,
        inputs: &SetInputs,
    ) -> SetPosition {
        let max = self
            .chain
            .operators
            .get(&operator)
            .map_or(crate::state::operator::WAD, |known| known.max_magnitude(strategy));
        let allocation = self.chain.allocations.get(&(operator, set, strategy));
        let now = allocation.map_or(0, |found| found.current_at(self.when.block));
        let soon = allocation
            .and_then(|found| found.pending_at(self.when.block))
            .map_or(0, |pending| pending.magnitude.saturating_sub(now));
        let is_slashable = self.is_slashable(operator, strategy, found);
        let (allocated, latent) =
            if is_slashable { (now, soon) } else { (0, now.saturating_add(soon)) };
        let (c1_severity, c2_severity) = operator_severities(inputs, self.methodology);
        let (c1, c2) = self.operator_hazards(operator, Some(set));
        SetPosition {
            set: set.to_string(),
            group: PLATFORM.to_owned(),
            allocated: share(allocated, max),
            latent: share(latent, max),
            c1,
            c1_severity,
            c2: c2_severity.map(|severity| (c2, severity)),
            provenance: self.operator_provenance(operator),
            common: common_blocks(inputs, self.methodology),
        }
    }

    /// Membership and strategies of the set, taken as given unless the log holds the set from its
    /// creation on, and events of that kind at all: what is unknown is not zero.
    fn is_slashable(
        &self,
        operator: OperatorId,
        strategy: StrategyId,
        found: &OperatorSet,
    ) -> bool {
        let knows_members = found.members.contains_key(&operator)
            || (found.is_created && self.chain.has_memberships);
        let knows_strategies = found.is_created && self.chain.has_strategies;
        let is_member = !knows_members || found.can_slash(operator, self.when.block);
        let is_strategy = !knows_strategies || found.strategies.contains(&strategy);
        is_member && is_strategy
    }

    /// Magnitude that is promised to nobody and could be slashable before a delegator can leave.
    fn unencumbered(&self, operator: OperatorId, strategy: StrategyId) -> Ppt {
        let Some(known) = self.chain.operators.get(&operator) else { return Ppt::ZERO };
        let delay = known.allocation_delay.at(self.when.block);
        let exit = self.methodology.clock.exit_window_blocks;
        let can_surprise = delay.is_some_and(|delay| u64::from(delay) < exit);
        let can_surprise = self.tweak.can_surprise(can_surprise);
        let Some(encumbered) =
            known.magnitudes.get(&strategy).and_then(|magnitude| magnitude.encumbered)
        else {
            return Ppt::ZERO;
        };
        let max = known.max_magnitude(strategy);
        if can_surprise { share(max.saturating_sub(encumbered), max) } else { Ppt::ZERO }
    }

    fn set_inputs(&self, set: OperatorSetId, found: &OperatorSet, service: Service) -> SetInputs {
        let slasher = found.slasher.at(self.when.block);
        // What the recipient is, no event tells: a single key is the worst that it can be.
        let by_log = match found.redistribution_recipient {
            None => Redistribution::Burned,
            Some(recipient) if recipient == set.avs.0 || Some(recipient) == slasher => {
                Redistribution::SelfControlled(RecipientKind::Eoa)
            }
            Some(_) => Redistribution::Immediate(RecipientKind::Eoa),
        };
        let is_read =
            slasher.is_some() || found.redistribution_recipient.is_some() || found.is_created;
        let evidence = self.evidence().of_set(set, slasher);
        let attested = |level: Option<VerificationLevel>| level.map(Provenance::Attested);
        let by_log_or_prior = if is_read { Provenance::Log } else { Provenance::Prior };
        let incidents = |class| self.chain.avs_incidents(set.avs, class);
        let count = |class| decayed_count(incidents(class), self.when.epoch, self.methodology);
        let of_operators = |class| {
            self.chain.operator_incidents().filter(move |incident| incident.class() == class)
        };
        SetInputs {
            set: set.to_string(),
            group: PLATFORM.to_owned(),
            complexity: evidence.ruleset.map(|ruleset| ruleset.complexity),
            slashes_liveness: evidence.ruleset.is_none_or(|ruleset| ruleset.slashes_liveness),
            slash_max: evidence.slash_max,
            authority: self.tweak.authority(set, evidence.authority),
            redistribution: self.evidence().redistribution(set, by_log),
            veto: evidence.veto,
            alpha: evidence.alpha,
            slack: evidence.slack,
            live_years: self.avs_years(set.avs),
            incidents_c3: count(LossClass::C3),
            incidents_c4: count(LossClass::C4),
            severities: SetSeverities {
                c1: severity_record(of_operators(LossClass::C1), self.methodology),
                c2: severity_record(of_operators(LossClass::C2), self.methodology),
                c3: severity_record(incidents(LossClass::C3), self.methodology),
                c4: severity_record(incidents(LossClass::C4), self.methodology),
            },
            provenance: SetProvenance {
                c3: attested(evidence.ruleset.map(|ruleset| ruleset.level))
                    .unwrap_or(Provenance::Prior),
                c4: attested(evidence.authority_level).unwrap_or(by_log_or_prior),
                c5: attested(evidence.profit_level).unwrap_or(Provenance::Prior),
            },
            service,
        }
    }

    const fn evidence(&self) -> Evidence<'_> {
        Evidence { chain: self.chain, when: self.when, methodology: self.methodology }
    }

    /// The ceilings of a set's design. A profit from corruption that only a party to it states is
    /// as good as unknown.
    fn caps(&self, inputs: &SetInputs) -> Vec<Cap> {
        let mut caps = set_caps(inputs, self.methodology);
        if inputs.slack.is_some() && inputs.provenance.c5 == Provenance::Prior {
            caps.extend(Cap::of(CapReason::CorruptionProfitUnknown, self.methodology));
        }
        caps
    }

    fn service(&self, set: OperatorSetId, found: &OperatorSet) -> Service {
        // Weights are known only where every strategy has a known price; then a member without a
        // share has no stake.
        let is_priced = !found.strategies.is_empty()
            && found.strategies.iter().all(|strategy| self.chain.price(*strategy).is_some());
        let has_share = |operator: &&OperatorId| {
            found.can_slash(**operator, self.when.block)
                && self.chain.experience.shares_of_set.contains_key(&(**operator, set))
        };
        let members: Vec<&OperatorId> = found.members.keys().filter(has_share).collect();
        if !is_priced || members.is_empty() {
            return self.benchmark();
        }
        let member = |operator: &&OperatorId| {
            let (c1, c2) = self.operator_hazards(**operator, Some(set));
            let share = self.chain.experience.shares_of_set.get(&(**operator, set));
            Member {
                operator: operator.to_string(),
                slashable: alloy_primitives::U256::from(share.map_or(0, |share| share.0)),
                c1,
                c2,
                provenance: self.operator_provenance(**operator),
            }
        };
        Service::Members(members.iter().map(member).collect())
    }

    /// A benchmark operator: the group's own rates.
    fn benchmark(&self) -> Service {
        let priors = &self.methodology.priors;
        let posterior = |prior: GammaRate, class| {
            let epoch = self.when.epoch;
            let group = self.chain.operator_totals(None, class, epoch, self.methodology);
            prior.posterior(group.incidents, group.years)
        };
        Service::Benchmark {
            c1: posterior(priors.c1.into(), LossClass::C1),
            c2: posterior(priors.c2.into(), LossClass::C2),
            provenance: Provenance::Prior,
        }
    }

    /// Hazards C1 and C2 of one operator in a set, or outside of all: the group without it, times
    /// what it has in place there, times its frailty. An incident counts in C1, the most severe class it is compatible
    /// with, until someone attests its cause.
    fn operator_hazards(
        &self,
        operator: OperatorId,
        set: Option<OperatorSetId>,
    ) -> (Hazard, Hazard) {
        let epoch = self.when.epoch;
        let evidence = self.evidence();
        let without = |prior: GammaRate, class| {
            let totals = |who| self.chain.operator_totals(who, class, epoch, self.methodology);
            leave_one_out(prior, totals(None), totals(Some(operator)))
        };
        let priors = &self.methodology.priors;
        let c1 = without(priors.c1.into(), LossClass::C1);
        let c2 = without(priors.c2.into(), LossClass::C2);
        let multiplier = |class, set: Option<OperatorSetId>| {
            let credits = set.map(|set| self.credits(operator, set)).unwrap_or_default();
            evidence.multiplier(class, operator, &credits)
        };
        let mut expected = Vec::new();
        for (set, years) in self.years_by_set(operator) {
            for (class, rate) in [(OperatorClass::SigningFault, c1), (OperatorClass::Liveness, c2)]
            {
                let multiplier = multiplier(class, Some(set));
                expected.push(ExpectedAt { group_mean: rate.mean(), multiplier, years });
            }
        }
        let added = self.tweak.added_years();
        if added > Atto::ZERO {
            let multiplier = multiplier(OperatorClass::SigningFault, set);
            expected.push(ExpectedAt { group_mean: c1.mean(), multiplier, years: added });
        }
        let incidents = decayed_count(self.incidents_of(operator), epoch, self.methodology);
        let incidents = self.tweak.incidents(operator, incidents);
        let record = OperatorRecord {
            years: self.operator_years(operator).saturating_add(added),
            ..OperatorRecord::new(incidents, &expected)
        };
        let hazard = |group, class| {
            let frailty = &self.methodology.frailty;
            Hazard::of_operator(group, multiplier(class, set), &record, frailty)
        };
        (hazard(c1, OperatorClass::SigningFault), hazard(c2, OperatorClass::Liveness))
    }

    fn operator_provenance(&self, operator: OperatorId) -> Provenance {
        let is_known = self.incidents_of(operator).next().is_some()
            || self.operator_years(operator) > Atto::ZERO;
        if is_known { Provenance::Log } else { Provenance::Prior }
    }

    fn incidents_of(&self, operator: OperatorId) -> impl Iterator<Item = &Incident> {
        self.chain.operator_incidents().filter(move |incident| incident.operator == operator)
    }

    /// Decayed years of an operator over all its sets, as of the epoch in question.
    fn operator_years(&self, operator: OperatorId) -> Atto {
        self.years_by_set(operator).fold(Atto::ZERO, |sum, (_, years)| sum.saturating_add(years))
    }

    fn years_by_set(&self, operator: OperatorId) -> impl Iterator<Item = (OperatorSetId, Atto)> {
        let first = OperatorSetId { avs: AvsId(alloy_primitives::Address::ZERO), id: 0 };
        self.chain
            .experience
            .operators
            .range((operator, first)..)
            .take_while(move |((who, _), _)| *who == operator)
            .map(|((_, set), exposure)| (*set, self.years(*exposure)))
    }

    fn avs_years(&self, avs: AvsId) -> Atto {
        self.chain.experience.avss.get(&avs).map_or(Atto::ZERO, |exposure| self.years(*exposure))
    }

    fn years(&self, mut exposure: crate::exposure::DecayedExposure) -> Atto {
        // An epoch already reached stays as it is: a rating inside an epoch.
        let _reached = exposure.advance_to(self.when.epoch, &self.methodology.decay);
        exposure.years(&self.methodology.clock)
    }

    /// Half of a set's slashable stake was slashed, by what the log tells.
    fn is_set_in_default(&self, set: OperatorSetId) -> bool {
        let lost =
            self.chain.incidents.iter().filter(|incident| incident.operator_set == set).fold(
                Ppt::ZERO,
                |sum, incident| {
                    let severity = Ppt(incident.severity_wad / WAD_PER_PPT);
                    let share = incident.share_of_set.unwrap_or(Ppt::ZERO);
                    sum.capped_add(severity.times(share))
                },
            );
        lost >= self.methodology.surveillance.default_slash_share
    }

    /// Half of what was delegated to an operator in a strategy was slashed over time.
    fn is_operator_in_default(&self, operator: OperatorId) -> bool {
        let mut left: std::collections::BTreeMap<StrategyId, Ppt> = Default::default();
        let slashes = self.chain.slashes.iter().filter(|slash| slash.operator == operator);
        for slashed in slashes.flat_map(|slash| &slash.strategies) {
            let wad = u64::try_from(slashed.wad_slashed).unwrap_or(u64::MAX);
            let taken = Ppt((wad / WAD_PER_PPT).min(Ppt::ONE.0));
            let left = left.entry(slashed.strategy).or_insert(Ppt::ONE);
            *left = left.times(taken.complement());
        }
        let limit = self.methodology.surveillance.default_slash_share;
        left.values().any(|left| left.complement() >= limit)
    }

    fn sets_of(&self, avs: AvsId) -> impl Iterator<Item = OperatorSetId> {
        let first = OperatorSetId { avs, id: 0 };
        self.chain
            .operator_sets
            .range(first..)
            .map(|(set, _)| *set)
            .take_while(move |set| set.avs == avs)
    }

    fn allocations_of(
        &self,
        operator: OperatorId,
    ) -> impl Iterator<Item = (OperatorSetId, StrategyId)> {
        let zero = alloy_primitives::Address::ZERO;
        let first = (operator, OperatorSetId { avs: AvsId(zero), id: 0 }, StrategyId(zero));
        self.chain
            .allocations
            .range(first..)
            .take_while(move |((who, _, _), _)| *who == operator)
            .map(|((_, set, strategy), _)| (*set, *strategy))
    }

    fn allocated_strategies(&self, operator: OperatorId) -> BTreeSet<StrategyId> {
        self.allocations_of(operator).map(|(_, strategy)| strategy).collect()
    }

    fn sets_allocated(
        &self,
        operator: OperatorId,
        strategy: StrategyId,
    ) -> impl Iterator<Item = OperatorSetId> {
        self.allocations_of(operator)
            .filter(move |(set, found)| *found == strategy && !self.tweak.has_left(*set))
            .map(|(set, _)| set)
    }
}

/// The group of operators whose rates are estimated together.
const PLATFORM: &str = "eigenlayer";

/// `part / whole` in parts per trillion, rounded up: against the rated.
fn share(part: u64, whole: u64) -> Ppt {
    let scaled = u128::from(part.min(whole)).saturating_mul(u128::from(Ppt::ONE.0));
    let rounded_up = u128::from(whole)
        .checked_sub(1)
        .and_then(|rest| scaled.saturating_add(rest).checked_div(u128::from(whole)));
    Ppt(rounded_up.and_then(|share| u64::try_from(share).ok()).unwrap_or(0))
}
