//! Time at risk and incidents, epoch by epoch: what hazards are estimated from.
//!
//! Time counts only where slashable stake of known value is above dust (methodology §2.4, §5.20).
//! Without a recorded price the value of a strategy is unknown, except of native ether; such time
//! does not count, and a hazard stays nearer to its prior.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256, address};

use super::ChainState;
use super::operator::WAD_PER_PPT;
use super::slashing::Incident;
use super::staker::{mul_div_floor, mul_wad_floor, slashable_shares};
use crate::decimal::{Atto, Ppt};
use crate::exposure::{DecayedExposure, is_above_dust};
use crate::frailty::Totals;
use crate::id::{AvsId, OperatorId, OperatorSetId, StrategyId};
use crate::loss_block::LossClass;
use crate::methodology::Methodology;
use crate::severity::SeverityRecord;

/// The strategy of native ether, the only one whose price in ether is one by definition
/// (`DelegationManagerStorage.beaconChainETHStrategy`).
pub const BEACON_CHAIN_ETH: StrategyId =
    StrategyId(address!("beaC0eeEeeeeEEeEeEEEEeeEEeEeeeEeeEEBEaC0"));

/// What a chain's operators and AVSs went through.
#[derive(Debug, Clone, Default)]
pub struct Experience {
    /// Decayed time at risk of AVSs (classes C3 and C4).
    pub avss: BTreeMap<AvsId, DecayedExposure>,
    /// Decayed time at risk of operators in sets (classes C1 and C2).
    pub operators: BTreeMap<(OperatorId, OperatorSetId), DecayedExposure>,
    /// Undecayed live days of each operator in each set: the epochs themselves, rising.
    days: BTreeMap<(OperatorId, OperatorSetId), Vec<u64>>,
    /// Live days of all operators together up to each epoch, rising.
    all_days: Vec<(u64, u64)>,
    /// Each member's share of a set's slashable stake at the last epoch's end.
    pub shares_of_set: BTreeMap<(OperatorId, OperatorSetId), Ppt>,
}

impl ChainState {
    /// Ends an epoch: a day of experience for everyone live. Call after every fact of the epoch.
    pub fn end_epoch(&mut self, epoch: u64, methodology: &Methodology) {
        let block = crate::block::epoch_end(epoch);
        self.experience.shares_of_set.clear();
        let sets: Vec<OperatorSetId> = self.operator_sets.keys().copied().collect();
        let mut live_avss = BTreeSet::new();
        let mut live_members = BTreeSet::new();
        let mut staked = Vec::new();
        for set in sets {
            let stakes = self.known_stakes(set, block);
            let total =
                stakes.iter().fold(U256::ZERO, |sum, (_, stake)| sum.saturating_add(*stake));
            for (operator, stake) in stakes {
                let one = U256::from(Ppt::ONE.0);
                let share = mul_div_floor(stake, one, total).unwrap_or(one);
                let share = Ppt(share.try_into().unwrap_or(Ppt::ONE.0));
                self.experience.shares_of_set.insert((operator, set), share);
                staked.push(((operator, set), stake));
                if is_above_dust(stake, total, &methodology.exposure) {
                    live_members.insert((operator, set));
                    live_avss.insert(set.avs);
                }
            }
        }
        self.experience.end_epoch(epoch, &live_avss, &live_members, methodology);
        let slot = methodology.clock.slot_seconds.values().next().copied().unwrap_or(12);
        let ahead = block.saturating_sub(self.block_number).saturating_mul(slot);
        self.rewards.end_epoch(epoch, self.time.saturating_add(ahead), staked);
    }

    /// Slashable stake of each member of a set, wei of ether, counting what has a known price.
    pub(crate) fn known_stakes(&self, set: OperatorSetId, block: u64) -> Vec<(OperatorId, U256)> {
        let Some(found) = self.operator_sets.get(&set) else { return Vec::new() };
        let strategies = std::iter::once(BEACON_CHAIN_ETH)
            .chain(self.registry.prices.keys().copied())
            .filter(|strategy| !self.has_strategies || found.strategies.contains(strategy));
        let priced: Vec<(StrategyId, U256)> =
            strategies.filter_map(|strategy| Some((strategy, self.price(strategy)?))).collect();
        if priced.is_empty() {
            return Vec::new();
        }
        let value = |operator: &OperatorId, strategy: StrategyId, price: U256| {
            let allocation = self.allocations.get(&(*operator, set, strategy))?;
            let known = self.operators.get(operator)?;
            let shares = known.shares.get(&strategy)?;
            let max = known.max_magnitude(strategy);
            let slashable =
                slashable_shares(*shares, U256::ZERO, allocation.current_at(block), max)?;
            if strategy == BEACON_CHAIN_ETH {
                Some(slashable)
            } else {
                mul_wad_floor(slashable, price)
            }
        };
        let stake = |operator: &OperatorId| {
            let values =
                priced.iter().filter_map(|(strategy, price)| value(operator, *strategy, *price));
            values.reduce(U256::saturating_add)
        };
        found
            .members
            .keys()
            .filter(|operator| found.can_slash(**operator, block))
            .filter_map(|operator| Some((*operator, stake(operator)?)))
            .filter(|(_, stake)| !stake.is_zero())
            .collect()
    }
}

