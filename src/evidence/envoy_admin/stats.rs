//! `/stats` in its three formats: text, JSON and Prometheus.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;

use crate::evidence::json::message::Num;
use crate::evidence::json::skip::{Skip, skip_space, value_end};
use crate::evidence::json::{names, tally};
use crate::evidence::window::{Line, Window};
use crate::model::envoy::{ListenerConnections, Name, Stats};
use crate::model::problem::{Loss, Problem};

/// A JSON entry longer than this is skipped without being held: that of all histograms.
const MAX_ENTRY_BYTES: usize = 64 << 10;

/// Reads `/stats`, `/stats?format=json` or `/stats/prometheus`, whichever it is, in one pass and bounded memory.
///
/// `None` when nothing in it is a stat. What is not there stays `None` (filters, `usedonly` and the stats matcher take
/// stats away: absent is not zero), and so does a memory gauge of 0, which was never refreshed. A cluster is in
/// `cluster_traffic` when it has `upstream_rq_total` or `upstream_cx_total`, under the name its stats have: in text
/// Envoy writes `_` for `:`. `updates_rejected` is the sum of `lds.update_rejected` and `cds.update_rejected`.
pub fn read(label: &str, stream: &mut dyn Read) -> (Option<Stats>, Vec<Problem>) {
    let mut lines = Window::new(stream);
    let mut gathered = Gathered::default();
    let mut problems = Vec::new();
    let mut strange = 0u64;
    if !lines.fill() || lines.rest().starts_with(&[0xff, 0xfe]) || lines.rest().starts_with(&[0xfe, 0xff]) {
        let what = if lines.rest().is_empty() { "not /stats: it is empty" } else { "not /stats: it is UTF-16" };
        let hint = "fetch /stats again, and keep it as UTF-8";
        problems.push(Problem::new(label, Loss::Whole, what).at(0).hint(hint));
        return (None, problems);
    }
    let mut cut = None;
    loop {
        // JSON begins at the start of a line; a log line may stand in front
        if lines.rest().is_empty() {
            lines.fill();
        }
        let rest = lines.rest();
        if gathered.stats.lines == 0 && rest[skip_bom(rest)..].trim_ascii_start().starts_with(b"{") {
            json(label, &mut lines, &mut gathered, &mut problems);
            break;
        }
        let Some(Line { at, text, ended }) = lines.next() else { break };
        match stat(text) {
            Some(_) if !ended => cut = Some(at),
            Some(s) => gathered.add(&s),
            None => strange += u64::from(!text.is_empty() && !text.starts_with(b"#")),
        }
    }
    if let (Some(at), None) = (cut, &lines.error) {
        problems.push(
            Problem::new(label, Loss::Part, "the last line has no end and was not used: the copy may be cut")
                .at(at)
                .hint("fetch /stats again"),
        );
    }
    if let Some(e) = &lines.error {
        let what = format!("{e}; {} stats were whole before it", gathered.stats.lines);
        problems.push(Problem::new(label, Loss::Part, what).at(lines.offset()));
    }
    if gathered.stats.lines == 0 {
        problems.push(
            Problem::new(label, Loss::Whole, "not /stats: expected `name: value`, Prometheus samples or JSON").at(0),
        );
        return (None, problems);
    }
    if strange + lines.too_long > 0 {
        let n = strange + lines.too_long;
        problems.push(Problem::new(label, Loss::Nothing, format!("{n} lines are no stats and were skipped")));
    }
    (Some(gathered.finish()), problems)
}

fn skip_bom(text: &[u8]) -> usize {
    if text.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 }
}

/// One stat, as one line gives it.
#[derive(Debug, PartialEq)]
pub(in crate::evidence) enum Stat<'a> {
    /// Text: the dotted name; no value for histograms and text readouts.
    Dotted(&'a [u8], Option<u64>),
    /// Prometheus: the name, the text between the braces, the value.
    Sample(&'a [u8], &'a [u8], Option<u64>),
}

/// Takes a line of text or Prometheus apart; `None` for comments and anything else.
pub(in crate::evidence) fn stat(line: &[u8]) -> Option<Stat<'_>> {
    let line = line[skip_bom(line)..].trim_ascii();
    let first = *line.first()?;
    if !(first.is_ascii_alphanumeric() || first == b'_') {
        return None;
    }
    sample(line).or_else(|| dotted(line))
}

