//! The report value of `meshdump diff`: what grew, whose it is and why, then the resources.
//!
//! Resources are matched by kind and name. Which fields of a pair differ is found by `evidence`, which reads both
//! again; here they are joined with what they cost.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::analysis::{Input, ProblemReport, Source, Tool, source};
use super::bpf::Changes;
use super::diff_recording::RecordingDiff;
use super::owners::belongs;
use crate::cost::envoy::{self, Settings};
use crate::model::change::{At, ChangeKind, FieldChange, Slot};
use crate::model::envoy::{Meta, Name, Proxy, State};

/// The whole report.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Diff {
    /// `meshdump/v1`.
    pub api_version: &'static str,
    /// `diff`.
    pub kind: &'static str,
    /// The tool.
    pub tool: Tool,
    /// What was read: first the inputs of the one side, then those of the other.
    pub inputs: Vec<Input>,
    /// Nothing differs but times, versions and order without a meaning.
    pub equal: bool,
    /// Pairs of proxies, those with the largest difference in memory first.
    pub proxies: Vec<ProxyDiff>,
    /// Proxies that only the first side has.
    pub proxies_removed: Vec<String>,
    /// Proxies that only the second side has.
    pub proxies_added: Vec<String>,
    /// BPF maps, when both sides have bpftool's output.
    pub bpf: Option<Changes>,
    /// Two recordings, when that is what the sides are.
    pub recording: Option<RecordingDiff>,
    /// What could not be read.
    pub problems: Vec<ProblemReport>,
}

/// A number on both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Pair {
    /// Then.
    pub before: u64,
    /// Now.
    pub after: u64,
}

impl Pair {
    /// Now minus then.
    pub fn delta(self) -> i64 {
        self.after as i64 - self.before as i64
    }
}

/// One proxy on both sides.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ProxyDiff {
    /// Name in the report.
    pub label: String,
    /// How the two were found to be one: `node_id`, `label` or `only_ones`.
    pub paired_by: &'static str,
    /// Memory by the cost model, in bytes.
    pub memory: MemoryDiff,
    /// What it is made of, the largest difference first; adds up to `memory.allocated`.
    pub by_kind: Vec<KindDiff>,
    /// Namespaces that differ, the largest difference first.
    pub by_namespace: Vec<GroupDiff>,
    /// Resources.
    pub resources: ResourceDiffs,
}

/// Memory on both sides, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize, schemars::JsonSchema)]
pub struct MemoryDiff {
    /// What `/memory` is expected to show.
    pub allocated: Pair,
    /// Anonymous resident memory.
    pub resident: Pair,
    /// What `/memory` showed; null unless both sides have it.
    pub observed: Option<Pair>,
}

/// A kind of resource on both sides.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct KindDiff {
    /// `cluster`, `listener` … as in an analysis, and `base`.
    pub kind: &'static str,
    /// `draining` and the like for listeners that are not in use; empty otherwise.
    pub state: &'static str,
    /// How many.
    pub count: Pair,
    /// Estimated bytes.
    pub bytes: Pair,
    /// The namespace with the largest part in the difference; null when nothing differs.
    pub most: Option<GroupDiff>,
}

/// A namespace on both sides.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct GroupDiff {
    /// Namespace, `-` for what belongs to none.
    pub name: String,
    /// Resources.
    pub count: Pair,
    /// Estimated bytes.
    pub bytes: Pair,
}

/// Resources by what became of them.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct ResourceDiffs {
    /// Only the second side has them.
    pub added: Vec<ResourceDiff>,
    /// Only the first side has them.
    pub removed: Vec<ResourceDiff>,
    /// Fields differ.
    pub changed: Vec<ResourceDiff>,
    /// Only an order differs, and it means something.
    pub reordered: Vec<ResourceDiff>,
    /// Only an order differs that means nothing to traffic; Envoy may still take it for an update.
    pub order_only: Vec<ResourceDiff>,
    /// Resources that are the same.
    pub unchanged: u64,
    /// Pairs of which one could not be read again.
    pub unread: u64,
}

