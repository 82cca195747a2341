//! A checked portfolio of blocks, and the way from it to a distribution.

use super::block::{Block, BlockId, CELLS};
use super::distribution::LossDistribution;
use super::factor::{Factor, Node};
use super::fixed::{BasisPoints, Probability};
use super::kernel::{self, Reach, Step};

/// Blocks in one portfolio: four times the largest restaking token's 500.
pub const BLOCKS_MAX: usize = 2_000;
/// Distinct losses in one portfolio. With eight nodes of 10,000 cells, 8e8 multiply-adds, seconds.
pub const ATOMS_MAX: usize = 10_000;

/// Blocks in the order of their ids, all different, and the factor they share.
#[derive(Clone, Debug, PartialEq)]
pub struct LossModel {
    blocks: Vec<Block>,
    factor: Factor,
}

/// What one block adds to the expected loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockLoss {
    /// The block.
    pub id: BlockId,
    /// One-year probability of its event.
    pub probability: Probability,
    /// The same with the factor integrated in closed form, where there is one.
    pub probability_closed_form: Option<Probability>,
    /// Mean loss if the event happens.
    pub mean_loss: BasisPoints,
    /// Expected loss, probability times mean loss, before the cap.
    pub expected_loss: BasisPoints,
}

/// Why blocks are no portfolio.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Two blocks share an id. Rename or merge one.
    #[error("block {id}: the id is given twice; merge the blocks or rename one")]
    DuplicateBlock {
        /// The id.
        id: BlockId,
    },
    /// More blocks than [`BLOCKS_MAX`]. Merge small blocks.
    #[error("found {found} blocks, expected at most {BLOCKS_MAX}; merge the smallest")]
    TooManyBlocks {
        /// How many were given.
        found: usize,
    },
    /// More losses than [`ATOMS_MAX`]. Use fewer atoms a block.
    #[error(
        "block {id}: with it the portfolio lists {found} losses, expected at most {ATOMS_MAX}; \
         use fewer losses a block"
    )]
    TooManyAtoms {
        /// The block that went over the limit.
        id: BlockId,
        /// Losses up to and including that block.
        found: usize,
    },
}

impl LossModel {
    /// A portfolio of blocks; their order does not matter.
    ///
    /// # Errors
    /// When an id occurs twice or a limit is exceeded.
    pub fn new(mut blocks: Vec<Block>, factor: Factor) -> Result<Self, ModelError> {
        if blocks.len() > BLOCKS_MAX {
            return Err(ModelError::TooManyBlocks { found: blocks.len() });
        }
        blocks.sort_by(|a, b| a.id().cmp(b.id()));
        let mut atoms = 0_usize;
        let mut previous: Option<&BlockId> = None;
        for block in &blocks {
            if previous == Some(block.id()) {
                return Err(ModelError::DuplicateBlock { id: block.id().clone() });
            }
            previous = Some(block.id());
            atoms = atoms.saturating_add(block.severity().atoms());
            if atoms > ATOMS_MAX {
                return Err(ModelError::TooManyAtoms { id: block.id().clone(), found: atoms });
            }
        }
        Ok(Self { blocks, factor })
    }

    /// The blocks in the order of their ids.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The factor.
    pub fn factor(&self) -> Factor {
        self.factor
    }

    /// The exact distribution of the portfolio's loss.
    pub fn distribution(&self) -> LossDistribution {
        let conditional = self
            .factor
            .nodes()
            .into_iter()
            .map(|node| (node, fold(self.blocks.iter(), node)))
            .collect();
        LossDistribution::mix(conditional)
    }

    /// What each block adds to the expected loss, in the order of their ids.
    pub fn losses_by_block(&self) -> Vec<BlockLoss> {
        let nodes = self.factor.nodes();
        self.blocks.iter().map(|block| block_loss(block, self.factor, &nodes)).collect()
    }

    /// The sum of what the blocks add: the expected loss before the cap.
    pub fn expected_loss_uncapped(&self) -> BasisPoints {
        let losses = self.losses_by_block();
        losses.iter().fold(BasisPoints::ZERO, |sum, loss| sum.plus(loss.expected_loss))
    }
}

/// The distribution given one climate, in units of 2⁻¹²⁷, and how far it goes.
///
/// Small losses first, then by id: while few cells hold mass, few have to be worked on.
pub(super) fn fold<'a>(blocks: impl Iterator<Item = &'a Block>, node: Node) -> (Vec<u128>, Reach) {
    let mut cells = vec![0; usize::from(CELLS).saturating_add(1)];
    if let Some(first) = cells.first_mut() {
        *first = Probability::ONE.to_q127();
    }
    let mut steps: Vec<Step> =
        blocks.map(|block| Step::new(block.losses_given(node.climate))).collect();
    steps.sort_by_key(Step::furthest);
    let folded = |reach, step: &Step| kernel::convolve(&mut cells, reach, step);
    let reach = steps.iter().fold(Reach::default(), folded);
    (cells, reach)
}

fn block_loss(block: &Block, factor: Factor, nodes: &[Node]) -> BlockLoss {
    let probability = nodes.iter().fold(Probability::ZERO, |sum, node| {
        sum.plus(block.hazard().probability(block.beta(), node.climate).times(node.weight))
    });
    let mean_loss = block.severity().mean();
    BlockLoss {
        id: block.id().clone(),
        probability,
        probability_closed_form: block.hazard().probability_closed_form(block.beta(), factor),
        mean_loss,
        expected_loss: mean_loss.times(probability),
    }
}