/// `name{label="value",...} 3`, maybe with a time behind.
fn sample(line: &[u8]) -> Option<Stat<'_>> {
    let name_len = line.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')))?;
    let (name, rest) = line.split_at(name_len);
    if name.ends_with(b":") {
        return None;
    }
    let (labels, rest) = match rest.first()? {
        b'{' => {
            let end = labels_end(rest)?;
            (&rest[1..end], &rest[end + 1..])
        }
        b' ' | b'\t' => (&rest[..0], rest),
        _ => return None,
    };
    let mut words = rest.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    let value = number(words.next()?)?;
    let time = words.next();
    let whole = words.next().is_none() && time.is_none_or(|t| number(t).is_some());
    whole.then(|| Stat::Sample(name, labels, whole_number(value)))
}

/// Index of the `}` that ends the labels which begin at `text[0]`.
fn labels_end(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut i) = (false, 1);
    while i < text.len() {
        match text[i] {
            b'\\' if quoted => i += 1,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}

/// `cluster.a.upstream_rq_total: 3`, `x.y: P0(nan,1.0) ...`, `x.y: No recorded values`, `x.version_text: "v13"`.
fn dotted(line: &[u8]) -> Option<Stat<'_>> {
    if let Some(at) = memchr::memmem::rfind(line, b": ") {
        let (name, value) = (&line[..at], line[at + 2..].trim_ascii());
        if value.iter().all(u8::is_ascii_digit) && is_name(name) {
            return Some(Stat::Dotted(name, std::str::from_utf8(value).ok()?.parse().ok()));
        }
    }
    let at = memchr::memmem::find(line, b": ")?;
    let (name, value) = (&line[..at], line[at + 2..].trim_ascii());
    let other = value.starts_with(b"P0(") || value.starts_with(b"\"") || value == b"No recorded values";
    (other && is_name(name)).then_some(Stat::Dotted(name, None))
}

fn is_name(name: &[u8]) -> bool {
    name.contains(&b'.') && !name.iter().any(u8::is_ascii_whitespace)
}

fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn whole_number(value: f64) -> Option<u64> {
    (0.0..1.8e19).contains(&value).then_some(value as u64)
}

/// The value of a label among `labels`, with its escapes undone.
fn label_value<'a>(labels: &'a [u8], wanted: &[u8]) -> Option<Cow<'a, str>> {
    let mut rest = labels;
    loop {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let equals = memchr::memchr(b'=', rest)?;
        let key = rest[..equals].trim_ascii();
        let text = rest[equals + 1..].trim_ascii_start();
        let end = value_end(text).filter(|_| text.starts_with(b"\""))?;
        let value = &text[1..end - 1];
        if key == wanted {
            let value = String::from_utf8_lossy(value);
            if !value.contains('\\') {
                return Some(value);
            }
            let mut plain = String::with_capacity(value.len());
            let mut chars = value.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => match chars.next() {
                        Some('n') => plain.push('\n'),
                        Some(c) => plain.push(c),
                        None => {}
                    },
                    c => plain.push(c),
                }
            }
            return Some(Cow::Owned(plain));
        }
        rest = &text[end..];
    }
}

#[derive(Default)]
struct Gathered {
    stats: Stats,
    lds_rejected: Option<u64>,
    cds_rejected: Option<u64>,
    index: HashMap<Name, usize>,
    listeners: HashMap<Name, usize>,
}

impl Gathered {
    fn add(&mut self, stat: &Stat<'_>) {
        self.stats.lines += 1;
        match *stat {
            Stat::Dotted(_, None) | Stat::Sample(_, _, None) => {}
            Stat::Dotted(name, Some(value)) => self.dotted(name, value),
            Stat::Sample(name, labels, Some(value)) => {
                // the default prefix; what else is scraped from the same port (Istio's agent) has others
                let Some(name) = name.strip_prefix(b"envoy_") else { return };
                if matches!(name, b"cluster_upstream_rq_total" | b"cluster_upstream_cx_total") {
                    let cluster =
                        label_value(labels, b"envoy_cluster_name").or_else(|| label_value(labels, b"cluster_name"));
                    if let Some(cluster) = cluster {
                        self.traffic(&cluster, value);
                    }
                } else if let Some(counted) =
                    name.strip_prefix(b"listener_").filter(|c| c.starts_with(b"downstream_cx_"))
                {
                    let listener = label_value(labels, b"envoy_listener_address");
                    self.connections(&listener.unwrap_or_default(), counted, value);
                } else if let Some(slot) = self.slot(name, b'_') {
                    *slot = Some(value);
                }
            }
        }
    }

