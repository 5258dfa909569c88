//! The numbers that can be gated on, by name, and where in the evidence they show.

use super::super::Finding;
use super::super::analysis::{Analysis, ProxyReport, States};
use super::super::bpf::BpfReport;
use super::super::replay::{Replay, RowReport, RunReport};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Hundredths.
    Percent,
    /// Seconds.
    Seconds,
}

/// How a number is compared with a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// It is not: it says nothing new, or is no matter of configuration.
    Ignored,
    /// It may grow within the tolerance.
    Tolerated,
    /// One more is one too many.
    None,
}

/// Whose number it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    /// A proxy's; none when the evidence does not have it.
    Proxy(fn(&ProxyReport) -> Option<u64>),
    /// A proxy's, in hundredths.
    Share(fn(&ProxyReport) -> Option<f64>),
    /// The node's maps'.
    Node(fn(&BpfReport) -> u64),
    /// A recording's, by its replay; none without a limit where it takes one.
    Replay(fn(&RunReport) -> Option<f64>),
    /// Numbers of a kind of resource by state.
    States(fn(&ProxyReport) -> &States),
}

/// A number with a fixed name.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) of: Of,
    pub(super) growth: Growth,
    /// Kinds of the resources that show it; all when empty.
    pub(super) kinds: &'static [&'static str],
    /// Code of the finding whose evidence shows it, where resources do not.
    pub(super) code: &'static str,
}

