//! The figures read from a loss distribution.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "masses are units of 2^-127 that sum to 2^127; bounds stand where sums are formed"
)]

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use super::block::CELLS;
use super::factor::Node;
use super::fixed::{BasisPoints, Probability, mul_q127};
use super::kernel::{self, Reach};

/// A level counts as reached within 2⁻⁵⁰ (9e-16). Hazards are `f64`; finer would be noise.
const LEVEL_SLACK_BITS: u32 = 50;

/// A confidence level of value at risk and expected shortfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// 95 %.
    P95,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
}

/// The distribution of a portfolio's loss on the grid of 0 to 10,000 bp, mass exactly one.
#[derive(Clone, Debug)]
pub struct LossDistribution {
    /// Mass of each cell in units of 2⁻¹²⁷.
    cells: Vec<u128>,
    /// The highest cell that can hold mass.
    reach: usize,
    /// The distribution given each climate, before lost mass is settled: the cells below the cap
    /// that hold any.
    conditional: Vec<(Node, Vec<u128>)>,
}

impl Level {
    /// All levels, ascending.
    pub const ALL: [Self; 3] = [Self::P95, Self::P99, Self::P999];

    /// The size of the tail above the level, per mille.
    pub fn tail_per_mille(self) -> u16 {
        match self {
            Self::P95 => 50,
            Self::P99 => 10,
            Self::P999 => 1,
        }
    }

    /// The mass the level asks for, in units of 2⁻¹²⁷.
    pub(super) fn mass(self) -> u128 {
        let one = Probability::ONE.to_q127();
        one - one / 1000 * u128::from(self.tail_per_mille())
    }
}

impl LossDistribution {
    pub(super) fn mix(conditional: Vec<(Node, (Vec<u128>, Reach))>) -> Self {
        let mut cells = vec![0_u128; usize::from(CELLS) + 1];
        let mut reach = 0;
        let mut kept = Vec::with_capacity(conditional.len());
        for (node, (mut given, node_reach)) in conditional {
            let weight = node.weight.to_q127();
            for (cell, &mass) in cells.iter_mut().zip(&given) {
                *cell += mul_q127(mass, weight);
            }
            reach = reach.max(node_reach.possible);
            given.truncate((node_reach.held + 1).min(usize::from(CELLS)));
            kept.push((node, given));
        }
        kernel::settle(&mut cells, reach);
        Self { cells, reach, conditional: kept }
    }

    /// P(L = `cell` bp).
    pub fn mass(&self, cell: u16) -> Probability {
        Probability::from_q127(self.cells.get(usize::from(cell)).copied().unwrap_or(0))
    }

    /// Losses with their probabilities, ascending, where the probability is above zero.
    pub fn losses(&self) -> impl Iterator<Item = (u16, Probability)> + '_ {
        let cells = (0..=CELLS).zip(&self.cells);
        cells.filter(|(_, mass)| **mass > 0).map(|(cell, &m)| (cell, Probability::from_q127(m)))
    }

    /// What a first-loss reserve of so many bp leaves: (L − d)⁺. Nothing is known of its parts.
    pub fn after(&self, reserve_bp: u16) -> Self {
        if reserve_bp == 0 {
            return self.clone();
        }
        let mut cells = vec![0_u128; usize::from(CELLS) + 1];
        for (loss, p) in self.losses() {
            if let Some(cell) = cells.get_mut(usize::from(loss.saturating_sub(reserve_bp))) {
                *cell += p.to_q127();
            }
        }
        let reach = self.reach.saturating_sub(usize::from(reserve_bp));
        Self { cells, reach, conditional: Vec::new() }
    }

    /// The highest loss that is possible at all, bp.
    pub fn worst(&self) -> u16 {
        u16::try_from(self.reach).unwrap_or(CELLS)
    }

    /// The mean, `E[L]`.
    pub fn expected_loss(&self) -> BasisPoints {
        self.expected_loss_after(0)
    }

    /// `E[(L − d)⁺]` with the first `reserve_bp` of loss borne by a reserve.
    pub fn expected_loss_after(&self, reserve_bp: u16) -> BasisPoints {
        self.losses().fold(BasisPoints::ZERO, |sum, (cell, p)| {
            sum.plus(BasisPoints::expected(cell.saturating_sub(reserve_bp), p))
        })
    }

    /// The standard deviation, `√Var[L]`.
    pub fn standard_deviation(&self) -> BasisPoints {
        // k² ≤ 10⁸ has 27 bits, so that many are given up: units of 2⁻¹⁰⁰ bp².
        let second = self.losses().fold(0, |sum, (cell, p)| {
            let cell = u128::from(cell);
            sum + (p.to_q127() >> 27) * cell * cell
        });
        BasisPoints::deviation(second, self.expected_loss())
    }

    /// P(L > `cell` bp).
    pub fn probability_above(&self, cell: u16) -> Probability {
        let above = self.losses().filter(|&(loss, _)| loss > cell);
        above.fold(Probability::ZERO, |sum, (_, p)| sum.plus(p))
    }

    /// Value at risk: the smallest loss x in bp with P(L ≤ x) ≥ level.
    pub fn value_at_risk(&self, level: Level) -> u16 {
        let wanted = level.mass() - (Probability::ONE.to_q127() >> LEVEL_SLACK_BITS);
        let mut sum = 0;
        for (loss, p) in self.losses() {
            sum += p.to_q127();
            if sum >= wanted {
                return loss;
            }
        }
        self.worst()
    }

    /// Expected shortfall: `v + E[(L − v)⁺] / (1 − level)`, where v is the value at risk.
    pub fn expected_shortfall(&self, level: Level) -> BasisPoints {
        let at_risk = self.value_at_risk(level);
        let beyond = self.expected_loss_after(at_risk).per_tail(level.tail_per_mille());
        BasisPoints::whole(at_risk).plus(beyond)
    }

    /// The distribution as it is published: Q1.63, rounded down, what is lost given to the worst
    /// cell.
    pub fn to_q63(&self) -> Vec<u64> {
        let narrowed = self.cells.iter().map(|&mass| u64::try_from(mass >> 64).unwrap_or(u64::MAX));
        let mut cells: Vec<u64> = narrowed.collect();
        kernel::settle(&mut cells, self.reach);
        cells
    }

    /// SHA-256 of the published distribution: 10,001 cells of eight bytes, big-endian.
    pub fn hash(&self) -> B256 {
        let mut hasher = Sha256::new();
        for cell in self.to_q63() {
            hasher.update(cell.to_be_bytes());
        }
        B256::from(<[u8; 32]>::from(hasher.finalize()))
    }

    pub(super) fn conditional(&self) -> &[(Node, Vec<u128>)] {
        &self.conditional
    }
}
