//! The methodology: every constant of the model, read from one committed file.
//!
//! The file is embedded in the binary and hashed as it lies there; a rating names the hash. Nothing
//! here computes a rating. The shapes of the parameter groups are in `parameters`.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::decimal::Ppt;
use crate::grade::{Grade, RatingScale, ScaleNotRising};
use crate::parameters::{
    Authority, Caps, Clock, Corruption, Decay, Exposure, FactorBeta, Frailty, Levels,
    LrtParameters, Mitigation, Priors, Severities, Surveillance, Uncertainty, Veto,
};
use crate::ruleset::{Complexity, RulesetStandard};
use crate::tail::Deciles;

/// The committed file of version 1, as it is hashed.
pub const VERSION_1: &str = include_str!("methodology/assay-1.json");

/// Every constant of the model, exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methodology {
    /// Version as people write it.
    pub version: String,
    /// Version as contracts write it.
    pub model_id: u16,
    /// Epochs, years and windows.
    pub clock: Clock,
    /// Half-life of counts and exposure.
    pub decay: Decay,
    /// Expected loss to letter.
    pub scale: RatingScale,
    /// Idealised one-year default probability of AAA … CCC-.
    pub default_probability: [Ppt; 19],
    /// Priors of the hazards.
    pub priors: Priors,
    /// Priors of the severities.
    pub severity: Severities,
    /// Class C4: who can slash, and who receives.
    pub authority: Authority,
    /// Class C5: profitable corruption.
    pub corruption: Corruption,
    /// Credit for an independent veto.
    pub veto: Veto,
    /// Operator frailty and new operators.
    pub frailty: Frailty,
    /// What lowers or raises an operator's hazard.
    pub mitigation: Mitigation,
    /// What an attestation of each level is worth.
    pub levels: Levels,
    /// Latent and dust exposure.
    pub exposure: Exposure,
    /// Loadings on the common factor, by class.
    pub factor_beta: FactorBeta,
    /// Ceilings on grades.
    pub caps: Caps,
    /// Intervals and the provisional suffix.
    pub uncertainty: Uncertainty,
    /// Hysteresis, watch and outlook.
    pub surveillance: Surveillance,
    /// Liquid restaking tokens.
    pub lrt: LrtParameters,
    /// Published rulesets and how others are scored.
    pub rulesets: Rulesets,
    /// Decile means of the partial losses of C1 to C4.
    pub deciles: Deciles,
    hash: B256,
}

/// Published rulesets and how others are scored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rulesets {
    /// Complexity of a ruleset nobody published.
    #[serde(rename = "unpublished_quarters")]
    pub unpublished: Complexity,
    /// Quarters for each rule after the first.
    pub extra_rule_quarters: u16,
    /// The standards, in the order of the file.
    pub standards: Vec<RulesetStandard>,
}

impl Rulesets {
    /// The standard with this commitment.
    #[must_use]
    pub fn standard(&self, hash: B256) -> Option<&RulesetStandard> {
        self.standards.iter().find(|standard| standard.hash == hash)
    }
}

