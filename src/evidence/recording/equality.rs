//! What Envoy takes for equal, as hashes over a resource's JSON.
//!
//! Envoy compares messages, not text (`MessageUtil::hash`, `Protobuf::util::MessageDifferencer`; ≥ 1.12): fields and
//! map entries have no order, lists have one, the default of a plain scalar is the same as its absence, wrappers and
//! messages are there or not, what an `Any` holds is compared as the message it is. With the descriptors of Envoy's API
//! the text of a resource gives the same, whoever wrote it: either spelling of keys, `@type` anywhere, numbers as
//! strings, enums by name or number, `"1s"` or `"1.000s"`. What the descriptors do not know is compared as it stands,
//! keys folded together over both spellings.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use foldhash::fast::FixedState;
use xxhash_rust::xxh3::xxh3_64;

use crate::evidence::config_dump::bare_type;
use crate::evidence::json::names;
use crate::evidence::json::outline::Outline;
use crate::evidence::json::skip::{skip_space, value_end};
use crate::evidence::json::tally::key_hash;
use crate::evidence::protobuf::{Scalar, Schema, Shape, Type};
use crate::model::envoy::Name;
use crate::model::stream::{ListenerIdentity, XdsType};

/// Deeper values are compared by their text: hostile nesting costs no stack.
const MAX_NESTING: u32 = 200;
/// Fields of an outline.
const MAX_PATHS: usize = 64;

/// The hashes of one resource.
#[derive(Debug, Default)]
pub(super) struct Equality {
    /// See `Body::hash`.
    pub(super) hash: u64,
    /// See `Body::set_hash`.
    pub(super) set_hash: u64,
    /// See `Body::listener`.
    pub(super) listener: Option<ListenerIdentity>,
    /// See `Body::outline`.
    pub(super) outline: Vec<(Name, u64, u64)>,
}

/// Hashes the resource of type `kind` and full type `type_name` whose JSON object is `text`.
pub(super) fn of(text: &str, kind: XdsType, type_name: &str) -> Equality {
    let schema = Schema::get();
    let ty = match schema.by_name(v3_name(kind).unwrap_or(type_name)) {
        Type::Message(m) => Type::Message(m),
        _ => Type::Unknown,
    };
    let max_depth = match kind {
        XdsType::Listener | XdsType::RouteConfig => 5,
        XdsType::Endpoints => 2,
        _ => 3,
    };
    let mut walk = Walk {
        bytes: text.as_bytes(),
        at: 0,
        nesting: 0,
        schema,
        paths: Vec::new(),
        max_depth,
        listener: (kind == XdsType::Listener).then(ListenerIdentity::default),
        chains: None,
    };
    walk.at += skip_space(walk.bytes);
    let seen = walk.object(ty, Some(ROOT), true).unwrap_or_else(|| Seen::text(xxh3_64(text.as_bytes())));
    let mut listener = walk.listener.take();
    if let Some(l) = &mut listener {
        l.use_proxy_proto = use_proxy_proto(text.as_bytes());
    }
    let outline = walk.paths.into_iter().map(|p| (p.name, p.ordered, p.set)).collect();
    Equality { hash: seen.ordered, set_hash: seen.set, listener, outline }
}

/// The v3 message of a type; v2 resources are read by it too, since their fields are the same.
fn v3_name(kind: XdsType) -> Option<&'static str> {
    Some(match kind {
        XdsType::Listener => "envoy.config.listener.v3.Listener",
        XdsType::RouteConfig => "envoy.config.route.v3.RouteConfiguration",
        XdsType::ScopedRoutes => "envoy.config.route.v3.ScopedRouteConfiguration",
        XdsType::VirtualHost => "envoy.config.route.v3.VirtualHost",
        XdsType::Cluster => "envoy.config.cluster.v3.Cluster",
        XdsType::Endpoints => "envoy.config.endpoint.v3.ClusterLoadAssignment",
        XdsType::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
        XdsType::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        XdsType::Other => return None,
    })
}

