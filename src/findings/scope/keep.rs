//! Which services stay under the scope that is tried, and what loses its target.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;

use super::subjects::Subject;
use super::{ExportTo, Options, Rule};
use crate::model::envoy::{Name, Owner, Proxy};
use crate::model::kubernetes::{Egress, Kubernetes, Labels, ProxyRole, Sidecar, matches};
use crate::sim::scope::dress::outbound_parts;
use crate::sim::scope::mesh::{Mesh, Ports, full, imports, visible};
use crate::sim::scope::trim::{Removed, traffic};

/// The cluster after the change: other Sidecars, other `exportTo`.
pub(super) fn with_changes(k: &Kubernetes, o: &Options) -> Kubernetes {
    let mut k = k.clone();
    if let Rule::Sidecars(new) = &o.rule {
        k.sidecars.retain(|s| !new.iter().any(|n| n.meta.namespace == s.meta.namespace && n.meta.name == s.meta.name));
        k.sidecars.extend(new.iter().cloned());
    }
    for s in &mut k.services {
        if let Some(to) = changed(&o.export_to, &s.meta.namespace, &s.meta.name) {
            s.meta.export_to = Some(to);
        }
    }
    for e in &mut k.service_entries {
        if let Some(to) = changed(&o.export_to, &e.meta.namespace, &e.meta.name) {
            e.meta.export_to = Some(to);
        }
    }
    k
}

fn changed(all: &[ExportTo], namespace: &str, name: &str) -> Option<Vec<Name>> {
    let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    all.iter().rev().find(|e| is(&e.namespace, namespace) && is(&e.name, name)).map(|e| e.to.clone())
}

/// Namespace of a host, as its name or the export tells; empty when neither does.
fn namespace_of(host: &str, mesh: Option<&Mesh<'_>>) -> Name {
    if let Some(s) = mesh.and_then(|m| m.host(host)) {
        return s.namespace.clone();
    }
    let mut parts = host.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(ns), Some("svc")) => ns.into(),
        _ => "".into(),
    }
}

/// Istio's root namespace where nothing tells.
pub(super) const ROOT: &str = "istio-system";

/// Hosts of outbound clusters with their namespaces, looked up once.
pub(super) fn namespaces<'p>(
    clusters: impl Iterator<Item = (&'p str, Option<&'p Owner>)>,
    mesh: Option<&Mesh<'_>>,
) -> HashMap<&'p str, Name> {
    let mut out: HashMap<&'p str, Name> = HashMap::default();
    for (cluster, owner) in clusters {
        let Some((_, _, host)) = outbound_parts(cluster) else { continue };
        let namespace = out.entry(host).or_insert_with(|| namespace_of(host, mesh));
        if let (true, Some(owner)) = (namespace.is_empty(), owner) {
            *namespace = owner.namespace.clone();
        }
    }
    out
}

/// Services of a workload's own namespace and of the root namespace stay.
pub(super) fn own_namespace<'p>(namespaces: HashMap<&'p str, Name>, own: Name, root: Name) -> Keep<'p> {
    Box::new(move |_, host| namespaces.get(host).is_some_and(|n| *n == own || *n == root))
}

/// Services that the egress entries of a Sidecar import stay.
pub(super) fn imported<'p>(namespaces: HashMap<&'p str, Name>, own: Name, egress: Vec<Egress>) -> Keep<'p> {
    Box::new(move |port, host| by_egress(&egress, &own, &namespaces, port, host))
}

/// Whether the cluster of a port and host stays.
pub(super) type Keep<'p> = Box<dyn Fn(u16, &str) -> bool + Sync + 'p>;

/// What the scope that is tried leaves of a proxy.
#[derive(Default)]
pub(super) struct Kept<'p> {
    /// Which services stay; `None` when nothing changes for this proxy.
    pub(super) keep: Option<Keep<'p>>,
    /// Hosts with traffic, `namespace/host`, when the scope is taken from traffic.
    pub(super) used: Option<Vec<Name>>,
    /// The scope is taken from traffic, and nothing counts this proxy's.
    pub(super) untold: bool,
}

