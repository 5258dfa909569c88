//! Real dumps: our own captures against what was done to make them, and the corpus against an independent count.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

fn analyze(path: &Path) -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .args(["analyze", "-o", "json", "--all"])
        .arg(path)
        .output()
        .expect("the binary runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON on stdout")
}

/// `kind state` to number, of the first proxy.
fn resources(answer: &Value) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for r in answer["proxies"][0]["resources"].as_array().expect("resources") {
        let key = format!("{} {}", r["kind"].as_str().expect("kind"), r["state"].as_str().expect("state"));
        *out.entry(key).or_default() += 1;
    }
    out
}

fn count(answer: &Value, kind: &str) -> u64 {
    let kinds = answer["proxies"][0]["by_kind"].as_array().expect("by_kind");
    kinds.iter().filter(|k| k["kind"] == kind).filter_map(|k| k["count"].as_u64()).sum()
}

#[track_caller]
fn assert_has(answer: &Value, wanted: &[(&str, usize)]) {
    let got = resources(answer);
    for (key, number) in wanted {
        assert_eq!(got.get(*key).copied().unwrap_or(0), *number, "{key} in {got:?}");
    }
}

/// What `scripts/capture_testdata.py` did to that Envoy is in `testdata/README.md`.
#[test]
fn the_captured_gateway_has_what_was_put_into_it() {
    let folder = Path::new("testdata/envoy/gateway");
    let alone = analyze(&folder.join("config_dump.json.gz"));
    assert_has(
        &alone,
        &[
            ("listener active", 5),
            ("listener warming", 1),
            ("listener draining", 3),
            ("listener error", 2),
            ("cluster static", 1),
            ("cluster active", 12),
            ("cluster warming", 1),
            ("route_config static", 4),
            ("route_config active", 4),
            ("endpoint static", 1),
            ("endpoint active", 12),
            ("secret static", 1),
            ("secret active", 1),
        ],
    );
    assert_eq!(count(&alone, "endpoint"), 36, "the hosts of all clusters");

    let with_companions = analyze(folder);
    let draining = &with_companions["proxies"][0]["draining"];
    assert_eq!(draining["listeners_in_dump"], 3);
    assert_eq!(draining["listeners_implied"], 4, "the gauge");
    assert_eq!(draining["filter_chains_implied"], 2, "the gauge");
    assert!(with_companions["proxies"][0]["memory"]["observed"]["allocated"].as_u64() > Some(5_000_000));
}

#[test]
fn the_captured_sidecar_has_what_was_put_into_it() {
    let answer = analyze(Path::new("testdata/envoy/sidecar"));
    assert_has(
        &answer,
        &[
            ("listener active", 5),
            ("listener draining", 1),
            ("cluster static", 4),
            ("cluster active", 10),
            ("route_config active", 2),
            ("secret active", 2),
        ],
    );
    assert_eq!(answer["proxies"][0]["draining"]["filter_chains_implied"], 1);
    assert_eq!(answer["proxies"][0]["concurrency"], 2);
}

/// A control plane's dump lists endpoint sets for its EDS clusters only; the others keep the hosts written into them.
#[test]
fn hosts_of_clusters_without_an_endpoint_set_count() {
    let hosts = |name: &str, n: usize| {
        let host = json!({"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}});
        json!({"cluster_name": name, "endpoints": [{"lb_endpoints": vec![host; n]}]})
    };
    let dump = json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [
            {"cluster": {"name": "by-eds", "type": "EDS", "eds_cluster_config": {"service_name": "service"}}},
            {"cluster": {"name": "listed", "type": "STATIC", "load_assignment": hosts("listed", 5)}},
            {"cluster": {"name": "unlisted", "type": "STATIC", "load_assignment": hosts("unlisted", 3)}}]},
        {"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs": [
            {"endpoint_config": hosts("service", 2)}, {"endpoint_config": hosts("listed", 5)}]}]});
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.json");
    std::fs::write(&path, dump.to_string()).expect("a file");
    let answer = analyze(&path);
    assert_eq!(count(&answer, "endpoint"), 2 + 5 + 3);
    assert_eq!(answer["proxies"][0]["counts"]["endpoints"], 2 + 5 + 3);
}

#[test]
fn the_states_of_a_listener_count_their_entry_once() {
    let state = |port: u32| {
        json!({"listener": {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "http",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy"}]}]}})
    };
    let entry = json!({"name": "http", "active_state": state(1), "draining_state": state(2)});
    let dump = json!({"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "dynamic_listeners": [entry]}]});
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump.json");
    std::fs::write(&path, dump.to_string()).expect("a file");
    let answer = analyze(&path);
    assert_eq!(answer["proxies"][0]["counts"]["listeners"]["draining"], 1);
    let kinds = answer["proxies"][0]["by_kind"].as_array().expect("kinds");
    let bytes: u64 = kinds.iter().filter_map(|k| k["json_bytes"].as_u64()).sum();
    assert_eq!(bytes, entry.to_string().len() as u64);
}

/// Every file of the corpus, against `scripts/count_corpus.py`.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn the_corpus_is_read_as_the_independent_count_says() {
    let Some(corpus) = std::env::var_os("MESHDUMP_CORPUS") else {
        eprintln!("skipped: MESHDUMP_CORPUS does not name the folder of the corpus");
        return;
    };
    let done = Command::new("python3")
        .arg("scripts/compare_corpus.py")
        .arg(corpus)
        .arg(env!("CARGO_BIN_EXE_meshdump"))
        .output()
        .expect("python3 runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
