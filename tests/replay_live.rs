//! The simulated Envoy against live ones: scripted streams are fed to a real Envoy, whose gauges and `allocated` are read
//! after every step, and the same stream, written down as it was sent, is replayed by the binary.
//!
//! `MESHDUMP_ORACLE=NAME,…` picks streams by a part of their name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use meshdump::lab::shapes::{
    assignment, certificate_secret, downstream_tls, ecdsa, eds_cluster, hcm, inline, listener, plain_cluster, rds,
    route, rsa, sds, sni_chain, table, vhost, with,
};
use meshdump::lab::{self, Ads, EnvoyProcess, Launch, types};
use serde_json::{Value, json};

#[expect(clippy::print_stderr, reason = "a skipped test says why, and the figures belong into the log")]
fn note(line: &str) {
    eprintln!("{line}");
}

/// The Envoy to test with. CI must have one.
fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("MESHDUMP_ENVOY").map_or_else(|| PathBuf::from("envoy"), PathBuf::from);
    if lab::version(&path).is_err() {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "CI must have an Envoy: set MESHDUMP_ENVOY");
        note(&format!("skipped: no Envoy ({} does not run; set MESHDUMP_ENVOY)", path.display()));
        return None;
    }
    Some(path)
}

/// One response: type, resources, and for delta streams the names removed.
struct Response {
    kind: &'static str,
    resources: Vec<Value>,
    removed: Vec<String>,
}

/// What is sent in one second.
type Second = Vec<Response>;

struct Stream {
    name: &'static str,
    delta: bool,
    drain_s: u64,
    seconds: Vec<Second>,
}

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

fn streams() -> Vec<Stream> {
    let sotw = |name, drain_s, seconds| Stream { name, delta: false, drain_s, seconds };
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

    let growing =
        (1..=10).map(|n| lds(vec![listener("edge", (0..n * 4).map(|i| inline_chain(i, 5)).collect())])).collect();
    all.push(sotw("in-place growth", 6, growing));

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
    all.push(Stream { name: "delta", delta: true, drain_s: 5, seconds });
    all
}

/// What Envoy showed at one moment.
struct Sample {
    t: f64,
    allocated: u64,
    gauges: [u64; 5],
}

const GAUGES: [(&str, &str); 5] = [
    ("listener_manager.total_listeners_draining", "listeners_draining"),
    ("listener_manager.total_filter_chains_draining", "filter_chains_draining"),
    ("listener_manager.total_listeners_warming", "listeners_warming"),
    ("listener_manager.total_listeners_active", "listeners_active"),
    ("cluster_manager.active_clusters", "clusters_active"),
];
const COUNTERS: [&str; 4] = ["listener_added", "listener_modified", "listener_removed", "listener_in_place_updated"];

struct Observed {
    recording: String,
    samples: Vec<Sample>,
    counters: Vec<u64>,
    config_dump: Vec<u8>,
    server_info: Vec<u8>,
    /// Draining generations per name that the dump lists at the last push.
    dump_draining: usize,
}

const WAIT: Duration = Duration::from_secs(60);

