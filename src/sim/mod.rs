//! Simulators: integer clocks, no I/O.

pub mod bpf;
mod bpf_slots;
pub mod control_plane;
pub mod envoy;
pub mod scope;
