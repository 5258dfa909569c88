//! Simulated runs: the drain timeline with the limit and the push behind each step, and scenarios side by side.

use maud::{Markup, html};

use super::{Name, count, grouped, name, waits};
use crate::model::size::size;
use crate::report::document::{Moment, Push, Run, Runs};
use crate::report::words::{cut, signed};

/// Runs drawn.
const CHARTS: usize = 6;
/// Runs, pushes and drains listed.
const ROWS: usize = 200;
const DRAINS: usize = 50;
/// Points a line is drawn with at most, and marks of pushes.
const POINTS: usize = 1000;
const MARKS: usize = 300;
/// Height of the plot, and of the chart with its axis, in pixels.
const PLOT: f64 = 260.0;
const HEIGHT: f64 = 300.0;

/// The answer.
pub(super) fn verdict(kind: &str, r: &Runs) -> Markup {
    let Some(run) = r.runs.first() else {
        return html! { h1 { "meshdump " (Name(kind, 20)) } p { "No run." } };
    };
    let title = if kind == "whatif" { "What other pushes would have cost" } else { "What the recorded pushes cost" };
    let Some(peak) = &run.peak else {
        let line = "Pushes and waits only: the input does not say what was pushed, so memory is not known.";
        return html! { h1 { (title) } (best(kind, r)) p { (line) } };
    };
    html! {
        h1 { (title) }
        (best(kind, r))
        p class="dim" {
            (count(run.pushes_sent.unwrap_or(r.recording.pushes), "push", "pushes")) " over " (span(r.recording.until - r.recording.from))
            " · Envoy " (Name(&run.envoy.version, 20)) " · " (count(run.envoy.concurrency.into(), "worker", "workers"))
            " · drain time " (span(run.drain_time_s))
            @if r.recording.times_assumed { " · times were made up, one second apart" }
        }
        p class="big" { (size(peak.allocated.bytes)) " " small { "peak allocated" @if kind == "whatif" { " of " (name(run.name(), 80)) } ", simulated, " (size(peak.allocated.low)) " to " (size(peak.allocated.high)) ", " (span(peak.t - from(run))) " after the start" } }
        @if !peak.cause.is_empty() { p { "Raised by " (name(&peak.cause, 200)) "." } }
        p {
            (size(peak.draining_bytes)) " of it held by old generations: " (grouped(peak.listeners_draining)) " listeners and "
            (grouped(peak.filter_chains_draining)) " filter chains draining, " (grouped(peak.groups_draining)) " old generations of in-place updates."
        }
        p {
            "At the end " strong { (size(run.end.allocated)) } "; a restarted Envoy would have " (size(run.end.restarted))
            @if run.end.leaked.bytes > 0 { "; never freed " strong { (size(run.end.leaked.bytes)) } }
            "."
        }
        @if let Some(limit) = run.envoy.limit {
            @match run.over_limit_t {
                Some(t) => p { strong class="sev error" { "Over the limit" } " of " (size(limit)) " " (span(t - from(run))) " after the start (t=" (t) ")." },
                None => p { "Anonymous memory stays below the limit of " strong { (size(limit)) } "." },
            }
        }
    }
}

/// The best scenario and why, of a what-if.
fn best(kind: &str, r: &Runs) -> Markup {
    html! {
        @match &r.winner {
            Some(w) => p class="big" { "Best: " (name(&w.scenario, 80)) " " small { (Name(&w.why, 400)) } },
            None if kind == "whatif" => p class="big" { "No scenario keeps the bounds that were asked for." },
            None => {}
        }
    }
}

/// Where a run's axis begins.
fn from(run: &Run) -> f64 {
    run.timeline.first().map_or(0.0, |m| m.t)
}

