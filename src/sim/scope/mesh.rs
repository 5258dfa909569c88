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

fn protocol_word(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" => Some(Protocol::Http),
        "tcp" | "tls" | "https" | "mongo" | "redis" | "mysql" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

/// The protocol of a Service's port: of `appProtocol`, or else of its name, what stands before the first dash; then ports
/// that are known to talk first (SMTP, DNS, MySQL, MongoDB) (Istio 1.20, `pkg/config/kube/conversion.go`).
pub fn protocol(transport: &str, app_protocol: &str, name: &str, port: u16) -> Protocol {
    if transport.eq_ignore_ascii_case("UDP") {
        return Protocol::Udp;
    }
    match app_protocol {
        "kubernetes.io/h2c" | "kubernetes.io/ws" => return Protocol::Http,
        "kubernetes.io/wss" => return Protocol::Tcp,
        _ => {}
    }
    let name = if app_protocol.is_empty() { name } else { app_protocol };
    protocol_word(name.split('-').next().unwrap_or("")).unwrap_or(match port {
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
    /// Its virtual addresses: one, none, or several of a ServiceEntry.
    pub addresses: Vec<Name>,
    /// Ports with a cluster.
    pub ports: Vec<ServicePort>,
    /// How it is reached.
    pub resolution: Resolution,
    /// Namespaces it is exported to, `*`, `.`, `~` among them.
    pub export_to: Vec<Name>,
    /// Addresses of its pods, of a headless service.
    pub pods: Vec<Name>,
    /// When it was created, as written: the oldest of several with one host goes first.
    pub created: Name,
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
    /// DestinationRules by namespace.
    rules: HashMap<Name, Rules>,
}

/// Ports of a service that a proxy is told of; `None` for all.
pub type Ports = Option<BTreeSet<u16>>;

/// The DestinationRules of a namespace.
#[derive(Debug, Clone, Default)]
struct Rules {
    by_host: HashMap<Name, Vec<Rule>>,
    /// With a wildcard, the longest first.
    wildcards: Vec<(Name, Vec<Rule>)>,
}

/// What a DestinationRule adds to a host.
#[derive(Debug, Clone)]
struct Rule {
    export_to: Vec<Name>,
    /// Exported to its own namespace and to no other.
    private: bool,
    subsets: Vec<Name>,
}

impl Rules {
    /// The rules of the host that names the service most closely, among those of `pool`.
    fn of(&self, host: &Name, pool: impl Fn(&Rule) -> bool) -> Option<Vec<&Rule>> {
        let in_pool = |rules: &'_ Vec<Rule>| rules.iter().any(&pool);
        let exact = self.by_host.get(host).filter(|r| in_pool(r));
        let wild = || self.wildcards.iter().find(|(w, r)| host_matches(w, host) && in_pool(r)).map(|(_, r)| r);
        exact.or_else(wild).map(|rules| rules.iter().filter(|r| pool(r)).collect())
    }
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
pub fn host_matches(pattern: &str, host: &str) -> bool {
    pattern == "*" || pattern == host || pattern.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
}

/// The `dnsName` of an egress entry (`namespace/dnsName`) of a Sidecar in `own`, when it is about `namespace`. An entry
/// without a slash is about none: Istio leaves it out.
fn imported<'e>(entry: &'e str, own: &str, namespace: &str) -> Option<&'e str> {
    let (ns, pattern) = entry.split_once('/')?;
    let about = match ns {
        "*" => true,
        "." => namespace == own,
        "~" => false,
        other => other == namespace,
    };
    about.then_some(pattern)
}

/// Whether an egress entry of a Sidecar in `own` imports `host` of `namespace`.
pub fn imports(entry: &str, own: &str, namespace: &str, host: &str) -> bool {
    imported(entry, own, namespace).is_some_and(|pattern| host_matches(pattern, host))
}

/// Whether an egress entry imports a VirtualService of `namespace` for `host`: here a wildcard may stand on either side.
fn imports_routes(entry: &str, own: &str, namespace: &str, host: &str) -> bool {
    imported(entry, own, namespace).is_some_and(|pattern| host_matches(pattern, host) || host_matches(host, pattern))
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
                .filter(|p| p.number > 0)
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
                addresses: if s.headless() || external || s.cluster_ip.is_empty() {
                    Vec::new()
                } else {
                    vec![s.cluster_ip.clone()]
                },
                ports,
                resolution: if external {
                    Resolution::Dns
                } else if s.headless() {
                    Resolution::Headless
                } else {
                    Resolution::Endpoints
                },
                export_to: exported(&s.meta, default),
                pods: if s.headless() { sets.iter().flat_map(|e| e.ready.clone()).collect() } else { Vec::new() },
                created: s.meta.created.clone(),
                revision: label(&s.meta.labels, "serving.knative.dev/revision").cloned(),
            });
        }
        for e in &cluster.service_entries {
            if !watched(&e.meta.namespace) {
                unwatched += e.hosts.len() as u32;
                continue;
            }
            for host in &e.hosts {
                let ports = e.ports.iter().filter(|p| p.number > 0).map(|p| ServicePort {
                    number: p.number,
                    // the protocol is the word itself
                    protocol: protocol_word(&p.protocol).unwrap_or(Protocol::Auto),
                    endpoints: e.endpoints.max(1),
                    target: p.number,
                });
                services.push(Service {
                    host: host.clone(),
                    name: "".into(),
                    namespace: e.meta.namespace.clone(),
                    addresses: e.addresses.iter().filter_map(single).collect(),
                    ports: ports.collect(),
                    resolution: match &*e.resolution {
                        "DNS" | "DNS_ROUND_ROBIN" => Resolution::Dns,
                        "STATIC" => Resolution::Endpoints,
                        _ => Resolution::Headless,
                    },
                    export_to: exported(&e.meta, default),
                    pods: Vec::new(),
                    created: e.meta.created.clone(),
                    revision: None,
                });
            }
        }
        let services = one_per_namespace(services);
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
    /// the service's, and those before the root namespace's; in each, those whose host names the service most closely
    /// count, and of those all that the client may see are merged (Istio 1.20, `PushContext.destinationRule`).
    pub fn subsets(&self, service: &Service, client: &str) -> Vec<&Name> {
        let of = |namespace: &str, pool: &dyn Fn(&Rule) -> bool| self.rules.get(namespace)?.of(&service.host, pool);
        // what the root namespace has for everybody is not meant for its own gateways first
        let own = of(client, &|r| client != &*self.root || r.private);
        let exported = |namespace: &str| {
            let mut rules = of(namespace, &|r| !r.private)?;
            rules.retain(|r| visible(&r.export_to, namespace, client));
            Some(rules).filter(|r| !r.is_empty())
        };
        let nearest = own.or_else(|| exported(&service.namespace)).or_else(|| exported(&self.root));
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

    /// Services that a sidecar of `namespace` is told of, with their ports. `egress` are the rules of its Sidecar; empty
    /// imports everything. A Sidecar knows one service of each host: of its own namespace, else the first
    /// (Istio 1.20, `pilot/pkg/model/sidecar.go`).
    pub fn seen(&self, namespace: &str, egress: &[Egress]) -> BTreeMap<usize, Ports> {
        let mut out: BTreeMap<usize, Ports> = BTreeMap::new();
        let shown = |s: &Service| visible(&s.export_to, &s.namespace, namespace);
        if egress.is_empty() {
            let all = self.services.iter().enumerate().filter(|(_, s)| shown(s));
            return all.map(|(i, _)| (i, None)).collect();
        }
        let mut by_host: HashMap<&str, usize> = HashMap::new();
        for (i, s) in self.services.iter().enumerate().filter(|(_, s)| shown(s)) {
            for e in egress {
                let wanted = e.hosts.iter().any(|h| imports(h, namespace, &s.namespace, &s.host));
                if !wanted || e.port.is_some_and(|port| s.ports.iter().all(|p| p.number != port)) {
                    continue;
                }
                let taken = *by_host.entry(&s.host).or_insert(i);
                if taken != i {
                    if &*s.namespace != namespace {
                        continue;
                    }
                    out.remove(&taken);
                    by_host.insert(&s.host, i);
                }
                add(&mut out, i, e.port.map(|p| BTreeSet::from([p])));
            }
        }
        // destinations of the VirtualServices it imports come along
        for v in self.routes_for(namespace, egress) {
            let mut wanted: BTreeMap<usize, Ports> = BTreeMap::new();
            for d in &v.destinations {
                let host = full(&d.host, &v.meta.namespace);
                let own = || self.services.iter().position(|s| *s.host == *host && &*s.namespace == namespace);
                let first = self.by_host.get(host.as_str()).copied();
                let several = first.is_some_and(|i| self.services.get(i + 1).is_some_and(|s| *s.host == *host));
                let found = by_host.get(host.as_str()).copied().or_else(|| own().filter(|_| several)).or(first);
                if let Some(i) = found.filter(|i| shown(&self.services[*i])) {
                    add(&mut wanted, i, (d.port > 0).then(|| BTreeSet::from([d.port])));
                }
            }
            wanted.into_iter().for_each(|(i, ports)| add(&mut out, i, ports));
        }
        out
    }

    /// VirtualServices that a sidecar of `namespace` with these egress rules knows.
    pub fn routes_for<'s>(
        &'s self,
        namespace: &'s str,
        egress: &'s [Egress],
    ) -> impl Iterator<Item = &'a VirtualService> + 's {
        self.virtual_services(namespace).filter(move |v| {
            egress.is_empty()
                || v.hosts.iter().any(|h| {
                    let host = full(h, &v.meta.namespace);
                    let mut all = egress.iter().flat_map(|e| &e.hosts);
                    all.any(|x| imports_routes(x, namespace, &v.meta.namespace, &host))
                })
        })
    }

    /// Whether a gateway with these pod labels passes connections on by their SNI (`AUTO_PASSTHROUGH`).
    pub fn passes_by_sni(&self, labels: &Labels) -> bool {
        let mut own = self.cluster.gateways.iter().filter(|g| !g.selector.is_empty() && matches(&g.selector, labels));
        own.any(|g| g.servers.iter().any(|s| &*s.tls_mode == "AUTO_PASSTHROUGH"))
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

/// Adds ports to those that are known of a service.
fn add(out: &mut BTreeMap<usize, Ports>, service: usize, ports: Ports) {
    match (out.get_mut(&service), ports) {
        (Some(Some(known)), Some(more)) => known.extend(more),
        (Some(known), None) => *known = None,
        (Some(None), Some(_)) => {}
        (None, ports) => {
            out.insert(service, ports);
        }
    }
}

/// An address that is no range.
fn single(address: &Name) -> Option<Name> {
    let (one, bits) = address.split_once('/').unwrap_or((address, if address.contains(':') { "128" } else { "32" }));
    (bits == if one.contains(':') { "128" } else { "32" }).then(|| one.into())
}

/// By host, Kubernetes' own first, then the oldest; those of one host and namespace with their ports together.
fn one_per_namespace(mut all: Vec<Service>) -> Vec<Service> {
    all.sort_by(|a, b| {
        let key = |s: &Service| s.name.is_empty();
        (&a.host, key(a), &a.created, &a.namespace).cmp(&(&b.host, key(b), &b.created, &b.namespace))
    });
    let mut out: Vec<Service> = Vec::with_capacity(all.len());
    for s in all {
        let same = out.iter_mut().rev().take_while(|o| o.host == s.host).find(|o| o.namespace == s.namespace);
        match same {
            Some(first) => {
                let new = s.ports.into_iter().filter(|p| first.ports.iter().all(|q| q.number != p.number));
                first.ports.extend(new.collect::<Vec<_>>());
            }
            None => out.push(s),
        }
    }
    out
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

fn rules_of(k: &Kubernetes) -> HashMap<Name, Rules> {
    let default = k.mesh_configs.first().map_or(&[][..], |c| &c.default_destination_rule_export_to);
    let mut out: HashMap<Name, Rules> = HashMap::new();
    for d in &k.destination_rules {
        let (namespace, export_to) = (&d.meta.namespace, exported(&d.meta, default));
        let private = matches!(&export_to[..], [one] if &**one == "." || one == namespace);
        let rule = Rule { export_to, private, subsets: d.subsets.clone() };
        let rules = out.entry(namespace.clone()).or_default();
        rules.by_host.entry(full(&d.host, namespace).into()).or_default().push(rule);
    }
    for rules in out.values_mut() {
        let wild: Vec<Name> = rules.by_host.keys().filter(|h| h.starts_with('*')).cloned().collect();
        rules.wildcards = wild.into_iter().filter_map(|h| rules.by_host.remove_entry(&h)).collect();
        rules.wildcards.sort_by(|a, b| (b.0.len(), &a.0).cmp(&(a.0.len(), &b.0)));
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
            ("TCP", "http-custom", "tcp", 80, Protocol::Http),
            ("TCP", "my-own", "tcp", 3306, Protocol::Tcp),
            ("TCP", "my-own", "tcp", 80, Protocol::Auto),
            ("TCP", "kubernetes.io/wss", "http", 80, Protocol::Tcp),
            ("TCP", "", "grpc-web-x", 80, Protocol::Http),
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
            ("shop/*.cluster.local", true),
            ("shop/*.local.", false),
            ("web.shop.svc.cluster.local", false),
            ("*", false),
            ("shop/", false),
            ("/*", false),
        ] {
            assert_eq!(imports(entry, "front", "shop", host), yes, "{entry}");
        }
        assert!(imports("./*", "shop", "shop", host));
        let to = |v: &[&str]| v.iter().map(|s| Name::from(*s)).collect::<Vec<_>>();
        assert!(visible(&to(&["*"]), "a", "b") && !visible(&to(&["."]), "a", "b") && visible(&to(&["b"]), "a", "b"));
        assert!(!visible(&to(&["~"]), "a", "a"));
    }
}
