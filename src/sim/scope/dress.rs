//! A model proxy of a given shape, to be priced like a real one: what Envoy would hold if it were sent a [`View`].
//!
//! Shapes come from a template: a real dump of the mesh where there is one, else the sidecar that Istio 1.19 writes.

use crate::model::envoy::{
    Cluster, Discovery, EndpointSet, HostCounts, Listener, Name, Proxy, RouteSource, RouteTable, VirtualHost,
};
use crate::model::weight::Weight;

use super::view::{ListenerView, Shape, TableView, View};

/// One resource of each shape, and what every sidecar has besides its services.
#[derive(Debug, Clone)]
pub struct Template {
    fixed: Proxy,
    cluster: Cluster,
    endpoints: EndpointSet,
    http: Listener,
    tcp: Listener,
    sniffed: Listener,
    table: RouteTable,
    host: VirtualHost,
    catch_all: VirtualHost,
    inbound_cluster: Option<Cluster>,
    inbound_chains: Vec<crate::model::envoy::FilterChain>,
    inbound_tables: Vec<RouteTable>,
}

/// The parts of `outbound|port|subset|host`, also in the form of SNI clusters (`outbound_.port_.subset_.host`).
pub fn outbound_parts(cluster: &str) -> Option<(u16, &str, &str)> {
    if let Some(rest) = cluster.strip_prefix("outbound|") {
        let mut parts = rest.splitn(3, '|');
        return Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?));
    }
    let rest = cluster.strip_prefix("outbound_.")?;
    let mut parts = rest.splitn(3, "_.");
    let (port, subset) = (parts.next()?.parse().ok()?, parts.next()?);
    Some((port, subset.trim_end_matches('_'), parts.next()?))
}

fn inbound_port(name: &str) -> Option<u16> {
    name.strip_prefix("inbound|")?.split('|').next()?.parse().ok()
}

/// The route table an HTTP connection manager of the listener asks for.
pub(super) fn rds(l: &Listener) -> Option<&Name> {
    let hcms = l.chains.iter().flat_map(|c| &c.filters).filter_map(|f| f.hcm.as_ref());
    hcms.map(|h| &h.routes).find_map(|r| if let RouteSource::Rds(name) = r { Some(name) } else { None })
}

fn is_virtual(l: &Listener) -> bool {
    l.bound || matches!(&*l.meta.name, "virtualInbound" | "virtualOutbound" | "")
}

fn is_catch_all(v: &VirtualHost) -> bool {
    matches!(&*v.name, "allow_any" | "block_all")
}

impl Template {
    /// From a proxy; `fallback` gives the shapes it does not have. `None` when neither has them all.
    pub fn of(proxy: &Proxy, fallback: Option<&Template>) -> Option<Self> {
        let outbound = |c: &&Cluster| c.meta.name.starts_with("outbound|") && c.discovery == Discovery::Eds;
        let listeners = || proxy.listeners.iter().filter(|l| !is_virtual(l));
        let wildcard = |l: &&Listener| l.meta.name.starts_with("0.0.0.0_");
        let tables = || proxy.route_tables.iter().filter(|t| t.virtual_hosts.iter().any(is_catch_all));
        let hosts = || proxy.route_tables.iter().flat_map(|t| &t.virtual_hosts);
        let pick = |own: Option<Listener>, other: fn(&Template) -> &Listener| {
            own.or_else(|| fallback.map(|f| other(f).clone()))
        };
        let served = |v: &&VirtualHost| v.clusters.iter().any(|c| outbound_parts(c).is_some());
        // the median by weight stands for all: the first may be a special one
        let cluster = median(proxy.clusters.iter().filter(outbound), |c| c.meta.weight.wire_bytes());
        let set = median(
            proxy.endpoint_sets.iter().filter(|e| e.hosts.hosts > 0 && outbound_parts(&e.meta.name).is_some()),
            |e| e.meta.weight.wire_bytes() / u64::from(e.hosts.hosts),
        );
        let first_inbound = proxy.clusters.iter().filter_map(|c| inbound_port(&c.meta.name)).min();
        let of_port = |name: &str| first_inbound.is_some_and(|p| inbound_port(name) == Some(p));
        let chains = first_inbound.map(|p| {
            let name = format!("0.0.0.0_{p}");
            let inbound = proxy.listeners.iter().filter(|l| &*l.meta.name == "virtualInbound");
            inbound.flat_map(|l| &l.chains).filter(|c| *c.name == *name).cloned().collect::<Vec<_>>()
        });
        Some(Self {
            cluster: cluster.or_else(|| fallback.map(|f| f.cluster.clone()))?,
            endpoints: set.or_else(|| fallback.map(|f| f.endpoints.clone()))?,
            http: pick(listeners().filter(wildcard).find(|l| rds(l).is_some()).cloned(), |f| &f.http)?,
            tcp: pick(listeners().find(|l| rds(l).is_none() && !wildcard(l)).cloned(), |f| &f.tcp)?,
            sniffed: pick(listeners().find(|l| rds(l).is_some() && !wildcard(l)).cloned(), |f| &f.sniffed)?,
            table: tables().next().cloned().or_else(|| fallback.map(|f| f.table.clone()))?,
            host: median(hosts().filter(served), |v| v.weight.wire_bytes())
                .or_else(|| fallback.map(|f| f.host.clone()))?,
            catch_all: hosts().find(|v| is_catch_all(v)).cloned().or_else(|| fallback.map(|f| f.catch_all.clone()))?,
            inbound_cluster: proxy.clusters.iter().find(|c| of_port(&c.meta.name)).cloned(),
            inbound_chains: chains.unwrap_or_default(),
            inbound_tables: proxy.route_tables.iter().filter(|t| of_port(&t.meta.name)).cloned().collect(),
            fixed: fixed(proxy),
        })
    }

