//! Where one object begins and ends in an export, without reading what is in it.
//!
//! JSON is cut by the structural scan of [`super::super::json::skip`]. YAML is cut by lines: `kubectl` writes block
//! style, where an item of a list begins with a dash at the list's own indentation and nothing inside an item, block
//! scalars included, may stand that far left. So objects are read one at a time and in parallel, and a broken one costs
//! itself only.

use crate::evidence::json::outline::{End, Outline};
use crate::evidence::json::skip::{skip_space, value_end};

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON.
    Json,
    /// YAML; `dash` is the place of the list's dash in the text, to be read as a space.
    Yaml { dash: Option<usize> },
}

/// What a watch said about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// `ADDED` or `MODIFIED`.
    Set,
    /// `DELETED`.
    Deleted,
    /// `ERROR`.
    Error,
}

/// One object of an export.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    /// Offset in the document, in bytes.
    pub(super) offset: usize,
    /// Line in the document, from 1.
    pub(super) line: u64,
    /// As written.
    pub(super) text: &'a str,
    pub(super) form: Form,
    /// `apiVersion` and `kind` of the list around it (`PodList` → `Pod`); empty when there are none.
    pub(super) api: &'a str,
    pub(super) kind: &'a str,
    pub(super) event: Option<Event>,
    /// Its end is there.
    pub(super) whole: bool,
}

/// What was cut.
#[derive(Debug, Default)]
pub(super) struct Cut<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// Breaks in the structure: offset, line, what.
    pub(super) breaks: Vec<(usize, u64, String)>,
}

/// Cuts `text`, which has neither BOM nor invalid UTF-8.
pub(super) fn cut(text: &str) -> Cut<'_> {
    let mut c = Cutter { text, out: Cut::default(), lines: Lines { text, at: 0, line: 1 } };
    let start = skip_space(text.as_bytes());
    let json = matches!(text.as_bytes().get(start), Some(b'{' | b'[')) || json_behind_chatter(text);
    if json {
        c.json(start, text.len())
    } else {
        c.yaml()
    }
    c.out
}

/// The first line that is structure is JSON: what stands before it is the chatter of a tool.
fn json_behind_chatter(text: &str) -> bool {
    for line in text.lines().take(200) {
        match line.as_bytes() {
            [b'{' | b'[', ..] => return true,
            [b'-', b'-', b'-', ..] => return false,
            _ if ["apiVersion:", "kind:", "items:", "metadata:", "- apiVersion:", "object:"]
                .iter()
                .any(|k| line.starts_with(k)) =>
            {
                return false;
            }
            _ => {}
        }
    }
    false
}

/// Line numbers of offsets that only grow.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl Lines<'_> {
    fn of(&mut self, offset: usize) -> u64 {
        if offset < self.at {
            (self.at, self.line) = (0, 1);
        }
        self.line += memchr::memchr_iter(b'\n', &self.text.as_bytes()[self.at..offset]).count() as u64;
        self.at = offset;
        self.line
    }
}

struct Cutter<'a> {
    text: &'a str,
    out: Cut<'a>,
    lines: Lines<'a>,
}

fn unquoted(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    text.strip_prefix('"')?.strip_suffix('"')
}

fn event_of(word: &str) -> Option<Option<Event>> {
    Some(match word {
        "ADDED" | "MODIFIED" => Some(Event::Set),
        "DELETED" => Some(Event::Deleted),
        "ERROR" => Some(Event::Error),
        "BOOKMARK" => None,
        _ => return None,
    })
}

impl<'a> Cutter<'a> {
    fn place(&mut self, part: &str) -> (usize, u64) {
        let offset = part.as_ptr() as usize - self.text.as_ptr() as usize;
        (offset, self.lines.of(offset))
    }

    fn broken(&mut self, at: usize, what: impl Into<String>) {
        let line = self.lines.of(at.min(self.text.len()));
        self.out.breaks.push((at, line, what.into()));
    }

