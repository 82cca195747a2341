//! The `CreditRisk+` model by the recursion for logarithm and exponential of power series.
//!
//! An independent check of `loss`: Poisson events with Gamma sectors have a distribution in closed
//! form as a power series. All terms of the recursion are positive, so unlike Panjer's it loses no
//! digits. An obligor may default more than once here, so losses are slightly higher than in
//! `loss`.
#![expect(clippy::float_arithmetic, reason = "a benchmark in f64 over libm, never hashed")]

use crate::loss::Level;
use crate::special;

/// One obligor: Poisson losses of a fixed size.
#[derive(Clone, Debug, PartialEq)]
pub struct Obligor {
    /// Loss in units, at least 1.
    pub units: usize,
    /// Expected events per year.
    pub rate: f64,
    /// The share of the rate that follows no sector.
    pub own_share: f64,
    /// Shares of the rate that follow sectors, by the index of the sector.
    pub sector_shares: Vec<(usize, f64)>,
}

/// Probabilities of losses of 0, 1, 2 … units.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitDistribution(Vec<f64>);

impl UnitDistribution {
    /// From probabilities of 0, 1, 2 … units.
    pub fn new(probabilities: Vec<f64>) -> Self {
        Self(probabilities)
    }

    /// The distribution of losses up to `units_max` units, with Gamma sectors of these variances.
    ///
    /// The generating function is e^(μ₀(P₀−1)) Π (1 + σ²μₖ − σ²μₖPₖ)^(−1/σ²).
    pub fn credit_risk_plus(
        obligors: &[Obligor],
        sector_variances: &[f64],
        units_max: usize,
    ) -> Self {
        let cells = units_max.saturating_add(1);
        let mut logarithm = vec![0.0; cells];
        for obligor in obligors {
            let rate = obligor.rate * obligor.own_share;
            add(&mut logarithm, 0, -rate);
            add(&mut logarithm, obligor.units, rate);
        }
        for (sector, &variance) in sector_variances.iter().enumerate() {
            let mut terms = vec![0.0; cells];
            let mut mean = 0.0;
            for obligor in obligors {
                let shares = obligor.sector_shares.iter().filter(|(index, _)| *index == sector);
                let rate = obligor.rate * shares.map(|(_, share)| share).sum::<f64>();
                mean += rate;
                add(&mut terms, obligor.units, variance * rate);
            }
            let series = minus_logarithm(1.0 + variance * mean, &terms);
            for (sum, term) in logarithm.iter_mut().zip(series) {
                *sum += term / variance;
            }
        }
        Self(exponential(&logarithm))
    }

    /// Probabilities of 0, 1, 2 … units.
    pub fn probabilities(&self) -> &[f64] {
        &self.0
    }

    /// Mean, in units.
    pub fn mean(&self) -> f64 {
        self.weighted(|units| units)
    }

    /// Variance, in units squared.
    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        self.weighted(|units| (units - mean) * (units - mean))
    }

    /// The smallest loss in units that is not exceeded with the probability of `level`.
    pub fn value_at_risk(&self, level: Level) -> usize {
        // As in `loss`: a level missed by less than the arithmetic can tell is reached.
        let wanted = 1.0 - f64::from(level.tail_per_mille()) / 1000.0 - 1e-15;
        let mut sum = 0.0;
        let reached = self.0.iter().position(|p| {
            sum += p;
            sum >= wanted
        });
        reached.unwrap_or_else(|| self.0.len().saturating_sub(1))
    }

    /// Value at risk plus the mean excess over it, in units.
    pub fn expected_shortfall(&self, level: Level) -> f64 {
        let at_risk = float(self.value_at_risk(level));
        let excess = self.weighted(|units| (units - at_risk).max(0.0));
        at_risk + excess * 1000.0 / f64::from(level.tail_per_mille())
    }

    fn weighted(&self, of: impl Fn(f64) -> f64) -> f64 {
        self.0.iter().enumerate().map(|(units, p)| of(float(units)) * p).sum()
    }
}

/// −ln(a₀ − Σ aₖ zᵏ) as a power series; all its terms but the first are positive.
fn minus_logarithm(first: f64, terms: &[f64]) -> Vec<f64> {
    let mut series = Vec::with_capacity(terms.len());
    series.push(-special::ln(first));
    for (k, a) in terms.iter().enumerate().skip(1) {
        let known = series.iter().enumerate().skip(1);
        let earlier = terms.iter().take(k).rev();
        let sum: f64 = known.zip(earlier).map(|((j, g), a)| float(j) * g * a).sum();
        series.push((a + sum / float(k)) / first);
    }
    series
}

/// The exponential of a power series.
fn exponential(series: &[f64]) -> Vec<f64> {
    let mut result: Vec<f64> = Vec::with_capacity(series.len());
    result.push(special::exp(series.first().copied().unwrap_or_default()));
    for k in 1..series.len() {
        let terms = series.iter().enumerate().skip(1).zip(result.iter().rev());
        let sum: f64 = terms.map(|((j, g), e)| float(j) * g * e).sum();
        result.push(sum / float(k));
    }
    result
}

fn add(series: &mut [f64], index: usize, value: f64) {
    if let Some(term) = series.get_mut(index) {
        *term += value;
    }
}

#[expect(clippy::as_conversions, reason = "an index of a series, far below 2^53")]
fn float(index: usize) -> f64 {
    index as f64
}
