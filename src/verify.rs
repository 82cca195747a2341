//! Does everything again from position 1, and compares.
//!
//! Three things: the chain of hashes over every stored byte; every rating action of every revision;
//! and every row of the read model, which is made anew beside what is there, in a transaction that
//! is taken back.

use std::collections::BTreeMap;

use alloy::primitives::{B256, U256};
use assay_domain::attestation::Message;
use assay_domain::{Event, RatedEntity};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::attestation::is_genuine;
use crate::event_store::{EventStore, ReadError, VerifyError};
use crate::projection::ReadModel;
use crate::rater::{RATING_ACTION, Rater, RaterError, action_fact};
use crate::rating::RatingError;

/// What was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedRatings {
    /// Events whose hash was recomputed.
    pub events: u64,
    /// Rating actions recomputed.
    pub actions: usize,
    /// Revisions they belong to.
    pub revisions: usize,
}

/// Something differs, or could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The store itself is damaged.
    #[error(transparent)]
    Store(#[from] VerifyError),
    /// The log could not be read or rated.
    #[error(transparent)]
    Rater(#[from] RaterError),
    /// A stored rating action is not what follows from the log.
    #[error(
        "position {position}: the rating action of {entity} stored there is not the one that \
         follows from the log"
    )]
    OtherAction {
        /// Storage position.
        position: u64,
        /// Who is rated.
        entity: String,
    },
    /// A message in the store is not what its signer signed.
    #[error("position {position}: the message stored there does not carry its signer's signature")]
    Forged {
        /// Storage position.
        position: u64,
    },
    /// The log says more or fewer actions than are stored.
    #[error("{stored} rating actions are stored, {recomputed} follow from the log")]
    OtherCount {
        /// In the store.
        stored: usize,
        /// Recomputed.
        recomputed: usize,
    },
    /// Something was rated while we compared. Try again.
    #[error("something was rated meanwhile; try again")]
    Moved,
    /// A row of the read model is not what follows from the log.
    #[error("read_model.{table}: {row} is not what follows from the log; run `assay rebuild`")]
    OtherRow {
        /// The table.
        table: &'static str,
        /// The row, as JSON.
        row: String,
    },
}

impl From<ReadError> for VerificationError {
    fn from(error: ReadError) -> Self {
        Self::Rater(error.into())
    }
}

impl From<sqlx::Error> for VerificationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Rater(error.into())
    }
}

impl VerificationError {
    /// Whether something was compared and found different (and not just impossible to compare).
    pub const fn is_difference(&self) -> bool {
        !matches!(
            self,
            Self::Moved
                | Self::Store(VerifyError::Unavailable(_))
                | Self::Rater(RaterError::Database(_))
        )
    }
}

/// Verifies everything in the database.
pub async fn verify(rater: &Rater) -> Result<VerifiedRatings, VerificationError> {
    let before = reflected(rater.store()).await?;
    match compare(rater, before).await {
        Err(error) if error.is_difference() && reflected(rater.store()).await? != before => {
            Err(VerificationError::Moved)
        }
        done => done,
    }
}

/// Every report of every revision, recomputed from the log: by key and counter, with whose it is.
pub async fn reports(
    rater: &Rater,
) -> Result<BTreeMap<(B256, u32), (RatedEntity, U256)>, VerificationError> {
    let mut known = rater.restatements().await?;
    known.push(rater.store().head().await.map_err(ReadError::from)?.position);
    let mut reports = BTreeMap::new();
    for revision in 0..known.len() {
        let seqs = rater.seqs_before(&known[..revision]).await?;
        let live = rater.fold_to(known[revision], None, 0, &seqs).await?;
        for (entity, word, _) in live.engine.observer.reports {
            reports.insert((entity.key(), word.fields().seq), (entity, word.pack()));
        }
    }
    Ok(reports)
}

/// The storage position that the read model reflects.
pub async fn reflected(store: &EventStore) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT storage_position FROM read_model.checkpoint")
        .fetch_optional(store.pool())
        .await
}

