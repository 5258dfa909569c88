//! Contour: Kubernetes objects to the two listeners, their routes, clusters and secrets, and the stream of pushes that a
//! version of it makes of a stream of events (contour#499).
//!
//! Shape after `internal/contour` of 0.5 to 1.2: `ingress_http` with one chain, `ingress_https` with one chain per TLS
//! name, a virtual host per name, an EDS cluster per service and port, in v3 form.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::write::{Output, Proxy, State, config_dump, list, server_info};
use super::{Dice, Folder, kubernetes_list, watch_line};
use crate::lab::shapes::{
    assignment, certificate_secret, chain, downstream_tls, eds_cluster, filter, hcm, listener, rds, rsa, sds,
    socket_address, table, vhost, with,
};
use crate::model::ingress::{Backend, Change, Object, Site};
use crate::model::stream::{Us, XdsType};
use crate::sim::control_plane::{Acknowledgements, Arrival, Delivery, Policy, Types, World, batches, deliveries};

/// How Contour writes its listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Certificate and key in each chain (before 0.12), not by SDS.
    pub inline_certificates: bool,
    /// Chains in order (from 0.13, #1126), not as a Go map gives them.
    pub sorted: bool,
    /// One chain for all names of one secret (#1636), not one each.
    pub grouped: bool,
}

impl Shape {
    /// That of a preset of `sim::control_plane`: `contour-0.5` and `-0.6` inline and in map order, `-0.12` by SDS, from
    /// `-0.13` on sorted.
    pub fn of(preset: &str) -> Self {
        let name = preset.split(':').next().unwrap_or("");
        Self {
            inline_certificates: matches!(name, "contour-0.5" | "contour-0.6"),
            sorted: !matches!(name, "contour-0.5" | "contour-0.6" | "contour-0.12"),
            grouped: false,
        }
    }
}

/// Something with the states in which it is there: from one number of changes on, below another.
#[derive(Debug, Clone)]
struct Life<T> {
    value: T,
    from: usize,
    until: usize,
}

impl<T> Life<T> {
    fn covers(&self, state: usize) -> bool {
        (self.from..self.until).contains(&state)
    }
}

/// Lives of values by key; a later one with the same key ends the one before.
#[derive(Debug, Clone)]
struct Lives<T> {
    all: Vec<Life<T>>,
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

    fn at(&self, state: usize) -> impl Iterator<Item = &T> {
        self.all.iter().filter(move |l| l.covers(state)).map(|l| &l.value)
    }
}

/// What a chain is made of: secret, its content, names.
type Group = (String, u64, Vec<String>);

/// Chains as text.
#[derive(Debug, Default)]
pub struct Texts(HashMap<Group, String>);

/// What Contour would hold after each change.
#[derive(Debug, Clone)]
pub struct History {
    shape: Shape,
    sites: Lives<Site>,
    secrets: Lives<(String, u64)>,
    services: Lives<String>,
    endpoints: Lives<(String, u32)>,
    arrivals: Vec<Arrival>,
    /// Sums of hashes by state: clusters, endpoints, listeners, routes, secrets.
    content: Vec<[u64; 5]>,
}

