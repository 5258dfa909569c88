//! The design of experiments: one factor at a time, each workload `COUNT` copies of one object.
//!
//! Names are `family/factor=level`. A workload differs from its family's plain one in one thing only, so that their
//! difference over the count is the price of that thing.

use serde_json::{Value, json};

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

fn host_with_route(i: usize, route: Value) -> Value {
    vhost(&format!("vhost-{i:04}"), &[format!("host-{i:04}.example.com")], vec![route])
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

/// HTTP filters, each with the configuration people give it. `(label, name, type, fields)`.
pub fn http_filters() -> Vec<(&'static str, Value)> {
    let h = |label: &'static str, type_name: &str, fields: Value| {
        (label, filter(&format!("envoy.filters.http.{label}"), type_name, fields))
    };
    let grpc = json!({"envoy_grpc": {"cluster_name": "backend"}, "timeout": "0.5s"});
    let bucket = json!({"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"});
    let on = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    vec![
        h("cors", "envoy.extensions.filters.http.cors.v3.Cors", json!({})),
        h("fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", json!({})),
        h("rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", json!({})),
        h("lua", "envoy.extensions.filters.http.lua.v3.Lua", json!({"default_source_code": {"inline_string": LUA}})),
        h("jwt_authn", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", jwt(1)),
        h(
            "ext_authz",
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            json!({"grpc_service": grpc, "transport_api_version": "V3"}),
        ),
        h(
            "local_ratelimit",
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            json!({"stat_prefix": "http_local_rate_limiter", "token_bucket": bucket, "filter_enabled": on, "filter_enforced": on}),
        ),
        h(
            "ratelimit",
            "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            json!({"domain": "d", "rate_limit_service": {"grpc_service": grpc, "transport_api_version": "V3"}}),
        ),
        h("grpc_web", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", json!({})),
        h(
            "grpc_stats",
            "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
            json!({"emit_filter_state": true, "stats_for_all_methods": false}),
        ),
        h("grpc_http1_bridge", "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config", json!({})),
        h(
            "compressor",
            "envoy.extensions.filters.http.compressor.v3.Compressor",
            json!({"compressor_library": {"name": "gzip", "typed_config": typed("envoy.extensions.compression.gzip.compressor.v3.Gzip", json!({}))}}),
        ),
        h("buffer", "envoy.extensions.filters.http.buffer.v3.Buffer", json!({"max_request_bytes": 1_048_576})),
        h(
            "header_mutation",
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            json!({"mutations": {"request_mutations": [{"append": {"header": {"key": "x-lab", "value": "1"}}}]}}),
        ),
        h("csrf", "envoy.extensions.filters.http.csrf.v3.CsrfPolicy", json!({"filter_enabled": on})),
        h(
            "health_check",
            "envoy.extensions.filters.http.health_check.v3.HealthCheck",
            json!({"pass_through_mode": false, "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}]}),
        ),
        h("on_demand", "envoy.extensions.filters.http.on_demand.v3.OnDemand", json!({})),
        h("stateful_session", "envoy.extensions.filters.http.stateful_session.v3.StatefulSession", json!({})),
        h(
            "header_to_metadata",
            "envoy.extensions.filters.http.header_to_metadata.v3.Config",
            json!({"request_rules": [{"header": "x-version", "on_header_present": {"metadata_namespace": "envoy.lb", "key": "version", "type": "STRING"}}]}),
        ),
        h(
            "set_metadata",
            "envoy.extensions.filters.http.set_metadata.v3.Config",
            json!({"metadata": [{"metadata_namespace": "lab", "value": {"a": "b"}}]}),
        ),
        h(
            "decompressor",
            "envoy.extensions.filters.http.decompressor.v3.Decompressor",
            json!({"decompressor_library": {"name": "gzip", "typed_config": typed("envoy.extensions.compression.gzip.decompressor.v3.Gzip", json!({}))}}),
        ),
        h(
            "bandwidth_limit",
            "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
            json!({"stat_prefix": "bw", "enable_mode": "REQUEST", "limit_kbps": 1000}),
        ),
        h(
            "admission_control",
            "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
            json!({"success_criteria": {"http_criteria": {"http_success_status": [{"start": 200, "end": 300}]}, "grpc_criteria": {"grpc_success_status": [0]}}}),
        ),
        h(
            "adaptive_concurrency",
            "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
            json!({"gradient_controller_config": {"concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
                 "min_rtt_calc_params": {"interval": "30s", "request_count": 50}}, "enabled": {"default_value": true, "runtime_key": "adaptive"}}),
        ),
        h("ext_proc", "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", json!({"grpc_service": grpc})),
        h(
            "basic_auth",
            "envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
            json!({"users": {"inline_string": "user1:{SHA}tESsBmE/yNY3lb6a0L6vVQEZNqw=\n"}}),
        ),
        h("custom_response", "envoy.extensions.filters.http.custom_response.v3.CustomResponse", json!({})),
        h(
            "oauth2",
            "envoy.extensions.filters.http.oauth2.v3.OAuth2",
            json!({"config": {
            "token_endpoint": {"cluster": "backend", "uri": "https://idp.example.com/token", "timeout": "3s"},
            "authorization_endpoint": "https://idp.example.com/authorize",
            "redirect_uri": "https://%REQ(:authority)%/callback",
            "redirect_path_matcher": {"path": {"exact": "/callback"}}, "signout_path": {"path": {"exact": "/signout"}},
            "credentials": {"client_id": "lab", "token_secret": sds("token"), "hmac_secret": sds("hmac")}}}),
        ),
        h(
            "ip_tagging",
            "envoy.extensions.filters.http.ip_tagging.v3.IPTagging",
            json!({"request_type": "BOTH", "ip_tags": [{"ip_tag_name": "internal", "ip_list": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}]}),
        ),
        h(
            "alternate_protocols_cache",
            "envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig",
            json!({}),
        ),
        h(
            "api_key_auth",
            "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            json!({"credentials": [{"key": "secret", "client": "one"}], "key_sources": [{"header": "x-key"}]}),
        ),
    ]
}

const LUA: &str = "function envoy_on_request(handle)\n  handle:headers():add('x-lab', 'request')\nend\nfunction envoy_on_response(handle)\n  handle:headers():add('x-lab', 'response')\nend\n";

fn long_lua() -> String {
    let mut code = LUA.to_owned();
    for i in 0..200 {
        code.push_str(&format!(
            "local function helper_{i}(handle)\n  return handle:headers():get('x-header-{i}')\nend\n"
        ));
    }
    code
}

/// `jwt_authn` with `rules` rules and a local key set.
fn jwt(rules: usize) -> Value {
    const KEYS: &str = r#"{"keys":[{"kty":"RSA","alg":"RS256","use":"sig","kid":"lab","n":"u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-qKhbwKfBstIs-bMY2Zkp18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_VDL5AaWTg0nLVkjRo9z-40RQzuVaE8AkAFmxZzow3x-VJYKdjykkJ0iT9wCS0DRTXu269V264Vf_3jvredZiKRkgwlL9xNAwxXFg0x_XFw005UWVRIkdgcKWTjpBP2dPwVZ4WWC-9aGVd-Gyn1o0CLelf4rEjGoXbAAEgAqeGUxrcIlbjXfbcmw","e":"AQAB"}]}"#;
    let rules: Vec<Value> = (0..rules)
        .map(|i| json!({"match": {"prefix": format!("/service-{i}")}, "requires": {"provider_name": "idp"}}))
        .collect();
    json!({"providers": {"idp": {"issuer": "https://idp.example.com", "audiences": ["lab"], "local_jwks": {"inline_string": KEYS}}}, "rules": rules})
}

/// RBAC with `n` Istio-shaped policies.
pub fn rbac(n: usize) -> Value {
    let policies: serde_json::Map<String, Value> = (0..n)
        .map(|i| {
            (format!("ns[default]-policy[allow-{i:03}]-rule[0]"), json!({
                "permissions": [{"and_rules": {"rules": [
                    {"or_rules": {"rules": [{"header": {"name": ":method", "string_match": {"exact": "GET"}}}]}},
                    {"or_rules": {"rules": [{"url_path": {"path": {"prefix": format!("/api/v1/resource-{i}")}}}]}}]}}],
                "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": [{"authenticated": {"principal_name":
                    {"exact": format!("spiffe://cluster.local/ns/default/sa/account-{i:03}")}}}]}}]}}]
            }))
        })
        .collect();
    json!({"rules": {"action": "ALLOW", "policies": policies}})
}

/// Access loggers.
pub fn access_loggers() -> Vec<(&'static str, Value)> {
    let l = |label: &'static str, type_name: &str, fields: Value| {
        (label, filter(&format!("envoy.access_loggers.{label}"), type_name, fields))
    };
    let text = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";
    let fields = json!({"start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%", "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%", "user_agent": "%REQ(USER-AGENT)%", "request_id": "%REQ(X-REQUEST-ID)%",
        "authority": "%REQ(:AUTHORITY)%", "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER%"});
    let als = json!({"log_name": "lab", "transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": "backend"}}});
    vec![
        l("file", "envoy.extensions.access_loggers.file.v3.FileAccessLog", json!({"path": "/dev/null"})),
        l(
            "file_text",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            json!({"path": "/dev/null", "log_format": {"text_format_source": {"inline_string": text}}}),
        ),
        l(
            "file_json",
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            json!({"path": "/dev/null", "log_format": {"json_format": fields}}),
        ),
        l("stdout", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", json!({})),
        l(
            "http_grpc",
            "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            json!({"common_config": als}),
        ),
        l(
            "open_telemetry",
            "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
            json!({"common_config": als, "body": {"string_value": text}}),
        ),
    ]
}

