//! Resources of two runs compared by what they mean: read again from where they stand, one at a time.

use std::io::Read;

use rayon::prelude::*;

use super::load::utf16;
use super::semantic::{Meaning, Place};
use crate::input::{Content, Document};
use crate::model::change::{At, FieldChange, Slot};
use crate::model::envoy::State;

fn place(slot: Slot) -> Place {
    match slot {
        Slot::Listener(State::Warming) => &[&["warmingstate", "listener"], &["listener"]],
        Slot::Listener(State::Draining) => &[&["drainingstate", "listener"], &["listener"]],
        Slot::Listener(State::Error) => &[&["errorstate", "failedconfiguration"], &["errorstate"]],
        Slot::Listener(_) => &[&["activestate", "listener"], &["listener"]],
        Slot::Cluster => &[&["cluster"]],
        Slot::RouteConfig => &[&["routeconfig"]],
        Slot::Endpoints => &[&["endpointconfig"]],
        Slot::Secret => &[&["secret"]],
        Slot::ExtensionConfig => &[&["ecdsfilter"]],
        Slot::Bootstrap => &[&["bootstrap"]],
        Slot::ScopedRoutes | Slot::Other => &[],
    }
}

/// What of a resource is left to others: static resources are compared by themselves.
fn without(slot: Slot) -> &'static [&'static str] {
    const STATIC: [&str; 3] = ["staticresources.clusters", "staticresources.listeners", "staticresources.secrets"];
    if slot == Slot::Bootstrap { &STATIC } else { &[] }
}

fn meaning(at: At, bytes: &[u8]) -> Option<Meaning> {
    Meaning::read(&String::from_utf8_lossy(bytes), place(at.slot), without(at.slot)).ok()
}

/// Most differences listed of one resource.
const MOST: usize = 200;

/// What differs in each pair, and how many differences were left out of the list; `None` where one of the two cannot be
/// read. Equal resources give an empty list. Only those that differ are held in memory, one document at a time.
pub fn changes(before: &[Document], after: &[Document], pairs: &[(At, At)]) -> Vec<Option<(Vec<FieldChange>, usize)>> {
    let (left, right): (Vec<At>, Vec<At>) = pairs.iter().copied().unzip();
    let hash = |at: At, bytes: &[u8]| meaning(at, bytes).map(|m| m.hashes());
    let (left, right) = (visit(before, &left, hash), visit(after, &right, hash));
    let differ: Vec<usize> = (0..pairs.len())
        .filter(|i| matches!((&left[*i], &right[*i]), (Some(Some(a)), Some(Some(b))) if a != b))
        .collect();
    let mut out: Vec<Option<(Vec<FieldChange>, usize)>> = left
        .iter()
        .zip(&right)
        .map(|(a, b)| matches!((a, b), (Some(Some(_)), Some(Some(_)))).then(Default::default))
        .collect();
    for chunk in differ.chunks(CHUNK) {
        let a: Vec<At> = chunk.iter().map(|i| pairs[*i].0).collect();
        let b: Vec<At> = chunk.iter().map(|i| pairs[*i].1).collect();
        let (a, b) = (visit(before, &a, meaning), visit(after, &b, meaning));
        let found: Vec<(Vec<FieldChange>, usize)> = a
            .into_par_iter()
            .zip(b)
            .map(|pair| match pair {
                (Some(Some(a)), Some(Some(b))) => a.changes(&b, MOST),
                _ => Default::default(),
            })
            .collect();
        for (i, changes) in chunk.iter().zip(found) {
            out[*i] = Some(changes);
        }
    }
    out
}

/// A hash of what stands at each place, equal for what means the same; `None` where it cannot be read.
pub fn hashes(documents: &[Document], places: &[At]) -> Vec<Option<u64>> {
    visit(documents, places, |at, bytes| meaning(at, bytes).map(|m| m.hashes().0))
        .into_iter()
        .map(Option::flatten)
        .collect()
}

/// Pairs whose trees are held at a time.
const CHUNK: usize = 20_000;

/// Calls `f` with the bytes of each place; `None` where the document ends before it.
fn visit<T: Send>(documents: &[Document], places: &[At], f: impl Fn(At, &[u8]) -> T + Sync) -> Vec<Option<T>> {
    let mut out: Vec<Option<T>> = places.iter().map(|_| None).collect();
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|i| (places[*i].span.input, places[*i].span.offset_bytes));
    for run in order.chunk_by(|a, b| places[*a].span.input == places[*b].span.input) {
        let Some(document) = documents.get(places[run[0]].span.input.0 as usize) else { continue };
        let Ok(content) = document.open() else { continue };
        let wide = document.head().starts_with(&[0xff, 0xfe]) || document.head().starts_with(&[0xfe, 0xff]);
        let got: Vec<Option<T>> = match content {
            Content::Slice(bytes) if !wide => run.par_iter().map(|i| slice(bytes, places[*i], 0, &f)).collect(),
            content if wide => {
                let (bytes, _) = content.read_all();
                let (text, _) = utf16(&bytes);
                run.par_iter().map(|i| slice(text.as_bytes(), places[*i], 0, &f)).collect()
            }
            Content::Stream(mut stream) => streamed(&mut *stream, places, run, &f),
            Content::Slice(_) => continue,
        };
        for (i, value) in run.iter().zip(got) {
            out[*i] = value;
        }
    }
    out
}

fn slice<T>(bytes: &[u8], at: At, base: u64, f: &impl Fn(At, &[u8]) -> T) -> Option<T> {
    let from = usize::try_from(at.span.offset_bytes - base).ok()?;
    let to = from.checked_add(usize::try_from(at.span.len_bytes).ok()?)?;
    Some(f(at, bytes.get(from..to)?))
}

/// Bytes of a stream held at a time, unless one resource is longer.
const WINDOW_BYTES: u64 = 8 << 20;

/// Reads a stream once, window by window; `run` is sorted by offset.
fn streamed<T: Send>(
    stream: &mut (dyn Read + Send),
    places: &[At],
    run: &[usize],
    f: &(impl Fn(At, &[u8]) -> T + Sync),
) -> Vec<Option<T>> {
    let end = |i: usize| places[i].span.offset_bytes + places[i].span.len_bytes;
    let mut out: Vec<Option<T>> = Vec::with_capacity(run.len());
    let (mut position, mut window, mut next) = (0_u64, Vec::new(), 0);
    while next < run.len() {
        let start = places[run[next]].span.offset_bytes;
        let (mut last, mut to) = (next, end(run[next]));
        while last + 1 < run.len() {
            let (from, until) = (places[run[last + 1]].span.offset_bytes, end(run[last + 1]));
            if from >= to && until - start > WINDOW_BYTES {
                break;
            }
            to = to.max(until);
            last += 1;
        }
        let skipped = std::io::copy(&mut stream.take(start.saturating_sub(position)), &mut std::io::sink());
        window.clear();
        let read = stream.take(to - start).read_to_end(&mut window);
        out.extend(run[next..=last].par_iter().map(|i| slice(&window, places[*i], start, f)).collect::<Vec<_>>());
        if skipped.is_err() || read.is_err() {
            break;
        }
        position = to;
        next = last + 1;
    }
    out.resize_with(run.len(), || None);
    out
}
