//! The wire format: tags, varints, lengths. Nothing is allocated on the word of a length.

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// `int32`, `uint64`, `bool`, `enum` …
    Varint(u64),
    /// `fixed64`, `double`.
    Fixed64(u64),
    /// `fixed32`, `float`.
    Fixed32(u32),
    /// `string`, `bytes`, messages, packed lists.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes, empty for another wire type.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(b) => b,
            _ => &[],
        }
    }

    /// The number, 0 for bytes.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Varint(v) | Self::Fixed64(v) => v,
            Self::Fixed32(v) => u64::from(v),
            Self::Bytes(_) => 0,
        }
    }
}

/// A varint at the front of `bytes`: its value and length. `None` when it does not end, or is longer than ten bytes.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, b) in bytes.iter().take(10).enumerate() {
        value |= u64::from(b & 0x7f) << (7 * i).min(63);
        if b & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// The fields of a message in their order; ends early at the first thing that is no field.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Fields<'a> {
    /// Over the message in `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, broken: false }
    }

    /// Whether all bytes were fields, once the walk is over.
    pub(crate) fn whole(&self) -> bool {
        !self.broken
    }

    /// How many bytes are left; after the walk, those that are no field.
    pub(crate) fn rest(&self) -> usize {
        self.rest.len()
    }

    fn read(&mut self) -> Option<(u32, Value<'a>)> {
        let (tag, n) = varint(self.rest)?;
        let rest = &self.rest[n..];
        let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0)?;
        let (value, used) = match tag & 7 {
            0 => {
                let (v, n) = varint(rest)?;
                (Value::Varint(v), n)
            }
            1 => (Value::Fixed64(u64::from_le_bytes(rest.get(..8)?.try_into().ok()?)), 8),
            2 => {
                let (len, n) = varint(rest)?;
                let end = n.checked_add(usize::try_from(len).ok()?)?;
                (Value::Bytes(rest.get(n..end)?), end)
            }
            5 => (Value::Fixed32(u32::from_le_bytes(rest.get(..4)?.try_into().ok()?)), 4),
            _ => return None,
        };
        self.rest = &rest[used..];
        Some((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.broken {
            return None;
        }
        let field = self.read();
        self.broken = field.is_none();
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_message() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0];
        let all: Vec<_> = Fields::new(&bytes).collect();
        assert_eq!(all, [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed32(1))]);
    }

    #[test]
    fn hostile_lengths() {
        // a length of 2^60, a tag that never ends, field number 0, a group
        for bytes in [
            &[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 1][..],
            &[0xff; 12],
            &[0x00, 1],
            &[0x0b],
            &[0x12, 5, 1],
        ] {
            assert_eq!(Fields::new(bytes).next(), None);
        }
    }
}
