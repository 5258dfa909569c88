//! The wire shapes of the objects, reduced to what the model keeps, and the way from them into it.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::evidence::json::message::{Count, Entries, Flag, List, Num, Plain, Text, message, mismatch};
use crate::evidence::json::names;
use crate::model::envoy::{MAX_WORKERS, Name};
use crate::model::kubernetes as k8s;

message! {
    struct Owner { kind: Text = "kind", name: Text = "name", controller: Flag = "controller" }
}

message! {
    struct Metadata {
        name: Text = "name",
        namespace: Text = "namespace",
        labels: Entries<Text> = "labels",
        annotations: Entries<Plain> = "annotations",
        owners: List<Owner> = "ownerReferences",
        version: Text = "resourceVersion",
        created: Text = "creationTimestamp",
    }
}

impl Metadata {
    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| &*v.0)
    }

    fn model(self, export_to: List<Text>) -> k8s::Meta {
        let list = |l: List<Text>| l.0.into_iter().map(|t| t.0).collect::<Vec<_>>();
        let annotated = self
            .annotation("networking.istio.io/exportTo")
            .map(|v| v.split(',').map(|s| names::word(s.trim())).filter(|s| !s.is_empty()).collect::<Vec<_>>());
        let owner = self.owners.0.into_iter().find(|o| o.controller.0 == Some(true)).map(|o| (o.kind.0, o.name.0));
        k8s::Meta {
            export_to: annotated.or_else(|| Some(list(export_to)).filter(|l| !l.is_empty())),
            namespace: self.namespace.0,
            name: self.name.0,
            labels: labels(self.labels),
            owner,
            resource_version: self.version.0.parse().unwrap_or(0),
            created: self.created.0,
            span: crate::model::source::Span::default(),
        }
    }
}

fn labels(entries: Entries<Text>) -> k8s::Labels {
    entries.0.into_iter().map(|(k, v)| (names::word(&k), v.0)).collect()
}

fn texts(list: List<Text>) -> Vec<Name> {
    list.0.into_iter().map(|t| t.0).collect()
}

/// A whole number from 0 to `max`; another one is a mismatch and absent.
fn whole<'de, D: Deserializer<'de>>(d: D, wanted: &str, max: u32) -> Result<Option<u32>, D::Error> {
    let Some(n) = Num::deserialize(d)?.0 else { return Ok(None) };
    if n.fract() != 0.0 || !(0.0..=f64::from(max)).contains(&n) {
        mismatch(wanted, format_args!("`{n}`"))?;
        return Ok(None);
    }
    Ok(Some(n as u32))
}

/// A port number; 0 when absent.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PortNumber(u16);

impl<'de> Deserialize<'de> for PortNumber {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(whole(d, "a port (1 to 65535)", 65535)?.unwrap_or(0) as u16))
    }
}

/// A number of things.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Amount(Option<u32>);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(whole(d, "a whole number (up to 2147483647)", i32::MAX as u32)?))
    }
}

/// Worker threads.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Workers(Option<u32>);

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(whole(d, "a number of workers (up to 1024)", MAX_WORKERS)?))
    }
}

/// A Kubernetes quantity in thousandths.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Quantity(Option<u128>);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(d)?;
        let read = millis(&text.0);
        if read.is_none() && !text.is_empty() {
            mismatch("a quantity (as in 256Mi or 500m)", format_args!("`{}`", text.0))?;
        }
        Ok(Self(read))
    }
}

message! {
    struct ServicePort {
        name: Text = "name",
        number: PortNumber = "port" | "number",
        protocol: Text = "protocol",
        app_protocol: Text = "appProtocol",
        target: Text = "targetPort",
    }
}

impl ServicePort {
    fn model(self) -> k8s::Port {
        k8s::Port {
            number: self.number.0,
            name: self.name.0,
            protocol: self.protocol.0,
            app_protocol: self.app_protocol.0,
            target: self.target.0,
        }
    }
}

message! {
    struct ServiceSpec {
        kind: Text = "type",
        cluster_ip: Text = "clusterIP",
        external_name: Text = "externalName",
        ports: List<ServicePort> = "ports",
        selector: Entries<Text> = "selector",
    }
}

message! { struct Service { meta: Metadata = "metadata", spec: ServiceSpec = "spec" } }

