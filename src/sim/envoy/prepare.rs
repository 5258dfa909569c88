//! A recording made ready: names as numbers, every distinct body priced once.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use xxhash_rust::xxh3::xxh3_64;

use super::{Action, Settings, Step, StepPush};
use crate::cost::envoy;
use crate::cost::envoy::generation::{Amount, Piece, Pricer, SecretId, SecretPiece};
use crate::model::envoy::{
    Cluster, Discovery, EndpointSet, FilterChain, Listener, Name, RouteSource, SecretRef, TlsContext,
};
use crate::model::stream::{Body, BodyId, ListenerIdentity, Push, Recording, Resource, Us, What, XdsType};

/// A resource's name as a number; counted for each type apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub(super) u32);

impl NameId {
    /// The number itself.
    pub fn number(self) -> u32 {
        self.0
    }

    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

/// Something that warming waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) kind: Table,
    pub(super) name: NameId,
    /// `None` is the default; 0 is for ever.
    pub(super) timeout: Option<Us>,
}

/// Subscriptions that are shared by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Routes,
    Scopes,
    Secrets,
    Extensions,
}

impl Table {
    pub(super) const ALL: [Self; 4] = [Self::Routes, Self::Scopes, Self::Secrets, Self::Extensions];

    pub(super) fn of(kind: XdsType) -> Option<Self> {
        Some(match kind {
            XdsType::RouteConfig => Self::Routes,
            XdsType::ScopedRoutes => Self::Scopes,
            XdsType::Secret => Self::Secrets,
            XdsType::ExtensionConfig => Self::Extensions,
            _ => return None,
        })
    }

    pub(super) fn kind(self) -> XdsType {
        match self {
            Self::Routes => XdsType::RouteConfig,
            Self::Scopes => XdsType::ScopedRoutes,
            Self::Secrets => XdsType::Secret,
            Self::Extensions => XdsType::ExtensionConfig,
        }
    }
}

#[derive(Debug)]
pub(super) struct ChainPlan {
    pub(super) piece: Piece,
    /// What a second generation keeps for this chain when it shares it.
    pub(super) retained: Amount,
    /// Equal for chains that Envoy takes for equal.
    pub(super) id: u32,
    pub(super) needs: Vec<Need>,
    pub(super) inline_tables: u32,
    pub(super) tls_contexts: u32,
}

#[derive(Debug)]
pub(super) struct ListenerPlan {
    pub(super) own: Piece,
    pub(super) chains: Vec<Arc<ChainPlan>>,
    pub(super) identity: Option<ListenerIdentity>,
    /// `None` where no conflict is possible: no address, or port 0.
    pub(super) address: Option<u32>,
    pub(super) udp: bool,
    pub(super) inbound: bool,
}

#[derive(Debug)]
pub(super) struct ClusterPlan {
    pub(super) piece: Piece,
    /// Of `piece`, what workers have once the cluster is warm.
    pub(super) workers: Amount,
    /// Hosts and balancer while there is no endpoint set.
    pub(super) hosts: Amount,
    /// The name asked for over EDS, with the timeout.
    pub(super) endpoints: Option<(NameId, Option<Us>)>,
    /// Clusters with one profile price a set of endpoints alike.
    pub(super) profile: u32,
    pub(super) needs: Vec<Need>,
}

#[derive(Debug)]
pub(super) enum Plan {
    Listener(Box<ListenerPlan>),
    Cluster(Box<ClusterPlan>),
    /// Price by profile of the cluster.
    Endpoints(Vec<(u32, Amount)>),
    Routes(Piece),
    Scopes {
        piece: Piece,
        tables: Vec<NameId>,
    },
    Secret(Box<SecretPiece>, SecretId),
    Extension(Piece),
    Opaque,
}

/// A body ready to be played.
#[derive(Debug)]
pub(super) struct BodyPlan {
    pub(super) kind: XdsType,
    pub(super) name: NameId,
    pub(super) hash: u64,
    pub(super) set_hash: u64,
    pub(super) invalid: bool,
    pub(super) wire_bytes: u64,
    pub(super) plan: Plan,
}

/// Names of one type.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Name, NameId>,
    pub(super) list: Vec<Name>,
}

impl Names {
    fn id(&mut self, name: &Name) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId(self.list.len() as u32);
        self.list.push(name.clone());
        self.ids.insert(name.clone(), id);
        id
    }
}

