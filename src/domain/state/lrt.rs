//! Liquid restaking tokens: what their protocols state, and what EigenLayer holds for them.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};

use super::ChainState;
use super::experience::BEACON_CHAIN_ETH;
use super::operator::WAD;
use super::staker::{mul_div_floor, mul_wad_floor};
use crate::block::{BlockRef, ChainId, DAY_SECONDS};
use crate::decimal::{PPT_ONE, Ppt};
use crate::event::{Event, Fact, Withdrawal};
use crate::id::{LrtId, RatedEntity, StakerId, StrategyId};

/// What is known of a liquid restaking token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lrt {
    /// The block that first named it.
    pub first_seen: BlockRef,
    /// Contracts that restake for it, those that no longer do among them.
    pub stakers: BTreeSet<StakerId>,
    /// What it is worth, as stated, or as implied by what was minted.
    pub rate: Option<Rate>,
    /// The last rate of each UTC day that had one, in order.
    pub days: Vec<RateDay>,
    /// The largest share that one new rate ever took from the rate before.
    pub worst_write_down: Ppt,
    /// All that the holders own, wei: as last stated, and what came in and left since.
    pub stated_assets: Option<Stated>,
    /// Tokens, 1e-18, as last stated.
    pub supply: Option<Stated>,
    /// Wei that the protocol's oracle counted.
    pub reserves: Option<Stated>,
    /// Since when the reserves counted are below 99 % of tokens times rate.
    pub short_since: Option<BlockRef>,
    /// Tokens that wait to be redeemed.
    pub queue: RedemptionQueue,
    /// Wei of native ether set aside to redeem at once, as far as the log tells.
    pub buffer: Option<U256>,
    /// How long a redemption waits at least.
    pub delay: Option<RedemptionDelay>,
    /// How much one report may move the rate, 1e-18.
    pub nav_guard: Option<U256>,
    /// Whether redemptions are stopped.
    pub is_paused: bool,
}

/// What a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Wei of ether a whole token.
    pub wei: U256,
    /// Where it was last stated or confirmed.
    pub at: BlockRef,
    /// Whether the protocol said so; else it follows from what was minted.
    pub is_stated: bool,
}

/// A day's last rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateDay {
    /// Days since 1970, UTC.
    pub day: u64,
    /// Wei of ether a whole token.
    pub wei: U256,
}

/// An amount and when it was stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// The amount.
    pub amount: U256,
    /// When.
    pub at: BlockRef,
}

/// How long a redemption waits at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedemptionDelay {
    /// Seconds.
    Seconds(U256),
    /// Blocks.
    Blocks(U256),
}

/// Tokens that wait to be redeemed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedemptionQueue {
    /// Tokens by request, where requests have numbers.
    pub by_request: BTreeMap<U256, U256>,
    /// Tokens of requests without one.
    pub unnumbered: U256,
    /// Whether something was settled that no event in the log had asked for.
    pub is_partial: bool,
}

impl RedemptionQueue {
    /// All tokens that wait.
    pub fn outstanding(&self) -> U256 {
        self.by_request.values().fold(self.unnumbered, |sum, one| sum.saturating_add(*one))
    }

    fn request(&mut self, request: Option<U256>, shares: U256) {
        match request {
            Some(request) => {
                self.by_request.insert(request, shares);
            }
            None => self.unnumbered = self.unnumbered.saturating_add(shares),
        }
    }

    fn settle(&mut self, request: Option<U256>, shares: Option<U256>) {
        match request {
            Some(request) => self.is_partial |= self.by_request.remove(&request).is_none(),
            None => {
                let shares = shares.unwrap_or_default();
                self.is_partial |= shares > self.unnumbered;
                self.unnumbered = self.unnumbered.saturating_sub(shares);
            }
        }
    }
}

/// What EigenLayer holds in the name of a contract that restakes for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restaker {
    /// The token.
    pub token: LrtId,
    /// Deposit shares: what it would get back if nothing was ever slashed.
    pub deposit_shares: BTreeMap<StrategyId, U256>,
    /// Roots of its withdrawals in the queue.
    pub withdrawals: BTreeSet<B256>,
    /// When the balance of its pod was last proven.
    pub pod_updated: Option<BlockRef>,
    /// Whether it held shares before the log named it, which are inferred.
    pub is_inferred: bool,
}

