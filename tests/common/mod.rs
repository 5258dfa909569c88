//! What the end-to-end tests share: a folder of its own per test, the binary run in it, and small dumps.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod planted;
pub(crate) mod wire;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder in which the binary runs, so that reports hold relative paths only.
pub(crate) struct Bench {
    dir: TempDir,
}

/// What a run gave.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(out: Output) -> Self {
        Self {
            code: out.status.code().expect("the process ended by itself"),
            stdout: String::from_utf8(out.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(out.stderr).expect("stderr is UTF-8"),
        }
    }

    /// Asserts that the exit code is `code` and that stderr is exactly `stderr`.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, stderr: &str) -> &Self {
        assert_eq!((self.code, self.stderr.as_str()), (code, stderr), "stdout:\n{}", self.stdout);
        self
    }

    /// Asserts that stdout has this line, indentation aside.
    #[track_caller]
    pub(crate) fn says(&self, line: &str) -> &Self {
        assert!(self.stdout.lines().any(|l| l.trim() == line), "expected the line\n{line}\nin\n{}", self.stdout);
        self
    }

    /// Asserts that stdout has no `READING` part and no MD103 or MD105: nothing was odd about the input.
    #[track_caller]
    pub(crate) fn nothing_odd(&self) -> &Self {
        for word in ["READING", "MD103", "MD105"] {
            assert!(!self.stdout.contains(word), "{word} in\n{}", self.stdout);
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("stdout is JSON")
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, with its folders.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders");
        fs::write(path, bytes).expect("a file");
        self
    }

    /// The binary, to be run in the folder, with nothing of the caller's environment that changes output.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_meshdump"));
        c.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["COLUMNS", "CLICOLOR_FORCE", "FORCE_COLOR", "NO_COLOR", "RAYON_NUM_THREADS"] {
            c.env_remove(name);
        }
        c
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().expect("the binary runs"))
    }

    /// Runs with `input` on stdin.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Run {
        let mut c = self.command(args);
        let mut child =
            c.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        // who ends before reading is judged by how it ended
        let given = child.stdin.take().expect("stdin").write_all(input);
        assert!(given.as_ref().err().is_none_or(|e| e.kind() == std::io::ErrorKind::BrokenPipe), "{given:?}");
        Run::of(child.wait_with_output().expect("it ends"))
    }

    /// `analyze` in wide text on stdout, so that each message is one line, and as JSON.
    pub(crate) fn analyze(&self, args: &[&str]) -> (Run, Value) {
        let mut all = vec!["analyze", "--width", "1000", "-o", "text", "-o", "json=report.json"];
        all.extend(args);
        let run = self.run(&all);
        let json = fs::read(self.path("report.json")).ok().map(|b| serde_json::from_slice(&b).expect("JSON"));
        (run, json.unwrap_or_default())
    }
}

/// How many of a kind the proxy at `index` has.
pub(crate) fn count(report: &Value, index: usize, kind: &str) -> u64 {
    let rows = report["proxies"][index]["by_kind"].as_array().expect("by_kind");
    rows.iter().find(|r| r["kind"] == kind).map_or(0, |r| r["count"].as_u64().expect("a count"))
}

/// An `Any` of a message of Envoy's API.
pub(crate) fn any(type_name: &str, mut body: Value) -> Value {
    body["@type"] = format!("type.googleapis.com/{type_name}").into();
    body
}

/// A static cluster, as the message.
pub(crate) fn cluster(name: &str) -> Value {
    any("envoy.config.cluster.v3.Cluster", json!({"name": name, "type": "STATIC", "connect_timeout": "1s"}))
}

/// An entry of `dynamic_active_clusters`.
pub(crate) fn cluster_entry(cluster: Value) -> Value {
    json!({"version_info": "1", "cluster": cluster, "last_updated": "2026-11-01T00:00:00.000Z"})
}

pub(crate) fn section(type_name: &str, body: Value) -> Value {
    any(&format!("envoy.admin.v3.{type_name}"), body)
}

pub(crate) fn bootstrap(node_id: &str) -> Value {
    let node = json!({"id": node_id, "cluster": "web"});
    section("BootstrapConfigDump", json!({"bootstrap": {"node": node}, "last_updated": "2026-11-01T00:00:00.000Z"}))
}

pub(crate) fn configs(sections: Vec<Value>) -> Value {
    json!({ "configs": sections })
}

