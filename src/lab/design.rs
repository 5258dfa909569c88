//! The design of experiments: one factor at a time, each workload `COUNT` copies of one object.
//!
//! Names are `family/factor=level`. A workload differs from its family's plain one in one thing only, so that their
//! difference over the count is the price of that thing.

mod clusters;
mod extensions;
mod listeners;
mod routes;
mod whole;

use serde_json::{Value, json};

use extensions::*;
pub use extensions::{access_loggers, http_filters, jwt, network_rbac, rbac};
pub use routes::{istio_retries, istio_vhost};

use super::Workload;
use super::shapes::*;

/// Collects workloads.
struct Design(Vec<Workload>);

impl Design {
    fn add(&mut self, name: impl Into<String>, workers: u32, fill: impl FnOnce(&mut Workload)) {
        let mut workload = Workload::new(name, workers);
        fill(&mut workload);
        self.0.push(workload);
    }

    /// `n` EDS clusters, each with `hosts` endpoints, changed by `extra`.
    fn clusters(&mut self, name: &str, workers: u32, n: usize, hosts: usize, extra: impl Fn(usize) -> Value) {
        self.add(format!("cluster/{name}"), workers, |w| {
            for i in 0..n {
                let cluster = with(eds_cluster(&service(i)), extra(i));
                let name = cluster["name"].as_str().unwrap_or_default().to_owned();
                w.clusters.push(cluster);
                w.endpoints.push(assignment(&name, i, hosts));
            }
        });
    }

    /// `n` chains in one listener, told apart by server name.
    fn chains(
        &mut self,
        name: &str,
        workers: u32,
        n: usize,
        filters: impl Fn(usize) -> Vec<Value>,
        extra: impl Fn(usize) -> Value,
    ) {
        self.add(format!("chain/{name}"), workers, |w| {
            common(w);
            let chains =
                (0..n).map(|i| with(sni_chain(&format!("host-{i:04}.example.com"), filters(i)), extra(i))).collect();
            w.listeners.push(with(listener("main", chains), tls_inspector()));
        });
    }

    /// `n` listeners.
    fn listeners(&mut self, name: &str, workers: u32, n: usize, make: impl Fn(usize) -> Value) {
        self.add(format!("listener/{name}"), workers, |w| {
            common(w);
            w.listeners = (0..n).map(make).collect();
        });
    }

    /// One table over RDS with `n` virtual hosts.
    fn routes(&mut self, name: &str, workers: u32, n: usize, host: impl Fn(usize) -> Value) {
        self.add(format!("route/{name}"), workers, |w| {
            common(w);
            w.routes[0] = table("shared", (0..n).map(host).collect());
            w.listeners.push(listener("main", vec![chain(vec![hcm("shared", rds("shared"), vec![], json!({}))])]));
        });
    }
}

/// What chains and routes refer to: one cluster, one small route table.
fn common(w: &mut Workload) {
    w.clusters.push(eds_cluster("backend"));
    w.endpoints.push(assignment("backend", 0, 1));
    w.routes.push(table("shared", vec![vhost("all", &["*".into()], vec![route("/", "backend")])]));
}

fn tls_inspector() -> Value {
    json!({"listener_filters": [filter("envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", json!({}))]})
}

fn none(_: usize) -> Value {
    json!({})
}

/// A virtual host like those of Istio and Contour: one domain, one prefix.
fn plain_host(i: usize) -> Value {
    vhost(&format!("vhost-{i:04}"), &[format!("host-{i:04}.example.com")], vec![route("/", "backend")])
}

/// A filter chain for each of `n` route tables, since a table lives only while a connection manager asks for it.
fn own_tables(w: &mut Workload, n: usize) {
    common(w);
    let chains = (0..n)
        .map(|i| {
            sni_chain(
                &format!("host-{i:04}.example.com"),
                vec![hcm("shared", rds(&format!("table-{i:04}")), vec![], json!({}))],
            )
        })
        .collect();
    w.routes.extend((0..n).map(|i| table(&format!("table-{i:04}"), vec![plain_host(i)])));
    w.listeners.push(with(listener("main", chains), tls_inspector()));
}

fn host_with_routes(i: usize, routes: Vec<Value>) -> Value {
    vhost(&format!("vhost-{i:04}"), &[format!("host-{i:04}.example.com")], routes)
}

