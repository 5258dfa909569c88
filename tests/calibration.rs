//! The lab against a real Envoy (`MESHDUMP_ENVOY`, or `envoy` on the PATH).

use std::path::PathBuf;
use std::process::Command;

use meshdump::lab::shapes::{assignment, eds_cluster, service};
use meshdump::lab::{self, Workload};

fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("MESHDUMP_ENVOY").map_or_else(|| PathBuf::from("envoy"), PathBuf::from);
    if Command::new(&path).arg("--version").output().is_ok_and(|o| o.status.success()) {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have an Envoy: set MESHDUMP_ENVOY");
    eprintln!("skipped: no Envoy ({} does not run; set MESHDUMP_ENVOY)", path.display());
    None
}

#[test]
fn clusters_over_ads_are_acknowledged_and_cost_memory() {
    let Some(envoy) = envoy() else { return };
    let (version, _) = lab::version(&envoy).unwrap();
    assert_eq!(version.split('.').count(), 3);
    let idle = Workload::new("idle", 1).run(&envoy).unwrap();
    let mut workload = Workload::new("fifty", 1);
    for i in 0..50 {
        workload.clusters.push(eds_cluster(&service(i)));
        workload.endpoints.push(assignment(&service(i), i, 1));
    }
    let fed = workload.run(&envoy).unwrap();
    let dump = String::from_utf8(fed.config_dump).unwrap();
    assert!(dump.contains("dynamic_endpoint_configs"));
    assert!(dump.contains("service-0049.namespace-09"));
    let per_cluster = (fed.reading.allocated - idle.reading.allocated) / 50;
    assert!((20_000..120_000).contains(&per_cluster), "{per_cluster} bytes per cluster");
}
