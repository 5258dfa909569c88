//! The report value of `meshdump whatif`: one recording under several policies and settings, side by side.
//!
//! The field names are the JSON contract; additions only inside v1.

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::analysis::{Input, ProblemReport, Tool, problem_report};
use super::replay::{
    CountersReport, DrainReport, EndReport, EnvoyReport, FlapReport, Origin, PeakReport, Played, PushReport,
    RecordingReport, RowReport, recording_report, xds,
};
use crate::cost::envoy::Version;
use crate::model::problem::Problem;
use crate::model::size::size;
use crate::model::stream::{BodyId, Recording, Us, What, XdsType};
use crate::sim::control_plane::{
    Acknowledgements, Arrival, Delivery, Policy, Recorded, Transport, Types, batches, deliveries, parse_duration,
    percentile, slot, waits,
};
use crate::sim::envoy::{Action, Prepared, Settings, Step};

/// One scenario: what is another than in the recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scenario {
    /// As shown.
    pub name: String,
    /// Batching.
    pub policy: Option<Policy>,
    /// `drain-time`.
    pub drain_time: Option<Us>,
    /// `envoy-version`.
    pub version: Option<Version>,
    /// `concurrency`.
    pub concurrency: Option<u32>,
    /// `reorder`: lists whose order alone changed keep the order they had.
    pub reorder: bool,
    /// `delta` or `sotw`.
    pub transport: Option<Transport>,
    /// `sds`: certificates by SDS, not inline (watches only).
    pub sds: bool,
    /// `merge-chains`: one chain for all names of one secret (contour#1636; watches only).
    pub merge_chains: bool,
}

impl Scenario {
    /// Reads one part: a policy (`istio:after=1s`), a setting (`drain-time=45s`) or a fix (`reorder`).
    ///
    /// # Errors
    /// One line that says what was expected.
    pub fn add(&mut self, part: &str) -> Result<(), String> {
        let part = part.trim();
        match part {
            "reorder" => self.reorder = true,
            "delta" => self.transport = Some(Transport::Delta),
            "sotw" => self.transport = Some(Transport::Sotw),
            "sds" => self.sds = true,
            "merge-chains" => self.merge_chains = true,
            _ => match part.split_once('=').filter(|(key, _)| !key.contains(':')) {
                Some(("drain-time", value)) => self.drain_time = Some(parse_duration(value)?),
                Some(("envoy-version", value)) => {
                    let version = Version::parse(value);
                    self.version = Some(version.ok_or_else(|| format!("`{value}` is no version of Envoy, as 1.40"))?);
                }
                Some(("concurrency", value)) => {
                    let n = value.parse().ok().filter(|n| (1..=1024).contains(n));
                    self.concurrency = Some(n.ok_or_else(|| format!("`{value}` is no number of workers"))?);
                }
                Some((key, _)) => {
                    return Err(format!("no setting is called `{key}`; known: drain-time, envoy-version, concurrency"));
                }
                None if self.policy.is_some() => {
                    return Err(format!("`{part}`: a scenario has one policy"));
                }
                None => self.policy = Some(part.parse()?),
            },
        }
        if !self.name.is_empty() {
            self.name.push_str(" + ");
        }
        self.name.push_str(part);
        Ok(())
    }

    /// A scenario of parts joined by ` + `.
    ///
    /// # Errors
    /// Those of [`Scenario::add`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scenario = Self::default();
        text.split('+').try_for_each(|part| scenario.add(part))?;
        Ok(scenario)
    }
}

/// The scenarios of `NAME.KEY=FROM..TO:STEP` (a policy's parameter) or `drain-time=FROM..TO:STEP`.
///
/// # Errors
/// One line that says what was expected.
pub fn sweep(text: &str) -> Result<Vec<Scenario>, String> {
    let wrong = || format!("`{text}`: expected NAME.PARAMETER=FROM..TO:STEP, as debounce.quiet=0s..60s:5s");
    let (what, range) = text.split_once('=').ok_or_else(wrong)?;
    let (ends, step) = range.split_once(':').ok_or_else(wrong)?;
    let (from, to) = ends.split_once("..").ok_or_else(wrong)?;
    // numbers (k, concurrency) and times alike; whole numbers stay numbers
    let number = [from, to, step].iter().all(|t| t.parse::<u32>().is_ok());
    let [from, to, step] = [parse_duration(from)?, parse_duration(to)?, parse_duration(step)?];
    if step.0 == 0 || to < from || (to.0 - from.0) / step.0 > 10_000 {
        return Err(format!("`{text}`: at most 10,000 steps, each more than 0, from the smaller to the larger"));
    }
    let name = |at: i64| if number { (at / 1_000_000).to_string() } else { time(Us(at)) };
    let values = (0..=(to.0 - from.0) / step.0).map(|i| name(from.0 + i * step.0));
    values
        .map(|value| match what.rsplit_once('.') {
            Some((policy, key)) => Scenario::parse(&format!("{policy}:{key}={value}")),
            None => Scenario::parse(&format!("{what}={value}")),
        })
        .collect()
}

