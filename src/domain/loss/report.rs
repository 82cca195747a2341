//! The figures of a portfolio in the form `assay loss` prints, under the names of vector V09.

use std::collections::BTreeMap;

use serde::Serialize;

use super::distribution::{Level, LossDistribution};
use super::fixed::{BasisPoints, Probability};
use super::model::LossModel;

/// Losses above this many bp count for the probability of significant loss: 1 % of exposure.
pub const SIGNIFICANT_LOSS_BP: u16 = 100;
/// First-loss reserves shown, bp.
const RESERVES_BP: [u16; 4] = [0, 50, 100, 300];
/// Cells of the distribution shown, from the smallest loss up.
const HEAD_CELLS: usize = 12;

/// Every figure of a loss distribution. Amounts are bp of exposure as decimal text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossReport {
    /// The unit of all amounts.
    pub unit: &'static str,
    /// Expected loss.
    #[serde(rename = "EL")]
    pub expected_loss: String,
    /// Expected loss in parts per trillion of exposure: what is graded.
    #[serde(rename = "EL_ppt")]
    pub expected_loss_ppt: u64,
    /// Sum of the blocks' expected losses, before the cap.
    #[serde(rename = "EL_uncapped_sum_of_blocks")]
    pub expected_loss_uncapped: String,
    /// Expected loss of each block, in the order of their ids.
    #[serde(rename = "EL_by_block")]
    pub by_block: Vec<BlockReport>,
    /// Standard deviation.
    pub sd: String,
    /// Value at risk and expected shortfall, flattened as `VaR95`, `ES95` and so on.
    #[serde(flatten)]
    pub tail: TailReport,
    /// Probability of losing more than 1 % of exposure.
    #[serde(rename = "PSL_gt_1pct")]
    pub significant_loss: String,
    /// What each block contributes to `ES99`.
    #[serde(rename = "ES99_euler")]
    pub shortfall_by_block: BTreeMap<String, String>,
    /// Their sum.
    #[serde(rename = "ES99_euler_sum")]
    pub shortfall_sum: String,
    /// Expected loss after a first-loss reserve of so many bp.
    #[serde(rename = "EL_after_first_loss_reserve_bp")]
    pub after_reserve: BTreeMap<u16, String>,
    /// The smallest losses that are possible, bp, with their probabilities.
    pub pmf_head: BTreeMap<u16, String>,
    /// SHA-256 of the whole distribution in Q1.63, see [`LossDistribution::hash`].
    pub pmf_sha256: String,
}

/// Value at risk (bp) and expected shortfall at three levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is the figure of its name")]
pub struct TailReport {
    #[serde(rename = "VaR95")]
    pub var_95: u16,
    #[serde(rename = "ES95")]
    pub es_95: String,
    #[serde(rename = "VaR99")]
    pub var_99: u16,
    #[serde(rename = "ES99")]
    pub es_99: String,
    #[serde(rename = "VaR999")]
    pub var_999: u16,
    #[serde(rename = "ES999")]
    pub es_999: String,
}

/// What one block adds to the expected loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockReport {
    /// The block's id.
    pub id: String,
    /// One-year probability of its event.
    pub p: String,
    /// The same with the factor integrated in closed form; absent for a Gamma predictive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_closed_form_continuous_gamma: Option<String>,
    /// Mean loss if the event happens.
    pub mean_loss_bp: String,
    /// Expected loss.
    #[serde(rename = "EL")]
    pub expected_loss: String,
}

impl LossReport {
    /// Computes every figure of a portfolio.
    pub fn new(model: &LossModel) -> Self {
        let distribution = model.distribution();
        let contributions = model.shortfall_by_block(&distribution, Level::P99);
        let sum = contributions.iter().fold(BasisPoints::ZERO, |sum, (_, part)| sum.plus(*part));
        let after = |bp: u16| (bp, distribution.expected_loss_after(bp).to_string());
        Self {
            unit: "bp of exposure",
            expected_loss: distribution.expected_loss().to_string(),
            expected_loss_ppt: distribution.expected_loss().to_ppt(),
            expected_loss_uncapped: model.expected_loss_uncapped().to_string(),
            by_block: by_block(model),
            sd: distribution.standard_deviation().to_string(),
            tail: TailReport::new(&distribution),
            significant_loss: distribution.probability_above(SIGNIFICANT_LOSS_BP).to_string(),
            shortfall_by_block: contributions
                .iter()
                .map(|(id, part)| (id.to_string(), part.to_string()))
                .collect(),
            shortfall_sum: sum.to_string(),
            after_reserve: RESERVES_BP.into_iter().map(after).collect(),
            pmf_head: distribution
                .losses()
                .take(HEAD_CELLS)
                .map(|(loss, p)| (loss, p.to_string()))
                .collect(),
            pmf_sha256: distribution.hash().to_string(),
        }
    }
}

impl TailReport {
    fn new(distribution: &LossDistribution) -> Self {
        let shortfall = |level| distribution.expected_shortfall(level).to_string();
        Self {
            var_95: distribution.value_at_risk(Level::P95),
            es_95: shortfall(Level::P95),
            var_99: distribution.value_at_risk(Level::P99),
            es_99: shortfall(Level::P99),
            var_999: distribution.value_at_risk(Level::P999),
            es_999: shortfall(Level::P999),
        }
    }
}

fn by_block(model: &LossModel) -> Vec<BlockReport> {
    let report = |loss: super::model::BlockLoss| BlockReport {
        id: loss.id.to_string(),
        p: loss.probability.to_string(),
        p_closed_form_continuous_gamma: loss
            .probability_closed_form
            .as_ref()
            .map(Probability::to_string),
        mean_loss_bp: loss.mean_loss.to_string(),
        expected_loss: loss.expected_loss.to_string(),
    };
    model.losses_by_block().into_iter().map(report).collect()
}
