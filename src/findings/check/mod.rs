//! `meshdump check`: budgets, and a baseline with a tolerance, on the numbers of an analysis.

mod baseline;
mod budget;
mod measure;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use super::Finding;
use super::analysis::{Analysis, Input, ProblemReport, ProxyReport, ResourceRow, Tool};
use super::replay::Replay;
use crate::model::size::size;
pub use baseline::{Baseline, ProxyBaseline, RunBaseline};
use baseline::{cost_model, counted, identity, states_of};
pub use budget::{Budget, BudgetError};
use budget::{Function, Limit};
use measure::{Growth, Measure, Metric};
pub use measure::{Unit, is_known, names};

/// What a gate said, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Over the limit.
    Fail,
    /// Over a limit that only warns.
    Warn,
    /// Over the limit, and suppressed with a reason.
    Suppressed,
    /// The evidence does not have the number.
    Skipped,
    /// Within the limit.
    Pass,
}

/// A number that is written as an integer where it is one.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, schemars::JsonSchema)]
#[schemars(transparent)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 9e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64((self.0 * 1000.0).round() / 1000.0)
        }
    }
}

/// The whole report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Check {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `check`.
    pub kind: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read.
    pub inputs: Vec<Input>,
    /// No gate failed.
    pub ok: bool,
    /// Gates by what they said.
    pub totals: Totals,
    /// The configuration, as a path from the working folder; null without one.
    pub config: Option<String>,
    /// What was compared with; null without a baseline.
    pub baseline: Option<String>,
    /// The day that expiries were compared with; null when nothing can expire.
    pub today: Option<Today>,
    /// The gates, the worst first.
    pub gates: Vec<Gate>,
    /// Suppressions, with what they did.
    pub suppressions: Vec<Suppressed>,
    /// What could not be read.
    pub problems: Vec<ProblemReport>,
}

/// Gates by what they said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Totals {
    /// Over their limit.
    pub failed: u64,
    /// Over a limit that only warns.
    pub warned: u64,
    /// Over their limit, with a reason.
    pub suppressed: u64,
    /// Without a number.
    pub skipped: u64,
    /// Within their limit.
    pub passed: u64,
}

/// The day of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Today {
    /// `2026-11-21`.
    #[serde(serialize_with = "date_text")]
    #[schemars(with = "String")]
    pub date: Date,
    /// `flag`, `source_date_epoch` or `clock` (UTC).
    pub from: &'static str,
}

fn date_text<S: serde::Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(date)
}

/// One gate on one proxy, or on the run as a whole.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Gate {
    /// What it said.
    pub status: Status,
    /// Stable name: `budget.` or `baseline.` and the name of the number.
    pub rule: String,
    /// The proxy; empty for the run as a whole.
    pub proxy: String,
    /// What was found; null when the evidence does not tell.
    pub value: Option<Number>,
    /// What the baseline has; null without one.
    pub before: Option<Number>,
    /// `<=` and the like.
    pub operator: &'static str,
    /// The limit; null where there is none to tell.
    pub limit: Option<Number>,
    /// What the three count.
    pub unit: Unit,
    /// One line that says it.
    pub message: String,
    /// Why it is suppressed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Where it shows: what is new or grew, else the largest.
    pub places: Vec<Place>,
    /// Places left out.
    pub places_omitted: u64,
}

impl Gate {
    /// Bytes over the limit, and how many times over; nothing for what keeps it.
    fn excess(&self) -> (f64, f64) {
        match (self.value, self.limit) {
            (Some(Number(value)), Some(Number(limit)))
                if !matches!(self.status, Status::Pass | Status::Skipped) && value.is_finite() =>
            {
                let bytes = if self.unit == Unit::Bytes { (value - limit).abs() } else { 0.0 };
                (bytes, (value - limit).abs() / limit.abs().max(1.0))
            }
            _ => (0.0, 0.0),
        }
    }
}

/// A place in an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Place {
    /// Input, as the user named it.
    pub path: String,
    /// Line, from 1; null when it is not known.
    pub line: Option<u64>,
    /// Byte offset in the uncompressed input.
    pub offset: Option<u64>,
    /// Length as written, in bytes.
    pub bytes: Option<u64>,
    /// What stands there.
    pub text: String,
}

/// A suppression with what it did.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Suppressed {
    /// As written.
    pub rule: String,
    /// As written.
    #[serde(rename = "match")]
    pub proxies: String,
    /// Why.
    pub reason: String,
    /// Last day it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// That day is over.
    pub expired: bool,
    /// Gates and findings it holds back; that it would hold back, when it has expired.
    pub hits: u64,
}

