//! The handle on the store, and the small questions asked of it.

use std::collections::BTreeSet;

use alloy::primitives::B256;
use assay_domain::{BlockRef, ChainId, Fact};
use sqlx::{PgConnection, PgPool};

use super::appender::{Appender, Head, last_rating_position};
use super::batch::{Appended, Batch, Header};
use super::codec::STORAGE_GENESIS;
use super::error::AppendError;
use super::ingest;
use super::read::ReadError;

/// The kinds of events that make a contract known: `PodDeployed` and `SymbioticEntityAdded`, and
/// those of `Event::empowered`. They have an index of their own.
const ANNOUNCEMENTS: &str = "kind IN (35, 40, 41, 42, 70, 95, 130)";

/// The event store in a Postgres database.
#[derive(Debug, Clone)]
pub struct EventStore {
    pub(super) pool: PgPool,
}

/// Where ingestion of a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// First block not yet ingested.
    pub next_block: u64,
    /// The newest final block.
    pub finalized: Option<BlockRef>,
}

impl EventStore {
    /// The store behind a pool of the writer's role.
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The pool behind it, for the tables that are written beside the events.
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Appends one step of ingestion: all of it or nothing. What is stored already is skipped, so
    /// a batch whose fate is unknown may be offered again.
    pub async fn append(&self, batch: &Batch) -> Result<Appended, AppendError> {
        ingest::check(batch)?;
        let mut appender = self.begin_append().await?;
        let (appended, skipped) = ingest::apply(&mut appender, batch).await?;
        let head = appender.commit().await?;
        Ok(Appended { appended, skipped, position: head.position, hash: head.hash })
    }

    /// Appends events of Assay's own. With `expected`, only if the last rating action or
    /// restatement is at that position (0: there is none).
    pub async fn append_own(
        &self,
        facts: &[Fact],
        expected: Option<u64>,
    ) -> Result<Head, AppendError> {
        let mut appender = self.begin_append().await?;
        if let Some(expected) = expected {
            appender.expect_last_rating(expected).await?;
        }
        for fact in facts {
            appender.push(fact).await?;
        }
        appender.commit().await
    }

    /// Takes the append lock and a transaction in which further rows can be written.
    pub async fn begin_append(&self) -> Result<Appender, AppendError> {
        Appender::begin(&self.pool).await
    }

    /// The last position and the hash there.
    pub async fn head(&self) -> Result<Head, AppendError> {
        read_head(&mut *self.pool.acquire().await?).await
    }

    /// Storage position of the last rating action or restatement, 0 if there is none.
    pub async fn last_rating_position(&self) -> Result<u64, AppendError> {
        Ok(last_rating_position(&mut *self.pool.acquire().await?).await?)
    }

    /// Where ingestion of a chain stands; `None` before its first block.
    pub async fn cursor(&self, chain_id: ChainId) -> Result<Option<Cursor>, AppendError> {
        read_cursor(&mut *self.pool.acquire().await?, chain_id).await
    }

    /// The headers kept of a chain, oldest first: from the newest final block on.
    pub async fn headers(&self, chain_id: ChainId) -> Result<Vec<Header>, AppendError> {
        let rows: Vec<(i64, Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT number, hash, parent_hash, time FROM event_store.headers
             WHERE chain_id = $1 ORDER BY number",
        )
        .bind(super::appender::to_bigint("chain id", chain_id)?)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(number, hash, parent_hash, time)| {
                Ok(Header {
                    block: BlockRef {
                        number: number.cast_unsigned(),
                        hash: to_hash("headers.hash", &hash)?,
                        timestamp: time.cast_unsigned(),
                    },
                    parent_hash: to_hash("headers.parent_hash", &parent_hash)?,
                })
            })
            .collect()
    }

    /// Facts of a chain that stand and make contracts known, in the order of the chain.
    pub async fn announcements(&self, chain_id: ChainId) -> Result<Vec<Fact>, AppendError> {
        let mut facts = Vec::new();
        let read = self.standing(ANNOUNCEMENTS, chain_id, |fact| facts.push(fact)).await;
        match read {
            Ok(()) => Ok(facts),
            Err(ReadError::Unavailable(error)) => Err(error.into()),
            Err(ReadError::Corrupt(corruption)) => {
                Err(sqlx::Error::Decode(Box::new(corruption)).into())
            }
        }
    }

    /// The blocks of a chain that are taken back at present: one that reappears goes into the
    /// batch's `restored`.
    pub async fn orphans(&self, chain_id: ChainId) -> Result<BTreeSet<B256>, AppendError> {
        read_orphans(&mut *self.pool.acquire().await?, chain_id).await
    }
}

/// The head of the store.
pub(super) async fn read_head(connection: &mut PgConnection) -> Result<Head, AppendError> {
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT position, hash FROM event_store.events ORDER BY position DESC LIMIT 1",
    )
    .fetch_optional(connection)
    .await?;
    match row {
        None => Ok(Head { position: 0, hash: *STORAGE_GENESIS }),
        Some((position, hash)) => {
            Ok(Head { position: position.cast_unsigned(), hash: to_hash("events.hash", &hash)? })
        }
    }
}

type CursorRow = (i64, Option<i64>, Option<Vec<u8>>, Option<i64>);

/// Where ingestion of a chain stands.
pub(super) async fn read_cursor(
    connection: &mut PgConnection,
    chain_id: ChainId,
) -> Result<Option<Cursor>, AppendError> {
    let row: Option<CursorRow> = sqlx::query_as(
        "SELECT next_block, finalized_number, finalized_hash, finalized_time
         FROM event_store.cursors WHERE chain_id = $1",
    )
    .bind(super::appender::to_bigint("chain id", chain_id)?)
    .fetch_optional(connection)
    .await?;
    let Some((next_block, number, hash, time)) = row else { return Ok(None) };
    let finalized = match (number, hash, time) {
        (Some(number), Some(hash), Some(time)) => Some(BlockRef {
            number: number.cast_unsigned(),
            hash: to_hash("cursors.finalized_hash", &hash)?,
            timestamp: time.cast_unsigned(),
        }),
        _ => None,
    };
    Ok(Some(Cursor { next_block: next_block.cast_unsigned(), finalized }))
}

/// The blocks of a chain that are taken back at present.
pub(super) async fn read_orphans(
    connection: &mut PgConnection,
    chain_id: ChainId,
) -> Result<BTreeSet<B256>, AppendError> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT block_hash FROM event_store.orphans WHERE chain_id = $1")
            .bind(super::appender::to_bigint("chain id", chain_id)?)
            .fetch_all(connection)
            .await?;
    rows.iter().map(|hash| to_hash("orphans.block_hash", hash)).collect()
}

/// A hash as it came from a column.
pub(super) fn to_hash(what: &'static str, bytes: &[u8]) -> Result<B256, AppendError> {
    B256::try_from(bytes).map_err(|_| AppendError::Damaged { what, length: bytes.len() })
}
