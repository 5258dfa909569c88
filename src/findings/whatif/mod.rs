//! The report value of `meshdump whatif`: one recording under several policies and settings, side by side.
//!
//! The field names are the JSON contract; additions only inside v1.

mod connections;
mod lines;
mod scenario;
pub mod search;

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::analysis::{Input, ProblemReport, Tool, problem_report};
use super::replay::{
    CountersReport, DrainReport, EndReport, EnvoyReport, FlapReport, Origin, PeakReport, Played, PushReport,
    RecordingReport, RowReport, recording_report, xds,
};
use crate::model::problem::Problem;
use crate::model::size::size;
use crate::model::stream::{BodyId, Recording, Us, What, XdsType};
use crate::sim::control_plane::{
    Acknowledgements, Arrival, Delivery, Policy, Recorded, Transport, Types, batches, deliveries, percentile, slot,
    waits,
};
use crate::sim::envoy::{Action, Prepared, Settings, Step};

use connections::Connections;
pub use connections::ConnectionsCut;
pub use lines::{logged, over_lines};
use scenario::time;
pub use scenario::{Content, FIXES, SETTINGS, Scenario, sweep};

/// Milliseconds that changes waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Staleness {
    /// Half of them at most.
    pub p50: f64,
    /// All but one in a hundred at most.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Staleness {
    /// Of waits in microseconds.
    fn of(mut waits: Vec<i64>) -> Self {
        waits.sort_unstable();
        let ms = |us: i64| us as f64 / 1000.0;
        let max = waits.last().copied().unwrap_or(0);
        Self { p50: ms(percentile(&waits, 50)), p99: ms(percentile(&waits, 99)), max: ms(max) }
    }
}

/// One type of a run.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct TypeReport {
    /// `LDS`, `CDS` …
    pub xds: &'static str,
    /// Responses sent.
    pub pushes_sent: u64,
    /// Changes that brought something new.
    pub changes: u64,
    /// How long they waited.
    pub staleness_ms: Staleness,
}

/// One run: what `replay` says of it, and its price.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct WhatIfRun {
    /// The scenario; `recorded` is the recording as it is.
    pub scenario: String,
    /// Its policy, or `recorded`.
    pub policy: String,
    /// Drain time in seconds.
    pub drain_time_s: f64,
    /// Envoy.
    pub envoy: EnvoyReport,
    /// Responses sent.
    pub pushes_sent: u64,
    /// How long changes waited for it, over all types.
    pub staleness_ms: Staleness,
    /// The same for each type.
    pub by_type: Vec<TypeReport>,
    /// Drains begun: whole listeners, and old generations of in-place updates. This and all that memory is made of is null
    /// where the input has no resources.
    pub drains: Option<u64>,
    /// Of those, whole listeners; the rest are old generations of in-place updates.
    pub listeners_drained: Option<u64>,
    /// Filter chains that drained in these.
    pub filter_chains_drained: Option<u64>,
    /// Connections that drains close at their end; null where nothing says how many there were.
    pub connections_cut: Option<ConnectionsCut>,
    /// Peak against that of the first run, in bytes.
    pub delta_peak: Option<i64>,
    /// No other run has both a smaller peak (without resources: fewer pushes) and a smaller p99.
    pub pareto: bool,
    /// Why this run is a bound and not an answer; null when it is one.
    pub bound: Option<String>,
    /// The highest `allocated`.
    pub peak: Option<PeakReport>,
    /// The end of the recording, and what comes after.
    pub end: Option<EndReport>,
    /// When anonymous memory first passes the limit.
    pub over_limit_t: Option<f64>,
    /// As in `replay`; empty with more than [`MOST_DETAILED`] runs.
    pub timeline: Vec<RowReport>,
    /// As in `replay`; empty with more than [`MOST_DETAILED`] runs.
    pub pushes: Vec<PushReport>,
    /// As `drains` in `replay`; empty with more than [`MOST_DETAILED`] runs.
    pub drain_log: Vec<DrainReport>,
    /// As in `replay`.
    pub flaps: Vec<FlapReport>,
    /// As in `replay`.
    pub counters: Option<CountersReport>,
}