impl Experience {
    fn end_epoch(
        &mut self,
        epoch: u64,
        live_avss: &BTreeSet<AvsId>,
        live_members: &BTreeSet<(OperatorId, OperatorSetId)>,
        methodology: &Methodology,
    ) {
        let start = DecayedExposure::new(epoch.saturating_sub(1));
        for avs in live_avss {
            self.avss.entry(*avs).or_insert(start);
        }
        for member in live_members {
            self.operators.entry(*member).or_insert(start);
            self.days.entry(*member).or_default().push(epoch);
        }
        let before = self.all_days.last().map_or(0, |(_, days)| *days);
        let today = u64::try_from(live_members.len()).unwrap_or(u64::MAX);
        self.all_days.push((epoch, before.saturating_add(today)));
        for (avs, exposure) in &mut self.avss {
            advance(exposure, epoch, live_avss.contains(avs), methodology);
        }
        for (member, exposure) in &mut self.operators {
            advance(exposure, epoch, live_members.contains(member), methodology);
        }
    }

    /// Undecayed years at risk over the group window, of all operators or of one.
    fn window_years(
        &self,
        operator: Option<OperatorId>,
        epoch: u64,
        methodology: &Methodology,
    ) -> Atto {
        let from = epoch.saturating_sub(window_epochs(methodology));
        let days = match operator {
            Some(operator) => self.days_of(operator, from),
            None => self.days_of_all(from),
        };
        count(days).saturating_div(methodology.clock.days_per_year)
    }
}

impl Experience {
    fn days_of(&self, operator: OperatorId, from: u64) -> u64 {
        let first = OperatorSetId { avs: AvsId(Address::ZERO), id: 0 };
        self.days
            .range((operator, first)..)
            .take_while(|((who, _), _)| *who == operator)
            .map(|(_, days)| {
                let outside = days.partition_point(|day| *day < from);
                u64::try_from(days.len().saturating_sub(outside)).unwrap_or(u64::MAX)
            })
            .fold(0, u64::saturating_add)
    }

    fn days_of_all(&self, from: u64) -> u64 {
        let outside = self.all_days.partition_point(|(epoch, _)| *epoch < from);
        let before = outside.checked_sub(1).and_then(|index| self.all_days.get(index));
        let last = self.all_days.last().map_or(0, |(_, days)| *days);
        last.saturating_sub(before.map_or(0, |(_, days)| *days))
    }
}

impl ChainState {
    /// Undecayed incidents of a class and years of all operators over the group window, or of one
    /// of them.
    pub fn operator_totals(
        &self,
        operator: Option<OperatorId>,
        class: LossClass,
        epoch: u64,
        methodology: &Methodology,
    ) -> Totals {
        let from = epoch.saturating_sub(window_epochs(methodology));
        let incidents = self
            .operator_incidents()
            .filter(|found| found.class() == class && found.first_block.epoch() >= from)
            .filter(|found| operator.is_none_or(|wanted| wanted == found.operator))
            .count();
        Totals {
            incidents: count(u64::try_from(incidents).unwrap_or(u64::MAX)),
            years: self.experience.window_years(operator, epoch, methodology),
        }
    }

    /// Incidents that an operator answers for.
    pub fn operator_incidents(&self) -> impl Iterator<Item = &Incident> {
        let is_operators = |class| matches!(class, LossClass::C1 | LossClass::C2);
        self.incidents.iter().filter(move |incident| is_operators(incident.class()))
    }

    /// Incidents of a class that an AVS answers for.
    pub fn avs_incidents(
        &self,
        avs: AvsId,
        class: LossClass,
    ) -> impl Iterator<Item = &Incident> + Clone {
        self.incidents
            .iter()
            .filter(move |incident| incident.operator_set.avs == avs)
            .filter(move |incident| incident.class() == class)
    }
}

/// Incidents, decayed to the end of `epoch`.
pub fn decayed_count<'a>(
    incidents: impl Iterator<Item = &'a Incident>,
    epoch: u64,
    methodology: &Methodology,
) -> Atto {
    let mut exposure: Option<DecayedExposure> = None;
    for incident in incidents {
        let at = incident.first_block.epoch();
        let exposure = exposure.get_or_insert_with(|| DecayedExposure::new(at));
        // Incidents are in order of their first slash, so this never goes back.
        let _in_order = exposure.record_incident(at, &methodology.decay);
    }
    exposure.map_or(Atto::ZERO, |mut exposure| {
        let _in_order = exposure.advance_to(epoch, &methodology.decay);
        exposure.incidents()
    })
}

/// What incidents took of the allocation.
pub fn severity_record<'a>(
    incidents: impl Iterator<Item = &'a Incident>,
    methodology: &Methodology,
) -> SeverityRecord {
    let mut record = SeverityRecord::default();
    for incident in incidents {
        record.record(Ppt(incident.severity_wad / WAD_PER_PPT), &methodology.severity);
    }
    record
}

fn window_epochs(methodology: &Methodology) -> u64 {
    let clock = &methodology.clock;
    let days = clock.group_window_years.saturating_mul(clock.days_per_year);
    u64::try_from(days.0 / Atto::ONE.0).unwrap_or(u64::MAX)
}

fn count(count: u64) -> Atto {
    Atto(u128::from(count).saturating_mul(Atto::ONE.0))
}

fn advance(exposure: &mut DecayedExposure, epoch: u64, is_live: bool, methodology: &Methodology) {
    let before = epoch.saturating_sub(1).max(exposure.epoch());
    // Epochs only advance here; an error would say that the caller went back.
    let _in_order = exposure
        .set_live(before, is_live, &methodology.decay)
        .and_then(|()| exposure.advance_to(epoch, &methodology.decay));
}
