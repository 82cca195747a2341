//! The balance sheet of a liquid restaking token, and Vasicek's one-factor benchmark.
//!
//! Balance-sheet figures are exact fractions. The benchmark is the regulators' model of correlated
//! defaults: it is shown beside the loss distribution, and no rating depends on it.
#![expect(clippy::float_arithmetic, reason = "the benchmark and the interval; rounded before use")]

use crate::creditrisk::UnitDistribution;
use crate::decimal::PPT_ONE;
use crate::loss::Probability;
use crate::ratio::{Ratio, RatioError};
use crate::special;

/// Largest share of holders who can redeem at a stale price, in percent: §2.6.
const RUN_PERCENT_MAX: u16 = 30;
/// Reports after which recognising a loss is called never: 27 years of one a day.
const REPORTS_MAX: u32 = 10_000;
/// Obligors in a benchmark pool.
const POOL_MAX: u32 = 1_000;
/// Points of the factor integral in each direction and their inverse distance. The trapezoid rule
/// gains digits exponentially for such integrands; twice as many change nothing above 1e-15.
const FACTOR_POINTS: i32 = 12 * POINTS_PER_UNIT;
const POINTS_PER_UNIT: i32 = 32;

/// Assets over liabilities.
///
/// # Errors
/// When there are no liabilities.
pub fn reserve_coverage(assets: Ratio, liabilities: Ratio) -> Result<Ratio, RatioError> {
    assets.over(liabilities)
}

/// What holders have already lost: (1 − coverage)⁺.
///
/// # Errors
/// When the fraction does not fit.
pub fn immediate_shortfall(coverage: Ratio) -> Result<Ratio, RatioError> {
    Ok(Ratio::ONE.minus(coverage)?.max(Ratio::ZERO))
}

/// The loss of those who stay when a share of the token is redeemed before a loss is recognised.
///
/// L / (1 − ρ), at most everything; ρ is `redeemed`, at most 30 % of net asset value.
///
/// # Errors
/// When the fraction does not fit.
pub fn stale_price_loss(loss: Ratio, redeemed: Ratio) -> Result<Ratio, RatioError> {
    let most = Ratio::new(i128::from(RUN_PERCENT_MAX), 100)?;
    let redeemed = redeemed.min(most).max(Ratio::ZERO);
    Ok(loss.over(Ratio::ONE.minus(redeemed)?)?.min(Ratio::ONE))
}

/// Oracle reports needed to recognise a loss when one report may lower the value by `cap` at most.
///
/// `None` if that takes more than 10,000 reports, or for ever.
pub fn reports_to_recognise(loss: Probability, cap: Probability) -> Option<u32> {
    let target = loss.complement();
    let keep = cap.complement();
    let mut value = Probability::ONE;
    for reports in 0..=REPORTS_MAX {
        if value <= target {
            return Some(reports);
        }
        value = value.times(keep);
    }
    None
}

/// A reward over some days as a yearly rate of 365.25 days, less the operator's share.
///
/// # Errors
/// When `days` is zero or the fraction does not fit.
pub fn yearly_reward(
    reward: Ratio,
    days: Ratio,
    operator_share: Ratio,
) -> Result<Ratio, RatioError> {
    let yearly = reward.times(Ratio::new(36_525, 100)?)?.over(days)?;
    yearly.times(Ratio::ONE.minus(operator_share)?)
}

/// Quantiles of an expected loss in ppt, for its mean in ppt and its coefficient of variation.
///
/// Log-normal; rounded half to even, at most 10¹². `None` outside the domain.
pub fn expected_loss_quantile_ppt(mean_ppt: u64, cv: f64, probability: f64) -> Option<u64> {
    if mean_ppt > PPT_ONE {
        return None;
    }
    #[expect(clippy::as_conversions, reason = "at most 10^12, checked above, far below 2^53")]
    let mean = mean_ppt as f64;
    let quantile = special::lognormal_quantile(probability, mean, cv);
    Probability::from_f64((quantile / 1e12).clamp(0.0, 1.0)).map(Probability::to_ppt)
}

/// Basel's asset correlation for corporates: 0.12 w + 0.24 (1 − w), w = (1 − e^(−50 PD))/(1 −
/// e⁻⁵⁰).
pub fn basel_correlation(probability: f64) -> f64 {
    let weight = special::exp_m1(-50.0 * probability) / special::exp_m1(-50.0);
    0.12 * weight + 0.24 * (1.0 - weight)
}

/// Probability of default given the factor at its `level` quantile: Φ((Φ⁻¹(p) + √ρ Φ⁻¹(q))/√(1−ρ)).
pub fn conditional_probability(probability: f64, correlation: f64, level: f64) -> f64 {
    special::normal_cdf(distance(probability, correlation, -special::normal_quantile(level)))
}

/// Basel's capital per unit of exposure without maturity adjustment: LGD (p(99.9 %) − p).
pub fn basel_capital(probability: f64, severity: f64) -> f64 {
    let correlation = basel_correlation(probability);
    severity * (conditional_probability(probability, correlation, 0.999) - probability)
}

/// The number of defaults in a pool of equal obligors under one Gaussian factor.
///
/// `None` for more than 1,000 obligors, or parameters outside 0 < p < 1, 0 ≤ ρ < 1.
pub fn vasicek_pool(obligors: u32, probability: f64, correlation: f64) -> Option<UnitDistribution> {
    let domain = probability > 0.0 && probability < 1.0 && (0.0..1.0).contains(&correlation);
    if !domain || obligors > POOL_MAX {
        return None;
    }
    let step = 1.0 / f64::from(POINTS_PER_UNIT);
    let mut pmf = vec![0.0; usize::try_from(obligors).ok()?.checked_add(1)?];
    for point in FACTOR_POINTS.wrapping_neg()..=FACTOR_POINTS {
        let z = f64::from(point) * step;
        let density = special::exp(-0.5 * z * z) / special::sqrt(core::f64::consts::TAU);
        let distance = distance(probability, correlation, z);
        // 1 − p from the other tail, which does not cancel.
        let (p, q) = (special::normal_cdf(distance), special::normal_cdf(-distance));
        let mut choose = 1.0;
        for (cell, k) in pmf.iter_mut().zip(0_u32..) {
            let rest = f64::from(obligors) - f64::from(k);
            *cell +=
                step * density * choose * special::pow(p, f64::from(k)) * special::pow(q, rest);
            choose *= rest / (f64::from(k) + 1.0);
        }
    }
    Some(UnitDistribution::new(pmf))
}

/// How far an obligor is beyond its default threshold when the factor is `z`: low is a bad year.
fn distance(probability: f64, correlation: f64, z: f64) -> f64 {
    let threshold = special::normal_quantile(probability) - special::sqrt(correlation) * z;
    threshold / special::sqrt(1.0 - correlation)
}
