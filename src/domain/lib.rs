//! The functional core of Assay: what happened, what state that makes, what rating follows.
//!
//! Every function here is a pure function of its arguments.
//! There is no IO, no clock, no random source, no hash map, no `async` and no panic;
//! floats live in the hazard and special-function modules alone.
//! Read in this order: `id`, `block`, `event`, `state`, then the model.

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

pub mod block;
pub mod event;
pub mod id;
pub mod text;
pub mod word;

pub use block::{BlockRef, ChainId};
pub use event::{Event, Fact, FactKey};
pub use id::{AvsId, EntityKind, OperatorId, OperatorSetId, RatedEntity, StakerId, StrategyId};
pub use text::UntrustedText;
pub use word::{Flags, Word, WordFields};
