//! What istiod would have sent a sidecar under another scope, of what it did send.
//!
//! Each resource is left as it is, loses the parts that led to services outside the scope, or goes, by the rules of
//! [`super::trim`]. Responses that then say nothing new to Envoy are not sent where the recorded ones did: istiod pushes
//! nothing to a proxy for changes outside its scope. A listener goes when its route table has nothing left, so what the
//! tables hold decides about listeners: a table counts as it is once the push of that version is through (istiod sends
//! LDS before RDS), and one that has not come yet as it first comes.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use xxhash_rust::xxh3::xxh3_64;

use super::dress::outbound_parts;
use super::trim::{self, Left, listener_left, table_left, table_of_gateway};
use crate::model::envoy::{Discovery, Listener, Name, RouteSource};
use crate::model::stream::{BodyId, Event, GapReason, Push, Pushed, Recording, Resource, What, XdsType};
use crate::sim::control_plane::{Types, slot, wildcard};

/// Takes the virtual hosts or filter chains at some positions out of a body; gives the body without them, and its hash.
pub type Cut<'c> = dyn FnMut(BodyId, &[usize]) -> Result<(BodyId, u64), String> + 'c;

/// A recording under a scope.
#[derive(Debug)]
pub struct Scoped {
    /// What happens.
    pub events: Vec<Event>,
    /// What Envoy held at the beginning.
    pub base: Vec<BodyId>,
    /// What it came to.
    pub tally: Tally,
}

/// What a scope takes out of a recording.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Outbound clusters by name, all and those kept.
    pub clusters: [usize; 2],
    /// Virtual hosts of services, by table and name, all and those kept.
    pub virtual_hosts: [usize; 2],
    /// Responses that are not sent.
    pub unsent: u64,
    /// Responses of LDS that are sent besides, since a route table gained its first or lost its last service.
    pub besides: u64,
    /// What is left and led to something that went: where it stands, and the cluster.
    pub dangling: BTreeSet<(String, Name)>,
}

/// The resources of a recording as numbers: one for each type and name.
struct Numbers<'a> {
    ids: HashMap<(XdsType, &'a Name), u32>,
    /// By body.
    of: Vec<u32>,
}

impl<'a> Numbers<'a> {
    fn new(recording: &'a Recording) -> Self {
        let mut ids: HashMap<(XdsType, &Name), u32> = HashMap::new();
        let of = recording.bodies.iter().map(|b| {
            let next = ids.len() as u32;
            *ids.entry((b.kind, &b.name)).or_insert(next)
        });
        let of = of.collect();
        Self { ids, of }
    }

    fn of(&self, id: BodyId) -> u32 {
        self.of[id.0 as usize]
    }

    /// `None` for what the recording has no body of.
    fn get(&self, kind: XdsType, name: &Name) -> Option<u32> {
        self.ids.get(&(kind, name)).copied()
    }
}

/// What Envoy was sent last, as hashes by type and number; and of types that are asked for by name, which names the last
/// state of the world listed.
#[derive(Default)]
struct Held([HashMap<u32, u64>; 9], [u64; 9]);

impl Held {
    fn has(&self, kind: XdsType, number: u32) -> bool {
        self.last(kind, number).is_some()
    }

    fn last(&self, kind: XdsType, number: u32) -> Option<u64> {
        self.0[slot(kind)].get(&number).copied()
    }

    /// Takes a response in; the positions of what is new or changed, and whether it lists other names than the last one.
    fn take(&mut self, kind: XdsType, delta: bool, resources: &[(u32, u64)], removed: &[u32]) -> (Vec<usize>, bool) {
        let held = &mut self.0[slot(kind)];
        let differs = |(_, (number, hash)): &(usize, &(u32, u64))| held.get(number) != Some(hash);
        let changed: Vec<usize> = resources.iter().enumerate().filter(differs).map(|(i, _)| i).collect();
        let mut others = false;
        if !delta && wildcard(kind) {
            let before = std::mem::take(held);
            held.extend(resources.iter().copied());
            others = before.keys().any(|number| !held.contains_key(number));
        } else {
            held.extend(changed.iter().map(|i| resources[*i]));
            removed.iter().for_each(|number| others |= held.remove(number).is_some());
        }
        if !delta && !wildcard(kind) {
            let names = resources.iter().map(|(number, _)| xxh3_64(&number.to_le_bytes())).fold(0, u64::wrapping_add);
            others = std::mem::replace(&mut self.1[slot(kind)], names) != names;
        }
        (changed, others)
    }
}

