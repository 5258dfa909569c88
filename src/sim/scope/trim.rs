//! What goes from a proxy when some services do, and what is left that led to them.

use std::collections::{BTreeMap, HashSet};

use super::dress::{outbound_parts, rds};
use crate::model::envoy::{Name, Proxy, RouteSource, VirtualHost};

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

/// The proxy without the outbound clusters for which `keep` (of port, subset and host) is false, and without everything
/// that only led to them.
pub fn trim(proxy: &Proxy, keep: &dyn Fn(u16, &str) -> bool) -> (Proxy, Removed) {
    let goes = |cluster: &str| outbound_parts(cluster).is_some_and(|(port, _, host)| !keep(port, host));
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
    // a table of a gateway stays: its hosts are the gateway's own
    let of_gateway: HashSet<Name> = p.listeners.iter().filter(|l| l.bound).filter_map(|l| rds(l).cloned()).collect();
    let mut emptied: HashSet<Name> = HashSet::new();
    for t in &mut p.route_tables {
        let served = |v: &VirtualHost| v.clusters.iter().any(|c| outbound_parts(c).is_some());
        if !t.virtual_hosts.iter().any(served) {
            continue;
        }
        let gateway = of_gateway.contains(&t.meta.name);
        let table = t.meta.name.clone();
        let mut weight = t.meta.weight;
        t.virtual_hosts.retain(|v| {
            let lost: Vec<&Name> = v.clusters.iter().filter(|c| goes(c)).collect();
            let whole = !lost.is_empty() && lost.len() == v.clusters.len();
            if whole && !gateway {
                out.virtual_hosts += 1;
                weight = weight - v.weight;
                return false;
            }
            let place = || format!("virtual host {} of route table {table}", v.name);
            out.dangling.extend(lost.into_iter().map(|c| (place(), c.clone())));
            true
        });
        t.meta.weight = weight;
        if !t.virtual_hosts.iter().any(served) {
            emptied.insert(table);
        }
    }
    p.route_tables.retain(|t| {
        let gone = emptied.contains(&t.meta.name) && !of_gateway.contains(&t.meta.name);
        if gone {
            out.route_tables.push(t.meta.name.clone());
            out.virtual_hosts += t.virtual_hosts.len() as u64;
        }
        !gone
    });
    p.listeners.retain_mut(|l| {
        let before = l.chains.len();
        let mut weight = l.meta.weight;
        let mut kept_targets = 0;
        let mut any_gone = false;
        let lost: Vec<bool> = l
            .chains
            .iter()
            .map(|c| {
                let mut targets = Vec::new();
                for f in &c.filters {
                    targets.extend(f.clusters.iter().filter(|c| outbound_parts(c).is_some()).map(|c| !goes(c)));
                    if let Some(RouteSource::Rds(t)) = f.hcm.as_ref().map(|h| &h.routes) {
                        targets.push(!emptied.contains(t));
                    }
                }
                let gone = !targets.is_empty() && targets.iter().all(|kept| !kept);
                kept_targets += usize::from(!targets.is_empty() && !gone);
                any_gone |= gone;
                gone
            })
            .collect();
        if !any_gone || l.bound {
            return true;
        }
        if kept_targets == 0 {
            out.listeners.push(l.meta.name.clone());
            out.filter_chains += before as u64;
            return false;
        }
        let mut at = 0;
        l.chains.retain(|c| {
            let gone = lost[at];
            at += 1;
            if gone {
                weight = weight - c.weight;
            }
            !gone
        });
        out.filter_chains += (before - l.chains.len()) as u64;
        l.meta.weight = weight;
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
