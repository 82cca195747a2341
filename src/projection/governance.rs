//! Rows of who can change the contracts that hold slashing power.

use assay_domain::event::{Event, Governed};
use assay_domain::state::ChainState;
use assay_domain::{Fact, RatedEntity};

use super::{ReadModel, row_id};

pub(super) const COLUMNS: &str = "position, chain_id, block_number, block_time, tx_hash, contract, \
     kind, party, value, operation, executable_at, opens_watch, subjects";

/// Sets that a row names: a stranger makes as many as he likes, and as many changes.
const SETS_MAX: usize = 100;

impl ReadModel {
    /// Writes down a change of a contract's control. `chain` is the state after it.
    pub(super) fn write_governance(&mut self, fact: &Fact, chain: &ChainState, position: u64) {
        let Some((of, contract)) = fact.event.governed() else { return };
        let (party, value) = match &fact.event {
            Event::ContractUpgraded { implementation, .. } => (Some(*implementation), None),
            Event::ContractAdminChanged { admin, .. } => (Some(*admin), None),
            Event::SafeOwnerAdded { owner, .. } | Event::SafeOwnerRemoved { owner, .. } => {
                (Some(*owner), None)
            }
            Event::SafeModuleEnabled { module, .. } => (Some(*module), None),
            Event::TimelockDelayChanged { new_delay, .. } => (None, Some(*new_delay)),
            Event::SafeThresholdChanged { threshold, .. } => (None, Some(*threshold)),
            Event::TimelockCallScheduled(call) => (Some(call.target), None),
            Event::TimelockCallExecuted { target, .. } => (Some(*target), None),
            _ => (None, None),
        };
        let operation = match &fact.event {
            Event::TimelockCallScheduled(call) => Some(call.operation),
            Event::TimelockCallExecuted { operation, .. }
            | Event::TimelockOperationCancelled { operation, .. } => Some(*operation),
            _ => None,
        };
        let executable_at = match &fact.event {
            Event::TimelockCallScheduled(call) => call.executable_at(fact.block.timestamp),
            _ => None,
        };
        let concern = chain.concern_of(&fact.event);
        let opens_watch =
            concern.is_some() && !matches!(fact.event, Event::TimelockOperationCancelled { .. });
        let sets = chain.sets_concerned(&fact.event).into_iter().take(SETS_MAX);
        let mut subjects: Vec<_> = sets
            .flat_map(|set| {
                let avs = RatedEntity::avs(fact.chain_id, set.avs);
                [RatedEntity::operator_set(fact.chain_id, set), avs]
            })
            .collect();
        if let Governed::Token(token) = of {
            subjects.push(RatedEntity::lrt(fact.chain_id, token));
        }
        let tokens = concern.iter().flat_map(|(_, tokens)| tokens);
        subjects.extend(tokens.map(|token| RatedEntity::lrt(fact.chain_id, *token)));
        subjects.sort_unstable();
        subjects.dedup();
        self.tables
            .governance_changes
            .integer(position)
            .integer(fact.chain_id)
            .integer(fact.block.number)
            .integer(fact.block.timestamp)
            .bytes(fact.tx_hash.as_slice())
            .bytes(contract.as_slice())
            .integer(fact.event.tag())
            .optional(party, |row, who| row.bytes(who.as_slice()))
            .optional(value, |row, value| row.number(value))
            .optional(operation, |row, id| row.bytes(id.as_slice()))
            .optional(executable_at, |row, time| row.integer(time))
            .boolean(opens_watch && !subjects.is_empty())
            .array(subjects.iter().map(|entity| row_id(entity).to_string()))
            .end();
    }
}
