//! The wire shapes of `envoy.admin.v3` and the resources inside, reduced to what the model keeps.
//!
//! An `Any` is read as one superset message ([`AnyConfig`]) so that its `@type` may stand anywhere in it; what the
//! fields mean is decided by the type afterwards, in `resource.rs`.

use std::sync::LazyLock;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::evidence::json::message::{
    Count, Entries, Flag, Hashed, List, Loose, Num, Opt, Plain, Shared, Sub, Text, TypeUrl, message, tolerate,
};
use crate::evidence::json::tally;
use crate::model::envoy::Source;

message! {
    /// Any wrapper of the admin messages: the entry of every list, flat (v2alpha) or not.
    struct Entry {
        type_url: Shared = "@type",
        name: Text = "name",
        version: Shared = "version_info" | "versionInfo",
        last_updated: Plain = "last_updated" | "lastUpdated",
        listener: Opt<Sub<Listener>> = "listener",
        cluster: Opt<Sub<Cluster>> = "cluster",
        route_config: Opt<Sub<RouteConfiguration>> = "route_config" | "routeConfig",
        endpoint_config: Opt<Sub<ClusterLoadAssignment>> = "endpoint_config" | "endpointConfig",
        secret: Opt<Sub<Secret>> = "secret",
        ecds_filter: Opt<Sub<TypedExtension>> = "ecds_filter" | "ecdsFilter",
        scoped: List<Sub<ScopedRoute>> = "scoped_route_configs" | "scopedRouteConfigs",
        active: Opt<ListenerState> = "active_state" | "activeState",
        warming: Opt<ListenerState> = "warming_state" | "warmingState",
        draining: Opt<ListenerState> = "draining_state" | "drainingState",
        error: Opt<ErrorState> = "error_state" | "errorState",
    }
}

message! {
    /// One state of a dynamic listener.
    struct ListenerState {
        version: Shared = "version_info" | "versionInfo",
        last_updated: Plain = "last_updated" | "lastUpdated",
        listener: Opt<Sub<Listener>> = "listener",
    }
}

message! {
    /// `UpdateFailureState`.
    struct ErrorState {
        failed: AnySub = "failed_configuration" | "failedConfiguration",
        last_update_attempt: Plain = "last_update_attempt" | "lastUpdateAttempt",
        details: Text = "details",
        version: Shared = "version_info" | "versionInfo",
    }
}

message! {
    struct SocketAddress {
        address: Plain = "address",
        port: Num = "port_value" | "portValue",
        named_port: Plain = "named_port" | "namedPort",
        protocol: Shared = "protocol",
    }
}

message! {
    struct Pipe { path: Text = "path" }
}

message! {
    struct Address {
        socket: Opt<SocketAddress> = "socket_address" | "socketAddress",
        pipe: Opt<Pipe> = "pipe",
        internal: Count = "envoy_internal_address" | "envoyInternalAddress",
    }
}

message! {
    struct DeprecatedV1 { bind_to_port: Flag = "bind_to_port" | "bindToPort" }
}

message! {
    struct Listener {
        type_url: TypeUrl = "@type",
        name: Text = "name",
        address: Opt<Address> = "address",
        stat_prefix: Shared = "stat_prefix" | "statPrefix",
        additional_addresses: Count = "additional_addresses" | "additionalAddresses",
        chains: List<FilterChain> = "filter_chains" | "filterChains",
        default_chain: Opt<FilterChain> = "default_filter_chain" | "defaultFilterChain",
        listener_filters: List<Filter> = "listener_filters" | "listenerFilters",
        access_log: List<Filter> = "access_log" | "accessLog",
        bind_to_port: Flag = "bind_to_port" | "bindToPort",
        deprecated_v1: Opt<DeprecatedV1> = "deprecated_v1" | "deprecatedV1",
        udp: Count = "udp_listener_config" | "udpListenerConfig",
        direction: Shared = "traffic_direction" | "trafficDirection",
        metadata: Opt<Metadata> = "metadata",
    }
}

message! {
    struct ChainMatch {
        server_names: List<Text> = "server_names" | "serverNames",
        application_protocols: Count = "application_protocols" | "applicationProtocols",
    }
}

