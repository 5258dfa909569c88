//! One snapshot per finding of `meshdump replay`, and the seed: TLS ingresses in blocks beside the same without TLS.
//!
//! Sizes are left out of the snapshots: they follow the prices, which have tests of their own.

mod common;

use common::Bench;
use meshdump::findings::replay::CODES;
use serde_json::{Value, json};

const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"off by \d[\d.]* %", "off by [share]");
    settings.add_filter(r" *\b\d[\d.,]* ([KMG]iB|B)\b", " [size]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn chain(name: &str, routes: Value) -> Value {
    let manager =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let mut config = json!({"@type": manager, "stat_prefix": "edge"});
    config.as_object_mut().unwrap().extend(routes.as_object().unwrap().clone());
    json!({"name": name, "filter_chain_match": {"server_names": [format!("{name}.example.com")]},
           "filters": [{"name": "http", "typed_config": config}]})
}

fn inline(name: &str) -> Value {
    chain(
        name,
        json!({"route_config": {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}}),
    )
}

/// Waits for a table without a timeout.
fn rds(name: &str) -> Value {
    chain(
        name,
        json!({"rds": {"route_config_name": name, "config_source": {"ads": {}, "initial_fetch_timeout": "0s"}}}),
    )
}

fn listener(revision: u32, chains: &[Value]) -> Value {
    json!({"@type": LDS, "name": "edge", "per_connection_buffer_limit_bytes": 32768 + revision, "filter_chains": chains,
           "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8443}}})
}

fn push(t: f64, kind: &str, version: u32, resources: &[Value]) -> String {
    json!({"t": t, "type_url": kind, "version_info": version.to_string(), "nonce": version.to_string(),
           "resources": resources})
    .to_string()
        + "\n"
}

fn lds(t: f64, version: u32, listener: Value) -> String {
    push(t, LDS, version, &[listener])
}

/// `/stats` of that moment, with a listener more than the recording knows of.
const SEEN: (&str, &str) = (
    "stats-1700000003.500.txt",
    "listener_manager.total_listeners_draining: 3\nserver.memory_allocated: 90000000\nserver.uptime: 60\n",
);

/// A recording that shows a code, and what is asked of it beside.
fn cases() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let (a, b) = (inline("a"), inline("b"));
    let both = || [inline("a"), inline("b")];
    let replaced = |t: f64| (1..4).map(|n| lds(t + f64::from(n), n, listener(n, &both()))).collect::<String>();
    let twice = [inline("a"), json!({"name": "again", "filter_chain_match": a["filter_chain_match"]})];
    vec![
        ("MD801", replaced(0.0), vec![]),
        ("MD802", lds(1.0, 1, listener(0, &both())) + &lds(2.0, 2, listener(0, &[b, a])), vec![]),
        ("MD803", lds(1.0, 1, listener(0, &both())) + &lds(2.0, 2, listener(0, &both())), vec![]),
        ("MD804", replaced(0.0), vec!["--limit", "8Mi"]),
        ("MD805", lds(1.0, 1, listener(0, &[rds("late")])), vec![]),
        ("MD806", lds(1.0, 1, listener(0, &both())) + &lds(2.0, 2, listener(1, &twice)), vec![]),
        ("MD807", replaced(1_700_000_000.0), vec![SEEN.0]),
        (
            "MD808",
            push(1.0, CDS, 1, &[json!({"@type": CDS, "name": "c"})]).replace("\"t\":1.0,", "")
                + &push(2.0, CDS, 2, &[]).replace("\"t\":2.0,", ""),
            vec![],
        ),
    ]
}

#[test]
fn every_code_has_a_snapshot() {
    let cases = cases();
    let named: Vec<&str> = cases.iter().map(|c| c.0).collect();
    assert_eq!(named, CODES.iter().map(|c| c.code).collect::<Vec<_>>());
    for (code, recording, arguments) in cases {
        let bench = Bench::new();
        bench.put("stream.jsonl", recording).put(SEEN.0, SEEN.1);
        let mut all = vec!["replay", "stream.jsonl", "--drain-time", "5s"];
        all.extend(arguments);
        let run = bench.run(&all);
        assert_eq!(run.code, 0, "{code}: {}", run.stderr);
        let at = run.stdout.find(&format!("\n{code} ")).unwrap_or_else(|| panic!("no {code} in\n{}", run.stdout)) + 1;
        let part = run.stdout[at..].split("\n\n").next().expect("a part").trim_end();
        snapshot(&format!("finding_{code}"), &format!("$ meshdump {}\n…\n{part}\n", all.join(" ")));
    }
}

/// Envoy 1.9, as it was when this was reported to Contour: with TLS every push leaves a listener that drains for 600 s, and
/// memory follows the pushes; without it the listener never changes. `tests/replay.rs` has the sizes, and
/// `tests/replay_live.rs` plays both on a live Envoy at a smaller scale.
#[test]
fn tls_ingresses_in_blocks() {
    let bench = Bench::new();
    for (name, tls) in [("contour_tls", true), ("contour_plain", false)] {
        let mut make = vec!["generate", "contour", "--ingresses", "40", "--block", "20", "--out", name];
        make.extend(tls.then_some("--tls"));
        assert_eq!(bench.run(&make).code, 0);
        let recording = format!("{name}/recording.jsonl.gz");
        let info = format!("{name}/server_info.json");
        let run = bench.run(&["replay", &recording, "--server-info", &info, "--envoy-version", "1.9"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(tls, run.stdout.contains("MD801"), "{}", run.stdout);
        // the picture follows the prices too
        let text: Vec<&str> = run.stdout.lines().filter(|l| !l.contains('│')).collect();
        snapshot(&format!("replay_{name}"), &(text.join("\n") + "\n"));
    }
}
