//! Configurations before and after a change that `cost::envoy::changes` prices: the measured saving is the difference
//! of the two runs, the predicted one comes from the dump of the first alone.

use serde_json::{Value, json};

use super::Workload;
use super::shapes::*;

/// What stands before the name of the change in the names of the runs.
pub const PREFIX: &str = "saving/";

/// Name of a change, the configuration before it, and the one after it.
pub fn pairs() -> Vec<(&'static str, Workload, Workload)> {
    vec![
        on_clusters("fewer-stats", |w| {
            let kept = ["cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm"];
            let patterns: Vec<Value> = kept.iter().map(|p| json!({"prefix": p})).collect();
            w.bootstrap = Some(json!({"stats_config": {"stats_matcher": {"inclusion_list": {"patterns": patterns}}}}));
        }),
        on_clusters("deferred-stats", |w| {
            w.bootstrap = Some(json!({"deferred_stat_options": {"enable_deferred_creation_stats": true}}));
        }),
        on_clusters("deferred-clusters", |w| {
            w.bootstrap = Some(json!({"cluster_manager": {"enable_deferred_cluster_creation": true}}));
        }),
        on_clusters("fewer-workers", |w| w.workers = 2),
        rds_pair(),
        sds_pair(),
        wasm_pair(),
        chains_pair(),
        endpoints_pair(),
    ]
}

fn pair(name: &'static str, make: impl Fn(bool, &mut Workload)) -> (&'static str, Workload, Workload) {
    let run = |after: bool| {
        let mut w = Workload::new(format!("{PREFIX}{name} {}", if after { "after" } else { "before" }), 4);
        make(after, &mut w);
        w
    };
    (name, run(false), run(true))
}

/// A proxy of many clusters and a few listeners, with the change in its bootstrap or its arguments.
fn on_clusters(name: &'static str, change: impl Fn(&mut Workload)) -> (&'static str, Workload, Workload) {
    pair(name, |after, w| {
        for i in 0..250 {
            w.clusters.push(with(
                eds_cluster(&service(i)),
                json!({"circuit_breakers": {"thresholds": [{"max_retries": 9}]}}),
            ));
            w.endpoints.push(assignment(&service(i), i, 1 + i % 4));
        }
        for i in 0..12 {
            let hosts = (0..20).map(|k| vhost(&service(k), &[service(k)], vec![route("/", &service(k))])).collect();
            w.routes.push(table(&format!("{}", 8000 + i), hosts));
            let routes = rds(&format!("{}", 8000 + i));
            w.listeners.push(unbound(
                &format!("l{i}"),
                i,
                vec![chain(vec![hcm(&format!("out-{i}"), routes, vec![], json!({}))])],
            ));
        }
        if after {
            change(w);
        }
    })
}

/// One table of 150 virtual hosts in 12 listeners.
fn rds_pair() -> (&'static str, Workload, Workload) {
    pair("rds", |after, w| {
        w.clusters.push(eds_cluster("backend"));
        w.endpoints.push(assignment("backend", 0, 2));
        let hosts = || {
            let host = |i: usize| {
                let name = format!("app-{i:03}.team-{:02}.example.com", i % 10);
                vhost(&name, std::slice::from_ref(&name), vec![route("/api/", "backend"), route("/", "backend")])
            };
            (0..150).map(host).collect()
        };
        if after {
            w.routes.push(table("shared", hosts()));
        }
        for i in 0..12 {
            let routes = if after { rds("shared") } else { inline(table("shared", hosts())) };
            w.listeners.push(listener(&format!("l{i}"), vec![chain(vec![hcm("ingress", routes, vec![], json!({}))])]));
        }
    })
}

/// 100 chains with the same certificate and a bundle of 20 roots.
fn sds_pair() -> (&'static str, Workload, Workload) {
    pair("sds", |after, w| {
        w.clusters.push(eds_cluster("backend"));
        w.endpoints.push(assignment("backend", 0, 2));
        let common = if after {
            w.secrets.push(certificate_secret("cert", rsa()));
            w.secrets.push(ca_secret("roots", roots(0, 20), &[]));
            json!({"tls_certificate_sds_secret_configs": [sds("cert")], "validation_context_sds_secret_config": sds("roots")})
        } else {
            json!({"tls_certificates": [rsa()], "validation_context": {"trusted_ca": roots(0, 20)}})
        };
        let chains = (0..100).map(|i| {
            let filters = vec![tcp_proxy("tls", "backend")];
            let socket = json!({"transport_socket": downstream_tls(common.clone(), json!({}))});
            with(sni_chain(&format!("app-{i:03}.example.com"), filters), socket)
        });
        w.listeners.push(tls_listener(chains.collect()));
    })
}

fn tls_listener(chains: Vec<Value>) -> Value {
    let inspector = json!({"name": "envoy.filters.listener.tls_inspector",
        "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", json!({}))});
    with(listener("https", chains), json!({"listener_filters": [inspector]}))
}

/// Ten listeners with one module of 100 KB, each in a virtual machine of its own.
fn wasm_pair() -> (&'static str, Workload, Workload) {
    pair("one-wasm-vm", |after, w| {
        w.workers = 2;
        w.clusters.push(eds_cluster("backend"));
        w.endpoints.push(assignment("backend", 0, 2));
        let code = base64(&wasm_module(100_000));
        for i in 0..10 {
            let id = if after { String::new() } else { format!("vm-{i}") };
            let vm =
                json!({"vm_id": id, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_bytes": code}}});
            let wasm = filter(
                "envoy.filters.http.wasm",
                "envoy.extensions.filters.http.wasm.v3.Wasm",
                json!({"config": {"name": "plugin", "root_id": "plugin", "vm_config": vm}}),
            );
            let routes = inline(table("t", vec![vhost("all", &["*".into()], vec![route("/", "backend")])]));
            w.listeners
                .push(listener(&format!("l{i}"), vec![chain(vec![hcm("ingress", routes, vec![wasm], json!({}))])]));
        }
    })
}

/// 150 chains that differ in their server name.
fn chains_pair() -> (&'static str, Workload, Workload) {
    pair("merged-chains", |after, w| {
        w.clusters.push(eds_cluster("backend"));
        w.endpoints.push(assignment("backend", 0, 2));
        w.secrets.push(certificate_secret("cert", ecdsa()));
        w.routes.push(table("shared", vec![vhost("all", &["*".into()], vec![route("/", "backend")])]));
        let common = json!({"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [sds("cert")]});
        let body = || {
            json!({"filters": [hcm("https", rds("shared"), vec![], json!({}))],
                   "transport_socket": downstream_tls(common.clone(), json!({}))})
        };
        let names: Vec<String> = (0..150).map(|i| format!("app-{i:03}.team.example.com")).collect();
        let chain_of = |names: &[String]| with(body(), json!({"filter_chain_match": {"server_names": names}}));
        let chains = if after {
            vec![chain_of(&names)]
        } else {
            names.iter().map(|n| chain_of(std::slice::from_ref(n))).collect()
        };
        w.listeners.push(tls_listener(chains));
    })
}

/// Thirty clusters of 200 endpoints.
fn endpoints_pair() -> (&'static str, Workload, Workload) {
    pair("endpoint-subset", |after, w| {
        for i in 0..30 {
            w.clusters.push(eds_cluster(&service(i)));
            w.endpoints.push(assignment(&service(i), i, if after { 32 } else { 200 }));
        }
    })
}
