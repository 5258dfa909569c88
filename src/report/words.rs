//! How numbers and names look in text.

use std::borrow::Cow;

use crate::findings::bpf::group;
use crate::model::size::size;

/// Controls (C1 too), bidirectional overrides and line separators: none of them belongs in a name.
pub(super) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A name from the input, safe for a terminal: control characters, bidirectional overrides and line separators are
/// written as escapes.
pub fn clean(name: &str) -> Cow<'_, str> {
    if !name.contains(is_hostile) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_hostile(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// [`clean`], cut in the middle to `width` characters.
pub(super) fn fit(name: &str, width: usize) -> String {
    let name = clean(name);
    let n = name.chars().count();
    if n <= width || width < 5 {
        return name.into_owned();
    }
    let head = (width - 1) * 2 / 3;
    let tail = width - 1 - head;
    let start: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(n - tail).collect();
    format!("{start}…{end}")
}

/// `text` with lines of at most `width` characters, those after the first with `indent` spaces in front.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for (i, word) in text.split(' ').enumerate() {
        let len = word.chars().count();
        if column > indent && column + 1 + len > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if i > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}

/// A difference in bytes: `+1.2Mi`, `-3.0Ki`, `0`.
pub(super) fn signed(bytes: i64) -> String {
    let sign = if bytes > 0 {
        "+"
    } else if bytes < 0 {
        "-"
    } else {
        ""
    };
    format!("{sign}{}", size(bytes.unsigned_abs()))
}

/// `1 proxy`, `17 proxies`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// Connections that are closed: from at least to at most.
pub(super) fn cut(least: u64, most: u64) -> String {
    match (least, most) {
        _ if least == most => group(most),
        (0, _) => format!("<={}", group(most)),
        _ => format!("{}..{}", group(least), group(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped() {
        assert_eq!(wrap("aa bb cc dd", 5, 2), "aa bb\n  cc\n  dd");
        assert_eq!(wrap("    aa bb", 20, 4), "    aa bb");
        assert_eq!(wrap("longer-than-the-line", 5, 2), "longer-than-the-line");
    }

    #[test]
    fn hostile_names() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
        assert_eq!(clean("plain|80||x"), "plain|80||x");
        assert_eq!(fit("abcdefghij", 7), "abcd…ij");
    }
}
