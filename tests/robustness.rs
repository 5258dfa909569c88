//! Config dumps that are cut, damaged or merely odd: nothing panics, and no whole resource is lost.
//!
//! The dumps are written piece by piece, so that the test knows where each resource ends without asking the reader.

use std::io::{self, Read};

use meshdump::evidence::config_dump::{Dumps, Limits, read_slice, read_stream};
use meshdump::model::problem::{Loss, Problem};
use meshdump::model::source::InputId;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

const TYPES: &str = "type.googleapis.com/";

/// A dump and the offset behind each resource in it, ascending.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    ends: Vec<usize>,
}

impl Written {
    fn whole_in(&self, prefix_bytes: usize) -> usize {
        self.ends.iter().filter(|e| **e <= prefix_bytes).count()
    }
}

/// How one writer writes.
#[derive(Debug, Clone)]
struct Style {
    camel_case: bool,
    pretty: bool,
    type_first: bool,
    gap: &'static str,
}

impl Style {
    fn key(&self, snake: &str) -> String {
        let mut up = false;
        let camel = snake.chars().filter_map(|c| match c {
            '_' => {
                up = true;
                None
            }
            c if std::mem::take(&mut up) => Some(c.to_ascii_uppercase()),
            c => Some(c),
        });
        if self.camel_case { camel.collect() } else { snake.to_owned() }
    }

    fn keys(&self, value: Value) -> Value {
        match value {
            Value::Object(map) => map.into_iter().map(|(k, v)| (self.key(&k), self.keys(v))).collect(),
            Value::Array(items) => items.into_iter().map(|v| self.keys(v)).collect(),
            other => other,
        }
    }

    fn text(&self, value: Value) -> String {
        let value = self.keys(value);
        let text = if self.pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        text.expect("a value can be written")
    }
}

/// A section's list and its entries, each with the number of resources in it.
#[derive(Debug, Clone)]
struct Section {
    type_name: &'static str,
    list: &'static str,
    entries: Vec<(Value, usize)>,
}

fn write(style: &Style, bootstrap: bool, sections: &[Section]) -> Written {
    let mut out = Written { text: format!("{{{0}\"configs\":{0}[", style.gap), ends: Vec::new() };
    let gap = style.gap;
    let mut first = true;
    if bootstrap {
        let body = style.text(json!({"node": {"id": "n~1", "metadata": {"NAMESPACE": "shop"}}}));
        out.text
            .push_str(&format!("{{\"@type\":\"{TYPES}envoy.admin.v3.BootstrapConfigDump\",{gap}\"bootstrap\":{body}"));
        out.ends.push(out.text.len());
        out.text.push('}');
        first = false;
    }
    for section in sections {
        let tag = format!("\"@type\":{gap}\"{TYPES}{}\"", section.type_name);
        let counted = section.type_name.starts_with("envoy.");
        out.text.push_str(if first { gap } else { "," });
        first = false;
        out.text.push('{');
        if style.type_first || !counted {
            out.text.push_str(&format!("{tag},"));
        }
        out.text.push_str(&format!("{gap}\"later\":{{\"a\":[1,{{}}]}},\"{}\":{gap}[", style.key(section.list)));
        for (i, (entry, resources)) in section.entries.iter().enumerate() {
            out.text.push_str(if i > 0 { "," } else { gap });
            out.text.push_str(&style.text(entry.clone()));
            if counted {
                out.ends.extend(std::iter::repeat_n(out.text.len(), *resources));
            }
        }
        out.text.push_str(&format!("{gap}]"));
        if !style.type_first && counted {
            out.text.push_str(&format!(",{tag}"));
        }
        out.text.push('}');
    }
    out.text.push_str(&format!("]{gap}}}{gap}"));
    out
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z|.0-9]{0,20}",
        select(vec![
            "\"quoted\\\"",
            "{",
            "}]",
            "\\",
            "\u{1b}[31mred",
            "größe",
            "日本",
            "\u{0}",
            "../../etc",
            "</script>",
            "a,b:c",
        ])
        .prop_map(str::to_owned),
        ".{0,12}",
    ]
}

fn listener(name: &str, cluster: &str) -> Value {
    json!({"@type": format!("{TYPES}envoy.config.listener.v3.Listener"), "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
            "@type": format!("{TYPES}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"), "cluster": cluster}}]}]})
}

