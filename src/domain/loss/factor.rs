//! The common factor: how probable a block's event is in a year, given the incident climate.
//!
//! Z ~ Gamma(mean 1, variance 1) is integrated by eight Gauss–Laguerre nodes, stored to the last
//! bit. V09 puts their error in any figure of the distribution below 1.4e-25.
#![expect(clippy::float_arithmetic, reason = "a hazard is a real number; what leaves is Q1.127")]

use std::fmt;

use super::fixed::Probability;
use crate::special;

/// Whether blocks share the incident climate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// Z ~ Gamma with mean 1 and variance 1.
    GammaUnitVariance,
    /// Z = 1: blocks are independent.
    Off,
}

/// How often a block's event happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hazard {
    /// A known rate per year: p = 1 − e^(−λu).
    Rate {
        /// λ, events per year.
        per_year: f64,
    },
    /// A rate known as Gamma(shape, rate): the posterior predictive p = 1 − (r/(r+u))^k.
    Predictive {
        /// k, incidents.
        shape: f64,
        /// r, years.
        years: f64,
    },
    /// A known probability, whatever the climate.
    Fixed(Probability),
}

/// One point of the quadrature.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// The climate z; 1 is normal.
    pub climate: f64,
    /// Its weight; the weights of a factor sum to one exactly.
    pub weight: Probability,
}

/// Zeros of the Laguerre polynomial L₈ and their weights in units of 2⁻¹²⁷.
const GAUSS_LAGUERRE_8: [(f64, u128); 8] = [
    (0.170_279_632_305_101, 0x2f41_925a_a3ac_aece_ad2e_ce9c_1b8d_64c2),
    (0.903_701_776_799_379_9, 0x359a_ce23_cc1f_e429_be89_1867_7f96_defc),
    (2.251_086_629_866_130_7, 0x1680_733b_3426_0224_9021_28a6_8110_f1c5),
    (4.266_700_170_287_659, 0x0444_997c_65ee_ce9a_2764_b4ef_0358_0bc5),
    (7.045_905_402_393_465_5, 0x005b_9244_de6f_9d80_1592_6c4a_a9ed_e99b),
    (10.758_516_010_180_996, 0x0002_f964_8aad_f9af_d8c6_00c0_67d1_3b99),
    (15.740_678_641_278_004, 0x0000_071e_4cdb_f77e_07cc_4db5_e3cd_1386),
    (22.863_131_736_889_265, 0x0000_0002_4025_0d9a_e69d_80a5_eae6_85fe),
];

impl Factor {
    /// The points to integrate over, in a fixed order.
    pub fn nodes(self) -> Vec<Node> {
        match self {
            Self::Off => vec![Node { climate: 1.0, weight: Probability::ONE }],
            Self::GammaUnitVariance => GAUSS_LAGUERRE_8
                .iter()
                .map(|&(climate, q127)| Node { climate, weight: Probability::from_q127(q127) })
                .collect(),
        }
    }
}

impl Hazard {
    /// The one-year probability of the event in climate `z`, where `beta` is the share that follows
    /// it.
    pub fn probability(self, beta: f64, z: f64) -> Probability {
        let exposure = (1.0 - beta) + beta * z;
        let p = match self {
            Self::Rate { per_year } => -special::exp_m1(-per_year * exposure),
            Self::Predictive { shape, years } => {
                -special::exp_m1(-shape * special::ln_1p(exposure / years))
            }
            Self::Fixed(p) => return p,
        };
        Probability::from_f64(p.clamp(0.0, 1.0)).unwrap_or(Probability::ONE)
    }

    /// The one-year probability with the factor integrated in closed form, for a known rate.
    ///
    /// A check on the quadrature: E[1 − e^(−λ((1−β)+βZ))] = 1 − e^(−λ(1−β)) / (1 + λβ).
    pub fn probability_closed_form(self, beta: f64, factor: Factor) -> Option<Probability> {
        match (self, factor) {
            (Self::Rate { per_year }, Factor::GammaUnitVariance) => {
                let exponent = -per_year * (1.0 - beta) - special::ln_1p(per_year * beta);
                Probability::from_f64(-special::exp_m1(exponent))
            }
            (Self::Predictive { .. }, Factor::GammaUnitVariance) => None,
            (hazard, _) => Some(hazard.probability(beta, 1.0)),
        }
    }

    /// Whether every parameter is a finite number in its range.
    pub(super) fn is_valid(self) -> bool {
        match self {
            Self::Rate { per_year } => per_year.is_finite() && per_year >= 0.0,
            Self::Predictive { shape, years } => {
                shape.is_finite() && years.is_finite() && shape >= 0.0 && years > 0.0
            }
            Self::Fixed(_) => true,
        }
    }
}

impl fmt::Display for Hazard {
    /// As the input file names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { per_year } => write!(f, "lam {per_year}"),
            Self::Predictive { shape, years } => write!(f, "k {shape} with r {years}"),
            Self::Fixed(p) => write!(f, "p {p}"),
        }
    }
}
