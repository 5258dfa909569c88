//! What `meshdump generate` writes is taken by a real Envoy (`MESHDUMP_ENVOY`, or `envoy` on the PATH): each recording is
//! played to one, response by response.

mod common;
mod envoy_play;

use common::Bench;
use envoy_play::{Player, envoy, recording};

/// Generates a case and plays its recording; returns Envoy's counters.
fn accepted(args: &[&str]) -> Option<Player> {
    let envoy = envoy()?;
    let bench = Bench::new();
    let mut all = vec!["generate"];
    all.extend(args);
    all.extend(["--out", "made"]);
    assert_eq!(bench.run(&all).code, 0);
    let pushes = recording(&bench.path("made/recording.jsonl.gz"));
    assert!(!pushes.is_empty());
    let mut player = Player::start(&envoy, &bench.path("made"), &[]);
    for push in &pushes {
        player.push(push);
    }
    player.settle();
    Some(player)
}

#[test]
fn contour() {
    for (preset, tls) in [("contour-0.13", true), ("contour-0.5", true), ("contour", false)] {
        let mut args = vec!["contour", "--ingresses", "12", "--block", "6", "--preset", preset];
        args.extend(tls.then_some("--tls"));
        let Some(player) = accepted(&args) else { return };
        let seen = player.envoy.stats("^listener_manager|^cluster_manager.active_clusters").unwrap();
        assert_eq!(seen["listener_manager.total_listeners_active"], if tls { 2 } else { 1 }, "{preset}");
        assert_eq!(seen["cluster_manager.active_clusters"], 11, "{preset}");
        assert_eq!(seen.get("listener_manager.lds.update_rejected"), Some(&0));
        // one name after the other: each is a change of the filter chains; without TLS none is
        assert_eq!(seen["listener_manager.listener_in_place_updated"] > 3, tls, "{preset}: {seen:?}");
    }
}
