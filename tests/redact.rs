//! `meshdump redact`: no planted secret survives in any form, in the redacted evidence or in any output of any verb, and
//! the numbers stay what they were.

mod common;

use std::fs;

use common::Bench;
use common::planted::{Planter, base64, companions, inflated, nothing_survives, planted, recording, survivors};
use serde_json::{Value, json};

/// Characters of a JSON text's planted secrets as `\u` escapes.
fn escaped(text: &str) -> String {
    text.replace("Pl4nt", "\\u0050\\u006c4\\u006et")
}

#[test]
fn the_test_finds_what_it_looks_for() {
    let secrets = vec!["Pl4nt000qWzXv7Kd".to_owned()];
    for form in [
        "xx Pl4nt000qWzXv7Kd".to_owned(),
        format!("\"{}\"", base64(b"ab Pl4nt000qWzXv7Kd")),
        "%50l4nt000qWzXv7Kd".to_owned(),
        escaped("Pl4nt000qWzXv7Kd"),
    ] {
        assert_eq!(survivors(form.as_bytes(), &secrets).len(), 1, "{form}");
    }
}

const FORMATS: [&str; 14] = [
    "text",
    "json",
    "html",
    "md",
    "csv",
    "ndjson",
    "pprof",
    "folded",
    "folded-json",
    "openmetrics",
    "trace",
    "sarif",
    "junit",
    "github",
];

#[test]
fn no_planted_secret_survives() {
    let mut p = Planter::default();
    let dump = planted(&mut p);
    let in_dump = p.0.len();
    let files = companions(&mut p);
    let stream = recording(&mut p);
    let secrets = p.0;
    assert!(secrets.len() >= 60, "only {}", secrets.len());

    let bench = Bench::new();
    let pretty = serde_json::to_string_pretty(&dump).expect("JSON");
    let mut members: Vec<(&str, &[u8])> = vec![("pod/config_dump.json", pretty.as_bytes())];
    let names: Vec<String> = files.iter().map(|(n, _)| format!("pod/{n}")).collect();
    members.extend(names.iter().zip(&files).map(|(n, (_, b))| (n.as_str(), b.as_bytes())));
    bench
        .put("dump.json", &pretty)
        .put("escaped.json", escaped(&pretty))
        .put("dump.json.gz", common::gzip(&pretty))
        .put("bundle.tar.gz", common::gzip(common::tar_of(&members)))
        .put("recording.jsonl", &stream);
    for (name, text) in &files {
        bench.put(&format!("folder/{name}"), text);
    }
    bench.put("folder/config_dump.json", &pretty);
    let planted_in = |name: &str| survivors(&inflated(&bench.path(name)), &secrets).len();
    assert_eq!(planted_in("dump.json"), in_dump, "all of them can be found before");
    assert_eq!(planted_in("escaped.json"), in_dump);

    for (input, out) in [
        ("dump.json", "r.json"),
        ("escaped.json", "e.json"),
        ("dump.json.gz", "r.json.gz"),
        ("bundle.tar.gz", "r.tar.gz"),
        ("recording.jsonl", "r.jsonl"),
        ("folder", "r"),
    ] {
        let run =
            bench.run(&["redact", input, "--out", out, "--map", "map.json", "-o", "text", "-o", "json=redact.json"]);
        assert_eq!(run.code, 0, "{input}\n{}{}", run.stdout, run.stderr);
        nothing_survives("the report", run.stdout.as_bytes(), &secrets);
        nothing_survives("the report's JSON", &fs::read(bench.path("redact.json")).expect("a report"), &secrets);
        nothing_survives("the map", &fs::read(bench.path("map.json")).expect("a map"), &secrets);
        if input == "folder" {
            let mut all = Vec::new();
            for entry in fs::read_dir(bench.path("r")).expect("a folder") {
                all.extend(fs::read(entry.expect("an entry").path()).expect("a file"));
            }
            nothing_survives(input, &all, &secrets);
        } else {
            nothing_survives(input, &inflated(&bench.path(out)), &secrets);
        }
        for other in ["analyze", "ls"] {
            for input in [input, out] {
                for format in FORMATS {
                    let run = bench.run(&[other, input, "-o", &format!("{format}=x.out")]);
                    if let Ok(bytes) = fs::read(bench.path("x.out")) {
                        nothing_survives(&format!("{other} {input} -o {format}"), &bytes, &secrets);
                        fs::remove_file(bench.path("x.out")).expect("removed");
                    }
                    nothing_survives(&format!("{other} {input} -o {format}"), run.stderr.as_bytes(), &secrets);
                }
            }
        }
    }
}

/// What the command line writes in `format`, with all its messages.
fn everything(bench: &Bench, args: &[&str], format: &str) -> Vec<u8> {
    let spec = format!("{format}=x.out");
    let run = bench.run(&[args, &["-v", "-o", &spec]].concat());
    // a format may have nothing to say about a kind of report
    let ends: &[i32] = if ["text", "json"].contains(&format) && args[0] != "report" { &[0, 1] } else { &[0, 1, 2] };
    assert!(ends.contains(&run.code), "{args:?} -o {format} ends with {}: {}", run.code, run.stderr);
    let mut all = [run.stdout.as_bytes(), run.stderr.as_bytes()].concat();
    let path = bench.path("x.out");
    if path.exists() {
        let written = fs::read(&path).expect("an output");
        assert!(format != "text" || written.len() > 50, "{args:?} says nothing");
        all.extend(written);
        all.extend(inflated(&path));
        fs::remove_file(path).expect("removed");
    }
    all
}

