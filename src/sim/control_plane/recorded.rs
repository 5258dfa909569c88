//! A recorded stream as the input of policies: its pushes are the changes, and every state in between is known.
//!
//! What a policy sends is made of what was recorded. A later state of the world supersedes the earlier ones; of deltas
//! the last word on each name counts, and what came and went inside one batch is never sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use super::gate::{Delivery, World};
use super::policy::Transport;
use super::{Arrival, Types, Us, slot};
use crate::model::stream::{BodyId, Recording, XdsType};
use crate::sim::envoy::{Action, NameId, Prepared, Step, StepPush};

/// A resource of one name from one state to the next.
#[derive(Debug, Clone, Copy)]
struct Change {
    state: usize,
    name: NameId,
    before: Option<BodyId>,
    after: Option<BodyId>,
}

/// What is known of one type.
#[derive(Debug, Default)]
struct Held {
    /// States after which a push of this type came, and the sum of its content then.
    sums: Vec<(usize, u64)>,
    changes: Vec<Change>,
}

/// A recorded stream, ready to be batched anew.
#[derive(Debug)]
pub struct Recorded<'a> {
    recording: &'a Recording,
    prepared: &'a Prepared,
    steps: &'a [Step],
    /// Indices of the steps that are pushes; push number `n` makes state `n + 1`.
    pushes: Vec<usize>,
    arrivals: Vec<Arrival>,
    held: [Held; 9],
    rejected: HashMap<BodyId, ()>,
}

impl<'a> Recorded<'a> {
    /// Follows `steps`, which were made of `recording` and `prepared`.
    pub fn new(recording: &'a Recording, prepared: &'a Prepared, steps: &'a [Step]) -> Self {
        let mut out = Self {
            recording,
            prepared,
            steps,
            pushes: Vec::new(),
            arrivals: Vec::new(),
            held: std::array::from_fn(|_| Held::default()),
            rejected: HashMap::new(),
        };
        let mut now: [HashMap<NameId, BodyId>; 9] = std::array::from_fn(|_| HashMap::new());
        let mut last: [Option<&StepPush>; 9] = [None; 9];
        for (i, step) in steps.iter().enumerate() {
            let Action::Push(push) = &step.action else { continue };
            out.pushes.push(i);
            out.arrivals.push(Arrival { t: step.t, touches: Types::of(push.kind) });
            out.rejected.extend(push.rejected.iter().map(|at| (push.resources[*at as usize], ())));
            let (state, at) = (out.pushes.len(), slot(push.kind));
            // a state of the world that says what the one before said changes nothing
            if !last[at].is_some_and(|l| !l.delta && !push.delta && l.resources == push.resources) {
                out.follow(state, push, &mut now[at]);
            }
            last[at] = Some(push);
            let held = &mut out.held[at];
            let mut sum = held.sums.last().map_or(0, |s| s.1);
            let hash = |body: Option<BodyId>| body.map_or(0, |b| recording.body(b).hash);
            for c in held.changes.iter().rev().take_while(|c| c.state == state) {
                sum = sum.wrapping_sub(hash(c.before)).wrapping_add(hash(c.after));
            }
            held.sums.push((state, sum));
        }
        out
    }

    fn follow(&mut self, state: usize, push: &StepPush, now: &mut HashMap<NameId, BodyId>) {
        let changes = &mut self.held[slot(push.kind)].changes;
        let mut removed: Vec<NameId> = push.removed.clone();
        if !push.delta && wildcard(push.kind) {
            // absent from a state of the world is removed, for the types that are not asked for by name
            let listed: HashMap<NameId, ()> =
                push.resources.iter().map(|b| (self.prepared.body_name(*b), ())).collect();
            removed = now.keys().filter(|n| !listed.contains_key(n)).copied().collect();
            removed.sort_unstable();
        }
        for name in removed {
            if let Some(before) = now.remove(&name) {
                changes.push(Change { state, name, before: Some(before), after: None });
            }
        }
        for body in &push.resources {
            let name = self.prepared.body_name(*body);
            let before = now.insert(name, *body);
            if before != Some(*body) {
                changes.push(Change { state, name, before, after: Some(*body) });
            }
        }
    }

