//! Liquid restaking tokens: from token to stakers to operators to operator sets, and the blocks of
//! methodology §2.6 on what is found there.
//!
//! What no event tells is taken at its worst: a third of the native ether on one client, and a
//! third of the supply redeemed before a loss is recognised.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;

use super::{Assessor, Basis, Opinion, platform};
use crate::attribution::hamilton;
use crate::beacon::{Gwei, slashing_penalty};
use crate::block::BlockRef;
use crate::cap::{Cap, CapReason};
use crate::decimal::{Atto, PPT_ONE, Ppt};
use crate::frailty::Hazard;
use crate::id::{LrtId, OperatorId, OperatorSetId, StrategyId};
use crate::loss::severity::round_to_grid;
use crate::loss::{BasisPoints, CELLS};
use crate::loss_block::{
    LossBlock, LossClass, LossProfile, LossShape, Provenance, Scope, lrt_contract_block,
};
use crate::lrt::{
    Liquidity, LookThrough, LrtOpinion, Place, Position, Redemption, Reserve, ReserveStatus,
};
use crate::operator::{OperatorInputs, SetPosition, operator_profile};
use crate::operator_set::common_blocks;
use crate::severity::Severity;
use crate::state::experience::BEACON_CHAIN_ETH;
use crate::state::lrt::{Lrt, Restaker};
use crate::state::operator::WAD;
use crate::state::staker::{mul_div_floor, slashable_shares};
use crate::surveillance::WatchTrigger;
use crate::tail::{Run, loss_model};
use crate::uncertainty::NotRated;

/// Parts per trillion in a cell of the loss grid.
const PPT_PER_BP: u64 = 100_000_000;
/// Gwei of the stake that validators are penalised on, and of one ether.
const GWEI_PER_ETH: u64 = 1_000_000_000;

/// Shares behind a token, before they are priced.
#[derive(Default)]
struct Held {
    /// With operators, what waits in the queue and can still be slashed among them.
    delegated: BTreeMap<(OperatorId, StrategyId), U256>,
    undelegated: BTreeMap<StrategyId, U256>,
    /// In the queue, past its slashable time.
    exiting: BTreeMap<StrategyId, U256>,
    /// In the queue, slashable or not.
    queued: BTreeMap<StrategyId, U256>,
}

