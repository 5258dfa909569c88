//! Proxies, one or many.

use maud::{Markup, html};

use super::treemap::{self, Size};
use super::{Name, bar, count, grouped, name, share};
use crate::model::size::size;
use crate::report::document::{Analysis, Dimension, Distribution, Estimate, Head, Proxy, Resource, Row};

/// Proxies shown in full.
const IN_FULL: usize = 3;
/// Proxies listed.
const PROXIES: usize = 500;
/// Rows of a list of resources, namespaces or owners.
const ROWS: usize = 50;

fn bounds(e: Estimate) -> String {
    format!("{} ({} to {})", size(e.bytes), size(e.low), size(e.high))
}

/// The answer.
pub(super) fn verdict(head: &Head, a: &Analysis) -> Markup {
    html! {
        @match a.proxies.as_slice() {
            [] => h1 { "meshdump: " (count(head.inputs.len() as u64, "input", "inputs")) },
            [one] => {
                h1 { "Where the memory of " (name(&one.label, 120)) " goes" }
                (facts(one))
                p class="big" { (size(one.memory.allocated.bytes)) " " small { "estimated allocated, " (size(one.memory.allocated.low)) " to " (size(one.memory.allocated.high)) } }
                (memory(one))
            }
            many => {
                h1 { "Where the memory of " (grouped(many.len() as u64)) " proxies goes" }
                @if let Some(f) = &a.fleet {
                    p class="big" { (size(f.allocated.total)) " " small { "estimated allocated over " (count(f.proxies, "proxy", "proxies")) } }
                    p { "Each: " (distribution(f.allocated)) }
                    @if let Some(o) = f.observed_allocated { p { "Observed, where " code { "/memory" } " is in the evidence: " (distribution(o)) } }
                    p class="dim" { "Envoy " @for (i, (v, n)) in f.envoy_versions.iter().enumerate() { @if i > 0 { ", " } (Name(v, 40)) " × " (grouped(*n)) } }
                }
            }
        }
    }
}

fn distribution(d: Distribution) -> String {
    format!("median {}, least {}, 90 % below {}, most {}", size(d.p50), size(d.min), size(d.p90), size(d.max))
}

fn facts(p: &Proxy) -> Markup {
    let mut facts = Vec::new();
    if !p.envoy_version.is_empty() {
        facts.push(format!("Envoy {}", Name(&p.envoy_version, 40)));
    }
    if !p.istio_version.is_empty() {
        facts.push(format!("Istio {}", Name(&p.istio_version, 40)));
    }
    facts.push(match p.concurrency {
        Some(n) => count(n.into(), "worker", "workers"),
        None => "workers unknown, 2 assumed".to_owned(),
    });
    if let Some(s) = p.drain_time_s {
        facts.push(format!("drain time {s} s"));
    }
    if let Some(t) = &p.newest_time {
        facts.push(format!("newest change {}", Name(t, 40)));
    }
    if p.expected_only {
        facts.push("what the control plane would send, not what Envoy has".to_owned());
    }
    html! { p class="dim" { (facts.join(" · ")) } }
}

fn memory(p: &Proxy) -> Markup {
    let m = &p.memory;
    html! {
        p { "Configuration " (bounds(m.config)) ", an idle process " (size(m.base.bytes))
            @if m.outside_allocator.bytes > 0 { "; outside the allocator (LuaJIT, V8) " (bounds(m.outside_allocator)) }
            "; resident " (bounds(m.resident)) "."
        }
        @match &m.observed {
            Some(o) => p {
                "Observed " strong { (size(o.allocated)) } @if o.source == "stats" { " (a gauge of " code { "/stats" } ")" }
                @if let Some(r) = m.residual_bytes { ": " (format!("{:+.1}%", r as f64 * 100.0 / m.allocated.bytes.max(1) as f64)) " against the estimate" }
                "."
            },
            None => p class="dim" { "No " code { "/memory" } " beside the dump to check the estimate." },
        }
        @if let Some(limit) = m.limit_bytes.filter(|l| *l > 0) {
            p { "Resident against the limit of " strong { (size(limit)) } ": " (share(m.resident.bytes, limit)) }
            (bar(m.resident.bytes, limit))
        }
    }
}

/// Links to the sections.
pub(super) fn contents(a: &Analysis) -> Markup {
    html! {
        @if a.proxies.len() > 1 { a href="#fleet" { "Proxies" } }
        @for (i, p) in a.proxies.iter().take(IN_FULL).enumerate() {
            a href=(format!("#proxy-{i}")) { @if a.proxies.len() == 1 { "What holds it" } @else { (Name(&p.label, 40)) } }
        }
    }
}

