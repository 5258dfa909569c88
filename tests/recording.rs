//! Recordings read from files, through the library's entry point.

#![allow(clippy::print_stdout, reason = "a skipped test says why")]

use std::io::Write;
use std::path::{Path, PathBuf};

use meshdump::evidence::recording::{Loaded, Options, read};
use meshdump::input::{Document, Limits, collect};
use meshdump::model::envoy::{Node, ServerInfo};
use meshdump::model::stream::{Event, GapReason, Push, Recording, Resource, Us, What, XdsType};

mod common;
use common::wire::{CDS, PREFACE, delimited, field, frames, log_entry, segment, wire_request, wire_response};

const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

fn documents(paths: &[&Path]) -> Vec<Document> {
    let paths: Vec<PathBuf> = paths.iter().map(|p| p.to_path_buf()).collect();
    let found = collect(&paths, &Limits::default());
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    found.documents
}

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

fn load(bytes: &[u8]) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "r.jsonl", bytes);
    read(&documents(&[&path]), &Options::default())
}

fn pushes(r: &Recording) -> Vec<(&Event, &Push)> {
    r.events.iter().filter_map(|e| if let What::Push(p) = &e.what { Some((e, &**p)) } else { None }).collect()
}

fn gaps(r: &Recording) -> Vec<GapReason> {
    r.events.iter().filter_map(|e| if let What::Gap { reason, .. } = e.what { Some(reason) } else { None }).collect()
}

