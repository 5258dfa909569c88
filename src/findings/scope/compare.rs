//! Istio's rules, applied to the export, against a real dump of the same workload.

use std::collections::BTreeSet;

use super::LISTED;
use super::subjects::{Subject, view_of};
use super::value::Difference;
use crate::model::envoy::{Name, State};
use crate::model::kubernetes::ProxyRole;
use crate::sim::scope::dress::outbound_parts;
use crate::sim::scope::mesh::Mesh;

/// The rules' expectation against a real dump; `None` without both.
pub(super) fn compare(s: &Subject<'_>, mesh: Option<&Mesh<'_>>) -> Option<Vec<Difference>> {
    let (dump, mesh, w) = (s.dump?, mesh?, s.workload?);
    if mesh.services.is_empty() {
        return None;
    }
    let v = view_of(mesh, w, s.role);
    let outbound = |n: &&Name| outbound_parts(n).is_some();
    let clusters: BTreeSet<String> =
        dump.clusters.iter().map(|c| &c.meta.name).filter(outbound).map(|n| n.to_string()).collect();
    let expected: BTreeSet<String> = v.clusters.iter().map(|c| c.name.clone()).collect();
    let mut all = vec![("cluster", clusters, expected)];
    if s.role == ProxyRole::Sidecar {
        let listeners = dump
            .listeners
            .iter()
            .filter(|l| !l.bound && !l.meta.name.is_empty() && !l.meta.name.starts_with("virtual"))
            .map(|l| l.meta.name.to_string());
        let tables: Vec<_> = dump.route_tables.iter().filter(|t| t.meta.state != State::Static).collect();
        let hosts = tables.iter().flat_map(|t| {
            t.virtual_hosts
                .iter()
                .filter(|h| h.clusters.iter().any(|c| outbound_parts(c).is_some()))
                .map(|h| format!("{} in {}", h.name, t.meta.name))
        });
        let expected_hosts =
            v.tables.iter().flat_map(|(t, view)| view.hosts.iter().map(move |h| format!("{} in {t}", h.name)));
        // a pod has no listener for its own address
        let own = format!("{}_", dump.node.id.split('~').nth(1).unwrap_or(""));
        let expected = v.listeners.keys().filter(|l| own == "_" || !l.starts_with(&own)).cloned();
        all.push(("listener", listeners.collect(), expected.collect()));
        all.push((
            "route_config",
            tables.iter().map(|t| t.meta.name.to_string()).collect(),
            v.tables.keys().cloned().collect(),
        ));
        all.push(("virtual_host", hosts.collect(), expected_hosts.collect()));
    }
    let some = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).take(LISTED).cloned().collect::<Vec<_>>();
    let differences = all.into_iter().filter(|(_, a, b)| a != b).map(|(kind, dump, expected)| {
        let (only_dump, only_expected) = (some(&dump, &expected), some(&expected, &dump));
        Difference {
            why: why(&only_dump, &only_expected, mesh),
            kind,
            dump: dump.len() as u64,
            expected: expected.len() as u64,
            only_dump,
            only_expected,
        }
    });
    Some(differences.collect())
}

/// Why names stand on one side only, as far as the evidence tells.
fn why(only_dump: &[String], only_expected: &[String], mesh: &Mesh<'_>) -> String {
    let mut reasons = Vec::new();
    let host_of = |n: &str| outbound_parts(n).map(|(_, _, h)| h.to_owned());
    if only_dump.iter().filter_map(|n| host_of(n)).any(|h| mesh.host(&h).is_none()) {
        reasons.push("the export has no service of that host: it was deleted since, or is not in the export");
    }
    if only_expected.iter().filter_map(|n| host_of(n)).any(|h| mesh.host(&h).is_some()) {
        reasons.push("the service is newer than the dump, or something hides it (an EnvoyFilter, another revision)");
    }
    reasons.join("; ")
}
