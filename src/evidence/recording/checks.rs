//! What a body says about itself that decides how Envoy takes it: how long it waits for what it needs, and whether Envoy
//! refuses it.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::evidence::json::names;
use crate::model::envoy::Name;
use crate::model::stream::{FetchTimeout, Us, XdsType};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Dependencies with an `initial_fetch_timeout` of their own.
    pub(super) timeouts: Arc<[FetchTimeout]>,
    /// Why Envoy refuses the body.
    pub(super) invalid: Option<Name>,
    /// A listener with a chain whose match needs a TLS inspector, and without one among its filters.
    pub(super) needs_tls_inspector: bool,
}

/// Looks at the JSON of a body.
pub(super) fn of(text: &str, kind: XdsType) -> Found {
    let timed = text.contains("initial_fetch_timeout") || text.contains("initialFetchTimeout");
    let listener = kind == XdsType::Listener;
    let mut timeouts = Vec::new();
    if timed
        && (listener || kind == XdsType::Cluster)
        && let Ok(body) = serde_json::from_str::<Value>(text)
    {
        let own = get(&body, "name", "name").and_then(Value::as_str).unwrap_or_default();
        collect(&body, own, &mut timeouts);
    }
    let chains: Option<Chains> = if listener { serde_json::from_str(text).ok() } else { None };
    Found {
        timeouts: timeouts.into(),
        invalid: chains.as_ref().and_then(one_match_twice),
        needs_tls_inspector: chains.is_some_and(|c| needs_tls_inspector(&c)),
    }
}

fn get<'a>(value: &'a Value, snake: &str, camel: &str) -> Option<&'a Value> {
    value.get(snake).or_else(|| value.get(camel))
}

fn timeout(source: Option<&Value>) -> Option<Us> {
    let text = get(source?, "initial_fetch_timeout", "initialFetchTimeout")?.as_str()?;
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Some(Us((seconds * 1e6).round() as i64))
}

/// Goes over everything that has a config source, by the name of the field that holds it.
fn collect(value: &Value, own: &str, out: &mut Vec<FetchTimeout>) {
    let Value::Object(fields) = value else {
        value.as_array().into_iter().flatten().for_each(|v| collect(v, own, out));
        return;
    };
    let mut add = |kind, name: Option<&str>, source: Option<&Value>| {
        if let (Some(name), Some(timeout)) = (name, timeout(source)) {
            out.push(FetchTimeout { kind, name: names::word(name), timeout });
        }
    };
    let text = |snake, camel| get(value, snake, camel).and_then(Value::as_str);
    let source = |v| get(v, "config_source", "configSource");
    add(XdsType::RouteConfig, text("route_config_name", "routeConfigName"), source(value));
    add(XdsType::Secret, text("name", "name"), get(value, "sds_config", "sdsConfig"));
    let discovery = get(value, "config_discovery", "configDiscovery");
    add(XdsType::ExtensionConfig, text("name", "name"), discovery.and_then(source));
    if let Some(eds) = get(value, "eds_cluster_config", "edsClusterConfig") {
        let name = get(eds, "service_name", "serviceName").and_then(Value::as_str).filter(|n| !n.is_empty());
        add(XdsType::Endpoints, name.or(Some(own)), get(eds, "eds_config", "edsConfig"));
    }
    fields.values().for_each(|v| collect(v, own, out));
}

#[derive(Deserialize)]
struct Chains {
    #[serde(default, alias = "filterChains")]
    filter_chains: Vec<Chain>,
    #[serde(default, alias = "filterChainMatcher")]
    filter_chain_matcher: Option<serde::de::IgnoredAny>,
    #[serde(default, alias = "listenerFilters")]
    listener_filters: Vec<ListenerFilter>,
}

