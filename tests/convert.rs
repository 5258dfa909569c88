//! `meshdump convert` end to end.

use std::path::Path;
use std::process::{Command, Output};

fn convert(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .arg("convert")
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn stderr(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

const LINE: &str = r#"{"t":1.5,"type_url":"type.googleapis.com/envoy.config.cluster.v3.Cluster","version_info":"1","nonce":"1","resources":[{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"a"}]}"#;

#[test]
fn there_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    std::fs::write(at.join("in.jsonl"), format!("{LINE}\n")).expect("a file");
    let out = convert(at, &["in.jsonl", "--out", "rec.jsonl.gz"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert_eq!(stderr(&out), "1 push with 1 resource, 1 distinct; no other events\n");
    let first = std::fs::read(at.join("rec.jsonl.gz")).expect("the file");
    let again = convert(at, &["in.jsonl", "--out", "rec.jsonl.gz"]);
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(std::fs::read(at.join("rec.jsonl.gz")).expect("the file"), first, "the same bytes each time");
    let out = convert(at, &["rec.jsonl.gz", "--to", "responses", "--out", "-"]);
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    assert_eq!(text.trim_end().replace("1.500000", "1.5"), LINE);
    // a second run behind the first
    let out = convert(at, &["in.jsonl", "--append", "--out", "rec.jsonl.gz"]);
    assert_eq!(out.status.code(), Some(0));
    let out = convert(at, &["rec.jsonl.gz", "--out", "-"]);
    assert_eq!(stderr(&out), "2 pushes with 2 resources, 1 distinct; no other events\n");
}

#[test]
fn exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    std::fs::write(at.join("in.jsonl"), format!("{LINE}\n{}\n", &LINE[..60])).expect("a file");
    std::fs::write(at.join("text"), "hello\n").expect("a file");
    for (args, code) in [
        (&["in.jsonl", "--out", "-"][..], 0),
        (&["in.jsonl", "--out", "-", "--strict"], 3),
        (&["text", "--out", "-"], 3),
        (&["nothing", "--out", "-"], 3),
        (&["in.jsonl"], 2),
        (&["in.jsonl", "--out", "-", "--log-tz", "Mars"], 2),
        (&["in.jsonl", "--out", "no/such/folder"], 4),
    ] {
        let out = convert(at, args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", stderr(&out));
    }
    let out = convert(at, &["in.jsonl", "--out", "-"]);
    assert!(stderr(&out).contains("in.jsonl: byte 195 (line 2)"), "{}", stderr(&out));
}
