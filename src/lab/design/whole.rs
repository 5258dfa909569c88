//! First uses, streams, bootstraps, and objects as a whole mesh configures them.

use super::*;

/// One or a few objects of each kind: what the first use of a kind costs beyond its copies.
pub(super) fn first_uses(d: &mut Design) {
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
pub(super) fn subscriptions(d: &mut Design) {
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

/// The same objects over every transport, in two numbers of each.
pub(super) fn transports(d: &mut Design) {
    use crate::lab::transport::Transport::{Ads, Delta, Files, Static, Streams};
    for transport in [Delta, Streams, Files, Static] {
        d.add(format!("transport/{} idle", transport.as_str()), 1, |w| w.transport = transport);
    }
    // Envoy's own golden numbers are of such clusters
    d.add("transport/static clusters, short names, no hosts", 1, |w| {
        w.clusters = (0..200).map(|i| plain_cluster(&format!("cluster_{i}"), "STATIC")).collect();
        w.transport = Static;
    });
    for transport in [Static, Files, Ads] {
        d.add(format!("transport/{} refused stats", transport.as_str()), 1, |w| {
            w.bootstrap = Some(istio_stats());
            for i in 0..100 {
                w.clusters.push(eds_cluster(&service(i)));
                w.endpoints.push(assignment(&service(i), i, 1));
            }
            w.transport = transport;
        });
    }
    for transport in [Ads, Delta, Streams, Files, Static] {
        for n in [10, 50] {
            let mut add = |what: &str, fill: &dyn Fn(&mut Workload, usize)| {
                d.add(format!("transport/{} {what} n={n}", transport.as_str()), 1, |w| {
                    (0..n).for_each(|i| fill(w, i));
                    w.transport = transport;
                });
            };
            add("clusters", &|w, i| {
                w.clusters.push(eds_cluster(&service(i)));
                w.endpoints.push(assignment(&service(i), i, 4));
            });
            add("secrets", &|w, i| {
                let name = format!("secret-{i:02}");
                w.secrets.push(certificate_secret(&name, ecdsa()));
                let context = json!({"tls_certificate_sds_secret_configs": [sds(&name)]});
                let chain = with(
                    chain(vec![tcp_proxy("tcp", "backend")]),
                    json!({"transport_socket": downstream_tls(context, json!({}))}),
                );
                w.listeners.push(listener(&format!("listener-{i}"), vec![chain]));
            });
            add("routes", &|w, i| {
                let name = format!("table-{i:02}");
                w.routes.push(table(&name, (0..5).map(plain_host).collect()));
                w.listeners.push(listener(
                    &format!("listener-{i}"),
                    vec![chain(vec![hcm("http", rds(&name), vec![], json!({}))])],
                ));
            });
        }
    }
}

/// Hosts without and with the cache of load assignments that only a shared stream of the state of the world has.
pub(super) fn hosts_by_transport(d: &mut Design) {
    use crate::lab::transport::Transport::{Delta, Files};
    for (transport, sizes) in
        [(Files, &[0, 1, 2, 4, 8, 16, 32, 48, 64, 100, 128, 250, 500][..]), (Delta, &[4, 32, 100, 500])]
    {
        for &hosts in sizes {
            d.add(format!("transport/{} hosts={hosts}", transport.as_str()), 1, |w| {
                for i in 0..10 {
                    w.clusters.push(eds_cluster(&service(i)));
                    w.endpoints.push(assignment(&service(i), i, hosts));
                }
                w.transport = transport;
            });
        }
    }
}

/// Health checks by kind and number of hosts, over addresses that refuse and ones that do not answer.
pub(super) fn health_checks(d: &mut Design) {
    for (label, kind) in [
        ("tcp", json!({"tcp_health_check": {}})),
        ("http", json!({"http_health_check": {"path": "/healthz"}})),
        ("grpc", json!({"grpc_health_check": {}})),
    ] {
        let check = with(
            json!({"timeout": "1s", "interval": "3600s", "no_traffic_interval": "3600s", "unhealthy_threshold": 1, "healthy_threshold": 1}),
            kind,
        );
        let extra = json!({"health_checks": [check]});
        let extra = if label == "grpc" {
            with(extra, http_options(json!({"explicit_http_config": {"http2_protocol_options": {}}})))
        } else {
            extra
        };
        for hosts in [1, 10] {
            d.clusters(&format!("checks={label} hosts={hosts}"), 1, 20, hosts, |_| extra.clone());
            d.add(format!("cluster/checks={label} static hosts={hosts}"), 1, |w| {
                for i in 0..20 {
                    let hosts: Vec<Value> = (0..hosts).map(|h| json!({"endpoint": {"address": socket_address("127.0.0.1", 1 + h)}})).collect();
                    w.clusters.push(with(with(plain_cluster(&service(i), "STATIC"), extra.clone()),
                        json!({"load_assignment": {"cluster_name": service(i), "endpoints": [{"lb_endpoints": hosts}]}})));
                }
            });
        }
    }
    for (label, policy) in [("ring_hash", "RING_HASH"), ("maglev", "MAGLEV")] {
        for kind in ["STATIC", "STRICT_DNS"] {
            d.add(format!("cluster/lb={label} {kind}"), 1, |w| {
                for i in 0..50 {
                    let hosts: Vec<Value> = (0..10).map(|h| json!({"endpoint": {"address": socket_address("127.0.0.1", 1000 + i * 10 + h)}})).collect();
                    w.clusters.push(with(with(plain_cluster(&service(i), kind), json!({"lb_policy": policy})),
                        json!({"load_assignment": {"cluster_name": service(i), "endpoints": [{"lb_endpoints": hosts}]}})));
                }
            });
        }
        d.add(format!("cluster/lb={label} delta"), 1, |w| {
            w.transport = crate::lab::transport::Transport::Delta;
            for i in 0..50 {
                w.clusters.push(with(eds_cluster(&service(i)), json!({"lb_policy": policy})));
                w.endpoints.push(assignment(&service(i), i, 10));
            }
        });
    }
}

/// Interactions that mixes of one-factor runs could miss: the whole of Istio's cluster, with what it is usually with.
pub(super) fn shapes(d: &mut Design) {
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
    let balanced = |w: &mut Workload| {
        mesh_secrets(w);
        for i in 0..100 {
            w.clusters.push(with(
                whole(i),
                json!({"lb_policy": "LEAST_REQUEST", "common_lb_config": {"locality_weighted_lb_config": {}}}),
            ));
            w.endpoints.push(endpoints(i, 2, false));
        }
    };
    d.add("shape/istio balancer", 1, balanced);
    d.add("shape/istio balancer stats", 2, |w| {
        w.bootstrap = Some(istio_stats());
        balanced(w);
    });
}

pub(super) fn bootstraps(d: &mut Design) {
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
