//! Resource bodies, kept once each: found again by the hash of their text, so that what a push repeats is never parsed
//! a second time.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::FixedState;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::{checks, equality};
use crate::evidence::config_dump::{ElementKind, ResourceKind, WireResource, read_piece, reason, within};
use crate::evidence::json::names;
use crate::evidence::json::outline::Outline;
use crate::model::envoy::Name;
use crate::model::problem::{Loss, Problem};
use crate::model::source::{InputId, Span};
use crate::model::stream::{Body, BodyId, ListenerIdentity, Resource, XdsType};

/// The type of a full name, v2 or v3.
pub(super) fn xds_type(name: &str) -> XdsType {
    match name {
        "envoy.config.listener.v3.Listener" | "envoy.api.v2.Listener" => XdsType::Listener,
        "envoy.config.route.v3.RouteConfiguration" | "envoy.api.v2.RouteConfiguration" => XdsType::RouteConfig,
        "envoy.config.route.v3.ScopedRouteConfiguration" | "envoy.api.v2.ScopedRouteConfiguration" => {
            XdsType::ScopedRoutes
        }
        "envoy.config.route.v3.VirtualHost" | "envoy.api.v2.route.VirtualHost" => XdsType::VirtualHost,
        "envoy.config.cluster.v3.Cluster" | "envoy.api.v2.Cluster" => XdsType::Cluster,
        "envoy.config.endpoint.v3.ClusterLoadAssignment" | "envoy.api.v2.ClusterLoadAssignment" => XdsType::Endpoints,
        "envoy.extensions.transport_sockets.tls.v3.Secret" | "envoy.api.v2.auth.Secret" => XdsType::Secret,
        "envoy.config.core.v3.TypedExtensionConfig" => XdsType::ExtensionConfig,
        _ => XdsType::Other,
    }
}

fn element(kind: XdsType) -> Option<ElementKind> {
    Some(ElementKind::Resource(match kind {
        XdsType::Listener => ResourceKind::Listener,
        XdsType::RouteConfig => ResourceKind::RouteConfiguration,
        XdsType::ScopedRoutes => ResourceKind::ScopedRouteConfiguration,
        XdsType::Cluster => ResourceKind::Cluster,
        XdsType::Endpoints => ResourceKind::ClusterLoadAssignment,
        XdsType::Secret => ResourceKind::Secret,
        XdsType::ExtensionConfig => ResourceKind::ExtensionConfig,
        XdsType::VirtualHost | XdsType::Other => return None,
    }))
}

/// What tells two bodies apart before they are read: their bytes, their type and the name the message gives them.
pub(super) type Key = u128;

/// The key of a body written as `bytes`, of the full type `type_name`, called `name` by a delta response (else empty).
pub(super) fn key(type_name: &str, name: &str, bytes: &[u8]) -> Key {
    let seed = xxh3_64(type_name.as_bytes()) ^ xxh3_64(name.as_bytes()).rotate_left(17);
    xxh3_128_with_seed(bytes, seed)
}

/// The JSON of a body, as it was written.
pub(super) type Text = Box<str>;

/// A body read, what was wrong with it, and its text where it is kept.
pub(super) struct Read {
    pub(super) body: Body,
    pub(super) fault: Option<Fault>,
    pub(super) text: Option<Text>,
}

/// Why a body could not be read, and at which of its bytes.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) at: u64,
}

