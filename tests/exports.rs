//! Formats made of a report's JSON, each read back by something that knows nothing of how it was written.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;

use common::{Bench, Run, cluster_entry, configs, dump, section};
use serde_json::{Value, json};

const GATEWAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/envoy/gateway");
const BOTH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/envoy");

/// The report with every resource.
fn full(input: &str) -> Value {
    Bench::new().run(&["analyze", input, "--all", "-o", "json"]).json()
}

fn export(input: &str, format: &str) -> Run {
    let run = Bench::new().run(&["analyze", input, "-o", format]);
    run.ends(0, "");
    run
}

fn resources(report: &Value) -> Vec<&Value> {
    let proxies = report["proxies"].as_array().expect("proxies");
    proxies.iter().flat_map(|p| p["resources"].as_array().expect("resources")).collect()
}

fn number(v: &Value) -> u64 {
    v.as_u64().expect("a number")
}

#[test]
fn ndjson_has_every_resource() {
    let report = full(BOTH);
    let lines: Vec<Value> =
        export(BOTH, "ndjson").stdout.lines().map(|l| serde_json::from_str(l).expect("one object per line")).collect();
    let wanted = resources(&report);
    assert_eq!(lines.len(), wanted.len());
    for (line, wanted) in lines.iter().zip(wanted) {
        for key in ["kind", "name", "namespace", "owner", "state", "bytes", "retained_bytes", "json_bytes", "source"] {
            assert_eq!(line[key], wanted[key], "{key}");
        }
        assert!(line["proxy"].as_str().is_some_and(|p| !p.is_empty()));
    }
}

/// Rows of CSV, read by RFC 4180 and nothing of ours.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    rows
}

#[test]
fn csv_has_every_resource() {
    let report = full(GATEWAY);
    let rows = csv_rows(&export(GATEWAY, "csv").stdout);
    let wanted = resources(&report);
    assert_eq!(rows.len(), wanted.len() + 1);
    let column = |name: &str| rows[0].iter().position(|c| c == name).expect("a column");
    for (row, wanted) in rows[1..].iter().zip(wanted) {
        assert_eq!(row.len(), rows[0].len());
        assert_eq!(row[column("name")], wanted["name"].as_str().expect("a name"));
        assert_eq!(row[column("bytes")], wanted["bytes"].to_string());
        assert_eq!(row[column("line")], wanted["source"]["line"].to_string());
    }
}

#[test]
fn csv_has_no_formulas() {
    let names = ["=1+1", "+1", "-1", "@SUM(A1)", "a,b", "say \"x\"", "two\nlines"];
    let clusters: Vec<_> = names.iter().map(|n| cluster_entry(common::cluster(n))).collect();
    let bench = Bench::new();
    let dump = configs(vec![section("ClustersConfigDump", json!({"dynamic_active_clusters": clusters}))]);
    bench.put("dump.json", dump.to_string());
    let rows = csv_rows(&bench.run(&["analyze", "dump.json", "-o", "csv"]).stdout);
    let got: HashSet<&str> = rows[1..].iter().map(|r| r[2].as_str()).collect();
    let wanted = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "a,b", "say \"x\"", "two\\u{a}lines"];
    assert_eq!(got, wanted.into_iter().collect());
}

/// What the sums of a report are by stack of frames down to the resource, proxies apart.
fn by_stack(report: &Value) -> BTreeMap<String, u64> {
    let or = |v: &Value, empty: &str| match v.as_str().expect("text") {
        "" => empty.to_owned(),
        text => text.to_owned(),
    };
    let mut out = BTreeMap::new();
    // what costs nothing has no stack
    for r in resources(report).iter().filter(|r| number(&r["bytes"]) > 0) {
        let stack = [or(&r["namespace"], "(no namespace)"), or(&r["kind"], "-"), or(&r["name"], "(no name)")];
        *out.entry(stack.join(";")).or_default() += number(&r["bytes"]);
    }
    out
}

