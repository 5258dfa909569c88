//! Connections that a run's drains close, as far as the gauges in the recording tell.
//!
//! When a drain ends, Envoy closes what is still open on the listener or the filter chains that drained
//! (`ConnectionHandlerImpl::removeListeners` and `removeFilterChains`), and how many connections that is depends on how
//! long they last. Neither a push nor a dump says so; samples of `downstream_cx_active` bound it, and with those of
//! `downstream_cx_total` beside them from both sides.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::stream::{Body, Event, Recording, Resource, Us, What};
use crate::sim::envoy::Drain;

/// Connections that drains close by force at their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ConnectionsCut {
    /// At least.
    pub least: u64,
    /// At most.
    pub most: u64,
    /// Drains of listeners whose connections were not sampled; they are in neither number.
    pub drains_unknown: u64,
}

/// Samples in order of time.
#[derive(Debug, Default)]
struct Samples(Vec<(Us, u64)>);

impl Samples {
    /// The last one up to `t`.
    fn before(&self, t: Us) -> Option<u64> {
        self.0[..self.0.partition_point(|s| s.0 <= t)].last().map(|s| s.1)
    }

    /// The first one from `t` on.
    fn from(&self, t: Us) -> Option<(Us, u64)> {
        self.0.get(self.0.partition_point(|s| s.0 < t)).copied()
    }

    fn smallest(&self, from: Us, until: Us) -> Option<u64> {
        let inside = self.0.partition_point(|s| s.0 < from)..self.0.partition_point(|s| s.0 <= until);
        self.0.get(inside)?.iter().map(|s| s.1).min()
    }
}

/// What was sampled of one listener.
#[derive(Debug, Default)]
struct Sampled {
    active: Samples,
    total: Samples,
    /// When drains of it ended in the recording itself.
    ended: Vec<Us>,
}

impl Sampled {
    /// Connections accepted from `from` until `until`, at most; `None` when not counted or counted anew in between.
    fn accepted(&self, from: Us, until: Us) -> Option<u64> {
        self.total.from(until)?.1.checked_sub(self.total.before(from)?)
    }

    /// Open from `from` until `until` all the time, at most: a connection that is open throughout is in every sample.
    /// Past the end of a drain of the recording the gauge is low because that cut them.
    fn throughout(&self, from: Us, until: Us) -> Option<u64> {
        let cut = self.ended.get(self.ended.partition_point(|t| *t <= from)).copied();
        let until = cut.map_or(until, |cut| until.min(Us(cut.0 - 1)));
        let around = || self.active.before(from).max(self.active.from(until).map(|s| s.1));
        self.active.smallest(from, until).or_else(around)
    }
}

/// Connections by what the stats of their listener are kept under.
#[derive(Debug)]
pub struct Connections {
    by_stat: BTreeMap<String, Sampled>,
    /// Listener to its key.
    stat_of: BTreeMap<String, String>,
}

/// The samples of connections among `events`, by what the stats of their listener are kept under.
fn samples(events: &[Event]) -> BTreeMap<String, Sampled> {
    let mut out: BTreeMap<String, Sampled> = BTreeMap::new();
    for event in events {
        let What::Observed { metric, value } = &event.what else { continue };
        let Some((listener, what)) = metric.strip_prefix("listener.").and_then(|m| m.rsplit_once('.')) else {
            continue;
        };
        let sampled = out.entry(listener.to_owned()).or_default();
        match what {
            "downstream_cx_active" => sampled.active.0.push((event.t, *value)),
            "downstream_cx_total" => sampled.total.0.push((event.t, *value)),
            _ => {}
        }
    }
    out.retain(|_, s| !s.active.0.is_empty());
    out
}

/// Whether a recording has samples of connections.
pub(super) fn sampled(recording: &Recording) -> bool {
    recording.events.iter().any(|e| matches!(&e.what, What::Observed { metric, .. } if metric.starts_with("listener.")))
}

impl Connections {
    /// The samples of a recording, `None` without any. `drains` gives those of the recording as it is.
    pub fn of(recording: &Recording, drains: impl FnOnce() -> Vec<Drain>) -> Option<Self> {
        let by_stat = samples(&recording.events);
        if by_stat.is_empty() {
            return None;
        }
        let listener = |body: &Body| match &body.resource {
            Resource::Listener(l) => {
                // `listener_impl.cc`: the scope is the prefix, else the address
                let scope =
                    if l.stat_prefix.is_empty() { l.address.replace(':', "_") } else { l.stat_prefix.to_string() };
                Some((body.name.to_string(), scope))
            }
            _ => None,
        };
        let mut out = Self { by_stat, stat_of: recording.bodies.iter().filter_map(listener).collect() };
        for drain in drains() {
            if let Some(sampled) = out.stat_of.get(&*drain.name).and_then(|stat| out.by_stat.get_mut(stat)) {
                sampled.ended.push(drain.ends);
            }
        }
        out.by_stat.values_mut().for_each(|s| s.ended.sort_unstable());
        Some(out)
    }

