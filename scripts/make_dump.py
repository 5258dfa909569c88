#!/usr/bin/env python3
"""Writes an Istio-shaped /config_dump of about the wanted size, byte for byte the same every time.

usage: make_dump.py MEGABYTES OUT.json     (`.gz` beside it with gzip -6 when the name ends in .json)

The layout is Envoy's: one-space indentation, snake_case, `@type` first, uint64 as strings. A fifth of the services
carry long host names; one listener in 97 has a draining state; two route tables are much larger than the others.
"""
import gzip
import json
import shutil
import sys

T = "type.googleapis.com/"
STAMP = "2026-03-04T05:06:07.%03dZ"


def sds(name):
    return {"name": name, "sds_config": {"api_config_source": {"api_type": "GRPC", "grpc_services": [
        {"envoy_grpc": {"cluster_name": "sds-grpc"}}], "set_node_on_first_message_only": True,
        "transport_api_version": "V3"}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}}


def host(i):
    team = "team-%02d" % (i % 40)
    name = "service-%05d" % i if i % 5 else "a-service-with-a-rather-long-name-%05d" % i
    return name, team, "%s.%s.svc.cluster.local" % (name, team)


def cluster(i):
    name, team, fqdn = host(i)
    port = 8000 + i % 7
    full = "outbound|%d||%s" % (port, fqdn)
    tls = {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": T + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["istio-peer-exchange", "istio"],
            "tls_certificate_sds_secret_configs": [sds("default")],
            "combined_validation_context": {
                "default_validation_context": {"match_subject_alt_names": [
                    {"exact": "spiffe://cluster.local/ns/%s/sa/%s" % (team, name)}]},
                "validation_context_sds_secret_config": sds("ROOTCA")}},
        "sni": "outbound_.%d_._.%s" % (port, fqdn)}}
    return {"version_info": "2026-03-04T05:06:00Z/%d" % (i % 90), "cluster": {
        "@type": T + "envoy.config.cluster.v3.Cluster", "name": full, "type": "EDS",
        "eds_cluster_config": {"eds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
                               "service_name": full},
        "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{"max_connections": 4294967295, "max_pending_requests": 4294967295,
                                             "max_requests": 4294967295, "max_retries": 4294967295,
                                             "track_remaining": True}]},
        "metadata": {"filter_metadata": {"istio": {"services": [
            {"host": fqdn, "name": name, "namespace": team}]}}},
        "common_lb_config": {"locality_weighted_lb_config": {}},
        "transport_socket_matches": [
            {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": tls},
            {"name": "tlsMode-disabled", "match": {}, "transport_socket": {
                "name": "envoy.transport_sockets.raw_buffer", "typed_config": {
                    "@type": T + "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}}]},
        "last_updated": STAMP % (i % 1000)}


def endpoints(i):
    name, team, fqdn = host(i)
    return {"endpoint_config": {
        "@type": T + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "outbound|%d||%s" % (8000 + i % 7, fqdn),
        "endpoints": [{"locality": {"region": "r1", "zone": "z%d" % z}, "lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {
                "address": "10.%d.%d.%d" % (i // 250 % 250, i % 250, z * 9 + e), "port_value": 8080}},
                "health_check_config": {}},
             "health_status": "HEALTHY",
             "metadata": {"filter_metadata": {
                 "istio": {"workload": "%s;%s;%s;v1;cluster-1" % (name, team, name)},
                 "envoy.transport_socket_match": {"tlsMode": "istio"}}},
             "load_balancing_weight": 1} for e in range(2)], "load_balancing_weight": 2} for z in range(2)],
        "policy": {"overprovisioning_factor": 140}}}


def listener_body(i):
    name, team, fqdn = host(i)
    ip = "10.96.%d.%d" % (i // 250 % 250, i % 250)
    filters = [{"name": "istio.metadata_exchange", "typed_config": {
        "@type": T + "envoy.extensions.filters.http.peer_metadata.Config"}},
        {"name": "envoy.filters.http.fault", "typed_config": {
            "@type": T + "envoy.extensions.filters.http.fault.v3.HTTPFault"}},
        {"name": "envoy.filters.http.cors", "typed_config": {
            "@type": T + "envoy.extensions.filters.http.cors.v3.Cors"}},
        {"name": "envoy.filters.http.router", "typed_config": {
            "@type": T + "envoy.extensions.filters.http.router.v3.Router"}}]
    return {"@type": T + "envoy.config.listener.v3.Listener", "name": "%s_8080" % ip,
            "address": {"socket_address": {"address": ip, "port_value": 8080}},
            "filter_chains": [
                {"filter_chain_match": {"transport_protocol": "raw_buffer",
                                        "application_protocols": ["http/1.1", "h2c"]},
                 "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
                     "@type": T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                     "stat_prefix": "outbound_%s_8080" % ip,
                     "rds": {"config_source": {"ads": {}, "initial_fetch_timeout": "0s",
                                               "resource_api_version": "V3"},
                             "route_config_name": "%s:8080" % fqdn},
                     "http_filters": filters,
                     "tracing": {"client_sampling": {"value": 100}, "random_sampling": {"value": 1},
                                 "overall_sampling": {"value": 100}},
                     "use_remote_address": False, "normalize_path": True}}]}],
            "default_filter_chain": {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
                "@type": T + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "outbound|8080||%s" % fqdn,
                "cluster": "outbound|%d||%s" % (8000 + i % 7, fqdn)}}], "name": "PassthroughFilterChain"},
            "deprecated_v1": {"bind_to_port": False},
            "traffic_direction": "OUTBOUND"}


