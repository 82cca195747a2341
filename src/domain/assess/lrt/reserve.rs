//! What is there for what is owed: reserves, ceilings, default, redemption.

use std::collections::BTreeSet;

use alloy_primitives::U256;

use super::{Assessor, Held, share_of};
use crate::attestation::{Claim, FIRST_LOSS_RESERVE, NAV_VIEW, RESERVE_PROOF, Topic};
use crate::block::{BlockRef, DAY_SECONDS};
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
use crate::state::registry::Current;
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

    /// What the log proves, and what was proven beside it.
    pub(super) fn reserve(&self, token: LrtId, lrt: &Lrt, found: &LookThrough) -> Reserve {
        self.with_proofs(token, self.reserve_by_log(token, lrt, found))
    }

    fn reserve_by_log(&self, token: LrtId, lrt: &Lrt, found: &LookThrough) -> Reserve {
        let liabilities = lrt.liabilities().or_else(|| self.viewed(token).map(|(_, most)| most));
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
        let status = match coverage {
            None if self.has_lapsed(token, NAV_VIEW) => ReserveStatus::Stale,
            None => ReserveStatus::Absent,
            Some(_) if counted.is_none() && lrt.reserves.is_some() => ReserveStatus::Stale,
            Some(coverage) if counted.is_some() => self.status_of(coverage),
            Some(coverage) if coverage < Ppt::ONE => ReserveStatus::Absent,
            Some(_) if stale_share > Ppt::ZERO => ReserveStatus::Stale,
            Some(_) => ReserveStatus::Proven,
        };
        Reserve { liabilities, assets, coverage, stale_share, status, proof: None }
    }

    /// What a fresh proof of so much says.
    fn status_of(&self, coverage: Ppt) -> ReserveStatus {
        if coverage >= Ppt::ONE {
            ReserveStatus::Proven
        } else if coverage >= self.methodology.lrt.reserve_default {
            ReserveStatus::BelowFull
        } else {
            ReserveStatus::Insufficient
        }
    }

    fn has_lapsed(&self, token: LrtId, kind: u8) -> bool {
        self.chain.registry.has_lapsed(Topic::Token(token, kind), self.when.time)
    }

    /// All that holders own, as third parties saw it: the least that one of them says, and the
    /// most that anybody does.
    fn viewed(&self, token: LrtId) -> Option<(U256, U256)> {
        let claims = self.about_token(token, NAV_VIEW);
        let seen = |current: &Current<'_>| match current.claim {
            Claim::NavView { wei, .. } => Some(*wei),
            _ => None,
        };
        let least = claims.iter().filter(|current| current.is_verified).filter_map(seen).min()?;
        Some((least, claims.iter().filter_map(seen).max()?))
    }

    /// All that holders own, as the protocol's events state it; where none does, as third parties
    /// saw it, the least of what is said.
    pub(super) fn stated_assets(&self, token: LrtId, lrt: &Lrt) -> Option<U256> {
        let by_log = lrt.stated_assets.map(|stated| stated.amount);
        by_log.or_else(|| self.viewed(token).map(|(least, _)| least))
    }

    /// The worst of the fresh proofs, the log's among them. One that no third party vouches for
    /// counts where it misses something; one that is no longer fresh is worth no more than the
    /// log's own.
    fn with_proofs(&self, token: LrtId, by_log: Reserve) -> Reserve {
        let claims = self.about_token(token, RESERVE_PROOF);
        let days = self.methodology.lrt.reserve_stale_days;
        let age = days.saturating_mul(DAY_SECONDS);
        let is_fresh = |proven_at: u64| self.now_time() <= proven_at.saturating_add(age);
        let mut worst: Option<Reserve> = None;
        let mut is_vouched = false;
        for current in &claims {
            let Claim::ReserveProof { assets, liabilities, proven_at, .. } = current.claim else {
                continue;
            };
            let coverage = mul_div_floor(*assets, U256::from(PPT_ONE), *liabilities);
            let coverage = coverage.map(|share| Ppt(u64::try_from(share).unwrap_or(u64::MAX)));
            let Some(coverage) = coverage.filter(|_| is_fresh(*proven_at)) else { continue };
            is_vouched |= current.is_verified;
            // Whoever is concerned only claims.
            let level =
                if current.is_verified { current.level } else { VerificationLevel::SelfClaim };
            if worst.is_none_or(|worst| worst.coverage.is_none_or(|least| coverage < least)) {
                worst = Some(Reserve {
                    liabilities: Some(*liabilities),
                    assets: *assets,
                    coverage: Some(coverage),
                    status: self.status_of(coverage),
                    proof: Some(level),
                    ..by_log
                });
            }
        }
        let is_open = matches!(by_log.status, ReserveStatus::Stale | ReserveStatus::Absent);
        let counts = |proof: &Reserve| {
            let misses = proof.coverage < Some(Ppt::ONE);
            (is_open && (is_vouched || misses)) || (!is_open && proof.coverage < by_log.coverage)
        };
        let is_old = claims.iter().any(|current| current.is_verified)
            || self.has_lapsed(token, RESERVE_PROOF);
        match worst.filter(counts) {
            Some(proof) => proof,
            None if is_old && is_open => Reserve { status: ReserveStatus::Stale, ..by_log },
            None => by_log,
        }
    }

    /// The time to which ages are counted, see [`Self::now`].
    fn now_time(&self) -> u64 {
        let ahead = self.when.block.saturating_sub(self.now());
        self.when.time.saturating_sub(ahead.saturating_mul(self.slot_seconds()))
    }

    fn slot_seconds(&self) -> u64 {
        self.methodology.clock.slot_seconds.values().next().copied().unwrap_or(12)
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
        let slot = self.slot_seconds();
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