/// A recording whose bodies are priced, for one Envoy; runs over it are cheap.
#[derive(Debug)]
pub struct Prepared {
    pub(super) bodies: Vec<BodyPlan>,
    pub(super) names: HashMap<XdsType, Names>,
    pub(super) pricer: Pricer,
    pub(super) process: Piece,
    pub(super) statics: Vec<BodyId>,
    pub(super) base: Vec<BodyId>,
    pub(super) chain_ids: usize,
    pub(super) addresses: usize,
    pub(super) subscribes_over_ads: bool,
}

/// Protobuf is about three quarters of compact JSON (measured on dumps of 1.40).
fn wire(bytes: u64, exact: bool) -> u64 {
    if exact { bytes } else { bytes * 76 / 100 }
}

#[derive(Default)]
struct Interner<T> {
    ids: HashMap<T, u32>,
}

impl<T: std::hash::Hash + Eq> Interner<T> {
    fn id(&mut self, key: T) -> u32 {
        let next = self.ids.len() as u32;
        *self.ids.entry(key).or_insert(next)
    }
}

impl Prepared {
    /// Prices every body of `recording` for the Envoy of `settings`.
    pub fn new(recording: &Recording, settings: &Settings) -> Self {
        let bootstrap = recording.bootstrap.as_deref();
        let cost = envoy::Settings {
            version: Some(settings.version),
            concurrency: settings.concurrency,
            concurrency_known: true,
        };
        let delta = recording.events.iter().any(|e| matches!(&e.what, What::Push(p) if p.delta));
        let mut pricer = Pricer::new(&cost, bootstrap.map(|b| &b.stats), delta);
        let mut process = pricer.process(bootstrap);
        // a bootstrap that stands inside a document is that of a config dump, which this Envoy was asked for
        if bootstrap.is_some_and(|b| b.meta.span.offset_bytes > 0) {
            process.own += pricer.config_dump_asked();
        }
        let mut names: HashMap<XdsType, Names> = HashMap::new();
        let mut chains = Interner::default();
        let mut addresses = Interner::default();
        let mut profiles = Interner::default();
        // a cluster for each profile that asks for a set of endpoints
        let mut askers: HashMap<NameId, Vec<(u32, &Cluster)>> = HashMap::new();
        let mut bodies = Vec::with_capacity(recording.bodies.len());
        for (at, body) in recording.bodies.iter().enumerate() {
            let plan = match &body.resource {
                Resource::Listener(l) => {
                    Plan::Listener(Box::new(listener(l, body, &mut pricer, &mut names, &mut chains, &mut addresses)))
                }
                Resource::Cluster(c) => {
                    let profile = profiles.id(profile(c));
                    let endpoints = (c.discovery == Discovery::Eds).then(|| {
                        let id = names.entry(XdsType::Endpoints).or_default().id(c.service_name());
                        (id, timeout(body, XdsType::Endpoints, c.service_name()))
                    });
                    if let Some((id, _)) = endpoints {
                        let list = askers.entry(id).or_default();
                        if list.iter().all(|(p, _)| *p != profile) {
                            list.push((profile, c));
                        }
                    }
                    let mut needs = Vec::new();
                    c.tls.iter().for_each(|t| secrets(t, body, &mut names, &mut needs));
                    let piece = pricer.cluster(c);
                    let hosts = pricer.hosts(c, None);
                    let workers = pricer.cluster_workers(c);
                    Plan::Cluster(Box::new(ClusterPlan { piece, workers, hosts, endpoints, profile, needs }))
                }
                Resource::RouteConfig(t) => Plan::Routes(pricer.routes(t)),
                Resource::ScopedRoutes(s) => {
                    let table = names.entry(XdsType::RouteConfig).or_default();
                    let tables = s.route_tables.iter().map(|n| table.id(n)).collect();
                    Plan::Scopes { piece: pricer.scopes(s), tables }
                }
                Resource::Secret(s) => {
                    let id = pricer.secret_id(&body.name);
                    Plan::Secret(Box::new(pricer.secret(s)), id)
                }
                Resource::ExtensionConfig(e) => Plan::Extension(pricer.extension(e)),
                // priced once it is known who asks for them
                Resource::Endpoints(_) => Plan::Endpoints(Vec::new()),
                Resource::Opaque => Plan::Opaque,
            };
            // every unnamed listener is a new one
            let name: Name = if body.kind == XdsType::Listener && body.name.is_empty() {
                format!("\u{0}{at}").into()
            } else {
                body.name.clone()
            };
            bodies.push(BodyPlan {
                kind: body.kind,
                name: names.entry(body.kind).or_default().id(&name),
                hash: body.hash,
                set_hash: body.set_hash,
                invalid: body.invalid.is_some(),
                wire_bytes: wire(body.bytes, body.exact_wire),
                plan,
            });
        }
        for (plan, body) in bodies.iter_mut().zip(&recording.bodies) {
            let (Plan::Endpoints(prices), Resource::Endpoints(set)) = (&mut plan.plan, &body.resource) else {
                continue;
            };
            let set: &EndpointSet = set;
            for (profile, cluster) in askers.get(&plan.name).into_iter().flatten() {
                prices.push((*profile, pricer.hosts(cluster, Some(set)) - pricer.flushed(cluster)));
            }
        }
        for event in &recording.events {
            if let What::Push(push) = &event.what {
                let table = names.entry(push.kind).or_default();
                for name in &push.removed {
                    table.id(name);
                }
            }
        }
        Self {
            bodies,
            names,
            pricer,
            process,
            statics: recording.static_resources.clone(),
            base: recording.base.clone(),
            chain_ids: chains.ids.len(),
            addresses: addresses.ids.len(),
            subscribes_over_ads: bootstrap.is_none_or(|b| b.uses_ads),
        }
    }

