//! The files of an Envoy's side: recording, config dump, server info.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::Folder;
use crate::lab::resource_name;
use crate::model::stream::XdsType;

/// Midnight of the day on which everything made up takes place, in milliseconds of Unix time (2026-01-05).
const DAY_MS: i64 = 1_767_571_200_000;

/// The Envoy that is fed.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// `node.id`.
    pub node: String,
    /// `node.cluster`.
    pub cluster: String,
    /// `--concurrency`.
    pub workers: u32,
    /// `--drain-time-s`.
    pub drain_s: u64,
    /// `--drain-strategy immediate`.
    pub immediate: bool,
    /// Delta xDS.
    pub delta: bool,
    /// What the bootstrap has beyond node, admin and ADS.
    pub bootstrap: Value,
}

/// What an Envoy holds, as text of each resource, in the order sent.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// CDS.
    pub clusters: Vec<Value>,
    /// EDS.
    pub endpoints: Vec<Value>,
    /// LDS.
    pub listeners: Vec<Value>,
    /// RDS.
    pub routes: Vec<Value>,
    /// SDS.
    pub secrets: Vec<Value>,
}

impl State {
    /// The types that every stream here has, in the order in which they are sent.
    pub const TYPES: [XdsType; 5] =
        [XdsType::Cluster, XdsType::Endpoints, XdsType::Listener, XdsType::RouteConfig, XdsType::Secret];

    /// The resources of a type.
    pub fn of(&self, kind: XdsType) -> &[Value] {
        match kind {
            XdsType::Cluster => &self.clusters,
            XdsType::Endpoints => &self.endpoints,
            XdsType::Listener => &self.listeners,
            XdsType::RouteConfig => &self.routes,
            XdsType::Secret => &self.secrets,
            _ => &[],
        }
    }
}

/// The type URL of a type, empty for one that no case has.
pub(super) fn type_url(kind: XdsType) -> &'static str {
    use crate::lab::types;
    match kind {
        XdsType::Cluster => types::CLUSTER,
        XdsType::Endpoints => types::ENDPOINT,
        XdsType::Listener => types::LISTENER,
        XdsType::RouteConfig => types::ROUTE,
        XdsType::Secret => types::SECRET,
        _ => "",
    }
}

/// Microseconds as decimal seconds.
pub(super) fn seconds(us: i64) -> String {
    format!("{}.{:06}", us.div_euclid(1_000_000), us.rem_euclid(1_000_000))
}

/// A recording while it is written (design §8).
pub struct Output<'a> {
    out: &'a mut dyn Write,
    pushes: u64,
}

impl<'a> Output<'a> {
    /// A recording that goes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, pushes: 0 }
    }

    /// A state-of-the-world response; `resources` writes them with commas between.
    ///
    /// # Errors
    /// Those of the file.
    pub fn sotw(
        &mut self,
        t_us: i64,
        kind: XdsType,
        version: &str,
        resources: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.pushes += 1;
        let (t, url, nonce) = (seconds(t_us), type_url(kind), self.pushes);
        write!(
            self.out,
            "{{\"t\":{t},\"type_url\":\"{url}\",\"version_info\":\"{version}\",\"nonce\":\"{nonce}\",\"resources\":["
        )?;
        resources(&mut *self.out)?;
        self.out.write_all(b"]}\n")
    }

    /// A delta response from what was held before to what is there now; none when nothing changed.
    ///
    /// # Errors
    /// Those of the file.
    pub fn delta(
        &mut self,
        t_us: i64,
        kind: XdsType,
        version: &str,
        before: &[Value],
        now: &[Value],
    ) -> io::Result<()> {
        let by_name = |list: &'_ [Value]| {
            list.iter().map(|v| (resource_name(v).to_owned(), v.clone())).collect::<BTreeMap<_, _>>()
        };
        let (held, there) = (by_name(before), by_name(now));
        let changed: Vec<Value> = now
            .iter()
            .filter(|v| held.get(resource_name(v)) != Some(v))
            .map(|v| json!({"name": resource_name(v), "version": version, "resource": v}))
            .collect();
        let removed: Vec<&String> = held.keys().filter(|n| !there.contains_key(*n)).collect();
        if changed.is_empty() && removed.is_empty() {
            return Ok(());
        }
        self.pushes += 1;
        let (t, url, nonce) = (seconds(t_us), type_url(kind), self.pushes);
        write!(
            self.out,
            "{{\"t\":{t},\"type_url\":\"{url}\",\"system_version_info\":\"{version}\",\"nonce\":\"{nonce}\",\"resources\":["
        )?;
        list(self.out, &changed)?;
        self.out.write_all(b"],\"removed_resources\":")?;
        serde_json::to_writer(&mut *self.out, &removed)?;
        self.out.write_all(b"}\n")
    }

    /// A state-of-the-world response of whole values.
    ///
    /// # Errors
    /// Those of the file.
    pub fn sotw_values(&mut self, t_us: i64, kind: XdsType, version: &str, resources: &[Value]) -> io::Result<()> {
        self.sotw(t_us, kind, version, &mut |out| list(out, resources))
    }
}

/// Values with commas between.
pub(super) fn list(out: &mut dyn Write, values: &[Value]) -> io::Result<()> {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, value)?;
    }
    Ok(())
}

