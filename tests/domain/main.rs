//! Tests of the functional core.

mod model_attribution;
mod model_experience;
mod model_hazard;
mod model_methodology;
mod model_rationale;
mod model_scale;
mod model_sets;
mod model_support;
mod model_surveillance;
