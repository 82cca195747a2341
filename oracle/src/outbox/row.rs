//! Rows of schema `outbox` as values, and back.

use alloy::primitives::{Address, B256, U256};

use super::{Attempt, OpenBatch, OutboxError, Outcome, Quorum};
use crate::batch::Batch;
use crate::report::{EntityKey, Report};
use crate::submission::{Fees, Inclusion, Intent, Landing, Phase, Submission};

/// A row of `outbox.batches`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct BatchRow {
    pub(super) id: i64,
    epoch: i64,
    deadline: i64,
    phase: String,
    bitmap: Option<Vec<u8>>,
    signatures: Option<Vec<u8>>,
    sender: Option<Vec<u8>>,
    nonce: Option<i64>,
    attempts: i32,
    intent: String,
    since_block: i64,
    block_number: Option<i64>,
    block_hash: Option<Vec<u8>>,
    landing: Option<String>,
}

/// A row of `outbox.tx_attempts`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct AttemptRow {
    pub(super) batch_id: i64,
    tx_hash: Vec<u8>,
    intent: String,
    raw: Vec<u8>,
    gas_limit: i64,
    max_fee_wei: i64,
    tip_wei: i64,
}

impl BatchRow {
    pub(super) fn into_open(
        self,
        reports: Vec<Report>,
        attempts: Vec<Attempt>,
    ) -> Result<OpenBatch, OutboxError> {
        let (id, table) = (self.id, "batches");
        let batch = Batch::new(reports)
            .map_err(|fault| corrupt(table, id, "members", fault.to_string()))?;
        let submission = Submission {
            deadline: to_u64(table, id, "deadline", self.deadline)?,
            phase: self.phase()?,
            attempts: u32::try_from(self.attempts)
                .map_err(|_| corrupt(table, id, "attempts", self.attempts.to_string()))?,
            intent: intent(table, id, &self.intent)?,
            since_block: to_u64(table, id, "since_block", self.since_block)?,
        };
        let nonce = self.nonce.map(|nonce| to_u64(table, id, "nonce", nonce)).transpose()?;
        let epoch = u32::try_from(self.epoch)
            .map_err(|_| corrupt(table, id, "epoch", self.epoch.to_string()))?;
        let sender = self.sender.as_deref().map(Address::try_from).transpose();
        let sender = sender.map_err(|_| corrupt(table, id, "sender", "no address".to_owned()))?;
        let quorum = self.bitmap.zip(self.signatures).map(|(bitmap, signatures)| Quorum {
            bitmap: U256::from_be_slice(&bitmap),
            signatures,
        });
        Ok(OpenBatch { id, batch, epoch, submission, quorum, nonce, sender, attempts })
    }

    fn phase(&self) -> Result<Phase, OutboxError> {
        Ok(match self.phase.as_str() {
            "due" => Phase::Due,
            "signed" => Phase::Signed,
            "sent" => Phase::Sent,
            "included" => Phase::Included(self.inclusion()?),
            "final" => Phase::Final(self.inclusion()?),
            "abandoned" => Phase::Abandoned,
            other => return Err(corrupt("batches", self.id, "phase", other.to_owned())),
        })
    }

    fn inclusion(&self) -> Result<Inclusion, OutboxError> {
        let (id, table) = (self.id, "batches");
        let missing = |column| corrupt(table, id, column, "NULL".to_owned());
        let number = self.block_number.ok_or_else(|| missing("block_number"))?;
        let hash = self.block_hash.as_deref().ok_or_else(|| missing("block_hash"))?;
        let landing = match self.landing.as_deref().ok_or_else(|| missing("landing"))? {
            "stored" => Landing::Stored,
            "reverted" => Landing::Reverted,
            "cancelled" => Landing::Cancelled,
            other => return Err(corrupt(table, id, "landing", other.to_owned())),
        };
        let number = to_u64(table, id, "block_number", number)?;
        let hash = hash_column(table, id, "block_hash", hash)?;
        Ok(Inclusion { number, hash, landing })
    }
}

