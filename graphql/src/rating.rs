//! Ratings: the grade, the working behind it, and its history.

use std::collections::BTreeMap;

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::attribution::{LossBlock, Rationale, loss_blocks, rationale};
use crate::distribution::{LossDistribution, of_blocks};
use crate::entity::RatedEntity;
use crate::error::ApiError;
use crate::id::NodeId;
use crate::page::{Column, List, Order, Source};
use crate::period::Period;
use crate::publication::{Publication, PublicationsOf};
use crate::scalar::{BigInt, Bytes32, Grade, LogPosition};
use crate::scope::{Block, Scope, block_at, push_micros};
use crate::session::{Batch, Reader, Session};

/// Ratings whose share of own evidence is below this carry "(p)" (methodology §2.8), in ppm.
const PROVISIONAL_BELOW_PPM: i32 = 100_000;

/// Columns of a rating, in the order of [`RatingRow`]. `r` is `read_model.ratings`.
const COLUMNS: &str = "r.entity_id, r.position, r.block_number, r.block_time, r.grade,
    r.not_rated_reason, r.score, r.expected_loss_ppt, r.low_ppt, r.high_ppt, r.best_grade,
    r.worst_grade, r.conservative_grade, r.coverage_ppm, r.sufficiency_ppm, r.outlook,
    r.is_watch_negative, r.attribution::text AS attribution, r.rationale::text AS rationale,
    r.assessment_hash, r.seq, r.word";

/// The same columns where `a` is what was said and `r` the assessment it was said of, if that
/// is still the same.
const COLUMNS_AS_SAID: &str = "a.entity_id, a.position, a.block_number, a.block_time,
    a.to_grade AS grade, CASE WHEN a.to_grade IS NULL THEN
        coalesce(r.not_rated_reason, 'withdrawn') END AS not_rated_reason,
    r.score, a.expected_loss_ppt, r.low_ppt, r.high_ppt, r.best_grade,
    r.worst_grade, r.conservative_grade, r.coverage_ppm, r.sufficiency_ppm, r.outlook,
    r.is_watch_negative, r.attribution::text AS attribution, r.rationale::text AS rationale,
    r.assessment_hash, a.seq, a.word";

/// Where the rating looks set to go within 90 days if nothing new happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum Outlook {
    /// To a better grade.
    Positive,
    /// Nowhere.
    Stable,
    /// To a worse grade.
    Negative,
}

#[derive(Debug, Clone)]
pub(crate) struct Rating {
    row: RatingRow,
    scope: Scope,
}

/// The 90 % interval of the expected loss and the grades at its ends.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct Interval {
    /// Lower end of the expected loss, 1e-12 a year.
    pub low_ppt: BigInt,
    /// Upper end of the expected loss, 1e-12 a year.
    pub high_ppt: BigInt,
    /// The grade at the lower end.
    pub best_grade: Grade,
    /// The grade at the upper end.
    pub worst_grade: Grade,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct RatingRow {
    entity_id: i64,
    position: i64,
    block_number: i64,
    block_time: i64,
    grade: Option<i16>,
    not_rated_reason: Option<String>,
    score: Option<i32>,
    expected_loss_ppt: Option<i64>,
    low_ppt: Option<i64>,
    high_ppt: Option<i64>,
    best_grade: Option<i16>,
    worst_grade: Option<i16>,
    conservative_grade: Option<i16>,
    coverage_ppm: Option<i32>,
    sufficiency_ppm: Option<i32>,
    outlook: Option<i16>,
    is_watch_negative: Option<bool>,
    attribution: Option<String>,
    rationale: Option<String>,
    assessment_hash: Option<Vec<u8>>,
    seq: Option<i64>,
    word: Option<Vec<u8>>,
}

impl Rating {
    pub(crate) fn new(row: RatingRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }

