//! One JSON document of a recording: a discovery response or request, with or without a time around it.

use crate::evidence::config_dump::{self, WireNode, bare_type};
use crate::evidence::json::names::{self, empty};
use crate::evidence::json::outline::{End, Item, Outline};
use crate::evidence::json::skip::skip_space;
use crate::evidence::json::tally;
use crate::model::envoy::{Name, Node};
use crate::model::source::InputId;
use crate::model::stream::{Push, Pushed, Us, XdsType};

use super::bodies::{self, Bodies, Mention, Met, xds_type};
use super::equality::type_of;
use super::native;
use super::observations::{self, Value};

/// A response, its bodies by key.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) type_name: Name,
    pub(super) delta: bool,
    pub(super) version: Name,
    pub(super) nonce: Name,
    pub(super) resources: Vec<(Mention, Name)>,
    pub(super) removed: Vec<Name>,
    pub(super) bytes: u64,
    /// Elements without a body (a heartbeat of a time to live).
    pub(super) bodiless: u32,
    /// Over its content.
    pub(super) content: u64,
}

impl Response {
    /// As the recording keeps it, its bodies as numbers.
    pub(super) fn push(self, kind: XdsType, input: InputId, bodies: &mut Bodies) -> Push {
        let resources =
            self.resources.into_iter().map(|(m, version)| Pushed { body: bodies.mention(input, m), version }).collect();
        Push {
            kind,
            type_name: self.type_name,
            delta: self.delta,
            version: self.version,
            nonce: self.nonce,
            resources,
            removed: self.removed,
            bytes: self.bytes,
        }
    }
}

/// What a document says.
#[derive(Debug)]
pub(super) enum Message {
    Response(Box<Response>),
    /// An acknowledgement, or with an error a rejection.
    Request {
        kind: XdsType,
        nonce: Name,
        error: Option<Name>,
    },
    /// A request that answers nothing.
    Subscription,
    /// A record of the native format.
    Native(native::Record),
    /// What the admin port answered.
    Observed(Vec<Value>),
    /// A config dump: where its text begins in the input, and the text.
    Dump(u64, Box<[u8]>),
    /// JSON, but nothing of this.
    Foreign,
}

/// A document with its time.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) t: Option<Us>,
    /// The node of a request.
    pub(super) node: Option<Box<Node>>,
    pub(super) message: Message,
}

/// The node that a request names.
fn node(fields: &[Item<'_>]) -> Option<Box<Node>> {
    let object = get(fields, &["node"]).filter(|n| n.first() == Some(&b'{'))?;
    let wire = tally::scoped(|| serde_json::from_slice::<WireNode>(object)).0;
    Some(Box::new(config_dump::node(&wire.unwrap_or_default())))
}

/// The fields of an object, and where it ends.
pub(super) fn fields(bytes: &[u8]) -> (Vec<Item<'_>>, End) {
    let Some(mut walk) = Outline::new(bytes) else { return (Vec::new(), End::Broken(0)) };
    let items = walk.by_ref().collect();
    (items, walk.end())
}

fn get<'a>(fields: &[Item<'a>], keys: &[&str]) -> Option<&'a [u8]> {
    fields.iter().find(|f| keys.iter().any(|k| k.as_bytes() == f.key)).map(|f| f.value)
}

/// A string, or a bare scalar, as text.
pub(super) fn text(value: &[u8]) -> String {
    match value.first() {
        Some(b'"') => serde_json::from_slice(value).unwrap_or_default(),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

fn name(value: Option<&[u8]>) -> Name {
    let Some(value) = value else { return empty() };
    if let Some(inside) = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""))
        && memchr::memchr(b'\\', inside).is_none()
        && let Ok(plain) = std::str::from_utf8(inside)
    {
        return names::word(plain);
    }
    if value == b"null" { empty() } else { names::word(&text(value)) }
}