def listener(i):
    body = listener_body(i)
    entry = {"name": body["name"], "active_state": {
        "version_info": "2026-03-04T05:06:00Z/%d" % (i % 90), "listener": body, "last_updated": STAMP % (i % 1000)}}
    if i % 97 == 0:
        entry["draining_state"] = {"version_info": "2026-03-04T05:05:00Z/1", "listener": body,
                                   "last_updated": STAMP % 7}
    return entry


def vhost(i):
    name, team, fqdn = host(i)
    return {"name": "%s:8080" % fqdn,
            "domains": [fqdn, "%s.%s" % (name, team), "%s.%s.svc" % (name, team), "10.96.%d.%d" % (i // 250, i % 250)],
            "routes": [{"match": {"prefix": "/"}, "route": {
                "cluster": "outbound|%d||%s" % (8000 + i % 7, fqdn), "timeout": "0s",
                "retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,cancelled",
                                 "num_retries": 2, "host_selection_retry_max_attempts": "5",
                                 "retriable_status_codes": [503]},
                "max_grpc_timeout": "0s"},
                "decorator": {"operation": "%s:8080/*" % fqdn}, "name": "default"}],
            "include_request_attempt_count": True}


def route(name, ids):
    return {"version_info": "2026-03-04T05:06:00Z/9", "route_config": {
        "@type": T + "envoy.config.route.v3.RouteConfiguration", "name": name,
        "virtual_hosts": [vhost(i) for i in ids], "validate_clusters": False,
        "max_direct_response_body_size_bytes": 1048576}, "last_updated": STAMP % 11}


def items(n, make, indent):
    """Elements as json.dumps(indent=1) would write them at that depth, one at a time."""
    pad = "\n" + " " * indent
    for i in range(n):
        text = json.dumps(make(i), indent=1, ensure_ascii=False).replace("\n", pad)
        yield ("," if i else "") + pad + text


def main():
    megabytes, path = float(sys.argv[1]), sys.argv[2]
    n = max(10, int(megabytes * 1e6 / 9214))
    half = n // 2
    sections = [
        ("BootstrapConfigDump", [("bootstrap", None)]),
        ("ClustersConfigDump", [("dynamic_active_clusters", (n, cluster))]),
        ("EndpointsConfigDump", [("dynamic_endpoint_configs", (n, endpoints))]),
        ("ListenersConfigDump", [("dynamic_listeners", (n // 3, listener))]),
        ("ScopedRoutesConfigDump", []),
        ("RoutesConfigDump", [("dynamic_route_configs", (
            2 + n // 20, lambda i: route("80", range(half)) if i == 0 else route("8080", range(half, n)) if i == 1
            else route("%s:8080" % host(i)[2], [i])))]),
        ("SecretsConfigDump", []),
    ]
    bootstrap = {"node": {"id": "sidecar~10.0.0.1~bench-0.bench~bench.svc.cluster.local", "cluster": "bench.bench",
                          "metadata": {"NAMESPACE": "bench", "WORKLOAD_NAME": "bench", "ISTIO_VERSION": "1.31.0"},
                          "user_agent_name": "envoy",
                          "user_agent_build_version": {"version": {"major_number": 1, "minor_number": 40}}},
                 "stats_config": {"use_all_default_tags": False}}
    with open(path, "w", encoding="utf-8") as out:
        out.write('{\n "configs": [')
        for s, (kind, lists) in enumerate(sections):
            out.write(("," if s else "") + '\n  {\n   "@type": "%senvoy.admin.v3.%s"' % (T, kind))
            if kind in ("ClustersConfigDump", "ListenersConfigDump"):
                out.write(',\n   "version_info": "2026-03-04T05:06:00Z/90"')
            for key, content in lists:
                out.write(',\n   "%s": ' % key)
                if content is None:
                    out.write(json.dumps(bootstrap, indent=1).replace("\n", "\n   "))
                else:
                    out.write("[")
                    for text in items(*content, indent=4):
                        out.write(text)
                    out.write("\n   ]")
            out.write("\n  }")
        out.write("\n ]\n}\n")
    if path.endswith(".json"):
        with open(path, "rb") as src, gzip.GzipFile(path + ".gz", "wb", 6, mtime=0) as dst:
            shutil.copyfileobj(src, dst, 1 << 20)


main()
