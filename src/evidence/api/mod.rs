//! Words of Envoy's API: its fields, enum words and defaults, and how version 2 names map to version 3.
//!
//! `fields.txt` and `enums.txt` are made from the API's descriptors by `scripts/api_words.py`.

use std::borrow::Cow;
use std::sync::OnceLock;

use foldhash::{HashMap, HashSet};

/// What is known of a field's name, over all messages that have one of that name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    /// Zero is not the same as absent (wrappers and members of a `oneof`).
    pub(crate) presence: bool,
    /// Enum words that mean the same as absent.
    pub(crate) defaults: Vec<&'static str>,
}

/// A key in one spelling: no underscores, lower case, so that `snake_case` and `lowerCamelCase` meet.
pub(crate) fn fold(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-') {
        return Cow::Borrowed(key);
    }
    Cow::Owned(key.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect())
}

fn fields() -> &'static HashMap<String, Field> {
    static FIELDS: OnceLock<HashMap<String, Field>> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let mut out: HashMap<String, Field> = HashMap::default();
        for line in include_str!("fields.txt").lines() {
            let mut words = line.split(' ').peekable();
            let name = words.next().unwrap_or("");
            let presence = words.next_if_eq(&"p").is_some();
            out.insert(fold(name).into_owned(), Field { presence, defaults: words.collect() });
        }
        out
    })
}

/// A field of Envoy's API, by its [`fold`]ed name.
pub(crate) fn field(folded: &str) -> Option<&'static Field> {
    fields().get(folded)
}

/// The word is one of an enum of Envoy's API.
pub(crate) fn is_enum_word(word: &str) -> bool {
    static WORDS: OnceLock<HashSet<&'static str>> = OnceLock::new();
    WORDS.get_or_init(|| include_str!("enums.txt").lines().collect()).contains(word)
}

/// Wrapped defaults that Envoy's API documents (Envoy 1.40, `api/envoy/config/{cluster,listener,route}/v3`), as
/// (folded field, normal form of the value).
const DOCUMENTED: [(&str, &str); 12] = [
    ("connecttimeout", "5s"),
    ("perconnectionbufferlimitbytes", "1048576"),
    ("maxconnections", "1024"),
    ("maxpendingrequests", "1024"),
    ("maxrequests", "1024"),
    ("maxretries", "3"),
    ("dnsrefreshrate", "5s"),
    ("casesensitive", "true"),
    ("listenerfilterstimeout", "15s"),
    ("numretries", "1"),
    ("minimumringsize", "1024"),
    ("choicecount", "2"),
];

/// Whether the value `text` (normal form) of a field means the same as the field being absent.
pub(crate) fn is_default(folded: &str, text: &str) -> bool {
    if DOCUMENTED.contains(&(folded, text)) {
        return true;
    }
    match (field(folded), text) {
        (_, "") => true,
        (Some(f), "0" | "false") => !f.presence,
        // of a field nobody knows, zero is taken for what protobuf would leave out
        (None, "0" | "false") => true,
        (Some(f), word) => f.defaults.contains(&word),
        (None, _) => false,
    }
}

/// A type without its authority, version 2 names as those of version 3.
pub(crate) fn type_name(type_url: &str) -> Cow<'_, str> {
    let bare = type_url.rsplit_once('/').map_or(type_url, |(_, t)| t);
    let Some(rest) = bare.strip_prefix("envoy.") else { return Cow::Borrowed(bare) };
    let part = |from: &str, to: &str| rest.strip_prefix(from).map(|m| format!("envoy.{to}{m}"));
    for (from, to) in [
        ("api.v2.auth.", "extensions.transport_sockets.tls.v3."),
        ("api.v2.core.", "config.core.v3."),
        ("api.v2.cluster.", "config.cluster.v3."),
        ("api.v2.endpoint.", "config.endpoint.v3."),
        ("api.v2.listener.", "config.listener.v3."),
        ("api.v2.route.", "config.route.v3."),
        ("api.v2.ratelimit.", "config.ratelimit.v3."),
        ("api.v2.ClusterLoadAssignment", "config.endpoint.v3.ClusterLoadAssignment"),
        ("api.v2.Cluster", "config.cluster.v3.Cluster"),
        ("api.v2.Listener", "config.listener.v3.Listener"),
        ("api.v2.RouteConfiguration", "config.route.v3.RouteConfiguration"),
        ("api.v2.ScopedRouteConfiguration", "config.route.v3.ScopedRouteConfiguration"),
        ("config.accesslog.v2.FileAccessLog", "extensions.access_loggers.file.v3.FileAccessLog"),
        ("config.accesslog.v2.HttpGrpc", "extensions.access_loggers.grpc.v3.HttpGrpc"),
        ("config.accesslog.v2.TcpGrpc", "extensions.access_loggers.grpc.v3.TcpGrpc"),
        ("config.filter.accesslog.v2.", "config.accesslog.v3."),
        ("config.filter.fault.v2.", "extensions.filters.common.fault.v3."),
        ("admin.v2alpha.", "admin.v3."),
    ] {
        if let Some(mapped) = part(from, to) {
            return Cow::Owned(mapped);
        }
    }
    if let Some((group, _, message)) = versioned(rest).filter(|(_, version, _)| version.starts_with("v2")) {
        let group = match group.strip_prefix("config.filter.") {
            Some(f) => format!("extensions.filters.{f}"),
            None => match group.strip_prefix("config.transport_socket.") {
                Some(s) => format!("extensions.transport_sockets.{s}"),
                None => group.to_owned(),
            },
        };
        return Cow::Owned(format!("envoy.{group}.v3.{message}"));
    }
    Cow::Borrowed(bare)
}

