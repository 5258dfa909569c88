//! Workflow commands of GitHub Actions: `::error file=…,line=…,title=…::message`, shown beside the changed lines.

use std::fmt::Write as _;

use super::super::document::Document;
use super::super::words::clean;
use super::notices;

/// The reports as commands.
pub(in crate::report) fn render(reports: &[Document]) -> String {
    let mut out = String::new();
    for notice in reports.iter().flat_map(notices).filter(|n| n.reason.is_none()) {
        let command = match notice.severity {
            "error" => "error",
            "warn" => "warning",
            _ => "notice",
        };
        let mut properties = Vec::new();
        if let Some(place) = notice.places.iter().find(|p| !p.path.is_empty()) {
            properties.push(format!("file={}", property(&place.path)));
            properties.extend(place.line.map(|line| format!("line={line}")));
        }
        properties.push(format!("title=meshdump {}", property(notice.rule)));
        let _ = writeln!(out, "::{command} {}::{}", properties.join(","), data(&notice.text_with_places()));
    }
    out
}

/// Text after `::`: one line, in which `%` is the escape.
fn data(text: &str) -> String {
    clean(text).replace('%', "%25")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_command() {
        assert_eq!(data("a\n::error::b 5%"), "a\\u{a}::error::b 5%25");
        assert_eq!(property("x,line=1::y"), "x%2Cline=1%3A%3Ay");
    }
}
