//! The scales: a per-thread count of what the visitors of [`super::message`] read.
//!
//! Every leaf that is deserialized adds itself here, known or not, so that one pass gives both the typed fields and the
//! [`Weight`] of everything. Whitespace, key order inside no object, and the spelling of keys do not matter.

use std::cell::RefCell;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::envoy::{Name, Payload, PayloadKind};
use crate::model::weight::Weight;

/// Strings of at least this many bytes are remembered as [`Payload`]s.
const PAYLOAD_BYTES: usize = 512;

/// Clusters one message may name in passing.
const MAX_CLUSTER_REFS: usize = 64;

/// What was read since the last reset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Counts.
    pub(crate) weight: Weight,
    /// Order-sensitive hash over keys and values; equal for equal text in either spelling and any layout.
    pub(crate) hash: u64,
    /// Long strings.
    pub(crate) payloads: Vec<Payload>,
    /// Clusters named inside configurations that are not read in detail (`grpc_service`, `http_uri` …).
    pub(crate) cluster_refs: Vec<Name>,
    /// Values whose type was not the expected one.
    pub(crate) mismatches: u32,
    /// Keys that a message knows and that stood in it before.
    pub(crate) repeats: u32,
    last_key: KeyClass,
    parent_key: KeyClass,
    /// Sum of the hashes of all string values: equal for maps whose entries come in another order.
    pub(crate) bag: u64,
    depth: u32,
    /// Depth of the object whose `filter_metadata` is being read.
    in_struct: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum KeyClass {
    #[default]
    Other,
    TrustedCa,
    CertificateChain,
    PrivateKey,
    LuaSource,
    Local,
    InlineBytes,
    InlineString,
    FilterMetadata,
    Regex,
    ClusterName,
}

thread_local! {
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally::new()) };
}

impl Tally {
    fn add_cluster(&mut self, name: &Name) {
        if !self.cluster_refs.contains(name) && self.cluster_refs.len() < MAX_CLUSTER_REFS {
            self.cluster_refs.push(name.clone());
        }
    }

    const fn new() -> Self {
        Self {
            weight: Weight {
                messages: 0,
                durations: 0,
                lists: 0,
                list_items: 0,
                fields: 0,
                strings: 0,
                string_bytes: 0,
                long_strings: 0,
                scalars: 0,
                struct_values: 0,
                regexes: 0,
                regex_steps: 0,
            },
            hash: 0,
            payloads: Vec::new(),
            cluster_refs: Vec::new(),
            mismatches: 0,
            repeats: 0,
            last_key: KeyClass::Other,
            parent_key: KeyClass::Other,
            bag: 0,
            depth: 0,
            in_struct: None,
        }
    }
}

impl Tally {
    fn struct_value(&mut self) {
        self.weight.struct_values += u32::from(self.in_struct.is_some());
    }
}

fn mix(h: u64, v: u64) -> u64 {
    const_mix(h, v)
}

/// Hash of short or long text.
pub(crate) fn text_hash(text: &[u8]) -> u64 {
    xxh3_64(text)
}

fn with<R>(f: impl FnOnce(&mut Tally) -> R) -> R {
    TALLY.with(|t| f(&mut t.borrow_mut()))
}

/// Runs `f` on empty scales and gives its result with what it read; the outer scales get the sum.
pub(crate) fn scoped<R>(f: impl FnOnce() -> R) -> (R, Tally) {
    let outer = with(std::mem::take);
    let result = f();
    let inner = with(std::mem::take);
    with(|t| {
        *t = outer;
        t.weight = t.weight + inner.weight;
        t.hash = mix(t.hash, inner.hash);
        t.mismatches += inner.mismatches;
        t.bag = t.bag.wrapping_add(inner.bag);
        t.payloads.extend_from_slice(&inner.payloads);
        for name in &inner.cluster_refs {
            t.add_cluster(name);
        }
    });
    (result, inner)
}

/// Runs `f` and forgets its mismatches: for fields whose meaning depends on a type that is not known yet.
pub(crate) fn forgiving<R>(f: impl FnOnce() -> R) -> R {
    let before = with(|t| t.mismatches);
    let result = f();
    with(|t| t.mismatches = before);
    result
}

/// An object begins.
pub(crate) fn object() {
    with(|t| {
        t.weight.messages += 1;
        t.depth += 1;
        t.struct_value();
        t.hash = mix(t.hash, 0x7b);
    });
}

/// An array begins.
pub(crate) fn list() {
    with(|t| {
        t.weight.lists += 1;
        t.depth += 1;
        t.struct_value();
        t.hash = mix(t.hash, 0x5b);
    });
}