    /// Number of names of a type.
    pub(super) fn count(&self, kind: XdsType) -> usize {
        self.names.get(&kind).map_or(0, |n| n.list.len())
    }

    /// The number of a name, when any body or removal of the recording has it.
    pub fn name_id(&self, kind: XdsType, name: &str) -> Option<NameId> {
        self.names.get(&kind)?.ids.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, kind: XdsType, id: NameId) -> Name {
        self.names.get(&kind).and_then(|n| n.list.get(id.at())).cloned().unwrap_or_default()
    }

    /// The name of a body's resource, as a number.
    pub fn body_name(&self, body: BodyId) -> NameId {
        self.bodies[body.0 as usize].name
    }

    /// Bytes of a body as protobuf.
    pub fn wire_bytes(&self, body: BodyId) -> u64 {
        self.bodies[body.0 as usize].wire_bytes
    }

    /// What a cluster asks EDS for, without which it warms.
    pub fn endpoints_of(&self, body: BodyId) -> Option<NameId> {
        match &self.bodies[body.0 as usize].plan {
            Plan::Cluster(c) => c.endpoints.map(|(name, _)| name),
            _ => None,
        }
    }

    /// The price model and its revision.
    pub fn cost_model(&self) -> String {
        self.pricer.model()
    }

    /// The recording as steps. The last one marks its end.
    pub fn steps(&self, recording: &Recording) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::with_capacity(recording.events.len());
        // by stream, type and nonce: where the push with that nonce is
        let mut nonces: HashMap<(u32, XdsType, &str), usize> = HashMap::new();
        for (i, event) in recording.events.iter().enumerate() {
            let action = match &event.what {
                What::Push(push) => {
                    if !push.nonce.is_empty() {
                        nonces.insert((event.stream, push.kind, &*push.nonce), steps.len());
                    }
                    Action::Push(Arc::new(self.push(push)))
                }
                What::WorkersStart => Action::WorkersStart,
                What::DrainListeners { inbound_only } => Action::DrainListeners { inbound_only: *inbound_only },
                What::Nack { kind, nonce, error } => {
                    if let Some(at) = nonces.get(&(event.stream, *kind, &**nonce))
                        && let Action::Push(push) = &mut steps[*at].action
                    {
                        let rejected = self.named(*kind, &push.resources, error);
                        Arc::make_mut(push).rejected = rejected;
                    }
                    continue;
                }
                _ => continue,
            };
            steps.push(Step { t: event.t, event: i as u32, action });
        }
        if let Some(last) = recording.events.last() {
            let event = recording.events.len() as u32 - 1;
            steps.push(Step { t: last.t, event, action: Action::Nothing });
        }
        steps
    }

    fn push(&self, push: &Push) -> StepPush {
        let resources: Vec<BodyId> = push.resources.iter().map(|r| r.body).collect();
        let wire_bytes = resources.iter().map(|r| self.bodies[r.0 as usize].wire_bytes).sum();
        StepPush {
            kind: push.kind,
            delta: push.delta,
            version: push.version.clone(),
            removed: push.removed.iter().filter_map(|n| self.name_id(push.kind, n)).collect(),
            resources,
            rejected: Vec::new(),
            wire_bytes,
        }
    }

    /// Positions of the resources that the text of a rejection names. Envoy writes `listener(s) NAME: reason` and
    /// `NAME: reason`, and joins several with newlines.
    fn named(&self, kind: XdsType, resources: &[BodyId], error: &str) -> Vec<u32> {
        let Some(names) = self.names.get(&kind) else { return Vec::new() };
        let rejected = |id: &BodyId| {
            let name = &names.list[self.bodies[id.0 as usize].name.at()];
            error.match_indices(&**name).any(|(at, _)| {
                let (before, after) = (&error[..at], &error[at + name.len()..]);
                after.starts_with(':') && before.chars().next_back().is_none_or(char::is_whitespace)
            })
        };
        resources.iter().enumerate().filter(|(_, id)| rejected(id)).map(|(i, _)| i as u32).collect()
    }
}

