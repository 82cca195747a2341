//! Tests of the functional core.

mod model_experience;
mod model_hazard;
mod model_methodology;
mod model_scale;
mod model_support;
