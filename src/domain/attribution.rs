//! Where a score comes from, and where a change comes from. Both add up exactly.
//!
//! Points are handed out by largest remainder over the expected losses; caps are lines of their
//! own. Changes are split by the three-factor Shapley value in exact rationals. Words are in
//! `rationale`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::cap::{Cap, CapReason, capped};
use crate::decimal::Ppt;
use crate::grade::{ExpectedLossPpt, Grade, MilliNotch, RatingScale};
use crate::loss_block::{LossBlock, LossClass, LossProfile, Provenance};
use crate::lrt::FirstLoss;

/// Splits `total` by weight: floors first, then one each to the largest remainders, ties by
/// position.
///
/// The parts sum to `total`, or are all zero where no weight is above zero. Weights stay below
/// 2^190.
#[must_use]
pub fn hamilton(total: u64, weights: &[U256]) -> Vec<u64> {
    let sum = weights.iter().fold(U256::ZERO, |sum, weight| sum.saturating_add(*weight));
    let split = |weight: &U256| {
        let product = weight.saturating_mul(U256::from(total));
        Some((product.checked_div(sum)?, product.checked_rem(sum)?))
    };
    let Some(parts) = weights.iter().map(split).collect::<Option<Vec<(U256, U256)>>>() else {
        return weights.iter().map(|_| 0).collect();
    };
    let mut floors: Vec<u64> =
        parts.iter().map(|(floor, _)| u64::try_from(*floor).unwrap_or(u64::MAX)).collect();
    let given = floors.iter().fold(0_u64, |sum, floor| sum.saturating_add(*floor));
    let left = usize::try_from(total.saturating_sub(given)).unwrap_or(usize::MAX);
    let mut order: Vec<(usize, &(U256, U256))> = parts.iter().enumerate().collect();
    order.sort_by_key(|(index, (_, rest))| (Reverse(*rest), *index));
    for (index, _) in order.into_iter().take(left) {
        if let Some(floor) = floors.get_mut(index) {
            *floor = floor.saturating_add(1);
        }
    }
    floors
}

/// A loss block's part of the score.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct BlockLine {
    /// The block.
    pub id: String,
    /// Its class.
    pub class: LossClass,
    /// Its part of the expected loss.
    pub expected_loss: ExpectedLossPpt,
    /// Its part of the score, in thousandths of a notch.
    pub points: u16,
    /// Where its numbers come from.
    pub provenance: Provenance,
}

/// What a first-loss reserve takes off the score.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct ReserveLine {
    /// The reserve, bp of the net asset value.
    pub bp: u16,
    /// The part of the blocks' expected losses that it bears.
    pub expected_loss: ExpectedLossPpt,
    /// Thousandths of a notch that it takes off.
    pub points: u16,
    /// Who vouches for it.
    pub provenance: Provenance,
}

/// What a cap adds to the score.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct CapLine {
    /// Why.
    pub reason: CapReason,
    /// The best grade it allows.
    pub ceiling: Grade,
    /// Thousandths of a notch that it adds; zero where it does not bind.
    pub points: u16,
}

/// A score and its lines. They add up: `score` is the sum of all points, less what a reserve takes
/// off; `expected_loss` that of the blocks, less what it bears.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct Attribution {
    /// What is expected to be lost, by holders where a reserve bears the first loss.
    pub expected_loss: ExpectedLossPpt,
    /// Grade of the expected loss alone.
    pub model_grade: Grade,
    /// Score of the expected loss alone.
    pub model_score: MilliNotch,
    /// Grade after caps.
    pub grade: Grade,
    /// Score after caps: at least the knot of every ceiling.
    pub score: MilliNotch,
    /// One line per block, by id, before any reserve.
    pub blocks: Vec<BlockLine>,
    /// The reserve that bears the first of it.
    pub reserve: Option<ReserveLine>,
    /// One line per cap, the mildest first.
    pub caps: Vec<CapLine>,
}

impl Attribution {
    /// Explains a profile under caps.
    #[must_use]
    pub fn of(profile: &LossProfile, caps: &[Cap], scale: &RatingScale) -> Self {
        Self::after(None, profile, caps, scale)
    }

