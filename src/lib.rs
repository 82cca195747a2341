//! The imperative shell of Assay.
//!
//! Read in this order: `event_store`, `chain`.

pub mod archive;
pub mod cluster;
pub mod db;
pub mod event_store;
