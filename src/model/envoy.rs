//! What one Envoy holds, as its evidence shows it.
//!
//! The types follow `envoy.admin.v3` and `envoy.config.*.v3`, reduced to what is priced, attributed or referred to.

use std::sync::Arc;

use super::source::Span;
use super::weight::Weight;

/// A name. Resources name each other all the time, so readers keep one copy of each text per run.
pub type Name = Arc<str>;

/// Worker threads that are believed. Stats are counted one worker at a time, so a number from nowhere would cost time and
/// memory without bound.
pub const MAX_WORKERS: u32 = 1024;

/// Milliseconds since the Unix epoch, as `last_updated` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

/// Where a resource stands in Envoy's life cycle, as the dump says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// From the bootstrap.
    Static,
    /// In use.
    Active,
    /// Built, waiting for its dependencies.
    Warming,
    /// Replaced or removed, kept until the drain timer ends. The dump shows one generation per name at most (≥ 1.13).
    Draining,
    /// Rejected: only the failed configuration is kept for the dump.
    Error,
}

impl State {
    /// The lower-case word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Active => "active",
            Self::Warming => "warming",
            Self::Draining => "draining",
            Self::Error => "error",
        }
    }
}

/// Resources whose JSON is at least this long, in bytes, are always broken down by field.
pub const LARGE_RESOURCE_BYTES: u64 = 32 << 10;

/// What every resource of a dump has: identity, version, place and weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The resource's name; empty when the dump has none.
    pub name: Name,
    /// Life-cycle state.
    pub state: State,
    /// `version_info` of the wrapper; empty when absent.
    pub version: Name,
    /// `last_updated` of the wrapper: for a listener the time its update was received.
    pub last_updated: Option<UnixMs>,
    /// Place of the element in its document (wrapper included).
    pub span: Span,
    /// Weight of the resource proper (wrapper excluded).
    pub weight: Weight,
    /// Hash over the resource's keys and values in order, the outermost `@type` left out. The same for every layout and
    /// either spelling, for "the same everywhere?" questions.
    pub text_hash: u64,
    /// Clusters named in parts of the resource that are not read in detail (gRPC services, HTTP URIs).
    pub cluster_refs: Option<Arc<Vec<Name>>>,
    /// Bytes of JSON by field path, of large resources, or of all when asked for; the paths start at the entry that holds the resource.
    pub fields: Option<Arc<Vec<(Name, u64)>>>,
}

/// A string that is worth recognising again (certificate, CA bundle, Lua or Wasm code), never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Payload {
    /// What it holds.
    pub kind: PayloadKind,
    /// xxh3-64 of the bytes as written.
    pub hash: u64,
    /// Length of the string as written (base64 for bytes fields).
    pub len_bytes: u32,
    /// It is written in base64, so Envoy holds three quarters of that length.
    pub base64: bool,
}

/// The kinds of [`Payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PayloadKind {
    /// A certificate chain.
    CertificateChain,
    /// A CA bundle (`trusted_ca`).
    CaBundle,
    /// Lua source.
    Lua,
    /// A Wasm module.
    Wasm,
    /// Another long inline string (JWKS, descriptor sets, direct response bodies).
    Other,
}

/// One secret reference of a TLS context.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// In the resource itself.
    Inline(Payload),
    /// Over SDS, by name.
    Sds(Name),
    /// From a file on the proxy's disk.
    File,
}

/// Where a resource that is subscribed to comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Source {
    /// The shared ADS stream, or the bootstrap.
    #[default]
    Shared,
    /// A stream of its own (`api_config_source`).
    OwnStream,
    /// A file (`path_config_source`, `path`).
    File,
}

/// Active health checks by what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct HealthChecks {
    /// All of them.
    pub all: u32,
    /// HTTP requests.
    pub http: u32,
    /// gRPC requests.
    pub grpc: u32,
}

/// An upstream or downstream TLS context. Each one parses its own certificates and CA bundle; Envoy shares none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct TlsContext {
    /// Certificates it presents.
    pub certificates: Vec<SecretRef>,
    /// CA bundles it validates with.
    pub validation: Vec<SecretRef>,
    /// Where its secrets come from.
    pub secrets_source: Source,
    /// SANs it matches.
    pub san_matchers: u32,
    /// ALPN protocols.
    pub alpn_protocols: u32,
}

