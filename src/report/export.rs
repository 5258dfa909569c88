//! The formats that are made of a report's JSON, for every kind of report alike.

use super::document::Document;
use super::html;

/// A format besides text and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// One page for a browser.
    Html,
}

impl Export {
    /// All of them, with the name that `-o` takes.
    pub const ALL: &[(&str, Self)] = &[("html", Self::Html)];

    /// Lists every resource.
    pub fn every_resource(self) -> bool {
        match self {
            Self::Html => false,
        }
    }

    /// Shows fields, of small resources too.
    pub fn by_field(self) -> bool {
        match self {
            Self::Html => true,
        }
    }

    /// Draws the treemap.
    pub fn treemap(self) -> bool {
        self == Self::Html
    }

    /// Is not text, so a terminal must not get it.
    pub fn binary(self) -> bool {
        match self {
            Self::Html => false,
        }
    }

    /// The reports in this format.
    ///
    /// # Errors
    /// One line, when the format has nothing to say about such reports.
    pub fn render(self, reports: &[Document]) -> Result<Vec<u8>, String> {
        match self {
            Self::Html => Ok(html::render(reports).into_bytes()),
        }
    }
}
