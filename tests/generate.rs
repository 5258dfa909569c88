//! `meshdump generate`, end to end.

mod common;
mod envoy_play;

use std::collections::BTreeMap;

use common::Bench;
use envoy_play::{recording, text};
use serde_json::{Value, json};

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
    // the watch alone, the same as beside a recording; without a certificate in it nothing else is missing
    let args = [
        "generate",
        "contour",
        "--ingresses",
        "25",
        "--block",
        "10",
        "--tls",
        "--recording",
        "never",
        "--out",
        "alone",
    ];
    assert!(bench.run(&args).stdout.contains("no recording.jsonl.gz: it would have"));
    let alone = self::files(&bench, "alone");
    assert_eq!(files.keys().filter(|f| !alone.contains_key(*f)).collect::<Vec<_>>(), ["recording.jsonl.gz"]);
    assert!(alone.iter().all(|(name, bytes)| files[name] == *bytes));
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
    let outbound = clusters.iter().filter(|c| c["cluster"]["name"].as_str().unwrap().starts_with("outbound|"));
    assert_eq!(outbound.count(), 8 * 20);
    let export: Value = serde_json::from_str(&text(&bench.path("made/kubernetes.json"))).unwrap();
    let of = |kind: &str, version: &str| {
        let items = export["items"].as_array().unwrap();
        items.iter().filter(|o| o["kind"] == kind && o["apiVersion"] == version).count()
    };
    assert_eq!(of("Service", "v1"), 2 * 20);
    assert_eq!(of("Revision", "serving.knative.dev/v1"), 20);
}

/// Istio's rules, applied to the Kubernetes objects, give exactly what the dump holds.
#[test]
fn objects_and_dump_agree() {
    let bench = Bench::new();
    for (args, name, clusters) in [
        (&["istio", "--services", "40"][..], "service-0000", 40 + 10 + 10),
        (&["bookinfo", "--sidecars"], "details-v1", 4 + 10),
        (&["bookinfo", "--sidecars", "--app", "simple"], "first-v1", 3 + 10),
        (&["knative", "--revisions", "12"], "client", 8 * 12),
    ] {
        made(&bench, args);
        let run = bench.run(&["whatif", "scope", "made", "-o", "json"]);
        assert_eq!((run.code, &*run.stderr), (0, ""), "{args:?}");
        let report = run.json();
        let row = report["workloads"].as_array().unwrap().iter().find(|w| w["source"] == "dump").unwrap();
        assert_eq!(row["name"], name);
        assert_eq!((&row["compared"], &row["differences"]), (&true.into(), &json!([])), "{args:?}");
        assert_eq!(row["before"]["counts"]["outbound_clusters"], clusters, "{args:?}");
        for folder in ["made", "again"] {
            std::fs::remove_dir_all(bench.path(folder)).unwrap();
        }
    }
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

/// Without `--unsorted`, a push that changes nothing is the same text and drains nothing; with it, every chain of every
/// such push is another one, and the old ones drain.
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

        let run =
            bench.run(&["replay", "made/recording.jsonl.gz", "--server-info", "made/server_info.json", "-o", "json"]);
        assert_eq!((run.code, &*run.stderr), (0, ""));
        let export = bench.run(&["analyze", "made/kubernetes.json", "-o", "json"]).json()["kubernetes"].clone();
        assert_eq!((&export["sidecar_pods"], &export["gateway_pods"]), (&json!(5), &json!(0)));
        let report = run.json();
        let replayed = &report["runs"][0];
        let of_lds = |p: &&Value| p["xds"] == "LDS";
        let all: Vec<&Value> = replayed["pushes"].as_array().unwrap().iter().filter(of_lds).collect();
        // the last three change nothing
        for p in &all[all.len() - 3..] {
            let (changed, same) = (p["modified_in_place"].as_u64().unwrap(), p["no_op"].as_u64().unwrap());
            assert_eq!((changed, same), if unsorted { (2, 0) } else { (0, 2) }, "{p}");
        }
        let draining = |t: f64| {
            let mut rows = replayed["timeline"].as_array().unwrap().iter();
            let row = rows.rfind(|r| r["t"].as_f64().unwrap() <= t).unwrap();
            row["filter_chains_draining"].as_u64().unwrap()
        };
        // five outbound chains and one inbound
        let [.., grown, _, _, last] = &all[..] else { panic!("four pushes") };
        let (before, after) =
            (draining(grown["t"].as_f64().unwrap() + 1.0), draining(last["t"].as_f64().unwrap() + 1.0));
        assert_eq!(after - before, if unsorted { 3 * 6 } else { 0 });
        assert!(unsorted || after == 0);
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
