//! What an object of a dump is, told from its first keys: the tables of types and field names.
//!
//! Both spellings are listed; types are matched in full, since other projects reuse Envoy's last names
//! (`aeraki.meta_protocol_proxy.admin.v1alpha.RoutesConfigDump`).

use crate::evidence::json::skip::{skip_space, value_end};

/// How far into an object [`peek`] looks for a telling key, in bytes. The same for files and streams, so that both
/// are understood alike.
pub(crate) const LOOKAHEAD_BYTES: usize = 64 * 1024;

/// The lists of a dump's sections, each with one kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ListField {
    StaticListeners,
    DynamicListeners,
    DynamicActiveListeners,
    DynamicWarmingListeners,
    DynamicDrainingListeners,
    StaticClusters,
    DynamicActiveClusters,
    DynamicWarmingClusters,
    StaticRouteConfigs,
    DynamicRouteConfigs,
    InlineScopedRouteConfigs,
    DynamicScopedRouteConfigs,
    StaticSecrets,
    DynamicActiveSecrets,
    DynamicWarmingSecrets,
    StaticEndpointConfigs,
    DynamicEndpointConfigs,
    EcdsFilters,
    /// `cluster_statuses` of `/clusters?format=json`, which some tools put beside the dump.
    ClusterStatuses,
}

/// Resources that stand on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ResourceKind {
    Listener,
    Cluster,
    RouteConfiguration,
    ClusterLoadAssignment,
    Secret,
    ScopedRouteConfiguration,
    ExtensionConfig,
    /// One `cluster_statuses` element, as `istioctl proxy-config endpoints -o json` lists them.
    ClusterStatus,
}

/// What is cut out of a document and read as one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ElementKind {
    /// An entry of a section's list, with its wrapper.
    Entry(ListField),
    /// The bootstrap message.
    Bootstrap,
    /// A resource without wrapper.
    Resource(ResourceKind),
}

/// What [`peek`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// A section of a dump; the type when it was seen.
    Section(Option<Box<str>>),
    /// One piece.
    Element(ElementKind),
    /// An object with an `@type` that is none of ours.
    OtherType(Box<str>),
    /// Not Envoy's, though what is inside looks like it: an RFC 6902 operation, a message of Kmesh's own API.
    Foreign,
    /// An object without telling keys: look inside.
    Unknown,
    /// More bytes are needed to say.
    NeedMore,
}

/// The list field of a key.
pub(crate) fn list_field(key: &[u8]) -> Option<ListField> {
    use ListField::*;
    Some(match key {
        b"static_listeners" | b"staticListeners" => StaticListeners,
        b"dynamic_listeners" | b"dynamicListeners" => DynamicListeners,
        b"dynamic_active_listeners" | b"dynamicActiveListeners" => DynamicActiveListeners,
        b"dynamic_warming_listeners" | b"dynamicWarmingListeners" => DynamicWarmingListeners,
        b"dynamic_draining_listeners" | b"dynamicDrainingListeners" => DynamicDrainingListeners,
        b"static_clusters" | b"staticClusters" => StaticClusters,
        b"dynamic_active_clusters" | b"dynamicActiveClusters" => DynamicActiveClusters,
        b"dynamic_warming_clusters" | b"dynamicWarmingClusters" => DynamicWarmingClusters,
        b"static_route_configs" | b"staticRouteConfigs" => StaticRouteConfigs,
        b"dynamic_route_configs" | b"dynamicRouteConfigs" => DynamicRouteConfigs,
        b"inline_scoped_route_configs" | b"inlineScopedRouteConfigs" => InlineScopedRouteConfigs,
        b"dynamic_scoped_route_configs" | b"dynamicScopedRouteConfigs" => DynamicScopedRouteConfigs,
        b"static_secrets" | b"staticSecrets" => StaticSecrets,
        b"dynamic_active_secrets" | b"dynamicActiveSecrets" => DynamicActiveSecrets,
        b"dynamic_warming_secrets" | b"dynamicWarmingSecrets" => DynamicWarmingSecrets,
        b"static_endpoint_configs" | b"staticEndpointConfigs" => StaticEndpointConfigs,
        b"dynamic_endpoint_configs" | b"dynamicEndpointConfigs" => DynamicEndpointConfigs,
        b"ecds_filters" | b"ecdsFilters" => EcdsFilters,
        b"cluster_statuses" | b"clusterStatuses" => ClusterStatuses,
        _ => return None,
    })
}

