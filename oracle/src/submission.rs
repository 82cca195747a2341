//! The life of one batch on its way to the chain, as a pure function.
//!
//! `next` takes what was seen and says what follows; the transmitter looks and acts.
//! Every step may be repeated: after a crash the same observation gives the same step again.
//!
//! ```text
//! due ──Sign──▶ signed ──Prepare──▶ sent ──▶ included ──▶ final
//!  │              │            ▲      │         │
//!  └──────────────┴─ expired ─▶│◀─────┼─ reorg ─┘
//!              abandoned ◀─────┴──────┘ nonce spent by somebody else
//! ```

use alloy::primitives::B256;

/// Numerator and denominator of a fee bump: every node accepts a replacement from 10 % up.
const BUMP: (u128, u128) = (9, 8);

/// A batch on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    /// Last second at which the contract takes it.
    pub deadline: u64,
    /// How far it has come.
    pub phase: Phase,
    /// Transactions stored for it.
    pub attempts: u32,
    /// What the newest of them does.
    pub intent: Intent,
    /// Head of the chain when the newest was stored.
    pub since_block: u64,
}

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Chosen; not signed.
    Due,
    /// Signed by a quorum; no nonce spent.
    Signed,
    /// A raw transaction is stored and was, or will be, broadcast.
    Sent,
    /// Its nonce was spent in this block.
    Included(Inclusion),
    /// That block will not go away.
    Final(Inclusion),
    /// It spends no nonce, or lost it to somebody else; its reports are due again, unless somebody
    /// else brought them.
    Abandoned,
}

/// Where a nonce was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inclusion {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// What the transaction did.
    pub landing: Landing,
}

/// What an included transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// The contract took the batch; each rating was stored or skipped.
    Stored,
    /// The contract reverted: expired, paused, or other signers.
    Reverted,
    /// It was a cancellation.
    Cancelled,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Bring the batch.
    Publish,
    /// Spend the nonce of a batch that has expired.
    Cancel,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// A quorum's signatures are stored.
    Signed,
    /// A dry run says that the contract would refuse the batch.
    WouldRevert,
    /// A further raw transaction is stored.
    Stored {
        /// What it is for.
        intent: Intent,
        /// Head of the chain.
        head: u64,
    },
    /// The nonce is not spent on the present chain.
    Unspent {
        /// Head of the chain.
        head: u64,
        /// Its time.
        time: u64,
    },
    /// The contract holds these ratings, or newer ones, though we have sent nothing.
    Landed {
        /// Whether that will not go away.
        is_final: bool,
    },
    /// The nonce was spent, and not by us.
    SpentElsewhere,
    /// One of our transactions is in a block.
    Included(Inclusion),
    /// One of our transactions is in a block that will not go away.
    Final(Inclusion),
}

/// What must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Clear with the guard, sign, store the signatures.
    Sign,
    /// Allocate a nonce and store a raw transaction, in one database transaction.
    Prepare,
    /// Send the newest stored bytes, again if need be.
    Broadcast,
    /// Store the same transaction at a higher fee, then send it.
    Bump,
    /// Store a transaction that does nothing under the same nonce, then send it.
    Cancel,
    /// Make the reports due again.
    Release,
    /// Read from the contract what became of each report.
    Settle,
}

/// When to lose patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Blocks a transaction waits before its fee is raised.
    pub bump_after_blocks: u64,
    /// Transactions stored for one nonce at most.
    pub attempts_max: u32,
    /// Seconds before the deadline from which on it is too late to send.
    pub margin_seconds: u64,
}

impl Submission {
    /// A batch just chosen.
    pub const fn due(deadline: u64) -> Self {
        let phase = Phase::Due;
        Self { deadline, phase, attempts: 0, intent: Intent::Publish, since_block: 0 }
    }

    /// What follows from what was seen. An observation that does not concern the phase, such as
    /// one made before a crash, changes nothing.
    pub fn next(self, observation: Observation, patience: Patience) -> (Self, Option<Step>) {
        match (self.phase, observation) {
            (Phase::Due | Phase::Signed, Observation::Unspent { time, .. })
                if self.is_late(time, patience) =>
            {
                (Self { phase: Phase::Abandoned, ..self }, Some(Step::Release))
            }
            (Phase::Due | Phase::Signed, Observation::Landed { is_final }) => {
                let step = if is_final { Step::Settle } else { Step::Release };
                (Self { phase: Phase::Abandoned, ..self }, Some(step))
            }
            (Phase::Due, Observation::Unspent { .. }) => (self, Some(Step::Sign)),
            (Phase::Due, Observation::Signed) => (Self { phase: Phase::Signed, ..self }, None),
            (Phase::Signed, Observation::Unspent { .. }) => (self, Some(Step::Prepare)),
            (Phase::Due | Phase::Signed, Observation::WouldRevert)
            | (Phase::Sent, Observation::SpentElsewhere) => {
                (Self { phase: Phase::Abandoned, ..self }, Some(Step::Release))
            }
            (Phase::Signed | Phase::Sent, Observation::Stored { intent, head }) => {
                let attempts = self.attempts.saturating_add(1);
                let sent = Self { phase: Phase::Sent, attempts, intent, since_block: head, ..self };
                (sent, Some(Step::Broadcast))
            }
            (Phase::Sent, Observation::Unspent { head, time }) => {
                (self, Some(self.waiting_step(head, time, patience)))
            }
            (Phase::Sent | Phase::Included(_), Observation::Included(at)) => self.included(at),
            (Phase::Sent | Phase::Included(_), Observation::Final(at)) => {
                (Self { phase: Phase::Final(at), ..self }, Some(Step::Settle))
            }
            // Reorged: the pool may have lost it, so the same bytes go out again.
            (Phase::Included(_), Observation::Unspent { head, .. }) => {
                let sent = Self { phase: Phase::Sent, since_block: head, ..self };
                (sent, Some(Step::Broadcast))
            }
            // Reorged, and then somebody else was faster.
            (Phase::Included(_), Observation::SpentElsewhere) => {
                (Self { phase: Phase::Abandoned, ..self }, Some(Step::Release))
            }
            _ => (self, None),
        }
    }

