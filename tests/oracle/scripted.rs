//! Scripted streams.

use meshdump::lab::shapes::{
    assignment, certificate_secret, downstream_tls, ecdsa, eds_cluster, hcm, inline, listener, plain_cluster, rds,
    route, rsa, sds, sni_chain, table, vhost, with,
};
use meshdump::lab::types;
use serde_json::{Value, json};

use super::{Response, Second, Stream};

fn push(kind: &'static str, resources: Vec<Value>) -> Response {
    Response { kind, resources, removed: Vec::new() }
}

fn lds(listeners: Vec<Value>) -> Second {
    vec![push(types::LISTENER, listeners)]
}

fn hosts(chain: usize, n: usize) -> Vec<Value> {
    (0..n)
        .map(|j| vhost(&format!("v{chain}-{j}"), &[format!("h{chain}-{j}.example.com")], vec![route("/", "backend")]))
        .collect()
}

/// A chain with `n` inline virtual hosts.
fn inline_chain(i: usize, n: usize) -> Value {
    let routes = inline(table(&format!("routes-{i}"), hosts(i, n)));
    with(
        sni_chain(&format!("s{i}.example.com"), vec![hcm("ingress", routes, vec![], json!({}))]),
        json!({"name": format!("c{i}")}),
    )
}

fn rds_chain(i: usize, routes: &str) -> Value {
    with(
        sni_chain(&format!("s{i}.example.com"), vec![hcm("ingress", rds(routes), vec![], json!({}))]),
        json!({"name": format!("c{i}")}),
    )
}

fn hcm_chain(routes: &str) -> Value {
    json!({"filters": [hcm("ingress", rds(routes), vec![], json!({}))]})
}

fn tls_chain(i: usize, certificate: Value, routes: &str) -> Value {
    let socket = downstream_tls(json!({"tls_certificates": [certificate]}), json!({}));
    with(rds_chain(i, routes), json!({"transport_socket": socket}))
}

fn sds_chain(i: usize, secret: &str, routes: &str) -> Value {
    let socket = downstream_tls(json!({"tls_certificate_sds_secret_configs": [sds(secret)]}), json!({}));
    with(rds_chain(i, routes), json!({"transport_socket": socket}))
}

/// The same listener with something changed outside its filter chains.
fn touched(l: Value, revision: usize) -> Value {
    with(l, json!({"per_connection_buffer_limit_bytes": 100_000 + revision}))
}

fn routes(name: &str, n: usize, revision: usize) -> Value {
    let hosts = (0..n)
        .map(|j| {
            vhost(
                &format!("{name}-{j}"),
                &[format!("{name}-{j}.example.com")],
                vec![route(&format!("/r{revision}"), "backend"), route("/", "backend")],
            )
        })
        .collect();
    table(name, hosts)
}

fn clusters(names: impl Iterator<Item = usize>, revision: usize) -> Vec<Value> {
    names
        .map(|i| with(eds_cluster(&format!("c{i}")), json!({"connect_timeout": format!("{}s", 5 + revision)})))
        .collect()
}

