//! The simulation against values that Envoy really showed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::stream::{Recording, What};
use crate::sim::envoy::Row;

/// One metric, simulated and observed.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Observation {
    /// Envoy's name for it.
    pub metric: String,
    /// Samples.
    pub samples: u64,
    /// Samples in which both are equal.
    pub equal: u64,
    /// Largest difference, simulated minus observed.
    pub worst: i64,
    /// When that was.
    pub worst_t: f64,
    /// Median of the relative error, as a fraction; null for gauges that count.
    pub median_error: Option<f64>,
    /// Largest relative error, as a fraction; null for gauges that count.
    pub worst_error: Option<f64>,
}

/// The value of a row that a metric shows, and whether it is an estimate of bytes.
fn value(metric: &str, row: &Row) -> Option<(u64, bool)> {
    Some(match metric {
        "listener_manager.total_listeners_active" => (row.listeners_active.into(), false),
        "listener_manager.total_listeners_warming" => (row.listeners_warming.into(), false),
        "listener_manager.total_listeners_draining" => (row.listeners_draining.into(), false),
        "listener_manager.total_filter_chains_draining" => (row.filter_chains_draining.into(), false),
        "cluster_manager.active_clusters" => (row.clusters_active.into(), false),
        "cluster_manager.warming_clusters" => (row.clusters_warming.into(), false),
        "memory.allocated" | "server.memory_allocated" => (row.allocated, true),
        _ => return None,
    })
}

/// Compares every observation whose metric the timeline has.
pub(super) fn compare(recording: &Recording, timeline: &[Row]) -> Vec<Observation> {
    let mut found: BTreeMap<&str, (Observation, Vec<f64>)> = BTreeMap::new();
    let mut at = 0;
    for event in &recording.events {
        let What::Observed { metric, value: observed } = &event.what else { continue };
        while timeline.get(at + 1).is_some_and(|next| next.t <= event.t) {
            at += 1;
        }
        let Some(row) = timeline.get(at).filter(|r| r.t <= event.t) else { continue };
        let Some((simulated, bytes)) = value(metric, row) else { continue };
        let (o, errors) = found.entry(metric).or_insert_with(|| {
            let o = Observation {
                metric: metric.to_string(),
                samples: 0,
                equal: 0,
                worst: 0,
                worst_t: 0.0,
                median_error: None,
                worst_error: None,
            };
            (o, Vec::new())
        });
        let difference = i64::try_from(simulated).unwrap_or(i64::MAX) - i64::try_from(*observed).unwrap_or(i64::MAX);
        o.samples += 1;
        o.equal += u64::from(difference == 0);
        if difference.abs() > o.worst.abs() {
            o.worst = difference;
            o.worst_t = super::seconds(event.t);
        }
        if bytes && *observed > 0 {
            errors.push((difference as f64 / *observed as f64).abs());
        }
    }
    found
        .into_values()
        .map(|(mut o, mut errors)| {
            errors.sort_by(f64::total_cmp);
            o.median_error = errors.get(errors.len() / 2).copied();
            o.worst_error = errors.last().copied();
            o
        })
        .collect()
}