/// The inclusion list Istio's sidecars start with.
pub fn istio_stats() -> Value {
    let prefixes =
        ["reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasmcustom", "component"];
    let mut patterns: Vec<Value> = prefixes.iter().map(|p| json!({"prefix": p})).collect();
    patterns.push(json!({"safe_regex": {"regex": "vhost.*\\.route\\..*"}}));
    json!({"stats_config": {"stats_matcher": {"inclusion_list": {"patterns": patterns}}}})
}

fn reject_all() -> Value {
    json!({"stats_config": {"stats_matcher": {"reject_all": true}}})
}

fn exclude(prefix: &str) -> Value {
    json!({"stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [{"prefix": prefix}]}}}})
}

fn deferred(stats: bool, clusters: bool) -> Value {
    let mut v = json!({});
    if stats {
        v["deferred_stat_options"] = json!({"enable_deferred_creation_stats": true});
    }
    if clusters {
        v["cluster_manager"] = json!({"enable_deferred_cluster_creation": true});
    }
    v
}

const LUA: &str = "function envoy_on_request(handle)\n  handle:headers():add('x-lab', 'request')\nend\nfunction envoy_on_response(handle)\n  handle:headers():add('x-lab', 'response')\nend\n";

/// The `tls` part of Istio's `transport_socket_matches`, for the service of a number.
pub fn istio_matches(i: usize) -> Value {
    istio_matches_of(&format!("outbound_.8080_._.service-{i:04}.namespace-{:02}.svc.cluster.local", i % 10))
}

/// The same for a server name.
pub fn istio_matches_of(sni: &str) -> Value {
    let tls = upstream_tls(
        json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
               "alpn_protocols": ["istio-peer-exchange", "istio"],
               "tls_certificate_sds_secret_configs": [sds("default")],
               "combined_validation_context": {"default_validation_context": {"match_typed_subject_alt_names":
                   [{"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/default/sa/default"}}]},
                   "validation_context_sds_secret_config": sds("ROOTCA")}}),
        sni,
    );
    json!({"transport_socket_matches": [
        {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": tls},
        {"name": "tlsMode-disabled", "match": {}, "transport_socket": {"name": "envoy.transport_sockets.raw_buffer",
            "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}))}}]})
}

/// Istio's cluster metadata, for the service of a number.
pub fn istio_metadata(i: usize) -> Value {
    istio_metadata_of(&format!("service-{i:04}"), &format!("namespace-{:02}", i % 10), 8080)
}

/// The same for a service and port.
pub fn istio_metadata_of(name: &str, namespace: &str, port: u16) -> Value {
    json!({"metadata": {"filter_metadata": {"istio": {
        "default_original_port": f64::from(port),
        "services": [{"host": format!("{name}.{namespace}.svc.cluster.local"), "name": name, "namespace": namespace}]}}}})
}

fn mesh_secrets(w: &mut Workload) {
    w.secrets.push(certificate_secret("default", rsa()));
    w.secrets.push(ca_secret("ROOTCA", roots(0, 1), &[]));
}

fn limits(extra: Value) -> Value {
    json!({"circuit_breakers": {"thresholds": [with(json!({"max_connections": 4294967295u32, "max_pending_requests": 4294967295u32,
        "max_requests": 4294967295u32, "max_retries": 4294967295u32}), extra)]}})
}

/// The whole design.
pub fn experiments() -> Vec<Workload> {
    let mut d = Design(Vec::new());
    for workers in [1, 2, 4, 8] {
        d.add(format!("idle/workers={workers}"), workers, |_| {});
    }
    clusters::clusters(&mut d);
    clusters::hosts(&mut d);
    clusters::stats(&mut d);
    listeners::listeners(&mut d);
    listeners::chains(&mut d);
    routes::routes(&mut d);
    whole::bootstraps(&mut d);
    whole::first_uses(&mut d);
    whole::shapes(&mut d);
    whole::subscriptions(&mut d);
    whole::transports(&mut d);
    whole::hosts_by_transport(&mut d);
    whole::health_checks(&mut d);
    d.0.extend(super::random::TRAINING.step_by(2).map(super::random::workload));
    d.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_resources_encode() {
        let all = experiments();
        let names: std::collections::BTreeSet<&str> = all.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for w in &all {
            let parts = [&w.clusters, &w.endpoints, &w.listeners, &w.routes, &w.secrets, &w.extensions];
            for resource in parts.into_iter().filter_map(|list| list.last()) {
                if let Err(e) = super::super::any(resource) {
                    panic!("{}: {e}", w.name);
                }
            }
        }
    }
}
