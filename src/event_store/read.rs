//! Out of the store in storage order, every row checked against the hash chain.
//!
//! Rows come by binary `COPY` and are decoded from the bytes as they arrive. The order is checked
//! and never assumed: the table is read as it lies on disk, a row that comes early waits for its
//! turn, and if too many must wait, the rest is asked for again, sorted.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use assay_domain::Fact;
use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::appender::Head;
use super::codec::{self, BadColumn, COLUMNS, COPY_HEADER, Parsed, Preimage, Row, STORAGE_GENESIS};
use super::error::AppendError;
use super::postgres::{EventStore, read_head, to_hash};

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
            .walk(after, up_to, |row, _, previous_hash| {
                let fact = row.to_fact().map_err(|bad| Stop::Corrupt(bad.into()))?;
                let envelope =
                    Envelope { position: row.position, fact, hash: row.hash, previous_hash };
                apply(envelope).map_err(Stop::Apply)
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

/// Why reading stops before the end.
pub(super) enum Stop<E> {
    /// The row is damaged.
    Corrupt(Corruption),
    /// The rows do not come in order.
    Disorder,
    /// The caller's function said so.
    Apply(E),
}

/// One unchanging view of the store: a read-only transaction on a connection of its own.
pub(super) struct Snapshot {
    connection: PoolConnection<Postgres>,
    is_clean: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // Left in the middle of a COPY, the connection must not go back to the pool.
        if !self.is_clean {
            self.connection.close_on_drop();
        }
    }
}

impl Snapshot {
    pub(super) async fn begin(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let connection = pool.acquire().await?;
        let mut snapshot = Self { connection, is_clean: false };
        // Rows in the order in which they lie: no joining another scan half-way, no workers. And
        // a young table has no statistics: every statement but the copy of the whole has an index.
        sqlx::raw_sql(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL synchronize_seqscans = off; SET LOCAL enable_seqscan = off;
             SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off;
             SET LOCAL work_mem = '64MB'",
        )
        .execute(&mut *snapshot.connection)
        .await?;
        Ok(snapshot)
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Ends the transaction, so that the connection can be used again.
    pub(super) async fn end(mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await?;
        self.is_clean = true;
        Ok(())
    }

    /// Walks the rows after `after` up to `up_to` (or the head) in storage order, checking
    /// positions, tags and hashes; `apply` also gets the row's preimage and the hash before it.
    pub(super) async fn walk<E>(
        &mut self,
        after: u64,
        up_to: Option<u64>,
        mut apply: impl FnMut(&Row<'_>, &Preimage, B256) -> Result<(), Stop<E>>,
    ) -> Result<Head, FoldError<E>> {
        let last = read_head(&mut self.connection).await?.position;
        let end = up_to.map_or(last, |up_to| up_to.min(last));
        let at = self.head_at(after).await?;
        if at.position >= end {
            return Ok(at);
        }
        let mut walker = Walker { at, preimage: Preimage::new(), early: Early::default() };
        if after == 0 && end == last {
            let whole = format!("COPY event_store.events ({COLUMNS}) TO STDOUT (FORMAT binary)");
            let step = |row: &Row<'_>, bytes: &[u8]| walker.step(row, bytes, &mut apply);
            match copy_out(&mut self.connection, &whole, step).await? {
                Some(Stop::Disorder) => walker.early = Early::default(),
                stopped => finish(stopped)?,
            }
        }
        if walker.at.position < end && walker.early.rows.is_empty() {
            let rest = format!(
                "position > {} AND position <= {end} ORDER BY position",
                walker.at.position
            );
            let step = |row: &Row<'_>, bytes: &[u8]| walker.step(row, bytes, &mut apply);
            match copy_out(&mut self.connection, &select(&rest), step).await? {
                Some(Stop::Disorder) => {}
                stopped => finish(stopped)?,
            }
        }
        if walker.at.position < end {
            return Err(missing(walker.at.position + 1).into());
        }
        Ok(walker.at)
    }

    /// Reads the rows that meet a condition; only their columns' shapes are checked.
    pub(super) async fn select<E>(
        &mut self,
        condition: &str,
        mut apply: impl FnMut(&Row<'_>) -> Result<(), Stop<E>>,
    ) -> Result<(), FoldError<E>> {
        let each = |row: &Row<'_>, _: &[u8]| apply(row);
        finish(copy_out(&mut self.connection, &select(condition), each).await?)
    }

    async fn head_at(&mut self, position: u64) -> Result<Head, ReadError> {
        if position == 0 {
            return Ok(Head { position: 0, hash: *STORAGE_GENESIS });
        }
        let hash: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT hash FROM event_store.events WHERE position = $1")
                .bind(position.cast_signed())
                .fetch_optional(&mut *self.connection)
                .await?;
        let hash = hash.ok_or_else(|| missing(position))?;
        Ok(Head { position, hash: to_hash("events.hash", &hash)? })
    }
}

/// Bytes of rows that may wait for their turn. Postgres puts a small row into a gap of an earlier
/// page, so that about one row in a hundred comes early.
const EARLY_BYTES_MAX: usize = 64 << 20;

/// Where a walk stands.
struct Walker {
    at: Head,
    preimage: Preimage,
    early: Early,
}

/// Rows that came before their turn, as they were sent.
#[derive(Default)]
struct Early {
    rows: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
}

impl Walker {
    #[inline]
    fn step<E>(
        &mut self,
        row: &Row<'_>,
        bytes: &[u8],
        apply: &mut impl FnMut(&Row<'_>, &Preimage, B256) -> Result<(), Stop<E>>,
    ) -> Result<(), Stop<E>> {
        if row.position != self.at.position.wrapping_add(1) {
            return self.put_off(row, bytes);
        }
        self.take(row, apply)?;
        while let Some(early) = self.early.rows.first_entry() {
            if *early.key() != self.at.position.wrapping_add(1) {
                break;
            }
            let bytes = early.remove();
            self.early.bytes -= bytes.len();
            // It was whole when it came.
            if let Parsed::Row(row, _) = codec::parse_row(&bytes) {
                self.take(&row, apply)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn take<E>(
        &mut self,
        row: &Row<'_>,
        apply: &mut impl FnMut(&Row<'_>, &Preimage, B256) -> Result<(), Stop<E>>,
    ) -> Result<(), Stop<E>> {
        self.preimage.set_row(row);
        check_row(row, &self.preimage, &self.at.hash).map_err(Stop::Corrupt)?;
        apply(row, &self.preimage, self.at.hash)?;
        self.at = Head { position: row.position, hash: row.hash };
        Ok(())
    }

    #[cold]
    fn put_off<E>(&mut self, row: &Row<'_>, bytes: &[u8]) -> Result<(), Stop<E>> {
        self.early.bytes += bytes.len();
        if row.position <= self.at.position || self.early.bytes > EARLY_BYTES_MAX {
            return Err(Stop::Disorder);
        }
        self.early.rows.insert(row.position, bytes.into());
        Ok(())
    }
}

fn select(condition: &str) -> String {
    format!(
        "COPY (SELECT {COLUMNS} FROM event_store.events WHERE {condition}) \
         TO STDOUT (FORMAT binary)"
    )
}

fn finish<E>(stopped: Option<Stop<E>>) -> Result<(), FoldError<E>> {
    match stopped {
        None => Ok(()),
        Some(Stop::Apply(error)) => Err(FoldError::Apply(error)),
        Some(Stop::Corrupt(corruption)) => Err(corruption.into()),
        // Only `walk` looks at the order, and it handles that itself.
        Some(Stop::Disorder) => Err(missing(0).into()),
    }
}

fn missing(position: u64) -> Corruption {
    Corruption { position, column: Some("position"), reason: "there is no such row".to_owned() }
}

/// Compares a row with its hash and its tag.
pub(super) fn check_row(
    row: &Row<'_>,
    preimage: &Preimage,
    previous: &B256,
) -> Result<(), Corruption> {
    row.check_kind()?;
    let hash = preimage.hash_after(previous);
    if hash == row.hash {
        Ok(())
    } else {
        Err(Corruption {
            position: row.position,
            column: None,
            reason: format!("its columns hash to {hash}, stored is {}", row.hash),
        })
    }
}

/// Runs a `COPY … TO STDOUT` and hands each row to `apply` until that stops.
///
/// After `Disorder` the rest has been read and the connection can be used again; after any other
/// stop it cannot.
async fn copy_out<E>(
    connection: &mut PgConnection,
    statement: &str,
    mut apply: impl FnMut(&Row<'_>, &[u8]) -> Result<(), Stop<E>>,
) -> Result<Option<Stop<E>>, sqlx::Error> {
    let mut stream = connection.copy_out_raw(statement).await?;
    let mut is_in_order = true;
    // What of the last message was not a whole row. Postgres sends one row a message, but the
    // protocol does not promise that.
    let mut carried: Vec<u8> = Vec::new();
    let mut is_header_behind = false;
    while let Some(chunk) = stream.try_next().await? {
        if !is_in_order {
            continue;
        }
        let mut rest: &[u8] = if carried.is_empty() {
            &chunk
        } else {
            carried.extend_from_slice(&chunk);
            &carried
        };
        if let (false, Some(behind)) = (is_header_behind, rest.get(COPY_HEADER.len()..)) {
            rest = behind;
            is_header_behind = true;
        }
        loop {
            let (row, length) = match codec::parse_row(rest) {
                _ if !is_header_behind => break,
                Parsed::Row(row, length) => (row, length),
                Parsed::Bad(bad) => return Ok(Some(Stop::Corrupt(bad.into()))),
                Parsed::End | Parsed::Incomplete => break,
            };
            match apply(&row, &rest[..length]) {
                Ok(()) => rest = &rest[length..],
                Err(Stop::Disorder) => {
                    is_in_order = false;
                    break;
                }
                Err(stop) => return Ok(Some(stop)),
            }
        }
        if !rest.is_empty() || !carried.is_empty() {
            carried = rest.to_vec();
        }
    }
    Ok(if is_in_order { None } else { Some(Stop::Disorder) })
}