    /// The pushes as changes that reach the control plane.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    fn same(&self, a: Option<BodyId>, b: Option<BodyId>) -> bool {
        let hash = |id: Option<BodyId>| id.map(|id| self.recording.body(id).hash);
        hash(a) == hash(b)
    }

    /// What changed from one state to another, by name: before and after, each name once.
    fn net(&self, kind: XdsType, from: usize, to: usize) -> BTreeMap<NameId, (Option<BodyId>, Option<BodyId>)> {
        let all = &self.held[slot(kind)].changes;
        let begin = all.partition_point(|c| c.state <= from);
        let end = all.partition_point(|c| c.state <= to);
        let mut net = BTreeMap::new();
        for c in all.get(begin..end).into_iter().flatten() {
            net.entry(c.name).or_insert((c.before, c.after)).1 = c.after;
        }
        net
    }

    /// Steps of the recorded pushes of a type in (`from`, `to`].
    fn between(&self, kind: XdsType, from: usize, to: usize) -> &[(usize, u64)] {
        let sums = &self.held[slot(kind)].sums;
        let begin = sums.partition_point(|s| s.0 <= from);
        let end = sums.partition_point(|s| s.0 <= to);
        sums.get(begin..end).unwrap_or_default()
    }

    fn push_of(&self, state: usize) -> &Arc<StepPush> {
        match &self.steps[self.pushes[state - 1]].action {
            Action::Push(push) => push,
            _ => unreachable!("states are counted in pushes"),
        }
    }

    /// The steps that a policy's `deliveries` make. A delivery whose response would be empty is marked as not sent.
    pub fn steps(&self, deliveries: &mut [Delivery], transport: Transport) -> Vec<Step> {
        let mut out: Vec<(usize, Step)> = Vec::with_capacity(deliveries.len() + 2);
        // pushes of one moment stay in the order of the deliveries, other events in their place among the recorded ones
        let mut place = (Us(i64::MIN), 0);
        let mut sent = [0_usize; 9];
        let mut worlds: [BTreeMap<NameId, BodyId>; 9] = std::array::from_fn(|_| BTreeMap::new());
        for d in deliveries {
            // what was not sent says the same as what was
            let from = std::mem::replace(&mut sent[slot(d.kind)], d.upto);
            if !d.sent {
                continue;
            }
            match self.payload(d.kind, from, d.upto, transport, &mut worlds[slot(d.kind)]) {
                Some((push, state)) => {
                    let at = self.pushes[state - 1];
                    place = if place.0 == d.t { (d.t, at.max(place.1)) } else { (d.t, at) };
                    out.push((place.1, Step { t: d.t, event: self.steps[at].event, action: Action::Push(push) }));
                }
                None => d.sent = false,
            }
        }
        for (at, step) in self.steps.iter().enumerate() {
            match step.action {
                Action::Push(_) | Action::Nothing => {}
                _ => out.push((at, step.clone())),
            }
        }
        out.sort_by_key(|(at, step)| (step.t, *at));
        let mut steps: Vec<Step> = out.into_iter().map(|(_, step)| step).collect();
        if let Some(end) = self.steps.last() {
            let t = steps.last().map_or(end.t, |last| last.t.max(end.t));
            steps.push(Step { t, event: end.event, action: Action::Nothing });
        }
        steps
    }

    /// The response that carries a type from one state to another, and the state of its last recorded push.
    fn payload(
        &self,
        kind: XdsType,
        from: usize,
        to: usize,
        transport: Transport,
        world: &mut BTreeMap<NameId, BodyId>,
    ) -> Option<(Arc<StepPush>, usize)> {
        let range = self.between(kind, from, to);
        // a push again without anything new repeats the last one
        let state = range.last().or_else(|| self.between(kind, 0, to).last())?.0;
        let last = self.push_of(state);
        let delta = match transport {
            Transport::AsRecorded => last.delta,
            Transport::Sotw => false,
            Transport::Delta => true,
        };
        if range.len() <= 1 && delta == last.delta && transport != Transport::Delta && !(range.is_empty() && delta) {
            return Some((Arc::clone(last), state));
        }
        let (mut resources, mut removed) = (Vec::new(), Vec::new());
        if delta {
            for (name, (before, after)) in self.net(kind, from, to) {
                match after {
                    Some(body) if !self.same(before, after) => resources.push(body),
                    None if before.is_some() => removed.push(name),
                    _ => {}
                }
            }
            if resources.is_empty() && removed.is_empty() {
                return None;
            }
        } else if !last.delta && wildcard(kind) {
            return Some((Arc::clone(last), state));
        } else if !last.delta {
            // asked for by name: the union, the last word on each name
            let mut seen: HashMap<NameId, ()> = HashMap::new();
            for (state, _) in range.iter().rev() {
                for body in self.push_of(*state).resources.iter().rev() {
                    if seen.insert(self.prepared.body_name(*body), ()).is_none() {
                        resources.push(*body);
                    }
                }
            }
            resources.reverse();
        } else {
            for (name, (_, after)) in self.net(kind, from, to) {
                match after {
                    Some(body) => world.insert(name, body),
                    None => world.remove(&name),
                };
            }
            resources.extend(world.values().copied());
        }
        let wire_bytes = resources.iter().map(|b| self.prepared.wire_bytes(*b)).sum();
        let rejected = (0..resources.len() as u32).filter(|i| self.rejected.contains_key(&resources[*i as usize]));
        let rejected = rejected.collect();
        let version = last.version.clone();
        Some((Arc::new(StepPush { kind, delta, version, resources, removed, rejected, wire_bytes }), state))
    }

    /// Push number `state` brought something that Envoy did not have.
    pub fn matters(&self, state: usize) -> bool {
        let kind = self.push_of(state).kind;
        self.content(kind, state) != self.content(kind, state - 1)
    }
}

