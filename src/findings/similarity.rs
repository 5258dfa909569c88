//! What stands in a proxy many times over: payloads and equal filter chains.

use std::collections::BTreeMap;

use crate::cost::envoy::Priced;
use crate::model::envoy::{Payload, PayloadKind, Proxy, SecretRef, State, TlsContext};
use crate::model::source::Span;

/// A payload that stands in several places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) payload: Payload,
    pub(super) copies: u64,
    pub(super) first: Span,
}

/// Chains that differ in name and match only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EqualChains {
    pub(super) listener: usize,
    pub(super) chains: u64,
    /// Bytes of all but one of them.
    pub(super) saved_bytes: u64,
}

/// Payloads that occur more than once, the largest total first.
pub(super) fn repeated_payloads(proxy: &Proxy) -> Vec<Repeated> {
    let mut seen: BTreeMap<Payload, (u64, Span)> = BTreeMap::new();
    let mut add = |p: Payload, at: Span| seen.entry(p).or_insert((0, at)).0 += 1;
    let mut tls = |t: &TlsContext, at: Span| {
        for r in t.certificates.iter().chain(&t.validation) {
            if let SecretRef::Inline(p) = r {
                add(*p, at);
            }
        }
    };
    for l in &proxy.listeners {
        l.chains.iter().filter_map(|c| c.tls.as_ref()).for_each(|t| tls(t, l.meta.span));
    }
    for c in &proxy.clusters {
        c.tls.iter().for_each(|t| tls(t, c.meta.span));
    }
    for l in &proxy.listeners {
        for f in l.chains.iter().flat_map(|c| &c.filters) {
            let http = f.hcm.iter().flat_map(|h| h.http_filters.iter().chain(&h.access_logs));
            // the connection manager's own payloads are those of its filters
            let own = f.hcm.is_none().then_some(&f.extension);
            for p in own.into_iter().chain(http.map(|e| &**e)).flat_map(|e| &e.payloads) {
                if !matches!(p.kind, PayloadKind::CertificateChain | PayloadKind::CaBundle) {
                    add(*p, l.meta.span);
                }
            }
        }
    }
    let mut out: Vec<Repeated> = seen
        .into_iter()
        .filter(|(_, (n, _))| *n > 1)
        .map(|(payload, (copies, first))| Repeated { payload, copies, first })
        .collect();
    out.sort_by_key(|r| std::cmp::Reverse((u64::from(r.payload.len_bytes) * (r.copies - 1), r.payload.hash)));
    out
}

/// Listeners with several equal chains, those that save most first.
pub(super) fn equal_chains(proxy: &Proxy, priced: &Priced) -> Vec<EqualChains> {
    let mut out = Vec::new();
    for (i, l) in proxy.listeners.iter().enumerate() {
        if !matches!(l.meta.state, State::Active | State::Static) || l.chains.len() < 2 {
            continue;
        }
        let mut groups: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (c, price) in l.chains.iter().zip(&priced.listeners[i].chains) {
            if c.is_default || c.server_names.is_empty() {
                continue; // chains told apart by anything but SNI cannot simply be merged
            }
            let g = groups.entry(c.body_hash).or_default();
            g.0 += 1;
            g.1 += price.bytes;
        }
        for (chains, bytes) in groups.into_values().filter(|(n, _)| *n > 1) {
            out.push(EqualChains { listener: i, chains, saved_bytes: bytes / chains * (chains - 1) });
        }
    }
    out.sort_by_key(|e| std::cmp::Reverse((e.saved_bytes, e.listener)));
    out
}
