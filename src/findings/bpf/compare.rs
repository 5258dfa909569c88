//! Two listings of one node.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::bpf::{BpfListing, Shape};

/// What changed from the first listing to the last.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Changes {
    /// Maps in the first listing.
    pub maps_before: u64,
    /// Sum of `bytes_memlock` in the first listing.
    pub memlock_before: u64,
    /// Sum of `bytes_memlock` in the last listing.
    pub memlock_after: u64,
    /// Kinds of maps that changed, the largest change first.
    pub changed: Vec<Change>,
}

/// Maps of one name and shape.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Change {
    /// Name; empty when they have none.
    pub name: Box<str>,
    /// Type.
    #[serde(rename = "type")]
    pub map_type: String,
    /// `max_entries` of each.
    pub entries_max: u32,
    /// How many there were.
    pub maps_before: u64,
    /// How many there are.
    pub maps_after: u64,
    /// Sum of their `bytes_memlock` then.
    pub memlock_before: u64,
    /// And now.
    pub memlock_after: u64,
    /// Every one of them has a new id: they were re-created.
    pub recreated: bool,
}

#[derive(Default)]
struct Kind {
    maps: [u64; 2],
    memlock: [u64; 2],
    ids: [Vec<u32>; 2],
}

/// Compares by name and shape: ids are new after every re-creation.
pub fn changes(before: &BpfListing, after: &BpfListing) -> Changes {
    let mut kinds: BTreeMap<(&str, Shape), Kind> = BTreeMap::new();
    for (side, listing) in [before, after].into_iter().enumerate() {
        for map in &listing.maps {
            let kind = kinds.entry((&map.name, map.shape)).or_default();
            kind.maps[side] += 1;
            kind.memlock[side] += map.memlock.unwrap_or(0);
            kind.ids[side].push(map.id);
        }
    }
    let mut changed: Vec<Change> = kinds
        .into_iter()
        .filter_map(|((name, shape), kind)| {
            let [was, now] = &kind.ids;
            let recreated = !was.is_empty() && !now.is_empty() && {
                let was: std::collections::BTreeSet<_> = was.iter().collect();
                now.iter().all(|id| !was.contains(id))
            };
            let same = kind.maps[0] == kind.maps[1] && kind.memlock[0] == kind.memlock[1] && !recreated;
            (!same).then(|| Change {
                name: name.into(),
                map_type: shape.map_type.to_string(),
                entries_max: shape.max_entries,
                maps_before: kind.maps[0],
                maps_after: kind.maps[1],
                memlock_before: kind.memlock[0],
                memlock_after: kind.memlock[1],
                recreated,
            })
        })
        .collect();
    changed.sort_by_key(|c| std::cmp::Reverse(c.memlock_before.abs_diff(c.memlock_after)));
    Changes {
        maps_before: before.maps.len() as u64,
        memlock_before: before.maps.iter().map(|m| m.memlock.unwrap_or(0)).sum(),
        memlock_after: after.maps.iter().map(|m| m.memlock.unwrap_or(0)).sum(),
        changed,
    }
}
