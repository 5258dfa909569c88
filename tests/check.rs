//! `meshdump check`, end to end: a regression fails with exit 1 and the right lines, whatever the format; what did not
//! change passes.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{Bench, Run, any, bootstrap, cluster, cluster_entry, section};
use serde_json::{Value, json};

/// Clusters `c0` … one per line from line 4 on, and a listener with `draining` generations of it.
fn dump(clusters: usize, draining: bool) -> String {
    let names: Vec<String> = (0..clusters).map(|i| format!("c{i}")).collect();
    dump_of(&names, draining)
}

fn dump_of(names: &[String], draining: bool) -> String {
    let lines: Vec<String> = names.iter().map(|n| cluster_entry(cluster(n)).to_string()).collect();
    let listener =
        any("envoy.config.listener.v3.Listener", json!({"name": "web", "filter_chains": [{"name": "chain"}]}));
    let state = json!({"version_info": "2", "listener": listener, "last_updated": "2026-11-01T00:00:00.000Z"});
    let mut entry = json!({"name": "web", "active_state": state});
    if draining {
        entry["draining_state"] = state;
    }
    format!(
        "{{\"configs\":[\n{},\n{{\"@type\":\"type.googleapis.com/envoy.admin.v3.ClustersConfigDump\",\
         \"dynamic_active_clusters\":[\n{}\n]}},\n{}\n]}}\n",
        bootstrap("node-1"),
        lines.join(",\n"),
        section("ListenersConfigDump", json!({"dynamic_listeners": [entry]}))
    )
}

/// A folder with the dump `before.json` and its baseline.
fn with_baseline() -> Bench {
    let bench = Bench::new();
    bench.put("before.json", dump(20, false));
    let run = bench.run(&["check", "before.json", "--update-baseline"]);
    run.ends(0, "wrote the baseline meshdump-baseline.json\n");
    bench
}

fn gate<'a>(report: &'a Value, rule: &str) -> &'a Value {
    let gates = report["gates"].as_array().expect("gates");
    gates.iter().find(|g| g["rule"] == rule).unwrap_or_else(|| panic!("no gate {rule} in {report:#}"))
}

fn lines(gate: &Value) -> BTreeSet<u64> {
    gate["places"].as_array().expect("places").iter().filter_map(|p| p["line"].as_u64()).collect()
}

#[test]
fn what_did_not_change_passes() {
    let bench = with_baseline();
    bench.run(&["check", "before.json"]).ends(0, "");
    let run = bench.run(&["check", "before.json", "-o", "json"]);
    let report = run.ends(0, "").json();
    assert_eq!((&report["ok"], &report["totals"]["failed"]), (&true.into(), &0.into()));
    assert!(report["totals"]["passed"].as_u64() > Some(15), "{report:#}");
    // against itself as evidence, too
    bench.run(&["check", "before.json", "--baseline", "before.json"]).ends(0, "");
}

#[test]
fn a_larger_set_of_clusters_fails_with_its_lines() {
    let bench = with_baseline();
    bench.put("after.json", dump(24, false));
    for format in ["text", "json", "md", "html", "sarif", "junit", "github"] {
        assert_eq!(bench.run(&["check", "after.json", "-o", format]).code, 1, "{format}");
    }
    let report = bench.run(&["check", "after.json", "-o", "json"]).json();
    let gate = gate(&report, "baseline.clusters");
    assert_eq!((&gate["value"], &gate["before"], &gate["limit"]), (&24.into(), &20.into(), &21.into()));
    assert_eq!(lines(gate), BTreeSet::from([24, 25, 26, 27]));
    // 20 % are tolerated when somebody says so
    bench.run(&["check", "after.json", "--tolerance", "25%"]).ends(0, "");
    bench.put(".meshdump.toml", "tolerance = '25%'\n[tolerances]\nclusters = '10%'\n");
    let run = bench.run(&["check", "after.json"]);
    run.ends(1, "").says("after.json:24  cluster c20");
}

#[test]
fn a_new_draining_generation_fails_with_its_line() {
    let bench = with_baseline();
    bench.put("after.json", dump(20, true));
    let report = bench.run(&["check", "after.json", "--tolerance", "50%", "-o", "json"]);
    assert_eq!(report.code, 1);
    let report = report.json();
    let text = fs::read_to_string(bench.path("after.json")).expect("the dump");
    let line = 1 + text.lines().position(|l| l.contains("draining_state")).expect("the generation") as u64;
    assert_eq!(lines(gate(&report, "baseline.draining.listeners")), BTreeSet::from([line]));
    assert_eq!(gate(&report, "baseline.findings.MD201")["status"], "fail");
    assert_eq!(gate(&report, "baseline.clusters")["status"], "pass");
}

