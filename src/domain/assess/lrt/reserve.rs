//! What is there for what is owed: reserves, ceilings, default, redemption.

use std::collections::BTreeSet;

use alloy_primitives::U256;

use super::{Assessor, Held, share_of};
use crate::attestation::{Claim, FIRST_LOSS_RESERVE, Topic};
use crate::block::BlockRef;
use crate::cap::{Cap, CapReason};
use crate::decimal::{PPT_ONE, Ppt};
use crate::grade::ExpectedLossPpt;
use crate::id::{LrtId, StrategyId};
use crate::loss::CELLS;
use crate::loss_block::LossProfile;
use crate::lrt::{FirstLoss, Liquidity, LookThrough, Place, Redemption, Reserve, ReserveStatus};
use crate::mitigation::VerificationLevel;
use crate::state::experience::BEACON_CHAIN_ETH;
use crate::state::lrt::Lrt;
use crate::state::operator::WAD;
use crate::state::staker::mul_div_floor;
use crate::surveillance::WatchTrigger;
use crate::tail::Run;

impl Assessor<'_> {
    /// The block that ages are counted to. A look-ahead does not age what is proven every few days:
    /// it reaches at most a day beyond the last fact.
    pub(super) fn now(&self) -> u64 {
        let day = self.methodology.clock.epoch_blocks;
        self.when.block.min(self.chain.block_number.saturating_add(day))
    }

    pub(super) fn reserve(&self, lrt: &Lrt, found: &LookThrough) -> Reserve {
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

    pub(super) fn lrt_caps(&self, lrt: &Lrt, reserve: &Reserve) -> Vec<Cap> {
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
    pub(super) fn is_lrt_in_default(&self, lrt: &Lrt) -> bool {
        let parameters = &self.methodology.lrt;
        let days = parameters.reserve_default_days;
        let is_short = lrt.short_since.is_some_and(|since| {
            let blocks = self.methodology.clock.epoch_blocks.saturating_mul(days);
            self.now() >= since.number.saturating_add(blocks)
        });
        lrt.worst_write_down >= parameters.write_down_default || is_short
    }

    pub(super) fn redemption(&self, lrt: &Lrt, held: &Held, found: &LookThrough) -> Redemption {
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

    pub(super) fn market_over_value(&self, token: LrtId, lrt: &Lrt) -> Option<Ppt> {
        let price = self.chain.market_price(token)?.wei;
        let ratio = mul_div_floor(price, U256::from(PPT_ONE), lrt.rate?.wei)?;
        Some(Ppt(u64::try_from(ratio).unwrap_or(u64::MAX)))
    }

    pub(super) fn lrt_watch(
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

    /// What bears the first loss of a token, and the profile of what it leaves to the holders. Only
    /// a reserve that a third party vouches for counts, and only if it pays by itself; of several
    /// claims the least counts, whoever makes it.
    pub(super) fn after_first_loss(
        &self,
        token: LrtId,
        found: &LookThrough,
        gross: LossProfile,
        run: Run,
    ) -> (LossProfile, Option<FirstLoss>) {
        let topic = Topic::Token(token, FIRST_LOSS_RESERVE);
        let claims: Vec<_> = self.chain.registry.current(topic, self.when.time).collect();
        let amount = |claim: &Claim| match claim {
            Claim::FirstLossReserve { wei, is_automatic: true, .. } => *wei,
            _ => U256::ZERO,
        };
        let level = claims.iter().filter(|claim| claim.is_verified).map(|one| one.level).min();
        let wei = claims.iter().map(|current| amount(current.claim)).min();
        let in_bp = |wei: U256| {
            let bp = mul_div_floor(wei, U256::from(CELLS), found.nav).unwrap_or_default();
            u16::try_from(bp).unwrap_or(CELLS).min(CELLS)
        };
        let attested = level.zip(wei);
        let Some(bp) = self.tweak.first_loss(attested.map(|(_, wei)| in_bp(wei))) else {
            return (gross, None);
        };
        let (level, wei) = attested.unwrap_or((VerificationLevel::SignedThirdParty, U256::ZERO));
        let before = gross.expected_loss();
        let net = if bp == 0 { gross.clone() } else { self.after_reserve(gross.clone(), run, bp) };
        let borne = ExpectedLossPpt(before.0.saturating_sub(net.expected_loss().0));
        (net, Some(FirstLoss { wei, bp, level, borne, gross }))
    }
}
