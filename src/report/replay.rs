//! A replayed recording, as text.

use std::fmt::Write as _;

use super::bpf::{finding, push, table};
use super::words::{clean, count, fit};
use crate::findings::bpf::{bytes, group};
use crate::findings::replay::{Origin, Replay, RunReport};

/// Rows of a table shown.
const TOP: usize = 12;
/// Lines of the curve.
const HEIGHT: usize = 10;

/// The text: peak and end first, then the curve, what drained, what changed for nothing, and the findings.
pub fn text(report: &Replay, width: usize) -> String {
    let mut out = String::new();
    for run in &report.runs {
        answer(&mut out, report, run);
        curve(&mut out, run, width);
        both_views(&mut out, run, width);
        drains(&mut out, run, width);
        pushes(&mut out, run, width);
        observed(&mut out, run);
    }
    if !report.findings.is_empty() {
        out.push_str("\nFINDINGS\n");
        report.findings.iter().for_each(|f| finding(&mut out, f, width));
    }
    if !report.problems.is_empty() {
        out.push_str("\nPROBLEMS\n");
        for p in report.problems.iter().take(TOP) {
            let _ = writeln!(out, "  {}", super::text::problem_line(p));
        }
        if report.problems.len() > TOP {
            let _ = writeln!(out, "  [{} others]", report.problems.len() - TOP);
        }
    }
    out
}

fn from(origin: Origin) -> &'static str {
    match origin {
        Origin::Given => "given",
        Origin::Observed => "from server_info",
        Origin::Assumed => "assumed",
    }
}

fn answer(out: &mut String, report: &Replay, run: &RunReport) {
    let r = &report.recording;
    let (peak, end) = (&run.peak, &run.end);
    let _ = writeln!(
        out,
        "{} over {} s: {} of {} kinds of body\nEnvoy {} ({}), {} ({}), drain time {} s ({}), cost model {}\n",
        count(r.pushes, "push", "pushes"),
        seconds(r.until - r.from),
        count(r.resources, "resource", "resources"),
        group(r.distinct_bodies),
        run.envoy.version,
        from(run.envoy.version_from),
        count(run.envoy.concurrency.into(), "worker", "workers"),
        from(run.envoy.concurrency_from),
        run.drain_time_s,
        from(run.envoy.drain_time_from),
        report.tool.cost_model,
    );
    let _ = writeln!(
        out,
        "PEAK  {} allocated ({} to {}) at t={}; anonymous memory {}",
        bytes(peak.allocated.bytes),
        bytes(peak.allocated.low),
        bytes(peak.allocated.high),
        peak.t,
        bytes(peak.resident)
    );
    if !peak.cause.is_empty() {
        let _ = writeln!(out, "      raised by {}", clean(&peak.cause));
    }
    let _ = writeln!(
        out,
        "      {} of it held by {} draining, {} of in-place updates ({} draining)",
        bytes(peak.draining_bytes),
        count(peak.listeners_draining.into(), "listener", "listeners"),
        count(peak.groups_draining.into(), "old generation", "old generations"),
        count(peak.filter_chains_draining.into(), "filter chain", "filter chains"),
    );
    if let Some(t) = peak.transient.t {
        let _ =
            writeln!(out, "      up to {} more while one response was handled (t={t})", bytes(peak.transient.bytes));
    }
    let _ = writeln!(
        out,
        "END   {} allocated at t={}; a restarted Envoy would have {}",
        bytes(end.allocated),
        end.t,
        bytes(end.restarted)
    );
    if let Some(gone) = end.draining.gone_at {
        let _ = writeln!(
            out,
            "      still draining: {}, {} of in-place updates; gone at t={gone}, then {}",
            count(end.draining.listeners.into(), "listener", "listeners"),
            count(end.draining.groups.into(), "old generation", "old generations"),
            bytes(end.settled.allocated)
        );
    }
    if !end.clusters_warming.is_empty() {
        let names = end.clusters_warming.iter().map(|c| fit(&c.name, 40));
        let n = count(end.clusters_warming.len() as u64, "cluster", "clusters");
        let _ = writeln!(out, "      warming: {n}: {}", first(names));
    }
    if !end.awaited.is_empty() {
        let names = end.awaited.iter().map(|a| format!("{} {}", a.xds, fit(&a.name, 40)));
        let _ = writeln!(out, "      asked for, but not in the recording: {}", first(names));
    }
    if let (Some(t), Some(limit)) = (run.over_limit_t, run.envoy.limit) {
        let _ = writeln!(out, "OOM   anonymous memory passes {} at t={t}", bytes(limit));
    } else if let Some(limit) = run.envoy.limit {
        let _ = writeln!(out, "      anonymous memory stays below the limit of {}", bytes(limit));
    }
    if !r.not_simulated.is_empty() {
        let list: Vec<String> = r.not_simulated.iter().map(|(t, n)| format!("{} ({})", clean(t), group(*n))).collect();
        let _ = writeln!(out, "Not simulated: {}", list.join(", "));
    }
}

