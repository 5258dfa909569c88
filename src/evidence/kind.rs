//! What a document is, told from its first bytes and never from its name.
//!
//! A JSON document is told by its first keys: what stands beyond the head is not looked for. Everything that may hold
//! Envoy resources is a [`Kind::ConfigDump`], in whatever shape; whether it does is for its reader to say.

use super::config_dump::{Class, peek};
use super::envoy_admin::{clusters, listeners, server_info, stats, utf8};
use super::json::outline::{Item, Outline};
use super::json::skip::{skip_space, value_end};
use super::recording::binlog::is_binlog;
use super::recording::tap::is_tap;

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Anything that may hold Envoy resources: `/config_dump`, its sections, arrays of resources, answers of `egctl`
    /// or CSDS, single discovery responses, bootstraps.
    ConfigDump,
    /// `/memory`.
    Memory,
    /// `/stats`.
    StatsText,
    /// `/stats?format=json`.
    StatsJson,
    /// `/stats/prometheus`.
    StatsPrometheus,
    /// `/server_info`, JSON or the line it was before 1.9.
    ServerInfo,
    /// `/clusters`.
    ClustersText,
    /// `/clusters?format=json`; the config dump's reader reads it.
    ClustersJson,
    /// `/listeners`.
    ListenersText,
    /// `/listeners?format=json`.
    ListenersJson,
    /// `/certs`.
    Certs,
    /// `/init_dump`.
    InitDump,
    /// `/runtime`.
    Runtime,
    /// Output of `bpftool -j`, or of `jq` over it.
    Bpftool,
    /// Output of `bpftool` for people.
    BpftoolText,
    /// Kubernetes objects, JSON or YAML.
    Kubernetes,
    /// An answer of istiod's `/debug/`, by the last part of its path.
    IstiodDebug(&'static str),
    /// A ztunnel's `/config_dump`.
    Ztunnel,
    /// Kmesh's dump.
    KmeshDump,
    /// Metrics in OTLP's JSON.
    OtlpStats,
    /// Prometheus samples of something that is not Envoy.
    Metrics,
    /// A log with lines of Envoy.
    EnvoyLog,
    /// A recorded stream of discovery responses.
    XdsRecording,
    /// Envoy's tap of a socket, delimited.
    EnvoyTap,
    /// gRPC's binary log.
    GrpcLog,
    /// A log of istiod with its lines about batching.
    IstiodLog,
    /// What Prometheus answered to a query.
    PrometheusRange,
    /// YAML that is not Kubernetes.
    Yaml,
    /// What Python prints for a dictionary.
    PythonRepr,
    /// JSON that is none of the above.
    OtherJson,
    /// Other text.
    Text,
    /// Not text.
    Binary,
    /// Nothing, or white space only.
    Empty,
}

/// Names under istiod's `/debug/` (Istio `pilot/pkg/xds/debug.go`), and the kind as shown.
const ISTIOD: [(&str, &str); 16] = [
    ("adsz", "istiod/adsz"),
    ("authorizationz", "istiod/authorizationz"),
    ("cachez", "istiod/cachez"),
    ("clusterz", "istiod/clusterz"),
    ("configz", "istiod/configz"),
    ("endpointz", "istiod/endpointz"),
    ("inject", "istiod/inject"),
    ("instancesz", "istiod/instancesz"),
    ("mcsz", "istiod/mcsz"),
    ("mesh", "istiod/mesh"),
    ("networkz", "istiod/networkz"),
    ("push_status", "istiod/push_status"),
    ("registryz", "istiod/registryz"),
    ("resourcesz", "istiod/resourcesz"),
    ("syncz", "istiod/syncz"),
    ("telemetryz", "istiod/telemetryz"),
];

impl Kind {
    /// A short name.
    pub fn label(self) -> &'static str {
        match self {
            Self::ConfigDump => "config_dump",
            Self::Memory => "memory",
            Self::StatsText | Self::StatsJson | Self::StatsPrometheus => "stats",
            Self::ServerInfo => "server_info",
            Self::ClustersText | Self::ClustersJson => "clusters",
            Self::ListenersText | Self::ListenersJson => "listeners",
            Self::Certs => "certs",
            Self::InitDump => "init_dump",
            Self::Runtime => "runtime",
            Self::Bpftool | Self::BpftoolText => "bpftool",
            Self::Kubernetes => "kubernetes",
            Self::IstiodDebug(name) => ISTIOD.iter().find(|(n, _)| *n == name).map_or("istiod", |(_, label)| *label),
            Self::Ztunnel => "ztunnel",
            Self::KmeshDump => "kmesh",
            Self::OtlpStats => "otlp",
            Self::Metrics => "metrics",
            Self::EnvoyLog => "envoy_log",
            Self::XdsRecording => "recording",
            Self::EnvoyTap => "tap",
            Self::GrpcLog => "grpc_log",
            Self::IstiodLog => "istiod_log",
            Self::PrometheusRange => "prometheus",
            Self::Yaml => "yaml",
            Self::PythonRepr => "python",
            Self::OtherJson => "json",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Empty => "empty",
        }
    }

    /// Why a document of this kind is left out of an analysis of proxies; `None` for what is read.
    pub fn note(self) -> Option<&'static str> {
        Some(match self {
            Self::ConfigDump
            | Self::Memory
            | Self::StatsText
            | Self::StatsJson
            | Self::StatsPrometheus
            | Self::ServerInfo
            | Self::ClustersText
            | Self::ClustersJson
            | Self::ListenersText
            | Self::ListenersJson
            | Self::Certs
            | Self::InitDump
            | Self::Kubernetes
            | Self::Bpftool
            | Self::BpftoolText => return None,
            Self::Runtime => "says nothing about memory",
            Self::XdsRecording | Self::EnvoyTap | Self::GrpcLog | Self::PrometheusRange => {
                "part of a recording: see `meshdump convert` and `meshdump replay`"
            }
            Self::IstiodDebug(_) | Self::Ztunnel | Self::KmeshDump => "not yet read",
            Self::EnvoyLog => "give it to replay or convert",
            Self::IstiodLog => "give it to whatif or convert",
            Self::OtlpStats => "not yet read: take /stats as text, JSON or Prometheus",
            Self::Metrics => "metrics of something that is not Envoy",
            Self::Yaml => "YAML is not read: convert it to JSON",
            Self::PythonRepr => "Python's print of a dictionary, not JSON: write it with json.dumps",
            Self::OtherJson => "JSON without anything that is known",
            Self::Text | Self::Binary => "not an input",
            Self::Empty => "empty",
        })
    }
}

