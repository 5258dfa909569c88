//! Who a resource belongs to: what a control plane wrote into its metadata, else what its name says.

use crate::model::envoy::Owner;

/// Namespace and name of an owner; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Belongs {
    /// Kubernetes namespace, or the like.
    pub namespace: String,
    /// Service, route or other owner.
    pub owner: String,
}

/// The owner from metadata, else from the name's structure.
///
/// Known structures: Istio (`outbound|80|subset|host`, `outbound_.80_._.host`, `host:80`), Contour
/// (`namespace/service/port/hash`), Envoy Gateway (`httproute/namespace/name/rule/0`, `namespace/gateway/listener`),
/// kgateway (`kube_namespace_name_port`), Gloo (`name_namespace`), OSM (`namespace/service|port`), Consul
/// (`name.namespace.dc.internal.trust-domain`).
pub fn belongs(name: &str, metadata: Option<&Owner>) -> Belongs {
    if let Some(o) = metadata
        && (!o.namespace.is_empty() || !o.name.is_empty())
    {
        return Belongs { namespace: o.namespace.to_string(), owner: o.name.to_string() };
    }
    by_name(name)
}

fn of(namespace: &str, owner: &str) -> Belongs {
    Belongs { namespace: namespace.to_owned(), owner: owner.to_owned() }
}

fn by_name(name: &str) -> Belongs {
    // Istio clusters
    if let Some(host) = name.strip_prefix("outbound|").and_then(|r| r.splitn(3, '|').nth(2)) {
        return by_host(host);
    }
    if name.starts_with("inbound|") || name.starts_with("inbound-") {
        return of("", "inbound");
    }
    if let Some(host) = name.strip_prefix("outbound_.").and_then(|r| r.split("_.").nth(2)) {
        return by_host(host);
    }
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        // Envoy Gateway: kind/namespace/name/rule/N, or a tcp/udp/tls/grpc route
        [kind, namespace, owner, ..] if kind.ends_with("route") => return of(namespace, owner),
        // OSM: namespace/service|port|local
        [namespace, rest] if rest.contains('|') => {
            return of(namespace, rest.split('|').next().unwrap_or(rest));
        }
        // Contour: namespace/service/port/hash; Envoy Gateway listener: namespace/gateway/listener
        [namespace, owner, _, ..] if !namespace.is_empty() => return of(namespace, owner),
        [namespace, owner] if !namespace.is_empty() => return of(namespace, owner),
        _ => {}
    }
    if let Some(rest) = name.strip_prefix("kube_") {
        let p: Vec<&str> = rest.split('_').collect();
        if p.len() >= 3 {
            return of(p[0], &p[1..p.len() - 1].join("_"));
        }
    }
    if let Some((owner, namespace)) = name.rsplit_once('_')
        && namespace.contains("gloo")
    {
        return of(namespace, owner);
    }
    if name.contains(".internal.") {
        // Consul: [subset.]service.namespace.[partition.]dc.internal.trust-domain
        let p: Vec<&str> = name.split('.').collect();
        if let Some(i) = p.iter().position(|s| *s == "internal")
            && i >= 3
        {
            return of(p[i - 2], p[i - 3]);
        }
    }
    by_host(name)
}

/// `name.namespace.svc…` with an optional port.
fn by_host(host: &str) -> Belongs {
    let bare =
        host.rsplit_once(':').map_or(host, |(h, port)| if port.bytes().all(|b| b.is_ascii_digit()) { h } else { host });
    let p: Vec<&str> = bare.split('.').collect();
    if let Some(i) = p.iter().position(|s| *s == "svc")
        && i >= 2
    {
        // a headless pod's own name stands in front of the service's
        return of(p[i - 1], p[i - 2]);
    }
    of("", bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures() {
        for (name, namespace, owner) in [
            ("outbound|9080|v1|reviews.default.svc.cluster.local", "default", "reviews"),
            ("outbound_.80_._.web.shop.svc.cluster.local", "shop", "web"),
            ("outbound|443||www.example.com", "", "www.example.com"),
            ("inbound|9080||", "", "inbound"),
            ("reviews.default.svc.cluster.local:9080", "default", "reviews"),
            ("team-a/web/80/da39a3ee5e", "team-a", "web"),
            ("httproute/shop/checkout/rule/0", "shop", "checkout"),
            ("bookstore/bookstore|14001|local", "bookstore", "bookstore"),
            ("kube_default_web_8080", "default", "web"),
            ("default-petstore-8080_gloo-system", "gloo-system", "default-petstore-8080"),
            ("web.default.dc1.internal.1111.consul", "default", "web"),
            ("xds-grpc", "", "xds-grpc"),
        ] {
            assert_eq!(by_name(name), of(namespace, owner), "{name}");
        }
    }
}
