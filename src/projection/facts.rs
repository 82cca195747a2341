//! Rows that follow from one fact and the state after it.

use assay_domain::canonical::CanonicalHead;
use assay_domain::event::Event;
use assay_domain::state::{ChainState, Membership, Slash};
use assay_domain::{AvsId, Fact, OperatorId, OperatorSetId, RatedEntity, StrategyId};

use super::ReadModel;
use super::copy::{TableRows, bytes_item};

pub(super) const SLASHING_COLUMNS: &str = "position, is_provisional, chain_id, block_number, block_time, block_hash, tx_hash, log_index, \
     operator, avs, operator_set_id, strategies, wad_slashed, allocation_slashed, \
     redistribution_recipient, incident, description";

impl ReadModel {
    /// Writes down what a fact changed. `chain` is the state of its chain after the fact.
    pub fn fact_folded(&mut self, fact: &Fact, chain: &ChainState, head: CanonicalHead) {
        let subjects = fact.event.subjects();
        let entities = [
            subjects.operator.map(|id| RatedEntity::operator(fact.chain_id, id)),
            subjects.avs.map(|id| RatedEntity::avs(fact.chain_id, id)),
            subjects.operator_set.map(|id| RatedEntity::operator_set(fact.chain_id, id)),
            subjects.lrt.map(|id| RatedEntity::lrt(fact.chain_id, id)),
        ];
        for entity in entities.into_iter().flatten() {
            self.entity_id(entity, fact.block, head);
        }
        if let (Event::OperatorSlashed { .. }, Some(slash)) = (&fact.event, chain.slashes.last()) {
            self.incidents.entry((fact.chain_id, slash.incident)).or_insert(head.position);
        }
        self.lrt_folded(fact, chain, head);
        self.message_folded(fact, chain, head);
        if head.position > self.written_to {
            self.write(fact, chain, head.position);
        }
    }

    fn write(&mut self, fact: &Fact, chain: &ChainState, position: u64) {
        match &fact.event {
            Event::OperatorSharesIncreased { operator, strategy, .. }
            | Event::OperatorSharesDecreased { operator, strategy, .. } => {
                self.write_shares(fact, chain, position, *operator, *strategy);
            }
            Event::OperatorRegistered { operator, .. }
            | Event::DelegationApproverUpdated { operator, .. }
            | Event::OperatorMetadataUriUpdated { operator, .. }
            | Event::AllocationDelaySet { operator, .. } => {
                self.write_operator(fact, chain, position, *operator);
            }
            Event::AvsMetadataUriUpdated { avs, .. } | Event::AvsRegistrarSet { avs, .. } => {
                self.write_avs(fact, chain, position, *avs);
            }
            Event::OperatorSetCreated { operator_set }
            | Event::StrategyAddedToOperatorSet { operator_set, .. }
            | Event::StrategyRemovedFromOperatorSet { operator_set, .. }
            | Event::RedistributionAddressSet { operator_set, .. }
            | Event::SlasherUpdated { operator_set, .. }
            | Event::SlasherMigrated { operator_set, .. } => {
                self.write_operator_set(fact, chain, position, *operator_set);
            }
            Event::OperatorAddedToOperatorSet { operator, operator_set }
            | Event::OperatorRemovedFromOperatorSet { operator, operator_set } => {
                self.write_membership(fact, chain, position, *operator, *operator_set);
            }
            Event::AllocationUpdated { operator, operator_set, strategy, .. } => {
                self.write_allocation(fact, chain, position, (*operator, *operator_set, *strategy));
            }
            Event::BurnOrRedistributableSharesIncreased { .. }
            | Event::BurnOrRedistributableSharesDecreased { .. } => {
                self.write_slashed_shares(fact, position);
            }
            Event::OperatorSlashed { .. } => {
                if let Some(slash) = chain.slashes.last() {
                    let incident = self.incidents.get(&(fact.chain_id, slash.incident)).copied();
                    let place = incident.map(|incident| (position, incident));
                    write_slash(&mut self.tables.slashing_events, fact, chain, slash, place);
                }
            }
            event if event.governed().is_some() => self.write_governance(fact, chain, position),
            _ => self.write_pods(fact, chain, position),
        }
    }

    fn write_shares(
        &mut self,
        fact: &Fact,
        chain: &ChainState,
        position: u64,
        operator: OperatorId,
        strategy: StrategyId,
    ) {
        let shares = chain
            .operators
            .get(&operator)
            .and_then(|found| found.shares.get(&strategy))
            .copied()
            .unwrap_or_default();
        self.tables
            .operator_shares
            .integer(fact.chain_id)
            .bytes(operator.0.as_slice())
            .bytes(strategy.0.as_slice())
            .integer(position)
            .integer(fact.block.number)
            .integer(fact.block.timestamp)
            .number(shares)
            .end();
    }

    fn write_operator(
        &mut self,
        fact: &Fact,
        chain: &ChainState,
        position: u64,
        operator: OperatorId,
    ) {
        let Some(found) = chain.operators.get(&operator) else { return };
        let block = fact.block.number;
        let pending = found.allocation_delay.pending_at(block);
        self.tables
            .operators
            .integer(fact.chain_id)
            .bytes(operator.0.as_slice())
            .integer(position)
            .integer(block)
            .optional(found.delegation_approver, |row, who| row.bytes(who.as_slice()))
            .optional(found.metadata_uri.as_ref(), |row, uri| row.text(&uri.to_string()))
            .optional(found.allocation_delay.at(block), |row, delay| row.integer(delay))
            .optional(pending, |row, (delay, _)| row.integer(delay))
            .optional(pending, |row, (_, effect_block)| row.integer(effect_block))
            .end();
    }

