//! JUnit XML: a suite per report, a case per gate.

use maud::{PreEscaped, html};

use super::super::document::{Body, Check, Document, Gate};
use super::super::words::{count, fit};
use super::TEXT;

/// Places in the text of a failure.
const PLACES: usize = 20;

/// The reports as suites.
///
/// # Errors
/// When none of them has gates.
pub(in crate::report) fn render(reports: &[Document]) -> Result<Vec<u8>, String> {
    let checks = |d: &'_ Document| matches!(d.body, Body::Check(_));
    if !reports.iter().any(checks) {
        return Err("JUnit XML shows gates; `meshdump check` has some, this report has none".to_owned());
    }
    let suites = reports.iter().filter_map(|d| match &d.body {
        Body::Check(check) => Some(check),
        _ => None,
    });
    let body = html! {
        testsuites name="meshdump" {
            @for check in suites { (suite(check)) }
        }
    };
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", body.into_string()).into_bytes())
}

fn suite(check: &Check) -> PreEscaped<String> {
    let t = check.totals;
    html! {
        testsuite name="meshdump check" tests=(check.gates.len()) failures=(t.failed) errors="0" skipped=(t.skipped + t.suppressed) {
            @for gate in &check.gates { (case(gate)) }
        }
    }
}

fn case(gate: &Gate) -> PreEscaped<String> {
    let proxy = if gate.proxy.is_empty() { "all".to_owned() } else { text(&gate.proxy) };
    let message = text(&gate.message);
    html! {
        testcase name=(text(&gate.rule)) classname=(proxy) {
            @match gate.status.as_str() {
                "fail" => { failure message=(message) type=(text(&gate.rule)) { (places(gate)) } },
                "skipped" => { skipped message=(message) {} },
                "suppressed" => { skipped message=(format!("{message} (suppressed: {})", text(&gate.reason))) {} },
                "warn" => { system-out { (message) "\n" (places(gate)) } },
                _ => {},
            }
        }
    }
}

/// Where it shows, a line each.
fn places(gate: &Gate) -> String {
    let mut lines: Vec<String> = gate
        .places
        .iter()
        .take(PLACES)
        .map(|p| {
            let line = p.line.map(|l| format!(":{l}")).unwrap_or_default();
            format!("{}{line} {}", text(&p.path), text(&p.text))
        })
        .collect();
    let rest = gate.places.len().saturating_sub(PLACES) as u64 + gate.places_omitted;
    if rest > 0 {
        lines.push(format!("[{}]", count(rest, "other", "others")));
    }
    lines.join("\n")
}

/// Text without what XML 1.0 has no way to write.
fn text(name: &str) -> String {
    fit(name, TEXT).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