/// An access logger or listener filter or any other extension, by the type of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The name given in the configuration.
    pub name: Name,
    /// Full type of its configuration without `type.googleapis.com/`, the inner one for a `TypedStruct`;
    /// empty when there is none.
    pub type_name: Name,
    /// Weight of its configuration.
    pub weight: Weight,
    /// Long strings inside.
    pub payloads: Vec<Payload>,
    /// The configuration arrives by ECDS.
    pub config_discovery: bool,
    /// Wasm: the `vm_id`, which with the code decides what VMs are shared.
    pub vm_id: Name,
}

/// Where an HTTP connection manager takes its routes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteSource {
    /// Nothing recognisable.
    None,
    /// `route_config` in the listener: compiled once per chain and generation, never shared.
    Inline(Box<RouteTable>),
    /// `rds`: shared by name and config source.
    Rds(Name),
    /// `scoped_routes`.
    Scoped,
}

/// An HTTP connection manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConnectionManager {
    /// `stat_prefix`: its stats are shared by that name.
    pub stat_prefix: Name,
    /// Routes.
    pub routes: RouteSource,
    /// HTTP filters in order.
    pub http_filters: Vec<Arc<Extension>>,
    /// Access loggers.
    pub access_logs: Vec<Arc<Extension>>,
    /// Where the routes come from, when over RDS.
    pub routes_source: Source,
    /// Upgrade configurations.
    pub upgrades: u32,
    /// Tracing is configured.
    pub tracing: bool,
}

/// A network filter of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFilter {
    /// Its configuration.
    pub extension: Extension,
    /// Set for an HTTP connection manager.
    pub hcm: Option<Box<HttpConnectionManager>>,
    /// Clusters it names itself (`tcp_proxy`, redis, thrift …).
    pub clusters: Vec<Name>,
    /// Access loggers of the filter itself (`tcp_proxy`); the connection manager's own are in `hcm`.
    pub access_logs: Vec<Arc<Extension>>,
    /// `stat_prefix` of the filter.
    pub stat_prefix: Name,
}

/// One filter chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterChain {
    /// Its name; often empty.
    pub name: Name,
    /// It is the `default_filter_chain`.
    pub is_default: bool,
    /// Application protocols it matches (ALPN).
    pub application_protocols: u32,
    /// Server names it matches (SNI).
    pub server_names: Vec<Name>,
    /// Network filters in order.
    pub filters: Vec<NetworkFilter>,
    /// Downstream TLS, if any.
    pub tls: Option<Arc<TlsContext>>,
    /// The transport socket's configuration.
    pub transport_socket: Option<Arc<Extension>>,
    /// Weight of the whole chain.
    pub weight: Weight,
    /// Length as written, in bytes.
    pub len_bytes: u64,
    /// Hash over filters and transport socket: chains equal here differ in name and match only.
    pub body_hash: u64,
    /// Hash over the filters alone.
    pub filters_hash: u64,
}

/// A listener in one of its states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Identity, state, place, weight.
    pub meta: Meta,
    /// `address:port`, a pipe's path, or empty.
    pub address: Name,
    /// `stat_prefix`, when given: its stats are kept under that name instead of the address.
    pub stat_prefix: Name,
    /// Further addresses.
    pub additional_addresses: u32,
    /// False when the listener does not bind its port (Istio's virtual listeners).
    pub bound: bool,
    /// UDP or QUIC.
    pub udp: bool,
    /// `INBOUND`, `OUTBOUND` or empty.
    pub direction: Name,
    /// Filter chains, the default one last.
    pub chains: Vec<FilterChain>,
    /// Listener filters.
    pub listener_filters: Vec<Arc<Extension>>,
    /// Access loggers of the listener itself.
    pub access_logs: Vec<Arc<Extension>>,
    /// The details of `error_state`, when there is one.
    pub error: Option<Name>,
    /// The owner written into metadata by a control plane, if any.
    pub owner: Option<Box<Owner>>,
}