/// Everything after the findings.
pub(super) fn sections(a: &Analysis) -> Markup {
    let one = a.proxies.len() == 1;
    html! {
        @if a.proxies.len() > 1 { (fleet(a)) }
        @for (i, p) in a.proxies.iter().take(IN_FULL).enumerate() {
            h2 id=(format!("proxy-{i}")) { @if one { "What holds it" } @else { (name(&p.label, 120)) } }
            @if !one { (facts(p)) p { "Estimated allocated " strong { (bounds(p.memory.allocated)) } } (memory(p)) }
            (proxy(p, i))
        }
        @if let Some(k) = &a.kubernetes {
            h2 { "Kubernetes objects" }
            div class="scroll" {
                table class="sort" {
                    thead { tr { th { "Kind" } th class="n" { "Objects" } } }
                    tbody {
                        @for r in k.kinds.iter().take(ROWS) { tr { td { (name(&r.name, 80)) } td class="n" { (grouped(r.count)) } } }
                        @if k.kinds.len() > ROWS { tr class="rest" { td colspan="2" { "[" (count((k.kinds.len() - ROWS) as u64, "other kind", "other kinds")) "]" } } }
                    }
                }
            }
        }
        @if a.proxies.len() > IN_FULL {
            p class="dim" { "[" (count((a.proxies.len() - IN_FULL) as u64, "other proxy", "other proxies")) "] in the list above; analyze one alone for a section of its own." }
        }
    }
}

fn fleet(a: &Analysis) -> Markup {
    let most = a.proxies.iter().map(|p| p.memory.allocated.bytes).max().unwrap_or(0);
    html! {
        h2 id="fleet" { "Proxies" }
        div class="scroll" {
            table class="sort" {
                thead { tr { th { "Proxy" } th { "Workload" } th { "Envoy" } th class="n" { "Allocated" } th { "" } th class="n" { "Config" } th class="n" { "Observed" } th class="n" { "Listeners" } th class="n" { "Clusters" } th class="n" { "Draining" } } }
                tbody {
                    @for p in a.proxies.iter().take(PROXIES) {
                        tr {
                            td { (name(&p.label, 60)) }
                            td { @if !p.workload.is_empty() { (name(&p.workload, 40)) } }
                            td { (Name(&p.envoy_version, 16)) }
                            td class="n" { (size(p.memory.allocated.bytes)) }
                            td class="bar" { (bar(p.memory.allocated.bytes, most)) }
                            td class="n" { (size(p.memory.config.bytes)) }
                            td class="n" { @match &p.memory.observed { Some(o) => (size(o.allocated)), None => "-" } }
                            td class="n" { (grouped(p.counts.listeners.total())) }
                            td class="n" { (grouped(p.counts.clusters.total())) }
                            td class="n" { (grouped(p.draining.listeners_implied.unwrap_or(p.draining.listeners_in_dump))) }
                        }
                    }
                    @if a.proxies.len() > PROXIES { tr class="rest" { td colspan="10" { "[" (count((a.proxies.len() - PROXIES) as u64, "other", "others")) "]" } } }
                }
            }
        }
        @if let Some(f) = &a.fleet {
            @let differ: Vec<_> = f.workloads.iter().filter(|w| w.differ).collect();
            @if !differ.is_empty() {
                h3 { "Replicas that differ" }
                ul {
                    @for w in differ.iter().take(ROWS) {
                        li { (name(&w.name, 80)) ", " (count(w.proxies.len() as u64, "replica", "replicas"))
                            ul { @for d in &w.differences { li { (name(d, 200)) } } }
                        }
                    }
                    @if differ.len() > ROWS { li { "[" (count((differ.len() - ROWS) as u64, "other", "others")) "]" } }
                }
            }
        }
    }
}

fn proxy(p: &Proxy, i: usize) -> Markup {
    html! {
        @if let Some(dimensions) = &p.treemap { (map(dimensions, i)) }
        (kinds(p))
        (states(p))
        (draining(p))
        @if p.by_namespace.len() > 1 { (groups("Namespace", &p.by_namespace, 0, p.memory.config.bytes)) }
        @if p.by_owner.len() > 1 { (groups("Owner", &p.by_owner, p.owners_omitted, p.memory.config.bytes)) }
        (resources(p))
        (savings(p))
    }
}

