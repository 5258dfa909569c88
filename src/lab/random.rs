//! Random workloads: mixtures that nobody designed, the same for the same seed.
//!
//! A workload has habits: an option that a control plane uses, it mostly uses on every object. Each habit is drawn once
//! per workload, the objects then from the habits. Odd seeds below 160 take part in the fit, the others do not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::design::{
    access_loggers, http_filters, istio_matches, istio_metadata, istio_stats, jwt, network_rbac, rbac,
};
use super::shapes::*;
use super::transport::Transport;
use super::{Workload, mixes};

/// What stands before the seed in the names of the runs.
pub const PREFIX: &str = "random/";

/// From these seeds on, every second workload belongs to the design of experiments: mixtures that show what runs of one
/// factor at a time cannot.
pub(super) const TRAINING: std::ops::Range<u64> = 1..160;

/// Seeds from here on were drawn after the last change of the model and of the prices.
const FRESH: u64 = 600;

/// Whether a run's name is of a seed that nothing was changed for.
pub(super) fn is_fresh(name: &str) -> bool {
    let seed = name.strip_prefix(PREFIX).and_then(|rest| rest.split(' ').next()?.parse().ok());
    seed.is_some_and(|seed: u64| seed >= FRESH)
}

/// The workload of a seed.
pub fn workload(seed: u64) -> Workload {
    let mut dice = Dice { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), habits: BTreeMap::new() };
    let transport = match dice.below(20) {
        0..10 => Transport::Ads,
        10..13 => Transport::Delta,
        13..15 => Transport::Streams,
        15..17 => Transport::Files,
        _ => Transport::Static,
    };
    let workers = dice.pick(&[1, 2, 2, 4, 8]);
    let (shape, mut w) = match dice.below(10) {
        0 => ("istio sidecar", mixes::istio_sidecar("", dice.size(5, 300), workers, dice.chance(60))),
        1 => ("knative", mixes::knative("", dice.size(2, 60), workers)),
        2 => ("contour", mixes::contour("", dice.size(5, 250), workers)),
        3 => ("gateway", {
            let policies = dice.chance(50);
            mixes::gateway("", dice.size(5, 250), workers, policies)
        }),
        4 => ("osm", {
            let permissive = dice.chance(70);
            mixes::osm("", dice.size(5, 120), workers, permissive, None)
        }),
        _ => ("free", Workload::new("", workers)),
    };
    let free = shape == "free";
    if free || dice.chance(40) {
        dice.free(&mut w, if free { 1 } else { 4 });
    }
    w.transport = transport;
    w.name = format!("{PREFIX}{seed:05} {shape} {}", transport.as_str());
    w
}

struct Dice {
    state: u64,
    /// In percent, by option.
    habits: BTreeMap<&'static str, u32>,
}