/// Lines looked at to tell a text.
const MAX_LINES: usize = 400;
/// Fields of an object, or elements of an array, looked at.
const MAX_ITEMS: usize = 128;
/// Levels searched for Envoy resources.
const MAX_DEPTH: u32 = 8;
/// Places of a text where JSON may begin that are looked at.
const MAX_EMBEDDED: usize = 32;
/// Documents of a concatenation looked at.
const MAX_DOCUMENTS: usize = 8;

/// Tells the kind from `head`, the first bytes of the content; `complete` says that they are all there are.
pub fn sniff(head: &[u8], complete: bool) -> Kind {
    let text = utf8(head);
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let start = skip_space(text);
    if start == text.len() {
        return if complete { Kind::Empty } else { Kind::Text };
    }
    if is_binary(text, complete) {
        return match () {
            () if is_tap(head) => Kind::EnvoyTap,
            () if is_binlog(head).is_some() => Kind::GrpcLog,
            () => Kind::Binary,
        };
    }
    if let Some(kind) = json(&text[start..]) {
        return kind;
    }
    let lines = lines(text, complete);
    if let Some(kind) = by_lines(text, &lines) {
        return kind;
    }
    // behind a log line, a prompt, or in the middle of a log
    let embedded = embedded(text);
    if embedded != Kind::OtherJson {
        return embedded;
    }
    if lines.iter().any(|l| is_envoy_log(l)) {
        Kind::EnvoyLog
    } else if [&b"Push debounce stable["[..], b"\tFLAG: --grpcAddr="]
        .iter()
        .any(|m| memchr::memmem::find(text, m).is_some())
    {
        // a line about batching, or one of the flags that istiod lists when it starts
        Kind::IstiodLog
    } else {
        Kind::Text
    }
}

fn is_binary(text: &[u8], complete: bool) -> bool {
    let sample = &text[..text.len().min(8192)];
    if sample.contains(&0) {
        return true;
    }
    let controls = sample.iter().filter(|b| **b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)).count();
    let bad = match std::str::from_utf8(sample) {
        Ok(_) => 0,
        // a character cut by the sample's end is none
        Err(e) if e.error_len().is_none() && !(complete && sample.len() == text.len()) => 0,
        Err(_) => String::from_utf8_lossy(sample).chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count(),
    };
    (controls + bad) * 20 > sample.len()
}

/// The whole lines of the head that are not blank.
fn lines(text: &[u8], complete: bool) -> Vec<&[u8]> {
    let mut all: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    if !complete && all.len() > 1 {
        all.pop();
    }
    all.into_iter()
        .map(|l| l.strip_suffix(b"\r").unwrap_or(l))
        .filter(|l| !l.trim_ascii().is_empty())
        .take(MAX_LINES)
        .collect()
}

fn by_lines(text: &[u8], lines: &[&[u8]]) -> Option<Kind> {
    let most = |n: usize| n > 0 && n * 5 >= lines.len() * 4;
    let count = |f: &dyn Fn(&[u8]) -> bool| lines.iter().filter(|l| f(l)).count();
    if server_info::one_line(text).is_some() {
        return Some(Kind::ServerInfo);
    }
    if most(count(&|l| clusters::fact(l).is_some() || is_place_of_host(l))) {
        return Some(Kind::ClustersText);
    }
    if most(count(&listeners::is_line)) {
        return Some(Kind::ListenersText);
    }
    if most(count(&|l| matches!(stats::stat(l), Some(stats::Stat::Dotted(..))))) {
        return Some(Kind::StatsText);
    }
    let is_comment = |l: &[u8]| l.starts_with(b"# TYPE ") || l.starts_with(b"# HELP ");
    let sure = |l: &[u8]| {
        is_comment(l) || matches!(stats::stat(l), Some(stats::Stat::Sample(_, labels, _)) if !labels.is_empty())
    };
    if most(count(&|l| is_comment(l) || matches!(stats::stat(l), Some(stats::Stat::Sample(..))))) && count(&sure) > 0 {
        // Istio's agent puts its own metrics in front of Envoy's
        let of_envoy = |l: &[u8]| {
            let name = l.strip_prefix(b"# TYPE ").or_else(|| l.strip_prefix(b"# HELP ")).unwrap_or(l);
            name.starts_with(b"envoy_") || name.starts_with(b"istio_agent_")
        };
        return Some(if count(&of_envoy) > 0 { Kind::StatsPrometheus } else { Kind::Metrics });
    }
    if is_bpftool_text(lines) {
        return Some(Kind::BpftoolText);
    }
    if let Some(kind) = yaml(text, lines) {
        return Some(kind);
    }
    let start = text.trim_ascii_start();
    let after = |open: &[u8]| start.strip_prefix(open).map(<[u8]>::trim_ascii_start);
    if after(b"{").or_else(|| after(b"[")?.strip_prefix(b"{")).is_some_and(|t| t.starts_with(b"'")) {
        return Some(Kind::PythonRepr);
    }
    None
}

