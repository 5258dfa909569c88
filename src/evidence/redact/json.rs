//! JSON and YAML rewritten as they stand: layout, lengths and order stay, names and secrets do not.
//!
//! A small machine walks the text token by token; nothing is held but the string at hand and the keys that lead to it.
//! It is lenient: what is not JSON (a line in front, a document cut off) is text, and has its names replaced as such.

use std::io::{self, Write};
use std::ops::Range;

use foldhash::{HashMap, HashMapExt};

use super::words::{Pseudonyms, is_known};
use super::{Report, Suspect};
use crate::evidence::api;
use crate::evidence::json::tally::is_duration;
use crate::evidence::secrets::{self, Class};

/// Paths of keys told apart; beyond it, everything is a secret.
const MAX_NODES: usize = 1 << 20;
/// A string longer than this is rewritten in parts.
const MAX_STRING_BYTES: usize = 64 << 20;

/// Whose schema the keys follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Envoy's API: keys that are none of its fields are the user's.
    Envoy,
    /// Kubernetes and the rest: keys are the schema's, but for maps of the user's.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Names,
    /// A word of an API, if it looks like one; else a name.
    Word,
    /// Bytes as `0x0a`, or a name.
    Hex,
    Regex,
    Keep,
    /// YAML within a string.
    Yaml,
    /// The hash by which a recording names a body; else anything.
    Hash,
    Fill(Class, bool),
}

struct Node {
    /// Folded key.
    key: Box<str>,
    parent: u32,
    treatment: Treatment,
    /// Keys below are the user's.
    user_keys: bool,
}

/// Every path of keys met, with what is to be done with values there.
struct Paths {
    nodes: Vec<Node>,
    children: HashMap<(u32, Box<str>), u32>,
    dialect: Dialect,
}

/// Keys of maps that the user fills, in Kubernetes and the like (folded). In Envoy's API a key that is none of its
/// fields is the user's wherever it stands.
const USER_MAPS: [&str; 11] = [
    "labels",
    "annotations",
    "matchlabels",
    "selector",
    "podselector",
    "nodeselector",
    "data",
    "stringdata",
    "binarydata",
    "env",
    "layers",
];

/// Keys of Kubernetes whose values are words of its API (folded).
const WORD_KEYS: [&str; 18] = [
    "kind",
    "apiversion",
    "type",
    "phase",
    "protocol",
    "restartpolicy",
    "resolution",
    "location",
    "mode",
    "operator",
    "imagepullpolicy",
    "sessionaffinity",
    "addresstype",
    "appprotocol",
    "status",
    "ipfamilies",
    "ipfamilypolicy",
    "policy",
];

/// Keys that are no fields of Envoy's API, and none of the user's either.
const EXTRA_KEYS: [&str; 58] = [
    "@type",
    "dynamic_active_listeners",
    "dynamic_warming_listeners",
    "dynamic_draining_listeners",
    "apiStatus",
    "hosts",
    "tls_context",
    "config_dump",
    "clusters",
    "ISTIO_VERSION",
    "NAMESPACE",
    "CONFIG_NAMESPACE",
    "WORKLOAD_NAME",
    "NAME",
    "POD_NAME",
    "CLUSTER_ID",
    "MESH_ID",
    "LABELS",
    "istio",
    "envoy-gateway",
    "services",
    "host",
    "namespace",
    "kind",
    "t",
    "k",
    "h",
    "type",
    "v",
    "t0",
    "node",
    "envoy",
    "transport",
    "drain",
    "time_s",
    "strategy",
    "src",
    "file",
    "bytes",
    "redacted",
    "wire",
    "body",
    "mode",
    "ver",
    "n",
    "add",
    "del",
    "err",
    "how",
    "what",
    "tag",
    "ph",
    "m",
    "first",
    "last",
    "until",
    "why",
    "ev",
];

impl Paths {
    fn new(dialect: Dialect) -> Self {
        let root = Node { key: Box::default(), parent: 0, treatment: Treatment::Names, user_keys: false };
        Self { nodes: vec![root], children: HashMap::new(), dialect }
    }

