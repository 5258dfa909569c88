//! Objects of an export that say what cannot be: references that lead nowhere, two objects where one can count.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::findings::Evidence;
use crate::findings::analysis::Input;
use crate::model::envoy::Name;
use crate::model::kubernetes::{HttpRoute, Kubernetes, Meta, Sidecar};
use crate::sim::scope::mesh::{Mesh, full, host_matches, imports};

struct Doubts<'a> {
    mesh: &'a Mesh<'a>,
    inputs: &'a [Input],
    /// Namespaces of which the export has Services: about others it cannot tell.
    namespaces: BTreeSet<&'a str>,
    hosts: HashSet<&'a str>,
    /// Hosts of ServiceEntries with a wildcard.
    wild: Vec<&'a str>,
    out: Vec<Evidence>,
}

/// What is doubtful in an export and in the Sidecars that are `tried` (and the file they come from), in the order of kinds
/// and names, each with its place. Nothing when objects were lost while reading: what is missing then may have been there.
pub(super) fn doubts(mesh: &Mesh<'_>, inputs: &[Input], tried: &[Sidecar], file: &str) -> Vec<Evidence> {
    let k = mesh.cluster;
    if k.incomplete || k.services.is_empty() {
        return Vec::new();
    }
    let mut d = Doubts {
        mesh,
        inputs,
        namespaces: k.services.iter().map(|s| &*s.meta.namespace).collect(),
        hosts: mesh.services.iter().map(|s| &*s.host).collect(),
        wild: mesh.services.iter().map(|s| &*s.host).filter(|h| h.starts_with('*')).collect(),
        out: Vec::new(),
    };
    d.services(k);
    d.sidecars(k);
    d.routes(k);
    let before = d.out.len();
    tried.iter().for_each(|s| d.egress(s));
    d.out[before..].iter_mut().for_each(|e| file.clone_into(&mut e.path));
    d.out
}

