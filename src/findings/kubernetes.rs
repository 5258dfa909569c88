//! What an export of a cluster holds, in figures.

use serde::Serialize;

use crate::model::kubernetes::{Kubernetes, ProxyRole};
use crate::sim::scope::workloads::{self, workloads};

/// The `kubernetes` section of a report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct KubernetesReport {
    /// Services.
    pub services: u64,
    /// Their ports.
    pub service_ports: u64,
    /// Pods, the ones that ended too.
    pub pods: u64,
    /// Workloads: controllers at the top, and pods of their own.
    pub workloads: u64,
    /// Namespaces: objects, or names that other objects mention where there are none.
    pub namespaces: u64,
    /// Ready addresses behind Services.
    pub endpoints: u64,
    /// EndpointSlices, or Endpoints where there are none.
    pub endpoint_sets: u64,
    /// Pods with an Envoy beside the application.
    pub sidecar_pods: u64,
    /// Pods that are gateways or waypoints.
    pub gateway_pods: u64,
    /// Istio's Sidecar objects.
    pub sidecars: u64,
    /// VirtualServices.
    pub virtual_services: u64,
    /// DestinationRules.
    pub destination_rules: u64,
    /// ServiceEntries.
    pub service_entries: u64,
    /// Gateways, Istio's and the Gateway API's.
    pub gateways: u64,
    /// HTTPRoutes.
    pub http_routes: u64,
    /// Contour's HTTPProxies.
    pub http_proxies: u64,
    /// Knative Services.
    pub knative_services: u64,
    /// Knative Revisions.
    pub knative_revisions: u64,
    /// SMI TrafficTargets.
    pub traffic_targets: u64,
    /// SMI HTTPRouteGroups.
    pub http_route_groups: u64,
    /// Events of a watch.
    pub watch_events: u64,
    /// Objects were lost while reading: figures are lower bounds.
    pub incomplete: bool,
    /// Objects by kind, with the API group where it is not Kubernetes' own; read or merely counted.
    pub kinds: Vec<KindCount>,
    /// What the evidence lacks for questions about scope, and the command that fetches it.
    pub missing: Vec<Missing>,
}

/// Objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct KindCount {
    /// Kind.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// Something the evidence lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Missing {
    /// What.
    pub what: &'static str,
    /// What fetches it.
    pub command: &'static str,
}

fn n(len: usize) -> u64 {
    len as u64
}

/// Counts what `k` holds.
pub fn report(k: &Kubernetes) -> KubernetesReport {
    let role = |wanted: &[ProxyRole]| {
        n(k.pods.iter().filter(|p| p.proxy.as_ref().is_some_and(|x| wanted.contains(&x.role))).count())
    };
    let slices = k.endpoints.iter().any(|e| e.slice);
    let sets = k.endpoints.iter().filter(|e| e.slice == slices);
    let mut objects: Vec<(&str, &str)> = sets.clone().map(|e| (&*e.meta.namespace, &*e.meta.name)).collect();
    objects.dedup();
    let mut namespaces: Vec<&str> = k.namespaces.iter().map(|m| &*m.name).collect();
    if namespaces.is_empty() {
        namespaces.extend(k.services.iter().map(|s| &*s.meta.namespace));
        namespaces.extend(k.pods.iter().map(|p| &*p.meta.namespace));
        namespaces.retain(|name| !name.is_empty());
        namespaces.sort_unstable();
        namespaces.dedup();
    }
    KubernetesReport {
        services: n(k.services.len()),
        service_ports: k.services.iter().map(|s| n(s.ports.len())).sum(),
        pods: n(k.pods.len()),
        workloads: n(workloads(k).len()),
        namespaces: n(namespaces.len()),
        endpoints: sets.map(|e| n(e.ready.len())).sum(),
        endpoint_sets: n(objects.len()),
        sidecar_pods: role(&[ProxyRole::Sidecar]),
        gateway_pods: role(&[ProxyRole::Gateway, ProxyRole::Waypoint]),
        sidecars: n(k.sidecars.len()),
        virtual_services: n(k.virtual_services.len()),
        destination_rules: n(k.destination_rules.len()),
        service_entries: n(k.service_entries.len()),
        gateways: n(k.gateways.len()),
        http_routes: n(k.http_routes.len()),
        http_proxies: n(k.http_proxies.len()),
        knative_services: n(k.knative_routes.iter().filter(|r| r.service).count()),
        knative_revisions: n(k.revisions.len()),
        traffic_targets: n(k.traffic_targets.len()),
        http_route_groups: n(k.http_route_groups.len()),
        watch_events: k.watch_events,
        incomplete: k.incomplete,
        kinds: k.kinds.iter().map(|(kind, count)| KindCount { kind: kind.to_string(), count: *count }).collect(),
        missing: missing(k),
    }
}

/// What is needed to say what proxies see, and is not there.
pub fn missing(k: &Kubernetes) -> Vec<Missing> {
    let mut out = Vec::new();
    let mut lacks = |absent: bool, what, command| {
        if absent {
            out.push(Missing { what, command });
        }
    };
    lacks(k.services.is_empty(), "Services", "kubectl get services -A -o json");
    lacks(
        k.pods.is_empty() && k.workloads.is_empty(),
        "Pods (who runs a sidecar, limits, replicas)",
        "kubectl get pods -A -o json",
    );
    lacks(k.endpoints.is_empty(), "EndpointSlices (endpoints per cluster)", "kubectl get endpointslices -A -o json");
    lacks(
        k.namespaces.is_empty() && k.mesh_configs.iter().any(|m| !m.discovery_selectors.is_empty()),
        "Namespaces (the mesh has discovery selectors)",
        "kubectl get namespaces -o json",
    );
    out
}

/// Whose memory limit holds for the proxy with `node_id`: bytes, and the words that say whose it is.
pub fn limit(k: &Kubernetes, node_id: &str) -> Option<(u64, String)> {
    let pod = workloads::pod_of(k, node_id)?;
    let proxy = pod.proxy.as_ref()?;
    let place = format!("pod {}/{}", pod.meta.namespace, pod.meta.name);
    match (proxy.limit_bytes, pod.limit_bytes) {
        (Some(bytes), _) if proxy.agent => {
            Some((bytes, format!("container {} of {place}; the agent in it shares the limit", proxy.name)))
        }
        (Some(bytes), _) => Some((bytes, format!("container {} of {place}", proxy.name))),
        (None, Some(bytes)) => Some((bytes, format!("all containers of {place} together"))),
        (None, None) => None,
    }
}