fn wasm(size: usize, shared: bool) -> Value {
    let mut vm =
        json!({"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_bytes": base64(&wasm_module(size))}}});
    if shared {
        vm["vm_id"] = "shared".into();
    }
    filter(
        "envoy.filters.http.wasm",
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        json!({"config": {"name": "stats", "vm_config": vm}}),
    )
}

/// The `tls` part of Istio's `transport_socket_matches`.
pub fn istio_matches(i: usize) -> Value {
    let tls = upstream_tls(
        json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
               "alpn_protocols": ["istio-peer-exchange", "istio"],
               "tls_certificate_sds_secret_configs": [sds("default")],
               "combined_validation_context": {"default_validation_context": {"match_typed_subject_alt_names":
                   [{"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/default/sa/default"}}]},
                   "validation_context_sds_secret_config": sds("ROOTCA")}}),
        &format!("outbound_.8080_._.service-{i:04}.namespace-{:02}.svc.cluster.local", i % 10),
    );
    json!({"transport_socket_matches": [
        {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": tls},
        {"name": "tlsMode-disabled", "match": {}, "transport_socket": {"name": "envoy.transport_sockets.raw_buffer",
            "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", json!({}))}}]})
}

/// Istio's cluster metadata.
pub fn istio_metadata(i: usize) -> Value {
    json!({"metadata": {"filter_metadata": {"istio": {
        "default_original_port": 8080.0,
        "services": [{"host": format!("service-{i:04}.namespace-{:02}.svc.cluster.local", i % 10), "name": format!("service-{i:04}"), "namespace": format!("namespace-{:02}", i % 10)}]}}}})
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
    clusters(&mut d);
    hosts(&mut d);
    stats(&mut d);
    listeners(&mut d);
    chains(&mut d);
    routes(&mut d);
    bootstraps(&mut d);
    first_uses(&mut d);
    shapes(&mut d);
    subscriptions(&mut d);
    d.0
}

fn clusters(d: &mut Design) {
    for n in [1, 5, 25, 50, 100, 200, 400, 1000] {
        d.clusters(&format!("eds n={n}"), 1, n, 1, none);
    }
    for workers in [2, 4, 8] {
        d.clusters(&format!("eds workers={workers}"), workers, 100, 1, none);
    }
    let c = |i: usize| format!("cluster-{i:04}");
    d.clusters("name=short", 1, 100, 1, |i| json!({"name": c(i)}));
    d.clusters("name=long", 1, 100, 1, |i| json!({"name": format!("{}-{}", c(i), "x".repeat(150))}));
    d.clusters("name=dots", 1, 100, 1, |i| json!({"name": format!("a.b.c.d.e.f.g.h.{i}.example.com")}));
    d.clusters("alt_stat_name", 1, 100, 1, |i| json!({"alt_stat_name": format!("stat_{i}")}));
    d.clusters("service_name", 1, 100, 1, |i| json!({"eds_cluster_config": {"service_name": service(i)}}));
    for (label, kind) in [("static", "STATIC"), ("strict_dns", "STRICT_DNS"), ("logical_dns", "LOGICAL_DNS")] {
        for hosts in [1usize, 10] {
            if kind == "LOGICAL_DNS" && hosts > 1 {
                continue;
            }
            d.add(format!("cluster/{label} hosts={hosts}"), 1, |w| {
                for i in 0..100 {
                    let endpoints: Vec<Value> = (0..hosts)
                        .map(|h| json!({"endpoint": {"address": socket_address("127.0.0.1", 1000 + i * hosts + h)}}))
                        .collect();
                    w.clusters.push(with(
                        plain_cluster(&service(i), kind),
                        json!({"load_assignment":
                        {"cluster_name": service(i), "endpoints": [{"lb_endpoints": endpoints}]}}),
                    ));
                }
            });
        }
    }
    d.add("cluster/static hosts=0", 1, |w| {
        w.clusters = (0..100).map(|i| plain_cluster(&service(i), "STATIC")).collect()
    });
    for workers in [1, 4] {
        d.add(format!("cluster/original_dst workers={workers}"), workers, |w| {
            w.clusters = (0..100)
                .map(|i| with(plain_cluster(&service(i), "ORIGINAL_DST"), json!({"lb_policy": "CLUSTER_PROVIDED"})))
                .collect();
        });
    }
    let http2 = http_options(json!({"explicit_http_config": {"http2_protocol_options": {}}}));
    let downstream = http_options(
        json!({"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}),
    );
    let auto = http_options(json!({"auto_config": {}}));
    let common = http_options(
        json!({"explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": {"idle_timeout": "60s"}}),
    );
    let upstream_filters = http_options(
        json!({"explicit_http_config": {"http_protocol_options": {}}, "http_filters": [
        filter("envoy.filters.http.header_mutation", "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", json!({})),
        filter("envoy.filters.http.upstream_codec", "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec", json!({}))]}),
    );
    d.clusters("http=http2", 1, 100, 1, |_| http2.clone());
    d.clusters("http=downstream", 1, 100, 1, |_| downstream.clone());
    // an automatic choice of protocol needs a transport socket that can negotiate one
    let negotiating =
        json!({"transport_socket": upstream_tls(json!({"alpn_protocols": ["h2", "http/1.1"]}), "lab.example.com")});
    d.clusters("http=auto", 1, 100, 1, |_| with(auto.clone(), negotiating.clone()));
    d.clusters("http=common", 1, 100, 1, |_| common.clone());
    d.clusters("http=filters", 1, 100, 1, |_| upstream_filters.clone());
    d.clusters("breakers=1", 1, 100, 1, |_| limits(json!({})));
    d.clusters("breakers=track", 1, 100, 1, |_| limits(json!({"track_remaining": true})));
    d.clusters("breakers=2", 1, 100, 1, |_| {
        json!({"circuit_breakers": {"thresholds":
        [{"max_connections": 100, "max_retries": 5}, {"priority": "HIGH", "max_connections": 100, "max_retries": 5}]}})
    });
    d.clusters(
        "outlier",
        1,
        100,
        1,
        |_| json!({"outlier_detection": {"consecutive_5xx": 5, "interval": "10s", "base_ejection_time": "30s"}}),
    );
    d.clusters(
        "outlier hosts=10",
        1,
        100,
        10,
        |_| json!({"outlier_detection": {"consecutive_5xx": 5, "interval": "10s", "base_ejection_time": "30s"}}),
    );
    let check = |kind: Value| {
        with(
            json!({"timeout": "1s", "interval": "3600s", "no_traffic_interval": "3600s", "unhealthy_threshold": 1, "healthy_threshold": 1}),
            kind,
        )
    };
    // unroutable hosts never answer, so the first round is what ends warming: a short timeout
    d.clusters(
        "health=tcp",
        1,
        50,
        1,
        |_| json!({"health_checks": [check(json!({"tcp_health_check": {}}))], "wait_for_warm_on_init": false}),
    );
    d.clusters(
        "health=http",
        1,
        50,
        1,
        |_| json!({"health_checks": [check(json!({"http_health_check": {"path": "/healthz"}}))]}),
    );
    d.clusters("metadata", 1, 100, 1, istio_metadata);
    d.clusters("metadata=large", 1, 100, 1, |i| {
        json!({"metadata": {"filter_metadata": {"lab": {"list":
        (0..20).map(|k| json!({"host": format!("host-{i}-{k}.example.com"), "port": k})).collect::<Vec<_>>()}}}})
    });
    d.clusters("timeouts", 1, 100, 1, |_| json!({"per_connection_buffer_limit_bytes": 32768, "cleanup_interval": "60s", "dns_lookup_family": "V4_ONLY"}));
    d.clusters(
        "keepalive",
        1,
        100,
        1,
        |_| json!({"upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}}}),
    );
    d.clusters(
        "common_lb",
        1,
        100,
        1,
        |_| json!({"common_lb_config": {"locality_weighted_lb_config": {}, "healthy_panic_threshold": {}}}),
    );
    d.clusters("merge", 1, 100, 1, |_| json!({"common_lb_config": {"ignore_new_hosts_until_first_hc": true}}));
    d.clusters(
        "slow_start",
        1,
        100,
        2,
        |_| json!({"round_robin_lb_config": {"slow_start_config": {"slow_start_window": "30s"}}}),
    );
    for workers in [1, 4] {
        d.add(format!("cluster/tls=istio workers={workers}"), workers, |w| {
            mesh_secrets(w);
            for i in 0..100 {
                w.clusters.push(with(eds_cluster(&service(i)), istio_matches(i)));
                w.endpoints.push(assignment(&service(i), i, 1));
            }
        });
    }
    let tls = |w: &mut Workload, common: &dyn Fn(usize) -> Value| {
        for i in 0..100 {
            w.clusters.push(with(
                eds_cluster(&service(i)),
                json!({"transport_socket": upstream_tls(common(i), &format!("service-{i:04}.example.com"))}),
            ));
            w.endpoints.push(assignment(&service(i), i, 1));
        }
    };
    d.add("cluster/tls=plain", 1, |w| tls(w, &|_| json!({})));
    d.add("cluster/tls=alpn", 1, |w| tls(w, &|_| json!({"alpn_protocols": ["h2", "http/1.1"]})));
    d.add("cluster/tls=rsa", 1, |w| tls(w, &|_| json!({"tls_certificates": [rsa()]})));
    d.add("cluster/tls=ecdsa", 1, |w| tls(w, &|_| json!({"tls_certificates": [ecdsa()]})));
    d.add("cluster/tls=sds", 1, |w| {
        mesh_secrets(w);
        tls(w, &|_| json!({"tls_certificate_sds_secret_configs": [sds("default")]}));
    });
    d.add("cluster/tls=sds ca", 1, |w| {
        mesh_secrets(w);
        tls(w, &|_| json!({"validation_context_sds_secret_config": sds("ROOTCA")}));
    });
    d.add("cluster/tls=sds both", 1, |w| {
        mesh_secrets(w);
        tls(w, &|_| json!({"tls_certificate_sds_secret_configs": [sds("default")], "validation_context_sds_secret_config": sds("ROOTCA")}));
    });
    d.add("cluster/tls=sds own ca", 1, |w| {
        for i in 0..100 {
            w.secrets.push(ca_secret(&format!("root-cert-for-mtls-outbound:default/service-{i}"), roots(0, 1), &[format!("service-{i}.default.cluster.local")]));
        }
        tls(w, &|i| json!({"validation_context_sds_secret_config": sds(&format!("root-cert-for-mtls-outbound:default/service-{i}"))}));
    });
    d.add("cluster/tls=sds ca 50", 1, |w| {
        w.secrets.push(ca_secret("ROOTCA", roots(0, 50), &[]));
        tls(w, &|_| json!({"validation_context_sds_secret_config": sds("ROOTCA")}));
    });
    for count in [1, 10, 50] {
        d.add(format!("cluster/tls=ca {count}"), 1, |w| {
            tls(w, &|_| json!({"validation_context": {"trusted_ca": roots(0, count)}}))
        });
    }
    d.add("cluster/tls=ca ec", 1, |w| tls(w, &|_| json!({"validation_context": {"trusted_ca": roots(2, 1)}})));
    d.add("cluster/tls=sans", 1, |w| {
        tls(w, &|i| json!({"validation_context": {"trusted_ca": roots(0, 1), "match_typed_subject_alt_names":
            (0..5).map(|k| json!({"san_type": "URI", "matcher": {"exact": format!("spiffe://cluster.local/ns/default/sa/service-{i}-{k}")}})).collect::<Vec<_>>()}}));
    });
    for (label, policy) in
        [("least_request", "LEAST_REQUEST"), ("random", "RANDOM"), ("ring_hash", "RING_HASH"), ("maglev", "MAGLEV")]
    {
        for workers in [1, 4] {
            d.clusters(
                &format!("lb={label} hosts=10 workers={workers}"),
                workers,
                50,
                10,
                |_| json!({"lb_policy": policy}),
            );
        }
    }
    d.clusters("lb=round_robin hosts=10 workers=4", 4, 50, 10, none);
    d.clusters(
        "lb=ring_hash min=8192",
        1,
        50,
        10,
        |_| json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 8192}}),
    );
    d.clusters("lb=maglev hosts=3", 1, 50, 3, |_| json!({"lb_policy": "MAGLEV"}));
    d.clusters("lb=typed least_request", 1, 100, 1, |_| json!({"load_balancing_policy": {"policies": [{"typed_extension_config":
        {"name": "envoy.load_balancing_policies.least_request", "typed_config": typed("envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
            json!({"locality_lb_config": {"locality_weighted_lb_config": {}}}))}}]}}));
    for workers in [1, 4] {
        d.add(format!("cluster/lb=subset workers={workers}"), workers, |w| {
            for i in 0..50 {
                w.clusters.push(with(eds_cluster(&service(i)), json!({"lb_subset_config": {"fallback_policy": "ANY_ENDPOINT", "subset_selectors": [{"keys": ["version"]}]}})));
                let hosts: Vec<Value> = (0..4).map(|h| with(endpoint(i * 4 + h), json!({"metadata": {"filter_metadata": {"envoy.lb": {"version": format!("v{}", h % 2)}}}}))).collect();
                w.endpoints.push(typed("envoy.config.endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": service(i), "endpoints": [{"lb_endpoints": hosts}]})));
            }
        });
    }
    d.add("cluster/aggregate", 1, |w| {
        w.clusters = (0..50).map(|i| with(plain_cluster(&service(i), "STATIC"), json!({}))).collect();
        for i in 0..50 {
            let mut c = typed("envoy.config.cluster.v3.Cluster", json!({"name": format!("aggregate-{i}"), "connect_timeout": "1s", "lb_policy": "CLUSTER_PROVIDED",
                "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": typed("envoy.extensions.clusters.aggregate.v3.ClusterConfig", json!({"clusters": [service(i)]}))}}));
            c["@type"] = "type.googleapis.com/envoy.config.cluster.v3.Cluster".into();
            w.clusters.push(c);
        }
    });
    // Istio's whole cluster, and Contour's
    for workers in [1, 2] {
        d.add(format!("cluster/istio workers={workers}"), workers, |w| {
            mesh_secrets(w);
            for i in 0..100 {
                w.clusters.push(with(
                    with(
                        with(with(eds_cluster(&service(i)), istio_matches(i)), istio_metadata(i)),
                        limits(json!({"track_remaining": true})),
                    ),
                    common.clone(),
                ));
                w.endpoints.push(assignment(&service(i), i, 1));
            }
        });
    }
}

