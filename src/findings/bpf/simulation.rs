//! Policies over one trace, side by side, with what a count cannot tell as ranges.

use serde::Serialize;

use super::rules::{Draft, group};
use crate::cost::kernel::Profile;
use crate::findings::{Finding, Severity};
use crate::model::bpf_trace::{Demand, Event, Repeats};
use crate::sim::bpf::{self as sim, FreeFrom, Policy, Run, Scheme, Settings};

/// The report of a simulation.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Simulation {
    /// The kernel whose `bytes_memlock` is given.
    pub kernel: String,
    /// Possible CPUs.
    pub cpus: u32,
    /// Slots per service, least and most; null when the trace counts slots itself.
    pub slots_per_service: Option<[u64; 2]>,
    /// One per policy, in the order asked for.
    pub runs: Vec<SimulatedRun>,
    /// Bounds the configuration exceeds, and allocations that failed.
    pub findings: Vec<Finding>,
}

/// One policy's run.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct SimulatedRun {
    /// As asked for.
    pub policy: String,
    /// A row at each change, at the mean of slots per service.
    pub timeline: Vec<TimelineRow>,
    /// What the daemon would log, one line of it each; numbers that depend on what the trace does not say are ranges
    /// `low..high`.
    pub log: Vec<String>,
    /// The outer map: there from the start, not in the timeline.
    pub fixed: sim::Fixed,
    /// The largest of the timeline.
    pub peak: TimelineRow,
    /// The last of the timeline.
    pub end: TimelineRow,
    /// Slots in use at which the allocator grows next; null when it never does.
    pub next_growth_at_slots: Option<u64>,
    /// The same in services, least and most; null for traces of slots.
    pub next_growth_at_services: Option<[u64; 2]>,
    /// Slots asked for that did not exist.
    pub refused_slots: u64,
    /// Used slots above the lowest free one at the end, least and most.
    pub fragmented_slots: [u64; 2],
    /// The step function: least number of used slots for each number of maps, while growing.
    pub steps: Vec<Step>,
    /// The two ends of what the trace leaves open grow and shrink at different moments: the log is that of the mean.
    pub log_is_of_the_mean: bool,
}

/// A row of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, schemars::JsonSchema)]
pub struct TimelineRow {
    /// Seconds of the trace's clock.
    pub t: f64,
    /// Maps that hold slots.
    pub maps: u64,
    /// Slots in use.
    pub slots_used: u64,
    /// Slots counted as present.
    pub slots_total: u64,
    /// `bytes_memlock` of the maps.
    pub memlock: u64,
    /// Their memory.
    pub real: u64,
}

/// A step of an elastic allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Step {
    /// From this many used slots on.
    pub slots_used: u64,
    /// The same in services, at the most and the least slots per service.
    pub services: Option<[u64; 2]>,
    /// Maps.
    pub maps: u64,
    /// `bytes_memlock`.
    pub memlock: u64,
    /// Memory.
    pub real: u64,
}

/// Runs every policy over the trace.
pub fn simulate(
    events: &[Event],
    repeats: &Repeats,
    policies: &[Policy],
    profile: &Profile,
    (low, high): (u64, u64),
) -> Simulation {
    let by_services = events.iter().any(|e| matches!(e.demand, Demand::Services(_)));
    let slots_per_service = by_services.then_some([low, high]);
    let runs: Vec<SimulatedRun> =
        policies.iter().map(|policy| one(policy, events, profile, low, high, by_services)).collect();
    let mut findings = limits(repeats, policies);
    findings.extend(refusals(&runs).map(Finding::from));
    Simulation { kernel: profile.version.to_string(), cpus: profile.cpus, slots_per_service, runs, findings }
}

