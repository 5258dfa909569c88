//! What an operator can change, and what it saves: the proxy's model is changed as the configuration would be, and
//! priced again. No saving has a formula of its own.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet};

use super::{Priced, Settings, price};
use crate::cost::Estimate;
use crate::model::envoy::{
    Extension, Meta, Name, Payload, PayloadKind, Proxy, RouteSource, RouteTable, Secret, SecretKind, SecretRef, State,
    TlsContext,
};
use crate::model::source::Span;
use crate::model::weight::Weight;

/// Hosts per cluster that endpoint subsetting leaves.
const SUBSET_HOSTS: u32 = 32;
/// How much wider the bounds of a saving are than those of a whole proxy. A saving rests on few prices, whose errors do
/// not average out: over the nine changes of `crate::lab::pairs` on 1.40 they were up to 12 % where totals are within 6.
const WIDER: f64 = 2.5;
/// Savings below this are not worth a line, in bytes.
const WORTH_BYTES: u64 = 64 << 10;

/// A change of configuration.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Stable name, `fewer-stats`.
    pub name: &'static str,
    /// What is changed.
    pub title: &'static str,
    /// How, and what it costs otherwise.
    pub how: &'static str,
    /// First minor release of Envoy 1 that can do it.
    since: u32,
    /// The changed proxy; `None` when there is nothing to change.
    apply: fn(&Proxy, &mut Settings) -> Option<Proxy>,
}

/// All changes. Later ones see what earlier ones left when they are made together.
pub const CHANGES: &[Change] = &[
    Change {
        name: "fewer-stats",
        title: "stats matcher with Istio's default list",
        how: "stats_config.stats_matcher.inclusion_list in the bootstrap (Istio: proxyStatsMatcher); per-cluster and \
              per-listener metrics are gone",
        since: 0,
        apply: fewer_stats,
    },
    Change {
        name: "deferred-stats",
        title: "stats of clusters made on first request",
        how: "deferred_stat_options.enable_deferred_creation_stats in the bootstrap; a cluster that sees traffic gets \
              its stats back",
        since: 27,
        apply: deferred_stats,
    },
    Change {
        name: "deferred-clusters",
        title: "clusters made on workers on first use",
        how: "cluster_manager.enable_deferred_cluster_creation in the bootstrap; a cluster that sees traffic gets its \
              worker parts back",
        since: 28,
        apply: deferred_clusters,
    },
    Change {
        name: "fewer-workers",
        title: "fewer worker threads (2, or 1)",
        how: "--concurrency (Istio: proxyConfig.concurrency, or the pod's CPU limit): 2, or 1 where there are 2",
        since: 0,
        apply: fewer_workers,
    },
    Change {
        name: "rds",
        title: "inline route tables over RDS",
        how: "equal tables then exist once; rds instead of route_config in the HTTP connection managers; a generation that drains then no longer \
              keeps its routes",
        since: 0,
        apply: routes_over_rds,
    },
    Change {
        name: "sds",
        title: "inline certificates and CAs over SDS",
        how: "tls_certificate_sds_secret_configs and validation_context_sds_secret_config instead of inline data; each \
              context still parses its own copy",
        since: 0,
        apply: secrets_over_sds,
    },
    Change {
        name: "one-wasm-vm",
        title: "one Wasm VM for equal code",
        how: "the same vm_config.vm_id wherever the code is the same",
        since: 0,
        apply: one_wasm_vm,
    },
    Change {
        name: "merged-chains",
        title: "equal filter chains merged by SNI",
        how: "one chain with all their server names; only where nothing but the server name tells them apart",
        since: 0,
        apply: merged_chains,
    },
    Change {
        name: "endpoint-subset",
        title: "at most 32 endpoints per cluster",
        how: "deterministic subsetting at the control plane, or a service of its own per zone",
        since: 0,
        apply: endpoint_subset,
    },
];

/// What a change would save.
#[derive(Debug, Clone, Copy)]
pub struct Saving {
    /// The change; `None` for all of them together.
    pub change: Option<&'static Change>,
    /// Bytes of `allocated`.
    pub allocated: Estimate,
    /// Bytes outside the allocator: LuaJIT, V8.
    pub outside_allocator: Estimate,
}

