//! What a cluster holds, as an export of its objects shows it, reduced to what decides a proxy's configuration.
//!
//! Namespaces, names and labels are Kubernetes' own; Istio, Knative, Gateway API, Contour and OSM objects keep the field
//! names of their APIs. Lists are in the order of namespace and name.

use std::collections::BTreeMap;

use super::envoy::Name;
use super::source::Span;

/// Labels or annotations, in the order written.
pub type Labels = Vec<(Name, Name)>;

/// The value of a label.
pub fn label<'a>(labels: &'a Labels, key: &str) -> Option<&'a Name> {
    labels.iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
}

/// Whether every pair of `selector` is among `labels`.
pub fn matches(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(k, v)| label(labels, k) == Some(v))
}

/// Identity of an object, and where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// `metadata.namespace`; empty for what has none.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `networking.istio.io/exportTo` of the annotations, or `spec.exportTo`; `None` when neither is there.
    pub export_to: Option<Vec<Name>>,
    /// The controlling owner: kind and name.
    pub owner: Option<(Name, Name)>,
    /// `metadata.resourceVersion` where it is a number, else 0.
    pub resource_version: u64,
    /// `metadata.creationTimestamp`, as written; empty when absent.
    pub created: Name,
    /// Place of the object in its document.
    pub span: Span,
}

/// A port of a Service or ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Port {
    /// Port number.
    pub number: u16,
    /// Name; decides the protocol in Istio (`http-web`, `tcp-db`).
    pub name: Name,
    /// `TCP`, `UDP` or `SCTP`; for a ServiceEntry its Istio protocol (`HTTP`, `TLS` …).
    pub protocol: Name,
    /// `appProtocol`; empty when absent.
    pub app_protocol: Name,
    /// `targetPort` as written (number or name); empty when it is the port itself.
    pub target: Name,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Identity.
    pub meta: Meta,
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub kind: Name,
    /// `clusterIP`: empty, `None` (headless) or an address.
    pub cluster_ip: Name,
    /// `externalName`.
    pub external_name: Name,
    /// Ports.
    pub ports: Vec<Port>,
    /// Selector.
    pub selector: Labels,
}

impl Service {
    /// Headless: DNS gives the addresses of its pods.
    pub fn headless(&self) -> bool {
        &*self.cluster_ip == "None"
    }
}

/// Addresses of one port set of a Service, from Endpoints or an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// Identity of the object.
    pub meta: Meta,
    /// The Service they belong to.
    pub service: Name,
    /// From an EndpointSlice.
    pub slice: bool,
    /// Names and numbers of the ports.
    pub ports: Vec<(Name, u16)>,
    /// Addresses ready to serve.
    pub ready: Vec<Name>,
    /// Addresses that are not.
    pub not_ready: u32,
}

/// What an Envoy of a pod is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyRole {
    /// Beside an application.
    Sidecar,
    /// A gateway of its own.
    Gateway,
    /// Istio's waypoint.
    Waypoint,
}

/// The container of a pod that runs an Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyContainer {
    /// Name of the container.
    pub name: Name,
    /// Image.
    pub image: Name,
    /// Role.
    pub role: ProxyRole,
    /// An agent (pilot-agent, kuma-dp …) runs in the same container.
    pub agent: bool,
    /// Memory limit in bytes.
    pub limit_bytes: Option<u64>,
    /// CPU limit in thousandths.
    pub cpu_limit_millis: Option<u64>,
    /// Worker threads, where arguments, environment or annotations say so.
    pub concurrency: Option<u32>,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Identity.
    pub meta: Meta,
    /// `status.podIP`.
    pub ip: Name,
    /// `status.phase`.
    pub phase: Name,
    /// `spec.nodeName`.
    pub node: Name,
    /// Containers, init containers not counted.
    pub containers: u32,
    /// Sum of the memory limits of all containers, when each has one.
    pub limit_bytes: Option<u64>,
    /// Ports of containers by name, for named target ports.
    pub named_ports: Vec<(Name, u16)>,
    /// The container with an Envoy, if any.
    pub proxy: Option<ProxyContainer>,
}

/// A Deployment, StatefulSet, DaemonSet or ReplicaSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workload {
    /// Identity.
    pub meta: Meta,
    /// Kind.
    pub kind: Name,
    /// `spec.replicas` (`status.desiredNumberScheduled` of a DaemonSet).
    pub replicas: u32,
    /// Labels of its pods.
    pub pod_labels: Labels,
    /// `sidecar.istio.io/inject` of its pods: label or annotation.
    pub inject: Option<bool>,
}

