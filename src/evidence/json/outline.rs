//! The outer level of one JSON object or array: its fields or elements as slices, without reading what is inside.
//!
//! For small documents read field by field, so that one that was cut still gives what was whole, and for telling what
//! a document is from its first keys.

use super::skip::{skip_space, value_end};

/// One field of an object, or one element of an array (its key is empty).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// The key as written, without quotes.
    pub(crate) key: &'a [u8],
    /// The value; up to the end of the bytes when it is not whole.
    pub(crate) value: &'a [u8],
    /// The value ends where `value` ends.
    pub(crate) whole: bool,
}

/// How the walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the closing brace or bracket; what follows begins at this offset.
    Closed(usize),
    /// The bytes end first.
    Early(usize),
    /// At this offset stands something that is no JSON.
    Broken(usize),
}

/// A walk over the fields of the object, or the elements of the array, at `bytes[0]`.
#[derive(Debug, Clone)]
pub(crate) struct Outline<'a> {
    bytes: &'a [u8],
    at: usize,
    array: bool,
    end: Option<End>,
}

impl<'a> Outline<'a> {
    /// `None` when `bytes` does not begin with `{` or `[`.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let array = match bytes.first()? {
            b'{' => false,
            b'[' => true,
            _ => return None,
        };
        Some(Self { bytes, at: 1, array, end: None })
    }

    /// How it ended; [`End::Early`] while the walk is not over.
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or(End::Early(self.bytes.len()))
    }

    fn stop(&mut self, end: End) -> Option<Item<'a>> {
        self.end = Some(end);
        None
    }

    fn space(&mut self) -> Option<u8> {
        self.at += skip_space(&self.bytes[self.at..]);
        self.bytes.get(self.at).copied()
    }
}

impl<'a> Iterator for Outline<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.end.is_some() {
            return None;
        }
        let mut byte = self.space();
        if byte == Some(b',') {
            self.at += 1;
            byte = self.space();
        }
        let mut key: &[u8] = b"";
        match byte {
            None => return self.stop(End::Early(self.at)),
            Some(b']') if self.array => return self.stop(End::Closed(self.at + 1)),
            Some(b'}') if !self.array => return self.stop(End::Closed(self.at + 1)),
            Some(b'"') if !self.array => {
                let Some(len) = value_end(&self.bytes[self.at..]) else { return self.stop(End::Early(self.at)) };
                key = &self.bytes[self.at + 1..self.at + len - 1];
                self.at += len;
                match self.space() {
                    Some(b':') => self.at += 1,
                    None => return self.stop(End::Early(self.at)),
                    Some(_) => return self.stop(End::Broken(self.at)),
                }
                match self.space() {
                    None => return self.stop(End::Early(self.at)),
                    Some(b',' | b'}' | b']' | b':') => return self.stop(End::Broken(self.at)),
                    Some(_) => {}
                }
            }
            Some(b'}' | b']' | b',' | b':') => return self.stop(End::Broken(self.at)),
            Some(_) if !self.array => return self.stop(End::Broken(self.at)),
            Some(_) => {}
        }
        let rest = &self.bytes[self.at..];
        let (value, whole) = match value_end(rest) {
            Some(len) => (&rest[..len], true),
            None => (rest, false),
        };
        self.at += value.len();
        if !whole {
            self.end = Some(End::Early(self.at));
        }
        Some(Item { key, value, whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> (Vec<(String, String, bool)>, End) {
        let mut walk = Outline::new(text.as_bytes()).unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let found = walk.by_ref().map(|i| (text(i.key), text(i.value), i.whole)).collect();
        (found, walk.end())
    }

    #[test]
    fn fields_and_ends() {
        let own = |k: &str, v: &str, w| (k.to_owned(), v.to_owned(), w);
        assert_eq!(
            keys(r#"{"a": 1, "b":{"c":[]} } x"#),
            (vec![own("a", "1", true), own("b", r#"{"c":[]}"#, true)], End::Closed(23))
        );
        assert_eq!(keys("[]"), (vec![], End::Closed(2)));
        assert_eq!(keys("[1,\"x\"]").0, [own("", "1", true), own("", "\"x\"", true)]);
        assert_eq!(
            keys(r#"{"a": "1", "b": 12"#),
            (vec![own("a", "\"1\"", true), own("b", "12", false)], End::Early(18))
        );
        assert_eq!(keys(r#"{"a": 1 b"#).1, End::Broken(8));
        assert_eq!(keys(r#"{"a": }"#).1, End::Broken(6));
        assert_eq!(keys("{'a': 1}").1, End::Broken(1));
        assert_eq!(keys("[1}").1, End::Broken(2));
    }
}
