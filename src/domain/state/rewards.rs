//! What the RewardsCoordinator promised to whom, and the stake that earned it.
//!
//! Amounts are kept by the period they are earned in, stake as value times days in months of
//! 28 epochs; both are forgotten once they are behind the window, so memory is bounded by what a
//! chain can say in a year. Submissions may be about the past or about the future.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};

use super::staker::mul_div_floor;
use crate::event::{Event, RewardedService, RewardsRule, RewardsSubmission};
use crate::id::{AvsId, OperatorId, OperatorSetId, StrategyId};

/// Epochs that stake is summed over.
const MONTH_EPOCHS: u64 = 28;
/// Months of the window over which rewards are a yearly rate, besides the current one.
const WINDOW_MONTHS: u64 = 13;
/// Seconds of an epoch (methodology §2.1).
const EPOCH_SECONDS: u64 = 86_400;
/// 1/10,000 in one.
const BIPS: u64 = 10_000;
/// The split of an operator that set none, where the log does not say: the value with which
/// `RewardsCoordinator` was initialised.
const DEFAULT_SPLIT_BIPS: u16 = 1_000;

/// Who earns an amount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Earner {
    /// An operator and its delegators, for an operator set.
    Member(OperatorId, OperatorSetId),
    /// An operator and its delegators, for an AVS.
    ServantOf(OperatorId, AvsId),
    /// Stake allocated to a set, in strategies with their multipliers.
    UniqueStake(OperatorSetId, Vec<(StrategyId, u128)>),
    /// All stake of a set's members, in strategies with their multipliers.
    TotalStake(OperatorSetId, Vec<(StrategyId, u128)>),
    /// Whoever the AVSDirectory has for an AVS: earned without slashable stake.
    Avs(AvsId),
    /// Everyone: the protocol's own incentives.
    Everyone,
}

/// Amounts by the period in which they are earned: first second and seconds.
type Periods = BTreeMap<(u32, u32), U256>;

/// A share that changes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Split {
    before: u16,
    after: u16,
    activated_at: u64,
}

impl Split {
    const fn at(self, time: u64) -> u16 {
        if time < self.activated_at { self.before } else { self.after }
    }
}

/// Rewards of one chain.
#[derive(Debug, Clone, Default)]
pub struct Rewards {
    amounts: BTreeMap<Earner, BTreeMap<Address, Periods>>,
    splits: BTreeMap<(OperatorId, Option<RewardedService>), Split>,
    default_split: Option<u16>,
    /// Wei of slashable stake times days, by month.
    stake_days: BTreeMap<(OperatorId, OperatorSetId), BTreeMap<u64, U256>>,
    /// The first epoch whose stake was counted.
    since: Option<u64>,
    /// What the window is now.
    window: Option<Window>,
}

/// The time over which rewards and stake are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Days.
    pub days: u64,
    /// Seconds since the Unix epoch, inclusive.
    pub from: u64,
    /// Seconds since the Unix epoch, exclusive.
    pub to: u64,
}

