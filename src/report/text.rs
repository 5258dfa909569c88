//! The report for people: the answer first, what it rests on second, what to do third.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};

use super::words::{clean, count, fit, wrap};
use crate::findings::analysis::{Analysis, ProblemReport, ProxyReport};
use crate::findings::{Evidence, Finding, Severity};
use crate::model::size::size;

/// Rows of the tables by namespace, owner and resource.
const TOP_ROWS: usize = 8;
/// Proxies listed in a run with many.
const TOP_PROXIES: usize = 25;

/// Renders an analysis for a terminal of `width` columns. Styles are ANSI; strip them for files.
pub fn analysis(a: &Analysis, width: usize) -> String {
    let mut out = String::new();
    match a.proxies.as_slice() {
        [] => {}
        [one] => proxy(&mut out, a, one, width),
        many => fleet(&mut out, a, many, width),
    }
    if let Some(k) = &a.kubernetes {
        super::kubernetes::section(&mut out, k, width);
    }
    findings(&mut out, a, width);
    problems(&mut out, a, width);
    out
}

/// Renders the inputs as `meshdump ls` shows them.
pub fn inputs(a: &Analysis, width: usize) -> String {
    let mut t = table(&["ENTRY", "KIND", "SIZE", "PROXY", "NOTE"]);
    align_right(&mut t, &[2]);
    let name_width = width.saturating_sub(60).max(30);
    for i in &a.inputs {
        t.add_row([
            fit(&i.path, name_width),
            i.kind.clone(),
            size(i.bytes),
            i.proxy.as_deref().map(|p| fit(p, 30)).unwrap_or_default(),
            i.note.as_deref().map(|n| clean(n).into_owned()).unwrap_or_default(),
        ]);
    }
    let mut out = trimmed(&t);
    problems(&mut out, a, width);
    out
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut t = Table::new();
    t.load_style(presets::NOTHING);
    t.set_header(header);
    t
}