const fn measure(name: &'static str, unit: Unit, growth: Growth, of: Of, kinds: &'static [&'static str]) -> Measure {
    Measure { name, unit, of, growth, kinds, code: "" }
}

const fn finding(name: &'static str, unit: Unit, growth: Growth, of: Of, code: &'static str) -> Measure {
    Measure { name, unit, of, growth, kinds: &["listener"], code }
}

const fn replayed(name: &'static str, unit: Unit, growth: Growth, of: fn(&RunReport) -> Option<f64>) -> Measure {
    measure(name, unit, growth, Of::Replay(of), &[])
}

/// The highest of all rows.
fn highest(r: &RunReport, of: fn(&RowReport) -> u64) -> f64 {
    r.timeline.iter().map(of).max().unwrap_or(0) as f64
}

/// All numbers with a fixed name.
pub(super) const MEASURES: &[Measure] = &[
    measure("allocated", Unit::Bytes, Growth::Ignored, Of::Proxy(|p| Some(p.memory.allocated.bytes)), &[]),
    measure("config", Unit::Bytes, Growth::Tolerated, Of::Proxy(|p| Some(p.memory.config.bytes)), &[]),
    measure(
        "outside_allocator",
        Unit::Bytes,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.memory.outside_allocator.bytes)),
        &[],
    ),
    measure("resident", Unit::Bytes, Growth::Ignored, Of::Proxy(|p| Some(p.memory.resident.bytes)), &[]),
    measure("observed", Unit::Bytes, Growth::Ignored, Of::Proxy(|p| p.memory.observed.map(|o| o.allocated)), &[]),
    measure("limit.pct", Unit::Percent, Growth::Ignored, Of::Share(of_limit), &[]),
    measure("listeners", Unit::Count, Growth::Tolerated, Of::States(|p| &p.counts.listeners), &["listener"]),
    measure(
        "filter_chains",
        Unit::Count,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.counts.filter_chains)),
        &["listener"],
    ),
    measure("clusters", Unit::Count, Growth::Tolerated, Of::States(|p| &p.counts.clusters), &["cluster"]),
    measure(
        "route_configs",
        Unit::Count,
        Growth::Tolerated,
        Of::States(|p| &p.counts.route_configs),
        &["route_config"],
    ),
    measure(
        "virtual_hosts",
        Unit::Count,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.counts.virtual_hosts)),
        &["virtual_host"],
    ),
    measure(
        "routes",
        Unit::Count,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.counts.routes)),
        &["virtual_host", "route_config"],
    ),
    measure("endpoint_sets", Unit::Count, Growth::Tolerated, Of::States(|p| &p.counts.endpoint_sets), &["endpoint"]),
    measure(
        "endpoints",
        Unit::Count,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.counts.endpoints)),
        &["endpoint", "cluster"],
    ),
    measure("secrets", Unit::Count, Growth::Tolerated, Of::States(|p| &p.counts.secrets), &["secret"]),
    measure(
        "extension_configs",
        Unit::Count,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.counts.extension_configs)),
        &["extension_config"],
    ),
    measure(
        "scoped_routes",
        Unit::Count,
        Growth::Tolerated,
        Of::Proxy(|p| Some(p.counts.scoped_routes)),
        &["scoped_route"],
    ),
    finding(
        "draining.listeners",
        Unit::Count,
        Growth::None,
        Of::Proxy(|p| Some(p.draining.listeners_implied.unwrap_or(p.draining.listeners_in_dump))),
        "MD201",
    ),
    finding(
        "draining.filter_chains",
        Unit::Count,
        Growth::None,
        Of::Proxy(|p| p.draining.filter_chains_implied),
        "MD207",
    ),
    finding(
        "draining.route_tables",
        Unit::Count,
        Growth::None,
        Of::Proxy(|p| Some(p.draining.route_tables_unexplained)),
        "MD202",
    ),
    finding(
        "draining.tls_contexts",
        Unit::Count,
        Growth::None,
        Of::Proxy(|p| p.draining.tls_contexts_unexplained),
        "MD203",
    ),
    finding("draining.bytes", Unit::Bytes, Growth::Ignored, Of::Proxy(|p| Some(p.draining.bytes)), "MD201"),
    replayed("replay.peak", Unit::Bytes, Growth::Tolerated, |r| Some(r.peak.allocated.bytes as f64)),
    replayed("replay.peak_resident", Unit::Bytes, Growth::Ignored, |r| Some(highest(r, |row| row.resident))),
    replayed("replay.limit.pct", Unit::Percent, Growth::Ignored, |r| {
        let limit = r.envoy.limit.filter(|l| *l > 0)?;
        Some(highest(r, |row| row.resident) * 100.0 / limit as f64)
    }),
    // infinite when it is never passed
    replayed("replay.time_to_limit", Unit::Seconds, Growth::Ignored, |r| {
        r.envoy.limit?;
        let first = r.timeline.first().map_or(0.0, |row| row.t);
        Some(r.over_limit_t.map_or(f64::INFINITY, |t| t - first))
    }),
    replayed("replay.end", Unit::Bytes, Growth::Tolerated, |r| Some(r.end.allocated as f64)),
    replayed("replay.settled", Unit::Bytes, Growth::Tolerated, |r| Some(r.end.settled.allocated as f64)),
    replayed("replay.leaked", Unit::Bytes, Growth::None, |r| Some(r.end.leaked.bytes as f64)),
    replayed("replay.drains", Unit::Count, Growth::None, |r| Some(r.drains_total as f64)),
    replayed("replay.draining.bytes", Unit::Bytes, Growth::Tolerated, |r| Some(highest(r, |row| row.draining_bytes))),
    replayed("replay.draining.listeners", Unit::Count, Growth::None, |r| {
        Some(highest(r, |row| row.listeners_draining.into()))
    }),
    replayed("replay.draining.filter_chains", Unit::Count, Growth::None, |r| {
        Some(highest(r, |row| row.filter_chains_draining.into()))
    }),
    replayed("replay.draining.generations", Unit::Count, Growth::None, |r| {
        Some(highest(r, |row| row.groups_draining.into()))
    }),
    measure("bpf.maps", Unit::Count, Growth::Tolerated, Of::Node(|b| b.totals.maps), &[]),
    measure("bpf.memlock", Unit::Bytes, Growth::Tolerated, Of::Node(|b| b.totals.memlock), &[]),
    measure("bpf.real", Unit::Bytes, Growth::Tolerated, Of::Node(|b| b.totals.real), &[]),
    measure("bpf.charged", Unit::Bytes, Growth::Tolerated, Of::Node(|b| b.totals.charged), &[]),
];

fn of_limit(p: &ProxyReport) -> Option<f64> {
    let limit = p.memory.limit_bytes.filter(|l| *l > 0)?;
    Some(p.memory.resident.bytes as f64 * 100.0 / limit as f64)
}

/// Resource states that can stand behind a kind: `clusters.warming`.
pub(super) const STATES: [&str; 5] = ["static", "active", "warming", "draining", "error"];

fn in_state(s: &States, state: &str) -> u64 {
    match state {
        "static" => s.fixed,
        "active" => s.active,
        "warming" => s.warming,
        "draining" => s.draining,
        "error" => s.error,
        // what serves or is about to
        _ => s.fixed + s.active + s.warming,
    }
}

/// A number by its name.
#[derive(Debug, Clone)]
pub(super) enum Metric {
    /// One of [`MEASURES`], of one state or (empty) of all in use.
    Fixed(&'static Measure, &'static str),
    /// Estimated bytes of a kind: `kind.cluster`.
    Kind(String),
    /// Estimated bytes of what belongs to a namespace: `namespace.shop`.
    Namespace(String),
    /// Findings of a code or severity, or all: `findings.MD302`.
    Findings(String),
    /// Bytes that acting on a finding would save: `saves.MD302`.
    Saves(String),
}