    /// The rating in force of one entity.
    pub(crate) async fn latest(
        ctx: &Context<'_>,
        scope: &Scope,
        entity_id: i64,
    ) -> Result<Option<Self>, ApiError> {
        let session = Session::of(ctx)?;
        let row = session.load::<LatestRating>(scope.clone(), entity_id).await?;
        Ok(row.map(|row| Self::new(row, scope)))
    }

    /// The rating that was in force of one entity this many days before the scope's own time.
    pub(crate) async fn before(
        ctx: &Context<'_>,
        scope: &Scope,
        days: i32,
        entity_id: i64,
    ) -> Result<Option<Self>, ApiError> {
        let group = (scope.clone(), days);
        let row = Session::of(ctx)?.load::<RatingBefore>(group, entity_id).await?;
        Ok(row.map(|row| Self::new(row, scope)))
    }

    /// The assessment of one entity at one place of the log, `back` actions before another: each
    /// step back is a statement of its own, so that their number never depends on who is faster.
    pub(crate) async fn at(
        ctx: &Context<'_>,
        scope: &Scope,
        back: u8,
        place: RatingPlace,
    ) -> Result<Option<Self>, ApiError> {
        let row = Session::of(ctx)?.load::<RatingAt>(back, place).await?;
        Ok(row.map(|row| Self::new(row, scope)))
    }

    /// The assessment's hash, if its working is known.
    pub(crate) fn hash(&self) -> Option<&[u8]> {
        self.row.assessment_hash.as_deref()
    }

    /// Whether this assessment is the one that `word` says.
    pub(crate) fn has_word(&self, word: &[u8]) -> bool {
        self.row.word.as_deref() == Some(word)
    }

    fn is_below_evidence(&self) -> Option<bool> {
        self.row.sufficiency_ppm.map(|ppm| ppm < PROVISIONAL_BELOW_PPM)
    }

    fn known_grade(&self) -> Result<Option<Grade>, ApiError> {
        self.row.grade.map(Grade::from_number).transpose()
    }
}

/// A rating: what one unit of exposure to an entity is expected to lose within a year, as
/// assessed at one block.
///
/// Fields that are null only under `asOf: { recordedAt }` belong to the working of a rating that
/// has been made anew since because older facts arrived: what was said is kept, how it was
/// worked out then is not.
#[Object]
impl Rating {
    /// The global id.
    pub(crate) async fn id(&self) -> ID {
        let (position, block) = (self.row.position, self.row.block_number);
        NodeId::Rating { entity: self.row.entity_id, position, block }.into()
    }

    /// What is rated.
    async fn entity(&self, ctx: &Context<'_>) -> Result<Option<RatedEntity>, ApiError> {
        RatedEntity::by_row_id(ctx, &self.scope, self.row.entity_id).await
    }

    /// The grade. Null when the entity is not rated, and then `notRatedReason` says why.
    async fn grade(&self) -> Result<Option<Grade>, ApiError> {
        self.known_grade()
    }

    /// The grade as people read it: `BBB-`, `BBB- (p)` when it is provisional, or `NR`.
    async fn label(&self) -> Result<String, ApiError> {
        Ok(match (self.known_grade()?, self.is_below_evidence()) {
            (None, _) => "NR".to_owned(),
            (Some(grade), Some(true)) => format!("{} (p)", grade.label()),
            (Some(grade), _) => grade.label().to_owned(),
        })
    }

    /// Why there is no grade. Null when there is one.
    async fn not_rated_reason(&self) -> Option<&str> {
        self.row.not_rated_reason.as_deref()
    }

    /// Milli-notches, 0 (AAA) to 18000 (CCC-), 19000 (D): lower is safer. Null when not rated.
    async fn score(&self) -> Option<i32> {
        self.row.score.or_else(|| self.row.grade.and(word_score(self.row.word.as_deref())))
    }

    /// Expected loss within a year, 1e-12 of the exposure. Null when not rated.
    async fn expected_loss_ppt(&self) -> Option<BigInt> {
        self.row.expected_loss_ppt.filter(|_| self.row.grade.is_some()).map(big)
    }