#[test]
fn no_verb_shows_a_planted_secret() {
    let mut p = Planter::default();
    let dump = planted(&mut p);
    let files = companions(&mut p);
    let stream = recording(&mut p);
    let secrets = p.0;
    let bench = Bench::new();
    let pretty = serde_json::to_string_pretty(&dump).expect("JSON");
    // the same resources with other secrets, as a change to be explained
    let other = |text: &str| text.replace("qWzXv7Kd", "qWzXv7Ke");
    let maps = json!([{"id": 1, "type": "hash", "name": "m", "flags": 0, "bytes_key": 4, "bytes_value": 8,
        "max_entries": 100, "bytes_memlock": 8800, "pids": [{"pid": 1, "comm": "agent"}]}]);
    let later = other(&stream).replace("\"t\":1.0", "\"t\":11.0").replace("\"t\":2.0", "\"t\":12.0");
    bench
        .put("dump.json", &pretty)
        .put("other.json", other(&pretty))
        .put("recording.jsonl", format!("{stream}{later}"))
        .put("later.jsonl", &later)
        .put("maps.json", maps.to_string())
        .put("node/maps.json", maps.to_string())
        .put("node/config_dump.json", &pretty);
    for (name, text) in &files {
        bench.put(&format!("folder/{name}"), text);
    }
    bench.put("folder/config_dump.json", &pretty);
    let verbs: [&[&str]; 15] = [
        &["analyze", "folder", "--all", "--limit", "1Mi"],
        &["analyze", "node"],
        &["ls", "folder"],
        &["diff", "dump.json", "other.json", "--full", "--order"],
        &["diff", "folder", "other.json", "--full"],
        &["diff", "recording.jsonl", "later.jsonl", "--full"],
        &["check", "folder", "--full", "--budget", "findings == 0", "--budget", "allocated < 1"],
        &["check", "other.json", "--full", "--tolerance", "0%", "--baseline", "dump.json"],
        &["replay", "recording.jsonl"],
        &["replay", "recording.jsonl", "--bootstrap", "dump.json", "--base", "dump.json", "--limit", "1Mi"],
        &["whatif", "recording.jsonl", "--policy", "fixed-window:window=5s", "--set", "drain-time=5s"],
        &["whatif", "scope", "folder", "--scope", "own-namespace"],
        &["bpf", "maps.json"],
        &["bpf", "simulate", "recording.jsonl", "--policy", "kmesh-0.5"],
        &["convert", "recording.jsonl", "--out", "converted.jsonl"],
    ];
    for verb in verbs {
        for format in FORMATS {
            let shown = if verb[0] == "convert" && format == "text" {
                let run = bench.run(&[verb, &["-v"]].concat());
                assert_eq!(run.code, 0, "{}", run.stderr);
                [run.stdout.as_bytes(), run.stderr.as_bytes(), &inflated(&bench.path("converted.jsonl"))].concat()
            } else if verb[0] == "convert" {
                continue;
            } else {
                everything(&bench, verb, format)
            };
            nothing_survives(&format!("{verb:?} -o {format}"), &shown, &secrets);
        }
    }
    // back to discovery responses, saved reports, a baseline
    let back = bench.run(&["convert", "converted.jsonl", "--to", "responses", "--out", "-"]);
    assert!(back.stdout.contains("type_url"), "{}", back.stderr);
    nothing_survives("convert --to responses", back.stdout.as_bytes(), &secrets);
    bench.run(&["check", "folder", "--update-baseline", "--baseline", "baseline.json"]);
    nothing_survives("the baseline", &fs::read(bench.path("baseline.json")).expect("a baseline"), &secrets);
    for verb in verbs.iter().filter(|v| v[0] != "convert") {
        bench.run(&[verb, &["-o", "json=saved.json"][..]].concat());
        for format in FORMATS.iter().filter(|f| !["text", "json"].contains(f)) {
            let shown = everything(&bench, &["report", "saved.json"], format);
            nothing_survives(&format!("report of {verb:?} -o {format}"), &shown, &secrets);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_key_others() {
    let bench = Bench::new();
    bench
        .put("d.json", common::dump_of("node-1", &["payments", "ledger"]))
        .put("key", "0123456789abcdef0123456789abcdef");
    for out in ["a.json", "b.json"] {
        bench.run(&["redact", "d.json", "--out", out]).ends(0, "");
    }
    bench.run(&["redact", "d.json", "--out", "c.json", "--key", "key"]).ends(0, "");
    let read = |n: &str| fs::read_to_string(bench.path(n)).expect("the output");
    assert_eq!(read("a.json"), read("b.json"));
    assert_ne!(read("a.json"), read("c.json"));
    assert!(!read("a.json").contains("payments") && !read("c.json").contains("ledger"));
    assert_eq!(read("a.json").len(), read("d.json").len());
}

#[test]
fn one_name_is_one_name_everywhere() {
    let bench = Bench::new();
    let stats = "cluster.payments.upstream_cx_total: 7\nserver.live: 1\n";
    let dump = common::dump_of("node-1", &["payments", "ledger"]);
    bench.put("d/config_dump.json", &dump).put("d/stats.txt", stats);
    bench.run(&["redact", "d", "--out", "r", "--map", "map.json"]).ends(0, "");
    let map: Value = serde_json::from_str(&fs::read_to_string(bench.path("map.json")).expect("a map")).expect("JSON");
    let (pseudonym, _) = map.as_object().expect("a table").iter().find(|(_, v)| *v == "payments").expect("payments");
    let read = |n: &str| fs::read_to_string(bench.path(n)).expect("the output");
    assert!(read("r/stats.txt").starts_with(&format!("cluster.{pseudonym}.upstream_cx_total: 7\n")));
    assert!(read("r/config_dump.json").contains(&format!("\"name\":\"{pseudonym}\"")));
}

/// The replay of a redacted recording is that of the recording, in either form.
#[test]
fn a_redacted_recording_replays_the_same() {
    let bench = Bench::new();
    bench.run(&["generate", "contour", "--ingresses", "8", "--tls", "--out", "made"]);
    bench.run(&["convert", "made/recording.jsonl.gz", "--out", "native.jsonl.gz"]);
    for (i, input) in ["made/recording.jsonl.gz", "native.jsonl.gz"].into_iter().enumerate() {
        let out = format!("redacted-{i}.jsonl.gz");
        let run = bench.run(&["redact", input, "--out", &out, "-o", "json"]);
        let report = run.ends(0, "").json();
        assert_eq!(report["identical"], true);
        assert!(report["numbers"].as_u64() > Some(50) && report["names"].as_u64() > Some(50), "{report}");
        let figures = |path: &str| {
            let run = bench.run(&["replay", path, "-o", "json"]).json();
            assert!(run["runs"][0]["pushes"].as_array().is_some_and(|p| p.len() > 10), "{path}");
            [run["runs"][0]["timeline"].clone(), run["runs"][0]["counters"].clone()]
        };
        assert_eq!(figures(input), figures(&out), "{input}");
    }
}

/// Objects of a cluster find each other by labels and names: what each workload sees, and what a scope would save, stays.
#[test]
fn a_redacted_cluster_is_scoped_the_same() {
    /// Every number of a report, by its place.
    fn numbers(value: &Value, at: &str, out: &mut Vec<(String, String)>) {
        match value {
            Value::Number(n) => out.push((at.to_owned(), n.to_string())),
            Value::Array(list) => list.iter().for_each(|v| numbers(v, at, out)),
            Value::Object(map) => map.iter().for_each(|(k, v)| numbers(v, &format!("{at}.{k}"), out)),
            _ => {}
        }
    }
    let bench = Bench::new();
    for case in [&["istio", "--services", "30"][..], &["knative", "--revisions", "6"], &["bookinfo", "--sidecars"]] {
        bench.run(&[&["generate"], case, &["--out", case[0]]].concat()).ends(0, "");
        let (from, to) = (format!("{}/kubernetes.json", case[0]), format!("{}.json", case[0]));
        let report = bench.run(&["redact", &from, "--out", &to, "-o", "json"]).ends(0, "").json();
        assert_eq!(report["identical"], true, "{report}");
        let figures = |path: &str| {
            let run = bench.run(&["whatif", "scope", path, "--scope", "own-namespace", "-o", "json"]).json();
            let mut out = Vec::new();
            for part in ["workloads", "bill", "growth", "knative"] {
                numbers(&run[part], part, &mut out);
            }
            assert!(out.len() > 20, "{run}");
            out.sort();
            out
        };
        assert_eq!(figures(&from), figures(&to), "{case:?}");
    }
}

#[test]
fn what_cannot_be_redacted_is_refused() {
    let bench = Bench::new();
    bench.put("tap.pb", b"\x0a\x05hello\x00\x01\x02\xff\xfe").put("d.json", common::dump());
    assert_eq!(bench.run(&["redact", "tap.pb", "--out", "x"]).code, 3);
    assert_eq!(bench.run(&["redact", "d.json", "--out", "d.json"]).code, 2);
    assert_eq!(bench.run(&["redact", "absent.json", "--out", "x"]).code, 3);
}

#[test]
fn the_numbers_of_the_corpus_stay() {
    let checked = common::corpus(|path| {
        let bench = Bench::new();
        let run = bench.run(&["redact", &path.to_string_lossy(), "--out", "out"]);
        // 3: it is no evidence
        (![0, 3].contains(&run.code)).then(|| format!("{}\n{}{}", run.code, run.stdout, run.stderr))
    });
    if let Some((files, wrong)) = checked {
        assert!(files > 100 && wrong.is_empty(), "{} of {files}:\n{}", wrong.len(), wrong.join("\n"));
    }
}