fn section() -> impl Strategy<Value = Section> {
    let entry = (0..9usize, name(), name(), any::<[bool; 3]>());
    (0..9usize, prop::collection::vec(entry, 0..6)).prop_map(|(kind, entries)| {
        let (type_name, list) = [
            ("envoy.admin.v3.ListenersConfigDump", "dynamic_listeners"),
            ("envoy.admin.v3.ListenersConfigDump", "static_listeners"),
            ("envoy.admin.v2alpha.ListenersConfigDump", "dynamic_draining_listeners"),
            ("envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters"),
            ("envoy.admin.v3.ClustersConfigDump", "dynamic_warming_clusters"),
            ("envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs"),
            ("envoy.admin.v3.SecretsConfigDump", "dynamic_active_secrets"),
            ("envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs"),
            ("aeraki.meta_protocol_proxy.admin.v1alpha.RoutesConfigDump", "dynamic_route_configs"),
        ][kind];
        let entries = entries
            .into_iter()
            .map(|(_, n, m, states)| {
                let at = "2026-01-02T03:04:05.006Z";
                match list {
                    "dynamic_listeners" => {
                        let mut entry = json!({"name": n});
                        let mut count = 0;
                        for (state, has) in ["active_state", "warming_state", "draining_state"].iter().zip(states) {
                            if has {
                                entry[state] =
                                    json!({"version_info": "7", "listener": listener(&n, &m), "last_updated": at});
                                count += 1;
                            }
                        }
                        if count == 0 {
                            entry["error_state"] = json!({"failed_configuration": listener(&n, &m), "details": m});
                            count = 1;
                        }
                        (entry, count)
                    }
                    l if l.ends_with("listeners") => (json!({"listener": listener(&n, &m), "last_updated": at}), 1),
                    l if l.ends_with("clusters") => (
                        json!({"version_info": m, "cluster": {"@type": format!("{TYPES}envoy.config.cluster.v3.Cluster"),
                            "name": n, "type": "EDS", "connect_timeout": "1s"}, "last_updated": at}),
                        1,
                    ),
                    l if l.ends_with("route_configs") => (
                        json!({"version_info": m, "route_config": {"name": n, "virtual_hosts": [{"name": m,
                            "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": m}}]}]}}),
                        1,
                    ),
                    l if l.ends_with("secrets") => (json!({"name": n, "version_info": m, "secret": {"name": n}}), 1),
                    _ => (
                        json!({"endpoint_config": {"cluster_name": n, "endpoints": [{"lb_endpoints": [
                            {"endpoint": {"hostname": m}}]}]}}),
                        1,
                    ),
                }
            })
            .collect();
        Section { type_name, list, entries }
    })
}

fn dump() -> impl Strategy<Value = Written> {
    let style = (any::<[bool; 3]>(), select(vec!["", " ", "\n ", "\r\n\t", "\n\n"]))
        .prop_map(|([camel_case, pretty, type_first], gap)| Style { camel_case, pretty, type_first, gap });
    (style, any::<bool>(), prop::collection::vec(section(), 0..5)).prop_map(|(s, b, sections)| write(&s, b, &sections))
}

/// Gives bytes in pieces of the sizes given, over and over, and fails at a byte if told so.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
    fails: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.fails {
            return Err(io::Error::other("the line went dead"));
        }
        let size = self.sizes[self.turn % self.sizes.len()].min(buffer.len());
        self.turn += 1;
        self.bytes.read(&mut buffer[..size])
    }
}

fn slice(bytes: &[u8]) -> (Dumps, Vec<Problem>) {
    read_slice("dump", InputId(3), bytes, Limits::default())
}

fn stream(bytes: &[u8], sizes: &[usize], fails: bool) -> (Dumps, Vec<Problem>) {
    let mut reader = Pieces { bytes, sizes: sizes.to_vec(), turn: 0, fails };
    read_stream("dump", InputId(3), &mut reader, Limits::default())
}

#[track_caller]
fn assert_same(a: &(Dumps, Vec<Problem>), b: &(Dumps, Vec<Problem>)) {
    assert_eq!(a.0.resources, b.0.resources);
    assert_eq!(a.0.sections, b.0.sections);
    assert_eq!(a.0.dumps, b.0.dumps);
    assert_eq!(a.1, b.1);
}

