//! What goes from a proxy when some services do, and what is left that led to them.

use std::collections::{BTreeMap, HashSet};

use super::dress::{outbound_parts, rds};
use crate::model::envoy::{Listener, Name, Proxy, RouteSource, RouteTable, VirtualHost};

/// What a narrower scope takes out of a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Clusters.
    pub clusters: Vec<Name>,
    /// Listeners.
    pub listeners: Vec<Name>,
    /// Filter chains, those of the removed listeners included.
    pub filter_chains: u64,
    /// Route tables.
    pub route_tables: Vec<Name>,
    /// Virtual hosts, those of the removed tables included.
    pub virtual_hosts: u64,
    /// Endpoint sets.
    pub endpoint_sets: u64,
    /// Endpoints in them.
    pub endpoints: u64,
    /// What is left and led to something that went: where it stands, and the cluster.
    pub dangling: Vec<(String, Name)>,
}

/// What is left of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// All of it.
    All,
    /// All but the virtual hosts or filter chains at these positions.
    Without(Vec<usize>),
    /// Nothing: all that it led to is gone.
    Nothing,
}

/// Whether a cluster is one of those for which `keep` is false.
pub(super) fn goes(cluster: &str, keep: &dyn Fn(u16, &str) -> bool) -> bool {
    outbound_parts(cluster).is_some_and(|(port, _, host)| !keep(port, host))
}

/// Route tables of a gateway stay, since their hosts are the gateway's own.
pub(super) fn table_of_gateway(l: &Listener) -> Option<&Name> {
    rds(l).filter(|_| l.bound)
}

/// What is left of a route table when some clusters go. What stays and led to one of them is added to `dangling`.
pub(super) fn table_left(
    t: &RouteTable,
    gateway: bool,
    goes: &dyn Fn(&str) -> bool,
    dangling: &mut Vec<(String, Name)>,
) -> Left {
    let served = |v: &VirtualHost| v.clusters.iter().any(|c| outbound_parts(c).is_some());
    if !t.virtual_hosts.iter().any(served) {
        return Left::All;
    }
    let mut gone = Vec::new();
    let mut serves = false;
    for (i, v) in t.virtual_hosts.iter().enumerate() {
        let lost: Vec<&Name> = v.clusters.iter().filter(|c| goes(c)).collect();
        if !gateway && !lost.is_empty() && lost.len() == v.clusters.len() {
            gone.push(i);
            continue;
        }
        serves |= served(v);
        let place = || format!("virtual host {} of route table {}", v.name, t.meta.name);
        dangling.extend(lost.into_iter().map(|c| (place(), c.clone())));
    }
    if !serves {
        return Left::Nothing;
    }
    // mirrors of the whole table
    let lost = t.clusters.iter().filter(|c| goes(c));
    dangling.extend(lost.map(|c| (format!("route table {}", t.meta.name), c.clone())));
    if gone.is_empty() { Left::All } else { Left::Without(gone) }
}

/// What is left of a listener when some clusters and route tables go. What stays and led to one of the clusters is added
/// to `dangling`.
pub(super) fn listener_left(
    l: &Listener,
    goes: &dyn Fn(&str) -> bool,
    emptied: &dyn Fn(&Name) -> bool,
    dangling: &mut Vec<(String, Name)>,
) -> Left {
    let mut gone = Vec::new();
    let mut serves = false;
    let mut lost: Vec<&Name> = Vec::new();
    for (i, c) in l.chains.iter().enumerate() {
        let named = || c.filters.iter().flat_map(|f| &f.clusters).filter(|c| outbound_parts(c).is_some());
        let asked = c.filters.iter().filter_map(|f| match f.hcm.as_ref().map(|h| &h.routes) {
            Some(RouteSource::Rds(t)) => Some(t),
            _ => None,
        });
        let targets: Vec<bool> = named().map(|c| !goes(c)).chain(asked.map(|t| !emptied(t))).collect();
        let stays = targets.iter().any(|kept| *kept);
        serves |= stays;
        if !stays && !targets.is_empty() {
            gone.push(i);
        }
        if stays || l.bound {
            lost.extend(named().filter(|c| goes(c)));
        }
    }
    let left = match gone.is_empty() || l.bound {
        true => Left::All,
        false if serves => Left::Without(gone),
        false => return Left::Nothing,
    };
    // of what is left out of a listener nobody knows which of these it named
    let named = l.meta.cluster_refs.iter().flat_map(|r| r.iter()).filter(|c| left == Left::All && goes(c));
    dangling.extend(lost.into_iter().chain(named).map(|c| (format!("listener {}", l.meta.name), c.clone())));
    left
}

