//! Signs rating batches and lands them on chain, exactly once; and reads them there.
//!
//! Who reads needs no publisher: without the feature `publisher` (on by default) there are
//! `report`, `batch`, `proof` (what was signed, and what it proves), `chain`, `contract`,
//! `council`, `share`, `reader` and `compare`, and no database.
//!
//! The publisher reads what is due from schema `outbox`, writes nothing else and never the event
//! store. Read in this order: `report`, `batch` (what is signed), `guard` (sign once), `key`,
//! `share`, `council` and `node` (signatures among nodes), `submission` (the life of a batch, pure),
//! `outbox` (what is stored), `transmitter` (the loop), `publish` (how to start it), `compare`
//! (whether the chain holds what Postgres holds).

#![forbid(unsafe_code)]

#[cfg(feature = "publisher")]
mod admin;
#[cfg(feature = "publisher")]
pub mod anvil;
pub mod batch;
pub mod chain;
pub mod compare;
pub mod contract;
pub mod council;
#[cfg(feature = "publisher")]
mod duties;
#[cfg(feature = "ethers-signers")]
pub mod ethers;
#[cfg(feature = "publisher")]
pub mod guard;
#[cfg(feature = "publisher")]
pub mod key;
#[cfg(feature = "publisher")]
pub mod node;
#[cfg(feature = "publisher")]
pub mod outbox;
#[cfg(feature = "publisher")]
mod outcome;
#[cfg(feature = "publisher")]
pub mod peer;
#[cfg(feature = "publisher")]
pub mod policy;
pub mod proof;
#[cfg(feature = "publisher")]
pub mod publish;
pub mod reader;
pub mod report;
pub mod share;
pub mod submission;
#[cfg(feature = "publisher")]
mod transmitter;

pub use batch::{Batch, OracleId};
pub use council::{Ballot, Council};
#[cfg(feature = "publisher")]
pub use key::{AttestationKey, GasKey, KeySpec, RatingSigner, check_private};
#[cfg(feature = "publisher")]
pub use node::Node;
#[cfg(feature = "publisher")]
pub use peer::Peer;
#[cfg(feature = "publisher")]
pub use policy::{Finality, Policy};
#[cfg(feature = "publisher")]
pub use publish::{Observer, Publication, Published, publish_once, run};
pub use reader::Reader;
pub use report::{EntityKey, Report};
pub use share::Share;

/// The consumer's example compiles as it stands.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
