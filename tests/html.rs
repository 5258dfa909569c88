//! The page for a browser: names are data, nothing is loaded, every number is there without a script; and a saved report
//! gives the page of a fresh one.

mod common;

use std::io::Write as _;
use std::process::Command;

use common::{Bench, bootstrap, cluster, cluster_entry, configs, dump, hostile, hostile_dump, section};
use serde_json::json;

/// The page of `analyze`.
fn page(bench: &Bench, args: &[&str]) -> String {
    let mut all = vec!["analyze", "-o", "html=page.html"];
    all.extend(args);
    let run = bench.run(&all);
    run.ends(0, "");
    assert_eq!(run.stdout, "");
    std::fs::read_to_string(bench.path("page.html")).expect("a page in UTF-8")
}

/// What is between tags, and the tags.
fn tags(page: &str) -> Vec<&str> {
    // the style sheet and the script hold no markup
    let style = page.find("<style>").expect("a style sheet")..page.find("</style>").expect("its end");
    let script = page.rfind("<script>").expect("a script")..page.rfind("</script>").expect("its end");
    let mut out = Vec::new();
    for part in [&page[..style.start], &page[style.end..script.start], &page[script.end..]] {
        for (at, _) in part.match_indices('<') {
            let end = part[at..].find('>').expect("a tag ends");
            out.push(&part[at..=at + end]);
        }
    }
    out
}

#[test]
fn the_policy_allows_the_page_and_nothing_else() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let bench = Bench::new();
    bench.put("dump.json", dump());
    let page = page(&bench, &["dump.json"]);
    let policy =
        page.split("Content-Security-Policy\" content=\"").nth(1).and_then(|p| p.split('"').next()).expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for word in ["unsafe", "http", "data:", "*", "self"] {
        assert!(!policy.contains(word), "{word} in {policy}");
    }
    for element in ["style", "script"] {
        let bodies: Vec<&str> = page
            .split(&format!("<{element}>"))
            .skip(1)
            .map(|p| p.split(&format!("</{element}>")).next().expect("its end"))
            .collect();
        assert_eq!(bodies.len(), 1, "one {element}");
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bodies[0]));
        assert!(policy.contains(&format!("{element}-src 'sha256-{hash}'")), "{element} is not allowed by {policy}");
    }
    for tag in tags(&page) {
        for bad in [" style=", " src=", " on", "<link", "<iframe", "<object", "<base", "<form", "<img", "url("] {
            assert!(!tag.contains(bad), "{bad} in {tag}");
        }
        if let Some(target) = tag.split(" href=\"").nth(1) {
            assert!(target.starts_with('#'), "{tag} leads out of the page");
        }
    }
    assert!(!page.contains("@import") && !page.contains("url("), "the style sheet loads something");
}

#[test]
fn names_are_data() {
    let bench = Bench::new();
    bench.put("dump.json", hostile_dump());
    let hostile_page = page(&bench, &["dump.json"]);
    for tag in tags(&hostile_page) {
        let name = element(tag);
        assert!(ELEMENTS.contains(&name), "{tag}");
        assert!(!tag.contains("onload=\"") && !tag.contains(" onerror") && !tag.contains("onmouseover='d"), "{tag}");
    }
    assert_eq!(hostile_page.matches("<script").count(), 1);
    assert!(hostile_page.contains("&lt;script&gt;"), "the name is shown");
    assert!(hostile_page.contains("\\u{1b}[31mred"), "escape codes are shown as text");
    let acting = |c: &char| {
        (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c) || ('\u{2066}'..='\u{2069}').contains(c)
    };
    assert_eq!(hostile_page.chars().find(acting), None);
    assert!(hostile_page.len() < 1 << 20, "4 KB names are cut: {} bytes", hostile_page.len());
}

/// What a page is made of.
const ELEMENTS: [&str; 46] = [
    "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "main", "nav", "footer", "a", "h1", "h2", "h3", "p",
    "ul", "li", "span", "strong", "small", "code", "br", "div", "article", "details", "summary", "table", "thead",
    "tbody", "tr", "th", "td", "caption", "input", "label", "svg", "g", "rect", "text", "tspan", "line", "path", "i",
    "bdi", "section", "script",
];