impl Dice {
    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// As many small ones as large ones, by their number of digits.
    fn size(&mut self, low: usize, high: usize) -> usize {
        let x = self.below(1 << 20) as f64 / f64::from(1 << 20);
        ((low.max(1) as f64) * ((high as f64 + 1.0) / low.max(1) as f64).powf(x)) as usize
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Whether an object has an option that `percent` of the workloads use at all.
    fn wants(&mut self, option: &'static str, percent: u32) -> bool {
        let habit = match self.habits.get(option) {
            Some(known) => *known,
            None => {
                let habit = match (self.chance(percent), self.below(3)) {
                    (false, _) => 0,
                    (true, 0) => 30,
                    (true, _) => 100,
                };
                self.habits.insert(option, habit);
                habit
            }
        };
        habit > 0 && self.chance(habit)
    }

    /// Objects without a plan, fewer of them by `divisor`.
    fn free(&mut self, w: &mut Workload, divisor: usize) {
        self.bootstrap(w);
        w.secrets.push(certificate_secret("shared-cert", if self.chance(50) { rsa() } else { ecdsa() }));
        let bundle = self.size(1, 40);
        w.secrets.push(ca_secret("shared-ca", roots(0, bundle), &[]));
        let clusters = self.size(3, 600) / divisor + 1;
        let naming = self.below(5);
        let names: Vec<String> = (0..clusters).map(|i| cluster_name(naming, i)).collect();
        let hosts = self.size(1, 40);
        for (i, name) in names.iter().enumerate() {
            self.cluster(w, i, name, hosts);
        }
        let tables = self.size(1, 12);
        let vhosts = self.size(1, 150) / divisor + 1;
        let routes = self.size(1, 12);
        let mut named = Vec::new();
        for t in 0..tables {
            let name = format!("routes-{t}");
            w.routes.push(self.table(&name, vhosts, routes, &names));
            named.push(name);
        }
        let listeners = self.size(1, 60) / divisor + 1;
        let chains = if self.chance(40) { self.size(1, 60) / divisor + 1 } else { 1 };
        let chains = if listeners > 10 { chains.min(4) } else { chains };
        for i in 0..listeners {
            let listener = self.listener(w, i, chains, &named, &names);
            w.listeners.push(listener);
        }
        // a table lives only while a connection manager asks for it
        let all: Vec<Value> = named.iter().map(|t| chain(vec![hcm("all_tables", rds(t), vec![], json!({}))])).collect();
        let chains = all.into_iter().enumerate();
        let chains =
            chains.map(|(k, c)| with(c, json!({"filter_chain_match": {"destination_port": 7000 + k}}))).collect();
        w.listeners.push(listener("all-tables", chains));
    }

    fn bootstrap(&mut self, w: &mut Workload) {
        let mut boot = match w.bootstrap.take() {
            Some(boot) => boot,
            None => match self.below(10) {
                0 | 1 => istio_stats(),
                2 => json!({"stats_config": {"stats_matcher": {"reject_all": true}}}),
                3 => {
                    json!({"stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [{"prefix": "cluster."}]}}}})
                }
                4 => {
                    json!({"stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"contains": "upstream_rq"}, {"suffix": "_active"}]}}}})
                }
                5 => json!({"deferred_stat_options": {"enable_deferred_creation_stats": true}}),
                _ => json!({}),
            },
        };
        if self.chance(10) {
            boot["cluster_manager"] = json!({"enable_deferred_cluster_creation": true});
        }
        if self.chance(30) {
            let keys = self.size(2, 60);
            let metadata: serde_json::Map<String, Value> = (0..keys)
                .map(|k| {
                    (format!("KEY_{k:02}"), json!({"name": format!("value-{k}"), "labels": {"app": "lab", "n": k}}))
                })
                .collect();
            boot["node"] = json!({"metadata": metadata});
        }
        if self.chance(30) {
            boot["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer":
                {"re2.max_program_size.error_level": 32768, "overload.global_downstream_max_connections": "50000"}},
                {"name": "admin", "admin_layer": {}}]});
        }
        if self.chance(15) {
            boot["stats_config"]["stats_tags"] = (0..6)
                .map(|k| json!({"tag_name": format!("tag_{k}"), "regex": format!("(tag_{k}=\\.=(.*?);\\.;)")}))
                .collect();
        }
        w.bootstrap = Some(boot);
    }

    fn tls(&mut self, w: &mut Workload, own: &str, upstream: bool) -> Value {
        let mut common = json!({});
        let mut certificate = |dice: &mut Self, w: &mut Workload| match dice.below(4) {
            0 => common["tls_certificates"] = json!([rsa()]),
            1 => common["tls_certificates"] = json!([ecdsa()]),
            2 => common["tls_certificate_sds_secret_configs"] = json!([sds("shared-cert")]),
            _ => {
                let name = format!("cert/{own}");
                w.secrets.push(certificate_secret(&name, if dice.chance(50) { rsa() } else { ecdsa() }));
                common["tls_certificate_sds_secret_configs"] = json!([sds(&name)]);
            }
        };
        if !upstream || self.wants("upstream certificate", 40) {
            certificate(self, w);
        }
        if self.wants(if upstream { "upstream ca" } else { "client ca" }, if upstream { 70 } else { 30 }) {
            let sans = json!([{"san_type": "URI", "matcher": {"exact": format!("spiffe://cluster.local/ns/default/sa/{own}")}}]);
            match self.below(3) {
                0 => common["validation_context_sds_secret_config"] = sds("shared-ca"),
                1 => {
                    common["combined_validation_context"] = json!({"default_validation_context": {"match_typed_subject_alt_names": sans},
                        "validation_context_sds_secret_config": sds("shared-ca")});
                }
                _ => {
                    let count = self.pick(&[1, 1, 3, 12]);
                    common["validation_context"] =
                        json!({"trusted_ca": roots(1, count), "match_typed_subject_alt_names": sans});
                }
            }
        }
        if self.wants("alpn", 60) {
            common["alpn_protocols"] = json!(["h2", "http/1.1"]);
        }
        if self.wants("tls params", 40) {
            common["tls_params"] =
                json!({"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"});
        }
        common
    }

    fn cluster(&mut self, w: &mut Workload, i: usize, name: &str, usual_hosts: usize) {
        let mut hosts = self.between(0, usual_hosts * 2);
        let kind = if self.wants("not eds", 40) {
            self.pick(&["STATIC", "STATIC", "STRICT_DNS", "STRICT_DNS", "LOGICAL_DNS", "ORIGINAL_DST"])
        } else {
            "EDS"
        };
        let mut c = if kind == "EDS" { eds_cluster(name) } else { plain_cluster(name, kind) };
        if kind == "LOGICAL_DNS" {
            hosts = 1;
        }
        if kind == "ORIGINAL_DST" {
            w.clusters.push(with(c, json!({"lb_policy": "CLUSTER_PROVIDED"})));
            return;
        }
        if self.wants("http options", 50) {
            let options = [
                json!({"explicit_http_config": {"http2_protocol_options": {}}}),
                json!({"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}),
                json!({"explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": {"idle_timeout": "60s"}}),
            ];
            c = with(c, http_options(self.pick(&options)));
        }
        if self.wants("breakers", 50) {
            let track = self.wants("track remaining", 40);
            c["circuit_breakers"] =
                json!({"thresholds": [{"max_connections": 1024, "max_retries": 3, "track_remaining": track}]});
            if self.wants("high priority", 20)
                && let Some(thresholds) = c["circuit_breakers"]["thresholds"].as_array_mut()
            {
                thresholds.push(json!({"priority": "HIGH", "max_requests": 77}));
            }
        }
        if self.wants("outlier", 35) {
            c["outlier_detection"] = json!({"consecutive_5xx": 5, "interval": "10s", "max_ejection_percent": 30});
        }
        if self.wants("health checks", 20) {
            let kinds = [
                json!({"tcp_health_check": {}}),
                json!({"tcp_health_check": {"send": {"text": "000000FF"}, "receive": [{"text": "01"}]}}),
                json!({"http_health_check": {"path": "/healthz"}}),
                json!({"http_health_check": {"path": "/healthz", "host": "check.example.com", "expected_statuses": [{"start": 200, "end": 300}],
                    "request_headers_to_add": [{"header": {"key": "x-health", "value": "1"}}]}}),
                json!({"grpc_health_check": {"service_name": "grpc.health.v1.Health"}}),
            ];
            let kind = self.pick(&kinds);
            if kind.get("grpc_health_check").is_some() {
                let http2 = http_options(json!({"explicit_http_config": {"http2_protocol_options": {}}}));
                c["typed_extension_protocol_options"] = http2["typed_extension_protocol_options"].clone();
            }
            c["health_checks"] = json!([with(
                json!({"timeout": "1s", "interval": "3600s", "no_traffic_interval": "3600s",
                "unhealthy_threshold": 1, "healthy_threshold": 1}),
                kind
            )]);
            hosts = hosts.min(20);
        }
        if self.wants("cluster metadata", 35) {
            c = with(c, istio_metadata(i));
        }
        if self.wants("alt stat name", 15) {
            c["alt_stat_name"] = format!("stats_of_{i}").into();
        }
        if self.wants("keepalive", 15) {
            c["upstream_connection_options"] = json!({"tcp_keepalive": {"keepalive_time": 300}});
        }
        if self.wants("misc", 25) {
            c = with(
                c,
                json!({"per_connection_buffer_limit_bytes": 32768, "dns_lookup_family": "V4_ONLY",
                "common_lb_config": {"healthy_panic_threshold": {"value": 10}}}),
            );
        }
        if self.wants("upstream tls", 35) {
            if self.wants("transport matches", 25) {
                for (secret, value) in [("default", rsa()), ("ROOTCA", json!({}))] {
                    if !w.secrets.iter().any(|s| s["name"] == secret) {
                        let secret = if secret == "ROOTCA" {
                            ca_secret(secret, roots(0, 1), &[])
                        } else {
                            certificate_secret(secret, value)
                        };
                        w.secrets.push(secret);
                    }
                }
                c = with(c, istio_matches(i));
            } else {
                let common = self.tls(w, &format!("up-{i}"), true);
                c["transport_socket"] = upstream_tls(common, &format!("service-{i}.example.com"));
            }
        }
        self.balancer(&mut c, usual_hosts);
        let assignment = self.assignment(name, i, hosts, kind);
        if kind == "EDS" {
            w.endpoints.push(assignment);
        } else {
            let mut inline = assignment;
            inline.as_object_mut().map(|o| o.remove("@type"));
            c["load_assignment"] = inline;
        }
        w.clusters.push(c);
    }

    fn balancer(&mut self, c: &mut Value, usual_hosts: usize) {
        if !self.wants("balancer", 50) {
            return;
        }
        let policy = self.pick(&["LEAST_REQUEST", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV"]);
        if self.wants("typed balancer", 35) {
            let (name, fields) = match policy {
                "RING_HASH" => ("ring_hash", json!({"minimum_ring_size": 1024})),
                "MAGLEV" => ("maglev", json!({"table_size": 65537})),
                "RANDOM" => ("random", json!({})),
                _ => ("least_request", json!({"locality_lb_config": {"locality_weighted_lb_config": {}}})),
            };
            let camel = ["ring_hash", "maglev", "random"].iter().position(|n| *n == name);
            let camel = camel.map_or("LeastRequest", |k| ["RingHash", "Maglev", "Random"][k]);
            c["load_balancing_policy"] = json!({"policies": [{"typed_extension_config": {"name": format!("envoy.load_balancing_policies.{name}"),
                "typed_config": typed(&format!("envoy.extensions.load_balancing_policies.{name}.v3.{camel}"), fields)}}]});
            return;
        }
        c["lb_policy"] = policy.into();
        if policy == "RING_HASH" && self.chance(50) {
            c["ring_hash_lb_config"] = json!({"minimum_ring_size": self.pick(&[512, 2048, 4096])});
        }
        if policy == "LEAST_REQUEST" && self.chance(50) {
            c["common_lb_config"]["locality_weighted_lb_config"] = json!({});
        }
        if self.wants("subsets", 15) && usual_hosts < 20 {
            c["lb_policy"] = "ROUND_ROBIN".into();
            c["common_lb_config"] = json!({});
            c["lb_subset_config"] =
                json!({"fallback_policy": "ANY_ENDPOINT", "subset_selectors": [{"keys": ["version"]}]});
        }
    }

    fn assignment(&mut self, name: &str, seed: usize, hosts: usize, kind: &str) -> Value {
        let localities = if self.wants("localities", 40) { self.between(1, 4) } else { 1 };
        let priorities = self.wants("priorities", 20);
        let localities = if kind == "LOGICAL_DNS" { 1 } else { localities };
        let mut groups: Vec<Value> = Vec::new();
        for l in 0..localities {
            let mut endpoints = Vec::new();
            for h in (l..hosts).step_by(localities) {
                let mut e = if kind == "EDS" {
                    endpoint(seed * 500 + h)
                } else {
                    json!({"endpoint": {"address": socket_address("127.0.0.1", 1 + (seed * 100 + h) % 60_000)}})
                };
                if self.wants("host weights", 40) {
                    e["load_balancing_weight"] = if self.wants("different weights", 40) { 1 + h % 5 } else { 1 }.into();
                }
                if self.wants("host metadata", 35) {
                    let own = self.wants("own metadata", 30);
                    let workload = if own {
                        format!("workload-{h};default;app;v1;Kubernetes")
                    } else {
                        format!("workload-{seed};default;app;v1;Kubernetes")
                    };
                    e["metadata"] = json!({"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}, "istio": {"workload": workload}}});
                    if self.wants("subsets", 15) {
                        e["metadata"]["filter_metadata"]["envoy.lb"] = json!({"version": format!("v{}", h % 3)});
                    }
                }
                if self.wants("hostnames", 20) {
                    e["endpoint"]["hostname"] = format!("pod-{h}.service-{seed}.default.svc.cluster.local").into();
                }
                if self.wants("health status", 15) {
                    e["health_status"] = "HEALTHY".into();
                }
                endpoints.push(e);
            }
            let mut group = json!({"lb_endpoints": endpoints});
            if localities > 1 || self.wants("locality names", 40) {
                group["locality"] = json!({"region": "region-1", "zone": format!("zone-{l}")});
                group["load_balancing_weight"] = (1 + l).into();
            }
            if priorities && l > 0 {
                group["priority"] = l.into();
            }
            groups.push(group);
        }
        typed("envoy.config.endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": name, "endpoints": groups}))
    }

    fn table(&mut self, name: &str, vhosts: usize, routes: usize, clusters: &[String]) -> Value {
        let hosts = (0..vhosts)
            .map(|i| {
                let host = format!("{}{i:04}.{name}.example.com", if self.wants("wildcards", 20) { "*.host-" } else { "host-" });
                let mut domains = vec![host.clone()];
                if self.wants("aliases", 40) {
                    domains.extend((0..self.between(1, 5)).map(|k| format!("alias-{k}.{}", host.trim_start_matches("*."))));
                }
                let count = self.between(1, routes * 2 - 1);
                let routes = (0..count).map(|k| self.route(k, clusters)).collect();
                let mut v = vhost(&host, &domains, routes);
                if self.wants("attempts", 20) {
                    v["include_request_attempt_count"] = true.into();
                }
                if self.wants("virtual clusters", 10) {
                    v["virtual_clusters"] = json!([{"name": "api", "headers": [{"name": ":path", "string_match": {"prefix": "/api"}}]},
                        {"name": "rest", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}]);
                }
                if self.wants("vhost cors", 15) {
                    v["typed_per_filter_config"] = json!({"envoy.filters.http.cors": typed("envoy.extensions.filters.http.cors.v3.CorsPolicy",
                        json!({"allow_origin_string_match": [{"prefix": "https://"}], "allow_methods": "GET, POST"}))});
                }
                if self.wants("vhost retry", 15) {
                    v["retry_policy"] = json!({"retry_on": "5xx", "num_retries": 3});
                }
                if self.wants("vhost metadata", 15) {
                    v["metadata"] = json!({"filter_metadata": {"envoy-gateway": {"resources": [{"kind": "HTTPRoute", "namespace": "default", "name": format!("route-{i}")}]}}});
                }
                v
            })
            .collect();
        table(name, hosts)
    }

    fn route(&mut self, k: usize, clusters: &[String]) -> Value {
        let mut matcher = if self.wants("regex", 30) {
            json!({"safe_regex": {"regex": format!("^/api/v{k}/[a-z0-9-]+/.*$")}})
        } else if self.wants("exact paths", 30) {
            json!({"path": format!("/exact/path/{k}")})
        } else if self.wants("separated", 20) {
            json!({"path_separated_prefix": format!("/service/{k}")})
        } else {
            json!({"prefix": format!("/prefix-{k}/")})
        };
        if self.wants("header matches", 30) {
            matcher["headers"] = json!([{"name": ":authority", "string_match": {"exact": "a.example.com"}}, {"name": "x-canary", "present_match": true}]);
        }
        if self.wants("query matches", 10) {
            matcher["query_parameters"] = json!([{"name": "debug", "present_match": true}]);
        }
        let mut r = json!({"match": matcher});
        if self.wants("redirects", 15) {
            r["redirect"] = json!({"https_redirect": true, "response_code": "FOUND"});
        } else if self.wants("direct responses", 10) {
            r["direct_response"] = json!({"status": 404, "body": {"inline_string": "not here"}});
        } else {
            r["route"] = self.action(clusters);
        }
        if self.wants("route names", 40) {
            r["name"] = format!("route-{k}").into();
        }
        if self.wants("decorators", 20) {
            r["decorator"] = json!({"operation": format!("service-{k}.default.svc.cluster.local:80/*")});
        }
        if self.wants("route metadata", 20) {
            r["metadata"] = json!({"filter_metadata": {"istio": {"config": "/apis/networking.istio.io/v1alpha3/namespaces/default/virtual-service/vs"}}});
        }
        if self.wants("route headers", 25) {
            r["request_headers_to_add"] = json!([{"header": {"key": "x-one", "value": "%DOWNSTREAM_REMOTE_ADDRESS%"}}]);
            r["response_headers_to_remove"] = json!(["x-powered-by", "server"]);
        }
        if self.wants("route stat prefix", 8) {
            r["stat_prefix"] = format!("stat_{k}").into();
        }
        if self.wants("per route", 25) {
            let (name, config) = match self.below(5) {
                0 => (
                    "rbac",
                    typed(
                        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
                        json!({"rbac": rbac(self.between(1, 4))}),
                    ),
                ),
                1 => (
                    "ext_authz",
                    typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", json!({"disabled": true})),
                ),
                2 => (
                    "fault",
                    typed(
                        "envoy.extensions.filters.http.fault.v3.HTTPFault",
                        json!({"abort": {"http_status": 503, "percentage": {"numerator": 10}}}),
                    ),
                ),
                3 => (
                    "local_ratelimit",
                    typed(
                        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                        json!({"stat_prefix": "route", "token_bucket": {"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"}}),
                    ),
                ),
                _ => (
                    "cors",
                    typed(
                        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
                        json!({"allow_methods": "GET", "max_age": "600"}),
                    ),
                ),
            };
            r["typed_per_filter_config"] = json!({(format!("envoy.filters.http.{name}")): config});
        }
        r
    }

    fn action(&mut self, clusters: &[String]) -> Value {
        let mut a = if self.wants("weighted", 25) {
            let count = self.between(1, 4);
            let list: Vec<Value> = (0..count).map(|_| json!({"name": self.pick(clusters), "weight": 10})).collect();
            json!({"weighted_clusters": {"clusters": list}})
        } else {
            json!({"cluster": self.pick(clusters)})
        };
        if self.wants("timeouts", 50) {
            a["timeout"] = "15s".into();
        }
        if self.wants("retries", 35) {
            a["retry_policy"] = if self.wants("istio retries", 50) {
                json!({"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", "num_retries": 2,
                    "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}))}],
                    "host_selection_retry_max_attempts": "5", "retriable_status_codes": [503]})
            } else {
                json!({"retry_on": "5xx,reset", "num_retries": 2, "per_try_timeout": "2s"})
            };
        }
        if self.wants("rewrites", 20) {
            a["prefix_rewrite"] = "/v2/".into();
        }
        if self.wants("hash policies", 15) {
            a["hash_policy"] = json!([{"cookie": {"name": "session", "ttl": "3600s"}}]);
        }
        if self.wants("mirrors", 10) {
            a["request_mirror_policies"] = json!([{"cluster": self.pick(clusters)}]);
        }
        if self.wants("rate limits", 10) {
            a["rate_limits"] =
                json!([{"actions": [{"remote_address": {}}, {"generic_key": {"descriptor_value": "lab"}}]}]);
        }
        if self.wants("websockets", 15) {
            a["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
        }
        a
    }

    fn filters(&mut self, clusters: &[String]) -> Vec<Value> {
        // oauth2 wants secrets of its own
        let known: Vec<(&'static str, Value)> = http_filters().into_iter().filter(|(l, _)| *l != "oauth2").collect();
        let mut out = Vec::new();
        for (label, mut filter) in known {
            let percent = if [
                "cors",
                "fault",
                "rbac",
                "router",
                "grpc_stats",
                "local_ratelimit",
                "jwt_authn",
                "ext_authz",
                "lua",
            ]
            .contains(&label)
            {
                22
            } else {
                6
            };
            if !self.wants(label, percent) {
                continue;
            }
            if label == "rbac" {
                let n = self.size(1, 30);
                filter["typed_config"] = with(filter["typed_config"].clone(), rbac(n));
            }
            if label == "jwt_authn" {
                let n = self.size(1, 30);
                filter["typed_config"] = with(filter["typed_config"].clone(), jwt(n));
            }
            if let Some(grpc) = filter.pointer_mut("/typed_config/grpc_service/envoy_grpc/cluster_name") {
                *grpc = clusters[0].clone().into();
            }
            if let Some(grpc) =
                filter.pointer_mut("/typed_config/rate_limit_service/grpc_service/envoy_grpc/cluster_name")
            {
                *grpc = clusters[0].clone().into();
            }
            out.push(filter);
        }
        out
    }

    fn logs(&mut self) -> Vec<Value> {
        if !self.wants("access logs", 50) {
            return Vec::new();
        }
        // those over gRPC want a cluster of their own
        let list: Vec<Value> = access_loggers().into_iter().take(4).map(|(_, l)| l).collect();
        let count = self.pick(&[1, 1, 1, 2]);
        (0..count).map(|_| self.pick(&list)).collect()
    }

    fn listener(&mut self, w: &mut Workload, i: usize, chains: usize, tables: &[String], clusters: &[String]) -> Value {
        let mut all = Vec::new();
        let bound = !self.wants("unbound", 30);
        for k in 0..chains {
            let prefix = match self.habit("own prefix") {
                true => format!("prefix_{i}_{k}"),
                false => format!("prefix_{}", i % 3),
            };
            let mut filters = Vec::new();
            if self.wants("network rbac", 20) {
                let n = self.size(1, 20);
                filters.push(filter(
                    "envoy.filters.network.rbac",
                    "envoy.extensions.filters.network.rbac.v3.RBAC",
                    with(json!({"stat_prefix": "tcp."}), network_rbac(n)),
                ));
            }
            let logs = self.logs();
            if self.wants("tcp", 40) {
                let mut proxy = tcp_proxy(&prefix, &self.pick(clusters));
                if !logs.is_empty() {
                    proxy["typed_config"]["access_log"] = logs.into();
                }
                filters.push(proxy);
            } else {
                let routes = if self.wants("inline routes", 25) {
                    let (hosts, routes) = (self.size(1, 8), self.between(1, 3));
                    inline(self.table("inline", hosts, routes, clusters))
                } else {
                    rds(&self.pick(tables))
                };
                let mut extra = json!({});
                if !logs.is_empty() {
                    extra["access_log"] = logs.into();
                }
                if self.wants("upgrades", 30) {
                    extra["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
                }
                if self.wants("tracing", 25) {
                    extra["tracing"] = json!({"random_sampling": {"value": 1.0}, "custom_tags": [{"tag": "a", "literal": {"value": "b"}}]});
                }
                if self.wants("hcm options", 40) {
                    extra = with(
                        extra,
                        json!({"common_http_protocol_options": {"idle_timeout": "60s"}, "use_remote_address": true,
                        "normalize_path": true, "server_name": "lab", "http2_protocol_options": {"max_concurrent_streams": 100}}),
                    );
                }
                let before = self.filters(clusters);
                filters.push(hcm(&prefix, routes, before, extra));
            }
            let mut c = chain(filters);
            if self.wants("chain names", 40) {
                c["name"] = format!("chain-{i}-{k}").into();
            }
            let tls = self.wants("downstream tls", 40);
            c["filter_chain_match"] = if tls {
                json!({"server_names": [format!("host-{k}.listener-{i}.example.com")]})
            } else {
                json!({"destination_port": 1000 + k})
            };
            if tls {
                let common = self.tls(w, &format!("down-{i}-{k}"), false);
                c["transport_socket"] = downstream_tls(common, json!({}));
            }
            all.push(c);
        }
        let mut l = if bound {
            listener(&format!("listener-{i}"), all)
        } else {
            unbound(&format!("listener-{i}"), 40_000 + i, all)
        };
        if self.wants("listener stat prefix", 30) {
            l["stat_prefix"] = format!("listener_{i}").into();
        }
        if self.wants("directions", 40) {
            l["traffic_direction"] = "OUTBOUND".into();
        }
        let lf = |name: &str, type_name: &str| {
            filter(
                &format!("envoy.filters.listener.{name}"),
                &format!("envoy.extensions.filters.listener.{name}.v3.{type_name}"),
                json!({}),
            )
        };
        let mut listener_filters = Vec::new();
        for (name, type_name) in [
            ("original_dst", "OriginalDst"),
            ("tls_inspector", "TlsInspector"),
            ("http_inspector", "HttpInspector"),
            ("proxy_protocol", "ProxyProtocol"),
        ] {
            if self.wants(name, 30) {
                listener_filters.push(lf(name, type_name));
            }
        }
        if !listener_filters.is_empty() {
            l["listener_filters"] = listener_filters.into();
        }
        if self.wants("listener logs", 15) {
            l["access_log"] = json!([access_loggers()[1].1]);
        }
        l
    }

    /// A habit of the whole workload.
    fn habit(&mut self, option: &'static str) -> bool {
        self.wants(option, 50);
        self.habits[option] > 0
    }
}

fn cluster_name(naming: usize, i: usize) -> String {
    match naming {
        0 => service(i),
        1 => format!("default/service-{i:03}/80/{:010x}", i * 7_919),
        2 => format!("httproute/team-{:02}/app-{i:03}/rule/0", i % 9),
        3 => format!("c{i}"),
        _ => format!("service_{i}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_workload_and_resources_that_encode() {
        for seed in 0..40 {
            let w = workload(seed);
            let again = workload(seed);
            assert_eq!((&w.name, &w.clusters, &w.listeners), (&again.name, &again.clusters, &again.listeners));
            for resource in [&w.clusters, &w.endpoints, &w.listeners, &w.routes, &w.secrets].into_iter().flatten() {
                if let Err(e) = super::super::any(resource) {
                    panic!("{}: {e}", w.name);
                }
            }
        }
    }
}
