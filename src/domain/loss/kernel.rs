//! The inner loop: a compound-Bernoulli event folded into a loss distribution, and taken out again.
//!
//! One piece of code for two widths. [`u64`] cells are Q1.63 as §2.12 writes them (V16 holds bit
//! for bit); [`u128`] cells are Q1.127, in which the model works, see `fixed`. A share is 64 bits
//! with a common binary exponent, so a product is one or two 64-bit multiplications, and the
//! exponent is applied once a cell. Rounding is always down: mass can only be lost, and [`settle`]
//! gives what was lost to the worst cell.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "the hot loop; masses sum to at most one, so no sum leaves its width"
)]

use super::fixed::Probability;

/// Cells worked on at a time: small enough for the first-level cache beside their sources.
const CHUNK_CELLS: usize = 256;

/// The width of a cell.
pub trait Word: Copy + Default + PartialEq {
    /// Certainty.
    const ONE: Self;
    /// Bits of the product that [`Word::products`] drops.
    const DROPPED: u32;
    /// Σ source · share / 2^DROPPED, each rounded down; the shares sum to at most 2^64 − 1.
    fn products<const N: usize>(sources: [Self; N], shares: [u64; N]) -> u128;
    /// sum / 2^shift, where `shift` is what [`Step`] holds less DROPPED.
    fn scale(sum: u128, shift: u32) -> u128;
    /// As wide as sums are.
    fn wide(self) -> u128;
    /// Back from a sum, which is at most one.
    fn narrow(sum: u128) -> Self;
}

impl Word for u64 {
    const ONE: Self = 1 << 63;
    const DROPPED: u32 = 0;

    #[inline(always)]
    fn products<const N: usize>(sources: [Self; N], shares: [u64; N]) -> u128 {
        let pairs = sources.into_iter().zip(shares);
        pairs.fold(0, |sum, (source, share)| sum + u128::from(source) * u128::from(share))
    }

    #[inline(always)]
    fn scale(sum: u128, shift: u32) -> u128 {
        sum >> shift
    }

    #[inline(always)]
    fn wide(self) -> u128 {
        u128::from(self)
    }

    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "a mass is at most 2^63")]
    fn narrow(sum: u128) -> Self {
        sum as Self
    }
}

impl Word for u128 {
    const ONE: Self = 1 << 127;
    const DROPPED: u32 = 64;

    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "the two halves of a product, on purpose")]
    fn products<const N: usize>(sources: [Self; N], shares: [u64; N]) -> u128 {
        let (mut high, mut low) = (0_u128, 0_u64);
        for (source, share) in sources.into_iter().zip(shares) {
            let share = Self::from(share);
            high += Self::from((source >> 64) as u64) * share;
            // Each term is below its share, so the sum is below 2^64.
            low = low.wrapping_add(((Self::from(source as u64) * share) >> 64) as u64);
        }
        high + Self::from(low)
    }

    #[inline(always)]
    fn scale(sum: u128, shift: u32) -> u128 {
        // A step shifts by 64 to 127. The mask says so to the compiler.
        sum >> (shift & 63)
    }

    #[inline(always)]
    fn wide(self) -> u128 {
        self
    }

    #[inline(always)]
    fn narrow(sum: u128) -> Self {
        sum
    }
}

/// One way a block can lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atom {
    /// The loss in cells (bp), at least 1.
    pub cells: u16,
    /// Its probability in units of 2^−shift.
    pub share: u64,
}

/// A compound-Bernoulli event in the form the loop wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    shift: u32,
    moved: u64,
    atoms: Vec<Atom>,
}

impl Step {
    /// An event of Q1.63 probability `p_q63` that loses `cells`: §2.12 to the letter.
    pub fn q63(p_q63: u64, cells: u16) -> Self {
        let share = p_q63.min(<u64 as Word>::ONE);
        Self { shift: 63, moved: share, atoms: vec![Atom { cells: cells.max(1), share }] }
    }

