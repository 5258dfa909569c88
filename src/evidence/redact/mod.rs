//! Evidence that may be shown: the same documents with names, addresses and secrets replaced by others of the same
//! length, so that every count, size, order and reference in them stays what it was.

mod binary;
mod json;
mod log;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::kind::{Kind, sniff};
use super::load::utf16;
use super::secrets::Class;
use crate::input::{Document, HEAD_BYTES, read_more};
pub(super) use json::is_operator;
use json::{Dialect, Rewriter, Yaml, scrub};
use wire::Wire;
use words::{Pseudonyms, Vocabulary};

/// What was replaced, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Secrets replaced by filler, by class.
    pub secrets: BTreeMap<&'static str, u64>,
    /// Values with a secret inside that was replaced (URLs, `Bearer …`).
    pub inside: u64,
    /// Names replaced, counted each time one occurs.
    pub names: u64,
    /// Addresses replaced.
    pub addresses: u64,
    /// Values that look like secrets and were kept.
    pub suspects: Vec<Suspect>,
    /// Of [`Report::suspects`], those left out of the list.
    pub suspects_omitted: u64,
    /// Documents left out, and why.
    pub left_out: Vec<(String, &'static str)>,
}

/// Suspicious values listed.
const MAX_SUSPECTS: usize = 50;

/// A value that looks like a secret and was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Document.
    pub label: String,
    /// Byte offset.
    pub offset: u64,
    /// Length.
    pub bytes: usize,
}

impl Suspect {
    fn new(label: &str, offset: u64, bytes: usize) -> Self {
        Self { label: label.to_owned(), offset, bytes }
    }
}

impl Report {
    fn count(&mut self, class: Class) {
        *self.secrets.entry(class.as_str()).or_default() += 1;
    }

    fn suspect(&mut self, suspect: Suspect) {
        if self.suspects.len() < MAX_SUSPECTS {
            self.suspects.push(suspect);
        } else {
            self.suspects_omitted += 1;
        }
    }
}