#[derive(Deserialize)]
struct ListenerFilter {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Chain {
    #[serde(default)]
    name: String,
    #[serde(default, alias = "filterChainMatch")]
    filter_chain_match: Option<Value>,
}

/// Envoy refuses two chains that match the same (`filter_chain_manager_impl.cc`), unless a matcher picks the chain. What a
/// match lists is taken apart as Envoy does: one entry per server name, application protocol, prefix range and so on.
fn one_match_twice(chains: &Chains) -> Option<Name> {
    if chains.filter_chain_matcher.is_some() {
        return None;
    }
    let mut seen = HashSet::new();
    for chain in &chains.filter_chains {
        for key in entries(chain.filter_chain_match.as_ref()) {
            if !seen.insert(key) {
                return Some(format!("filter chain '{}' has the match of another one", chain.name).into());
            }
        }
    }
    None
}

/// Up to 1.19 Envoy puts a TLS inspector in front of such listeners by itself (`listener_impl.cc`,
/// `buildTlsInspectorListenerFilter`).
fn needs_tls_inspector(chains: &Chains) -> bool {
    let needs = |m: &Value| {
        let some = |snake, camel| get(m, snake, camel).and_then(Value::as_array).is_some_and(|l| !l.is_empty());
        match get(m, "transport_protocol", "transportProtocol").and_then(Value::as_str).unwrap_or_default() {
            "" => some("server_names", "serverNames") || some("application_protocols", "applicationProtocols"),
            protocol => protocol == "tls",
        }
    };
    chains.filter_chains.iter().filter_map(|c| c.filter_chain_match.as_ref()).any(needs)
        && !chains.listener_filters.iter().any(|f| f.name == "envoy.filters.listener.tls_inspector")
}

fn entries(value: Option<&Value>) -> Vec<String> {
    let mut keys = vec![String::new()];
    let Some(Value::Object(fields)) = value else { return keys };
    let mut fields: Vec<_> = fields.iter().map(|(k, v)| (k.replace('_', "").to_lowercase(), v)).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in fields {
        let list: Vec<String> = match value {
            Value::Array(list) if list.is_empty() => continue,
            Value::Array(list) => list.iter().map(Value::to_string).collect(),
            other => vec![other.to_string()],
        };
        // more combinations than any real match has are not taken apart
        if keys.len() * list.len() > 4096 {
            keys.iter_mut().for_each(|k| k.push_str(&format!("|{name}={}", list.join(","))));
            continue;
        }
        keys = keys.iter().flat_map(|k| list.iter().map(|v| format!("{k}|{name}={v}")).collect::<Vec<_>>()).collect();
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_dependencies() {
        let text = r#"{"name":"c","eds_cluster_config":{"eds_config":{"ads":{},"initialFetchTimeout":"2.5s"}},
            "x":[{"name":"k","sdsConfig":{"initial_fetch_timeout":"0s"}},
                 {"routeConfigName":"r","configSource":{"initial_fetch_timeout":"1s"}}]}"#;
        let found = of(text, XdsType::Cluster);
        let list: Vec<_> = found.timeouts.iter().map(|f| (f.kind, &*f.name, f.timeout.0)).collect();
        assert_eq!(
            list,
            [(XdsType::Endpoints, "c", 2_500_000), (XdsType::Secret, "k", 0), (XdsType::RouteConfig, "r", 1_000_000)]
        );
        assert_eq!(found.invalid, None);
    }

    #[test]
    fn chains_with_one_match() {
        let refused =
            |chains: &str| of(&format!(r#"{{"name":"l","filter_chains":[{chains}]}}"#), XdsType::Listener).invalid;
        let a = r#"{"name":"a","filter_chain_match":{"server_names":["x","y"]}}"#;
        assert!(refused(&format!(r#"{a},{{"filterChainMatch":{{"serverNames":["y"]}}}}"#)).is_some());
        assert!(refused(&format!(r#"{a},{{"filterChainMatch":{{"serverNames":["z"]}}}},{{}}"#)).is_none());
        assert!(refused("{},{\"name\":\"b\"}").is_some(), "two that match everything");
    }

    #[test]
    fn tls_inspectors_that_envoy_adds() {
        let needs = |rest: &str| of(&format!(r#"{{"name":"l",{rest}}}"#), XdsType::Listener).needs_tls_inspector;
        let names = r#""filter_chains":[{},{"filterChainMatch":{"serverNames":["x"]}}]"#;
        assert!(needs(names));
        assert!(!needs(&format!(r#"{names},"listener_filters":[{{"name":"envoy.filters.listener.tls_inspector"}}]"#)));
        assert!(needs(r#""filter_chains":[{"filter_chain_match":{"transport_protocol":"tls"}}]"#));
        let raw = r#"{"transport_protocol":"raw_buffer","application_protocols":["h2"]}"#;
        assert!(!needs(&format!(r#""filter_chains":[{{"filter_chain_match":{raw}}}]"#)));
        assert!(!needs(r#""filter_chains":[{"filter_chain_match":{"destination_port":80}}]"#));
    }
}
