//! The report value of `meshdump analyze`: everything that any output format shows, computed once.
//!
//! The field names are the JSON contract (`docs/architecture.md`); additions only inside v1.

use foldhash::HashSet;
use serde::{Deserialize, Serialize};

use super::bpf::BpfReport;
use super::draining::{self, Draining};
use super::fleet::{self, Fleet};
use super::graph::{self, Graph};
use super::kubernetes::{self, KubernetesReport};
use super::ledger::{Ledger, Rows};
use super::treemap::Dimension;
use super::{Finding, rules};
use crate::cost::Estimate;
use crate::cost::envoy::changes::{self, Saving};
use crate::cost::envoy::{self, Priced, Settings};
use crate::model::bpf::BpfListing;
use crate::model::envoy::{LARGE_RESOURCE_BYTES, Name, Proxy, State};
use crate::model::kubernetes::Kubernetes;
use crate::model::problem::{Loss, Problem};
use crate::model::source::Span;

/// The whole report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Analysis {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `analysis`.
    pub kind: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub inputs: Vec<Input>,
    /// One per proxy and moment, the largest first.
    pub proxies: Vec<ProxyReport>,
    /// Figures over all proxies; null for a single one.
    pub fleet: Option<Fleet>,
    /// The node's BPF maps; null without bpftool's output.
    pub bpf: Option<BpfReport>,
    /// The cluster's objects; null without an export.
    pub kubernetes: Option<KubernetesReport>,
    /// What it means, the most serious first.
    pub findings: Vec<Finding>,
    /// What could not be read, or was read with leniency.
    pub problems: Vec<ProblemReport>,
}

/// The tool that made the report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Tool {
    /// Version of meshdump.
    pub version: &'static str,
    /// Cost model and revision; empty without proxies.
    pub cost_model: String,
}

/// An input.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Input {
    /// As the user named it, with the entry of an archive after `!`.
    pub path: String,
    /// What it was recognised as.
    pub kind: String,
    /// Size as stored.
    pub bytes: u64,
    /// Of the stored bytes.
    pub sha256: String,
    /// The proxy it belongs to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Why it is not part of the answer, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A [`Problem`] in the report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ProblemReport {
    /// Input.
    pub path: String,
    /// Byte offset in the uncompressed input.
    pub offset: Option<u64>,
    /// Line, from 1.
    pub line: Option<u64>,
    /// What was found and expected.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// `nothing`, `resource` (one of many), `part` or `whole`.
    pub loss: &'static str,
}

/// One proxy at one moment.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ProxyReport {
    /// Name in the report.
    pub label: String,
    /// `node.id`.
    pub node_id: String,
    /// The workload, `name.namespace`, where known.
    pub workload: String,
    /// Envoy's version, empty when unknown.
    pub envoy_version: String,
    /// Istio's version, empty when unknown.
    pub istio_version: String,
    /// Worker threads; null when the evidence does not tell (2 are assumed then).
    pub concurrency: Option<u32>,
    /// Drain time in seconds.
    pub drain_time_s: Option<u64>,
    /// Newest time written in the dump, RFC 3339.
    pub newest_time: Option<String>,
    /// The dump is what a control plane would send, not what Envoy has.
    pub expected_only: bool,
    /// Indices into `inputs`.
    pub inputs: Vec<u32>,
    /// Memory.
    pub memory: MemoryReport,
    /// Resources by state.
    pub counts: Counts,
    /// By kind; kinds do not overlap, so the bytes add up to `config`.
    pub by_kind: Vec<KindRow>,
    /// By namespace, `-` for what belongs to none.
    pub by_namespace: Vec<GroupRow>,
    /// By owner, `namespace/name`: 50, or all.
    pub by_owner: Vec<GroupRow>,
    /// Owners left out of the list.
    pub owners_omitted: u64,
    /// Resources, the largest first: 50, or all.
    pub resources: Vec<ResourceRow>,
    /// Resources left out of the list.
    pub resources_omitted: u64,
    /// Bytes of the omitted ones.
    pub resources_omitted_bytes: u64,
    /// What the operator could change, the largest saving first, all of it together last; savings overlap. Null for
    /// proxies with more than 10000 resources unless asked for.
    pub savings: Option<Vec<SavingRow>>,
    /// Draining.
    pub draining: Draining,
    /// Types that were priced by size alone.
    pub unknown_types: Vec<KindRow>,
    /// The configuration grouped in several ways, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub treemap: Option<Vec<Dimension>>,
}

