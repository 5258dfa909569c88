//! What Contour would hold after each change of Kubernetes objects, and the pushes that a version of it makes of them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use serde_json::{Value, json};

use super::Shape;
use super::shapes::{certificate, cluster, cluster_name, host, http, load, secret_name};
use crate::generate::Dice;
use crate::generate::write::{State, list};
use crate::lab::shapes::{
    certificate_secret, chain, downstream_tls, filter, listener, sds, socket_address, table, with,
};
use crate::model::ingress::{Backend, Change, Object, Site};
use crate::model::stream::XdsType;
use crate::sim::control_plane::{Acknowledgements, Arrival, Delivery, Policy, Types, World, batches, deliveries};

/// Something with the states in which it is there: from one number of changes on, below another.
#[derive(Debug, Clone)]
pub(super) struct Life<T> {
    pub(super) value: T,
    from: usize,
    until: usize,
}

impl<T> Life<T> {
    fn span(&self) -> (usize, usize) {
        (self.from, self.until)
    }

    /// The states that both cover.
    fn meets<U>(&self, other: &Life<U>) -> Option<(usize, usize)> {
        let (from, until) = (self.from.max(other.from), self.until.min(other.until));
        (from < until).then_some((from, until))
    }

    fn covers(&self, state: usize) -> bool {
        (self.from..self.until).contains(&state)
    }
}

/// Lives of values by key; a later one with the same key ends the one before.
#[derive(Debug, Clone)]
pub(super) struct Lives<T> {
    pub(super) all: Vec<Life<T>>,
    open: HashMap<String, usize>,
}

impl<T: PartialEq> Lives<T> {
    fn new() -> Self {
        Self { all: Vec::new(), open: HashMap::new() }
    }

    fn change(&mut self, key: &str, value: Option<T>, state: usize) {
        if let Some(at) = self.open.get(key).copied() {
            if value.as_ref() == Some(&self.all[at].value) {
                return;
            }
            self.all[at].until = state;
            self.open.remove(key);
        }
        if let Some(value) = value {
            self.open.insert(key.to_owned(), self.all.len());
            self.all.push(Life { value, from: state, until: usize::MAX });
        }
    }

    pub(super) fn at(&self, state: usize) -> impl Iterator<Item = &T> {
        self.all.iter().filter(move |l| l.covers(state)).map(|l| &l.value)
    }
}

/// Chains as text.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<Vec<u32>, String>);

/// What Contour would hold after each change.
#[derive(Debug, Clone)]
pub struct History {
    pub(super) shape: Shape,
    pub(super) sites: Lives<Site>,
    pub(super) secrets: Lives<(String, u64)>,
    services: Lives<String>,
    pub(super) endpoints: Lives<(String, u32)>,
    arrivals: Vec<Arrival>,
    /// Names with a certificate, in order; each is a number into `distinct`. One is there while its site and its secret are.
    chains: Vec<Life<u32>>,
    /// Site, secret and number of the secret's name of each distinct chain.
    pub(super) distinct: Vec<[usize; 3]>,
    /// Clusters, by name: Contour has one while a site refers to it and its Service is there.
    clusters: Vec<Life<Backend>>,
    /// Clusters with their number of endpoints.
    served: Vec<Life<(Backend, u32)>>,
    /// Secrets that chains use, by name.
    used: Vec<Life<(String, u64)>>,
    /// Sums of hashes by state: clusters, endpoints, listeners, routes, secrets.
    pub(super) content: Vec<[u64; 5]>,
    /// Sites and chains by state.
    pub(super) counts: Vec<[u64; 2]>,
}

pub(super) fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    value.hash(&mut hasher);
    hasher.digest()
}