message! {
    struct FilterChainBody {
        name: Text = "name",
        matches: Sub<ChainMatch> = "filter_chain_match" | "filterChainMatch",
        filters: Sub<List<Filter>> = "filters",
        transport_socket: Sub<Filter> = "transport_socket" | "transportSocket",
        tls_context: AnySub = "tls_context" | "tlsContext",
    }
}

/// A filter chain with its length as written.
#[derive(Debug, Default)]
pub(crate) struct FilterChain {
    pub(crate) body: FilterChainBody,
    pub(crate) tally: tally::Tally,
    pub(crate) len_bytes: u64,
}

impl<'de> Deserialize<'de> for FilterChain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(d)?;
        let (body, tally) = tally::scoped(|| serde_json::from_str::<FilterChainBody>(raw.get()));
        Ok(Self { body: body.map_err(serde::de::Error::custom)?, tally, len_bytes: raw.get().len() as u64 })
    }
}

message! {
    /// Network, HTTP and listener filters, access loggers, transport sockets: a name and a configuration.
    struct Filter {
        name: Shared = "name",
        config: AnySub = "typed_config" | "typedConfig" | "config",
        discovery: Count = "config_discovery" | "configDiscovery",
    }
}

message! {
    struct Rds {
        name: Text = "route_config_name" | "routeConfigName",
        source: Opt<ConfigSource> = "config_source" | "configSource",
    }
}

message! {
    struct WasmCode {
        local: Opt<DataSource> = "local",
    }
}

message! {
    struct VmConfig {
        vm_id: Shared = "vm_id" | "vmId",
        code: Opt<WasmCode> = "code",
    }
}

message! {
    /// Everything that any `Any` of interest may hold. Another type than expected is no mismatch here.
    struct AnyConfig {
        type_url: Shared = "@type",
        // TypedStruct: the real type and its value
        inner_type: Loose<Opt<Shared>> = "type_url" | "typeUrl",
        value: Loose<Opt<AnyConfig>> = "value",
        // HTTP connection manager
        stat_prefix: Loose<Opt<Text>> = "stat_prefix" | "statPrefix",
        route_config: Loose<Opt<Sub<RouteConfiguration>>> = "route_config" | "routeConfig",
        rds: Loose<Opt<Rds>> = "rds",
        scoped_routes: Count = "scoped_routes" | "scopedRoutes",
        http_filters: Loose<List<Filter>> = "http_filters" | "httpFilters",
        access_log: Loose<List<Filter>> = "access_log" | "accessLog",
        upgrades: Count = "upgrade_configs" | "upgradeConfigs",
        tracing: Count = "tracing",
        // tcp_proxy and other filters that name clusters
        cluster: Loose<Opt<Text>> = "cluster",
        weighted_clusters: Loose<Opt<WeightedClusters>> = "weighted_clusters" | "weightedClusters",
        // TLS
        common_tls_context: Loose<Opt<CommonTls>> = "common_tls_context" | "commonTlsContext",
        // Wasm: `config` holds the plugin, `vm_config` the VM
        config: Loose<Opt<AnyConfig>> = "config",
        vm_config: Loose<Opt<VmConfig>> = "vm_config" | "vmConfig",
        // HTTP protocol options
        explicit_http_config: Loose<Opt<ExplicitHttp>> = "explicit_http_config" | "explicitHttpConfig",
        use_downstream: Loose<Opt<ExplicitHttp>> =
            "use_downstream_protocol_config" | "useDownstreamProtocolConfig",
        // aggregate cluster
        clusters: Loose<List<Loose<Text>>> = "clusters",
        // a listener nested in `failed_configuration`
        name: Loose<Opt<Text>> = "name",
        // raw_buffer / proxy protocol / internal upstream wrappers around another transport socket
        transport_socket: Loose<Opt<Filter>> = "transport_socket" | "transportSocket",
    }
}

/// An [`AnyConfig`] weighed on its own. It is large and mostly looked at once, so it is never moved, and only made when
/// it is there.
#[derive(Debug, Default)]
pub(crate) struct AnySub(Option<Box<Sub<AnyConfig>>>);

