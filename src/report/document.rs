//! A report as its own JSON says it: what every format other than text and JSON is made of.
//!
//! So a saved report shows the same as a fresh one, formats cannot say what the JSON does not, and a new command gets
//! them all by writing JSON. Only what is shown is read; keys that are missing (an older report) read as empty.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::document_diff::Diff;

// what is written and read in the same shape
pub(super) use crate::cost::Estimate;
pub(super) use crate::findings::analysis::{Counts, Source, States};
pub(super) use crate::findings::fleet::{Distribution, Fleet};
pub(super) use crate::findings::treemap::{Dimension, Sums};

/// A report of any kind.
#[derive(Debug)]
pub struct Document {
    /// What all kinds have.
    pub head: Head,
    /// What only this kind has.
    pub body: Body,
}

/// The section of its own that a kind of report has.
#[derive(Debug)]
pub enum Body {
    /// `analysis`, and `inputs` with nothing but the inputs.
    Analysis(Box<Analysis>),
    /// `bpf`: the maps of a node.
    Bpf(Box<Bpf>),
    /// `replay` and `whatif`.
    Runs(Box<Runs>),
    /// `check`.
    Check(Box<Check>),
    /// `diff`.
    Diff(Box<Diff>),
    /// A kind that has findings at most.
    Other,
}

/// The envelope, and what is the same in every kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Head {
    /// `meshdump/v1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub inputs: Vec<Input>,
    /// What it means.
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Marks the kinds with runs.
    runs: Option<IgnoredAny>,
}

/// The tool.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tool {
    /// Version.
    pub version: String,
    /// Cost model and revision.
    pub cost_model: String,
}

/// An input.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Input {
    /// As the user named it.
    pub path: String,
    /// What it was recognised as.
    pub kind: String,
    /// Size as stored.
    pub bytes: u64,
    /// Of the stored bytes.
    pub sha256: String,
    /// The proxy it belongs to.
    pub proxy: Option<String>,
    /// Why it is not part of the answer.
    pub note: Option<String>,
}

/// A finding.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// `MD302`.
    pub code: String,
    /// `error`, `warn` or `note`.
    pub severity: String,
    /// The proxy it concerns.
    pub proxy: String,
    /// One line.
    pub title: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Evidence left out.
    pub evidence_omitted: u64,
    /// Bytes that acting on it would save.
    pub saved_bytes: u64,
    /// What to do.
    pub fix: String,
}

/// A piece of evidence.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// What was seen.
    pub text: String,
    /// Where.
    pub path: String,
    /// Byte offset.
    pub offset: Option<u64>,
    /// Line.
    pub line: Option<u64>,
    /// Length, of what is known as a whole.
    pub bytes: Option<u64>,
}

/// What could not be read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Input.
    pub path: String,
    /// Byte offset.
    pub offset: Option<u64>,
    /// Line.
    pub line: Option<u64>,
    /// What was found and expected.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// `nothing`, `resource`, `part` or `whole`.
    pub loss: String,
}

/// The section of `analysis`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Analysis {
    /// Proxies, the largest first.
    pub proxies: Vec<Proxy>,
    /// Figures over all of them.
    pub fleet: Option<Fleet>,
    /// The node's maps.
    pub bpf: Option<Bpf>,
    /// Objects of a cluster.
    pub kubernetes: Option<Kubernetes>,
}

/// Objects of a cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Kubernetes {
    /// Objects by kind.
    pub kinds: Vec<Row>,
}