/// Seconds, or RFC 3339, as microseconds.
pub(super) fn time(value: &[u8]) -> Option<Us> {
    let text = text(value);
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return (seconds.is_finite() && seconds.abs() < 9e12).then(|| Us((seconds * 1e6).round() as i64));
    }
    text.trim().parse::<jiff::Timestamp>().ok().map(|t| Us(t.as_microsecond()))
}

/// The time among the fields of a document.
pub(super) fn time_of(fields: &[Item<'_>]) -> Option<Us> {
    ["t", "ts", "time", "timestamp"].iter().find_map(|k| time(get(fields, &[k])?))
}

/// Takes a document apart. `place` gives the offset in the input of a part of it; each body met is shown to `met`.
pub(super) fn read<'a>(
    fields: &[Item<'a>],
    len_bytes: u64,
    place: impl Fn(&[u8]) -> u64 + Copy,
    met: &mut dyn FnMut(Met<'_>),
) -> Document {
    let t = time_of(fields);
    if let Some(kind) = get(fields, &["k"]).filter(|k| k.first() == Some(&b'"')) {
        return Document { t, node: None, message: Message::Native(native::read(&text(kind), fields, place, met)) };
    }
    let is_message = |f: &[Item<'_>]| {
        get(f, &["type_url", "typeUrl"]).is_some()
            || get(f, &["resources", "removed_resources", "removedResources"]).is_some()
    };
    if is_message(fields) {
        return Document { t, node: node(fields), message: message(fields, len_bytes, t.is_some(), place, met) };
    }
    // `jq -c '{t:now,r:.}'`
    if let Some(inner) = get(fields, &["r", "response", "message", "data"])
        && inner.first() == Some(&b'{')
    {
        let inner_fields: Vec<Item<'a>> = Outline::new(inner).into_iter().flatten().collect();
        if is_message(&inner_fields) {
            let t = t.or_else(|| time_of(&inner_fields));
            let message = message(&inner_fields, inner.len() as u64, true, place, met);
            return Document { t, node: node(&inner_fields), message };
        }
        if get(&inner_fields, &["configs"]).is_some() {
            return Document { t, node: None, message: Message::Dump(place(inner), inner.into()) };
        }
        let values = observations::of_object(inner);
        if !values.is_empty() {
            return Document { t, node: None, message: Message::Observed(values) };
        }
    }
    Document { t, node: None, message: Message::Foreign }
}

fn message(
    fields: &[Item<'_>],
    len_bytes: u64,
    timed: bool,
    place: impl Fn(&[u8]) -> u64 + Copy,
    met: &mut dyn FnMut(Met<'_>),
) -> Message {
    let type_url = get(fields, &["type_url", "typeUrl"]).map(text).unwrap_or_default();
    let nonce = get(fields, &["nonce"]);
    let resources = get(fields, &["resources"]);
    let removed = get(fields, &["removed_resources", "removedResources"]);
    let version = get(fields, &["version_info", "versionInfo"]);
    let system_version = get(fields, &["system_version_info", "systemVersionInfo"]);
    let answers = name(get(fields, &["response_nonce", "responseNonce"]));
    let response = nonce.is_some() || resources.is_some() || removed.is_some() || system_version.is_some();
    if !response {
        let kind = xds_type(bare_type(&type_url));
        if !answers.is_empty() {
            let error = get(fields, &["error_detail", "errorDetail"]).filter(|e| e.first() == Some(&b'{'));
            let error = error.map(|e| {
                let mut fields = Outline::new(e).into_iter().flatten();
                name(fields.find(|f| f.key == b"message").map(|f| f.value))
            });
            return Message::Request { kind, nonce: answers, error };
        }
        let asks = ["node", "resource_names", "resourceNames", "resource_names_subscribe", "resourceNamesSubscribe"];
        if get(fields, &asks).is_some() || (version.is_none() && !timed) {
            return Message::Subscription;
        }
    }
    let elements: Vec<&[u8]> = resources
        .and_then(Outline::new)
        .into_iter()
        .flatten()
        .map(|i| i.value)
        .filter(|v| v.first() == Some(&b'{'))
        .collect();
    let wrapped = |e: &&[u8]| {
        let own = type_of(e).map(bare_type);
        own == Some(RESOURCE) || (own.is_none() && Outline::new(e).into_iter().flatten().any(|f| f.key == b"resource"))
    };
    let delta =
        version.is_none() && (system_version.is_some() || removed.is_some() || elements.first().is_some_and(wrapped));
    let mut type_name = bare_type(&type_url).to_owned();
    if type_name.is_empty() {
        // a writer may leave out what every resource says
        type_name = elements.first().and_then(|e| inner_type(e)).unwrap_or_default();
    }
    let mut out = Response {
        type_name: names::word(&type_name),
        delta,
        version: name(version.or(system_version)),
        nonce: name(nonce),
        resources: Vec::with_capacity(elements.len()),
        removed: Vec::new(),
        bytes: len_bytes,
        bodiless: 0,
        content: 0,
    };
    let wrap = delta || elements.first().is_some_and(wrapped);
    for element in elements {
        let (body, given, version) = if wrap { unwrap(element) } else { (Some(element), String::new(), empty()) };
        let Some(body) = body else {
            out.bodiless += 1;
            continue;
        };
        let key = bodies::key(&type_name, &given, body);
        out.content = out.content.rotate_left(5) ^ (key as u64) ^ ((key >> 64) as u64);
        met(Met { key, type_name: &type_name, given_name: &given, text: body });
        let mention = Mention { key, offset_bytes: place(body), len_bytes: body.len() as u64 };
        out.resources.push((mention, version));
    }
    for gone in removed.and_then(Outline::new).into_iter().flatten() {
        let gone = name(Some(gone.value));
        out.content = out.content.rotate_left(5) ^ bodies::key("", &gone, b"") as u64;
        out.removed.push(gone);
    }
    Message::Response(Box::new(out))
}

const RESOURCE: &str = "envoy.service.discovery.v3.Resource";

/// Body, name and version of a `Resource` of the delta protocol; of a bare resource, the resource.
fn unwrap(element: &[u8]) -> (Option<&[u8]>, String, Name) {
    let fields: Vec<Item<'_>> = Outline::new(element).into_iter().flatten().collect();
    let own_type = get(&fields, &["@type"]).map(text);
    let bare = own_type.as_deref().is_some_and(|t| bare_type(t) != RESOURCE);
    match get(&fields, &["resource"]).filter(|r| r.first() == Some(&b'{')) {
        Some(body) if !bare => {
            let given = get(&fields, &["name"]).map(text).unwrap_or_default();
            (Some(body), given, name(get(&fields, &["version"])))
        }
        _ if bare => (Some(element), String::new(), empty()),
        _ => (None, String::new(), empty()),
    }
}

/// The type that an element of `resources` has.
fn inner_type(element: &[u8]) -> Option<String> {
    let own = type_of(element).map(bare_type);
    if let Some(own) = own.filter(|t| *t != RESOURCE) {
        return Some(own.to_owned());
    }
    let inner = unwrap(element).0?;
    type_of(inner).map(|t| bare_type(t).to_owned())
}

/// Where the next document begins in `bytes` from `at` on: its offset, and how many lines of text stood before it.
///
/// Documents are objects; brackets and commas between them are those of a list of documents.
pub(super) fn next_object(bytes: &[u8], mut at: usize) -> (Option<usize>, u32) {
    let mut skipped = 0;
    loop {
        at += skip_space(&bytes[at.min(bytes.len())..]);
        match bytes.get(at) {
            None => return (None, skipped),
            Some(b'{') => return (Some(at), skipped),
            Some(b',' | b']' | 0x1e | 0xef | 0xbb | 0xbf) => at += 1,
            Some(b'[') if matches!(bytes[at + 1..].trim_ascii_start().first(), None | Some(b'{' | b']')) => at += 1,
            Some(_) => {
                skipped += 1;
                at = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |n| at + n + 1);
            }
        }
    }
}
