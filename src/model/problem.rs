//! What could not be read or was refused, in one line that says what to do.

use super::source::InputId;

/// How much of the input a [`Problem`] has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Nothing was lost; the reader had to be lenient (a prefix line, a BOM, a second document).
    Nothing,
    /// One resource was lost or left out; what follows it was read.
    Resource,
    /// The rest of the file was lost; what was whole before is in the report.
    Part,
    /// The document as a whole could not be used.
    Whole,
}

/// One thing that went wrong while reading. Reading never fails as a whole: it returns what it got and these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The input it concerns, when it got as far as being one.
    pub input: Option<InputId>,
    /// The input as the user named it, with the entry inside an archive after `!`.
    pub label: String,
    /// Byte offset in the uncompressed document, when there is one.
    pub offset_bytes: Option<u64>,
    /// Line, from 1, when it is known.
    pub line: Option<u64>,
    /// What was found, and what was expected: a lower-case fragment without a final period.
    pub what: String,
    /// What the user can do, empty when there is nothing.
    pub hint: String,
    /// How much was lost.
    pub loss: Loss,
}

impl Problem {
    /// A problem without position; add one with [`Problem::at`].
    pub fn new(label: impl Into<String>, loss: Loss, what: impl Into<String>) -> Self {
        Self {
            input: None,
            label: label.into(),
            offset_bytes: None,
            line: None,
            what: what.into(),
            hint: String::new(),
            loss,
        }
    }

    /// Adds the byte offset (from 0) in the uncompressed document.
    #[must_use]
    pub fn at(mut self, offset_bytes: u64) -> Self {
        self.offset_bytes = Some(offset_bytes);
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}
