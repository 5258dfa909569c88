//! Secrets of every class in every place, and the search for what is left of them.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

/// Standard base64, written apart from the tool's.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = if i <= chunk.len() { SET[(n >> (18 - 6 * i) & 63) as usize] } else { b'=' };
            out.push(char::from(digit));
        }
    }
    out
}

pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().filter_map(digit).collect();
    let mut out = Vec::new();
    for chunk in digits.chunks(4) {
        let n = chunk.iter().fold(0_u32, |n, d| n << 6 | u32::from(*d)) << (6 * (4 - chunk.len()));
        out.extend((0..chunk.len().saturating_sub(1)).map(|i| (n >> (16 - 8 * i)) as u8));
    }
    out
}

/// Hands out secrets that are easy to find again.
#[derive(Default)]
pub(crate) struct Planter(pub(crate) Vec<String>);

impl Planter {
    pub(crate) fn raw(&mut self) -> String {
        let n = self.0.len();
        let secret = format!("Pl4nt{n:03}qWzXv7Kd");
        self.0.push(secret.clone());
        secret
    }

    pub(crate) fn base64(&mut self) -> String {
        base64(self.raw().as_bytes())
    }

    /// `%50%6C…`
    pub(crate) fn url(&mut self) -> String {
        self.raw().bytes().map(|b| format!("%{b:02X}")).collect()
    }

    pub(crate) fn pem(&mut self, label: &str) -> String {
        let body = base64(format!("a key that nobody may see {}", self.raw()).as_bytes());
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }
}