message! { struct EndpointPort { name: Text = "name", port: PortNumber = "port" } }
message! { struct Address { ip: Text = "ip" } }
message! {
    struct Subset {
        addresses: List<Address> = "addresses",
        not_ready: Count = "notReadyAddresses",
        ports: List<EndpointPort> = "ports",
    }
}
message! { struct EndpointsObject { meta: Metadata = "metadata", subsets: List<Subset> = "subsets" } }
message! { struct Conditions { ready: Flag = "ready" } }
message! { struct SliceEndpoint { addresses: List<Text> = "addresses", conditions: Conditions = "conditions" } }
message! {
    struct EndpointSlice {
        meta: Metadata = "metadata",
        endpoints: List<SliceEndpoint> = "endpoints",
        ports: List<EndpointPort> = "ports",
    }
}

message! { struct Env { name: Text = "name", value: Plain = "value" } }
message! { struct Resources { limits: Entries<Quantity> = "limits" } }
message! { struct ContainerPort { name: Text = "name", port: PortNumber = "containerPort" } }
message! {
    struct Container {
        name: Text = "name",
        image: Text = "image",
        args: List<Plain> = "args",
        env: List<Env> = "env",
        resources: Resources = "resources",
        ports: List<ContainerPort> = "ports",
        restart: Text = "restartPolicy",
    }
}
message! {
    struct PodSpec {
        containers: List<Container> = "containers",
        init_containers: List<Container> = "initContainers",
        node: Text = "nodeName",
    }
}
message! { struct PodStatus { ip: Text = "podIP", phase: Text = "phase" } }
message! { struct Pod { meta: Metadata = "metadata", spec: PodSpec = "spec", status: PodStatus = "status" } }
message! { struct Plainest { meta: Metadata = "metadata" } }

message! { struct PodTemplate { meta: Metadata = "metadata" } }
message! { struct WorkloadSpec { replicas: Amount = "replicas", template: PodTemplate = "template" } }
message! { struct WorkloadStatus { desired: Amount = "desiredNumberScheduled" } }
message! {
    struct Workload { meta: Metadata = "metadata", spec: WorkloadSpec = "spec", status: WorkloadStatus = "status" }
}

message! { struct LabelsOnly { labels: Entries<Text> = "labels" | "matchLabels" } }
message! { struct PortWire { number: PortNumber = "number" } }
message! { struct EgressWire { hosts: List<Text> = "hosts", port: PortWire = "port" } }
message! { struct IngressWire { port: PortWire = "port" } }
message! { struct Mode { mode: Text = "mode" } }
message! {
    struct SidecarSpec {
        selector: Option<LabelsOnly> = "workloadSelector",
        egress: List<EgressWire> = "egress",
        ingress: Option<List<IngressWire>> = "ingress",
        policy: Mode = "outboundTrafficPolicy",
    }
}
message! { struct Sidecar { meta: Metadata = "metadata", spec: SidecarSpec = "spec" } }

message! { struct DestinationWire { host: Text = "host", subset: Text = "subset", port: PortWire = "port" } }
message! { struct RouteDestination { destination: DestinationWire = "destination" } }
message! {
    struct VirtualRoute {
        route: List<RouteDestination> = "route",
        mirror: Option<DestinationWire> = "mirror",
        mirrors: List<RouteDestination> = "mirrors",
    }
}
message! {
    struct VirtualServiceSpec {
        hosts: List<Text> = "hosts",
        gateways: List<Text> = "gateways",
        http: List<VirtualRoute> = "http",
        tcp: List<VirtualRoute> = "tcp",
        tls: List<VirtualRoute> = "tls",
        export_to: List<Text> = "exportTo",
    }
}
message! { struct VirtualService { meta: Metadata = "metadata", spec: VirtualServiceSpec = "spec" } }

message! { struct Named { name: Text = "name" } }
message! {
    struct DestinationRuleSpec { host: Text = "host", subsets: List<Named> = "subsets", export_to: List<Text> = "exportTo" }
}
message! { struct DestinationRule { meta: Metadata = "metadata", spec: DestinationRuleSpec = "spec" } }

message! {
    struct ServiceEntrySpec {
        hosts: List<Text> = "hosts",
        addresses: List<Text> = "addresses",
        ports: List<ServicePort> = "ports",
        resolution: Text = "resolution",
        endpoints: Count = "endpoints",
        export_to: List<Text> = "exportTo",
    }
}
message! { struct ServiceEntry { meta: Metadata = "metadata", spec: ServiceEntrySpec = "spec" } }

