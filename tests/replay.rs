//! `meshdump replay` end to end, and its prices against those of `analyze`.

mod common;

use std::path::Path;

use common::Bench;
use meshdump::cost::envoy::generation::{Ledger, Pricer};
use meshdump::cost::envoy::{Settings, price};
use meshdump::evidence::{config_dump, load};
use meshdump::input;
use meshdump::model::envoy::State;
use serde_json::{Value, json};

/// Added up piece by piece, a proxy costs what it costs as a whole.
#[test]
fn the_sum_of_the_pieces_is_the_price_of_the_proxy() {
    for name in ["gateway", "sidecar"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/envoy").join(name);
        let found = input::collect(&[folder], &input::Limits::default());
        let limits = config_dump::Limits { max_resource_bytes: 64 << 20, ..config_dump::Limits::default() };
        let loaded = load::load(&found.documents, limits, false);
        let mut proxy = loaded.proxies[0].0.clone();
        let settings = Settings::of(&proxy);
        // generations that only gauges and the routes section tell of are no objects of the proxy
        proxy.stats = None;
        proxy.route_tables.retain(|t| t.meta.state != State::Static);
        proxy.listeners.retain(|l| l.meta.state != State::Error);
        let proxy = &proxy;
        let whole = price(proxy, &settings);

        let mut pricer = Pricer::new(&settings, proxy.bootstrap.as_ref().map(|b| &b.stats), false);
        let process = pricer.process(proxy.bootstrap.as_ref());
        let clusters: Vec<_> = proxy
            .clusters
            .iter()
            .map(|c| {
                let set = proxy.endpoint_sets.iter().find(|e| e.meta.name == *c.service_name());
                (pricer.cluster(c), pricer.hosts(c, set))
            })
            .collect();
        let listeners: Vec<_> = proxy.listeners.iter().map(|l| pricer.listener(l)).collect();
        // inline tables are priced with their chains
        let tables: Vec<_> =
            proxy.route_tables.iter().filter(|t| t.meta.state != State::Static).map(|t| pricer.routes(t)).collect();
        let secrets: Vec<_> =
            proxy.secrets.iter().map(|s| (pricer.secret_id(&s.meta.name), pricer.secret(s))).collect();
        let extensions: Vec<_> = proxy.extension_configs.iter().map(|e| pricer.extension(e)).collect();

        let mut ledger = Ledger::new(&pricer);
        ledger.add(&process);
        for (cluster, hosts) in &clusters {
            ledger.add(cluster);
            ledger.add_amount(*hosts);
        }
        for l in &listeners {
            ledger.add(&l.own);
            l.chains.iter().for_each(|c| ledger.add(c));
        }
        tables.iter().chain(&extensions).for_each(|p| ledger.add(p));
        secrets.iter().for_each(|(id, s)| ledger.set_secret(*id, None, Some(s)));

        let (sum, expected) = (ledger.total().bytes(), whole.allocated().bytes - whole.unknown.bytes);
        let items = clusters.len() * 2 + listeners.len() * 3 + tables.len() * 50 + 100;
        assert!(sum.abs_diff(expected) <= items as u64, "{name}: {sum} piece by piece, {expected} as a whole");

        // and everything but what is for good comes back
        for (cluster, hosts) in &clusters {
            ledger.remove(cluster);
            ledger.remove_amount(*hosts);
        }
        assert!(ledger.total().bytes() < sum);
        for (cluster, hosts) in &clusters {
            ledger.add(cluster);
            ledger.add_amount(*hosts);
        }
        assert_eq!(ledger.total().bytes(), sum, "{name}: the same objects again cost the same");
    }
}

fn listener(revision: u32, names: &[&str]) -> Value {
    let chain = |n: &&str| {
        json!({"name": n, "filter_chain_match": {"server_names": [n]}, "filters": [{
            "name": "hcm", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "edge", "route_config": {"name": n, "virtual_hosts": [{"name": n, "domains": [n],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}}}]})
    };
    json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "edge",
           "per_connection_buffer_limit_bytes": 32768 + revision,
           "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8443}},
           "filter_chains": names.iter().map(chain).collect::<Vec<_>>()})
}

fn stream(listeners: &[(f64, Value)]) -> String {
    let line = |(i, (t, l)): (usize, &(f64, Value))| {
        json!({"t": t, "type_url": "type.googleapis.com/envoy.config.listener.v3.Listener",
               "version_info": i.to_string(), "nonce": i.to_string(), "resources": [l]})
        .to_string()
            + "\n"
    };
    listeners.iter().enumerate().map(line).collect()
}

fn bench(text: &str) -> Bench {
    let bench = Bench::new();
    bench.put("stream.jsonl", text);
    bench
}

