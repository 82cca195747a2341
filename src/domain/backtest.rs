//! How good past ratings were: forecasts against outcomes, with honest intervals.
//!
//! Scores that are fractions stay exact. Intervals are exact in the statistical sense, so that
//! three events never look like more than three events. Nothing here looks at the clock: the caller
//! decides which forecasts were made before which outcomes.
#![expect(clippy::float_arithmetic, reason = "logarithms and quantiles; nothing here is hashed")]

use std::collections::BTreeMap;

use crate::decimal::PPT_ONE;
use crate::ratio::{self, Ratio, RatioError};
use crate::special;

/// Forecasts in one backtest: thirty years of quarters for 8,000 entities.
pub const FORECASTS_MAX: usize = 1_000_000;

/// What happened in the year after a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// No significant loss event.
    Survived,
    /// A significant loss event.
    Lost,
}

/// A one-year probability given at some time, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The probability in parts per trillion, 0 to 10¹².
    pub probability_ppt: u64,
    /// What happened.
    pub outcome: Outcome,
}

/// Scores of a set of forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Mean squared error; equals reliability − resolution + uncertainty.
    pub brier: Ratio,
    /// Murphy's reliability: how far observed frequencies are from forecasts. Lower is better.
    pub reliability: Ratio,
    /// Murphy's resolution: how far observed frequencies are from the base rate. Higher is better.
    pub resolution: Ratio,
    /// Variance of the outcomes.
    pub uncertainty: Ratio,
    /// 1 − Brier / uncertainty; `None` when all outcomes are the same.
    pub skill: Option<Ratio>,
    /// Mean −ln of the probability given to what happened; infinite if that was zero.
    pub log_loss: f64,
    /// Probability that a loss had the higher forecast, ties one half; `None` without both
    /// outcomes.
    pub auc: Option<Ratio>,
    /// 2·AUC − 1.
    pub accuracy_ratio: Option<Ratio>,
    /// Σ (observed − expected)² / variance over groups of equal forecasts.
    pub hosmer_lemeshow: f64,
}

/// An interval of a probability or a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Events against what was expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Observed over expected events.
    pub ratio: f64,
    /// Exact interval of that ratio.
    pub interval: Interval,
    /// 2 (n ln(n/E) − (n − E)).
    pub deviance: f64,
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// There are no forecasts, or more than [`FORECASTS_MAX`].
    #[error("found {found} forecasts, expected 1 to {FORECASTS_MAX}")]
    Count {
        /// How many.
        found: usize,
    },
    /// A forecast is above one.
    #[error("forecast number {index} is {found} ppt, expected at most 1000000000000")]
    Probability {
        /// Its place.
        index: usize,
        /// What was given.
        found: u64,
    },
    /// An exact score does not fit. Group forecasts by grade.
    #[error("{0}; group the forecasts by grade")]
    Ratio(#[from] RatioError),
}

/// Forecasts of one probability.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u64,
    lost: u64,
}

impl Scores {
    /// Scores a set of forecasts; their order does not matter.
    ///
    /// # Errors
    /// When there are none or too many, one is above one, or an exact score does not fit.
    pub fn new(forecasts: &[Forecast]) -> Result<Self, BacktestError> {
        if forecasts.is_empty() || forecasts.len() > FORECASTS_MAX {
            return Err(BacktestError::Count { found: forecasts.len() });
        }
        let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
        for (index, forecast) in forecasts.iter().enumerate() {
            let found = forecast.probability_ppt;
            if found > PPT_ONE {
                return Err(BacktestError::Probability { index, found });
            }
            let group = groups.entry(found).or_default();
            group.count = group.count.saturating_add(1);
            if forecast.outcome == Outcome::Lost {
                group.lost = group.lost.saturating_add(1);
            }
        }
        let total = groups.values().fold(Group::default(), |sum, group| Group {
            count: sum.count.saturating_add(group.count),
            lost: sum.lost.saturating_add(group.lost),
        });
        let (reliability, resolution) = murphy(&groups, total)?;
        let base = fraction(total.lost, total.count)?;
        let uncertainty = base.times(Ratio::ONE.minus(base)?)?;
        let brier = brier(&groups, total)?;
        let skill = match uncertainty.is_zero() {
            true => None,
            false => Some(Ratio::ONE.minus(brier.over(uncertainty)?)?),
        };
        let auc = auc(&groups, total)?;
        let accuracy_ratio = match auc {
            Some(auc) => Some(auc.plus(auc)?.minus(Ratio::ONE)?),
            None => None,
        };
        let log_loss = log_loss(&groups, total);
        let hosmer_lemeshow = hosmer_lemeshow(&groups);
        Ok(Self {
            brier,
            reliability,
            resolution,
            uncertainty,
            skill,
            log_loss,
            auc,
            accuracy_ratio,
            hosmer_lemeshow,
        })
    }
}

