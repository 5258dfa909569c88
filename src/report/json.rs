//! The JSON contract: the report value as it is.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use super::words::is_hostile;

/// Pretty-printed JSON with a final newline. What could act on a terminal or reorder its text is written as `\\u` escapes,
/// also where JSON allows it raw (DEL, C1 controls, bidirectional overrides): the value is the same.
pub fn render<T: Serialize>(report: &T) -> String {
    text(report, PrettyFormatter::new())
}

/// [`render`] in one line.
pub(super) fn line<T: Serialize>(value: &T) -> String {
    text(value, CompactFormatter)
}

fn text<T: Serialize>(value: &T, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    // the report value holds strings, integers and lists only, so this cannot fail
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, Careful(formatter)));
    let mut text = String::from_utf8(bytes).unwrap_or_default();
    text.push('\n');
    text
}

struct Careful<F>(F);

impl<F: Formatter> Formatter for Careful<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut from = 0;
        for (i, c) in fragment.match_indices(is_hostile) {
            writer.write_all(&fragment.as_bytes()[from..i])?;
            // all of them are in the basic plane
            c.chars().try_for_each(|c| write!(writer, "\\u{:04x}", u32::from(c)))?;
            from = i + c.len();
        }
        writer.write_all(&fragment.as_bytes()[from..])
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.begin_array(w)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_array(w)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(w, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_array_value(w)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.begin_object(w)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_object(w)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(w, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.begin_object_value(w)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.end_object_value(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_means_the_same() {
        let name = "a\u{1b}[31m\u{7f}\u{9b}31m\u{202e}b é \"\\";
        let text = render(&[name]);
        assert_eq!(text, "[\n  \"a\\u001b[31m\\u007f\\u009b31m\\u202eb é \\\"\\\\\"\n]\n");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), [name]);
    }
}