    fn dotted(&mut self, name: &[u8], value: u64) {
        if let Some(rest) = name.strip_prefix(b"cluster.") {
            let cluster = rest.strip_suffix(b".upstream_rq_total").or_else(|| rest.strip_suffix(b".upstream_cx_total"));
            if let Some(cluster) = cluster {
                self.traffic(&String::from_utf8_lossy(cluster), value);
            }
        } else if let Some(rest) = name.strip_prefix(b"listener.") {
            if let Some(at) = memchr::memrchr(b'.', rest) {
                self.connections(&String::from_utf8_lossy(&rest[..at]), &rest[at + 1..], value);
            }
        } else if let Some(slot) = self.slot(name, b'.') {
            *slot = Some(value);
        }
    }

    fn traffic(&mut self, cluster: &str, value: u64) {
        let name = names::unique(cluster, tally::text_hash(cluster.as_bytes()));
        let all = &mut self.stats.cluster_traffic;
        let at = *self.index.entry(name.clone()).or_insert_with(|| {
            all.push((name, 0));
            all.len() - 1
        });
        // more labels may split one cluster's counter
        all[at].1 = all[at].1.saturating_add(value);
    }

    /// What is counted of a listener's connections, if it is: those of one worker and of the admin port are not.
    fn connections(&mut self, listener: &str, counted: &[u8], value: u64) {
        let active = counted == b"downstream_cx_active";
        let of_worker = listener.rsplit('.').next().is_some_and(|last| last.starts_with("worker_"));
        if !(active || counted == b"downstream_cx_total") || of_worker || matches!(listener, "" | "admin") {
            return;
        }
        let name = names::unique(listener, tally::text_hash(listener.as_bytes()));
        let all = &mut self.stats.listener_connections;
        let at = *self.listeners.entry(name.clone()).or_insert_with(|| {
            all.push(ListenerConnections { name, active: None, total: None });
            all.len() - 1
        });
        let slot = if active { &mut all[at].active } else { &mut all[at].total };
        *slot = Some(value);
    }

    /// Where the value of a stat goes; `separator` is what stands between scopes.
    fn slot(&mut self, name: &[u8], separator: u8) -> Option<&mut Option<u64>> {
        let s = &mut self.stats;
        let cut = |prefix: &[u8]| match name.strip_prefix(prefix) {
            Some([sep, rest @ ..]) if *sep == separator => Some(rest),
            _ => None,
        };
        if let Some(rest) = cut(b"listener_manager") {
            return Some(match rest {
                b"total_listeners_active" => &mut s.listeners_active,
                b"total_listeners_warming" => &mut s.listeners_warming,
                b"total_listeners_draining" => &mut s.listeners_draining,
                b"total_filter_chains_draining" => &mut s.filter_chains_draining,
                b"listener_modified" => &mut s.listener_modified,
                b"listener_in_place_updated" => &mut s.listener_in_place_updated,
                b"listener_added" => &mut s.listener_added,
                b"listener_removed" => &mut s.listener_removed,
                b"lds.update_rejected" | b"lds_update_rejected" => &mut self.lds_rejected,
                _ => return None,
            });
        }
        if let Some(rest) = cut(b"cluster_manager") {
            return Some(match rest {
                b"active_clusters" => &mut s.active_clusters,
                b"warming_clusters" => &mut s.warming_clusters,
                b"cds.update_rejected" | b"cds_update_rejected" => &mut self.cds_rejected,
                _ => return None,
            });
        }
        Some(match cut(b"server")? {
            b"memory_allocated" => &mut s.memory_allocated,
            b"memory_heap_size" => &mut s.memory_heap_size,
            b"memory_physical_size" => &mut s.memory_physical_size,
            b"concurrency" => &mut s.concurrency,
            _ => return None,
        })
    }

