//! The rules of Envoy that surprise, one by one: each test names what a naive simulator gets wrong.

use super::*;
use crate::model::envoy::{
    Cluster, Discovery, EndpointSet, FilterChain, HealthChecks, HostCounts, HttpConnectionManager, Listener,
    LoadBalancing, Meta, NetworkFilter, RouteSource, RouteTable, Secret, SecretKind, SecretRef, Source, State,
    TlsContext,
};
use crate::model::source::Span;
use crate::model::stream::{Body, Event, FetchTimeout, ListenerIdentity, Push, Pushed, Resource, What};
use crate::model::weight::Weight;

const LDS: XdsType = XdsType::Listener;
const RDS: XdsType = XdsType::RouteConfig;
const CDS: XdsType = XdsType::Cluster;
const EDS: XdsType = XdsType::Endpoints;
const SDS: XdsType = XdsType::Secret;

fn seconds(s: f64) -> Us {
    Us((s * 1e6) as i64)
}

fn meta(name: &str, bytes: u32) -> Meta {
    let weight = Weight { messages: 10, string_bytes: bytes, fields: 20, strings: 10, ..Weight::default() };
    Meta {
        name: name.into(),
        state: State::Active,
        version: "".into(),
        last_updated: None,
        span: Span::default(),
        weight,
        text_hash: 0,
        cluster_refs: None,
        fields: None,
    }
}

fn table(name: &str, state: State) -> RouteTable {
    RouteTable { meta: Meta { state, ..meta(name, 500) }, virtual_hosts: Vec::new(), vhds: false, clusters: Vec::new() }
}

/// Routes of a chain: `rds:NAME`, `sds:NAME` (certificate of the chain), else inline.
fn chain(hash: u64, what: &str) -> FilterChain {
    let routes = match what.strip_prefix("rds:") {
        Some(name) => RouteSource::Rds(name.into()),
        None => RouteSource::Inline(Box::new(table("inline", State::Static))),
    };
    let tls = what
        .strip_prefix("sds:")
        .map(|name| Arc::new(TlsContext { certificates: vec![SecretRef::Sds(name.into())], ..TlsContext::default() }));
    let hcm = HttpConnectionManager {
        stat_prefix: "ingress".into(),
        routes,
        routes_source: Source::Shared,
        http_filters: Vec::new(),
        access_logs: Vec::new(),
        upgrades: 0,
        tracing: false,
    };
    let extension = crate::model::envoy::Extension {
        name: "hcm".into(),
        type_name: "".into(),
        weight: Weight::default(),
        payloads: Vec::new(),
        config_discovery: false,
        vm_id: "".into(),
    };
    FilterChain {
        name: "".into(),
        is_default: false,
        application_protocols: 0,
        server_names: Vec::new(),
        filters: vec![NetworkFilter {
            extension,
            hcm: Some(Box::new(hcm)),
            clusters: Vec::new(),
            access_logs: Vec::new(),
            stat_prefix: "".into(),
        }],
        tls,
        transport_socket: None,
        weight: Weight { string_bytes: 2000, ..Weight::default() },
        len_bytes: 2000,
        body_hash: hash,
        filters_hash: hash,
    }
}

/// A scripted stream.
#[derive(Default)]
struct Script {
    recording: Recording,
    nonce: u32,
}

impl Script {
    fn body(&mut self, kind: XdsType, name: &str, hash: u64, resource: Resource) -> BodyId {
        let found = self.recording.bodies.iter().position(|b| b.kind == kind && &*b.name == name && b.hash == hash);
        if let Some(at) = found {
            return BodyId(at as u32);
        }
        self.recording.bodies.push(Body {
            name: name.into(),
            kind,
            resource,
            hash,
            set_hash: hash,
            listener: None,
            outline: Arc::from([]),
            bytes: 1000,
            exact_wire: false,
            fetch_timeouts: Arc::from([]),
            invalid: None,
        });
        BodyId(self.recording.bodies.len() as u32 - 1)
    }

