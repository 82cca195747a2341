//! The event store: an append-only, hash-chained log in Postgres.
//!
//! One writer at a time appends whole batches: facts, headers, finality and cursor in one
//! transaction, so that a crash at any moment leaves all of a batch or nothing.

pub mod batch;

pub use batch::{Appended, Batch, Header, Revert};