/// Writes `server_info.json`.
pub(super) fn server_info(folder: &mut dyn Folder, proxy: &Proxy) -> io::Result<()> {
    let info = json!({
        "version": "0000000000000000000000000000000000000000/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE",
        "hot_restart_version": "disabled",
        "command_line_options": {"concurrency": proxy.workers, "drain_time": format!("{}s", proxy.drain_s), "parent_shutdown_time": "900s",
            "drain_strategy": if proxy.immediate { "Immediate" } else { "Gradual" }, "mode": "Serve", "disable_hot_restart": true},
        "node": node(proxy)
    });
    folder.file("server_info.json", &mut |out| {
        serde_json::to_writer_pretty(&mut *out, &info)?;
        out.write_all(b"\n")
    })
}

fn node(proxy: &Proxy) -> Value {
    json!({"id": proxy.node, "cluster": proxy.cluster, "user_agent_name": "envoy",
        "user_agent_build_version": {"version": {"major_number": 1, "minor_number": 40}}})
}

/// Writes `config_dump.json.gz` of an Envoy that took `state` in at `t_us`, as `/config_dump?include_eds` shows it.
pub(super) fn config_dump(folder: &mut dyn Folder, proxy: &Proxy, state: &State, t_us: i64) -> io::Result<()> {
    let updated = jiff::Timestamp::from_millisecond(DAY_MS + t_us / 1000)
        .map_err(io::Error::other)?
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string();
    // the ADS cluster's port is of no consequence here
    let mut bootstrap = crate::lab::bootstrap(18_000, proxy.delta);
    bootstrap["node"] = node(proxy);
    let bootstrap = crate::lab::shapes::with(bootstrap, proxy.bootstrap.clone());
    let static_cluster = crate::lab::shapes::typed(
        "envoy.config.cluster.v3.Cluster",
        bootstrap["static_resources"]["clusters"][0].clone(),
    );
    let wrap = |key: &str, value: &Value| {
        let mut value = value.clone();
        redact(&mut value);
        json!({"version_info": "1", key: value, "last_updated": updated})
    };
    folder.file("config_dump.json.gz", &mut |out| {
        writeln!(out, "{{\"configs\":[")?;
        let head = json!({"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": bootstrap, "last_updated": updated});
        writeln!(out, "{head},")?;
        let statics = json!([{"cluster": static_cluster, "last_updated": updated}]);
        section(out, "ClustersConfigDump", &format!("\"version_info\":\"1\",\"static_clusters\":{statics},\"dynamic_active_clusters\""), state.clusters.iter().map(|c| wrap("cluster", c)))?;
        let endpoints = state.endpoints.iter().map(|e| json!({"endpoint_config": shown_endpoints(e)}));
        section(out, "EndpointsConfigDump", "\"dynamic_endpoint_configs\"", endpoints)?;
        let listeners = state.listeners.iter().map(|l| json!({"name": l["name"], "active_state": wrap("listener", l)}));
        section(out, "ListenersConfigDump", "\"version_info\":\"1\",\"dynamic_listeners\"", listeners)?;
        section(out, "RoutesConfigDump", "\"dynamic_route_configs\"", state.routes.iter().map(|r| wrap("route_config", r)))?;
        let secrets = state.secrets.iter().map(|s| {
            let mut entry = wrap("secret", s);
            entry["name"] = s["name"].clone();
            entry
        });
        section(out, "SecretsConfigDump", "\"dynamic_active_secrets\"", secrets)?;
        writeln!(out, "{{\"@type\":\"type.googleapis.com/envoy.admin.v3.ScopedRoutesConfigDump\"}}\n]}}")
    })
}

/// A section, one entry per line; left out its list when it has none, as Envoy does.
fn section(out: &mut dyn Write, name: &str, head: &str, entries: impl Iterator<Item = Value>) -> io::Result<()> {
    let mut entries = entries.peekable();
    write!(out, "{{\"@type\":\"type.googleapis.com/envoy.admin.v3.{name}\"")?;
    if entries.peek().is_some() || head.contains("static") {
        writeln!(out, ",{head}:[")?;
        let mut first = true;
        for entry in entries {
            if !std::mem::take(&mut first) {
                writeln!(out, ",")?;
            }
            serde_json::to_writer(&mut *out, &entry)?;
        }
        write!(out, "\n]")?;
    }
    writeln!(out, "}},")
}

/// What Envoy hides in a dump: private keys.
fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if key == "private_key" && inner.get("inline_string").is_some() {
                    inner["inline_string"] = "[redacted]".into();
                } else {
                    redact(inner);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        _ => {}
    }
}

/// A load assignment as Envoy shows it: from its hosts, with their defaults written out.
fn shown_endpoints(assignment: &Value) -> Value {
    let mut shown = assignment.clone();
    for group in shown["endpoints"].as_array_mut().into_iter().flatten() {
        for endpoint in group["lb_endpoints"].as_array_mut().into_iter().flatten() {
            endpoint["health_status"] = "HEALTHY".into();
            if endpoint.get("load_balancing_weight").is_none() {
                endpoint["load_balancing_weight"] = 1.into();
            }
        }
    }
    shown["policy"] = json!({"overprovisioning_factor": 140});
    shown
}