    fn finish(mut self) -> Stats {
        let s = &mut self.stats;
        if self.lds_rejected.is_some() || self.cds_rejected.is_some() {
            s.updates_rejected = Some(self.lds_rejected.unwrap_or(0).saturating_add(self.cds_rejected.unwrap_or(0)));
        }
        for gauge in [&mut s.memory_allocated, &mut s.memory_heap_size, &mut s.memory_physical_size] {
            // the gauge before its first refresh; some distributions never refresh it
            *gauge = gauge.filter(|v| *v > 0);
        }
        self.stats
    }
}

/// An entry of the JSON form.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    value: Num,
}

/// `{"stats":[{"name":...,"value":...},...,{"histograms":{...}}]}`, entry by entry.
fn json(label: &str, lines: &mut Window<'_>, gathered: &mut Gathered, problems: &mut Vec<Problem>) {
    let list = loop {
        let rest = lines.rest();
        match memchr::memmem::find(rest, b"\"stats\"") {
            Some(at) => {
                let after = at + b"\"stats\"".len();
                match rest[after..].iter().position(|b| !(b.is_ascii_whitespace() || *b == b':')) {
                    Some(n) if rest[after + n] == b'[' => break Some(after + n + 1),
                    Some(_) => break None,
                    None if !lines.fill() => break None,
                    None => {}
                }
            }
            None if rest.len() > MAX_ENTRY_BYTES || !lines.fill() => break None,
            None => {}
        }
    };
    let Some(list) = list else { return };
    lines.consume(list);
    loop {
        let skip = skip_space(lines.rest());
        lines.consume(skip);
        match lines.rest().first() {
            Some(b',') => lines.consume(1),
            Some(b'{') => match value_end(lines.rest()) {
                Some(len) => {
                    if len <= MAX_ENTRY_BYTES {
                        entry(&lines.rest()[..len], gathered);
                    }
                    lines.consume(len);
                }
                None if lines.rest().len() <= MAX_ENTRY_BYTES => {
                    if !lines.fill() {
                        return problems.extend(early(label, lines));
                    }
                }
                None => {
                    if !skip_entry(lines) {
                        return problems.extend(early(label, lines));
                    }
                }
            },
            Some(b']') => return,
            Some(_) => {
                problems.push(
                    Problem::new(label, Loss::Part, "not JSON from here on: expected `{`, `,` or `]`")
                        .at(lines.offset())
                        .hint("fetch /stats again"),
                );
                return;
            }
            None => {
                if !lines.fill() {
                    return problems.extend(early(label, lines));
                }
            }
        }
    }
}

/// `None` when the stream broke: then that is the problem.
fn early(label: &str, lines: &Window<'_>) -> Option<Problem> {
    let what = "the file ends inside the list of stats; what was whole before is used";
    lines.error.is_none().then(|| Problem::new(label, Loss::Part, what).at(lines.offset()).hint("fetch /stats again"))
}

fn skip_entry(lines: &mut Window<'_>) -> bool {
    let mut skip = Skip::default();
    loop {
        match skip.feed(lines.rest()) {
            Some(n) => {
                lines.consume(n);
                return true;
            }
            None => {
                lines.consume(lines.rest().len());
                if !lines.fill() {
                    return false;
                }
            }
        }
    }
}

