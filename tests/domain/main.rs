//! Tests of the functional core.

mod special;
