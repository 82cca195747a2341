//! The imperative shell of Assay.
//!
//! Read in this order: `event_store`, `chain`.

pub mod chain;
pub mod event_store;