/// The methodology file is wrong. Nothing may be rated with it.
#[derive(Debug, thiserror::Error)]
pub enum MethodologyError {
    /// No JSON, a field missing or unknown, or a number that is not exact. The source names it.
    #[error("methodology file: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A table of the scale does not have exactly AAA … CCC-.
    #[error("methodology table `{table}` has {found} grades, expected the 19 from AAA to CCC-")]
    ScaleIncomplete {
        /// The table.
        table: &'static str,
        /// Grades found in it, D not counted.
        found: usize,
    },
    /// The expected losses do not rise.
    #[error("methodology scale")]
    ScaleNotRising(#[from] ScaleNotRising),
    /// A standard's rules do not hash to the commitment beside them.
    #[error("ruleset {name} hashes to {found}, the file says {expected}")]
    RulesetHash {
        /// The standard.
        name: String,
        /// In the file.
        expected: B256,
        /// Of the rules.
        found: B256,
    },
    /// A standard's rules do not score the complexity beside them.
    #[error("ruleset {name} scores {found} quarters, the file says {expected}")]
    RulesetComplexity {
        /// The standard.
        name: String,
        /// In the file.
        expected: u16,
        /// Of the rules.
        found: u16,
    },
    /// A length of time is zero.
    #[error("methodology: `{0}` must be above zero")]
    Zero(&'static str),
}

impl Methodology {
    /// Version 1, from the file in this binary.
    ///
    /// # Errors
    /// When the file is wrong; a test reads it, so a released binary never says so.
    pub fn version_1() -> Result<Self, MethodologyError> {
        Self::parse(VERSION_1)
    }

    /// Reads a methodology file and checks what the types cannot.
    ///
    /// # Errors
    /// When a field is missing, unknown or not exact, or two parts contradict each other.
    pub fn parse(file: &str) -> Result<Self, MethodologyError> {
        let raw: RawMethodology = serde_json::from_str(file)?;
        let expected_loss = table(&raw.scale, "scale")?;
        let default_probability =
            table(&raw.idealised_default_probability, "idealised_default_probability")?;
        check_times(&raw.clock)?;
        for standard in &raw.rulesets.standards {
            check_standard(standard, raw.rulesets.extra_rule_quarters)?;
        }
        let deciles = Deciles::of(&raw.severity);
        Ok(Self {
            version: raw.version,
            model_id: raw.model_id,
            clock: raw.clock,
            decay: raw.decay,
            scale: RatingScale::new(expected_loss.map(|share| share.0))?,
            default_probability,
            priors: raw.priors,
            severity: raw.severity,
            authority: raw.authority,
            corruption: raw.corruption,
            veto: raw.veto,
            frailty: raw.frailty,
            mitigation: raw.mitigation,
            levels: raw.levels,
            exposure: raw.exposure,
            factor_beta: raw.factor_beta,
            caps: raw.caps,
            uncertainty: raw.uncertainty,
            surveillance: raw.surveillance,
            lrt: raw.lrt,
            deciles,
            rulesets: raw.rulesets,
            hash: B256::from(<[u8; 32]>::from(Sha256::digest(file))),
        })
    }

    /// sha256 of the bytes of the file.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.hash
    }
}

/// The file as it is written; [`Methodology`] is what it means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMethodology {
    version: String,
    model_id: u16,
    clock: Clock,
    decay: Decay,
    scale: BTreeMap<Grade, Share>,
    idealised_default_probability: BTreeMap<Grade, Share>,
    priors: Priors,
    severity: Severities,
    authority: Authority,
    corruption: Corruption,
    veto: Veto,
    frailty: Frailty,
    mitigation: Mitigation,
    levels: Levels,
    exposure: Exposure,
    factor_beta: FactorBeta,
    caps: Caps,
    uncertainty: Uncertainty,
    surveillance: Surveillance,
    lrt: LrtParameters,
    rulesets: Rulesets,
}

/// A share written as a decimal string.
struct Share(Ppt);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::decimal::ppt_from_decimal(deserializer).map(Self)
    }
}

fn table(
    grades: &BTreeMap<Grade, Share>,
    name: &'static str,
) -> Result<[Ppt; 19], MethodologyError> {
    let rated = grades.iter().filter(|(grade, _)| **grade != Grade::D);
    let column: Vec<Ppt> = rated.map(|(_, share)| share.0).collect();
    let found = column.len();
    column.try_into().map_err(|_| MethodologyError::ScaleIncomplete { table: name, found })
}

fn check_times(clock: &Clock) -> Result<(), MethodologyError> {
    let lengths = [
        ("epoch_blocks", clock.epoch_blocks),
        ("year_blocks", clock.year_blocks),
        ("incident_window_blocks", clock.incident_window_blocks),
        ("exit_window_blocks", clock.exit_window_blocks),
    ];
    match lengths.into_iter().find(|(_, blocks)| *blocks == 0) {
        Some((name, _)) => Err(MethodologyError::Zero(name)),
        None => Ok(()),
    }
}

fn check_standard(
    standard: &RulesetStandard,
    extra_rule_quarters: u16,
) -> Result<(), MethodologyError> {
    let hash = standard.ruleset.hash();
    if hash != standard.hash {
        return Err(MethodologyError::RulesetHash {
            name: standard.name.clone(),
            expected: standard.hash,
            found: hash,
        });
    }
    let complexity = standard.ruleset.complexity(extra_rule_quarters);
    if complexity != standard.complexity {
        return Err(MethodologyError::RulesetComplexity {
            name: standard.name.clone(),
            expected: standard.complexity.quarters,
            found: complexity.quarters,
        });
    }
    Ok(())
}