    /// The 90 % interval. Null when not rated, or under `recordedAt`.
    async fn interval(&self) -> Result<Option<Interval>, ApiError> {
        let row = &self.row;
        let (Some(low), Some(high), Some(best), Some(worst)) =
            (row.low_ppt, row.high_ppt, row.best_grade, row.worst_grade)
        else {
            return Ok(None);
        };
        Ok(Some(Interval {
            low_ppt: big(low),
            high_ppt: big(high),
            best_grade: Grade::from_number(best)?,
            worst_grade: Grade::from_number(worst)?,
        }))
    }

    /// The worse of the grade and the grade at the 80th percentile of the expected loss: the one
    /// for lenders. Null when not rated, or under `recordedAt`.
    async fn conservative_grade(&self) -> Result<Option<Grade>, ApiError> {
        self.row.conservative_grade.map(Grade::from_number).transpose()
    }

    /// Share of the expected loss that rests on the log or on attestations, not on priors, 1e-6.
    /// Null only under `recordedAt`.
    async fn coverage_ppm(&self) -> Option<i32> {
        self.row.coverage_ppm
    }

    /// Weight of the entity's own record against the prior, 1e-6. Null only under `recordedAt`.
    async fn sufficiency_ppm(&self) -> Option<i32> {
        self.row.sufficiency_ppm
    }

    /// Whether the own record weighs less than a tenth: "(p)". Null only under `recordedAt`.
    async fn is_provisional(&self) -> Option<bool> {
        self.is_below_evidence()
    }

    /// Null only under `recordedAt`.
    async fn outlook(&self) -> Result<Option<Outlook>, ApiError> {
        self.row.outlook.map(outlook).transpose()
    }

    /// Whether a trigger has opened a watch that may end in a downgrade. Null only under
    /// `recordedAt`.
    async fn is_watch_negative(&self) -> Option<bool> {
        self.row.is_watch_negative
    }

    /// The loss blocks and caps; their points sum to `score`. Null only under `recordedAt`.
    async fn attribution(&self) -> Result<Option<Vec<LossBlock>>, ApiError> {
        self.row.attribution.as_deref().map(loss_blocks).transpose()
    }

    /// Why, in sentences. Null only under `recordedAt`.
    async fn rationale(&self) -> Result<Option<Rationale>, ApiError> {
        self.row.rationale.as_deref().map(rationale).transpose()
    }

