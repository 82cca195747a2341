//! The event store: an append-only, hash-chained log in Postgres.
//!
//! One writer at a time appends whole batches: facts, headers, finality and cursor in one
//! transaction, so that a crash at any moment leaves all of a batch or nothing.
//! Nothing here decides what a fact means.
//!
//! Read in this order: `batch` (what comes in), `codec` (what a row is), `appender` and
//! `postgres` (in), `read` and `canonical` (out), `verify`.

pub mod appender;
pub mod batch;
pub mod canonical;
pub mod codec;
pub mod error;
mod ingest;
pub mod postgres;
pub mod read;
pub mod verify;

pub use appender::{Appender, Head, NOTIFY_CHANNEL, own_fact};
pub use batch::{Appended, Batch, Header, Revert};
pub use canonical::{CanonicalFact, CanonicalHead, Extension};
pub use error::AppendError;
pub use postgres::{Cursor, EventStore};
pub use read::Corruption;
pub use read::{Envelope, FoldError, ReadError, Recorded};
pub use verify::{Verified, VerifyError};
