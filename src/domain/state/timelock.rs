//! Calls that timelocks hold back, and whom they hold on watch.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};

use super::ChainState;
use crate::block::ChainId;
use crate::event::{Event, Fact, Governed, ScheduledCall};
use crate::id::{LrtId, OperatorSetId, RatedEntity};

/// Calls of one timelock that are kept. A stranger's timelock schedules as many as it likes; what it
/// has a say in is on watch by the first of them.
pub const CALLS_MAX: usize = 100;

/// `upgradeTo(address)` and `upgradeToAndCall(address,bytes)` of a proxy or a beacon, `upgrade` and
/// `upgradeAndCall` of a `ProxyAdmin`.
const UPGRADES: [[u8; 4]; 4] = [
    [0x36, 0x59, 0xcf, 0xe6],
    [0x4f, 0x1e, 0xf2, 0x86],
    [0x99, 0xa8, 0x8e, 0xc4],
    [0x96, 0x23, 0x60, 0x9d],
];

/// What timelocks hold back, of one chain.
#[derive(Debug, Clone, Default)]
pub struct Timelocks {
    pending: BTreeMap<Address, BTreeMap<(B256, U256), PendingCall>>,
    /// What the last event that ended calls ended.
    over: Vec<PendingCall>,
}

/// A call that has neither run nor been cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCall {
    /// What is called.
    pub call: ScheduledCall,
    /// From when on it can run, seconds since the Unix epoch.
    pub executable_at: u64,
}

impl Timelocks {
    pub(super) fn apply(&mut self, fact: &Fact) {
        match &fact.event {
            Event::TimelockCallScheduled(call) => {
                let Some(executable_at) = call.executable_at(fact.block.timestamp) else { return };
                let calls = self.pending.entry(call.timelock).or_default();
                let key = (call.operation, call.index);
                if calls.len() < CALLS_MAX || calls.contains_key(&key) {
                    let call = ScheduledCall::clone(call);
                    calls.insert(key, PendingCall { call, executable_at });
                }
            }
            Event::TimelockCallExecuted { timelock, operation, index, .. } => {
                self.over = self.forget(*timelock, |key| *key == (*operation, *index));
            }
            Event::TimelockOperationCancelled { timelock, operation, .. } => {
                self.over = self.forget(*timelock, |(of, _)| of == operation);
            }
            _ => {}
        }
    }

    fn forget(
        &mut self,
        timelock: Address,
        mut is_over: impl FnMut(&(B256, U256)) -> bool,
    ) -> Vec<PendingCall> {
        let Some(calls) = self.pending.get_mut(&timelock) else { return Vec::new() };
        let over = calls.extract_if(.., |key, _| is_over(key)).map(|(_, call)| call).collect();
        if calls.is_empty() {
            self.pending.remove(&timelock);
        }
        over
    }

    /// The calls that are pending, by timelock, operation and place.
    pub fn pending(&self) -> impl Iterator<Item = &PendingCall> {
        self.pending.values().flat_map(BTreeMap::values)
    }
}

impl ScheduledCall {
    /// The token whose code it replaces.
    fn upgraded_token(&self) -> Option<LrtId> {
        let is_upgrade = self.selector.is_some_and(|selector| UPGRADES.contains(&selector));
        match (self.of, self.about_of) {
            // A stranger's timelock schedules what it cannot do.
            (Governed::Named, _) => None,
            (_, Some(Governed::Token(token))) if is_upgrade => Some(token),
            _ => None,
        }
    }
}

impl ChainState {
    /// The sets, and the tokens, that the event of a timelock's call concerns, right after it was
    /// folded.
    pub(super) fn under_call(
        &self,
        event: &Event,
    ) -> Option<(BTreeSet<OperatorSetId>, Vec<LrtId>)> {
        let calls: Vec<&ScheduledCall> = match event {
            Event::TimelockCallScheduled(call) => vec![call],
            Event::TimelockCallExecuted { .. } | Event::TimelockOperationCancelled { .. } => {
                self.timelocks.over.iter().map(|pending| &pending.call).collect()
            }
            _ => return None,
        };
        Some(self.under_calls(&calls))
    }

    /// Of a timelock that is listed, the sets under the contract that its call is about. Whoever is
    /// named for a set of his own schedules what he likes of anybody's contract: his call concerns
    /// the sets that he has a say in himself, if it is about a contract with a say in them too, or
    /// about the platform's, because to slash or to name another slasher is a call of the platform.
    fn under_calls(&self, calls: &[&ScheduledCall]) -> (BTreeSet<OperatorSetId>, Vec<LrtId>) {
        let block = self.block_number;
        let (mut under, mut found) = (BTreeMap::new(), BTreeSet::new());
        for call in calls {
            let is_named = call.of == Governed::Named;
            let contract = if is_named { call.timelock } else { call.about };
            let sets: &mut Vec<OperatorSetId> =
                under.entry(contract).or_insert_with(|| self.sets_under(contract, block).collect());
            let is_any = !is_named || call.about_of == Some(Governed::Platform);
            let concerns = |set: &&OperatorSetId| is_any || self.has_say(call.about, **set, block);
            found.extend(sets.iter().filter(concerns).copied());
        }
        let tokens = calls.iter().filter_map(|call| call.upgraded_token());
        (found, tokens.filter(|token| self.lrts.contains_key(token)).collect())
    }

    /// Sets, their AVSs and the operators with allocations to them.
    pub fn dependents(
        &self,
        chain_id: ChainId,
        sets: &BTreeSet<OperatorSetId>,
    ) -> BTreeSet<RatedEntity> {
        let mut found = BTreeSet::new();
        for set in sets {
            found.insert(RatedEntity::avs(chain_id, set.avs));
            found.insert(RatedEntity::operator_set(chain_id, *set));
        }
        let serving = self.allocations.keys().filter(|(_, set, _)| sets.contains(set));
        found.extend(serving.map(|(id, _, _)| RatedEntity::operator(chain_id, *id)));
        found
    }

    /// Whom a pending call holds on watch that cannot run before a time, seconds since the Unix
    /// epoch.
    pub fn held_by_timelocks(&self, chain_id: ChainId, time: u64) -> BTreeSet<RatedEntity> {
        let waiting = self.timelocks.pending().filter(|pending| pending.executable_at >= time);
        let calls: Vec<&ScheduledCall> = waiting.map(|pending| &pending.call).collect();
        if calls.is_empty() {
            return BTreeSet::new();
        }
        let (sets, tokens) = self.under_calls(&calls);
        let mut held = self.dependents(chain_id, &sets);
        held.extend(self.lrts_with(chain_id, &held));
        held.extend(tokens.into_iter().map(|token| RatedEntity::lrt(chain_id, token)));
        held
    }
}
