//! Which chain logs become typed events, in every form each event has ever had.
//!
//! A form is known by its emitter's role and its topic: releases overlap, so a block range says
//! nothing. What is not in the table is kept as [`Event::Unmapped`] by `decode`.
//! The texts of the declarations, first and last release of each, are in `abi/eigenlayer.csv`.

use alloy::primitives::{B256, keccak256};
use assay_domain::Event;

use super::abi::{AbiError, Fields};
use super::deployment::Contract::{
    self, AllocationManager, AvsDirectory, DelegationManager, EigenPod, EigenPodManager,
    PermissionController, RewardsCoordinator, StrategyManager,
};
use super::events::*;
use super::rewards::*;

/// One form of one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping {
    /// Who may emit it.
    pub(crate) contract: Contract,
    /// Its canonical signature, whose hash is the topic.
    pub(crate) signature: &'static str,
    /// How many of its fields are indexed.
    pub(crate) indexed: usize,
    /// Words the other fields take before anything dynamic.
    pub(crate) head_words: usize,
    read: fn(&mut Fields<'_>) -> Result<Event, AbiError>,
}

impl Mapping {
    /// The event's name.
    pub(crate) fn name(&self) -> &'static str {
        self.signature.split('(').next().unwrap_or(self.signature)
    }

    /// The event's first topic.
    pub(crate) fn topic(&self) -> B256 {
        keccak256(self.signature)
    }

    /// Reads the event out of a log whose first topic is the mapping's.
    pub(crate) fn decode(&self, topics: &[B256], data: &[u8]) -> Result<Event, AbiError> {
        let expected = self.indexed + 1;
        match topics.split_first() {
            Some((_, indexed)) if indexed.len() == self.indexed => {
                let mut fields = Fields::new(indexed, data, self.head_words)?;
                let event = (self.read)(&mut fields)?;
                fields.finish()?;
                Ok(event)
            }
            _ => Err(AbiError::Topics { expected, found: topics.len() }),
        }
    }
}

