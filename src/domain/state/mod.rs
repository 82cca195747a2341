//! The fold: what every event so far makes true, exactly, with the contracts' own rounding.
//!
//! Partial history is a state, not an error: a magnitude, a membership or a share that no event
//! told of is unknown (`None`), never zero, and the rating says what it rests on.
//! The traps of EigenLayer's events are listed at the head of the methodology.

pub mod allocation;
pub mod experience;
pub mod governance;
pub mod lrt;
pub mod operator;
pub mod operator_set;
pub mod pod;
pub mod registry;
pub mod rewards;
pub mod slashing;
pub mod staker;
pub mod timelock;

use std::collections::BTreeMap;

use alloy_primitives::Address;
use alloy_primitives::map::FbBuildHasher;
use alloy_primitives::map::indexmap::IndexMap;

use crate::block::ChainId;
use crate::event::{Event, Fact};
use crate::id::{AvsId, LrtId, OperatorId, OperatorSetId, RatedEntity, StakerId, StrategyId};
use crate::text::UntrustedText;

pub use allocation::{Allocation, Pending};
pub use lrt::{Lrt, Restaker};
pub use operator::{AllocationDelay, Magnitude, Operator};
pub use operator_set::{Membership, OperatorSet, Slasher};
pub use pod::{ValidatorIncident, ValidatorSlashing};
pub use slashing::{Incident, Slash, SlashedStrategy};
pub use staker::{QueuedWithdrawal, Staker};

/// What is looked up by an address at every other event. Its order is that of the log, which
/// depends on where the log begins: sort by id before anything is made of it.
pub type ByAddress<K, V> = IndexMap<K, V, FbBuildHasher<20>>;

/// Everything that is true after some prefix of the canonical log.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Each chain by itself: no contract of one sees another.
    pub chains: BTreeMap<ChainId, ChainState>,
}

/// What is true on one chain.
#[derive(Debug, Clone, Default)]
pub struct ChainState {
    /// Epoch of the first fact, if there is one.
    pub first_epoch: Option<u64>,
    /// Last block folded.
    pub block_number: u64,
    /// Its time, seconds since the Unix epoch.
    pub time: u64,
    /// Operators that any event named.
    pub operators: ByAddress<OperatorId, Operator>,
    /// AVSs that any event named.
    pub avss: BTreeMap<AvsId, Avs>,
    /// Operator sets that any event named.
    pub operator_sets: BTreeMap<OperatorSetId, OperatorSet>,
    /// Allocations by operator, set and strategy.
    pub allocations: BTreeMap<(OperatorId, OperatorSetId, StrategyId), Allocation>,
    /// Stakers: delegation, factors and withdrawals.
    pub stakers: ByAddress<StakerId, Staker>,
    /// EigenPods and their owners.
    pub pods: ByAddress<alloy_primitives::Address, StakerId>,
    /// Beacon slashings of validators of pods, in order.
    pub validator_slashings: Vec<ValidatorSlashing>,
    /// The same, grouped into incidents of operators.
    pub validator_incidents: Vec<ValidatorIncident>,
    /// Queued withdrawals by root, until completed.
    pub withdrawals: BTreeMap<alloy_primitives::B256, QueuedWithdrawal>,
    /// Liquid restaking tokens that any event named.
    pub lrts: BTreeMap<LrtId, Lrt>,
    /// What restakes for them.
    pub restakers: BTreeMap<StakerId, Restaker>,
    /// Recorded prices.
    pub prices: lrt::Prices,
    /// Every slash, in order.
    pub slashes: Vec<Slash>,
    /// Slashes grouped into incidents (methodology §2.2), in order of their first slash.
    pub incidents: Vec<Incident>,
    /// Time at risk, epoch by epoch.
    pub experience: experience::Experience,
    /// Who may attest, and what stands.
    pub registry: registry::Registry,
    /// Rewards, and the stake that earned them.
    pub rewards: rewards::Rewards,
    /// Who can change the contracts that hold slashing power.
    pub governance: governance::Governance,
    /// What timelocks hold back.
    pub timelocks: timelock::Timelocks,
    /// Whether any membership of an operator in a set is in the log.
    pub has_memberships: bool,
    /// Whether any strategy of a set is in the log.
    pub has_strategies: bool,
    /// Maximum magnitudes that fell in this block and wait for their `OperatorSlashed`.
    fallen: BTreeMap<(OperatorId, StrategyId), slashing::Fallen>,
    /// Chain logs kept without a meaning.
    pub unmapped_logs: u64,
}

/// What is known of an AVS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Avs {
    /// Where its metadata is said to be.
    pub metadata_uri: Option<UntrustedText>,
    /// The contract that admits operators.
    pub registrar: Option<Address>,
    /// Operators registered through the older AVSDirectory, without slashable stake.
    pub directory_operators: u64,
}

