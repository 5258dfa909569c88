//! One resource as what it means: a tree without spelling, defaults and meaningless order, and the differences of two.
//!
//! Only single resources become trees, never a document.

use std::cmp::Ordering;
use std::fmt;

use foldhash::{HashMap, HashMapExt};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::xxh3_64;

use super::api;
use super::secrets;
use crate::model::change::{ChangeKind, FieldChange};

/// Lists whose order means nothing to what the proxy does (folded). Envoy compares some of them in order all the same,
/// so a new order may still be an update: that is reported apart.
const SETS: [&str; 48] = [
    "domains",
    "virtualhosts",
    "filterchains",
    "servernames",
    "prefixranges",
    "sourceprefixranges",
    "sourceports",
    "directsourceprefixranges",
    "applicationprotocols",
    "endpoints",
    "lbendpoints",
    "additionaladdresses",
    "matchsubjectaltnames",
    "matchtypedsubjectaltnames",
    "verifysubjectaltname",
    "verifycertificatehash",
    "verifycertificatespki",
    "thresholds",
    "requestheaderstoremove",
    "responseheaderstoremove",
    "subsetselectors",
    "keys",
    "headers",
    "queryparameters",
    "dynamicmetadata",
    "accesslog",
    "retriablestatuscodes",
    "healthchecks",
    "statssinks",
    "patterns",
    "extensions",
    "clientfeatures",
    "scopedrouteconfigs",
    "clusters",
    "listeners",
    "secrets",
    "alloworiginstringmatch",
    "exactdomains",
    "ids",
    "permissions",
    "principals",
    "methods",
    "paths",
    "audiences",
    "tlscertificatesdssecretconfigs",
    "resourcenames",
    "requestedservernames",
    "statstags",
];