fn one(policy: &Policy, events: &[Event], profile: &Profile, low: u64, high: u64, by_services: bool) -> SimulatedRun {
    let run =
        |slots_per_service, free_from| sim::run(policy, events, Settings { profile, slots_per_service, free_from });
    let mean = run((low + high) / 2, FreeFrom::Top);
    // slot events leave nothing open
    let open = events.iter().any(|e| !matches!(e.demand, Demand::Slots { .. }));
    let ends: Vec<Run> = if open {
        let mut ends = vec![run(low, FreeFrom::Top), run(low, FreeFrom::Bottom)];
        if high != low {
            ends.extend([run(high, FreeFrom::Top), run(high, FreeFrom::Bottom)]);
        }
        ends
    } else {
        Vec::new()
    };
    let alike = ends
        .iter()
        .all(|end| end.log.len() == mean.log.len() && end.log.iter().zip(&mean.log).all(|(a, b)| a.kind == b.kind));
    let log = (0..mean.log.len()).flat_map(|i| {
        let all: Vec<&sim::LogLine> =
            std::iter::once(&mean).chain(ends.iter().filter(|_| alike)).map(|run| &run.log[i]).collect();
        lines(&all)
    });
    let timeline: Vec<TimelineRow> = mean.timeline.iter().map(row).collect();
    let empty = TimelineRow { t: 0.0, maps: 0, slots_used: 0, slots_total: 0, memlock: 0, real: 0 };
    let fragmented = std::iter::once(&mean).chain(&ends).map(|r| r.fragmented);
    SimulatedRun {
        policy: policy.name.clone(),
        peak: timeline.iter().copied().fold(empty, |a, b| if b.memlock > a.memlock { b } else { a }),
        end: timeline.last().copied().unwrap_or(empty),
        log: log.collect(),
        fixed: mean.fixed,
        next_growth_at_slots: mean.next_growth_at,
        next_growth_at_services: mean
            .next_growth_at
            .filter(|_| by_services)
            .map(|slots| [slots.div_ceil(high), slots.div_ceil(low)]),
        refused_slots: mean.refused,
        fragmented_slots: [fragmented.clone().min().unwrap_or(0), fragmented.max().unwrap_or(0)],
        steps: steps(policy, profile, low, high, by_services),
        log_is_of_the_mean: !alike,
        timeline,
    }
}

fn row(row: &sim::Row) -> TimelineRow {
    TimelineRow {
        t: row.t as f64 / 1000.0,
        maps: row.maps,
        slots_used: row.slots_used,
        slots_total: row.slots_total,
        memlock: row.memlock,
        real: row.real,
    }
}

/// The two lines of one step, with ranges where the runs differ.
fn lines(all: &[&sim::LogLine]) -> Vec<String> {
    let range = |low: Option<u64>, high: Option<u64>| match (low, high) {
        (Some(low), Some(high)) if low != high => format!("{low}..{high}"),
        (low, _) => low.unwrap_or(0).to_string(),
    };
    let span = |of: fn(&sim::LogLine) -> u64| range(all.iter().map(|l| of(l)).min(), all.iter().map(|l| of(l)).max());
    // a poll sees the number that triggers it, or a later one of the same push
    let used = || all.iter().flat_map(|l| [l.used, l.used_early, l.used_late]);
    let used = range(used().min(), used().max());
    let (total, collected, last) = (span(|l| l.total), span(|l| l.collected), span(|l| l.last));
    match all[0].kind {
        sim::LogKind::ScaleUp => vec![
            format!("Remaining resources are insufficient({used}/{total}), and capacity expansion is required."),
            format!("collect_outter_map_scaleup_slots:{last}-{collected}-{last}"),
        ],
        sim::LogKind::ScaleIn => vec![
            format!("The remaining resources are sufficient({used}/{total}) and scale-in is required."),
            format!("collect_outter_map_scalein_slots:{last}-{collected}-{last}"),
        ],
    }
}

/// The step function of a policy that grows by share of use, up to eight steps.
fn steps(policy: &Policy, profile: &Profile, low: u64, high: u64, by_services: bool) -> Vec<Step> {
    let Scheme::Elastic { high: share, .. } = policy.scheme else { return Vec::new() };
    const MOST: usize = 8;
    let mut steps: Vec<Step> = Vec::new();
    let mut used = 0;
    while steps.len() < MOST {
        let event = Event { t: 0, demand: Demand::Pushed(used) };
        let settings = Settings { profile, slots_per_service: 1, free_from: FreeFrom::Top };
        let run = sim::run(policy, &[event], settings);
        let Some(row) = run.timeline.last() else { break };
        if run.refused > 0 || steps.last().is_some_and(|s| s.maps == row.maps) {
            break;
        }
        steps.push(Step {
            slots_used: used,
            services: by_services.then(|| [used.div_ceil(high), used.div_ceil(low)]),
            maps: row.maps,
            memlock: row.memlock,
            real: row.real,
        });
        used = (row.slots_total * u64::from(share)).div_ceil(100);
    }
    steps
}

