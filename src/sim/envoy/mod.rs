//! A simulated Envoy: a state machine over a recorded xDS stream that drains, warms and shares like the real one.
//!
//! [`Prepared::new`] prices every distinct body of a recording once; [`Prepared::run`] then plays any list of [`Step`]s
//! against it, which is cheap: what-ifs run the same recording hundreds of times, re-timed, merged or filtered.
//! [`run`] does both for the recording as it is.
//!
//! The clock is an integer and comes from the steps alone. Rules and their sources: `rules.rs` for what differs between
//! versions; `machine/` for the rest (Envoy's `listener_manager_impl.cc`, `listener_impl.cc`, `lds_api.cc`,
//! `cluster_manager_impl.cc`, `cds_api_helper.cc`, `route_config_provider_manager.cc`, `sds_api.cc`).
//!
//! Not simulated: connections and streams (they can pin old clusters, route tables and TLS contexts), DNS and active
//! health checks (taken as immediate), VHDS and on-demand discovery, hot restart.

mod derive;
mod machine;
mod prepare;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::cost::Estimate;
use crate::cost::envoy::Version;
use crate::model::envoy::Name;
use crate::model::stream::{Applied, BodyId, Recording, Us, XdsType};

pub use prepare::{NameId, Prepared};

/// Envoy's side of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Version; decides rules and prices.
    pub version: Version,
    /// Worker threads.
    pub concurrency: u32,
    /// `--drain-time-s`.
    pub drain_time: Us,
    /// Workers run from the start; without that a [`Action::WorkersStart`] is waited for, and nothing drains before it.
    pub workers_running: bool,
    /// How long warming waits for a dependency that does not say otherwise (15 s in Envoy).
    pub fetch_timeout: Us,
    /// Memory limit to be compared with anonymous resident memory, in bytes.
    pub limit: Option<u64>,
    /// Keep the timeline, the log of resources and the drains, not only totals and the peak.
    pub detail: bool,
    /// Keep the drains also without `detail`.
    pub keep_drains: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: Version { major: 1, minor: 40 },
            concurrency: 2,
            drain_time: Us(600_000_000),
            workers_running: true,
            fetch_timeout: Us(15_000_000),
            limit: None,
            detail: true,
            keep_drains: true,
        }
    }
}

/// One thing that happens to the simulated Envoy.
#[derive(Debug, Clone)]
pub struct Step {
    /// When. Steps are in order of time.
    pub t: Us,
    /// Index of the event in the recording it was made of; what-ifs may give it any meaning.
    pub event: u32,
    /// What.
    pub action: Action,
}

/// What happens in a [`Step`].
#[derive(Debug, Clone)]
pub enum Action {
    /// A response reaches Envoy.
    Push(Arc<StepPush>),
    /// Workers start.
    WorkersStart,
    /// `/drain_listeners`.
    DrainListeners {
        /// `inboundonly`.
        inbound_only: bool,
    },
    /// Nothing but time passes.
    Nothing,
}

/// A response, ready to be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPush {
    /// Type.
    pub kind: XdsType,
    /// Delta or state of the world.
    pub delta: bool,
    /// `version_info`.
    pub version: Name,
    /// In the order of the message.
    pub resources: Vec<BodyId>,
    /// `removed_resources` of a delta response.
    pub removed: Vec<NameId>,
    /// Positions in `resources` that the recording says Envoy rejected.
    pub rejected: Vec<u32>,
    /// Bytes of the response as protobuf, estimated where the recording has JSON.
    pub wire_bytes: u64,
}

/// The state of Envoy from `t` on, as its gauges would show it, and its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// From when.
    pub t: Us,
    /// What `/memory` would show as `allocated`, in bytes.
    pub allocated: u64,
    /// Anonymous resident memory, in bytes.
    pub resident: u64,
    /// Bytes of `allocated` that only draining generations hold.
    pub draining_bytes: u64,
    /// `total_listeners_active`.
    pub listeners_active: u32,
    /// `total_listeners_warming`.
    pub listeners_warming: u32,
    /// `total_listeners_draining`.
    pub listeners_draining: u32,
    /// `total_filter_chains_draining`.
    pub filter_chains_draining: u32,
    /// Old generations that in-place updates keep; no gauge shows them.
    pub groups_draining: u32,
    /// `cluster_manager.active_clusters`.
    pub clusters_active: u32,
    /// `cluster_manager.warming_clusters`.
    pub clusters_warming: u32,
}

impl Row {
    /// Equal but for the time.
    pub fn same_state(&self, other: &Self) -> bool {
        Self { t: other.t, ..*self } == *other
    }
}

/// What one push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, schemars::JsonSchema)]
pub struct Effect {
    /// Index into the steps.
    #[serde(skip)]
    pub step: u32,
    /// Resources in the response.
    pub resources: u32,
    /// New ones.
    pub added: u32,
    /// Replaced whole: listeners that drain, clusters.
    pub modified_full: u32,
    /// Changed where they are: listeners' filter chains, route tables, endpoints, secrets.
    pub modified_in_place: u32,
    /// Removed.
    pub removed: u32,
    /// Equal to what Envoy had.
    pub no_op: u32,
    /// Of the changed ones: those in which only the order of lists changed.
    pub order_only: u32,
    /// Of the equal ones: those whose bytes differ.
    pub equal_meaning: u32,
    /// Rejected.
    pub rejected: u32,
    /// Not asked for by anything, so not used.
    pub unused: u32,
    /// Warming generations that this push replaced or dropped before they were used.
    pub superseded: u32,
    /// Bytes taken while the response is handled and free again afterwards.
    pub transient: u64,
}

