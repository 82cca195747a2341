//! From loss blocks to the exact distribution, and the figures that are published of it.
//!
//! Every entity has its probability of losing more than 1 %; a liquid restaking token has the whole
//! distribution (methodology §2.6). A partial loss is ten atoms at the decile means of its class's
//! Beta, moved to the mean that was estimated.
#![expect(
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "rates and decile means are real numbers; what leaves is Q1.127 or whole ppt"
)]

use std::collections::BTreeMap;

use alloy_primitives::B256;
use borsh::BorshSerialize;

use crate::decimal::{ATTO_ONE, Atto, PPT_ONE, Ppt};
use crate::frontier::{PositionBlock, PositionOutcome};
use crate::loss::severity::{beta_decile_means, on_grid};
use crate::loss::{
    Block, BlockId, CELLS, Factor, Hazard, Level, LossDistribution, LossModel, ModelError,
    Probability,
};
use crate::loss_block::{LossBlock, LossClass, LossProfile};
use crate::methodology::Methodology;
use crate::parameters::{Severities, SeverityPrior};
use crate::special;

/// Losses above this many bp count as significant: 1 % of what is rated.
pub const SIGNIFICANT_LOSS_BP: u16 = 100;
/// A basis point of a product of two shares in ppt.
const PPT_SQUARED_PER_BP: u128 = PPT_ONE as u128 * PPT_ONE as u128 / 10_000;
/// First-loss reserves for which the holder's loss is shown, bp.
const RESERVES_BP: [u16; 4] = [0, 50, 100, 300];
/// The curve of exceedance: to each of these losses in bp, in steps of the second number.
const CURVE_BP: [(u16, u16); 3] = [(100, 5), (1_000, 50), (CELLS, 250)];

/// Decile means of the partial losses of C1 to C4 at their priors, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciles([([Ppt; 10], Ppt); 4]);

impl Deciles {
    /// The constants that the severity priors imply.
    #[must_use]
    pub fn of(severities: &Severities) -> Self {
        let deciles = |prior: &SeverityPrior| {
            let (a, b) = prior.partial_beta;
            let means = beta_decile_means(float(a.0), float(b.0));
            (means.map(|mean| Ppt((mean * PPT_ONE as f64) as u64)), prior.partial_mean.to_ppt())
        };
        let Severities { c1, c2, c3, c4, .. } = severities;
        Self([deciles(c1), deciles(c2), deciles(c3), deciles(c4)])
    }

    /// Ten equally likely partial losses of a class with this mean; `None` where the class has
    /// one size. The prior's are scaled down, or what they leave is, so that all stay in 0 to 1.
    fn moved_to(&self, class: LossClass, mean: Ppt) -> Option<[Ppt; 10]> {
        let [c1, c2, c3, c4] = &self.0;
        let (deciles, prior) = match class {
            LossClass::C1 | LossClass::C1Wide => c1,
            LossClass::C2 => c2,
            LossClass::C3 => c3,
            LossClass::C4 => c4,
            LossClass::C5 | LossClass::C6 | LossClass::C7 | LossClass::C8 => return None,
        };
        let scaled = |share: Ppt, by: Ppt, of: Ppt| {
            let product = u128::from(share.0).saturating_mul(by.0.into());
            Ppt(product.checked_div(of.0.into()).and_then(|it| u64::try_from(it).ok()).unwrap_or(0))
        };
        Some(deciles.map(|decile| {
            if mean <= *prior {
                scaled(decile, mean, *prior)
            } else {
                scaled(decile.complement(), mean.complement(), prior.complement()).complement()
            }
        }))
    }
}

/// Redemptions at a value that is known to be too high before a loss is recognised: those who stay
/// bear the loss of those who left (methodology §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct Run {
    /// Losses up to this share of the whole are recognised in one report.
    pub guard: Ppt,
    /// Share that is redeemed before any larger one is.
    pub redeemed: Ppt,
    /// What lenders sell beside it.
    pub forced: Option<ForcedSale>,
}

/// Collateral that lenders sell once a token lost enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize)]
pub struct ForcedSale {
    /// Share of the supply.
    pub share: Ppt,
    /// The loss from which they do.
    pub from: Ppt,
}

