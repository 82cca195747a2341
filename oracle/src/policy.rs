//! How patient, how careful and how rich the transmitter is.

use std::time::Duration;

use crate::submission::Patience;

/// One gwei.
const GWEI: u128 = 1_000_000_000;

/// One ether, wei.
const ETHER: u128 = 1_000_000_000 * GWEI;

/// How the transmitter behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When a block will not go away.
    pub finality: Finality,
    /// When to raise a fee, and when it is too late to send.
    pub patience: Patience,
    /// Deadlines lie this many seconds apart, counted from the newest observation of the batch:
    /// nodes that publish the same batch sign the same digest.
    pub deadline_window_seconds: u64,
    /// `maxFeePerGas` at most, wei. Above it the batch waits.
    pub max_fee_wei_cap: u128,
    /// What the transactions of 24 hours may cost at most, wei. Above it the batch waits.
    pub daily_cost_wei_max: u128,
    /// Gas of a batch at most: more means that the contract is not the one we know.
    pub gas_limit_max: u64,
    /// Chain seconds before a batch that the contract refused is tried again.
    pub retry_seconds: u64,
    /// Where several nodes publish, each lets those whose turn is earlier go first, so many seconds
    /// each.
    pub turn_seconds: u64,
    /// How long what somebody else brought is left alone before we look whether it became final.
    pub recheck_seconds: u64,
    /// How often to look at the chain.
    pub poll_interval: Duration,
    /// How long `publish_once` waits for inclusion.
    pub publish_timeout: Duration,
}

/// When a block will not go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// When the chain's own finality has passed it.
    Tag,
    /// When so many blocks lie on top of it; 0 trusts every block.
    Confirmations(u64),
}

impl Policy {
    /// For Ethereum and chains like it. One push of 100 ratings takes at most 2.8 million gas, so
    /// the caps stand for about one full batch an hour at 30 gwei.
    pub const fn mainnet() -> Self {
        Self {
            finality: Finality::Tag,
            patience: Patience { bump_after_blocks: 4, attempts_max: 12, margin_seconds: 36 },
            deadline_window_seconds: 600,
            max_fee_wei_cap: 300 * GWEI,
            daily_cost_wei_max: 2 * ETHER,
            gas_limit_max: 5_000_000,
            retry_seconds: 60,
            turn_seconds: 24,
            recheck_seconds: 1_200,
            poll_interval: Duration::from_secs(4),
            publish_timeout: Duration::from_secs(900),
        }
    }

    /// For a chain that nobody reorganises and that costs nothing.
    pub const fn development() -> Self {
        Self {
            finality: Finality::Confirmations(0),
            daily_cost_wei_max: 1_000 * ETHER,
            retry_seconds: 1,
            turn_seconds: 1,
            recheck_seconds: 1,
            poll_interval: Duration::from_millis(50),
            publish_timeout: Duration::from_secs(60),
            ..Self::mainnet()
        }
    }

    /// Whether a node signs under a deadline that somebody else has chosen: one of the batch's, not
    /// past, and not more than a window later than its own choice.
    pub const fn accepts(&self, as_of_max: u64, now: u64, deadline: u64) -> bool {
        let window =
            if self.deadline_window_seconds == 0 { 1 } else { self.deadline_window_seconds };
        deadline > as_of_max
            && deadline.saturating_sub(as_of_max).is_multiple_of(window)
            && deadline >= now
            && deadline <= self.deadline(as_of_max, now).saturating_add(window)
    }

    /// The deadline of a batch: the first point of its grid that leaves half a window to land.
    pub const fn deadline(&self, as_of_max: u64, now: u64) -> u64 {
        let window =
            if self.deadline_window_seconds == 0 { 1 } else { self.deadline_window_seconds };
        let earliest = now.saturating_add(window / 2).saturating_add(self.patience.margin_seconds);
        let windows = earliest.saturating_sub(as_of_max).div_ceil(window);
        as_of_max.saturating_add(window.saturating_mul(if windows == 0 { 1 } else { windows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_lie_on_the_grid_of_the_batch_and_leave_time_to_land() {
        let policy = Policy::mainnet();
        let as_of = 1_785_456_012;
        for now in as_of - 200..as_of + 5_000 {
            let deadline = policy.deadline(as_of, now);
            assert_eq!((deadline - as_of) % 600, 0);
            assert!(deadline >= now + 336, "{now}");
            assert!(deadline <= now + 336 + 600 || now < as_of, "{now}");
        }
        assert_eq!(policy.deadline(as_of, as_of + 1), policy.deadline(as_of, as_of + 250));
    }

    #[test]
    fn nodes_whose_clocks_differ_by_minutes_accept_each_others_deadlines_and_no_others() {
        let policy = Policy::mainnet();
        let as_of = 1_785_456_012;
        for now in (as_of..as_of + 3_000).step_by(7) {
            let deadline = policy.deadline(as_of, now);
            for theirs in [now - 290, now, now + 290] {
                assert!(policy.accepts(as_of, theirs, deadline), "{now} {theirs}");
            }
            assert!(!policy.accepts(as_of, now, deadline + 1));
            assert!(!policy.accepts(as_of, now, deadline + 1_200));
            assert!(!policy.accepts(as_of, deadline + 1, deadline));
            assert!(!policy.accepts(as_of, now, as_of));
        }
    }
}
