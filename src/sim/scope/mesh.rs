//! The services of a mesh, and which of them a proxy is told about (Istio 1.20, `pilot/pkg/model/sidecar.go`,
//! `pilot/pkg/model/push_context.go`, `pkg/config/kube/conversion.go`).

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashMapExt};

use crate::model::envoy::Name;
use crate::model::kubernetes::{Egress, Kubernetes, Labels, Meta, Sidecar, VirtualService, label, matches};

/// How Istio treats a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1, HTTP/2, gRPC by the port's name or `appProtocol`.
    Http,
    /// TCP, TLS, HTTPS, databases.
    Tcp,
    /// Not declared: both, told apart by sniffing.
    Auto,
    /// UDP: no cluster.
    Udp,
}

/// The protocol of a port: `appProtocol` first, then its name up to the first dash, then ports that are known to talk
/// first (SMTP, DNS, MySQL, MongoDB).
pub fn protocol(transport: &str, app_protocol: &str, name: &str, port: u16) -> Protocol {
    if transport.eq_ignore_ascii_case("UDP") {
        return Protocol::Udp;
    }
    let word = |w: &str| match w.to_ascii_lowercase().as_str() {
        "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" | "kubernetes.io/h2c" | "kubernetes.io/ws" => {
            Some(Protocol::Http)
        }
        "tcp" | "tls" | "https" | "mongo" | "redis" | "mysql" | "kubernetes.io/wss" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    };
    if !app_protocol.is_empty() {
        return word(app_protocol).unwrap_or(Protocol::Auto);
    }
    let prefix = name.split('-').next().unwrap_or("");
    // a ServiceEntry's protocol is the word itself
    word(prefix).or_else(|| word(transport).filter(|_| transport != "TCP")).unwrap_or(match port {
        25 | 53 | 3306 | 27017 => Protocol::Tcp,
        _ => Protocol::Auto,
    })
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Number.
    pub number: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Ready endpoints behind it.
    pub endpoints: u32,
    /// The workload port, where it is a number.
    pub target: u16,
}

/// How a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// By its endpoints.
    Endpoints,
    /// Headless: the address dialled is the pod's.
    Headless,
    /// By DNS (ExternalName, ServiceEntries).
    Dns,
}

/// A service of the mesh: a Kubernetes Service, or a host of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Full host name.
    pub host: Name,
    /// Short name, for the domains of its virtual hosts; empty for a ServiceEntry.
    pub name: Name,
    /// Namespace.
    pub namespace: Name,
    /// Its virtual address; empty without one.
    pub address: Name,
    /// Ports with a cluster.
    pub ports: Vec<ServicePort>,
    /// How it is reached.
    pub resolution: Resolution,
    /// Namespaces it is exported to, `*`, `.`, `~` among them.
    pub export_to: Vec<Name>,
    /// Addresses of its endpoints, of a headless service.
    pub addresses: Vec<Name>,
    /// The Knative revision it belongs to.
    pub revision: Option<Name>,
}

/// Everything that decides what proxies see.
#[derive(Debug, Clone)]
pub struct Mesh<'a> {
    /// The cluster.
    pub cluster: &'a Kubernetes,
    /// Services, by host; only namespaces that istiod watches.
    pub services: Vec<Service>,
    /// Istio's root namespace.
    pub root: Name,
    /// Services left out by discovery selectors.
    pub unwatched: u32,
    /// The first service of each host.
    by_host: HashMap<Name, usize>,
    /// DestinationRules by host.
    rules: BTreeMap<Name, Vec<Rule>>,
}

/// What a DestinationRule adds to a host.
#[derive(Debug, Clone)]
struct Rule {
    namespace: Name,
    export_to: Vec<Name>,
    subsets: Vec<Name>,
}

fn exported(meta: &Meta, default: &[Name]) -> Vec<Name> {
    meta.export_to.clone().unwrap_or_else(|| if default.is_empty() { vec!["*".into()] } else { default.to_vec() })
}

/// Whether something of `namespace` with this `exportTo` is visible in `to`.
pub fn visible(export_to: &[Name], namespace: &str, to: &str) -> bool {
    export_to.iter().any(|e| match &**e {
        "*" => true,
        "." => namespace == to,
        "~" => false,
        other => other == to,
    })
}

