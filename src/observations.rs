//! Records what was asked of contracts and accounts, with the block it was asked at.

use assay_domain::{BlockRef, ChainId, Event};

use crate::chain::observe::Observed;
use crate::event_store::{AppendError, EventStore, own_fact};

/// Records observations of one block; returns how many were new.
pub async fn record(
    store: &EventStore,
    chain_id: ChainId,
    block: BlockRef,
    observed: Vec<Observed>,
) -> Result<usize, AppendError> {
    let mut appender = store.begin_append().await?;
    let mut count = 0;
    for Observed { event, said } in observed {
        let (name, subject) = match &event {
            Event::ViewObserved { name, contract, .. } => (name, contract),
            Event::AccountProven { name, account, .. } => (name, account),
            _ => continue,
        };
        let written = sqlx::query(
            "INSERT INTO read_model.observations (chain_id, block_number, block_hash, block_time,
                 name, subject, is_proven, said)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb) ON CONFLICT DO NOTHING",
        )
        .bind(chain_id.cast_signed())
        .bind(block.number.cast_signed())
        .bind(block.hash.as_slice())
        .bind(block.timestamp.cast_signed())
        .bind(name)
        .bind(subject.as_slice())
        .bind(matches!(event, Event::AccountProven { .. }))
        .bind(said.to_string())
        .execute(appender.connection())
        .await?;
        if written.rows_affected() > 0 {
            appender.push(&own_fact(chain_id, block, event)).await?;
            count += 1;
        }
    }
    if count > 0 {
        appender.commit().await?;
    }
    Ok(count)
}
