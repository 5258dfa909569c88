//! One snapshot per finding of `meshdump bpf`, from listings made here: `bytes_memlock` is what the kernel's formula gives.

mod common;

use std::path::Path;

use common::Bench;
use meshdump::cost::kernel::{Profile, Version, reported};
use meshdump::findings::bpf::CODES;
use meshdump::model::bpf::{MapType, Shape};
use serde_json::{Value, json};

/// A map of a node with 8 CPUs, with `live` entries.
fn map(kernel: Version, id: u32, name: &str, map_type: MapType, sizes: (u32, u32, u32, u32), live: u64) -> Value {
    let (key, value, max_entries, flags) = sizes;
    let shape = Shape { map_type, key, value, max_entries, flags, extra: 0 };
    let memlock = reported(&Profile::builtin(kernel, 8), &shape, live).expect("a formula for the type");
    let mut map = json!({
        "id": id, "type": map_type.name(), "flags": flags, "bytes_key": key, "bytes_value": value,
        "max_entries": max_entries, "bytes_memlock": memlock, "frozen": 0,
    });
    if !name.is_empty() {
        map["name"] = name.into();
    }
    map
}

const OLD: Version = Version(6, 1);
const NEW: Version = Version(6, 12);

/// Two maps whose sizes tell the kernel and its CPUs.
fn known(kernel: Version) -> Vec<Value> {
    vec![
        map(kernel, 1, "counters", MapType::PercpuArray, (4, 16, 4, 0), 0),
        map(kernel, 2, "settings", MapType::Array, (4, 64, 8, 0), 0),
    ]
}

fn prog(id: u32, maps: &[u32]) -> Value {
    json!({"id": id, "type": "sched_cls", "name": "from_pod", "tag": "0011223344556677", "gpl_compatible": true,
           "loaded_at": 1_700_000_000, "uid": 0, "bytes_xlated": 64, "jited": true, "bytes_jited": 64,
           "bytes_memlock": 4096, "map_ids": maps})
}

fn listing(kernel: Version, more: Vec<Value>) -> Vec<Value> {
    known(kernel).into_iter().chain(more).collect()
}

/// A bench with `maps.json`, and `progs.json` when there are programs.
fn bench(maps: &[Value], progs: &[Value]) -> Bench {
    let bench = Bench::new();
    bench.put("maps.json", json!(maps).to_string());
    if !progs.is_empty() {
        bench.put("progs.json", json!(progs).to_string());
    }
    bench
}

/// An outer map with inner maps, which no program names.
fn nested(kernel: Version) -> Vec<Value> {
    let mut maps = listing(kernel, vec![map(kernel, 3, "outer_map", MapType::ArrayOfMaps, (4, 4, 4096, 0), 0)]);
    maps.extend((0..2000).map(|i| map(kernel, 10 + i, "", MapType::Array, (4, 1300, 1, 0), 0)));
    maps
}

