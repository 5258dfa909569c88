//! What each workload's proxy holds under the scope it has, under another one, and as the mesh grows: the report value
//! of `meshdump whatif scope`.

mod growth;
mod knative;
mod sidecars;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::analysis::{Input, ProblemReport, Tool, problem_report};
use super::kubernetes::{Missing, missing};
use crate::cost::Estimate;
use crate::cost::envoy::{Priced, Settings, Version, price};
use crate::model::envoy::{Name, Proxy};
use crate::model::kubernetes::{Egress, Kubernetes, ProxyRole, Sidecar, matches};
use crate::model::problem::Problem;
use crate::sim::scope::dress::{Template, outbound_parts};
use crate::sim::scope::mesh::{Mesh, full, imports, visible};
use crate::sim::scope::trim::{Removed, traffic, trim};
use crate::sim::scope::view::{View, inbound, view};
use crate::sim::scope::workloads::{Workload, pod_of, workloads};

pub use growth::{Growth, GrowthPoint, Moment, Range, Step, Unit, UnitCost};
pub use knative::{Inactive, Knative};

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

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct ScopeReport {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `whatif`.
    pub kind: &'static str,
    /// `scope`.
    pub subject: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub inputs: Vec<Input>,
    /// The scope that was tried, in words; null when none was.
    pub scenario: Option<String>,
    /// One per workload, the largest saving first.
    pub workloads: Vec<WorkloadRow>,
    /// Sums over the mesh.
    pub bill: Bill,
    /// What would lose its target.
    pub breaks: Vec<Break>,
    /// What more costs.
    pub growth: Option<Growth>,
    /// Knative revisions.
    pub knative: Option<Knative>,
    /// Objects that make it so, ready to apply.
    pub manifests: Vec<Manifest>,
    /// What the evidence lacks.
    pub missing: Vec<Missing>,
    /// What the figures rest on.
    pub notes: Vec<String>,
    /// What could not be read.
    pub problems: Vec<ProblemReport>,
}

/// Numbers of resources of one proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Clusters.
    pub clusters: u64,
    /// Clusters towards services.
    pub outbound_clusters: u64,
    /// Listeners.
    pub listeners: u64,
    /// Filter chains.
    pub filter_chains: u64,
    /// Route tables that RDS sends.
    pub route_configs: u64,
    /// Virtual hosts in them.
    pub virtual_hosts: u64,
    /// Endpoints.
    pub endpoints: u64,
}

impl Counts {
    /// Of a proxy.
    pub fn of(p: &Proxy) -> Self {
        use crate::model::envoy::State;
        let live = |s: State| matches!(s, State::Static | State::Active | State::Warming);
        let tables = || p.route_tables.iter().filter(|t| t.meta.state != State::Static);
        let listeners = || p.listeners.iter().filter(|l| live(l.meta.state));
        let clusters = || p.clusters.iter().filter(|c| live(c.meta.state));
        let inline = clusters().zip(p.endpoints_listed()).filter(|(_, listed)| !listed);
        Self {
            clusters: clusters().count() as u64,
            outbound_clusters: clusters().filter(|c| outbound_parts(&c.meta.name).is_some()).count() as u64,
            listeners: listeners().count() as u64,
            filter_chains: listeners().map(|l| l.chains.len() as u64).sum(),
            route_configs: tables().count() as u64,
            virtual_hosts: tables().map(|t| t.virtual_hosts.len() as u64).sum(),
            endpoints: p.endpoint_sets.iter().map(|e| u64::from(e.hosts.hosts)).sum::<u64>()
                + inline.map(|(c, _)| u64::from(c.inline_hosts.hosts)).sum::<u64>(),
        }
    }
}

/// One proxy under one scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Resources.
    pub counts: Counts,
    /// What Envoy allocates.
    pub allocated: Estimate,
    /// Anonymous resident memory at start-up state.
    pub resident: Estimate,
}

/// Where the rules and a real dump of the same workload differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `cluster`, `listener`, `route_config` or `virtual_host`.
    pub kind: &'static str,
    /// In the dump.
    pub dump: u64,
    /// By the rules, from the export.
    pub expected: u64,
    /// In the dump only, some.
    pub only_dump: Vec<String>,
    /// By the rules only, some.
    pub only_expected: Vec<String>,
    /// Why, where it can be told; empty when equal.
    pub why: String,
}

