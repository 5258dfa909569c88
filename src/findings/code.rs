//! Code that filter chains carry: what Wasm modules and Lua scripts cost, chain by chain and thread by thread.

use std::sync::Arc;

use crate::cost::envoy::{Priced, Settings, price};
use crate::model::envoy::{Extension, Proxy, State};
use crate::model::source::Span;

/// What the filters of one kind cost: the proxy's price less its price without them.
pub(super) struct CodeCost {
    /// `Wasm` or `Lua`.
    pub(super) kind: &'static str,
    /// Filter chains with such a filter.
    pub(super) chains: u64,
    /// Filters in them.
    pub(super) filters: u64,
    /// Bytes of the longest inlined code, as Envoy holds it; 0 when it stands elsewhere.
    pub(super) code_bytes: u64,
    /// Bytes of `allocated`.
    pub(super) allocated: u64,
    /// Bytes outside the allocator.
    pub(super) outside: u64,
    /// The listener with most of them.
    pub(super) span: Span,
}

/// Wasm and Lua in the HTTP filters of more than one chain, the costliest first.
pub(super) fn in_chains(proxy: &Proxy, settings: &Settings, priced: &Priced) -> Vec<CodeCost> {
    let mut out: Vec<CodeCost> = [("Wasm", ".Wasm"), ("Lua", ".Lua")]
        .into_iter()
        .filter_map(|(k, s)| without(proxy, settings, priced, k, s))
        .collect();
    out.sort_by_key(|c| std::cmp::Reverse(c.allocated + c.outside));
    out
}

fn without(proxy: &Proxy, settings: &Settings, priced: &Priced, kind: &'static str, suffix: &str) -> Option<CodeCost> {
    let is = |e: &Arc<Extension>| e.type_name.ends_with(suffix) && !e.config_discovery;
    let live = |l: &&crate::model::envoy::Listener| l.meta.state != State::Error;
    let of = |c: &crate::model::envoy::FilterChain| -> Vec<Arc<Extension>> {
        let hcms = c.filters.iter().filter_map(|f| f.hcm.as_ref());
        hcms.flat_map(|h| &h.http_filters).filter(|e| is(e)).cloned().collect()
    };
    let (mut chains, mut filters, mut code_bytes) = (0, 0, 0);
    let mut most = (0, Span::default());
    for l in proxy.listeners.iter().filter(live) {
        let before = chains;
        for found in l.chains.iter().map(of).filter(|f| !f.is_empty()) {
            chains += 1;
            filters += found.len() as u64;
            let long = found.iter().flat_map(|e| &e.payloads);
            code_bytes =
                long.map(|p| u64::from(p.len_bytes) * if p.base64 { 3 } else { 4 } / 4).fold(code_bytes, u64::max);
        }
        if chains - before > most.0 {
            most = (chains - before, l.meta.span);
        }
    }
    if chains < 2 {
        return None;
    }
    let mut rest = proxy.clone();
    for l in &mut rest.listeners {
        for c in &mut l.chains {
            for h in c.filters.iter_mut().filter_map(|f| f.hcm.as_mut()) {
                let gone = h.http_filters.iter().filter(|e| is(e)).map(|e| e.weight).sum();
                h.http_filters.retain(|e| !is(e));
                c.weight = c.weight - gone;
                l.meta.weight = l.meta.weight - gone;
            }
        }
    }
    let rest = price(&rest, settings);
    Some(CodeCost {
        kind,
        chains,
        filters,
        code_bytes,
        allocated: priced.allocated().bytes.saturating_sub(rest.allocated().bytes),
        outside: priced.outside_allocator.bytes.saturating_sub(rest.outside_allocator.bytes),
        span: most.1,
    })
}
