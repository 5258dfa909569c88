//! Validation workloads: whole proxies in the shapes that control planes make. None of them takes part in the fit.

use serde_json::{Value, json};

use super::Workload;
use super::design::{
    access_loggers, http_filters, istio_matches, istio_metadata, istio_stats, istio_vhost, network_rbac, rbac,
};
use super::shapes::*;

/// All validation workloads.
pub fn workloads() -> Vec<Workload> {
    let mut all = vec![
        istio_sidecar("istio/sidecar 80 services", 80, 2, true),
        istio_sidecar("istio/sidecar 300 services", 300, 2, true),
        istio_sidecar("istio/sidecar 120 services, all stats", 120, 4, false),
        istio_gateway("istio/gateway 60 hosts", 60, 2),
        contour("contour/40 ingresses", 40, 1),
        contour("contour/250 ingresses", 250, 4),
        gateway("envoy-gateway/50 routes", 50, 2, false),
        gateway("envoy-gateway/300 routes", 300, 4, false),
        gateway("envoy-gateway/150 routes, policies", 150, 2, true),
        knative("knative/30 revisions", 30, 2),
        knative("knative/120 revisions", 120, 2),
        edge("edge/balancers", 4),
        edge("edge/balancers, deferred", 2),
        legacy("edge/inline routes and certificates", 2),
    ];
    for (name, permissive, wasm) in [
        ("osm/strict", false, false),
        ("osm/permissive", true, false),
        ("osm/strict wasm", false, true),
        ("osm/permissive wasm", true, true),
    ] {
        all.push(osm(name, 60, 4, permissive, wasm.then_some(53_345)));
    }
    // written after the model's last change of structure, and never used to change it
    all.extend([
        mesh_sidecar("late/sidecar with a listener per upstream", 90, 2),
        https_gateway("late/gateway with policies per host", 70, 8),
        tcp_gateway("late/tcp gateway", 150, 1),
        large_endpoints("late/large clusters", 2),
        wide_routes("late/wide route tables", 4),
        static_edge("late/static file", 2),
    ]);
    all
}

/// One loopback listener per upstream, inline routes and inline mutual TLS, as sidecars of Consul and Kuma have them.
fn mesh_sidecar(name: &str, upstreams: usize, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    let bytes = |v: Value| base64(v["inline_string"].as_str().unwrap_or_default().as_bytes());
    let tls = json!({"tls_params": {}, "tls_certificates": [{"certificate_chain": {"inline_bytes": bytes(ecdsa()["certificate_chain"].clone())}, "private_key": {"inline_bytes": bytes(ecdsa()["private_key"].clone())}}],
        "validation_context": {"trusted_ca": {"inline_bytes": bytes(roots(2, 1))}, "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web"}}]}});
    for i in 0..upstreams {
        let cluster = format!("web-{i:03}.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul");
        w.clusters.push(with(with(eds_cluster(&cluster), json!({"alt_stat_name": cluster, "outlier_detection": {}, "circuit_breakers": {}, "connect_timeout": "5s",
            "transport_socket": upstream_tls(tls.clone(), &cluster)})), http_options(json!({"explicit_http_config": {"http2_protocol_options": {}}}))));
        w.endpoints.push(assignment(&cluster, i, 3));
        let filters = if i % 3 == 0 {
            vec![tcp_proxy(&format!("upstream.web-{i:03}.default.default.dc1"), &cluster)]
        } else {
            vec![hcm(
                &format!("upstream.web-{i:03}.default.default.dc1"),
                inline(table(
                    &format!("web-{i:03}"),
                    vec![vhost(&format!("web-{i:03}"), &["*".into()], vec![route("/", &cluster)])],
                )),
                vec![],
                json!({"tracing": {"random_sampling": {}}, "http_protocol_options": {}, "upgrade_configs": [{"upgrade_type": "websocket"}]}),
            )]
        };
        w.listeners.push(with(
            listener(&format!("web-{i:03}:127.0.0.1:{}", 9000 + i), vec![chain(filters)]),
            json!({"traffic_direction": "OUTBOUND", "stat_prefix": format!("127.0.0.1_{}", 9000 + i)}),
        ));
    }
    w.clusters.push(with(plain_cluster("local_app", "STATIC"), json!({"load_assignment": {"cluster_name": "local_app", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address("127.0.0.1", 8080)}}]}]}})));
    let rbac_filter = filter(
        "envoy.filters.network.rbac",
        "envoy.extensions.filters.network.rbac.v3.RBAC",
        with(json!({"stat_prefix": "connect_authz"}), network_rbac(12)),
    );
    w.listeners.push(listener(
        "public_listener",
        vec![with(
            chain(vec![
                rbac_filter,
                hcm(
                    "public_listener",
                    inline(table(
                        "public_listener",
                        vec![vhost("public_listener", &["*".into()], vec![route("/", "local_app")])],
                    )),
                    vec![],
                    json!({"forward_client_cert_details": "APPEND_FORWARD"}),
                ),
            ]),
            json!({"transport_socket": downstream_tls(tls, json!({"require_client_certificate": true}))}),
        )],
    ));
    w
}