/// Reads the body written as the JSON object `text`. Never fails: what cannot be read is an opaque body.
/// `keep` keeps the text.
pub(super) fn read(type_name: &str, given_name: &str, text: &[u8], bytes: u64, exact_wire: bool, keep: bool) -> Read {
    let kind = xds_type(type_name);
    let (text, replaced) = match std::str::from_utf8(text) {
        Ok(t) => (std::borrow::Cow::Borrowed(t), None),
        Err(e) => (
            String::from_utf8_lossy(text),
            Some(Fault {
                what: "invalid UTF-8 in a resource; read with replacement characters".to_owned(),
                at: e.valid_up_to() as u64,
            }),
        ),
    };
    let (resource, fault) = match element(kind) {
        None => (Resource::Opaque, json_fault(&text)),
        Some(element) => match read_piece(element, &text, Span::default(), u64::MAX) {
            Ok((mut found, _)) => (found.pop().map_or(Resource::Opaque, model), None),
            Err(e) => (
                Resource::Opaque,
                Some(Fault {
                    what: format!("a resource cannot be read: {}", reason(&e, &text)),
                    at: within(&text, &e) as u64,
                }),
            ),
        },
    };
    let found = equality::of(&text, kind, type_name);
    let own = own_name(&resource).unwrap_or_else(|| name_in(&text));
    let checked = checks::of(&text, kind);
    let listener = found.listener.map(|l| ListenerIdentity { needs_tls_inspector: checked.needs_tls_inspector, ..l });
    let body = Body {
        name: if given_name.is_empty() { own } else { names::word(given_name) },
        kind,
        resource,
        hash: found.hash,
        set_hash: found.set_hash,
        listener,
        outline: found.outline.into(),
        bytes,
        exact_wire,
        fetch_timeouts: checked.timeouts,
        invalid: checked.invalid,
    };
    Read { body, fault: fault.or(replaced), text: keep.then(|| text.into()) }
}

/// A body of which only name and size are known.
pub(super) fn opaque(kind: XdsType, name: Name, bytes: u64, hash: u64, exact_wire: bool) -> Read {
    let body = Body {
        name,
        kind,
        resource: Resource::Opaque,
        hash,
        set_hash: hash,
        listener: None,
        outline: [].into(),
        bytes,
        exact_wire,
        fetch_timeouts: [].into(),
        invalid: None,
    };
    Read { body, fault: None, text: None }
}

fn json_fault(text: &str) -> Option<Fault> {
    let e = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    Some(Fault { what: format!("a resource is not JSON: {}", reason(&e, text)), at: within(text, &e) as u64 })
}

fn model(r: WireResource) -> Resource {
    match r {
        WireResource::Listener(x) => Resource::Listener(Box::new(x)),
        WireResource::Cluster(x) => Resource::Cluster(Box::new(x)),
        WireResource::RouteTable(x) => Resource::RouteConfig(Box::new(x)),
        WireResource::ScopedRoutes(x) => Resource::ScopedRoutes(Box::new(x)),
        WireResource::EndpointSet(x) => Resource::Endpoints(Box::new(x)),
        WireResource::Secret(x) => Resource::Secret(Box::new(x)),
        WireResource::ExtensionConfig(x) => Resource::ExtensionConfig(Box::new(x)),
        WireResource::Bootstrap(_) | WireResource::ClusterStatus(_) => Resource::Opaque,
    }
}

fn meta(r: &Resource) -> Option<&crate::model::envoy::Meta> {
    Some(match r {
        Resource::Listener(x) => &x.meta,
        Resource::Cluster(x) => &x.meta,
        Resource::RouteConfig(x) => &x.meta,
        Resource::ScopedRoutes(x) => &x.meta,
        Resource::Endpoints(x) => &x.meta,
        Resource::Secret(x) => &x.meta,
        Resource::ExtensionConfig(x) => &x.meta,
        Resource::Opaque => return None,
    })
}

fn own_name(r: &Resource) -> Option<Name> {
    meta(r).map(|m| m.name.clone())
}

fn set_span(r: &mut Resource, span: Span) {
    let meta = match r {
        Resource::Listener(x) => &mut x.meta,
        Resource::Cluster(x) => &mut x.meta,
        Resource::RouteConfig(x) => &mut x.meta,
        Resource::ScopedRoutes(x) => &mut x.meta,
        Resource::Endpoints(x) => &mut x.meta,
        Resource::Secret(x) => &mut x.meta,
        Resource::ExtensionConfig(x) => &mut x.meta,
        Resource::Opaque => return,
    };
    meta.span = span;
}

/// The `name` or `cluster_name` of an object.
fn name_in(text: &str) -> Name {
    let named =
        |f: &crate::evidence::json::outline::Item<'_>| matches!(f.key, b"name" | b"cluster_name" | b"clusterName");
    let value = Outline::new(text.as_bytes()).into_iter().flatten().find(named).map(|f| f.value);
    let name = value.and_then(|v| serde_json::from_slice::<String>(v).ok()).unwrap_or_default();
    names::word(&name)
}