/// What stays of `proxy`, which is what `s` holds.
pub(super) fn kept<'p>(
    s: &Subject<'_>,
    proxy: &'p Proxy,
    cluster: Option<&Kubernetes>,
    after: Option<&Mesh<'_>>,
    o: &Options,
) -> Kept<'p> {
    if !o.changes() {
        return Kept::default();
    }
    let own = s.namespace.clone();
    let root: Name = after.map_or_else(|| ROOT.into(), |m| m.root.clone());
    let namespaces = namespaces(proxy.clusters.iter().map(|c| (&*c.meta.name, c.owner.as_deref())), after);
    let exports: Option<BTreeSet<&'p str>> = (!o.export_to.is_empty()).then(|| {
        let stays = |host: &str, ns: &Name| match after.and_then(|m| m.host(host)) {
            Some(x) => visible(&x.export_to, &x.namespace, &own),
            None => {
                let name = host.split('.').next().unwrap_or(host);
                changed(&o.export_to, ns, name).is_none_or(|to| visible(&to, ns, &own))
            }
        };
        namespaces.iter().filter(|(host, ns)| stays(host, ns)).map(|(host, _)| *host).collect()
    });
    if s.role != ProxyRole::Sidecar {
        let routed = o.filter_gateways.then(|| {
            let none = Vec::new();
            let labels = s.workload.map_or(&none, |w| w.labels);
            let mut hosts = after.map(|m| m.gateway_hosts(&s.namespace, labels)).unwrap_or_default();
            // what the dump's own routes lead to
            let routes = proxy.route_tables.iter().flat_map(|t| &t.virtual_hosts).flat_map(|v| &v.clusters);
            let filters = proxy.listeners.iter().flat_map(|l| &l.chains).flat_map(|c| &c.filters);
            let named = routes.chain(filters.flat_map(|f| &f.clusters));
            hosts.extend(named.filter_map(|c| outbound_parts(c)).map(|(_, _, host)| host.to_owned()));
            hosts
        });
        if routed.is_none() && exports.is_none() {
            return Kept::default();
        }
        let keep: Keep<'p> = Box::new(move |_, host| {
            routed.as_ref().is_none_or(|r| r.contains(host)) && exports.as_ref().is_none_or(|e| e.contains(host))
        });
        return Kept { keep: Some(keep), ..Kept::default() };
    }
    let mut out = Kept::default();
    let scoped: Option<Keep<'p>> = match &o.rule {
        Rule::AsIs => None,
        Rule::OwnNamespace => Some(own_namespace(namespaces, own, root)),
        Rule::FromTraffic => match s.dump.and_then(traffic) {
            None => {
                out.untold = true;
                None
            }
            Some(counts) => {
                let hosts: BTreeSet<String> = counts
                    .iter()
                    .filter(|(_, n)| **n > 0)
                    .filter_map(|(c, _)| outbound_parts(c))
                    .map(|(_, _, host)| host.to_owned())
                    .collect();
                let listed = out.used.insert(Vec::new());
                for host in &hosts {
                    let ns = namespaces.get(host.as_str()).cloned().unwrap_or_default();
                    let ns = if ns == own {
                        ".".into()
                    } else if ns.is_empty() {
                        "*".into()
                    } else {
                        ns
                    };
                    listed.push(format!("{ns}/{host}").into());
                }
                Some(Box::new(move |_, host| hosts.contains(host) || namespaces.get(host).is_some_and(|n| *n == root)))
            }
        },
        Rule::Sidecars(new) => match (after, s.workload) {
            (Some(mesh), Some(w)) => {
                let egress = mesh.sidecar_of(&w.namespace, w.labels).map(|x| x.egress.clone()).unwrap_or_default();
                let seen = mesh.seen(&w.namespace, &egress);
                let kept: BTreeMap<Name, Ports> =
                    seen.into_iter().map(|(i, ports)| (mesh.services[i].host.clone(), ports)).collect();
                // hosts that the export does not have are judged by the egress entries alone
                let known: BTreeSet<Name> = mesh.services.iter().map(|x| x.host.clone()).collect();
                Some(Box::new(move |port, host| {
                    if known.contains(host) {
                        kept.get(host).is_some_and(|only| only.as_ref().is_none_or(|p| p.contains(&port)))
                    } else {
                        by_egress(&egress, &own, &namespaces, port, host)
                    }
                }))
            }
            _ => {
                let root = cluster.and_then(|k| k.mesh_configs.first()).map_or(ROOT, |c| &c.root_namespace);
                // its labels are not in a dump, so a workload selector is matched against its name
                let app = app(&s.name);
                let labels = s.workload.map_or(&app, |w| w.labels);
                chosen(new, root, &s.namespace, labels).map(|x| imported(namespaces, own, x.egress.clone()))
            }
        },
    };
    out.keep = match (scoped, exports) {
        (None, None) => None,
        (scoped, exports) => Some(Box::new(move |port, host| {
            scoped.as_ref().is_none_or(|k| k(port, host)) && exports.as_ref().is_none_or(|e| e.contains(host))
        })),
    };
    out
}