/// An HTTPS listener per host with its own prefix, filters and secrets.
fn https_gateway(name: &str, hosts: usize, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    w.clusters.push(eds_cluster("backend"));
    w.endpoints.push(assignment("backend", 0, 2));
    let wanted = [
        ["cors", "jwt_authn"],
        ["ext_authz", "buffer"],
        ["local_ratelimit", "rbac"],
        ["compressor", "header_mutation"],
    ];
    let mut chains = Vec::new();
    for i in 0..hosts {
        let cluster = format!("default_backend-{i:03}_8080");
        w.clusters.push(with(eds_cluster(&cluster), json!({"lb_policy": if i % 5 == 0 { "RING_HASH" } else { "ROUND_ROBIN" }, "circuit_breakers": {"thresholds": [{"max_connections": 1024}]}})));
        w.endpoints.push(assignment(&cluster, i, 1 + i % 6));
        let secret = format!("default/cert-{i:03}");
        w.secrets.push(certificate_secret(&secret, if i % 4 == 0 { ecdsa() } else { rsa() }));
        let filters: Vec<Value> =
            http_filters().into_iter().filter(|(l, _)| wanted[i % 4].contains(l)).map(|(_, f)| f).collect();
        let name = format!("listener-{i:03}");
        w.routes.push(table(&name, vec![vhost(&name, &[format!("app-{i}.corp.example.com"), format!("app-{i}.example.net")], vec![
            json!({"name": "api", "match": {"prefix": "/api", "headers": [{"name": "x-a", "string_match": {"prefix": "b"}}]}, "route": {"cluster": cluster, "timeout": "5s"}, "response_headers_to_add": [{"header": {"key": "x-b", "value": "c"}}]}),
            json!({"name": "all", "match": {"prefix": "/"}, "route": {"cluster": cluster}})])]));
        chains.push(with(sni_chain(&format!("app-{i}.corp.example.com"), vec![hcm(&format!("https-{i}"), rds(&name), filters, json!({"access_log": [access_loggers()[1].1], "use_remote_address": true}))]),
            json!({"name": name, "transport_socket": downstream_tls(json!({"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [sds(&secret)]}), json!({}))})));
    }
    w.listeners.push(with(listener("https", chains), json!({"listener_filters": [listener_filter("tls_inspector", "TlsInspector"), listener_filter("proxy_protocol", "ProxyProtocol")]})));
    w
}

fn tcp_gateway(name: &str, ports: usize, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    for i in 0..ports {
        let cluster = format!("tcproute/default/tcp-{i}/rule/-1");
        w.clusters.push(with(
            eds_cluster(&cluster),
            json!({"health_checks": [], "upstream_connection_options": {"tcp_keepalive": {}}}),
        ));
        w.endpoints.push(assignment(&cluster, i, 2));
        let limit = filter(
            "envoy.filters.network.connection_limit",
            "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
            json!({"stat_prefix": format!("tcp-{i}"), "max_connections": 100}),
        );
        w.listeners.push(with(
            listener(
                &format!("default/eg/tcp-{i}"),
                vec![chain(vec![limit, tcp_proxy(&format!("tcp-{}", 10_000 + i), &cluster)])],
            ),
            json!({"stat_prefix": format!("default_eg_tcp-{i}"), "access_log": [access_loggers()[0].1]}),
        ));
    }
    w
}

fn large_endpoints(name: &str, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    for i in 0..24 {
        let cluster = format!("pool-{i}.svc.example.internal");
        w.clusters.push(with(eds_cluster(&cluster), json!({"lb_policy": if i % 2 == 0 { "LEAST_REQUEST" } else { "ROUND_ROBIN" }, "outlier_detection": {"consecutive_5xx": 5}})));
        let groups: Vec<Value> = (0..3)
            .map(|z| json!({"locality": {"region": "eu", "zone": format!("eu-{z}")}, "load_balancing_weight": 10, "lb_endpoints": (0..10 + 4 * i).map(|h| with(endpoint(i * 1000 + z * 300 + h), json!({"load_balancing_weight": 1 + h % 3}))).collect::<Vec<_>>()}))
            .collect();
        w.endpoints.push(typed(
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": cluster, "endpoints": groups}),
        ));
    }
    w
}

fn wide_routes(name: &str, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    for i in 0..30 {
        w.clusters.push(eds_cluster(&format!("app-{i}")));
        w.endpoints.push(assignment(&format!("app-{i}"), i, 2));
    }
    for t in 0..4 {
        let hosts = (0..60)
            .map(|v| {
                let routes = (0..12)
                    .map(|r| {
                        let action = json!({"cluster": format!("app-{}", (v + r) % 30), "timeout": "10s", "retry_policy": {"retry_on": "5xx,reset", "num_retries": 2}});
                        match r % 4 {
                            0 => json!({"match": {"path": format!("/v1/resource/{r}")}, "route": action}),
                            1 => json!({"match": {"safe_regex": {"regex": format!("/v1/{r}/[0-9a-f]+")}}, "route": with(action, json!({"regex_rewrite": {"pattern": {"regex": "^/v1/(.*)$"}, "substitution": "/\\1"}}))}),
                            2 => json!({"match": {"prefix": format!("/v2/{r}"), "headers": [{"name": "x-canary", "present_match": true}, {"name": "x-user", "string_match": {"suffix": "@example.com"}}]}, "route": action, "request_headers_to_remove": ["x-internal"]}),
                            _ => json!({"match": {"prefix": format!("/v3/{r}")}, "route": action, "typed_per_filter_config": {"envoy.filters.http.rbac": typed("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", json!({"rbac": rbac(2)}))}}),
                        }
                    })
                    .collect();
                vhost(&format!("tenant-{t}-{v}"), &(0..3).map(|d| format!("d{d}.tenant-{t}-{v}.example.com")).collect::<Vec<_>>(), routes)
            })
            .collect();
        w.routes.push(table(&format!("table-{t}"), hosts));
        let filters: Vec<Value> =
            http_filters().into_iter().filter(|(l, _)| ["rbac", "fault"].contains(l)).map(|(_, f)| f).collect();
        w.listeners.push(with(
            listener(
                &format!("http-{t}"),
                vec![chain(vec![hcm(&format!("http-{t}"), rds(&format!("table-{t}")), filters, json!({}))])],
            ),
            json!({"stat_prefix": format!("http-{t}")}),
        ));
    }
    w
}

/// Everything in the bootstrap.
fn static_edge(name: &str, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    let bare = |mut v: Value| {
        v.as_object_mut().map(|o| o.remove("@type"));
        v
    };
    let clusters: Vec<Value> = (0..40)
        .map(|i| {
            let name = format!("service_{i}");
            let hosts: Vec<Value> = (0..4).map(|h| json!({"endpoint": {"address": socket_address("127.0.0.1", 3000 + i * 4 + h)}})).collect();
            bare(with(with(plain_cluster(&name, if i % 2 == 0 { "STRICT_DNS" } else { "STATIC" }), json!({"load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
                "transport_socket": upstream_tls(json!({"validation_context": {"trusted_ca": roots(0, 6)}}), "service.example.com")})), http_options(json!({"explicit_http_config": {"http2_protocol_options": {}}}))))
        })
        .collect();
    let hosts = (0..40)
        .map(|i| {
            vhost(
                &format!("service_{i}"),
                &[format!("service-{i}.example.com")],
                vec![route("/", &format!("service_{i}"))],
            )
        })
        .collect();
    let filters: Vec<Value> = http_filters()
        .into_iter()
        .filter(|(l, _)| ["lua", "cors", "health_check"].contains(l))
        .map(|(_, f)| f)
        .collect();
    let http = hcm(
        "ingress_http",
        inline(table("local_route", hosts)),
        filters,
        json!({"access_log": [access_loggers()[3].1]}),
    );
    let listeners: Vec<Value> = (0..4)
        .map(|i| {
            bare(with(
                listener(
                    &format!("listener_{i}"),
                    vec![with(
                        chain(vec![http.clone()]),
                        json!({"transport_socket": downstream_tls(json!({"tls_certificates": [rsa()]}), json!({}))}),
                    )],
                ),
                json!({"stat_prefix": format!("l{i}")}),
            ))
        })
        .collect();
    w.bootstrap = Some(json!({"static_resources": {"clusters": clusters, "listeners": listeners}}));
    w
}

/// Certificate and root of a mesh.
pub(crate) fn mesh_secrets(w: &mut Workload) {
    w.secrets.push(certificate_secret("default", rsa()));
    w.secrets.push(ca_secret("ROOTCA", roots(1, 1), &[]));
}

/// Limits as meshes set them: none.
pub(crate) fn breakers() -> Value {
    json!({"circuit_breakers": {"thresholds": [{"max_connections": 4294967295u32, "max_pending_requests": 4294967295u32,
        "max_requests": 4294967295u32, "max_retries": 4294967295u32, "track_remaining": true}]}})
}

/// Endpoints as Istio writes them: localities, weights, workload metadata.
fn istio_endpoints(cluster: &str, i: usize) -> Value {
    let count = 1 + i % 4;
    let endpoints: Vec<Value> = (0..count)
        .map(|k| {
            with(endpoint(i * 4 + k), json!({"load_balancing_weight": 1, "metadata": {"filter_metadata": {
                "envoy.transport_socket_match": {"tlsMode": "istio"},
                "istio": {"workload": format!("service-{i:04};namespace-{:02};service-{i:04};v1;Kubernetes", i % 10)}}}}))
        })
        .collect();
    typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        json!({"cluster_name": cluster, "endpoints": [
        {"locality": {"region": "region-1", "zone": "zone-a"}, "lb_endpoints": endpoints, "load_balancing_weight": count}]}),
    )
}

fn istio_cluster(i: usize) -> Value {
    let options = http_options(
        json!({"explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": {"idle_timeout": "3600s"}}),
    );
    let base =
        with(with(with(with(eds_cluster(&service(i)), istio_matches(i)), istio_metadata(i)), breakers()), options);
    with(base, json!({"lb_policy": "LEAST_REQUEST", "common_lb_config": {"locality_weighted_lb_config": {}}}))
}

fn istio_filters() -> Vec<Value> {
    let wanted = ["grpc_stats", "fault", "cors"];
    http_filters().into_iter().filter(|(label, _)| wanted.contains(label)).map(|(_, f)| f).collect()
}

/// Istio's HTTP connection manager.
pub(crate) fn istio_hcm(prefix: &str, routes: Value, mut filters: Vec<Value>) -> Value {
    filters.extend(istio_filters());
    hcm(
        prefix,
        routes,
        filters,
        json!({
        "access_log": [access_loggers()[1].1],
        "use_remote_address": false, "normalize_path": true, "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "server_name": "istio-envoy", "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "tracing": {"client_sampling": {"value": 100.0}, "random_sampling": {"value": 1.0}, "overall_sampling": {"value": 100.0}},
        "request_id_extension": {"typed_config": typed("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", json!({"use_request_id_for_trace_sampling": true}))}}),
    )
}

fn istio_downstream_tls() -> Value {
    downstream_tls(
        json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["istio-peer-exchange", "h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [sds("default")],
        "combined_validation_context": {"default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]},
            "validation_context_sds_secret_config": sds("ROOTCA")}}),
        json!({"require_client_certificate": true}),
    )
}

/// A listener filter without settings.
pub(crate) fn listener_filter(name: &str, type_name: &str) -> Value {
    filter(
        &format!("envoy.filters.listener.{name}"),
        &format!("envoy.extensions.filters.listener.{name}.v3.{type_name}"),
        json!({}),
    )
}

/// The chains of an inbound port that is not declared: HTTP with and without mutual TLS, and TCP.
pub(crate) fn istio_inbound(port: usize) -> Vec<Value> {
    let name = format!("inbound|{port}||");
    let table = table(
        &name,
        vec![with(
            vhost(
                "inbound|http|80",
                &["*".into()],
                vec![with(
                    route("/", &name),
                    json!({"name": "default", "decorator": {"operation": "service.default.svc.cluster.local:80/*"}}),
                )],
            ),
            json!({}),
        )],
    );
    let rbac = filter("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", rbac(3));
    let http = istio_hcm(&format!("inbound_0.0.0.0_{port};"), inline(table), vec![rbac]);
    let mut tcp = tcp_proxy(&name, &name);
    tcp["typed_config"]["access_log"] = json!([access_loggers()[1].1]);
    let tls = json!({"transport_socket": istio_downstream_tls()});
    vec![
        with(
            json!({"name": format!("0.0.0.0_{port}"), "filter_chain_match": {"destination_port": port, "transport_protocol": "tls",
            "application_protocols": ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]}, "filters": [http.clone()]}),
            tls.clone(),
        ),
        json!({"name": format!("0.0.0.0_{port}"), "filter_chain_match": {"destination_port": port, "transport_protocol": "raw_buffer"}, "filters": [http]}),
        with(
            json!({"name": format!("tcp-{port}"), "filter_chain_match": {"destination_port": port, "transport_protocol": "tls"}, "filters": [tcp]}),
            tls,
        ),
    ]
}

/// A sidecar of Istio that sees every service.
pub fn istio_sidecar(name: &str, services: usize, workers: u32, fewer_stats: bool) -> Workload {
    let mut w = Workload::new(name, workers);
    if fewer_stats {
        w.bootstrap = Some(istio_stats());
    }
    mesh_secrets(&mut w);
    for i in 0..services {
        w.clusters.push(istio_cluster(i));
        w.endpoints.push(istio_endpoints(&service(i), i));
    }
    for i in 0..3 {
        let name = format!("inbound|{}||", 8080 + i);
        w.clusters.push(with(
            plain_cluster(&name, "ORIGINAL_DST"),
            json!({"lb_policy": "CLUSTER_PROVIDED", "cleanup_interval": "60s",
            "upstream_bind_config": {"source_address": {"address": "127.0.0.6", "port_value": 0}}}),
        ));
    }
    w.clusters
        .push(with(plain_cluster("PassthroughCluster", "ORIGINAL_DST"), json!({"lb_policy": "CLUSTER_PROVIDED"})));
    w.clusters.push(plain_cluster("BlackHoleCluster", "STATIC"));
    // routes: the services over three ports, each with the catch-all of Istio
    for (t, port) in [8080, 80, 9090].into_iter().enumerate() {
        let mut hosts: Vec<Value> = (0..services).filter(|i| i % 3 == t).map(istio_vhost).collect();
        hosts.push(allow_any());
        w.routes.push(with(
            table(&port.to_string(), hosts),
            json!({"max_direct_response_body_size_bytes": 1_048_576, "ignore_port_in_host_matching": true}),
        ));
        let mut l = unbound(
            &format!("0.0.0.0_{port}"),
            t,
            vec![chain(vec![istio_hcm(&format!("outbound_0.0.0.0_{port};"), rds(&port.to_string()), vec![])])],
        );
        l = with(
            l,
            json!({"traffic_direction": "OUTBOUND", "listener_filters": [listener_filter("tls_inspector", "TlsInspector"), listener_filter("http_inspector", "HttpInspector")],
            "default_filter_chain": {"filters": [tcp_proxy("PassthroughCluster", "PassthroughCluster")], "name": "PassthroughFilterChain"}}),
        );
        w.listeners.push(l);
    }
    for i in 0..services / 4 {
        let mut proxy = tcp_proxy(&service(i), &service(i));
        proxy["typed_config"]["access_log"] = json!([access_loggers()[1].1]);
        w.listeners.push(with(
            unbound(&format!("10.96.0.{i}_443"), 100 + i, vec![chain(vec![proxy])]),
            json!({"traffic_direction": "OUTBOUND"}),
        ));
    }
    let inbound: Vec<Value> = (8080..8083).flat_map(istio_inbound).collect();
    w.listeners.push(with(listener("virtualInbound", inbound), json!({"traffic_direction": "INBOUND",
        "listener_filters": [listener_filter("original_dst", "OriginalDst"), listener_filter("tls_inspector", "TlsInspector"), listener_filter("http_inspector", "HttpInspector")],
        "access_log": [access_loggers()[1].1]})));
    w
}

fn istio_gateway(name: &str, hosts: usize, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    w.bootstrap = Some(istio_stats());
    mesh_secrets(&mut w);
    let mut chains = Vec::new();
    for i in 0..hosts {
        w.clusters.push(istio_cluster(i));
        w.endpoints.push(istio_endpoints(&service(i), i));
        let secret = format!("kubernetes://gateway/credential-{i:03}");
        w.secrets.push(certificate_secret(&secret, if i % 2 == 0 { rsa() } else { ecdsa() }));
        let table_name = format!("https.443.https.gateway-{i:03}.default");
        let routes = (0..4)
            .map(|k| {
                json!({"match": {"prefix": format!("/api/v{k}"), "case_sensitive": true}, "name": format!("route-{k}"),
                    "metadata": {"filter_metadata": {"istio": {"config": format!("/apis/networking.istio.io/v1alpha3/namespaces/default/virtual-service/vs-{i}")}}},
                    "decorator": {"operation": format!("vs-{i}:443/api/v{k}*")},
                    "route": {"weighted_clusters": {"clusters": [{"name": service(i), "weight": 90}, {"name": service((i + 1) % hosts), "weight": 10}]}, "timeout": "0s",
                        "retry_policy": {"retry_on": "connect-failure,refused-stream,503", "num_retries": 2}}})
            })
            .collect();
        w.routes.push(table(
            &table_name,
            vec![with(
                vhost(&format!("host-{i:03}.example.com:443"), &[format!("host-{i:03}.example.com")], routes),
                json!({"include_request_attempt_count": true}),
            )],
        ));
        chains.push(with(sni_chain(&format!("host-{i:03}.example.com"), vec![istio_hcm("outbound_0.0.0.0_8443;", rds(&table_name), vec![])]),
            json!({"transport_socket": downstream_tls(json!({"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [sds(&secret)]}), json!({"require_client_certificate": false}))})));
    }
    w.listeners.push(with(listener("0.0.0.0_8443", chains), json!({"traffic_direction": "OUTBOUND", "listener_filters": [listener_filter("tls_inspector", "TlsInspector")]})));
    w
}

/// Contour's two listeners with ingresses behind them.
pub fn contour(name: &str, ingresses: usize, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    let pick = |labels: &[&str]| -> Vec<Value> {
        http_filters().into_iter().filter(|(l, _)| labels.contains(l)).map(|(_, f)| f).collect()
    };
    let http = |table: &str, prefix: &str| {
        hcm(
            prefix,
            rds(table),
            pick(&["compressor", "grpc_web", "grpc_stats", "cors", "lua"]),
            json!({
            "access_log": [access_loggers()[0].1], "common_http_protocol_options": {"idle_timeout": "60s"}, "use_remote_address": true, "normalize_path": true,
            "merge_slashes": true, "http_protocol_options": {"accept_http_10": true}, "server_header_transformation": "PASS_THROUGH"}),
        )
    };
    let mut chains = Vec::new();
    for i in 0..ingresses {
        let cluster = format!("default/backend-{i:04}/80/da39a3ee5e");
        w.clusters.push(with(eds_cluster(&cluster), json!({"alt_stat_name": format!("default_backend-{i:04}_80"), "lb_policy": "LEAST_REQUEST", "common_lb_config": {"healthy_panic_threshold": {}},
            "eds_cluster_config": {"service_name": format!("default/backend-{i:04}/http")}, "ignore_health_on_host_removal": true})));
        w.endpoints.push(assignment(&format!("default/backend-{i:04}/http"), i, 1 + i % 3));
        let fqdn = format!("app-{i:04}.example.com");
        let secret = format!("default/tls-{i:04}/2ab1bb29ac");
        w.secrets.push(certificate_secret(&secret, rsa()));
        w.routes.push(table(&format!("https/{fqdn}"), vec![vhost(&fqdn, std::slice::from_ref(&fqdn), vec![
            json!({"match": {"path_separated_prefix": "/api"}, "route": {"cluster": cluster, "timeout": "15s", "prefix_rewrite": "/", "hash_policy": [{"header": {"header_name": "x-session"}}]}}),
            json!({"match": {"prefix": "/"}, "route": {"cluster": cluster, "retry_policy": {"retry_on": "5xx", "num_retries": 1}}, "request_headers_to_add": [{"header": {"key": "x-ingress", "value": "contour"}}]})])]));
        chains.push(with(sni_chain(&fqdn, vec![http(&format!("https/{fqdn}"), "ingress_https")]),
            json!({"transport_socket": downstream_tls(json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "cipher_suites": ["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]", "ECDHE-ECDSA-AES256-GCM-SHA384"]},
                "alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [sds(&secret)]}), json!({}))})));
    }
    let redirect = (0..ingresses)
        .map(|i| {
            vhost(
                &format!("app-{i:04}.example.com"),
                &[format!("app-{i:04}.example.com")],
                vec![json!({"match": {"prefix": "/"}, "redirect": {"https_redirect": true}})],
            )
        })
        .collect();
    w.routes.push(table("ingress_http", redirect));
    w.listeners.push(listener("ingress_http", vec![chain(vec![http("ingress_http", "ingress_http")])]));
    w.listeners.push(with(
        listener("ingress_https", chains),
        json!({"listener_filters": [listener_filter("tls_inspector", "TlsInspector")], "socket_options":
        [{"level": 1, "name": 9, "int_value": 1, "state": "STATE_LISTENING"}]}),
    ));
    w
}

/// Envoy Gateway with a route, a host and a cluster for each HTTPRoute.
pub fn gateway(name: &str, routes: usize, workers: u32, policies: bool) -> Workload {
    let mut w = Workload::new(name, workers);
    for i in 0..routes {
        let cluster = format!("httproute/default/route-{i:04}/rule/0");
        w.clusters.push(with(eds_cluster(&cluster), json!({"per_connection_buffer_limit_bytes": 32768, "dns_lookup_family": "V4_PREFERRED", "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {"thresholds": [{"max_retries": 1024}]},
            "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "envoy.load_balancing_policies.least_request",
                "typed_config": typed("envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest", json!({"locality_lb_config": {"locality_weighted_lb_config": {}}}))}}]},
            "metadata": {"filter_metadata": {"envoy-gateway": {"resources": [{"kind": "HTTPRoute", "name": format!("route-{i:04}"), "namespace": "default"}]}}}})));
        w.endpoints.push(typed("envoy.config.endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": cluster, "endpoints": [{"locality": {"region": format!("httproute/default/route-{i:04}/rule/0/backend/0")},
            "load_balancing_weight": 1, "lb_endpoints": (0..2).map(|h| with(endpoint(i * 2 + h), json!({"load_balancing_weight": 1}))).collect::<Vec<_>>()}]})));
    }
    let host = |i: usize| {
        let cluster = format!("httproute/default/route-{i:04}/rule/0");
        let mut rule = json!({"name": format!("httproute/default/route-{i:04}/rule/0/match/0/www_{i}_example_com"), "match": {"prefix": "/"},
            "metadata": {"filter_metadata": {"envoy-gateway": {"resources": [{"kind": "HTTPRoute", "name": format!("route-{i:04}"), "namespace": "default"}]}}},
            "route": {"cluster": cluster, "upgrade_configs": [{"upgrade_type": "websocket"}]}});
        let mut rules = vec![];
        if policies {
            rule["match"] = json!({"safe_regex": {"regex": format!("/v[0-9]+/item-{i}/.*")}, "headers": [{"name": "x-tenant", "string_match": {"exact": format!("tenant-{i}")}}]});
            rule["route"]["retry_policy"] = json!({"retry_on": "5xx", "num_retries": 3});
            rule["request_headers_to_add"] = json!([{"header": {"key": "x-route", "value": format!("{i}")}}, {"header": {"key": "x-gateway", "value": "eg"}}]);
            rule["typed_per_filter_config"] = json!({
                "envoy.filters.http.cors": typed("envoy.extensions.filters.http.cors.v3.CorsPolicy", json!({"allow_origin_string_match": [{"exact": "https://example.com"}], "allow_methods": "GET"}))});
            rules.push(rule.clone());
            rule["match"] = json!({"path": format!("/health/{i}")});
            rule.as_object_mut().map(|r| r.remove("typed_per_filter_config"));
            rules.push(rule.clone());
            rules.push(
                json!({"match": {"prefix": "/old"}, "redirect": {"path_redirect": "/new", "response_code": "FOUND"}}),
            );
        } else {
            rules.push(rule);
        }
        with(
            vhost(&format!("default/eg/http/www_{i}_example_com"), &[format!("www-{i:04}.example.com")], rules),
            json!({"metadata": {"filter_metadata": {"envoy-gateway": {"resources": [{"kind": "Gateway", "name": "eg", "namespace": "default", "sectionName": "http"}]}}}}),
        )
    };
    w.routes.push(with(
        table("default/eg/http", (0..routes).map(host).collect()),
        json!({"ignore_port_in_host_matching": true}),
    ));
    let mut filters: Vec<Value> = Vec::new();
    if policies {
        filters.extend(
            http_filters()
                .into_iter()
                .filter(|(l, _)| {
                    ["cors", "jwt_authn", "ext_authz", "rbac", "local_ratelimit", "compressor"].contains(l)
                })
                .map(|(_, f)| f),
        );
        w.clusters.push(eds_cluster("backend"));
        w.endpoints.push(assignment("backend", 9999, 1));
    }
    w.listeners.push(with(listener("default/eg/http", vec![]), json!({"per_connection_buffer_limit_bytes": 32768,
        "default_filter_chain": {"name": "default/eg/http", "filters": [hcm("http-10080", rds("default/eg/http"), filters, json!({
            "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}, "use_remote_address": true, "normalize_path": true, "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "access_log": [access_loggers()[2].1],
            "http2_protocol_options": {"initial_connection_window_size": 1_048_576, "initial_stream_window_size": 65536, "max_concurrent_streams": 100}}))]}})));
    w
}

/// The sidecar of a client in a mesh of Open Service Mesh 1.2; `module` is the length of the Wasm module that the
/// statistics feature puts into every chain.
pub fn osm(name: &str, services: usize, workers: u32, permissive: bool, module: Option<usize>) -> Workload {
    let mut w = Workload::new(name, workers);
    w.secrets.push(certificate_secret("service-cert:default/client", rsa()));
    w.secrets.push(ca_secret("root-cert-for-mtls-inbound:default/client", roots(1, 1), &[]));
    let lua = "function envoy_on_request(h)\n  h:headers():add('osm-stats-namespace', 'default')\n  h:headers():add('osm-stats-kind', 'Deployment')\n  h:headers():add('osm-stats-name', 'client')\n  h:headers():add('osm-stats-pod', 'client-0')\nend\nfunction envoy_on_response(h)\nend\n";
    let module = module.map(|bytes| base64(&wasm_module(bytes)));
    let http = |prefix: &str, routes: Value| {
        let mut filters = vec![
            filter("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", json!({})),
            filter(
                "envoy.filters.http.local_ratelimit",
                "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                json!({"stat_prefix": prefix}),
            ),
        ];
        let mut extra = json!({"access_log": [access_loggers()[3].1]});
        if let Some(module) = &module {
            filters.push(filter("http_lua", "envoy.extensions.filters.http.lua.v3.Lua", json!({"inline_code": lua})));
            filters.push(filter("envoy.filters.http.wasm", "envoy.extensions.filters.http.wasm.v3.Wasm", json!({"config": {"name": "stats", "vm_config":
                {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_bytes": module}}, "allow_precompiled": true}}})));
            extra["local_reply_config"] = json!({"mappers": [{"filter": {"not_health_check_filter": {}}, "headers_to_add":
                (0..4).map(|k| json!({"header": {"key": format!("osm-stats-{k}"), "value": "unknown"}})).collect::<Vec<_>>()}]});
        }
        hcm(prefix, routes, filters, extra)
    };
    let mut outbound = Vec::new();
    if permissive {
        for i in 0..services {
            let cluster = format!("default/service-{i:02}|80");
            let root = format!("root-cert-for-mtls-outbound:default/service-{i:02}");
            w.secrets.push(ca_secret(&root, roots(1, 1), &[format!("service-{i:02}.default.cluster.local")]));
            w.clusters.push(with(with(with(eds_cluster(&cluster), breakers()), http_options(json!({"use_downstream_protocol_config": {"http2_protocol_options": {}}}))), json!({"transport_socket":
                upstream_tls(json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}, "alpn_protocols": ["osm"],
                    "tls_certificate_sds_secret_configs": [sds("service-cert:default/client")], "validation_context_sds_secret_config": sds(&root)}), &format!("service-{i:02}.default.svc.cluster.local"))})));
            w.endpoints.push(assignment(&cluster, i, 1));
            outbound.push(json!({"name": format!("outbound_default/service-{i:02}_80_http"), "filter_chain_match": {"destination_port": 80, "prefix_ranges": [{"address_prefix": format!("10.0.{}.{}", i / 250, i % 250 + 1), "prefix_len": 32}]},
                "filters": [http("mesh-http-conn-manager.rds-outbound.80", rds("rds-outbound.80"))]}));
        }
        let hosts = (0..services)
            .map(|i| {
                let n = format!("service-{i:02}");
                let domains: Vec<String> = ["", ".default", ".default.svc", ".default.svc.cluster", ".default.svc.cluster.local"].iter().flat_map(|s| [format!("{n}{s}"), format!("{n}{s}:80")]).collect();
                vhost(&format!("outbound_virtual-host|{n}.default.svc.cluster.local"), &domains, vec![json!({"match": {"safe_regex": {"regex": ".*"}, "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": ".*"}}}]},
                    "route": {"timeout": "0s", "weighted_clusters": {"clusters": [{"name": format!("default/{n}|80"), "weight": 100}], "total_weight": 100}}})])
            })
            .collect();
        w.routes.push(table("rds-outbound.80", hosts));
    }
    w.clusters
        .push(with(plain_cluster("passthrough-outbound", "ORIGINAL_DST"), json!({"lb_policy": "CLUSTER_PROVIDED"})));
    w.clusters.push(with(plain_cluster("default/client|80|local", "STRICT_DNS"), json!({"load_assignment": {"cluster_name": "default/client|80|local", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address("127.0.0.1", 80)}}]}]}})));
    w.listeners.push(with(listener("outbound-listener", outbound), json!({"traffic_direction": "OUTBOUND",
        "default_filter_chain": {"name": "outbound-mesh-filter-chain", "filters": [tcp_proxy("passthrough-outbound", "passthrough-outbound")]},
        "listener_filters": [listener_filter("original_dst", "OriginalDst"), listener_filter("http_inspector", "HttpInspector")]})));
    let inbound = with(
        json!({"name": "inbound-mesh-http-filter-chain:default/client:80", "filter_chain_match": {"destination_port": 80, "transport_protocol": "tls", "server_names": ["client.default.svc.cluster.local"], "application_protocols": ["osm"]},
        "filters": [http("mesh-http-conn-manager.rds-inbound.80", rds("rds-inbound.80"))]}),
        json!({"transport_socket": downstream_tls(json!({"alpn_protocols": ["osm"], "tls_certificate_sds_secret_configs": [sds("service-cert:default/client")],
            "validation_context_sds_secret_config": sds("root-cert-for-mtls-inbound:default/client")}), json!({"require_client_certificate": true}))}),
    );
    w.listeners.push(with(listener("inbound-listener", vec![inbound]), json!({"traffic_direction": "INBOUND", "listener_filters": [listener_filter("tls_inspector", "TlsInspector"), listener_filter("original_dst", "OriginalDst")]})));
    w.routes.push(table("rds-inbound.80", vec![vhost("inbound_virtual-host|client", &["*".into()], vec![json!({"match": {"safe_regex": {"regex": ".*"}}, "route": {"timeout": "0s", "weighted_clusters": {"clusters": [{"name": "default/client|80|local", "weight": 100}]}},
        "typed_per_filter_config": {"envoy.filters.http.rbac": typed("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", json!({"rbac": {"rules": {"policies": {"rbac-for-route": {"permissions": [{"any": true}], "principals": [{"any": true}]}}}}}))}})])]));
    w
}

/// A sidecar of a mesh with revisions of Knative 1.11: two Services and eight clusters each.
pub fn knative(name: &str, revisions: usize, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    w.bootstrap = Some(istio_stats());
    mesh_secrets(&mut w);
    let ports = [80, 9090, 9091, 8022, 8012];
    let mut tables: Vec<Vec<Value>> = vec![Vec::new(); ports.len()];
    for r in 0..revisions {
        let public = format!("hello-{r:05}");
        let private = format!("hello-{r:05}-private");
        for (service, ports) in [(&public, &[80, 443][..]), (&private, &[80, 443, 9090, 9091, 8022, 8012][..])] {
            for port in ports {
                let name = format!("outbound|{port}||{service}.default.svc.cluster.local");
                w.clusters.push(with(with(with(eds_cluster(&name), istio_matches(r)), istio_metadata(r)), breakers()));
                w.endpoints.push(if *service == public {
                    istio_endpoints(&name, r)
                } else {
                    typed("envoy.config.endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": name}))
                });
                if let Some(t) = [80, 9090, 9091, 8022, 8012].iter().position(|p| p == port) {
                    let host = format!("{service}.default.svc.cluster.local");
                    tables[t].push(with(vhost(&format!("{host}:{port}"), &[host.clone(), service.clone(), format!("{service}.default.svc"), format!("{service}.default"), format!("10.{}.{}.{}", if *service == public { 96 } else { 97 }, r / 250, r % 250)],
                        vec![json!({"name": "default", "match": {"prefix": "/"}, "decorator": {"operation": format!("{host}:{port}/*")}, "route": {"cluster": name, "timeout": "0s", "max_grpc_timeout": "0s",
                            "retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", "num_retries": 2, "retriable_status_codes": [503],
                                "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}))}], "host_selection_retry_max_attempts": "5"}}})]),
                        json!({"include_request_attempt_count": true})));
                }
                if *port == 443 {
                    let mut proxy = tcp_proxy(&name, &name);
                    proxy["typed_config"]["access_log"] = json!([access_loggers()[1].1]);
                    w.listeners.push(with(
                        unbound(
                            &format!("10.96.{}.{}_443", r / 250, r % 250),
                            w.listeners.len(),
                            vec![chain(vec![proxy])],
                        ),
                        json!({"traffic_direction": "OUTBOUND", "name": format!("{service}_443")}),
                    ));
                }
            }
        }
    }
    for (port, hosts) in ports.into_iter().zip(tables) {
        w.routes.push(table(&port.to_string(), hosts));
        w.listeners.push(with(unbound(&format!("0.0.0.0_{port}"), 60_000 + port, vec![chain(vec![istio_hcm(&format!("outbound_0.0.0.0_{port};"), rds(&port.to_string()), vec![])])]),
            json!({"traffic_direction": "OUTBOUND", "listener_filters": [listener_filter("http_inspector", "HttpInspector")]})));
    }
    w
}

/// A hand-written edge: many balancers, outlier detection, priorities, many hosts.
fn edge(name: &str, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    if name.contains("deferred") {
        w.bootstrap = Some(
            json!({"deferred_stat_options": {"enable_deferred_creation_stats": true}, "cluster_manager": {"enable_deferred_cluster_creation": true}}),
        );
    }
    for i in 0..80 {
        let name = format!("shard_{i}");
        let policy = match i % 8 {
            0 => json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 2048}}),
            1 => json!({"lb_policy": "MAGLEV"}),
            2 => json!({"lb_policy": "RANDOM"}),
            3 => json!({"lb_policy": "LEAST_REQUEST", "outlier_detection": {"consecutive_5xx": 3}}),
            4 => {
                json!({"transport_socket": upstream_tls(json!({"alpn_protocols": ["h2"], "validation_context": {"trusted_ca": roots(0, 20)}}), "shard.example.com")})
            }
            _ => {
                json!({"outlier_detection": {"interval": "5s"}, "circuit_breakers": {"thresholds": [{"max_connections": 100}]}})
            }
        };
        w.clusters.push(with(
            with(eds_cluster(&name), policy),
            http_options(json!({"explicit_http_config": {"http2_protocol_options": {}}})),
        ));
        let groups: Vec<Value> = (0..1 + i % 3)
            .map(|p| json!({"locality": {"region": "r", "zone": format!("z{p}")}, "priority": if i % 8 == 5 { p } else { 0 }, "load_balancing_weight": 1 + p,
                "lb_endpoints": (0..4 + i % 12).map(|h| with(endpoint(i * 100 + p * 30 + h), json!({"load_balancing_weight": if i % 8 == 6 { 1 + h } else { 1 }}))).collect::<Vec<_>>()}))
            .collect();
        w.endpoints.push(typed(
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": name, "endpoints": groups}),
        ));
    }
    let hosts = (0..40)
        .map(|i| vhost(&format!("tenant_{i}"), &[format!("tenant-{i}.example.com"), format!("*.tenant-{i}.example.com")], (0..6).map(|k| match k {
            0 => json!({"match": {"path": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}),
            1 => json!({"match": {"prefix": "/login"}, "redirect": {"host_redirect": "login.example.com"}}),
            2 => json!({"match": {"prefix": "/v2", "query_parameters": [{"name": "debug", "present_match": true}]}, "route": {"cluster": format!("shard_{i}")}}),
            3 => json!({"match": {"prefix": "/copy"}, "route": {"cluster": format!("shard_{i}"), "request_mirror_policies": [{"cluster": "shard_0"}], "hash_policy": [{"cookie": {"name": "s", "ttl": "60s"}}]}}),
            4 => json!({"match": {"prefix": "/split"}, "route": {"weighted_clusters": {"clusters": (0..3).map(|c| json!({"name": format!("shard_{}", (i + c) % 80), "weight": 1})).collect::<Vec<_>>()}}}),
            _ => json!({"match": {"prefix": "/"}, "route": {"cluster": format!("shard_{}", i + 40), "timeout": "3s"}}),
        }).collect()))
        .collect();
    w.routes.push(table("edge", hosts));
    let filters: Vec<Value> = http_filters()
        .into_iter()
        .filter(|(l, _)| ["buffer", "health_check", "csrf", "header_to_metadata", "ip_tagging"].contains(l))
        .map(|(_, f)| f)
        .collect();
    w.listeners.push(listener(
        "http",
        vec![chain(vec![hcm("edge", rds("edge"), filters.clone(), json!({"access_log": [access_loggers()[3].1]}))])],
    ));
    for i in 0..6 {
        w.listeners.push(with(
            listener(&format!("tcp_{i}"), vec![chain(vec![tcp_proxy(&format!("tcp_{i}"), &format!("shard_{i}"))])]),
            json!({"stat_prefix": format!("tcp_{i}")}),
        ));
    }
    w
}

/// Everything inline, as older control planes and hand-written files have it.
fn legacy(name: &str, workers: u32) -> Workload {
    let mut w = Workload::new(name, workers);
    for i in 0..60 {
        let name = format!("legacy-{i}");
        let hosts: Vec<Value> =
            (0..3).map(|h| json!({"endpoint": {"address": socket_address("127.0.0.1", 2000 + i * 3 + h)}})).collect();
        w.clusters.push(with(plain_cluster(&name, if i % 2 == 0 { "STATIC" } else { "STRICT_DNS" }), json!({"load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
            "circuit_breakers": {"thresholds": [{"max_connections": 10}, {"priority": "HIGH", "max_connections": 20}]}})));
    }
    let chains: Vec<Value> = (0..60)
        .map(|i| {
            let hosts = (0..4).map(|k| vhost(&format!("v{k}"), &[format!("v{k}.site-{i}.example.com")], vec![route("/a", &format!("legacy-{i}")), route("/", &format!("legacy-{i}"))])).collect();
            let http = hcm(&format!("site_{i}"), inline(table(&format!("site_{i}"), hosts)), http_filters().into_iter().filter(|(l, _)| ["fault", "cors"].contains(l)).map(|(_, f)| f).collect(), json!({}));
            with(sni_chain(&format!("*.site-{i}.example.com"), vec![http]), json!({"transport_socket": downstream_tls(json!({"tls_certificates": [if i % 3 == 0 { ecdsa() } else { rsa() }]}), json!({}))}))
        })
        .collect();
    w.listeners.push(with(
        listener("sites", chains),
        json!({"listener_filters": [listener_filter("tls_inspector", "TlsInspector")]}),
    ));
    w
}
