//! How sure a rating is: interval, conservative grade, coverage, data sufficiency, and "not rated".
//!
//! Uncertainty of the rates and severities only; what the year itself may bring is the loss
//! distribution's. Shared group rates are fully correlated inside a group.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::cap::Cap;
use crate::decimal::{Atto, Ppt};
use crate::grade::{ExpectedLossPpt, Grade};
use crate::hazard::{Tail, log_normal_quantile};
use crate::id::StrategyId;
use crate::loss_block::{LossBlock, LossProfile, Provenance};
use crate::methodology::Methodology;

/// How sure the expected loss of a profile is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Uncertainty {
    /// Squared coefficient of variation of the expected loss.
    pub cv2: Atto,
    /// Lower end of the 90 % interval.
    pub low: ExpectedLossPpt,
    /// Upper end of the 90 % interval.
    pub high: ExpectedLossPpt,
    /// The 80th percentile.
    pub conservative: ExpectedLossPpt,
    /// Grade at the lower end, before caps.
    pub low_grade: Grade,
    /// Grade at the upper end, before caps.
    pub high_grade: Grade,
    /// The worse of the model's grade and the grade at the 80th percentile, before caps.
    pub conservative_grade: Grade,
    /// Share of the expected loss that rests on evidence.
    pub coverage: Ppt,
    /// Loss-weighted credibility of own data.
    pub data_sufficiency: Ppt,
}

impl Uncertainty {
    /// How sure the expected loss of `profile` is.
    #[must_use]
    pub fn of(profile: &LossProfile, methodology: &Methodology) -> Self {
        let mean = profile.expected_loss();
        let cv2 = squared_variation(profile);
        let parameters = &methodology.uncertainty;
        let at = |z, tail| log_normal_quantile(mean, cv2, z, tail);
        let low = at(parameters.interval_z, Tail::Lower);
        let high = at(parameters.interval_z, Tail::Upper);
        let conservative = at(parameters.conservative_z, Tail::Upper);
        let scale = &methodology.scale;
        Self {
            cv2,
            low,
            high,
            conservative,
            low_grade: scale.grade(low),
            high_grade: scale.grade(high),
            conservative_grade: scale.grade(mean).worse(scale.grade(conservative)),
            coverage: coverage(profile, methodology),
            data_sufficiency: loss_weighted(profile, |block| block.credibility),
        }
    }

    /// Whether the rating carries the provisional suffix "(p)".
    #[must_use]
    pub fn is_provisional(&self, methodology: &Methodology) -> bool {
        self.data_sufficiency < methodology.uncertainty.provisional_below
    }
}

/// Share of the expected loss whose numbers rest on evidence.
///
/// Where nothing is expected to be lost, it is whether anything was read from the chain.
#[must_use]
pub fn coverage(profile: &LossProfile, methodology: &Methodology) -> Ppt {
    if profile.expected_loss() == ExpectedLossPpt::ZERO && reads_chain(profile) {
        return Ppt::ONE;
    }
    loss_weighted(profile, |block| block.provenance.coverage(methodology))
}

/// The ceilings of a design and the one that low coverage of its profile brings.
#[must_use]
pub fn with_coverage_cap(
    design: &[Cap],
    profile: &LossProfile,
    methodology: &Methodology,
) -> Vec<Cap> {
    let coverage = Cap::of_coverage(coverage(profile, methodology), methodology);
    design.iter().copied().chain(coverage).collect()
}

/// Why there is no rating.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum NotRated {
    /// Nothing is known that could lose anything.
    NothingKnown,
    /// An AVS without an operator set: of the older AVSDirectory alone, which cannot slash.
    NoOperatorSet,
    /// Too little of the expected loss rests on evidence, and no component was read from the chain.
    CoverageTooLow {
        /// Coverage found, ppt.
        coverage: Ppt,
        /// Coverage needed, ppt.
        needed: Ppt,
    },
    /// A liquid restaking token holds shares that can be slashed and whose price nobody recorded.
    PriceUnknown {
        /// The strategy.
        strategy: StrategyId,
    },
}

/// Whether a profile may not be rated, and why.
#[must_use]
pub fn not_rated(profile: &LossProfile, methodology: &Methodology) -> Option<NotRated> {
    if profile.blocks().is_empty() {
        return Some(NotRated::NothingKnown);
    }
    let coverage = coverage(profile, methodology);
    let needed = methodology.caps.coverage_rated_min;
    (coverage < needed && !reads_chain(profile))
        .then_some(NotRated::CoverageTooLow { coverage, needed })
}

fn reads_chain(profile: &LossProfile) -> bool {
    profile.blocks().iter().any(|block| block.provenance == Provenance::Log)
}

/// Var(EL) / EL²: each block's own variation, and each group's on the sum of its blocks.
fn squared_variation(profile: &LossProfile) -> Atto {
    let total = Ppt(profile.expected_loss().0).to_atto();
    if total == Atto::ZERO {
        return Atto::ZERO;
    }
    let weight = |loss: u64| Ppt(loss).to_atto().saturating_div(total);
    let part = |loss: u64, cv2: Atto| {
        let weight = weight(loss);
        weight.saturating_mul(weight).saturating_mul(cv2)
    };
    let own = profile.blocks().iter().map(|block| part(block.expected_loss.0, block.own_cv2));

    let mut groups: BTreeMap<&str, (u64, Atto)> = BTreeMap::new();
    for block in profile.blocks() {
        if let Some(group) = &block.group {
            let (loss, cv2) = groups.entry(&group.id).or_default();
            *loss = loss.saturating_add(block.expected_loss.0);
            *cv2 = (*cv2).max(group.cv2);
        }
    }
    let shared = groups.values().map(|(loss, cv2)| part(*loss, *cv2));
    own.chain(shared).fold(Atto::ZERO, Atto::saturating_add)
}

fn loss_weighted(profile: &LossProfile, share: impl Fn(&LossBlock) -> Ppt) -> Ppt {
    let total = profile.expected_loss().0;
    if total == 0 {
        return Ppt::ZERO;
    }
    let sum = profile.blocks().iter().fold(0_u128, |sum, block| {
        let weighted = u128::from(block.expected_loss.0).saturating_mul(share(block).0.into());
        sum.saturating_add(weighted)
    });
    let mean = crate::decimal::mul_div_half_even(sum, 1, total.into());
    Ppt(u64::try_from(mean).unwrap_or(u64::MAX))
}