/// A buffer of the stream reader; see `CHUNK_BYTES`.
const BUFFER_BYTES: usize = 1 << 20;

/// The same document, moved so that the first buffer of a stream ends `inside` bytes into it.
fn across_buffers(text: &[u8], inside: usize) -> Vec<u8> {
    let mut out = vec![b' '; BUFFER_BYTES - inside.min(BUFFER_BYTES)];
    out.extend_from_slice(text);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_prefix_gives_the_resources_that_are_whole_in_it(dump in dump(), cuts in prop::collection::vec(any::<Index>(), 24)) {
        let bytes = dump.text.as_bytes();
        let random = cuts.iter().map(|c| c.index(bytes.len() + 1));
        let edges = dump.ends.iter().flat_map(|e| [e - 1, *e, (e + 1).min(bytes.len())]);
        let mut at: Vec<usize> = random.chain(edges).chain([0, bytes.len()]).collect();
        at.sort_unstable();
        let mut before = 0;
        for n in at {
            let (dumps, problems) = slice(&bytes[..n]);
            prop_assert_eq!(dumps.resources, dump.whole_in(n), "of the first {} bytes", n);
            prop_assert!(dumps.resources >= before);
            before = dumps.resources;
            let document = dump.text.trim_end().len();
            let told = problems.iter().any(|p| p.loss != Loss::Nothing);
            prop_assert_eq!(told, n > 0 && n < document, "of the first {} bytes of {}: {:?}", n, document, problems);
        }
        prop_assert_eq!(before, dump.ends.len());
    }

    #[test]
    fn a_stream_gives_what_a_slice_gives(
        dump in dump(),
        inside in any::<Index>(),
        sizes in prop::collection::vec(1..70_000usize, 1..6),
    ) {
        let bytes = across_buffers(dump.text.as_bytes(), inside.index(dump.text.len() + 1));
        assert_same(&stream(&bytes, &sizes, false), &slice(&bytes));
    }

    #[test]
    fn a_stream_that_breaks_gives_what_was_whole(dump in dump(), cut in any::<Index>(), sizes in prop::collection::vec(1..999usize, 1..4)) {
        let n = cut.index(dump.text.len() + 1);
        let (dumps, problems) = stream(&dump.text.as_bytes()[..n], &sizes, true);
        prop_assert_eq!(dumps.resources, dump.whole_in(n));
        prop_assert_eq!(dumps.dumps, slice(&dump.text.as_bytes()[..n]).0.dumps);
        prop_assert!(problems.iter().any(|p| p.what.contains("the line went dead") && p.loss == Loss::Part), "{:?}", problems);
    }

    #[test]
    fn flipped_bytes_are_read_alike_from_slice_and_stream(
        dump in dump(),
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 1..12),
        inside in any::<Index>(),
    ) {
        let mut bytes = dump.text.into_bytes();
        for (at, to) in flips {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let bytes = across_buffers(&bytes, inside.index(bytes.len() + 1));
        assert_same(&stream(&bytes, &[4096, 1], false), &slice(&bytes));
    }

    #[test]
    fn structure_out_of_order_never_panics(tokens in prop::collection::vec(select(vec![
        "{", "}", "[", "]", ",", ":", "\"configs\":", "\"@type\":", "\"type.googleapis.com/envoy.admin.v3.ClustersConfigDump\"",
        "\"dynamic_active_clusters\":", "\"cluster\":", "\"name\":", "\"x\"", "\"", "\\", "1e9", "null", "true", " ", "\n",
        "\"bootstrap\":", "\"dynamic_listeners\":", "\"active_state\":", "\"\\ud800\"", "-", "NaN",
    ]), 0..120)) {
        let bytes = tokens.concat().into_bytes();
        assert_same(&stream(&bytes, &[1, 3], false), &slice(&bytes));
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        assert_same(&stream(&bytes, &[1, 7], false), &slice(&bytes));
    }

    #[test]
    fn a_resource_nested_too_deep_costs_only_itself(depth in 1..20_000usize, array in any::<bool>(), closed in any::<bool>()) {
        let (open, close) = if array { ("[", "]") } else { ("{\"a\":", "}") };
        let deep = format!("{}1{}", open.repeat(depth), if closed { close.repeat(depth) } else { String::new() });
        let text = format!(
            "{{\"configs\":[{{\"@type\":\"{TYPES}envoy.admin.v3.ClustersConfigDump\",\"dynamic_active_clusters\":[\
             {{\"cluster\":{{\"name\":\"before\",\"type\":\"EDS\"}}}},\
             {{\"cluster\":{{\"name\":\"deep\",\"type\":\"EDS\",\"metadata\":{deep}}}}},\
             {{\"cluster\":{{\"name\":\"after\",\"type\":\"EDS\"}}}}]}}]}}"
        );
        let (dumps, problems) = slice(text.as_bytes());
        let names: Vec<&str> = dumps.dumps.iter().flat_map(|(_, p)| &p.clusters).map(|c| &*c.meta.name).collect();
        let lossy = problems.iter().filter(|p| p.loss != Loss::Nothing).count();
        if closed {
            prop_assert!(names.first() == Some(&"before") && names.last() == Some(&"after"), "{:?} {:?}", names, problems);
            prop_assert_eq!(names.len() + lossy, 3, "the deep one is there or told: {:?}", problems);
        } else {
            // a piece is delimited by its own kind of bracket: open brackets in it cost nothing behind it
            let expected = if array { vec!["before", "after"] } else { vec!["before"] };
            prop_assert_eq!(names, expected);
            prop_assert_eq!(lossy, 1);
        }
    }

    #[test]
    fn nesting_outside_of_resources_never_panics(depth in 0..5_000usize, shape in prop::collection::vec(any::<bool>(), 1..8)) {
        let turn = |i: usize| shape[i % shape.len()];
        let open: String = (0..depth).map(|i| if turn(i) { "[" } else { "{\"k\":" }).collect();
        let close: String = (0..depth).rev().map(|i| if turn(i) { "]" } else { "}" }).collect();
        let text = format!("{open}{{\"name\":\"c\",\"connect_timeout\":\"1s\"}}{close}");
        let (dumps, problems) = slice(text.as_bytes());
        prop_assert!(dumps.resources <= 1);
        prop_assert!(problems.iter().all(|p| p.loss == Loss::Nothing), "{:?}", problems);
        assert_same(&stream(text.as_bytes(), &[5], false), &(dumps, problems));
    }
}