/// A place in the recording: the number of events before its end, and which push of the control plane it is part of.
#[derive(Clone, Copy)]
struct Now {
    at: usize,
    round: u32,
}

/// From here on a route table has nothing left, or has something.
struct Moment {
    at: usize,
    round: u32,
    emptied: bool,
}

/// What is left of a body, and its hash; `None` for nothing.
type Verdict = Option<(BodyId, u64)>;

/// A listener: its body as recorded, what is left of that, and the hash of it.
type LeftOver = (BodyId, BodyId, u64);

/// Listeners that are not what Envoy was sent: those left, and the numbers and names of those that are gone.
struct Turned {
    left: Vec<LeftOver>,
    lost: Vec<(u32, Name)>,
}

struct Walk<'a, 'c> {
    recording: &'a Recording,
    numbers: Numbers<'a>,
    keep: &'c dyn Fn(u16, &str) -> bool,
    cut: &'c mut Cut<'c>,
    /// What is left of each body of a table.
    tables: HashMap<BodyId, Left>,
    /// When each table gained its first or lost its last service; the first entry is how it came.
    history: HashMap<Name, Vec<Moment>>,
    /// What becomes of a body, by which of its tables are empty.
    verdicts: HashMap<(BodyId, Vec<bool>), Verdict>,
    /// As recorded.
    told: Held,
    /// Under the scope.
    sent: Held,
    /// What Envoy asks for anew since the cluster or listener that needs it changed.
    wanted: HashSet<u32>,
    /// Types that a stream which was opened has not been sent yet.
    unanswered: HashSet<(u32, XdsType)>,
    /// The listeners as recorded, and how they are sent.
    listeners: Vec<BodyId>,
    lds: Option<(Name, bool)>,
    /// Some table has services at one time and none at another, so that listeners come and go with it.
    turning: bool,
    tally: Tally,
}

/// What istiod would have sent under a scope that keeps the services for which `keep` (of port and host) is true.
///
/// # Errors
/// One line that says why it cannot be told; those of `cut`.
pub fn scoped<'c>(
    recording: &Recording,
    keep: &'c dyn Fn(u16, &str) -> bool,
    cut: &'c mut Cut<'c>,
) -> Result<Scoped, String> {
    let mut walk = Walk {
        recording,
        numbers: Numbers::new(recording),
        keep,
        cut,
        tables: HashMap::new(),
        history: HashMap::new(),
        verdicts: HashMap::new(),
        told: Held::default(),
        sent: Held::default(),
        wanted: HashSet::new(),
        unanswered: HashSet::new(),
        listeners: Vec::new(),
        lds: None,
        turning: false,
        tally: Tally::default(),
    };
    let rounds = rounds(&recording.events);
    walk.look_ahead(&rounds);
    let base = walk.begin()?;
    let mut events = Vec::with_capacity(recording.events.len());
    let mut unsent: HashSet<(u32, XdsType, &Name)> = HashSet::new();
    for (i, (event, round)) in recording.events.iter().zip(rounds).enumerate() {
        let now = Now { at: i + 1, round };
        match &event.what {
            What::Push(push) => {
                if let Some(besides) = walk.refit(push, now)? {
                    walk.tally.besides += 1;
                    events.push(Event { what: What::Push(Box::new(besides)), ..event.clone() });
                }
                let id = (event.stream, push.kind, &push.nonce);
                match walk.push(push, event.stream, now)? {
                    Some(push) => {
                        unsent.remove(&id);
                        events.push(Event { what: What::Push(Box::new(push)), ..event.clone() });
                    }
                    None => {
                        walk.tally.unsent += 1;
                        unsent.insert(id);
                    }
                }
            }
            // what is not sent is not answered
            What::Ack { kind, nonce } | What::Nack { kind, nonce, .. }
                if !nonce.is_empty() && unsent.contains(&(event.stream, *kind, nonce)) => {}
            what => {
                if matches!(what, What::Connection(true) | What::Gap { reason: GapReason::Reconnect, .. }) {
                    walk.unanswered.extend(Types::ORDER.map(|kind| (event.stream, kind)));
                }
                events.push(event.clone());
            }
        }
    }
    Ok(Scoped { events, base, tally: walk.tally })
}