async fn compare(
    rater: &Rater,
    reflected: Option<i64>,
) -> Result<VerifiedRatings, VerificationError> {
    let verified = rater.store().verify().await?;
    check_messages(rater).await?;
    let stored = stored_actions(rater).await?;
    let mut known = rater.restatements().await?;
    let revisions = known.len() + 1;
    let mut connection = rater.store().pool().acquire().await?;
    known.push(reflected.map_or(0, i64::cast_unsigned));
    let mut actions = 0;
    let mut next = stored.iter();
    for revision in 0..revisions {
        let seqs = rater.seqs_before(&known[..revision]).await?;
        let number = u32::try_from(revision).unwrap_or(u32::MAX);
        let mut live = rater.fold_to(known[revision], None, number, &seqs).await?;
        let writer = &mut live.engine.observer;
        let found = std::mem::take(&mut writer.actions);
        for rating in &found {
            let Some(fact) = action_fact(rating) else { continue };
            let Some((position, event)) = next.next() else {
                let recomputed = actions + found.len();
                return Err(VerificationError::OtherCount { stored: stored.len(), recomputed });
            };
            if *event != fact.event {
                let entity = rating.entity.to_string();
                return Err(VerificationError::OtherAction { position: *position, entity });
            }
            writer.read_model.acted(rating, *position, number);
        }
        actions += found.len();
        if revision + 1 == revisions {
            compare_read_model(&mut connection, &mut writer.read_model, number).await?;
        }
    }
    if next.next().is_some() {
        return Err(VerificationError::OtherCount { stored: stored.len(), recomputed: actions });
    }
    Ok(VerifiedRatings { events: verified.head.position, actions, revisions })
}

/// Every message carries the signature that it was recorded with.
async fn check_messages(rater: &Rater) -> Result<(), VerificationError> {
    for recorded in rater.store().messages(0, u64::MAX).await? {
        let signed = Message::of_event(&recorded.fact.event);
        if !signed.is_some_and(|signed| is_genuine(recorded.fact.chain_id, &signed)) {
            return Err(VerificationError::Forged { position: recorded.position });
        }
    }
    Ok(())
}

async fn stored_actions(rater: &Rater) -> Result<Vec<(u64, Event)>, RaterError> {
    let mut stored = Vec::new();
    rater
        .store()
        .read_own(&[RATING_ACTION], 0, |recorded| {
            stored.push((recorded.position, recorded.fact.event));
            Ok::<(), RatingError>(())
        })
        .await?;
    Ok(stored)
}

/// Writes every row anew in a transaction, compares with what was there, takes it back.
async fn compare_read_model(
    connection: &mut PgConnection,
    read_model: &mut ReadModel,
    revision: u32,
) -> Result<(), VerificationError> {
    let mut transaction = connection.begin().await?;
    for table in ReadModel::TABLES {
        let keep = format!("CREATE TEMP TABLE kept_{table} AS TABLE read_model.{table}");
        sqlx::query(AssertSqlSafe(keep)).execute(&mut *transaction).await?;
    }
    ReadModel::clear(&mut transaction, Some(revision)).await?;
    read_model.flush(&mut transaction).await?;
    for table in ReadModel::TABLES {
        let differing = format!(
            "SELECT row::text FROM (
                (SELECT to_jsonb(k) - 'recorded_at' AS row FROM kept_{table} k
                 EXCEPT SELECT to_jsonb(n) - 'recorded_at' FROM read_model.{table} n)
                UNION ALL
                (SELECT to_jsonb(n) - 'recorded_at' FROM read_model.{table} n
                 EXCEPT SELECT to_jsonb(k) - 'recorded_at' FROM kept_{table} k)
             ) differing LIMIT 1"
        );
        let row: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(differing)).fetch_optional(&mut *transaction).await?;
        if let Some(row) = row {
            return Err(VerificationError::OtherRow { table, row });
        }
    }
    transaction.rollback().await?;
    Ok(())
}