/// A proxy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// Name in the report.
    pub label: String,
    /// `node.id`.
    pub node_id: String,
    /// `name.namespace`.
    pub workload: String,
    /// Envoy's version.
    pub envoy_version: String,
    /// Istio's version.
    pub istio_version: String,
    /// Worker threads.
    pub concurrency: Option<u32>,
    /// Drain time.
    pub drain_time_s: Option<u64>,
    /// Newest time in the dump.
    pub newest_time: Option<String>,
    /// What a control plane would send.
    pub expected_only: bool,
    /// Memory.
    pub memory: Memory,
    /// Resources by state.
    pub counts: Counts,
    /// By kind.
    pub by_kind: Vec<Row>,
    /// By namespace.
    pub by_namespace: Vec<Row>,
    /// By owner.
    pub by_owner: Vec<Row>,
    /// Owners left out.
    pub owners_omitted: u64,
    /// Resources, the largest first.
    pub resources: Vec<Resource>,
    /// Resources left out.
    pub resources_omitted: u64,
    /// Bytes of those.
    pub resources_omitted_bytes: u64,
    /// Draining.
    pub draining: Draining,
    /// Nested sums; null unless asked for.
    pub treemap: Option<Vec<Dimension>>,
    /// What could be changed.
    pub savings: Option<Vec<Saving>>,
}

/// What one change saves.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Saving {
    /// What is changed.
    pub title: String,
    /// How, and what else it does.
    pub how: String,
    /// Bytes less in `allocated`.
    pub saved: Estimate,
    /// Bytes less outside the allocator.
    pub saved_outside_allocator: Estimate,
}

/// Memory of a proxy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// What `/memory` is expected to show.
    pub allocated: Estimate,
    /// An idle process.
    pub base: Estimate,
    /// Everything else in `allocated`.
    pub config: Estimate,
    /// LuaJIT, V8.
    pub outside_allocator: Estimate,
    /// Anonymous resident memory.
    pub resident: Estimate,
    /// What the proxy said.
    pub observed: Option<Observed>,
    /// Observed minus predicted.
    pub residual_bytes: Option<i64>,
    /// The limit given.
    pub limit_bytes: Option<u64>,
}

/// What the proxy said.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Live bytes.
    pub allocated: u64,
    /// Heap.
    pub heap_size: Option<u64>,
    /// Physical.
    pub physical: Option<u64>,
    /// `memory` or `stats`.
    pub source: String,
}

/// A kind, namespace or owner.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Its name.
    #[serde(alias = "kind")]
    pub name: String,
    /// Resources.
    pub count: u64,
    /// Estimated bytes.
    pub bytes: u64,
    /// Bytes of JSON.
    pub json_bytes: u64,
}

/// A resource.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Owner.
    pub owner: String,
    /// State.
    pub state: String,
    /// Its own bytes.
    pub bytes: u64,
    /// With what only it leads to.
    pub retained_bytes: u64,
    /// Length as written.
    pub json_bytes: u64,
    /// Bytes of JSON by field; fields include what is in them.
    pub fields: Vec<Field>,
    /// Place.
    pub source: Source,
}

/// A field of a resource.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Field {
    /// `virtual_hosts[].routes[]`.
    pub path: String,
    /// Bytes as written.
    pub json_bytes: u64,
}

/// Draining.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Draining {
    /// Listeners the dump shows.
    pub listeners_in_dump: u64,
    /// Listeners by the gauge.
    pub listeners_implied: Option<u64>,
    /// Chains by the gauge.
    pub filter_chains_implied: Option<u64>,
    /// Inline tables of hidden generations.
    pub route_tables_unexplained: u64,
    /// TLS contexts of hidden generations.
    pub tls_contexts_unexplained: Option<u64>,
    /// Bytes.
    pub bytes: u64,
    /// What the evidence cannot tell.
    pub needs_recording: Vec<String>,
}

/// The maps of a node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bpf {
    /// Sums over all maps.
    pub totals: BpfTotals,
    /// Sums by owner.
    pub groups: Vec<BpfGroup>,
    /// Maps of one owner, name and shape.
    pub rows: Vec<BpfRow>,
    /// Every map.
    pub maps: Vec<BpfMap>,
    /// Its findings, where it is a part of an analysis.
    pub findings: Vec<Finding>,
}

