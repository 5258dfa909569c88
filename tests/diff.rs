//! `meshdump diff`, end to end: what means the same is no difference, and every planted change is named once.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;

use common::Bench;
use serde_json::{Map, Value, json};

fn testdata(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/envoy").join(name);
    let bytes = fs::read(&path).expect("a capture of ours");
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip");
    serde_json::from_str(&text).expect("JSON")
}

/// Keys of all objects turned around, and the lists named here too.
fn reordered(value: &Value, sets: &[&str]) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (k, v) in map.iter().rev() {
                let mut v = reordered(v, sets);
                if let (true, Some(list)) = (sets.contains(&k.as_str()), v.as_array_mut()) {
                    list.reverse();
                }
                out.insert(k.clone(), v);
            }
            Value::Object(out)
        }
        Value::Array(list) => list.iter().map(|v| reordered(v, sets)).collect(),
        other => other.clone(),
    }
}

fn camel_key(key: &str) -> String {
    let mut out = String::new();
    let mut up = false;
    for c in key.chars() {
        if c == '_' && !key.starts_with('_') {
            up = true;
        } else {
            out.extend(if up { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] });
            up = false;
        }
    }
    out
}

/// Each key in the other spelling, but for the keys below `theirs`.
fn camel(value: &Value, theirs: &[&str]) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| match theirs.contains(&k.as_str()) || k.contains('.') && !theirs.is_empty() {
                true => (k.clone(), v.clone()),
                false => (camel_key(k), camel(v, theirs)),
            })
            .collect(),
        Value::Array(list) => list.iter().map(|v| camel(v, theirs)).collect(),
        other => other.clone(),
    }
}

/// What stands below is the user's: its keys are names.
const THEIRS: [&str; 9] = [
    "metadata",
    "filter_metadata",
    "typed_per_filter_config",
    "per_filter_config",
    "typed_extension_protocol_options",
    "value",
    "config",
    "annotations",
    "labels",
];

fn diff(a: &Value, b: &Value) -> Value {
    let bench = Bench::new();
    bench.put("a.json", a.to_string()).put("b.json", b.to_string());
    let run = bench.run(&["diff", "a.json", "b.json", "-o", "json", "--exit-code"]);
    let out = run.json();
    let expected = if out["equal"] == true { 0 } else { 1 };
    run.ends(expected, "");
    out
}

/// Every difference as `kind/name path change`.
fn named(out: &Value) -> Vec<String> {
    let mut list = Vec::new();
    for p in out["proxies"].as_array().expect("proxies") {
        for group in ["added", "removed", "changed", "reordered"] {
            for r in p["resources"][group].as_array().expect("a group") {
                let name = format!("{group} {}/{}", r["kind"].as_str().unwrap(), r["name"].as_str().unwrap());
                match r["fields"].as_array() {
                    None => list.push(name),
                    Some(fields) => {
                        list.extend(fields.iter().map(|f| {
                            format!("{name} {} {}", f["path"].as_str().unwrap(), f["change"].as_str().unwrap())
                        }))
                    }
                }
            }
        }
    }
    list.sort();
    list
}

const SECTIONS: [&str; 9] = [
    "configs",
    "dynamic_active_clusters",
    "static_clusters",
    "dynamic_listeners",
    "dynamic_route_configs",
    "static_route_configs",
    "dynamic_active_secrets",
    "domains",
    "filter_chains",
];

#[test]
fn the_same_in_other_clothes() {
    for name in ["sidecar/config_dump.json.gz", "gateway/config_dump.json.gz"] {
        let dump = testdata(name);
        for (what, other) in [
            ("itself", dump.clone()),
            ("its copy in another order", reordered(&dump, &SECTIONS)),
            ("its camelCase copy", camel(&dump, &[])),
        ] {
            let out = diff(&dump, &other);
            assert_eq!(named(&out), Vec::<String>::new(), "{name} and {what}");
            assert_eq!(out["equal"], true, "{name} and {what}");
        }
    }
}

