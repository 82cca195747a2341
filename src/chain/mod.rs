//! The way in: Ethereum's chain logs become facts for the event store.
//!
//! Never writes SQL and never judges a fact.
//!
//! Read in this order: `deployment` (who emits), `chain_log`, `abi`, `mapping`, `events` and
//! `decode` (what it means), `manifest`, `target` and `discovered` (contracts beside EigenLayer's),
//! `governance` and `timelock` (who can change them, and what is scheduled),
//! `catalog` (the names of everything else); `import` (files); `probe` (what a node can do);
//! `source` with `rpc_source` and `scripted`, `beacon` (whom to ask), `window`, `range`, `backfill` and
//! `ingest` (the loop), `sink` (where it goes).

pub mod abi;
mod backfill;
pub mod beacon;
pub mod catalog;
pub mod chain_log;
pub mod decode;
pub mod deployment;
mod discovered;
pub mod endpoint;
mod events;
mod governance;
pub mod import;
pub mod ingest;
pub mod manifest;
mod mapping;
pub mod nodes;
pub mod observe;
pub mod probe;
pub mod range;
pub mod receipts;
mod rewards;
mod rpc_error;
pub mod rpc_source;
pub mod scripted;
pub mod sink;
pub mod source;
mod target;
mod timelock;
mod transport;
pub mod window;

pub use beacon::Beacon;
pub use chain_log::{ChainLog, Topics};
pub use decode::{DecodeError, Decoder};
pub use deployment::{Contract, Contracts, Deployment, DeploymentError, parse_deployments};
pub use endpoint::{Endpoint, EndpointError};
pub use import::{Import, ImportError, ImportReport};
pub use ingest::{Ingest, IngestError, IngestOptions, IngestStatus, Step};
pub use manifest::{Manifest, ManifestError};
pub use nodes::Nodes;
pub use rpc_source::RpcSource;
pub use scripted::ScriptedSource;
pub use sink::{Resume, Sink};
pub use source::{LogFilter, LogSource, Patience, SourceError};
