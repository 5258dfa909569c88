//! The fixes for contour#499 on a live Envoy: for each of them the stream that Contour would have sent is fed to an Envoy
//! with a short drain time on a compressed axis, and `whatif` over the Kubernetes events says what comes out.
//!
//! `MESHDUMP_CONTOUR=N` takes that many ingresses; 500 is one tenth of the issue's, and takes gigabytes and minutes. Every
//! stream is compared with the replay of what was sent and when. The plan of `whatif` is compared in addition where Envoy got
//! the processor in time to keep to it: a stream that fell behind is fed once more.

mod common;
mod envoy_play;
mod oracle;

use common::Bench;
use envoy_play::{envoy, note, recording};
use meshdump::lab::types;
use oracle::{Response, Stream, compare, feed, replay};
use serde_json::Value;

/// Seconds of the events' axis that are one second here, and how long a drain takes on each.
const FACTOR: f64 = 5.0;
const DRAIN_S: u64 = 6;
/// A feed that is later than this does not keep to the plan.
const LATE_S: f64 = 0.9;

/// What each run is called, how `generate` makes it, and how `whatif` does. All have their certificates by SDS.
const RUNS: [(&str, [&str; 2], &str); 6] = [
    ("as it was", ["contour-0.5", "contour-0.12"], "sds"),
    ("sorted", ["contour-0.5", "contour-0.13"], "sds + reorder"),
    ("respects answers", ["contour-0.5:gate=ack-in-turn", "contour-0.12"], "sds + contour-0.5:gate=ack-in-turn"),
    ("waits for the next request", ["contour-0.5:gate=ack", "contour-0.12"], "sds + contour-0.5:gate=ack"),
    ("batched", ["contour-0.6", "contour-0.12"], "sds + contour-0.6"),
    ("all together", ["contour-0.13", "contour-0.13"], "sds + reorder + contour-0.13"),
];

/// The pushes of a recording by second of the compressed axis.
fn seconds(bench: &Bench) -> Vec<Vec<Response>> {
    let kinds = [types::CLUSTER, types::ENDPOINT, types::LISTENER, types::ROUTE, types::SECRET];
    let mut out: Vec<Vec<Response>> = Vec::new();
    for mut push in recording(&bench.path("made/recording.jsonl.gz")) {
        let at = (push.t / FACTOR) as usize;
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
    let ingresses = std::env::var("MESHDUMP_CONTOUR").unwrap_or_else(|_| "60".to_owned());
    let bench = Bench::new();
    let mut live: Vec<(f64, u64)> = Vec::new();
    let mut wrong = Vec::new();
    let mut behind = 0.0_f64;
    for (name, [preset, shape], _) in RUNS {
        let args = ["generate", "contour", "--ingresses", &ingresses, "--block", "100", "--tls", "--delete"];
        let args =
            [&args[..], &["--recording", "always", "--preset", preset, "--shape", shape, "--out", "made"]].concat();
        assert_eq!(bench.run(&args).code, 0);
        let stream = Stream { name: name.to_owned(), delta: false, drain_s: DRAIN_S, seconds: seconds(&bench) };
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
        if late > LATE_S {
            (report, bad, error, late) = played();
        }
        behind = behind.max(late);
        wrong.extend(bad.into_iter().map(|w| format!("{name}: {w}")));
        let lds = stream.seconds.iter().flatten().filter(|r| r.kind == types::LISTENER).count();
        live.push((report["runs"][0]["peak"]["allocated"]["bytes"].as_f64().unwrap() / (1.0 + error), lds as u64));
    }
    wrong.iter().for_each(|w| note(w));
    assert!(wrong.is_empty(), "{} values differ", wrong.len());

    let drain = format!("{}s", DRAIN_S as f64 * FACTOR);
    let mut args =
        vec!["whatif", "made/watch.jsonl.gz", "--preset", "contour-0.5", "--drain-time", &drain, "-o", "json"];
    args.extend(["--server-info", "made/server_info.json"]);
    RUNS.iter().for_each(|r| args.extend(["--scenario", r.2]));
    let run = bench.run(&args);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    let report = run.json();
    let said: Vec<(f64, u64)> = RUNS
        .iter()
        .map(|(.., scenario)| {
            let run = report["runs"].as_array().unwrap().iter().find(|r| r["scenario"] == *scenario).unwrap();
            let lds = run["by_type"].as_array().unwrap().iter().find(|t| t["xds"] == "LDS").unwrap();
            (run["peak"]["allocated"]["bytes"].as_f64().unwrap(), lds["pushes_sent"].as_u64().unwrap())
        })
        .collect();
    for ((name, ..), (live, said)) in RUNS.iter().zip(live.iter().zip(&said)) {
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
            assert!(said[i].0 > said[j].0, "{} needs more than {}", RUNS[i].0, RUNS[j].0);
        }
    }
}
