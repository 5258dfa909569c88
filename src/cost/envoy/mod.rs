//! What the objects of an Envoy cost in its allocator (`allocated` of `/memory`).
//!
//! [`price`] gives one estimate per resource of a [`Proxy`], parallel to its lists. The figures are single
//! measurements on Envoy 1.40.0, x86_64, 1 and 4 workers, one factor at a time; they are provisional until a
//! calibrated table replaces them, and their bounds say so.

mod stats;

use crate::cost::Estimate;
use crate::model::envoy::{
    Cluster, FilterChain, HostCounts, Listener, PayloadKind, Proxy, RouteSource, RouteTable, SecretRef, State,
    TlsContext, VirtualHost,
};
use crate::model::weight::Weight;

pub use stats::Kept;

/// A released Envoy version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1.
    pub major: u32,
    /// The release.
    pub minor: u32,
}

impl Version {
    /// Reads `1.40.0`, `1.28.0-dev`, or the string of `/server_info` (`commit/1.40.0/Clean/RELEASE/BoringSSL`).
    pub fn parse(text: &str) -> Option<Self> {
        text.split('/').find_map(|part| {
            let mut n = part.split('.');
            let (major, minor) = (n.next()?.parse().ok()?, n.next()?.parse().ok()?);
            (major == 1).then_some(Self { major, minor })
        })
    }
}

/// What the price depends on besides the resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Envoy's version, if the evidence tells.
    pub version: Option<Version>,
    /// Worker threads; 2 (Istio's default) when unknown.
    pub concurrency: u32,
    /// `concurrency` was observed or given, not assumed.
    pub concurrency_known: bool,
}

impl Settings {
    /// The settings that a proxy's own evidence gives.
    pub fn of(proxy: &Proxy) -> Self {
        let info = proxy.server_info.as_ref();
        let version =
            info.and_then(|i| Version::parse(&i.version)).or_else(|| Version::parse(&proxy.node.envoy_version));
        let observed = info
            .and_then(|i| i.concurrency)
            .or_else(|| proxy.stats.as_ref().and_then(|s| s.concurrency).and_then(|c| u32::try_from(c).ok()));
        Self { version, concurrency: observed.unwrap_or(2), concurrency_known: observed.is_some() }
    }
}

/// The price of a listener: its own part and each of its chains (inline routes apart).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerPrice {
    /// Sockets, matchers, listener filters, access loggers, its copy of the configuration.
    pub own: Estimate,
    /// Parallel to `chains`.
    pub chains: Vec<Estimate>,
    /// Inline route tables, parallel to `chains`; empty estimates where the routes section lists them anyway.
    pub inline_routes: Vec<Estimate>,
}

impl ListenerPrice {
    /// Everything that goes with the listener.
    pub fn total(&self) -> Estimate {
        self.own + self.chains.iter().copied().sum() + self.inline_routes.iter().copied().sum()
    }
}

/// The price of a route table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePrice {
    /// Without its virtual hosts.
    pub own: Estimate,
    /// Parallel to `virtual_hosts`.
    pub virtual_hosts: Vec<Estimate>,
}

impl TablePrice {
    /// Table and virtual hosts.
    pub fn total(&self) -> Estimate {
        self.own + self.virtual_hosts.iter().copied().sum()
    }
}

/// Prices of everything a proxy holds; lists are parallel to the proxy's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Priced {
    /// Name of the cost model and its revision.
    pub model: String,
    /// An idle process.
    pub base: Estimate,
    /// Clusters without their endpoints.
    pub clusters: Vec<Estimate>,
    /// Inline endpoints of clusters for which there is no endpoint set.
    pub inline_endpoints: Vec<Estimate>,
    /// Endpoint sets.
    pub endpoint_sets: Vec<Estimate>,
    /// Listeners.
    pub listeners: Vec<ListenerPrice>,
    /// Route tables.
    pub route_tables: Vec<TablePrice>,
    /// Secrets.
    pub secrets: Vec<Estimate>,
    /// ECDS resources.
    pub extension_configs: Vec<Estimate>,
    /// Bootstrap.
    pub bootstrap: Estimate,
    /// xDS subscriptions.
    pub subscription: Estimate,
    /// Sections of unknown types, priced by size.
    pub unknown: Estimate,
    /// Memory outside the allocator: LuaJIT, V8.
    pub outside_allocator: Estimate,
    /// Anonymous resident memory at start-up state (nothing grew and shrank before).
    pub resident: Estimate,
}

impl Priced {
    /// All resources, the base not included.
    pub fn config(&self) -> Estimate {
        let sum = |l: &[Estimate]| l.iter().copied().sum::<Estimate>();
        sum(&self.clusters)
            + sum(&self.inline_endpoints)
            + sum(&self.endpoint_sets)
            + self.listeners.iter().map(ListenerPrice::total).sum()
            + self.route_tables.iter().map(TablePrice::total).sum()
            + sum(&self.secrets)
            + sum(&self.extension_configs)
            + self.bootstrap
            + self.subscription
            + self.unknown
    }