/// Runs up to which each one has its timeline and pushes.
pub const MOST_DETAILED: usize = 24;

/// What came out best.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Winner {
    /// The scenario.
    pub scenario: String,
    /// In one sentence.
    pub why: String,
}

/// How long changes may wait (p99) when neither that nor a limit is said: what Istio's own default lets them wait at most.
pub const PATIENCE: Us = Us(10_000_000);

/// What is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Goal {
    /// No change may wait longer (p99); [`PATIENCE`] when neither this nor a limit is said.
    pub max_staleness: Option<Us>,
    /// Anonymous memory may not be more, in bytes; then the smallest staleness wins.
    pub limit: Option<u64>,
}

/// The whole report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct WhatIf {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `whatif`.
    pub kind: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub inputs: Vec<Input>,
    /// What is in the recording.
    pub recording: RecordingReport,
    /// The runs, the recorded one first.
    pub runs: Vec<WhatIfRun>,
    /// The best one; null when none keeps the bounds.
    pub winner: Option<Winner>,
    /// What must be known to read the figures.
    pub notes: Vec<String>,
    /// What could not be read, or was read with leniency.
    pub problems: Vec<ProblemReport>,
}

/// What the runs have in common.
#[derive(Debug)]
pub struct Base<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// The same with another content, for each that a scenario asks for.
    pub rewritten: &'a [(Content, Recording)],
    /// Envoy's side.
    pub settings: Settings,
    /// The same, for the report.
    pub envoy: EnvoyReport,
}

impl Base<'_> {
    /// The recording with this content.
    fn of(&self, content: &Content) -> &Recording {
        self.rewritten.iter().find(|(c, _)| c == content).map_or(self.recording, |(_, recording)| recording)
    }
}

/// Median time from push to acknowledgement by type (of CDS: from the endpoints that its clusters waited for), `otherwise` where the recording has none, and whether it has any.
fn latencies(recording: &Recording, otherwise: Us) -> ([Us; 9], bool) {
    let mut open = std::collections::HashMap::new();
    let mut seen: [Vec<i64>; 9] = std::array::from_fn(|_| Vec::new());
    // endpoints that came while CDS was not answered: that clusters had waited for them is no time Envoy took
    let mut endpoints = Us(i64::MIN);
    for event in &recording.events {
        match &event.what {
            What::Push(push) => {
                if push.kind == XdsType::Endpoints {
                    endpoints = event.t;
                }
                if !push.nonce.is_empty() {
                    open.insert((event.stream, push.kind, push.nonce.clone()), event.t);
                }
            }
            What::Ack { kind, nonce } => {
                if let Some(t) = open.remove(&(event.stream, *kind, nonce.clone())) {
                    let since = if *kind == XdsType::Cluster { t.max(endpoints) } else { t };
                    seen[slot(*kind)].push(event.t.0 - since.0);
                }
            }
            _ => {}
        }
    }
    let measured = seen.iter().any(|s| !s.is_empty());
    let latency = seen.map(|mut s| {
        s.sort_unstable();
        if s.is_empty() { otherwise } else { Us(percentile(&s, 50)) }
    });
    (latency, measured)
}

