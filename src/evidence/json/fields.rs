//! Bytes by field of one large message, in one pass.

use std::collections::HashMap;

use super::skip::{skip_space, value_end};

/// Levels of fields told apart.
const MAX_DEPTH: usize = 5;
/// Levels of fields and lists walked; deeper values are skipped, so hostile nesting costs no stack.
const MAX_NESTING: usize = 12;
/// Fields kept.
const MAX_FIELDS: usize = 16;

struct Path {
    name: String,
    bytes: u64,
}

/// Bytes of JSON, as written, by field path (`virtual_hosts[].routes[].match`), the largest first. Fields include what
/// is in them; list elements share one path. `text` is one JSON object. Gives what it got to when the text is broken.
pub(crate) fn sizes(text: &str) -> Vec<(String, u64)> {
    let mut walk = Walk { bytes: text.as_bytes(), at: 0, nesting: 0, paths: Vec::new(), children: HashMap::new() };
    walk.value(None, 0);
    let mut out: Vec<(String, u64)> = walk.paths.into_iter().map(|p| (p.name, p.bytes)).collect();
    out.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    out.truncate(MAX_FIELDS);
    out
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    nesting: usize,
    paths: Vec<Path>,
    children: HashMap<(Option<usize>, &'a [u8]), usize>,
}

impl<'a> Walk<'a> {
    fn peek(&mut self) -> Option<u8> {
        self.at += skip_space(&self.bytes[self.at..]);
        self.bytes.get(self.at).copied()
    }

    /// Walks one value under `path`. `None` when the text ends or is not JSON.
    fn value(&mut self, path: Option<usize>, depth: usize) -> Option<()> {
        self.nesting += 1;
        let walked = self.value_inside(path, depth);
        self.nesting -= 1;
        walked
    }

    fn value_inside(&mut self, path: Option<usize>, depth: usize) -> Option<()> {
        let walk = depth < MAX_DEPTH && self.nesting <= MAX_NESTING;
        match self.peek()? {
            b'{' if walk => self.object(path, depth),
            b'[' if walk => {
                self.at += 1;
                let path = path.map(|p| self.child(Some(p), b"[]"));
                loop {
                    match self.peek()? {
                        b']' => break,
                        b',' => self.at += 1,
                        _ => {
                            let from = self.at;
                            // elements are as deep as their list: a list is a field, not a level
                            self.value(path, depth)?;
                            if let Some(p) = path {
                                self.paths[p].bytes += (self.at - from) as u64;
                            }
                        }
                    }
                }
                self.at += 1;
                Some(())
            }
            _ => {
                self.at += value_end(&self.bytes[self.at..]).unwrap_or(self.bytes.len() - self.at);
                Some(())
            }
        }
    }

    fn object(&mut self, path: Option<usize>, depth: usize) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                b'"' => {
                    let from = self.at;
                    let len = value_end(&self.bytes[self.at..])?;
                    let key = &self.bytes[self.at + 1..self.at + len - 1];
                    self.at += len;
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    let child = self.child(path, key);
                    self.value(Some(child), depth + 1)?;
                    self.paths[child].bytes += (self.at - from) as u64;
                }
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn child(&mut self, parent: Option<usize>, key: &'a [u8]) -> usize {
        if let Some(i) = self.children.get(&(parent, key)) {
            return *i;
        }
        let key_text = String::from_utf8_lossy(key);
        let name = match parent.map(|p| &self.paths[p].name) {
            None => key_text.into_owned(),
            Some(p) if key == b"[]" => format!("{p}[]"),
            Some(p) => format!("{p}.{key_text}"),
        };
        self.paths.push(Path { name, bytes: 0 });
        let i = self.paths.len() - 1;
        self.children.insert((parent, key), i);
        i
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_path() {
        let text = r#"{"a":[{"b":"xx"},{"b":"yyyy"}],"c":1}"#;
        let got = sizes(text);
        let get = |p: &str| got.iter().find(|(n, _)| n == p).map(|(_, b)| *b);
        assert_eq!(get("a"), Some(r#""a":[{"b":"xx"},{"b":"yyyy"}]"#.len() as u64));
        assert_eq!(get("a[].b"), Some((r#""b":"xx""#.len() + r#""b":"yyyy""#.len()) as u64));
        assert_eq!(get("c"), Some(5));
        assert_eq!(got[0].0, "a");
    }

    #[test]
    fn broken_text_ends_quietly() {
        for text in ["{", "{\"a\"", "{\"a\":[", "[}", "{\"a\":1]", "\"x"] {
            let _ = sizes(text);
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        assert_eq!(sizes(&format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)))[0].0, "a");
    }
}
