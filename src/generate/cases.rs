//! Meshes and gateways that grow: sidecars of OSM, Istio and Knative, a gateway, Kmesh's trace of services. Envoy's side
//! is built by the same functions whose prices the lab validates (`lab::mixes`).

use std::io;

use serde_json::{Value, json};

use super::write::{Output, Proxy, State, config_dump, seconds, server_info};
use super::{Dice, Folder, istio, kubernetes_list, watch_line};
use crate::lab::{Workload, mixes};
use crate::model::stream::XdsType;

/// Seconds on the clock of a recording, in microseconds.
const S: i64 = 1_000_000;

/// Something that grows to `count` in `steps` steps of `every_s` seconds, and is then pushed again `repeats` times.
struct Growth {
    count: u32,
    steps: u32,
    every_s: i64,
    repeats: u32,
}

impl Growth {
    /// Time and size of each push.
    fn pushes(&self) -> Vec<(i64, u32)> {
        let steps = self.steps.clamp(1, self.count.max(1));
        let size = |k: u32| (u64::from(self.count) * u64::from(k) / u64::from(steps)) as u32;
        let sizes = (1..=steps).map(size).chain((0..self.repeats).map(|_| self.count));
        sizes.enumerate().map(|(k, n)| ((k as i64 + 1) * self.every_s * S, n)).collect()
    }
}

fn state(w: Workload) -> State {
    State { clusters: w.clusters, endpoints: w.endpoints, listeners: w.listeners, routes: w.routes, secrets: w.secrets }
}

/// Writes the recording of a growth, and the dump of its end.
fn envoy_side(
    folder: &mut dyn Folder,
    proxy: &Proxy,
    growth: &Growth,
    build: &dyn Fn(u32, u64) -> State,
) -> io::Result<()> {
    let pushes = growth.pushes();
    let mut last = State::default();
    folder.file("recording.jsonl.gz", &mut |out| {
        let mut recording = Output::new(out);
        let mut held = State::default();
        for (n, (t, count)) in pushes.iter().enumerate() {
            let now = build(*count, n as u64);
            let version = (n + 1).to_string();
            for kind in State::TYPES {
                // what is asked for by name is sent when there is something; secrets come from elsewhere, once
                let wildcard = matches!(kind, XdsType::Cluster | XdsType::Listener);
                let unchanged = kind == XdsType::Secret && now.of(kind) == held.of(kind);
                if (!wildcard && now.of(kind).is_empty()) || unchanged {
                    continue;
                }
                if proxy.delta {
                    recording.delta(*t, kind, &version, held.of(kind), now.of(kind))?;
                } else {
                    recording.sotw_values(*t, kind, &version, now.of(kind))?;
                }
            }
            held = now;
        }
        last = held;
        Ok(())
    })?;
    server_info(folder, proxy)?;
    config_dump(folder, proxy, &last, pushes.last().map_or(0, |p| p.0))
}

/// `osm`: the sidecar of a mesh of N services (seed: permissive mode and WASM stats, OSM v1.2.3).
#[derive(Debug, Clone)]
pub struct Osm {
    /// Services of one HTTP port each.
    pub services: u32,
    /// `enableWASMStats`.
    pub wasm: bool,
    /// `enablePermissiveTrafficPolicyMode`.
    pub permissive: bool,
    /// Headers in the order of a Go map, another one in every push.
    pub unsorted: bool,
    /// Worker threads.
    pub workers: u32,
    /// Length of the Wasm module in bytes.
    pub module_bytes: u32,
}

impl Osm {
    /// Generates the case: services appear in six steps of ten seconds, then three pushes change nothing.
    ///
    /// # Errors
    /// Those of the files.
    pub fn generate(&self, folder: &mut dyn Folder) -> io::Result<()> {
        let proxy = Proxy {
            node: "client.default.sidecar".into(),
            cluster: "client.default".into(),
            workers: self.workers,
            drain_s: 600,
            immediate: false,
            delta: false,
            bootstrap: json!({}),
        };
        let growth = Growth { count: self.services, steps: 6, every_s: 10, repeats: 3 };
        let module = self.wasm.then_some(self.module_bytes as usize);
        envoy_side(folder, &proxy, &growth, &|n, push| {
            let mut state = state(mixes::osm("osm", n as usize, self.workers, self.permissive, module));
            if self.unsorted {
                let mut dice = Dice::new(push);
                state.listeners.iter_mut().for_each(|l| shuffle_headers(l, &mut dice));
            }
            state
        })?;
        let mut objects = vec![json!({"apiVersion": "config.openservicemesh.io/v1alpha2", "kind": "MeshConfig",
            "metadata": {"name": "osm-mesh-config", "namespace": "osm-system"},
            "spec": {"featureFlags": {"enableWASMStats": self.wasm}, "traffic": {"enablePermissiveTrafficPolicyMode": self.permissive},
                "sidecar": {"envoyImage": "envoyproxy/envoy-distroless:v1.22.2"}}})];
        for i in 0..self.services {
            let name = format!("service-{i:02}");
            objects.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}));
            objects.push(service(&name, 80, &name));
            let ip = format!("10.244.{}.{}", i / 250, i % 250 + 1);
            let mut all = workload("default", &name, &name, &ip, &["app", "envoy"]);
            for pod in all.iter_mut().filter(|o| o["kind"] == "Pod") {
                // what OSM's injector marks its pods with
                pod["metadata"]["labels"]["osm-proxy-uuid"] = format!("00000000-0000-4000-8000-{i:012}").into();
            }
            objects.extend(all);
        }
        kubernetes_list(folder, &objects)
    }
}

