//! `meshdump whatif` with a scope: the recorded stream of an Istio sidecar as it would have been under another one,
//! against streams written without what is out of scope.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::{Bench, Run};
use serde_json::{Value, json};

const CDS: &str = "envoy.config.cluster.v3.Cluster";
const EDS: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const LDS: &str = "envoy.config.listener.v3.Listener";
const RDS: &str = "envoy.config.route.v3.RouteConfiguration";
const NODE: &str = "sidecar~10.0.0.9~cart-7d4b-x.shop~shop.svc.cluster.local";

/// A service of a mesh: namespace, name, port, and a number that its content changes with.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Service(&'static str, &'static str, u16, u32);

impl Service {
    fn host(self) -> String {
        format!("{}.{}.svc.cluster.local", self.1, self.0)
    }

    fn cluster(self) -> String {
        format!("outbound|{}||{}", self.2, self.host())
    }

    fn http(self) -> bool {
        !matches!(self.2, 5000 | 5432 | 5672)
    }
}

fn typed(kind: &str, mut value: Value) -> Value {
    value["@type"] = format!("type.googleapis.com/{kind}").into();
    value
}

fn cluster(name: &str, seconds: u32) -> Value {
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    typed(
        CDS,
        json!({"name": name, "type": "EDS", "connect_timeout": format!("{seconds}s"),
            "eds_cluster_config": {"eds_config": ads, "service_name": name}}),
    )
}

fn endpoints(name: &str, hosts: u32) -> Value {
    let host =
        |i| json!({"endpoint": {"address": {"socket_address": {"address": format!("10.1.0.{i}"), "port_value": 80}}}});
    typed(
        EDS,
        json!({"cluster_name": name, "endpoints": [{"lb_endpoints": (1..=hosts).map(host).collect::<Vec<_>>()}]}),
    )
}

fn virtual_host(name: &str, domain: &str, route: Value) -> Value {
    json!({"name": name, "domains": [domain], "routes": [{"match": {"prefix": "/"}, "route": route}]})
}

fn table(name: &str, hosts: Vec<Value>) -> Value {
    typed(RDS, json!({"name": name, "virtual_hosts": hosts}))
}

fn listener(name: &str, port: u16, chains: Vec<Value>) -> Value {
    typed(
        LDS,
        json!({"name": name, "bind_to_port": false, "traffic_direction": "OUTBOUND",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}}, "filter_chains": chains}),
    )
}