/// A stretch of time in words.
fn span(seconds: f64) -> String {
    let rounded = seconds.max(0.0);
    match rounded {
        s if s < 120.0 => {
            let text = format!("{s:.1}");
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        s if s < 7200.0 => format!("{} min {:02} s", (s / 60.0) as u64, (s % 60.0) as u64),
        s => format!("{} h {:02} min", (s / 3600.0) as u64, ((s % 3600.0) / 60.0) as u64),
    }
}

/// Everything after the findings.
pub(super) fn sections(r: &Runs, i: usize) -> Markup {
    html! {
        @if r.runs.len() > 1 { (scenarios(&r.runs, i)) (waits::charts(&r.runs)) (types(&r.runs)) }
        @for note in &r.notes { p class="dim" { (Name(note, 1000)) "." } }
        @for (n, run) in r.runs.iter().filter(|run| !run.timeline.is_empty()).take(CHARTS).enumerate() {
            h2 id=[(n == 0).then(|| format!("runs-{i}"))] { @if r.runs.len() > 1 { (name(run.name(), 100)) } @else { "Over time" } }
            (chart(run))
            @if r.runs.len() == 1 || n == 0 { (pushes(run)) (drains(run)) }
        }
        @if r.runs.len() > CHARTS { p class="dim" { "[" (count((r.runs.len() - CHARTS) as u64, "other run", "other runs")) "] in the table only." } }
    }
}

/// Drains, and of them whole listeners and filter chains.
fn drains_of(r: &Run) -> String {
    let all = grouped(r.drains_total());
    match r.listeners_drained.zip(r.filter_chains_drained) {
        Some((listeners, chains)) => format!("{all} ({}/{})", grouped(listeners), grouped(chains)),
        None => all,
    }
}

/// Responses less than in the first run.
fn signed_count(first: u64, n: u64) -> String {
    if n > first { format!("-{}", grouped(n - first)) } else { grouped(first - n) }
}

fn scenarios(runs: &[Run], i: usize) -> Markup {
    let cuts = runs.iter().any(|r| r.connections_cut.is_some());
    let sent = runs.first().and_then(|r| r.pushes_sent);
    html! {
        h2 id=(format!("scenarios-{i}")) { "Scenarios" }
        div class="scroll" {
            table class="sort" {
                thead { tr {
                    th { "Scenario" } th class="n" { "Peak" } th class="n" { "Against the first" } th class="n" { "Pushes" } th class="n" { "Saved" }
                    th class="n" title="of them whole listeners / filter chains in place" { "Drains (L/C)" } @if cuts { th class="n" { "Connections cut" } }
                    th class="n" { "Wait p50, ms" } th class="n" { "p99" } th class="n" { "longest" } th class="n" { "End" } th { "Over the limit" }
                } }
                tbody {
                    @for r in runs.iter().take(ROWS) {
                        tr {
                            td class="x" { (name(r.name(), 80)) @if r.pareto { " " span class="dim" { "(front)" } } @if let Some(b) = &r.bound { br; span class="dim" { (name(b, 200)) } } }
                            td class="n" { @match r.peak_bytes() { Some(n) => (size(n)), None => "-" } }
                            td class="n" { @match r.delta_peak { Some(d) => (signed(d)), None => "-" } }
                            td class="n" { @match r.pushes_sent { Some(n) => (grouped(n)), None => (grouped(r.pushes.len() as u64)) } }
                            td class="n" { @match r.pushes_sent.zip(sent) { Some((n, first)) => (signed_count(first, n)), None => "-" } }
                            td class="n" { @if r.peak.is_some() { (drains_of(r)) } @else { "-" } }
                            @if cuts { td class="n" { @match r.connections_cut { Some(c) => (cut(c.least, c.most)), None => "-" } } }
                            @match &r.staleness_ms {
                                Some(s) => { @for ms in [s.p50, s.p99, s.max] { td class="n" { (grouped(ms.round() as u64)) } } }
                                None => { td class="n" { "-" } td class="n" { "-" } td class="n" { "-" } }
                            }
                            td class="n" { @if r.peak.is_some() { (size(r.end.allocated)) } @else { "-" } }
                            td { @match r.over_limit_t { Some(t) => { strong class="sev error" { "after " (span(t - from(r))) } } None => "-" } }
                        }
                    }
                    @if runs.len() > ROWS { tr class="rest" { td colspan="12" { "[" (count((runs.len() - ROWS) as u64, "other", "others")) "]" } } }
                }
            }
        }
    }
}

/// How long changes of each type wait. The first run waits for nothing, or has no types.
fn types(runs: &[Run]) -> Markup {
    let runs = || runs.iter().skip(1).filter(|r| !r.by_type.is_empty());
    html! {
        @if runs().next().is_some() {
            details {
                summary { "Waits by type" }
                div class="scroll" {
                    table class="sort" {
                        thead { tr {
                            th { "Scenario" } th { "Type" } th class="n" { "Pushes" } th class="n" { "Changes" }
                            th class="n" { "Wait p50, ms" } th class="n" { "p99" } th class="n" { "longest" }
                        } }
                        tbody {
                            @for (r, t) in runs().flat_map(|r| r.by_type.iter().map(move |t| (r, t))).take(ROWS) {
                                tr {
                                    td class="x" { (name(r.name(), 80)) }
                                    td { (Name(&t.xds, 8)) }
                                    td class="n" { (grouped(t.pushes_sent)) }
                                    td class="n" { (grouped(t.changes)) }
                                    @for ms in [t.staleness_ms.p50, t.staleness_ms.p99, t.staleness_ms.max] { td class="n" { (grouped(ms.round() as u64)) } }
                                }
                            }
                        }
                    }
                }
                @let rows = runs().map(|r| r.by_type.len()).sum::<usize>();
                @if rows > ROWS { p class="dim" { "[" (count((rows - ROWS) as u64, "other", "others")) "]" } }
            }
        }
    }
}

/// Rows to draw: the largest of those that fall into one column.
fn drawn(rows: &[Moment], from: f64, width: f64) -> Vec<Moment> {
    if rows.len() <= POINTS || width <= 0.0 {
        return rows.to_vec();
    }
    let column = |t: f64| ((t - from) / width * POINTS as f64) as usize;
    let mut out: Vec<Moment> = Vec::with_capacity(POINTS + 1);
    for m in rows {
        match out.last_mut().filter(|last| column(last.t) == column(m.t)) {
            Some(last) if m.allocated > last.allocated => *last = Moment { t: last.t, ..*m },
            Some(_) => {}
            None => out.push(*m),
        }
    }
    out
}

/// A line of steps in a square of 1000 by 1000.
fn steps(rows: &[Moment], x: impl Fn(f64) -> f64, y: impl Fn(&Moment) -> f64) -> String {
    let mut d = String::new();
    for (i, m) in rows.iter().enumerate() {
        let (x, y) = (x(m.t), y(m));
        if i == 0 {
            d.push_str(&format!("M{x:.1} {y:.1}"));
        } else {
            d.push_str(&format!("H{x:.1}V{y:.1}"));
        }
    }
    d.push_str("H1000");
    d
}

/// The line back under a line of steps, from right to left.
fn back(rows: &[Moment], x: impl Fn(f64) -> f64, y: impl Fn(&Moment) -> f64) -> String {
    let mut d = String::new();
    for m in rows.iter().rev() {
        d.push_str(&format!("V{:.1}H{:.1}", y(m), x(m.t)));
    }
    d
}

fn chart(run: &Run) -> Markup {
    let (Some(first), Some(last)) = (run.timeline.first(), run.timeline.last()) else { return html! {} };
    let begin = first.t;
    // a run in which nothing changes is still a stretch of time
    let until = last.t.max(run.end.t).max(begin + 0.001);
    let width = until - begin;
    let rows = drawn(&run.timeline, begin, width);
    let most = run.timeline.iter().map(|m| m.allocated.max(m.resident)).max().unwrap_or(0).max(1);
    let limit = run.envoy.limit.filter(|l| *l > 0);
    let shown_limit = limit.filter(|l| *l <= most.saturating_mul(3));
    let top = nice(most.max(shown_limit.unwrap_or(0)));
    let x = |t: f64| ((t - begin) / width * 1000.0).clamp(0.0, 1000.0);
    let y = |bytes: u64| 1000.0 - bytes as f64 * 1000.0 / top as f64;
    let allocated = steps(&rows, x, |m| y(m.allocated));
    let live = |m: &Moment| y(m.allocated.saturating_sub(m.draining_bytes));
    let draining = run.timeline.iter().any(|m| m.draining_bytes > 0);
    let pixels = |bytes: u64| format!("{:.1}", 10.0 + (PLOT - 10.0) * y(bytes) / 1000.0);
    html! {
        p class="legend" {
            span { i class="k7 sw-area" {} "allocated" }
            @if draining { span { i class="k4" {} "of it held by old generations only" } }
            span { "dotted: anonymous memory" }
            @match limit {
                Some(l) if shown_limit.is_none() => span { "limit " (size(l)) ": above the chart" },
                Some(l) => span { "dashed: limit " (size(l)) },
                None => {}
            }
            span { "marks below: pushes" }
        }
        div class="chart" {
            svg class="box" width="100%" height=(HEIGHT) role="img"
                aria-label=(format!("Allocated memory over {}, peak {}; the tables below have the pushes and drains", span(width), size(run.peak_bytes().unwrap_or(0)))) {
                @for n in 1..=4_u64 {
                    line class="grid" x1="0" x2="100%" y1=(pixels(top / 4 * n)) y2=(pixels(top / 4 * n)) {}
                }
                svg y="10" width="100%" height=(PLOT - 10.0) viewBox="0 0 1000 1000" preserveAspectRatio="none" {
                    path class="area" d=(format!("{allocated}V1000H0Z")) {}
                    @if draining { path class="drain" d=(format!("{allocated}{}Z", back(&rows, x, live))) {} }
                    path class="line" d=(allocated) {}
                    path class="res" d=(steps(&rows, x, |m| y(m.resident))) {}
                }
                @if let Some(l) = shown_limit {
                    line class="limit" x1="0" x2="100%" y1=(pixels(l)) y2=(pixels(l)) {}
                    text x="99.5%" y=(pixels(l)) dy="-4" text-anchor="end" { "limit " (size(l)) }
                }
                @for n in 1..=4_u64 { text class="s" x="4" y=(pixels(top / 4 * n)) dy=(if n == 4 { "12" } else { "-3" }) { (size(top / 4 * n)) } }
                @if run.end.t < until && run.end.t > begin {
                    line class="grid" x1=(at(x(run.end.t))) x2=(at(x(run.end.t))) y1="10" y2=(PLOT) {}
                    text class="s" x=(at(x(run.end.t))) y="38" dx=(if x(run.end.t) > 800.0 { "-4" } else { "4" }) text-anchor=(if x(run.end.t) > 800.0 { "end" } else { "start" }) { "end of the recording" }
                }
                @for mark in marks(run, x) { (mark) }
                @for n in 0..=4_u64 {
                    @let anchor = match n { 0 => "start", 4 => "end", _ => "middle" };
                    text class="s" x=(match n { 0 => "4".to_owned(), 4 => "99.6%".to_owned(), n => at(n as f64 * 250.0) }) y=(HEIGHT - 6.0) text-anchor=(anchor) {
                        @if n == 0 { "t=" (trimmed(begin)) } @else { "+" (span(width * n as f64 / 4.0)) }
                    }
                }
            }
            p class="say dim" { "Each step is one push or one drain that ended. Memory is simulated: it is what " code { "/memory" } " settles at." }
        }
    }
}

fn at(x: f64) -> String {
    format!("{:.2}%", x / 10.0)
}

fn trimmed(t: f64) -> String {
    let text = format!("{t:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The next number of bytes that divides well by four.
fn nice(bytes: u64) -> u64 {
    let mut step = 1024_u64;
    while step.saturating_mul(4) < bytes {
        step = if step.is_power_of_two() { step / 2 * 3 } else { step / 3 * 4 };
    }
    step * 4
}

/// A mark per push that changed something, those that fall together as one; each is as wide as the time until the next.
fn marks(run: &Run, x: impl Fn(f64) -> f64) -> Vec<Markup> {
    let mut groups: Vec<(f64, Vec<&Push>)> = Vec::new();
    for p in run.pushes.iter().filter(|p| p.changed()) {
        let place = x(p.t);
        let column = |x: f64| (x / 1000.0 * MARKS as f64) as usize;
        match groups.last_mut().filter(|(before, _)| column(*before) == column(place)) {
            Some((_, pushes)) => pushes.push(p),
            None => groups.push((place, vec![p])),
        }
    }
    let ends: Vec<f64> = groups.iter().skip(1).map(|(x, _)| *x).chain([1000.0]).collect();
    groups
        .iter()
        .zip(ends)
        .map(|((place, pushes), end)| {
            const SAID: usize = 3;
            let mut said: Vec<String> = pushes
                .iter()
                .take(SAID)
                .map(|p| {
                    let after = allocated_at(run, p.t);
                    let before = allocated_before(run, p.t);
                    let grew = if after == before {
                        String::new()
                    } else {
                        format!(", allocated {} to {}", size(before), size(after))
                    };
                    format!("{} '{}' at t={}: {}{grew}", Name(&p.xds, 8), Name(&p.version, 40), trimmed(p.t), p.words())
                })
                .collect();
            if pushes.len() > SAID {
                said.push(format!("[{}]", count((pushes.len() - SAID) as u64, "other", "others")));
            }
            html! {
                g class="push" {
                    rect x=(at(*place)) y="10" width=(at((end - place).max(2.0))) height=(PLOT + 2.0) {}
                    line x1=(at(*place)) x2=(at(*place)) y1=(PLOT + 2.0) y2=(PLOT + 12.0) {}
                    title { (said.join("; ")) }
                }
            }
        })
        .collect()
}

/// The timeline's value from `t` on.
fn allocated_at(run: &Run, t: f64) -> u64 {
    let next = run.timeline.partition_point(|m| m.t <= t);
    run.timeline.get(next.wrapping_sub(1)).map_or(0, |m| m.allocated)
}

/// The timeline's value up to `t`.
fn allocated_before(run: &Run, t: f64) -> u64 {
    let next = run.timeline.partition_point(|m| m.t < t);
    run.timeline.get(next.wrapping_sub(1)).or(run.timeline.first()).map_or(0, |m| m.allocated)
}

fn pushes(run: &Run) -> Markup {
    let changed: Vec<&Push> = run.pushes.iter().filter(|p| p.changed()).collect();
    let idle = run.pushes.len() - changed.len();
    html! {
        h3 { "Pushes that changed something" }
        div class="scroll" {
            table class="sort" {
                thead { tr {
                    th class="n" { "t" } th { "Type" } th { "Version" } th class="n" { "Resources" } th class="n" { "Added" } th class="n" { "Whole" } th class="n" { "In place" }
                    th class="n" { "Removed" } th class="n" { "Equal" } th class="n" { "Order only" } th class="n" { "Rejected" } th class="n" { "Allocated after" }
                } }
                tbody {
                    @for p in changed.iter().take(ROWS) {
                        tr {
                            td class="n" { (trimmed(p.t)) }
                            td { (Name(if p.xds.is_empty() { &p.type_name } else { &p.xds }, 30)) }
                            td { @if !p.version.is_empty() { (name(&p.version, 40)) } }
                            td class="n" { (grouped(p.resources)) }
                            @for n in [p.added, p.modified_full, p.modified_in_place, p.removed, p.no_op, p.order_only, p.rejected] { td class="n" { @if n == 0 { "-" } @else { (grouped(n)) } } }
                            td class="n" { (size(allocated_at(run, p.t))) }
                        }
                    }
                    @if changed.len() > ROWS { tr class="rest" { td colspan="12" { "[" (count((changed.len() - ROWS) as u64, "other", "others")) "]" } } }
                }
            }
        }
        @if idle > 0 { p class="dim" { (count(idle as u64, "other push", "other pushes")) " changed nothing." } }
    }
}

fn drains(run: &Run) -> Markup {
    let mut all: Vec<_> = run.drains().iter().collect();
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.began.total_cmp(&b.began)));
    html! {
        @if !all.is_empty() {
            h3 { "Drains, the largest first" }
            div class="scroll" {
                table class="sort" {
                    thead { tr { th { "Listener" } th { "Version" } th { "What" } th class="n" { "From t" } th class="n" { "To t" } th class="n" { "Held" } } }
                    tbody {
                        @for d in all.iter().take(DRAINS) {
                            tr {
                                td { (name(&d.listener, 80)) }
                                td { (Name(&d.version, 40)) }
                                td { (Name(&d.what.replace('_', " "), 30)) }
                                td class="n" { (trimmed(d.began)) }
                                td class="n" { (trimmed(d.ends)) }
                                td class="n" { (size(d.bytes)) }
                            }
                        }
                        @if all.len() > DRAINS { tr class="rest" { td colspan="6" { "[" (count((all.len() - DRAINS) as u64, "other", "others")) "]" } } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes() {
        for bytes in [1, 4096, 5000, 7_800_000, 900 << 20] {
            let top = nice(bytes);
            assert!(top >= bytes && (bytes < 4096 || top < bytes * 2) && top.is_multiple_of(4), "{bytes}: {top}");
        }
        assert_eq!([span(19.317), span(125.0), span(7260.0)], ["19.3 s", "2 min 05 s", "2 h 01 min"]);
    }

    #[test]
    fn peaks_are_drawn() {
        let mut rows: Vec<Moment> =
            (0..50_000).map(|i| Moment { t: f64::from(i), allocated: 100, ..Moment::default() }).collect();
        rows[31_337].allocated = 900;
        let out = drawn(&rows, 0.0, 49_999.0);
        assert!(out.len() <= POINTS + 1);
        assert!(out.iter().any(|m| m.allocated == 900));
    }
}
