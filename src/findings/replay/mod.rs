//! The report value of `meshdump replay`: a simulated Envoy over a recorded stream.
//!
//! The field names are the JSON contract; additions only inside v1.

mod codes;
mod observed;
mod rules;

use serde::Serialize;

use super::Finding;
use super::analysis::{Input, ProblemReport, Tool, problem_report};
use crate::cost::Estimate;
use crate::model::problem::Problem;
use crate::model::stream::{Recording, Us, What, XdsType};
use crate::sim::envoy::{Action, Effect, Prepared, Row, Run, Settings, Step, StepPush};

pub use codes::CODES;
pub use observed::Observation;

/// The whole report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Replay {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `replay`.
    pub kind: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub inputs: Vec<Input>,
    /// What is in the recording.
    pub recording: RecordingReport,
    /// The runs: one, of the recording as it is.
    pub runs: Vec<RunReport>,
    /// What it means, the most serious first.
    pub findings: Vec<Finding>,
    /// What could not be read, or was read with leniency.
    pub problems: Vec<ProblemReport>,
}

/// What a recording holds.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct RecordingReport {
    /// First and last moment, in seconds on the recording's own axis.
    pub from: f64,
    /// End.
    pub until: f64,
    /// Responses.
    pub pushes: u64,
    /// Resources over all responses.
    pub resources: u64,
    /// Different bodies among them.
    pub distinct_bodies: u64,
    /// Times were made up, one second apart.
    pub times_assumed: bool,
    /// Stretches of which nothing is known.
    pub gaps: Vec<Gap>,
    /// Resources of types that are not simulated, by type.
    pub not_simulated: Vec<(String, u64)>,
}

/// A stretch of which nothing is known.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Gap {
    /// Begin.
    pub t: f64,
    /// End.
    pub until: f64,
    /// `poll`, `truncated`, `reconnect`, `sequence` or `out_of_order`.
    pub reason: &'static str,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A flag.
    Given,
    /// `/server_info`.
    Observed,
    /// Envoy's default.
    Assumed,
}

/// Envoy's side of a run.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct EnvoyReport {
    /// Version.
    pub version: String,
    /// Where from.
    pub version_from: Origin,
    /// Worker threads.
    pub concurrency: u32,
    /// Where from.
    pub concurrency_from: Origin,
    /// Where the drain time comes from.
    pub drain_time_from: Origin,
    /// `gradual` or `immediate`: how connections are closed while a listener drains; it does not change how long that is.
    pub drain_strategy: String,
    /// Memory limit, when given.
    pub limit: Option<u64>,
}

/// One run.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct RunReport {
    /// `recorded`, or the policy of a what-if.
    pub policy: String,
    /// Drain time in seconds.
    pub drain_time_s: f64,
    /// Envoy.
    pub envoy: EnvoyReport,
    /// The highest `allocated`.
    pub peak: PeakReport,
    /// The end of the recording, and what comes after.
    pub end: EndReport,
    /// When anonymous resident memory first passes the limit.
    pub over_limit_t: Option<f64>,
    /// A row at each change; values hold until the next row. Rows after the end of the recording show timers ending.
    pub timeline: Vec<RowReport>,
    /// The responses.
    pub pushes: Vec<PushReport>,
    /// What drained.
    pub drains: Vec<DrainReport>,
    /// Drains in all.
    pub drains_total: u64,
    /// Of those, whole listeners; the rest are old generations of in-place updates.
    pub listeners_drained: u64,
    /// Filter chains that drained in these.
    pub filter_chains_drained: u64,
    /// Changes that did not need to be.
    pub flaps: Vec<FlapReport>,
    /// Counters at the end of the recording.
    pub counters: CountersReport,
    /// Against what was really seen.
    pub observed: Vec<Observation>,
}

/// The peak.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PeakReport {
    /// When it was reached first.
    pub t: f64,
    /// What `/memory` would show.
    pub allocated: Estimate,
    /// Anonymous resident memory.
    pub resident: u64,
    /// Of `allocated`, what only old generations hold.
    pub draining_bytes: u64,
    /// `total_listeners_draining`.
    pub listeners_draining: u32,
    /// `total_filter_chains_draining`.
    pub filter_chains_draining: u32,
    /// Old generations of in-place updates, which no gauge shows.
    pub groups_draining: u32,
    /// The push that raised it last, in words; empty without pushes.
    pub cause: String,
    /// Its index in `pushes`.
    pub cause_push: Option<u32>,
    /// Largest memory taken while one response was handled, on top of the settled values, and its push.
    pub transient: TransientReport,
}

