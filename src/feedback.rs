//! What the oracle contracts say they stored comes back into the log, once it is final.
//!
//! `RatingStored` is an event of Assay's own: which contract took a rating and when is not part of
//! what ratings rest on, and must not move the canonical log. Recording again changes nothing.

use alloy::primitives::{Address, B256};
use assay_domain::{BlockRef, ChainId, Event, Word};

use crate::event_store::{AppendError, EventStore, own_fact};
use crate::projection::publications::tell_recorded;

/// A rating that a contract has stored, in a block that will not go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRating {
    /// Key of the entity in the contract.
    pub entity_key: B256,
    /// Counter of the rating.
    pub seq: u32,
    /// The stored word, `lag` filled in by the contract.
    pub word: Word,
    /// The block.
    pub block: BlockRef,
    /// The transaction.
    pub tx_hash: B256,
}

/// Appends what is new of a contract's final ratings, with its row in `read_model.publications`;
/// returns how many were new.
pub async fn record(
    store: &EventStore,
    chain_id: ChainId,
    oracle: Address,
    stored: &[StoredRating],
) -> Result<usize, AppendError> {
    if stored.is_empty() {
        return Ok(0);
    }
    let mut appender = store.begin_append().await?;
    let mut count = 0;
    for rating in stored {
        // The row and the event are written together, so the row tells whether the event is there.
        let row = sqlx::query(
            "INSERT INTO read_model.publications AS p (oracle_chain_id, oracle, entity_key, seq,
                 word, tx_hash, block_number, status, is_recorded)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'final', true)
             ON CONFLICT (oracle_chain_id, oracle, entity_key, seq) DO UPDATE
                SET tx_hash = excluded.tx_hash, block_number = excluded.block_number,
                    status = excluded.status, is_recorded = true
              WHERE NOT p.is_recorded",
        )
        .bind(chain_id.cast_signed())
        .bind(oracle.as_slice())
        .bind(rating.entity_key.as_slice())
        .bind(i64::from(rating.seq))
        .bind(rating.word.as_signed().pack().to_be_bytes::<32>().as_slice())
        .bind(rating.tx_hash.as_slice())
        .bind(rating.block.number.cast_signed())
        .execute(appender.connection())
        .await?;
        if row.rows_affected() == 0 {
            continue;
        }
        let StoredRating { entity_key, seq, word, block, tx_hash } = *rating;
        let word = word.pack();
        let event = Event::RatingStored { oracle, entity_key, seq, word, tx_hash };
        appender.push(&own_fact(chain_id, block, event)).await?;
        count += 1;
    }
    if count > 0 {
        tell_recorded(appender.connection()).await?;
        appender.commit().await?;
    }
    Ok(count)
}

/// The last block of which a rating of this contract is recorded.
pub async fn recorded_to(
    store: &EventStore,
    chain_id: ChainId,
    oracle: Address,
) -> sqlx::Result<Option<u64>> {
    let number: Option<i64> = sqlx::query_scalar(
        "SELECT max(block_number) FROM read_model.publications
         WHERE oracle_chain_id = $1 AND oracle = $2 AND is_recorded",
    )
    .bind(chain_id.cast_signed())
    .bind(oracle.as_slice())
    .fetch_one(store.pool())
    .await?;
    Ok(number.map(i64::cast_unsigned))
}
