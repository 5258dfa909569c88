//! Recordings read from files, through the library's entry point.

use std::io::Write;
use std::path::{Path, PathBuf};

use meshdump::evidence::recording::{Loaded, Options, read};
use meshdump::input::{Document, Limits, collect};
use meshdump::model::stream::{Event, GapReason, Push, Recording, Resource, Us, What, XdsType};

const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

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
    case(vec![w[0], w[1], w[2], w[4], w[5]], GapReason::Sequence, "1 responses are missing");
    case(vec![w[0], w[1], w[2], &w[3][..40]], GapReason::Truncated, "ends inside");
    let broken = format!("{}\n", &w[2][..60]);
    case(vec![w[0], w[1], &broken, w[2], w[3]], GapReason::Truncated, "broken");
    let restart = w[0].replace("\"t\":1,", "\"t\":9,").replace("c1", "c9");
    case(vec![w[0], w[1], w[2], w[3], w[4], &restart], GapReason::Reconnect, "begins again");
    let back = w[4].replace("\"t\":5,", "\"t\":2.5,");
    case(vec![w[0], w[1], w[2], w[3], &back], GapReason::OutOfOrder, "backwards");
    let doubled = load([w[0], w[1], w[1], w[2]].concat().as_bytes());
    assert_eq!(pushes(&doubled.recording).len(), 3);
    assert!(doubled.problems[0].what.contains("stand twice"));
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