message! { struct ServerPort { number: PortNumber = "number", protocol: Text = "protocol" } }
message! { struct ServerWire { port: ServerPort = "port", hosts: List<Text> = "hosts", tls: Mode = "tls" } }
message! {
    struct ListenerWire { port: PortNumber = "port", protocol: Text = "protocol", hostname: Text = "hostname", tls: Mode = "tls" }
}
message! {
    struct GatewaySpec {
        selector: Entries<Text> = "selector",
        servers: List<ServerWire> = "servers",
        listeners: List<ListenerWire> = "listeners",
    }
}
message! { struct Gateway { meta: Metadata = "metadata", spec: GatewaySpec = "spec" } }

message! { struct NamespacedName { name: Text = "name", namespace: Text = "namespace", port: PortNumber = "port" } }
message! { struct HttpRule { backends: List<NamespacedName> = "backendRefs" } }
message! {
    struct HttpRouteSpec {
        hosts: List<Text> = "hostnames",
        parents: List<NamespacedName> = "parentRefs",
        rules: List<HttpRule> = "rules",
    }
}
message! { struct HttpRoute { meta: Metadata = "metadata", spec: HttpRouteSpec = "spec" } }
message! { struct ProxyTls { secret: Text = "secretName" } }
message! { struct ProxyHost { fqdn: Text = "fqdn", tls: ProxyTls = "tls" } }
message! { struct ProxyRoute { services: List<NamespacedName> = "services" } }
message! { struct HttpProxySpec { host: ProxyHost = "virtualhost", routes: List<ProxyRoute> = "routes" } }
message! { struct HttpProxy { meta: Metadata = "metadata", spec: HttpProxySpec = "spec" } }

message! { struct ConfigMap { meta: Metadata = "metadata", data: Entries<Plain> = "data" } }
message! { struct Expression { key: Text = "key", operator: Text = "operator", values: List<Text> = "values" } }
message! {
    struct SelectorWire { labels: Entries<Text> = "matchLabels", expressions: List<Expression> = "matchExpressions" }
}
message! { struct DefaultConfig { concurrency: Workers = "concurrency" } }
message! {
    struct MeshYaml {
        root: Text = "rootNamespace",
        selectors: List<SelectorWire> = "discoverySelectors",
        services: List<Text> = "defaultServiceExportTo",
        virtual_services: List<Text> = "defaultVirtualServiceExportTo",
        destination_rules: List<Text> = "defaultDestinationRuleExportTo",
        policy: Mode = "outboundTrafficPolicy",
        config: DefaultConfig = "defaultConfig",
    }
}

message! { struct Traffic { revision: Text = "revisionName" } }
message! { struct KnativeSpec { traffic: List<Traffic> = "traffic" } }
message! {
    struct KnativeStatus {
        traffic: List<Traffic> = "traffic",
        ready: Text = "latestReadyRevisionName",
        created: Text = "latestCreatedRevisionName",
        conditions: List<Condition> = "conditions",
    }
}
message! { struct Condition { kind: Text = "type", status: Text = "status" } }
message! { struct Knative { meta: Metadata = "metadata", spec: KnativeSpec = "spec", status: KnativeStatus = "status" } }

message! { struct OsmTraffic { permissive: Flag = "enablePermissiveTrafficPolicyMode" } }
message! { struct OsmFlags { wasm: Flag = "enableWASMStats" } }
message! { struct OsmSpec { traffic: OsmTraffic = "traffic", flags: OsmFlags = "featureFlags" } }
message! { struct Osm { meta: Metadata = "metadata", spec: OsmSpec = "spec" } }
message! {
    struct TargetSpec {
        destination: NamespacedName = "destination",
        sources: List<NamespacedName> = "sources",
        rules: Count = "rules",
    }
}
message! { struct Target { meta: Metadata = "metadata", spec: TargetSpec = "spec" } }
message! { struct GroupSpec { matches: Count = "matches" } }
message! { struct Group { meta: Metadata = "metadata", spec: GroupSpec = "spec" } }

