//! Scenarios side by side, as text.

use std::fmt::Write as _;

use super::bpf::{push, table};
use super::words::{clean, cut, fit, wrap};
use crate::findings::bpf::{bytes, group};
use crate::findings::replay::PeakReport;
use crate::findings::whatif::{WhatIf, WhatIfRun};

/// Rows shown when there are many.
const TOP: usize = 40;

/// The text: the winner first, then all scenarios, then how long changes of each type wait.
pub fn text(report: &WhatIf, width: usize) -> String {
    let mut out = String::new();
    match &report.winner {
        Some(w) => {
            let line = format!("BEST  {}: {}.", clean(&w.scenario), w.why);
            let _ = writeln!(out, "{}", wrap(&line, width, 6));
        }
        None => out.push_str("BEST  no scenario keeps the bounds that were asked for\n"),
    }
    out.push('\n');
    scenarios(&mut out, report);
    types(&mut out, report);
    for run in report.runs.iter().filter(|r| r.bound.is_some()) {
        let line = format!("{}: a bound: {}.", clean(&run.scenario), run.bound.as_deref().unwrap_or_default());
        let _ = writeln!(out, "\n{}", wrap(&line, width, 2));
    }
    let Some(first) = report.runs.first() else { return out };
    let over = group((report.recording.until - report.recording.from).max(0.0).round() as u64);
    let line = match report.recording.pushes {
        _ if first.peak.is_none() => {
            format!("Simulated over {over} s. FRONT: no other scenario has both fewer pushes and a smaller p99.")
        }
        pushes => format!(
            "Simulated for Envoy {} with {} workers{} over {over} s; cost model {}. PEAK is `allocated`, RSS anonymous memory \
             at the peak, OLD GENS generations that drain at the peak (whole listeners and in-place updates), DRAINS those of \
             the whole run (L: of them whole listeners, C: filter chains that drained in place), FRONT: no other scenario has \
             both a smaller peak and a smaller p99.",
            first.envoy.version,
            first.envoy.concurrency,
            if pushes > 0 { format!(" from {} recorded pushes", group(pushes)) } else { String::new() },
            report.tool.cost_model
        ),
    };
    let _ = writeln!(out, "\n{}", wrap(&line, width, 0));
    for note in &report.notes {
        let _ = writeln!(out, "{}", wrap(&format!("note: {note}."), width, 6));
    }
    for p in report.problems.iter().take(TOP) {
        let _ = writeln!(out, "problem: {}", super::text::problem_line(p));
    }
    if report.problems.len() > TOP {
        let _ = writeln!(out, "problem: [{} others]", report.problems.len() - TOP);
    }
    out
}

/// Milliseconds, without more digits than matter.
fn ms(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.0}s", v / 1000.0),
        v if v >= 1000.0 => format!("{:.1}s", v / 1000.0),
        v if v >= 1.0 || v == 0.0 => format!("{v:.0}ms"),
        v => format!("{v:.2}ms"),
    }
}

fn against(run: &WhatIfRun, peak: &PeakReport) -> String {
    let delta = run.delta_peak.unwrap_or(0);
    match delta {
        0 => "=".to_owned(),
        delta => format!("{:+.0}%", 100.0 * delta as f64 / (peak.allocated.bytes as i64 - delta).max(1) as f64),
    }
}

fn scenarios(out: &mut String, report: &WhatIf) {
    let limit = report.runs.iter().any(|r| r.over_limit_t.is_some());
    let memory = report.runs.iter().any(|r| r.peak.is_some());
    let connections = report.runs.iter().any(|r| r.connections_cut.is_some());
    let first_pushes = report.runs.first().map_or(0, |r| r.pushes_sent);
    let mut header = vec!["SCENARIO"];
    if memory {
        header.extend(["PEAK", "AGAINST", "RSS", "OLD GENS", "DRAINS (L/C)"]);
    }
    header.extend(["PUSHES", "SAVED", "P50", "P99", "MAX"]);
    if connections {
        header.push("CUT");
    }
    header.push("FRONT");
    if limit {
        header.push("OOM AT");
    }
    let right: Vec<usize> = (1..header.len()).collect();
    let mut t = table(&header, &right);
    for run in report.runs.iter().take(TOP) {
        let mut row = vec![fit(&run.scenario, 48) + if run.bound.is_some() { " (bound)" } else { "" }];
        if let Some(peak) = &run.peak {
            row.extend([
                bytes(peak.allocated.bytes),
                against(run, peak),
                bytes(peak.resident),
                group(u64::from(peak.listeners_draining + peak.groups_draining)),
                format!(
                    "{} ({}/{})",
                    group(run.drains.unwrap_or(0)),
                    group(run.listeners_drained.unwrap_or(0)),
                    group(run.filter_chains_drained.unwrap_or(0))
                ),
            ]);
        }
        row.extend([
            group(run.pushes_sent),
            (first_pushes as i64 - run.pushes_sent as i64).to_string(),
            ms(run.staleness_ms.p50),
            ms(run.staleness_ms.p99),
            ms(run.staleness_ms.max),
        ]);
        if connections {
            row.push(run.connections_cut.map_or("-".to_owned(), |c| cut(c.least, c.most)));
        }
        row.push(if run.pareto { "*" } else { "" }.to_owned());
        if limit {
            row.push(run.over_limit_t.map_or("-".to_owned(), |t| format!("{t}")));
        }
        t.add_row(row);
    }
    push(out, &mut t);
    if report.runs.len() > TOP {
        let _ = writeln!(out, "[{} others: -o json]", report.runs.len() - TOP);
    }
}

fn types(out: &mut String, report: &WhatIf) {
    // the recorded run comes first and waits for nothing
    let runs: Vec<&WhatIfRun> = report.runs.iter().skip(1).filter(|r| !r.by_type.is_empty()).take(6).collect();
    if runs.is_empty() {
        return;
    }
    out.push('\n');
    let mut t = table(&["SCENARIO", "TYPE", "PUSHES", "CHANGES", "P50", "P99", "MAX"], &[2, 3, 4, 5, 6]);
    for run in runs {
        for (i, kind) in run.by_type.iter().enumerate() {
            let s = &kind.staleness_ms;
            t.add_row([
                if i == 0 { fit(&run.scenario, 48) } else { String::new() },
                kind.xds.to_owned(),
                group(kind.pushes_sent),
                group(kind.changes),
                ms(s.p50),
                ms(s.p99),
                ms(s.max),
            ]);
        }
    }
    push(out, &mut t);
    if report.runs.len() > 7 {
        let _ = writeln!(out, "[{} others: -o json]", report.runs.len() - 7);
    }
}
