//! `docs/accuracy.md`: what the cost model predicts for workloads it was not fitted to, and what they measured.

use std::fmt::Write;
use std::path::Path;

use super::LabError;
use super::fit::{Run, read_runs, relative_error, summary};
use super::{pairs, random};
use crate::cost::Estimate;
use crate::cost::envoy::changes::savings;
use crate::cost::envoy::{Settings, Version, price};

/// One line of the table.
struct Line {
    name: String,
    measured: f64,
    predicted: Estimate,
    error: f64,
    inside: bool,
    anonymous: f64,
    resident: Estimate,
}

/// The text of the document from the runs kept below `folder/VERSION`. `idle(version)` is what an idle Envoy of that
/// release allocates, in bytes.
///
/// # Errors
/// When a kept run cannot be read.
pub fn markdown(folder: &Path, versions: &[(String, f64)]) -> Result<String, LabError> {
    let mut out = String::from(include_str!("accuracy_head.md"));
    let mut tables = String::new();
    let mut savings_table = String::new();
    let _ = writeln!(
        out,
        "\n| Envoy | workloads | error: median | 90th percentile | worst | measured inside bounds | median width of bounds | resident: median | worst |"
    );
    let _ = writeln!(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (version, idle) in versions {
        let (changed, runs): (Vec<Run>, Vec<Run>) =
            read_runs(&folder.join(version))?.into_iter().partition(|r| r.name.starts_with(pairs::PREFIX));
        saved(&mut savings_table, version, &changed);
        let lines: Vec<Line> = runs.iter().map(|r| line(r, version, *idle)).collect();
        let (drawn, designed): (Vec<_>, Vec<_>) = lines.iter().partition(|l| l.name.starts_with(random::PREFIX));
        let (fresh, seen): (Vec<_>, Vec<_>) = drawn.into_iter().partition(|l| random::is_fresh(&l.name));
        for (kind, lines) in [("designed", designed), ("random, seen", seen), ("random, fresh", fresh)] {
            if lines.is_empty() {
                continue;
            }
            summary_row(&mut out, &format!("{version}, {kind}"), &lines);
        }
        let _ = writeln!(tables, "\n### Envoy {version}\n\nIdle: {} bytes.\n", idle);
        let _ =
            writeln!(tables, "| workload | measured | predicted | error | bounds | resident measured | predicted |");
        let _ = writeln!(tables, "| --- | --: | --: | --: | --- | --: | --: |");
        for l in &lines {
            let _ = writeln!(
                tables,
                "| {} | {:.0} | {} | {:+.1} % | {} to {}{} | {:.0} | {} |",
                l.name,
                l.measured,
                l.predicted.bytes,
                l.error * 100.0,
                l.predicted.low,
                l.predicted.high,
                if l.inside { "" } else { " (outside)" },
                l.anonymous,
                l.resident.bytes
            );
        }
    }
    if !savings_table.is_empty() {
        out.push_str(include_str!("accuracy_savings.md"));
        out.push_str(&savings_table);
    }
    out.push_str("\n## Every workload\n");
    out.push_str(&tables);
    out.push_str(include_str!("accuracy_tail.md"));
    Ok(out)
}

/// One row of the table on top of the document.
fn summary_row(out: &mut String, name: &str, lines: &[&Line]) {
    let r = summary(&lines.iter().map(|l| l.error).collect::<Vec<_>>());
    let resident =
        summary(&lines.iter().map(|l| (l.resident.bytes as f64 - l.anonymous) / l.anonymous).collect::<Vec<_>>());
    let width = summary(
        &lines
            .iter()
            .map(|l| (l.predicted.high - l.predicted.low) as f64 / 2.0 / l.predicted.bytes as f64)
            .collect::<Vec<_>>(),
    );
    let inside = lines.iter().filter(|l| l.inside).count();
    let p = |x: f64| format!("{:.1} %", x * 100.0);
    let _ = writeln!(
        out,
        "| {name} | {} | {} | {} | {} | {inside} of {} | ±{} | {} | {} |",
        lines.len(),
        p(r.median),
        p(r.p90),
        p(r.worst),
        lines.len(),
        p(width.median),
        p(resident.median),
        p(resident.worst)
    );
}

/// Rows of the table of savings from the runs before and after each change.
fn saved(out: &mut String, version: &str, runs: &[Run]) {
    let run = |change: &str, when: &str| {
        let name = format!("{}{change} {when}", pairs::PREFIX);
        runs.iter().find(|r| r.name == name)
    };
    for (change, ..) in pairs::pairs() {
        let (Some(before), Some(after)) = (run(change, "before"), run(change, "after")) else { continue };
        let settings =
            Settings { version: Version::parse(version), concurrency: before.workers, concurrency_known: true };
        let rows = savings(&before.proxy, &settings, &price(&before.proxy, &settings));
        let predicted = rows
            .iter()
            .find(|s| s.change.is_some_and(|c| c.name == change))
            .map_or(Estimate::default(), |s| s.allocated);
        let measured = before.allocated - after.allocated;
        let inside = (predicted.low as f64..=predicted.high as f64).contains(&measured);
        let _ = writeln!(
            out,
            "| {version} | {change} | {:.0} | {measured:.0} | {} | {:+.1} % | {} to {}{} |",
            before.allocated,
            predicted.bytes,
            (predicted.bytes as f64 - measured) / measured * 100.0,
            predicted.low,
            predicted.high,
            if inside { "" } else { " (outside)" },
        );
    }
}

fn line(run: &Run, version: &str, idle: f64) -> Line {
    let settings = Settings { version: Version::parse(version), concurrency: run.workers, concurrency_known: true };
    let priced = price(&run.proxy, &settings);
    let predicted = priced.allocated();
    // without a stream of the state of the world a process is smaller; what it is idle was not read for each run
    let ads = run.proxy.bootstrap.as_ref().is_none_or(|b| b.ads && !b.delta);
    let base = if ads { idle } else { priced.base.bytes as f64 };
    Line {
        name: run.name.clone(),
        measured: run.allocated,
        predicted,
        error: relative_error(predicted.bytes as f64, run.allocated, base),
        inside: (predicted.low as f64..=predicted.high as f64).contains(&run.allocated),
        anonymous: run.anonymous,
        resident: priced.resident,
    }
}