/// The first few names, and how many others there are.
fn first(names: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let others = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if others > 0 { format!("{shown} [{others} others]") } else { shown }
}

fn seconds(s: f64) -> String {
    format!("{}", (s * 1e3).round() / 1e3)
}

/// `allocated` over time as bars, what only old generations hold in a lighter shade, and the limit as a line.
fn curve(out: &mut String, run: &RunReport, width: usize) {
    let (Some(first), Some(last)) = (run.timeline.first(), run.timeline.last()) else { return };
    let end = last.t.max(run.end.t);
    let columns = width.saturating_sub(14).clamp(20, 100);
    let span = end - first.t;
    if span <= 0.0 || run.timeline.len() < 2 {
        return;
    }
    let limit = run.envoy.limit.unwrap_or(0);
    let highest = run.timeline.iter().map(|r| if limit > 0 { r.resident } else { r.allocated }).max().unwrap_or(1);
    let top = highest.max(limit).max(1);
    // the highest value within each column
    let mut cells = vec![(0u64, 0u64, 0u64); columns];
    let column = |t: f64| (((t - first.t) / span * columns as f64) as usize).min(columns - 1);
    for (i, row) in run.timeline.iter().enumerate() {
        let until = run.timeline.get(i + 1).map_or(end, |n| n.t);
        for cell in &mut cells[column(row.t)..=column(until)] {
            if row.allocated >= cell.0 {
                *cell = (row.allocated, row.draining_bytes, row.resident.max(cell.2));
            }
        }
    }
    let _ = writeln!(
        out,
        "\nALLOCATED OVER TIME  █ configuration  ░ held by old generations only{}",
        if limit > 0 { "  · anonymous memory  ─ limit" } else { "" }
    );
    for line in (0..HEIGHT).rev() {
        let middle = top / HEIGHT as u64 * line as u64 + top / (2 * HEIGHT as u64);
        let within = |value: u64| value / (top / HEIGHT as u64).max(1) == line as u64;
        let mut text = String::new();
        for (allocated, draining, resident) in &cells {
            text.push(if *allocated >= middle && *allocated - (*draining).min(*allocated) < middle {
                '░'
            } else if *allocated >= middle {
                '█'
            } else if limit > 0 && within(limit) {
                '─'
            } else if limit > 0 && within(*resident) {
                '·'
            } else {
                ' '
            });
        }
        let label = if line == HEIGHT - 1 { bytes(top) } else { String::new() };
        let _ = writeln!(out, "{label:>10} │{}", text.trim_end());
    }
    let (from, until) = (format!("t={}", first.t), format!("t={}", seconds(end)));
    let _ = writeln!(out, "{:>10} └{}", "", "─".repeat(columns));
    let _ = writeln!(out, "{:>10}  {from}{until:>w$}", "", w = columns.saturating_sub(from.len()));
}

fn both_views(out: &mut String, run: &RunReport, width: usize) {
    let list = &run.end.listeners;
    if list.is_empty() {
        return;
    }
    out.push_str("\nLISTENERS AT THE END, AS /config_dump SHOWS THEM AND AS THEY ARE\n");
    let mut t = table(
        &["LISTENER", "VERSION SHOWN", "IN USE", "DRAINING SHOWN", "ALIVE", "IN-PLACE LEFTOVERS", "CHAINS", "PIN"],
        &[4, 5, 6, 7],
    );
    let word = |v: &Option<String>| v.as_ref().map_or_else(|| "-".to_owned(), |v| fit(v, 14));
    let mut sorted: Vec<_> = list.iter().collect();
    sorted.sort_by_key(|l| std::cmp::Reverse(l.pinned_bytes));
    for l in sorted.iter().take(TOP) {
        t.add_row([
            fit(&l.name, (width / 3).max(20)),
            word(&l.shown_version),
            word(&l.active_version),
            if l.draining_listed > 1 { format!("all {}", l.draining_listed) } else { word(&l.draining_shown) },
            group(l.draining.into()),
            group(l.groups.into()),
            group(l.filter_chains_draining.into()),
            bytes(l.pinned_bytes),
        ]);
    }
    push(out, &mut t);
    others(out, list.len());
    let tables = &run.end.inline_tables;
    if tables.shown > tables.active {
        let _ = writeln!(
            out,
            "static_route_configs lists {}, {} of active listeners: the rest are those of old generations",
            count(tables.shown.into(), "inline route table", "inline route tables"),
            tables.active
        );
    }
}