const fn map(
    contract: Contract,
    signature: &'static str,
    indexed: usize,
    head_words: usize,
    read: fn(&mut Fields<'_>) -> Result<Event, AbiError>,
) -> Mapping {
    Mapping { contract, signature, indexed, head_words, read }
}

/// Every mapped form. The numbers are indexed fields and head words.
pub(crate) const MAPPINGS: &[Mapping] = &[
    map(DelegationManager, "OperatorRegistered(address,address)", 1, 1, operator_registered),
    map(
        DelegationManager,
        "OperatorRegistered(address,(address,address,uint32))",
        1,
        3,
        operator_registered_with_details,
    ),
    map(DelegationManager, "DelegationApproverUpdated(address,address)", 1, 1, approver_updated),
    map(
        DelegationManager,
        "OperatorDetailsModified(address,(address,address,uint32))",
        1,
        3,
        operator_details_modified,
    ),
    map(DelegationManager, "OperatorMetadataURIUpdated(address,string)", 1, 1, operator_metadata),
    map(DelegationManager, "StakerDelegated(address,address)", 2, 0, staker_delegated),
    map(DelegationManager, "StakerUndelegated(address,address)", 2, 0, staker_undelegated),
    map(DelegationManager, "StakerForceUndelegated(address,address)", 2, 0, staker_put_out),
    map(
        DelegationManager,
        "OperatorSharesIncreased(address,address,address,uint256)",
        1,
        3,
        operator_shares_increased,
    ),
    map(
        DelegationManager,
        "OperatorSharesDecreased(address,address,address,uint256)",
        1,
        3,
        operator_shares_decreased,
    ),
    map(
        DelegationManager,
        "OperatorSharesSlashed(address,address,uint256)",
        1,
        2,
        operator_shares_slashed,
    ),
    // Its name to v1.1.1; only test deployments ever emitted it.
    map(
        DelegationManager,
        "OperatorSharesBurned(address,address,uint256)",
        1,
        2,
        operator_shares_slashed,
    ),
    map(
        DelegationManager,
        "DepositScalingFactorUpdated(address,address,uint256)",
        0,
        3,
        deposit_scaling_factor,
    ),
    map(
        DelegationManager,
        "SlashingWithdrawalQueued(bytes32,(address,address,address,uint256,uint32,address[],\
         uint256[]),uint256[])",
        0,
        3,
        slashing_withdrawal_queued,
    ),
    map(DelegationManager, "SlashingWithdrawalCompleted(bytes32)", 0, 1, |log| {
        Ok(Event::SlashingWithdrawalCompleted { withdrawal_root: log.data().b256()? })
    }),
    map(
        DelegationManager,
        "WithdrawalQueued(bytes32,(address,address,address,uint256,uint32,address[],uint256[]))",
        0,
        2,
        withdrawal_queued,
    ),
    map(DelegationManager, "WithdrawalCompleted(bytes32)", 0, 1, |log| {
        Ok(Event::WithdrawalCompleted { withdrawal_root: log.data().b256()? })
    }),
    map(AllocationManager, "AllocationDelaySet(address,uint32,uint32)", 0, 3, allocation_delay),
    map(
        AllocationManager,
        "AllocationUpdated(address,(address,uint32),address,uint64,uint32)",
        0,
        6,
        allocation_updated,
    ),
    map(
        AllocationManager,
        "EncumberedMagnitudeUpdated(address,address,uint64)",
        0,
        3,
        encumbered_magnitude,
    ),
    map(AllocationManager, "MaxMagnitudeUpdated(address,address,uint64)", 0, 3, max_magnitude),
    map(
        AllocationManager,
        "OperatorSlashed(address,(address,uint32),address[],uint256[],string)",
        0,
        6,
        operator_slashed,
    ),
    map(AllocationManager, "OperatorSetCreated((address,uint32))", 0, 2, |log| {
        Ok(Event::OperatorSetCreated { operator_set: operator_set(log.data())? })
    }),
    map(
        AllocationManager,
        "OperatorAddedToOperatorSet(address,(address,uint32))",
        1,
        2,
        operator_added,
    ),
    map(
        AllocationManager,
        "OperatorRemovedFromOperatorSet(address,(address,uint32))",
        1,
        2,
        operator_removed,
    ),
    map(
        AllocationManager,
        "StrategyAddedToOperatorSet((address,uint32),address)",
        0,
        3,
        strategy_added,
    ),
    map(
        AllocationManager,
        "StrategyRemovedFromOperatorSet((address,uint32),address)",
        0,
        3,
        strategy_removed,
    ),
    map(
        AllocationManager,
        "RedistributionAddressSet((address,uint32),address)",
        0,
        3,
        redistribution_address,
    ),
    map(AllocationManager, "SlasherUpdated((address,uint32),address,uint32)", 0, 4, slasher),
    map(AllocationManager, "SlasherMigrated((address,uint32),address)", 0, 3, slasher_migrated),
    map(AllocationManager, "AVSRegistrarSet(address,address)", 0, 2, avs_registrar),
    map(AllocationManager, "AVSMetadataURIUpdated(address,string)", 1, 1, avs_metadata),
    map(AvsDirectory, "AVSMetadataURIUpdated(address,string)", 1, 1, avs_metadata),
    map(
        AvsDirectory,
        "OperatorAVSRegistrationStatusUpdated(address,address,uint8)",
        2,
        1,
        avs_registration,
    ),
    map(StrategyManager, "Deposit(address,address,uint256)", 0, 3, deposit),
    map(StrategyManager, "Deposit(address,address,address,uint256)", 0, 4, deposit_of_token),
    map(
        StrategyManager,
        "BurnOrRedistributableSharesIncreased((address,uint32),uint256,address,uint256)",
        0,
        5,
        burnable_shares_increased,
    ),
    map(
        StrategyManager,
        "BurnOrRedistributableSharesDecreased((address,uint32),uint256,address,uint256)",
        0,
        5,
        burnable_shares_decreased,
    ),
    map(EigenPodManager, "PodDeployed(address,address)", 2, 0, pod_deployed),
    map(EigenPodManager, "PodSharesUpdated(address,int256)", 1, 1, pod_shares),
    map(EigenPodManager, "NewTotalShares(address,int256)", 1, 1, total_pod_shares),
    map(
        EigenPodManager,
        "BeaconChainSlashingFactorDecreased(address,uint64,uint64)",
        0,
        3,
        beacon_slashing_factor,
    ),
    map(EigenPodManager, "BurnableETHSharesIncreased(uint256)", 0, 1, |log| {
        Ok(Event::BurnableEthSharesIncreased { shares: log.data().u256()? })
    }),
    // Validators were named by their index to v1.5.0, by the hash of their key since.
    map(EigenPod, "ValidatorRestaked(uint40)", 0, 1, validator_restaked_by_index),
    map(EigenPod, "ValidatorRestaked(bytes32)", 0, 1, validator_restaked),
    map(EigenPod, "ValidatorBalanceUpdated(uint40,uint64,uint64)", 0, 3, balance_updated_by_index),
    map(EigenPod, "ValidatorBalanceUpdated(bytes32,uint64,uint64)", 0, 3, balance_updated),
    map(EigenPod, "ValidatorWithdrawn(uint64,uint40)", 2, 0, validator_withdrawn_by_index),
    map(EigenPod, "ValidatorWithdrawn(uint64,bytes32)", 2, 0, validator_withdrawn),
    map(EigenPod, "CheckpointFinalized(uint64,int256)", 1, 1, checkpoint_finalized),
    map(EigenPod, "RestakedBeaconChainETHWithdrawn(address,uint256)", 1, 1, pod_eth_withdrawn),
    map(EigenPod, "ExitRequested(bytes32)", 1, 0, |log| {
        Ok(Event::PodExitRequested { pubkey_hash: log.indexed_b256()? })
    }),
    map(EigenPod, "ConsolidationRequested(bytes32,bytes32)", 2, 0, |log| {
        let (source, target) = (log.indexed_b256()?, log.indexed_b256()?);
        Ok(Event::PodConsolidationRequested { source, target })
    }),
    map(PermissionController, "AppointeeSet(address,address,address,bytes4)", 2, 2, appointee_set),
    map(
        PermissionController,
        "AppointeeRemoved(address,address,address,bytes4)",
        2,
        2,
        appointee_removed,
    ),
    map(PermissionController, "AdminSet(address,address)", 1, 1, |log| {
        Ok(Event::AdminSet { account: log.indexed_address()?, admin: log.data().address()? })
    }),
    map(PermissionController, "AdminRemoved(address,address)", 1, 1, |log| {
        Ok(Event::AdminRemoved { account: log.indexed_address()?, admin: log.data().address()? })
    }),
    map(
        RewardsCoordinator,
        "AVSRewardsSubmissionCreated(address,uint256,bytes32,((address,uint96)[],address,uint256,\
         uint32,uint32))",
        3,
        1,
        avs_rewards,
    ),
    map(
        RewardsCoordinator,
        "RewardsSubmissionForAllCreated(address,uint256,bytes32,((address,uint96)[],address,\
         uint256,uint32,uint32))",
        3,
        1,
        rewards_for_all_stakers,
    ),
    map(
        RewardsCoordinator,
        "RewardsSubmissionForAllEarnersCreated(address,uint256,bytes32,((address,uint96)[],\
         address,uint256,uint32,uint32))",
        3,
        1,
        rewards_for_all_earners,
    ),
    map(
        RewardsCoordinator,
        "UniqueStakeRewardsSubmissionCreated(address,bytes32,(address,uint32),uint256,\
         ((address,uint96)[],address,uint256,uint32,uint32))",
        2,
        4,
        unique_stake_rewards,
    ),
    map(
        RewardsCoordinator,
        "TotalStakeRewardsSubmissionCreated(address,bytes32,(address,uint32),uint256,\
         ((address,uint96)[],address,uint256,uint32,uint32))",
        2,
        4,
        total_stake_rewards,
    ),
    map(
        RewardsCoordinator,
        "OperatorDirectedAVSRewardsSubmissionCreated(address,address,bytes32,uint256,\
         ((address,uint96)[],address,(address,uint256)[],uint32,uint32,string))",
        3,
        2,
        operator_directed_avs_rewards,
    ),
    map(
        RewardsCoordinator,
        "OperatorDirectedOperatorSetRewardsSubmissionCreated(address,bytes32,(address,uint32),\
         uint256,((address,uint96)[],address,(address,uint256)[],uint32,uint32,string))",
        2,
        4,
        operator_directed_set_rewards,
    ),
    map(
        RewardsCoordinator,
        "OperatorAVSSplitBipsSet(address,address,address,uint32,uint16,uint16)",
        3,
        3,
        operator_avs_split,
    ),
    map(
        RewardsCoordinator,
        "OperatorPISplitBipsSet(address,address,uint32,uint16,uint16)",
        2,
        3,
        operator_incentives_split,
    ),
    map(
        RewardsCoordinator,
        "OperatorSetSplitBipsSet(address,address,(address,uint32),uint32,uint16,uint16)",
        2,
        5,
        operator_set_split,
    ),
    map(RewardsCoordinator, "DefaultOperatorSplitBipsSet(uint16,uint16)", 0, 2, default_split),
    map(RewardsCoordinator, "GlobalCommissionBipsSet(uint16,uint16)", 0, 2, default_split),
];

#[cfg(test)]
mod tests {
    use alloy::dyn_abi::{DynSolType, Specifier};

    use super::*;
    use crate::chain::catalog::Catalog;

    /// Words a type takes before anything dynamic.
    fn head_words(ty: &DynSolType) -> usize {
        match ty {
            DynSolType::Tuple(types) if !is_dynamic(ty) => types.iter().map(head_words).sum(),
            _ => 1,
        }
    }

    fn is_dynamic(ty: &DynSolType) -> bool {
        match ty {
            DynSolType::Bytes | DynSolType::String | DynSolType::Array(_) => true,
            DynSolType::Tuple(types) => types.iter().any(is_dynamic),
            _ => false,
        }
    }

    #[test]
    fn every_mapped_form_is_declared_so_in_the_catalog() {
        for mapping in MAPPINGS {
            let topic = mapping.topic();
            let mut declared = Catalog::eigenlayer().with_topic(&topic);
            let declaration = declared.find(|one| one.contract == mapping.contract.name());
            let event = &declaration.unwrap_or_else(|| panic!("{}", mapping.signature)).event;
            assert_eq!(event.signature(), mapping.signature);
            let (indexed, body): (Vec<_>, Vec<_>) = event.inputs.iter().partition(|p| p.indexed);
            assert_eq!(indexed.len(), mapping.indexed, "{}", mapping.signature);
            let words: usize = body.iter().map(|p| head_words(&p.resolve().unwrap())).sum();
            assert_eq!(words, mapping.head_words, "{}", mapping.signature);
        }
    }
}
