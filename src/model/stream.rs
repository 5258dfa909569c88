//! A recorded xDS stream: what one Envoy was sent, what it answered and what it showed, on one time axis.
//!
//! Readers in `evidence/recording` fill it from whatever was recorded; `sim` replays it. Bodies are kept once, however
//! often a state-of-the-world push repeats them.

use std::sync::Arc;

use super::envoy::{
    Bootstrap, Cluster, EndpointSet, ExtensionConfig, Listener, Name, RouteTable, ScopedRoutes, Secret, ServerInfo,
};
use super::source::InputId;

/// A moment on the recording's own axis, in microseconds. The axis is never rebased: `t` of the file, or Unix time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Us(pub i64);

/// The xDS types that a simulated Envoy acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum XdsType {
    /// LDS.
    Listener,
    /// RDS.
    RouteConfig,
    /// SRDS.
    ScopedRoutes,
    /// VHDS.
    VirtualHost,
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// SDS.
    Secret,
    /// ECDS.
    ExtensionConfig,
    /// Anything else; counted and sized, not simulated.
    Other,
}

/// Index into [`Recording::bodies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyId(pub u32);

/// A resource as the priced model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// LDS.
    Listener(Box<Listener>),
    /// RDS.
    RouteConfig(Box<RouteTable>),
    /// SRDS.
    ScopedRoutes(Box<ScopedRoutes>),
    /// CDS.
    Cluster(Box<Cluster>),
    /// EDS.
    Endpoints(Box<EndpointSet>),
    /// SDS.
    Secret(Box<Secret>),
    /// ECDS.
    ExtensionConfig(Box<ExtensionConfig>),
    /// Of a type that is not simulated, stripped of its body, or not readable.
    Opaque,
}

/// What decides whether a listener can be updated in place (`supportUpdateFilterChain` of Envoy's `listener_impl.cc`;
/// the rule by version is the simulator's).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerIdentity {
    /// Hash over everything but `filter_chains`, `default_filter_chain` and `filter_chain_matcher`, lists as sets, as
    /// Envoy compares.
    pub rest_hash: u64,
    /// Hash of `default_filter_chain`, 0 without one (part of the comparison before 1.18).
    pub default_chain_hash: u64,
    /// Hash of `filter_chain_matcher`, 0 without one (part of the comparison before 1.22).
    pub matcher_hash: u64,
    /// Hash of each entry of `filter_chains` as Envoy compares them (lists ordered, name included), in order.
    pub chain_hashes: Vec<u64>,
    /// `use_proxy_proto` of the first chain, else of the default chain.
    pub use_proxy_proto: bool,
    /// Effective `enable_reuse_port` / `reuse_port`, as far as written.
    pub reuse_port: Option<bool>,
    /// `fcds_config` is there (≥ 1.35): never in place.
    pub filter_chain_discovery: bool,
    /// A chain matches by what a TLS inspector finds and no listener filter is one, so that up to 1.19 an implicit one is
    /// there.
    pub needs_tls_inspector: bool,
}

/// One distinct resource body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub kind: XdsType,
    /// What it holds.
    pub resource: Resource,
    /// Equal for two bodies exactly when Envoy takes them for equal (≥ 1.12): keys of messages and maps in any order,
    /// lists in order, either spelling of keys, `@type` anywhere, absent equal to the default of a plain scalar.
    pub hash: u64,
    /// As `hash`, but lists in any order too: equal here and different in `hash` means that only order changed.
    pub set_hash: u64,
    /// Listeners only.
    pub listener: Option<ListenerIdentity>,
    /// Hashes by field path for the first levels, (path, hash, set hash), in the order of the text: tells which field
    /// flapped between two bodies.
    pub outline: Arc<[(Name, u64, u64)]>,
    /// Bytes as written in the recording (compact JSON or protobuf).
    pub bytes: u64,
    /// `bytes` is the protobuf's own length, not JSON's.
    pub exact_wire: bool,
    /// Dependencies (RDS, EDS, SDS, ECDS) whose config source sets its own `initial_fetch_timeout`.
    pub fetch_timeouts: Arc<[FetchTimeout]>,
    /// Why Envoy refuses this resource whatever else it holds (two filter chains with one match, an HTTP connection
    /// manager without routes …), as far as the body alone tells.
    pub invalid: Option<Name>,
}

/// How long warming waits for one dependency; without an entry it is Envoy's default of 15 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTimeout {
    /// Type of the dependency.
    pub kind: XdsType,
    /// Its name.
    pub name: Name,
    /// `initial_fetch_timeout`; 0 waits for ever.
    pub timeout: Us,
}

/// One resource of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its body.
    pub body: BodyId,
    /// Its own version (delta), or empty.
    pub version: Name,
}

/// One discovery response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Type.
    pub kind: XdsType,
    /// Full type URL without `type.googleapis.com/`.
    pub type_name: Name,
    /// Delta (true) or state of the world.
    pub delta: bool,
    /// `version_info` or `system_version_info`.
    pub version: Name,
    /// Nonce; empty when not recorded.
    pub nonce: Name,
    /// Resources in the order of the message.
    pub resources: Vec<Pushed>,
    /// `removed_resources` (delta).
    pub removed: Vec<Name>,
    /// Bytes of the response as recorded, 0 when unknown.
    pub bytes: u64,
}

