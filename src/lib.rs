//! The imperative shell of Assay.
//!
//! Chain logs come in through `chain`, are appended to `event_store`, and are folded and rated by
//! `rating` and `rater`, which write what the API may see through `projection`.
//! `verify` does all of it again and compares.
//! The library never knows the API or the signer: the binary wires them (`command`).

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
pub mod observations;
pub mod projection;
pub mod rater;
pub mod rating;
pub mod solver;
pub mod verify;
pub mod world;
