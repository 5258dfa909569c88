//! The formats of continuous integration, each read back by something that knows nothing of how it was written: names are
//! data in all of them.

mod common;

use common::{Bench, Run, hostile_dump};
use serde_json::Value;

/// A folder with a dump full of hostile names, gates that fail for all of them, and a hostile reason.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("du<mp>,:%\".json", hostile_dump()).put(
        ".meshdump.toml",
        "[budgets]\nclusters = '< 1'\n'listeners.active' = { warn = '< 1' }\nbpf.maps = '< 1'\nconfig = '< 1Ki'\n\
         [[suppress]]\nrule = 'budget.config'\nreason = '''<script>\"]]>\u{202e}@all ::error::x'''\n",
    );
    bench
}

const DUMP: &str = "du<mp>,:%\".json";

fn check(bench: &Bench, format: &str) -> Run {
    let run = bench.run(&["check", DUMP, "-o", format]);
    assert_eq!((run.code, run.stderr.as_str()), (1, ""), "{format}");
    run
}

/// Nothing that a terminal or an editor would obey.
#[track_caller]
fn is_tame(text: &str) {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(|c| acts(*c)), None);
    assert!(!text.contains(&"x".repeat(1000)), "4 KB names are cut");
}

#[test]
fn sarif() {
    let bench = bench();
    let text = check(&bench, "sarif").stdout;
    is_tame(&text);
    let log: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 3);
    let dump = std::fs::read_to_string(bench.path(DUMP)).expect("the dump");
    let mut places = 0;
    for r in results {
        let index = r["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], r["ruleId"]);
        assert!(["error", "warning"].contains(&r["level"].as_str().expect("a level")), "{r}");
        assert!(r["partialFingerprints"].as_object().is_some_and(|o| o.len() == 1), "{r}");
        for l in r["locations"].as_array().expect("locations") {
            let place = &l["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "du%3Cmp%3E%2C%3A%25%22.json");
            let region = &place["region"];
            let at = |key: &str| region[key].as_u64().expect("a number") as usize;
            assert!(at("startLine") >= 1);
            let piece = &dump[at("byteOffset")..at("byteOffset") + at("byteLength")];
            assert!(piece.starts_with('{') && piece.ends_with('}'), "{piece}");
            assert!(serde_json::from_str::<Value>(piece).is_ok(), "the region is the whole resource: {piece}");
            places += 1;
        }
    }
    assert!(places >= 20, "{places}");
    let held: Vec<&Value> = results.iter().filter(|r| r["suppressions"].is_array()).collect();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0]["suppressions"][0]["kind"], "external");
}

#[test]
fn sarif_of_findings() {
    let bench = Bench::new();
    bench.put("dump.json", hostile_dump());
    let text = bench.run(&["analyze", "dump.json", "-o", "sarif"]).ends(0, "").stdout.clone();
    is_tame(&text);
    let log: Value = serde_json::from_str(&text).expect("JSON");
    let results = log["runs"][0]["results"].as_array().expect("results");
    let report = bench.run(&["analyze", "dump.json", "-o", "json"]).json();
    let codes = |list: &Value, key: &str| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|f| f[key].as_str().expect("a code").to_owned()).collect()
    };
    assert_eq!(codes(&Value::Array(results.clone()), "ruleId"), codes(&report["findings"], "code"));
}

#[test]
fn junit() {
    let bench = bench();
    let text = check(&bench, "junit").stdout;
    is_tame(&text);
    let xml = roxmltree::Document::parse(&text).expect("well-formed XML");
    let suite = xml.descendants().find(|n| n.has_tag_name("testsuite")).expect("a suite");
    let number = |name: &str| suite.attribute(name).and_then(|v| v.parse::<usize>().ok()).expect("a number");
    let count = |name: &str| suite.descendants().filter(|n| n.has_tag_name(name)).count();
    assert_eq!((number("tests"), number("failures"), number("skipped")), (4, 1, 2));
    assert_eq!((count("testcase"), count("failure"), count("skipped")), (4, 1, 2));
    // a name that is markup is text of the failure, not markup
    let known = ["testsuites", "testsuite", "testcase", "failure", "skipped", "system-out"];
    let strange = xml.descendants().find(|n| n.is_element() && !known.contains(&n.tag_name().name()));
    assert_eq!(strange.map(|n| n.tag_name().name().to_owned()), None);
    let failure = suite.descendants().find(|n| n.has_tag_name("failure")).and_then(|n| n.text()).expect("places");
    assert!(failure.contains("cluster <b></b>") || failure.contains("<script>"), "{failure}");
    let other = bench.run(&["analyze", DUMP, "-o", "junit"]);
    assert_eq!(other.code, 2, "a report without gates has no cases");
}

#[test]
fn github() {
    let bench = bench();
    let text = check(&bench, "github").stdout;
    is_tame(&text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "one command per gate that is not suppressed: {text}");
    for (line, command) in lines.iter().zip(["error", "warning"]) {
        let rest = line.strip_prefix(&format!("::{command} ")).expect("the command");
        let (properties, message) = rest.split_once("::").expect("a message");
        let names: Vec<&str> = properties.split(',').map(|p| p.split_once('=').expect("a property").0).collect();
        assert_eq!(names, ["file", "line", "title"]);
        assert!(properties.starts_with("file=du<mp>%2C%3A%25\".json,line="), "{properties}");
        assert!(!message.is_empty() && message.len() < 2000, "{message}");
    }
}

#[test]
fn markdown_and_text() {
    let bench = bench();
    for format in ["md", "text"] {
        let text = check(&bench, format).stdout;
        is_tame(&text);
        if format == "md" {
            // outside code spans there is no markup but the tool's own
            let outside: String = text.split('`').step_by(2).collect();
            for bad in ["<script", "<img", "<svg", "<b>", "</textarea"] {
                assert!(!outside.contains(bad), "{bad} in\n{text}");
            }
        }
    }
}
