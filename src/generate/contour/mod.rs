//! Contour: Kubernetes objects to the two listeners, their routes, clusters and secrets, and the stream of pushes that a
//! version of it makes of a stream of events (contour#499).
//!
//! Shape after `internal/contour` of 0.5 to 1.2: `ingress_http` with one chain, `ingress_https` with one chain per TLS
//! name, a virtual host per name, an EDS cluster per service and port, in v3 form.

mod history;
mod kit;
mod shapes;

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use self::history::{Texts, hash};
use super::write::{Output, Proxy, config_dump, server_info};
use super::{Dice, Folder, kubernetes_list, watch_line};
use crate::model::ingress::{Backend, Change, Object, Site};
use crate::model::stream::Us;
use crate::sim::control_plane::{Acknowledgements, Policy};

pub use history::History;
pub use kit::{EMPTY_TABLES, FULL_TABLES, KIT_PUSHES, Kit, Part};

/// How Contour writes its listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Certificate and key in each chain (before 0.12), not by SDS.
    pub inline_certificates: bool,
    /// Chains in order (from 0.13, #1126), not as a Go map gives them.
    pub sorted: bool,
    /// Secrets and Services that nothing refers to cause no rebuild (from 0.15).
    pub looks_away: bool,
    /// One chain for all names of one secret (#1636), not one each; its names are sorted in every shape.
    pub grouped: bool,
}

impl Shape {
    /// That of a preset of `sim::control_plane`: `contour-0.5` and `-0.6` inline and in map order, `-0.12` by SDS, from
    /// `-0.13` on sorted, `contour` looking away from what is unrelated besides.
    pub fn of(preset: &str) -> Self {
        let name = preset.split(':').next().unwrap_or("");
        Self {
            inline_certificates: matches!(name, "contour-0.5" | "contour-0.6"),
            sorted: !matches!(name, "contour-0.5" | "contour-0.6" | "contour-0.12"),
            looks_away: name == "contour",
            grouped: false,
        }
    }
}

/// What is generated.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ingresses.
    pub ingresses: u32,
    /// They have TLS.
    pub tls: bool,
    /// They are applied in blocks of this many.
    pub block: u32,
    /// Names that share a certificate.
    pub names_per_secret: u32,
    /// After all are there, they are deleted in the same blocks.
    pub delete: bool,
    /// The version of Contour, by name of its policy.
    pub policy: Policy,
    /// How it writes its listeners.
    pub shape: Shape,
    /// How long listeners drain; whole seconds count.
    pub drain_time: Us,
    /// How long Envoy takes to answer. A small configuration was measured at ten milliseconds.
    pub answer: Us,
    /// Whether the recording is written.
    pub keep: Keep,
}

/// When the recording is written beside the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Up to [`MOST_RECORDED`].
    Auto,
    /// However large it is.
    Always,
    /// Not at all.
    Never,
}

/// Bytes of JSON above which a recording is left out unless it is asked for.
pub const MOST_RECORDED: u64 = 2 << 30;

/// The stream of events: ten services from the start, then ingresses (each after the secret it is the first to use),
/// 170 ms apart on average as contour#499 has it, 13 s between blocks; and all the while a secret that nobody refers to
/// changes every 10 s.
pub fn events(options: &Options) -> Vec<(i64, &'static str, Value)> {
    let mut out: Vec<(i64, &'static str, Value)> = Vec::new();
    for i in 0..10 {
        out.push((0, "ADDED", service(i)));
        out.push((0, "ADDED", endpoints(i)));
    }
    let mut dice = Dice::new(499);
    let mut t = 10_000_000_i64;
    let block = options.block.max(1);
    let shared = options.names_per_secret.max(1);
    for i in 0..options.ingresses {
        if i > 0 && i % block == 0 {
            t += 13_000_000;
        }
        if options.tls && i % shared == 0 {
            out.push((t, "ADDED", secret("default", &format!("tls-{:05}", i / shared), 0)));
            t += 20_000;
        }
        out.push((t, "ADDED", ingress(i, options.tls.then_some(i / shared))));
        t += 40_000 + dice.below(260_000) as i64;
    }
    if options.delete {
        t += 60_000_000;
        for i in 0..options.ingresses {
            if i > 0 && i % block == 0 {
                t += 13_000_000;
            }
            out.push((t, "DELETED", ingress(i, options.tls.then_some(i / shared))));
            t += 40_000 + dice.below(260_000) as i64;
        }
    }
    let end = t;
    for n in 0..(end - 5_000_000).max(0) / 10_000_000 {
        out.push((5_000_000 + n * 10_000_000, "MODIFIED", secret("kube-system", "release-history", n as u64 + 1)));
    }
    out.sort_by_key(|(t, ..)| *t);
    for (n, (_, _, object)) in out.iter_mut().enumerate() {
        object["metadata"]["resourceVersion"] = (1000 + n).to_string().into();
    }
    out
}

fn service(i: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("backend-{i}"), "namespace": "default", "uid": format!("service-{i}")},
        "spec": {"type": "ClusterIP", "clusterIP": format!("10.96.0.{}", 10 + i), "selector": {"app": format!("backend-{i}")},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}})
}

