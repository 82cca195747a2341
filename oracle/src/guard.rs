//! Sign once: no key ever signs two different words for one (entity, seq), nor an older one.
//!
//! The promise is committed to `outbox.signatures` before a signature can exist: only this module
//! makes a [`Cleared`], and only a `Cleared` can be signed. The same word may be signed again, say
//! under a new deadline; the contract's fraud proof compares words, and so does this.
//! What another database has promised is not known here: one key, one database.

use alloy::primitives::{Address, U256};
use assay_domain::Word;
use sqlx::{PgConnection, PgPool};

use crate::batch::Batch;
use crate::outbox::{OutboxError, batches_at, unpromised_before};
use crate::report::{EntityKey, Report};

/// First key of the advisory locks that serialise one signer's promises.
const SIGNER_LOCK: i32 = 0x5167;

/// Proof that the promise for this batch and this key is on disk.
#[derive(Debug, Clone)]
pub struct Cleared {
    signer: Address,
    batch: Batch,
    verdicts: Vec<Safe>,
}

/// Why a report may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safe {
    /// Nothing was signed under this number, and everything signed before is older.
    Valid,
    /// This very word was cleared before.
    SameData,
}

/// Why a report must not be signed: the signer could be convicted for it. Not to be overridden;
/// find out how one number got two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSafe {
    /// Another word was cleared under this number.
    #[error(
        "{signer} has signed {signed:#066x} for seq {seq} of {entity}, asked was {asked:#066x}"
    )]
    OtherWord {
        /// The key.
        signer: Address,
        /// Whose rating.
        entity: EntityKey,
        /// Its number.
        seq: u32,
        /// The word cleared before.
        signed: U256,
        /// The word asked for now.
        asked: U256,
    },
    /// A newer word was cleared: a higher number, position or observation time.
    #[error("{signer} has signed {field} {signed} of {entity}, asked was {asked}, which is older")]
    Older {
        /// The key.
        signer: Address,
        /// Whose rating.
        entity: EntityKey,
        /// The asked word's number.
        seq: u32,
        /// In which field the asked word is older.
        field: &'static str,
        /// The field in the newest word cleared.
        signed: u64,
        /// The field in the word asked for.
        asked: u64,
    },
}

impl NotSafe {
    /// The report that is not safe.
    pub const fn report(&self) -> (EntityKey, u32) {
        match self {
            Self::OtherWord { entity, seq, .. } | Self::Older { entity, seq, .. } => {
                (*entity, *seq)
            }
        }
    }
}

/// A batch was not cleared; nothing was promised and nothing may be signed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// One report is not safe. Take it out of the batch.
    #[error(transparent)]
    NotSafe(#[from] NotSafe),
    /// The database is unreachable or refused. Retry with back-off.
    #[error("the record of signatures is unavailable")]
    Unavailable(#[from] sqlx::Error),
    /// The reports cannot be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The record holds a word that is none. Do not sign until it is explained.
    #[error(
        "the record of signatures holds {found} bytes for seq {seq} of {entity}, expected a word"
    )]
    Corrupt {
        /// Whose rating.
        entity: EntityKey,
        /// Its number.
        seq: i64,
        /// Bytes found.
        found: usize,
    },
}

impl Cleared {
    /// The key that may sign.
    pub const fn signer(&self) -> Address {
        self.signer
    }

    /// What it may sign.
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Why, report by report.
    pub fn verdicts(&self) -> &[Safe] {
        &self.verdicts
    }
}

/// Promises that `signer` will sign no other words than these: all reports of the batch or none.
pub async fn clear(pool: &PgPool, signer: Address, batch: &Batch) -> Result<Cleared, GuardError> {
    let mut transaction = pool.begin().await?;
    // One promise of a key at a time: the rows below are read and written under this lock.
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext(encode($2, 'hex')))")
        .bind(SIGNER_LOCK)
        .bind(signer.as_slice())
        .execute(&mut *transaction)
        .await?;
    let mut verdicts = Vec::with_capacity(batch.reports().len());
    for report in batch.reports() {
        verdicts.push(clear_one(&mut transaction, signer, report).await?);
    }
    transaction.commit().await?;
    Ok(Cleared { signer, batch: batch.clone(), verdicts })
}

/// Promises the batch of a position, and before it those of all earlier positions that hold some
/// entity's newest rating: in another order a stranger who asks for a later one first could keep
/// an earlier one from ever being signed.
pub async fn clear_in_order(
    pool: &PgPool,
    signer: Address,
    position: u64,
    batch: &Batch,
) -> Result<Cleared, GuardError> {
    for earlier in unpromised_before(pool, signer, position).await? {
        for batch in batches_at(pool, earlier).await? {
            match clear(pool, signer, &batch).await {
                Ok(_) => {}
                // It is refused when it is its turn.
                Err(GuardError::NotSafe(fault)) => {
                    tracing::warn!(position = earlier, %fault, "a batch cannot be promised");
                }
                Err(other) => return Err(other),
            }
        }
    }
    clear(pool, signer, batch).await
}

async fn clear_one(
    connection: &mut PgConnection,
    signer: Address,
    report: &Report,
) -> Result<Safe, GuardError> {
    let (entity, seq) = (report.entity(), report.seq());
    let newest: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT seq, word FROM (
             (SELECT seq, word FROM outbox.signatures
              WHERE signer = $1 AND entity_key = $2 AND seq = $3)
             UNION ALL
             (SELECT seq, word FROM outbox.signatures
              WHERE signer = $1 AND entity_key = $2 ORDER BY seq DESC LIMIT 1)
         ) AS same_or_newest ORDER BY seq = $3 DESC LIMIT 1",
    )
    .bind(signer.as_slice())
    .bind(entity.0.as_slice())
    .bind(i64::from(seq))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((signed_seq, word)) = newest {
        let found = word.len();
        let signed = <[u8; 32]>::try_from(word).ok().map(U256::from_be_bytes::<32>);
        let signed = signed.and_then(|bits| Word::unpack(bits).ok());
        let signed = signed.ok_or(GuardError::Corrupt { entity, seq: signed_seq, found })?;
        if signed == report.word() {
            return Ok(Safe::SameData);
        }
        judge(signer, report, &signed)?;
    }
    // The key of the table decides even if the lock were lost.
    sqlx::query(
        "INSERT INTO outbox.signatures (signer, entity_key, seq, word) VALUES ($1, $2, $3, $4)",
    )
    .bind(signer.as_slice())
    .bind(entity.0.as_slice())
    .bind(i64::from(seq))
    .bind(report.word().pack().to_be_bytes_vec())
    .execute(&mut *connection)
    .await?;
    Ok(Safe::Valid)
}

/// Whether a word may follow the one signed last.
fn judge(signer: Address, report: &Report, signed: &Word) -> Result<(), NotSafe> {
    let (entity, seq) = (report.entity(), report.seq());
    let (new, old) = (report.word().fields(), signed.fields());
    if new.seq == old.seq {
        let (signed, asked) = (signed.pack(), report.word().pack());
        return Err(NotSafe::OtherWord { signer, entity, seq, signed, asked });
    }
    let older = |field, signed, asked| NotSafe::Older { signer, entity, seq, field, signed, asked };
    if new.seq < old.seq {
        return Err(older("seq", u64::from(old.seq), u64::from(new.seq)));
    }
    if new.log_pos <= old.log_pos {
        return Err(older("logPos", old.log_pos, new.log_pos));
    }
    if new.as_of < old.as_of {
        return Err(older("asOf", old.as_of, new.as_of));
    }
    Ok(())
}
