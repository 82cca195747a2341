//! Which ratings stand in which oracle contract: projected from what the publisher wrote down.

use sqlx::PgConnection;

use super::feed;
use crate::event_store::{AppendError, EventStore};

/// Brings `read_model.publications` up to date with the outbox.
///
/// Takes the append lock, because the feed has one writer at a time.
pub async fn project(store: &EventStore) -> Result<(), AppendError> {
    let mut appender = store.begin_append().await?;
    feed::append(appender.connection(), CHANGES, LINES).await?;
    appender.commit().await?;
    Ok(())
}

/// Adds a line for each final publication that has none yet.
pub(crate) async fn tell_recorded(connection: &mut PgConnection) -> sqlx::Result<()> {
    feed::append(connection, RECORDED, LINES).await
}

const RECORDED: &str = "WITH written AS (
    SELECT oracle_chain_id, oracle, entity_key, seq, status FROM read_model.publications p
     WHERE p.is_recorded AND NOT EXISTS (SELECT FROM read_model.feed f
           WHERE f.kind = 3 AND f.status = 'final' AND f.subject = p.oracle_chain_id || ':0x'
             || encode(p.oracle, 'hex') || ':0x' || encode(p.entity_key, 'hex') || ':' || p.seq)
), gone AS (SELECT * FROM written WHERE false)";

/// What changed since. A batch that was replaced has several transactions; the newest is named.
const CHANGES: &str = "WITH landed AS (
    SELECT o.chain_id, o.address, m.entity_key, m.seq, r.word,
           t.hashes[cardinality(t.hashes)] AS tx_hash,
           trim_array(t.hashes, 1) AS replaced_tx_hashes, b.block_number, b.phase AS status
      FROM outbox.batches b
      JOIN outbox.oracles o ON o.id = b.oracle_id
      JOIN outbox.batch_members m ON m.batch_id = b.id
      JOIN outbox.reports r USING (entity_key, seq)
      JOIN LATERAL (SELECT array_agg(tx_hash ORDER BY attempt) AS hashes
                      FROM outbox.tx_attempts t
                     WHERE t.batch_id = b.id AND t.intent = 'publish') t ON t.hashes IS NOT NULL
     WHERE b.landing = 'stored'
       AND (b.phase = 'included' OR b.phase = 'final' AND m.outcome = 'rated')
), written AS (
    INSERT INTO read_model.publications AS p (oracle_chain_id, oracle, entity_key, seq, word,
           tx_hash, replaced_tx_hashes, block_number, status)
    SELECT * FROM landed
    ON CONFLICT (oracle_chain_id, oracle, entity_key, seq) DO UPDATE
       SET tx_hash = excluded.tx_hash, replaced_tx_hashes = excluded.replaced_tx_hashes,
           block_number = excluded.block_number, status = excluded.status
     WHERE NOT p.is_recorded AND (p.tx_hash, p.block_number, p.status)
           IS DISTINCT FROM (excluded.tx_hash, excluded.block_number, excluded.status)
    RETURNING oracle_chain_id, oracle, entity_key, seq, status
), gone AS (
    UPDATE read_model.publications p SET status = 'reorged'
     WHERE p.status = 'included' AND NOT EXISTS (SELECT FROM landed l
           WHERE l.chain_id = p.oracle_chain_id AND l.address = p.oracle
             AND l.entity_key = p.entity_key AND l.seq = p.seq)
    RETURNING oracle_chain_id, oracle, entity_key, seq, status
)";

const LINES: &str = "SELECT 3 AS kind, oracle_chain_id || ':0x' || encode(oracle, 'hex') || ':0x'
        || encode(entity_key, 'hex') || ':' || seq AS subject, status, 0 AS place, 0 AS nth
    FROM (SELECT * FROM written UNION ALL SELECT * FROM gone) c";