impl Saving {
    fn between(change: Option<&'static Change>, before: &Priced, after: &Priced) -> Self {
        Self {
            change,
            allocated: difference(&parts(before), &parts(after)),
            outside_allocator: difference(&[before.outside_allocator], &[after.outside_allocator]),
        }
    }

    fn total(&self) -> u64 {
        self.allocated.bytes + self.outside_allocator.bytes
    }
}

/// What each applicable change saves, the largest first, and all of them together at the end when there are several.
/// Savings overlap, so they do not add up.
pub fn savings(proxy: &Proxy, settings: &Settings, priced: &Priced) -> Vec<Saving> {
    let mut out = Vec::new();
    let mut together: Option<(Proxy, Settings)> = None;
    for change in CHANGES {
        if settings.version.is_some_and(|v| v.minor < change.since) {
            continue;
        }
        let mut changed_settings = *settings;
        let Some(changed) = (change.apply)(proxy, &mut changed_settings) else { continue };
        let saving = Saving::between(Some(change), priced, &price(&changed, &changed_settings));
        if saving.total() < WORTH_BYTES {
            continue;
        }
        out.push(saving);
        together = Some(match together {
            None => (changed, changed_settings),
            Some((p, mut s)) => ((change.apply)(&p, &mut s).unwrap_or(p), s),
        });
    }
    out.sort_by_key(|s| std::cmp::Reverse(s.total()));
    if let (2.., Some((p, s))) = (out.len(), &together) {
        out.push(Saving::between(None, priced, &price(p, s)));
    }
    out
}

/// What is priced apart.
fn parts(p: &Priced) -> Vec<Estimate> {
    let sum = |l: &[Estimate]| l.iter().copied().sum::<Estimate>();
    vec![
        p.base,
        sum(&p.clusters),
        sum(&p.inline_endpoints) + sum(&p.endpoint_sets),
        p.listeners.iter().map(super::ListenerPrice::total).sum(),
        p.route_tables.iter().map(super::TablePrice::total).sum(),
        sum(&p.secrets),
        p.bootstrap + p.subscription,
    ]
}

/// Sum of `before` minus `after`, not below 0. What is on both sides is the same and its error cancels; what changed
/// counts with its bounds, gains and losses both.
fn difference(before: &[Estimate], after: &[Estimate]) -> Estimate {
    let (mut saved, mut below, mut above) = (0_i64, 0_i64, 0_i64);
    for (b, a) in before.iter().zip(after) {
        let d = b.bytes as i64 - a.bytes as i64;
        saved += d;
        // the difference as a share of the larger side has that side's relative bounds
        let larger = if b.bytes >= a.bytes { b } else { a };
        let share = |bound: u64| (d.abs() as f64 * WIDER * bound as f64 / larger.bytes.max(1) as f64).round() as i64;
        below += share(larger.bytes - larger.low);
        above += share(larger.high - larger.bytes);
    }
    let floor = |x: i64| u64::try_from(x).unwrap_or(0);
    Estimate { bytes: floor(saved), low: floor(saved - below), high: floor(saved + above) }
}

fn fewer_stats(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let stats = &proxy.bootstrap.as_ref()?.stats;
    if stats.reject_all || stats.inclusion.is_some() {
        return None;
    }
    // the prefixes that sidecars of Istio start with; those of its own extensions match no name that is priced
    let kept = ["cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm"];
    let mut out = proxy.clone();
    let stats = &mut out.bootstrap.as_mut()?.stats;
    stats.inclusion = Some(kept.iter().map(|p| ("prefix".into(), (*p).into())).collect());
    stats.exclusion = None;
    Some(out)
}

fn deferred_stats(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let mut out = (!proxy.bootstrap.as_ref()?.stats.deferred_stats).then(|| proxy.clone())?;
    out.bootstrap.as_mut()?.stats.deferred_stats = true;
    Some(out)
}

fn deferred_clusters(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let mut out = (!proxy.bootstrap.as_ref()?.stats.deferred_clusters).then(|| proxy.clone())?;
    out.bootstrap.as_mut()?.stats.deferred_clusters = true;
    Some(out)
}

