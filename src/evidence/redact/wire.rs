//! Messages in wire form rewritten where they lie: each string and each `bytes` by the rule that holds for its place in
//! JSON, so that a tap and a dump of one Envoy get the same pseudonyms. No length changes, so no tag and no length does.

use std::ops::Range;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::json::Rewriter;
use crate::evidence::protobuf::wire::{Fields, Value};
use crate::evidence::protobuf::{MAX_NESTING, Scalar, Schema, Shape, Type};
use crate::evidence::recording::tap::within;

/// What filler and pseudonyms leave in the unused bits of the last digit does not matter.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Stands for what cannot be read, and cannot be read either: a tag that never ends.
pub(super) const NOTHING: u8 = 0xff;

/// One field of a message.
pub(super) struct Place {
    pub(super) number: u32,
    /// Where its bytes are; `None` for numbers.
    pub(super) at: Option<Range<usize>>,
    /// The number; 0 for bytes.
    pub(super) value: u64,
}

/// The fields of a message and how many bytes they take; what follows is no field.
pub(super) fn places(bytes: &[u8]) -> (Vec<Place>, usize) {
    let mut fields = Fields::new(bytes);
    let all = fields
        .by_ref()
        .map(|(number, value)| {
            let at = if let Value::Bytes(part) = value { Some(within(bytes, part)) } else { None };
            Place { number, at, value: value.number() }
        })
        .collect();
    (all, bytes.len() - fields.rest())
}

/// The fields that are bytes, after what is no field was overwritten.
fn parts(bytes: &mut [u8]) -> Vec<(u32, Range<usize>)> {
    let (fields, end) = places(bytes);
    bytes[end..].fill(NOTHING);
    fields.into_iter().filter_map(|f| Some((f.number, f.at?))).collect()
}

/// A field of a message that the descriptors do not hold (`envoy/service/discovery/v3/discovery.proto`,
/// `grpc/binlog/v1/binarylog.proto`).
pub(super) enum Part {
    /// Stays.
    Keep,
    /// A type URL.
    Url,
    /// A string under this key.
    Text(&'static str),
    /// A string, or a message with one as its first field: `removed_resources` and `control_plane` share a number.
    TextOrMessage(&'static str),
    /// A message of Envoy's API under this key, by its full name.
    Known(&'static str, &'static str),
    /// An element of `resources`.
    Resource,
    /// Another such message under this key, or where its own fields stand.
    Message(&'static str, &'static [(u32, Part)]),
}

const ENTRY_OF_STRINGS: &[(u32, Part)] = &[(1, Part::Text("name")), (2, Part::Text("version"))];

/// `google.rpc.Status`, whose details nobody reads.
const STATUS: &[(u32, Part)] = &[(2, Part::Text("message"))];

const NODE: &str = "envoy.config.core.v3.Node";

pub(super) const REQUEST: &[(u32, Part)] = &[
    (1, Part::Text("version_info")),
    (2, Part::Known("node", NODE)),
    (3, Part::Text("resource_names")),
    (4, Part::Url),
    (5, Part::Text("response_nonce")),
    (6, Part::Message("", STATUS)),
];

pub(super) const DELTA_REQUEST: &[(u32, Part)] = &[
    (1, Part::Known("node", NODE)),
    (2, Part::Url),
    (3, Part::Text("resource_names")),
    (4, Part::Text("resource_names")),
    (5, Part::Message("", ENTRY_OF_STRINGS)),
    (6, Part::Text("response_nonce")),
    (7, Part::Message("", STATUS)),
];

/// Both forms: what they do not share can be told apart.
pub(super) const RESPONSE: &[(u32, Part)] = &[
    (1, Part::Text("version_info")),
    (2, Part::Resource),
    (4, Part::Url),
    (5, Part::Text("nonce")),
    (6, Part::TextOrMessage("removed_resources")),
    (7, Part::TextOrMessage("control_plane")),
];

const PREFIX: &[u8] = b"type.googleapis.com/";

/// A `Resource` of the delta protocol.
const WRAPPED: &str = "envoy.service.discovery.v3.Resource";

/// Rewrites messages of one document.
pub(super) struct Wire<'a> {
    inner: Rewriter<'a>,
    schema: &'static Schema,
    nesting: u32,
}

impl<'a> Wire<'a> {
    pub(super) fn new(inner: Rewriter<'a>) -> Self {
        Self { inner, schema: Schema::get(), nesting: 0 }
    }

