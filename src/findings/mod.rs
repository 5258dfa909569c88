//! What the priced model means: rules with stable codes, each with evidence, bytes, a fix and its own documentation.
//!
//! [`analysis::analyze`] turns proxies into the report value; `report/` only shows it.

pub mod analysis;
pub mod bpf;
pub mod catalog;
pub mod check;
mod code;
pub mod diff;
pub mod diff_recording;
mod draining;
pub mod fleet;
mod graph;
pub mod kubernetes;
mod ledger;
pub mod numbers;
pub mod owners;
pub mod redaction;
pub mod replay;
mod rules;
pub mod scope;
mod similarity;
pub mod treemap;
pub mod whatif;

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is wrong now.
    Error,
    /// Memory is held for nothing, or soon will be missing.
    Warn,
    /// Good to know, mostly about the evidence.
    Note,
}

impl Severity {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Note => "note",
        }
    }
}

/// One piece of evidence: what was seen, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Evidence {
    /// What was seen.
    pub text: String,
    /// The input, as the user named it; empty when no single place shows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Byte offset in the uncompressed input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// Stable code, `MD302`.
    pub code: &'static str,
    /// Severity.
    pub severity: Severity,
    /// The proxy it concerns; empty for the run as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// One line that says it.
    pub title: String,
    /// What it rests on, a few places at most.
    pub evidence: Vec<Evidence>,
    /// Evidence left out of the list.
    #[serde(skip_serializing_if = "is_zero")]
    pub evidence_omitted: u64,
    /// Bytes that acting on it would save by the cost model; 0 when it saves none. Savings overlap.
    pub saved_bytes: u64,
    /// What to do.
    pub fix: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
