//! Who names whom in one proxy, what nobody names, and what would go with a resource (its retained bytes).
//!
//! Retained bytes are those of the dominator tree: a cluster reached by one virtual host only goes with it, one reached
//! by two goes with neither alone.

use foldhash::{HashMap, HashMapExt};

use crate::cost::envoy::Priced;
use crate::model::envoy::{Name, NetworkFilter, Proxy, RouteSource, SecretRef, State, TlsContext};

/// Index of a node: everything that is priced and can be named.
pub(super) type Node = usize;

/// Retained bytes and the unreferenced, by index into the proxy's lists.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Parallel to `clusters`.
    pub(super) cluster_retained: Vec<u64>,
    /// Parallel to `listeners`.
    pub(super) listener_retained: Vec<u64>,
    /// Parallel to `route_tables`.
    pub(super) table_retained: Vec<u64>,
    /// Parallel to `route_tables`' virtual hosts.
    pub(super) virtual_host_retained: Vec<Vec<u64>>,
    /// Parallel to `endpoint_sets`.
    pub(super) endpoint_set_retained: Vec<u64>,
    /// Parallel to `secrets`.
    pub(super) secret_retained: Vec<u64>,
    /// What no other resource alone leads to: the retained bytes of these add up to all of them.
    pub(super) outermost: Outermost,
    /// Indices of dynamic clusters that nothing names.
    pub(super) dead_clusters: Vec<usize>,
    /// Indices of dynamic route tables that no listener names.
    pub(super) dead_tables: Vec<usize>,
    /// Indices of secrets that no TLS context names.
    pub(super) dead_secrets: Vec<usize>,
    /// Indices of endpoint sets without their cluster.
    pub(super) orphan_endpoint_sets: Vec<usize>,
    /// A route or filter chooses clusters at run time, so "nothing names it" is no claim to make.
    pub(super) dynamic_clusters: bool,
}

/// Whether each resource hangs off the root of the dominator tree; lists are parallel to the proxy's.
#[derive(Debug, Default)]
pub(super) struct Outermost {
    pub(super) clusters: Vec<bool>,
    pub(super) listeners: Vec<bool>,
    pub(super) tables: Vec<bool>,
    pub(super) virtual_hosts: Vec<Vec<bool>>,
    pub(super) endpoint_sets: Vec<bool>,
    pub(super) secrets: Vec<bool>,
}

impl Graph {
    /// Retained bytes of a resource and whether it is outermost; `None` for kinds that lead to nothing.
    pub(super) fn of(&self, kind: &str, index: usize, host: usize) -> Option<(u64, bool)> {
        let top = &self.outermost;
        Some(match kind {
            "cluster" => (self.cluster_retained[index], top.clusters[index]),
            "listener" => (self.listener_retained[index], top.listeners[index]),
            "route_config" => (self.table_retained[index], top.tables[index]),
            "virtual_host" => (self.virtual_host_retained[index][host], top.virtual_hosts[index][host]),
            "endpoint" => (self.endpoint_set_retained[index], top.endpoint_sets[index]),
            "secret" => (self.secret_retained[index], top.secrets[index]),
            _ => return None,
        })
    }
}

/// Types of network filters that choose a cluster from SNI or the original destination.
const CHOOSING_FILTERS: [&str; 3] = ["sni_cluster", "sni_dynamic_forward_proxy", "forward_cluster"];

/// Nodes and edges of one proxy: a hundred thousand of either, so each edge is a pair of numbers in one list.
#[derive(Default)]
struct Builder {
    bytes: Vec<u64>,
    named: Vec<bool>,
    /// (to, from)
    edges: Vec<(u32, u32)>,
}

impl Builder {
    fn node(&mut self, bytes: u64) -> Node {
        self.bytes.push(bytes);
        self.named.push(false);
        self.bytes.len() - 1
    }

    fn edge(&mut self, from: Node, to: Node) {
        let edge = (to as u32, from as u32);
        if from != to && self.edges.last() != Some(&edge) {
            self.named[to] = true;
            self.edges.push(edge);
        }
    }
}

/// Nodes by name. A name is nearly always one node's; the others (a warming cluster beside its active self) are chained.
#[derive(Default)]
struct ByName<'a> {
    first: HashMap<&'a str, Node>,
    next: HashMap<Node, Node>,
}

impl<'a> ByName<'a> {
    fn add(&mut self, name: &'a str, node: Node) {
        if let Some(before) = self.first.insert(name, node) {
            self.next.insert(node, before);
        }
    }

    fn get(&self, name: &str) -> impl Iterator<Item = Node> {
        std::iter::successors(self.first.get(name).copied(), |n| self.next.get(n).copied())
    }
}