/// A workload with a proxy.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloadRow {
    /// Namespace.
    pub namespace: Name,
    /// Workload.
    pub name: Name,
    /// `sidecar`, `gateway` or `waypoint`.
    pub role: &'static str,
    /// Proxies of it.
    pub replicas: u32,
    /// `dump` or `export`: what its shape was taken from.
    pub source: &'static str,
    /// Worker threads counted with.
    pub concurrency: u32,
    /// An agent runs beside Envoy.
    pub agent: bool,
    /// The Sidecar that applies now, `namespace/name`; null for none.
    pub sidecar: Option<String>,
    /// As it is.
    pub before: Shape,
    /// Under the scope that was tried.
    pub after: Shape,
    /// Resources that go.
    pub out: Out,
    /// Allocated bytes that go, per proxy.
    pub saved_bytes: u64,
    /// Resident bytes that go, per proxy.
    pub saved_resident_bytes: u64,
    /// Resident bytes that go, over all replicas.
    pub saved_total_bytes: u64,
    /// Its memory limit.
    pub limit_bytes: Option<u64>,
    /// Where the rules and the dump differ; empty when they agree, or when there is only one of the two.
    pub differences: Vec<Difference>,
    /// The rules and the dump were compared.
    pub compared: bool,
}

/// Resources that go from one proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Out {
    /// Clusters.
    pub clusters: u64,
    /// Listeners.
    pub listeners: u64,
    /// Filter chains.
    pub filter_chains: u64,
    /// Route tables.
    pub route_configs: u64,
    /// Virtual hosts.
    pub virtual_hosts: u64,
    /// Endpoints.
    pub endpoints: u64,
}

/// What the proxies of a mesh cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bill {
    /// Sidecars.
    pub sidecars: Fleet,
    /// Gateways and waypoints.
    pub gateways: Fleet,
    /// Memory of the applications without the mesh, when given.
    pub app_bytes: Option<u64>,
    /// What the sidecars add to it, in percent: it depends on the application, so it is no property of a mesh.
    pub adds_percent: Option<f64>,
}

/// Proxies of one role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Fleet {
    /// Proxies.
    pub proxies: u64,
    /// Resident memory of all Envoys, at start-up state.
    pub envoy: Estimate,
    /// Of all agents.
    pub agent: Estimate,
    /// Both.
    pub total: Estimate,
    /// Both, per proxy.
    pub each: Estimate,
    /// What the scope that was tried takes off.
    pub saved_bytes: u64,
}

/// Something that would lose its target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Break {
    /// `traffic`, `route`, `virtual_service`, `service_entry`.
    pub kind: &'static str,
    /// Whose proxy: `namespace/workload`.
    pub workload: String,
    /// What, by name.
    pub name: String,
    /// What it loses.
    pub detail: String,
}

/// An object to apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Kind.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// YAML.
    pub yaml: String,
}

/// What `meshdump whatif scope` looks at.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Proxies with their inputs.
    pub proxies: &'a [(Proxy, Vec<u32>)],
    /// The cluster.
    pub cluster: Option<&'a Kubernetes>,
    /// The shapes of a sidecar where no dump gives them.
    pub template: &'a Proxy,
    /// Inputs.
    pub inputs: Vec<Input>,
    /// Problems of reading.
    pub problems: &'a [Problem],
    /// Version of the tool.
    pub version: &'static str,
}

/// A proxy of a workload, as it is.
struct Subject<'a> {
    namespace: Name,
    name: Name,
    role: ProxyRole,
    replicas: u32,
    source: &'static str,
    settings: Settings,
    proxy: Proxy,
    workload: Option<&'a Workload<'a>>,
    dump: Option<&'a Proxy>,
    limit_bytes: Option<u64>,
}

const LISTED: usize = 8;

/// A sidecar of nobody: services are known, workloads are not.
const ANY: &str = "any sidecar";

fn role_word(r: ProxyRole) -> &'static str {
    match r {
        ProxyRole::Sidecar => "sidecar",
        ProxyRole::Gateway => "gateway",
        ProxyRole::Waypoint => "waypoint",
    }
}

/// The role that a node id tells (`sidecar~…`, `router~…`).
fn role_of(p: &Proxy) -> ProxyRole {
    match p.node.id.split('~').next() {
        Some("router") => ProxyRole::Gateway,
        Some("waypoint") => ProxyRole::Waypoint,
        _ => ProxyRole::Sidecar,
    }
}

/// Envoy's release for an Istio image: Istio 1.N carries Envoy 1.(N+8) (Istio's supported releases page).
fn envoy_of_image(image: &str) -> Option<Version> {
    let tag = image.split('@').next()?.rsplit_once(':')?.1;
    if !image.contains("proxyv2") {
        return Version::parse(tag.trim_start_matches('v'));
    }
    let istio = Version::parse(tag)?;
    Some(Version { minor: istio.minor + 8, ..istio })
}

