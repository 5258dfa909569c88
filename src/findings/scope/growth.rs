//! What one more service, revision or endpoint costs, and where the limit is hit.
//!
//! Resident memory is given three times. *After a start*: one response of each type. *Grown*: units came push by push. A
//! state-of-the-world response names all clusters, so all of them are decoded again for each new one, and a route table is
//! compiled anew beside the one in use; that memory is free afterwards but stays resident. *Churned*: pushes that changed
//! every cluster besides, so that Envoy held the old and the new ones at once.
//!
//! Measured with 100 and 200 Knative revisions in ten steps (MiB per 200 revisions: start, grown, churned): Envoy 1.40
//! 116, 132, 211; 1.36.4 133, 143, 238. With the last pushes sent once more, *grown* was 136 and 147. What CDS and RDS
//! leave is added up, since the allocator did not use the pages of one for the other: that is 99 KiB per revision here,
//! against 103 measured on 1.40 and 68 on 1.36.4.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use super::subjects::updated;
use super::{Outcome, Subject, World};
use crate::cost::Estimate;
use crate::cost::envoy::generation::Pricer;
use crate::cost::envoy::{Settings, price};
use crate::model::envoy::{Name, Proxy};
use crate::model::kubernetes::ProxyRole;
use crate::sim::scope::dress::outbound_parts;
use crate::sim::scope::mesh::{Mesh, Service};
use crate::sim::scope::trim::trim;

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Services.
    Service,
    /// Knative revisions.
    Revision,
    /// Endpoints.
    Endpoint,
}

impl Unit {
    /// Plural, as on the command line.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Revision => "revisions",
            Self::Endpoint => "endpoints",
        }
    }
}

/// A row of numbers to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What grows.
    pub unit: Unit,
    /// On top of what is there (`+200`), not in all.
    pub more: bool,
    /// The numbers.
    pub counts: Vec<u64>,
}

/// What more costs.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Growth {
    /// The proxy it is computed for: `namespace/workload`, the one with the most clusters.
    pub workload: String,
    /// By unit.
    pub units: Vec<UnitCost>,
    /// The numbers asked for.
    pub points: Vec<GrowthPoint>,
    /// The limit compared with.
    pub limit_bytes: Option<u64>,
    /// Linear or worse, in words.
    pub shape: String,
    /// Dumps of one proxy over time, the oldest first.
    pub series: Vec<Moment>,
    /// Allocated bytes per service over the series.
    pub series_bytes_per_service: Option<u64>,
}

/// One unit more.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct UnitCost {
    /// Unit.
    pub unit: Unit,
    /// How many there are.
    pub count: u64,
    /// Kubernetes Services per unit.
    pub services: f64,
    /// Clusters per unit.
    pub clusters: f64,
    /// Listeners per unit.
    pub listeners: f64,
    /// Virtual hosts per unit.
    pub virtual_hosts: f64,
    /// Allocated bytes per unit.
    pub allocated_bytes: u64,
    /// Resident bytes per unit: after a start (`low`), grown push by push (`bytes`), churned (`high`).
    pub resident: Estimate,
    /// Number of units at which the limit is reached: churned, grown, after a start; null without a limit, or
    /// when it is never reached.
    pub limit_at: Option<Range>,
}

/// Numbers of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Range {
    /// Churned.
    pub low: u64,
    /// Grown push by push.
    pub count: u64,
    /// After a start.
    pub high: u64,
}

/// The proxy at one number of units.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct GrowthPoint {
    /// Unit.
    pub unit: Unit,
    /// How many in all.
    pub count: u64,
    /// Clusters.
    pub clusters: u64,
    /// Allocated bytes.
    pub allocated_bytes: u64,
    /// Resident memory of Envoy: after a start (`low`), grown push by push, churned (`high`).
    pub resident: Estimate,
    /// With the agent.
    pub with_agent: Estimate,
    /// `below`, `when_churned` or `above`; null without a limit.
    pub limit: Option<&'static str>,
}

/// One dump of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Moment {
    /// Services.
    pub services: u64,
    /// Clusters towards them.
    pub clusters: u64,
    /// Predicted.
    pub allocated_bytes: u64,
    /// `/memory`, when it is there.
    pub observed_bytes: Option<u64>,
}

/// Resident memory without the units, and per unit.
#[derive(Debug, Clone, Copy)]
struct Line {
    fixed_allocated: f64,
    fixed_resident: f64,
    fixed_clusters: u64,
    allocated: f64,
    start: f64,
    grown: f64,
    churned: f64,
}