pub(crate) fn header(key: &str, value: String) -> Value {
    json!({"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
}

/// A dump with secrets of every class in every place.
pub(crate) fn planted(p: &mut Planter) -> Value {
    let route = json!({
        "match": {"prefix": "/", "headers": [{"name": "authorization", "string_match": {"exact": format!("Bearer {}", p.raw())}},
            {"name": "x-key", "prefix_match": p.raw()}, {"name": "x-old", "safe_regex_match": {"regex": p.raw()}}],
            "query_parameters": [{"name": "token", "string_match": {"exact": p.raw()}}]},
        "route": {"cluster": "outbound|80||web.shop.svc.cluster.local",
            "hash_policy": [{"cookie": {"name": "session", "path": "/"}}]},
        "request_headers_to_add": [header("authorization", format!("Bearer {}", p.raw())), header("x-api-key", p.raw())],
        "response_headers_to_add": [header("set-cookie", format!("sid={}; Secure", p.raw()))],
        "metadata": {"filter_metadata": {"com.acme.auth": {"password": p.raw(), "nested": {"list": [p.raw(), p.raw()]}}}},
        "typed_per_filter_config": {"envoy.filters.http.lua": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute",
            "source_code": {"inline_string": format!("local k = '{}'", p.raw())}}}
    });
    let direct = json!({"match": {"path": "/secret"}, "direct_response": {"status": 200,
        "body": {"inline_string": format!("hello {}", p.raw())}}});
    let redirect =
        json!({"match": {"path": "/r"}, "redirect": {"path_redirect": format!("/cb?access_token={}", p.raw())}});
    let table = json!({"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "8080",
        "request_headers_to_add": [header("x-table", p.raw())],
        "virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [route, direct, redirect],
            "request_headers_to_add": [header("x-host", p.raw())]}]});
    let http_filters = json!([
        {"name": "envoy.filters.http.lua", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "inline_code": format!("-- {}\nfunction envoy_on_request(h) end", p.raw()),
            "default_source_code": {"inline_string": format!("token = \"{}\"", p.raw())},
            "source_codes": {"other.lua": {"inline_bytes": p.base64()}}}},
        {"name": "envoy.filters.http.wasm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {"name": "w", "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": format!("{{\"api_key\":\"{}\"}}", p.raw())},
                "vm_config": {"vm_id": "v", "code": {"local": {"inline_bytes": p.base64()}},
                    "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": p.raw()},
                    "environment_variables": {"key_values": {"DB_PASSWORD": p.raw()}}}}}},
        {"name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"acme": {"issuer": "acme", "local_jwks": {"inline_string": format!("{{\"keys\":[{{\"k\":\"{}\"}}]}}", p.base64())}},
                "remote": {"remote_jwks": {"http_uri": {"uri": format!("https://user:{}@idp.acme.com/jwks?sig={}", p.raw(), p.url()),
                    "cluster": "idp", "timeout": "5s"}}}}}},
        {"name": "envoy.filters.http.oauth2", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2",
            "config": {"credentials": {"client_id": p.raw(), "token_secret": {"name": "token"}, "hmac_secret": {"name": "hmac"}},
                "authorization_endpoint": format!("https://idp.acme.com/auth?client_secret={}", p.raw())}}},
        {"name": "envoy.filters.http.basic_auth", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth",
            "users": {"inline_string": format!("admin:{{SHA}}{}", p.base64())}}},
        {"name": "envoy.filters.http.credential_injector", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "credential": {"name": "c", "typed_config": {"@type": "type.googleapis.com/x.Generic",
                "credential": {"inline_string": p.raw()}}}}},
        {"name": "envoy.filters.http.api_key_auth", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": p.raw(), "client": "one"}]}},
        {"name": "acme.plugin", "typed_config": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/acme.Plugin", "value": {"secret_thing": p.raw(), "deep": {"er": [{"x": p.raw()}]}}}},
        {"name": "envoy.filters.http.ext_authz", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "initial_metadata": [{"key": "authorization", "value": p.raw()}]}}},
        {"name": "envoy.filters.http.ext_authz", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "http_service": {"server_uri": {"uri": format!("http://authz/?k={}", p.raw())},
                "authorization_request": {"headers_to_add": [{"key": "x-secret", "value": p.raw()}]}}}},
        {"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
    ]);
    let listener = super::any(
        "envoy.config.listener.v3.Listener",
        json!({
        "name": "0.0.0.0_8080", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
        "metadata": {"filter_metadata": {"acme": {"k": p.raw()}}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "outbound", "rds": {"route_config_name": "8080"}, "http_filters": http_filters,
            "local_reply_config": {"mappers": [{"body": {"inline_string": p.raw()}, "headers_to_add": [header("x", p.raw())]}]},
            "access_log": [{"name": "envoy.access_loggers.http_grpc", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
                "common_config": {"grpc_service": {"google_grpc": {"target_uri": "logs.acme.com",
                    "channel_credentials": {"ssl_credentials": {"private_key": {"inline_string": p.pem("PRIVATE KEY")}}},
                    "call_credentials": [{"access_token": p.raw()}]}}}}}]}}],
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [{"certificate_chain": {"inline_string": p.pem("CERTIFICATE")},
                    "private_key": {"inline_bytes": p.base64()}, "password": {"inline_string": p.raw()}}]},
                "session_ticket_keys": {"keys": [{"inline_bytes": p.base64()}]}}}}]}),
    );
    let cluster = super::any(
        "envoy.config.cluster.v3.Cluster",
        json!({
        "name": "outbound|80||web.shop.svc.cluster.local", "type": "EDS", "connect_timeout": "10s",
        "health_checks": [{"timeout": "1s", "interval": "1s", "http_health_check": {"path": format!("/healthz?token={}", p.raw()),
                "request_headers_to_add": [header("authorization", format!("Basic {}", p.base64()))]}},
            {"tcp_health_check": {"send": {"text": base64(p.raw().as_bytes())}, "receive": [{"text": p.raw()}]}}],
        "metadata": {"filter_metadata": {"istio": {"services": [{"host": "web.shop.svc.cluster.local", "name": "web", "namespace": "shop"}],
            "note": p.raw()}}},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {"validation_context": {"trusted_ca": {"inline_bytes": p.base64()}}}}},
        "typed_extension_protocol_options": {"envoy.filters.network.redis_proxy": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions",
            "auth_password": {"inline_string": p.raw()}, "auth_username": {"inline_string": p.raw()}}}}),
    );
    let secret = super::any(
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        json!({
        "name": "generic", "generic_secret": {"secret": {"inline_string": p.raw()}, "secrets": {"a": {"inline_bytes": p.base64()}}}}),
    );
    let bootstrap = super::section(
        "BootstrapConfigDump",
        json!({"bootstrap": {
        "node": {"id": "sidecar~10.1.2.3~web-0.shop~shop.svc.cluster.local", "cluster": "web.shop",
            "metadata": {"TOKEN": p.raw(), "ANNOTATIONS": {"kubectl.kubernetes.io/last-applied-configuration": format!("{{\"pw\":\"{}\"}}", p.raw())},
                "NAMESPACE": "shop", "NAME": "web-0"}},
        "dynamic_resources": {"ads_config": {"api_type": "GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"},
            "initial_metadata": [{"key": "authorization", "value": format!("Bearer {}", p.raw())}]}]}},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {"acme.secret": p.raw()}}]},
        "tracing": {"http": {"name": "envoy.tracers.datadog", "typed_config": {"@type": "type.googleapis.com/x.Datadog", "api_key": p.raw()}}}}}),
    );
    super::configs(vec![
        bootstrap,
        super::section("ClustersConfigDump", json!({"dynamic_active_clusters": [super::cluster_entry(cluster)]})),
        super::section(
            "ListenersConfigDump",
            json!({"dynamic_listeners": [{"name": "0.0.0.0_8080",
            "active_state": {"version_info": "1", "listener": listener}}]}),
        ),
        super::section(
            "RoutesConfigDump",
            json!({"dynamic_route_configs": [{"version_info": "1", "route_config": table}]}),
        ),
        super::section("SecretsConfigDump", json!({"dynamic_active_secrets": [{"name": "generic", "secret": secret}]})),
    ])
}