fn element(tag: &str) -> &str {
    tag.trim_start_matches(['<', '/']).split([' ', '>', '\n']).next().expect("a name")
}

#[test]
fn everything_is_there_without_a_script() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    let run = bench.run(&["analyze", "dump.json", "--limit", "64Mi", "-o", "html=page.html", "-o", "json"]);
    run.ends(0, "");
    let page = std::fs::read_to_string(bench.path("page.html")).expect("a page");
    let report = run.json();
    for finding in report["findings"].as_array().expect("findings") {
        assert!(page.contains(finding["code"].as_str().expect("a code")), "{finding}");
    }
    for resource in report["proxies"][0]["resources"].as_array().expect("resources") {
        assert!(page.contains(resource["name"].as_str().expect("a name")), "{resource}");
    }
    assert!(page.contains(&report["inputs"][0]["sha256"].as_str().expect("a hash")[..16]));
    assert!(page.contains(report["tool"]["cost_model"].as_str().expect("a model")));
}

/// Each way to group, and each size, has every byte of the configuration once.
#[test]
fn treemaps_add_up() {
    let bench = Bench::new();
    for proxy in ["gateway", "sidecar"] {
        let folder = format!("{}/testdata/envoy/{proxy}", env!("CARGO_MANIFEST_DIR"));
        let report = bench.run(&["analyze", &folder, "--all", "-o", "json"]).json();
        let proxy = &report["proxies"][0];
        let dimensions = proxy["treemap"].as_array().expect("a treemap with --all");
        assert_eq!(dimensions.len(), 4);
        for d in dimensions {
            let sum = |size: &str| -> u64 {
                d["groups"].as_array().expect("groups").iter().map(|g| g[size].as_u64().expect("bytes")).sum()
            };
            let field = d["dimension"] == "field";
            let config = if field { 0 } else { proxy["memory"]["config"]["bytes"].as_u64().expect("bytes") };
            assert_eq!([sum("bytes"), sum("retained_bytes")], [config, config], "{}", d["dimension"]);
            assert!(sum("json_bytes") > 100_000, "{}", d["dimension"]);
        }
    }
}

#[test]
fn one_output_does_not_change_another() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    for format in ["text", "json"] {
        let alone = bench.run(&["analyze", "dump.json", "-o", format]);
        let beside = bench.run(&["analyze", "dump.json", "-o", format, "-o", "html=page.html"]);
        assert_eq!(alone.stdout, beside.stdout, "{format}");
    }
}

#[test]
fn unknown_formats_get_a_hint() {
    let bench = Bench::new();
    bench.put("dump.json", dump());
    let run = bench.run(&["analyze", "dump.json", "-o", "htm=x"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("did you mean `html`?"), "{}", run.stderr);
}

/// The 10,000 clusters of a large mesh, as `scripts/make_dump.py` would write them, in little.
fn ten_thousand_clusters() -> String {
    let clusters: Vec<_> = (0..10_000)
        .map(|i| cluster_entry(cluster(&format!("outbound|8080||service-{i:05}.team-{:02}.svc.cluster.local", i % 40))))
        .collect();
    configs(vec![
        bootstrap("node-1"),
        section("ClustersConfigDump", json!({"version_info": "1", "dynamic_active_clusters": clusters})),
    ])
    .to_string()
}

#[test]
fn a_large_dump_is_a_small_page() {
    let bench = Bench::new();
    bench.put("dump.json", ten_thousand_clusters());
    let page = page(&bench, &["dump.json"]);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("others]"), "what is left out is said");
}

/// A browser, where there is one.
fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success()))
}

