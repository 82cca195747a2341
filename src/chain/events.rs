//! Reads each mapped event's fields, in the order its declaration gives them.
//!
//! One function a form; which form is meant is in `mapping`.

use alloy::primitives::Address;
use assay_domain::event::{PodValidator, Withdrawal};
use assay_domain::{AvsId, Event, OperatorId, OperatorSetId, StakerId, StrategyId, UntrustedText};

use super::abi::{AbiError, Fields, Frame};

pub(super) fn operator_registered(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    Ok(Event::OperatorRegistered { operator, delegation_approver: log.data().address()? })
}

pub(super) fn operator_registered_with_details(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    let delegation_approver = approver_of_details(log.data())?;
    Ok(Event::OperatorRegistered { operator, delegation_approver })
}

pub(super) fn approver_updated(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    Ok(Event::DelegationApproverUpdated { operator, delegation_approver: log.data().address()? })
}

pub(super) fn operator_details_modified(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    let delegation_approver = approver_of_details(log.data())?;
    Ok(Event::DelegationApproverUpdated { operator, delegation_approver })
}

/// `OperatorDetails`: earnings receiver (deprecated), approver, opt-out window in blocks.
fn approver_of_details(data: &mut Frame<'_>) -> Result<Address, AbiError> {
    data.address()?;
    let approver = data.address()?;
    data.u32()?;
    Ok(approver)
}

pub(super) fn operator_metadata(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    let metadata_uri = UntrustedText(log.data().text()?);
    Ok(Event::OperatorMetadataUriUpdated { operator, metadata_uri })
}

fn staker_and_operator(log: &mut Fields<'_>) -> Result<(StakerId, OperatorId), AbiError> {
    Ok((StakerId(log.indexed_address()?), OperatorId(log.indexed_address()?)))
}

pub(super) fn staker_delegated(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (staker, operator) = staker_and_operator(log)?;
    Ok(Event::StakerDelegated { staker, operator })
}

pub(super) fn staker_undelegated(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (staker, operator) = staker_and_operator(log)?;
    Ok(Event::StakerUndelegated { staker, operator })
}

pub(super) fn staker_put_out(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (staker, operator) = staker_and_operator(log)?;
    Ok(Event::StakerForceUndelegated { staker, operator })
}

pub(super) fn operator_shares_increased(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    let data = log.data();
    let (staker, strategy) = (StakerId(data.address()?), StrategyId(data.address()?));
    Ok(Event::OperatorSharesIncreased { operator, staker, strategy, shares: data.u256()? })
}

pub(super) fn operator_shares_decreased(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    let data = log.data();
    let (staker, strategy) = (StakerId(data.address()?), StrategyId(data.address()?));
    Ok(Event::OperatorSharesDecreased { operator, staker, strategy, shares: data.u256()? })
}

pub(super) fn operator_shares_slashed(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    let strategy = StrategyId(log.data().address()?);
    let total_slashed_shares = log.data().u256()?;
    Ok(Event::OperatorSharesSlashed { operator, strategy, total_slashed_shares })
}

pub(super) fn deposit_scaling_factor(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let (staker, strategy) = (StakerId(data.address()?), StrategyId(data.address()?));
    let new_deposit_scaling_factor = data.u256()?;
    Ok(Event::DepositScalingFactorUpdated { staker, strategy, new_deposit_scaling_factor })
}

pub(super) fn slashing_withdrawal_queued(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let withdrawal_root = data.b256()?;
    let withdrawal = data.tuple(7, withdrawal)?;
    let shares_to_withdraw = data.u256s()?;
    same_length(withdrawal.strategies.len(), shares_to_withdraw.len())?;
    Ok(Event::SlashingWithdrawalQueued { withdrawal_root, withdrawal, shares_to_withdraw })
}

pub(super) fn withdrawal_queued(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let withdrawal_root = log.data().b256()?;
    Ok(Event::WithdrawalQueued { withdrawal_root, withdrawal: log.data().tuple(7, withdrawal)? })
}

fn withdrawal(data: &mut Frame<'_>) -> Result<Withdrawal, AbiError> {
    let withdrawal = Withdrawal {
        staker: StakerId(data.address()?),
        delegated_to: OperatorId(data.address()?),
        withdrawer: data.address()?,
        nonce: data.u256()?,
        start_block: data.u32()?,
        strategies: strategies(data)?,
        scaled_shares: data.u256s()?,
    };
    same_length(withdrawal.strategies.len(), withdrawal.scaled_shares.len())?;
    Ok(withdrawal)
}