/// Clopper and Pearson's interval of a probability after `events` in `trials`, two-sided.
///
/// `alpha` is what is left outside, 0.05 for 95 %. NaN unless `events` ≤ `trials` and 0 < `alpha` <
/// 1.
pub fn clopper_pearson(events: u32, trials: u32, alpha: f64) -> Interval {
    if events > trials || !(alpha > 0.0 && alpha < 1.0) {
        return Interval { lower: f64::NAN, upper: f64::NAN };
    }
    let (k, rest) = (f64::from(events), f64::from(trials) - f64::from(events));
    let half = alpha / 2.0;
    Interval {
        lower: if events == 0 { 0.0 } else { special::beta_quantile(half, k, rest + 1.0) },
        upper: if events == trials {
            1.0
        } else {
            special::beta_quantile(1.0 - half, k + 1.0, rest)
        },
    }
}

/// Garwood's interval of a Poisson mean after `events`, two-sided. NaN unless 0 < `alpha` < 1.
pub fn garwood(events: u32, alpha: f64) -> Interval {
    if !(alpha > 0.0 && alpha < 1.0) {
        return Interval { lower: f64::NAN, upper: f64::NAN };
    }
    let (k, half) = (f64::from(events), alpha / 2.0);
    Interval {
        lower: if events == 0 { 0.0 } else { special::gamma_quantile(half, k, 1.0) },
        upper: special::gamma_quantile(1.0 - half, k + 1.0, 1.0),
    }
}

/// Upper bound of a yearly rate after `years` without an event, one-sided: −ln α / X.
pub fn zero_event_bound(years: f64, alpha: f64) -> f64 {
    -special::ln(alpha) / years
}

/// Compares `events` with the number `expected`, which must be above zero.
pub fn calibration(events: u32, expected: f64, alpha: f64) -> Calibration {
    let observed = f64::from(events);
    let interval = garwood(events, alpha);
    let excess = if events == 0 { 0.0 } else { observed * special::ln(observed / expected) };
    Calibration {
        ratio: observed / expected,
        interval: Interval { lower: interval.lower / expected, upper: interval.upper / expected },
        deviance: 2.0 * (excess - (observed - expected)),
    }
}

/// Shares of a cohort that moved from each state (row) to each other (column).
///
/// A row without anyone in it is zero throughout.
///
/// # Errors
/// Never for counts: they fit.
pub fn transition_matrix(counts: &[Vec<u64>]) -> Result<Vec<Vec<Ratio>>, RatioError> {
    let row = |row: &Vec<u64>| {
        let total = row.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        row.iter().map(|count| fraction(*count, total.max(1))).collect()
    };
    counts.iter().map(row).collect()
}

/// An interval of the accuracy ratio by drawing whole clusters (operators, AVSs) with replacement.
///
/// The draws come from `seeds`, one sample each, so that the interval is the same everywhere.
/// Samples without both outcomes say nothing and are left out; `None` if fewer than half say
/// something.
///
/// # Errors
/// As [`Scores::new`] for the forecasts of a sample.
pub fn bootstrap_accuracy_ratio(
    clusters: &[Vec<Forecast>],
    seeds: &[u64],
    alpha: f64,
) -> Result<Option<Interval>, BacktestError> {
    let Ok(count) = u64::try_from(clusters.len()) else { return Ok(None) };
    let mut ratios = Vec::with_capacity(seeds.len());
    for seed in seeds {
        let mut state = *seed;
        let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
        let mut total = Group::default();
        for _ in clusters {
            let drawn = draw(&mut state).checked_rem(count).and_then(|i| usize::try_from(i).ok());
            for forecast in drawn.and_then(|index| clusters.get(index)).into_iter().flatten() {
                let group = groups.entry(forecast.probability_ppt).or_default();
                let lost = u64::from(forecast.outcome == Outcome::Lost);
                for tally in [group, &mut total] {
                    tally.count = tally.count.saturating_add(1);
                    tally.lost = tally.lost.saturating_add(lost);
                }
            }
        }
        if let Some(auc) = auc(&groups, total)? {
            ratios.push(auc.plus(auc)?.minus(Ratio::ONE)?);
        }
    }
    if ratios.len() < seeds.len().div_ceil(2) {
        return Ok(None);
    }
    ratios.sort();
    let at = |share: f64| rank(ratios.len(), share).and_then(|i| ratios.get(i)).map(float);
    let ends = at(alpha / 2.0).zip(at(1.0 - alpha / 2.0));
    Ok(ends.map(|(lower, upper)| Interval { lower, upper }))
}

