//! One reader per kind of evidence: bytes in, typed evidence and the list of problems out.

pub mod bpf_btf;
pub mod bpf_grid;
pub mod bpftool;
