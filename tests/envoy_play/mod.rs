//! Plays recordings to a real Envoy.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshdump::lab::{self, Ads, EnvoyProcess, Launch, Workload, types};
use serde_json::{Value, json};

#[expect(clippy::print_stderr, reason = "a skipped test says why, and the figures belong into the log")]
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// The Envoy to test with. CI must have one.
pub(crate) fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("MESHDUMP_ENVOY").map_or_else(|| PathBuf::from("envoy"), PathBuf::from);
    if lab::version(&path).is_err() {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "CI must have an Envoy: set MESHDUMP_ENVOY");
        note(&format!("skipped: no Envoy ({} does not run; set MESHDUMP_ENVOY)", path.display()));
        return None;
    }
    Some(path)
}

/// A response of a recording.
pub(crate) struct Push {
    pub(crate) t: f64,
    pub(crate) body: Value,
}

/// A file, inflated when its name ends in `.gz`.
pub(crate) fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text
}

pub(crate) fn recording(path: &Path) -> Vec<Push> {
    let line = |l: &str| {
        let body: Value = serde_json::from_str(l).unwrap();
        Push { t: body["t"].as_f64().unwrap(), body }
    };
    text(path).lines().map(line).collect()
}

/// An Envoy that is fed by script.
pub(crate) struct Player {
    pub(crate) ads: Ads,
    pub(crate) envoy: EnvoyProcess,
    pub(crate) delta: bool,
}

const WAIT: Duration = Duration::from_secs(60);

impl Player {
    /// Starts Envoy with the settings of the case in `folder` (bootstrap of its dump, workers of its server info) and
    /// with empty CDS and LDS, so that its workers run.
    pub(crate) fn start(binary: &Path, folder: &Path, arguments: &[&str]) -> Self {
        let dump: Value = serde_json::from_str(&text(&folder.join("config_dump.json.gz"))).unwrap();
        let info: Value = serde_json::from_str(&text(&folder.join("server_info.json"))).unwrap();
        let mut bootstrap = dump["configs"][0]["bootstrap"].clone();
        let delta = bootstrap["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC";
        let ads = Ads::start().unwrap();
        let wired = lab::bootstrap(ads.port(), delta);
        bootstrap["dynamic_resources"] = wired["dynamic_resources"].clone();
        bootstrap["static_resources"]["clusters"][0] = wired["static_resources"]["clusters"][0].clone();
        bootstrap["admin"] = wired["admin"].clone();
        let options = &info["command_line_options"];
        let mut all: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        if !arguments.contains(&"--drain-time-s") {
            let drain = options["drain_time"].as_str().unwrap().trim_end_matches('s').to_owned();
            all.extend(["--drain-time-s".to_owned(), drain]);
        }
        let envoy = EnvoyProcess::start(&Launch {
            binary: binary.to_owned(),
            workers: options["concurrency"].as_u64().unwrap() as u32,
            bootstrap,
            arguments: all,
        })
        .unwrap();
        let mut player = Self { ads, envoy, delta };
        for kind in [types::CLUSTER, types::LISTENER] {
            player.ads.wait("a subscription", WAIT, |seen| seen.iter().any(|s| s.type_url == kind)).unwrap();
            let empty = if delta {
                json!({"type_url": kind, "system_version_info": "0", "resources": [], "removed_resources": []})
            } else {
                json!({"type_url": kind, "version_info": "0", "resources": []})
            };
            player.push(&Push { t: 0.0, body: empty });
        }
        player
    }

    /// Sends a response and waits for its answer, which must not be a rejection. Listeners are moved to free ports of
    /// the loopback interface.
    pub(crate) fn push(&mut self, push: &Push) {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let kind = text(&push.body["type_url"]);
        let mut resources = push.body["resources"].as_array().cloned().unwrap_or_default();
        for resource in &mut resources {
            let listener = if self.delta { &mut resource["resource"] } else { resource };
            if kind == types::LISTENER && listener["bind_to_port"] != false {
                listener["address"] = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
            }
        }
        if !matches!(&*kind, types::CLUSTER | types::LISTENER) {
            // a response of a type is only taken once Envoy asked for it
            let asked = |seen: &[lab::Seen]| seen.iter().any(|s| s.type_url == kind);
            self.ads.wait(&format!("a subscription to {kind}"), WAIT, asked).unwrap();
        }
        let nonce = if self.delta {
            let names: Vec<(String, String)> =
                resources.iter().map(|r| (text(&r["name"]), text(&r["version"]))).collect();
            let list: Vec<(&str, &str, &Value)> =
                names.iter().zip(&resources).map(|((n, v), r)| (n.as_str(), v.as_str(), &r["resource"])).collect();
            let removed: Vec<&str> =
                push.body["removed_resources"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            self.ads.send_delta(&kind, &text(&push.body["system_version_info"]), "", &list, &removed).unwrap()
        } else {
            self.ads.send(&kind, &text(&push.body["version_info"]), "", &resources).unwrap()
        };
        // CDS is answered only when the clusters are warm, so what they wait for must be able to follow
        if kind != types::CLUSTER {
            let error = self.ads.wait_answer(&nonce, WAIT).unwrap();
            assert_eq!(error, None, "{kind} at {}", push.t);
        }
    }

    /// Waits until Envoy is still.
    pub(crate) fn settle(&self) {
        self.envoy.settle(Some(&self.ads), WAIT).unwrap();
    }
}

/// What the recording of a generated case ends with, for an Envoy with the case's settings.
pub(crate) fn end_of(folder: &Path) -> Workload {
    let dump: Value = serde_json::from_str(&text(&folder.join("config_dump.json.gz"))).unwrap();
    let info: Value = serde_json::from_str(&text(&folder.join("server_info.json"))).unwrap();
    let bootstrap = &dump["configs"][0]["bootstrap"];
    let workers = info["command_line_options"]["concurrency"].as_u64().unwrap() as u32;
    let mut w = Workload::new("end", workers);
    let own: Vec<&str> = bootstrap.as_object().unwrap().keys().map(String::as_str).collect();
    let own = own.into_iter().filter(|k| !matches!(*k, "admin" | "static_resources" | "dynamic_resources"));
    w.bootstrap = Some(own.map(|k| (k.to_owned(), bootstrap[k].clone())).collect());
    for push in recording(&folder.join("recording.jsonl.gz")) {
        let url = push.body["type_url"].as_str().unwrap();
        let held = match url {
            types::CLUSTER => &mut w.clusters,
            types::ENDPOINT => &mut w.endpoints,
            types::LISTENER => &mut w.listeners,
            types::ROUTE => &mut w.routes,
            types::SECRET => &mut w.secrets,
            other => panic!("{other}"),
        };
        let sent = push.body["resources"].as_array().unwrap();
        if push.body.get("removed_resources").is_none() {
            held.clone_from(sent);
            continue;
        }
        let changed = |v: &Value| sent.iter().any(|s| s["name"] == lab::resource_name(v));
        let removed =
            |v: &Value| push.body["removed_resources"].as_array().unwrap().iter().any(|n| n == lab::resource_name(v));
        held.retain(|v| !changed(v) && !removed(v));
        held.extend(sent.iter().map(|s| s["resource"].clone()));
    }
    w
}