    /// JSON documents one after the other, with lines of logs between them (`kubectl cluster-info dump`).
    fn json(&mut self, from: usize, to: usize) {
        let bytes = &self.text.as_bytes()[..to];
        let mut at = from;
        let mut in_log = false;
        loop {
            at += skip_space(&bytes[at..]);
            match bytes.get(at) {
                None => return,
                Some(b'{' | b'[') if !in_log => {
                    let end = value_end(&bytes[at..]);
                    self.json_document(&self.text[at..end.map_or(to, |e| at + e)], end.is_some());
                    match end {
                        Some(e) => at += e,
                        None => return,
                    }
                }
                Some(_) => {
                    let end = memchr::memchr(b'\n', &bytes[at..]).map_or(to, |n| at + n);
                    let line = &bytes[at..end];
                    if line.starts_with(b"==== START logs") {
                        in_log = true;
                    } else if line.starts_with(b"==== END logs") {
                        in_log = false;
                    }
                    at = end;
                }
            }
        }
    }

    fn json_document(&mut self, text: &'a str, whole: bool) {
        if text.starts_with('[') {
            return self.json_items(text, "", "");
        }
        let (mut api, mut kind, mut items, mut object, mut stamped, mut type_word) = ("", "", None, None, None, None);
        let mut no_list = None;
        let mut walk = Outline::new(text.as_bytes()).into_iter().flatten();
        for field in walk.by_ref() {
            let value = &text[field.value.as_ptr() as usize - text.as_ptr() as usize..][..field.value.len()];
            match field.key {
                b"apiVersion" => api = unquoted(field.value).unwrap_or(""),
                b"kind" => kind = unquoted(field.value).unwrap_or(""),
                b"type" => type_word = unquoted(field.value),
                b"items" if value.starts_with('[') => items = Some(value),
                b"items" if value != "null" => no_list = Some(value),
                b"object" if value.starts_with('{') => object = Some((value, field.whole)),
                b"e" if value.starts_with('{') => stamped = Some((value, field.whole)),
                _ => {}
            }
        }
        if let Some(items) = items {
            return self.json_items(items, api, kind.strip_suffix("List").unwrap_or(""));
        }
        if let Some(value) = no_list.filter(|_| kind.ends_with("List")) {
            let (at, _) = self.place(value);
            return self.broken(at, format!("the items of the {kind} are no list"));
        }
        if let Some((value, whole)) = stamped {
            return self.json_document(value, whole);
        }
        if let (Some((value, whole)), Some(event)) = (object, type_word.and_then(event_of)) {
            if event.is_some() {
                self.piece(value, Form::Json, ("", ""), event, whole);
            }
            return;
        }
        self.piece(text, Form::Json, ("", ""), None, whole);
    }

    fn json_items(&mut self, text: &'a str, api: &'a str, kind: &'a str) {
        let Some(mut walk) = Outline::new(text.as_bytes()) else { return };
        let mut last_whole = true;
        for item in walk.by_ref() {
            let value = &text[item.value.as_ptr() as usize - text.as_ptr() as usize..][..item.value.len()];
            last_whole = item.whole;
            self.piece(value, Form::Json, (api, kind), None, item.whole);
        }
        let (start, _) = self.place(text);
        match walk.end() {
            End::Closed(_) => {}
            // the piece that was cut says so itself
            End::Early(at) if last_whole => self.broken(start + at, "the list ends early"),
            End::Early(_) => {}
            End::Broken(at) => self.broken(start + at, "not JSON from here on: the rest of the list is lost"),
        }
    }

    fn piece(&mut self, text: &'a str, form: Form, list: (&'a str, &'a str), event: Option<Event>, whole: bool) {
        let (offset, line) = self.place(text);
        self.out.pieces.push(Piece { offset, line, text, form, api: list.0, kind: list.1, event, whole });
    }