/// One object, in the model's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Service(k8s::Service),
    Endpoints(Vec<k8s::Endpoints>),
    Pod(Box<k8s::Pod>),
    Namespace(k8s::Meta),
    Workload(k8s::Workload),
    Sidecar(k8s::Sidecar),
    VirtualService(k8s::VirtualService),
    DestinationRule(k8s::DestinationRule),
    ServiceEntry(k8s::ServiceEntry),
    Gateway(k8s::Gateway),
    HttpRoute(k8s::HttpRoute),
    HttpProxy(k8s::HttpRoute),
    MeshConfig(k8s::MeshConfig),
    RevisionGc(k8s::Meta, k8s::RevisionGc),
    ConfigMap(k8s::Meta),
    KnativeRoute(k8s::KnativeRoute),
    Revision(k8s::Revision),
    Osm(k8s::OsmMeshConfig),
    TrafficTarget(k8s::TrafficTarget),
    HttpRouteGroup(k8s::HttpRouteGroup),
}

impl Body {
    /// Whether it decides anything about a proxy here.
    pub(super) fn used(&self) -> bool {
        !matches!(
            self,
            Self::ConfigMap(_) | Self::HttpProxy(_) | Self::Osm(_) | Self::TrafficTarget(_) | Self::HttpRouteGroup(_)
        )
    }

    pub(super) fn metas(&mut self) -> Vec<&mut k8s::Meta> {
        vec![match self {
            Self::Service(o) => &mut o.meta,
            Self::Endpoints(all) => return all.iter_mut().map(|e| &mut e.meta).collect(),
            Self::Pod(o) => &mut o.meta,
            Self::Namespace(m) | Self::RevisionGc(m, _) | Self::ConfigMap(m) => m,
            Self::Workload(o) => &mut o.meta,
            Self::Sidecar(o) => &mut o.meta,
            Self::VirtualService(o) => &mut o.meta,
            Self::DestinationRule(o) => &mut o.meta,
            Self::ServiceEntry(o) => &mut o.meta,
            Self::Gateway(o) => &mut o.meta,
            Self::HttpRoute(o) | Self::HttpProxy(o) => &mut o.meta,
            Self::MeshConfig(o) => &mut o.meta,
            Self::KnativeRoute(o) => &mut o.meta,
            Self::Revision(o) => &mut o.meta,
            Self::Osm(o) => &mut o.meta,
            Self::TrafficTarget(o) => &mut o.meta,
            Self::HttpRouteGroup(o) => &mut o.meta,
        }]
    }
}

/// Reads text of one form into one of the wire shapes.
pub(super) trait Source {
    type Error;
    fn parse<W: DeserializeOwned + Default>(&self) -> Result<W, Self::Error>;
    /// YAML inside a string of the object, which is the value of `key`; what cannot be read is a mismatch and the default.
    fn inner_yaml<W: DeserializeOwned + Default>(&self, key: &str, text: &str) -> Result<W, Self::Error>;
}