impl Rewards {
    /// Folds an event of the RewardsCoordinator; all others leave everything as it is.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::RewardsSubmitted { rule, submission, amount } => {
                let strategies = || submission.strategies.clone();
                let earner = match rule {
                    RewardsRule::Avs(avs) => Earner::Avs(*avs),
                    RewardsRule::UniqueStake(set) => Earner::UniqueStake(*set, strategies()),
                    RewardsRule::TotalStake(set) => Earner::TotalStake(*set, strategies()),
                    RewardsRule::AllEarners | RewardsRule::AllStakers => Earner::Everyone,
                };
                self.add(earner, submission, *amount);
            }
            Event::OperatorDirectedRewardsSubmitted {
                service,
                submission,
                operator_rewards,
                ..
            } => {
                for (operator, amount) in operator_rewards {
                    let earner = match service {
                        RewardedService::Avs(avs) => Earner::ServantOf(*operator, *avs),
                        RewardedService::OperatorSet(set) => Earner::Member(*operator, *set),
                    };
                    self.add(earner, submission, *amount);
                }
            }
            Event::OperatorSplitSet {
                operator, service, activated_at, old_bips, new_bips, ..
            } => {
                let (before, after) = (*old_bips, *new_bips);
                let split = Split { before, after, activated_at: u64::from(*activated_at) };
                self.splits.insert((*operator, *service), split);
            }
            Event::DefaultOperatorSplitSet { new_bips, .. } => {
                self.default_split = Some(*new_bips);
            }
            _ => {}
        }
    }

    fn add(&mut self, earner: Earner, submission: &RewardsSubmission, amount: U256) {
        let periods = self.amounts.entry(earner).or_default().entry(submission.token).or_default();
        let key = (submission.start_timestamp, submission.duration);
        let held = periods.entry(key).or_default();
        *held = held.saturating_add(amount);
    }

    /// Counts a day of stake and forgets what is behind the window.
    pub(super) fn end_epoch(
        &mut self,
        epoch: u64,
        time: u64,
        stakes: impl IntoIterator<Item = ((OperatorId, OperatorSetId), U256)>,
    ) {
        let since = *self.since.get_or_insert(epoch);
        let month = epoch.checked_div(MONTH_EPOCHS).unwrap_or_default();
        for (position, stake) in stakes {
            let days = self.stake_days.entry(position).or_default().entry(month).or_default();
            *days = days.saturating_add(stake);
        }
        let oldest = month.saturating_sub(WINDOW_MONTHS);
        let first_epoch = oldest.saturating_mul(MONTH_EPOCHS).max(since);
        let days = epoch.saturating_sub(first_epoch).saturating_add(1);
        let from = time.saturating_sub(days.saturating_mul(EPOCH_SECONDS));
        self.window = Some(Window { days, from, to: time });
        self.stake_days.retain(|_, months| {
            months.retain(|month, _| *month >= oldest);
            !months.is_empty()
        });
        self.amounts.retain(|_, tokens| {
            tokens.retain(|_, periods| {
                periods.retain(|(start, seconds), _| end(*start, *seconds) > from);
                !periods.is_empty()
            });
            !tokens.is_empty()
        });
    }

    /// The window: thirteen months and what there is of the current one, but not from before stake
    /// was counted. `None` before the first epoch ended.
    pub const fn window(&self) -> Option<Window> {
        self.window
    }

    /// Wei of slashable stake times days of an operator in a set within the window.
    pub fn stake_days(&self, operator: OperatorId, set: OperatorSetId) -> U256 {
        let months = self.stake_days.get(&(operator, set)).into_iter().flatten();
        months.fold(U256::ZERO, |sum, (_, days)| sum.saturating_add(*days))
    }

    /// What an earner earned within the window, by token, in the tokens' own units.
    pub fn earned(&self, earner: &Earner) -> BTreeMap<Address, U256> {
        let Some(window) = self.window else { return BTreeMap::new() };
        let tokens = self.amounts.get(earner).into_iter().flatten();
        let sum = |periods: &Periods| {
            periods.iter().fold(U256::ZERO, |sum, (period, amount)| {
                sum.saturating_add(within(*period, *amount, window))
            })
        };
        let found = tokens.map(|(token, periods)| (*token, sum(periods)));
        found.filter(|(_, amount)| !amount.is_zero()).collect()
    }

    /// What an operator keeps of the amounts in a token that name it, as far as they are earned
    /// within the window and before a time.
    pub fn kept(&self, operator: OperatorId, token: Address, until: u64) -> U256 {
        let Some(window) = self.window else { return U256::ZERO };
        let window = Window { to: window.to.min(until), ..window };
        let is_own = |earner: &Earner| match earner {
            Earner::Member(who, set) if *who == operator => {
                Some(RewardedService::OperatorSet(*set))
            }
            Earner::ServantOf(who, avs) if *who == operator => Some(RewardedService::Avs(*avs)),
            _ => None,
        };
        let own = self.amounts.iter().filter_map(|(earner, tokens)| {
            let (service, periods) = (is_own(earner)?, tokens.get(&token)?);
            let earned = periods.iter().fold(U256::ZERO, |sum, (period, amount)| {
                sum.saturating_add(within(*period, *amount, window))
            });
            Some(earned.saturating_sub(self.after_split(earned, operator, service, until)))
        });
        own.fold(U256::ZERO, U256::saturating_add)
    }

    /// Rules by which the stake of a set's members earns.
    pub fn rules_of(&self, set: OperatorSetId) -> impl Iterator<Item = &Earner> {
        let by_unique = self.amounts.range(Earner::UniqueStake(set, Vec::new())..);
        let by_total = self.amounts.range(Earner::TotalStake(set, Vec::new())..);
        let is_unique =
            move |earner: &&Earner| matches!(earner, Earner::UniqueStake(of, _) if *of == set);
        let is_total =
            move |earner: &&Earner| matches!(earner, Earner::TotalStake(of, _) if *of == set);
        let keys = by_unique.map(|(earner, _)| earner).take_while(is_unique);
        keys.chain(by_total.map(|(earner, _)| earner).take_while(is_total))
    }

    /// The share of its rewards for a service that an operator keeps, 1/10,000.
    pub fn split_bips(&self, operator: OperatorId, service: RewardedService, time: u64) -> u64 {
        let set = self.splits.get(&(operator, Some(service))).map(|split| split.at(time));
        let bips = set.or(self.default_split).unwrap_or(DEFAULT_SPLIT_BIPS);
        u64::from(bips).min(BIPS)
    }

    /// What an operator's delegators get of an amount.
    pub fn after_split(
        &self,
        amount: U256,
        operator: OperatorId,
        service: RewardedService,
        time: u64,
    ) -> U256 {
        let left = BIPS.saturating_sub(self.split_bips(operator, service, time));
        mul_div_floor(amount, U256::from(left), U256::from(BIPS)).unwrap_or_default()
    }
}

fn end(start: u32, seconds: u32) -> u64 {
    u64::from(start).saturating_add(u64::from(seconds).max(1))
}

/// The part of a period's amount that is earned within a window, rounded down.
fn within((start, seconds): (u32, u32), amount: U256, window: Window) -> U256 {
    let from = u64::from(start).max(window.from);
    let to = end(start, seconds).min(window.to);
    let overlap = to.saturating_sub(from);
    mul_div_floor(amount, U256::from(overlap), U256::from(seconds.max(1))).unwrap_or_default()
}
