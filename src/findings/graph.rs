//! Who names whom in one proxy, what nobody names, and what would go with a resource (its retained bytes).
//!
//! Retained bytes are those of the dominator tree: a cluster reached by one virtual host only goes with it, one reached
//! by two goes with neither alone.

use foldhash::{HashMap, HashMapExt};

use super::ledger::Kind;
use crate::cost::envoy::Priced;
use crate::model::envoy::{Name, NetworkFilter, Proxy, RouteSource, SecretRef, State, TlsContext};

/// Index of a node: everything that is priced and can be named.
type Node = u32;

/// The source of what nothing else names.
const ROOT: Node = 0;

/// Which node is which resource. Nodes are numbered in an order in which references lead forwards: root, listeners,
/// tables, virtual hosts, clusters, endpoint sets, secrets.
#[derive(Debug, Default)]
struct Numbers {
    tables: Node,
    /// The first virtual host of each table.
    hosts: Vec<Node>,
    clusters: Node,
    endpoint_sets: Node,
    secrets: Node,
}

impl Numbers {
    fn listener(&self, index: usize) -> Node {
        ROOT + 1 + index as Node
    }

    fn table(&self, index: usize) -> Node {
        self.tables + index as Node
    }

    fn virtual_host(&self, table: usize, index: usize) -> Node {
        self.hosts[table] + index as Node
    }

    fn cluster(&self, index: usize) -> Node {
        self.clusters + index as Node
    }

    fn endpoint_set(&self, index: usize) -> Node {
        self.endpoint_sets + index as Node
    }

    fn secret(&self, index: usize) -> Node {
        self.secrets + index as Node
    }
}

/// Retained bytes and the unreferenced, by index into the proxy's lists.
#[derive(Debug, Default)]
pub(super) struct Graph {
    numbers: Numbers,
    /// Bytes of each node and of what it alone leads to.
    retained: Vec<u64>,
    /// The node that alone leads to each one, or the root.
    parent: Vec<Node>,
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

impl Graph {
    /// Retained bytes of a resource, and whether it is outermost: no other resource alone leads to it, so the retained
    /// bytes of the outermost ones add up to all of them. `None` for kinds that lead to nothing.
    pub(super) fn of(&self, kind: Kind, index: usize, host: usize) -> Option<(u64, bool)> {
        let node = match kind {
            Kind::Cluster => self.numbers.cluster(index),
            Kind::Listener => self.numbers.listener(index),
            Kind::RouteConfig => self.numbers.table(index),
            Kind::VirtualHost => self.numbers.virtual_host(index, host),
            Kind::Endpoint => self.numbers.endpoint_set(index),
            Kind::Secret => self.numbers.secret(index),
            Kind::ExtensionConfig | Kind::Bootstrap => return None,
        };
        Some((self.retained[node as usize], self.parent[node as usize] == ROOT))
    }

    /// Retained bytes of a cluster.
    pub(super) fn of_cluster(&self, index: usize) -> u64 {
        self.retained[self.numbers.cluster(index) as usize]
    }

    /// Retained bytes of a route table.
    pub(super) fn of_table(&self, index: usize) -> u64 {
        self.retained[self.numbers.table(index) as usize]
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
    edges: Vec<(Node, Node)>,
}

impl Builder {
    /// Adds nodes; the number of the first of them.
    fn nodes(&mut self, bytes: impl IntoIterator<Item = u64>) -> Node {
        let first = self.bytes.len() as Node;
        self.bytes.extend(bytes);
        self.named.resize(self.bytes.len(), false);
        first
    }