/// Which push of the control plane each event is part of: LDS and RDS of one version that follow each other are one.
fn rounds(events: &[Event]) -> Vec<u32> {
    let (mut round, mut last) = (0, None);
    let mut of = |event: &Event| {
        if let Some(push) = pushed(event)
            && matches!(push.kind, XdsType::Listener | XdsType::RouteConfig)
        {
            if push.version.is_empty() || last.as_ref() != Some(&push.version) {
                round += 1;
            }
            last = Some(push.version.clone());
        }
        round
    };
    events.iter().map(&mut of).collect()
}

fn pushed(event: &Event) -> Option<&Push> {
    if let What::Push(push) = &event.what { Some(push) } else { None }
}

/// The route tables a listener asks for.
fn tables_of(l: &Listener) -> impl Iterator<Item = &Name> {
    let managers = l.chains.iter().flat_map(|c| &c.filters).filter_map(|f| f.hcm.as_ref());
    managers.filter_map(|h| if let RouteSource::Rds(name) = &h.routes { Some(name) } else { None })
}

impl Walk<'_, '_> {
    /// What becomes of the tables, and when, since listeners are sent before them.
    fn look_ahead(&mut self, rounds: &[u32]) {
        let recording = self.recording;
        let pushes = || recording.events.iter().enumerate().filter_map(|(i, e)| pushed(e).map(|push| (i + 1, push)));
        let mut known = vec![false; recording.bodies.len()];
        let sent = pushes().flat_map(|(_, push)| push.resources.iter().map(|r| r.body));
        recording.base.iter().copied().chain(sent).for_each(|id| known[id.0 as usize] = true);
        let bodies = || recording.bodies.iter().enumerate().filter(|(i, _)| known[*i]);
        let mut of_gateway: HashSet<&Name> = HashSet::new();
        let mut clusters: BTreeSet<&Name> = BTreeSet::new();
        for (_, body) in bodies() {
            match &body.resource {
                Resource::Listener(l) => of_gateway.extend(table_of_gateway(l)),
                _ if body.kind == XdsType::Cluster && outbound_parts(&body.name).is_some() => {
                    clusters.insert(&body.name);
                }
                _ => {}
            }
        }
        let kept = clusters.iter().filter(|c| !trim::goes(c, self.keep)).count();
        self.tally.clusters = [clusters.len(), kept];
        let mut hosts: [BTreeSet<(&Name, &Name)>; 2] = Default::default();
        for (id, body) in bodies() {
            let Resource::RouteConfig(t) = &body.resource else { continue };
            let mut dangling = Vec::new();
            let goes = |c: &str| trim::goes(c, self.keep);
            let left = table_left(t, of_gateway.contains(&body.name), &goes, &mut dangling);
            self.tally.dangling.extend(dangling);
            for (i, v) in t.virtual_hosts.iter().enumerate() {
                if v.clusters.iter().any(|c| outbound_parts(c).is_some()) {
                    hosts[0].insert((&body.name, &v.name));
                    let gone = match &left {
                        Left::All => false,
                        Left::Without(gone) => gone.binary_search(&i).is_ok(),
                        Left::Nothing => true,
                    };
                    if !gone {
                        hosts[1].insert((&body.name, &v.name));
                    }
                }
            }
            self.tables.insert(BodyId(id as u32), left);
        }
        self.tally.virtual_hosts = hosts.map(|h| h.len());
        let sent = pushes().filter(|(_, push)| push.kind == XdsType::RouteConfig);
        let sent = sent.flat_map(|(at, push)| push.resources.iter().map(move |r| (at, r.body)));
        for (at, id) in recording.base.iter().map(|id| (0, *id)).chain(sent) {
            let Some(left) = self.tables.get(&id) else { continue };
            let emptied = *left == Left::Nothing;
            let all = self.history.entry(recording.body(id).name.clone()).or_default();
            if all.last().is_none_or(|m| m.emptied != emptied) {
                all.push(Moment { at, round: at.checked_sub(1).map_or(0, |i| rounds[i]), emptied });
            }
        }
        self.turning = self.history.values().any(|all| all.len() > 1);
    }