impl AnySub {
    fn absent() -> &'static Sub<AnyConfig> {
        static ABSENT: LazyLock<Sub<AnyConfig>> = LazyLock::new(Sub::default);
        &ABSENT
    }

    pub(crate) fn present(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn value(&self) -> &AnyConfig {
        &self.0.as_deref().unwrap_or(Self::absent()).value
    }

    pub(crate) fn tally(&self) -> &tally::Tally {
        &self.0.as_deref().unwrap_or(Self::absent()).tally
    }

    pub(crate) fn into_value(self) -> AnyConfig {
        self.0.map(|s| s.value).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for AnySub {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(Some(Box::new(Sub::deserialize(d)?))))
    }
}

message! {
    struct ExplicitHttp {
        http2: Count = "http2_protocol_options" | "http2ProtocolOptions",
    }
}

message! {
    struct DataSource {
        inline_bytes: Hashed = "inline_bytes" | "inlineBytes",
        inline_string: Hashed = "inline_string" | "inlineString",
    }
}

message! {
    struct TlsCertificate {
        chain: Opt<DataSource> = "certificate_chain" | "certificateChain",
    }
}

message! {
    struct SdsRef {
        name: Shared = "name",
        config: Opt<ConfigSource> = "sds_config" | "sdsConfig",
    }
}

message! {
    struct ConfigSource {
        api: Count = "api_config_source" | "apiConfigSource",
        path: Count = "path_config_source" | "pathConfigSource" | "path",
    }
}

message! {
    struct ValidationContext {
        trusted_ca: Opt<DataSource> = "trusted_ca" | "trustedCa",
        sans: Count = "match_subject_alt_names" | "matchSubjectAltNames" | "verify_subject_alt_name"
            | "verifySubjectAltName",
        typed_sans: Count = "match_typed_subject_alt_names" | "matchTypedSubjectAltNames",
    }
}

message! {
    struct CombinedValidation {
        default: Opt<ValidationContext> = "default_validation_context" | "defaultValidationContext",
        sds: Opt<SdsRef> = "validation_context_sds_secret_config" | "validationContextSdsSecretConfig",
    }
}

message! {
    struct CommonTls {
        certificates: List<TlsCertificate> = "tls_certificates" | "tlsCertificates",
        certificate_sds: List<SdsRef> = "tls_certificate_sds_secret_configs" | "tlsCertificateSdsSecretConfigs",
        validation: Opt<ValidationContext> = "validation_context" | "validationContext",
        validation_sds: Opt<SdsRef> = "validation_context_sds_secret_config" | "validationContextSdsSecretConfig",
        combined: Opt<CombinedValidation> = "combined_validation_context" | "combinedValidationContext",
        alpn: Count = "alpn_protocols" | "alpnProtocols",
    }
}

message! {
    struct RouteConfiguration {
        type_url: TypeUrl = "@type",
        name: Text = "name",
        virtual_hosts: VirtualHosts = "virtual_hosts" | "virtualHosts",
        vhds: Count = "vhds",
        mirrors: List<Mirror> = "request_mirror_policies" | "requestMirrorPolicies",
    }
}

/// The virtual hosts of a table, each turned into the model at once: tables can hold a hundred thousand.
///
/// `offset_in_table` holds the address of the first byte until someone who knows where the text begins corrects it.
#[derive(Debug, Default)]
pub(crate) struct VirtualHosts(pub(crate) Vec<crate::model::envoy::VirtualHost>);

impl<'de> Deserialize<'de> for VirtualHosts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = VirtualHosts;
            tolerate!(seq);
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<VirtualHosts, A::Error> {
                tally::list();
                let mut out = Vec::new();
                while let Some(raw) = seq.next_element::<&'de RawValue>()? {
                    let text = raw.get();
                    let (body, tally) = tally::scoped(|| serde_json::from_str::<VirtualHost>(text));
                    let body = body.map_err(serde::de::Error::custom)?;
                    out.push(super::resource::virtual_host(body, &tally, text));
                }
                tally::end();
                out.shrink_to_fit();
                Ok(VirtualHosts(out))
            }
        }
        d.deserialize_any(V)
    }
}

/// Number and bytes of a list of strings.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct StringList {
    pub(crate) count: u32,
    pub(crate) bytes: u32,
}