    /// A listener of chains (hash, what); `rest` stands for everything else in it.
    fn listener(&mut self, name: &str, rest: u64, chains: &[(u64, &str)]) -> BodyId {
        let hash = chains.iter().fold(rest + 1, |h, (c, _)| h.wrapping_mul(31).wrapping_add(*c));
        let listener = Listener {
            meta: meta(name, 3000),
            address: format!("127.0.0.1:{}", 1000 + name.bytes().map(u32::from).sum::<u32>()).into(),
            stat_prefix: "".into(),
            additional_addresses: 0,
            bound: true,
            udp: false,
            direction: if name.starts_with("in") { "INBOUND".into() } else { "".into() },
            chains: chains.iter().map(|(h, what)| chain(*h, what)).collect(),
            listener_filters: Vec::new(),
            access_logs: Vec::new(),
            error: None,
            owner: None,
        };
        let id = self.body(LDS, name, hash, Resource::Listener(Box::new(listener)));
        let body = &mut self.recording.bodies[id.0 as usize];
        body.set_hash = chains.iter().fold(rest, |h, (c, _)| h.wrapping_add(c * 1000));
        body.listener = Some(ListenerIdentity {
            rest_hash: rest,
            chain_hashes: chains.iter().map(|(h, _)| *h).collect(),
            ..ListenerIdentity::default()
        });
        id
    }

    fn cluster(&mut self, name: &str, hash: u64, eds: bool) -> BodyId {
        let cluster = Cluster {
            meta: meta(name, 300),
            discovery: if eds { Discovery::Eds } else { Discovery::Static },
            eds_service_name: None,
            eds_source: Source::Shared,
            alt_stat_name: "".into(),
            lb: LoadBalancing {
                policy: "ROUND_ROBIN".into(),
                minimum_ring_size: None,
                maximum_ring_size: None,
                table_size: None,
                subset_selectors: 0,
                locality_weighted: false,
            },
            inline_hosts: HostCounts::default(),
            tls: Vec::new(),
            transport_socket_matches: 0,
            health_checks: HealthChecks::default(),
            outlier_detection: false,
            circuit_breakers: 0,
            track_remaining: 0,
            http_protocol_options: false,
            http2: false,
            filters: Vec::new(),
            http_filters: Vec::new(),
            children: Vec::new(),
            has_metadata: false,
            owner: None,
        };
        self.body(CDS, name, hash, Resource::Cluster(Box::new(cluster)))
    }

    fn endpoints(&mut self, name: &str, hosts: u32) -> BodyId {
        let set = EndpointSet {
            meta: meta(name, 100),
            hosts: HostCounts { hosts, localities: 1, priorities: 1, ..HostCounts::default() },
        };
        self.body(EDS, name, u64::from(hosts), Resource::Endpoints(Box::new(set)))
    }

    fn routes(&mut self, name: &str, hash: u64) -> BodyId {
        self.body(RDS, name, hash, Resource::RouteConfig(Box::new(table(name, State::Active))))
    }

    fn secret(&mut self, name: &str, hash: u64) -> BodyId {
        let secret = Secret { meta: meta(name, 1500), kind: SecretKind::TlsCertificate, payloads: Vec::new() };
        self.body(SDS, name, hash, Resource::Secret(Box::new(secret)))
    }

    fn event(&mut self, t: f64, what: What) {
        self.recording.events.push(Event { t: seconds(t), input: crate::model::source::InputId(0), stream: 0, what });
    }

    fn send(&mut self, t: f64, kind: XdsType, delta: bool, resources: &[BodyId], removed: &[&str]) {
        self.nonce += 1;
        let number = self.nonce.to_string();
        self.event(
            t,
            What::Push(Box::new(Push {
                kind,
                type_name: "".into(),
                delta,
                version: number.as_str().into(),
                nonce: number.as_str().into(),
                resources: resources.iter().map(|b| Pushed { body: *b, version: "".into() }).collect(),
                removed: removed.iter().map(|n| (*n).into()).collect(),
                bytes: 1000,
            })),
        );
    }

    fn push(&mut self, t: f64, kind: XdsType, resources: &[BodyId]) {
        self.send(t, kind, false, resources, &[]);
    }

    fn end(&mut self, t: f64) {
        self.event(t, What::Connection(true));
    }

