//! What `meshdump generate` writes is taken by a real Envoy (`MESHDUMP_ENVOY`, or `envoy` on the PATH): each recording is
//! played to one, response by response.

mod common;
mod envoy_play;

use common::Bench;
use envoy_play::{Player, end_of, envoy, note, recording};

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

/// The four settings of Open Service Mesh's flags: what `analyze` says of a dump against the Envoy it was taken from, and
/// which terms it names. `MESHDUMP_OSM=60,4` takes that many services and workers.
#[test]
fn open_service_mesh() {
    let Some(envoy) = envoy() else { return };
    let size = std::env::var("MESHDUMP_OSM").unwrap_or_else(|_| "20,2".to_owned());
    let (services, workers) = size.split_once(',').unwrap();
    let mut said = Vec::new();
    let mut measured = Vec::new();
    for flags in [&["--wasm", "--permissive"][..], &["--permissive"], &["--wasm"], &[]] {
        let bench = Bench::new();
        let mut args = vec!["generate", "osm", "--services", services, "--workers", workers, "--out", "made"];
        args.extend(flags);
        assert_eq!(bench.run(&args).code, 0);
        let run = match end_of(&bench.path("made")).run(&envoy) {
            // some builds have no V8
            Err(e) if flags.contains(&"--wasm") && e.to_string().contains("Wasm") => {
                note(&format!("skipped: {flags:?}: {e}"));
                continue;
            }
            run => run.unwrap(),
        };
        bench.put("live/config_dump.json", &run.config_dump).put("live/server_info.json", &run.server_info);
        let report = bench.run(&["analyze", "live", "-o", "json"]).json();
        let memory = &report["proxies"][0]["memory"];
        let bytes = |what: &str| memory[what]["bytes"].as_f64().unwrap();
        let (allocated, anonymous) = (run.reading.allocated as f64, run.reading.resident_anonymous as f64);
        let error = |what: &str, real: f64| (bytes(what) / real - 1.0) * 100.0;
        note(&format!(
            "osm {size} {flags:?}: allocated {allocated} said {} ({:+.1} %), anonymous {anonymous} said {} ({:+.1} %)",
            bytes("allocated"),
            error("allocated", allocated),
            bytes("resident"),
            error("resident", anonymous),
        ));
        assert!(error("allocated", allocated).abs() < 10.0, "{flags:?}");
        assert!(error("resident", anonymous).abs() < 15.0, "{flags:?}");
        said.push(bytes("resident"));
        measured.push(anonymous);
        let findings = report["findings"].as_array().unwrap();
        let code = findings.iter().find(|f| f["code"] == "MD309");
        let chains = services.parse::<u64>().unwrap() + 1;
        let threads = workers.parse::<u64>().unwrap() + 1;
        if flags == ["--wasm", "--permissive"] {
            let text = code.unwrap().to_string();
            assert!(text.contains(&format!("inlined in {chains} filter chains")), "{text}");
            assert!(text.contains(&format!("Lua in {chains} filter chains × {threads} threads")), "{text}");
        } else {
            assert!(code.is_none(), "{flags:?}");
        }
    }
    // ranked as measured where the figures are further apart than what is allowed above, and only both flags are bad
    for (i, a) in measured.iter().enumerate() {
        for (j, b) in measured.iter().enumerate().filter(|(_, b)| *a > **b * 1.15) {
            assert!(said[i] > said[j], "{a} and {b} measured, {} and {} said", said[i], said[j]);
        }
    }
    if said.len() == 4 {
        assert!(measured[0] > 1.5 * measured[1] && said[0] > 1.5 * said[1]);
    }
}