/// Routes of one virtual host by how they match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteCounts {
    /// `prefix` and `path_separated_prefix`.
    pub prefix: u32,
    /// `path`.
    pub path: u32,
    /// `safe_regex` and the older `regex`.
    pub regex: u32,
    /// Anything else.
    pub other: u32,
    /// Header matchers over all routes.
    pub header_matchers: u32,
    /// Query parameter matchers over all routes.
    pub query_matchers: u32,
    /// Redirects.
    pub redirects: u32,
    /// Direct responses.
    pub direct_responses: u32,
    /// Cluster entries of weighted clusters.
    pub weighted_clusters: u32,
    /// Retry policies without predicates.
    pub plain_retries: u32,
    /// Predicates of retry policies for hosts, of which those of meshes have one each.
    pub retry_predicates: u32,
    /// Headers added to requests and responses.
    pub header_additions: u32,
    /// Headers removed from requests and responses.
    pub header_removals: u32,
    /// Virtual clusters.
    pub virtual_clusters: u32,
    /// Hash policies.
    pub hash_policies: u32,
    /// Request mirror policies.
    pub mirrors: u32,
    /// Rate limits.
    pub rate_limits: u32,
}

impl RouteCounts {
    /// All routes.
    pub fn total(&self) -> u32 {
        self.prefix + self.path + self.regex + self.other
    }
}

/// Configurations of one type that routes, weighted clusters and a virtual host have for a filter
/// (`typed_per_filter_config`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterOverrides {
    /// Full type without `type.googleapis.com/`.
    pub type_name: Name,
    /// How many there are.
    pub count: u32,
    /// Weight of all of them.
    pub weight: Weight,
}

/// One virtual host of a route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualHost {
    /// Its name.
    pub name: Name,
    /// Number of domains.
    pub domains: u32,
    /// Bytes of all domains.
    pub domain_bytes: u32,
    /// Routes by matcher.
    pub routes: RouteCounts,
    /// What filters do differently here, by type in order of appearance.
    pub filter_overrides: Vec<FilterOverrides>,
    /// Names of the clusters its routes lead to, each once, in order of appearance.
    pub clusters: Vec<Name>,
    /// What has stats of its own below `vhost.NAME.`: `vcluster.…` for virtual clusters, `route.…` for routes with a
    /// `stat_prefix`.
    pub stat_names: Vec<Name>,
    /// A route picks its cluster from a header or a plugin, so any cluster may be reached.
    pub dynamic_cluster: bool,
    /// The owner written into metadata by a control plane, if any.
    pub owner: Option<Box<Owner>>,
    /// Weight.
    pub weight: Weight,
    /// Offset of the virtual host in its document, relative to the table's span.
    pub offset_in_table: u64,
    /// Length as written, in bytes.
    pub len_bytes: u64,
    /// Hash as in [`Meta::text_hash`].
    pub text_hash: u64,
}

/// A route configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Identity; `State::Static` for inline tables, `State::Active` for RDS.
    pub meta: Meta,
    /// Virtual hosts.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Filled by VHDS.
    pub vhds: bool,
    /// Clusters named outside the virtual hosts (request mirroring, cluster specifier plugins' defaults).
    pub clusters: Vec<Name>,
}

/// How a cluster finds its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// `STATIC`.
    Static,
    /// `STRICT_DNS`.
    StrictDns,
    /// `LOGICAL_DNS`.
    LogicalDns,
    /// `EDS`.
    Eds,
    /// `ORIGINAL_DST`.
    OriginalDst,
    /// `cluster_type` with the extension's name (aggregate, dynamic forward proxy …).
    Custom(Name),
}

/// Load-balancing policy with the parameters that size its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancing {
    /// The policy's own word: `ROUND_ROBIN`, `RING_HASH` …, or the type of a `load_balancing_policy`.
    pub policy: Name,
    /// Minimum ring size, when given.
    pub minimum_ring_size: Option<u64>,
    /// Maximum ring size, when given.
    pub maximum_ring_size: Option<u64>,
    /// Maglev table size, when given.
    pub table_size: Option<u64>,
    /// Subset selectors.
    pub subset_selectors: u32,
    /// Locality-weighted balancing.
    pub locality_weighted: bool,
}