/// What the operator could change.
fn savings(p: &Proxy) -> Markup {
    let worth: Vec<_> =
        p.savings.iter().flatten().filter(|s| s.saved.bytes + s.saved_outside_allocator.bytes > 0).collect();
    html! {
        @if !worth.is_empty() {
            h3 { "What could be changed" }
            div class="scroll" {
                table {
                    thead { tr { th { "Change" } th class="n" { "Saves" } th { "How" } } }
                    tbody {
                        @for s in &worth {
                            tr {
                                td { (name(&s.title, 100)) }
                                td class="n" { (size(s.saved.bytes)) @if s.saved_outside_allocator.bytes > 0 { " + " (size(s.saved_outside_allocator.bytes)) " outside" } }
                                td class="x" { @if !s.how.is_empty() { (name(&s.how, 300)) } }
                            }
                        }
                    }
                }
            }
            p class="dim" { "The changed configuration is priced again; savings overlap and must not be added." }
        }
    }
}

fn map(dimensions: &[Dimension], i: usize) -> Markup {
    let views = |d: &Dimension| if d.dimension == "field" { &[Size::Json][..] } else { &Size::ALL[..] };
    let label = |d: &Dimension| match &*d.dimension {
        "owner" => "service or owner".to_owned(),
        other => Name(other, 20).to_string(),
    };
    let known: Vec<&Dimension> =
        dimensions.iter().filter(|d| ["kind", "namespace", "owner", "field"].contains(&&*d.dimension)).collect();
    html! {
        div class="tm" {
            @for (n, d) in known.iter().enumerate() {
                input type="radio" name=(format!("d{i}")) id=(format!("d{i}-{}", d.dimension)) class=(format!("d-{}", d.dimension)) checked[n == 0];
            }
            @for (n, s) in Size::ALL.iter().enumerate() {
                input type="radio" name=(format!("s{i}")) id=(format!("s{i}-{}", s.id())) class=(format!("s-{}", s.id())) checked[n == 0];
            }
            div class="pick" {
                span { "by" @for d in &known { label for=(format!("d{i}-{}", d.dimension)) class=(format!("l-{}", d.dimension)) { (label(d)) } } }
                span { "size" @for s in Size::ALL { label for=(format!("s{i}-{}", s.id())) class=(format!("l-{}", s.id())) { (s.label()) } } }
            }
            p class="only dim" { "By field: bytes of JSON. What a field costs in the heap is not measured apart." }
            @for d in &known { @for s in views(d) { div class=(format!("view v-{}-{}", d.dimension, s.id())) { (treemap::svg(d, *s)) } } }
            p class="say dim" { "Areas are in proportion. Retained: each byte once, at the outermost resource that alone leads to it." }
        }
        details {
            summary { "The same as tables" }
            @for d in &known {
                h3 { "By " (label(d)) }
                div class="scroll" {
                    table class="sort" {
                        thead { tr { th { (label(d)) } th class="n" { "JSON" } @if d.dimension != "field" { th class="n" { "Resources" } th class="n" { "Heap" } th class="n" { "Retained" } } } }
                        tbody {
                            @for g in &d.groups {
                                tr class=[g.name.is_empty().then_some("rest")] {
                                    td { @if g.name.is_empty() { "[others]" } @else { (name(&g.name, 80)) } }
                                    td class="n" { (size(g.sums.json_bytes)) }
                                    @if d.dimension != "field" { td class="n" { (grouped(g.sums.count)) } td class="n" { (size(g.sums.bytes)) } td class="n" { (size(g.sums.retained_bytes)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn kinds(p: &Proxy) -> Markup {
    let whole = p.memory.allocated.bytes;
    html! {
        h3 { "By kind" }
        div class="scroll" {
            table class="sort" {
                thead { tr { th { "Kind" } th class="n" { "Count" } th class="n" { "JSON" } th class="n" { "Heap" } th { "" } th class="n" { "Share" } th class="n" { "Each" } } }
                tbody {
                    @for k in &p.by_kind {
                        tr {
                            td { (Name(&k.name, 40)) }
                            td class="n" { (grouped(k.count)) }
                            td class="n" { @if k.json_bytes > 0 { (size(k.json_bytes)) } @else { "-" } }
                            td class="n" { (size(k.bytes)) }
                            td class="bar" { (bar(k.bytes, whole)) }
                            td class="n" { (share(k.bytes, whole)) }
                            td class="n" { (size(k.bytes / k.count.max(1))) }
                        }
                    }
                    tr class="rest" {
                        td { "base process" } td class="n" { "-" } td class="n" { "-" } td class="n" { (size(p.memory.base.bytes)) }
                        td class="bar" { (bar(p.memory.base.bytes, whole)) } td class="n" { (share(p.memory.base.bytes, whole)) } td class="n" { "-" }
                    }
                    tr class="rest sum" { td { "total" } td {} td {} td class="n" { (size(whole)) } td {} td {} td {} }
                }
            }
        }
    }
}

fn states(p: &Proxy) -> Markup {
    let c = &p.counts;
    let rows = [
        ("listeners", c.listeners),
        ("clusters", c.clusters),
        ("route configs", c.route_configs),
        ("endpoint sets", c.endpoint_sets),
        ("secrets", c.secrets),
    ];
    html! {
        h3 { "By state" }
        div class="scroll" {
            table {
                thead { tr { th { "State" } th class="n" { "Static" } th class="n" { "Active" } th class="n" { "Warming" } th class="n" { "Draining" } th class="n" { "Error" } } }
                tbody {
                    @for (what, s) in rows.iter().filter(|(_, s)| s.total() > 0) {
                        tr { td { (what) } @for n in [s.fixed, s.active, s.warming, s.draining, s.error] { td class="n" { @if n == 0 { "-" } @else { (grouped(n)) } } } }
                    }
                }
            }
        }
    }
}

fn draining(p: &Proxy) -> Markup {
    let d = &p.draining;
    let or_unknown = |n: Option<u64>| n.map_or_else(|| "unknown without /stats".to_owned(), grouped);
    html! {
        h3 { "Draining" }
        div class="scroll" {
            table {
                tbody {
                    tr { td { "listeners in the dump (one per name at most)" } td class="n" { (grouped(d.listeners_in_dump)) } }
                    tr { td { "listeners by the gauge" } td class="n" { (or_unknown(d.listeners_implied)) } }
                    tr { td { "filter chains of in-place updates by the gauge" } td class="n" { (or_unknown(d.filter_chains_implied)) } }
                    @if d.route_tables_unexplained > 0 { tr { td { "inline route tables of hidden generations" } td class="n" { (grouped(d.route_tables_unexplained)) } } }
                    @if let Some(n @ 1..) = d.tls_contexts_unexplained { tr { td { "TLS contexts of hidden generations" } td class="n" { (grouped(n)) } } }
                    @if d.bytes > 0 { tr { td { "held by them" } td class="n" { strong { (size(d.bytes)) } } } }
                }
            }
        }
        @if !d.needs_recording.is_empty() { p class="dim" { "Only a recording tells: " (Name(&d.needs_recording.join("; "), 400)) "." } }
    }
}

fn groups(what: &str, rows: &[Row], omitted: u64, whole: u64) -> Markup {
    let most = rows.first().map_or(0, |r| r.bytes);
    let rest = rows.len().saturating_sub(ROWS) as u64 + omitted;
    html! {
        h3 { "By " (what.to_lowercase()) }
        div class="scroll" {
            table class="sort" {
                thead { tr { th { (what) } th class="n" { "Resources" } th class="n" { "JSON" } th class="n" { "Heap" } th { "" } th class="n" { "Of config" } } }
                tbody {
                    @for r in rows.iter().take(ROWS) {
                        tr {
                            td { (name(&r.name, 80)) }
                            td class="n" { (grouped(r.count)) }
                            td class="n" { (size(r.json_bytes)) }
                            td class="n" { (size(r.bytes)) }
                            td class="bar" { (bar(r.bytes, most)) }
                            td class="n" { (share(r.bytes, whole)) }
                        }
                    }
                    @if rest > 0 { tr class="rest" { td colspan="6" { "[" (count(rest, "other", "others")) "]" } } }
                }
            }
        }
    }
}

fn resources(p: &Proxy) -> Markup {
    let rest = p.resources.len().saturating_sub(ROWS) as u64 + p.resources_omitted;
    html! {
        h3 { "Largest resources" }
        div class="scroll" {
            table class="sort" {
                thead { tr { th { "Resource" } th { "Kind" } th { "Namespace" } th { "State" } th class="n" { "JSON" } th class="n" { "Heap" } th class="n" { "Retained" } th class="n" { "Line" } } }
                tbody {
                    @for r in p.resources.iter().take(ROWS) { (resource(r)) }
                    @if rest > 0 { tr class="rest" { td colspan="8" { "[" (count(rest, "other", "others")) "]" } } }
                }
            }
        }
    }
}

fn resource(r: &Resource) -> Markup {
    html! {
        tr {
            td class="x" { (name(&r.name, 90)) }
            td { (Name(&r.kind, 30)) }
            td { (Name(&r.namespace, 40)) }
            td { (Name(&r.state, 20)) }
            td class="n" { (size(r.json_bytes)) }
            td class="n" { (size(r.bytes)) }
            td class="n" { (size(r.retained_bytes)) }
            td class="n" { (r.source.line) }
        }
    }
}
