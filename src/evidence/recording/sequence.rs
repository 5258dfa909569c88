//! Whether a stream is whole: nonces that repeat, jump or begin again.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;
use xxhash_rust::xxh3::xxh3_64;

use super::many;
use crate::model::envoy::Name;
use crate::model::problem::{Loss, Problem};
use crate::model::stream::{GapReason, Us, XdsType};

/// A stretch that is not to be trusted.
pub(super) type Gap = (Us, Us, GapReason);

/// Numbered nonces in their order.
#[derive(Debug)]
struct Step {
    t: Us,
    type_hash: u64,
    number: u64,
    line: u64,
}

/// The nonces of one stream.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Content by type and nonce.
    seen: HashMap<u64, u64, FixedState>,
    answered: HashSet<u64, FixedState>,
    steps: Vec<Step>,
    duplicates: u32,
    first_duplicate: u64,
}

fn id(type_hash: u64, nonce: &str) -> u64 {
    xxh3_64(nonce.as_bytes()) ^ type_hash.rotate_left(29)
}

impl Sequence {
    /// Whether this is the first answer to that nonce; later requests with it only change a subscription.
    pub(super) fn answered(&mut self, kind: XdsType, nonce: &str) -> bool {
        self.answered.insert(id(kind as u64, nonce))
    }

    /// Notes a response; false when it is the same one once more.
    pub(super) fn response(
        &mut self,
        t: Us,
        kind: XdsType,
        type_name: &Name,
        nonce: &str,
        content: u64,
        line: u64,
    ) -> bool {
        if nonce.is_empty() {
            return true;
        }
        let type_hash = xxh3_64(type_name.as_bytes());
        if self.seen.insert(id(type_hash, nonce), content) == Some(content) {
            self.duplicates += 1;
            if self.duplicates == 1 {
                self.first_duplicate = line;
            }
            return false;
        }
        self.answered.remove(&id(kind as u64, nonce));
        if let Ok(number) = nonce.parse() {
            self.steps.push(Step { t, type_hash, number, line });
        }
        true
    }

    /// The gaps that the nonces show. Only nonces that count by one, over all types or within each, can show any.
    pub(super) fn finish(self, label: &str) -> (Vec<Gap>, Vec<Problem>) {
        let mut problems = Vec::new();
        if self.duplicates > 0 {
            let what = format!(
                "{} twice (same nonce, same content); each was taken once",
                many(u64::from(self.duplicates), "response stands", "responses stand")
            );
            let p = Problem::new(label, Loss::Nothing, what);
            problems.push(Problem { line: Some(self.first_duplicate), ..p });
        }
        let (all, each) = (Discipline::of(&self.steps, |_| 0), Discipline::of(&self.steps, |s| s.type_hash));
        let best = if each.by_one > all.by_one { each } else { all };
        if best.by_one == 0 || best.by_one < best.jumps.len() {
            return (Vec::new(), problems);
        }
        let restarts = best.jumps.iter().filter(|j| j.to <= j.from).count();
        let missing: u64 = best.jumps.iter().filter(|j| j.to > j.from).map(|j| j.to - j.from - 1).sum();
        let skips = best.jumps.len() - restarts;
        if skips > 0 {
            let first = best.jumps.iter().find(|j| j.to > j.from);
            let (from, to, line) = first.map_or((0, 0, 0), |j| (j.from, j.to, j.line));
            let what = format!(
                "{} missing at {}: nonce {to} follows nonce {from} here; what they carried is not known",
                many(missing, "response is", "responses are"),
                many(skips as u64, "place", "places"),
            );
            let p = Problem::new(label, Loss::Part, what)
                .hint("record all types of the stream, or take the replay as a lower bound from here on");
            problems.push(Problem { line: Some(line), ..p });
        }
        if restarts > 0 {
            let first = best.jumps.iter().find(|j| j.to <= j.from);
            let (from, to, line) = first.map_or((0, 0, 0), |j| (j.from, j.to, j.line));
            let what = if restarts * 4 > best.by_one {
                format!("responses of several streams stand in one file: nonce {to} follows nonce {from} here")
            } else {
                format!(
                    "the stream begins again {}, first here: nonce {to} follows nonce {from}",
                    many(restarts as u64, "time", "times")
                )
            };
            let p = Problem::new(label, Loss::Nothing, what).hint("give the streams as files of their own");
            problems.push(Problem { line: Some(line), ..p });
        }
        let gaps = best.jumps.iter().map(|j| {
            let reason = if j.to > j.from { GapReason::Sequence } else { GapReason::Reconnect };
            (j.since, j.until, reason)
        });
        (gaps.collect(), problems)
    }
}

struct Jump {
    from: u64,
    to: u64,
    since: Us,
    until: Us,
    line: u64,
}

struct Discipline {
    by_one: usize,
    jumps: Vec<Jump>,
}

impl Discipline {
    fn of(steps: &[Step], group: impl Fn(&Step) -> u64) -> Self {
        let mut last: HashMap<u64, (u64, Us), FixedState> = HashMap::default();
        let mut out = Self { by_one: 0, jumps: Vec::new() };
        for s in steps {
            if let Some((from, since)) = last.insert(group(s), (s.number, s.t)) {
                if s.number == from.wrapping_add(1) {
                    out.by_one += 1;
                } else {
                    let (since, until) = (since.min(s.t), since.max(s.t));
                    out.jumps.push(Jump { from, to: s.number, since, until, line: s.line });
                }
            }
        }
        out
    }
}