/// The bodies that some thread reads or has read, so that no two read the same.
#[derive(Debug, Default)]
pub(super) struct Claims {
    shards: [Mutex<HashSet<Key, FixedState>>; 32],
}

impl Claims {
    /// Whether the caller is the first to ask for `key`, and so the one to read it.
    pub(super) fn claim(&self, key: Key) -> bool {
        let shard = &self.shards[(key >> 123) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner).insert(key)
    }
}

/// A body met while a message was taken apart: its key, full type, name given by the message, and text.
pub(super) struct Met<'a> {
    pub(super) key: Key,
    pub(super) type_name: &'a str,
    pub(super) given_name: &'a str,
    pub(super) text: &'a [u8],
}

/// A mention of a body: its key and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mention {
    pub(super) key: Key,
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
}

struct Slot {
    read: Option<Read>,
    first: Span,
    /// Size on the wire and whether it is exact, where that is known apart from the text.
    size: Option<(u64, bool)>,
}

/// All bodies of a recording, numbered in the order of their first mention, whichever thread read them.
#[derive(Default)]
pub(super) struct Bodies {
    slots: Vec<Slot>,
    ids: HashMap<Key, BodyId, FixedState>,
}

impl Bodies {
    /// The number of a body that was mentioned.
    pub(super) fn mention(&mut self, input: InputId, m: Mention) -> BodyId {
        *self.ids.entry(m.key).or_insert_with(|| {
            let first = Span { input, offset_bytes: m.offset_bytes, line: 0, len_bytes: m.len_bytes };
            self.slots.push(Slot { read: None, first, size: None });
            BodyId((self.slots.len() - 1) as u32)
        })
    }

    /// Puts in what was read for `key`; what nobody mentions is dropped.
    pub(super) fn put(&mut self, key: Key, read: Read) {
        if let Some(id) = self.ids.get(&key) {
            self.slots[id.0 as usize].read = Some(read);
        }
    }

    /// Says how long a body is on the wire.
    pub(super) fn size(&mut self, id: BodyId, bytes: u64, exact: bool) {
        self.slots[id.0 as usize].size = Some((bytes, exact));
    }

    /// Adds a body under a key of its own, or finds it.
    pub(super) fn add(&mut self, input: InputId, m: Mention, read: impl FnOnce() -> Read) -> BodyId {
        let id = self.mention(input, m);
        if self.slots[id.0 as usize].read.is_none() {
            self.put(m.key, read());
        }
        id
    }

    /// The body, once it was read.
    pub(super) fn get(&self, id: BodyId) -> Option<&Body> {
        self.slots.get(id.0 as usize)?.read.as_ref().map(|r| &r.body)
    }

    /// The bodies, each with the place of its first mention, their texts where they were kept, and what was wrong with
    /// some. `labels` are by input.
    pub(super) fn finish(self, labels: &[&str]) -> (Vec<Body>, Vec<Option<Text>>, Vec<Problem>) {
        let mut problems = Vec::new();
        let (mut out, mut texts) = (Vec::with_capacity(self.slots.len()), Vec::new());
        for Slot { read, first, size } in self.slots {
            let unread = || opaque(XdsType::Other, names::empty(), first.len_bytes, 0, false);
            let Read { mut body, fault, text } = read.unwrap_or_else(unread);
            set_span(&mut body.resource, first);
            if let Some((bytes, exact)) = size {
                (body.bytes, body.exact_wire) = (bytes, exact);
            }
            if let Some(f) = fault {
                let label = labels.get(first.input.0 as usize).copied().unwrap_or("");
                problems.push(Problem {
                    input: Some(first.input),
                    ..Problem::new(label, Loss::Resource, f.what)
                        .at(first.offset_bytes + f.at)
                        .hint("the push that carries it is replayed without its content")
                });
            }
            out.push(body);
            if let Some(text) = text {
                texts.resize_with(out.len() - 1, || None);
                texts.push(Some(text));
            }
        }
        (out, texts, problems)
    }
}
