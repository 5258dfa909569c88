//! What a proxy consists of, in the units that are priced.
//!
//! [`walk`] goes over the model once and names, for every object, the *terms* it is made of: `cluster` once,
//! `cluster.worker` per worker, `stat.counter` per counter that the stats matcher keeps, `hf:TYPE` per HTTP filter of a
//! type, and so on. A table gives bytes per unit of a term ([`super::Table`]). The lab fits the table to the same walk,
//! so the model and its measurement cannot drift apart.
//!
//! Shared things are named once: stats by full name, Wasm virtual machines by id and code, secrets. TLS contexts, CA
//! bundles and inline route tables are named as often as they are built. Mechanisms and their sources are in
//! `docs/accuracy.md`.
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::items::Item;
use super::outside::vm_key;
use super::sizes::{arena_bytes, decoded, maglev_bytes, ring_bytes, rsa, size_class};
use super::stats::{Kept, Matcher};
use super::table::Table;
use super::term::{Class, FamilyId, Term, Unit, family, t};
use crate::model::envoy::{
    Bootstrap, Cluster, Discovery, EndpointSet, Extension, ExtensionConfig, FilterChain, HostCounts,
    HttpConnectionManager, Listener, Name, PayloadKind, Proxy, RouteSource, RouteTable, ScopedRoutes, Secret,
    SecretKind, SecretRef, Source, State, TlsContext, VirtualHost,
};
use crate::model::weight::Weight;

/// Takes `(item, what, amount)`.
pub type Sink<'a> = dyn FnMut(Item, Unit<'_>, f64) + 'a;

/// A part of a proxy. Parts name no stat of each other and can be walked side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Some of the clusters, with their endpoints.
    Clusters(Range<usize>),
    /// Everything else.
    Rest,
}

/// Of many clusters, no two can share a stat: none is there twice (warming beside active), and none is counted under
/// another's name.
fn apart(proxy: &Proxy) -> bool {
    let apart = |c: &Cluster| matches!(c.meta.state, State::Static | State::Active) && c.alt_stat_name.is_empty();
    proxy.clusters.len() >= 1000 && proxy.clusters.iter().all(apart)
}

/// The parts of `proxy`. Clusters are cut in two only when no two of them can share a stat.
pub fn parts(proxy: &Proxy) -> Vec<Part> {
    let n = proxy.clusters.len();
    // the rest is about a third of the work
    let cut = if apart(proxy) { n * 3 / 4 } else { n };
    vec![Part::Clusters(0..cut), Part::Rest, Part::Clusters(cut..n)]
}

/// Goes over `proxy` and names its terms. `workers` is Envoy's concurrency; `table` gives the stat families.
pub fn walk(proxy: &Proxy, workers: u32, table: &Table, sink: &mut Sink<'_>) {
    walk_part(proxy, workers, table, &Part::Rest, sink);
    walk_part(proxy, workers, table, &Part::Clusters(0..proxy.clusters.len()), sink);
}

/// [`walk`] over one part.
pub fn walk_part(proxy: &Proxy, workers: u32, table: &Table, part: &Part, sink: &mut Sink<'_>) {
    let config = proxy.bootstrap.as_ref().map(|b| &b.stats);
    let matcher = Matcher::new(config);
    let mut walk = Walk {
        proxy,
        workers: f64::from(workers),
        worker_count: workers,
        table,
        matcher: &matcher,
        deferred_stats: config.is_some_and(|c| c.deferred_stats),
        deferred_clusters: config.is_some_and(|c| c.deferred_clusters),
        routes_listed: proxy.route_tables.iter().any(|t| t.meta.state == State::Static),
        seen: HashSet::new(),
        kept_stats: HashMap::new(),
        name: String::new(),
        secrets: HashMap::new(),
        apart: None,
        sink,
    };
    walk.secrets();
    match part {
        Part::Clusters(range) => walk.clusters(range.clone()),
        Part::Rest => walk.rest(),
    }
}