/// Runs the what-if.
pub fn report(evidence: Evidence<'_>, options: &Options) -> ScopeReport {
    let cluster = evidence.cluster;
    let changed = cluster.map(|k| with_changes(k, options));
    let mesh = cluster.map(Mesh::of);
    let mesh_after = changed.as_ref().map(Mesh::of);
    let all = cluster.map(workloads).unwrap_or_default();
    let builtin = Template::of(evidence.template, None).expect("the built-in template has every shape");
    // the largest real sidecar gives the shapes of those that have no dump
    let sidecars = evidence.proxies.iter().map(|p| &p.0).filter(|p| role_of(p) == ProxyRole::Sidecar);
    let real = sidecars.max_by_key(|p| (p.clusters.len(), std::cmp::Reverse(&p.label)));
    let template = real.and_then(|p| Template::of(p, Some(&builtin))).unwrap_or_else(|| builtin.clone());
    let subjects = subjects(&evidence, cluster, mesh.as_ref(), &all, &template, real, options);

    let mut rows = Vec::new();
    let mut breaks = BTreeSet::new();
    let mut used: BTreeMap<(Name, Name), Vec<Name>> = BTreeMap::new();
    let mut untold = BTreeSet::new();
    for s in &subjects {
        let keep = keeper(s, cluster, mesh_after.as_ref(), options, &mut used, &mut untold);
        let before = shape(&s.proxy, &s.settings);
        let (after_proxy, removed) = match &keep {
            Some(keep) => trim(&s.proxy, &**keep),
            None => (s.proxy.clone(), Removed::default()),
        };
        let after = if keep.is_some() { shape(&after_proxy, &s.settings) } else { before };
        breaks.extend(broken(s, &removed, mesh.as_ref(), keep.as_ref()));
        let differences = compare(s, mesh.as_ref());
        let compared = differences.is_some();
        let saved_resident_bytes = before.resident.bytes.saturating_sub(after.resident.bytes);
        rows.push(WorkloadRow {
            namespace: s.namespace.clone(),
            name: s.name.clone(),
            role: role_word(s.role),
            replicas: s.replicas,
            source: s.source,
            concurrency: s.settings.concurrency,
            agent: s.workload.is_none_or(|w| w.agent),
            sidecar: sidecar_of(s, mesh.as_ref()).map(|x| format!("{}/{}", x.meta.namespace, x.meta.name)),
            out: Out {
                clusters: removed.clusters.len() as u64,
                listeners: removed.listeners.len() as u64,
                filter_chains: removed.filter_chains,
                route_configs: removed.route_tables.len() as u64,
                virtual_hosts: removed.virtual_hosts,
                endpoints: removed.endpoints,
            },
            saved_bytes: before.allocated.bytes.saturating_sub(after.allocated.bytes),
            saved_resident_bytes,
            saved_total_bytes: saved_resident_bytes * u64::from(s.replicas),
            before,
            after,
            limit_bytes: s.limit_bytes,
            differences: differences.unwrap_or_default(),
            compared,
        });
    }
    let bill = bill(&rows, options);
    let growth = growth::growth(&subjects, mesh.as_ref(), &template, evidence.proxies, options);
    let manifests = sidecars::manifests(&subjects, options, &used, mesh.as_ref());
    let cost_model = subjects.first().map(|s| price(&s.proxy, &s.settings).model).unwrap_or_default();
    rows.sort_by(|a, b| {
        let key =
            |r: &WorkloadRow| (std::cmp::Reverse(r.saved_total_bytes), std::cmp::Reverse(r.before.allocated.bytes));
        key(a).cmp(&key(b)).then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
    });
    let mut notes = notes(&subjects, mesh.as_ref(), real.is_some(), options);
    if !untold.is_empty() {
        let names: Vec<&str> = untold.iter().map(String::as_str).take(LISTED).collect();
        notes.push(format!(
            "left as they are, since nothing counts their requests: {}{}; add `/clusters` beside the dump: \
             `curl -s localhost:15000/clusters`",
            names.join(", "),
            if untold.len() > LISTED { format!(" [{} others]", untold.len() - LISTED) } else { String::new() }
        ));
    }
    ScopeReport {
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
        knative: mesh.as_ref().and_then(knative::report),
        manifests,
        missing: cluster.map(missing).unwrap_or_default(),
        notes,
        problems: evidence.problems.iter().map(problem_report).collect(),
    }
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
    let priced: Priced = price(p, settings);
    Shape { counts: Counts::of(p), allocated: priced.allocated(), resident: priced.resident }
}