/// A reason why something may be over its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Pattern for a finding's code (`MD305`) or a gate's rule (`baseline.clusters`).
    pub rule: String,
    /// Pattern for proxies; empty for all.
    pub proxies: String,
    /// Why; never empty.
    pub reason: String,
    /// Last day it holds.
    pub until: Option<Date>,
}

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    /// Budgets.
    pub budgets: Vec<Budget>,
    /// Suppressions.
    pub suppressions: Vec<Suppression>,
    /// How far a number may exceed its baseline, in hundredths.
    pub tolerance: f64,
    /// The same for single numbers, by name.
    pub tolerances: BTreeMap<String, f64>,
    /// The day that expiries are compared with; needed when something can expire.
    pub today: Option<Today>,
    /// Missing evidence fails.
    pub strict: bool,
}

/// Places listed per gate.
const MAX_PLACES: usize = 100;
/// Of those that are only the largest of their kind, and no cause.
const MAX_EXAMPLES: usize = 10;

/// A pattern with `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(n) => rest = &rest[n + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The pattern means this proxy: by label, node id or workload.
fn means(pattern: &str, p: &ProxyReport) -> bool {
    pattern.is_empty() || [&p.label, &p.node_id, &p.workload].iter().any(|name| matches(pattern, name))
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes if value >= 0.0 => size(value as u64),
        Unit::Percent => format!("{value:.1}%"),
        Unit::Seconds if value.is_infinite() => "never".to_owned(),
        Unit::Seconds => format!("{value:.0}s"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

struct Run<'a> {
    a: &'a Analysis,
    replay: Option<&'a Replay>,
    gates: &'a Gates,
    hits: Vec<u64>,
    out: Vec<Gate>,
}

/// Checks an analysis that lists every resource, and the replay where the evidence is a recording. `before` is the
/// baseline with its name, when there is one.
pub fn check(
    a: &Analysis,
    replay: Option<&Replay>,
    gates: &Gates,
    config: Option<String>,
    before: Option<(&str, &Baseline)>,
) -> Check {
    let mut run = Run { a, replay, gates, hits: vec![0; gates.suppressions.len()], out: Vec::new() };
    for b in &gates.budgets {
        run.budget(b);
    }
    if let Some((_, before)) = before {
        run.baseline(before);
    }
    let Run { hits, mut out, .. } = run;
    // within what they said the heaviest first: by bytes over the limit, then by how many times over
    out.sort_by(|a, b| {
        let by_weight = || b.excess().partial_cmp(&a.excess()).unwrap_or(std::cmp::Ordering::Equal);
        a.status.cmp(&b.status).then_with(by_weight).then_with(|| (&a.rule, &a.proxy).cmp(&(&b.rule, &b.proxy)))
    });
    let n = |status: Status| out.iter().filter(|g| g.status == status).count() as u64;
    let totals = Totals {
        failed: n(Status::Fail),
        warned: n(Status::Warn),
        suppressed: n(Status::Suppressed),
        skipped: n(Status::Skipped),
        passed: n(Status::Pass),
    };
    let suppressions = gates.suppressions.iter().zip(hits).map(|(s, hits)| Suppressed {
        rule: s.rule.clone(),
        proxies: s.proxies.clone(),
        reason: s.reason.clone(),
        until: s.until.map(|d| d.to_string()),
        expired: gates.expired(s),
        hits,
    });
    Check {
        api_version: "meshdump/v1",
        kind: "check",
        tool: Tool { cost_model: cost_model(a, replay).to_owned(), ..a.tool.clone() },
        inputs: replay.map_or(&a.inputs, |r| &r.inputs).clone(),
        ok: totals.failed == 0,
        totals,
        config,
        baseline: before.map(|(name, _)| name.to_owned()),
        today: gates.today.clone(),
        suppressions: suppressions.collect(),
        gates: out,
        problems: replay.map_or(&a.problems, |r| &r.problems).clone(),
    }
}

impl Gates {
    fn expired(&self, s: &Suppression) -> bool {
        self.today.as_ref().zip(s.until).is_some_and(|(today, until)| today.date > until)
    }
}

impl<'a> Run<'a> {
    /// The suppression of a gate or finding. Expired ones are counted, but hold nothing back.
    fn suppression(&mut self, rule: &str, p: Option<&ProxyReport>) -> Option<&'a Suppression> {
        let gates = self.gates;
        let hit = |s: &Suppression| {
            let proxy = s.proxies.is_empty() || p.is_some_and(|p| means(&s.proxies, p));
            proxy && matches(&s.rule, rule)
        };
        let found = |expired: bool| gates.suppressions.iter().position(|s| hit(s) && gates.expired(s) == expired);
        let holds = found(false);
        if let Some(i) = holds.or_else(|| found(true)) {
            self.hits[i] += 1;
        }
        holds.map(|i| &gates.suppressions[i])
    }

    fn proxy(&self, label: &str) -> Option<&'a ProxyReport> {
        self.a.proxies.iter().find(|p| p.label == label)
    }

    fn add(&mut self, mut gate: Gate) {
        if matches!(gate.status, Status::Fail | Status::Warn)
            && let Some(s) = self.suppression(&gate.rule, self.proxy(&gate.proxy))
        {
            gate.status = Status::Suppressed;
            gate.reason.clone_from(&s.reason);
        }
        if matches!(gate.status, Status::Pass | Status::Skipped) {
            gate.places.clear();
            gate.places_omitted = 0;
        }
        self.out.push(gate);
    }

    fn missing(&mut self, rule: String, proxy: &str, unit: Unit, message: String) {
        let status = if self.gates.strict { Status::Fail } else { Status::Skipped };
        self.add(Gate {
            status,
            rule,
            proxy: proxy.to_owned(),
            value: None,
            before: None,
            operator: "",
            limit: None,
            unit,
            message,
            reason: String::new(),
            places: Vec::new(),
            places_omitted: 0,
        });
    }

    fn budget(&mut self, b: &Budget) {
        let a = self.a;
        if let Metric::Findings(word) = &b.metric {
            let found = self.counted_findings(word, &b.group);
            return self.against_budget(b, "", Some(found.len() as f64), evidence_of(&found));
        }
        if b.metric.of_the_run() {
            return self.against_budget(b, "", b.metric.of_run(a, self.replay), self.run_place(&b.name));
        }
        let chosen: Vec<&ProxyReport> = a.proxies.iter().filter(|p| self.in_group(b, p)).collect();
        if chosen.is_empty() {
            let whose = if b.group.is_empty() { String::new() } else { format!(" that `{}` matches", b.group) };
            return self.missing(
                format!("budget.{}", b.name),
                "",
                b.metric.unit(),
                format!("{}: no proxy{whose}", b.name),
            );
        }
        if b.function == Function::Each {
            for p in chosen {
                let value = b.metric.of_proxy(a, p);
                self.against_budget(b, &p.label, value, self.largest(p, &b.metric));
            }
        } else {
            let values: Vec<(f64, &ProxyReport)> =
                chosen.iter().filter_map(|p| Some((b.metric.of_proxy(a, p)?, *p))).collect();
            let value = b.function.of(values.iter().map(|v| v.0).collect());
            // the proxies themselves, the worst first
            let mut order = values;
            order.sort_by(|x, y| y.0.total_cmp(&x.0));
            let of = |(v, p): &(f64, &ProxyReport)| {
                let place = self.file(p);
                place.map(|f| Place { text: format!("{} {}", p.label, shown(*v, b.metric.unit())), ..f })
            };
            let places: Vec<Place> = order.iter().filter_map(of).take(MAX_EXAMPLES).collect();
            let omitted = (order.len() - places.len()) as u64;
            self.against_budget(b, "", value, (places, omitted));
        }
    }

    /// Findings that nothing suppresses.
    fn counted_findings(&mut self, word: &str, group: &str) -> Vec<&'a Finding> {
        let a = self.a;
        let mut out = Vec::new();
        for f in measure::findings(a, self.replay) {
            let p = self.proxy(&f.proxy);
            let wanted = (word.is_empty() || f.code == word || f.severity.as_str() == word)
                && (group.is_empty() || p.is_some_and(|p| means(group, p)));
            if wanted && self.suppression(f.code, p).is_none() {
                out.push(f);
            }
        }
        out
    }

    /// A budget of a group goes before one of the same name for all.
    fn in_group(&self, b: &Budget, p: &ProxyReport) -> bool {
        let same = |other: &&Budget| !other.group.is_empty() && other.name == b.name && means(&other.group, p);
        match self.gates.budgets.iter().find(same) {
            Some(first) => first.group == b.group,
            None => b.group.is_empty(),
        }
    }

    fn against_budget(&mut self, b: &Budget, proxy: &str, value: Option<f64>, places: (Vec<Place>, u64)) {
        let (name, unit) = (&b.name, b.metric.unit());
        let rule = format!("budget.{name}");
        let Some(v) = value else {
            return self.missing(rule, proxy, unit, format!("{name}: not in the evidence"));
        };
        let broken = |limit: Option<Limit>| limit.filter(|l| !l.holds(v));
        let (status, limit) = match (broken(b.error), broken(b.warn)) {
            (Some(l), _) => (Status::Fail, Some(l)),
            (None, Some(l)) => (Status::Warn, Some(l)),
            (None, None) => (Status::Pass, b.error.or(b.warn)),
        };
        let text = limit.map(|l| format!("{} {}", l.operator, shown(l.number, unit))).unwrap_or_default();
        let message = match status {
            Status::Pass => format!("{name} is {}, within {text}", shown(v, unit)),
            _ => format!("{name} is {}, the budget is {text}", shown(v, unit)),
        };
        let (places, places_omitted) = places;
        self.add(Gate {
            status,
            rule,
            proxy: proxy.to_owned(),
            value: Some(Number(v)),
            before: None,
            operator: limit.map_or("", |l| l.operator),
            limit: limit.map(|l| Number(l.number)),
            unit,
            message,
            reason: String::new(),
            places,
            places_omitted,
        });
    }

    fn baseline(&mut self, before: &Baseline) {
        let a = self.a;
        let model = cost_model(a, self.replay);
        let same_model = before.cost_model == model;
        if !same_model {
            let message = format!(
                "bytes are not compared: they were estimated by cost model {}, now by {}; --update-baseline renews it",
                before.cost_model, model
            );
            self.missing("baseline.bytes".to_owned(), "", Unit::Bytes, message);
        }
        let partners = before.partners(a);
        for (p, partner) in a.proxies.iter().zip(&partners) {
            match partner.and_then(|label| before.proxies.get(label)) {
                Some(old) => self.against(p, old, same_model),
                None => self.missing(
                    "baseline".to_owned(),
                    &p.label,
                    Unit::Count,
                    "not in the baseline; --update-baseline adds it".to_owned(),
                ),
            }
        }
        for gone in before.proxies.keys().filter(|l| !partners.contains(&Some(l.as_str()))) {
            self.missing("baseline".to_owned(), gone, Unit::Count, "in the baseline, but not in the input".to_owned());
        }
        let now = Baseline::of(a, self.replay);
        for (run, is) in &now.runs {
            match before.runs.get(run) {
                Some(was) => self.against_run(run, is, was, same_model),
                None => {
                    let message = format!("{run}: not in the baseline; --update-baseline adds it");
                    self.missing(format!("baseline.{run}"), "", Unit::Count, message);
                }
            }
        }
        for gone in before.runs.keys().filter(|run| !now.runs.contains_key(*run)) {
            let message = format!("{gone}: in the baseline, but not in the input");
            self.missing(format!("baseline.{gone}"), "", Unit::Count, message);
        }
    }

    /// The maps of a node or a recording against their baseline.
    fn against_run(&mut self, run: &str, is: &RunBaseline, was: &RunBaseline, same_model: bool) {
        for (name, metric, growth) in counted() {
            let (Some(was), Some(is)) = (was.numbers.get(&name), is.numbers.get(&name)) else { continue };
            if metric.unit() == Unit::Bytes && !same_model {
                continue;
            }
            let tolerance = self.tolerance(&name, growth);
            let gate = compared("", &name, metric.unit(), (*was, *is), tolerance, || self.run_place(&name));
            self.add(gate);
        }
        for (code, is) in &is.findings {
            if self.suppression(code, None).is_some() {
                continue;
            }
            let mine: Vec<&Finding> =
                measure::findings(self.a, self.replay).filter(|f| f.proxy.is_empty() && f.code == code).collect();
            let was = was.findings.get(code).copied().unwrap_or(0);
            self.new_finding("", &format!("findings.{run}.{code}"), &mine, (was, *is));
        }
    }

    fn new_finding(&mut self, label: &str, name: &str, mine: &[&Finding], numbers: (u64, u64)) {
        let mut gate = compared(label, name, Unit::Count, numbers, 0.0, || evidence_of(mine));
        if let (Status::Fail, Some(f)) = (gate.status, mine.first()) {
            gate.message = format!("new finding {}: {}", f.code, f.title);
        }
        self.add(gate);
    }

    /// How far a number may exceed its baseline, in hundredths.
    fn tolerance(&self, name: &str, growth: Growth) -> f64 {
        let usual = if growth == Growth::None { 0.0 } else { self.gates.tolerance };
        self.gates.tolerances.get(name).copied().unwrap_or(usual)
    }

    /// Where a number of the run shows: the maps as a whole, or the recording with the push that did it.
    fn run_place(&self, name: &str) -> (Vec<Place>, u64) {
        let place = match self.replay.filter(|_| name.starts_with("replay.")) {
            Some(r) => {
                let cause = r.runs.first().map_or("", |run| &run.peak.cause);
                let text = if cause.is_empty() { "the recording" } else { cause };
                r.inputs.first().map(|i| Place { line: None, offset: None, ..whole(&i.path, text) })
            }
            None => self.a.inputs.iter().find(|i| i.kind.starts_with("bpf")).map(|i| whole(&i.path, "BPF maps")),
        };
        (place.into_iter().collect(), 0)
    }

    fn against(&mut self, p: &ProxyReport, old: &ProxyBaseline, same_model: bool) {
        let now = ProxyBaseline::of(self.a, p);
        for (name, metric, growth) in counted() {
            let bytes = metric.unit() == Unit::Bytes;
            let (was, is) = if bytes { (&old.bytes, &now.bytes) } else { (&old.counts, &now.counts) };
            if bytes && !same_model {
                continue;
            }
            match (was.get(&name), is.get(&name)) {
                (Some(was), Some(is)) => {
                    let tolerance = self.tolerance(&name, growth);
                    let grown = || self.grown(p, &name, &metric, &now, old, same_model);
                    let gate = compared(&p.label, &name, metric.unit(), (*was, *is), tolerance, grown);
                    self.add(gate);
                }
                (Some(_), None) => {
                    let message = format!("{name}: in the baseline, but not in the evidence");
                    self.missing(format!("baseline.{name}"), &p.label, metric.unit(), message);
                }
                (None, _) => {}
            }
        }
        for (code, is) in &now.findings {
            let mine: Vec<&Finding> = self.a.findings.iter().filter(|f| f.proxy == p.label && f.code == code).collect();
            if self.suppression(code, Some(p)).is_some() {
                continue;
            }
            let was = old.findings.get(code).copied().unwrap_or(0);
            self.new_finding(&p.label, &format!("findings.{code}"), &mine, (was, *is));
        }
    }

    /// The resources that a number counts and the baseline does not have, or has smaller, the largest growth first.
    fn grown(
        &self,
        p: &ProxyReport,
        name: &str,
        metric: &Metric,
        now: &ProxyBaseline,
        old: &ProxyBaseline,
        same_model: bool,
    ) -> (Vec<Place>, u64) {
        let states = states_of(name);
        let growth = |r: &ResourceRow| {
            let id = identity(r);
            match (old.resources.get(&id), now.resources.get(&id)) {
                (None, Some(is)) => *is,
                // other bytes may be another model's
                (Some(was), Some(is)) if same_model => is.saturating_sub(*was),
                _ => 0,
            }
        };
        let mut list: Vec<(u64, &ResourceRow)> = p
            .resources
            .iter()
            .filter(|r| counts(metric, states, r))
            .map(|r| (growth(r), r))
            .filter(|(growth, _)| *growth > 0)
            .collect();
        list.sort_by_key(|(growth, _)| std::cmp::Reverse(*growth));
        if list.is_empty() {
            return self.largest(p, metric);
        }
        let omitted = list.len().saturating_sub(MAX_PLACES) as u64;
        (list.into_iter().take(MAX_PLACES).map(|(_, r)| place(r)).collect(), omitted)
    }

    /// Where to look for a number when no single resource is its cause: the largest that it counts, the evidence of the
    /// finding that tells of it, or the proxy's file.
    fn largest(&self, p: &ProxyReport, metric: &Metric) -> (Vec<Place>, u64) {
        let name = match metric {
            Metric::Fixed(m, "") => m.name.to_owned(),
            Metric::Fixed(m, state) => format!("{}.{state}", m.name),
            Metric::Kind(_) | Metric::Namespace(_) | Metric::Findings(_) | Metric::Saves(_) => String::new(),
        };
        let states = states_of(&name);
        let all = || p.resources.iter().filter(|r| counts(metric, states, r));
        let places: Vec<Place> = all().take(MAX_EXAMPLES).map(place).collect();
        if !places.is_empty() {
            let omitted = (all().count() - places.len()) as u64;
            return (places, omitted);
        }
        let code = match metric {
            Metric::Fixed(m, _) => m.code,
            Metric::Saves(code) => code,
            _ => "",
        };
        let mine: Vec<&Finding> = self.a.findings.iter().filter(|f| f.proxy == p.label && f.code == code).collect();
        match evidence_of(&mine) {
            (places, _) if places.is_empty() => (self.file(p).into_iter().collect(), 0),
            found => found,
        }
    }

    /// A proxy's first input as a whole.
    fn file(&self, p: &ProxyReport) -> Option<Place> {
        p.inputs.first().and_then(|i| self.a.inputs.get(*i as usize)).map(|i| whole(&i.path, &p.label))
    }
}

