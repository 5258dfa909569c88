//! The formats that are made of a report's JSON, for every kind of report alike.

use super::document::Document;
use super::{ci, html, markdown, openmetrics, rows, stacks, trace};

/// A format besides text and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// One page for a browser.
    Html,
    /// Markdown for issue trackers.
    Markdown,
    /// A row per resource, for spreadsheets.
    Csv,
    /// A JSON object per resource.
    Ndjson,
    /// A gzipped profile for viewers of profiles.
    Pprof,
    /// Folded stacks of heap bytes.
    Folded,
    /// Folded stacks of bytes of JSON, down to fields.
    FoldedJson,
    /// Gauges.
    OpenMetrics,
    /// Trace events of simulated runs.
    Trace,
    /// SARIF 2.1.0: findings, or gates that do not hold.
    Sarif,
    /// JUnit XML: a case per gate.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
}

impl Export {
    /// All of them, with the name that `-o` takes.
    pub const ALL: &[(&str, Self)] = &[
        ("html", Self::Html),
        ("md", Self::Markdown),
        ("csv", Self::Csv),
        ("ndjson", Self::Ndjson),
        ("pprof", Self::Pprof),
        ("folded", Self::Folded),
        ("folded-json", Self::FoldedJson),
        ("openmetrics", Self::OpenMetrics),
        ("trace", Self::Trace),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
    ];

    /// Lists every resource.
    pub fn every_resource(self) -> bool {
        matches!(self, Self::Csv | Self::Ndjson | Self::Pprof | Self::Folded | Self::FoldedJson)
    }

    /// Shows fields, of small resources too.
    pub fn by_field(self) -> bool {
        matches!(self, Self::Html | Self::Pprof | Self::FoldedJson)
    }

    /// Draws the treemap.
    pub fn treemap(self) -> bool {
        self == Self::Html
    }

    /// Is not text, so a terminal must not get it.
    pub fn binary(self) -> bool {
        self == Self::Pprof
    }

    /// The reports in this format.
    ///
    /// # Errors
    /// One line, when the format has nothing to say about such reports.
    pub fn render(self, reports: &[Document]) -> Result<Vec<u8>, String> {
        match self {
            Self::Html => Ok(html::render(reports).into_bytes()),
            Self::Markdown => Ok(markdown::render(reports).into_bytes()),
            Self::Csv => rows::csv(reports),
            Self::Ndjson => rows::ndjson(reports),
            Self::Pprof => stacks::pprof(reports),
            Self::Folded => stacks::folded(reports, false),
            Self::FoldedJson => stacks::folded(reports, true),
            Self::OpenMetrics => openmetrics::render(reports),
            Self::Trace => trace::render(reports),
            Self::Sarif => Ok(ci::sarif::render(reports).into_bytes()),
            Self::Junit => ci::junit::render(reports),
            Self::Github => Ok(ci::github::render(reports).into_bytes()),
        }
    }
}
