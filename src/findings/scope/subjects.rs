//! The proxies of a report: from dumps, from workloads of an export, or one that stands for all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Evidence, Options};
use crate::cost::envoy::{Settings, Version};
use crate::model::envoy::{Name, Node, Proxy};
use crate::model::kubernetes::{Kubernetes, ProxyRole, Sidecar};
use crate::sim::scope::dress::Template;
use crate::sim::scope::mesh::Mesh;
use crate::sim::scope::view::{View, add_routed_hosts, add_sni_clusters, inbound, view};
use crate::sim::scope::workloads::{Workload, pod_and_namespace, pod_of};

/// A sidecar of nobody: services are known, workloads are not.
const ANY: &str = "any sidecar";

/// A proxy of a workload, as it is.
pub(super) struct Subject<'a> {
    pub(super) namespace: Name,
    pub(super) name: Name,
    pub(super) role: ProxyRole,
    pub(super) replicas: u32,
    pub(super) source: &'static str,
    pub(super) settings: Settings,
    pub(super) workload: Option<&'a Workload<'a>>,
    pub(super) dump: Option<&'a Proxy>,
    pub(super) limit_bytes: Option<u64>,
}

impl<'a> Subject<'a> {
    /// `namespace/name`.
    pub(super) fn label(&self) -> String {
        if self.namespace.is_empty() { self.name.to_string() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// What its Envoy holds: its dump, else what the rules give in the shapes of the template.
    pub(super) fn proxy(&self, mesh: Option<&Mesh<'a>>, template: &Template) -> Cow<'a, Proxy> {
        match (self.dump, mesh) {
            (Some(p), _) => Cow::Borrowed(p),
            (None, Some(mesh)) => Cow::Owned(template.dress(&self.view(mesh))),
            (None, None) => unreachable!("only an export has workloads without a dump"),
        }
    }

    /// What it is sent by the rules.
    pub(super) fn view(&self, mesh: &Mesh<'_>) -> View {
        match self.workload {
            // other control planes have other rules: without a dump only the idle process is known
            Some(w) if !w.istio => View { gateway: true, ..View::default() },
            Some(w) => view_of(mesh, w, self.role),
            None => view(mesh, "", &mesh.seen("", &[]), self.role),
        }
    }

    /// The Sidecar that applies to it.
    pub(super) fn sidecar<'m>(&self, mesh: Option<&Mesh<'m>>) -> Option<&'m Sidecar> {
        let none = Vec::new();
        let labels = self.workload.map_or(&none, |w| w.labels);
        mesh.filter(|_| self.role == ProxyRole::Sidecar)?.sidecar_of(&self.namespace, labels)
    }

    /// Two subjects with the same key hold the same and lose the same.
    pub(super) fn key(&self, mesh: Option<&Mesh<'_>>, after: Option<&Mesh<'_>>) -> Option<Key<'a>> {
        if self.dump.is_some() {
            return None;
        }
        let place = |s: Option<&Sidecar>| s.map(|s| std::ptr::from_ref(s) as usize);
        let inbound = self.workload.zip(mesh).filter(|(w, _)| w.istio && self.role == ProxyRole::Sidecar);
        Some(Key {
            namespace: self.namespace.clone(),
            role: self.role,
            istio: self.workload.is_none_or(|w| w.istio),
            sidecars: [place(self.sidecar(mesh)), place(self.sidecar(after))],
            inbound: inbound.map(|(w, m)| inbound_of(m, w)).unwrap_or_default(),
            labels: self.workload.filter(|_| self.role != ProxyRole::Sidecar).map(|w| w.labels),
            version: self.settings.version,
            concurrency: self.settings.concurrency,
        })
    }
}

/// Everything that decides what a proxy without a dump holds and loses.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    namespace: Name,
    role: ProxyRole,
    istio: bool,
    sidecars: [Option<usize>; 2],
    inbound: BTreeMap<u16, bool>,
    labels: Option<&'a crate::model::kubernetes::Labels>,
    version: Option<Version>,
    concurrency: u32,
}

fn inbound_of(mesh: &Mesh<'_>, w: &Workload<'_>) -> BTreeMap<u16, bool> {
    inbound(mesh, &w.namespace, w.labels)
}

/// What a workload is sent by the rules.
pub(super) fn view_of(mesh: &Mesh<'_>, w: &Workload<'_>, role: ProxyRole) -> View {
    let egress = match role {
        ProxyRole::Sidecar => mesh.sidecar_of(&w.namespace, w.labels).map(|s| s.egress.as_slice()).unwrap_or(&[]),
        _ => &[],
    };
    let seen = mesh.seen(&w.namespace, egress);
    let mut v = view(mesh, &w.namespace, &seen, role);
    if role == ProxyRole::Sidecar {
        v.inbound = inbound_of(mesh, w);
        add_routed_hosts(&mut v, mesh, &w.namespace, egress, &seen);
    } else if mesh.passes_by_sni(w.labels) {
        add_sni_clusters(&mut v);
    }
    v
}

/// The namespace of a workload, as the metadata of its node say it, else the node id; empty when neither does.
pub(super) fn namespace(node: &Node) -> Name {
    let of_id = || pod_and_namespace(&node.id).map(|(_, namespace)| namespace.into());
    Some(node.namespace.clone()).filter(|n| !n.is_empty()).or_else(of_id).unwrap_or_default()
}

/// The role of a proxy.
pub(super) fn role_of(p: &Proxy) -> ProxyRole {
    role(&p.node.id)
}