/// The log contradicts itself, which no finalized chain does: the store is corrupt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptHistory {
    /// Facts must come in canonical order.
    #[error("chain {chain_id}: block {found} was folded after block {expected_at_least}")]
    OutOfOrder {
        /// The chain.
        chain_id: ChainId,
        /// Block already folded.
        expected_at_least: u64,
        /// Block of the fact refused.
        found: u64,
    },
}

impl State {
    /// Folds one fact. An error means the store is corrupt, never that a rule refused.
    pub fn apply(&mut self, fact: &Fact) -> Result<(), CorruptHistory> {
        let chain = self.chains.entry(fact.chain_id).or_default();
        if fact.block.number < chain.block_number {
            return Err(CorruptHistory::OutOfOrder {
                chain_id: fact.chain_id,
                expected_at_least: chain.block_number,
                found: fact.block.number,
            });
        }
        if fact.block.number > chain.block_number {
            chain.block_number = fact.block.number;
            chain.time = fact.block.timestamp;
            chain.fallen.clear();
        }
        chain.first_epoch.get_or_insert(fact.block.epoch());
        chain.apply(fact);
        Ok(())
    }
}

impl ChainState {
    fn apply(&mut self, fact: &Fact) {
        let at = fact.block.number;
        self.apply_lrt(fact);
        match &fact.event {
            Event::OperatorRegistered { operator, delegation_approver }
            | Event::DelegationApproverUpdated { operator, delegation_approver } => {
                self.operator(*operator).delegation_approver = Some(*delegation_approver);
            }
            Event::OperatorMetadataUriUpdated { operator, metadata_uri } => {
                self.operator(*operator).metadata_uri = Some(metadata_uri.clone());
            }
            Event::StakerDelegated { staker, operator } => {
                self.operator(*operator);
                self.stakers.entry(*staker).or_default().delegated_to = Some(*operator);
            }
            Event::StakerUndelegated { staker, .. } => {
                self.stakers.entry(*staker).or_default().delegated_to = None;
            }
            Event::OperatorSharesIncreased { operator, staker, strategy, shares } => {
                self.operator(*operator).increase_shares(*strategy, *shares);
                self.stakers.entry(*staker).or_default().increase(*operator, *strategy, *shares);
            }
            Event::OperatorSharesDecreased { operator, staker, strategy, shares } => {
                self.operator(*operator).decrease_shares(*strategy, *shares);
                if !staker.0.is_zero() {
                    let staker = self.stakers.entry(*staker).or_default();
                    staker.decrease(*operator, *strategy, *shares);
                }
            }
            Event::DepositScalingFactorUpdated { staker, strategy, new_deposit_scaling_factor } => {
                let staker = self.stakers.entry(*staker).or_default();
                staker.deposit_scaling_factor.insert(*strategy, *new_deposit_scaling_factor);
            }
            Event::BeaconChainSlashingFactorDecreased { staker, new_factor, .. } => {
                self.stakers.entry(*staker).or_default().beacon_chain_slashing_factor =
                    Some(*new_factor);
            }
            Event::SlashingWithdrawalQueued { withdrawal_root, withdrawal, .. }
            | Event::WithdrawalQueued { withdrawal_root, withdrawal } => {
                let queued = QueuedWithdrawal::new(withdrawal, &fact.event);
                self.withdrawals.insert(*withdrawal_root, queued);
            }
            Event::SlashingWithdrawalCompleted { withdrawal_root }
            | Event::WithdrawalCompleted { withdrawal_root } => {
                self.withdrawals.remove(withdrawal_root);
            }
            Event::OperatorAvsRegistrationStatusUpdated { operator, avs, is_registered } => {
                self.operator(*operator);
                let avs = self.avss.entry(*avs).or_default();
                avs.directory_operators = if *is_registered {
                    avs.directory_operators.saturating_add(1)
                } else {
                    avs.directory_operators.saturating_sub(1)
                };
            }
            Event::AvsRegistrarSet { avs, registrar } => {
                self.avss.entry(*avs).or_default().registrar = Some(*registrar);
            }
            Event::AvsMetadataUriUpdated { avs, metadata_uri } => {
                self.avss.entry(*avs).or_default().metadata_uri = Some(metadata_uri.clone());
            }
            Event::RewardsSubmitted { .. }
            | Event::OperatorDirectedRewardsSubmitted { .. }
            | Event::OperatorSplitSet { .. }
            | Event::DefaultOperatorSplitSet { .. } => self.rewards.apply(&fact.event),
            Event::PodDeployed { eigen_pod, pod_owner } => {
                self.pods.insert(*eigen_pod, *pod_owner);
                self.stakers.entry(*pod_owner).or_default().pod = Some(*eigen_pod);
            }
            Event::BeaconValidatorObserved { .. } => self.validator_observed(fact),
            Event::Unmapped { .. } => self.unmapped_logs = self.unmapped_logs.saturating_add(1),
            _ => self.apply_allocation_manager(fact, at),
        }
    }