/// The cluster after the change: other Sidecars, other `exportTo`.
fn with_changes(k: &Kubernetes, o: &Options) -> Kubernetes {
    let mut k = k.clone();
    if let Rule::Sidecars(new) = &o.rule {
        k.sidecars.retain(|s| !new.iter().any(|n| n.meta.namespace == s.meta.namespace && n.meta.name == s.meta.name));
        k.sidecars.extend(new.iter().cloned());
    }
    for s in &mut k.services {
        if let Some(to) = changed(&o.export_to, &s.meta.namespace, &s.meta.name) {
            s.meta.export_to = Some(to);
        }
    }
    for e in &mut k.service_entries {
        if let Some(to) = changed(&o.export_to, &e.meta.namespace, &e.meta.name) {
            e.meta.export_to = Some(to);
        }
    }
    k
}

fn changed(all: &[ExportTo], namespace: &str, name: &str) -> Option<Vec<Name>> {
    let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    all.iter().rev().find(|e| is(&e.namespace, namespace) && is(&e.name, name)).map(|e| e.to.clone())
}

fn subjects<'a>(
    evidence: &Evidence<'a>,
    cluster: Option<&'a Kubernetes>,
    mesh: Option<&Mesh<'a>>,
    all: &'a [Workload<'a>],
    template: &Template,
    real: Option<&Proxy>,
    options: &Options,
) -> Vec<Subject<'a>> {
    let mut out: Vec<Subject<'a>> = Vec::new();
    let mut taken: BTreeMap<(Name, Name), usize> = BTreeMap::new();
    for (proxy, _) in evidence.proxies {
        let pod = cluster.and_then(|k| pod_of(k, &proxy.node.id));
        let workload = pod.and_then(|p| {
            all.iter()
                .find(|w| w.pods.iter().any(|x| x.meta.name == p.meta.name && x.meta.namespace == p.meta.namespace))
        });
        let namespace = workload.map_or_else(|| proxy.node.namespace.clone(), |w| w.namespace.clone());
        let name = match workload {
            Some(w) => w.name.clone(),
            None if !proxy.node.workload.is_empty() => proxy.node.workload.clone(),
            None => proxy.label.as_str().into(),
        };
        let mut settings = Settings::of(proxy);
        if !settings.concurrency_known
            && let Some(n) = options.concurrency.or(workload.and_then(|w| w.concurrency))
        {
            (settings.concurrency, settings.concurrency_known) = (n, true);
        }
        settings.version = settings.version.or(options.version);
        match taken.get(&(namespace.clone(), name.clone())) {
            // further replicas with a dump of their own: the first stands for them
            Some(i) if workload.is_none() => out[*i].replicas += 1,
            Some(_) => {}
            None => {
                taken.insert((namespace.clone(), name.clone()), out.len());
                out.push(Subject {
                    namespace,
                    name,
                    role: workload.and_then(|w| w.role).unwrap_or_else(|| role_of(proxy)),
                    replicas: workload.map_or(1, |w| w.replicas.max(1)),
                    source: "dump",
                    settings,
                    proxy: proxy.clone(),
                    workload,
                    dump: Some(proxy),
                    limit_bytes: options.limit_bytes.or(workload.and_then(|w| w.limit_bytes)),
                });
            }
        }
    }
    let Some(mesh) = mesh else { return out };
    let known = real.map(Settings::of);
    for w in all {
        let Some(role) = w.role else { continue };
        if taken.contains_key(&(w.namespace.clone(), w.name.clone())) {
            continue;
        }
        let image = w.pods.iter().find_map(|p| p.proxy.as_ref()).and_then(|p| envoy_of_image(&p.image));
        let concurrency = options.concurrency.or(w.concurrency).or(known.map(|k| k.concurrency));
        // other control planes have other rules: without a dump only the idle process is known
        let view = if w.istio { view_of(mesh, w, role) } else { View { gateway: true, ..View::default() } };
        out.push(Subject {
            namespace: w.namespace.clone(),
            name: w.name.clone(),
            role,
            replicas: w.replicas,
            source: "export",
            settings: Settings {
                version: options.version.or(image).or(known.and_then(|k| k.version)),
                concurrency: concurrency.unwrap_or(2),
                concurrency_known: concurrency.is_some(),
            },
            proxy: template.dress(&view),
            workload: Some(w),
            dump: None,
            limit_bytes: options.limit_bytes.or(w.limit_bytes),
        });
    }
    if out.is_empty() && all.is_empty() && !mesh.services.is_empty() {
        // services alone: what any sidecar of the mesh would be sent
        let seen = mesh.seen("", &[]);
        out.push(Subject {
            namespace: "".into(),
            name: ANY.into(),
            role: ProxyRole::Sidecar,
            replicas: 1,
            source: "export",
            settings: Settings {
                version: options.version,
                concurrency: options.concurrency.unwrap_or(2),
                concurrency_known: options.concurrency.is_some(),
            },
            proxy: template.dress(&view(mesh, "", &seen, ProxyRole::Sidecar)),
            workload: None,
            dump: None,
            limit_bytes: options.limit_bytes,
        });
    }
    out
}

