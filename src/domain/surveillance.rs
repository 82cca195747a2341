//! Grades over time: hysteresis, outlook and watch.
//!
//! A grade follows the expected loss slowly upwards and quickly downwards, and a single day does
//! not make it flap. State goes in and comes out; the caller stores it. What happened on the chain
//! is decided by the fold, which names the triggers.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::grade::{ExpectedLossPpt, Grade, RatingScale};
use crate::parameters::Surveillance;

/// A model grade with the counters that decide when it moves.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Hysteresis {
    /// The grade held, before caps.
    pub grade: Grade,
    /// Epochs in a row clearly above the worse boundary.
    pub worse_epochs: u16,
    /// Epochs in a row clearly below the better boundary.
    pub better_epochs: u16,
    /// Epochs since the last action.
    pub since_action_epochs: u16,
}

/// A move of the model grade.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum GradeMove {
    /// To a worse grade.
    Downgraded {
        /// Before.
        from: Grade,
        /// After.
        to: Grade,
    },
    /// One notch better.
    Upgraded {
        /// Before.
        from: Grade,
        /// After.
        to: Grade,
    },
}

impl Hysteresis {
    /// A new rating. It may be downgraded at once and upgraded after the cool-down.
    #[must_use]
    pub fn assigned(grade: Grade) -> Self {
        Self { grade, worse_epochs: 0, better_epochs: 0, since_action_epochs: 0 }
    }

    /// One epoch with this expected loss: the next state, and the move if there is one.
    ///
    /// D is left only by a resolution, which assigns a new rating.
    #[must_use]
    pub fn step(
        self,
        expected_loss: ExpectedLossPpt,
        scale: &RatingScale,
        parameters: &Surveillance,
    ) -> (Self, Option<GradeMove>) {
        if self.grade == Grade::D {
            return (self, None);
        }
        let raw = scale.grade(expected_loss);
        let count = |applies: bool, epochs: u16| if applies { epochs.saturating_add(1) } else { 0 };
        let next = Self {
            grade: self.grade,
            worse_epochs: count(
                is_clearly_worse(self.grade, expected_loss, scale, parameters),
                self.worse_epochs,
            ),
            better_epochs: count(
                is_clearly_better(self.grade, expected_loss, scale, parameters),
                self.better_epochs,
            ),
            since_action_epochs: self.since_action_epochs.saturating_add(1),
        };
        let jumps = raw.notches_below(self.grade) >= parameters.jump_notches;
        let stays_worse = next.worse_epochs >= parameters.downgrade_epochs && raw > self.grade;
        if jumps || stays_worse {
            let action = GradeMove::Downgraded { from: self.grade, to: raw };
            return (Self::assigned(raw), Some(action));
        }
        let stays_better = next.better_epochs >= parameters.upgrade_epochs;
        if stays_better && next.since_action_epochs >= parameters.upgrade_cooldown_epochs {
            let to = self.grade.one_better();
            let action = GradeMove::Upgraded { from: self.grade, to };
            return (Self::assigned(to), Some(action));
        }
        (next, None)
    }

    /// A default happened: D at once.
    #[must_use]
    pub fn default_event(self) -> (Self, Option<GradeMove>) {
        let action = GradeMove::Downgraded { from: self.grade, to: Grade::D };
        (Self::assigned(Grade::D), (self.grade != Grade::D).then_some(action))
    }
}

/// EL >= factor · worse boundary, squared: no root, no rounding.
fn is_clearly_worse(
    grade: Grade,
    expected_loss: ExpectedLossPpt,
    scale: &RatingScale,
    parameters: &Surveillance,
) -> bool {
    let (numerator, denominator) = parameters.downgrade_factor;
    scale.boundary_squared(grade).is_some_and(|boundary| {
        scaled(expected_loss, denominator) >= scaled_boundary(boundary, numerator)
    })
}

/// EL <= factor · better boundary, squared.
fn is_clearly_better(
    grade: Grade,
    expected_loss: ExpectedLossPpt,
    scale: &RatingScale,
    parameters: &Surveillance,
) -> bool {
    let better = grade.one_better();
    let (numerator, denominator) = parameters.upgrade_factor;
    better != grade
        && scale.boundary_squared(better).is_some_and(|boundary| {
            scaled(expected_loss, denominator) <= scaled_boundary(boundary, numerator)
        })
}

