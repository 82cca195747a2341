//! Nonces and raw transactions.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256};
use sqlx::{Postgres, Transaction};

use super::row::{self, to_i64};
use super::{OpenBatch, Outbox, OutboxError, save};
use crate::submission::{Fees, Intent, Submission};

/// A stored transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its hash.
    pub tx_hash: B256,
    /// What it is for.
    pub intent: Intent,
    /// The bytes to broadcast.
    pub raw: Vec<u8>,
    /// The gas it may use.
    pub gas_limit: u64,
    /// What it offers.
    pub fees: Fees,
}

/// A transaction to be stored under a nonce that this database transaction has allocated.
#[derive(Debug)]
pub struct AttemptSlot {
    transaction: Transaction<'static, Postgres>,
    nonce: u64,
}

impl Outbox {
    /// Allocates the batch's nonce, or takes the one it has. Nothing is kept unless the slot is
    /// stored.
    pub async fn attempt_slot(
        &self,
        open: &OpenBatch,
        sender: Address,
        chain_nonce: u64,
    ) -> Result<AttemptSlot, OutboxError> {
        let mut transaction = self.pool.begin().await?;
        if let Some(nonce) = open.nonce {
            return Ok(AttemptSlot { transaction, nonce });
        }
        // Whichever is higher: the chain knows of transactions that others sent with this key, we
        // know of ours that a lagging node has not seen.
        let next: i64 = sqlx::query_scalar(
            "INSERT INTO outbox.nonces AS n (chain_id, genesis_hash, sender, next)
             VALUES ($1, $2, $3, $4 + 1)
             ON CONFLICT (chain_id, genesis_hash, sender)
             DO UPDATE SET next = GREATEST(n.next, $4) + 1 RETURNING next",
        )
        .bind(self.chain_id)
        .bind(self.genesis_hash.as_slice())
        .bind(sender.as_slice())
        .bind(to_i64("nonce", chain_nonce)?)
        .fetch_one(&mut *transaction)
        .await?;
        let nonce = row::to_u64("nonces", 0, "next", next.saturating_sub(1))?;
        sqlx::query("UPDATE outbox.batches SET sender = $2, nonce = $3 WHERE id = $1")
            .bind(open.id)
            .bind(sender.as_slice())
            .bind(next.saturating_sub(1))
            .execute(&mut *transaction)
            .await?;
        Ok(AttemptSlot { transaction, nonce })
    }

    /// Keys that paid on this chain, each with its next unused nonce as known here.
    pub async fn senders(&self) -> Result<Vec<(Address, u64)>, OutboxError> {
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT sender, next FROM outbox.nonces
             WHERE chain_id = $1 AND genesis_hash = $2 ORDER BY sender",
        )
        .bind(self.chain_id)
        .bind(self.genesis_hash.as_slice())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(sender, next)| {
                let address = Address::try_from(sender.as_slice())
                    .map_err(|_| row::corrupt("nonces", 0, "sender", "no address".to_owned()))?;
                Ok((address, row::to_u64("nonces", 0, "next", next)?))
            })
            .collect()
    }

    /// The newest stored bytes of every nonce from `from` to before `to`.
    pub async fn raw_between(
        &self,
        sender: Address,
        from: u64,
        to: u64,
    ) -> Result<Vec<Vec<u8>>, OutboxError> {
        let raw = sqlx::query_scalar(
            "SELECT DISTINCT ON (b.nonce) a.raw FROM outbox.batches b
             JOIN outbox.oracles o ON o.id = b.oracle_id
             JOIN outbox.tx_attempts a ON a.batch_id = b.id
             WHERE o.chain_id = $1 AND o.genesis_hash = $2 AND b.sender = $3
                 AND b.nonce >= $4 AND b.nonce < $5
             ORDER BY b.nonce, b.id DESC, a.attempt DESC",
        )
        .bind(self.chain_id)
        .bind(self.genesis_hash.as_slice())
        .bind(sender.as_slice())
        .bind(to_i64("nonce", from)?)
        .bind(to_i64("nonce", to)?)
        .fetch_all(&self.pool)
        .await?;
        Ok(raw)
    }

    /// What the transactions of the last day may cost at most, wei.
    pub async fn committed_wei_last_day(&self) -> Result<u128, OutboxError> {
        let text: String = sqlx::query_scalar(
            "SELECT COALESCE(sum(dearest), 0)::text FROM (
                 SELECT max(a.gas_limit::numeric * a.max_fee_wei) AS dearest
                 FROM outbox.tx_attempts a JOIN outbox.batches b ON b.id = a.batch_id
                 WHERE b.oracle_id = $1 AND a.stored_at > now() - interval '1 day'
                 GROUP BY a.batch_id) AS batches",
        )
        .bind(self.oracle_id)
        .fetch_one(&self.pool)
        .await?;
        text.parse().map_err(|_| row::corrupt("tx_attempts", 0, "cost", text))
    }

    pub(super) async fn attempts(
        &self,
        ids: &[i64],
    ) -> Result<BTreeMap<i64, Vec<Attempt>>, OutboxError> {
        let rows: Vec<row::AttemptRow> = sqlx::query_as(
            "SELECT batch_id, tx_hash, intent, raw, gas_limit, max_fee_wei, tip_wei
             FROM outbox.tx_attempts WHERE batch_id = ANY($1) ORDER BY batch_id, attempt",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        let mut attempts: BTreeMap<i64, Vec<Attempt>> = BTreeMap::new();
        for row in rows {
            attempts.entry(row.batch_id).or_default().push(row.into_attempt()?);
        }
        Ok(attempts)
    }
}

impl AttemptSlot {
    /// The nonce to sign.
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Stores the raw transaction together with its nonce and the phase that follows.
    pub async fn store(
        mut self,
        id: i64,
        attempt: &Attempt,
        submission: &Submission,
    ) -> Result<(), OutboxError> {
        sqlx::query(
            "INSERT INTO outbox.tx_attempts
                 (tx_hash, batch_id, attempt, intent, raw, gas_limit, max_fee_wei, tip_wei)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(attempt.tx_hash.as_slice())
        .bind(id)
        .bind(i32::try_from(submission.attempts).unwrap_or(i32::MAX))
        .bind(row::intent_word(attempt.intent))
        .bind(&attempt.raw)
        .bind(to_i64("gas_limit", attempt.gas_limit)?)
        .bind(to_i64("max_fee_wei", attempt.fees.max_fee_wei)?)
        .bind(to_i64("tip_wei", attempt.fees.tip_wei)?)
        .execute(&mut *self.transaction)
        .await?;
        save(&mut self.transaction, id, submission).await?;
        self.transaction.commit().await?;
        Ok(())
    }
}