#[test]
fn budgets_groups_and_missing_evidence() {
    let bench = Bench::new();
    bench.put("dump.json", dump(20, false)).put(
        ".meshdump.toml",
        "[budgets]\nclusters = '<= 10'\nlisteners = { warn = '< 1', error = '< 5' }\nbpf.memlock = '< 1Mi'\n\
         'config.max' = '< 1Gi'\n[[groups]]\nmatch = 'node-*'\nbudgets.clusters = '<= 20'\n",
    );
    let run = bench.run(&["check", "dump.json", "--full"]);
    run.ends(0, "");
    run.says("WARN  listeners is 1, the budget is < 1  [node-1]")
        .says("SKIP  bpf.memlock: not in the evidence")
        .says("PASS  clusters is 20, within <= 20  [node-1]");
    let strict = bench.run(&["check", "dump.json", "--strict", "-o", "json"]);
    assert_eq!(strict.code, 1);
    assert_eq!(gate(&strict.json(), "budget.bpf.memlock")["status"], "fail");
    let run = bench.run(&["check", "dump.json", "--budget", "clusters.max < 5"]);
    run.ends(1, "").says("FAIL  clusters.max is 20, the budget is < 5");
}

#[test]
fn the_configuration_is_found_upward_and_its_baseline_beside_it() {
    let bench = with_baseline();
    bench.put(".meshdump.toml", "tolerance = '0%'\n").put("a/b/dump.json", dump(21, false));
    let run = |args: &[&str]| {
        let out = bench.command(args).current_dir(bench.path("a/b")).output().expect("the binary runs");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, text) = run(&["check", "dump.json"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("AGAINST ../../.meshdump.toml, baseline ../../meshdump-baseline.json"), "{text}");
    assert_eq!(run(&["check", "dump.json", "--tolerance", "5%"]).0, Some(0));
}

#[test]
fn suppressions_expire() {
    let bench = with_baseline();
    bench.put("after.json", dump(24, true)).put(
        ".meshdump.toml",
        "[[suppress]]\nrule = 'baseline.*'\nmatch = 'node-*'\nreason = 'INFRA-1'\nuntil = 2027-03-01\n\
         [[suppress]]\nrule = 'MD201'\nreason = 'known'\n[[suppress]]\nrule = 'MD999'\nreason = 'old'\n",
    );
    let on = |day: &str| bench.run(&["check", "after.json", "--today", day]);
    on("2027-03-01").ends(0, "").says("TODAY 2027-03-01 by --today");
    let run = on("2027-03-01");
    assert!(run.stdout.contains("reason: INFRA-1") && run.stdout.contains("matched nothing"), "{}", run.stdout);
    let run = on("2027-03-02");
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("has expired") && !run.stdout.contains("new finding MD201"), "{}", run.stdout);
    let by_epoch = bench.command(&["check", "after.json"]).env("SOURCE_DATE_EPOCH", "1800000000").output();
    let text = String::from_utf8(by_epoch.expect("the binary runs").stdout).expect("UTF-8");
    assert!(text.contains("TODAY 2027-01-15 by SOURCE_DATE_EPOCH"), "{text}");
}

#[test]
fn mistakes_get_one_line() {
    let bench = with_baseline();
    let line = |run: &Run, code: i32, part: &str| {
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains(part) && run.stderr.lines().count() == 1, "{}", run.stderr);
    };
    bench.put("bad.toml", "[budgets]\nalocated = '< 1Mi'\n");
    line(&bench.run(&["check", "before.json", "--config", "bad.toml"]), 2, "did you mean `allocated`?");
    line(&bench.run(&["check", "before.json", "--baseline", "missing.json"]), 3, "missing.json");
    let damaged = fs::read(bench.path("meshdump-baseline.json")).expect("the baseline");
    bench.put("damaged.json", &damaged[..damaged.len() / 2]);
    line(&bench.run(&["check", "before.json", "--baseline", "damaged.json"]), 3, "the baseline is damaged");
    assert_eq!(bench.run(&["check", "before.json", "--budget", "clusters < many"]).code, 2);
    assert_eq!(bench.run(&["check", "missing.json"]).code, 3);
}

#[test]
fn a_baseline_is_the_same_wherever_it_is_made() {
    let bench = Bench::new();
    bench.put("dump.json", dump(40, true)).put("elsewhere/copy.json.gz", common::gzip(dump(40, true)));
    let mut made = BTreeSet::new();
    for (input, threads) in [("dump.json", "1"), ("dump.json", "7"), ("elsewhere/copy.json.gz", "3")] {
        let args = ["check", input, "--update-baseline", "--baseline", "b.json"];
        let out = bench.command(&args).env("RAYON_NUM_THREADS", threads).output().expect("the binary runs");
        assert!(out.status.success());
        made.insert(fs::read_to_string(bench.path("b.json")).expect("the baseline"));
    }
    assert_eq!(made.len(), 1);
    let text = made.first().expect("one");
    assert!(!text.contains("c17") && !text.contains("dump.json"), "names of resources and files are not in it: {text}");
}