fn cluster(name: &str) -> String {
    format!(r#"{{"@type":"{CDS}","name":"{name}","connect_timeout":"1s"}}"#)
}

fn sotw(t: f64, nonce: u32, resources: &[String]) -> String {
    format!(
        "{{\"t\":{t},\"type_url\":\"{CDS}\",\"version_info\":\"{nonce}\",\"nonce\":\"{nonce}\",\"resources\":[{}]}}\n",
        resources.join(",")
    )
}

#[test]
fn state_of_the_world_and_delta() {
    let text = sotw(12.34, 1, &[cluster("a"), cluster("b")])
        + &sotw(13.0, 2, &[cluster("b"), cluster("a")])
        + &format!(
            "{{\"t\":13.5,\"typeUrl\":\"{LDS}\",\"systemVersionInfo\":\"8\",\"resources\":[{{\"name\":\"l\",\"version\":\"3\",\"resource\":{{\"name\":\"l\",\"@type\":\"{LDS}\"}}}}],\"removedResources\":[\"x\"]}}\n"
        );
    let loaded = load(text.as_bytes());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let r = &loaded.recording;
    let all = pushes(r);
    assert_eq!(all.iter().map(|(e, _)| e.t).collect::<Vec<_>>(), [Us(12_340_000), Us(13_000_000), Us(13_500_000)]);
    assert_eq!(r.bodies.len(), 3, "repeated bodies are kept once");
    assert_eq!(all[0].1.resources[0].body, all[1].1.resources[1].body);
    let delta = all[2].1;
    assert!(delta.delta && !all[0].1.delta);
    assert_eq!((&*delta.version, &*delta.resources[0].version, &*delta.removed[0]), ("8", "3", "x"));
    assert_eq!(delta.kind, XdsType::Listener);
    assert!(matches!(r.body(delta.resources[0].body).resource, Resource::Listener(_)));
    assert!(!r.times_assumed);
}

#[test]
fn forms_people_have() {
    let one = format!(
        "{{\n  \"versionInfo\": \"1\",\n  \"resources\": [\n    {}\n  ],\n  \"typeUrl\": \"{CDS}\",\n  \"nonce\": \"1\"\n}}\n",
        cluster("a")
    );
    let two = one.replace("\"1\"", "\"2\"");
    let wrapped = format!("{{\"t\":5,\"r\":{}}}\n{{\"t\":6,\"r\":{}}}\n", one.replace('\n', ""), two.replace('\n', ""));
    let list = format!("[{one},{two}]");
    let chatter = format!("time=\"2026-11-20\" level=info msg=\"x\"\n{one}ERROR: something\n{two}");
    for (text, assumed, text_lines) in
        [(format!("{one}{two}"), true, false), (wrapped, false, false), (list, true, false), (chatter, true, true)]
    {
        let loaded = load(text.as_bytes());
        assert_eq!(pushes(&loaded.recording).len(), 2, "{text}");
        assert_eq!(loaded.recording.times_assumed, assumed);
        assert_eq!(loaded.problems.len(), usize::from(text_lines), "{:?}", loaded.problems);
        assert_eq!(loaded.recording.bodies.len(), 1);
        let times: Vec<i64> = pushes(&loaded.recording).iter().map(|(e, _)| e.t.0).collect();
        assert_eq!(times[1] - times[0], 1_000_000);
    }
}

#[test]
fn requests_are_answers() {
    let text = sotw(1.0, 1, &[cluster("a")])
        + &format!("{{\"t\":1.5,\"type_url\":\"{CDS}\",\"response_nonce\":\"1\",\"version_info\":\"1\"}}\n")
        + &format!("{{\"t\":1.7,\"type_url\":\"{CDS}\",\"response_nonce\":\"1\",\"version_info\":\"1\"}}\n")
        + &sotw(2.0, 2, &[cluster("b")])
        + &format!(
            "{{\"t\":2.5,\"type_url\":\"{CDS}\",\"response_nonce\":\"2\",\"error_detail\":{{\"message\":\"no\"}}}}\n"
        );
    let r = load(text.as_bytes()).recording;
    let answers: Vec<String> = r
        .events
        .iter()
        .filter_map(|e| match &e.what {
            What::Ack { nonce, .. } => Some(format!("ack {nonce}")),
            What::Nack { nonce, error, .. } => Some(format!("nack {nonce} {error}")),
            _ => None,
        })
        .collect();
    assert_eq!(answers, ["ack 1", "nack 2 no"]);
}

#[test]
fn what_is_missing_is_named() {
    let whole: Vec<String> = (1..=6).map(|n| sotw(f64::from(n), n, &[cluster(&format!("c{n}"))])).collect();
    let clean = load(whole.concat().as_bytes());
    assert!(clean.problems.is_empty() && gaps(&clean.recording).is_empty(), "{:?}", clean.problems);
    let case = |lines: Vec<&str>, reason: GapReason, word: &str| {
        let loaded = load(lines.concat().as_bytes());
        assert_eq!(gaps(&loaded.recording), [reason], "{:?}", loaded.problems);
        assert!(loaded.problems.iter().any(|p| p.what.contains(word)), "{:?}", loaded.problems);
    };
    let w: Vec<&str> = whole.iter().map(String::as_str).collect();
    case(vec![w[0], w[1], w[2], w[4], w[5]], GapReason::Sequence, "1 response is missing");
    case(vec![w[0], w[1], w[2], &w[3][..40]], GapReason::Truncated, "ends inside");
    let broken = format!("{}\n", &w[2][..60]);
    case(vec![w[0], w[1], &broken, w[2], w[3]], GapReason::Truncated, "broken");
    let restart = w[0].replace("\"t\":1,", "\"t\":9,").replace("c1", "c9");
    case(vec![w[0], w[1], w[2], w[3], w[4], &restart], GapReason::Reconnect, "begins again");
    let back = w[4].replace("\"t\":5,", "\"t\":2.5,");
    case(vec![w[0], w[1], w[2], w[3], &back], GapReason::OutOfOrder, "backwards");
    let doubled = load([w[0], w[1], w[1], w[2]].concat().as_bytes());
    assert_eq!(pushes(&doubled.recording).len(), 3);
    assert!(doubled.problems[0].what.contains("1 response stands twice"));
}

#[test]
fn compressed_and_cut() {
    let text: String = (1..=4000).map(|n| sotw(f64::from(n), n, &[cluster(&format!("c{}", n % 7))])).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).expect("a buffer");
    let gz = gz.finish().expect("a buffer");
    let loaded = load(&gz);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    assert_eq!((pushes(&loaded.recording).len(), loaded.recording.bodies.len()), (4000, 7));
    let loaded = load(&gz[..gz.len() / 2]);
    assert_eq!(gaps(&loaded.recording), [GapReason::Truncated]);
    assert!(!loaded.problems.is_empty() && pushes(&loaded.recording).len() > 100);
}

#[test]
fn settings_come_from_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/envoy/gateway");
    let recording = file(folder.path(), "r.jsonl", sotw(1.0, 1, &[cluster("a")]).as_bytes());
    let find = |stem: &str| {
        let mut found = std::fs::read_dir(&root).expect("testdata").map(|e| e.expect("an entry").path());
        found.find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(stem))).expect("a capture")
    };
    let (info, dump) = (documents(&[&find("server_info")]), documents(&[&find("config_dump")]));
    let options =
        Options { server_info: info.first(), bootstrap: dump.first(), base: dump.first(), ..Options::default() };
    let loaded = read(&documents(&[&recording]), &options);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let r = loaded.recording;
    assert_eq!(r.server_info.expect("server info").drain_time_s, Some(600));
    assert!(r.bootstrap.is_some());
    let names = |ids: &[meshdump::model::stream::BodyId], kind| {
        ids.iter().filter(|i| r.bodies[i.0 as usize].kind == kind).count()
    };
    assert_eq!(names(&r.static_resources, XdsType::Cluster), 1);
    assert_eq!(names(&r.base, XdsType::Listener), 5);
    assert_eq!(names(&r.base, XdsType::Cluster), 12);
    assert_eq!(
        loaded.inputs.iter().map(|i| i.kind).collect::<Vec<_>>(),
        ["recording", "server_info", "bootstrap", "base"]
    );
}

