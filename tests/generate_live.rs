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

#[test]
fn meshes_and_gateways() {
    for (args, listeners, clusters) in [
        (&["osm", "--services", "6"][..], 2, 3),
        (&["osm", "--services", "6", "--permissive", "--wasm", "--unsorted", "--module-bytes", "20000"], 2, 9),
        (&["knative", "--revisions", "12"], 31, 100),
        (&["istio", "--services", "24"], 20, 46),
        (&["gateway", "--routes", "20"], 1, 21),
        (&["bookinfo", "--sidecars"], 13, 19),
        (&["bookinfo", "--sidecars", "--app", "simple"], 13, 18),
    ] {
        let Some(player) = accepted(args) else { return };
        let seen = player.envoy.stats("^listener_manager|^cluster_manager").unwrap();
        let counts = (seen["listener_manager.total_listeners_active"], seen["cluster_manager.active_clusters"]);
        assert_eq!(counts, (listeners, clusters), "{args:?}: {seen:?}");
        if args.contains(&"--unsorted") {
            // three pushes without a change, each of which rebuilds all seven chains, and six that add services
            assert!(seen["listener_manager.total_filter_chains_draining"] >= 21, "{seen:?}");
        }
    }
}
