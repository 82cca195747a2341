//! The way in: Ethereum's chain logs become facts for the event store.
//!
//! Never touches the database and never judges a fact.
//! Read in this order: `deployment` (who emits), `chain_log`, `abi`, `mapping` and `decode`
//! (what it means), `catalog` (the names of everything else).

pub mod abi;
pub mod catalog;
pub mod chain_log;
pub mod decode;
pub mod deployment;
mod events;
pub mod import;
mod mapping;

pub use chain_log::{ChainLog, Topics};
pub use decode::{DecodeError, Decoder};
pub use deployment::{Contract, Contracts, Deployment, DeploymentError, parse_deployments};
pub use import::{Import, ImportError, ImportReport};