#[test]
fn a_bad_resource_costs_itself_alone() {
    let bad = format!(r#"{{"@type":"{CDS}","name":"a","connect_timeout":}}"#);
    let loaded = load((sotw(1.0, 1, &[bad, cluster("b")]) + &sotw(2.0, 2, &[cluster("b")])).as_bytes());
    let r = &loaded.recording;
    assert_eq!(pushes(r).len(), 2);
    assert_eq!((&*r.bodies[0].name, &r.bodies[0].resource), ("a", &Resource::Opaque));
    assert!(loaded.problems[0].what.contains("cannot be read"), "{:?}", loaded.problems);
}

#[test]
fn prefixes_and_flips_never_panic() {
    let text = sotw(1.0, 1, &[cluster("a"), cluster("b")])
        + &format!(
            "{{\"t\":\"2026-11-20T22:10:49Z\",\"type_url\":\"{LDS}\",\"resources\":[{{\"name\":\"l\",\"resource\":{{\"name\":\"l\"}}}}],\"removed_resources\":[\"x\"]}}\n"
        )
        + &sotw(3.0, 2, &[]);
    for cut in (0..text.len()).step_by(3) {
        let _ = load(&text.as_bytes()[..cut]);
    }
    for at in (0..text.len()).step_by(5) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 0x15;
        let _ = load(&bytes);
    }
}

