//! What is shared by name: route tables, scopes, secrets, extension configurations.

use super::super::StepPush;
use super::super::prepare::{NameId, Need, Plan, Table};
use super::{How, Machine, NONE, Stage, Timer, Waiter};
use crate::cost::envoy::generation::Piece;
use crate::model::stream::XdsType;

impl<'p> Machine<'p> {
    pub(super) fn copies(&self, table: Table, refs: u32) -> u32 {
        // before 1.13 every HTTP connection manager compiled its own copy of the table
        if table == Table::Routes && self.rules.routes_per_manager() { refs } else { 1 }
    }

    /// One more user; true when it has to wait, and was noted to be told.
    pub(super) fn subscribe(&mut self, need: Need, waiter: Waiter) -> bool {
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

    pub(super) fn unsubscribe(&mut self, need: Need) {
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

    pub(super) fn table_piece(&self, body: u32) -> &'p Piece {
        match &self.plan.bodies[body as usize].plan {
            Plan::Routes(piece) | Plan::Extension(piece) | Plan::Scopes { piece, .. } => piece,
            Plan::Secret(secret, _) => &secret.own,
            Plan::Listener(l) => &l.own,
            Plan::Cluster(c) => &c.piece,
            Plan::Endpoints(_) | Plan::Opaque => self.plan.pricer.nothing(),
        }
    }

    /// The content of a shared resource goes, once.
    pub(super) fn forget(&mut self, body: u32) {
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
    pub(super) fn shared(&mut self, table: Table, body: u32) -> How {
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
                let copies = self.copies(table, refs);
                self.ledger.add_times(self.table_piece(body), copies);
                if let Some(old) = old {
                    self.ledger.remove_times(self.table_piece(old), copies);
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
    pub(super) fn ready(&mut self, table: Table, name: NameId) {
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
    pub(super) fn by_name(&mut self, kind: XdsType, push: &StepPush) {
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
}
