//! `meshdump generate`, end to end.

mod common;
mod envoy_play;

use std::collections::BTreeMap;

use common::Bench;
use envoy_play::{recording, text};
use serde_json::Value;

/// All files of a folder by name.
fn files(bench: &Bench, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(bench.path(folder)).unwrap().map(|e| e.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// Generates twice into other folders, which must be equal byte for byte.
fn made(bench: &Bench, args: &[&str]) -> BTreeMap<String, Vec<u8>> {
    for folder in ["made", "again"] {
        let mut all = vec!["generate"];
        all.extend(args);
        all.extend(["--out", folder]);
        let run = bench.run(&all);
        assert_eq!((run.code, &*run.stderr), (0, ""), "{args:?}");
    }
    let first = files(bench, "made");
    assert!(first == files(bench, "again"), "{args:?} is not deterministic");
    first
}

/// The last state-of-the-world response of each type and the dump hold the same names.
fn dump_is_the_end_of_the_recording(bench: &Bench) {
    let dump: Value = serde_json::from_str(&text(&bench.path("made/config_dump.json.gz"))).unwrap();
    let section = |key: &str| -> Vec<&Value> {
        let all = dump["configs"].as_array().unwrap();
        all.iter().filter_map(|c| c[key].as_array()).flatten().collect()
    };
    for (kind, key, name) in [
        ("listener.v3.Listener", "dynamic_listeners", "/active_state/listener"),
        ("route.v3.RouteConfiguration", "dynamic_route_configs", "/route_config"),
        ("cluster.v3.Cluster", "dynamic_active_clusters", "/cluster"),
    ] {
        let pushes = recording(&bench.path("made/recording.jsonl.gz"));
        let last = pushes.iter().rev().find(|p| p.body["type_url"].as_str().unwrap().ends_with(kind)).unwrap();
        let sent: Vec<&Value> = last.body["resources"].as_array().unwrap().iter().collect();
        let shown: Vec<&Value> = section(key).into_iter().map(|e| e.pointer(name).unwrap()).collect();
        if text(&bench.path("made/recording.jsonl.gz")).contains("private_key") {
            // the dump hides keys
            let names = |l: &[&Value]| l.iter().map(|v| v["name"].to_string()).collect::<Vec<_>>();
            assert_eq!(names(&sent), names(&shown), "{kind}");
        } else {
            assert_eq!(sent, shown, "{kind}");
        }
    }
}

#[test]
fn contour() {
    let bench = Bench::new();
    let files = made(&bench, &["contour", "--ingresses", "25", "--block", "10", "--tls"]);
    let names: Vec<&String> = files.keys().collect();
    let expected =
        ["config_dump.json.gz", "kubernetes.json", "recording.jsonl.gz", "server_info.json", "watch.jsonl.gz"];
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    dump_is_the_end_of_the_recording(&bench);
    let report = bench.run(&["analyze", "made", "-o", "json"]).json();
    assert_eq!(common::count(&report, 0, "filter_chain"), 26);
    assert_eq!(report["proxies"][0]["counts"]["secrets"]["active"], 3);
    let events: Vec<Value> =
        text(&bench.path("made/watch.jsonl.gz")).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let ingresses = events.iter().filter(|e| e["e"]["object"]["kind"] == "Ingress").count();
    assert_eq!(ingresses, 25);
    // plain: routes alone change, LDS is the same in every push
    made(&bench, &["contour", "--ingresses", "25"]);
    let pushes = recording(&bench.path("made/recording.jsonl.gz"));
    let listeners: Vec<String> = pushes
        .iter()
        .filter(|p| p.body["type_url"].as_str().unwrap().ends_with("Listener"))
        .map(|p| p.body["resources"].to_string())
        .collect();
    assert!(listeners.len() > 5 && listeners.iter().all(|l| *l == listeners[0]));
    // the end of a deletion holds no ingress
    made(&bench, &["contour", "--ingresses", "25", "--tls", "--delete", "--preset", "contour-0.5"]);
    dump_is_the_end_of_the_recording(&bench);
    let report = bench.run(&["analyze", "made", "-o", "json"]).json();
    assert_eq!(common::count(&report, 0, "filter_chain"), 1);
}

#[test]
fn wrong_arguments() {
    let bench = Bench::new();
    let run = bench.run(&["generate", "contour", "--preset", "kuma", "--out", "x"]);
    run.ends(2, "error: --preset kuma: expected a version of Contour, as contour-0.13\n");
    bench.put("file", "x");
    let run = bench.run(&["generate", "contour", "--out", "file/below"]);
    assert_eq!(run.code, 4);
    assert!(run.stderr.starts_with("error: cannot write to file/below: "), "{}", run.stderr);
}
