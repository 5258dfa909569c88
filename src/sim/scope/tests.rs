//! Istio's rules, worked out by hand on small meshes.

use std::collections::BTreeSet;

use super::mesh::Mesh;
use super::view::{View, view};
use crate::model::envoy::Name;
use crate::model::kubernetes::{
    Destination, DestinationRule, Egress, Endpoints, Gateway, HttpRoute, Kubernetes, Labels, MeshConfig, Meta, Port,
    ProxyRole, Selector, Service, Sidecar, VirtualService,
};

fn names(all: &[&str]) -> Vec<Name> {
    all.iter().map(|n| Name::from(*n)).collect()
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta { namespace: namespace.into(), name: name.into(), ..Meta::default() }
}

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

fn service(namespace: &str, name: &str, ip: &str, ports: &[(&str, u16)]) -> Service {
    let port = |(name, number): &(&str, u16)| Port {
        number: *number,
        name: (*name).into(),
        protocol: "TCP".into(),
        ..Port::default()
    };
    Service {
        meta: meta(namespace, name),
        kind: "ClusterIP".into(),
        cluster_ip: ip.into(),
        ports: ports.iter().map(port).collect(),
        ..Service::default()
    }
}

/// `shop/cart` (HTTP), `shop/db` (TCP), `other/a` (HTTP).
fn cluster() -> Kubernetes {
    Kubernetes {
        services: vec![
            service("shop", "cart", "10.0.0.1", &[("http", 80)]),
            service("shop", "db", "10.0.0.2", &[("tcp", 5432)]),
            service("other", "a", "10.0.0.3", &[("http", 80)]),
        ],
        ..Kubernetes::default()
    }
}

/// What a sidecar of `namespace` with these labels is sent.
fn sent(k: &Kubernetes, namespace: &str, pod: &Labels) -> View {
    let mesh = Mesh::of(k);
    let egress = mesh.sidecar_of(namespace, pod).map(|s| s.egress.clone()).unwrap_or_default();
    view(&mesh, namespace, &mesh.seen(namespace, &egress), ProxyRole::Sidecar)
}

/// Its clusters, `port|subset|service`.
fn clusters(k: &Kubernetes, namespace: &str, pod: &Labels) -> BTreeSet<String> {
    let short = |c: &super::view::ClusterView| c.name.trim_start_matches("outbound|").replace(".svc.cluster.local", "");
    sent(k, namespace, pod).clusters.iter().map(short).collect()
}

fn set(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|s| (*s).to_owned()).collect()
}

fn sidecar(namespace: &str, name: &str, selector: Option<Labels>, hosts: &[&str]) -> Sidecar {
    let egress = vec![Egress { hosts: names(hosts), port: None }];
    Sidecar { meta: meta(namespace, name), selector, egress, ..Sidecar::default() }
}

#[test]
fn a_headless_service_has_a_listener_per_pod_unless_it_is_http() {
    let mut k = cluster();
    k.services = vec![
        service("shop", "db", "None", &[("tcp", 5432)]),
        service("shop", "web", "None", &[("http", 80)]),
        service("shop", "raw", "None", &[("x", 9000)]),
    ];
    for (name, port) in [("db", "tcp"), ("web", "http"), ("raw", "x")] {
        k.endpoints.push(Endpoints {
            meta: meta("shop", name),
            service: name.into(),
            slice: true,
            ports: vec![(port.into(), 1)],
            ready: names(&["10.1.0.1", "10.1.0.2"]),
            not_ready: 1,
        });
    }
    let v = sent(&k, "shop", &labels(&[]));
    let listeners: Vec<&str> = v.listeners.keys().map(String::as_str).collect();
    assert_eq!(listeners, ["0.0.0.0_80", "10.1.0.1_5432", "10.1.0.1_9000", "10.1.0.2_5432", "10.1.0.2_9000"]);
    // sniffed: a table of its own; HTTP: the port's
    assert_eq!(v.tables.keys().map(String::as_str).collect::<Vec<_>>(), ["80", "raw.shop.svc.cluster.local:9000"]);
    assert!(v.clusters.iter().all(|c| c.endpoints == 2), "{:?}", v.clusters);
    // the address of a headless service is no domain
    assert_eq!(v.tables["80"].hosts[0].domains.last().map(String::as_str), Some("web.shop.svc"));
}