/// What else may lie in a bundle.
pub(crate) fn companions(p: &mut Planter) -> Vec<(&'static str, String)> {
    vec![
        ("memory", r#"{"allocated":"31000000","heap_size":"50000000"}"#.to_owned()),
        ("stats.txt", "cluster.outbound|80||web.shop.svc.cluster.local.upstream_cx_total: 3\nserver.concurrency: 2\nlistener_manager.total_listeners_active: 1\n".to_owned()),
        ("server_info", json!({"version": "abc/1.30.0/Clean/RELEASE/BoringSSL", "state": "LIVE", "command_line_options":
            {"concurrency": 2, "config_yaml": format!("token: {}", p.raw()), "drain_time": "45s"}}).to_string()),
        ("pods.yaml", format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web-0\n  namespace: shop\nspec:\n  containers:\n  - name: app\n    image: acme/web:1\n    env:\n    - name: DB_PASSWORD\n      value: {}\n    - name: QUOTED\n      value: \"{}\"\n", p.raw(), p.raw())),
        ("secret.yaml", format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: shop\ndata:\n  password: {}\nstringData:\n  other: {}\n", p.base64(), p.raw())),
        ("configmap.json", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"},
            "data": {"app.conf": format!("password={}", p.raw())}}).to_string()),
        ("proxy.log", format!("[2026-11-21 05:00:00.000][1][info][config] authorization: Bearer {}\nconnect to postgres://u:{}@db/x?sslpassword={}\n", p.raw(), p.raw(), p.url())),
    ]
}

pub(crate) fn recording(p: &mut Planter) -> String {
    let secret = json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "tls",
        "tls_certificate": {"certificate_chain": {"inline_bytes": p.base64()}, "private_key": {"inline_bytes": p.base64()}}});
    let cluster = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a", "type": "EDS",
        "health_checks": [{"http_health_check": {"request_headers_to_add": [header("authorization", p.raw())]}}]});
    let line = |t: f64, url: &str, r: Value| {
        json!({"t": t, "type_url": url, "version_info": "1", "nonce": "1", "resources": [r]}).to_string()
    };
    format!(
        "{}\n{}\n",
        line(1.0, "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", secret),
        line(2.0, "type.googleapis.com/envoy.config.cluster.v3.Cluster", cluster)
    )
}

/// Every form of every secret that is still in `bytes`: raw, in base64 at any alignment, in a URL, in JSON escapes.
pub(crate) fn survivors(bytes: &[u8], secrets: &[String]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut texts = vec![text.to_string()];
    // what base64 hides
    let token = |c: char| !(c.is_ascii_alphanumeric() || "+/=-_".contains(c));
    let decoded: Vec<String> = text
        .split(token)
        .filter(|t| t.len() >= 12)
        .flat_map(|t| (0..4).map(move |skip| String::from_utf8_lossy(&unbase64(&t[skip.min(t.len())..])).into_owned()))
        .collect();
    texts.push(decoded.join("\n"));
    // what URLs hide
    let mut url = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(b) => {
                url.push(b);
                rest = &tail[2..];
            }
            None => {
                url.push(*first);
                rest = tail;
            }
        }
    }
    texts.push(String::from_utf8_lossy(&url).into_owned());
    // what JSON hides
    let mut unescaped = String::new();
    for part in text.split("\\u") {
        match part.get(..4).and_then(|h| u32::from_str_radix(h, 16).ok()).and_then(char::from_u32) {
            Some(c) => {
                unescaped.push(c);
                unescaped.push_str(&part[4..]);
            }
            None => unescaped.push_str(part),
        }
    }
    texts.push(unescaped);
    secrets.iter().filter(|s| texts.iter().any(|t| t.contains(s.as_str()))).cloned().collect()
}

pub(crate) fn nothing_survives(what: &str, bytes: &[u8], secrets: &[String]) {
    assert_eq!(survivors(bytes, secrets), Vec::<String>::new(), "{what}");
}

/// The members of a tar.gz, or the file itself.
pub(crate) fn inflated(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("the output");
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut out).expect("gzip");
    out
}
