//! Tests of the functional core.

mod frontier;
mod loss_properties;
mod special;
mod vectors;
mod vectors_loss;
mod vectors_models;
