//! What was found, as text and JSON. Shows and computes nothing.

pub mod bpf;
pub mod bpf_csv;
pub mod bpf_sim;
