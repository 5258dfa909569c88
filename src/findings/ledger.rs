//! Every resource of one proxy once, whose it is, and the sums over kinds, namespaces and owners.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};

use super::analysis::{FieldRow, GroupRow, Input, KindRow, ResourceRow, source};
use super::graph::Graph;
use super::owners::{Belongs, belongs};
use super::treemap::{self, Dimension, Grouping, Sums};
use crate::cost::envoy::Priced;
use crate::model::envoy::{Listener, Meta, Proxy, RouteSource, State};
use crate::model::source::Span;

/// The kinds of resources that have rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cluster,
    Endpoint,
    Listener,
    RouteConfig,
    VirtualHost,
    Secret,
    ExtensionConfig,
    Bootstrap,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
            Self::Listener => "listener",
            Self::RouteConfig => "route_config",
            Self::VirtualHost => "virtual_host",
            Self::Secret => "secret",
            Self::ExtensionConfig => "extension_config",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// One resource among all, small enough to hold a hundred thousand.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: Kind,
    /// No other resource alone leads to it.
    outermost: bool,
    /// Index into the proxy's list of that kind.
    index: u32,
    /// Index of the virtual host in its table.
    host: u32,
    bytes: u64,
    retained: u64,
    json: u64,
}

impl Entry {
    fn place(&self) -> (u32, u32) {
        (self.index, self.host)
    }
}

/// Count, estimated bytes and bytes of JSON.
type GroupSums<K> = HashMap<K, (u64, u64, u64)>;

/// Every resource once, with the sums by kind, namespace and owner.
pub(super) struct Ledger<'a> {
    entries: Vec<Entry>,
    kinds: BTreeMap<&'static str, (u64, u64, u64)>,
    namespaces: GroupSums<Cow<'a, str>>,
    owners: GroupSums<Belongs<'a>>,
}

/// What a report lists of a ledger.
pub(super) struct Rows {
    pub(super) resources: Vec<ResourceRow>,
    pub(super) resources_omitted: u64,
    pub(super) resources_omitted_bytes: u64,
    pub(super) by_kind: Vec<KindRow>,
    pub(super) by_namespace: Vec<GroupRow>,
    pub(super) by_owner: Vec<GroupRow>,
    pub(super) owners_omitted: u64,
}

impl<'a> Ledger<'a> {
    fn kind(&mut self, kind: &'static str, n: u64, bytes: u64, json: u64) {
        let k = self.kinds.entry(kind).or_default();
        k.0 += n;
        k.1 += bytes;
        k.2 += json;
    }

    fn entry(&mut self, proxy: &'a Proxy, e: Entry) {
        fn add<K: Eq + Hash>(sums: &mut GroupSums<K>, key: K, bytes: u64, json: u64) {
            let s = sums.entry(key).or_default();
            *s = (s.0 + 1, s.1 + bytes, s.2 + json);
        }
        let b = entry_belongs(proxy, &e);
        add(&mut self.namespaces, b.namespace.clone(), e.bytes, e.json);
        add(&mut self.owners, b, e.bytes, e.json);
        self.entries.push(e);
    }

    /// With what only the references tell.
    pub(super) fn completed(mut self, graph: &Graph) -> Self {
        for e in &mut self.entries {
            if let Some((retained, outermost)) = graph.of(e.kind, e.index as usize, e.host as usize) {
                (e.retained, e.outermost) = (retained, outermost);
            }
        }
        self
    }

