//! Random streams: a seed is a shape (sizes, protocol, what listeners and clusters look like), and every second some things
//! happen to it that happen to real meshes.

use std::collections::{BTreeMap, BTreeSet};

use meshdump::lab::shapes::{
    assignment, ca_secret, certificate_secret, downstream_tls, ecdsa, eds_cluster, endpoint, filter, hcm, inline,
    listener, plain_cluster, rds, roots, route, rsa, sds, table, tcp_proxy, upstream_tls, vhost, with,
};
use meshdump::lab::types;
use serde_json::{Value, json};

use super::{Response, Second, Stream, name};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to and including `high`.
    fn range(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.range(1, n) == 1
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        (!list.is_empty()).then(|| &list[self.range(0, list.len() - 1)])
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.range(0, i));
        }
    }
}

#[derive(Clone, PartialEq)]
enum Tls {
    None,
    Inline { ecdsa: bool },
    Sds(String),
}

#[derive(Clone, PartialEq)]
enum Routes {
    Inline {
        hosts: usize,
        revision: usize,
    },
    Rds(String),
    /// No HTTP: a TCP proxy.
    Tcp,
}

#[derive(Clone, PartialEq)]
struct Chain {
    id: usize,
    routes: Routes,
    tls: Tls,
}

#[derive(Clone, PartialEq)]
struct Edge {
    chains: Vec<Chain>,
    default: bool,
    buffer: usize,
    inspectors: Vec<&'static str>,
}

#[derive(Clone)]
struct Upstream {
    revision: usize,
    hosts: usize,
    /// Endpoints as they were first, or turned round.
    turned: bool,
}

/// What a stream's listeners and clusters look like.
struct Shape {
    chains: (usize, usize),
    hosts: (usize, usize),
    inline_routes: bool,
    tcp: bool,
    tls: usize,
    filters: Vec<Value>,
    access_log: bool,
    static_clusters: bool,
    balancer: &'static str,
    upstream_tls: usize,
    endpoints: (usize, usize),
}