    /// Whether nothing will happen to it any more.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Final(_) | Phase::Abandoned)
    }

    /// Whether it holds, or is about to take, a nonce that is not spent.
    pub const fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Due | Phase::Signed | Phase::Sent)
    }

    fn included(self, at: Inclusion) -> (Self, Option<Step>) {
        let is_news = self.phase != Phase::Included(at);
        // What was not taken is tried again at once, not only when the block is final.
        let step = match at.landing {
            Landing::Stored => None,
            Landing::Reverted | Landing::Cancelled => is_news.then_some(Step::Release),
        };
        (Self { phase: Phase::Included(at), ..self }, step)
    }

    /// What to do about a transaction that no block has taken.
    fn waiting_step(&self, head: u64, time: u64, patience: Patience) -> Step {
        if time > self.deadline && self.intent == Intent::Publish {
            return Step::Cancel;
        }
        let waited = head.saturating_sub(self.since_block);
        if waited >= patience.bump_after_blocks && self.attempts < patience.attempts_max {
            return Step::Bump;
        }
        Step::Broadcast
    }

    const fn is_late(&self, time: u64, patience: Patience) -> bool {
        time.saturating_add(patience.margin_seconds) > self.deadline
    }
}

/// What a transaction may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// `maxFeePerGas`, wei.
    pub max_fee_wei: u128,
    /// `maxPriorityFeePerGas`, wei.
    pub tip_wei: u128,
}

