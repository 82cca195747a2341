//! Reads the RewardsCoordinator's events, as `events` does those of the other contracts.

use alloy::primitives::{Address, B256, U256};
use assay_domain::event::{RewardedService, RewardsRule, RewardsSubmission};
use assay_domain::{AvsId, Event, OperatorId, StrategyId, UntrustedText};

use super::abi::{AbiError, Fields, Frame};
use super::events::operator_set;

/// Words of the heads of `RewardsSubmission` and `OperatorDirectedRewardsSubmission`.
const SUBMISSION_WORDS: usize = 5;
const DIRECTED_WORDS: usize = 6;

pub(super) fn avs_rewards(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    rewards_by_submitter(log, |submitter| RewardsRule::Avs(AvsId(submitter)))
}

pub(super) fn rewards_for_all_stakers(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    rewards_by_submitter(log, |_| RewardsRule::AllStakers)
}

pub(super) fn rewards_for_all_earners(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    rewards_by_submitter(log, |_| RewardsRule::AllEarners)
}

fn rewards_by_submitter(
    log: &mut Fields<'_>,
    rule: impl FnOnce(Address) -> RewardsRule,
) -> Result<Event, AbiError> {
    let submitter = log.indexed_address()?;
    let nonce = U256::from_be_bytes(log.indexed_b256()?.0);
    let hash = log.indexed_b256()?;
    submitted(log.data(), rule(submitter), (submitter, nonce, hash))
}

pub(super) fn unique_stake_rewards(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (submitter, hash) = (log.indexed_address()?, log.indexed_b256()?);
    let rule = RewardsRule::UniqueStake(operator_set(log.data())?);
    let nonce = log.data().u256()?;
    submitted(log.data(), rule, (submitter, nonce, hash))
}

pub(super) fn total_stake_rewards(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (submitter, hash) = (log.indexed_address()?, log.indexed_b256()?);
    let rule = RewardsRule::TotalStake(operator_set(log.data())?);
    let nonce = log.data().u256()?;
    submitted(log.data(), rule, (submitter, nonce, hash))
}

/// `RewardsSubmission`: strategies with multipliers, token, amount, start, duration.
fn submitted(
    data: &mut Frame<'_>,
    rule: RewardsRule,
    (submitter, nonce, hash): (Address, U256, B256),
) -> Result<Event, AbiError> {
    data.tuple(SUBMISSION_WORDS, |data| {
        let (submission, amount) = submission(data, (submitter, nonce, hash), Frame::u256)?;
        Ok(Event::RewardsSubmitted { rule, submission, amount })
    })
}

/// What both kinds of submissions begin with; what is paid stands in the middle of it.
fn submission<'a, T>(
    data: &mut Frame<'a>,
    (submitter, nonce, hash): (Address, U256, B256),
    paid: impl FnOnce(&mut Frame<'a>) -> Result<T, AbiError>,
) -> Result<(RewardsSubmission, T), AbiError> {
    let strategies = multipliers(data)?;
    let token = data.address()?;
    let paid = paid(data)?;
    let (start_timestamp, duration) = (data.u32()?, data.u32()?);
    let submission =
        RewardsSubmission { submitter, nonce, hash, strategies, token, start_timestamp, duration };
    Ok((submission, paid))
}

pub(super) fn operator_directed_avs_rewards(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (submitter, avs) = (log.indexed_address()?, AvsId(log.indexed_address()?));
    let hash = log.indexed_b256()?;
    let nonce = log.data().u256()?;
    directed(log.data(), RewardedService::Avs(avs), (submitter, nonce, hash))
}

pub(super) fn operator_directed_set_rewards(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (submitter, hash) = (log.indexed_address()?, log.indexed_b256()?);
    let set = operator_set(log.data())?;
    let nonce = log.data().u256()?;
    directed(log.data(), RewardedService::OperatorSet(set), (submitter, nonce, hash))
}

/// `OperatorDirectedRewardsSubmission`: strategies with multipliers, token, amount of each
/// operator, start, duration, description.
fn directed(
    data: &mut Frame<'_>,
    service: RewardedService,
    (submitter, nonce, hash): (Address, U256, B256),
) -> Result<Event, AbiError> {
    data.tuple(DIRECTED_WORDS, |data| {
        let (submission, rewards) = submission(data, (submitter, nonce, hash), Frame::amounts)?;
        let description = UntrustedText(data.text()?);
        let operator_rewards =
            rewards.into_iter().map(|(operator, amount)| (OperatorId(operator), amount)).collect();
        Ok(Event::OperatorDirectedRewardsSubmitted {
            service,
            submission,
            operator_rewards,
            description,
        })
    })
}

/// An `uint96` each.
fn multipliers(data: &mut Frame<'_>) -> Result<Vec<(StrategyId, u128)>, AbiError> {
    let narrow = |(strategy, multiplier): (Address, U256)| {
        let found = u128::try_from(multiplier).ok().filter(|found| found >> 96 == 0);
        let refused =
            || AbiError::OutOfRange { expected: "an uint96", word: B256::from(multiplier) };
        Ok((StrategyId(strategy), found.ok_or_else(refused)?))
    };
    data.amounts()?.into_iter().map(narrow).collect()
}

pub(super) fn operator_avs_split(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (caller, operator) = (log.indexed_address()?, OperatorId(log.indexed_address()?));
    let avs = AvsId(log.indexed_address()?);
    split(log.data(), caller, operator, Some(RewardedService::Avs(avs)))
}

pub(super) fn operator_incentives_split(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (caller, operator) = (log.indexed_address()?, OperatorId(log.indexed_address()?));
    split(log.data(), caller, operator, None)
}

pub(super) fn operator_set_split(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let (caller, operator) = (log.indexed_address()?, OperatorId(log.indexed_address()?));
    let set = operator_set(log.data())?;
    split(log.data(), caller, operator, Some(RewardedService::OperatorSet(set)))
}

fn split(
    data: &mut Frame<'_>,
    caller: Address,
    operator: OperatorId,
    service: Option<RewardedService>,
) -> Result<Event, AbiError> {
    let (activated_at, old_bips, new_bips) = (data.u32()?, data.u16()?, data.u16()?);
    Ok(Event::OperatorSplitSet { caller, operator, service, activated_at, old_bips, new_bips })
}

pub(super) fn default_split(log: &mut Fields<'_>) -> Result<Event, AbiError> {
    let data = log.data();
    Ok(Event::DefaultOperatorSplitSet { old_bips: data.u16()?, new_bips: data.u16()? })
}