fn hosts(d: &mut Design) {
    for hosts in [0, 2, 4, 8, 16, 32, 64] {
        d.clusters(&format!("hosts={hosts}"), 1, 50, hosts, none);
    }
    for hosts in [3, 5, 6, 10, 12, 20, 24, 48, 50, 52, 56, 60, 64, 100, 128, 250] {
        d.clusters(&format!("hosts={hosts} n=10"), 1, 10, hosts, none);
    }
    d.clusters("hosts=64 n=100", 1, 100, 64, none);
    d.clusters("hosts=64 n=10 workers=4", 4, 10, 64, none);
    d.clusters("hosts=48 n=10 workers=4", 4, 10, 48, none);
    d.clusters("hosts=16 workers=4", 4, 50, 16, none);
    d.clusters("hosts=500", 1, 4, 500, none);
    let locality = |k: usize| json!({"region": "region-1", "zone": format!("zone-{k}"), "sub_zone": ""});
    let groups = |d: &mut Design,
                  name: &str,
                  workers: u32,
                  localities: usize,
                  hosts: usize,
                  extra: &dyn Fn(usize, usize) -> Value,
                  group: &dyn Fn(usize) -> Value| {
        d.add(format!("cluster/{name}"), workers, |w| {
            for i in 0..50 {
                w.clusters.push(eds_cluster(&service(i)));
                let endpoints: Vec<Value> = (0..localities)
                    .map(|l| with(json!({"lb_endpoints": (0..hosts).map(|h| with(endpoint((i * localities + l) * hosts + h), extra(l, h))).collect::<Vec<_>>()}), group(l)))
                    .collect();
                w.endpoints.push(typed("envoy.config.endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": service(i), "endpoints": endpoints})));
            }
        });
    };
    let nothing = |_: usize, _: usize| json!({});
    for localities in [1, 2, 4, 8] {
        groups(
            d,
            &format!("localities={localities} x2"),
            1,
            localities,
            2,
            &nothing,
            &|l| json!({"locality": locality(l), "load_balancing_weight": 1}),
        );
    }
    groups(
        d,
        "localities=4 x2 workers=4",
        4,
        4,
        2,
        &nothing,
        &|l| json!({"locality": locality(l), "load_balancing_weight": 1}),
    );
    for priorities in [2, 3] {
        groups(
            d,
            &format!("priorities={priorities} x2"),
            1,
            priorities,
            2,
            &nothing,
            &|l| json!({"locality": locality(l), "priority": l}),
        );
    }
    groups(d, "priorities=2 x2 workers=4", 4, 2, 2, &nothing, &|l| json!({"locality": locality(l), "priority": l}));
    for workers in [1, 4] {
        groups(
            d,
            &format!("weights=differ x10 workers={workers}"),
            workers,
            1,
            10,
            &|_, h| json!({"load_balancing_weight": h + 1}),
            &|_| json!({}),
        );
    }
    groups(d, "weights=same x10", 1, 1, 10, &|_, _| json!({"load_balancing_weight": 1}), &|_| json!({}));
    groups(
        d,
        "hosts metadata=istio x10",
        1,
        1,
        10,
        &|_, h| json!({"metadata": {"filter_metadata": {"istio": {"workload": format!("workload-{h};default;app;v1;Kubernetes")}}}}),
        &|_| json!({}),
    );
    groups(
        d,
        "hosts metadata=same x10",
        1,
        1,
        10,
        &|_, _| json!({"metadata": {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}}),
        &|_| json!({}),
    );
    groups(d, "hosts health=10", 1, 1, 10, &|_, _| json!({"health_status": "HEALTHY"}), &|_| json!({}));
    groups(
        d,
        "hosts hostname x10",
        1,
        1,
        10,
        &|_, h| json!({"endpoint": {"hostname": format!("pod-{h}.service.namespace.svc.cluster.local")}}),
        &|_| json!({}),
    );
}