#[test]
fn discovery_selectors_leave_namespaces_out_for_everybody() {
    let mut k = cluster();
    let selector = Selector { labels: labels(&[("mesh", "yes")]), ..Selector::default() };
    k.mesh_configs = vec![MeshConfig {
        root_namespace: "istio-system".into(),
        discovery_selectors: vec![selector],
        ..MeshConfig::default()
    }];
    k.namespaces = vec![
        Meta { labels: labels(&[("mesh", "yes")]), ..meta("", "shop") },
        Meta { labels: labels(&[("mesh", "no")]), ..meta("", "other") },
    ];
    let mesh = Mesh::of(&k);
    assert_eq!((mesh.services.len(), mesh.unwatched), (2, 1));
    assert_eq!(clusters(&k, "other", &labels(&[])), set(&["80||cart.shop", "5432||db.shop"]));
    let gateway = view(&mesh, "istio-system", &mesh.seen("istio-system", &[]), ProxyRole::Gateway);
    assert_eq!(gateway.clusters.len(), 2);
}

#[test]
fn the_nearest_sidecar_applies() {
    let (web, none) = (labels(&[("app", "web"), ("v", "1")]), labels(&[]));
    let mut k = cluster();
    // the root namespace's default is everybody's, but not one of it that selects workloads
    k.sidecars.push(sidecar("istio-system", "default", None, &["./*"]));
    k.sidecars.push(sidecar("istio-system", "some", Some(labels(&[("app", "web")])), &["~/*"]));
    assert_eq!(clusters(&k, "shop", &web), set(&["80||cart.shop", "5432||db.shop"]));
    assert_eq!(clusters(&k, "other", &none), set(&["80||a.other"]));
    // the namespace's own default goes before it
    k.sidecars.push(sidecar("shop", "default", None, &["other/*"]));
    assert_eq!(clusters(&k, "shop", &web), set(&["80||a.other"]));
    // and one that selects the workload before that
    k.sidecars.push(sidecar("shop", "web", Some(labels(&[("app", "web")])), &["./db.shop.svc.cluster.local"]));
    assert_eq!(clusters(&k, "shop", &web), set(&["5432||db.shop"]));
    assert_eq!(clusters(&k, "shop", &none), set(&["80||a.other"]));
}

#[test]
fn export_to_of_services() {
    let mut k = cluster();
    k.services[0].meta.export_to = Some(names(&["."]));
    k.services[1].meta.export_to = Some(names(&["other"]));
    k.services[2].meta.export_to = Some(names(&["~"]));
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&["80||cart.shop"]));
    assert_eq!(clusters(&k, "other", &labels(&[])), set(&["5432||db.shop"]));
    // the mesh's default is for those that say nothing
    k.services[1].meta.export_to = None;
    k.mesh_configs = vec![MeshConfig {
        root_namespace: "istio-system".into(),
        default_service_export_to: names(&["."]),
        ..MeshConfig::default()
    }];
    assert_eq!(clusters(&k, "other", &labels(&[])), set(&[]));
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&["80||cart.shop", "5432||db.shop"]));
}