fn hash(value: &impl std::hash::Hash) -> u64 {
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
            content: vec![[0; 5]],
        };
        let mut names: HashMap<String, Vec<String>> = HashMap::new();
        let all: Types = State::TYPES.into_iter().collect();
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
                    all
                }
                Object::Secret(key, content) => {
                    let value = (!change.gone).then(|| (key.clone(), *content));
                    history.secrets.change(key, value, state);
                    all
                }
                Object::Service(key) => {
                    history.services.change(key, (!change.gone).then(|| key.clone()), state);
                    all
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
        history.sum(changes.len());
        history
    }

    /// Sums up, for every state, what each type consists of. A chain is there while its site and its secret are.
    fn sum(&mut self, states: usize) {
        let mut steps = vec![[0_u64; 5]; states + 2];
        let mut add = |kind: usize, from: usize, until: usize, value: u64| {
            if from < until {
                steps[from][kind] = steps[from][kind].wrapping_add(value);
                if until <= states {
                    steps[until][kind] = steps[until][kind].wrapping_sub(value);
                }
            }
        };
        let mut secrets: HashMap<&str, Vec<&Life<(String, u64)>>> = HashMap::new();
        for life in &self.secrets.all {
            secrets.entry(&life.value.0).or_default().push(life);
        }
        let services: BTreeMap<&str, Vec<&Life<String>>> =
            self.services.all.iter().fold(BTreeMap::new(), |mut m, l| {
                m.entry(l.value.as_str()).or_insert_with(Vec::new).push(l);
                m
            });
        for life in &self.sites.all {
            add(3, life.from, life.until, hash(&life.value));
            for backend in &life.value.backends {
                for service in services.get(backend.service.as_str()).into_iter().flatten() {
                    let (from, until) = (life.from.max(service.from), life.until.min(service.until));
                    add(0, from, until, hash(&(&backend.service, &backend.port)));
                }
            }
            for secret in life.value.secret.iter().flat_map(|s| secrets.get(s.as_str()).into_iter().flatten()) {
                let (from, until) = (life.from.max(secret.from), life.until.min(secret.until));
                let content = if self.shape.inline_certificates { secret.value.1 } else { 0 };
                add(2, from, until, hash(&(&life.value.fqdn, &secret.value.0, content)));
                if !self.shape.inline_certificates {
                    add(4, from, until, hash(&secret.value));
                }
            }
        }
        for life in &self.endpoints.all {
            add(1, life.from, life.until, hash(&life.value));
        }
        let mut now = [0_u64; 5];
        self.content.clear();
        for step in steps.iter().take(states + 1) {
            for (sum, s) in now.iter_mut().zip(step) {
                *sum = sum.wrapping_add(*s);
            }
            self.content.push(now);
        }
    }

    /// The changes as they reach the batching.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// The pushes that `policy` makes of the changes.
    pub fn deliveries(&self, policy: &Policy, acks: &Acknowledgements) -> Vec<Delivery> {
        let mut all = deliveries(&batches(&self.arrivals, &policy.window, policy.eds_bypass), policy, self, acks);
        for d in &mut all {
            // Envoy asks for endpoints and secrets by name; while it needs none there is nobody to answer
            let by_name = matches!(d.kind, XdsType::Endpoints | XdsType::Secret);
            d.sent &= !by_name || self.asked_for(d.kind, d.upto);
        }
        all
    }

    /// Names with a certificate that is there, in the order in which this shape writes them.
    fn secured(&self, state: usize) -> Vec<(&Site, &str, u64)> {
        let secrets: HashMap<&str, u64> = self.secrets.at(state).map(|(k, c)| (k.as_str(), *c)).collect();
        let mut sites: Vec<_> = self
            .sites
            .at(state)
            .filter_map(|s| {
                let secret = s.secret.as_deref()?;
                Some((s, secret, *secrets.get(secret)?))
            })
            .collect();
        sites.sort_by(|a, b| a.0.fqdn.cmp(&b.0.fqdn));
        if !self.shape.sorted {
            Dice::new(state as u64).shuffle(&mut sites);
        }
        sites
    }

    /// The filter chains of `ingress_https` in this state, by what they are made of.
    fn groups(&self, state: usize) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut place: HashMap<&str, usize> = HashMap::new();
        for (site, secret, content) in self.secured(state) {
            let last = groups.len();
            let at = if self.shape.grouped { *place.entry(secret).or_insert(last) } else { last };
            if at == last {
                groups.push((secret.to_owned(), content, Vec::new()));
            }
            groups[at].2.push(site.fqdn.clone());
        }
        groups
    }

    fn chain(&self, (secret, content, names): &Group) -> Value {
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
    fn listeners(&self, chains: Vec<Value>) -> Vec<Value> {
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
    pub fn write(&self, kind: XdsType, state: usize, texts: &mut Texts, out: &mut dyn Write) -> io::Result<()> {
        if kind != XdsType::Listener {
            return list(out, &self.resources(kind, state));
        }
        const MARK: &str = "\"filter_chains\":[\"";
        let chains = self.groups(state);
        let listeners = self.listeners(if chains.is_empty() { vec![] } else { vec!["".into()] });
        for (i, listener) in listeners.iter().enumerate() {
            let text = listener.to_string();
            out.write_all(if i > 0 { b"," } else { b"" })?;
            let Some((head, tail)) = text.split_once(MARK) else {
                out.write_all(text.as_bytes())?;
                continue;
            };
            write!(out, "{head}{}", MARK.trim_end_matches('"'))?;
            for (n, group) in chains.iter().enumerate() {
                out.write_all(if n > 0 { b"," } else { b"" })?;
                let text = match texts.0.get(group) {
                    Some(text) => text,
                    None => {
                        let text = self.chain(group).to_string();
                        texts.0.entry(group.clone()).or_insert(text)
                    }
                };
                out.write_all(text.as_bytes())?;
            }
            out.write_all(tail.trim_start_matches('"').as_bytes())?;
        }
        Ok(())
    }

    /// The resources of a type.
    pub fn resources(&self, kind: XdsType, state: usize) -> Vec<Value> {
        match kind {
            XdsType::Listener => self.listeners(self.groups(state).iter().map(|g| self.chain(g)).collect()),
            XdsType::RouteConfig => {
                let mut sites: Vec<&Site> = self.sites.at(state).collect();
                sites.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
                let plain = sites.into_iter().map(host).collect();
                let secured = self.secured(state);
                let mut tables = vec![table("ingress_http", plain)];
                if !secured.is_empty() {
                    let mut secured: Vec<&Site> = secured.into_iter().map(|s| s.0).collect();
                    secured.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
                    tables.push(table("ingress_https", secured.into_iter().map(host).collect()));
                }
                tables
            }
            XdsType::Cluster => self.backends(state).values().map(cluster).collect(),
            XdsType::Endpoints => {
                let known: BTreeMap<&str, u32> = self.endpoints.at(state).map(|(k, n)| (k.as_str(), *n)).collect();
                let count = |b: &Backend| known.get(b.service.as_str()).copied().unwrap_or(0);
                self.backends(state).values().map(|b| load(b, count(b))).collect()
            }
            XdsType::Secret if !self.shape.inline_certificates => {
                let used: BTreeMap<&str, u64> = self.secured(state).into_iter().map(|(_, s, c)| (s, c)).collect();
                used.into_iter().map(|(s, c)| certificate_secret(&secret_name(s), certificate(s, c))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Backends that sites refer to and whose Service is there, by cluster name.
    fn backends(&self, state: usize) -> BTreeMap<String, Backend> {
        let there: std::collections::HashSet<&str> = self.services.at(state).map(String::as_str).collect();
        let all = self.sites.at(state).flat_map(|s| &s.backends);
        all.filter(|b| there.contains(b.service.as_str())).map(|b| (cluster_name(b), b.clone())).collect()
    }

    /// Envoy needs a resource of this type, which it asks for by name.
    fn asked_for(&self, kind: XdsType, state: usize) -> bool {
        let [clusters, _, _, _, secrets] = self.content[state];
        (if kind == XdsType::Secret { secrets } else { clusters }) != 0
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
}

/// One recording that has every chain, host and other resource of some states once, and what each state is made of.
#[derive(Debug)]
pub struct Kit {
    /// The recording: five responses, the last one of empty route tables.
    pub recording: Vec<u8>,
    chains: HashMap<Group, u32>,
    places: HashMap<(XdsType, String), u32>,
    hosts: [u64; 2],
}

/// A resource of a state, as parts of a [`Kit`]. Pushes are counted in the order of the kit's recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// As it stands in the kit: push and position.
    Whole(usize, u32),
    /// The listener at this place with these of its chains.
    Chains(usize, u32, Vec<u32>),
    /// The route table at this place of the full and of the empty tables, with that many of its hosts, and its hash.
    Hosts(u32, u64, u64, u64),
}

/// Pushes of a kit's recording.
pub const KIT_PUSHES: usize = 6;
/// The one with full route tables.
pub const FULL_TABLES: usize = 3;
/// The one with empty route tables.
pub const EMPTY_TABLES: usize = 5;

impl History {
    /// The kit of these states.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn kit(&self, states: &[usize]) -> io::Result<Kit> {
        let mut chains: HashMap<Group, u32> = HashMap::new();
        let mut values = Vec::new();
        for state in states {
            for group in self.groups(*state) {
                let next = chains.len() as u32;
                chains.entry(group).or_insert_with_key(|g| {
                    values.push(self.chain(g));
                    next
                });
            }
        }
        // every site, service and secret that there ever was
        let mut all: Vec<Site> = self.sites.all.iter().map(|l| l.value.clone()).collect();
        all.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
        all.dedup_by(|a, b| a.fqdn == b.fqdn);
        let backends: BTreeMap<String, Backend> =
            all.iter().flat_map(|s| &s.backends).map(|b| (cluster_name(b), b.clone())).collect();
        let mut places = HashMap::new();
        let mut place = |kind, key: String, list: &mut Vec<Value>, value: Value| {
            places.entry((kind, key)).or_insert_with(|| {
                list.push(value);
                list.len() as u32 - 1
            });
        };
        let (mut clusters, mut endpoints, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        for (name, backend) in &backends {
            place(XdsType::Cluster, name.clone(), &mut clusters, cluster(backend));
            for count in
                self.endpoints.all.iter().filter(|l| l.value.0 == backend.service).map(|l| l.value.1).chain([0])
            {
                place(XdsType::Endpoints, format!("{name} {count}"), &mut endpoints, load(backend, count));
            }
        }
        for life in self.secrets.all.iter().filter(|_| !self.shape.inline_certificates) {
            let (name, content) = &life.value;
            let value = certificate_secret(&secret_name(name), certificate(name, *content));
            place(XdsType::Secret, format!("{name} {content}"), &mut secrets, value);
        }
        let secured: Vec<&Site> = all.iter().filter(|s| s.secret.is_some()).collect();
        let full = vec![
            table("ingress_http", all.iter().map(host).collect()),
            table("ingress_https", secured.iter().map(|s| host(s)).collect()),
        ];
        let empty = vec![table("ingress_http", vec![]), table("ingress_https", vec![])];
        let hosts = [all.len() as u64, secured.len() as u64];
        let mut recording = Vec::new();
        let mut out = Output::new(&mut recording);
        let pushes = [
            (XdsType::Cluster, clusters),
            (XdsType::Endpoints, endpoints),
            (XdsType::Listener, self.listeners(values)),
            (XdsType::RouteConfig, full),
            (XdsType::Secret, secrets),
            (XdsType::RouteConfig, empty),
        ];
        for (kind, values) in &pushes {
            out.sotw_values(0, *kind, "kit", values)?;
        }
        Ok(Kit { recording, chains, places, hosts })
    }

    /// What a type consists of in a state whose chains are in the kit.
    pub fn parts(&self, kit: &Kit, kind: XdsType, state: usize) -> Vec<Part> {
        let whole = |push: usize, key: String| kit.places.get(&(kind, key)).map(|at| Part::Whole(push, *at));
        match kind {
            XdsType::Listener => {
                let chains: Vec<u32> = self.groups(state).iter().filter_map(|g| kit.chains.get(g).copied()).collect();
                let http = [Part::Whole(2, 0)];
                let https = (!chains.is_empty()).then_some(Part::Chains(2, 1, chains));
                http.into_iter().chain(https).collect()
            }
            XdsType::RouteConfig => {
                let plain = self.sites.at(state).count() as u64;
                let secured = self.secured(state).len() as u64;
                let sum = |salt: u64| hash(&(self.content[state][3], self.content[state][2].wrapping_mul(salt), salt));
                let http = [Part::Hosts(0, plain, kit.hosts[0], sum(0))];
                let https = (secured > 0).then(|| Part::Hosts(1, secured, kit.hosts[1], sum(1)));
                http.into_iter().chain(https).collect()
            }
            XdsType::Cluster => self.backends(state).into_keys().filter_map(|name| whole(0, name)).collect(),
            XdsType::Endpoints => {
                let known: BTreeMap<&str, u32> = self.endpoints.at(state).map(|(k, n)| (k.as_str(), *n)).collect();
                let key = |(name, b): (String, Backend)| {
                    whole(1, format!("{name} {}", known.get(b.service.as_str()).copied().unwrap_or(0)))
                };
                self.backends(state).into_iter().filter_map(key).collect()
            }
            XdsType::Secret => {
                let used: BTreeMap<&str, u64> = self.secured(state).into_iter().map(|(_, s, c)| (s, c)).collect();
                used.into_iter().filter_map(|(name, content)| whole(4, format!("{name} {content}"))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Change number `state` changes what the type says, order aside.
    pub fn matters(&self, kind: XdsType, state: usize) -> bool {
        let at = State::TYPES.iter().position(|k| *k == kind);
        at.is_some_and(|at| self.content[state][at] != self.content[state - 1][at])
    }
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

    // a cluster of Contour does not change: its name has a hash of what it holds
    fn warms(&self, _: usize, _: usize) -> bool {
        false
    }

    fn rejected(&self, _: XdsType, _: usize) -> bool {
        false
    }
}

fn http(table: &str) -> Value {
    let log = filter(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        json!({"path": "/dev/stdout"}),
    );
    let gzip = filter(
        "envoy.filters.http.compressor",
        "envoy.extensions.filters.http.compressor.v3.Compressor",
        json!({"compressor_library": filter("gzip", "envoy.extensions.compression.gzip.compressor.v3.Gzip", json!({}))}),
    );
    let grpc_web =
        filter("envoy.filters.http.grpc_web", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", json!({}));
    hcm(
        table,
        rds(table),
        vec![gzip, grpc_web],
        json!({"access_log": [log], "use_remote_address": true, "normalize_path": true,
            "common_http_protocol_options": {"idle_timeout": "60s"}, "http_protocol_options": {"accept_http_10": true}}),
    )
}

fn host(site: &Site) -> Value {
    let routes = site.backends.iter().map(|b| {
        json!({"match": {"prefix": b.path}, "route": {"cluster": cluster_name(b), "timeout": "15s",
        "retry_policy": {"retry_on": "5xx", "num_retries": 1}}})
    });
    vhost(&site.fqdn, &[site.fqdn.clone(), format!("{}:*", site.fqdn)], routes.collect())
}

fn cluster(backend: &Backend) -> Value {
    with(
        eds_cluster(&cluster_name(backend)),
        json!({"alt_stat_name": format!("{}_{}", backend.service.replace('/', "_"), backend.port), "connect_timeout": "0.25s",
            "eds_cluster_config": {"service_name": service_name(backend)},
            "common_lb_config": {"healthy_panic_threshold": {}}}),
    )
}

fn load(backend: &Backend, count: u32) -> Value {
    let seed = xxh3_64(backend.service.as_bytes()) as usize % 4000;
    assignment(&service_name(backend), seed, count as usize)
}

fn cluster_name(backend: &Backend) -> String {
    let id = xxh3_64(format!("{}/{}", backend.service, backend.port).as_bytes());
    format!("{}/{}/{:010x}", backend.service, backend.port, id & 0xff_ffff_ffff)
}

fn service_name(backend: &Backend) -> String {
    format!("{}/{}", backend.service, backend.port)
}

fn secret_name(secret: &str) -> String {
    format!("{secret}/{:010x}", xxh3_64(secret.as_bytes()) & 0xff_ffff_ffff)
}

/// The lab's throw-away certificate. What stands before the PEM block is skipped by every reader of PEM, so that each
/// secret, and each version of it, has content of its own.
fn certificate(secret: &str, content: u64) -> Value {
    let mut both = rsa();
    for part in ["certificate_chain", "private_key"] {
        let text = both[part]["inline_string"].as_str().unwrap_or("").to_owned();
        both[part]["inline_string"] = format!("{secret} {content:016x}\n{text}").into();
    }
    both
}

/// What is generated.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ingresses.
    pub ingresses: u32,
    /// They have TLS.
    pub tls: bool,
    /// They are applied in blocks of this many.
    pub block: u32,
    /// Names that share a certificate.
    pub names_per_secret: u32,
    /// After all are there, they are deleted in the same blocks.
    pub delete: bool,
    /// The version of Contour, by name of its policy.
    pub policy: Policy,
    /// How it writes its listeners.
    pub shape: Shape,
}

/// How long Envoy takes to answer here: what a small configuration was measured at.
pub const ANSWER: Us = Us(10_000);

/// What Contour's Envoy is started with: no `--drain-time-s` in any of its deployments.
pub const DRAIN_S: u64 = 600;

/// Answers after [`ANSWER`]; a drain takes `drain_s` seconds.
pub fn answers(drain_s: u64) -> Acknowledgements {
    Acknowledgements { latency: [ANSWER; 9], fetch_timeout: Us(15_000_000), drain: Us(drain_s as i64 * 1_000_000) }
}

/// The stream of events: ten services from the start, then ingresses (each after the secret it is the first to use),
/// 170 ms apart on average as contour#499 has it, 13 s between blocks; and all the while a secret that nobody refers to
/// changes every 10 s.
pub fn events(options: &Options) -> Vec<(i64, &'static str, Value)> {
    let mut out: Vec<(i64, &'static str, Value)> = Vec::new();
    for i in 0..10 {
        out.push((0, "ADDED", service(i)));
        out.push((0, "ADDED", endpoints(i)));
    }
    let mut dice = Dice::new(499);
    let mut t = 10_000_000_i64;
    let block = options.block.max(1);
    let shared = options.names_per_secret.max(1);
    for i in 0..options.ingresses {
        if i > 0 && i % block == 0 {
            t += 13_000_000;
        }
        if options.tls && i % shared == 0 {
            out.push((t, "ADDED", secret("default", &format!("tls-{:05}", i / shared), 0)));
            t += 20_000;
        }
        out.push((t, "ADDED", ingress(i, options.tls.then_some(i / shared))));
        t += 40_000 + dice.below(260_000) as i64;
    }
    if options.delete {
        t += 60_000_000;
        for i in 0..options.ingresses {
            if i > 0 && i % block == 0 {
                t += 13_000_000;
            }
            out.push((t, "DELETED", ingress(i, options.tls.then_some(i / shared))));
            t += 40_000 + dice.below(260_000) as i64;
        }
    }
    let end = t;
    for n in 0..(end - 5_000_000).max(0) / 10_000_000 {
        out.push((5_000_000 + n * 10_000_000, "MODIFIED", secret("kube-system", "release-history", n as u64 + 1)));
    }
    out.sort_by_key(|(t, ..)| *t);
    for (n, (_, _, object)) in out.iter_mut().enumerate() {
        object["metadata"]["resourceVersion"] = (1000 + n).to_string().into();
    }
    out
}

fn service(i: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("backend-{i}"), "namespace": "default", "uid": format!("service-{i}")},
        "spec": {"type": "ClusterIP", "clusterIP": format!("10.96.0.{}", 10 + i), "selector": {"app": format!("backend-{i}")},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}})
}

fn endpoints(i: u32) -> Value {
    let addresses: Vec<Value> = (0..2).map(|k| json!({"ip": format!("10.244.{i}.{}", 10 + k)})).collect();
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": format!("backend-{i}"), "namespace": "default", "uid": format!("endpoints-{i}")},
        "subsets": [{"addresses": addresses, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}]})
}

fn secret(namespace: &str, name: &str, change: u64) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("secret-{name}")}});
    if change > 0 {
        object["metadata"]["annotations"] = json!({"example.com/change": change.to_string()});
    }
    object
}

fn ingress(i: u32, secret: Option<u32>) -> Value {
    let host = format!("app-{i:05}.example.com");
    let backend = json!({"service": {"name": format!("backend-{}", i % 10), "port": {"number": 80}}});
    let mut spec = json!({"rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]});
    if let Some(secret) = secret {
        spec["tls"] = json!([{"hosts": [host], "secretName": format!("tls-{secret:05}")}]);
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": format!("app-{i:05}"), "namespace": "default", "uid": format!("ingress-{i}")}, "spec": spec})
}

/// One of the objects above as Contour looks at it.
fn object(object: &Value) -> Object {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let key = format!("{}/{}", text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    match object["kind"].as_str().unwrap_or("") {
        "Ingress" => {
            let rule = &object["spec"]["rules"][0];
            let backend = Backend {
                path: "/".to_owned(),
                service: format!("default/{}", text(&rule["http"]["paths"][0]["backend"]["service"]["name"])),
                port: "80".to_owned(),
            };
            let secret = object["spec"]["tls"][0]["secretName"].as_str().map(|s| format!("default/{s}"));
            Object::Ingress(key, vec![Site { fqdn: text(&rule["host"]), secret, backends: vec![backend] }])
        }
        "Secret" => Object::Secret(key, hash(&object["metadata"]["annotations"].to_string())),
        "Service" => Object::Service(key),
        "Endpoints" => Object::Endpoints(key, 2),
        _ => Object::Other,
    }
}

/// Generates the case.
///
/// # Errors
/// Those of the files.
pub fn generate(options: &Options, folder: &mut dyn Folder) -> io::Result<()> {
    let events = events(options);
    folder.file("watch.jsonl.gz", &mut |out| {
        events.iter().try_for_each(|(t, kind, object)| watch_line(out, *t, kind, object))
    })?;
    let mut objects: BTreeMap<(String, String), &Value> = BTreeMap::new();
    for (_, kind, object) in &events {
        let key = (object["kind"].to_string(), object["metadata"]["uid"].to_string());
        if *kind == "DELETED" {
            objects.remove(&key)
        } else {
            objects.insert(key, object)
        };
    }
    let objects: Vec<Value> = objects.into_values().cloned().collect();
    kubernetes_list(folder, &objects)?;
    let changes: Vec<Change> = events
        .iter()
        .map(|(t, kind, value)| Change { t: Us(*t), object: object(value), gone: *kind == "DELETED" })
        .collect();
    let history = History::new(options.shape, &changes);
    let deliveries = history.deliveries(&options.policy, &answers(DRAIN_S));
    let end = deliveries.last().map_or(0, |d| d.t.0);
    folder.file("recording.jsonl.gz", &mut |out| {
        let mut recording = Output::new(out);
        let mut texts = Texts::default();
        for d in deliveries.iter().filter(|d| d.sent) {
            // what the version counts is rebuilds, and each has its state
            let version = d.upto.to_string();
            recording.sotw(d.t.0, d.kind, &version, &mut |out| history.write(d.kind, d.upto, &mut texts, out))?;
        }
        Ok(())
    })?;
    let proxy = Proxy {
        node: "contour-envoy-0".into(),
        cluster: "heptio-contour".into(),
        workers: 2,
        drain_s: DRAIN_S,
        immediate: false,
        delta: false,
        bootstrap: json!({}),
    };
    server_info(folder, &proxy)?;
    config_dump(folder, &proxy, &history.state(changes.len()), end)
}