impl<'de> Deserialize<'de> for StringList {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = StringList;
            tolerate!(seq);
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StringList, A::Error> {
                tally::list();
                let mut out = StringList::default();
                while let Some(hashed) = seq.next_element::<Hashed>()? {
                    tally::list_item();
                    out.count += 1;
                    out.bytes += hashed.len_bytes;
                }
                tally::end();
                Ok(out)
            }
        }
        d.deserialize_any(V)
    }
}

message! {
    struct VirtualHost {
        name: Text = "name",
        domains: StringList = "domains",
        routes: List<Route> = "routes",
        matcher: Count = "matcher",
        per_filter: Entries<AnySub> = "typed_per_filter_config" | "typedPerFilterConfig" | "per_filter_config"
            | "perFilterConfig",
        retry_policy: Opt<RetryPolicy> = "retry_policy" | "retryPolicy",
        rate_limits: Count = "rate_limits" | "rateLimits",
        mirrors: List<Mirror> = "request_mirror_policies" | "requestMirrorPolicies",
        req_add: Count = "request_headers_to_add" | "requestHeadersToAdd",
        req_remove: Count = "request_headers_to_remove" | "requestHeadersToRemove",
        resp_add: Count = "response_headers_to_add" | "responseHeadersToAdd",
        resp_remove: Count = "response_headers_to_remove" | "responseHeadersToRemove",
        metadata: Opt<Metadata> = "metadata",
        virtual_clusters: List<VirtualCluster> = "virtual_clusters" | "virtualClusters",
    }
}

message! {
    struct VirtualCluster { name: Text = "name" }
}

message! {
    struct RouteMatch {
        prefix: Count = "prefix",
        path: Count = "path",
        separated: Count = "path_separated_prefix" | "pathSeparatedPrefix",
        regex: Count = "safe_regex" | "safeRegex" | "regex",
        headers: Count = "headers",
        query: Count = "query_parameters" | "queryParameters",
    }
}

message! {
    struct Mirror { cluster: Text = "cluster" }
}

message! {
    struct RetryPolicy { predicates: Count = "retry_host_predicate" | "retryHostPredicate" }
}

message! {
    struct WeightedCluster {
        name: Text = "name",
        header: Count = "cluster_header" | "clusterHeader",
        per_filter: Entries<AnySub> = "typed_per_filter_config" | "typedPerFilterConfig" | "per_filter_config"
            | "perFilterConfig",
    }
}

message! {
    struct WeightedClusters { clusters: List<WeightedCluster> = "clusters" }
}

message! {
    struct RouteAction {
        cluster: Text = "cluster",
        header: Count = "cluster_header" | "clusterHeader",
        weighted: Opt<WeightedClusters> = "weighted_clusters" | "weightedClusters",
        plugin: Count = "cluster_specifier_plugin" | "clusterSpecifierPlugin",
        inline_plugin: Count = "inline_cluster_specifier_plugin" | "inlineClusterSpecifierPlugin",
        mirrors: List<Mirror> = "request_mirror_policies" | "requestMirrorPolicies",
        mirror: Opt<Mirror> = "request_mirror_policy" | "requestMirrorPolicy",
        retry_policy: Opt<RetryPolicy> = "retry_policy" | "retryPolicy",
        hash_policy: Count = "hash_policy" | "hashPolicy",
        rate_limits: Count = "rate_limits" | "rateLimits",
    }
}

message! {
    struct Route {
        matches: RouteMatch = "match",
        route: Opt<RouteAction> = "route",
        redirect: Count = "redirect",
        direct: Count = "direct_response" | "directResponse",
        per_filter: Entries<AnySub> = "typed_per_filter_config" | "typedPerFilterConfig" | "per_filter_config"
            | "perFilterConfig",
        req_add: Count = "request_headers_to_add" | "requestHeadersToAdd",
        req_remove: Count = "request_headers_to_remove" | "requestHeadersToRemove",
        resp_add: Count = "response_headers_to_add" | "responseHeadersToAdd",
        resp_remove: Count = "response_headers_to_remove" | "responseHeadersToRemove",
        metadata: Opt<Metadata> = "metadata",
        stat_prefix: Text = "stat_prefix" | "statPrefix",
    }
}