#[test]
fn folded_stacks_are_the_heap() {
    let report = full(GATEWAY);
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    for line in export(GATEWAY, "folded").stdout.lines() {
        let (stack, bytes) = line.rsplit_once(' ').expect("a stack and a number");
        *got.entry(stack.to_owned()).or_default() += bytes.parse::<u64>().expect("bytes");
    }
    let sum: u64 = got.values().sum();
    assert_eq!(sum, number(&report["proxies"][0]["memory"]["allocated"]["bytes"]), "nothing is missing");
    for (stack, bytes) in by_stack(&report) {
        assert_eq!(got.get(&stack), Some(&bytes), "{stack}");
    }
}

#[test]
fn folded_json_goes_on_to_fields() {
    let report = full(GATEWAY);
    let text = export(GATEWAY, "folded-json").stdout;
    let sum: u64 = text.lines().map(|l| l.rsplit_once(' ').expect("a number").1.parse::<u64>().expect("bytes")).sum();
    // a table's fields have its virtual hosts in them, which are rows of their own besides
    let written: u64 = resources(&report).iter().map(|r| number(&r["json_bytes"])).sum();
    assert!(sum >= written && sum < written * 2, "{sum} for {written}");
    assert!(text.contains(";cluster;transport_socket;typed_config "), "fields are frames");
}

/// A protobuf message as its fields, by the encoding's own rules: number, and varint or bytes.
fn message(mut bytes: &[u8]) -> Vec<(u64, Result<u64, &[u8]>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let (first, rest) = bytes.split_first().expect("a varint ends");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Ok(varint(&mut bytes)),
            2 => {
                let len = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(len);
                bytes = rest;
                Err(value)
            }
            other => panic!("wire type {other} is in no field of profile.proto that is used"),
        };
        out.push((key >> 3, value));
    }
    out
}

/// A repeated number, packed or not.
fn numbers(fields: &[(u64, Result<u64, &[u8]>)], number: u64) -> Vec<u64> {
    let mut out = Vec::new();
    for (_, value) in fields.iter().filter(|(n, _)| *n == number) {
        match value {
            Ok(n) => out.push(*n),
            Err(packed) => {
                // a packed list is what a message of varints without keys would be
                let mut value = 0_u64;
                let mut shift = 0;
                for b in *packed {
                    value |= u64::from(b & 0x7f) << shift;
                    shift += 7;
                    if b & 0x80 == 0 {
                        out.push(value);
                        (value, shift) = (0, 0);
                    }
                }
            }
        }
    }
    out
}

