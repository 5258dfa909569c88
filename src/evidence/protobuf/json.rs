//! Messages in wire form, written as JSON: keys in `snake_case`, enums by name, everything else as protobuf's own JSON
//! has it, so that one reader serves both forms.
//!
//! What the descriptors do not know is kept by its bytes: a message of unknown type as `{"@type": …, "_raw": base64}`,
//! a field of unknown number under `_NUMBER`.

use std::fmt::Write;

use super::wire::{Fields, Value, varint};
use super::{Field, MAX_NESTING, Scalar, Schema, Shape, Type};

/// The message `type_name` (full name) in `bytes` as a JSON object, with its `@type` in front.
pub(crate) fn of(type_name: &str, bytes: &[u8]) -> String {
    let mut out = Writer { schema: Schema::get(), out: String::with_capacity(bytes.len() * 2), nesting: 0 };
    out.any(type_name, bytes);
    out.out
}

struct Writer {
    schema: &'static Schema,
    out: String,
    nesting: u32,
}

/// The JSON string of `text`.
fn quoted(out: &mut String, text: &str) {
    // writing a string cannot fail
    let _ = serde_json::to_string(text).map(|q| out.push_str(&q));
}

fn base64(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push('"');
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * i) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out.push('"');
}

fn utf8(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Writer {
    fn any(&mut self, type_name: &str, bytes: &[u8]) {
        self.out.push_str("{\"@type\":");
        quoted(&mut self.out, &format!("type.googleapis.com/{type_name}"));
        match self.schema.by_name(type_name) {
            Type::Message(m) if self.nesting < MAX_NESTING => self.fields(m, bytes, true),
            Type::Unknown | Type::Enum(_) | Type::Message(_) => {
                if !bytes.is_empty() {
                    self.out.push_str(",\"_raw\":");
                    base64(&mut self.out, bytes);
                }
            }
            ty => {
                self.out.push_str(",\"value\":");
                self.value(ty, Value::Bytes(bytes), false);
            }
        }
        self.out.push('}');
    }

    /// The fields of a message; `more` when something already stands in the object.
    fn fields(&mut self, message: u32, bytes: &[u8], mut more: bool) {
        let schema = self.schema;
        let message = schema.message(message);
        // fields may come in any order and in pieces: they are put together by number
        let mut found: Vec<(usize, u32, Value<'_>)> = Fields::new(bytes)
            .map(|(number, value)| (message.by_number(number).unwrap_or(usize::MAX), number, value))
            .collect();
        if !found.is_sorted_by_key(|f| (f.0, f.1)) {
            found.sort_by_key(|f| (f.0, f.1));
        }
        self.nesting += 1;
        for same in found.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            if more {
                self.out.push(',');
            }
            more = true;
            let (index, number, last) = same[same.len() - 1];
            let Some(field) = message.fields.get(index) else {
                let _ = write!(self.out, "\"_{number}\":");
                match last {
                    Value::Bytes(b) => base64(&mut self.out, b),
                    v => {
                        let _ = write!(self.out, "\"{}\"", v.number());
                    }
                }
                continue;
            };
            quoted(&mut self.out, &field.name);
            self.out.push(':');
            match field.shape {
                Shape::Repeated => self.list(field, same),
                Shape::Map(key) => self.map(field, key, same),
                Shape::Plain | Shape::Presence => {
                    let pieces = same.iter().filter(|f| matches!(f.2, Value::Bytes(_))).count();
                    if pieces > 1 && !matches!(field.ty, Type::Scalar(_) | Type::Enum(_)) {
                        // a message in pieces is their merge, which is what their bytes in a row mean
                        let merged: Vec<u8> = same.iter().flat_map(|f| f.2.bytes()).copied().collect();
                        self.value(field.ty, Value::Bytes(&merged), field.wide);
                    } else {
                        self.value(field.ty, last, field.wide);
                    }
                }
            }
        }
        self.nesting -= 1;
    }

    fn list(&mut self, field: &Field, same: &[(usize, u32, Value<'_>)]) {
        self.out.push('[');
        let mut first = true;
        let mut comma = |out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
        };
        for (_, _, value) in same {
            match (packed(field.ty), value) {
                (Some(width), Value::Bytes(bytes)) => {
                    let mut rest = *bytes;
                    while let Some((v, n)) = width.read(rest) {
                        comma(&mut self.out);
                        self.value(field.ty, v, field.wide);
                        rest = &rest[n..];
                    }
                }
                (_, v) => {
                    comma(&mut self.out);
                    self.value(field.ty, *v, field.wide);
                }
            }
        }
        self.out.push(']');
    }

    fn map(&mut self, field: &Field, key_type: Scalar, same: &[(usize, u32, Value<'_>)]) {
        self.out.push('{');
        for (i, (_, _, entry)) in same.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            let (mut key, mut value) = (None, None);
            for (number, v) in Fields::new(entry.bytes()) {
                match number {
                    1 => key = Some(v),
                    2 => value = Some(v),
                    _ => {}
                }
            }
            match (key_type, key) {
                (Scalar::String, k) => quoted(&mut self.out, &utf8(k.map_or(&[], Value::bytes))),
                (Scalar::Bool, k) => {
                    let _ = write!(self.out, "\"{}\"", k.is_some_and(|k| k.number() != 0));
                }
                (s, k) => {
                    let mut text = String::new();
                    number(&mut text, s, k.unwrap_or(Value::Varint(0)));
                    let _ = write!(self.out, "\"{text}\"");
                }
            }
            self.out.push(':');
            let absent = match field.ty {
                Type::Scalar(Scalar::Bool) | Type::Enum(_) => Value::Varint(0),
                Type::Scalar(s) if !matches!(s, Scalar::String | Scalar::Bytes) => Value::Varint(0),
                _ => Value::Bytes(&[]),
            };
            self.value(field.ty, value.unwrap_or(absent), field.wide);
        }
        self.out.push('}');
    }

    fn value(&mut self, ty: Type, value: Value<'_>, wide: bool) {
        let bytes = value.bytes();
        match ty {
            Type::Scalar(s) => self.scalar(s, value, wide),
            Type::Enum(e) => {
                let n = value.number() as i32;
                match self.schema.enumeration(e).values.iter().find(|(_, v)| *v == n) {
                    Some((name, _)) => quoted(&mut self.out, name),
                    None => {
                        let _ = write!(self.out, "{n}");
                    }
                }
            }
            Type::Message(m) if self.nesting < MAX_NESTING => {
                self.out.push('{');
                self.fields(m, bytes, false);
                self.out.push('}');
            }
            Type::Any => {
                let (mut type_url, mut inside) = ("", &[][..]);
                for (number, v) in Fields::new(bytes) {
                    match number {
                        1 => type_url = std::str::from_utf8(v.bytes()).unwrap_or(""),
                        2 => inside = v.bytes(),
                        _ => {}
                    }
                }
                if type_url.is_empty() && inside.is_empty() {
                    self.out.push_str("{}");
                } else {
                    self.any(type_url.rsplit('/').next().unwrap_or(""), inside);
                }
            }
            Type::Duration | Type::Timestamp => {
                let (mut seconds, mut nanos) = (0_i64, 0_i32);
                for (number, v) in Fields::new(bytes) {
                    match number {
                        1 => seconds = v.number() as i64,
                        2 => nanos = v.number() as i32,
                        _ => {}
                    }
                }
                self.time(ty, seconds, nanos);
            }
            Type::Wrapper(s) => {
                let inside = Fields::new(bytes).filter(|(n, _)| *n == 1).last().map(|(_, v)| v);
                let absent =
                    if matches!(s, Scalar::String | Scalar::Bytes) { Value::Bytes(&[]) } else { Value::Varint(0) };
                self.scalar(s, inside.unwrap_or(absent), false);
            }
            Type::Struct => self.structure(bytes),
            Type::StructValue => self.structure_value(bytes),
            Type::StructList => self.structure_list(bytes),
            Type::FieldMask => {
                let paths: Vec<_> = Fields::new(bytes).filter(|(n, _)| *n == 1).map(|(_, v)| utf8(v.bytes())).collect();
                quoted(&mut self.out, &paths.join(","));
            }
            Type::Message(_) | Type::Unknown => {
                self.out.push_str("{\"_raw\":");
                base64(&mut self.out, bytes);
                self.out.push('}');
            }
        }
    }

    fn time(&mut self, ty: Type, seconds: i64, nanos: i32) {
        if ty == Type::Timestamp
            && let Ok(t) = jiff::Timestamp::new(seconds, nanos)
        {
            let _ = write!(self.out, "\"{t}\"");
            return;
        }
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        let _ = write!(self.out, "\"{sign}{}", seconds.unsigned_abs());
        if nanos != 0 {
            let digits = format!("{:09}", nanos.unsigned_abs());
            let _ = write!(self.out, ".{}", digits.trim_end_matches('0'));
        }
        self.out.push_str("s\"");
    }

    fn scalar(&mut self, scalar: Scalar, value: Value<'_>, wide: bool) {
        match scalar {
            Scalar::String => quoted(&mut self.out, &utf8(value.bytes())),
            Scalar::Bytes => base64(&mut self.out, value.bytes()),
            Scalar::Bool => self.out.push_str(if value.number() != 0 { "true" } else { "false" }),
            _ if wide => {
                self.out.push('"');
                number(&mut self.out, scalar, value);
                self.out.push('"');
            }
            _ => number(&mut self.out, scalar, value),
        }
    }

    fn structure(&mut self, bytes: &[u8]) {
        self.out.push('{');
        let mut more = false;
        for (_, entry) in Fields::new(bytes).filter(|(n, _)| *n == 1) {
            let (mut key, mut value) = (&[][..], &[][..]);
            for (number, v) in Fields::new(entry.bytes()) {
                match number {
                    1 => key = v.bytes(),
                    2 => value = v.bytes(),
                    _ => {}
                }
            }
            if std::mem::replace(&mut more, true) {
                self.out.push(',');
            }
            quoted(&mut self.out, &utf8(key));
            self.out.push(':');
            self.structure_value(value);
        }
        self.out.push('}');
    }

    fn structure_list(&mut self, bytes: &[u8]) {
        self.out.push('[');
        for (i, (_, v)) in Fields::new(bytes).filter(|(n, _)| *n == 1).enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.structure_value(v.bytes());
        }
        self.out.push(']');
    }

    /// `google.protobuf.Value`.
    fn structure_value(&mut self, bytes: &[u8]) {
        self.nesting += 1;
        match Fields::new(bytes).last() {
            _ if self.nesting > MAX_NESTING => base64(&mut self.out, bytes),
            Some((2, v)) => number(&mut self.out, Scalar::Double, v),
            Some((3, v)) => quoted(&mut self.out, &utf8(v.bytes())),
            Some((4, v)) => self.out.push_str(if v.number() != 0 { "true" } else { "false" }),
            Some((5, v)) => self.structure(v.bytes()),
            Some((6, v)) => self.structure_list(v.bytes()),
            _ => self.out.push_str("null"),
        }
        self.nesting -= 1;
    }
}

fn number(out: &mut String, scalar: Scalar, value: Value<'_>) {
    let bits = value.number();
    let _ = match scalar {
        Scalar::Unsigned | Scalar::Fixed => write!(out, "{bits}"),
        Scalar::SignedFixed => match value {
            Value::Fixed32(v) => write!(out, "{}", v as i32),
            _ => write!(out, "{}", bits as i64),
        },
        Scalar::ZigZag => write!(out, "{}", (bits >> 1) as i64 ^ -((bits & 1) as i64)),
        Scalar::Float => float(out, f64::from(f32::from_bits(bits as u32)), f32::from_bits(bits as u32).to_string()),
        Scalar::Double => float(out, f64::from_bits(bits), f64::from_bits(bits).to_string()),
        Scalar::Signed | Scalar::Bool | Scalar::String | Scalar::Bytes => write!(out, "{}", bits as i64),
    };
}

fn float(out: &mut String, value: f64, text: String) -> std::fmt::Result {
    if value.is_finite() {
        out.push_str(&text);
    } else {
        let name = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        write!(out, "\"{name}\"")?;
    }
    Ok(())
}

/// How wide the elements of a packed list are.
enum Width {
    Varint,
    Four,
    Eight,
}

impl Width {
    fn read(&self, bytes: &[u8]) -> Option<(Value<'static>, usize)> {
        Some(match self {
            Self::Varint => {
                let (v, n) = varint(bytes)?;
                (Value::Varint(v), n)
            }
            Self::Four => (Value::Fixed32(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)), 4),
            Self::Eight => (Value::Fixed64(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)), 8),
        })
    }
}