    fn run(&self) -> Run {
        self.run_on(40, 8.0)
    }

    fn run_on(&self, minor: u32, drain: f64) -> Run {
        let settings =
            Settings { version: Version { major: 1, minor }, drain_time: seconds(drain), ..Settings::default() };
        run(&self.recording, &settings)
    }
}

/// The row that holds at `t`.
fn at(run: &Run, t: f64) -> Row {
    run.timeline.iter().rev().find(|r| r.t <= seconds(t)).copied().unwrap_or_default()
}

#[test]
fn every_full_replacement_drains_for_exactly_the_drain_time() {
    let mut s = Script::default();
    for i in 0..5 {
        let l = s.listener("a", i, &[(1, "")]);
        s.push(i as f64, LDS, &[l]);
    }
    s.end(30.0);
    let run = s.run();
    assert_eq!(at(&run, 4.0).listeners_draining, 4, "several generations of one name drain at once");
    assert_eq!(at(&run, 8.9).listeners_draining, 4, "no connections do not shorten it");
    assert_eq!(at(&run, 9.0).listeners_draining, 3);
    assert_eq!(at(&run, 12.0).listeners_draining, 0);
    let view = run.end.listeners.iter().find(|v| &*v.name == "a").unwrap();
    assert_eq!((view.draining, view.shown_version.as_deref()), (0, Some("5")));
    assert_eq!(run.counters.listener_modified, 4);
    assert_eq!(run.drains.len(), 4);
    assert!(run.drains.iter().all(|d| d.bytes > 10_000 && d.inline_tables == 1));
    assert!(at(&run, 4.0).allocated > at(&run, 29.0).allocated + 4 * 10_000);
}

#[test]
fn the_dump_shows_only_the_oldest_draining_generation() {
    let mut s = Script::default();
    for i in 0..4 {
        let l = s.listener("a", i, &[(1, "")]);
        s.push(i as f64, LDS, &[l]);
    }
    let run = s.run();
    let view = &run.end.listeners[0];
    assert_eq!((view.draining, view.draining_listed), (3, 1));
    assert_eq!(view.draining_shown.as_deref(), Some("1"));
    assert_eq!(run.end.inline_tables_shown, 4, "static_route_configs lists every live inline table");
    assert_eq!(run.end.inline_tables_active, 1);
    assert_eq!(s.run_on(12, 8.0).end.listeners[0].draining_listed, 3, "up to 1.12 the dump lists all");
}

#[test]
fn an_identical_push_is_free() {
    let mut s = Script::default();
    let l = s.listener("a", 0, &[(1, "")]);
    for i in 0..3 {
        s.push(f64::from(i), LDS, &[l]);
    }
    let run = s.run();
    assert_eq!(run.timeline.len(), 1);
    assert_eq!((run.pushes[1].no_op, run.pushes[1].modified_full), (1, 0));
    assert_eq!(run.counters.listener_modified, 0);
}

#[test]
fn in_place_updates_drain_nothing_that_is_visible() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, ""), (2, "")]);
    let b = s.listener("a", 0, &[(1, ""), (3, "")]);
    let c = s.listener("a", 0, &[(3, ""), (1, "")]);
    s.push(0.0, LDS, &[a]);
    s.push(1.0, LDS, &[b]);
    s.push(2.0, LDS, &[c]);
    s.end(20.0);
    let run = s.run();
    let row = at(&run, 2.5);
    assert_eq!((row.listeners_draining, row.filter_chains_draining, row.groups_draining), (0, 1, 2));
    assert!(row.allocated > at(&run, 11.0).allocated, "the group of a pure reordering holds memory too");
    assert_eq!(at(&run, 9.0).filter_chains_draining, 0);
    assert_eq!(run.counters.listener_in_place_updated, 2);
    assert_eq!(run.counters.listener_modified, 2, "in-place updates are counted as modified as well");
    assert_eq!((run.pushes[2].order_only, run.pushes[2].modified_in_place), (1, 1));
    assert_eq!(run.end.listeners[0].shown_version.as_deref(), Some("1"), "version_info does not move in place");
    assert_eq!(run.end.listeners[0].active_version.as_deref(), Some("3"));
    assert_eq!(run.flaps.len(), 1);
    let old = s.run_on(14, 8.0);
    assert_eq!(at(&old, 2.5).listeners_draining, 2, "before 1.15 the whole listener drains");
}