impl Metric {
    /// The number that `name` means.
    pub(super) fn named(name: &str) -> Option<Self> {
        if let Some(m) = MEASURES.iter().find(|m| m.name == name) {
            return Some(Self::Fixed(m, ""));
        }
        if name == "findings" {
            return Some(Self::Findings(String::new()));
        }
        let (head, tail) = name.split_once('.').filter(|(_, tail)| !tail.is_empty())?;
        let is_code = |code: &str| super::super::catalog::lookup(code).is_some();
        match head {
            "kind" if KINDS.contains(&tail) => Some(Self::Kind(tail.to_owned())),
            "namespace" if !tail.contains('.') => Some(Self::Namespace(tail.to_owned())),
            "findings" if is_code(tail) || matches!(tail, "error" | "warn" | "note") => {
                Some(Self::Findings(tail.to_owned()))
            }
            "saves" if is_code(tail) => Some(Self::Saves(tail.to_owned())),
            _ => {
                let m = MEASURES.iter().find(|m| m.name == head && matches!(m.of, Of::States(_)))?;
                Some(Self::Fixed(m, STATES.iter().find(|s| **s == tail)?))
            }
        }
    }

    pub(super) fn unit(&self) -> Unit {
        match self {
            Self::Fixed(m, _) => m.unit,
            Self::Kind(_) | Self::Namespace(_) | Self::Saves(_) => Unit::Bytes,
            Self::Findings(_) => Unit::Count,
        }
    }

    /// It is a number of the run, not of each proxy.
    pub(super) fn of_the_run(&self) -> bool {
        matches!(self, Self::Findings(_) | Self::Fixed(Measure { of: Of::Node(_) | Of::Replay(_), .. }, _))
    }

    /// The proxy's number; none when the evidence does not have it.
    pub(super) fn of_proxy(&self, a: &Analysis, p: &ProxyReport) -> Option<f64> {
        Some(match self {
            Self::Fixed(m, state) => match m.of {
                Of::Proxy(f) => f(p)? as f64,
                Of::Share(f) => f(p)?,
                Of::States(f) => in_state(f(p), state) as f64,
                Of::Node(_) | Of::Replay(_) => return None,
            },
            Self::Kind(kind) => p.by_kind.iter().filter(|k| k.kind == *kind).map(|k| k.bytes).sum::<u64>() as f64,
            Self::Namespace(name) => {
                p.by_namespace.iter().filter(|n| n.name == *name).map(|n| n.bytes).sum::<u64>() as f64
            }
            Self::Saves(code) => {
                let mine = a.findings.iter().filter(|f| f.proxy == p.label && f.code == code);
                mine.map(|f| f.saved_bytes).sum::<u64>() as f64
            }
            Self::Findings(_) => return None,
        })
    }

    /// The number of the node or of the recording.
    pub(super) fn of_run(&self, a: &Analysis, replay: Option<&Replay>) -> Option<f64> {
        match self {
            Self::Fixed(Measure { of: Of::Node(f), .. }, _) => a.bpf.as_ref().map(|b| f(b) as f64),
            Self::Fixed(Measure { of: Of::Replay(f), .. }, _) => replay?.runs.first().and_then(f),
            _ => None,
        }
    }
}

/// Kinds with estimated bytes of their own.
const KINDS: [&str; 10] = [
    "cluster",
    "endpoint",
    "listener",
    "filter_chain",
    "route_config",
    "virtual_host",
    "secret",
    "extension_config",
    "bootstrap",
    "subscription",
];

/// Every name that does not depend on the evidence.
pub fn names() -> Vec<String> {
    let mut out: Vec<String> = MEASURES.iter().map(|m| m.name.to_owned()).collect();
    for m in MEASURES.iter().filter(|m| matches!(m.of, Of::States(_))) {
        out.extend(STATES.iter().map(|s| format!("{}.{s}", m.name)));
    }
    out.extend(KINDS.iter().map(|k| format!("kind.{k}")));
    out.push("namespace.NAME".to_owned());
    out.extend(["findings", "findings.error", "findings.warn", "findings.note"].map(str::to_owned));
    for entry in super::super::catalog::all() {
        out.push(format!("findings.{}", entry.code));
        out.push(format!("saves.{}", entry.code));
    }
    out
}

/// `name` means a number.
pub fn is_known(name: &str) -> bool {
    Metric::named(name).is_some()
}

/// All findings of a run, those of the maps and of the recording too.
pub(super) fn findings<'a>(a: &'a Analysis, replay: Option<&'a Replay>) -> impl Iterator<Item = &'a Finding> {
    let maps = a.bpf.iter().flat_map(|b| &b.findings);
    a.findings.iter().chain(maps).chain(replay.into_iter().flat_map(|r| &r.findings))
}