    fn child(&mut self, parent: u32, key: &str) -> u32 {
        let folded = api::fold(key);
        if let Some(n) = self.children.get(&(parent, Box::from(&*folded))) {
            return *n;
        }
        if self.nodes.len() >= MAX_NODES {
            // only a hostile document has so many: nothing below is kept
            self.nodes[MAX_NODES - 1].treatment = Treatment::Fill(Class::Configuration, false);
            return (MAX_NODES - 1) as u32;
        }
        let folded: Box<str> = folded.into();
        let mut path: Vec<&str> = vec![&folded];
        let mut at = parent;
        while at != 0 {
            path.push(&self.nodes[at as usize].key);
            at = self.nodes[at as usize].parent;
        }
        path.reverse();
        let treatment = self.treatment(&path);
        let user_keys = USER_MAPS.contains(&&*folded);
        let n = self.nodes.len() as u32;
        self.nodes.push(Node { key: folded.clone(), parent, treatment, user_keys });
        self.children.insert((parent, folded), n);
        n
    }

    fn treatment(&self, path: &[&str]) -> Treatment {
        let key = path[path.len() - 1];
        if matches!(key, "@type" | "typeurl") {
            return Treatment::Keep;
        }
        let base64 = matches!(key, "inlinebytes" | "pb" | "raw");
        // what a tap saw of a connection
        if matches!(key, "asbytes" | "asstring") {
            return Treatment::Fill(Class::Payload, false);
        }
        if self.dialect == Dialect::Other {
            return match path {
                // Istio's mesh configuration in its ConfigMap, which the analysis reads
                [.., "data", "mesh"] => Treatment::Yaml,
                [.., "proxymetadata", _] => Treatment::Fill(Class::Environment, false),
                [.., "data" | "stringdata" | "binarydata", _] => Treatment::Fill(Class::Credential, false),
                [.., "env", "value"] => Treatment::Fill(Class::Environment, false),
                _ if WORD_KEYS.contains(&key) => Treatment::Word,
                [.., "key" | "value" | "values"] => Treatment::Hex,
                [.., "annotations", k] if k.contains("last-applied") => Treatment::Fill(Class::Configuration, false),
                [.., "configsources" | "cabundle" | "tls.crt" | "tls.key" | "password" | "token"] => {
                    Treatment::Fill(Class::Credential, false)
                }
                _ => match secrets::class(path) {
                    Some(
                        class @ (Class::Credential
                        | Class::PrivateKey
                        | Class::Certificate
                        | Class::Code
                        | Class::Inline
                        | Class::Header),
                    ) => Treatment::Fill(class, base64),
                    _ if matches!(key, "regex" | "regexmatch") => Treatment::Regex,
                    _ => Treatment::Names,
                },
            };
        }
        match path {
            // a line of a recording in our own form
            ["h"] | ["add", _] => return Treatment::Hash,
            ["nonce" | "responsenonce"] => return Treatment::Names,
            ["k" | "mode" | "transport" | "how" | "phase" | "reason"] => return Treatment::Word,
            _ => {}
        }
        match secrets::class(path) {
            Some(class) => Treatment::Fill(class, base64),
            // a body that nobody could decode, and the output of a `config_yaml` flag
            None if matches!(key, "pb" | "raw" | "configyaml") => Treatment::Fill(Class::Inline, base64),
            None if matches!(key, "regex" | "regexmatch" | "saferegexmatch") => Treatment::Regex,
            // a key of the user's, in a place that no other rule knows: what stands there may be anything
            None if !known_key(key) => Treatment::Fill(Class::Configuration, false),
            None => Treatment::Names,
        }
    }

    fn keeps_key(&self, parent: u32, key: &str) -> bool {
        let parent = &self.nodes[parent as usize];
        let folded = api::fold(key);
        if is_extra(&folded) || is_known(key) {
            return true;
        }
        let simple = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'@'));
        match self.dialect {
            Dialect::Envoy => api::field(&folded).is_some() || is_extension(key),
            Dialect::Other => simple && !parent.user_keys,
        }
    }
}