/// What one change of the configuration saves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SavingRow {
    /// Stable name; `together` for all of them.
    pub change: &'static str,
    /// What is changed.
    pub title: &'static str,
    /// How, and what else it does.
    pub how: &'static str,
    /// Bytes less in `allocated`.
    pub saved: Estimate,
    /// Bytes less outside the allocator.
    pub saved_outside_allocator: Estimate,
}

impl From<Saving> for SavingRow {
    fn from(s: Saving) -> Self {
        Self {
            change: s.change.map_or("together", |c| c.name),
            title: s.change.map_or("all of these together", |c| c.title),
            how: s.change.map_or("", |c| c.how),
            saved: s.allocated,
            saved_outside_allocator: s.outside_allocator,
        }
    }
}

/// Memory of one proxy.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct MemoryReport {
    /// What `/memory` is expected to show.
    pub allocated: Estimate,
    /// An idle process.
    pub base: Estimate,
    /// Everything else in `allocated`.
    pub config: Estimate,
    /// LuaJIT, V8.
    pub outside_allocator: Estimate,
    /// Anonymous resident memory at start-up state.
    pub resident: Estimate,
    /// `/memory`, or the gauges of `/stats`.
    pub observed: Option<Observed>,
    /// Observed minus predicted `allocated`.
    pub residual_bytes: Option<i64>,
    /// The limit given, or found in an export of the cluster.
    pub limit_bytes: Option<u64>,
    /// Whose limit it is, when it was found and not given.
    pub limit_of: Option<String>,
}

/// What the proxy itself said about its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Observed {
    /// Live bytes.
    pub allocated: u64,
    /// Heap.
    pub heap_size: Option<u64>,
    /// Physical, by the allocator's account.
    pub physical: Option<u64>,
    /// Where it was read: `memory` or `stats` (which lags behind by a flush interval).
    pub source: &'static str,
}

/// Numbers of resources by state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Listeners.
    pub listeners: States,
    /// Filter chains of all of them.
    pub filter_chains: u64,
    /// Clusters.
    pub clusters: States,
    /// Route tables: inline ones are static.
    pub route_configs: States,
    /// Virtual hosts.
    pub virtual_hosts: u64,
    /// Routes.
    pub routes: u64,
    /// Endpoint sets.
    pub endpoint_sets: States,
    /// Endpoints in them.
    pub endpoints: u64,
    /// Secrets.
    pub secrets: States,
    /// ECDS resources.
    pub extension_configs: u64,
    /// Scoped route configurations.
    pub scoped_routes: u64,
    /// Entries of unknown sections.
    pub unknown: u64,
}

/// Numbers by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct States {
    /// From the bootstrap.
    #[serde(rename = "static")]
    pub fixed: u64,
    /// In use.
    pub active: u64,
    /// Waiting for dependencies.
    pub warming: u64,
    /// Old generations.
    pub draining: u64,
    /// Rejected.
    pub error: u64,
}

impl States {
    fn add(&mut self, state: State) {
        match state {
            State::Static => self.fixed += 1,
            State::Active => self.active += 1,
            State::Warming => self.warming += 1,
            State::Draining => self.draining += 1,
            State::Error => self.error += 1,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.fixed + self.active + self.warming + self.draining + self.error
    }
}

/// A kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct KindRow {
    /// Kind.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Estimated bytes.
    pub bytes: u64,
    /// Bytes of JSON as written, where they are counted.
    pub json_bytes: u64,
}

/// A namespace or owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct GroupRow {
    /// Namespace, or `namespace/owner`; `-` for what belongs to none.
    pub name: String,
    /// Resources.
    pub count: u64,
    /// Estimated bytes.
    pub bytes: u64,
    /// Bytes of JSON as written.
    pub json_bytes: u64,
}

