//! The gates of a check.

use maud::{Markup, html};

use super::{count, evidence, name};
use crate::report::document::{Check, Gate};

/// Gates that do not hold, and places of one.
const GATES: usize = 200;
const PLACES: usize = 15;

/// The answer.
pub(super) fn verdict(c: &Check) -> Markup {
    let t = c.totals;
    html! {
        h1 { @if c.ok { "Every gate holds" } @else { (count(t.failed, "gate fails", "gates fail")) } }
        p class="big" {
            (t.failed) " " small { "failed, " (t.warned) " warned, " (t.suppressed) " suppressed, " (t.skipped) " skipped, " (t.passed) " passed" }
        }
    }
}

/// What does not hold, with where it shows; then what does.
pub(super) fn gates(c: &Check) -> Markup {
    let (held, open): (Vec<&Gate>, Vec<&Gate>) = c.gates.iter().partition(|g| g.status == "pass");
    html! {
        @for g in open.iter().take(GATES) { (gate(g)) }
        @if open.len() > GATES { p { "[" (count((open.len() - GATES) as u64, "other", "others")) "]" } }
        @if !held.is_empty() {
            details {
                summary { (count(held.len() as u64, "gate holds", "gates hold")) }
                ul {
                    @for g in held.iter().take(GATES) {
                        li { (name(&g.message, 300)) @if !g.proxy.is_empty() { " " span class="dim" { (name(&g.proxy, 120)) } } }
                    }
                    @if held.len() > GATES { li { "[" (count((held.len() - GATES) as u64, "other", "others")) "]" } }
                }
            }
        }
    }
}

fn gate(g: &Gate) -> Markup {
    let class = match g.status.as_str() {
        "fail" => "error",
        "warn" => "warn",
        _ => "note",
    };
    html! {
        article class=(class) {
            h3 { span class=(format!("sev {class}")) { (name(&g.status, 12)) } " " (name(&g.message, 400)) }
            p class="dim" { code { (name(&g.rule, 80)) } @if !g.proxy.is_empty() { " of proxy " (name(&g.proxy, 120)) } }
            @if !g.reason.is_empty() { p { strong { "Suppressed: " } (name(&g.reason, 400)) } }
            @if !g.places.is_empty() {
                ul {
                    @for p in g.places.iter().take(PLACES) { li { (evidence(p)) } }
                    @let rest = g.places.len().saturating_sub(PLACES) as u64 + g.places_omitted;
                    @if rest > 0 { li { "[" (count(rest, "other", "others")) "]" } }
                }
            }
        }
    }
}