/// What a workload is sent by the rules.
fn view_of(mesh: &Mesh<'_>, w: &Workload<'_>, role: ProxyRole) -> View {
    let egress = match role {
        ProxyRole::Sidecar => mesh.sidecar_of(&w.namespace, w.labels).map(|s| s.egress.as_slice()).unwrap_or(&[]),
        _ => &[],
    };
    let seen = mesh.seen(&w.namespace, egress);
    let mut v = view(mesh, &w.namespace, &seen, role);
    if role == ProxyRole::Sidecar {
        v.inbound = inbound(mesh, &w.namespace, w.labels);
    }
    v
}

fn sidecar_of<'a>(s: &Subject<'_>, mesh: Option<&Mesh<'a>>) -> Option<&'a Sidecar> {
    let none = Vec::new();
    let labels = s.workload.map_or(&none, |w| w.labels);
    mesh.filter(|_| s.role == ProxyRole::Sidecar)?.sidecar_of(&s.namespace, labels)
}

/// Namespace of a host, as its name or the export tells; empty when neither does.
fn namespace_of(host: &str, mesh: Option<&Mesh<'_>>) -> Name {
    if let Some(s) = mesh.and_then(|m| m.services.iter().find(|s| &*s.host == host)) {
        return s.namespace.clone();
    }
    let mut parts = host.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(ns), Some("svc")) => ns.into(),
        _ => "".into(),
    }
}

type Keep = Box<dyn Fn(u16, &str) -> bool>;