/// A recorded price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Wei of ether for 1e18.
    pub wei: U256,
    /// When.
    pub at: BlockRef,
}

impl Lrt {
    fn seen_at(block: BlockRef) -> Self {
        Self {
            first_seen: block,
            stakers: BTreeSet::new(),
            rate: None,
            days: Vec::new(),
            worst_write_down: Ppt::ZERO,
            stated_assets: None,
            supply: None,
            reserves: None,
            short_since: None,
            queue: RedemptionQueue::default(),
            buffer: None,
            delay: None,
            nav_guard: None,
            is_paused: false,
        }
    }

    /// Days on which the rate ended below where the last day with a rate had left it.
    pub fn loss_days(&self) -> u64 {
        let pairs = self.days.iter().zip(self.days.iter().skip(1));
        let fell = pairs.filter(|(before, after)| after.wei < before.wei).count();
        u64::try_from(fell).unwrap_or(u64::MAX)
    }

    /// What holders are owed, wei: tokens times rate, or what the protocol states.
    pub fn liabilities(&self) -> Option<U256> {
        let supply = self.supply.filter(|_| self.reserves.is_some());
        supply
            .and_then(|supply| mul_div_floor(supply.amount, self.rate?.wei, U256::from(WAD)))
            .or_else(|| self.stated_assets.map(|stated| stated.amount))
    }

    fn note_shortfall(&mut self, at: BlockRef) {
        let (Some(reserves), Some(owed)) = (self.reserves, self.liabilities()) else { return };
        let hundredth = owed.checked_div(U256::from(100)).unwrap_or_default();
        self.short_since = if reserves.amount < owed.saturating_sub(hundredth) {
            self.short_since.or(Some(at))
        } else {
            None
        };
    }

    fn set_rate(&mut self, wei: U256, at: BlockRef, is_stated: bool) {
        if let Some(before) = self.rate.filter(|before| before.wei > wei) {
            let lost = before.wei.saturating_sub(wei);
            let share = mul_div_floor(lost, U256::from(PPT_ONE), before.wei).unwrap_or_default();
            let share = Ppt(u64::try_from(share).unwrap_or(PPT_ONE));
            self.worst_write_down = self.worst_write_down.max(share);
        }
        self.rate = Some(Rate { wei, at, is_stated });
        let day = at.timestamp.checked_div(DAY_SECONDS).unwrap_or(0);
        match self.days.last_mut() {
            Some(last) if last.day == day => last.wei = wei,
            _ => self.days.push(RateDay { day, wei }),
        }
    }

    /// A mint of `shares` for `assets` tells the rate within what rounding down the shares hides:
    /// above `assets / (shares + 1)`, at most `assets / shares`. A rate in there is confirmed.
    fn imply_rate(&mut self, assets: U256, shares: U256, at: BlockRef) {
        if self.rate.is_some_and(|rate| rate.is_stated) {
            return;
        }
        let wad = U256::from(WAD);
        let Some(most) = mul_div_floor(assets, wad, shares) else { return };
        let least = mul_div_floor(assets, wad, shares.saturating_add(U256::ONE));
        let known = self.rate.map(|rate| rate.wei);
        let is_confirmed =
            known.is_some_and(|known| known <= most && least.is_some_and(|least| known >= least));
        self.set_rate(known.filter(|_| is_confirmed).unwrap_or(most), at, false);
    }

    fn add_stated(&mut self, assets: U256) {
        if let Some(stated) = &mut self.stated_assets {
            stated.amount = stated.amount.saturating_add(assets);
        }
    }

    fn take_stated(&mut self, assets: U256) {
        if let Some(stated) = &mut self.stated_assets {
            stated.amount = stated.amount.saturating_sub(assets);
        }
    }

    fn take_buffer(&mut self, amount: U256) {
        if let Some(buffer) = &mut self.buffer {
            *buffer = buffer.saturating_sub(amount);
        }
    }
}

