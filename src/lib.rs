//! `meshdump` reads the evidence that people have of a service mesh's memory (Envoy `/config_dump`, `/memory`,
//! `/stats`, support bundles, `bpftool` JSON) and says, offline, where the bytes went.
//!
//! Data goes through the rooms one way, and imports follow it from left to right only:
//!
//! ```text
//! bytes ──► evidence ──► model ──► price / simulate ──► findings ──► report
//! input/    evidence/    model/    cost/   sim/         findings/    report/
//!                       cli/ opens the doors, main.rs sets the exit code
//! ```
//!
//! | room | takes | gives | must not know |
//! | --- | --- | --- | --- |
//! | [`input`] | paths | named streams of bytes ([`input::Document`]) | Envoy, JSON |
//! | [`evidence`] | documents | typed evidence and the list of problems | prices, terminals |
//! | [`model`] | – | plain data of the field | JSON, bytes, files |
//! | [`cost`] | model | bytes with bounds | files, terminals |
//! | [`findings`] | priced model | coded findings | how they are shown |
//! | [`report`] | one report value | text, JSON | anything computed |
//!
//! `docs/architecture.md` has the longer form; `tests/rooms.rs` checks the import direction.

pub mod cli;
pub mod cost;
pub mod evidence;
pub mod findings;
pub mod generate;
pub mod input;
pub mod lab;
pub mod model;
pub mod report;
pub mod sim;
