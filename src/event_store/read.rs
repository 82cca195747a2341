//! Out of the store in storage order, every row checked against the hash chain.
//!
//! How the rows come is in `walk`.

use alloy::primitives::B256;
use assay_domain::Fact;

use super::appender::Head;
use super::codec::BadColumn;
use super::error::AppendError;
use super::postgres::EventStore;
use super::walk::{Check, Link, Snapshot, Stop};

/// A stored fact with its place in the hash chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Storage position.
    pub position: u64,
    /// What happened.
    pub fact: Fact,
    /// The hash up to here.
    pub hash: B256,
    /// The hash up to the position before.
    pub previous_hash: B256,
}

/// A stored fact and where it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Storage position.
    pub position: u64,
    /// What happened.
    pub fact: Fact,
}

/// The first place at which the store is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event store is damaged at position {position}{}: {reason}", in_column(.column))]
pub struct Corruption {
    /// Storage position of the first bad row.
    pub position: u64,
    /// The column, if it can be told which.
    pub column: Option<&'static str>,
    /// What is wrong.
    pub reason: String,
}

fn in_column(column: &Option<&'static str>) -> String {
    column.map(|column| format!(", column {column}")).unwrap_or_default()
}

impl From<BadColumn> for Corruption {
    fn from(bad: BadColumn) -> Self {
        Self { position: bad.position, column: Some(bad.column), reason: bad.reason }
    }
}

/// Reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store is damaged. Stop, and restore from a backup.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The database is unreachable or refused. Try again, backing off.
    #[error("the event store is unavailable")]
    Unavailable(#[from] sqlx::Error),
}

/// Reading for a caller's function failed, or the function did.
#[derive(Debug, thiserror::Error)]
pub enum FoldError<E> {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The function said stop.
    #[error(transparent)]
    Apply(E),
}

impl<E> From<sqlx::Error> for FoldError<E> {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

impl<E> From<Corruption> for FoldError<E> {
    fn from(corruption: Corruption) -> Self {
        Self::Read(corruption.into())
    }
}

impl<E> From<AppendError> for FoldError<E> {
    fn from(error: AppendError) -> Self {
        Self::Read(error.into())
    }
}

impl From<AppendError> for ReadError {
    /// The small questions are shared with the writing side, which has the larger vocabulary.
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unavailable(error) => Self::Unavailable(error),
            other => Self::Unavailable(sqlx::Error::Decode(Box::new(other))),
        }
    }
}

impl EventStore {
    /// Hands every fact after position `after` and up to `up_to` (or the head) to `apply`, in
    /// storage order, each row checked; returns the last position read and the hash there.
    pub async fn for_each<E>(
        &self,
        after: u64,
        up_to: Option<u64>,
        mut apply: impl FnMut(Envelope) -> Result<(), E>,
    ) -> Result<Head, FoldError<E>> {
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let head = snapshot
            .walk(after, up_to, Check::EveryHash, |row, _, Link { previous, hash }| {
                let fact = row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?;
                let position = row.position;
                apply(Envelope { position, fact, hash, previous_hash: previous })
                    .map_err(Stop::Apply)
            })
            .await?;
        snapshot.end().await?;
        Ok(head)
    }

    /// Hands Assay's own events of these kinds after position `after` to `apply`, in storage
    /// order. Rows are not checked against the chain: [`EventStore::for_each`] does that.
    pub async fn read_own<E>(
        &self,
        kinds: &[u8],
        after: u64,
        mut apply: impl FnMut(Recorded) -> Result<(), E>,
    ) -> Result<(), FoldError<E>> {
        let kinds: Vec<String> = kinds.iter().map(u8::to_string).collect();
        let condition = format!(
            "kind >= 200 AND kind = ANY ('{{{}}}'::smallint[]) AND position > {after}
             ORDER BY position",
            kinds.join(",")
        );
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        snapshot
            .select(&condition, |row| {
                let fact = row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?;
                apply(Recorded { position: row.position, fact }).map_err(Stop::Apply)
            })
            .await?;
        snapshot.end().await?;
        Ok(())
    }
}
