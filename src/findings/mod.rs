//! What the evidence says, priced, with stable codes.

pub mod bpf;
