//! What the proxies of a mesh cost together.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Options, WorkloadRow};
use crate::cost::Estimate;
use crate::findings::bpf;
use crate::model::bpf::BpfListing;
use crate::model::kubernetes::Kubernetes;

/// What the proxies of a mesh cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Bill {
    /// Sidecars.
    pub sidecars: Fleet,
    /// Gateways and waypoints.
    pub gateways: Fleet,
    /// BPF maps, when a node's were listed.
    pub bpf: Option<BpfBill>,
    /// Memory of the applications without the mesh, when given.
    pub app_bytes: Option<u64>,
    /// What the sidecars add to it, in percent: it depends on the application, so it is no property of a mesh.
    pub adds_percent: Option<f64>,
}

/// BPF maps of the nodes: one was listed, the others are taken to be like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BpfBill {
    /// Nodes that the pods run on; 1 when the export does not tell.
    pub nodes: u64,
    /// Kernel memory of the maps of the node that was listed.
    pub each_bytes: u64,
    /// Of all nodes.
    pub total_bytes: u64,
}

/// What the maps of a node come to on all of them.
fn bpf_bill(maps: &[BpfListing], cluster: Option<&Kubernetes>) -> Option<BpfBill> {
    if maps.is_empty() {
        return None;
    }
    let each_bytes = bpf::report(maps, bpf::Options::default()).totals.real;
    let pods = cluster.into_iter().flat_map(|k| &k.pods).filter(|p| !p.node.is_empty());
    let nodes = pods.map(|p| &p.node).collect::<BTreeSet<_>>().len().max(1) as u64;
    Some(BpfBill { nodes, each_bytes, total_bytes: each_bytes * nodes })
}

/// Proxies of one role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fleet {
    /// Proxies.
    pub proxies: u64,
    /// Resident memory of all Envoys, at start-up state.
    pub envoy: Estimate,
    /// Of all agents.
    pub agent: Estimate,
    /// Both.
    pub total: Estimate,
    /// Both, per proxy.
    pub each: Estimate,
    /// What the scope that was tried takes off.
    pub saved_bytes: u64,
}

/// The bill of all workloads, and of the nodes.
pub(super) fn bill(rows: &[WorkloadRow], maps: &[BpfListing], cluster: Option<&Kubernetes>, o: &Options) -> Bill {
    let fleet = |wanted: &dyn Fn(&WorkloadRow) -> bool| {
        let mut f = Fleet::default();
        for r in rows.iter().filter(|r| wanted(r)) {
            let n = u64::from(r.replicas);
            let times = |e: Estimate| Estimate {
                bytes: e.bytes.saturating_mul(n),
                low: e.low.saturating_mul(n),
                high: e.high.saturating_mul(n),
            };
            f.proxies += n;
            f.envoy += times(r.before.resident);
            if r.agent {
                f.agent += times(o.agent);
            }
            f.saved_bytes = f.saved_bytes.saturating_add(r.saved_total_bytes);
        }
        f.total = f.envoy + f.agent;
        let each = |b: u64| b.checked_div(f.proxies).unwrap_or(0);
        f.each = Estimate { bytes: each(f.total.bytes), low: each(f.total.low), high: each(f.total.high) };
        f
    };
    let sidecars = fleet(&|r| r.role == "sidecar");
    let percent = |app: u64| (sidecars.total.bytes as f64 * 1000.0 / app.max(1) as f64).round() / 10.0;
    Bill {
        adds_percent: o.app_bytes.map(percent),
        app_bytes: o.app_bytes,
        bpf: bpf_bill(maps, cluster),
        sidecars,
        gateways: fleet(&|r| r.role != "sidecar"),
    }
}