/// An entry of a label selector's `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirement {
    /// Label.
    pub key: Name,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: Name,
    /// Values.
    pub values: Vec<Name>,
}

/// A label selector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: Labels,
    /// `matchExpressions`.
    pub expressions: Vec<Requirement>,
}

impl Selector {
    /// Whether it selects an object with `labels`; an empty selector selects everything.
    pub fn selects(&self, labels: &Labels) -> bool {
        matches(&self.labels, labels)
            && self.expressions.iter().all(|r| {
                let value = label(labels, &r.key);
                match &*r.operator {
                    "In" => value.is_some_and(|v| r.values.contains(v)),
                    "NotIn" => value.is_none_or(|v| !r.values.contains(v)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

/// An egress listener of a Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Egress {
    /// `namespace/host` forms.
    pub hosts: Vec<Name>,
    /// Its own port, when it has one.
    pub port: Option<u16>,
}

/// Istio's Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sidecar {
    /// Identity.
    pub meta: Meta,
    /// `workloadSelector.labels`; `None` for the default of its namespace.
    pub selector: Option<Labels>,
    /// Egress; empty means the default, everything.
    pub egress: Vec<Egress>,
    /// Ingress ports, when it lists them.
    pub ingress: Option<Vec<u16>>,
    /// `outboundTrafficPolicy.mode`; empty when absent.
    pub outbound_policy: Name,
}

/// A destination of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// Host as written.
    pub host: Name,
    /// Subset; empty when absent.
    pub subset: Name,
    /// Port number; 0 when absent.
    pub port: u16,
}

/// Istio's VirtualService.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VirtualService {
    /// Identity.
    pub meta: Meta,
    /// Hosts.
    pub hosts: Vec<Name>,
    /// Gateways; empty means `mesh`.
    pub gateways: Vec<Name>,
    /// HTTP routes.
    pub http_routes: u32,
    /// TCP and TLS routes.
    pub tcp_routes: u32,
    /// Destinations of all routes.
    pub destinations: Vec<Destination>,
}

/// Istio's DestinationRule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationRule {
    /// Identity.
    pub meta: Meta,
    /// Host as written.
    pub host: Name,
    /// Names of its subsets.
    pub subsets: Vec<Name>,
}

/// Istio's ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceEntry {
    /// Identity.
    pub meta: Meta,
    /// Hosts: each is a service.
    pub hosts: Vec<Name>,
    /// Addresses.
    pub addresses: Vec<Name>,
    /// Ports.
    pub ports: Vec<Port>,
    /// `NONE`, `STATIC`, `DNS` or `DNS_ROUND_ROBIN`.
    pub resolution: Name,
    /// Endpoints given.
    pub endpoints: u32,
}

/// A server of an Istio Gateway, or a listener of a Gateway API one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// Port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP` …
    pub protocol: Name,
    /// Hosts.
    pub hosts: Vec<Name>,
    /// `SIMPLE`, `PASSTHROUGH`, `AUTO_PASSTHROUGH` …; empty without TLS.
    pub tls_mode: Name,
}

/// A Gateway, Istio's or of the Gateway API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gateway {
    /// Identity.
    pub meta: Meta,
    /// Of the Gateway API.
    pub gateway_api: bool,
    /// Labels of the pods it applies to (Istio).
    pub selector: Labels,
    /// Servers or listeners.
    pub servers: Vec<Server>,
}

/// An HTTPRoute of the Gateway API, or an HTTPProxy of Contour.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpRoute {
    /// Identity.
    pub meta: Meta,
    /// Host names.
    pub hosts: Vec<Name>,
    /// Gateways it attaches to (`namespace/name`), empty for an HTTPProxy.
    pub parents: Vec<(Name, Name)>,
    /// Rules.
    pub rules: u32,
    /// Services its rules lead to: namespace (empty: its own), name, port.
    pub backends: Vec<(Name, Name, u16)>,
    /// It terminates TLS (HTTPProxy).
    pub tls: bool,
}