fn is_extra(folded: &str) -> bool {
    EXTRA_KEYS.iter().any(|k| api::fold(k) == folded)
}

/// A field of Envoy's API or of what is written around it, by its folded name.
fn known_key(folded: &str) -> bool {
    api::field(folded).is_some() || is_extra(folded) || folded.starts_with("envoy.")
}

/// The name of one of Envoy's own extensions.
fn is_extension(text: &str) -> bool {
    const FAMILIES: [&str; 34] = [
        "filters",
        "transport_sockets",
        "access_loggers",
        "access_logger",
        "tracers",
        "stat_sinks",
        "resource_monitors",
        "retry_host_predicates",
        "retry_priorities",
        "clusters",
        "cluster",
        "upstreams",
        "extensions",
        "matching",
        "http",
        "request_id",
        "compression",
        "formatter",
        "bootstrap",
        "grpc_credentials",
        "health_checkers",
        "internal_redirect_predicates",
        "load_balancing_policies",
        "path",
        "quic",
        "rbac",
        "tls",
        "wasm",
        "watchdog",
        "config",
        "string_matcher",
        "type",
        "admin",
        "api",
    ];
    let Some(rest) = text.strip_prefix("envoy.") else { return false };
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    let family = rest.split('.').next().unwrap_or("");
    plain && (FAMILIES.contains(&family) || api::extension_name(text) != text)
}

struct Frame {
    array: bool,
    node: u32,
}

