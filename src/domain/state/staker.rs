//! Stakers: whom they trust, what they hold, what is on its way out and can still be slashed.

use alloy_primitives::{Address, U256};
use litemap::LiteMap;

use super::ChainState;
use super::experience::BEACON_CHAIN_ETH;
use super::operator::WAD;
use crate::event::{Event, Withdrawal};
use crate::id::{OperatorId, StakerId, StrategyId};

/// Blocks through which a queued withdrawal can still be slashed:
/// `MIN_WITHDRAWAL_DELAY_BLOCKS` of `DelegationManagerStorage.sol`, 14 days, inclusive.
pub const MIN_WITHDRAWAL_DELAY_BLOCKS: u64 = 100_800;

/// What is known of a staker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staker {
    /// The operator it delegates to.
    pub delegated_to: Option<OperatorId>,
    /// Shares the operator's shares grew by on its account, net; slashes are not in here.
    pub delegated_shares: LiteMap<(OperatorId, StrategyId), U256>,
    /// Deposit scaling factor, 1e-18, where it is not one.
    pub deposit_scaling_factor: LiteMap<StrategyId, U256>,
    /// What beacon chain penalties have left, 1e-18, where it is not one.
    pub beacon_chain_slashing_factor: Option<u64>,
    /// Its EigenPod.
    pub pod: Option<Address>,
}

impl Staker {
    pub(super) fn increase(&mut self, operator: OperatorId, strategy: StrategyId, shares: U256) {
        let held = self.delegated_shares.entry((operator, strategy)).or_default();
        *held = held.saturating_add(shares);
    }

    pub(super) fn decrease(&mut self, operator: OperatorId, strategy: StrategyId, shares: U256) {
        let held = self.delegated_shares.entry((operator, strategy)).or_default();
        *held = held.saturating_sub(shares);
        if held.is_zero() {
            self.delegated_shares.remove(&(operator, strategy));
        }
    }
}

/// A withdrawal in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedWithdrawal {
    /// Who withdraws.
    pub staker: StakerId,
    /// The operator it was delegated to.
    pub delegated_to: OperatorId,
    /// Last block at which it can be slashed; `None`: queued before slashing existed.
    pub slashable_until: Option<u64>,
    /// Scaled shares a strategy.
    pub scaled_shares: Vec<(StrategyId, U256)>,
}

impl QueuedWithdrawal {
    pub(super) fn new(withdrawal: &Withdrawal, event: &Event) -> Self {
        let start = u64::from(withdrawal.start_block);
        Self {
            staker: withdrawal.staker,
            delegated_to: withdrawal.delegated_to,
            slashable_until: matches!(event, Event::SlashingWithdrawalQueued { .. })
                .then(|| start.saturating_add(MIN_WITHDRAWAL_DELAY_BLOCKS)),
            scaled_shares: withdrawal
                .strategies
                .iter()
                .copied()
                .zip(withdrawal.scaled_shares.iter().copied())
                .collect(),
        }
    }
}

impl ChainState {
    /// What a staker's operators count as its shares.
    pub(super) fn delegated_shares(&self, staker: StakerId) -> Vec<(OperatorId, StrategyId, U256)> {
        let found = self.stakers.get(&staker);
        let shares = found.into_iter().flat_map(|staker| &staker.delegated_shares);
        shares.map(|((operator, strategy), shares)| (*operator, *strategy, *shares)).collect()
    }

    /// The operator a staker delegates to.
    pub fn operator_of(&self, staker: StakerId) -> Option<OperatorId> {
        self.stakers.get(&staker).and_then(|found| found.delegated_to)
    }

    pub(super) fn scaling_factor(&self, staker: StakerId, strategy: StrategyId) -> U256 {
        let found = self.stakers.get(&staker);
        let factor = found.and_then(|found| found.deposit_scaling_factor.get(&strategy));
        factor.copied().unwrap_or(U256::from(WAD))
    }

