//! What bytes are charged to, and its place in a list of sums.

use crate::model::envoy::Proxy;

/// What a term is charged to, by index into the lists of [`Proxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// The process before any configuration.
    Base,
    /// The bootstrap's own configuration.
    Bootstrap,
    /// The xDS subscriptions.
    Subscription,
    /// `clusters[i]`.
    Cluster(usize),
    /// The inline endpoints of `clusters[i]`.
    InlineEndpoints(usize),
    /// `endpoint_sets[i]`.
    Endpoints(usize),
    /// `listeners[i]`, without its chains.
    Listener(usize),
    /// `listeners[i].chains[j]`.
    Chain(usize, usize),
    /// The inline route table of `listeners[i].chains[j]`, when the routes section does not list it.
    InlineRoutes(usize, usize),
    /// `route_tables[i]`, without its virtual hosts.
    RouteTable(usize),
    /// `route_tables[i].virtual_hosts[j]`.
    VirtualHost(usize, usize),
    /// `secrets[i]`.
    Secret(usize),
    /// `extension_configs[i]`.
    Extension(usize),
    /// `scoped_routes[i]`.
    Scoped(usize),
}

/// Numbers the items of one proxy, so that sums lie in a plain list.
#[derive(Debug)]
pub(super) struct Layout {
    // where each kind begins
    inline_endpoints: usize,
    endpoints: usize,
    listeners: usize,
    route_tables: usize,
    secrets: usize,
    extensions: usize,
    scoped: usize,
    len: usize,
    /// Where the chains of each listener begin.
    chains: Vec<usize>,
    /// Where the inline route tables of each listener's chains begin.
    inline_routes: Vec<usize>,
    /// Where the virtual hosts of each route table begin.
    virtual_hosts: Vec<usize>,
}

/// How many of each there are.
#[derive(Debug, Default)]
struct Counts {
    clusters: usize,
    endpoint_sets: usize,
    /// Chains of each listener.
    chains: Vec<usize>,
    /// Virtual hosts of each route table.
    virtual_hosts: Vec<usize>,
    secrets: usize,
    extensions: usize,
    scoped: usize,
}

impl Layout {
    pub(super) fn new(proxy: &Proxy) -> Self {
        Self::of(&Counts {
            clusters: proxy.clusters.len(),
            endpoint_sets: proxy.endpoint_sets.len(),
            chains: proxy.listeners.iter().map(|l| l.chains.len()).collect(),
            virtual_hosts: proxy.route_tables.iter().map(|t| t.virtual_hosts.len()).collect(),
            secrets: proxy.secrets.len(),
            extensions: proxy.extension_configs.len(),
            scoped: proxy.scoped_routes.len(),
        })
    }

    fn of(counts: &Counts) -> Self {
        let mut next = 3 + counts.clusters;
        let mut take = |n: usize| {
            next += n;
            next - n
        };
        Self {
            inline_endpoints: take(counts.clusters),
            endpoints: take(counts.endpoint_sets),
            listeners: take(counts.chains.len()),
            chains: counts.chains.iter().map(|n| take(*n)).collect(),
            inline_routes: counts.chains.iter().map(|n| take(*n)).collect(),
            route_tables: take(counts.virtual_hosts.len()),
            virtual_hosts: counts.virtual_hosts.iter().map(|n| take(*n)).collect(),
            secrets: take(counts.secrets),
            extensions: take(counts.extensions),
            scoped: take(counts.scoped),
            len: take(0),
        }
    }

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The place of an item, below [`Layout::len`].
    pub(super) fn index(&self, item: Item) -> usize {
        match item {
            Item::Base => 0,
            Item::Bootstrap => 1,
            Item::Subscription => 2,
            Item::Cluster(i) => 3 + i,
            Item::InlineEndpoints(i) => self.inline_endpoints + i,
            Item::Endpoints(i) => self.endpoints + i,
            Item::Listener(i) => self.listeners + i,
            Item::Chain(i, j) => self.chains[i] + j,
            Item::InlineRoutes(i, j) => self.inline_routes[i] + j,
            Item::RouteTable(i) => self.route_tables + i,
            Item::VirtualHost(i, j) => self.virtual_hosts[i] + j,
            Item::Secret(i) => self.secrets + i,
            Item::Extension(i) => self.extensions + i,
            Item::Scoped(i) => self.scoped + i,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_a_place_of_its_own() {
        let layout = Layout::of(&Counts {
            clusters: 3,
            chains: vec![2, 0, 1],
            virtual_hosts: vec![1, 4],
            secrets: 2,
            ..Counts::default()
        });
        let mut items = vec![Item::Base, Item::Bootstrap, Item::Subscription];
        items.extend((0..3).map(Item::Cluster));
        items.extend((0..3).map(Item::InlineEndpoints));
        items.extend((0..3).map(Item::Listener));
        items.extend([Item::Chain(0, 0), Item::Chain(0, 1), Item::Chain(2, 0)]);
        items.extend([Item::InlineRoutes(0, 0), Item::InlineRoutes(0, 1), Item::InlineRoutes(2, 0)]);
        items.extend([Item::RouteTable(0), Item::RouteTable(1), Item::VirtualHost(0, 0)]);
        items.extend((0..4).map(|j| Item::VirtualHost(1, j)));
        items.extend((0..2).map(Item::Secret));
        let places: Vec<usize> = items.into_iter().map(|i| layout.index(i)).collect();
        assert_eq!(places, (0..layout.len()).collect::<Vec<_>>());
    }
}
