//! What a replayed recording means.

use super::{RecordingReport, RunReport};
use crate::findings::bpf::{bytes, group};
use crate::findings::{Evidence, Finding, Severity};
use crate::model::stream::Body;

/// The path of the first field that differs between two bodies, as deep as the readers outline them; empty when they do
/// not.
pub(super) fn first_difference(old: &Body, new: &Body) -> String {
    let differs = |(path, hash, set): &&(crate::model::envoy::Name, u64, u64)| {
        let before = old.outline.iter().find(|(p, ..)| p == path);
        before.is_none_or(|(_, h, s)| h != hash || s != set)
    };
    let Some(first) = new.outline.iter().find(differs) else { return String::new() };
    // the deepest field below it that differs says more
    let deeper = new.outline.iter().filter(differs).take_while(|(p, ..)| p.starts_with(&*first.0)).last();
    deeper.unwrap_or(first).0.to_string()
}

fn text(text: String) -> Evidence {
    Evidence { text, path: String::new(), offset: None, line: None }
}

fn finding(code: &'static str, severity: Severity, title: String, evidence: Vec<Evidence>, fix: &str) -> Finding {
    const SHOWN: usize = 5;
    let omitted = evidence.len().saturating_sub(SHOWN) as u64;
    let evidence = evidence.into_iter().take(SHOWN).collect();
    Finding {
        code,
        severity,
        proxy: String::new(),
        title,
        evidence,
        evidence_omitted: omitted,
        saved_bytes: 0,
        fix: fix.to_owned(),
    }
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", group(n), if n == 1 { one } else { many })
}

pub(super) fn findings(recording: &RecordingReport, run: &RunReport) -> Vec<Finding> {
    let mut out = Vec::new();
    out.extend(over_limit(run));
    out.extend(piled_up(run));
    out.extend(order_only(run));
    out.extend(nothing_changed(run));
    out.extend(leaked(run));
    out.extend(rejected(run));
    out.extend(disagree(run));
    out.extend(incomplete(recording));
    out.sort_by_key(|f| (f.severity, f.code));
    out
}

fn over_limit(run: &RunReport) -> Option<Finding> {
    let (t, limit) = (run.over_limit_t?, run.envoy.limit?);
    let mut f = finding(
        "MD804",
        Severity::Error,
        format!("anonymous memory passes the limit of {} at t={t}", bytes(limit)),
        vec![text(format!(
            "highest: {} at `allocated` {} (t={})",
            bytes(run.timeline.iter().map(|r| r.resident).max().unwrap_or(0)),
            bytes(run.peak.allocated.bytes),
            run.peak.t
        ))],
        "see what drains and what raised the peak; a limit must hold the peak, not the mean",
    );
    f.saved_bytes = run.peak.draining_bytes;
    Some(f)
}

fn piled_up(run: &RunReport) -> Option<Finding> {
    let most = run.timeline.iter().max_by_key(|r| r.listeners_draining + r.groups_draining)?;
    let old = u64::from(most.listeners_draining + most.groups_draining);
    if old < 2 {
        return None;
    }
    let share = 100 * run.peak.draining_bytes / run.peak.allocated.bytes.max(1);
    let mut by_name: std::collections::BTreeMap<&str, (u64, u64)> = std::collections::BTreeMap::new();
    for d in &run.drains {
        let entry = by_name.entry(&d.listener).or_default();
        entry.0 += 1;
        entry.1 = entry.1.max(d.bytes);
    }
    let mut names: Vec<_> = by_name.into_iter().collect();
    names.sort_by_key(|(name, (n, b))| (std::cmp::Reverse(n * b), *name));
    let evidence = names
        .iter()
        .map(|(name, (n, b))| text(format!("{name}: {}, up to {} each", count(*n, "drain", "drains"), bytes(*b))))
        .collect();
    let mut f = finding(
        "MD801",
        if share >= 20 { Severity::Warn } else { Severity::Note },
        format!(
            "up to {} alive at once (t={}); they hold {} of {} at the peak",
            count(old, "old generation", "old generations"),
            most.t,
            bytes(run.peak.draining_bytes),
            bytes(run.peak.allocated.bytes)
        ),
        evidence,
        "batch changes, keep lists in a stable order, move certificates to SDS and routes to RDS, or shorten \
         --drain-time-s",
    );
    f.saved_bytes = run.peak.draining_bytes;
    Some(f)
}

fn order_only(run: &RunReport) -> Option<Finding> {
    let times: u64 = run.flaps.iter().filter(|f| f.what == "order").map(|f| u64::from(f.times)).sum();
    if times == 0 {
        return None;
    }
    let evidence = run
        .flaps
        .iter()
        .filter(|f| f.what == "order")
        .map(|f| {
            let field = if f.field.is_empty() { String::new() } else { format!(", first in {}", f.field) };
            text(format!("{} {}: {}{field}", f.xds, f.name, count(f.times.into(), "time", "times")))
        })
        .collect();
    Some(finding(
        "MD802",
        Severity::Warn,
        format!("{} in which only the order of a list differs", count(times, "change", "changes")),
        evidence,
        "sort before sending: Envoy compares lists in order, and each such change drains or rebuilds",
    ))
}