#[test]
fn the_paths_that_scripts_rely_on() {
    let bench = bench(&stream(&[
        (10.0, listener(0, &["a", "b"])),
        (11.0, listener(0, &["b", "a"])),
        (12.0, listener(1, &["b", "a"])),
        (13.0, listener(1, &["b", "a"])),
    ]));
    let run = bench.run(&["replay", "stream.jsonl", "--drain-time", "5s", "--limit", "1Mi", "-o", "json"]);
    run.ends(0, "");
    let report = run.json();
    assert_eq!((&report["api_version"], &report["kind"]), (&json!("meshdump/v1"), &json!("replay")));
    let one = &report["runs"][0];
    assert_eq!((&one["policy"], one["drain_time_s"].as_f64()), (&json!("recorded"), Some(5.0)));
    assert_eq!(one["peak"]["t"].as_f64(), Some(12.0));
    for bound in ["bytes", "low", "high"] {
        assert!(one["peak"]["allocated"][bound].is_u64());
    }
    let rows = one["timeline"].as_array().unwrap();
    let drains: Vec<_> =
        rows.iter().map(|r| (r["t"].as_f64().unwrap(), r["listeners_draining"].as_u64().unwrap())).collect();
    assert_eq!(drains, [(10.0, 0), (11.0, 0), (12.0, 1), (16.0, 1), (17.0, 0)]);
    let pushes = one["pushes"].as_array().unwrap();
    let did = |i: usize, what: &str| pushes[i][what].as_u64().unwrap();
    assert_eq!((did(0, "added"), did(1, "modified_in_place"), did(1, "order_only")), (1, 1, 1));
    assert_eq!((did(2, "modified_full"), did(3, "no_op")), (1, 1));
    assert_eq!(one["end"]["t"].as_f64(), Some(13.0));
    assert_eq!(one["end"]["leaked"], json!({"listeners": 0, "filter_chains": 0, "bytes": 0}));
    assert_eq!(one["over_limit_t"].as_f64(), Some(10.0));
    let codes: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["MD804", "MD802", "MD801", "MD803"]);
    assert_eq!(one["flaps"][0]["what"], "order");
    // the same bytes give the same report
    assert_eq!(
        run.stdout,
        bench.run(&["replay", "stream.jsonl", "--drain-time", "5s", "--limit", "1Mi", "-o", "json"]).stdout
    );
}

/// Ingresses in blocks: with TLS each push changes the listener, and 600 s of old generations pile up; without it does not.
#[test]
fn tls_ingresses_grow_with_the_pushes_and_plain_ones_do_not() {
    let replayed = |arguments: &[&str], version: &str| {
        let bench = Bench::new();
        let mut all = vec!["generate", "contour", "--ingresses", "120", "--block", "40", "--out", "out"];
        all.extend(arguments);
        assert_eq!(bench.run(&all).code, 0);
        let run = bench.run(&[
            "replay",
            "out/recording.jsonl.gz",
            "--server-info",
            "out/server_info.json",
            "--envoy-version",
            version,
            "-o",
            "json",
        ]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.json()["runs"][0].clone()
    };
    let bytes = |run: &Value| run["peak"]["allocated"]["bytes"].as_f64().unwrap();
    let old = |run: &Value| {
        run["peak"]["listeners_draining"].as_u64().unwrap() + run["peak"]["groups_draining"].as_u64().unwrap()
    };
    for version in ["1.9", "1.40"] {
        let (tls, plain) = (replayed(&["--tls"], version), replayed(&[], version));
        assert_eq!(tls["drain_time_s"].as_f64(), Some(600.0));
        assert!(old(&tls) > 20, "{version}: every push leaves a generation for 600 s: {}", old(&tls));
        assert_eq!(old(&plain), 0, "{version}");
        assert!(bytes(&tls) > 2.0 * tls["end"]["restarted"].as_f64().unwrap(), "{version}");
        assert!(bytes(&plain) < 1.05 * plain["end"]["restarted"].as_f64().unwrap(), "{version}");
    }
    assert!(bytes(&replayed(&["--tls"], "1.9")) > 5.0 * bytes(&replayed(&["--tls"], "1.40")));
}

#[test]
fn what_warms_and_what_it_waits_for_has_names() {
    let cluster = |name: &str, eds: bool| {
        let kind = if eds { "EDS" } else { "STATIC" };
        let own = json!({"eds_config": {"ads": {}, "resource_api_version": "V3"}, "initial_fetch_timeout": "0s"});
        let mut c = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name, "type": kind});
        if eds {
            c["eds_cluster_config"] = own;
        }
        c
    };
    let hcm = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "rds": {"route_config_name": "routes-\u{1b}[31m", "config_source":
            {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}}});
    let listener = json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "in",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}]});
    let line = |t: f64, kind: &str, version: &str, resources: Vec<Value>| {
        let url = format!("type.googleapis.com/envoy.config.{kind}");
        json!({"t": t, "type_url": url, "version_info": version, "resources": resources}).to_string() + "\n"
    };
    let names: Vec<String> = (0..7).map(|i| format!("waits-{i}")).collect();
    let mut clusters = vec![cluster("ready", false)];
    clusters.extend(names.iter().map(|n| cluster(n, true)));
    let text = line(0.0, "cluster.v3.Cluster", "7", clusters) + &line(1.0, "listener.v3.Listener", "8", vec![listener]);
    let bench = bench(&text);
    let end = bench.run(&["replay", "stream.jsonl", "-o", "json"]).json()["runs"][0]["end"].clone();
    let warming: Vec<Value> = names.iter().map(|n| json!({"name": n, "version": "7"})).collect();
    assert_eq!(end["clusters_warming"], json!(warming));
    assert_eq!(end["awaited"], json!([{"xds": "RDS", "name": "routes-\u{1b}[31m"}]));
    let run = bench.run(&["replay", "stream.jsonl"]);
    run.says("warming: 7 clusters: waits-0, waits-1, waits-2, waits-3, waits-4 [2 others]");
    assert!(run.stdout.contains("asked for, but not in the recording: RDS routes-"), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "{}", run.stdout);
}
