//! How far Assay has come: chains, lag, the newest position.

use async_graphql::SimpleObject;
use sqlx::{FromRow, QueryBuilder};

use crate::error::ApiError;
use crate::scalar::{BigInt, BlockNumber, ChainId, DateTime, FeedPosition};
use crate::scope::{Block, Snapshot};
use crate::session::Reader;
use crate::subscription::feed_end;

/// Seconds between two blocks of Ethereum and of its test chains.
const SECONDS_PER_BLOCK: i64 = 12;

/// How far Assay has come.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Status {
    /// The newest position: what is answered without `asOf`.
    pub head: Snapshot,
    /// The chains that are followed.
    pub chains: Vec<Chain>,
    /// The newest message of the subscriptions: as `afterPosition` it misses nothing that comes
    /// after this answer.
    pub feed_position: FeedPosition,
    /// When the answers last changed, on Assay's own clock. Null while the log is empty.
    pub updated_at: Option<DateTime>,
}

/// A chain that is followed.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Chain {
    /// The chain.
    pub chain_id: ChainId,
    /// The last block ingested, final or not.
    pub head_number: BlockNumber,
    /// The last final block. Ratings rest on blocks up to this one. Null before there is one.
    pub finalized: Option<Block>,
    /// When a block was last ingested, on Assay's own clock.
    pub updated_at: DateTime,
    /// Blocks the chain should have made since, one in 12 s.
    pub lag_blocks: BlockNumber,
    /// Chain logs kept without being understood, because nobody knows their topic.
    pub unmapped_logs: BigInt,
}

#[derive(FromRow)]
struct ChainRow {
    chain_id: i64,
    head_number: i64,
    finalized_number: Option<i64>,
    finalized_time: Option<i64>,
    unmapped_logs: i64,
    updated_micros: i64,
    age_seconds: i64,
}

/// All chains.
pub(crate) async fn chains(reader: &mut Reader) -> Result<Vec<Chain>, ApiError> {
    let query = QueryBuilder::new(
        "SELECT chain_id, head_number, finalized_number, finalized_time, unmapped_logs,
                (extract(epoch FROM updated_at) * 1000000)::bigint AS updated_micros,
                greatest(extract(epoch FROM now() - updated_at), 0)::bigint AS age_seconds
           FROM read_model.chains ORDER BY chain_id",
    );
    let rows: Vec<ChainRow> = reader.rows(query).await?;
    let chain = |row: ChainRow| Chain {
        chain_id: ChainId(row.chain_id),
        head_number: BlockNumber(row.head_number),
        finalized: row
            .finalized_number
            .zip(row.finalized_time)
            .map(|(number, time)| Block::new(row.chain_id, number, time)),
        updated_at: DateTime { micros: row.updated_micros },
        lag_blocks: BlockNumber(row.age_seconds / SECONDS_PER_BLOCK),
        unmapped_logs: BigInt(row.unmapped_logs.to_string()),
    };
    Ok(rows.into_iter().map(chain).collect())
}

/// How far Assay has come.
pub(crate) async fn status(reader: &mut Reader) -> Result<Status, ApiError> {
    let pin = reader.pin().await?;
    let chains = chains(reader).await?;
    let query = QueryBuilder::new(
        "SELECT (extract(epoch FROM updated_at) * 1000000)::bigint FROM read_model.checkpoint",
    );
    let updated: Vec<(i64,)> = reader.rows(query).await?;
    let feed_position = FeedPosition(feed_end(reader).await?);
    Ok(Status {
        head: pin.snapshot(),
        chains,
        feed_position,
        updated_at: updated.first().map(|(micros,)| DateTime { micros: *micros }),
    })
}
