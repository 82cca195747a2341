//! The imperative shell of Assay.
//!
//! Read in this order: `event_store`, `chain`; below them `db` and `cluster`, beside them
//! `archive`.

pub mod archive;
pub mod chain;
pub mod cluster;
pub mod db;
pub mod event_store;
