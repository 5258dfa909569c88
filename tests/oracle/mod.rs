//! Streams that are fed to a live Envoy second by second, what it showed, and what the replay of the same stream says.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod random;
pub(crate) mod scripted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use meshdump::cost::envoy::Version;
use meshdump::evidence::recording;
use meshdump::input;
use meshdump::lab::{self, Ads, EnvoyProcess, Launch, types};
use meshdump::model::envoy::Name;
use meshdump::model::stream::{Us, XdsType};
use meshdump::sim::envoy::{Action, ListenerView, Prepared, Settings, Step};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::envoy_play::note;

/// One response: type, resources, and for delta streams the names removed.
pub(crate) struct Response {
    pub(crate) kind: &'static str,
    pub(crate) resources: Vec<Value>,
    pub(crate) removed: Vec<String>,
}

/// What is sent in one second.
pub(crate) type Second = Vec<Response>;

fn name(resource: &Value) -> String {
    resource["name"].as_str().or(resource["cluster_name"].as_str()).unwrap_or_default().to_owned()
}

/// A response as a line of a recording.
fn line(delta: bool, t: f64, version: &str, nonce: &str, response: &Response) -> String {
    let Response { kind, resources, removed } = response;
    if delta {
        let resources: Vec<Value> =
            resources.iter().map(|r| json!({"name": name(r), "version": version, "resource": r})).collect();
        json!({"t": t, "type_url": kind, "system_version_info": version, "nonce": nonce, "resources": resources,
               "removed_resources": removed})
        .to_string()
    } else {
        whole(t, kind, version, nonce, &serde_json::to_string(resources).unwrap())
    }
}

/// The same of a state of the world whose resources are text.
fn whole(t: f64, kind: &str, version: &str, nonce: &str, resources: &str) -> String {
    let head = json!({"t": t, "type_url": kind, "version_info": version, "nonce": nonce}).to_string();
    format!("{},\"resources\":{resources}}}", head.trim_end_matches('}'))
}

pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) delta: bool,
    pub(crate) drain_s: u64,
    pub(crate) seconds: Vec<Second>,
}

