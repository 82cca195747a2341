//! Rows of ratings and rating actions.

use assay_domain::grade::Grade;
use assay_domain::loss_block::Provenance;
use assay_domain::lrt::LrtOpinion;
use assay_domain::rating::{Rated, Rating};
use assay_domain::rationale::not_rated_sentence;
use assay_domain::surveillance::Outlook;
use assay_domain::uncertainty::NotRated;
use serde_json::{Value, json};

use super::ReadModel;

pub(super) const ASSESSMENT_COLUMNS: &str = "hash, grade, not_rated_reason, score, \
    expected_loss_ppt, low_ppt, high_ppt, best_grade, worst_grade, conservative_grade, \
    coverage_ppm, sufficiency_ppm, outlook, is_watch_negative, attribution, rationale, blocks";
pub(super) const POINT_COLUMNS: &str =
    "entity_id, position, block_number, block_time, assessment_hash, seq, word";
pub(super) const ACTION_COLUMNS: &str = "storage_position, revision, entity_id, kind, from_grade, \
    to_grade, position, block_number, block_time, expected_loss_ppt, seq, word";

/// ppt in a part per million.
const PPT_PER_PPM: u64 = 1_000_000;

impl ReadModel {
    /// Whether a rating's rationale is to be written: it was never found before.
    pub fn wants(&self, rating: &Rating) -> bool {
        let hash = &rating.assessment_hash;
        rating.head.position > self.written_to
            && !self.assessments.contains(hash)
            && (rating.report.is_some() || self.last_assessment.get(&rating.entity) != Some(hash))
    }

    /// Writes down a rating, if it differs from the entity's last or is to be reported, with its
    /// rationale, if [`Self::wants`] it.
    pub fn rated(&mut self, rating: &Rating, rationale: Option<&Value>) {
        let hash = rating.assessment_hash;
        let is_same = self.last_assessment.insert(rating.entity, hash) == Some(hash);
        if is_same && rating.report.is_none() {
            return;
        }
        let id = self.entity_id(rating.entity, rating.at, rating.head);
        self.assessments.insert(hash);
        if rating.head.position <= self.written_to {
            return;
        }
        if let Some(rationale) = rationale {
            self.write_assessment(rating, rationale);
            self.write_lrt(rating);
        }
        self.tables
            .rating_points
            .integer(id)
            .integer(rating.head.position)
            .integer(rating.at.number)
            .integer(rating.at.timestamp)
            .bytes(hash.as_slice())
            .optional(rating.report, |row, word| row.integer(word.fields().seq))
            .optional(rating.report, |row, word| row.bytes(&word.pack().to_be_bytes::<32>()))
            .end();
    }

    fn write_assessment(&mut self, rating: &Rating, rationale: &Value) {
        let row = self.tables.assessments.bytes(rating.assessment_hash.as_slice());
        match &rating.verdict {
            Err(reason) => {
                row.null().text(&not_rated_sentence(*reason));
                for _ in 0..7 {
                    row.null();
                }
                let coverage = match reason {
                    NotRated::CoverageTooLow { coverage, .. } => coverage.0 / PPT_PER_PPM,
                    NotRated::NothingKnown
                    | NotRated::NoOperatorSet
                    | NotRated::PriceUnknown { .. } => 0,
                };
                row.integer(coverage).integer(0).integer(0).boolean(false);
                row.text("[]");
            }
            Ok(rated) => {
                row.integer(rated.grade.number())
                    .null()
                    .integer(rated.score.0)
                    .integer(rated.profile.expected_loss().0)
                    .integer(rated.uncertainty.low.0)
                    .integer(rated.uncertainty.high.0)
                    .integer(rated.uncertainty.low_grade.number())
                    .integer(rated.uncertainty.high_grade.number())
                    .integer(rated.conservative_grade.number())
                    .integer(rated.uncertainty.coverage.0 / PPT_PER_PPM)
                    .integer(rated.uncertainty.data_sufficiency.0 / PPT_PER_PPM)
                    .integer(outlook_number(rated.outlook))
                    .boolean(!rated.watch.is_empty())
                    .text(&attribution(rated, rating.lrt.as_deref()).to_string());
            }
        }
        let rated = rating.verdict.as_ref().ok().filter(|_| rating.lrt.is_none());
        let blocks =
            rated.and_then(|rated| borsh::to_vec(&(rating.methodology, &rated.profile)).ok());
        row.text(&rationale.to_string()).optional(blocks, |row, blocks| row.bytes(&blocks)).end();
    }

    /// Writes down a rating action that was appended at a storage position.
    pub fn acted(&mut self, rating: &Rating, storage_position: u64, revision: u32) {
        let (Some(kind), Some(word)) = (rating.action, rating.report) else { return };
        let id = self.entity_id(rating.entity, rating.at, rating.head);
        let rated = rating.verdict.as_ref().ok();
        self.tables
            .rating_actions
            .integer(storage_position)
            .integer(revision)
            .integer(id)
            .integer(kind as u8)
            .optional(rating.from_grade, |row, grade: Grade| row.integer(grade.number()))
            .optional(rated, |row, rated| row.integer(rated.grade.number()))
            .integer(rating.head.position)
            .integer(rating.at.number)
            .integer(rating.at.timestamp)
            .integer(rated.map_or(0, |rated| rated.profile.expected_loss().0))
            .integer(word.fields().seq)
            .bytes(&word.pack().to_be_bytes::<32>())
            .end();
    }
}

const fn outlook_number(outlook: Outlook) -> i8 {
    match outlook {
        Outlook::Negative => -1,
        Outlook::Stable => 0,
        Outlook::Positive => 1,
    }
}

/// What figures rest on: the log, a prior, or an attestation, by its level.
fn provenance(of: Provenance) -> Value {
    match of {
        Provenance::Attested(level) => json!(level),
        of => json!(of),
    }
}

/// The lines of the attribution; their points sum to the score.
fn attribution(rated: &Rated, lrt: Option<&LrtOpinion>) -> Value {
    let reserve = rated.attribution.reserve.as_ref();
    let first_loss = reserve.and(lrt.and_then(|lrt| lrt.first_loss.as_ref()));
    let profile = first_loss.map_or(&rated.profile, |first_loss| &first_loss.gross);
    let blocks = profile.blocks().iter().zip(&rated.attribution.blocks);
    let mut lines: Vec<Value> = blocks
        .map(|(block, line)| {
            json!({
                "block": block.id,
                "class": block.class.name(),
                "hazardPpt": block.hazard.0.to_string(),
                "severityPpt": block.severity.0.to_string(),
                "exposurePpt": block.exposure.0.to_string(),
                "expectedLossPpt": block.expected_loss.0.to_string(),
                "points": line.points,
                "provenance": provenance(block.provenance),
            })
        })
        .collect();
    lines.extend(reserve.map(|reserve| {
        json!({
            "block": "reserve",
            "class": "reserve",
            "expectedLossPpt": format!("-{}", reserve.expected_loss.0),
            "points": -i32::from(reserve.points),
            "provenance": provenance(reserve.provenance),
        })
    }));
    lines
        .extend(rated.attribution.caps.iter().map(|cap| extra_line(cap.reason.name(), cap.points)));
    Value::Array(lines)
}

fn extra_line(name: &str, points: u16) -> Value {
    json!({ "block": name, "class": "cap", "expectedLossPpt": "0", "points": points })
}