fn is_place_of_host(line: &[u8]) -> bool {
    [&b"::hostname::"[..], b"::region::", b"::zone::", b"::sub_zone::"]
        .iter()
        .any(|k| memchr::memmem::find(line, k).is_some())
}

/// `20: hash  name m  flags 0x1`, `12: cgroup_device  tag 3918c82a5f4c0360  gpl`, `key: 00 01  value: 02`, `key:`.
fn is_bpftool_text(lines: &[&[u8]]) -> bool {
    let text = |i: usize| lines.get(i).and_then(|l| std::str::from_utf8(l).ok()).unwrap_or("");
    let is_hex = |t: &str| {
        let mut bytes = t.split_ascii_whitespace().take_while(|w| *w != "value:").peekable();
        bytes.peek().is_some() && bytes.all(|b| b.len() == 2 && b.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    let Some((first, rest)) = text(0).split_once(':') else { return false };
    if first == "key" {
        return if rest.trim().is_empty() { is_hex(text(1)) } else { is_hex(rest) };
    }
    !first.is_empty()
        && first.bytes().all(|b| b.is_ascii_digit())
        && rest.starts_with(' ')
        && (rest.contains(" flags 0x") || (rest.contains(" tag ") && rest.contains("gpl")))
}

/// Envoy's own format, its default in Istio, and Istio's JSON.
fn is_envoy_log(line: &[u8]) -> bool {
    let date = |l: &[u8]| l.len() > 10 && l[..4].iter().all(u8::is_ascii_digit) && l[4] == b'-' && l[7] == b'-';
    if let Some(rest) = line.strip_prefix(b"[") {
        // [2026-11-20 22:10:49.470][12][info][main] [source/server/server.cc:430] text
        return date(rest) && memchr::memmem::find(rest, b"][").is_some();
    }
    if date(line) {
        return memchr::memmem::find(line, b"\tenvoy ").is_some();
    }
    line.starts_with(b"{") && memchr::memmem::find(line, b"\"scope\":\"envoy").is_some()
}

/// Kubernetes or other YAML: every line that is not indented must be a key or a list item. Templates are no YAML.
fn yaml(text: &[u8], lines: &[&[u8]]) -> Option<Kind> {
    let (mut keys, mut nested) = (0, false);
    for line in lines {
        match line {
            [b' ' | b'\t', ..] => nested = true,
            [b'#' | b'%', ..] | [b'-', b'-', b'-', ..] | [b'.', b'.', b'.'] => {}
            [b'-'] | [b'-', b' ', ..] => keys += 1,
            _ => {
                let colon = memchr::memchr(b':', line)?;
                let (key, rest) = (&line[..colon], &line[colon + 1..]);
                let quoted = key.starts_with(b"'") || key.starts_with(b"\"");
                let plain = key.iter().all(|b| b.is_ascii_alphanumeric() || b"_-./@".contains(b))
                    && !key.iter().all(u8::is_ascii_digit);
                if key.is_empty() || !(plain || quoted) {
                    return None;
                }
                // columns of text have more than one space
                if !matches!(rest, [] | [b' '] | [b' ', b'!'..=b'~', ..]) {
                    return None;
                }
                keys += 1;
            }
        }
    }
    if keys == 0 || !(nested || keys >= 3) {
        return None;
    }
    // the last keys of a list stand behind its items, so the whole head is searched, not just some lines
    let has = |key: &[u8]| {
        text.starts_with(key) || {
            let mut at_line = vec![b'\n'];
            at_line.extend_from_slice(key);
            memchr::memmem::find(text, &at_line).is_some()
        }
    };
    let object = (has(b"kind:") && has(b"metadata:") && (has(b"spec:") || has(b"items:")))
        || (has(b"apiVersion:") && (has(b"kind:") || has(b"items:") || has(b"metadata:")))
        || (has(b"- apiVersion:") && has(b"  kind:"))
        || (has(b"object:") && has(b"  apiVersion:"));
    Some(if object { Kind::Kubernetes } else { Kind::Yaml })
}

/// JSON that begins at a later line, or a dump behind other text of its line.
fn embedded(text: &[u8]) -> Kind {
    let mut tries = 0;
    for at in memchr::memchr2_iter(b'{', b'[', text) {
        let before = text[..at].iter().rev().find(|b| !matches!(b, b' ' | b'\t' | b'\r'));
        let rest = &text[at..];
        if !matches!(before, None | Some(b'\n')) {
            let dump = rest.strip_prefix(b"{").is_some_and(|t| t.trim_ascii_start().starts_with(b"\"configs\""));
            if dump && holds_envoy(rest, 0) {
                return Kind::ConfigDump;
            }
            continue;
        }
        if let Some(kind) = json(rest).filter(|k| *k != Kind::OtherJson) {
            return kind;
        }
        tries += 1;
        if tries >= MAX_EMBEDDED {
            break;
        }
    }
    Kind::OtherJson
}

/// `None` when `text` does not begin with a JSON object or array, or `null`.
fn json(text: &[u8]) -> Option<Kind> {
    let next = text.get(1..).map(<[u8]>::trim_ascii_start).unwrap_or_default().first().copied();
    match (text.first()?, next) {
        (b'{', Some(b'"' | b'}') | None) => match documents(text).unwrap_or_else(|| object(text)) {
            Kind::OtherJson if is_log_entry(&Fields::of(text)) => None,
            kind => Some(kind),
        },
        (b'[', Some(b'{')) => {
            let inner = text[1..].trim_ascii_start();
            let key = inner[1..].trim_ascii_start().first();
            matches!(key, None | Some(b'"' | b'}')).then(|| array(text))
        }
        (b'[', Some(b'[' | b'"' | b']')) if !is_envoy_log(text) => Some(array(text)),
        _ if text.trim_ascii() == b"null" => Some(Kind::OtherJson),
        _ => None,
    }
}

/// The fields of an object, as far as they are in the head.
struct Fields<'a>(Vec<Item<'a>>);

impl<'a> Fields<'a> {
    fn of(text: &'a [u8]) -> Self {
        let object = text.first() == Some(&b'{');
        Self(Outline::new(text).filter(|_| object).into_iter().flatten().take(MAX_ITEMS).collect())
    }

    fn get(&self, key: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|i| i.key == key.as_bytes()).map(|i| i.value)
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|k| self.has(k))
    }

    fn is(&self, key: &str, first: u8) -> bool {
        self.get(key).is_some_and(|v| v.first() == Some(&first))
    }

    /// The object in the first element of the array, or the first value of the object, under `key`.
    fn first_in(&self, key: &str) -> Fields<'a> {
        self.get(key).map_or(Fields(Vec::new()), first_in)
    }
}