fn fewer_workers(proxy: &Proxy, settings: &mut Settings) -> Option<Proxy> {
    if !settings.concurrency_known || settings.concurrency < 2 {
        return None;
    }
    settings.concurrency = if settings.concurrency > 2 { 2 } else { 1 };
    Some(proxy.clone())
}

fn routes_over_rds(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let mut out = proxy.clone();
    let mut tables: HashMap<u64, RouteTable> = HashMap::new();
    let mut order = Vec::new();
    for l in out.listeners.iter_mut().filter(|l| l.meta.state != State::Error) {
        for c in &mut l.chains {
            for h in c.filters.iter_mut().filter_map(|f| f.hcm.as_mut()) {
                let RouteSource::Inline(table) = &h.routes else { continue };
                let (hash, weight) = (table.meta.text_hash, table.meta.weight);
                let fresh = tables.len();
                let table = tables.entry(hash).or_insert_with(|| {
                    order.push(hash);
                    let mut table = (**table).clone();
                    table.meta.state = State::Active;
                    // several tables may well have one name, or none
                    table.meta.name = format!("{}.{fresh}", table.meta.name).into();
                    table
                });
                h.routes = RouteSource::Rds(table.meta.name.clone());
                c.weight = c.weight - weight;
                l.meta.weight = l.meta.weight - weight;
            }
        }
    }
    // what hidden generations hold stays as it is
    out.route_tables.retain(|t| t.meta.state != State::Static || !tables.contains_key(&t.meta.text_hash));
    out.route_tables.extend(order.iter().filter_map(|hash| tables.remove(hash)));
    (!order.is_empty()).then_some(out)
}

/// Secrets that take the place of inline data.
#[derive(Default)]
struct Moved {
    secrets: Vec<Secret>,
    known: HashSet<u64>,
}

impl Moved {
    /// The reference, and the weight that leaves the resource.
    fn reference(&mut self, p: &Payload) -> (SecretRef, Weight) {
        let name: Name = format!("moved-{:016x}", p.hash).into();
        let body = Weight {
            messages: 2,
            fields: 3,
            strings: 1,
            string_bytes: p.len_bytes,
            long_strings: 1,
            ..Weight::default()
        };
        if self.known.insert(p.hash) {
            let named =
                Weight { messages: 1, fields: 1, strings: 1, string_bytes: name.len() as u32, ..Weight::default() };
            let kind = match p.kind {
                PayloadKind::CertificateChain => SecretKind::TlsCertificate,
                _ => SecretKind::ValidationContext,
            };
            self.secrets.push(Secret { meta: meta(name.clone(), body + named), kind, payloads: vec![*p] });
        }
        // a name and an `ads` config source come in its place
        let left = Weight { messages: 2, fields: 4, strings: 1, string_bytes: name.len() as u32, ..Weight::default() };
        (SecretRef::Sds(name), body - left)
    }

    fn context(&mut self, tls: &mut Arc<TlsContext>) -> Weight {
        let inline = |r: &SecretRef| matches!(r, SecretRef::Inline(_));
        let mut out = Weight::default();
        if tls.certificates.iter().chain(&tls.validation).any(inline) {
            let tls = Arc::make_mut(tls);
            for r in tls.certificates.iter_mut().chain(&mut tls.validation) {
                if let SecretRef::Inline(p) = r {
                    let (reference, left) = self.reference(p);
                    *r = reference;
                    out = out + left;
                }
            }
        }
        out
    }
}

fn meta(name: Name, weight: Weight) -> Meta {
    Meta {
        name,
        state: State::Active,
        version: "".into(),
        last_updated: None,
        span: Span::default(),
        weight,
        text_hash: 0,
        cluster_refs: None,
        fields: None,
    }
}

