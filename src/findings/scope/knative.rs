//! Knative revisions: which ones no route leads to, and what keeps them.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::model::envoy::Name;
use crate::model::kubernetes::RevisionGc;
use crate::sim::scope::mesh::{Mesh, Protocol};

/// Revisions of a cluster.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Knative {
    /// Knative Services.
    pub services: u64,
    /// Revisions, by Revision objects or by the labels of their Services.
    pub revisions: u64,
    /// Kubernetes Services per revision.
    pub services_per_revision: f64,
    /// Clusters that every sidecar gets per revision.
    pub clusters_per_revision: f64,
    /// Revisions that no route leads to.
    pub inactive: Vec<Inactive>,
    /// Whether the evidence tells which are inactive.
    pub inactive_known: bool,
    /// What keeps them, in words.
    pub gc: String,
}

/// A revision that no route leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Inactive {
    /// Namespace.
    pub namespace: Name,
    /// Revision.
    pub name: Name,
    /// Its Knative Service.
    pub service: Name,
}

/// `None` without any revision.
pub(super) fn report(mesh: &Mesh<'_>) -> Option<Knative> {
    let k = mesh.cluster;
    let mut by_label: BTreeSet<(Name, Name)> = BTreeSet::new();
    let (mut services, mut clusters) = (0_u64, 0_u64);
    for s in &mesh.services {
        if let Some(r) = &s.revision {
            by_label.insert((s.namespace.clone(), r.clone()));
            services += 1;
            let ports = s.ports.iter().filter(|p| p.protocol != Protocol::Udp).count() as u64;
            clusters += ports * (1 + mesh.subsets(s, &s.namespace).len() as u64);
        }
    }
    let objects: BTreeSet<(Name, Name)> =
        k.revisions.iter().map(|r| (r.meta.namespace.clone(), r.meta.name.clone())).collect();
    let all = by_label.union(&objects).count() as u64;
    if all == 0 {
        return None;
    }
    let mut routed: BTreeSet<(&Name, &Name)> = BTreeSet::new();
    for r in &k.knative_routes {
        routed.extend(r.revisions.iter().map(|x| (&r.meta.namespace, x)));
        if !r.latest.is_empty() {
            routed.insert((&r.meta.namespace, &r.latest));
        }
    }
    let inactive_known = !k.knative_routes.is_empty() || k.revisions.iter().any(|r| !r.routing_state.is_empty());
    let inactive = |r: &&crate::model::kubernetes::Revision| match &*r.routing_state {
        "active" => false,
        "reserve" => true,
        _ => !k.knative_routes.is_empty() && !routed.contains(&(&r.meta.namespace, &r.meta.name)),
    };
    let mut list: Vec<Inactive> = k
        .revisions
        .iter()
        .filter(inactive)
        .map(|r| Inactive {
            namespace: r.meta.namespace.clone(),
            name: r.meta.name.clone(),
            service: r.service.clone(),
        })
        .collect();
    list.sort();
    let n = by_label.len().max(1) as f64;
    Some(Knative {
        services: k.knative_routes.iter().filter(|r| r.service).count() as u64,
        revisions: all,
        services_per_revision: services as f64 / n,
        clusters_per_revision: clusters as f64 / n,
        inactive: list,
        inactive_known,
        gc: gc(k.revision_gc.as_ref()),
    })
}

/// The settings that hold, with Knative's defaults (Knative 1.11, `config/core/configmaps/gc.yaml`).
fn gc(gc: Option<&RevisionGc>) -> String {
    let none = RevisionGc::default();
    let set = gc.unwrap_or(&none);
    let of = |value: &Option<Name>, default: &str| match value {
        Some(v) => v.to_string(),
        None => format!("{default} (default)"),
    };
    format!(
        "an inactive revision goes {} after its creation and {} after it was last active, but {} per service are kept \
         and never more than {}",
        of(&set.retain_since_create, "48h"),
        of(&set.retain_since_last_active, "15h"),
        of(&set.min_non_active, "20"),
        of(&set.max_non_active, "1000"),
    )
}
