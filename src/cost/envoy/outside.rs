//! What a configuration costs outside the allocator, or only while it is loaded: LuaJIT, V8, decoding, compiling.

use foldhash::{HashMap, HashSet, HashSetExt};

use super::sizes::decoded;
use super::term::{Term, t};
use super::terms::kind_of;
use crate::model::envoy::{Cluster, Discovery, Extension, FilterChain, Proxy, State};

/// What lives outside the allocator, in the units that are priced: LuaJIT and V8 map their own memory, one state or
/// isolate per thread (workers and the main thread).
pub fn outside(proxy: &Proxy, workers: u32) -> [(Term, f64); 3] {
    let mut all = [0.0; 3];
    let mut seen = HashSet::new();
    for l in proxy.listeners.iter().filter(|l| l.meta.state != State::Error) {
        outside_of(l.chains.iter(), workers, &mut |key| seen.insert(key), &mut all);
    }
    let [lua, lua_bytes, vms] = all;
    [(t!("outside.lua"), lua), (t!("outside.lua_bytes"), lua_bytes), (t!("outside.wasm"), vms)]
}

/// [`outside`] of some filter chains, in its order; `first` says whether a virtual machine was not met before.
pub(super) fn outside_of<'a>(
    chains: impl Iterator<Item = &'a FilterChain>,
    workers: u32,
    first: &mut dyn FnMut(String) -> bool,
    [lua, lua_bytes, vms]: &mut [f64; 3],
) {
    let threads = f64::from(workers + 1);
    for f in chains.flat_map(|c| &c.filters).filter_map(|f| f.hcm.as_ref()).flat_map(|h| &h.http_filters) {
        let kind = kind_of(f);
        if kind.ends_with(".Lua") || kind == "envoy.lua" {
            *lua += threads;
            *lua_bytes += threads * f64::from(f.weight.string_bytes);
        } else if kind.ends_with(".Wasm") && !f.payloads.is_empty() {
            let hash = f.payloads.iter().fold(0u64, |a, p| a.rotate_left(1) ^ p.hash);
            if first(vm_key(f, hash)) {
                *vms += threads;
            }
        }
    }
}

/// Bytes of the Wasm modules that stand in filter chains, each copy counted: while a response with them is handled they
/// are decoded once more, and that memory is free again afterwards but stays resident. Measured on 1.40 with one to 61
/// chains and modules of 20 KB to 1 MB: the heap grows with all copies, what V8 maps hardly with the module.
pub fn inlined_code(proxy: &Proxy) -> f64 {
    let listeners = proxy.listeners.iter().filter(|l| l.meta.state != State::Error);
    let hcms = listeners.flat_map(|l| &l.chains).flat_map(|c| &c.filters).filter_map(|f| f.hcm.as_ref());
    let wasm = hcms.flat_map(|h| &h.http_filters).filter(|f| kind_of(f).ends_with(".Wasm"));
    wasm.flat_map(|f| &f.payloads).map(|p| decoded(p.len_bytes, p.base64)).sum()
}

/// Regular expressions of the route tables: compiling one takes memory that is free again afterwards, but stays resident.
pub fn compiled_regexes(proxy: &Proxy) -> f64 {
    let tables = proxy.route_tables.iter().filter(|t| t.meta.state != State::Error);
    tables.flat_map(|t| &t.virtual_hosts).map(|v| f64::from(v.weight.regexes)).sum()
}

/// Health checks of hosts, each kind counted: all hosts are tried at once, and what that takes stays resident.
pub fn checked_hosts(proxy: &Proxy) -> f64 {
    let sets: HashMap<&str, u32> = proxy.endpoint_sets.iter().map(|e| (&*e.meta.name, e.hosts.hosts)).collect();
    let hosts = |c: &Cluster| match c.discovery {
        Discovery::Eds => {
            let name = c.eds_service_name.as_deref().unwrap_or(&c.meta.name);
            sets.get(name).copied().unwrap_or(0)
        }
        _ => c.inline_hosts.hosts,
    };
    proxy.clusters.iter().filter(|c| c.health_checks.all > 0).map(|c| f64::from(c.health_checks.all * hosts(c))).sum()
}

/// What decides which filters share a Wasm VM: its id, and the code.
pub(super) fn vm_key(f: &Extension, code_hash: u64) -> String {
    format!("vm/{}/{code_hash:x}", f.vm_id)
}
