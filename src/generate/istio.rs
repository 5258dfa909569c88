//! Meshes of Istio: one list of services gives the Kubernetes objects and what istiod sends a sidecar for them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::lab::Workload;
use crate::lab::design::{access_loggers, istio_matches_of, istio_metadata_of, istio_retries, istio_stats};
use crate::lab::mixes::{breakers, istio_hcm, istio_inbound, listener_filter, mesh_secrets};
use crate::lab::shapes::*;
use crate::sim::scope::mesh::{Protocol, protocol};

/// Name, number and target of a port.
pub(super) type Port = (&'static str, u16, u16);

/// A Service with a virtual address.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// Namespace.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
    /// `clusterIP`.
    pub(super) address: String,
    /// Ports.
    pub(super) ports: Vec<Port>,
    /// `metadata.labels`.
    pub(super) labels: Value,
    /// `spec.selector`.
    pub(super) selector: Option<Value>,
    /// Addresses of its ready pods.
    pub(super) pods: Vec<String>,
}

impl Service {
    /// One whose pods carry the label `app` with its name.
    pub(super) fn of_app(namespace: &str, name: &str, address: String, ports: &[Port], pods: Vec<String>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            address,
            ports: ports.to_vec(),
            labels: json!({}),
            selector: Some(json!({"app": name})),
            pods,
        }
    }

    fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    /// The Service and its EndpointSlice.
    pub(super) fn objects(&self) -> Vec<Value> {
        let (namespace, name) = (&self.namespace, &self.name);
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|(n, p, t)| json!({"name": n, "port": p, "targetPort": t, "protocol": "TCP"}))
            .collect();
        let targets: Vec<Value> =
            self.ports.iter().map(|(n, _, t)| json!({"name": n, "port": t, "protocol": "TCP"})).collect();
        let ready = |a: &String| json!({"addresses": [a], "conditions": {"ready": true}});
        let mut service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace, "labels": self.labels},
            "spec": {"type": "ClusterIP", "clusterIP": self.address, "ports": ports}});
        if let Some(selector) = &self.selector {
            service["spec"]["selector"] = selector.clone();
        }
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("{name}-1"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": self.pods.iter().map(ready).collect::<Vec<_>>(), "ports": targets});
        vec![service, slice]
    }
}

/// What every cluster with Istio has besides its applications.
pub(super) fn surroundings() -> Vec<Service> {
    let all: [(&str, &str, &[Port]); 4] = [
        ("default", "kubernetes", &[("https", 443, 6443)]),
        (
            "istio-system",
            "istiod",
            &[
                ("grpc-xds", 15010, 15010),
                ("https-dns", 15012, 15012),
                ("https-webhook", 443, 15017),
                ("http-monitoring", 15014, 15014),
            ],
        ),
        (
            "istio-system",
            "istio-ingressgateway",
            &[("status-port", 15021, 15021), ("http2", 80, 8080), ("https", 443, 8443)],
        ),
        ("kube-system", "kube-dns", &[("dns-tcp", 53, 53), ("metrics", 9153, 9153)]),
    ];
    all.into_iter()
        .enumerate()
        .map(|(i, (namespace, name, ports))| {
            let pod = vec![format!("10.244.255.{}", i + 1)];
            Service::of_app(namespace, name, format!("10.96.255.{}", i + 1), ports, pod)
        })
        .collect()
}