fn stats(d: &mut Design) {
    let mut s = |name: &str, workers: u32, boot: Value| {
        d.add(format!("stats/{name}"), workers, |w| {
            w.bootstrap = Some(boot);
            for i in 0..100 {
                w.clusters.push(eds_cluster(&service(i)));
                w.endpoints.push(assignment(&service(i), i, 1));
            }
        });
    };
    s("reject_all", 1, reject_all());
    s("reject_all workers=4", 4, reject_all());
    s("exclude=cluster.", 1, exclude("cluster."));
    s("exclude=cluster", 1, exclude("cluster"));
    s("include=istio", 1, istio_stats());
    s("include=istio workers=2", 2, istio_stats());
    s(
        "include=upstream_rq",
        1,
        json!({"stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"contains": "upstream_rq_total"}]}}}}),
    );
    s(
        "exclude=suffix",
        1,
        json!({"stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [{"suffix": "_ms"}]}}}}),
    );
    s("deferred=stats", 1, deferred(true, false));
    s("deferred=clusters", 1, deferred(false, true));
    s("deferred=both", 1, deferred(true, true));
    s("deferred=both workers=4", 4, deferred(true, true));
    s(
        "tags=10",
        1,
        json!({"stats_config": {"stats_tags": (0..10).map(|k| json!({"tag_name": format!("tag_{k}"), "regex": format!("(tag_{k}=\\.=(.*?);\\.;)")})).collect::<Vec<_>>()}}),
    );
    s(
        "tags=match",
        1,
        json!({"stats_config": {"stats_tags": [{"tag_name": "cluster_port", "regex": "^cluster\\.((.+?)\\|)"}]}}),
    );
    for (name, boot) in [("hcm reject_all", reject_all()), ("hcm istio", istio_stats())] {
        d.add(format!("stats/{name}"), 1, |w| {
            common(w);
            w.bootstrap = Some(boot.clone());
            w.listeners = (0..50)
                .map(|i| {
                    listener(
                        &format!("listener-{i}"),
                        vec![chain(vec![hcm(&format!("prefix_{i}"), rds("shared"), vec![], json!({}))])],
                    )
                })
                .collect();
        });
        d.add(format!("stats/{} tls", name), 1, |w| {
            common(w);
            w.bootstrap = Some(boot);
            let chains = (0..50)
                .map(|i| {
                    with(
                        sni_chain(
                            &format!("host-{i:04}.example.com"),
                            vec![hcm("shared", rds("shared"), vec![], json!({}))],
                        ),
                        json!({"transport_socket": downstream_tls(json!({"tls_certificates": [ecdsa()]}), json!({}))}),
                    )
                })
                .collect();
            w.listeners.push(with(listener("main", chains), tls_inspector()));
        });
    }
}

fn listeners(d: &mut Design) {
    let one = |f: Value| vec![chain(vec![f])];
    for workers in [1, 2, 4, 8] {
        d.listeners(&format!("tcp workers={workers}"), workers, 50, |i| {
            listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend")))
        });
    }
    for workers in [1, 4] {
        d.listeners(&format!("tcp unbound workers={workers}"), workers, 50, |i| {
            unbound(&format!("240.0.0.{i}_80"), i, one(tcp_proxy("tcp", "backend")))
        });
    }
    d.listeners("tcp unbound n=200", 1, 200, |i| {
        unbound(&format!("240.0.0.{i}_80"), i, one(tcp_proxy("tcp", "backend")))
    });
    d.listeners("tcp own prefix", 1, 50, |i| {
        listener(&format!("listener-{i}"), one(tcp_proxy(&service(i), "backend")))
    });
    for workers in [1, 4] {
        d.listeners(&format!("http rds workers={workers}"), workers, 50, |i| {
            listener(&format!("listener-{i}"), one(hcm(&format!("prefix_{i}"), rds("shared"), vec![], json!({}))))
        });
    }
    d.listeners("http rds same prefix", 1, 50, |i| {
        listener(&format!("listener-{i}"), one(hcm("prefix", rds("shared"), vec![], json!({}))))
    });
    d.listeners("http inline", 1, 50, |i| {
        listener(
            &format!("listener-{i}"),
            one(hcm("prefix", inline(table("inline", vec![plain_host(i)])), vec![], json!({}))),
        )
    });
    d.listeners("stat_prefix", 1, 50, |i| {
        with(
            listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))),
            json!({"stat_prefix": format!("ingress_{i}")}),
        )
    });
    d.listeners("direction", 1, 50, |i| {
        with(
            listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))),
            json!({"traffic_direction": "OUTBOUND"}),
        )
    });
    d.listeners("metadata", 1, 50, |i| {
        with(listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))), istio_metadata(i))
    });
    d.listeners("options", 1, 50, |i| with(listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))),
        json!({"socket_options": [{"description": "keepalive", "level": 1, "name": 9, "int_value": 1, "state": "STATE_PREBIND"}], "per_connection_buffer_limit_bytes": 32768})));
    d.listeners("no reuse_port workers=4", 4, 50, |i| {
        with(listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))), json!({"enable_reuse_port": false}))
    });
    d.listeners("default chain", 1, 50, |i| {
        let mut l = listener(&format!("listener-{i}"), vec![]);
        l["default_filter_chain"] = chain(vec![tcp_proxy("tcp", "backend")]);
        l
    });
    let lf = |name: &str, type_name: &str| {
        filter(
            &format!("envoy.filters.listener.{name}"),
            &format!("envoy.extensions.filters.listener.{name}.v3.{type_name}"),
            json!({}),
        )
    };
    for (name, type_name) in [
        ("tls_inspector", "TlsInspector"),
        ("http_inspector", "HttpInspector"),
        ("original_dst", "OriginalDst"),
        ("proxy_protocol", "ProxyProtocol"),
        ("original_src", "OriginalSrc"),
    ] {
        d.listeners(&format!("filter={name}"), 1, 50, |i| {
            with(
                listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))),
                json!({"listener_filters": [lf(name, type_name)]}),
            )
        });
    }
    for (label, log) in access_loggers() {
        if label != "http_grpc" {
            d.listeners(&format!("log={label}"), 1, 50, |i| {
                with(
                    listener(&format!("listener-{i}"), one(tcp_proxy("tcp", "backend"))),
                    json!({"access_log": [log.clone()]}),
                )
            });
        }
    }
    d.listeners("istio tcp", 2, 100, |i| {
        let log = access_loggers()[1].1.clone();
        let mut proxy = tcp_proxy(&service(i), &service(i));
        proxy["typed_config"]["access_log"] = json!([log.clone()]);
        with(unbound(&format!("240.0.0.{i}_443"), i, one(proxy)), json!({"traffic_direction": "OUTBOUND"}))
    });
}