    /// The exact distribution of the loss within a year. Null when not rated, or under
    /// `recordedAt`.
    async fn loss_distribution(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<LossDistribution>, ApiError> {
        let Some(hash) = self.hash() else { return Ok(None) };
        let found = Session::of(ctx)?.load::<StoredLosses>((), hash.to_vec()).await?;
        match found {
            Some(StoredLoss { distribution: Some(text), .. }) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|_| ApiError::Corrupt("the shape of a loss distribution")),
            Some(StoredLoss { blocks: Some(blocks), .. }) => of_blocks(blocks).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The canonical position assessed.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// The block assessed: the end of an epoch, or a block with a trigger.
    async fn block(&self, ctx: &Context<'_>) -> Result<Option<Block>, ApiError> {
        let entity = RatedEntity::by_row_id(ctx, &self.scope, self.row.entity_id).await?;
        Ok(entity
            .map(|entity| Block::new(entity.chain(), self.row.block_number, self.row.block_time)))
    }

    /// Hash of the methodology it was made with. Null only under `recordedAt`.
    async fn methodology_hash(&self, ctx: &Context<'_>) -> Result<Option<Bytes32>, ApiError> {
        if self.row.assessment_hash.is_none() {
            return Ok(None);
        }
        let pin = Session::of(ctx)?.reader().await.pin().await?;
        Ok(pin.methodology_hash)
    }

    /// Hash of everything that went into the assessment and came out of it. Null only under
    /// `recordedAt`.
    async fn assessment_hash(&self) -> Result<Option<Bytes32>, ApiError> {
        self.row.assessment_hash.as_deref().map(Bytes32::from_row).transpose()
    }

    /// The entity's counter in the oracle contract. Null when this assessment was neither an
    /// action nor a heartbeat, and so was not to be published.
    async fn seq(&self) -> Option<BigInt> {
        self.row.seq.map(big)
    }

    /// The word to sign, its lag zero. Null when `seq` is.
    async fn word(&self) -> Result<Option<Bytes32>, ApiError> {
        self.row.word.as_deref().map(Bytes32::from_row).transpose()
    }

    /// Where this rating was published. Empty when `seq` is null, or nowhere yet.
    async fn publications(&self, ctx: &Context<'_>) -> Result<Vec<Publication>, ApiError> {
        let session = Session::of(ctx)?;
        session.used_live();
        let Some(seq) = self.row.seq else { return Ok(Vec::new()) };
        let key = (self.row.entity_id, seq);
        let found = session.load::<PublicationsOf>((), key).await?;
        let rows = found.unwrap_or_default().into_iter();
        Ok(rows.map(|row| Publication::new(row, &self.scope)).collect())
    }
}

pub(crate) fn big(value: i64) -> BigInt {
    BigInt(value.to_string())
}

fn outlook(number: i16) -> Result<Outlook, ApiError> {
    match number {
        -1 => Ok(Outlook::Negative),
        0 => Ok(Outlook::Stable),
        1 => Ok(Outlook::Positive),
        _ => Err(ApiError::Corrupt("an outlook outside -1 to 1")),
    }
}

/// The score inside an oracle word: bytes 22 and 23 of
/// `asOf u40 | lag u24 | logPos u48 | seq u32 | model u16 | flags u8 | grade u8 | score u16 | …`.
fn word_score(word: Option<&[u8]>) -> Option<i32> {
    let word = word.filter(|word| word.len() == 32)?;
    Some(i32::from(u16::from_be_bytes([*word.get(22)?, *word.get(23)?])))
}

/// Pushes the conditions that keep a rating `r` of a chain within a scope.
fn push_within(query: &mut QueryBuilder<Postgres>, scope: &Scope, chain: &str) {
    query.push(" AND r.position <= ").push_bind(scope.position);
    if let Some((of_chain, number)) = scope.block {
        query.push(format_args!(" AND ({chain} <> ")).push_bind(of_chain);
        query.push(" OR r.block_number <= ").push_bind(number).push(")");
    }
    if let Some(time) = scope.time {
        query.push(" AND r.block_time <= ").push_bind(time);
    }
}

/// Pushes a LATERAL subquery with the rating in force of the entity `e`.
pub(crate) fn push_latest(query: &mut QueryBuilder<Postgres>, scope: &Scope) {
    match scope.recorded_at {
        None => {
            query.push(format_args!("(SELECT {COLUMNS} FROM read_model.ratings r "));
            query.push("WHERE r.entity_id = e.id");
            push_within(query, scope, "e.chain_id");
            query.push(" ORDER BY r.position DESC, r.block_number DESC LIMIT 1)");
        }
        Some(recorded_at) => {
            query.push(format_args!("(SELECT {COLUMNS_AS_SAID} FROM read_model.rating_actions a "));
            query.push(
                "LEFT JOIN read_model.ratings r ON r.entity_id = a.entity_id
                    AND r.position = a.position AND r.block_number = a.block_number
                    AND r.word = a.word
                  WHERE a.entity_id = e.id AND a.recorded_at <= ",
            );
            push_micros(query, recorded_at);
            query.push(" ORDER BY a.storage_position DESC LIMIT 1)");
        }
    }
}

/// What the whole distribution of an assessment follows from.
#[derive(Debug, Clone, FromRow)]
struct StoredLoss {
    hash: Vec<u8>,
    blocks: Option<Vec<u8>>,
    /// Of a token: the distribution itself.
    distribution: Option<String>,
}

struct StoredLosses;

impl Batch for StoredLosses {
    type Group = ();
    type Key = Vec<u8>;
    type Value = StoredLoss;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[Vec<u8>],
    ) -> Result<BTreeMap<Vec<u8>, StoredLoss>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(
            "SELECT a.hash, a.blocks, l.detail->>'distribution' AS distribution
               FROM read_model.assessments a LEFT JOIN read_model.lrt_assessments l USING (hash)
              WHERE a.hash = ANY(",
        );
        query.push_bind(keys.to_vec()).push(")");
        let rows: Vec<StoredLoss> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| (row.hash.clone(), row)).collect())
    }
}

