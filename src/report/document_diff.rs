//! The section of `diff`, and the one shape in which formats show dumps, recordings and maps.

use serde::Deserialize;

use super::words::signed;
use crate::model::size::size;

/// The section of `diff`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Diff {
    /// Nothing differs.
    pub equal: bool,
    /// Proxies that only the first side has.
    pub proxies_removed: Vec<String>,
    /// Proxies that only the second side has.
    pub proxies_added: Vec<String>,
    proxies: Vec<ProxyDiff>,
    recording: Option<RecordingDiff>,
    bpf: Option<Maps>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct Pair {
    before: u64,
    after: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProxyDiff {
    label: String,
    memory: Memory,
    by_kind: Vec<KindDiff>,
    resources: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    allocated: Pair,
    resident: Pair,
    observed: Option<Pair>,
    peak: Pair,
    peak_resident: Pair,
    end: Pair,
    settled: Pair,
    leaked: Pair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KindDiff {
    kind: String,
    state: String,
    count: Pair,
    bytes: Pair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    added: Vec<Resource>,
    removed: Vec<Resource>,
    changed: Vec<Resource>,
    reordered: Vec<Resource>,
    unchanged: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    #[serde(alias = "xds")]
    kind: String,
    name: String,
    fields: Vec<Field>,
}

/// A path, with values where the diff has them.
#[derive(Debug, Default)]
struct Field(String);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Field;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or an object with one")
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Field, E> {
                Ok(Field(path.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Field, A::Error> {
                #[derive(Default, Deserialize)]
                #[serde(default)]
                struct Change {
                    path: String,
                    change: String,
                    before: String,
                    after: String,
                }
                let c = Change::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Field(match c.change.as_str() {
                    "added" => format!("{}: + {}", c.path, c.after),
                    "removed" => format!("{}: - {}", c.path, c.before),
                    "changed" => format!("{}: {} -> {}", c.path, c.before, c.after),
                    other => format!("{}: {other}", c.path),
                }))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RecordingDiff {
    memory: Memory,
    counts: Vec<CountDiff>,
    resources: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CountDiff {
    what: String,
    count: Pair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Maps {
    memlock_before: u64,
    memlock_after: u64,
}

/// What differs of one proxy, of two recordings, or of a node's maps.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// The proxy, `recording` or `BPF maps`.
    pub(super) title: &'a str,
    /// What, then, now, difference.
    pub(super) rows: Vec<[String; 4]>,
    /// What became of resources, with each one's kind, name and fields.
    pub(super) lists: Vec<(&'static str, Vec<Item<'a>>)>,
    /// Resources that are the same; none where there are no resources.
    pub(super) unchanged: Option<u64>,
}

/// A resource that differs.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) fields: Vec<&'a str>,
}

fn bytes(what: &str, p: Pair) -> [String; 4] {
    [what.to_owned(), size(p.before), size(p.after), signed(p.after as i64 - p.before as i64)]
}

fn counted(what: String, p: Pair) -> [String; 4] {
    [what, p.before.to_string(), p.after.to_string(), format!("{:+}", p.after as i64 - p.before as i64)]
}

impl Resources {
    fn lists(&self) -> Vec<(&'static str, Vec<Item<'_>>)> {
        fn item(r: &Resource) -> Item<'_> {
            Item { kind: &r.kind, name: &r.name, fields: r.fields.iter().map(|f| f.0.as_str()).collect() }
        }
        [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed), ("reordered", &self.reordered)]
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(what, list)| (what, list.iter().map(item).collect()))
            .collect()
    }
}

impl Diff {
    /// Everything that was compared, in the order of the report.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let mut out = Vec::new();
        for p in &self.proxies {
            let mut rows = vec![bytes("allocated", p.memory.allocated), bytes("resident", p.memory.resident)];
            rows.extend(p.memory.observed.map(|o| bytes("observed", o)));
            for k in p.by_kind.iter().filter(|k| k.bytes.before != k.bytes.after || k.count.before != k.count.after) {
                let state = if k.state.is_empty() { String::new() } else { format!(", {}", k.state) };
                let what = format!("{}{state} ({} -> {})", k.kind, k.count.before, k.count.after);
                rows.push(bytes(&what, k.bytes));
            }
            let (lists, unchanged) = (p.resources.lists(), Some(p.resources.unchanged));
            out.push(Part { title: &p.label, rows, lists, unchanged });
        }
        if let Some(r) = &self.recording {
            let m = &r.memory;
            let mut rows = vec![
                bytes("peak", m.peak),
                bytes("resident at the peak", m.peak_resident),
                bytes("end", m.end),
                bytes("settled", m.settled),
                bytes("leaked", m.leaked),
            ];
            let differ = r.counts.iter().filter(|c| c.count.before != c.count.after);
            rows.extend(differ.map(|c| counted(c.what.clone(), c.count)));
            let (lists, unchanged) = (r.resources.lists(), Some(r.resources.unchanged));
            out.push(Part { title: "recording", rows, lists, unchanged });
        }
        if let Some(m) = &self.bpf {
            let rows = vec![bytes("memlock", Pair { before: m.memlock_before, after: m.memlock_after })];
            out.push(Part { title: "BPF maps", rows, lists: Vec::new(), unchanged: None });
        }
        out
    }
}
