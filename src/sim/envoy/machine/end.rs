//! The end of a run: what is left, as Envoy shows it and as it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt};

use super::super::prepare::{NameId, Need, Plan, Table};
use super::super::{Action, ClusterView, End, Flap, Leaked, ListenerView, Peak, Run, SubscriptionView};
use super::{Machine, NONE, Place, Stage};
use crate::cost::envoy::generation::Ledger;
use crate::model::envoy::Name;
use crate::model::stream::{Us, XdsType};

impl<'p> Machine<'p> {
    pub(super) fn version_of(&self, step: u32) -> Name {
        match self.steps.get(step as usize).map(|s| &s.action) {
            Some(Action::Push(push)) => push.version.clone(),
            _ => Name::from(""),
        }
    }

    pub(super) fn finish(mut self) -> Run {
        let at_end = self.row;
        let counters = self.counters;
        let t = self.now;
        let (listeners, tables) = if self.settings.detail { self.views() } else { Default::default() };
        let (clusters, subscriptions) =
            if self.settings.detail { (self.cluster_views(), self.subscription_views()) } else { Default::default() };
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
                clusters,
                subscriptions,
                inline_tables_shown: tables.0,
                inline_tables_active: tables.1,
            },
            peak: Peak { t: row.t, row, allocated: estimate, step },
            timeline: self.timeline,
            pushes: self.effects,
            counters,
            drains: self.drains,
            drained: self.drained,
            flaps,
            taken: self.taken,
            transient: self.worst_transient,
            over_limit: self.over_limit,
        }
    }

    /// Every listener as Envoy shows it and as it is, and inline tables (all, of active generations).
    pub(super) fn views(&self) -> (Vec<ListenerView>, (u32, u32)) {
        let mut views: BTreeMap<Name, ListenerView> = BTreeMap::new();
        let mut oldest: HashMap<NameId, u32> = HashMap::new();
        let mut tables = (0, 0);
        let mut counted = vec![false; self.chains.len()];
        let fresh = |name: &Name| ListenerView {
            name: name.clone(),
            shown_version: None,
            active_version: None,
            warming_version: None,
            draining_shown: None,
            refused: false,
            draining_listed: 0,
            draining: 0,
            groups: 0,
            chains_draining: 0,
            pinned_bytes: 0,
        };
        for name in &self.refused {
            let name = self.plan.name(XdsType::Listener, *name);
            views.entry(name).or_insert_with_key(fresh).refused = true;
        }
        for g in self.generations.iter().filter(|g| g.stage != Stage::Free) {
            let name = self.plan.name(XdsType::Listener, g.name);
            let view = views.entry(name).or_insert_with_key(fresh);
            match g.stage {
                Stage::Active => {
                    view.shown_version = Some(self.version_of(g.shown));
                    view.active_version = Some(self.version_of(g.step));
                }
                Stage::Warming => view.warming_version = Some(self.version_of(g.shown)),
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

    fn cluster_views(&self) -> Vec<ClusterView> {
        let mut views: Vec<ClusterView> = self
            .clusters
            .iter()
            .enumerate()
            .filter(|(_, slot)| !slot.is_static && (slot.active != NONE || slot.warming != NONE))
            .map(|(i, slot)| {
                let version =
                    |p: Place| (p != NONE).then(|| self.version_of(self.cluster_generations[p as usize].step));
                ClusterView {
                    name: self.plan.name(XdsType::Cluster, NameId(i as u32)),
                    active_version: version(slot.active),
                    warming_version: version(slot.warming),
                }
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    fn subscription_views(&self) -> Vec<SubscriptionView> {
        let mut views: Vec<SubscriptionView> = Vec::new();
        for table in Table::ALL {
            let used = self.subscriptions[table as usize].iter().enumerate().filter(|(_, s)| s.refs > 0 && !s.pinned);
            views.extend(used.map(|(i, s)| SubscriptionView {
                kind: table.kind(),
                name: self.plan.name(table.kind(), NameId(i as u32)),
                held: s.body.is_some(),
            }));
        }
        views.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        views
    }

    /// What a fresh Envoy with the active configuration allocates.
    pub(super) fn restarted(&self) -> u64 {
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
                ledger.add_times(self.table_piece(body), self.copies(table, users.max(1)));
            }
        }
        ledger.total().bytes()
    }
}
