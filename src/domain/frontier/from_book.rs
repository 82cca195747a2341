//! The question that positions from the log pose.
//!
//! Losses are rounded up to a step, so the tail risk stays an upper bound. A fine step leaves more
//! courses of the year to the worst case, a coarse one rounds more: the one with the least bound is
//! taken.

use std::collections::BTreeMap;

use super::input::{IDLE, InputError, Question};
use super::{FrontierError, Group, PositionBlock, PositionOutcome, Problem, Scenario, scenarios};
use crate::assess::positions::{Book, PositionId};
use crate::decimal::Ppt;
use crate::loss::{CELLS, Factor, Probability};
use crate::ratio::{Ratio, RatioError};

/// What losses are rounded up to where basis points leave too much to the worst case, finest first.
const COARSER_STEPS_BP: [u16; 4] = [10, 100, 500, 1_000];
/// What may be left to the worst case without asking for a coarser step: a hundredth of a per cent.
const LEFT_MAX: Ppt = Ppt(100_000_000);
/// Parts per trillion in a part per million: finer would be noise, and exact fractions are long.
const PPT_PER_PPM: u64 = 1_000_000;

/// What is asked of positions beside what the log says of them.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The level of the tail, such as 0.95.
    pub level: Ratio,
    /// Points of the frontier.
    pub points: u16,
    /// h of methodology §2.11.
    pub hurdle_rate: Ratio,
    /// Share of the premium that expenses take.
    pub expense: Ratio,
    /// Loss on selling 1 % of supply.
    pub exit_cost: Ratio,
    /// Loss before an oracle has noticed.
    pub oracle_lag_loss: Ratio,
    /// One more position to opt in to, and the weight it would have, taken from idle.
    pub opt_in: Option<(PositionId, Ppt)>,
}

impl Book {
    /// The question that these positions pose, and the step in bp to which losses are rounded up.
    ///
    /// # Errors
    /// When a figure is out of range or a fraction does not fit.
    pub fn question(&self, terms: &Terms) -> Result<(Question, u16), InputError> {
        let factor = Factor::GammaUnitVariance;
        let count = self.positions.len().saturating_add(1);
        let rewards = self.positions.iter().map(|position| ratio(position.reward.yearly));
        let rewards: Vec<Ratio> =
            rewards.chain([Ok(Ratio::ZERO)]).collect::<Result<_, RatioError>>()?;
        let caps = self.positions.iter().map(|position| ratio(position.limit));
        let caps: Vec<Ratio> = caps.chain([Ok(Ratio::ONE)]).collect::<Result<_, RatioError>>()?;
        let groups = self.groups.iter().map(|(positions, limit)| {
            Ok(Group { positions: positions.clone(), limit: ratio(*limit)? })
        });
        let groups: Vec<Group> = groups.collect::<Result<_, RatioError>>()?;
        let mut held = Vec::with_capacity(count);
        let mut idle = Ratio::ONE;
        for position in &self.positions {
            let weight = ratio(position.weight)?;
            idle = idle.minus(weight)?;
            held.push(weight);
        }
        held.push(idle);
        let problem =
            |made| Problem::new(rewards.clone(), caps.clone(), made, groups.clone(), terms.level);
        let (step, problem) = self.closest(factor, &held, problem)?;
        let opt_in = match terms.opt_in {
            None => None,
            Some((id, weight)) => {
                let found = self.positions.iter().position(|position| position.id == id);
                let unknown = || InputError::Names(format!("there is no position {}", name(id)));
                Some((found.ok_or_else(unknown)?, ratio(weight)?))
            }
        };
        let names = self.positions.iter().map(|position| name(position.id));
        let question = Question {
            positions: names.chain([IDLE.to_owned()]).collect(),
            problem,
            points: terms.points,
            held: Some(held),
            opt_in,
            rewards,
            hurdle_rate: terms.hurdle_rate,
            expense: terms.expense,
            exit_cost: terms.exit_cost,
            oracle_lag_loss: terms.oracle_lag_loss,
            blocks: self.blocks.clone(),
            factor,
        };
        Ok((question, step))
    }

    /// Every step gives an upper bound: the problem whose bound of what is held is the least.
    fn closest(
        &self,
        factor: Factor,
        held: &[Ratio],
        problem: impl Fn(Vec<Scenario>) -> Result<Problem, FrontierError>,
    ) -> Result<(u16, Problem), InputError> {
        let at = |step| {
            let blocks: Vec<PositionBlock> =
                self.blocks.iter().map(|block| coarse(block, step)).collect();
            let (made, left) = scenarios(&blocks, factor, held.len())?;
            let found = problem(made)?;
            Ok::<_, InputError>((found.tail_risk(held)?, step, found, left))
        };
        let mut best = at(1)?;
        for step in COARSER_STEPS_BP {
            if best.3 <= LEFT_MAX {
                break;
            }
            let found = at(step)?;
            if found.0 < best.0 {
                best = found;
            }
        }
        let (_, step, problem, _) = best;
        Ok((step, problem))
    }
}

/// The name of a position.
fn name((operator, set): PositionId) -> String {
    format!("{operator}@{set}")
}

/// Whole parts per million, rounded down.
fn ratio(ppt: Ppt) -> Result<Ratio, RatioError> {
    let ppm = ppt.0.checked_div(PPT_PER_PPM).unwrap_or_default();
    Ratio::new(i128::from(ppm), u128::from(PPT_PER_PPM))
}

/// The same block with losses rounded up to a step; one that takes the same of all positions is few
/// courses as it is.
fn coarse(block: &PositionBlock, step: u16) -> PositionBlock {
    if block.is_alike() {
        return block.clone();
    }
    let mut merged: BTreeMap<Vec<u16>, Probability> = BTreeMap::new();
    for outcome in &block.outcomes {
        let up = |loss: &u16| loss.div_ceil(step).saturating_mul(step).min(CELLS);
        let losses = outcome.losses_bp.iter().map(up).collect();
        let sum = merged.entry(losses).or_default();
        *sum = sum.plus(outcome.probability);
    }
    let outcomes = merged
        .into_iter()
        .map(|(losses_bp, probability)| PositionOutcome { probability, losses_bp });
    PositionBlock { outcomes: outcomes.collect(), ..block.clone() }
}