fn first_in(text: &[u8]) -> Fields<'_> {
    let first = Outline::new(text).and_then(|mut walk| walk.next());
    first.map_or(Fields(Vec::new()), |i| Fields::of(i.value))
}

/// Recordings: documents with a time, or several messages of the discovery protocol.
fn documents(text: &[u8]) -> Option<Kind> {
    let message = |f: &Fields<'_>| f.any(&["type_url", "typeUrl"]);
    let mut messages = 0;
    let mut rest = text;
    for _ in 0..MAX_DOCUMENTS {
        if rest.first() != Some(&b'{') {
            break;
        }
        let fields = Fields::of(rest);
        if fields.get("k") == Some(br#""hdr""#) {
            return Some(Kind::XdsRecording);
        }
        let timed = fields.get("t").is_some_and(|t| matches!(t.first(), Some(b'0'..=b'9' | b'-' | b'"')));
        if timed {
            let resources = fields.any(&["resources", "removed_resources", "removedResources"]);
            let inside = fields.get("r").map(Fields::of);
            let answer = |f: &Fields<'_>| message(f) || f.any(&["configs", "allocated", "stats"]);
            if message(&fields) || resources || inside.is_some_and(|f| answer(&f)) {
                return Some(Kind::XdsRecording);
            }
            if fields.get("e").is_some_and(|e| is_watch_event(&Fields::of(e))) {
                return Some(Kind::Kubernetes);
            }
        }
        messages += u32::from(message(&fields));
        if messages > 1 {
            return Some(Kind::XdsRecording);
        }
        let Some(end) = value_end(rest) else { break };
        rest = &rest[end..];
        rest = &rest[skip_space(rest)..];
    }
    None
}

fn is_log_entry(f: &Fields<'_>) -> bool {
    f.any(&["msg", "message"]) && f.any(&["level", "lvl", "severity"])
}

fn is_watch_event(f: &Fields<'_>) -> bool {
    f.is("object", b'{')
        && matches!(
            f.get("type"),
            Some(b"\"ADDED\"" | b"\"MODIFIED\"" | b"\"DELETED\"" | b"\"BOOKMARK\"" | b"\"ERROR\"")
        )
}