/// How Envoy took one resource, as its log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Applied {
    /// New.
    Added,
    /// Filter chains updated in place.
    InPlace,
    /// Replaced whole.
    Full,
    /// Changed, the log does not say how.
    Updated,
    /// Equal to what it has.
    Skipped,
    /// Removed.
    Removed,
    /// Rejected.
    Rejected,
}

/// What a log line says about a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrainPhase {
    /// Begins.
    Begin,
    /// Is over, memory freed.
    End,
}

/// Why a stretch of the recording is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// Between two polls.
    Poll,
    /// Cut off.
    Truncated,
    /// The stream was closed and opened again.
    Reconnect,
    /// A sequence number or nonce is missing.
    Sequence,
    /// Times go backwards.
    OutOfOrder,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A response reached Envoy.
    Push(Box<Push>),
    /// Envoy acknowledged the response with this nonce.
    Ack {
        /// Type.
        kind: XdsType,
        /// Nonce.
        nonce: Name,
    },
    /// Envoy rejected the response with this nonce.
    Nack {
        /// Type.
        kind: XdsType,
        /// Nonce.
        nonce: Name,
        /// Envoy's message.
        error: Name,
    },
    /// The stream was opened (true) or closed (false).
    Connection(bool),
    /// Workers start: from here on listeners warm and drain.
    WorkersStart,
    /// `/drain_listeners` was called.
    DrainListeners {
        /// `inboundonly`.
        inbound_only: bool,
    },
    /// Envoy's log says how it took a resource.
    Applied {
        /// Type.
        kind: XdsType,
        /// Resource.
        name: Name,
        /// How.
        how: Applied,
        /// Envoy's own hash of the resource, when logged.
        envoy_hash: Option<u64>,
    },
    /// Envoy's log says a drain begins or ends.
    Drain {
        /// Listener.
        name: Name,
        /// Filter chains draining in place; `None` for a whole listener.
        chains: Option<u32>,
        /// Envoy's hash of the draining generation.
        envoy_hash: Option<u64>,
        /// Phase.
        phase: DrainPhase,
    },
    /// A value that was really seen: `server.memory_allocated`, `listener_manager.total_listeners_draining`,
    /// `/memory`'s `allocated` (as `memory.allocated`) and the like, in Envoy's own dotted names.
    Observed {
        /// Metric.
        metric: Name,
        /// Value, in the metric's own unit.
        value: u64,
    },
    /// A control plane's batch, from its own log: first and last event on the axis, and how many.
    Batch {
        /// First event.
        first: Us,
        /// Last event.
        last: Us,
        /// Events merged.
        events: u32,
    },
    /// Nothing is known until `until`.
    Gap {
        /// End.
        until: Us,
        /// Why.
        reason: GapReason,
    },
}

impl What {
    /// The word for it in a recording of our own (`docs/convert.md`).
    pub fn word(&self) -> &'static str {
        match self {
            Self::Push(_) => "push",
            Self::Ack { .. } => "ack",
            Self::Nack { .. } => "nack",
            Self::Connection(_) => "conn",
            Self::WorkersStart => "start",
            Self::DrainListeners { .. } => "drain_listeners",
            Self::Applied { .. } => "apply",
            Self::Drain { .. } => "drain",
            Self::Observed { .. } => "obs",
            Self::Batch { .. } => "batch",
            Self::Gap { .. } => "gap",
        }
    }
}

/// One thing at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub t: Us,
    /// Which file.
    pub input: InputId,
    /// Which stream or connection of it, from 0.
    pub stream: u32,
    /// What.
    pub what: What,
}

/// The same configuration written in another way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rewrite {
    /// Certificates of filter chains by SDS, not inline.
    pub sds: bool,
    /// Route tables by RDS, not inline.
    pub rds: bool,
    /// One filter chain for all server names whose chains are equal otherwise (contour#1636).
    pub merge_chains: bool,
}

impl Rewrite {
    /// As it was recorded.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Everything recorded of one Envoy. Events are sorted by time; those of one moment keep the order of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// Events.
    pub events: Vec<Event>,
    /// Distinct bodies.
    pub bodies: Vec<Body>,
    /// The times were made up (one second apart), since the recording has none.
    pub times_assumed: bool,
    /// What Envoy held when the recording begins, beyond its bootstrap, as bodies (`--base`).
    pub base: Vec<BodyId>,
    /// Bootstrap given with the recording.
    pub bootstrap: Option<Box<Bootstrap>>,
    /// Static resources of the bootstrap.
    pub static_resources: Vec<BodyId>,
    /// `/server_info` given with the recording.
    pub server_info: Option<ServerInfo>,
}

impl Recording {
    /// A body.
    ///
    /// # Panics
    /// When `id` is of another recording.
    pub fn body(&self, id: BodyId) -> &Body {
        &self.bodies[id.0 as usize]
    }
}
