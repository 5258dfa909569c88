//! `/config_dump` in every shape people have it, cut into resources and read in parallel, without a DOM.
//!
//! [`cut`] finds the pieces, [`shape`] tells what they are, [`messages`] and [`resource`] read one piece. This file
//! drives them: over a mapped file without copies, over a stream through a few reused buffers.

mod cut;
mod messages;
mod resource;
mod shape;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cut::{Cutter, Piece, Remark};
use resource::Resource;

use crate::input::{Pages, StreamError, read_more};
use crate::model::envoy::{LARGE_RESOURCE_BYTES, Proxy, SectionVersions, Unknown};
use crate::model::problem::{Loss, Problem};
use crate::model::source::{InputId, Span};

pub(crate) use messages::Node as WireNode;
pub(crate) use resource::{Resource as WireResource, node, read as read_piece};
pub(crate) use shape::{Class, ElementKind, ListField, ResourceKind, bare_type, peek};

/// Limits of the reader.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A single resource longer than this is skipped with a problem, so that memory stays bounded.
    pub max_resource_bytes: usize,
    /// Resources whose JSON is at least this long are broken down by field.
    pub fields_from_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_resource_bytes: 64 << 20, fields_from_bytes: LARGE_RESOURCE_BYTES }
    }
}

/// What one document gave.
#[derive(Debug, Default)]
pub struct Dumps {
    /// One per dump in it, with the name it stood under (`namespace/pod`), empty for a plain dump.
    pub dumps: Vec<(Box<str>, Proxy)>,
    /// Sections seen, known ones.
    pub sections: usize,
    /// Resources read.
    pub resources: usize,
}

/// Bytes of a stream read at a time.
/// Bytes of pieces in a batch of a mapped file.
const BATCH_BYTES: usize = 512 << 10;

/// Batches waiting to be read before the cutting thread reads one itself, so that memory stays bounded.
const MAX_IN_FLIGHT: usize = 8;

#[derive(Default)]
struct Batch {
    /// What was read, by document and section; neighbours share one.
    parts: Vec<Part>,
    problems: Vec<Problem>,
    mismatches: u32,
}

struct Part {
    document: u32,
    section: Option<u32>,
    resources: usize,
    proxy: Proxy,
}

/// Batches come back in any order and are joined in the order of the input, as soon as the one before is there: so the
/// result is the same on any number of cores, and lists grow in place instead of being copied at the end.
#[derive(Default)]
struct Joined {
    next: u64,
    waiting: BTreeMap<u64, Batch>,
    all: Batch,
}

#[derive(Default)]
struct Work {
    joined: Mutex<Joined>,
    in_flight: AtomicUsize,
    free_buffers: Mutex<Vec<Vec<u8>>>,
}

impl Work {
    fn push(&self, sequence: u64, batch: Batch) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.waiting.insert(sequence, batch);
        while let Some(batch) = {
            let next = joined.next;
            joined.waiting.remove(&next)
        } {
            joined.next += 1;
            joined.all.problems.extend(batch.problems);
            joined.all.mismatches += batch.mismatches;
            for part in batch.parts {
                match joined.all.parts.last_mut() {
                    Some(last) if last.document == part.document && last.section == part.section => {
                        last.resources += part.resources;
                        merge(&mut last.proxy, part.proxy);
                    }
                    _ => joined.all.parts.push(part),
                }
            }
        }
    }
}

/// The pieces of a dump in memory, in its order, with what had to be said while cutting it.
pub(crate) fn pieces(label: &str, bytes: &[u8], limits: Limits) -> (Vec<(ElementKind, Range<usize>)>, Vec<Problem>) {
    let mut cutter = Cutter::new(limits.max_resource_bytes);
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let mut found = Vec::new();
        let used = cutter.run(&bytes[at..], true, usize::MAX, &mut found);
        out.extend(found.into_iter().map(|p: Piece| (p.kind, at + p.range.start..at + p.range.end)));
        at += used;
        if used == 0 || at >= bytes.len() {
            break;
        }
    }
    let whole = Dumps { resources: out.len(), ..Dumps::default() };
    let problems = cutter.remarks.iter().map(|r| remark(label, r, &whole, None)).collect();
    (out, problems)
}