/// Sums over maps.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct BpfTotals {
    /// Maps.
    pub maps: u64,
    /// `bytes_memlock`.
    pub memlock: u64,
    /// What the model gives for it.
    pub predicted_memlock: u64,
    /// What the allocator hands out.
    pub real: u64,
    /// What containers are charged.
    pub charged: u64,
}

/// An owner's maps.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BpfGroup {
    /// Owner.
    pub owner: String,
    /// Sums.
    #[serde(flatten)]
    pub totals: BpfTotals,
}

/// Maps of one shape.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BpfRow {
    /// Owner.
    pub owner: String,
    /// The outer map.
    pub parent: Option<String>,
    /// Name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub map_type: String,
    /// `max_entries` of each.
    pub entries_max: u64,
    /// Live entries.
    pub live: Option<u64>,
    /// Sums.
    #[serde(flatten)]
    pub totals: BpfTotals,
}

/// The section of `check`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    /// No gate failed.
    pub ok: bool,
    /// Gates by what they said.
    pub totals: CheckTotals,
    /// The gates, the worst first.
    pub gates: Vec<Gate>,
}

/// Gates by what they said.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct CheckTotals {
    /// Over their limit.
    pub failed: u64,
    /// Over a limit that only warns.
    pub warned: u64,
    /// Over their limit, with a reason.
    pub suppressed: u64,
    /// Without a number.
    pub skipped: u64,
    /// Within their limit.
    pub passed: u64,
}

/// A gate.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// `fail`, `warn`, `suppressed`, `skipped` or `pass`.
    pub status: String,
    /// Stable name.
    pub rule: String,
    /// The proxy; empty for the run as a whole.
    pub proxy: String,
    /// One line that says it.
    pub message: String,
    /// Why it is suppressed.
    pub reason: String,
    /// Where it shows.
    pub places: Vec<Evidence>,
    /// Places left out.
    pub places_omitted: u64,
}

/// Simulated runs over one recording.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// What is in the recording.
    pub recording: RecordingFigures,
    /// The runs, the recorded one first.
    pub runs: Vec<Run>,
    /// `whatif`: the best run; nothing when none keeps the bounds.
    pub winner: Option<Winner>,
    /// What must be known to read the figures.
    pub notes: Vec<String>,
}

/// The best run of a what-if.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Winner {
    /// The scenario.
    pub scenario: String,
    /// In one sentence.
    pub why: String,
}

/// One type of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OfType {
    /// `LDS`, `CDS` …
    pub xds: String,
    /// Responses sent.
    pub pushes_sent: u64,
    /// Changes that brought something new.
    pub changes: u64,
    /// How long they waited.
    pub staleness_ms: Staleness,
}

/// Connections that drains close at their end.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct ConnectionsCut {
    /// At least.
    pub least: u64,
    /// At most.
    pub most: u64,
    /// Drains of which nothing is known.
    pub drains_unknown: u64,
}

/// What is in a recording.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RecordingFigures {
    /// First moment, in seconds on the recording's own axis.
    pub from: f64,
    /// Last moment.
    pub until: f64,
    /// Responses.
    pub pushes: u64,
    /// Times were made up.
    pub times_assumed: bool,
}

/// A run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    /// What is other than in the recording; empty in a replay.
    pub scenario: String,
    /// Policy.
    pub policy: String,
    /// Drain time.
    pub drain_time_s: f64,
    /// Envoy.
    pub envoy: RunEnvoy,
    /// Responses sent.
    pub pushes_sent: Option<u64>,
    /// How long changes waited.
    pub staleness_ms: Option<Staleness>,
    /// The same for each type.
    pub by_type: Vec<OfType>,
    /// Whole listeners that drained.
    pub listeners_drained: Option<u64>,
    /// Filter chains that drained in place.
    pub filter_chains_drained: Option<u64>,
    /// Connections that drains close, where something says how many there were.
    pub connections_cut: Option<ConnectionsCut>,
    /// Peak against the first run.
    pub delta_peak: Option<i64>,
    /// No other run is better in both peak and staleness.
    pub pareto: bool,
    /// Why it is a bound only.
    pub bound: Option<String>,
    /// The highest `allocated`; nothing where the input has no resources, and so no memory.
    pub peak: Option<Peak>,
    /// The end of the recording.
    #[serde(deserialize_with = "or_default")]
    pub end: End,
    /// When memory first passes the limit.
    pub over_limit_t: Option<f64>,
    /// A row at each change.
    pub timeline: Vec<Moment>,
    /// Responses.
    pub pushes: Vec<Push>,
    drains: Option<Drains>,
    drain_log: Vec<Drain>,
}