/// Memory of one response.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct TransientReport {
    /// Bytes.
    pub bytes: u64,
    /// When.
    pub t: Option<f64>,
    /// Index in `pushes`.
    pub push: Option<u32>,
}

/// The end.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct EndReport {
    /// Time of the recording's last event.
    pub t: f64,
    /// `allocated` then.
    pub allocated: u64,
    /// Anonymous resident memory then.
    pub resident: u64,
    /// What never goes.
    pub leaked: LeakedReport,
    /// What still drains.
    pub draining: DrainingReport,
    /// Once every timer has ended, if nothing more is pushed.
    pub settled: SettledReport,
    /// What a fresh Envoy with the final configuration allocates.
    pub restarted: u64,
    /// Both views of each listener that has anything but one active generation.
    pub listeners: Vec<ListenerReport>,
    /// Clusters that warm still, by name.
    pub clusters_warming: Vec<WarmingReport>,
    /// What is subscribed to by name and never came: RDS, SRDS, SDS, ECDS.
    pub awaited: Vec<AwaitedReport>,
    /// `static_route_configs` a dump would list, and how many of them active listeners have.
    pub inline_tables: InlineTables,
}

/// Inline route tables, as `/config_dump` lists them.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct InlineTables {
    /// Listed.
    pub shown: u32,
    /// Of active listeners.
    pub active: u32,
}

/// What never goes.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct LeakedReport {
    /// Listeners that warm for ever.
    pub listeners: u32,
    /// Active filter chains marked as draining.
    pub filter_chains: u32,
    /// Bytes.
    pub bytes: u64,
}

/// What still drains at the end.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct DrainingReport {
    /// `total_listeners_draining`.
    pub listeners: u32,
    /// `total_filter_chains_draining`.
    pub filter_chains: u32,
    /// Old generations of in-place updates.
    pub groups: u32,
    /// Bytes only they hold.
    pub bytes: u64,
    /// When the last of them is gone; null when nothing drains.
    pub gone_at: Option<f64>,
}

/// After all timers.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct SettledReport {
    /// When.
    pub t: f64,
    /// `allocated` then.
    pub allocated: u64,
}

/// A cluster that warms.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct WarmingReport {
    /// Name.
    pub name: String,
    /// `version_info` under `dynamic_warming_clusters`.
    pub version: String,
}

/// A subscription without an answer.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct AwaitedReport {
    /// `RDS`, `SRDS`, `SDS` or `ECDS`.
    pub xds: &'static str,
    /// What is asked for.
    pub name: String,
}

/// A listener as Envoy shows it, and as it is.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ListenerReport {
    /// Name.
    pub name: String,
    /// `active_state.version_info` of the dump.
    pub shown_version: Option<String>,
    /// Version in use.
    pub active_version: Option<String>,
    /// `warming_state.version_info`.
    pub warming_version: Option<String>,
    /// `draining_state.version_info`.
    pub draining_shown: Option<String>,
    /// Envoy shows an `error_state`: the last LDS response had it, and it was refused.
    pub refused: bool,
    /// Draining generations the dump lists.
    pub draining_listed: u32,
    /// Draining generations there are.
    pub draining: u32,
    /// Old generations of in-place updates there are; the dump lists none.
    pub groups: u32,
    /// Their chains, as the gauge counts.
    pub filter_chains_draining: u32,
    /// Bytes only those old generations hold.
    pub pinned_bytes: u64,
}

/// A row of the timeline.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct RowReport {
    /// From when.
    pub t: f64,
    /// `/memory`'s `allocated`.
    pub allocated: u64,
    /// Anonymous resident memory.
    pub resident: u64,
    /// Of `allocated`, what only old generations hold.
    pub draining_bytes: u64,
    /// `total_listeners_active`.
    pub listeners_active: u32,
    /// `total_listeners_warming`.
    pub listeners_warming: u32,
    /// `total_listeners_draining`.
    pub listeners_draining: u32,
    /// `total_filter_chains_draining`.
    pub filter_chains_draining: u32,
    /// Old generations of in-place updates.
    pub groups_draining: u32,
    /// `active_clusters`.
    pub clusters_active: u32,
    /// `warming_clusters`.
    pub clusters_warming: u32,
}

