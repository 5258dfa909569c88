//! Squarified treemaps (Bruls, Huizing, van Wijk 2000) as SVG: widths in percent and heights in pixels, so that text
//! keeps its size on any screen. Nothing but layout is computed here.

use maud::{Markup, html};

use super::{Name, grouped};
use crate::model::size::size;
use crate::report::document::{Dimension, Sums};

/// Height of a treemap in pixels.
const HEIGHT: f64 = 460.0;
/// Width in pixels that labels are fitted to.
const WIDTH: f64 = 1000.0;
/// Height of a group's title.
const TITLE: f64 = 18.0;
/// Colours.
const COLOURS: usize = 8;

/// Which of the sums is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Heap,
    Retained,
    Json,
}

impl Size {
    pub(super) const ALL: [Self; 3] = [Self::Heap, Self::Retained, Self::Json];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Retained => "retained",
            Self::Json => "json",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Retained => "retained heap",
            Self::Json => "JSON",
        }
    }

    pub(super) fn of(self, sums: &Sums) -> u64 {
        match self {
            Self::Heap => sums.bytes,
            Self::Retained => sums.retained_bytes,
            Self::Json => sums.json_bytes,
        }
    }
}

/// A rectangle in pixels of [`WIDTH`] by [`HEIGHT`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// Divides `area` among `sizes`, which are sorted in falling order: rectangles in the same order, as square as rows
/// allow. Sizes of 0 get nothing.
pub(super) fn squarify(sizes: &[u64], area: Rect) -> Vec<Rect> {
    let whole: f64 = sizes.iter().map(|s| *s as f64).sum();
    let mut out = Vec::with_capacity(sizes.len());
    let scale = if whole > 0.0 { area.w * area.h / whole } else { 0.0 };
    let areas: Vec<f64> = sizes.iter().map(|s| *s as f64 * scale).collect();
    let mut rest = area;
    let mut from = 0;
    while from < areas.len() {
        let side = rest.w.min(rest.h);
        let worst = |row: &[f64]| {
            let sum: f64 = row.iter().sum();
            let (most, least) = (row[0], row[row.len() - 1]);
            (side * side * most / (sum * sum)).max(sum * sum / (side * side * least))
        };
        let mut to = from + 1;
        while to < areas.len() && areas[to] > 0.0 && worst(&areas[from..=to]) <= worst(&areas[from..to]) {
            to += 1;
        }
        let row = &areas[from..to];
        let sum: f64 = row.iter().sum();
        let thick = if side > 0.0 { sum / side } else { 0.0 };
        let mut at = 0.0;
        for a in row {
            let long = if thick > 0.0 { a / thick } else { 0.0 };
            out.push(if rest.w >= rest.h {
                Rect { x: rest.x, y: rest.y + at, w: thick, h: long }
            } else {
                Rect { x: rest.x + at, y: rest.y, w: long, h: thick }
            });
            at += long;
        }
        if rest.w >= rest.h {
            rest.x += thick;
            rest.w -= thick;
        } else {
            rest.y += thick;
            rest.h -= thick;
        }
        from = to;
    }
    out
}

/// One grouping by one size.
pub(super) fn svg(dimension: &Dimension, by: Size) -> Markup {
    let mut groups: Vec<(usize, u64)> = dimension.groups.iter().enumerate().map(|(i, g)| (i, by.of(&g.sums))).collect();
    groups.retain(|(_, s)| *s > 0);
    groups.sort_by_key(|(i, s)| (std::cmp::Reverse(*s), *i));
    let whole: u64 = groups.iter().map(|(_, s)| s).sum();
    let rects =
        squarify(&groups.iter().map(|(_, s)| *s).collect::<Vec<_>>(), Rect { x: 0.0, y: 0.0, w: WIDTH, h: HEIGHT });
    html! {
        svg class="box" width="100%" height=(HEIGHT) role="img"
            aria-label=(format!("Treemap by {}, {} in {}: the table below has the same numbers", dimension.dimension, size(whole), by.label())) {
            @for ((i, total), rect) in groups.iter().zip(&rects) {
                (group(dimension, *i, *total, whole, by, *rect))
            }
        }
    }
}