impl Run {
    /// The scenario, or the policy of a replay.
    pub(super) fn name(&self) -> &str {
        if self.scenario.is_empty() { &self.policy } else { &self.scenario }
    }

    /// What drained, where it is listed.
    pub(super) fn drains(&self) -> &[Drain] {
        match &self.drains {
            Some(Drains::List(list)) => list,
            _ => &self.drain_log,
        }
    }

    /// How many drains there were.
    pub(super) fn drains_total(&self) -> u64 {
        match &self.drains {
            Some(Drains::Count(n)) => *n,
            _ => self.drains().len() as u64,
        }
    }

    /// The highest `allocated`, in bytes.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        self.peak.as_ref().map(|p| p.allocated.bytes)
    }
}

/// `null` is nothing.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// A list in `replay`, a number in `whatif`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Drains {
    List(Vec<Drain>),
    Count(u64),
}

/// Envoy's side of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunEnvoy {
    /// Version.
    pub version: String,
    /// Worker threads.
    pub concurrency: u32,
    /// Memory limit.
    pub limit: Option<u64>,
}

/// Milliseconds that changes waited.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub struct Staleness {
    /// Half of them at most.
    pub p50: f64,
    /// All but one in a hundred at most.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// The peak.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Peak {
    /// When.
    pub t: f64,
    /// What `/memory` would show.
    pub allocated: Estimate,
    /// Anonymous resident memory.
    pub resident: u64,
    /// What only old generations hold.
    pub draining_bytes: u64,
    /// Listeners.
    pub listeners_draining: u64,
    /// Filter chains.
    pub filter_chains_draining: u64,
    /// Old generations of in-place updates.
    pub groups_draining: u64,
    /// The push that raised it last.
    pub cause: String,
}

/// The end.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct End {
    /// When.
    pub t: f64,
    /// `allocated` then.
    pub allocated: u64,
    /// What never goes.
    pub leaked: Leaked,
    /// What a fresh Envoy would allocate.
    pub restarted: u64,
}

/// What never goes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Leaked {
    /// Listeners.
    pub listeners: u64,
    /// Filter chains.
    pub filter_chains: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A row of a timeline; it holds until the next one.
#[derive(Debug, Default, Clone, Copy, Deserialize, Serialize)]
#[serde(default)]
pub struct Moment {
    /// From when.
    pub t: f64,
    /// `allocated`.
    pub allocated: u64,
    /// Anonymous resident memory.
    pub resident: u64,
    /// Of `allocated`, what only old generations hold.
    pub draining_bytes: u64,
    /// Active listeners.
    pub listeners_active: u64,
    /// Warming listeners.
    pub listeners_warming: u64,
    /// Draining listeners.
    pub listeners_draining: u64,
    /// Draining filter chains.
    pub filter_chains_draining: u64,
    /// Old generations of in-place updates.
    pub groups_draining: u64,
    /// Active clusters.
    pub clusters_active: u64,
}

/// A response and what it did.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Push {
    /// When.
    pub t: f64,
    /// `LDS`, `CDS` …
    pub xds: String,
    /// Full type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Version.
    pub version: String,
    /// Resources in it.
    pub resources: u64,
    /// New.
    pub added: u64,
    /// Replaced whole.
    pub modified_full: u64,
    /// Changed where they are.
    pub modified_in_place: u64,
    /// Removed.
    pub removed: u64,
    /// Equal to what was there.
    pub no_op: u64,
    /// Of the changed ones, those whose order alone changed.
    pub order_only: u64,
    /// Rejected.
    pub rejected: u64,
}

