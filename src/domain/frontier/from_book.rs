//! The question that positions from the log pose.

use super::input::{IDLE, InputError, Question};
use super::{Group, Problem, scenarios};
use crate::assess::positions::{Book, PositionId};
use crate::decimal::Ppt;
use crate::loss::Factor;
use crate::ratio::{Ratio, RatioError};

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
    /// The question that these positions pose.
    ///
    /// # Errors
    /// When a figure is out of range or a fraction does not fit.
    pub fn question(&self, terms: &Terms) -> Result<Question, InputError> {
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
        let made = scenarios(&self.blocks, factor, count)?;
        let problem = Problem::new(rewards.clone(), caps, made, groups, terms.level)?;
        let opt_in = match terms.opt_in {
            None => None,
            Some((id, weight)) => {
                let found = self.positions.iter().position(|position| position.id == id);
                let unknown = || InputError::Names(format!("there is no position {}", name(id)));
                Some((found.ok_or_else(unknown)?, ratio(weight)?))
            }
        };
        let names = self.positions.iter().map(|position| name(position.id));
        Ok(Question {
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
        })
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
