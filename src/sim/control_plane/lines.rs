//! The lines in which a control plane says what it merged, as the changes that they stand for.
//!
//! A line has the first and the last change of a batch and their number, not when those between them came. They are put
//! at equal distances; what would come out if all had come right after the first one, or right before the last one, is
//! there to compare.

use super::gate::{Delivery, World};
use super::{Arrival, Types, Us};
use crate::model::stream::XdsType;

/// A batch by its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// When it was pushed.
    pub t: Us,
    /// First change.
    pub first: Us,
    /// Last change.
    pub last: Us,
    /// How many.
    pub changes: u32,
}

/// Where the changes between the first and the last one of a batch are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// At the first one.
    Early,
    /// At equal distances.
    Even,
    /// At the last one.
    Late,
}

/// The type that stands for all: a line says nothing of types.
const ANY: XdsType = XdsType::Other;

/// A sequence of lines, sorted by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    lines: Vec<Line>,
    changes: usize,
}

impl Lines {
    /// Changes over all lines, above which they are refused: each takes 16 bytes.
    pub const MOST: u64 = 20_000_000;

    /// `None` when there are more than [`Lines::MOST`] changes.
    pub fn new(mut lines: Vec<Line>) -> Option<Self> {
        lines.sort_by_key(|l| l.t);
        let changes: u64 = lines.iter().map(|l| u64::from(l.changes.max(1))).sum();
        (changes <= Self::MOST).then_some(Self { lines, changes: changes as usize })
    }

    /// Number of changes.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Some batch has changes whose times the line does not say.
    pub fn uncertain(&self) -> bool {
        self.lines.iter().any(|l| l.changes > 2 && l.first != l.last)
    }

    /// The changes, sorted by time; those of one batch stay together when batches do not overlap.
    pub fn arrivals(&self, between: Between) -> Vec<Arrival> {
        let mut out = Vec::with_capacity(self.changes);
        for line in &self.lines {
            let (n, length) = (i64::from(line.changes.max(1)), line.last.0 - line.first.0);
            for i in 0..n {
                let part = match between {
                    _ if i == n - 1 => length,
                    _ if i == 0 => 0,
                    Between::Early => 0,
                    Between::Late => length,
                    Between::Even => (i128::from(length) * i128::from(i) / i128::from(n - 1)) as i64,
                };
                out.push(Arrival { t: Us(line.first.0 + part), touches: Types::of(ANY) });
            }
        }
        out.sort_by_key(|a| a.t);
        out
    }

    /// The pushes that the lines tell of.
    pub fn pushed(&self) -> Vec<Delivery> {
        let mut upto = 0;
        let one = |line: &Line| {
            upto += line.changes.max(1) as usize;
            Delivery { t: line.t, kind: ANY, upto, sent: true }
        };
        self.lines.iter().map(one).collect()
    }
}

/// Every change brings something new, and nothing else is known.
impl World for Lines {
    fn types(&self) -> Types {
        Types::of(ANY)
    }
    fn content(&self, _: XdsType, state: usize) -> u64 {
        state as u64
    }
    fn replaced(&self, _: usize, _: usize, _: &mut dyn FnMut(u32)) {}
}

#[cfg(test)]
mod tests {
    use super::super::{Acknowledgements, Policy, batches, deliveries};
    use super::*;

    fn times(lines: &Lines, between: Between) -> Vec<i64> {
        lines.arrivals(between).iter().map(|a| a.t.0).collect()
    }

    #[test]
    fn changes_lie_between_the_first_and_the_last() {
        let line = |t, first, last, changes| Line { t: Us(t), first: Us(first), last: Us(last), changes };
        let lines = Lines::new(vec![line(500, 100, 400, 4), line(900, 800, 800, 1)]).unwrap();
        assert_eq!(times(&lines, Between::Even), [100, 200, 300, 400, 800]);
        assert_eq!(times(&lines, Between::Early), [100, 100, 100, 400, 800]);
        assert_eq!(times(&lines, Between::Late), [100, 400, 400, 400, 800]);
        assert!(lines.uncertain());
        assert_eq!(lines.pushed().iter().map(|d| (d.t.0, d.upto)).collect::<Vec<_>>(), [(500, 4), (900, 5)]);
        assert_eq!(Lines::new(vec![line(1, 0, 0, u32::MAX)]), None);
    }

    /// What istiod would log of its own batches, given back to its own policy, gives its own pushes.
    #[test]
    fn the_policy_that_wrote_the_lines_reproduces_them() {
        let ms = [0, 30, 60, 150, 900, 901, 5000, 5090, 5180, 5270, 20_000];
        let arrivals: Vec<Arrival> = ms.iter().map(|t| Arrival { t: Us(t * 1000), touches: Types::of(ANY) }).collect();
        let policy: Policy = "istio".parse().unwrap();
        let mut from = 0;
        let lines: Vec<Line> = batches(&arrivals, &policy.window, false)
            .iter()
            .map(|b| {
                let merged = &arrivals[std::mem::replace(&mut from, b.upto)..b.upto];
                let changes = merged.len() as u32;
                Line { t: b.t, first: merged[0].t, last: merged[merged.len() - 1].t, changes }
            })
            .collect();
        let lines = Lines::new(lines).unwrap();
        let acks = Acknowledgements { latency: [Us(0); 9], fetch_timeout: Us(0), drain: Us(0) };
        let again = batches(&lines.arrivals(Between::Even), &policy.window, false);
        assert_eq!(deliveries(&again, &policy, &lines, &acks), lines.pushed());
    }
}
