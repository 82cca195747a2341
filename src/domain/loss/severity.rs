//! From a share of a position to losses on the 1-bp grid.
//!
//! A Beta severity becomes ten equally likely atoms at its decile means. A loss between two cells
//! is split between them so that its mean is kept. Position sizes are rounded by largest remainder,
//! so that they still sum to the exposure.
#![expect(clippy::float_arithmetic, reason = "decile means of a Beta are real numbers")]

use alloy_primitives::U256;

use super::block::{BlockProblem, CELLS, Severity};
use super::fixed::Probability;
use crate::special;

/// Atoms that stand for a Beta distribution.
const DECILES: usize = 10;

/// The mean of Beta(`a`, `b`) in each of its deciles, ascending. NaN for parameters not above zero.
///
/// E[X; x < X ≤ y] = a/(a+b) · (I(a+1, b, y) − I(a+1, b, x)), and each decile has mass one tenth.
pub fn beta_decile_means(a: f64, b: f64) -> [f64; DECILES] {
    let up_to = |tenths: u8| {
        special::beta_tails(a + 1.0, b, special::beta_quantile(f64::from(tenths) / 10.0, a, b))
    };
    let mut means = [0.0; DECILES];
    let mut before = up_to(0);
    for (decile, mean) in (1..).zip(&mut means) {
        let at = up_to(decile);
        // The difference of the smaller tails keeps its accuracy.
        let inside =
            if at.lower <= 0.5 { at.lower - before.lower } else { before.upper - at.upper };
        *mean = 10.0 * inside * a / (a + b);
        before = at;
    }
    means
}

/// Shares lost in an event that takes all with probability `full_loss`, else a Beta(`a`, `b`)
/// share.
///
/// Pairs of share and probability, for [`on_grid`]. `None` for parameters not above zero.
pub fn full_or_beta(
    full_loss: Probability,
    a: f64,
    b: f64,
) -> Option<Vec<(Probability, Probability)>> {
    let tenth = Probability::parse("0.1").ok()?.times(full_loss.complement());
    let share = |mean: f64| Some((Probability::from_f64(mean.clamp(0.0, 1.0))?, tenth));
    let mut shares = beta_decile_means(a, b).into_iter().map(share).collect::<Option<Vec<_>>>()?;
    shares.push((Probability::ONE, full_loss));
    Some(shares)
}

/// The severity of losing a share of a position of `exposure_bp`: pairs of share and probability.
///
/// A loss between two cells is split between them so that its mean is kept, even below the first
/// cell, where the event may then cost nothing.
///
/// # Errors
/// When nothing above zero can be lost, or the probabilities do not sum to one.
pub fn on_grid(
    exposure_bp: u16,
    shares: &[(Probability, Probability)],
) -> Result<Severity, BlockProblem> {
    if exposure_bp > CELLS {
        return Err(BlockProblem::Loss { found: u64::from(exposure_bp) });
    }
    let halves = shares.iter().flat_map(|&(share, p)| {
        let (cell, above) = split(exposure_bp, share);
        let upper = p.times(above);
        [(cell, p.minus(upper)), (cell.saturating_add(1).min(CELLS), upper)]
    });
    Severity::from_cell(0, halves)
}

/// Rounds positions to whole bp of `total` by largest remainder, ties to the earlier position.
///
/// The result sums to `total_bp` exactly. Empty when the amounts sum to zero.
pub fn round_to_grid(amounts: &[U256], total_bp: u16) -> Vec<u16> {
    let sum = amounts.iter().fold(U256::ZERO, |sum, amount| sum.saturating_add(*amount));
    if sum.is_zero() {
        return Vec::new();
    }
    // Amounts above 2^240 would overflow below; they are scaled down together, which keeps shares.
    let excess = sum.bit_len().saturating_sub(240);
    let scale = |amount: &U256| amount.wrapping_shr(excess);
    let sum = amounts.iter().fold(U256::ZERO, |sum, amount| sum.saturating_add(scale(amount)));
    let mut rounded = Vec::with_capacity(amounts.len());
    let mut remainders = Vec::with_capacity(amounts.len());
    for (index, amount) in amounts.iter().enumerate() {
        let scaled = scale(amount).saturating_mul(U256::from(total_bp));
        let whole = scaled.checked_div(sum).unwrap_or_default();
        rounded.push(u16::try_from(whole).unwrap_or(total_bp));
        remainders.push((std::cmp::Reverse(scaled.checked_rem(sum).unwrap_or_default()), index));
    }
    let given: u16 = rounded.iter().fold(0, |sum, cell| sum.saturating_add(*cell));
    remainders.sort();
    let missing = usize::from(total_bp.saturating_sub(given));
    for &(_, index) in remainders.iter().take(missing) {
        if let Some(cell) = rounded.get_mut(index) {
            *cell = cell.saturating_add(1);
        }
    }
    rounded
}

/// ⌊exposure · share⌋ and the share of the next cell that keeps the mean.
fn split(exposure_bp: u16, share: Probability) -> (u16, Probability) {
    // share · exposure has 127 bits after the point and at most 14 before: it is done in halves.
    let share = share.to_q127();
    let low = (share & u128::from(u64::MAX)).wrapping_mul(exposure_bp.into());
    let high = (share >> 64).wrapping_mul(exposure_bp.into()).wrapping_add(low >> 64);
    let whole = high >> 63;
    let rest = (high & u128::from(u64::MAX >> 1)) << 64 | (low & u128::from(u64::MAX));
    let above = Probability::from_q127(rest);
    (u16::try_from(whole).unwrap_or(CELLS), above)
}
