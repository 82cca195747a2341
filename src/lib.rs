//! The imperative shell of Assay.
//!
//! Chain logs come in through `chain`, are appended to `event_store`, and are folded and rated by
//! `rating` and `rater`, which write what the API may see through `projection`.
//! `verify` does all of it again and compares.
//! The binary wires the API and the signer to it (`command`). Of the API the library knows one
//! port: `simulation` plays scenarios for it, on a log that the API cannot see.

pub mod agreement;
pub mod archive;
pub mod attestation;
pub mod backtest;
pub mod chain;
pub mod cluster;
pub mod db;
pub mod documents;
pub mod event_store;
pub mod feedback;
pub mod intake;
pub mod metrics;
pub mod observations;
pub mod projection;
pub mod rater;
pub mod rating;
pub mod replay;
pub mod simulation;
pub mod solver;
pub mod verify;
pub mod webhook;
pub mod world;