/// What istiod 1.20 sends a sidecar of `namespace` without a Sidecar object: every port of every service, and the ports
/// of its `own` service twice, as clients see it and inbound.
pub(super) fn sidecar(services: &[Service], namespace: &str, own: Option<&str>) -> Workload {
    let mut w = Workload::new("istio", 2);
    w.bootstrap = Some(istio_stats());
    mesh_secrets(&mut w);
    let mut tables: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    let mut asked: Vec<u16> = Vec::new();
    let log = json!([access_loggers()[1].1]);
    let tcp = |cluster: &str| {
        let mut proxy = tcp_proxy(cluster, cluster);
        proxy["typed_config"]["access_log"] = log.clone();
        proxy
    };
    for s in services {
        let host = s.host();
        for (name, port, _) in &s.ports {
            let cluster = format!("outbound|{port}||{host}");
            let sni = format!("outbound_.{port}_._.{host}");
            w.clusters.push(
                [istio_matches_of(&sni), istio_metadata_of(&s.name, &s.namespace, *port), breakers()]
                    .into_iter()
                    .fold(eds_cluster(&cluster), with),
            );
            w.endpoints.push(endpoints(&cluster, s));
            let place = w.listeners.len() + 100;
            let at = format!("{}_{port}", s.address);
            let outbound = json!({"traffic_direction": "OUTBOUND"});
            match protocol("TCP", "", name, *port) {
                Protocol::Http => {
                    tables.entry(*port).or_default().push(virtual_host(s, *port, domains(s, namespace)));
                    asked.push(*port);
                }
                // told apart by sniffing: a table of its own, and TCP for the rest
                Protocol::Auto => {
                    tables.entry(*port).or_default().push(virtual_host(s, *port, domains(s, namespace)));
                    let own_table = format!("{host}:{port}");
                    w.routes.push(table(&own_table, vec![virtual_host(s, *port, vec!["*".to_owned()])]));
                    let http = istio_hcm(&format!("outbound_{at};"), rds(&own_table), vec![]);
                    let sniffed = json!({"filter_chain_match": {"transport_protocol": "raw_buffer",
                        "application_protocols": ["http/1.1", "h2c"]}, "filters": [http]});
                    let l = with(
                        unbound(&at, place, vec![sniffed]),
                        json!({"default_filter_chain": chain(vec![tcp(&cluster)]),
                        "listener_filters": [listener_filter("tls_inspector", "TlsInspector"), listener_filter("http_inspector", "HttpInspector")]}),
                    );
                    w.listeners.push(with(l, outbound));
                }
                Protocol::Tcp => {
                    w.listeners.push(with(unbound(&at, place, vec![chain(vec![tcp(&cluster)])]), outbound));
                }
                Protocol::Udp => {}
            }
        }
    }
    let passthrough = json!({"name": "PassthroughFilterChain", "filters": [tcp("PassthroughCluster")]});
    for (port, mut hosts) in tables.into_iter().filter(|(port, _)| asked.contains(port)) {
        hosts.push(allow_any());
        let options = json!({"max_direct_response_body_size_bytes": 1_048_576, "ignore_port_in_host_matching": true});
        w.routes.push(with(table(&port.to_string(), hosts), options));
        let http = istio_hcm(&format!("outbound_0.0.0.0_{port};"), rds(&port.to_string()), vec![]);
        w.listeners.push(with(
            unbound(&format!("0.0.0.0_{port}"), usize::from(port) + 100_000, vec![chain(vec![http])]),
            json!({"traffic_direction": "OUTBOUND", "default_filter_chain": passthrough,
                "listener_filters": [listener_filter("tls_inspector", "TlsInspector"), listener_filter("http_inspector", "HttpInspector")]}),
        ));
    }
    let provided = json!({"lb_policy": "CLUSTER_PROVIDED"});
    let original = |name: &str| with(plain_cluster(name, "ORIGINAL_DST"), provided.clone());
    w.clusters.extend([original("PassthroughCluster"), original("InboundPassthroughClusterIpv4")]);
    w.clusters.push(plain_cluster("BlackHoleCluster", "STATIC"));
    let mut inbound = Vec::new();
    let mine = services.iter().filter(|s| s.namespace == namespace && Some(&*s.name) == own);
    for (name, port, target) in mine.flat_map(|s| &s.ports) {
        w.clusters.push(original(&format!("inbound|{target}||")));
        let chains = istio_inbound(usize::from(*target));
        // HTTP is the first two of the three
        let skipped = if protocol("TCP", "", name, *port) == Protocol::Tcp { 2 } else { 0 };
        inbound.extend(chains.into_iter().skip(skipped));
    }
    w.listeners.push(with(listener("virtualInbound", inbound), json!({"traffic_direction": "INBOUND", "default_filter_chain": chain(vec![tcp("InboundPassthroughClusterIpv4")]),
        "listener_filters": [listener_filter("original_dst", "OriginalDst"), listener_filter("tls_inspector", "TlsInspector"), listener_filter("http_inspector", "HttpInspector")],
        "access_log": log})));
    w.listeners.push(with(
        listener("virtualOutbound", vec![chain(vec![tcp("PassthroughCluster")])]),
        json!({"traffic_direction": "OUTBOUND", "use_original_dst": true, "access_log": log}),
    ));
    w
}

fn virtual_host(s: &Service, port: u16, domains: Vec<String>) -> Value {
    let host = s.host();
    let route = json!({"name": "default", "match": {"prefix": "/"}, "decorator": {"operation": format!("{host}:{port}/*")},
        "route": {"cluster": format!("outbound|{port}||{host}"), "timeout": "0s", "max_grpc_timeout": "0s", "retry_policy": istio_retries()}});
    with(vhost(&format!("{host}:{port}"), &domains, vec![route]), json!({"include_request_attempt_count": true}))
}

/// Names that clients of `namespace` may use (since 1.18 without ports).
fn domains(s: &Service, namespace: &str) -> Vec<String> {
    let mut all = vec![s.host()];
    if s.namespace == namespace {
        all.push(s.name.clone());
    }
    all.push(format!("{}.{}", s.name, s.namespace));
    all.push(format!("{}.{}.svc", s.name, s.namespace));
    all.push(s.address.clone());
    all
}

fn endpoints(cluster: &str, s: &Service) -> Value {
    let workload = format!("{0};{1};{0};v1;Kubernetes", s.name, s.namespace);
    let one = |address: &String| {
        json!({"endpoint": {"address": socket_address(address, 8080)}, "load_balancing_weight": 1, "metadata": {"filter_metadata": {
            "envoy.transport_socket_match": {"tlsMode": "istio"}, "istio": {"workload": workload}}}})
    };
    let hosts: Vec<Value> = s.pods.iter().map(one).collect();
    let groups = match hosts.len() {
        0 => json!([]),
        n => {
            json!([{"locality": {"region": "region-1", "zone": "zone-a"}, "lb_endpoints": hosts, "load_balancing_weight": n}])
        }
    };
    typed("envoy.config.endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": cluster, "endpoints": groups}))
}
