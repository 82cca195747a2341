//! What was decided, by canonical position: the batches that every node with the same log makes.
//!
//! All ratings decided at one position, in the order of their keys, a hundred a batch. Nothing of
//! this depends on what this node has brought where.

use alloy::primitives::Address;
use sqlx::{PgConnection, PgPool};

use super::row::{self, to_i64};
use super::{NEWEST, OutboxError};
use crate::batch::{BATCH_LEN_MAX, Batch};
use crate::report::{EntityKey, Report};

/// A report with what is known against it.
pub(super) struct Decided {
    pub(super) entity: Vec<u8>,
    pub(super) seq: i64,
    /// The report, or what is wrong with its word: the same on every node.
    pub(super) report: Result<Report, String>,
    /// Whether this node has refused to sign it.
    pub(super) is_refused: bool,
}

/// What was decided at a position, a batch each.
pub(super) async fn decided_at(
    connection: &mut PgConnection,
    position: i64,
) -> Result<Vec<Vec<Decided>>, OutboxError> {
    // After a restatement a position may have two words of an entity; the newer one counts.
    let rows: Vec<(Vec<u8>, i64, Vec<u8>, bool)> = sqlx::query_as(
        "SELECT DISTINCT ON (r.entity_key) r.entity_key, r.seq, r.word, EXISTS (
             SELECT FROM outbox.refusals f WHERE f.entity_key = r.entity_key AND f.seq = r.seq)
         FROM outbox.reports r WHERE r.canonical_position = $1
         ORDER BY r.entity_key, r.seq DESC",
    )
    .bind(position)
    .fetch_all(connection)
    .await?;
    let mut batches: Vec<Vec<Decided>> = Vec::new();
    for (place, (entity, seq, word, is_refused)) in rows.into_iter().enumerate() {
        if place % BATCH_LEN_MAX == 0 {
            batches.push(Vec::new());
        }
        let report = row::report(&entity, seq, &word);
        if let Some(batch) = batches.last_mut() {
            batch.push(Decided { entity, seq, report, is_refused });
        }
    }
    Ok(batches)
}

/// The batches of a position, as every node with the same log makes them.
pub async fn batches_at(pool: &PgPool, position: u64) -> Result<Vec<Batch>, OutboxError> {
    let mut connection = pool.acquire().await?;
    let decided = decided_at(&mut connection, to_i64("canonical_position", position)?).await?;
    let batches = decided.into_iter().filter_map(|members| {
        let reports = members.into_iter().filter_map(|member| member.report.ok()).collect();
        Batch::new(reports).ok()
    });
    Ok(batches.collect())
}

/// Positions at which the newest rating of some entity was decided, oldest first.
pub async fn live_positions(pool: &PgPool, count_max: u16) -> Result<Vec<u64>, OutboxError> {
    let query = format!(
        "SELECT * FROM ({NEWEST} SELECT DISTINCT canonical_position FROM newest
             ORDER BY 1 DESC LIMIT $1) AS newest ORDER BY 1"
    );
    let rows: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(i64::from(count_max))
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(|row| row::to_u64("reports", 0, "canonical_position", row)).collect()
}

/// Positions before `position` whose ratings are some entity's newest and not yet promised by
/// this signer, oldest first. A key that signs a later word of an entity may never sign an
/// earlier one, so these come first.
pub(crate) async fn unpromised_before(
    pool: &PgPool,
    signer: Address,
    position: u64,
) -> Result<Vec<u64>, OutboxError> {
    let query = format!(
        "{NEWEST} SELECT DISTINCT n.canonical_position FROM newest n
         WHERE n.canonical_position < $2 AND NOT EXISTS (
             SELECT FROM outbox.signatures s
             WHERE s.signer = $1 AND s.entity_key = n.entity_key AND s.seq >= n.seq)
         ORDER BY 1"
    );
    let rows: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(signer.as_slice())
        .bind(to_i64("canonical_position", position)?)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(|row| row::to_u64("reports", 0, "canonical_position", row)).collect()
}

/// The position at which a report was decided.
pub(crate) async fn position_of(
    pool: &PgPool,
    entity: EntityKey,
    seq: u32,
) -> Result<u64, OutboxError> {
    let row: i64 = sqlx::query_scalar(
        "SELECT canonical_position FROM outbox.reports WHERE entity_key = $1 AND seq = $2",
    )
    .bind(entity.0.as_slice())
    .bind(i64::from(seq))
    .fetch_one(pool)
    .await?;
    row::to_u64("reports", 0, "canonical_position", row)
}
