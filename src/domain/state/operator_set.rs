//! Operator sets: who is in, what can be slashed, who may slash, who gets it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;

use crate::block::BlockRef;
use crate::id::{OperatorId, StrategyId};

/// Blocks after deregistration through which an operator can still be slashed:
/// `DEALLOCATION_DELAY` of `AllocationManagerStorage.sol`, 14 days.
pub const DEALLOCATION_DELAY_BLOCKS: u64 = 100_800;

/// What is known of an operator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSet {
    /// The block that first named it.
    pub first_seen: BlockRef,
    /// Whether its creation is in the log.
    pub is_created: bool,
    /// Who may slash.
    pub slasher: Slasher,
    /// Who receives what is slashed, for ever; `None`: burnt.
    pub redistribution_recipient: Option<Address>,
    /// Strategies that can be slashed.
    pub strategies: BTreeSet<StrategyId>,
    /// Operators that are or were in it.
    pub members: BTreeMap<OperatorId, Membership>,
}

/// An operator's standing in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Registered.
    Member,
    /// Deregistered, and slashable through this block.
    LeftSlashableUntil(u64),
}

/// Who may slash, and who will from a later block on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slasher {
    current: Option<Address>,
    pending: Option<(Address, u64)>,
}

impl Slasher {
    /// Who may slash at a block, if the log says.
    pub fn at(&self, block: u64) -> Option<Address> {
        match self.pending {
            Some((slasher, effect_block)) if effect_block <= block => Some(slasher),
            _ => self.current,
        }
    }

    /// A slasher announced and not yet in power: who, and from which block.
    pub fn pending_at(&self, block: u64) -> Option<(Address, u64)> {
        self.pending.filter(|(_, effect_block)| *effect_block > block)
    }

    pub(super) fn update(&mut self, at: u64, slasher: Address, effect_block: u64) {
        *self = Self { current: self.at(at), pending: Some((slasher, effect_block)) };
    }
}

impl OperatorSet {
    pub(super) const fn seen_at(block: BlockRef) -> Self {
        Self {
            first_seen: block,
            is_created: false,
            slasher: Slasher { current: None, pending: None },
            redistribution_recipient: None,
            strategies: BTreeSet::new(),
            members: BTreeMap::new(),
        }
    }

    pub(super) fn add_member(&mut self, operator: OperatorId) {
        self.members.insert(operator, Membership::Member);
    }

    pub(super) fn remove_member(&mut self, operator: OperatorId, at: u64) {
        let until = at.saturating_add(DEALLOCATION_DELAY_BLOCKS);
        self.members.insert(operator, Membership::LeftSlashableUntil(until));
    }

    /// Whether the set can slash the operator at a block.
    pub fn can_slash(&self, operator: OperatorId, block: u64) -> bool {
        match self.members.get(&operator) {
            Some(Membership::Member) => true,
            Some(Membership::LeftSlashableUntil(until)) => block <= *until,
            None => false,
        }
    }
}