message! {
    struct IstioService {
        host: Plain = "host",
        name: Text = "name",
        namespace: Shared = "namespace",
    }
}

message! {
    struct IstioMetadata {
        config: Plain = "config",
        services: List<IstioService> = "services",
    }
}

message! {
    struct GatewayResource {
        kind: Shared = "kind",
        name: Text = "name",
        namespace: Shared = "namespace",
    }
}

message! {
    struct GatewayMetadata { resources: List<GatewayResource> = "resources" }
}

message! {
    struct FilterMetadata {
        istio: Loose<Opt<IstioMetadata>> = "istio",
        gateway: Loose<Opt<GatewayMetadata>> = "envoy-gateway",
    }
}

message! {
    struct Metadata { filters: Loose<FilterMetadata> = "filter_metadata" | "filterMetadata" }
}

message! {
    struct SocketMatch { socket: Sub<Filter> = "transport_socket" | "transportSocket" }
}

message! {
    struct EdsConfig {
        service_name: Text = "service_name" | "serviceName",
        source: Opt<ConfigSource> = "eds_config" | "edsConfig",
    }
}

message! {
    struct HealthCheck {
        http: Count = "http_health_check" | "httpHealthCheck",
        grpc: Count = "grpc_health_check" | "grpcHealthCheck",
    }
}

message! {
    struct Threshold { track_remaining: Flag = "track_remaining" | "trackRemaining" }
}

message! {
    struct CircuitBreakers { thresholds: List<Threshold> = "thresholds" }
}

message! {
    struct RingHash {
        minimum: Num = "minimum_ring_size" | "minimumRingSize",
        maximum: Num = "maximum_ring_size" | "maximumRingSize",
    }
}

message! {
    struct Maglev { table_size: Num = "table_size" | "tableSize" }
}

message! {
    struct SubsetConfig { selectors: Count = "subset_selectors" | "subsetSelectors" }
}

message! {
    struct CommonLb { locality_weighted: Count = "locality_weighted_lb_config" | "localityWeightedLbConfig" }
}

message! {
    struct LbPolicies { policies: List<LbPolicy> = "policies" }
}

message! {
    struct LbPolicy { extension: Opt<LbExtension> = "typed_extension_config" | "typedExtensionConfig" }
}

message! {
    struct LbExtension { config: Opt<LbConfig> = "typed_config" | "typedConfig" }
}

message! {
    struct LbConfig {
        type_url: Shared = "@type",
        minimum: Loose<Num> = "minimum_ring_size" | "minimumRingSize",
        maximum: Loose<Num> = "maximum_ring_size" | "maximumRingSize",
        table_size: Loose<Num> = "table_size" | "tableSize",
        selectors: Count = "subset_selectors" | "subsetSelectors",
    }
}

message! {
    struct Cluster {
        type_url: TypeUrl = "@type",
        name: Text = "name",
        alt_stat_name: Text = "alt_stat_name" | "altStatName" | "observability_name" | "observabilityName",
        kind: Shared = "type",
        cluster_type: Opt<Filter> = "cluster_type" | "clusterType",
        eds: Opt<EdsConfig> = "eds_cluster_config" | "edsClusterConfig",
        lb_policy: Shared = "lb_policy" | "lbPolicy",
        typed_lb: Opt<LbPolicies> = "load_balancing_policy" | "loadBalancingPolicy",
        ring_hash: Opt<RingHash> = "ring_hash_lb_config" | "ringHashLbConfig",
        maglev: Opt<Maglev> = "maglev_lb_config" | "maglevLbConfig",
        subsets: Opt<SubsetConfig> = "lb_subset_config" | "lbSubsetConfig",
        common_lb: Opt<CommonLb> = "common_lb_config" | "commonLbConfig",
        assignment: Opt<ClusterLoadAssignment> = "load_assignment" | "loadAssignment",
        old_hosts: Count = "hosts",
        transport_socket: Sub<Filter> = "transport_socket" | "transportSocket",
        socket_matches: List<SocketMatch> = "transport_socket_matches" | "transportSocketMatches",
        tls_context: AnySub = "tls_context" | "tlsContext",
        health_checks: List<HealthCheck> = "health_checks" | "healthChecks",
        outlier: Count = "outlier_detection" | "outlierDetection",
        breakers: Opt<CircuitBreakers> = "circuit_breakers" | "circuitBreakers",
        protocol_options: Entries<AnySub> =
            "typed_extension_protocol_options" | "typedExtensionProtocolOptions",
        http2: Count = "http2_protocol_options" | "http2ProtocolOptions",
        filters: List<Filter> = "filters",
        metadata: Opt<Metadata> = "metadata",
    }
}