    /// What `/memory` is expected to show as `allocated`.
    pub fn allocated(&self) -> Estimate {
        self.base + self.config()
    }
}

/// Relative bounds of figures measured in the same shape, in percent.
const MEASURED: u64 = 30;
/// Relative bounds of things priced by the size of their configuration, in percent.
const BY_SIZE: u64 = 60;

/// Prices every resource of `proxy`.
pub fn price(proxy: &Proxy, settings: &Settings) -> Priced {
    let kept = Kept::of(proxy.bootstrap.as_ref().map(|b| &b.stats));
    let has_sets = !proxy.endpoint_sets.is_empty();
    let routes_listed = proxy.route_tables.iter().any(|t| t.meta.state == State::Static);
    let mut out = Priced {
        model: "envoy-1.40/provisional".to_owned(),
        // idle 1.40.0: 6.0 MB; 1.36.4: 5.6 MB
        base: Estimate::within(6_000_000, 15),
        ..Priced::default()
    };
    for c in &proxy.clusters {
        out.clusters.push(cluster(c, settings, &kept));
        out.inline_endpoints.push(if has_sets { Estimate::default() } else { hosts(&c.inline_hosts, &c.lb, settings) });
    }
    for e in &proxy.endpoint_sets {
        let cluster = proxy.clusters.iter().find(|c| c.meta.name == e.meta.name);
        out.endpoint_sets.push(match cluster {
            Some(c) => hosts(&e.hosts, &c.lb, settings),
            None => Estimate::within(HOST * u64::from(e.hosts.hosts), MEASURED),
        });
    }
    out.listeners = proxy.listeners.iter().map(|l| listener(l, routes_listed)).collect();
    out.route_tables = proxy.route_tables.iter().map(table).collect();
    for s in &proxy.secrets {
        // two copies of the proto: the subscription's and the resolved one (source/common/secret)
        out.secrets.push(Estimate::within(2_000 + 2 * retained(&s.meta.weight), MEASURED));
    }
    for e in &proxy.extension_configs {
        out.extension_configs.push(Estimate::within(2_000 + retained(&e.meta.weight), BY_SIZE));
    }
    if let Some(b) = &proxy.bootstrap {
        out.bootstrap = Estimate::within(retained(&b.meta.weight), MEASURED);
        out.subscription = if b.uses_ads { Estimate::within(60_000, BY_SIZE) } else { Estimate::default() };
    }
    out.unknown = proxy.unknown.iter().map(|u| Estimate::within(u.bytes * 2, BY_SIZE)).sum();
    let lua = count_chains_with(proxy, "lua");
    // one LuaJIT state per chain and thread, about 90 KB outside the allocator
    out.outside_allocator = Estimate::within(lua * 90_000 * u64::from(settings.concurrency + 1), BY_SIZE);
    let allocated = out.allocated();
    // 14 MB anonymous at 6.0 MB allocated; 1.22 times allocated at large sizes
    let anonymous = |a: u64| 7_000_000 + a + a / 5;
    out.resident = Estimate {
        bytes: anonymous(allocated.bytes) + out.outside_allocator.bytes,
        low: anonymous(allocated.low) + out.outside_allocator.low,
        high: anonymous(allocated.high) + out.outside_allocator.high,
    };
    out
}

/// A host with its share of the configuration.
const HOST: u64 = 1_218;

/// Envoy keeps the proto of nearly everything: a message object, heap strings, and a slot per field.
fn retained(w: &Weight) -> u64 {
    u64::from(w.messages) * 48
        + u64::from(w.strings) * 32
        + u64::from(w.long_string_bytes) * 5 / 4
        + u64::from(w.lists) * 32
        + u64::from(w.anys) * 64
}

fn tls(context: &TlsContext) -> u64 {
    let payload = |r: &SecretRef| match r {
        SecretRef::Inline(p) => match p.kind {
            // 303 KB for a bundle of 144 certificates, about 290 KB as base64
            PayloadKind::CaBundle => u64::from(p.len_bytes) * 21 / 20,
            _ => u64::from(p.len_bytes) * 2 + 8_000,
        },
        SecretRef::Sds(_) => 1_500,
        SecretRef::File => 12_000,
    };
    8_200 + context.certificates.iter().chain(&context.validation).map(payload).sum::<u64>()
}

