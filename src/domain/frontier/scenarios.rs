//! Courses of the year for the frontier: nothing happens, one event, or two.
//!
//! What is left, three events or more and pairs below 1e-9, becomes one scenario in which
//! everything is lost. So the tail risk of the program is an upper bound of the portfolio's.

use std::collections::BTreeMap;

use super::Scenario;
use crate::loss::{BlockId, Factor, Hazard, Probability};
use crate::ratio::{Ratio, RatioError};

/// Pairs less probable than this, in ppt, are left to the worst scenario.
const PAIR_MIN_PPT: u64 = 1_000;
/// Distinct scenarios a solver can be expected to take.
pub const SCENARIOS_MAX: usize = 20_000;
/// A loss of everything, bp.
const ALL_BP: u16 = 10_000;
/// Parts per trillion in one.
const PPT: u64 = 1_000_000_000_000;

/// One way an event can end: its probability, and the loss of each position in bp of the position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionOutcome {
    /// Probability, given the event.
    pub probability: Probability,
    /// Loss of each position, 0 to 10,000 bp of it.
    pub losses_bp: Vec<u16>,
}

/// A loss block as it falls on single positions.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionBlock {
    /// Its name.
    pub id: BlockId,
    /// How often.
    pub hazard: Hazard,
    /// The share of the hazard that follows the factor.
    pub beta: f64,
    /// How it can end; the probabilities sum to one.
    pub outcomes: Vec<PositionOutcome>,
}

/// Why there are no scenarios.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// An outcome has a loss for each of another number of positions, or above 10,000 bp.
    #[error("block {id}: expected {positions} losses of 0 to 10000 bp, found {found:?}")]
    Losses {
        /// The block.
        id: BlockId,
        /// How many positions there are.
        positions: usize,
        /// What was given.
        found: Vec<u16>,
    },
    /// Too many distinct scenarios. Merge blocks.
    #[error("more than {SCENARIOS_MAX} scenarios; merge blocks")]
    TooMany,
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

/// Probability of each distinct loss vector, in units of 2⁻¹²⁷.
type Tally = BTreeMap<Vec<u16>, Probability>;

/// Scenarios of `blocks` on so many positions, by ascending losses; probabilities are whole ppt.
///
/// # Errors
/// When an outcome does not fit the positions, or there are too many scenarios.
pub fn scenarios(
    blocks: &[PositionBlock],
    factor: Factor,
    positions: usize,
) -> Result<Vec<Scenario>, ScenarioError> {
    for block in blocks {
        for outcome in &block.outcomes {
            let found = &outcome.losses_bp;
            if found.len() != positions || found.iter().any(|loss| *loss > ALL_BP) {
                let (id, found) = (block.id.clone(), found.clone());
                return Err(ScenarioError::Losses { id, positions, found });
            }
        }
    }
    let mut tally = Tally::new();
    for node in factor.nodes() {
        let given = |block: &PositionBlock| block.hazard.probability(block.beta, node.climate);
        let events: Vec<_> = blocks.iter().map(|block| (block, given(block))).collect();
        add_node(&mut tally, &events, node.weight, positions)?;
    }
    let mut left = PPT;
    let mut list = Vec::with_capacity(tally.len().saturating_add(1));
    for (losses, probability) in tally {
        // Rounded down, so that what is left over is the worst case and never too small.
        let nearest = probability.to_ppt();
        let too_much = u64::from(ppt_to_probability(nearest) > probability);
        let ppt = nearest.saturating_sub(too_much).min(left);
        left = left.saturating_sub(ppt);
        if ppt > 0 {
            list.push(scenario(ppt, &losses)?);
        }
    }
    if left > 0 {
        list.push(scenario(left, &vec![ALL_BP; positions])?);
    }
    Ok(list)
}

/// Adds no event, each single event and each pair, given one climate.
fn add_node(
    tally: &mut Tally,
    events: &[(&PositionBlock, Probability)],
    weight: Probability,
    positions: usize,
) -> Result<(), ScenarioError> {
    // Probability that no event from here on happens.
    let mut after = vec![Probability::ONE];
    for (_, p) in events.iter().rev() {
        let none = after.last().copied().unwrap_or(Probability::ONE).times(p.complement());
        after.push(none);
    }
    after.reverse();
    let least = ppt_to_probability(PAIR_MIN_PPT);
    let none_from = |index: usize| after.get(index).copied().unwrap_or(Probability::ONE);
    add(tally, vec![0; positions], weight.times(none_from(0)))?;
    let mut before = weight;
    for (index, (block, p)) in (1..).zip(events) {
        let here = before.times(*p);
        for outcome in &block.outcomes {
            let single = here.times(none_from(index)).times(outcome.probability);
            add(tally, outcome.losses_bp.clone(), single)?;
        }
        let mut between = here;
        for (other_index, (other, q)) in (index.saturating_add(1)..).zip(events.iter().skip(index))
        {
            let both = between.times(*q).times(none_from(other_index));
            between = between.times(q.complement());
            if both < least {
                continue;
            }
            for one in &block.outcomes {
                for two in &other.outcomes {
                    let pair = both.times(one.probability).times(two.probability);
                    if pair >= least {
                        let losses = one.losses_bp.iter().zip(&two.losses_bp);
                        let losses = losses.map(|(a, b)| a.saturating_add(*b).min(ALL_BP));
                        add(tally, losses.collect(), pair)?;
                    }
                }
            }
        }
        before = before.times(p.complement());
    }
    Ok(())
}

fn add(tally: &mut Tally, losses: Vec<u16>, p: Probability) -> Result<(), ScenarioError> {
    let entry = tally.entry(losses).or_default();
    *entry = entry.plus(p);
    if tally.len() > SCENARIOS_MAX { Err(ScenarioError::TooMany) } else { Ok(()) }
}

fn scenario(ppt: u64, losses_bp: &[u16]) -> Result<Scenario, RatioError> {
    let losses = losses_bp.iter().map(|loss| Ratio::new(i128::from(*loss), u128::from(ALL_BP)));
    Ok(Scenario {
        probability: Ratio::new(i128::from(ppt), u128::from(PPT))?,
        losses: losses.collect::<Result<_, _>>()?,
    })
}

/// The largest probability not above so many parts per trillion.
fn ppt_to_probability(ppt: u64) -> Probability {
    let unit = Probability::ONE.to_q127().checked_div(u128::from(PPT)).unwrap_or_default();
    let rest = Probability::ONE.to_q127().checked_rem(u128::from(PPT)).unwrap_or_default();
    let part =
        rest.saturating_mul(u128::from(ppt)).checked_div(u128::from(PPT)).unwrap_or_default();
    Probability::from_q127(unit.saturating_mul(u128::from(ppt)).saturating_add(part))
}
