//! What subscribers are told: one line each, in the order in which it was committed.
//!
//! Lines are written in the transaction that makes what they name visible, under the log's append
//! lock, so that whoever has read up to a place has missed nothing before it.

use sqlx::PgConnection;

use crate::event_store::{AppendError, EventStore};

/// What Postgres calls the feed's news: see `migrations/0002_read_model.sql`.
pub const CHANNEL: &str = "assay_feed";

/// Adds a line for each rating action that has none yet, and for each slash that is seen, becomes
/// final or is taken back. A trigger tells who listens.
pub async fn write(connection: &mut PgConnection) -> sqlx::Result<()> {
    append(
        connection,
        "",
        "SELECT 1 AS kind, storage_position::text AS subject, '' AS status,
                storage_position AS place, 0 AS nth
           FROM read_model.rating_actions WHERE storage_position > coalesce((
                SELECT subject::bigint FROM read_model.feed WHERE kind = 1
                ORDER BY position DESC LIMIT 1), 0)
         UNION ALL
         SELECT 2, subject, status, place, nth FROM (
             SELECT chain_id || ':0x' || encode(block_hash, 'hex') || ':' || log_index AS subject,
                    CASE WHEN is_provisional THEN 'provisional' ELSE 'final' END AS status,
                    CASE WHEN is_provisional THEN block_number ELSE 0 END AS place,
                    coalesce(position, log_index) AS nth
               FROM read_model.slashing_events
             UNION ALL
             SELECT DISTINCT subject, 'reverted', -1, 0 FROM read_model.feed f
              WHERE kind = 2 AND status = 'provisional' AND NOT EXISTS (
                    SELECT FROM read_model.slashing_events s WHERE f.subject =
                    s.chain_id || ':0x' || encode(s.block_hash, 'hex') || ':' || s.log_index)
         ) now WHERE status IS DISTINCT FROM (
             SELECT told.status FROM read_model.feed told
              WHERE told.kind = 2 AND told.subject = now.subject
              ORDER BY told.position DESC LIMIT 1)",
    )
    .await
}

/// Adds a line for each rating in an oracle contract that was not said again for 26 hours, the time
/// after which `assay oracle status` calls it stale.
pub async fn tell_stale(store: &EventStore) -> Result<(), AppendError> {
    let mut appender = store.begin_append().await?;
    append(appender.connection(), "", STALE).await?;
    appender.commit().await?;
    Ok(())
}

const STALE: &str = "SELECT 4 AS kind, subject, '' AS status, 0 AS place, seq AS nth
    FROM (SELECT DISTINCT ON (oracle_chain_id, oracle, entity_key) recorded_at, seq,
                 oracle_chain_id || ':0x' || encode(oracle, 'hex') || ':0x'
                 || encode(entity_key, 'hex') || ':' || seq AS subject
            FROM read_model.publications WHERE status <> 'reorged'
           ORDER BY oracle_chain_id, oracle, entity_key, seq DESC) newest
   WHERE recorded_at < now() - interval '26 hours' AND NOT EXISTS (
         SELECT FROM read_model.feed f WHERE f.kind = 4 AND f.subject = newest.subject)";

/// Appends the lines of a query of (kind, subject, status, place, nth), ordered by the last two.
/// `with` is a WITH clause that the query may refer to.
pub(super) async fn append(
    connection: &mut PgConnection,
    with: &'static str,
    lines: &'static str,
) -> sqlx::Result<()> {
    let statement = format!(
        "{with} INSERT INTO read_model.feed (position, kind, subject, status)
         SELECT (SELECT coalesce(max(position), 0) FROM read_model.feed)
                + row_number() OVER (ORDER BY place, nth, subject), kind, subject, status
           FROM ({lines}) new"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}
