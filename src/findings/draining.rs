//! Draining as three numbers: seen in the dump, implied by other evidence, and what only a recording can tell.

use std::collections::HashMap;

use serde::Serialize;

use crate::cost::envoy::{Priced, Settings};
use crate::model::envoy::{Proxy, RouteSource, State, UnixMs};

/// Old generations that are still alive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Draining {
    /// Draining listeners shown by the dump: one per name at most (Envoy ≥ 1.13).
    pub listeners_in_dump: u64,
    /// All draining listeners by `listener_manager.total_listeners_draining`; null without `/stats`.
    pub listeners_implied: Option<u64>,
    /// Chains of in-place updates by `listener_manager.total_filter_chains_draining`; null without `/stats`.
    pub filter_chains_implied: Option<u64>,
    /// Inline route tables alive that no shown listener has.
    pub route_tables_unexplained: u64,
    /// Age of the oldest of those, in seconds, against the newest time in the dump.
    pub oldest_unexplained_s: Option<u64>,
    /// TLS contexts alive beyond those that shown resources have; null without `/certs`.
    pub tls_contexts_unexplained: Option<u64>,
    /// Bytes held by draining generations, seen and implied.
    pub bytes: u64,
    /// What the evidence cannot tell.
    pub needs_recording: Vec<&'static str>,
}

/// The newest time written in the dump, the nearest thing to "now" that it has.
pub(super) fn newest(proxy: &Proxy) -> Option<UnixMs> {
    let l = proxy.listeners.iter().map(|x| x.meta.last_updated);
    let c = proxy.clusters.iter().map(|x| x.meta.last_updated);
    let r = proxy.route_tables.iter().map(|x| x.meta.last_updated);
    let s = proxy.secrets.iter().map(|x| x.meta.last_updated);
    l.chain(c).chain(r).chain(s).flatten().max()
}

/// Indices of inline route tables that no shown listener has.
pub(super) fn unexplained_tables(proxy: &Proxy) -> Vec<usize> {
    if proxy.listeners.is_empty() {
        return Vec::new();
    }
    let mut wanted: HashMap<u64, u64> = HashMap::new();
    for l in &proxy.listeners {
        for f in l.chains.iter().flat_map(|c| &c.filters) {
            if let Some(RouteSource::Inline(t)) = f.hcm.as_ref().map(|h| &h.routes) {
                *wanted.entry(t.meta.text_hash).or_default() += 1;
            }
        }
    }
    let is_static = |i: &usize| proxy.route_tables[*i].meta.state == State::Static;
    // newest first, so that of equal tables the older ones are left over
    let mut tables: Vec<usize> = (0..proxy.route_tables.len()).filter(is_static).collect();
    tables.sort_by_key(|i| std::cmp::Reverse(proxy.route_tables[*i].meta.last_updated));
    let mut left: Vec<usize> = tables
        .into_iter()
        .filter(|i| match wanted.get_mut(&proxy.route_tables[*i].meta.text_hash) {
            Some(n) if *n > 0 => {
                *n -= 1;
                false
            }
            _ => true,
        })
        .collect();
    left.sort_unstable();
    left
}

/// TLS contexts that shown resources have: one per chain with TLS and per cluster or transport socket match.
fn tls_contexts(proxy: &Proxy) -> u64 {
    let chains = proxy.listeners.iter().flat_map(|l| &l.chains).filter(|c| c.tls.is_some()).count();
    let clusters: usize = proxy.clusters.iter().map(|c| c.tls.len()).sum();
    (chains + clusters) as u64
}

/// Envoy up to 1.12 lists every draining generation, and before 1.15 nothing is updated in place: its dump tells all.
pub(super) fn dump_tells_all(proxy: &Proxy) -> bool {
    Settings::of(proxy).version.is_some_and(|v| v.minor <= 12)
}

/// The three numbers of one proxy.
pub(super) fn draining(proxy: &Proxy, priced: &Priced, unexplained: &[usize]) -> Draining {
    let stats = proxy.stats.as_ref();
    let now = newest(proxy);
    let shown: Vec<usize> =
        (0..proxy.listeners.len()).filter(|i| proxy.listeners[*i].meta.state == State::Draining).collect();
    let oldest = unexplained.iter().filter_map(|i| proxy.route_tables[*i].meta.last_updated).min();
    let age = now.zip(oldest).map(|(n, o)| (n.0 - o.0).max(0) as u64 / 1000);
    let held: u64 = shown.iter().map(|i| priced.listeners[*i].total().bytes).sum::<u64>()
        + unexplained.iter().map(|i| priced.route_tables[*i].total().bytes).sum::<u64>()
        + priced.hidden_draining.bytes;
    let mut needs = Vec::new();
    let old = dump_tells_all(proxy);
    if !old && stats.is_none_or(|s| s.listeners_draining.is_none()) {
        needs.push("how many generations of one listener drain: the dump shows one per name (add /stats)");
    }
    if !old {
        needs.push("in-place updates whose old generation removed no chain: no gauge counts them");
    }
    needs.push("clusters that were removed while requests still use their hosts");
    Draining {
        listeners_in_dump: shown.len() as u64,
        listeners_implied: stats.and_then(|s| s.listeners_draining),
        filter_chains_implied: stats.and_then(|s| s.filter_chains_draining),
        route_tables_unexplained: unexplained.len() as u64,
        oldest_unexplained_s: age,
        tls_contexts_unexplained: proxy
            .certificates
            .as_ref()
            .map(|c| (c.len() as u64).saturating_sub(tls_contexts(proxy))),
        bytes: held,
        needs_recording: needs,
    }
}
