//! SARIF 2.1.0, for code scanning and editors: a result per finding or gate, at the exact places of the evidence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::super::document::{Document, Evidence};
use super::super::json::render as json_text;
use super::super::words::fit;
use super::{Notice, TEXT, notices};
use crate::findings::catalog::lookup;

const DOCS: &str = "https://github.com/meshdump/meshdump/blob/main/docs/check.md";

/// The reports, each as a run.
pub(in crate::report) fn render(reports: &[Document]) -> String {
    let runs: Vec<Value> = reports.iter().map(run).collect();
    json_text(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": runs,
    }))
}

fn run(report: &Document) -> Value {
    let notices = notices(report);
    let mut rules: Vec<&str> = notices.iter().map(|n| n.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let mut seen: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let results: Vec<Value> = notices
        .iter()
        .map(|n| {
            let again = seen.entry((n.rule, n.proxy)).or_default();
            *again += 1;
            result(n, *again, rules.binary_search(&n.rule).unwrap_or_default())
        })
        .collect();
    let notes: Vec<Value> = report
        .head
        .problems
        .iter()
        .map(|p| {
            let place = Evidence { path: p.path.clone(), line: p.line, offset: p.offset, ..Evidence::default() };
            json!({
                "level": if p.loss == "nothing" { "note" } else { "warning" },
                "message": { "text": fit(&p.message, TEXT) },
                "locations": [location(&place)],
            })
        })
        .collect();
    json!({
        "tool": { "driver": {
            "name": "meshdump",
            "version": report.head.tool.version,
            "informationUri": "https://github.com/meshdump/meshdump",
            "rules": rules.iter().map(|r| rule(r)).collect::<Vec<Value>>(),
        } },
        "invocations": [{ "executionSuccessful": true, "toolExecutionNotifications": notes }],
        "results": results,
    })
}

/// What a rule means: the catalogue's words for a finding, the name of the number for a gate.
fn rule(id: &str) -> Value {
    match lookup(id) {
        Some(entry) => json!({
            "id": id,
            "shortDescription": { "text": entry.title },
            "fullDescription": { "text": entry.text },
            "helpUri": DOCS,
        }),
        None => json!({
            "id": fit(id, TEXT),
            "shortDescription": { "text": format!("a gate of meshdump check: {}", fit(id, TEXT)) },
            "helpUri": DOCS,
        }),
    }
}

fn result(n: &Notice<'_>, again: u64, index: usize) -> Value {
    let level = match n.severity {
        "error" => "error",
        "warn" => "warning",
        _ => "note",
    };
    let print = xxh3_64(format!("{}\0{}\0{again}", n.rule, n.proxy).as_bytes());
    let mut out = json!({
        "ruleId": fit(n.rule, TEXT),
        "ruleIndex": index,
        "level": level,
        "message": { "text": n.text_with_places() },
        "locations": n.places.iter().filter(|p| !p.path.is_empty()).map(location).collect::<Vec<Value>>(),
        "partialFingerprints": { "ruleAndProxy/v1": format!("{print:016x}") },
    });
    if let Some(reason) = n.reason {
        out["suppressions"] = json!([{ "kind": "external", "justification": fit(reason, TEXT) }]);
    }
    out
}

fn location(p: &Evidence) -> Value {
    let mut region = json!({});
    if let Some(line) = p.line {
        region["startLine"] = line.into();
    }
    if let (Some(offset), Some(bytes)) = (p.offset, p.bytes) {
        region["byteOffset"] = offset.into();
        region["byteLength"] = bytes.into();
    }
    let mut out = json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&p.path) } } });
    if region != json!({}) {
        out["physicalLocation"]["region"] = region;
    }
    if !p.text.is_empty() {
        out["message"] = json!({ "text": fit(&p.text, TEXT) });
    }
    out
}

/// A path as a URI reference: everything but plain characters is escaped.
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for b in path.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~/!".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        assert_eq!(uri("a b/<x>?.json"), "a%20b/%3Cx%3E%3F.json");
        assert_eq!(uri("/tmp/x.tar.gz!a/b"), "file:///tmp/x.tar.gz!a/b");
        assert_eq!(uri("javascript:alert"), "javascript%3Aalert");
    }
}
