//! The exact loss distribution of a portfolio of compound-Bernoulli blocks with common shocks.
//!
//! Blocks are independent given the incident climate (`factor`). For each of its nodes they are
//! folded one after another, in the order of their ids, on a grid of 1 bp (`kernel`); the nodes are
//! then mixed by weight. There is no simulation, no clock and no hash map: the same blocks give the
//! same bits everywhere. Losses above all of the exposure are capped at it. §2.6 has the model,
//! `fixed` the numbers and why they are wider than Q1.63, `input` and `report` the files.

mod block;
mod distribution;
mod euler;
mod factor;
mod fixed;
pub mod input;
pub mod kernel;
mod model;
pub mod report;
pub mod severity;

pub use block::{Block, BlockId, BlockProblem, CELLS, Severity};
pub use distribution::{Level, LossDistribution};
pub use factor::{Factor, Hazard, Node};
pub use fixed::{BasisPoints, Probability, ProbabilityError};
pub use model::{ATOMS_MAX, BLOCKS_MAX, BlockLoss, LossModel, ModelError};