    /// Entries retain what they are until they are [`Ledger::completed`].
    pub(super) fn of(proxy: &'a Proxy, priced: &Priced) -> Self {
        let hosts: usize = proxy.route_tables.iter().map(|t| t.virtual_hosts.len()).sum();
        let total = proxy.clusters.len()
            + proxy.endpoint_sets.len()
            + proxy.listeners.len()
            + proxy.route_tables.len()
            + hosts
            + proxy.secrets.len()
            + proxy.extension_configs.len()
            + 1;
        let mut l = Self {
            entries: Vec::with_capacity(total),
            kinds: BTreeMap::new(),
            namespaces: HashMap::new(),
            owners: HashMap::new(),
        };
        let entry = |kind, i: usize, bytes, json| Entry {
            kind,
            outermost: true,
            index: i as u32,
            host: 0,
            bytes,
            retained: bytes,
            json,
        };
        let listed = proxy.endpoints_listed();
        for (i, c) in proxy.clusters.iter().enumerate() {
            let (bytes, endpoints) = (priced.clusters[i].bytes, priced.inline_endpoints[i].bytes);
            l.kind("cluster", 1, bytes, c.meta.span.len_bytes);
            if endpoints > 0 {
                let hosts = if listed[i] { 0 } else { u64::from(c.inline_hosts.hosts) };
                l.kind("endpoint", hosts, endpoints, 0);
            }
            l.entry(proxy, entry(Kind::Cluster, i, bytes + endpoints, c.meta.span.len_bytes));
        }
        for (i, e) in proxy.endpoint_sets.iter().enumerate() {
            let bytes = priced.endpoint_sets[i].bytes;
            l.kind("endpoint", u64::from(e.hosts.hosts), bytes, e.meta.span.len_bytes);
            l.entry(proxy, entry(Kind::Endpoint, i, bytes, e.meta.span.len_bytes));
        }
        for (i, x) in proxy.listeners.iter().enumerate() {
            let p = &priced.listeners[i];
            let chains: u64 = p.chains.iter().map(|c| c.bytes).sum();
            let inline: u64 = p.inline_routes.iter().map(|c| c.bytes).sum();
            let chain_json: u64 = x.chains.iter().map(|c| c.len_bytes).sum();
            // the states of a listener stand in one entry, whose bytes count once
            let same = |y: &&Listener| y.meta.span == x.meta.span;
            let json = if i > 0 && same(&&proxy.listeners[i - 1]) { 0 } else { x.meta.span.len_bytes };
            let states = proxy.listeners[i..].iter().take_while(same);
            let chains_of_all: u64 = states.flat_map(|y| &y.chains).map(|c| c.len_bytes).sum();
            l.kind("listener", 1, p.own.bytes, json.saturating_sub(chains_of_all));
            if !x.chains.is_empty() {
                l.kind("filter_chain", x.chains.len() as u64, chains, chain_json);
            }
            if inline > 0 {
                let tables = p.inline_routes.iter().filter(|r| r.bytes > 0).count();
                l.kind("route_config", tables as u64, inline, 0);
            }
            l.entry(proxy, entry(Kind::Listener, i, p.total().bytes, json));
        }
        for (i, t) in proxy.route_tables.iter().enumerate() {
            let p = &priced.route_tables[i];
            let hosts: u64 = p.virtual_hosts.iter().map(|v| v.bytes).sum();
            let host_json: u64 = t.virtual_hosts.iter().map(|v| v.len_bytes).sum();
            let own_json = t.meta.span.len_bytes.saturating_sub(host_json);
            l.kind("route_config", 1, p.own.bytes, own_json);
            if !t.virtual_hosts.is_empty() {
                l.kind("virtual_host", t.virtual_hosts.len() as u64, hosts, host_json);
            }
            l.entry(proxy, entry(Kind::RouteConfig, i, p.own.bytes, own_json));
            for (h, v) in t.virtual_hosts.iter().enumerate() {
                let e = entry(Kind::VirtualHost, i, p.virtual_hosts[h].bytes, v.len_bytes);
                l.entry(proxy, Entry { host: h as u32, ..e });
            }
        }
        for (i, s) in proxy.secrets.iter().enumerate() {
            let bytes = priced.secrets[i].bytes;
            l.kind("secret", 1, bytes, s.meta.span.len_bytes);
            l.entry(proxy, entry(Kind::Secret, i, bytes, s.meta.span.len_bytes));
        }
        for (i, x) in proxy.extension_configs.iter().enumerate() {
            let bytes = priced.extension_configs[i].bytes;
            l.kind("extension_config", 1, bytes, x.meta.span.len_bytes);
            l.entry(proxy, entry(Kind::ExtensionConfig, i, bytes, x.meta.span.len_bytes));
        }
        if let Some(b) = &proxy.bootstrap {
            let bytes = priced.bootstrap.bytes;
            l.kind("bootstrap", 1, bytes, b.meta.span.len_bytes);
            l.entry(proxy, entry(Kind::Bootstrap, 0, bytes, b.meta.span.len_bytes));
        }
        if priced.subscription.bytes > 0 {
            l.kind("subscription", 1, priced.subscription.bytes, 0);
        }
        if priced.hidden_draining.bytes > 0 {
            let all = proxy.stats.as_ref().and_then(|s| s.listeners_draining).unwrap_or(0);
            let shown = proxy.listeners.iter().filter(|x| x.meta.state == State::Draining).count() as u64;
            l.kind("listener", all.saturating_sub(shown), priced.hidden_draining.bytes, 0);
        }
        for u in &proxy.unknown {
            l.kind("unknown", u.count, u.bytes * 2, u.bytes);
        }
        l
    }