    /// An event from the probabilities of its losses, ascending in cells; zero losses do not count.
    ///
    /// The largest 64 bits are kept. A certain event keeps 2⁻⁶⁴ of doubt.
    pub fn new(losses: impl Iterator<Item = (u16, Probability)> + Clone) -> Self {
        let losses = losses.filter(|&(cells, _)| cells > 0);
        let total = losses.clone().fold(Probability::ZERO, |sum, (_, p)| sum.plus(p)).to_q127();
        let bits = (128 - total.leading_zeros()).clamp(64, 127);
        let (mut atoms, mut moved) = (Vec::new(), 0_u64);
        for (cells, p) in losses {
            let share = u64::try_from(p.to_q127() >> (bits - 64)).unwrap_or(u64::MAX);
            let share = share.min(u64::MAX - moved);
            moved += share;
            atoms.push(Atom { cells, share });
        }
        Self { shift: 191 - bits, moved, atoms }
    }

    /// The same event with odds p / (1 − Σp) in place of probabilities, for [`remove`].
    ///
    /// `None` above a total of 31/64: taking the event out magnifies rounding by at most
    /// 1 / (1 − odds), which is 16 there and without bound from one half on.
    pub fn odds(losses: impl Iterator<Item = (u16, Probability)> + Clone) -> Option<Self> {
        let total = losses.clone().fold(Probability::ZERO, |sum, (_, p)| sum.plus(p));
        if total.to_q127() > (Probability::ONE.to_q127() >> 6) * 31 {
            return None;
        }
        let stay = total.complement();
        Some(Self::new(losses.map(move |(cells, p)| (cells, p.over(stay)))))
    }

    /// The largest loss in cells.
    pub fn furthest(&self) -> usize {
        self.atoms.last().map_or(0, |atom| usize::from(atom.cells))
    }
}

/// How far a distribution goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The highest cell that can be reached at all.
    pub possible: usize,
    /// No cell between this one and the cap holds mass: what is left of it there is below a unit.
    /// Many small events end far below what is possible.
    pub held: usize,
}

/// Folds an event into `cells`, whose last cell holds all losses from there on.
///
/// Works downwards in place, so that every source is still unchanged when it is read.
pub fn convolve<W: Word>(cells: &mut [W], reach: Reach, step: &Step) -> Reach {
    let Some(cap) = cells.len().checked_sub(1) else { return reach };
    let shift = step.shift - W::DROPPED;
    let possible = cap.min(reach.possible + step.furthest());
    let overflow = W::scale(overflow(cells, reach.held, step), shift);
    if let Some(last) = cells.last_mut() {
        // What is at the cap stays there.
        *last = W::narrow(last.wide() + overflow);
    }
    let mut sums = [0_u128; CHUNK_CELLS];
    let top = cap.min(reach.held + step.furthest() + 1);
    let mut end = top;
    while end > 0 {
        let start = end.saturating_sub(CHUNK_CELLS);
        let Some(sums) = sums.get_mut(..end - start) else { break };
        gather(cells, start, step, sums);
        let round_up = (1_u128 << shift) - 1 + u128::from(W::DROPPED > 0);
        if let Some(chunk) = cells.get_mut(start..end) {
            for (cell, &sum) in chunk.iter_mut().zip(sums.iter()) {
                let mass = cell.wide();
                // An empty cell moves nothing; elsewhere what leaves is rounded up.
                let leaving = W::products([*cell], [step.moved]) + round_up;
                let staying = mass.saturating_sub(W::scale(leaving, shift));
                *cell = W::narrow(staying + W::scale(sum, shift));
            }
        }
        end = start;
    }
    let held =
        cells.get(..top).and_then(|below| below.iter().rposition(|mass| *mass != W::default()));
    Reach { possible, held: held.unwrap_or(0) }
}