    /// What Envoy holds when the recording begins.
    fn begin(&mut self) -> Result<Vec<BodyId>, String> {
        let recording = self.recording;
        let now = Now { at: 0, round: 0 };
        let mut base = Vec::with_capacity(recording.base.len());
        for id in &recording.base {
            let body = recording.body(*id);
            if body.kind == XdsType::Listener {
                self.listeners.push(*id);
            }
            self.told.0[slot(body.kind)].insert(self.numbers.of(*id), body.hash);
            if let Some((left, hash)) = self.verdict(*id, now)? {
                self.sent.0[slot(body.kind)].insert(self.numbers.of(*id), hash);
                base.push(left);
            }
        }
        Ok(base)
    }

    /// Whether a table that a listener asks for has nothing left.
    fn emptied(&self, table: &Name, now: Now) -> bool {
        let all = self.history.get(table).map_or(&[][..], Vec::as_slice);
        let (past, future) = all.split_at(all.partition_point(|m| m.at <= now.at));
        let with_it = future.iter().take_while(|m| m.round == now.round).last();
        with_it.or(past.last()).or(future.first()).is_some_and(|m| m.emptied)
    }

    /// What becomes of a body: nothing, or a body with its hash.
    fn verdict(&mut self, id: BodyId, now: Now) -> Result<Verdict, String> {
        let body = self.recording.body(id);
        let empty: Vec<bool> = match &body.resource {
            Resource::Listener(l) => tables_of(l).map(|t| self.emptied(t, now)).collect(),
            _ => Vec::new(),
        };
        let key = (id, empty);
        if let Some(known) = self.verdicts.get(&key) {
            return Ok(*known);
        }
        let goes = |c: &str| trim::goes(c, self.keep);
        let left = match (&body.resource, body.kind) {
            (_, XdsType::Cluster | XdsType::Endpoints) if goes(&body.name) => Left::Nothing,
            (Resource::RouteConfig(_), _) => self.tables.get(&id).cloned().unwrap_or(Left::All),
            (Resource::Listener(l), _) => {
                let gone: HashSet<&Name> =
                    tables_of(l).zip(&key.1).filter(|(_, empty)| **empty).map(|(t, _)| t).collect();
                let mut dangling = Vec::new();
                let left = listener_left(l, &goes, &|t| gone.contains(t), &mut dangling);
                self.tally.dangling.extend(dangling);
                left
            }
            (Resource::Opaque, XdsType::Listener | XdsType::RouteConfig) => {
                let what = if body.kind == XdsType::Listener { "listener" } else { "route table" };
                return Err(format!("the recording does not have {what} `{}` as JSON", body.name));
            }
            _ => Left::All,
        };
        let verdict = match left {
            Left::All => Some((id, body.hash)),
            Left::Without(parts) => Some((self.cut)(id, &parts)?),
            Left::Nothing => None,
        };
        self.verdicts.insert(key, verdict);
        Ok(verdict)
    }

