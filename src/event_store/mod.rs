//! The event store: an append-only, hash-chained log in Postgres.
//!
//! One writer at a time appends whole batches: facts, headers, finality and cursor in one
//! transaction, so that a crash at any moment leaves all of a batch or nothing.
//! Nothing here decides what a fact means.
//!
//! Read in this order: `batch` (what comes in), `codec` (what a row is), `appender` and
//! `ingest` (in), `walk`, `read` and `canonical` (out), `verify`, `archive` (all of it in a file).

pub mod appender;
pub mod archive;
pub mod batch;
pub mod canonical;
pub mod codec;
pub mod error;
mod ingest;
pub mod message;
mod page_sizes;
pub mod postgres;
pub mod read;
pub mod verify;
mod walk;

pub use appender::{Appender, Head, NOTIFY_CHANNEL, own_fact};
pub use archive::{LogArchiveError, check_log};
pub use batch::{Appended, Batch, Header, Revert};
pub use canonical::{CanonicalFact, CanonicalHead, Extension};
pub use codec::canonical_hash;
pub use error::AppendError;
pub use message::{Record, RecordError, Timeliness};
pub use postgres::{Cursor, EventStore};
pub use read::Corruption;
pub use read::{Envelope, FoldError, ReadError, Recorded};
pub use verify::{Verified, VerifyError};

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only if the futures can be spawned; sqlx and closures make that easy to lose.
    #[expect(dead_code, reason = "it is enough that it compiles")]
    fn futures_can_be_spawned(store: EventStore, batch: Batch) {
        tokio::spawn(async move {
            let _appended = store.append(&batch).await;
            let _appended = store.append_own(&batch.facts, None).await;
            let _verified = store.verify().await;
            let start = || 0;
            let apply = |_: &mut i32, _: &_| Ok::<(), std::fmt::Error>(());
            let _folded = store.fold_canonical(None, start, apply).await;
            let _read = store.for_each(0, None, |_| Ok::<(), std::fmt::Error>(())).await;
            let _read = store.read_own(&[], 0, |_| Ok::<(), std::fmt::Error>(())).await;
            if let Ok(database) = crate::db::connect("").await {
                let _migrated = database.migrate().await;
                let _pool = database.pool(crate::db::Role::Writer, 1).await;
            }
        });
    }
}