/// `use_proxy_proto` of the first chain, else of the default chain.
fn use_proxy_proto(text: &[u8]) -> bool {
    if memchr::memmem::find(text, b"roxy_proto").is_none() && memchr::memmem::find(text, b"roxyProto").is_none() {
        return false;
    }
    let flag = |chain: &[u8]| {
        let mut fields = Outline::new(chain).into_iter().flatten();
        fields.any(|f| matches!(f.key, b"use_proxy_proto" | b"useProxyProto") && f.value == b"true")
    };
    let (mut first, mut default) = (None, None);
    for f in Outline::new(text).into_iter().flatten() {
        match f.key {
            b"filter_chains" | b"filterChains" => {
                first = Outline::new(f.value).and_then(|mut l| l.next()).map(|chain| flag(chain.value));
            }
            b"default_filter_chain" | b"defaultFilterChain" => default = Some(flag(f.value)),
            _ => {}
        }
    }
    first.or(default).unwrap_or(false)
}

/// What a value hashes to.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Lists in order.
    ordered: u64,
    /// Lists as sets.
    set: u64,
    /// Lists as sets, and whatever equals its default as absent: `MessageDifferencer`'s `EQUIVALENT` with `AS_SET`.
    loose: u64,
    /// It is what an absent one would be.
    default: bool,
}

impl Seen {
    fn text(hash: u64) -> Self {
        Self { ordered: hash, set: hash, loose: hash, default: false }
    }

    fn scalar(bits: u64, default: bool) -> Self {
        Self { default, ..Self::text(pair(bits, 0x51)) }
    }
}

/// Mixes two words, order-sensitive.
fn pair(a: u64, b: u64) -> u64 {
    let p = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xD1B5_4A32_D192_ED03);
    let x = (p as u64) ^ ((p >> 64) as u64);
    (x ^ a.rotate_left(32)).wrapping_mul(0xFF51_AFD7_ED55_8CCD) ^ b
}

/// One field path of the outline.
struct Path {
    name: Name,
    parent: u16,
    key: u64,
    depth: u8,
    list: bool,
    id: u64,
    ordered: u64,
    set: u64,
}

/// The path of the resource itself.
const ROOT: u16 = u16::MAX;

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    nesting: u32,
    schema: &'static Schema,
    paths: Vec<Path>,
    max_depth: u8,
    listener: Option<ListenerIdentity>,
    /// Collects the hashes of the elements of the next list.
    chains: Option<Vec<u64>>,
}

const FILTER_CHAINS: u64 = key_hash(b"filter_chains");
const DEFAULT_CHAIN: u64 = key_hash(b"default_filter_chain");
const MATCHER: u64 = key_hash(b"filter_chain_matcher");
const FCDS: u64 = key_hash(b"fcds_config");
const ENABLE_REUSE_PORT: u64 = key_hash(b"enable_reuse_port");
const REUSE_PORT: u64 = key_hash(b"reuse_port");

impl<'a> Walk<'a> {
    fn peek(&mut self) -> Option<u8> {
        self.at += skip_space(&self.bytes[self.at..]);
        self.bytes.get(self.at).copied()
    }

