//! Builders for the resources that workloads are made of.

use std::io::Read;

use serde_json::{Value, json};

/// Adds `extra`'s keys to `base` (objects merged, anything else replaced).
pub fn with(mut base: Value, extra: Value) -> Value {
    fn put(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    put(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }
    put(&mut base, extra);
    base
}

/// A typed configuration: `type_name` without its prefix, and the fields.
pub fn typed(type_name: &str, fields: Value) -> Value {
    with(json!({"@type": format!("type.googleapis.com/{type_name}")}), fields)
}

/// The config source of everything fed over ADS.
pub fn ads() -> Value {
    json!({"resource_api_version": "V3", "ads": {}, "initial_fetch_timeout": "0s"})
}

/// Istio's form of a cluster name.
pub fn service(i: usize) -> String {
    format!("outbound|8080||service-{i:04}.namespace-{:02}.svc.cluster.local", i % 10)
}

/// An EDS cluster.
pub fn eds_cluster(name: &str) -> Value {
    typed(
        "envoy.config.cluster.v3.Cluster",
        json!({"name": name, "type": "EDS", "connect_timeout": "10s", "eds_cluster_config": {"eds_config": ads()}}),
    )
}

/// A cluster of another discovery type.
pub fn plain_cluster(name: &str, kind: &str) -> Value {
    typed("envoy.config.cluster.v3.Cluster", json!({"name": name, "type": kind, "connect_timeout": "10s"}))
}

/// A socket address.
pub fn socket_address(address: &str, port: usize) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

/// An endpoint at 10.x.y.z.
pub fn endpoint(i: usize) -> Value {
    json!({"endpoint": {"address": socket_address(&format!("10.{}.{}.{}", 1 + i / 62500, i / 250 % 250, 1 + i % 250), 8080)}})
}

/// A load assignment of `hosts` endpoints in one locality; `seed` keeps addresses of different clusters apart.
pub fn assignment(cluster: &str, seed: usize, hosts: usize) -> Value {
    let endpoints: Vec<Value> = (0..hosts).map(|h| endpoint(seed * hosts.max(1) + h)).collect();
    typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]}),
    )
}

/// A network filter.
pub fn filter(name: &str, type_name: &str, fields: Value) -> Value {
    json!({"name": name, "typed_config": typed(type_name, fields)})
}

/// A `tcp_proxy`.
pub fn tcp_proxy(prefix: &str, cluster: &str) -> Value {
    filter(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({"stat_prefix": prefix, "cluster": cluster}),
    )
}

/// The router, last of every chain of HTTP filters.
pub fn router() -> Value {
    filter("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", json!({}))
}

/// An HTTP connection manager; `routes` is `{"rds": …}` or `{"route_config": …}`.
pub fn hcm(prefix: &str, routes: Value, before_router: Vec<Value>, extra: Value) -> Value {
    let mut filters = before_router;
    filters.push(router());
    filter(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        with(with(json!({"stat_prefix": prefix, "http_filters": filters}), routes), extra),
    )
}

/// Routes over RDS.
pub fn rds(name: &str) -> Value {
    json!({"rds": {"route_config_name": name, "config_source": ads()}})
}

/// Routes in the listener.
pub fn inline(table: Value) -> Value {
    let mut table = table;
    if let Some(object) = table.as_object_mut() {
        object.remove("@type");
    }
    json!({"route_config": table})
}

/// A route table.
pub fn table(name: &str, hosts: Vec<Value>) -> Value {
    typed(
        "envoy.config.route.v3.RouteConfiguration",
        json!({"name": name, "validate_clusters": false, "virtual_hosts": hosts}),
    )
}

/// A virtual host.
pub fn vhost(name: &str, domains: &[String], routes: Vec<Value>) -> Value {
    json!({"name": name, "domains": domains, "routes": routes})
}

/// A route by prefix to a cluster.
pub fn route(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}})
}

/// A listener on a port of 127.0.0.1 (port 0 is chosen by the kernel, so that any number of them fits).
pub fn listener(name: &str, chains: Vec<Value>) -> Value {
    typed(
        "envoy.config.listener.v3.Listener",
        json!({"name": name, "address": socket_address("127.0.0.1", 0), "filter_chains": chains}),
    )
}

/// A listener that does not bind, as Istio's virtual ones.
pub fn unbound(name: &str, i: usize, chains: Vec<Value>) -> Value {
    typed(
        "envoy.config.listener.v3.Listener",
        json!({"name": name, "address": socket_address(&format!("240.{}.{}.{}", i / 62500, i / 250 % 250, 1 + i % 250), 80),
               "bind_to_port": false, "filter_chains": chains}),
    )
}

/// A filter chain.
pub fn chain(filters: Vec<Value>) -> Value {
    json!({"filters": filters})
}

/// Istio's catch-all: what no service has goes where it wanted to.
pub fn allow_any() -> Value {
    with(
        vhost("allow_any", &["*".into()], vec![with(route("/", "PassthroughCluster"), json!({"name": "allow_any"}))]),
        json!({"include_request_attempt_count": true}),
    )
}

/// A chain that matches a server name.
pub fn sni_chain(server_name: &str, filters: Vec<Value>) -> Value {
    json!({"filter_chain_match": {"server_names": [server_name]}, "filters": filters})
}

/// The lab's RSA certificate and key, inline.
pub fn rsa() -> Value {
    json!({"certificate_chain": {"inline_string": include_str!("pki/rsa.pem")},
           "private_key": {"inline_string": include_str!("pki/rsa.key")}})
}

/// The lab's ECDSA certificate and key, inline.
pub fn ecdsa() -> Value {
    json!({"certificate_chain": {"inline_string": include_str!("pki/ecdsa.pem")},
           "private_key": {"inline_string": include_str!("pki/ecdsa.key")}})
}

