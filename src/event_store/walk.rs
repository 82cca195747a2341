//! How rows come out of Postgres: by binary `COPY`, decoded from the bytes as they arrive.
//!
//! The order is checked and never assumed: the table is read as it lies on disk, a row that comes
//! early waits for its turn, and if too many must wait, the rest is asked for again, sorted.
//! What the rows mean is for `read`, `canonical` and `verify` to say.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::appender::Head;
use super::codec::{
    self, COLUMNS, COLUMNS_BUT_HASH, COPY_HEADER, Parsed, Preimage, Row, STORAGE_GENESIS,
};
use super::postgres::{read_head, to_hash};
use super::read::{Corruption, FoldError, ReadError};

/// Bytes of rows that may wait for their turn. Postgres puts a small row into a gap of an earlier
/// page, so a few rows in a hundred come early.
const EARLY_BYTES_MAX: usize = 64 << 20;

/// Why reading stops before the end.
pub(super) enum Stop<E> {
    /// The row is damaged.
    Corrupt(Corruption),
    /// The rows do not come in order.
    Disorder,
    /// The caller's function said so.
    Apply(E),
}

/// Which stored hashes a walk compares with the recomputed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Each: nothing of a damaged row is handed over.
    EveryHash,
    /// The last, which depends on everything before: damage is known only at the end, and then
    /// its place is looked for. A fifth cheaper.
    LastHash,
}

/// A row's place in the hash chain, recomputed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) previous: B256,
    pub(super) hash: B256,
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
    /// positions, tags and hashes.
    pub(super) async fn walk<E>(
        &mut self,
        after: u64,
        up_to: Option<u64>,
        check: Check,
        apply: impl FnMut(&Row<'_>, &Preimage, Link) -> Result<(), Stop<E>>,
    ) -> Result<Head, FoldError<E>> {
        let last = read_head(&mut self.connection).await?.position;
        let end = up_to.map_or(last, |up_to| up_to.min(last));
        let from = self.head_at(after).await?;
        if from.position >= end {
            return Ok(from);
        }
        let walked = self.walk_once(from, end, last, check, apply).await?;
        let stored = self.head_at(end).await?.hash;
        if walked.hash == stored {
            return Ok(walked);
        }
        // Something on the way is damaged; now say where.
        self.walk_once(from, end, last, Check::EveryHash, |_, _, _| Ok(())).await?;
        Err(mismatch(end, walked.hash, stored).into())
    }

    async fn walk_once<E>(
        &mut self,
        at: Head,
        end: u64,
        last: u64,
        check: Check,
        mut apply: impl FnMut(&Row<'_>, &Preimage, Link) -> Result<(), Stop<E>>,
    ) -> Result<Head, FoldError<E>> {
        let columns = match check {
            Check::EveryHash => COLUMNS,
            Check::LastHash => COLUMNS_BUT_HASH,
        };
        let mut walker = Walker { at, preimage: Preimage::new(), early: Early::default() };
        if at.position == 0 && end == last {
            let whole = format!("COPY event_store.events ({columns}) TO STDOUT (FORMAT binary)");
            let step = |row: &Row<'_>, bytes: &[u8]| walker.step(row, bytes, &mut apply);
            match copy_out(&mut self.connection, &whole, step).await? {
                Some(Stop::Disorder) => walker.early = Early::default(),
                // A misshapen row; as the rows lie, it need not be the first that is damaged.
                Some(Stop::Corrupt(bad)) if bad.position != walker.next() => {
                    walker.early = Early::default();
                }
                stopped => finish(stopped)?,
            }
        }
        if walker.at.position < end && walker.early.rows.is_empty() {
            let condition = format!(
                "position > {} AND position <= {end} ORDER BY position",
                walker.at.position
            );
            let rest = select(columns, &condition);
            let step = |row: &Row<'_>, bytes: &[u8]| walker.step(row, bytes, &mut apply);
            match copy_out(&mut self.connection, &rest, step).await? {
                Some(Stop::Disorder) => {}
                Some(Stop::Corrupt(bad)) if bad.position > walker.next() => {}
                stopped => finish(stopped)?,
            }
        }
        if walker.at.position < end {
            return Err(missing(walker.next()).into());
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
        finish(copy_out(&mut self.connection, &select(COLUMNS, condition), each).await?)
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
    /// The position that is due.
    #[inline]
    const fn next(&self) -> u64 {
        self.at.position.wrapping_add(1)
    }

    #[inline]
    fn step<E>(
        &mut self,
        row: &Row<'_>,
        bytes: &[u8],
        apply: &mut impl FnMut(&Row<'_>, &Preimage, Link) -> Result<(), Stop<E>>,
    ) -> Result<(), Stop<E>> {
        if row.position != self.next() {
            return self.put_off(row, bytes);
        }
        self.take(row, apply)?;
        while let Some(early) = self.early.rows.first_entry() {
            if *early.key() != self.at.position + 1 {
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
        apply: &mut impl FnMut(&Row<'_>, &Preimage, Link) -> Result<(), Stop<E>>,
    ) -> Result<(), Stop<E>> {
        row.check().map_err(|bad| Stop::Corrupt(bad.into()))?;
        self.preimage.set_row(row);
        let hash = self.preimage.hash_after(&self.at.hash);
        if let Some(stored) = row.hash
            && stored != hash
        {
            return Err(Stop::Corrupt(mismatch(row.position, hash, stored)));
        }
        apply(row, &self.preimage, Link { previous: self.at.hash, hash })?;
        self.at = Head { position: row.position, hash };
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

fn select(columns: &str, condition: &str) -> String {
    format!(
        "COPY (SELECT {columns} FROM event_store.events WHERE {condition}) \
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

fn mismatch(position: u64, hash: B256, stored: B256) -> Corruption {
    let reason = format!("its columns hash to {hash}, stored is {stored}");
    Corruption { position, column: None, reason }
}

/// Runs a `COPY … TO STDOUT` and hands each row to `apply` until that stops.
///
/// After rows in disorder or a misshapen row the rest is read and let go, and the connection can
/// be used again; after any other stop it cannot.
async fn copy_out<E>(
    connection: &mut PgConnection,
    statement: &str,
    mut apply: impl FnMut(&Row<'_>, &[u8]) -> Result<(), Stop<E>>,
) -> Result<Option<Stop<E>>, sqlx::Error> {
    let mut stream = connection.copy_out_raw(statement).await?;
    let mut stopped = None;
    // What of the last message was not a whole row. Postgres sends one row a message, but the
    // protocol does not promise that.
    let mut carried: Vec<u8> = Vec::new();
    let mut is_header_behind = false;
    while let Some(chunk) = stream.try_next().await? {
        if stopped.is_some() {
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
        while stopped.is_none() {
            let (row, length) = match codec::parse_row(rest) {
                _ if !is_header_behind => break,
                Parsed::Row(row, length) => (row, length),
                Parsed::Bad(bad) => {
                    stopped = Some(Stop::Corrupt(bad.into()));
                    break;
                }
                Parsed::End | Parsed::Incomplete => break,
            };
            match apply(&row, &rest[..length]) {
                Ok(()) => rest = &rest[length..],
                Err(Stop::Disorder) => stopped = Some(Stop::Disorder),
                Err(stop) => return Ok(Some(stop)),
            }
        }
        if !rest.is_empty() || !carried.is_empty() {
            carried = rest.to_vec();
        }
    }
    Ok(stopped)
}
