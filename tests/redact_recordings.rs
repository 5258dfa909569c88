//! `meshdump redact` of recordings in every form: the same form and length, the same replay, and nothing planted left.

mod common;

use std::fs;

use common::Bench;
use common::planted::{Planter, nothing_survives, planted, survivors};
use common::wire::{CDS, PREFACE, delimited, field, frame, frames, log_entry, segment};
use meshdump::lab::codec;
use serde_json::{Value, json};

/// The resources of the planted dump that a control plane would send, as responses in wire form.
fn responses(p: &mut Planter) -> Vec<Vec<u8>> {
    let dump = planted(p);
    let mut out = Vec::new();
    for (nonce, (section, path)) in [
        (1, "/dynamic_active_clusters/0/cluster"),
        (2, "/dynamic_listeners/0/active_state/listener"),
        (3, "/dynamic_route_configs/0/route_config"),
        (4, "/dynamic_active_secrets/0/secret"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut resource = dump["configs"][section].pointer(path).expect("a resource").clone();
        without_unknown(&mut resource);
        let any = codec::any(&resource).expect("a resource of Envoy's API");
        let message = [
            field(1, b"7"),
            field(2, &[field(1, any.type_url.as_bytes()), field(2, &any.value)].concat()),
            field(4, any.type_url.as_bytes()),
            field(5, (nonce + 1).to_string().as_bytes()),
            field(6, &field(1, b"mercury.payroll")),
        ];
        out.push(message.concat());
    }
    // what no descriptor knows
    let mystery = [field(1, b"type.googleapis.com/acme.Mystery"), field(2, p.raw().as_bytes())].concat();
    out.push(
        [field(2, &mystery), field(4, b"type.googleapis.com/acme.Mystery"), field(99 % 16, p.raw().as_bytes())]
            .concat(),
    );
    out
}

/// Takes out filters whose types are made up.
fn without_unknown(value: &mut Value) {
    match value {
        Value::Array(list) => {
            list.iter_mut().for_each(without_unknown);
            list.retain(|v| !v.to_string().contains("type.googleapis.com/x."));
        }
        Value::Object(object) => object.values_mut().for_each(without_unknown),
        _ => {}
    }
}

/// A first request with all that a node says of itself, and a rejection.
fn requests(p: &mut Planter) -> [Vec<u8>; 2] {
    let node = json!({"@type": "type.googleapis.com/envoy.config.core.v3.Node", "id": "sidecar~10.1.2.3~web-0.payroll",
        "cluster": "web.payroll", "metadata": {"TOKEN": p.raw(), "PIN": {"deep": [p.raw()]}, "NAMESPACE": "payroll"}});
    let node = codec::any(&node).expect("a node").value;
    let error = format!("bad listener: token={}", p.raw());
    let details = field(1, p.raw().as_bytes());
    [
        [field(2, &node), field(4, CDS.as_bytes())].concat(),
        [
            field(4, CDS.as_bytes()),
            field(5, b"1"),
            field(6, &[field(2, error.as_bytes()), field(3, &details)].concat()),
        ]
        .concat(),
    ]
}

/// A tap of an xDS connection in small segments that cut frames and messages anywhere.
fn tap(p: &mut Planter) -> Vec<u8> {
    let responses = responses(p);
    let requests = requests(p);
    // HPACK: a literal without Huffman coding
    let literal = |p: &mut Planter| {
        let value = format!("Bearer {}", p.raw());
        [&[0, 13][..], b"authorization", &[value.len() as u8], value.as_bytes()].concat()
    };
    let mut head = literal(p);
    let padded = [&[3][..], &literal(p), b"pad"].concat();
    let mut there = [PREFACE, &frame(4, 0, &[0; 6]), &frame(1, 4, &head), &frame(1, 12, &padded)].concat();
    there.extend(frames(&requests[0], 50));
    head = literal(p);
    let mut back = [frame(1, 4, &head), frame(9, 4, &literal(p))].concat();
    for r in &responses {
        back.extend(frames(r, 300));
    }
    there.extend(frames(&requests[1], 1000));
    back.extend(frame(7, 0, &[&[0; 8][..], p.raw().as_bytes()].concat()));
    let mut out = Vec::new();
    for (t, chunk) in there.chunks(70).enumerate() {
        out.extend(segment(t as u8, 3, chunk, false));
    }
    for (t, chunk) in back.chunks(997).enumerate() {
        out.extend(segment(10 + t as u8, 2, chunk, false));
    }
    // a message of which the rest never came
    let unfinished = frames(&responses[0], 100);
    out.extend(segment(60, 2, &unfinished[..unfinished.len() - 150], false));
    out
}

/// The entries of a control plane's binary log.
fn grpc_log(p: &mut Planter) -> Vec<Vec<u8>> {
    let message = |data: &[u8]| field(8, &[&[8, 1][..], &field(2, data)].concat());
    let metadata = |p: &mut Planter| {
        field(1, &field(1, &[field(1, b"authorization"), field(2, format!("Bearer {}", p.raw()).as_bytes())].concat()))
    };
    let method = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
    let header = field(6, &[metadata(p), field(2, method), field(3, b"istiod.payroll:15012")].concat());
    let requests = requests(p);
    let mut out = vec![log_entry(1, 1, 1, 1, &header), log_entry(1, 1, 2, 2, &field(7, &metadata(p)))];
    out.push(log_entry(2, 1, 3, 3, &message(&requests[0])));
    for (i, r) in responses(p).iter().enumerate() {
        out.push(log_entry(3 + i as u8, 1, 4 + i as u8, 4, &message(r)));
    }
    out.push(log_entry(20, 1, 9, 3, &message(&requests[1])));
    // cut when it was written, and a call of something else
    out.push(log_entry(21, 1, 10, 4, &[&message(p.raw().as_bytes())[..], &[10 << 3, 1]].concat()));
    let other = field(6, &field(2, b"/acme.Vault/Read"));
    out.push(log_entry(22, 2, 1, 1, &other));
    out.push(log_entry(22, 2, 2, 4, &message(&[field(4, p.raw().as_bytes()), field(1, p.raw().as_bytes())].concat())));
    let trailer = [metadata(p), field(3, format!("no: secret={}", p.raw()).as_bytes()), field(4, p.raw().as_bytes())];
    out.push(log_entry(23, 1, 11, 5, &field(9, &trailer.concat())));
    out
}

/// Redacts `bytes` and says what holds of the result; gives it.
fn redacted(bench: &Bench, name: &str, bytes: &[u8], secrets: &[String]) -> Vec<u8> {
    bench.put(name, bytes);
    let out = format!("r-{name}");
    let run = bench.run(&["redact", name, "--out", &out, "-o", "json=report.json"]);
    assert_eq!(run.code, 0, "{name}\n{}{}", run.stdout, run.stderr);
    let report: Value = serde_json::from_slice(&fs::read(bench.path("report.json")).expect("a report")).expect("JSON");
    assert_eq!(report["identical"], true, "{name}");
    assert!(report["numbers"].as_u64() > Some(40), "{report}");
    let done = fs::read(bench.path(&out)).expect("the output");
    assert_eq!(done.len(), bytes.len(), "{name}");
    nothing_survives(name, &done, secrets);
    for name in ["payroll", "mercury"] {
        assert!(!done.windows(name.len()).any(|w| w == name.as_bytes()), "{name}");
    }
    let kind = |path: &str| bench.run(&["ls", path, "-o", "json"]).json()["inputs"][0]["kind"].clone();
    assert_eq!(kind(name), kind(&out));
    done
}

#[test]
fn taps() {
    let mut p = Planter::default();
    let bytes = tap(&mut p);
    let secrets = p.0;
    assert!(secrets.len() > 50 && survivors(&bytes, &secrets).len() > 20, "most are cut by frames");
    let bench = Bench::new();
    let done = redacted(&bench, "tap.pb", &bytes, &secrets);
    let pushes = |path: &str| bench.run(&["replay", path, "-o", "json"]).json()["runs"][0]["pushes"].clone();
    assert_eq!(pushes("tap.pb").as_array().map(Vec::len), Some(5));
    assert_eq!(pushes("tap.pb").to_string().len(), pushes("r-tap.pb").to_string().len());
    // what Envoy would be sent has its secrets replaced too, and the same in two runs
    let back = |path: &str| bench.run(&["convert", path, "--to", "responses", "--out", "-"]).stdout;
    assert_eq!(back("tap.pb").lines().count(), back("r-tap.pb").lines().count());
    assert_eq!(redacted(&bench, "tap.pb", &bytes, &secrets), done);
    // compressed as a whole, cut anywhere, something else behind it
    bench.put("tap.pb.gz", common::gzip(&bytes));
    bench.run(&["redact", "tap.pb.gz", "--out", "r-tap.pb.gz"]).ends(0, "");
    assert_eq!(common::planted::inflated(&bench.path("r-tap.pb.gz")), done);
    let end = bytes.len();
    for cut in [end - 1, end - 40, end / 2, end / 3] {
        redacted(&bench, &format!("{cut}.pb"), &bytes[..cut], &secrets);
    }
    let other =
        [&bytes[..], &segment(61, 2, format!("GET /?token={} HTTP/1.1", secrets[0]).as_bytes(), false)].concat();
    redacted(&bench, "other.pb", &other, &secrets);
}

/// Bytes that the tap's own limits cut are read by nobody, and none stays.
#[test]
fn taps_that_cannot_be_read() {
    let mut p = Planter::default();
    let mut bytes = segment(1, 2, format!("PRI {}", p.raw()).as_bytes(), true);
    bytes.extend(tap(&mut p));
    let bench = Bench::new();
    bench.put("cut.pb", &bytes);
    bench.run(&["redact", "cut.pb", "--out", "out.pb"]);
    nothing_survives("a cut tap", &fs::read(bench.path("out.pb")).expect("the output"), &p.0);
    // at its length nothing else can be compressed
    let mut message = frames(&field(4, CDS.as_bytes()), 1000);
    message[9] = 1;
    bench.put("gzip.pb", segment(1, 2, &message, false));
    let run = bench.run(&["redact", "gzip.pb", "--out", "none.pb"]);
    assert!(run.code == 3 && run.stderr.contains("meshdump convert"), "{}", run.stderr);
    assert!(!bench.path("none.pb").exists());
}

#[test]
fn binary_logs_of_grpc() {
    let mut p = Planter::default();
    let entries = grpc_log(&mut p);
    let secrets = p.0;
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let bench = Bench::new();
    for big_endian in [true, false] {
        let bytes = delimited(&entries, big_endian);
        let found = survivors(&bytes, &secrets).len();
        assert!(found > 45, "{found} of {}", secrets.len());
        redacted(&bench, "grpc.binlog", &bytes, &secrets);
        redacted(&bench, "cut.binlog", &bytes[..bytes.len() - 30], &secrets);
    }
}

/// Logs of Envoy as it writes them, as Istio does in both forms, and istiod's: what they tell of updates,
/// drains and batches is what it was, and Envoy's words can still be read.
#[test]
fn logs() {
    let mut p = Planter::default();
    let mut lines = vec!["[TIME][7][info][main] [source/server/server.cc:430] initializing epoch 0".to_owned()];
    let mut say = |message: String| {
        lines.push(format!("[TIME][7][debug][config] [source/common/x.cc:{}] {message}", lines.len() + 100));
    };
    say("begin add/update listener: name=payroll_8080 hash=16740746709901654359".to_owned());
    say("use full listener update path for listener name=payroll_8080 hash=16740746709901654359".to_owned());
    say(format!(
        "  config: {{\"@type\":\"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua\",\"inline_code\":\"-- {}\"}}",
        p.raw()
    ));
    say("lds: add/update listener 'payroll_8080'".to_owned());
    say(format!(
        "gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: bad token={}",
        p.raw()
    ));
    say("draining listener: name=payroll_8080, hash=16740746709901654359, tag=3, address=10.1.2.3:8080".to_owned());
    say("draining 2 filter chains in listener details: name=mercury, original_hash=16740746709901654359".to_owned());
    say("cds: add/update cluster 'outbound|80||payroll.shop.svc.cluster.local'".to_owned());
    say(format!("[C1][S2] request headers complete (end_stream=true): 'authorization', 'Bearer {}'", p.raw()));
    let dated = |i: usize, form: &str| lines[i].replace("TIME", &format!("2026-11-20{form}22:36:{:02}.206", i + 1));
    let plain: String = (0..lines.len()).map(|i| dated(i, " ") + "\n").collect();
    let istio_json: String = (0..lines.len())
        .map(|i| {
            let (time, message) = (format!("2026-11-20T22:36:{:02}.206Z", i + 1), dated(i, " "));
            json!({"level": "debug", "time": time, "scope": "envoy config", "msg": message}).to_string() + "\n"
        })
        .collect();
    let istio: String = (0..lines.len())
        .map(|i| {
            let message = lines[i].rsplit_once("] ").map_or("", |(_, m)| m);
            format!("2026-11-20T22:36:{:02}.206123Z\tdebug\tenvoy config\t{message}\tthread=7\n", i + 1)
        })
        .collect();
    let istiod: String = (1..9)
        .map(|i| format!("2026-11-20T22:36:{:02}.206123Z\tinfo\tads\tPush debounce stable[{i}] 3 for config Secret/shop/payroll: 100.158153ms since last change, 1m3.812345678s since last push, full=true\n", i + 1))
        .collect();
    let secrets = p.0;
    let bench = Bench::new();
    for (name, text) in
        [("envoy.log", &plain), ("json.log", &istio_json), ("istio.log", &istio), ("istiod.log", &istiod)]
    {
        let done = redacted(&bench, name, text.as_bytes(), &secrets);
        let done = String::from_utf8(done).expect("text stays text");
        let says = if name == "istiod.log" { "Push debounce stable[" } else { "begin add/update listener: name=" };
        assert!(done.contains(says), "{done}");
    }
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/recordings/sotw/envoy.log.gz");
    let run = bench.run(&["redact", capture, "--out", "capture.log.gz", "-o", "json"]).json();
    assert_eq!(run["identical"], true);
    assert!(run["numbers"].as_u64() > Some(40), "{run}");
}

/// What stands under `key`, wherever it is.
fn found<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(key).or_else(|| object.values().find_map(|v| found(v, key))),
        Value::Array(list) => list.iter().find_map(|v| found(v, key)),
        _ => None,
    }
}