/// The object of `kind` in API group `group`; `None` for kinds that are only counted.
pub(super) fn read<S: Source>(source: &S, group: &str, kind: &str) -> Result<Option<Body>, S::Error> {
    let none = List::default;
    Ok(Some(match (group, kind) {
        ("", "Service") => {
            let w: Service = source.parse()?;
            Body::Service(k8s::Service {
                meta: w.meta.model(none()),
                kind: w.spec.kind.0,
                cluster_ip: w.spec.cluster_ip.0,
                external_name: w.spec.external_name.0,
                ports: w.spec.ports.0.into_iter().map(ServicePort::model).collect(),
                selector: labels(w.spec.selector),
            })
        }
        ("", "Endpoints") => {
            let w: EndpointsObject = source.parse()?;
            let meta = w.meta.model(none());
            let one = |s: Subset| k8s::Endpoints {
                meta: meta.clone(),
                service: meta.name.clone(),
                slice: false,
                ports: s.ports.0.into_iter().map(|p| (p.name.0, p.port.0)).collect(),
                ready: s.addresses.0.into_iter().map(|a| a.ip.0).collect(),
                not_ready: s.not_ready.get(),
            };
            let mut all: Vec<_> = w.subsets.0.into_iter().map(one).collect();
            if all.is_empty() {
                all.push(k8s::Endpoints { service: meta.name.clone(), meta, ..k8s::Endpoints::default() });
            }
            Body::Endpoints(all)
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            let w: EndpointSlice = source.parse()?;
            let meta = w.meta.model(none());
            // an address counts as ready when its condition is absent (Kubernetes API reference, EndpointConditions)
            let (ready, rest): (Vec<_>, Vec<_>) =
                w.endpoints.0.into_iter().partition(|e| e.conditions.ready.0 != Some(false));
            Body::Endpoints(vec![k8s::Endpoints {
                service: k8s::label(&meta.labels, "kubernetes.io/service-name").cloned().unwrap_or_default(),
                slice: true,
                ports: w.ports.0.into_iter().map(|p| (p.name.0, p.port.0)).collect(),
                // one endpoint, however many addresses of it are listed
                ready: ready.into_iter().filter_map(|e| e.addresses.0.into_iter().next()).map(|a| a.0).collect(),
                not_ready: u32::try_from(rest.len()).unwrap_or(u32::MAX),
                meta,
            }])
        }
        ("", "Pod") => Body::Pod(Box::new(pod(source, source.parse()?)?)),
        ("", "Namespace") => Body::Namespace(source.parse::<Plainest>()?.meta.model(none())),
        ("apps" | "extensions", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => {
            let w: Workload = source.parse()?;
            let template = w.spec.template.meta;
            let inject = template
                .labels
                .0
                .iter()
                .find(|(k, _)| &**k == "sidecar.istio.io/inject")
                .map(|(_, v)| v.0.to_string())
                .or_else(|| template.annotation("sidecar.istio.io/inject").map(str::to_owned))
                .map(|v| v == "true");
            let replicas = if kind == "DaemonSet" { w.status.desired } else { w.spec.replicas };
            Body::Workload(k8s::Workload {
                meta: w.meta.model(none()),
                kind: names::word(kind),
                // absent means 1 (Kubernetes API reference, DeploymentSpec)
                replicas: replicas.0.unwrap_or(1),
                pod_labels: labels(template.labels),
                inject,
            })
        }
        ("networking.istio.io", "Sidecar") => {
            let w: Sidecar = source.parse()?;
            let egress =
                |e: EgressWire| k8s::Egress { hosts: texts(e.hosts), port: Some(e.port.number.0).filter(|p| *p > 0) };
            Body::Sidecar(k8s::Sidecar {
                meta: w.meta.model(none()),
                selector: w.spec.selector.map(|s| labels(s.labels)),
                egress: w.spec.egress.0.into_iter().map(egress).collect(),
                ingress: w.spec.ingress.map(|l| l.0.into_iter().map(|i| i.port.number.0).collect()),
                outbound_policy: w.spec.policy.mode.0,
            })
        }
        ("networking.istio.io", "VirtualService") => virtual_service(source.parse()?),
        ("networking.istio.io", "DestinationRule") => {
            let w: DestinationRule = source.parse()?;
            Body::DestinationRule(k8s::DestinationRule {
                meta: w.meta.model(w.spec.export_to),
                host: w.spec.host.0,
                subsets: w.spec.subsets.0.into_iter().map(|s| s.name.0).collect(),
            })
        }
        ("networking.istio.io", "ServiceEntry") => {
            let w: ServiceEntry = source.parse()?;
            Body::ServiceEntry(k8s::ServiceEntry {
                meta: w.meta.model(w.spec.export_to),
                hosts: texts(w.spec.hosts),
                addresses: texts(w.spec.addresses),
                ports: w.spec.ports.0.into_iter().map(ServicePort::model).collect(),
                resolution: w.spec.resolution.0,
                endpoints: w.spec.endpoints.get(),
            })
        }
        ("networking.istio.io" | "gateway.networking.k8s.io", "Gateway") => {
            let w: Gateway = source.parse()?;
            let server = |s: ServerWire| k8s::Server {
                port: s.port.number.0,
                protocol: s.port.protocol.0,
                hosts: texts(s.hosts),
                tls_mode: s.tls.mode.0,
            };
            let listener = |l: ListenerWire| k8s::Server {
                port: l.port.0,
                protocol: l.protocol.0,
                hosts: if l.hostname.is_empty() { Vec::new() } else { vec![l.hostname.0] },
                tls_mode: l.tls.mode.0,
            };
            Body::Gateway(k8s::Gateway {
                meta: w.meta.model(none()),
                gateway_api: group == "gateway.networking.k8s.io",
                selector: labels(w.spec.selector),
                servers: w
                    .spec
                    .servers
                    .0
                    .into_iter()
                    .map(server)
                    .chain(w.spec.listeners.0.into_iter().map(listener))
                    .collect(),
            })
        }
        ("gateway.networking.k8s.io", "HTTPRoute") => {
            let w: HttpRoute = source.parse()?;
            let rules = w.spec.rules.0;
            Body::HttpRoute(k8s::HttpRoute {
                meta: w.meta.model(none()),
                hosts: texts(w.spec.hosts),
                parents: w.spec.parents.0.into_iter().map(|p| (p.namespace.0, p.name.0)).collect(),
                rules: u32::try_from(rules.len()).unwrap_or(u32::MAX),
                backends: rules.into_iter().flat_map(|r| r.backends.0).map(backend).collect(),
                tls: false,
            })
        }
        ("projectcontour.io", "HTTPProxy") => {
            let w: HttpProxy = source.parse()?;
            let host = w.spec.host;
            let routes = w.spec.routes.0;
            Body::HttpProxy(k8s::HttpRoute {
                meta: w.meta.model(none()),
                hosts: if host.fqdn.is_empty() { Vec::new() } else { vec![host.fqdn.0] },
                parents: Vec::new(),
                rules: u32::try_from(routes.len()).unwrap_or(u32::MAX),
                backends: routes.into_iter().flat_map(|r| r.services.0).map(backend).collect(),
                tls: !host.tls.secret.is_empty(),
            })
        }
        ("", "ConfigMap") => config_map(source, source.parse()?)?,
        ("serving.knative.dev", "Service" | "Route") => {
            let w: Knative = source.parse()?;
            let traffic = w.status.traffic.0.into_iter().chain(w.spec.traffic.0);
            let mut revisions: Vec<Name> = traffic.map(|t| t.revision.0).filter(|n| !n.is_empty()).collect();
            revisions.sort();
            revisions.dedup();
            let latest = if w.status.ready.is_empty() { w.status.created } else { w.status.ready };
            Body::KnativeRoute(k8s::KnativeRoute {
                meta: w.meta.model(none()),
                service: kind == "Service",
                revisions,
                latest: latest.0,
            })
        }
        ("serving.knative.dev", "Revision") => {
            let w: Knative = source.parse()?;
            let active = w.status.conditions.0.iter().find(|c| &*c.kind.0 == "Active").map(|c| &*c.status.0 == "True");
            let meta = w.meta.model(none());
            let of = |key: &str| k8s::label(&meta.labels, key).cloned().unwrap_or_default();
            Body::Revision(k8s::Revision {
                service: of("serving.knative.dev/service"),
                routing_state: of("serving.knative.dev/routingState"),
                active,
                meta,
            })
        }
        ("config.openservicemesh.io", "MeshConfig") => {
            let w: Osm = source.parse()?;
            Body::Osm(k8s::OsmMeshConfig {
                meta: w.meta.model(none()),
                permissive: w.spec.traffic.permissive.0 == Some(true),
                wasm_stats: w.spec.flags.wasm.0 == Some(true),
            })
        }
        ("access.smi-spec.io", "TrafficTarget") => {
            let w: Target = source.parse()?;
            Body::TrafficTarget(k8s::TrafficTarget {
                meta: w.meta.model(none()),
                destination: (w.spec.destination.namespace.0, w.spec.destination.name.0),
                sources: w.spec.sources.0.into_iter().map(|s| (s.namespace.0, s.name.0)).collect(),
                rules: w.spec.rules.get(),
            })
        }
        ("specs.smi-spec.io", "HTTPRouteGroup") => {
            let w: Group = source.parse()?;
            Body::HttpRouteGroup(k8s::HttpRouteGroup { meta: w.meta.model(none()), matches: w.spec.matches.get() })
        }
        _ => return Ok(None),
    }))
}

fn backend(b: NamespacedName) -> (Name, Name, u16) {
    (b.namespace.0, b.name.0, b.port.0)
}

fn virtual_service(w: VirtualService) -> Body {
    let spec = w.spec;
    let count = |l: &List<VirtualRoute>| u32::try_from(l.0.len()).unwrap_or(u32::MAX);
    let (http_routes, tcp_routes) = (count(&spec.http), count(&spec.tcp).saturating_add(count(&spec.tls)));
    let destination =
        |d: DestinationWire| k8s::Destination { host: d.host.0, subset: d.subset.0, port: d.port.number.0 };
    let mut destinations: Vec<k8s::Destination> = Vec::new();
    for route in spec.http.0.into_iter().chain(spec.tcp.0).chain(spec.tls.0) {
        let all = route.route.0.into_iter().chain(route.mirrors.0).map(|r| r.destination).chain(route.mirror);
        destinations.extend(all.map(destination).filter(|d| !d.host.is_empty()));
    }
    destinations.sort();
    destinations.dedup();
    Body::VirtualService(k8s::VirtualService {
        meta: w.meta.model(spec.export_to),
        hosts: texts(spec.hosts),
        gateways: texts(spec.gateways),
        http_routes,
        tcp_routes,
        destinations,
    })
}

fn config_map<S: Source>(source: &S, w: ConfigMap) -> Result<Body, S::Error> {
    let data = |key: &str| w.data.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| &*v.0);
    let name = &*w.meta.name.0;
    if name == "config-gc" {
        let of = |key: &str| data(key).map(names::word);
        let gc = k8s::RevisionGc {
            retain_since_create: of("retain-since-create-time"),
            retain_since_last_active: of("retain-since-last-active-time"),
            min_non_active: of("min-non-active-revisions"),
            max_non_active: of("max-non-active-revisions"),
        };
        return Ok(Body::RevisionGc(w.meta.model(List::default()), gc));
    }
    let mesh = if name == "istio" || name.starts_with("istio-") { data("mesh") } else { None };
    let Some(mesh) = mesh else { return Ok(Body::ConfigMap(w.meta.model(List::default()))) };
    let mesh: MeshYaml = source.inner_yaml("mesh", mesh)?;
    let meta = w.meta.model(List::default());
    let selector = |s: SelectorWire| k8s::Selector {
        labels: labels(s.labels),
        expressions: s
            .expressions
            .0
            .into_iter()
            .map(|e| k8s::Requirement { key: e.key.0, operator: e.operator.0, values: texts(e.values) })
            .collect(),
    };
    Ok(Body::MeshConfig(k8s::MeshConfig {
        root_namespace: if mesh.root.is_empty() { meta.namespace.clone() } else { mesh.root.0 },
        discovery_selectors: mesh.selectors.0.into_iter().map(selector).collect(),
        default_service_export_to: texts(mesh.services),
        default_virtual_service_export_to: texts(mesh.virtual_services),
        default_destination_rule_export_to: texts(mesh.destination_rules),
        registry_only: &*mesh.policy.mode.0 == "REGISTRY_ONLY",
        concurrency: mesh.config.concurrency.0,
        meta,
    }))
}