/// Feeds a stream to a fresh Envoy, second by second, and reads it after each.
fn feed(binary: &Path, stream: &Stream) -> Observed {
    let ads = Ads::start().unwrap();
    let envoy = EnvoyProcess::start(&Launch {
        binary: binary.to_owned(),
        workers: 2,
        bootstrap: lab::bootstrap(ads.port(), stream.delta),
        arguments: vec!["--drain-time-s".into(), stream.drain_s.to_string()],
    })
    .unwrap();
    for kind in [types::CLUSTER, types::LISTENER] {
        ads.wait("a subscription", WAIT, |seen| seen.iter().any(|s| s.type_url == kind)).unwrap();
        if stream.delta {
            ads.send_delta(kind, "0", "", &[], &[]).unwrap();
        } else {
            ads.send(kind, "0", "", &[]).unwrap();
        }
    }
    envoy.settle(None, WAIT).unwrap();
    note(&format!("  {} idle {}", stream.name, envoy.allocated().unwrap()));
    let config_dump = envoy.get("/config_dump").unwrap();
    let server_info = envoy.get("/server_info").unwrap();
    let begin = Instant::now();
    let mut out = Observed {
        recording: String::new(),
        samples: Vec::new(),
        counters: Vec::new(),
        config_dump,
        server_info,
        dump_draining: 0,
    };
    let mut version = 0;
    let until = |s: f64| {
        let due = Duration::from_secs_f64(s).saturating_sub(begin.elapsed());
        std::thread::sleep(due);
    };
    let last = stream.seconds.len();
    for i in 0..last + usize::try_from(stream.drain_s).unwrap() + 1 {
        until(i as f64);
        for response in stream.seconds.get(i).into_iter().flatten() {
            version += 1;
            let number = version.to_string();
            let asked = |seen: &[lab::Seen]| seen.iter().any(|s| s.type_url == response.kind);
            ads.wait(&format!("a subscription to {}", response.kind), WAIT, asked).unwrap();
            let name = |r: &Value| r["name"].as_str().or(r["cluster_name"].as_str()).unwrap_or_default().to_owned();
            let t = begin.elapsed().as_secs_f64();
            let (nonce, line) = if stream.delta {
                let names: Vec<String> = response.resources.iter().map(name).collect();
                let list: Vec<(&str, &str, &Value)> =
                    names.iter().zip(&response.resources).map(|(n, r)| (n.as_str(), number.as_str(), r)).collect();
                let removed: Vec<&str> = response.removed.iter().map(String::as_str).collect();
                let nonce = ads.send_delta(response.kind, &number, "", &list, &removed).unwrap();
                let resources: Vec<Value> =
                    list.iter().map(|(n, v, r)| json!({"name": n, "version": v, "resource": r})).collect();
                let line = json!({"t": t, "type_url": response.kind, "system_version_info": number, "nonce": nonce,
                                  "resources": resources, "removed_resources": removed});
                (nonce, line)
            } else {
                let nonce = ads.send(response.kind, &number, "", &response.resources).unwrap();
                let line = json!({"t": t, "type_url": response.kind, "version_info": number, "nonce": nonce,
                                  "resources": response.resources});
                (nonce, line)
            };
            out.recording.push_str(&line.to_string());
            out.recording.push('\n');
            // CDS is answered only when the clusters are warm, so what they wait for must be able to follow
            if response.kind != types::CLUSTER {
                ads.wait_answer(&nonce, WAIT).unwrap();
            }
        }
        until(i as f64 + 0.45);
        let stats = envoy.stats("^(listener_manager|cluster_manager)\\.[a-z_]+$").unwrap();
        let t = begin.elapsed().as_secs_f64();
        let allocated = envoy.allocated().unwrap();
        let value = |name: &str| stats.get(name).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0);
        out.samples.push(Sample { t, allocated, gauges: GAUGES.map(|(name, _)| value(name)) });
        out.counters = COUNTERS.iter().map(|c| value(&format!("listener_manager.{c}"))).collect();
        if i + 1 == last {
            let dump: Value =
                serde_json::from_slice(&envoy.get("/config_dump?resource=dynamic_listeners").unwrap()).unwrap();
            let entries = dump["configs"].as_array().into_iter().flatten();
            out.dump_draining = entries.filter(|e| e["draining_state"].is_object()).count();
        }
    }
    out
}

