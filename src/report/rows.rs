//! One line per resource (or per map): CSV for spreadsheets, NDJSON for scripts.

use serde::Serialize;

use super::clean;
use super::document::{Document, Field, Moment, Proxy, Resource, Source};
use super::json;

/// A resource with the proxy it is in.
#[derive(Serialize)]
struct Line<'a> {
    proxy: &'a str,
    kind: &'a str,
    name: &'a str,
    namespace: &'a str,
    owner: &'a str,
    state: &'a str,
    bytes: u64,
    retained_bytes: u64,
    json_bytes: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [Field],
    source: &'a Source,
}

impl<'a> Line<'a> {
    fn of(proxy: &'a Proxy, r: &'a Resource) -> Self {
        Self {
            proxy: &proxy.label,
            kind: &r.kind,
            name: &r.name,
            namespace: &r.namespace,
            owner: &r.owner,
            state: &r.state,
            bytes: r.bytes,
            retained_bytes: r.retained_bytes,
            json_bytes: r.json_bytes,
            fields: &r.fields,
            source: &r.source,
        }
    }
}

/// A row of a timeline with the run it is of.
#[derive(Serialize)]
struct RunLine<'a> {
    run: &'a str,
    #[serde(flatten)]
    moment: &'a Moment,
}

/// Resources of analyses, maps of bpf reports, timelines of runs: one JSON object per line.
///
/// # Errors
/// When the reports have none of them.
pub(super) fn ndjson(reports: &[Document]) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    let mut any = false;
    for report in reports {
        for p in report.proxies() {
            any = true;
            p.resources.iter().for_each(|r| out.push_str(&json::line(&Line::of(p, r))));
        }
        if let Some(b) = report.bpf() {
            any = true;
            b.maps.iter().for_each(|m| out.push_str(&json::line(m)));
        }
    }
    for run in reports.iter().flat_map(Document::runs) {
        any = true;
        run.timeline.iter().for_each(|moment| out.push_str(&json::line(&RunLine { run: run.name(), moment })));
    }
    if any { Ok(out.into_bytes()) } else { Err(nothing("ndjson", reports)) }
}

/// What a format says that has nothing to say.
pub(super) fn nothing(format: &str, reports: &[Document]) -> String {
    let kinds: Vec<&str> = reports.iter().map(|r| r.head.kind.as_str()).collect();
    format!("-o {format} has nothing to show of a report of kind {}", clean(&kinds.join(", ")))
}

/// A name for a cell: no control characters, and nothing in front that a spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let text = clean(text);
    if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text.into_owned() }
}

/// Resources of analyses, or rows of maps of bpf reports, as CSV with a header.
///
/// # Errors
/// When the reports have none of them.
pub(super) fn csv(reports: &[Document]) -> Result<Vec<u8>, String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let mut write = |row: &[String]| out.write_record(row).map_err(|e| e.to_string());
    let header = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>();
    let analyses: Vec<&Proxy> = reports.iter().flat_map(Document::proxies).collect();
    if !analyses.is_empty() {
        write(&header(&[
            "proxy",
            "kind",
            "name",
            "namespace",
            "owner",
            "state",
            "bytes",
            "retained_bytes",
            "json_bytes",
            "path",
            "offset",
            "line",
        ]))?;
        for p in analyses {
            for r in &p.resources {
                write(&[
                    cell(&p.label),
                    cell(&r.kind),
                    cell(&r.name),
                    cell(&r.namespace),
                    cell(&r.owner),
                    cell(&r.state),
                    r.bytes.to_string(),
                    r.retained_bytes.to_string(),
                    r.json_bytes.to_string(),
                    cell(&r.source.path),
                    r.source.offset.to_string(),
                    r.source.line.to_string(),
                ])?;
            }
        }
    } else if let Some(b) = reports.iter().find_map(Document::bpf) {
        write(&header(&[
            "owner",
            "parent",
            "name",
            "type",
            "entries_max",
            "live",
            "maps",
            "memlock",
            "predicted_memlock",
            "real",
            "charged",
        ]))?;
        for r in &b.rows {
            write(&[
                cell(&r.owner),
                cell(r.parent.as_deref().unwrap_or("")),
                cell(&r.name),
                cell(&r.map_type),
                r.entries_max.to_string(),
                r.live.map(|n| n.to_string()).unwrap_or_default(),
                r.totals.maps.to_string(),
                r.totals.memlock.to_string(),
                r.totals.predicted_memlock.to_string(),
                r.totals.real.to_string(),
                r.totals.charged.to_string(),
            ])?;
        }
    } else if reports.iter().any(|r| !r.runs().is_empty()) {
        write(&header(&[
            "run",
            "t",
            "allocated",
            "resident",
            "draining_bytes",
            "listeners_active",
            "listeners_warming",
            "listeners_draining",
            "filter_chains_draining",
            "groups_draining",
            "clusters_active",
        ]))?;
        for run in reports.iter().flat_map(Document::runs) {
            for m in &run.timeline {
                let mut row = vec![cell(run.name()), m.t.to_string()];
                row.extend(
                    [
                        m.allocated,
                        m.resident,
                        m.draining_bytes,
                        m.listeners_active,
                        m.listeners_warming,
                        m.listeners_draining,
                        m.filter_chains_draining,
                        m.groups_draining,
                        m.clusters_active,
                    ]
                    .map(|n| n.to_string()),
                );
                write(&row)?;
            }
        }
    } else {
        return Err(nothing("csv", reports));
    }
    out.into_inner().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_formula_in_a_cell() {
        assert_eq!(cell("=HYPERLINK(\"x\")"), "'=HYPERLINK(\"x\")");
        assert_eq!(cell("a=b\u{1b}"), "a=b\\u{1b}");
    }
}