fn nothing_changed(run: &RunReport) -> Option<Finding> {
    let idle = |p: &&super::PushReport| {
        p.effect.resources > 0 && p.effect.no_op == p.effect.resources && p.effect.removed == 0
    };
    let n = run.pushes.iter().filter(idle).count() as u64;
    if n == 0 {
        return None;
    }
    let mut by_type: std::collections::BTreeMap<&str, (u64, u64, u64)> = std::collections::BTreeMap::new();
    for p in run.pushes.iter().filter(idle) {
        let e = by_type.entry(p.xds).or_default();
        *e = (e.0 + 1, e.1 + u64::from(p.effect.resources), e.2.max(p.effect.transient));
    }
    let evidence = by_type
        .iter()
        .map(|(xds, (n, resources, transient))| {
            text(format!(
                "{xds}: {} with {}, up to {} taken while one is handled",
                count(*n, "push", "pushes"),
                count(*resources, "resource", "resources"),
                bytes(*transient)
            ))
        })
        .collect();
    Some(finding(
        "MD803",
        Severity::Note,
        format!("{} of {} changed nothing", group(n), count(run.pushes.len() as u64, "push", "pushes")),
        evidence,
        "send a type only when something of it changed, or use delta xDS",
    ))
}

fn leaked(run: &RunReport) -> Option<Finding> {
    let l = &run.end.leaked;
    // residue of tables is a few KB per removed cluster: worth a word from a megabyte on
    if l.listeners == 0 && l.filter_chains == 0 && l.bytes < 1 << 20 {
        return None;
    }
    let mut evidence = Vec::new();
    if l.listeners > 0 {
        evidence.push(text(format!(
            "{} warming for ever: a dependency with initial_fetch_timeout 0 never came",
            count(l.listeners.into(), "listener is", "listeners are")
        )));
    }
    if l.filter_chains > 0 {
        evidence.push(text(format!(
            "{} in use and marked as draining: an update that had left them out was superseded while it warmed",
            count(l.filter_chains.into(), "filter chain is", "filter chains are")
        )));
    }
    evidence.push(text(format!("{} are not given back", bytes(l.bytes))));
    Some(finding(
        "MD805",
        Severity::Warn,
        "something stays after every timer has ended".to_owned(),
        evidence,
        "send what is waited for, or set initial_fetch_timeout; tables shrink with a restart only",
    ))
}

fn rejected(run: &RunReport) -> Option<Finding> {
    let pushes: Vec<_> = run.pushes.iter().filter(|p| p.effect.rejected > 0).collect();
    if pushes.is_empty() {
        return None;
    }
    let evidence = pushes
        .iter()
        .map(|p| {
            let n = count(p.effect.rejected.into(), "resource", "resources");
            text(format!("{} version {} at t={}: {n}", p.xds, p.version, p.t))
        })
        .collect();
    Some(finding(
        "MD806",
        Severity::Warn,
        format!("{} rejected, wholly or in part", count(pushes.len() as u64, "push was", "pushes were")),
        evidence,
        "fix the named resources: what was applied beside them stays, so the proxy holds a mix of two versions",
    ))
}

fn disagree(run: &RunReport) -> Option<Finding> {
    let off: Vec<_> =
        run.observed.iter().filter(|o| o.median_error.map_or(o.equal < o.samples, |e| e > 0.10)).collect();
    if off.is_empty() {
        return None;
    }
    let samples = |o: &super::Observation| count(o.samples, "sample", "samples");
    let evidence = off
        .iter()
        .map(|o| match o.median_error {
            Some(e) => text(format!("{}: off by {:.1} % in the median of {}", o.metric, e * 100.0, samples(o))),
            None => text(format!(
                "{}: equal in {} of {}, off by {} at t={}",
                o.metric,
                o.equal,
                samples(o),
                o.worst,
                o.worst_t
            )),
        })
        .collect();
    Some(finding(
        "MD807",
        Severity::Warn,
        "the simulation does not match what was observed".to_owned(),
        evidence,
        "check --base, --drain-time, --concurrency and --envoy-version, and whether the recording is complete",
    ))
}

fn incomplete(recording: &RecordingReport) -> Option<Finding> {
    if recording.gaps.is_empty() && !recording.times_assumed {
        return None;
    }
    let mut evidence: Vec<Evidence> = recording
        .gaps
        .iter()
        .map(|g| text(format!("{} from t={} until t={}", g.reason.replace('_', " "), g.t, g.until)))
        .collect();
    if recording.times_assumed {
        evidence.push(text("the recording has no times: one second between responses was assumed".to_owned()));
    }
    Some(finding(
        "MD808",
        Severity::Warn,
        "the recording is not complete".to_owned(),
        evidence,
        "record again without a break; put `t` into every line",
    ))
}
