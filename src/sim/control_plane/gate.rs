//! From batches to pushes: which types of a batch are sent, and when their turn comes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use super::policy::{Gate, Policy, Transport, Versioning};
use super::window::Batch;
use super::{Types, Us, after, slot};
use crate::model::stream::XdsType;

/// What the gates must know of the configuration; states are counted in changes, 0 is before the first.
pub trait World {
    /// Types the control plane serves.
    fn types(&self) -> Types;
    /// Equal for two states exactly when the type's content is.
    fn content(&self, kind: XdsType, state: usize) -> u64;
    /// Calls `each` with a number for every listener of `from` that `to` has in another form or no more.
    fn replaced(&self, from: usize, to: usize, each: &mut dyn FnMut(u32));
    /// Calls `each` with a number for the endpoints of every cluster that is new or other in `to`: it warms until they come.
    fn warms(&self, _from: usize, _to: usize, _each: &mut dyn FnMut(u32)) {}
    /// Calls `each` with the number of the endpoints in a response that goes from one state to the other.
    fn brings(&self, _from: usize, _to: usize, _each: &mut dyn FnMut(u32)) {}
    /// Envoy rejects this.
    fn rejected(&self, _kind: XdsType, _state: usize) -> bool {
        false
    }
    /// Envoy asks for the type, and there is something to answer. `held` gives the state of a type that it was sent.
    fn wanted(&self, _kind: XdsType, _state: usize, _held: &dyn Fn(XdsType) -> usize) -> bool {
        true
    }
    /// Envoy asks for more of the type once what refers to it went from one state to the other, and is answered whatever the
    /// gate says: the answer is no change that is among the arrivals.
    fn asks_anew(&self, _kind: XdsType, _from: usize, _to: usize) -> bool {
        false
    }
    /// A response that goes from one state to the other would say nothing, so none is sent.
    fn silent(&self, _kind: XdsType, _from: usize, _to: usize, _transport: Transport) -> bool {
        false
    }
}

/// When Envoy answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgements {
    /// From push to answer, by position in [`Types::ORDER`].
    pub latency: [Us; 9],
    /// How long Envoy waits for what a cluster needs before it goes without (`initial_fetch_timeout`).
    pub fetch_timeout: Us,
    /// How long a replaced listener drains.
    pub drain: Us,
}

/// A state of one type that reached Envoy, or that did not have to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub t: Us,
    /// Type.
    pub kind: XdsType,
    /// The state after this many changes; the delivery before it, if any, carried an earlier one.
    pub upto: usize,
    /// A response was sent. False when the content was what Envoy has already.
    pub sent: bool,
}

/// One type's place at its gate.
#[derive(Debug, Default, Clone)]
struct Place {
    /// State last sent.
    sent: usize,
    /// Something was sent.
    any: bool,
    /// Sent and not yet answered, since when.
    outstanding: Option<Us>,
    /// Waits for the gate.
    waiting: VecDeque<usize>,
    /// Marks the answer that is expected; others are of responses no longer waited for.
    round: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A rejection arrives: nothing is sent for a while.
    Rejection(Us),
    /// The answer to the response of this round.
    Answer(usize, u32),
    /// Look at the gate again.
    Look(usize),
}

/// What `policy` sends of `batches`, in the order of time; types of one moment in [`Types::ORDER`].
pub fn deliveries(batches: &[Batch], policy: &Policy, world: &dyn World, acks: &Acknowledgements) -> Vec<Delivery> {
    let mut server = Server {
        policy,
        world,
        acks,
        places: std::array::from_fn(|_| Place::default()),
        queue: BinaryHeap::new(),
        order: 0,
        drains: Vec::new(),
        withheld: None,
        silent_until: Us(i64::MIN),
        out: Vec::with_capacity(batches.len()),
    };
    for batch in batches {
        server.until(Some(batch.t));
        let kinds = if batch.bypass {
            batch.touches
        } else {
            match policy.versioning {
                Versioning::Touched => batch.touches,
                // what bypasses the window has a cache and versions of its own (Contour's EndpointSliceTranslator)
                Versioning::Global | Versioning::PerType if policy.eds_bypass => {
                    world.types().without(XdsType::Endpoints).and(batch.touches)
                }
                Versioning::Global | Versioning::PerType => world.types(),
            }
        };
        for kind in kinds.iter().filter(|k| world.types().has(*k)) {
            server.offer(kind, batch.upto, batch.t);
        }
    }
    server.until(None);
    server.out
}

