//! Envoy's own golden numbers (`test/integration/stats_integration_test.cc` over its history), which took no part in
//! the tables: bytes of `allocated` per cluster and per host, with one worker, short names and all stats.

use meshdump::cost::Estimate;
use meshdump::cost::envoy::{Settings, Version, price};
use meshdump::evidence::config_dump::{Limits, read_slice};
use meshdump::model::source::InputId;
use serde_json::{Value, json};

fn allocated(minor: u32, clusters: usize, hosts: usize) -> Estimate {
    let cluster = |i: usize| {
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 80}});
        let endpoints: Vec<Value> = (0..hosts).map(|_| json!({"endpoint": {"address": address}})).collect();
        let name = format!("cluster_{i}");
        json!({"cluster": {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name, "type": "STATIC",
            "connect_timeout": "5s", "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}}})
    };
    let dump = json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "golden"}}},
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
         "static_clusters": (0..clusters).map(cluster).collect::<Vec<_>>()}]});
    let (dumps, problems) = read_slice("dump", InputId(0), dump.to_string().as_bytes(), Limits::default());
    assert_eq!(problems, []);
    let settings = Settings { version: Some(Version { major: 1, minor }), concurrency: 1, concurrency_known: true };
    price(&dumps.dumps[0].1, &settings).allocated()
}

/// Bytes per unit between two proxies that differ by so many of them, with the bounds of the larger.
fn per(more: Estimate, less: Estimate, units: u64) -> Estimate {
    let each = |a: u64, b: u64| (a - b) / units;
    Estimate { bytes: each(more.bytes, less.bytes), low: each(more.low, less.low), high: each(more.high, less.high) }
}

#[test]
fn clusters_cost_what_envoys_own_tests_say() {
    // release of the time of the commit, golden number or limit
    let golden = [
        (9, 59_015),
        (10, 49_415),
        (11, 42_742),
        (12, 43_797),
        (13, 35_932),
        (14, 36_300),
        (15, 37_061),
        (16, 39_326),
        (19, 40_349),
        (20, 40_577),
        (22, 42_000),
        (24, 44_000),
        (35, 44_299),
        (36, 44_299),
    ];
    for (minor, bytes) in golden {
        let each = per(allocated(minor, 101, 0), allocated(minor, 1, 0), 100);
        assert!((each.low..=each.high).contains(&bytes), "1.{minor}: {bytes} is not in {each:?}");
        assert!(each.bytes.abs_diff(bytes) * 100 <= bytes * 6, "1.{minor}: {each:?} is too far from {bytes}");
    }
}

#[test]
fn hosts_cost_what_envoys_own_tests_say() {
    for (minor, bytes) in [(11, 2_739), (12, 1_283), (13, 1_619), (14, 1_363), (14, 1_380)] {
        let each = per(allocated(minor, 101, 10), allocated(minor, 101, 0), 1010);
        assert!((each.low..=each.high).contains(&bytes), "1.{minor}: {bytes} is not in {each:?}");
    }
}
