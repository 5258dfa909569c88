//! Where a fact was read, so that a finding can name file, line and offset.

use serde::Serialize;

/// Index of an input in the run's list of inputs (`inputs[]` of the JSON report).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct InputId(pub u32);

/// The place of one resource in the uncompressed bytes of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// Which input.
    pub input: InputId,
    /// Offset of the first byte, from 0, in the uncompressed document.
    pub offset_bytes: u64,
    /// Line of the first byte, from 1.
    pub line: u64,
    /// Length in bytes, as written (with its whitespace).
    pub len_bytes: u64,
}