/// The first `count` roots of the lab's CA bundle, from root `from` on.
pub fn roots(from: usize, count: usize) -> Value {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&include_bytes!("pki/roots.pem.gz")[..])
        .read_to_string(&mut text)
        .expect("the CA bundle in the binary is a gzip stream of PEM");
    let end = "-----END CERTIFICATE-----\n";
    let picked: String = text.split_inclusive(end).skip(from).take(count).collect();
    json!({"inline_string": picked})
}

/// A downstream TLS transport socket.
pub fn downstream_tls(common: Value, extra: Value) -> Value {
    json!({"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        with(json!({"common_tls_context": common}), extra))})
}

/// An upstream TLS transport socket.
pub fn upstream_tls(common: Value, sni: &str) -> Value {
    json!({"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        json!({"common_tls_context": common, "sni": sni}))})
}

/// A reference to a secret over ADS.
pub fn sds(name: &str) -> Value {
    json!({"name": name, "sds_config": ads()})
}

/// A certificate secret.
pub fn certificate_secret(name: &str, certificate: Value) -> Value {
    typed("envoy.extensions.transport_sockets.tls.v3.Secret", json!({"name": name, "tls_certificate": certificate}))
}

/// A CA secret.
pub fn ca_secret(name: &str, ca: Value, sans: &[String]) -> Value {
    let matchers: Vec<Value> = sans.iter().map(|s| json!({"san_type": "URI", "matcher": {"exact": s}})).collect();
    let mut context = json!({"trusted_ca": ca});
    if !matchers.is_empty() {
        context["match_typed_subject_alt_names"] = matchers.into();
    }
    typed("envoy.extensions.transport_sockets.tls.v3.Secret", json!({"name": name, "validation_context": context}))
}

/// Istio's HTTP protocol options for an upstream.
pub fn http_options(fields: Value) -> Value {
    json!({"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
        typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", fields)}})
}

/// The smallest proxy-wasm module, padded by a custom section to about `size_bytes`.
///
/// It exports a memory, an allocator that traps and the ABI marker; an idle filter never calls it.
pub fn wasm_module(size_bytes: usize) -> Vec<u8> {
    fn leb(mut n: usize, out: &mut Vec<u8>) {
        loop {
            let low = (n & 0x7f) as u8;
            n >>= 7;
            out.push(if n == 0 { low } else { low | 0x80 });
            if n == 0 {
                break;
            }
        }
    }
    fn section(id: u8, body: &[u8], out: &mut Vec<u8>) {
        out.push(id);
        leb(body.len(), out);
        out.extend_from_slice(body);
    }
    fn name(text: &str, out: &mut Vec<u8>) {
        leb(text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    // types: () -> (), (i32) -> i32, (i32 i32) -> (), (i32 i32) -> i32
    section(
        1,
        &[4, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 2, 0x7f, 0x7f, 1, 0x7f],
        &mut out,
    );
    let functions: [(&str, u8, &[u8]); 8] = [
        ("proxy_abi_version_0_2_1", 0, &[0, 0x0b]),
        ("_initialize", 0, &[0, 0x0b]),
        // hands out addresses from 64 KiB on and never frees; enough for one configuration string per VM
        ("proxy_on_memory_allocate", 1, &[0, 0x41, 0x80, 0x80, 0x04, 0x0b]),
        ("proxy_on_context_create", 2, &[0, 0x0b]),
        ("proxy_on_vm_start", 3, &[0, 0x41, 1, 0x0b]),
        ("proxy_on_configure", 3, &[0, 0x41, 1, 0x0b]),
        ("proxy_on_delete", 4, &[0, 0x0b]),
        ("proxy_on_log", 4, &[0, 0x0b]),
    ];
    // type 4 does not exist above: (i32) -> () is appended
    let mut types = vec![5, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 2, 0x7f, 0x7f, 1, 0x7f];
    types.extend_from_slice(&[0x60, 1, 0x7f, 0]);
    out.truncate(8);
    section(1, &types, &mut out);
    let mut body = vec![functions.len() as u8];
    body.extend(functions.iter().map(|f| f.1));
    section(3, &body, &mut out);
    section(5, &[1, 0, 4], &mut out);
    let mut body = vec![functions.len() as u8 + 1];
    name("memory", &mut body);
    body.extend_from_slice(&[2, 0]);
    for (i, f) in functions.iter().enumerate() {
        name(f.0, &mut body);
        body.extend_from_slice(&[0, i as u8]);
    }
    section(7, &body, &mut out);
    let mut body = vec![functions.len() as u8];
    for f in &functions {
        leb(f.2.len(), &mut body);
        body.extend_from_slice(f.2);
    }
    section(10, &body, &mut out);
    let padding = size_bytes.saturating_sub(out.len() + 16);
    let mut body = Vec::new();
    name("padding", &mut body);
    // an arithmetic sequence, so that nothing on the way can compress it away
    body.extend((0..padding).map(|i| (i * 131 % 251) as u8));
    section(0, &body, &mut out);
    out
}

/// Standard base64 with padding, as protojson wants `bytes` fields.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let n = u32::from(part[0]) << 16
            | u32::from(*part.get(1).unwrap_or(&0)) << 8
            | u32::from(*part.get(2).unwrap_or(&0));
        for k in 0..4 {
            if k <= part.len() {
                out.push(DIGITS[(n >> (18 - 6 * k) & 63) as usize] as char);
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        assert_eq!(
            [b"".as_slice(), b"f", b"fo", b"foo", b"foob"].map(base64),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }

    #[test]
    fn modules_have_the_size_asked_for() {
        for size in [1000, 53_345, 300_000] {
            assert!(wasm_module(size).len().abs_diff(size) < 8);
        }
    }
}