/// Follows every reference of `proxy`.
pub(super) fn build(proxy: &Proxy, priced: &Priced) -> Graph {
    // nodes are made in an order in which references lead forwards: root, listeners, tables, virtual hosts, clusters,
    // endpoint sets, secrets
    let mut b = Builder::default();
    let root = b.node(0);
    let listeners: Vec<Node> = priced.listeners.iter().map(|p| b.node(p.total().bytes)).collect();
    let tables: Vec<Node> = priced.route_tables.iter().map(|p| b.node(p.own.bytes)).collect();
    let hosts: Vec<Vec<Node>> =
        priced.route_tables.iter().map(|p| p.virtual_hosts.iter().map(|v| b.node(v.bytes)).collect()).collect();
    let clusters: Vec<Node> =
        priced.clusters.iter().zip(&priced.inline_endpoints).map(|(c, e)| b.node(c.bytes + e.bytes)).collect();
    let sets: Vec<Node> = priced.endpoint_sets.iter().map(|p| b.node(p.bytes)).collect();
    let secrets: Vec<Node> = priced.secrets.iter().map(|p| b.node(p.bytes)).collect();

    let mut cluster_by_name = ByName::default();
    let mut cluster_by_service = ByName::default();
    for (c, n) in proxy.clusters.iter().zip(&clusters) {
        cluster_by_name.add(&c.meta.name, *n);
        cluster_by_service.add(c.service_name(), *n);
    }
    let mut table_by_name: HashMap<&str, Node> = HashMap::new();
    let mut inline_by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, (t, n)) in proxy.route_tables.iter().zip(&tables).enumerate() {
        if t.meta.state == State::Static {
            inline_by_hash.entry(t.meta.text_hash).or_default().push(i);
        } else {
            table_by_name.insert(&t.meta.name, *n);
        }
    }
    let mut secret_by_name = ByName::default();
    for (s, n) in proxy.secrets.iter().zip(&secrets) {
        secret_by_name.add(&s.meta.name, *n);
    }

    let mut out = Graph::default();
    let name_clusters = |b: &mut Builder, from: Node, names: &[Name]| {
        for name in names {
            cluster_by_name.get(name).for_each(|to| b.edge(from, to));
        }
    };
    let name_secrets = |b: &mut Builder, from: Node, tls: &TlsContext| {
        for r in tls.certificates.iter().chain(&tls.validation) {
            if let SecretRef::Sds(name) = r {
                secret_by_name.get(name).for_each(|to| b.edge(from, to));
            }
        }
    };
    let mut scoped = false;
    for (l, n) in proxy.listeners.iter().zip(&listeners) {
        b.edge(root, *n);
        name_clusters(&mut b, *n, l.meta.cluster_refs());
        for c in &l.chains {
            if let Some(tls) = &c.tls {
                name_secrets(&mut b, *n, tls);
            }
            for f in &c.filters {
                out.dynamic_clusters |= chooses(f);
                name_clusters(&mut b, *n, &f.clusters);
                match f.hcm.as_ref().map(|h| &h.routes) {
                    Some(RouteSource::Rds(name)) => {
                        if let Some(to) = table_by_name.get(&**name) {
                            b.edge(*n, *to);
                        }
                    }
                    Some(RouteSource::Inline(t)) => {
                        // one listed copy per chain that has it; any of them will do for sizes
                        if let Some(i) = inline_by_hash.get_mut(&t.meta.text_hash).and_then(Vec::pop) {
                            b.edge(*n, tables[i]);
                        }
                        for v in &t.virtual_hosts {
                            out.dynamic_clusters |= v.dynamic_cluster;
                            name_clusters(&mut b, *n, &v.clusters);
                        }
                        name_clusters(&mut b, *n, &t.clusters);
                    }
                    Some(RouteSource::Scoped) => scoped = true,
                    Some(RouteSource::None) | None => {}
                }
            }
        }
    }
    for s in &proxy.scoped_routes {
        for name in &s.route_tables {
            if let Some(to) = table_by_name.get(&**name) {
                b.edge(root, *to);
            }
        }
    }
    for (i, t) in proxy.route_tables.iter().enumerate() {
        out.dynamic_clusters |= t.vhds || t.virtual_hosts.iter().any(|v| v.dynamic_cluster);
        name_clusters(&mut b, tables[i], &t.clusters);
        name_clusters(&mut b, tables[i], t.meta.cluster_refs());
        for (v, n) in t.virtual_hosts.iter().zip(&hosts[i]) {
            b.edge(tables[i], *n);
            name_clusters(&mut b, *n, &v.clusters);
        }
    }
    for (c, n) in proxy.clusters.iter().zip(&clusters) {
        name_clusters(&mut b, *n, &c.children);
        name_clusters(&mut b, *n, c.meta.cluster_refs());
        c.tls.iter().for_each(|t| name_secrets(&mut b, *n, t));
    }
    for e in &proxy.extension_configs {
        name_clusters(&mut b, root, e.meta.cluster_refs());
    }
    for s in &proxy.secrets {
        name_clusters(&mut b, root, s.meta.cluster_refs());
    }
    if let Some(boot) = &proxy.bootstrap {
        name_clusters(&mut b, root, &boot.clusters);
        name_clusters(&mut b, root, boot.meta.cluster_refs());
    }
    for (i, (e, n)) in proxy.endpoint_sets.iter().zip(&sets).enumerate() {
        cluster_by_service.get(&e.meta.name).for_each(|c| b.edge(c, *n));
        if !b.named[*n] {
            out.orphan_endpoint_sets.push(i);
        }
    }

    // nothing can be called unreferenced where the referrers are not in the evidence
    let has_routing = !proxy.listeners.is_empty() && (!proxy.route_tables.is_empty() || no_rds(proxy));
    let unnamed = |b: &Builder, n: Node| !b.named[n];
    if has_routing && !out.dynamic_clusters {
        out.dead_clusters = (0..clusters.len())
            .filter(|i| proxy.clusters[*i].meta.state == State::Active && unnamed(&b, clusters[*i]))
            .collect();
    }
    if !proxy.listeners.is_empty() && !scoped {
        out.dead_tables = (0..tables.len())
            .filter(|i| proxy.route_tables[*i].meta.state == State::Active && unnamed(&b, tables[*i]))
            .collect();
    }
    if !proxy.listeners.is_empty() && !proxy.clusters.is_empty() {
        out.dead_secrets = (0..secrets.len()).filter(|i| unnamed(&b, secrets[*i])).collect();
    }
    if proxy.clusters.is_empty() {
        out.orphan_endpoint_sets.clear();
    }

    let (retained, parent) = dominated_bytes(b);
    let pick = |nodes: &[Node]| nodes.iter().map(|n| retained[*n]).collect::<Vec<u64>>();
    out.cluster_retained = pick(&clusters);
    out.listener_retained = pick(&listeners);
    out.table_retained = pick(&tables);
    out.virtual_host_retained = hosts.iter().map(|h| pick(h)).collect();
    out.endpoint_set_retained = pick(&sets);
    out.secret_retained = pick(&secrets);
    let top = |nodes: &[Node]| nodes.iter().map(|n| parent[*n] as usize == root).collect::<Vec<bool>>();
    out.outermost = Outermost {
        clusters: top(&clusters),
        listeners: top(&listeners),
        tables: top(&tables),
        virtual_hosts: hosts.iter().map(|h| top(h)).collect(),
        endpoint_sets: top(&sets),
        secrets: top(&secrets),
    };
    out
}

