//! Markdown for issue trackers: the answer, a table of findings, the rest folded away.
//!
//! Names stand in code spans, where trackers neither render markup nor notify people; other text is escaped.

use std::fmt::Write as _;

use super::document::{Analysis, Body, Bpf, Check, Document, Finding, Gate, Proxy, Runs};
use super::document_diff::Diff;
use super::words::{count, cut, fit, signed};
use crate::model::size::size;

/// Rows of a table.
const ROWS: usize = 15;
/// Findings, and evidence of one.
const FINDINGS: usize = 30;
const EVIDENCE: usize = 5;

/// The reports, one after another.
pub(super) fn render(reports: &[Document]) -> String {
    let mut out = String::new();
    for report in reports {
        let mut found: Vec<&Finding> = report.head.findings.iter().collect();
        match &report.body {
            Body::Analysis(a) => {
                answer(&mut out, a, report.head.inputs.len());
                found.extend(a.bpf.iter().flat_map(|b| &b.findings));
                findings(&mut out, &found, a.proxies.len() > 1);
                details(&mut out, a);
            }
            Body::Bpf(b) => {
                bpf_answer(&mut out, b);
                findings(&mut out, &found, false);
                bpf(&mut out, b);
            }
            Body::Runs(r) => {
                runs(&mut out, r);
                findings(&mut out, &found, false);
            }
            Body::Check(c) => check(&mut out, c),
            Body::Diff(d) => diff(&mut out, d),
            Body::Other => {
                let _ = writeln!(out, "**meshdump {}**\n", prose(&report.head.kind));
                // what has no section of its own is not without findings because it names none
                if found.is_empty() {
                    out.push_str("This kind of report is shown by `-o text` and `-o json`.\n\n");
                } else {
                    findings(&mut out, &found, false);
                }
            }
        }
        inputs(&mut out, report);
    }
    out
}

/// A name in a code span, fit for a cell of a table.
fn code(name: &str, width: usize) -> String {
    if name.is_empty() {
        return "(no name)".to_owned();
    }
    let text = fit(name, width).replace('|', "\\|");
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Text in which nothing means anything to a renderer of Markdown.
fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in fit(text, 400).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // a mention notifies people, a reference links another issue
            '@' | '#' => {
                let _ = write!(out, "{c}<!-- -->");
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // a bare address would become a link
    out.replace("://", ":<!-- -->//")
}

/// Text for a folded part's title, which is HTML.
fn summary(out: &mut String, text: &str) {
    let _ = writeln!(out, "<details><summary>{text}</summary>\n");
}

fn close(out: &mut String) {
    out.push_str("\n</details>\n\n");
}

fn answer(out: &mut String, a: &Analysis, inputs: usize) {
    match a.proxies.as_slice() {
        [] => {
            let _ = writeln!(out, "**meshdump**: {}, no proxy\n", count(inputs as u64, "input", "inputs"));
        }
        [p] => {
            let m = &p.memory;
            let version = if p.envoy_version.is_empty() {
                String::new()
            } else {
                format!(" (Envoy {})", prose(&p.envoy_version))
            };
            let _ = writeln!(
                out,
                "{}{version}: estimated allocated **{}** ({} to {}) = configuration {} + idle process {}; resident {}",
                code(&p.label, 80),
                size(m.allocated.bytes),
                size(m.allocated.low),
                size(m.allocated.high),
                size(m.config.bytes),
                size(m.base.bytes),
                size(m.resident.bytes)
            );
            if let Some(o) = &m.observed {
                let residual = m.residual_bytes.unwrap_or(0) as f64 * 100.0 / m.allocated.bytes.max(1) as f64;
                let _ = writeln!(out, "Observed {} ({residual:+.1}% against the estimate).", size(o.allocated));
            }
            if let Some(limit) = m.limit_bytes.filter(|l| *l > 0) {
                let _ = writeln!(
                    out,
                    "Resident is {:.0}% of the limit of {}.",
                    m.resident.bytes as f64 * 100.0 / limit as f64,
                    size(limit)
                );
            }
            out.push('\n');
        }
        many => {
            if let Some(f) = &a.fleet {
                let d = f.allocated;
                let _ = writeln!(
                    out,
                    "**{}**: estimated allocated **{}** in all; median {}, 90 % below {}, most {}\n",
                    count(f.proxies, "proxy", "proxies"),
                    size(d.total),
                    size(d.p50),
                    size(d.p90),
                    size(d.max)
                );
            }
            out.push_str("| proxy | Envoy | allocated | observed | listeners | clusters | draining |\n|---|---|--:|--:|--:|--:|--:|\n");
            for p in many.iter().take(ROWS) {
                let c = &p.counts;
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    code(&p.label, 60),
                    prose(&p.envoy_version),
                    size(p.memory.allocated.bytes),
                    p.memory.observed.as_ref().map_or("-".to_owned(), |o| size(o.allocated)),
                    c.listeners.total(),
                    c.clusters.total(),
                    p.draining.listeners_implied.unwrap_or(p.draining.listeners_in_dump)
                );
            }
            others(out, many.len().saturating_sub(ROWS) as u64);
            out.push('\n');
        }
    }
}

