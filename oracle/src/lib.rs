//! Signs rating batches and lands them on chain, exactly once.
//!
//! Reads what is due from schema `outbox`, writes nothing else and never the event store.
//! Read in this order: `report`, `batch` (what is signed), `guard` (sign once), `key`,
//! `submission` (the life of a batch, pure), `outbox` (what is stored), `transmitter` (the loop),
//! `publish` (how to start it), `compare` (whether the chain holds what Postgres holds).

#![forbid(unsafe_code)]

pub mod anvil;
pub mod batch;
pub mod chain;
pub mod compare;
pub mod contract;
mod council;
#[cfg(feature = "ethers-signers")]
pub mod ethers;
pub mod guard;
pub mod key;
pub mod outbox;
mod outcome;
pub mod policy;
pub mod publish;
pub mod report;
pub mod submission;
mod transmitter;

pub use batch::{Batch, OracleId};
pub use key::{AttestationKey, GasKey, KeyError, RatingSigner};
pub use policy::{Finality, Policy};
pub use publish::{Observer, Publication, Published, publish_once, run};
pub use report::{EntityKey, Report};