/// A value. Equal `hash`es mean the same thing; equal `written` hashes also in the same order.
#[derive(Debug, Clone)]
struct Node {
    hash: u64,
    written: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A scalar in normal form; `None` for null.
    Leaf(Option<Box<str>>),
    /// Elements in the order of the text.
    List(Vec<Node>),
    /// Entries sorted by folded key.
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
struct Entry {
    folded: Box<str>,
    /// As written.
    key: Box<str>,
    value: Node,
}

fn mix(h: u64, v: u64) -> u64 {
    (h ^ v).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// A JSON value before anything is known of its place.
enum Raw {
    Leaf(Option<Box<str>>),
    List(Vec<Raw>),
    Map(Vec<(Box<str>, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Leaf(None))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
                Ok(Raw::Leaf(Some(if v { "true" } else { "false" }.into())))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
                Ok(Raw::Leaf(Some(v.to_string().into())))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
                Ok(Raw::Leaf(Some(v.to_string().into())))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
                Ok(Raw::Leaf(Some(v.to_string().into())))
            }
            fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
                Ok(Raw::Leaf(Some(duration(v).unwrap_or_else(|| v.into()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut out = Vec::new();
                while let Some(v) = seq.next_element()? {
                    out.push(v);
                }
                Ok(Raw::List(out))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = map.next_entry::<Box<str>, Raw>()? {
                    out.push(entry);
                }
                Ok(Raw::Map(out))
            }
        }
        d.deserialize_any(V)
    }
}

/// `10.500s` as `10.5s`; `None` for anything but a protobuf duration with a fraction.
fn duration(text: &str) -> Option<Box<str>> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.')?;
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole.strip_prefix('-').unwrap_or(whole)) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    Some(if fraction.is_empty() { format!("{whole}s") } else { format!("{whole}.{fraction}s") }.into())
}

/// Brings a value that stands under `key` (folded) into normal form.
fn normal(raw: Raw, key: &str) -> Node {
    match raw {
        Raw::Leaf(value) => {
            let value = match (key, value) {
                ("@type" | "typeurl", Some(v)) => Some(api::type_name(&v).as_ref().into()),
                ("name", Some(v)) if v.starts_with("envoy.") => Some(api::extension_name(&v).as_ref().into()),
                (_, v) => v,
            };
            let hash = mix(1, value.as_deref().map_or(0, |v| xxh3_64(v.as_bytes())));
            Node { hash, written: hash, kind: Kind::Leaf(value) }
        }
        Raw::List(list) => {
            let list: Vec<Node> = list.into_iter().map(|v| normal(v, key)).collect();
            let written = list.iter().fold(2, |h, n| mix(h, n.written));
            let hash = if SETS.contains(&key) {
                let mut hashes: Vec<u64> = list.iter().map(|n| n.hash).collect();
                hashes.sort_unstable();
                hashes.into_iter().fold(2, mix)
            } else {
                list.iter().fold(2, |h, n| mix(h, n.hash))
            };
            Node { hash, written, kind: Kind::List(list) }
        }
        Raw::Map(map) => {
            let mut entries: Vec<Entry> = Vec::with_capacity(map.len());
            for (key, value) in map {
                let folded: Box<str> = api::fold(&key).into();
                let value = normal(value, &folded);
                entries.push(Entry { folded, key, value });
            }
            unfold_collisions(&mut entries);
            entries.retain(|e| !means_absent(e));
            entries.sort_by(|a, b| a.folded.cmp(&b.folded));
            // of a repeated key the last one wins, as in protobuf's own parser
            entries.reverse();
            entries.dedup_by(|later, kept| later.folded == kept.folded);
            entries.reverse();
            let over = |f: fn(&Node) -> u64| {
                entries.iter().fold(3, |h, e| mix(mix(h, xxh3_64(e.folded.as_bytes())), f(&e.value)))
            };
            let (hash, written) = (over(|n| n.hash), over(|n| n.written));
            Node { hash, written, kind: Kind::Map(entries) }
        }
    }
}

/// Keys of a map of the user's that differ in case or underscores only stay apart.
fn unfold_collisions(entries: &mut [Entry]) {
    let mut seen: HashMap<Box<str>, Box<str>> = HashMap::new();
    let mut collides = false;
    for e in entries.iter() {
        match seen.get(&e.folded) {
            Some(key) if *key != e.key => collides = true,
            _ => {
                seen.insert(e.folded.clone(), e.key.clone());
            }
        }
    }
    if collides && !entries.iter().all(|e| api::field(&e.folded).is_some()) {
        entries.iter_mut().for_each(|e| e.folded = e.key.clone());
    }
}

fn means_absent(e: &Entry) -> bool {
    match &e.value.kind {
        Kind::Leaf(None) => true,
        Kind::Leaf(Some(text)) => api::is_default(&e.folded, text),
        Kind::List(list) => list.is_empty(),
        // an empty message is a choice (`ads: {}`)
        Kind::Map(_) => false,
    }
}

/// One resource in normal form.
#[derive(Debug, Clone)]
pub(crate) struct Meaning(Node);

/// Where in an entry of a dump the resource stands, by folded keys; the first path that exists counts, else the entry
/// itself is the resource.
pub(crate) type Place = &'static [&'static [&'static str]];

impl Meaning {
    /// Reads one entry of a dump and keeps the resource in it.
    ///
    /// # Errors
    /// The JSON error.
    pub(crate) fn read(text: &str, place: Place, without: &[&str]) -> Result<Self, serde_json::Error> {
        let mut node = normal(serde_json::from_str(text)?, "");
        for path in place {
            if let Some(found) = path.iter().try_fold(&node, |n, key| n.get(key)) {
                node = found.clone();
                break;
            }
        }
        // times and versions say when, not what; a static resource has no `@type`, the same one in an `Any` has
        if let Kind::Map(entries) = &mut node.kind {
            entries.retain(|e| !matches!(&*e.folded, "@type" | "versioninfo" | "lastupdated" | "clientstatus"));
            for path in without {
                remove(entries, path);
            }
        }
        Ok(Self(node.again()))
    }

    /// Equal for two resources that mean the same, and equal also in the order of everything.
    pub(crate) fn hashes(&self) -> (u64, u64) {
        (self.0.hash, self.0.written)
    }

    /// What differs from `self` to `after`; the first `most` differences, and how many more there are.
    pub(crate) fn changes(&self, after: &Self, most: usize) -> (Vec<FieldChange>, usize) {
        let mut d = Differences { out: Vec::new(), most, omitted: 0, keys: Vec::new() };
        d.compare(&self.0, &after.0, &mut String::new());
        (d.out, d.omitted)
    }
}

fn remove(entries: &mut Vec<Entry>, path: &str) {
    match path.split_once('.') {
        None => entries.retain(|e| &*e.folded != path),
        Some((head, rest)) => {
            for e in entries.iter_mut().filter(|e| &*e.folded == head) {
                if let Kind::Map(inner) = &mut e.value.kind {
                    remove(inner, rest);
                }
            }
        }
    }
}

impl Node {
    fn get(&self, folded: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|e| &*e.folded == folded).map(|e| &e.value),
            _ => None,
        }
    }

