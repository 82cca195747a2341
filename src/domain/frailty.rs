//! How an operator's own record moves its hazard away from its group's.
//!
//! Group posterior without the operator, times mitigants, times frailty; the product is matched to
//! a Gamma again. All of it is rational and stays in integers. Probabilities are made in `hazard`.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, Ppt};
use crate::hazard::GammaRate;
use crate::parameters::Frailty;

/// Below this the method of moments has nothing to divide by: 1e-9.
const KAPPA_DENOMINATOR_MIN: Atto = Atto(1_000_000_000);

/// Incidents and years of a group, or of one member, undecayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Incidents.
    pub incidents: Atto,
    /// Years at risk.
    pub years: Atto,
}

/// The group's rate without the member that is being rated, so that its events count once.
#[must_use]
pub fn leave_one_out(prior: GammaRate, group: Totals, member: Totals) -> GammaRate {
    prior.posterior(
        group.incidents.saturating_sub(member.incidents),
        group.years.saturating_sub(member.years),
    )
}

/// Time an operator spent on one (set, class), with the rate expected of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedAt {
    /// Group rate without the operator, a year.
    pub group_mean: Atto,
    /// Mitigants and covariates.
    pub multiplier: Atto,
    /// Decayed years.
    pub years: Atto,
}

/// What an operator did and what was expected of it, over classes C1 and C2 and all its sets.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct OperatorRecord {
    /// Decayed incidents.
    pub incidents: Atto,
    /// Incidents expected in the same time.
    pub expected: Atto,
    /// Decayed years at risk, over all sets.
    pub years: Atto,
}

impl OperatorRecord {
    /// The record over these sets; a new identity inherits its parent's `incidents`.
    #[must_use]
    pub fn new(incidents: Atto, sets: &[ExpectedAt]) -> Self {
        let expected = sets.iter().fold(Atto::ZERO, |sum, set| {
            let rate = set.group_mean.saturating_mul(set.multiplier);
            sum.saturating_add(rate.saturating_mul(set.years))
        });
        let years = sets.iter().fold(Atto::ZERO, |sum, set| sum.saturating_add(set.years));
        Self { incidents, expected, years }
    }

    /// Mean frailty: above one where the record is worse than expected.
    #[must_use]
    pub fn frailty(&self, kappa: Atto) -> Atto {
        kappa.saturating_add(self.incidents).saturating_div(kappa.saturating_add(self.expected))
    }

    /// Credibility of the operator's own record against its group.
    #[must_use]
    pub fn credibility(&self, kappa: Atto) -> Ppt {
        self.expected.saturating_div(kappa.saturating_add(self.expected)).to_ppt()
    }
}

/// A hazard with what is needed to say how uncertain it is.
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
pub struct Hazard {
    /// The yearly rate.
    pub rate: GammaRate,
    /// Credibility of own data.
    pub credibility: Ppt,
    /// Squared variation that is the entity's own.
    pub own_cv2: Atto,
    /// Squared variation shared with its group.
    pub group_cv2: Atto,
}

impl Hazard {
    /// The benchmark operator: frailty one, no mitigants, the group's rate itself.
    #[must_use]
    pub fn benchmark(group: GammaRate) -> Self {
        Self { rate: group, credibility: Ppt::ZERO, own_cv2: Atto::ZERO, group_cv2: group.cv2() }
    }

    /// One operator: group rate × multiplier × frailty, and half as much again while it is new.
    #[must_use]
    pub fn of_operator(
        group: GammaRate,
        multiplier: Atto,
        record: &OperatorRecord,
        parameters: &Frailty,
    ) -> Self {
        let kappa = parameters.kappa;
        let frailty_shape = kappa.saturating_add(record.incidents);
        let mean = group
            .mean()
            .saturating_mul(multiplier)
            .saturating_mul(record.frailty(kappa))
            .saturating_mul(newcomer_multiplier(record, parameters));
        let own_cv2 = Atto::ONE.saturating_div(frailty_shape);
        let spread = Atto::ONE
            .saturating_add(group.cv2())
            .saturating_mul(Atto::ONE.saturating_add(own_cv2))
            .saturating_sub(Atto::ONE);
        let shape = Atto::ONE.saturating_div(spread);
        Self {
            rate: GammaRate::from_mean(shape, mean),
            credibility: record.credibility(kappa),
            own_cv2,
            group_cv2: group.cv2(),
        }
    }

    /// An AVS of its own kind: prior, moved by its own incidents and years.
    #[must_use]
    pub fn of_avs(prior: GammaRate, incidents: Atto, years: Atto) -> Self {
        let rate = prior.posterior(incidents, years);
        Self {
            rate,
            credibility: years.saturating_div(rate.rate).to_ppt(),
            own_cv2: rate.cv2(),
            group_cv2: Atto::ZERO,
        }
    }

    /// The same hazard at `multiplier` times the rate.
    #[must_use]
    pub fn times(self, multiplier: Atto) -> Self {
        Self { rate: self.rate.times(multiplier), ..self }
    }
}

/// More than one until the operator has enough experience: splitting an identity must not pay.
#[must_use]
pub fn newcomer_multiplier(record: &OperatorRecord, parameters: &Frailty) -> Atto {
    if record.years < parameters.new_operator_until_years {
        parameters.new_operator_multiplier
    } else {
        Atto::ONE
    }
}

/// Estimates the frailty's shape from many records, clamped. Used only when a methodology is made.
#[must_use]
pub fn estimate_kappa(records: &[OperatorRecord], parameters: &Frailty) -> Atto {
    let mut expected_squared = Atto::ZERO;
    let mut above = Atto::ZERO;
    let mut below = Atto::ZERO;
    for record in records {
        let square = |value: Atto| value.saturating_mul(value);
        expected_squared = expected_squared.saturating_add(square(record.expected));
        above = above.saturating_add(square(record.incidents.distance(record.expected)));
        below = below.saturating_add(record.expected);
    }
    let excess = above.saturating_sub(below).max(KAPPA_DENOMINATOR_MIN);
    expected_squared
        .saturating_div(excess)
        .clamp(parameters.kappa_min, parameters.kappa_max.max(parameters.kappa_min))
}
