//! The maps of a node.

use maud::{Markup, html};

use super::{Name, bar, count, grouped, name};
use crate::model::size::size;
use crate::report::document::{Bpf, BpfRow, BpfTotals};

/// Rows listed.
const ROWS: usize = 100;

/// The answer, in a report of its own.
pub(super) fn verdict(b: &Bpf) -> Markup {
    let t = b.totals;
    html! {
        h1 { "Where the memory of " (count(t.maps, "BPF map", "BPF maps")) " goes" }
        p class="big" { (size(t.real)) " " small { "taken; " (size(t.memlock)) " reported as " code { "bytes_memlock" } ", " (size(t.charged)) " charged to containers" } }
    }
}

/// Maps by owner, then by shape.
pub(super) fn sections(b: &Bpf, i: usize) -> Markup {
    let most = b.groups.iter().map(|g| g.totals.real).max().unwrap_or(0);
    html! {
        h2 id=(format!("bpf-{i}")) { "BPF maps" }
        div class="scroll" {
            table class="sort" {
                thead { tr { th { "Owner" } th class="n" { "Maps" } th class="n" { "Reported" } th class="n" { "Real" } th { "" } th class="n" { "Charged" } } }
                tbody {
                    @for g in b.groups.iter().take(ROWS) {
                        tr { td { (name(&g.owner, 60)) } td class="n" { (grouped(g.totals.maps)) } td class="n" { (size(g.totals.memlock)) } td class="n" { (size(g.totals.real)) } td class="bar" { (bar(g.totals.real, most)) } td class="n" { (size(g.totals.charged)) } }
                    }
                    (others(b.groups.len(), 6))
                    (total(b.totals))
                }
            }
        }
        h3 { "Each map once" }
        div class="scroll" {
            table class="sort" {
                thead { tr { th { "Map" } th { "Owner" } th { "Type" } th class="n" { "Maps" } th class="n" { "Entries" } th class="n" { "Reported" } th class="n" { "Real" } th class="n" { "Charged" } } }
                tbody {
                    @for r in b.rows.iter().take(ROWS) { (row(r)) }
                    (others(b.rows.len(), 8))
                }
            }
        }
        p class="dim" { "Reported is " code { "bytes_memlock" } "; real is what the allocator hands out; charged is what the creator's cgroup pays." }
    }
}

fn others(rows: usize, columns: usize) -> Markup {
    html! { @if rows > ROWS { tr class="rest" { td colspan=(columns) { "[" (count((rows - ROWS) as u64, "other", "others")) "]" } } } }
}

fn total(t: BpfTotals) -> Markup {
    html! { tr class="rest sum" { td { "each map once" } td class="n" { (grouped(t.maps)) } td class="n" { (size(t.memlock)) } td class="n" { (size(t.real)) } td {} td class="n" { (size(t.charged)) } } }
}

fn row(r: &BpfRow) -> Markup {
    html! {
        tr {
            td { (name(&r.name, 60)) @if let Some(p) = &r.parent { " " span class="dim" { "in " (name(p, 40)) } } }
            td { (Name(&r.owner, 40)) }
            td { (Name(&r.map_type, 40)) }
            td class="n" { (grouped(r.totals.maps)) }
            td class="n" { @if let Some(live) = r.live { (grouped(live)) "/" } (grouped(r.entries_max)) }
            td class="n" { (size(r.totals.memlock)) }
            td class="n" { (size(r.totals.real)) }
            td class="n" { (size(r.totals.charged)) }
        }
    }
}
