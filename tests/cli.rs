//! What every command must do, whatever commands there are: they are found by reading the help.

mod common;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{Bench, dump, gzip, tar_of};
use serde_json::Value;

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");

/// Every command with its subcommands, as words.
fn commands(bench: &Bench) -> Vec<Vec<String>> {
    fn below(bench: &Bench, path: &[String], out: &mut Vec<Vec<String>>) {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = bench.run(&args).stdout;
        let list = help.split("\nCommands:\n").nth(1).unwrap_or("");
        for line in list.lines().take_while(|l| !l.is_empty()) {
            let name = line.strip_prefix("  ").filter(|l| !l.starts_with(' ')).and_then(|l| l.split(' ').next());
            if let Some(name) = name.filter(|n| *n != "help") {
                let mut inner = path.to_vec();
                inner.push(name.to_owned());
                below(bench, &inner, out);
                out.push(inner);
            }
        }
    }
    let mut out = Vec::new();
    below(bench, &[], &mut out);
    assert!(out.len() > 8 && out.contains(&vec!["bpf".to_owned(), "predict".to_owned()]), "{out:?}");
    out
}

/// The files that examples speak of.
fn fixtures() -> Bench {
    let bench = Bench::new();
    let file = |name: &str| std::fs::read(format!("{TESTDATA}/{name}")).expect("testdata");
    let plain = |name: &str| {
        let mut out = Vec::new();
        let gz = file(name);
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(gz.as_slice()), &mut out).expect("gzip");
        out
    };
    bench
        .put("config_dump.json.gz", file("envoy/gateway/config_dump.json.gz"))
        .put("config_dump.json", plain("envoy/gateway/config_dump.json.gz"))
        .put("memory", file("envoy/gateway/memory.json"))
        .put("stats.txt", plain("envoy/gateway/stats.txt.gz"))
        .put("server_info", plain("envoy/gateway/server_info.json.gz"))
        .put("bug-report.tar.gz", gzip(tar_of(&[("bug-report/proxies/a/b/config_dump", dump().as_bytes())])))
        .put("maps.json", plain("bpf/seed-002-maps-after.json.gz"))
        .put("progs.json", file("bpf/seed-002-progs.json"))
        .put("outer-dump.json", "[]")
        .put("grid.csv", file("bpf/grid-6.1.csv"))
        .put("maps-before.json", file("bpf/seed-002-maps-before.json.gz"))
        .put("maps-after.json", file("bpf/seed-002-maps-after.json.gz"))
        .put("trace.jsonl", file("bpf/seed-002-services.jsonl"));
    let other = String::from_utf8(plain("envoy/gateway/config_dump.json.gz"))
        .expect("UTF-8")
        .replace("shop/search", "shop/find");
    bench.put("expected.json", plain("envoy/gateway/config_dump.json.gz")).put("actual.json", other);
    for (name, like) in [
        ("before.json.gz", "expected.json"),
        ("after.json.gz", "actual.json"),
        ("monday.tar.gz", "bug-report.tar.gz"),
        ("friday.tar.gz", "bug-report.tar.gz"),
        ("old.json", "expected.json"),
        ("new.json", "actual.json"),
        ("dumps/config_dump.json", "expected.json"),
    ] {
        bench.put(name, std::fs::read(bench.path(like)).expect("a file"));
    }
    bench.run(&["analyze", "config_dump.json", "--all", "-o", "json=analysis.json"]).ends(0, "");
    let generated = bench.run(&["generate", "contour", "--ingresses", "20", "--out", "ingresses"]);
    assert_eq!(generated.code, 0, "{}", generated.stderr);
    bench.run(&["replay", "ingresses/recording.jsonl.gz", "-o", "json=replay.json"]).ends(0, "");
    bench
}

/// Words of a shell command, quotes taken away.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (' ', None) => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
            }
            (c, _) => word.push(c),
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

/// `(the arguments after meshdump, reads stdin)` of every example in the help of every command.
fn examples(bench: &Bench) -> Vec<Vec<String>> {
    let mut pages: Vec<Vec<String>> = commands(bench);
    pages.push(Vec::new());
    let mut out = BTreeSet::new();
    for page in &pages {
        let mut args: Vec<&str> = page.iter().map(String::as_str).collect();
        args.push("--help");
        let help = bench.run(&args).stdout;
        for line in help.split("Examples:\n").nth(1).unwrap_or("").lines().map_while(|l| l.strip_prefix("  ")) {
            // what comes behind two spaces explains, what comes behind > is the shell's
            let line = line.split("  ").next().unwrap_or("").split(" > ").next().unwrap_or("");
            let Some((_, command)) =
                line.split("| ").map(|c| c.split_once("meshdump ")).find_map(|c| c.filter(|c| c.0.is_empty()))
            else {
                continue;
            };
            out.insert(words(command.split(" | ").next().unwrap_or("")));
        }
    }
    assert!(out.len() > 15, "{out:?}");
    out.into_iter().collect()
}

