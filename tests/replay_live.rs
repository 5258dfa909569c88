//! The simulated Envoy against live ones: streams are fed to a real Envoy, whose gauges, listeners and `allocated` are read
//! after every second, and the same stream, written down as it was sent, is replayed by the binary.
//!
//! `MESHDUMP_ORACLE=NAME,…` picks streams by a part of their name, `MESHDUMP_ORACLE_SEEDS=FROM..UNTIL` the random ones,
//! `MESHDUMP_ORACLE_TRACE` shows every reading of `allocated`, `MESHDUMP_ORACLE_KEEP=FOLDER` keeps the recordings.

mod envoy_play;
mod oracle;

use envoy_play::envoy;
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
