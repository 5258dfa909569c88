//! Cuts a config dump into whole resources without building a DOM, from a slice or from a stream in pieces.
//!
//! A small stack machine walks the outer levels only (document, `configs`, section, list). What stands in a list is
//! delimited and handed on as one piece; what is of no interest is skipped without being held. Nesting depth inside a
//! piece costs nothing. The machine is lenient: it stops only where it cannot tell where it is, and says at which byte.

use std::ops::Range;

use super::shape::{Class, ElementKind, ListField, list_field, peek, section_name, unquoted};
use crate::evidence::config_dump::shape::bare_type;
use crate::evidence::json::skip::{Skip, skip_space, value_end};

/// Levels of unknown objects and arrays that are searched for something known.
const SEARCH_DEPTH: u8 = 8;
/// Levels walked at all: those searched, `configs` once or twice on the way, and a section with its lists.
const MAX_LEVELS: usize = 32;

/// A piece cut out of the buffer at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: ElementKind,
    /// Index into [`Cutter::sections`], or `None` outside sections.
    pub(crate) section: Option<u32>,
    /// Which document of the input, from 0.
    pub(crate) document: u32,
    /// Where in the buffer.
    pub(crate) range: Range<usize>,
    /// Offset in the whole input.
    pub(crate) offset_bytes: u64,
    /// Line in the whole input, from 1.
    pub(crate) line: u64,
}

/// A section of a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) document: u32,
    /// Full type, when one was written.
    pub(crate) type_name: Option<Box<str>>,
    /// `version_info`.
    pub(crate) version: Box<str>,
    pub(crate) offset_bytes: u64,
    pub(crate) line: u64,
    /// Length; 0 while it is open.
    pub(crate) len_bytes: u64,
    /// List fields it has, in order of appearance.
    pub(crate) fields: Vec<ListField>,
    /// Where in the cluster of names it stood (`namespace/pod` for `egctl`), empty for a plain dump.
    pub(crate) path: Box<str>,
}

impl Section {
    /// The section is one of Envoy's own, or says nothing about its type.
    pub(crate) fn known(&self) -> bool {
        self.type_name.as_deref().is_none_or(|t| section_name(t).is_some())
    }
}

/// An object with a type this build does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) type_name: Box<str>,
    pub(crate) offset_bytes: u64,
    pub(crate) line: u64,
    pub(crate) len_bytes: u64,
}

