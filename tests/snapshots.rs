//! What a user reads: one snapshot per finding code, and the texts of the commands.
//!
//! A changed price changes the full reports here on purpose: read the difference, then accept it.

mod common;

use std::path::Path;

use common::{Bench, any, bootstrap, cluster, cluster_entry, configs, dump, dump_of, section};
use meshdump::findings::catalog::CATALOG;
use serde_json::{Value, json};

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A command line with what it prints.
fn shown(bench: &Bench, args: &[&str]) -> String {
    let run = bench.run(args);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{args:?}");
    for line in run.stdout.lines() {
        assert!(line.trim_end() == line, "white space at the end of a line: {line:?}");
    }
    format!("$ meshdump {}\n{}", args.join(" "), run.stdout)
}

/// Snapshots what `analyze ARGS` says from `FINDINGS` on, and asserts that `code` is among it.
fn finding(code: &str, bench: &Bench, args: &[&str]) {
    let mut all = vec!["analyze"];
    all.extend(args);
    let text = shown(bench, &all);
    let (command, report) = text.split_once('\n').expect("a line with the command");
    let at = report.find("FINDINGS").expect("findings");
    assert!(!report.contains("not used"), "{report}");
    assert!(report[at..].lines().any(|l| l.split_whitespace().nth(1) == Some(code)), "no {code} in\n{report}");
    for line in report[at..].lines() {
        assert!(line.chars().count() <= 120, "too long: {line}");
    }
    snapshot(&format!("finding_{code}"), &format!("{command}\n…\n{}", &report[at..]));
}

const T: &str = "2026-11-01T00:00:00.000Z";

fn clusters(active: Vec<Value>) -> Value {
    section("ClustersConfigDump", json!({"version_info": "1", "dynamic_active_clusters": active}))
}

fn active_clusters(names: &[&str]) -> Value {
    clusters(names.iter().map(|n| cluster_entry(cluster(n))).collect())
}

fn listeners(entries: Vec<Value>) -> Value {
    section("ListenersConfigDump", json!({"version_info": "1", "dynamic_listeners": entries}))
}

/// A listener with the given chains.
fn listener(name: &str, chains: Vec<Value>) -> Value {
    any("envoy.config.listener.v3.Listener", json!({"name": name, "filter_chains": chains}))
}

fn in_state(state: &str, name: &str, listener: Value, updated: &str) -> Value {
    json!({"name": name, state: {"version_info": "1", "listener": listener, "last_updated": updated}})
}

fn active(name: &str, chains: Vec<Value>) -> Value {
    in_state("active_state", name, listener(name, chains), T)
}

fn filter(name: &str, type_name: &str, body: Value) -> Value {
    json!({"name": name, "typed_config": any(type_name, body)})
}

/// A chain that proxies TCP to a cluster.
fn tcp(to: &str) -> Value {
    let proxy = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    json!({"filters": [filter("tcp", proxy, json!({"stat_prefix": "tcp", "cluster": to}))]})
}

/// A chain with a connection manager.
fn http(body: Value) -> Value {
    let manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    json!({"filters": [filter("http", manager, body)]})
}