impl Doubts<'_> {
    fn say(&mut self, kind: &str, meta: &Meta, what: String) {
        let name =
            if meta.namespace.is_empty() { meta.name.to_string() } else { format!("{}/{}", meta.namespace, meta.name) };
        let path = self.inputs.get(meta.span.input.0 as usize).map(|i| i.path.clone()).unwrap_or_default();
        let (offset, line) = (Some(meta.span.offset_bytes), Some(meta.span.line));
        self.out.push(Evidence { text: format!("{kind} {name}: {what}"), path, offset, line });
    }

    /// A host that the export should have, and has not: only of namespaces that it has Services of.
    fn unknown(&self, host: &str) -> bool {
        let Some((_, rest)) = host.split_once('.') else { return false };
        let Some(namespace) = rest.strip_suffix(".svc.cluster.local") else { return false };
        self.namespaces.contains(namespace)
            && !host.starts_with('*')
            && !self.hosts.contains(host)
            && !self.wild.iter().any(|w| host_matches(w, host))
    }

    fn services(&mut self, k: &Kubernetes) {
        let known: HashSet<(&Name, &Name)> = k.services.iter().map(|s| (&s.meta.namespace, &s.meta.name)).collect();
        let mut addresses: BTreeMap<&str, &Meta> = BTreeMap::new();
        for s in &k.services {
            for (i, p) in s.ports.iter().enumerate().filter(|(_, p)| p.number == 0) {
                let name = if p.name.is_empty() { String::new() } else { format!(" ({})", p.name) };
                self.say("Service", &s.meta, format!("port {}{name} has no number; it is left out", i + 1));
            }
            if !s.cluster_ip.is_empty() && !s.headless() {
                if let Some(first) = addresses.get(&*s.cluster_ip) {
                    let what =
                        format!("has the address {} of Service {}/{}", s.cluster_ip, first.namespace, first.name);
                    self.say("Service", &s.meta, what);
                } else {
                    addresses.insert(&s.cluster_ip, &s.meta);
                }
            }
        }
        for e in k.endpoints.iter().filter(|e| !e.ready.is_empty() && !e.service.is_empty()) {
            if self.namespaces.contains(&*e.meta.namespace) && !known.contains(&(&e.meta.namespace, &e.service)) {
                let kind = if e.slice { "EndpointSlice" } else { "Endpoints" };
                let what =
                    format!("belongs to Service {}, which the export does not have; it counts for nothing", e.service);
                self.say(kind, &e.meta, what);
            }
        }
    }

    fn sidecars(&mut self, k: &Kubernetes) {
        let mut defaults: BTreeMap<&Name, Vec<&Sidecar>> = BTreeMap::new();
        for s in &k.sidecars {
            if s.selector.is_none() {
                defaults.entry(&s.meta.namespace).or_default().push(s);
            }
            self.egress(s);
        }
        for several in defaults.into_values().filter(|d| d.len() > 1) {
            let Some(taken) = self.mesh.sidecar_of(&several[0].meta.namespace, &Vec::new()) else { continue };
            for s in several.iter().filter(|s| s.meta.name != taken.meta.name) {
                let what =
                    format!("is a second one without workloadSelector; Istio takes the oldest, {}", taken.meta.name);
                self.say("Sidecar", &s.meta, what);
            }
        }
    }

    fn egress(&mut self, s: &Sidecar) {
        for entry in s.egress.iter().flat_map(|e| &e.hosts) {
            if let Some(why) = malformed(entry) {
                self.say("Sidecar", &s.meta, format!("egress host `{entry}` {why}; it selects nothing"));
            } else if !entry.ends_with("/*")
                && !self.mesh.services.iter().any(|x| imports(entry, &s.meta.namespace, &x.namespace, &x.host))
            {
                self.say("Sidecar", &s.meta, format!("egress host `{entry}` matches no service of the export"));
            }
        }
    }

    fn routes(&mut self, k: &Kubernetes) {
        let gateways: HashSet<String> =
            k.gateways.iter().map(|g| format!("{}/{}", g.meta.namespace, g.meta.name)).collect();
        let mut subsets: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for d in &k.destination_rules {
            let host = full(&d.host, &d.meta.namespace);
            if self.unknown(&host) {
                self.say("DestinationRule", &d.meta, format!("is for {host}, which the export does not have"));
            }
            subsets.entry(host).or_default().extend(d.subsets.iter().map(|s| &**s));
        }
        for v in &k.virtual_services {
            for to in &v.destinations {
                let host = full(&to.host, &v.meta.namespace);
                if self.unknown(&host) {
                    self.say("VirtualService", &v.meta, format!("routes to {host}, which the export does not have"));
                } else if !to.subset.is_empty() && subsets.get(&host).is_some_and(|s| !s.contains(&*to.subset)) {
                    let what = format!("routes to subset {} of {host}, which no DestinationRule has", to.subset);
                    self.say("VirtualService", &v.meta, what);
                }
            }
            for g in v.gateways.iter().filter(|g| &***g != "mesh" && !gateways.is_empty()) {
                let g = if g.contains('/') { g.to_string() } else { format!("{}/{g}", v.meta.namespace) };
                if !gateways.contains(&g) {
                    self.say("VirtualService", &v.meta, format!("names Gateway {g}, which the export does not have"));
                }
            }
        }
        for (kind, all) in [("HTTPRoute", &k.http_routes), ("HTTPProxy", &k.http_proxies)] {
            for r in all {
                self.backends(kind, r);
            }
        }
        let revisions: HashSet<(&Name, &Name)> =
            k.revisions.iter().map(|r| (&r.meta.namespace, &r.meta.name)).collect();
        for r in k.knative_routes.iter().filter(|_| !revisions.is_empty()) {
            for name in r.revisions.iter().filter(|n| !revisions.contains(&(&r.meta.namespace, *n))) {
                let kind = if r.service { "Service (Knative)" } else { "Route" };
                self.say(kind, &r.meta, format!("leads to revision {name}, which the export does not have"));
            }
        }
    }

    fn backends(&mut self, kind: &str, r: &HttpRoute) {
        for (namespace, name, _) in &r.backends {
            let host = full(name, if namespace.is_empty() { &r.meta.namespace } else { namespace });
            if self.unknown(&host) {
                self.say(kind, &r.meta, format!("leads to {host}, which the export does not have"));
            }
        }
    }
}

/// Why an egress host is none (Istio's validation, `ValidateSidecar`): `namespace/dnsName`, the namespace `.`, `*`, `~` or a
/// name, the dnsName `*`, a name, or a name behind `*.`.
fn malformed(entry: &str) -> Option<&'static str> {
    let Some((namespace, host)) = entry.split_once('/') else { return Some("is not of the form namespace/dnsName") };
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !matches!(namespace, "*" | "." | "~") && !label(namespace) {
        return Some("has a namespace that is none");
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    (host != "*" && !name.split('.').all(label)).then_some("has a dnsName that is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_egress_hosts() {
        for good in ["./*", "*/*", "~/*", "shop/web.shop.svc.cluster.local", "shop/*.foo", "a-b/_dns.x"] {
            assert_eq!(malformed(good), None, "{good}");
        }
        for bad in
            ["web", "*", "", "/", "shop/", "/*", "shop/a/b", "sh.op/*", "shop/w*b", "shop/*foo", "a b/*", "shop/.foo"]
        {
            assert!(malformed(bad).is_some(), "{bad}");
        }
    }
}