pub(super) fn allocation_delay(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let operator = OperatorId(data.address()?);
    let (delay_blocks, effect_block) = (data.u32()?, data.u32()?);
    Ok(Event::AllocationDelaySet { operator, delay_blocks, effect_block })
}

pub(super) fn allocation_updated(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let operator = OperatorId(data.address()?);
    let operator_set = operator_set(data)?;
    let strategy = StrategyId(data.address()?);
    let (magnitude, effect_block) = (data.u64()?, data.u32()?);
    Ok(Event::AllocationUpdated { operator, operator_set, strategy, magnitude, effect_block })
}

pub(super) fn encumbered_magnitude(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let (operator, strategy) = (OperatorId(data.address()?), StrategyId(data.address()?));
    let encumbered_magnitude = data.u64()?;
    Ok(Event::EncumberedMagnitudeUpdated { operator, strategy, encumbered_magnitude })
}

pub(super) fn max_magnitude(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let (operator, strategy) = (OperatorId(data.address()?), StrategyId(data.address()?));
    Ok(Event::MaxMagnitudeUpdated { operator, strategy, max_magnitude: data.u64()? })
}

pub(super) fn operator_slashed(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let operator = OperatorId(data.address()?);
    let operator_set = operator_set(data)?;
    let strategies = strategies(data)?;
    let wad_slashed = data.u256s()?;
    let description = UntrustedText(data.text()?);
    same_length(strategies.len(), wad_slashed.len())?;
    Ok(Event::OperatorSlashed { operator, operator_set, strategies, wad_slashed, description })
}

pub(super) fn operator_added(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    Ok(Event::OperatorAddedToOperatorSet { operator, operator_set: operator_set(log.data())? })
}

pub(super) fn operator_removed(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator = OperatorId(log.indexed_address()?);
    Ok(Event::OperatorRemovedFromOperatorSet { operator, operator_set: operator_set(log.data())? })
}

pub(super) fn strategy_added(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator_set = operator_set(log.data())?;
    let strategy = StrategyId(log.data().address()?);
    Ok(Event::StrategyAddedToOperatorSet { operator_set, strategy })
}

pub(super) fn strategy_removed(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator_set = operator_set(log.data())?;
    let strategy = StrategyId(log.data().address()?);
    Ok(Event::StrategyRemovedFromOperatorSet { operator_set, strategy })
}

pub(super) fn redistribution_address(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator_set = operator_set(log.data())?;
    let redistribution_recipient = log.data().address()?;
    Ok(Event::RedistributionAddressSet { operator_set, redistribution_recipient })
}

pub(super) fn slasher(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let operator_set = operator_set(data)?;
    let (slasher, effect_block) = (data.address()?, data.u32()?);
    Ok(Event::SlasherUpdated { operator_set, slasher, effect_block })
}

pub(super) fn slasher_migrated(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let operator_set = operator_set(log.data())?;
    Ok(Event::SlasherMigrated { operator_set, slasher: log.data().address()? })
}

pub(super) fn avs_registrar(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let avs = AvsId(log.data().address()?);
    Ok(Event::AvsRegistrarSet { avs, registrar: log.data().address()? })
}

pub(super) fn avs_metadata(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let avs = AvsId(log.indexed_address()?);
    Ok(Event::AvsMetadataUriUpdated { avs, metadata_uri: UntrustedText(log.data().text()?) })
}

pub(super) fn avs_registration(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (operator, avs) = (OperatorId(log.indexed_address()?), AvsId(log.indexed_address()?));
    let is_registered = log.data().bool()?;
    Ok(Event::OperatorAvsRegistrationStatusUpdated { operator, avs, is_registered })
}

pub(super) fn deposit(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let (staker, strategy) = (StakerId(data.address()?), StrategyId(data.address()?));
    Ok(Event::Deposit { staker, strategy, shares: data.u256()? })
}

pub(super) fn deposit_of_token(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let staker = StakerId(data.address()?);
    data.address()?;
    let strategy = StrategyId(data.address()?);
    Ok(Event::Deposit { staker, strategy, shares: data.u256()? })
}

