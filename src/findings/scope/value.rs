//! The report value of `meshdump whatif scope`.

use schemars::JsonSchema;
use serde::Serialize;

use super::bill::Bill;
use super::{Growth, Knative};
use crate::cost::Estimate;
use crate::findings::Finding;
use crate::findings::analysis::{Input, ProblemReport, Tool};
use crate::findings::kubernetes::Missing;
use crate::model::envoy::{Name, Proxy, State};
use crate::sim::scope::dress::outbound_parts;

/// The report.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
    /// What it comes to.
    pub findings: Vec<Finding>,
    /// What the evidence lacks.
    pub missing: Vec<Missing>,
    /// What the figures rest on.
    pub notes: Vec<String>,
    /// What could not be read.
    pub problems: Vec<ProblemReport>,
}

/// Numbers of resources of one proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shape {
    /// Resources.
    pub counts: Counts,
    /// What Envoy allocates.
    pub allocated: Estimate,
    /// Anonymous resident memory at start-up state.
    pub resident: Estimate,
}

/// Where the rules and a real dump of the same workload differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
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

/// Something that would lose its target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