/// Longer than the reader's batches and buffers, so that several are in flight and joined.
#[test]
fn a_long_dump_is_the_same_from_slice_and_stream_and_cut_anywhere() {
    let entries = (0..9_000)
        .map(|i| {
            (
                json!({"version_info": "1", "cluster": {"name": format!("c{i}"), "type": "EDS",
                "eds_cluster_config": {"service_name": "x".repeat(i % 900)}}}),
                1,
            )
        })
        .collect();
    let section = Section { type_name: "envoy.admin.v3.ClustersConfigDump", list: "dynamic_active_clusters", entries };
    let style = Style { camel_case: false, pretty: true, type_first: true, gap: "\n" };
    let dump = write(&style, true, &[section]);
    let bytes = dump.text.as_bytes();
    assert!(bytes.len() > 4 * BUFFER_BYTES, "{}", bytes.len());

    let whole = slice(bytes);
    assert_eq!(whole.0.resources, 9_001);
    assert_same(&stream(bytes, &[65_536, 11], false), &whole);
    let clusters = &whole.0.dumps[0].1.clusters;
    for (i, c) in clusters.iter().enumerate() {
        assert_eq!(*c.meta.name, *format!("c{i}"), "in the order of the file");
        assert_eq!((c.meta.span.offset_bytes + c.meta.span.len_bytes) as usize, dump.ends[i + 1]);
    }
    let full = dump.ends.iter().skip_while(|e| **e < 512 << 10).take(60);
    for n in full.copied() {
        let (dumps, problems) = slice(&bytes[..n]);
        assert_eq!(dumps.resources, dump.whole_in(n));
        assert_eq!(problems.len(), 1, "a batch that is full where the file ends: {problems:?}");
    }
    for n in (0..bytes.len()).step_by(bytes.len() / 23) {
        assert_eq!(slice(&bytes[..n]).0.resources, dump.whole_in(n), "of the first {n} bytes");
        assert_eq!(stream(&bytes[..n], &[8192], false).0.resources, dump.whole_in(n), "of the first {n} bytes");
    }
}