    /// The string at the cursor, unescaped.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let rest = &self.bytes[self.at..];
        let len = value_end(rest)?;
        self.at += len;
        let inside = rest.get(1..len - 1)?;
        let raw = std::str::from_utf8(inside).ok()?;
        if memchr::memchr(b'\\', inside).is_none() {
            return Some(Cow::Borrowed(raw));
        }
        let text = std::str::from_utf8(&rest[..len]).ok()?;
        serde_json::from_str::<String>(text).ok().map(Cow::Owned)
    }

    /// The key of the next member of an object, with the cursor at its value; `None` within at the end of the object.
    fn member(&mut self) -> Option<Option<Cow<'a, str>>> {
        while self.peek()? == b',' {
            self.at += 1;
        }
        match self.peek()? {
            b'}' => {
                self.at += 1;
                return Some(None);
            }
            b'"' => {}
            _ => return None,
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        self.peek()?;
        Some(Some(key))
    }

    /// The scalar at the cursor as text, and whether it was a string.
    fn scalar_text(&mut self) -> Option<(Cow<'a, str>, bool)> {
        if self.peek()? == b'"' {
            return Some((self.string()?, true));
        }
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
            .unwrap_or(rest.len());
        if len == 0 {
            // a brace or a comma where a value should be: a walk that stays in place would not end
            return None;
        }
        self.at += len;
        Some((Cow::Borrowed(std::str::from_utf8(&rest[..len]).ok()?), false))
    }

    /// The value at the cursor by its bytes alone.
    fn raw(&mut self) -> Option<Seen> {
        let rest = &self.bytes[self.at..];
        let len = value_end(rest).filter(|len| *len > 0)?;
        self.at += len;
        Some(Seen::text(xxh3_64(&rest[..len])))
    }

    /// The path of a field, made when it is new.
    fn child(&mut self, parent: Option<u16>, key: u64, name: &str) -> Option<u16> {
        let parent = parent?;
        let (depth, list, id) = match self.paths.get(usize::from(parent)) {
            Some(p) => (p.depth + 1, p.list, p.id),
            None => (1, false, 0),
        };
        if depth > self.max_depth {
            return None;
        }
        if let Some(i) = self.paths.iter().position(|p| p.parent == parent && p.key == key) {
            return Some(i as u16);
        }
        if self.paths.len() >= MAX_PATHS {
            return None;
        }
        let id = pair(pair(id, key), u64::from(list));
        let above = self.paths.get(usize::from(parent)).map(|p| p.name.clone());
        let name = path_name(id, above.as_deref(), list, name);
        self.paths.push(Path { name, parent, key, depth, list: false, id, ordered: 0, set: 0 });
        Some((self.paths.len() - 1) as u16)
    }

    fn note(&mut self, path: Option<u16>, seen: Seen) {
        if let Some(p) = path.and_then(|p| self.paths.get_mut(usize::from(p))) {
            p.ordered = pair(p.ordered, seen.ordered);
            p.set = p.set.wrapping_add(pair(0x5e7, seen.set));
        }
    }

    /// An object that is the message `ty`, or of unknown type. `root` is the resource itself.
    fn object(&mut self, ty: Type, path: Option<u16>, root: bool) -> Option<Seen> {
        if self.bytes.get(self.at) != Some(&b'{') {
            return None;
        }
        self.at += 1;
        let message = match ty {
            Type::Message(m) => Some(self.schema.message(m)),
            _ => None,
        };
        let (mut ordered, mut set, mut loose, mut rest) = (0_u64, 0_u64, 0_u64, 0_u64);
        while let Some(name) = self.member()? {
            if name == "@type" {
                self.scalar_text()?;
                continue;
            }
            if self.bytes[self.at..].starts_with(b"null") {
                self.at += 4;
                continue;
            }
            let key = key_hash(name.as_bytes());
            let field = message.and_then(|m| m.by_key(key));
            let child = self.child(path, key, field.map_or(&name, |f| &f.name));
            let identity = root && self.listener.is_some();
            if identity {
                self.before_listener_field(key);
            }
            let seen = match field {
                Some(f) => match f.shape {
                    Shape::Plain | Shape::Presence => self.value(f.ty, child)?,
                    Shape::Repeated => self.list(f.ty, child)?,
                    Shape::Map(_) => self.map(f.ty)?,
                },
                None => self.value(Type::Unknown, child)?,
            };
            let absent = seen.default && field.is_some_and(|f| f.shape != Shape::Presence);
            if identity && !absent {
                let apart = self.after_listener_field(key, seen);
                if !apart && !seen.default {
                    rest = rest.wrapping_add(pair(key, seen.loose));
                }
            }
            if absent {
                continue;
            }
            self.note(child, seen);
            ordered = ordered.wrapping_add(pair(key, seen.ordered));
            set = set.wrapping_add(pair(key, seen.set));
            if !seen.default {
                loose = loose.wrapping_add(pair(key, seen.loose));
            }
        }
        if let (true, Some(l)) = (root, &mut self.listener) {
            l.rest_hash = rest;
        }
        Some(Seen { ordered: pair(ordered, 0x7b), set: pair(set, 0x7b), loose, default: loose == 0 })
    }

    fn before_listener_field(&mut self, key: u64) {
        let value = &self.bytes[self.at..];
        let Some(l) = &mut self.listener else { return };
        match key {
            FILTER_CHAINS => self.chains = Some(Vec::new()),
            FCDS => l.filter_chain_discovery = true,
            ENABLE_REUSE_PORT | REUSE_PORT => l.reuse_port = Some(value.starts_with(b"true")),
            _ => {}
        }
    }

    /// Whether the field is compared apart from the rest.
    fn after_listener_field(&mut self, key: u64, seen: Seen) -> bool {
        let chains = self.chains.take();
        let Some(l) = &mut self.listener else { return false };
        match key {
            FILTER_CHAINS => l.chain_hashes = chains.unwrap_or_default(),
            DEFAULT_CHAIN => l.default_chain_hash = pair(key, seen.loose),
            MATCHER => l.matcher_hash = pair(key, seen.loose),
            _ => return false,
        }
        true
    }

    fn value(&mut self, ty: Type, path: Option<u16>) -> Option<Seen> {
        self.nesting += 1;
        let seen = if self.nesting > MAX_NESTING { self.raw() } else { self.value_inside(ty, path) };
        self.nesting -= 1;
        seen
    }

    fn value_inside(&mut self, ty: Type, path: Option<u16>) -> Option<Seen> {
        let first = self.peek()?;
        match (ty, first) {
            (Type::Message(_), b'{') => self.object(ty, path, false),
            (Type::Any | Type::Unknown, b'{') => self.any(path),
            (Type::Struct, b'{') => self.map(Type::StructValue).map(|s| Seen { default: false, ..s }),
            (Type::StructList, b'[') => self.list(Type::StructValue, None).map(|s| Seen { default: false, ..s }),
            (Type::StructValue, _) => self.struct_value(first),
            (Type::Wrapper(scalar), b'{') => {
                let inner = self.inner(&[b"value"])?;
                Some(inner.first().copied().flatten().map_or(Seen::scalar(0, true), |(text, string)| {
                    let text = if string { unquote(text) } else { text };
                    scalar_value(scalar, &String::from_utf8_lossy(text), string)
                }))
            }
            (Type::Duration | Type::Timestamp, b'{') => {
                let parts = self.inner(&[b"seconds", b"nanos"])?;
                let number = |i: usize| -> i64 {
                    let text = parts.get(i).copied().flatten().map_or(&b"0"[..], |(t, _)| unquote(t));
                    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
                };
                Some(time_value(number(0), number(1)))
            }
            (_, b'{') => self.any(path),
            (_, b'[') => self.list(ty, path),
            _ => {
                let (text, string) = self.scalar_text()?;
                Some(self.scalar(ty, &text, string))
            }
        }
    }

    fn scalar(&self, ty: Type, text: &str, string: bool) -> Seen {
        match ty {
            Type::Scalar(s) | Type::Wrapper(s) => scalar_value(s, text, string),
            Type::Enum(e) => {
                let values = &self.schema.enumeration(e).values;
                let number = text.parse::<i32>().ok();
                let number = number.or_else(|| values.iter().find(|(n, _)| &**n == text).map(|(_, v)| *v));
                match number {
                    Some(n) => Seen::scalar(n as u64, n == 0),
                    None => Seen::text(xxh3_64(text.as_bytes())),
                }
            }
            Type::Duration => match duration(text) {
                Some((s, n)) => time_value(s, n),
                None => Seen::text(xxh3_64(text.as_bytes())),
            },
            Type::Timestamp => match text.parse::<jiff::Timestamp>() {
                Ok(t) => time_value(t.as_second(), i64::from(t.subsec_nanosecond())),
                Err(_) => Seen::text(xxh3_64(text.as_bytes())),
            },
            // what is not known may be a number written as a string
            _ => Seen::text(pair(xxh3_64(text.as_bytes()), 0x51)),
        }
    }

    fn struct_value(&mut self, first: u8) -> Option<Seen> {
        match first {
            b'{' => self.map(Type::StructValue).map(|s| Seen { default: false, ..s }),
            b'[' => self.list(Type::StructValue, None).map(|s| Seen { default: false, ..s }),
            _ => {
                let (text, string) = self.scalar_text()?;
                Some(match (string, text.parse::<f64>()) {
                    (false, Ok(number)) => Seen::text(pair(number.to_bits(), 2)),
                    _ => Seen::text(pair(xxh3_64(text.as_bytes()), if string { 3 } else { 4 })),
                })
            }
        }
    }

    fn list(&mut self, ty: Type, path: Option<u16>) -> Option<Seen> {
        if self.peek()? != b'[' {
            // one element, as some writers do
            return self.value(ty, path);
        }
        self.at += 1;
        if let Some(p) = path.and_then(|p| self.paths.get_mut(usize::from(p))) {
            p.list = true;
        }
        let mut collected = self.chains.take();
        let (mut ordered, mut set, mut loose, mut n) = (0x5b_u64, 0_u64, 0_u64, 0_u64);
        loop {
            match self.peek()? {
                b']' => break,
                b',' => self.at += 1,
                _ => {
                    let seen = self.value(ty, path)?;
                    n += 1;
                    ordered = pair(ordered, seen.ordered);
                    set = set.wrapping_add(pair(0x5e7, seen.set));
                    loose = loose.wrapping_add(pair(0x5e7, seen.loose));
                    if let Some(c) = &mut collected {
                        c.push(seen.ordered);
                    }
                }
            }
        }
        self.at += 1;
        self.chains = collected;
        Some(Seen { ordered, set: pair(set, n), loose: pair(loose, n), default: n == 0 })
    }

    /// A map: keys as they are, in any order.
    fn map(&mut self, ty: Type) -> Option<Seen> {
        if self.peek()? != b'{' {
            return self.value(Type::Unknown, None);
        }
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            self.nesting -= 1;
            return self.raw();
        }
        self.at += 1;
        let (mut ordered, mut set, mut loose, mut n) = (0_u64, 0_u64, 0_u64, 0_u64);
        while let Some(key) = self.member()? {
            let key = xxh3_64(key.as_bytes());
            let seen = self.value(ty, None)?;
            n += 1;
            ordered = ordered.wrapping_add(pair(key, seen.ordered));
            set = set.wrapping_add(pair(key, seen.set));
            loose = loose.wrapping_add(pair(key, seen.loose));
        }
        self.nesting -= 1;
        Some(Seen { ordered: pair(ordered, n), set: pair(set, n), loose: pair(loose, n), default: n == 0 })
    }

    /// An object whose `@type`, if it has one, says what it is.
    fn any(&mut self, path: Option<u16>) -> Option<Seen> {
        let Some(type_url) = type_of(&self.bytes[self.at..]) else {
            return self.object(Type::Unknown, path, false).map(|s| Seen { default: false, ..s });
        };
        let name = bare_type(type_url);
        let inside = match self.schema.by_name(name) {
            ty @ Type::Message(_) => self.object(ty, path, false)?,
            Type::Unknown => self.object(Type::Unknown, path, false)?,
            // types with a JSON form of their own stand under `value`
            ty => {
                let start = self.at;
                let value = Outline::new(&self.bytes[start..])?.find(|f| f.key == b"value").map(|f| f.value);
                let len = value_end(&self.bytes[start..])?;
                let seen = match value {
                    Some(v) => {
                        self.at = start + (v.as_ptr() as usize - self.bytes[start..].as_ptr() as usize);
                        self.value(ty, None)?
                    }
                    None => Seen::scalar(0, true),
                };
                self.at = start + len;
                seen
            }
        };
        let ty = xxh3_64(name.as_bytes());
        Some(Seen {
            ordered: pair(ty, inside.ordered),
            set: pair(ty, inside.set),
            loose: pair(ty, inside.loose),
            default: false,
        })
    }

    /// The values of some keys of the object at the cursor, with whether each is a string, and moves behind it.
    #[allow(clippy::type_complexity, reason = "two values of a small object")]
    fn inner(&mut self, keys: &[&[u8]]) -> Option<Vec<Option<(&'a [u8], bool)>>> {
        let rest = &self.bytes[self.at..];
        let fields: Vec<_> = Outline::new(rest)?.take(8).collect();
        self.at += value_end(rest)?;
        let get = |k: &&[u8]| fields.iter().find(|f| f.key == *k).map(|f| (f.value, f.value.first() == Some(&b'"')));
        Some(keys.iter().map(get).collect())
    }
}