    /// What `drains`, in order of their begin, close.
    pub fn cut(&self, drains: &[Drain]) -> ConnectionsCut {
        let mut out = ConnectionsCut::default();
        // when each listener last drained whole: what is on the generation after it was accepted since
        let mut whole: BTreeMap<&str, Us> = BTreeMap::new();
        for drain in drains.iter().filter(|d| d.chains != Some(0)) {
            let sampled =
                self.stat_of.get_key_value(&*drain.name).and_then(|(n, stat)| Some((n, self.by_stat.get(stat)?)));
            let open = sampled.and_then(|(_, s)| s.throughout(drain.began, drain.ends));
            let Some(((name, sampled), open)) = sampled.zip(open) else {
                out.drains_unknown += 1;
                continue;
            };
            let before = whole.get(&**name).copied();
            let accepted = before.and_then(|before| sampled.accepted(before, drain.began));
            let most = accepted.map_or(open, |n| n.min(open));
            out.most += most;
            // no sample tells the chains of an in-place update apart; on a listener that is replaced is everything but
            // what older generations still have and what came later
            if drain.chains.is_none() {
                whole.insert(name, drain.began);
                let older = before.map_or(Some(0), |before| sampled.active.before(before));
                let least = sampled.active.from(drain.ends).and_then(|(t, left)| {
                    Some(left.saturating_sub(sampled.accepted(drain.began, t)?).saturating_sub(older?))
                });
                out.least += least.unwrap_or(0).min(most);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::InputId;

    const S: i64 = 1_000_000;

    /// Listener `l` at 0.0.0.0:80 with these samples: (second, active, total).
    fn connections(gauges: &[(i64, u64, Option<u64>)], ended: &[i64]) -> Connections {
        let event = |t: i64, what: &str, value: u64| {
            let metric = format!("listener.0.0.0.0_80.{what}").as_str().into();
            Event { t: Us(t * S), input: InputId(0), stream: 0, what: What::Observed { metric, value } }
        };
        let mut events = Vec::new();
        for (t, active, total) in gauges {
            events.push(event(*t, "downstream_cx_active", *active));
            events.extend(total.map(|n| event(*t, "downstream_cx_total", n)));
        }
        let mut by_stat = samples(&events);
        by_stat.values_mut().for_each(|s| s.ended = ended.iter().map(|t| Us(t * S)).collect());
        Connections { by_stat, stat_of: BTreeMap::from([("l".to_owned(), "0.0.0.0_80".to_owned())]) }
    }

    fn drain(name: &str, began: i64, ends: i64, chains: Option<u32>) -> Drain {
        Drain {
            name: name.into(),
            version: "1".into(),
            chains,
            began: Us(began * S),
            ends: Us(ends * S),
            bytes: 0,
            inline_tables: 0,
            tls_contexts: 0,
            step: 0,
        }
    }

    fn cut(least: u64, most: u64, drains_unknown: u64) -> ConnectionsCut {
        ConnectionsCut { least, most, drains_unknown }
    }

    #[test]
    fn a_longer_drain_cuts_no_more_than_a_shorter_one() {
        // ten open, two of them for good; 8 go at 25 s, 5 new ones come until 60 s
        let c = connections(&[(0, 10, Some(10)), (20, 10, Some(10)), (30, 2, Some(10)), (60, 7, Some(15))], &[]);
        // over at 15 s: all ten are there still
        assert_eq!(c.cut(&[drain("l", 5, 15, None)]), cut(10, 10, 0));
        // over at 40 s: two at most; of the seven at 60 s five are new
        assert_eq!(c.cut(&[drain("l", 5, 40, None)]), cut(2, 2, 0));
        // past the last sample nothing says that those two stay
        assert_eq!(c.cut(&[drain("l", 5, 70, None)]), cut(0, 2, 0));
    }

    #[test]
    fn one_connection_is_cut_once() {
        // ten connections for good, none new: the second generation never had one
        let c = connections(&[(0, 10, Some(10)), (100, 10, Some(10))], &[]);
        assert_eq!(c.cut(&[drain("l", 10, 30, None), drain("l", 20, 40, None)]), cut(10, 10, 0));
        // without the counter that cannot be known
        let c = connections(&[(0, 10, None), (100, 10, None)], &[]);
        assert_eq!(c.cut(&[drain("l", 10, 30, None), drain("l", 20, 40, None)]), cut(0, 20, 0));
    }

    #[test]
    fn what_is_not_sampled_is_not_counted() {
        let c = connections(&[(0, 10, None)], &[]);
        assert_eq!(c.cut(&[drain("other", 1, 2, None)]), cut(0, 0, 1));
        // chains that stay close nothing; which connections are on one that goes is not known
        assert_eq!(c.cut(&[drain("l", 1, 2, Some(0)), drain("l", 3, 4, Some(1))]), cut(0, 10, 0));
    }

    #[test]
    fn what_the_recording_itself_cut_lived_longer_without_it() {
        // the recorded drain ended at 20 s and cut all ten
        let c = connections(&[(0, 10, None), (15, 10, None), (21, 0, None), (60, 0, None)], &[20]);
        assert_eq!(c.cut(&[drain("l", 10, 50, None)]), cut(0, 10, 0));
        // after that there are none
        assert_eq!(c.cut(&[drain("l", 30, 50, None)]), cut(0, 0, 0));
    }

    #[test]
    fn a_counter_that_starts_anew_says_nothing() {
        let c = connections(&[(0, 10, Some(500)), (10, 4, Some(4)), (40, 4, Some(4))], &[]);
        assert_eq!(c.cut(&[drain("l", 5, 30, None)]), cut(0, 4, 0));
    }
}
