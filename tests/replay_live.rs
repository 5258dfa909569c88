//! The simulated Envoy against live ones: streams are fed to a real Envoy, whose gauges, listeners and `allocated` are read
//! after every second, and the same stream, written down as it was sent, is replayed by the binary.
//!
//! `MESHDUMP_ORACLE=NAME,…` picks streams by a part of their name, `MESHDUMP_ORACLE_SEEDS=FROM..UNTIL` the random ones,
//! `MESHDUMP_ORACLE_TRACE` shows every reading of `allocated`, `MESHDUMP_ORACLE_KEEP=FOLDER` keeps the recordings.

mod envoy_play;
mod oracle;

use envoy_play::envoy;
use meshdump::evidence::recording::{self, Options};
use meshdump::input::{self, Limits};
use meshdump::model::stream::{Recording, Us};
use meshdump::sim::envoy::{Prepared, Run, Settings};
use oracle::{judge, random, scripted};

fn holds(wrong: &[String], errors: &[f64]) {
    assert!(wrong.is_empty(), "{} values differ", wrong.len());
    let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    assert!(median <= 0.03 && worst <= 0.10, "median {median:.4}, worst {worst:.4}");
}

#[test]
fn a_simulated_envoy_does_what_a_live_one_does() {
    let Some(binary) = envoy() else { return };
    let picked = std::env::var("MESHDUMP_ORACLE").unwrap_or_default();
    let mut all = scripted::streams();
    all.retain(|s| picked.is_empty() || picked.split(',').any(|p| s.name.contains(p)));
    let (wrong, errors) = judge(&binary, &all);
    holds(&wrong, &errors);
}

#[test]
fn random_streams_too() {
    let Some(binary) = envoy() else { return };
    let seeds = std::env::var("MESHDUMP_ORACLE_SEEDS").unwrap_or_else(|_| "0..10".to_owned());
    let (from, until) = seeds.split_once("..").expect("MESHDUMP_ORACLE_SEEDS is FROM..UNTIL");
    let all: Vec<_> = (from.parse().expect("a number")..until.parse().expect("a number")).map(random::stream).collect();
    let (wrong, errors) = judge(&binary, &all);
    holds(&wrong, &errors);
}

/// What the lines say, each part a file of its own.
fn read(parts: &[&[String]]) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(i, lines)| {
            let path = folder.path().join(format!("{i}.jsonl"));
            std::fs::write(&path, lines.concat()).unwrap();
            path
        })
        .collect();
    recording::read(&input::collect(&files, &Limits::default()).documents, &Options::default()).recording
}

fn play(recording: &Recording) -> Run {
    let settings = Settings { drain_time: Us(4_000_000), ..Settings::default() };
    let prepared = Prepared::new(recording, &settings);
    prepared.run(&prepared.steps(recording), &settings)
}

/// No Envoy is needed for these.
#[test]
fn what_holds_for_every_stream() {
    for seed in 100..110 {
        let stream = random::stream(seed);
        let lines = stream.recording(1);
        let whole = play(&read(&[&lines]));
        // a gauge below zero would be a panic of its own here
        let settled = whole.end.settled;
        assert_eq!(
            (
                settled.listeners_draining,
                settled.filter_chains_draining,
                settled.groups_draining,
                settled.draining_bytes
            ),
            (0, 0, 0, 0),
            "seed {seed}: everything drains in the end"
        );
        assert_eq!(whole.drains.len() as u64, whole.drained.total(), "seed {seed}");
        assert!(whole.drains.iter().all(|d| d.ends.0 - d.began.0 == 4_000_000), "seed {seed}");
        let most = whole.timeline.iter().map(|r| r.allocated).max().unwrap();
        assert!(whole.peak.row.allocated <= most && settled.allocated <= most, "seed {seed}");
        assert!(settled.allocated >= whole.end.restarted, "seed {seed}: a restart does not cost");

        // in two files, given in the wrong order
        let (a, b) = lines.split_at(lines.len() / 2);
        assert_eq!(play(&read(&[b, a])).timeline, whole.timeline, "seed {seed}: parts are merged by time");

        // everything twice: nothing more drains, and nothing more is left
        let twice = play(&read(&[&stream.recording(2)]));
        assert_eq!(twice.drained, whole.drained, "seed {seed}: a repeated response drains nothing");
        let counters = |r: &Run| {
            let c = r.counters;
            (c.listener_added, c.listener_modified, c.listener_removed, c.cluster_added, c.cluster_removed)
        };
        assert_eq!(counters(&twice), counters(&whole), "seed {seed}");
        assert_eq!(twice.end.settled.allocated, settled.allocated, "seed {seed}");
    }
}
