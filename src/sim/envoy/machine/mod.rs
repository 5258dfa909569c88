//! The state machine: what is active, warming and draining, and what each of them shares with the others.

mod clusters;
mod end;
mod listeners;
mod tables;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use foldhash::{HashMap, HashMapExt};

use super::prepare::{NameId, Prepared, Table};
use super::rules::Rules;
use super::{Action, Counters, Drain, Drained, Effect, Row, Run, Settings, Step, StepPush, Taken};
use crate::cost::envoy::generation::{Amount, Ledger};
use crate::model::stream::{Applied, BodyId, Us, XdsType};

/// A generation of a listener, a chain object, a generation of a cluster: places in the machine's lists.
type Place = u32;

const NONE: Place = Place::MAX;

/// A `FilterChainImpl`: shared by the generations of one listener that have it unchanged.
#[derive(Debug, Clone, Copy)]
struct Chain {
    /// Body and position it was built from.
    body: u32,
    at: u32,
    /// Generations that have it.
    refs: u32,
    /// Of those, the ones that are not draining.
    live: u32,
    /// Noted as draining by a build that never became active (≥ 1.36).
    noted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Warming,
    Active,
    /// The whole listener drains.
    Draining,
    /// Kept by an in-place update.
    Group,
}

/// A `ListenerImpl`.
#[derive(Debug, Clone)]
struct Generation {
    stage: Stage,
    name: NameId,
    body: u32,
    chains: Vec<Place>,
    /// Built by sharing chains with the active generation.
    in_place: bool,
    /// Dependencies that are not there yet.
    pending: u32,
    /// Chains noted as to be drained when this generation is replaced in place (≥ 1.36).
    noted: u32,
    /// Chains counted in the gauge while in a group.
    chains_draining: u32,
    /// Step whose version `/config_dump` shows: in-place updates do not move it.
    shown: u32,
    /// Step that brought it.
    step: u32,
    /// Place in the list of drains.
    drain: u32,
    /// Distinguishes users of one place in the list.
    stamp: u32,
}

/// A `ClusterData`.
#[derive(Debug, Clone)]
struct ClusterGeneration {
    used: bool,
    warming: bool,
    name: NameId,
    body: u32,
    /// The step it came in.
    step: u32,
    endpoints: Option<u32>,
    pending: u32,
    awaits_endpoints: bool,
    stamp: u32,
}

#[derive(Debug, Clone, Copy)]
enum Waiter {
    Listener(Place, u32),
    Cluster(Place, u32),
}

/// A subscription that is shared by name: RDS, SRDS, SDS, ECDS.
#[derive(Debug, Clone, Default)]
struct Subscription {
    /// Chains (or clusters) that use it.
    refs: u32,
    /// Something came, or the wait is over.
    ready: bool,
    body: Option<u32>,
    /// From the bootstrap, or kept regardless of users.
    pinned: bool,
    stamp: u32,
    waiting: Vec<Waiter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Drained(Place),
    Fetch { table: u8, name: u32, stamp: u32 },
    Endpoints { cluster: Place, stamp: u32 },
}

/// Names of one type that are there, for state-of-the-world responses.
#[derive(Debug, Default)]
struct Present {
    list: Vec<NameId>,
    place: Vec<u32>,
}

impl Present {
    fn new(names: usize) -> Self {
        Self { list: Vec::new(), place: vec![NONE; names] }
    }

    fn insert(&mut self, name: NameId) {
        if self.place[name.at()] == NONE {
            self.place[name.at()] = self.list.len() as u32;
            self.list.push(name);
        }
    }