fn chains(d: &mut Design) {
    let n = 100;
    let tcp = |_: usize| vec![tcp_proxy("tcp", "backend")];
    d.chains("tcp n=25", 1, 25, tcp, none);
    d.chains("tcp", 1, n, tcp, none);
    d.chains("tcp n=400", 1, 400, tcp, none);
    d.chains("tcp workers=4", 4, n, tcp, none);
    d.chains("tcp own prefix", 1, n, |i| vec![tcp_proxy(&service(i), "backend")], none);
    d.chains(
        "tcp long prefix",
        1,
        n,
        |i| vec![tcp_proxy(&format!("{}{}", service(i), "x".repeat(100)), "backend")],
        none,
    );
    d.chains("tcp weighted", 1, n, |_| vec![filter("tcp", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({"stat_prefix": "tcp", "weighted_clusters": {"clusters": [{"name": "backend", "weight": 1}, {"name": "backend", "weight": 2}]}}))], none);
    d.chains(
        "tcp idle",
        1,
        n,
        |_| {
            vec![filter(
                "tcp",
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                json!({"stat_prefix": "tcp", "cluster": "backend", "idle_timeout": "3600s", "max_connect_attempts": 3}),
            )]
        },
        none,
    );
    d.chains("name", 1, n, tcp, |i| json!({"name": format!("outbound_default/service-{i:04}_80_http")}));
    d.chains("match=port prefix", 1, n, tcp, |i| json!({"filter_chain_match": {"destination_port": 80, "prefix_ranges": [{"address_prefix": format!("10.0.{}.{}", i / 250, i % 250), "prefix_len": 32}]}}));
    d.chains("match=alpn", 1, n, tcp, |_| json!({"filter_chain_match": {"transport_protocol": "tls", "application_protocols": ["istio-http/1.0", "istio-http/1.1", "istio-h2"]}}));
    d.chains("match=alpn 1", 1, n, tcp, |_| json!({"filter_chain_match": {"application_protocols": ["h2"]}}));
    d.chains("match=transport", 1, n, tcp, |_| json!({"filter_chain_match": {"transport_protocol": "tls"}}));
    d.chains(
        "match=port",
        1,
        n,
        tcp,
        |i| json!({"filter_chain_match": {"server_names": [], "destination_port": 1000 + i}}),
    );
    d.chains("match=names 3", 1, n, tcp, |i| json!({"filter_chain_match": {"server_names": (0..3).map(|k| format!("alias-{k}.host-{i:04}.example.com")).collect::<Vec<_>>()}}));
    d.chains(
        "match=wildcard",
        1,
        n,
        tcp,
        |i| json!({"filter_chain_match": {"server_names": [format!("*.host-{i:04}.example.com")]}}),
    );
    d.chains("match=names 10", 1, n, tcp, |i| json!({"filter_chain_match": {"server_names": (0..10).map(|k| format!("alias-{k}.host-{i:04}.example.com")).collect::<Vec<_>>()}}));
    d.chains("http same prefix", 1, n, |_| vec![hcm("shared", rds("shared"), vec![], json!({}))], none);
    d.chains("http same prefix workers=4", 4, n, |_| vec![hcm("shared", rds("shared"), vec![], json!({}))], none);
    d.chains("http same prefix n=400", 1, 400, |_| vec![hcm("shared", rds("shared"), vec![], json!({}))], none);
    d.chains("http own prefix", 1, n, |i| vec![hcm(&format!("prefix_{i}"), rds("shared"), vec![], json!({}))], none);
    d.chains(
        "http own prefix workers=4",
        4,
        n,
        |i| vec![hcm(&format!("prefix_{i}"), rds("shared"), vec![], json!({}))],
        none,
    );
    d.chains(
        "http dotted prefix",
        1,
        n,
        |i| vec![hcm(&format!("outbound_10.0.{i}.7_8080"), rds("shared"), vec![], json!({}))],
        none,
    );
    for workers in [1, 4] {
        let name = if workers == 1 {
            "chain/http own rds".to_owned()
        } else {
            format!("chain/http own rds workers={workers}")
        };
        d.add(name, workers, |w| {
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
        });
    }
    d.chains(
        "http inline",
        1,
        n,
        |i| vec![hcm("shared", inline(table("inline", vec![plain_host(i)])), vec![], json!({}))],
        none,
    );
    d.chains(
        "http inline 10",
        1,
        50,
        |_| vec![hcm("shared", inline(table("inline", (0..10).map(plain_host).collect())), vec![], json!({}))],
        none,
    );
    for (label, extra) in [
        ("upgrade", json!({"upgrade_configs": [{"upgrade_type": "websocket"}]})),
        (
            "common",
            json!({"common_http_protocol_options": {"idle_timeout": "60s"}, "stream_idle_timeout": "0s", "request_timeout": "30s", "use_remote_address": true, "normalize_path": true, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"}),
        ),
        (
            "server_name",
            json!({"server_name": "istio-envoy", "forward_client_cert_details": "APPEND_FORWARD", "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true}}),
        ),
        ("http1", json!({"http_protocol_options": {"accept_http_10": true}})),
        (
            "http2",
            json!({"http2_protocol_options": {"max_concurrent_streams": 100, "initial_stream_window_size": 65536, "initial_connection_window_size": 1_048_576}}),
        ),
        (
            "tracing",
            json!({"tracing": {"client_sampling": {"value": 100.0}, "random_sampling": {"value": 1.0}, "overall_sampling": {"value": 100.0}}}),
        ),
        (
            "tracing tags",
            json!({"tracing": {"random_sampling": {"value": 1.0}, "custom_tags": (0..5).map(|k| json!({"tag": format!("tag{k}"), "literal": {"value": format!("value-{k}")}})).collect::<Vec<_>>()}}),
        ),
        (
            "reply",
            json!({"local_reply_config": {"mappers": [{"filter": {"not_health_check_filter": {}}, "headers_to_add": (0..4).map(|k| json!({"header": {"key": format!("osm-stats-{k}"), "value": "unknown"}})).collect::<Vec<_>>()}]}}),
        ),
        (
            "request id",
            json!({"request_id_extension": {"typed_config": typed("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", json!({"use_request_id_for_trace_sampling": true}))}}),
        ),
        (
            "xff",
            json!({"original_ip_detection_extensions": [{"name": "xff", "typed_config": typed("envoy.extensions.http.original_ip_detection.xff.v3.XffConfig", json!({"xff_num_trusted_hops": 1}))}]}),
        ),
    ] {
        d.chains(&format!("hcm={label}"), 1, n, |_| vec![hcm("shared", rds("shared"), vec![], extra.clone())], none);
    }
    for (label, log) in access_loggers() {
        d.chains(
            &format!("hcm log={label}"),
            1,
            n,
            |_| vec![hcm("shared", rds("shared"), vec![], json!({"access_log": [log.clone()]}))],
            none,
        );
    }
    d.chains(
        "hcm log=file_text workers=4",
        4,
        n,
        |_| vec![hcm("shared", rds("shared"), vec![], json!({"access_log": [access_loggers()[1].1.clone()]}))],
        none,
    );
    d.chains("hcm log=file filter", 1, n, |_| vec![hcm("shared", rds("shared"), vec![], json!({"access_log": [with(access_loggers()[0].1.clone(),
        json!({"filter": {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "k"}}}}}))]}))], none);
    for (label, f) in http_filters() {
        let secrets = label == "oauth2";
        let mut make = |name: String, own: bool, workers: u32| {
            d.add(name, workers, |w| {
                common(w);
                if secrets {
                    for s in ["token", "hmac"] {
                        w.secrets.push(typed(
                            "envoy.extensions.transport_sockets.tls.v3.Secret",
                            json!({"name": s, "generic_secret": {"secret": {"inline_string": "lab"}}}),
                        ));
                    }
                }
                let chains = (0..50)
                    .map(|i| {
                        let prefix = if own { format!("prefix_{i}") } else { "shared".into() };
                        sni_chain(
                            &format!("host-{i:04}.example.com"),
                            vec![hcm(&prefix, rds("shared"), vec![f.clone()], json!({}))],
                        )
                    })
                    .collect();
                w.listeners.push(with(listener("main", chains), tls_inspector()));
            });
        };
        make(format!("http_filter/{label}"), false, 1);
        make(format!("http_filter/{label} own prefix"), true, 1);
        if ["lua", "local_ratelimit", "ratelimit", "ext_authz", "jwt_authn", "rbac", "fault", "ext_proc"]
            .contains(&label)
        {
            make(format!("http_filter/{label} workers=4"), false, 4);
        }
    }
    let h = |d: &mut Design, name: &str, workers: u32, n: usize, f: Value| {
        d.add(format!("http_filter/{name}"), workers, |w| {
            common(w);
            let chains = (0..n)
                .map(|i| {
                    sni_chain(
                        &format!("host-{i:04}.example.com"),
                        vec![hcm("shared", rds("shared"), vec![f.clone()], json!({}))],
                    )
                })
                .collect();
            w.listeners.push(with(listener("main", chains), tls_inspector()));
        });
    };
    let http =
        |label: &str, type_name: &str, fields: Value| filter(&format!("envoy.filters.http.{label}"), type_name, fields);
    h(
        d,
        "lua long",
        1,
        50,
        http(
            "lua",
            "envoy.extensions.filters.http.lua.v3.Lua",
            json!({"default_source_code": {"inline_string": long_lua()}}),
        ),
    );
    h(
        d,
        "lua long workers=4",
        4,
        50,
        http(
            "lua",
            "envoy.extensions.filters.http.lua.v3.Lua",
            json!({"default_source_code": {"inline_string": long_lua()}}),
        ),
    );
    for policies in [1, 5, 20] {
        h(
            d,
            &format!("rbac policies={policies}"),
            1,
            50,
            http("rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", rbac(policies)),
        );
    }
    h(
        d,
        "jwt_authn rules=10",
        1,
        50,
        http("jwt_authn", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", jwt(10)),
    );
    h(d, "wasm", 1, 20, wasm(2000, false));
    h(d, "wasm workers=4", 4, 20, wasm(2000, false));
    h(d, "wasm n=40", 1, 40, wasm(2000, false));
    h(d, "wasm 60k", 1, 20, wasm(60_000, false));
    h(d, "wasm 60k workers=4", 4, 20, wasm(60_000, false));
    h(d, "wasm 300k", 1, 20, wasm(300_000, false));
    h(d, "wasm shared", 1, 20, wasm(60_000, true));
    h(
        d,
        "fault rules",
        1,
        50,
        http(
            "fault",
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            json!({"abort": {"http_status": 503, "percentage": {"numerator": 10}}, "delay": {"fixed_delay": "1s", "percentage": {"numerator": 10}}}),
        ),
    );
    h(d, "cors + fault + grpc_web", 1, 50, http("cors", "envoy.extensions.filters.http.cors.v3.Cors", json!({})));
    for workers in [1, 4] {
        d.add(format!("http_filter/ecds workers={workers}"), workers, |w| {
            common(w);
            for i in 0..50 {
                w.extensions.push(json!({"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": format!("extension-{i}"),
                    "typed_config": typed("envoy.extensions.filters.http.rbac.v3.RBAC", json!({}))}));
            }
            let chains = (0..50)
                .map(|i| sni_chain(&format!("host-{i:04}.example.com"), vec![hcm("shared", rds("shared"), vec![json!({"name": format!("extension-{i}"),
                    "config_discovery": {"config_source": ads(), "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"]}})], json!({}))]))
                .collect();
            w.listeners.push(with(listener("main", chains), tls_inspector()));
        });
    }
    d.add("http_filter/ecds shared", 1, |w| {
        common(w);
        w.extensions.push(json!({"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": "extension",
            "typed_config": typed("envoy.extensions.filters.http.rbac.v3.RBAC", json!({}))}));
        let chains = (0..50)
            .map(|i| sni_chain(&format!("host-{i:04}.example.com"), vec![hcm("shared", rds("shared"), vec![json!({"name": "extension",
                "config_discovery": {"config_source": ads(), "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"]}})], json!({}))]))
            .collect();
        w.listeners.push(with(listener("main", chains), tls_inspector()));
    });
    // network filters before tcp_proxy
    let net = |name: &str, type_name: &str, fields: Value| {
        filter(&format!("envoy.filters.network.{name}"), type_name, fields)
    };
    let bucket = json!({"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"});
    for (label, f) in [
        ("rbac", net("rbac", "envoy.extensions.filters.network.rbac.v3.RBAC", json!({"stat_prefix": "tcp."}))),
        (
            "rbac policies=5",
            net(
                "rbac",
                "envoy.extensions.filters.network.rbac.v3.RBAC",
                with(json!({"stat_prefix": "tcp."}), network_rbac(5)),
            ),
        ),
        (
            "rbac policies=20",
            net(
                "rbac",
                "envoy.extensions.filters.network.rbac.v3.RBAC",
                with(json!({"stat_prefix": "tcp."}), network_rbac(20)),
            ),
        ),
        (
            "local_ratelimit",
            net(
                "local_ratelimit",
                "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
                json!({"stat_prefix": "limit", "token_bucket": bucket}),
            ),
        ),
        (
            "ext_authz",
            net(
                "ext_authz",
                "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
                json!({"stat_prefix": "authz", "transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": "backend"}}}),
            ),
        ),
        ("sni_cluster", net("sni_cluster", "envoy.extensions.filters.network.sni_cluster.v3.SniCluster", json!({}))),
        (
            "connection_limit",
            net(
                "connection_limit",
                "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
                json!({"stat_prefix": "limit", "max_connections": 10}),
            ),
        ),
        (
            "mongo_proxy",
            net(
                "mongo_proxy",
                "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
                json!({"stat_prefix": "mongo"}),
            ),
        ),
    ] {
        d.chains(&format!("network={label}"), 1, n, |_| vec![f.clone(), tcp_proxy("tcp", "backend")], none);
    }
    d.chains("network=redis_proxy", 1, 50, |_| vec![net("redis_proxy", "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
        json!({"stat_prefix": "redis", "settings": {"op_timeout": "5s"}, "prefix_routes": {"catch_all_route": {"cluster": "backend"}}}))], none);
    // TLS
    let ts = |common: Value, extra: Value| json!({"transport_socket": downstream_tls(common, extra)});
    let secret_chains = |d: &mut Design,
                         name: &str,
                         workers: u32,
                         secrets: &dyn Fn(&mut Workload),
                         common_tls: &dyn Fn(usize) -> Value,
                         extra: Value| {
        d.add(format!("chain/tls={name}"), workers, |w| {
            common(w);
            secrets(w);
            let chains = (0..100)
                .map(|i| {
                    with(
                        sni_chain(&format!("host-{i:04}.example.com"), vec![tcp_proxy("tcp", "backend")]),
                        ts(common_tls(i), extra.clone()),
                    )
                })
                .collect();
            w.listeners.push(with(listener("main", chains), tls_inspector()));
        });
    };
    let no_secrets = |_: &mut Workload| {};
    secret_chains(d, "rsa", 1, &no_secrets, &|_| json!({"tls_certificates": [rsa()]}), json!({}));
    secret_chains(d, "rsa workers=4", 4, &no_secrets, &|_| json!({"tls_certificates": [rsa()]}), json!({}));
    secret_chains(d, "ecdsa", 1, &no_secrets, &|_| json!({"tls_certificates": [ecdsa()]}), json!({}));
    secret_chains(d, "both", 1, &no_secrets, &|_| json!({"tls_certificates": [ecdsa(), rsa()]}), json!({}));
    secret_chains(
        d,
        "sds",
        1,
        &mesh_secrets,
        &|_| json!({"tls_certificate_sds_secret_configs": [sds("default")]}),
        json!({}),
    );
    secret_chains(
        d,
        "sds alpn",
        1,
        &mesh_secrets,
        &|_| json!({"alpn_protocols": ["h2", "http/1.1"], "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "cipher_suites": ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]}, "tls_certificate_sds_secret_configs": [sds("default")]}),
        json!({"require_client_certificate": false}),
    );
    let own = |kind: &'static str| {
        move |w: &mut Workload| {
            for i in 0..100 {
                w.secrets.push(certificate_secret(
                    &format!("default/tls-secret-{i:04}/0123456789"),
                    if kind == "rsa" { rsa() } else { ecdsa() },
                ));
            }
        }
    };
    secret_chains(
        d,
        "sds own rsa",
        1,
        &own("rsa"),
        &|i| json!({"tls_certificate_sds_secret_configs": [sds(&format!("default/tls-secret-{i:04}/0123456789"))]}),
        json!({}),
    );
    secret_chains(
        d,
        "sds own rsa workers=4",
        4,
        &own("rsa"),
        &|i| json!({"tls_certificate_sds_secret_configs": [sds(&format!("default/tls-secret-{i:04}/0123456789"))]}),
        json!({}),
    );
    secret_chains(
        d,
        "sds own ecdsa",
        1,
        &own("ecdsa"),
        &|i| json!({"tls_certificate_sds_secret_configs": [sds(&format!("default/tls-secret-{i:04}/0123456789"))]}),
        json!({}),
    );
    secret_chains(
        d,
        "sds mutual",
        1,
        &mesh_secrets,
        &|_| json!({"tls_certificate_sds_secret_configs": [sds("default")], "validation_context_sds_secret_config": sds("ROOTCA")}),
        json!({"require_client_certificate": true}),
    );
    secret_chains(
        d,
        "sds istio",
        1,
        &mesh_secrets,
        &|_| {
            json!({"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}, "alpn_protocols": ["istio-peer-exchange", "h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [sds("default")], "combined_validation_context": {"default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]},
        "validation_context_sds_secret_config": sds("ROOTCA")}})
        },
        json!({"require_client_certificate": true}),
    );
    for count in [10, 50] {
        secret_chains(
            d,
            &format!("ca {count}"),
            1,
            &no_secrets,
            &|_| json!({"tls_certificates": [ecdsa()], "validation_context": {"trusted_ca": roots(0, count)}}),
            json!({}),
        );
    }
}