/// Only numbers are packed. The 32-bit fixed types are told apart by nothing here, since Envoy's API has none repeated.
fn packed(ty: Type) -> Option<Width> {
    Some(match ty {
        Type::Enum(_) | Type::Scalar(Scalar::Bool | Scalar::Signed | Scalar::Unsigned | Scalar::ZigZag) => {
            Width::Varint
        }
        Type::Scalar(Scalar::Float | Scalar::Fixed | Scalar::SignedFixed) => Width::Four,
        Type::Scalar(Scalar::Double) => Width::Eight,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_all_lengths() {
        for (bytes, text) in [(&b""[..], "\"\""), (b"f", "\"Zg==\""), (b"fo", "\"Zm8=\""), (b"foo", "\"Zm9v\"")] {
            let mut out = String::new();
            base64(&mut out, bytes);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn unknown_types_and_fields_are_kept_by_their_bytes() {
        assert_eq!(of("x.Y", b"ab"), r#"{"@type":"type.googleapis.com/x.Y","_raw":"YWI="}"#);
        // name "a", then a field nobody knows
        let bytes = [0x0a, 1, b'a', 0xf8, 0xff, 0x03, 5];
        assert_eq!(
            of("envoy.config.cluster.v3.Cluster", &[&[0x0a, 1, b'b'][..], &bytes].concat()),
            r#"{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"a","_8191":"5"}"#
        );
    }

    #[test]
    fn hostile_nesting_ends() {
        // a Struct in a Value in a Struct …
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..3000 {
            let mut value = vec![0x2a];
            prefix(&mut value, &bytes);
            let mut entry = vec![0x12];
            prefix(&mut entry, &value);
            bytes = vec![0x0a];
            prefix(&mut bytes, &entry);
        }
        assert!(of("google.protobuf.Struct", &bytes).len() < 100_000);
    }

    fn prefix(out: &mut Vec<u8>, bytes: &[u8]) {
        let mut n = bytes.len();
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out.extend_from_slice(bytes);
    }
}