/// Whether the egress entries import a host; none at all import everything.
fn by_egress(egress: &[Egress], own: &str, namespaces: &HashMap<&str, Name>, port: u16, host: &str) -> bool {
    let ns = namespaces.get(host).cloned().unwrap_or_default();
    egress.is_empty()
        || egress.iter().any(|e| e.port.is_none_or(|p| p == port) && e.hosts.iter().any(|h| imports(h, own, &ns, host)))
}

/// The labels of a workload of which only the name is known, by Istio's own convention.
pub(super) fn app(workload: &Name) -> Labels {
    vec![("app".into(), workload.clone())]
}

/// The Sidecar of a file that applies to a workload of which no export tells.
pub(super) fn chosen<'s>(new: &'s [Sidecar], root: &str, namespace: &str, labels: &Labels) -> Option<&'s Sidecar> {
    let here = |x: &&Sidecar| &*x.meta.namespace == namespace || x.meta.namespace.is_empty();
    new.iter()
        .filter(here)
        .find(|x| x.selector.as_ref().is_some_and(|l| matches(l, labels)))
        .or_else(|| new.iter().filter(here).find(|x| x.selector.is_none()))
        .or_else(|| new.iter().find(|x| &*x.meta.namespace == root && x.selector.is_none()))
}

/// Something that would lose its target: kind, name, and what it loses.
pub(super) type Loss = (&'static str, String, String);

/// What loses its target when `removed` goes from what `s` holds.
pub(super) fn broken(s: &Subject<'_>, removed: &Removed, mesh: Option<&Mesh<'_>>, keep: &Keep<'_>) -> BTreeSet<Loss> {
    let mut out = BTreeSet::new();
    if let Some(counts) = s.dump.and_then(traffic) {
        for c in &removed.clusters {
            if let Some(n @ 1..) = counts.get(c) {
                let what = if *n == 1 { "request or connection" } else { "requests or connections" };
                out.insert(("traffic", c.to_string(), format!("{n} {what} so far")));
            }
        }
    }
    for (place, cluster) in &removed.dangling {
        out.insert(("route", place.clone(), format!("leads to {cluster}, which would be gone")));
    }
    let Some(mesh) = mesh else { return out };
    let gone: BTreeSet<&str> =
        removed.clusters.iter().filter_map(|c| outbound_parts(c)).map(|(_, _, host)| host).collect();
    if s.role == ProxyRole::Sidecar {
        for v in mesh.virtual_services(&s.namespace) {
            let hosts: Vec<String> = v.hosts.iter().map(|h| full(h, &v.meta.namespace)).collect();
            let called = hosts.iter().any(|h| !gone.contains(h.as_str()) && keep(0, h));
            for d in &v.destinations {
                let host = full(&d.host, &v.meta.namespace);
                if called && gone.contains(host.as_str()) {
                    let name = format!("{}/{}", v.meta.namespace, v.meta.name);
                    out.insert(("virtual_service", name, format!("routes to {host}, which would be gone")));
                }
            }
        }
    }
    for e in &mesh.cluster.service_entries {
        for h in e.hosts.iter().filter(|h| gone.contains(&***h)) {
            let name = format!("{}/{}", e.meta.namespace, e.meta.name);
            out.insert(("service_entry", name, format!("{h} is no longer known to the proxy")));
        }
    }
    out
}
