//! Tests of the functional core.

mod frontier;
mod governance;
mod loss_input;
mod loss_properties;
mod model_attribution;
mod model_experience;
mod model_hazard;
mod model_methodology;
mod model_rationale;
mod model_scale;
mod model_sets;
mod model_support;
mod model_surveillance;
mod montecarlo;
mod network;
mod portfolios;
mod pricing;
mod scenario;
mod scores;
mod special;
mod state;
mod tail;
mod timelock;
mod vectors;
mod vectors_loss;
mod vectors_models;
