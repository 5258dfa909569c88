//! Listeners and filter chains.

use super::*;

pub(super) fn listeners(d: &mut Design) {
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

pub(super) fn chains(d: &mut Design) {
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
        d.add(name, workers, |w| own_tables(w, n));
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