/// Hosts of a cluster, inline or from an endpoint set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostCounts {
    /// Endpoints.
    pub hosts: u32,
    /// Locality groups.
    pub localities: u32,
    /// Distinct priorities (0 without endpoints).
    pub priorities: u32,
    /// The weights of the hosts differ.
    pub weights_differ: bool,
    /// Endpoints with metadata.
    pub with_metadata: u32,
    /// Different metadata among them (counted up to 64): equal ones are one object in Envoy.
    pub distinct_metadata: u32,
    /// Bytes of addresses.
    pub address_bytes: u32,
    /// Endpoints at 127.0.0.1: connections to them are answered at once.
    pub loopback: u32,
}

/// A cluster in one of its states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Identity, state, place, weight.
    pub meta: Meta,
    /// How it finds hosts.
    pub discovery: Discovery,
    /// The name asked for over EDS when it is not the cluster's own.
    pub eds_service_name: Option<Name>,
    /// Where its endpoints come from, when over EDS.
    pub eds_source: Source,
    /// `alt_stat_name`, when given: its stats are kept under that name.
    pub alt_stat_name: Name,
    /// Policy.
    pub lb: LoadBalancing,
    /// Inline endpoints.
    pub inline_hosts: HostCounts,
    /// TLS contexts: the transport socket's and one per transport socket match.
    pub tls: Vec<Arc<TlsContext>>,
    /// Entries of `transport_socket_matches`.
    pub transport_socket_matches: u32,
    /// Active health checks.
    pub health_checks: HealthChecks,
    /// Outlier detection.
    pub outlier_detection: bool,
    /// Circuit-breaker thresholds given.
    pub circuit_breakers: u32,
    /// Thresholds with `track_remaining`.
    pub track_remaining: u32,
    /// `typed_extension_protocol_options` has HTTP protocol options.
    pub http_protocol_options: bool,
    /// HTTP/2 to the upstream, explicit or by the older fields.
    pub http2: bool,
    /// Upstream network filters.
    pub filters: Vec<Arc<Extension>>,
    /// Upstream HTTP filters.
    pub http_filters: Vec<Arc<Extension>>,
    /// Clusters of an aggregate cluster.
    pub children: Vec<Name>,
    /// Bytes of metadata strings.
    pub has_metadata: bool,
    /// The owner written into metadata by a control plane, if any.
    pub owner: Option<Box<Owner>>,
}

impl Meta {
    /// Clusters named in passing.
    pub fn cluster_refs(&self) -> &[Name] {
        self.cluster_refs.as_deref().map_or(&[], |v| v)
    }
}

impl Cluster {
    /// The name its endpoints are listed under.
    pub fn service_name(&self) -> &Name {
        self.eds_service_name.as_ref().unwrap_or(&self.meta.name)
    }
}

/// One `ClusterLoadAssignment` of the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSet {
    /// Identity (`cluster_name`), place, weight.
    pub meta: Meta,
    /// Hosts.
    pub hosts: HostCounts,
}

/// What a secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// Certificate and key.
    TlsCertificate,
    /// CA bundle and matchers.
    ValidationContext,
    /// Session ticket keys.
    SessionTicketKeys,
    /// Generic.
    Generic,
    /// Not shown (a warming secret, or a redacted one).
    Unknown,
}

/// A secret, never its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Identity, state, place, weight.
    pub meta: Meta,
    /// Kind.
    pub kind: SecretKind,
    /// Certificate chain and CA bundle strings.
    pub payloads: Vec<Payload>,
}

/// An ECDS resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionConfig {
    /// Identity, state, place, weight.
    pub meta: Meta,
    /// Configuration.
    pub extension: Extension,
}

/// A scoped route configuration or a group of inline ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedRoutes {
    /// Identity, place, weight.
    pub meta: Meta,
    /// Scopes.
    pub scopes: u32,
    /// Route tables the scopes name.
    pub route_tables: Vec<Name>,
}

/// What the bootstrap says about stats and deferral.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsConfig {
    /// `stats_matcher.reject_all`.
    pub reject_all: bool,
    /// `stats_matcher.inclusion_list`: patterns as (kind, text), where kind is `prefix`, `suffix`, `exact`,
    /// `contains` or `regex`.
    pub inclusion: Option<Vec<(Name, Name)>>,
    /// `stats_matcher.exclusion_list`.
    pub exclusion: Option<Vec<(Name, Name)>>,
    /// Tag extraction rules.
    pub stats_tags: u32,
    /// Deferred creation of per-cluster stats (≥ 1.27).
    pub deferred_stats: bool,
    /// Deferred creation of clusters on workers (≥ 1.28).
    pub deferred_clusters: bool,
    /// Stats sinks.
    pub sinks: u32,
}

