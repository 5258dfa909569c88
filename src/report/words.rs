//! How numbers and names look in text.

use std::borrow::Cow;

/// Bytes with a binary unit as Kubernetes writes it, three digits at most: `512`, `3.1Ki`, `404Mi`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["Ki", "Mi", "Gi", "Ti"];
    if bytes < 1024 {
        return bytes.to_string();
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 999.5 && unit < 3 {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1}{}", UNITS[unit]) } else { format!("{value:.0}{}", UNITS[unit]) }
}

/// A name from the input, safe for a terminal: control characters, bidirectional overrides and line separators are
/// written as escapes.
pub fn clean(name: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !name.contains(bad) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if bad(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
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

/// `1 proxy`, `17 proxies`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (n, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0Ki"),
            (10 << 10, "10Ki"),
            (1023 << 10, "1.0Mi"),
            (404 << 20, "404Mi"),
            (5 << 30, "5.0Gi"),
        ] {
            assert_eq!(size(n), text);
        }
    }

    #[test]
    fn hostile_names() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}"), "a\\u{1b}[31mb\\u{202e}");
        assert_eq!(clean("plain|80||x"), "plain|80||x");
        assert_eq!(fit("abcdefghij", 7), "abcd…ij");
    }
}