/// Full name of a host as written in an object of `namespace`: short names are completed.
pub fn full(host: &str, namespace: &str) -> String {
    if host.contains('.') || host.contains('*') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// Whether `host` is what a Sidecar's `dnsName` names: exact, `*`, or `*.suffix`.
fn host_matches(pattern: &str, host: &str) -> bool {
    pattern == "*" || pattern == host || pattern.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
}

/// Whether an egress entry (`namespace/dnsName`) of a Sidecar in `own` imports `host` of `namespace`.
pub fn imports(entry: &str, own: &str, namespace: &str, host: &str) -> bool {
    let (ns, pattern) = entry.split_once('/').unwrap_or(("*", entry));
    let in_namespace = match ns {
        "*" => true,
        "." => namespace == own,
        "~" => false,
        other => other == namespace,
    };
    in_namespace && host_matches(pattern, host)
}

impl<'a> Mesh<'a> {
    /// The mesh of a cluster.
    pub fn of(cluster: &'a Kubernetes) -> Self {
        let config = cluster.mesh_configs.first();
        let root: Name = config.map_or_else(|| "istio-system".into(), |c| c.root_namespace.clone());
        let selectors = config.map_or(&[][..], |c| &c.discovery_selectors);
        let watched = |namespace: &str| {
            selectors.is_empty()
                || cluster
                    .namespaces
                    .iter()
                    .find(|n| &*n.name == namespace)
                    .is_none_or(|n| selectors.iter().any(|s| s.selects(&n.labels)))
        };
        let default = config.map_or(&[][..], |c| &c.default_service_export_to);
        let endpoints = endpoints_of(cluster);
        let mut services = Vec::new();
        let mut unwatched = 0;
        for s in &cluster.services {
            if !watched(&s.meta.namespace) {
                unwatched += 1;
                continue;
            }
            let host: Name = format!("{}.{}.svc.cluster.local", s.meta.name, s.meta.namespace).into();
            let key = (s.meta.namespace.clone(), s.meta.name.clone());
            let sets = endpoints.get(&key).map_or(&[][..], |v| v.as_slice());
            let external = &*s.kind == "ExternalName";
            let ports = s
                .ports
                .iter()
                .map(|p| ServicePort {
                    number: p.number,
                    protocol: protocol(&p.protocol, &p.app_protocol, &p.name, p.number),
                    endpoints: if external { 1 } else { ready(sets, &p.name) },
                    target: p.target.parse().unwrap_or(if p.target.is_empty() { p.number } else { 0 }),
                })
                .collect();
            services.push(Service {
                host,
                name: s.meta.name.clone(),
                namespace: s.meta.namespace.clone(),
                address: if s.headless() || external { "".into() } else { s.cluster_ip.clone() },
                ports,
                resolution: if external {
                    Resolution::Dns
                } else if s.headless() {
                    Resolution::Headless
                } else {
                    Resolution::Endpoints
                },
                export_to: exported(&s.meta, default),
                addresses: if s.headless() { sets.iter().flat_map(|e| e.ready.clone()).collect() } else { Vec::new() },
                revision: label(&s.meta.labels, "serving.knative.dev/revision").cloned(),
            });
        }
        for e in &cluster.service_entries {
            if !watched(&e.meta.namespace) {
                unwatched += e.hosts.len() as u32;
                continue;
            }
            for host in &e.hosts {
                let ports = e.ports.iter().map(|p| ServicePort {
                    number: p.number,
                    protocol: protocol(&p.protocol, "", &p.protocol, p.number),
                    endpoints: e.endpoints.max(1),
                    target: p.number,
                });
                services.push(Service {
                    host: host.clone(),
                    name: "".into(),
                    namespace: e.meta.namespace.clone(),
                    address: e.addresses.first().filter(|a| !a.contains('/')).cloned().unwrap_or_default(),
                    ports: ports.collect(),
                    resolution: match &*e.resolution {
                        "DNS" | "DNS_ROUND_ROBIN" => Resolution::Dns,
                        "STATIC" => Resolution::Endpoints,
                        _ => Resolution::Headless,
                    },
                    export_to: exported(&e.meta, default),
                    addresses: Vec::new(),
                    revision: None,
                });
            }
        }
        services.sort_by(|a, b| (&a.host, &a.namespace).cmp(&(&b.host, &b.namespace)));
        services.dedup_by(|a, b| a.host == b.host && a.namespace == b.namespace);
        Self { cluster, root, unwatched, by_host: index(&services), rules: rules_of(cluster), services }
    }

    /// The same mesh with other services.
    pub fn with_services(&self, services: Vec<Service>) -> Self {
        Self { by_host: index(&services), services, ..self.clone() }
    }

    /// The first service of a host.
    pub fn host(&self, host: &str) -> Option<&Service> {
        self.by_host.get(host).map(|i| &self.services[*i])
    }

    /// Subsets of a service for clients of a namespace. DestinationRules of the client's namespace go before those of
    /// the service's, and those before the root namespace's; of one namespace all that the client may see are merged
    /// (Istio 1.20, `PushContext.destinationRule`).
    pub fn subsets(&self, service: &Service, client: &str) -> Vec<&Name> {
        let Some(rules) = self.rules.get(&service.host) else { return Vec::new() };
        let seen = |namespace: &str| -> Vec<&Rule> {
            let of = rules.iter().filter(|r| &*r.namespace == namespace);
            of.filter(|r| visible(&r.export_to, namespace, client)).collect()
        };
        let nearest = [client, &*service.namespace, &*self.root].into_iter().map(seen).find(|all| !all.is_empty());
        let mut out: Vec<&Name> = nearest.into_iter().flatten().flat_map(|r| &r.subsets).collect();
        out.sort();
        out.dedup();
        out
    }

    /// The Sidecar that applies to a workload: one of its namespace that selects it, else the namespace's default, else
    /// the root namespace's. The oldest of several.
    pub fn sidecar_of(&self, namespace: &str, labels: &Labels) -> Option<&'a Sidecar> {
        let oldest = |wanted: &dyn Fn(&Sidecar) -> bool| {
            self.cluster.sidecars.iter().filter(|s| wanted(s)).min_by_key(|s| (&s.meta.created, &s.meta.name))
        };
        oldest(&|s| &*s.meta.namespace == namespace && s.selector.as_ref().is_some_and(|l| matches(l, labels)))
            .or_else(|| oldest(&|s| &*s.meta.namespace == namespace && s.selector.is_none()))
            .or_else(|| oldest(&|s| s.meta.namespace == self.root && s.selector.is_none()))
    }

    /// Services that a sidecar of `namespace` is told of, with the port when only one of them is imported.
    /// `egress` are the rules of its Sidecar; empty imports everything.
    pub fn seen(&self, namespace: &str, egress: &[Egress]) -> BTreeMap<usize, Option<u16>> {
        let mut out: BTreeMap<usize, Option<u16>> = BTreeMap::new();
        for (i, s) in self.services.iter().enumerate() {
            if !visible(&s.export_to, &s.namespace, namespace) {
                continue;
            }
            if egress.is_empty() {
                out.insert(i, None);
                continue;
            }
            for e in egress {
                if !e.hosts.iter().any(|h| imports(h, namespace, &s.namespace, &s.host)) {
                    continue;
                }
                match e.port {
                    None => {
                        out.insert(i, None);
                    }
                    Some(port) if s.ports.iter().any(|p| p.number == port) => {
                        out.entry(i).or_insert(Some(port));
                    }
                    Some(_) => {}
                }
            }
        }
        // destinations of the VirtualServices it imports come along
        if !egress.is_empty() {
            for v in self.virtual_services(namespace) {
                let imported = v.hosts.iter().any(|h| {
                    let host = full(h, &v.meta.namespace);
                    egress.iter().any(|e| e.hosts.iter().any(|x| imports(x, namespace, &v.meta.namespace, &host)))
                });
                if !imported {
                    continue;
                }
                for d in &v.destinations {
                    let host = full(&d.host, &v.meta.namespace);
                    if let Some(&i) = self.by_host.get(host.as_str())
                        && visible(&self.services[i].export_to, &self.services[i].namespace, namespace)
                    {
                        out.entry(i).or_insert((d.port > 0).then_some(d.port));
                    }
                }
            }
        }
        out
    }

    /// VirtualServices for sidecars (gateway `mesh`) that are exported to `namespace`.
    pub fn virtual_services(&self, namespace: &str) -> impl Iterator<Item = &'a VirtualService> {
        let default: Vec<Name> =
            self.cluster.mesh_configs.first().map(|c| c.default_virtual_service_export_to.clone()).unwrap_or_default();
        let namespace = namespace.to_owned();
        self.cluster.virtual_services.iter().filter(move |v| {
            let mesh = v.gateways.is_empty() || v.gateways.iter().any(|g| &**g == "mesh");
            mesh && visible(&exported(&v.meta, &default), &v.meta.namespace, &namespace)
        })
    }

    /// Hosts that the routes of a gateway with these pod labels lead to: all that a gateway is told of with
    /// `PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`.
    pub fn gateway_hosts(&self, namespace: &str, labels: &Labels) -> BTreeSet<String> {
        let bound: Vec<String> = self
            .cluster
            .gateways
            .iter()
            .filter(|g| !g.gateway_api && !g.selector.is_empty() && matches(&g.selector, labels))
            .map(|g| format!("{}/{}", g.meta.namespace, g.meta.name))
            .collect();
        let mut out = BTreeSet::new();
        for v in &self.cluster.virtual_services {
            let attached = v.gateways.iter().any(|g| {
                let g = if g.contains('/') { g.to_string() } else { format!("{}/{g}", v.meta.namespace) };
                bound.contains(&g)
            });
            if attached {
                out.extend(v.destinations.iter().map(|d| full(&d.host, &v.meta.namespace)));
            }
        }
        // a Gateway of the Gateway API is deployed under its name and class in its own namespace
        for r in &self.cluster.http_routes {
            let attached = r.parents.iter().any(|(ns, name)| {
                let ns = if ns.is_empty() { &r.meta.namespace } else { ns };
                &**ns == namespace
                    && label(labels, "gateway.networking.k8s.io/gateway-name")
                        .or_else(|| label(labels, "istio.io/gateway-name"))
                        == Some(name)
            });
            if attached {
                out.extend(
                    r.backends
                        .iter()
                        .map(|(ns, name, _)| full(name, if ns.is_empty() { &r.meta.namespace } else { ns })),
                );
            }
        }
        out
    }
}