message! {
    struct HostSocket { address: Hashed = "address" }
}

message! {
    struct HostPipe { path: Hashed = "path" }
}

message! {
    /// An endpoint's address: hosts are counted, not named.
    struct HostAddress {
        socket: HostSocket = "socket_address" | "socketAddress",
        pipe: HostPipe = "pipe",
    }
}

message! {
    struct Endpoint { address: HostAddress = "address" }
}

message! {
    struct LbEndpoint {
        endpoint: Endpoint = "endpoint",
        weight: Num = "load_balancing_weight" | "loadBalancingWeight",
        metadata: Sub<Count> = "metadata",
    }
}

message! {
    struct LocalityEndpoints {
        endpoints: List<LbEndpoint> = "lb_endpoints" | "lbEndpoints",
        priority: Num = "priority",
    }
}

message! {
    struct ClusterLoadAssignment {
        type_url: TypeUrl = "@type",
        cluster_name: Text = "cluster_name" | "clusterName",
        endpoints: List<LocalityEndpoints> = "endpoints",
    }
}

message! {
    struct Secret {
        type_url: TypeUrl = "@type",
        name: Text = "name",
        tls: Count = "tls_certificate" | "tlsCertificate",
        validation: Count = "validation_context" | "validationContext",
        tickets: Count = "session_ticket_keys" | "sessionTicketKeys",
        generic: Count = "generic_secret" | "genericSecret",
    }
}

message! {
    struct TypedExtension {
        name: Shared = "name",
        config: AnySub = "typed_config" | "typedConfig",
    }
}

message! {
    struct ScopedRoute {
        name: Text = "name",
        route_configuration_name: Text = "route_configuration_name" | "routeConfigurationName",
    }
}

message! {
    struct Host {
        stats: List<HostStat> = "stats",
    }
}

message! {
    struct HostStat {
        name: Shared = "name",
        value: Num = "value",
    }
}

message! {
    struct ClusterStatus {
        name: Text = "name",
        hosts: List<Host> = "host_statuses" | "hostStatuses",
    }
}

message! {
    struct StringMatcher {
        exact: Loose<Text> = "exact",
        prefix: Loose<Text> = "prefix",
        suffix: Loose<Text> = "suffix",
        contains: Loose<Text> = "contains",
        safe_regex: Loose<Opt<Regex>> = "safe_regex" | "safeRegex",
        regex: Loose<Text> = "regex",
    }
}

message! {
    struct Regex { regex: Text = "regex" }
}

message! {
    struct MatcherList { patterns: List<StringMatcher> = "patterns" }
}

message! {
    struct StatsMatcher {
        reject_all: Flag = "reject_all" | "rejectAll",
        inclusion: Opt<MatcherList> = "inclusion_list" | "inclusionList",
        exclusion: Opt<MatcherList> = "exclusion_list" | "exclusionList",
    }
}

message! {
    struct StatsConfig {
        tags: Count = "stats_tags" | "statsTags",
        matcher: Opt<StatsMatcher> = "stats_matcher" | "statsMatcher",
    }
}

message! {
    struct DeferredStats { enabled: Flag = "enable_deferred_creation_stats" | "enableDeferredCreationStats" }
}

message! {
    struct ClusterManagerConfig {
        deferred: Flag = "enable_deferred_cluster_creation" | "enableDeferredClusterCreation",
    }
}

message! {
    /// A node's metadata, as far as Istio fills it.
    struct NodeMetadata {
        workload: Loose<Text> = "WORKLOAD_NAME",
        namespace: Loose<Text> = "NAMESPACE" | "CONFIG_NAMESPACE",
        name: Loose<Text> = "NAME" | "POD_NAME",
        istio_version: Loose<Text> = "ISTIO_VERSION",
    }
}

