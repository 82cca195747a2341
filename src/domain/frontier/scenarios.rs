//! Courses of the year for the frontier: which losses can come together, and how probable that is.
//!
//! The most probable are kept. What is left, the rare ones, becomes one scenario in which everything
//! is lost. So the tail risk of the program is an upper bound of the portfolio's.

use std::collections::BTreeMap;

use super::Scenario;
use crate::decimal::Ppt;
use crate::loss::{BlockId, Factor, Hazard, Probability};
use crate::ratio::{Ratio, RatioError};

/// Courses kept: as many as a solver takes in moments.
pub const SCENARIOS_MAX: usize = 1_500;
/// Courses less probable than this, in ppt, are left to the worst scenario.
const COURSE_MIN_PPT: u64 = 1_000;
/// What a loss of all positions alike is rounded up to where it takes many values, bp.
const LEVELS_BP: [u16; 24] = [
    0, 10, 25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1_000, 1_500, 2_000, 2_500, 3_000,
    4_000, 5_000, 6_000, 7_500, 9_000, ALL_BP,
];
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

impl PositionBlock {
    /// Whether it takes the same of all positions.
    pub(super) fn is_alike(&self) -> bool {
        let is_alike = |losses: &[u16]| losses.windows(2).all(|pair| pair.first() == pair.last());
        self.outcomes.iter().all(|outcome| is_alike(&outcome.losses_bp))
    }
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
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

/// Probability of each distinct loss vector, in units of 2⁻¹²⁷.
type Tally = BTreeMap<Vec<u16>, Probability>;

/// Scenarios of `blocks` on so many positions, by ascending losses, and what was left to the worst
/// case; probabilities are whole ppt.
///
/// # Errors
/// When an outcome does not fit the positions.
pub fn scenarios(
    blocks: &[PositionBlock],
    factor: Factor,
    positions: usize,
) -> Result<(Vec<Scenario>, Ppt), ScenarioError> {
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
        let events = blocks.iter().map(|block| (block, given(block)));
        for (losses, probability) in courses(events, node.weight, positions) {
            add(&mut tally, losses, probability);
        }
    }
    let tally = most_probable(tally, SCENARIOS_MAX);
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
    Ok((list, Ppt(left)))
}

/// The most probable courses given one climate. What takes the same of all positions is one number:
/// its courses are exact, and then rounded up to few.
fn courses<'a>(
    events: impl Iterator<Item = (&'a PositionBlock, Probability)>,
    weight: Probability,
    positions: usize,
) -> Tally {
    let (everywhere, own): (Vec<_>, Vec<_>) = events.partition(|(block, _)| block.is_alike());
    let mut alike = Tally::from([(vec![0], weight)]);
    for (block, p) in everywhere {
        alike = after(alike, block, p, usize::from(ALL_BP));
    }
    let is_many = alike.len() > LEVELS_BP.len();
    let mut kept = Tally::new();
    for (losses, probability) in alike {
        let loss = losses.first().copied().unwrap_or_default();
        let level = LEVELS_BP.into_iter().find(|level| *level >= loss).filter(|_| is_many);
        add(&mut kept, vec![level.unwrap_or(loss); positions], probability);
    }
    for (block, p) in own {
        kept = after(kept, block, p, SCENARIOS_MAX);
    }
    kept
}

/// The most probable courses once a block has happened or not, as losses of so many positions as
/// the courses before have.
fn after(kept: Tally, block: &PositionBlock, p: Probability, most: usize) -> Tally {
    let least = ppt_to_probability(COURSE_MIN_PPT);
    let mut next = Tally::new();
    for (losses, probability) in kept {
        for outcome in &block.outcomes {
            let hit = probability.times(p).times(outcome.probability);
            if hit >= least {
                let both = losses.iter().zip(&outcome.losses_bp);
                let both = both.map(|(a, b)| a.saturating_add(*b).min(ALL_BP));
                add(&mut next, both.collect(), hit);
            }
        }
        add(&mut next, losses, probability.times(p.complement()));
    }
    most_probable(next, most)
}

/// As many as may be kept; of equals the one with the lesser losses.
fn most_probable(tally: Tally, most: usize) -> Tally {
    if tally.len() <= most {
        return tally;
    }
    let mut all: Vec<_> = tally.into_iter().collect();
    all.select_nth_unstable_by(most, |(one, p), (other, q)| q.cmp(p).then_with(|| one.cmp(other)));
    all.truncate(most);
    all.into_iter().collect()
}

fn add(tally: &mut Tally, losses: Vec<u16>, p: Probability) {
    let entry = tally.entry(losses).or_default();
    *entry = entry.plus(p);
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
