//! Two recordings side by side: what a simulated Envoy makes of each, then what each leaves Envoy with.

use std::collections::BTreeMap;

use serde::Serialize;

use super::diff::Pair;
use super::replay::{Replay, RunReport, xds};
use crate::model::envoy::Name;
use crate::model::stream::{Body, BodyId, Recording, What, XdsType};

/// Less than this is no difference: texts of versions and another spelling weigh some bytes.
const PAGE_BYTES: u64 = 4096;

/// Two recordings.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct RecordingDiff {
    /// Nothing of the below differs; less than a page of memory is no difference.
    pub equal: bool,
    /// Memory by the simulation, in bytes.
    pub memory: RecordingMemory,
    /// The push that raised memory to its peak, in words.
    pub cause: CauseDiff,
    /// What was sent, and what Envoy did with it: those that differ first, then in this order.
    pub counts: Vec<CountDiff>,
    /// What Envoy is left with at the end.
    pub resources: FinalDiff,
}

/// Memory by the simulation, in bytes.
#[derive(Debug, Clone, Copy, Serialize, schemars::JsonSchema)]
pub struct RecordingMemory {
    /// The highest `allocated`.
    pub peak: Pair,
    /// Anonymous resident memory at that moment.
    pub peak_resident: Pair,
    /// `allocated` at the end of the recording.
    pub end: Pair,
    /// Once every timer has ended.
    pub settled: Pair,
    /// What never goes.
    pub leaked: Pair,
}

/// Words about both sides.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct CauseDiff {
    /// Then.
    pub before: String,
    /// Now.
    pub after: String,
}

/// A number of both sides.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct CountDiff {
    /// What is counted.
    pub what: String,
    /// How many.
    pub count: Pair,
}

/// What Envoy is left with.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct FinalDiff {
    /// Only after the second.
    pub added: Vec<FinalResource>,
    /// Only after the first.
    pub removed: Vec<FinalResource>,
    /// Of another content.
    pub changed: Vec<FinalResource>,
    /// Only the order of lists differs; Envoy takes that for an update.
    pub reordered: Vec<FinalResource>,
    /// The same.
    pub unchanged: u64,
}

/// A resource at the end of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct FinalResource {
    /// `LDS`, `CDS` …
    pub xds: &'static str,
    /// Name.
    pub name: Name,
    /// Fields that differ, down to the second level.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Name>,
}

/// What a stream leaves Envoy with: state-of-the-world responses of listeners and clusters are the whole, others add to
/// what is there.
fn left_with(r: &Recording) -> BTreeMap<(XdsType, Name), BodyId> {
    let key = |id: BodyId| (r.body(id).kind, r.body(id).name.clone());
    let mut out: BTreeMap<(XdsType, Name), BodyId> = r.base.iter().map(|id| (key(*id), *id)).collect();
    for event in &r.events {
        let What::Push(push) = &event.what else { continue };
        if !push.delta && matches!(push.kind, XdsType::Listener | XdsType::Cluster) {
            out.retain(|(kind, _), _| *kind != push.kind);
        }
        for name in &push.removed {
            out.remove(&(push.kind, name.clone()));
        }
        out.extend(push.resources.iter().map(|p| (key(p.body), p.body)));
    }
    out
}

/// Paths of the first levels that differ; a path is left out where one below it is named.
fn fields(a: &Body, b: &Body) -> Vec<Name> {
    let side = |x: &Body| x.outline.iter().map(|(path, hash, _)| (path.clone(), *hash)).collect::<BTreeMap<_, _>>();
    let (a, b) = (side(a), side(b));
    let mut out: Vec<Name> = a.keys().chain(b.keys()).filter(|k| a.get(*k) != b.get(*k)).cloned().collect();
    out.sort();
    out.dedup();
    let below =
        |outer: &Name, inner: &Name| inner.strip_prefix(&**outer).is_some_and(|rest| rest.starts_with(['.', '[']));
    let all = out.clone();
    out.retain(|path| !all.iter().any(|other| below(path, other)));
    out
}

