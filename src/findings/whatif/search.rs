//! A search over policies: a grid scaled to how long changes may wait, then a finer one around the best of it.

use super::scenario::time;
use super::{Goal, PATIENCE, Scenario, WhatIfRun, winner};
use crate::model::stream::Us;

/// Policies with one time that is looked for; `max` is how long changes may wait at most.
const FAMILIES: [fn(Us, Us) -> String; 3] = [
    |t, _| format!("fixed-window:window={}", time(t)),
    |t, max| format!("debounce:quiet={},max={}", time(t), time(max)),
    |t, _| format!("min-interval:interval={}", time(t)),
];

/// Thousandths of the longest wait.
const SHARES: [i64; 11] = [10, 25, 50, 100, 200, 350, 500, 650, 800, 900, 1000];

/// Generations of a listener that may drain, and drain times in seconds: Envoy Gateway's, Istio's, Kuma's.
const DRAINING: [u32; 4] = [1, 2, 3, 4];
const DRAIN_TIMES_S: [u32; 4] = [60, 45, 30, 15];

/// How long changes may wait when only memory is limited.
const WITHIN_LIMIT: Us = Us(60_000_000);

/// Values tried between two of the grid.
const BETWEEN: i64 = 4;

fn longest(goal: Goal) -> Us {
    goal.max_staleness.unwrap_or(if goal.limit.is_some() { WITHIN_LIMIT } else { PATIENCE })
}

/// The times of the grid, in whole milliseconds.
fn times(goal: Goal) -> Vec<Us> {
    let ms = longest(goal).0 / 1000;
    let mut all: Vec<Us> = SHARES.iter().map(|share| Us((ms * share / 1000).max(1) * 1000)).collect();
    all.dedup();
    all
}

fn made(text: &str) -> Scenario {
    Scenario::parse(text).expect("written as scenarios are")
}

/// The first round. What depends on drains is only tried where the input has the resources, `memory`.
pub fn grid(goal: Goal, memory: bool) -> Vec<Scenario> {
    let (times, max) = (times(goal), longest(goal));
    let policies = FAMILIES.iter().flat_map(|family| times.iter().map(move |t| family(*t, max)));
    let drains = DRAINING.iter().map(|k| format!("at-most-k-draining:k={k}"));
    let drain_times = DRAIN_TIMES_S.iter().map(|s| format!("drain-time={s}s"));
    let more = drains.chain(drain_times).filter(|_| memory);
    policies.chain(more).map(|text| made(&text)).collect()
}

/// The second round: values between the best one of the first and its neighbours, and it with shorter drain times.
pub fn finer(runs: &[WhatIfRun], goal: Goal, memory: bool) -> Vec<Scenario> {
    let Some(best) = winner(runs, goal) else { return Vec::new() };
    let (times, max) = (times(goal), longest(goal));
    let mut out = Vec::new();
    for family in FAMILIES {
        let Some(at) = times.iter().position(|t| family(*t, max) == best.scenario) else { continue };
        for pair in times[at.saturating_sub(1)..times.len().min(at + 2)].windows(2) {
            let between = (1..BETWEEN).map(|i| Us((pair[0].0 + (pair[1].0 - pair[0].0) * i / BETWEEN) / 1000 * 1000));
            out.extend(between.filter(|t| pair[0] < *t && *t < pair[1]).map(|t| made(&family(t, max))));
        }
    }
    // a drain time of its own is what the best one has already
    let shorter = |s: &&u32| memory && runs.first().is_some_and(|r| f64::from(**s) < r.drain_time_s);
    if best.scenario != runs[0].scenario && !best.scenario.contains("drain-time") {
        let drain_times = DRAIN_TIMES_S.iter().filter(shorter);
        out.extend(drain_times.filter_map(|s| Scenario::parse(&format!("{} + drain-time={s}s", best.scenario)).ok()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_ends_at_what_changes_may_wait() {
        let names = |goal, memory| grid(goal, memory).into_iter().map(|s| s.name).collect::<Vec<_>>();
        let goal = Goal { max_staleness: Some(Us(400_000)), limit: None };
        let all = names(goal, false);
        assert_eq!(all.len(), 33);
        assert_eq!((&*all[0], &*all[10]), ("fixed-window:window=4ms", "fixed-window:window=400ms"));
        assert!(all.contains(&"debounce:quiet=20ms,max=400ms".to_owned()));
        assert_eq!(names(goal, true).len(), 41);
        // a wait of a few milliseconds leaves few values
        let goal = Goal { max_staleness: Some(Us(2_000)), limit: None };
        assert_eq!(names(goal, false)[..2], ["fixed-window:window=1ms", "fixed-window:window=2ms"]);
        assert_eq!(names(Goal::default(), false)[10], "fixed-window:window=10s");
        assert_eq!(names(Goal { limit: Some(1), ..Goal::default() }, false)[10], "fixed-window:window=60s");
    }
}