    /// YAML documents, separated by `---` or by beginning again with the key that the one before began with.
    fn yaml(&mut self) {
        let mut first_key: Option<&str> = None;
        let (mut from, mut at) = (0, 0);
        while at < self.text.len() {
            let end = memchr::memchr(b'\n', &self.text.as_bytes()[at..]).map_or(self.text.len(), |n| at + n + 1);
            let line = &self.text[at..end];
            let separator = line.trim_end() == "---" || line.starts_with("--- ") || line.trim_end() == "...";
            let key = top_key(line);
            if separator {
                self.yaml_document(&self.text[from..at]);
                (from, first_key) = (end, None);
            } else if key.is_some() && first_key == key {
                self.yaml_document(&self.text[from..at]);
                from = at;
            } else if first_key.is_none() {
                first_key = key;
            }
            at = end;
        }
        self.yaml_document(&self.text[from..]);
    }

    fn yaml_document(&mut self, text: &'a str) {
        let start = skip_space(text.as_bytes());
        let (from, _) = self.place(text);
        if matches!(text.as_bytes().get(start), Some(b'{' | b'[')) {
            return self.json(from + start, from + text.len());
        }
        let (mut api, mut kind, mut items, mut object, mut type_word, mut any) = ("", "", None, None, None, false);
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if let Some(key) = top_key(line) {
                any = true;
                let value = line[key.len() + 1..].trim().trim_matches(['"', '\'']);
                match key {
                    "apiVersion" => api = value,
                    "kind" => kind = value,
                    "type" => type_word = Some(value),
                    "items" => items = Some((at + line.len(), value)),
                    "object" => object = Some(at + line.len()),
                    _ => {}
                }
            } else if line.starts_with("- ") && !any {
                // a list without anything around it
                return self.yaml_items(&text[at..], "", "");
            }
            at += line.len();
        }
        if !any {
            return;
        }
        match (items, object, type_word.and_then(event_of)) {
            (Some((at, "")), ..) => {
                self.yaml_items(&text[at..], api, kind.strip_suffix("List").unwrap_or(""));
                if kind.is_empty() {
                    // `kubectl` writes it behind the items
                    self.broken(from + text.len(), "the list has no `kind`, so its end may be missing");
                }
            }
            (Some((_, "[]")), ..) => {}
            (Some((at, _)), ..) => {
                self.broken(from + at, "items in flow style are not read: take the export again with `-o json`");
            }
            (None, Some(at), Some(event)) => {
                let body = &text[at..];
                let end = block_end(body);
                if event.is_some() {
                    self.piece(&body[..end], Form::Yaml { dash: None }, ("", ""), event, true);
                }
            }
            _ => self.piece(text, Form::Yaml { dash: None }, ("", ""), None, true),
        }
    }

    fn yaml_items(&mut self, text: &'a str, api: &'a str, kind: &'a str) {
        let mut indent: Option<usize> = None;
        let mut item: Option<usize> = None;
        let (mut at, mut end) = (0, text.len());
        for line in text.split_inclusive('\n') {
            let spaces = line.len() - line.trim_start_matches(' ').len();
            let rest = &line[spaces..];
            let blank = rest.trim().is_empty() || rest.starts_with('#');
            let dash = rest.starts_with("- ") || rest.trim_end() == "-";
            let level = *indent.get_or_insert(if dash { spaces } else { usize::MAX });
            if level == usize::MAX && !blank {
                let (from, _) = self.place(text);
                return self.broken(from + at, "expected the `- ` of a list item");
            }
            if level == usize::MAX {
                indent = None;
            } else if dash && spaces == level {
                if let Some(from) = item {
                    self.yaml_item(&text[from..at], level, api, kind);
                }
                item = Some(at);
            } else if !blank && spaces <= level {
                end = at;
                break;
            }
            at += line.len();
        }
        if let Some(from) = item {
            self.yaml_item(&text[from..end], indent.unwrap_or(0), api, kind);
        }
    }

    fn yaml_item(&mut self, text: &'a str, dash: usize, api: &'a str, kind: &'a str) {
        self.piece(text, Form::Yaml { dash: Some(dash) }, (api, kind), None, true);
    }
}