/// Network RBAC with `n` policies by principal, as Open Service Mesh and Consul write them.
pub fn network_rbac(n: usize) -> Value {
    let policies: serde_json::Map<String, Value> = (0..n)
        .map(|i| {
            (format!("policy-{i:03}"), json!({"permissions": [{"any": true}],
                "principals": [{"or_ids": {"ids": [{"authenticated": {"principal_name": {"exact": format!("service-{i:03}.default.cluster.local")}}}]}}]}))
        })
        .collect();
    json!({"rules": {"policies": policies}})
}

fn routes(d: &mut Design) {
    for n in [50, 200, 800] {
        d.routes(&format!("vhosts={n}"), 1, n, plain_host);
    }
    d.routes("vhosts=200 workers=4", 4, 200, plain_host);
    let n = 200;
    for domains in [4, 10] {
        d.routes(&format!("domains={domains}"), 1, n, |i| {
            vhost(
                &format!("vhost-{i:04}"),
                &(0..domains).map(|k| format!("alias-{k}.host-{i:04}.example.com")).collect::<Vec<_>>(),
                vec![route("/", "backend")],
            )
        });
    }
    d.routes("domains=wildcard", 1, n, |i| {
        vhost(&format!("vhost-{i:04}"), &[format!("*.host-{i:04}.example.com")], vec![route("/", "backend")])
    });
    d.routes("domains=long", 1, n, |i| {
        vhost(
            &format!("vhost-{i:04}"),
            &[format!("host-{i:04}.{}.example.com", "x".repeat(60))],
            vec![route("/", "backend")],
        )
    });
    for count in [0, 2, 5, 20] {
        d.routes(&format!("routes={count}"), 1, n, |i| {
            vhost(
                &format!("vhost-{i:04}"),
                &[format!("host-{i:04}.example.com")],
                (0..count).map(|k| route(&format!("/path-{k:03}"), "backend")).collect(),
            )
        });
    }
    d.routes("one vhost routes=400", 1, 1, |_| {
        vhost("one", &["*".into()], (0..400).map(|k| route(&format!("/path-{k:03}"), "backend")).collect())
    });
    let to = json!({"cluster": "backend"});
    let r = |d: &mut Design, name: &str, make: &dyn Fn(usize) -> Value| {
        d.routes(name, 1, n, |i| host_with_route(i, make(i)))
    };
    r(d, "match=path", &|_| json!({"match": {"path": "/exact/path"}, "route": to}));
    r(d, "match=long prefix", &|i| json!({"match": {"prefix": format!("/{}/{i}", "x".repeat(100))}, "route": to}));
    r(d, "match=separated", &|_| json!({"match": {"path_separated_prefix": "/api/v1"}, "route": to}));
    r(
        d,
        "match=regex",
        &|i| json!({"match": {"safe_regex": {"regex": format!("^/api/v{i}/[a-z]+/.*$")}}, "route": to}),
    );
    r(d, "match=regex any", &|_| json!({"match": {"safe_regex": {"regex": ".*"}}, "route": to}));
    r(
        d,
        "match=header",
        &|_| json!({"match": {"prefix": "/", "headers": [{"name": "x-version", "string_match": {"exact": "v1"}}]}, "route": to}),
    );
    r(
        d,
        "match=headers 3",
        &|_| json!({"match": {"prefix": "/", "headers": (0..3).map(|k| json!({"name": format!("x-header-{k}"), "string_match": {"exact": "v1"}})).collect::<Vec<_>>()}, "route": to}),
    );
    r(
        d,
        "match=header regex",
        &|_| json!({"match": {"prefix": "/", "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET|POST"}}}]}, "route": to}),
    );
    r(
        d,
        "match=header present",
        &|_| json!({"match": {"prefix": "/", "headers": [{"name": "x-version", "present_match": true}]}, "route": to}),
    );
    r(
        d,
        "match=query",
        &|_| json!({"match": {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"exact": "v1"}}]}, "route": to}),
    );
    r(d, "action=redirect", &|_| json!({"match": {"prefix": "/"}, "redirect": {"https_redirect": true}}));
    r(d, "action=direct", &|_| json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}}));
    r(
        d,
        "action=direct body",
        &|_| json!({"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": {"inline_string": "x".repeat(1000)}}}),
    );
    for count in [1, 2, 5] {
        r(
            d,
            &format!("action=weighted {count}"),
            &|_| json!({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": (0..count).map(|_| json!({"name": "backend", "weight": 10})).collect::<Vec<_>>()}}}),
        );
    }
    r(
        d,
        "action=weighted headers",
        &|_| json!({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": (0..2).map(|k| json!({"name": "backend", "weight": 10, "request_headers_to_add": [{"header": {"key": "x-weight", "value": format!("{k}")}}]})).collect::<Vec<_>>()}}}),
    );
    r(d, "action=cluster_header", &|_| json!({"match": {"prefix": "/"}, "route": {"cluster_header": "x-cluster"}}));
    let act = |extra: Value| json!({"match": {"prefix": "/"}, "route": with(json!({"cluster": "backend"}), extra)});
    r(d, "action=long cluster", &|i| json!({"match": {"prefix": "/"}, "route": {"cluster": service(i)}}));
    r(d, "action=timeout", &|_| {
        act(
            json!({"timeout": "15s", "idle_timeout": "300s", "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"}}),
        )
    });
    r(d, "action=retry", &|_| {
        act(
            json!({"retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", "num_retries": 2,
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}))}],
        "host_selection_retry_max_attempts": "5", "retriable_status_codes": [503]}}),
        )
    });
    r(d, "action=retry plain", &|_| act(json!({"retry_policy": {"retry_on": "5xx", "num_retries": 3}})));
    r(d, "action=rewrite", &|_| act(json!({"prefix_rewrite": "/v2", "host_rewrite_literal": "other.example.com"})));
    r(d, "action=regex rewrite", &|_| {
        act(json!({"regex_rewrite": {"pattern": {"regex": "^/api/(.*)$"}, "substitution": "/\\1"}}))
    });
    r(d, "action=hash header", &|_| act(json!({"hash_policy": [{"header": {"header_name": "x-user"}}]})));
    r(d, "action=hash cookie", &|_| act(json!({"hash_policy": [{"cookie": {"name": "session", "ttl": "3600s"}}]})));
    r(d, "action=mirror", &|_| {
        act(
            json!({"request_mirror_policies": [{"cluster": "backend", "runtime_fraction": {"default_value": {"numerator": 10}}}]}),
        )
    });
    r(d, "action=rate_limits", &|_| {
        act(
            json!({"rate_limits": [{"actions": [{"remote_address": {}}, {"generic_key": {"descriptor_value": "lab"}}]}]}),
        )
    });
    r(d, "action=upgrade", &|_| act(json!({"upgrade_configs": [{"upgrade_type": "websocket"}]})));
    r(d, "action=cluster stats", &|_| act(json!({"cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"})));
    let on_route = |extra: Value| with(route("/", "backend"), extra);
    r(d, "route=name", &|i| on_route(json!({"name": format!("route-{i}")})));
    r(d, "route=decorator", &|i| {
        on_route(json!({"decorator": {"operation": format!("service-{i:04}.namespace.svc.cluster.local:8080/*")}}))
    });
    r(d, "route=metadata", &|i| {
        on_route(
            json!({"metadata": {"filter_metadata": {"istio": {"config": format!("/apis/networking.istio.io/v1alpha3/namespaces/default/virtual-service/service-{i}")}}}}),
        )
    });
    r(d, "route=add headers", &|_| {
        on_route(
            json!({"request_headers_to_add": [{"header": {"key": "x-one", "value": "1"}}, {"header": {"key": "x-two", "value": "%DOWNSTREAM_REMOTE_ADDRESS%"}}]}),
        )
    });
    r(d, "route=add 6 headers", &|_| {
        on_route(
            json!({"response_headers_to_add": (0..6).map(|k| json!({"header": {"key": format!("x-{k}"), "value": "unknown"}})).collect::<Vec<_>>()}),
        )
    });
    r(d, "route=remove headers", &|_| on_route(json!({"request_headers_to_remove": ["x-one", "x-two", "x-three"]})));
    r(d, "route=stat_prefix", &|i| on_route(json!({"stat_prefix": format!("route_{i}")})));
    r(d, "route=tracing", &|_| on_route(json!({"tracing": {"random_sampling": {"numerator": 10}}})));
    for (label, name, type_name, fields) in [
        (
            "rbac",
            "envoy.filters.http.rbac",
            "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
            json!({"rbac": rbac(1)}),
        ),
        (
            "rbac 5",
            "envoy.filters.http.rbac",
            "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
            json!({"rbac": rbac(5)}),
        ),
        (
            "cors",
            "envoy.filters.http.cors",
            "envoy.extensions.filters.http.cors.v3.CorsPolicy",
            json!({"allow_origin_string_match": [{"exact": "https://example.com"}], "allow_methods": "GET,POST", "allow_headers": "content-type", "max_age": "86400"}),
        ),
        (
            "fault",
            "envoy.filters.http.fault",
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            json!({"abort": {"http_status": 503, "percentage": {"numerator": 10}}}),
        ),
        (
            "ext_authz",
            "envoy.filters.http.ext_authz",
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            json!({"disabled": true}),
        ),
        (
            "local_ratelimit",
            "envoy.filters.http.local_ratelimit",
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            json!({"stat_prefix": "route", "token_bucket": {"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"}, "filter_enabled": {"default_value": {"numerator": 100}}}),
        ),
        (
            "lua",
            "envoy.filters.http.lua",
            "envoy.extensions.filters.http.lua.v3.LuaPerRoute",
            json!({"disabled": true}),
        ),
        (
            "buffer",
            "envoy.filters.http.buffer",
            "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
            json!({"disabled": true}),
        ),
        (
            "header_mutation",
            "envoy.filters.http.header_mutation",
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
            json!({"mutations": {"request_mutations": [{"append": {"header": {"key": "x", "value": "y"}}}]}}),
        ),
        (
            "jwt_authn",
            "envoy.filters.http.jwt_authn",
            "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
            json!({"disabled": true}),
        ),
        (
            "compressor",
            "envoy.filters.http.compressor",
            "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
            json!({"disabled": true}),
        ),
        (
            "stateful_session",
            "envoy.filters.http.stateful_session",
            "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
            json!({"disabled": true}),
        ),
        ("disabled", "envoy.filters.http.cors", "envoy.config.route.v3.FilterConfig", json!({"disabled": true})),
    ] {
        r(d, &format!("per_filter={label}"), &|_| {
            on_route(json!({"typed_per_filter_config": {(name): typed(type_name, fields.clone())}}))
        });
    }
    let v = |d: &mut Design, name: &str, make: &dyn Fn(usize) -> Value| {
        d.routes(name, 1, n, |i| with(plain_host(i), make(i)))
    };
    v(d, "vhost=retry", &|_| json!({"retry_policy": {"retry_on": "5xx", "num_retries": 3}}));
    v(
        d,
        "vhost=headers",
        &|_| json!({"request_headers_to_add": [{"header": {"key": "x-one", "value": "1"}}], "response_headers_to_remove": ["x-two"]}),
    );
    v(d, "vhost=attempt", &|_| json!({"include_request_attempt_count": true}));
    v(d, "vhost=tls", &|_| json!({"require_tls": "ALL"}));
    v(
        d,
        "vhost=virtual_clusters",
        &|_| json!({"virtual_clusters": [{"name": "api", "headers": [{"name": ":path", "string_match": {"prefix": "/api"}}]}]}),
    );
    v(
        d,
        "vhost=per_filter cors",
        &|_| json!({"typed_per_filter_config": {"envoy.filters.http.cors": typed("envoy.extensions.filters.http.cors.v3.CorsPolicy", json!({"allow_methods": "GET"}))}}),
    );
    v(d, "vhost=rate_limits", &|_| json!({"rate_limits": [{"actions": [{"remote_address": {}}]}]}));
    v(
        d,
        "vhost=metadata",
        &|i| json!({"metadata": {"filter_metadata": {"envoy-gateway": {"resources": [{"kind": "HTTPRoute", "namespace": "default", "name": format!("route-{i}")}]}}}}),
    );
    for n in [20, 100, 400] {
        d.add(format!("route/tables={n}"), 1, |w| {
            common(w);
            // one chain per table, since a table lives only while a connection manager asks for it
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
        });
    }
    d.add("route/istio", 2, |w| {
        common(w);
        w.routes[0] = table("shared", (0..200).map(istio_vhost).collect());
        w.listeners.push(listener("main", vec![chain(vec![hcm("shared", rds("shared"), vec![], json!({}))])]));
    });
}

