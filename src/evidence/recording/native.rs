//! The native format: JSON Lines, a record to a line, each distinct body written once, pushes as differences.
//!
//! A recording may be appended to while it is read; a second header begins a new stretch. Unknown records are skipped,
//! so that a newer writer's files stay readable. See `docs/convert.md` for the records.

use std::collections::HashMap;
use std::fmt::Write;

use foldhash::fast::FixedState;

use super::Loaded;
use super::bodies::{self, Bodies, Mention, Met, xds_type};
use super::documents::{text, time};
use crate::evidence::json::names::{self, empty};
use crate::evidence::json::outline::{Item, Outline};
use crate::model::envoy::{Name, Node, ServerInfo};
use crate::model::source::InputId;
use crate::model::stream::{Applied, Body, BodyId, DrainPhase, Event, GapReason, Push, Pushed, Us, What, XdsType};

/// The version of the format that is written; older ones are read.
const VERSION: u64 = 1;

const TYPES: [(XdsType, &str, &str); 8] = [
    (XdsType::Listener, "lds", "envoy.config.listener.v3.Listener"),
    (XdsType::RouteConfig, "rds", "envoy.config.route.v3.RouteConfiguration"),
    (XdsType::ScopedRoutes, "srds", "envoy.config.route.v3.ScopedRouteConfiguration"),
    (XdsType::VirtualHost, "vhds", "envoy.config.route.v3.VirtualHost"),
    (XdsType::Cluster, "cds", "envoy.config.cluster.v3.Cluster"),
    (XdsType::Endpoints, "eds", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
    (XdsType::Secret, "sds", "envoy.extensions.transport_sockets.tls.v3.Secret"),
    (XdsType::ExtensionConfig, "ecds", "envoy.config.core.v3.TypedExtensionConfig"),
];

/// The short name of a type, or its full one.
fn short(kind: XdsType, type_name: &str) -> &str {
    TYPES
        .iter()
        .find(|(k, _, full)| *k == kind && (type_name.is_empty() || *full == type_name))
        .map_or(if type_name.is_empty() { "other" } else { type_name }, |(_, short, _)| short)
}

/// Full name of a short one.
fn full(short: &str) -> &str {
    TYPES.iter().find(|(_, s, _)| *s == short).map_or(short, |(_, _, full)| full)
}

/// One record.
#[derive(Debug)]
pub(super) enum Record {
    /// `hdr`.
    Header { t0: Us, version: u64, info: Box<ServerInfo> },
    /// `res`: a body by its hash; without a text its name and size are all that is known.
    Resource { hash: u64, type_name: Name, name: Name, wire_bytes: u64, exact: bool, body: Option<Mention> },
    /// `push`.
    Push(Box<Change>),
    /// Anything else.
    Event { stream: u32, what: What },
    /// Of no known kind, or without what it needs.
    Unknown,
}

/// A push as the difference to the state of its stream and type before.
#[derive(Debug)]
pub(super) struct Change {
    stream: u32,
    type_name: Name,
    delta: bool,
    version: Name,
    nonce: Name,
    bytes: u64,
    count: Option<usize>,
    add: Vec<(Name, u64)>,
    removed: Vec<Name>,
    order: Option<Vec<usize>>,
    /// The whole list, where names repeat.
    all: Option<Vec<(Name, u64)>>,
    versions: Vec<(Name, Name)>,
}

fn hex(value: &str) -> Option<u64> {
    u64::from_str_radix(value, 16).ok()
}

fn word(value: Option<&[u8]>) -> Name {
    value.map_or_else(empty, |v| names::word(&text(v)))
}

fn pairs(value: Option<&[u8]>) -> Vec<(Name, u64)> {
    let fields = value.and_then(Outline::new).into_iter().flatten();
    fields
        .filter_map(|f| {
            let key = if f.key.contains(&b'\\') {
                let quoted = [b"\"", f.key, b"\""].concat();
                serde_json::from_slice::<String>(&quoted).ok()?
            } else {
                String::from_utf8_lossy(f.key).into_owned()
            };
            Some((names::word(&key), hex(&text(f.value))?))
        })
        .collect()
}

fn list(value: Option<&[u8]>) -> Vec<Name> {
    value.and_then(Outline::new).into_iter().flatten().map(|f| names::word(&text(f.value))).collect()
}

/// Reads the record whose kind is `kind`; its time is read with every document. Bodies are shown to `met`.
pub(super) fn read(
    kind: &str,
    fields: &[Item<'_>],
    place: impl Fn(&[u8]) -> u64,
    met: &mut dyn FnMut(Met<'_>),
) -> Record {
    let get = |key: &str| fields.iter().find(|f| f.key == key.as_bytes()).map(|f| f.value);
    let number = |key: &str| get(key).and_then(|v| text(v).parse::<u64>().ok());
    let count = |key: &str| number(key).and_then(|n| u32::try_from(n).ok());
    let at = |key: &str| get(key).and_then(time);
    let stream = count("s").unwrap_or(0);
    let name = || word(get("name"));
    let type_of = || get("type").map(text).unwrap_or_default();
    let kind_of = || xds_type(full(&type_of()));
    let envoy_hash = || number("hash");
    let what = match kind {
        "hdr" => {
            let inside = |key: &str| get(key).and_then(Outline::new).into_iter().flatten();
            let of = |key: &str, name: &[u8]| inside(key).find(|f| f.key == name).map(|f| f.value);
            let node = Node { id: word(of("node", b"id")), cluster: word(of("node", b"cluster")), ..Node::default() };
            let info = ServerInfo {
                version: word(get("envoy")),
                concurrency: count("concurrency"),
                drain_time_s: of("drain", b"time_s").and_then(|v| text(v).parse().ok()),
                drain_strategy: word(of("drain", b"strategy")),
                node,
                ..ServerInfo::default()
            };
            let (t0, version) = (at("t0").unwrap_or_default(), number("v").unwrap_or(VERSION));
            return Record::Header { t0, version, info: Box::new(info) };
        }
        "res" => {
            let Some(hash) = get("h").and_then(|h| hex(&text(h))) else { return Record::Unknown };
            let short = type_of();
            let type_name = full(&short);
            let body = get("body").filter(|b| b.first() == Some(&b'{')).map(|b| {
                let given = word(get("name"));
                let key = bodies::key(type_name, &given, b);
                met(Met { key, type_name, given_name: &given, text: b });
                Mention { key, offset_bytes: place(b), len_bytes: b.len() as u64 }
            });
            return Record::Resource {
                hash,
                type_name: names::word(type_name),
                name: name(),
                wire_bytes: number("wire").unwrap_or(0),
                exact: get("exact") == Some(b"true"),
                body,
            };
        }
        "push" => {
            let all = get("all").and_then(Outline::new).map(|list| {
                list.filter_map(|pair| {
                    let mut parts = Outline::new(pair.value)?;
                    let name = word(Some(parts.next()?.value));
                    Some((name, hex(&text(parts.next()?.value))?))
                })
                .collect()
            });
            let order = get("ord").and_then(Outline::new);
            return Record::Push(Box::new(Change {
                stream,
                type_name: names::word(full(&type_of())),
                delta: get("mode").is_some_and(|m| text(m) == "delta"),
                version: word(get("ver")),
                nonce: word(get("nonce")),
                bytes: number("bytes").unwrap_or(0),
                count: number("n").and_then(|n| usize::try_from(n).ok()),
                add: pairs(get("add")),
                removed: list(get("del")),
                order: order.map(|o| o.filter_map(|i| text(i.value).parse().ok()).collect()),
                all,
                versions: get("vers")
                    .and_then(Outline::new)
                    .into_iter()
                    .flatten()
                    .map(|f| (names::word(&String::from_utf8_lossy(f.key)), names::word(&text(f.value))))
                    .collect(),
            }));
        }
        "ack" => What::Ack { kind: kind_of(), nonce: word(get("nonce")) },
        "nack" => What::Nack { kind: kind_of(), nonce: word(get("nonce")), error: word(get("err")) },
        "apply" => {
            let how = match get("how").map(text).as_deref() {
                Some("add") => Applied::Added,
                Some("inplace") => Applied::InPlace,
                Some("full") => Applied::Full,
                Some("update") => Applied::Updated,
                Some("skip") => Applied::Skipped,
                Some("remove") => Applied::Removed,
                Some("reject") => Applied::Rejected,
                _ => return Record::Unknown,
            };
            What::Applied { kind: kind_of(), name: name(), how, envoy_hash: envoy_hash() }
        }
        "drain" => What::Drain {
            name: name(),
            chains: get("what").is_some_and(|w| text(w) == "chains").then(|| count("n").unwrap_or(0)),
            envoy_hash: envoy_hash(),
            phase: if get("ph").is_some_and(|p| text(p) == "end") { DrainPhase::End } else { DrainPhase::Begin },
        },
        "obs" => match (get("m"), number("v")) {
            (Some(metric), Some(value)) => What::Observed { metric: word(Some(metric)), value },
            _ => return Record::Unknown,
        },
        "batch" => match (at("first"), at("last")) {
            (Some(first), Some(last)) => What::Batch { first, last, events: count("n").unwrap_or(0) },
            _ => return Record::Unknown,
        },
        "gap" => What::Gap {
            until: at("until").unwrap_or_default(),
            reason: match get("why").map(text).as_deref() {
                Some("poll") => GapReason::Poll,
                Some("reconnect") => GapReason::Reconnect,
                Some("seq") => GapReason::Sequence,
                Some("order") => GapReason::OutOfOrder,
                _ => GapReason::Truncated,
            },
        },
        "conn" => What::Connection(get("ev").is_none_or(|e| text(e) != "close")),
        "start" => What::WorkersStart,
        "drain_listeners" => What::DrainListeners { inbound_only: get("inbound_only") == Some(b"true") },
        _ => return Record::Unknown,
    };
    Record::Event { stream, what }
}

/// Resources of one type on one stream: names and bodies in the order of the last response.
type Held = Vec<(Name, BodyId)>;

/// What the records of a file add up to.
#[derive(Debug, Default)]
pub(super) struct State {
    t0: Us,
    resources: HashMap<(Name, u64), BodyId, FixedState>,
    held: HashMap<(u32, Name), Held, FixedState>,
    /// Pushes that name a body which is nowhere, or whose count is not what they say.
    pub(super) incomplete: u32,
    pub(super) unknown: u32,
    pub(super) newer: bool,
}

impl State {
    /// Whether the file holds any record.
    pub(super) fn used(&self) -> bool {
        !self.resources.is_empty() || !self.held.is_empty()
    }

    /// A time of the file on the recording's axis.
    pub(super) fn time(&self, t: Us) -> Us {
        Us(self.t0.0.saturating_add(t.0))
    }

    /// Takes a record at `t` (on the axis) and gives the event it makes.
    pub(super) fn take(&mut self, record: Record, t: Us, input: InputId, bodies: &mut Bodies) -> Option<Event> {
        let (stream, what) = match record {
            Record::Header { t0, version, .. } => {
                self.t0 = t0;
                self.newer |= version > VERSION;
                self.held.clear();
                return None;
            }
            Record::Resource { hash, type_name, name, wire_bytes, exact, body } => {
                let id = match body {
                    Some(mention) => {
                        let id = bodies.mention(input, mention);
                        bodies.size(id, wire_bytes, exact);
                        id
                    }
                    None => {
                        let key = bodies::key(&type_name, &name, &hash.to_be_bytes());
                        let mention = Mention { key, offset_bytes: 0, len_bytes: 0 };
                        let kind = xds_type(&type_name);
                        bodies.add(input, mention, || bodies::opaque(kind, name, wire_bytes, hash, exact))
                    }
                };
                self.resources.insert((type_name, hash), id);
                return None;
            }
            Record::Push(change) => (change.stream, What::Push(Box::new(self.push(*change)))),
            Record::Event { stream, what } => (
                stream,
                match what {
                    What::Batch { first, last, events } => {
                        What::Batch { first: self.time(first), last: self.time(last), events }
                    }
                    What::Gap { until, reason } => What::Gap { until: self.time(until), reason },
                    what => what,
                },
            ),
            Record::Unknown => {
                self.unknown += 1;
                return None;
            }
        };
        Some(Event { t, input, stream, what })
    }

    fn push(&mut self, c: Change) -> Push {
        let mut missing = 0;
        let mut find = |resources: &HashMap<(Name, u64), BodyId, FixedState>, list: Vec<(Name, u64)>| -> Held {
            list.into_iter()
                .filter_map(|(name, hash)| match resources.get(&(c.type_name.clone(), hash)) {
                    Some(id) => Some((name, *id)),
                    None => {
                        missing += 1;
                        None
                    }
                })
                .collect()
        };
        let added = find(&self.resources, c.add);
        let all = c.all.map(|list| find(&self.resources, list));
        let list: Held = if c.delta {
            all.unwrap_or(added)
        } else {
            let held = self.held.entry((c.stream, c.type_name.clone())).or_default();
            match all {
                Some(list) => *held = list,
                None => change(held, added, &c.removed),
            }
            if let Some(order) = &c.order {
                let before = std::mem::take(held);
                *held = order.iter().filter_map(|i| before.get(*i).cloned()).collect();
            }
            if c.count.is_some_and(|n| n != held.len()) {
                missing += 1;
            }
            held.clone()
        };
        self.incomplete += u32::from(missing > 0);
        let versions: HashMap<Name, Name> = c.versions.into_iter().collect();
        let version = |name: &Name| versions.get(name).cloned().unwrap_or_else(empty);
        Push {
            kind: xds_type(&c.type_name),
            type_name: c.type_name,
            delta: c.delta,
            version: c.version,
            nonce: c.nonce,
            resources: list.into_iter().map(|(n, body)| Pushed { body, version: version(&n) }).collect(),
            removed: if c.delta { c.removed } else { Vec::new() },
            bytes: c.bytes,
        }
    }
}

/// Applies a difference: what is removed goes, what changed stays in its place, what is new comes last.
fn change(held: &mut Held, added: Held, removed: &[Name]) {
    if !removed.is_empty() {
        let gone: std::collections::HashSet<&Name> = removed.iter().collect();
        held.retain(|(n, _)| !gone.contains(n));
    }
    if added.len() < 8 {
        for (name, id) in added {
            match held.iter_mut().find(|(n, _)| *n == name) {
                Some(slot) => slot.1 = id,
                None => held.push((name, id)),
            }
        }
        return;
    }
    let places: HashMap<Name, usize> = held.iter().enumerate().map(|(i, (n, _))| (n.clone(), i)).collect();
    for (name, id) in added {
        match places.get(&name) {
            Some(i) => held[*i].1 = id,
            None => held.push((name, id)),
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- writing

/// How to write.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// Leave out all bodies; names, sizes and hashes stay.
    pub strip: bool,
}

/// What each source, stream and type was last sent, as it was written.
type Written = HashMap<(u32, u32, Name), Vec<(Name, u64)>, FixedState>;

fn quoted(out: &mut String, text: &str) {
    let _ = serde_json::to_string(text).map(|q| out.push_str(&q));
}

fn seconds(out: &mut String, t: Us) {
    let _ = write!(
        out,
        "{}{}.{:06}",
        if t.0 < 0 { "-" } else { "" },
        t.0.unsigned_abs() / 1_000_000,
        t.0.unsigned_abs() % 1_000_000
    );
}

/// Times above this many seconds are Unix time.
const UNIX_FROM_S: i64 = 100_000_000;

/// Writes a recording in the native format, a line at a time, to `line`.
///
/// # Errors
/// Whatever `line` fails with.
pub fn write<E>(loaded: &Loaded, options: WriteOptions, mut line: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let r = &loaded.recording;
    let first = r.events.first().map_or(Us(0), |e| e.t);
    let t0 = if first.0 / 1_000_000 >= UNIX_FROM_S { first } else { Us(0) };
    let since = |t: Us| Us(t.0 - t0.0);
    let mut out = String::new();
    header(&mut out, loaded, t0);
    line(&out)?;
    let mut redactor = super::redact::Redactor::default();
    let mut written = vec![false; r.bodies.len()];
    let mut held = Written::default();
    for e in &r.events {
        if let What::Push(p) = &e.what {
            for pushed in &p.resources {
                let i = pushed.body.0 as usize;
                if !std::mem::replace(&mut written[i], true) {
                    out.clear();
                    let text = loaded.texts.get(i).and_then(Option::as_deref).filter(|_| !options.strip);
                    resource(&mut out, &r.bodies[i], &p.type_name, text, &mut redactor);
                    line(&out)?;
                }
            }
        }
        out.clear();
        out.push_str("{\"k\":");
        quoted(&mut out, e.what.word());
        out.push_str(",\"t\":");
        seconds(&mut out, since(e.t));
        let _ = write!(out, ",\"src\":{},\"s\":{}", e.input.0, e.stream);
        what(&mut out, e, r, &since, &mut held, &mut redactor);
        out.push('}');
        line(&out)?;
    }
    Ok(())
}

fn header(out: &mut String, loaded: &Loaded, t0: Us) {
    let r = &loaded.recording;
    let _ = write!(out, "{{\"k\":\"hdr\",\"format\":\"meshdump-recording\",\"v\":{VERSION}");
    if t0 != Us(0)
        && let Ok(t) = jiff::Timestamp::from_microsecond(t0.0)
    {
        let _ = write!(out, ",\"t0\":\"{t:.6}\"");
    }
    if let Some(info) = &r.server_info {
        if !info.node.id.is_empty() {
            out.push_str(",\"node\":{\"id\":");
            quoted(out, &info.node.id);
            out.push_str(",\"cluster\":");
            quoted(out, &info.node.cluster);
            out.push('}');
        }
        let version = if info.version.is_empty() {
            &*info.node.envoy_version
        } else {
            info.version.split('/').nth(1).unwrap_or(&info.version)
        };
        if !version.is_empty() {
            out.push_str(",\"envoy\":");
            quoted(out, version);
        }
        if let Some(n) = info.concurrency {
            let _ = write!(out, ",\"concurrency\":{n}");
        }
        if let Some(s) = info.drain_time_s {
            let _ = write!(out, ",\"drain\":{{\"time_s\":{s},\"strategy\":");
            quoted(out, &info.drain_strategy.to_ascii_lowercase());
            out.push('}');
        }
    }
    let (mut sotw, mut delta) = (false, false);
    for e in &r.events {
        if let What::Push(p) = &e.what {
            *(if p.delta { &mut delta } else { &mut sotw }) = true;
        }
    }
    let transport = match (sotw, delta) {
        (true, true) => "mixed",
        (_, true) => "delta",
        _ => "sotw",
    };
    let _ = write!(out, ",\"transport\":\"{transport}\",\"src\":[");
    for (i, input) in loaded.inputs.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let _ = write!(out, "{{\"id\":{i},\"kind\":\"{}\",\"file\":", input.kind);
        // the name alone: where it lay is nobody's business
        quoted(out, input.label.rsplit(['/', '!']).next().unwrap_or(""));
        let _ = write!(out, ",\"bytes\":{}}}", input.stored_bytes);
    }
    out.push_str("],\"redacted\":true}");
}

fn resource(
    out: &mut String,
    body: &Body,
    type_name: &str,
    text: Option<&str>,
    redactor: &mut super::redact::Redactor,
) {
    let _ = write!(out, "{{\"k\":\"res\",\"h\":\"{:016x}\",\"type\":", body.hash);
    quoted(out, short(body.kind, type_name));
    out.push_str(",\"name\":");
    quoted(out, &body.name);
    let _ = write!(out, ",\"wire\":{}", body.bytes);
    if body.exact_wire {
        out.push_str(",\"exact\":true");
    }
    if let Some(text) = text {
        out.push_str(",\"body\":");
        redactor.object(out, text, body.kind);
    }
    out.push('}');
}

fn what(
    out: &mut String,
    e: &Event,
    r: &crate::model::stream::Recording,
    since: &impl Fn(Us) -> Us,
    held: &mut Written,
    redactor: &mut super::redact::Redactor,
) {
    fn field(out: &mut String, key: &str, value: &str) {
        let _ = write!(out, ",\"{key}\":");
        quoted(out, value);
    }
    fn hash(out: &mut String, hash: Option<u64>) {
        if let Some(h) = hash {
            let _ = write!(out, ",\"hash\":\"{h}\"");
        }
    }
    match &e.what {
        What::Push(p) => {
            field(out, "type", short(p.kind, &p.type_name));
            field(out, "mode", if p.delta { "delta" } else { "sotw" });
            field(out, "ver", &p.version);
            field(out, "nonce", &p.nonce);
            let _ = write!(out, ",\"bytes\":{},\"n\":{}", p.bytes, p.resources.len());
            let now: Vec<(Name, u64)> =
                p.resources.iter().map(|b| r.body(b.body)).map(|b| (b.name.clone(), b.hash)).collect();
            if p.delta {
                difference(out, &[], &now, &p.removed);
            } else {
                let before = held.entry((e.input.0, e.stream, p.type_name.clone())).or_default();
                let names: std::collections::HashSet<&Name> = now.iter().map(|(n, _)| n).collect();
                let gone: Vec<Name> = before.iter().map(|(n, _)| n).filter(|n| !names.contains(n)).cloned().collect();
                difference(out, before, &now, &gone);
                *before = now;
            }
            if p.resources.iter().any(|b| !b.version.is_empty()) {
                out.push_str(",\"vers\":{");
                let mut first = true;
                for b in p.resources.iter().filter(|b| !b.version.is_empty()) {
                    if !std::mem::take(&mut first) {
                        out.push(',');
                    }
                    quoted(out, &r.body(b.body).name);
                    out.push(':');
                    quoted(out, &b.version);
                }
                out.push('}');
            }
        }
        What::Ack { kind, nonce } => {
            field(out, "type", short(*kind, ""));
            field(out, "nonce", nonce);
        }
        What::Nack { kind, nonce, error } => {
            field(out, "type", short(*kind, ""));
            field(out, "nonce", nonce);
            field(out, "err", &redactor.message(error));
        }
        What::Connection(open) => field(out, "ev", if *open { "open" } else { "close" }),
        What::WorkersStart => {}
        What::DrainListeners { inbound_only } => {
            let _ = write!(out, ",\"inbound_only\":{inbound_only}");
        }
        What::Applied { kind, name, how, envoy_hash } => {
            field(out, "type", short(*kind, ""));
            field(out, "name", name);
            let how = match how {
                Applied::Added => "add",
                Applied::InPlace => "inplace",
                Applied::Full => "full",
                Applied::Updated => "update",
                Applied::Skipped => "skip",
                Applied::Removed => "remove",
                Applied::Rejected => "reject",
            };
            field(out, "how", how);
            hash(out, *envoy_hash);
        }
        What::Drain { name, chains, envoy_hash, phase } => {
            field(out, "what", if chains.is_some() { "chains" } else { "listener" });
            field(out, "name", name);
            hash(out, *envoy_hash);
            if let Some(n) = chains {
                let _ = write!(out, ",\"n\":{n}");
            }
            field(out, "ph", if *phase == DrainPhase::End { "end" } else { "begin" });
        }
        What::Observed { metric, value } => {
            field(out, "m", metric);
            let _ = write!(out, ",\"v\":{value}");
        }
        What::Batch { first, last, events } => {
            out.push_str(",\"first\":");
            seconds(out, since(*first));
            out.push_str(",\"last\":");
            seconds(out, since(*last));
            let _ = write!(out, ",\"n\":{events}");
        }
        What::Gap { until, reason } => {
            out.push_str(",\"until\":");
            seconds(out, since(*until));
            let why = match reason {
                GapReason::Poll => "poll",
                GapReason::Truncated => "truncated",
                GapReason::Reconnect => "reconnect",
                GapReason::Sequence => "seq",
                GapReason::OutOfOrder => "order",
            };
            field(out, "why", why);
        }
    }
}

/// `add`, `del` and, where the order is not what these give, `ord`; the whole list where names repeat.
fn difference(out: &mut String, before: &[(Name, u64)], now: &[(Name, u64)], gone: &[Name]) {
    let places: HashMap<&Name, usize, FixedState> = now.iter().enumerate().map(|(i, (n, _))| (n, i)).collect();
    if places.len() != now.len() {
        out.push_str(",\"all\":[");
        for (i, (name, hash)) in now.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push('[');
            quoted(out, name);
            let _ = write!(out, ",\"{hash:016x}\"]");
        }
        out.push(']');
    } else {
        let old: HashMap<&Name, u64, FixedState> = before.iter().map(|(n, h)| (n, *h)).collect();
        out.push_str(",\"add\":{");
        let mut first = true;
        for (name, hash) in now.iter().filter(|(n, h)| old.get(n) != Some(h)) {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            quoted(out, name);
            let _ = write!(out, ":\"{hash:016x}\"");
        }
        out.push('}');
    }
    out.push_str(",\"del\":[");
    for (i, name) in gone.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        quoted(out, name);
    }
    out.push(']');
    if places.len() != now.len() {
        return;
    }
    // the order a reader arrives at: what stayed, in its old order, then what is new
    let stayed = before.iter().map(|(n, _)| n).filter(|n| places.contains_key(n));
    let known: std::collections::HashSet<&Name, FixedState> = before.iter().map(|(n, _)| n).collect();
    let new = now.iter().map(|(n, _)| n).filter(|n| !known.contains(n));
    let arrived: Vec<&Name> = stayed.chain(new).collect();
    if arrived.iter().zip(now).any(|(a, (b, _))| *a != b) {
        let at: HashMap<&Name, usize, FixedState> = arrived.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        out.push_str(",\"ord\":[");
        for (i, (name, _)) in now.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            let _ = write!(out, "{}", at.get(name).copied().unwrap_or(0));
        }
        out.push(']');
    }
}

/// Writes a recording as discovery responses and requests, the form that anybody reads. Gives how many events have no
/// place in it (what logs and observations say).
///
/// # Errors
/// Whatever `line` fails with.
pub fn write_responses<E>(
    loaded: &Loaded,
    options: WriteOptions,
    mut line: impl FnMut(&str) -> Result<(), E>,
) -> Result<u64, E> {
    let r = &loaded.recording;
    let (mut out, mut left_out) = (String::new(), 0);
    let mut redactor = super::redact::Redactor::default();
    for e in &r.events {
        out.clear();
        out.push_str("{\"t\":");
        seconds(&mut out, e.t);
        let url = |out: &mut String, name: &str| {
            out.push_str(",\"type_url\":");
            quoted(out, &format!("type.googleapis.com/{name}"));
        };
        let full_name = |kind: XdsType| TYPES.iter().find(|(k, _, _)| *k == kind).map_or("", |(_, _, full)| full);
        match &e.what {
            What::Push(p) => {
                url(&mut out, &p.type_name);
                out.push_str(if p.delta { ",\"system_version_info\":" } else { ",\"version_info\":" });
                quoted(&mut out, &p.version);
                out.push_str(",\"nonce\":");
                quoted(&mut out, &p.nonce);
                out.push_str(",\"resources\":[");
                for (i, pushed) in p.resources.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    let body = r.body(pushed.body);
                    let text = loaded.texts.get(pushed.body.0 as usize).and_then(Option::as_deref);
                    let text = text.filter(|_| !options.strip);
                    if p.delta {
                        out.push_str("{\"name\":");
                        quoted(&mut out, &body.name);
                        out.push_str(",\"version\":");
                        quoted(&mut out, &pushed.version);
                        out.push_str(",\"resource\":");
                    }
                    match text {
                        Some(text) => redactor.typed(&mut out, text, &p.type_name, body.kind),
                        None => {
                            out.push_str("{\"@type\":");
                            quoted(&mut out, &format!("type.googleapis.com/{}", p.type_name));
                            out.push_str(if body.kind == XdsType::Endpoints {
                                ",\"cluster_name\":"
                            } else {
                                ",\"name\":"
                            });
                            quoted(&mut out, &body.name);
                            out.push('}');
                        }
                    }
                    if p.delta {
                        out.push('}');
                    }
                }
                out.push(']');
                if p.delta {
                    out.push_str(",\"removed_resources\":[");
                    for (i, name) in p.removed.iter().enumerate() {
                        if i > 0 {
                            out.push(',');
                        }
                        quoted(&mut out, name);
                    }
                    out.push(']');
                }
            }
            What::Ack { kind, nonce } | What::Nack { kind, nonce, .. } if !nonce.is_empty() => {
                url(&mut out, full_name(*kind));
                out.push_str(",\"response_nonce\":");
                quoted(&mut out, nonce);
                if let What::Nack { error, .. } = &e.what {
                    out.push_str(",\"error_detail\":{\"message\":");
                    quoted(&mut out, &redactor.message(error));
                    out.push('}');
                }
            }
            _ => {
                left_out += 1;
                continue;
            }
        }
        out.push('}');
        line(&out)?;
    }
    Ok(left_out)
}