    fn write_avs(&mut self, fact: &Fact, chain: &ChainState, position: u64, avs: AvsId) {
        let Some(found) = chain.avss.get(&avs) else { return };
        self.tables
            .avss
            .integer(fact.chain_id)
            .bytes(avs.0.as_slice())
            .integer(position)
            .integer(fact.block.number)
            .optional(found.metadata_uri.as_ref(), |row, uri| row.text(&uri.to_string()))
            .optional(found.registrar, |row, registrar| row.bytes(registrar.as_slice()))
            .end();
    }

    fn write_operator_set(
        &mut self,
        fact: &Fact,
        chain: &ChainState,
        position: u64,
        set: OperatorSetId,
    ) {
        let Some(found) = chain.operator_sets.get(&set) else { return };
        let block = fact.block.number;
        let pending = found.slasher.pending_at(block);
        self.tables
            .operator_sets
            .integer(fact.chain_id)
            .bytes(set.avs.0.as_slice())
            .integer(set.id)
            .integer(position)
            .integer(block)
            .optional(found.slasher.at(block), |row, who| row.bytes(who.as_slice()))
            .optional(pending, |row, (who, _)| row.bytes(who.as_slice()))
            .optional(pending, |row, (_, effect_block)| row.integer(effect_block))
            .optional(found.redistribution_recipient, |row, who| row.bytes(who.as_slice()))
            .array(found.strategies.iter().map(|strategy| bytes_item(strategy.0.as_slice())))
            .end();
    }

    fn write_membership(
        &mut self,
        fact: &Fact,
        chain: &ChainState,
        position: u64,
        operator: OperatorId,
        set: OperatorSetId,
    ) {
        let membership =
            chain.operator_sets.get(&set).and_then(|found| found.members.get(&operator));
        let until = match membership {
            Some(Membership::LeftSlashableUntil(until)) => Some(*until),
            _ => None,
        };
        self.tables
            .memberships
            .integer(fact.chain_id)
            .bytes(operator.0.as_slice())
            .bytes(set.avs.0.as_slice())
            .integer(set.id)
            .integer(position)
            .integer(fact.block.number)
            .boolean(matches!(membership, Some(Membership::Member)))
            .optional(until, |row, block| row.integer(block))
            .end();
    }

    fn write_allocation(
        &mut self,
        fact: &Fact,
        chain: &ChainState,
        position: u64,
        key: (OperatorId, OperatorSetId, StrategyId),
    ) {
        let Some(allocation) = chain.allocations.get(&key) else { return };
        let (operator, set, strategy) = key;
        let block = fact.block.number;
        let pending = allocation.pending_at(block);
        let max = chain
            .operators
            .get(&operator)
            .and_then(|found| found.magnitudes.get(&strategy))
            .and_then(|magnitude| magnitude.max);
        self.tables
            .allocations
            .integer(fact.chain_id)
            .bytes(operator.0.as_slice())
            .bytes(set.avs.0.as_slice())
            .integer(set.id)
            .bytes(strategy.0.as_slice())
            .integer(position)
            .integer(block)
            .integer(allocation.current_at(block))
            .optional(pending, |row, pending| row.integer(pending.magnitude))
            .optional(pending, |row, pending| row.integer(pending.effect_block))
            .optional(max, |row, max| row.integer(max))
            .end();
    }

    fn write_slashed_shares(&mut self, fact: &Fact, position: u64) {
        let (sign, set, slash_id, strategy, shares) = match &fact.event {
            Event::BurnOrRedistributableSharesIncreased {
                operator_set,
                slash_id,
                strategy,
                shares,
            } => ("", operator_set, slash_id, strategy, shares),
            Event::BurnOrRedistributableSharesDecreased {
                operator_set,
                slash_id,
                strategy,
                shares,
            } => ("-", operator_set, slash_id, strategy, shares),
            _ => return,
        };
        self.tables
            .slashed_shares
            .integer(fact.chain_id)
            .bytes(set.avs.0.as_slice())
            .integer(set.id)
            .number(*slash_id)
            .bytes(strategy.0.as_slice())
            .integer(position)
            .integer(fact.block.number)
            .bytes(fact.tx_hash.as_slice())
            .integer(fact.log_index)
            .text(&format!("{sign}{shares}"))
            .end();
    }
}

/// Writes a slash; `place` is its canonical position and that of its incident, once it is final.
pub(super) fn write_slash(
    rows: &mut TableRows,
    fact: &Fact,
    chain: &ChainState,
    slash: &Slash,
    place: Option<(u64, u64)>,
) {
    let Event::OperatorSlashed { description, .. } = &fact.event else { return };
    let recipient =
        chain.operator_sets.get(&slash.operator_set).and_then(|set| set.redistribution_recipient);
    let each = || slash.strategies.iter();
    rows.optional(place, |row, (position, _)| row.integer(position))
        .boolean(place.is_none())
        .integer(fact.chain_id)
        .integer(fact.block.number)
        .integer(fact.block.timestamp)
        .bytes(fact.block.hash.as_slice())
        .bytes(fact.tx_hash.as_slice())
        .integer(fact.log_index)
        .bytes(slash.operator.0.as_slice())
        .bytes(slash.operator_set.avs.0.as_slice())
        .integer(slash.operator_set.id)
        .array(each().map(|found| bytes_item(found.strategy.0.as_slice())))
        .array(each().map(|found| found.wad_slashed.to_string()))
        .array(
            each().map(|found| {
                found.allocation_slashed.map_or("NULL".to_owned(), |wad| wad.to_string())
            }),
        )
        .optional(recipient, |row, who| row.bytes(who.as_slice()))
        .optional(place, |row, (_, incident)| row.integer(incident))
        .text(&description.to_string())
        .end();
}
