//! Tests.

mod chain_decode;
mod chain_import;
mod chain_ingest;
mod chain_rpc;
mod chain_shared;
mod chain_world;
mod mock_node;
