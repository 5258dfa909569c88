//! The numbers of an analysis that a later one is compared with: the same for the same input on every machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::super::analysis::{Analysis, ProxyReport, ResourceRow};
use super::super::replay::Replay;
use super::super::{Finding, Severity};
use super::measure::{Growth, MEASURES, Metric, Of, STATES, Unit};

/// The `kind` of a [`Baseline`].
const KIND: &str = "baseline";

/// What a baseline file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// `meshdump/v1`.
    pub api_version: String,
    /// `baseline`.
    pub kind: String,
    /// The model that estimated the bytes: under another one they are not compared.
    pub cost_model: String,
    /// By label.
    pub proxies: BTreeMap<String, ProxyBaseline>,
    /// Numbers of the run as a whole: `bpf`, `replay`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<String, RunBaseline>,
}

/// The maps of a node, or a recording, in a [`Baseline`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBaseline {
    /// Bytes and counts, by name.
    pub numbers: BTreeMap<String, u64>,
    /// Findings by code, without those about the evidence.
    pub findings: BTreeMap<String, u64>,
}

/// One proxy of a [`Baseline`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyBaseline {
    /// `node.id`.
    #[serde(default)]
    pub node_id: String,
    /// `name.namespace`.
    #[serde(default)]
    pub workload: String,
    /// Estimates in bytes.
    pub bytes: BTreeMap<String, u64>,
    /// Counts.
    pub counts: BTreeMap<String, u64>,
    /// Findings by code, without those about the evidence.
    pub findings: BTreeMap<String, u64>,
    /// Estimated bytes of each resource under a hash of its kind, name and whether it drains: tells which ones are new
    /// or larger, and holds no names.
    pub resources: BTreeMap<String, u64>,
}

/// Stands for a resource in a baseline. Warming and active are one state: which one is a matter of the moment.
pub(super) fn identity(r: &ResourceRow) -> String {
    let state = if matches!(r.state, "draining" | "error") { r.state } else { "" };
    format!("{:016x}", xxh3_64(format!("{}\0{state}\0{}", r.kind, r.name).as_bytes()))
}

/// Names of the counts that a baseline holds, with how they may grow.
pub(super) fn counted() -> impl Iterator<Item = (String, Metric, Growth)> {
    MEASURES.iter().filter(|m| m.growth != Growth::Ignored).flat_map(|m| {
        let mut names = vec![(m.name.to_owned(), m.growth)];
        if let Of::States(_) = m.of {
            // a rejected resource is never within a tolerance
            names.push((format!("{}.error", m.name), Growth::None));
        }
        names.into_iter().filter_map(|(name, growth)| Some((name.clone(), Metric::named(&name)?, growth)))
    })
}

impl ProxyBaseline {
    pub(super) fn of(a: &Analysis, p: &ProxyReport) -> Self {
        let mut out = Self { node_id: p.node_id.clone(), workload: p.workload.clone(), ..Self::default() };
        for (name, metric, _) in counted() {
            // bytes and counts are whole numbers
            let Some(value) = metric.of_proxy(a, p).map(|v| v as u64) else { continue };
            let map = if metric.unit() == Unit::Bytes { &mut out.bytes } else { &mut out.counts };
            map.insert(name, value);
        }
        out.findings = by_code(a.findings.iter().filter(|f| f.proxy == p.label));
        for r in &p.resources {
            *out.resources.entry(identity(r)).or_default() += r.bytes;
        }
        out
    }
}

/// Findings by code, without those about the evidence.
pub(super) fn by_code<'a>(findings: impl Iterator<Item = &'a Finding>) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for f in findings.filter(|f| f.severity != Severity::Note) {
        *out.entry(f.code.to_owned()).or_default() += 1;
    }
    out
}

/// The model that estimated the bytes.
pub(super) fn cost_model<'a>(a: &'a Analysis, replay: Option<&'a Replay>) -> &'a str {
    replay.map_or(&a.tool.cost_model, |r| &r.tool.cost_model)
}

impl Baseline {
    /// The baseline of an analysis that lists every resource, or of a recording's replay.
    pub fn of(a: &Analysis, replay: Option<&Replay>) -> Self {
        let mut runs: BTreeMap<String, RunBaseline> = BTreeMap::new();
        for (name, metric, _) in counted() {
            let Some(value) = metric.of_run(a, replay) else { continue };
            let run = name.split('.').next().unwrap_or("").to_owned();
            runs.entry(run).or_default().numbers.insert(name, value as u64);
        }
        for (run, out) in &mut runs {
            let maps = a.bpf.iter().filter(|_| run == "bpf").flat_map(|b| &b.findings);
            let stream = replay.iter().filter(|_| run == "replay").flat_map(|r| &r.findings);
            out.findings = by_code(maps.chain(stream));
        }
        Self {
            api_version: "meshdump/v1".to_owned(),
            kind: KIND.to_owned(),
            cost_model: cost_model(a, replay).to_owned(),
            proxies: a.proxies.iter().map(|p| (p.label.clone(), ProxyBaseline::of(a, p))).collect(),
            runs,
        }
    }

    /// Whether a file that begins so is a baseline: evidence never says that it is one.
    pub fn begins(head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&head[..head.len().min(128)]);
        let head: String = head.split_whitespace().collect();
        head.starts_with(&format!("{{\"api_version\":\"meshdump/v1\",\"kind\":\"{KIND}\""))
    }

    /// For each proxy of `a` the label of the one it was: the same node, label or workload, or the only one left on
    /// both sides, since a pod gets a new name each time.
    pub(super) fn partners(&self, a: &Analysis) -> Vec<Option<&str>> {
        let mut partners: Vec<Option<&str>> = vec![None; a.proxies.len()];
        let mut left: Vec<(&str, &ProxyBaseline)> = self.proxies.iter().map(|(l, p)| (l.as_str(), p)).collect();
        type Same = fn(&ProxyReport, &str, &ProxyBaseline) -> bool;
        let rounds: [Same; 3] = [
            |p, _, old| !p.node_id.is_empty() && p.node_id == old.node_id,
            |p, label, _| p.label == label,
            |p, _, old| !p.workload.is_empty() && p.workload == old.workload,
        ];
        for same in rounds {
            for (p, partner) in a.proxies.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
                if let Some(i) = left.iter().position(|(label, old)| same(p, label, old)) {
                    *partner = Some(left.remove(i).0);
                }
            }
        }
        if let ([None], [(label, _)]) = (partners.as_slice(), left.as_slice()) {
            partners[0] = Some(label);
        }
        partners
    }
}

/// Resource states that a count's name asks for: those in use unless it names one.
pub(super) fn states_of(name: &str) -> &'static [&'static str] {
    if name.starts_with("draining.") {
        return &STATES[3..4];
    }
    match STATES.iter().position(|s| name.ends_with(&format!(".{s}"))) {
        Some(i) => &STATES[i..=i],
        None => &[],
    }
}
