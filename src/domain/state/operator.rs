//! Operators: shares delegated to them, magnitudes left to them, how fast they may allocate.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use litemap::LiteMap;

use crate::id::StrategyId;
use crate::text::UntrustedText;

/// One whole, 1e-18: `WAD` of `SlashingLib.sol`, and the maximum magnitude before any slash.
pub const WAD: u64 = 1_000_000_000_000_000_000;

/// 1e-18 in one part per trillion.
pub const WAD_PER_PPT: u64 = 1_000_000;

/// What is known of an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    /// Who must approve delegations; unknown until registration is in the log.
    pub delegation_approver: Option<Address>,
    /// Where its metadata is said to be.
    pub metadata_uri: Option<UntrustedText>,
    /// Shares delegated to it.
    pub shares: LiteMap<StrategyId, U256>,
    /// Magnitudes.
    pub magnitudes: LiteMap<StrategyId, Magnitude>,
    /// Maximum magnitudes before they fell, 1e-18, by strategy and block of the fall.
    pub fallen_from: BTreeMap<(StrategyId, u64), u64>,
    /// How many blocks its allocations take to bite.
    pub allocation_delay: AllocationDelay,
    /// Shares taken away that no event in the log had added: the history is partial.
    pub is_share_history_partial: bool,
}

/// Magnitudes of one strategy, 1e-18. `None`: no event in the log says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Magnitude {
    /// What every slash so far has left.
    pub max: Option<u64>,
    /// What is promised to operator sets.
    pub encumbered: Option<u64>,
}

/// An operator's allocation delay, blocks, and one announced for later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AllocationDelay {
    current: Option<u32>,
    pending: Option<(u32, u64)>,
}

impl AllocationDelay {
    /// The delay in force at a block, if the log says.
    pub fn at(&self, block: u64) -> Option<u32> {
        match self.pending {
            Some((delay, effect_block)) if effect_block <= block => Some(delay),
            _ => self.current,
        }
    }

    /// A delay announced and not yet in force: the delay and its first block.
    pub fn pending_at(&self, block: u64) -> Option<(u32, u64)> {
        self.pending.filter(|(_, effect_block)| *effect_block > block)
    }
}

impl Operator {
    pub(super) fn increase_shares(&mut self, strategy: StrategyId, shares: U256) {
        let held = self.shares.entry(strategy).or_default();
        *held = held.saturating_add(shares);
    }

    pub(super) fn decrease_shares(&mut self, strategy: StrategyId, shares: U256) {
        let held = self.shares.entry(strategy).or_default();
        self.is_share_history_partial |= shares > *held;
        *held = held.saturating_sub(shares);
    }

    pub(super) fn magnitude(&mut self, strategy: StrategyId) -> &mut Magnitude {
        self.magnitudes.entry(strategy).or_default()
    }

    pub(super) fn set_allocation_delay(&mut self, at: u64, delay: u32, effect_block: u32) {
        self.allocation_delay = AllocationDelay {
            current: self.allocation_delay.at(at),
            pending: Some((delay, u64::from(effect_block))),
        };
    }

    /// The maximum magnitude of a strategy: `WAD` until a slash is in the log
    /// (`AllocationManager._maxMagnitudeHistory` starts there).
    pub fn max_magnitude(&self, strategy: StrategyId) -> u64 {
        self.magnitudes.get(&strategy).and_then(|magnitude| magnitude.max).unwrap_or(WAD)
    }

    /// The same as it was at the end of a block: what it first fell from after that
    /// (`AllocationManager.getMaxMagnitudesAtBlock`).
    pub fn max_magnitude_at(&self, strategy: StrategyId, block: u64) -> u64 {
        let after = (strategy, block.saturating_add(1))..=(strategy, u64::MAX);
        let fall = self.fallen_from.range(after).next();
        fall.map_or_else(|| self.max_magnitude(strategy), |(_, before)| *before)
    }
}