/// The bootstrap section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// Place and weight; the name is empty.
    pub meta: Meta,
    /// Weight of the node's metadata; the rest of the node is the list of the build's extensions.
    pub node_metadata: Weight,
    /// Static clusters and listeners it defines.
    pub static_clusters: u32,
    /// Static listeners.
    pub static_listeners: u32,
    /// Clusters named by the bootstrap itself (ADS, tracing, stats sinks), which therefore are in use.
    pub clusters: Vec<Name>,
    /// Secrets named by static resources.
    pub stats: StatsConfig,
    /// `dynamic_resources.ads_config` and the like are present.
    pub uses_ads: bool,
    /// It has an `ads_config`.
    pub ads: bool,
    /// Its ADS stream is incremental.
    pub delta: bool,
    /// Where its clusters and its listeners come from; nowhere when the bootstrap has all of them.
    pub sources: [Option<Source>; 2],
    /// Overload manager, watchdog and the like.
    pub overload_manager: bool,
}

/// Who a resource belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Kubernetes namespace, or empty.
    pub namespace: Name,
    /// Service, route or other owner's name, or empty.
    pub name: Name,
    /// `Service`, `VirtualService`, `HTTPRoute` …, or empty.
    pub kind: Name,
}

/// The node that wrote the dump.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `node.id`.
    pub id: Name,
    /// `node.cluster`.
    pub cluster: Name,
    /// Istio: the workload's name.
    pub workload: Name,
    /// The workload's namespace.
    pub namespace: Name,
    /// Istio's version.
    pub istio_version: Name,
    /// User agent version as `major.minor.patch`, when the bootstrap has it.
    pub envoy_version: Name,
}

/// `/server_info`, as far as the model needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    /// The raw version string: `commit/1.40.0/Clean/RELEASE/BoringSSL`.
    pub version: Name,
    /// `LIVE`, `DRAINING` …
    pub state: Name,
    /// Worker threads.
    pub concurrency: Option<u32>,
    /// `--drain-time-s`.
    pub drain_time_s: Option<u64>,
    /// `Gradual` or `Immediate`.
    pub drain_strategy: Name,
    /// `--parent-shutdown-time-s`.
    pub parent_shutdown_time_s: Option<u64>,
    /// Uptime of this epoch.
    pub uptime_s: Option<u64>,
    /// Node.
    pub node: Node,
}

/// `/memory`, all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Live bytes.
    pub allocated: u64,
    /// Heap, with what was returned to the system.
    pub heap_size: Option<u64>,
    /// Returned to the system.
    pub pageheap_unmapped: Option<u64>,
    /// Free, but still mapped.
    pub pageheap_free: Option<u64>,
    /// Per-thread and per-CPU caches.
    pub total_thread_cache: Option<u64>,
    /// Physical bytes by the allocator's own account (≥ 1.14).
    pub physical: Option<u64>,
}

/// What `/stats` tells about memory and draining, in whichever format it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Lines (text, Prometheus) or entries (JSON).
    pub lines: u64,
    /// `listener_manager.total_listeners_active`.
    pub listeners_active: Option<u64>,
    /// `listener_manager.total_listeners_warming`.
    pub listeners_warming: Option<u64>,
    /// `listener_manager.total_listeners_draining`: every generation.
    pub listeners_draining: Option<u64>,
    /// `listener_manager.total_filter_chains_draining`.
    pub filter_chains_draining: Option<u64>,
    /// `listener_manager.listener_modified`.
    pub listener_modified: Option<u64>,
    /// `listener_manager.listener_in_place_updated`.
    pub listener_in_place_updated: Option<u64>,
    /// `listener_manager.listener_added`.
    pub listener_added: Option<u64>,
    /// `listener_manager.listener_removed`.
    pub listener_removed: Option<u64>,
    /// `listener_manager.lds.update_rejected` and `cluster_manager.cds.update_rejected`.
    pub updates_rejected: Option<u64>,
    /// `cluster_manager.active_clusters`.
    pub active_clusters: Option<u64>,
    /// `cluster_manager.warming_clusters`.
    pub warming_clusters: Option<u64>,
    /// `server.memory_allocated`; refreshed only when stats are flushed.
    pub memory_allocated: Option<u64>,
    /// `server.memory_heap_size`.
    pub memory_heap_size: Option<u64>,
    /// `server.memory_physical_size`.
    pub memory_physical_size: Option<u64>,
    /// `server.concurrency`.
    pub concurrency: Option<u64>,
    /// Requests or connections per cluster: `upstream_rq_total` + `upstream_cx_total`, for clusters that have any stat.
    pub cluster_traffic: Vec<(Name, u64)>,
    /// Connections by listener, in the order of the input.
    pub listener_connections: Vec<ListenerConnections>,
}