impl Run {
    /// ρ: the share that leaves before a loss of so much is recognised.
    fn leaving(self, loss: Probability) -> Ppt {
        let is_sold = |sale: &ForcedSale| loss >= Probability::from_ppt(sale.from.0);
        let sold = self.forced.filter(is_sold).map_or(Ppt::ZERO, |sale| sale.share);
        self.redeemed.capped_add(sold)
    }

    /// L / (1 − ρ) above the guard, at most everything.
    fn of(self, loss: Probability) -> Probability {
        if loss <= Probability::from_ppt(self.guard.0) {
            return loss;
        }
        loss.over(Probability::from_ppt(self.leaving(loss).complement().0))
    }
}

/// The exact model of a profile. Of more losses than the model takes, a partial one keeps its mean
/// alone.
///
/// # Errors
/// When even then there are too many blocks or losses, or two blocks have one id.
pub fn loss_model(
    profile: &LossProfile,
    run: Option<Run>,
    methodology: &Methodology,
) -> Result<LossModel, ModelError> {
    let blocks = |is_spread: bool| {
        let block = |found| block(found, run, is_spread, methodology);
        profile.blocks().iter().filter_map(block).collect()
    };
    match LossModel::new(blocks(true), Factor::GammaUnitVariance) {
        Err(ModelError::TooManyAtoms { .. }) => {
            LossModel::new(blocks(false), Factor::GammaUnitVariance)
        }
        other => other,
    }
}

/// `None` for what cannot happen or costs nothing.
fn block(
    found: &LossBlock,
    run: Option<Run>,
    is_spread: bool,
    methodology: &Methodology,
) -> Option<Block> {
    let exposure = Probability::from_ppt(found.exposure.0);
    // A contract that fails is not a loss that a report could hold back.
    let run = run.filter(|_| found.class != LossClass::C8);
    let losses: Vec<(Probability, Probability)> = shares(found, is_spread, methodology)
        .into_iter()
        .map(|(share, p)| {
            let loss = exposure.times(Probability::from_ppt(share.0));
            (run.map_or(loss, |run| run.of(loss)), p)
        })
        .collect();
    let severity = on_grid(CELLS, &losses).ok()?;
    let id = BlockId::new(found.id.clone()).ok()?;
    Block::new(id, hazard(found), float(beta(found.class, methodology).0), severity).ok()
}

/// A block as it falls on single positions: the same share of each that it touches, rounded up to
/// a basis point. `None` where it touches none.
pub(crate) fn on_positions(
    found: &LossBlock,
    touched: &[bool],
    methodology: &Methodology,
) -> Option<PositionBlock> {
    if !touched.contains(&true) || found.exposure == Ppt::ZERO {
        return None;
    }
    let mut by_loss: BTreeMap<u16, Probability> = BTreeMap::new();
    for (share, p) in shares(found, true, methodology) {
        let loss = u128::from(share.0).saturating_mul(found.exposure.0.into());
        let loss = u16::try_from(loss.div_ceil(PPT_SQUARED_PER_BP)).unwrap_or(CELLS).min(CELLS);
        let sum = by_loss.entry(loss).or_default();
        *sum = sum.plus(p);
    }
    let outcome = |(loss, probability): (u16, Probability)| PositionOutcome {
        probability,
        losses_bp: touched.iter().map(|is_hit| if *is_hit { loss } else { 0 }).collect(),
    };
    Some(PositionBlock {
        id: BlockId::new(found.id.clone()).ok()?,
        hazard: hazard(found),
        beta: float(beta(found.class, methodology).0),
        outcomes: by_loss.into_iter().filter(|(_, p)| p.to_q127() > 0).map(outcome).collect(),
    })
}

/// How often the event happens.
fn hazard(found: &LossBlock) -> Hazard {
    match found.rate {
        Some(rate) => Hazard::Predictive { shape: float(rate.shape.0), years: float(rate.rate.0) },
        None if found.hazard >= Ppt::ONE => Hazard::Fixed(Probability::ONE),
        None => {
            let p = found.hazard.0 as f64 / PPT_ONE as f64;
            Hazard::Rate { per_year: -special::ln_1p(-p) }
        }
    }
}

