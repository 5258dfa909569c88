//! Plain data of the field: what a proxy holds, without any trace of how it was read or will be shown.
//!
//! Nothing here knows JSON, files or prices. A type may hold less than its namesake in Envoy's API, never more.

pub mod bpf;
pub mod bpf_grid;
pub mod bpf_trace;
pub mod change;
pub mod envoy;
pub mod ingress;
pub mod kubernetes;
pub mod problem;
pub mod size;
pub mod source;
pub mod stream;
pub mod weight;