fn chooses(f: &NetworkFilter) -> bool {
    CHOOSING_FILTERS.iter().any(|c| f.extension.name.contains(c) || f.extension.type_name.contains(c))
}

fn no_rds(proxy: &Proxy) -> bool {
    let rds = |f: &NetworkFilter| f.hcm.as_ref().is_some_and(|h| matches!(h.routes, RouteSource::Rds(_)));
    !proxy.listeners.iter().flat_map(|l| &l.chains).flat_map(|c| &c.filters).any(rds)
}

/// Bytes of each node's subtree in the dominator tree, and its parent there. Nodes are numbered so that nearly every
/// reference leads forwards; the few that do not (between clusters) count as coming from the root, which can only make
/// a retained size smaller.
fn dominated_bytes(b: Builder) -> (Vec<u64>, Vec<u32>) {
    let Builder { bytes: mut out, mut edges, .. } = b;
    edges.sort_unstable();
    let n = out.len();
    let mut parent = vec![0_u32; n];
    let mut depth = vec![0_u32; n];
    let mut rest = edges.as_slice();
    for v in 1..n {
        let mine = rest.iter().take_while(|(to, _)| *to as usize == v).count();
        let mut dominator: Option<u32> = None;
        for &(_, from) in &rest[..mine] {
            let p = if (from as usize) < v { from } else { 0 };
            dominator = Some(match dominator {
                None => p,
                Some(mut a) => {
                    let mut c = p;
                    while a != c {
                        if depth[a as usize] >= depth[c as usize] {
                            a = parent[a as usize];
                        } else {
                            c = parent[c as usize];
                        }
                    }
                    a
                }
            });
            if dominator == Some(0) {
                break;
            }
        }
        rest = &rest[mine..];
        parent[v] = dominator.unwrap_or(0);
        depth[v] = depth[parent[v] as usize] + 1;
    }
    for v in (1..n).rev() {
        out[parent[v] as usize] += out[v];
    }
    (out, parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dominators() {
        // root -> 1 -> 2, root -> 3; 2 and 3 -> 4; 2 -> 5
        let mut b = Builder::default();
        [0, 1, 10, 100, 1000, 10_000].into_iter().for_each(|n| {
            b.node(n);
        });
        for (from, to) in [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4), (2, 5)] {
            b.edge(from, to);
        }
        let (retained, parent) = dominated_bytes(b);
        assert_eq!(retained, [11_111, 10_011, 10_010, 100, 1000, 10_000]);
        assert_eq!(parent, [0, 0, 1, 0, 0, 2]);
    }
}