fn routes(name: &str, to: &str) -> Value {
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": to}});
    any(
        "envoy.config.route.v3.RouteConfiguration",
        json!({"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}),
    )
}

/// A proxy whose listener `in` leads to the cluster `a`, with more sections.
fn proxy(more: Vec<Value>) -> Value {
    let mut all = vec![bootstrap("node-1"), active_clusters(&["a"]), listeners(vec![active("in", vec![tcp("a")])])];
    all.extend(more);
    configs(all)
}

const STATS: &str = "listener_manager.total_listeners_draining: 0\nlistener_manager.total_filter_chains_draining: 0\n\
                     server.live: 1\nserver.concurrency: 2\n";

/// A bench with this dump and an uneventful `/stats` beside it.
fn bench(dump: &Value) -> Bench {
    let bench = Bench::new();
    bench.put("dump.json", serde_json::to_string_pretty(dump).expect("JSON")).put("stats.txt", STATS);
    bench
}

/// One test per code, and the list of codes that have one.
macro_rules! findings {
    ($($code:ident: $make:expr;)*) => {
        $(
            #[test]
            #[expect(non_snake_case, reason = "codes are written in capitals")]
            fn $code() {
                let make: fn() -> (Bench, Vec<&'static str>) = $make;
                let (bench, args) = make();
                finding(stringify!($code), &bench, &args);
            }
        )*
        const CODES: &[&str] = &[$(stringify!($code)),*];
    };
}

const BOTH: [&str; 2] = ["dump.json", "stats.txt"];

findings! {
    MD101: || (bench(&proxy(vec![])), vec!["dump.json"]);
    MD102: || {
        let eds = any("envoy.config.cluster.v3.Cluster", json!({"name": "a", "type": "EDS"}));
        (bench(&configs(vec![bootstrap("node-1"), clusters(vec![cluster_entry(eds)])])), vec!["dump.json"])
    };
    MD103: || {
        let bench = Bench::new();
        let text = dump();
        bench.put("dump.json", &text[..text.find("gamma").expect("a cluster")]);
        (bench, vec!["dump.json"])
    };
    MD104: || {
        let other = any("example.admin.v1.ThingsConfigDump", json!({"things": [1, 2, 3]}));
        (bench(&configs(vec![bootstrap("node-1"), active_clusters(&["a"]), other])), vec!["dump.json"])
    };
    MD105: || {
        let bench = Bench::new();
        bench.put("dump.json", dump().replace("\"1s\",\"name\":\"beta\"", "NaN,\"name\":\"beta\""));
        (bench, vec!["dump.json"])
    };
    MD106: || {
        let bench = Bench::new();
        for (pod, version) in [("web-0", "1.28.0"), ("web-1", "1.30.1"), ("web-2", "1.30.1")] {
            bench.put(&format!("pods/{pod}/config_dump.json"), dump_of(pod, &["a"])).put(
                &format!("pods/{pod}/server_info.json"),
                json!({"version": format!("abc/{version}/Clean/RELEASE/BoringSSL"), "state": "LIVE", "hot_restart_version": "11"}).to_string(),
            );
        }
        (bench, vec!["pods"])
    };
    MD201: || {
        let old = in_state("draining_state", "in", listener("in", vec![tcp("a")]), T);
        let b = bench(&configs(vec![
            bootstrap("node-1"),
            active_clusters(&["a"]),
            listeners(vec![active("in", vec![tcp("a")]), old]),
        ]));
        b.put("stats.txt", STATS.replace("listeners_draining: 0", "listeners_draining: 3"));
        (b, BOTH.to_vec())
    };
    MD202: || {
        let now = routes("inline", "a");
        let mut old = now.clone();
        old["virtual_hosts"][0]["domains"][0] = "old.example.com".into();
        let table = |r: &Value, t: &str| json!({"route_config": r, "last_updated": t});
        let dump = configs(vec![
            bootstrap("node-1"),
            active_clusters(&["a"]),
            listeners(vec![active("in", vec![http(json!({"stat_prefix": "in", "route_config": now}))])]),
            section("RoutesConfigDump", json!({"static_route_configs": [
                table(&now, T), table(&old, "2026-10-31T23:56:00.000Z"),
            ]})),
        ]);
        (bench(&dump), BOTH.to_vec())
    };
    MD203: || {
        let b = bench(&proxy(vec![]));
        let one = json!({"ca_cert": [{"serial_number": "b4"}], "cert_chain": [{"serial_number": "73"}]});
        b.put("certs.json", json!({"certificates": [one, one]}).to_string());
        (b, vec!["dump.json", "stats.txt", "certs.json"])
    };
    MD207: || {
        let b = bench(&proxy(vec![]));
        b.put("stats.txt", STATS.replace("chains_draining: 0", "chains_draining: 2"));
        (b, BOTH.to_vec())
    };
    MD208: || {
        let later = in_state("active_state", "late", listener("late", vec![tcp("a")]), "2026-11-01T00:10:00.000Z");
        let dump = configs(vec![
            bootstrap("node-1"),
            active_clusters(&["a"]),
            listeners(vec![active("in", vec![tcp("a")]), later]),
        ]);
        (bench(&dump), BOTH.to_vec())
    };
    MD209: || {
        let details = "error adding listener: 'in' has duplicate address '0.0.0.0:80' as existing listener, to check \
                       if the listener has duplicate addresses with other listeners enable debug logging";
        let bad = json!({"name": "bad", "error_state": {
            "failed_configuration": listener("bad", vec![tcp("a")]), "last_update_attempt": T, "details": details,
        }});
        let dump = configs(vec![
            bootstrap("node-1"),
            active_clusters(&["a"]),
            listeners(vec![active("in", vec![tcp("a")]), bad]),
        ]);
        (bench(&dump), BOTH.to_vec())
    };
    MD210: || {
        let warming = section(
            "ClustersConfigDump",
            json!({"version_info": "1", "dynamic_warming_clusters": [cluster_entry(cluster("slow"))]}),
        );
        let b = bench(&configs(vec![bootstrap("node-1"), warming]));
        let dump = json!({"unready_targets_dumps": [
            {"name": "init manager Server", "target_names": ["target Cluster Manager Cluster slow"]},
        ]});
        b.put("init_dump.json", dump.to_string());
        (b, vec!["dump.json", "init_dump.json"])
    };
    MD301: || {
        let b = bench(&configs(vec![bootstrap("node-1"), active_clusters(&["busy", "idle"])]));
        let of = |name: &str, n: u32| format!("cluster.{name}.upstream_cx_total: {n}\ncluster.{name}.upstream_rq_total: {n}\n");
        b.put("stats.txt", format!("{STATS}{}{}", of("busy", 12), of("idle", 0)));
        b.put("server_info.json", json!({"version": "a/1.40.0/b/c/d", "state": "LIVE", "uptime_current_epoch": "7200s", "hot_restart_version": "11"}).to_string());
        (b, vec!["dump.json", "stats.txt", "server_info.json"])
    };
    MD302: || (bench(&proxy(vec![active_clusters(&["unreached"])])), BOTH.to_vec());
    MD303: || {
        let table = json!({"version_info": "1", "route_config": routes("nobody", "a"), "last_updated": T});
        let tables = section("RoutesConfigDump", json!({"dynamic_route_configs": [table]}));
        (bench(&proxy(vec![tables])), BOTH.to_vec())
    };
    MD304: || {
        let secret = any(
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            json!({"name": "spare", "tls_certificate": {"certificate_chain": {"inline_bytes": "LS0t"}}}),
        );
        let entry = json!({"name": "spare", "version_info": "1", "last_updated": T, "secret": secret});
        (bench(&proxy(vec![section("SecretsConfigDump", json!({"dynamic_active_secrets": [entry]}))])), BOTH.to_vec())
    };
    MD306: || {
        let hosts = json!([{"lb_endpoints": [{"endpoint": {"address": {"socket_address":
            {"address": "10.0.0.1", "port_value": 80}}}}]}]);
        let set = any(
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": "gone", "endpoints": hosts}),
        );
        let sets = section("EndpointsConfigDump", json!({"dynamic_endpoint_configs": [{"endpoint_config": set}]}));
        (bench(&proxy(vec![sets])), BOTH.to_vec())
    };
    MD307: || {
        let lua = filter(
            "envoy.filters.http.lua",
            "envoy.extensions.filters.http.lua.v3.Lua",
            json!({"default_source_code": {"inline_string": "-- padding\n".repeat(2000)}}),
        );
        let chain = http(json!({"stat_prefix": "in", "http_filters": [lua], "route_config": routes("r", "a")}));
        let dump = configs(vec![
            bootstrap("node-1"),
            active_clusters(&["a"]),
            listeners(["in", "out"].map(|n| active(n, vec![chain.clone()])).to_vec()),
        ]);
        (bench(&dump), BOTH.to_vec())
    };
    MD308: || {
        let chain = |host: &str| {
            let mut c = http(json!({"stat_prefix": "in", "route_config": routes("r", "a")}));
            c["name"] = host.into();
            c["filter_chain_match"] = json!({"server_names": [host]});
            c
        };
        let hosts = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|h| chain(&format!("{h}.example.com")));
        let dump = configs(vec![bootstrap("node-1"), active_clusters(&["a"]), listeners(vec![active("in", hosts.to_vec())])]);
        (bench(&dump), BOTH.to_vec())
    };
    MD309: || {
        let module = "AGFzbQEAAAA".repeat(30_000);
        let wasm = filter(
            "envoy.filters.http.wasm",
            "envoy.extensions.filters.http.wasm.v3.Wasm",
            json!({"config": {"vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_bytes": module}}}}}),
        );
        let lua = filter(
            "envoy.filters.http.lua",
            "envoy.extensions.filters.http.lua.v3.Lua",
            json!({"default_source_code": {"inline_string": "function envoy_on_request(h)\nend\n"}}),
        );
        let chain = |i: u8| {
            let mut c = http(json!({"stat_prefix": "in", "http_filters": [lua, wasm], "rds": {"route_config_name": "r"}}));
            c["filter_chain_match"] = json!({"prefix_ranges": [{"address_prefix": format!("10.0.0.{i}"), "prefix_len": 32}]});
            c
        };
        let dump = configs(vec![
            bootstrap("node-1"),
            active_clusters(&["a"]),
            listeners(vec![active("out", (1..=10).map(chain).collect())]),
        ]);
        (bench(&dump), BOTH.to_vec())
    };
    MD601: || (bench(&proxy(vec![])), vec!["dump.json", "stats.txt", "--limit", "16Mi"]);
    MD602: || (bench(&proxy(vec![])), vec!["dump.json", "stats.txt", "--limit", "8Mi"]);
    MD605: || {
        let b = bench(&proxy(vec![]));
        b.put("memory.json", json!({"allocated": "52428800", "heap_size": "67108864"}).to_string());
        (b, vec!["dump.json", "stats.txt", "memory.json"])
    };
    MD701: || {
        let b = Bench::new();
        for (pod, names) in [("web-0", &["a", "b"][..]), ("web-1", &["a"])] {
            let metadata = json!({"NAMESPACE": "shop", "WORKLOAD_NAME": "web", "NAME": pod});
            let node = json!({"id": format!("sidecar~10.0.0.1~{pod}.shop~shop.svc"), "metadata": metadata});
            let boot = section("BootstrapConfigDump", json!({"bootstrap": {"node": node}}));
            b.put(&format!("{pod}.json"), configs(vec![boot, active_clusters(names)]).to_string());
        }
        (b, vec!["web-0.json", "web-1.json"])
    };
    MD702: || {
        let b = Bench::new();
        let many: Vec<String> = (0..300).map(|i| format!("c{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for pod in ["a", "b", "c"] {
            b.put(&format!("pods/{pod}.json"), dump_of(pod, &["x"]));
        }
        b.put("pods/large.json", dump_of("large", &many));
        (b, vec!["pods"])
    };
}