fn cluster(c: &Cluster, settings: &Settings, kept: &Kept) -> Estimate {
    let workers = u64::from(settings.concurrency);
    let stats =
        kept.share(&format!("cluster.{}.", if c.alt_stat_name.is_empty() { &c.meta.name } else { &c.alt_stat_name }));
    // 51.4 KB at 1 worker: 31 KB stats, 17.6 KB fixed with configuration, 2.65 KB per worker
    let per_worker = if kept.deferred_clusters { 150 } else { 2_650 };
    let mut bytes = 15_500 + retained(&c.meta.weight) + per_worker * workers + (31_000.0 * stats) as u64;
    bytes += c.tls.iter().map(|t| tls(t)).sum::<u64>();
    bytes += u64::from(c.health_checks) * 4_000 + u64::from(c.outlier_detection) * 3_000;
    bytes += c.filters.iter().map(|f| 1_000 + retained(&f.weight)).sum::<u64>();
    Estimate::within(bytes, MEASURED)
}

fn hosts(h: &HostCounts, lb: &crate::model::envoy::LoadBalancing, settings: &Settings) -> Estimate {
    let n = u64::from(h.hosts);
    if n == 0 {
        return Estimate::default();
    }
    let priorities = u64::from(h.priorities.max(1));
    let tables = if lb.policy.contains("RING_HASH") || lb.policy.ends_with("RingHash") {
        24 * lb.minimum_ring_size.unwrap_or(1024).max(n) * priorities
    } else if lb.policy.contains("MAGLEV") || lb.policy.ends_with("Maglev") {
        let bits = 64 - n.leading_zeros() as u64;
        (bits * lb.table_size.unwrap_or(65_537) / 8 + 16 * n) * priorities
    } else if h.weights_differ {
        330 * n * u64::from(settings.concurrency)
    } else {
        0
    };
    Estimate::within(HOST * n + u64::from(h.with_metadata) * 150 + 600 * u64::from(h.localities) + tables, MEASURED)
}

fn chain(c: &FilterChain) -> Estimate {
    let mut bytes = 6_500 + 2 * retained(&c.weight);
    for f in &c.filters {
        match &f.hcm {
            Some(h) => bytes += 9_500 + 900 * h.http_filters.len() as u64 + 1_500 * h.access_logs.len() as u64,
            None => bytes += 2_500,
        }
    }
    if let Some(t) = &c.tls {
        bytes += 6_000 + tls(t);
    }
    Estimate::within(bytes, MEASURED)
}

fn listener(l: &Listener, routes_listed: bool) -> ListenerPrice {
    if l.meta.state == State::Error {
        return ListenerPrice {
            own: Estimate::within(1_000 + retained(&l.meta.weight), BY_SIZE),
            ..Default::default()
        };
    }
    let chains_weight: Weight = l.chains.iter().map(|c| c.weight).sum();
    let mut own = 9_000 + retained(&(l.meta.weight - chains_weight));
    own += 1_200 * l.listener_filters.len() as u64 + 1_500 * l.access_logs.len() as u64;
    ListenerPrice {
        own: Estimate::within(own, MEASURED),
        chains: l.chains.iter().map(chain).collect(),
        inline_routes: l
            .chains
            .iter()
            .map(|c| {
                c.filters
                    .iter()
                    .filter_map(|f| match f.hcm.as_ref().map(|h| &h.routes) {
                        Some(RouteSource::Inline(t)) if !routes_listed => Some(table(t).total()),
                        _ => None,
                    })
                    .sum()
            })
            .collect(),
    }
}

fn virtual_host(v: &VirtualHost) -> Estimate {
    // 2 577 bytes with one prefix route and short names
    let compiled = 520
        + 80 * u64::from(v.domains)
        + 700 * u64::from(v.routes.total())
        + 1_200 * u64::from(v.routes.regex)
        + 250 * u64::from(v.routes.weighted_clusters + v.routes.header_matchers + v.routes.per_filter_configs);
    Estimate::within(compiled + retained(&v.weight), MEASURED)
}

fn table(t: &RouteTable) -> TablePrice {
    let inner: Weight = t.virtual_hosts.iter().map(|v| v.weight).sum();
    TablePrice {
        own: Estimate::within(2_500 + retained(&(t.meta.weight - inner)), MEASURED),
        virtual_hosts: t.virtual_hosts.iter().map(virtual_host).collect(),
    }
}

fn count_chains_with(proxy: &Proxy, what: &str) -> u64 {
    let has = |c: &FilterChain| {
        c.filters
            .iter()
            .filter_map(|f| f.hcm.as_ref())
            .flat_map(|h| &h.http_filters)
            .filter(|f| f.type_name.contains(what))
            .count()
    };
    proxy.listeners.iter().flat_map(|l| &l.chains).map(has).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let v = |s| Version::parse(s).map(|v| v.minor);
        assert_eq!(v("8a4bccf1fa518e653328be7a98086386aabddcf9/1.28.0-dev/Clean/RELEASE/BoringSSL"), Some(28));
        assert_eq!(v("1.40.0"), Some(40));
        assert_eq!(v("unknown"), None);
    }
}
