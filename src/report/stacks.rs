//! Configuration as stacks of frames `namespace;kind;resource;field`, for viewers of profiles: pprof and folded stacks.
//!
//! Heap bytes end at the resource: what a field costs in the heap is not measured apart. Bytes of JSON go on to fields.

use std::collections::HashMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::clean;
use super::document::{Document, Proxy};
use super::rows::nothing;
use crate::findings::treemap::exclusive;

/// A stack from the root on, and what is at its end.
struct Stack {
    frames: Vec<String>,
    heap_bytes: u64,
    json_bytes: u64,
    resources: u64,
    state: String,
}

fn stacks(reports: &[Document]) -> Vec<Stack> {
    let proxies: Vec<&Proxy> = reports.iter().flat_map(Document::proxies).collect();
    let frame = |text: &str, empty: &str| if text.is_empty() { empty.to_owned() } else { clean(text).into_owned() };
    let mut out = Vec::new();
    for p in &proxies {
        let root: Vec<String> = if proxies.len() > 1 { vec![frame(&p.label, "proxy")] } else { Vec::new() };
        let mut listed = 0;
        for r in &p.resources {
            let mut frames = root.clone();
            frames.extend([frame(&r.namespace, "(no namespace)"), frame(&r.kind, "-"), frame(&r.name, "(no name)")]);
            let fields: Vec<(&str, u64)> = r.fields.iter().map(|f| (f.path.as_str(), f.json_bytes)).collect();
            let parts = if fields.is_empty() { Vec::new() } else { exclusive(fields, r.json_bytes) };
            let own = parts.iter().find(|(path, _)| path.is_empty()).map_or(0, |(_, n)| *n);
            let json_bytes = if r.fields.is_empty() { r.json_bytes } else { own };
            for (path, json_bytes) in parts.into_iter().filter(|(path, _)| !path.is_empty()) {
                let mut frames = frames.clone();
                frames.extend(path.split('.').map(|part| frame(part, "-")));
                out.push(Stack { frames, heap_bytes: 0, json_bytes, resources: 0, state: r.state.clone() });
            }
            out.push(Stack { frames, heap_bytes: r.bytes, json_bytes, resources: 1, state: r.state.clone() });
            listed += r.bytes;
        }
        let mut rest = |what: &str, heap_bytes: u64| {
            let mut frames = root.clone();
            frames.push(what.to_owned());
            if heap_bytes > 0 {
                out.push(Stack { frames, heap_bytes, json_bytes: 0, resources: 0, state: String::new() });
            }
        };
        rest("(subscriptions and what no resource shows)", p.memory.config.bytes.saturating_sub(listed));
        rest("(base process)", p.memory.base.bytes);
    }
    out
}

/// Brendan Gregg's folded stacks: `frame;frame;frame bytes`, of the heap or of the JSON.
///
/// # Errors
/// When the reports have no resources.
pub(super) fn folded(reports: &[Document], json: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for s in stacks(reports) {
        let bytes = if json { s.json_bytes } else { s.heap_bytes };
        if bytes > 0 {
            // the one character that means something in a frame
            let frames: Vec<String> = s.frames.iter().map(|f| f.replace(';', ",")).collect();
            let _ = writeln!(out, "{} {bytes}", frames.join(";"));
        }
    }
    if out.is_empty() { Err(nothing("folded", reports)) } else { Ok(out) }
}

/// profile.proto as pprof reads it (`google/pprof/proto/profile.proto`), the fields that are needed here.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// Strings of a profile, each kept once; the first is empty.
#[derive(Default)]
struct Strings {
    index: HashMap<String, i64>,
    list: Vec<String>,
}

impl Strings {
    fn id(&mut self, text: &str) -> i64 {
        if let Some(id) = self.index.get(text) {
            return *id;
        }
        let id = self.list.len() as i64;
        self.index.insert(text.to_owned(), id);
        self.list.push(text.to_owned());
        id
    }
}

/// A gzipped profile with three values per stack: heap bytes, bytes of JSON, resources.
///
/// # Errors
/// When the reports have no resources.
pub(super) fn pprof(reports: &[Document]) -> Result<Vec<u8>, String> {
    let stacks = stacks(reports);
    if stacks.is_empty() {
        return Err(nothing("pprof", reports));
    }
    let mut strings = Strings::default();
    strings.id("");
    let mut profile = Profile::default();
    for (name, unit) in [("heap", "bytes"), ("json", "bytes"), ("resources", "count")] {
        profile.sample_type.push(ValueType { r#type: strings.id(name), unit: strings.id(unit) });
    }
    profile.default_sample_type = strings.id("heap");
    profile.comment = reports
        .iter()
        .map(|r| {
            strings.id(&format!(
                "meshdump {}, cost model {}",
                clean(&r.head.tool.version),
                clean(&r.head.tool.cost_model)
            ))
        })
        .collect();
    let state = strings.id("state");
    let mut locations: HashMap<i64, u64> = HashMap::new();
    for s in &stacks {
        let mut ids = Vec::with_capacity(s.frames.len());
        for frame in s.frames.iter().rev() {
            let name = strings.id(frame);
            let next = locations.len() as u64 + 1;
            let id = *locations.entry(name).or_insert(next);
            if id == next {
                profile.function.push(Function { id, name });
                profile.location.push(Location { id, line: vec![Line { function_id: id }] });
            }
            ids.push(id);
        }
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        profile.sample.push(Sample {
            location_id: ids,
            value: vec![signed(s.heap_bytes), signed(s.json_bytes), signed(s.resources)],
            label: if s.state.is_empty() { Vec::new() } else { vec![Label { key: state, str: strings.id(&s.state) }] },
        });
    }
    profile.string_table = strings.list;
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    let written = gz.write_all(&profile.encode_to_vec()).and_then(|()| gz.finish());
    written.map_err(|e| format!("cannot compress the profile: {e}"))
}
