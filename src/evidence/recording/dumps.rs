//! A series of config dumps of one Envoy as a recording: what changed between two of them, at the time that
//! `last_updated` gives, and otherwise at the later dump.
//!
//! What happened in between and left no trace stays unknown, so the stretch between two dumps is a gap.

use std::collections::HashMap;

use super::bodies::{self, Mention};
use super::observations::time_in_name;
use super::settings::{self, Active};
use super::timeline::Timeline;
use crate::evidence::config_dump::{self, pieces};
use crate::evidence::json::names::empty;
use crate::input::Document;
use crate::model::envoy::Name;
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::{BodyId, Event, GapReason, Push, Pushed, Us, What, XdsType};

struct Entry {
    type_name: &'static str,
    name: Name,
    hash: u64,
    body: BodyId,
    version: Name,
    updated: Option<Us>,
}

/// One dump of a series.
pub(super) struct Dump {
    input: InputId,
    label: String,
    t: Us,
    entries: Vec<Entry>,
}

/// Reads one dump. `t` is its time, when something around it says so.
pub(super) fn read(
    label: &str,
    all: &[u8],
    input: InputId,
    t: Option<Us>,
    offset_bytes: u64,
    timeline: &mut Timeline,
) -> Option<Dump> {
    let (found, problems) = pieces(label, all, config_dump::Limits::default());
    timeline.problems.extend(problems);
    let mut entries = Vec::new();
    for (kind, range) in found {
        if let Some(Active { type_name, text, updated, version }) = settings::active(kind, &all[range]) {
            let at = (text.as_ptr() as usize - all.as_ptr() as usize) as u64 + offset_bytes;
            let len_bytes = text.len() as u64;
            let mention = Mention { key: bodies::key(type_name, "", text), offset_bytes: at, len_bytes };
            let keep = timeline.keep_texts;
            let body =
                timeline.bodies.add(input, mention, || bodies::read(type_name, "", text, len_bytes, false, keep));
            let Some(b) = timeline.bodies.get(body) else { continue };
            let (name, hash) = (b.name.clone(), b.hash);
            entries.push(Entry { type_name, name, hash, body, version, updated });
        }
    }
    let newest = entries.iter().filter_map(|e| e.updated).max();
    let Some(t) = t.or_else(|| time_in_name(label)).or(newest) else {
        timeline.problems.push(
            Problem::new(label, Loss::Whole, "when this dump was taken is not known")
                .hint("put the time into its name: dump-20261120T221049Z.json"),
        );
        return None;
    };
    Some(Dump { input, label: label.to_owned(), t, entries })
}

/// Reads a dump that is a document of its own.
pub(super) fn document(document: &Document, input: InputId, timeline: &mut Timeline) -> Option<Dump> {
    let all = settings::bytes(document, timeline);
    read(document.label(), &all, input, None, 0, timeline)
}

/// The order in which changes of one moment are applied.
fn rank(type_name: &str) -> usize {
    use XdsType::{Cluster, Endpoints, ExtensionConfig, Listener, RouteConfig, ScopedRoutes, Secret};
    let order = [Secret, Cluster, Endpoints, ExtensionConfig, Listener, RouteConfig, ScopedRoutes];
    order.iter().position(|k| *k == bodies::xds_type(type_name)).unwrap_or(order.len())
}

/// Turns the dumps into events. Gives what the first one holds, which is what Envoy began with.
pub(super) fn series(mut dumps: Vec<Dump>, timeline: &mut Timeline) -> Vec<BodyId> {
    dumps.sort_by_key(|d| d.t);
    let Some(first) = dumps.first() else { return Vec::new() };
    if timeline.events.iter().any(|e| matches!(e.what, What::Push(_))) {
        for d in &dumps {
            let what = "pushes are taken from the other sources; this dump adds nothing to them";
            let p = Problem::new(&*d.label, Loss::Nothing, what).hint("--base DUMP says what Envoy held before");
            timeline.problems.push(Problem { input: Some(d.input), ..p });
        }
        return Vec::new();
    }
    let base = first.entries.iter().map(|e| e.body).collect();
    for pair in dumps.windows(2) {
        between(&pair[0], &pair[1], timeline);
    }
    if dumps.len() == 1 {
        let what = "a single config dump is no recording: nothing happens in it";
        let p = Problem::new(&*dumps[0].label, Loss::Nothing, what).hint("give two or more of one Envoy, or --base");
        timeline.problems.push(Problem { input: Some(dumps[0].input), ..p });
    }
    base
}

fn between(before: &Dump, after: &Dump, timeline: &mut Timeline) {
    let mut event = |t: Us, what: What| timeline.events.push(Event { t, input: after.input, stream: 0, what });
    event(before.t, What::Gap { until: after.t, reason: GapReason::Poll });
    let mut old: HashMap<(&str, &Name), &Entry> = before.entries.iter().map(|e| ((e.type_name, &e.name), e)).collect();
    let mut changes: Vec<(Us, usize, &Entry)> = Vec::new();
    let mut present: HashMap<(&str, &Name), ()> = HashMap::new();
    for e in &after.entries {
        present.insert((e.type_name, &e.name), ());
        let same = old.get(&(e.type_name, &e.name)).is_some_and(|o| o.hash == e.hash && o.updated >= e.updated);
        if !same {
            let t = e.updated.filter(|t| *t > before.t && *t <= after.t).unwrap_or(after.t);
            changes.push((t, rank(e.type_name), e));
        }
    }
    changes.sort_by_key(|(t, rank, _)| (*t, *rank));
    for same in changes.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (t, _, first) = same[0];
        let resources = same.iter().map(|(_, _, e)| Pushed { body: e.body, version: empty() }).collect();
        event(t, push(first.type_name, first.version.clone(), resources, Vec::new()));
    }
    old.retain(|key, _| !present.contains_key(key));
    let mut gone: Vec<(usize, &'static str, Name)> =
        old.into_values().map(|e| (rank(e.type_name), e.type_name, e.name.clone())).collect();
    gone.sort();
    for same in gone.chunk_by(|a, b| a.1 == b.1) {
        event(after.t, push(same[0].1, empty(), Vec::new(), same.iter().map(|g| g.2.clone()).collect()));
    }
}

fn push(type_name: &str, version: Name, resources: Vec<Pushed>, removed: Vec<Name>) -> What {
    What::Push(Box::new(Push {
        kind: bodies::xds_type(type_name),
        type_name: crate::evidence::json::names::word(type_name),
        delta: true,
        version,
        nonce: empty(),
        resources,
        removed,
        bytes: 0,
    }))
}