#[test]
fn the_predicate_of_in_place_updates_by_version() {
    let base = ListenerIdentity { chain_hashes: vec![1], rest_hash: 7, ..ListenerIdentity::default() };
    let ok = |minor, new: &ListenerIdentity| rules::Rules::new(Version { major: 1, minor }).in_place(&base, new, false);
    let same = ListenerIdentity { chain_hashes: vec![2], ..base.clone() };
    assert!(!ok(14, &same) && ok(15, &same) && ok(40, &same));
    assert!(!ok(40, &ListenerIdentity { chain_hashes: vec![], ..same.clone() }), "only a default chain: always full");
    assert!(!ok(40, &ListenerIdentity { rest_hash: 8, ..same.clone() }));
    let default = ListenerIdentity { default_chain_hash: 5, ..same.clone() };
    assert!(!ok(17, &default) && ok(18, &default));
    let matcher = ListenerIdentity { matcher_hash: 5, ..same.clone() };
    assert!(!ok(21, &matcher) && ok(22, &matcher));
    let reuse = ListenerIdentity { reuse_port: Some(true), ..same.clone() };
    assert!(ok(24, &reuse) && !ok(25, &reuse));
    assert!(!ok(40, &ListenerIdentity { use_proxy_proto: true, ..same.clone() }));
    assert!(!ok(40, &ListenerIdentity { filter_chain_discovery: true, ..same.clone() }));
    let inspector = ListenerIdentity { needs_tls_inspector: true, ..same.clone() };
    assert!(!ok(19, &inspector) && ok(20, &inspector));
    let udp = |minor| rules::Rules::new(Version { major: 1, minor }).in_place(&base, &same, true);
    assert!(!udp(20) && udp(21));
}

#[test]
fn a_push_during_warming_replaces_the_warming_generation() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "")]);
    s.push(0.0, LDS, &[a]);
    for i in 1..4 {
        let l = s.listener("a", i, &[(i, "rds:r")]);
        s.push(i as f64, LDS, &[l]);
    }
    let r = s.routes("r", 1);
    s.push(5.0, RDS, &[r]);
    s.end(6.0);
    let run = s.run();
    assert_eq!(at(&run, 4.0).listeners_warming, 1);
    assert_eq!(at(&run, 4.0).listeners_draining, 0);
    assert_eq!(at(&run, 5.0).listeners_draining, 1, "three pushes, one drain");
    assert_eq!(run.counters.listener_modified, 3, "superseded builds count");
    assert_eq!(run.pushes[2].superseded, 1);
}

#[test]
fn warming_ends_after_the_fetch_timeout() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "rds:r")]);
    s.push(0.0, LDS, &[a]);
    s.end(20.0);
    let run = s.run();
    assert_eq!(at(&run, 14.9).listeners_warming, 1);
    assert_eq!(at(&run, 15.0).listeners_active, 1);

    let timeout = |us| Arc::from([FetchTimeout { kind: RDS, name: "r".into(), timeout: us }]);
    s.recording.bodies[0].fetch_timeouts = timeout(seconds(2.0));
    assert_eq!(at(&s.run(), 2.0).listeners_active, 1);
    s.recording.bodies[0].fetch_timeouts = timeout(Us(0));
    let run = s.run();
    assert_eq!(at(&run, 1000.0).listeners_warming, 1, "0 waits for ever");
    assert_eq!(run.end.leaked.listeners, 1);
    assert!(run.end.leaked.bytes > 10_000);
}

