//! Two runs side by side.

use maud::{Markup, html};

use super::{count, name};
use crate::report::document_diff::{Diff, Item, Part};

/// Resources per list, and fields of one.
const ITEMS: usize = 200;
const FIELDS: usize = 20;

/// The answer.
pub(super) fn verdict(d: &Diff) -> Markup {
    html! {
        h1 { @if d.equal { "No difference" } @else { "What differs" } }
        @if d.equal { p { "Times, versions, spelling, defaults and the order of sets aside." } }
        @for (list, side) in [(&d.proxies_removed, "first"), (&d.proxies_added, "second")] {
            @if !list.is_empty() { p { "Proxies only in the " (side) ": " @for l in list { (name(l, 120)) " " } } }
        }
    }
}

/// Memory first, then the resources.
pub(super) fn sections(d: &Diff) -> Markup {
    html! { @for part in d.parts() { (section(&part)) } }
}

fn section(part: &Part<'_>) -> Markup {
    html! {
        h3 { (name(part.title, 120)) }
        div class="scroll" {
            table {
                thead { tr { th { "What" } th class="n" { "Was" } th class="n" { "Now" } th class="n" { "Difference" } } }
                tbody { @for [what, was, now, delta] in &part.rows { tr { td { (name(what, 120)) } td class="n" { (was) } td class="n" { (now) } td class="n" { (delta) } } } }
            }
        }
        @for (what, items) in &part.lists {
            details open[items.len() <= 20] {
                summary { (count(items.len() as u64, "resource", "resources")) " " (what) }
                ul {
                    @for item in items.iter().take(ITEMS) { (resource(item)) }
                    @if items.len() > ITEMS { li { "[" (count((items.len() - ITEMS) as u64, "other", "others")) "]" } }
                }
            }
        }
        @if let Some(n) = part.unchanged { p class="dim" { (count(n, "resource is", "resources are")) " the same." } }
    }
}

fn resource(item: &Item<'_>) -> Markup {
    html! {
        li {
            (name(item.kind, 40)) " " (name(item.name, 200))
            @if !item.fields.is_empty() {
                ul {
                    @for f in item.fields.iter().take(FIELDS) { li class="mono" { (name(f, 300)) } }
                    @if item.fields.len() > FIELDS { li { "[" (count((item.fields.len() - FIELDS) as u64, "other", "others")) "]" } }
                }
            }
        }
    }
}