impl Assessor<'_> {
    pub(super) fn lrt(&self, token: LrtId) -> Opinion {
        let Some(lrt) = self.chain.lrts.get(&token) else { return Opinion::nothing() };
        let held = self.held(token, lrt);
        let look_through = self.look_through(lrt, &held);
        if look_through.nav.is_zero() {
            return Opinion::nothing();
        }
        let refusal =
            look_through.unpriced_at_risk.map(|strategy| NotRated::PriceUnknown { strategy });
        let reserve = self.reserve(lrt, &look_through);
        let mut blocks = self.position_blocks(&held, &look_through);
        blocks.extend(self.base_layer_blocks(&look_through));
        blocks.extend(shortfall_block(token, &reserve));
        blocks.push(lrt_contract_block(
            &token.to_string(),
            self.years_since(lrt.first_seen),
            self.methodology,
        ));
        blocks.push(platform(self.chain, self.when, self.methodology));
        let profile = LossProfile::settle(blocks);
        let run = Run {
            guard: lrt.nav_guard.map_or(Ppt::ZERO, ppt_of_wad),
            redeemed: self.methodology.lrt.run_share_max,
        };
        let plain = self.with_factor(&profile, None);
        let liquidity =
            Liquidity::of(self.redemption(lrt, &held, &look_through), &self.methodology.lrt);
        let market_over_value = self.market_over_value(token, lrt);
        Opinion {
            profile: self.with_factor(&profile, Some(run)),
            caps: self.lrt_caps(lrt, &reserve),
            is_default: self.is_lrt_in_default(lrt),
            basis: Basis::LookThrough,
            self_dealing: BTreeSet::new(),
            refusal,
            watch: self.lrt_watch(&reserve, &liquidity, market_over_value),
            lrt: Some(Box::new(LrtOpinion {
                slashing_loss: plain.within(Scope::Slashing).expected_loss(),
                loss_without_run: plain.expected_loss(),
                reserve,
                liquidity,
                run,
                market_over_value,
                loss_days: lrt.loss_days(),
                worst_write_down: lrt.worst_write_down,
                look_through,
            })),
        }
    }

    fn restakers(&self, token: LrtId, lrt: &Lrt) -> Vec<(crate::id::StakerId, &Restaker)> {
        let known = |staker| Some((staker, self.chain.restakers.get(&staker)?));
        let own = lrt.stakers.iter().copied().filter_map(known);
        own.filter(|(_, restaker)| restaker.token == token).collect()
    }

    fn held(&self, token: LrtId, lrt: &Lrt) -> Held {
        let mut held = Held::default();
        for (staker, restaker) in self.restakers(token, lrt) {
            let operator = self.chain.operator_of(staker);
            for strategy in restaker.deposit_shares.keys() {
                let shares = self.chain.withdrawable_shares(staker, *strategy);
                let place = match operator {
                    Some(operator) => held.delegated.entry((operator, *strategy)).or_default(),
                    None => held.undelegated.entry(*strategy).or_default(),
                };
                *place = place.saturating_add(shares);
            }
            let queued = |root| self.chain.withdrawals.get(root);
            for queued in restaker.withdrawals.iter().filter_map(queued) {
                let until = queued.slashable_until;
                let is_slashable = until.is_some_and(|until| self.when.block <= until);
                for (strategy, shares) in self.chain.queued_shares(queued) {
                    let place = if is_slashable {
                        held.delegated.entry((queued.delegated_to, strategy)).or_default()
                    } else {
                        held.exiting.entry(strategy).or_default()
                    };
                    *place = place.saturating_add(shares);
                    let all = held.queued.entry(strategy).or_default();
                    *all = all.saturating_add(shares);
                }
            }
        }
        held
    }

    fn value(&self, strategy: StrategyId, shares: U256) -> Option<U256> {
        mul_div_floor(shares, self.chain.price(strategy)?, U256::from(WAD))
    }

    /// Prices what is held and puts each wei of the net asset value in one place.
    fn look_through(&self, lrt: &Lrt, held: &Held) -> LookThrough {
        let mut found = LookThrough::default();
        let mut unpriced = BTreeSet::new();
        let mut put = |place: Place, value: U256| {
            if !value.is_zero() {
                found.positions.push(Position { place, value });
                found.seen = found.seen.saturating_add(value);
            }
        };
        for ((operator, strategy), shares) in &held.delegated {
            let (operator, strategy) = (*operator, *strategy);
            let Some(all) = self.value(strategy, *shares) else {
                if !shares.is_zero() {
                    unpriced.insert(strategy);
                    if self.slashable_sets(operator, strategy).next().is_some() {
                        found.unpriced_at_risk.get_or_insert(strategy);
                    }
                }
                continue;
            };
            let mut rest = all;
            for (operator_set, magnitude) in self.slashable_sets(operator, strategy) {
                let max = self.max_magnitude(operator, strategy);
                let value = slashable_shares(*shares, U256::ZERO, magnitude, max)
                    .and_then(|shares| self.value(strategy, shares))
                    .unwrap_or_default()
                    .min(rest);
                rest = rest.saturating_sub(value);
                put(Place::Slashable { operator, operator_set, strategy }, value);
            }
            put(Place::Unallocated { operator, strategy }, rest);
        }
        let loose = held.undelegated.iter().map(|(strategy, shares)| (strategy, shares, false));
        let exiting = held.exiting.iter().map(|(strategy, shares)| (strategy, shares, true));
        for (strategy, shares, is_exiting) in loose.chain(exiting) {
            let strategy = *strategy;
            let place = if is_exiting {
                Place::Exiting { strategy }
            } else {
                Place::Undelegated { strategy }
            };
            match self.value(strategy, *shares) {
                Some(value) => put(place, value),
                None if shares.is_zero() => {}
                None => {
                    unpriced.insert(strategy);
                }
            }
        }
        put(Place::Buffer, lrt.buffer.unwrap_or_default());
        let stated = lrt.stated_assets.map_or(U256::ZERO, |stated| stated.amount);
        found.nav = stated.max(found.seen);
        let unseen = found.nav.saturating_sub(found.seen);
        if !unseen.is_zero() {
            found.positions.push(Position { place: Place::Unseen, value: unseen });
        }
        found.positions.sort_by_key(|position| position.place);
        found.unpriced = unpriced.into_iter().collect();
        found
    }

    fn max_magnitude(&self, operator: OperatorId, strategy: StrategyId) -> u64 {
        let known = self.chain.operators.get(&operator);
        known.map_or(WAD, |known| known.max_magnitude(strategy))
    }

    /// Sets that can slash an operator's shares of a strategy, with the magnitude they can slash.
    fn slashable_sets(
        &self,
        operator: OperatorId,
        strategy: StrategyId,
    ) -> impl Iterator<Item = (OperatorSetId, u64)> {
        self.sets_allocated(operator, strategy).filter_map(move |set| {
            let found = self.chain.operator_sets.get(&set)?;
            let allocation = self.chain.allocations.get(&(operator, set, strategy))?;
            let magnitude = allocation.current_at(self.when.block);
            (magnitude > 0 && self.is_slashable(operator, strategy, found))
                .then_some((set, magnitude))
        })
    }

    /// C1, C1w and C2 of each operator, C3 to C5 of each set or of sets with one owner or slasher,
    /// and C6a, each on its share of the net asset value.
    fn position_blocks(&self, held: &Held, found: &LookThrough) -> Vec<LossBlock> {
        let mut slashable: BTreeMap<(OperatorId, OperatorSetId), U256> = BTreeMap::new();
        for position in &found.positions {
            if let Place::Slashable { operator, operator_set, .. } = position.place {
                let sum = slashable.entry((operator, operator_set)).or_default();
                *sum = sum.saturating_add(position.value);
            }
        }
        let mut amounts: Vec<U256> = slashable.values().copied().collect();
        let rest = amounts.iter().fold(found.nav, |rest, amount| rest.saturating_sub(*amount));
        amounts.push(rest);
        let cells = round_to_grid(&amounts, CELLS);
        let on_grid: BTreeMap<(OperatorId, OperatorSetId), Ppt> = slashable
            .keys()
            .copied()
            .zip(cells)
            .map(|(key, cell)| (key, Ppt(u64::from(cell).saturating_mul(PPT_PER_BP))))
            .collect();

        let operators: BTreeSet<OperatorId> =
            held.delegated.keys().map(|(operator, _)| *operator).collect();
        let mut blocks = Vec::new();
        let mut exposed: BTreeMap<OperatorSetId, Ppt> = BTreeMap::new();
        for operator in operators {
            let inputs = self.operator_inputs(operator, held, found, &on_grid);
            for (set, position) in &inputs.1 {
                let sum = exposed.entry(*set).or_insert(Ppt::ZERO);
                *sum = sum.capped_add(position.exposure(self.methodology));
            }
            let inputs = OperatorInputs {
                operator: operator.to_string(),
                positions: inputs.1.into_values().collect(),
                unencumbered: inputs.0,
            };
            blocks.extend(operator_profile(&inputs, self.methodology).blocks().iter().cloned());
        }
        blocks.extend(self.shock_blocks(&exposed));
        blocks
    }

    /// An operator's positions as shares of the net asset value, and what it could still allocate
    /// before the token can leave.
    fn operator_inputs(
        &self,
        operator: OperatorId,
        held: &Held,
        found: &LookThrough,
        on_grid: &BTreeMap<(OperatorId, OperatorSetId), Ppt>,
    ) -> (Ppt, BTreeMap<OperatorSetId, SetPosition>) {
        let mut unencumbered = Ppt::ZERO;
        let mut positions: BTreeMap<OperatorSetId, SetPosition> = BTreeMap::new();
        let of_operator = held.delegated.iter().filter(|((who, _), _)| *who == operator);
        for ((_, strategy), shares) in of_operator {
            let Some(value) = self.value(*strategy, *shares) else { continue };
            let weight = share_of(value, found.nav);
            unencumbered =
                unencumbered.capped_add(self.unencumbered(operator, *strategy).times(weight));
            for set in self.sets_allocated(operator, *strategy) {
                let Some(known) = self.chain.operator_sets.get(&set) else { continue };
                let inputs = self.set_inputs(set, known, self.benchmark());
                let one = self.position((operator, *strategy), set, known, &inputs);
                let latent = one.latent.times(weight);
                let allocated = on_grid.get(&(operator, set)).copied().unwrap_or(Ppt::ZERO);
                let position = positions.entry(set).or_insert(SetPosition {
                    allocated,
                    latent: Ppt::ZERO,
                    common: Vec::new(),
                    ..one
                });
                position.latent = position.latent.capped_add(latent);
            }
        }
        (unencumbered, positions)
    }

    /// Common shocks: one block for all sets with one owner or one slasher.
    fn shock_blocks(&self, exposed: &BTreeMap<OperatorSetId, Ppt>) -> Vec<LossBlock> {
        let sets = exposed.keys().copied().collect();
        self.groups_of(&sets).iter().flat_map(|group| self.group_blocks(group, exposed)).collect()
    }

    /// Sets that one owner or one slasher joins.
    pub(super) fn groups_of(&self, sets: &BTreeSet<OperatorSetId>) -> Vec<Vec<OperatorSetId>> {
        let mut groups: Vec<Vec<OperatorSetId>> = Vec::new();
        for set in sets {
            let joins =
                |group: &Vec<OperatorSetId>| group.iter().any(|it| self.share_keys(*it, *set));
            let (joined, mut apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(joins);
            let mut group: Vec<OperatorSetId> = joined.into_iter().flatten().collect();
            group.push(*set);
            apart.push(group);
            groups = apart;
        }
        groups
    }

    fn share_keys(&self, one: OperatorSetId, two: OperatorSetId) -> bool {
        let slasher = |set| {
            self.chain.operator_sets.get(&set).and_then(|set| set.slasher.at(self.when.block))
        };
        one.avs == two.avs || (slasher(one).is_some() && slasher(one) == slasher(two))
    }

    /// C3 and C4 once, as in the worst set of the group, on what all of it exposes; C5 set by set.
    pub(super) fn group_blocks(
        &self,
        group: &[OperatorSetId],
        exposed: &BTreeMap<OperatorSetId, Ppt>,
    ) -> Vec<LossBlock> {
        let exposure = |set: &OperatorSetId| exposed.get(set).copied().unwrap_or(Ppt::ZERO);
        let whole = group.iter().fold(Ppt::ZERO, |sum, set| sum.capped_add(exposure(set)));
        let mut blocks = Vec::new();
        let mut shared: BTreeMap<LossClass, LossBlock> = BTreeMap::new();
        for set in group {
            let Some(found) = self.chain.operator_sets.get(set) else { continue };
            let inputs = self.set_inputs(*set, found, self.benchmark());
            for block in common_blocks(&inputs, self.methodology) {
                if block.class == LossClass::C5 {
                    blocks.push(block.on(exposure(set)));
                    continue;
                }
                let badness = |block: &LossBlock| block.hazard.times(block.severity);
                match shared.get(&block.class) {
                    Some(worst) if badness(worst) >= badness(&block) => {}
                    _ => {
                        shared.insert(block.class, block);
                    }
                }
            }
        }
        let others = group.len().saturating_sub(1);
        blocks.extend(shared.into_values().map(|block| {
            let id = if others == 0 { block.id.clone() } else { format!("{}+{others}", block.id) };
            LossBlock { id, ..block.on(whole) }
        }));
        blocks
    }

    /// C6: a consensus bug of a client, and an incident of each operator's validators.
    fn base_layer_blocks(&self, found: &LookThrough) -> Vec<LossBlock> {
        let mut native: BTreeMap<Option<OperatorId>, U256> = BTreeMap::new();
        for position in &found.positions {
            let (operator, strategy) = match position.place {
                Place::Slashable { operator, strategy, .. }
                | Place::Unallocated { operator, strategy } => (Some(operator), strategy),
                Place::Undelegated { strategy } => (None, strategy),
                Place::Exiting { .. } | Place::Buffer | Place::Unseen => continue,
            };
            if strategy == BEACON_CHAIN_ETH {
                let sum = native.entry(operator).or_default();
                *sum = sum.saturating_add(position.value);
            }
        }
        let total = native.values().fold(U256::ZERO, |sum, value| sum.saturating_add(*value));
        if total.is_zero() {
            return Vec::new();
        }
        let parameters = &self.methodology.lrt;
        let share = parameters.client_share;
        let severity = Ppt(share.0.saturating_mul(3).min(PPT_ONE));
        let hazard = Hazard::benchmark(self.methodology.priors.c6b.into());
        let client = LossBlock::of_hazard(
            LossClass::C6,
            "client",
            &hazard,
            &Severity::fixed(severity),
            Provenance::Prior,
        );
        let mut blocks = vec![client.on(share_of(total, found.nav).times(share))];
        let active = Gwei(parameters.beacon_active_eth.saturating_mul(GWEI_PER_ETH));
        for (operator, value) in native {
            let Some(operator) = operator else { continue };
            let stake = value.checked_div(U256::from(GWEI_PER_ETH)).unwrap_or_default();
            let stake = Gwei(u64::try_from(stake).unwrap_or(u64::MAX));
            let one = Gwei(GWEI_PER_ETH.saturating_mul(32));
            let Ok(penalty) = slashing_penalty(one, stake, active) else { continue };
            let severity = share_of(U256::from(penalty.total.0), U256::from(one.0));
            let (hazard, _) = self.operator_hazards(operator, None);
            let block = LossBlock::of_hazard(
                LossClass::C6,
                &operator.to_string(),
                &hazard,
                &Severity::fixed(severity),
                self.operator_provenance(operator),
            );
            blocks.push(block.on(share_of(value, found.nav)));
        }
        blocks
    }

    /// The profile with each block's probability mixed over the common factor and its severity as
    /// it is on the grid, the run of those who redeem first in it: its sum is the mean of the
    /// distribution before the cap. Left as it is where the blocks are too many to be exact.
    fn with_factor(&self, profile: &LossProfile, run: Option<Run>) -> LossProfile {
        let Ok(model) = loss_model(profile, run, self.methodology) else { return profile.clone() };
        let mixed: BTreeMap<String, (Ppt, BasisPoints)> = model
            .losses_by_block()
            .into_iter()
            .map(|loss| (loss.id.to_string(), (Ppt(loss.probability.to_ppt()), loss.mean_loss)))
            .collect();
        let settled = |block: &LossBlock| {
            let mut block = block.clone();
            if let Some((hazard, mean)) = mixed.get(&block.id) {
                block.hazard = *hazard;
                let severity = u128::from(mean.to_ppt()).saturating_mul(PPT_ONE.into());
                let severity = severity.checked_div(block.exposure.0.into());
                block.severity = Ppt(severity.and_then(|it| u64::try_from(it).ok()).unwrap_or(0));
            }
            block
        };
        LossProfile::settle(profile.blocks().iter().map(settled).collect())
    }

    /// The block that ages are counted to. A look-ahead does not age what is proven every few days:
    /// it reaches at most a day beyond the last fact.
    fn now(&self) -> u64 {
        let day = self.methodology.clock.epoch_blocks;
        self.when.block.min(self.chain.block_number.saturating_add(day))
    }

    fn reserve(&self, lrt: &Lrt, found: &LookThrough) -> Reserve {
        let liabilities = lrt.liabilities();
        let is_fresh = |at: BlockRef| {
            let blocks = self.methodology.clock.epoch_blocks;
            let age = blocks.saturating_mul(self.methodology.lrt.reserve_stale_days);
            self.now() <= at.number.saturating_add(age)
        };
        let counted = lrt.reserves.filter(|reserves| is_fresh(reserves.at));
        let assets = counted.map_or(found.seen, |counted| counted.amount);
        let coverage = liabilities.and_then(|owed| {
            let coverage = mul_div_floor(assets, U256::from(PPT_ONE), owed)?;
            Some(Ppt(u64::try_from(coverage).unwrap_or(u64::MAX)))
        });
        let stale_share = self.stale_share(lrt, found, is_fresh);
        let default = self.methodology.lrt.reserve_default;
        let status = match coverage {
            None => ReserveStatus::Absent,
            Some(_) if counted.is_none() && lrt.reserves.is_some() => ReserveStatus::Stale,
            Some(coverage) if counted.is_some() => {
                if coverage >= Ppt::ONE {
                    ReserveStatus::Proven
                } else if coverage >= default {
                    ReserveStatus::BelowFull
                } else {
                    ReserveStatus::Insufficient
                }
            }
            Some(coverage) if coverage < Ppt::ONE => ReserveStatus::Absent,
            Some(_) if stale_share > Ppt::ZERO => ReserveStatus::Stale,
            Some(_) => ReserveStatus::Proven,
        };
        Reserve { liabilities, assets, coverage, stale_share, status }
    }

    /// Share of the native ether seen whose pod was not proven within the staleness limit.
    fn stale_share(
        &self,
        lrt: &Lrt,
        found: &LookThrough,
        is_fresh: impl Fn(BlockRef) -> bool,
    ) -> Ppt {
        let stale = lrt.stakers.iter().filter_map(|staker| {
            let restaker = self.chain.restakers.get(staker)?;
            let is_stale = !restaker.pod_updated.is_some_and(&is_fresh);
            is_stale.then(|| self.chain.withdrawable_shares(*staker, BEACON_CHAIN_ETH))
        });
        let stale = stale.fold(U256::ZERO, U256::saturating_add);
        share_of(stale, found.seen)
    }

    fn lrt_caps(&self, lrt: &Lrt, reserve: &Reserve) -> Vec<Cap> {
        let of_reserve = match reserve.status {
            ReserveStatus::Proven => None,
            ReserveStatus::BelowFull | ReserveStatus::Insufficient => {
                Some(CapReason::ReserveBelowFull)
            }
            ReserveStatus::Stale | ReserveStatus::Absent => Some(CapReason::ReserveStaleOrAbsent),
        };
        let paused = lrt.is_paused.then_some(CapReason::RedemptionsPaused);
        let reasons = of_reserve.into_iter().chain(paused);
        reasons.filter_map(|reason| Cap::of(reason, self.methodology)).collect()
    }

    /// A single write-down of a quarter, or reserves below 99 % of liabilities for a week.
    fn is_lrt_in_default(&self, lrt: &Lrt) -> bool {
        let parameters = &self.methodology.lrt;
        let days = parameters.reserve_default_days;
        let is_short = lrt.short_since.is_some_and(|since| {
            let blocks = self.methodology.clock.epoch_blocks.saturating_mul(days);
            self.now() >= since.number.saturating_add(blocks)
        });
        lrt.worst_write_down >= parameters.write_down_default || is_short
    }

    fn redemption(&self, lrt: &Lrt, held: &Held, found: &LookThrough) -> Redemption {
        let share = self.methodology.lrt.redeemed_share;
        let part = |value: U256, share: Ppt| {
            mul_div_floor(value, U256::from(share.0), U256::from(PPT_ONE)).unwrap_or_default()
        };
        let rate = lrt.rate.map_or(U256::ZERO, |rate| rate.wei);
        let queued = mul_div_floor(lrt.queue.outstanding(), rate, U256::from(WAD));
        let worth = |(strategy, shares): (&StrategyId, &U256)| {
            self.value(*strategy, *shares).unwrap_or_default()
        };
        let in_queue = held.queued.iter().map(worth).fold(U256::ZERO, U256::saturating_add);
        let mut tokens = U256::ZERO;
        let mut staked = U256::ZERO;
        for position in &found.positions {
            let strategy = match position.place {
                Place::Slashable { strategy, .. }
                | Place::Unallocated { strategy, .. }
                | Place::Undelegated { strategy } => strategy,
                Place::Exiting { .. } | Place::Buffer | Place::Unseen => continue,
            };
            let sum = if strategy == BEACON_CHAIN_ETH { &mut staked } else { &mut tokens };
            *sum = sum.saturating_add(position.value);
        }
        let slot = self.methodology.clock.slot_seconds.values().next().copied().unwrap_or(12);
        Redemption {
            wanted: part(found.nav, share),
            queued: queued.unwrap_or_default(),
            buffer: lrt.buffer.unwrap_or_default(),
            escrowed: in_queue.saturating_add(tokens),
            staked,
            delay_days: lrt.delay.map_or(0, |delay| delay.days(slot)),
            is_paused: lrt.is_paused,
        }
    }

    fn market_over_value(&self, token: LrtId, lrt: &Lrt) -> Option<Ppt> {
        let price = self.chain.market_price(token)?.wei;
        let ratio = mul_div_floor(price, U256::from(PPT_ONE), lrt.rate?.wei)?;
        Some(Ppt(u64::try_from(ratio).unwrap_or(u64::MAX)))
    }

    fn lrt_watch(
        &self,
        reserve: &Reserve,
        liquidity: &Liquidity,
        market_over_value: Option<Ppt>,
    ) -> BTreeSet<WatchTrigger> {
        let discount = self.methodology.lrt.market_discount;
        let redemption = liquidity.redemption;
        let can_pay = redemption.buffer.saturating_add(redemption.escrowed);
        let found = [
            (reserve.status == ReserveStatus::Stale, WatchTrigger::ReserveStale),
            (
                market_over_value.is_some_and(|ratio| ratio < discount),
                WatchTrigger::MarketBelowValue,
            ),
            (redemption.queued > can_pay, WatchTrigger::QueueAboveCapacity),
        ];
        found.into_iter().filter(|(is_so, _)| *is_so).map(|(_, trigger)| trigger).collect()
    }

    fn years_since(&self, block: BlockRef) -> Atto {
        let epochs = self.when.epoch.saturating_sub(block.epoch());
        Atto::from_whole(epochs).saturating_div(self.methodology.clock.days_per_year)
    }
}