/// Which services stay, by port and host; `None` when nothing changes for this proxy.
fn keeper(
    s: &Subject<'_>,
    cluster: Option<&Kubernetes>,
    after: Option<&Mesh<'_>>,
    o: &Options,
    used: &mut BTreeMap<(Name, Name), Vec<Name>>,
    untold: &mut BTreeSet<String>,
) -> Option<Keep> {
    let own = s.namespace.clone();
    let root: Name = after.map_or_else(|| "istio-system".into(), |m| m.root.clone());
    // hosts of the proxy with their namespaces, looked up once
    let mut namespaces: BTreeMap<String, Name> = BTreeMap::new();
    for c in &s.proxy.clusters {
        if let Some((_, _, host)) = outbound_parts(&c.meta.name) {
            let of_owner = || c.owner.as_ref().map(|o| o.namespace.clone()).filter(|n| !n.is_empty());
            namespaces.entry(host.to_owned()).or_insert_with(|| {
                Some(namespace_of(host, after)).filter(|n| !n.is_empty()).or_else(of_owner).unwrap_or_default()
            });
        }
    }
    let exports: Option<BTreeSet<String>> = (!o.export_to.is_empty()).then(|| {
        let listed = |host: &str| after.and_then(|m| m.services.iter().find(|x| &*x.host == host));
        let stays = |host: &str, ns: &Name| match listed(host) {
            Some(x) => visible(&x.export_to, &x.namespace, &own),
            None => {
                let name = host.split('.').next().unwrap_or(host);
                changed(&o.export_to, ns, name).is_none_or(|to| visible(&to, ns, &own))
            }
        };
        namespaces.iter().filter(|(host, ns)| stays(host, ns)).map(|(host, _)| host.clone()).collect()
    });
    if s.role != ProxyRole::Sidecar {
        let routed = o.filter_gateways.then(|| {
            let none = Vec::new();
            let labels = s.workload.map_or(&none, |w| w.labels);
            let mut hosts = after.map(|m| m.gateway_hosts(&s.namespace, labels)).unwrap_or_default();
            // what the dump's own routes lead to
            let routes = s.proxy.route_tables.iter().flat_map(|t| &t.virtual_hosts).flat_map(|v| &v.clusters);
            let filters = s.proxy.listeners.iter().flat_map(|l| &l.chains).flat_map(|c| &c.filters);
            let named = routes.chain(filters.flat_map(|f| &f.clusters));
            hosts.extend(named.filter_map(|c| outbound_parts(c)).map(|(_, _, host)| host.to_owned()));
            hosts
        });
        if routed.is_none() && exports.is_none() {
            return None;
        }
        return Some(Box::new(move |_, host| {
            routed.as_ref().is_none_or(|r| r.contains(host)) && exports.as_ref().is_none_or(|e| e.contains(host))
        }));
    }
    let scoped: Option<Keep> = match &o.rule {
        Rule::AsIs => None,
        Rule::OwnNamespace => {
            Some(Box::new(move |_, host| namespaces.get(host).is_some_and(|n| *n == own || *n == root)))
        }
        Rule::FromTraffic => match s.dump.and_then(traffic) {
            None => {
                untold.insert(format!("{}/{}", s.namespace, s.name));
                None
            }
            Some(counts) => {
                let hosts: BTreeSet<String> = counts
                    .iter()
                    .filter(|(_, n)| **n > 0)
                    .filter_map(|(c, _)| outbound_parts(c))
                    .map(|(_, _, host)| host.to_owned())
                    .collect();
                let listed = used.entry((s.namespace.clone(), s.name.clone())).or_default();
                for host in &hosts {
                    let ns = namespaces.get(host).cloned().unwrap_or_default();
                    let ns = if ns == own {
                        ".".into()
                    } else if ns.is_empty() {
                        "*".into()
                    } else {
                        ns
                    };
                    listed.push(format!("{ns}/{host}").into());
                }
                Some(Box::new(move |_, host| hosts.contains(host) || namespaces.get(host).is_some_and(|n| *n == root)))
            }
        },
        Rule::Sidecars(new) => match (after, s.workload) {
            (Some(mesh), Some(w)) => {
                let egress = mesh.sidecar_of(&w.namespace, w.labels).map(|x| x.egress.clone()).unwrap_or_default();
                let seen = mesh.seen(&w.namespace, &egress);
                let kept: BTreeMap<Name, Option<u16>> =
                    seen.iter().map(|(i, port)| (mesh.services[*i].host.clone(), *port)).collect();
                // hosts that the export does not have are judged by the egress entries alone
                let known: BTreeSet<Name> = mesh.services.iter().map(|x| x.host.clone()).collect();
                Some(Box::new(move |port, host| {
                    if known.contains(host) {
                        kept.get(host).is_some_and(|only| only.is_none_or(|p| p == port))
                    } else {
                        by_egress(&egress, &own, &namespaces, port, host)
                    }
                }))
            }
            _ => chosen(new, cluster, s).map(|egress| -> Keep {
                Box::new(move |port, host| by_egress(&egress, &own, &namespaces, port, host))
            }),
        },
    };
    match (scoped, exports) {
        (None, None) => None,
        (scoped, exports) => Some(Box::new(move |port, host| {
            scoped.as_ref().is_none_or(|k| k(port, host)) && exports.as_ref().is_none_or(|e| e.contains(host))
        })),
    }
}

/// Whether the egress entries import a host; none at all import everything.
fn by_egress(egress: &[Egress], own: &str, namespaces: &BTreeMap<String, Name>, port: u16, host: &str) -> bool {
    let ns = namespaces.get(host).cloned().unwrap_or_default();
    egress.is_empty()
        || egress.iter().any(|e| e.port.is_none_or(|p| p == port) && e.hosts.iter().any(|h| imports(h, own, &ns, host)))
}

/// The egress of the Sidecar of a file that applies to a proxy of which only the dump is known. Its labels are not in
/// the dump, so a workload selector is matched against its name (label `app`).
fn chosen(new: &[Sidecar], cluster: Option<&Kubernetes>, s: &Subject<'_>) -> Option<Vec<Egress>> {
    let root: &str = cluster.and_then(|k| k.mesh_configs.first()).map_or("istio-system", |c| &c.root_namespace);
    let app = vec![(Name::from("app"), s.name.clone())];
    let labels = s.workload.map_or(&app, |w| w.labels);
    let here = |x: &&Sidecar| x.meta.namespace == s.namespace || x.meta.namespace.is_empty();
    let found = new
        .iter()
        .filter(here)
        .find(|x| x.selector.as_ref().is_some_and(|l| matches(l, labels)))
        .or_else(|| new.iter().filter(here).find(|x| x.selector.is_none()))
        .or_else(|| new.iter().find(|x| &*x.meta.namespace == root && x.selector.is_none()));
    found.map(|x| x.egress.clone())
}

