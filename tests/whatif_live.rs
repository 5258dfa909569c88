//! The fixes for contour#499 on a live Envoy: for each of them the stream that Contour would have sent is fed to an Envoy
//! with a short drain time on a compressed axis, and `whatif` over the Kubernetes events says what comes out.
//!
//! `MESHDUMP_CONTOUR=N` takes that many ingresses; 500 is one tenth of the issue's, and takes gigabytes and an hour.
//! `MESHDUMP_CONTOUR_FACTOR` compresses the axis less, where Envoy does not keep up. Every
//! stream is compared with the replay of what was sent and when. The plan of `whatif` is compared in addition where Envoy got
//! the processor in time to keep to it: a stream that fell behind is fed once more.

mod common;
mod envoy_play;
mod oracle;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::Bench;
use envoy_play::{envoy, note, recording};
use meshdump::lab::{self, Ads, EnvoyProcess, Launch, types};
use oracle::{Response, Stream, compare, feed, replay};
use serde_json::{Value, json};

/// How long a drain takes on the events' axis.
const DRAIN_S: u64 = 30;
/// How long Envoy takes to answer on that axis: long enough that waiting for it matters.
const ANSWER: &str = "1s";
const WAIT: Duration = Duration::from_secs(60);
/// A feed that is later than this does not keep to the plan.
const LATE_S: f64 = 0.9;

/// What each run is called, how `generate` makes it, and how `whatif` does. All have their certificates by SDS: inline ones
/// make the same generations larger.
const RUNS: [(&str, &[&str], &str); 8] = [
    ("as it was", &["--preset", "contour-0.5"], "sds"),
    ("sorted", &["--preset", "contour-0.5", "--fix", "reorder"], "sds + reorder"),
    ("respects answers", &["--preset", "contour-0.5:gate=ack-in-turn"], "sds + contour-0.5:gate=ack-in-turn"),
    ("waits for the next request", &["--preset", "contour-0.5:gate=ack"], "sds + contour-0.5:gate=ack"),
    ("batched", &["--preset", "contour-0.6"], "sds + contour-0.6"),
    ("all together", &["--preset", "contour-0.13"], "sds + reorder + contour-0.13"),
    ("grouped by secret", &["--preset", "contour-0.5", "--fix", "merge-chains"], "sds + merge-chains"),
    ("at most one draining", &["--preset", "contour-0.5:draining=1"], "sds + contour-0.5:draining=1"),
];

/// How often a second of the events' axis fits into one here.
fn factor() -> f64 {
    std::env::var("MESHDUMP_CONTOUR_FACTOR").map_or(5.0, |f| f.parse().expect("a number"))
}

/// The pushes of a recording by second of the compressed axis.
fn seconds(bench: &Bench, factor: f64) -> Vec<Vec<Response>> {
    let kinds = [types::CLUSTER, types::ENDPOINT, types::LISTENER, types::ROUTE, types::SECRET];
    let mut out: Vec<Vec<Response>> = Vec::new();
    for mut push in recording(&bench.path("made/recording.jsonl.gz")) {
        let at = (push.t / factor) as usize;
        let kind = kinds.into_iter().find(|k| push.body["type_url"] == **k).unwrap();
        let Value::Array(mut resources) = push.body["resources"].take() else { panic!("a response has resources") };
        if kind == types::LISTENER {
            let free = serde_json::json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
            resources.iter_mut().for_each(|l| l["address"] = free.clone());
        }
        out.resize_with(out.len().max(at + 1), Vec::new);
        out[at].push(Response { kind, resources, removed: Vec::new() });
    }
    out
}