    /// A discovery request; the type URL has another number in each form. What is none is overwritten.
    pub(super) fn request(&mut self, bytes: &mut [u8]) {
        let fields = parts(bytes);
        let url = |n| fields.iter().any(|(m, at)| *m == n && bytes[at.clone()].starts_with(PREFIX));
        match (url(4), url(2)) {
            (true, _) => self.parts(REQUEST, bytes, 0),
            (false, true) => self.parts(DELTA_REQUEST, bytes, 0),
            (false, false) => bytes.fill(NOTHING),
        }
    }

    /// A discovery response of either form. What is none is overwritten.
    pub(super) fn response(&mut self, bytes: &mut [u8]) {
        self.parts(RESPONSE, bytes, 0);
    }

    /// A message by its parts; what is none of them is overwritten with equal filler.
    pub(super) fn parts(&mut self, known: &[(u32, Part)], bytes: &mut [u8], node: u32) {
        let fields = parts(bytes);
        for (number, at) in fields {
            let bytes = &mut bytes[at];
            match known.iter().find(|(n, _)| *n == number).map(|(_, part)| part) {
                Some(Part::Keep) => {}
                Some(Part::Url) if bytes.starts_with(PREFIX) => {}
                Some(Part::Text(key)) => self.text(key, bytes, node),
                Some(Part::TextOrMessage(key)) => {
                    let inner = matches!(bytes, [0x0a, len, rest @ ..] if usize::from(*len) == rest.len());
                    self.text(key, if inner { &mut bytes[2..] } else { bytes }, node);
                }
                Some(Part::Known(key, name)) => {
                    let node = self.inner.child(node, key);
                    self.typed(self.schema.by_name(name), bytes, node);
                }
                Some(Part::Resource) => {
                    let node = self.inner.child(node, "resources");
                    self.resource(bytes, node);
                }
                Some(Part::Message("", known)) => self.parts(known, bytes, node),
                Some(Part::Message(key, known)) => {
                    let node = self.inner.child(node, key);
                    self.parts(known, bytes, node);
                }
                Some(Part::Url) | None => self.opaque(bytes, node),
            }
        }
    }

    /// A string under `key`.
    fn text(&mut self, key: &str, bytes: &mut [u8], node: u32) {
        let node = self.inner.child(node, key);
        self.inner.value(bytes, node);
    }

    /// An `Any`, or the `Resource` of the delta protocol, alone or in an `Any`.
    fn resource(&mut self, bytes: &mut [u8], node: u32) {
        let fields = parts(bytes);
        if fields.iter().any(|(n, at)| *n == 1 && bytes[at.clone()].starts_with(PREFIX)) {
            return self.any(bytes, node);
        }
        for (number, at) in fields {
            let bytes = &mut bytes[at];
            match number {
                1 => self.text("version", bytes, 0),
                2 => self.any(bytes, node),
                3 | 4 => self.text("name", bytes, 0),
                6 | 7 => {}
                _ => self.opaque(bytes, node),
            }
        }
    }

    fn any(&mut self, bytes: &mut [u8], node: u32) {
        let fields = parts(bytes);
        let of = |n: u32| fields.iter().rfind(|(m, _)| *m == n).map(|(_, at)| at.clone());
        let url = of(1).map(|at| String::from_utf8_lossy(&bytes[at]).into_owned()).unwrap_or_default();
        let name = url.rsplit('/').next().unwrap_or("");
        for (number, at) in &fields {
            let bytes = &mut bytes[at.clone()];
            match (number, self.schema.by_name(name)) {
                (1, _) => {
                    let node = self.inner.child(node, "@type");
                    self.inner.value(bytes, node);
                }
                (2, _) if name == WRAPPED => self.resource(bytes, node),
                (2, ty @ Type::Message(_)) => self.typed(ty, bytes, node),
                (2, Type::Unknown | Type::Enum(_)) => self.opaque(bytes, node),
                (2, ty) => {
                    let node = self.inner.child(node, "value");
                    self.typed(ty, bytes, node);
                }
                _ => self.opaque(bytes, node),
            }
        }
    }

