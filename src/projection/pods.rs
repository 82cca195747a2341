//! Rows about EigenPods: whose validators are whose, and which of them were slashed.

use alloy::primitives::{Address, B256};
use assay_domain::event::{Event, PodValidator};
use assay_domain::state::ChainState;
use assay_domain::{Fact, StakerId};

use super::ReadModel;

pub(super) const POD_COLUMNS: &str = "chain_id, pod, owner, position, block_number";

pub(super) const DELEGATION_COLUMNS: &str = "chain_id, owner, position, operator";

pub(super) const VALIDATOR_COLUMNS: &str =
    "chain_id, position, block_number, pod, validator_index, pubkey_hash, provenance";

pub(super) const SLASHING_COLUMNS: &str = "position, chain_id, block_number, block_time, slot, \
     validator_index, pubkey_hash, pod, owner, operator, effective_balance_gwei, \
     incident_validators";

impl ReadModel {
    pub(super) fn write_pods(&mut self, fact: &Fact, chain: &ChainState, position: u64) {
        match &fact.event {
            Event::PodDeployed { eigen_pod, pod_owner } => {
                self.tables
                    .pods
                    .integer(fact.chain_id)
                    .bytes(eigen_pod.as_slice())
                    .bytes(pod_owner.0.as_slice())
                    .integer(position)
                    .integer(fact.block.number)
                    .end();
                self.write_delegation(fact, chain, position, *pod_owner);
            }
            Event::StakerDelegated { staker, .. } | Event::StakerUndelegated { staker, .. }
                if chain.stakers.get(staker).is_some_and(|found| found.pod.is_some()) =>
            {
                self.write_delegation(fact, chain, position, *staker);
            }
            Event::PodValidatorRestaked { validator } => {
                let (index, hash) = match validator {
                    PodValidator::Index(index) => (Some(*index), None),
                    PodValidator::PubkeyHash(hash) => (None, Some(*hash)),
                };
                self.write_validator(fact, position, fact.emitter, index, hash.as_ref());
            }
            Event::BeaconValidatorObserved { .. } => self.write_slashing(fact, chain, position),
            _ => {}
        }
    }

    fn write_delegation(
        &mut self,
        fact: &Fact,
        chain: &ChainState,
        position: u64,
        owner: StakerId,
    ) {
        self.tables
            .pod_delegations
            .integer(fact.chain_id)
            .bytes(owner.0.as_slice())
            .integer(position)
            .optional(chain.operator_of(owner), |row, operator| row.bytes(operator.0.as_slice()))
            .end();
    }

    fn write_validator(
        &mut self,
        fact: &Fact,
        position: u64,
        pod: Address,
        index: Option<u64>,
        hash: Option<&B256>,
    ) {
        let is_proven = matches!(fact.event, Event::PodValidatorRestaked { .. });
        self.tables
            .validators
            .integer(fact.chain_id)
            .integer(position)
            .integer(fact.block.number)
            .bytes(pod.as_slice())
            .optional(index, |row, index| row.integer(index))
            .optional(hash, |row, hash| row.bytes(hash.as_slice()))
            .text(if is_proven { "ValidatorRestaked" } else { "credentials" })
            .end();
    }

    fn write_slashing(&mut self, fact: &Fact, chain: &ChainState, position: u64) {
        let Some(found) = chain.validator_slashing_of(fact) else { return };
        let (index, hash) = (Some(found.validator), Some(&found.pubkey_hash));
        self.write_validator(fact, position, found.pod, index, hash);
        let incident = found.incident.and_then(|index| chain.validator_incidents.get(index));
        self.tables
            .validator_slashings
            .integer(position)
            .integer(fact.chain_id)
            .integer(fact.block.number)
            .integer(fact.block.timestamp)
            .integer(found.slot)
            .integer(found.validator)
            .bytes(found.pubkey_hash.as_slice())
            .bytes(found.pod.as_slice())
            .bytes(found.owner.0.as_slice())
            .optional(found.operator, |row, operator| row.bytes(operator.0.as_slice()))
            .integer(found.effective_balance_gwei)
            .optional(incident, |row, incident| row.integer(incident.validators))
            .end();
    }
}