#[test]
fn going_back_while_warming() {
    let mut s = Script::default();
    let (a, b) = (s.listener("a", 0, &[(1, "")]), s.listener("a", 1, &[(2, "rds:r")]));
    s.push(0.0, LDS, &[a]);
    s.push(1.0, LDS, &[b]);
    s.push(2.0, LDS, &[a]);
    s.end(3.0);
    let run = s.run();
    assert_eq!((run.end.row.listeners_warming, run.end.row.listeners_draining), (0, 0));
    assert_eq!(run.counters.listener_modified, 2);
    // a cluster builds a third generation instead
    let mut s = Script::default();
    let (a, b) = (s.cluster("c", 1, true), s.cluster("c", 2, true));
    let e = s.endpoints("c", 2);
    s.push(0.0, CDS, &[a]);
    s.push(0.1, EDS, &[e]);
    s.push(1.0, CDS, &[b]);
    s.push(2.0, CDS, &[a]);
    s.end(3.0);
    let run = s.run();
    assert_eq!(run.end.row.clusters_warming, 1);
    assert_eq!(run.counters.cluster_modified, 2);
    assert_eq!(s.run_on(17, 8.0).counters.cluster_modified, 1);
}

#[test]
fn listeners_are_removed_before_others_are_added() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "")]);
    s.push(0.0, LDS, &[a]);
    // the same address under another name: only possible since the old one goes first
    let b = s.listener("b", 0, &[(1, "")]);
    let address = match &s.recording.bodies[a.0 as usize].resource {
        Resource::Listener(l) => l.address.clone(),
        _ => unreachable!(),
    };
    if let Resource::Listener(l) = &mut s.recording.bodies[b.0 as usize].resource {
        l.address = address;
    }
    s.push(1.0, LDS, &[b]);
    s.end(2.0);
    let run = s.run();
    assert_eq!((run.pushes[1].added, run.pushes[1].removed, run.pushes[1].rejected), (1, 1, 0));
    assert_eq!(run.end.row.listeners_draining, 1);
    // both at once: the second is refused, the first stays applied
    let mut s2 = Script { recording: s.recording.clone(), nonce: 9 };
    s2.recording.events.clear();
    s2.push(0.0, LDS, &[a, b]);
    let run = s2.run();
    assert_eq!((run.pushes[0].added, run.pushes[0].rejected), (1, 1));
    assert_eq!(run.counters.updates_rejected, 1);
}

#[test]
fn clusters_are_added_before_others_are_removed() {
    let mut s = Script::default();
    let old: Vec<BodyId> = (0..10).map(|i| s.cluster(&format!("old{i}"), 1, false)).collect();
    let new: Vec<BodyId> = (0..10).map(|i| s.cluster(&format!("new{i}"), 1, false)).collect();
    s.push(0.0, CDS, &old);
    s.push(1.0, CDS, &new);
    let run = s.run();
    assert_eq!(run.end.row.clusters_active, 10);
    assert_eq!((run.counters.cluster_added, run.counters.cluster_removed), (20, 10));
    assert!(run.end.leaked.bytes > 0, "tables that were as large as twice the clusters do not shrink");
}

#[test]
fn removed_and_added_again_the_old_one_keeps_draining() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "")]);
    s.push(0.0, LDS, &[a]);
    s.push(1.0, LDS, &[]);
    s.push(2.0, LDS, &[a]);
    s.push(3.0, LDS, &[]);
    s.end(4.0);
    let run = s.run();
    assert_eq!((run.end.row.listeners_active, run.end.row.listeners_draining), (0, 2));
    assert_eq!((run.counters.listener_added, run.counters.listener_removed), (2, 2));
}

#[test]
fn before_workers_start_nothing_drains() {
    let mut s = Script::default();
    let (a, b) = (s.listener("a", 0, &[(1, "rds:r")]), s.listener("a", 1, &[(1, "rds:r")]));
    s.push(0.0, LDS, &[a]);
    s.push(1.0, LDS, &[b]);
    s.event(2.0, What::WorkersStart);
    s.push(3.0, LDS, &[]);
    s.end(4.0);
    let settings = Settings { workers_running: false, drain_time: seconds(8.0), ..Settings::default() };
    let run = run(&s.recording, &settings);
    assert_eq!((at(&run, 1.0).listeners_active, at(&run, 1.0).listeners_draining), (1, 0));
    assert_eq!(run.end.row.listeners_draining, 1);
}

