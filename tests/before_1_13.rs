//! Envoy before 1.13, where every HTTP connection manager has a route table of its own: figures that people reported to
//! Contour. Bytes are priced as for 1.36, the nearest release that was measured, so a factor of 1.5 either way counts as met.
//!
//! The reports do not say when each push was applied, and that decides how many old listeners drain at a moment. So the times
//! are the one free parameter of each table here; it is chosen once for a table, not for each of its rows.

#![allow(clippy::print_stdout, reason = "the figures belong into the log")]

use meshdump::cost::envoy::Version;
use meshdump::evidence::recording::{self, Options};
use meshdump::input::{Limits, collect};
use meshdump::model::stream::Us;
use meshdump::sim::envoy::{Row, Run, Settings, run};
use serde_json::{Value, json};

const TYPE: &str = "type.googleapis.com/envoy.config.";

#[derive(Default)]
struct Stream {
    text: String,
    pushes: u32,
}

impl Stream {
    fn push(&mut self, t: f64, kind: &str, resources: &str) {
        self.pushes += 1;
        let n = self.pushes;
        self.text += &format!(
            "{{\"t\":{t},\"type_url\":\"{TYPE}{kind}\",\"version_info\":\"{n}\",\"nonce\":\"{n}\",\"resources\":[{resources}]}}\n"
        );
    }

    fn routes(&mut self, t: f64, hosts: usize) {
        let host = |i| {
            json!({"name": format!("ingress-{i}.example.com"), "domains": [format!("ingress-{i}.example.com"),
                   format!("ingress-{i}.example.com:*")], "routes": [{"match": {"prefix": "/"},
                   "route": {"cluster": format!("default/service-{i}/80/da39a3ee5e")}}]})
        };
        let table = json!({"@type": format!("{TYPE}route.v3.RouteConfiguration"), "name": "ingress",
                           "virtual_hosts": (0..hosts).map(host).collect::<Vec<_>>()});
        self.push(t, "route.v3.RouteConfiguration", &table.to_string());
    }

    fn clusters(&mut self, t: f64, n: usize) {
        let cluster = |i| {
            json!({"@type": format!("{TYPE}cluster.v3.Cluster"), "name": format!("default/service-{i}/80/da39a3ee5e"),
                   "type": "EDS", "connect_timeout": "0.25s", "eds_cluster_config": {"eds_config": {"ads": {}}}})
            .to_string()
        };
        self.push(t, "cluster.v3.Cluster", &(0..n).map(cluster).collect::<Vec<_>>().join(","));
        let endpoints = |i: usize| {
            let address = json!({"address": format!("10.0.{}.{}", i / 250, i % 250), "port_value": 8080});
            json!({"@type": format!("{TYPE}endpoint.v3.ClusterLoadAssignment"),
                   "cluster_name": format!("default/service-{i}/80/da39a3ee5e"), "endpoints": [{"lb_endpoints": [
                       {"endpoint": {"address": {"socket_address": address}}}]}]})
            .to_string()
        };
        self.push(t, "endpoint.v3.ClusterLoadAssignment", &(0..n).map(endpoints).collect::<Vec<_>>().join(","));
    }

    fn play(&self) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream.jsonl");
        std::fs::write(&path, &self.text).unwrap();
        let documents = collect(&[path], &Limits::default()).documents;
        let loaded = recording::read(&documents, &Options::default());
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let settings =
            Settings { version: Version { major: 1, minor: 9 }, drain_time: Us(600_000_000), ..Settings::default() };
        run(&loaded.recording, &settings)
    }
}

fn manager() -> Value {
    json!({"name": "envoy.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress", "rds": {"route_config_name": "ingress", "config_source": {"ads": {}}},
        "http_filters": [{"name": "envoy.gzip"}, {"name": "envoy.grpc_web"}, {"name": "envoy.router"}]}})
}