/// Istio's mesh configuration, from ConfigMap `istio`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeshConfig {
    /// Identity of the ConfigMap.
    pub meta: Meta,
    /// `rootNamespace`; the ConfigMap's namespace when absent.
    pub root_namespace: Name,
    /// `discoverySelectors`; empty: every namespace.
    pub discovery_selectors: Vec<Selector>,
    /// `defaultServiceExportTo`.
    pub default_service_export_to: Vec<Name>,
    /// `defaultVirtualServiceExportTo`.
    pub default_virtual_service_export_to: Vec<Name>,
    /// `defaultDestinationRuleExportTo`.
    pub default_destination_rule_export_to: Vec<Name>,
    /// `outboundTrafficPolicy.mode` is `REGISTRY_ONLY`.
    pub registry_only: bool,
    /// `defaultConfig.concurrency`.
    pub concurrency: Option<u32>,
}

/// A Knative Service or Route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnativeRoute {
    /// Identity.
    pub meta: Meta,
    /// A Service (ksvc), not a Route.
    pub service: bool,
    /// Revisions that `status.traffic` or `spec.traffic` name.
    pub revisions: Vec<Name>,
    /// Latest revision, ready or created.
    pub latest: Name,
}

/// A Knative Revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revision {
    /// Identity.
    pub meta: Meta,
    /// `serving.knative.dev/service` of its labels.
    pub service: Name,
    /// `serving.knative.dev/routingState` of its labels: `active`, `reserve`; empty when absent.
    pub routing_state: Name,
    /// Condition `Active`: scaled above zero; `None` when absent.
    pub active: Option<bool>,
}

/// Knative's garbage collection of revisions, from ConfigMap `config-gc`; `None` where the default holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevisionGc {
    /// `retain-since-create-time`.
    pub retain_since_create: Option<Name>,
    /// `retain-since-last-active-time`.
    pub retain_since_last_active: Option<Name>,
    /// `min-non-active-revisions`.
    pub min_non_active: Option<Name>,
    /// `max-non-active-revisions`.
    pub max_non_active: Option<Name>,
}

/// OSM's MeshConfig.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsmMeshConfig {
    /// Identity.
    pub meta: Meta,
    /// `traffic.enablePermissiveTrafficPolicyMode`.
    pub permissive: bool,
    /// `featureFlags.enableWASMStats`.
    pub wasm_stats: bool,
}

/// SMI's TrafficTarget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrafficTarget {
    /// Identity.
    pub meta: Meta,
    /// Service account allowed to be called: namespace, name.
    pub destination: (Name, Name),
    /// Service accounts allowed to call it.
    pub sources: Vec<(Name, Name)>,
    /// Rules (HTTPRouteGroups and the like).
    pub rules: u32,
}

/// SMI's HTTPRouteGroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpRouteGroup {
    /// Identity.
    pub meta: Meta,
    /// Matches.
    pub matches: u32,
}

/// Everything of a cluster that the evidence shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kubernetes {
    /// Services.
    pub services: Vec<Service>,
    /// Endpoints and EndpointSlices.
    pub endpoints: Vec<Endpoints>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// Namespaces, with their labels.
    pub namespaces: Vec<Meta>,
    /// Deployments, StatefulSets, DaemonSets, ReplicaSets.
    pub workloads: Vec<Workload>,
    /// Istio's Sidecars.
    pub sidecars: Vec<Sidecar>,
    /// VirtualServices.
    pub virtual_services: Vec<VirtualService>,
    /// DestinationRules.
    pub destination_rules: Vec<DestinationRule>,
    /// ServiceEntries.
    pub service_entries: Vec<ServiceEntry>,
    /// Gateways.
    pub gateways: Vec<Gateway>,
    /// HTTPRoutes.
    pub http_routes: Vec<HttpRoute>,
    /// HTTPProxies.
    pub http_proxies: Vec<HttpRoute>,
    /// Istio's mesh configurations (one per control plane revision).
    pub mesh_configs: Vec<MeshConfig>,
    /// Knative Services and Routes.
    pub knative_routes: Vec<KnativeRoute>,
    /// Knative Revisions.
    pub revisions: Vec<Revision>,
    /// Knative's garbage collection.
    pub revision_gc: Option<RevisionGc>,
    /// OSM's MeshConfigs.
    pub osm_mesh_configs: Vec<OsmMeshConfig>,
    /// TrafficTargets.
    pub traffic_targets: Vec<TrafficTarget>,
    /// HTTPRouteGroups.
    pub http_route_groups: Vec<HttpRouteGroup>,
    /// Objects by kind, whether their content is read or not.
    pub kinds: BTreeMap<Name, u64>,
    /// Events of a watch among them.
    pub watch_events: u64,
    /// An object was met before its own `List` ended early, or a document was lost: "not there" is no claim to make.
    pub incomplete: bool,
}