    /// With the hashes of its maps made anew after entries were taken out.
    fn again(mut self) -> Self {
        if let Kind::Map(entries) = &mut self.kind {
            for e in entries.iter_mut() {
                if matches!(e.value.kind, Kind::Map(_)) {
                    let value = std::mem::replace(&mut e.value, Node { hash: 0, written: 0, kind: Kind::Leaf(None) });
                    e.value = value.again();
                }
            }
            let over = |f: fn(&Node) -> u64| {
                entries.iter().fold(3, |h, e| mix(mix(h, xxh3_64(e.folded.as_bytes())), f(&e.value)))
            };
            (self.hash, self.written) = (over(|n| n.hash), over(|n| n.written));
        }
        self
    }

    fn leaf(&self) -> Option<&str> {
        match &self.kind {
            Kind::Leaf(text) => text.as_deref(),
            _ => None,
        }
    }

    /// What tells this element of a list from its neighbours: a name, or the part that matches or addresses.
    fn identity(&self) -> Option<u64> {
        let Kind::Map(_) = self.kind else { return None };
        const NAMES: [&str; 6] = ["name", "clustername", "key", "id", "cluster", "prefix"];
        if let Some((key, text)) = NAMES.iter().find_map(|k| Some((k, self.get(k)?.leaf()?))) {
            return Some(mix(xxh3_64(key.as_bytes()), xxh3_64(text.as_bytes())));
        }
        const PARTS: [&[&str]; 7] = [
            &["endpoint", "address"],
            &["address"],
            &["header", "key"],
            &["locality"],
            &["filterchainmatch"],
            &["match"],
            &["priority"],
        ];
        PARTS
            .iter()
            .enumerate()
            .find_map(|(i, path)| path.iter().try_fold(self, |n, key| n.get(key)).map(|n| mix(i as u64, n.hash)))
    }

    /// How an element is named in a path.
    fn label(&self, index: usize, keys: &[&str]) -> String {
        for key in ["name", "clustername", "key", "cluster"] {
            if let Some(text) = self.get(key).and_then(Node::leaf)
                && text.len() <= 80
                && !secrets::hides(&[keys, &[key]].concat(), text)
            {
                return text.to_owned();
            }
        }
        index.to_string()
    }
}

struct Differences<'a> {
    out: Vec<FieldChange>,
    most: usize,
    omitted: usize,
    /// Folded keys that lead to the place at hand.
    keys: Vec<&'a str>,
}

impl<'a> Differences<'a> {
    fn add(&mut self, path: &str, kind: ChangeKind, before: Option<&Node>, after: Option<&Node>) {
        if self.out.len() == self.most {
            self.omitted += 1;
            return;
        }
        let show = |n: Option<&Node>| n.map(|n| shown(n, &self.keys)).unwrap_or_default();
        let (before, mut after) = (show(before), show(after));
        if kind == ChangeKind::Changed && before == after {
            after.push_str(" (another)");
        }
        self.out.push(FieldChange { path: path.to_owned(), kind, before, after });
    }

    fn compare(&mut self, a: &'a Node, b: &'a Node, path: &mut String) {
        if a.hash == b.hash && a.written == b.written {
            return;
        }
        match (&a.kind, &b.kind) {
            (Kind::Map(x), Kind::Map(y)) => self.maps(x, y, path),
            (Kind::List(x), Kind::List(y)) => self.lists(x, y, path),
            _ => self.add(path, ChangeKind::Changed, Some(a), Some(b)),
        }
    }