/// Puts what OSM takes from Go maps into another order: the headers its Lua code adds, and those of local replies.
fn shuffle_headers(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::String(code) if key == "inline_code" => {
                        let mut lines: Vec<&str> = code.lines().collect();
                        let adds = |l: &str| l.contains("headers():add(");
                        let first = lines.iter().position(|l| adds(l)).unwrap_or(0);
                        let count = lines[first..].iter().take_while(|l| adds(l)).count();
                        dice.shuffle(&mut lines[first..first + count]);
                        *code = lines.join("\n") + "\n";
                    }
                    Value::Array(list) if key == "headers_to_add" => dice.shuffle(list),
                    _ => shuffle_headers(inner, dice),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| shuffle_headers(v, dice)),
        _ => {}
    }
}

/// Deployment and Pod of one name, with the label `app`.
fn workload(namespace: &str, name: &str, app: &str, ip: &str, containers: &[&str]) -> Vec<Value> {
    let labels = json!({"app": app});
    let containers: Vec<Value> =
        containers.iter().map(|c| json!({"name": c, "image": format!("example.com/{c}:1")})).collect();
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("{name}-0"), "namespace": namespace, "labels": {"app": app, "pod-template-hash": "5d8f7c9b64"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-5d8f7c9b64"), "controller": true}]},
            "spec": {"containers": containers}, "status": {"phase": "Running", "podIP": ip}}),
    ]
}

/// A Service of the namespace `default` with one HTTP port and the selector `app`.
fn service(name: &str, port: u16, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": port, "targetPort": 8080, "protocol": "TCP"}], "selector": {"app": app}}})
}

/// The sidecar of the only pod of a workload.
fn istio_proxy(workload: &str, namespace: &str, delta: bool) -> Proxy {
    // Istio: drainDuration 45 s, immediate; concurrency by CPU limit
    Proxy {
        node: format!("sidecar~10.244.0.7~{workload}-0.{namespace}~{namespace}.svc.cluster.local"),
        cluster: "istio-proxy".into(),
        workers: 2,
        drain_s: 45,
        immediate: true,
        delta,
        bootstrap: crate::lab::design::istio_stats(),
    }
}