    /// Explains the profile of what a reserve leaves, where there is one that bears anything.
    #[must_use]
    pub fn after(
        reserve: Option<&FirstLoss>,
        profile: &LossProfile,
        caps: &[Cap],
        scale: &RatingScale,
    ) -> Self {
        let expected_loss = profile.expected_loss();
        let model_grade = scale.grade(expected_loss);
        let model_score = scale.milli_notch(expected_loss);
        let reserve = reserve.filter(|reserve| reserve.borne > ExpectedLossPpt::ZERO);
        let gross = reserve.map_or(profile, |reserve| &reserve.gross);
        let blocks = block_lines(gross.blocks(), scale.milli_notch(gross.expected_loss()));

        let explained = blocks.iter().fold(0_u16, |sum, line| sum.saturating_add(line.points));
        let reserve = reserve.map(|reserve| ReserveLine {
            bp: reserve.bp,
            expected_loss: reserve.borne,
            points: explained.saturating_sub(model_score.0),
            provenance: Provenance::Attested(reserve.level),
        });
        let caps: BTreeSet<Cap> = caps.iter().copied().collect();
        let taken_off = reserve.as_ref().map_or(0, |reserve| reserve.points);
        let mut score = explained.saturating_sub(taken_off);
        let mut lines = Vec::new();
        for cap in &caps {
            let points = cap.ceiling.knot().0.saturating_sub(score);
            score = score.saturating_add(points);
            lines.push(CapLine { reason: cap.reason, ceiling: cap.ceiling, points });
        }
        let caps: Vec<Cap> = caps.into_iter().collect();
        Self {
            expected_loss,
            model_grade,
            model_score,
            grade: capped(model_grade, &caps),
            score: MilliNotch(score),
            blocks,
            reserve,
            caps: lines,
        }
    }

    /// Points by family: the part of a block's id before the first bar.
    #[must_use]
    pub fn by_family(&self) -> BTreeMap<&str, u16> {
        let mut families = BTreeMap::new();
        for line in &self.blocks {
            let family = line.id.split_once('|').map_or(line.id.as_str(), |(family, _)| family);
            let points: &mut u16 = families.entry(family).or_default();
            *points = points.saturating_add(line.points);
        }
        families
    }
}

fn block_lines(blocks: &[LossBlock], score: MilliNotch) -> Vec<BlockLine> {
    let weights: Vec<U256> = blocks.iter().map(|block| U256::from(block.expected_loss.0)).collect();
    let points = hamilton(u64::from(score.0), &weights);
    let line = |(block, points): (&LossBlock, u64)| BlockLine {
        id: block.id.clone(),
        class: block.class,
        expected_loss: block.expected_loss,
        points: u16::try_from(points).unwrap_or(u16::MAX),
        provenance: block.provenance,
    };
    blocks.iter().zip(points).map(line).collect()
}

/// The three factors of a block's expected loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factors {
    /// One-year probability.
    pub hazard: Ppt,
    /// Mean share lost.
    pub severity: Ppt,
    /// Share exposed.
    pub exposure: Ppt,
}

impl From<&LossBlock> for Factors {
    fn from(block: &LossBlock) -> Self {
        Self { hazard: block.hazard, severity: block.severity, exposure: block.exposure }
    }
}

/// A change of expected loss, exactly: a numerator over 6 · 10^36.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExactChange(i128);

impl ExactChange {
    /// The denominator of every exact change.
    pub const DENOMINATOR: i128 = 6_000_000_000_000_000_000_000_000_000_000_000_000;
    /// Numerators in one part per trillion.
    const PER_PPT: i128 = 6_000_000_000_000_000_000_000_000;

    /// The fraction in lowest terms: numerator and positive denominator.
    #[must_use]
    pub fn ratio(self) -> (i128, i128) {
        let (mut a, mut b) = (Self::DENOMINATOR, self.0.saturating_abs());
        while b != 0 {
            (a, b) = (b, a.checked_rem(b).unwrap_or(0));
        }
        (self.0.checked_div(a).unwrap_or(0), Self::DENOMINATOR.checked_div(a).unwrap_or(1))
    }

    /// The sum of two changes.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A change split by the factor that caused it. The three sum to the change exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShapleyChange {
    /// Because the probability changed.
    pub hazard: ExactChange,
    /// Because the severity changed.
    pub severity: ExactChange,
    /// Because the exposure changed.
    pub exposure: ExactChange,
}

/// The Shapley value of each factor in the change of their product.
#[must_use]
pub fn shapley(before: Factors, after: Factors) -> ShapleyChange {
    let share = |value: Ppt| i128::from(value.0);
    let hazard = (share(before.hazard), share(after.hazard));
    let severity = (share(before.severity), share(after.severity));
    let exposure = (share(before.exposure), share(after.exposure));
    ShapleyChange {
        hazard: shapley_of(hazard, severity, exposure),
        severity: shapley_of(severity, hazard, exposure),
        exposure: shapley_of(exposure, hazard, severity),
    }
}

