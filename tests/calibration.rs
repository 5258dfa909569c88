//! A live check that the price tables still fit: a few validation workloads on a real Envoy (`MESHDUMP_ENVOY`, or
//! `envoy` on the PATH), priced from nothing but their dump and `/server_info` through the command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use meshdump::cost::envoy::{Version, measured_releases};
use meshdump::lab::{self, Measurement, Workload, mixes, pairs};

#[expect(clippy::print_stderr, reason = "a skipped test says why, and the figures belong into the log")]
fn note(line: &str) {
    eprintln!("{line}");
}

/// The Envoy to test with, if it is of a release that has a table. CI must have one.
fn envoy() -> Option<(PathBuf, String)> {
    let path = std::env::var_os("MESHDUMP_ENVOY").map_or_else(|| PathBuf::from("envoy"), PathBuf::from);
    let ci = std::env::var_os("CI").is_some_and(|v| v == "true");
    let Ok((version, _)) = lab::version(&path) else {
        assert!(!ci, "CI must have an Envoy: set MESHDUMP_ENVOY");
        note(&format!("skipped: no Envoy ({} does not run; set MESHDUMP_ENVOY)", path.display()));
        return None;
    };
    let same = |release: &str| Version::parse(release) == Version::parse(&version);
    if !measured_releases().iter().any(|(release, _)| same(release)) {
        assert!(!ci, "CI must have an Envoy of a measured release, not {version}");
        note(&format!("skipped: Envoy {version} has no price table"));
        return None;
    }
    Some((path, version))
}

/// `proxies[0]` of `meshdump analyze DUMP SERVER_INFO -o json`.
fn analyze(folder: &Path, run: &Measurement) -> serde_json::Value {
    let (dump, info) = (folder.join("config_dump.json"), folder.join("server_info.json"));
    std::fs::write(&dump, &run.config_dump).unwrap();
    std::fs::write(&info, &run.server_info).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .arg("analyze")
        .args([&dump, &info])
        .args(["-o", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["proxies"][0].clone()
}

#[test]
fn the_price_tables_fit_this_envoy() {
    let Some((envoy, _)) = envoy() else { return };
    let folder = tempfile::tempdir().unwrap();
    let idle = Workload::new("idle", 1).run(&envoy).unwrap().reading.allocated as f64;
    let wanted = [
        "istio/sidecar 80 services",
        "istio/gateway 60 hosts",
        "contour/40 ingresses",
        "envoy-gateway/150 routes, policies",
        "osm/permissive",
        "edge/balancers",
        "edge/inline routes and certificates",
    ];
    let mut errors = Vec::new();
    for workload in mixes::workloads().iter().filter(|w| wanted.contains(&w.name.as_str())) {
        let run = workload.run(&envoy).unwrap();
        let measured = run.reading.allocated as f64;
        let memory = analyze(folder.path(), &run)["memory"].clone();
        let get = |key: &str| memory["allocated"][key].as_f64().unwrap();
        let error = (get("bytes") - measured) / (measured - idle);
        note(&format!(
            "{:<40} measured {measured} predicted {} error {:+.2} %",
            workload.name,
            get("bytes"),
            error * 100.0
        ));
        assert!(error.abs() <= 0.10, "{}: error {:.1} %", workload.name, error * 100.0);
        assert!((get("low")..=get("high")).contains(&measured), "{}: outside the bounds", workload.name);
        let resident = memory["resident"]["bytes"].as_f64().unwrap();
        let anonymous = run.reading.resident_anonymous as f64;
        assert!((resident / anonymous - 1.0).abs() <= 0.15, "{}: resident {resident} of {anonymous}", workload.name);
        errors.push(error.abs());
    }
    assert_eq!(errors.len(), wanted.len());
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    assert!(median <= 0.03, "median error {:.1} %: the table no longer fits", median * 100.0);
}

/// What a change is said to save from the dump before it is what it saves.
#[test]
fn savings_hold_on_this_envoy() {
    let Some((envoy, _)) = envoy() else { return };
    let folder = tempfile::tempdir().unwrap();
    let wanted = ["fewer-stats", "fewer-workers", "rds", "sds", "merged-chains"];
    for (change, before, after) in pairs::pairs().into_iter().filter(|(c, ..)| wanted.contains(c)) {
        let before = before.run(&envoy).unwrap();
        let after = after.run(&envoy).unwrap().reading.allocated as f64;
        let measured = before.reading.allocated as f64 - after;
        let proxy = analyze(folder.path(), &before);
        let row = proxy["savings"].as_array().unwrap().iter().find(|s| s["change"] == change).cloned();
        let row = row.unwrap_or_else(|| panic!("{change}: no saving in the report"));
        let predicted = row["saved"]["bytes"].as_f64().unwrap();
        note(&format!("{change:<20} measured {measured} predicted {predicted} bounds {}", row["saved"]));
        let bounds = ["low", "high"].map(|k| row["saved"][k].as_f64().unwrap());
        assert!((bounds[0]..=bounds[1]).contains(&measured), "{change}: outside the bounds");
        assert!((predicted / measured - 1.0).abs() <= 0.15, "{change}: {predicted} of {measured}");
    }
}

#[test]
fn a_rejected_resource_is_reported_and_a_scripted_response_is_answered() {
    let Some((envoy, _)) = envoy() else { return };
    let ads = lab::Ads::start().unwrap();
    let process = lab::EnvoyProcess::start(&lab::Launch {
        binary: envoy,
        workers: 1,
        bootstrap: lab::bootstrap(ads.port(), false),
        arguments: vec!["--drain-time-s".into(), "3".into()],
    })
    .unwrap();
    let second = std::time::Duration::from_secs(10);
    ads.wait("the cluster subscription", second, |seen| seen.iter().any(|s| s.type_url == lab::types::CLUSTER))
        .unwrap();
    let good =
        serde_json::json!({"@type": lab::types::CLUSTER, "name": "a", "type": "STATIC", "connect_timeout": "1s"});
    let nonce = ads.send(lab::types::CLUSTER, "1", "", std::slice::from_ref(&good)).unwrap();
    assert_eq!(ads.wait_answer(&nonce, second).unwrap(), None);
    let bad =
        serde_json::json!({"@type": lab::types::CLUSTER, "name": "b", "type": "STATIC", "connect_timeout": "-1s"});
    let nonce = ads.send(lab::types::CLUSTER, "2", "", &[good, bad]).unwrap();
    assert!(ads.wait_answer(&nonce, second).unwrap().is_some_and(|why| why.contains('b')), "a rejection with a reason");
    assert!(process.allocated().unwrap() > 1_000_000);
}