    /// The AllocationManager's events, and who can change a contract; all others leave the state as
    /// it is.
    fn apply_allocation_manager(&mut self, fact: &Fact, at: u64) {
        match &fact.event {
            Event::AllocationDelaySet { operator, delay_blocks, effect_block } => {
                self.operator(*operator).set_allocation_delay(at, *delay_blocks, *effect_block);
            }
            Event::AllocationUpdated {
                operator,
                operator_set,
                strategy,
                magnitude,
                effect_block,
            } => {
                self.operator(*operator);
                self.operator_set(*operator_set, fact);
                self.allocations.entry((*operator, *operator_set, *strategy)).or_default().update(
                    at,
                    *magnitude,
                    u64::from(*effect_block),
                );
            }
            Event::EncumberedMagnitudeUpdated { operator, strategy, encumbered_magnitude } => {
                self.operator(*operator).magnitude(*strategy).encumbered =
                    Some(*encumbered_magnitude);
            }
            Event::MaxMagnitudeUpdated { operator, strategy, max_magnitude } => {
                self.max_magnitude_updated(*operator, *strategy, *max_magnitude, at);
            }
            Event::OperatorSlashed { .. } => self.operator_slashed(fact),
            Event::OperatorSetCreated { operator_set } => {
                self.operator_set(*operator_set, fact).is_created = true;
            }
            Event::OperatorAddedToOperatorSet { operator, operator_set } => {
                self.operator(*operator);
                self.has_memberships = true;
                self.operator_set(*operator_set, fact).add_member(*operator);
            }
            Event::OperatorRemovedFromOperatorSet { operator, operator_set } => {
                self.operator(*operator);
                self.operator_set(*operator_set, fact).remove_member(*operator, at);
            }
            Event::StrategyAddedToOperatorSet { operator_set, strategy } => {
                self.has_strategies = true;
                self.operator_set(*operator_set, fact).strategies.insert(*strategy);
            }
            Event::StrategyRemovedFromOperatorSet { operator_set, strategy } => {
                self.operator_set(*operator_set, fact).strategies.remove(strategy);
            }
            Event::RedistributionAddressSet { operator_set, redistribution_recipient } => {
                self.operator_set(*operator_set, fact).redistribution_recipient =
                    Some(*redistribution_recipient);
            }
            Event::SlasherUpdated { operator_set, slasher, effect_block } => {
                let set = self.operator_set(*operator_set, fact);
                set.slasher.update(at, *slasher, u64::from(*effect_block));
            }
            Event::SlasherMigrated { operator_set, slasher } => {
                self.operator_set(*operator_set, fact).slasher.update(at, *slasher, at);
            }
            event => {
                self.governance.apply(fact);
                if event.governed().is_some() {
                    self.timelocks.apply(fact);
                }
            }
        }
    }

    fn operator(&mut self, operator: OperatorId) -> &mut Operator {
        self.operators.entry(operator).or_default()
    }

    fn operator_set(&mut self, set: OperatorSetId, fact: &Fact) -> &mut OperatorSet {
        self.avss.entry(set.avs).or_default();
        self.operator_sets.entry(set).or_insert_with(|| OperatorSet::seen_at(fact.block))
    }

    /// As much of this state as the slashes among some further facts need to be folded: the
    /// operators, sets and allocations that those facts name. For what is not final and must not
    /// touch the state itself.
    #[must_use]
    pub fn around(&self, facts: &[Fact]) -> Self {
        let mut part = Self { block_number: self.block_number, time: self.time, ..Self::default() };
        for subjects in facts.iter().map(|fact| fact.event.subjects()) {
            if let Some((id, set)) =
                subjects.operator_set.and_then(|id| Some((id, self.operator_sets.get(&id)?)))
            {
                part.operator_sets.entry(id).or_insert_with(|| set.clone());
            }
            let Some((id, operator)) =
                subjects.operator.and_then(|id| Some((id, self.operators.get(&id)?)))
            else {
                continue;
            };
            if part.operators.insert(id, operator.clone()).is_none() {
                let none = OperatorSetId { avs: AvsId(Address::ZERO), id: 0 };
                let from = (id, none, StrategyId(Address::ZERO));
                let its = self.allocations.range(from..).take_while(|(key, _)| key.0 == id);
                part.allocations.extend(its.map(|(key, allocation)| (*key, *allocation)));
            }
        }
        part
    }

    /// Everything on this chain that can carry a rating, in order.
    pub fn entities(&self, chain_id: ChainId) -> Vec<RatedEntity> {
        let mut operators: Vec<_> = self.operators.keys().copied().collect();
        operators.sort_unstable();
        let operators = operators.into_iter().map(|id| RatedEntity::operator(chain_id, id));
        let avss = self.avss.keys().map(|id| RatedEntity::avs(chain_id, *id));
        let sets = self.operator_sets.keys().map(|id| RatedEntity::operator_set(chain_id, *id));
        let lrts = self.lrts.keys().map(|id| RatedEntity::lrt(chain_id, *id));
        operators.chain(avss).chain(sets).chain(lrts).collect()
    }
}