/// Runs the recording as it is, then every scenario, in parallel; the result is in their order.
pub fn runs(base: &Base<'_>, scenarios: &[Scenario], answer: Us, detail: bool) -> (Vec<WhatIfRun>, String) {
    let recorded = Scenario { name: "recorded".to_owned(), ..Scenario::default() };
    let all: Vec<&Scenario> = std::iter::once(&recorded).chain(scenarios).collect();
    let settings: Vec<Settings> = all.iter().map(|s| settings_of(base, s, detail)).collect();
    // prices depend on content, version and workers alone; states on the order that is kept besides
    let price = |i: usize| (all[i].content(), settings[i].version, settings[i].concurrency);
    let mut prices: Vec<_> = (0..all.len()).map(price).collect();
    prices.sort_unstable();
    prices.dedup();
    let prepared: Vec<Prepared> = prices
        .par_iter()
        .map(|(content, version, concurrency)| {
            let settings = Settings { version: *version, concurrency: *concurrency, ..base.settings };
            Prepared::new(base.of(content), &settings)
        })
        .collect();
    let place = |i: usize| prices.binary_search(&price(i)).expect("one for each");
    let mut kinds: Vec<(usize, bool)> = (0..all.len()).map(|i| (place(i), all[i].reorder)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let steps: Vec<Vec<Step>> = kinds
        .par_iter()
        .map(|(at, reorder)| {
            let recording = base.of(&prices[*at].0);
            let steps = prepared[*at].steps(recording);
            if *reorder { with_order(&steps, &first_of_equal_sets(recording)) } else { steps }
        })
        .collect();
    let timing = (latencies(base.recording, answer).0, closest(base.recording));
    let inputs: Vec<Source<'_>> = kinds
        .par_iter()
        .zip(&steps)
        .map(|((at, _), steps)| Source::new(base.of(&prices[*at].0), &prepared[*at], steps, timing))
        .collect();
    let source = |i: usize| &inputs[kinds.binary_search(&(place(i), all[i].reorder)).expect("one for each")];
    let connections = Connections::of(base.recording, || source(0).prepared.run(source(0).steps, &settings[0]).drains);
    let mut runs: Vec<WhatIfRun> = all
        .par_iter()
        .enumerate()
        .map(|(i, scenario)| one(base, scenario, &settings[i], source(i), connections.as_ref()))
        .collect();
    side_by_side(&mut runs);
    (runs, prepared[place(0)].cost_model())
}

/// Compares the runs with the first of them, and with each other.
pub fn side_by_side(runs: &mut [WhatIfRun]) {
    let first = runs.first().and_then(|r| r.peak.as_ref()).map(|p| p.allocated.bytes as i64);
    for run in &mut *runs {
        run.delta_peak = run.peak.as_ref().zip(first).map(|(p, first)| p.allocated.bytes as i64 - first);
    }
    mark_front(runs);
}

/// Envoy's side of a scenario.
pub fn settings_of(base: &Base<'_>, scenario: &Scenario, detail: bool) -> Settings {
    Settings {
        version: scenario.version.unwrap_or(base.settings.version),
        concurrency: scenario.concurrency.unwrap_or(base.settings.concurrency),
        drain_time: scenario.drain_time.unwrap_or(base.settings.drain_time),
        detail,
        keep_drains: connections::sampled(base.recording),
        ..base.settings
    }
}

/// For each body the first one of its type and name that is the same but for the order of lists.
fn first_of_equal_sets(recording: &Recording) -> Vec<BodyId> {
    let mut first = std::collections::HashMap::new();
    let bodies = recording.bodies.iter().enumerate();
    bodies.map(|(i, b)| *first.entry((b.kind, b.name.clone(), b.set_hash)).or_insert(BodyId(i as u32))).collect()
}

fn with_order(steps: &[Step], first: &[BodyId]) -> Vec<Step> {
    let mut out = steps.to_vec();
    for step in &mut out {
        if let Action::Push(push) = &mut step.action
            && push.resources.iter().any(|b| first[b.0 as usize] != *b)
        {
            let push = Arc::make_mut(push);
            push.resources.iter_mut().for_each(|b| *b = first[b.0 as usize]);
        }
    }
    out
}

/// The shortest time between two pushes of one type, also where a scenario's content has fewer of them.
fn closest(recording: &Recording) -> Option<Us> {
    let mut last: [Option<Us>; 9] = [None; 9];
    let mut closest: Option<Us> = None;
    for event in &recording.events {
        if let What::Push(push) = &event.what
            && let Some(before) = last[slot(push.kind)].replace(event.t)
        {
            let gap = Us(event.t.0 - before.0);
            closest = Some(closest.map_or(gap, |c| c.min(gap)));
        }
    }
    closest
}

/// A recording as the input of policies; the scenarios that differ in policy and drain time share it.
struct Source<'a> {
    recording: &'a Recording,
    prepared: &'a Prepared,
    steps: &'a [Step],
    input: Recorded<'a>,
    matters: Vec<bool>,
    latency: [Us; 9],
    /// The shortest time between two pushes of one type: the recorded control plane's own batching may be as long.
    closest: Option<Us>,
}

