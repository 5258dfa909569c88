//! Envoy's API as a table of messages and fields: what tells two spellings of one resource from two resources, and
//! what turns the wire form into JSON.
//!
//! The descriptors (`envoy_api.binpb.gz`) come from the PyPI package `xds-protos` (Apache-2.0);
//! `scripts/envoy_descriptors.py` rebuilds the file.

pub(crate) mod json;
pub(crate) mod wire;

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use foldhash::fast::FixedState;

use super::json::tally::key_hash;
use wire::{Fields, Value};

/// Messages deeper than this are kept by their bytes.
pub(super) const MAX_NESTING: u32 = 96;

/// The descriptors as a `google.protobuf.FileDescriptorSet`.
pub fn descriptors() -> Vec<u8> {
    let mut raw = Vec::new();
    // the bytes are part of this binary, so they inflate
    let _ = flate2::read::MultiGzDecoder::new(&include_bytes!("envoy_api.binpb.gz")[..]).read_to_end(&mut raw);
    raw
}

/// A type without fields of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    /// Signed integers, plain varints of 32 and 64 bits.
    Signed,
    /// `sint32`, `sint64`.
    ZigZag,
    Unsigned,
    /// `fixed32`, `fixed64`.
    Fixed,
    /// `sfixed32`, `sfixed64`.
    SignedFixed,
    Float,
    Double,
    String,
    Bytes,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// Not known to the descriptors.
    Unknown,
    Scalar(Scalar),
    /// Index into the enums.
    Enum(u32),
    /// Index into the messages.
    Message(u32),
    Any,
    Duration,
    Timestamp,
    /// `BoolValue` and the like: bare scalars in JSON, but present or absent.
    Wrapper(Scalar),
    Struct,
    StructValue,
    StructList,
    FieldMask,
}

/// How often it may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Once; the default of a plain scalar is the same as its absence.
    Plain,
    /// Once, and whether it is there matters (messages, `optional`, members of a oneof).
    Presence,
    /// A list.
    Repeated,
    /// A map; the type is that of its values, the scalar that of its keys.
    Map(Scalar),
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    /// [`key_hash`] of the name, the same for both spellings.
    pub(crate) key: u64,
    pub(crate) ty: Type,
    pub(crate) shape: Shape,
    /// Its integers have 64 bits, which JSON writes as strings.
    pub(crate) wide: bool,
}

/// One message.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
    by_key: HashMap<u64, u16, FixedState>,
    by_number: HashMap<u32, u16, FixedState>,
}

impl Message {
    /// The field of that key, by [`key_hash`].
    pub(crate) fn by_key(&self, key: u64) -> Option<&Field> {
        self.by_key.get(&key).map(|i| &self.fields[usize::from(*i)])
    }

    /// The index of the field of that number.
    pub(crate) fn by_number(&self, number: u32) -> Option<usize> {
        self.by_number.get(&number).map(|i| usize::from(*i))
    }
}

/// One enum: names and numbers.
#[derive(Debug, Default)]
pub(crate) struct Enum {
    pub(crate) values: Vec<(Box<str>, i32)>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    by_name: HashMap<String, Type, FixedState>,
}