/// A response and what it did.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PushReport {
    /// When.
    pub t: f64,
    /// `LDS`, `CDS` …
    pub xds: &'static str,
    /// Full type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// `version_info`.
    pub version: String,
    /// What it did.
    #[serde(flatten)]
    pub effect: Effect,
}

/// One drain.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct DrainReport {
    /// Listener.
    pub listener: String,
    /// Version of the old generation.
    pub version: String,
    /// `listener` or `filter_chains`.
    pub what: &'static str,
    /// Filter chains, for those of an in-place update.
    pub filter_chains: Option<u32>,
    /// Begin.
    pub began: f64,
    /// End.
    pub ends: f64,
    /// Bytes freed at its end.
    pub bytes: u64,
    /// Inline route tables it pins.
    pub inline_tables: u32,
    /// TLS contexts it pins.
    pub tls_contexts: u32,
    /// Push that caused it.
    pub push: Option<u32>,
}

/// Changes that did not need to be.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct FlapReport {
    /// `LDS`, `CDS` …
    pub xds: &'static str,
    /// Resource.
    pub name: String,
    /// Times.
    pub times: u32,
    /// `order`: Envoy takes it for a change; `writing`: it does not.
    pub what: &'static str,
    /// The first field that differs, as a path.
    pub field: String,
}

/// Envoy's counters.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct CountersReport {
    /// `listener_added`.
    pub listener_added: u64,
    /// `listener_modified`.
    pub listener_modified: u64,
    /// `listener_removed`.
    pub listener_removed: u64,
    /// `listener_in_place_updated`.
    pub listener_in_place_updated: u64,
    /// `cluster_added`.
    pub cluster_added: u64,
    /// `cluster_modified`.
    pub cluster_modified: u64,
    /// `cluster_removed`.
    pub cluster_removed: u64,
    /// Responses rejected, wholly or in part.
    pub updates_rejected: u64,
}

/// Seconds of a moment, on the recording's own axis.
pub fn seconds(t: Us) -> f64 {
    t.0 as f64 / 1e6
}

/// The short name of a type.
pub fn xds(kind: XdsType) -> &'static str {
    match kind {
        XdsType::Listener => "LDS",
        XdsType::RouteConfig => "RDS",
        XdsType::ScopedRoutes => "SRDS",
        XdsType::VirtualHost => "VHDS",
        XdsType::Cluster => "CDS",
        XdsType::Endpoints => "EDS",
        XdsType::Secret => "SDS",
        XdsType::ExtensionConfig => "ECDS",
        XdsType::Other => "other",
    }
}

/// What a report is made of.
#[derive(Debug)]
pub struct Played<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// The same, priced.
    pub prepared: &'a Prepared,
    /// What was played.
    pub steps: &'a [Step],
    /// Envoy.
    pub settings: &'a Settings,
    /// The result.
    pub run: &'a Run,
}