#[test]
fn pprof_decodes_to_the_same_stacks() {
    let bench = Bench::new();
    bench.run(&["analyze", GATEWAY, "-o", "pprof=mesh.pb.gz"]).ends(0, "");
    let gz = std::fs::read(bench.path("mesh.pb.gz")).expect("a profile");
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(gz.as_slice()).read_to_end(&mut raw).expect("gzip");
    let profile = message(&raw);
    let parts = |n: u64| -> Vec<&[u8]> {
        profile.iter().filter(|(k, _)| *k == n).map(|(_, v)| v.expect_err("a message or text")).collect()
    };
    let strings: Vec<&str> = parts(6).into_iter().map(|s| std::str::from_utf8(s).expect("UTF-8")).collect();
    assert_eq!(strings[0], "", "the format asks for it");
    let one = |fields: &[(u64, Result<u64, &[u8]>)], n: u64| numbers(fields, n).first().copied().unwrap_or(0);
    let types: Vec<[&str; 2]> = parts(1)
        .iter()
        .map(|t| message(t))
        .map(|t| [strings[one(&t, 1) as usize], strings[one(&t, 2) as usize]])
        .collect();
    assert_eq!(types, [["heap", "bytes"], ["json", "bytes"], ["resources", "count"]]);
    assert_eq!(strings[one(&profile, 14) as usize], "heap");
    let functions: BTreeMap<u64, &str> =
        parts(5).iter().map(|f| message(f)).map(|f| (one(&f, 1), strings[one(&f, 2) as usize])).collect();
    let locations: BTreeMap<u64, u64> = parts(4)
        .iter()
        .map(|l| message(l))
        .map(|l| {
            let line = l.iter().find(|(n, _)| *n == 4).expect("a line").1.expect_err("a message");
            (one(&l, 1), one(&message(line), 1))
        })
        .collect();
    assert!(!locations.contains_key(&0) && !functions.contains_key(&0), "0 is no id");
    let mut heap: BTreeMap<String, u64> = BTreeMap::new();
    let mut sums = [0_u64; 3];
    for sample in parts(2) {
        let sample = message(sample);
        let values = numbers(&sample, 2);
        assert_eq!(values.len(), 3);
        sums.iter_mut().zip(&values).for_each(|(s, v)| *s += v);
        let mut frames: Vec<&str> = numbers(&sample, 1).iter().map(|id| functions[&locations[id]]).collect();
        frames.reverse();
        if values[0] > 0 {
            *heap.entry(frames.join(";")).or_default() += values[0];
        }
    }
    let report = full(GATEWAY);
    assert_eq!(sums[0], number(&report["proxies"][0]["memory"]["allocated"]["bytes"]));
    assert_eq!(sums[2], resources(&report).len() as u64);
    for (stack, bytes) in by_stack(&report) {
        assert_eq!(heap.get(&stack), Some(&bytes), "{stack}");
    }
}

#[test]
fn openmetrics_follow_the_grammar() {
    for input in [GATEWAY, BOTH] {
        let text = export(input, "openmetrics").stdout;
        assert!(text.ends_with("# EOF\n"));
        let mut family = String::new();
        let mut families = HashSet::new();
        let mut points = HashSet::new();
        for line in text.lines().filter(|l| *l != "# EOF") {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (keyword, name, value) =
                    (words.next().expect("a keyword"), words.next().expect("a name"), words.next().expect("a value"));
                match keyword {
                    "TYPE" => {
                        assert_eq!(value, "gauge");
                        assert!(families.insert(name.to_owned()), "{name} twice");
                        family = name.to_owned();
                    }
                    "UNIT" => assert!(name == family && name.ends_with(&format!("_{value}")), "{line}"),
                    "HELP" => assert_eq!(name, family),
                    other => panic!("{other}"),
                }
                continue;
            }
            let (name, rest) = line.split_once('{').expect("labels");
            let (labels, value) = rest.rsplit_once("} ").expect("a value");
            assert_eq!(name, family, "a point belongs to the family above it");
            assert!(value.parse::<u64>().is_ok(), "{line}");
            assert!(points.insert((name.to_owned(), labels.to_owned())), "{line} twice");
        }
        assert!(families.contains("meshdump_allocated_bytes"));
    }
}

#[test]
fn markdown_keeps_names_in_code() {
    let names = [
        "<script>x</script>",
        "a|b",
        "`tick`",
        "@maintainer",
        "#1",
        "![x](http://x/y.png)",
        "a\u{202e}b",
        "\u{1b}[31m",
    ];
    let clusters: Vec<_> = names.iter().map(|n| cluster_entry(common::cluster(n))).collect();
    let bench = Bench::new();
    let dump = configs(vec![section("ClustersConfigDump", json!({"dynamic_active_clusters": clusters}))]);
    bench.put("dump.json", dump.to_string());
    let text = bench.run(&["analyze", "dump.json", "-o", "md"]).stdout;
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    for line in text.lines() {
        // what is left when code spans are taken out has no markup but ours
        let mut outside = String::new();
        let mut rest = line;
        while let Some(at) = rest.find('`') {
            outside.push_str(&rest[..at]);
            let fence = rest[at..].len() - rest[at..].trim_start_matches('`').len();
            let body = &rest[at + fence..];
            let close = "`".repeat(fence);
            let mut from = 0;
            let end = loop {
                let i = from + body[from..].find(&close).unwrap_or_else(|| panic!("an open code span in {line}"));
                let run = body[i..].len() - body[i..].trim_start_matches('`').len();
                if run == fence {
                    break i;
                }
                from = i + run;
            };
            rest = &body[end + fence..];
        }
        outside.push_str(rest);
        for bad in ["<script", "@maintainer", "![", "](http"] {
            assert!(!outside.contains(bad), "{bad} in {line}");
        }
        if line.starts_with('|') && line.contains("cluster") {
            let cells = line.replace("\\|", "").matches('|').count();
            assert!([5, 7].contains(&cells), "{cells} bars in {line}");
        }
    }
}