/// Rewrites one document.
pub(super) struct Rewriter<'a> {
    names: &'a mut Pseudonyms,
    report: &'a mut Report,
    label: &'a str,
    paths: Paths,
    stack: Vec<Frame>,
    expect_key: bool,
    /// Where the next value stands.
    pending: u32,
    offset: u64,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(names: &'a mut Pseudonyms, report: &'a mut Report, label: &'a str, dialect: Dialect) -> Self {
        let paths = Paths::new(dialect);
        Self { names, report, label, paths, stack: Vec::new(), expect_key: false, pending: 0, offset: 0 }
    }

    /// Rewrites what is whole in `bytes` and returns how many of them are done with. `end` says that no more will come.
    pub(super) fn feed(&mut self, bytes: &[u8], end: bool, out: &mut dyn Write) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let b = bytes[at];
            match b {
                b'"' => {
                    let Some(close) = string_end(&bytes[at + 1..]) else {
                        if !end && bytes.len() - at < MAX_STRING_BYTES {
                            break;
                        }
                        let part = self.string(&bytes[at + 1..]);
                        out.write_all(b"\"")?;
                        out.write_all(&part)?;
                        at = bytes.len();
                        continue;
                    };
                    let part = self.string(&bytes[at + 1..at + 1 + close]);
                    out.write_all(b"\"")?;
                    out.write_all(&part)?;
                    out.write_all(b"\"")?;
                    at += close + 2;
                    self.offset += 2 + close as u64;
                    continue;
                }
                b'{' | b'[' => {
                    let array = b == b'[';
                    self.stack.push(Frame { array, node: self.value_node() });
                    self.expect_key = !array;
                }
                b'}' | b']' => {
                    self.stack.pop();
                    self.expect_key = false;
                }
                b',' => self.expect_key = self.stack.last().is_some_and(|f| !f.array),
                b':' => self.expect_key = false,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => {
                    let stop =
                        |b: &u8| matches!(b, b'"' | b'{' | b'}' | b'[' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n');
                    let len = bytes[at..].iter().position(stop);
                    if len.is_none() && !end && bytes.len() - at < MAX_STRING_BYTES {
                        break;
                    }
                    let len = len.unwrap_or(bytes.len() - at);
                    let part = self.bare(&bytes[at..at + len]);
                    out.write_all(&part)?;
                    at += len;
                    self.offset += len as u64;
                    continue;
                }
            }
            out.write_all(&bytes[at..=at])?;
            at += 1;
            self.offset += 1;
        }
        Ok(at)
    }

    fn value_node(&self) -> u32 {
        match self.stack.last() {
            Some(f) if f.array => f.node,
            Some(_) => self.pending,
            None => 0,
        }
    }

    /// A number, a word of JSON, or something that is no JSON.
    fn bare(&mut self, token: &[u8]) -> Vec<u8> {
        let mut out = token.to_vec();
        if matches!(token, b"true" | b"false" | b"null") {
            return out;
        }
        if token.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E')) {
            let treatment = self.paths.nodes[self.value_node() as usize].treatment;
            let digits = token.iter().all(u8::is_ascii_digit) && token.len() >= 4;
            if let (Treatment::Fill(class @ (Class::Credential | Class::PrivateKey | Class::Environment), _), true) =
                (treatment, digits)
            {
                self.report.count(class);
                self.names.fill(&mut out[1..], &|_| false, false);
                out[1..].iter_mut().for_each(|b| *b = b'0' + *b % 10);
            }
            return out;
        }
        self.names.names(&mut out, false);
        out
    }

    /// A string without its quotes, a key or a value.
    fn string(&mut self, raw: &[u8]) -> Vec<u8> {
        if self.expect_key && self.stack.last().is_some_and(|f| !f.array) {
            let parent = self.stack.last().map_or(0, |f| f.node);
            let (text, _) = decoded(raw);
            let key = String::from_utf8_lossy(&text);
            self.pending = self.paths.child(parent, &key);
            if self.paths.keeps_key(parent, &key) {
                return raw.to_vec();
            }
            return self.replaced(raw, Treatment::Names);
        }
        let treatment = self.paths.nodes[self.value_node() as usize].treatment;
        self.replaced(raw, treatment)
    }

    /// A scalar at a path, given by the keys that lead to it.
    fn replaced(&mut self, raw: &[u8], treatment: Treatment) -> Vec<u8> {
        if stays(raw) {
            return raw.to_vec();
        }
        // 64-bit numbers are written as strings
        if !matches!(treatment, Treatment::Fill(..)) && raw.iter().all(u8::is_ascii_digit) {
            return raw.to_vec();
        }
        let (mut text, units) = decoded(raw);
        let keep = |i: usize| units.as_ref().is_some_and(|u| u.is_short(i));
        if !self.text(&mut text, treatment, &keep) {
            return raw.to_vec();
        }
        match units {
            None => text,
            Some(units) => units.encoded(&text),
        }
    }

    /// A scalar as it is meant, without escapes; `keep` says which bytes of filler stay. Whether it was replaced.
    fn text(&mut self, text: &mut [u8], treatment: Treatment, keep: &dyn Fn(usize) -> bool) -> bool {
        let shown = std::str::from_utf8(text).unwrap_or("");
        let treatment = match treatment {
            Treatment::Hash if text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit) => return false,
            Treatment::Hash => Treatment::Fill(Class::Configuration, false),
            other => other,
        };
        match treatment {
            Treatment::Keep => {
                if secrets::suspect(shown) {
                    self.report.suspect(Suspect::new(self.label, self.offset, text.len()));
                }
                return false;
            }
            Treatment::Fill(..) if is_operator(shown) => return false,
            // Envoy keeps a duration as a message: filler would weigh otherwise
            Treatment::Fill(Class::Configuration, _) if is_duration(text) => return false,
            Treatment::Fill(class, base64) => {
                self.report.count(class);
                let base64 = base64 || looks_base64(text);
                self.names.fill(text, keep, base64);
            }
            Treatment::Yaml => {
                let mut yaml = Yaml::new(Rewriter::new(self.names, self.report, self.label, Dialect::Other));
                for line in text.split_mut(|b| *b == b'\n') {
                    let mut out = Vec::with_capacity(line.len());
                    // writing to memory cannot fail
                    let _ = yaml.line(line, &mut out);
                    if out.len() == line.len() {
                        line.copy_from_slice(&out);
                    }
                }
            }
            Treatment::Word if is_word(shown) => return false,
            Treatment::Hex if text.len() == 4 && text.starts_with(b"0x") => self.names.hex(&mut text[2..]),
            Treatment::Names if api::is_enum_word(shown) || is_extension(shown) => return false,
            Treatment::Names | Treatment::Regex | Treatment::Word | Treatment::Hex | Treatment::Hash => {
                if secrets::suspect(shown) {
                    self.report.inside += 1;
                    scrub(self.names, text);
                } else {
                    self.names.names(text, treatment == Treatment::Regex);
                }
            }
        }
        true
    }

    /// JSON within a text.
    pub(super) fn inside(&mut self, text: &[u8]) -> Vec<u8> {
        self.stack.clear();
        self.expect_key = false;
        let mut out = Vec::with_capacity(text.len());
        // writing to memory cannot fail
        let _ = self.feed(text, true, &mut out);
        out
    }

    /// Text without a form, but for what is nobody's: `keep` gives those places in their order.
    pub(super) fn prose(&mut self, text: &mut [u8], keep: &[Range<usize>]) {
        let mut from = 0;
        let end = text.len()..text.len();
        for place in keep.iter().chain(std::iter::once(&end)) {
            let part = &mut text[from..place.start.max(from)];
            if secrets::suspect(&String::from_utf8_lossy(part)) {
                self.report.inside += 1;
                scrub(self.names, part);
            } else {
                self.names.names(part, false);
            }
            from = from.max(place.end);
        }
    }

    /// Where `key` leads below `parent`; the root is 0.
    pub(super) fn child(&mut self, parent: u32, key: &str) -> u32 {
        self.paths.child(parent, key)
    }

    /// Text outside JSON, as what stands at `node`.
    pub(super) fn value(&mut self, text: &mut [u8], node: u32) {
        if !stays(text) {
            let treatment = self.paths.nodes[node as usize].treatment;
            if matches!(treatment, Treatment::Fill(..)) || !text.iter().all(u8::is_ascii_digit) {
                self.text(text, treatment, &|_| false);
            }
        }
    }

    /// A key outside JSON, below `parent`.
    pub(super) fn key(&mut self, text: &mut [u8], parent: u32) {
        if !self.paths.keeps_key(parent, &String::from_utf8_lossy(text)) {
            self.text(text, Treatment::Names, &|_| false);
        }
    }
}