/// Something the machine had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// Text before the first document, which begins after so many bytes.
    LeadingText { bytes: u64 },
    /// Text, and no document in it.
    NoDocument,
    /// Bytes after a document that are not JSON.
    TrailingText { offset_bytes: u64 },
    /// A piece longer than the limit was skipped.
    TooLong { offset_bytes: u64, line: u64, len_bytes: u64 },
    /// An element of a list that is not an object.
    NotAnObject { offset_bytes: u64, line: u64 },
    /// The document cannot be followed from here on.
    Broken { offset_bytes: u64, line: u64, expected: &'static str },
    /// The document ends in the middle.
    EndsEarly { offset_bytes: u64, line: u64, inside: &'static str },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Unknown container at this depth.
    Search(u8),
    /// The value of `configs`.
    Configs,
    /// An object of a section.
    Section(u32),
    /// An array of entries.
    List(ListField, u32),
}

#[derive(Debug)]
struct Frame {
    array: bool,
    role: Role,
    /// Length of [`Cutter::path`] before this frame's key was added.
    path_len: usize,
    start: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// Between documents.
    Document,
    /// A value, in a frame.
    Value,
    /// A key or the end of an object.
    KeyOrEnd,
    /// An element or the end of an array.
    ElementOrEnd,
    /// `,` or the end.
    CommaOrEnd,
}

#[derive(Debug)]
enum Mode {
    Walk,
    Skipping { skip: Skip, start: u64, line: u64, why: Why },
    Taking { skip: Skip, kind: ElementKind, scanned: usize },
}

#[derive(Debug)]
enum Why {
    Unwanted,
    Stranger(Box<str>),
    TooLong,
}

/// The machine. Feed it with [`Cutter::run`].
#[derive(Debug)]
pub(crate) struct Cutter {
    stack: Vec<Frame>,
    expect: Expect,
    mode: Mode,
    key: Vec<u8>,
    path: String,
    documents: u32,
    /// Something that is no document was met before the first one.
    text_seen: bool,
    /// Offset of the buffer's first byte in the input.
    base: u64,
    /// Bytes whose newlines are counted in `line`.
    counted: u64,
    line: u64,
    max_piece_bytes: usize,
    stopped: bool,
    pub(crate) sections: Vec<Section>,
    pub(crate) strangers: Vec<Stranger>,
    pub(crate) remarks: Vec<Remark>,
}

enum Step {
    More,
    Next,
    Stop,
}

impl Cutter {
    /// A machine at the start of an input; pieces longer than `max_piece_bytes` are skipped with a remark.
    pub(crate) fn new(max_piece_bytes: usize) -> Self {
        Self {
            stack: Vec::new(),
            expect: Expect::Document,
            mode: Mode::Walk,
            key: Vec::new(),
            path: String::new(),
            documents: 0,
            text_seen: false,
            base: 0,
            counted: 0,
            line: 1,
            max_piece_bytes,
            stopped: false,
            sections: Vec::new(),
            strangers: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Documents begun so far.
    pub(crate) fn documents(&self) -> u32 {
        self.documents
    }

    /// Walks `buf`, whose first byte follows what was consumed before, and appends the pieces that are whole in it,
    /// about `batch_bytes` of them at most. Returns how many bytes are done with: the caller keeps the rest and comes
    /// back with it, and with more behind it when no piece was found. `complete` says that `buf` ends the input.
    pub(crate) fn run(&mut self, buf: &[u8], complete: bool, batch_bytes: usize, pieces: &mut Vec<Piece>) -> usize {
        let mut at = 0;
        while !self.stopped {
            if let (Some(first), Some(last)) = (pieces.first(), pieces.last())
                && last.range.end - first.range.start >= batch_bytes
            {
                break;
            }
            let step = match &self.mode {
                Mode::Walk => self.walk(buf, &mut at, complete),
                Mode::Skipping { .. } => self.skip_on(buf, &mut at),
                Mode::Taking { .. } => self.take_on(buf, &mut at, pieces),
            };
            match step {
                Step::Next => {}
                Step::More => {
                    if complete {
                        self.end_of_input(buf, at);
                    }
                    break;
                }
                Step::Stop => self.stopped = true,
            }
        }
        if self.stopped {
            at = buf.len();
        }
        self.line_at(buf, at);
        self.base += at as u64;
        at
    }

    /// Nothing more will be read, whatever comes.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    fn line_at(&mut self, buf: &[u8], at: usize) -> u64 {
        let from = (self.counted - self.base) as usize;
        if at > from {
            self.line += memchr::memchr_iter(b'\n', &buf[from..at]).count() as u64;
            self.counted = self.base + at as u64;
        }
        self.line
    }

    fn end_of_input(&mut self, buf: &[u8], at: usize) {
        let line = self.line_at(buf, at);
        let offset_bytes = self.base + at as u64;
        let inside = match &self.mode {
            Mode::Taking { .. } => "a resource",
            Mode::Skipping { .. } => "a value",
            Mode::Walk if self.stack.is_empty() => {
                if self.text_seen && self.documents == 0 {
                    self.remarks.push(Remark::NoDocument);
                }
                self.stopped = true;
                return;
            }
            Mode::Walk => match self.stack.last().map(|f| f.role) {
                Some(Role::List(..)) => "a list of resources",
                Some(Role::Section(_)) => "a section",
                _ => "the document",
            },
        };
        self.remarks.push(Remark::EndsEarly { offset_bytes, line, inside });
        self.stopped = true;
    }

    fn walk(&mut self, buf: &[u8], at: &mut usize, complete: bool) -> Step {
        *at += skip_space(&buf[*at..]);
        let Some(&byte) = buf.get(*at) else { return Step::More };
        match self.expect {
            Expect::Document => self.next_document(buf, at, complete),
            Expect::Value => self.value(buf, at, complete),
            Expect::ElementOrEnd if byte == b']' => self.close(buf, at),
            Expect::ElementOrEnd => {
                self.key.clear();
                self.value(buf, at, complete)
            }
            Expect::KeyOrEnd if byte == b'}' => self.close(buf, at),
            Expect::KeyOrEnd if byte == b'"' => {
                let Some(len) = value_end(&buf[*at..]) else { return self.too_long_or_more(buf, *at) };
                let after = *at + len;
                let colon = after + skip_space(&buf[after..]);
                match buf.get(colon) {
                    None => Step::More,
                    Some(b':') => {
                        self.key.clear();
                        self.key.extend_from_slice(unquoted(&buf[*at..after]));
                        *at = colon + 1;
                        self.expect = Expect::Value;
                        Step::Next
                    }
                    Some(_) => self.broken(buf, colon, "`:` after a key"),
                }
            }
            Expect::KeyOrEnd => self.broken(buf, *at, "a key in quotes or `}`"),
            Expect::CommaOrEnd => {
                let array = self.stack.last().is_some_and(|f| f.array);
                match (byte, array) {
                    (b',', _) => {
                        *at += 1;
                        // a comma before the end is an error in JSON, but nothing is lost by reading on
                        self.expect = if array { Expect::ElementOrEnd } else { Expect::KeyOrEnd };
                        Step::Next
                    }
                    (b']', true) | (b'}', false) => self.close(buf, at),
                    (_, true) => self.broken(buf, *at, "`,` or `]`"),
                    (_, false) => self.broken(buf, *at, "`,` or `}`"),
                }
            }
        }
    }

    fn too_long_or_more(&mut self, buf: &[u8], at: usize) -> Step {
        if buf.len() - at > self.max_piece_bytes {
            self.broken(buf, at, "a key of sensible length")
        } else {
            Step::More
        }
    }

    fn broken(&mut self, buf: &[u8], at: usize, expected: &'static str) -> Step {
        let line = self.line_at(buf, at);
        self.remarks.push(Remark::Broken { offset_bytes: self.base + at as u64, line, expected });
        Step::Stop
    }

    /// Looks for `{"` or `[{` (or their empty forms) at the start of a line, so that log lines in front do no harm.
    fn next_document(&mut self, buf: &[u8], at: &mut usize, complete: bool) -> Step {
        let mut i = *at;
        loop {
            let Some(n) = memchr::memchr2(b'{', b'[', &buf[i..]) else {
                self.text(*at, buf.len());
                *at = buf.len();
                return Step::More;
            };
            i += n;
            let next = i + 1 + skip_space(&buf[i + 1..]);
            match (buf[i], buf.get(next)) {
                (_, None) if !complete => {
                    self.text(*at, i);
                    *at = i;
                    return Step::More;
                }
                (b'{', Some(b'"' | b'}') | None) | (b'[', Some(b'{' | b']' | b'[') | None) => break,
                _ => i += 1,
            }
        }
        self.text(*at, i);
        *at = i;
        if self.text_seen && self.documents == 0 {
            self.remarks.push(Remark::LeadingText { bytes: self.base + i as u64 });
        }
        self.documents += 1;
        self.key.clear();
        self.path.clear();
        self.expect = Expect::Value;
        Step::Next
    }

    fn text(&mut self, from: usize, to: usize) {
        if to <= from {
            return;
        }
        if self.documents == 0 {
            self.text_seen = true;
        } else if !matches!(self.remarks.last(), Some(Remark::TrailingText { .. })) {
            self.remarks.push(Remark::TrailingText { offset_bytes: self.base + from as u64 });
        }
    }

    fn role(&self) -> Role {
        self.stack.last().map_or(Role::Search(0), |f| f.role)
    }

    fn document(&self) -> u32 {
        self.documents.saturating_sub(1)
    }

    fn push(&mut self, array: bool, role: Role, at: &mut usize) -> Step {
        let path_len = self.path.len();
        if matches!(self.role(), Role::Search(_)) && !self.key.is_empty() && self.key != b"configs" {
            if !self.path.is_empty() {
                self.path.push('/');
            }
            self.path.push_str(&String::from_utf8_lossy(&self.key));
        }
        self.stack.push(Frame { array, role, path_len, start: self.base + *at as u64 });
        *at += 1;
        self.expect = if array { Expect::ElementOrEnd } else { Expect::KeyOrEnd };
        Step::Next
    }

    fn close(&mut self, _buf: &[u8], at: &mut usize) -> Step {
        *at += 1;
        if let Some(frame) = self.stack.pop() {
            self.path.truncate(frame.path_len);
            if let Role::Section(i) = frame.role {
                self.sections[i as usize].len_bytes = self.base + *at as u64 - frame.start;
            }
        }
        self.after_value();
        Step::Next
    }

    fn after_value(&mut self) {
        self.expect = if self.stack.is_empty() { Expect::Document } else { Expect::CommaOrEnd };
    }

    fn value(&mut self, buf: &[u8], at: &mut usize, complete: bool) -> Step {
        let byte = buf[*at];
        let role = self.role();
        match (role, byte) {
            // each level is looked into from its start, so the number of levels must not grow with the input
            (_, b'{' | b'[') if self.stack.len() >= MAX_LEVELS => self.skip(buf, *at, Why::Unwanted),
            (Role::List(field, _), b'{') => self.take(ElementKind::Entry(field)),
            (Role::List(..), _) => {
                let line = self.line_at(buf, *at);
                self.remarks.push(Remark::NotAnObject { offset_bytes: self.base + *at as u64, line });
                self.skip(buf, *at, Why::Unwanted)
            }
            (Role::Section(i), b'[') => match list_field(&self.key) {
                Some(field) => {
                    self.sections[i as usize].fields.push(field);
                    self.push(true, Role::List(field, i), at)
                }
                None => self.skip(buf, *at, Why::Unwanted),
            },
            (Role::Section(_), b'{') if self.key == b"bootstrap" => self.take(ElementKind::Bootstrap),
            (Role::Section(i), b'"')
                if self.key == b"@type" || self.key == b"version_info" || self.key == b"versionInfo" =>
            {
                let Some(len) = value_end(&buf[*at..]) else { return self.too_long_or_more(buf, *at) };
                let text = String::from_utf8_lossy(unquoted(&buf[*at..*at + len]));
                let section = &mut self.sections[i as usize];
                if self.key == b"@type" {
                    section.type_name = Some(bare_type(&text).into());
                } else {
                    section.version = text.into();
                }
                *at += len;
                self.after_value();
                Step::Next
            }
            (Role::Section(_), _) => self.skip(buf, *at, Why::Unwanted),
            (Role::Search(_), b'[' | b'{') if self.key == b"configs" && !self.in_array() => {
                self.push(byte == b'[', Role::Configs, at)
            }
            (Role::Search(_) | Role::Configs, b'{') => match peek(&buf[*at..], complete) {
                Class::NeedMore => Step::More,
                Class::Section(type_name) => {
                    let line = self.line_at(buf, *at);
                    self.sections.push(Section {
                        document: self.document(),
                        type_name,
                        offset_bytes: self.base + *at as u64,
                        line,
                        path: self.section_path(),
                        ..Section::default()
                    });
                    let i = self.sections.len() as u32 - 1;
                    self.push(false, Role::Section(i), at)
                }
                Class::Element(kind) => self.take(kind),
                Class::OtherType(t) if role == Role::Configs => self.skip(buf, *at, Why::Stranger(t)),
                Class::Foreign => self.skip(buf, *at, Why::Unwanted),
                Class::OtherType(_) | Class::Unknown => match self.deeper() {
                    Some(role) => self.push(false, role, at),
                    None => self.skip(buf, *at, Why::Unwanted),
                },
            },
            (Role::Search(_) | Role::Configs, b'[') => match self.deeper() {
                Some(role) => self.push(true, role, at),
                None => self.skip(buf, *at, Why::Unwanted),
            },
            _ => self.skip(buf, *at, Why::Unwanted),
        }
    }

    /// The names above a section in a map of pods: `namespace/pod` for `egctl`, the pod for `consul-k8s -o raw`.
    /// Empty where arrays stand above it, as in CSDS answers.
    fn section_path(&self) -> Box<str> {
        if self.stack.iter().any(|f| f.array && matches!(f.role, Role::Search(_))) {
            return "".into();
        }
        let mut path = self.path.clone();
        if matches!(self.role(), Role::Search(_)) && !self.key.is_empty() {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&String::from_utf8_lossy(&self.key));
        }
        path.strip_suffix("config_dump").or(path.strip_suffix("clusters")).unwrap_or(&path).trim_end_matches('/').into()
    }

    fn in_array(&self) -> bool {
        self.stack.last().is_some_and(|f| f.array)
    }

    fn deeper(&self) -> Option<Role> {
        if self.stack.is_empty() {
            return Some(Role::Search(0));
        }
        match self.role() {
            Role::Search(d) if d < SEARCH_DEPTH => Some(Role::Search(d + 1)),
            Role::Configs => Some(Role::Search(2)),
            _ => None,
        }
    }

    fn take(&mut self, kind: ElementKind) -> Step {
        self.mode = Mode::Taking { skip: Skip::default(), kind, scanned: 0 };
        Step::Next
    }

    fn skip(&mut self, buf: &[u8], at: usize, why: Why) -> Step {
        let line = self.line_at(buf, at);
        self.mode = Mode::Skipping { skip: Skip::default(), start: self.base + at as u64, line, why };
        Step::Next
    }

    fn take_on(&mut self, buf: &[u8], at: &mut usize, pieces: &mut Vec<Piece>) -> Step {
        let Mode::Taking { skip, kind, scanned } = &mut self.mode else { return Step::Next };
        let from = *at + *scanned;
        let end = skip.feed(&buf[from..]).map(|n| from + n);
        let kind = *kind;
        let len = end.unwrap_or(buf.len()) - *at;
        if len > self.max_piece_bytes {
            // hand over to skipping, which holds nothing
            let skip = std::mem::take(skip);
            let start = self.base + *at as u64;
            let line = self.line_at(buf, *at);
            match end {
                Some(end) => {
                    self.remarks.push(Remark::TooLong { offset_bytes: start, line, len_bytes: len as u64 });
                    *at = end;
                    self.mode = Mode::Walk;
                    self.after_value();
                }
                None => {
                    self.mode = Mode::Skipping { skip, start, line, why: Why::TooLong };
                    *at = buf.len();
                    return Step::More;
                }
            }
            return Step::Next;
        }
        let Some(end) = end else {
            *scanned = buf.len() - *at;
            return Step::More;
        };
        let line = self.line_at(buf, *at);
        let section = match self.role() {
            Role::List(_, s) | Role::Section(s) => Some(s),
            _ => None,
        };
        pieces.push(Piece {
            kind,
            section,
            document: self.document(),
            range: *at..end,
            offset_bytes: self.base + *at as u64,
            line,
        });
        *at = end;
        self.mode = Mode::Walk;
        self.after_value();
        Step::Next
    }

    fn skip_on(&mut self, buf: &[u8], at: &mut usize) -> Step {
        let Mode::Skipping { skip, start, line, why } = &mut self.mode else { return Step::Next };
        let Some(n) = skip.feed(&buf[*at..]) else {
            *at = buf.len();
            return Step::More;
        };
        *at += n;
        let len_bytes = self.base + *at as u64 - *start;
        match why {
            Why::Unwanted => {}
            Why::TooLong => {
                self.remarks.push(Remark::TooLong { offset_bytes: *start, line: *line, len_bytes });
            }
            Why::Stranger(t) => {
                let type_name = std::mem::take(t);
                self.strangers.push(Stranger { type_name, offset_bytes: *start, line: *line, len_bytes });
            }
        }
        self.mode = Mode::Walk;
        self.after_value();
        Step::Next
    }
}