    /// What nobody can read: filler, equal for equal bytes.
    fn opaque(&mut self, bytes: &mut [u8], node: u32) {
        let node = self.inner.child(node, "_raw");
        self.bytes(bytes, node);
    }

    /// `bytes`, by way of the base64 that JSON has of them.
    fn bytes(&mut self, bytes: &mut [u8], node: u32) {
        let mut text = BASE64.encode(&*bytes).into_bytes();
        self.inner.value(&mut text, node);
        match BASE64.decode(&text) {
            Ok(done) if done.len() == bytes.len() => bytes.copy_from_slice(&done),
            _ => bytes.fill(NOTHING),
        }
    }

    fn message(&mut self, message: u32, bytes: &mut [u8], node: u32) {
        if self.nesting >= MAX_NESTING {
            return self.opaque(bytes, node);
        }
        self.nesting += 1;
        let message = self.schema.message(message);
        let fields = parts(bytes);
        for (number, at) in fields {
            let bytes = &mut bytes[at];
            match message.by_number(number).map(|i| &message.fields[i]) {
                None => self.opaque(bytes, node),
                Some(field) => {
                    let below = self.inner.child(node, &field.name);
                    match field.shape {
                        Shape::Map(_) => self.entry(Some(field.ty), bytes, below),
                        _ => self.typed(field.ty, bytes, below),
                    }
                }
            }
        }
        self.nesting -= 1;
    }

    /// An entry of a map; `None` for those of a `Struct`.
    fn entry(&mut self, ty: Option<Type>, bytes: &mut [u8], node: u32) {
        let fields = parts(bytes);
        let key = fields.iter().rfind(|(n, _)| *n == 1).map(|(_, at)| at.clone());
        let key = key.map(|at| String::from_utf8_lossy(&bytes[at]).into_owned()).unwrap_or_default();
        let below = self.inner.child(node, &key);
        for (number, at) in fields {
            match (number, ty) {
                (1, _) => self.inner.key(&mut bytes[at], node),
                (2, Some(ty)) => self.typed(ty, &mut bytes[at], below),
                (2, None) => self.structure_value(&mut bytes[at], below),
                _ => self.opaque(&mut bytes[at], node),
            }
        }
    }

    fn typed(&mut self, ty: Type, bytes: &mut [u8], node: u32) {
        match ty {
            Type::Scalar(Scalar::String) => self.inner.value(bytes, node),
            Type::Scalar(Scalar::Bytes) => self.bytes(bytes, node),
            // packed numbers, times, names of fields
            Type::Scalar(_) | Type::Enum(_) | Type::Duration | Type::Timestamp | Type::FieldMask => {}
            Type::Message(m) => self.message(m, bytes, node),
            Type::Any => self.any(bytes, node),
            Type::Wrapper(scalar) => {
                self.within(bytes, node, 1, &mut |wire, b, n| wire.typed(Type::Scalar(scalar), b, n))
            }
            Type::Struct => self.within(bytes, node, 1, &mut |wire, b, n| wire.entry(None, b, n)),
            Type::StructList => self.within(bytes, node, 1, &mut Self::structure_value),
            Type::StructValue => self.structure_value(bytes, node),
            Type::Unknown => self.opaque(bytes, node),
        }
    }

    /// The fields `number` of a message that has no others.
    fn within(&mut self, bytes: &mut [u8], node: u32, number: u32, each: &mut dyn FnMut(&mut Self, &mut [u8], u32)) {
        let fields = parts(bytes);
        for (n, at) in fields {
            if n == number {
                each(self, &mut bytes[at], node);
            } else {
                self.opaque(&mut bytes[at], node);
            }
        }
    }

    /// `google.protobuf.Value`.
    fn structure_value(&mut self, bytes: &mut [u8], node: u32) {
        if self.nesting >= MAX_NESTING {
            return self.opaque(bytes, node);
        }
        self.nesting += 1;
        let fields = parts(bytes);
        for (number, at) in fields {
            let ty = match number {
                3 => Type::Scalar(Scalar::String),
                5 => Type::Struct,
                6 => Type::StructList,
                _ => Type::Unknown,
            };
            self.typed(ty, &mut bytes[at], node);
        }
        self.nesting -= 1;
    }
}
