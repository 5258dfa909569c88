//! What one proxy is sent, as names: clusters, listeners, route tables and virtual hosts, by Istio's rules
//! (Istio 1.20, `pilot/pkg/networking/core/v1alpha3/{cluster,listener,httproute}.go`).

use std::collections::{BTreeMap, BTreeSet};

use super::mesh::{Mesh, Ports, Protocol, Resolution, Service, full, host_matches};
use crate::model::envoy::Name;
use crate::model::kubernetes::{Egress, Labels, ProxyRole};

/// A cluster towards a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// `outbound|port|subset|host`.
    pub name: String,
    /// Namespace of the service.
    pub namespace: Name,
    /// Endpoints.
    pub endpoints: u32,
    /// By DNS, not EDS.
    pub dns: bool,
}

/// The shapes of outbound listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// `0.0.0.0_port`: an HTTP connection manager over the port's route table, else passthrough.
    WildcardHttp,
    /// An address: TCP proxy to one cluster.
    Tcp,
    /// An address: HTTP connection manager over a table of its own, or TCP proxy.
    Sniffed,
}

/// A listener for services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// `address:port`.
    pub address: String,
    /// Shape.
    pub shape: Shape,
    /// Route table.
    pub table: Option<String>,
    /// Cluster of its TCP proxy.
    pub cluster: Option<String>,
}

/// A virtual host of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// `host:port`.
    pub name: String,
    /// Domains.
    pub domains: Vec<String>,
    /// Cluster its route leads to.
    pub cluster: String,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableView {
    /// Virtual hosts, the catch-all not counted.
    pub hosts: Vec<HostView>,
    /// It ends with `allow_any` or `block_all`.
    pub catch_all: bool,
}

/// What one proxy is sent for the services it sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Clusters, in the order of the services.
    pub clusters: Vec<ClusterView>,
    /// Outbound listeners by name.
    pub listeners: BTreeMap<String, ListenerView>,
    /// Route tables by name.
    pub tables: BTreeMap<String, TableView>,
    /// Ports of the workload itself, with a cluster and chains of the inbound listener each; true for HTTP.
    pub inbound: BTreeMap<u16, bool>,
    /// A gateway: clusters, no outbound listeners.
    pub gateway: bool,
}

/// What a proxy of `namespace` is sent, when it sees these ports of these services.
pub fn view(mesh: &Mesh<'_>, namespace: &str, seen: &BTreeMap<usize, Ports>, role: ProxyRole) -> View {
    let mut out = View { gateway: role != ProxyRole::Sidecar, ..View::default() };
    let mut names = BTreeSet::new();
    for (i, only) in seen {
        let s = &mesh.services[*i];
        let subsets = mesh.subsets(s, namespace);
        let wanted = |number: u16| only.as_ref().is_none_or(|ports| ports.contains(&number));
        for p in s.ports.iter().filter(|p| p.protocol != Protocol::Udp && wanted(p.number)) {
            let name = cluster_name(p.number, "", &s.host);
            // a host of two namespaces has one cluster per port, of the first
            if !names.insert((&s.host, p.number)) {
                continue;
            }
            for subset in std::iter::once("").chain(subsets.iter().map(|n| &***n)) {
                out.clusters.push(ClusterView {
                    name: cluster_name(p.number, subset, &s.host),
                    namespace: s.namespace.clone(),
                    endpoints: p.endpoints,
                    dns: s.resolution == Resolution::Dns,
                });
            }
            if out.gateway {
                continue;
            }
            outbound(&mut out, s, p.number, p.protocol, &name, namespace);
        }
    }
    // a table without its wildcard listener is asked for by nobody
    let asked: BTreeSet<&String> = out.listeners.values().filter_map(|l| l.table.as_ref()).collect();
    let unasked: Vec<String> = out.tables.keys().filter(|t| !asked.contains(t)).cloned().collect();
    for t in unasked {
        out.tables.remove(&t);
    }
    out
}

/// What the VirtualServices of a sidecar add: a host that no service it sees has gets a virtual host of its own, on port
/// 80 only (Istio 1.20, `pilot/pkg/networking/core/v1alpha3/route/route.go`).
pub fn add_routed_hosts(
    out: &mut View,
    mesh: &Mesh<'_>,
    namespace: &str,
    egress: &[Egress],
    seen: &BTreeMap<usize, Ports>,
) {
    let Some(table) = out.tables.get_mut("80") else { return };
    let hosts: BTreeSet<&str> = seen.keys().map(|i| &*mesh.services[*i].host).collect();
    let mut known: BTreeSet<String> = table.hosts.iter().map(|h| h.name.clone()).collect();
    for v in mesh.routes_for(namespace, egress).filter(|v| v.http_routes > 0) {
        let all: Vec<String> = v.hosts.iter().map(|h| full(h, &v.meta.namespace)).collect();
        let served =
            |h: &String| hosts.contains(&**h) || hosts.iter().any(|s| h.starts_with('*') && host_matches(h, s));
        if all.iter().any(served) {
            continue;
        }
        let Some(to) = v.destinations.first() else { continue };
        let target = full(&to.host, &v.meta.namespace);
        let port = if to.port > 0 {
            to.port
        } else {
            mesh.host(&target).and_then(|s| s.ports.first()).map_or(80, |p| p.number)
        };
        for host in all {
            let name = format!("{host}:80");
            if known.insert(name.clone()) {
                table.hosts.push(HostView {
                    name,
                    domains: vec![host],
                    cluster: cluster_name(port, &to.subset, &target),
                });
            }
        }
    }
}

