//! What each workload's proxy holds under the scope it has, under another one, and as the mesh grows: the report value
//! of `meshdump whatif scope`.

mod bill;
mod compare;
mod doubts;
mod findings;
mod growth;
mod keep;
mod knative;
mod notes;
mod recording;
mod sidecars;
mod subjects;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::analysis::{Input, Tool, problem_report};
use super::kubernetes::missing;
use crate::cost::Estimate;
use crate::cost::envoy::{Settings, Version, price};
use crate::model::bpf::BpfListing;
use crate::model::envoy::{Name, Proxy};
use crate::model::kubernetes::{Kubernetes, ProxyRole, Sidecar};
use crate::model::problem::Problem;
use crate::sim::scope::dress::Template;
use crate::sim::scope::mesh::Mesh;
use crate::sim::scope::trim::{Removed, trim};
use crate::sim::scope::workloads::workloads;
use keep::{Loss, broken, kept, with_changes};
use subjects::{Key, Subject, role_of, subjects};

pub use bill::{Bill, BpfBill, Fleet};
pub use findings::CODES;
pub use growth::{Growth, GrowthPoint, Moment, Range, Step, Unit, UnitCost};
pub use knative::{Inactive, Knative};
pub use recording::in_recording;
pub use value::{Break, Counts, Difference, Manifest, Out, ScopeReport, Shape, WorkloadRow};

/// What an agent beside Envoy holds where nothing better is known: 25 MB, the figure for pilot-agent alone that
/// istio#38000 quotes; the same issue saw 50 MB resident, shared pages of its binary included. An assumption, not measured.
pub const AGENT: Estimate = Estimate { bytes: 25_000_000, low: 20_000_000, high: 50_000_000 };

/// A narrower scope.
#[derive(Debug, Clone)]
pub enum Rule {
    /// As it is.
    AsIs,
    /// The workload's own namespace and the root namespace.
    OwnNamespace,
    /// What the proxy's statistics show used.
    FromTraffic,
    /// Sidecars from a file, in place of those of the cluster with the same name.
    Sidecars(Vec<Sidecar>),
}

/// Another `exportTo` for some services: `namespace/name` (either may be `*`) and the namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportTo {
    /// Namespace, or `*`.
    pub namespace: String,
    /// Name of the Service or host, or `*`.
    pub name: String,
    /// `.`, `~`, `*` or namespaces.
    pub to: Vec<Name>,
}

/// What the user asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The scope to try.
    pub rule: Rule,
    /// The file of the Sidecars to try; empty without one.
    pub sidecar_file: String,
    /// Changes of `exportTo`.
    pub export_to: Vec<ExportTo>,
    /// `PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`.
    pub filter_gateways: bool,
    /// Memory limit of the proxy's container.
    pub limit_bytes: Option<u64>,
    /// The agent beside Envoy.
    pub agent: Estimate,
    /// Memory of the applications without the mesh.
    pub app_bytes: Option<u64>,
    /// Worker threads where nothing tells.
    pub concurrency: Option<u32>,
    /// Envoy's release where nothing tells.
    pub version: Option<Version>,
    /// Growth to look at.
    pub grow: Vec<Step>,
}

impl Options {
    /// Whether anything is changed.
    pub fn changes(&self) -> bool {
        !matches!(self.rule, Rule::AsIs) || !self.export_to.is_empty() || self.filter_gateways
    }
}

/// What `meshdump whatif scope` looks at.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Proxies with their inputs.
    pub proxies: &'a [(Proxy, Vec<u32>)],
    /// The cluster.
    pub cluster: Option<&'a Kubernetes>,
    /// BPF maps of a node.
    pub maps: &'a [BpfListing],
    /// The shapes of a sidecar where no dump gives them.
    pub template: &'a Proxy,
    /// Inputs.
    pub inputs: Vec<Input>,
    /// Problems of reading.
    pub problems: &'a [Problem],
    /// Version of the tool.
    pub version: &'static str,
}

/// Names listed in a sentence.
const LISTED: usize = 8;

fn role_word(r: ProxyRole) -> &'static str {
    match r {
        ProxyRole::Sidecar => "sidecar",
        ProxyRole::Gateway => "gateway",
        ProxyRole::Waypoint => "waypoint",
    }
}