    /// Number of resources.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The configuration grouped by kind, namespace, owner and field.
    pub(super) fn treemap(&self, proxy: &'a Proxy, priced: &Priced) -> Vec<Dimension> {
        let mut by_kind = Grouping::new("kind");
        let mut by_namespace = Grouping::new("namespace");
        let mut by_owner = Grouping::new("owner");
        let mut by_field = Grouping::new("field");
        for e in &self.entries {
            let b = entry_belongs(proxy, e);
            let sums = Sums {
                count: 1,
                bytes: e.bytes,
                json_bytes: e.json,
                retained_bytes: if e.outermost { e.retained } else { 0 },
            };
            let name: Cow<'a, str> = match e_name(proxy, e) {
                "" => "(no name)".into(),
                name => name.into(),
            };
            let owner: Cow<'a, str> = match (&*b.namespace, &*b.owner) {
                ("", "") => "-".into(),
                ("", o) => o.to_owned().into(),
                (n, "") => n.to_owned().into(),
                (n, o) => format!("{n}/{o}").into(),
            };
            by_kind.add(e.kind.as_str().into(), name, sums);
            by_namespace.add(if b.namespace.is_empty() { "-".into() } else { b.namespace }, owner.clone(), sums);
            by_owner.add(owner, e.kind.as_str().into(), sums);
            // virtual hosts are in the fields of their table, and further states of a listener in those of its entry
            let within = e.kind == Kind::VirtualHost || e.kind == Kind::Listener && e.json == 0;
            if let Some(m) = meta(proxy, e).filter(|_| !within) {
                let parts = match &m.fields {
                    Some(fields) => treemap::exclusive(fields.iter().map(|(path, n)| (&**path, *n)), m.span.len_bytes),
                    None => vec![("(small resources)", m.span.len_bytes)],
                };
                for (path, json_bytes) in parts {
                    let path = if path.is_empty() { "(other fields)" } else { path };
                    let sums = Sums { count: 1, json_bytes, ..Sums::default() };
                    by_field.add(e.kind.as_str().into(), path.into(), sums);
                }
            }
        }
        // what is no resource stands beside the groups in every grouping
        let unknown_json = proxy.unknown.iter().map(|u| u.bytes).sum();
        for (name, bytes, json_bytes) in [
            ("(subscriptions)", priced.subscription.bytes, 0),
            ("(draining, not in the dump)", priced.hidden_draining.bytes, 0),
            ("(unknown types)", priced.unknown.bytes, unknown_json),
        ] {
            if bytes > 0 {
                for grouping in [&mut by_kind, &mut by_namespace, &mut by_owner] {
                    grouping.add(name.into(), name.into(), Sums { count: 1, bytes, json_bytes, retained_bytes: bytes });
                }
            }
        }
        [by_kind, by_namespace, by_owner, by_field].into_iter().map(Grouping::finish).collect()
    }

    /// The largest `resources` and `owners`, all kinds and namespaces.
    pub(super) fn rows(self, proxy: &Proxy, inputs: &[Input], resources: usize, owners: usize) -> Rows {
        let Self { mut entries, kinds, namespaces, owners: by_owner } = self;
        let order = |a: &Entry, b: &Entry| {
            let key = |e: &Entry| (Reverse(e.bytes), e.kind.as_str());
            key(a)
                .cmp(&key(b))
                .then_with(|| e_name(proxy, a).cmp(e_name(proxy, b)))
                .then_with(|| a.place().cmp(&b.place()))
        };
        let keep = entries.len().min(resources);
        // of what is only summed up the order does not matter
        if keep < entries.len() {
            entries.select_nth_unstable_by(keep, order);
        }
        entries[..keep].sort_unstable_by(order);
        let omitted = &entries[keep..];
        let dash = |s: &str| if s.is_empty() { "-".to_owned() } else { s.to_owned() };
        let owners_omitted = by_owner.len().saturating_sub(owners) as u64;
        Rows {
            resources_omitted: omitted.len() as u64,
            resources_omitted_bytes: omitted.iter().map(|e| e.bytes).sum(),
            resources: entries[..keep].iter().map(|e| materialise(proxy, inputs, e)).collect(),
            by_kind: kind_rows(kinds),
            by_namespace: groups(namespaces, usize::MAX, |n| dash(&n)),
            by_owner: groups(by_owner, owners, |b| match (&*b.namespace, &*b.owner) {
                ("", o) => dash(o),
                (n, "") => n.to_owned(),
                (n, o) => format!("{n}/{o}"),
            }),
            owners_omitted,
        }
    }
}