impl AttemptRow {
    pub(super) fn into_attempt(self) -> Result<Attempt, OutboxError> {
        let (id, table) = (self.batch_id, "tx_attempts");
        Ok(Attempt {
            tx_hash: hash_column(table, id, "tx_hash", &self.tx_hash)?,
            intent: intent(table, id, &self.intent)?,
            raw: self.raw,
            gas_limit: to_u64(table, id, "gas_limit", self.gas_limit)?,
            fees: Fees {
                max_fee_wei: to_u64(table, id, "max_fee_wei", self.max_fee_wei)?.into(),
                tip_wei: to_u64(table, id, "tip_wei", self.tip_wei)?.into(),
            },
        })
    }
}

/// The report of a row; the error says in words what is wrong with it.
pub(super) fn report(entity: &[u8], seq: i64, word: &[u8]) -> Result<Report, String> {
    let entity = B256::try_from(entity).map_err(|_| format!("{} bytes of key", entity.len()))?;
    let word = <[u8; 32]>::try_from(word).map_err(|_| format!("{} bytes of word", word.len()))?;
    let report = Report::new(EntityKey(entity), U256::from_be_bytes(word))
        .map_err(|fault| fault.to_string())?;
    if i64::from(report.seq()) == seq {
        Ok(report)
    } else {
        Err(format!("the word says seq {}, the report {seq}", report.seq()))
    }
}

pub(super) const fn phase_columns(phase: Phase) -> (&'static str, Option<Inclusion>) {
    match phase {
        Phase::Due => ("due", None),
        Phase::Signed => ("signed", None),
        Phase::Sent => ("sent", None),
        Phase::Included(at) => ("included", Some(at)),
        Phase::Final(at) => ("final", Some(at)),
        Phase::Abandoned => ("abandoned", None),
    }
}

pub(super) const fn intent_word(intent: Intent) -> &'static str {
    match intent {
        Intent::Publish => "publish",
        Intent::Cancel => "cancel",
    }
}

pub(super) const fn landing_word(landing: Landing) -> &'static str {
    match landing {
        Landing::Stored => "stored",
        Landing::Reverted => "reverted",
        Landing::Cancelled => "cancelled",
    }
}

pub(super) fn outcome_columns(
    outcome: Outcome,
) -> Result<(&'static str, Option<i64>), OutboxError> {
    Ok(match outcome {
        Outcome::Rated => ("rated", None),
        Outcome::Passed => ("passed", None),
        Outcome::Refused => ("refused", None),
        Outcome::Released { retry_at } => {
            ("released", retry_at.map(|time| to_i64("retry_at", time)).transpose()?)
        }
    })
}

pub(super) fn to_i64(
    column: &'static str,
    number: impl TryInto<i64> + Into<u128> + Copy,
) -> Result<i64, OutboxError> {
    number.try_into().map_err(|_| OutboxError::TooLarge { column, found: number.into() })
}

pub(super) fn to_u64(
    table: &'static str,
    id: i64,
    column: &'static str,
    number: i64,
) -> Result<u64, OutboxError> {
    u64::try_from(number).map_err(|_| corrupt(table, id, column, number.to_string()))
}

pub(super) const fn corrupt(
    table: &'static str,
    id: i64,
    column: &'static str,
    found: String,
) -> OutboxError {
    OutboxError::Corrupt { table, id, column, found }
}

fn intent(table: &'static str, id: i64, word: &str) -> Result<Intent, OutboxError> {
    match word {
        "publish" => Ok(Intent::Publish),
        "cancel" => Ok(Intent::Cancel),
        other => Err(corrupt(table, id, "intent", other.to_owned())),
    }
}

fn hash_column(
    table: &'static str,
    id: i64,
    column: &'static str,
    bytes: &[u8],
) -> Result<B256, OutboxError> {
    B256::try_from(bytes).map_err(|_| corrupt(table, id, column, format!("{} bytes", bytes.len())))
}