fn rich_cluster(name: &str) -> String {
    format!(
        r#"{{"@type":"{CDS}","name":"{name}","connect_timeout":"1.5s","type":"EDS","lb_policy":"LEAST_REQUEST",
        "per_connection_buffer_limit_bytes":32768,"metadata":{{"filter_metadata":{{"istio":{{"a_b":[1,true,null,"x"]}}}}}},
        "circuit_breakers":{{"thresholds":[{{"max_requests":5,"track_remaining":true}}]}},
        "health_checks":[{{"timeout":"1s","interval":"2s","healthy_threshold":1,"unhealthy_threshold":2,"http_health_check":{{"path":"/","expected_statuses":[{{"start":"200","end":"300"}}]}}}}],
        "transport_socket":{{"name":"tls","typed_config":{{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","sni":"x"}}}}}}"#
    )
}

#[test]
fn a_tap_is_what_its_json_is() {
    let resources = [rich_cluster("a"), rich_cluster("b")];
    let big = [PREFACE, &frames(&wire_request("", None), 10)].concat();
    let answer = frames(&wire_response("1", "n1", &resources), 300);
    let tap = [
        segment(1, 3, &big[..30], false),
        segment(1, 3, &big[30..], false),
        segment(2, 2, &answer[..100], false),
        segment(3, 2, &answer[100..], false),
        segment(4, 3, &frames(&wire_request("n1", Some("no")), 1000), false),
    ]
    .concat();
    let loaded = load(&tap);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    assert_eq!(loaded.inputs[0].kind, "tap");
    let r = &loaded.recording;
    let (event, push) = pushes(r)[0];
    assert_eq!((event.t, &*push.version, &*push.nonce, push.delta), (Us(3_000_000), "1", "n1", false));
    let node = &r.server_info.as_ref().expect("a node").node;
    assert_eq!((&*node.id, &*node.envoy_version), ("node-1", "1.40.0"));
    assert!(r.events.iter().any(|e| matches!(&e.what, What::Nack { error, .. } if &**error == "no")));

    let text = load(sotw(1.0, 1, &resources).replace("\n        ", "").as_bytes());
    assert!(text.problems.is_empty(), "{:?}", text.problems);
    for (a, b) in r.bodies.iter().zip(&text.recording.bodies) {
        let sorted = |outline: &[(meshdump::model::envoy::Name, u64, u64)]| {
            let mut all = outline.to_vec();
            all.sort();
            all
        };
        assert_eq!((&a.name, a.hash, a.set_hash), (&b.name, b.hash, b.set_hash));
        assert_eq!(sorted(&a.outline), sorted(&b.outline));
        assert!(a.exact_wire && !b.exact_wire);
    }

    let short = load(&tap[..tap.len() - 20]);
    assert_eq!(gaps(&short.recording), [GapReason::Truncated]);
    assert!(short.problems.iter().any(|p| p.what.contains("tail truncated")), "{:?}", short.problems);

    let cut = [segment(1, 3, PREFACE, false), segment(2, 2, &answer[..100], true)].concat();
    let cut = load(&cut);
    assert!(cut.recording.events.is_empty());
    assert!(cut.problems[0].hint.contains("max_buffered_rx_bytes"), "{:?}", cut.problems);

    for at in (0..tap.len()).step_by(7) {
        let mut bytes = tap.clone();
        bytes[at] ^= 0x2b;
        let _ = load(&bytes);
        let _ = load(&tap[..at]);
    }
    // a length of 2^60
    let _ = load(&[&tap[..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 0x22]].concat());
}

#[test]
fn a_binary_log_of_grpc() {
    let message = |data: &[u8]| field(8, &[&[8, 1][..], &field(2, data)].concat());
    let header =
        field(6, &field(2, b"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"));
    let other = [field(2, &field(1, b"node-2")), field(4, CDS.as_bytes())].concat();
    let entries = [
        log_entry(1, 1, 1, 1, &header),
        log_entry(2, 1, 2, 3, &message(&wire_request("", None))),
        log_entry(3, 1, 3, 4, &message(&wire_response("1", "n1", &[rich_cluster("a")]))),
        log_entry(4, 1, 4, 3, &message(&wire_request("n1", Some("no")))),
        // another Envoy of the same control plane
        log_entry(4, 2, 1, 1, &header),
        log_entry(4, 2, 2, 3, &message(&other)),
        log_entry(4, 2, 3, 4, &message(&wire_response("1", "m1", &[rich_cluster("of another")]))),
        // entry 5 of the call is not there; entry 7 was cut when it was written
        log_entry(5, 1, 6, 4, &message(&wire_response("2", "n2", &[rich_cluster("b")]))),
        log_entry(6, 1, 7, 4, &[&message(b"half")[..], &[10 << 3, 1]].concat()),
    ];
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let (go, java) = (delimited(&entries, true), delimited(&entries, false));
    for log in [&go, &java] {
        let loaded = load(log);
        let r = &loaded.recording;
        let got: Vec<(Us, &str, &str)> = pushes(r).iter().map(|(e, p)| (e.t, &*p.version, &*p.nonce)).collect();
        assert_eq!(got, [(Us(3_000_000), "1", "n1"), (Us(5_000_000), "2", "n2")]);
        let bodies: Vec<&str> = r.bodies.iter().map(|b| &*b.name).collect();
        assert_eq!(bodies, ["a", "b"], "no body of another node");
        assert!(r.events.iter().any(|e| matches!(&e.what, What::Nack { error, .. } if &**error == "no")));
        assert_eq!(gaps(r), [GapReason::Sequence, GapReason::Truncated]);
        let said: Vec<&str> = loaded.problems.iter().map(|p| &*p.what).collect();
        for what in ["1 messages were cut", "1 entries are missing", "1 calls are of other nodes"] {
            assert!(said.iter().any(|s| s.starts_with(what)), "{what}: {said:?}");
        }
        let cut = load(&log[..log.len() - 3]);
        assert!(gaps(&cut.recording).contains(&GapReason::Truncated));
        for at in (0..log.len()).step_by(11) {
            let _ = load(&log[..at]);
        }
    }
}

#[test]
fn a_range_of_prometheus_lies_on_the_axis() {
    let folder = tempfile::tempdir().expect("a folder");
    let stream = file(folder.path(), "stream.jsonl", sotw(1.0, 1, &[cluster("a")]).as_bytes());
    let series = |name: &str, pod: &str, values: &str| {
        format!(r#"{{"metric":{{"__name__":"{name}","pod":"{pod}"}},"values":[{values}]}}"#)
    };
    let answer = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{},{},{},{}]}}}}"#,
        series("envoy_server_memory_allocated", "a", r#"[2,"1000"],[3.5,"2000"],[4,"NaN"]"#),
        series("envoy_listener_manager_total_listeners_draining", "a", r#"[2,"3"]"#),
        series("envoy_server_memory_allocated", "b", r#"[2,"9"]"#),
        series("up", "a", r#"[2,"1"]"#),
    );
    let range = file(folder.path(), "range.json", answer.as_bytes());
    let loaded = read(&documents(&[&stream, &range]), &Options::default());
    let observed: Vec<(Us, &str, u64)> = loaded
        .recording
        .events
        .iter()
        .filter_map(|e| match &e.what {
            What::Observed { metric, value } => Some((e.t, &**metric, *value)),
            _ => None,
        })
        .collect();
    assert_eq!(
        observed,
        [
            (Us(2_000_000), "server.memory_allocated", 1000),
            (Us(2_000_000), "listener_manager.total_listeners_draining", 3),
            (Us(3_500_000), "server.memory_allocated", 2000),
        ]
    );
    let said: Vec<&str> = loaded.problems.iter().map(|p| &*p.what).collect();
    assert!(said.iter().any(|s| s.starts_with("several series of one metric")), "{said:?}");
    assert!(said.iter().any(|s| s.starts_with("1 points have no number")), "{said:?}");
}

fn convert(r: &Loaded) -> String {
    let mut out = String::new();
    let done = meshdump::evidence::recording::write(r, Default::default(), |l| {
        out.push_str(l);
        out.push('\n');
        Ok::<(), ()>(())
    });
    done.expect("a string");
    out
}

fn keeping_texts(bytes: &[u8]) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "r.jsonl", bytes);
    read(&documents(&[&path]), &Options { texts: true, ..Options::default() })
}

/// Events with bodies by name and hash, since their numbers may differ.
fn shape(r: &Recording) -> Vec<String> {
    let one = |e: &Event| match &e.what {
        What::Push(p) => {
            let list: Vec<String> = p
                .resources
                .iter()
                .map(|x| (r.body(x.body), &x.version))
                .map(|(b, v)| format!("{}={:x}@{v}", b.name, b.hash))
                .collect();
            format!(
                "{:?} {} {} {} {} {} {list:?} -{:?}",
                e.t, e.stream, p.type_name, p.delta, p.version, p.nonce, p.removed
            )
        }
        what => format!("{:?} {} {what:?}", e.t, e.stream),
    };
    r.events.iter().map(one).collect()
}

#[test]
fn the_native_format_keeps_everything() {
    let mut text = String::new();
    let names = |list: &[&str]| -> Vec<String> { list.iter().map(|n| cluster(n)).collect() };
    text += &sotw(1_795_214_165.25, 1, &names(&["a", "b", "c"]));
    text += &format!("{{\"t\":1795214165.5,\"type_url\":\"{CDS}\",\"response_nonce\":\"1\"}}\n");
    text += &sotw(1_795_214_166.0, 2, &names(&["c", "a", "d"]));
    text +=
        &sotw(1_795_214_167.0, 3, &[cluster("a").replace("1s", "2s"), cluster("d"), cluster("d").replace("1s", "3s")]);
    text += &sotw(1_795_214_168.0, 4, &[]);
    text += &format!(
        "{{\"t\":1795214169,\"type_url\":\"{LDS}\",\"system_version_info\":\"8\",\"nonce\":\"5\",\"resources\":[{{\"name\":\"l\",\"version\":\"3\",\"resource\":{{\"name\":\"l\",\"@type\":\"{LDS}\"}}}}],\"removed_resources\":[\"x\"]}}\n"
    );
    let first = keeping_texts(text.as_bytes());
    let native = convert(&first);
    assert!(native.starts_with("{\"k\":\"hdr\""), "{native}");
    assert_eq!(native.lines().filter(|l| l.contains("\"k\":\"res\"")).count(), 7, "each body once: {native}");
    let second = keeping_texts(native.as_bytes());
    assert!(second.problems.is_empty(), "{:?}", second.problems);
    assert_eq!(shape(&first.recording), shape(&second.recording));
    // appended to, cut, and written by a newer version
    let more = load((native.clone() + &native).as_bytes());
    assert_eq!(pushes(&more.recording).len(), 10);
    let cut = load(&native.as_bytes()[..native.len() - 30]);
    assert_eq!(gaps(&cut.recording), [GapReason::Truncated]);
    let newer = native.replace("\"v\":1", "\"v\":9") + "{\"k\":\"thing\",\"t\":1,\"x\":[]}\n";
    let newer = load(newer.as_bytes());
    assert_eq!(pushes(&newer.recording).len(), 5);
    assert!(newer.problems[0].what.contains("newer meshdump"), "{:?}", newer.problems);
    // without its first bodies it is not a clean recording
    let gapped: String = native.lines().filter(|l| !l.contains("\"name\":\"b\"")).map(|l| format!("{l}\n")).collect();
    let gapped = load(gapped.as_bytes());
    assert!(!gaps(&gapped.recording).is_empty());
    // back to responses, and once more
    let mut responses = String::new();
    let line = |l: &str| {
        responses.push_str(l);
        responses.push('\n');
        Ok::<(), ()>(())
    };
    let left_out = meshdump::evidence::recording::write_responses(&second, Default::default(), line).expect("a string");
    assert_eq!(left_out, 0);
    assert_eq!(shape(&load(responses.as_bytes()).recording), shape(&first.recording));
}

#[test]
fn secrets_do_not_leave() {
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let inline = format!(
        r#"{{"@type":"{CDS}","name":"a","transport_socket":{{"name":"t","typed_config":{{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{{"tls_certificates":[{{"private_key":{{"inline_string":"TOPSECRET"}},"certificate_chain":{{"inline_string":"CERT"}}}}]}}}}}}}}"#
    );
    let text = sotw(1.0, 1, &[inline])
        + &format!(
            "{{\"t\":2,\"type_url\":\"{secret}\",\"version_info\":\"1\",\"resources\":[{{\"@type\":\"{secret}\",\"name\":\"s\",\"tls_certificate\":{{\"private_key\":{{\"inline_string\":\"TOPSECRET\"}},\"certificate_chain\":{{\"inline_string\":\"OTHER\"}}}}}}]}}\n"
        );
    let loaded = keeping_texts(text.as_bytes());
    let native = convert(&loaded);
    assert!(
        !native.contains("TOPSECRET")
            && !native.contains("OTHER")
            && native.contains("CERT")
            && native.contains("redacted1"),
        "{native}"
    );
    let mut out = String::new();
    let line = |l: &str| {
        out.push_str(l);
        Ok::<(), ()>(())
    };
    meshdump::evidence::recording::write_responses(&loaded, Default::default(), line).expect("a string");
    assert!(!out.contains("TOPSECRET") && !out.contains("OTHER"), "{out}");
    let again = load(native.as_bytes());
    let body = again.recording.bodies.iter().find(|b| b.kind == XdsType::Secret).expect("the secret");
    let before = loaded.recording.bodies.iter().find(|b| b.kind == XdsType::Secret).expect("the secret");
    assert_eq!((&body.name, body.bytes), (&before.name, before.bytes));
    let Resource::Secret(secret) = &body.resource else { panic!("its form is still there") };
    let Resource::Secret(before) = &before.resource else { panic!("a secret") };
    assert_eq!(secret.meta.weight, before.meta.weight);
}

/// `../captures/sotw` beside the corpus: a tap, a debug log and the stats of one run.
#[test]
fn tap_and_log_of_one_run_agree() {
    let Some(corpus) = std::env::var_os("MESHDUMP_CORPUS") else {
        println!("skipped: MESHDUMP_CORPUS is not set");
        return;
    };
    let folder = Path::new(&corpus).join("../captures/sotw");
    let (tap, log) = (folder.join("tap_0.pb_length_delimited"), folder.join("envoy-debug.log"));
    if !tap.exists() {
        println!("skipped: no capture beside the corpus");
        return;
    }
    agree(&tap, &log);
    let r = read(&documents(&[&tap]), &Options::default());
    assert!(r.problems.is_empty(), "{:?}", r.problems);
    assert_eq!(pushes(&r.recording).len(), 15);
}

/// What the tap says was sent is what the log says was received, accepted and rejected, and when.
fn agree(tap: &Path, log: &Path) {
    let sent = read(&documents(&[tap]), &Options::default());
    let logged = read(&documents(&[log]), &Options::default());
    let answers = |r: &Recording| -> Vec<(XdsType, bool)> {
        r.events
            .iter()
            .filter_map(|e| match &e.what {
                What::Ack { kind, .. } => Some((*kind, true)),
                What::Nack { kind, .. } => Some((*kind, false)),
                _ => None,
            })
            .collect()
    };
    let by_type = |r: &Recording| {
        let mut all = answers(r);
        all.sort();
        all
    };
    assert!(!answers(&sent.recording).is_empty());
    // a log accepts once per watch, and a cluster's acknowledgement waits for its endpoints: so the order differs
    for kind in [XdsType::Listener, XdsType::Cluster, XdsType::RouteConfig] {
        let of = |r: &Recording| by_type(r).into_iter().filter(|(k, _)| *k == kind).collect::<Vec<_>>();
        assert_eq!(of(&sent.recording), of(&logged.recording), "{kind:?}");
    }
    // each listener of each LDS push is one line of the log, at its time
    let mut held: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    let mut expected = Vec::new();
    for (e, p) in pushes(&sent.recording).into_iter().filter(|(_, p)| p.kind == XdsType::Listener) {
        let mut now = std::collections::BTreeMap::new();
        for b in p.resources.iter().map(|x| sent.recording.body(x.body)) {
            now.insert(b.name.to_string(), b.hash);
        }
        for gone in held.keys().filter(|n| !now.contains_key(*n)) {
            expected.push((e.t, gone.clone(), "removed"));
        }
        for (name, hash) in &now {
            let how = match held.get(name) {
                None => "added",
                Some(h) if h == hash => "skipped",
                Some(_) => "changed",
            };
            expected.push((e.t, name.clone(), how));
        }
        held = now;
    }
    use meshdump::model::stream::Applied;
    let mut rejected = 0;
    let seen: Vec<(Us, String, &str)> = logged
        .recording
        .events
        .iter()
        .filter_map(|e| match &e.what {
            What::Applied { kind: XdsType::Listener, name, how, .. } => {
                let how = match how {
                    Applied::Added => "added",
                    Applied::InPlace | Applied::Full | Applied::Updated => "changed",
                    Applied::Skipped => "skipped",
                    Applied::Removed => "removed",
                    Applied::Rejected => {
                        rejected += 1;
                        "changed"
                    }
                };
                Some((e.t, name.to_string(), how))
            }
            _ => None,
        })
        .collect();
    let events = |list: &[(Us, String, &str)]| -> Vec<(String, String)> {
        let mut out: Vec<_> = list.iter().map(|(_, n, h)| (n.clone(), (*h).to_owned())).collect();
        out.sort();
        out
    };
    if rejected == 0 {
        assert_eq!(events(&expected), events(&seen));
    } else {
        // a rejected new listener was never there, so the log cannot say that it was added
        assert_eq!(expected.len(), seen.len(), "{expected:?}\n{seen:?}");
    }
    for ((a, ..), (b, ..)) in expected.iter().zip(&seen) {
        assert!((a.0 - b.0).abs() < 100_000, "{a:?} {b:?}");
    }
    // together they are one recording
    let both = read(&documents(&[tap, log]), &Options::default());
    assert_eq!(both.recording.bodies.len(), sent.recording.bodies.len());
    assert_eq!(answers(&both.recording), answers(&sent.recording));
    assert!(both.recording.events.iter().any(|e| matches!(e.what, What::Drain { .. })));
}

/// Our own capture, made by `a_live_envoy_records_itself`.
#[test]
fn tap_and_log_of_our_own_capture_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/recordings/sotw");
    agree(&folder.join("tap.pb_length_delimited.gz"), &folder.join("envoy.log.gz"));
    what_the_script_did(&folder.join("tap.pb_length_delimited.gz"), &folder.join("envoy.log.gz"));
}