fn index(services: &[Service]) -> HashMap<Name, usize> {
    let mut out = HashMap::with_capacity(services.len());
    for (i, s) in services.iter().enumerate() {
        out.entry(s.host.clone()).or_insert(i);
    }
    out
}

type ByService<'a> = BTreeMap<(Name, Name), Vec<&'a crate::model::kubernetes::Endpoints>>;

/// EndpointSlices by service; Endpoints for services that have none.
fn endpoints_of(k: &Kubernetes) -> ByService<'_> {
    let mut out: ByService<'_> = BTreeMap::new();
    for slices in [true, false] {
        let before: BTreeSet<(Name, Name)> = out.keys().cloned().collect();
        for e in k.endpoints.iter().filter(|e| e.slice == slices) {
            let key = (e.meta.namespace.clone(), e.service.clone());
            if !before.contains(&key) {
                out.entry(key).or_default().push(e);
            }
        }
    }
    out
}

fn ready(sets: &[&crate::model::kubernetes::Endpoints], port: &str) -> u32 {
    let has = |e: &crate::model::kubernetes::Endpoints| e.ports.iter().any(|(n, _)| &**n == port);
    sets.iter().filter(|e| has(e)).map(|e| e.ready.len() as u32).sum()
}

fn rules_of(k: &Kubernetes) -> BTreeMap<Name, Vec<Rule>> {
    let default = k.mesh_configs.first().map_or(&[][..], |c| &c.default_destination_rule_export_to);
    let mut out: BTreeMap<Name, Vec<Rule>> = BTreeMap::new();
    for d in &k.destination_rules {
        let host = full(&d.host, &d.meta.namespace).into();
        let (namespace, export_to) = (d.meta.namespace.clone(), exported(&d.meta, default));
        out.entry(host).or_default().push(Rule { namespace, export_to, subsets: d.subsets.clone() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols() {
        for (transport, app, name, port, p) in [
            ("TCP", "", "http", 80, Protocol::Http),
            ("TCP", "", "grpc-xds", 15010, Protocol::Http),
            ("TCP", "", "https-dns", 443, Protocol::Tcp),
            ("TCP", "", "dns-tcp", 53, Protocol::Tcp),
            ("TCP", "", "metrics", 9153, Protocol::Auto),
            ("TCP", "tcp", "status-port", 15021, Protocol::Tcp),
            ("TCP", "http", "ttt", 8889, Protocol::Http),
            ("UDP", "", "dns", 53, Protocol::Udp),
            ("", "", "", 8080, Protocol::Auto),
            ("TLS", "", "TLS", 443, Protocol::Tcp),
        ] {
            assert_eq!(protocol(transport, app, name, port), p, "{name} {app}");
        }
    }

    #[test]
    fn egress_forms() {
        let host = "web.shop.svc.cluster.local";
        for (entry, yes) in [
            ("*/*", true),
            ("./*", false),
            ("shop/*", true),
            ("~/*", false),
            ("shop/web.shop.svc.cluster.local", true),
            ("*/*.shop.svc.cluster.local", true),
            ("other/*", false),
            ("shop/db.shop.svc.cluster.local", false),
        ] {
            assert_eq!(imports(entry, "front", "shop", host), yes, "{entry}");
        }
        assert!(imports("./*", "shop", "shop", host));
        let to = |v: &[&str]| v.iter().map(|s| Name::from(*s)).collect::<Vec<_>>();
        assert!(visible(&to(&["*"]), "a", "b") && !visible(&to(&["."]), "a", "b") && visible(&to(&["b"]), "a", "b"));
        assert!(!visible(&to(&["~"]), "a", "a"));
    }
}