fn object(text: &[u8]) -> Kind {
    let f = Fields::of(text);
    let memory = ["heap_size", "heapSize", "pageheap_unmapped", "pageheapUnmapped", "total_thread_cache"];
    let uptime = ["uptime_current_epoch", "uptimeCurrentEpoch", "hot_restart_version", "hotRestartVersion"];
    if f.has("configs") {
        Kind::ConfigDump
    } else if (f.is("apiVersion", b'"') && (f.is("kind", b'"') || f.is("items", b'[')))
        || is_watch_event(&f)
        || (f.is("kind", b'"') && is_kubernetes_item(&f))
        || (f.is("items", b'[') && is_kubernetes_item(&f.first_in("items")))
    {
        Kind::Kubernetes
    } else if f.is("status", b'"') && f.get("data").is_some_and(|d| Fields::of(d).has("resultType")) {
        Kind::PrometheusRange
    } else if f.has("allocated") && (f.any(&memory) || f.0.len() == 1) {
        Kind::Memory
    } else if f.any(&["command_line_options", "commandLineOptions"])
        || (f.has("version") && f.has("state") && f.any(&uptime))
    {
        Kind::ServerInfo
    } else if f.any(&["cluster_statuses", "clusterStatuses"]) {
        Kind::ClustersJson
    } else if f.any(&["listener_statuses", "listenerStatuses"]) {
        Kind::ListenersJson
    } else if is_ztunnel(&f) {
        Kind::Ztunnel
    } else if is_kmesh(&f) || f.any(&["staticResources", "dynamicResources"]) && is_kmesh_bundle(&f) {
        Kind::KmeshDump
    } else if f.is("certificates", b'[')
        && (f.first_in("certificates").any(&["ca_cert", "cert_chain", "caCert", "certChain"]) || f.0.len() == 1)
    {
        Kind::Certs
    } else if f.any(&["unready_targets_dumps", "unreadyTargetsDumps"]) {
        Kind::InitDump
    } else if f.first_in("entries").any(&["layer_values", "final_value", "layerValues", "finalValue"])
        || (f.is("layers", b'[') && f.is("entries", b'{'))
    {
        Kind::Runtime
    } else if f.is("resourceMetrics", b'[') || f.is("resource_metrics", b'[') {
        Kind::OtlpStats
    } else if f.is("stats", b'[') {
        Kind::StatsJson
    } else if is_bpftool(&f) || f.get("error").is_some_and(|e| f.0.len() == 1 && is_bpftool_error(e)) {
        Kind::Bpftool
    } else if let Some(name) = istiod_object(&f) {
        Kind::IstiodDebug(name)
    } else if holds_envoy(text, 0) || f.any(&["type_url", "typeUrl"]) {
        Kind::ConfigDump
    } else {
        Kind::OtherJson
    }
}

fn array(text: &[u8]) -> Kind {
    let f = first_in(text);
    if is_bpftool(&f)
        || f.any(&["total_bytes_memlock"])
        || (f.has("key") && f.any(&["value", "values"]) && (f.has("formatted") || is_hex(f.get("key"))))
        || (f.has("xdp") && f.has("tc"))
    {
        return Kind::Bpftool;
    }
    if let Some(name) = istiod_array(&f) {
        return Kind::IstiodDebug(name);
    }
    if f.is("metric", b'{') && f.any(&["values", "value"]) {
        return Kind::PrometheusRange;
    }
    if is_kubernetes_item(&f) {
        return Kind::Kubernetes;
    }
    if holds_envoy(text, 0) { Kind::ConfigDump } else { Kind::OtherJson }
}

fn is_kubernetes_item(f: &Fields<'_>) -> bool {
    (f.is("apiVersion", b'"') && f.is("kind", b'"'))
        || (f.is("metadata", b'{') && f.any(&["spec", "status", "data", "subsets", "endpoints", "addressType"]))
}

fn is_hex(key: Option<&[u8]>) -> bool {
    key.is_some_and(|k| k.strip_prefix(b"[").is_some_and(|k| k.trim_ascii_start().starts_with(b"\"0x")))
}

fn is_bpftool(f: &Fields<'_>) -> bool {
    f.any(&["bytes_key", "bytes_memlock", "bytes_value", "bytes_xlated"])
        || (f.has("id") && f.has("type") && f.any(&["gpl_compatible", "xlated_prog_len", "map_ids", "btf_id"]))
}

fn is_bpftool_error(text: &[u8]) -> bool {
    [&b"\"get map "[..], b"\"get prog ", b"\"bpf obj get", b"\"can't get ", b"\"Can't get "]
        .iter()
        .any(|p| text.starts_with(p))
}

/// ztunnel's `/config_dump` (Istio ztunnel `src/admin.rs`): workloads as a map in older ones, a list in newer ones.
fn is_ztunnel(f: &Fields<'_>) -> bool {
    f.first_in("workloads").any(&["workloadIps", "canonicalName"])
        || (f.has("workloads") && f.any(&["certificates", "workloadState"]) && f.any(&["services", "policies"]))
}

/// Kmesh's `/debug/config_dump` in its workload mode, or a part of the one for its kernel-native mode.
fn is_kmesh(f: &Fields<'_>) -> bool {
    let w = f.first_in("workloads");
    (w.has("uid") && w.has("addresses"))
        || ["listenerConfigs", "clusterConfigs", "routeConfigs", "listener_configs", "cluster_configs"]
            .iter()
            .any(|k| f.first_in(k).any(&["apiStatus", "api_status"]))
}

fn is_kmesh_bundle(f: &Fields<'_>) -> bool {
    ["staticResources", "dynamicResources"].iter().any(|k| f.get(k).is_some_and(|v| is_kmesh(&Fields::of(v))))
}