impl Fees {
    /// The fees of a replacement: an eighth more of both, and at least what a new transaction
    /// would offer. `None` if that is above the cap: then the old one keeps waiting.
    pub fn bumped(self, market: Self, max_fee_wei_cap: u128) -> Option<Self> {
        let raise = |wei: u128| wei.saturating_mul(BUMP.0).div_ceil(BUMP.1);
        let max_fee_wei = raise(self.max_fee_wei).max(market.max_fee_wei);
        let tip_wei = raise(self.tip_wei).max(market.tip_wei);
        (max_fee_wei <= max_fee_wei_cap && tip_wei <= max_fee_wei)
            .then_some(Self { max_fee_wei, tip_wei })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience =
        Patience { bump_after_blocks: 3, attempts_max: 4, margin_seconds: 60 };

    const AT: Inclusion =
        Inclusion { number: 9, hash: B256::repeat_byte(9), landing: Landing::Stored };

    fn unspent(head: u64, time: u64) -> Observation {
        Observation::Unspent { head, time }
    }

    fn walk(observations: &[Observation]) -> (Submission, Vec<Step>) {
        let mut steps = Vec::new();
        let mut submission = Submission::due(1_000);
        for observation in observations {
            let (next, step) = submission.next(*observation, PATIENCE);
            submission = next;
            steps.extend(step);
        }
        (submission, steps)
    }

    fn check(observations: &[Observation], phase: Phase, steps: &[Step]) {
        let (submission, taken) = walk(observations);
        assert_eq!((submission.phase, taken.as_slice()), (phase, steps), "{observations:?}");
    }

    #[test]
    fn what_somebody_else_brought_is_not_sent_again() {
        for before in [vec![], vec![Observation::Signed]] {
            for (is_final, step) in [(false, Step::Release), (true, Step::Settle)] {
                let seen: Vec<_> =
                    before.iter().copied().chain([Observation::Landed { is_final }]).collect();
                check(&seen, Phase::Abandoned, &[step]);
            }
        }
        // Once sent, the nonce decides.
        let sent = [Observation::Signed, STORED, Observation::Landed { is_final: true }];
        check(&sent, Phase::Sent, &[Step::Broadcast]);
    }

    const STORED: Observation = Observation::Stored { intent: Intent::Publish, head: 5 };

    #[test]
    fn the_straight_way() {
        let seen = [
            unspent(5, 100),
            Observation::Signed,
            unspent(5, 100),
            STORED,
            Observation::Included(AT),
            Observation::Final(AT),
        ];
        let steps = [Step::Sign, Step::Prepare, Step::Broadcast, Step::Settle];
        check(&seen, Phase::Final(AT), &steps);
    }

    #[test]
    fn a_reorg_sends_the_same_bytes_again() {
        let seen = [
            Observation::Signed,
            STORED,
            Observation::Included(AT),
            unspent(8, 120),
            Observation::Included(Inclusion { number: 10, ..AT }),
        ];
        let moved = Phase::Included(Inclusion { number: 10, ..AT });
        check(&seen, moved, &[Step::Broadcast, Step::Broadcast]);
    }

    #[test]
    fn waiting_raises_the_fee_so_many_times_and_then_only_repeats() {
        let mut seen = vec![Observation::Signed, STORED, unspent(6, 100), unspent(8, 100)];
        let steps = [Step::Broadcast, Step::Broadcast, Step::Bump];
        check(&seen, Phase::Sent, &steps);
        for head in [8, 11, 14] {
            seen.push(Observation::Stored { intent: Intent::Publish, head });
        }
        seen.push(unspent(99, 100));
        let (submission, steps) = walk(&seen);
        assert_eq!((submission.attempts, steps.last()), (4, Some(&Step::Broadcast)));
    }

    #[test]
    fn an_expired_batch_spends_its_nonce_on_nothing_and_is_due_again() {
        let cancel = Observation::Stored { intent: Intent::Cancel, head: 7 };
        let gone = Inclusion { landing: Landing::Cancelled, ..AT };
        let seen = [
            Observation::Signed,
            STORED,
            unspent(7, 1_001),
            cancel,
            unspent(8, 1_010),
            Observation::Included(gone),
            Observation::Included(gone),
        ];
        let steps =
            [Step::Broadcast, Step::Cancel, Step::Broadcast, Step::Broadcast, Step::Release];
        check(&seen, Phase::Included(gone), &steps);
        check(&[unspent(1, 950)], Phase::Abandoned, &[Step::Release]);
    }

    #[test]
    fn a_nonce_spent_by_somebody_else_frees_the_reports() {
        let seen = [Observation::Signed, STORED, Observation::SpentElsewhere];
        check(&seen, Phase::Abandoned, &[Step::Broadcast, Step::Release]);
    }

    fn observation() -> impl Strategy<Value = Observation> {
        let landing =
            prop_oneof![Just(Landing::Stored), Just(Landing::Reverted), Just(Landing::Cancelled)];
        let intent = prop_oneof![Just(Intent::Publish), Just(Intent::Cancel)];
        let at = (0..30_u64, landing).prop_map(|(number, landing)| Inclusion {
            number,
            hash: B256::repeat_byte(1),
            landing,
        });
        prop_oneof![
            Just(Observation::Signed),
            Just(Observation::WouldRevert),
            (intent, 0..30_u64).prop_map(|(intent, head)| Observation::Stored { intent, head }),
            (0..30_u64, 0..2_000_u64).prop_map(|(head, time)| unspent(head, time)),
            Just(Observation::SpentElsewhere),
            at.clone().prop_map(Observation::Included),
            at.prop_map(Observation::Final),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_seen_nothing_is_lost_or_sent_late(
            seen in prop::collection::vec(observation(), 0..40)
        ) {
            let mut submission = Submission::due(1_000);
            for observation in seen {
                let (next, step) = submission.next(observation, PATIENCE);
                if submission.is_closed() {
                    prop_assert_eq!((next, step), (submission, None));
                }
                // Leaving without a landing frees the reports; a landing settles them.
                if next.is_closed() && !submission.is_closed() {
                    let released = next.phase == Phase::Abandoned;
                    let expected = if released { Step::Release } else { Step::Settle };
                    prop_assert_eq!(step, Some(expected));
                }
                // No nonce is taken without signatures, and none is left unspent.
                if step == Some(Step::Prepare) {
                    prop_assert_eq!(submission.phase, Phase::Signed);
                }
                if next.phase == Phase::Abandoned && submission.phase == Phase::Sent {
                    prop_assert_eq!(observation, Observation::SpentElsewhere);
                }
                if step == Some(Step::Bump) {
                    prop_assert!(submission.attempts < PATIENCE.attempts_max);
                }
                // The same observation again asks for nothing that was not asked before.
                prop_assert!(next.attempts >= submission.attempts);
                submission = next;
            }
        }

        #[test]
        fn a_replacement_offers_at_least_a_tenth_more_of_both(
            max_fee in 1..1_u128 << 60, tip in 0..1_u128 << 60, market in 0..1_u128 << 60
        ) {
            let fees = Fees { max_fee_wei: max_fee.max(tip), tip_wei: tip };
            let market = Fees { max_fee_wei: market, tip_wei: market / 2 };
            let bumped = fees.bumped(market, u128::MAX).unwrap();
            prop_assert!(bumped.max_fee_wei * 10 >= fees.max_fee_wei * 11);
            prop_assert!(bumped.tip_wei * 10 >= fees.tip_wei * 11);
            prop_assert!(bumped.tip_wei <= bumped.max_fee_wei);
            prop_assert!(fees.bumped(market, bumped.max_fee_wei - 1).is_none());
        }
    }
}