/// One resource.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ResourceDiff {
    /// Kind.
    pub kind: &'static str,
    /// Name.
    pub name: Name,
    /// Namespace, or empty.
    pub namespace: String,
    /// State on the side that has it, the second where both do.
    pub state: &'static str,
    /// State before, when it is another one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub state_before: &'static str,
    /// Estimated bytes.
    pub bytes: Pair,
    /// What differs inside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDiff>,
    /// Differences left out of the list.
    #[serde(skip_serializing_if = "is_zero")]
    pub fields_omitted: u64,
    /// Where it stands; on the second side where both have it.
    pub source: Source,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One difference inside a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct FieldDiff {
    /// `virtual_hosts[web].routes[3].route.timeout`.
    pub path: String,
    /// `added`, `removed`, `changed`, `reordered` or `order_only`.
    pub change: &'static str,
    /// The value before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// The value after.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// A resource of one side.
#[derive(Debug, Clone)]
struct Item {
    kind: &'static str,
    name: Name,
    state: State,
    at: At,
    text_hash: u64,
    bytes: u64,
    count: u64,
    namespace: String,
}

/// One proxy of one side, priced.
#[derive(Debug)]
struct Side {
    items: Vec<Item>,
    /// Base, subscriptions, hidden generations: what belongs to no resource.
    rest: Vec<(&'static str, &'static str, u64, u64)>,
    allocated: u64,
    resident: u64,
    observed: Option<u64>,
    model: String,
}

fn side(proxy: &Proxy) -> Side {
    let priced = envoy::price(proxy, &Settings::of(proxy));
    let mut items = Vec::new();
    let mut add = |kind, meta: &Meta, slot, bytes, count, owner: Option<&crate::model::envoy::Owner>| {
        let namespace = belongs(&meta.name, owner).namespace.into_owned();
        items.push(Item {
            kind,
            name: meta.name.clone(),
            state: meta.state,
            at: At { slot, span: meta.span },
            text_hash: meta.text_hash,
            bytes,
            count,
            namespace,
        });
    };
    for (i, x) in proxy.listeners.iter().enumerate() {
        let bytes = priced.listeners[i].total().bytes;
        add("listener", &x.meta, Slot::Listener(x.meta.state), bytes, 1, x.owner.as_deref());
    }
    for (i, x) in proxy.clusters.iter().enumerate() {
        let bytes = priced.clusters[i].bytes + priced.inline_endpoints[i].bytes;
        add("cluster", &x.meta, Slot::Cluster, bytes, 1, x.owner.as_deref());
    }
    for (i, x) in proxy.route_tables.iter().enumerate() {
        add("route_config", &x.meta, Slot::RouteConfig, priced.route_tables[i].total().bytes, 1, None);
    }
    for (i, x) in proxy.endpoint_sets.iter().enumerate() {
        let bytes = priced.endpoint_sets[i].bytes;
        add("endpoint", &x.meta, Slot::Endpoints, bytes, u64::from(x.hosts.hosts), None);
    }
    for (i, x) in proxy.secrets.iter().enumerate() {
        add("secret", &x.meta, Slot::Secret, priced.secrets[i].bytes, 1, None);
    }
    for (i, x) in proxy.extension_configs.iter().enumerate() {
        add("extension_config", &x.meta, Slot::ExtensionConfig, priced.extension_configs[i].bytes, 1, None);
    }
    for x in &proxy.scoped_routes {
        add("scoped_routes", &x.meta, Slot::ScopedRoutes, 0, u64::from(x.scopes), None);
    }
    if let Some(b) = &proxy.bootstrap {
        add("bootstrap", &b.meta, Slot::Bootstrap, priced.bootstrap.bytes, 1, None);
    }
    items.extend(proxy.unknown.iter().map(|u| Item {
        kind: "unknown",
        name: u.type_name.clone(),
        state: State::Active,
        at: At { slot: Slot::Other, span: u.span },
        text_hash: u.bytes,
        bytes: u.bytes * 2,
        count: u.count,
        namespace: String::new(),
    }));
    let mut rest = vec![("base", "", 1, priced.base.bytes), ("subscription", "", 0, priced.subscription.bytes)];
    let hidden = proxy.stats.as_ref().and_then(|s| s.listeners_draining).unwrap_or(0);
    let shown = proxy.listeners.iter().filter(|l| l.meta.state == State::Draining).count() as u64;
    rest.push(("listener", "draining, not in the dump", hidden.saturating_sub(shown), priced.hidden_draining.bytes));
    let observed = proxy.memory.as_ref().map(|m| m.allocated);
    let (allocated, resident) = (priced.allocated().bytes, priced.resident.bytes);
    Side { items, rest, allocated, resident, observed, model: priced.model }
}

/// Two proxies whose resources are matched, waiting for what differs inside.
#[derive(Debug)]
pub struct Matched {
    label: String,
    paired_by: &'static str,
    before: Side,
    after: Side,
    /// The index on the second side for each of the first.
    partner: Vec<Option<usize>>,
    /// For each of the second side, whether it has a partner.
    taken: Vec<bool>,
    pairs: Vec<(usize, usize)>,
    /// Pairs that have to be read again.
    suspects: Vec<usize>,
}

impl Matched {
    /// The places of both sides that have to be compared, in order.
    pub fn places(&self) -> Vec<(At, At)> {
        let place = |i: &usize| {
            let (a, b) = self.pairs[*i];
            (self.before.items[a].at, self.after.items[b].at)
        };
        self.suspects.iter().map(place).collect()
    }

    /// The cost model used.
    pub fn cost_model(&self) -> &str {
        &self.after.model
    }
}

/// Proxies of both sides.
#[derive(Debug)]
pub struct Paired {
    /// Those that both sides have.
    pub both: Vec<Matched>,
    /// Labels of those that only the first side has.
    pub removed: Vec<String>,
    /// Labels of those that only the second side has.
    pub added: Vec<String>,
}

/// Pairs proxies by node id, then by label; a single one on each side is a pair in any case.
pub fn pair(before: &[&Proxy], after: &[&Proxy]) -> Paired {
    let mut taken = vec![false; after.len()];
    let mut partner: Vec<Option<(usize, &'static str)>> = vec![None; before.len()];
    let mut by = |how: &'static str, key: fn(&Proxy) -> &str| {
        for (i, a) in before.iter().enumerate().filter(|(_, a)| !key(a).is_empty()) {
            if partner[i].is_some() {
                continue;
            }
            let found = after.iter().enumerate().position(|(j, b)| !taken[j] && key(b) == key(a));
            if let Some(j) = found {
                taken[j] = true;
                partner[i] = Some((j, how));
            }
        }
    };
    by("node_id", |p| &p.node.id);
    by("label", |p| &p.label);
    if let ([None], [false]) = (partner.as_slice(), taken.as_slice()) {
        partner[0] = Some((0, "only_ones"));
        taken[0] = true;
    }
    let mut out = Paired { both: Vec::new(), removed: Vec::new(), added: Vec::new() };
    for (a, p) in before.iter().zip(partner) {
        match p {
            Some((j, how)) => out.both.push(matched(a, after[j], how)),
            None => out.removed.push(a.label.clone()),
        }
    }
    out.added = after.iter().zip(taken).filter(|(_, t)| !t).map(|(p, _)| p.label.clone()).collect();
    out
}

fn in_use(state: State) -> bool {
    matches!(state, State::Static | State::Active | State::Warming)
}

fn matched(before: &Proxy, after: &Proxy, paired_by: &'static str) -> Matched {
    let (a, b) = (side(before), side(after));
    let mut m = Matched {
        label: after.label.clone(),
        paired_by,
        partner: vec![None; a.items.len()],
        taken: vec![false; b.items.len()],
        before: a,
        after: b,
        pairs: Vec::new(),
        suspects: Vec::new(),
    };
    m.round(|x, _| Some((x.kind, x.name.clone(), Some(x.state), Some(x.text_hash))));
    m
}

type Key = (&'static str, Name, Option<State>, Option<u64>);

impl Matched {
    /// Pairs the resources that are still free and agree by `key`, in order.
    fn round(&mut self, key: impl Fn(&Item, usize) -> Option<Key>) {
        let mut free: HashMap<Key, Vec<usize>> = HashMap::new();
        for (j, x) in self.after.items.iter().enumerate().rev().filter(|(j, _)| !self.taken[*j]) {
            if let Some(k) = key(x, 1) {
                free.entry(k).or_default().push(j);
            }
        }
        for (i, x) in self.before.items.iter().enumerate() {
            if self.partner[i].is_none()
                && let Some(j) = key(x, 0).and_then(|k| free.get_mut(&k)?.pop())
            {
                self.partner[i] = Some(j);
                self.taken[j] = true;
            }
        }
    }

    /// Resources of both sides that share kind, name and state with others of their side (unnamed route tables, mostly)
    /// and have no partner yet: [`Matched::resolve`] needs to know which of them mean the same.
    pub fn ambiguous(&self) -> (Vec<At>, Vec<At>) {
        let (a, b) = self.ambiguous_items();
        let at = |side: &Side, list: Vec<usize>| list.into_iter().map(|i| side.items[i].at).collect();
        (at(&self.before, a), at(&self.after, b))
    }

    fn ambiguous_items(&self) -> (Vec<usize>, Vec<usize>) {
        let open_a = |i: &usize| self.partner[*i].is_none();
        let open_b = |j: &usize| !self.taken[*j];
        let a: Vec<usize> = (0..self.before.items.len()).filter(open_a).collect();
        let b: Vec<usize> = (0..self.after.items.len()).filter(open_b).collect();
        let key = |x: &Item| (x.kind, x.name.clone(), x.state);
        let mut many: HashMap<(&'static str, Name, State), [u32; 2]> = HashMap::new();
        a.iter().for_each(|i| many.entry(key(&self.before.items[*i])).or_default()[0] += 1);
        b.iter().for_each(|j| many.entry(key(&self.after.items[*j])).or_default()[1] += 1);
        let twice = |x: &Item| many.get(&key(x)).is_some_and(|n| n[0].max(n[1]) > 1 && n[0].min(n[1]) > 0);
        (
            a.into_iter().filter(|i| twice(&self.before.items[*i])).collect(),
            b.into_iter().filter(|j| twice(&self.after.items[*j])).collect(),
        )
    }

    /// Matches what is left: by the hashes of what the [`Matched::ambiguous`] ones mean, then one after the other by
    /// name, then across the states of something in use.
    pub fn resolve(&mut self, before: &[Option<u64>], after: &[Option<u64>]) {
        let (a, b) = self.ambiguous_items();
        let first: HashMap<At, u64> = hashes(&self.before, &a, before);
        let second: HashMap<At, u64> = hashes(&self.after, &b, after);
        let known = [first, second];
        self.round(|x, side| Some((x.kind, x.name.clone(), Some(x.state), Some(*known[side].get(&x.at)?))));
        self.round(|x, _| Some((x.kind, x.name.clone(), Some(x.state), None)));
        self.round(|x, _| in_use(x.state).then(|| (x.kind, x.name.clone(), None, None)));
        self.pairs = self.partner.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
        let suspect = |(_, (i, j)): &(usize, &(usize, usize))| {
            let (x, y) = (&self.before.items[*i], &self.after.items[*j]);
            x.text_hash != y.text_hash || matches!(x.at.slot, Slot::Bootstrap | Slot::ScopedRoutes | Slot::Other)
        };
        self.suspects = self.pairs.iter().enumerate().filter(suspect).map(|(n, _)| n).collect();
    }
}

fn hashes(side: &Side, items: &[usize], hashes: &[Option<u64>]) -> HashMap<At, u64> {
    items.iter().zip(hashes).filter_map(|(i, h)| Some((side.items[*i].at, (*h)?))).collect()
}

type Sums<K> = BTreeMap<K, (Pair, Pair)>;

fn add(sum: &mut (Pair, Pair), second: bool, count: u64, bytes: u64) {
    let (c, b) = if second { (&mut sum.0.after, &mut sum.1.after) } else { (&mut sum.0.before, &mut sum.1.before) };
    *c += count;
    *b += bytes;
}

fn group(name: &str, (count, bytes): (Pair, Pair)) -> GroupDiff {
    GroupDiff { name: if name.is_empty() { "-".to_owned() } else { name.to_owned() }, count, bytes }
}

/// The report on one pair. `found` has what differs in each of [`Matched::places`], with the number of differences left
/// out; `None` where one side could not be read. `inputs` are those of the first side, then those of the second, which
/// begin at `second`.
pub fn proxy(m: &Matched, found: Vec<Option<(Vec<FieldChange>, usize)>>, inputs: &[Input], second: usize) -> ProxyDiff {
    let mut kinds: Sums<(&'static str, &'static str)> = BTreeMap::new();
    let mut namespaces: Sums<&str> = BTreeMap::new();
    let mut inside: Sums<((&'static str, &'static str), &str)> = BTreeMap::new();
    for (second, side) in [(false, &m.before), (true, &m.after)] {
        for x in &side.items {
            let state = if in_use(x.state) { "" } else { x.state.as_str() };
            add(kinds.entry((x.kind, state)).or_default(), second, x.count, x.bytes);
            add(namespaces.entry(&x.namespace).or_default(), second, x.count, x.bytes);
            add(inside.entry(((x.kind, state), &x.namespace)).or_default(), second, x.count, x.bytes);
        }
        for (kind, state, count, bytes) in side.rest.iter().filter(|r| r.2 > 0 || r.3 > 0) {
            add(kinds.entry((kind, state)).or_default(), second, *count, *bytes);
        }
    }
    let weight = |(count, bytes): &(Pair, Pair)| (bytes.delta().unsigned_abs(), count.delta().unsigned_abs());
    let mut by_kind: Vec<KindDiff> = kinds
        .into_iter()
        .map(|((kind, state), sums)| {
            let mine = inside.iter().filter(|((k, _), s)| *k == (kind, state) && weight(s) != (0, 0));
            let most = mine.max_by_key(|(_, s)| weight(s)).map(|((_, n), s)| group(n, *s));
            KindDiff { kind, state, count: sums.0, bytes: sums.1, most }
        })
        .collect();
    by_kind.sort_by_key(|k| std::cmp::Reverse((k.bytes.delta().unsigned_abs(), k.count.delta().unsigned_abs())));
    let mut by_namespace: Vec<GroupDiff> =
        namespaces.into_iter().filter(|(_, s)| weight(s) != (0, 0)).map(|(n, s)| group(n, s)).collect();
    by_namespace.sort_by_key(|g| std::cmp::Reverse(g.bytes.delta().unsigned_abs()));

    let observed = m.before.observed.zip(m.after.observed);
    let memory = MemoryDiff {
        allocated: Pair { before: m.before.allocated, after: m.after.allocated },
        resident: Pair { before: m.before.resident, after: m.after.resident },
        observed: observed.map(|(before, after)| Pair { before, after }),
    };
    ProxyDiff {
        label: m.label.clone(),
        paired_by: m.paired_by,
        memory,
        by_kind,
        by_namespace,
        resources: resources(m, found, inputs, second),
    }
}

fn resources(
    m: &Matched,
    found: Vec<Option<(Vec<FieldChange>, usize)>>,
    inputs: &[Input],
    second: usize,
) -> ResourceDiffs {
    let row = |x: &Item, bytes: Pair, inputs: &[Input]| ResourceDiff {
        kind: x.kind,
        name: x.name.clone(),
        namespace: x.namespace.clone(),
        state: x.state.as_str(),
        state_before: "",
        bytes,
        fields: Vec::new(),
        fields_omitted: 0,
        source: source(x.at.span, inputs),
    };
    let mut out = ResourceDiffs::default();
    for (x, _) in m.before.items.iter().zip(&m.partner).filter(|(_, p)| p.is_none()) {
        out.removed.push(row(x, Pair { before: x.bytes, after: 0 }, &inputs[..second]));
    }
    for (x, _) in m.after.items.iter().zip(&m.taken).filter(|(_, t)| !**t) {
        out.added.push(row(x, Pair { before: 0, after: x.bytes }, &inputs[second..]));
    }
    let mut found: HashMap<usize, Option<(Vec<FieldChange>, usize)>> = m.suspects.iter().copied().zip(found).collect();
    for (n, (i, j)) in m.pairs.iter().enumerate() {
        let (x, y) = (&m.before.items[*i], &m.after.items[*j]);
        let (fields, omitted) = match found.remove(&n) {
            Some(None) => {
                out.unread += 1;
                continue;
            }
            Some(Some(changes)) => changes,
            None => (Vec::new(), 0),
        };
        let moved = x.state != y.state;
        if fields.is_empty() && !moved {
            out.unchanged += 1;
            continue;
        }
        let kinds: HashSet<ChangeKind> = fields.iter().map(|c| c.kind).collect();
        let only = |kind: &[ChangeKind]| !moved && omitted == 0 && kinds.iter().all(|k| kind.contains(k));
        let list = if only(&[ChangeKind::OrderOnly]) {
            &mut out.order_only
        } else if only(&[ChangeKind::OrderOnly, ChangeKind::Reordered]) {
            &mut out.reordered
        } else {
            &mut out.changed
        };
        list.push(ResourceDiff {
            state_before: if moved { x.state.as_str() } else { "" },
            fields: fields
                .into_iter()
                .map(|c| FieldDiff { path: c.path, change: c.kind.as_str(), before: c.before, after: c.after })
                .collect(),
            fields_omitted: omitted as u64,
            ..row(y, Pair { before: x.bytes, after: y.bytes }, &inputs[second..])
        });
    }
    for list in [&mut out.added, &mut out.removed, &mut out.changed, &mut out.reordered, &mut out.order_only] {
        list.sort_by(|a, b| {
            let key = |r: &ResourceDiff| (std::cmp::Reverse(r.bytes.delta().unsigned_abs()), r.kind);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
    }
    out
}

impl ProxyDiff {
    /// Nothing differs but times, versions and order without a meaning.
    pub fn equal(&self) -> bool {
        let r = &self.resources;
        r.added.is_empty() && r.removed.is_empty() && r.changed.is_empty() && r.reordered.is_empty() && r.unread == 0
    }
}