impl ChainState {
    /// Folds what concerns liquid restaking tokens. Called before the rest of the state sees the
    /// fact: a withdrawal that ends is still there.
    pub(super) fn apply_lrt(&mut self, fact: &Fact) {
        let at = fact.block;
        if let Some(token) = fact.event.lrt() {
            self.apply_token(token, at, &fact.event);
            return;
        }
        match &fact.event {
            Event::PriceUpdated { asset, price } => {
                if price.is_zero() {
                    self.prices.remove(asset);
                } else {
                    self.prices.insert(*asset, Price { wei: *price, at });
                }
            }
            Event::Deposit { staker, strategy, shares } => {
                if let Some(restaker) = self.restakers.get_mut(staker) {
                    let held = restaker.deposit_shares.entry(*strategy).or_default();
                    *held = held.saturating_add(*shares);
                }
            }
            Event::NewTotalShares { pod_owner, new_total_shares } => {
                if let Some(restaker) = self.restakers.get_mut(pod_owner) {
                    let shares = if new_total_shares.is_negative() {
                        U256::ZERO
                    } else {
                        new_total_shares.into_raw()
                    };
                    restaker.deposit_shares.insert(BEACON_CHAIN_ETH, shares);
                    restaker.pod_updated = Some(at);
                }
            }
            Event::SlashingWithdrawalQueued { withdrawal_root, withdrawal, .. } => {
                self.withdrawal_queued(*withdrawal_root, withdrawal, true);
            }
            Event::WithdrawalQueued { withdrawal_root, withdrawal } => {
                self.withdrawal_queued(*withdrawal_root, withdrawal, false);
            }
            Event::SlashingWithdrawalCompleted { withdrawal_root }
            | Event::WithdrawalCompleted { withdrawal_root } => {
                let staker = self.withdrawals.get(withdrawal_root).map(|queued| queued.staker);
                if let Some(restaker) = staker.and_then(|staker| self.restakers.get_mut(&staker)) {
                    restaker.withdrawals.remove(withdrawal_root);
                }
            }
            _ => {}
        }
    }

    fn apply_token(&mut self, token: LrtId, at: BlockRef, event: &Event) {
        let lrt = self.lrts.entry(token).or_insert_with(|| Lrt::seen_at(at));
        let stated = |amount: U256| Some(Stated { amount, at });
        match event {
            Event::LrtStakersAdded { stakers, .. } => {
                lrt.stakers.extend(stakers);
                for staker in stakers {
                    self.add_restaker(token, *staker);
                }
            }
            Event::LrtRateUpdated { rate, total_assets, .. } => {
                lrt.set_rate(*rate, at, true);
                if let Some(total) = total_assets {
                    lrt.stated_assets = stated(*total);
                }
            }
            Event::LrtTotalsUpdated { total_assets, total_shares, .. } => {
                lrt.stated_assets = stated(*total_assets);
                lrt.supply = stated(*total_shares);
                if let Some(rate) = mul_div_floor(*total_assets, U256::from(WAD), *total_shares) {
                    lrt.set_rate(rate, at, true);
                }
            }
            Event::LrtMinted { asset: None, assets, shares, .. } => {
                lrt.add_stated(*assets);
                if let Some(shares) = shares {
                    lrt.imply_rate(*assets, *shares, at);
                }
            }
            Event::LrtBurned { assets, .. } => lrt.take_stated(*assets),
            Event::LrtSupplyRecorded { supply, .. } => lrt.supply = stated(*supply),
            Event::LrtReservesRecorded { assets, .. } => lrt.reserves = stated(*assets),
            Event::LrtWithdrawalRequested { request, shares, .. } => {
                lrt.queue.request(*request, *shares);
            }
            Event::LrtWithdrawalSettled { request, shares, asset, paid, .. } => {
                lrt.queue.settle(*request, *shares);
                if asset.is_none() {
                    lrt.take_buffer(paid.unwrap_or_default());
                }
            }
            Event::LrtBufferIncreased { asset: None, amount, .. } => {
                lrt.buffer = Some(lrt.buffer.unwrap_or_default().saturating_add(*amount));
            }
            Event::LrtBufferDecreased { asset: None, amount, .. } => lrt.take_buffer(*amount),
            Event::LrtWithdrawalDelaySet { delay, is_in_blocks, .. } => {
                let delay = if *is_in_blocks {
                    RedemptionDelay::Blocks(*delay)
                } else {
                    RedemptionDelay::Seconds(*delay)
                };
                lrt.delay = Some(delay);
            }
            Event::LrtNavGuardSet { limit, .. } => lrt.nav_guard = Some(*limit),
            Event::LrtRedemptionsPaused { is_paused, .. } => lrt.is_paused = *is_paused,
            // A staker that is taken out keeps what it holds for the token. Collateral other than
            // ether enters through its strategy, not here.
            _ => {}
        }
        if let Some(lrt) = self.lrts.get_mut(&token) {
            lrt.note_shortfall(at);
        }
    }