fn endpoints(names: impl Iterator<Item = usize>, hosts: usize) -> Vec<Value> {
    names.map(|i| assignment(&format!("c{i}"), i, hosts)).collect()
}
/// Streams that show one thing each.
pub(crate) fn streams() -> Vec<Stream> {
    let sotw = |name: &str, drain_s, seconds| Stream { name: name.to_owned(), delta: false, drain_s, seconds };
    let mut all = Vec::new();

    // Contour: one listener, a chain with its certificate per ingress, in blocks
    let block = |n: usize, sorted: bool, revision: usize| {
        let mut order: Vec<usize> = (0..n * 10).collect();
        if !sorted && revision % 2 == 1 {
            order.reverse();
        }
        touched(listener("ingress_https", order.into_iter().map(|i| tls_chain(i, rsa(), "ingress")).collect()), n)
    };
    for (name, sorted) in [("contour blocks, sorted", true), ("contour blocks, unsorted", false)] {
        let mut seconds: Vec<Second> = Vec::new();
        for n in 1..=5 {
            for revision in 0..2 {
                let mut second = lds(vec![block(n, sorted, revision)]);
                second.push(push(types::ROUTE, vec![routes("ingress", n * 10, 0)]));
                seconds.push(second);
            }
        }
        all.push(sotw(name, 6, seconds));
    }

    // the same without TLS: the listener never changes
    let plain = (1..=8)
        .map(|n| {
            let mut second = lds(vec![listener("ingress_http", vec![hcm_chain("ingress")])]);
            second.push(push(types::ROUTE, vec![routes("ingress", n * 10, 0)]));
            second
        })
        .collect();
    all.push(sotw("contour blocks, plain", 6, plain));

    let growing =
        (1..=10).map(|n| lds(vec![listener("edge", (0..n * 4).map(|i| inline_chain(i, 5)).collect())])).collect();
    all.push(sotw("in-place growth", 6, growing));

    // one chain for all names of a certificate (contour#1636): each generation has all names in its matcher
    let grouped = (0..10)
        .map(|n| {
            let names = |i: usize| (0..20 + usize::from(i == 0) * n).map(move |k| format!("n{k}.s{i}.example.com"));
            let chain = |i| {
                let matched = json!({"filter_chain_match": {"server_names": names(i).collect::<Vec<_>>()}});
                with(rds_chain(i, "web"), matched)
            };
            let mut second = lds(vec![listener("edge", (0..12).map(chain).collect())]);
            if n == 0 {
                second.push(push(types::ROUTE, vec![routes("web", 20, 0)]));
            }
            second
        })
        .collect();
    all.push(sotw("many names, in place", 6, grouped));

    let order_only = (0..8)
        .map(|n| {
            let mut chains: Vec<Value> = (0..20).map(|i| inline_chain(i, 10)).collect();
            chains.rotate_left(n * 3 % 20);
            lds(vec![listener("edge", chains)])
        })
        .collect();
    all.push(sotw("order-only pushes", 5, order_only));

    let inline_certificates = (0..8)
        .map(|n| {
            let chain = |i| tls_chain(i, if (n + i) % 2 == 0 { rsa() } else { ecdsa() }, "web");
            let mut second = lds(vec![listener("edge", (0..15).map(chain).collect())]);
            if n == 0 {
                second.push(push(types::ROUTE, vec![routes("web", 20, 0)]));
            }
            second
        })
        .collect();
    all.push(sotw("certificates inline", 5, inline_certificates));

    let mut sds_rotation: Vec<Second> = vec![lds(vec![listener(
        "edge",
        (0..15).map(|i| sds_chain(i, if i % 2 == 0 { "even" } else { "odd" }, "web")).collect(),
    )])];
    sds_rotation[0].push(push(types::ROUTE, vec![routes("web", 20, 0)]));
    for n in 0..8 {
        let (a, b) = if n % 2 == 0 { (rsa(), ecdsa()) } else { (ecdsa(), rsa()) };
        sds_rotation.push(vec![push(types::SECRET, vec![certificate_secret("even", a), certificate_secret("odd", b)])]);
    }
    all.push(sotw("certificates over SDS", 5, sds_rotation));

    let l = |name: &str, n: usize, revision: usize| {
        touched(listener(name, (0..n).map(|i| inline_chain(i, 10)).collect()), revision)
    };
    all.push(sotw(
        "listeners come and go",
        6,
        vec![
            lds(vec![l("a", 5, 0), l("b", 5, 0)]),
            lds(vec![l("a", 5, 1), l("b", 5, 0)]),
            lds(vec![l("a", 5, 1), l("b", 5, 0), l("c", 10, 0)]),
            lds(vec![l("a", 5, 1), l("c", 10, 0)]),
            lds(vec![l("a", 5, 2), l("b", 5, 0), l("c", 10, 1)]),
            lds(vec![l("a", 5, 2), l("b", 5, 0), l("c", 10, 1)]),
            lds(vec![]),
            lds(vec![l("a", 5, 2), l("b", 8, 0), l("c", 10, 1)]),
        ],
    ));

    let full = (0..10).map(|n| lds(vec![l("gateway", 12, n)])).collect();
    all.push(sotw("full replacements", 4, full));

    let mut churn: Vec<Second> = Vec::new();
    for n in 0..10usize {
        let range = n * 10..n * 10 + 60;
        let mut second = vec![push(types::CLUSTER, clusters(range.clone(), n / 3))];
        second.push(push(types::ENDPOINT, endpoints(range, 3 + n % 4 * 5)));
        churn.push(second);
    }
    all.push(sotw("clusters and endpoints", 5, churn));

    let inline_routes =
        (0..8).map(|n| lds(vec![listener("edge", vec![inline_chain(0, 50 + 10 * n), inline_chain(1, 40)])])).collect();
    all.push(sotw("inline routes", 5, inline_routes));

    let mut rds_routes: Vec<Second> =
        vec![lds(vec![listener("edge", (0..5).map(|i| rds_chain(i, if i < 3 { "one" } else { "two" })).collect())])];
    for n in 0..8 {
        rds_routes.push(vec![push(types::ROUTE, vec![routes("one", 40 + 30 * n, n), routes("two", 100, n / 4)])]);
    }
    all.push(sotw("routes over RDS", 5, rds_routes));

    // Knative: per revision some clusters, a listener of its own, virtual hosts
    let mut knative: Vec<Second> = Vec::new();
    for n in 1..=8usize {
        let mut second = vec![push(types::CLUSTER, clusters(0..n * 16, 0))];
        second.push(push(types::ENDPOINT, endpoints((n - 1) * 16..n * 16, 2)));
        second.extend(lds((0..n * 4).map(|i| listener(&format!("rev-{i}"), vec![rds_chain(i, "mesh")])).collect()));
        second.push(push(types::ROUTE, vec![routes("mesh", n * 12, 0)]));
        knative.push(second);
    }
    all.push(sotw("knative growth", 5, knative));

    let slow = |chains: Vec<Value>| lds(vec![listener("edge", chains)]);
    all.push(sotw(
        "slow dependencies",
        5,
        vec![
            slow(vec![inline_chain(0, 10), inline_chain(1, 10)]),
            slow(vec![inline_chain(0, 10), rds_chain(2, "late")]),
            slow(vec![inline_chain(0, 10), inline_chain(1, 10), rds_chain(2, "late")]),
            vec![],
            vec![push(types::ROUTE, vec![routes("late", 30, 0)])],
            slow(vec![inline_chain(0, 10), rds_chain(2, "late"), rds_chain(3, "later")]),
            slow(vec![inline_chain(0, 10), inline_chain(1, 10), rds_chain(2, "late")]),
            lds(vec![touched(listener("edge", vec![rds_chain(2, "late"), rds_chain(4, "never")]), 7)]),
            vec![],
            vec![push(types::ROUTE, vec![routes("never", 10, 0), routes("late", 30, 1)])],
        ],
    ));

    let twice = |mut chains: Vec<Value>| {
        let again = with(chains[0].clone(), json!({"name": "again"}));
        chains.push(again);
        chains
    };
    all.push(sotw(
        "rejections",
        5,
        vec![
            lds(vec![l("a", 5, 0), l("b", 5, 0)]),
            lds(vec![listener("a", twice(vec![inline_chain(0, 5)])), l("b", 5, 1)]),
            lds(vec![l("a", 5, 2), listener("b", twice(vec![inline_chain(0, 5)])), l("c", 5, 0)]),
            lds(vec![l("a", 5, 2), l("b", 5, 2), l("c", 5, 0)]),
        ],
    ));

    let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>();
    let delta = |kind, resources, removed: &[&str]| vec![Response { kind, resources, removed: named(removed) }];
    let mut seconds = vec![
        delta(types::CLUSTER, clusters(0..40, 0), &[]),
        delta(types::ENDPOINT, endpoints(0..40, 5), &[]),
        delta(types::LISTENER, vec![l("a", 5, 0), l("b", 5, 0)], &[]),
        delta(types::LISTENER, vec![l("a", 5, 1)], &[]),
        delta(types::LISTENER, vec![l("c", 8, 0)], &["b"]),
        delta(types::CLUSTER, vec![], &["c0", "c1", "c2", "c3"]),
        delta(types::CLUSTER, clusters(10..20, 1), &[]),
        delta(types::ENDPOINT, endpoints(10..20, 12), &[]),
        delta(types::LISTENER, vec![], &["a", "nobody"]),
    ];
    seconds.push(delta(types::CLUSTER, vec![plain_cluster("still", "STATIC")], &[]));
    all.push(Stream { name: "delta".to_owned(), delta: true, drain_s: 5, seconds });
    all
}