fn unquote(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(text)
}

/// The `@type` of the object at `bytes[0]`, wherever it stands in it.
pub(super) fn type_of(bytes: &[u8]) -> Option<&str> {
    let inside = bytes.get(1..)?;
    let first = &inside[skip_space(inside)..];
    let value = if first.starts_with(b"\"@type\"") {
        Outline::new(bytes)?.next()?.value
    } else {
        let whole = &bytes[..value_end(bytes)?];
        memchr::memmem::find(whole, b"\"@type\"")?;
        Outline::new(whole)?.find(|f| f.key == b"@type")?.value
    };
    std::str::from_utf8(unquote(value)).ok()
}

fn scalar_value(scalar: Scalar, text: &str, string: bool) -> Seen {
    match scalar {
        Scalar::String => {
            let seen = Seen::text(pair(xxh3_64(text.as_bytes()), 0x51));
            Seen { default: text.is_empty(), ..seen }
        }
        Scalar::Bytes => {
            let plain = text.trim_end_matches('=');
            let hash = if plain.bytes().any(|b| matches!(b, b'-' | b'_')) {
                xxh3_64(plain.replace('-', "+").replace('_', "/").as_bytes())
            } else {
                xxh3_64(plain.as_bytes())
            };
            Seen { default: plain.is_empty(), ..Seen::text(hash) }
        }
        Scalar::Bool => match text {
            "true" => Seen::scalar(1, false),
            "false" => Seen::scalar(0, true),
            _ => Seen::text(xxh3_64(text.as_bytes())),
        },
        Scalar::Float => match text.parse::<f64>() {
            Ok(v) => Seen::scalar(u64::from((v as f32).to_bits()), v == 0.0),
            Err(_) => Seen::text(xxh3_64(text.as_bytes())),
        },
        Scalar::Double => match text.parse::<f64>() {
            Ok(v) => Seen::scalar(v.to_bits(), v == 0.0),
            Err(_) => Seen::text(xxh3_64(text.as_bytes())),
        },
        _ => {
            let number = text.parse::<i128>().ok().or_else(|| {
                let v = text.parse::<f64>().ok()?;
                (v.fract() == 0.0 && v.abs() < 1e19).then_some(v as i128)
            });
            match number {
                Some(n) => Seen::scalar(n as u64, n == 0),
                None => Seen { default: !string && text.is_empty(), ..Seen::text(xxh3_64(text.as_bytes())) },
            }
        }
    }
}