fn scaled(expected_loss: ExpectedLossPpt, factor: u32) -> u128 {
    let scaled = u128::from(expected_loss.0).saturating_mul(factor.into());
    scaled.saturating_mul(scaled)
}

fn scaled_boundary(boundary_squared: u128, factor: u32) -> u128 {
    let factor = u128::from(factor);
    boundary_squared.saturating_mul(factor).saturating_mul(factor)
}

/// Where a rating is heading, if nothing new happens.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// The projected grade is better, and was on each of the last epochs.
    Positive,
    /// Neither.
    Stable,
    /// The projected grade is worse.
    Negative,
}

/// The outlook of a grade, from its projections with everything scheduled applied, oldest first.
#[must_use]
pub fn outlook(grade: Grade, projections: &[Grade], parameters: &Surveillance) -> Outlook {
    let window = usize::from(parameters.outlook_better_epochs);
    let latest_first = || projections.iter().rev().take(window);
    if latest_first().next().is_some_and(|projected| *projected > grade) {
        return Outlook::Negative;
    }
    let better = latest_first().filter(|projected| **projected < grade).count();
    if better >= window && window > 0 { Outlook::Positive } else { Outlook::Stable }
}

/// What puts a rating on watch.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum WatchTrigger {
    /// A set's slasher changes.
    SlasherUpdated,
    /// A position was slashed.
    OperatorSlashed,
    /// A strategy joined a set and touches latent exposure.
    StrategyAddedToOperatorSet,
    /// An operator can now allocate before a delegator can leave.
    AllocationDelayBelowExit,
    /// The hash of an AVS's metadata or ruleset changed.
    MetadataOrRulesetChanged,
    /// The code of a slasher or recipient changed.
    CodeChanged,
    /// An anti-slasher attestation was revoked or expired.
    AntiSlasherLapsed,
    /// The proof of reserve is stale.
    ReserveStale,
    /// The market trades below net asset value.
    MarketBelowValue,
    /// The withdrawal queue exceeds what the buffer and two weeks can pay.
    QueueAboveCapacity,
    /// A guard on net asset value held a report back.
    ValueGuard,
    /// Validators of a rated operator were slashed.
    ValidatorsSlashed,
    /// It takes fewer, others or less time to change a contract that holds slashing power.
    ControlWeakened,
    /// A timelock holds a call of such a contract.
    ChangeScheduled,
}

/// A watch with negative implications.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct Watch {
    /// Epoch in which it was opened.
    pub opened_epoch: u64,
    /// Everything that triggered since, each once.
    pub triggers: BTreeSet<WatchTrigger>,
    /// Epochs in a row without a trigger.
    pub clean_epochs: u16,
}

/// What happened to a watch in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMove {
    /// It was opened.
    Opened,
    /// It was closed, because it stayed clean or somebody resolved it.
    Closed,
}

/// Whether somebody recorded that the reason for a watch is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nobody did.
    None,
    /// It is recorded. Triggers of the same epoch are covered by it.
    Recorded,
}

/// One epoch of a watch: the next state, and what happened.
#[must_use]
pub fn watch_step(
    watch: Option<Watch>,
    epoch: u64,
    triggers: &BTreeSet<WatchTrigger>,
    resolution: Resolution,
    parameters: &Surveillance,
) -> (Option<Watch>, Option<WatchMove>) {
    let is_resolved = resolution == Resolution::Recorded;
    match watch {
        None if triggers.is_empty() || is_resolved => (None, None),
        None => {
            let triggers = triggers.clone();
            let opened = Watch { opened_epoch: epoch, triggers, clean_epochs: 0 };
            (Some(opened), Some(WatchMove::Opened))
        }
        Some(_) if is_resolved => (None, Some(WatchMove::Closed)),
        Some(mut watch) if triggers.is_empty() => {
            watch.clean_epochs = watch.clean_epochs.saturating_add(1);
            if watch.clean_epochs >= parameters.watch_clean_epochs {
                (None, Some(WatchMove::Closed))
            } else {
                (Some(watch), None)
            }
        }
        Some(mut watch) => {
            watch.triggers.extend(triggers);
            watch.clean_epochs = 0;
            (Some(watch), None)
        }
    }
}