/// One drain.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Drain {
    /// Listener.
    pub listener: String,
    /// Version of the old generation.
    pub version: String,
    /// `listener` or `filter_chains`.
    pub what: String,
    /// Begin.
    pub began: f64,
    /// End.
    pub ends: f64,
    /// Bytes freed at its end.
    pub bytes: u64,
}

impl Push {
    /// It changed something, or tried to.
    pub(super) fn changed(&self) -> bool {
        self.added + self.modified_full + self.modified_in_place + self.removed + self.rejected > 0
    }

    /// What it did, in words.
    pub(super) fn words(&self) -> String {
        let parts: Vec<String> = [
            (self.added, "added"),
            (self.modified_full, "replaced whole"),
            (self.modified_in_place, "changed in place"),
            (self.removed, "removed"),
            (self.rejected, "rejected"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
        let mut out = if parts.is_empty() { "nothing changed".to_owned() } else { parts.join(", ") };
        if self.order_only > 0 {
            out.push_str(&format!(", {} by order alone", self.order_only));
        }
        out
    }
}

/// A map, as `bpf` lists it.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct BpfMap {
    /// Id.
    pub id: u32,
    /// Name.
    pub name: Option<String>,
    /// Type.
    #[serde(rename = "type")]
    pub map_type: String,
    /// Owner.
    pub owner: String,
    /// The outer map's id.
    pub parent: Option<u32>,
    /// `max_entries`.
    pub entries_max: u64,
    /// Live entries, where known.
    pub entries_live: Option<u64>,
    /// `bytes_memlock`.
    pub memlock: Option<u64>,
    /// What the model gives for it.
    pub predicted_memlock: Option<u64>,
    /// What the allocator hands out.
    pub real: Option<u64>,
}

impl Document {
    /// The runs of a replay or what-if.
    pub(super) fn runs(&self) -> &[Run] {
        match &self.body {
            Body::Runs(r) => &r.runs,
            _ => &[],
        }
    }

    /// The proxies of an analysis; none in other kinds.
    pub(super) fn proxies(&self) -> &[Proxy] {
        match &self.body {
            Body::Analysis(a) => &a.proxies,
            _ => &[],
        }
    }

    /// The node's maps, in a report of their own or beside proxies.
    pub(super) fn bpf(&self) -> Option<&Bpf> {
        match &self.body {
            Body::Analysis(a) => a.bpf.as_ref(),
            Body::Bpf(b) => Some(b),
            Body::Runs(_) | Body::Check(_) | Body::Diff(_) | Body::Other => None,
        }
    }

    /// Reads a report from its JSON.
    ///
    /// # Errors
    /// One line that says what is wrong with it: not JSON, not a report, or of a newer contract.
    pub fn read(json: &str) -> Result<Self, String> {
        let wrong = |e: serde_json::Error| format!("is no report of meshdump: {e}");
        let head: Head = serde_json::from_str(json).map_err(wrong)?;
        if head.api_version != "meshdump/v1" {
            return Err(format!(
                "is no report of meshdump: api_version is `{}`, expected `meshdump/v1`",
                super::clean(&head.api_version)
            ));
        }
        let body = match (head.kind.as_str(), &head.runs) {
            ("analysis" | "inputs", _) => Body::Analysis(serde_json::from_str(json).map_err(wrong)?),
            ("replay" | "whatif", _) => Body::Runs(serde_json::from_str(json).map_err(wrong)?),
            ("diff", _) => Body::Diff(serde_json::from_str(json).map_err(wrong)?),
            ("check", _) => Body::Check(serde_json::from_str(json).map_err(wrong)?),
            ("bpf", None) => Body::Bpf(serde_json::from_str(json).map_err(wrong)?),
            _ => Body::Other,
        };
        Ok(Self { head, body })
    }
}