/// A virtual host as Istio writes it for a service.
pub fn istio_vhost(i: usize) -> Value {
    let ns = format!("namespace-{:02}", i % 10);
    let host = format!("service-{i:04}.{ns}.svc.cluster.local");
    let mut v = vhost(
        &format!("{host}:8080"),
        &[
            host.clone(),
            format!("service-{i:04}.{ns}"),
            format!("service-{i:04}.{ns}.svc"),
            format!("10.96.{}.{}", i / 250, i % 250),
        ],
        vec![json!({"name": "default", "match": {"prefix": "/"}, "decorator": {"operation": format!("{host}:8080/*")},
            "route": {"cluster": service(i), "timeout": "0s", "max_grpc_timeout": "0s", "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
                "retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", "num_retries": 2,
                    "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}))}],
                    "host_selection_retry_max_attempts": "5", "retriable_status_codes": [503]}}})],
    );
    v["include_request_attempt_count"] = true.into();
    v
}

/// One or a few objects of each kind: what the first use of a kind costs beyond its copies.
fn first_uses(d: &mut Design) {
    d.add("first/static", 1, |w| w.clusters.push(plain_cluster("one", "STATIC")));
    d.add("first/eds", 1, |w| {
        w.clusters.push(eds_cluster("one"));
        w.endpoints.push(assignment("one", 0, 1));
    });
    d.add("first/common", 1, |w| {
        w.clusters.push(eds_cluster("backend"));
        w.endpoints.push(assignment("backend", 0, 1));
    });
    let mut one = |name: &str, chain: Value, extra: Value, secrets: bool| {
        d.add(format!("first/{name}"), 1, |w| {
            common(w);
            if secrets {
                mesh_secrets(w);
            }
            w.listeners.push(with(listener("main", vec![chain]), extra));
        });
    };
    let tcp = || vec![tcp_proxy("tcp", "backend")];
    let http = |filters: Vec<Value>| vec![hcm("shared", rds("shared"), filters, json!({}))];
    one("tcp", chain(tcp()), json!({}), false);
    one("tcp inspector", chain(tcp()), tls_inspector(), false);
    one("tcp sni", sni_chain("host-0000.example.com", tcp()), tls_inspector(), false);
    one(
        "tls",
        with(
            sni_chain("a.example.com", tcp()),
            json!({"transport_socket": downstream_tls(json!({"tls_certificates": [ecdsa()]}), json!({}))}),
        ),
        tls_inspector(),
        false,
    );
    one(
        "tls sds",
        with(
            sni_chain("a.example.com", tcp()),
            json!({"transport_socket": downstream_tls(json!({"tls_certificate_sds_secret_configs": [sds("default")]}), json!({}))}),
        ),
        tls_inspector(),
        true,
    );
    one("http", chain(http(vec![])), json!({}), false);
    one(
        "http inline",
        chain(vec![hcm("shared", inline(table("inline", vec![plain_host(0)])), vec![], json!({}))]),
        json!({}),
        false,
    );
    for (label, f) in http_filters() {
        if label != "oauth2" {
            one(&format!("http_filter {label}"), chain(http(vec![f])), json!({}), false);
        }
    }
    one("http_filter wasm", chain(http(vec![wasm(60_000, false)])), json!({}), false);
    for (label, log) in access_loggers() {
        one(
            &format!("log {label}"),
            chain(vec![hcm("shared", rds("shared"), vec![], json!({"access_log": [log]}))]),
            json!({}),
            false,
        );
    }
    d.add("first/upstream tls", 1, |w| {
        w.clusters
            .push(with(eds_cluster("one"), json!({"transport_socket": upstream_tls(json!({}), "a.example.com")})));
        w.endpoints.push(assignment("one", 0, 1));
    });
    for (label, policy) in [("ring_hash", "RING_HASH"), ("maglev", "MAGLEV"), ("least_request", "LEAST_REQUEST")] {
        d.add(format!("first/lb {label}"), 1, |w| {
            w.clusters.push(with(eds_cluster("one"), json!({"lb_policy": policy})));
            w.endpoints.push(assignment("one", 0, 10));
        });
    }
}

