//! What waiting buys: the peak of each scenario against how long changes wait in it.

use maud::{Markup, html};

use super::Name;
use crate::model::size::size;
use crate::report::document::{Run, Staleness};
use crate::report::words::fit;

/// Scenarios drawn, the smallest peaks first.
const SHOWN: usize = 30;
/// Height of the plot in pixels, of a row of waits, and of an axis.
const PLOT: f64 = 240.0;
const ROW: f64 = 24.0;
const AXIS: f64 = 22.0;
/// Where the axis of waits begins in the rows, and its width, in percent.
const ROWS_FROM: f64 = 34.0;
const ROWS_WIDTH: f64 = 62.0;

/// A scenario with its number in both charts.
struct Point<'a> {
    number: usize,
    run: &'a Run,
    wait: &'a Staleness,
    peak: u64,
}

/// Both charts; nothing when there is nothing to compare.
pub(super) fn charts(runs: &[Run]) -> Markup {
    let mut points: Vec<Point<'_>> = runs
        .iter()
        .filter_map(|run| Some(Point { number: 0, run, wait: run.staleness_ms.as_ref()?, peak: run.peak_bytes()? }))
        .collect();
    if points.len() < 2 {
        return html! {};
    }
    points.sort_by(|a, b| a.peak.cmp(&b.peak).then_with(|| a.wait.p99.total_cmp(&b.wait.p99)));
    let others = points.len().saturating_sub(SHOWN);
    points.truncate(SHOWN);
    points.iter_mut().enumerate().for_each(|(i, p)| p.number = i + 1);
    let longest = points.iter().map(|p| p.wait.max).fold(10.0, f64::max);
    html! {
        h3 { "Peak against waiting" }
        (against(&points, longest))
        h3 { "How long changes wait" }
        (waits(&points, longest))
        @if others > 0 { p class="dim" { "[" (others) (if others == 1 { " other" } else { " others" }) "] with larger peaks in the table only." } }
    }
}

/// Waits range from milliseconds to minutes: a logarithmic axis from 0 to 1.
fn place(ms: f64, longest: f64) -> f64 {
    ((1.0 + ms.max(0.0)).log10() / (1.0 + longest).log10()).clamp(0.0, 1.0)
}

/// A wait in words.
fn wait(ms: f64) -> String {
    if ms < 999.5 { format!("{ms:.0} ms") } else { format!("{} s", (ms / 100.0).round() / 10.0) }
}

/// Marks of the axis.
fn ticks(longest: f64) -> Vec<f64> {
    let tens = std::iter::successors(Some(10.0), |ms| Some(ms * 10.0)).take_while(|ms| *ms <= longest);
    std::iter::once(0.0).chain(tens).collect()
}

fn percent(x: f64) -> String {
    format!("{x:.2}%")
}

/// What a point says under the pointer.
fn said(p: &Point<'_>) -> String {
    let w = p.wait;
    let name = Name(p.run.name(), 80);
    let over = if p.run.over_limit_t.is_some() { ", over the limit" } else { "" };
    format!("{name}: peak {}, waits {} / {} / {}{over}", size(p.peak), wait(w.p50), wait(w.p99), wait(w.max))
}

fn against(points: &[Point<'_>], longest: f64) -> Markup {
    let (low, high) = (points[0].peak, points.iter().map(|p| p.peak).max().unwrap_or(1));
    let spread = (high - low).max(1) as f64;
    let x = |ms: f64| 2.0 + 94.0 * place(ms, longest);
    let y = |bytes: u64| 14.0 + (PLOT - 34.0) * (high - bytes) as f64 / spread;
    let mut front: Vec<&Point<'_>> = points.iter().filter(|p| p.run.pareto).collect();
    front.sort_by(|a, b| a.wait.p99.total_cmp(&b.wait.p99));
    let label = format!(
        "Peaks from {} to {} against the wait of the slowest of a hundred changes, up to {}; the table has the numbers",
        size(low),
        size(high),
        wait(longest)
    );
    html! {
        div class="chart" {
            svg class="box" width="100%" height=(PLOT + AXIS) role="img" aria-label=(label) {
                @for ms in ticks(longest) {
                    line class="grid" x1=(percent(x(ms))) x2=(percent(x(ms))) y1="0" y2=(PLOT) {}
                    text class="s" x=(percent(x(ms))) y=(PLOT + AXIS - 6.0) text-anchor=(if ms == 0.0 { "start" } else { "middle" }) { (wait(ms)) }
                }
                @for bytes in [low, high] {
                    line class="grid" x1="0" x2="100%" y1=(y(bytes)) y2=(y(bytes)) {}
                    text class="s" x="99.5%" y=(y(bytes)) dy="-3" text-anchor="end" { (size(bytes)) }
                }
                @for pair in front.windows(2) {
                    line class="front" x1=(percent(x(pair[0].wait.p99))) y1=(y(pair[0].peak)) x2=(percent(x(pair[1].wait.p99))) y2=(y(pair[1].peak)) {}
                }
                @for p in points {
                    g class="push" {
                        circle class=(if p.run.pareto { "pt best" } else { "pt" }) cx=(percent(x(p.wait.p99))) cy=(y(p.peak)) r="5" {}
                        text class="s" x=(percent(x(p.wait.p99))) y=(y(p.peak)) dx="8" dy="4" { (p.number) }
                        title { (said(p)) }
                    }
                }
            }
            p class="say dim" { "Left is fresh, low is small. The line joins what nothing else beats in both; numbers are those of the rows below. The axis is logarithmic." }
        }
    }
}

fn waits(points: &[Point<'_>], longest: f64) -> Markup {
    let height = ROW * points.len() as f64;
    let x = |ms: f64| percent(ROWS_FROM + ROWS_WIDTH * place(ms, longest));
    html! {
        div class="chart" {
            svg class="box" width="100%" height=(height + AXIS) role="img" aria-label="Waits of half of the changes, of all but one in a hundred, and of the slowest, by scenario" {
                @for ms in ticks(longest) {
                    line class="grid" x1=(x(ms)) x2=(x(ms)) y1="0" y2=(height) {}
                    text class="s" x=(x(ms)) y=(height + AXIS - 6.0) text-anchor="middle" { (wait(ms)) }
                }
                @for (i, p) in points.iter().enumerate() {
                    @let middle = ROW * (i as f64 + 0.5);
                    g class="push" {
                        text x="6" y=(middle) dy="4" { (p.number) ". " (fit(p.run.name(), 34)) }
                        line class="range" x1=(x(0.0)) x2=(x(p.wait.max)) y1=(middle) y2=(middle) {}
                        line class="half" x1=(x(0.0)) x2=(x(p.wait.p50)) y1=(middle) y2=(middle) {}
                        circle class=(if p.run.pareto { "pt best" } else { "pt" }) cx=(x(p.wait.p99)) cy=(middle) r="5" {}
                        title { (said(p)) }
                    }
                }
            }
            p class="say dim" { "Thick: half of the changes have arrived; point: all but one in a hundred; thin: the slowest." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_of_waits() {
        assert_eq!(ticks(600_000.0), [0.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert_eq!([wait(0.0), wait(99.6), wait(2_000.0), wait(599_960.0)], ["0 ms", "100 ms", "2 s", "600 s"]);
        let places = [0.0, 5.0, 100.0, 10_000.0].map(|ms| place(ms, 10_000.0));
        assert!(places.windows(2).all(|p| p[0] < p[1]) && places[0] == 0.0 && places[3] == 1.0, "{places:?}");
        assert_eq!(place(f64::INFINITY, 10.0), 1.0);
    }
}
