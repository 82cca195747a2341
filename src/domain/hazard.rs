//! Yearly rates to probabilities and back: the one room with floats.
//!
//! Every transcendental is the pure-Rust `libm`, every intermediate is IEEE double without fused
//! steps, and what leaves is an integer: probabilities in parts per trillion, rates and quantiles
//! at 1e-18, rounded half-even. Experience is counted in `experience`, operators are judged in
//! `frailty`.
#![expect(
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "probabilities need logarithms; what leaves this module is rounded to integers"
)]

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{ATTO_ONE, Atto, PPT_ONE, Ppt};
use crate::grade::ExpectedLossPpt;
use crate::parameters::{Corruption, GammaPrior};

/// A yearly rate known as a Gamma distribution: prior, posterior or a match of either.
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
pub struct GammaRate {
    /// Shape: incidents it is worth.
    pub shape: Atto,
    /// Rate: years it is worth.
    pub rate: Atto,
}

impl From<GammaPrior> for GammaRate {
    fn from(prior: GammaPrior) -> Self {
        Self { shape: prior.shape, rate: prior.rate }
    }
}

impl GammaRate {
    /// The Gamma with this shape and mean rate a year.
    #[must_use]
    pub fn from_mean(shape: Atto, mean: Atto) -> Self {
        Self { shape, rate: shape.saturating_div(mean) }
    }

    /// After seeing `incidents` in `years`, both decayed alike.
    #[must_use]
    pub fn posterior(self, incidents: Atto, years: Atto) -> Self {
        Self { shape: self.shape.saturating_add(incidents), rate: self.rate.saturating_add(years) }
    }

    /// The same uncertainty around `multiplier` times the rate.
    #[must_use]
    pub fn times(self, multiplier: Atto) -> Self {
        Self { shape: self.shape, rate: self.rate.saturating_div(multiplier) }
    }

    /// Mean incidents a year.
    #[must_use]
    pub fn mean(self) -> Atto {
        self.shape.saturating_div(self.rate)
    }

    /// Squared coefficient of variation.
    #[must_use]
    pub fn cv2(self) -> Atto {
        Atto::ONE.saturating_div(self.shape)
    }

    /// Posterior predictive probability of at least one incident in `years`: 1 − (r/(r+T))^k.
    #[must_use]
    pub fn predictive(self, years: Atto) -> Ppt {
        if self.shape == Atto::ZERO || years == Atto::ZERO {
            return Ppt::ZERO;
        }
        let horizon = float(years);
        let share = horizon / (float(self.rate) + horizon);
        probability(-libm::expm1(float(self.shape) * libm::log1p(-share)))
    }

    /// The rate that is not exceeded with probability `level`, a year.
    #[must_use]
    pub fn quantile(self, level: Ppt) -> Atto {
        atto(crate::special::gamma_quantile(share(level), float(self.shape), float(self.rate)))
    }
}

/// Probability of at least one event in a year at a known rate: 1 − e^(−λ).
#[must_use]
pub fn one_year_probability(rate: Atto) -> Ppt {
    probability(-libm::expm1(-float(rate)))
}

/// Upper bound of a yearly rate after `years` without an event: −ln(1 − confidence) / years.
#[must_use]
pub fn zero_event_upper_bound(confidence: Ppt, years: Atto) -> Atto {
    atto(-libm::log(share(confidence.complement())) / float(years))
}

/// 2^`exponent`.
#[must_use]
pub fn power_of_two(exponent: Atto) -> Atto {
    atto(libm::exp2(float(exponent)))
}

/// What is left after `age` at this half-life, both in the same unit: 2^(−age/half-life).
#[must_use]
pub fn half_life_factor(age: Atto, half_life: Atto) -> Atto {
    if age == Atto::ZERO {
        return Atto::ONE;
    }
    atto(libm::exp2(-(float(age) / float(half_life))))
}

/// Cryptoeconomic slack γ in parts per trillion; negative where corruption pays.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(transparent)]
pub struct Slack(pub i64);

/// Rate of profitable corruption a year, falling in the slack; a fixed rate where it is unknown.
#[must_use]
pub fn corruption_rate(slack: Option<Slack>, parameters: &Corruption) -> Atto {
    let Some(Slack(slack)) = slack else {
        return parameters.unknown;
    };
    let unit = Ppt(slack.unsigned_abs().min(PPT_ONE)).to_atto();
    let base = parameters.exponent_at_zero;
    let exponent = if slack >= 0 {
        base.saturating_add(parameters.slope_with_slack.saturating_mul(unit))
    } else {
        base.saturating_sub(parameters.slope_with_deficit.saturating_mul(unit))
    };
    atto(libm::pow(10.0, -float(exponent)))
}

/// Which side of the median a quantile lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Below the median.
    Lower,
    /// Above the median.
    Upper,
}

/// Quantile of the log-normal with this mean and squared coefficient of variation, `z` standard
/// normal deviations from the median. At most one.
#[must_use]
pub fn log_normal_quantile(
    mean: ExpectedLossPpt,
    cv2: Atto,
    z: Atto,
    tail: Tail,
) -> ExpectedLossPpt {
    let spread = 1.0 + float(cv2);
    let median = mean.0 as f64 / libm::sqrt(spread);
    let distance = float(z) * libm::sqrt(libm::log(spread));
    let signed = match tail {
        Tail::Lower => -distance,
        Tail::Upper => distance,
    };
    ExpectedLossPpt((libm::rint(median * libm::exp(signed)) as u64).min(PPT_ONE))
}

/// Where a loss lies between two knots of the scale, log-linear, in thousandths of a notch.
#[must_use]
pub fn log_position_milli(loss_ppt: u64, low_ppt: u64, high_ppt: u64) -> u16 {
    let low = low_ppt as f64;
    let position = libm::log(loss_ppt as f64 / low) / libm::log(high_ppt as f64 / low);
    libm::rint(1000.0 * position) as u16
}

fn float(value: Atto) -> f64 {
    value.0 as f64 / ATTO_ONE as f64
}

fn share(value: Ppt) -> f64 {
    value.0 as f64 / PPT_ONE as f64
}

/// Rounds half-even to 1e-18; the cast saturates and takes no number for zero.
fn atto(value: f64) -> Atto {
    Atto(libm::rint(value * ATTO_ONE as f64) as u128)
}

/// Rounds half-even to a part per trillion; what is no number counts as certain.
fn probability(value: f64) -> Ppt {
    if value.is_nan() {
        return Ppt::ONE;
    }
    Ppt((libm::rint(value * PPT_ONE as f64) as u64).min(PPT_ONE))
}
