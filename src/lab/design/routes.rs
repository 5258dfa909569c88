//! Route tables, virtual hosts and routes.

use super::*;

pub(super) fn routes(d: &mut Design) {
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
    // so many that what one option costs stands out from the noise of a reading
    let r = |d: &mut Design, name: &str, make: &dyn Fn(usize) -> Value| {
        d.routes(name, 1, n, |i| host_with_routes(i, (0..10).map(|k| make(10 * i + k)).collect()))
    };
    r(d, "match=path", &|_| json!({"match": {"path": "/exact/path"}, "route": to}));
    r(d, "match=long prefix", &|i| json!({"match": {"prefix": format!("/{}/{i}", "x".repeat(100))}, "route": to}));
    r(d, "match=separated", &|_| json!({"match": {"path_separated_prefix": "/api/v1"}, "route": to}));
    r(
        d,
        "match=regex",
        &|i| json!({"match": {"safe_regex": {"regex": format!("^/api/v{i}/[a-z]+/.*$")}}, "route": to}),
    );
    for length in [10, 40, 80] {
        r(
            d,
            &format!("match=regex length={length}"),
            &|_| json!({"match": {"safe_regex": {"regex": format!("/{}.*", "x".repeat(length))}}, "route": to}),
        );
    }
    r(
        d,
        "match=regex classes",
        &|_| json!({"match": {"safe_regex": {"regex": "/[a-z0-9-]+/[a-z0-9-]+/[a-z0-9-]+/[a-z0-9-]+"}}, "route": to}),
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
    for (label, type_name, fields) in overrides() {
        let filter = label.split(' ').next().unwrap_or(label);
        let name = format!("envoy.filters.http.{}", if filter == "disabled" { "cors" } else { filter });
        r(d, &format!("override={label}"), &|_| {
            on_route(json!({"typed_per_filter_config": {(name.clone()): typed(type_name, fields.clone())}}))
        });
    }
    let v = |d: &mut Design, name: &str, make: &dyn Fn(usize) -> Value| {
        d.routes(name, 1, 4 * n, |i| with(plain_host(i), make(i)))
    };
    v(d, "vhost=retry", &|_| json!({"retry_policy": {"retry_on": "5xx", "num_retries": 3}}));
    v(
        d,
        "vhost=headers",
        &|_| json!({"request_headers_to_add": [{"header": {"key": "x-one", "value": "1"}}], "response_headers_to_remove": ["x-two"]}),
    );
    v(d, "vhost=attempt", &|_| json!({"include_request_attempt_count": true}));
    v(d, "vhost=tls", &|_| json!({"require_tls": "ALL"}));
    for count in [1, 4] {
        v(d, &format!("vhost=virtual_clusters {count}"), &|_| {
            let list: Vec<Value> = (0..count)
                .map(|k| json!({"name": format!("api-{k}"), "headers": [{"name": ":path", "string_match": {"prefix": "/api"}}]}))
                .collect();
            json!({"virtual_clusters": list})
        });
    }
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
        d.add(format!("route/tables={n}"), 1, |w| own_tables(w, n));
    }
    d.add("route/istio", 2, |w| {
        common(w);
        w.routes[0] = table("shared", (0..200).map(istio_vhost).collect());
        w.listeners.push(listener("main", vec![chain(vec![hcm("shared", rds("shared"), vec![], json!({}))])]));
    });
}

/// What routes configure for HTTP filters: the filter's name with a mark, the type, its fields.
pub(super) fn overrides() -> Vec<(&'static str, &'static str, Value)> {
    let limit = json!({"stat_prefix": "route", "token_bucket": {"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"},
        "filter_enabled": {"default_value": {"numerator": 100}}});
    let descriptors = json!({"descriptors": [{"entries": [{"key": "path", "value": "/api"}],
        "token_bucket": {"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "60s"}}]});
    let mutation = |key: &str| json!([{"append": {"header": {"key": key, "value": "y"}}}]);
    vec![
        ("rbac 1", "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", json!({"rbac": rbac(1)})),
        ("rbac 5", "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", json!({"rbac": rbac(5)})),
        (
            "cors",
            "envoy.extensions.filters.http.cors.v3.CorsPolicy",
            json!({"allow_origin_string_match": [{"exact": "https://example.com"}], "allow_methods": "GET,POST", "allow_headers": "content-type", "max_age": "86400"}),
        ),
        (
            "cors regex",
            "envoy.extensions.filters.http.cors.v3.CorsPolicy",
            json!({"allow_origin_string_match": [{"safe_regex": {"regex": "https://.*\\.example\\.com"}}, {"prefix": "https://"}], "allow_credentials": true, "expose_headers": "x-one,x-two"}),
        ),
        (
            "fault",
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            json!({"abort": {"http_status": 503, "percentage": {"numerator": 10}}}),
        ),
        (
            "fault delay",
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            json!({"delay": {"fixed_delay": "2s", "percentage": {"numerator": 10}}, "abort": {"http_status": 503, "percentage": {"numerator": 10}}}),
        ),
        ("ext_authz", "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", json!({"disabled": true})),
        (
            "ext_authz context",
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            json!({"check_settings": {"context_extensions": {"virtual_host": "app.example.com", "policy": "default"}}}),
        ),
        ("local_ratelimit", "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", limit.clone()),
        (
            "local_ratelimit descriptors",
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            with(limit, descriptors),
        ),
        (
            "ratelimit",
            "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
            json!({"vh_rate_limits": "INCLUDE"}),
        ),
        ("lua", "envoy.extensions.filters.http.lua.v3.LuaPerRoute", json!({"disabled": true})),
        ("buffer", "envoy.extensions.filters.http.buffer.v3.BufferPerRoute", json!({"disabled": true})),
        (
            "buffer size",
            "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
            json!({"buffer": {"max_request_bytes": 4_194_304}}),
        ),
        (
            "header_mutation",
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
            json!({"mutations": {"request_mutations": mutation("x")}}),
        ),
        (
            "header_mutation both",
            "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
            json!({"mutations": {"request_mutations": mutation("x"), "response_mutations": mutation("y")}}),
        ),
        ("jwt_authn", "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig", json!({"disabled": true})),
        (
            "jwt_authn named",
            "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
            json!({"requirement_name": "provider"}),
        ),
        ("compressor", "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute", json!({"disabled": true})),
        (
            "stateful_session",
            "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
            json!({"disabled": true}),
        ),
        (
            "csrf",
            "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
            json!({"filter_enabled": {"default_value": {"numerator": 100}}}),
        ),
        ("ext_proc", "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute", json!({"disabled": true})),
        (
            "basic_auth",
            "envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute",
            json!({"users": {"inline_string": "user:{SHA}2kuSN7rMzfGcB2DKt67EqDWQELA="}}),
        ),
        (
            "bandwidth_limit",
            "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
            json!({"stat_prefix": "route", "enable_mode": "REQUEST", "limit_kbps": 100, "fill_interval": "0.1s"}),
        ),
        (
            "grpc_json_transcoder",
            "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            json!({"services": [], "proto_descriptor_bin": ""}),
        ),
        ("disabled", "envoy.config.route.v3.FilterConfig", json!({"disabled": true})),
    ]
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
                "retry_policy": istio_retries()}})],
    );
    v["include_request_attempt_count"] = true.into();
    v
}

/// Istio's default retries.
pub fn istio_retries() -> Value {
    json!({"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", "num_retries": 2,
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}))}],
        "host_selection_retry_max_attempts": "5", "retriable_status_codes": [503]})
}
