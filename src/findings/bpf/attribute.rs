//! Which outer map an inner map belongs to.
//!
//! A dump of the outer map says it. Without one, `map show` has no link at all: inner maps are unnamed rows of one
//! shape. They are matched to an outer map that could hold them, only where something speaks for it, and marked as
//! inferred.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::owners;
use crate::model::bpf::{BpfListing, BpfMap, MapDump, MapType, Shape};

/// How a parent was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, PartialOrd, Ord, Hash, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParentFrom {
    /// The outer map's dump lists it.
    Dump,
    /// By shape, name of a template, or a known data plane.
    Shape,
    /// Likewise, and several outer maps are equal (one per daemon): the youngest that is older than the map is named.
    OneOfEqual,
}

/// The outer map of an inner one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) outer: u32,
    pub(super) from: ParentFrom,
}

type Fits = fn(&Shape) -> bool;

/// Inner maps that known data planes put into their outer maps.
const PAIRS: &[(&str, Fits)] = &[
    // Kmesh 0.2 to 0.5: BPF_INNER_MAP_DATA_LEN 1300
    ("outer_map", |s| s.map_type == MapType::Array && s.key == 4 && s.value == 1300 && s.max_entries == 1),
    // Kmesh 1.x and Cilium: one Maglev table per service
    ("outer_of_maglev", |s| s.map_type == MapType::Array && s.max_entries == 1 && s.value > 1300),
    ("cilium_lb4_magl", |s| s.map_type == MapType::Array && s.max_entries == 1),
    ("cilium_lb6_magl", |s| s.map_type == MapType::Array && s.max_entries == 1),
    // Tetragon: one hash of cgroups per policy
    ("policy_filter_", |s| s.map_type == MapType::Hash),
];

/// The outer map each dump is of, by index into `dumps`.
fn outers_of_dumps(listing: &BpfListing, outers: &[&BpfMap]) -> Vec<Option<u32>> {
    let ids: HashSet<u32> = listing.maps.iter().map(|m| m.id).collect();
    let outer_of = |dump: &MapDump| -> Option<u32> {
        if dump.inner_ids.is_empty() {
            return None;
        }
        let only = |found: Vec<&&BpfMap>| if let [one] = found[..] { Some(one.id) } else { None };
        if let Some(outer) = dump.map_id.and_then(|id| outers.iter().find(|o| o.id == id)) {
            return Some(outer.id);
        }
        if !dump.map_name.is_empty() {
            return only(outers.iter().filter(|o| o.name == dump.map_name).collect());
        }
        let named: Vec<_> = outers.iter().filter(|o| o.name.len() >= 3 && dump.stem.contains(&*o.name)).collect();
        if named.len() == 1 {
            return only(named);
        }
        // whatever the file is called: its values are maps of this listing, and one outer map has such keys
        let all_known = dump.value_bytes == Some(4) && dump.inner_ids.iter().all(|id| ids.contains(id));
        let fitting = outers
            .iter()
            .filter(|o| dump.key_bytes == Some(o.shape.key) && dump.entries <= u64::from(o.shape.max_entries));
        if all_known { only(fitting.collect()) } else { None }
    };
    listing.dumps.iter().map(outer_of).collect()
}