/// Where a resource stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Source {
    /// Input, as the user named it.
    pub path: String,
    /// Byte offset in the uncompressed input.
    pub offset: u64,
    /// Line, from 1.
    pub line: u64,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ResourceRow {
    /// Kind.
    pub kind: &'static str,
    /// Name; empty when it has none.
    pub name: Name,
    /// Namespace it belongs to, or empty.
    pub namespace: String,
    /// Owner it belongs to, or empty.
    pub owner: String,
    /// State.
    pub state: &'static str,
    /// Its own bytes; chains and virtual hosts have rows of their own.
    pub bytes: u64,
    /// What would go if it went: its bytes, and those of everything that only it leads to.
    pub retained_bytes: u64,
    /// Length as written.
    pub json_bytes: u64,
    /// Bytes of JSON by field, of large resources; fields include what is in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldRow>,
    /// Place.
    pub source: Source,
}

/// A field of a large resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct FieldRow {
    /// `route_config.virtual_hosts[].routes[]`, from the dump's entry on.
    pub path: Name,
    /// Bytes as written.
    pub json_bytes: u64,
}

/// One proxy's evidence, ready to be analysed.
#[derive(Debug)]
pub struct ProxyEvidence {
    /// The proxy.
    pub proxy: Proxy,
    /// Indices of its inputs.
    pub inputs: Vec<u32>,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// List every resource instead of the top 50.
    pub all: bool,
    /// Group the configuration in several ways.
    pub treemap: bool,
    /// Price what the operator could change for very large proxies too.
    pub savings: bool,
    /// Memory limit in bytes.
    pub limit_bytes: Option<u64>,
    /// Worker threads, when the evidence does not tell.
    pub concurrency: Option<u32>,
}

/// Resources up to which savings are computed unasked.
const MAX_FOR_SAVINGS: usize = 10_000;

/// Resources listed without `--all`.
const TOP: usize = 50;

/// What the rules look at.
pub(super) struct Context<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) priced: &'a Priced,
    pub(super) settings: &'a Settings,
    pub(super) graph: &'a Graph,
    pub(super) report: &'a ProxyReport,
    pub(super) unexplained: &'a [usize],
    pub(super) inputs: &'a [Input],
    /// Resources of this proxy were lost while reading, so "nothing names it" is no claim to make.
    pub(super) incomplete: bool,
}

/// Analyses all proxies of a run, and the maps of a node. `version` is the tool's.
pub fn analyze(
    evidence: &[ProxyEvidence],
    maps: &[BpfListing],
    cluster: Option<&Kubernetes>,
    mut inputs: Vec<Input>,
    problems: &[Problem],
    options: &Options,
    version: &'static str,
) -> Analysis {
    use rayon::prelude::*;
    let lossy = problems.iter().filter(|p| p.loss == Loss::Part);
    let cut: HashSet<u32> = lossy.filter_map(|p| p.input).map(|i| i.0).collect();
    let analysed: Vec<(ProxyReport, Vec<Finding>, String)> = evidence
        .par_iter()
        .map(|e| one(e, cluster, &inputs, options, e.inputs.iter().any(|i| cut.contains(i))))
        .collect();
    for (e, (report, ..)) in evidence.iter().zip(&analysed) {
        for i in &e.inputs {
            inputs[*i as usize].proxy = Some(report.label.clone());
        }
    }
    let cost_model = analysed.first().map(|a| a.2.clone()).unwrap_or_default();
    let mut findings: Vec<Finding> = Vec::new();
    let mut proxies = Vec::new();
    for (report, f, _) in analysed {
        proxies.push(report);
        findings.extend(f);
    }
    let fleet = (proxies.len() > 1).then(|| fleet::fleet(evidence, &proxies));
    if let Some(fleet) = &fleet {
        findings.extend(fleet::findings(fleet, &proxies));
    }
    findings.extend(rules::of_the_run(problems));
    findings.sort_by(|a, b| {
        (a.severity, std::cmp::Reverse(a.saved_bytes), a.code, &a.proxy).cmp(&(
            b.severity,
            std::cmp::Reverse(b.saved_bytes),
            b.code,
            &b.proxy,
        ))
    });
    proxies.sort_by(|a, b| {
        (std::cmp::Reverse(a.memory.allocated.bytes), &a.label, &a.inputs).cmp(&(
            std::cmp::Reverse(b.memory.allocated.bytes),
            &b.label,
            &b.inputs,
        ))
    });
    Analysis {
        api_version: "meshdump/v1",
        kind: "analysis",
        tool: Tool { version, cost_model },
        inputs,
        proxies,
        fleet,
        kubernetes: cluster.map(kubernetes::report),
        bpf: (!maps.is_empty()).then(|| super::bpf::report(maps, super::bpf::Options::default())),
        findings,
        problems: problems.iter().map(problem_report).collect(),
    }
}