message! {
    struct SemanticVersion {
        major: Num = "major_number" | "majorNumber",
        minor: Num = "minor_number" | "minorNumber",
        patch: Num = "patch",
    }
}

message! {
    struct BuildVersion { version: Opt<SemanticVersion> = "version" }
}

message! {
    struct Node {
        id: Text = "id",
        cluster: Text = "cluster",
        metadata: Loose<Opt<Sub<NodeMetadata>>> = "metadata",
        build: Opt<BuildVersion> = "user_agent_build_version" | "userAgentBuildVersion",
        build_version: Shared = "build_version" | "buildVersion",
    }
}

message! {
    struct StaticResources {
        clusters: Count = "clusters",
        listeners: Count = "listeners",
        secrets: Count = "secrets",
    }
}

message! {
    struct DynamicResources {
        listeners: Sub<Weighing> = "lds_config" | "ldsConfig",
        clusters: Sub<Weighing> = "cds_config" | "cdsConfig",
        ads: Sub<Weighing> = "ads_config" | "adsConfig",
    }
}

message! {
    struct Bootstrap {
        node: Sub<Node> = "node",
        static_resources: Opt<StaticResources> = "static_resources" | "staticResources",
        dynamic_resources: Sub<DynamicResources> = "dynamic_resources" | "dynamicResources",
        stats_config: Opt<StatsConfig> = "stats_config" | "statsConfig",
        sinks: Count = "stats_sinks" | "statsSinks",
        deferred_stats: Opt<DeferredStats> = "deferred_stat_options" | "deferredStatOptions",
        cluster_manager: Opt<ClusterManagerConfig> = "cluster_manager" | "clusterManager",
        overload: Count = "overload_manager" | "overloadManager",
        hds: Sub<Weighing> = "hds_config" | "hdsConfig",
        tracing: Sub<Weighing> = "tracing",
    }
}

/// A value weighed while the names under `cluster_name`, `cluster` and `collector_cluster` in it are gathered.
#[derive(Debug, Default)]
pub(crate) struct Weighing {
    pub(crate) clusters: Vec<crate::model::envoy::Name>,
    /// An `api_type` in it asks for incremental xDS.
    pub(crate) delta: bool,
    /// As a config source: a stream of its own, or a file.
    pub(crate) source: Source,
}

impl Weighing {
    fn add(&mut self, inner: Self) {
        self.clusters.extend(inner.clusters);
        self.delta |= inner.delta;
        if inner.source != Source::Shared {
            self.source = inner.source;
        }
    }
}

impl<'de> Deserialize<'de> for Weighing {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Weighing;
            tolerate!(@expecting);
            tolerate!(@num "an object");
            fn visit_str<E>(self, v: &str) -> Result<Weighing, E> {
                tally::string(v);
                Ok(Weighing::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Weighing, A::Error> {
                tally::list();
                let mut out = Weighing::default();
                while let Some(inner) = seq.next_element::<Weighing>()? {
                    out.add(inner);
                }
                tally::end();
                Ok(out)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Weighing, A::Error> {
                use crate::evidence::json::message::Key;
                tally::object();
                let mut out = Weighing::default();
                while let Some(Key(key)) = map.next_key()? {
                    tally::key(&key);
                    match &*key {
                        "cluster_name" | "clusterName" | "cluster" | "collector_cluster" | "collectorCluster" => {
                            let Loose(Text(name)) = map.next_value()?;
                            if !name.is_empty() {
                                out.clusters.push(name);
                            }
                        }
                        "api_type" | "apiType" => {
                            let Loose(Text(word)) = map.next_value()?;
                            out.delta |= word.contains("DELTA");
                        }
                        _ => {
                            out.add(map.next_value()?);
                            match &*key {
                                "api_config_source" | "apiConfigSource" => out.source = Source::OwnStream,
                                "path_config_source" | "pathConfigSource" | "path" => out.source = Source::File,
                                _ => {}
                            }
                        }
                    }
                }
                tally::end();
                Ok(out)
            }
        }
        tally::forgiving(|| d.deserialize_any(V))
    }
}
