//! A loss block: the event of one cause on one set of positions, and what it costs.

use std::collections::BTreeMap;
use std::fmt;

use super::factor::Hazard;
use super::fixed::{BasisPoints, Probability};

/// Cells of the grid above zero: one for each basis point of net asset value, the last is the cap.
pub const CELLS: u16 = 10_000;
/// Severity probabilities may miss one by this much (2⁻³³, about 1e-10) for decimals cut short.
const SEVERITY_SLACK_BITS: u32 = 33;

/// Names a block, for example `C1|A|S1`. Blocks are folded in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId(String);

/// What an event costs: distinct losses in bp, ascending, with probabilities that sum to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Severity(Vec<(u16, Probability)>);

/// One compound-Bernoulli event: at most one loss a year, of random size.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    id: BlockId,
    hazard: Hazard,
    beta: f64,
    severity: Severity,
}

/// What is wrong with a block, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlockProblem {
    /// The id is empty.
    #[error("the id is empty; give the block a name, for example \"C1|A|S1\"")]
    NoId,
    /// A rate or Gamma parameter is negative, infinite or NaN.
    #[error("found {found}, expected finite numbers not below zero (and r above zero)")]
    Hazard {
        /// What was given.
        found: Hazard,
    },
    /// β is outside 0 to 1 or NaN.
    #[error("found beta {found}, expected 0 to 1: the share of the hazard that follows the factor")]
    Beta {
        /// What was given.
        found: f64,
    },
    /// The severity has no loss above zero.
    #[error("no loss is listed; give severity_bp at least one loss from 1 to 10000 bp")]
    NoSeverity,
    /// A loss is not on the grid.
    #[error(
        "found a loss of {found} bp, expected 1 to 10000; cap it at 10000 (all of the exposure)"
    )]
    Loss {
        /// What was given, bp.
        found: u64,
    },
    /// Severity probabilities do not sum to one.
    #[error("severity probabilities sum to {found}, expected 1; scale them")]
    SeveritySum {
        /// Their sum, rounded down; 1 or more is shown as it is.
        found: String,
    },
}

impl BlockId {
    /// Any text but the empty one.
    ///
    /// # Errors
    /// [`BlockProblem::NoId`].
    pub fn new(id: impl Into<String>) -> Result<Self, BlockProblem> {
        let id = id.into();
        if id.is_empty() { Err(BlockProblem::NoId) } else { Ok(Self(id)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Severity {
    /// Always the same loss.
    ///
    /// # Errors
    /// [`BlockProblem::Loss`] unless it is 1 to 10,000 bp.
    pub fn certain(loss_bp: u16) -> Result<Self, BlockProblem> {
        Self::new([(loss_bp, Probability::ONE)])
    }

    /// Losses in bp with their probabilities; equal losses are merged, impossible ones dropped.
    ///
    /// What rounding left of the sum goes to the worst loss, what it added is taken from the least.
    ///
    /// # Errors
    /// When a loss is not 1 to 10,000 bp, none is possible, or the probabilities do not sum to one.
    pub fn new(losses: impl IntoIterator<Item = (u16, Probability)>) -> Result<Self, BlockProblem> {
        Self::from_cell(1, losses)
    }

    /// As [`Severity::new`], where an event may also round to no loss if `least` is zero.
    pub(super) fn from_cell(
        least: u16,
        losses: impl IntoIterator<Item = (u16, Probability)>,
    ) -> Result<Self, BlockProblem> {
        let one = Probability::ONE.to_q127();
        let mut merged: BTreeMap<u16, u128> = BTreeMap::new();
        let mut sum = 0_u128;
        for (loss_bp, p) in losses {
            if !(least..=CELLS).contains(&loss_bp) {
                return Err(BlockProblem::Loss { found: u64::from(loss_bp) });
            }
            // At most 2^127 each, so only a sum of two or more saturates, and that is refused.
            sum = sum.saturating_add(p.to_q127());
            let entry = merged.entry(loss_bp).or_default();
            *entry = entry.saturating_add(p.to_q127());
        }
        let mut losses: Vec<_> = merged.into_iter().filter(|&(_, p)| p > 0).collect();
        let worst = losses.last_mut().filter(|worst| worst.0 > 0);
        let worst = worst.ok_or(BlockProblem::NoSeverity)?;
        if sum.abs_diff(one) > one >> SEVERITY_SLACK_BITS {
            let found = if sum >= one { "more than 1".to_owned() } else { shown(sum) };
            return Err(BlockProblem::SeveritySum { found });
        }
        worst.1 = worst.1.saturating_add(one.saturating_sub(sum));
        let mut excess = sum.saturating_sub(one);
        for (_, p) in &mut losses {
            let taken = excess.min(*p);
            *p = p.saturating_sub(taken);
            excess = excess.saturating_sub(taken);
        }
        let kept = losses.into_iter().filter(|&(_, p)| p > 0);
        Ok(Self(kept.map(|(loss_bp, p)| (loss_bp, Probability::from_q127(p))).collect()))
    }

    /// Losses in bp with their probabilities, ascending.
    pub fn losses(&self) -> impl Iterator<Item = (u16, Probability)> + Clone + '_ {
        self.0.iter().copied()
    }

    /// How many distinct losses.
    pub fn atoms(&self) -> usize {
        self.0.len()
    }

    /// The mean loss.
    pub fn mean(&self) -> BasisPoints {
        self.losses()
            .fold(BasisPoints::ZERO, |sum, (cell, p)| sum.plus(BasisPoints::expected(cell, p)))
    }
}

impl Block {
    /// A block with checked parameters; `beta` is the share of the hazard that follows the factor.
    ///
    /// # Errors
    /// When the hazard or β is no finite number in its range.
    pub fn new(
        id: BlockId,
        hazard: Hazard,
        beta: f64,
        severity: Severity,
    ) -> Result<Self, BlockProblem> {
        if !hazard.is_valid() {
            return Err(BlockProblem::Hazard { found: hazard });
        }
        if !(0.0..=1.0).contains(&beta) {
            return Err(BlockProblem::Beta { found: beta });
        }
        Ok(Self { id, hazard, beta, severity })
    }

    /// Its name.
    pub fn id(&self) -> &BlockId {
        &self.id
    }

    /// How often it happens.
    pub fn hazard(&self) -> Hazard {
        self.hazard
    }

    /// The share of the hazard that follows the factor.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// What it costs.
    pub fn severity(&self) -> &Severity {
        &self.severity
    }

    /// One-year probability of each loss above zero in climate `z`.
    pub fn losses_given(&self, z: f64) -> impl Iterator<Item = (u16, Probability)> + Clone + '_ {
        let p = self.hazard.probability(self.beta, z);
        let losses = self.severity.losses().filter(|(cell, _)| *cell > 0);
        losses.map(move |(cell, v)| (cell, v.times(p)))
    }
}

fn shown(sum: u128) -> String {
    Probability::from_q127(sum).to_string()
}
