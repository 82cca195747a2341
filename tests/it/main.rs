//! The one integration binary: everything that needs a database, a node or a process.

mod cluster;
mod graphql;
mod store;
mod support;
