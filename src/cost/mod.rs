//! Bytes per object, as pure functions of the model.

pub mod kernel;