fn secure(chains: &[Vec<String>]) -> String {
    let chain = |names: &Vec<String>| {
        json!({"filter_chain_match": {"server_names": names}, "filters": [manager()],
               "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
                   "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                   "common_tls_context": {"tls_certificates": [{"certificate_chain": {"inline_string": "-".repeat(1233)}}]}}}})
    };
    json!({"@type": format!("{TYPE}listener.v3.Listener"), "name": "ingress_https",
           "filter_chains": chains.iter().map(chain).collect::<Vec<_>>()})
    .to_string()
}

fn name(i: usize) -> String {
    format!("ingress-{i}.example.com")
}

fn at(run: &Run, t: f64) -> &Row {
    run.timeline.iter().rev().find(|r| r.t.0 <= (t * 1e6) as i64).unwrap()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn within(what: &str, simulated: f64, reported: f64) {
    println!("{what}: {simulated:.0} MiB, reported {reported:.0}: {:.2}", simulated / reported);
    assert!(
        simulated / reported < 1.5 && reported / simulated < 1.5,
        "{what}: {simulated:.0} MiB, reported {reported}"
    );
}

/// contour#599: N services with an IngressRoute each, without TLS. The listener is the same in every push, but its bytes are
/// not (Go writes maps in random order), and before 1.12 Envoy hashed the bytes: so every push left a listener that drains,
/// with a route table of its own. Free: one push for every twelve services that came.
#[test]
fn services_without_tls() {
    const SERVICES_PER_PUSH: usize = 12;
    let reported = [(6, 17.0), (100, 32.0), (500, 91.0), (1000, 326.0), (1500, 823.0), (2000, 1610.0)];
    let mut stream = Stream::default();
    let (mut pushed, mut read) = (0, Vec::new());
    for (services, reported) in reported {
        while pushed < services / SERVICES_PER_PUSH + 1 {
            let address = r#""address":{"socket_address":{"address":"0.0.0.0","port_value":8080}}"#;
            let chains = format!(r#""filter_chains":[{{"filters":[{}]}}]"#, manager());
            let (a, b) = if pushed % 2 == 0 { (address, &*chains) } else { (&*chains, address) };
            let listener = format!(r#"{{"@type":"{TYPE}listener.v3.Listener","name":"ingress_http",{a},{b}}}"#);
            stream.push(pushed as f64 * 0.5, "listener.v3.Listener", &listener);
            pushed += 1;
        }
        let t = pushed as f64 * 0.5 - 0.2;
        stream.clusters(t, services);
        stream.routes(t, services);
        read.push((services, reported, t));
    }
    let run = stream.play();
    for (services, reported, t) in read {
        within(&format!("{services} services"), mib(at(&run, t).resident), reported);
    }
    // the same configuration after a restart has one table
    assert!(run.end.restarted < run.end.row.allocated / 8, "{} of {}", run.end.restarted, run.end.row.allocated);
}

/// contour#499: a chain with its certificate for each of N ingresses, so that the active listener alone has N tables of N
/// virtual hosts. Free: how long one push keeps Envoy busy before the next is applied, 0.4 s per ingress; so one or two old
/// generations drain while there are few, and none is left at the end of a block of many. Compared is `allocated`: how much of
/// what is freed the allocator of that time gave back is not known.
#[test]
fn ingresses_with_tls() {
    const BUSY_S_PER_INGRESS: f64 = 0.4;
    let reported = [
        (600, 1628.0),
        (900, 3550.0),
        (1000, 6123.0),
        (1200, 8075.0),
        (1400, 10248.0),
        (1600, 12601.0),
        (1900, 14741.0),
        (2000, 16793.0),
        (2200, 18388.0),
        (2400, 20918.0),
        (2500, 22845.0),
        (2700, 24758.0),
        (2800, 27056.0),
        (2900, 28994.0),
        (3000, 30965.0),
        (3200, 33168.0),
        (3300, 35386.0),
        (3400, 37886.0),
        (3500, 39765.0),
        (3600, 42228.0),
        (3700, 44600.0),
    ];
    let mut stream = Stream::default();
    let mut t = 0.0;
    let mut read = Vec::new();
    for ingresses in [100, 300].into_iter().chain(reported.map(|r| r.0)) {
        let chains: Vec<Vec<String>> = (0..ingresses).map(|i| vec![name(i)]).collect();
        stream.push(t, "listener.v3.Listener", &secure(&chains));
        stream.routes(t, ingresses);
        let busy = ingresses as f64 * BUSY_S_PER_INGRESS;
        read.push(t + 0.9 * busy);
        t += busy;
    }
    let run = stream.play();
    // 91 MiB is what was shown for 100, for 200 and for 300 ingresses
    assert!(mib(at(&run, read[0]).allocated) < 91.0 * 1.5 && mib(at(&run, read[1]).allocated) > 91.0 / 1.5);
    for ((ingresses, reported), t) in reported.into_iter().zip(&read[2..]) {
        within(&format!("{ingresses} ingresses"), mib(at(&run, *t).allocated), reported);
    }
}

/// contour#1636: one chain for all names of a secret, not one each. Free: names per secret.
#[test]
fn names_that_share_a_secret() {
    const NAMES: usize = 3800;
    let play = |per_chain: usize| {
        let mut stream = Stream::default();
        let names: Vec<String> = (0..NAMES).map(name).collect();
        let chains: Vec<Vec<String>> = names.chunks(per_chain).map(<[String]>::to_vec).collect();
        stream.push(0.0, "listener.v3.Listener", &secure(&chains));
        stream.routes(0.1, NAMES);
        mib(at(&stream.play(), 1.0).resident)
    };
    within("a chain for each name", play(1), 40.0 * 1024.0);
    within("a chain for each secret", play(200), 250.0);
}