impl Played<'_> {
    fn push(&self, step: u32) -> Option<&StepPush> {
        match self.steps.get(step as usize).map(|s| &s.action) {
            Some(Action::Push(push)) => Some(push),
            _ => None,
        }
    }

    /// The index in `pushes` of a step.
    fn push_index(&self, step: u32) -> Option<u32> {
        self.run.pushes.binary_search_by_key(&step, |e| e.step).ok().map(|i| i as u32)
    }

    /// A push in words: `LDS push 7 (version 12) at 3.5 s: 1 replaced whole`.
    fn words(&self, step: u32) -> String {
        let Some((push, index)) = self.push(step).zip(self.push_index(step)) else { return String::new() };
        let effect = &self.run.pushes[index as usize];
        let did: Vec<String> = [
            (effect.added, "added"),
            (effect.modified_full, "replaced whole"),
            (effect.modified_in_place, "changed in place"),
            (effect.removed, "removed"),
            (effect.rejected, "rejected"),
        ]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
        let did = if did.is_empty() { "nothing changed".to_owned() } else { did.join(", ") };
        let version = if push.version.is_empty() { String::new() } else { format!(" (version {})", push.version) };
        let t = seconds(self.steps[step as usize].t);
        format!("{} push {index}{version} at t={t}: {did}", xds(push.kind))
    }

    /// The report of this run.
    pub fn report(&self, policy: &str, envoy: EnvoyReport) -> RunReport {
        let run = self.run;
        let last = run.drains.iter().filter(|d| d.ends > run.end.t && d.began <= run.end.t).map(|d| d.ends).max();
        let row = run.end.row;
        let text = |n: &Option<crate::model::envoy::Name>| n.as_ref().map(ToString::to_string);
        RunReport {
            policy: policy.to_owned(),
            drain_time_s: seconds(self.settings.drain_time),
            envoy,
            peak: PeakReport {
                t: seconds(run.peak.t),
                allocated: run.peak.allocated,
                resident: run.peak.row.resident,
                draining_bytes: run.peak.row.draining_bytes,
                listeners_draining: run.peak.row.listeners_draining,
                filter_chains_draining: run.peak.row.filter_chains_draining,
                groups_draining: run.peak.row.groups_draining,
                cause: run.peak.step.map(|s| self.words(s)).unwrap_or_default(),
                cause_push: run.peak.step.and_then(|s| self.push_index(s)),
                transient: TransientReport {
                    bytes: run.transient.0,
                    t: (run.transient.0 > 0).then(|| seconds(self.steps[run.transient.1 as usize].t)),
                    push: (run.transient.0 > 0).then(|| self.push_index(run.transient.1)).flatten(),
                },
            },
            end: EndReport {
                t: seconds(run.end.t),
                allocated: row.allocated,
                resident: row.resident,
                leaked: LeakedReport {
                    listeners: run.end.leaked.listeners,
                    filter_chains: run.end.leaked.filter_chains,
                    bytes: run.end.leaked.bytes,
                },
                draining: DrainingReport {
                    listeners: row.listeners_draining,
                    filter_chains: row.filter_chains_draining,
                    groups: row.groups_draining,
                    bytes: row.draining_bytes,
                    gone_at: last.map(seconds),
                },
                settled: SettledReport { t: seconds(run.end.settled.t), allocated: run.end.settled.allocated },
                restarted: run.end.restarted,
                listeners: run
                    .end
                    .listeners
                    .iter()
                    .filter(|l| {
                        l.draining + l.groups > 0 || l.warming_version.is_some() || l.shown_version != l.active_version
                    })
                    .map(|l| ListenerReport {
                        name: l.name.to_string(),
                        shown_version: text(&l.shown_version),
                        active_version: text(&l.active_version),
                        warming_version: text(&l.warming_version),
                        draining_shown: text(&l.draining_shown),
                        refused: l.refused,
                        draining_listed: l.draining_listed,
                        draining: l.draining,
                        groups: l.groups,
                        filter_chains_draining: l.chains_draining,
                        pinned_bytes: l.pinned_bytes,
                    })
                    .collect(),
                clusters_warming: run
                    .end
                    .clusters
                    .iter()
                    .filter_map(|c| {
                        let version = c.warming_version.as_ref()?.to_string();
                        Some(WarmingReport { name: c.name.to_string(), version })
                    })
                    .collect(),
                awaited: run
                    .end
                    .subscriptions
                    .iter()
                    .filter(|s| !s.held)
                    .map(|s| AwaitedReport { xds: xds(s.kind), name: s.name.to_string() })
                    .collect(),
                inline_tables: InlineTables {
                    shown: run.end.inline_tables_shown,
                    active: run.end.inline_tables_active,
                },
            },
            over_limit_t: run.over_limit.map(seconds),
            timeline: run.timeline.iter().map(row_report).collect(),
            pushes: run.pushes.iter().filter_map(|e| self.push_report(e)).collect(),
            drains: run
                .drains
                .iter()
                .map(|d| DrainReport {
                    listener: d.name.to_string(),
                    version: d.version.to_string(),
                    what: if d.chains.is_some() { "filter_chains" } else { "listener" },
                    filter_chains: d.chains,
                    began: seconds(d.began),
                    ends: seconds(d.ends),
                    bytes: d.bytes,
                    inline_tables: d.inline_tables,
                    tls_contexts: d.tls_contexts,
                    push: self.push_index(d.step),
                })
                .collect(),
            drains_total: run.drained.total(),
            listeners_drained: run.drained.listeners,
            filter_chains_drained: run.drained.filter_chains,
            flaps: run
                .flaps
                .iter()
                .map(|f| FlapReport {
                    xds: xds(f.kind),
                    name: f.name.to_string(),
                    times: f.times,
                    what: if f.order { "order" } else { "writing" },
                    field: rules::first_difference(self.recording.body(f.example.0), self.recording.body(f.example.1)),
                })
                .collect(),
            counters: CountersReport {
                listener_added: run.counters.listener_added,
                listener_modified: run.counters.listener_modified,
                listener_removed: run.counters.listener_removed,
                listener_in_place_updated: run.counters.listener_in_place_updated,
                cluster_added: run.counters.cluster_added,
                cluster_modified: run.counters.cluster_modified,
                cluster_removed: run.counters.cluster_removed,
                updates_rejected: run.counters.updates_rejected,
            },
            observed: observed::compare(self.recording, &run.timeline),
        }
    }

    fn push_report(&self, e: &Effect) -> Option<PushReport> {
        let push = self.push(e.step)?;
        let step = &self.steps[e.step as usize];
        let type_name = match self.recording.events.get(step.event as usize).map(|e| &e.what) {
            Some(What::Push(p)) => p.type_name.to_string(),
            _ => String::new(),
        };
        Some(PushReport {
            t: seconds(step.t),
            xds: xds(push.kind),
            type_name,
            version: push.version.to_string(),
            effect: *e,
        })
    }
}