/// A change that did not need to be one: the same resource, equal but for the order of lists or for the writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flap {
    /// Type.
    pub kind: XdsType,
    /// Resource.
    pub name: Name,
    /// Times it happened.
    pub times: u32,
    /// Only the order of lists changed, so that Envoy takes it for a change; else only the writing did, and it does not.
    pub order: bool,
    /// The first two bodies that differ so.
    pub example: (BodyId, BodyId),
}

/// One drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Listener.
    pub name: Name,
    /// Version under which the old generation came.
    pub version: Name,
    /// Filter chains draining in place; `None` for a whole listener.
    pub chains: Option<u32>,
    /// Begin.
    pub began: Us,
    /// End.
    pub ends: Us,
    /// Bytes that were freed, or would be at the end of the recording.
    pub bytes: u64,
    /// Inline route tables and TLS contexts it holds alone, which `/config_dump` (static_route_configs) and `/certs` list.
    pub inline_tables: u32,
    /// TLS contexts it holds alone.
    pub tls_contexts: u32,
    /// Step that caused it.
    pub step: u32,
}

/// How much drained in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Whole listeners.
    pub listeners: u64,
    /// Old generations of in-place updates, whether chains drained in them or not.
    pub groups: u64,
    /// Filter chains that drained in those.
    pub filter_chains: u64,
}

impl Drained {
    /// Drains begun.
    pub fn total(self) -> u64 {
        self.listeners + self.groups
    }
}

/// How one resource was taken, for comparison with Envoy's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// When.
    pub t: Us,
    /// Type.
    pub kind: XdsType,
    /// Name.
    pub name: Name,
    /// How.
    pub how: Applied,
}

/// Why memory was highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// When it was reached first.
    pub t: Us,
    /// State then.
    pub row: Row,
    /// With bounds.
    pub allocated: Estimate,
    /// The push that raised it last; `None` when nothing was pushed.
    pub step: Option<u32>,
}

/// A listener as Envoy shows it, and as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// Name.
    pub name: Name,
    /// `active_state.version_info`: not moved by in-place updates.
    pub shown_version: Option<Name>,
    /// Version whose configuration is in use.
    pub active_version: Option<Name>,
    /// `warming_state.version_info`; an in-place update has that of the active one already.
    pub warming_version: Option<Name>,
    /// `draining_state.version_info`: the oldest draining generation.
    pub draining_shown: Option<Name>,
    /// It has an `error_state`: the last LDS response had it and Envoy refused it.
    pub refused: bool,
    /// Draining generations that the dump lists: one per name since 1.13, all before.
    pub draining_listed: u32,
    /// Whole generations draining.
    pub draining: u32,
    /// Old generations kept by in-place updates.
    pub groups: u32,
    /// Filter chains draining in them, as the gauge counts.
    pub chains_draining: u32,
    /// Bytes only those old generations hold.
    pub pinned_bytes: u64,
}

/// A cluster of CDS as Envoy shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// Name.
    pub name: Name,
    /// `version_info` under `dynamic_active_clusters`.
    pub active_version: Option<Name>,
    /// `version_info` under `dynamic_warming_clusters`.
    pub warming_version: Option<Name>,
}

/// What filter chains or clusters subscribe to by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionView {
    /// RDS, SRDS, SDS or ECDS.
    pub kind: XdsType,
    /// Name.
    pub name: Name,
    /// Something came for it.
    pub held: bool,
}

/// Counters of Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
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
    /// Responses that were rejected, wholly or in part.
    pub updates_rejected: u64,
}

/// What is held for good though nothing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaked {
    /// Listeners that warm for ever, since what they wait for has no timeout and never came.
    pub listeners: u32,
    /// Active filter chains that Envoy closes and marks as draining all the same (≥ 1.36).
    pub filter_chains: u32,
    /// Bytes of warming-for-ever listeners, and what removed clusters leave in tables that do not shrink.
    pub bytes: u64,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// Time of the last step.
    pub t: Us,
    /// State then.
    pub row: Row,
    /// What never goes.
    pub leaked: Leaked,
    /// State once every timer has ended, if nothing more is pushed.
    pub settled: Row,
    /// What a fresh Envoy with the final configuration allocates.
    pub restarted: u64,
    /// Listeners at the end, both views.
    pub listeners: Vec<ListenerView>,
    /// Clusters of CDS at the end, by name.
    pub clusters: Vec<ClusterView>,
    /// What is subscribed to by name at the end.
    pub subscriptions: Vec<SubscriptionView>,
    /// `static_route_configs` that a dump would list at the end: inline tables of hidden generations included.
    pub inline_tables_shown: u32,
    /// Of those, tables of the active listeners.
    pub inline_tables_active: u32,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Rows at each change, also beyond the end of the recording until every timer has ended.
    pub timeline: Vec<Row>,
    /// Parallel to the pushes among the steps.
    pub pushes: Vec<Effect>,
    /// The highest `allocated`.
    pub peak: Peak,
    /// State of Envoy at the end.
    pub end: End,
    /// Counters at the end of the recording.
    pub counters: Counters,
    /// All drains, by begin.
    pub drains: Vec<Drain>,
    /// Drains, counted also without detail.
    pub drained: Drained,
    /// Changes that did not need to be, the most frequent first.
    pub flaps: Vec<Flap>,
    /// How each resource was taken.
    pub taken: Vec<Taken>,
    /// Most transient bytes of one response, and its step.
    pub transient: (u64, u32),
    /// When anonymous resident memory first went over the limit.
    pub over_limit: Option<Us>,
}

/// Replays a recording as it is.
pub fn run(recording: &Recording, settings: &Settings) -> Run {
    let prepared = Prepared::new(recording, settings);
    let steps = prepared.steps(recording);
    prepared.run(&steps, settings)
}