#[test]
fn the_fixes_of_contour_on_a_live_envoy() {
    let Some(binary) = envoy() else { return };
    let asked_for = std::env::var("MESHDUMP_CONTOUR").ok();
    let ingresses = asked_for.clone().unwrap_or_else(|| "60".to_owned());
    let (factor, drain) = (factor(), format!("{DRAIN_S}s"));
    let bench = Bench::new();
    let mut live: Vec<(f64, u64)> = Vec::new();
    let mut wrong = Vec::new();
    let mut behind = 0.0_f64;
    // those of these numbers, or all
    let asked = std::env::var("MESHDUMP_CONTOUR_RUNS").ok();
    let asked = |i: usize| asked.as_ref().is_none_or(|a| a.split(',').any(|n| n.parse() == Ok(i)));
    let runs: Vec<_> = RUNS.into_iter().enumerate().filter(|(i, _)| asked(*i)).map(|(_, run)| run).collect();
    for (name, options, _) in &runs {
        let args = ["generate", "contour", "--ingresses", &ingresses, "--block", "100", "--tls", "--delete"];
        let more =
            ["--fix", "sds", "--drain-time", &drain, "--answer", ANSWER, "--recording", "always", "--out", "made"];
        assert_eq!(bench.run(&[&args[..], options, &more[..]].concat()).code, 0);
        let drain_s = (DRAIN_S as f64 / factor) as u64;
        let stream = Stream { name: (*name).to_owned(), delta: false, drain_s, seconds: seconds(&bench, factor) };
        let played = || {
            let observed = feed(&binary, &stream);
            let folder = tempfile::tempdir().unwrap();
            let report = replay(folder.path(), &observed);
            let (bad, error, line) = compare(&stream, &observed, &report, folder.path());
            note(&line);
            assert!(error.abs() < 0.1, "{name}: {error}");
            let planned =
                stream.seconds.iter().zip(0..).flat_map(|(second, i)| second.iter().map(move |_| f64::from(i)));
            let sent = report["runs"][0]["pushes"].as_array().unwrap().iter().map(|p| p["t"].as_f64().unwrap());
            let late = planned.zip(sent).map(|(planned, sent)| sent - planned).fold(0.0, f64::max);
            (report, bad, error, late)
        };
        let (mut report, mut bad, mut error, mut late) = played();
        // a large one falls behind again
        if late > LATE_S && asked_for.is_none() {
            (report, bad, error, late) = played();
        }
        if late > LATE_S {
            note(&format!("{name}: fell {late:.1} s behind"));
        }
        behind = behind.max(late);
        wrong.extend(bad.into_iter().map(|w| format!("{name}: {w}")));
        let lds = stream.seconds.iter().flatten().filter(|r| r.kind == types::LISTENER).count();
        live.push((report["runs"][0]["peak"]["allocated"]["bytes"].as_f64().unwrap() / (1.0 + error), lds as u64));
    }
    wrong.iter().for_each(|w| note(w));
    assert!(wrong.is_empty(), "{} values differ", wrong.len());

    let mut args = vec!["whatif", "made/watch.jsonl.gz", "--preset", "contour-0.5", "--answer", ANSWER, "-o", "json"];
    args.extend(["--server-info", "made/server_info.json"]);
    runs.iter().for_each(|r| args.extend(["--scenario", r.2]));
    let run = bench.run(&args);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    let report = run.json();
    let said: Vec<(f64, u64)> = runs
        .iter()
        .map(|(.., scenario)| {
            let run = report["runs"].as_array().unwrap().iter().find(|r| r["scenario"] == *scenario).unwrap();
            let lds = run["by_type"].as_array().unwrap().iter().find(|t| t["xds"] == "LDS").unwrap();
            (run["peak"]["allocated"]["bytes"].as_f64().unwrap(), lds["pushes_sent"].as_u64().unwrap())
        })
        .collect();
    for ((name, ..), (live, said)) in runs.iter().zip(live.iter().zip(&said)) {
        note(&format!("{name}: {} LDS pushes, peak {:.1} MB live, {:.1} MB said", live.1, live.0 / 1e6, said.0 / 1e6));
        assert_eq!(live.1, said.1, "{name}: LDS pushes");
        assert!(
            behind > LATE_S || (said.0 / live.0 - 1.0).abs() < 0.1,
            "{name}: peak {} live, {} said",
            live.0,
            said.0
        );
    }
    if behind > LATE_S {
        note(&format!(
            "not compared with the plan: Envoy fell {behind:.1} s behind, so that its peaks are not those of the plan"
        ));
        return;
    }
    // the same order of benefits, where they are further apart than what is allowed above
    for (i, a) in live.iter().enumerate() {
        for (j, _) in live.iter().enumerate().filter(|(_, b)| a.0 > b.0 * 1.1) {
            assert!(said[i].0 > said[j].0, "{} needs more than {}", runs[i].0, runs[j].0);
        }
    }
}

