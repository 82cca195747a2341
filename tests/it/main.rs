//! The one integration binary: everything that needs a database, a node or a process.

mod cluster;
mod oracle;
mod oracle_crash;
mod oracle_guard;
mod oracle_world;
mod store;
mod support;
