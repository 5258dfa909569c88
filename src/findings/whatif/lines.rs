//! What-ifs over a control plane's lines about its batches: pushes and waits, without memory.

use super::{Scenario, Staleness, WhatIfRun, side_by_side};
use crate::findings::replay::EnvoyReport;
use crate::model::stream::{Recording, Us, What};
use crate::sim::control_plane::{
    Acknowledgements, Arrival, Between, Delivery, Gate, Line, Lines, Policy, batches, deliveries, waits,
};

/// The lines in `recording`.
///
/// # Errors
/// One line: there are too many changes.
pub fn logged(recording: &Recording) -> Result<Lines, String> {
    let line = |t: Us, what: &What| match what {
        What::Batch { first, last, events } => Some(Line { t, first: *first, last: *last, changes: *events }),
        _ => None,
    };
    let lines: Vec<Line> = recording.events.iter().filter_map(|e| line(e.t, &e.what)).collect();
    Lines::new(lines)
        .ok_or_else(|| format!("the lines are of more than {} changes; take a part of the log", Lines::MOST))
}

/// The runs over `lines`, the logged one first, and notes on them.
///
/// # Errors
/// One line: a scenario needs what lines do not have.
pub fn over_lines(
    lines: &Lines,
    envoy: &EnvoyReport,
    scenarios: &[Scenario],
    answer: Us,
) -> Result<(Vec<WhatIfRun>, Vec<String>), String> {
    let arrivals = [Between::Even, Between::Early, Between::Late].map(|b| lines.arrivals(b));
    let logged = Summary::of(&arrivals[0], &lines.pushed());
    let mut runs = vec![run("recorded", "recorded", envoy, logged, None)];
    let mut gated = false;
    for scenario in scenarios {
        let policy = plain(scenario)?;
        gated |= policy.gate != Gate::None;
        let acks = Acknowledgements { latency: [answer; 9], fetch_timeout: Us(0), drain: Us(0) };
        let [even, early, late] = [0, 1, 2].map(|i| {
            let groups = batches(&arrivals[i], &policy.window, policy.eds_bypass);
            Summary::of(&arrivals[i], &deliveries(&groups, policy, lines, &acks))
        });
        let (least, most) =
            (early.pushes.min(late.pushes).min(even.pushes), early.pushes.max(late.pushes).max(even.pushes));
        let bound = (least != most).then(|| {
            format!(
                "{least} to {most} pushes when the changes inside a batch came at equal distances (shown), all at its begin, or \
                 all at its end; the lines do not say how they came, and other numbers are possible"
            )
        });
        runs.push(run(&scenario.name, &policy.name, envoy, even, bound));
    }
    side_by_side(&mut runs);
    let mut notes = vec![format!(
        "the input is {} lines of the control plane about {} changes: pushes and waits of any policy follow from \
         them, memory does not, as nothing says what was pushed; changes wait from the event on",
        lines.pushed().len(),
        lines.changes()
    )];
    if lines.uncertain() {
        notes.push(
            "a line has the first and the last change of a batch; those between are taken to have come at equal distances"
                .to_owned(),
        );
    }
    if gated {
        notes.push("Envoy is taken to answer after --answer".to_owned());
    }
    Ok((runs, notes))
}

/// The policy of a scenario that is nothing else.
fn plain(scenario: &Scenario) -> Result<&Policy, String> {
    let bare = Scenario { name: scenario.name.clone(), policy: scenario.policy.clone(), ..Scenario::default() };
    match &scenario.policy {
        Some(policy) if policy.draining.is_some() => {
            Err(format!("{}: what drains depends on the resources, which these lines do not have", scenario.name))
        }
        Some(policy) if bare == *scenario => Ok(policy),
        _ => Err(format!(
            "{}: these lines say when was pushed and not what; only policies can be tried on them",
            scenario.name
        )),
    }
}

/// What a run comes to.
struct Summary {
    pushes: u64,
    staleness: Staleness,
}

impl Summary {
    fn of(arrivals: &[Arrival], sent: &[Delivery]) -> Self {
        let waiting = waits(arrivals, sent, &|_, _| true);
        Self { pushes: sent.iter().filter(|d| d.sent).count() as u64, staleness: Staleness::of(waiting.concat()) }
    }
}

fn run(scenario: &str, policy: &str, envoy: &EnvoyReport, of: Summary, bound: Option<String>) -> WhatIfRun {
    WhatIfRun {
        scenario: scenario.to_owned(),
        policy: policy.to_owned(),
        drain_time_s: 0.0,
        envoy: envoy.clone(),
        pushes_sent: of.pushes,
        staleness_ms: of.staleness,
        by_type: Vec::new(),
        drains: None,
        listeners_drained: None,
        filter_chains_drained: None,
        connections_cut: None,
        delta_peak: None,
        pareto: false,
        bound,
        peak: None,
        end: None,
        over_limit_t: None,
        timeline: Vec::new(),
        pushes: Vec::new(),
        drain_log: Vec::new(),
        flaps: Vec::new(),
        counters: None,
    }
}
