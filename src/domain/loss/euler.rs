//! Which block the tail comes from: Euler contributions to expected shortfall.
//!
//! A block's contribution is its mean loss given that the portfolio loses more than its value at
//! risk. One block at a time is taken out of each conditional distribution (`kernel::remove`) and
//! put back where its loss would carry the rest. A block too probable to be divided out (above one
//! quarter) is left out of a fresh fold instead. At the cap, where losses are cut to all of the
//! exposure, each block bears the share its mean loss there has in the mean of all. The
//! contributions sum to the shortfall.

use super::block::{Block, BlockId, CELLS};
use super::distribution::{Level, LossDistribution};
use super::factor::Node;
use super::fixed::{BasisPoints, Probability};
use super::kernel::{self, Step};
use super::model::{LossModel, fold};

/// What a block loses on average, times the probability, in three regions of the portfolio's loss.
#[derive(Clone, Copy, Debug, Default)]
struct Regions {
    /// Exactly at the value at risk.
    at_risk: BasisPoints,
    /// Above that and below the cap.
    beyond: BasisPoints,
    /// At the cap or above.
    capped: BasisPoints,
}

/// A conditional distribution without one block, as cumulative mass below the cap.
struct Rest {
    cumulative: Vec<u128>,
    /// What the masses must be divided by.
    scale: Probability,
}

impl LossModel {
    /// What each block contributes to the expected shortfall of `distribution`, by id.
    pub fn shortfall_by_block(
        &self,
        distribution: &LossDistribution,
        level: Level,
    ) -> Vec<(BlockId, BasisPoints)> {
        let at_risk = distribution.value_at_risk(level);
        let regions: Vec<Regions> = (0..self.blocks().len())
            .map(|index| self.regions(index, distribution, at_risk))
            .collect();
        let capped = regions.iter().fold(BasisPoints::ZERO, |sum, r| sum.plus(r.capped));
        let tail = Probability::ONE.minus(Probability::from_q127(level.mass()));
        let above = distribution.probability_above(at_risk);
        // The part of the mass there that belongs to the tail.
        let partial = tail.minus(above).over(distribution.mass(at_risk));
        let at_cap = if at_risk == CELLS {
            BasisPoints::whole(CELLS)
        } else {
            let mass = distribution.mass(CELLS);
            BasisPoints::expected(CELLS, mass).per_tail(level.tail_per_mille())
        };
        let contributions = regions.iter().map(|r| {
            let below_cap = r.beyond.plus(r.at_risk.times(partial));
            below_cap.per_tail(level.tail_per_mille()).plus(at_cap.share(r.capped, capped))
        });
        self.blocks().iter().map(|block| block.id().clone()).zip(contributions).collect()
    }

    fn regions(&self, index: usize, distribution: &LossDistribution, at_risk: u16) -> Regions {
        let mut sum = Regions::default();
        let Some(block) = self.blocks().get(index) else { return sum };
        for (node, cells) in distribution.conditional() {
            let rest = self.rest(index, block, *node, cells);
            for (loss, p) in block.losses_given(node.climate) {
                let p = p.times(node.weight);
                let below_cap = rest.up_to(CELLS.checked_sub(loss.saturating_add(1)));
                let capped = p.times(below_cap.complement());
                sum.capped = sum.capped.plus(BasisPoints::expected(loss, capped));
                if at_risk == CELLS {
                    continue;
                }
                let up_to_risk = rest.up_to(at_risk.checked_sub(loss));
                let beyond = p.times(below_cap.minus(up_to_risk));
                sum.beyond = sum.beyond.plus(BasisPoints::expected(loss, beyond));
                let before_risk = rest.up_to(at_risk.checked_sub(loss.saturating_add(1)));
                let exactly = p.times(up_to_risk.minus(before_risk));
                sum.at_risk = sum.at_risk.plus(BasisPoints::expected(loss, exactly));
            }
        }
        sum
    }

    fn rest(&self, index: usize, block: &Block, node: Node, cells: &[u128]) -> Rest {
        let losses = block.losses_given(node.climate);
        let (mut cumulative, scale) = match Step::odds(losses.clone()) {
            Some(odds) => {
                let mut cells = cells.to_vec();
                kernel::remove(&mut cells, &odds);
                let p = losses.fold(Probability::ZERO, |sum, (_, p)| sum.plus(p));
                (cells, p.complement())
            }
            None => {
                let others = self.blocks().iter().enumerate().filter(|&(other, _)| other != index);
                (fold(others.map(|(_, block)| block), node).0, Probability::ONE)
            }
        };
        let mut sum = 0_u128;
        for mass in &mut cumulative {
            sum = sum.saturating_add(*mass);
            *mass = sum;
        }
        Rest { cumulative, scale }
    }
}

impl Rest {
    /// P(rest ≤ `cell`) for a cell below the cap; zero for no cell.
    fn up_to(&self, cell: Option<u16>) -> Probability {
        let mass = cell.and_then(|cell| self.cumulative.get(usize::from(cell)).copied());
        Probability::from_q127(mass.unwrap_or(0)).over(self.scale)
    }
}
