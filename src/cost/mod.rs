//! Bytes per object, always with bounds. Knows the model, never files or terminals.

pub mod envoy;
pub mod estimate;
pub mod kernel;

pub use estimate::Estimate;