    /// What Envoy asks for once a cluster or listener has changed.
    fn want(&mut self, id: BodyId) {
        match &self.recording.body(id).resource {
            Resource::Cluster(c) if c.discovery == Discovery::Eds => {
                self.wanted.extend(self.numbers.get(XdsType::Endpoints, c.service_name()));
            }
            Resource::Listener(l) => {
                let asked = tables_of(l).filter_map(|t| self.numbers.get(XdsType::RouteConfig, t));
                self.wanted.extend(asked);
            }
            _ => {}
        }
    }

    /// The response under the scope; `None` when it is not sent.
    fn push(&mut self, push: &Push, stream: u32, now: Now) -> Result<Option<Push>, String> {
        let (recording, kind) = (self.recording, push.kind);
        let mut told = Vec::with_capacity(push.resources.len());
        let mut left = Vec::with_capacity(push.resources.len());
        let mut resources = Vec::with_capacity(push.resources.len());
        let (mut removed, mut gone) = (Vec::new(), Vec::new());
        let mut origins = Vec::with_capacity(push.resources.len());
        let mut altered = false;
        let first = self.unanswered.remove(&(stream, kind));
        for r in &push.resources {
            let number = self.numbers.of(r.body);
            let before = recording.body(r.body).hash;
            told.push((number, before));
            match self.verdict(r.body, now)? {
                // a delta response leaves out what changed outside the scope alone
                Some((_, hash))
                    if push.delta
                        && self.told.last(kind, number) != Some(before)
                        && self.sent.last(kind, number) == Some(hash)
                        && !first
                        && !self.wanted.contains(&number) =>
                {
                    altered = true;
                }
                Some((id, hash)) => {
                    altered |= id != r.body;
                    left.push((number, hash));
                    resources.push(Pushed { body: id, version: r.version.clone() });
                    origins.push(r.body);
                }
                None => {
                    altered = true;
                    // what had something of the scope in it, and has nothing now
                    if push.delta && wildcard(kind) && self.sent.has(kind, number) {
                        removed.push(recording.body(r.body).name.clone());
                        gone.push(number);
                    }
                }
            }
        }
        for name in &push.removed {
            let number = self.numbers.get(kind, name);
            let known = number.is_none_or(|n| self.sent.has(kind, n) || !self.told.has(kind, n));
            let outside = matches!(kind, XdsType::Cluster | XdsType::Endpoints) && trim::goes(name, self.keep);
            if known && !outside {
                removed.push(name.clone());
                gone.extend(number);
            } else {
                altered = true;
            }
        }
        if kind == XdsType::Listener {
            self.lds = Some((push.type_name.clone(), push.delta));
            self.listen(push);
            if push.delta && self.turning {
                // listeners that are as they were, but whose tables come or go with this push
                let named: HashSet<u32> = told.iter().map(|(number, _)| *number).chain(gone.iter().copied()).collect();
                let Turned { left: others, lost } = self.turned(now, &named)?;
                altered |= !others.is_empty() || !lost.is_empty();
                for (origin, id, hash) in others {
                    left.push((self.numbers.of(origin), hash));
                    resources.push(Pushed { body: id, version: push.version.clone() });
                    origins.push(origin);
                }
                for (number, name) in lost {
                    gone.push(number);
                    removed.push(name);
                }
            }
        }
        let taken: Vec<u32> = push.removed.iter().filter_map(|name| self.numbers.get(kind, name)).collect();
        let (news, others) = self.told.take(kind, push.delta, &told, &taken);
        let said_something = others || !news.is_empty();
        let (changed, others) = self.sent.take(kind, push.delta, &left, &gone);
        let says_something = others || !changed.is_empty();
        let awaited = left.iter().any(|(number, _)| self.wanted.contains(number));
        let something = !resources.is_empty() || !removed.is_empty() || (wildcard(kind) && !push.delta);
        if altered && !something || said_something && !says_something && !first && !awaited {
            return Ok(None);
        }
        changed.iter().for_each(|i| self.want(origins[*i]));
        for (number, _) in left {
            self.wanted.remove(&number);
        }
        if !altered {
            return Ok(Some(push.clone()));
        }
        Ok(Some(Push { resources, removed, bytes: 0, ..push.clone() }))
    }