fn final_diff(before: &Recording, after: &Recording) -> FinalDiff {
    let (a, b) = (left_with(before), left_with(after));
    let mut out = FinalDiff::default();
    let row = |(kind, name): &(XdsType, Name), fields: Vec<Name>| FinalResource {
        xds: xds(*kind),
        name: name.clone(),
        fields,
    };
    for (key, id) in &a {
        let Some(other) = b.get(key) else {
            out.removed.push(row(key, Vec::new()));
            continue;
        };
        let (x, y) = (before.body(*id), after.body(*other));
        if x.hash == y.hash {
            out.unchanged += 1;
        } else if x.set_hash == y.set_hash {
            out.reordered.push(row(key, fields(x, y)));
        } else {
            out.changed.push(row(key, fields(x, y)));
        }
    }
    out.added = b.keys().filter(|key| !a.contains_key(key)).map(|key| row(key, Vec::new())).collect();
    out
}

fn counts(before: &Replay, after: &Replay) -> Vec<CountDiff> {
    let mut out: Vec<CountDiff> = Vec::new();
    let mut add = |what: String, before: u64, after: u64| {
        if before + after > 0 {
            out.push(CountDiff { what, count: Pair { before, after } });
        }
    };
    let run = |r: &Replay, of: &dyn Fn(&RunReport) -> u64| r.runs.first().map_or(0, of);
    for name in ["LDS", "RDS", "SRDS", "VHDS", "CDS", "EDS", "SDS", "ECDS", "other"] {
        let of = |r: &Replay| run(r, &|run| run.pushes.iter().filter(|p| p.xds == name).count() as u64);
        add(format!("{name} pushes"), of(before), of(after));
    }
    type Number = fn(&RunReport) -> u64;
    let numbers: [(&str, Number); 8] = [
        ("resources added", |r| r.pushes.iter().map(|p| u64::from(p.effect.added)).sum()),
        ("resources replaced whole", |r| r.pushes.iter().map(|p| u64::from(p.effect.modified_full)).sum()),
        ("listeners changed in place", |r| r.pushes.iter().map(|p| u64::from(p.effect.modified_in_place)).sum()),
        ("resources removed", |r| r.pushes.iter().map(|p| u64::from(p.effect.removed)).sum()),
        ("resources sent again as they were", |r| r.pushes.iter().map(|p| u64::from(p.effect.no_op)).sum()),
        ("resources in another order only", |r| r.pushes.iter().map(|p| u64::from(p.effect.order_only)).sum()),
        ("responses rejected", |r| r.counters.updates_rejected),
        ("drains", |r| r.drains_total),
    ];
    for (what, number) in numbers {
        add(what.to_owned(), run(before, &number), run(after, &number));
    }
    out.sort_by_key(|c| c.count.delta() == 0);
    out
}

/// What differs between two recordings, each with its replay.
pub fn recordings(before: (&Recording, &Replay), after: (&Recording, &Replay)) -> RecordingDiff {
    let pair = |of: fn(&RunReport) -> u64| Pair {
        before: before.1.runs.first().map_or(0, of),
        after: after.1.runs.first().map_or(0, of),
    };
    let memory = RecordingMemory {
        peak: pair(|r| r.peak.allocated.bytes),
        peak_resident: pair(|r| r.peak.resident),
        end: pair(|r| r.end.allocated),
        settled: pair(|r| r.end.settled.allocated),
        leaked: pair(|r| r.end.leaked.bytes),
    };
    let cause = |r: &Replay| r.runs.first().map(|run| run.peak.cause.clone()).unwrap_or_default();
    let counts = counts(before.1, after.1);
    let resources = final_diff(before.0, after.0);
    let same_memory = [memory.peak, memory.peak_resident, memory.end, memory.settled, memory.leaked];
    let lists = [&resources.added, &resources.removed, &resources.changed, &resources.reordered];
    RecordingDiff {
        equal: same_memory.iter().all(|p| p.delta().unsigned_abs() < PAGE_BYTES)
            && counts.iter().all(|c| c.count.delta() == 0)
            && lists.iter().all(|l| l.is_empty()),
        memory,
        cause: CauseDiff { before: cause(before.1), after: cause(after.1) },
        counts,
        resources,
    }
}
