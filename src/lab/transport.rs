//! How an Envoy gets its resources: over one ADS stream, over streams or files of their own, or from its bootstrap.
//!
//! Workloads are written for ADS; this rewrites their config sources and the bootstrap.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Workload;
use super::codec::resource_name;
use super::envoy::bootstrap;

/// The ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// One aggregated stream, state of the world (Istio before 1.22, Open Service Mesh).
    #[default]
    Ads,
    /// One aggregated stream, incremental (Envoy Gateway, Istio since 1.22, Consul).
    Delta,
    /// A gRPC stream for every subscription (Contour).
    Streams,
    /// Files (`path_config_source`).
    Files,
    /// Everything in the bootstrap.
    Static,
}

impl Transport {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ads => "ads",
            Self::Delta => "delta",
            Self::Streams => "streams",
            Self::Files => "files",
            Self::Static => "static",
        }
    }

    /// It needs the lab's discovery server.
    pub fn has_server(self) -> bool {
        matches!(self, Self::Ads | Self::Delta | Self::Streams)
    }
}

/// `workload` with the config sources of its transport, and the bootstrap for it. Files go to `folder`.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn apply(workload: &mut Workload, port: u16, folder: &Path) -> std::io::Result<Value> {
    let base = bootstrap(port, workload.transport == Transport::Delta);
    match workload.transport {
        Transport::Ads | Transport::Delta => Ok(base),
        Transport::Streams => {
            rewrite(workload, &mut |_, _| stream());
            let mut base = base;
            base["dynamic_resources"] = json!({"cds_config": stream(), "lds_config": stream()});
            Ok(base)
        }
        Transport::Files => files(workload, base, folder),
        Transport::Static => Ok(inlined(workload, base)),
    }
}

fn stream() -> Value {
    json!({"resource_api_version": "V3", "api_config_source": {"api_type": "GRPC", "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}})
}

/// Replaces each config source by what `source` says of its kind (the field it stands in) and the resource's name.
fn rewrite(workload: &mut Workload, source: &mut dyn FnMut(&str, &str) -> Value) {
    for resource in workload.clusters.iter_mut().chain(&mut workload.listeners) {
        let name = resource_name(resource).to_owned();
        sources(resource, &name, source);
    }
}

fn sources(value: &mut Value, owner: &str, source: &mut dyn FnMut(&str, &str) -> Value) {
    match value {
        Value::Object(object) => {
            let own = ["route_config_name", "service_name", "name"].iter().find_map(|k| object.get(*k)?.as_str());
            let owner = own.unwrap_or(owner).to_owned();
            for (key, inner) in object.iter_mut() {
                if inner.get("ads").is_some() {
                    *inner = source(key, &owner);
                } else {
                    sources(inner, &owner, source);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| sources(v, owner, source)),
        _ => {}
    }
}

fn files(workload: &mut Workload, mut base: Value, folder: &Path) -> std::io::Result<Value> {
    let write = |name: String, resources: &[Value]| -> std::io::Result<PathBuf> {
        let path = folder.join(name);
        std::fs::write(&path, json!({"version_info": "1", "resources": resources}).to_string())?;
        Ok(path)
    };
    let file = |path: &Path| json!({"resource_api_version": "V3", "path_config_source": {"path": path}});
    let mut paths = BTreeMap::new();
    let lists = [
        ("eds_config", &workload.endpoints),
        ("config_source", &workload.routes),
        ("sds_config", &workload.secrets),
        ("config_source", &workload.extensions),
    ];
    for (k, (kind, list)) in lists.into_iter().enumerate() {
        for (i, resource) in list.iter().enumerate() {
            let path = write(format!("{k}-{i}.json"), std::slice::from_ref(resource))?;
            paths.insert((kind, resource_name(resource).to_owned()), path);
        }
    }
    rewrite(workload, &mut |kind, name| {
        let kind = lists_kind(kind);
        paths.get(&(kind, name.to_owned())).map_or(json!({"resource_api_version": "V3", "ads": {}}), |path| file(path))
    });
    let cds = write("cds.json".into(), &workload.clusters)?;
    let lds = write("lds.json".into(), &workload.listeners)?;
    base["dynamic_resources"] = json!({"cds_config": file(&cds), "lds_config": file(&lds)});
    base["static_resources"] = json!({});
    Ok(base)
}

fn lists_kind(field: &str) -> &'static str {
    match field {
        "eds_config" => "eds_config",
        "sds_config" => "sds_config",
        _ => "config_source",
    }
}

/// Endpoints and routes written into clusters and listeners, secrets beside them.
fn inlined(workload: &Workload, mut base: Value) -> Value {
    let bare = |v: &Value| {
        let mut v = v.clone();
        v.as_object_mut().map(|o| o.remove("@type"));
        v
    };
    let by_name = |list: &[Value]| -> BTreeMap<String, Value> {
        list.iter().map(|v| (resource_name(v).to_owned(), bare(v))).collect()
    };
    let (endpoints, routes) = (by_name(&workload.endpoints), by_name(&workload.routes));
    let clusters: Vec<Value> = workload
        .clusters
        .iter()
        .map(|c| {
            let mut c = bare(c);
            if c["type"] == "EDS" {
                let service = c.pointer("/eds_cluster_config/service_name").and_then(Value::as_str);
                let assignment = service.or(c["name"].as_str()).and_then(|n| endpoints.get(n)).cloned();
                c["type"] = "STATIC".into();
                c.as_object_mut().map(|o| o.remove("eds_cluster_config"));
                if let Some(mut assignment) = assignment {
                    assignment["cluster_name"] = c["name"].clone();
                    c["load_assignment"] = assignment;
                }
            }
            without_sds(&mut c);
            c
        })
        .collect();
    let listeners: Vec<Value> = workload
        .listeners
        .iter()
        .map(|l| {
            let mut l = bare(l);
            with_routes(&mut l, &routes);
            without_sds(&mut l);
            l
        })
        .collect();
    let secrets: Vec<Value> = workload.secrets.iter().map(bare).collect();
    base.as_object_mut().map(|o| o.remove("dynamic_resources"));
    base["static_resources"] = json!({"clusters": clusters, "listeners": listeners, "secrets": secrets});
    base
}

fn without_sds(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("sds_config");
            object.values_mut().for_each(without_sds);
        }
        Value::Array(list) => list.iter_mut().for_each(without_sds),
        _ => {}
    }
}

fn with_routes(value: &mut Value, tables: &BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            if let Some(rds) = object.remove("rds") {
                let table = rds["route_config_name"].as_str().and_then(|n| tables.get(n));
                object.insert("route_config".into(), table.cloned().unwrap_or_default());
            }
            object.values_mut().for_each(|v| with_routes(v, tables));
        }
        Value::Array(list) => list.iter_mut().for_each(|v| with_routes(v, tables)),
        _ => {}
    }
}