/// A time as flags take it: `1500ms`, `5s`.
fn time(t: Us) -> String {
    match t.0 {
        us if us % 1_000_000 == 0 => format!("{}s", us / 1_000_000),
        us if us % 1000 == 0 => format!("{}ms", us / 1000),
        us => format!("{us}us"),
    }
}

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
    /// Drains begun: whole listeners, and old generations of in-place updates.
    pub drains: u64,
    /// Peak against that of the first run, in bytes.
    pub delta_peak: i64,
    /// No other run has both a smaller peak and a smaller p99.
    pub pareto: bool,
    /// Why this run is a bound and not an answer; null when it is one.
    pub bound: Option<String>,
    /// The highest `allocated`.
    pub peak: PeakReport,
    /// The end of the recording, and what comes after.
    pub end: EndReport,
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
    pub counters: CountersReport,
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

/// How long changes may wait (p99) when nothing is said: what Istio's own default lets them wait at most.
pub const PATIENCE: Us = Us(10_000_000);

/// What is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Goal {
    /// No change may wait longer (p99); [`PATIENCE`] when nothing is said.
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
    /// Envoy's side.
    pub settings: Settings,
    /// The same, for the report.
    pub envoy: EnvoyReport,
}

/// Median time from push to acknowledgement by type, `otherwise` where the recording has none.
pub fn acknowledgements(recording: &Recording, settings: &Settings, otherwise: Us) -> (Acknowledgements, bool) {
    let mut open = std::collections::HashMap::new();
    let mut seen: [Vec<i64>; 9] = std::array::from_fn(|_| Vec::new());
    for event in &recording.events {
        match &event.what {
            What::Push(push) if !push.nonce.is_empty() => {
                open.insert((event.stream, push.kind, push.nonce.clone()), event.t);
            }
            What::Ack { kind, nonce } => {
                if let Some(t) = open.remove(&(event.stream, *kind, nonce.clone())) {
                    seen[slot(*kind)].push(event.t.0 - t.0);
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
    (Acknowledgements { latency, fetch_timeout: settings.fetch_timeout, drain: settings.drain_time }, measured)
}

/// Runs the recording as it is, then every scenario, in parallel; the result is in their order.
pub fn runs(base: &Base<'_>, scenarios: &[Scenario], answer: Us, detail: bool) -> (Vec<WhatIfRun>, String) {
    let recorded = Scenario { name: "recorded".to_owned(), ..Scenario::default() };
    let all: Vec<&Scenario> = std::iter::once(&recorded).chain(scenarios).collect();
    let settings: Vec<Settings> = all.iter().map(|s| settings_of(base, s, detail)).collect();
    // prices depend on version and workers alone
    let mut kinds: Vec<(Version, u32)> = settings.iter().map(|s| (s.version, s.concurrency)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let prepared: Vec<((Version, u32), Prepared, Vec<Step>)> = kinds
        .iter()
        .map(|(version, concurrency)| {
            let settings = Settings { version: *version, concurrency: *concurrency, ..base.settings };
            let prepared = Prepared::new(base.recording, &settings);
            let steps = prepared.steps(base.recording);
            ((*version, *concurrency), prepared, steps)
        })
        .collect();
    let ordered = all.iter().any(|s| s.reorder).then(|| first_of_equal_sets(base.recording));
    let mut runs: Vec<WhatIfRun> = all
        .par_iter()
        .zip(&settings)
        .map(|(scenario, settings)| {
            let key = (settings.version, settings.concurrency);
            let (_, prepared, steps) = prepared.iter().find(|p| p.0 == key).expect("one for each pair");
            one(base, scenario, settings, prepared, steps, ordered.as_deref(), answer)
        })
        .collect();
    side_by_side(&mut runs);
    let model = prepared.first().map(|p| p.1.cost_model()).unwrap_or_default();
    (runs, model)
}

/// Compares the runs with the first of them, and with each other.
pub fn side_by_side(runs: &mut [WhatIfRun]) {
    let first = runs.first().map_or(0, |r| r.peak.allocated.bytes as i64);
    for run in &mut *runs {
        run.delta_peak = run.peak.allocated.bytes as i64 - first;
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

fn one(
    base: &Base<'_>,
    scenario: &Scenario,
    settings: &Settings,
    prepared: &Prepared,
    steps: &[Step],
    ordered: Option<&[BodyId]>,
    answer: Us,
) -> WhatIfRun {
    let sorted;
    let steps = match ordered.filter(|_| scenario.reorder) {
        Some(first) => {
            sorted = with_order(steps, first);
            &sorted[..]
        }
        None => steps,
    };
    let input = Recorded::new(base.recording, prepared, steps);
    let mut bound = None;
    let plain: Policy = "none".parse().expect("a known policy");
    let policy = scenario.policy.as_ref().unwrap_or(&plain);
    let asked = match policy.transport {
        Transport::AsRecorded => scenario.transport.unwrap_or(Transport::AsRecorded),
        own => own,
    };
    let mut sent: Vec<Delivery>;
    let made;
    let played = if scenario.policy.is_none() && asked == Transport::AsRecorded {
        sent = as_recorded(input.arrivals());
        steps
    } else {
        let (acks, _) = acknowledgements(base.recording, settings, answer);
        let groups = batches(input.arrivals(), &policy.window, policy.eds_bypass);
        sent = deliveries(&groups, policy, &input, &acks);
        made = input.steps(&mut sent, asked);
        let responses = sent.iter().filter(|d| d.sent).count();
        if scenario.policy.is_some() && policy.name != "none" && responses >= input.arrivals().len() {
            bound = Some(
                "no recorded push is merged with another: the recording was batched more coarsely than this policy does, \
                 so what it would have sent from the original changes is at least this"
                    .to_owned(),
            );
        }
        &made[..]
    };
    let matters: Vec<bool> = (1..=input.arrivals().len()).map(|s| input.matters(s)).collect();
    let made = Made {
        prepared,
        steps: played,
        arrivals: input.arrivals(),
        sent: &sent,
        matters: &|_, state| matters[state - 1],
        bound,
    };
    finish(base, scenario, policy, settings, &made)
}

/// What a scenario came to, ready to be played.
pub struct Made<'a> {
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
        ..base.envoy.clone()
    };
    let name = if scenario.policy.is_none() && policy.name == "none" { "recorded" } else { &policy.name };
    let report = Played { recording: base.recording, prepared, steps: played, settings, run: &run }.report(name, envoy);
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
        drains: report.drains_total,
        delta_peak: 0,
        pareto: false,
        bound: made.bound.clone(),
        peak: report.peak,
        end: report.end,
        over_limit_t: report.over_limit_t,
        timeline: report.timeline,
        pushes: report.pushes,
        drain_log: report.drains,
        flaps: report.flaps,
        counters: report.counters,
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

/// Marks the runs that no other beats in both peak and p99.
fn mark_front(runs: &mut [WhatIfRun]) {
    let points: Vec<(u64, f64)> = runs.iter().map(|r| (r.peak.allocated.bytes, r.staleness_ms.p99)).collect();
    for (run, (peak, p99)) in runs.iter_mut().zip(&points) {
        let beaten = points.iter().any(|(p, s)| p <= peak && s <= p99 && (p < peak || s < p99));
        run.pareto = !beaten;
    }
}

/// The best run of those whose changes wait no longer than they may: under `goal.limit` the one with the smallest
/// staleness, else the one with the smallest peak; of those within two percent of the smallest peak the one whose changes
/// wait least.
fn winner(runs: &[WhatIfRun], goal: Goal) -> Option<Winner> {
    let p99 = |r: &WhatIfRun| (r.staleness_ms.p99 * 1000.0) as i64;
    let keeps = |r: &&WhatIfRun| {
        p99(r) <= goal.max_staleness.unwrap_or(PATIENCE).0 && goal.limit.is_none_or(|l| r.peak.resident <= l)
    };
    let allowed: Vec<&WhatIfRun> = runs.iter().filter(keeps).collect();
    let smallest = allowed.iter().map(|r| r.peak.allocated.bytes).min()?;
    let near = |r: &&&WhatIfRun| goal.limit.is_some() || r.peak.allocated.bytes <= smallest + smallest / 50;
    let best = allowed.iter().filter(near).min_by_key(|r| (p99(r), r.peak.allocated.bytes, r.pushes_sent))?;
    let first = runs.first()?;
    let generations = |r: &WhatIfRun| r.peak.listeners_draining + r.peak.groups_draining;
    let why = if best.scenario == first.scenario {
        format!("nothing tried has a peak clearly below the {} of {}", size(first.peak.allocated.bytes), first.scenario)
    } else {
        let share = 100 * best.peak.allocated.bytes / first.peak.allocated.bytes.max(1);
        let held = if generations(best) == generations(first) {
            format!("with {} old generations alive at the peak in both", generations(best))
        } else {
            format!("with {} old generations alive at the peak instead of {}", generations(best), generations(first))
        };
        let price = match p99(best) - p99(first) {
            0 => "and changes wait no longer".to_owned(),
            wait => format!("for changes that wait {:.1} s longer at p99", wait as f64 / 1e6),
        };
        format!("peak {} ({share} % of {}), {held}, {price}", size(best.peak.allocated.bytes), first.scenario)
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
pub fn notes(recording: &Recording, scenarios: &[Scenario], settings: &Settings, answer: Us) -> Vec<String> {
    let mut notes = Vec::new();
    if scenarios.iter().any(|s| s.policy.is_some()) {
        notes.push(
            "a recorded stream is what a control plane's batching left over: coarser policies are exact, staleness counts \
             from the recorded push, and finer policies are bounds"
                .to_owned(),
        );
    }
    let gated = |p: &Policy| p.gate != crate::sim::control_plane::Gate::None;
    if scenarios.iter().filter_map(|s| s.policy.as_ref()).any(gated) {
        notes.push(match acknowledgements(recording, settings, answer).1 {
            true => "Envoy's answers take the median time that the recording shows for the type".to_owned(),
            false => format!(
                "the recording has no answers of Envoy: each is taken to come after {} (--answer)",
                time(answer)
            ),
        });
    }
    notes
}
