//! A real Envoy is fed a mesh and the scoped mesh: what `whatif scope` says a scope saves is what it saves.

mod common;
mod envoy_play;

use common::Bench;
use envoy_play::{end_of, envoy, note};
use meshdump::lab::Workload;
use meshdump::sim::scope::dress::outbound_parts;
use serde_json::{Value, json};

/// All clusters of services that a value names.
fn named<'a>(v: &'a Value, out: &mut Vec<&'a str>) {
    match v {
        Value::String(s) => out.extend(outbound_parts(s).map(|(_, _, host)| host)),
        Value::Array(all) => all.iter().for_each(|x| named(x, out)),
        Value::Object(all) => all.values().for_each(|x| named(x, out)),
        _ => {}
    }
}

/// What a control plane would send to a proxy that is told of the hosts of `keep` only: without the clusters,
/// endpoints, virtual hosts and listeners of other hosts, without tables that are left with none, and without the
/// listeners that asked for those.
fn scoped(mut w: Workload, keep: &dyn Fn(&str) -> bool) -> Workload {
    let lost = |v: &Value| {
        let mut hosts = Vec::new();
        named(v, &mut hosts);
        !hosts.is_empty() && !hosts.into_iter().any(keep)
    };
    w.clusters.retain(|c| !lost(&c["name"]));
    w.endpoints.retain(|e| !lost(&e["cluster_name"]));
    let mut gone = Vec::new();
    w.routes.retain_mut(|t| {
        let hosts = t["virtual_hosts"].as_array_mut().unwrap();
        let before = hosts.len();
        hosts.retain(|v| !lost(v));
        let mut left = Vec::new();
        named(&t["virtual_hosts"], &mut left);
        let stays = !left.is_empty() || t["virtual_hosts"].as_array().unwrap().len() == before;
        if !stays {
            gone.push(format!("\"route_config_name\":{}", t["name"]));
        }
        stays
    });
    w.listeners.retain(|l| {
        let text = l.to_string();
        l["traffic_direction"] == "INBOUND" || !lost(l) && !gone.iter().any(|t| text.contains(t))
    });
    w
}

/// Generates a case, feeds it to an Envoy, asks what `scope` would save, and feeds the scoped configuration to another.
fn check(case: &[&str], scope: &[&str], files: &[(&str, &str)], keep: &dyn Fn(&str) -> bool) {
    let Some(envoy) = envoy() else { return };
    let bench = Bench::new();
    for (name, text) in files {
        bench.put(name, text);
    }
    let mut args = vec!["generate"];
    args.extend(case);
    args.extend(["--out", "made"]);
    assert_eq!(bench.run(&args).code, 0);
    let whole = end_of(&bench.path("made"));
    let before = whole.run(&envoy).unwrap();
    bench.put("live/config_dump.json", &before.config_dump).put("live/server_info.json", &before.server_info);
    let mut args = vec!["whatif", "scope", "made/kubernetes.json", "live", "-o", "json"];
    args.extend(scope);
    let run = bench.run(&args);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let report = run.json();
    let row = report["workloads"].as_array().unwrap().iter().find(|r| r["source"] == "dump").unwrap();
    let less = scoped(whole.clone(), keep);
    let number = |pointer: &str| row.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert_eq!(number("/out/clusters"), (whole.clusters.len() - less.clusters.len()) as u64);
    assert_eq!(number("/out/listeners"), (whole.listeners.len() - less.listeners.len()) as u64);
    assert_eq!(number("/out/route_configs"), (whole.routes.len() - less.routes.len()) as u64);
    let after = less.run(&envoy).unwrap();
    let saved = before.reading.allocated as f64 - after.reading.allocated as f64;
    let said = number("/saved_bytes") as f64;
    note(&format!(
        "{case:?} {scope:?}: {} of {} clusters, {} listeners out; allocated {} saved {saved:.0} said {said:.0} ({:+.1} %); \
         anonymous {} saved {} said {}",
        number("/out/clusters"),
        whole.clusters.len(),
        number("/out/listeners"),
        before.reading.allocated,
        (said / saved - 1.0) * 100.0,
        before.reading.resident_anonymous,
        before.reading.resident_anonymous as i64 - after.reading.resident_anonymous as i64,
        number("/saved_resident_bytes"),
    ));
    assert!((said / saved - 1.0).abs() < 0.1, "{case:?}: said {said}, saved {saved}");
}

/// Istio's own advice: a sidecar knows its own namespace, and Istio's.
#[test]
fn own_namespace_of_ten() {
    let kept = |host: &str| host.contains(".namespace-00.") || host.contains(".istio-system.");
    check(&["istio", "--services", "200"], &["--scope", "own-namespace"], &[], &kept);
}

/// Knative: a Sidecar that names every tenth revision.
#[test]
fn a_sidecar_that_names_revisions() {
    let kept = |host: &str| host.starts_with("hello-") && host.as_bytes()[10] == b'0';
    let hosts: Vec<String> = (0..80)
        .step_by(10)
        .flat_map(|i| ["", "-private"].map(|s| format!("./hello-{i:05}{s}.default.svc.cluster.local")))
        .collect();
    let sidecar = json!({"apiVersion": "networking.istio.io/v1beta1", "kind": "Sidecar",
        "metadata": {"name": "default", "namespace": "default"}, "spec": {"egress": [{"hosts": hosts}]}});
    check(
        &["knative", "--revisions", "80"],
        &["--sidecar", "scope.json"],
        &[("scope.json", &sidecar.to_string())],
        &kept,
    );
}