fn tcp(cluster: &str) -> Value {
    json!({"filters": [{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": cluster, "cluster": cluster}}]})
}

fn http(table: &str) -> Value {
    json!({"filters": [{"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": table, "rds": {"route_config_name": table, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]})
}

/// What istiod sends a sidecar for these services: CDS, EDS, LDS, RDS, each as name and resource.
fn sent(services: &[Service]) -> [Vec<(String, Value)>; 4] {
    let mut all: [Vec<(String, Value)>; 4] = Default::default();
    let mut tables: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    let fixed =
        typed(CDS, json!({"name": "PassthroughCluster", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}));
    all[0].push(("PassthroughCluster".to_owned(), fixed));
    all[2].push(("virtualOutbound".to_owned(), listener("virtualOutbound", 15001, vec![tcp("PassthroughCluster")])));
    for s in services {
        let name = s.cluster();
        all[0].push((name.clone(), cluster(&name, 1 + s.3)));
        all[1].push((name.clone(), endpoints(&name, 1 + s.3 % 3)));
        if s.http() {
            let host = virtual_host(
                &format!("{}:{}", s.host(), s.2),
                &s.host(),
                json!({"cluster": name, "timeout": format!("{}s", 5 + s.3)}),
            );
            tables.entry(s.2).or_default().push(host);
        } else {
            all[2].push((format!("10.96.0.1_{}", s.2), listener(&format!("10.96.0.1_{}", s.2), s.2, vec![tcp(&name)])));
        }
    }
    for (port, mut hosts) in tables {
        let name = port.to_string();
        all[2].push((format!("0.0.0.0_{port}"), listener(&format!("0.0.0.0_{port}"), port, vec![http(&name)])));
        hosts.push(virtual_host("allow_any", "*", json!({"cluster": "PassthroughCluster"})));
        all[3].push((name.clone(), table(&name, hosts)));
    }
    all
}

/// A stream in which the mesh is each of these after the other, ten seconds apart; what did not change is not pushed.
fn stream(worlds: &[Vec<Service>], delta: bool) -> String {
    let mut out =
        format!("{}\n", json!({"t": 0, "type_url": format!("type.googleapis.com/{CDS}"), "node": {"id": NODE}}));
    let mut before: [Vec<(String, Value)>; 4] = Default::default();
    let mut nonce = 0;
    for (i, world) in worlds.iter().enumerate() {
        let now = sent(world);
        for (at, kind) in [CDS, EDS, LDS, RDS].into_iter().enumerate() {
            let new: Vec<&(String, Value)> = now[at].iter().filter(|r| !before[at].contains(r)).collect();
            // endpoints and tables are asked for by name: there is no response without any, and none takes tables back
            let none = if delta { at == 3 && new.is_empty() } else { at % 2 == 1 && now[at].is_empty() };
            // order alone is no change
            if none || (new.is_empty() && now[at].len() == before[at].len()) {
                continue;
            }
            nonce += 1;
            let mut push =
                json!({"t": 10 * i, "type_url": format!("type.googleapis.com/{kind}"), "nonce": nonce.to_string()});
            if delta {
                let new: Vec<Value> =
                    new.iter().map(|(n, v)| json!({"name": n, "version": "1", "resource": v})).collect();
                let gone: Vec<&String> =
                    before[at].iter().map(|(n, _)| n).filter(|n| now[at].iter().all(|(m, _)| m != *n)).collect();
                push["system_version_info"] = i.to_string().into();
                push["resources"] = new.into();
                push["removed_resources"] = if at == 3 { json!([]) } else { json!(gone) };
            } else {
                push["version_info"] = i.to_string().into();
                push["resources"] = now[at].iter().map(|(_, v)| v.clone()).collect::<Vec<_>>().into();
            }
            let _ = writeln!(out, "{push}");
        }
        before = now;
    }
    out
}

const CART: Service = Service("shop", "cart", 80, 0);
const DB: Service = Service("shop", "db", 5432, 0);
const MAIL: Service = Service("post", "mail", 80, 0);
const QUEUE: Service = Service("post", "queue", 5672, 0);
const ADMIN: Service = Service("post", "admin", 8080, 0);
const ISTIOD: Service = Service("istio-system", "istiod", 15014, 0);

fn changed(s: Service, n: u32) -> Service {
    Service(s.0, s.1, s.2, n)
}

/// Changes outside the scope, inside it, both at once; and tables that gain their first service of the scope and lose it.
fn worlds() -> Vec<Vec<Service>> {
    let own = Service("shop", "own-admin", 8080, 0);
    vec![
        vec![CART, DB, MAIL, QUEUE, ADMIN, ISTIOD],
        // outside only: cluster, endpoints, virtual host, and a TCP service that comes with its listener
        vec![CART, DB, changed(MAIL, 1), QUEUE, ADMIN, ISTIOD],
        vec![CART, DB, changed(MAIL, 1), QUEUE, ADMIN, ISTIOD, Service("post", "relay", 5000, 0)],
        // inside only
        vec![changed(CART, 1), DB, changed(MAIL, 1), QUEUE, ADMIN, ISTIOD, Service("post", "relay", 5000, 0)],
        // both
        vec![changed(CART, 2), DB, changed(MAIL, 2), QUEUE, ADMIN, ISTIOD],
        // port 8080 is in scope from here on, though its listener was there before
        vec![changed(CART, 2), DB, changed(MAIL, 2), QUEUE, ADMIN, own, ISTIOD],
        vec![changed(CART, 2), DB, changed(MAIL, 2), QUEUE, changed(ADMIN, 1), own, ISTIOD],
        // and out of it again, and in again with the same content
        vec![changed(CART, 2), DB, changed(MAIL, 2), QUEUE, changed(ADMIN, 1), ISTIOD],
        vec![changed(CART, 2), DB, changed(MAIL, 2), QUEUE, changed(ADMIN, 1), own, ISTIOD],
        // a listener of the scope goes, one outside goes
        vec![changed(CART, 2), changed(MAIL, 2), changed(ADMIN, 1), own, ISTIOD],
        // a table goes out of scope, and in again, with other listeners that come and go
        vec![changed(CART, 2), DB, changed(MAIL, 2), changed(ADMIN, 1), ISTIOD],
        vec![changed(CART, 2), changed(MAIL, 2), changed(ADMIN, 1), own, ISTIOD],
    ]
}

/// The same without what is out of scope.
fn within(worlds: &[Vec<Service>], keep: impl Fn(&Service) -> bool) -> Vec<Vec<Service>> {
    worlds.iter().map(|w| w.iter().filter(|s| keep(s)).copied().collect()).collect()
}

fn ours(s: &Service) -> bool {
    matches!(s.0, "shop" | "istio-system")
}

fn whatif(bench: &Bench, args: &[&str]) -> Value {
    let run = bench.run(&[&["whatif", "in.jsonl", "-o", "json"][..], args].concat());
    run.ends(0, "").json()
}

/// Time and type of each push, and what Envoy made of it.
fn pushes(run: &Value) -> Vec<Value> {
    run["pushes"].as_array().unwrap().clone()
}

fn note<'a>(report: &'a Value, part: &str) -> &'a str {
    let notes = report["notes"].as_array().unwrap();
    let found: Vec<&str> = notes.iter().filter_map(Value::as_str).filter(|n| n.contains(part)).collect();
    assert_eq!(found.len(), 1, "{part} in {notes:?}");
    found[0]
}

/// Everything a run says of Envoy is the same.
#[track_caller]
fn same(a: &Value, b: &Value) {
    for key in ["pushes_sent", "by_type", "peak", "end", "timeline", "pushes", "drain_log", "counters", "staleness_ms"]
    {
        if key == "pushes" {
            let [a, b] = [pushes(a), pushes(b)].map(|all| {
                all.into_iter()
                    .map(|p| {
                        (
                            p["t"].clone(),
                            p["xds"].clone(),
                            p["resources"].clone(),
                            p["removed"].clone(),
                            p["no_op"].clone(),
                        )
                    })
                    .collect::<Vec<_>>()
            });
            assert_eq!(a, b, "pushes");
        }
        assert_eq!(a[key], b[key], "{key}");
    }
}

#[test]
fn it_is_the_stream_without_what_is_out_of_scope() {
    for delta in [false, true] {
        let bench = Bench::new();
        bench.put("in.jsonl", stream(&worlds(), delta));
        let report = whatif(&bench, &["--set", "scope=own-namespace"]);
        let by_hand = Bench::new();
        by_hand.put("in.jsonl", stream(&within(&worlds(), ours), delta));
        let expected = whatif(&by_hand, &["--policy", "none"]);
        same(&report["runs"][1], &expected["runs"][0]);
        // all types of the first; outside only: none; inside: CDS, EDS, RDS; both: the same; the table comes with all
        // four; outside: none; it goes with CDS, EDS, LDS (and a state of the world of RDS without it), comes with all,
        // and once more both ways; between these the listener of the database
        let run = &report["runs"][1];
        let counts: Vec<(&str, u64)> = run["by_type"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| (t["xds"].as_str().unwrap(), t["pushes_sent"].as_u64().unwrap()))
            .collect();
        let tables = if delta { 6 } else { 8 };
        assert_eq!(counts, [("CDS", 9), ("EDS", 9), ("LDS", 7), ("RDS", tables)], "delta: {delta}");
        let recorded = report["runs"][0]["pushes_sent"].as_u64().unwrap();
        let unsent = recorded + 3 - (25 + tables);
        assert_eq!(
            note(&report, "keeps"),
            format!(
                "scope=own-namespace keeps 4 of 8 outbound clusters and 3 of 5 virtual hosts of services; {unsent} of the \
                 recorded pushes bring nothing that it keeps and are not sent, those that repeat what was sent stay; 3 of \
                 LDS come besides, for route tables that gain their first or lose their last service"
            )
        );
    }
}

#[test]
fn state_of_the_world_and_delta_end_alike() {
    let ends: Vec<Value> = [false, true]
        .map(|delta| {
            let bench = Bench::new();
            bench.put("in.jsonl", stream(&worlds(), delta));
            let other = if delta { "scope=own-namespace + sotw" } else { "scope=own-namespace + delta" };
            let report = whatif(&bench, &["--set", "scope=own-namespace", "--scenario", other]);
            // what restarts with the last state, without what the transport itself costs
            let last = |i: usize| {
                let row = report["runs"][i]["timeline"].as_array().unwrap().last().unwrap().clone();
                ["listeners_active", "clusters_active", "clusters_warming", "listeners_warming"].map(|k| row[k].clone())
            };
            assert_eq!(last(1), last(2));
            json!([last(1), report["runs"][1]["end"]["awaited"], report["runs"][1]["staleness_ms"]])
        })
        .into();
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_scope_of_everything_is_the_recording() {
    for delta in [false, true] {
        let bench = Bench::new();
        bench.put("in.jsonl", stream(&worlds(), delta));
        bench.put("all.yaml", sidecar("shop", &["*/*"]));
        let report = whatif(
            &bench,
            &["--set", "scope=all.yaml", "--scenario", "scope=all.yaml + istio:after=1s", "--policy", "istio:after=1s"],
        );
        let runs = &report["runs"];
        assert_eq!(runs[1]["scenario"], "istio:after=1s");
        same(&runs[0], &runs[2]);
        same(&runs[1], &runs[3]);
        assert!(note(&report, "keeps 8 of 8 outbound clusters and 5 of 5").contains("; 0 of the recorded pushes"));
    }
}

fn sidecar(namespace: &str, hosts: &[&str]) -> String {
    let hosts: String = hosts.iter().map(|h| format!("    - \"{h}\"\n")).collect();
    format!(
        "apiVersion: networking.istio.io/v1beta1\nkind: Sidecar\nmetadata:\n  name: default\n  namespace: {namespace}\nspec:\n  \
         egress:\n  - hosts:\n{hosts}"
    )
}

#[test]
fn a_sidecar_of_a_file() {
    let bench = Bench::new();
    bench.put("in.jsonl", stream(&worlds(), false));
    bench.put("one.yaml", sidecar("shop", &["./*", "post/mail.post.svc.cluster.local"]));
    // the root namespace's counts where the workload's own has none; its `.` is the workload's
    bench.put("root.json", json!({"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "d", "namespace": "istio-system"},
        "spec": {"egress": [{"hosts": ["./*"], "port": {"number": 80, "protocol": "HTTP", "name": "http"}}, {"hosts": ["post/queue.post.svc.cluster.local"]}]}}).to_string());
    let report = whatif(&bench, &["--set", "scope=one.yaml", "--set", "scope=root.json"]);
    let by_hand = |keep: &dyn Fn(&Service) -> bool| {
        let bench = Bench::new();
        bench.put("in.jsonl", stream(&within(&worlds(), keep), false));
        whatif(&bench, &["--policy", "none"])["runs"][0].clone()
    };
    same(&report["runs"][1], &by_hand(&|s| s.0 == "shop" || s.1 == "mail"));
    same(&report["runs"][2], &by_hand(&|s| (s.0 == "shop" && s.2 == 80) || s.1 == "queue"));
    // what `whatif scope` writes is read, and says the same as the word for it
    assert_eq!(bench.run(&["generate", "istio", "--services", "30", "--out", "made"]).code, 0);
    let yaml = bench.run(&["whatif", "scope", "made/kubernetes.json", "--scope", "own-namespace", "--emit-yaml"]);
    bench.put("emitted.yaml", yaml.ends(0, "").stdout.clone());
    let args = ["whatif", "made/recording.jsonl.gz", "--server-info", "made/server_info.json", "-o", "json"];
    let run = bench.run(&[&args[..], &["--set", "scope=own-namespace", "--set", "scope=emitted.yaml"]].concat());
    let report = run.ends(0, "").json();
    same(&report["runs"][1], &report["runs"][2]);
    assert!(report["runs"][1]["pushes_sent"].as_u64() < report["runs"][0]["pushes_sent"].as_u64());
    // the last state is what `whatif scope` leaves of the dump of the same mesh
    let scope = bench.run(&["whatif", "scope", "made/config_dump.json.gz", "--scope", "own-namespace", "-o", "json"]);
    let after = &scope.ends(0, "").json()["workloads"][0]["after"]["counts"];
    let kept = format!("scope=own-namespace keeps {} of", after["outbound_clusters"]);
    assert!(note(&report, "scope=own-namespace keeps").starts_with(&kept), "{kept}");
    let last = report["runs"][1]["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(last["listeners_active"], after["listeners"]);
    assert!(after["outbound_clusters"].as_u64().unwrap() > 10);
}

#[test]
fn changes_outside_count_for_no_wait() {
    let bench = Bench::new();
    bench.put("in.jsonl", stream(&worlds(), false));
    let report =
        whatif(&bench, &["--policy", "debounce:quiet=2s", "--scenario", "scope=own-namespace + debounce:quiet=2s"]);
    let changes = |i: usize| -> Vec<u64> {
        report["runs"][i]["by_type"].as_array().unwrap().iter().map(|t| t["changes"].as_u64().unwrap()).collect()
    };
    // endpoints and tables that are asked for no more, and again, are no change of content
    assert_eq!(changes(2), [9, 4, 7, 4]);
    assert_eq!(changes(1), [12, 7, 6, 10]);
    // batched, one of each type per state
    assert_eq!(report["runs"][2]["pushes_sent"], 33);
    assert_eq!(report["runs"][2]["staleness_ms"]["p99"], 2000.0);
    // that the recording batches no coarser is what all its pushes say
    assert_eq!(report["runs"][1]["bound"].is_null(), report["runs"][2]["bound"].is_null());
}

fn line(t: f64, kind: &str, version: &str, resources: &[Value]) -> String {
    let push = json!({"t": t, "type_url": format!("type.googleapis.com/{kind}"), "version_info": version,
        "nonce": format!("{kind}{t}"), "resources": resources});
    format!("{push}\n")
}

fn of_node(node: &str) -> String {
    format!("{}\n", json!({"t": 0, "type_url": format!("type.googleapis.com/{CDS}"), "node": {"id": node}}))
}

#[test]
fn repeats_stay_and_what_is_waited_for_comes() {
    let bench = Bench::new();
    let [inside, outside] = [CART.cluster(), MAIL.cluster()];
    let cds = |a, b| [cluster(&inside, a), cluster(&outside, b)];
    let eds = |a, b| [endpoints(&inside, a), endpoints(&outside, b)];
    let mut text = of_node(NODE);
    text += &line(0.0, CDS, "1", &cds(1, 1));
    text += &line(0.1, EDS, "1", &eds(1, 1));
    // nothing new in it for anybody
    text += &line(10.0, CDS, "2", &cds(1, 1));
    // the cluster in scope changes and warms; its endpoints come again, with new ones of the other
    text += &line(20.0, CDS, "3", &cds(2, 1));
    text += &line(20.1, EDS, "3", &eds(1, 2));
    // new for the other only
    text += &line(30.0, CDS, "4", &cds(2, 2));
    text += &line(30.1, EDS, "4", &eds(1, 3));
    // nothing in scope in it
    text += &line(40.0, EDS, "5", &[endpoints(&outside, 1)]);
    // the stream is opened again: everything comes again
    text += "{\"k\":\"conn\",\"t\":50,\"ev\":\"open\"}\n";
    text += &line(50.0, CDS, "6", &cds(2, 3));
    text += &line(50.1, EDS, "6", &eds(1, 3));
    bench.put("in.jsonl", text);
    let report = whatif(&bench, &["--set", "scope=own-namespace"]);
    let times: Vec<f64> = pushes(&report["runs"][1]).iter().map(|p| p["t"].as_f64().unwrap()).collect();
    assert_eq!(times, [0.0, 0.1, 10.0, 20.0, 20.1, 50.0, 50.1]);
    let rows = report["runs"][1]["timeline"].as_array().unwrap();
    assert_eq!(rows.last().unwrap()["clusters_warming"], 0);
    assert_eq!(rows.last().unwrap()["clusters_active"], 1);
    // answers to what is not sent are none: the gates wait for none either
    let waits = whatif(&bench, &["--scenario", "scope=own-namespace + ack-clocked"]);
    assert_eq!(waits["runs"][1]["pushes_sent"], 7);
}

#[test]
fn what_leads_both_ways_stays_and_is_said() {
    let bench = Bench::new();
    let [inside, outside] = [CART.cluster(), MAIL.cluster()];
    let both =
        json!({"weighted_clusters": {"clusters": [{"name": inside, "weight": 9}, {"name": outside, "weight": 1}]}});
    let hosts =
        vec![virtual_host("cart:80", "cart", both), virtual_host("mail:80", "mail", json!({"cluster": outside}))];
    let weighted = json!({"filters": [{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "w",
        "weighted_clusters": {"clusters": [{"name": inside, "weight": 9}, {"name": outside, "weight": 1}]}}}]});
    let mut chained = listener("two", 9000, vec![weighted, tcp(&outside)]);
    chained["filter_chains"][1]["filter_chain_match"] = json!({"server_names": ["mail"]});
    chained["default_filter_chain"] = tcp(&outside);
    let mut text = of_node(NODE);
    text += &line(0.0, CDS, "1", &[cluster(&inside, 1), cluster(&outside, 1)]);
    text += &line(0.1, LDS, "1", &[listener("0.0.0.0_80", 80, vec![http("80")]), chained.clone()]);
    text += &line(0.2, RDS, "1", &[table("80", hosts.clone())]);
    bench.put("in.jsonl", text);
    let report = whatif(&bench, &["--set", "scope=own-namespace"]);
    assert_eq!(
        note(&report, "leads to what is gone"),
        format!(
            "scope=own-namespace: what stays leads to what is gone: listener two to {outside}, virtual host cart:80 of route \
             table 80 to {outside}"
        )
    );
    // the same by hand: one virtual host, and one chain of three
    chained["filter_chains"].as_array_mut().unwrap().truncate(1);
    chained.as_object_mut().unwrap().remove("default_filter_chain");
    let mut text = of_node(NODE);
    text += &line(0.0, CDS, "1", &[cluster(&inside, 1)]);
    text += &line(0.1, LDS, "1", &[listener("0.0.0.0_80", 80, vec![http("80")]), chained]);
    text += &line(0.2, RDS, "1", &[table("80", hosts[..1].to_vec())]);
    bench.put("in.jsonl", text);
    same(&report["runs"][1], &whatif(&bench, &["--policy", "none"])["runs"][0]);
}

#[test]
fn what_is_no_service_of_the_mesh_stays() {
    let bench = Bench::new();
    let inbound = "inbound|8080||";
    let gateway = |mut l: Value| {
        l["bind_to_port"] = json!(true);
        l
    };
    let all = [
        line(
            0.0,
            CDS,
            "1",
            &[cluster(inbound, 1), cluster("BlackHoleCluster", 1), cluster("xds-grpc", 1), cluster(&MAIL.cluster(), 1)],
        ),
        line(
            0.1,
            EDS,
            "1",
            &[
                endpoints(inbound, 1),
                endpoints("BlackHoleCluster", 1),
                endpoints("xds-grpc", 1),
                endpoints(&MAIL.cluster(), 1),
            ],
        ),
        line(
            0.2,
            LDS,
            "1",
            &[
                listener("virtualInbound", 15006, vec![tcp(inbound)]),
                gateway(listener("0.0.0.0_8443", 8443, vec![http("http.8443")])),
                listener("10.96.0.2_25", 25, vec![tcp(&MAIL.cluster())]),
            ],
        ),
        line(
            0.3,
            RDS,
            "1",
            &[
                table("http.8443", vec![virtual_host("mail", "mail.example.com", json!({"cluster": MAIL.cluster()}))]),
                table("InboundPassthroughCluster", vec![virtual_host("in", "*", json!({"cluster": inbound}))]),
            ],
        ),
    ];
    bench.put("in.jsonl", of_node(NODE) + &all.concat());
    let report = whatif(&bench, &["--set", "scope=own-namespace"]);
    let run = &report["runs"][1];
    let resources: Vec<&Value> = run["pushes"].as_array().unwrap().iter().map(|p| &p["resources"]).collect();
    assert_eq!(resources, [3, 3, 2, 2]);
    assert!(note(&report, "leads to what is gone").contains("virtual host mail of route table http.8443"));
}

#[test]
fn a_base_is_under_the_scope_too() {
    let dump = |services: &[Service]| {
        let [cds, eds, lds, rds] = sent(services);
        let list = |all: Vec<(String, Value)>, key: &str| -> Vec<Value> {
            all.into_iter().map(|(_, v)| json!({"version_info": "0", key: v})).collect()
        };
        let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
        let listeners: Vec<Value> = lds
            .into_iter()
            .map(|(n, v)| json!({"name": n, "active_state": {"version_info": "0", "listener": v}}))
            .collect();
        json!({"configs": [
            {"@type": kind("ClustersConfigDump"), "dynamic_active_clusters": list(cds, "cluster")},
            {"@type": kind("ListenersConfigDump"), "dynamic_listeners": listeners},
            {"@type": kind("RoutesConfigDump"), "dynamic_route_configs": list(rds, "route_config")},
            {"@type": kind("EndpointsConfigDump"), "dynamic_endpoint_configs": list(eds, "endpoint_config")},
        ]})
        .to_string()
    };
    let all = worlds();
    // the recording goes on from the second state: its first pushes are of the third
    let later = |worlds: &[Vec<Service>]| -> String {
        let text = stream(worlds, true);
        text.lines()
            .filter(|l| {
                let t = serde_json::from_str::<Value>(l).unwrap();
                t.get("node").is_some() || t["t"].as_f64() >= Some(20.0)
            })
            .map(|l| format!("{l}\n"))
            .collect()
    };
    let ours = within(&all, ours);
    let bench = Bench::new();
    bench.put("in.jsonl", later(&all)).put("base.json", dump(&all[1]));
    let report = whatif(&bench, &["--base", "base.json", "--set", "scope=own-namespace"]);
    let by_hand = Bench::new();
    by_hand.put("in.jsonl", later(&ours)).put("base.json", dump(&ours[1]));
    let expected = whatif(&by_hand, &["--base", "base.json", "--policy", "none"]);
    let (mut run, expected) = (report["runs"][1].clone(), &expected["runs"][0]);
    // the recording begins with a push outside the scope, so ten seconds before the one by hand
    let rows = run["timeline"].as_array_mut().unwrap();
    rows.retain(|r| r["t"].as_f64() >= Some(30.0));
    let expected_rows: Vec<&Value> =
        expected["timeline"].as_array().unwrap().iter().filter(|r| r["t"].as_f64() >= Some(30.0)).collect();
    assert_eq!(rows.iter().collect::<Vec<_>>(), expected_rows);
    assert_eq!(run["end"], expected["end"]);
    assert_eq!(pushes(&run).len(), pushes(expected).len());
}

#[test]
fn it_goes_with_the_other_parts() {
    // inline certificates in the gateway's listener of the workload's own
    let secure = |mut s: String, names: &[&str]| {
        let chain = |n: &&str| {
            let mut c = tcp("PassthroughCluster");
            c["filter_chain_match"] = json!({"server_names": [n]});
            c["transport_socket"] = json!({"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [{"certificate_chain": {"inline_string": "CERTIFICATE"},
                    "private_key": {"inline_string": "KEY"}}]}}});
            c
        };
        let l = listener("tls", 8443, names.iter().map(chain).collect());
        let push = json!({"t": 200, "type_url": format!("type.googleapis.com/{LDS}"), "system_version_info": "x", "nonce": "x",
            "resources": [{"name": "tls", "version": "1", "resource": l}], "removed_resources": []});
        let _ = writeln!(s, "{push}");
        s
    };
    let names = ["a.example.com", "b.example.com"];
    let bench = Bench::new();
    bench.put("in.jsonl", secure(stream(&worlds(), true), &names));
    let parts = [
        "sds",
        "merge-chains",
        "reorder",
        "fixed-window:window=15s",
        "drain-time=3s",
        "sds + merge-chains + istio + sotw",
    ];
    let scoped: Vec<String> = parts.iter().map(|p| format!("{p} + scope=own-namespace")).collect();
    let mut args = Vec::new();
    scoped.iter().for_each(|s| args.extend(["--scenario", s]));
    let report = whatif(&bench, &args);
    let by_hand = Bench::new();
    by_hand.put("in.jsonl", secure(stream(&within(&worlds(), ours), true), &names));
    let mut args = Vec::new();
    parts.iter().for_each(|p| args.extend(["--scenario", p]));
    let expected = whatif(&by_hand, &args);
    for (i, name) in scoped.iter().enumerate() {
        let (a, b) = (&report["runs"][i + 1], &expected["runs"][i + 1]);
        assert_eq!(a["scenario"], **name);
        same(a, b);
    }
    assert_ne!(report["runs"][1]["pushes_sent"], report["runs"][3]["pushes_sent"], "secrets are pushed");
    // the forms in which a scenario is given are one
    bench.put("s.json", r#"[{"name": "calm", "parts": ["scope=own-namespace", "drain-time=3s"]}]"#);
    let forms = whatif(
        &bench,
        &["--set", "drain-time=3s", "--set", "scope=own-namespace", "--together", "--scenario-file", "s.json"],
    );
    assert_eq!(forms["runs"][3]["scenario"], "drain-time=3s + scope=own-namespace");
    same(&forms["runs"][3], &forms["runs"][4]);
    same(&forms["runs"][3], &report["runs"][5]);
    // one thread or several: the same bytes
    let args =
        ["whatif", "in.jsonl", "--set", "scope=own-namespace", "--scenario", "scope=own-namespace + sds", "-o", "json"];
    let [one, four] = ["1", "4"].map(|n| bench.command(&args).env("RAYON_NUM_THREADS", n).output().unwrap());
    assert!(one.status.success() && one.stdout == four.stdout);
}

#[test]
fn the_node_is_found_wherever_it_stands() {
    let bench = Bench::new();
    let with = stream(&worlds(), false);
    let without = with.split_once('\n').unwrap().1;
    bench.put("in.jsonl", &with);
    let expected = whatif(&bench, &["--set", "scope=own-namespace"])["runs"][1].clone();
    // in the native format
    assert_eq!(bench.run(&["convert", "in.jsonl", "--out", "native.jsonl"]).code, 0);
    bench.put("node.json", json!({"version": "c/1.40.0/Clean/RELEASE/BoringSSL", "node": {"id": NODE}}).to_string());
    bench.put("anonymous.json", json!({"version": "c/1.40.0/Clean/RELEASE/BoringSSL"}).to_string());
    bench.put("metadata.json", json!({"node": {"id": "x", "metadata": {"NAMESPACE": "shop"}}}).to_string());
    bench.put("bare.jsonl", without);
    for args in [
        &["native.jsonl"][..],
        &["in.jsonl", "--server-info", "anonymous.json"],
        &["bare.jsonl", "--server-info", "node.json"],
    ] {
        let run = bench.run(&[&["whatif", "-o", "json", "--set", "scope=own-namespace"][..], args].concat());
        let run = run.ends(0, "").json()["runs"][1].clone();
        assert_eq!(
            (&run["pushes_sent"], &run["by_type"]),
            (&expected["pushes_sent"], &expected["by_type"]),
            "{args:?}"
        );
    }
    let run = bench.run(&[
        "whatif",
        "bare.jsonl",
        "--bootstrap",
        "metadata.json",
        "-o",
        "json",
        "--set",
        "scope=own-namespace",
    ]);
    assert_eq!(run.ends(0, "").json()["runs"][1]["pushes_sent"], expected["pushes_sent"]);
}

#[track_caller]
fn refused(run: &Run, code: i32, why: &str) {
    assert_eq!(run.code, code, "{why}: {}", run.stderr);
    assert!(run.stderr.contains(why) && run.stderr.trim_end().lines().count() == 1, "{why}: {}", run.stderr);
}

#[test]
fn what_it_cannot_do_is_refused() {
    let bench = Bench::new();
    let whole = stream(&worlds(), false);
    bench.put("in.jsonl", &whole);
    bench.put("bare.jsonl", whole.split_once('\n').unwrap().1);
    bench.put("gateway.jsonl", of_node("router~10.0.0.1~gw-1.istio-system~istio-system.svc.cluster.local") + &whole);
    bench.put("contour.jsonl", of_node(NODE) + &line(0.0, CDS, "1", &[cluster("default/web/80", 1)]));
    bench.put("other.yaml", sidecar("post", &["./*"]));
    bench.put("none.yaml", "kind: List\nitems: []\n");
    assert_eq!(bench.run(&["convert", "in.jsonl", "--strip", "--out", "stripped.jsonl"]).code, 0);
    // both spellings of one list: which virtual hosts stand where is not known
    let hosts = |all: &[Service]| {
        json!(all.iter().map(|s| virtual_host(s.1, s.1, json!({"cluster": s.cluster()}))).collect::<Vec<_>>())
    };
    let one = table("80", vec![]);
    let both = format!("\"virtual_hosts\":{},\"virtualHosts\":{}", hosts(&[MAIL, DB]), hosts(&[CART, MAIL]));
    let odd = line(0.0, CDS, "1", &[cluster(&CART.cluster(), 1), cluster(&MAIL.cluster(), 1)])
        + &line(1.0, RDS, "1", &[one]).replace("\"virtual_hosts\":[]", &both);
    bench.put("twice.jsonl", of_node(NODE) + &odd);
    bench.put("watch.jsonl", r#"{"t":1,"e":{"type":"ADDED","object":{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"b","resourceVersion":"1"},"spec":{"ports":[{"port":80}]}}}}"#);
    bench.put("istiod.log", "2024-01-01T00:00:00.000000Z\tinfo\tads\tPush debounce stable[1] 3 for config Service/b/a.b.svc.cluster.local: 100ms since last change, 120ms since last push, full=true\n");
    let own = "scope=own-namespace";
    for (input, setting, code, why) in [
        ("bare.jsonl", own, 2, "the namespace of the workload is not known"),
        ("gateway.jsonl", own, 2, "the recording is of a gateway"),
        ("contour.jsonl", own, 2, "no cluster of a service of Istio"),
        ("stripped.jsonl", own, 2, "the recording does not have listener `virtualOutbound` as JSON"),
        ("twice.jsonl", own, 2, "the recording does not have route table `80` as JSON"),
        ("watch.jsonl", own, 2, "a scope is Istio's"),
        ("istiod.log", own, 2, "only policies can be tried on them"),
        ("in.jsonl", "scope=other.yaml", 2, "no Sidecar in it is for namespace `shop` or for all of istio-system"),
        ("in.jsonl", "scope=none.yaml", 3, "none.yaml: no Sidecar of networking.istio.io in it"),
        ("in.jsonl", "scope=nowhere.yaml", 3, "nowhere.yaml"),
        ("in.jsonl", "scope=", 2, "own-namespace or a file"),
        ("in.jsonl", "speed=1", 2, "scope=VALUE"),
    ] {
        refused(&bench.run(&["whatif", input, "--set", setting]), code, why);
    }
}

#[test]
fn a_workload_selector_goes_by_the_name() {
    let bench = Bench::new();
    let mut text = stream(&worlds(), false);
    bench.put("in.jsonl", &text);
    let selecting =
        sidecar("shop", &["~/*"]).replace("spec:\n", "spec:\n  workloadSelector:\n    labels:\n      app: cart\n");
    bench.put(
        "two.yaml",
        format!("{selecting}---\n{}", sidecar("shop", &["./*"]).replace("name: default", "name: rest")),
    );
    let report = whatif(&bench, &["--set", "scope=two.yaml"]);
    assert!(
        note(&report, "workloadSelector").ends_with("which nothing names here; the Sidecar that applies is shop/rest")
    );
    assert!(note(&report, "keeps").contains("keeps 3 of 8 outbound clusters"));
    text = text.replacen(
        &json!({"id": NODE}).to_string(),
        &json!({"id": NODE, "metadata": {"WORKLOAD_NAME": "cart"}}).to_string(),
        1,
    );
    bench.put("in.jsonl", text);
    let report = whatif(&bench, &["--set", "scope=two.yaml"]);
    assert!(note(&report, "workloadSelector").ends_with("here `cart`; the Sidecar that applies is shop/default"));
    assert!(note(&report, "keeps").contains("keeps 0 of 8 outbound clusters"));
}

#[test]
fn meshes_at_random() {
    let mut seed = 7_u64;
    // Knuth's generator, so that the meshes are the same everywhere
    let mut random = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let pool = [
        CART,
        DB,
        MAIL,
        QUEUE,
        ADMIN,
        ISTIOD,
        Service("shop", "own-admin", 8080, 0),
        Service("shop", "cache", 5000, 0),
        Service("post", "relay", 9090, 0),
    ];
    for round in 0..20 {
        let mut world: Vec<Service> = pool.iter().filter(|_| random(2) == 0).copied().collect();
        // a stream without any service is no stream of a mesh
        world.push(Service("post", "anchor", 7000, 0));
        let mut worlds = vec![world.clone()];
        for _ in 0..8 {
            for _ in 0..=random(2) {
                let at = random(pool.len() as u64) as usize;
                let same = |s: &Service| (s.0, s.1) == (pool[at].0, pool[at].1);
                match world.iter().position(same) {
                    Some(i) if random(2) == 0 => {
                        world.remove(i);
                    }
                    Some(i) => world[i].3 += 1,
                    None => world.insert(random(world.len() as u64 + 1) as usize, changed(pool[at], random(3) as u32)),
                }
            }
            worlds.push(world.clone());
        }
        for delta in [false, true] {
            let bench = Bench::new();
            bench.put("in.jsonl", stream(&worlds, delta));
            let report = whatif(&bench, &["--set", "scope=own-namespace"]);
            bench.put("in.jsonl", stream(&within(&worlds, ours), delta));
            let expected = whatif(&bench, &["--policy", "none"]);
            let (mut a, mut b) = (report["runs"][1].clone(), expected["runs"][0].clone());
            let briefly = |run: &Value| -> Vec<String> {
                pushes(run).iter().map(|p| format!("{} {} {}", p["t"], p["xds"], p["resources"])).collect()
            };
            assert_eq!(briefly(&a), briefly(&b), "round {round}, delta: {delta}, {worlds:?}");
            for run in [&mut a, &mut b] {
                // a recording that ends with pushes outside the scope ends later; what goes at one moment has no order
                run["end"]["t"] = json!(0);
                run["drain_log"].as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            same(&a, &b);
        }
    }
}