fn broken(s: &Subject<'_>, removed: &Removed, mesh: Option<&Mesh<'_>>, keep: Option<&Keep>) -> Vec<Break> {
    let workload = format!("{}/{}", s.namespace, s.name);
    let mut out = Vec::new();
    let Some(keep) = keep else { return out };
    let one = |kind, name: String, detail: String| Break { kind, workload: workload.clone(), name, detail };
    if let Some(counts) = s.dump.and_then(traffic) {
        for c in &removed.clusters {
            if let Some(n @ 1..) = counts.get(c) {
                let what = if *n == 1 { "request or connection" } else { "requests or connections" };
                out.push(one("traffic", c.to_string(), format!("{n} {what} so far")));
            }
        }
    }
    for (place, cluster) in &removed.dangling {
        out.push(one("route", place.clone(), format!("leads to {cluster}, which would be gone")));
    }
    let Some(mesh) = mesh else { return out };
    let gone: BTreeSet<&str> =
        removed.clusters.iter().filter_map(|c| outbound_parts(c)).map(|(_, _, host)| host).collect();
    if s.role == ProxyRole::Sidecar {
        for v in mesh.virtual_services(&s.namespace) {
            let hosts: Vec<String> = v.hosts.iter().map(|h| full(h, &v.meta.namespace)).collect();
            let called = hosts.iter().any(|h| !gone.contains(h.as_str()) && keep(0, h));
            for d in &v.destinations {
                let host = full(&d.host, &v.meta.namespace);
                if called && gone.contains(host.as_str()) {
                    let name = format!("{}/{}", v.meta.namespace, v.meta.name);
                    out.push(one("virtual_service", name, format!("routes to {host}, which would be gone")));
                }
            }
        }
    }
    for e in &mesh.cluster.service_entries {
        for h in e.hosts.iter().filter(|h| gone.contains(&***h)) {
            let name = format!("{}/{}", e.meta.namespace, e.meta.name);
            out.push(one("service_entry", name, format!("{h} is no longer known to the proxy")));
        }
    }
    out
}

/// The rules' expectation against a real dump; `None` without both.
fn compare(s: &Subject<'_>, mesh: Option<&Mesh<'_>>) -> Option<Vec<Difference>> {
    let (dump, mesh, w) = (s.dump?, mesh?, s.workload?);
    if mesh.services.is_empty() {
        return None;
    }
    let v = view_of(mesh, w, s.role);
    let outbound = |n: &&Name| outbound_parts(n).is_some();
    let clusters: BTreeSet<String> =
        dump.clusters.iter().map(|c| &c.meta.name).filter(outbound).map(|n| n.to_string()).collect();
    let expected: BTreeSet<String> = v.clusters.iter().map(|c| c.name.clone()).collect();
    let mut all = vec![("cluster", clusters, expected)];
    if s.role == ProxyRole::Sidecar {
        let listeners = dump
            .listeners
            .iter()
            .filter(|l| !l.bound && !l.meta.name.is_empty() && !l.meta.name.starts_with("virtual"))
            .map(|l| l.meta.name.to_string());
        let tables: Vec<_> =
            dump.route_tables.iter().filter(|t| t.meta.state != crate::model::envoy::State::Static).collect();
        let hosts = tables.iter().flat_map(|t| {
            t.virtual_hosts
                .iter()
                .filter(|h| h.clusters.iter().any(|c| outbound_parts(c).is_some()))
                .map(|h| format!("{} in {}", h.name, t.meta.name))
        });
        let expected_hosts =
            v.tables.iter().flat_map(|(t, view)| view.hosts.iter().map(move |h| format!("{} in {t}", h.name)));
        all.push(("listener", listeners.collect(), v.listeners.keys().cloned().collect()));
        all.push((
            "route_config",
            tables.iter().map(|t| t.meta.name.to_string()).collect(),
            v.tables.keys().cloned().collect(),
        ));
        all.push(("virtual_host", hosts.collect(), expected_hosts.collect()));
    }
    let some = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).take(LISTED).cloned().collect::<Vec<_>>();
    let own_ip = s.dump.and_then(|p| p.node.id.split('~').nth(1)).unwrap_or("").to_owned();
    let differences = all.into_iter().filter(|(_, a, b)| a != b).map(|(kind, dump, expected)| {
        let (only_dump, only_expected) = (some(&dump, &expected), some(&expected, &dump));
        Difference {
            why: why(&only_dump, &only_expected, mesh, &own_ip),
            kind,
            dump: dump.len() as u64,
            expected: expected.len() as u64,
            only_dump,
            only_expected,
        }
    });
    Some(differences.collect())
}

