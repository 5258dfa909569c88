//! Bad input, end to end: for each case the exit code, the one line that says what is wrong and what to do, and what
//! could be salvaged.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Bench, cluster, cluster_entry, count, dump, dump_of, gzip, tar, tar_of};
use serde_json::Value;

/// What a file that is none of ours is told.
const EXPECTED: &str = "expected an Envoy config dump: fetch it from the admin port with \
                        `curl -s localhost:15000/config_dump?include_eds`";

/// The dump with `from` replaced in it, once.
#[track_caller]
fn changed(from: &str, to: &str) -> String {
    let text = dump();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

fn offset_of(text: &str, what: &str) -> usize {
    text.find(what).expect("it is in the text")
}

/// Where the entry of a cluster begins in the text of a dump.
fn entry_of(text: &str, name: &str) -> usize {
    let at = offset_of(text, &format!("\"{name}\""));
    text[..at].rfind('\n').map_or(0, |i| i + 1)
}

/// Runs `analyze NAME` on a file of that name.
fn analyze(name: &str, bytes: impl AsRef<[u8]>) -> (common::Run, Value) {
    let bench = Bench::new();
    bench.put(name, bytes);
    bench.analyze(&[name])
}

#[track_caller]
fn finding(report: &Value, code: &str) -> Value {
    let all = report["findings"].as_array().expect("findings");
    all.iter().find(|f| f["code"] == code).unwrap_or_else(|| panic!("{code} in {all:#?}")).clone()
}

#[test]
fn a_missing_file() {
    let bench = Bench::new();
    bench.run(&["analyze", "no/such.json"]).ends(
        3,
        "error: no/such.json: no such file or directory; check the path; it is taken from the current directory\n",
    );
}

#[test]
fn a_missing_file_beside_a_good_one() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    let (run, report) = bench.analyze(&["dump.json", "gone.json"]);
    run.ends(
        3,
        "error: gone.json: no such file or directory; check the path; it is taken from the current directory\n",
    );
    assert_eq!(count(&report, 0, "cluster"), 3);
}

#[test]
fn a_directory_without_evidence() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("empty")).unwrap();
    bench
        .run(&["analyze", "empty"])
        .ends(3, "error: empty: directory holds no files; name the folder that holds the dumps\n");
    bench.put("notes/readme.txt", "nothing to see\n").put("notes/todo.txt", "later\n");
    bench
        .run(&["analyze", "notes"])
        .ends(3, "error: no Envoy config dump in 2 inputs (2 text); `meshdump ls` says more about each\n");
}

#[test]
fn an_empty_file() {
    let (run, _) = analyze("dump.json", "");
    run.ends(3, "error: dump.json: empty file; was the command that wrote it cut off?\n");
    let (run, _) = analyze("dump.json", " \n\t\n");
    run.ends(3, "error: dump.json: empty file; was the command that wrote it cut off?\n");
    let (run, _) = analyze("dump.json.gz", gzip(""));
    run.ends(3, "error: dump.json.gz: empty file; was the command that wrote it cut off?\n");
}

#[test]
fn binary_noise() {
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (run, _) = analyze("noise.bin", noise);
    run.ends(3, &format!("error: noise.bin: recognised as binary: not an input; {EXPECTED}\n"));
}