fn refusals(runs: &[SimulatedRun]) -> Option<Draft> {
    let evidence: Vec<String> = runs
        .iter()
        .filter(|r| r.refused_slots > 0)
        .map(|r| format!("{}: {} slots refused", r.policy, group(r.refused_slots)))
        .collect();
    (!evidence.is_empty()).then(|| Draft {
        code: "MD524",
        severity: Severity::Error,
        title: "the allocator runs out of slots in this trace".into(),
        evidence,
        saved_bytes: None,
        fix: "grow earlier or in larger steps, or store less".into(),
    })
}

/// Bounds of a Kmesh release (`bpf/include/config.h`, `bpf/kmesh/ads/include/*.h`).
struct Bounds {
    release: &'static str,
    repeated: u64,
    listeners: u64,
}

fn limits(repeats: &Repeats, policies: &[Policy]) -> Vec<Finding> {
    let mut releases = Vec::new();
    for policy in policies {
        let bounds = if matches!(policy.scheme, Scheme::Classes { .. }) {
            Bounds { release: "1.0 and later", repeated: 200, listeners: 8192 }
        } else {
            Bounds { release: "0.5 and before", repeated: 162, listeners: 1024 }
        };
        if releases.iter().all(|b: &Bounds| b.release != bounds.release) {
            releases.push(bounds);
        }
    }
    let mut repeated = Vec::new();
    let mut objects = Vec::new();
    for b in &releases {
        let lists = [
            ("virtual hosts in route configuration", &repeats.virtual_hosts),
            ("routes in virtual host", &repeats.routes),
            ("domains in virtual host", &repeats.domains),
            ("filter chains in listener", &repeats.filter_chains),
            ("endpoints in cluster", &repeats.endpoints),
        ];
        for (what, (n, name)) in lists {
            if *n > b.repeated {
                repeated.push(format!("{} {what} {name}: Kmesh {} stores {}", group(*n), b.release, b.repeated));
            }
        }
        let counts = [
            ("listeners", repeats.listeners, b.listeners),
            ("clusters", repeats.clusters, 16_384),
            ("route configurations", repeats.route_configs, 16_384),
        ];
        for (what, n, most) in counts {
            if n > most {
                objects.push(format!("{} {what} at once: Kmesh {} holds {}", group(n), b.release, group(most)));
            }
        }
    }
    let reads = [
        ("virtual hosts in route configuration", &repeats.virtual_hosts, 16),
        ("routes in virtual host", &repeats.routes, 8),
        ("filter chains in listener", &repeats.filter_chains, 4),
        ("filters in a chain of listener", &repeats.filters, 4),
        ("endpoints in cluster", &repeats.endpoints, 64),
    ];
    let unread: Vec<String> = reads
        .into_iter()
        .filter(|(_, (n, _), most)| n > most)
        .map(|(what, (n, name), most)| format!("{} {what} {name}: the programs read {most}", group(*n)))
        .collect();
    let mut found = Vec::new();
    let mut add = |code, severity, title: &str, evidence: Vec<String>, fix: &str| {
        if !evidence.is_empty() {
            let draft = Draft { code, severity, title: title.into(), evidence, saved_bytes: None, fix: fix.into() };
            found.push(Finding::from(draft));
        }
    };
    add(
        "MD521",
        Severity::Error,
        "more repeated elements than Kmesh stores in one array",
        repeated,
        "split the object, or narrow what the node sees",
    );
    add("MD522", Severity::Error, "more objects than Kmesh's maps hold", objects, "narrow what the node sees");
    add(
        "MD523",
        Severity::Warn,
        "stored, but beyond what Kmesh's programs walk",
        unread,
        "split the object: what is beyond is never matched",
    );
    found
}