pub(super) fn growth(
    results: &[(&Subject<'_>, &Outcome)],
    world: &World<'_>,
    all: &[(Proxy, Vec<u32>)],
) -> Option<Growth> {
    let (o, mesh) = (world.options, world.mesh.as_ref());
    let sidecars = results.iter().filter(|(s, _)| s.role == ProxyRole::Sidecar);
    let (s, _) = sidecars.max_by_key(|(s, outcome)| {
        (outcome.before.counts.outbound_clusters, s.source == "dump", std::cmp::Reverse(&s.name))
    })?;
    let proxy = &*s.proxy(mesh, &world.template);
    let hosts: BTreeSet<&str> =
        proxy.clusters.iter().filter_map(|c| outbound_parts(&c.meta.name)).map(|(_, _, h)| h).collect();
    if hosts.is_empty() {
        return None;
    }
    let revisions = revisions(&hosts, mesh);
    let limit = o.limit_bytes.or(s.limit_bytes);
    let mut units = Vec::new();
    let mut lines: BTreeMap<Unit, (Line, u64)> = BTreeMap::new();
    let of_revisions: BTreeSet<&str> = revisions.values().flatten().map(String::as_str).collect();
    let plain: Vec<Vec<&str>> = hosts.difference(&of_revisions).map(|h| vec![*h]).collect();
    let revised: Vec<Vec<&str>> = revisions.values().map(|r| r.iter().map(String::as_str).collect()).collect();
    for (unit, members) in [(Unit::Service, plain), (Unit::Revision, revised)] {
        if members.is_empty() {
            continue;
        }
        let (line, cost) = unit_cost(proxy, &s.settings, unit, &members);
        lines.insert(unit, (line, members.len() as u64));
        units.push(cost);
    }
    if let Some((line, count, cost)) = endpoint_cost(proxy, &s.settings) {
        lines.insert(Unit::Endpoint, (line, count));
        units.push(cost);
    }
    for u in &mut units {
        let (line, _) = &lines[&u.unit];
        u.limit_at = limit.and_then(|l| reached(line, l, o.agent));
    }
    let mut points = Vec::new();
    for step in &o.grow {
        let Some((line, now)) = lines.get(&step.unit) else { continue };
        let cost = units.iter().find(|u| u.unit == step.unit);
        for n in &step.counts {
            let count = if step.more { now + n } else { *n };
            points.push(point(step.unit, count, line, cost, limit, o.agent));
        }
    }
    let payers: u64 =
        results.iter().filter(|(s, _)| s.role == ProxyRole::Sidecar).map(|(s, _)| u64::from(s.replicas)).sum();
    let (series, slope, bend) = series(all);
    Some(Growth {
        workload: s.label(),
        shape: shape(s, world, payers, bend),
        units,
        points,
        limit_bytes: limit,
        series,
        series_bytes_per_service: slope,
    })
}

/// Hosts of each Knative revision: by label, else by the private Service beside the public one.
fn revisions(hosts: &BTreeSet<&str>, mesh: Option<&Mesh<'_>>) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if let Some(mesh) = mesh {
        for s in &mesh.services {
            if let Some(r) = s.revision.as_ref().filter(|_| hosts.contains(&*s.host)) {
                out.entry(format!("{}/{r}", s.namespace)).or_default().push(s.host.to_string());
            }
        }
    }
    if out.is_empty() {
        for h in hosts {
            let private = h.split_once('.').map(|(name, rest)| format!("{name}-private.{rest}"));
            if let Some(p) = private.filter(|p| hosts.contains(p.as_str())) {
                out.insert((*h).to_owned(), vec![(*h).to_owned(), p]);
            }
        }
    }
    out
}

/// What a response takes while it is handled, in units of its length: as received and decoded, as the simulator has it
/// (`sim::envoy`).
const DECODED: u64 = 4;

/// What of a host is there a second time while pushes are handled, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    clusters: u64,
    wire: u64,
    virtual_hosts: u64,
}

/// Units taken out one at a time to see what one costs.
const SAMPLES: usize = 12;

