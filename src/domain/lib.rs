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

pub mod attribution;
pub mod cap;
pub mod decimal;
pub mod exposure;
pub mod frailty;
pub mod grade;
pub mod hazard;
pub mod loss_block;
pub mod methodology;
pub mod mitigation;
pub mod operator;
pub mod operator_set;
pub mod parameters;
pub mod rationale;
pub mod ruleset;
pub mod sensitivity;
pub mod severity;
pub mod special;
pub mod surveillance;
pub mod uncertainty;