/// `config.filter.http.lua`, `v2`, `Lua`.
fn versioned(rest: &str) -> Option<(&str, &str, &str)> {
    let (head, message) = rest.rsplit_once('.')?;
    let (group, version) = head.rsplit_once('.')?;
    Some((group, version, message))
}

/// Names of built-in extensions before 1.14 as they are now (Envoy's `source/extensions/common/utility.h`).
pub(crate) fn extension_name(name: &str) -> Cow<'_, str> {
    let Some(rest) = name.strip_prefix("envoy.") else { return Cow::Borrowed(name) };
    Cow::Borrowed(match rest {
        "http_connection_manager" => "envoy.filters.network.http_connection_manager",
        "tcp_proxy" => "envoy.filters.network.tcp_proxy",
        "client_ssl_auth" => "envoy.filters.network.client_ssl_auth",
        "mongo_proxy" => "envoy.filters.network.mongo_proxy",
        "redis_proxy" => "envoy.filters.network.redis_proxy",
        "router" => "envoy.filters.http.router",
        "cors" => "envoy.filters.http.cors",
        "fault" => "envoy.filters.http.fault",
        "lua" => "envoy.filters.http.lua",
        "buffer" => "envoy.filters.http.buffer",
        "gzip" => "envoy.filters.http.gzip",
        "rate_limit" => "envoy.filters.http.ratelimit",
        "health_check" => "envoy.filters.http.health_check",
        "grpc_web" => "envoy.filters.http.grpc_web",
        "grpc_json_transcoder" => "envoy.filters.http.grpc_json_transcoder",
        "ip_tagging" => "envoy.filters.http.ip_tagging",
        "csrf" => "envoy.filters.http.csrf",
        "file_access_log" => "envoy.access_loggers.file",
        "http_grpc_access_log" => "envoy.access_loggers.http_grpc",
        "listener.original_dst" => "envoy.filters.listener.original_dst",
        "listener.original_src" => "envoy.filters.listener.original_src",
        "listener.tls_inspector" => "envoy.filters.listener.tls_inspector",
        "listener.http_inspector" => "envoy.filters.listener.http_inspector",
        "listener.proxy_protocol" => "envoy.filters.listener.proxy_protocol",
        _ => return Cow::Borrowed(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_version_2() {
        for (old, new) in [
            ("type.googleapis.com/envoy.api.v2.Cluster", "envoy.config.cluster.v3.Cluster"),
            ("envoy.api.v2.auth.UpstreamTlsContext", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
            (
                "envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager",
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            ),
            ("envoy.config.filter.http.rbac.v2.RBAC", "envoy.extensions.filters.http.rbac.v3.RBAC"),
            ("envoy.config.trace.v2.TracingConfig", "envoy.config.trace.v3.TracingConfig"),
            ("envoy.config.cluster.v3.Cluster", "envoy.config.cluster.v3.Cluster"),
            ("udpa.type.v1.TypedStruct", "udpa.type.v1.TypedStruct"),
        ] {
            assert_eq!(type_name(old), new);
        }
    }

    #[test]
    fn defaults() {
        assert!(is_default("lbpolicy", "ROUND_ROBIN"));
        assert!(!is_default("lbpolicy", "MAGLEV"));
        assert!(!is_default("useremoteaddress", "false"), "a wrapper tells false from absent");
        assert!(is_default("addedviaapi", "false"));
        assert!(is_default("statprefix", ""));
        assert_eq!(fold("lowerCamel_case"), "lowercamelcase");
    }
}