    /// A proxy without a service.
    pub fn idle(&self) -> &Proxy {
        &self.fixed
    }

    /// A proxy that was sent `view`.
    pub fn dress(&self, view: &View) -> Proxy {
        let mut p = self.fixed.clone();
        if view.gateway {
            p.clusters.retain(|c| !matches!(&*c.meta.name, "PassthroughCluster" | "InboundPassthroughClusterIpv4"));
            p.listeners.retain(|l| !matches!(&*l.meta.name, "virtualInbound" | "virtualOutbound"));
            p.route_tables.retain(|t| !t.meta.name.starts_with("InboundPassthrough"));
        } else {
            self.inbound(&mut p, view);
        }
        for c in &view.clusters {
            let name: Name = c.name.as_str().into();
            let mut cluster = self.cluster.clone();
            rename(&mut cluster.meta.weight, &cluster.meta.name, &name, 4);
            cluster.meta.name = name.clone();
            if c.dns {
                cluster.discovery = Discovery::StrictDns;
                cluster.eds_service_name = None;
                cluster.inline_hosts = HostCounts { hosts: c.endpoints, ..self.endpoints.hosts };
            } else {
                cluster.eds_service_name = Some(name.clone());
                p.endpoint_sets.push(self.endpoint_set(name, c.endpoints));
            }
            p.clusters.push(cluster);
        }
        for (name, l) in &view.listeners {
            p.listeners.push(self.listener(name, l));
        }
        for (name, t) in &view.tables {
            p.route_tables.push(self.table(name, t));
        }
        p
    }

    fn inbound(&self, p: &mut Proxy, view: &View) {
        for (port, http) in &view.inbound {
            if let Some(c) = &self.inbound_cluster {
                let mut c = c.clone();
                c.meta.name = format!("inbound|{port}||").into();
                p.clusters.push(c);
            }
            // a port that is not HTTP has TCP chains of about a third of the weight; the HTTP ones are the upper bound
            if let Some(l) = p.listeners.iter_mut().find(|l| &*l.meta.name == "virtualInbound") {
                for c in &self.inbound_chains {
                    let mut c = c.clone();
                    c.name = format!("0.0.0.0_{port}").into();
                    l.meta.weight = l.meta.weight + c.weight;
                    l.chains.push(c);
                }
            }
            if *http {
                for t in &self.inbound_tables {
                    let mut t = t.clone();
                    t.meta.name = format!("inbound|{port}||").into();
                    p.route_tables.push(t);
                }
            }
        }
    }

    fn endpoint_set(&self, name: Name, endpoints: u32) -> EndpointSet {
        let mut e = self.endpoints.clone();
        let before = e.hosts.hosts.max(1);
        e.meta.weight = scaled(e.meta.weight, endpoints, before);
        e.hosts.address_bytes = e.hosts.address_bytes / before * endpoints;
        e.hosts.with_metadata = e.hosts.with_metadata.min(1) * endpoints;
        e.hosts.distinct_metadata = e.hosts.distinct_metadata.min(1) * endpoints;
        e.hosts.hosts = endpoints;
        e.hosts.localities = e.hosts.localities.min(endpoints.max(1));
        e.hosts.priorities = e.hosts.priorities.min(endpoints);
        rename(&mut e.meta.weight, &e.meta.name, &name, 1);
        e.meta.name = name;
        e
    }