/// What Envoy itself writes in place of a secret, and what says nothing.
fn stays(text: &[u8]) -> bool {
    text.is_empty() || matches!(text, b"[redacted]" | b"W3JlZGFjdGVkXQ==" | b"true" | b"false")
}

/// A YAML document, line by line: keys by their indentation, values by the same rules as in JSON.
pub(super) struct Yaml<'a> {
    inner: Rewriter<'a>,
    keys: Vec<(usize, u32)>,
    /// Indentation of the key whose block of text is being read.
    block: Option<usize>,
}

impl<'a> Yaml<'a> {
    pub(super) fn new(inner: Rewriter<'a>) -> Self {
        Self { inner, keys: Vec::new(), block: None }
    }

    /// Rewrites one line, without its end.
    pub(super) fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut indent = line.iter().take_while(|b| **b == b' ').count();
        let start = indent;
        let node = |keys: &[(usize, u32)]| keys.last().map_or(0, |k| k.1);
        if let Some(of) = self.block {
            if indent > of || line.len() == indent {
                return self.value(line, indent, node(&self.keys), out);
            }
            self.block = None;
        }
        if line.starts_with(b"---") {
            self.keys.clear();
        }
        let mut at = start;
        while line[at..].starts_with(b"- ") {
            at += 2;
            indent += 2;
        }
        let rest = &line[at..];
        let quoted = matches!(rest.first(), Some(b'"' | b'\''));
        let end = if quoted {
            rest[1..].iter().position(|b| *b == rest[0]).map(|n| n + 2)
        } else {
            rest.iter().position(|b| *b == b':' || *b == b'#' || *b == b'{' || *b == b'[' || *b == b'"')
        };
        let key_end = end
            .filter(|e| *e > 0 && rest.get(*e) == Some(&b':') && matches!(rest.get(e + 1), None | Some(b' ' | b'\r')));
        let Some(end) = key_end else {
            // list items and continued scalars belong to the key above
            return self.value(line, at, node(&self.keys), out);
        };
        while self.keys.last().is_some_and(|k| k.0 >= indent) {
            self.keys.pop();
        }
        let parent = node(&self.keys);
        let bare = if quoted { &rest[1..end - 1] } else { &rest[..end] };
        let key = String::from_utf8_lossy(bare).into_owned();
        let child = self.inner.paths.child(parent, &key);
        self.keys.push((indent, child));
        out.write_all(&line[..at])?;
        let mut name = rest[..end].to_vec();
        if !self.inner.paths.keeps_key(parent, &key) {
            self.inner.names.names(&mut name, false);
        }
        out.write_all(&name)?;
        let value = end + 1 + rest[end + 1..].iter().take_while(|b| **b == b' ').count();
        out.write_all(&rest[end..value])?;
        if matches!(rest.get(value), Some(b'|' | b'>')) {
            // a block of YAML is read on as such
            let yaml = self.inner.paths.nodes[child as usize].treatment == Treatment::Yaml;
            self.block = (!yaml).then_some(indent);
            return out.write_all(&rest[value..]);
        }
        self.value(&rest[value..], 0, child, out)
    }

    fn value(&mut self, text: &[u8], from: usize, node: u32, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&text[..from])?;
        let text = &text[from..];
        if matches!(text.first(), Some(b'{' | b'[')) {
            self.inner.stack = vec![Frame { array: true, node }];
            self.inner.expect_key = false;
            self.inner.feed(text, true, out)?;
            return Ok(());
        }
        let quote = text.first().filter(|q| matches!(q, b'"' | b'\'') && text.len() > 1 && text.last() == Some(q));
        let treatment = self.inner.paths.nodes[node as usize].treatment;
        let inner = if quote.is_some() { &text[1..text.len() - 1] } else { text };
        let number = inner.iter().all(|b| b.is_ascii_digit() || *b == b'.') || matches!(inner, b"null" | b"~");
        let done = if number && !matches!(treatment, Treatment::Fill(Class::Credential | Class::Environment, _)) {
            inner.to_vec()
        } else {
            self.inner.replaced(inner, treatment)
        };
        match quote {
            None => out.write_all(&done),
            Some(q) => {
                out.write_all(&[*q])?;
                out.write_all(&done)?;
                out.write_all(&[*q])
            }
        }
    }
}