#[test]
fn other_json() {
    let (run, _) = analyze("package.json", r#"{"name": "x", "version": "1.0.0"}"#);
    run.ends(3, &format!("error: package.json: recognised as json: JSON without anything that is known; {EXPECTED}\n"));
}

#[test]
fn what_was_named_and_not_used_is_said() {
    let bench = Bench::new();
    bench.put("dump.json", dump()).put("copy.json", dump()).put("notes.txt", "later\n").put("x/empty.json", "");
    let (run, _) = bench.analyze(&["dump.json", "copy.json", "notes.txt"]);
    run.ends(0, "");
    run.says("copy.json: not used (recognised as config_dump): the same bytes as dump.json");
    run.says("notes.txt: not used (recognised as text): not an input");
    // what merely lies in a folder is for `ls`
    bench.put("x/dump.json", dump()).put("x/notes.txt", "later\n");
    bench.analyze(&["x"]).0.ends(0, "").nothing_odd();
    let run = bench.run(&["analyze", "dump.json", "x/empty.json"]);
    run.ends(3, "error: x/empty.json: empty file; was the command that wrote it cut off?\n");
}

#[test]
fn truncated_json() {
    let text = dump();
    let start = entry_of(&text, "gamma");
    for cut in [start + 1, start + 40, text.find("gamma").unwrap() + 2, text[start..].find('\n').unwrap() + start - 1] {
        let (run, report) = analyze("dump.json", &text[..cut]);
        run.ends(0, "");
        run.says(&format!(
            "dump.json: byte {start} (line 6): the file ends inside a resource that begins here; \
             3 resources were whole before it"
        ));
        run.says("fix: fetch the dump again without a size or time limit");
        assert_eq!((count(&report, 0, "cluster"), count(&report, 0, "bootstrap")), (2, 1), "cut at {cut}");
        assert_eq!(finding(&report, "MD103")["evidence"][0]["offset"], start);
        assert_eq!(finding(&report, "MD103")["evidence"][0]["path"], "dump.json");
    }
    // between two resources
    let (run, report) = analyze("dump.json", &text[..start]);
    run.ends(0, "");
    run.says(&format!(
        "dump.json: byte {start} (line 6): the file ends inside a list of resources that begins here; \
         3 resources were whole before it"
    ));
    assert_eq!(count(&report, 0, "cluster"), 2);
}

#[test]
fn partly_understood_fails_with_strict() {
    let text = dump();
    let bench = Bench::new();
    bench
        .put("cut.json", &text[..text.len() - 80])
        .put("nan.json", changed("\"1s\",\"name\":\"beta\"", "NaN,\"name\":\"beta\""));
    for name in ["cut.json", "nan.json"] {
        assert_eq!(bench.run(&["analyze", name]).code, 0, "{name}");
        assert_eq!(bench.run(&["analyze", "--strict", name]).code, 3, "{name}");
        assert_eq!(bench.run(&["ls", "--strict", name]).code, 3, "{name}");
    }
}

#[test]
fn what_json_output_cannot_show_goes_to_stderr() {
    let text = dump();
    let start = entry_of(&text, "gamma");
    let bench = Bench::new();
    bench.put("cut.json", &text[..start + 50]);
    let run = bench.run(&["analyze", "cut.json", "-o", "json"]);
    run.ends(
        0,
        &format!(
            "warning: cut.json: byte {start} (line 6): the file ends inside a resource that begins here; \
             3 resources were whole before it; fetch the dump again without a size or time limit\n"
        ),
    );
    assert_eq!(run.json()["problems"][0]["loss"], "part");
}

#[test]
fn truncated_gzip() {
    let names: Vec<String> =
        (0..2000).map(|i| format!("cluster-{:08x}", i * 2_654_435_761_u64 % 0xffff_ffff)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = dump_of("node-1", &names);
    let packed = gzip(&text);
    let cut = packed.len() / 2;
    let (run, report) = analyze("dump.json.gz", &packed[..cut]);
    run.ends(0, "");
    let evidence = &finding(&report, "MD103")["evidence"][0];
    let offset = usize::try_from(evidence["offset"].as_u64().unwrap()).unwrap();
    // the break is told as the start of the resource that is not whole: all before it are there
    let whole = count(&report, 0, "cluster");
    assert_eq!(whole, text[..offset].matches("\"name\":").count() as u64);
    assert!(whole > 500, "{whole}");
    assert_eq!(offset, entry_of(&text, names[usize::try_from(whole).unwrap()]));
    let said = evidence["text"].as_str().unwrap();
    assert!(said.starts_with(&format!("gzip data ends early: at byte {cut} of the compressed data, after ")), "{said}");
    assert!(said.ends_with(&format!("; {} resources were whole before it", whole + 1)), "{said}");
    run.says("fix: the copy or the recording was cut; take it again");
}

#[test]
fn bad_gzip_crc() {
    let text = dump();
    let mut packed = gzip(&text);
    let len = packed.len();
    packed[len - 8] ^= 1;
    let (run, report) = analyze("dump.json.gz", &packed);
    run.ends(0, "");
    run.says(&format!(
        "dump.json.gz: byte {0}: gzip checksum is wrong: the content of {0} inflated bytes differs from what was \
         compressed (byte {1} of the compressed data); 4 resources were whole before it",
        text.len(),
        len
    ));
    run.says("fix: the file was damaged on the way; copy it again in binary mode");
    assert_eq!(count(&report, 0, "cluster"), 3);
    finding(&report, "MD103");
}

#[test]
fn lines_in_front() {
    for front in [
        "200\n",
        "2026-11-01T00:00:00.000000Z\tinfo\tFLAG: --x=\"{y}\"\n[2026-11-01 00:00:00.000][1][info][main] [source/a.cc:1] [x]\n",
        "Defaulted container \"istio-proxy\" out of: istio-proxy, app\n",
    ] {
        let (run, report) = analyze("dump.json", format!("{front}{}", dump()));
        run.ends(0, "");
        run.says(&format!("dump.json: byte 0: {} bytes in front of the JSON were skipped", front.len()));
        assert_eq!(count(&report, 0, "cluster"), 3, "{front}");
        // places count from the start of the file all the same
        let row =
            report["proxies"][0]["resources"].as_array().unwrap().iter().find(|r| r["name"] == "beta").unwrap().clone();
        let text = format!("{front}{}", dump());
        assert_eq!(row["source"]["offset"], entry_of(&text, "beta"));
        assert_eq!(row["source"]["line"], 5 + front.matches('\n').count());
    }
}

#[test]
fn byte_order_marks() {
    let (run, report) = analyze("dump.json", format!("\u{feff}{}", dump()));
    run.ends(0, "");
    assert_eq!(count(&report, 0, "cluster"), 3);
    for (mark, bytes) in
        [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes as fn(u16) -> [u8; 2])]
    {
        let mut wide = mark.to_vec();
        wide.extend(dump().encode_utf16().flat_map(bytes));
        let (run, report) = analyze("dump.json", &wide);
        run.ends(0, "");
        run.says("dump.json: UTF-16 text; offsets count bytes after conversion to UTF-8");
        assert_eq!(count(&report, 0, "cluster"), 3);
        let (_, cut) = analyze("dump.json", &wide[..wide.len() - 101]);
        assert_eq!(count(&cut, 0, "cluster"), 2);
        finding(&cut, "MD103");
    }
}

#[test]
fn two_documents_in_one_file() {
    let text = format!("{}{}", dump(), dump_of("node-2", &["alpha"]));
    let (run, report) = analyze("dump.json", text);
    run.ends(0, "");
    run.says("dump.json: 2 JSON documents in one file; all were read");
    let mut got: Vec<(String, u64)> = (0..report["proxies"].as_array().unwrap().len())
        .map(|i| (report["proxies"][i]["node_id"].as_str().unwrap().to_owned(), count(&report, i, "cluster")))
        .collect();
    got.sort();
    assert_eq!(got, [("node-1".to_owned(), 3), ("node-2".to_owned(), 1)]);
}

#[test]
fn ten_thousand_levels_inside_a_resource() {
    for (open, close) in [("{\"x\":", "}"), ("[", "]")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let text = changed("\"name\":\"beta\"", &format!("\"name\":\"beta\",\"x\":{deep}"));
        let (run, report) = analyze("dump.json", &text);
        run.ends(0, "");
        assert_eq!((count(&report, 0, "cluster"), count(&report, 0, "bootstrap")), (2, 1));
        let evidence = &finding(&report, "MD105")["evidence"][0];
        assert_eq!(evidence["text"], "a resource cannot be read: nested deeper than 128 levels");
        assert_eq!((&evidence["path"], &evidence["line"]), (&"dump.json".into(), &5.into()));
        let at = usize::try_from(evidence["offset"].as_u64().unwrap()).unwrap();
        assert!((offset_of(&text, "\"x\":")..offset_of(&text, "gamma")).contains(&at), "{at}");
    }
}

#[test]
fn ten_thousand_levels_around_and_beside() {
    for deep in ["{\"x\":".repeat(10_000) + "1" + &"}".repeat(10_000), "[".repeat(10_000) + &"]".repeat(10_000)] {
        let (run, _) = analyze("deep.json", &deep);
        run.ends(
            3,
            &format!("error: deep.json: recognised as json: JSON without anything that is known; {EXPECTED}\n"),
        );
        // beside the resources it is skipped like anything that is not wanted
        let (run, report) = analyze("dump.json", changed("{\"configs\"", &format!("{{\"x\":{deep},\"configs\"")));
        run.ends(0, "").nothing_odd();
        assert_eq!(count(&report, 0, "cluster"), 3);
    }
}

/// Writes the dump with a string of 100 MB in the cluster `beta`, without holding it.
fn write_huge(out: &mut dyn Write) {
    let text = changed("\"name\":\"beta\"", "\"name\":\"beta\",\"x\":\"@\"");
    let (before, after) = text.split_once("@\"").unwrap();
    let megabyte = vec![b'x'; 1_000_000];
    out.write_all(before.as_bytes()).unwrap();
    for _ in 0..100 {
        out.write_all(&megabyte).unwrap();
    }
    out.write_all(b"\"").unwrap();
    out.write_all(after.as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
fn a_string_of_100_mb() {
    let bench = Bench::new();
    write_huge(&mut BufWriter::new(File::create(bench.path("dump.json")).unwrap()));
    let (run, report) = bench.analyze(&["dump.json"]);
    let start = entry_of(&dump(), "beta");
    let len = cluster_entry(cluster("beta")).to_string().len() + ",\"x\":\"\"".len() + 100_000_000;
    run.ends(0, "");
    run.says(&format!(
        "dump.json: byte {start} (line 5): a resource of {len} bytes is longer than the limit and was skipped"
    ));
    run.says("fix: raise --max-resource");
    assert_eq!(count(&report, 0, "cluster"), 2);
    finding(&report, "MD105");
}

/// The same through a stream: memory stays near the limit for one resource.
#[cfg(target_os = "linux")]
#[test]
fn a_packed_string_of_100_mb_takes_little_memory() {
    let bench = Bench::new();
    let mut packed =
        flate2::write::GzEncoder::new(File::create(bench.path("dump.json.gz")).unwrap(), flate2::Compression::fast());
    write_huge(&mut packed);
    packed.finish().unwrap();
    let script = format!(
        "ulimit -v 400000; exec '{}' analyze dump.json.gz --max-resource 8Mi --width 1000",
        env!("CARGO_BIN_EXE_meshdump")
    );
    let out = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(bench.path("."))
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("is longer than the limit and was skipped"), "{text}");
    assert!(text.contains("gamma"), "{text}");
}

/// As everywhere in JSON's wild: the last one counts.
#[test]
fn duplicate_keys() {
    let (run, report) = analyze("dump.json", changed("\"name\":\"beta\"", "\"name\":\"first\",\"name\":\"last\""));
    run.ends(0, "").nothing_odd();
    let names: Vec<&str> =
        report["proxies"][0]["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert!(names.contains(&"last") && !names.contains(&"first"), "{names:?}");
    assert_eq!(count(&report, 0, "cluster"), 3);
    // two `configs`, two lists in one section: nothing of either is lost
    let (_, report) = analyze("dump.json", dump().replacen("{\"configs\"", "{\"configs\":[],\"configs\"", 1));
    assert_eq!(count(&report, 0, "cluster"), 3);
}

#[test]
fn numbers_as_strings_and_the_reverse() {
    let bench = Bench::new();
    let ring = |size: &str| {
        changed(
            "\"name\":\"beta\"",
            &format!(
                "\"lb_policy\":\"RING_HASH\",\"ring_hash_lb_config\":{{\"minimum_ring_size\":{size}}},\"name\":\"beta\""
            ),
        )
    };
    bench.put("n.json", ring("4096")).put("s.json", ring("\"4096\""));
    let bytes = |name: &str| bench.analyze(&[name]).1["proxies"][0]["memory"]["config"]["bytes"].clone();
    let (a, b) = (bytes("n.json").as_u64().unwrap(), bytes("s.json").as_u64().unwrap());
    // the text of the configuration differs by two quotes, the ring must not
    assert!(a.abs_diff(b) < 100, "{a} {b}");
    // strings that are numbers or truths
    let (run, report) = analyze("dump.json", changed("\"name\":\"beta\"", "\"name\":17,\"alt_stat_name\":true"));
    run.ends(0, "").nothing_odd();
    let rows = report["proxies"][0]["resources"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["name"] == "17"), "{rows:#?}");
    let (run, report) = analyze("dump.json", dump().replace("\"version_info\":\"1\"", "\"version_info\":1"));
    run.ends(0, "").nothing_odd();
    assert_eq!(count(&report, 0, "cluster"), 3);
    // and what is neither
    let (run, report) = analyze("dump.json", changed("\"name\":\"beta\"", "\"name\":{\"a\":[]}"));
    run.ends(0, "");
    run.says("dump.json: 1 value has another type than Envoy's API says; it was taken as absent");
    assert_eq!(count(&report, 0, "cluster"), 3);
}

#[test]
fn invalid_utf8_in_a_name() {
    let text = dump();
    let mut bytes = text.clone().into_bytes();
    let at = offset_of(&text, "beta");
    bytes[at] = 0xff;
    let (run, report) = analyze("dump.json", &bytes);
    run.ends(0, "");
    run.says(&format!("dump.json: byte {at} (line 5): invalid UTF-8 in a resource; read with replacement characters"));
    assert_eq!(count(&report, 0, "cluster"), 3);
    let rows = report["proxies"][0]["resources"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["name"] == "\u{fffd}eta"), "{rows:#?}");
}

#[test]
fn nan_and_other_words_that_are_no_json() {
    for (word, said) in [
        ("NaN", "expected a value, found `NaN`"),
        ("Infinity", "expected a value, found `Infinity`"),
        ("None", "expected a value, found `None`"),
        ("'1s'", "expected a value, found `'1s'`"),
    ] {
        let text = changed("\"1s\",\"name\":\"beta\"", &format!("{word},\"name\":\"beta\""));
        let at = text.find(word).unwrap();
        let (run, report) = analyze("dump.json", &text);
        run.ends(0, "");
        run.says(&format!("dump.json: byte {at} (line 5): a resource cannot be read: {said}"));
        run.says("fix: correct it at this byte, or fetch the dump again; everything else is in the report");
        assert_eq!(count(&report, 0, "cluster"), 2);
        finding(&report, "MD105");
    }
}

#[test]
fn things_that_are_no_objects_in_a_list() {
    let text = changed("\"dynamic_active_clusters\":[", "\"dynamic_active_clusters\":[null,5,\"x\",[1],");
    let (run, report) = analyze("dump.json", &text);
    run.ends(0, "");
    run.says(&format!(
        "dump.json: byte {} (line 3): a list of resources holds something that is no object; it was skipped",
        offset_of(&text, "null")
    ));
    assert_eq!(count(&report, 0, "cluster"), 3);
    assert_eq!(finding(&report, "MD105")["title"], "resources that cannot be read were left out (4 places)");
}

#[test]
fn damage_between_resources() {
    let text = changed("\"dynamic_active_clusters\":[", "\"dynamic_active_clusters\" [");
    let at = offset_of(&text, "clusters\" [") + "clusters\" ".len();
    let (run, report) = analyze("dump.json", &text);
    run.ends(0, "");
    run.says(&format!(
        "dump.json: byte {at} (line 3): not JSON from here on: expected `:` after a key; 1 resource was whole before it"
    ));
    run.says("fix: fetch the dump again, or cut the file at this byte");
    assert_eq!(count(&report, 0, "bootstrap"), 1);
}

#[test]
fn a_gzip_bomb() {
    let text = dump();
    let bomb = gzip(text.trim_end().trim_end_matches("]}").to_owned() + &" ".repeat(20_000_000));
    let bench = Bench::new();
    bench.put("bomb.gz", bomb);
    let (run, report) = bench.analyze(&["--max-bytes", "1Mi", "bomb.gz"]);
    run.ends(0, "");
    run.says(
        "bomb.gz: byte 1048576 (line 8): inflates to more than the limit of 1048576 bytes (--max-bytes): \
         the file ends inside the document that begins here; 4 resources were whole before it",
    );
    run.says("fix: raise --max-bytes if you trust this file");
    assert_eq!(count(&report, 0, "cluster"), 3);
    // in an archive, and as an archive
    bench.put("bomb.tar.gz", gzip(tar_of(&[("config_dump.json", text.as_bytes()), ("zeros", &vec![0; 20_000_000])])));
    let (run, report) = bench.analyze(&["--max-bytes", "1Mi", "bomb.tar.gz"]);
    run.ends(0, "");
    assert!(
        run.stdout.contains("archive inflates to more than the limit of 1048576 bytes (--max-bytes)"),
        "{}",
        run.stdout
    );
    assert_eq!(count(&report, 0, "cluster"), 3);
}

#[test]
fn tar_entries_that_lead_out_and_links() {
    let text = dump();
    let bytes = tar(&[
        ("../../etc/config_dump.json", tar::EntryType::Regular, text.as_bytes()),
        ("/root/notes.txt", tar::EntryType::Regular, b"x\n"),
        ("link", tar::EntryType::Symlink, b""),
        ("hard", tar::EntryType::Link, b""),
    ]);
    let bench = Bench::new();
    bench.put("in/odd.tar", bytes);
    let before = std::fs::read_dir(bench.path(".")).unwrap().count();
    let (run, report) = bench.analyze(&["in/odd.tar"]);
    run.ends(0, "");
    run.says("in/odd.tar: links, devices and pipes in the archive are not read: 2, the first is \"link\"");
    run.says(
        "in/odd.tar: names in the archive lead out of it (absolute or with ..); they are read, nothing is written: 2, \
         the first is \"../../etc/config_dump.json\"",
    );
    assert_eq!(count(&report, 0, "cluster"), 3);
    assert_eq!(report["inputs"][0]["path"], "in/odd.tar!../../etc/config_dump.json");
    // only the report is new
    assert_eq!(std::fs::read_dir(bench.path(".")).unwrap().count(), before + 1);
}

#[test]
fn a_zip_that_lies_about_sizes() {
    let text = dump();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file("config_dump.json", options).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    let honest = writer.finish().unwrap().into_inner();
    for declared in [10_u32, 3_000_000_000] {
        let mut bytes = honest.clone();
        let local = bytes.windows(4).position(|w| w == b"PK\x03\x04").unwrap();
        let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[local + 22..local + 26].copy_from_slice(&declared.to_le_bytes());
        bytes[central + 24..central + 28].copy_from_slice(&declared.to_le_bytes());
        let (run, report) = analyze("lie.zip", &bytes);
        run.ends(0, "");
        run.says(&format!(
            "lie.zip!config_dump.json: byte {0}: zip header declares {declared} bytes but the member holds {0}; \
             4 resources were whole before it",
            text.len()
        ));
        run.says("fix: the archive was damaged or made to mislead; take it from its source again");
        assert_eq!(count(&report, 0, "cluster"), 3);
    }
}

/// Names in every place that reaches a report: node, cluster, type of a section, file, rejected listener.
#[test]
fn control_characters_in_names() {
    let evil = "e\\u001b]0;owned\\u0007\\u001b[31mv\\u009b31mi\\u007fl\\u202e";
    let text = dump().replace("alpha", evil).replace("node-1", evil).replace(
        "{\"configs\":[",
        &format!(
            "{{\"configs\":[{{\"@type\":\"type.googleapis.com/x.{evil}\"}},{{\"@type\":\
             \"type.googleapis.com/envoy.admin.v3.ListenersConfigDump\",\"dynamic_listeners\":[{{\"name\":\"{evil}\",\
             \"error_state\":{{\"details\":\"{evil}\",\"failed_configuration\":{{}}}}}}]}},"
        ),
    );
    let bench = Bench::new();
    bench.put("d/a\u{1b}[31m\u{7}.json", &text).put("e/b\u{1b}[31m.json", &text).put("e/c\u{1b}[2J.txt", "x");
    for args in [
        vec!["analyze", "d"],
        vec!["analyze", "d", "e"],
        vec!["analyze", "d", "--all", "-o", "json"],
        vec!["ls", "d", "e"],
        vec!["ls", "d", "e", "-o", "json"],
        vec!["analyze", "e/c\u{1b}[2J.txt"],
        vec!["analyze", "gone\u{1b}[31m"],
    ] {
        let run = bench.run(&args);
        for (stream, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            let raw = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{args:?} {stream}: {text:?}");
            for byte in [0x1b, 0x07, 0x9b, 0x7f] {
                assert!(!text.as_bytes().contains(&byte), "{args:?} {stream}: byte {byte:#x}");
            }
        }
    }
    // the JSON means the same name
    let report = bench.run(&["analyze", "d", "-o", "json"]).json();
    let want = "e\u{1b}]0;owned\u{7}\u{1b}[31mv\u{9b}31mi\u{7f}l\u{202e}";
    assert_eq!(report["proxies"][0]["node_id"], want);
    assert!(report["proxies"][0]["resources"].as_array().unwrap().iter().any(|r| r["name"] == want));
}

/// JSON forbids raw control characters in strings: the resource is lost, not the dump.
#[test]
fn raw_control_characters() {
    let text = changed("beta", "b\u{1b}[31mta");
    let (run, report) = analyze("dump.json", &text);
    run.ends(0, "");
    run.says(&format!(
        "dump.json: byte {} (line 5): a resource cannot be read: a control character inside a string, \
         where JSON has an escape",
        text.find('\u{1b}').unwrap()
    ));
    assert_eq!(count(&report, 0, "cluster"), 2);
    assert!(!run.stdout.contains('\u{1b}'));
}

/// Text and JSON show it as it is; a page must escape it.
#[test]
fn html_in_names() {
    let name = "<script>alert(1)</script>&amp;";
    let (run, report) = analyze("dump.json", dump().replace("alpha", name));
    run.ends(0, "");
    assert!(run.stdout.contains(name), "{}", run.stdout);
    assert!(report["proxies"][0]["resources"].as_array().unwrap().iter().any(|r| r["name"] == name));
}

#[test]
fn secrets_stay_out_of_messages() {
    // a broken resource is named by its place, never quoted at length
    let text = changed("\"1s\",\"name\":\"beta\"", "SuperSecretTokenThatNobodyMaySee,\"name\":\"beta\"");
    let (run, report) = analyze("dump.json", text);
    assert!(!run.stdout.contains("SuperSecretTokenThat"), "{}", run.stdout);
    assert!(!report.to_string().contains("SuperSecretTokenThat"));
}

#[test]
fn a_closed_pipe_is_quiet() {
    let bench = Bench::new();
    // more than a pipe holds, so that writing cannot end before the reader is gone
    let names: Vec<String> = (0..3000).map(|i| format!("cluster-{i}")).collect();
    bench.put("dump.json", dump_of("n", &names.iter().map(String::as_str).collect::<Vec<_>>()));
    for args in [&["analyze", "dump.json", "--all"][..], &["analyze", "dump.json", "--all", "-o", "json"], &["--help"]]
    {
        let mut child =
            bench.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8(out.stderr).unwrap(), "", "{args:?}");
    }
}