/// Secrets are filler in what `convert` writes, so its replay is that of the recording.
#[test]
fn a_converted_recording_replays_the_same() {
    let mut p = Planter::default();
    let bytes = tap(&mut p);
    let bench = Bench::new();
    bench.put("tap.pb", &bytes);
    let dump = planted(&mut Planter::default());
    let [chain, ca] =
        ["certificate_chain", "trusted_ca"].map(|key| found(&dump, key).expect("a certificate").to_string());
    let public = [survivors(chain.as_bytes(), &p.0), survivors(ca.as_bytes(), &p.0)].concat();
    assert_eq!(public.len(), 2);
    bench.run(&["generate", "istio", "--services", "20", "--out", "made"]);
    for (input, pushes) in [("tap.pb", 5), ("made/recording.jsonl.gz", 3)] {
        let run = bench.run(&["convert", input, "--out", "converted.jsonl"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        bench.run(&["convert", "converted.jsonl", "--to", "responses", "--out", "responses.jsonl"]);
        let figures = |path: &str| {
            let run = &bench.run(&["replay", path, "-o", "json"]).json()["runs"][0];
            assert!(run["pushes"].as_array().is_some_and(|p| p.len() >= pushes), "{path}");
            [run["timeline"].clone(), run["peak"].clone()]
        };
        for written in ["converted.jsonl", "responses.jsonl"] {
            // certificates of listeners and clusters stay: they are public, and tell generations apart
            let left = survivors(&fs::read(bench.path(written)).expect("an output"), &p.0);
            assert!(left.iter().all(|secret| public.contains(secret)), "{written}: {left:?} of {public:?}");
        }
        assert_eq!(figures(input), figures("converted.jsonl"), "{input}");
    }
}

/// No verb shows what a tap, a binary log or a log holds, in any format.
#[test]
fn no_verb_shows_what_recordings_hold() {
    let mut p = Planter::default();
    let tap = tap(&mut p);
    let entries = grpc_log(&mut p);
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let log = format!(
        "[2026-11-20 22:36:01.206][7][debug][config] [source/common/x.cc:1] lds: add/update listener 'a'\n\
         [2026-11-20 22:36:02.206][7][debug][config] [source/common/x.cc:1] gRPC config for \
         type.googleapis.com/envoy.config.listener.v3.Listener rejected: bad token={}\n",
        p.raw()
    );
    let bench = Bench::new();
    bench.put("tap.pb", &tap).put("grpc.binlog", delimited(&entries, true)).put("envoy.log", &log);
    for input in ["tap.pb", "grpc.binlog", "envoy.log"] {
        for verb in [
            &["replay", input][..],
            &["ls", input],
            &["check", input, "--full", "--budget", "findings == 0", "--budget", "replay.peak < 1"],
            &["diff", input, "tap.pb", "--full"],
            &["whatif", input, "--policy", "fixed-window:window=5s"],
        ] {
            for format in ["text", "json", "html", "md", "csv", "ndjson", "trace", "sarif", "junit", "github"] {
                let run = bench.run(&[verb, &["-v", "-o", format]].concat());
                let shown = run.stdout + &run.stderr;
                nothing_survives(&format!("{verb:?} -o {format}"), shown.as_bytes(), &p.0);
            }
        }
    }
}
