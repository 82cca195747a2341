//! What operator sets of the made-up world pay, month by month, in the token of a made-up wrapped
//! ether: the riskier the set, the more.

use alloy::primitives::{Address, U256, keccak256};
use assay_domain::event::{RewardedService, RewardsRule, RewardsSubmission};
use assay_domain::text::UntrustedText;
use assay_domain::{Event, OperatorId, OperatorSetId, StrategyId};

use super::{ALLOCATIONS, ETH, OPERATORS, WAD, World, address, ether, operator, set, time_at};

/// What sets pay: AVS, set, and 1/10,000 of the stake allocated to it, a year.
const PAID: [(usize, u32, u64); 8] = [
    (0, 0, 300),
    (0, 1, 900),
    (1, 0, 1_700),
    (2, 0, 620),
    (3, 0, 210),
    (3, 1, 480),
    (4, 0, 850),
    (5, 0, 340),
];

/// The first day on which anybody is paid, and the days between two payments.
const FIRST_DAY: u64 = 84;
const PERIOD_DAYS: u64 = 28;

impl World {
    /// Sets pay for the days since they last paid.
    pub(super) fn pay(&mut self, day: u64) {
        if day == FIRST_DAY {
            self.announce_pay(day);
        }
        if day < FIRST_DAY || !(day - FIRST_DAY).is_multiple_of(PERIOD_DAYS) {
            return;
        }
        for (avs, id, bips) in PAID {
            let earn = |(_, who, _, _, parts): &(u64, usize, usize, u32, u64)| {
                let stake = ether(OPERATORS[*who].1) / U256::from(1_000) * U256::from(*parts);
                let year = stake / U256::from(10_000) * U256::from(bips);
                (operator(*who), year / U256::from(365) * U256::from(PERIOD_DAYS))
            };
            let serve = |(since, _, of, number, _): &&(u64, usize, usize, u32, u64)| {
                *since < day - PERIOD_DAYS && (*of, *number) == (avs, id)
            };
            // They are named in the order of their addresses.
            let mut operator_rewards: Vec<(OperatorId, U256)> =
                ALLOCATIONS.iter().filter(serve).map(earn).collect();
            operator_rewards.sort_unstable();
            let operator_set = set(avs, id);
            self.say(Event::OperatorDirectedRewardsSubmitted {
                service: RewardedService::OperatorSet(operator_set),
                submission: submission(operator_set, day, paid_in()),
                operator_rewards,
                description: UntrustedText(b"for service (DEMO)".to_vec()),
            });
        }
        // Points that nobody prices, to whoever serves Turnstone.
        let points = set(5, 0);
        self.say(Event::RewardsSubmitted {
            rule: RewardsRule::TotalStake(points),
            submission: submission(points, day, address("points", 0)),
            amount: ether(9_000_000),
        });
    }

    /// What the paying token is worth, and what operators keep of it.
    fn announce_pay(&mut self, day: u64) {
        let price = U256::from(WAD);
        self.say(Event::PriceUpdated { asset: paid_in(), price });
        self.say(Event::DefaultOperatorSplitSet { old_bips: 0, new_bips: 1_000 });
        self.say(Event::OperatorSplitSet {
            caller: operator(1).0,
            operator: operator(1),
            service: Some(RewardedService::OperatorSet(set(1, 0))),
            activated_at: seconds(day + 7),
            old_bips: 1_000,
            new_bips: 2_500,
        });
    }
}

fn paid_in() -> Address {
    address("wrapped ether", 0)
}

fn seconds(day: u64) -> u32 {
    u32::try_from(time_at(day, 0)).unwrap_or(u32::MAX)
}

/// For the days since the payment before.
fn submission(of: OperatorSetId, day: u64, token: Address) -> RewardsSubmission {
    let start_timestamp = seconds(day - PERIOD_DAYS);
    RewardsSubmission {
        submitter: of.avs.0,
        nonce: U256::from(day),
        hash: keccak256(format!("assay-demo rewards {of} {token} {day}")),
        strategies: vec![(StrategyId(ETH), u128::from(WAD))],
        token,
        start_timestamp,
        duration: seconds(day) - start_timestamp,
    }
}
