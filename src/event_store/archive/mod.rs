//! The whole log in one Parquet file, so that a new node can start from it and check every hash
//! instead of asking a chain for years.
//!
//! The columns are those of `event_store.events`, packed with Zstandard; the file's metadata says
//! how many rows there are and what the last hash is. A file is imported into an empty store, in
//! one transaction: all of it or nothing. What was not final when it was written is taken back at
//! the end of the import: the chain itself says it again.
//! Rows go through memory a few thousand at a time, in both directions.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use assay_domain::{BlockRef, ChainId, Event};

use self::file::{Rows, Writer, to_io};
use super::appender::{Appender, Head, to_bigint};
use super::batch::Revert;
use super::canonical::note_reorg;
use super::codec::{Preimage, STORAGE_GENESIS};
use super::error::AppendError;
use super::ingest::Chain;
use super::postgres::{EventStore, to_hash};
use super::read::{FoldError, ReadError};
use super::walk::{Check, Snapshot, Stop};

/// The log cannot be exported or imported. Nothing was left behind, in the store or on disk.
#[derive(Debug, thiserror::Error)]
pub enum LogArchiveError {
    /// The file system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else, or its end is missing.
    #[error(
        "{}: no log exported by Assay, or cut off ({reason}); fetch it again, nothing was imported",
        .path.display()
    )]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A row is not what was exported.
    #[error(
        "{}, row {row}{}: {reason}; the file was altered, fetch it again, nothing was imported",
        .path.display(), .column.map(|column| format!(", column {column}")).unwrap_or_default()
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// The first row that is not sound; its position in the log.
        row: u64,
        /// The column, if it can be told which.
        column: Option<&'static str>,
        /// What is wrong.
        reason: String,
    },
    /// The file ends in another hash than was wanted.
    #[error(
        "{}: the log ends in {found}, expected {expected}; it is another log or a shorter one, \
         nothing was imported", .path.display()
    )]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// The hash wanted.
        expected: B256,
        /// The hash found.
        found: B256,
    },
    /// A log is imported into an empty store only.
    #[error("the event store holds {events} events; import into an empty database")]
    NotEmpty {
        /// How many it holds.
        events: u64,
    },
    /// The event store refused, or is out of reach.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The event store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<sqlx::Error> for LogArchiveError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

impl EventStore {
    /// Writes the whole log, every hash checked. The file appears when it is whole.
    pub async fn export_log(&self, path: &Path) -> Result<Head, LogArchiveError> {
        let io_error = |source| LogArchiveError::Io { path: path.to_owned(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let file =
            tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new("."))).map_err(io_error)?;
        let mut out = Writer::new(file).map_err(|error| io_error(to_io(error)))?;
        let mut snapshot = Snapshot::begin(&self.pool).await?;
        let walked = snapshot
            .walk(0, None, Check::EveryHash, |row, _, _| out.push(row).map_err(Stop::Apply))
            .await;
        let head = walked.map_err(|error| match error {
            FoldError::Apply(error) => io_error(to_io(error)),
            FoldError::Read(error) => error.into(),
        })?;
        snapshot.end().await?;
        let file = out.finish(head).map_err(|error| io_error(to_io(error)))?;
        file.as_file().sync_all().map_err(io_error)?;
        file.persist(path).map_err(|error| io_error(error.error))?;
        Ok(head)
    }

    /// Reads a log into this store, which must be empty, every hash recomputed. With `expected`,
    /// only a log that ends in that hash.
    pub async fn import_log(
        &self,
        path: &Path,
        expected: Option<B256>,
    ) -> Result<Head, LogArchiveError> {
        let mut rows = Rows::open(path)?;
        if let Some(expected) = expected.filter(|expected| *expected != rows.said.hash) {
            let found = rows.said.hash;
            return Err(LogArchiveError::OtherLog { path: path.to_owned(), expected, found });
        }
        let mut appender = self.begin_append().await?;
        if appender.head().position > 0 {
            return Err(LogArchiveError::NotEmpty { events: appender.head().position });
        }
        let mut told = Told::default();
        while rows.read_some()? {
            for index in 0..rows.columns.len() {
                let row = rows.columns.row(index, rows.next_row());
                let row = row.map_err(|corruption| rows.altered(corruption))?;
                match appender.push_stored(&row).await? {
                    Ok(fact) => told.note(&fact),
                    Err(corruption) => return Err(rows.altered(corruption)),
                }
                rows.taken += 1;
            }
        }
        rows.check_end(appender.head())?;
        told.write(&mut appender).await?;
        Ok(appender.commit().await?)
    }
}

/// Reads a file and recomputes every hash, without a store; where the log in it ends.
pub fn check_log(path: &Path) -> Result<Head, LogArchiveError> {
    let mut rows = Rows::open(path)?;
    let (mut preimage, mut head) = (Preimage::new(), Head { position: 0, hash: *STORAGE_GENESIS });
    while rows.read_some()? {
        for index in 0..rows.columns.len() {
            let row = rows.columns.row(index, rows.next_row());
            let row = row.map_err(|corruption| rows.altered(corruption))?;
            match preimage.follow(head, &row) {
                Ok((_, next)) => head = next,
                Err(corruption) => return Err(rows.altered(corruption)),
            }
            rows.taken += 1;
        }
    }
    rows.check_end(head)?;
    Ok(head)
}

/// What the events say about the tables beside them.
#[derive(Default)]
struct Told {
    chains: BTreeMap<ChainId, Option<BlockRef>>,
    orphans: BTreeSet<(ChainId, B256)>,
}

impl Told {
    fn note(&mut self, fact: &assay_domain::Fact) {
        note_reorg(fact, &mut self.orphans);
        let finalized = self.chains.entry(fact.chain_id).or_default();
        if fact.event == Event::FinalityAdvanced {
            *finalized = Some(fact.block);
        }
    }

    /// Writes cursors and orphans, and takes back what was not final.
    async fn write(&self, appender: &mut Appender) -> Result<(), LogArchiveError> {
        appender.flush().await?;
        for (chain_id, finalized) in &self.chains {
            let mut chain =
                Chain { chain_id: *chain_id, finalized: *finalized, orphans: BTreeSet::new() };
            let orphans = self.orphans.iter().filter(|(of, _)| of == chain_id);
            let orphans: Vec<B256> = orphans.map(|(_, hash)| *hash).collect();
            chain.insert_orphans(appender, &orphans).await?;
            let to = finalized.unwrap_or(BlockRef { number: 0, hash: B256::ZERO, timestamp: 0 });
            let above: Vec<Vec<u8>> = sqlx::query_scalar(
                "SELECT block_hash FROM event_store.events
                 WHERE kind < 200 AND chain_id = $1 AND block_number > $2
                 GROUP BY block_number, block_hash ORDER BY block_number",
            )
            .bind(to_bigint("chain id", *chain_id)?)
            .bind(to_bigint("block number", to.number)?)
            .fetch_all(appender.connection())
            .await?;
            let above: Result<Vec<B256>, AppendError> =
                above.iter().map(|hash| to_hash("events.block_hash", hash)).collect();
            chain.revert(appender, &Revert { to, orphaned: above? }).await?;
            let next_block = finalized.map_or(0, |block| block.number + 1);
            chain.save_cursor(appender, None, Some(next_block)).await?;
        }
        Ok(())
    }
}
