//! Finding the end of a JSON value without understanding it.

use wide::u8x16;

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

/// Bytes looked at in one step: a bit for each in a word.
const BLOCK: usize = 64;

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
        if self.depth > 0 {
            while let Some(block) = bytes[i..].first_chunk::<BLOCK>() {
                if let Some(n) = self.block(block) {
                    return Some(i + n);
                }
                i += BLOCK;
            }
        }
        self.bytewise(&bytes[i..]).map(|n| i + n)
    }

    /// The brackets that are counted. Only the value's own kind: in well-formed JSON the other kind nests inside it, and
    /// anything else is for the reader of the value to complain about.
    fn brackets(&self) -> (u8, u8) {
        if self.array { (b'[', b']') } else { (b'{', b'}') }
    }

    /// One block inside an object or array. Escapes are rare enough to be looked at one byte at a time.
    fn block(&mut self, block: &[u8; BLOCK]) -> Option<usize> {
        if self.escaped || bits(block, b'\\') != 0 {
            return self.bytewise(block);
        }
        // a bit is set from each opening quote up to the byte before its closing one
        let mut inside = bits(block, b'"');
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        if self.in_string {
            inside = !inside;
        }
        self.in_string = inside >> (BLOCK - 1) == 1;
        let (open, close) = self.brackets();
        let (open, close) = (bits(block, open), bits(block, close));
        // few blocks have any, and few have more than two
        let mut brackets = (open | close) & !inside;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            if open >> at & 1 == 1 {
                self.depth += 1;
            } else {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(at as usize + 1);
                }
            }
            brackets &= brackets - 1;
        }
        None
    }

    fn bytewise(&mut self, bytes: &[u8]) -> Option<usize> {
        let (open, close) = self.brackets();
        for (i, b) in bytes.iter().enumerate() {
            if self.in_string {
                match b {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
            } else if *b == b'"' {
                self.in_string = true;
            } else if *b == open {
                self.depth += 1;
            } else if *b == close {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(i + 1);
                }
            }
        }
        None
    }
}

/// A bit for each byte of `block` that is `wanted`, the first byte's the lowest.
fn bits(block: &[u8; BLOCK], wanted: u8) -> u64 {
    let wanted = u8x16::splat(wanted);
    block
        .as_chunks::<16>()
        .0
        .iter()
        .rev()
        .fold(0, |word, lanes| word << 16 | u64::from(u8x16::new(*lanes).simd_eq(wanted).to_bitmask()))
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

    proptest::proptest! {
        #[test]
        fn blocks_end_where_single_bytes_do(text in r#"[{\[][{}\[\]"\\a ]{0,400}"#) {
            let mut single = Skip::default();
            let expected = text.as_bytes().chunks(1).position(|b| single.feed(b).is_some()).map(|n| n + 1);
            proptest::prop_assert_eq!(value_end(text.as_bytes()), expected);
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