/// What a fresh proof of reserve misses is lost already, with certainty.
fn shortfall_block(token: LrtId, reserve: &Reserve) -> Option<LossBlock> {
    let shortfall = reserve.shortfall();
    (shortfall > Ppt::ZERO).then(|| LossBlock {
        id: format!("{}|{token}|shortfall", LossClass::C8),
        class: LossClass::C8,
        hazard: Ppt::ONE,
        severity: shortfall,
        shape: LossShape::certain(shortfall),
        exposure: Ppt::ONE,
        expected_loss: crate::grade::ExpectedLossPpt::ZERO,
        provenance: Provenance::Log,
        rate: None,
        group: None,
        own_cv2: Atto::ZERO,
        credibility: Ppt::ONE,
    })
}

fn ppt_of_wad(wad: U256) -> Ppt {
    let ppt = wad.checked_div(U256::from(crate::state::operator::WAD_PER_PPT));
    Ppt(ppt.and_then(|ppt| u64::try_from(ppt).ok()).unwrap_or(PPT_ONE).min(PPT_ONE))
}

/// `part / whole`, rounded to the nearest ppt by largest remainder; zero of nothing.
fn share_of(part: U256, whole: U256) -> Ppt {
    let rest = whole.saturating_sub(part);
    hamilton(PPT_ONE, &[part, rest]).first().copied().map_or(Ppt::ZERO, Ppt)
}