/// What a gateway has besides when it passes connections on by their SNI: a cluster for each of those of the mesh.
pub fn add_sni_clusters(out: &mut View) {
    let of = |c: &ClusterView| {
        let mut parts = c.name.splitn(4, '|').skip(1);
        let (port, subset, host) = (parts.next()?, parts.next()?, parts.next()?);
        Some(ClusterView { name: format!("outbound_.{port}_.{subset}_.{host}"), ..c.clone() })
    };
    // those of ServiceEntries are outside the mesh unless they say otherwise
    let own: Vec<ClusterView> =
        out.clusters.iter().filter(|c| c.name.ends_with(".svc.cluster.local")).filter_map(of).collect();
    out.clusters.extend(own);
}

fn cluster_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

fn outbound(out: &mut View, s: &Service, port: u16, protocol: Protocol, cluster: &str, own: &str) {
    let host = HostView { name: format!("{}:{port}", s.host), domains: domains(s, own), cluster: cluster.to_owned() };
    let mut listen = |bind: &str, shape: Shape, table: Option<String>| {
        let view = ListenerView {
            address: format!("{bind}:{port}"),
            shape,
            table,
            cluster: (shape != Shape::WildcardHttp).then(|| cluster.to_owned()),
        };
        let entry = out.listeners.entry(format!("{bind}_{port}"));
        match entry {
            std::collections::btree_map::Entry::Vacant(v) => {
                v.insert(view);
            }
            // HTTP takes a wildcard listener over; its TCP side stays
            std::collections::btree_map::Entry::Occupied(mut o) if shape == Shape::WildcardHttp => {
                let tcp = o.get().cluster.clone();
                o.insert(ListenerView { cluster: tcp, ..view });
            }
            std::collections::btree_map::Entry::Occupied(_) => {}
        }
    };
    let own_table = format!("{}:{port}", s.host);
    // a headless service has a listener per pod (`EnableHeadlessService`)
    let binds: Vec<&str> = match (s.resolution, s.addresses.is_empty()) {
        (_, false) => s.addresses.iter().map(|a| &**a).collect(),
        (Resolution::Headless, true) if !s.name.is_empty() => s.pods.iter().map(|a| &**a).collect(),
        _ => vec!["0.0.0.0"],
    };
    match protocol {
        Protocol::Http => listen("0.0.0.0", Shape::WildcardHttp, Some(port.to_string())),
        Protocol::Tcp => binds.iter().for_each(|b| listen(b, Shape::Tcp, None)),
        Protocol::Auto if binds == ["0.0.0.0"] => listen("0.0.0.0", Shape::WildcardHttp, Some(port.to_string())),
        Protocol::Auto => binds.iter().for_each(|b| listen(b, Shape::Sniffed, Some(own_table.clone()))),
        Protocol::Udp => {}
    }
    if protocol == Protocol::Auto && !binds.is_empty() && binds != ["0.0.0.0"] {
        let any = HostView { domains: vec!["*".to_owned()], ..host.clone() };
        out.tables.insert(own_table, TableView { hosts: vec![any], catch_all: false });
    }
    if matches!(protocol, Protocol::Http | Protocol::Auto) {
        let table = out.tables.entry(port.to_string()).or_default();
        table.catch_all = true;
        table.hosts.push(host);
    }
}

/// Names a client may use, shorter ones in the service's own namespace (since Istio 1.18 without ports).
fn domains(s: &Service, own: &str) -> Vec<String> {
    let mut out = vec![s.host.to_string()];
    if !s.name.is_empty() {
        let (name, ns) = (&s.name, &s.namespace);
        if &**ns == own {
            out.push(name.to_string());
        }
        out.push(format!("{name}.{ns}"));
        out.push(format!("{name}.{ns}.svc"));
    }
    if s.resolution == Resolution::Headless && !s.name.is_empty() {
        // pods of a StatefulSet by their own names
        out.extend(out.clone().iter().map(|d| format!("*.{d}")));
    }
    out.extend(s.addresses.iter().map(|a| a.to_string()));
    out
}

/// Ports of the workload behind the services that select it: target port, and whether it is HTTP.
pub fn inbound(mesh: &Mesh<'_>, namespace: &str, labels: &Labels) -> BTreeMap<u16, bool> {
    let mut out = BTreeMap::new();
    for s in &mesh.cluster.services {
        let selects = &*s.meta.namespace == namespace
            && !s.selector.is_empty()
            && crate::model::kubernetes::matches(&s.selector, labels);
        if !selects {
            continue;
        }
        for p in &s.ports {
            let protocol = super::mesh::protocol(&p.protocol, &p.app_protocol, &p.name, p.number);
            if protocol == Protocol::Udp {
                continue;
            }
            let named = || {
                let pod = mesh.cluster.pods.iter().find(|x| {
                    &*x.meta.namespace == namespace && crate::model::kubernetes::matches(&s.selector, &x.meta.labels)
                });
                pod.and_then(|x| x.named_ports.iter().find(|(n, _)| *n == p.target)).map(|(_, n)| *n)
            };
            let target = if p.target.is_empty() { Some(p.number) } else { p.target.parse().ok().or_else(named) };
            out.entry(target.unwrap_or(p.number)).or_insert(protocol != Protocol::Tcp);
        }
    }
    out
}