/// What one unit costs beyond what it shares with others (wildcard listeners, route tables): the proxy without it
/// against the proxy with it, over a sample of the units.
fn unit_cost(proxy: &Proxy, settings: &Settings, unit: Unit, members: &[Vec<&str>]) -> (Line, UnitCost) {
    let whole = price(proxy, settings);
    let count = members.len();
    let step = count.div_ceil(SAMPLES);
    let sample: Vec<&Vec<&str>> = members.iter().step_by(step).collect();
    let mut of_host: HashMap<&str, Second> = HashMap::new();
    for (c, price) in proxy.clusters.iter().zip(&whole.clusters) {
        if let Some((_, _, host)) = outbound_parts(&c.meta.name) {
            let second = of_host.entry(host).or_default();
            second.clusters += price.bytes;
            second.wire += c.meta.weight.wire_bytes();
        }
    }
    for (table, price) in proxy.route_tables.iter().zip(&whole.route_tables) {
        for (v, price) in table.virtual_hosts.iter().zip(&price.virtual_hosts) {
            if let Some((_, _, host)) = v.clusters.iter().find_map(|c| outbound_parts(c)) {
                let second = of_host.entry(host).or_default();
                second.virtual_hosts += price.bytes + v.weight.wire_bytes() * DECODED;
            }
        }
    }
    let (_, factor) = Pricer::new(settings, proxy.bootstrap.as_ref().map(|b| &b.stats), true).resident();
    let each: Vec<[f64; 7]> = sample
        .par_iter()
        .map(|hosts| {
            let (rest, removed) = trim(proxy, &|_, host| !hosts.contains(&host));
            let without = price(&rest, settings);
            let second = |of: fn(&Second) -> u64| {
                hosts.iter().filter_map(|h| of_host.get(h)).map(of).sum::<u64>() as f64 * factor
            };
            [
                whole.allocated().bytes as f64 - without.allocated().bytes as f64,
                whole.resident.bytes as f64 - without.resident.bytes as f64,
                second(|s| s.wire * DECODED + s.virtual_hosts),
                second(|s| s.wire + s.clusters),
                removed.clusters.len() as f64,
                removed.listeners.len() as f64,
                removed.virtual_hosts as f64,
            ]
        })
        .collect();
    let mean = |i: usize| each.iter().map(|e| e[i]).sum::<f64>() / each.len() as f64;
    let (allocated, start) = (mean(0), mean(1));
    let grown = start + mean(2);
    let churned = grown + mean(3);
    let n = count as f64;
    let line = Line {
        fixed_allocated: whole.allocated().bytes as f64 - n * allocated,
        fixed_resident: whole.resident.bytes as f64 - n * start,
        fixed_clusters: (proxy.clusters.len() as f64 - n * mean(4)).max(0.0).round() as u64,
        allocated,
        start,
        grown,
        churned,
    };
    let cost = UnitCost {
        unit,
        count: count as u64,
        services: members.iter().map(Vec::len).sum::<usize>() as f64 / n,
        clusters: mean(4),
        listeners: mean(5),
        virtual_hosts: mean(6),
        allocated_bytes: allocated.max(0.0).round() as u64,
        resident: band([start, grown, churned]),
        limit_at: None,
    };
    (line, cost)
}

/// An endpoint more in a cluster that has some: the price of the endpoint sets over their hosts.
fn endpoint_cost(proxy: &Proxy, settings: &Settings) -> Option<(Line, u64, UnitCost)> {
    let whole = price(proxy, settings);
    let sets = proxy.endpoint_sets.iter().zip(&whole.endpoint_sets).filter(|(e, _)| e.hosts.hosts > 0);
    let (mut count, mut bytes) = (0_u64, 0_u64);
    for (e, price) in sets {
        count += u64::from(e.hosts.hosts);
        bytes += price.bytes;
    }
    if count == 0 {
        return None;
    }
    let each = bytes as f64 / count as f64;
    let ratio = whole.resident.bytes as f64 / whole.allocated().bytes.max(1) as f64;
    let line = Line {
        fixed_allocated: whole.allocated().bytes as f64 - bytes as f64,
        fixed_resident: whole.resident.bytes as f64 - bytes as f64 * ratio.min(1.0),
        fixed_clusters: proxy.clusters.len() as u64,
        allocated: each,
        start: each,
        // endpoints are replaced set by set: a push that changes them holds two generations of one set only
        grown: each,
        churned: each,
    };
    let cost = UnitCost {
        unit: Unit::Endpoint,
        count,
        services: 0.0,
        clusters: 0.0,
        listeners: 0.0,
        virtual_hosts: 0.0,
        allocated_bytes: each.round() as u64,
        resident: band([each; 3]),
        limit_at: None,
    };
    Some((line, count, cost))
}

fn band(start_grown_churned: [f64; 3]) -> Estimate {
    let [low, bytes, high] = start_grown_churned.map(|x| x.max(0.0).round() as u64);
    Estimate { bytes, low, high }
}

/// Units at which resident memory and agent reach the limit. The agent counts at its best guess: its own uncertainty is
/// shown beside it.
fn reached(l: &Line, limit: u64, agent: Estimate) -> Option<Range> {
    let room = limit as f64 - l.fixed_resident - agent.bytes as f64;
    if room <= 0.0 || l.start <= 0.0 {
        return None;
    }
    let at = |each: f64| (room / each).floor() as u64;
    Some(Range { low: at(l.churned), count: at(l.grown), high: at(l.start) })
}

