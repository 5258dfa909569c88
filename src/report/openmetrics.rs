//! Sums as OpenMetrics text (version 1.0.0), for dashboards that watch a mesh's configuration.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::clean;
use super::document::{Document, Estimate, Finding, Proxy, States};
use super::rows::nothing;

/// One family of gauges.
struct Family {
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    /// Labels, as written, and the value.
    points: Vec<(String, u64)>,
}

impl Family {
    fn new(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, unit, help, points: Vec::new() }
    }

    fn push(&mut self, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        self.points.push((labels.join(","), value));
    }

    fn estimate(&mut self, proxy: &str, e: Estimate) {
        for (bound, bytes) in [("estimate", e.bytes), ("low", e.low), ("high", e.high)] {
            self.push(&[("proxy", proxy), ("bound", bound)], bytes);
        }
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The sums of analyses and of bpf reports.
///
/// # Errors
/// When the reports have neither.
pub(super) fn render(reports: &[Document]) -> Result<Vec<u8>, String> {
    let mut families = Vec::new();
    let proxies: Vec<&Proxy> = reports.iter().flat_map(Document::proxies).collect();
    if !proxies.is_empty() {
        families.extend(of_proxies(&proxies));
    }
    let maps = reports.iter().find_map(Document::bpf);
    if let Some(b) = maps {
        let mut memlock = Family::new("meshdump_bpf_memlock_bytes", "bytes", "bytes_memlock of BPF maps by owner");
        let mut real = Family::new("meshdump_bpf_real_bytes", "bytes", "Memory of BPF maps by owner");
        for g in &b.groups {
            memlock.push(&[("owner", &g.owner)], g.totals.memlock);
            real.push(&[("owner", &g.owner)], g.totals.real);
        }
        families.extend([memlock, real]);
    }
    if families.is_empty() {
        return Err(nothing("openmetrics", reports));
    }
    families.push(findings(reports.iter().flat_map(|r| &r.head.findings)));
    let mut out = String::new();
    for f in families.iter().filter(|f| !f.points.is_empty()) {
        let _ = writeln!(out, "# TYPE {} gauge", f.name);
        if !f.unit.is_empty() {
            let _ = writeln!(out, "# UNIT {} {}", f.name, f.unit);
        }
        let _ = writeln!(out, "# HELP {} {}", f.name, f.help);
        for (labels, value) in &f.points {
            let _ = writeln!(out, "{}{{{labels}}} {value}", f.name);
        }
    }
    out.push_str("# EOF\n");
    Ok(out.into_bytes())
}

fn of_proxies(proxies: &[&Proxy]) -> Vec<Family> {
    let bytes = |name, help| Family::new(name, "bytes", help);
    let mut allocated = bytes("meshdump_allocated_bytes", "Estimated allocated memory of an Envoy");
    let mut config = bytes("meshdump_config_bytes", "The part of it that configuration takes");
    let mut resident = bytes("meshdump_resident_bytes", "Estimated anonymous resident memory");
    let mut observed = bytes("meshdump_observed_allocated_bytes", "Allocated memory that the proxy itself reported");
    let mut kind_bytes = bytes("meshdump_kind_bytes", "Estimated memory by kind of resource");
    let mut namespace = bytes("meshdump_namespace_bytes", "Estimated memory by namespace");
    let mut held = bytes("meshdump_draining_bytes", "Estimated memory of draining generations");
    let mut kind = Family::new("meshdump_kind_resources", "", "Resources by kind");
    let mut states = Family::new("meshdump_resources", "", "Resources by state");
    let mut draining = Family::new("meshdump_draining_listeners", "", "Draining listeners by source");
    // several dumps of one proxy have one label
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for p in proxies {
        let n = seen.entry(&p.label).or_default();
        *n += 1;
        let label = if *n == 1 { p.label.clone() } else { format!("{}#{n}", p.label) };
        allocated.estimate(&label, p.memory.allocated);
        config.estimate(&label, p.memory.config);
        resident.estimate(&label, p.memory.resident);
        if let Some(o) = &p.memory.observed {
            observed.push(&[("proxy", &label)], o.allocated);
        }
        for k in &p.by_kind {
            kind_bytes.push(&[("proxy", &label), ("kind", &k.name)], k.bytes);
            kind.push(&[("proxy", &label), ("kind", &k.name)], k.count);
        }
        for g in &p.by_namespace {
            namespace.push(&[("proxy", &label), ("namespace", &g.name)], g.bytes);
        }
        let c = &p.counts;
        let all: [(&str, States); 5] = [
            ("listener", c.listeners),
            ("cluster", c.clusters),
            ("route_config", c.route_configs),
            ("endpoint", c.endpoint_sets),
            ("secret", c.secrets),
        ];
        for (kind, s) in all {
            for (state, n) in [
                ("static", s.fixed),
                ("active", s.active),
                ("warming", s.warming),
                ("draining", s.draining),
                ("error", s.error),
            ] {
                states.push(&[("proxy", &label), ("kind", kind), ("state", state)], n);
            }
        }
        draining.push(&[("proxy", &label), ("source", "dump")], p.draining.listeners_in_dump);
        if let Some(n) = p.draining.listeners_implied {
            draining.push(&[("proxy", &label), ("source", "gauge")], n);
        }
        held.push(&[("proxy", &label)], p.draining.bytes);
    }
    vec![allocated, config, resident, observed, kind_bytes, namespace, held, kind, states, draining]
}

fn findings<'a>(all: impl Iterator<Item = &'a Finding>) -> Family {
    let mut family = Family::new("meshdump_findings", "", "Findings by code");
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for f in all {
        *counts.entry((&f.code, &f.severity)).or_default() += 1;
    }
    for ((code, severity), n) in counts {
        family.push(&[("code", code), ("severity", severity)], n);
    }
    family
}