fn percent(of: f64, whole: f64) -> String {
    let text = format!("{:.2}", of * 100.0 / whole);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn pixels(n: f64) -> String {
    let text = format!("{n:.1}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a rectangle says when it is pointed at.
fn said(name: &str, resources: u64, bytes: u64, whole: u64, by: Size) -> String {
    let share = bytes as f64 * 100.0 / whole.max(1) as f64;
    let count = if resources > 1 { format!(", {} resources", grouped(resources)) } else { String::new() };
    format!("{}: {} {}, {share:.1}%{count}", Name(name, 160), size(bytes), by.label())
}

fn group(dimension: &Dimension, i: usize, total: u64, whole: u64, by: Size, at: Rect) -> Markup {
    let g = &dimension.groups[i];
    let name = if g.name.is_empty() { "[others]" } else { &g.name };
    // a resource has many fields, so their counts do not add up to resources
    let resources = if dimension.dimension == "field" { 0 } else { g.sums.count };
    let titled = at.h > TITLE * 2.0 && at.w > 34.0;
    let top = if titled { TITLE } else { 0.0 };
    let mut leaves: Vec<(String, Sums)> = g.leaves.iter().map(|l| (l.name.clone(), l.sums)).collect();
    if by.of(&g.others) > 0 && !leaves.is_empty() {
        leaves.push((format!("[{} others]", grouped(g.others.count)), g.others));
    }
    leaves.retain(|(_, s)| by.of(s) > 0);
    leaves.sort_by_key(|(_, s)| std::cmp::Reverse(by.of(s)));
    let alone = leaves.len() <= 1;
    let inner = Rect { x: 0.0, y: 0.0, w: at.w, h: (at.h - top).max(0.0) };
    let rects =
        if alone { Vec::new() } else { squarify(&leaves.iter().map(|(_, s)| by.of(s)).collect::<Vec<_>>(), inner) };
    let colour = format!("k{}", i % COLOURS);
    html! {
        svg x=(percent(at.x, WIDTH)) y=(pixels(at.y)) width=(percent(at.w, WIDTH)) height=(pixels(at.h)) {
            g class="h" {
                rect width="100%" height="100%" class=(if alone { colour.as_str() } else { "g" }) {}
                @if titled {
                    text class="b" x="4" y="13" { (Name(name, (at.w / 7.0) as usize)) tspan class="s" font-weight="400" { " " (size(total)) } }
                }
                title { (said(name, resources, total, whole, by)) }
            }
            @if !alone {
                svg y=(pixels(top)) width="100%" height=(pixels(inner.h)) {
                    @for ((name, sums), r) in leaves.iter().zip(&rects) {
                        (leaf(name, sums, whole, by, *r, at.w, &colour))
                    }
                }
            }
        }
    }
}

fn leaf(name: &str, sums: &Sums, whole: u64, by: Size, at: Rect, width: f64, colour: &str) -> Markup {
    let bytes = by.of(sums);
    let (x, y) = (percent(at.x, width), pixels(at.y));
    let (w, h) = (percent(at.w, width), pixels(at.h));
    html! {
        @if at.w > 42.0 && at.h > 16.0 {
            svg x=(x) y=(y) width=(w) height=(h) class="h" {
                rect width="100%" height="100%" class=(colour) {}
                text x="4" y="13" { (Name(name, (at.w / 6.2) as usize)) }
                @if at.h > 32.0 { text class="s" x="4" y="28" { (size(bytes)) } }
                title { (said(name, sums.count, bytes, whole, by)) }
            }
        } @else if at.w > 0.0 && at.h > 0.0 {
            g class="h" { rect x=(x) y=(y) width=(w) height=(h) class=(colour) {} title { (said(name, sums.count, bytes, whole, by)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_in_proportion_and_inside() {
        let sizes = [600, 600, 400, 300, 200, 200, 100, 1, 0];
        let area = Rect { x: 0.0, y: 0.0, w: 600.0, h: 400.0 };
        let rects = squarify(&sizes, area);
        assert_eq!(rects.len(), sizes.len());
        let scale = 240_000.0 / sizes.iter().sum::<u64>() as f64;
        for (r, s) in rects.iter().zip(sizes) {
            assert!((r.w * r.h - s as f64 * scale).abs() < 0.01, "{r:?} for {s}");
            assert!(r.x >= -1e-6 && r.y >= -1e-6 && r.x + r.w <= 600.001 && r.y + r.h <= 400.001, "{r:?}");
        }
        let mean: f64 = rects[..7].iter().map(|r| (r.w / r.h).max(r.h / r.w)).sum::<f64>() / 7.0;
        assert!(mean < 2.0, "rows are not square: {mean}");
        for (i, a) in rects.iter().enumerate() {
            for b in &rects[i + 1..] {
                let apart = a.x + a.w <= b.x + 1e-6
                    || b.x + b.w <= a.x + 1e-6
                    || a.y + a.h <= b.y + 1e-6
                    || b.y + b.h <= a.y + 1e-6;
                assert!(apart || b.w * b.h == 0.0, "{a:?} overlaps {b:?}");
            }
        }
    }

    #[test]
    fn nothing_to_divide() {
        assert!(squarify(&[], Rect { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }).is_empty());
        assert_eq!(squarify(&[0, 0], Rect { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }).len(), 2);
    }
}