impl<'a> Source<'a> {
    fn new(
        recording: &'a Recording,
        prepared: &'a Prepared,
        steps: &'a [Step],
        (latency, closest): ([Us; 9], Option<Us>),
    ) -> Self {
        let input = Recorded::new(recording, prepared, steps);
        let matters = (1..=input.arrivals().len()).map(|s| input.matters(s)).collect();
        Self { recording, prepared, steps, input, matters, latency, closest }
    }

    /// Why what `policy` makes of the recording is a bound, if it is one.
    fn bound(&self, policy: &Policy, acks: &Acknowledgements) -> Option<String> {
        let reach = policy.reach(acks);
        let closest = self.closest?;
        (policy.name != "none" && reach < closest).then(|| {
            format!(
                "the recording has no two pushes of one type within {}, so it may have been batched as coarsely as that; a \
                 policy that holds a change for {} only would have sent at least this of the original changes",
                time(closest),
                time(reach)
            )
        })
    }
}

fn one(
    base: &Base<'_>,
    scenario: &Scenario,
    settings: &Settings,
    source: &Source<'_>,
    connections: Option<&Connections>,
) -> WhatIfRun {
    let Source { input, prepared, steps, .. } = source;
    let plain: Policy = "none".parse().expect("a known policy");
    let policy = scenario.policy.as_ref().unwrap_or(&plain);
    // a part of its own says more than what the policy does by itself
    let asked = scenario.transport.unwrap_or(policy.transport);
    let policy = &Policy { transport: asked, ..policy.clone() };
    let mut bound = None;
    let mut sent: Vec<Delivery>;
    let made;
    let played = if scenario.policy.is_none() && asked == Transport::AsRecorded {
        sent = as_recorded(input.arrivals());
        *steps
    } else {
        let acks = Acknowledgements {
            latency: source.latency,
            fetch_timeout: settings.fetch_timeout,
            drain: settings.drain_time,
        };
        let groups = batches(input.arrivals(), &policy.window, policy.eds_bypass);
        sent = deliveries(&groups, policy, input, &acks);
        made = input.steps(&mut sent, asked);
        bound = source.bound(policy, &acks);
        &made[..]
    };
    let made = Made {
        recording: source.recording,
        prepared,
        steps: played,
        arrivals: input.arrivals(),
        sent: &sent,
        matters: &|_, state| source.matters[state - 1],
        bound,
        connections,
    };
    finish(base, scenario, policy, settings, &made)
}

/// What a scenario came to, ready to be played.
pub struct Made<'a> {
    /// What the bodies are looked up in.
    pub recording: &'a Recording,
    /// Priced bodies.
    pub prepared: &'a Prepared,
    /// What reaches Envoy.
    pub steps: &'a [Step],
    /// What reached the control plane.
    pub arrivals: &'a [Arrival],
    /// What it sent of them.
    pub sent: &'a [Delivery],
    /// Change number `state` brought something new for a type.
    pub matters: &'a dyn Fn(XdsType, usize) -> bool,
    /// Why it is a bound.
    pub bound: Option<String>,
    /// Connections that Envoy had, where it was sampled.
    pub connections: Option<&'a Connections>,
}