/// Downstream connections of one listener; old generations that drain count under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConnections {
    /// What its stats are kept under: its `stat_prefix`, or its address with `_` for `:`.
    pub name: Name,
    /// `downstream_cx_active`.
    pub active: Option<u64>,
    /// `downstream_cx_total`.
    pub total: Option<u64>,
}

/// Hosts and circuit breakers of `/clusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Cluster.
    pub name: Name,
    /// Hosts listed.
    pub hosts: u32,
    /// Total requests over all hosts.
    pub requests: u64,
}

/// One TLS context of `/certs`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateEntry {
    /// Serial numbers of the chain.
    pub chain_serials: Vec<Name>,
    /// Serial numbers of the CA certificates.
    pub ca_serials: Vec<Name>,
}

/// A section or resource type this build does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Full type, or the key it stood under.
    pub type_name: Name,
    /// Elements.
    pub count: u64,
    /// Bytes as written.
    pub bytes: u64,
    /// First place.
    pub span: Span,
}

/// `version_info` of the sections, as the dump has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SectionVersions {
    /// `ListenersConfigDump.version_info`.
    pub listeners: Name,
    /// `ClustersConfigDump.version_info`.
    pub clusters: Name,
}

/// Everything the evidence shows of one proxy at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxy {
    /// How the report calls it: the workload's name where it is known, else the input's label.
    pub label: String,
    /// Node.
    pub node: Node,
    /// Listeners.
    pub listeners: Vec<Listener>,
    /// Clusters.
    pub clusters: Vec<Cluster>,
    /// Route tables of the routes section, inline ones included.
    pub route_tables: Vec<RouteTable>,
    /// Scoped routes.
    pub scoped_routes: Vec<ScopedRoutes>,
    /// Endpoint sets.
    pub endpoint_sets: Vec<EndpointSet>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// ECDS resources.
    pub extension_configs: Vec<ExtensionConfig>,
    /// Bootstrap.
    pub bootstrap: Option<Bootstrap>,
    /// Versions of the sections.
    pub versions: SectionVersions,
    /// Sections this build does not know.
    pub unknown: Vec<Unknown>,
    /// `/server_info`.
    pub server_info: Option<ServerInfo>,
    /// `/memory`.
    pub memory: Option<Memory>,
    /// `/stats`.
    pub stats: Option<Stats>,
    /// `/clusters`.
    pub cluster_statuses: Option<Vec<ClusterStatus>>,
    /// Number of listeners in `/listeners`.
    pub listener_statuses: Option<u64>,
    /// `/certs`.
    pub certificates: Option<Vec<CertificateEntry>>,
    /// `/init_dump`: (manager, targets not ready).
    pub init_targets: Option<Vec<(Name, Vec<Name>)>>,
    /// The dump was made by a control plane (what it would send), not by Envoy.
    pub expected_only: bool,
}

impl Proxy {
    /// For each cluster, whether the dump lists its endpoints apart. With `?include_eds` Envoy lists those of every
    /// active cluster, inline ones too, so the cluster's own are then a second mention of the same hosts.
    pub fn endpoints_listed(&self) -> Vec<bool> {
        let listed: foldhash::HashSet<&str> = self.endpoint_sets.iter().map(|e| &*e.meta.name).collect();
        self.clusters.iter().map(|c| listed.contains(&**c.service_name())).collect()
    }
}