fn entries<'a>(dump: &'a mut Value, section: &str, list: &str) -> &'a mut Vec<Value> {
    let configs = dump["configs"].as_array_mut().expect("configs");
    let found = configs.iter_mut().find(|c| {
        c["@type"].as_str().is_some_and(|t| t.ends_with(section)) && c.get(list).is_some_and(Value::is_array)
    });
    found.expect("the section")[list].as_array_mut().expect("a list")
}

#[test]
fn every_planted_change_and_nothing_else() {
    let before = testdata("sidecar/config_dump.json.gz");
    let mut after = before.clone();
    let clusters = entries(&mut after, "ClustersConfigDump", "dynamic_active_clusters");
    let changed = clusters[0]["cluster"]["name"].as_str().unwrap().to_owned();
    let removed = clusters[1]["cluster"]["name"].as_str().unwrap().to_owned();
    clusters[0]["cluster"]["connect_timeout"] = "77s".into();
    clusters[0]["version_info"] = "another".into();
    clusters[0]["last_updated"] = "2031-01-01T00:00:00Z".into();
    let mut added = clusters[1].clone();
    added["cluster"]["name"] = "planted".into();
    clusters[1] = added;
    let routes = entries(&mut after, "RoutesConfigDump", "dynamic_route_configs");
    let table = routes[0]["route_config"]["name"].as_str().unwrap().to_owned();
    let host = routes[0]["route_config"]["virtual_hosts"][0]["name"].as_str().unwrap().to_owned();
    let domains = routes[0]["route_config"]["virtual_hosts"][0]["domains"].as_array_mut().unwrap();
    let n = domains.len();
    domains.push("planted.example.com".into());

    let mut expected = vec![
        "added cluster/planted".to_owned(),
        format!("removed cluster/{removed}"),
        format!("changed cluster/{changed} connect_timeout changed"),
        format!("changed route_config/{table} virtual_hosts[{host}].domains[{n}] added"),
    ];
    expected.sort();
    assert_eq!(named(&diff(&before, &after)), expected);
}

#[test]
fn order_that_matters_is_named() {
    let filter = |name: &str| json!({"name": name});
    let dump = |filters: Vec<Value>| {
        let listener = common::any(
            "envoy.config.listener.v3.Listener",
            json!({"name": "l", "listener_filters": filters, "filter_chains": [{"name": "c"}]}),
        );
        let entry = json!({"name": "l", "active_state": {"version_info": "1", "listener": listener}});
        common::configs(vec![
            common::bootstrap("n"),
            common::section("ListenersConfigDump", json!({"dynamic_listeners": [entry]})),
        ])
    };
    let out = diff(&dump(vec![filter("a"), filter("b")]), &dump(vec![filter("b"), filter("a")]));
    assert_eq!(named(&out), ["reordered listener/l listener_filters reordered"]);
}

#[test]
fn memory_comes_first_and_secrets_stay_hidden() {
    let bench = Bench::new();
    let with = |names: &[&str], token: &str| {
        let mut text = common::dump_of("node-1", names);
        text = text.replace(
            "\"connect_timeout\":\"1s\"",
            &format!("\"connect_timeout\":\"1s\",\"metadata\":{{\"filter_metadata\":{{\"x\":{{\"k\":\"{token}\"}}}}}}"),
        );
        text
    };
    bench
        .put("a.json", with(&["alpha", "beta"], "hush-one"))
        .put("b.json", with(&["alpha", "beta", "gamma"], "hush-two"));
    let run = bench.run(&["diff", "a.json", "b.json"]);
    run.ends(0, "");
    assert!(run.stdout.lines().nth(1).is_some_and(|l| l.starts_with("ALLOCATED")), "{}", run.stdout);
    assert!(run.stdout.contains("+ cluster/gamma"), "{}", run.stdout);
    assert!(!run.stdout.contains("hush"), "{}", run.stdout);
}