/// Reads a config dump from memory. See [`read_stream`].
pub fn read_slice(label: &str, input: InputId, bytes: &[u8], limits: Limits) -> (Dumps, Vec<Problem>) {
    read_mapped(label, input, bytes, Pages::default(), limits)
}

/// Reads a config dump from memory whose `pages` are let go once they are read. See [`read_stream`].
pub(crate) fn read_mapped(
    label: &str,
    input: InputId,
    bytes: &[u8],
    pages: Pages<'_>,
    limits: Limits,
) -> (Dumps, Vec<Problem>) {
    let mut cutter = Cutter::new(limits.max_resource_bytes);
    let work = Work::default();
    rayon::scope(|scope| {
        let mut sequence = 0;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let mut pieces = Vec::new();
            let used = cutter.run(rest, true, BATCH_BYTES, &mut pieces);
            let read = at..at + used;
            if pieces.is_empty() {
                pages.done(read);
            } else {
                let work = &work;
                dispatch(scope, work, move || {
                    work.push(sequence, read_batch(rest, &pieces, label, input, limits));
                    pages.done(read);
                });
                sequence += 1;
            }
            if used == 0 {
                break;
            }
            at += used;
        }
        // a batch may be full at the very end: then the end has not been looked at
        cutter.run(&[], true, BATCH_BYTES, &mut Vec::new());
    });
    finish(label, input, cutter, work, None)
}

/// Reads a config dump from a stream, holding a few megabytes and the longest resource at most.
///
/// Gives every dump found and the list of problems; a broken stream gives what was whole before the break.
/// `label` is used in problems, `input` in the spans of resources.
pub fn read_stream(
    label: &str,
    input: InputId,
    stream: &mut (dyn Read + Send),
    limits: Limits,
) -> (Dumps, Vec<Problem>) {
    let mut cutter = Cutter::new(limits.max_resource_bytes);
    let work = Work::default();
    let mut error = None;
    rayon::scope(|scope| {
        let mut sequence = 0;
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let complete = match read_more(stream, &mut buffer) {
                Ok(complete) => complete,
                Err(e) => {
                    error = Some(e);
                    true
                }
            };
            let mut pieces = Vec::new();
            let used = cutter.run(&buffer, complete, usize::MAX, &mut pieces);
            let mut next = work.free_buffers.lock().ok().and_then(|mut f| f.pop()).unwrap_or_default();
            next.clear();
            next.extend_from_slice(&buffer[used..]);
            if pieces.is_empty() {
                next = std::mem::take(&mut buffer);
                next.drain(..used);
            } else {
                let full = std::mem::take(&mut buffer);
                let work = &work;
                dispatch(scope, work, move || {
                    work.push(sequence, read_batch(&full, &pieces, label, input, limits));
                    if let Ok(mut free) = work.free_buffers.lock() {
                        free.push(full);
                    }
                });
                sequence += 1;
            }
            buffer = next;
            if complete || cutter.stopped() {
                break;
            }
        }
    });
    finish(label, input, cutter, work, error)
}