/// The rank of a share of `count` sorted values.
fn rank(count: usize, share: f64) -> Option<usize> {
    let last = u32::try_from(count.checked_sub(1)?).ok()?;
    let wanted = share.clamp(0.0, 1.0) * f64::from(last);
    (0..=last).find(|i| f64::from(*i) + 0.5 >= wanted).and_then(|i| usize::try_from(i).ok())
}

/// One draw of Steele and Vigna's `SplitMix64`.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn brier(groups: &BTreeMap<u64, Group>, total: Group) -> Result<Ratio, RatioError> {
    let terms = groups.iter().map(|(ppt, group)| {
        let p = fraction(*ppt, PPT_ONE)?;
        let missed = Ratio::ONE.minus(p)?;
        let survived = Ratio::whole(group.count.saturating_sub(group.lost));
        let lost = Ratio::whole(group.lost).times(missed.times(missed)?)?;
        lost.plus(survived.times(p.times(p)?)?)
    });
    ratio::sum(terms.collect::<Result<Vec<_>, _>>()?)?.over(Ratio::whole(total.count))
}

/// Reliability and resolution.
fn murphy(groups: &BTreeMap<u64, Group>, total: Group) -> Result<(Ratio, Ratio), RatioError> {
    let base = fraction(total.lost, total.count)?;
    let (mut reliability, mut resolution) = (Ratio::ZERO, Ratio::ZERO);
    for (ppt, group) in groups {
        let observed = fraction(group.lost, group.count)?;
        let weight = fraction(group.count, total.count)?;
        let miss = observed.minus(fraction(*ppt, PPT_ONE)?)?;
        reliability = reliability.plus(weight.times(miss.times(miss)?)?)?;
        let spread = observed.minus(base)?;
        resolution = resolution.plus(weight.times(spread.times(spread)?)?)?;
    }
    Ok((reliability, resolution))
}

/// Groups come in ascending order of forecast, so a loss beats every survivor seen before its
/// group.
fn auc(groups: &BTreeMap<u64, Group>, total: Group) -> Result<Option<Ratio>, RatioError> {
    let survivors = total.count.saturating_sub(total.lost);
    let pairs = u128::from(total.lost).saturating_mul(u128::from(survivors));
    if pairs == 0 {
        return Ok(None);
    }
    let (mut below, mut halves) = (0_u64, 0_u128);
    for group in groups.values() {
        let survived = group.count.saturating_sub(group.lost);
        let beaten = u128::from(below).saturating_mul(2).saturating_add(u128::from(survived));
        halves = halves.saturating_add(beaten.saturating_mul(u128::from(group.lost)));
        below = below.saturating_add(survived);
    }
    let halves = i128::try_from(halves).map_err(|_| RatioError::TooLong)?;
    Ratio::new(halves, pairs.saturating_mul(2)).map(Some)
}

fn log_loss(groups: &BTreeMap<u64, Group>, total: Group) -> f64 {
    let term = |(ppt, group): (&u64, &Group)| {
        let p = real(*ppt) / real(PPT_ONE);
        let lost = if group.lost == 0 { 0.0 } else { real(group.lost) * special::ln(p) };
        let survived = real(group.count.saturating_sub(group.lost));
        lost + if survived == 0.0 { 0.0 } else { survived * special::ln_1p(-p) }
    };
    -groups.iter().map(term).sum::<f64>() / real(total.count)
}

fn hosmer_lemeshow(groups: &BTreeMap<u64, Group>) -> f64 {
    let term = |(ppt, group): (&u64, &Group)| {
        let p = real(*ppt) / real(PPT_ONE);
        let (expected, count) = (real(group.count) * p, real(group.count));
        let excess = real(group.lost) - expected;
        if excess == 0.0 { 0.0 } else { excess * excess / (count * p * (1.0 - p)) }
    };
    groups.iter().map(term).sum()
}

fn fraction(part: u64, whole: u64) -> Result<Ratio, RatioError> {
    Ratio::new(i128::from(part), u128::from(whole))
}

#[expect(clippy::as_conversions, reason = "counts and ppt are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn float(ratio: &Ratio) -> f64 {
    let shifted = ratio.plus(Ratio::ONE).ok().and_then(Ratio::to_ppt).unwrap_or_default();
    real(shifted) / real(PPT_ONE) - 1.0
}