impl Schema {
    /// The schema in this binary, read once.
    pub(crate) fn get() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Self::read(&descriptors()))
    }

    /// The type of that full name.
    pub(crate) fn by_name(&self, name: &str) -> Type {
        self.by_name.get(name).copied().unwrap_or(Type::Unknown)
    }

    pub(crate) fn message(&self, index: u32) -> &Message {
        &self.messages[index as usize]
    }

    pub(crate) fn enumeration(&self, index: u32) -> &Enum {
        &self.enums[index as usize]
    }

    /// Reads a `FileDescriptorSet` (`descriptor.proto`).
    fn read(bytes: &[u8]) -> Self {
        let mut out = Self::default();
        let mut found: Vec<(u32, Found<'_>)> = Vec::new();
        for (_, file) in Fields::new(bytes).filter(|(n, _)| *n == 1) {
            let mut package = "";
            for (number, value) in Fields::new(file.bytes()) {
                match number {
                    2 => package = text(value),
                    4 => out.declare_message(package, value.bytes(), &mut found),
                    5 => out.declare_enum(package, value.bytes()),
                    _ => {}
                }
            }
        }
        let entries: HashMap<&str, &Found<'_>> =
            found.iter().filter(|(_, f)| f.map_entry).map(|(_, f)| (&*f.name, f)).collect();
        for (index, message) in &found {
            let fields = message.fields.iter().map(|f| out.field(f, &entries)).collect();
            let m = &mut out.messages[*index as usize];
            m.fields = fields;
            for (i, f) in m.fields.iter().enumerate() {
                m.by_key.insert(f.key, i as u16);
                m.by_number.insert(message.fields[i].number, i as u16);
            }
        }
        out
    }

    fn declare_message<'a>(&mut self, scope: &str, bytes: &'a [u8], found: &mut Vec<(u32, Found<'a>)>) {
        let mut message = Found::default();
        let mut nested = Vec::new();
        for (number, value) in Fields::new(bytes) {
            match number {
                1 => message.name = format!("{scope}.{}", text(value)),
                2 => message.fields.push(RawField::read(value.bytes())),
                3 | 4 => nested.push((number, value.bytes())),
                7 => message.map_entry = Fields::new(value.bytes()).any(|(n, v)| n == 7 && v.number() == 1),
                _ => {}
            }
        }
        for (number, bytes) in nested {
            match number {
                3 => self.declare_message(&message.name, bytes, found),
                _ => self.declare_enum(&message.name, bytes),
            }
        }
        let index = self.messages.len() as u32;
        let ty = well_known(&message.name).unwrap_or(Type::Message(index));
        self.by_name.insert(message.name.clone(), ty);
        self.messages.push(Message::default());
        found.push((index, message));
    }

    fn declare_enum(&mut self, scope: &str, bytes: &[u8]) {
        let mut name = String::new();
        let mut out = Enum::default();
        for (number, value) in Fields::new(bytes) {
            match number {
                1 => name = format!("{scope}.{}", text(value)),
                2 => {
                    let (mut label, mut n) = ("", 0);
                    for (number, value) in Fields::new(value.bytes()) {
                        match number {
                            1 => label = text(value),
                            2 => n = value.number() as i32,
                            _ => {}
                        }
                    }
                    out.values.push((label.into(), n));
                }
                _ => {}
            }
        }
        self.by_name.insert(name, Type::Enum(self.enums.len() as u32));
        self.enums.push(out);
    }

    fn field(&self, f: &RawField<'_>, entries: &HashMap<&str, &Found<'_>>) -> Field {
        let type_name = f.type_name.trim_start_matches('.');
        let mut wide = matches!(f.kind, 3 | 4 | 6 | 16 | 18);
        let (ty, shape) = match entries.get(type_name) {
            Some(entry) if f.repeated => {
                let of = |number| entry.fields.iter().find(|e| e.number == number);
                wide = of(2).is_some_and(|v| matches!(v.kind, 3 | 4 | 6 | 16 | 18));
                let key = match of(1).map(|k| self.type_of(k)) {
                    Some(Type::Scalar(s)) => s,
                    _ => Scalar::String,
                };
                (of(2).map_or(Type::Unknown, |v| self.type_of(v)), Shape::Map(key))
            }
            _ => {
                let ty = self.type_of(f);
                let shape = if f.repeated {
                    Shape::Repeated
                } else if f.presence || !matches!(ty, Type::Scalar(_) | Type::Enum(_)) {
                    Shape::Presence
                } else {
                    Shape::Plain
                };
                (ty, shape)
            }
        };
        Field { name: f.name.into(), key: key_hash(f.name.as_bytes()), ty, shape, wide }
    }

    fn type_of(&self, f: &RawField<'_>) -> Type {
        Type::Scalar(match f.kind {
            1 => Scalar::Double,
            2 => Scalar::Float,
            3 | 5 => Scalar::Signed,
            4 | 13 => Scalar::Unsigned,
            6 | 7 => Scalar::Fixed,
            8 => Scalar::Bool,
            9 => Scalar::String,
            12 => Scalar::Bytes,
            15 | 16 => Scalar::SignedFixed,
            17 | 18 => Scalar::ZigZag,
            _ => return self.by_name(f.type_name.trim_start_matches('.')),
        })
    }
}

#[derive(Default)]
struct Found<'a> {
    name: String,
    fields: Vec<RawField<'a>>,
    map_entry: bool,
}

/// `FieldDescriptorProto`, as far as it is needed.
#[derive(Default)]
struct RawField<'a> {
    name: &'a str,
    number: u32,
    kind: u64,
    type_name: &'a str,
    repeated: bool,
    presence: bool,
}

impl<'a> RawField<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut out = Self::default();
        for (number, value) in Fields::new(bytes) {
            match number {
                1 => out.name = text(value),
                3 => out.number = value.number() as u32,
                4 => out.repeated = value.number() == 3,
                5 => out.kind = value.number(),
                6 => out.type_name = text(value),
                // a member of a oneof, `optional` included
                9 => out.presence = true,
                _ => {}
            }
        }
        out
    }
}

fn text(value: Value<'_>) -> &str {
    std::str::from_utf8(value.bytes()).unwrap_or("")
}

/// Types that JSON writes in their own way.
fn well_known(name: &str) -> Option<Type> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Any" => Type::Any,
        "Duration" => Type::Duration,
        "Timestamp" => Type::Timestamp,
        "Struct" => Type::Struct,
        "Value" => Type::StructValue,
        "ListValue" => Type::StructList,
        "FieldMask" => Type::FieldMask,
        "BoolValue" => Type::Wrapper(Scalar::Bool),
        "Int32Value" | "Int64Value" => Type::Wrapper(Scalar::Signed),
        "UInt32Value" | "UInt64Value" => Type::Wrapper(Scalar::Unsigned),
        "FloatValue" => Type::Wrapper(Scalar::Float),
        "DoubleValue" => Type::Wrapper(Scalar::Double),
        "StringValue" => Type::Wrapper(Scalar::String),
        "BytesValue" => Type::Wrapper(Scalar::Bytes),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_listener() {
        let schema = Schema::get();
        let Type::Message(listener) = schema.by_name("envoy.config.listener.v3.Listener") else { panic!() };
        let listener = schema.message(listener);
        let field = |name: &str| listener.by_key(key_hash(name.as_bytes())).unwrap();
        assert_eq!((field("name").ty, field("name").shape), (Type::Scalar(Scalar::String), Shape::Plain));
        assert_eq!(field("filterChains").shape, Shape::Repeated);
        assert_eq!(field("enable_reuse_port").ty, Type::Wrapper(Scalar::Bool));
        assert!(matches!(field("traffic_direction").ty, Type::Enum(_)));
        let Type::Message(cluster) = schema.by_name("envoy.config.cluster.v3.Cluster") else { panic!() };
        let options = schema.message(cluster).by_key(key_hash(b"typed_extension_protocol_options")).unwrap();
        assert_eq!((options.ty, options.shape), (Type::Any, Shape::Map(Scalar::String)));
    }
}