fn entry(text: &[u8], gathered: &mut Gathered) {
    gathered.stats.lines += 1;
    let parsed = tally::scoped(|| serde_json::from_slice::<Entry<'_>>(text)).0;
    let stat = parsed.ok().and_then(|e| Some((e.name, whole_number(e.value.0?)?)));
    if let Some((name, value)) = stat {
        gathered.dotted(name.as_bytes(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
listener_manager.lds.version_text: \"v: 13\"
cluster.outbound|80||a.b.svc.cluster.local.upstream_rq_total: 4
cluster.outbound|80||a.b.svc.cluster.local.upstream_cx_total: 3
cluster.outbound|80||a.b.svc.cluster.local.upstream_rq_time: P0(nan,1.0) P25(nan,2.05)
cluster.127_0_0_1_8877.upstream_rq_total: 0
cluster.x.upstream_cx_length_ms: No recorded values
cluster_manager.active_clusters: 336
cluster_manager.cds.update_rejected: 2
listener_manager.lds.update_rejected: 5
listener_manager.total_listeners_draining: 3
listener_manager.listener_in_place_updated: 9
server.memory_allocated: 479000000
server.memory_heap_size: 0
server.concurrency: 4
listener.0.0.0.0_8443.downstream_cx_active: 17
listener.0.0.0.0_8443.downstream_cx_total: 230
listener.0.0.0.0_8443.worker_1.downstream_cx_active: 9
listener.admin.downstream_cx_active: 1
listener.tls.example.downstream_cx_total: 2
";

    const PROMETHEUS: &str = r#"# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="outbound|80||a.b.svc.cluster.local"} 4
envoy_cluster_upstream_cx_total{local="x}",cluster_name="outbound|80||a.b.svc.cluster.local"} 3 1700000000000

istio_agent_process_virtual_memory_bytes 7.9
envoy_cluster_upstream_rq_total{cluster_name="127_0_0_1_8877"} 0
envoy_cluster_manager_active_clusters{} 336
envoy_cluster_manager_cds_update_rejected{} 2
envoy_listener_manager_lds_update_rejected{} 5
envoy_listener_manager_total_listeners_draining{} 3
envoy_listener_manager_listener_in_place_updated{} 9
envoy_server_memory_allocated{} 4.79e+08
envoy_server_memory_heap_size{} 0
envoy_server_concurrency{} 4
envoy_listener_downstream_cx_active{envoy_listener_address="0.0.0.0_8443"} 17
envoy_listener_downstream_cx_total{envoy_listener_address="0.0.0.0_8443"} 230
envoy_listener_worker_downstream_cx_active{envoy_worker_id="1",envoy_listener_address="0.0.0.0_8443"} 9
envoy_listener_admin_downstream_cx_active{} 1
envoy_listener_downstream_cx_total{envoy_listener_address="tls.example"} 2
envoy_cluster_x_bucket{le="+Inf"} NaN
"#;

    const JSON: &str = r#"{"stats":[
{"name":"cluster.outbound|80||a.b.svc.cluster.local.upstream_rq_total","value":4},
{"name":"cluster.outbound|80||a.b.svc.cluster.local.upstream_cx_total","value":"3"},
{"name":"cluster.127_0_0_1_8877.upstream_rq_total","value":0},
{"name":"listener_manager.lds.version_text","value":"v13"},
{"value":336,"name":"cluster_manager.active_clusters"},{"name":"cluster_manager.cds.update_rejected","value":2},
{"name":"listener_manager.lds.update_rejected","value":5},
{"name":"listener_manager.total_listeners_draining","value":3},
{"name":"listener_manager.listener_in_place_updated","value":9},
{"name":"server.memory_allocated","value":479000000},{"name":"server.memory_heap_size","value":0},
{"name":"server.concurrency","value":4},
{"name":"listener.0.0.0.0_8443.downstream_cx_active","value":17},
{"name":"listener.0.0.0.0_8443.downstream_cx_total","value":230},
{"name":"listener.0.0.0.0_8443.worker_1.downstream_cx_active","value":9},
{"name":"listener.admin.downstream_cx_active","value":1},
{"name":"listener.tls.example.downstream_cx_total","value":2},
{"histograms":{"supported_quantiles":[0,25],"computed_quantiles":[]}}]}"#;

    fn expected(lines: u64) -> Stats {
        Stats {
            lines,
            listeners_draining: Some(3),
            listener_in_place_updated: Some(9),
            updates_rejected: Some(7),
            active_clusters: Some(336),
            memory_allocated: Some(479_000_000),
            concurrency: Some(4),
            cluster_traffic: vec![("outbound|80||a.b.svc.cluster.local".into(), 7), ("127_0_0_1_8877".into(), 0)],
            listener_connections: vec![
                ListenerConnections { name: "0.0.0.0_8443".into(), active: Some(17), total: Some(230) },
                ListenerConnections { name: "tls.example".into(), active: None, total: Some(2) },
            ],
            ..Stats::default()
        }
    }

    #[test]
    fn three_formats_one_answer() {
        for (text, lines) in [(TEXT, 19), (PROMETHEUS, 18), (JSON, 18)] {
            let (stats, problems) = read("stats", &mut text.as_bytes());
            assert_eq!(stats, Some(expected(lines)));
            assert!(problems.is_empty(), "{problems:?}");
        }
    }

    #[test]
    fn log_lines_in_front() {
        for text in [TEXT, PROMETHEUS, JSON] {
            let text = format!("2026/10/08 19:59:34 INFO GOMEMLIMIT is set\n{text}");
            let (stats, problems) = read("stats", &mut text.as_bytes());
            assert_eq!(stats.unwrap().concurrency, Some(4));
            assert_eq!(problems.iter().map(|p| p.loss).collect::<Vec<_>>(), [Loss::Nothing]);
        }
    }

    #[test]
    fn a_cut_number_is_not_used() {
        for text in [TEXT, PROMETHEUS] {
            let cut = text.find("memory_allocated").unwrap() + "memory_allocated: 47".len();
            let (stats, problems) = read("stats", &mut &text.as_bytes()[..cut]);
            let stats = stats.unwrap();
            assert_eq!((stats.memory_allocated, stats.listeners_draining), (None, Some(3)));
            assert_eq!(problems.iter().filter(|p| p.loss == Loss::Part).count(), 1);
        }
        let cut = JSON.find("479").unwrap();
        let (stats, problems) = read("stats", &mut &JSON.as_bytes()[..cut]);
        assert_eq!(stats.unwrap().memory_allocated, None);
        assert_eq!(problems[0].loss, Loss::Part);
    }

    #[test]
    fn no_prefix_gives_a_wrong_number() {
        let whole = expected(0);
        for text in [TEXT, PROMETHEUS, JSON] {
            for cut in 0..text.len() {
                let (stats, problems) = read("stats", &mut &text.as_bytes()[..cut]);
                let Some(s) = stats else {
                    assert_eq!(problems.last().unwrap().loss, Loss::Whole);
                    continue;
                };
                assert!(s.memory_allocated.is_none_or(|v| Some(v) == whole.memory_allocated), "{cut}");
                assert!(s.active_clusters.is_none_or(|v| Some(v) == whole.active_clusters), "{cut}");
                assert!(s.listeners_draining.is_none_or(|v| Some(v) == whole.listeners_draining), "{cut}");
                assert!(s.cluster_traffic.iter().all(|(_, n)| [0, 3, 4, 7].contains(n)), "{cut}");
            }
        }
    }

    #[test]
    fn a_stream_that_breaks() {
        struct Breaks<'a>(&'a [u8]);
        impl Read for Breaks<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                if self.0.is_empty() { Err(std::io::Error::other("gzip data ends early")) } else { self.0.read(out) }
            }
        }
        for text in [TEXT, PROMETHEUS, JSON] {
            let cut = text.find("memory_allocated").unwrap() + "memory_allocated: 47".len();
            let (stats, problems) = read("stats", &mut Breaks(&text.as_bytes()[..cut]));
            let stats = stats.unwrap();
            assert_eq!((stats.memory_allocated, stats.listeners_draining), (None, Some(3)));
            assert_eq!(problems.len(), 1);
            assert!(problems[0].what.starts_with("gzip data ends early; "), "{problems:?}");
        }
    }

    #[test]
    fn entries_longer_than_the_buffer_are_skipped() {
        let long = "x".repeat(1 << 20);
        let text =
            format!(r#"{{"stats":[{{"histograms":{{"a":"{long}"}}}},{{"name":"server.concurrency","value":2}}]}}"#);
        let (stats, problems) = read("stats", &mut text.as_bytes());
        assert_eq!(stats.unwrap().concurrency, Some(2));
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn garbage() {
        for text in ["", "hello\n", "{}", "{\"stats\":3}", "a: b\n", "Name: 3\n", "\u{feff}"] {
            let (stats, problems) = read("stats", &mut text.as_bytes());
            assert_eq!(stats, None, "{text}");
            assert_eq!(problems.last().unwrap().loss, Loss::Whole, "{text}");
        }
    }

    #[test]
    fn labels() {
        let labels = br#"a="x,y=\"z\"", cluster_name="o|80||h.svc",b="""#;
        assert_eq!(label_value(labels, b"cluster_name").unwrap(), "o|80||h.svc");
        assert_eq!(label_value(labels, b"a").unwrap(), "x,y=\"z\"");
        assert_eq!(label_value(labels, b"name"), None);
    }
}
