//! Tests.

mod chain_decode;
mod chain_import;
mod chain_shared;
