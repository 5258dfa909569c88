//! Shows a report value in a format. Computes nothing: every number comes from `findings`.

pub mod json;
pub mod text;
mod words;

pub use words::{clean, size};