fn endpoints(i: u32) -> Value {
    let addresses: Vec<Value> = (0..2).map(|k| json!({"ip": format!("10.244.{i}.{}", 10 + k)})).collect();
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": format!("backend-{i}"), "namespace": "default", "uid": format!("endpoints-{i}")},
        "subsets": [{"addresses": addresses, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}]})
}

fn secret(namespace: &str, name: &str, change: u64) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("secret-{name}")}});
    if change > 0 {
        object["metadata"]["annotations"] = json!({"example.com/change": change.to_string()});
    }
    object
}

fn ingress(i: u32, secret: Option<u32>) -> Value {
    let host = format!("app-{i:05}.example.com");
    let backend = json!({"service": {"name": format!("backend-{}", i % 10), "port": {"number": 80}}});
    let mut spec = json!({"rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]});
    if let Some(secret) = secret {
        spec["tls"] = json!([{"hosts": [host], "secretName": format!("tls-{secret:05}")}]);
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": format!("app-{i:05}"), "namespace": "default", "uid": format!("ingress-{i}")}, "spec": spec})
}

/// One of the objects above as Contour looks at it.
fn object(object: &Value) -> Object {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let key = format!("{}/{}", text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    match object["kind"].as_str().unwrap_or("") {
        "Ingress" => {
            let rule = &object["spec"]["rules"][0];
            let backend = Backend {
                path: "/".to_owned(),
                service: format!("default/{}", text(&rule["http"]["paths"][0]["backend"]["service"]["name"])),
                port: "80".to_owned(),
            };
            let secret = object["spec"]["tls"][0]["secretName"].as_str().map(|s| format!("default/{s}"));
            Object::Ingress(key, vec![Site { fqdn: text(&rule["host"]), secret, backends: vec![backend] }])
        }
        "Secret" => Object::Secret(key, hash(&object["metadata"]["annotations"].to_string())),
        "Service" => Object::Service(key),
        "Endpoints" => Object::Endpoints(key, 2),
        _ => Object::Other,
    }
}

/// Generates the case. Returns about how many bytes of JSON the recording would have had, when it was left out.
///
/// # Errors
/// Those of the files.
pub fn generate(options: &Options, folder: &mut dyn Folder) -> io::Result<Option<u64>> {
    let events = events(options);
    folder.file("watch.jsonl.gz", &mut |out| {
        events.iter().try_for_each(|(t, kind, object)| watch_line(out, *t, kind, object))
    })?;
    let mut objects: BTreeMap<(String, String), &Value> = BTreeMap::new();
    for (_, kind, object) in &events {
        let key = (object["kind"].to_string(), object["metadata"]["uid"].to_string());
        if *kind == "DELETED" {
            objects.remove(&key)
        } else {
            objects.insert(key, object)
        };
    }
    let objects: Vec<Value> = objects.into_values().cloned().collect();
    kubernetes_list(folder, &objects)?;
    let changes: Vec<Change> = events
        .iter()
        .map(|(t, kind, value)| Change { t: Us(*t), object: object(value), gone: *kind == "DELETED" })
        .collect();
    let history = History::new(options.shape, &changes);
    let drain_s = options.drain_time.0 / 1_000_000;
    let acks = Acknowledgements {
        latency: [options.answer; 9],
        fetch_timeout: Us(15_000_000),
        drain: Us(drain_s * 1_000_000),
    };
    let deliveries = history.deliveries(&options.policy, &acks);
    let end = deliveries.last().map_or(0, |d| d.t.0);
    let bytes = history.bytes(&deliveries);
    let kept = options.keep == Keep::Always || (options.keep == Keep::Auto && bytes <= MOST_RECORDED);
    if kept {
        folder.file("recording.jsonl.gz", &mut |out| {
            let mut recording = Output::new(out);
            let mut texts = Texts::default();
            for d in deliveries.iter().filter(|d| d.sent) {
                // what the version counts is rebuilds, and each has its state
                let version = d.upto.to_string();
                recording.sotw(d.t.0, d.kind, &version, &mut |out| history.write(d.kind, d.upto, &mut texts, out))?;
            }
            Ok(())
        })?;
    }
    let proxy = Proxy {
        node: "contour-envoy-0".into(),
        cluster: "heptio-contour".into(),
        workers: 2,
        drain_s: drain_s as u64,
        immediate: false,
        delta: false,
        bootstrap: json!({}),
    };
    server_info(folder, &proxy)?;
    config_dump(folder, &proxy, &history.state(changes.len()), end)?;
    Ok((!kept).then_some(bytes))
}
