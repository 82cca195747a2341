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

pub mod backtest;
pub mod beacon;
pub mod creditrisk;
pub mod frontier;
pub mod loss;
pub mod network;
pub mod portfolio;
pub mod ratio;
pub mod special;