#[test]
fn warming_listeners_and_removal_by_version() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "rds:r")]);
    s.push(0.0, LDS, &[a]);
    s.push(1.0, LDS, &[]);
    s.end(2.0);
    assert_eq!(s.run().end.row.listeners_warming, 0);
    assert_eq!(s.run_on(15, 8.0).end.row.listeners_warming, 1, "before 1.16 a warming one could not be left out");
}

#[test]
fn after_drain_listeners_updates_are_ignored() {
    let mut s = Script::default();
    let (a, b) = (s.listener("in", 0, &[(1, "")]), s.listener("out", 0, &[(1, "")]));
    s.push(0.0, LDS, &[a, b]);
    s.event(1.0, What::DrainListeners { inbound_only: true });
    let (a2, b2) = (s.listener("in", 1, &[(1, "")]), s.listener("out", 1, &[(1, "")]));
    s.push(2.0, LDS, &[a2, b2]);
    let run = s.run();
    assert_eq!(run.counters.listener_modified, 1);
    assert_eq!(run.end.row.listeners_draining, 1);
    assert_eq!(run.end.row.listeners_active, 2, "drained listeners stay in the active list");
}

#[test]
fn route_tables_are_shared_since_1_13() {
    let mut s = Script::default();
    let chains: Vec<(u64, &str)> = (1..=20).map(|i| (i, "rds:r")).collect();
    let a = s.listener("a", 0, &chains);
    let r = s.routes("r", 1);
    let mut big = table("r", State::Active);
    big.virtual_hosts = Vec::new();
    big.meta.weight.string_bytes = 0;
    s.push(0.0, LDS, &[a]);
    s.push(1.0, RDS, &[r]);
    let new = s.run();
    let old = s.run_on(12, 8.0);
    let one = at(&new, 1.0).allocated - at(&new, 0.5).allocated;
    let twenty = at(&old, 1.0).allocated - at(&old, 0.5).allocated;
    assert!(twenty > 15 * one / 20, "{one} {twenty}");
    assert!(twenty > one, "each of 20 HTTP connection managers compiles its own");
    // the same routes again change nothing, and left out they stay
    s.push(2.0, RDS, &[r]);
    s.push(3.0, RDS, &[]);
    assert_eq!(s.run().pushes[2].no_op, 1);
    assert_eq!(at(&s.run(), 3.0).allocated, at(&new, 1.0).allocated);
}

#[test]
fn a_table_that_nobody_asked_for_is_ignored_and_goes_with_its_last_user() {
    let mut s = Script::default();
    let r = s.routes("r", 1);
    s.push(0.0, RDS, &[r]);
    let a = s.listener("a", 0, &[(1, "rds:r")]);
    s.push(1.0, LDS, &[a]);
    s.push(2.0, RDS, &[r]);
    s.push(3.0, LDS, &[]);
    s.end(4.0);
    let run = s.run();
    assert_eq!(run.pushes[0].unused, 1);
    assert_eq!(at(&run, 1.5).listeners_warming, 1);
    let (held, gone) = (at(&run, 4.0), at(&run, 12.0));
    assert!(held.allocated > gone.allocated, "the draining listener pins it");
}

#[test]
fn secrets_rotate_without_drains() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "sds:cert"), (2, "sds:cert")]);
    let (one, two) = (s.secret("cert", 1), s.secret("cert", 2));
    s.push(0.0, LDS, &[a]);
    s.push(1.0, SDS, &[one]);
    s.push(2.0, SDS, &[two]);
    s.end(3.0);
    let run = s.run();
    assert_eq!(at(&run, 0.5).listeners_warming, 1, "it waits for its secret");
    assert_eq!(run.end.row.listeners_active, 1);
    assert_eq!(run.drained, Drained::default());
    assert_eq!(run.pushes[2].modified_in_place, 1);
    // inline, each rotation drains
    let mut s = Script::default();
    for i in 0..3 {
        let l = s.listener("a", 0, &[(10 + i, "")]);
        s.push(i as f64, LDS, &[l]);
    }
    assert_eq!(s.run().end.row.filter_chains_draining, 2);
}

