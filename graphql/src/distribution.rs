//! The exact distribution of the loss within a year, and the figures that are published of it.
//!
//! A token's stands with its backing. Of everything else the read model holds the loss blocks, and
//! the distribution is computed of them when somebody asks: the same function of the same blocks.

use std::sync::{LazyLock, OnceLock};

use alloy_primitives::B256;
use assay_domain::loss_block::LossProfile;
use assay_domain::methodology::Methodology;
use assay_domain::tail::{Tail, loss_model};
use async_graphql::SimpleObject;
use borsh::BorshDeserialize as _;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::limit::DISTRIBUTIONS_AT_ONCE_MAX;
use crate::scalar::{BigInt, Bytes32};

/// Value at risk and expected shortfall at one level.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TailLevel {
    /// The level: 0.95, 0.99 or 0.999.
    pub level: String,
    /// The loss that is not exceeded with that probability, basis points.
    pub value_at_risk_bp: i32,
    /// The mean loss beyond it, 1e-12.
    pub expected_shortfall_ppt: BigInt,
}

/// A point of the curve of exceedance.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExceedancePoint {
    /// A loss, basis points.
    pub loss_bp: i32,
    /// The probability that more is lost within a year, 1e-12.
    pub probability_ppt: BigInt,
}

/// A block's part of the expected shortfall at 99 %.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TailContribution {
    /// The block, as in the rating's attribution.
    pub block: String,
    /// Its part, 1e-12. The parts sum to the shortfall.
    pub shortfall_ppt: BigInt,
}

/// What a holder would be expected to lose if a reserve bore the first losses.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LossAfterReserve {
    /// The reserve, basis points of net asset value.
    pub reserve_bp: i32,
    /// Expected loss within a year, 1e-12.
    pub expected_loss_ppt: BigInt,
}

/// The exact distribution of the loss within a year, on a grid of one basis point.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LossDistribution {
    /// The mean, 1e-12, capped at everything. A little below the rating's sum of blocks where the
    /// blocks' rates follow the common factor.
    pub expected_loss_ppt: BigInt,
    /// The standard deviation, 1e-12.
    pub standard_deviation_ppt: BigInt,
    /// P(loss > 1 %), 1e-12.
    pub above_one_percent_ppt: BigInt,
    /// Value at risk and expected shortfall at 95, 99 and 99.9 %.
    pub levels: Vec<TailLevel>,
    /// P(loss > x) for rising x, fit for a chart.
    pub exceedance: Vec<ExceedancePoint>,
    /// What each block contributes to the expected shortfall at 99 %.
    pub contributions: Vec<TailContribution>,
    /// The holder's expected loss after first-loss reserves.
    pub after_reserve: Vec<LossAfterReserve>,
    /// The largest loss that is possible, basis points.
    pub worst_bp: i32,
    /// SHA-256 of the whole distribution, 10,001 cells in Q1.63.
    pub hash: Bytes32,
}

impl From<Tail> for LossDistribution {
    fn from(tail: Tail) -> Self {
        let ppt = |share: assay_domain::decimal::Ppt| BigInt(share.0.to_string());
        Self {
            expected_loss_ppt: ppt(tail.expected_loss),
            standard_deviation_ppt: ppt(tail.standard_deviation),
            above_one_percent_ppt: ppt(tail.above_one_percent),
            levels: ["0.95", "0.99", "0.999"]
                .into_iter()
                .zip(tail.levels)
                .map(|(level, (at_risk, shortfall))| TailLevel {
                    level: level.to_owned(),
                    value_at_risk_bp: at_risk.into(),
                    expected_shortfall_ppt: ppt(shortfall),
                })
                .collect(),
            exceedance: tail
                .exceedance
                .into_iter()
                .map(|(bp, above)| ExceedancePoint {
                    loss_bp: bp.into(),
                    probability_ppt: ppt(above),
                })
                .collect(),
            contributions: tail
                .contributions
                .into_iter()
                .map(|(block, part)| TailContribution { block, shortfall_ppt: ppt(part) })
                .collect(),
            after_reserve: tail
                .after_reserve
                .into_iter()
                .map(|(bp, loss)| LossAfterReserve {
                    reserve_bp: bp.into(),
                    expected_loss_ppt: ppt(loss),
                })
                .collect(),
            worst_bp: tail.worst.into(),
            hash: tail.pmf_hash.into(),
        }
    }
}

/// The distribution of stored blocks.
pub(crate) async fn of_blocks(stored: Vec<u8>) -> Result<LossDistribution, ApiError> {
    static PLACES: LazyLock<Semaphore> =
        LazyLock::new(|| Semaphore::new(DISTRIBUTIONS_AT_ONCE_MAX));
    let (made_with, profile) = <(B256, LossProfile)>::try_from_slice(&stored)
        .map_err(|_| ApiError::Corrupt("the bytes of loss blocks"))?;
    let methodology = methodology()?;
    if made_with != methodology.hash() {
        return Err(ApiError::NotFound(
            "the rating was made with a methodology that this server does not have".to_owned(),
        ));
    }
    let _place = PLACES.acquire().await;
    let computed = tokio::task::spawn_blocking(move || {
        loss_model(&profile, None, methodology).map(|model| Tail::of(&model, 0).into())
    });
    computed
        .await
        .map_err(|_| ApiError::Unavailable("the distribution could not be computed"))?
        .map_err(|_| ApiError::Corrupt("loss blocks of which no distribution can be made"))
}

fn methodology() -> Result<&'static Methodology, ApiError> {
    static PARSED: OnceLock<Option<Methodology>> = OnceLock::new();
    let parsed = PARSED.get_or_init(|| Methodology::version_1().ok());
    parsed.as_ref().ok_or(ApiError::Corrupt("the embedded methodology"))
}
