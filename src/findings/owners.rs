//! Who a resource belongs to: what a control plane wrote into its metadata, else what its name says.

use std::borrow::Cow;

use crate::model::envoy::Owner;

/// Namespace and name of an owner; either may be empty. Borrowed from the resource: there are a hundred thousand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Belongs<'a> {
    /// Kubernetes namespace, or the like.
    pub namespace: Cow<'a, str>,
    /// Service, route or other owner.
    pub owner: Cow<'a, str>,
}

/// The owner from metadata, else from the name's structure.
///
/// Known structures: Istio (`outbound|80|subset|host`, `outbound_.80_._.host`, `host:80`), Contour
/// (`namespace/service/port/hash`), Envoy Gateway (`httproute/namespace/name/rule/0`, `namespace/gateway/listener`),
/// kgateway (`kube_namespace_name_port`), Gloo (`name_namespace`), OSM (`namespace/service|port`), Consul
/// (`name.namespace.dc.internal.trust-domain`).
pub fn belongs<'a>(name: &'a str, metadata: Option<&'a Owner>) -> Belongs<'a> {
    if let Some(o) = metadata
        && (!o.namespace.is_empty() || !o.name.is_empty())
    {
        return of(&o.namespace, &o.name);
    }
    by_name(name)
}

fn of<'a>(namespace: &'a str, owner: &'a str) -> Belongs<'a> {
    Belongs { namespace: Cow::Borrowed(namespace), owner: Cow::Borrowed(owner) }
}

fn by_name(name: &str) -> Belongs<'_> {
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
    let mut parts = [""; 4];
    let mut n = 0;
    for part in name.split('/').take(4) {
        parts[n] = part;
        n += 1;
    }
    match &parts[..n] {
        // Envoy Gateway: kind/namespace/name/rule/N, or a tcp/udp/tls/grpc route
        [kind, namespace, owner, ..] if kind.ends_with("route") => return of(namespace, owner),
        // OSM: namespace/service|port|local
        [namespace, rest] if rest.contains('|') => {
            return of(namespace, rest.split('|').next().unwrap_or(rest));
        }
        // Contour's route tables: https/host
        ["http" | "https", host] => return of("", host),
        // OSM's secrets: kind:namespace/name
        [kind, owner] if kind.contains("cert") && kind.contains(':') => {
            return of(kind.split_once(':').map_or("", |(_, namespace)| namespace), owner);
        }
        // Contour: namespace/service/port/hash; Envoy Gateway listener: namespace/gateway/listener
        [namespace, owner, _, ..] if !namespace.is_empty() => return of(namespace, owner),
        [namespace, owner] if !namespace.is_empty() => return of(namespace, owner),
        _ => {}
    }
    if let Some(rest) = name.strip_prefix("kube_") {
        let p: Vec<&str> = rest.split('_').collect();
        if p.len() >= 3 {
            return Belongs { namespace: Cow::Borrowed(p[0]), owner: Cow::Owned(p[1..p.len() - 1].join("_")) };
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
fn by_host(host: &str) -> Belongs<'_> {
    let bare =
        host.rsplit_once(':').map_or(host, |(h, port)| if port.bytes().all(|b| b.is_ascii_digit()) { h } else { host });
    // a headless pod's own name stands in front of the service's
    let (mut before, mut last) = ("", "");
    for part in bare.split('.') {
        if part == "svc" && !before.is_empty() {
            return of(last, before);
        }
        (before, last) = (last, part);
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
            ("https/app.example.com", "", "app.example.com"),
            ("root-cert-for-mtls-outbound:shop/cart", "shop", "cart"),
        ] {
            assert_eq!(by_name(name), of(namespace, owner), "{name}");
        }
    }
}