/// An example may name what only its reader has.
fn can_run(bench: &Bench, args: &[String]) -> bool {
    // calibrate starts an Envoy
    args[0] != "calibrate"
        && args.iter().skip(1).all(|a| {
            let file = a.contains('.') && !a.contains('=') && !a.starts_with('-') && a.chars().any(char::is_alphabetic);
            !file || bench.path(a).exists()
        })
}

#[test]
fn examples_in_the_help_work() {
    let bench = fixtures();
    let mut ran = 0;
    let known: BTreeSet<String> = commands(&bench).into_iter().filter(|c| c.len() == 1).flatten().collect();
    for args in examples(&bench).into_iter().filter(|a| known.contains(&a[0])) {
        let line = args.join(" ");
        let args_str: Vec<&str> = args.iter().map(String::as_str).collect();
        let stdin = if args[0] == "bpf" { "maps.json" } else { "config_dump.json" };
        let stdin = std::fs::read(bench.path(stdin)).expect("a file");
        let takes_stdin = args.iter().any(|a| a == "-");
        let run = if takes_stdin { bench.run_with(&args_str, &stdin) } else { bench.run(&args_str) };
        assert_ne!(run.code, 2, "meshdump {line} is no command line: {}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{line}: {}", run.stderr);
        if can_run(&bench, &args) {
            ran += 1;
            assert!([0, 1].contains(&run.code), "meshdump {line} ends with {}: {}", run.code, run.stderr);
        }
    }
    assert!(ran >= 12, "only {ran} examples could be run");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let bench = fixtures();
    // what `generate` makes is large, and then replayed by other examples: a small one does
    let quick = |a: &Vec<String>| !["calibrate", "generate"].contains(&&*a[0]) && !a.contains(&"-".to_owned());
    let mut lines: Vec<Vec<String>> = examples(&bench).into_iter().filter(quick).collect();
    lines.push(["generate", "istio", "--services", "5", "--out", "small"].map(str::to_owned).to_vec());
    for mut help in commands(&bench) {
        help.push("--help".to_owned());
        lines.push(help);
    }
    for format in ["json", "html", "md", "csv", "ndjson", "folded", "openmetrics", "pprof"] {
        lines.push(["analyze", "config_dump.json", "--all", "-o", format].map(str::to_owned).to_vec());
    }
    for args in lines {
        let plain = bench.command(&args.iter().map(String::as_str).collect::<Vec<_>>()).output();
        let expected = plain.expect("the binary runs").status.code().expect("a code");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = bench.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let out = command.stdout(writer).stderr(Stdio::piped()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(expected), "{args:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("roken pipe"), "{args:?}: {said}");
    }
}

#[test]
fn every_command_has_a_page_and_is_completed() {
    let bench = Bench::new();
    let all = commands(&bench);
    bench.run(&["man", "--out", "man"]).ends(0, "");
    for path in &all {
        let page = std::fs::read_to_string(bench.path(&format!("man/meshdump-{}.1", path.join("-")))).expect("a page");
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH DESCRIPTION"), "{path:?}");
        let mut args = vec!["man"];
        args.extend(path.iter().map(String::as_str));
        let run = bench.run(&args);
        assert_eq!(run.ends(0, "").stdout, page);
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.run(&["completions", shell]);
        script.ends(0, "");
        for path in &all {
            assert!(script.stdout.contains(path.last().expect("a name").as_str()), "{path:?} in {shell}");
        }
        // the shell itself reads it, where there is one
        let file = format!("completions.{shell}");
        bench.put(&file, &script.stdout);
        if let Ok(out) = Command::new(shell).arg("-n").arg(bench.path(&file)).output() {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
    }
}

/// What of `value` does not follow `schema`, which is of the kind that `meshdump schema` prints. A key that is written and
/// not described counts too.
fn violations(schema: &Value, value: &Value, root: &Value, at: &str, out: &mut Vec<String>) {
    let mut known = BTreeSet::new();
    check(schema, value, root, at, out, &mut known);
    if let Some(map) = value.as_object().filter(|_| !known.contains("*")) {
        out.extend(map.keys().filter(|k| !known.contains(*k)).map(|k| format!("{at}/{k} is not described")));
    }
}

fn check(schema: &Value, value: &Value, root: &Value, at: &str, out: &mut Vec<String>, known: &mut BTreeSet<String>) {
    let Some(keywords) = schema.as_object() else { return };
    for (keyword, wanted) in keywords {
        let list = || wanted.as_array().expect("a list");
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => {}
            "$ref" => {
                let name = wanted.as_str().and_then(|r| r.strip_prefix("#/$defs/")).expect("a definition");
                check(&root["$defs"][name], value, root, at, out, known);
            }
            "type" => {
                let is = |t: &Value| match t.as_str().expect("a type") {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    other => panic!("type {other}"),
                };
                let ok = if wanted.is_array() { list().iter().any(is) } else { is(wanted) };
                if !ok {
                    out.push(format!("{at} is {value}, not {wanted}"));
                }
            }
            "properties" => {
                for (key, schema) in wanted.as_object().expect("properties") {
                    known.insert(key.clone());
                    if let Some(inner) = value.get(key) {
                        violations(schema, inner, root, &format!("{at}/{key}"), out);
                    }
                }
            }
            "additionalProperties" => {
                known.insert("*".to_owned());
                for (key, inner) in value.as_object().into_iter().flatten() {
                    violations(wanted, inner, root, &format!("{at}/{key}"), out);
                }
            }
            "required" => {
                let missing = list().iter().filter(|k| value.get(k.as_str().expect("a key")).is_none());
                out.extend(missing.map(|k| format!("{at}/{k} is missing")));
            }
            "items" => {
                for (i, inner) in value.as_array().into_iter().flatten().enumerate() {
                    if keywords.get("prefixItems").and_then(Value::as_array).is_none_or(|p| i >= p.len()) {
                        violations(wanted, inner, root, &format!("{at}/{i}"), out);
                    }
                }
            }
            "prefixItems" => {
                for (i, (schema, inner)) in list().iter().zip(value.as_array().into_iter().flatten()).enumerate() {
                    violations(schema, inner, root, &format!("{at}/{i}"), out);
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|n| n < wanted.as_f64().expect("a number")) {
                    out.push(format!("{at} is below {wanted}"));
                }
            }
            "maximum" => {
                if value.as_f64().is_some_and(|n| n > wanted.as_f64().expect("a number")) {
                    out.push(format!("{at} is above {wanted}"));
                }
            }
            "minItems" | "maxItems" => {
                let n = value.as_array().map_or(0, Vec::len) as u64;
                let limit = wanted.as_u64().expect("a number");
                if if keyword == "minItems" { n < limit } else { n > limit } {
                    out.push(format!("{at} has {n} items"));
                }
            }
            "enum" if !list().contains(value) => out.push(format!("{at} is {value}")),
            "const" if wanted != value => out.push(format!("{at} is {value}, not {wanted}")),
            "enum" | "const" => {}
            "anyOf" | "oneOf" => {
                let fits = list().iter().find_map(|s| {
                    let (mut wrong, mut keys) = (Vec::new(), BTreeSet::new());
                    check(s, value, root, at, &mut wrong, &mut keys);
                    wrong.is_empty().then_some(keys)
                });
                match fits {
                    Some(keys) => known.extend(keys),
                    None => out.push(format!("{at} fits none of {wanted}")),
                }
            }
            "allOf" => list().iter().for_each(|s| check(s, value, root, at, out, known)),
            other => panic!("{other} in a schema: teach the test what it means"),
        }
    }
}

#[test]
fn outputs_follow_their_schema() {
    let bench = fixtures();
    let gateway = format!("{TESTDATA}/envoy/gateway");
    let both = format!("{TESTDATA}/envoy");
    let bpf = format!("{TESTDATA}/bpf/");
    let (before, after) = (format!("{bpf}seed-002-maps-before.json.gz"), format!("{bpf}seed-002-maps-after.json.gz"));
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("analysis", vec!["analyze", &gateway, "--limit", "64Mi"]),
        ("analysis", vec!["analyze", &gateway, "--all"]),
        ("analysis", vec!["analyze", &both, "maps.json"]),
        ("inputs", vec!["ls", &both]),
        ("replay", vec!["replay", "ingresses/recording.jsonl.gz", "--limit", "64Mi"]),
        ("bpf", vec!["bpf", &before, &after, "progs.json"]),
        ("diff", vec!["diff", "config_dump.json", "actual.json"]),
        ("diff", vec!["diff", &before, &after]),
        ("check", vec!["check", &both, "--baseline", &gateway, "--budget", "limit.pct < 80%"]),
        ("bpf-simulation", vec!["bpf", "simulate", "trace.jsonl"]),
    ];
    for (kind, mut args) in cases {
        let schema = bench.run(&["schema", kind]);
        let schema = schema.ends(0, "").json();
        args.extend(["-o", "json"]);
        let report = bench.run(&args).json();
        let mut errors = Vec::new();
        violations(&schema, &report, &schema, "", &mut errors);
        errors.truncate(5);
        assert!(errors.is_empty(), "{args:?}\n{}", errors.join("\n"));
    }
}