fn dispatch<'scope>(scope: &rayon::Scope<'scope>, work: &'scope Work, read: impl FnOnce() + Send + 'scope) {
    if work.in_flight.fetch_add(1, Ordering::Relaxed) >= MAX_IN_FLIGHT {
        read();
        work.in_flight.fetch_sub(1, Ordering::Relaxed);
    } else {
        scope.spawn(move |_| {
            read();
            work.in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn read_batch(buffer: &[u8], pieces: &[Piece], label: &str, input: InputId, limits: Limits) -> Batch {
    let mut out = Batch::default();
    for piece in pieces {
        let bytes = &buffer[piece.range.clone()];
        let span = Span { input, offset_bytes: piece.offset_bytes, line: piece.line, len_bytes: bytes.len() as u64 };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(e) => {
                out.problems.push(Problem {
                    line: Some(piece.line),
                    ..Problem::new(
                        label,
                        Loss::Nothing,
                        "invalid UTF-8 in a resource; read with replacement characters",
                    )
                    .at(piece.offset_bytes + e.valid_up_to() as u64)
                });
                String::from_utf8_lossy(bytes)
            }
        };
        match resource::read(piece.kind, &text, span, limits.fields_from_bytes) {
            Ok((resources, mismatches)) => {
                out.mismatches += mismatches;
                let (document, section) = (piece.document, piece.section);
                let same = out.parts.last().is_some_and(|p| p.document == document && p.section == section);
                if !same {
                    out.parts.push(Part { document, section, resources: 0, proxy: Proxy::default() });
                }
                if let Some(part) = out.parts.last_mut() {
                    part.resources += resources.len();
                    resources.into_iter().for_each(|r| place(&mut part.proxy, r));
                }
            }
            Err(e) => {
                let (offset, line) = place_of(&text, piece, &e);
                out.problems.push(Problem {
                    line: Some(line),
                    ..Problem::new(label, Loss::Resource, format!("a resource cannot be read: {}", reason(&e, &text)))
                        .at(offset)
                        .hint("correct it at this byte, or fetch the dump again; everything else is in the report")
                });
            }
        }
    }
    out
}

/// The JSON error without its own position, which counts from the start of the piece.
pub(crate) fn reason(e: &serde_json::Error, piece: &str) -> String {
    let text = e.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    if text.contains("recursion limit") {
        return "nested deeper than 128 levels".to_owned();
    }
    if text.starts_with("control character") {
        return "a control character inside a string, where JSON has an escape".to_owned();
    }
    let rest = piece.get(within(piece, e)..).unwrap_or("");
    let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-+._'".contains(c)).unwrap_or(rest.len());
    match (text.strip_prefix("expected "), rest.get(..word.min(16)).filter(|w| !w.trim().is_empty())) {
        (Some("value"), Some(found)) => format!("expected a value, found `{found}`"),
        (Some("ident"), Some(found)) => format!("expected true, false or null, found `{found}`"),
        (Some(expected), Some(found)) => format!("expected {expected}, found `{found}`"),
        _ => text.to_owned(),
    }
}

/// Where in the piece the error is.
pub(crate) fn within(piece: &str, e: &serde_json::Error) -> usize {
    let line_start: usize = piece.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
    (line_start + e.column().saturating_sub(1)).min(piece.len())
}

fn place_of(text: &str, piece: &Piece, e: &serde_json::Error) -> (u64, u64) {
    (piece.offset_bytes + within(text, e) as u64, piece.line + e.line().saturating_sub(1) as u64)
}

fn finish(
    label: &str,
    input: InputId,
    cutter: Cutter,
    work: Work,
    error: Option<std::io::Error>,
) -> (Dumps, Vec<Problem>) {
    let Batch { parts, mut problems, mismatches } =
        work.joined.into_inner().unwrap_or_else(PoisonError::into_inner).all;
    let mut out = Dumps { sections: cutter.sections.iter().filter(|s| s.known()).count(), ..Dumps::default() };
    let starts = document_starts(&cutter);

    for part in parts {
        let section = part.section.map(|s| &cutter.sections[s as usize]);
        if section.is_none_or(cut::Section::known) {
            out.resources += part.resources;
            let index = starts[part.document as usize];
            merge(proxy_for(&mut out, index, section.map_or("", |s| &*s.path)), part.proxy);
        }
    }
    for s in &cutter.sections {
        let index = starts[s.document as usize];
        let span = Span { input, offset_bytes: s.offset_bytes, line: s.line, len_bytes: s.len_bytes };
        let proxy = proxy_for(&mut out, index, &s.path);
        if !s.known() {
            unknown(proxy, s.type_name.as_deref().unwrap_or(""), span);
        }
        set_version(&mut proxy.versions, s);
    }
    for s in &cutter.strangers {
        let span = Span { input, offset_bytes: s.offset_bytes, line: s.line, len_bytes: s.len_bytes };
        unknown(proxy_for(&mut out, 0, ""), &s.type_name, span);
    }
    out.dumps.retain(|(_, p)| *p != Proxy::default());
    for (_, p) in &mut out.dumps {
        sort_by_place(p);
    }
    if mismatches > 0 {
        problems.push(Problem::new(
            label,
            Loss::Nothing,
            if mismatches == 1 {
                "1 value has another type than Envoy's API says; it was taken as absent".to_owned()
            } else {
                format!("{mismatches} values have another type than Envoy's API says; they were taken as absent")
            },
        ));
    }
    let documents = cutter.documents();
    let mut broke = false;
    for r in &cutter.remarks {
        broke |= matches!(r, Remark::Broken { .. } | Remark::EndsEarly { .. });
        problems.push(remark(label, r, &out, error.as_ref()));
    }
    if let (Some(e), false) = (&error, broke) {
        let what = format!("{e}; {}", whole_before(out.resources));
        problems.push(match StreamError::of(e) {
            Some(s) => Problem { offset_bytes: s.inflated_at(), ..Problem::new(label, s.loss(), what).hint(s.hint()) },
            None => Problem::new(label, Loss::Part, what),
        });
    }
    if documents > 1 && out.resources > 0 && out.dumps.len() > 1 && cutter.sections.iter().any(|s| s.document > 0) {
        problems.push(Problem::new(
            label,
            Loss::Nothing,
            format!("{documents} JSON documents in one file; all were read"),
        ));
    }
    problems.sort_by_key(|p| p.offset_bytes);
    (out, problems)
}

/// For each document of the input, the index of the dump it belongs to. A document continues the dump before it unless
/// it repeats one of its section types: then it is another dump. (Types may repeat inside one document: ECDS does.)
fn document_starts(cutter: &Cutter) -> Vec<usize> {
    let mut out = vec![0; cutter.documents().max(1) as usize];
    let mut seen: Vec<(&str, &cut::Section)> = Vec::new();
    let mut dump = 0;
    for (document, slot) in out.iter_mut().enumerate() {
        let mine: Vec<&cut::Section> =
            cutter.sections.iter().filter(|s| s.document as usize == document && s.known()).collect();
        let repeats = mine.iter().any(|s| {
            let t = s.type_name.as_deref().unwrap_or("");
            seen.iter().any(|(seen_type, other)| *seen_type == t && (!t.is_empty() || other.fields == s.fields))
        });
        if repeats {
            dump += 1;
            seen.clear();
        }
        seen.extend(mine.into_iter().map(|s| (s.type_name.as_deref().unwrap_or(""), s)));
        *slot = dump;
    }
    out
}

/// The dump of that index and path, made when it is new.
fn proxy_for<'a>(out: &'a mut Dumps, dump: usize, path: &str) -> &'a mut Proxy {
    // dumps are few (one, or the pods of an `egctl` answer), so a scan from the back is enough
    let key: Box<str> = if dump == 0 { path.into() } else { format!("{path}#{}", dump + 1).into() };
    if let Some(i) = out.dumps.iter().rposition(|(k, _)| *k == key) {
        return &mut out.dumps[i].1;
    }
    out.dumps.push((key, Proxy::default()));
    let last = out.dumps.len() - 1;
    &mut out.dumps[last].1
}

fn merge(into: &mut Proxy, from: Proxy) {
    fn append<T>(into: &mut Vec<T>, from: Vec<T>) {
        if into.is_empty() {
            *into = from;
        } else {
            into.extend(from);
        }
    }
    append(&mut into.listeners, from.listeners);
    append(&mut into.clusters, from.clusters);
    append(&mut into.route_tables, from.route_tables);
    append(&mut into.scoped_routes, from.scoped_routes);
    append(&mut into.endpoint_sets, from.endpoint_sets);
    append(&mut into.secrets, from.secrets);
    append(&mut into.extension_configs, from.extension_configs);
    if from.bootstrap.is_some() {
        into.bootstrap = from.bootstrap;
        into.node = from.node;
    }
    if let Some(statuses) = from.cluster_statuses {
        into.cluster_statuses.get_or_insert_default().extend(statuses);
    }
}

fn place(proxy: &mut Proxy, r: Resource) {
    match r {
        Resource::Listener(x) => proxy.listeners.push(x),
        Resource::Cluster(x) => proxy.clusters.push(x),
        Resource::RouteTable(x) => proxy.route_tables.push(x),
        Resource::ScopedRoutes(x) => proxy.scoped_routes.push(x),
        Resource::EndpointSet(x) => proxy.endpoint_sets.push(x),
        Resource::Secret(x) => proxy.secrets.push(x),
        Resource::ExtensionConfig(x) => proxy.extension_configs.push(x),
        Resource::Bootstrap(b) => {
            let (bootstrap, node) = *b;
            proxy.bootstrap = Some(bootstrap);
            proxy.node = node;
        }
        Resource::ClusterStatus(x) => proxy.cluster_statuses.get_or_insert_default().push(x),
    }
}

fn sort_by_place(p: &mut Proxy) {
    p.unknown.sort_by_key(|u| u.span);
}

fn unknown(proxy: &mut Proxy, type_name: &str, span: Span) {
    match proxy.unknown.iter_mut().find(|u| &*u.type_name == type_name) {
        Some(u) => {
            u.count += 1;
            u.bytes += span.len_bytes;
        }
        None => proxy.unknown.push(Unknown { type_name: type_name.into(), count: 1, bytes: span.len_bytes, span }),
    }
}

fn set_version(versions: &mut SectionVersions, s: &cut::Section) {
    use shape::ListField::{DynamicActiveClusters, DynamicListeners, StaticClusters, StaticListeners};
    let slot = match s.type_name.as_deref().and_then(shape::section_name) {
        Some("listeners") => &mut versions.listeners,
        Some("clusters") => &mut versions.clusters,
        Some(_) => return,
        None if s.fields.iter().any(|f| matches!(f, StaticListeners | DynamicListeners)) => &mut versions.listeners,
        None if s.fields.iter().any(|f| matches!(f, StaticClusters | DynamicActiveClusters)) => &mut versions.clusters,
        None => return,
    };
    *slot = (&*s.version).into();
}

/// `1 resource was whole before it`.
fn whole_before(n: usize) -> String {
    if n == 1 { "1 resource was whole before it".to_owned() } else { format!("{n} resources were whole before it") }
}

fn remark(label: &str, r: &Remark, out: &Dumps, error: Option<&std::io::Error>) -> Problem {
    let whole = whole_before(out.resources);
    let at = |p: Problem, offset: u64, line: u64| Problem { line: Some(line), ..p.at(offset) };
    match r {
        Remark::LeadingText { bytes } => {
            Problem::new(label, Loss::Nothing, format!("{bytes} bytes in front of the JSON were skipped")).at(0)
        }
        Remark::NoDocument => Problem::new(label, Loss::Whole, "no JSON object or list in it")
            .hint("fetch it again from the admin port: curl -s localhost:15000/config_dump?include_eds"),
        Remark::TrailingText { offset_bytes } => {
            Problem::new(label, Loss::Nothing, "text behind the JSON was skipped").at(*offset_bytes)
        }
        Remark::TooLong { offset_bytes, line, len_bytes } => at(
            Problem::new(
                label,
                Loss::Resource,
                format!("a resource of {len_bytes} bytes is longer than the limit and was skipped"),
            )
            .hint("raise --max-resource"),
            *offset_bytes,
            *line,
        ),
        Remark::NotAnObject { offset_bytes, line } => at(
            Problem::new(
                label,
                Loss::Resource,
                "a list of resources holds something that is no object; it was skipped",
            )
            .hint("look at this byte: the tool that wrote the dump may be at fault"),
            *offset_bytes,
            *line,
        ),
        Remark::Broken { offset_bytes, line, expected } => at(
            Problem::new(label, Loss::Part, format!("not JSON from here on: expected {expected}; {whole}"))
                .hint("fetch the dump again, or cut the file at this byte"),
            *offset_bytes,
            *line,
        ),
        Remark::EndsEarly { offset_bytes, line, inside } => {
            let stream = error.map(|e| (format!("{e}: "), StreamError::of(e).map_or("", StreamError::hint)));
            let (why, hint) = stream.unwrap_or_default();
            let hint = if hint.is_empty() { "fetch the dump again without a size or time limit" } else { hint };
            at(
                Problem::new(
                    label,
                    Loss::Part,
                    format!("{why}the file ends inside {inside} that begins here; {whole}"),
                )
                .hint(hint),
                *offset_bytes,
                *line,
            )
        }
    }
}