/// What the log of the script in [`a_live_envoy_records_itself`] must tell.
fn what_the_script_did(tap: &Path, log: &Path) {
    use meshdump::model::stream::{Applied, DrainPhase};
    let r = read(&documents(&[tap, log]), &Options::default()).recording;
    let mut applied = Vec::new();
    let mut drains = Vec::new();
    for e in &r.events {
        match &e.what {
            What::Applied { kind: XdsType::Listener, name, how, .. } => applied.push((name.to_string(), *how)),
            What::Drain { name, chains, phase, .. } => drains.push((name.to_string(), *chains, *phase)),
            _ => {}
        }
    }
    let l = |n: &str, how| (n.to_owned(), how);
    assert_eq!(
        applied,
        [
            l("l0", Applied::Added),
            l("l0", Applied::InPlace),
            l("l0", Applied::Full),
            l("l0", Applied::Skipped),
            l("l0", Applied::Skipped),
            l("l1", Applied::Added),
            l("l1", Applied::Removed),
            l("l0", Applied::Skipped),
            l("l0", Applied::Skipped),
            l("l2", Applied::Rejected),
        ]
    );
    drains.sort_by_key(|d| (d.1, d.2, d.0.clone()));
    let d = |n: &str, chains, phase| (n.to_owned(), chains, phase);
    assert_eq!(
        drains,
        [
            d("l0", None, DrainPhase::Begin),
            d("l1", None, DrainPhase::Begin),
            d("l0", None, DrainPhase::End),
            d("l1", None, DrainPhase::End),
            d("l0", Some(1), DrainPhase::Begin),
            d("l0", Some(1), DrainPhase::End),
        ]
    );
    let nacks = r.events.iter().filter(|e| matches!(e.what, What::Nack { .. })).count();
    assert_eq!(nacks, 1);
    assert!(r.bodies.iter().filter(|b| b.invalid.is_some()).all(|b| &*b.name == "l2"), "only l2 is refused");
}