/// Why names stand on one side only, as far as the evidence tells.
fn why(only_dump: &[String], only_expected: &[String], mesh: &Mesh<'_>, own_ip: &str) -> String {
    let mut reasons = Vec::new();
    let host_of = |n: &str| outbound_parts(n).map(|(_, _, h)| h.to_owned());
    if only_expected.iter().any(|n| !own_ip.is_empty() && n.starts_with(own_ip)) {
        reasons.push("a pod has no listener for its own address");
    }
    if only_dump.iter().filter_map(|n| host_of(n)).any(|h| !mesh.services.iter().any(|s| *s.host == *h)) {
        reasons.push("the export has no service of that host: it was deleted since, or is not in the export");
    }
    if only_expected.iter().filter_map(|n| host_of(n)).any(|h| mesh.services.iter().any(|s| *s.host == *h)) {
        reasons.push("the service is newer than the dump, or something hides it (an EnvoyFilter, another revision)");
    }
    reasons.join("; ")
}

fn bill(rows: &[WorkloadRow], o: &Options) -> Bill {
    let fleet = |wanted: &dyn Fn(&WorkloadRow) -> bool| {
        let mut f = Fleet::default();
        for r in rows.iter().filter(|r| wanted(r)) {
            let n = u64::from(r.replicas);
            let times = |e: Estimate| Estimate { bytes: e.bytes * n, low: e.low * n, high: e.high * n };
            f.proxies += n;
            f.envoy += times(r.before.resident);
            if r.agent {
                f.agent += times(o.agent);
            }
            f.saved_bytes += r.saved_total_bytes;
        }
        f.total = f.envoy + f.agent;
        let each = |b: u64| b.checked_div(f.proxies).unwrap_or(0);
        f.each = Estimate { bytes: each(f.total.bytes), low: each(f.total.low), high: each(f.total.high) };
        f
    };
    let sidecars = fleet(&|r| r.role == "sidecar");
    let percent = |app: u64| (sidecars.total.bytes as f64 * 1000.0 / app.max(1) as f64).round() / 10.0;
    Bill {
        adds_percent: o.app_bytes.map(percent),
        app_bytes: o.app_bytes,
        sidecars,
        gateways: fleet(&|r| r.role != "sidecar"),
    }
}

fn notes(subjects: &[Subject<'_>], mesh: Option<&Mesh<'_>>, real: bool, o: &Options) -> Vec<String> {
    let mut out = Vec::new();
    if subjects.iter().any(|s| s.source == "export") {
        out.push(if real {
            "shapes of workloads without a dump are those of the largest sidecar dump given".to_owned()
        } else {
            "no dump of a sidecar: shapes are those that Istio 1.19 sends; one `config_dump` makes them yours"
                .to_owned()
        });
        if subjects.iter().any(|s| s.source == "export" && !s.settings.concurrency_known) {
            out.push("2 worker threads where nothing says how many (Istio's default)".to_owned());
        }
        if subjects.iter().any(|s| s.workload.is_some_and(|w| w.inferred)) {
            out.push("no pods in the export: who has a sidecar is inferred from injection labels".to_owned());
        }
        if subjects.iter().any(|s| s.source == "export" && s.workload.is_none()) {
            out.push(
                "no workloads in the export: one sidecar that sees every public service stands for all".to_owned(),
            );
        }
        let foreign: Vec<String> = subjects
            .iter()
            .filter(|s| s.source == "export" && s.workload.is_some_and(|w| !w.istio))
            .map(|s| format!("{}/{}", s.namespace, s.name))
            .collect();
        if !foreign.is_empty() {
            out.push(format!(
                "not of Istio, so only the idle process is counted without a dump: {}{}",
                foreign.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", "),
                if foreign.len() > LISTED { format!(" [{} others]", foreign.len() - LISTED) } else { String::new() }
            ));
        }
        if mesh.is_some_and(|m| m.services.is_empty()) {
            out.push("no services in the export: the proxies are priced with none, a lower bound".to_owned());
        }
    }
    if let Some(m) = mesh.filter(|m| m.unwatched > 0) {
        out.push(format!("{} services are in namespaces that the discovery selectors leave out", m.unwatched));
    }
    let registry_only = mesh.and_then(|m| m.cluster.mesh_configs.first()).is_some_and(|c| c.registry_only);
    if o.changes() {
        out.push(if registry_only {
            "outbound traffic to what is out of scope is refused (REGISTRY_ONLY)".to_owned()
        } else {
            "outbound traffic to what is out of scope passes through without routing, mTLS or metrics (ALLOW_ANY)"
                .to_owned()
        });
    }
    out.push(
        "resident figures are anonymous memory at start-up state; CPU, latency and what requests add (buffers, \
         connections) no offline evidence tells"
            .to_owned(),
    );
    out
}