#[test]
fn kubectl_finds_it_by_its_name() {
    let bench = Bench::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshdump"));
    let out = command.arg0("/usr/local/bin/kubectl-meshdump").args(["analyze", "--help"]).output().expect("runs");
    let help = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(help.contains("Usage: kubectl meshdump analyze [OPTIONS]"), "{help}");
    assert!(bench.run(&["analyze", "--help"]).stdout.contains("Usage: meshdump analyze [OPTIONS]"));
}

#[test]
fn quiet_verbose_and_colour() {
    let bench = fixtures();
    let cut = std::fs::read(bench.path("config_dump.json")).expect("a dump");
    bench.put("cut.json", &cut[..cut.len() * 9 / 10]);
    let warned = bench.run(&["analyze", "cut.json", "-o", "json"]);
    assert!(warned.stderr.starts_with("warning: cut.json: "), "{}", warned.stderr);
    let quiet = bench.run(&["analyze", "cut.json", "-o", "json", "-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (warned.code, ""));
    assert_eq!(quiet.stdout, warned.stdout);
    let verbose = bench.run(&["-v", "analyze", "memory", "config_dump.json", "-o", "json"]);
    assert!(verbose.stderr.contains("read config_dump.json as config_dump ("), "{}", verbose.stderr);
    assert!(bench.run(&["-q", "analyze", "none"]).stderr.starts_with("error: "), "errors stay");
    let bold = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = bench.command(args);
        env.iter().for_each(|(k, v)| {
            command.env(k, v);
        });
        String::from_utf8(command.output().expect("runs").stdout).expect("UTF-8").contains("\u{1b}[1m")
    };
    assert!(!bold(&["analyze", "config_dump.json"], &[]), "stdout is no terminal");
    assert!(bold(&["analyze", "config_dump.json", "--color", "always"], &[("NO_COLOR", "1")]));
    assert!(bold(&["analyze", "config_dump.json"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!bold(&["analyze", "config_dump.json", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_near_miss_gets_a_hint() {
    let bench = Bench::new();
    for (args, hint) in [
        (&["analize", "x"][..], "'analyze'"),
        (&["explain", "MD33"], "did you mean `MD3"),
        (&["man", "analise"], "did you mean `analyze`?"),
        (&["schema", "analisis"], "'analysis'"),
        (&["completions", "bahs"], "'bash'"),
        (&["analyze", "x", "-o", "ndjsn"], "did you mean `ndjson`?"),
        (&["analyze", "x", "--limt", "1"], "'--limit'"),
    ] {
        let run = bench.run(args);
        assert_eq!(run.code, 2, "{args:?}");
        assert!(run.stderr.contains(hint), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn findings_fail_a_run_only_when_asked() {
    let bench = fixtures();
    let gateway = format!("{TESTDATA}/envoy/gateway");
    let severities = |args: &[&str]| -> BTreeSet<String> {
        let report = bench.run(&[args, &["-o", "json"]].concat()).json();
        let list = report["findings"].as_array().expect("findings").iter();
        list.map(|f| f["severity"].as_str().expect("a word").to_owned()).collect()
    };
    let maps = format!("{TESTDATA}/bpf/seed-002-maps-before.json.gz");
    for args in [&["analyze", &gateway][..], &["analyze", "config_dump.json", "--limit", "7Mi"], &["bpf", &maps]] {
        let found = severities(args);
        assert!(!found.is_empty(), "{args:?} finds nothing");
        let has = |list: &[&str]| list.iter().any(|s| found.contains(*s));
        for (level, expected) in [
            ("never", false),
            ("error", has(&["error"])),
            ("warn", has(&["error", "warn"])),
            ("note", has(&["error", "warn", "note"])),
        ] {
            for output in ["text", "json"] {
                let run = bench.run(&[args, &["--fail-on", level, "-o", output]].concat());
                assert_eq!(run.code, i32::from(expected), "{args:?} {level} {output}: {found:?}");
                assert_eq!(run.stderr.contains("(--fail-on)"), expected, "{}", run.stderr);
            }
        }
    }
    // what could not be read comes first
    let run = bench.run(&["analyze", "config_dump.json", "absent", "--fail-on", "note"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
}