fn replay(folder: &Path, observed: &Observed) -> Value {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let stream = file("stream.jsonl", observed.recording.as_bytes());
    let info = file("server_info.json", &observed.server_info);
    let dump = file("config_dump.json", &observed.config_dump);
    let output = Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .arg("replay")
        .arg(stream)
        .arg("--server-info")
        .arg(info)
        .arg("--bootstrap")
        .arg(dump)
        .args(["-o", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares, and returns what is not equal, the error of the peak, and a line of figures.
fn compare(stream: &Stream, observed: &Observed, report: &Value) -> (Vec<String>, f64, String) {
    let mut wrong = Vec::new();
    let run = &report["runs"][0];
    let rows = run["timeline"].as_array().unwrap();
    let at = |t: f64| rows.iter().rev().find(|r| r["t"].as_f64().unwrap() <= t).unwrap_or(&rows[0]);
    let mut errors = Vec::new();
    for s in &observed.samples {
        let row = at(s.t);
        for ((name, key), seen) in GAUGES.iter().zip(s.gauges) {
            let simulated = row[*key].as_u64().unwrap();
            // a reading takes a moment: either side of a change that falls into it is right
            let near = at(s.t - 0.15)[*key].as_u64() == Some(seen) || at(s.t + 0.05)[*key].as_u64() == Some(seen);
            if simulated != seen && !near {
                wrong.push(format!("t={:.2} {name}: simulated {simulated}, Envoy {seen}", s.t));
            }
        }
        let simulated = row["allocated"].as_f64().unwrap();
        errors.push((s.t, simulated / s.allocated as f64 - 1.0, s.allocated, simulated));
    }
    for (name, seen) in COUNTERS.iter().zip(&observed.counters) {
        let simulated = run["counters"][name].as_u64().unwrap();
        if simulated != *seen {
            wrong.push(format!("{name}: simulated {simulated}, Envoy {seen}"));
        }
    }
    if std::env::var_os("MESHDUMP_ORACLE_TRACE").is_some() {
        for (t, e, seen, simulated) in &errors {
            note(&format!("  {} t={t:.2} Envoy {seen} simulated {simulated} {:+.2} %", stream.name, e * 100.0));
        }
    }
    let peak = observed.samples.iter().map(|s| s.allocated).max().unwrap() as f64;
    let peak_error = run["peak"]["allocated"]["bytes"].as_f64().unwrap() / peak - 1.0;
    let mut sorted: Vec<f64> = errors.iter().map(|e| e.1.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let line = format!(
        "{:26} {:3} samples, peak {:5.1} MB, error of the peak {:+.1} %, of all samples median {:.1} %, worst {:.1} %",
        stream.name,
        errors.len(),
        peak / 1e6,
        peak_error * 100.0,
        sorted[sorted.len() / 2] * 100.0,
        sorted[sorted.len() - 1] * 100.0
    );
    (wrong, peak_error, line)
}

#[test]
fn a_simulated_envoy_does_what_a_live_one_does() {
    let Some(binary) = envoy() else { return };
    let picked = std::env::var("MESHDUMP_ORACLE").unwrap_or_default();
    let all: Vec<Stream> =
        streams().into_iter().filter(|s| picked.is_empty() || picked.split(',').any(|p| s.name.contains(p))).collect();
    let queue = std::sync::Mutex::new(all.iter().collect::<Vec<_>>());
    let results = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                loop {
                    let Some(stream) = queue.lock().unwrap().pop() else { return };
                    let observed = feed(&binary, stream);
                    let folder = tempfile::tempdir().unwrap();
                    let report = replay(folder.path(), &observed);
                    if let Some(keep) = std::env::var_os("MESHDUMP_ORACLE_KEEP") {
                        let to = Path::new(&keep).join(stream.name.replace([' ', ','], "_"));
                        std::fs::create_dir_all(&to).unwrap();
                        for f in ["stream.jsonl", "server_info.json", "config_dump.json"] {
                            std::fs::copy(folder.path().join(f), to.join(f)).unwrap();
                        }
                    }
                    let result = compare(stream, &observed, &report);
                    results.lock().unwrap().push((stream.name, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(name, _)| *name);
    let mut wrong = Vec::new();
    let mut errors = Vec::new();
    for (name, (bad, peak, line)) in &results {
        note(line);
        wrong.extend(bad.iter().map(|w| format!("{name}: {w}")));
        errors.push(peak.abs());
    }
    errors.sort_by(f64::total_cmp);
    wrong.iter().for_each(|w| note(w));
    assert!(wrong.is_empty(), "{} values differ", wrong.len());
    let (median, worst) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    note(&format!("error of the peak over {} streams: median {median:.4}, worst {worst:.4}", errors.len()));
    assert!(median <= 0.03 && worst <= 0.10, "median {median:.4}, worst {worst:.4}");
}
