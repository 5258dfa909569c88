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
fn every_case_is_deterministic_and_ends_as_its_dump() {
    let bench = Bench::new();
    for (args, kinds) in [
        (&["osm", "--services", "6", "--wasm", "--permissive", "--unsorted", "--module-bytes", "5000"][..], 2),
        (&["knative", "--revisions", "12"], 30),
        (&["bookinfo", "--sidecars"], 12),
        (&["istio", "--services", "20"], 0),
        (&["gateway", "--routes", "20"], 0),
    ] {
        let files = made(&bench, args);
        assert!(files.contains_key("recording.jsonl.gz") && files.contains_key("kubernetes.json"), "{args:?}");
        if kinds > 0 {
            dump_is_the_end_of_the_recording(&bench);
        }
        let run = bench.run(&["analyze", "made"]);
        assert_eq!((run.code, &*run.stderr), (0, ""), "{args:?}");
        std::fs::remove_dir_all(bench.path("made")).unwrap();
        std::fs::remove_dir_all(bench.path("again")).unwrap();
    }
}

/// Two Services and eight clusters for each revision (seed 003).
#[test]
fn knative_counts() {
    let bench = Bench::new();
    made(&bench, &["knative", "--revisions", "20"]);
    let dump: Value = serde_json::from_str(&text(&bench.path("made/config_dump.json.gz"))).unwrap();
    let clusters = dump["configs"][1]["dynamic_active_clusters"].as_array().unwrap();
    assert_eq!(clusters.len(), 8 * 20);
    let export: Value = serde_json::from_str(&text(&bench.path("made/kubernetes.json"))).unwrap();
    let of = |kind: &str, version: &str| {
        let items = export["items"].as_array().unwrap();
        items.iter().filter(|o| o["kind"] == kind && o["apiVersion"] == version).count()
    };
    assert_eq!(of("Service", "v1"), 2 * 20);
    assert_eq!(of("Revision", "serving.knative.dev/v1"), 20);
}

#[test]
fn kmesh_is_a_trace_that_bpf_simulate_takes() {
    let bench = Bench::new();
    let files = made(&bench, &["kmesh", "--services", "1000"]);
    assert!(files.keys().eq(["kubernetes.json", "trace.jsonl"]));
    let run = bench.run(&["bpf", "simulate", "made/trace.jsonl", "--policy", "kmesh-0.5"]);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    let trace = text(&bench.path("made/trace.jsonl"));
    let counts: Vec<u64> =
        trace.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["services"].as_u64().unwrap()).collect();
    assert_eq!((counts[0], counts.iter().max(), counts.last()), (0, Some(&1000), Some(&0)));
}

/// Without `--unsorted`, a push that changes nothing is the same text; with it, no listener is.
#[test]
fn osm_shuffles_only_when_asked() {
    let bench = Bench::new();
    for unsorted in [false, true] {
        let mut args = vec!["osm", "--services", "5", "--wasm", "--permissive", "--module-bytes", "3000"];
        args.extend(unsorted.then_some("--unsorted"));
        made(&bench, &args);
        let pushes = recording(&bench.path("made/recording.jsonl.gz"));
        let lds: Vec<&Value> = pushes
            .iter()
            .filter(|p| p.body["type_url"].as_str().unwrap().ends_with("Listener"))
            .map(|p| &p.body["resources"])
            .collect();
        let [.., a, b] = &lds[..] else { panic!("two pushes") };
        assert_eq!(a != b, unsorted);
    }
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