#[test]
fn a_saved_report_gives_the_same() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    bench.run(&["analyze", "dump.json", "--all", "-o", "json=saved.json"]).ends(0, "");
    for format in ["md", "csv", "ndjson", "folded", "openmetrics", "html"] {
        let fresh = bench.run(&["analyze", "dump.json", "--all", "-o", format]);
        let saved = bench.run(&["report", "saved.json", "-o", format]);
        saved.ends(0, "");
        // fields of small resources are broken down only where they are asked for
        if format != "html" {
            assert_eq!(saved.stdout, fresh.stdout, "{format}");
        }
    }
    let many = bench.run(&["report", "saved.json", "saved.json", "-o", "html"]);
    assert_eq!(many.stdout.matches("estimated allocated").count(), 2);
}

#[test]
fn what_cannot_be_shown_is_said() {
    let bench = Bench::new();
    bench.put("dump.json", dump()).put("broken.json", "{\"api_version\":").put("other.json", "{\"a\": 1}");
    bench
        .run(&["report", "broken.json", "-o", "md"])
        .ends(3, "error: broken.json: is no report of meshdump: EOF while parsing a value at line 1 column 15\n");
    bench
        .run(&["report", "other.json", "-o", "md"])
        .ends(3, "error: other.json: is no report of meshdump: api_version is ``, expected `meshdump/v1`\n");
    bench
        .run(&["report", "dump.json"])
        .ends(2, "error: say which format, other than text and json: -o html=mesh.html, or -o md for an issue\n");
    let run = bench.run(&["report", "none.json", "-o", "md"]);
    assert_eq!(run.code, 3);
    let run = bench.run(&["ls", "dump.json", "-o", "pprof=x.pb.gz", "-o", "json=y.json"]);
    run.ends(2, "error: -o pprof has nothing to show of a report of kind inputs\n");
    assert!(!bench.path("y.json").exists(), "nothing is written when one output cannot be made");
}

/// A replay of a recording in which listeners drain.
fn replayed(bench: &Bench, args: &[&str]) {
    let generated =
        bench.run(&["generate", "contour", "--preset", "contour-0.13", "--tls", "--ingresses", "30", "--out", "g"]);
    assert_eq!(generated.code, 0, "{}", generated.stderr);
    let mut all = vec!["replay", "g/recording.jsonl.gz", "--drain-time", "5s", "--limit", "18Mi"];
    all.extend(args);
    assert_eq!(bench.run(&all).code, 0);
}

