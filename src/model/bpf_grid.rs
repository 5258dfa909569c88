//! A grid of maps created on one kernel.

use super::bpf::Shape;

/// What a grid row says of `memlock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: to be predicted.
    Unknown,
    /// The number.
    Bytes(u64),
    /// The map could not be created; the error as written (`ERR22`).
    Refused(Box<str>),
}

/// What was put into a map before its number was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inserted {
    /// Keys inserted.
    pub keys: u64,
    /// Prefixes inside one another (`nested`), or far apart (`sparse`), or half of the keys deleted again (`halfdel`).
    pub pattern: Pattern,
}

/// How keys were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// Distinct keys.
    Plain,
    /// Distinct keys, then half of them deleted.
    HalfDeleted,
    /// Prefixes of growing length of one address.
    Nested,
    /// Prefixes spread over the key space.
    Sparse,
}

/// One row of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What the map was created with; none when the row could not be read.
    pub shape: Option<Shape>,
    /// What was put into it.
    pub inserted: Inserted,
    /// Possible CPUs.
    pub cpus: Option<u32>,
    /// The number, if known.
    pub outcome: Outcome,
}