/// A recording: clusters `c0` … and a listener that changes `updates` times.
fn stream(clusters: usize, updates: usize) -> String {
    let line = |t: usize, kind: &str, resources: Vec<Value>| {
        let url = format!("type.googleapis.com/envoy.config.{kind}");
        json!({"t": t, "type_url": url, "version_info": t.to_string(), "nonce": t.to_string(), "resources": resources})
            .to_string()
            + "\n"
    };
    let mut out = line(1, "cluster.v3.Cluster", (0..clusters).map(|i| cluster(&format!("c{i}"))).collect());
    for i in 0..=updates {
        let listener = json!({"name": "web", "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
            "filter_chains": [{"name": format!("chain{i}"), "filter_chain_match": {"server_names": ["a"]}}]});
        out += &line(2 + i, "listener.v3.Listener", vec![any("envoy.config.listener.v3.Listener", listener)]);
    }
    out
}

#[test]
fn a_recording_is_gated_by_its_replay() {
    let bench = Bench::new();
    bench.put("before.jsonl", stream(20, 1)).put("after.jsonl", stream(60, 9));
    bench.run(&["check", "before.jsonl", "--update-baseline"]).ends(0, "wrote the baseline meshdump-baseline.json\n");
    bench.run(&["check", "before.jsonl"]).ends(0, "");
    let run = bench.run(&["check", "after.jsonl", "-o", "json"]);
    let report = run.ends(1, "").json();
    assert_eq!(report["inputs"][0]["path"], "after.jsonl");
    let peak = gate(&report, "baseline.replay.peak");
    assert_eq!((&peak["status"], &peak["places"][0]["path"]), (&"fail".into(), &"after.jsonl".into()), "{peak}");
    let drains = gate(&report, "baseline.replay.drains");
    assert_eq!((&drains["before"], &drains["value"]), (&1.into(), &9.into()), "{drains}");
    // the heaviest first
    let failed: Vec<&Value> =
        report["gates"].as_array().expect("gates").iter().filter(|g| g["unit"] == "bytes").collect();
    let over = |g: &Value| g["value"].as_u64().unwrap_or(0).saturating_sub(g["limit"].as_u64().unwrap_or(u64::MAX));
    assert!(failed.is_sorted_by_key(|g| std::cmp::Reverse(over(g))), "{failed:#?}");
    // another recording in place of a baseline
    bench.run(&["check", "before.jsonl", "--baseline", "before.jsonl"]).ends(0, "");
    assert_eq!(bench.run(&["check", "after.jsonl", "--baseline", "before.jsonl"]).code, 1);

    let budget = |budget: &str, limit: &str| {
        bench.run(&["check", "after.jsonl", "--baseline", "after.jsonl", "--limit", limit, "--budget", budget]).code
    };
    for (text, code) in [
        ("replay.drains <= 9", 0),
        ("replay.drains <= 8", 1),
        ("replay.peak < 1Mi", 1),
        ("replay.peak < 1Gi", 0),
        ("replay.limit.pct <= 80%", 0),
        ("replay.time_to_limit >= 30m", 0),
        ("replay.draining.generations == 0", 1),
        ("replay.leaked == 0", 0),
        ("allocated < 1Gi", 0),
    ] {
        assert_eq!(budget(text, "1Gi"), code, "{text}");
    }
    assert_eq!(budget("replay.time_to_limit >= 30m", "1Mi"), 1, "it is passed at once");
    assert_eq!(budget("replay.limit.pct <= 80%", "1Mi"), 1);
    for format in ["sarif", "junit", "github", "md", "html"] {
        let run = bench.run(&["check", "after.jsonl", "-o", format]);
        assert_eq!(run.code, 1, "{format}: {}", run.stderr);
        assert!(run.stdout.contains("replay.peak"), "{format}: {}", run.stdout);
    }
}

#[test]
fn maps_have_a_baseline() {
    let maps = |n: u64| {
        let all = (0..n).map(|i| {
            json!({"id": i, "type": "hash", "name": format!("m{i}"), "flags": 0, "bytes_key": 4, "bytes_value": 8,
                "max_entries": 100, "bytes_memlock": 8800})
        });
        Value::from_iter(all).to_string()
    };
    let bench = Bench::new();
    bench.put("before.json", maps(10)).put("after.json", maps(12));
    bench.run(&["check", "before.json", "--update-baseline"]).ends(0, "wrote the baseline meshdump-baseline.json\n");
    bench.run(&["check", "before.json"]).ends(0, "");
    let report = bench.run(&["check", "after.json", "-o", "json"]).ends(1, "").json();
    let gate = gate(&report, "baseline.bpf.memlock");
    assert_eq!((&gate["before"], &gate["value"]), (&88_000.into(), &105_600.into()), "{gate}");
    assert_eq!(bench.run(&["check", "after.json", "--baseline", "before.json"]).code, 1);
    assert_eq!(bench.run(&["check", "after.json", "--tolerance", "25%"]).code, 0);
}