/// Secrets that do not come over ADS but on a stream of their own each, as Istio's agent serves them.
fn subscriptions(d: &mut Design) {
    for n in [1, 2, 8, 32] {
        d.add(format!("subscription/sds streams={n}"), 1, |w| {
            common(w);
            for i in 0..n {
                w.secrets.push(certificate_secret(&format!("secret-{i:02}"), ecdsa()));
            }
            let own = |name: String| json!({"name": name, "sds_config": {"resource_api_version": "V3", "api_config_source": {"api_type": "GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}}});
            let chains = (0..n)
                .map(|i| with(sni_chain(&format!("host-{i:04}.example.com"), vec![tcp_proxy("tcp", "backend")]),
                    json!({"transport_socket": downstream_tls(json!({"tls_certificate_sds_secret_configs": [own(format!("secret-{i:02}"))]}), json!({}))})))
                .collect();
            w.listeners.push(with(listener("main", chains), tls_inspector()));
        });
    }
}

/// Interactions that mixes of one-factor runs could miss: the whole of Istio's cluster, with what it is usually with.
fn shapes(d: &mut Design) {
    let common = http_options(
        json!({"explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": {"idle_timeout": "60s"}}),
    );
    let whole = |i: usize| {
        with(
            with(
                with(with(eds_cluster(&service(i)), istio_matches(i)), istio_metadata(i)),
                limits(json!({"track_remaining": true})),
            ),
            common.clone(),
        )
    };
    let endpoints = |i: usize, hosts: usize, own: bool| {
        let label = |h: usize| {
            if own {
                format!("service-{i:04}-{h};default;app;v1;Kubernetes")
            } else {
                format!("service-{i:04};default;app;v1;Kubernetes")
            }
        };
        let hosts: Vec<Value> = (0..hosts)
            .map(|h| with(endpoint(i * 4 + h), json!({"load_balancing_weight": 1, "metadata": {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}, "istio": {"workload": label(h)}}}})))
            .collect();
        typed(
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": service(i), "endpoints": [
            {"locality": {"region": "region-1", "zone": "zone-a"}, "lb_endpoints": hosts, "load_balancing_weight": 1}]}),
        )
    };
    for (name, stats, workers) in [("stats", true, 1), ("stats workers=2", true, 2)] {
        d.add(format!("shape/istio cluster {name}"), workers, |w| {
            w.bootstrap = stats.then(istio_stats);
            mesh_secrets(w);
            for i in 0..100 {
                w.clusters.push(whole(i));
                w.endpoints.push(assignment(&service(i), i, 1));
            }
        });
    }
    for (hosts, own) in
        [(1, true), (2, false), (3, false), (3, true), (4, false), (6, true), (6, false), (10, false), (20, false)]
    {
        d.add(format!("shape/istio endpoints x{hosts} own={own}"), 1, |w| {
            for i in 0..100 {
                w.clusters.push(eds_cluster(&service(i)));
                w.endpoints.push(endpoints(i, hosts, own));
            }
        });
    }
    d.add("shape/istio balancer", 1, |w| {
        mesh_secrets(w);
        for i in 0..100 {
            w.clusters.push(with(
                whole(i),
                json!({"lb_policy": "LEAST_REQUEST", "common_lb_config": {"locality_weighted_lb_config": {}}}),
            ));
            w.endpoints.push(endpoints(i, 2, false));
        }
    });
    d.add("shape/istio balancer stats", 2, |w| {
        w.bootstrap = Some(istio_stats());
        mesh_secrets(w);
        for i in 0..100 {
            w.clusters.push(with(
                whole(i),
                json!({"lb_policy": "LEAST_REQUEST", "common_lb_config": {"locality_weighted_lb_config": {}}}),
            ));
            w.endpoints.push(endpoints(i, 2, false));
        }
    });
}

fn bootstraps(d: &mut Design) {
    d.add("bootstrap/node metadata", 1, |w| {
        w.bootstrap = Some(json!({"node": {"metadata": (0..100).map(|k| (format!("KEY_{k:03}"), json!({"name": format!("value-{k}"), "list": [k, "a string that is longer than twenty-two bytes"]}))).collect::<serde_json::Map<_, _>>()}}));
    });
    d.add("bootstrap/static clusters", 1, |w| {
        let clusters: Vec<Value> = (0..50)
            .map(|i| {
                let mut c = with(plain_cluster(&service(i), "STATIC"), json!({"load_assignment": {"cluster_name": service(i), "endpoints": [{"lb_endpoints": [endpoint(i)]}]}}));
                if let Some(c) = c.as_object_mut() {
                    c.remove("@type");
                }
                c
            })
            .collect();
        w.bootstrap = Some(json!({"static_resources": {"clusters": clusters}}));
    });
    d.add("bootstrap/static listeners", 1, |w| {
        let listeners: Vec<Value> = (0..50)
            .map(|i| {
                let mut l = listener(
                    &format!("listener-{i}"),
                    vec![chain(vec![hcm(
                        &format!("prefix_{i}"),
                        inline(table("inline", vec![plain_host(i)])),
                        vec![],
                        json!({}),
                    )])],
                );
                if let Some(l) = l.as_object_mut() {
                    l.remove("@type");
                }
                l
            })
            .collect();
        w.bootstrap = Some(json!({"static_resources": {"listeners": listeners}}));
    });
    d.add("bootstrap/reject_all", 1, |w| w.bootstrap = Some(reject_all()));
    d.add("bootstrap/istio", 1, |w| w.bootstrap = Some(istio_stats()));
    d.add("bootstrap/overload", 1, |w| {
        w.bootstrap = Some(json!({"overload_manager": {"resource_monitors": [{"name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": typed("envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig", json!({"max_active_downstream_connections": "50000"}))}]}}));
    });
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
