//! The verdict of a check, for people: what failed first, with where to look.

use std::fmt::Write as _;

use super::text::bold;
use super::words::{clean, count, fit};
use crate::findings::check::{Check, Gate, Place, Status, Suppressed};

/// Places listed per gate without `--full`.
const PLACES: usize = 5;

/// Renders a check for a terminal of `width` columns.
pub fn text(c: &Check, width: usize, full: bool) -> String {
    let mut out = String::new();
    let b = bold();
    let t = c.totals;
    let verdict = if c.ok { "OK" } else { "FAILED" };
    let mut parts = vec![format!("{} failed", t.failed)];
    for (n, word) in [(t.warned, "warned"), (t.suppressed, "suppressed"), (t.skipped, "skipped")] {
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    parts.push(format!("{} passed", t.passed));
    let _ = writeln!(out, "{b}{verdict}{b:#}  {}", parts.join(", "));
    let against = match (&c.config, &c.baseline) {
        (None, None) => "no .meshdump.toml and no baseline (--update-baseline makes one)".to_owned(),
        (Some(config), None) => clean(config).into_owned(),
        (None, Some(baseline)) => format!("baseline {}", clean(baseline)),
        (Some(config), Some(baseline)) => format!("{}, baseline {}", clean(config), clean(baseline)),
    };
    let _ = writeln!(out, "AGAINST {against}");
    let listed = |g: &&Gate| full || g.status != Status::Pass;
    for g in c.gates.iter().filter(listed) {
        gate(&mut out, g, width, full);
    }
    for s in &c.suppressions {
        suppression(&mut out, s, width);
    }
    if let Some(today) = &c.today {
        let from = match today.from {
            "flag" => "--today",
            "source_date_epoch" => "SOURCE_DATE_EPOCH",
            _ => "the clock, UTC",
        };
        let _ = writeln!(out, "TODAY {} by {from}", today.date);
    }
    for p in &c.problems {
        let _ = writeln!(out, "READING {}", super::text::problem_line(p));
    }
    out
}

fn gate(out: &mut String, g: &Gate, width: usize, full: bool) {
    let word = match g.status {
        Status::Fail => "FAIL",
        Status::Warn => "WARN",
        Status::Suppressed => "HELD",
        Status::Skipped => "SKIP",
        Status::Pass => "PASS",
    };
    let proxy = if g.proxy.is_empty() { String::new() } else { format!("  [{}]", fit(&g.proxy, width / 3)) };
    let _ = writeln!(out, "{word}  {}{proxy}", fit(&g.message, width * 2));
    if !g.reason.is_empty() {
        let _ = writeln!(out, "      reason: {}", fit(&g.reason, width.saturating_sub(14)));
    }
    let most = if full { g.places.len() } else { PLACES };
    for p in g.places.iter().take(most) {
        place(out, p, width);
    }
    let more = g.places.len().saturating_sub(most) as u64 + g.places_omitted;
    if more > 0 {
        let _ = writeln!(out, "      [{}]", count(more, "other", "others"));
    }
}

fn place(out: &mut String, p: &Place, width: usize) {
    let path = fit(&p.path, width / 2);
    let at = match (p.line, p.offset) {
        // in a dump of one line the line says nothing
        (Some(1), Some(byte)) if byte > 0 => format!("{path}:1, byte {byte}"),
        (Some(line), _) => format!("{path}:{line}"),
        (None, _) => path,
    };
    let _ = writeln!(out, "      {at}  {}", fit(&p.text, width.saturating_sub(at.chars().count() + 8).max(20)));
}

fn suppression(out: &mut String, s: &Suppressed, width: usize) {
    let until = s.until.as_ref().map(|u| format!(" until {u}")).unwrap_or_default();
    let of = if s.proxies.is_empty() { String::new() } else { format!(" of {}", fit(&s.proxies, width / 3)) };
    let what = match (s.expired, s.hits) {
        (true, _) => "has expired and holds nothing back".to_owned(),
        (false, 0) => "matched nothing; remove it?".to_owned(),
        (false, n) => format!("held back {}", count(n, "result", "results")),
    };
    let _ = writeln!(
        out,
        "SUPPRESSION {}{of}{until}: {what} ({})",
        fit(&s.rule, width / 3),
        fit(&s.reason, width.saturating_sub(40).max(20))
    );
}