#[test]
fn every_code_has_a_snapshot() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    for entry in CATALOG {
        assert!(CODES.contains(&entry.code), "no test makes {} appear", entry.code);
        let file = folder.join(format!("finding_{}.snap", entry.code));
        assert!(file.is_file(), "{} is missing", file.display());
    }
    for code in CODES {
        assert!(CATALOG.iter().any(|e| e.code == *code), "{code} is not in the catalog: no `explain` for it");
    }
}

#[test]
fn help() {
    let bench = Bench::new();
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help_analyze", &["analyze", "--help"]),
        ("help_ls", &["ls", "--help"]),
        ("help_explain", &["explain", "--help"]),
    ] {
        snapshot(name, &shown(&bench, args));
    }
}

#[test]
fn explain() {
    let bench = Bench::new();
    snapshot("explain", &shown(&bench, &["explain"]));
    snapshot("explain_MD302", &shown(&bench, &["explain", "MD302"]));
    // in any case
    assert_eq!(bench.run(&["explain", "md302"]).stdout, bench.run(&["explain", "MD302"]).stdout);
}

#[test]
fn ls() {
    let bench = Bench::new();
    bench
        .put("bundle/web-0/config_dump.json", dump_of("sidecar~10.0.0.1~web-0.shop~shop.svc", &["a"]))
        .put("bundle/web-0/memory", r#"{"allocated":"6500000"}"#)
        .put("bundle/copy/config_dump.json", dump_of("sidecar~10.0.0.1~web-0.shop~shop.svc", &["a"]))
        .put("bundle/notes.txt", "nothing to see here\n")
        .put("bundle/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n")
        .put("bundle/empty.json", "");
    snapshot("ls", &shown(&bench, &["ls", "bundle"]));
}

/// A proxy with something of everything, `/memory` and a limit.
#[test]
fn one_proxy() {
    let bench = bench(&proxy(vec![active_clusters(&[
        "outbound|80||web.shop.svc.cluster.local",
        "outbound|80||db.shop.svc.cluster.local",
    ])]));
    bench.put("memory.json", json!({"allocated": "6600000", "heap_size": "9437184"}).to_string());
    let args = ["analyze", "dump.json", "stats.txt", "memory.json", "--limit", "512Mi"];
    snapshot("analyze_one", &shown(&bench, &args));
}

#[test]
fn several_proxies() {
    let bench = Bench::new();
    for (pod, names, memory) in [("web-0", &["a", "b"][..], 6_300_000), ("web-1", &["a"], 6_200_000)] {
        bench
            .put(&format!("pods/{pod}/config_dump.json"), dump_of(pod, names))
            .put(&format!("pods/{pod}/memory"), format!("{{\"allocated\":\"{memory}\"}}"));
    }
    snapshot("analyze_several", &shown(&bench, &["analyze", "pods"]));
}

#[test]
fn json_of_one_proxy() {
    let bench = Bench::new();
    bench.put("dump.json", dump_of("node-1", &["outbound|80||web.shop.svc.cluster.local"]));
    let text = shown(&bench, &["analyze", "dump.json", "-o", "json"]);
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version));
    snapshot("analyze_json", &text.replace(&version, "\"version\": \"[VERSION]\""));
}