/// A Kubernetes quantity (`512Mi`, `1Gi`, `300M`, `128974848000m`, `1e9`) in thousandths: `100m` of a CPU is 100, `2`
/// is 2000.
fn millis(quantity: &str) -> Option<u128> {
    let q = quantity.trim();
    if let Ok(plain) = q.parse::<f64>() {
        return (0.0..1e24).contains(&plain).then_some((plain * 1000.0) as u128);
    }
    let digits = q.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = q.split_at(digits);
    let factor: f64 = match unit {
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "E" => 1e21,
        "Ki" => 1024e3,
        "Mi" => 1_048_576e3,
        "Gi" => 1_073_741_824e3,
        "Ti" => 1_099_511_627_776e3,
        "Pi" => 1.125_899_906_842_624e18,
        "Ei" => 1.152_921_504_606_847e21,
        _ => return None,
    };
    let value: f64 = number.parse().ok()?;
    (value * factor < 1e24).then_some((value * factor) as u128)
}

/// Thousandths of a container's limit.
fn limit(c: &Container, resource: &str) -> Option<u128> {
    c.resources.limits.0.iter().find(|(k, _)| &**k == resource)?.1.0
}

/// Bytes of a container's memory limit.
fn memory_limit(c: &Container) -> Option<u64> {
    limit(c, "memory").map(|m| m.div_ceil(1000).min(u128::from(u64::MAX)) as u64)
}