struct World {
    dice: Dice,
    delta: bool,
    shape: Shape,
    edges: BTreeMap<String, Edge>,
    before: BTreeMap<String, Edge>,
    removed: Vec<(String, Edge)>,
    upstreams: BTreeMap<String, Upstream>,
    /// Virtual hosts and revision.
    tables: BTreeMap<String, (usize, usize)>,
    /// Revision.
    secrets: BTreeMap<String, usize>,
    /// Tables that are not answered before this second.
    held: BTreeMap<String, usize>,
    next: usize,
    second: usize,
    dirty: BTreeSet<(&'static str, String)>,
    gone: BTreeSet<(&'static str, String)>,
    /// Listeners that are sent broken this once.
    broken: BTreeSet<String>,
    twice: bool,
    late_endpoints: BTreeMap<String, usize>,
}

const TABLES: usize = 4;
const SECRETS: usize = 5;
/// Ends between two readings, so that none is ambiguous.
const TIMEOUT: &str = "1.7s";

impl World {
    fn new(seed: u64) -> (Self, usize, u64) {
        let mut dice = Dice(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let delta = dice.one_in(4);
        let (listeners, chains) = match dice.range(0, 3) {
            0 => (dice.range(1, 2), (4, 40)),
            1 => (dice.range(2, 6), (1, 12)),
            2 => (dice.range(10, 60), (1, 2)),
            _ => (1, (20, 120)),
        };
        let clusters = match dice.range(0, 3) {
            0 => 0,
            1 => dice.range(5, 30),
            2 => dice.range(30, 120),
            _ => dice.range(100, 300),
        };
        let all = [
            filter("envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.Cors", json!({})),
            filter("envoy.filters.http.grpc_web", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", json!({})),
            filter("envoy.filters.http.fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", json!({})),
            filter(
                "envoy.filters.http.rbac",
                "envoy.extensions.filters.http.rbac.v3.RBAC",
                json!({"rules": {"policies": {
                "all": {"permissions": [{"any": true}], "principals": [{"any": true}]}}}}),
            ),
        ];
        let filters = all.into_iter().filter(|_| dice.one_in(3)).collect();
        let shape = Shape {
            chains,
            hosts: (1, *dice.pick(&[2, 10, 40]).unwrap()),
            inline_routes: dice.one_in(2),
            tcp: dice.one_in(4),
            tls: dice.range(0, 3),
            filters,
            access_log: dice.one_in(3),
            static_clusters: dice.one_in(4),
            balancer: dice.pick(&["ROUND_ROBIN", "ROUND_ROBIN", "LEAST_REQUEST", "RING_HASH", "MAGLEV"]).unwrap(),
            upstream_tls: dice.range(0, 3),
            endpoints: (1, *dice.pick(&[2, 6, 20]).unwrap()),
        };
        let (seconds, drain) = (dice.range(10, 14), dice.range(3, 6) as u64);
        let mut world = Self {
            dice,
            delta,
            shape,
            edges: BTreeMap::new(),
            before: BTreeMap::new(),
            removed: Vec::new(),
            upstreams: BTreeMap::new(),
            tables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            held: BTreeMap::new(),
            next: 0,
            second: 0,
            dirty: BTreeSet::new(),
            gone: BTreeSet::new(),
            broken: BTreeSet::new(),
            twice: false,
            late_endpoints: BTreeMap::new(),
        };
        for i in 0..TABLES {
            let hosts = world.dice.range(world.shape.hosts.0, world.shape.hosts.1 * 4);
            world.tables.insert(format!("table-{i}"), (hosts, 0));
        }
        for i in 0..SECRETS {
            world.secrets.insert(format!("secret-{i}"), 0);
        }
        world.add_clusters(clusters);
        world.add_listeners(listeners);
        (world, seconds, drain)
    }

    fn id(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn chain(&mut self) -> Chain {
        let id = self.id();
        let (tcp, inline) = (self.shape.tcp && self.dice.one_in(2), self.shape.inline_routes && !self.dice.one_in(4));
        let routes = if tcp {
            Routes::Tcp
        } else if inline {
            Routes::Inline { hosts: self.dice.range(self.shape.hosts.0, self.shape.hosts.1), revision: 0 }
        } else {
            Routes::Rds(format!("table-{}", self.dice.range(0, TABLES - 1)))
        };
        let tls = match self.shape.tls {
            0 => Tls::None,
            1 => Tls::Inline { ecdsa: self.dice.one_in(2) },
            2 => Tls::Sds(format!("secret-{}", self.dice.range(0, SECRETS - 1))),
            _ => match self.dice.range(0, 2) {
                0 => Tls::None,
                1 => Tls::Inline { ecdsa: self.dice.one_in(2) },
                _ => Tls::Sds(format!("secret-{}", self.dice.range(0, SECRETS - 1))),
            },
        };
        Chain { id, routes, tls }
    }

    fn add_listeners(&mut self, n: usize) {
        for _ in 0..n {
            let chains = self.dice.range(self.shape.chains.0, self.shape.chains.1);
            let edge = Edge {
                chains: (0..chains).map(|_| self.chain()).collect(),
                default: self.dice.one_in(8),
                buffer: 0,
                inspectors: if self.dice.one_in(3) { vec!["tls_inspector"] } else { Vec::new() },
            };
            let name = format!("listener-{}", self.id());
            self.put(name, edge);
        }
    }

    fn put(&mut self, name: String, edge: Edge) {
        if let Some(old) = self.edges.insert(name.clone(), edge) {
            self.before.insert(name.clone(), old);
        }
        self.gone.remove(&(types::LISTENER, name.clone()));
        self.dirty.insert((types::LISTENER, name));
    }

    fn add_clusters(&mut self, n: usize) {
        for _ in 0..n {
            let hosts = self.dice.range(self.shape.endpoints.0, self.shape.endpoints.1);
            let name = format!("cluster-{}", self.id());
            self.dirty.insert((types::CLUSTER, name.clone()));
            self.dirty.insert((types::ENDPOINT, name.clone()));
            self.upstreams.insert(name, Upstream { revision: 0, hosts, turned: false });
        }
    }

    fn some_edge(&mut self) -> Option<(String, Edge)> {
        let names: Vec<String> = self.edges.keys().cloned().collect();
        let name = self.dice.pick(&names)?.clone();
        let edge = self.edges[&name].clone();
        Some((name, edge))
    }

    fn some_clusters(&mut self) -> Vec<String> {
        let mut names: Vec<String> = self.upstreams.keys().cloned().collect();
        self.dice.shuffle(&mut names);
        let most = (names.len() / 3).max(1);
        names.truncate(self.dice.range(1, most));
        names
    }

    /// Something happens.
    fn happen(&mut self) {
        let what = self.dice.range(0, 23);
        match what {
            // growth by blocks
            0 | 1 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    let most = (edge.chains.len() / 2).clamp(1, 30);
                    for _ in 0..self.dice.range(1, most) {
                        let chain = self.chain();
                        edge.chains.push(chain);
                    }
                    if self.dice.one_in(4) {
                        self.dice.shuffle(&mut edge.chains);
                    }
                    self.put(name, edge);
                }
            }
            2 => {
                let n = self.dice.range(1, 3);
                self.add_listeners(n);
            }
            // removal, and the same again later
            3 => {
                if let Some((name, edge)) = self.some_edge() {
                    self.edges.remove(&name);
                    self.dirty.remove(&(types::LISTENER, name.clone()));
                    self.gone.insert((types::LISTENER, name.clone()));
                    self.removed.push((name, edge));
                }
            }
            4 => {
                if let Some((name, edge)) = self.removed.pop() {
                    self.put(name, edge);
                }
            }
            // order only
            5 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    self.dice.shuffle(&mut edge.chains);
                    self.put(name, edge);
                }
            }
            // outside the chains: the listener is replaced whole
            6 | 7 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    edge.buffer += 1;
                    self.put(name, edge);
                }
            }
            8 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    edge.inspectors = match edge.inspectors.len() {
                        0 => vec!["tls_inspector"],
                        1 => vec!["tls_inspector", "http_inspector"],
                        _ if self.dice.one_in(2) => edge.inspectors.iter().rev().copied().collect(),
                        _ => Vec::new(),
                    };
                    self.put(name, edge);
                }
            }
            // some chains go
            9 | 10 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    let n = edge.chains.len();
                    if n > 1 {
                        let gone = self.dice.range(1, n / 2);
                        self.dice.shuffle(&mut edge.chains);
                        edge.chains.truncate(n - gone);
                        edge.chains.sort_by_key(|c| c.id);
                        self.put(name, edge);
                    }
                }
            }
            11 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    edge.default = !edge.default;
                    self.put(name, edge);
                }
            }
            // certificates, over SDS and inline
            12 => {
                for i in 0..SECRETS {
                    if self.dice.one_in(2) {
                        let name = format!("secret-{i}");
                        *self.secrets.get_mut(&name).unwrap() += 1;
                        self.dirty.insert((types::SECRET, name));
                    }
                }
            }
            13 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    for chain in &mut edge.chains {
                        if let Tls::Inline { ecdsa } = &mut chain.tls {
                            *ecdsa = !*ecdsa;
                        }
                    }
                    self.put(name, edge);
                }
            }
            // routes, inline and over RDS
            14 | 15 => {
                let name = format!("table-{}", self.dice.range(0, TABLES - 1));
                let most = self.shape.hosts.1 * 4;
                let hosts = self.dice.range(1, most);
                let table = self.tables.get_mut(&name).unwrap();
                *table = (hosts, table.1 + 1);
                self.dirty.insert((types::ROUTE, name));
            }
            16 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    for chain in &mut edge.chains {
                        if let Routes::Inline { revision, .. } = &mut chain.routes
                            && self.dice.one_in(3)
                        {
                            *revision += 1;
                        }
                    }
                    self.put(name, edge);
                }
            }
            // a table that comes late, or never
            17 => {
                if let Some((name, mut edge)) = self.some_edge() {
                    let mut chain = self.chain();
                    let table = format!("late-{}", self.id());
                    let wait = self.dice.range(1, 4);
                    self.tables.insert(table.clone(), (self.shape.hosts.1, 0));
                    self.held.insert(table.clone(), self.second + wait);
                    self.dirty.insert((types::ROUTE, table.clone()));
                    chain.routes = Routes::Rds(table);
                    edge.chains.push(chain);
                    self.put(name, edge);
                }
            }
            // back to what it was
            18 => {
                let names: Vec<String> = self.before.keys().cloned().collect();
                if let Some(name) = self.dice.pick(&names).cloned()
                    && self.edges.contains_key(&name)
                {
                    let edge = self.before[&name].clone();
                    self.put(name, edge);
                }
            }
            19 => {
                let most = (self.upstreams.len() / 4).max(3);
                let n = self.dice.range(1, most);
                self.add_clusters(n);
            }
            20 => {
                for name in self.some_clusters() {
                    self.upstreams.remove(&name);
                    self.dirty.remove(&(types::CLUSTER, name.clone()));
                    self.dirty.remove(&(types::ENDPOINT, name.clone()));
                    self.gone.insert((types::CLUSTER, name));
                }
            }
            21 => {
                let late = self.dice.one_in(3).then(|| self.dice.range(1, 3));
                for name in self.some_clusters() {
                    self.upstreams.get_mut(&name).unwrap().revision += 1;
                    self.dirty.insert((types::CLUSTER, name.clone()));
                    if let Some(late) = late {
                        self.late_endpoints.insert(name.clone(), self.second + late);
                    }
                    self.dirty.insert((types::ENDPOINT, name));
                }
            }
            22 => {
                for name in self.some_clusters() {
                    let (low, high) = self.shape.endpoints;
                    let upstream = self.upstreams.get_mut(&name).unwrap();
                    if self.dice.one_in(3) {
                        upstream.turned = !upstream.turned;
                    } else {
                        upstream.hosts = self.dice.range(low, high * 2);
                    }
                    self.dirty.insert((types::ENDPOINT, name));
                }
            }
            // a listener that Envoy refuses, once
            _ => {
                if let Some((name, _)) = self.some_edge() {
                    self.twice = !self.delta && self.dice.one_in(2);
                    if !self.twice {
                        self.broken.insert(name.clone());
                    }
                    self.dirty.insert((types::LISTENER, name));
                }
            }
        }
    }

    fn render_chain(&self, chain: &Chain) -> Value {
        let i = chain.id;
        let extra = if self.shape.access_log {
            json!({"access_log": [filter("envoy.access_loggers.file",
                "envoy.extensions.access_loggers.file.v3.FileAccessLog", json!({"path": "/dev/null"}))]})
        } else {
            json!({})
        };
        let network = match &chain.routes {
            Routes::Tcp => tcp_proxy("tcp", "backend"),
            Routes::Inline { hosts, revision } => {
                let hosts = (0..*hosts)
                    .map(|j| {
                        let domain = format!("h{i}-{j}.example.com");
                        vhost(&format!("v{i}-{j}"), &[domain], vec![route(&format!("/{revision}"), "backend")])
                    })
                    .collect();
                hcm("ingress", inline(table(&format!("routes-{i}"), hosts)), self.shape.filters.clone(), extra)
            }
            Routes::Rds(name) => {
                let mut routes = rds(name);
                if name.starts_with("late") {
                    routes["rds"]["config_source"]["initial_fetch_timeout"] = TIMEOUT.into();
                }
                hcm("ingress", routes, self.shape.filters.clone(), extra)
            }
        };
        let mut out = json!({"name": format!("chain-{i}"), "filters": [network],
                             "filter_chain_match": {"server_names": [format!("s{i}.example.com")]}});
        match &chain.tls {
            Tls::None => {}
            Tls::Inline { ecdsa: e } => {
                let certificate = if *e { ecdsa() } else { rsa() };
                out["transport_socket"] = downstream_tls(json!({"tls_certificates": [certificate]}), json!({}));
            }
            Tls::Sds(secret) => {
                let common = json!({"tls_certificate_sds_secret_configs": [sds(secret)]});
                out["transport_socket"] = downstream_tls(common, json!({}));
            }
        }
        out
    }

    fn render_edge(&self, name: &str, edge: &Edge) -> Value {
        let mut chains: Vec<Value> = edge.chains.iter().map(|c| self.render_chain(c)).collect();
        if self.broken.contains(name) {
            chains.push(with(chains[0].clone(), json!({"name": "again"})));
        }
        let mut out = listener(name, chains);
        if edge.buffer > 0 {
            out["per_connection_buffer_limit_bytes"] = (100_000 + edge.buffer).into();
        }
        if edge.default {
            out["default_filter_chain"] = json!({"name": "default", "filters": [tcp_proxy("default", "backend")]});
        }
        if !edge.inspectors.is_empty() {
            let one = |n: &&str| {
                let kind = if *n == "tls_inspector" { "TlsInspector" } else { "HttpInspector" };
                filter(
                    &format!("envoy.filters.listener.{n}"),
                    &format!("envoy.extensions.filters.listener.{n}.v3.{kind}"),
                    json!({}),
                )
            };
            out["listener_filters"] = edge.inspectors.iter().map(one).collect();
        }
        out
    }

    fn render_cluster(&self, name: &str, upstream: &Upstream) -> Value {
        let mut out = if self.shape.static_clusters {
            let endpoints: Vec<Value> = (0..upstream.hosts).map(endpoint).collect();
            let assignment = json!({"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]});
            with(plain_cluster(name, "STATIC"), json!({"load_assignment": assignment}))
        } else {
            eds_cluster(name)
        };
        out["lb_policy"] = self.shape.balancer.into();
        out["connect_timeout"] = format!("{}s", 5 + upstream.revision).into();
        match self.shape.upstream_tls {
            1 => {
                let common = json!({"validation_context": {"trusted_ca": roots(0, 3)}});
                out["transport_socket"] = upstream_tls(common, &format!("{name}.example.com"));
            }
            2 => {
                let common = json!({"validation_context_sds_secret_config": sds("ca")});
                out["transport_socket"] = upstream_tls(common, &format!("{name}.example.com"));
            }
            _ => {}
        }
        out
    }

    fn render_endpoints(&self, name: &str, upstream: &Upstream) -> Value {
        let seed = name.trim_start_matches("cluster-").parse().unwrap_or(0);
        let mut out = assignment(name, seed, upstream.hosts);
        if upstream.turned {
            out["endpoints"][0]["lb_endpoints"].as_array_mut().unwrap().reverse();
        }
        out
    }

    fn wanted(&self, of: impl Fn(&Chain) -> Option<&String>) -> BTreeSet<String> {
        self.edges.values().flat_map(|e| &e.chains).filter_map(of).cloned().collect()
    }

    fn response(&mut self, kind: &'static str, all: Vec<Value>, shuffled: bool) -> Option<Response> {
        let dirty = |n: &str| self.dirty.contains(&(kind, n.to_owned()));
        let removed: Vec<String> = self.gone.iter().filter(|(k, _)| *k == kind).map(|(_, n)| n.clone()).collect();
        if !all.iter().any(|r| dirty(&name(r))) && removed.is_empty() {
            return None;
        }
        let mut resources: Vec<Value> =
            if self.delta { all.into_iter().filter(|r| dirty(&name(r))).collect() } else { all };
        if shuffled {
            self.dice.shuffle(&mut resources);
        }
        self.dirty.retain(|(k, _)| *k != kind);
        self.gone.retain(|(k, _)| *k != kind);
        Some(Response { kind, resources, removed: if self.delta { removed } else { Vec::new() } })
    }

    /// What is sent for what happened.
    fn send(&mut self) -> Second {
        let mut out = Second::new();
        let mut clusters: Vec<Value> = self.upstreams.iter().map(|(n, u)| self.render_cluster(n, u)).collect();
        let changed = clusters.iter().any(|c| self.dirty.contains(&(types::CLUSTER, name(c))));
        clusters.sort_by_key(name);
        out.extend(self.response(types::CLUSTER, clusters, false));
        if !self.shape.static_clusters {
            let now = self.second;
            let due = |n: &String| self.late_endpoints.get(n).is_none_or(|at| *at <= now);
            let endpoints: Vec<Value> = self
                .upstreams
                .iter()
                .filter(|(n, _)| due(n) && self.dirty.contains(&(types::ENDPOINT, (*n).clone())))
                .map(|(n, u)| self.render_endpoints(n, u))
                .collect();
            let late: Vec<_> = self.dirty.iter().filter(|(k, n)| *k == types::ENDPOINT && !due(n)).cloned().collect();
            out.extend(self.response(types::ENDPOINT, endpoints, true));
            self.dirty.extend(late);
        } else {
            self.dirty.retain(|(k, _)| *k != types::ENDPOINT);
        }
        if self.shape.upstream_tls == 2 && changed {
            let ca = ca_secret("ca", roots(0, 3), &[]);
            self.dirty.insert((types::SECRET, "ca".into()));
            out.extend(self.response(types::SECRET, vec![ca], true));
        }
        let mut listeners: Vec<Value> = self.edges.iter().map(|(n, e)| self.render_edge(n, e)).collect();
        if std::mem::take(&mut self.twice) && !listeners.is_empty() {
            let again = with(listeners[0].clone(), json!({"per_connection_buffer_limit_bytes": 77_777}));
            listeners.push(again);
        }
        // a listener that was sent broken is sent whole the next time
        let broken = std::mem::take(&mut self.broken);
        let pushed = self.response(types::LISTENER, listeners, false);
        self.dirty.extend(broken.into_iter().map(|n| (types::LISTENER, n)));
        let fresh = pushed.is_some();
        out.extend(pushed);
        let wanted = self.wanted(|c| match &c.routes {
            Routes::Rds(name) => Some(name),
            _ => None,
        });
        let now = self.second;
        self.held.retain(|_, at| *at > now);
        let (held, rendered): (Vec<_>, Vec<_>) = wanted.iter().partition(|n| self.held.contains_key(*n));
        let tables: Vec<Value> = rendered.into_iter().map(|n| self.render_table(n)).collect();
        if fresh {
            self.dirty.extend(tables.iter().map(|t| (types::ROUTE, name(t))));
        }
        let held: Vec<_> = held.into_iter().cloned().collect();
        out.extend(self.response(types::ROUTE, tables, true));
        self.dirty.extend(held.into_iter().map(|n| (types::ROUTE, n)));
        let wanted = self.wanted(|c| match &c.tls {
            Tls::Sds(name) => Some(name),
            _ => None,
        });
        if fresh {
            self.dirty.extend(wanted.iter().map(|n| (types::SECRET, n.clone())));
        }
        let secrets: Vec<Value> = wanted
            .iter()
            .map(|n| certificate_secret(n, if self.secrets[n].is_multiple_of(2) { rsa() } else { ecdsa() }))
            .collect();
        out.extend(self.response(types::SECRET, secrets, true));
        out
    }

    fn render_table(&self, name: &str) -> Value {
        let (hosts, revision) = self.tables[name];
        let hosts = (0..hosts)
            .map(|j| {
                let domain = format!("{name}-{j}.example.com");
                let routes = vec![route(&format!("/r{revision}"), "backend"), route("/", "backend")];
                vhost(&format!("{name}-{j}"), &[domain], routes)
            })
            .collect();
        table(name, hosts)
    }
}

/// The stream of a seed.
pub(crate) fn stream(seed: u64) -> Stream {
    let (mut world, seconds, drain_s) = World::new(seed);
    let mut out = vec![world.send()];
    for second in 1..seconds {
        world.second = second;
        if !world.dice.one_in(8) {
            for _ in 0..world.dice.range(1, 3) {
                world.happen();
            }
        }
        out.push(world.send());
    }
    Stream { name: format!("random {seed}"), delta: world.delta, drain_s, seconds: out }
}