/// A problem as the report shows it.
pub fn problem_report(p: &Problem) -> ProblemReport {
    ProblemReport {
        path: p.label.clone(),
        offset: p.offset_bytes,
        line: p.line,
        message: p.what.clone(),
        hint: p.hint.clone(),
        loss: match p.loss {
            Loss::Nothing => "nothing",
            Loss::Resource => "resource",
            Loss::Part => "part",
            Loss::Whole => "whole",
        },
    }
}

fn one(
    e: &ProxyEvidence,
    cluster: Option<&Kubernetes>,
    inputs: &[Input],
    options: &Options,
    incomplete: bool,
) -> (ProxyReport, Vec<Finding>, String) {
    let proxy = &e.proxy;
    let mut settings = Settings::of(proxy);
    if let (false, Some(n)) = (settings.concurrency_known, options.concurrency) {
        settings.concurrency = n;
        settings.concurrency_known = true;
    }
    let priced = envoy::price(proxy, &settings);
    let (graph, ledger) = rayon::join(|| graph::build(proxy, &priced), || Ledger::of(proxy, &priced));
    let unexplained = draining::unexplained_tables(proxy);
    let limit = match options.limit_bytes {
        Some(bytes) => Some((bytes, None)),
        None => cluster.and_then(|k| kubernetes::limit(k, &proxy.node.id)).map(|(bytes, of)| (bytes, Some(of))),
    };
    let mut report = proxy_report(e, &priced, &settings, ledger.completed(&graph), &unexplained, inputs, options);
    if let Some((bytes, of)) = limit {
        (report.memory.limit_bytes, report.memory.limit_of) = (Some(bytes), of);
    }
    let context = Context {
        proxy,
        priced: &priced,
        settings: &settings,
        graph: &graph,
        report: &report,
        unexplained: &unexplained,
        inputs,
        incomplete,
    };
    let findings = rules::of_proxy(&context);
    (report, findings, priced.model)
}

fn proxy_report(
    e: &ProxyEvidence,
    priced: &Priced,
    settings: &Settings,
    ledger: Ledger<'_>,
    unexplained: &[usize],
    inputs: &[Input],
    options: &Options,
) -> ProxyReport {
    let proxy = &e.proxy;
    let info = proxy.server_info.as_ref();
    let version = info.map(|i| &i.version).filter(|v| !v.is_empty());
    let envoy_version = version
        .and_then(|v| v.split('/').nth(1).map(str::to_owned))
        .or_else(|| version.map(|v| v.to_string()))
        .unwrap_or_else(|| proxy.node.envoy_version.to_string());
    let observed = observed(proxy);
    let allocated = priced.allocated();
    let treemap = options.treemap.then(|| ledger.treemap(proxy, priced));
    // each change is a pass of pricing over the whole proxy
    let savings = (options.savings || ledger.len() <= MAX_FOR_SAVINGS)
        .then(|| changes::savings(proxy, settings, priced).into_iter().map(SavingRow::from).collect());
    let (resources_kept, owners_kept) = if options.all { (usize::MAX, usize::MAX) } else { (TOP, TOP) };
    let Rows { resources, resources_omitted, resources_omitted_bytes, by_kind, by_namespace, by_owner, owners_omitted } =
        ledger.rows(proxy, inputs, resources_kept, owners_kept);
    let node = if proxy.node.id.is_empty() { info.map_or(&proxy.node, |i| &i.node) } else { &proxy.node };
    ProxyReport {
        label: proxy.label.clone(),
        node_id: node.id.to_string(),
        workload: match (&*node.workload, &*node.namespace) {
            ("", _) => String::new(),
            (w, "") => w.to_owned(),
            (w, n) => format!("{w}.{n}"),
        },
        envoy_version,
        istio_version: node.istio_version.to_string(),
        concurrency: settings.concurrency_known.then_some(settings.concurrency),
        drain_time_s: info.and_then(|i| i.drain_time_s),
        newest_time: draining::newest(proxy)
            .and_then(|t| jiff::Timestamp::from_millisecond(t.0).ok())
            .map(|t| t.to_string()),
        expected_only: proxy.expected_only,
        inputs: e.inputs.clone(),
        memory: MemoryReport {
            allocated,
            base: priced.base,
            config: priced.config(),
            outside_allocator: priced.outside_allocator,
            resident: priced.resident,
            residual_bytes: observed.map(|o| o.allocated as i64 - allocated.bytes as i64),
            observed,
            limit_bytes: None,
            limit_of: None,
        },
        counts: counts(proxy),
        by_kind,
        by_namespace,
        by_owner,
        owners_omitted,
        resources,
        resources_omitted,
        resources_omitted_bytes,
        savings,
        draining: draining::draining(proxy, priced, unexplained),
        unknown_types: proxy
            .unknown
            .iter()
            .map(|u| KindRow { kind: u.type_name.to_string(), count: u.count, bytes: u.bytes * 2, json_bytes: u.bytes })
            .collect(),
        treemap,
    }
}