/// The key of a line that is not indented, as in `kind: List`.
fn top_key(line: &str) -> Option<&str> {
    if !line.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let (key, rest) = line.split_once(':')?;
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    (plain && (rest.is_empty() || rest.starts_with([' ', '\n', '\r']))).then_some(key)
}

/// Where the indented block at the start of `text` ends.
fn block_end(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if top_key(line).is_some() {
            return at;
        }
        at += line.len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(u64, String, String)> {
        let cut = cut(text);
        assert!(cut.breaks.is_empty(), "{:?}", cut.breaks);
        cut.pieces.iter().map(|p| (p.line, p.kind.to_owned(), p.text.trim().to_owned())).collect()
    }

    #[test]
    fn lists_of_both_forms() {
        let json =
            "{\n\"kind\":\"PodList\",\"items\":[{\"a\":1},\n{\"b\":2}],\"apiVersion\":\"v1\"}\n{\"kind\":\"Pod\"}";
        let own = |l: u64, k: &str, t: &str| (l, k.to_owned(), t.to_owned());
        assert_eq!(
            pieces(json),
            [own(2, "Pod", "{\"a\":1}"), own(3, "Pod", "{\"b\":2}"), own(4, "", "{\"kind\":\"Pod\"}")]
        );
        let yaml = "apiVersion: v1\nitems:\n- a: 1\n  b:\n  - c\n\n- d: |\n    - no\n    kind: no\nkind: ServiceList\nmetadata:\n  x: ''\n";
        assert_eq!(
            pieces(yaml),
            [own(3, "Service", "- a: 1\n  b:\n  - c"), own(7, "Service", "- d: |\n    - no\n    kind: no")]
        );
        let indented = "kind: List\nitems:\n  - a: 1\n    b: 2\n  - c: 3\n";
        assert_eq!(pieces(indented), [own(3, "", "- a: 1\n    b: 2"), own(5, "", "- c: 3")]);
        assert_eq!(pieces("- a: 1\n- b: 2\n"), [own(1, "", "- a: 1"), own(2, "", "- b: 2")]);
        assert_eq!(pieces("apiVersion: v1\nitems: []\nkind: List\n"), []);
    }

    #[test]
    fn documents_and_watches() {
        let own = |l: u64, t: &str| (l, String::new(), t.to_owned());
        assert_eq!(pieces("kind: A\n---\n# c\n---\nkind: B\n"), [own(1, "kind: A"), own(5, "kind: B")]);
        assert_eq!(pieces("kind: A\nb: 1\nkind: B\n"), [own(1, "kind: A\nb: 1"), own(3, "kind: B")]);
        assert_eq!(
            pieces("object:\n  kind: A\ntype: ADDED\n---\n{\"kind\":\"B\"}\n"),
            [own(2, "kind: A"), own(5, "{\"kind\":\"B\"}")]
        );
        let watch = "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"t\":1.5,\"e\":{\"type\":\"DELETED\",\"object\":{\"b\":1}}}\n";
        let cut = cut(watch);
        assert_eq!(cut.pieces.iter().map(|p| p.event).collect::<Vec<_>>(), [Some(Event::Set), Some(Event::Deleted)]);
    }

    #[test]
    fn logs_between_documents() {
        let dump = "{\"kind\":\"A\"}\n==== START logs for container x ====\n{\"kind\":\"log\"}\n==== END logs for container x ====\n{\"kind\":\"B\"}\n";
        assert_eq!(pieces(dump).len(), 2);
    }

    #[test]
    fn early_ends() {
        let list = cut("{\"items\":[{\"a\":1},{\"b\":");
        assert_eq!(list.pieces.iter().map(|p| p.whole).collect::<Vec<_>>(), [true, false]);
        let broken = cut("{\"items\":[{\"a\":1} }]}");
        assert_eq!((broken.pieces.len(), broken.breaks.len()), (1, 1));
    }
}