fn point(
    unit: Unit,
    count: u64,
    l: &Line,
    cost: Option<&UnitCost>,
    limit: Option<u64>,
    agent: Estimate,
) -> GrowthPoint {
    let n = count as f64;
    let resident = band([l.start, l.grown, l.churned].map(|each| l.fixed_resident + n * each));
    let with = |b: u64| b + agent.bytes;
    let with_agent = Estimate { bytes: with(resident.bytes), low: with(resident.low), high: with(resident.high) };
    GrowthPoint {
        unit,
        count,
        clusters: l.fixed_clusters + (n * cost.map_or(0.0, |c| c.clusters)).round() as u64,
        allocated_bytes: (l.fixed_allocated + n * l.allocated).round() as u64,
        resident,
        with_agent,
        limit: limit.map(|limit| match (with_agent.low > limit, with_agent.high > limit) {
            (true, _) => "above",
            (false, true) => "when_churned",
            _ => "below",
        }),
    }
}

/// Prices the same mesh with every service twice: a cost that grows with the square would show.
fn shape(s: &Subject<'_>, world: &World<'_>, payers: u64, bend: Option<f64>) -> String {
    let mut out = String::new();
    if let (Some(mesh), "export") = (&world.mesh, s.source) {
        let times = |k: usize| {
            let services = (0..k).flat_map(|i| mesh.services.iter().map(move |x| copy(x, i))).collect();
            let proxy = world.template.dress(&s.view(&mesh.with_services(services)));
            price(&proxy, &s.settings).allocated().bytes as f64
        };
        let (one, two, four) = (times(1), times(2), times(4));
        let (first, second) = (two - one, (four - two) / 2.0);
        if first > 0.0 {
            let percent = (second / first - 1.0) * 100.0;
            out = if percent > 5.0 {
                format!("worse than linear: the services of the fourfold mesh cost {percent:.0} % more each")
            } else {
                "linear in one proxy (priced with the services twice and four times)".to_owned()
            };
        }
    } else if let Some(bend) = bend {
        out = if bend > 1.25 {
            format!("worse than linear over the dumps: the last step costs {bend:.1} times the first per service")
        } else {
            "linear over the dumps".to_owned()
        };
    } else {
        out.push_str("linear in one proxy by the model");
    }
    out.push_str(&format!(
        "; over the mesh paid by {payers} {}, so with the square where each new service brings sidecars of its own",
        if payers == 1 { "sidecar" } else { "sidecars" }
    ));
    out
}

fn copy(s: &Service, i: usize) -> Service {
    if i == 0 {
        return s.clone();
    }
    let mut s = s.clone();
    s.host = format!("copy{i}-{}", s.host).into();
    s.name = if s.name.is_empty() { s.name } else { format!("copy{i}-{}", s.name).into() };
    s.addresses.iter_mut().for_each(|a| *a = format!("{a}-{i}").into());
    s
}

/// Dumps of one proxy over time: moments, allocated bytes per service by least squares, and how much steeper the last
/// step is than the first.
fn series(all: &[(Proxy, Vec<u32>)]) -> (Vec<Moment>, Option<u64>, Option<f64>) {
    let mut by_node: BTreeMap<&Name, Vec<&Proxy>> = BTreeMap::new();
    for (p, _) in all.iter().filter(|(p, _)| !p.node.id.is_empty()) {
        by_node.entry(&p.node.id).or_default().push(p);
    }
    let Some(dumps) = by_node.into_values().filter(|d| d.len() > 1).max_by_key(Vec::len) else {
        return (Vec::new(), None, None);
    };
    let mut moments: Vec<(Option<i64>, Moment)> = dumps
        .into_iter()
        .map(|p| {
            let hosts: BTreeSet<&str> =
                p.clusters.iter().filter_map(|c| outbound_parts(&c.meta.name)).map(|(_, _, h)| h).collect();
            let clusters = p.clusters.iter().filter(|c| outbound_parts(&c.meta.name).is_some()).count();
            let moment = Moment {
                services: hosts.len() as u64,
                clusters: clusters as u64,
                allocated_bytes: price(p, &Settings::of(p)).allocated().bytes,
                observed_bytes: p.memory.map(|m| m.allocated),
            };
            (updated(p), moment)
        })
        .collect();
    moments.sort_by_key(|(t, m)| (*t, m.services));
    let moments: Vec<Moment> = moments.into_iter().map(|(_, m)| m).collect();
    let points: Vec<(f64, f64)> =
        moments.iter().map(|m| (m.services as f64, m.observed_bytes.unwrap_or(m.allocated_bytes) as f64)).collect();
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let var: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    let cov: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let slope = (var > 0.0 && cov > 0.0).then(|| (cov / var).round() as u64);
    let steps: Vec<f64> =
        points.windows(2).filter(|w| w[1].0 > w[0].0).map(|w| (w[1].1 - w[0].1) / (w[1].0 - w[0].0)).collect();
    let bend = match steps.as_slice() {
        [first, .., last] if *first > 0.0 => Some(last / first),
        _ => None,
    };
    (moments, slope, bend)
}