/// The role that a node id tells (`sidecar~…`, `router~…`).
pub(super) fn role(node_id: &str) -> ProxyRole {
    match node_id.split('~').next() {
        Some("router") => ProxyRole::Gateway,
        Some("waypoint") => ProxyRole::Waypoint,
        _ => ProxyRole::Sidecar,
    }
}

/// Envoy's release for an Istio image: Istio 1.N carries Envoy 1.(N+8) (Istio's supported releases page).
fn envoy_of_image(image: &str) -> Option<Version> {
    let tag = image.split('@').next()?.rsplit_once(':')?.1;
    if !image.contains("proxyv2") {
        return Version::parse(tag.trim_start_matches('v'));
    }
    let istio = Version::parse(tag)?;
    Some(Version { minor: istio.minor + 8, ..istio })
}

/// The dumps, of one proxy over time the newest only.
fn newest(all: &[(Proxy, Vec<u32>)]) -> Vec<&Proxy> {
    let mut out: Vec<&Proxy> = Vec::new();
    let mut place: BTreeMap<&Name, usize> = BTreeMap::new();
    for (p, _) in all {
        match place.get(&p.node.id) {
            Some(&i) if !p.node.id.is_empty() => {
                if updated(p) >= updated(out[i]) {
                    out[i] = p;
                }
            }
            _ => {
                place.insert(&p.node.id, out.len());
                out.push(p);
            }
        }
    }
    out
}

/// When the newest cluster of a dump came, in the unit of its timestamps.
pub(super) fn updated(p: &Proxy) -> Option<i64> {
    p.clusters.iter().filter_map(|c| c.meta.last_updated).map(|t| t.0).max()
}

/// All proxies, those with a dump first.
pub(super) fn subjects<'a>(
    evidence: &Evidence<'a>,
    cluster: Option<&'a Kubernetes>,
    mesh: Option<&Mesh<'a>>,
    all: &'a [Workload<'a>],
    real: Option<&Proxy>,
    options: &Options,
) -> Vec<Subject<'a>> {
    let mut out: Vec<Subject<'a>> = Vec::new();
    let mut taken: BTreeMap<(Name, Name), usize> = BTreeMap::new();
    for proxy in newest(evidence.proxies) {
        let pod = cluster.and_then(|k| pod_of(k, &proxy.node.id));
        let workload = pod.and_then(|p| {
            all.iter()
                .find(|w| w.pods.iter().any(|x| x.meta.name == p.meta.name && x.meta.namespace == p.meta.namespace))
        });
        let namespace = workload.map_or_else(|| namespace(&proxy.node), |w| w.namespace.clone());
        let name = match workload {
            Some(w) => w.name.clone(),
            None if !proxy.node.workload.is_empty() => proxy.node.workload.clone(),
            None => proxy.label.as_str().into(),
        };
        let mut settings = Settings::of(proxy);
        if !settings.concurrency_known
            && let Some(n) = options.concurrency.or(workload.and_then(|w| w.concurrency))
        {
            (settings.concurrency, settings.concurrency_known) = (n, true);
        }
        settings.version = settings.version.or(options.version);
        match taken.get(&(namespace.clone(), name.clone())) {
            // further replicas with a dump of their own: the first stands for them
            Some(i) if workload.is_none() => out[*i].replicas += 1,
            Some(_) => {}
            None => {
                taken.insert((namespace.clone(), name.clone()), out.len());
                out.push(Subject {
                    namespace,
                    name,
                    role: workload.and_then(|w| w.role).unwrap_or_else(|| role_of(proxy)),
                    replicas: workload.map_or(1, |w| w.replicas.max(1)),
                    source: "dump",
                    settings,
                    workload,
                    dump: Some(proxy),
                    limit_bytes: options.limit_bytes.or(workload.and_then(|w| w.limit_bytes)),
                });
            }
        }
    }
    let Some(mesh) = mesh else { return out };
    let known = real.map(Settings::of);
    // the shapes' own release where nothing else tells
    let shapes = Settings::of(real.unwrap_or(evidence.template)).version;
    for w in all {
        let Some(role) = w.role else { continue };
        if taken.contains_key(&(w.namespace.clone(), w.name.clone())) {
            continue;
        }
        let image = w.pods.iter().find_map(|p| p.proxy.as_ref()).and_then(|p| envoy_of_image(&p.image));
        let concurrency = options.concurrency.or(w.concurrency).or(known.map(|k| k.concurrency));
        out.push(Subject {
            namespace: w.namespace.clone(),
            name: w.name.clone(),
            role,
            replicas: w.replicas,
            source: "export",
            settings: Settings {
                version: options.version.or(image).or(shapes),
                concurrency: concurrency.unwrap_or(2),
                concurrency_known: concurrency.is_some(),
            },
            workload: Some(w),
            dump: None,
            limit_bytes: options.limit_bytes.or(w.limit_bytes),
        });
    }
    if out.is_empty() && all.is_empty() && !mesh.services.is_empty() {
        // services alone: what any sidecar of the mesh would be sent
        out.push(Subject {
            namespace: "".into(),
            name: ANY.into(),
            role: ProxyRole::Sidecar,
            replicas: 1,
            source: "export",
            settings: Settings {
                version: options.version.or(shapes),
                concurrency: options.concurrency.unwrap_or(2),
                concurrency_known: options.concurrency.is_some(),
            },
            workload: None,
            dump: None,
            limit_bytes: options.limit_bytes,
        });
    }
    out
}