    fn remove(&mut self, name: NameId) {
        let at = std::mem::replace(&mut self.place[name.at()], NONE);
        if at != NONE {
            self.list.swap_remove(at as usize);
            if let Some(moved) = self.list.get(at as usize) {
                self.place[moved.at()] = at;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    active: Place,
    warming: Place,
    is_static: bool,
}

/// Memory that is held for less than this counts for the resident curve and the limit, not for the settled peak.
const SETTLED: Us = Us(100_000);

const EMPTY: Slot = Slot { active: NONE, warming: NONE, is_static: false };

/// How often something flapped, and the first two bodies.
type Flapped = (u32, (BodyId, BodyId));

/// How a resource of a push was taken.
enum How {
    Added,
    InPlace,
    Full,
    Skipped,
    Rejected,
    Unused,
}

pub(super) struct Machine<'p> {
    plan: &'p Prepared,
    settings: &'p Settings,
    rules: Rules,
    ledger: Ledger<'p>,
    now: Us,
    steps: &'p [Step],
    step: u32,
    workers: bool,
    booting: bool,
    stopped: Option<bool>,

    generations: Vec<Generation>,
    free_generations: Vec<Place>,
    chains: Vec<Chain>,
    free_chains: Vec<Place>,
    listeners: Vec<Slot>,
    listeners_present: Present,
    addresses: Vec<Vec<Place>>,
    /// Listeners that the last LDS response had and Envoy refused.
    refused: Vec<NameId>,
    /// By chain identity: chain of the active generation that is being compared with.
    found: Vec<(u32, Place)>,
    mark: u32,

    clusters: Vec<Slot>,
    clusters_present: Present,
    cluster_generations: Vec<ClusterGeneration>,
    free_clusters: Vec<Place>,
    /// By name asked for over EDS: clusters that use it.
    endpoint_users: Vec<Vec<Place>>,
    endpoint_cache: Vec<Option<u32>>,

    subscriptions: [Vec<Subscription>; 4],
    seen: HashMap<XdsType, Vec<u32>>,
    push_number: u32,
    timers: BinaryHeap<Reverse<(Us, u64, Timer)>>,
    timer_number: u64,

    row: Row,
    clusters_live: u32,
    clusters_most: u32,
    counters: Counters,
    effect: Effect,
    last_push: Option<u32>,
    heap: f64,
    transient: u64,

    timeline: Vec<Row>,
    effects: Vec<Effect>,
    peak: Option<(Row, Option<u32>)>,
    /// The moment before this one, not judged yet.
    before: Option<(Row, Option<u32>, Amount)>,
    peak_ledger: Amount,
    drains: Vec<Drain>,
    drained: Drained,
    flaps: BTreeMap<(XdsType, NameId, bool), Flapped>,
    taken: Vec<Taken>,
    worst_transient: (u64, u32),
    over_limit: Option<Us>,
}

impl Prepared {
    /// Plays `steps`, which must be in order of time.
    pub fn run(&self, steps: &[Step], settings: &Settings) -> Run {
        Machine::new(self, settings, steps).run()
    }
}

impl<'p> Machine<'p> {
    fn new(plan: &'p Prepared, settings: &'p Settings, steps: &'p [Step]) -> Self {
        let listeners = plan.count(XdsType::Listener);
        let clusters = plan.count(XdsType::Cluster);
        let endpoints = plan.count(XdsType::Endpoints);
        let table = |t: XdsType| vec![Subscription::default(); plan.count(t)];
        Self {
            plan,
            settings,
            rules: Rules::new(settings.version),
            ledger: Ledger::new(&plan.pricer),
            now: steps.first().map_or(Us(0), |s| s.t),
            steps,
            step: 0,
            workers: settings.workers_running,
            booting: true,
            stopped: None,
            generations: Vec::new(),
            free_generations: Vec::new(),
            chains: Vec::new(),
            free_chains: Vec::new(),
            listeners: vec![EMPTY; listeners],
            listeners_present: Present::new(listeners),
            addresses: vec![Vec::new(); plan.addresses],
            refused: Vec::new(),
            found: vec![(0, NONE); plan.chain_ids],
            mark: 0,
            clusters: vec![EMPTY; clusters],
            clusters_present: Present::new(clusters),
            cluster_generations: Vec::new(),
            free_clusters: Vec::new(),
            endpoint_users: vec![Vec::new(); endpoints],
            endpoint_cache: vec![None; endpoints],
            subscriptions: Table::ALL.map(|t| table(t.kind())),
            seen: HashMap::new(),
            push_number: 0,
            timers: BinaryHeap::new(),
            timer_number: 0,
            row: Row::default(),
            clusters_live: 0,
            clusters_most: 0,
            counters: Counters::default(),
            effect: Effect::default(),
            last_push: None,
            heap: 0.0,
            transient: 0,
            timeline: Vec::new(),
            effects: Vec::new(),
            peak: None,
            before: None,
            peak_ledger: Default::default(),
            drains: Vec::new(),
            drained: Drained::default(),
            flaps: BTreeMap::new(),
            taken: Vec::new(),
            worst_transient: (0, 0),
            over_limit: None,
        }
    }

    fn run(mut self) -> Run {
        self.boot();
        let steps = self.steps;
        for (i, step) in steps.iter().enumerate() {
            self.pass(step.t);
            if step.t > self.now {
                self.settle();
                self.now = step.t;
            }
            self.step = i as u32;
            match &step.action {
                Action::Push(push) => self.push(push),
                Action::WorkersStart => self.workers = true,
                Action::DrainListeners { inbound_only } => {
                    // the wider of two calls holds
                    self.stopped = Some(self.stopped.unwrap_or(true) && *inbound_only);
                }
                Action::Nothing => {}
            }
        }
        self.settle();
        self.finish()
    }

    /// What is there before the first step.
    fn boot(&mut self) {
        self.ledger.add(&self.plan.process);
        let workers = std::mem::replace(&mut self.workers, false);
        let plan = self.plan;
        for (list, is_static) in [(&plan.statics, true), (&plan.base, false)] {
            // clusters first and what they need, then listeners, then what those need: nothing waits here
            for kinds in [[XdsType::Cluster, XdsType::Endpoints], [XdsType::Listener, XdsType::Other]] {
                for kind in kinds {
                    for id in list.iter().filter(|id| plan.bodies[id.0 as usize].kind == kind) {
                        self.assume(id.0, is_static);
                    }
                }
            }
            for kind in [XdsType::ScopedRoutes, XdsType::RouteConfig, XdsType::Secret, XdsType::ExtensionConfig] {
                for id in list.iter().filter(|id| plan.bodies[id.0 as usize].kind == kind) {
                    self.assume(id.0, is_static);
                }
            }
        }
        self.workers = workers;
        self.booting = false;
        self.counters = Counters::default();
        self.effect = Effect::default();
    }

    fn assume(&mut self, body: u32, is_static: bool) {
        let plan = &self.plan.bodies[body as usize];
        match plan.kind {
            XdsType::Cluster => {
                self.cluster(body);
                self.clusters[plan.name.at()].is_static = is_static;
                if !is_static {
                    self.clusters_present.insert(plan.name);
                }
            }
            XdsType::Endpoints => {
                self.endpoints(body);
            }
            XdsType::Listener => {
                self.listener(body);
                self.listeners[plan.name.at()].is_static = is_static;
                if is_static {
                    self.listeners_present.remove(plan.name);
                }
            }
            kind => {
                let Some(table) = Table::of(kind) else { return };
                if is_static {
                    self.subscriptions[table as usize][plan.name.at()].pinned = true;
                }
                self.shared(table, body);
            }
        }
    }

    // ---- time

    fn after(&mut self, wait: Us, timer: Timer) {
        self.timer_number += 1;
        self.timers.push(Reverse((Us(self.now.0 + wait.0), self.timer_number, timer)));
    }

    /// Lets time pass up to and including `until`.
    fn pass(&mut self, until: Us) {
        while let Some(Reverse((t, _, timer))) = self.timers.peek().copied() {
            if t > until {
                return;
            }
            self.timers.pop();
            if t > self.now {
                self.settle();
                self.now = t;
            }
            match timer {
                Timer::Drained(place) => self.drained(place),
                Timer::Fetch { table, name, stamp } => {
                    let sub = &self.subscriptions[table as usize][name as usize];
                    if sub.stamp == stamp && !sub.ready {
                        self.ready(Table::ALL[table as usize], NameId(name));
                    }
                }
                Timer::Endpoints { cluster, stamp } => {
                    let c = &self.cluster_generations[cluster as usize];
                    if c.used && c.stamp == stamp && c.awaits_endpoints {
                        self.endpoints_timed_out(cluster);
                    }
                }
            }
        }
    }

    /// Closes the moment that is now.
    fn settle(&mut self) {
        let amount = self.amount();
        self.row.t = self.now;
        self.row.allocated = amount.bytes();
        let (fixed, factor) = self.plan.pricer.resident();
        self.heap = self.heap.max(factor * (self.row.allocated + self.transient) as f64);
        self.row.resident = (fixed + self.heap).round() as u64 + self.ledger.outside().bytes();
        self.transient = 0;
        if self.over_limit.is_none() && self.settings.limit.is_some_and(|limit| self.row.resident > limit) {
            self.over_limit = Some(self.now);
        }
        let now = (self.row, self.last_push, amount);
        if let Some(before) = self.before.filter(|b| !b.0.same_state(&self.row)) {
            // what does not last is nothing that `/memory` settles at
            let short = self.now.0 - before.0.t.0 < SETTLED.0 && self.row.allocated < before.0.allocated;
            self.raise(if short { now } else { before });
            self.before = Some(now);
        } else if self.before.is_none() {
            self.before = Some(now);
        }
        if self.settings.detail && self.timeline.last().is_none_or(|last| !last.same_state(&self.row)) {
            self.timeline.push(self.row);
        }
    }

    fn raise(&mut self, (row, step, amount): (Row, Option<u32>, Amount)) {
        if self.peak.is_none_or(|(p, _)| row.allocated > p.allocated) {
            self.peak = Some((row, step));
            self.peak_ledger = amount;
        }
    }

    fn amount(&self) -> Amount {
        let removed = self.clusters_most - self.clusters_live;
        self.ledger.total() + self.plan.pricer.cluster_residue() * i64::from(removed)
    }

    // ---- pushes

    fn push(&mut self, push: &StepPush) {
        self.push_number += 1;
        let before = self.amount().bytes();
        self.effect = Effect { step: self.step, resources: push.resources.len() as u32, ..Effect::default() };
        match push.kind {
            XdsType::Listener => self.lds(push),
            XdsType::Cluster => self.cds(push),
            kind => self.by_name(kind, push),
        }
        if self.effect.rejected > 0 {
            self.counters.updates_rejected += 1;
        }
        if self.amount().bytes() > before {
            self.last_push = Some(self.step);
        }
        // the response, its resources decoded all at once, and copies of those that changed
        let changed = self.effect.added + self.effect.modified_full + self.effect.modified_in_place;
        let copied = push.wire_bytes * u64::from(changed) / u64::from(self.effect.resources.max(1));
        self.effect.transient = push.wire_bytes * 4 + copied;
        self.transient = self.transient.max(self.effect.transient);
        if self.effect.transient > self.worst_transient.0 {
            self.worst_transient = (self.effect.transient, self.step);
        }
        // `Memory::Utils::tryShrinkHeap` after each gRPC response (≥ 1.14): 100 MiB go back once so much is free
        const SHRINK: f64 = (100 << 20) as f64;
        let (_, factor) = self.plan.pricer.resident();
        let needed = factor * self.amount().bytes() as f64;
        self.heap = self.heap.max(needed + factor * self.effect.transient as f64);
        self.transient = 0;
        if self.heap - needed >= SHRINK {
            self.heap -= SHRINK;
        }
        self.effects.push(self.effect);
    }

    fn note(&mut self, body: u32, how: &How) {
        let applied = match how {
            How::Added => {
                self.effect.added += 1;
                Applied::Added
            }
            How::InPlace => {
                self.effect.modified_in_place += 1;
                Applied::InPlace
            }
            How::Full => {
                self.effect.modified_full += 1;
                Applied::Full
            }
            How::Skipped => {
                self.effect.no_op += 1;
                Applied::Skipped
            }
            How::Rejected => {
                self.effect.rejected += 1;
                Applied::Rejected
            }
            How::Unused => {
                self.effect.unused += 1;
                return;
            }
        };
        if self.settings.detail && !self.booting {
            let plan = &self.plan.bodies[body as usize];
            self.taken.push(Taken {
                t: self.now,
                kind: plan.kind,
                name: self.plan.name(plan.kind, plan.name),
                how: applied,
            });
        }
    }

    fn note_removed(&mut self, kind: XdsType, name: NameId) {
        self.effect.removed += 1;
        if self.settings.detail {
            self.taken.push(Taken { t: self.now, kind, name: self.plan.name(kind, name), how: Applied::Removed });
        }
    }

    /// Whether Envoy takes two bodies for equal; notes what differs though it need not.
    fn same(&mut self, old: u32, new: u32) -> bool {
        if old == new {
            return true;
        }
        let (a, b) = (&self.plan.bodies[old as usize], &self.plan.bodies[new as usize]);
        let meaning = a.hash == b.hash;
        let same = meaning && !self.rules.hashes_bytes();
        if (meaning || a.set_hash == b.set_hash) && !self.booting {
            if same {
                self.effect.equal_meaning += 1;
            } else {
                self.effect.order_only += 1;
            }
            if self.settings.detail {
                let flap = self.flaps.entry((b.kind, b.name, !meaning)).or_insert((0, (BodyId(old), BodyId(new))));
                flap.0 += 1;
            }
        }
        same
    }

    /// Names that a state-of-the-world response leaves out.
    fn left_out(&mut self, kind: XdsType, push: &StepPush) -> Vec<NameId> {
        let plan = self.plan;
        let number = self.push_number;
        let seen = self.seen.entry(kind).or_insert_with(|| vec![0; plan.count(kind)]);
        for id in &push.resources {
            seen[plan.bodies[id.0 as usize].name.at()] = number;
        }
        let present = match kind {
            XdsType::Listener => &self.listeners_present,
            _ => &self.clusters_present,
        };
        let mut out: Vec<NameId> = present.list.iter().copied().filter(|n| seen[n.at()] != number).collect();
        out.sort_unstable();
        out
    }
}