/// Connections that a listener had when it was replaced, and how many of them Envoy closed when the drain was over.
#[test]
fn connections_that_a_live_envoy_cuts() {
    let Some(binary) = envoy() else { return };
    const DRAIN_S: u64 = 4;
    let bench = Bench::new();
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = sink.local_addr().unwrap().port();
    // each connection is closed when the other side closes it
    std::thread::spawn(move || {
        for mut stream in sink.incoming().flatten() {
            std::thread::spawn(move || while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {});
        }
    });
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ads = Ads::start().unwrap();
    let process = EnvoyProcess::start(&Launch {
        binary,
        workers: 2,
        bootstrap: lab::bootstrap(ads.port(), false),
        arguments: vec!["--drain-time-s".into(), DRAIN_S.to_string()],
    })
    .unwrap();
    let begin = Instant::now();
    let mut lines = Vec::new();
    let push = |lines: &mut Vec<String>, kind: &'static str, version: &str, resource: Value| {
        ads.wait("a subscription", WAIT, |seen| seen.iter().any(|s| s.type_url == kind)).unwrap();
        let t = begin.elapsed().as_secs_f64();
        let nonce = ads.send(kind, version, "", std::slice::from_ref(&resource)).unwrap();
        assert_eq!(ads.wait_answer(&nonce, WAIT).unwrap(), None);
        lines.push(json!({"t": t, "type_url": kind, "version_info": version, "resources": [resource]}).to_string());
        t
    };
    let cluster = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "sink", "type": "STATIC",
        "connect_timeout": "1s", "load_assignment": {"cluster_name": "sink", "endpoints": [{"lb_endpoints": [{"endpoint":
            {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}}}]}]}});
    let listener = |limit: u32| {
        json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "front",
            "per_connection_buffer_limit_bytes": limit,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "tcp", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "front", "cluster": "sink"}}]}]})
    };
    push(&mut lines, types::CLUSTER, "1", cluster);
    push(&mut lines, types::LISTENER, "1", listener(10_000));
    let open = |n: usize| -> Vec<TcpStream> {
        let one = || loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                return stream;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        std::iter::repeat_with(one).take(n).collect()
    };
    let sample = |lines: &mut Vec<String>| {
        std::thread::sleep(Duration::from_millis(300));
        let stats = process.stats(r"^listener\.127\.0\.0\.1_[0-9]+\.downstream_cx_(active|total)$").unwrap();
        let t = begin.elapsed().as_secs_f64();
        let stats: Vec<Value> = stats.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        assert_eq!(stats.len(), 2);
        lines.push(json!({"t": t, "r": {"stats": stats}}).to_string());
    };
    let mut old = open(12);
    sample(&mut lines);
    let replaced = push(&mut lines, types::LISTENER, "2", listener(20_000));
    sample(&mut lines);
    let young = open(5);
    sample(&mut lines);
    // four leave by themselves while the listener drains
    old.truncate(8);
    sample(&mut lines);
    while begin.elapsed().as_secs_f64() < replaced + DRAIN_S as f64 + 0.5 {
        sample(&mut lines);
    }
    let closed = |streams: &[TcpStream]| {
        let gone = |s: &&TcpStream| {
            let mut stream: &TcpStream = s;
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            match stream.read(&mut [0; 1]) {
                Ok(n) => n == 0,
                Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
            }
        };
        streams.iter().filter(gone).count() as u64
    };
    let (cut, spared) = (closed(&old), closed(&young));
    note(&format!("connections: {cut} of {} cut, {spared} of the new ones", old.len()));
    assert_eq!((cut, spared), (8, 0));
    bench.put("stream.jsonl", lines.join("\n"));
    bench.put("server_info.json", process.get("/server_info").unwrap());
    let args = ["whatif", "stream.jsonl", "--server-info", "server_info.json", "--set", "drain-time=1s", "-o", "json"];
    let run = bench.run(&args);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    let report = run.json();
    let bounds = |run: usize| {
        let cut = &report["runs"][run]["connections_cut"];
        assert_eq!(cut["drains_unknown"], 0);
        [cut["least"].as_u64().unwrap(), cut["most"].as_u64().unwrap()]
    };
    let [least, most] = bounds(0);
    note(&format!("connections: said {least} to {most}"));
    // no sample tells the five new ones from the eight
    assert!(least <= cut && cut <= most && most <= 12, "{least} to {most}");
    // a drain of one second is over before the four leave
    assert!(bounds(1)[1] == 12, "{:?}", bounds(1));
}
