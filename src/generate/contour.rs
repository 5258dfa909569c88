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

/// What a path of a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Path prefix.
    pub path: String,
    /// `namespace/service`.
    pub service: String,
    /// Port, by number or name.
    pub port: String,
}

/// A name that an Ingress serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// The name.
    pub fqdn: String,
    /// `namespace/name` of its certificate.
    pub secret: Option<String>,
    /// Its paths.
    pub backends: Vec<Backend>,
}

/// A Kubernetes object, as far as it matters here. Keys are `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// An Ingress with its names.
    Ingress(String, Vec<Site>),
    /// A TLS secret, with what tells its content apart.
    Secret(String, u64),
    /// A Service.
    Service(String),
    /// Endpoints: number of addresses.
    Endpoints(String, u32),
    /// Something that Contour does not look at.
    Other,
}

/// An object was there from now on, or no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub t: Us,
    /// What; its content does not matter when it is gone.
    pub object: Object,
    /// `DELETED`.
    pub gone: bool,
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
            XdsType::Listener => {
                self.listeners(self.groups(state).iter().map(|g| self.chain(g)).collect())
            }
            XdsType::RouteConfig => {
                let mut sites: Vec<&Site> = self.sites.at(state).collect();
                sites.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
                let host = |site: &Site| {
                    let routes = site.backends.iter().map(|b| json!({"match": {"prefix": b.path}, "route": {"cluster": cluster_name(b), "timeout": "15s",
                        "retry_policy": {"retry_on": "5xx", "num_retries": 1}}}));
                    vhost(&site.fqdn, &[site.fqdn.clone(), format!("{}:*", site.fqdn)], routes.collect())
                };
                let plain = sites.iter().map(|s| host(s)).collect();
                let secured = self.secured(state);
                let mut tables = vec![table("ingress_http", plain)];
                if !secured.is_empty() {
                    let mut secured: Vec<&Site> = secured.into_iter().map(|s| s.0).collect();
                    secured.sort_by(|a, b| a.fqdn.cmp(&b.fqdn));
                    tables.push(table("ingress_https", secured.into_iter().map(host).collect()));
                }
                tables
            }
            XdsType::Cluster => self
                .backends(state)
                .into_values()
                .map(|b| {
                    with(
                        eds_cluster(&cluster_name(&b)),
                        json!({"alt_stat_name": format!("{}_{}", b.service.replace('/', "_"), b.port), "connect_timeout": "0.25s",
                        "eds_cluster_config": {"service_name": service_name(&b)},
                        "common_lb_config": {"healthy_panic_threshold": {}}}),
                    )
                })
                .collect(),
            XdsType::Endpoints => {
                let known: BTreeMap<&str, u32> = self.endpoints.at(state).map(|(k, n)| (k.as_str(), *n)).collect();
                self.backends(state)
                    .into_values()
                    .map(|b| {
                        let seed = xxh3_64(b.service.as_bytes()) as usize % 4000;
                        let count = known.get(b.service.as_str()).copied().unwrap_or(0) as usize;
                        assignment(&service_name(&b), seed, count)
                    })
                    .collect()
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

/// What Contour makes of a Kubernetes object.
pub fn object(object: &Value) -> Object {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
    let key = format!("{namespace}/{}", text(&object["metadata"]["name"]));
    fn list(v: &Value) -> &[Value] {
        v.as_array().map_or(&[], Vec::as_slice)
    }
    match object["kind"].as_str().unwrap_or("") {
        "Ingress" => {
            let spec = &object["spec"];
            let secret_of = |host: &str| {
                let tls = list(&spec["tls"]);
                let entry = tls.iter().find(|t| list(&t["hosts"]).iter().any(|h| h == host))?;
                Some(format!("{namespace}/{}", entry["secretName"].as_str()?))
            };
            let sites = list(&spec["rules"]).iter().map(|rule| {
                let fqdn = rule["host"].as_str().unwrap_or("*").to_owned();
                let backends = list(&rule["http"]["paths"]).iter().map(|path| {
                    let backend = &path["backend"];
                    // networking.k8s.io/v1, or v1beta1 and extensions
                    let name = backend["service"]["name"].as_str().or(backend["serviceName"].as_str()).unwrap_or("");
                    let port = [
                        &backend["service"]["port"]["number"],
                        &backend["service"]["port"]["name"],
                        &backend["servicePort"],
                    ];
                    let port = port
                        .into_iter()
                        .find(|p| !p.is_null())
                        .map_or(String::new(), |p| p.to_string().replace('"', ""));
                    Backend {
                        path: path["path"].as_str().unwrap_or("/").to_owned(),
                        service: format!("{namespace}/{name}"),
                        port,
                    }
                });
                Site { secret: secret_of(&fqdn), fqdn, backends: backends.collect() }
            });
            Object::Ingress(key, sites.collect())
        }
        "Secret" => {
            // without its bytes, what a change of it shows is its version
            let content = object["metadata"]["annotations"].to_string() + &object["data"].to_string();
            Object::Secret(key, xxh3_64(content.as_bytes()))
        }
        "Service" => Object::Service(key),
        "Endpoints" => {
            let count: usize = list(&object["subsets"]).iter().map(|s| list(&s["addresses"]).len()).sum();
            Object::Endpoints(key, count as u32)
        }
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
    let history = History::new(Shape::of(&options.policy.name), &changes);
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