    fn edge(&mut self, from: Node, to: Node) {
        let edge = (to, from);
        if from != to && self.edges.last() != Some(&edge) {
            self.named[to as usize] = true;
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
    let mut b = Builder::default();
    b.nodes([0]);
    b.nodes(priced.listeners.iter().map(|p| p.total().bytes));
    let tables = b.nodes(priced.route_tables.iter().map(|p| p.own.bytes));
    let hosts = priced.route_tables.iter().map(|p| b.nodes(p.virtual_hosts.iter().map(|v| v.bytes))).collect();
    let clusters = b.nodes(priced.clusters.iter().zip(&priced.inline_endpoints).map(|(c, e)| c.bytes + e.bytes));
    let endpoint_sets = b.nodes(priced.endpoint_sets.iter().map(|p| p.bytes));
    let secrets = b.nodes(priced.secrets.iter().map(|p| p.bytes));
    let n = Numbers { tables, hosts, clusters, endpoint_sets, secrets };

    let mut cluster_by_name = ByName::default();
    let mut cluster_by_service = ByName::default();
    for (i, c) in proxy.clusters.iter().enumerate() {
        cluster_by_name.add(&c.meta.name, n.cluster(i));
        cluster_by_service.add(c.service_name(), n.cluster(i));
    }
    let mut table_by_name: HashMap<&str, Node> = HashMap::new();
    let mut inline_by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, t) in proxy.route_tables.iter().enumerate() {
        if t.meta.state == State::Static {
            inline_by_hash.entry(t.meta.text_hash).or_default().push(i);
        } else {
            table_by_name.insert(&t.meta.name, n.table(i));
        }
    }
    let mut secret_by_name = ByName::default();
    for (i, s) in proxy.secrets.iter().enumerate() {
        secret_by_name.add(&s.meta.name, n.secret(i));
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
    for (i, l) in proxy.listeners.iter().enumerate() {
        let listener = n.listener(i);
        b.edge(ROOT, listener);
        name_clusters(&mut b, listener, l.meta.cluster_refs());
        for c in &l.chains {
            if let Some(tls) = &c.tls {
                name_secrets(&mut b, listener, tls);
            }
            for f in &c.filters {
                out.dynamic_clusters |= chooses(f);
                name_clusters(&mut b, listener, &f.clusters);
                match f.hcm.as_ref().map(|h| &h.routes) {
                    Some(RouteSource::Rds(name)) => {
                        if let Some(to) = table_by_name.get(&**name) {
                            b.edge(listener, *to);
                        }
                    }
                    Some(RouteSource::Inline(t)) => {
                        // one listed copy per chain that has it; any of them will do for sizes
                        if let Some(i) = inline_by_hash.get_mut(&t.meta.text_hash).and_then(Vec::pop) {
                            b.edge(listener, n.table(i));
                        }
                        for v in &t.virtual_hosts {
                            out.dynamic_clusters |= v.dynamic_cluster;
                            name_clusters(&mut b, listener, &v.clusters);
                        }
                        name_clusters(&mut b, listener, &t.clusters);
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
                b.edge(ROOT, *to);
            }
        }
    }
    for (i, t) in proxy.route_tables.iter().enumerate() {
        out.dynamic_clusters |= t.vhds || t.virtual_hosts.iter().any(|v| v.dynamic_cluster);
        name_clusters(&mut b, n.table(i), &t.clusters);
        name_clusters(&mut b, n.table(i), t.meta.cluster_refs());
        for (j, v) in t.virtual_hosts.iter().enumerate() {
            b.edge(n.table(i), n.virtual_host(i, j));
            name_clusters(&mut b, n.virtual_host(i, j), &v.clusters);
        }
    }
    for (i, c) in proxy.clusters.iter().enumerate() {
        name_clusters(&mut b, n.cluster(i), &c.children);
        name_clusters(&mut b, n.cluster(i), c.meta.cluster_refs());
        c.tls.iter().for_each(|t| name_secrets(&mut b, n.cluster(i), t));
    }
    for e in &proxy.extension_configs {
        name_clusters(&mut b, ROOT, e.meta.cluster_refs());
    }
    for s in &proxy.secrets {
        name_clusters(&mut b, ROOT, s.meta.cluster_refs());
    }
    if let Some(boot) = &proxy.bootstrap {
        name_clusters(&mut b, ROOT, &boot.clusters);
        name_clusters(&mut b, ROOT, boot.meta.cluster_refs());
    }
    for (i, e) in proxy.endpoint_sets.iter().enumerate() {
        cluster_by_service.get(&e.meta.name).for_each(|c| b.edge(c, n.endpoint_set(i)));
        if !b.named[n.endpoint_set(i) as usize] {
            out.orphan_endpoint_sets.push(i);
        }
    }

    // nothing can be called unreferenced where the referrers are not in the evidence
    let has_routing = !proxy.listeners.is_empty() && (!proxy.route_tables.is_empty() || no_rds(proxy));
    let unnamed = |b: &Builder, node: Node| !b.named[node as usize];
    if has_routing && !out.dynamic_clusters {
        out.dead_clusters = (0..proxy.clusters.len())
            .filter(|i| proxy.clusters[*i].meta.state == State::Active && unnamed(&b, n.cluster(*i)))
            .collect();
    }
    if !proxy.listeners.is_empty() && !scoped {
        out.dead_tables = (0..proxy.route_tables.len())
            .filter(|i| proxy.route_tables[*i].meta.state == State::Active && unnamed(&b, n.table(*i)))
            .collect();
    }
    if !proxy.listeners.is_empty() && !proxy.clusters.is_empty() {
        out.dead_secrets = (0..proxy.secrets.len()).filter(|i| unnamed(&b, n.secret(*i))).collect();
    }
    if proxy.clusters.is_empty() {
        out.orphan_endpoint_sets.clear();
    }

    (out.retained, out.parent) = dominated_bytes(b);
    out.numbers = n;
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
fn dominated_bytes(b: Builder) -> (Vec<u64>, Vec<Node>) {
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
        b.nodes([0, 1, 10, 100, 1000, 10_000]);
        for (from, to) in [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4), (2, 5)] {
            b.edge(from, to);
        }
        let (retained, parent) = dominated_bytes(b);
        assert_eq!(retained, [11_111, 10_011, 10_010, 100, 1000, 10_000]);
        assert_eq!(parent, [0, 0, 1, 0, 0, 2]);
    }
}
