//! Clusters, their hosts and their stats.

use super::*;

pub(super) fn clusters(d: &mut Design) {
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

pub(super) fn hosts(d: &mut Design) {
    for hosts in [0, 2, 4, 8, 16, 32, 64] {
        d.clusters(&format!("hosts={hosts}"), 1, 50, hosts, none);
    }
    for hosts in [3, 5, 6, 10, 12, 20, 24, 48, 50, 52, 56, 60, 62, 64, 65, 72, 80, 100, 128, 160, 250] {
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
    groups(d, "weights=differ x100", 2, 1, 100, &|_, h| json!({"load_balancing_weight": h % 3 + 1}), &|_| json!({}));
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

pub(super) fn stats(d: &mut Design) {
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
