//! Documents become typed evidence: one file per kind, bytes in, model out, with the list of problems.
//!
//! Nothing past this room sees JSON or protobuf.

mod api;
pub mod bpf_btf;
pub mod bpf_grid;
pub mod bpf_trace;
pub mod bpftool;
pub mod compare;
pub mod config_dump;
pub mod envoy_admin;
mod json;
pub mod kind;
pub mod kubernetes;
pub mod load;
pub mod protobuf;
pub mod recording;
pub mod redact;
mod secrets;
mod semantic;
pub mod watch;
mod window;
