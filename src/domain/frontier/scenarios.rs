//! Courses of the year for the frontier: which losses can come together, and how probable that is.
//!
//! The most probable are kept as they are. Those that are left become few by their means, like with
//! like: a mean has no more tail than what it stands for, so no weights have less tail risk in the
//! portfolio itself than in these scenarios.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Scenario;
use crate::decimal::{PPT_ONE, PPT_PER_BP};
use crate::loss::{BlockId, Factor, Hazard, Probability};
use crate::ratio::{Ratio, RatioError};

/// Courses kept as they are, and merged ones that are told apart finely: a solver takes so many in
/// moments.
const KEPT_MAX: usize = 300;
const FINE_MAX: usize = 300;
/// What tells fine ones apart: between which of these each position's mean loss is, bp.
const LEVELS_BP: [u16; 5] = [100, 1_000, 2_500, 5_000, 8_000];
/// An event is taken not to happen in courses where it would be less probable than this: 2⁻⁴⁷.
const HIT_MIN_Q127: u128 = 1 << 80;
/// A loss of everything, bp.
const ALL_BP: u16 = 10_000;
/// Parts per trillion in a part per million: finer means would be long fractions.
const PPT_PER_PPM: u64 = 1_000_000;
const PPM: u128 = 1_000_000;

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
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

/// Scenarios of `blocks` on so many positions; probabilities are whole ppt.
///
/// # Errors
/// When an outcome does not fit the positions.
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
    let mut all = Courses::default();
    for node in factor.nodes() {
        let mut courses = Courses::default();
        courses.keep(vec![0; positions], node.weight);
        for block in blocks {
            courses = courses.after(block, block.hazard.probability(block.beta, node.climate));
        }
        for (losses, probability) in courses.kept {
            all.keep(losses, probability);
        }
        for (likeness, merged) in courses.merged {
            all.merge(likeness, merged);
        }
    }
    all.thin_out();
    let mut left = PPT_ONE;
    let mut list = Vec::new();
    let mut add = |probability: Probability, losses: Result<Vec<Ratio>, RatioError>| {
        // Rounded down: what is left over loses nothing.
        let nearest = probability.to_ppt();
        let is_more = Probability::from_ppt(nearest) > probability;
        let ppt = nearest.saturating_sub(u64::from(is_more)).min(left);
        left = left.saturating_sub(ppt);
        if ppt > 0 {
            let probability = Ratio::new(i128::from(ppt), u128::from(PPT_ONE))?;
            list.push(Scenario { probability, losses: losses? });
        }
        Ok::<_, RatioError>(())
    };
    for (losses, probability) in all.kept {
        let share = |loss: u16| Ratio::new(i128::from(loss), u128::from(ALL_BP));
        add(probability, losses.into_iter().map(share).collect())?;
    }
    for Merged { probability, losses, .. } in all.merged.into_values() {
        let mean = |loss: Probability| {
            let ppm = loss.over(probability).to_ppt() / PPT_PER_PPM;
            Ratio::new(i128::from(ppm), PPM)
        };
        add(probability, losses.into_iter().map(mean).collect())?;
    }
    if left > 0 {
        let probability = Ratio::new(i128::from(left), u128::from(PPT_ONE))?;
        list.push(Scenario { probability, losses: vec![Ratio::ZERO; positions] });
    }
    Ok(list)
}

/// Courses so far, given a climate.
#[derive(Default)]
struct Courses {
    /// By the loss of each position in bp.
    kept: BTreeMap<Vec<u16>, Probability>,
    /// Those that are alike, as one.
    merged: BTreeMap<Likeness, Merged>,
}

/// What merged courses have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// About how much each position loses.
    Fine(Vec<usize>),
    /// The position that loses most, and how much all lose together, in steps of √2.
    Coarse(usize, u32),
}

/// Many courses as one.
struct Merged {
    probability: Probability,
    /// The mean loss of each position times the probability.
    losses: Vec<Probability>,
    /// The most that each position loses in any of them, bp.
    worst: Vec<u16>,
}

impl Courses {
    fn keep(&mut self, losses: Vec<u16>, p: Probability) {
        let entry = self.kept.entry(losses).or_default();
        *entry = entry.plus(p);
    }

    fn merge(&mut self, likeness: Likeness, more: Merged) {
        match self.merged.entry(likeness) {
            Entry::Vacant(place) => {
                place.insert(more);
            }
            Entry::Occupied(mut place) => {
                let one = place.get_mut();
                one.probability = one.probability.plus(more.probability);
                for (sum, loss) in one.losses.iter_mut().zip(more.losses) {
                    *sum = sum.plus(loss);
                }
                for (worst, other) in one.worst.iter_mut().zip(more.worst) {
                    *worst = other.max(*worst);
                }
            }
        }
    }