/// Plays a scenario and sums it up.
pub fn finish(
    base: &Base<'_>,
    scenario: &Scenario,
    policy: &Policy,
    settings: &Settings,
    made: &Made<'_>,
) -> WhatIfRun {
    let Made { prepared, steps: played, sent, .. } = *made;
    let run = prepared.run(played, settings);
    let envoy = EnvoyReport {
        version: scenario.version.map_or(base.envoy.version.clone(), |v| format!("{}.{}", v.major, v.minor)),
        version_from: scenario.version.map_or(base.envoy.version_from, |_| Origin::Given),
        concurrency: settings.concurrency,
        concurrency_from: scenario.concurrency.map_or(base.envoy.concurrency_from, |_| Origin::Given),
        drain_time_from: scenario.drain_time.map_or(base.envoy.drain_time_from, |_| Origin::Given),
        drain_strategy: scenario.drain_strategy.clone().unwrap_or_else(|| base.envoy.drain_strategy.clone()),
        ..base.envoy.clone()
    };
    let name = if scenario.policy.is_none() && policy.name == "none" { "recorded" } else { &policy.name };
    let report = Played { recording: made.recording, prepared, steps: played, settings, run: &run }.report(name, envoy);
    let waiting = waits(made.arrivals, sent, made.matters);
    let by_type = Types::ORDER
        .into_iter()
        .filter(|k| sent.iter().any(|d| d.kind == *k))
        .map(|kind| TypeReport {
            xds: xds(kind),
            pushes_sent: sent.iter().filter(|d| d.kind == kind && d.sent).count() as u64,
            changes: waiting[slot(kind)].len() as u64,
            staleness_ms: Staleness::of(waiting[slot(kind)].clone()),
        })
        .collect();
    WhatIfRun {
        scenario: scenario.name.clone(),
        policy: report.policy,
        drain_time_s: report.drain_time_s,
        envoy: report.envoy,
        pushes_sent: sent.iter().filter(|d| d.sent).count() as u64,
        staleness_ms: Staleness::of(waiting.concat()),
        by_type,
        drains: Some(report.drains_total),
        listeners_drained: Some(report.listeners_drained),
        filter_chains_drained: Some(report.filter_chains_drained),
        connections_cut: made.connections.map(|c| c.cut(&run.drains)),
        delta_peak: None,
        pareto: false,
        bound: made.bound.clone(),
        peak: Some(report.peak),
        end: Some(report.end),
        over_limit_t: report.over_limit_t,
        timeline: report.timeline,
        pushes: report.pushes,
        drain_log: if settings.detail { report.drains } else { Vec::new() },
        flaps: report.flaps,
        counters: Some(report.counters),
    }
}

/// Every change is delivered when it comes.
fn as_recorded(arrivals: &[Arrival]) -> Vec<Delivery> {
    let one = |(i, a): (usize, &Arrival)| {
        let kind: XdsType = a.touches.iter().next().expect("a push has a type");
        Delivery { t: a.t, kind, upto: i + 1, sent: true }
    };
    arrivals.iter().enumerate().map(one).collect()
}

/// What a run costs the proxies: the peak, or the pushes where memory is not known.
fn load(run: &WhatIfRun) -> u64 {
    run.peak.as_ref().map_or(run.pushes_sent, |p| p.allocated.bytes)
}

/// Marks the runs that no other beats in both load and p99.
fn mark_front(runs: &mut [WhatIfRun]) {
    let points: Vec<(u64, f64)> = runs.iter().map(|r| (load(r), r.staleness_ms.p99)).collect();
    for (run, (least, p99)) in runs.iter_mut().zip(&points) {
        let beaten = points.iter().any(|(l, s)| l <= least && s <= p99 && (l < least || s < p99));
        run.pareto = !beaten;
    }
}

