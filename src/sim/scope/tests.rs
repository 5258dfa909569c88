//! Istio's rules, worked out by hand on small meshes.

use std::collections::BTreeSet;

use super::mesh::Mesh;
use super::view::{View, view};
use crate::model::envoy::Name;
use crate::model::kubernetes::{
    Destination, DestinationRule, Egress, Endpoints, Gateway, HttpRoute, Kubernetes, Labels, MeshConfig, Meta, Port,
    ProxyRole, Selector, Service, ServiceEntry, Sidecar, VirtualService,
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
    // the address of a headless service is no domain; its pods are, by their own names
    let domains = &v.tables["80"].hosts[0].domains;
    assert!(domains.iter().any(|d| d == "*.web.shop.svc.cluster.local") && domains.len() == 8, "{domains:?}");
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

/// The rules of the proxy in the root namespace, and hosts with wildcards (`PushContext.destinationRule`).
#[test]
fn the_most_specific_destination_rule_of_a_namespace_counts() {
    let rule = |namespace: &str, host: &str, to: &[&str], subset: &str| DestinationRule {
        meta: Meta { export_to: Some(names(to)), ..meta(namespace, subset) },
        host: host.into(),
        subsets: names(&[subset]),
    };
    let mut k = cluster();
    k.services.truncate(1);
    let none = labels(&[]);
    // a wildcard of the client's namespace hides the exact rule of the service's
    k.destination_rules = vec![
        rule("shop", "cart", &["*"], "v1"),
        rule("other", "*.local", &["."], "any"),
        rule("other", "*.com", &["."], "com"),
    ];
    assert_eq!(clusters(&k, "other", &none), set(&["80||cart.shop", "80|any|cart.shop"]));
    assert_eq!(clusters(&k, "third", &none), set(&["80||cart.shop", "80|v1|cart.shop"]));
    // the longer wildcard, and the exact host before it
    k.destination_rules.push(rule("other", "*.shop.svc.cluster.local", &["."], "near"));
    assert_eq!(clusters(&k, "other", &none), set(&["80||cart.shop", "80|near|cart.shop"]));
    k.destination_rules.push(rule("other", "cart.shop.svc.cluster.local", &["third"], "exact"));
    assert_eq!(clusters(&k, "other", &none), set(&["80||cart.shop", "80|exact|cart.shop"]));
    // a proxy of the root namespace takes its rules for everybody last, its private ones first
    k.destination_rules.push(rule("istio-system", "*.local", &["*"], "everybody"));
    assert_eq!(clusters(&k, "istio-system", &none), set(&["80||cart.shop", "80|v1|cart.shop"]));
    k.destination_rules.push(rule("istio-system", "*.local", &["."], "mine"));
    assert_eq!(clusters(&k, "istio-system", &none), set(&["80||cart.shop", "80|mine|cart.shop"]));
}

#[test]
fn egress_listeners_with_ports_add_up() {
    let mut k = cluster();
    k.services.push(service("other", "b", "10.0.0.4", &[("http", 80), ("grpc", 90), ("tcp", 99)]));
    let listen = |port, hosts: &[&str]| Egress { hosts: names(hosts), port };
    let none = labels(&[]);
    k.sidecars.push(Sidecar { egress: Vec::new(), ..sidecar("shop", "default", None, &[]) });
    // without egress: everything
    assert_eq!(clusters(&k, "shop", &none).len(), 6);
    k.sidecars[0].egress =
        vec![listen(Some(80), &["other/*"]), listen(Some(90), &["other/*"]), listen(Some(7), &["./*"])];
    assert_eq!(clusters(&k, "shop", &none), set(&["80||a.other", "80||b.other", "90||b.other"]));
    k.sidecars[0].egress = vec![listen(Some(80), &["other/*"]), listen(None, &["*/b.other.svc.cluster.local"])];
    assert_eq!(clusters(&k, "shop", &none), set(&["80||a.other", "80||b.other", "90||b.other", "99||b.other"]));
    // without a slash it is no egress host: nothing is imported
    k.sidecars[0].egress = vec![listen(None, &["*", "cart.shop.svc.cluster.local"])];
    assert_eq!(clusters(&k, "shop", &none), set(&[]));
    // destinations of routes come with the ports they name, all when one names none
    let to = |port| Destination { host: "b".into(), port, ..Destination::default() };
    k.virtual_services.push(VirtualService {
        meta: meta("other", "b"),
        hosts: names(&["*.shop.svc.cluster.local"]),
        destinations: vec![to(80), to(99)],
        ..VirtualService::default()
    });
    k.sidecars[0].egress = vec![listen(None, &["other/cart.shop.svc.cluster.local"])];
    assert_eq!(clusters(&k, "shop", &none), set(&["80||b.other", "99||b.other"]));
    k.virtual_services[0].destinations.push(to(0));
    assert_eq!(clusters(&k, "shop", &none), set(&["80||b.other", "90||b.other", "99||b.other"]));
}

#[test]
fn hosts_of_service_entries() {
    let entry =
        |namespace: &str, name: &str, hosts: &[&str], addresses: &[&str], resolution: &str, ports: &[(&str, u16)]| {
            ServiceEntry {
                meta: meta(namespace, name),
                hosts: names(hosts),
                addresses: names(addresses),
                ports: ports
                    .iter()
                    .map(|(p, n)| Port { number: *n, name: (*p).into(), protocol: (*p).into(), ..Port::default() })
                    .collect(),
                resolution: resolution.into(),
                endpoints: 0,
            }
        };
    let none = labels(&[]);
    // every host with every port; a listener per address, ranges aside; none: on all addresses
    let first = vec![
        entry(
            "shop",
            "db",
            &["a.example.com", "b.example.com"],
            &["1.1.1.1", "1.1.1.2/32", "2.0.0.0/8"],
            "STATIC",
            &[("TCP", 5432), ("UDP", 53)],
        ),
        entry("shop", "web", &["*.example.org"], &[], "NONE", &[("HTTP", 80), ("TLS", 443), ("", 90)]),
    ];
    let mut k = Kubernetes { service_entries: first, ..Kubernetes::default() };
    let v = sent(&k, "shop", &none);
    let mut all: Vec<&str> = v.clusters.iter().map(|c| c.name.trim_start_matches("outbound|")).collect();
    all.sort_unstable();
    assert_eq!(
        all,
        ["443||*.example.org", "5432||a.example.com", "5432||b.example.com", "80||*.example.org", "90||*.example.org"]
    );
    let listeners: Vec<&str> = v.listeners.keys().map(String::as_str).collect();
    assert_eq!(listeners, ["0.0.0.0_443", "0.0.0.0_80", "0.0.0.0_90", "1.1.1.1_5432", "1.1.1.2_5432"]);
    // one host twice: the ports of one namespace together; of two namespaces a Sidecar knows its own, or the oldest
    k.service_entries = vec![
        entry("other", "x", &["x.com"], &[], "DNS", &[("HTTP", 80)]),
        entry("shop", "x1", &["x.com"], &[], "DNS", &[("HTTP", 81)]),
        entry("shop", "x2", &["x.com"], &[], "DNS", &[("HTTP", 81), ("HTTP", 82)]),
    ];
    k.service_entries[0].meta.created = "2020-01-01T00:00:00Z".into();
    for e in &mut k.service_entries[1..] {
        e.meta.created = "2021-01-01T00:00:00Z".into();
    }
    assert_eq!(clusters(&k, "third", &none), set(&["80||x.com", "81||x.com", "82||x.com"]));
    k.sidecars = vec![sidecar("istio-system", "default", None, &["*/*"])];
    assert_eq!(clusters(&k, "third", &none), set(&["80||x.com"]));
    assert_eq!(clusters(&k, "shop", &none), set(&["81||x.com", "82||x.com"]));
    assert!(sent(&k, "shop", &none).clusters.iter().all(|c| c.dns));
}

/// What VirtualServices add besides: a host of no service on port 80; and clusters by SNI of a gateway between clusters.
#[test]
fn routed_hosts_and_sni_clusters() {
    use super::view::{add_routed_hosts, add_sni_clusters};
    let mut k = cluster();
    let route = |name: &str, hosts: &[&str]| VirtualService {
        meta: meta("shop", name),
        hosts: names(hosts),
        http_routes: 1,
        destinations: vec![Destination { host: "cart".into(), ..Destination::default() }],
        ..VirtualService::default()
    };
    k.virtual_services = vec![
        route("cart", &["cart"]),
        route("own", &["shop.example.com"]),
        route("all", &["*.other.svc.cluster.local"]),
    ];
    let mesh = Mesh::of(&k);
    let seen = mesh.seen("shop", &[]);
    let mut v = view(&mesh, "shop", &seen, ProxyRole::Sidecar);
    add_routed_hosts(&mut v, &mesh, "shop", &[], &seen);
    let hosts: Vec<&str> = v.tables["80"].hosts.iter().map(|h| &*h.name).collect();
    assert_eq!(hosts, ["a.other.svc.cluster.local:80", "cart.shop.svc.cluster.local:80", "shop.example.com:80"]);
    assert_eq!(v.tables["80"].hosts[2].cluster, "outbound|80||cart.shop.svc.cluster.local");
    let mut gateway = view(&mesh, "istio-system", &mesh.seen("istio-system", &[]), ProxyRole::Gateway);
    add_sni_clusters(&mut gateway);
    assert_eq!(gateway.clusters.len(), 6);
    assert!(gateway.clusters.iter().any(|c| c.name == "outbound_.5432_._.db.shop.svc.cluster.local"));
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