/// What an event takes of the exposure, with probabilities that sum to one.
fn shares(
    block: &LossBlock,
    is_spread: bool,
    methodology: &Methodology,
) -> Vec<(Ppt, Probability)> {
    let full = Probability::from_ppt(block.shape.full.0);
    let part = full.complement();
    let mut shares = vec![(block.shape.full_loss, full)];
    let deciles = methodology.deciles.moved_to(block.class, block.shape.partial);
    match deciles.filter(|_| is_spread) {
        Some(deciles) => {
            let tenth = Probability::from_q127(part.to_q127() / 10);
            let most = block.shape.full_loss;
            shares.extend(deciles.map(|share| (share.min(most), tenth)));
        }
        None => shares.push((block.shape.partial, part)),
    }
    shares
}

/// Share of a class's hazard that follows the common factor.
fn beta(class: LossClass, methodology: &Methodology) -> Atto {
    let table = &methodology.factor_beta;
    match class {
        LossClass::C1 | LossClass::C1Wide => table.c1,
        LossClass::C2 => table.c2,
        LossClass::C3 => table.c3,
        LossClass::C4 => table.c4,
        LossClass::C5 => table.c5,
        LossClass::C6 => table.c6,
        LossClass::C7 | LossClass::C8 => Atto::ZERO,
    }
}

/// P(one-year loss > 1 % of what is rated), as the exact distribution has it: the same fold on the
/// same grid, in doubles, of the cells up to 1 % alone. It is asked of every entity every day.
#[must_use]
pub fn loss_above_one_percent(profile: &LossProfile, methodology: &Methodology) -> Ppt {
    let blocks: Vec<SmallLosses> = profile
        .blocks()
        .iter()
        .filter(|block| block.exposure > Ppt::ZERO)
        .map(|block| SmallLosses::of(block, methodology))
        .collect();
    let below = Factor::GammaUnitVariance.nodes().into_iter().fold(0.0, |sum, node| {
        sum + double(node.weight) * below_one_percent(&blocks, node.climate)
    });
    Ppt(Probability::from_f64((1.0 - below).clamp(0.0, 1.0)).map_or(PPT_ONE, Probability::to_ppt))
}

/// The losses of a block that are no significant loss by themselves.
struct SmallLosses {
    hazard: Hazard,
    beta: f64,
    /// Probability, of the event, that it costs nothing on the grid.
    nothing: f64,
    /// Cells up to 1 % and their probabilities.
    cells: Vec<(usize, f64)>,
}

impl SmallLosses {
    fn of(found: &LossBlock, methodology: &Methodology) -> Self {
        let mut small = Self {
            hazard: hazard(found),
            beta: float(beta(found.class, methodology).0),
            nothing: 0.0,
            cells: Vec::new(),
        };
        for (share, p) in shares(found, true, methodology) {
            let loss = u128::from(share.0).saturating_mul(found.exposure.0.into());
            // Cells and parts of one, which go to the next cell in proportion.
            let (cell, part) = (loss / PPT_SQUARED_PER_BP, loss % PPT_SQUARED_PER_BP);
            let upper = part as f64 / PPT_SQUARED_PER_BP as f64;
            let p = double(p);
            small.add(cell, p * (1.0 - upper));
            small.add(cell.saturating_add(1), p * upper);
        }
        small
    }

    fn add(&mut self, cell: u128, p: f64) {
        match usize::try_from(cell) {
            Ok(0) => self.nothing += p,
            Ok(cell) if cell <= usize::from(SIGNIFICANT_LOSS_BP) && p > 0.0 => {
                self.cells.push((cell, p));
            }
            _ => {}
        }
    }
}

fn below_one_percent(blocks: &[SmallLosses], climate: f64) -> f64 {
    let mut cells = [0.0; SIGNIFICANT_LOSS_BP as usize + 1];
    if let Some(first) = cells.first_mut() {
        *first = 1.0;
    }
    for block in blocks {
        let p = double(block.hazard.probability(block.beta, climate));
        let stays = 1.0 - p * (1.0 - block.nothing);
        // Downwards, so that what is read is still as it was.
        for cell in (0..cells.len()).rev() {
            let arrives = block.cells.iter().fold(0.0, |sum, (loss, share)| {
                let from = cell.checked_sub(*loss).and_then(|from| cells.get(from));
                sum + p * share * from.copied().unwrap_or(0.0)
            });
            if let Some(mass) = cells.get_mut(cell) {
                *mass = *mass * stays + arrives;
            }
        }
    }
    cells.iter().fold(0.0, |sum, mass| sum + mass)
}

fn double(p: Probability) -> f64 {
    p.to_q127() as f64 / Probability::ONE.to_q127() as f64
}