impl History {
    /// Follows `changes`, which are sorted by time.
    pub fn new(shape: Shape, changes: &[Change]) -> Self {
        let mut history = Self {
            shape,
            sites: Lives::new(),
            secrets: Lives::new(),
            services: Lives::new(),
            endpoints: Lives::new(),
            arrivals: Vec::with_capacity(changes.len()),
            chains: Vec::new(),
            distinct: Vec::new(),
            clusters: Vec::new(),
            served: Vec::new(),
            used: Vec::new(),
            content: Vec::new(),
            counts: Vec::new(),
        };
        let mut names: HashMap<String, Vec<String>> = HashMap::new();
        let rebuild = State::TYPES.into_iter().collect::<Types>().without(XdsType::Endpoints);
        for (i, change) in changes.iter().enumerate() {
            let state = i + 1;
            let touches = match &change.object {
                Object::Ingress(key, sites) => {
                    let now: &[Site] = if change.gone { &[] } else { sites };
                    let served = |fqdn: &str| now.iter().any(|s| s.fqdn == fqdn);
                    for fqdn in names.remove(key).into_iter().flatten().filter(|f| !served(f)) {
                        history.sites.change(&fqdn, None, state);
                    }
                    for site in now {
                        history.sites.change(&site.fqdn, Some(site.clone()), state);
                    }
                    names.insert(key.clone(), now.iter().map(|s| s.fqdn.clone()).collect());
                    rebuild
                }
                Object::Secret(key, content) => {
                    let value = (!change.gone).then(|| (key.clone(), *content));
                    history.secrets.change(key, value, state);
                    rebuild
                }
                Object::Service(key) => {
                    history.services.change(key, (!change.gone).then(|| key.clone()), state);
                    rebuild
                }
                Object::Endpoints(key, count) => {
                    let value = (!change.gone).then(|| (key.clone(), *count));
                    history.endpoints.change(key, value, state);
                    Types::of(XdsType::Endpoints)
                }
                Object::Other => Types::NONE,
            };
            history.arrivals.push(Arrival { t: change.t, touches });
        }
        history.join();
        history.sum(changes.len());
        for (i, (arrival, change)) in history.arrivals.iter_mut().zip(changes).enumerate() {
            let [before, now] = [history.content[i], history.content[i + 1]];
            let unrelated = before == now && matches!(change.object, Object::Secret(..) | Object::Service(_));
            if unrelated && shape.looks_away {
                arrival.touches = Types::NONE;
            }
        }
        history
    }