#[test]
fn usage() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    bench
        .run(&["analyze", "dump.json", "-o", "json", "-o", "text"])
        .ends(2, "error: at most one -o may go to stdout; give the others a path: -o json=report.json\n");
    for (args, said) in [
        (&["analyze", "dump.json", "--no-such-flag"][..], "unexpected argument '--no-such-flag' found"),
        (&["analyze"], "required arguments were not provided"),
        (&["analyse", "dump.json"], "a similar subcommand exists: 'analyze'"),
        (&["analyze", "dump.json", "-o", "pdf"], "unknown format `pdf`; known: text, json"),
        (&["analyze", "dump.json", "-o", "json="], "`json=` needs a path after `=`"),
        (&["analyze", "dump.json", "--limit", "12parsecs"], "unknown unit `parsecs`; write it as 512Mi, 1Gi or 300M"),
        (&["explain", "MD999"], "unknown finding code `MD999`"),
    ] {
        let run = bench.run(args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{args:?}");
        assert!(run.stderr.contains(said), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn output_that_cannot_be_written() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    bench
        .run(&["analyze", "dump.json", "-o", "json=no/such/folder.json"])
        .ends(4, "error: cannot write no/such/folder.json: No such file or directory (os error 2)\n");
    #[cfg(target_os = "linux")]
    {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = bench.command(&["analyze", "dump.json"]).stdout(full).output().unwrap();
        assert_eq!(out.status.code(), Some(4));
        assert_eq!(
            String::from_utf8(out.stderr).unwrap(),
            "error: cannot write to stdout: No space left on device (os error 28)\n"
        );
    }
}

/// What stands beside a dump is no safer than the dump.
#[test]
fn companions_that_are_cut_or_nested() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let bench = Bench::new();
    bench.put("d/config_dump.json", dump());
    for (name, text) in [
        ("memory", format!("{{\"allocated\":\"6000000\",\"x\":{deep}}}")),
        (
            "server_info",
            format!("{{\"version\":\"a/1.40.0/c\",\"state\":\"LIVE\",\"hot_restart_version\":\"1\",\"node\":{deep}}}"),
        ),
        ("certs", format!("{{\"certificates\":[{{\"ca_cert\":[],\"cert_chain\":{deep}}}]}}")),
        ("clusters", format!("{{\"cluster_statuses\":[{{\"name\":\"alpha\",\"host_statuses\":{deep}}}]}}")),
        ("listeners", format!("{{\"listener_statuses\":[{{\"name\":\"a\",\"local_address\":{deep}}}]}}")),
        ("init_dump", format!("{{\"unready_targets_dumps\":[{{\"name\":\"a\",\"target_names\":{deep}}}]}}")),
        ("stats.json", format!("{{\"stats\":[{{\"name\":\"server.live\",\"value\":{deep}}}]}}")),
    ] {
        bench.put(&format!("d/{name}"), &text);
        for cut in [text.len(), text.len() / 2, text.len() - 3] {
            bench.put(&format!("d/{name}"), &text[..cut]);
            let (run, report) = bench.analyze(&["d"]);
            run.ends(0, "");
            assert_eq!(count(&report, 0, "cluster"), 3, "{name} cut at {cut}");
        }
        std::fs::remove_file(bench.path(&format!("d/{name}"))).unwrap();
    }
    // named, it is a failure; found beside the dump, a line
    bench.put("d/stats.json", "{\"stats\":[{\"na");
    let line = "d/stats.json: byte 0: not /stats: expected `name: value`, Prometheus samples or JSON";
    bench.analyze(&["d"]).0.ends(0, "").says(line);
    bench.analyze(&["d/config_dump.json", "d/stats.json"]).0.ends(3, &format!("error: {line}\n")).says(line);
    assert_eq!(bench.run(&["analyze", "d", "--strict"]).code, 3);
    std::fs::remove_file(bench.path("d/stats.json")).unwrap();
    // a number that is cut is not another number
    bench.put("d/memory", "{\"allocated\": 60000");
    let (run, report) = bench.analyze(&["d"]);
    assert!(report["proxies"][0]["memory"]["observed"].is_null(), "{}", run.stdout);
}

/// Hostile bytes in all shapes at once end quickly.
#[test]
fn nothing_takes_long() {
    let bench = Bench::new();
    bench
        .put("a.json", "[".repeat(3_000_000))
        .put("b.json", "{\"configs\":".repeat(300_000))
        .put("c.json", "{\"a\":1}\n".repeat(300_000))
        .put("d.txt", "{".repeat(3_000_000))
        .put("e.txt", "a.b: 1\n".repeat(300_000))
        .put("f.json", format!("{{\"configs\":[{}", "{},".repeat(1_000_000)))
        .put(
            "g.json",
            format!(
                "{{\"configs\":[{{\"@type\":\"x/envoy.admin.v3.ClustersConfigDump\",\"static_clusters\":[{}",
                "0,".repeat(300_000)
            ),
        );
    for name in ["a.json", "b.json", "c.json", "d.txt", "e.txt", "f.json", "g.json"] {
        let start = Instant::now();
        let run = bench.run(&["analyze", name]);
        assert!([0, 3].contains(&run.code), "{name}: {} {}", run.code, run.stderr);
        assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
    }
}
