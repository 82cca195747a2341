//! Tests of the functional core.

mod frontier;
mod loss_input;
mod loss_properties;
mod scores;
mod special;
mod vectors;
mod vectors_loss;
mod vectors_models;
