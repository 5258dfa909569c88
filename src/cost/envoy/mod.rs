//! What the objects of an Envoy cost in its allocator (`allocated` of `/memory`).
//!
//! [`price`] gives one estimate per resource of a [`Proxy`], parallel to its lists. [`terms::walk`] names what each
//! resource is made of; a [`Table`] measured by `crate::lab` on real Envoys gives bytes per unit.
//! `docs/accuracy.md` has the errors on workloads that took no part in the fit.

pub mod changes;
mod eras;
pub mod generation;
mod items;
mod outside;
mod sizes;
pub mod stats;
mod table;
mod term;
pub mod terms;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use items::Layout;
use rayon::prelude::*;
use table::Doubt;
use term::t;
use terms::{Part, walk_part};

use crate::cost::Estimate;
use crate::model::envoy::{MAX_WORKERS, Proxy, State};

pub use items::Item;
pub use outside::{checked_hosts, compiled_regexes, inlined_code, outside};
pub use table::{Residual, Table, TableFile};
pub use term::{Class, FamilyId, Term, Unit};
pub use terms::walk;

/// A released Envoy version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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
            .or_else(|| proxy.stats.as_ref().and_then(|s| s.concurrency).and_then(|c| u32::try_from(c).ok()))
            .filter(|n| *n <= MAX_WORKERS);
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
    /// Draining generations that only the gauges tell of, at the mean price of the listeners seen.
    pub hidden_draining: Estimate,
    /// Memory outside the allocator: LuaJIT, V8.
    pub outside_allocator: Estimate,
    /// Types of extensions that were never measured; they are priced like others of their kind, with wide bounds.
    pub unmeasured: Vec<String>,
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
            + self.hidden_draining
    }

    /// What `/memory` is expected to show as `allocated`.
    pub fn allocated(&self) -> Estimate {
        self.base + self.config()
    }
}

/// Relative bounds, in percent, of what was measured on the same release in the same shapes.
const MEASURED: u64 = 6;
/// Relative bounds, in percent, of an idle process of a measured release.
const IDLE: u64 = 3;
/// Relative bounds, in percent, of what was measured but depends on more than a dump shows: health checks on whether
/// hosts answer, static resources on how the bootstrap was written.
const LOOSE: u64 = 30;
/// Relative bounds, in percent, of what was never measured and is priced by its size.
const BY_SIZE: u64 = 60;

/// Relative bounds, in percent, of what LuaJIT and V8 map.
const OUTSIDE: u64 = 30;
/// Relative bounds, in percent, of anonymous resident memory at start-up state.
const RESIDENT: u64 = 12;

/// The table for a version: the one nearest to it, changed to what is known of releases before the oldest measured one.
pub fn table(version: Option<Version>) -> &'static Table {
    const OLDER: usize = 64;
    static ADJUSTED: [OnceLock<Table>; OLDER] = [const { OnceLock::new() }; OLDER];
    let tables = table::all();
    let wanted = version.unwrap_or(Version { major: 1, minor: u32::MAX });
    let nearest = tables
        .iter()
        .min_by_key(|t| (t.version.minor.abs_diff(wanted.minor), t.version.minor))
        .expect("the tables in the binary are not empty");
    match ADJUSTED.get(wanted.minor as usize) {
        Some(slot) if tables.iter().all(|t| wanted < t.version) => {
            slot.get_or_init(|| eras::table(nearest, wanted.minor))
        }
        _ => nearest,
    }
}

/// Relative bounds, in percent, of configuration and of an idle process, when `table` prices a version.
fn bounds(version: Option<Version>, table: &Table) -> (u64, u64) {
    let distance = version.map_or(2, |v| v.minor.abs_diff(table.version.minor));
    let near = u64::from(distance.min(10)) * 2;
    version.and_then(|v| eras::bounds(v.minor)).unwrap_or((MEASURED + near, IDLE + near))
}

/// The releases that have a table, with what they allocate idle in bytes.
pub fn measured_releases() -> Vec<(String, f64)> {
    table::all().iter().map(|t| (t.release.clone(), t.idle as f64)).collect()
}