/// What a proxy is before and after, shared by all that hold the same.
struct Outcome {
    before: Shape,
    after: Shape,
    out: Out,
    losses: BTreeSet<Loss>,
    used: Option<Vec<Name>>,
    untold: bool,
}

/// Everything that stays the same while the subjects are looked at.
struct World<'a> {
    cluster: Option<&'a Kubernetes>,
    mesh: Option<Mesh<'a>>,
    after: Option<Mesh<'a>>,
    template: Template,
    options: &'a Options,
}

impl World<'_> {
    fn outcome(&self, s: &Subject<'_>, proxy: &Proxy) -> Outcome {
        let k = kept(s, proxy, self.cluster, self.after.as_ref(), self.options);
        let before = shape(proxy, &s.settings);
        let (after, removed, losses) = match &k.keep {
            None => (before, Removed::default(), BTreeSet::new()),
            Some(keep) => {
                let (rest, removed) = trim(proxy, &**keep);
                let losses = broken(s, &removed, self.mesh.as_ref(), keep);
                (shape(&rest, &s.settings), removed, losses)
            }
        };
        let out = Out {
            clusters: removed.clusters.len() as u64,
            listeners: removed.listeners.len() as u64,
            filter_chains: removed.filter_chains,
            route_configs: removed.route_tables.len() as u64,
            virtual_hosts: removed.virtual_hosts,
            endpoints: removed.endpoints,
        };
        Outcome { before, after, out, losses, used: k.used, untold: k.untold }
    }

    /// One outcome for each group of subjects that hold the same, and which group each subject is of.
    fn outcomes<'a>(&'a self, subjects: &[Subject<'a>]) -> (Vec<Outcome>, Vec<usize>) {
        let mut groups: BTreeMap<Key<'a>, usize> = BTreeMap::new();
        let mut firsts: Vec<usize> = Vec::new();
        let mut of: Vec<usize> = Vec::new();
        for (i, s) in subjects.iter().enumerate() {
            let mut fresh = || {
                firsts.push(i);
                firsts.len() - 1
            };
            of.push(match s.key(self.mesh.as_ref(), self.after.as_ref()) {
                Some(key) => *groups.entry(key).or_insert_with(fresh),
                None => fresh(),
            });
        }
        let one = |i: &usize| {
            let s = &subjects[*i];
            self.outcome(s, &s.proxy(self.mesh.as_ref(), &self.template))
        };
        (firsts.par_iter().map(one).collect(), of)
    }
}