/// `%DOWNSTREAM_REMOTE_ADDRESS%`: says what to write, and holds nothing itself.
pub(in crate::evidence) fn is_operator(text: &str) -> bool {
    let inner = text.strip_prefix('%').and_then(|t| t.strip_suffix('%'));
    inner.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// `networking.istio.io/v1beta1`, `ClusterIP`, `hash_of_maps`: letters, few digits, at most three parts.
fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'_' | b'-');
    text.len() <= 64
        && text.bytes().all(plain)
        && text.bytes().filter(u8::is_ascii_digit).count() <= 4
        && !secrets::suspect(text)
}

fn looks_base64(text: &[u8]) -> bool {
    text.len() >= 8
        && text.len().is_multiple_of(4)
        && text.ends_with(b"=")
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}

/// Index of the closing quote.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let n = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[n] == b'"' {
            return Some(n);
        }
        at = n + 2;
    }
}

/// How the characters of a string were written.
struct Units {
    /// For each byte of the decoded text, where its character begins in the raw text; the form of it.
    forms: Vec<(usize, Form)>,
    raw: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// `\n`, `\"` and the like.
    Short,
    /// `\u00e9`: one unit, or two of a surrogate pair.
    Unicode,
}

/// The text of a JSON string; with its units when it holds escapes.
fn decoded(raw: &[u8]) -> (Vec<u8>, Option<Units>) {
    if !raw.contains(&b'\\') {
        return (raw.to_vec(), None);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut forms = Vec::with_capacity(raw.len());
    let mut at = 0;
    let hex = |at: usize| -> Option<u32> {
        let digits = raw.get(at..at + 6)?;
        if !digits.starts_with(b"\\u") {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    while at < raw.len() {
        let from = at;
        let mut put = |bytes: &[u8], form: Form| {
            text.extend_from_slice(bytes);
            forms.extend(std::iter::repeat_n((from, form), bytes.len()));
        };
        if raw[at] != b'\\' {
            put(&raw[at..=at], Form::Plain);
            at += 1;
            continue;
        }
        if let Some(first) = hex(at) {
            let pair = hex(at + 6).filter(|low| (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(low));
            let code = pair.map_or(first, |low| 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
            at += if pair.is_some() { 12 } else { 6 };
            match char::from_u32(code) {
                Some(c) if !c.is_control() => put(c.encode_utf8(&mut [0; 4]).as_bytes(), Form::Unicode),
                _ => put(b"\n", Form::Short),
            }
            continue;
        }
        let c = match raw.get(at + 1) {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'b' | b'f') => b'\n',
            Some(c) => *c,
            None => b'\\',
        };
        put(&[c], Form::Short);
        at = (at + 2).min(raw.len());
    }
    (text, Some(Units { forms, raw: raw.to_vec() }))
}

impl Units {
    fn is_short(&self, i: usize) -> bool {
        self.forms.get(i).is_some_and(|f| f.1 == Form::Short)
    }

    /// `text` written as the original was. It has the same length, and characters of the same lengths.
    fn encoded(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len());
        let mut i = 0;
        while i < text.len() {
            let (from, form) = self.forms[i];
            let len = self.forms[i..].iter().take_while(|f| f.0 == from).count();
            let next = self.forms.get(i + len).map_or(self.raw.len(), |f| f.0);
            match form {
                Form::Plain => out.extend_from_slice(&text[i..i + len]),
                Form::Short => out.extend_from_slice(&self.raw[from..next]),
                Form::Unicode => match std::str::from_utf8(&text[i..i + len]).ok().and_then(|t| t.chars().next()) {
                    Some(c) => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                        }
                    }
                    None => out.extend_from_slice(&self.raw[from..next]),
                },
            }
            i += len;
        }
        out
    }
}

/// Text with a secret somewhere inside: credentials and parameters of URLs, what follows `Bearer` or `password=`. The
/// rest are names.
pub(super) fn scrub(names: &mut Pseudonyms, text: &mut [u8]) {
    let token =
        |b: &u8| !(b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b',' | b';' | b'&' | b'<' | b'>' | b'@'));
    let mut done = vec![false; text.len()];
    let mut fill = |names: &mut Pseudonyms, text: &mut [u8], from: usize, to: usize| {
        if from < to && !done[from..to].contains(&true) {
            names.fill(&mut text[from..to], &|_| false, false);
            done[from..to].fill(true);
        }
    };
    if let Some(at) = find(text, b"-----BEGIN") {
        fill(names, text, at, text.len());
    }
    let mut at = 0;
    while let Some(n) = find(&text[at..], b"://") {
        let from = at + n + 3;
        let len = text[from..].iter().take_while(|b| token(b) && !matches!(b, b'/' | b'?' | b'#')).count();
        if text.get(from + len) == Some(&b'@') {
            fill(names, text, from, from + len);
        }
        at = from + len;
    }
    let mut i = 0;
    while i < text.len() {
        let word = |w: &[u8]| text[i..].len() > w.len() && text[i..i + w.len()].eq_ignore_ascii_case(w);
        let skip = [&b"bearer "[..], b"basic "].iter().find(|w| word(w)).map_or(0, |w| w.len());
        let skip = if text[i] == b'=' && i > 0 { 1 } else { skip };
        let jwt = (i == 0 || !text[i - 1].is_ascii_alphanumeric())
            && [&b"eyJ"[..], b"AKIA", b"ASIA"].iter().any(|w| text[i..].starts_with(w));
        if skip > 0 || jwt {
            let from = i + skip;
            let len = text[from..].iter().take_while(|b| token(b)).count();
            fill(names, text, from, from + len);
            i = from + len.max(1);
        } else {
            i += 1;
        }
    }
    // what is left between the filled parts
    let mut i = 0;
    while i < text.len() {
        let len = done[i..].iter().take_while(|d| **d == done[i]).count();
        if !done[i] {
            names.names(&mut text[i..i + len], false);
        }
        i += len;
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}
