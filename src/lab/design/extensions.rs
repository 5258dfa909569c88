//! Filters and access loggers, each with the configuration people give it.

use super::*;

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

pub(super) fn long_lua() -> String {
    let mut code = LUA.to_owned();
    for i in 0..200 {
        code.push_str(&format!(
            "local function helper_{i}(handle)\n  return handle:headers():get('x-header-{i}')\nend\n"
        ));
    }
    code
}

/// `jwt_authn` with `rules` rules and a local key set.
pub fn jwt(rules: usize) -> Value {
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

pub(super) fn wasm(size: usize, shared: bool) -> Value {
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