/// Runs the what-if.
pub fn report(evidence: Evidence<'_>, options: &Options) -> ScopeReport {
    let cluster = evidence.cluster;
    let changed = cluster.filter(|_| options.changes()).map(|k| with_changes(k, options));
    let all = cluster.map(workloads).unwrap_or_default();
    let builtin = Template::of(evidence.template, None).expect("the built-in template has every shape");
    // the largest real sidecar gives the shapes of those that have no dump
    let sidecars = evidence.proxies.iter().map(|p| &p.0).filter(|p| role_of(p) == ProxyRole::Sidecar);
    let real = sidecars.max_by_key(|p| (p.clusters.len(), std::cmp::Reverse(&p.label)));
    let template = real.and_then(|p| Template::of(p, Some(&builtin))).unwrap_or(builtin);
    let world =
        World { cluster, mesh: cluster.map(Mesh::of), after: changed.as_ref().map(Mesh::of), template, options };
    let mesh = world.mesh.as_ref();
    let subjects = subjects(&evidence, cluster, mesh, &all, real, options);
    let (outcomes, of) = world.outcomes(&subjects);
    let results: Vec<(&Subject<'_>, &Outcome)> = subjects.iter().zip(of.iter().map(|i| &outcomes[*i])).collect();

    let mut rows = Vec::new();
    let mut breaks = BTreeSet::new();
    for (s, o) in &results {
        let lost = |(kind, name, detail): &Loss| Break {
            kind,
            workload: format!("{}/{}", s.namespace, s.name),
            name: name.clone(),
            detail: detail.clone(),
        };
        breaks.extend(o.losses.iter().map(lost));
        let differences = compare::compare(s, mesh);
        let compared = differences.is_some();
        let saved_resident_bytes = o.before.resident.bytes.saturating_sub(o.after.resident.bytes);
        rows.push(WorkloadRow {
            namespace: s.namespace.clone(),
            name: s.name.clone(),
            role: role_word(s.role),
            replicas: s.replicas,
            source: s.source,
            concurrency: s.settings.concurrency,
            agent: s.workload.is_none_or(|w| w.agent),
            sidecar: s.sidecar(mesh).map(|x| format!("{}/{}", x.meta.namespace, x.meta.name)),
            out: o.out,
            saved_bytes: o.before.allocated.bytes.saturating_sub(o.after.allocated.bytes),
            saved_resident_bytes,
            saved_total_bytes: saved_resident_bytes.saturating_mul(u64::from(s.replicas)),
            before: o.before,
            after: o.after,
            limit_bytes: s.limit_bytes,
            differences: differences.unwrap_or_default(),
            compared,
        });
    }
    let bill = bill::bill(&rows, evidence.maps, cluster, options);
    let growth = growth::growth(&results, &world, evidence.proxies);
    let manifests = sidecars::manifests(&results, &world);
    let cost_model = subjects.first().map(|s| price(world.template.idle(), &s.settings).model).unwrap_or_default();
    rows.sort_by(|a, b| {
        let key =
            |r: &WorkloadRow| (std::cmp::Reverse(r.saved_total_bytes), std::cmp::Reverse(r.before.allocated.bytes));
        key(a).cmp(&key(b)).then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
    });
    let mut notes = notes::notes(&subjects, mesh, real.is_some(), options);
    for step in &options.grow {
        if growth.as_ref().is_none_or(|g| g.units.iter().all(|u| u.unit != step.unit)) {
            let unit = step.unit.plural();
            notes.push(format!(
                "no {unit} in the proxy with the most clusters, so `--grow {unit}` has nothing to go by"
            ));
        }
    }
    let untold: BTreeSet<String> = results.iter().filter(|(_, o)| o.untold).map(|(s, _)| s.label()).collect();
    if !untold.is_empty() {
        let names: Vec<&str> = untold.iter().map(String::as_str).take(LISTED).collect();
        notes.push(format!(
            "left as they are, since nothing counts their requests: {}{}; add `/clusters` beside the dump: \
             `curl -s localhost:15000/clusters`",
            names.join(", "),
            if untold.len() > LISTED { format!(" [{} others]", untold.len() - LISTED) } else { String::new() }
        ));
    }
    let mut report = ScopeReport {
        api_version: "meshdump/v1",
        kind: "whatif",
        subject: "scope",
        tool: Tool { version: evidence.version, cost_model },
        inputs: evidence.inputs,
        scenario: scenario(options),
        workloads: rows,
        bill,
        breaks: breaks.into_iter().collect(),
        growth,
        knative: mesh.and_then(knative::report),
        manifests,
        findings: Vec::new(),
        missing: cluster.map(missing).unwrap_or_default(),
        notes,
        problems: evidence.problems.iter().map(problem_report).collect(),
    };
    let tried = if let Rule::Sidecars(all) = &options.rule { all.as_slice() } else { &[] };
    let doubts = mesh.map(|m| doubts::doubts(m, &report.inputs, tried, &options.sidecar_file)).unwrap_or_default();
    report.findings = findings::findings(&report, doubts);
    report
}

fn scenario(o: &Options) -> Option<String> {
    let mut parts = Vec::new();
    match &o.rule {
        Rule::AsIs => {}
        Rule::OwnNamespace => parts.push("own namespace and root namespace only".to_owned()),
        Rule::FromTraffic => parts.push("only what the proxies' statistics show used".to_owned()),
        Rule::Sidecars(all) => {
            let names: Vec<String> = all.iter().map(|s| format!("{}/{}", s.meta.namespace, s.meta.name)).collect();
            parts.push(format!("Sidecar {}", names.join(", ")));
        }
    }
    for e in &o.export_to {
        let to: Vec<&str> = e.to.iter().map(|n| &**n).collect();
        parts.push(format!("exportTo of {}/{} is {}", e.namespace, e.name, to.join(",")));
    }
    if o.filter_gateways {
        parts.push("gateways get only the clusters their routes name (PILOT_FILTER_GATEWAY_CLUSTER_CONFIG)".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn shape(p: &Proxy, settings: &Settings) -> Shape {
    let priced = price(p, settings);
    Shape { counts: Counts::of(p), allocated: priced.allocated(), resident: priced.resident }
}