/// The short name of a section type this build reads, `None` for others.
pub(crate) fn section_name(type_name: &str) -> Option<&'static str> {
    let rest = type_name.strip_prefix("envoy.admin.v3.").or_else(|| type_name.strip_prefix("envoy.admin.v2alpha."))?;
    Some(match rest {
        "BootstrapConfigDump" => "bootstrap",
        "ListenersConfigDump" => "listeners",
        "ClustersConfigDump" => "clusters",
        "RoutesConfigDump" => "routes",
        "ScopedRoutesConfigDump" => "scoped_routes",
        "SecretsConfigDump" => "secrets",
        "EndpointsConfigDump" => "endpoints",
        "EcdsConfigDump" => "ecds",
        _ => return None,
    })
}

/// `@type` without its authority.
pub(crate) fn bare_type(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, t)| t)
}

fn by_type(type_url: &str) -> Class {
    use ElementKind::{Entry, Resource};
    let t = bare_type(type_url);
    if section_name(t).is_some() {
        return Class::Section(Some(t.into()));
    }
    // `?resource=` slices: the entries without their section
    let slice = t.strip_prefix("envoy.admin.v3.").or_else(|| t.strip_prefix("envoy.admin.v2alpha."));
    let element = match slice {
        Some("ListenersConfigDump.DynamicListener") => Entry(ListField::DynamicListeners),
        Some("ListenersConfigDump.StaticListener") => Entry(ListField::StaticListeners),
        Some("ClustersConfigDump.DynamicCluster") => Entry(ListField::DynamicActiveClusters),
        Some("ClustersConfigDump.StaticCluster") => Entry(ListField::StaticClusters),
        Some("RoutesConfigDump.DynamicRouteConfig") => Entry(ListField::DynamicRouteConfigs),
        Some("RoutesConfigDump.StaticRouteConfig") => Entry(ListField::StaticRouteConfigs),
        Some("SecretsConfigDump.DynamicSecret") => Entry(ListField::DynamicActiveSecrets),
        Some("SecretsConfigDump.StaticSecret") => Entry(ListField::StaticSecrets),
        Some("EndpointsConfigDump.DynamicEndpointConfig") => Entry(ListField::DynamicEndpointConfigs),
        Some("EndpointsConfigDump.StaticEndpointConfig") => Entry(ListField::StaticEndpointConfigs),
        Some("EcdsConfigDump.EcdsFilterConfig") => Entry(ListField::EcdsFilters),
        Some("ScopedRoutesConfigDump.DynamicScopedRouteConfigs") => Entry(ListField::DynamicScopedRouteConfigs),
        Some("ScopedRoutesConfigDump.InlineScopedRouteConfigs") => Entry(ListField::InlineScopedRouteConfigs),
        _ => match t {
            "envoy.config.listener.v3.Listener" | "envoy.api.v2.Listener" => Resource(ResourceKind::Listener),
            "envoy.config.cluster.v3.Cluster" | "envoy.api.v2.Cluster" => Resource(ResourceKind::Cluster),
            "envoy.config.route.v3.RouteConfiguration" | "envoy.api.v2.RouteConfiguration" => {
                Resource(ResourceKind::RouteConfiguration)
            }
            "envoy.config.endpoint.v3.ClusterLoadAssignment" | "envoy.api.v2.ClusterLoadAssignment" => {
                Resource(ResourceKind::ClusterLoadAssignment)
            }
            "envoy.extensions.transport_sockets.tls.v3.Secret" | "envoy.api.v2.auth.Secret" => {
                Resource(ResourceKind::Secret)
            }
            "envoy.config.route.v3.ScopedRouteConfiguration" | "envoy.api.v2.ScopedRouteConfiguration" => {
                Resource(ResourceKind::ScopedRouteConfiguration)
            }
            "envoy.config.core.v3.TypedExtensionConfig" => Resource(ResourceKind::ExtensionConfig),
            _ => return Class::OtherType(t.into()),
        },
    };
    Class::Element(element)
}

/// A JSON string literal without its quotes, as far as types and field names go (they hold no escapes).
pub(crate) fn unquoted(literal: &[u8]) -> &[u8] {
    literal.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\"")).unwrap_or(literal)
}

