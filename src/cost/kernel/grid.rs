//! Predicts a grid of maps created on one kernel, part of whose numbers are known.

use std::collections::BTreeMap;

use super::profile::{Profile, Version};
use super::solve::{CpusFrom, EraFrom, Fit, Fixed, Known, fit};
use super::{Era, counts_entries, live_entries, reported};
use crate::model::bpf::{MapType, Shape};
use crate::model::bpf_grid::{Inserted, Outcome, Pattern, Row};

/// What is predicted for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prediction {
    /// `memlock` in bytes.
    Bytes(u64),
    /// The kernel refuses to create the map: the type is newer than it (`EINVAL`), or every known row of the type
    /// says so.
    Refused(Box<str>),
    /// The formula of this type is not known.
    None,
}

/// Predictions for every row, and the profile they were made with.
#[derive(Debug, Clone)]
pub struct Predicted {
    /// The profile, and what of it the known rows determined.
    pub fit: Fit,
    /// One prediction per row.
    pub rows: Vec<Prediction>,
}

/// Predicts every row, the known ones too: a known number never stands in for its own prediction, it only helps to
/// solve the profile.
pub fn predict(version: Version, rows: &[Row]) -> Predicted {
    let cpus = rows.iter().find_map(|r| r.cpus).unwrap_or(1);
    let base = Profile::builtin(version, cpus);
    let known: Vec<Known> = rows
        .iter()
        .filter_map(|row| {
            let (Some(shape), Outcome::Bytes(memlock)) = (row.shape, &row.outcome) else { return None };
            Some(Known { shape, live: Some(live(&shape, &row.inserted)), cpus: row.cpus, memlock: *memlock })
        })
        .collect();
    let cpus_given = rows.iter().any(|r| r.cpus.is_some());
    let fit = fit(&base, &known, Fixed { cpus: cpus_given && known.is_empty(), ..Fixed::default() });
    let counts = counts_by_pattern(&fit, rows);
    let refused = refused_types(rows);
    let created = |t: MapType| {
        rows.iter().any(|r| r.shape.is_some_and(|s| s.map_type == t) && matches!(r.outcome, Outcome::Bytes(_)))
    };

    let predictions = rows
        .iter()
        .map(|row| {
            let Some(shape) = row.shape else { return Prediction::None };
            if let Some(error) = refused.get(&shape.map_type) {
                return Prediction::Refused(error.clone());
            }
            if shape.map_type.since().is_some_and(|since| Version(since.0, since.1) > version)
                && fit.era != EraFrom::DataAgainstVersion
                && !created(shape.map_type)
            {
                return Prediction::Refused("ERR22".into());
            }
            let live = counts
                .get(&(shape.map_type, shape.key, row.inserted.clone()))
                .copied()
                .unwrap_or_else(|| live(&shape, &row.inserted));
            reported(&of_row(&fit, row), &shape, live).map_or(Prediction::None, Prediction::Bytes)
        })
        .collect();
    Predicted { fit, rows: predictions }
}

/// Entries that are live after the insertions, as far as the row alone tells.
pub fn live(shape: &Shape, inserted: &Inserted) -> u64 {
    let bits = u64::from(shape.key).saturating_sub(4) * 8;
    let most = u64::from(shape.max_entries);
    let distinct = match (shape.map_type, inserted.pattern) {
        // one prefix of each length, the empty one included
        (MapType::LpmTrie, Pattern::Nested) => inserted.keys.min(bits + 1),
        (MapType::LpmTrie, _) if bits < 64 => inserted.keys.min(1 << bits),
        _ => inserted.keys,
    };
    let kept = distinct.min(most);
    if inserted.pattern == Pattern::HalfDeleted { kept - kept / 2 } else { kept }
}

/// The profile for one row: its own CPUs, unless the data contradicted the column.
fn of_row(fit: &Fit, row: &Row) -> Profile {
    match row.cpus {
        Some(cpus) if fit.cpus == CpusFrom::Given => Profile { cpus, ..fit.profile.clone() },
        _ => fit.profile.clone(),
    }
}

/// Live entries where known rows agree on a number the row's text does not give: probes that insert one key twice.
/// What repeats depends on the keys, so only rows with the same type, key size and insertion share it.
fn counts_by_pattern(fit: &Fit, rows: &[Row]) -> BTreeMap<(MapType, u32, Inserted), u64> {
    let mut counts: BTreeMap<_, Option<u64>> = BTreeMap::new();
    if fit.profile.era != Era::Usage {
        return BTreeMap::new();
    }
    for row in rows {
        let (Some(shape), Outcome::Bytes(memlock)) = (row.shape, &row.outcome) else { continue };
        if row.inserted.keys == 0 || !counts_entries(&shape) {
            continue;
        }
        let solved = live_entries(&of_row(fit, row), &shape, *memlock).filter(|n| *n <= u64::from(shape.max_entries));
        // a map that is full hides how many distinct keys there were
        if row.inserted.keys > u64::from(shape.max_entries) {
            continue;
        }
        counts
            .entry((shape.map_type, shape.key, row.inserted.clone()))
            .and_modify(|agreed| {
                if *agreed != solved {
                    *agreed = None;
                }
            })
            .or_insert(solved);
    }
    counts.into_iter().filter_map(|(key, count)| Some((key, count?))).collect()
}

/// Types of which every known row was refused with one error.
fn refused_types(rows: &[Row]) -> BTreeMap<MapType, Box<str>> {
    let mut types: BTreeMap<MapType, Option<Box<str>>> = BTreeMap::new();
    for row in rows {
        let Some(shape) = row.shape else { continue };
        let error = match &row.outcome {
            Outcome::Unknown => continue,
            Outcome::Bytes(_) => None,
            Outcome::Refused(error) => Some(error.clone()),
        };
        types
            .entry(shape.map_type)
            .and_modify(|agreed| {
                if *agreed != error {
                    *agreed = None;
                }
            })
            .or_insert(error);
    }
    types.into_iter().filter_map(|(t, error)| Some((t, error?))).collect()
}