fn row_report(r: &Row) -> RowReport {
    RowReport {
        t: seconds(r.t),
        allocated: r.allocated,
        resident: r.resident,
        draining_bytes: r.draining_bytes,
        listeners_active: r.listeners_active,
        listeners_warming: r.listeners_warming,
        listeners_draining: r.listeners_draining,
        filter_chains_draining: r.filter_chains_draining,
        groups_draining: r.groups_draining,
        clusters_active: r.clusters_active,
        clusters_warming: r.clusters_warming,
    }
}

/// What a recording holds.
pub fn recording_report(recording: &Recording) -> RecordingReport {
    let mut out = RecordingReport {
        from: recording.events.first().map_or(0.0, |e| seconds(e.t)),
        until: recording.events.last().map_or(0.0, |e| seconds(e.t)),
        pushes: 0,
        resources: 0,
        distinct_bodies: recording.bodies.len() as u64,
        times_assumed: recording.times_assumed,
        gaps: Vec::new(),
        not_simulated: Vec::new(),
    };
    let mut other = std::collections::BTreeMap::<String, u64>::new();
    for event in &recording.events {
        match &event.what {
            What::Push(p) => {
                out.pushes += 1;
                out.resources += p.resources.len() as u64;
                if matches!(p.kind, XdsType::Other | XdsType::VirtualHost) {
                    *other.entry(p.type_name.to_string()).or_default() += p.resources.len() as u64;
                }
            }
            What::Gap { until, reason } => {
                use crate::model::stream::GapReason::{OutOfOrder, Poll, Reconnect, Sequence, Truncated};
                let reason = match reason {
                    Poll => "poll",
                    Truncated => "truncated",
                    Reconnect => "reconnect",
                    Sequence => "sequence",
                    OutOfOrder => "out_of_order",
                };
                out.gaps.push(Gap { t: seconds(event.t), until: seconds(*until), reason });
            }
            _ => {}
        }
    }
    out.not_simulated = other.into_iter().collect();
    out
}

/// The report over one run.
pub fn replay(
    played: &Played<'_>,
    envoy: EnvoyReport,
    inputs: Vec<Input>,
    problems: &[Problem],
    version: &'static str,
) -> Replay {
    let recording = recording_report(played.recording);
    let run = played.report("recorded", envoy);
    let findings = rules::findings(&recording, &run);
    Replay {
        api_version: "meshdump/v1",
        kind: "replay",
        tool: Tool { version, cost_model: played.prepared.cost_model() },
        inputs,
        recording,
        runs: vec![run],
        findings,
        problems: problems.iter().map(problem_report).collect(),
    }
}
