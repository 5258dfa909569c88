//! Finding the end of a JSON value without understanding it.

/// A resumable search for the end of one JSON value. Feed it the bytes from the value's first byte on, in pieces.
///
/// Only braces, brackets and quotes are looked at; scalars end at a delimiter. It never recurses, so nesting depth
/// costs nothing, and it accepts more than JSON: what it delimits is validated when it is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skip {
    depth: u64,
    in_string: bool,
    escaped: bool,
    started: bool,
    scalar: bool,
    array: bool,
}

impl Skip {
    /// Scans `bytes`; `Some(n)` when the value ends after `n` of them, `None` when all were consumed without an end.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut i = 0;
        if !self.started {
            match bytes.first()? {
                b @ (b'{' | b'[') => {
                    self.depth = 1;
                    self.array = *b == b'[';
                }
                b'"' => self.in_string = true,
                _ => self.scalar = true,
            }
            self.started = true;
            i = 1;
        }
        if self.scalar {
            return bytes[i..]
                .iter()
                .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
                .map(|n| i + n);
        }
        loop {
            if self.in_string {
                if self.escaped {
                    if i >= bytes.len() {
                        return None;
                    }
                    self.escaped = false;
                    i += 1;
                }
                match memchr::memchr2(b'"', b'\\', &bytes[i..]) {
                    None => return None,
                    Some(n) if bytes[i + n] == b'\\' => {
                        self.escaped = true;
                        i += n + 1;
                        continue;
                    }
                    Some(n) => {
                        i += n + 1;
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(i);
                        }
                    }
                }
            }
            // Only the value's own kind of bracket is counted: in well-formed JSON the other kind nests inside it, and
            // anything else is for the reader of the value to complain about.
            let (open, close) = if self.array { (b'[', b']') } else { (b'{', b'}') };
            while let Some(n) = memchr::memchr3(b'"', open, close, &bytes[i..]) {
                let byte = bytes[i + n];
                i += n + 1;
                if byte == b'"' {
                    self.in_string = true;
                    break;
                }
                if byte == open {
                    self.depth += 1;
                    continue;
                }
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(i);
                }
            }
            if !self.in_string {
                return None;
            }
        }
    }
}

/// End of the value that starts at `bytes[0]`, or `None` when it does not end in `bytes`.
/// A scalar that runs to the end of `bytes` counts as unfinished.
pub(crate) fn value_end(bytes: &[u8]) -> Option<usize> {
    Skip::default().feed(bytes)
}

/// Index of the first byte that is not JSON whitespace.
pub(crate) fn skip_space(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_values() {
        for (text, end) in [
            (r#"{"a":"}\"]"} ,"#, Some(12)),
            ("[1,[2]]x", Some(7)),
            (r#""a\\" "#, Some(5)),
            ("12,", Some(2)),
            ("12", None),
            ("{", None),
            (r#""a\"#, None),
        ] {
            assert_eq!(value_end(text.as_bytes()), end, "{text}");
        }
    }

    #[test]
    fn any_split_gives_the_same_end() {
        let text = br#"{"a":["x\"{","\\"],"b":{"c":[{}]}} tail"#;
        let whole = value_end(text).unwrap();
        for cut in 0..whole {
            let mut s = Skip::default();
            let got = match s.feed(&text[..cut]) {
                Some(_) => panic!("ended early at {cut}"),
                None => s.feed(&text[cut..]).map(|n| n + cut),
            };
            assert_eq!(got, Some(whole), "cut at {cut}");
        }
    }
}