/// Whether `metric` counts this resource; `states` empty for those in use.
fn counts(metric: &Metric, states: &[&str], r: &ResourceRow) -> bool {
    match metric {
        Metric::Fixed(Measure { kinds, .. }, _) => {
            let everything = kinds.is_empty();
            let kind = everything || kinds.contains(&r.kind);
            let in_use = !matches!(r.state, "draining" | "error");
            kind && if states.is_empty() { everything || in_use } else { states.contains(&r.state) }
        }
        Metric::Kind(kind) => r.kind == kind,
        Metric::Namespace(name) => r.namespace == *name,
        Metric::Findings(_) | Metric::Saves(_) => false,
    }
}

fn place(r: &ResourceRow) -> Place {
    Place {
        path: r.source.path.clone(),
        line: Some(r.source.line),
        offset: Some(r.source.offset),
        bytes: Some(r.json_bytes),
        text: format!("{} {}", r.kind, r.name),
    }
}

fn whole(path: &str, text: &str) -> Place {
    Place { path: path.to_owned(), line: Some(1), offset: Some(0), bytes: None, text: text.to_owned() }
}

/// The places that findings rest on.
fn evidence_of(findings: &[&Finding]) -> (Vec<Place>, u64) {
    let all: Vec<Place> = findings
        .iter()
        .flat_map(|f| &f.evidence)
        .filter(|e| !e.path.is_empty())
        .map(|e| Place { path: e.path.clone(), line: e.line, offset: e.offset, bytes: None, text: e.text.clone() })
        .collect();
    let omitted =
        all.len().saturating_sub(MAX_PLACES) as u64 + findings.iter().map(|f| f.evidence_omitted).sum::<u64>();
    (all.into_iter().take(MAX_PLACES).collect(), omitted)
}

