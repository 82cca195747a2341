//! EigenPods: whose they are, and what a beacon slashing of one of their validators says of the
//! operator to whom the owner delegates.
//!
//! A validator is a pod's by its withdrawal credentials, which the beacon chain states and nobody
//! can choose for another. What the slashing took is known later, when the pod proves a balance.

use alloy_primitives::{Address, B256, U256};

use super::ChainState;
use super::experience::BEACON_CHAIN_ETH;
use crate::block::BlockRef;
use crate::event::{Event, Fact};
use crate::id::{OperatorId, StakerId};
use crate::loss_block::LossClass;

/// Slashings of one operator's validators within this many slots of the incident's first are one
/// incident: 8,192 epochs of 32 slots (methodology §2.2).
pub const INCIDENT_WINDOW_SLOTS: u64 = 8_192 * 32;

/// First bytes of withdrawal credentials whose last 20 bytes are an address: `ETH1` and, since
/// Electra, `COMPOUNDING`.
const ADDRESS_PREFIXES: [u8; 2] = [1, 2];

/// A validator of an EigenPod that the beacon chain slashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSlashing {
    /// The execution block of the slashing.
    pub block: BlockRef,
    /// Its slot.
    pub slot: u64,
    /// The validator's index.
    pub validator: u64,
    /// SHA-256 of its public key, padded.
    pub pubkey_hash: B256,
    /// The pod that its withdrawal credentials name.
    pub pod: Address,
    /// Whose the pod is.
    pub owner: StakerId,
    /// The operator to whom the owner delegated then.
    pub operator: Option<OperatorId>,
    /// Effective balance, gwei.
    pub effective_balance_gwei: u64,
    /// Index of its incident in `ChainState::validator_incidents`; none without an operator.
    pub incident: Option<usize>,
}

/// Slashings of one operator's validators that count once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorIncident {
    /// Block of the first.
    pub first_block: BlockRef,
    /// Slot of the first.
    pub first_slot: u64,
    /// The operator.
    pub operator: OperatorId,
    /// Validators slashed.
    pub validators: u64,
    /// Their effective balances, gwei.
    pub effective_balance_gwei: u64,
    /// Native stake delegated to the operator when it began, wei; `None`: no event told of it.
    pub stake_wei: Option<U256>,
}

impl ValidatorIncident {
    /// The class of loss: the base layer, by an operator's validators (methodology §2.3, C6a).
    pub const CLASS: LossClass = LossClass::C6;
}

/// The address that withdrawal credentials name, if they name one.
pub fn withdrawal_address(credentials: &B256) -> Option<Address> {
    let (prefix, rest) = credentials.split_first()?;
    let (padding, address) = rest.split_last_chunk::<20>()?;
    let is_address = ADDRESS_PREFIXES.contains(prefix) && padding.iter().all(|byte| *byte == 0);
    is_address.then(|| Address::from(*address))
}

impl ChainState {
    pub(super) fn validator_observed(&mut self, fact: &Fact) {
        let Event::BeaconValidatorObserved {
            slot,
            validator,
            pubkey_hash,
            withdrawal_credentials,
            effective_balance_gwei,
            ..
        } = &fact.event
        else {
            return;
        };
        let Some(pod) = withdrawal_address(withdrawal_credentials) else { return };
        let Some(owner) = self.pods.get(&pod).copied() else { return };
        let operator = self.operator_of(owner);
        let incident = operator.map(|operator| {
            self.join_validator_incident(fact.block, *slot, operator, *effective_balance_gwei)
        });
        self.validator_slashings.push(ValidatorSlashing {
            block: fact.block,
            slot: *slot,
            validator: *validator,
            pubkey_hash: *pubkey_hash,
            pod,
            owner,
            operator,
            effective_balance_gwei: *effective_balance_gwei,
            incident,
        });
    }

    fn join_validator_incident(
        &mut self,
        block: BlockRef,
        slot: u64,
        operator: OperatorId,
        balance_gwei: u64,
    ) -> usize {
        let open = self.validator_incidents.iter().rposition(|incident| {
            incident.operator == operator
                && slot <= incident.first_slot.saturating_add(INCIDENT_WINDOW_SLOTS)
        });
        let index = open.unwrap_or(self.validator_incidents.len());
        match self.validator_incidents.get_mut(index) {
            Some(incident) => {
                incident.validators = incident.validators.saturating_add(1);
                incident.effective_balance_gwei =
                    incident.effective_balance_gwei.saturating_add(balance_gwei);
            }
            None => {
                let shares = self.operators.get(&operator).map(|found| &found.shares);
                self.validator_incidents.push(ValidatorIncident {
                    first_block: block,
                    first_slot: slot,
                    operator,
                    validators: 1,
                    effective_balance_gwei: balance_gwei,
                    stake_wei: shares.and_then(|held| held.get(&BEACON_CHAIN_ETH)).copied(),
                });
            }
        }
        index
    }

    /// The slashing that a fact told of, if it was the last one folded and of a pod's validator.
    pub fn validator_slashing_of(&self, fact: &Fact) -> Option<&ValidatorSlashing> {
        let Event::BeaconValidatorObserved { validator, .. } = &fact.event else { return None };
        self.validator_slashings
            .last()
            .filter(|last| last.validator == *validator && last.block == fact.block)
    }
}