/// Whether a container runs an Envoy, and whether its agent runs beside it in the same container. By the names that
/// the injectors give: Istio `istio-proxy`, Kuma `kuma-sidecar`, Consul `consul-dataplane`, OSM `envoy`.
fn envoy_in(c: &Container, osm: bool) -> Option<bool> {
    match &*c.name.0 {
        "istio-proxy" | "kuma-sidecar" | "consul-dataplane" => Some(true),
        "envoy-sidecar" => Some(false),
        "envoy" if osm => Some(false),
        // gateways of Envoy Gateway and Contour
        "envoy" if c.image.0.contains("envoy") => Some(false),
        _ => None,
    }
}

message! { struct ProxyConfig { concurrency: Workers = "concurrency" } }

fn pod<S: Source>(source: &S, w: Pod) -> Result<k8s::Pod, S::Error> {
    let osm = w.meta.labels.0.iter().any(|(k, _)| &**k == "osm-proxy-uuid");
    // a native sidecar is an init container that is restarted always (Kubernetes 1.28)
    let native = w.spec.init_containers.0.iter().filter(|c| &*c.restart.0 == "Always");
    let all: Vec<&Container> = w.spec.containers.0.iter().chain(native).collect();
    let concurrency = |key: &str, text: Option<&str>| -> Result<Option<u32>, S::Error> {
        let config = text.filter(|t| !t.is_empty()).map(|t| source.inner_yaml::<ProxyConfig>(key, t)).transpose()?;
        Ok(config.and_then(|c| c.concurrency.0))
    };
    let annotated = concurrency("proxy.istio.io/config", w.meta.annotation("proxy.istio.io/config"))?;
    let found = all.iter().find_map(|c| Some((*c, envoy_in(c, osm)?)));
    let env = found.and_then(|(c, _)| c.env.0.iter().find(|e| &*e.name.0 == "PROXY_CONFIG"));
    let of_env = concurrency("PROXY_CONFIG", env.map(|e| &*e.value.0))?;
    let proxy = found.map(|(c, agent)| {
        let arg = |name: &str| {
            let at = c.args.0.iter().position(|a| *a.0 == *name || a.0.starts_with(&format!("{name}=")))?;
            match c.args.0[at].0.split_once('=') {
                Some((_, v)) => v.parse().ok(),
                None => c.args.0.get(at + 1)?.0.parse().ok(),
            }
        };
        let is = |word: &str| c.args.0.iter().any(|a| &*a.0 == word);
        let role = if is("waypoint") {
            k8s::ProxyRole::Waypoint
        } else if is("router")
            || (!is("sidecar") && w.spec.containers.0.len() == 1 && agent)
            || (&*c.name.0 == "envoy" && !osm)
        {
            k8s::ProxyRole::Gateway
        } else {
            k8s::ProxyRole::Sidecar
        };
        k8s::ProxyContainer {
            name: c.name.0.clone(),
            image: c.image.0.clone(),
            role,
            agent,
            limit_bytes: memory_limit(c),
            cpu_limit_millis: limit(c, "cpu").and_then(|l| u64::try_from(l).ok()),
            concurrency: arg("--concurrency").filter(|n| *n <= MAX_WORKERS).or(annotated).or(of_env),
        }
    });
    let limits: Option<Vec<u64>> = all.iter().map(|c| memory_limit(c)).collect();
    let named_ports = all.iter().flat_map(|c| &c.ports.0).filter(|p| !p.name.is_empty());
    Ok(k8s::Pod {
        named_ports: named_ports.map(|p| (p.name.0.clone(), p.port.0)).collect(),
        limit_bytes: limits.filter(|l| !l.is_empty()).map(|l| l.into_iter().fold(0, u64::saturating_add)),
        containers: u32::try_from(w.spec.containers.0.len()).unwrap_or(u32::MAX),
        proxy,
        meta: w.meta.model(List::default()),
        ip: w.status.ip.0,
        phase: w.status.phase.0,
        node: w.spec.node.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, n) in [
            ("512Mi", Some(512 << 20)),
            ("1Gi", Some(1 << 30)),
            ("300M", Some(300_000_000)),
            ("128974848", Some(128_974_848)),
            ("128974848000m", Some(128_974_848)),
            ("1e9", Some(1_000_000_000)),
            ("1.5Gi", Some(1_610_612_736)),
            ("2Pi", Some(2 << 50)),
            ("lots", None),
            ("-1Gi", None),
            ("1Xi", None),
        ] {
            assert_eq!(millis(text).map(|m| m / 1000), n, "{text}");
        }
        assert_eq!(millis("250m"), Some(250));
        assert_eq!(millis("2"), Some(2000));
    }
}