struct Server<'a> {
    policy: &'a Policy,
    world: &'a dyn World,
    acks: &'a Acknowledgements,
    places: [Place; 9],
    queue: BinaryHeap<Reverse<(Us, u64, Happening)>>,
    order: u64,
    /// Listener and end of each generation that drains.
    drains: Vec<(u32, Us)>,
    /// The answer to CDS waits for endpoints: its round, and which ones (`ClusterManagerImpl::updateClusterCounts` pauses
    /// CDS while any cluster warms).
    withheld: Option<(u32, Vec<u32>)>,
    /// After a rejection.
    silent_until: Us,
    out: Vec<Delivery>,
}

impl Server<'_> {
    fn until(&mut self, limit: Option<Us>) {
        while let Some(Reverse((t, _, happening))) = self.queue.peek().copied() {
            if limit.is_some_and(|l| t > l) {
                return;
            }
            self.queue.pop();
            match happening {
                Happening::Rejection(backoff) => self.silent_until = self.silent_until.max(after(t, backoff)),
                Happening::Answer(place, round) if self.places[place].round == round => {
                    self.places[place].outstanding = None;
                    if place == slot(XdsType::Cluster) && self.withheld.as_ref().is_some_and(|(r, _)| *r == round) {
                        self.withheld = None;
                    }
                    self.next(place, t);
                }
                Happening::Answer(..) => {}
                Happening::Look(place) => self.next(place, t),
            }
        }
    }

    fn at(&mut self, t: Us, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse((t, self.order, what)));
    }

    /// A batch has a new state of this type.
    fn offer(&mut self, kind: XdsType, upto: usize, t: Us) {
        let place = &mut self.places[slot(kind)];
        if self.policy.gate != Gate::InTurn {
            place.waiting.clear();
        }
        place.waiting.push_back(upto);
        self.next(slot(kind), t);
    }

    /// Sends what waits, if the gates are open.
    fn next(&mut self, place: usize, t: Us) {
        let kind = Types::ORDER[place];
        while let Some(upto) = self.places[place].waiting.front().copied() {
            if t < self.silent_until {
                self.at(self.silent_until, Happening::Look(place));
                return;
            }
            let held = match (self.policy.gate, self.places[place].outstanding) {
                (Gate::None, _) | (_, None) => false,
                (Gate::Latest { timeout: Some(timeout), .. }, Some(since)) => t < after(since, timeout),
                _ => true,
            };
            if held {
                return;
            }
            let from = self.places[place].sent;
            if self.places[place].any && upto <= from {
                // Envoy asked meanwhile, and has it
                self.places[place].waiting.pop_front();
                continue;
            }
            let held = |kind| self.places[slot(kind)].sent;
            let wanted = self.world.wanted(kind, upto, &held);
            if !wanted || self.skips(kind, from, upto) {
                self.places[place].waiting.pop_front();
                if wanted {
                    // it says the same: what comes next is compared with this
                    self.places[place].sent = upto;
                }
                self.out.push(Delivery { t, kind, upto, sent: false });
                continue;
            }
            if kind == XdsType::Listener
                && let Some(until) = self.too_much_drains(upto, t)
            {
                self.at(until, Happening::Look(place));
                return;
            }
            self.places[place].waiting.pop_front();
            self.send(kind, upto, t);
        }
    }

    /// Nothing is sent for a state that says what was sent last.
    fn skips(&self, kind: XdsType, from: usize, upto: usize) -> bool {
        let compares = self.policy.dedup || self.policy.versioning == Versioning::PerType;
        let same = |kind| self.world.content(kind, from) == self.world.content(kind, upto);
        // Kuma's version of EDS is that of CDS too
        let with_clusters = self.policy.eds_follows_cds && kind == XdsType::Endpoints;
        let unchanged = same(kind) && (!with_clusters || same(XdsType::Cluster));
        (compares && unchanged) || self.world.silent(kind, from, upto, self.policy.transport)
    }

    /// When the next drain ends that keeps LDS from being sent now.
    fn too_much_drains(&mut self, upto: usize, t: Us) -> Option<Us> {
        let most = self.policy.draining?.most as usize;
        self.drains.retain(|(_, end)| *end > t);
        let from = self.places[slot(XdsType::Listener)].sent;
        let mut until: Option<Us> = None;
        let drains = &self.drains;
        self.world.replaced(from, upto, &mut |listener| {
            let mut ends: Vec<Us> = drains.iter().filter(|(l, _)| *l == listener).map(|(_, end)| *end).collect();
            if ends.len() >= most {
                ends.sort_unstable();
                let open = ends[ends.len() - most];
                until = Some(until.map_or(open, |u| u.max(open)));
            }
        });
        until
    }

    fn send(&mut self, kind: XdsType, upto: usize, t: Us) {
        let at = slot(kind);
        let from = self.places[at].sent;
        self.out.push(Delivery { t, kind, upto, sent: true });
        if kind == XdsType::Listener && self.policy.draining.is_some() {
            let end = after(t, self.acks.drain);
            let drains = &mut self.drains;
            self.world.replaced(from, upto, &mut |listener| drains.push((listener, end)));
        }
        let place = &mut self.places[at];
        place.sent = upto;
        place.any = true;
        place.round += 1;
        place.outstanding = Some(t);
        let round = place.round;
        for (refers, referred) in [(XdsType::Cluster, XdsType::Endpoints), (XdsType::Listener, XdsType::Secret)] {
            let asks = kind == refers && self.world.types().has(referred) && self.world.asks_anew(referred, from, upto);
            if asks {
                let state = upto.max(self.places[slot(referred)].sent);
                self.send(referred, state, t);
            }
        }
        if self.policy.gate == Gate::None {
            return;
        }
        let latency = self.acks.latency[at];
        if let Gate::Latest { nack_backoff, .. } = self.policy.gate
            && nack_backoff.0 > 0
            && self.world.rejected(kind, upto)
        {
            // before the answer of the same moment lets out what waits
            self.at(after(t, latency), Happening::Rejection(nack_backoff));
        }
        let mut warming =
            self.withheld.take_if(|_| kind == XdsType::Cluster).map_or(Vec::new(), |(_, waiting)| waiting);
        if kind == XdsType::Cluster && self.world.types().has(XdsType::Endpoints) {
            self.world.warms(from, upto, &mut |endpoints| warming.push(endpoints));
        }
        if warming.is_empty() {
            self.at(after(t, latency), Happening::Answer(at, round));
        } else {
            // answered once the clusters are warm, that is when their endpoints came, or without them at the timeout
            self.withheld = Some((round, warming));
            self.at(after(t, Us(self.acks.fetch_timeout.0 + latency.0)), Happening::Answer(at, round));
        }
        if kind == XdsType::Endpoints
            && let Some((round, mut waiting)) = self.withheld.take()
        {
            let mut brought = HashSet::new();
            self.world.brings(from, upto, &mut |endpoints| brought.extend([endpoints]));
            waiting.retain(|endpoints| !brought.contains(endpoints));
            if waiting.is_empty() {
                let cds = slot(XdsType::Cluster);
                self.at(after(t, self.acks.latency[cds]), Happening::Answer(cds, round));
            } else {
                self.withheld = Some((round, waiting));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, batches};
    use super::*;

    const MS: i64 = 1000;

    /// States given by a content number per change and type; every change of LDS replaces listener 0.
    struct Given {
        types: Types,
        content: Vec<u64>,
        warms: bool,
        /// The only state whose endpoints are those of the cluster that warms.
        brings: Option<usize>,
        rejected: Option<usize>,
    }

    impl World for Given {
        fn types(&self) -> Types {
            self.types
        }
        fn content(&self, _: XdsType, state: usize) -> u64 {
            self.content[state]
        }
        fn replaced(&self, from: usize, to: usize, each: &mut dyn FnMut(u32)) {
            if self.content[from] != self.content[to] && self.content[from] != 0 {
                each(0);
            }
        }
        fn warms(&self, from: usize, to: usize, each: &mut dyn FnMut(u32)) {
            if self.warms && self.content[from] != self.content[to] {
                each(0);
            }
        }
        fn brings(&self, _: usize, to: usize, each: &mut dyn FnMut(u32)) {
            if self.brings.is_none_or(|state| state == to) {
                each(0);
            }
        }
        fn rejected(&self, _: XdsType, state: usize) -> bool {
            self.rejected == Some(state)
        }
    }

    /// (milliseconds, type, changes) of what is sent; each change is (milliseconds, type, content).
    fn run(
        policy: &str,
        latency_ms: i64,
        changes: &[(i64, XdsType, u64)],
        tune: fn(&mut Given),
    ) -> Vec<(i64, XdsType, usize)> {
        let policy: Policy = policy.parse().unwrap();
        let arrivals: Vec<Arrival> =
            changes.iter().map(|(t, kind, _)| Arrival { t: Us(t * MS), touches: Types::of(*kind) }).collect();
        let content = std::iter::once(0).chain(changes.iter().map(|c| c.2)).collect();
        let mut world =
            Given { types: changes.iter().map(|c| c.1).collect(), content, warms: false, brings: None, rejected: None };
        tune(&mut world);
        let acks = Acknowledgements {
            latency: [Us(latency_ms * MS); 9],
            fetch_timeout: Us(15_000 * MS),
            drain: Us(45_000 * MS),
        };
        let batches = batches(&arrivals, &policy.window, policy.eds_bypass);
        let out = deliveries(&batches, &policy, &world, &acks);
        out.iter().filter(|d| d.sent).map(|d| (d.t.0 / MS, d.kind, d.upto)).collect()
    }

    use XdsType::{Cluster, Endpoints, Listener};

    #[test]
    fn ack_clocking_sends_the_latest_and_drops_what_lies_between() {
        // answered at 100: the state of 30 ms is skipped
        let changes = [(0, Listener, 1), (20, Listener, 2), (30, Listener, 3), (300, Listener, 4)];
        assert_eq!(
            run("ack-clocked", 100, &changes, |_| {}),
            [(0, Listener, 1), (100, Listener, 3), (300, Listener, 4)]
        );
        // in turn, none is skipped
        assert_eq!(
            run("none:gate=ack-in-turn", 100, &changes, |_| {}),
            [(0, Listener, 1), (100, Listener, 2), (200, Listener, 3), (300, Listener, 4)]
        );
        // a late answer is not waited for: the change at 20 comes after the timeout of 10 ms
        assert_eq!(
            run("ack-clocked:timeout=10ms", 100, &changes, |_| {}),
            [(0, Listener, 1), (20, Listener, 2), (30, Listener, 3), (300, Listener, 4)]
        );
    }

    #[test]
    fn flow_control_of_istio_gives_up_after_its_timeout() {
        // pushes at 100 (not answered before 20,100) and, merged by debouncing, 5100; that one is held and goes out with
        // the one of 16,100, 16 s after the first
        let changes = [(0, Listener, 1), (5000, Listener, 2), (16_000, Listener, 3)];
        assert_eq!(run("istio-flow-control", 20_000, &changes, |_| {}), [(100, Listener, 1), (16_100, Listener, 3)]);
        // answered in time, the held one follows the answer
        assert_eq!(
            run("istio-flow-control", 6000, &changes, |_| {}),
            [(100, Listener, 1), (6100, Listener, 2), (16_100, Listener, 3)]
        );
    }

    #[test]
    fn types_wait_for_themselves_only() {
        let changes = [(0, Listener, 1), (10, Listener, 2), (20, Endpoints, 3)];
        assert_eq!(
            run("ack-clocked", 100, &changes, |_| {}),
            [(0, Listener, 1), (20, Endpoints, 3), (100, Listener, 2)]
        );
    }

    #[test]
    fn cds_is_answered_when_endpoints_came() {
        // clusters at 0 warm until the endpoints of 1200; the answer at 1205 lets out the newest state
        let changes = [(0, Cluster, 1), (300, Cluster, 2), (600, Cluster, 3), (1200, Endpoints, 4)];
        assert_eq!(
            run("ack-clocked", 5, &changes, |w| w.warms = true),
            [(0, Cluster, 1), (1200, Endpoints, 4), (1205, Cluster, 3)]
        );
        // without endpoints Envoy goes on after 15 s; nothing warms, answered after 5 ms
        let changes = [(0, Cluster, 1), (300, Cluster, 2)];
        let with_eds = |w: &mut Given| {
            w.warms = true;
            w.types = [Cluster, Endpoints].into_iter().collect();
        };
        assert_eq!(run("ack-clocked", 5, &changes, with_eds), [(0, Cluster, 1), (15_005, Cluster, 2)]);
        assert_eq!(run("ack-clocked", 5, &changes, |_| {}), [(0, Cluster, 1), (300, Cluster, 2)]);
        // endpoints of another cluster do not help: those of 400 do not count, those of 900 do
        let changes = [(0, Cluster, 1), (300, Cluster, 2), (400, Endpoints, 3), (900, Endpoints, 4)];
        let of_900 = |w: &mut Given| {
            w.warms = true;
            w.brings = Some(4);
        };
        assert_eq!(
            run("ack-clocked", 5, &changes, of_900),
            [(0, Cluster, 1), (400, Endpoints, 3), (900, Endpoints, 4), (905, Cluster, 2)]
        );
    }

    #[test]
    fn a_content_gate_skips_what_envoy_has() {
        // 1, 2, back to 1, 1 again: ticks at 1000 (2 changes: 1 then 2), 2000 (back to 1), 3000 (still 1)
        let changes = [(0, Listener, 1), (100, Listener, 2), (1100, Listener, 1), (2100, Listener, 1)];
        assert_eq!(run("kuma", 1, &changes, |_| {}), [(1000, Listener, 2), (2000, Listener, 3)]);
        // a flap within one tick is never sent
        let changes = [(0, Listener, 1), (1100, Listener, 2), (1200, Listener, 1)];
        assert_eq!(run("kuma", 1, &changes, |_| {}), [(1000, Listener, 1)]);
        // without the gate the same state goes out again
        assert_eq!(run("fixed-window:window=1s", 1, &changes, |_| {}), [(1000, Listener, 1), (2100, Listener, 3)]);
    }

    #[test]
    fn envoy_gateway_and_consul_send_what_differs() {
        // answered after 100 ms: the state of 20 ms is skipped, that of 300 ms is what Envoy has
        let changes = [(0, Listener, 1), (20, Listener, 2), (30, Listener, 3), (300, Listener, 3), (400, Listener, 4)];
        assert_eq!(
            run("envoy-gateway", 100, &changes, |_| {}),
            [(0, Listener, 1), (100, Listener, 3), (400, Listener, 5)]
        );
        // windows [0, 200), [500, 700) with nothing new in it, [900, 1100); no answer is waited for
        let changes =
            [(0, Listener, 1), (150, Listener, 2), (199, Listener, 1), (500, Listener, 1), (900, Listener, 2)];
        assert_eq!(run("consul", 10_000, &changes, |_| {}), [(200, Listener, 3), (1100, Listener, 5)]);
    }

    #[test]
    fn kuma_backs_off_after_a_rejection() {
        // sent at 1000, rejected at 1010: nothing before 6010, though ticks went by
        let changes = [(0, Listener, 1), (1500, Listener, 2), (3500, Listener, 3)];
        assert_eq!(run("kuma", 10, &changes, |w| w.rejected = Some(1)), [(1000, Listener, 1), (6010, Listener, 3)]);
    }

    #[test]
    fn other_types_of_a_batch_do_not_wait_for_a_rejection_that_is_on_its_way() {
        // both at 1000: the rejection of CDS arrives at 1010, LDS went out before; the next tick with news waits for 6010
        let changes = [(0, Cluster, 1), (10, Listener, 2), (1500, Listener, 3)];
        assert_eq!(
            run("kuma", 10, &changes, |w| w.rejected = Some(2)),
            [(1000, Cluster, 2), (1000, Listener, 2), (6010, Cluster, 3), (6010, Listener, 3)]
        );
    }

    #[test]
    fn kuma_versions_endpoints_with_clusters() {
        // clusters change at 1500: endpoints go out again with them, though theirs did not
        struct Two;
        impl World for Two {
            fn types(&self) -> Types {
                [Cluster, Endpoints].into_iter().collect()
            }
            fn content(&self, kind: XdsType, state: usize) -> u64 {
                if kind == Cluster { state as u64 } else { state.min(2) as u64 }
            }
            fn replaced(&self, _: usize, _: usize, _: &mut dyn FnMut(u32)) {}
        }
        let kinds = [Cluster, Endpoints, Cluster];
        let arrivals: Vec<Arrival> = [0, 10, 1500]
            .iter()
            .zip(kinds)
            .map(|(t, kind)| Arrival { t: Us(t * MS), touches: Types::of(kind) })
            .collect();
        let acks = Acknowledgements { latency: [Us(MS); 9], fetch_timeout: Us(0), drain: Us(0) };
        let sent = |policy: &str| -> Vec<(i64, XdsType)> {
            let policy: Policy = policy.parse().unwrap();
            let out = deliveries(&batches(&arrivals, &policy.window, policy.eds_bypass), &policy, &Two, &acks);
            out.iter().filter(|d| d.sent).map(|d| (d.t.0 / MS, d.kind)).collect()
        };
        assert_eq!(sent("kuma"), [(1000, Cluster), (1000, Endpoints), (2000, Cluster), (2000, Endpoints)]);
        assert_eq!(sent("consul"), [(200, Cluster), (200, Endpoints), (1700, Cluster)]);
    }

    #[test]
    fn what_nobody_asks_for_does_not_occupy_the_gate() {
        // LDS has no state before 1000: the first rebuild has nothing to send of it, and the second is not held
        struct Late;
        impl World for Late {
            fn types(&self) -> Types {
                [Cluster, Listener].into_iter().collect()
            }
            fn content(&self, kind: XdsType, state: usize) -> u64 {
                if kind == Cluster { state.min(1) as u64 } else { state as u64 }
            }
            fn replaced(&self, _: usize, _: usize, _: &mut dyn FnMut(u32)) {}
            fn wanted(&self, kind: XdsType, state: usize, _: &dyn Fn(XdsType) -> usize) -> bool {
                kind == Cluster || state > 1
            }
            fn silent(&self, kind: XdsType, from: usize, to: usize, transport: Transport) -> bool {
                transport == Transport::Delta && self.content(kind, from) == self.content(kind, to)
            }
        }
        let arrival = |t: i64, kind| Arrival { t: Us(t * MS), touches: Types::of(kind) };
        let arrivals = [arrival(0, Cluster), arrival(1000, Listener)];
        let acks = Acknowledgements { latency: [Us(5000 * MS); 9], fetch_timeout: Us(0), drain: Us(0) };
        let sent = |policy: &str| -> Vec<(i64, XdsType)> {
            let policy: Policy = policy.parse().unwrap();
            let out = deliveries(&batches(&arrivals, &policy.window, policy.eds_bypass), &policy, &Late, &acks);
            out.iter().filter(|d| d.sent).map(|d| (d.t.0 / MS, d.kind)).collect()
        };
        assert_eq!(sent("contour-0.13"), [(0, Cluster), (1000, Listener), (5000, Cluster)]);
        // an empty delta is no response, and waits for no answer
        assert_eq!(sent("contour-0.13:transport=delta"), [(0, Cluster), (1000, Listener)]);
    }

    #[test]
    fn global_versions_send_every_type() {
        let changes = [(0, Listener, 1), (1000, Cluster, 2), (2000, Endpoints, 3)];
        assert_eq!(
            run("contour-0.5", 1, &changes, |_| {}),
            [
                (0, Cluster, 1),
                (0, Listener, 1),
                (1000, Cluster, 2),
                (1000, Listener, 2),
                // endpoints have their own way: no rebuild sends them
                (2000, Endpoints, 3)
            ]
        );
        let sent = run("contour-0.5:eds=same", 1, &changes, |_| {});
        assert_eq!(sent.iter().filter(|(_, kind, _)| *kind == Endpoints).count(), 3);
        assert_eq!(run("none", 1, &changes, |_| {}), [(0, Listener, 1), (1000, Cluster, 2), (2000, Endpoints, 3)]);
    }

    #[test]
    fn contour_0_13_holds_off_and_waits() {
        // at once at 0; 10 and 20 at 120, held until the answer at 400; 300 is held off until 400, the same moment,
        // and the answer of that moment is there first
        let changes = [(0, Listener, 1), (10, Listener, 2), (20, Listener, 3), (300, Listener, 4)];
        assert_eq!(
            run("contour-0.13", 400, &changes, |_| {}),
            [(0, Listener, 1), (400, Listener, 3), (800, Listener, 4)]
        );
        assert_eq!(
            run("contour-0.6", 400, &changes, |_| {}),
            [(0, Listener, 1), (120, Listener, 3), (400, Listener, 4)]
        );
    }

    #[test]
    fn at_most_k_drain() {
        // drain time 45 s. 0: first, replaces nothing; 1000: one drains until 46,000; 2000 and 3000 wait for that
        let changes =
            [(0, Listener, 1), (1000, Listener, 2), (2000, Listener, 3), (3000, Listener, 4), (100_000, Listener, 5)];
        assert_eq!(
            run("at-most-k-draining:k=1", 1, &changes, |_| {}),
            [(0, Listener, 1), (1000, Listener, 2), (46_000, Listener, 4), (100_000, Listener, 5)]
        );
        assert_eq!(
            run("at-most-k-draining:k=2", 1, &changes, |_| {}),
            [(0, Listener, 1), (1000, Listener, 2), (2000, Listener, 3), (46_000, Listener, 4), (100_000, Listener, 5)]
        );
        // a change that is taken back while it waits replaces nothing
        let changes = [(0, Listener, 1), (1000, Listener, 2), (2000, Listener, 3), (3000, Listener, 2)];
        assert_eq!(
            run("at-most-k-draining:k=1", 1, &changes, |_| {}),
            [(0, Listener, 1), (1000, Listener, 2), (3000, Listener, 4)]
        );
    }
}