/// What hosts of a cluster cost depends on this and the endpoints alone.
fn profile(c: &Cluster) -> u64 {
    let lb = &c.lb;
    xxh3_64(
        format!(
            "{:?}|{}|{:?}|{:?}|{:?}|{}|{}|{}|{}",
            c.discovery,
            lb.policy,
            lb.minimum_ring_size,
            lb.maximum_ring_size,
            lb.table_size,
            lb.subset_selectors,
            lb.locality_weighted,
            c.outlier_detection,
            c.health_checks.all
        )
        .as_bytes(),
    )
}

fn timeout(body: &Body, kind: XdsType, name: &Name) -> Option<Us> {
    body.fetch_timeouts.iter().find(|f| f.kind == kind && f.name == *name).map(|f| f.timeout)
}

fn need(table: Table, name: &Name, body: &Body, names: &mut HashMap<XdsType, Names>, needs: &mut Vec<Need>) {
    let kind = table.kind();
    let id = names.entry(kind).or_default().id(name);
    needs.push(Need { kind: table, name: id, timeout: timeout(body, kind, name) });
}

fn secrets(tls: &TlsContext, body: &Body, names: &mut HashMap<XdsType, Names>, needs: &mut Vec<Need>) {
    for r in tls.certificates.iter().chain(&tls.validation) {
        if let SecretRef::Sds(name) = r {
            need(Table::Secrets, name, body, names, needs);
        }
    }
}

fn listener(
    l: &Listener,
    body: &Body,
    pricer: &mut Pricer,
    names: &mut HashMap<XdsType, Names>,
    ids: &mut Interner<(u64, bool)>,
    addresses: &mut Interner<Name>,
) -> ListenerPlan {
    let pieces = pricer.listener(l);
    let mut chains = Vec::with_capacity(l.chains.len());
    let hashes = body.listener.as_ref().map(|i| i.chain_hashes.as_slice()).unwrap_or_default();
    let default = body.listener.as_ref().map_or(0, |i| i.default_chain_hash);
    for (j, ((c, piece), retained)) in l.chains.iter().zip(pieces.chains).zip(pieces.retained).enumerate() {
        let hash = if c.is_default { default } else { hashes.get(j).copied().unwrap_or(c.body_hash) };
        let mut plan = ChainPlan {
            piece,
            retained,
            id: ids.id((hash, c.is_default)),
            needs: Vec::new(),
            inline_tables: 0,
            tls_contexts: u32::from(c.tls.is_some()),
        };
        chain(c, body, names, &mut plan);
        chains.push(Arc::new(plan));
    }
    let address = (!l.address.is_empty() && !l.address.ends_with(":0")).then(|| addresses.id(l.address.clone()));
    ListenerPlan {
        own: pieces.own,
        chains,
        identity: body.listener.clone(),
        address,
        udp: l.udp,
        inbound: &*l.direction == "INBOUND",
    }
}

fn chain(c: &FilterChain, body: &Body, names: &mut HashMap<XdsType, Names>, plan: &mut ChainPlan) {
    if let Some(tls) = &c.tls {
        secrets(tls, body, names, &mut plan.needs);
    }
    for h in c.filters.iter().filter_map(|f| f.hcm.as_ref()) {
        match &h.routes {
            RouteSource::Rds(name) => need(Table::Routes, name, body, names, &mut plan.needs),
            RouteSource::Scoped => need(Table::Scopes, &Name::from(""), body, names, &mut plan.needs),
            RouteSource::Inline(_) => plan.inline_tables += 1,
            RouteSource::None => {}
        }
        for f in h.http_filters.iter().filter(|f| f.config_discovery) {
            need(Table::Extensions, &f.name, body, names, &mut plan.needs);
        }
    }
}
