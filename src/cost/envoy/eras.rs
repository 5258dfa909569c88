//! Releases before the oldest measured one: what is known to have been different, with its source.
//!
//! Sizes come from Envoy's own golden numbers (`test/integration/stats_integration_test.cc` over its history), structure
//! from its source. Nothing of it was measured here, so bounds are wide.

use super::table::Table;
use crate::cost::Estimate;
use crate::model::envoy::{Proxy, RouteSource, State};

/// `allocated` per cluster with stats, by the minor release from which on it held, in bytes: one worker, short names,
/// no hosts. Before 1.13 stat names were kept as text ("fake symbol table"); later growth is the allocator's (2020,
/// 2022), the map of all hosts and slow start (2021). From 1.22 on only the limits of the test are known.
const CLUSTER: [(u32, f64); 11] = [
    (0, 59_015.0),
    (10, 49_415.0),
    (11, 42_742.0),
    (12, 43_797.0),
    (13, 35_932.0),
    (14, 36_300.0),
    (16, 38_993.0),
    (19, 40_349.0),
    (20, 40_577.0),
    (22, 42_000.0),
    (24, 44_299.0),
];

/// `allocated` per host, likewise: counters became plain numbers in 1.12, metadata was shared in 1.14.
const HOST: [(u32, f64); 4] = [(0, 2_739.0), (12, 1_619.0), (14, 1_380.0), (15, HOST_MEASURED)];
/// What the same host costs by the oldest measured table.
const HOST_MEASURED: f64 = 1_177.0;

fn golden(steps: &[(u32, f64)], minor: u32) -> f64 {
    steps.iter().rev().find(|(from, _)| *from <= minor).map_or(1.0, |(_, bytes)| *bytes)
}

/// The table of an older release: `oldest` with the prices of clusters, stats and hosts in proportion to the golden
/// numbers, and with tables of load balancers as they were.
pub(super) fn table(oldest: &Table, minor: u32) -> Table {
    let cluster = golden(&CLUSTER, minor) / golden(&CLUSTER, u32::MAX);
    let host = golden(&HOST, minor) / HOST_MEASURED;
    let mut out = oldest.scaled(|term| match term.split('.').next() {
        Some("cluster" | "stat") => cluster,
        Some("host") => host,
        _ => 1.0,
    });
    // source/extensions/load_balancing_policies/maglev: the compact table came with 1.26
    out.compact_maglev = minor >= 26;
    out
}

/// Relative bounds in percent of configuration and of an idle process. Route tables were slimmed in 1.25 and clusters
/// in 1.26 without golden numbers; 1.13 to 1.19 kept a second copy of what came as v2 ("recover original"); before 1.13
/// little is known.
pub(super) fn bounds(minor: u32) -> Option<(u64, u64)> {
    match minor {
        0..=12 => Some((50, 50)),
        13..=19 => Some((40, 40)),
        20..=24 => Some((35, 35)),
        _ => None,
    }
}

/// How often each route table is compiled: once, but up to 1.12 once per connection manager that names it (#9209).
pub(super) fn copies(proxy: &Proxy, minor: u32) -> Option<Vec<u64>> {
    if minor > 12 {
        return None;
    }
    let mut users: foldhash::HashMap<&str, u64> = foldhash::HashMap::default();
    let listeners = proxy.listeners.iter().filter(|l| l.meta.state != State::Error);
    for hcm in listeners.flat_map(|l| &l.chains).flat_map(|c| &c.filters).filter_map(|f| f.hcm.as_ref()) {
        if let RouteSource::Rds(name) = &hcm.routes {
            *users.entry(name).or_default() += 1;
        }
    }
    let count = |name: &str| users.get(name).copied().unwrap_or(1);
    let tables = proxy.route_tables.iter();
    Some(tables.map(|t| if t.meta.state == State::Static { 1 } else { count(&t.meta.name) }).collect())
}

/// Several compiled copies; at the least only what is compiled is there several times, at half the price.
pub(super) fn several(one: Estimate, copies: u64) -> Estimate {
    Estimate { bytes: one.bytes * copies, low: one.low + one.low / 2 * (copies - 1), high: one.high * copies }
}

/// Endpoint sets before the EDS cache (1.32, over ADS): the retained load assignments, at most half of the price, were
/// not there. How much of the price they are was not measured apart.
pub(super) fn without_eds_cache(one: Estimate, minor: u32) -> Estimate {
    if minor < 32 { Estimate { low: one.low.min(one.bytes / 2), ..one } } else { one }
}