#[test]
fn a_virtual_service_brings_its_destinations_where_it_is_seen() {
    let mut k = cluster();
    k.sidecars.push(sidecar("shop", "default", None, &["./*"]));
    let to = |host: &str| vec![Destination { host: host.into(), ..Destination::default() }];
    let a = "a.other.svc.cluster.local";
    k.virtual_services.push(VirtualService {
        meta: meta("shop", "cart"),
        hosts: names(&["cart"]),
        destinations: to(a),
        ..VirtualService::default()
    });
    let own = ["80||cart.shop", "5432||db.shop"];
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&[own[0], own[1], "80||a.other"]));
    // one for gateways is none of a sidecar's, nor one that another namespace keeps to itself
    k.virtual_services[0].gateways = names(&["istio-system/main"]);
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&own));
    k.virtual_services[0].gateways = Vec::new();
    k.virtual_services[0].meta = Meta { export_to: Some(names(&["."])), ..meta("other", "cart") };
    k.virtual_services[0].hosts = names(&["cart.shop.svc.cluster.local"]);
    k.sidecars[0].egress[0].hosts = names(&["./*", "other/cart.shop.svc.cluster.local"]);
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&own));
    k.virtual_services[0].meta.export_to = None;
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&[own[0], own[1], "80||a.other"]));
}

#[test]
fn subsets_come_from_the_nearest_destination_rule() {
    let rule = |namespace: &str, to: Option<&[&str]>, subset: &str| DestinationRule {
        meta: Meta { export_to: to.map(names), ..meta(namespace, subset) },
        host: "cart.shop.svc.cluster.local".into(),
        subsets: names(&[subset]),
    };
    let mut k = cluster();
    k.services.truncate(1);
    k.destination_rules = vec![rule("istio-system", None, "root")];
    assert_eq!(clusters(&k, "other", &labels(&[])), set(&["80||cart.shop", "80|root|cart.shop"]));
    // the service's namespace before the root's, for those it is exported to
    k.destination_rules.push(rule("shop", Some(&["."]), "v1"));
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&["80||cart.shop", "80|v1|cart.shop"]));
    assert_eq!(clusters(&k, "other", &labels(&[])), set(&["80||cart.shop", "80|root|cart.shop"]));
    // one without subsets hides those further away
    k.destination_rules.push(DestinationRule { subsets: Vec::new(), ..rule("third", None, "none") });
    assert_eq!(clusters(&k, "third", &labels(&[])), set(&["80||cart.shop"]));
    // the client's before both; several of one namespace are merged
    k.destination_rules.push(rule("other", Some(&["."]), "mine"));
    k.destination_rules.push(rule("other", None, "also"));
    assert_eq!(clusters(&k, "other", &labels(&[])), set(&["80||cart.shop", "80|also|cart.shop", "80|mine|cart.shop"]));
    assert_eq!(clusters(&k, "shop", &labels(&[])), set(&["80||cart.shop", "80|v1|cart.shop"]));
}

#[test]
fn a_filtered_gateway_knows_what_its_routes_lead_to() {
    let pod = labels(&[("istio", "ingressgateway")]);
    let mut k = cluster();
    k.gateways = vec![
        Gateway { meta: meta("istio-system", "main"), selector: pod.clone(), ..Gateway::default() },
        Gateway {
            meta: meta("istio-system", "egress"),
            selector: labels(&[("istio", "egress")]),
            ..Gateway::default()
        },
    ];
    let routed = |gateway: &str, host: &str| VirtualService {
        meta: meta("shop", gateway),
        hosts: names(&["shop.example.com"]),
        gateways: names(&[gateway]),
        destinations: vec![Destination { host: host.into(), ..Destination::default() }],
        ..VirtualService::default()
    };
    k.virtual_services =
        vec![routed("istio-system/main", "cart"), routed("istio-system/egress", "db"), routed("main", "db")];
    let hosts = Mesh::of(&k).gateway_hosts("istio-system", &pod);
    assert_eq!(hosts, set(&["cart.shop.svc.cluster.local"]));
    // a Gateway of the Gateway API owns the pods that carry its name
    k.http_routes.push(HttpRoute {
        meta: meta("other", "a"),
        parents: vec![("istio-system".into(), "web".into())],
        backends: vec![("".into(), "a".into(), 80)],
        ..HttpRoute::default()
    });
    let own = labels(&[("gateway.networking.k8s.io/gateway-name", "web")]);
    assert_eq!(Mesh::of(&k).gateway_hosts("istio-system", &own), set(&["a.other.svc.cluster.local"]));
    assert_eq!(Mesh::of(&k).gateway_hosts("shop", &own), set(&[]));
}