/// `knative`: any sidecar of a mesh with R revisions (Knative 1.11, Istio 1.18: eight clusters each).
///
/// # Errors
/// Those of the files.
pub fn knative(revisions: u32, folder: &mut dyn Folder) -> io::Result<()> {
    let proxy = istio_proxy("client", "default", false);
    let growth = Growth { count: revisions, steps: 10, every_s: 30, repeats: 0 };
    let services: Vec<istio::Service> = (0..revisions).flat_map(revision_services).collect();
    envoy_side(folder, &proxy, &growth, &|n, _| state(istio::sidecar(&services[..2 * n as usize], "default", None)))?;
    let mut events = vec![(
        0,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config-gc", "namespace": "knative-serving"},
        "data": {"retain-since-create-time": "48h", "retain-since-last-active-time": "15h", "min-non-active-revisions": "20", "max-non-active-revisions": "1000"}}),
    )];
    events.extend(
        workload("default", "client", "client", "10.244.0.7", &["app", "istio-proxy"]).into_iter().map(|o| (0, o)),
    );
    let latest = revisions.saturating_sub(1);
    let mut before = 0;
    for (t, n) in growth.pushes() {
        for r in before..n {
            events.push((t, revision(r, r == latest)));
            let both = &services[2 * r as usize..][..2];
            events.extend(both.iter().flat_map(istio::Service::objects).map(|o| (t, o)));
        }
        before = n;
    }
    let name = |r: u32| format!("hello-{r:05}");
    let traffic = json!([{"revisionName": name(latest), "latestRevision": true, "percent": 100}]);
    for (kind, status) in [
        ("Service", json!({"latestReadyRevisionName": name(latest), "traffic": traffic})),
        ("Route", json!({"traffic": traffic})),
    ] {
        events.push((0, json!({"apiVersion": "serving.knative.dev/v1", "kind": kind, "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"traffic": [{"latestRevision": true, "percent": 100}]}, "status": status})));
    }
    events.sort_by_key(|(t, _)| *t);
    folder.file("watch.jsonl.gz", &mut |out| events.iter().try_for_each(|(t, o)| watch_line(out, *t, "ADDED", o)))?;
    kubernetes_list(folder, &events.into_iter().map(|(_, o)| o).collect::<Vec<_>>())
}

/// A revision (Knative 1.11).
fn revision(r: u32, active: bool) -> Value {
    json!({"apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": {"name": format!("hello-{r:05}"), "namespace": "default", "labels": {"serving.knative.dev/service": "hello", "serving.knative.dev/configuration": "hello", "serving.knative.dev/configurationGeneration": (r + 1).to_string(),
            "serving.knative.dev/routingState": if active { "active" } else { "reserve" }}},
        "spec": {"containers": [{"name": "user-container", "image": "example.com/hello:1"}]},
        "status": {"conditions": [{"type": "Active", "status": if active { "True" } else { "False" }}, {"type": "Ready", "status": "True"}]}})
}

/// Its public and private Service (`pkg/reconciler/serverlessservice/resources/services.go` of 1.11): the public one leads
/// to the activator while no pod of the revision runs, the private one to nothing.
fn revision_services(r: u32) -> [istio::Service; 2] {
    let name = format!("hello-{r:05}");
    let one = |kind: &str, name: String, net: u32, ports: &[istio::Port]| istio::Service {
        namespace: "default".to_owned(),
        name,
        address: format!("10.{net}.{}.{}", r / 250, r % 250),
        ports: ports.to_vec(),
        labels: json!({"serving.knative.dev/service": "hello", "serving.knative.dev/revision": format!("hello-{r:05}"), "networking.internal.knative.dev/serviceType": kind}),
        selector: (kind == "Private").then(|| json!({"serving.knative.dev/revision": format!("hello-{r:05}")})),
        pods: if kind == "Public" { vec!["10.244.1.1".to_owned()] } else { Vec::new() },
    };
    let private = [
        ("http", 80, 8012),
        ("https", 443, 8112),
        ("http-autometric", 9090, 9090),
        ("http-usermetric", 9091, 9091),
        ("http-queueadm", 8022, 8022),
        ("http-istio", 8012, 8012),
    ];
    [
        one("Public", name.clone(), 96, &[("http", 80, 8012), ("https", 443, 8112)]),
        one("Private", format!("{name}-private"), 97, &private),
    ]
}

/// `istio`: the sidecar of a mesh with N services in ten namespaces, unscoped, delta xDS (the default since 1.22). Each
/// has an HTTP port, every fourth an HTTPS one besides.
///
/// # Errors
/// Those of the files.
pub fn istio(services: u32, folder: &mut dyn Folder) -> io::Result<()> {
    let proxy = istio_proxy("service-0000", "namespace-00", true);
    let growth = Growth { count: services, steps: 10, every_s: 30, repeats: 0 };
    let pod = |i: u32| format!("10.244.{}.{}", i / 250, i % 250 + 1);
    let ports = |i: u32| {
        let mut ports = vec![("http", [8080, 80, 9090][i as usize % 3], 8080)];
        ports.extend(i.is_multiple_of(4).then_some(("https", 443, 8443)));
        ports
    };
    let mut all = istio::surroundings();
    let fixed = all.len();
    all.extend((0..services).map(|i| {
        let (namespace, name) = (format!("namespace-{:02}", i % 10), format!("service-{i:04}"));
        istio::Service::of_app(&namespace, &name, format!("10.96.{}.{}", i / 250, i % 250 + 1), &ports(i), vec![pod(i)])
    }));
    envoy_side(folder, &proxy, &growth, &|n, _| {
        state(istio::sidecar(&all[..fixed + n as usize], "namespace-00", Some("service-0000")))
    })?;
    let mut objects = Vec::new();
    for n in 0..10 {
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("namespace-{n:02}"), "labels": {"istio-injection": "enabled"}}}));
    }
    objects.extend(all.iter().flat_map(istio::Service::objects));
    for (s, i) in all[fixed..].iter().zip(0..) {
        objects.extend(workload(&s.namespace, &s.name, &s.name, &pod(i), &["app", "istio-proxy"]));
    }
    kubernetes_list(folder, &objects)
}

