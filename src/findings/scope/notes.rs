//! What the figures of a scope report rest on, in words.

use super::subjects::Subject;
use super::{AGENT, LISTED, Options};
use crate::model::size::size;
use crate::sim::scope::mesh::Mesh;

pub(super) fn notes(subjects: &[Subject<'_>], mesh: Option<&Mesh<'_>>, real: bool, o: &Options) -> Vec<String> {
    let mut out = Vec::new();
    if subjects.iter().any(|s| s.source == "export") {
        out.push(if real {
            "shapes of workloads without a dump are those of the largest sidecar dump given".to_owned()
        } else {
            "no dump of a sidecar: shapes, and Envoy's release where no image tells, are those of Istio 1.19 (Envoy 1.27); \
             one `config_dump` makes them yours"
                .to_owned()
        });
        if subjects.iter().any(|s| s.source == "export" && !s.settings.concurrency_known) {
            out.push("2 worker threads where nothing says how many (Istio's default)".to_owned());
        }
        if subjects.iter().any(|s| s.workload.is_some_and(|w| w.inferred)) {
            out.push("no pods in the export: who has a sidecar is inferred from injection labels".to_owned());
        }
        if subjects.iter().any(|s| s.source == "export" && s.workload.is_none()) {
            out.push(
                "no workloads in the export: one sidecar that sees every public service stands for all".to_owned(),
            );
        }
        let foreign: Vec<String> = subjects
            .iter()
            .filter(|s| s.source == "export" && s.workload.is_some_and(|w| !w.istio))
            .map(|s| format!("{}/{}", s.namespace, s.name))
            .collect();
        if !foreign.is_empty() {
            out.push(format!(
                "not of Istio, so only the idle process is counted without a dump: {}{}",
                foreign.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", "),
                if foreign.len() > LISTED { format!(" [{} others]", foreign.len() - LISTED) } else { String::new() }
            ));
        }
        if mesh.is_some_and(|m| m.services.is_empty()) {
            out.push("no services in the export: the proxies are priced with none, a lower bound".to_owned());
        }
    }
    for c in mesh.iter().flat_map(|m| &m.cluster.osm_mesh_configs) {
        let flag = |on: bool, name: &str| if on { format!(" {name}") } else { String::new() };
        out.push(format!(
            "what sidecars of Open Service Mesh hold is not worked out from objects; with the settings of {}/{}: \
             `meshdump generate osm --services {}{}{} --out DIR`",
            c.meta.namespace,
            c.meta.name,
            mesh.map_or(0, |m| m.services.len()),
            flag(c.permissive, "--permissive"),
            flag(c.wasm_stats, "--wasm")
        ));
    }
    if let Some(m) = mesh.filter(|m| m.unwatched > 0) {
        out.push(format!("{} services are in namespaces that the discovery selectors leave out", m.unwatched));
    }
    if o.agent == AGENT && subjects.iter().any(|s| s.workload.is_none_or(|w| w.agent)) {
        out.push(format!(
            "the agent beside each Envoy is an assumption, not measured: {} ({} to {}, istio#38000); `--agent` takes yours",
            size(AGENT.bytes),
            size(AGENT.low),
            size(AGENT.high)
        ));
    }
    let registry_only = mesh.and_then(|m| m.cluster.mesh_configs.first()).is_some_and(|c| c.registry_only);
    if o.changes() {
        out.push(if registry_only {
            "outbound traffic to what is out of scope is refused (REGISTRY_ONLY)".to_owned()
        } else {
            "outbound traffic to what is out of scope passes through without routing, mTLS or metrics (ALLOW_ANY)"
                .to_owned()
        });
    }
    out.push(
        "resident figures are anonymous memory at start-up state; CPU, latency and what requests add (buffers, \
         connections) no offline evidence tells"
            .to_owned(),
    );
    out
}