    fn maps(&mut self, a: &'a [Entry], b: &'a [Entry], path: &mut String) {
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            let order = match (a.get(i), b.get(j)) {
                (Some(x), Some(y)) => x.folded.cmp(&y.folded),
                (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            let entry = if order == Ordering::Greater { &b[j] } else { &a[i] };
            let len = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&entry.key);
            self.keys.push(&entry.folded);
            match order {
                Ordering::Less => self.add(path, ChangeKind::Removed, Some(&a[i].value), None),
                Ordering::Greater => self.add(path, ChangeKind::Added, None, Some(&b[j].value)),
                Ordering::Equal => self.compare(&a[i].value, &b[j].value, path),
            }
            self.keys.pop();
            path.truncate(len);
            i += usize::from(order != Ordering::Greater);
            j += usize::from(order != Ordering::Less);
        }
    }

    fn lists(&mut self, a: &'a [Node], b: &'a [Node], path: &mut String) {
        let set = self.keys.last().is_some_and(|k| SETS.contains(k));
        let mut partner: Vec<Option<usize>> = vec![None; a.len()];
        let mut taken = vec![false; b.len()];
        // the same first, then the same by name or match, then what is left in its place
        pair(a, b, &mut partner, &mut taken, |n| Some(n.hash));
        pair(a, b, &mut partner, &mut taken, Node::identity);
        let left_a: Vec<usize> = (0..a.len()).filter(|i| partner[*i].is_none()).collect();
        let left_b: Vec<usize> = (0..b.len()).filter(|j| !taken[*j]).collect();
        let positional = !set && left_a.len() == left_b.len() || left_a.len() == 1 && left_b.len() == 1;
        if positional {
            for (i, j) in left_a.iter().zip(&left_b) {
                partner[*i] = Some(*j);
                taken[*j] = true;
            }
        }
        let pairs: Vec<usize> = partner.iter().flatten().copied().collect();
        if !pairs.is_sorted() {
            let kind = if set { ChangeKind::OrderOnly } else { ChangeKind::Reordered };
            if self.out.len() < self.most {
                let (before, after) = (format!("{} elements", a.len()), format!("{} moved", moved(&pairs)));
                self.out.push(FieldChange { path: path.clone(), kind, before, after });
            } else {
                self.omitted += 1;
            }
        }
        for (i, node) in a.iter().enumerate() {
            let len = path.len();
            path.push_str(&format!("[{}]", node.label(i, &self.keys)));
            match partner[i] {
                Some(j) => self.compare(node, &b[j], path),
                None => self.add(path, ChangeKind::Removed, Some(node), None),
            }
            path.truncate(len);
        }
        for (j, node) in b.iter().enumerate().filter(|(j, _)| !taken[*j]) {
            let len = path.len();
            path.push_str(&format!("[{}]", node.label(j, &self.keys)));
            self.add(path, ChangeKind::Added, None, Some(node));
            path.truncate(len);
        }
    }
}

/// Pairs the elements that are still free and agree by `key`, in order.
fn pair(a: &[Node], b: &[Node], partner: &mut [Option<usize>], taken: &mut [bool], key: fn(&Node) -> Option<u64>) {
    let mut free: HashMap<u64, std::collections::VecDeque<usize>> = HashMap::new();
    for (j, node) in b.iter().enumerate().filter(|(j, _)| !taken[*j]) {
        if let Some(k) = key(node) {
            free.entry(k).or_default().push_back(j);
        }
    }
    for (i, node) in a.iter().enumerate() {
        if partner[i].is_none()
            && let Some(k) = key(node)
            && let Some(j) = free.get_mut(&k).and_then(std::collections::VecDeque::pop_front)
        {
            partner[i] = Some(j);
            taken[j] = true;
        }
    }
}

/// How many elements have to move to get from the one order to the other: all but a longest increasing run.
fn moved(order: &[usize]) -> usize {
    let mut tails: Vec<usize> = Vec::new();
    for &x in order {
        let at = tails.partition_point(|t| *t < x);
        if at == tails.len() { tails.push(x) } else { tails[at] = x }
    }
    order.len() - tails.len()
}