    /// Keeps the listeners as recorded.
    fn listen(&mut self, push: &Push) {
        if !push.delta {
            self.listeners = push.resources.iter().map(|r| r.body).collect();
            return;
        }
        let numbers = &self.numbers;
        let gone: HashSet<u32> = push.removed.iter().filter_map(|n| numbers.get(XdsType::Listener, n)).collect();
        self.listeners.retain(|l| !gone.contains(&numbers.of(*l)));
        let mut place: HashMap<u32, usize> =
            self.listeners.iter().enumerate().map(|(i, l)| (numbers.of(*l), i)).collect();
        for r in &push.resources {
            match place.get(&numbers.of(r.body)) {
                Some(i) => self.listeners[*i] = r.body,
                None => {
                    place.insert(numbers.of(r.body), self.listeners.len());
                    self.listeners.push(r.body);
                }
            }
        }
    }

    /// What is left of the listeners.
    fn left(&mut self, now: Now) -> Result<Vec<LeftOver>, String> {
        let mut out = Vec::with_capacity(self.listeners.len());
        for origin in self.listeners.clone() {
            out.extend(self.verdict(origin, now)?.map(|(id, hash)| (origin, id, hash)));
        }
        Ok(out)
    }

    /// What of the listeners, but for some, is not what Envoy was sent.
    fn turned(&mut self, now: Now, but: &HashSet<u32>) -> Result<Turned, String> {
        let mut left = self.left(now)?;
        let numbers = &self.numbers;
        let sent = &self.sent.0[slot(XdsType::Listener)];
        let names: HashSet<u32> = left.iter().map(|(origin, ..)| numbers.of(*origin)).collect();
        let lost = self.listeners.iter().map(|l| (numbers.of(*l), &self.recording.body(*l).name));
        let lost = lost.filter(|(n, _)| sent.contains_key(n) && !names.contains(n) && !but.contains(n));
        let lost = lost.map(|(n, name)| (n, name.clone())).collect();
        left.retain(|(origin, _, hash)| {
            let number = numbers.of(*origin);
            sent.get(&number) != Some(hash) && !but.contains(&number)
        });
        Ok(Turned { left, lost })
    }

    /// The response of LDS that goes before one of RDS by which a table gains its first or loses its last service, where
    /// the recorded ones did not say so already.
    fn refit(&mut self, push: &Push, now: Now) -> Result<Option<Push>, String> {
        let turns = |r: &Pushed| {
            let all = self.history.get(&self.recording.body(r.body).name);
            all.is_some_and(|all| all.iter().skip(1).any(|m| m.at == now.at))
        };
        if !self.turning || push.kind != XdsType::RouteConfig || !push.resources.iter().any(turns) {
            return Ok(None);
        }
        let Some((type_name, delta)) = self.lds.clone() else { return Ok(None) };
        let Turned { left: turned, lost } = self.turned(now, &HashSet::new())?;
        if turned.is_empty() && lost.is_empty() {
            return Ok(None);
        }
        turned.iter().for_each(|(origin, ..)| self.want(*origin));
        let sent = match delta {
            true => turned,
            false => self.left(now)?,
        };
        let hashes: Vec<(u32, u64)> = sent.iter().map(|(origin, _, hash)| (self.numbers.of(*origin), *hash)).collect();
        let (gone, removed): (Vec<u32>, Vec<Name>) = lost.into_iter().unzip();
        self.sent.take(XdsType::Listener, delta, &hashes, &gone);
        let version = if delta { push.version.clone() } else { Name::default() };
        Ok(Some(Push {
            kind: XdsType::Listener,
            type_name,
            delta,
            version: push.version.clone(),
            nonce: Name::default(),
            resources: sent.into_iter().map(|(_, body, _)| Pushed { body, version: version.clone() }).collect(),
            removed: if delta { removed } else { Vec::new() },
            bytes: 0,
        }))
    }
}