fn secrets_over_sds(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let mut out = proxy.clone();
    let mut moved = Moved::default();
    for c in &mut out.clusters {
        for tls in &mut c.tls {
            c.meta.weight = c.meta.weight - moved.context(tls);
        }
    }
    for l in &mut out.listeners {
        for c in &mut l.chains {
            if let Some(tls) = &mut c.tls {
                let left = moved.context(tls);
                c.weight = c.weight - left;
                l.meta.weight = l.meta.weight - left;
            }
        }
    }
    out.secrets.append(&mut moved.secrets);
    (out.secrets.len() > proxy.secrets.len()).then_some(out)
}

fn one_wasm_vm(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let has_code = |e: &Extension| e.type_name.ends_with(".Wasm") && !e.payloads.is_empty();
    let mut out = proxy.clone();
    let mut changed = false;
    let filters = out.listeners.iter_mut().flat_map(|l| &mut l.chains).flat_map(|c| &mut c.filters);
    for e in filters.filter_map(|f| f.hcm.as_mut()).flat_map(|h| &mut h.http_filters) {
        if has_code(e) && !e.vm_id.is_empty() {
            Arc::make_mut(e).vm_id = "".into();
            changed = true;
        }
    }
    changed.then_some(out)
}

fn merged_chains(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    let mut out = proxy.clone();
    let mut changed = false;
    for l in &mut out.listeners {
        let mut first: HashMap<(u64, u32), usize> = HashMap::new();
        let mut kept: Vec<crate::model::envoy::FilterChain> = Vec::with_capacity(l.chains.len());
        for c in l.chains.drain(..) {
            // a chain without a server name is told apart by something else
            if c.is_default || c.server_names.is_empty() {
                kept.push(c);
                continue;
            }
            let key = (c.body_hash, c.application_protocols);
            match first.get(&key) {
                None => {
                    first.insert(key, kept.len());
                    kept.push(c);
                }
                Some(&i) => {
                    let names: u32 = c.server_names.iter().map(|n| n.len() as u32).sum();
                    let items = c.server_names.len() as u32;
                    let added = Weight { strings: items, list_items: items, string_bytes: names, ..Weight::default() };
                    kept[i].server_names.extend(c.server_names);
                    kept[i].weight = kept[i].weight + added;
                    l.meta.weight = l.meta.weight - c.weight + added;
                    changed = true;
                }
            }
        }
        l.chains = kept;
    }
    changed.then_some(out)
}

fn endpoint_subset(proxy: &Proxy, _: &mut Settings) -> Option<Proxy> {
    if !proxy.endpoint_sets.iter().any(|e| e.hosts.hosts > SUBSET_HOSTS) {
        return None;
    }
    let mut out = proxy.clone();
    for e in &mut out.endpoint_sets {
        let all = u64::from(e.hosts.hosts);
        if all <= u64::from(SUBSET_HOSTS) {
            continue;
        }
        let share = |n: u32| (u64::from(n) * u64::from(SUBSET_HOSTS)).div_ceil(all) as u32;
        let h = &mut e.hosts;
        h.hosts = SUBSET_HOSTS;
        h.with_metadata = share(h.with_metadata);
        h.distinct_metadata = h.distinct_metadata.min(h.with_metadata);
        h.address_bytes = share(h.address_bytes);
        let w = &mut e.meta.weight;
        *w = Weight {
            messages: share(w.messages),
            durations: share(w.durations),
            lists: share(w.lists),
            list_items: share(w.list_items),
            fields: share(w.fields),
            strings: share(w.strings),
            string_bytes: share(w.string_bytes),
            long_strings: share(w.long_strings),
            scalars: share(w.scalars),
            struct_values: share(w.struct_values),
            ..*w
        };
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_the_same_has_no_error() {
        let d = difference(
            &[Estimate::within(1000, 10), Estimate::exact(5)],
            &[Estimate::within(600, 10), Estimate::exact(5)],
        );
        assert_eq!(d, Estimate { bytes: 400, low: 300, high: 500 });
        // 400 less here, 100 more there
        let d = difference(
            &[Estimate::within(1000, 10), Estimate::exact(0)],
            &[Estimate::within(600, 10), Estimate::within(100, 10)],
        );
        assert_eq!(d, Estimate { bytes: 300, low: 175, high: 425 });
        assert_eq!(difference(&[Estimate::exact(1)], &[Estimate::exact(2)]), Estimate::default());
    }
}