    /// What slashing has left of a staker's shares with an operator, 1e-18: the operator's maximum
    /// magnitude, times what the beacon chain has left of its pod
    /// (`DelegationManager._getSlashingFactor`).
    pub(super) fn slashing_factor(
        &self,
        staker: StakerId,
        operator: Option<OperatorId>,
        strategy: StrategyId,
    ) -> U256 {
        let known = operator.and_then(|operator| self.operators.get(&operator));
        let max = known.map_or(WAD, |known| known.max_magnitude(strategy));
        self.with_beacon_factor(max, staker, strategy)
    }

    /// A maximum magnitude, times what the beacon chain has left by now of the staker's pod.
    fn with_beacon_factor(&self, max: u64, staker: StakerId, strategy: StrategyId) -> U256 {
        let max = U256::from(max);
        if strategy != BEACON_CHAIN_ETH {
            return max;
        }
        let beacon = self.stakers.get(&staker).and_then(|found| found.beacon_chain_slashing_factor);
        mul_wad_floor(max, U256::from(beacon.unwrap_or(WAD))).unwrap_or(max)
    }

    /// Shares a restaker could withdraw now (`SlashingLib.calcWithdrawable`).
    pub fn withdrawable_shares(&self, staker: StakerId, strategy: StrategyId) -> U256 {
        let restaker = self.restakers.get(&staker);
        let deposited = restaker.and_then(|found| found.deposit_shares.get(&strategy));
        let factor = self.slashing_factor(staker, self.operator_of(staker), strategy);
        deposited
            .and_then(|shares| mul_wad_floor(*shares, self.scaling_factor(staker, strategy)))
            .and_then(|shares| mul_wad_floor(shares, factor))
            .unwrap_or_default()
    }

    /// Shares a queued withdrawal would pay now, a strategy each: by the operator's magnitude at
    /// its last slashable block, once that is past, and by what the beacon chain has left of the
    /// pod to the end (`DelegationManager._completeQueuedWithdrawal`). What was queued before
    /// slashing existed is paid as it was queued.
    pub fn queued_shares(&self, queued: &QueuedWithdrawal) -> Vec<(StrategyId, U256)> {
        let shares = |(strategy, scaled): &(StrategyId, U256)| {
            let Some(until) = queued.slashable_until else { return (*strategy, *scaled) };
            let known = self.operators.get(&queued.delegated_to);
            let max = known.map_or(WAD, |known| known.max_magnitude_at(*strategy, until));
            let factor = self.with_beacon_factor(max, queued.staker, *strategy);
            (*strategy, mul_wad_floor(*scaled, factor).unwrap_or_default())
        };
        queued.scaled_shares.iter().map(shares).collect()
    }
}

/// `x · y / 1e18`, rounded down: `SlashingLib.mulWad`.
pub fn mul_wad_floor(x: U256, y: U256) -> Option<U256> {
    x.checked_mul(y)?.checked_div(U256::from(WAD))
}

/// `x · y / 1e18`, rounded up: `SlashingLib.mulWadRoundUp`, against whoever is slashed.
pub fn mul_wad_ceil(x: U256, y: U256) -> Option<U256> {
    Some(x.checked_mul(y)?.div_ceil(U256::from(WAD)))
}

/// `x · y / d`, rounded down, through 512 bits: `OpenZeppelin Math.mulDiv`.
pub fn mul_div_floor(x: U256, y: U256, d: U256) -> Option<U256> {
    if d.is_zero() {
        return None;
    }
    let product: alloy_primitives::U512 = x.widening_mul(y);
    let quotient = product.checked_div(alloy_primitives::U512::from(d))?;
    alloy_primitives::ruint::UintTryFrom::uint_try_from(quotient).ok()
}

/// Shares of a strategy that a set can slash: all that is withdrawable and all that is queued,
/// times the allocated share of the operator's magnitude (methodology §2.1, V02).
pub fn slashable_shares(withdrawable: U256, queued: U256, current: u64, max: u64) -> Option<U256> {
    mul_div_floor(withdrawable.checked_add(queued)?, U256::from(current), U256::from(max))
}
