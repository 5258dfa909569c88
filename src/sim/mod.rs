//! Simulators: integer clocks, no I/O.

pub mod bpf;