/// A number against its baseline. `places` says where it grew.
fn compared(
    label: &str,
    name: &str,
    unit: Unit,
    (was, is): (u64, u64),
    tolerance: f64,
    places: impl FnOnce() -> (Vec<Place>, u64),
) -> Gate {
    let limit = (was as f64 * (1.0 + tolerance / 100.0)).floor();
    let over = is as f64 > limit;
    let (now, before) = (shown(is as f64, unit), shown(was as f64, unit));
    let message = if over {
        let more = match was {
            0 => String::new(),
            _ => format!(" ({:+.1}%)", (is as f64 / was as f64 - 1.0) * 100.0),
        };
        let allowed = if tolerance > 0.0 { format!(", {tolerance}% more is tolerated") } else { String::new() };
        format!("{name} is {now}, the baseline has {before}{more}{allowed}")
    } else {
        format!("{name} is {now}, the baseline has {before}")
    };
    let (places, places_omitted) = if over { places() } else { (Vec::new(), 0) };
    Gate {
        status: if over { Status::Fail } else { Status::Pass },
        rule: format!("baseline.{name}"),
        proxy: label.to_owned(),
        value: Some(Number(is as f64)),
        before: Some(Number(was as f64)),
        operator: "<=",
        limit: Some(Number(limit)),
        unit,
        message,
        reason: String::new(),
        places,
        places_omitted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "x", true),
            ("*.gateways", "a.gateways", true),
            ("web-*", "api-1", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "ac", false),
            ("a", "ab", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn integers_stay_integers() {
        let text = serde_json::to_string(&[Number(5.0), Number(12.3456)]).unwrap();
        assert_eq!(text, "[5,12.346]");
    }
}
