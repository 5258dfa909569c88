//! The state machine: what is active, warming and draining, and what each of them shares with the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use foldhash::{HashMap, HashMapExt};

use super::prepare::{ClusterPlan, ListenerPlan, NameId, Need, Plan, Prepared, Table};
use super::rules::Rules;
use super::{
    Action, Counters, Drain, Effect, End, Flap, Leaked, ListenerView, Peak, Row, Run, Settings, Step, StepPush, Taken,
};
use crate::cost::envoy::generation::{Amount, Ledger, Piece};
use crate::model::envoy::Name;
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
    drains_total: u64,
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
            drains_total: 0,
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

    // ---- listeners

    /// `lds_api.cc`: removals first, then the rest in the order of the message.
    fn lds(&mut self, push: &StepPush) {
        let plan = self.plan;
        let mut names: Vec<NameId> = push.resources.iter().map(|id| plan.bodies[id.0 as usize].name).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|w| w[0] == w[1]);
        if twice && self.rules.duplicate_rejects_all() {
            self.effect.rejected = self.effect.resources;
            return;
        }
        let removed = if push.delta { push.removed.clone() } else { self.left_out(XdsType::Listener, push) };
        for name in removed {
            let slot = self.listeners[name.at()];
            let active_only = !push.delta && !self.rules.removes_warming();
            if slot.is_static || (active_only && slot.active == NONE) || (slot.active == NONE && slot.warming == NONE) {
                continue;
            }
            self.remove_listener(name);
            self.note_removed(XdsType::Listener, name);
        }
        let mut done: Vec<NameId> = Vec::new();
        for (i, id) in push.resources.iter().enumerate() {
            let body = id.0;
            let name = plan.bodies[body as usize].name;
            let how = if twice && done.contains(&name) || push.rejected.binary_search(&(i as u32)).is_ok() {
                How::Rejected
            } else {
                self.listener(body)
            };
            if twice {
                done.push(name);
            }
            let rejected = matches!(how, How::Rejected);
            self.note(body, &how);
            if rejected && self.rules.stops_at_first_error() {
                break;
            }
        }
    }

    fn remove_listener(&mut self, name: NameId) {
        let slot = std::mem::replace(&mut self.listeners[name.at()], EMPTY);
        self.listeners_present.remove(name);
        if slot.warming != NONE {
            self.row.listeners_warming -= 1;
            self.effect.superseded += 1;
            self.destroy(slot.warming);
        }
        if slot.active != NONE {
            self.row.listeners_active -= 1;
            if self.workers {
                self.drain_listener(slot.active);
            } else {
                self.destroy(slot.active);
            }
        }
        self.counters.listener_removed += 1;
    }

    fn listener_plan(&self, body: u32) -> Option<&'p ListenerPlan> {
        match &self.plan.bodies[body as usize].plan {
            Plan::Listener(l) => Some(l),
            _ => None,
        }
    }

    /// `listener_manager_impl.cc`, `addOrUpdateListenerInternal`.
    fn listener(&mut self, body: u32) -> How {
        let name = self.plan.bodies[body as usize].name;
        let Some(l) = self.listener_plan(body) else { return How::Unused };
        if self.stopped.is_some_and(|inbound_only| !inbound_only || l.inbound) {
            return How::Skipped;
        }
        let slot = self.listeners[name.at()];
        let (active, warming) = (self.body_of(slot.active), self.body_of(slot.warming));
        let reverts = match (active, warming) {
            (Some(a), Some(_)) => self.rules.reverts_warming() && self.same(a, body),
            _ => false,
        };
        if reverts {
            self.listeners[name.at()].warming = NONE;
            self.row.listeners_warming -= 1;
            self.effect.superseded += 1;
            self.counters.listener_modified += 1;
            self.destroy(slot.warming);
            return How::Full;
        }
        if slot.is_static || warming.is_some_and(|w| self.same(w, body)) || active.is_some_and(|a| self.same(a, body)) {
            return How::Skipped;
        }
        if self.refused(name, body, l, active) {
            return How::Rejected;
        }
        let origin = (self.workers && slot.active != NONE && self.in_place(active, l)).then_some(slot.active);
        let place = self.build(name, body, l, origin);
        if origin.is_some() {
            self.counters.listener_in_place_updated += 1;
        }
        let modified = slot.active != NONE || slot.warming != NONE;
        if modified {
            self.counters.listener_modified += 1;
        } else {
            self.counters.listener_added += 1;
        }
        self.listeners_present.insert(name);
        if slot.warming != NONE {
            self.effect.superseded += 1;
            self.destroy(slot.warming);
            self.listeners[name.at()].warming = place;
        } else if self.workers {
            self.row.listeners_warming += 1;
            self.listeners[name.at()].warming = place;
        } else {
            if slot.active != NONE {
                self.destroy(slot.active);
            } else {
                self.row.listeners_active += 1;
            }
            self.listeners[name.at()].active = place;
            self.generations[place as usize].stage = Stage::Active;
            self.generations[place as usize].pending = 0;
        }
        if self.workers && self.generations[place as usize].pending == 0 {
            self.warm(place);
        }
        match (modified, origin.is_some()) {
            (false, _) => How::Added,
            (true, true) => How::InPlace,
            (true, false) => How::Full,
        }
    }

    fn body_of(&self, place: Place) -> Option<u32> {
        (place != NONE).then(|| self.generations[place as usize].body)
    }

    /// Reasons for which Envoy refuses a listener that the model can see.
    fn refused(&self, name: NameId, body: u32, l: &ListenerPlan, active: Option<u32>) -> bool {
        if self.booting {
            return false;
        }
        let other = |g: &Place| self.generations[*g as usize].name != name;
        let address_taken = l.address.is_some_and(|a| self.addresses[a as usize].iter().any(other));
        let address_moved = !self.rules.address_may_change()
            && active.and_then(|a| self.listener_plan(a)).is_some_and(|a| a.address != l.address);
        self.plan.bodies[body as usize].invalid || address_taken || address_moved
    }

    fn in_place(&self, active: Option<u32>, new: &ListenerPlan) -> bool {
        let old = active.and_then(|a| self.listener_plan(a)).and_then(|l| l.identity.as_ref());
        match (old, &new.identity) {
            (Some(old), Some(identity)) => self.rules.in_place(old, identity, new.udp),
            _ => false,
        }
    }

    /// Marks the chains of `origin` so that they are found by their identity.
    fn mark_chains(&mut self, origin: Place) {
        self.mark += 1;
        let g = &self.generations[origin as usize];
        for place in &g.chains {
            let c = self.chains[*place as usize];
            if let Plan::Listener(l) = &self.plan.bodies[c.body as usize].plan {
                self.found[l.chains[c.at as usize].id as usize] = (self.mark, *place);
            }
        }
    }

    fn build(&mut self, name: NameId, body: u32, l: &'p ListenerPlan, origin: Option<Place>) -> Place {
        let place = self.free_generations.pop().unwrap_or_else(|| {
            self.generations.push(Generation {
                stage: Stage::Free,
                name,
                body,
                chains: Vec::new(),
                in_place: false,
                pending: 0,
                noted: 0,
                chains_draining: 0,
                shown: 0,
                step: 0,
                drain: NONE,
                stamp: 0,
            });
            self.generations.len() as Place - 1
        });
        let stamp = self.generations[place as usize].stamp;
        self.ledger.add(&l.own);
        if let Some(origin) = origin {
            self.mark_chains(origin);
        }
        let mark = if origin.is_some() { self.mark } else { NONE };
        let mut chains = std::mem::take(&mut self.generations[place as usize].chains);
        chains.clear();
        let mut pending = 0;
        let mut shared = 0;
        for (at, chain) in l.chains.iter().enumerate() {
            let (found, old) = self.found[chain.id as usize];
            if found == mark {
                let c = &mut self.chains[old as usize];
                c.refs += 1;
                c.live += 1;
                shared += 1;
                self.ledger.add_amount(chain.retained);
                chains.push(old);
                continue;
            }
            let new = Chain { body, at: at as u32, refs: 1, live: 1, noted: false };
            self.ledger.add(&chain.piece);
            for need in &chain.needs {
                pending += u32::from(self.subscribe(*need, Waiter::Listener(place, stamp)));
            }
            chains.push(match self.free_chains.pop() {
                Some(at) => {
                    self.chains[at as usize] = new;
                    at
                }
                None => {
                    self.chains.push(new);
                    self.chains.len() as Place - 1
                }
            });
        }
        if let Some(origin) = origin
            && self.rules.notes_drains_at_build()
        {
            let gone = self.generations[origin as usize].chains.len() as u32 - shared;
            self.generations[origin as usize].noted += gone;
            if gone > 0 {
                self.note_chains(origin, l, mark);
            }
        }
        let shown = origin.map_or(self.step, |o| self.generations[o as usize].shown);
        self.generations[place as usize] = Generation {
            stage: Stage::Warming,
            name,
            body,
            chains,
            in_place: origin.is_some(),
            pending,
            noted: 0,
            chains_draining: 0,
            shown,
            step: self.step,
            drain: NONE,
            stamp,
        };
        if let Some(a) = l.address {
            self.addresses[a as usize].push(place);
        }
        place
    }

    /// Marks the chains of `origin` that `new` has not as draining (≥ 1.36: for good).
    fn note_chains(&mut self, origin: Place, new: &ListenerPlan, mark: u32) {
        for c in &new.chains {
            if self.found[c.id as usize].0 == mark {
                self.found[c.id as usize].0 = 0;
            }
        }
        let chains = &self.generations[origin as usize].chains;
        for place in chains {
            let c = &mut self.chains[*place as usize];
            if let Plan::Listener(l) = &self.plan.bodies[c.body as usize].plan
                && self.found[l.chains[c.at as usize].id as usize].0 == mark
            {
                c.noted = true;
            }
        }
    }

    /// The generation is complete: it takes the place of the active one.
    fn warm(&mut self, place: Place) {
        let (name, in_place) = {
            let g = &mut self.generations[place as usize];
            g.stage = Stage::Active;
            (g.name, g.in_place)
        };
        let slot = &mut self.listeners[name.at()];
        slot.warming = NONE;
        let old = std::mem::replace(&mut slot.active, place);
        self.row.listeners_warming -= 1;
        if old == NONE {
            self.row.listeners_active += 1;
            return;
        }
        if in_place {
            self.drain_chains(old, place);
        } else {
            self.drain_listener(old);
        }
    }

    /// Leaves the addresses to others, and stops counting as live.
    fn retire(&mut self, place: Place) {
        let g = &self.generations[place as usize];
        if let Some(l) = self.listener_plan(g.body) {
            if let Some(a) = l.address {
                self.addresses[a as usize].retain(|p| *p != place);
            }
            let mut held = l.own.own;
            for (at, c) in g.chains.iter().zip(&l.chains) {
                let chain = &mut self.chains[*at as usize];
                chain.live -= 1;
                held += if chain.live == 0 { c.piece.own } else { c.retained };
            }
            self.row.draining_bytes += held.bytes();
        }
    }

    fn begin_drain(&mut self, place: Place, chains: Option<u32>) {
        self.retire(place);
        self.drains_total += 1;
        if self.settings.detail {
            let g = &self.generations[place as usize];
            let (mut inline_tables, mut tls_contexts) = (0, 0);
            for (c, plan) in g.chains.iter().zip(self.listener_plan(g.body).map_or(&[][..], |l| &l.chains)) {
                if self.chains[*c as usize].live == 0 {
                    inline_tables += plan.inline_tables;
                    tls_contexts += plan.tls_contexts;
                }
            }
            let drain = Drain {
                name: self.plan.name(XdsType::Listener, g.name),
                version: self.version_of(g.step),
                chains,
                began: self.now,
                ends: Us(self.now.0 + self.settings.drain_time.0),
                bytes: 0,
                inline_tables,
                tls_contexts,
                step: self.step,
            };
            self.generations[place as usize].drain = self.drains.len() as u32;
            self.drains.push(drain);
        }
        self.after(self.settings.drain_time, Timer::Drained(place));
    }

    fn drain_listener(&mut self, place: Place) {
        self.generations[place as usize].stage = Stage::Draining;
        self.row.listeners_draining += 1;
        self.begin_drain(place, None);
    }

    fn drain_chains(&mut self, old: Place, new: Place) {
        let count = if self.rules.notes_drains_at_build() {
            self.generations[old as usize].noted
        } else {
            self.mark_chains(new);
            let gone = |c: &&Place| self.chains[**c as usize].refs == 1;
            self.generations[old as usize].chains.iter().filter(gone).count() as u32
        };
        let g = &mut self.generations[old as usize];
        g.stage = Stage::Group;
        g.chains_draining = count;
        self.row.filter_chains_draining += count;
        self.row.groups_draining += 1;
        self.begin_drain(old, Some(count));
    }

    fn drained(&mut self, place: Place) {
        let g = &self.generations[place as usize];
        let drain = g.drain;
        match g.stage {
            Stage::Draining => self.row.listeners_draining -= 1,
            Stage::Group => {
                self.row.filter_chains_draining -= g.chains_draining;
                self.row.groups_draining -= 1;
            }
            _ => return,
        }
        let before = self.ledger.total();
        self.destroy(place);
        if let Some(d) = self.drains.get_mut(drain as usize) {
            d.bytes = (before - self.ledger.total()).bytes();
        }
    }

    /// Frees a generation and the chains that no other has.
    fn destroy(&mut self, place: Place) {
        let g = &mut self.generations[place as usize];
        let (stage, body) = (g.stage, g.body);
        let chains = std::mem::take(&mut g.chains);
        g.stage = Stage::Free;
        g.stamp += 1;
        let Some(l) = self.listener_plan(body) else { return };
        let draining = matches!(stage, Stage::Draining | Stage::Group);
        if !draining && let Some(a) = l.address {
            self.addresses[a as usize].retain(|p| *p != place);
        }
        let mut held = l.own.own;
        self.ledger.remove(&l.own);
        for (at, own) in chains.iter().zip(&l.chains) {
            let c = &mut self.chains[*at as usize];
            c.refs -= 1;
            c.live -= u32::from(!draining);
            if c.refs > 0 {
                held += own.retained;
                self.ledger.remove_amount(own.retained);
                continue;
            }
            held += own.piece.own;
            self.ledger.remove(&own.piece);
            self.free_chains.push(*at);
            for need in &own.needs {
                self.unsubscribe(*need);
            }
        }
        if draining {
            self.row.draining_bytes -= self.row.draining_bytes.min(held.bytes());
        }
        self.generations[place as usize].chains = chains;
        self.free_generations.push(place);
    }

    // ---- what is shared by name

    fn copies(&self, table: Table, refs: u32) -> i64 {
        // before 1.13 every HTTP connection manager compiled its own copy of the table
        if table == Table::Routes && self.rules.routes_per_manager() { i64::from(refs) } else { 1 }
    }

    /// One more user; true when it has to wait, and was noted to be told.
    fn subscribe(&mut self, need: Need, waiter: Waiter) -> bool {
        let sub = &mut self.subscriptions[need.kind as usize][need.name.at()];
        sub.refs += 1;
        let (refs, first) = (sub.refs, sub.refs == 1 && !sub.pinned);
        if first {
            sub.stamp += 1;
            sub.ready = self.booting;
            sub.body = None;
            sub.waiting.clear();
        }
        if let Some(body) = sub.body
            && self.copies(need.kind, 2) == 2
            && refs > 1
        {
            self.ledger.add(self.table_piece(body));
        }
        let sub = &mut self.subscriptions[need.kind as usize][need.name.at()];
        if sub.ready {
            return false;
        }
        let timeout = need.timeout.unwrap_or(self.settings.fetch_timeout);
        let stamp = sub.stamp;
        let waits = match (sub.waiting.last(), waiter) {
            // a listener with a hundred chains that need one table waits for it once
            (Some(Waiter::Listener(a, s)), Waiter::Listener(b, t)) => (*a, *s) != (b, t),
            (Some(Waiter::Cluster(a, s)), Waiter::Cluster(b, t)) => (*a, *s) != (b, t),
            _ => true,
        };
        if waits {
            sub.waiting.push(waiter);
        }
        if first && timeout.0 > 0 {
            self.after(timeout, Timer::Fetch { table: need.kind as u8, name: need.name.0, stamp });
        }
        waits
    }

    fn unsubscribe(&mut self, need: Need) {
        let sub = &mut self.subscriptions[need.kind as usize][need.name.at()];
        sub.refs -= 1;
        let (refs, body, pinned) = (sub.refs, sub.body, sub.pinned);
        let Some(body) = body else { return };
        if refs == 0 && !pinned {
            self.subscriptions[need.kind as usize][need.name.at()].body = None;
            self.forget(body);
        } else if refs > 0 && self.copies(need.kind, 2) == 2 {
            self.ledger.remove(self.table_piece(body));
        }
    }

    fn table_piece(&self, body: u32) -> &'p Piece {
        match &self.plan.bodies[body as usize].plan {
            Plan::Routes(piece) | Plan::Extension(piece) | Plan::Scopes { piece, .. } => piece,
            Plan::Secret(secret, _) => &secret.own,
            Plan::Listener(l) => &l.own,
            Plan::Cluster(c) => &c.piece,
            Plan::Endpoints(_) | Plan::Opaque => self.plan.pricer.nothing(),
        }
    }

    /// The content of a shared resource goes, once.
    fn forget(&mut self, body: u32) {
        match &self.plan.bodies[body as usize].plan {
            Plan::Secret(secret, id) => self.ledger.set_secret(*id, Some(secret), None),
            Plan::Scopes { piece, tables } => {
                self.ledger.remove(piece);
                for name in tables {
                    self.unsubscribe(Need { kind: Table::Routes, name: *name, timeout: None });
                }
            }
            _ => self.ledger.remove(self.table_piece(body)),
        }
    }

    /// A resource of a type that is shared by name comes.
    fn shared(&mut self, table: Table, body: u32) -> How {
        let plan = self.plan;
        let name = plan.bodies[body as usize].name;
        // scopes are wanted as soon as anything is scoped
        let scoped = table == Table::Scopes;
        let wanted = if scoped {
            plan.name_id(XdsType::ScopedRoutes, "")
                .is_some_and(|id| self.subscriptions[table as usize][id.at()].refs > 0)
        } else {
            let sub = &self.subscriptions[table as usize][name.at()];
            sub.refs > 0 || sub.pinned
        };
        if !wanted {
            return How::Unused;
        }
        if plan.bodies[body as usize].invalid {
            return How::Rejected;
        }
        let old = self.subscriptions[table as usize][name.at()].body;
        if let Some(old) = old
            && self.same(old, body)
        {
            return How::Skipped;
        }
        let refs = self.subscriptions[table as usize][name.at()].refs.max(1);
        match &plan.bodies[body as usize].plan {
            Plan::Secret(secret, id) => {
                let old = old.map(|o| &plan.bodies[o as usize].plan).and_then(|p| match p {
                    Plan::Secret(s, _) => Some(&**s),
                    _ => None,
                });
                self.ledger.set_secret(*id, old, Some(secret));
            }
            Plan::Scopes { piece, tables } => {
                self.ledger.add(piece);
                for name in tables {
                    // scopes do not make a listener wait beyond their own arrival
                    let need = Need { kind: Table::Routes, name: *name, timeout: None };
                    self.subscribe(need, Waiter::Listener(NONE, 0));
                }
                if let Some(old) = old {
                    self.forget(old);
                }
            }
            _ => {
                for _ in 0..self.copies(table, refs) {
                    self.ledger.add(self.table_piece(body));
                    if let Some(old) = old {
                        self.ledger.remove(self.table_piece(old));
                    }
                }
            }
        }
        self.subscriptions[table as usize][name.at()].body = Some(body);
        let ready = if scoped { plan.name_id(XdsType::ScopedRoutes, "") } else { Some(name) };
        if let Some(name) = ready.filter(|n| !self.subscriptions[table as usize][n.at()].ready) {
            self.ready(table, name);
        }
        if old.is_some() { How::InPlace } else { How::Added }
    }

    /// What was waited for is there, or given up on.
    fn ready(&mut self, table: Table, name: NameId) {
        let sub = &mut self.subscriptions[table as usize][name.at()];
        sub.ready = true;
        for waiter in std::mem::take(&mut sub.waiting) {
            match waiter {
                Waiter::Listener(place, stamp) => {
                    let Some(g) = self.generations.get_mut(place as usize) else { continue };
                    if g.stamp != stamp || g.stage != Stage::Warming {
                        continue;
                    }
                    g.pending -= 1;
                    if g.pending == 0 {
                        self.warm(place);
                    }
                }
                Waiter::Cluster(place, stamp) => {
                    let c = &mut self.cluster_generations[place as usize];
                    if !c.used || c.stamp != stamp {
                        continue;
                    }
                    c.pending -= 1;
                    if c.pending == 0 && c.warming {
                        self.warm_cluster(place);
                    }
                }
            }
        }
    }

    /// RDS, SRDS, EDS, SDS, ECDS: a name that nothing asks for is ignored, one that is left out stays.
    fn by_name(&mut self, kind: XdsType, push: &StepPush) {
        if push.delta && matches!(kind, XdsType::ExtensionConfig | XdsType::ScopedRoutes) {
            for name in &push.removed {
                let Some(table) = Table::of(kind) else { continue };
                if let Some(body) = self.subscriptions[table as usize][name.at()].body.take() {
                    self.forget(body);
                    self.note_removed(kind, *name);
                }
            }
        }
        for (i, id) in push.resources.iter().enumerate() {
            let how = if push.rejected.binary_search(&(i as u32)).is_ok() {
                How::Rejected
            } else if kind == XdsType::Endpoints {
                self.endpoints(id.0)
            } else {
                match Table::of(kind) {
                    Some(table) if self.plan.bodies[id.0 as usize].kind == kind => self.shared(table, id.0),
                    _ => How::Unused,
                }
            };
            self.note(id.0, &how);
        }
        // an answer without any scope is an answer too
        if kind == XdsType::ScopedRoutes
            && let Some(all) = self.plan.name_id(kind, "")
            && self.subscriptions[Table::Scopes as usize][all.at()].refs > 0
            && !self.subscriptions[Table::Scopes as usize][all.at()].ready
        {
            self.ready(Table::Scopes, all);
        }
    }

    // ---- clusters

    fn cluster_plan(&self, body: u32) -> Option<&'p ClusterPlan> {
        match &self.plan.bodies[body as usize].plan {
            Plan::Cluster(c) => Some(c),
            _ => None,
        }
    }

    /// `cds_api_helper.cc`: adds and updates first, then removals.
    fn cds(&mut self, push: &StepPush) {
        let plan = self.plan;
        let removed = if push.delta { push.removed.clone() } else { self.left_out(XdsType::Cluster, push) };
        for (i, id) in push.resources.iter().enumerate() {
            let how = if push.rejected.binary_search(&(i as u32)).is_ok() || plan.bodies[id.0 as usize].invalid {
                How::Rejected
            } else {
                self.cluster(id.0)
            };
            self.note(id.0, &how);
        }
        for name in removed {
            let slot = self.clusters[name.at()];
            if slot.is_static || (slot.active == NONE && slot.warming == NONE) {
                continue;
            }
            self.clusters[name.at()] = EMPTY;
            self.clusters_present.remove(name);
            if slot.warming != NONE {
                self.row.clusters_warming -= 1;
                self.effect.superseded += 1;
                self.destroy_cluster(slot.warming);
            }
            if slot.active != NONE {
                self.row.clusters_active -= 1;
                self.destroy_cluster(slot.active);
            }
            self.counters.cluster_removed += 1;
            self.note_removed(XdsType::Cluster, name);
        }
    }

    /// `cluster_manager_impl.cc`, `addOrUpdateCluster`: a change is always a complete rebuild.
    fn cluster(&mut self, body: u32) -> How {
        let name = self.plan.bodies[body as usize].name;
        let Some(c) = self.cluster_plan(body) else { return How::Unused };
        let slot = self.clusters[name.at()];
        let body_of = |p: Place| (p != NONE).then(|| self.cluster_generations[p as usize].body);
        let (active, warming) = (body_of(slot.active), body_of(slot.warming));
        if slot.is_static {
            return How::Skipped;
        }
        if let Some(w) = warming {
            if self.same(w, body) {
                return How::Skipped;
            }
            if !self.rules.rebuilds_reverted_cluster() && active.is_some_and(|a| self.same(a, body)) {
                return How::Skipped;
            }
        } else if active.is_some_and(|a| self.same(a, body)) {
            return How::Skipped;
        }
        let modified = slot.active != NONE || slot.warming != NONE;
        if modified {
            self.counters.cluster_modified += 1;
        } else {
            self.counters.cluster_added += 1;
        }
        let place = self.build_cluster(name, body, c);
        self.clusters_present.insert(name);
        if slot.warming != NONE {
            self.effect.superseded += 1;
            self.destroy_cluster(slot.warming);
        } else {
            self.row.clusters_warming += 1;
        }
        self.clusters[name.at()].warming = place;
        let g = &self.cluster_generations[place as usize];
        if self.booting || (g.pending == 0 && !g.awaits_endpoints) {
            self.warm_cluster(place);
        }
        if modified { How::Full } else { How::Added }
    }

    fn build_cluster(&mut self, name: NameId, body: u32, c: &'p ClusterPlan) -> Place {
        let place = self.free_clusters.pop().unwrap_or_else(|| {
            self.cluster_generations.push(ClusterGeneration {
                used: false,
                warming: false,
                name,
                body,
                endpoints: None,
                pending: 0,
                awaits_endpoints: false,
                stamp: 0,
            });
            self.cluster_generations.len() as Place - 1
        });
        let stamp = self.cluster_generations[place as usize].stamp + 1;
        self.cluster_generations[place as usize] = ClusterGeneration {
            used: true,
            warming: true,
            name,
            body,
            endpoints: None,
            pending: 0,
            awaits_endpoints: c.endpoints.is_some(),
            stamp,
        };
        self.ledger.add(&c.piece);
        // workers hear of it once it is warm
        self.ledger.remove_amount(c.workers);
        self.ledger.add_amount(c.hosts);
        self.clusters_live += 1;
        self.clusters_most = self.clusters_most.max(self.clusters_live);
        let mut pending = u32::from(c.endpoints.is_some());
        for need in &c.needs {
            pending += u32::from(self.subscribe(*need, Waiter::Cluster(place, stamp)));
        }
        self.cluster_generations[place as usize].pending = pending;
        if let Some((endpoints, timeout)) = c.endpoints {
            self.endpoint_users[endpoints.at()].push(place);
            let timeout = timeout.unwrap_or(self.settings.fetch_timeout);
            if timeout.0 > 0 && !self.booting {
                self.after(timeout, Timer::Endpoints { cluster: place, stamp });
            }
        }
        place
    }

    fn warm_cluster(&mut self, place: Place) {
        let g = &mut self.cluster_generations[place as usize];
        g.warming = false;
        let (name, body) = (g.name, g.body);
        if let Some(c) = self.cluster_plan(body) {
            self.ledger.add_amount(c.workers);
        }
        let slot = &mut self.clusters[name.at()];
        slot.warming = NONE;
        let old = std::mem::replace(&mut slot.active, place);
        self.row.clusters_warming -= 1;
        if old == NONE {
            self.row.clusters_active += 1;
        } else {
            // no drain timer: the old one goes at once
            self.destroy_cluster(old);
        }
    }

    fn destroy_cluster(&mut self, place: Place) {
        let g = &mut self.cluster_generations[place as usize];
        g.used = false;
        g.stamp += 1;
        let (body, warming, endpoints) = (g.body, g.warming, g.endpoints.take());
        let Some(c) = self.cluster_plan(body) else { return };
        self.ledger.remove(&c.piece);
        if warming {
            self.ledger.add_amount(c.workers);
        }
        self.ledger.remove_amount(self.hosts(c, endpoints));
        self.clusters_live -= 1;
        for need in &c.needs {
            self.unsubscribe(*need);
        }
        if let Some((name, _)) = c.endpoints {
            let users = &mut self.endpoint_users[name.at()];
            users.retain(|p| *p != place);
            if users.is_empty() {
                self.endpoint_cache[name.at()] = None;
            }
        }
        self.free_clusters.push(place);
    }

    fn hosts(&self, c: &ClusterPlan, endpoints: Option<u32>) -> Amount {
        let Some(body) = endpoints else { return c.hosts };
        match &self.plan.bodies[body as usize].plan {
            Plan::Endpoints(prices) => prices.iter().find(|(p, _)| *p == c.profile).map_or(c.hosts, |(_, a)| *a),
            _ => c.hosts,
        }
    }

    fn assign(&mut self, place: Place, endpoints: u32) {
        let g = &self.cluster_generations[place as usize];
        let (body, old) = (g.body, g.endpoints);
        let Some(c) = self.cluster_plan(body) else { return };
        self.ledger.remove_amount(self.hosts(c, old));
        self.ledger.add_amount(self.hosts(c, Some(endpoints)));
        let g = &mut self.cluster_generations[place as usize];
        g.endpoints = Some(endpoints);
        if std::mem::take(&mut g.awaits_endpoints) {
            g.pending -= 1;
            if g.pending == 0 && g.warming {
                self.warm_cluster(place);
            }
        }
    }

    /// EDS: there is no comparison of hashes, every assignment is worked through.
    fn endpoints(&mut self, body: u32) -> How {
        let name = self.plan.bodies[body as usize].name;
        if self.plan.bodies[body as usize].kind != XdsType::Endpoints || self.endpoint_users[name.at()].is_empty() {
            return How::Unused;
        }
        if self.plan.bodies[body as usize].invalid {
            return How::Rejected;
        }
        let old = self.endpoint_cache[name.at()].replace(body);
        let same = old.is_some_and(|old| self.same(old, body));
        for place in self.endpoint_users[name.at()].clone() {
            self.assign(place, body);
        }
        match (old, same) {
            (None, _) => How::Added,
            (Some(_), true) => How::Skipped,
            (Some(_), false) => How::InPlace,
        }
    }

    fn endpoints_timed_out(&mut self, place: Place) {
        let body = self.cluster_generations[place as usize].body;
        let cached = self
            .cluster_plan(body)
            .and_then(|c| c.endpoints)
            .and_then(|(name, _)| self.endpoint_cache[name.at()])
            .filter(|_| self.rules.caches_endpoints() && self.plan.subscribes_over_ads);
        if let Some(endpoints) = cached {
            self.assign(place, endpoints);
            return;
        }
        let g = &mut self.cluster_generations[place as usize];
        g.awaits_endpoints = false;
        g.pending -= 1;
        if g.pending == 0 && g.warming {
            self.warm_cluster(place);
        }
    }

    // ---- the end

    fn version_of(&self, step: u32) -> Name {
        match self.steps.get(step as usize).map(|s| &s.action) {
            Some(Action::Push(push)) => push.version.clone(),
            _ => Name::from(""),
        }
    }

    fn finish(mut self) -> Run {
        let at_end = self.row;
        let counters = self.counters;
        let t = self.now;
        let (listeners, tables) = if self.settings.detail { self.views() } else { Default::default() };
        let restarted = self.restarted();
        self.pass(Us(i64::MAX));
        self.settle();
        if let Some(last) = self.before {
            self.raise(last);
        }
        let (row, step) = self.peak.unwrap_or_default();
        let peak_amount = self.peak_ledger;
        let mut leaked = Leaked::default();
        let mut bytes = self.plan.pricer.cluster_residue() * i64::from(self.clusters_most - self.clusters_live);
        for g in self.generations.iter().filter(|g| g.stage == Stage::Warming) {
            leaked.listeners += 1;
            let Some(l) = self.listener_plan(g.body) else { continue };
            bytes += l.own.own;
            for (c, plan) in g.chains.iter().zip(&l.chains).filter(|(c, _)| self.chains[**c as usize].refs == 1) {
                bytes += if self.chains[*c as usize].refs == 1 { plan.piece.own } else { plan.retained };
            }
        }
        for g in self.generations.iter().filter(|g| g.stage == Stage::Active) {
            leaked.filter_chains += g.chains.iter().filter(|c| self.chains[**c as usize].noted).count() as u32;
        }
        leaked.bytes = bytes.bytes();
        let mut flaps: Vec<Flap> = self
            .flaps
            .iter()
            .map(|((kind, name, order), (times, example))| Flap {
                kind: *kind,
                name: self.plan.name(*kind, *name),
                times: *times,
                order: *order,
                example: *example,
            })
            .collect();
        flaps.sort_by_key(|f| Reverse(f.times));
        let estimate = self.plan.pricer.estimate(peak_amount);
        Run {
            end: End {
                t,
                row: at_end,
                leaked,
                settled: self.row,
                restarted,
                listeners,
                inline_tables_shown: tables.0,
                inline_tables_active: tables.1,
            },
            peak: Peak { t: row.t, row, allocated: estimate, step },
            timeline: self.timeline,
            pushes: self.effects,
            counters,
            drains: self.drains,
            drains_total: self.drains_total,
            flaps,
            taken: self.taken,
            transient: self.worst_transient,
            over_limit: self.over_limit,
        }
    }

    /// Every listener as Envoy shows it and as it is, and inline tables (all, of active generations).
    fn views(&self) -> (Vec<ListenerView>, (u32, u32)) {
        let mut views: BTreeMap<Name, ListenerView> = BTreeMap::new();
        let mut oldest: HashMap<NameId, u32> = HashMap::new();
        let mut tables = (0, 0);
        let mut counted = vec![false; self.chains.len()];
        for g in self.generations.iter().filter(|g| g.stage != Stage::Free) {
            let name = self.plan.name(XdsType::Listener, g.name);
            let view = views.entry(name.clone()).or_insert_with(|| ListenerView {
                name,
                shown_version: None,
                active_version: None,
                warming_version: None,
                draining_shown: None,
                draining_listed: 0,
                draining: 0,
                groups: 0,
                chains_draining: 0,
                pinned_bytes: 0,
            });
            match g.stage {
                Stage::Active => {
                    view.shown_version = Some(self.version_of(g.shown));
                    view.active_version = Some(self.version_of(g.step));
                }
                Stage::Warming => view.warming_version = Some(self.version_of(g.step)),
                Stage::Draining => {
                    view.draining += 1;
                    view.draining_listed = if self.rules.one_draining_slot() { 1 } else { view.draining };
                    // the dump goes from the newest to the oldest and overwrites, so the oldest is seen
                    let first = oldest.entry(g.name).or_insert(g.drain);
                    if g.drain <= *first {
                        *first = g.drain;
                        view.draining_shown = Some(self.version_of(g.shown));
                    }
                }
                Stage::Group | Stage::Free => {
                    view.groups += 1;
                    view.chains_draining += g.chains_draining;
                }
            }
            let Some(l) = self.listener_plan(g.body) else { continue };
            let draining = matches!(g.stage, Stage::Draining | Stage::Group);
            let mut held = l.own.own;
            for (place, plan) in g.chains.iter().zip(&l.chains) {
                let first = !std::mem::replace(&mut counted[*place as usize], true);
                let alone = first && self.chains[*place as usize].live == 0;
                held += if alone { plan.piece.own } else { plan.retained };
                if g.stage == Stage::Active {
                    tables.1 += plan.inline_tables;
                }
                if first {
                    tables.0 += plan.inline_tables;
                }
            }
            if draining {
                view.pinned_bytes += held.bytes();
            }
        }
        (views.into_values().collect(), tables)
    }

    /// What a fresh Envoy with the active configuration allocates.
    fn restarted(&self) -> u64 {
        let mut ledger = Ledger::new(&self.plan.pricer);
        ledger.add(&self.plan.process);
        let mut used: BTreeMap<(u8, NameId), u32> = BTreeMap::new();
        let mut count =
            |needs: &[Need]| needs.iter().for_each(|n| *used.entry((n.kind as u8, n.name)).or_default() += 1);
        for g in self.generations.iter().filter(|g| g.stage == Stage::Active) {
            let Some(l) = self.listener_plan(g.body) else { continue };
            ledger.add(&l.own);
            for chain in &l.chains {
                ledger.add(&chain.piece);
                count(&chain.needs);
            }
        }
        for g in self.cluster_generations.iter().filter(|g| g.used && !g.warming) {
            let Some(c) = self.cluster_plan(g.body) else { continue };
            ledger.add(&c.piece);
            ledger.add_amount(self.hosts(c, g.endpoints));
            count(&c.needs);
        }
        for table in Table::ALL {
            for (i, sub) in self.subscriptions[table as usize].iter().enumerate() {
                let users = used.get(&(table as u8, NameId(i as u32))).copied().unwrap_or(0);
                let Some(body) = sub.body.filter(|_| users > 0 || sub.pinned || table == Table::Scopes) else {
                    continue;
                };
                if let Plan::Secret(secret, id) = &self.plan.bodies[body as usize].plan {
                    ledger.set_secret(*id, None, Some(secret));
                    continue;
                }
                for _ in 0..self.copies(table, users.max(1)) {
                    ledger.add(self.table_piece(body));
                }
            }
        }
        ledger.total().bytes()
    }
}
