//! Output is a function of the input bytes: whatever the number of cores, the compression, the spelling of keys, or
//! where a copy lies. And evidence is joined by its rules.

mod common;

use std::path::PathBuf;

use common::{Bench, cluster_entry, count, dump, dump_of, gzip, tar_of};
use serde_json::{Value, json};

/// What an Envoy wrote (`testdata/README.md`), and its companions.
fn captured(proxy: &str, name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "testdata", "envoy", proxy, name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn inflated(gz: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(gz), &mut out).expect("it is gzip");
    out
}

/// A report without what depends on where the input lies and how it is stored.
fn placeless(mut report: Value) -> Value {
    fn strip(v: &mut Value) {
        match v {
            Value::Object(map) => {
                for key in ["inputs", "path", "label", "proxy"] {
                    map.remove(key);
                }
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut report);
    report
}

fn json_of(bench: &Bench, args: &[&str]) -> Value {
    let mut all = vec!["analyze", "--all", "-o", "json"];
    all.extend(args);
    let run = bench.run(&all);
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    run.json()
}

fn proxies(report: &Value) -> &Vec<Value> {
    report["proxies"].as_array().expect("proxies")
}

/// A bench with two captured proxies in folders of their own and a dump large enough to be cut into many batches.
fn fleet() -> Bench {
    let bench = Bench::new();
    for proxy in ["gateway", "sidecar"] {
        for name in ["config_dump.json.gz", "server_info.json.gz", "memory.json", "certs.json", "clusters.txt"] {
            bench.put(&format!("fleet/{proxy}/{name}"), captured(proxy, name));
        }
    }
    let names: Vec<String> =
        (0..9000).map(|i| format!("outbound|80||svc-{i}.ns-{}.svc.cluster.local", i % 7)).collect();
    let big = dump_of("big", &names.iter().map(String::as_str).collect::<Vec<_>>());
    bench
        .put("fleet/big/config_dump.json", big.replacen("\"name\":\"outbound|80||svc-77.", "\"x\":NaN,\"name\":\"", 1));
    bench
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let bench = fleet();
    for (format, least) in [("text", 2_000), ("json", 1_000_000)] {
        let args = ["analyze", "fleet", "--all", "-o", format];
        let mut first: Option<Vec<u8>> = None;
        for threads in ["1", "2", "8"] {
            for _ in 0..2 {
                let out = bench.command(&args).env("RAYON_NUM_THREADS", threads).output().expect("it runs");
                assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
                assert!(out.stdout.len() > least, "{}", out.stdout.len());
                match &first {
                    None => first = Some(out.stdout),
                    // not assert_eq: megabytes of difference help nobody
                    Some(f) => assert!(*f == out.stdout, "{format} differs with {threads} threads"),
                }
            }
        }
    }
}

#[test]
fn a_packed_copy_gives_the_same_report() {
    let bench = Bench::new();
    for proxy in ["gateway", "sidecar"] {
        let packed = captured(proxy, "config_dump.json.gz");
        let plain = inflated(&packed);
        bench.put("a/config_dump.json", &plain).put("b/config_dump.json.gz", &packed);
        bench.put("c/x.tar", tar_of(&[("some/config_dump.json", &plain)]));
        bench.put("d/x.tar.gz", gzip(tar_of(&[("some/config_dump.json.gz", &packed)])));
        let want = placeless(json_of(&bench, &["a"]));
        assert!(proxies(&want)[0]["resources"].as_array().unwrap().len() > 20);
        for other in ["b", "c", "d"] {
            assert_eq!(placeless(json_of(&bench, &[other])), want, "{proxy} {other}");
        }
    }
}

fn camel(key: &str) -> String {
    let mut up = false;
    key.chars()
        .filter_map(|c| {
            if c == '_' {
                up = true;
                return None;
            }
            Some(if std::mem::take(&mut up) { c.to_ascii_uppercase() } else { c })
        })
        .collect()
}

/// Keys of messages in lowerCamelCase; keys of maps (extension names, metadata) are data and stay.
fn camel_keys(v: Value, in_map: bool) -> Value {
    match v {
        Value::Object(map) => map
            .into_iter()
            .map(|(k, v)| {
                // what these hold is keyed by names or free
                let free = matches!(
                    k.as_str(),
                    "metadata" | "filter_metadata" | "typed_per_filter_config" | "typed_extension_protocol_options"
                );
                let key = if in_map { k } else { camel(&k) };
                (key, if free { v } else { camel_keys(v, false) })
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|v| camel_keys(v, in_map)).collect(),
        other => other,
    }
}

#[test]
fn spelling_and_white_space_do_not_change_prices() {
    let bench = Bench::new();
    for proxy in ["gateway", "sidecar"] {
        let text = inflated(&captured(proxy, "config_dump.json.gz"));
        let value: Value = serde_json::from_slice(&text).expect("a dump");
        let spelled = camel_keys(value.clone(), false);
        assert_ne!(spelled, value);
        bench
            .put("given/config_dump.json", &text)
            .put("minified/config_dump.json", value.to_string())
            .put("camel/config_dump.json", serde_json::to_string_pretty(&spelled).expect("JSON"));
        let rows = |folder: &str| -> Vec<(String, u64, u64)> {
            let report = json_of(&bench, &[folder]);
            let rows = proxies(&report)[0]["by_kind"].as_array().unwrap().clone();
            let number = |r: &Value, k: &str| r[k].as_u64().unwrap();
            rows.iter()
                .map(|r| (r["kind"].as_str().unwrap().to_owned(), number(r, "count"), number(r, "bytes")))
                .collect()
        };
        let want = rows("given");
        assert!(want.len() > 4, "{want:?}");
        assert_eq!(rows("minified"), want, "{proxy}");
        assert_eq!(rows("camel"), want, "{proxy}");
    }
}

#[test]
fn a_tarball_beside_its_tree_counts_once() {
    let bench = Bench::new();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for (pod, clusters) in [("web-0", &["a", "b"][..]), ("web-1", &["a"])] {
        files.push((format!("bundle/proxies/ns/{pod}/config_dump"), dump_of(pod, clusters).into_bytes()));
        files.push((format!("bundle/proxies/ns/{pod}/memory"), br#"{"allocated":"7000000"}"#.to_vec()));
    }
    for (name, bytes) in &files {
        bench.put(&format!("in/{name}"), bytes);
    }
    let tree = placeless(json_of(&bench, &["in"]));
    assert_eq!(proxies(&tree).len(), 2);
    let entries: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
    bench.put("in/bundle.tar.gz", gzip(tar_of(&entries)));
    let both = json_of(&bench, &["in"]);
    assert_eq!(placeless(both.clone()), tree);
    let repeats = both["inputs"].as_array().unwrap().iter().filter_map(|i| i["note"].as_str());
    assert_eq!(repeats.filter(|n| n.starts_with("the same bytes as ")).count(), 4);
    // and the other way round
    assert_eq!(placeless(json_of(&bench, &["in/bundle.tar.gz", "in/bundle"])), tree);
}

#[test]
fn the_same_proxy_twice_is_a_series() {
    let bench = Bench::new();
    let at = |day: &str| dump_of("node-1", &["a", "b"]).replace("2026-11-01", day);
    bench
        .put("later.json", at("2026-11-03"))
        .put("earlier.json", at("2026-11-02"))
        .put("other.json", dump_of("n2", &["a"]));
    let report = json_of(&bench, &["later.json", "earlier.json", "other.json"]);
    assert_eq!(proxies(&report).len(), 3);
    let series = report["fleet"]["series"].as_array().unwrap();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0]["node_id"], "node-1");
    let times: Vec<&str> = series[0]["points"].as_array().unwrap().iter().map(|p| p[0].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"]);
    // equal bytes are one dump, not a series
    bench.put("copy.json", at("2026-11-03"));
    let report = json_of(&bench, &["later.json", "copy.json"]);
    assert_eq!((proxies(&report).len(), &report["fleet"]), (1, &Value::Null));
}

#[test]
fn companions_belong_to_the_dump_of_their_folder() {
    let bench = Bench::new();
    for (pod, allocated) in [("a", 6_500_000), ("b", 7_500_000)] {
        bench
            .put(&format!("pods/{pod}/dump.json"), dump_of(pod, &["x"]))
            .put(&format!("pods/{pod}/memory"), format!("{{\"allocated\":\"{allocated}\",\"heap_size\":\"9000000\"}}"))
            .put(
                &format!("pods/{pod}/stats.txt"),
                format!("server.concurrency: {}\nserver.live: 1\nserver.uptime: 5\n", allocated / 1_000_000),
            );
    }
    let report = json_of(&bench, &["pods"]);
    let mut got: Vec<(String, u64, u64)> = proxies(&report)
        .iter()
        .map(|p| {
            let number = |v: &Value| v.as_u64().unwrap();
            (
                p["node_id"].as_str().unwrap().to_owned(),
                number(&p["memory"]["observed"]["allocated"]),
                number(&p["concurrency"]),
            )
        })
        .collect();
    got.sort();
    assert_eq!(got, [("a".to_owned(), 6_500_000, 6), ("b".to_owned(), 7_500_000, 7)]);
    // named beside a single dump, whatever their folders
    let report = json_of(&bench, &["pods/a/dump.json", "pods/b/memory"]);
    assert_eq!(proxies(&report)[0]["memory"]["observed"]["allocated"], 7_500_000);
    // in doubt they belong to none, and `ls` says so
    bench.put("loose/memory", "{\"allocated\":\"1\"}");
    let run = bench.run(&["ls", "pods/a/dump.json", "pods/b/dump.json", "loose/memory", "--width", "200"]);
    assert!(
        run.stdout.contains("which of the config dumps it belongs to cannot be told: not assigned"),
        "{}",
        run.stdout
    );
    let report = json_of(&bench, &["pods/a/dump.json", "pods/b/dump.json", "loose/memory"]);
    assert!(proxies(&report).iter().all(|p| p["memory"]["observed"].is_null()));
}

#[test]
fn stdin_is_an_input_like_others() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    let want = placeless(json_of(&bench, &["dump.json"]));
    for bytes in [dump().into_bytes(), gzip(dump()), gzip(tar_of(&[("d/config_dump.json", dump().as_bytes())]))] {
        let run = bench.run_with(&["analyze", "-", "--all", "-o", "json"], &bytes);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(placeless(run.json()), want);
    }
    let run = bench.run_with(&["ls", "-", "-o", "json"], dump().as_bytes());
    assert_eq!((&run.json()["inputs"][0]["path"], &run.json()["kind"]), (&json!("-"), &json!("inputs")));
    bench.run_with(&["analyze", "-"], b"").ends(3, "error: -: empty file; was the command that wrote it cut off?\n");
}

/// Envoy's numbers, not the file's: the order in which files are named changes nothing but the list of inputs.
#[test]
fn the_order_of_arguments_does_not_matter() {
    let bench = Bench::new();
    bench.put("a.json", dump_of("a", &["x", "y"])).put("b.json", dump_of("b", &["x"]));
    assert_eq!(
        placeless(json_of(&bench, &["a.json", "b.json"]))["proxies"],
        placeless(json_of(&bench, &["b.json", "a.json"]))["proxies"]
    );
}

#[test]
fn entries_read_alike_in_any_order_of_keys() {
    let bench = Bench::new();
    // serde_json's map sorts keys, so `@type` comes first there; Envoy may write it last
    let last = dump().replacen(
        &cluster_entry(common::cluster("beta")).to_string(),
        "{\"last_updated\":\"2026-11-01T00:00:00.000Z\",\"cluster\":{\"connect_timeout\":\"1s\",\"type\":\"STATIC\",\
         \"name\":\"beta\",\"@type\":\"type.googleapis.com/envoy.config.cluster.v3.Cluster\"},\"version_info\":\"1\"}",
        1,
    );
    assert_ne!(last, dump());
    bench.put("first.json", dump()).put("last.json", last);
    let rows = |name: &str| json_of(&bench, &[name])["proxies"][0]["by_kind"].clone();
    assert_eq!(rows("last.json"), rows("first.json"));
    assert_eq!(count(&json_of(&bench, &["last.json"]), 0, "cluster"), 3);
}