/// Where the key of a run comes from.
pub enum KeySource<'a> {
    /// From all bytes of the input, each document's content in order: who has the input can make it again, nobody else.
    Content(&'a [Document]),
    /// From a file of the owner's.
    Secret(&'a [u8]),
}

/// Rewrites the documents of one run, with one set of pseudonyms.
pub struct Redactor {
    names: Pseudonyms,
    report: Report,
}

/// Why a document cannot be rewritten.
pub type Refusal = &'static str;

impl Redactor {
    /// With the key from `source`; `map` asks for the table that leads back.
    pub fn new(source: &KeySource<'_>, map: bool) -> Self {
        let mut hash = Sha256::new_with_prefix(b"meshdump redact 1\0");
        match source {
            KeySource::Secret(bytes) => hash.update(bytes),
            KeySource::Content(documents) => {
                for d in *documents {
                    hash.update(b"\0document\0");
                    let Ok(content) = d.open() else { continue };
                    let mut stream = content.reader();
                    let mut buffer = vec![0; 1 << 20];
                    while let Ok(n @ 1..) = stream.read(&mut buffer) {
                        hash.update(&buffer[..n]);
                    }
                }
            }
        }
        Self { names: Pseudonyms::new(hash.finalize().into(), map), report: Report::default() }
    }

    /// The name of a file or of an entry of a bundle, with its names replaced.
    pub fn file_name(&mut self, name: &str) -> String {
        let mut bytes = name.as_bytes().to_vec();
        self.names.names(&mut bytes, false);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a document can be rewritten; if not, it is left out and the report says why.
    ///
    /// # Errors
    /// What to do instead.
    pub fn accepts(d: &Document) -> Result<(), Refusal> {
        match sniff(d.head(), d.head().len() < HEAD_BYTES) {
            Kind::Binary => Err("neither text nor a recording: what stands where in it is not known"),
            Kind::PythonRepr => Err("a Python dictionary, not JSON: write it with json.dumps first"),
            _ => Ok(()),
        }
    }

    /// The document was left out.
    pub fn left_out(&mut self, label: &str, why: Refusal) {
        self.report.left_out.push((label.to_owned(), why));
    }

    /// Writes `d` to `out` with everything replaced; as many bytes as it has.
    ///
    /// # Errors
    /// When `d` cannot be read to its end or `out` cannot be written.
    pub fn rewrite(&mut self, d: &Document, out: &mut dyn Write) -> io::Result<()> {
        let head = d.head();
        let kind = sniff(head, head.len() < HEAD_BYTES);
        let content = d.open()?;
        let mut stream: Box<dyn Read + Send + '_> =
            if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
                let (bytes, end) = content.read_all();
                end?;
                Box::new(io::Cursor::new(utf16(&bytes).0.into_bytes()))
            } else {
                content.reader()
            };
        let first = head.iter().find(|b| !b.is_ascii_whitespace() && !matches!(**b, 0xef | 0xbb | 0xbf));
        // a line of a log may begin with a bracket
        let lines = matches!(
            kind,
            Kind::Text
                | Kind::Metrics
                | Kind::StatsText
                | Kind::StatsPrometheus
                | Kind::ClustersText
                | Kind::ListenersText
                | Kind::BpftoolText
                | Kind::Yaml
        );
        let json_text = !lines && matches!(first, Some(b'{' | b'['));
        match kind {
            Kind::ConfigDump
            | Kind::ClustersJson
            | Kind::ListenersJson
            | Kind::Memory
            | Kind::StatsJson
            | Kind::Certs
            | Kind::InitDump
            | Kind::XdsRecording
            | Kind::Runtime => self.json(d.label(), Dialect::Envoy, &mut *stream, out),
            Kind::ServerInfo if json_text => self.json(d.label(), Dialect::Envoy, &mut *stream, out),
            Kind::Bpftool => {
                self.names.vocabulary = Some(Vocabulary::bpf());
                let result = self.json(d.label(), Dialect::Other, &mut *stream, out);
                self.names.vocabulary = None;
                result
            }
            Kind::EnvoyLog | Kind::IstiodLog => self.log(d.label(), &mut *stream, out),
            _ if json_text => self.json(d.label(), Dialect::Other, &mut *stream, out),
            Kind::EnvoyTap => binary::tap(&mut self.wire(d.label()), &mut *stream, out),
            Kind::GrpcLog => binary::grpc_log(&mut self.wire(d.label()), &mut *stream, out),
            Kind::BpftoolText => self.bpftool(&mut *stream, out),
            Kind::Kubernetes | Kind::Yaml => self.yaml(d.label(), &mut *stream, out),
            _ => self.text(&mut *stream, out),
        }
    }

    fn wire<'a>(&'a mut self, label: &'a str) -> Wire<'a> {
        Wire::new(Rewriter::new(&mut self.names, &mut self.report, label, Dialect::Envoy))
    }

    fn json(&mut self, label: &str, dialect: Dialect, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
        let mut rewriter = Rewriter::new(&mut self.names, &mut self.report, label, dialect);
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let ended = read_more(stream, &mut buffer)?;
            let used = rewriter.feed(&buffer, ended, out)?;
            buffer.drain(..used);
            if ended {
                return Ok(());
            }
        }
    }

    fn yaml(&mut self, label: &str, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
        let rewriter = Rewriter::new(&mut self.names, &mut self.report, label, Dialect::Other);
        let mut yaml = Yaml::new(rewriter);
        lines(stream, |line, end| {
            yaml.line(line, out)?;
            out.write_all(end)
        })
    }

    fn log(&mut self, label: &str, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
        self.names.vocabulary = Some(Vocabulary::log());
        let rewriter = Rewriter::new(&mut self.names, &mut self.report, label, Dialect::Envoy);
        let mut log = log::Log::new(rewriter);
        let result = lines(stream, |line, end| {
            out.write_all(&log.line(line))?;
            out.write_all(end)
        });
        self.names.vocabulary = None;
        result
    }

    /// Output of bpftool for people: lines of keys and values are bytes in hexadecimal.
    fn bpftool(&mut self, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
        let names = &mut self.names;
        names.vocabulary = Some(Vocabulary::bpf());
        let result = lines(stream, |line, end| {
            let mut line = line.to_vec();
            let byte = |w: &[u8]| w.len() == 2 && w.iter().all(u8::is_ascii_hexdigit);
            let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
            if words.all(|w| byte(w) || matches!(w, b"key:" | b"value:")) {
                let mut at = 0;
                while at < line.len() {
                    let len = line[at..].iter().take_while(|b| !b.is_ascii_whitespace()).count();
                    if byte(&line[at..at + len]) {
                        names.hex(&mut line[at..at + len]);
                    }
                    at += len.max(1);
                }
            } else {
                names.names(&mut line, false);
            }
            out.write_all(&line)?;
            out.write_all(end)
        });
        self.names.vocabulary = None;
        result
    }

    fn text(&mut self, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
        let (names, report) = (&mut self.names, &mut self.report);
        lines(stream, |line, end| {
            let mut line = line.to_vec();
            if super::secrets::suspect(&String::from_utf8_lossy(&line)) {
                report.inside += 1;
                scrub(names, &mut line);
            } else {
                // `name: value`, `name{labels} value`, `name::value`: a number at the end is a number
                let last = line.iter().rposition(|b| matches!(b, b' ' | b':')).map_or(0, |n| n + 1);
                let number = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'\r');
                let names_end = if last > 0 && line[last..].iter().all(number) { last } else { line.len() };
                names.names(&mut line[..names_end], false);
            }
            out.write_all(&line)?;
            out.write_all(end)
        })
    }

    /// What was done, and the table from pseudonym to original (empty unless it was asked for).
    pub fn finish(mut self) -> (Report, BTreeMap<String, String>) {
        self.report.names = self.names.tally.words;
        self.report.addresses = self.names.tally.addresses;
        (self.report, self.names.into_map())
    }
}

/// Longest line held; a longer one is rewritten in parts.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Calls `f` with each line and what ends it.
fn lines(stream: &mut dyn Read, mut f: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let ended = read_more(stream, &mut buffer)?;
        let mut at = 0;
        while let Some(len) = memchr::memchr(b'\n', &buffer[at..]) {
            f(&buffer[at..at + len], b"\n")?;
            at += len + 1;
        }
        if ended || buffer.len() - at > MAX_LINE_BYTES {
            f(&buffer[at..], b"")?;
            at = buffer.len();
        }
        buffer.drain(..at);
        if ended {
            return Ok(());
        }
    }
}