/// Drives a live Envoy (`MESHDUMP_ENVOY`) through a script, with a tap on its ADS cluster and its log at debug: both
/// tell the same. With `MESHDUMP_CAPTURE=FOLDER` the two files are kept there.
#[test]
fn a_live_envoy_records_itself() {
    use meshdump::lab::types::{CLUSTER, LISTENER};
    use meshdump::lab::{Ads, EnvoyProcess, Launch, bootstrap};
    use serde_json::json;
    use std::time::Duration;

    let Some(binary) = std::env::var_os("MESHDUMP_ENVOY").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have an Envoy: set MESHDUMP_ENVOY");
        println!("skipped: MESHDUMP_ENVOY is not set");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let ads = Ads::start().expect("a server");
    let mut config = bootstrap(ads.port(), false);
    config["dynamic_resources"]["ads_config"]["set_node_on_first_message_only"] = json!(true);
    config["static_resources"]["clusters"][0]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tap",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tap.v3.Tap",
            "common_config": {"static_config": {"match": {"any_match": true}, "output_config": {
                "streaming": true, "max_buffered_rx_bytes": 2_147_483_647_u32, "max_buffered_tx_bytes": 2_147_483_647_u32,
                "sinks": [{"format": "PROTO_BINARY_LENGTH_DELIMITED", "file_per_tap": {"path_prefix": at("tap")}}]}}},
            "transport_socket": {"name": "raw", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}}});
    let arguments = ["--component-log-level", "config:debug,upstream:debug", "--drain-time-s", "1", "--log-path"];
    let arguments = arguments.iter().map(|a| (*a).to_owned()).chain([at("log")]).collect();
    let chain = |name: &str, sni: &str, prefix: &str| {
        json!({"name": name, "filter_chain_match": {"server_names": [sni]}, "filters": [{"name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": prefix, "cluster": "c0"}}]})
    };
    let listener = |name: &str, chains: Vec<serde_json::Value>, extra: serde_json::Value| {
        let mut l = json!({"@type": LISTENER, "name": name, "bind_to_port": false,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1000 + u32::from(name.as_bytes()[1])}},
            "listener_filters": [{"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}],
            "filter_chains": chains});
        if let (Some(l), Some(extra)) = (l.as_object_mut(), extra.as_object()) {
            l.extend(extra.clone());
        }
        l
    };
    let metadata = json!({"metadata": {"filter_metadata": {"x": {"a": 1}}}});
    let base = || vec![chain("a", "a.x", "one"), chain("b", "b.x", "one")];
    let changed = || vec![chain("a", "a.x", "one"), chain("b", "b.x", "two")];
    let cluster = json!({"@type": CLUSTER, "name": "c0", "type": "STATIC", "connect_timeout": "1s"});
    ads.set(CLUSTER, &[cluster]).expect("a cluster");
    ads.set(LISTENER, &[listener("l0", base(), json!({}))]).expect("a listener");
    let launch = Launch { binary, workers: 1, bootstrap: config, arguments };
    let envoy = EnvoyProcess::start(&launch).expect("an Envoy");
    let pause = || {
        std::thread::sleep(Duration::from_millis(700));
        assert!(ads.all_answered());
    };
    pause();
    let l0 = || listener("l0", changed(), metadata.clone());
    let l1 = || listener("l1", base(), json!({}));
    let bad = || listener("l2", vec![chain("a", "a.x", "one"), chain("b", "a.x", "one")], json!({}));
    for state in [
        vec![listener("l0", changed(), json!({}))],
        vec![l0()],
        vec![l0()],
        vec![l0(), l1()],
        vec![l0()],
        vec![l0(), bad()],
    ] {
        // the version moves with every push, also when nothing else does
        ads.set(LISTENER, &state).expect("listeners");
        pause();
    }
    std::thread::sleep(Duration::from_millis(1500));
    // both files are buffered: only an Envoy that ends by itself writes them whole
    let _ = envoy.post("/quitquitquit");
    std::thread::sleep(Duration::from_millis(1000));
    drop(envoy);
    let tap = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|e| e.expect("an entry").path())
        .find(|p| p.extension().is_some_and(|e| e == "pb_length_delimited"))
        .expect("a tap");
    let log = folder.path().join("log");
    if let Some(keep) = std::env::var_os("MESHDUMP_CAPTURE").map(PathBuf::from) {
        for (from, to) in [(&tap, "tap.pb_length_delimited.gz"), (&log, "envoy.log.gz")] {
            let mut gz = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
            gz.write_all(&std::fs::read(from).expect("a file")).expect("a buffer");
            std::fs::write(keep.join(to), gz.finish().expect("a buffer")).expect("the capture");
        }
    }
    agree(&tap, &log);
    what_the_script_did(&tap, &log);
}