#[test]
fn two_listings_of_maps() {
    let bench = Bench::new();
    let map = |id: u32, entries: u64| {
        json!({"id": id, "type": "hash", "name": "m", "flags": 0, "bytes_key": 4, "bytes_value": 8,
               "max_entries": entries, "bytes_memlock": entries * 88})
    };
    bench.put("a.json", json!([map(1, 100)]).to_string()).put("b.json", json!([map(1, 200)]).to_string());
    let run = bench.run(&["diff", "a.json", "b.json", "-o", "json", "--exit-code"]);
    run.ends(1, "");
    assert_eq!(run.json()["bpf"]["memlock_after"], 17600);
    bench.run(&["diff", "a.json", "a.json", "--exit-code"]).ends(0, "");
}

#[test]
fn nothing_to_compare() {
    let bench = Bench::new();
    bench.put("a.json", common::dump_of("one", &["a"])).put("b.txt", "nothing here");
    assert_eq!(bench.run(&["diff", "a.json", "b.txt"]).code, 3);
    assert_eq!(bench.run(&["diff", "a.json", "missing.json"]).code, 3);
}

/// A stream of listeners, clusters and routes: each line one response.
fn stream(clusters: &[(&str, &str)], names: &[&str]) -> Vec<Value> {
    let push = |t: f64, kind: &str, version: u32, resources: Vec<Value>| {
        json!({"t": t, "type_url": format!("type.googleapis.com/{kind}"), "version_info": version.to_string(),
               "nonce": version.to_string(), "resources": resources})
    };
    let cluster = |(name, timeout): &(&str, &str)| {
        common::any(
            "envoy.config.cluster.v3.Cluster",
            json!({"name": name, "type": "STATIC", "connect_timeout": timeout, "lb_policy": "LEAST_REQUEST"}),
        )
    };
    let listener = |name: &&str| {
        let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": 80 + name.len()}});
        let tcp = common::any(
            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            json!({"stat_prefix": "x", "cluster": "a"}),
        );
        let chain = json!({"name": "c", "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": tcp}]});
        common::any(
            "envoy.config.listener.v3.Listener",
            json!({"name": name, "address": address, "filter_chains": [chain]}),
        )
    };
    vec![
        push(1.0, "envoy.config.cluster.v3.Cluster", 1, clusters.iter().map(cluster).collect()),
        push(2.0, "envoy.config.listener.v3.Listener", 2, names.iter().map(listener).collect()),
    ]
}

fn lines(stream: &[Value]) -> String {
    stream.iter().map(|v| format!("{v}\n")).collect()
}