/// Prices every resource of `proxy`.
pub fn price(proxy: &Proxy, settings: &Settings) -> Priced {
    let table = table(settings.version);
    let layout = Layout::new(proxy);
    let parts: Vec<_> = terms::parts(proxy)
        .par_iter()
        .with_max_len(1)
        .map(|part| raw_part(proxy, settings.concurrency, table, &layout, part))
        .collect();
    let mut unmeasured = BTreeSet::new();
    let mut raw = Vec::new();
    for (sums, kinds) in parts {
        unmeasured.extend(kinds);
        if raw.is_empty() {
            raw = sums;
            continue;
        }
        for (all, sum) in raw.iter_mut().zip(sums) {
            *all += sum;
        }
    }
    let minor = settings.version.map_or(u32::MAX, |v| v.minor);
    let (percent, idle) = bounds(settings.version, table);
    let take = |item: Item| {
        let percent = if item == Item::Base { idle } else { percent };
        raw[layout.index(item)].estimate(percent)
    };
    let mut out = Priced {
        model: format!("envoy-{}.{}/{}", table.version.major, table.version.minor, table.date),
        base: take(Item::Base),
        bootstrap: take(Item::Bootstrap),
        subscription: take(Item::Subscription),
        unmeasured: unmeasured.into_iter().collect(),
        ..Priced::default()
    };
    for (i, _) in proxy.clusters.iter().enumerate() {
        out.clusters.push(take(Item::Cluster(i)));
        out.inline_endpoints.push(take(Item::InlineEndpoints(i)));
    }
    let endpoints = |i: usize| eras::without_eds_cache(take(Item::Endpoints(i)), minor);
    out.endpoint_sets = (0..proxy.endpoint_sets.len()).map(endpoints).collect();
    for (i, l) in proxy.listeners.iter().enumerate() {
        out.listeners.push(ListenerPrice {
            own: take(Item::Listener(i)),
            chains: (0..l.chains.len()).map(|j| take(Item::Chain(i, j))).collect(),
            inline_routes: (0..l.chains.len()).map(|j| take(Item::InlineRoutes(i, j))).collect(),
        });
    }
    let copies = eras::copies(proxy, minor);
    for (i, t) in proxy.route_tables.iter().enumerate() {
        let compiled = |one: Estimate| copies.as_ref().map_or(one, |n| eras::several(one, n[i]));
        let hosts = (0..t.virtual_hosts.len()).map(|j| compiled(take(Item::VirtualHost(i, j))));
        out.route_tables.push(TablePrice { own: compiled(take(Item::RouteTable(i))), virtual_hosts: hosts.collect() });
    }
    out.secrets = (0..proxy.secrets.len()).map(|i| take(Item::Secret(i))).collect();
    out.extension_configs = (0..proxy.extension_configs.len()).map(|i| take(Item::Extension(i))).collect();
    out.subscription += (0..proxy.scoped_routes.len()).map(|i| take(Item::Scoped(i))).sum();
    out.unknown = proxy.unknown.iter().map(|u| Estimate::within(u.bytes * 2, BY_SIZE)).sum();
    out.hidden_draining = hidden_draining(proxy, &out.listeners);
    let threads_outside: f64 = outside(proxy, settings.concurrency).iter().map(|(t, n)| table.price(*t) * n).sum();
    out.outside_allocator = Estimate::within(threads_outside.round() as u64, OUTSIDE);
    let allocated = out.allocated();
    let fixed = table.price(t!("resident.base"))
        + table.price(t!("resident.worker")) * f64::from(settings.concurrency)
        + table.price(t!("resident.regex")) * compiled_regexes(proxy)
        + table.price(t!("resident.code_bytes")) * inlined_code(proxy)
        + table.price(t!("resident.check")) * checked_hosts(proxy);
    let anonymous =
        (fixed + table.price(t!("resident.allocated")) * allocated.bytes as f64 + threads_outside).round() as u64;
    out.resident = Estimate::within(anonymous, RESIDENT);
    out
}

/// The sums of one part of a proxy by the place of the item, and the kinds in it that were never measured.
fn raw_part(proxy: &Proxy, workers: u32, table: &Table, layout: &Layout, part: &Part) -> (Vec<Raw>, BTreeSet<String>) {
    let mut raw = vec![Raw::default(); layout.len()];
    let mut unmeasured = BTreeSet::new();
    walk_part(proxy, workers, table, part, &mut |item, unit, amount| {
        let sum = &mut raw[layout.index(item)];
        match unit {
            Unit::Term(term) => {
                let sum = match table.doubt(term) {
                    Doubt::None => &mut sum.measured,
                    Doubt::Loose => &mut sum.loose,
                    Doubt::Kept => &mut sum.kept,
                };
                *sum += table.price(term) * amount;
            }
            Unit::Unmeasured(class, kind) => {
                if let Some(usual) = table.usual(class) {
                    sum.by_size += usual * amount;
                    unmeasured.insert(kind.to_owned());
                }
            }
        }
    });
    (raw, unmeasured)
}

/// Bytes of one item before rounding.
#[derive(Debug, Clone, Copy, Default)]
struct Raw {
    measured: f64,
    loose: f64,
    kept: f64,
    by_size: f64,
}

impl std::ops::AddAssign for Raw {
    fn add_assign(&mut self, o: Self) {
        self.measured += o.measured;
        self.loose += o.loose;
        self.kept += o.kept;
        self.by_size += o.by_size;
    }
}

impl Raw {
    fn estimate(self, percent: u64) -> Estimate {
        let round = |x: f64| x.max(0.0).round() as u64;
        Estimate::within(round(self.measured), percent)
            + Estimate::within(round(self.loose), percent.max(LOOSE))
            + Estimate { bytes: round(self.kept), low: 0, high: round(self.kept / table::KEPT_SHARE) }
            + Estimate::within(round(self.by_size), BY_SIZE)
    }
}

/// Envoy ≥ 1.13 shows one draining generation per name; `total_listeners_draining` counts them all.
fn hidden_draining(proxy: &Proxy, prices: &[ListenerPrice]) -> Estimate {
    let shown: Vec<_> =
        proxy.listeners.iter().zip(prices).filter(|(l, _)| l.meta.state == State::Draining).map(|(_, p)| p).collect();
    let all = proxy.stats.as_ref().and_then(|s| s.listeners_draining).unwrap_or(0);
    let hidden = all.saturating_sub(shown.len() as u64);
    if hidden == 0 {
        return Estimate::default();
    }
    let sample: Vec<&ListenerPrice> = if shown.is_empty() {
        proxy.listeners.iter().zip(prices).filter(|(l, _)| l.meta.state == State::Active).map(|(_, p)| p).collect()
    } else {
        shown
    };
    // inline tables of hidden generations stand in the routes section and are priced there
    let sum: u64 = sample.iter().map(|p| p.own.bytes + p.chains.iter().map(|c| c.bytes).sum::<u64>()).sum();
    let mean = sum.checked_div(sample.len() as u64).unwrap_or(20_000);
    Estimate { bytes: mean * hidden, low: mean * hidden / 4, high: mean * hidden * 3 }
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