/// The best run of those whose changes wait no longer than they may: under `goal.limit` the one with the smallest
/// staleness, else the one with the smallest load; of those within two percent of it the one whose changes wait least.
fn winner(runs: &[WhatIfRun], goal: Goal) -> Option<Winner> {
    let p99 = |r: &WhatIfRun| (r.staleness_ms.p99 * 1000.0) as i64;
    let fits = |r: &WhatIfRun, limit: u64| r.peak.as_ref().is_some_and(|p| p.resident <= limit);
    // whoever limits memory alone wants to know what it takes
    let patience = goal.max_staleness.or(Some(PATIENCE).filter(|_| goal.limit.is_none()));
    let keeps = |r: &&WhatIfRun| patience.is_none_or(|most| p99(r) <= most.0) && goal.limit.is_none_or(|l| fits(r, l));
    let allowed: Vec<&WhatIfRun> = runs.iter().filter(keeps).collect();
    let smallest = allowed.iter().map(|r| load(r)).min()?;
    let near = |r: &&&WhatIfRun| goal.limit.is_some() || load(r) <= smallest + smallest / 50;
    let best = allowed.iter().filter(near).min_by_key(|r| (p99(r), load(r), r.pushes_sent))?;
    let first = runs.first()?;
    let price = match p99(best) - p99(first) {
        0 => "and changes wait no longer".to_owned(),
        wait if wait < 0 => format!("and changes wait {:.1} s less at p99", -wait as f64 / 1e6),
        wait => format!("for changes that wait {:.1} s longer at p99", wait as f64 / 1e6),
    };
    let share = 100 * load(best) / load(first).max(1);
    let why = match (&first.peak, &best.peak) {
        (Some(before), _) if best.scenario == first.scenario => {
            format!("nothing tried has a peak clearly below the {} of {}", size(before.allocated.bytes), first.scenario)
        }
        (Some(before), Some(peak)) => {
            let [old, new] = [before, peak].map(|p| p.listeners_draining + p.groups_draining);
            let held = match old == new {
                true => format!("with {new} old generations alive at the peak in both"),
                false => format!("with {new} old generations alive at the peak instead of {old}"),
            };
            format!("peak {} ({share} % of {}), {held}, {price}", size(peak.allocated.bytes), first.scenario)
        }
        _ if best.scenario == first.scenario => {
            format!("nothing tried sends clearly less than the {} pushes of {}", first.pushes_sent, first.scenario)
        }
        _ => format!("{} pushes ({share} % of {}), {price}; memory is not known", best.pushes_sent, first.scenario),
    };
    Some(Winner { scenario: best.scenario.clone(), why })
}

/// The report over all runs.
pub fn report(
    recording: &Recording,
    (runs, cost_model): (Vec<WhatIfRun>, String),
    goal: Goal,
    notes: Vec<String>,
    inputs: Vec<Input>,
    problems: &[Problem],
) -> WhatIf {
    WhatIf {
        api_version: "meshdump/v1",
        kind: "whatif",
        tool: Tool { version: env!("CARGO_PKG_VERSION"), cost_model },
        inputs,
        recording: recording_report(recording),
        winner: winner(&runs, goal),
        runs,
        notes,
        problems: problems.iter().map(problem_report).collect(),
    }
}

/// What must be said of a recorded stream as the input of batching.
pub fn notes(recording: &Recording, scenarios: &[Scenario], answer: Us) -> Vec<String> {
    let mut notes = Vec::new();
    if !recording.events.iter().any(|e| matches!(e.what, What::Push(_))) {
        notes.push(
            "the recording has no push, so that all scenarios are the same: a log does not say what was sent; add the tap, the \
             responses or dumps of the same time"
                .to_owned(),
        );
    }
    if scenarios.iter().any(|s| s.drain_strategy.is_some()) {
        notes.push(
            "the drain strategy decides when clients are told to close, not how long a drain takes: memory stays, and how \
             many connections are left to cut no recording tells"
                .to_owned(),
        );
    }
    if connections::sampled(recording) {
        notes.push(
            "CUT is how many connections drains close at their end, bounded by the samples of downstream_cx_active and \
             downstream_cx_total"
                .to_owned(),
        );
    }
    if scenarios.iter().any(|s| s.policy.is_some()) {
        notes.push(
            "a recorded stream is what a control plane's batching left over: coarser policies are exact, staleness counts \
             from the recorded push, and finer policies are bounds"
                .to_owned(),
        );
    }
    let gated = |p: &Policy| p.gate != crate::sim::control_plane::Gate::None;
    if scenarios.iter().filter_map(|s| s.policy.as_ref()).any(gated) {
        notes.push(match latencies(recording, answer).1 {
            true => "Envoy's answers take the median time that the recording shows for the type".to_owned(),
            false => format!(
                "the recording has no answers of Envoy: each is taken to come after {} (--answer)",
                time(answer)
            ),
        });
    }
    notes
}