    /// A staker that already holds shares, as partial history has it, holds as many deposit shares
    /// as give its delegated shares back.
    fn add_restaker(&mut self, token: LrtId, staker: StakerId) {
        if self.restakers.contains_key(&staker) {
            return;
        }
        let wad = U256::from(WAD);
        let mut deposit_shares = BTreeMap::new();
        for (operator, strategy, shares) in self.delegated_shares(staker) {
            let factor = self.slashing_factor(staker, Some(operator), strategy);
            let scaling = self.scaling_factor(staker, strategy);
            let unscaled = mul_div_floor(shares, wad, factor)
                .and_then(|shares| mul_div_floor(shares, wad, scaling));
            deposit_shares.insert(strategy, unscaled.unwrap_or(shares));
        }
        let restaker = Restaker {
            token,
            is_inferred: !deposit_shares.is_empty(),
            deposit_shares,
            withdrawals: BTreeSet::new(),
            pod_updated: None,
        };
        self.restakers.insert(staker, restaker);
    }

    /// Takes what is queued out of the deposit shares. `EigenPodManager` says so itself of native
    /// ether (`NewTotalShares`); elsewhere the deposit shares follow from the scaled ones, exactly,
    /// since the scaling factor is never below one.
    fn withdrawal_queued(&mut self, root: B256, withdrawal: &Withdrawal, is_scaled: bool) {
        let staker = withdrawal.staker;
        if !self.restakers.contains_key(&staker) {
            return;
        }
        let pairs = withdrawal.strategies.iter().zip(&withdrawal.scaled_shares);
        let taken: Vec<(StrategyId, U256)> = pairs
            .filter(|(strategy, _)| **strategy != BEACON_CHAIN_ETH)
            .map(|(strategy, scaled)| {
                let scaling = self.scaling_factor(staker, *strategy);
                let shares = if is_scaled { unscale(*scaled, scaling) } else { *scaled };
                (*strategy, shares)
            })
            .collect();
        if let Some(restaker) = self.restakers.get_mut(&staker) {
            restaker.withdrawals.insert(root);
            for (strategy, shares) in taken {
                let held = restaker.deposit_shares.entry(strategy).or_default();
                *held = held.saturating_sub(shares);
            }
        }
    }

    /// Tokens with something at one of the operators among these entities of the chain.
    pub fn lrts_with(
        &self,
        chain_id: ChainId,
        entities: &BTreeSet<RatedEntity>,
    ) -> BTreeSet<RatedEntity> {
        let is_there = |staker: &StakerId| {
            let operator = self.operator_of(*staker);
            operator.is_some_and(|one| entities.contains(&RatedEntity::operator(chain_id, one)))
        };
        let there = self.restakers.iter().filter(|(staker, _)| is_there(staker));
        there.map(|(_, restaker)| RatedEntity::lrt(chain_id, restaker.token)).collect()
    }

    /// Wei of ether for 1e18 shares of a strategy: one for native ether by definition, else what a
    /// contract says, else what is attested; `None`: unknown.
    pub fn price(&self, strategy: StrategyId) -> Option<U256> {
        if strategy == BEACON_CHAIN_ETH {
            return Some(U256::from(WAD));
        }
        let recorded = self.prices.get(&strategy.0).map(|price| price.wei);
        recorded.or_else(|| self.registry.prices.get(&strategy).copied())
    }

    /// What a token trades at, if a price is recorded.
    pub fn market_price(&self, token: LrtId) -> Option<Price> {
        self.prices.get(&token.0).copied()
    }
}

/// The number of which `scaling / 1e18`, rounded down, is `scaled`: the least such, and the only
/// one where `scaling` is not below one.
fn unscale(scaled: U256, scaling: U256) -> U256 {
    let wad = U256::from(WAD);
    let floor = mul_div_floor(scaled, wad, scaling).unwrap_or(scaled);
    match mul_wad_floor(floor, scaling) {
        Some(back) if back < scaled => floor.saturating_add(U256::ONE),
        _ => floor,
    }
}

/// Recorded prices by what they price.
pub type Prices = BTreeMap<Address, Price>;