/// One object of a proxy, to be walked by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Object<'a> {
    /// The process and its bootstrap.
    Process(Option<&'a Bootstrap>),
    /// A cluster without its hosts.
    Cluster(&'a Cluster),
    /// The hosts of a cluster and what balances over them.
    Hosts(&'a Cluster, Option<&'a EndpointSet>),
    Listener(&'a Listener),
    Routes(&'a RouteTable),
    Secret(&'a Secret),
    Extension(&'a ExtensionConfig),
    Scopes(&'a ScopedRoutes),
}

/// The Envoy that objects are walked for.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) workers: u32,
    pub(super) table: &'a Table,
    pub(super) matcher: &'a Matcher,
    pub(super) deferred_stats: bool,
    pub(super) deferred_clusters: bool,
}

/// What an object shares with others, kept apart from its own terms.
#[derive(Debug)]
pub(super) struct Apart<'k> {
    /// What is kept of each family under each name, over all objects.
    pub(super) kept: &'k mut HashMap<u64, Kept>,
    /// Who uses which shared thing.
    pub(super) uses: Vec<(Item, u64)>,
    /// Terms of the shared things that were not met before.
    pub(super) terms: Vec<(u64, Term, f64)>,
    /// Secrets over SDS that a TLS context parses; true for a CA bundle.
    pub(super) secrets: Vec<(Item, Name, bool)>,
}

/// Names the terms of one object, with index 0 wherever an index is asked for, and what it shares.
///
/// Added up over all objects, each shared thing once, this is what [`walk`] names of the whole proxy.
pub(super) fn walk_apart<'k>(
    object: Object<'_>,
    frame: Frame<'_>,
    kept: &'k mut HashMap<u64, Kept>,
    sink: &mut Sink<'_>,
) -> Apart<'k> {
    let none = Proxy::default();
    let mut walk = Walk {
        proxy: &none,
        workers: f64::from(frame.workers),
        worker_count: frame.workers,
        table: frame.table,
        matcher: frame.matcher,
        deferred_stats: frame.deferred_stats,
        deferred_clusters: frame.deferred_clusters,
        routes_listed: false,
        seen: HashSet::new(),
        kept_stats: HashMap::new(),
        name: String::new(),
        secrets: HashMap::new(),
        apart: Some(Apart { kept: &mut *kept, uses: Vec::new(), terms: Vec::new(), secrets: Vec::new() }),
        sink,
    };
    match object {
        Object::Process(bootstrap) => walk.process(bootstrap),
        Object::Cluster(c) => walk.cluster_proper(Item::Cluster(0), c),
        Object::Hosts(c, set) => walk.cluster_hosts(0, c, set.map(|s| (0, s))),
        Object::Listener(l) => walk.listener(0, l),
        Object::Routes(t) => walk.route_table(0, t),
        Object::Secret(s) => walk.secret(0, s),
        Object::Extension(e) => walk.extension_config(0, e),
        Object::Scopes(s) => walk.put(Item::Scoped(0), t!("scope"), f64::from(s.scopes)),
    }
    let (uses, terms, secrets) = walk.apart.map(|a| (a.uses, a.terms, a.secrets)).unwrap_or_default();
    Apart { kept, uses, terms, secrets }
}

/// What a secret's content adds to a TLS context that uses it over SDS, as `(term, amount)`.
pub(super) fn secret_terms(s: &Secret, ca: bool) -> [(Term, f64); 2] {
    let bytes: f64 = s.payloads.iter().map(|x| decoded(x.len_bytes, x.base64)).sum();
    let bytes = if bytes > 0.0 { bytes } else { UNKNOWN_BYTES };
    if ca {
        [(t!("tls.ca_bytes.sds"), bytes), (t!("tls.certificate.rsa"), 0.0)]
    } else {
        [(t!("tls.certificate_bytes.sds"), bytes), (t!("tls.certificate.rsa"), rsa(bytes))]
    }
}

/// The term of the state of one type of resources on the shared stream: incremental streams have the same for all types.
pub(super) fn subscription(of: Term, delta: bool) -> Term {
    if delta { t!("subscription.delta") } else { of }
}

/// Bytes of a certificate or bundle whose content is not in the evidence.
const UNKNOWN_BYTES: f64 = 1200.0;

/// The terms of a retained message.
struct WeightTerms {
    messages: Term,
    strings: Term,
    string_bytes: Term,
    lists: Term,
    scalars: Term,
    structs: Term,
}

macro_rules! weight_terms {
    ($name:literal) => {
        WeightTerms {
            messages: t!(concat!($name, ".messages")),
            strings: t!(concat!($name, ".long_strings")),
            string_bytes: t!(concat!($name, ".string_bytes")),
            lists: t!(concat!($name, ".lists")),
            scalars: t!(concat!($name, ".scalars")),
            structs: t!(concat!($name, ".struct_values")),
        }
    };
}

const CLUSTER: WeightTerms = weight_terms!("cluster");
const ENDPOINTS: WeightTerms = weight_terms!("endpoints");
const LISTENER: WeightTerms = weight_terms!("listener");
const VHOST: WeightTerms = weight_terms!("vhost");
const SECRET: WeightTerms = weight_terms!("secret");
const FILTER: WeightTerms = weight_terms!("filter");
const RBAC: WeightTerms = weight_terms!("rbac");
const JWT: WeightTerms = weight_terms!("jwt");
const LOG: WeightTerms = weight_terms!("log");
/// What the bootstrap keeps of static resources, besides the copy that each resource of any origin has.
const COPY: WeightTerms = weight_terms!("static");

struct Walk<'a, 's> {
    proxy: &'a Proxy,
    workers: f64,
    worker_count: u32,
    table: &'a Table,
    matcher: &'a Matcher,
    deferred_stats: bool,
    deferred_clusters: bool,
    routes_listed: bool,
    seen: HashSet<(&'static str, String)>,
    /// By a hash of family and name: there are half a dozen per cluster, and only "seen before?" is asked.
    kept_stats: HashMap<u64, Kept>,
    /// Where stat names are put together.
    name: String,
    /// Kind and decoded bytes of the payload of each secret.
    secrets: HashMap<&'a str, (SecretKind, f64)>,
    /// One object is walked by itself: what it shares goes here.
    apart: Option<Apart<'a>>,
    sink: &'a mut Sink<'s>,
}

impl<'a> Walk<'a, '_> {
    fn put(&mut self, item: Item, term: Term, amount: f64) {
        if amount != 0.0 {
            (self.sink)(item, term.into(), amount);
        }
    }

    /// One extension; what it is made of besides is put apart.
    fn extension(&mut self, item: Item, class: Class, kind: &str) {
        self.extensions(item, class, kind, 1);
    }

    /// Several extensions of a type.
    fn extensions(&mut self, item: Item, class: Class, kind: &str, count: u32) {
        (self.sink)(item, self.table.extension(class, kind), f64::from(count));
    }

    fn weight(&mut self, item: Item, terms: &WeightTerms, w: Weight) {
        self.put(item, terms.messages, f64::from(w.messages + w.durations));
        self.put(item, terms.strings, f64::from(w.long_strings));
        self.put(item, terms.string_bytes, w.string_bytes as f64);
        self.put(item, terms.lists, f64::from(w.lists));
        self.put(item, terms.scalars, f64::from(w.scalars));
        self.put(item, terms.structs, f64::from(w.struct_values));
        self.put(item, t!("regex"), f64::from(w.regexes));
        self.put(item, t!("regex_steps"), f64::from(w.regex_steps));
    }

    /// The stats of one family under one name. The stat itself exists once per name; every scope that asks for it keeps
    /// a reference in its own maps.
    fn stats(&mut self, item: Item, id: FamilyId, name: &str) {
        let Some(family) = self.table.family(id) else { return };
        // seeds far apart: with neighbouring ones, names of up to three bytes in different families collide
        let key = xxh3_64_with_seed(name.as_bytes(), (u64::from(id.0) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let seen = self.apart.as_mut().map_or(&mut self.kept_stats, |a| a.kept);
        let known = seen.get(&key).copied();
        let k = known.unwrap_or_else(|| self.matcher.keep(family, name));
        if known.is_none() {
            seen.insert(key, k);
        }
        let all = k.counters + k.gauges + k.histograms + k.texts;
        let terms = [
            (family.group, f64::from(all - k.histograms)),
            (t!("stat.histogram"), f64::from(k.histograms)),
            (t!("stat.token"), f64::from(k.tokens - all)),
        ];
        self.shared(item, key, known.is_none(), &terms);
        self.put(item, t!("stat.refused"), f64::from(k.refused));
        self.put(item, t!("stat.reference"), f64::from(all));
    }

    /// [`Walk::stats`] under a name that is put together.
    fn stats_of(&mut self, item: Item, id: FamilyId, name: fmt::Arguments<'_>) {
        let mut text = std::mem::take(&mut self.name);
        text.clear();
        // writing to a string does not fail
        let _ = text.write_fmt(name);
        self.stats(item, id, &text);
        self.name = text;
    }

    /// The terms of something that exists once: charged to `item` when it is the first, or kept apart.
    fn shared(&mut self, item: Item, key: u64, first: bool, terms: &[(Term, f64)]) {
        if let Some(apart) = &mut self.apart {
            apart.uses.push((item, key));
            if first {
                apart.terms.extend(terms.iter().map(|(term, amount)| (key, *term, *amount)));
            }
        } else if first {
            terms.iter().for_each(|(term, amount)| self.put(item, *term, *amount));
        }
    }

    /// Something that exists once for all that use it, told by `what` and `key`.
    fn once(&mut self, item: Item, what: &'static str, key: &str, terms: &[(Term, f64)]) {
        let hash = xxh3_64_with_seed(key.as_bytes(), xxh3_64(what.as_bytes()));
        let first = match &mut self.apart {
            Some(apart) => apart.kept.insert(hash, Kept::default()).is_none(),
            None => self.seen.insert((what, key.to_owned())),
        };
        self.shared(item, hash, first, terms);
    }

    fn secrets(&mut self) {
        for secret in &self.proxy.secrets {
            let bytes: f64 = secret.payloads.iter().map(|x| decoded(x.len_bytes, x.base64)).sum();
            self.secrets.insert(&secret.meta.name, (secret.kind, bytes));
        }
    }

    fn clusters(&mut self, range: Range<usize>) {
        let p = self.proxy;
        let mut hosts: HashMap<&str, usize> = HashMap::new();
        for (i, e) in p.endpoint_sets.iter().enumerate() {
            hosts.insert(&e.meta.name, i);
        }
        let apart = apart(p);
        for i in range {
            if apart {
                // a small table stays in the cache
                self.kept_stats.clear();
            }
            self.cluster(i, &p.clusters[i], &hosts);
        }
    }

    fn rest(&mut self) {
        let p = self.proxy;
        self.process(p.bootstrap.as_ref());
        self.subscriptions();
        for (i, l) in p.listeners.iter().enumerate() {
            self.listener(i, l);
        }
        for (i, t) in p.route_tables.iter().enumerate() {
            self.route_table(i, t);
        }
        for (i, s) in p.secrets.iter().enumerate() {
            self.secret(i, s);
        }
        for (i, e) in p.extension_configs.iter().enumerate() {
            self.extension_config(i, e);
        }
        for (i, s) in p.scoped_routes.iter().enumerate() {
            self.put(Item::Scoped(i), t!("scope"), f64::from(s.scopes));
        }
    }

    fn process(&mut self, bootstrap: Option<&Bootstrap>) {
        self.put(Item::Base, t!("base"), 1.0);
        self.put(Item::Base, t!("base.worker"), self.workers);
        self.stats(Item::Base, family!("server"), "");
        let ads = bootstrap.is_none_or(|b| b.ads);
        self.put(
            Item::Base,
            if bootstrap.is_some_and(|b| b.delta) { t!("xds.delta") } else { t!("xds.ads") },
            f64::from(u8::from(ads)),
        );
        if let Some(b) = bootstrap {
            for source in b.sources.iter().flatten() {
                match source {
                    Source::Shared => {}
                    Source::OwnStream => self.put(Item::Subscription, t!("subscription.stream"), 1.0),
                    Source::File => self.put(Item::Subscription, t!("subscription.file"), 1.0),
                }
            }
            // the list of extensions is the same in every bootstrap of a build: the base has it
            let node = b.node_metadata;
            let values = node.messages + node.strings + node.scalars;
            self.put(Item::Bootstrap, t!("bootstrap.node"), f64::from(values));
            self.put(Item::Bootstrap, t!("bootstrap.tag"), f64::from(b.stats.stats_tags));
        }
    }

    fn route_table(&mut self, i: usize, t: &RouteTable) {
        // the section lists every live inline table, those of hidden generations too
        let item = Item::RouteTable(i);
        if t.meta.state == State::Static {
            self.put(item, t!("route_table.inline"), 1.0);
        } else {
            self.put(item, t!("route_table"), 1.0);
        }
        for (j, v) in t.virtual_hosts.iter().enumerate() {
            self.virtual_host(Item::VirtualHost(i, j), v);
        }
    }

    fn secret(&mut self, i: usize, s: &Secret) {
        let item = Item::Secret(i);
        if s.meta.state == State::Static {
            self.put(item, t!("secret.static"), 1.0);
            self.put(item, t!("secret.static.string_bytes"), f64::from(s.meta.weight.string_bytes));
        } else {
            self.put(item, t!("secret"), 1.0);
            self.weight(item, &SECRET, s.meta.weight);
            self.stats(item, family!("sds"), &s.meta.name);
        }
    }

    fn extension_config(&mut self, i: usize, e: &ExtensionConfig) {
        let item = Item::Extension(i);
        self.put(item, t!("extension_config"), 1.0);
        self.weight(item, &FILTER, e.extension.weight);
        self.stats(item, family!("ecds"), &e.meta.name);
    }

    /// Each xDS type that is subscribed to has its own state and buffers.
    fn subscriptions(&mut self) {
        let p = self.proxy;
        let item = Item::Subscription;
        let delta = p.bootstrap.as_ref().is_some_and(|b| b.delta);
        let managers =
            || p.listeners.iter().flat_map(|l| &l.chains).flat_map(|c| &c.filters).filter_map(|f| f.hcm.as_ref());
        let contexts = || {
            let downstream = p.listeners.iter().flat_map(|l| &l.chains).filter_map(|c| c.tls.as_ref());
            p.clusters.iter().flat_map(|c| &c.tls).chain(downstream)
        };
        if p.clusters.iter().any(|c| c.discovery == Discovery::Eds && c.eds_source == Source::Shared) {
            self.put(item, subscription(t!("subscription.endpoints"), delta), 1.0);
        }
        let over_rds = |h: &HttpConnectionManager| matches!(h.routes, RouteSource::Rds(_));
        let other = |h: &HttpConnectionManager| over_rds(h) && h.routes_source != Source::Shared;
        let tables = p.route_tables.iter().any(|t| t.meta.state != State::Static);
        if tables && !managers().any(|h| other(h)) {
            self.put(item, subscription(t!("subscription.routes"), delta), 1.0);
        }
        let secrets = p.secrets.iter().filter(|s| s.meta.state != State::Static).count() as f64;
        let from = |source: Source| move |t: &Arc<TlsContext>| t.secrets_source == source;
        if contexts().any(from(Source::OwnStream)) {
            self.put(item, t!("subscription.stream"), secrets);
        } else if contexts().next().is_some() && contexts().all(from(Source::File)) {
            self.put(item, t!("subscription.file"), secrets);
        } else {
            // over ADS all secrets share one subscription state
            self.put(item, subscription(t!("subscription.secrets"), delta), secrets.min(1.0));
        }
        if !p.extension_configs.is_empty() {
            self.put(item, subscription(t!("subscription.extensions"), delta), 1.0);
        }
        if !p.listeners.is_empty() {
            self.put(item, t!("first.listener"), 1.0);
        }
        let mut chains = p.listeners.iter().flat_map(|l| &l.chains);
        if chains.clone().any(|c| c.filters.iter().any(|f| f.hcm.is_some())) {
            self.put(item, t!("first.http"), 1.0);
        }
        if chains.any(|c| c.tls.is_some()) {
            self.put(item, t!("first.tls_downstream"), 1.0);
        }
        if p.clusters.iter().any(|c| !c.tls.is_empty()) {
            self.put(item, t!("first.tls_upstream"), 1.0);
        }
    }

    fn cluster(&mut self, i: usize, c: &'a Cluster, sets: &HashMap<&str, usize>) {
        self.cluster_proper(Item::Cluster(i), c);
        if c.meta.state == State::Error {
            return;
        }
        let set = sets.get(c.eds_service_name.as_deref().unwrap_or(&c.meta.name)).or_else(|| sets.get(&*c.meta.name));
        self.cluster_hosts(i, c, set.map(|&e| (e, &self.proxy.endpoint_sets[e])));
    }

    /// A cluster without what depends on its hosts.
    fn cluster_proper(&mut self, item: Item, c: &Cluster) {
        if c.meta.state == State::Error {
            self.weight(item, &CLUSTER, c.meta.weight);
            return;
        }
        if c.meta.state == State::Static {
            self.weight(item, &COPY, c.meta.weight);
        }
        let name: &str = if c.alt_stat_name.is_empty() { &c.meta.name } else { &c.alt_stat_name };
        self.put(item, t!("cluster"), 1.0);
        self.put(item, t!("cluster.name_bytes"), c.meta.name.len() as f64);
        let kind = match &c.discovery {
            Discovery::Static => t!("cluster.static"),
            Discovery::Eds => t!("cluster.eds"),
            Discovery::StrictDns => t!("cluster.strict_dns"),
            Discovery::LogicalDns => t!("cluster.logical_dns"),
            Discovery::OriginalDst => t!("cluster.original_dst"),
            Discovery::Custom(_) => t!("cluster.custom"),
        };
        self.put(item, kind, 1.0);
        if self.deferred(c) {
            self.put(item, t!("cluster.deferred"), 1.0);
        } else {
            self.put(item, t!("cluster.worker"), self.workers);
        }
        self.weight(item, &CLUSTER, c.meta.weight);
        // stats
        self.put(item, t!("cluster.deferred_stats"), f64::from(u8::from(self.deferred_stats)));
        // a health check is the first use that creates what was deferred
        let deferred = self.deferred_stats && c.health_checks.all == 0;
        self.stats(item, if deferred { family!("cluster.eager") } else { family!("cluster") }, name);
        if c.discovery == Discovery::Eds {
            self.stats(item, family!("cluster.eds"), name);
            self.put(item, t!("subscription.stream"), f64::from(u8::from(c.eds_source == Source::OwnStream)));
            self.put(item, t!("subscription.file"), f64::from(u8::from(c.eds_source == Source::File)));
        }
        // options
        self.put(item, t!("cluster.breakers"), f64::from(c.circuit_breakers));
        if c.track_remaining > 0 {
            self.stats(item, family!("cluster.track"), name);
        }
        if c.outlier_detection {
            self.put(item, t!("cluster.outlier"), 1.0);
            self.stats(item, family!("cluster.outlier"), name);
        }
        let checks = c.health_checks;
        if checks.all > 0 {
            self.put(item, t!("cluster.health"), f64::from(checks.all));
            self.put(item, t!("cluster.health.http"), f64::from(checks.http));
            self.put(item, t!("cluster.health.grpc"), f64::from(checks.grpc));
            self.stats(item, family!("cluster.health"), name);
        }
        self.put(item, t!("cluster.http"), f64::from(u8::from(c.http_protocol_options)));
        self.put(item, t!("cluster.http_filter"), c.http_filters.len() as f64);
        self.put(item, t!("cluster.filter"), c.filters.len() as f64);
        self.put(item, t!("cluster.metadata"), f64::from(u8::from(c.has_metadata)));
        self.put(item, t!("cluster.matches"), f64::from(u8::from(c.transport_socket_matches > 0)));
        self.put(item, t!("cluster.match"), f64::from(c.transport_socket_matches));
        for k in 0..c.transport_socket_matches {
            self.stats_of(item, family!("cluster.match"), format_args!("{name}.{k}"));
        }
        if !c.tls.is_empty() {
            self.stats(item, family!("cluster.tls"), name);
        }
        for tls in &c.tls {
            self.put(item, t!("tls.upstream"), 1.0);
            self.put(item, t!("tls.upstream.worker"), self.workers);
            self.tls(item, tls, name, family!("cluster.cert"));
        }
        self.balancer_stats(item, c, name);
    }

    /// Workers create the cluster on first use only.
    fn deferred(&self, c: &Cluster) -> bool {
        self.deferred_clusters && matches!(c.discovery, Discovery::Static | Discovery::Eds)
    }

    /// Hosts of cluster `i` and what balances over them; `set` is its endpoint set with the index.
    fn cluster_hosts(&mut self, i: usize, c: &Cluster, set: Option<(usize, &EndpointSet)>) {
        let deferred = self.deferred(c);
        let (hosts, host_item) = match (&c.discovery, set) {
            (Discovery::Eds, Some((e, set))) => {
                let (item, w) = (Item::Endpoints(e), set.meta.weight);
                self.put(item, t!("endpoints"), 1.0);
                self.put(item, t!("host.string_bytes"), f64::from(w.string_bytes));
                let values = f64::from(w.struct_values) / f64::from(set.hosts.with_metadata.max(1));
                self.put(item, t!("host.metadata.values"), values * f64::from(set.hosts.distinct_metadata));
                // the cache is of the aggregated subscription (`eds.cc`: `use_eds_cache_for_ads`)
                if c.eds_source == Source::Shared {
                    self.weight(item, &ENDPOINTS, w);
                    self.put(item, t!("endpoints.arena_bytes"), arena_bytes(set.hosts, w));
                }
                (set.hosts, item)
            }
            // hosts written into the cluster: the dump lists them apart too, and they are charged there
            (_, Some((e, _))) => (c.inline_hosts, Item::Endpoints(e)),
            _ => (c.inline_hosts, Item::InlineEndpoints(i)),
        };
        self.hosts(host_item, c, hosts, deferred);
        if c.outlier_detection {
            self.put(host_item, t!("host.outlier"), f64::from(hosts.hosts));
        }
        let checks = c.health_checks;
        if checks.all > 0 {
            // the connection of a check stays open between checks when the host takes it; loopback without a server refuses
            let (all, open) = (f64::from(hosts.hosts), f64::from(hosts.hosts - hosts.loopback.min(hosts.hosts)));
            self.put(host_item, t!("host.health"), all * f64::from(checks.all));
            self.put(host_item, t!("host.health.http"), all * f64::from(checks.http));
            self.put(host_item, t!("host.health.grpc"), all * f64::from(checks.grpc));
            self.put(host_item, t!("host.health.open"), open * f64::from(checks.all));
            self.put(host_item, t!("host.health.http.open"), open * f64::from(checks.http));
            self.put(host_item, t!("host.health.grpc.open"), open * f64::from(checks.grpc));
        }
        self.balancer(Item::Cluster(i), c, hosts, deferred);
    }

    fn hosts(&mut self, item: Item, c: &Cluster, h: HostCounts, deferred: bool) {
        let n = f64::from(h.hosts);
        let workers = if deferred { 0.0 } else { self.workers };
        self.put(item, t!("host"), n);
        self.put(item, t!("host.deferred"), if deferred { n } else { 0.0 });
        self.put(item, t!("host.worker"), n * workers);
        if matches!(c.discovery, Discovery::StrictDns) {
            self.put(item, t!("host.dns"), n);
        }
        self.put(item, t!("host.metadata"), f64::from(h.with_metadata));
        self.put(item, t!("host.metadata.distinct"), f64::from(h.distinct_metadata));
        if h.weights_differ && h.hosts > 1 {
            self.put(item, t!("cluster.weighted"), 1.0);
            self.put(item, t!("cluster.weighted.worker"), workers);
            self.put(item, t!("host.weighted"), n);
            self.put(item, t!("host.weighted.worker"), n * workers);
        }
        let extra = f64::from(h.localities.saturating_sub(1));
        self.put(item, t!("locality"), extra);
        self.put(item, t!("locality.worker"), extra * workers);
        let extra = f64::from(h.priorities.saturating_sub(1));
        self.put(item, t!("priority"), extra);
        self.put(item, t!("priority.worker"), extra * workers);
    }

    /// Tables of the load balancers: once per priority for ring hash and maglev, per worker for the others.
    fn balancer(&mut self, item: Item, c: &Cluster, h: HostCounts, deferred: bool) {
        let policy = c.lb.policy.to_ascii_lowercase();
        let priorities = f64::from(h.priorities.max(1));
        let workers = if deferred { 0.0 } else { self.workers };
        let updated = f64::from(u8::from(c.discovery == Discovery::Eds));
        if policy.contains("ring") {
            self.put(item, t!("lb.ring"), priorities);
            let bytes = ring_bytes(h.hosts, c.lb.minimum_ring_size, c.lb.maximum_ring_size);
            self.put(item, t!("lb.ring_bytes"), priorities * bytes);
            self.put(item, t!("lb.ring_bytes.eds"), priorities * bytes * updated);
        } else if policy.contains("maglev") {
            self.put(item, t!("lb.maglev"), priorities);
            let bytes = maglev_bytes(h.hosts, c.lb.table_size, self.table.compact_maglev);
            self.put(item, t!("lb.maglev_bytes"), priorities * bytes);
            self.put(item, t!("lb.maglev_bytes.eds"), priorities * bytes * updated);
        } else if policy.contains("least") {
            self.put(item, t!("lb.least_request"), 1.0);
            self.put(item, t!("lb.least_request.worker"), workers);
        } else if policy.contains("random") {
            self.put(item, t!("lb.random"), 1.0);
        }
        if c.lb.subset_selectors > 0 {
            self.put(item, t!("lb.subset"), 1.0);
            self.put(item, t!("lb.subset.worker"), workers);
            self.put(item, t!("lb.subset.host"), f64::from(h.hosts));
            self.put(item, t!("lb.subset.host.worker"), f64::from(h.hosts) * workers);
        }
        if c.lb.locality_weighted {
            self.put(item, t!("lb.locality_weighted"), 1.0);
        }
    }

    fn balancer_stats(&mut self, item: Item, c: &Cluster, name: &str) {
        let policy = c.lb.policy.to_ascii_lowercase();
        if policy.contains("ring") {
            self.stats(item, family!("cluster.ring"), name);
        } else if policy.contains("maglev") {
            self.stats(item, family!("cluster.maglev"), name);
        }
        if c.lb.subset_selectors > 0 {
            self.stats(item, family!("cluster.subset"), name);
        }
    }

    fn tls(&mut self, item: Item, tls: &TlsContext, owner: &str, cert_family: FamilyId) {
        for r in &tls.certificates {
            let (bytes, sds, key) = self.payload(item, r, false);
            self.put(item, t!("tls.certificate"), 1.0);
            self.put(item, t!("tls.certificate.rsa"), rsa(bytes));
            self.put(
                item,
                if sds { t!("tls.certificate_bytes.sds") } else { t!("tls.certificate_bytes.inline") },
                bytes,
            );
            if sds {
                self.put(item, t!("tls.certificate.sds"), 1.0);
            }
            self.stats_of(item, cert_family, format_args!("{owner}.{key}"));
        }
        for r in &tls.validation {
            let (bytes, sds, key) = self.payload(item, r, true);
            self.put(item, t!("tls.ca"), 1.0);
            self.put(item, if sds { t!("tls.ca_bytes.sds") } else { t!("tls.ca_bytes.inline") }, bytes);
            if sds {
                self.put(item, t!("tls.ca.sds"), 1.0);
            }
            self.stats_of(item, cert_family, format_args!("{owner}.{key}"));
        }
        self.put(item, t!("tls.san"), f64::from(tls.san_matchers));
        self.put(item, t!("tls.alpn"), f64::from(u8::from(tls.alpn_protocols > 0)));
    }

    /// Decoded bytes of what a reference leads to, whether over SDS, and a key for its stats. An object that is walked by
    /// itself does not know its secrets: their bytes are 0 then, and it is noted that it uses them.
    fn payload<'r>(&mut self, item: Item, r: &'r SecretRef, ca: bool) -> (f64, bool, Cow<'r, str>) {
        match r {
            SecretRef::Inline(p) => (decoded(p.len_bytes, p.base64), false, format!("{:08x}", p.hash as u32).into()),
            SecretRef::Sds(name) => {
                let known = self.secrets.get(&**name).map(|s| s.1).filter(|bytes| *bytes > 0.0);
                let bytes = match &mut self.apart {
                    Some(apart) => {
                        apart.secrets.push((item, name.clone(), ca));
                        0.0
                    }
                    None => known.unwrap_or(UNKNOWN_BYTES),
                };
                (bytes, true, Cow::Borrowed(&**name))
            }
            SecretRef::File => (UNKNOWN_BYTES, false, "file".into()),
        }
    }

    fn listener(&mut self, i: usize, l: &'a Listener) {
        let item = Item::Listener(i);
        let chains: Weight = l.chains.iter().map(|c| c.weight).sum();
        if l.meta.state == State::Error {
            self.weight(item, &LISTENER, l.meta.weight);
            return;
        }
        let stat_name =
            if l.stat_prefix.is_empty() { Cow::from(l.address.replace(':', "_")) } else { Cow::from(&*l.stat_prefix) };
        self.put(item, t!("listener"), 1.0);
        self.put(item, t!("listener.worker"), self.workers);
        if l.bound {
            let addresses = f64::from(1 + l.additional_addresses);
            self.put(item, t!("listener.bound"), addresses);
            self.put(item, t!("listener.bound.worker"), addresses * self.workers);
        }
        if l.udp {
            self.put(item, t!("listener.udp"), 1.0);
        }
        self.weight(item, &LISTENER, l.meta.weight - chains);
        if l.meta.state == State::Static {
            self.weight(item, &COPY, l.meta.weight - chains);
            self.put(item, t!("static.wire_bytes"), chains.wire_bytes() as f64);
        }
        self.stats(item, family!("listener"), &stat_name);
        for k in 0..self.worker_count {
            self.stats_of(item, family!("listener.worker"), format_args!("{stat_name}.worker_{k}"));
        }
        for f in &l.listener_filters {
            self.extension(item, Class::Listener, kind_of(f));
            self.weight(item, &FILTER, f.weight);
        }
        for log in &l.access_logs {
            self.access_log(item, log);
        }
        for (j, c) in l.chains.iter().enumerate() {
            self.chain(Item::Chain(i, j), Item::InlineRoutes(i, j), c, &stat_name);
        }
    }

    fn access_log(&mut self, item: Item, log: &Extension) {
        let kind = kind_of(log);
        self.extension(item, Class::AccessLog, kind);
        // an open file has a flush thread's buffers; loggers with one path share it, and most proxies use one path
        if kind.contains(".file.") {
            self.once(item, "file", "", &[(t!("log.file"), 1.0)]);
        }
        if kind.contains(".stream.") {
            self.once(item, "stream", "", &[(t!("log.file"), 1.0)]);
        }
        if kind.contains(".grpc.") || kind.contains("open_telemetry") {
            self.once(item, "als", kind, &[(t!("log.grpc"), 1.0)]);
        }
        self.weight(item, &LOG, log.weight);
    }

    fn chain(&mut self, item: Item, inline: Item, c: &'a FilterChain, stat_name: &str) {
        self.put(item, t!("chain"), 1.0);
        if c.is_default {
            self.put(item, t!("chain.default"), 1.0);
        }
        self.put(item, t!("chain.protocol"), f64::from(c.application_protocols));
        self.put(item, t!("chain.server_name"), c.server_names.len().saturating_sub(1) as f64);
        self.put(item, t!("chain.named"), f64::from(u8::from(!c.name.is_empty())));
        let base64: u32 = c
            .filters
            .iter()
            .filter_map(|f| f.hcm.as_ref())
            .flat_map(|h| &h.http_filters)
            .flat_map(|f| &f.payloads)
            .filter(|p| p.kind == PayloadKind::Wasm)
            .map(|p| p.len_bytes / 4)
            .sum();
        // filters stay packed in the retained listener, as Envoy got them
        self.put(
            item,
            t!("chain.wire_bytes"),
            size_class(c.weight.wire_bytes().saturating_sub(u64::from(base64))) as f64,
        );
        self.put(item, t!("chain.messages"), f64::from(c.weight.messages + c.weight.durations));
        if let Some(tls) = &c.tls {
            self.put(item, t!("tls.downstream"), 1.0);
            self.stats(item, family!("listener.tls"), stat_name);
            self.tls(item, tls, stat_name, family!("listener.cert"));
        }
        for f in &c.filters {
            if let Some(h) = &f.hcm {
                self.http(item, inline, h, stat_name);
                continue;
            }
            let kind = kind_of(&f.extension);
            self.extension(item, Class::Network, kind);
            self.filter_weight(item, kind, f.extension.weight);
            for log in &f.access_logs {
                self.access_log(item, log);
            }
            if kind.ends_with(".TcpProxy") && !f.stat_prefix.is_empty() {
                self.stats(item, family!("tcp"), &f.stat_prefix);
            }
        }
    }

    fn filter_weight(&mut self, item: Item, kind: &str, w: Weight) {
        if kind.ends_with(".RBAC") || kind.ends_with(".RBACPerRoute") {
            self.weight(item, &RBAC, w);
        } else if kind.ends_with(".JwtAuthentication") {
            self.weight(item, &JWT, w);
        } else {
            self.weight(item, &FILTER, w);
        }
    }

    fn http(&mut self, item: Item, inline: Item, h: &'a HttpConnectionManager, stat_name: &str) {
        self.put(item, t!("hcm"), 1.0);
        self.put(item, t!("hcm.worker"), self.workers);
        self.stats(item, family!("http"), &h.stat_prefix);
        self.stats_of(item, family!("http.listener"), format_args!("{stat_name}.http.{}", h.stat_prefix));
        match &h.routes {
            RouteSource::Rds(table) => {
                self.put(item, t!("hcm.rds"), 1.0);
                self.stats_of(item, family!("http.rds"), format_args!("{}.rds.{table}", h.stat_prefix));
                match h.routes_source {
                    Source::Shared => {}
                    Source::OwnStream => self.once(item, "rds", table, &[(t!("subscription.stream"), 1.0)]),
                    Source::File => self.once(item, "rds", table, &[(t!("subscription.file"), 1.0)]),
                }
            }
            RouteSource::Inline(table) => {
                if !self.routes_listed {
                    let table: &RouteTable = table;
                    self.put(inline, t!("route_table.inline"), 1.0);
                    for v in &table.virtual_hosts {
                        self.virtual_host(inline, v);
                    }
                }
            }
            RouteSource::Scoped => self.put(item, t!("hcm.scoped"), 1.0),
            RouteSource::None => {}
        }
        self.put(item, t!("hcm.upgrade"), f64::from(h.upgrades));
        self.put(item, t!("hcm.tracing"), f64::from(u8::from(h.tracing)));
        for log in &h.access_logs {
            self.access_log(item, log);
        }
        for f in &h.http_filters {
            let kind = kind_of(f);
            if f.config_discovery {
                self.put(item, t!("hf.discovery"), 1.0);
                continue;
            }
            self.extension(item, Class::Http, kind);
            let code = size_class(f.payloads.iter().map(|p| decoded(p.len_bytes, p.base64)).sum::<f64>() as u64) as f64;
            if kind.ends_with(".Lua") {
                self.put(item, t!("lua.code_bytes"), f.weight.string_bytes as f64);
            } else if kind.ends_with(".Wasm") {
                self.put(item, t!("wasm.code_bytes"), code);
                let hash = f.payloads.iter().fold(0u64, |a, p| a.rotate_left(1) ^ p.hash);
                // without code in it, it is an extension compiled into Envoy (the null runtime), which needs no V8
                if code > 0.0 {
                    let terms = [
                        (t!("wasm.vm"), 1.0),
                        (t!("wasm.vm.worker"), self.workers),
                        (t!("wasm.vm.code_bytes"), code),
                        (t!("wasm.vm.code_bytes.worker"), code * self.workers),
                    ];
                    self.once(item, "vm", &vm_key(f, hash), &terms);
                }
            } else {
                self.filter_weight(item, kind, f.weight);
            }
            if let Some(family) = self.table.http_filter_family(kind) {
                self.stats(item, family, &h.stat_prefix);
            }
        }
    }

    fn virtual_host(&mut self, item: Item, v: &VirtualHost) {
        self.put(item, t!("vhost"), 1.0);
        self.put(item, t!("vhost.domain"), f64::from(v.domains));
        self.put(item, t!("vhost.domain_bytes"), f64::from(v.domain_bytes));
        for name in &v.stat_names {
            self.stats_of(item, family!("vhost"), format_args!("{}.{name}", v.name));
        }
        let mut own = v.weight;
        for o in &v.filter_overrides {
            // they stay packed in the retained table, beside the object made of them
            own = own - o.weight;
            let one = o.weight.wire_bytes() / u64::from(o.count.max(1));
            self.put(item, t!("route.filter_bytes"), f64::from(o.count) * size_class(one) as f64);
            self.extensions(item, Class::Route, &o.type_name, o.count);
            self.filter_weight(item, &o.type_name, o.weight);
        }
        self.weight(item, &VHOST, own);
        let r = &v.routes;
        self.put(item, t!("vhost.virtual_clusters"), f64::from(u8::from(r.virtual_clusters > 0)));
        for (term, n) in [
            (t!("vhost.virtual_cluster"), r.virtual_clusters),
            (t!("route.prefix"), r.prefix),
            (t!("route.path"), r.path),
            (t!("route.regex"), r.regex),
            (t!("route.other"), r.other),
            (t!("route.header_matcher"), r.header_matchers),
            (t!("route.query_matcher"), r.query_matchers),
            (t!("route.redirect"), r.redirects),
            (t!("route.direct_response"), r.direct_responses),
            (t!("route.weighted_cluster"), r.weighted_clusters),
            (t!("route.retry"), r.plain_retries),
            (t!("route.retry.predicate"), r.retry_predicates),
            (t!("route.header_addition"), r.header_additions),
            (t!("route.header_removal"), r.header_removals),
            (t!("route.hash"), r.hash_policies),
            (t!("route.mirror"), r.mirrors),
            (t!("route.rate_limit"), r.rate_limits),
        ] {
            self.put(item, term, f64::from(n));
        }
    }
}

/// The type of an extension's configuration, or its name when it has none.
pub(super) fn kind_of(e: &Extension) -> &str {
    if e.type_name.is_empty() { &e.name } else { &e.type_name }
}