fn others(out: &mut String, n: u64) {
    if n > 0 {
        let _ = writeln!(out, "\n\\[{}\\]", count(n, "other", "others"));
    }
}

fn findings(out: &mut String, all: &[&Finding], many: bool) {
    if all.is_empty() {
        out.push_str("No findings.\n\n");
        return;
    }
    out.push_str("| | code | finding | saves |\n|---|---|---|--:|\n");
    for f in all.iter().take(FINDINGS) {
        let proxy = if many && !f.proxy.is_empty() { format!(" ({})", code(&f.proxy, 40)) } else { String::new() };
        let saves = if f.saved_bytes > 0 { size(f.saved_bytes) } else { String::new() };
        let _ = writeln!(out, "| {} | {} | {}{proxy} | {saves} |", prose(&f.severity), prose(&f.code), prose(&f.title));
    }
    others(out, all.len().saturating_sub(FINDINGS) as u64);
    out.push('\n');
    summary(out, "Evidence and fixes");
    for f in all.iter().take(FINDINGS) {
        let _ = writeln!(out, "- **{}** {}", prose(&f.code), prose(&f.title));
        for e in f.evidence.iter().take(EVIDENCE) {
            let line = e.line.map(|l| format!(", line {l}")).unwrap_or_default();
            let _ = writeln!(out, "  - {}{line}", code(&e.text, 160));
        }
        let rest = f.evidence.len().saturating_sub(EVIDENCE) as u64 + f.evidence_omitted;
        if rest > 0 {
            let _ = writeln!(out, "  - \\[{}\\]", count(rest, "other", "others"));
        }
        if !f.fix.is_empty() {
            let _ = writeln!(out, "  - fix: {}", prose(&f.fix));
        }
    }
    close(out);
}

fn details(out: &mut String, a: &Analysis) {
    if let [p] = a.proxies.as_slice() {
        summary(out, "By kind");
        out.push_str("| kind | count | JSON | heap |\n|---|--:|--:|--:|\n");
        for k in &p.by_kind {
            let _ = writeln!(out, "| {} | {} | {} | {} |", prose(&k.name), k.count, size(k.json_bytes), size(k.bytes));
        }
        let _ = writeln!(out, "| base process | | | {} |", size(p.memory.base.bytes));
        close(out);
        if p.by_namespace.len() > 1 {
            summary(out, "By namespace");
            out.push_str("| namespace | count | heap |\n|---|--:|--:|\n");
            for g in p.by_namespace.iter().take(ROWS) {
                let _ = writeln!(out, "| {} | {} | {} |", code(&g.name, 80), g.count, size(g.bytes));
            }
            others(out, p.by_namespace.len().saturating_sub(ROWS) as u64);
            close(out);
        }
        resources(out, p);
    }
    if let Some(b) = &a.bpf {
        bpf(out, b);
    }
}

fn resources(out: &mut String, p: &Proxy) {
    if p.resources.is_empty() {
        return;
    }
    summary(out, "Largest resources");
    out.push_str("| resource | kind | state | heap | retained | line |\n|---|---|---|--:|--:|--:|\n");
    for r in p.resources.iter().take(ROWS) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            code(&r.name, 90),
            prose(&r.kind),
            prose(&r.state),
            size(r.bytes),
            size(r.retained_bytes),
            r.source.line
        );
    }
    others(out, p.resources.len().saturating_sub(ROWS) as u64 + p.resources_omitted);
    close(out);
}

