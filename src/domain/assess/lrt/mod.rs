//! Liquid restaking tokens: from token to stakers to operators to operator sets, and the blocks of
//! methodology §2.6 on what is found there.
//!
//! What no event tells is taken at its worst: a third of the native ether on one client, and a
//! third of the supply redeemed before a loss is recognised.

pub(in crate::assess) mod blocks;
mod market;
mod reserve;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;

use super::{Assessor, Basis, Opinion, platform};
use crate::attribution::hamilton;
use crate::block::BlockRef;
use crate::decimal::{Atto, PPT_ONE, Ppt};
use crate::id::{LrtId, OperatorId, OperatorSetId, StrategyId};
use crate::loss_block::{LossProfile, Scope, lrt_contract_block};
use crate::lrt::{Liquidity, LookThrough, LrtOpinion, Place, Position};
use crate::state::lrt::{Lrt, Restaker};
use crate::state::operator::WAD;
use crate::state::staker::{mul_div_floor, slashable_shares};
use crate::uncertainty::NotRated;

use blocks::shortfall_block;

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
        let look_through = self.look_through(token, lrt, &held);
        if look_through.nav.is_zero() {
            return Opinion::nothing();
        }
        let refusal =
            look_through.unpriced_at_risk.map(|strategy| NotRated::PriceUnknown { strategy });
        let reserve = self.reserve(token, lrt, &look_through);
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
        let (sale, lending) = (self.sale(token), self.lending(token));
        let run = self.run(lrt, look_through.nav, sale, lending);
        let plain = self.with_factor(&profile, None);
        let redemption = self.redemption(lrt, &held, &look_through);
        let liquidity = Liquidity::of(redemption, sale, &self.methodology.lrt);
        let market_over_value = self.market_over_value(token, lrt);
        let gross = self.with_factor(&profile, Some(run));
        let (profile, first_loss) = self.after_first_loss(token, &look_through, gross, run);
        Opinion {
            profile,
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
                lending,
                first_loss,
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
    fn look_through(&self, token: LrtId, lrt: &Lrt, held: &Held) -> LookThrough {
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
        let stated = self.stated_assets(token, lrt).unwrap_or_default();
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

    fn years_since(&self, block: BlockRef) -> Atto {
        let epochs = self.when.epoch.saturating_sub(block.epoch());
        Atto::from_whole(epochs).saturating_div(self.methodology.clock.days_per_year)
    }
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
