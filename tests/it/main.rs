//! The one integration binary: everything that needs a database, a node or a process.

mod chain_beacon;
mod chain_chaos;
mod chain_decode;
mod chain_discovery;
mod chain_import;
mod chain_ingest;
mod chain_receipts;
mod chain_rpc;
mod chain_shared;
mod chain_store;
mod chain_world;
mod cluster;
mod declarations;
mod demo;
mod fuzz;
mod graphql;
mod ledger;
mod mock_node;
mod oracle;
mod oracle_crash;
mod oracle_guard;
mod oracle_hostile;
mod oracle_nodes;
mod oracle_world;
mod store;
mod support;