    /// Finds out when sites meet their secrets and Services.
    fn join(&mut self) {
        let mut secrets: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, life) in self.secrets.all.iter().enumerate() {
            secrets.entry(&life.value.0).or_default().push(at);
        }
        let mut services: HashMap<&str, Vec<&Life<String>>> = HashMap::new();
        for life in &self.services.all {
            services.entry(&life.value).or_default().push(life);
        }
        let mut numbers: HashMap<(&str, &str, u64), u32> = HashMap::new();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut clusters: BTreeMap<String, (&Backend, Spans)> = BTreeMap::new();
        let mut used: BTreeMap<&(String, u64), Spans> = BTreeMap::new();
        for (at, site) in self.sites.all.iter().enumerate() {
            for backend in &site.value.backends {
                let spans = services.get(backend.service.as_str()).into_iter().flatten();
                let spans = spans.filter_map(|service| site.meets(service));
                clusters.entry(cluster_name(backend)).or_insert((backend, Vec::new())).1.extend(spans);
            }
            for secret in site.value.secret.iter().flat_map(|s| secrets.get(s.as_str()).into_iter().flatten()) {
                let (name, content) = &self.secrets.all[*secret].value;
                let Some(span) = site.meets(&self.secrets.all[*secret]) else { continue };
                let content = if self.shape.inline_certificates { *content } else { 0 };
                let next = numbers.len() as u32;
                let number = *numbers.entry((&site.value.fqdn, name, content)).or_insert(next);
                if number == next {
                    let names_so_far = names.len();
                    self.distinct.push([at, *secret, *names.entry(name).or_insert(names_so_far)]);
                }
                self.chains.push(Life { value: number, from: span.0, until: span.1 });
                used.entry(&self.secrets.all[*secret].value).or_default().push(span);
            }
        }
        let name = |number: u32| &self.sites.all[self.distinct[number as usize][0]].value.fqdn;
        self.chains.sort_by(|a, b| name(a.value).cmp(name(b.value)).then(a.from.cmp(&b.from)));
        self.clusters = clusters.into_values().flat_map(|(b, spans)| lives(b, spans)).collect();
        self.used = used.into_iter().flat_map(|(s, spans)| lives(s, spans)).collect();
        let mut counts: HashMap<&str, Vec<&Life<(String, u32)>>> = HashMap::new();
        for life in &self.endpoints.all {
            counts.entry(&life.value.0).or_default().push(life);
        }
        for cluster in &self.clusters {
            for life in counts.get(cluster.value.service.as_str()).into_iter().flatten() {
                if let Some((from, until)) = cluster.meets(life) {
                    self.served.push(Life { value: (cluster.value.clone(), life.value.1), from, until });
                }
            }
        }
    }

    /// Sums up, for every state, what each type consists of.
    fn sum(&mut self, states: usize) {
        let mut steps = vec![([0_u64; 5], [0_u64; 2]); states + 2];
        let mut add = |kind: usize, life: (usize, usize), value: u64, counted: Option<usize>| {
            let mut at = |state: usize, value: u64, one: u64| {
                let (sums, counts) = &mut steps[state.min(states + 1)];
                sums[kind] = sums[kind].wrapping_add(value);
                counted.iter().for_each(|c| counts[*c] = counts[*c].wrapping_add(one));
            };
            at(life.0, value, 1);
            at(life.1, value.wrapping_neg(), 1_u64.wrapping_neg());
        };
        self.clusters.iter().for_each(|l| add(0, l.span(), hash(&l.value), None));
        // a cluster without endpoints is told so
        self.clusters.iter().for_each(|l| add(1, l.span(), hash(&l.value), None));
        self.served.iter().for_each(|l| add(1, l.span(), hash(&l.value), None));
        self.sites.all.iter().for_each(|l| add(3, l.span(), hash(&l.value), Some(0)));
        self.chains.iter().for_each(|l| add(2, l.span(), hash(&(l.value, "chain")), Some(1)));
        if !self.shape.inline_certificates {
            self.used.iter().for_each(|l| add(4, l.span(), hash(&l.value), None));
        }
        let (mut sums, mut counts) = ([0_u64; 5], [0_u64; 2]);
        for (step, count) in steps.iter().take(states + 1) {
            sums.iter_mut().zip(step).for_each(|(sum, s)| *sum = sum.wrapping_add(*s));
            counts.iter_mut().zip(count).for_each(|(n, c)| *n = n.wrapping_add(*c));
            self.content.push(sums);
            self.counts.push(counts);
        }
    }

    /// The changes as they reach the batching.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// The pushes that `policy` makes of the changes.
    pub fn deliveries(&self, policy: &Policy, acks: &Acknowledgements) -> Vec<Delivery> {
        deliveries(&batches(&self.arrivals, &policy.window, policy.eds_bypass), policy, self, acks)
    }

    /// Hands out the filter chains of `ingress_https` in this state, in the order in which this shape writes them, as the
    /// distinct chains that each is made of: more than one where names of one secret are grouped.
    pub(super) fn each_group(&self, state: usize, each: &mut dyn FnMut(&[u32])) {
        let mut there: Vec<u32> = self.chains.iter().filter(|l| l.covers(state)).map(|l| l.value).collect();
        if !self.shape.grouped {
            if !self.shape.sorted {
                Dice::new(state as u64).shuffle(&mut there);
            }
            there.iter().for_each(|n| each(std::slice::from_ref(n)));
            return;
        }
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut place: Vec<Option<usize>> = vec![None; self.distinct.len()];
        for number in there {
            let at = *place[self.distinct[number as usize][2]].get_or_insert(groups.len());
            if at == groups.len() {
                groups.push(Vec::new());
            }
            groups[at].push(number);
        }
        if !self.shape.sorted {
            Dice::new(state as u64).shuffle(&mut groups);
        }
        groups.iter().for_each(|g| each(g));
    }

    pub(super) fn chain(&self, group: &[u32]) -> Value {
        let site = |n: &u32| &self.sites.all[self.distinct[*n as usize][0]].value.fqdn;
        let names: Vec<&String> = group.iter().map(site).collect();
        let (secret, content) = &self.secrets.all[self.distinct[group[0] as usize][1]].value;
        let mut common = json!({"alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_1"}});
        if self.shape.inline_certificates {
            common["tls_certificates"] = json!([certificate(secret, *content)]);
        } else {
            common["tls_certificate_sds_secret_configs"] = json!([sds(&secret_name(secret))]);
        }
        with(
            chain(vec![http("ingress_https")]),
            json!({"filter_chain_match": {"server_names": names}, "transport_socket": downstream_tls(common, json!({}))}),
        )
    }

    /// The two listeners, the second one only with chains.
    pub(super) fn listeners(&self, chains: Vec<Value>) -> Vec<Value> {
        let mut all = vec![with(
            listener("ingress_http", vec![chain(vec![http("ingress_http")])]),
            json!({"address": socket_address("0.0.0.0", 8080)}),
        )];
        if !chains.is_empty() {
            let inspector = filter(
                "envoy.filters.listener.tls_inspector",
                "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                json!({}),
            );
            all.push(with(
                listener("ingress_https", chains),
                json!({"address": socket_address("0.0.0.0", 8443), "listener_filters": [inspector]}),
            ));
        }
        all
    }

    /// Writes the resources of a type with commas between. `texts` keeps chains once made; there are as many in each
    /// push as there are names.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn write(&self, kind: XdsType, state: usize, texts: &mut Texts, out: &mut dyn Write) -> io::Result<()> {
        if kind != XdsType::Listener {
            return list(out, &self.resources(kind, state));
        }
        const MARK: &str = "\"filter_chains\":[\"";
        let listeners = self.listeners(if self.counts[state][1] == 0 { vec![] } else { vec!["".into()] });
        for (i, listener) in listeners.iter().enumerate() {
            let text = listener.to_string();
            out.write_all(if i > 0 { b"," } else { b"" })?;
            let Some((head, tail)) = text.split_once(MARK) else {
                out.write_all(text.as_bytes())?;
                continue;
            };
            write!(out, "{head}{}", MARK.trim_end_matches('"'))?;
            let (mut first, mut done) = (true, Ok(()));
            self.each_group(state, &mut |group| {
                if !texts.0.contains_key(group) {
                    texts.0.insert(group.to_vec(), self.chain(group).to_string());
                }
                let comma: &[u8] = if std::mem::take(&mut first) { b"" } else { b"," };
                if done.is_ok() {
                    done = out.write_all(comma).and_then(|()| out.write_all(texts.0[group].as_bytes()));
                }
            });
            done?;
            out.write_all(tail.trim_start_matches('"').as_bytes())?;
        }
        Ok(())
    }

    /// About how many bytes of JSON the responses of `sent` have: those of the lists that grow with the names.
    pub(super) fn bytes(&self, sent: &[Delivery]) -> u64 {
        let chain = if self.distinct.is_empty() { 0 } else { self.chain(&[0]).to_string().len() as u64 };
        let host = self.sites.all.first().map_or(0, |l| host(&l.value).to_string().len() as u64);
        let one = |d: &Delivery| {
            let [sites, chains] = self.counts[d.upto];
            match d.kind {
                XdsType::Listener => chains * chain,
                XdsType::RouteConfig => (sites + chains) * host,
                _ => 0,
            }
        };
        sent.iter().filter(|d| d.sent).map(one).sum()
    }

    /// The resources of a type.
    pub fn resources(&self, kind: XdsType, state: usize) -> Vec<Value> {
        match kind {
            XdsType::Listener => {
                let mut chains = Vec::new();
                self.each_group(state, &mut |group| chains.push(self.chain(group)));
                self.listeners(chains)
            }
            XdsType::RouteConfig => {
                let mut sites: Vec<&Site> = self.sites.at(state).collect();
                sites.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
                let mut tables = vec![table("ingress_http", sites.into_iter().map(host).collect())];
                let secured = self.chains.iter().filter(|l| l.covers(state));
                let secured = secured.map(|l| &self.sites.all[self.distinct[l.value as usize][0]].value);
                let secured: Vec<Value> = secured.map(host).collect();
                if !secured.is_empty() {
                    tables.push(table("ingress_https", secured));
                }
                tables
            }
            XdsType::Cluster => self.backends(state).map(cluster).collect(),
            XdsType::Endpoints => self.loads(state).map(|(b, count)| load(b, count)).collect(),
            XdsType::Secret => self
                .secrets_used(state)
                .map(|(name, content)| certificate_secret(&secret_name(name), certificate(name, *content)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Backends that sites refer to and whose Service is there, by cluster name.
    pub(super) fn backends(&self, state: usize) -> impl Iterator<Item = &Backend> {
        self.clusters.iter().filter(move |l| l.covers(state)).map(|l| &l.value)
    }

    /// The same with the number of their endpoints.
    pub(super) fn loads(&self, state: usize) -> impl Iterator<Item = (&Backend, u32)> {
        let known: HashMap<&str, u32> = self.endpoints.at(state).map(|(k, n)| (k.as_str(), *n)).collect();
        self.backends(state).map(move |b| (b, known.get(b.service.as_str()).copied().unwrap_or(0)))
    }

    /// Secrets that are sent: by name, those that chains use.
    pub(super) fn secrets_used(&self, state: usize) -> impl Iterator<Item = &(String, u64)> {
        let by_sds = !self.shape.inline_certificates;
        self.used.iter().filter(move |l| by_sds && l.covers(state)).map(|l| &l.value)
    }

    /// Everything an Envoy holds in this state.
    pub fn state(&self, state: usize) -> State {
        State {
            clusters: self.resources(XdsType::Cluster, state),
            endpoints: self.resources(XdsType::Endpoints, state),
            listeners: self.resources(XdsType::Listener, state),
            routes: self.resources(XdsType::RouteConfig, state),
            secrets: self.resources(XdsType::Secret, state),
        }
    }

    /// Change number `state` changes what the type says, order aside.
    pub fn matters(&self, kind: XdsType, state: usize) -> bool {
        let at = State::TYPES.iter().position(|k| *k == kind);
        at.is_some_and(|at| self.content[state][at] != self.content[state - 1][at])
    }
}

/// States from one on, below another.
type Spans = Vec<(usize, usize)>;

/// One life for each stretch of states that some of `spans` cover.
fn lives<T: Clone>(value: &T, mut spans: Spans) -> Vec<Life<T>> {
    spans.sort_unstable();
    let mut out: Vec<Life<T>> = Vec::new();
    for (from, until) in spans {
        match out.last_mut() {
            Some(last) if from <= last.until => last.until = last.until.max(until),
            _ => out.push(Life { value: value.clone(), from, until }),
        }
    }
    out
}

impl World for History {
    fn types(&self) -> Types {
        let has_sds = !self.shape.inline_certificates;
        State::TYPES.into_iter().filter(|k| has_sds || *k != XdsType::Secret).collect()
    }

    fn content(&self, kind: XdsType, state: usize) -> u64 {
        let at = State::TYPES.iter().position(|k| *k == kind);
        let sum = at.map_or(0, |at| self.content[state][at]);
        // map order: no two builds are alike, as soon as there is something to order
        if kind == XdsType::Listener && !self.shape.sorted && sum != 0 { hash(&(sum, state)) } else { sum }
    }

    fn replaced(&self, from: usize, to: usize, each: &mut dyn FnMut(u32)) {
        let [before, now] = [from, to].map(|s| self.content(XdsType::Listener, s));
        if before != now && before != 0 {
            each(0);
        }
    }

    // a cluster that is new gets its endpoints in the same breath, and no cluster of Contour ever changes: its name has a
    // hash of what it holds. So nothing warms for long

    fn wanted(&self, kind: XdsType, state: usize, held: &dyn Fn(XdsType) -> usize) -> bool {
        // Envoy asks for endpoints and secrets by name; while it needs none there is nobody to answer
        match kind {
            XdsType::Endpoints => self.content[state.min(held(XdsType::Cluster))][0] != 0,
            XdsType::Secret => self.content[state.min(held(XdsType::Listener))][4] != 0,
            _ => true,
        }
    }

    fn asks_anew(&self, kind: XdsType, from: usize, to: usize) -> bool {
        fn new<T>(all: &[Life<T>], from: usize, to: usize) -> bool {
            all.iter().any(|l| !l.covers(from) && l.covers(to))
        }
        match kind {
            XdsType::Endpoints => self.content[from][0] != self.content[to][0] && new(&self.clusters, from, to),
            XdsType::Secret => self.content[from][4] != self.content[to][4] && new(&self.used, from, to),
            _ => false,
        }
    }
}
