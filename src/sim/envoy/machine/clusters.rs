//! Clusters and their endpoints.

use super::super::StepPush;
use super::super::prepare::{ClusterPlan, NameId, Plan};
use super::{ClusterGeneration, EMPTY, How, Machine, NONE, Place, Timer, Waiter};
use crate::cost::envoy::generation::Amount;
use crate::model::stream::XdsType;

impl<'p> Machine<'p> {
    pub(super) fn cluster_plan(&self, body: u32) -> Option<&'p ClusterPlan> {
        match &self.plan.bodies[body as usize].plan {
            Plan::Cluster(c) => Some(c),
            _ => None,
        }
    }

    /// `cds_api_helper.cc`: adds and updates first, then removals.
    pub(super) fn cds(&mut self, push: &StepPush) {
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
    pub(super) fn cluster(&mut self, body: u32) -> How {
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

    pub(super) fn build_cluster(&mut self, name: NameId, body: u32, c: &'p ClusterPlan) -> Place {
        let place = self.free_clusters.pop().unwrap_or_else(|| {
            self.cluster_generations.push(ClusterGeneration {
                used: false,
                warming: false,
                name,
                body,
                step: 0,
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
            step: self.step,
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

    pub(super) fn warm_cluster(&mut self, place: Place) {
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

    pub(super) fn destroy_cluster(&mut self, place: Place) {
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

    pub(super) fn hosts(&self, c: &ClusterPlan, endpoints: Option<u32>) -> Amount {
        let Some(body) = endpoints else { return c.hosts };
        match &self.plan.bodies[body as usize].plan {
            Plan::Endpoints(prices) => prices.iter().find(|(p, _)| *p == c.profile).map_or(c.hosts, |(_, a)| *a),
            _ => c.hosts,
        }
    }

    pub(super) fn assign(&mut self, place: Place, endpoints: u32) {
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
    pub(super) fn endpoints(&mut self, body: u32) -> How {
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

    pub(super) fn endpoints_timed_out(&mut self, place: Place) {
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
}