/// Δa · (2(b₀c₀ + b₁c₁) + b₀c₁ + b₁c₀), of pairs (before, after).
fn shapley_of(a: (i128, i128), b: (i128, i128), c: (i128, i128)) -> ExactChange {
    let straight = b.0.saturating_mul(c.0).saturating_add(b.1.saturating_mul(c.1));
    let crossed = b.0.saturating_mul(c.1).saturating_add(b.1.saturating_mul(c.0));
    let weight = straight.saturating_mul(2).saturating_add(crossed);
    ExactChange(a.1.saturating_sub(a.0).saturating_mul(weight))
}

/// What one block did to the expected loss between two profiles, in whole ppt.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct ChangeLine {
    /// The block.
    pub id: String,
    /// Because its probability changed, ppt.
    pub hazard_ppt: i64,
    /// Because its severity changed, ppt.
    pub severity_ppt: i64,
    /// Because its exposure changed, ppt; all of it where the block came or went.
    pub exposure_ppt: i64,
}

/// Explains the change between two profiles: all lines sum to the change of the expected loss.
///
/// Exact parts are rounded down, and what is left over goes to the largest remainders, ties by
/// block and then by factor.
#[must_use]
pub fn change_lines(before: &LossProfile, after: &LossProfile) -> Vec<ChangeLine> {
    let changes = exact_changes(before, after);
    let mut cells: Vec<(i128, i128)> = changes
        .values()
        .flat_map(|change| [change.hazard, change.severity, change.exposure])
        .map(|ExactChange(exact)| {
            let floor = exact.checked_div_euclid(ExactChange::PER_PPT).unwrap_or(0);
            (floor, exact.checked_rem_euclid(ExactChange::PER_PPT).unwrap_or(0))
        })
        .collect();
    let target =
        i128::from(after.expected_loss().0).saturating_sub(i128::from(before.expected_loss().0));
    let floors = cells.iter().fold(0_i128, |sum, (floor, _)| sum.saturating_add(*floor));
    hand_out(&mut cells, target.saturating_sub(floors));

    let whole = |cell: Option<&(i128, i128)>| {
        cell.map_or(0, |(ppt, _)| i64::try_from(*ppt).unwrap_or(i64::MAX))
    };
    let lines = changes.into_iter().zip(cells.chunks(3));
    lines
        .map(|((id, _), cells)| ChangeLine {
            id: id.to_owned(),
            hazard_ppt: whole(cells.first()),
            severity_ppt: whole(cells.get(1)),
            exposure_ppt: whole(cells.get(2)),
        })
        .collect()
}

/// Adds one to the cells with the largest remainders, or takes one from those with the smallest,
/// until nothing is left.
fn hand_out(cells: &mut [(i128, i128)], left: i128) {
    let mut order: Vec<(i128, usize)> =
        cells.iter().enumerate().map(|(index, (_, rest))| (*rest, index)).collect();
    order.sort_by_key(|(rest, index)| (Reverse(*rest), *index));
    if left < 0 {
        order.reverse();
    }
    let count = usize::try_from(left.unsigned_abs()).unwrap_or(usize::MAX);
    for (_, index) in order.into_iter().take(count) {
        if let Some((floor, _)) = cells.get_mut(index) {
            *floor = floor.saturating_add(left.signum());
        }
    }
}

fn exact_changes<'a>(
    before: &'a LossProfile,
    after: &'a LossProfile,
) -> BTreeMap<&'a str, ShapleyChange> {
    let by_id = |profile: &'a LossProfile| -> BTreeMap<&'a str, Factors> {
        profile.blocks().iter().map(|block| (block.id.as_str(), Factors::from(block))).collect()
    };
    let absent = |factors: &Factors| Factors { exposure: Ppt::ZERO, ..*factors };
    let (before, after) = (by_id(before), by_id(after));
    let ids: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let change = |id: &'a str| {
        let (old, new) = (before.get(id), after.get(id));
        let old_or_absent = old.copied().or_else(|| new.map(absent))?;
        let new_or_absent = new.copied().or_else(|| old.map(absent))?;
        Some((id, shapley(old_or_absent, new_or_absent)))
    };
    ids.into_iter().filter_map(change).collect()
}