/// Takes an event, given by its [`Step::odds`], out of `cells`, all below the cap.
///
/// Leaves (1 − p) times the distribution without the event: with g = that,
/// g(k) = f(k) − Σ odds(l) g(k − l). Works upwards in place.
pub fn remove(cells: &mut [u128], odds: &Step) {
    let shift = odds.shift - <u128 as Word>::DROPPED;
    let nearest = odds.atoms.first().map_or(CHUNK_CELLS, |atom| usize::from(atom.cells));
    let width = nearest.clamp(1, CHUNK_CELLS);
    let mut sums = [0_u128; CHUNK_CELLS];
    let mut start = 0;
    while start < cells.len() {
        // No source lies in the chunk itself, since the nearest is at least a chunk away.
        let end = cells.len().min(start + width);
        let Some(sums) = sums.get_mut(..end - start) else { break };
        gather(cells, start, odds, sums);
        if let Some(chunk) = cells.get_mut(start..end) {
            for (cell, &sum) in chunk.iter_mut().zip(sums.iter()) {
                *cell = cell.saturating_sub(u128::scale(sum, shift));
            }
        }
        start = end;
    }
}

/// Gives the mass that rounding lost to the worst reachable cell, so that the sum is exactly one.
///
/// Returns how much that was, in units of the width. Conservative: no other cell is worse.
pub fn settle<W: Word>(cells: &mut [W], reach: usize) -> u128 {
    let total = cells.iter().fold(0_u128, |sum, cell| sum + cell.wide());
    let deficit = W::ONE.wide().saturating_sub(total);
    if let Some(worst) = cells.get_mut(reach) {
        *worst = W::narrow(worst.wide() + deficit);
    }
    deficit
}

/// Sets `sums[i]` to what reaches cell `start + i` from below.
///
/// Four atoms at a time, so that a sum stays in registers for four products.
#[inline(always)]
fn gather<W: Word>(cells: &[W], start: usize, step: &Step, sums: &mut [u128]) {
    sums.fill(0);
    let (fours, rest) = step.atoms.as_chunks::<4>();
    for four in fours {
        if gather_four(cells, start, *four, sums).is_none() {
            for atom in four {
                gather_one(cells, start, *atom, sums);
            }
        }
    }
    for atom in rest {
        gather_one(cells, start, *atom, sums);
    }
}

/// Adds what four atoms bring; `None` and nothing if a cell has no source for one of them.
#[inline(always)]
fn gather_four<W: Word>(
    cells: &[W],
    start: usize,
    atoms: [Atom; 4],
    sums: &mut [u128],
) -> Option<()> {
    let length = sums.len();
    let sources = |atom: Atom| {
        let from = start.checked_sub(usize::from(atom.cells))?;
        cells.get(from..from + length)
    };
    let [a, b, c, d] = atoms;
    let sources = sources(a)?.iter().zip(sources(b)?).zip(sources(c)?).zip(sources(d)?);
    let shares = atoms.map(|atom| atom.share);
    for (sum, (((a, b), c), d)) in sums.iter_mut().zip(sources) {
        *sum += W::products([*a, *b, *c, *d], shares);
    }
    Some(())
}

/// Adds what one atom brings to the cells that have a source.
#[inline(always)]
fn gather_one<W: Word>(cells: &[W], start: usize, atom: Atom, sums: &mut [u128]) {
    let distance = usize::from(atom.cells);
    // The first cells of the grid have no source.
    let skipped = distance.saturating_sub(start);
    let from = (start + skipped) - distance;
    let Some(sums) = sums.get_mut(skipped..) else { return };
    let Some(sources) = cells.get(from..from + sums.len()) else { return };
    for (sum, source) in sums.iter_mut().zip(sources) {
        *sum += W::products([*source], [atom.share]);
    }
}

/// Σ product of all mass that crosses the cap: one growing suffix serves the atoms in turn.
fn overflow<W: Word>(cells: &[W], held: usize, step: &Step) -> u128 {
    let cap = cells.len() - 1;
    let (mut suffix, mut total, mut top) = (0_u128, 0_u128, cap.min(held + 1));
    for atom in &step.atoms {
        let from = cap.saturating_sub(usize::from(atom.cells));
        if from >= top {
            continue;
        }
        let fresh = cells.get(from..top).unwrap_or(&[]);
        suffix = fresh.iter().fold(suffix, |sum, cell| sum + cell.wide());
        top = from;
        total += W::products([W::narrow(suffix)], [atom.share]);
    }
    total
}