struct LatestRating;

impl Batch for LatestRating {
    type Group = Scope;
    type Key = i64;
    type Value = RatingRow;

    async fn fetch(
        reader: &mut Reader,
        scope: &Scope,
        keys: &[i64],
    ) -> Result<BTreeMap<i64, RatingRow>, ApiError> {
        let mut query = QueryBuilder::new("SELECT l.* FROM unnest(");
        query.push_bind(keys.to_vec());
        query.push(") AS k(id) JOIN read_model.entities e ON e.id = k.id CROSS JOIN LATERAL ");
        push_latest(&mut query, scope);
        query.push(" l");
        let rows: Vec<RatingRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| (row.entity_id, row)).collect())
    }
}

/// One step with two statements: in two steps, rows that come late would make a third.
struct RatingBefore;

impl Batch for RatingBefore {
    type Group = (Scope, i32);
    type Key = i64;
    type Value = RatingRow;

    async fn fetch(
        reader: &mut Reader,
        (scope, days): &(Scope, i32),
        keys: &[i64],
    ) -> Result<BTreeMap<i64, RatingRow>, ApiError> {
        let seconds = i64::from(*days) * 86_400;
        let mut then = scope.clone();
        if let Some(recorded_at) = scope.recorded_at {
            then.recorded_at = Some(recorded_at.saturating_sub(seconds * 1_000_000));
        } else {
            let now = match scope.time {
                Some(time) => time,
                None => match block_at(reader, scope.position).await? {
                    Some(block) => block.time.seconds(),
                    None => return Ok(BTreeMap::new()),
                },
            };
            then.time = Some(now.saturating_sub(seconds));
        }
        LatestRating::fetch(reader, &then, keys).await
    }
}

/// An assessment's place: entity, position, block.
pub(crate) type RatingPlace = (i64, i64, i64);

struct RatingAt;

impl Batch for RatingAt {
    type Group = u8;
    type Key = RatingPlace;
    type Value = RatingRow;

    async fn fetch(
        reader: &mut Reader,
        _: &u8,
        keys: &[RatingPlace],
    ) -> Result<BTreeMap<RatingPlace, RatingRow>, ApiError> {
        let mut query = QueryBuilder::new(format!("SELECT {COLUMNS} FROM unnest("));
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.2).collect::<Vec<_>>());
        query.push(
            ") AS k(entity_id, position, block_number)
             JOIN read_model.ratings r USING (entity_id, position, block_number)",
        );
        let rows: Vec<RatingRow> = reader.rows(query).await?;
        let place = |row: &RatingRow| (row.entity_id, row.position, row.block_number);
        Ok(rows.into_iter().map(|row| (place(&row), row)).collect())
    }
}

/// Every assessment of an entity in a period, the newest first.
pub(crate) struct History;

impl List for History {
    type Filter = Period;
    type Row = RatingRow;

    fn order(_: &Period) -> Order {
        Order {
            name: "history",
            columns: &[Column::Integer("position"), Column::Integer("block_number")],
            is_descending: true,
        }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, Period>) {
        query.push(format_args!("SELECT {COLUMNS} FROM read_model.ratings r "));
        query.push("WHERE r.entity_id = p.entity_id");
        push_within(query, source.scope, "p.chain_id");
        source.filter.push(query, "r");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_found_inside_the_word() {
        let mut word = [0_u8; 32];
        word[22..24].copy_from_slice(&10_737_u16.to_be_bytes());
        assert_eq!(word_score(Some(&word)), Some(10_737));
        assert_eq!(word_score(Some(&word[..31])), None);
    }
}
