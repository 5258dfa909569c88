//! The report value of `meshdump redact`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::analysis::Tool;

/// What was done to an input, and whether it still says the same.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Redaction {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `redact`.
    pub kind: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub input: String,
    /// What was written.
    pub out: String,
    /// Where the key came from: `content` or `file`.
    pub key: &'static str,
    /// Secrets replaced, by class.
    pub secrets: BTreeMap<String, u64>,
    /// Values in which a part was a secret (URLs, `Bearer …`).
    pub secrets_inside: u64,
    /// Names replaced, each time one occurs.
    pub names: u64,
    /// Addresses replaced, each time one occurs.
    pub addresses: u64,
    /// Values that look like secrets and were kept.
    pub suspects: Vec<Suspicious>,
    /// Of those, how many the list leaves out.
    pub suspects_omitted: u64,
    /// Documents left out.
    pub left_out: Vec<LeftOut>,
    /// Different numbers compared in the analyses of input and output.
    pub numbers: u64,
    /// They are the same.
    pub identical: bool,
    /// The first that are not: `-` of the input, `+` of the output.
    pub differences: Vec<String>,
}

/// A value that looks like a secret and was kept.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Suspicious {
    /// Input.
    pub path: String,
    /// Byte offset in the uncompressed input.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
}

/// A document that is not in the output.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeftOut {
    /// Input.
    pub path: String,
    /// Why.
    pub why: String,
}