pub(super) fn align_right(t: &mut Table, columns: &[usize]) {
    for c in columns {
        if let Some(c) = t.column_mut(*c) {
            c.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The table without the spaces that pad its last column, and without its left margin.
pub(super) fn trimmed(t: &Table) -> String {
    t.to_string().lines().fold(String::new(), |mut out, line| {
        let line = line.strip_prefix(' ').unwrap_or(line);
        out.push_str(line.trim_end());
        out.push('\n');
        out
    })
}

pub(super) fn bold() -> Style {
    Style::new().bold()
}

fn proxy(out: &mut String, a: &Analysis, p: &ProxyReport, width: usize) {
    let b = bold();
    let mut facts = Vec::new();
    if !p.envoy_version.is_empty() {
        facts.push(format!("envoy {}", clean(&p.envoy_version)));
    }
    if !p.istio_version.is_empty() {
        facts.push(format!("istio {}", clean(&p.istio_version)));
    }
    match p.concurrency {
        Some(n) => facts.push(count(n.into(), "worker", "workers")),
        None => facts.push("workers unknown, 2 assumed".to_owned()),
    }
    if let Some(s) = p.drain_time_s {
        facts.push(format!("drain time {s}s"));
    }
    if let Some(t) = &p.newest_time {
        facts.push(format!("newest change {t}"));
    }
    let _ = writeln!(out, "{b}{}{b:#}   {}", clean(&p.label), facts.join(" · "));
    let read: Vec<String> = p
        .inputs
        .iter()
        .filter_map(|i| a.inputs.get(*i as usize))
        .map(|i| format!("{} {}", i.kind, size(i.bytes)))
        .collect();
    let _ = writeln!(out, "read    {}", read.join(", "));
    if p.expected_only {
        let _ = writeln!(out, "        what the control plane would send, not what Envoy has");
    }
    let m = &p.memory;
    let observed = match m.observed {
        Some(o) => {
            let d = m.residual_bytes.unwrap_or(0);
            let percent = d as f64 * 100.0 / m.allocated.bytes.max(1) as f64;
            let lag = if o.source == "stats" { " (gauge in /stats)" } else { "" };
            format!("; observed {}{lag}, {percent:+.1}% against the prediction", size(o.allocated))
        }
        None => "; no /memory beside the dump to check it".to_owned(),
    };
    let _ = writeln!(out, "model   {}{observed}", a.tool.cost_model);
    out.push('\n');
    let _ = writeln!(
        out,
        "{b}ESTIMATED ALLOCATED {}{b:#}  ({}..{})   config {} + base {}   resident {} ({}..{}){}",
        size(m.allocated.bytes),
        size(m.allocated.low),
        size(m.allocated.high),
        size(m.config.bytes),
        size(m.base.bytes),
        size(m.resident.bytes),
        size(m.resident.low),
        size(m.resident.high),
        limit(p),
    );
    if let Some(of) = &m.limit_of {
        let _ = writeln!(out, "the limit is that of {}", clean(of));
    }
    if m.outside_allocator.bytes > 0 {
        let o = m.outside_allocator;
        let _ =
            writeln!(out, "outside the allocator {} ({}..{}): LuaJIT, V8", size(o.bytes), size(o.low), size(o.high));
    }
    out.push('\n');
    kinds(out, p);
    states(out, p);
    draining(out, p, width);
    groups(out, "NAMESPACE", &p.by_namespace, 0, p.memory.config.bytes, width);
    groups(out, "OWNER", &p.by_owner, p.owners_omitted, p.memory.config.bytes, width);
    resources(out, p, width);
    savings(out, p);
}

/// What the operator could change.
fn savings(out: &mut String, p: &ProxyReport) {
    let b = bold();
    match p.savings.as_deref() {
        None => {
            let _ = writeln!(out, "{b}WHAT TO CHANGE{b:#}  not priced for so many resources; ask with --savings\n");
        }
        Some([]) => {}
        Some(rows) => {
            let mut t = table(&["WHAT TO CHANGE", "SAVES", "BOUNDS", "OUTSIDE", "HEAP%"]);
            align_right(&mut t, &[1, 2, 3, 4]);
            for s in rows {
                let (saved, outside) = (s.saved, s.saved_outside_allocator.bytes);
                t.add_row([
                    s.title.to_owned(),
                    size(saved.bytes),
                    format!("{}..{}", size(saved.low), size(saved.high)),
                    if outside > 0 { size(outside) } else { "-".to_owned() },
                    percent(saved.bytes, p.memory.allocated.bytes),
                ]);
            }
            out.push_str(&trimmed(&t));
            out.push_str("savings overlap; -o json says how to make each change\n\n");
        }
    }
}

fn limit(p: &ProxyReport) -> String {
    match p.memory.limit_bytes {
        Some(l) if l > 0 => format!("   limit {}  {}%", size(l), p.memory.resident.bytes * 100 / l),
        _ => String::new(),
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

fn kinds(out: &mut String, p: &ProxyReport) {
    let mut t = table(&["KIND", "COUNT", "JSON", "HEAP", "HEAP%", "EACH"]);
    align_right(&mut t, &[1, 2, 3, 4, 5]);
    let whole = p.memory.allocated.bytes;
    for k in &p.by_kind {
        t.add_row([
            k.kind.clone(),
            k.count.to_string(),
            if k.json_bytes > 0 { size(k.json_bytes) } else { "-".to_owned() },
            size(k.bytes),
            percent(k.bytes, whole),
            size(k.bytes / k.count.max(1)),
        ]);
    }
    let base = p.memory.base.bytes;
    t.add_row([
        "base process".to_owned(),
        "-".to_owned(),
        "-".to_owned(),
        size(base),
        percent(base, whole),
        "-".to_owned(),
    ]);
    t.add_row(["TOTAL".to_owned(), String::new(), String::new(), size(whole), "100.0%".to_owned(), String::new()]);
    out.push_str(&trimmed(&t));
    out.push('\n');
}

fn states(out: &mut String, p: &ProxyReport) {
    let c = &p.counts;
    let mut t = table(&["STATE", "STATIC", "ACTIVE", "WARMING", "DRAINING", "ERROR"]);
    align_right(&mut t, &[1, 2, 3, 4, 5]);
    let rows = [
        ("listeners", c.listeners),
        ("clusters", c.clusters),
        ("route configs", c.route_configs),
        ("endpoint sets", c.endpoint_sets),
        ("secrets", c.secrets),
    ];
    for (name, s) in rows.into_iter().filter(|(_, s)| s.total() > 0) {
        let n = |n: u64| if n == 0 { "-".to_owned() } else { n.to_string() };
        t.add_row([name.to_owned(), n(s.fixed), n(s.active), n(s.warming), n(s.draining), n(s.error)]);
    }
    out.push_str(&trimmed(&t));
    out.push('\n');
}

fn draining(out: &mut String, p: &ProxyReport, width: usize) {
    let d = &p.draining;
    let implied = match (d.listeners_implied, d.filter_chains_implied) {
        (None, None) => "unknown without /stats".to_owned(),
        (l, f) => format!(
            "{} and {}",
            l.map_or("? listeners".to_owned(), |n| count(n, "listener", "listeners")),
            f.map_or("? filter chains".to_owned(), |n| count(n, "filter chain", "filter chains"))
        ),
    };
    let mut line = format!(
        "DRAINING  seen in the dump: {}; by the gauges: {implied}",
        count(d.listeners_in_dump, "listener", "listeners")
    );
    if d.route_tables_unexplained > 0 {
        let _ = write!(
            line,
            "; {} of hidden generations",
            count(d.route_tables_unexplained, "inline route table", "inline route tables")
        );
    }
    if let Some(n @ 1..) = d.tls_contexts_unexplained {
        let _ = write!(line, "; {} of hidden generations", count(n, "TLS context", "TLS contexts"));
    }
    if d.bytes > 0 {
        let _ = write!(line, "; they hold {}", size(d.bytes));
    }
    let _ = writeln!(out, "{}", wrap(&line, width, 10));
    let needs = format!("          only a recording tells: {}", d.needs_recording.join("; "));
    let _ = writeln!(out, "{}\n", wrap(&needs, width, 12));
}

fn groups(
    out: &mut String,
    title: &str,
    rows: &[crate::findings::analysis::GroupRow],
    omitted: u64,
    whole: u64,
    width: usize,
) {
    if rows.len() < 2 {
        return;
    }
    let mut t = table(&[title, "COUNT", "HEAP", "CONFIG%"]);
    align_right(&mut t, &[1, 2, 3]);
    for r in rows.iter().take(TOP_ROWS) {
        t.add_row([
            fit(&r.name, width.saturating_sub(40).max(20)),
            r.count.to_string(),
            size(r.bytes),
            percent(r.bytes, whole),
        ]);
    }
    out.push_str(&trimmed(&t));
    others(out, rows.len().saturating_sub(TOP_ROWS) as u64 + omitted);
}

fn others(out: &mut String, n: u64) {
    if n > 0 {
        let _ = writeln!(out, "[{}]", count(n, "other", "others"));
    }
    out.push('\n');
}

fn resources(out: &mut String, p: &ProxyReport, width: usize) {
    if p.resources.is_empty() {
        return;
    }
    let mut t = table(&["RESOURCE", "KIND", "STATE", "HEAP", "RETAINED", "LINE"]);
    align_right(&mut t, &[3, 4, 5]);
    // a run with `--all` has made the list complete on purpose
    let rows = if p.resources_omitted == 0 && p.resources.len() > 50 { p.resources.len() } else { TOP_ROWS };
    for r in p.resources.iter().take(rows) {
        let name = if r.name.is_empty() { "(no name)" } else { &r.name };
        t.add_row([
            fit(name, width.saturating_sub(58).max(24)),
            r.kind.to_owned(),
            r.state.to_owned(),
            size(r.bytes),
            size(r.retained_bytes),
            r.source.line.to_string(),
        ]);
    }
    out.push_str(&trimmed(&t));
    others(out, p.resources.len().saturating_sub(rows) as u64 + p.resources_omitted);
    fields(out, p, width);
}

/// The largest fields of the largest resources that are broken down.
fn fields(out: &mut String, p: &ProxyReport, width: usize) {
    const RESOURCES: usize = 3;
    const FIELDS: usize = 5;
    let large: Vec<_> = p.resources.iter().filter(|r| !r.fields.is_empty()).take(RESOURCES).collect();
    if large.is_empty() {
        return;
    }
    let mut t = table(&["JSON BY FIELD", "BYTES", "SHARE"]);
    align_right(&mut t, &[1, 2]);
    for r in large {
        let name = if r.name.is_empty() { r.kind } else { &r.name };
        let whole = r.fields.first().map_or(1, |f| f.json_bytes);
        t.add_row([fit(name, width.saturating_sub(30).max(24)), size(r.json_bytes), String::new()]);
        // the outermost fields hold everything and say nothing
        let telling = r.fields.iter().filter(|f| f.json_bytes * 20 < whole * 19).take(FIELDS);
        for f in telling {
            let path = format!("  {}", fit(&f.path, width.saturating_sub(32).max(24)));
            t.add_row([path, size(f.json_bytes), percent(f.json_bytes, r.json_bytes)]);
        }
    }
    out.push_str(&trimmed(&t));
    out.push('\n');
}

fn fleet(out: &mut String, a: &Analysis, proxies: &[ProxyReport], width: usize) {
    let b = bold();
    if let Some(f) = &a.fleet {
        let d = f.allocated;
        let _ = writeln!(
            out,
            "{b}{} PROXIES, ESTIMATED ALLOCATED {}{b:#}   median {} (min {}, p90 {}, max {})   model {}",
            f.proxies,
            size(d.total),
            size(d.p50),
            size(d.min),
            size(d.p90),
            size(d.max),
            a.tool.cost_model,
        );
        if let Some(o) = f.observed_allocated {
            let _ =
                writeln!(out, "observed where /memory is there: {} in total, median {}", size(o.total), size(o.p50));
        }
        let versions: Vec<String> = f.envoy_versions.iter().map(|(v, n)| format!("{} ×{n}", clean(v))).collect();
        if !versions.is_empty() {
            let _ = writeln!(out, "envoy {}", versions.join(", "));
        }
        out.push('\n');
    }
    let mut t =
        table(&["PROXY", "LISTENERS", "CLUSTERS", "ROUTES", "ENDPOINTS", "DRAINING", "ESTIMATE", "OBSERVED", "ERR"]);
    align_right(&mut t, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for p in proxies.iter().take(TOP_PROXIES) {
        let m = &p.memory;
        let (observed, error) = match m.observed {
            Some(o) => {
                let e = (m.allocated.bytes as f64 - o.allocated as f64) * 100.0 / o.allocated.max(1) as f64;
                (size(o.allocated), format!("{e:+.1}%"))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        let d = &p.draining;
        t.add_row([
            fit(&p.label, width.saturating_sub(76).max(24)),
            p.counts.listeners.total().to_string(),
            p.counts.clusters.total().to_string(),
            p.counts.route_configs.total().to_string(),
            p.counts.endpoints.to_string(),
            d.listeners_implied.unwrap_or(d.listeners_in_dump).to_string(),
            size(m.allocated.bytes),
            observed,
            error,
        ]);
    }
    out.push_str(&trimmed(&t));
    others(out, proxies.len().saturating_sub(TOP_PROXIES) as u64);
    if let Some(f) = &a.fleet {
        for s in &f.series {
            let points: Vec<String> = s.points.iter().map(|(_, b)| size(*b)).collect();
            let _ = writeln!(out, "SERIES  {}: {}\n", clean(&s.node_id), points.join(" → "));
        }
    }
}

fn severity(s: Severity) -> String {
    let colour = match s {
        Severity::Error => AnsiColor::Red,
        Severity::Warn => AnsiColor::Yellow,
        Severity::Note => AnsiColor::Cyan,
    };
    let style = Style::new().fg_color(Some(colour.into())).bold();
    format!("{style}{:<5}{style:#}", s.as_str())
}

fn findings(out: &mut String, a: &Analysis, width: usize) {
    if a.findings.is_empty() {
        if !a.proxies.is_empty() {
            out.push_str("FINDINGS  none\n");
        }
        return;
    }
    let b = bold();
    let _ =
        writeln!(out, "{b}FINDINGS{b:#}  (savings overlap and must not be added; `meshdump explain CODE` says more)");
    if a.proxies.len() > 1 {
        grouped(out, &a.findings, width);
        return;
    }
    for f in &a.findings {
        let saves = if f.saved_bytes > 0 { format!("  saves {}", size(f.saved_bytes)) } else { String::new() };
        headline(out, f, &format!("{}{saves}", clean(&f.title)), width);
        if f.proxy.is_empty() {
            of_the_run(out, f, width);
        } else {
            for e in &f.evidence {
                let place = match (e.line, e.offset) {
                    (Some(l), Some(o)) => format!("  (line {l}, byte {o})"),
                    (None, Some(o)) => format!("  (byte {o})"),
                    _ => String::new(),
                };
                if e.text.contains(": ") {
                    // a reason: its end matters as much as its start
                    let text = wrap(&format!("        {}{place}", clean(&e.text)), width, 10);
                    let _ = writeln!(out, "{text}");
                } else {
                    let text = fit(&e.text, width.saturating_sub(8 + place.len()).max(40));
                    let _ = writeln!(out, "        {text}{place}");
                }
            }
        }
        if f.evidence_omitted > 0 {
            let _ = writeln!(out, "        [{}]", count(f.evidence_omitted, "other", "others"));
        }
        fix(out, f, width);
    }
}

/// `warn  MD302  TITLE`.
fn headline(out: &mut String, f: &Finding, title: &str, width: usize) {
    // `note  MD101  ` stands in front
    let title = wrap(title, width.saturating_sub(13), 0).replace('\n', "\n             ");
    let _ = writeln!(out, "{} {}  {title}", severity(f.severity), f.code);
}

fn fix(out: &mut String, f: &Finding, width: usize) {
    let _ = writeln!(out, "{}", wrap(&format!("        fix: {}", clean(&f.fix)), width, 13));
}

/// Evidence that names its file, in full.
fn of_the_run(out: &mut String, f: &Finding, width: usize) {
    for e in &f.evidence {
        let line = place_line(&e.path, e.offset, e.line, &e.text);
        let _ = writeln!(out, "{}", wrap(&format!("        {line}"), width, 10));
    }
}

/// Findings of many proxies: one line per code, with how many proxies have it and the worst of them.
fn grouped(out: &mut String, all: &[Finding], width: usize) {
    let mut seen: Vec<&str> = Vec::new();
    for f in all {
        if seen.contains(&f.code) {
            continue;
        }
        seen.push(f.code);
        let same: Vec<&Finding> = all.iter().filter(|x| x.code == f.code).collect();
        let saved: u64 = same.iter().map(|x| x.saved_bytes).sum();
        let saves = if saved > 0 {
            format!("  saves {}{}", size(saved), if same.len() > 1 { " in all" } else { "" })
        } else {
            String::new()
        };
        let place = if f.proxy.is_empty() {
            String::new()
        } else if same.len() == 1 {
            format!("{}: ", clean(&f.proxy))
        } else {
            format!("{} proxies, first {}: ", same.len(), clean(&f.proxy))
        };
        headline(out, f, &format!("{place}{}{saves}", clean(&f.title)), width);
        if f.proxy.is_empty() {
            for x in &same {
                if same.len() > 1 {
                    let _ = writeln!(out, "        {}", clean(&x.title));
                }
                of_the_run(out, x, width);
                if x.evidence_omitted > 0 {
                    let _ = writeln!(out, "        [{}]", count(x.evidence_omitted, "other", "others"));
                }
            }
        }
        fix(out, f, width);
    }
    out.push_str("`-o json` has every finding of every proxy\n");
}

/// What the findings have not said already.
fn problems(out: &mut String, a: &Analysis, width: usize) {
    let said = |p: &ProblemReport| {
        let same = |e: &Evidence| e.path == p.path && e.offset == p.offset && e.text == p.message;
        a.findings.iter().filter(|f| f.proxy.is_empty()).any(|f| f.evidence.iter().any(same))
    };
    let list: Vec<&ProblemReport> = a.problems.iter().filter(|p| !said(p)).collect();
    if list.is_empty() {
        return;
    }
    out.push_str("\nREADING\n");
    const SHOWN: usize = 20;
    for p in list.iter().take(SHOWN) {
        let _ = writeln!(out, "{}", wrap(&format!("        {}", problem_line(p)), width, 10));
    }
    if list.len() > SHOWN {
        let _ = writeln!(out, "        [{}]", count((list.len() - SHOWN) as u64, "other", "others"));
    }
}

/// `file: byte 123 (line 4): what; what to do`.
pub fn problem_line(p: &ProblemReport) -> String {
    let mut line = place_line(&p.path, p.offset, p.line, &p.message);
    if !p.hint.is_empty() {
        let _ = write!(line, "; {}", clean(&p.hint));
    }
    line
}

/// `file: byte 123 (line 4): what`.
fn place_line(path: &str, offset: Option<u64>, line_number: Option<u64>, what: &str) -> String {
    if path.is_empty() {
        return clean(what).into_owned();
    }
    let mut line = clean(path).into_owned();
    match (offset, line_number) {
        (Some(o), Some(l)) => {
            let _ = write!(line, ": byte {o} (line {l})");
        }
        (Some(o), None) => {
            let _ = write!(line, ": byte {o}");
        }
        _ => {}
    }
    let _ = write!(line, ": {}", clean(what));
    line
}