    /// Once a block has happened or not.
    fn after(self, block: &PositionBlock, p: Probability) -> Self {
        let mut next = Self::default();
        for (losses, mut probability) in self.kept {
            let may = probability.times(p);
            for outcome in &block.outcomes {
                let hit = may.times(outcome.probability);
                if hit.to_q127() >= HIT_MIN_Q127 {
                    let both = losses.iter().zip(&outcome.losses_bp);
                    let both = both.map(|(a, b)| a.saturating_add(*b).min(ALL_BP));
                    next.keep(both.collect(), hit);
                    probability = probability.minus(hit);
                }
            }
            next.keep(losses, probability);
        }
        for (likeness, mut merged) in self.merged {
            let may = merged.probability.times(p);
            let mut quiet = Probability::ONE;
            for outcome in &block.outcomes {
                if may.times(outcome.probability).to_q127() >= HIT_MIN_Q127 {
                    let share = p.times(outcome.probability);
                    quiet = quiet.minus(share);
                    let hit = merged.hit(outcome, share);
                    let likeness = match likeness {
                        Likeness::Fine(_) => hit.fine(),
                        Likeness::Coarse(..) => hit.coarse(),
                    };
                    next.merge(likeness, hit);
                }
            }
            merged.scale(quiet);
            next.merge(likeness, merged);
        }
        next.thin_out();
        next
    }

    /// The most probable stay as they are, the next finely apart; of equals the first in order.
    fn thin_out(&mut self) {
        for (worst, probability) in least_probable(&mut self.kept, KEPT_MAX, |p| *p) {
            let losses = worst.iter().map(|loss| probability.times(share_of(*loss))).collect();
            let merged = Merged { probability, losses, worst };
            self.merge(merged.fine(), merged);
        }
        for (_, merged) in least_probable(&mut self.merged, FINE_MAX, |one| one.probability) {
            self.merge(merged.coarse(), merged);
        }
    }
}

/// Takes out all but so many.
fn least_probable<K: Ord, V>(
    from: &mut BTreeMap<K, V>,
    most: usize,
    probability: impl Fn(&V) -> Probability,
) -> Vec<(K, V)> {
    if from.len() <= most {
        return Vec::new();
    }
    let mut all: Vec<_> = std::mem::take(from).into_iter().collect();
    all.select_nth_unstable_by(most, |(a, one), (b, other)| {
        probability(other).cmp(&probability(one)).then_with(|| a.cmp(b))
    });
    let rest = all.split_off(most);
    *from = all.into_iter().collect();
    rest
}

impl Merged {
    fn fine(&self) -> Likeness {
        let levels = LEVELS_BP.map(|bp| self.probability.times(share_of(bp)));
        let below = |loss: &Probability| levels.iter().filter(|level| loss >= level).count();
        Likeness::Fine(self.losses.iter().map(below).collect())
    }

    fn coarse(&self) -> Likeness {
        let all = self.losses.iter().enumerate();
        let most = all.max_by_key(|(index, loss)| (*loss, Reverse(*index)));
        // Without the lowest bits there is room for many positions, in bp.
        let high = |p: &Probability| p.to_q127() >> 32;
        let sum = self.losses.iter().map(high).fold(0, u128::saturating_add);
        let bp = sum.saturating_mul(u128::from(ALL_BP)).checked_div(high(&self.probability));
        let square = bp.unwrap_or_default().saturating_pow(2);
        Likeness::Coarse(most.map_or(0, |it| it.0), square.checked_ilog2().unwrap_or_default())
    }

    fn scale(&mut self, share: Probability) {
        self.probability = self.probability.times(share);
        for loss in &mut self.losses {
            *loss = loss.times(share);
        }
    }

    /// The share of the courses in which the outcome comes too. What a position then loses,
    /// min(a + b, 1), is concave in what it lost, so never below the line from a = 0 to the worst a:
    /// the mean on that line follows from the mean of a.
    fn hit(&self, outcome: &PositionOutcome, share: Probability) -> Self {
        let probability = self.probability.times(share);
        let mut losses: Vec<_> = self.losses.iter().map(|before| before.times(share)).collect();
        let mut worst = self.worst.clone();
        for ((loss, most), bp) in losses.iter_mut().zip(&mut worst).zip(&outcome.losses_bp) {
            let both = most.saturating_add(*bp).min(ALL_BP);
            if both < most.saturating_add(*bp) {
                let slope = share_of(both.saturating_sub(*bp)).over(share_of(*most));
                *loss = loss.times(slope);
            }
            *loss = loss.plus(probability.times(share_of(*bp)));
            *most = both;
        }
        Self { probability, losses, worst }
    }
}

fn share_of(bp: u16) -> Probability {
    Probability::from_ppt(u64::from(bp).saturating_mul(PPT_PER_BP))
}