#[test]
fn two_recordings() {
    let bench = Bench::new();
    let before = stream(&[("a", "1s"), ("b", "1s")], &["web", "older"]);
    let renamed: Vec<Value> = before
        .iter()
        .map(|v| {
            // the envelope stays: only resources are Envoy's to write either way
            let mut v = v.clone();
            v["resources"] = camel(&reordered(&v["resources"], &[]), &[]);
            v["version_info"] = "other".into();
            v
        })
        .collect();
    bench
        .put("a.jsonl", lines(&before))
        .put("clothes.jsonl", lines(&renamed))
        .put("b.jsonl.gz", common::gzip(lines(&stream(&[("a", "2s"), ("c", "1s")], &["web"]))));
    for same in ["a.jsonl", "clothes.jsonl"] {
        let run = bench.run(&["diff", "a.jsonl", same, "--exit-code"]);
        run.ends(0, "").says("No difference: times, versions, spelling, defaults and the order of sets aside.");
    }
    bench.run(&["convert", "a.jsonl", "--out", "converted.jsonl"]);
    assert_eq!(bench.run(&["diff", "a.jsonl", "converted.jsonl", "--exit-code"]).code, 0);
    let run = bench.run(&["diff", "a.jsonl", "b.jsonl.gz", "--exit-code", "-o", "json"]);
    let out = run.ends(1, "").json();
    let names = |group: &str| -> Vec<String> {
        let list = out["recording"]["resources"][group].as_array().expect("a group");
        let text = |v: &Value| v.as_str().expect("text").to_owned();
        let fields = |r: &Value| r["fields"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
        list.iter()
            .map(|r| format!("{}/{} {}", text(&r["xds"]), text(&r["name"]), fields(r)).trim().to_owned())
            .collect()
    };
    assert_eq!(names("added"), ["CDS/c"]);
    assert_eq!(names("removed"), ["LDS/older", "CDS/b"]);
    assert_eq!(names("changed"), ["CDS/a connect_timeout"]);
    assert!(names("reordered").is_empty());
    let memory = &out["recording"]["memory"]["peak"];
    assert!(memory["before"].as_u64() > memory["after"].as_u64(), "a listener less: {memory}");
    let text = bench.run(&["diff", "a.jsonl", "b.jsonl.gz"]).stdout;
    assert!(text.starts_with("PEAK"), "{text}");
    assert_eq!(bench.run(&["diff", "a.jsonl", "missing.jsonl"]).code, 3);
}

#[test]
fn a_page_and_markdown_name_what_differs() {
    let bench = Bench::new();
    let hostile = "<script>document.title='owned'</script>";
    bench.put("a.json", common::dump_of("n", &["alpha"])).put("b.json", common::dump_of("n", &["alpha", hostile]));
    bench.put("a.jsonl", lines(&stream(&[("a", "1s")], &["web"])));
    bench.put("b.jsonl", lines(&stream(&[("a", "2s")], &["web"])));
    for (a, b, html, md) in [
        ("a.json", "b.json", "&lt;script&gt;document", "`<script>document.title='owned'</script>`"),
        ("a.jsonl", "b.jsonl", "connect_timeout", "`connect_timeout`"),
    ] {
        let page = bench.run(&["diff", a, b, "-o", "html"]).stdout;
        assert!(page.contains(html) && page.matches("<script").count() == 1, "{page}");
        assert!(!page.contains("Nothing was found"), "{page}");
        let text = bench.run(&["diff", a, b, "-o", "md"]).stdout;
        assert!(text.contains(md) && !text.contains("No findings"), "{text}");
    }
    let same = bench.run(&["diff", "a.json", "a.json", "-o", "md"]).stdout;
    assert!(same.starts_with("**meshdump diff**: no difference"), "{same}");
}

/// Every file of the corpus against itself, and each that is one JSON document of configuration against its copies with
/// the order turned around and in the other spelling.
#[test]
fn the_corpus_in_other_clothes() {
    let copies = std::sync::atomic::AtomicUsize::new(0);
    let checked = common::corpus(|path| {
        let bench = Bench::new();
        let file = path.to_string_lossy();
        let equal = |other: &str| {
            let run = bench.run(&["diff", &file, other, "--exit-code", "--full"]);
            // 3: there is nothing to compare
            (![0, 3].contains(&run.code)).then(|| format!("{other}: {}\n{}{}", run.code, run.stdout, run.stderr))
        };
        let itself = equal(&file);
        let document = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let Some(document) = document.filter(|_| itself.is_none()) else { return itself };
        let kinds = bench.run(&["ls", &file, "-o", "json"]);
        if kinds.code != 0 || kinds.json()["inputs"][0]["kind"] != "config_dump" {
            return None;
        }
        copies.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        bench.put("reordered.json", reordered(&document, &SECTIONS[1..7]).to_string());
        bench.put("camel.json", camel(&document, &THEIRS).to_string());
        equal("reordered.json").or_else(|| equal("camel.json"))
    });
    if let Some((files, wrong)) = checked {
        let copies = copies.into_inner();
        assert!(files > 100 && copies > 30, "{copies} of {files} have copies");
        assert!(wrong.is_empty(), "{} of {files}:\n{}", wrong.len(), wrong.join("\n"));
    }
}
