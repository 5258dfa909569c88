//! JSON Lines, or JSON documents one after the other: discovery responses and requests as anyone can write them.
//!
//! The input is cut into batches at ends of documents and the batches are read in parallel; bodies seen before are
//! known by their hash and not read again. Batches are joined in the order of the input, so that the result is the same
//! on any number of cores.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bodies::{self, Claims, Key};
use super::documents::{self, Message, fields, next_object};
use super::dumps::{self, Dump};
use super::native;
use super::observations::observe;
use super::sequence::Sequence;
use super::{many, timeline::Timeline};
use crate::evidence::json::outline::End;
use crate::evidence::json::skip::Skip;
use crate::input::{Content, Document};
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::{Event, GapReason, Us, What};

/// Bytes of a batch, at least.
const BATCH_BYTES: usize = 1 << 20;
/// Batches waiting to be read before the cutting thread reads one itself, so that memory stays bounded.
const MAX_IN_FLIGHT: usize = 6;
/// A document longer than this is given up.
const MAX_DOCUMENT_BYTES: usize = 1 << 30;

/// One thing of a batch, its place counted from the batch's begin.
#[derive(Debug)]
enum Found {
    Document(documents::Document),
    /// A document that breaks off or is no JSON from some byte on.
    Broken {
        early: bool,
    },
}

struct At {
    offset_bytes: usize,
    line: u64,
    found: Found,
}

#[derive(Default)]
struct Batch {
    base: u64,
    found: Vec<At>,
    read: Vec<(Key, bodies::Read)>,
    lines: u64,
    /// Lines that are no JSON.
    text_lines: u32,
}

#[derive(Default)]
struct Joined {
    next: u64,
    waiting: BTreeMap<u64, Batch>,
}

/// Reads the recording in `document` into `timeline`. Gives the config dumps in it.
pub(super) fn read(document: &Document, input: InputId, timeline: &mut Timeline) -> Vec<Dump> {
    let content = match document.open() {
        Ok(c) => c,
        Err(e) => {
            timeline.problems.push(document.problem(&e));
            return Vec::new();
        }
    };
    let label = document.label();
    let keep = timeline.keep_texts;
    let claims = Claims::default();
    let joined = Mutex::new((Joined::default(), Joiner::new(label, input, timeline)));
    let in_flight = AtomicUsize::new(0);
    let push = |sequence: u64, batch: Batch| {
        let mut guard = joined.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, joiner) = &mut *guard;
        queue.waiting.insert(sequence, batch);
        while let Some(batch) = queue.waiting.remove(&queue.next) {
            queue.next += 1;
            joiner.join(batch);
        }
    };
    let mut end = Ok(());
    rayon::scope(|scope| {
        let (push, claims, in_flight) = (&push, &claims, &in_flight);
        let mut sequence = 0;
        let mut cutter = Cutter::default();
        match content {
            Content::Slice(bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let n = cutter.cut(&bytes[at..], true);
                    let (batch, base) = (&bytes[at..at + n], at as u64);
                    let lines = cutter.lines;
                    let work = move || push(sequence, read_batch(batch, base, lines, claims, keep));
                    dispatch(scope, in_flight, work);
                    sequence += 1;
                    at += n;
                }
            }
            Content::Stream(mut stream) => {
                let (mut base, mut buffer, mut complete) = (0_u64, Vec::new(), false);
                while !(complete && buffer.is_empty()) {
                    let got = fill(&mut *stream, &mut buffer);
                    complete = !matches!(got, Ok(false));
                    if let Err(e) = got {
                        end = Err(e);
                    }
                    let n = cutter.cut(&buffer, complete);
                    if n == 0 {
                        continue;
                    }
                    let rest = buffer[n..].to_vec();
                    let mut batch = std::mem::replace(&mut buffer, rest);
                    batch.truncate(n);
                    let lines = cutter.lines;
                    let work = move || push(sequence, read_batch(&batch, base, lines, claims, keep));
                    dispatch(scope, in_flight, work);
                    sequence += 1;
                    base += n as u64;
                }
            }
        }
    });
    let (_, joiner) = joined.into_inner().unwrap_or_else(PoisonError::into_inner);
    joiner.finish(end.err().map(|e| document.problem(&e)))
}

