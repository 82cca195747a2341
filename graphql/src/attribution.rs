//! The working behind a rating: loss blocks that add up to it, and the sentences made of them.

use async_graphql::SimpleObject;
use serde::Deserialize;

use crate::error::ApiError;
use crate::scalar::BigInt;

/// One block of losses, a reserve that bears the first of them, or a cap. The points of all of them
/// add up to the rating's score, and the expected losses to its expected loss.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct LossBlock {
    /// Which block: the class and what it concerns.
    pub block: String,
    /// The cause class of the methodology, C1 to C8, reserve or cap.
    pub class: String,
    /// Probability that it happens within a year, 1e-12. Null for a reserve or cap.
    pub hazard_ppt: Option<BigInt>,
    /// Share of the exposure lost when it happens, 1e-12. Null for a reserve or cap.
    pub severity_ppt: Option<BigInt>,
    /// Share of the whole that is exposed to it, 1e-12. Null for a reserve or cap.
    pub exposure_ppt: Option<BigInt>,
    /// Expected yearly loss, 1e-12 of the whole; below zero what a reserve bears.
    pub expected_loss_ppt: BigInt,
    /// Milli-notches of the score that are due to it; below zero what a reserve takes off.
    pub points: i32,
    /// What the figures rest on: `log`, `prior`, or an attestation: `self_claim`,
    /// `signed_third_party`, `verified_remote` or `verified_on_chain`. Null for a cap.
    pub provenance: Option<String>,
}

/// Why the rating is what it is, in generated sentences.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, Deserialize)]
pub(crate) struct Rationale {
    /// The rating in one sentence.
    #[serde(default)]
    pub summary: String,
    /// What a reader must not overlook, such as an AVS that receives what it slashes.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What drives it, the largest first.
    #[serde(default)]
    pub drivers: Vec<String>,
    /// What would raise it.
    #[serde(default)]
    pub raise: Vec<String>,
    /// What would lower it.
    #[serde(default)]
    pub lower: Vec<String>,
    /// What it rests on, and what is missing.
    #[serde(default)]
    pub rests_on: Vec<String>,
}

/// The rationale as the read model stores it.
pub(crate) fn rationale(stored: &str) -> Result<Rationale, ApiError> {
    serde_json::from_str(stored).map_err(|_| ApiError::Corrupt("a rationale's shape"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredBlock {
    block: String,
    class: String,
    hazard_ppt: Option<serde_json::Value>,
    severity_ppt: Option<serde_json::Value>,
    exposure_ppt: Option<serde_json::Value>,
    expected_loss_ppt: Option<serde_json::Value>,
    points: i32,
    provenance: Option<serde_json::Value>,
}

/// The loss blocks as the read model stores them.
pub(crate) fn loss_blocks(stored: &str) -> Result<Vec<LossBlock>, ApiError> {
    let blocks: Vec<StoredBlock> =
        serde_json::from_str(stored).map_err(|_| ApiError::Corrupt("an attribution's shape"))?;
    Ok(blocks
        .into_iter()
        .map(|stored| LossBlock {
            block: stored.block,
            class: stored.class,
            hazard_ppt: stored.hazard_ppt.and_then(plain).map(BigInt),
            severity_ppt: stored.severity_ppt.and_then(plain).map(BigInt),
            exposure_ppt: stored.exposure_ppt.and_then(plain).map(BigInt),
            expected_loss_ppt: BigInt(
                stored.expected_loss_ppt.and_then(plain).unwrap_or_else(|| "0".to_owned()),
            ),
            points: stored.points,
            provenance: stored.provenance.and_then(plain),
        })
        .collect())
}

/// A number or a string of the stored JSON without quotes.
fn plain(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_loss_block_may_be_stored_as_numbers_or_as_strings() {
        let blocks = loss_blocks(
            r#"[{"block":"C1 set 0","class":"C1","hazardPpt":15400000000,
                 "severityPpt":"280000000000","exposurePpt":1000000000000,
                 "expectedLossPpt":4312000000,"points":10737,"provenance":"prior"},
                {"block":"unpublished ruleset","class":"CAP","points":263}]"#,
        )
        .unwrap();
        assert_eq!(blocks[0].hazard_ppt, Some(BigInt("15400000000".to_owned())));
        assert_eq!(blocks[0].severity_ppt, Some(BigInt("280000000000".to_owned())));
        assert_eq!(blocks[1].expected_loss_ppt, BigInt("0".to_owned()));
        assert_eq!(blocks.iter().map(|block| block.points).sum::<i32>(), 11_000);
        assert!(loss_blocks("{}").is_err());
    }
}