/// The page as the browser has it after loading, and what the browser complained about.
fn in_browser(bench: &Bench, browser: &str, page: &str) -> (String, String) {
    let out = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", bench.path("profile").display()))
        .arg(format!("file://{}", bench.path(page).display()))
        .output()
        .expect("the browser runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (String::from_utf8_lossy(&out.stdout).into_owned(), said)
}

/// A recording whose listeners and clusters are named like that and change again and again.
fn hostile_recording() -> String {
    let line = |t: usize, kind: &str, resources: Vec<serde_json::Value>| {
        let version = &hostile()[t % hostile().len()];
        let url = format!("type.googleapis.com/envoy.config.{kind}");
        json!({"t": t, "type_url": url, "version_info": version, "nonce": t.to_string(), "resources": resources})
            .to_string()
            + "\n"
    };
    let mut out = line(1, "cluster.v3.Cluster", hostile().iter().map(|n| cluster(n)).collect());
    for t in 2..6 {
        let listener = |n: &String| {
            let socket = json!({"socket_address": {"address": "0.0.0.0", "port_value": 80}});
            let chain = json!({"name": format!("{n}{t}"), "filter_chain_match": {"server_names": [n]}});
            common::any(
                "envoy.config.listener.v3.Listener",
                json!({"name": n, "address": socket, "filter_chains": [chain]}),
            )
        };
        out += &line(t, "listener.v3.Listener", hostile().iter().map(listener).collect());
    }
    out
}

/// Each verb's page of evidence full of such names, with its script and without.
#[test]
fn in_a_real_browser() {
    let Some(browser) = chromium() else {
        let _ = writeln!(std::io::stderr(), "skipped: no chromium on the path");
        return;
    };
    let maps = hostile().into_iter().enumerate().map(|(i, n)| {
        json!({"id": i, "type": "hash", "name": n, "flags": 0, "bytes_key": 4, "bytes_value": 8, "max_entries": 100,
            "bytes_memlock": 8800, "pids": [{"pid": 1, "comm": n}]})
    });
    let bench = Bench::new();
    bench
        .put("dump.json", hostile_dump())
        .put("small.json", dump())
        .put("stream.jsonl", hostile_recording())
        .put("maps.json", serde_json::Value::from_iter(maps).to_string());
    let pages: [(&str, &[&str]); 8] = [
        ("analyze", &["analyze", "dump.json"]),
        ("diff", &["diff", "small.json", "dump.json", "--full"]),
        ("check", &["check", "dump.json", "--budget", "allocated < 1", "--budget", "clusters == 0"]),
        ("check-stream", &["check", "stream.jsonl", "--budget", "replay.peak < 1", "--budget", "findings == 0"]),
        ("replay", &["replay", "stream.jsonl", "--limit", "1Mi"]),
        ("whatif", &["whatif", "stream.jsonl", "--policy", "fixed-window:window=5s"]),
        ("bpf", &["bpf", "maps.json"]),
        ("simulate", &["bpf", "simulate", "stream.jsonl", "--policy", "kmesh-0.5"]),
    ];
    for (name, args) in pages {
        let page = format!("{name}.html");
        let run = bench.run(&[args, &["-o", &format!("html={page}")]].concat());
        assert!([0, 1].contains(&run.code), "{name}: {}", run.stderr);
        let (dom, said) = in_browser(&bench, browser, &page);
        for complaint in ["Content Security Policy", "CONSOLE", "Uncaught"] {
            assert!(!said.contains(complaint), "{name}: {said}");
        }
        assert!(!dom.contains("<title>owned"), "{name}: a name ran as a script");
        assert_eq!(dom.matches("<script").count(), 1, "{name}: a name became a script element");
        assert!(name != "analyze" || dom.contains("<button type=\"button\">Resource</button>"), "its own script ran");
        assert!(name != "whatif" || dom.contains("Peak against waiting") && dom.contains("2. recorded"), "{dom}");
        // the same without its script: what is there before anything runs
        let written = std::fs::read_to_string(bench.path(&page)).expect("a page");
        let script = written.rfind("<script>").expect("a script")..written.rfind("</script>").expect("its end");
        let bare = [&written[..script.start], &written[script.end + "</script>".len()..]].concat();
        bench.put("bare.html", &bare);
        let (still, _) = in_browser(&bench, browser, "bare.html");
        assert!(!still.contains("<title>owned") && !still.contains("<script"), "{name}");
        let rows = |text: &str| text.matches("<tr").count();
        assert_eq!(rows(&still), rows(&written), "{name}: all rows are there");
        assert!(!still.contains("<button type=\"button\">Resource</button>"), "no script ran");
    }
}