    fn listener(&self, name: &str, view: &ListenerView) -> Listener {
        let shape = match view.shape {
            Shape::WildcardHttp => &self.http,
            Shape::Tcp => &self.tcp,
            Shape::Sniffed => &self.sniffed,
        };
        let mut l = shape.clone();
        let name: Name = name.into();
        rename(&mut l.meta.weight, &l.meta.name, &name, 1);
        l.meta.name = name;
        l.address = view.address.as_str().into();
        for f in l.chains.iter_mut().flat_map(|c| &mut c.filters) {
            if let Some(h) = &mut f.hcm {
                h.stat_prefix = format!("outbound_{}", l.meta.name).into();
                if let Some(t) = &view.table {
                    h.routes = RouteSource::Rds(t.as_str().into());
                }
            }
            for c in &mut f.clusters {
                if let (Some(to), true) = (&view.cluster, outbound_parts(c).is_some()) {
                    *c = to.as_str().into();
                    f.stat_prefix = c.clone();
                }
            }
        }
        l
    }

    fn table(&self, name: &str, view: &TableView) -> RouteTable {
        let mut t = self.table.clone();
        let others: Weight = t.virtual_hosts.iter().map(|v| v.weight).sum();
        t.meta.weight = t.meta.weight - others;
        t.meta.name = name.into();
        t.virtual_hosts = view
            .hosts
            .iter()
            .map(|h| {
                let mut v = self.host.clone();
                let bytes: usize = h.domains.iter().map(String::len).sum();
                rename(&mut v.weight, &v.name, &h.name, 3);
                v.weight.string_bytes =
                    (v.weight.string_bytes + bytes as u32).saturating_sub(v.domain_bytes.min(v.weight.string_bytes));
                (v.domains, v.domain_bytes) = (h.domains.len() as u32, bytes as u32);
                v.name = h.name.as_str().into();
                v.clusters = vec![h.cluster.as_str().into()];
                v
            })
            .chain(view.catch_all.then(|| self.catch_all.clone()))
            .collect();
        let all: Weight = t.virtual_hosts.iter().map(|v| v.weight).sum();
        t.meta.weight = t.meta.weight + all;
        t
    }
}

/// The element in the middle by `key`.
fn median<'a, T: Clone + 'a>(all: impl Iterator<Item = &'a T>, key: impl Fn(&T) -> u64) -> Option<T> {
    let mut all: Vec<&T> = all.collect();
    all.sort_by_key(|t| key(t));
    all.get(all.len() / 2).map(|t| (*t).clone())
}

/// Another name, `times` times in the text.
fn rename(w: &mut Weight, old: &str, new: &str, times: u32) {
    let (old, new) = (old.len() as u32 * times, new.len() as u32 * times);
    w.string_bytes = (w.string_bytes + new).saturating_sub(old);
}

fn scaled(w: Weight, to: u32, from: u32) -> Weight {
    let s = |n: u32| (u64::from(n) * u64::from(to) / u64::from(from)) as u32;
    Weight {
        messages: s(w.messages),
        durations: s(w.durations),
        lists: s(w.lists),
        list_items: s(w.list_items),
        fields: s(w.fields),
        strings: s(w.strings),
        string_bytes: s(w.string_bytes),
        long_strings: s(w.long_strings),
        scalars: s(w.scalars),
        struct_values: s(w.struct_values),
        regexes: s(w.regexes),
        regex_steps: s(w.regex_steps),
    }
}

/// The proxy without everything that is there for a service, its own included.
fn fixed(proxy: &Proxy) -> Proxy {
    let mut p = proxy.clone();
    let of_service = |c: &str| outbound_parts(c).is_some() || inbound_port(c).is_some();
    p.clusters.retain(|c| !of_service(&c.meta.name));
    p.endpoint_sets.retain(|e| outbound_parts(&e.meta.name).is_none());
    p.listeners.retain(is_virtual);
    for l in p.listeners.iter_mut().filter(|l| &*l.meta.name == "virtualInbound") {
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut l.chains).into_iter().partition(|c| !c.name.starts_with("0.0.0.0_"));
        l.chains = kept;
        l.meta.weight = l.meta.weight - gone.iter().map(|c| c.weight).sum();
    }
    p.route_tables.retain(|t| {
        inbound_port(&t.meta.name).is_none()
            && !t
                .virtual_hosts
                .iter()
                .any(|v| is_catch_all(v) || v.clusters.iter().any(|c| outbound_parts(c).is_some()))
    });
    p.memory = None;
    p.stats = None;
    p.cluster_statuses = None;
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clusters() {
        assert_eq!(outbound_parts("outbound|80|v1|a.b.svc.cluster.local"), Some((80, "v1", "a.b.svc.cluster.local")));
        assert_eq!(outbound_parts("outbound_.80_._.a.b"), Some((80, "", "a.b")));
        assert_eq!(outbound_parts("inbound|80||"), None);
        assert_eq!(outbound_parts("PassthroughCluster"), None);
        assert_eq!(inbound_port("inbound|8080||"), Some(8080));
    }
}