fn time_value(seconds: i64, nanos: i64) -> Seen {
    let hash = pair(seconds as u64, nanos as u64);
    Seen { default: seconds == 0 && nanos == 0, ..Seen::text(hash) }
}

/// `1.5s` as seconds and nanoseconds.
fn duration(text: &str) -> Option<(i64, i64)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |n| (true, n));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok().filter(|s| *s >= 0)?;
    let nanos: i64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// The full name of a path; made once per thread.
fn path_name(id: u64, above: Option<&str>, list: bool, name: &str) -> Name {
    thread_local! {
        static PATHS: RefCell<HashMap<u64, Name, FixedState>> = RefCell::default();
    }
    PATHS.with(|p| {
        let mut p = p.borrow_mut();
        if p.len() > 4096 {
            p.clear();
        }
        p.entry(id)
            .or_insert_with(|| match above {
                None => names::word(name),
                Some(above) => names::word(&format!("{above}{}.{name}", if list { "[]" } else { "" })),
            })
            .clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(text: &str) -> Equality {
        of(text, XdsType::Listener, "")
    }

    fn cluster(text: &str) -> Equality {
        of(text, XdsType::Cluster, "")
    }

    #[test]
    fn spelling_order_and_type_do_not_matter() {
        let a = r#"{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"a","connect_timeout":"1s",
            "type":"EDS","per_connection_buffer_limit_bytes":1024,"lb_policy":"ROUND_ROBIN",
            "typed_extension_protocol_options":{"x_y":{"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{"http2_protocol_options":{}}},"b":{"@type":"t/unknown.Type","a_b":1}}}"#;
        let b = r#"{"typedExtensionProtocolOptions":{"b":{"aB":"1","@type":"t/unknown.Type"},"x_y":{"explicitHttpConfig":{"http2ProtocolOptions":{}},"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}},
            "perConnectionBufferLimitBytes":"1024","type":3,"connectTimeout":"1.000s","name":"a","altStatName":""}"#;
        assert_eq!(cluster(a).hash, cluster(b).hash);
        assert_eq!(cluster(a).set_hash, cluster(b).set_hash);
        assert_ne!(cluster(a).hash, cluster(&b.replace("x_y", "xY")).hash, "keys of maps are what they are");
    }

    #[test]
    fn what_differs() {
        let base = cluster(r#"{"name":"a"}"#).hash;
        for other in [
            r#"{"name":"b"}"#,
            r#"{"name":"a","connect_timeout":"1s"}"#,
            // wrappers and messages are there or not
            r#"{"name":"a","per_connection_buffer_limit_bytes":0}"#,
            r#"{"name":"a","connect_timeout":"0s"}"#,
            r#"{"name":"a","upstream_connection_options":{}}"#,
            r#"{"name":"a","something_new":1}"#,
        ] {
            assert_ne!(cluster(other).hash, base, "{other}");
        }
        for same in [
            r#"{"name":"a","respect_dns_ttl":false,"health_checks":[],"lb_policy":0,"alt_stat_name":null}"#,
            r#"{ "name" : "\u0061" }"#,
        ] {
            assert_eq!(cluster(same).hash, base, "{same}");
        }
    }

    #[test]
    fn metadata_is_taken_literally() {
        let with = |m: &str| listener(&format!(r#"{{"name":"l","metadata":{{"filterMetadata":{{"x":{m}}}}}}}"#)).hash;
        assert_ne!(with(r#"{"a_b":1}"#), with(r#"{"aB":1}"#));
        assert_ne!(with(r#"{"a":1}"#), with(r#"{"a":"1"}"#));
        assert_ne!(with(r#"{"a":[]}"#), with("{}"));
        assert_ne!(with(r#"{"a":null}"#), with("{}"));
        assert_eq!(with(r#"{"a":1,"b":2}"#), with(r#"{"b":2.0,"a":1}"#));
    }

    #[test]
    fn lists_are_ordered() {
        let a = listener(
            r#"{"name":"l","listener_filters":[{"name":"a"},{"name":"b"}],"filter_chains":[{"name":"x"},{"name":"y"}]}"#,
        );
        let b = listener(
            r#"{"name":"l","listener_filters":[{"name":"b"},{"name":"a"}],"filter_chains":[{"name":"y"},{"name":"x"}]}"#,
        );
        assert_ne!(a.hash, b.hash);
        assert_eq!(a.set_hash, b.set_hash);
        let (a, b) = (a.listener.unwrap(), b.listener.unwrap());
        assert_eq!(a.rest_hash, b.rest_hash);
        assert_eq!(a.chain_hashes, b.chain_hashes.iter().rev().copied().collect::<Vec<_>>());
    }

    #[test]
    fn the_rest_of_a_listener_is_compared_as_equivalent() {
        let rest = |t: &str| listener(t).listener.unwrap().rest_hash;
        let base = rest(r#"{"name":"l"}"#);
        assert_eq!(rest(r#"{"name":"l","filter_chains":[{}],"default_filter_chain":{"name":"x"}}"#), base);
        assert_eq!(rest(r#"{"name":"l","bind_to_port":false}"#), base, "EQUIVALENT takes a default for absent");
        assert_ne!(rest(r#"{"name":"l","bind_to_port":true}"#), base);
        assert_ne!(rest(r#"{"name":"l","metadata":{"filter_metadata":{"a":{"b":1}}}}"#), base);
        let l = listener(r#"{"enable_reuse_port":true,"filter_chains":[{"use_proxy_proto":true}]}"#).listener.unwrap();
        assert_eq!((l.reuse_port, l.use_proxy_proto), (Some(true), true));
    }

    #[test]
    fn the_outline_names_what_flapped() {
        let text = |code: &str| {
            format!(
                r#"{{"name":"l","filterChains":[{{"filters":[{{"name":"hcm","typedConfig":{{
                "@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "statPrefix":"{code}","httpFilters":[{{"name":"x"}}]}}}}]}}]}}"#
            )
        };
        let (a, b) = (listener(&text("a")), listener(&text("b")));
        let differing: Vec<&str> =
            a.outline.iter().zip(&b.outline).filter(|(x, y)| x.1 != y.1).map(|(x, _)| &*x.0).collect();
        assert_eq!(
            differing,
            [
                "filter_chains",
                "filter_chains[].filters",
                "filter_chains[].filters[].typed_config",
                "filter_chains[].filters[].typed_config.stat_prefix"
            ]
        );
    }

    #[test]
    fn broken_text_ends_quietly() {
        let whole = r#"{"name":"l","filter_chains":[{"filters":[{"typed_config":{"@type":"x/google.protobuf.Duration","value":"1s"}}]}]}"#;
        for cut in 0..whole.len() {
            let _ = listener(&whole[..cut]);
        }
        // and any byte may be another
        for at in 0..whole.len() {
            for other in ["{", "}", "[", "]", ":", ",", "\"", ""] {
                let _ = listener(&[&whole[..at], other, &whole[at + 1..]].concat());
            }
        }
        let deep = format!("{{\"x\":{}}}", "[".repeat(200) + "}");
        let _ = listener(&deep);
        let _ = listener(&format!("{{\"a\":{}", "[".repeat(100_000)));
        let _ = listener(&"{\"a\":".repeat(10_000));
    }
}
