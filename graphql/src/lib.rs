//! Query side.