/// Versions of a resource as `/config_dump` shows them: active, warming, draining; and whether it is in error. Keys are
/// type and name; route tables and secrets have no version here, since Envoy drops them with their last user.
type View = ([Option<String>; 3], bool);
type Views = BTreeMap<(&'static str, String), View>;

impl Stream {
    /// As a recording that nobody played: every response `times` times.
    pub(crate) fn recording(&self, times: u32) -> Vec<String> {
        let mut version = 0;
        let mut out = Vec::new();
        for (second, responses) in self.seconds.iter().enumerate() {
            for (i, response) in responses.iter().enumerate() {
                for again in 0..times {
                    version += 1;
                    let t = second as f64 + f64::from(i as u32 * times + again) / 1000.0;
                    let number = version.to_string();
                    out.push(line(self.delta, t, &number, &number, response) + "\n");
                }
            }
        }
        out
    }
}

/// What Envoy showed at one moment.
struct Sample {
    /// When the gauges were asked for, and when they were there: on a busy machine that is not one moment.
    asked: f64,
    t: f64,
    allocated: u64,
    gauges: [u64; 6],
    /// As they were between two moments.
    views: Views,
    dumped: [f64; 2],
}

const GAUGES: [(&str, &str); 6] = [
    ("listener_manager.total_listeners_draining", "listeners_draining"),
    ("listener_manager.total_filter_chains_draining", "filter_chains_draining"),
    ("listener_manager.total_listeners_warming", "listeners_warming"),
    ("listener_manager.total_listeners_active", "listeners_active"),
    ("cluster_manager.active_clusters", "clusters_active"),
    ("cluster_manager.warming_clusters", "clusters_warming"),
];
const COUNTERS: [&str; 4] = ["listener_added", "listener_modified", "listener_removed", "listener_in_place_updated"];

pub(crate) struct Observed {
    recording: String,
    samples: Vec<Sample>,
    counters: Vec<u64>,
    /// For each push, why it was rejected.
    rejections: Vec<Option<String>>,
    config_dump: Vec<u8>,
    server_info: Vec<u8>,
}

/// Listeners, clusters, route tables and secrets of `/config_dump`.
fn views(envoy: &EnvoyProcess) -> Views {
    let dump: Value = serde_json::from_slice(&envoy.get("/config_dump").unwrap()).unwrap();
    let list = |key: &str| -> Vec<Value> {
        let sections = dump["configs"].as_array().into_iter().flatten();
        sections.filter_map(|s| s[key].as_array()).flatten().cloned().collect()
    };
    let word = |e: &Value| e["version_info"].as_str().unwrap_or_default().to_owned();
    let mut out = Views::new();
    // a refused listener has a second entry, without a name
    for e in list("dynamic_listeners").iter().filter(|e| e["name"].is_string()) {
        let states = ["active_state", "warming_state", "draining_state"].map(|s| e.get(s).map(word));
        out.insert(("listener", e["name"].as_str().unwrap().to_owned()), (states, e.get("error_state").is_some()));
    }
    for (place, key) in ["dynamic_active_clusters", "dynamic_warming_clusters"].iter().enumerate() {
        for e in list(key) {
            let name = e["cluster"]["name"].as_str().unwrap().to_owned();
            out.entry(("cluster", name)).or_default().0[place] = Some(word(&e));
        }
    }
    for e in list("dynamic_route_configs") {
        let name = e["route_config"]["name"].as_str().unwrap().to_owned();
        out.entry(("route table", name)).or_default().0[0] = Some(String::new());
    }
    for (place, key) in ["dynamic_active_secrets", "dynamic_warming_secrets"].iter().enumerate() {
        for e in list(key) {
            let name = e["name"].as_str().unwrap().to_owned();
            out.entry(("secret", name)).or_default().0[place] = Some(String::new());
        }
    }
    out
}

const WAIT: Duration = Duration::from_secs(60);

/// Feeds a stream to a fresh Envoy, second by second, and reads it after each.
pub(crate) fn feed(binary: &Path, stream: &Stream) -> Observed {
    // what takes long is done before the clock runs
    let encode = |r: &Response| {
        let text = serde_json::to_string(&r.resources).unwrap();
        (r.kind, Ads::encode(&r.resources).unwrap(), text)
    };
    let states = if stream.delta { &[][..] } else { &stream.seconds[..] };
    let encoded: Vec<Vec<_>> = states.par_iter().map(|s| s.iter().map(encode).collect()).collect();
    let mut encoded = encoded.into_iter();
    let ads = Ads::start().unwrap();
    let envoy = EnvoyProcess::start(&Launch {
        binary: binary.to_owned(),
        workers: 2,
        bootstrap: lab::bootstrap(ads.port(), stream.delta),
        arguments: vec!["--drain-time-s".into(), stream.drain_s.to_string()],
    })
    .unwrap();
    for kind in [types::CLUSTER, types::LISTENER] {
        ads.wait("a subscription", WAIT, |seen| seen.iter().any(|s| s.type_url == kind)).unwrap();
        if stream.delta {
            ads.send_delta(kind, "0", "", &[], &[]).unwrap();
        } else {
            ads.send(kind, "0", "", &[]).unwrap();
        }
    }
    envoy.settle(None, WAIT).unwrap();
    let config_dump = envoy.get("/config_dump").unwrap();
    let server_info = envoy.get("/server_info").unwrap();
    let begin = Instant::now();
    let mut out = Observed {
        recording: String::new(),
        samples: Vec::new(),
        counters: Vec::new(),
        rejections: Vec::new(),
        config_dump,
        server_info,
    };
    let mut version = 0;
    let mut nonces = Vec::new();
    let until = |s: f64| {
        let due = Duration::from_secs_f64(s).saturating_sub(begin.elapsed());
        std::thread::sleep(due);
    };
    let last = stream.seconds.len();
    for i in 0..last + usize::try_from(stream.drain_s).unwrap() + 1 {
        until(i as f64);
        let mut ready = encoded.next().unwrap_or_default().into_iter();
        for response in stream.seconds.get(i).into_iter().flatten() {
            version += 1;
            let number = version.to_string();
            let asked = |seen: &[lab::Seen]| seen.iter().any(|s| s.type_url == response.kind);
            ads.wait(&format!("a subscription to {}", response.kind), WAIT, asked).unwrap();
            let t = begin.elapsed().as_secs_f64();
            let (nonce, line) = if stream.delta {
                let names: Vec<String> = response.resources.iter().map(name).collect();
                let list: Vec<(&str, &str, &Value)> =
                    names.iter().zip(&response.resources).map(|(n, r)| (n.as_str(), number.as_str(), r)).collect();
                let removed: Vec<&str> = response.removed.iter().map(String::as_str).collect();
                let nonce = ads.send_delta(response.kind, &number, "", &list, &removed).unwrap();
                let line = line(true, t, &number, &nonce, response);
                (nonce, line)
            } else {
                let (kind, resources, text) = ready.next().unwrap();
                let nonce = ads.send_encoded(kind, &number, "", resources).unwrap();
                let line = whole(t, kind, &number, &nonce, &text);
                (nonce, line)
            };
            out.recording.push_str(&line);
            out.recording.push('\n');
            nonces.push(nonce.clone());
            // CDS is answered only when the clusters are warm, so what they wait for must be able to follow
            if response.kind != types::CLUSTER {
                ads.wait_answer(&nonce, WAIT).unwrap();
            }
        }
        until(i as f64 + 0.45);
        let asked = begin.elapsed().as_secs_f64();
        let stats = envoy.stats("^(listener_manager|cluster_manager)\\.[a-z_]+$").unwrap();
        let t = begin.elapsed().as_secs_f64();
        let allocated = envoy.allocated().unwrap();
        let value = |name: &str| stats.get(name).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0);
        let gauges = GAUGES.map(|(name, _)| value(name));
        out.counters = COUNTERS.iter().map(|c| value(&format!("listener_manager.{c}"))).collect();
        let dumping = begin.elapsed().as_secs_f64();
        let views = views(&envoy);
        let dumped = [dumping, begin.elapsed().as_secs_f64()];
        out.samples.push(Sample { asked, t, allocated, gauges, views, dumped });
    }
    let seen = ads.seen();
    out.rejections = nonces.iter().map(|n| seen.iter().find(|s| s.nonce == *n).and_then(|s| s.error.clone())).collect();
    out
}

