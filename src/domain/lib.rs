//! The functional core of Assay: what happened, what state that makes, what rating follows.
//!
//! Every function here is a pure function of its arguments.
//! There is no IO, no clock, no random source, no hash map, no `async` and no panic;
//! floats live in the hazard and special-function modules alone.
//! Read in this order: `id`, `block`, `event`, `state`, then the model.
//! The functional core of Assay.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod assess;
pub mod attestation;
pub mod attribution;
pub mod backtest;
pub mod beacon;
pub mod block;
pub mod canonical;
pub mod cap;
pub mod creditrisk;
pub mod decimal;
pub mod event;
pub mod evidence;
pub mod exposure;
pub mod frailty;
pub mod frontier;
pub mod grade;
pub mod hazard;
pub mod id;
pub mod loss;
pub mod loss_block;
pub mod lrt;
pub mod methodology;
pub mod mitigation;
pub mod network;
pub mod operator;
pub mod operator_set;
pub mod parameters;
pub mod portfolio;
pub mod rating;
pub mod ratio;
pub mod rationale;
pub mod ruleset;
pub mod scenario;
pub mod sensitivity;
pub mod severity;
pub mod special;
pub mod state;
pub mod surveillance;
pub mod tail;
pub mod text;
pub mod uncertainty;
pub mod what_if;
pub mod word;

pub use block::{BlockRef, ChainId};
pub use event::{Event, Fact, FactKey};
pub use id::{
    AvsId, EntityKind, LrtId, OperatorId, OperatorSetId, RatedEntity, StakerId, StrategyId,
};
pub use state::State;
pub use text::UntrustedText;
pub use word::{Flags, Word, WordFields};