#[test]
fn clusters_warm_until_their_endpoints_come() {
    let mut s = Script::default();
    let (a, b) = (s.cluster("c", 1, true), s.cluster("c", 2, true));
    let e = s.endpoints("c", 3);
    s.push(0.0, CDS, &[a]);
    s.push(1.0, EDS, &[e]);
    s.push(2.0, CDS, &[b]);
    s.end(3.0);
    let run = s.run();
    assert_eq!((at(&run, 0.5).clusters_warming, at(&run, 0.5).clusters_active), (1, 0));
    assert_eq!((at(&run, 1.0).clusters_warming, at(&run, 1.0).clusters_active), (0, 1));
    assert_eq!((at(&run, 2.0).clusters_warming, at(&run, 2.0).clusters_active), (1, 1), "both are there");
    assert!(at(&run, 2.0).allocated > at(&run, 1.0).allocated);
    // without an answer it takes the cached endpoints after the timeout (≥ 1.32), or none
    assert_eq!(at(&run, 17.0).clusters_warming, 0);
    let old = s.run_on(31, 8.0);
    assert!(at(&old, 17.0).allocated < at(&old, 1.5).allocated, "before 1.32 it goes on empty");
}

#[test]
fn endpoints_are_never_skipped_but_equal_ones_cost_nothing() {
    let mut s = Script::default();
    let c = s.cluster("c", 1, true);
    let (two, five) = (s.endpoints("c", 2), s.endpoints("c", 5));
    s.push(0.0, CDS, &[c]);
    s.push(0.1, EDS, &[two]);
    s.push(1.0, EDS, &[two]);
    s.push(2.0, EDS, &[five]);
    s.push(3.0, EDS, &[two]);
    s.push(4.0, EDS, &[]);
    let run = s.run();
    assert_eq!(at(&run, 0.1).allocated, at(&run, 1.0).allocated);
    assert!(at(&run, 2.0).allocated > at(&run, 1.0).allocated);
    assert_eq!(at(&run, 4.0).allocated, at(&run, 0.1).allocated);
}

#[test]
fn a_rejected_resource_rolls_nothing_back() {
    let mut s = Script::default();
    let (a, b, c) = (s.listener("a", 0, &[(1, "")]), s.listener("b", 0, &[(1, "")]), s.listener("c", 0, &[(1, "")]));
    s.recording.bodies[b.0 as usize].invalid = Some("two filter chains with one match".into());
    s.push(0.0, LDS, &[a, b, c]);
    let run = s.run();
    assert_eq!((run.pushes[0].added, run.pushes[0].rejected), (2, 1));
    assert_eq!(run.end.row.listeners_active, 2);
    assert_eq!(s.run_on(9, 8.0).end.row.listeners_active, 1, "1.9 stopped at the first error");
    // what the recording says counts too
    let mut s = Script::default();
    let (a, b) = (s.listener("a", 0, &[(1, "")]), s.listener("b", 0, &[(1, "")]));
    s.push(0.0, LDS, &[a, b]);
    let error: Name = "Error adding/updating listener(s) b: no such thing".into();
    s.event(0.1, What::Nack { kind: LDS, nonce: "1".into(), error });
    assert_eq!(s.run().end.row.listeners_active, 1);
}

#[test]
fn a_name_twice_in_one_response() {
    let mut s = Script::default();
    let (a, b) = (s.listener("a", 0, &[(1, "")]), s.listener("a", 1, &[(1, "")]));
    s.push(0.0, LDS, &[a, b]);
    let run = s.run();
    assert_eq!((run.pushes[0].added, run.pushes[0].rejected), (1, 1));
    assert_eq!(s.run_on(10, 8.0).end.row.listeners_active, 0, "up to 1.10 the whole response is refused");
}

#[test]
fn from_1_36_on_a_superseded_build_marks_chains_for_good() {
    let mut s = Script::default();
    let first = s.listener("a", 0, &[(1, ""), (2, "")]);
    let without = s.listener("a", 0, &[(1, ""), (3, "rds:r")]);
    let with = s.listener("a", 0, &[(1, ""), (2, ""), (3, "rds:r")]);
    s.push(0.0, LDS, &[first]);
    s.push(1.0, LDS, &[without]);
    s.push(2.0, LDS, &[with]);
    let r = s.routes("r", 1);
    s.push(3.0, RDS, &[r]);
    s.end(4.0);
    let run = s.run();
    assert_eq!(run.end.row.filter_chains_draining, 1, "chain 2 is active and counted as draining");
    assert_eq!(run.end.leaked.filter_chains, 1);
    assert_eq!(s.run_on(35, 8.0).end.row.filter_chains_draining, 0);
}