pub(super) fn burnable_shares_increased(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let (operator_set, slash_id) = (operator_set(data)?, data.u256()?);
    let (strategy, shares) = (StrategyId(data.address()?), data.u256()?);
    Ok(Event::BurnOrRedistributableSharesIncreased { operator_set, slash_id, strategy, shares })
}

pub(super) fn burnable_shares_decreased(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let (operator_set, slash_id) = (operator_set(data)?, data.u256()?);
    let (strategy, shares) = (StrategyId(data.address()?), data.u256()?);
    Ok(Event::BurnOrRedistributableSharesDecreased { operator_set, slash_id, strategy, shares })
}

pub(super) fn pod_deployed(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let eigen_pod = log.indexed_address()?;
    Ok(Event::PodDeployed { eigen_pod, pod_owner: StakerId(log.indexed_address()?) })
}

pub(super) fn pod_shares(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let pod_owner = StakerId(log.indexed_address()?);
    Ok(Event::PodSharesUpdated { pod_owner, shares_delta: log.data().i256()? })
}

pub(super) fn total_pod_shares(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let pod_owner = StakerId(log.indexed_address()?);
    Ok(Event::NewTotalShares { pod_owner, new_total_shares: log.data().i256()? })
}

pub(super) fn validator_restaked(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let validator = PodValidator::PubkeyHash(log.data().b256()?);
    Ok(Event::PodValidatorRestaked { validator })
}

pub(super) fn validator_restaked_by_index(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let validator = PodValidator::Index(log.data().u40()?);
    Ok(Event::PodValidatorRestaked { validator })
}

pub(super) fn balance_updated(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let validator = PodValidator::PubkeyHash(log.data().b256()?);
    new_balance(validator, log.data())
}

pub(super) fn balance_updated_by_index(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let validator = PodValidator::Index(log.data().u40()?);
    new_balance(validator, log.data())
}

fn new_balance(validator: PodValidator, data: &mut Frame<'_>) -> Result<Event, AbiError> {
    let (balance_time, balance_gwei) = (data.u64()?, data.u64()?);
    Ok(Event::PodValidatorBalanceUpdated { validator, balance_time, balance_gwei })
}

pub(super) fn validator_withdrawn(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let checkpoint_time = log.indexed_u64()?;
    let validator = PodValidator::PubkeyHash(log.indexed_b256()?);
    Ok(Event::PodValidatorWithdrawn { checkpoint_time, validator })
}

pub(super) fn validator_withdrawn_by_index(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let checkpoint_time = log.indexed_u64()?;
    let validator = PodValidator::Index(log.indexed_u40()?);
    Ok(Event::PodValidatorWithdrawn { checkpoint_time, validator })
}

pub(super) fn checkpoint_finalized(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let checkpoint_time = log.indexed_u64()?;
    Ok(Event::PodCheckpointFinalized { checkpoint_time, share_delta_wei: log.data().i256()? })
}

pub(super) fn pod_eth_withdrawn(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let recipient = log.indexed_address()?;
    Ok(Event::PodEthWithdrawn { recipient, amount: log.data().u256()? })
}

pub(super) fn beacon_slashing_factor(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    let staker = StakerId(data.address()?);
    let (previous_factor, new_factor) = (data.u64()?, data.u64()?);
    Ok(Event::BeaconChainSlashingFactorDecreased { staker, previous_factor, new_factor })
}

pub(super) fn appointee_set(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (account, appointee) = (log.indexed_address()?, log.indexed_address()?);
    let (target, selector) = (log.data().address()?, log.data().bytes4()?);
    Ok(Event::AppointeeSet { account, appointee, target, selector })
}

pub(super) fn appointee_removed(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (account, appointee) = (log.indexed_address()?, log.indexed_address()?);
    let (target, selector) = (log.data().address()?, log.data().bytes4()?);
    Ok(Event::AppointeeRemoved { account, appointee, target, selector })
}

pub(super) fn operator_set(data: &mut Frame<'_>) -> Result<OperatorSetId, AbiError> {
    Ok(OperatorSetId { avs: AvsId(data.address()?), id: data.u32()? })
}

fn strategies(data: &mut Frame<'_>) -> Result<Vec<StrategyId>, AbiError> {
    Ok(data.addresses()?.into_iter().map(StrategyId).collect())
}

fn same_length(expected: usize, found: usize) -> Result<(), AbiError> {
    if expected == found { Ok(()) } else { Err(AbiError::UnequalLengths { expected, found }) }
}