/// `gateway`: Envoy Gateway with R HTTPRoutes of one host, one backend and one cluster each, delta xDS.
///
/// # Errors
/// Those of the files.
pub fn gateway(routes: u32, folder: &mut dyn Folder) -> io::Result<()> {
    let proxy = Proxy {
        node: "envoy-default-eg-0".into(),
        cluster: "default/eg".into(),
        workers: 4,
        drain_s: 60,
        immediate: true,
        delta: true,
        // Envoy Gateway from 1.8 on
        bootstrap: json!({"deferred_stat_options": {"enable_deferred_creation_stats": true}}),
    };
    let growth = Growth { count: routes, steps: 10, every_s: 30, repeats: 0 };
    envoy_side(folder, &proxy, &growth, &|n, _| state(mixes::gateway("gateway", n as usize, 4, false)))?;
    let mut objects = vec![
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "eg", "namespace": "default"},
        "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}}),
    ];
    for i in 0..routes {
        let name = format!("route-{i:04}");
        objects.push(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "default"},
            "spec": {"parentRefs": [{"name": "eg"}], "hostnames": [format!("www-{i:04}.example.com")],
                "rules": [{"backendRefs": [{"name": "backend", "port": 8080}], "matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]}}));
    }
    objects.push(service("backend", 8080, "backend"));
    objects.extend(workload("default", "backend", "backend", "10.244.0.1", &["app"]));
    kubernetes_list(folder, &objects)
}

/// The founding comparison's applications (KuberNerds): bookinfo with six workloads, or the simple one with three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// details, productpage, ratings, reviews v1 to v3.
    Bookinfo,
    /// Three workloads in a row.
    Simple,
}

/// `bookinfo`: the application's workloads, with a sidecar each or without.
///
/// # Errors
/// Those of the files.
pub fn bookinfo(app: App, sidecars: bool, folder: &mut dyn Folder) -> io::Result<()> {
    let workloads: &[&str] = match app {
        App::Bookinfo => &["details-v1", "productpage-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3"],
        App::Simple => &["first-v1", "second-v1", "third-v1"],
    };
    let app = |w: &str| w.split('-').next().unwrap_or(w).to_owned();
    let pod = |i: usize| format!("10.244.0.{}", i + 7);
    let mut services = istio::surroundings();
    for (i, w) in workloads.iter().enumerate() {
        match services.iter_mut().find(|s| s.name == app(w)) {
            Some(s) => s.pods.push(pod(i)),
            None => services.push(istio::Service::of_app(
                "default",
                &app(w),
                format!("10.96.1.{}", i + 1),
                &[("http", 9080, 9080)],
                vec![pod(i)],
            )),
        }
    }
    let mut objects: Vec<Value> = services.iter().flat_map(istio::Service::objects).collect();
    let containers: &[&str] = if sidecars { &["app", "istio-proxy"] } else { &["app"] };
    for (i, name) in workloads.iter().enumerate() {
        objects.extend(workload("default", name, &app(name), &pod(i), containers));
    }
    if sidecars {
        let proxy = istio_proxy(workloads[0], "default", false);
        let growth = Growth { count: 1, steps: 1, every_s: 1, repeats: 0 };
        envoy_side(folder, &proxy, &growth, &|_, _| {
            state(istio::sidecar(&services, "default", Some(&app(workloads[0]))))
        })?;
    }
    kubernetes_list(folder, &objects)
}

/// `kmesh`: services come ten a second, stay a minute, and go again, for `bpf simulate`.
///
/// # Errors
/// Those of the files.
pub fn kmesh(services: u32, version: &str, folder: &mut dyn Folder) -> io::Result<()> {
    let up: Vec<u32> = (0..services).step_by(10).chain([services]).collect();
    let mut trace: Vec<(i64, u32)> = up.iter().enumerate().map(|(i, n)| (i as i64 * S, *n)).collect();
    let hold = up.len() as i64 * S + 60 * S;
    trace.extend(up.iter().rev().skip(1).enumerate().map(|(i, n)| (hold + i as i64 * S, *n)));
    folder.file("trace.jsonl", &mut |out| {
        trace.iter().try_for_each(|(t, n)| writeln!(out, "{{\"t\":{},\"services\":{n}}}", seconds(*t)))
    })?;
    let mut objects = vec![
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "kmesh", "namespace": "kmesh-system"},
        "spec": {"template": {"spec": {"containers": [{"name": "kmesh", "image": format!("ghcr.io/kmesh-net/kmesh:v{version}.0")}]}}}}),
    ];
    objects.extend((0..services).map(|i| service(&format!("service-{i:05}"), 80, "backend")));
    kubernetes_list(folder, &objects)
}