impl Analysis {
    /// Leaves the lists as they are without [`Options::all`], [`Options::treemap`] and fields of small resources.
    pub fn cut_to_top(&mut self) {
        for p in &mut self.proxies {
            let omitted = p.resources.drain(TOP.min(p.resources.len())..);
            omitted.for_each(|r| {
                p.resources_omitted += 1;
                p.resources_omitted_bytes += r.bytes;
            });
            for r in p.resources.iter_mut().filter(|r| r.json_bytes < LARGE_RESOURCE_BYTES) {
                r.fields.clear();
            }
            p.owners_omitted += p.by_owner.len().saturating_sub(TOP) as u64;
            p.by_owner.truncate(TOP);
            p.treemap = None;
        }
    }
}

fn observed(proxy: &Proxy) -> Option<Observed> {
    if let Some(m) = &proxy.memory {
        return Some(Observed {
            allocated: m.allocated,
            heap_size: m.heap_size,
            physical: m.physical,
            source: "memory",
        });
    }
    let s = proxy.stats.as_ref()?;
    Some(Observed {
        allocated: s.memory_allocated.filter(|a| *a > 0)?,
        heap_size: s.memory_heap_size,
        physical: s.memory_physical_size,
        source: "stats",
    })
}

fn counts(p: &Proxy) -> Counts {
    let mut c = Counts::default();
    for l in &p.listeners {
        c.listeners.add(l.meta.state);
        c.filter_chains += l.chains.len() as u64;
    }
    p.clusters.iter().for_each(|x| c.clusters.add(x.meta.state));
    for t in &p.route_tables {
        c.route_configs.add(t.meta.state);
        c.virtual_hosts += t.virtual_hosts.len() as u64;
        c.routes += t.virtual_hosts.iter().map(|v| u64::from(v.routes.total())).sum::<u64>();
    }
    for e in &p.endpoint_sets {
        c.endpoint_sets.add(e.meta.state);
        c.endpoints += u64::from(e.hosts.hosts);
    }
    for (x, listed) in p.clusters.iter().zip(p.endpoints_listed()) {
        c.endpoints += if listed { 0 } else { u64::from(x.inline_hosts.hosts) };
    }
    p.secrets.iter().for_each(|x| c.secrets.add(x.meta.state));
    c.extension_configs = p.extension_configs.len() as u64;
    c.scoped_routes = p.scoped_routes.len() as u64;
    c.unknown = p.unknown.iter().map(|u| u.count).sum();
    c
}

/// The place of a span, in the words of the report.
pub(super) fn source(span: Span, inputs: &[Input]) -> Source {
    let path = inputs.get(span.input.0 as usize).map(|i| i.path.clone()).unwrap_or_default();
    Source { path, offset: span.offset_bytes, line: span.line }
}
