//! Signs rating batches and lands them on chain, exactly once.
//!
//! Reads what is due from schema `outbox`, writes nothing else and never the event store.
//! Read in this order: `report`, `batch` (what is signed), `guard` (sign once), `key`,
//! `submission` (the life of a batch, pure).

#![forbid(unsafe_code)]

pub mod batch;
pub mod guard;
pub mod key;
pub mod report;
pub mod submission;

pub use batch::{Batch, OracleId};
pub use key::{GasKey, RatingSigner};
pub use report::{EntityKey, Report};
