//! Who runs a proxy: workloads with their replicas, from pods where they are known, else from their controllers.

use std::collections::BTreeMap;

use crate::model::envoy::Name;
use crate::model::kubernetes::{Kubernetes, Labels, Meta, Pod, ProxyRole, label};

/// A workload: the controller at the top, or a pod of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload<'a> {
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job` …; `Pod` for one without a controller.
    pub kind: Name,
    /// Labels of its pods.
    pub labels: &'a Labels,
    /// Pods that run, or are wanted where no pod is known.
    pub replicas: u32,
    /// Its pods, as far as the evidence has them.
    pub pods: Vec<&'a Pod>,
    /// What its Envoy is for; `None` without one.
    pub role: Option<ProxyRole>,
    /// The proxy is inferred from injection labels, no pod shows it.
    pub inferred: bool,
    /// Memory limit of the proxy's container.
    pub limit_bytes: Option<u64>,
    /// Worker threads, where they are configured.
    pub concurrency: Option<u32>,
    /// Its Envoy is Istio's, so istiod decides what it holds.
    pub istio: bool,
    /// An agent runs beside its Envoy.
    pub agent: bool,
}

/// Whether a pod runs, as far as its phase tells.
fn lives(pod: &Pod) -> bool {
    !matches!(&*pod.phase, "Succeeded" | "Failed")
}

/// The controller at the top of a pod: a ReplicaSet named after its template's hash belongs to a Deployment, a Job
/// named after a time to a CronJob (left as it is).
fn top(pod: &Pod, sets: &BTreeMap<(Name, Name), &Meta>) -> (Name, Name) {
    let Some((kind, name)) = &pod.meta.owner else { return ("Pod".into(), pod.meta.name.clone()) };
    if &**kind == "ReplicaSet" {
        if let Some(owner) = sets.get(&(pod.meta.namespace.clone(), name.clone())).and_then(|m| m.owner.as_ref()) {
            return owner.clone();
        }
        if let Some(deployment) = label(&pod.meta.labels, "pod-template-hash")
            .and_then(|hash| name.strip_suffix(&**hash))
            .and_then(|n| n.strip_suffix('-'))
        {
            return ("Deployment".into(), deployment.into());
        }
    }
    (kind.clone(), name.clone())
}

/// All workloads, by namespace and name.
pub fn workloads(k: &Kubernetes) -> Vec<Workload<'_>> {
    let sets: BTreeMap<(Name, Name), &Meta> = k
        .workloads
        .iter()
        .filter(|w| &*w.kind == "ReplicaSet")
        .map(|w| ((w.meta.namespace.clone(), w.meta.name.clone()), &w.meta))
        .collect();
    let mut out: BTreeMap<(Name, Name, Name), Workload<'_>> = BTreeMap::new();
    for pod in k.pods.iter().filter(|p| lives(p)) {
        let (kind, name) = top(pod, &sets);
        let key = (pod.meta.namespace.clone(), name.clone(), kind.clone());
        let w = out.entry(key).or_insert_with(|| Workload {
            namespace: pod.meta.namespace.clone(),
            name,
            kind,
            labels: &pod.meta.labels,
            replicas: 0,
            pods: Vec::new(),
            role: None,
            inferred: false,
            limit_bytes: None,
            concurrency: None,
            istio: false,
            agent: false,
        });
        w.replicas += 1;
        w.pods.push(pod);
        if let Some(proxy) = &pod.proxy {
            w.role = w.role.or(Some(proxy.role));
            w.limit_bytes = w.limit_bytes.or(proxy.limit_bytes).or(pod.limit_bytes);
            w.concurrency = w.concurrency.or(proxy.concurrency);
            w.istio |= &*proxy.name == "istio-proxy";
            w.agent |= proxy.agent;
        }
    }
    let have_pods = !k.pods.is_empty();
    for w in k.workloads.iter().filter(|w| !(&*w.kind == "ReplicaSet" && w.meta.owner.is_some())) {
        let key = (w.meta.namespace.clone(), w.meta.name.clone(), w.kind.clone());
        let injected = !have_pods && injects(k, w);
        out.entry(key).or_insert_with(|| Workload {
            namespace: w.meta.namespace.clone(),
            name: w.meta.name.clone(),
            kind: w.kind.clone(),
            labels: &w.pod_labels,
            replicas: if have_pods { 0 } else { w.replicas },
            pods: Vec::new(),
            role: injected.then_some(ProxyRole::Sidecar),
            inferred: injected,
            limit_bytes: None,
            concurrency: None,
            istio: injected,
            agent: injected,
        });
    }
    // an old ReplicaSet without pods is no workload
    out.into_values().filter(|w| &*w.kind != "ReplicaSet" || w.replicas > 0).collect()
}

/// Istio's injection rule: the pod's own word first, then its namespace's labels (Istio 1.20,
/// `pkg/kube/inject/inject.go`).
fn injects(k: &Kubernetes, w: &crate::model::kubernetes::Workload) -> bool {
    let of_pod = w.inject.or_else(|| label(&w.pod_labels, "istio.io/rev").map(|_| true));
    let namespace = k.namespaces.iter().find(|n| n.name == w.meta.namespace);
    let of_namespace = namespace.is_some_and(|n| {
        label(&n.labels, "istio-injection").is_some_and(|v| &**v == "enabled")
            || (label(&n.labels, "istio.io/rev").is_some() && label(&n.labels, "istio-injection").is_none())
    });
    of_pod.unwrap_or(of_namespace)
}

/// Names of the pod of a proxy and its namespace, in the node id that Istio gives it:
/// `sidecar~10.0.0.1~pod.namespace~domain`.
pub fn pod_and_namespace(node_id: &str) -> Option<(&str, &str)> {
    node_id.split('~').nth(2)?.rsplit_once('.').filter(|(_, namespace)| !namespace.is_empty())
}

/// The pod of a proxy, by its node id.
pub fn pod_of<'a>(k: &'a Kubernetes, node_id: &str) -> Option<&'a Pod> {
    let (name, namespace) = pod_and_namespace(node_id)?;
    k.pods.iter().find(|p| &*p.meta.name == name && &*p.meta.namespace == namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kubernetes::ProxyContainer;

    fn pod(name: &str, hash: &str) -> Pod {
        let owner: Name = format!("web-{hash}").into();
        Pod {
            meta: Meta {
                namespace: "shop".into(),
                name: name.into(),
                labels: vec![("pod-template-hash".into(), hash.into())],
                owner: Some(("ReplicaSet".into(), owner)),
                ..Meta::default()
            },
            phase: "Running".into(),
            proxy: Some(ProxyContainer {
                name: "istio-proxy".into(),
                image: "proxyv2".into(),
                role: ProxyRole::Sidecar,
                agent: true,
                limit_bytes: Some(1 << 30),
                cpu_limit_millis: None,
                concurrency: None,
            }),
            ..Pod::default()
        }
    }

    #[test]
    fn pods_of_one_deployment() {
        let k = Kubernetes { pods: vec![pod("web-abc-1", "abc"), pod("web-abc-2", "abc")], ..Kubernetes::default() };
        let all = workloads(&k);
        assert_eq!(all.len(), 1);
        assert_eq!((&*all[0].kind, &*all[0].name, all[0].replicas), ("Deployment", "web", 2));
        assert_eq!(all[0].limit_bytes, Some(1 << 30));
        assert!(pod_of(&k, "sidecar~10.0.0.1~web-abc-2.shop~shop.svc.cluster.local").is_some());
        assert!(pod_of(&k, "router~10.0.0.1~web-abc-2.other~x").is_none());
    }
}