/// The parent of every inner map that has one.
pub(super) fn parents(listing: &BpfListing) -> HashMap<u32, Parent> {
    let mut outers: Vec<&BpfMap> = listing.maps.iter().filter(|m| m.shape.map_type.is_outer()).collect();
    outers.sort_unstable_by_key(|m| m.id);
    let mut parents: HashMap<u32, Parent> = HashMap::new();
    if outers.is_empty() {
        return parents;
    }
    let by_id: HashMap<u32, &BpfMap> = listing.maps.iter().map(|m| (m.id, m)).collect();
    let dumped_outers = outers_of_dumps(listing, &outers);
    let mut proven: HashSet<(u32, Shape)> = HashSet::new();
    for (dump, outer) in listing.dumps.iter().zip(&dumped_outers) {
        let Some(outer) = *outer else { continue };
        for id in &dump.inner_ids {
            let Some(inner) = by_id.get(id) else { continue };
            proven.insert((outer, inner.shape));
            let parent = parents.entry(*id).or_insert(Parent { outer, from: ParentFrom::Dump });
            parent.outer = parent.outer.min(outer);
        }
    }
    let dumped: HashSet<u32> = dumped_outers.into_iter().flatten().collect();

    let used: HashSet<u32> = listing.progs.iter().flat_map(|p| p.map_ids.iter().copied()).collect();
    let mut groups: BTreeMap<Shape, Vec<&BpfMap>> = BTreeMap::new();
    for map in &listing.maps {
        let free = map.name.is_empty()
            && map.pinned.is_empty()
            && !map.shape.map_type.is_outer()
            && !used.contains(&map.id)
            && !parents.contains_key(&map.id);
        if free {
            groups.entry(map.shape).or_default().push(map);
        }
    }
    let templates: BTreeMap<Shape, &BpfMap> = listing
        .maps
        .iter()
        .filter(|m| m.name.contains("inner") && !m.shape.map_type.is_outer())
        .map(|m| (m.shape, m))
        .collect();
    for (shape, maps) in groups {
        let scored: Vec<(u32, &BpfMap)> = outers
            .iter()
            // a dump that lists all of an outer map's slots leaves no room for guesses
            .filter(|outer| !dumped.contains(&outer.id) || proven.contains(&(outer.id, shape)))
            .map(|outer| (speaks_for(outer, &shape, &outers, &proven, &templates), *outer))
            .filter(|(score, _)| *score > 0)
            .collect();
        let Some(best) = scored.iter().map(|(score, _)| *score).max() else { continue };
        let chosen: Vec<&BpfMap> = scored.into_iter().filter(|(score, _)| *score == best).map(|(_, o)| o).collect();
        // equal outer maps (one per daemon) share a shape; different ones are a guess nobody should act on
        if chosen.iter().any(|o| (&o.name, o.shape) != (&chosen[0].name, chosen[0].shape)) {
            continue;
        }
        let room: u64 = chosen.iter().map(|o| u64::from(o.shape.max_entries)).sum();
        if maps.len() as u64 > room {
            continue;
        }
        let from = if chosen.len() > 1 { ParentFrom::OneOfEqual } else { ParentFrom::Shape };
        for map in maps {
            let holds = |outer: &&&BpfMap| outer.holders.iter().any(|h| map.holders.iter().any(|m| m.pid == h.pid));
            let outer = if map.holders.is_empty() {
                // ids grow: an inner map is younger than its outer map
                chosen.iter().rev().find(|o| o.id < map.id).or(chosen.first())
            } else {
                chosen.iter().find(holds)
            };
            // the processes that hold both say which
            let from = if map.holders.is_empty() { from } else { ParentFrom::Shape };
            if let Some(outer) = outer {
                parents.insert(map.id, Parent { outer: outer.id, from });
            }
        }
    }
    parents
}

/// How much speaks for unnamed maps of this shape being inside this outer map; 0 is nothing.
fn speaks_for(
    outer: &BpfMap,
    shape: &Shape,
    outers: &[&BpfMap],
    proven: &HashSet<(u32, Shape)>,
    templates: &BTreeMap<Shape, &BpfMap>,
) -> u32 {
    if proven.contains(&(outer.id, *shape)) {
        return 4;
    }
    let paired = PAIRS.iter().find(|(name, _)| outer.name.starts_with(name));
    match paired {
        Some((_, fits)) if fits(shape) => return 3,
        Some(_) => return 0,
        None => {}
    }
    if let Some(template) = templates.get(shape) {
        let (a, b) = (owners::by_name(&outer.name), owners::by_name(&template.name));
        if a.is_none() || b.is_none() || a == b {
            return 2;
        }
    }
    // the only outer map there is; copies of it, one per daemon, count as one
    u32::from(outers.iter().all(|o| (&o.name, o.shape) == (&outer.name, outer.shape)))
}