#[test]
fn a_recording_of_our_own_says_what_envoy_it_was() {
    let mut first = keeping_texts(sotw(1.0, 1, &[cluster("a")]).as_bytes());
    let node = Node { id: "sidecar~1".into(), cluster: "web".into(), ..Node::default() };
    let info = ServerInfo {
        version: "c0ffee/1.38.3/Clean/RELEASE/BoringSSL".into(),
        concurrency: Some(3),
        drain_time_s: Some(45),
        drain_strategy: "Immediate".into(),
        node,
        ..ServerInfo::default()
    };
    first.recording.server_info = Some(info.clone());
    // twice over: what is read is written again
    let again = keeping_texts(convert(&first).as_bytes());
    let third = load(convert(&again).as_bytes());
    for read in [&again, &third] {
        let read = read.recording.server_info.as_ref().unwrap();
        let of = |i: &ServerInfo| (i.concurrency, i.drain_time_s, i.drain_strategy.to_lowercase(), i.node.clone());
        assert_eq!((&*read.version, of(read)), ("1.38.3", of(&info)));
    }
}

#[test]
fn a_second_node_is_a_problem() {
    let request =
        |id: &str| format!("{{\"t\":0,\"type_url\":\"{CDS}\",\"node\":{{\"id\":\"{id}\"}},\"resource_names\":[]}}\n");
    let one = request("a") + &sotw(1.0, 1, &[cluster("a")]) + &request("a");
    let loaded = load(one.as_bytes());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    assert_eq!(&*loaded.recording.server_info.unwrap().node.id, "a");
    let two = one + &request("b") + &sotw(2.0, 2, &[cluster("b")]) + &request("b");
    let loaded = load(two.as_bytes());
    let what: Vec<&str> = loaded.problems.iter().map(|p| &*p.what).collect();
    assert_eq!(what, ["`b` asked too, after `a`: both are read as one Envoy"]);
}