fn istiod_object(f: &Fields<'_>) -> Option<&'static str> {
    let first = f.0.first()?;
    if f.has("totalClients") || f.first_in("clients").has("connectionId") {
        return Some("adsz");
    }
    if f.is("authorization_policies", b'{') {
        return Some("authorizationz");
    }
    if f.is("telemetries", b'{') {
        return Some("telemetryz");
    }
    if f.has("proxyListenPort") || (f.has("ingressService") && f.any(&["rootNamespace", "defaultConfig"])) {
        return Some("mesh");
    }
    if f.has("ProxyStatus") || f.0.iter().all(|i| i.key.starts_with(b"pilot_")) {
        return Some("push_status");
    }
    let template = |key: &str| f.get(key).is_some_and(|t| memchr::memmem::find(t, b"{{").is_some());
    if ["gateway", "sidecar", "waypoint", "grpc-agent", "grpc-simple"].into_iter().any(template) {
        return Some("inject");
    }
    if first.key.starts_with(b"type.googleapis.com/") && first.value.trim_ascii().starts_with(b"[") {
        let element = first.value[1..].trim_ascii_start().first();
        return matches!(element, Some(b'"' | b']')).then_some("cachez");
    }
    // service → namespace → shards
    if first_in(first.value).any(&["Shards", "ServiceAccounts"]) {
        return Some("endpointz");
    }
    // proxy → instances
    let instance = first_in(first.value);
    if first.value.starts_with(b"[")
        && instance.is("Service", b'{')
        && instance.any(&["Port", "ServicePort", "Endpoint"])
    {
        return Some("instancesz");
    }
    None
}

fn istiod_array(f: &Fields<'_>) -> Option<&'static str> {
    let sent = ["cluster_sent", "listener_sent", "route_sent", "endpoint_sent", "cluster_acked"];
    if f.has("proxy") && (f.any(&sent) || (f.has("cluster_id") && f.has("istio_version"))) {
        return Some("syncz");
    }
    let service = ["ports", "Ports", "hostname", "Hostname", "defaultAddress", "address", "creationTime"];
    if f.get("Attributes").is_some_and(|a| Fields::of(a).has("ServiceRegistry")) && f.any(&service) {
        return Some("registryz");
    }
    if f.has("svc") && f.has("ep") {
        return Some("endpointz");
    }
    if f.has("group") && f.has("version") && f.has("kind") && f.0.len() == 3 {
        return Some("resourcesz");
    }
    if f.has("secretName") && f.has("syncStatus") {
        return Some("clusterz");
    }
    // istiod marshals its own type, whose `kind` comes first; Kubernetes sorts
    let keys: Vec<&[u8]> = f.0.iter().take(3).map(|i| i.key).collect();
    let of_istio = f.get("apiVersion").is_some_and(|v| {
        [&b"istio.io/"[..], b"gateway.networking"].iter().any(|p| memchr::memmem::find(v, p).is_some())
    });
    (of_istio && keys == [&b"kind"[..], b"apiVersion", b"metadata"]).then_some("configz")
}

/// Envoy resources stand somewhere in the value at `text[0]`.
fn holds_envoy(text: &[u8], depth: u32) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    if text.first() == Some(&b'{') {
        match peek(text, true) {
            Class::Section(_) | Class::Element(_) => return true,
            Class::OtherType(t) if t.starts_with("envoy.") || t.ends_with("ConfigDump") => return true,
            _ => {}
        }
    }
    let nested = |i: &Item<'_>| matches!(i.value.first(), Some(b'{' | b'['));
    Outline::new(text).into_iter().flatten().take(MAX_ITEMS).filter(nested).any(|i| holds_envoy(i.value, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        sniff(text.as_bytes(), true)
    }

    #[test]
    fn small_samples() {
        use Kind::*;
        for (text, expected) in [
            ("", Empty),
            (" \n", Empty),
            ("null\n", OtherJson),
            ("{}", OtherJson),
            ("[]\n", OtherJson),
            ("\u{feff}{\"configs\":[]}", ConfigDump),
            ("$ curl x/config_dump\n{\n \"configs\": [", ConfigDump),
            (r#"{"ns":{"pod":{"configs":[]}}}"#, OtherJson),
            (
                r#"{"ns":{"pod":{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump"}]}}}"#,
                ConfigDump,
            ),
            (r#"{"c":{"name":"c","connect_timeout":1}}"#, ConfigDump),
            (
                r#"{"versionInfo":"1","resources":[{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster"}]}"#,
                ConfigDump,
            ),
            (r#"{"version_info":"1","nonce":"2","type_url":"x"}"#, ConfigDump),
            ("{\"type_url\":\"x\",\"resources\":[]}\n{\"type_url\":\"x\",\"resources\":[]}", XdsRecording),
            (r#"{"t": 1.5, "type_url":"x","resources":["#, XdsRecording),
            (r#"{"t":1,"r":{"typeUrl":"x"}}"#, XdsRecording),
            (r#"{"k":"hdr","format":"meshdump-recording"}"#, XdsRecording),
            ("2026/10/08 INFO x is set\n{\n \"allocated\": \"1\",\n \"heap_size\": \"2\"\n}", Memory),
            (r#"{"stats":[{"name":"a","value":1}]}"#, StatsJson),
            ("server.live: 1\nx.y: P0(nan,1.0) P25(nan,2)\n", StatsText),
            ("# TYPE envoy_a counter\nenvoy_a{x=\"1\"} 0\n", StatsPrometheus),
            ("# HELP pilot_x y\n# TYPE pilot_x counter\npilot_x 3\n", Metrics),
            ("envoy 5d25/1.8.0/Clean/RELEASE live 581130 581130 0\n", ServerInfo),
            (r#"{"version":"a/1.30.0/x","state":"LIVE","hot_restart_version":"disabled"}"#, ServerInfo),
            ("a|b::default_priority::max_connections::1\na|b::1.2.3.4:80::rq_total::0\n", ClustersText),
            (r#"{"cluster_statuses":[]}"#, ClustersJson),
            ("a::1.2.3.4:80\nb::[::]:80\n", ListenersText),
            (r#"{"listener_statuses":[]}"#, ListenersJson),
            (r#"{"certificates":[{"ca_cert":[]}]}"#, Certs),
            (r#"{"unready_targets_dumps":[]}"#, InitDump),
            (r#"{"entries":{"a":{"layer_values":["1"],"final_value":"1"}},"layers":["x"]}"#, Runtime),
            (r#"[{"id":1,"type":"hash","bytes_key":4}]"#, Bpftool),
            (r#"[{"key":["0x00"],"value":["0x01"]}]"#, Bpftool),
            ("20: hash  name m  flags 0x1\n\tkey 20B\n", BpftoolText),
            ("apiVersion: v1\nitems:\n- kind: Pod\n  a: b\n", Kubernetes),
            ("# x\n---\nkind: Service\napiVersion: v1\nmetadata:\n  name: a\n", Kubernetes),
            ("apiVersion: v1\nkind: Service\nmetadata:\n\tname: a\n", Kubernetes),
            (r#"{"items":[{"apiVersion":"v1","kind":"Pod"}]}"#, Kubernetes),
            (r#"{"type":"ADDED","object":{"kind":"Pod"}}"#, Kubernetes),
            ("clusters:\n- name: a\n  type: EDS\n", Yaml),
            ("{'configs': [{'a': 1}]}", PythonRepr),
            ("[2026-11-20 22:10:49.470][12][info][main] [source/server/server.cc:430] x\n", EnvoyLog),
            ("2026-11-20T22:10:49Z\tinfo\tFLAG: x\n2026-11-20T22:10:49Z\tinfo\tenvoy main x\tthread=1\n", EnvoyLog),
            ("Name:        a\nNamespace:   b\n", Text),
            ("Error: bpf obj get: No such file\n", Text),
            ("[hello] world\n", Text),
            ("# Shapes\n1. `{\"configs\":[{@type...},...]}` is normal\n", Text),
            ("x y {\"configs\":[{\"@type\":\"a/envoy.admin.v3.ClustersConfigDump\"}]}", ConfigDump),
            ("{\"level\":\"info\",\"msg\":\"x\"}\n{\"level\":\"info\",\"msg\":\"y\"}\n", Text),
            ("{\"level\":\"info\",\"scope\":\"envoy main\",\"msg\":\"x\"}\n", EnvoyLog),
            ("key: 02 00  value: 03\nkey: 03 00  value: 04\n", BpftoolText),
            ("key:\n40 00\nvalue:\n00\n", BpftoolText),
            ("a\0b", Binary),
            (r#"{"resourceMetrics":[]}"#, OtlpStats),
            (r#"{"a":[1,2]}"#, OtherJson),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn utf16_is_text() {
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend("{\"configs\": []}".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(sniff(&bytes, true), Kind::ConfigDump);
    }

    #[test]
    fn labels_of_istiod() {
        assert_eq!(Kind::IstiodDebug("adsz").label(), "istiod/adsz");
        assert!(ISTIOD.iter().all(|(name, label)| *label == format!("istiod/{name}")));
    }

    #[test]
    fn any_prefix_is_some_kind() {
        let text =
            r#"x {"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","a":[{"b":"\""}]}]}"#;
        for from in 0..text.len() {
            for to in from..text.len() {
                sniff(&text.as_bytes()[from..to], false);
            }
        }
    }

    /// Sniffs every file of the corpus and reads the admin files.
    #[test]
    #[allow(clippy::print_stderr, reason = "the table is for who runs the test")]
    fn corpus() {
        use crate::evidence::envoy_admin as admin;
        let Some(root) = std::env::var_os("MESHDUMP_CORPUS") else {
            eprintln!("skipped: MESHDUMP_CORPUS is not set");
            return;
        };
        let mut files = Vec::new();
        walk(std::path::Path::new(&root), &mut files);
        assert!(files.len() > 100);
        files.sort();
        let mut table = std::collections::BTreeMap::new();
        let mut wrong = Vec::new();
        for path in &files {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            let bytes = std::fs::read(path).unwrap();
            let head = &bytes[..bytes.len().min(crate::input::HEAD_BYTES)];
            let kind = sniff(head, head.len() == bytes.len());
            *table.entry((kind.label(), format!("{kind:?}"))).or_insert(0) += 1;
            if std::env::var_os("MESHDUMP_CORPUS_LIST").is_some() {
                eprintln!("{kind:?}\t{name}");
            }
            if let Some(expected) = expected(&name).filter(|e| !e.contains(&kind) && kind != Kind::Empty) {
                wrong.push(format!("{name}: {kind:?}, expected one of {expected:?}"));
            }
            let problems = match kind {
                Kind::Memory => both(admin::memory::read(&name, &bytes)),
                Kind::ServerInfo => both(admin::server_info::read(&name, &bytes)),
                Kind::Certs => both(admin::certs::read(&name, &bytes)),
                Kind::ListenersText | Kind::ListenersJson => both(admin::listeners::read(&name, &bytes)),
                Kind::ClustersText => both(admin::clusters::read(&name, &mut &bytes[..])),
                Kind::StatsText | Kind::StatsJson | Kind::StatsPrometheus => {
                    both(admin::stats::read(&name, &mut &bytes[..]))
                }
                _ => (true, Vec::new()),
            };
            if !problems.0 {
                wrong.push(format!("{name}: {kind:?} but not readable: {:?}", problems.1));
            }
            for p in problems.1 {
                eprintln!("{}: {} {:?}", p.label, p.what, p.offset_bytes);
            }
        }
        assert!(bundles(&files) > 0);
        for ((label, kind), n) in &table {
            eprintln!("{label:24} {kind:32} {n:5}");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What the files of one proxy of a bundle say must agree; returns how many proxies were looked at.
    #[allow(clippy::print_stderr, reason = "the figures are for who runs the test")]
    fn bundles(files: &[std::path::PathBuf]) -> u32 {
        use crate::evidence::envoy_admin as admin;
        let mut proxies = 0;
        for path in files.iter().filter(|p| p.ends_with("memory") && p.to_string_lossy().contains("/proxies/")) {
            let folder = path.parent().unwrap();
            let Ok(prometheus) = std::fs::read(folder.join("stats/prometheus")) else { continue };
            let bytes = |name: &str| std::fs::read(folder.join(name)).unwrap();
            let stats = admin::stats::read("", &mut &prometheus[..]).0.unwrap();
            let memory = admin::memory::read("", &bytes("memory")).0.unwrap();
            let info = admin::server_info::read("", &bytes("server_info")).0.unwrap();
            let clusters = admin::clusters::read("", &mut &bytes("clusters")[..]).0.unwrap();
            let listeners = admin::listeners::read("", &bytes("listeners")).0.unwrap();
            let allocated = stats.memory_allocated.unwrap();
            assert!(allocated.abs_diff(memory.allocated) * 50 < memory.allocated, "{}", path.display());
            assert_eq!(stats.concurrency.map(|n| n as u32), info.concurrency, "{}", path.display());
            assert_eq!(stats.active_clusters, Some(clusters.len() as u64), "{}", path.display());
            assert_eq!(stats.listeners_active, Some(listeners), "{}", path.display());
            assert_eq!(info.drain_time_s, Some(45), "{}", path.display());
            assert!(!info.node.workload.is_empty() && !info.version.is_empty(), "{}", path.display());
            let hosts: u32 = clusters.iter().map(|c| c.hosts).sum();
            let text = String::from_utf8(bytes("clusters")).unwrap();
            let totals: Vec<u64> =
                text.lines().filter_map(|l| l.split_once("::rq_total::")).map(|(_, n)| n.parse().unwrap()).collect();
            assert_eq!(hosts as usize, totals.len(), "{}", path.display());
            assert_eq!(clusters.iter().map(|c| c.requests).sum::<u64>(), totals.iter().sum::<u64>());
            eprintln!("{} hosts, {allocated} B, traffic {:?}", hosts, stats.cluster_traffic);
            proxies += 1;
        }
        proxies
    }

    fn both<T>(
        (value, problems): (Option<T>, Vec<crate::model::problem::Problem>),
    ) -> (bool, Vec<crate::model::problem::Problem>) {
        (value.is_some(), problems)
    }

    fn walk(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }

    /// What the names in the corpus say about the content.
    fn expected(name: &str) -> Option<&'static [Kind]> {
        use Kind::*;
        let last = name.rsplit('/').next()?;
        if name.contains("/bug-report/proxies/") {
            return Some(match last {
                "certs" => &[Certs],
                "clusters" => &[ClustersText],
                "config_dump?include_eds" => &[ConfigDump],
                "istio-proxy.log" => &[EnvoyLog],
                "listeners" => &[ListenersText],
                "memory" => &[Memory],
                "netstat" => &[Text],
                "runtime" => &[Runtime],
                "server_info" => &[ServerInfo],
                "prometheus" => &[StatsPrometheus],
                _ => return None,
            });
        }
        if let Some((_, debug)) = name.split_once("/debug/") {
            return Some(match debug {
                "adsz" => &[IstiodDebug("adsz")],
                "authorizationz" => &[IstiodDebug("authorizationz")],
                "cachez" => &[IstiodDebug("cachez")],
                "configz" => &[IstiodDebug("configz")],
                "endpointz" | "endpointShardz" => &[IstiodDebug("endpointz")],
                "inject" => &[IstiodDebug("inject")],
                "instancesz" => &[IstiodDebug("instancesz")],
                "mesh" => &[IstiodDebug("mesh")],
                "registryz" => &[IstiodDebug("registryz")],
                "resourcesz" => &[IstiodDebug("resourcesz")],
                "syncz" => &[IstiodDebug("syncz")],
                "telemetryz" => &[IstiodDebug("telemetryz")],
                _ => &[OtherJson],
            });
        }
        if name.contains("/bug-report/cluster/") && matches!(last, "crs" | "k8s-resources") {
            return Some(&[Kubernetes]);
        }
        if let Some(admin) = name.strip_prefix("admin/") {
            return Some(match admin {
                "consul-dataplane/envoy_stats_otlp_example.json" => &[OtlpStats],
                "consul-k8s/fetch_debug_levels.txt" => &[Text],
                "emissary/stats-1.txt" => &[StatsText],
                "netdata/envoy.txt" => &[StatsPrometheus],
                a if a.starts_with("consul-dataplane/") => &[StatsPrometheus],
                a if a.starts_with("gloo/clusters") => &[ClustersText],
                a if a.starts_with("memory-snippets/") => &[Memory],
                a if a.starts_with("server_info-snippets/") => &[ServerInfo],
                a if a.ends_with("listeners.json") => &[ListenersJson],
                a if a.ends_with("clusters.json") => &[ClustersJson],
                _ => return None,
            });
        }
        if name.starts_with("kubectl/") && !last.ends_with(".gz") {
            return Some(&[Kubernetes]);
        }
        if name.starts_with("bpftool/") {
            // one is `[]`: a failed dump
            return Some(&[Bpftool, BpftoolText, OtherJson]);
        }
        if name.starts_with("config_dump/") {
            return Some(&[ConfigDump, ClustersJson, ClustersText, PythonRepr, Yaml, Binary, EnvoyLog]);
        }
        None
    }
}