fn bpf_answer(out: &mut String, b: &Bpf) {
    let t = b.totals;
    let _ = writeln!(
        out,
        "**{}**: reported {}, real {}, charged to containers {}\n",
        count(t.maps, "BPF map", "BPF maps"),
        size(t.memlock),
        size(t.real),
        size(t.charged)
    );
}

fn bpf(out: &mut String, b: &Bpf) {
    summary(out, "BPF maps by owner");
    out.push_str("| owner | maps | reported | real | charged |\n|---|--:|--:|--:|--:|\n");
    for g in b.groups.iter().take(ROWS) {
        let t = g.totals;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            code(&g.owner, 60),
            t.maps,
            size(t.memlock),
            size(t.real),
            size(t.charged)
        );
    }
    others(out, b.groups.len().saturating_sub(ROWS) as u64);
    close(out);
}

fn runs(out: &mut String, r: &Runs) {
    let runs = &r.runs;
    if let Some(w) = &r.winner {
        let _ = writeln!(out, "Best: {}: {}.\n", code(&w.scenario, 80), prose(&w.why));
    }
    if let Some((run, peak)) = runs.first().and_then(|r| Some((r, r.peak.as_ref()?))) {
        let _ = writeln!(
            out,
            "Peak **{}** allocated ({} to {}) at t={}{}; at the end {}, a restarted Envoy {}.\n",
            size(peak.allocated.bytes),
            size(peak.allocated.low),
            size(peak.allocated.high),
            peak.t,
            if peak.cause.is_empty() { String::new() } else { format!(", raised by {}", prose(&peak.cause)) },
            size(run.end.allocated),
            size(run.end.restarted)
        );
        if let Some(limit) = run.envoy.limit {
            let _ = match run.over_limit_t {
                Some(t) => writeln!(out, "Anonymous memory passes the limit of {} at t={t}.\n", size(limit)),
                None => writeln!(out, "Anonymous memory stays below the limit of {}.\n", size(limit)),
            };
        }
    }
    if runs.len() < 2 {
        return;
    }
    out.push_str("| scenario | peak | against the first | pushes | drains: listeners, chains | connections cut | waits p50 / p99 / max, ms | over the limit |\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for r in runs.iter().take(FINDINGS) {
        let delta = r.delta_peak.map_or("-".to_owned(), signed);
        let waits = r.staleness_ms.map_or("-".to_owned(), |s| format!("{} / {} / {}", s.p50, s.p99, s.max));
        let over = r.over_limit_t.map_or("-".to_owned(), |t| format!("t={t}"));
        let pushes = r.pushes_sent.map_or("-".to_owned(), |n| n.to_string());
        let _ = writeln!(
            out,
            "| {} | {} | {delta} | {pushes} | {} | {} | {waits} | {over} |",
            code(r.name(), 80),
            r.peak_bytes().map_or("-".to_owned(), size),
            match (&r.peak, r.listeners_drained, r.filter_chains_drained) {
                (None, ..) => "-".to_owned(),
                (_, Some(listeners), Some(chains)) => format!("{}: {listeners}, {chains}", r.drains_total()),
                _ => r.drains_total().to_string(),
            },
            r.connections_cut.map_or("-".to_owned(), |c| cut(c.least, c.most))
        );
    }
    others(out, runs.len().saturating_sub(FINDINGS) as u64);
    out.push('\n');
}