/// By the rules of the Trace Event Format: what each phase must have, begins and ends in pairs, nothing out of order.
#[test]
fn traces_follow_their_format() {
    let bench = Bench::new();
    replayed(&bench, &["-o", "trace=trace.json", "-o", "json=replay.json"]);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(bench.path(name)).expect("a file")).expect("JSON")
    };
    let (trace, replay) = (read("trace.json"), read("replay.json"));
    let run = &replay["runs"][0];
    let us = |t: &Value| (t.as_f64().expect("seconds") * 1e6).round() as i64;
    let (mut pushes, mut open, mut drains, mut before) = (0, BTreeMap::new(), 0, i64::MIN);
    let mut memory: Vec<(i64, u64)> = Vec::new();
    for event in trace["traceEvents"].as_array().expect("events") {
        for key in ["pid", "tid", "ts"] {
            assert!(event[key].is_i64(), "{key} of {event}");
        }
        assert!(event["name"].as_str().is_some_and(|n| !n.is_empty()), "{event}");
        let ts = event["ts"].as_i64().expect("a time");
        match event["ph"].as_str().expect("a phase") {
            "M" => assert!(event["args"]["name"].is_string(), "{event}"),
            "C" => {
                assert!(event["args"].as_object().is_some_and(|a| a.values().all(Value::is_u64)), "{event}");
                if event["name"] == "memory" {
                    memory.push((ts, number(&event["args"]["allocated"])));
                }
            }
            "i" => {
                assert!(["g", "p", "t"].contains(&event["s"].as_str().expect("a scope")));
                pushes += 1;
            }
            phase @ ("b" | "e") => {
                let key = (event["cat"].to_string(), event["id"].to_string(), event["name"].to_string());
                assert!(event["id"].is_u64() && event["cat"].is_string(), "{event}");
                if phase == "b" {
                    assert!(open.insert(key, ts).is_none(), "{event} begins twice");
                } else {
                    assert!(open.remove(&key).is_some_and(|began| began <= ts), "{event} ends what never began");
                    drains += 1;
                }
            }
            other => panic!("phase {other}"),
        }
        assert!(ts >= before, "{event} is out of order");
        before = ts;
    }
    assert!(open.is_empty(), "{open:?}");
    let list = |key: &str| run[key].as_array().expect("a list");
    assert_eq!((pushes, drains), (list("pushes").len(), list("drains").len()));
    assert!(drains > 10, "the recording has drains");
    let timeline: Vec<(i64, u64)> = list("timeline").iter().map(|m| (us(&m["t"]), number(&m["allocated"]))).collect();
    assert_eq!(memory, timeline);
}

#[test]
fn a_replay_has_its_formats() {
    let bench = Bench::new();
    replayed(&bench, &["-o", "html=replay.html", "-o", "json=replay.json", "-o", "md"]);
    let replay: Value =
        serde_json::from_slice(&std::fs::read(bench.path("replay.json")).expect("a file")).expect("JSON");
    let page = std::fs::read_to_string(bench.path("replay.html")).expect("a page");
    for wanted in [
        "class=\"limit\"",
        "class=\"area\"",
        "class=\"drain\"",
        "end of the recording",
        "Over the limit",
        "Drains, the largest first",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(page.matches("<g class=\"push\">").count() > 10, "pushes are marked");
    let saved = bench.run(&["report", "replay.json", "-o", "html"]);
    assert_eq!(saved.stdout, page, "a saved replay gives the same page");
    let rows = csv_rows(&bench.run(&["report", "replay.json", "-o", "csv"]).stdout);
    assert_eq!(rows.len() - 1, replay["runs"][0]["timeline"].as_array().expect("rows").len());
    let both = bench.run(&["report", "replay.json", "replay.json", "-o", "html"]).stdout;
    for id in ["findings", "inputs", "findings-1", "inputs-1", "runs-0", "runs-1"] {
        assert_eq!(both.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn maps_have_their_formats() {
    let bench = Bench::new();
    let maps = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bpf/seed-002-maps-after.json.gz");
    let report = bench.run(&["bpf", maps, "-o", "json"]).json();
    let all = report["maps"].as_array().expect("maps").len();
    assert_eq!(bench.run(&["bpf", maps, "-o", "ndjson"]).stdout.lines().count(), all);
    let rows = csv_rows(&bench.run(&["bpf", maps, "-o", "csv"]).stdout);
    assert_eq!(rows.len() - 1, report["rows"].as_array().expect("rows").len());
    let page = bench.run(&["bpf", maps, "-o", "html"]).stdout;
    for group in report["groups"].as_array().expect("groups") {
        assert!(page.contains(group["owner"].as_str().expect("a name")), "{group}");
    }
}