/// Writes the stream down as somebody would hand it in, and replays it.
pub(crate) fn replay(folder: &Path, observed: &Observed) -> Value {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let stream = file("stream.jsonl", observed.recording.as_bytes());
    let info = file("server_info.json", &observed.server_info);
    let dump = file("config_dump.json", &observed.config_dump);
    let output = Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .arg("replay")
        .arg(stream)
        .arg("--server-info")
        .arg(info)
        .arg("--bootstrap")
        .arg(dump)
        .args(["-o", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same views as the replay has them at each sample: what came until then, and nothing more.
fn simulated_views(folder: &Path, times: &[f64]) -> Vec<Views> {
    let one = |name: &str| {
        let found = input::collect(&[folder.join(name)], &input::Limits::default());
        found.documents.into_iter().next().unwrap()
    };
    let (stream, info, dump) = (one("stream.jsonl"), one("server_info.json"), one("config_dump.json"));
    let options =
        recording::Options { server_info: Some(&info), bootstrap: Some(&dump), ..recording::Options::default() };
    let loaded = recording::read(&[stream], &options).recording;
    let info = loaded.server_info.as_ref().unwrap();
    let settings = Settings {
        version: Version::parse(&info.version).unwrap(),
        concurrency: info.concurrency.unwrap(),
        drain_time: Us(info.drain_time_s.unwrap() as i64 * 1_000_000),
        ..Settings::default()
    };
    let prepared = Prepared::new(&loaded, &settings);
    let steps = prepared.steps(&loaded);
    let at = |t: &f64| {
        let t = Us((t * 1e6) as i64);
        let mut until: Vec<Step> = steps.iter().take_while(|s| s.t <= t).cloned().collect();
        until.push(Step { t, event: 0, action: Action::Nothing });
        let end = prepared.run(&until, &settings).end;
        let text = |n: &Option<Name>| n.as_ref().map(ToString::to_string);
        let view = |v: &ListenerView| -> View {
            ([text(&v.shown_version), text(&v.warming_version), text(&v.draining_shown)], v.refused)
        };
        let mut views: Views = end
            .listeners
            .iter()
            .map(|v| (("listener", v.name.to_string()), view(v)))
            // old generations of in-place updates are not in the dump
            .filter(|(_, v)| v.0.iter().any(Option::is_some) || v.1)
            .collect();
        views.extend(end.clusters.iter().map(|c| {
            (("cluster", c.name.to_string()), ([text(&c.active_version), text(&c.warming_version), None], false))
        }));
        for s in &end.subscriptions {
            let there = Some(String::new());
            let view = match (s.kind, s.held) {
                (XdsType::RouteConfig, true) => ("route table", [there, None, None]),
                (XdsType::Secret, true) => ("secret", [there, None, None]),
                (XdsType::Secret, false) => ("secret", [None, there, None]),
                _ => continue,
            };
            views.insert((view.0, s.name.to_string()), (view.1, false));
        }
        views
    };
    times.iter().map(at).collect()
}

/// Compares, and returns what is not equal, the error of the peak, and a line of figures.
pub(crate) fn compare(
    stream: &Stream,
    observed: &Observed,
    report: &Value,
    folder: &Path,
) -> (Vec<String>, f64, String) {
    let mut wrong = Vec::new();
    let run = &report["runs"][0];
    let rows = run["timeline"].as_array().unwrap();
    let at = |t: f64| rows.iter().rev().find(|r| r["t"].as_f64().unwrap() <= t).unwrap_or(&rows[0]);
    let mut errors = Vec::new();
    for s in &observed.samples {
        let row = at(s.t);
        for ((name, key), seen) in GAUGES.iter().zip(s.gauges) {
            let simulated = row[*key].as_u64().unwrap();
            // a reading takes a moment, and Envoy's timers fire a little late: a change that falls into it may be seen or not
            let during = |r: &&Value| (s.asked - 0.15..=s.t + 0.05).contains(&r["t"].as_f64().unwrap());
            let mut near = rows.iter().filter(during).chain([at(s.asked - 0.15)]);
            if simulated != seen && !near.any(|r| r[*key].as_u64() == Some(seen)) {
                wrong.push(format!("t={:.2} {name}: simulated {simulated}, Envoy {seen}", s.t));
            }
        }
        let simulated = row["allocated"].as_f64().unwrap();
        errors.push((s.t, simulated / s.allocated as f64 - 1.0, s.allocated, simulated));
    }
    for (name, seen) in COUNTERS.iter().zip(&observed.counters) {
        let simulated = run["counters"][name].as_u64().unwrap();
        if simulated != *seen {
            wrong.push(format!("{name}: simulated {simulated}, Envoy {seen}"));
        }
    }
    let refused = run["pushes"].as_array().unwrap().iter().map(|p| p["rejected"].as_u64().unwrap() > 0);
    for (i, (simulated, seen)) in refused.zip(&observed.rejections).enumerate() {
        if simulated != seen.is_some() {
            wrong.push(format!("push {}: rejected {simulated}, Envoy {seen:?}", i + 1));
        }
    }
    let near = |s: &Sample| [s.dumped[0], s.dumped[0] - 0.2, s.dumped[1], s.dumped[1] + 0.05];
    let moments: Vec<f64> = observed.samples.iter().flat_map(near).collect();
    for (s, simulated) in observed.samples.iter().zip(simulated_views(folder, &moments).chunks(4)) {
        if simulated.contains(&s.views) {
            continue;
        }
        let names: BTreeSet<&(&str, String)> = s.views.keys().chain(simulated[0].keys()).collect();
        for name in names.into_iter().filter(|n| s.views.get(*n) != simulated[0].get(*n)).take(3) {
            let (a, b) = (simulated[0].get(name), s.views.get(name));
            wrong.push(format!("t={:.2} config_dump of {name:?}: simulated {a:?}, Envoy {b:?}", s.dumped[0]));
        }
    }
    if std::env::var_os("MESHDUMP_ORACLE_TRACE").is_some() {
        for (t, e, seen, simulated) in &errors {
            note(&format!("  {} t={t:.2} Envoy {seen} simulated {simulated} {:+.2} %", stream.name, e * 100.0));
        }
    }
    let peak = observed.samples.iter().map(|s| s.allocated).max().unwrap() as f64;
    let peak_error = run["peak"]["allocated"]["bytes"].as_f64().unwrap() / peak - 1.0;
    let mut sorted: Vec<f64> = errors.iter().map(|e| e.1.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let line = format!(
        "{:26} {:3} samples, peak {:5.1} MB, error of the peak {:+.1} %, of all samples median {:.1} %, worst {:.1} %",
        stream.name,
        errors.len(),
        peak / 1e6,
        peak_error * 100.0,
        sorted[sorted.len() / 2] * 100.0,
        sorted[sorted.len() - 1] * 100.0
    );
    (wrong, peak_error, line)
}
/// Feeds all streams, five at a time, and compares. Returns what was not equal and the errors of the peaks.
pub(crate) fn judge(binary: &Path, all: &[Stream]) -> (Vec<String>, Vec<f64>) {
    let queue = Mutex::new(all.iter().collect::<Vec<_>>());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                loop {
                    let Some(stream) = queue.lock().unwrap().pop() else { return };
                    let observed = feed(binary, stream);
                    let folder = tempfile::tempdir().unwrap();
                    let report = replay(folder.path(), &observed);
                    if let Some(keep) = std::env::var_os("MESHDUMP_ORACLE_KEEP") {
                        let to = Path::new(&keep).join(stream.name.replace([' ', ','], "_"));
                        std::fs::create_dir_all(&to).unwrap();
                        for f in ["stream.jsonl", "server_info.json", "config_dump.json"] {
                            std::fs::copy(folder.path().join(f), to.join(f)).unwrap();
                        }
                        let seen: Vec<Value> = observed
                            .samples
                            .iter()
                            .map(|s| json!({"t": s.t, "allocated": s.allocated, "gauges": s.gauges}))
                            .collect();
                        std::fs::write(to.join("seen.json"), json!(seen).to_string()).unwrap();
                    }
                    let result = compare(stream, &observed, &report, folder.path());
                    results.lock().unwrap().push((stream.name.clone(), result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by(|a, b| a.0.cmp(&b.0));
    let mut wrong = Vec::new();
    let mut errors = Vec::new();
    for (name, (bad, peak, line)) in &results {
        note(line);
        wrong.extend(bad.iter().map(|w| format!("{name}: {w}")));
        errors.push(peak.abs());
    }
    wrong.iter().for_each(|w| note(w));
    errors.sort_by(f64::total_cmp);
    let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    note(&format!("error of the peak over {} streams: median {median:.4}, worst {worst:.4}", errors.len()));
    (wrong, errors)
}