fn dispatch<'s>(scope: &rayon::Scope<'s>, in_flight: &'s AtomicUsize, work: impl FnOnce() + Send + 's) {
    if in_flight.fetch_add(1, Ordering::Relaxed) >= MAX_IN_FLIGHT {
        work();
        in_flight.fetch_sub(1, Ordering::Relaxed);
    } else {
        scope.spawn(move |_| {
            work();
            in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Appends a batch's worth to `buffer`; true at the end of the stream.
fn fill(stream: &mut (dyn Read + Send), buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    let want = BATCH_BYTES.max(buffer.len());
    let got = stream.take(want as u64).read_to_end(buffer)?;
    Ok(got < want)
}

/// Finds where a batch may end.
#[derive(Default)]
struct Cutter {
    /// Every document has a line of its own, as far as was seen.
    lines: bool,
    decided: bool,
    skip: Option<Skip>,
    /// Bytes of the current buffer looked at, and the end of the last whole document in it.
    scanned: usize,
    whole: usize,
}

impl Cutter {
    /// How many bytes of `bytes` make a batch, 0 when more are needed. With `complete` nothing follows.
    fn cut(&mut self, bytes: &[u8], complete: bool) -> usize {
        if !self.decided {
            self.decide(bytes, complete);
        }
        if self.lines {
            return self.cut_lines(bytes, complete);
        }
        loop {
            if self.skip.is_none() {
                if self.whole >= BATCH_BYTES {
                    break;
                }
                match next_object(bytes, self.scanned).0 {
                    // text without an end may be a line that goes on
                    None => break,
                    Some(at) => {
                        self.scanned = at;
                        self.skip = Some(Skip::default());
                    }
                }
            }
            let Some(skip) = &mut self.skip else { break };
            match skip.feed(&bytes[self.scanned..]) {
                Some(n) => {
                    self.scanned += n;
                    self.whole = self.scanned;
                    self.skip = None;
                }
                None => {
                    self.scanned = bytes.len();
                    break;
                }
            }
        }
        let give_up = bytes.len() >= MAX_DOCUMENT_BYTES;
        if complete && self.whole < BATCH_BYTES || (self.whole == 0 && give_up) {
            self.reset(bytes.len())
        } else if self.whole >= BATCH_BYTES || (self.whole > 0 && self.skip.is_some()) {
            self.reset(self.whole)
        } else {
            0
        }
    }

    fn reset(&mut self, used: usize) -> usize {
        self.skip = None;
        self.scanned = 0;
        self.whole = 0;
        used
    }

    fn cut_lines(&mut self, bytes: &[u8], complete: bool) -> usize {
        if complete && bytes.len() <= BATCH_BYTES {
            return bytes.len();
        }
        let from = BATCH_BYTES.min(bytes.len());
        match memchr::memchr(b'\n', &bytes[from..]) {
            Some(n) => from + n + 1,
            None if complete || bytes.len() >= MAX_DOCUMENT_BYTES => bytes.len(),
            None => memchr::memrchr(b'\n', &bytes[..from]).map_or(0, |n| n + 1),
        }
    }

    /// One document to a line when the first one is.
    fn decide(&mut self, bytes: &[u8], complete: bool) {
        let (Some(start), _) = next_object(bytes, 0) else {
            self.decided = complete;
            return;
        };
        let line = memchr::memchr(b'\n', &bytes[start..]);
        if line.is_none() && !complete && bytes.len() < MAX_DOCUMENT_BYTES {
            return;
        }
        let text = &bytes[start..line.map_or(bytes.len(), |n| start + n)];
        // pretty-printed text has at most the opening brackets on its first line
        self.lines = line.is_some() && !text.trim_ascii_end().ends_with(b"{") && {
            let end = Skip::default().feed(text);
            end.is_some_and(|n| text[n..].iter().all(u8::is_ascii_whitespace))
        };
        self.decided = true;
    }
}

/// Reads one batch: documents are taken apart, bodies nobody has claimed yet are read.
fn read_batch(bytes: &[u8], base: u64, lines: bool, claims: &Claims, keep: bool) -> Batch {
    let mut out = Batch { base, ..Batch::default() };
    let start = bytes.as_ptr() as usize;
    let place = |part: &[u8]| base + (part.as_ptr() as usize - start) as u64;
    let (mut at, mut counted, mut line) = (0, 0, 0_u64);
    loop {
        let (next, skipped) = next_object(bytes, at);
        out.text_lines += skipped;
        let Some(from) = next else { break };
        line += memchr::memchr_iter(b'\n', &bytes[counted..from]).count() as u64;
        counted = from;
        let limit = match memchr::memchr(b'\n', &bytes[from..]) {
            Some(n) if lines => from + n,
            _ => bytes.len(),
        };
        let (items, end) = fields(&bytes[from..limit]);
        let found = match end {
            End::Closed(n) => {
                at = from + n;
                let read = &mut out.read;
                let document = documents::read(&items, n as u64, place, &mut |met| {
                    if claims.claim(met.key) {
                        let len = met.text.len() as u64;
                        read.push((met.key, bodies::read(met.type_name, met.given_name, met.text, len, false, keep)));
                    }
                });
                Found::Document(document)
            }
            End::Early(_) | End::Broken(_) => {
                // the next document begins a line: nested objects of pretty text are indented
                let next = if lines { limit - from } else { next_begin(&bytes[from..]) };
                at = from + next.max(1);
                Found::Broken { early: matches!(end, End::Early(_)) }
            }
        };
        out.found.push(At { offset_bytes: from, line, found });
    }
    out.lines = line + memchr::memchr_iter(b'\n', &bytes[counted..]).count() as u64;
    out
}

/// Offset of the next line that begins with an object, or the end.
fn next_begin(bytes: &[u8]) -> usize {
    memchr::memmem::find(bytes, b"\n{").map_or(bytes.len(), |n| n + 1)
}

/// Puts batches in order, numbers bodies, tells times.
struct Joiner<'a> {
    label: String,
    input: InputId,
    timeline: &'a mut Timeline,
    sequence: Sequence,
    lines_before: u64,
    previous: Option<Us>,
    /// A broken document whose gap ends with the next one.
    open_gap: Option<Us>,
    broken: u32,
    first_broken: Option<(u64, u64)>,
    backwards: u32,
    first_backwards: Option<u64>,
    foreign: u32,
    bodiless: u32,
    responses: u64,
    text_lines: u32,
    last_was_broken: bool,
    native: native::State,
    dumps: Vec<Dump>,
    observed: u64,
}

impl<'a> Joiner<'a> {
    fn new(label: &str, input: InputId, timeline: &'a mut Timeline) -> Self {
        Self {
            label: label.to_owned(),
            input,
            timeline,
            sequence: Sequence::default(),
            lines_before: 0,
            previous: None,
            open_gap: None,
            broken: 0,
            first_broken: None,
            backwards: 0,
            first_backwards: None,
            foreign: 0,
            bodiless: 0,
            responses: 0,
            text_lines: 0,
            last_was_broken: false,
            native: native::State::default(),
            dumps: Vec::new(),
            observed: 0,
        }
    }

    fn event(&mut self, t: Us, what: What) {
        self.timeline.events.push(Event { t, input: self.input, stream: 0, what });
    }

    fn gap(&mut self, from: Us, until: Us, reason: GapReason) {
        self.event(from, What::Gap { until, reason });
    }

    fn join(&mut self, batch: Batch) {
        for At { offset_bytes, line, found } in batch.found {
            let line = self.lines_before + line + 1;
            match found {
                Found::Broken { early } => {
                    self.broken += 1;
                    self.first_broken.get_or_insert((batch.base + offset_bytes as u64, line));
                    self.open_gap = self.open_gap.or(Some(self.previous.unwrap_or_default()));
                    self.last_was_broken = early;
                }
                Found::Document(d) => {
                    self.last_was_broken = false;
                    self.document(d, line);
                }
            }
        }
        for (key, read) in batch.read {
            self.timeline.bodies.put(key, read);
        }
        self.lines_before += batch.lines;
        self.text_lines += batch.text_lines;
    }

    /// The time of a document that says `t`, or one second after the one before.
    fn time(&mut self, t: Option<Us>, line: u64) -> Us {
        let now = t.unwrap_or_else(|| {
            self.timeline.times_assumed = true;
            self.previous.map_or(Us(0), |p| Us(p.0.saturating_add(1_000_000)))
        });
        if let Some(p) = self.previous.filter(|p| now < *p) {
            self.backwards += 1;
            self.first_backwards.get_or_insert(line);
            self.gap(now, p, GapReason::OutOfOrder);
        }
        if let Some(from) = self.open_gap.take() {
            self.gap(from.min(now), now, GapReason::Truncated);
        }
        self.previous = Some(self.previous.map_or(now, |p| p.max(now)));
        now
    }

    fn document(&mut self, d: documents::Document, line: u64) {
        if let Some(node) = d.node {
            self.timeline.meet(&self.label, *node);
        }
        match d.message {
            Message::Foreign => self.foreign += 1,
            Message::Subscription => {}
            Message::Observed(values) => {
                let now = self.time(d.t, line);
                self.observed += values.len() as u64;
                observe(self.timeline, self.input, now, values);
            }
            Message::Dump(offset, text) => {
                let now = d.t.map(|_| self.time(d.t, line));
                let read = dumps::read(&self.label, &text, self.input, now, offset, self.timeline);
                self.dumps.extend(read);
            }
            Message::Native(record) => {
                let timed = matches!(record, native::Record::Push(_) | native::Record::Event { .. });
                let now = match d.t {
                    Some(t) if timed => self.time(Some(self.native.time(t)), line),
                    _ => self.previous.unwrap_or_default(),
                };
                if let native::Record::Header { info, .. } = &record {
                    self.timeline.meet(&self.label, info.node.clone());
                    self.timeline.header.get_or_insert_with(|| (**info).clone());
                }
                let event = self.native.take(record, now, self.input, &mut self.timeline.bodies);
                if let Some(event) = event {
                    self.responses += u64::from(matches!(event.what, What::Push(_)));
                    self.observed += 1;
                    self.timeline.events.push(event);
                }
            }
            Message::Request { kind, nonce, error } => {
                let first = self.sequence.answered(kind, &nonce);
                let now = match d.t {
                    Some(_) => self.time(d.t, line),
                    // without a time, an answer takes none
                    None => self.previous.unwrap_or_default(),
                };
                if first {
                    let what = match error {
                        Some(error) => What::Nack { kind, nonce, error },
                        None => What::Ack { kind, nonce },
                    };
                    self.event(now, what);
                }
            }
            Message::Response(r) => {
                let now = self.time(d.t, line);
                self.bodiless += r.bodiless;
                let kind = bodies::xds_type(&r.type_name);
                if !self.sequence.response(now, kind, &r.type_name, &r.nonce, r.content, line) {
                    return;
                }
                self.responses += 1;
                let push = r.push(kind, self.input, &mut self.timeline.bodies);
                self.event(now, What::Push(Box::new(push)));
            }
        }
    }

    fn problem(&mut self, p: Problem) {
        self.timeline.problems.push(Problem { input: Some(self.input), ..p });
    }

    fn finish(mut self, end: Option<Problem>) -> Vec<Dump> {
        let label = self.label.clone();
        let last = self.previous.unwrap_or_default();
        let cut_off = self.open_gap.is_some() || end.is_some();
        if cut_off {
            let from = self.open_gap.unwrap_or(last);
            self.gap(from.min(last), last, GapReason::Truncated);
        }
        if let Some((offset, line)) = self.first_broken {
            let n = self.broken;
            let (what, hint) = match (n, self.last_was_broken) {
                (1, true) => (
                    "the recording ends inside a document that begins here; what follows is not known".to_owned(),
                    "the writer was cut off; record again, or take the replay as one up to this moment",
                ),
                _ => (
                    format!(
                        "{} broken, the first begins here; what they carried is missing",
                        many(u64::from(n), "document is", "documents are")
                    ),
                    "several writers into one file, or a damaged copy: record again with one writer",
                ),
            };
            let p = Problem::new(&*label, Loss::Part, what).at(offset).hint(hint);
            self.problem(Problem { line: Some(line), ..p });
        }
        if let Some(line) = self.first_backwards {
            let n = self.backwards;
            let p = Problem::new(
                &*label,
                Loss::Nothing,
                format!(
                    "times go backwards {}, first here; events were put in the order of their times",
                    many(u64::from(n), "time", "times")
                ),
            )
            .hint("was this put together from several files? give them as they are, they are merged by time");
            self.problem(Problem { line: Some(line), ..p });
        }
        if self.foreign > 0 {
            let documents = many(u64::from(self.foreign), "document is", "documents are");
            let what = format!("{documents} neither a response nor a request of xDS: skipped");
            self.problem(Problem::new(&*label, Loss::Nothing, what));
        }
        if self.text_lines > 0 {
            let what = format!("{} lines that are no JSON were skipped", self.text_lines);
            self.problem(Problem::new(&*label, Loss::Nothing, what));
        }
        if self.bodiless > 0 {
            let what = format!("{} resources came without a body (heartbeats); they change nothing", self.bodiless);
            self.problem(Problem::new(&*label, Loss::Nothing, what));
        }
        self.native_problems();
        if self.responses == 0 && self.observed == 0 && self.dumps.is_empty() && !self.native.used() {
            self.problem(
                Problem::new(&*label, Loss::Whole, "no discovery response in it")
                    .hint("expected lines like {\"t\": 1.5, \"type_url\": …, \"resources\": […]}"),
            );
        }
        let sequence = std::mem::take(&mut self.sequence);
        let (gaps, problems) = sequence.finish(&label);
        for (from, until, reason) in gaps {
            self.gap(from, until, reason);
        }
        for p in problems {
            self.problem(p);
        }
        if let Some(p) = end {
            self.problem(p);
        }
        self.dumps
    }

    fn native_problems(&mut self) {
        let label = self.label.clone();
        if self.native.incomplete > 0 {
            let n = self.native.incomplete;
            let what = format!("{n} pushes name bodies that are not in the file, or another number than they say");
            self.problem(
                Problem::new(&*label, Loss::Part, what)
                    .hint("a part of the recording is missing: give the file from its first record on"),
            );
            let last = self.previous.unwrap_or_default();
            self.gap(last, last, GapReason::Truncated);
        }
        if self.native.unknown > 0 || self.native.newer {
            let newer = if self.native.newer { "written by a newer meshdump; " } else { "" };
            let what = format!("{newer}{} records are not known here and were skipped", self.native.unknown);
            self.problem(Problem::new(&*label, Loss::Nothing, what));
        }
    }
}