impl World for Recorded<'_> {
    fn types(&self) -> Types {
        Types::ORDER.into_iter().filter(|k| !self.held[slot(*k)].sums.is_empty()).collect()
    }

    fn content(&self, kind: XdsType, state: usize) -> u64 {
        self.between(kind, 0, state).last().map_or(0, |(_, sum)| *sum)
    }

    fn replaced(&self, from: usize, to: usize, each: &mut dyn FnMut(u32)) {
        // what Envoy refuses replaces nothing
        let refused = |body: Option<BodyId>| body.is_some_and(|b| self.rejected.contains_key(&b));
        for (name, (before, after)) in self.net(XdsType::Listener, from, to) {
            if before.is_some() && !self.same(before, after) && !refused(after) {
                each(name.number());
            }
        }
    }

    fn warms(&self, from: usize, to: usize, each: &mut dyn FnMut(u32)) {
        for (before, after) in self.net(XdsType::Cluster, from, to).into_values() {
            let endpoints = after.and_then(|body| self.prepared.endpoints_of(body));
            if let Some(name) = endpoints.filter(|_| !self.same(before, after)) {
                each(name.number());
            }
        }
    }

    fn brings(&self, from: usize, to: usize, each: &mut dyn FnMut(u32)) {
        let range = self.between(XdsType::Endpoints, from, to);
        // a push again without anything new repeats the last one
        let again = if range.is_empty() { self.between(XdsType::Endpoints, 0, to).last() } else { None };
        for (state, _) in range.iter().chain(again) {
            self.push_of(*state).resources.iter().for_each(|body| each(self.prepared.body_name(*body).number()));
        }
    }

    fn wanted(&self, kind: XdsType, state: usize, _: &dyn Fn(XdsType) -> usize) -> bool {
        !self.between(kind, 0, state).is_empty()
    }

    fn silent(&self, kind: XdsType, from: usize, to: usize, transport: Transport) -> bool {
        let range = self.between(kind, from, to);
        let Some((state, _)) = range.last().or_else(|| self.between(kind, 0, to).last()) else { return true };
        let last = self.push_of(*state);
        let delta = match transport {
            Transport::AsRecorded => last.delta,
            Transport::Sotw => false,
            Transport::Delta => true,
        };
        // one recorded delta stays what it is, also if it says nothing new
        let as_it_was = range.len() == 1 && last.delta && transport != Transport::Delta;
        delta && !as_it_was && self.content(kind, from) == self.content(kind, to)
    }

    fn rejected(&self, kind: XdsType, state: usize) -> bool {
        self.between(kind, 0, state).last().is_some_and(|(s, _)| !self.push_of(*s).rejected.is_empty())
    }
}

/// Types of which a state of the world that leaves a name out removes it.
pub(in crate::sim) fn wildcard(kind: XdsType) -> bool {
    matches!(kind, XdsType::Listener | XdsType::Cluster)
}