/// An object or array ends.
pub(crate) fn end() {
    with(|t| {
        t.depth = t.depth.saturating_sub(1);
        if t.in_struct == Some(t.depth) {
            t.in_struct = None;
        }
        t.hash = mix(t.hash, 0x7d);
    });
}

/// A scalar element of an array.
pub(crate) fn list_item() {
    with(|t| t.weight.list_items += 1);
}

/// About how many steps a compiled pattern has: one per character, and for a class one more than it has ranges (`a-z`
/// takes three characters).
fn regex_steps(pattern: &str) -> u32 {
    let (mut steps, mut class) = (0, None);
    for c in pattern.bytes() {
        class = match (c, class) {
            (b'[', None) => Some(0),
            (b']', Some(len)) => {
                steps += 1 + u32::div_ceil(len, 3);
                None
            }
            (_, Some(len)) => Some(len + 1),
            (_, None) => {
                steps += 1;
                None
            }
        };
    }
    steps
}

/// A key known at compile time: its hash in either spelling and its class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownKey {
    hash: u64,
    class: KeyClass,
    is_type: bool,
}

const fn const_mix(h: u64, v: u64) -> u64 {
    (h ^ v).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// Folds `snake_case` and `lowerCamelCase` together: no underscores, lower case, eight bytes at a time.
pub(crate) const fn key_hash(key: &[u8]) -> u64 {
    let (mut h, mut word, mut n, mut i) = (0_u64, 0_u64, 0_u32, 0);
    while i < key.len() {
        let b = key[i];
        i += 1;
        if b != b'_' {
            word = word << 8 | (b | 0x20) as u64;
            n += 1;
            if n & 7 == 0 {
                h = const_mix(h, word);
                word = 0;
            }
        }
    }
    const_mix(const_mix(h, word), n as u64)
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// What [`known_key`] needs of a key; pass the `snake_case` spelling.
pub(crate) const fn key_info(key: &str) -> KnownKey {
    let k = key.as_bytes();
    let class = if equal(k, b"trusted_ca") {
        KeyClass::TrustedCa
    } else if equal(k, b"certificate_chain") {
        KeyClass::CertificateChain
    } else if equal(k, b"private_key") {
        KeyClass::PrivateKey
    } else if equal(k, b"local") {
        KeyClass::Local
    } else if equal(k, b"inline_bytes") {
        KeyClass::InlineBytes
    } else if equal(k, b"inline_string") {
        KeyClass::InlineString
    } else if equal(k, b"filter_metadata") {
        KeyClass::FilterMetadata
    } else if equal(k, b"regex") {
        KeyClass::Regex
    } else {
        KeyClass::Other
    };
    KnownKey { hash: key_hash(k), class, is_type: equal(k, b"@type") }
}

/// A key that the message knows.
pub(crate) fn known_key(key: KnownKey) {
    with(|t| {
        t.weight.fields += 1;
        t.weight.regexes += u32::from(key.class == KeyClass::Regex);
        if key.class == KeyClass::FilterMetadata && t.in_struct.is_none() {
            t.in_struct = Some(t.depth);
        }
        // an inline message and the same one packed in an `Any` hash alike
        if !key.is_type {
            t.hash = mix(t.hash, key.hash);
        }
        t.parent_key = t.last_key;
        t.last_key = key.class;
    });
}

/// Any other key, in either spelling.
pub(crate) fn key(key: &str) {
    let class = match key {
        "trusted_ca" | "trustedCa" => KeyClass::TrustedCa,
        "certificate_chain" | "certificateChain" => KeyClass::CertificateChain,
        "private_key" | "privateKey" => KeyClass::PrivateKey,
        "inline_code" | "inlineCode" | "default_source_code" | "defaultSourceCode" => KeyClass::LuaSource,
        "local" => KeyClass::Local,
        "inline_bytes" | "inlineBytes" => KeyClass::InlineBytes,
        "inline_string" | "inlineString" => KeyClass::InlineString,
        "filter_metadata" | "filterMetadata" => KeyClass::FilterMetadata,
        "regex" => KeyClass::Regex,
        "cluster_name" | "clusterName" | "cluster" | "collector_cluster" | "collectorCluster" => KeyClass::ClusterName,
        _ => KeyClass::Other,
    };
    known_key(KnownKey { hash: key_hash(key.as_bytes()), class, is_type: key == "@type" });
}

/// Text such as `15s` or `0.250s`.
pub(in crate::evidence) fn is_duration(text: &[u8]) -> bool {
    matches!(text, [b'0'..=b'9', rest @ .., b's'] if rest.len() < 20 && rest.iter().all(|b| b.is_ascii_digit() || *b == b'.'))
}

/// A string value. Gives its hash.
pub(crate) fn string(text: &str) -> u64 {
    let hash = text_hash(text.as_bytes());
    with(|t| {
        t.struct_value();
        t.bag = t.bag.wrapping_add(hash);
        // a dump hides private keys behind a short word: a recorded stream, which has them, must weigh the same
        let len = match (t.last_key, t.parent_key) {
            (KeyClass::InlineString, KeyClass::PrivateKey) => "[redacted]".len(),
            (KeyClass::InlineBytes, KeyClass::PrivateKey) => "W3JlZGFjdGVkXQ==".len(),
            _ => text.len(),
        };
        let in_struct = t.in_struct.is_some();
        let w = &mut t.weight;
        w.durations += u32::from(!in_struct && is_duration(text.as_bytes()));
        w.strings += 1;
        w.string_bytes += len as u32;
        if len > 22 {
            w.long_strings += 1;
        }
        if t.last_key == KeyClass::Regex {
            w.regex_steps += regex_steps(text);
        }
        t.hash = mix(t.hash, hash);
        if t.last_key == KeyClass::ClusterName && !text.is_empty() {
            t.add_cluster(&super::names::common(text, hash));
        }
        if text.len() >= PAYLOAD_BYTES {
            let kind = match (t.last_key, t.parent_key) {
                (KeyClass::LuaSource, _) | (KeyClass::InlineBytes | KeyClass::InlineString, KeyClass::LuaSource) => {
                    PayloadKind::Lua
                }
                (KeyClass::InlineBytes | KeyClass::InlineString, KeyClass::TrustedCa) => PayloadKind::CaBundle,
                (KeyClass::InlineBytes | KeyClass::InlineString, KeyClass::CertificateChain) => {
                    PayloadKind::CertificateChain
                }
                (KeyClass::InlineBytes | KeyClass::InlineString, KeyClass::Local) => PayloadKind::Wasm,
                (_, KeyClass::PrivateKey) => return hash,
                _ => PayloadKind::Other,
            };
            let base64 = t.last_key == KeyClass::InlineBytes;
            t.payloads.push(Payload { kind, hash, len_bytes: u32::try_from(text.len()).unwrap_or(u32::MAX), base64 });
        }
        hash
    })
}

/// A string that says what a message is, not what is in it: weighed, not hashed.
pub(crate) fn type_string(text: &str) {
    with(|t| {
        let w = &mut t.weight;
        w.strings += 1;
        w.string_bytes += text.len() as u32;
        if text.len() > 22 {
            w.long_strings += 1;
        }
    });
}

/// A number or boolean, by its bits.
pub(crate) fn scalar(bits: u64) {
    with(|t| {
        t.weight.scalars += 1;
        t.struct_value();
        t.hash = mix(t.hash, bits);
    });
}

/// Where a strict reading stops, and the way to there, from the inside out.
#[derive(Debug, Default)]
struct Strict {
    let_pass: u32,
    path: String,
}

thread_local! {
    static STRICT: RefCell<Option<Strict>> = const { RefCell::new(None) };
}

fn stops() -> bool {
    STRICT.with(|s| {
        s.borrow_mut().as_mut().is_some_and(|s| {
            let stop = s.let_pass == 0;
            s.let_pass = s.let_pass.saturating_sub(1);
            stop
        })
    })
}

/// A value that did not have the expected type. Whether the reading is strict and this is the one to stop at.
pub(crate) fn mismatch() -> bool {
    with(|t| t.mismatches += 1);
    stops()
}

/// A known key that stood before in the same object. Whether the reading is to stop at it.
pub(crate) fn repeated() -> bool {
    with(|t| t.repeats += 1);
    stops()
}

/// Runs `f`, which reads, so that it fails at the mismatch or repeated key after the first `let_pass` ones, and gives the
/// path of the field it failed in (`spec.ports[0].port`).
pub(crate) fn strictly<R>(let_pass: u32, f: impl FnOnce() -> R) -> (R, String) {
    STRICT.with(|s| *s.borrow_mut() = Some(Strict { let_pass, path: String::new() }));
    let (result, _) = scoped(f);
    (result, STRICT.with(RefCell::take).unwrap_or_default().path)
}

fn step(text: &str) {
    STRICT.with(|s| {
        if let Some(s) = s.borrow_mut().as_mut() {
            let dot = if s.path.is_empty() || s.path.starts_with('[') { "" } else { "." };
            s.path = format!("{text}{dot}{}", s.path);
        }
    });
}

/// An error passes the value of `key` on its way out.
pub(crate) fn passing(key: &str) {
    step(key);
}

/// An error passes an element of a list on its way out.
pub(crate) fn passing_item(index: usize) {
    step(&format!("[{index}]"));
}
