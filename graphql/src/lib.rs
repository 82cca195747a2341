//! The query side of Assay: GraphQL over schema `read_model`, and nothing else.
//!
//! It never writes and never decides: every answer is a row of the read model, as of one position
//! of the canonical log. Signed messages go to a [`Recorder`] that the binary brings.
//! Read in this order: `query` (what can be asked), `scope` (as of when), `session` and `page`
//! (how rows are fetched), `limit` (what is refused), `http` (the wire).

mod action;
mod allocation;
mod arrange;
mod atom;
mod attestation;
mod attribution;
mod avs;
mod dashboard;
mod distribution;
mod entity;
mod error;
mod execute;
mod export;
mod frontier;
mod governance;
mod graphiql;
mod http;
mod id;
mod leaderboard;
mod limit;
mod listen;
mod live;
mod lrt;
mod metrics;
mod name;
mod network;
mod operator;
mod page;
mod parquet;
mod period;
mod persisted;
mod publication;
mod query;
mod quota;
mod rated;
mod rating;
mod recent;
mod record;
mod scalar;
mod scope;
mod session;
mod slashing;
mod status;
mod stress;
mod subscription;
mod token_name;
mod transport;

pub use dashboard::dashboard_files;
pub use error::ApiError;
pub use execute::{AssaySchema, Backend, execute, schema, sdl};
pub use export::csv_cell;
pub use frontier::{FoundFrontier, FoundPoint, FrontierQuestion};
pub use graphiql::OPERATIONS;
pub use http::{ApiConfig, router};
pub use limit::*;
pub use listen::serve;
pub use network::FoundNetwork;
pub use query::Query;
pub use quota::ApiKey;
pub use record::{Mutation, NotRecorded, Recorded, Recorder};
pub use stress::{BoxFuture, Moment, Simulated, SimulationError, Simulator};
pub use subscription::Subscription;