/// Takes what is at `positions` out of `list` and gives it.
fn take_out<T>(list: &mut Vec<T>, positions: &[usize]) -> Vec<T> {
    let mut at = 0;
    list.extract_if(.., |_| {
        at += 1;
        positions.binary_search(&(at - 1)).is_ok()
    })
    .collect()
}

/// The proxy without the outbound clusters for which `keep` (of port and host) is false, and without everything
/// that only led to them.
pub fn trim(proxy: &Proxy, keep: &dyn Fn(u16, &str) -> bool) -> (Proxy, Removed) {
    let goes = |cluster: &str| goes(cluster, keep);
    let mut out = Removed::default();
    let mut p = proxy.clone();
    p.clusters.retain(|c| {
        let gone = goes(&c.meta.name);
        if gone {
            out.clusters.push(c.meta.name.clone());
            out.endpoints += u64::from(c.inline_hosts.hosts);
        }
        !gone
    });
    p.endpoint_sets.retain(|e| {
        let gone = goes(&e.meta.name);
        if gone {
            out.endpoint_sets += 1;
            out.endpoints += u64::from(e.hosts.hosts);
        }
        !gone
    });
    let of_gateway: HashSet<Name> = p.listeners.iter().filter_map(|l| table_of_gateway(l).cloned()).collect();
    let mut emptied: HashSet<Name> = HashSet::new();
    p.route_tables.retain_mut(|t| {
        match table_left(t, of_gateway.contains(&t.meta.name), &goes, &mut out.dangling) {
            Left::All => {}
            Left::Without(gone) => {
                out.virtual_hosts += gone.len() as u64;
                let gone = take_out(&mut t.virtual_hosts, &gone);
                t.meta.weight = t.meta.weight - gone.iter().map(|v| v.weight).sum();
            }
            Left::Nothing => {
                out.virtual_hosts += t.virtual_hosts.len() as u64;
                out.route_tables.push(t.meta.name.clone());
                emptied.insert(t.meta.name.clone());
                return false;
            }
        }
        true
    });
    p.listeners.retain_mut(|l| {
        match listener_left(l, &goes, &|t| emptied.contains(t), &mut out.dangling) {
            Left::All => {}
            Left::Without(gone) => {
                out.filter_chains += gone.len() as u64;
                let gone = take_out(&mut l.chains, &gone);
                l.meta.weight = l.meta.weight - gone.iter().map(|c| c.weight).sum();
            }
            Left::Nothing => {
                out.listeners.push(l.meta.name.clone());
                out.filter_chains += l.chains.len() as u64;
                return false;
            }
        }
        true
    });
    (p, out)
}

/// Requests and connections per outbound host and port, as the proxy's own evidence counts them: `/clusters`, or
/// `/stats` where it keeps them. `None` when it has neither: then "unused" is no claim to make.
pub fn traffic(proxy: &Proxy) -> Option<BTreeMap<Name, u64>> {
    let mut out: BTreeMap<Name, u64> = BTreeMap::new();
    let mut counted = false;
    for c in proxy.cluster_statuses.iter().flatten().filter(|c| outbound_parts(&c.name).is_some()) {
        counted = true;
        *out.entry(c.name.clone()).or_default() += c.requests;
    }
    for (name, n) in proxy.stats.iter().flat_map(|s| &s.cluster_traffic).filter(|(n, _)| outbound_parts(n).is_some()) {
        counted = true;
        let v = out.entry(name.clone()).or_default();
        *v = (*v).max(*n);
    }
    counted.then_some(out)
}
