//! `meshdump bpf` end to end: the binary on captured and generated inputs, and seed 002 (kmesh issue 945) in full.

#![allow(clippy::print_stdout, reason = "a skipped test says why")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/bpf").join(name)
}

/// Runs `meshdump bpf` in testdata/bpf, so that no machine's paths get into the output.
fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meshdump"))
        .arg("bpf")
        .args(args)
        .current_dir(testdata(""))
        .output()
        .expect("the binary runs")
}

fn stdout(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(args: &[&str]) -> serde_json::Value {
    let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    serde_json::from_str(&stdout(&args)).expect("JSON")
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// What the two listings sum to, by name: `(name, bytes, maps)`; the unnamed maps are apart.
const NAMED: [(&str, u64, u64); 19] = [
    ("kmesh_events", 0, 2),
    ("map_of_sock_sto", 0, 2),
    ("bpf_log_level", 8192, 2),
    ("ig_fa_pick_ctx", 8192, 2),
    ("inner_map", 8192, 2),
    ("kmesh_version", 8192, 2),
    ("tmp_buf", 8192, 2),
    ("tmp_log_buf", 8192, 2),
    (".rodata", 49152, 6),
    ("kmesh_listener", 212_992, 2),
    ("kmesh_tail_call", 278_528, 8),
    ("kmesh_manage", 393_216, 2),
    ("ig_fa_records", 1_974_272, 2),
    ("containers", 2_113_536, 2),
    ("exec_args", 3_940_352, 2),
    ("map_of_router_c", 8_126_464, 2),
    ("kmesh_cluster", 8_388_608, 2),
    ("outer_map", 16_777_216, 2),
    ("map_of_cluster_", 253_771_776, 4),
];

#[test]
fn seed_002_sums_by_name_reported_and_predicted() {
    for (file, unnamed) in [
        ("seed-002-maps-before.json.gz", (268_419_072u64, 65_532u64)),
        ("seed-002-maps-after.json.gz", (536_846_336, 131_066)),
    ] {
        let report = json(&[file, "--cpus", "8"]);
        let mut sums: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
        for map in report["maps"].as_array().unwrap() {
            let sum = sums.entry(map["name"].as_str().unwrap_or("").to_owned()).or_default();
            sum.0 += map["memlock"].as_u64().unwrap();
            sum.1 += map["predicted_memlock"].as_u64().unwrap();
            sum.2 += 1;
        }
        assert_eq!(sums.remove(""), Some((unnamed.0, unnamed.0, unnamed.1)), "{file}");
        for (name, bytes, maps) in NAMED {
            assert_eq!(sums.remove(name), Some((bytes, bytes, maps)), "{name} in {file}");
        }
        assert!(sums.is_empty(), "{sums:?}");
        // every unnamed map is inside an outer map, and only those
        let inner = report["maps"].as_array().unwrap().iter().filter(|m| !m["parent"].is_null());
        assert_eq!(inner.clone().count() as u64, unnamed.1);
        assert!(inner.clone().all(|m| m["name"].is_null() && m["owner"] == "Kmesh"));
        assert_eq!(report["kernel"]["era"], "footprint");
    }
}

#[test]
fn seed_002_the_column_that_stays_constant() {
    // MAPMEMORY and MAPCOUNT of the issue, by program
    let shown = [
        ("cluster_manager", "133.1 MiB", 9),
        ("filter_chain_ma", "8.078 MiB", 7),
        ("filter_manager", "8.074 MiB", 6),
        ("route_config_ma", "11.95 MiB", 8),
        ("sockops_prog", "8.180 MiB", 8),
        ("cgroup_connect", "308.0 KiB", 6),
        ("connect_ret", "0 B", 0),
    ];
    let mut texts = Vec::new();
    for file in ["seed-002-maps-before.json.gz", "seed-002-maps-after.json.gz"] {
        let text = stdout(&[file, "seed-002-progs.json", "--all"]);
        let rows: Vec<&str> = text
            .lines()
            .skip_while(|l| !l.starts_with("PROGRAM"))
            .skip(1)
            .take_while(|l| l.starts_with("  "))
            .collect();
        assert_eq!(rows.len(), 20);
        for row in &rows {
            let words: Vec<&str> = row.split_whitespace().collect();
            let (_, size, maps) = shown.iter().find(|(name, ..)| *name == words[0]).expect("a program of the issue");
            assert_eq!(words[3].parse::<u32>().unwrap(), *maps, "{row}");
            assert_eq!(words[4..6].join(" "), *size, "{row}");
        }
        texts.push(rows.iter().map(|r| r.split_whitespace().take(8).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>());
    }
    // 65,534 maps more between the listings, and not one byte in this column
    let without_ids = |rows: &[String]| -> Vec<String> {
        let mut rows: Vec<String> =
            rows.iter().map(|r| r.split(" (").next().unwrap().to_owned() + &r[r.find(')').unwrap()..]).collect();
        rows.sort();
        rows
    };
    assert_eq!(without_ids(&texts[0]), without_ids(&texts[1]));
}

/// The log, line by line.
const LOG: &str = "\
Remaining resources are insufficient(0/0), and capacity expansion is required.
collect_outter_map_scaleup_slots:32767-32768-32767
Remaining resources are insufficient(22956/32768), and capacity expansion is required.
collect_outter_map_scaleup_slots:65534-32768-65534
The remaining resources are sufficient(19659/65536) and scale-in is required.
collect_outter_map_scalein_slots:57343-8192-57343
The remaining resources are sufficient(17180/57344) and scale-in is required.
collect_outter_map_scalein_slots:49151-8192-49151
The remaining resources are sufficient(14737/49152) and scale-in is required.
collect_outter_map_scalein_slots:40959-8192-40959
The remaining resources are sufficient(12282/40960) and scale-in is required.
collect_outter_map_scalein_slots:24739-8192-24739
Remaining resources are insufficient(22954/32768), and capacity expansion is required.
collect_outter_map_scaleup_slots:65533-32768-65533";

#[test]
fn seed_002_the_log_from_slot_events() {
    let report = json(&["simulate", "seed-002-slots.jsonl", "--policy", "kmesh-0.5"]);
    let run = &report["runs"][0];
    let log: Vec<&str> = run["log"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    assert_eq!(log, LOG.lines().collect::<Vec<_>>());
    // one daemon before the last growth, and after it; the listings show two
    let timeline = run["timeline"].as_array().unwrap();
    let (before, after) = (&timeline[timeline.len() - 2], &timeline[timeline.len() - 1]);
    assert_eq!((&before["maps"], &after["maps"]), (&32_766.into(), &65_533.into()));
    assert_eq!(before["memlock"].as_u64().unwrap() * 2, 268_419_072);
    assert_eq!(after["memlock"].as_u64().unwrap() * 2, 536_846_336);
}

/// True when `observed` is what `simulated` says, numbers of it within ranges `low..high`.
fn within(observed: &str, simulated: &str) -> bool {
    let numbers = |text: &str| -> Vec<String> {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .filter(|n| n.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    };
    let words = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
    let (seen, said) = (numbers(observed), numbers(simulated));
    words(observed) == words(simulated)
        && seen.len() == said.len()
        && seen.iter().zip(&said).all(|(n, range)| {
            let n: u64 = n.parse().unwrap();
            match range.split_once("..") {
                Some((low, high)) => (low.parse().unwrap()..=high.parse().unwrap()).contains(&n),
                None => range.parse() == Ok(n),
            }
        })
}

#[test]
fn seed_002_the_log_from_counts_alone() {
    let report = json(&["simulate", "seed-002-services.jsonl", "--policy", "kmesh-0.5"]);
    let log: Vec<&str> = report["runs"][0]["log"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    let observed: Vec<&str> = LOG.lines().collect();
    assert_eq!(log.len(), observed.len(), "{log:#?}");
    for (observed, simulated) in observed.iter().zip(&log) {
        assert!(within(observed, simulated), "{observed}\n{simulated}");
    }
}

#[test]
fn seed_002_as_text() {
    snapshot(
        "bpf_seed_002_maps",
        &stdout(&["seed-002-maps-before.json.gz", "seed-002-maps-after.json.gz", "seed-002-progs.json"]),
    );
    snapshot("bpf_seed_002_slots", &stdout(&["simulate", "seed-002-slots.jsonl", "--policy", "kmesh-0.5"]));
    snapshot(
        "bpf_seed_002_policies",
        &stdout(&[
            "simulate",
            "seed-002-services.jsonl",
            "--policy",
            "kmesh-0.5",
            "--policy",
            "kmesh-0.5:step=8192",
            "--policy",
            "lazy",
            "--policy",
            "kmesh-1.0",
        ]),
    );
}

#[test]
fn the_envelope_and_paths_of_the_contract() {
    let report = json(&["seed-002-progs.json", "seed-002-maps-before.json.gz"]);
    assert_eq!((&report["api_version"], &report["kind"]), (&"meshdump/v1".into(), &"bpf".into()));
    assert!(report["tool"]["version"].is_string() && report["tool"]["cost_model"].is_string());
    for key in ["path", "kind", "bytes", "sha256"] {
        assert!(!report["inputs"][0][key].is_null(), "{key}");
    }
    for key in ["id", "name", "type", "entries_max", "memlock", "predicted_memlock", "parent"] {
        assert!(report["maps"][0].get(key).is_some(), "{key}");
    }
    for key in ["memlock", "predicted_memlock", "real"] {
        assert!(report["totals"][key].is_u64(), "{key}");
    }
    for key in ["owner", "maps", "memlock", "real"] {
        assert!(!report["groups"][0][key].is_null(), "{key}");
    }
    for key in ["code", "severity", "title", "evidence", "saved_bytes", "fix"] {
        assert!(report["findings"][0].get(key).is_some(), "{key}");
    }
    let simulated = json(&["simulate", "seed-002-services.jsonl", "--policy", "kmesh-0.5"]);
    assert_eq!(simulated["kind"], "bpf");
    for key in ["t", "maps", "slots_used", "slots_total", "memlock", "real"] {
        assert!(!simulated["runs"][0]["timeline"][0][key].is_null(), "{key}");
    }
}

#[test]
fn predictions_are_csv_with_the_header_of_the_contract() {
    let csv = stdout(&["predict", "grid-6.1.csv", "--kernel", "6.1"]);
    assert!(csv.starts_with("type,key,value,max_entries,flags,inserted,memlock,ncpus,note,predicted\n"));
    assert_eq!(csv.lines().count(), 4032);
    for line in csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 10, "{line}");
        assert_eq!(fields[6], fields[9], "{line}");
    }
}

#[test]
fn bad_input_is_one_line_and_exit_3() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.json");
    for (content, code) in [("", 3), ("hello", 3), ("{\"configs\":[]}", 3), ("[{\"error\":\"denied\"}]", 3), ("[]", 0)]
    {
        std::fs::write(&path, content).unwrap();
        let output = run(&[path.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{content}: {stderr}");
        assert!(code == 0 || stderr.lines().count() == 1, "{content}: {stderr}");
    }
    assert_eq!(run(&["no-such-file.json"]).status.code(), Some(3));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["simulate", "seed-002-services.jsonl", "--policy", "nothing"]).status.code(), Some(2));
    // a cut listing: what is whole is used, and one line says where it broke
    std::fs::write(&path, "[{\"id\":1,\"type\":\"array\",\"flags\":0,\"bytes_key\":4,\"bytes_value\":8,\"max_entries\":1,\"bytes_memlock\":320},{\"id\":2,\"ty").unwrap();
    let output = run(&[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("1 BPF map: "));
    assert!(String::from_utf8_lossy(&output.stderr).contains("byte "));
}

#[test]
fn names_cannot_drive_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.json");
    std::fs::write(&path, "[{\"id\":1,\"type\":\"array\",\"name\":\"\\u001b[2Jx\",\"flags\":0,\"bytes_key\":4,\"bytes_value\":8,\"max_entries\":1,\"bytes_memlock\":320}]").unwrap();
    let text = stdout(&[path.to_str().unwrap()]);
    assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2Jx"), "{text}");
}

/// Listings of other people's machines, by what their sizes say.
#[test]
fn public_listings() {
    let Some(corpus) = std::env::var_os("MESHDUMP_CORPUS") else {
        println!("skipped: MESHDUMP_CORPUS does not name the corpus");
        return;
    };
    let corpus = Path::new(&corpus).join("bpftool");
    for (file, maps, era, cpus) in [
        ("cilium-idx/cilium-a-10cpu-map-list.txt", 55, "footprint", 10),
        ("cilium-idx/cilium-1.9-lpm-jq-stream.json", 6, "charge", 0),
        ("insights-core/bpftool_-j_map_list.json", 2, "usage", 0),
        ("misc-text/kernel-6.6-map-show.txt", 6, "usage", 4),
        ("self-captured-6.18/map-list.json", 11, "usage", 2),
        ("self-captured-6.18/map-list-pretty.json", 11, "usage", 2),
        ("self-captured-6.18/map-list.txt", 11, "usage", 2),
    ] {
        let path = corpus.join(file);
        let report = json(&[path.to_str().unwrap()]);
        assert_eq!(report["totals"]["maps"], maps, "{file}");
        assert_eq!(report["kernel"]["era"], era, "{file}");
        if cpus > 0 {
            assert_eq!(report["kernel"]["cpus"], cpus, "{file}");
        }
        assert_eq!(report["kernel"]["explained"], report["kernel"]["with_memlock"], "{file}");
    }
    let report = json(&[corpus.join("kmesh-945/grouped-before.json").to_str().unwrap()]);
    assert_eq!(report["sums"].as_array().unwrap().len(), 20);
}

/// A recording that breaks every bound Kmesh has.
#[test]
fn bounds_of_kmesh_are_findings() {
    use std::fmt::Write as _;
    let hosts = |n: usize| -> String {
        let host =
            |i| format!("{{\"name\":\"h{i}\",\"domains\":[\"a{i}\",\"b{i}\"],\"routes\":[{}]}}", ["{}"; 9].join(","));
        (0..n).map(host).collect::<Vec<_>>().join(",")
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{{\"t\":0,\"type_url\":\"type.googleapis.com/envoy.config.route.v3.RouteConfiguration\",\"resources\":[{{\"name\":\"80\",\"virtual_hosts\":[{}]}}]}}",
        hosts(165)
    );
    let listeners: Vec<String> = (0..1030)
        .map(|i| {
            format!("{{\"name\":\"l{i}\",\"filter_chains\":[{}]}}", ["{\"filters\":[{},{},{},{},{}]}"; 5].join(","))
        })
        .collect();
    let _ = writeln!(
        text,
        "{{\"t\":1,\"type_url\":\"type.googleapis.com/envoy.config.listener.v3.Listener\",\"resources\":[{}]}}",
        listeners.join(",")
    );
    let _ = writeln!(
        text,
        "{{\"t\":2,\"type_url\":\"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\",\"resources\":[{{\"cluster_name\":\"c\",\"endpoints\":[{{\"lb_endpoints\":[{}]}}]}}]}}",
        ["{}"; 65].join(",")
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording.jsonl");
    std::fs::write(&path, text).unwrap();
    let report = json(&["simulate", path.to_str().unwrap(), "--policy", "kmesh-0.4", "--policy", "kmesh-1.0"]);
    let finding = |code: &str| report["findings"].as_array().unwrap().iter().find(|f| f["code"] == code).cloned();
    let evidence = |code: &str| finding(code).unwrap()["evidence"].to_string();
    assert!(evidence("MD521").contains("165 virtual hosts in route configuration 80: Kmesh 0.5 and before stores 162"));
    assert!(!evidence("MD521").contains("1.0 and later"));
    assert!(evidence("MD522").contains("1,030 listeners at once: Kmesh 0.5 and before holds 1,024"));
    for what in ["virtual hosts", "routes", "filter chains", "filters", "endpoints"] {
        assert!(evidence("MD523").contains(what), "{what}");
    }
    // 1,030 listeners of five chains are 66,950 slots: more than 0.4 ever has
    assert!(evidence("MD524").contains("kmesh-0.4"));
}
