//! Shows a report value in a format. Computes nothing: every number comes from `findings`.

pub mod bpf;
pub mod bpf_csv;
pub mod bpf_sim;
pub mod check;
mod ci;
pub mod diff;
mod document;
mod document_diff;
mod export;
mod html;
pub mod json;
mod kubernetes;
mod markdown;
mod openmetrics;
pub mod redaction;
pub mod replay;
mod rows;
pub mod scope;
mod stacks;
pub mod text;
mod trace;
pub mod whatif;
mod words;

pub use document::Document;
pub use export::Export;
pub use words::{clean, wrap};