fn diff(out: &mut String, d: &Diff) {
    out.push_str(if d.equal { "**meshdump diff**: no difference\n\n" } else { "**meshdump diff**\n\n" });
    for (list, side) in [(&d.proxies_removed, "first"), (&d.proxies_added, "second")] {
        for label in list {
            let _ = writeln!(out, "- only in the {side}: {}", code(label, 80));
        }
    }
    for part in d.parts() {
        let _ = writeln!(out, "\n{}\n\n| what | was | now | difference |\n|---|--:|--:|--:|", code(part.title, 80));
        for [what, was, now, delta] in &part.rows {
            let _ = writeln!(out, "| {} | {was} | {now} | {delta} |", prose(what));
        }
        out.push('\n');
        for (what, items) in &part.lists {
            summary(out, &format!("{} {what}", count(items.len() as u64, "resource", "resources")));
            for item in items.iter().take(FINDINGS) {
                let _ = writeln!(out, "- {} {}", prose(item.kind), code(item.name, 120));
                for f in item.fields.iter().take(EVIDENCE) {
                    let _ = writeln!(out, "  - {}", code(f, 200));
                }
                let rest = item.fields.len().saturating_sub(EVIDENCE) as u64;
                if rest > 0 {
                    let _ = writeln!(out, "  - \\[{}\\]", count(rest, "other", "others"));
                }
            }
            let rest = items.len().saturating_sub(FINDINGS) as u64;
            if rest > 0 {
                let _ = writeln!(out, "- \\[{}\\]", count(rest, "other", "others"));
            }
            close(out);
        }
    }
}

fn check(out: &mut String, c: &Check) {
    let t = c.totals;
    let verdict = if c.ok { "OK" } else { "FAILED" };
    let _ = writeln!(
        out,
        "**meshdump check: {verdict}** ({} failed, {} warned, {} suppressed, {} skipped, {} passed)\n",
        t.failed, t.warned, t.suppressed, t.skipped, t.passed
    );
    let listed: Vec<&Gate> = c.gates.iter().filter(|g| g.status != "pass").collect();
    if listed.is_empty() {
        return;
    }
    out.push_str("| | gate | proxy | |\n|---|---|---|---|\n");
    for g in listed.iter().take(FINDINGS) {
        let proxy = if g.proxy.is_empty() { String::new() } else { code(&g.proxy, 60) };
        let reason = if g.reason.is_empty() { String::new() } else { format!(" ({})", prose(&g.reason)) };
        let _ =
            writeln!(out, "| {} | {} | {proxy} | {}{reason} |", prose(&g.status), code(&g.rule, 60), prose(&g.message));
    }
    others(out, listed.len().saturating_sub(FINDINGS) as u64);
    out.push('\n');
    let placed: Vec<&&Gate> = listed.iter().filter(|g| !g.places.is_empty()).take(FINDINGS).collect();
    if placed.is_empty() {
        return;
    }
    summary(out, "Where");
    for g in placed {
        let _ = writeln!(out, "- {}", prose(&g.message));
        for p in g.places.iter().take(ROWS) {
            let line = p.line.map(|l| format!(", line {l}")).unwrap_or_default();
            let _ = writeln!(out, "  - {} in {}{line}", code(&p.text, 160), code(&p.path, 100));
        }
        let rest = g.places.len().saturating_sub(ROWS) as u64 + g.places_omitted;
        if rest > 0 {
            let _ = writeln!(out, "  - \\[{}\\]", count(rest, "other", "others"));
        }
    }
    close(out);
}

fn inputs(out: &mut String, report: &Document) {
    let head = &report.head;
    summary(out, "Inputs and model");
    for i in head.inputs.iter().take(ROWS) {
        let _ = writeln!(
            out,
            "- {} ({}, {}) sha256 {}",
            code(&i.path, 100),
            prose(&i.kind),
            size(i.bytes),
            prose(&i.sha256)
        );
    }
    let rest = head.inputs.len().saturating_sub(ROWS) as u64;
    if rest > 0 {
        let _ = writeln!(out, "- \\[{}\\]", count(rest, "other", "others"));
    }
    for p in head.problems.iter().take(ROWS) {
        let _ = writeln!(out, "- not read: {}: {}", code(&p.path, 100), prose(&p.message));
    }
    let _ = write!(
        out,
        "\nmeshdump {}, cost model {}; bytes are estimates",
        prose(&head.tool.version),
        prose(&head.tool.cost_model)
    );
    close(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_data() {
        assert_eq!(code("a|b`c", 80), "``a\\|b`c``");
        assert_eq!(code("`x", 80), "`` `x ``");
        assert_eq!(code("", 80), "(no name)");
        assert_eq!(prose("<b>@you [x](http://y) *z*"), "&lt;b&gt;@<!-- -->you \\[x\\](http:<!-- -->//y) \\*z\\*");
        assert_eq!(prose("a\u{1b}[1m"), "a\\\\u{1b}\\[1m");
    }
}