type Made = (Bench, Vec<&'static str>);

fn cases() -> Vec<(&'static str, Made)> {
    let maps = vec!["maps.json"];
    let with_progs = vec!["maps.json", "progs.json"];
    let hash = |id, name, max, flags, live| map(NEW, id, name, MapType::Hash, (16, 64, max, flags), live);
    let cluster = |n: u32| format!("{{\"t\":{n},\"services\":{}}}\n", n * 3000);
    let slots = Bench::new();
    slots.put("trace.jsonl", (0..6).map(cluster).collect::<String>());
    let limits = Bench::new();
    let route = json!({"t": 0, "type_url": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "resources": [
        {"name": "80", "virtual_hosts": (0..165).map(|i| json!({"name": format!("h{i}"), "domains": ["a"],
            "routes": vec![json!({}); 9]})).collect::<Vec<_>>()}]});
    let listeners = json!({"t": 1, "type_url": "type.googleapis.com/envoy.config.listener.v3.Listener", "resources":
        (0..1030).map(|i| json!({"name": format!("l{i}"), "filter_chains": vec![json!({"filters": [{}]}); 2]})).collect::<Vec<_>>()});
    limits.put("trace.jsonl", format!("{route}\n{listeners}\n"));
    let twice = |flags| {
        let one = |id| map(NEW, id, "cilium_ct4_glob", MapType::LruHash, (14, 56, 65_536, flags), 0);
        listing(NEW, vec![one(20), one(21)])
    };
    let mut wrapped = listing(OLD, vec![map(OLD, 20, "big", MapType::Hash, (16, 1024, 2_500_000, 0), 0)]);
    wrapped[2]["bytes_memlock"] = (-1_694_969_856_i64).into();
    let mut odd = listing(NEW, vec![]);
    odd.push(map(NEW, 20, "odd", MapType::Array, (4, 8, 1000, 0), 0));
    odd[2]["bytes_memlock"] = 12_345.into();
    odd.extend((30..40).map(|i| map(NEW, i, "plain", MapType::Array, (4, 8, 1000, 0), 0)));
    let changed = bench(&listing(NEW, vec![hash(20, "endpoints", 1000, 1, 10)]), &[]);
    changed.put("later.json", json!(listing(NEW, vec![hash(20, "endpoints", 1000, 1, 900)])).to_string());
    vec![
        ("MD501", (bench(&listing(NEW, vec![hash(20, "services", 1_000_000, 1, 3)]), &[]), maps.clone())),
        ("MD502", (bench(&nested(OLD), &[]), maps.clone())),
        ("MD503", (bench(&listing(NEW, vec![hash(20, "services", 1000, 1, 970)]), &[]), maps.clone())),
        (
            "MD504",
            (
                bench(&listing(NEW, vec![map(NEW, 20, "stats", MapType::PercpuArray, (4, 256, 4096, 0), 0)]), &[]),
                maps.clone(),
            ),
        ),
        (
            "MD505",
            (
                bench(&listing(OLD, vec![map(OLD, 20, "ct", MapType::LruHash, (14, 56, 131_072, 0), 0)]), &[]),
                maps.clone(),
            ),
        ),
        ("MD506", (bench(&nested(OLD), &[prog(7, &[1, 2, 3])]), with_progs.clone())),
        ("MD507", (bench(&twice(0), &[prog(7, &[1, 2, 20])]), with_progs)),
        (
            "MD508",
            (
                bench(&listing(NEW, vec![map(NEW, 20, "nat", MapType::LruHash, (14, 56, 10_008, 2), 0)]), &[]),
                maps.clone(),
            ),
        ),
        ("MD509", (bench(&wrapped, &[]), maps.clone())),
        ("MD510", (bench(&twice(0), &[]), maps.clone())),
        ("MD511", (changed, vec!["maps.json", "later.json"])),
        ("MD512", (bench(&odd, &[]), maps)),
        ("MD521", (limits_again(&limits), simulate("kmesh-0.5"))),
        ("MD522", (limits_again(&limits), simulate("kmesh-0.5"))),
        ("MD523", (limits, simulate("kmesh-0.5"))),
        ("MD524", (slots, simulate("kmesh-0.4"))),
    ]
}

fn limits_again(from: &Bench) -> Bench {
    let bench = Bench::new();
    bench.put("trace.jsonl", std::fs::read(from.path("trace.jsonl")).expect("the trace"));
    bench
}

fn simulate(policy: &'static str) -> Vec<&'static str> {
    vec!["simulate", "trace.jsonl", "--policy", policy]
}

/// The lines of one finding: from its code to the next blank line.
fn finding<'a>(code: &str, text: &'a str) -> &'a str {
    let at = text.find(&format!("\n{code} ")).unwrap_or_else(|| panic!("no {code} in\n{text}")) + 1;
    text[at..].split("\n\n").next().expect("a part")
}

#[test]
fn every_code_has_a_snapshot() {
    let cases = cases();
    for entry in CODES {
        assert!(cases.iter().any(|(code, _)| *code == entry.code), "no test makes {} appear", entry.code);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (code, (bench, args)) in cases {
        let mut all = vec!["bpf"];
        all.extend(args);
        let run = bench.run(&all);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{code}");
        let shown = format!("$ meshdump {}\n…\n{}\n", all.join(" "), finding(code, &run.stdout).trim_end());
        settings.bind(|| insta::assert_snapshot!(format!("finding_{code}"), shown));
    }
}