/// The largest `keep` groups.
fn groups<K>(sums: GroupSums<K>, keep: usize, name: impl Fn(K) -> String) -> Vec<GroupRow> {
    // names are made for those alone that are as large as the last one kept
    let mut sizes: Vec<u64> = sums.values().map(|s| s.1).collect();
    let least = match keep < sizes.len() {
        true => *sizes.select_nth_unstable_by_key(keep, |bytes| Reverse(*bytes)).1,
        false => 0,
    };
    let row = |(key, (count, bytes, json_bytes))| GroupRow { name: name(key), count, bytes, json_bytes };
    let mut out: Vec<GroupRow> = sums.into_iter().filter(|(_, s)| s.1 >= least).map(row).collect();
    out.sort_by(|a, b| (Reverse(a.bytes), &a.name).cmp(&(Reverse(b.bytes), &b.name)));
    out.truncate(keep);
    out
}

fn kind_rows(kinds: BTreeMap<&'static str, (u64, u64, u64)>) -> Vec<KindRow> {
    let mut out: Vec<KindRow> = kinds
        .into_iter()
        .map(|(kind, (count, bytes, json_bytes))| KindRow { kind: kind.to_owned(), count, bytes, json_bytes })
        .collect();
    out.sort_by_key(|r| Reverse(r.bytes));
    out
}

fn meta<'a>(proxy: &'a Proxy, e: &Entry) -> Option<&'a Meta> {
    let i = e.index as usize;
    Some(match e.kind {
        Kind::Cluster => &proxy.clusters[i].meta,
        Kind::Endpoint => &proxy.endpoint_sets[i].meta,
        Kind::Listener => &proxy.listeners[i].meta,
        Kind::RouteConfig | Kind::VirtualHost => &proxy.route_tables[i].meta,
        Kind::Secret => &proxy.secrets[i].meta,
        Kind::ExtensionConfig => &proxy.extension_configs[i].meta,
        _ => &proxy.bootstrap.as_ref()?.meta,
    })
}

fn e_name<'a>(proxy: &'a Proxy, e: &Entry) -> &'a str {
    if e.kind == Kind::VirtualHost {
        return &proxy.route_tables[e.index as usize].virtual_hosts[e.host as usize].name;
    }
    meta(proxy, e).map_or("", |m| &m.name)
}

fn entry_belongs<'a>(proxy: &'a Proxy, e: &Entry) -> Belongs<'a> {
    let i = e.index as usize;
    let name = e_name(proxy, e);
    match e.kind {
        Kind::Cluster => belongs(name, proxy.clusters[i].owner.as_deref()),
        Kind::Listener => listener_belongs(&proxy.listeners[i]),
        Kind::VirtualHost => belongs(name, proxy.route_tables[i].virtual_hosts[e.host as usize].owner.as_deref()),
        Kind::Bootstrap => Belongs::default(),
        _ => belongs(name, None),
    }
}

fn materialise(proxy: &Proxy, inputs: &[Input], e: &Entry) -> ResourceRow {
    let b = entry_belongs(proxy, e);
    let m = meta(proxy, e);
    let mut place = source(m.map_or(Span::default(), |m| m.span), inputs);
    let mut json_bytes = m.map_or(0, |m| m.span.len_bytes);
    let mut name = m.map_or_else(|| "".into(), |m| m.name.clone());
    if e.kind == Kind::VirtualHost {
        let v = &proxy.route_tables[e.index as usize].virtual_hosts[e.host as usize];
        place.offset += v.offset_in_table;
        json_bytes = v.len_bytes;
        name = v.name.clone();
    }
    ResourceRow {
        kind: e.kind.as_str(),
        name,
        namespace: b.namespace.into_owned(),
        owner: b.owner.into_owned(),
        state: m.map_or("", |m| m.state.as_str()),
        bytes: e.bytes,
        retained_bytes: e.retained,
        json_bytes,
        fields: match (e.kind, m.and_then(|m| m.fields.as_ref())) {
            (Kind::VirtualHost, _) | (_, None) => Vec::new(),
            (_, Some(f)) => f.iter().map(|(path, n)| FieldRow { path: path.clone(), json_bytes: *n }).collect(),
        },
        source: place,
    }
}

/// A listener belongs to whom its name, its metadata or, failing those, its first route table or cluster says.
fn listener_belongs(l: &Listener) -> Belongs<'_> {
    if l.owner.is_some() || l.meta.name.contains('/') {
        return belongs(&l.meta.name, l.owner.as_deref());
    }
    let filters = || l.chains.iter().flat_map(|c| &c.filters);
    let target = filters().find_map(|f| match f.hcm.as_ref().map(|h| &h.routes) {
        Some(RouteSource::Rds(name)) => Some(name),
        Some(RouteSource::Inline(t)) => t.virtual_hosts.iter().find_map(|v| v.clusters.first()),
        _ => None,
    });
    let target = target.or_else(|| filters().find_map(|f| f.clusters.first()));
    match target.map(|t| belongs(t, None)) {
        Some(b) if !b.namespace.is_empty() => b,
        _ => Belongs::default(),
    }
}
