//! One scripted run of a real Envoy, recorded by its tap, its log and its statistics: three views of one story. The capture
//! lies beside the corpus.

#![allow(clippy::print_stdout, reason = "a skipped test says why")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meshdump::cost::envoy::Version;
use meshdump::evidence::recording::{self, Options};
use meshdump::input::{Document, Limits, collect};
use meshdump::model::stream::{Applied, DrainPhase, Recording, Us, What, XdsType};
use meshdump::sim::envoy::{Run, Settings, run};

fn capture() -> Option<PathBuf> {
    let Some(corpus) = std::env::var_os("MESHDUMP_CORPUS") else {
        println!("skipped: MESHDUMP_CORPUS is not set");
        return None;
    };
    let folder = Path::new(&corpus).join("../captures/sotw");
    if !folder.join("steps").exists() {
        println!("skipped: no capture beside the corpus");
        return None;
    }
    Some(folder)
}

fn document(path: &Path) -> Document {
    collect(&[path.to_owned()], &Limits::default()).documents.into_iter().next().expect("a document")
}

fn recorded(path: &Path, bootstrap: &Document) -> Recording {
    let options = Options { bootstrap: Some(bootstrap), ..Options::default() };
    let loaded = recording::read(&[document(path)], &options);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.recording
}

fn simulated(folder: &Path) -> Run {
    let bootstrap = document(&folder.join("boot.json"));
    let tap = recorded(&folder.join("tap_0.pb_length_delimited"), &bootstrap);
    let settings =
        Settings { version: Version { major: 1, minor: 40 }, drain_time: Us(8_000_000), ..Settings::default() };
    run(&tap, &settings)
}

/// The statistics were read after each step, shortly before the next one.
#[test]
fn the_gauges_of_every_stats_file() {
    let Some(folder) = capture() else { return };
    let run = simulated(&folder);
    let steps: Vec<(i64, String)> = std::fs::read_to_string(folder.join("steps"))
        .expect("steps")
        .lines()
        .map(|l| l.split_once(' ').expect("a time and a name"))
        .map(|(t, name)| ((t.parse::<f64>().expect("a time") * 1e6) as i64, name.to_owned()))
        .collect();
    let mut files = vec![("0".to_owned(), steps[0].0)];
    for (i, (t, name)) in steps.iter().enumerate() {
        files.push((name.clone(), steps.get(i + 1).map_or(t + 1_200_000, |next| next.0)));
    }
    files.push(("z".to_owned(), i64::MAX));
    assert_eq!(
        files.len(),
        std::fs::read_dir(&folder)
            .expect("a folder")
            .filter(|f| { f.as_ref().is_ok_and(|f| f.path().extension().is_some_and(|e| e == "stats")) })
            .count()
    );
    for (name, until) in files {
        let text = std::fs::read_to_string(folder.join(format!("{name}.stats"))).expect("statistics");
        let seen: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once(": ")).collect();
        let row = run.timeline.iter().rev().find(|r| r.t.0 < until).expect("a row");
        for (gauge, simulated) in [
            ("listener_manager.total_listeners_active", row.listeners_active),
            ("listener_manager.total_listeners_warming", row.listeners_warming),
            ("listener_manager.total_listeners_draining", row.listeners_draining),
            ("listener_manager.total_filter_chains_draining", row.filter_chains_draining),
            ("cluster_manager.active_clusters", row.clusters_active),
            ("cluster_manager.warming_clusters", row.clusters_warming),
        ] {
            assert_eq!(seen[gauge].parse::<u32>().expect("a number"), simulated, "{gauge} in {name}.stats");
        }
    }
    let z = std::fs::read_to_string(folder.join("z.stats")).expect("statistics");
    for (counter, simulated) in [
        ("listener_added", run.counters.listener_added),
        ("listener_modified", run.counters.listener_modified),
        ("listener_removed", run.counters.listener_removed),
        ("listener_in_place_updated", run.counters.listener_in_place_updated),
        ("lds.update_rejected", run.counters.updates_rejected),
    ] {
        assert!(z.contains(&format!("listener_manager.{counter}: {simulated}\n")), "{counter} is not {simulated}");
    }
}

/// What the log says happened to each listener and cluster, and when each drain began and ended, is what the replay of the
/// tap says.
#[test]
fn the_log_tells_what_the_replay_of_the_tap_tells() {
    let Some(folder) = capture() else { return };
    let run = simulated(&folder);
    let bootstrap = document(&folder.join("boot.json"));
    let log = recorded(&folder.join("envoy-debug.log"), &bootstrap);
    for kind in [XdsType::Listener, XdsType::Cluster] {
        let simulated: Vec<(Us, String, Applied)> =
            run.taken.iter().filter(|t| t.kind == kind).map(|t| (t.t, t.name.to_string(), t.how)).collect();
        let logged: Vec<(Us, String, Applied)> = log
            .events
            .iter()
            .filter_map(|e| match &e.what {
                What::Applied { kind: k, name, how, .. } if *k == kind => Some((e.t, name.to_string(), *how)),
                _ => None,
            })
            .collect();
        assert_eq!(simulated.len(), logged.len());
        for (s, l) in simulated.iter().zip(&logged) {
            let same = s.2 == l.2 || (l.2 == Applied::Updated && matches!(s.2, Applied::InPlace | Applied::Full));
            assert!(s.1 == l.1 && same && (s.0.0 - l.0.0).abs() < 50_000, "simulated {s:?}, logged {l:?}");
        }
    }
    let mut logged: Vec<(i64, String, Option<u32>, bool)> = Vec::new();
    for e in &log.events {
        if let What::Drain { name, chains, phase, .. } = &e.what {
            logged.push((e.t.0, name.to_string(), *chains, *phase == DrainPhase::Begin));
        }
    }
    let mut simulated: Vec<(i64, String, Option<u32>, bool)> = Vec::new();
    for d in &run.drains {
        simulated.push((d.began.0, d.name.to_string(), d.chains, true));
        simulated.push((d.ends.0, d.name.to_string(), d.chains, false));
    }
    simulated.sort();
    assert_eq!(simulated.len(), logged.len());
    for (s, l) in simulated.iter().zip(&logged) {
        // a group's end does not say how many chains were in it
        let chains = s.2 == l.2 || !l.3 && s.2.is_some() == l.2.is_some();
        assert!(s.1 == l.1 && s.3 == l.3 && chains && (s.0 - l.0).abs() < 100_000, "simulated {s:?}, logged {l:?}");
    }
}