fn others(out: &mut String, all: usize) {
    if all > TOP {
        let _ = writeln!(out, "[{} others]", group((all - TOP) as u64));
    }
}

fn drains(out: &mut String, run: &RunReport, width: usize) {
    if run.drains.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nDRAINS, THE LARGEST FIRST ({} in all)", group(run.drains_total));
    let mut t =
        table(&["LISTENER", "WHAT", "FROM", "UNTIL", "FREED", "INLINE ROUTES", "TLS", "PUSH"], &[2, 3, 4, 5, 6, 7]);
    let mut sorted: Vec<_> = run.drains.iter().collect();
    sorted.sort_by_key(|d| std::cmp::Reverse(d.bytes));
    for d in sorted.iter().take(TOP) {
        t.add_row([
            fit(&d.listener, (width / 3).max(20)),
            d.filter_chains
                .map_or_else(|| "listener".to_owned(), |n| format!("in place, {}", count(n.into(), "chain", "chains"))),
            seconds(d.began),
            seconds(d.ends),
            bytes(d.bytes),
            group(d.inline_tables.into()),
            group(d.tls_contexts.into()),
            d.push.map_or_else(|| "-".to_owned(), |p| group(p.into())),
        ]);
    }
    push(out, &mut t);
    others(out, run.drains.len());
}

fn pushes(out: &mut String, run: &RunReport, width: usize) {
    if !run.pushes.is_empty() {
        out.push_str("\nPUSHES BY TYPE\n");
        let mut t = table(
            &[
                "TYPE",
                "PUSHES",
                "RESOURCES",
                "ADDED",
                "WHOLE",
                "IN PLACE",
                "REMOVED",
                "EQUAL",
                "ORDER ONLY",
                "REJECTED",
            ],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        );
        let mut kinds: Vec<&str> = run.pushes.iter().map(|p| p.xds).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let of = || run.pushes.iter().filter(|p| p.xds == kind);
            let sum = |f: fn(&crate::findings::replay::PushReport) -> u32| group(of().map(|p| u64::from(f(p))).sum());
            t.add_row([
                kind.to_owned(),
                group(of().count() as u64),
                sum(|p| p.effect.resources),
                sum(|p| p.effect.added),
                sum(|p| p.effect.modified_full),
                sum(|p| p.effect.modified_in_place),
                sum(|p| p.effect.removed),
                sum(|p| p.effect.no_op),
                sum(|p| p.effect.order_only),
                sum(|p| p.effect.rejected),
            ]);
        }
        push(out, &mut t);
    }
    if run.flaps.is_empty() {
        return;
    }
    out.push_str("\nCHANGES THAT DID NOT NEED TO BE\n");
    let mut t = table(&["TYPE", "RESOURCE", "TIMES", "WHAT DIFFERS", "FIRST FIELD"], &[2]);
    for f in run.flaps.iter().take(TOP) {
        t.add_row([
            f.xds.to_owned(),
            fit(&f.name, (width / 3).max(20)),
            group(f.times.into()),
            if f.what == "order" { "the order: Envoy takes it for a change" } else { "the writing: free" }.to_owned(),
            fit(&f.field, (width / 4).max(20)),
        ]);
    }
    push(out, &mut t);
    others(out, run.flaps.len());
}

fn observed(out: &mut String, run: &RunReport) {
    if run.observed.is_empty() {
        return;
    }
    out.push_str("\nAGAINST WHAT WAS OBSERVED\n");
    let mut t = table(&["METRIC", "SAMPLES", "EQUAL", "MEDIAN ERROR", "WORST"], &[1, 2, 3, 4]);
    for o in &run.observed {
        let percent = |e: Option<f64>| e.map_or_else(|| "-".to_owned(), |e| format!("{:.1} %", e * 100.0));
        t.add_row([
            fit(&o.metric, 50),
            group(o.samples),
            group(o.equal),
            percent(o.median_error),
            if o.worst_error.is_some() { percent(o.worst_error) } else { format!("{:+}", o.worst) },
        ]);
    }
    push(out, &mut t);
}