/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// A value as a report may show it.
fn shown(node: &Node, keys: &[&str]) -> String {
    match &node.kind {
        Kind::Leaf(None) => "null".to_owned(),
        Kind::Leaf(Some(text)) => {
            let plain = matches!(&**text, "true" | "false") || text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            if !plain && secrets::hides(keys, text) {
                return format!("(hidden, {} bytes)", text.len());
            }
            if text.chars().count() <= SHOWN {
                return text.to_string();
            }
            let head: String = text.chars().take(SHOWN - 20).collect();
            format!("{head}… ({} bytes)", text.len())
        }
        Kind::List(list) => format!("[{} elements]", list.len()),
        Kind::Map(entries) => {
            let keys: Vec<&str> = entries.iter().take(4).map(|e| &*e.key).collect();
            let more = if entries.len() > 4 { ", …" } else { "" };
            format!("{{{}{more}}}", keys.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(a: &str, b: &str) -> Vec<(String, &'static str, String, String)> {
        let read = |t: &str| Meaning::read(t, &[], &[]).unwrap();
        let (changes, _) = read(a).changes(&read(b), 100);
        changes.into_iter().map(|c| (c.path, c.kind.as_str(), c.before, c.after)).collect()
    }

    #[test]
    fn spelling_defaults_and_order_of_keys_mean_nothing() {
        let a =
            r#"{"name":"c","connect_timeout":"1.500s","lb_policy":"ROUND_ROBIN","max_requests_per_connection":"5"}"#;
        let b = r#"{"maxRequestsPerConnection":5,"connectTimeout":"1.5s","name":"c","altStatName":"","filters":[]}"#;
        assert_eq!(diff(a, b), []);
    }

    #[test]
    fn version_2_types() {
        let a = r#"{"x":{"@type":"type.googleapis.com/envoy.api.v2.auth.UpstreamTlsContext","sni":"a"}}"#;
        let b = r#"{"x":{"sni":"a","@type":"t/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}}"#;
        assert_eq!(diff(a, b), []);
    }

    #[test]
    fn each_change_once() {
        let a = r#"{"virtual_hosts":[{"name":"a","domains":["x","y"],"routes":[{"match":{"prefix":"/"},"route":{"timeout":"15s"}}]},{"name":"b"}]}"#;
        let b = r#"{"virtual_hosts":[{"name":"b"},{"name":"a","domains":["y","x","z"],"routes":[{"match":{"prefix":"/"},"route":{"timeout":"0s"}}]}]}"#;
        let got = diff(a, b);
        let kinds: Vec<(&str, &str)> = got.iter().map(|(p, k, ..)| (p.as_str(), *k)).collect();
        assert_eq!(
            kinds,
            [
                ("virtual_hosts", "order_only"),
                ("virtual_hosts[a].domains", "order_only"),
                ("virtual_hosts[a].domains[2]", "added"),
                ("virtual_hosts[a].routes[0].route.timeout", "changed"),
            ]
        );
    }

    #[test]
    fn order_that_matters() {
        let a = r#"{"http_filters":[{"name":"x"},{"name":"y"},{"name":"z"}]}"#;
        let b = r#"{"http_filters":[{"name":"z"},{"name":"x"},{"name":"y"}]}"#;
        assert_eq!(diff(a, b), [("http_filters".into(), "reordered", "3 elements".into(), "1 moved".into())]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let a = r#"{"request_headers_to_add":[{"header":{"key":"authorization","value":"Bearer one"}}]}"#;
        let b = r#"{"request_headers_to_add":[{"header":{"key":"authorization","value":"Bearer two"}}]}"#;
        let got = diff(a, b);
        assert_eq!(got.len(), 1);
        assert!(!format!("{got:?}").contains("Bearer"), "{got:?}");
    }

    #[test]
    fn zero_of_a_wrapper_is_not_absent() {
        assert_eq!(diff(r#"{"use_remote_address":false}"#, "{}").len(), 1);
        assert_eq!(diff(r#"{"ads":{}}"#, "{}").len(), 1);
    }
}