/// Tells what the object at `bytes[0]` is from its first keys, looking at most [`LOOKAHEAD_BYTES`] ahead.
/// `complete` says that no more bytes will come.
pub(crate) fn peek(bytes: &[u8], complete: bool) -> Class {
    use ElementKind::{Entry, Resource};
    let window = &bytes[..bytes.len().min(LOOKAHEAD_BYTES)];
    // within the window the answer may depend on what is beyond it only if the window is not filled yet
    let undecided = || if window.len() == LOOKAHEAD_BYTES || complete { None } else { Some(Class::NeedMore) };
    let (mut versioned, mut cluster_name, mut name) = (false, false, false);
    let (mut endpoints, mut wrapped) = (false, None);
    // writers that sort keys put these before the name
    let (mut cluster_field, mut secret_field, mut op) = (false, false, false);
    let mut at = 1;
    // a long assignment in front hides the name from us; only clusters have one
    let mut assignment = false;
    let verdict =
        |wrapped: Option<ListField>, versioned: bool, cluster_name: bool, endpoints: bool, assignment: bool| {
            if assignment && window.len() == LOOKAHEAD_BYTES {
                return Class::Element(Resource(ResourceKind::Cluster));
            }
            if let (Some(field), true) = (wrapped, versioned) {
                return Class::Element(Entry(field));
            }
            if cluster_name && endpoints {
                return Class::Element(Resource(ResourceKind::ClusterLoadAssignment));
            }
            Class::Unknown
        };
    loop {
        at += skip_space(&window[at..]);
        match window.get(at) {
            Some(b'"') => {}
            Some(b',') => {
                at += 1;
                continue;
            }
            Some(_) => return verdict(wrapped, versioned, cluster_name, endpoints, assignment),
            None => {
                return undecided().unwrap_or_else(|| verdict(wrapped, versioned, cluster_name, endpoints, assignment));
            }
        }
        let Some(key_len) = value_end(&window[at..]) else {
            return undecided().unwrap_or_else(|| verdict(wrapped, versioned, cluster_name, endpoints, assignment));
        };
        let key = unquoted(&window[at..at + key_len]);
        at += key_len;
        at += skip_space(&window[at..]);
        if window.get(at) == Some(&b':') {
            at += 1;
        }
        at += skip_space(&window[at..]);
        let Some(&first) = window.get(at) else {
            return undecided().unwrap_or_else(|| verdict(wrapped, versioned, cluster_name, endpoints, assignment));
        };
        match key {
            b"bootstrap" if first == b'{' => return Class::Section(None),
            b"active_state" | b"activeState" | b"warming_state" | b"warmingState" | b"draining_state"
            | b"drainingState" | b"error_state" | b"errorState"
                if first == b'{' && !versioned =>
            {
                return Class::Element(Entry(ListField::DynamicListeners));
            }
            b"filter_chains"
            | b"filterChains"
            | b"default_filter_chain"
            | b"defaultFilterChain"
            | b"listener_filters"
            | b"listenerFilters" => return Class::Element(Resource(ResourceKind::Listener)),
            b"virtual_hosts" | b"virtualHosts" if first == b'[' => {
                return Class::Element(Resource(ResourceKind::RouteConfiguration));
            }
            b"connect_timeout"
            | b"connectTimeout"
            | b"lb_policy"
            | b"lbPolicy"
            | b"load_assignment"
            | b"loadAssignment"
            | b"eds_cluster_config"
            | b"edsClusterConfig" => {
                if name {
                    return Class::Element(Resource(ResourceKind::Cluster));
                }
                cluster_field = true;
                assignment |= first == b'{' && matches!(key, b"load_assignment" | b"loadAssignment");
            }
            b"tls_certificate" | b"tlsCertificate" | b"validation_context" | b"validationContext" if first == b'{' => {
                if name {
                    return Class::Element(Resource(ResourceKind::Secret));
                }
                secret_field = true;
            }
            b"host_statuses" | b"hostStatuses" | b"added_via_api" | b"addedViaApi" => {
                return Class::Element(Resource(ResourceKind::ClusterStatus));
            }
            b"name" if first == b'"' && cluster_field => return Class::Element(Resource(ResourceKind::Cluster)),
            b"name" if first == b'"' && secret_field => return Class::Element(Resource(ResourceKind::Secret)),
            b"name" => name = true,
            b"apiStatus" => return Class::Foreign,
            b"op" => op = first == b'"',
            b"path" if op && first == b'"' => return Class::Foreign,
            b"cluster_name" | b"clusterName" => cluster_name = first == b'"',
            b"endpoints" => endpoints = first == b'[',
            b"version_info" | b"versionInfo" | b"last_updated" | b"lastUpdated" => versioned = true,
            b"listener" if first == b'{' => wrapped = Some(ListField::DynamicActiveListeners),
            b"cluster" if first == b'{' => wrapped = Some(ListField::DynamicActiveClusters),
            b"route_config" | b"routeConfig" if first == b'{' => wrapped = Some(ListField::DynamicRouteConfigs),
            // an answer of CSDS has a whole section under this key
            b"endpoint_config" | b"endpointConfig" if first == b'{' => {
                match peek(&window[at..], complete || window.len() == LOOKAHEAD_BYTES) {
                    Class::Section(_) => {}
                    Class::NeedMore => return undecided().unwrap_or(Class::Unknown),
                    _ => {
                        wrapped = Some(ListField::DynamicEndpointConfigs);
                        versioned = true; // its entries carry neither version nor time
                    }
                }
            }
            b"secret" if first == b'{' => wrapped = Some(ListField::DynamicActiveSecrets),
            _ if first == b'[' && list_field(key).is_some() => return Class::Section(None),
            _ => {}
        }
        let Some(value_len) = value_end(&window[at..]) else {
            return undecided().unwrap_or_else(|| verdict(wrapped, versioned, cluster_name, endpoints, assignment));
        };
        if key == b"@type"
            && let Ok(type_url) = std::str::from_utf8(unquoted(&window[at..at + value_len]))
        {
            return by_type(type_url);
        }
        at += value_len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let class = |s: &str| peek(s.as_bytes(), true);
        assert_eq!(
            class(r#"{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump"}"#),
            Class::Section(Some("envoy.admin.v3.RoutesConfigDump".into()))
        );
        assert_eq!(
            class(r#"{"@type":"x/aeraki.meta_protocol_proxy.admin.v1alpha.RoutesConfigDump"}"#),
            Class::OtherType("aeraki.meta_protocol_proxy.admin.v1alpha.RoutesConfigDump".into())
        );
        assert_eq!(class(r#"{"versionInfo":"1","staticListeners":[]}"#), Class::Section(None));
        assert_eq!(
            class(r#"{"name":"l","active_state":{}}"#),
            Class::Element(ElementKind::Entry(ListField::DynamicListeners))
        );
        assert_eq!(
            class(r#"{"name":"c","type":"EDS","connectTimeout":"1s"}"#),
            Class::Element(ElementKind::Resource(ResourceKind::Cluster))
        );
        assert_eq!(
            class(r#"{"altStatName":"a","loadAssignment":{"clusterName":"a","endpoints":[]},"name":"a"}"#),
            Class::Element(ElementKind::Resource(ResourceKind::Cluster))
        );
        assert_eq!(
            class(r#"{"clusterName":"c","endpoints":[]}"#),
            Class::Element(ElementKind::Resource(ResourceKind::ClusterLoadAssignment))
        );
        assert_eq!(
            class(
                r#"{"endpointConfig":{"@type":"x/envoy.config.endpoint.v3.ClusterLoadAssignment","clusterName":"c"}}"#
            ),
            Class::Element(ElementKind::Entry(ListField::DynamicEndpointConfigs))
        );
        assert_eq!(class(r#"{"endpointConfig":{"dynamicEndpointConfigs":[{}]}}"#), Class::Unknown, "CSDS");
        assert_eq!(class(r#"{"a":{"b":1}}"#), Class::Unknown);
        assert_eq!(
            class(r#"{"loadAssignment":{"clusterName":"c","endpoints":[]},"name":"c","type":"STATIC"}"#),
            Class::Element(ElementKind::Resource(ResourceKind::Cluster)),
            "writers of goldens sort their keys"
        );
        assert_eq!(
            class(r#"{"circuitBreakers":{},"connectTimeout":"5s","edsClusterConfig":{},"name":"c"}"#),
            Class::Element(ElementKind::Resource(ResourceKind::Cluster))
        );
        assert_eq!(
            class(r#"{"validationContext":{},"name":"ca"}"#),
            Class::Element(ElementKind::Resource(ResourceKind::Secret))
        );
        let long =
            format!(r#"{{"loadAssignment":{{"endpoints":[{}]}},"name":"c"}}"#, r#"{"a":1},"#.repeat(LOOKAHEAD_BYTES));
        assert_eq!(class(&long), Class::Element(ElementKind::Resource(ResourceKind::Cluster)));
        assert_eq!(class(r#"{"connectTimeout":"10s","defaultConfig":{}}"#), Class::Unknown, "Istio's MeshConfig");
        assert_eq!(class(r#"{"op":"add","path":"/x","value":{"filterChains":[]}}"#), Class::Foreign);
        assert_eq!(class(r#"{"apiStatus":"UPDATE","name":"l","filterChains":[]}"#), Class::Foreign);
        assert_eq!(peek(br#"{"a":"#, false), Class::NeedMore);
    }
}