#[test]
fn delta_removes_by_name_and_keeps_the_rest() {
    let mut s = Script::default();
    let (a, b) = (s.listener("a", 0, &[(1, "")]), s.listener("b", 0, &[(1, "")]));
    s.send(0.0, LDS, true, &[a], &[]);
    s.send(1.0, LDS, true, &[b], &[]);
    s.send(2.0, LDS, true, &[], &["a", "nobody"]);
    let c = s.cluster("c", 1, false);
    s.send(3.0, CDS, true, &[c], &[]);
    s.send(4.0, CDS, true, &[], &["c"]);
    let run = s.run();
    assert_eq!((run.end.row.listeners_active, run.end.row.listeners_draining), (1, 1));
    assert_eq!(run.pushes[2].removed, 1);
    assert_eq!(run.end.row.clusters_active, 0);
}

#[test]
fn before_1_12_unstable_bytes_are_a_change() {
    let mut s = Script::default();
    let a = s.listener("a", 0, &[(1, "")]);
    let mut twin = s.recording.bodies[a.0 as usize].clone();
    twin.bytes += 1;
    s.recording.bodies.push(twin);
    s.push(0.0, LDS, &[a]);
    s.push(1.0, LDS, &[BodyId(1)]);
    s.end(2.0);
    let run = s.run();
    assert_eq!((run.pushes[1].no_op, run.pushes[1].equal_meaning), (1, 1));
    assert_eq!(run.end.row.listeners_draining, 0);
    assert_eq!(s.run_on(11, 8.0).end.row.listeners_draining, 1);
}

#[test]
fn resident_memory_does_not_come_back() {
    let mut s = Script::default();
    let many: Vec<BodyId> = (0..500).map(|i| s.cluster(&format!("c{i}"), 1, false)).collect();
    s.push(0.0, CDS, &many);
    s.push(1.0, CDS, &[]);
    s.end(2.0);
    let run = s.run();
    assert!(run.end.row.allocated < at(&run, 0.0).allocated / 2);
    assert_eq!(run.end.row.resident, at(&run, 0.0).resident);
    let settings = Settings { limit: Some(20_000_000), ..Settings::default() };
    assert_eq!(super::run(&s.recording, &settings).over_limit, Some(Us(0)));
    assert_eq!(run.peak.step, Some(0));
}

#[test]
fn a_run_that_gives_everything_back_ends_where_it_began() {
    let mut s = Script::default();
    s.end(0.0);
    let a = s.listener("a", 0, &[(1, "rds:r"), (2, "sds:k")]);
    let (r, k) = (s.routes("r", 1), s.secret("k", 1));
    let (c, e) = (s.cluster("c", 1, true), s.endpoints("c", 4));
    s.push(1.0, CDS, &[c]);
    s.push(1.1, EDS, &[e]);
    s.push(1.2, LDS, &[a]);
    s.push(1.3, RDS, &[r]);
    s.push(1.4, SDS, &[k]);
    let full = s.run();
    s.push(2.0, LDS, &[]);
    s.push(2.1, CDS, &[]);
    s.end(30.0);
    let empty = s.run();
    assert_eq!(full.end.restarted, full.end.row.allocated, "nothing drains: a restart would save nothing");
    // subscriptions and what the first of a kind sets up stay; doing the same again does not add to them
    let again = {
        s.push(31.0, CDS, &[c]);
        s.push(31.1, EDS, &[e]);
        s.push(31.2, LDS, &[a]);
        s.push(31.3, RDS, &[r]);
        s.push(31.4, SDS, &[k]);
        s.run()
    };
    assert_eq!(again.end.row.allocated, full.end.row.allocated);
    assert!(empty.end.row.allocated < full.end.row.allocated);
    assert_eq!(empty.end.settled.draining_bytes, 0);
}
