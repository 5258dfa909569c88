//! Listeners: built, warmed, updated in place, drained.

use super::super::prepare::{ListenerPlan, NameId, Plan};
use super::super::{Drain, StepPush};
use super::{Chain, EMPTY, Generation, How, Machine, NONE, Place, Stage, Timer, Waiter};
use crate::model::stream::{Us, XdsType};

impl<'p> Machine<'p> {
    /// `lds_api.cc`: removals first, then the rest in the order of the message.
    pub(super) fn lds(&mut self, push: &StepPush) {
        let plan = self.plan;
        self.refused.clear();
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
            let again = twice && done.contains(&name);
            let how = if again || push.rejected.binary_search(&(i as u32)).is_ok() {
                How::Rejected
            } else {
                self.listener(body)
            };
            if twice {
                done.push(name);
            }
            let rejected = matches!(how, How::Rejected);
            // the second of a name is shown without it
            if rejected && !again {
                self.refused.push(name);
            }
            self.note(body, &how);
            if rejected && self.rules.stops_at_first_error() {
                break;
            }
        }
    }

    pub(super) fn remove_listener(&mut self, name: NameId) {
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

    pub(super) fn listener_plan(&self, body: u32) -> Option<&'p ListenerPlan> {
        match &self.plan.bodies[body as usize].plan {
            Plan::Listener(l) => Some(l),
            _ => None,
        }
    }

    /// `listener_manager_impl.cc`, `addOrUpdateListenerInternal`.
    pub(super) fn listener(&mut self, body: u32) -> How {
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

    pub(super) fn body_of(&self, place: Place) -> Option<u32> {
        (place != NONE).then(|| self.generations[place as usize].body)
    }

    /// Reasons for which Envoy refuses a listener that the model can see.
    pub(super) fn refused(&self, name: NameId, body: u32, l: &ListenerPlan, active: Option<u32>) -> bool {
        if self.booting {
            return false;
        }
        let other = |g: &Place| self.generations[*g as usize].name != name;
        let address_taken = l.address.is_some_and(|a| self.addresses[a as usize].iter().any(other));
        let address_moved = !self.rules.address_may_change()
            && active.and_then(|a| self.listener_plan(a)).is_some_and(|a| a.address != l.address);
        self.plan.bodies[body as usize].invalid || address_taken || address_moved
    }

    pub(super) fn in_place(&self, active: Option<u32>, new: &ListenerPlan) -> bool {
        let old = active.and_then(|a| self.listener_plan(a)).and_then(|l| l.identity.as_ref());
        match (old, &new.identity) {
            (Some(old), Some(identity)) => self.rules.in_place(old, identity, new.udp),
            _ => false,
        }
    }

    /// Marks the chains of `origin` so that they are found by their identity.
    pub(super) fn mark_chains(&mut self, origin: Place) {
        self.mark += 1;
        let g = &self.generations[origin as usize];
        for place in &g.chains {
            let c = self.chains[*place as usize];
            if let Plan::Listener(l) = &self.plan.bodies[c.body as usize].plan {
                self.found[l.chains[c.at as usize].id as usize] = (self.mark, *place);
            }
        }
    }

    pub(super) fn build(&mut self, name: NameId, body: u32, l: &'p ListenerPlan, origin: Option<Place>) -> Place {
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
            self.ledger.remove_amount(self.plan.pricer.spared_in_place());
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
    pub(super) fn note_chains(&mut self, origin: Place, new: &ListenerPlan, mark: u32) {
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
    pub(super) fn warm(&mut self, place: Place) {
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
    pub(super) fn retire(&mut self, place: Place) {
        let g = &self.generations[place as usize];
        if let Some(l) = self.listener_plan(g.body) {
            if let Some(a) = l.address {
                self.addresses[a as usize].retain(|p| *p != place);
            }
            let mut held = l.own.own;
            if g.stage == Stage::Group {
                held -= self.plan.pricer.spared_in_place();
            }
            for (at, c) in g.chains.iter().zip(&l.chains) {
                let chain = &mut self.chains[*at as usize];
                chain.live -= 1;
                held += if chain.live == 0 { c.piece.own } else { c.retained };
            }
            self.row.draining_bytes += held.bytes();
        }
    }

    pub(super) fn begin_drain(&mut self, place: Place, chains: Option<u32>) {
        self.retire(place);
        match chains {
            None => self.drained.listeners += 1,
            Some(n) => {
                self.drained.groups += 1;
                self.drained.filter_chains += u64::from(n);
            }
        }
        if self.settings.detail || self.settings.keep_drains {
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

    pub(super) fn drain_listener(&mut self, place: Place) {
        self.generations[place as usize].stage = Stage::Draining;
        self.row.listeners_draining += 1;
        self.begin_drain(place, None);
    }

    pub(super) fn drain_chains(&mut self, old: Place, new: Place) {
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

    pub(super) fn drained(&mut self, place: Place) {
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
    pub(super) fn destroy(&mut self, place: Place) {
        let g = &mut self.generations[place as usize];
        // of two generations one pays for what both have
        let shares = g.stage == Stage::Group || (g.stage == Stage::Warming && g.in_place);
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
        if shares {
            let spared = self.plan.pricer.spared_in_place();
            held -= spared;
            self.ledger.add_amount(spared);
        }
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
}