/// A dump of the node `node_id` with clusters of these names, one resource per line.
pub(crate) fn dump_of(node_id: &str, clusters: &[&str]) -> String {
    let lines: Vec<String> = clusters.iter().map(|c| cluster_entry(cluster(c)).to_string()).collect();
    format!(
        "{{\"configs\":[\n{},\n{{\"@type\":\"type.googleapis.com/envoy.admin.v3.ClustersConfigDump\",\
         \"version_info\":\"1\",\"dynamic_active_clusters\":[\n{}\n]}}\n]}}\n",
        bootstrap(node_id),
        lines.join(",\n")
    )
}

/// [`dump_of`] the node `node-1`: a bootstrap and the clusters `alpha`, `beta`, `gamma` in lines 2, 4, 5, 6.
pub(crate) fn dump() -> String {
    dump_of("node-1", &["alpha", "beta", "gamma"])
}

pub(crate) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes.as_ref()).expect("memory");
    encoder.finish().expect("memory")
}

/// A tar of entries; names are written as they are, also those that the crate would refuse.
pub(crate) fn tar(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").expect("a link name");
        }
        header.set_cksum();
        builder.append(&header, *bytes).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// A tar of plain files.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = files.iter().map(|(n, b)| (*n, tar::EntryType::Regular, *b)).collect();
    tar(&entries)
}

/// Names that would do something, were they markup, terminal codes or text of their own direction.
pub(crate) fn hostile() -> Vec<String> {
    vec![
        "<script>document.title='owned'</script>".to_owned(),
        "</script><script>document.title='owned'</script>".to_owned(),
        "</style></title></textarea><img src=x onerror=\"document.title='owned'\">".to_owned(),
        "\"onload=\"document.title='owned'\" x=\"".to_owned(),
        "'onmouseover='document.title=`owned`' x='".to_owned(),
        "<svg onload=document.title='owned'>".to_owned(),
        "javascript:document.title='owned'".to_owned(),
        "--><!--<script>document.title='owned'</script>".to_owned(),
        "]]><script>document.title='owned'</script>".to_owned(),
        "&lt;script&gt;&#x3c;b&#62;".to_owned(),
        "\u{1b}[31mred\u{1b}[0m\u{1b}]0;owned\u{7}".to_owned(),
        "\u{202e}gnp.exe\u{202c}\u{2066}x\u{2069}\u{200f}".to_owned(),
        "שלום|80||עולם.svc".to_owned(),
        "line\nbreak\r\n\ttab\u{0}nul\u{2028}x".to_owned(),
        "x".repeat(4096),
        format!("<b>{}", "</b>".repeat(1024)),
    ]
}

/// A dump in which everything has such a name.
pub(crate) fn hostile_dump() -> String {
    let clusters: Vec<_> = hostile().iter().map(|n| cluster_entry(cluster(n))).collect();
    let listeners: Vec<_> = hostile()
        .iter()
        .map(|n| {
            let listener = any("envoy.config.listener.v3.Listener", json!({"name": n, "filter_chains": []}));
            json!({"name": n, "active_state": {"version_info": n, "listener": listener}})
        })
        .collect();
    configs(vec![
        bootstrap("<script>document.title='owned'</script>"),
        section("ClustersConfigDump", json!({"version_info": "1", "dynamic_active_clusters": clusters})),
        section("ListenersConfigDump", json!({"version_info": "1", "dynamic_listeners": listeners})),
    ])
    .to_string()
}

/// Runs `check` on the files of the corpus on all cores and gives what it complains about, with how many files there were;
/// `None` and a line on stderr without a corpus. A third of them, always the same, unless `MESHDUMP_CORPUS_ALL` is set:
/// a debug build takes minutes for all.
#[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
pub(crate) fn corpus(check: impl Fn(&std::path::Path) -> Option<String> + Sync) -> Option<(usize, Vec<String>)> {
    let Some(corpus) = std::env::var_os("MESHDUMP_CORPUS") else {
        eprintln!("skipped: MESHDUMP_CORPUS does not name the folder of the corpus");
        return None;
    };
    let (mut folders, mut files) = (vec![PathBuf::from(corpus)], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    if std::env::var_os("MESHDUMP_CORPUS_ALL").is_none() {
        files = files.into_iter().step_by(3).collect();
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if let Some(what) = check(path) {
                        wrong.lock().expect("no test panicked").push(format!("{}: {what}", path.display()));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().expect("no test panicked");
    wrong.sort();
    Some((files.len(), wrong))
}