/// The figures of a loss distribution. Amounts are ppt of net asset value, or bp where they are
/// cells of the grid.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Tail {
    /// Expected loss, capped at everything.
    pub expected_loss: Ppt,
    /// Standard deviation.
    pub standard_deviation: Ppt,
    /// P(loss > 1 %).
    pub above_one_percent: Ppt,
    /// Value at risk, bp, and expected shortfall at 95, 99 and 99.9 %.
    pub levels: [(u16, Ppt); 3],
    /// What each block contributes to the expected shortfall at 99 %, by id; they sum to it.
    pub contributions: Vec<(String, Ppt)>,
    /// Expected loss after a first-loss reserve of so many bp in place of the one there is.
    pub after_reserve: Vec<(u16, Ppt)>,
    /// P(loss > so many bp), falling.
    pub exceedance: Vec<(u16, Ppt)>,
    /// The largest loss that is possible, bp.
    pub worst: u16,
    /// SHA-256 of the distribution in Q1.63.
    pub pmf_hash: B256,
}

impl Tail {
    /// Computes every figure of what a first-loss reserve of so many bp leaves to the holders.
    #[must_use]
    pub fn of(model: &LossModel, reserve_bp: u16) -> Self {
        let gross = model.distribution();
        let distribution = gross.after(reserve_bp);
        let shortfall = |level| Ppt(distribution.expected_shortfall(level).to_ppt());
        let level = |level| (distribution.value_at_risk(level), shortfall(level));
        Self {
            expected_loss: Ppt(distribution.expected_loss().to_ppt()),
            standard_deviation: Ppt(distribution.standard_deviation().to_ppt()),
            above_one_percent: Ppt(distribution.probability_above(SIGNIFICANT_LOSS_BP).to_ppt()),
            levels: Level::ALL.map(level),
            contributions: contributions(model, &gross, &distribution),
            after_reserve: RESERVES_BP
                .map(|bp| (bp, Ppt(gross.expected_loss_after(bp).to_ppt())))
                .to_vec(),
            exceedance: exceedance(&distribution),
            worst: distribution.worst(),
            pmf_hash: distribution.hash(),
        }
    }

    /// Expected shortfall at 99.9 %.
    #[must_use]
    pub fn shortfall_999(&self) -> Ppt {
        let [_, _, (_, shortfall)] = self.levels;
        shortfall
    }
}

/// Contributions in whole ppt; what a reserve bears of the shortfall is taken off in proportion,
/// and what rounding leaves is the largest one's.
fn contributions(
    model: &LossModel,
    gross: &LossDistribution,
    net: &LossDistribution,
) -> Vec<(String, Ppt)> {
    let before = gross.expected_shortfall(Level::P99).to_ppt();
    let shortfall = net.expected_shortfall(Level::P99).to_ppt();
    let left = |part: u64| {
        let product = u128::from(part).saturating_mul(shortfall.into());
        let part = product.checked_div(before.into()).unwrap_or(0);
        Ppt(u64::try_from(part).unwrap_or(u64::MAX))
    };
    let parts = model.shortfall_by_block(gross, Level::P99);
    let mut parts: Vec<(String, Ppt)> =
        parts.into_iter().map(|(id, part)| (id.to_string(), left(part.to_ppt()))).collect();
    let sum = parts.iter().fold(0_u64, |sum, (_, part)| sum.saturating_add(part.0));
    if let Some((_, largest)) = parts.iter_mut().max_by_key(|(_, part)| *part) {
        largest.0 = largest.0.saturating_add(shortfall).saturating_sub(sum);
    }
    parts
}

fn exceedance(distribution: &LossDistribution) -> Vec<(u16, Ppt)> {
    let mut above = Probability::ONE;
    let mut losses = distribution.losses().peekable();
    let mut curve = Vec::new();
    let mut bp = 0_u16;
    for (until, step) in CURVE_BP {
        while bp <= until {
            while let Some((_, p)) = losses.next_if(|(loss, _)| *loss <= bp) {
                above = above.minus(p);
            }
            curve.push((bp, Ppt(above.to_ppt())));
            bp = bp.saturating_add(step);
        }
        bp = bp.saturating_sub(step);
        // The last point of one stretch is the first of the next.
        curve.pop();
    }
    curve.push((CELLS, Ppt::ZERO));
    curve
}

fn float(atto: u128) -> f64 {
    atto as f64 / ATTO_ONE as f64
}
