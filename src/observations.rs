//! Records what was asked of contracts and accounts, with the block it was asked at.

use alloy::primitives::hex;
use assay_domain::{BlockRef, ChainId, Event};
use serde_json::json;

use crate::event_store::{AppendError, EventStore, own_fact};

/// Records observations of one block; returns how many were new.
pub async fn record(
    store: &EventStore,
    chain_id: ChainId,
    block: BlockRef,
    events: Vec<Event>,
) -> Result<usize, AppendError> {
    let mut appender = store.begin_append().await?;
    let mut count = 0;
    for event in events {
        let (name, subject, said) = match &event {
            Event::ViewObserved { name, contract, input, answer } => {
                (name, contract, json!({ "input": input, "answer": answer }))
            }
            Event::AccountProven { name, account, balance, nonce, code_hash, slots } => {
                let slots: Vec<_> = slots
                    .iter()
                    .map(|(slot, value)| [slot.to_string(), value.to_string()])
                    .collect();
                let balance = balance.to_string();
                let nonce = nonce.to_string();
                let code_hash = hex::encode_prefixed(code_hash);
                let said = json!({ "balance": balance, "nonce": nonce, "codeHash": code_hash,
                    "slots": slots });
                (name, account, said)
            }
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
