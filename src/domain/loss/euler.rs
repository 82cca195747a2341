//! Which block the tail comes from: Euler contributions to expected shortfall.
//!
//! A block's contribution is its mean loss given that the portfolio loses more than its value at
//! risk. One block at a time is taken out of each conditional distribution (`kernel::remove`) and
//! put back where its loss would carry the rest. Blocks too probable to be divided out (about one
//! half) are left out of fresh folds instead, halves at a time. At the cap, where losses are cut to
//! all of the exposure, each block bears the share its mean loss there has in the mean of all. The
//! contributions sum to the shortfall.

use super::block::{Block, BlockId, CELLS};
use super::distribution::{Level, LossDistribution};
use super::factor::Node;
use super::fixed::{BasisPoints, Probability};
use super::kernel::{self, Reach, Step};
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

/// A conditional distribution without one block.
struct Rest {
    /// Mass up to each cell; from the last one to the cap it stays.
    cumulative: Vec<u128>,
    /// What the masses must be divided by.
    scale: Probability,
    node: Node,
}

impl LossModel {
    /// What each block contributes to the expected shortfall of `distribution`, by id.
    pub fn shortfall_by_block(
        &self,
        distribution: &LossDistribution,
        level: Level,
    ) -> Vec<(BlockId, BasisPoints)> {
        let at_risk = distribution.value_at_risk(level);
        let mut regions = vec![Regions::default(); self.blocks().len()];
        for (node, cells) in distribution.conditional() {
            let (mut firm, mut stubborn) = (Vec::new(), Vec::new());
            for (block, regions) in self.blocks().iter().zip(&mut regions) {
                match Step::odds(block.losses_given(node.climate)) {
                    Some(odds) => {
                        Rest::by_removal(block, &odds, *node, cells).add(block, at_risk, regions);
                        firm.push(block);
                    }
                    None => stubborn.push((block, regions)),
                }
            }
            if !stubborn.is_empty() {
                let (cells, reach) = fold(firm.into_iter(), *node);
                leave_one_out(cells, reach, *node, at_risk, &mut stubborn);
            }
        }
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
}

/// Adds up the regions of each block given all others: half of them is folded in, the other half
/// asked, and the other way round, so that n blocks cost n log n steps and not n².
fn leave_one_out(
    cells: Vec<u128>,
    reach: Reach,
    node: Node,
    at_risk: u16,
    blocks: &mut [(&Block, &mut Regions)],
) {
    if let [(block, regions)] = blocks {
        Rest::new(cells, Probability::ONE, node).add(block, at_risk, regions);
        return;
    }
    let (left, right) = blocks.split_at_mut(blocks.len().div_ceil(2));
    let mut others = cells.clone();
    let others_reach = put_in(&mut others, reach, node, left);
    leave_one_out(others, others_reach, node, at_risk, right);
    let mut others = cells;
    let others_reach = put_in(&mut others, reach, node, right);
    leave_one_out(others, others_reach, node, at_risk, left);
}

fn put_in(
    cells: &mut [u128],
    reach: Reach,
    node: Node,
    blocks: &[(&Block, &mut Regions)],
) -> Reach {
    blocks.iter().fold(reach, |reach, (block, _)| {
        kernel::convolve(cells, reach, &Step::new(block.losses_given(node.climate)))
    })
}

impl Rest {
    fn new(mut cells: Vec<u128>, scale: Probability, node: Node) -> Self {
        let mut sum = 0_u128;
        for mass in &mut cells {
            sum = sum.saturating_add(*mass);
            *mass = sum;
        }
        Self { cumulative: cells, scale, node }
    }

    fn by_removal(block: &Block, odds: &Step, node: Node, cells: &[u128]) -> Self {
        let mut cells = cells.to_vec();
        kernel::remove(&mut cells, odds);
        let losses = block.losses_given(node.climate);
        let p = losses.fold(Probability::ZERO, |sum, (_, p)| sum.plus(p));
        Self::new(cells, p.complement(), node)
    }

    /// Adds what `block` loses beside the rest in this climate.
    fn add(&self, block: &Block, at_risk: u16, sum: &mut Regions) {
        for (loss, p) in block.losses_given(self.node.climate) {
            let p = p.times(self.node.weight);
            let below_cap = self.up_to(CELLS.checked_sub(loss.saturating_add(1)));
            let capped = p.times(below_cap.complement());
            sum.capped = sum.capped.plus(BasisPoints::expected(loss, capped));
            if at_risk == CELLS {
                continue;
            }
            let up_to_risk = self.up_to(at_risk.checked_sub(loss));
            let beyond = p.times(below_cap.minus(up_to_risk));
            sum.beyond = sum.beyond.plus(BasisPoints::expected(loss, beyond));
            let before_risk = self.up_to(at_risk.checked_sub(loss.saturating_add(1)));
            let exactly = p.times(up_to_risk.minus(before_risk));
            sum.at_risk = sum.at_risk.plus(BasisPoints::expected(loss, exactly));
        }
    }

    /// P(rest ≤ `cell`) for a cell below the cap; zero for no cell.
    fn up_to(&self, cell: Option<u16>) -> Probability {
        let up_to =
            |cell| self.cumulative.get(usize::from(cell)).or(self.cumulative.last()).copied();
        let mass = cell.and_then(up_to);
        Probability::from_q127(mass.unwrap_or(0)).over(self.scale)
    }
}
