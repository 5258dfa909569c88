//! Terms and stat families by number.
//!
//! A large proxy has its terms named millions of times, so neither walking nor pricing may touch text: a name that
//! stands in the source becomes a number while the crate is compiled (`t!`, `family!`); a name that is not listed here
//! does not compile. Extensions come by their type's name, of which only the table knows the measured ones.

/// What is priced per unit: a name of [`Term::NAMES`], or a measured extension by its number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(pub(super) u16);

impl Term {
    /// Every term that does not come from an extension's type.
    #[rustfmt::skip]
    pub const NAMES: &'static [&'static str] = &[
        "base", "base.worker", "bootstrap.node",         "bootstrap.tag", "chain", "chain.default", "chain.messages",
        "chain.named", "chain.protocol", "chain.server_name", "chain.wire_bytes", "cluster", "cluster.breakers",
        "cluster.custom", "cluster.deferred", "cluster.deferred_stats", "cluster.eds", "cluster.filter", "cluster.health",
        "cluster.health.grpc", "cluster.health.http",
        "cluster.http", "cluster.http_filter", "cluster.lists", "cluster.logical_dns", "cluster.long_strings",
        "cluster.match", "cluster.matches", "cluster.messages", "cluster.metadata", "cluster.name_bytes",
        "cluster.original_dst", "cluster.outlier", "cluster.scalars", "cluster.static", "cluster.strict_dns",
        "cluster.string_bytes", "cluster.struct_values", "cluster.weighted", "cluster.weighted.worker", "cluster.worker", "endpoints", "endpoints.arena_bytes",
        "endpoints.lists", "endpoints.long_strings", "endpoints.messages", "endpoints.scalars", "endpoints.string_bytes",
        "endpoints.struct_values", "extension_config", "filter.lists", "filter.long_strings", "filter.messages",
        "filter.scalars", "filter.string_bytes", "filter.struct_values", "first.http", "first.listener",
        "first.tls_downstream", "first.tls_upstream", "hcm", "hcm.rds", "hcm.scoped", "hcm.tracing", "hcm.upgrade",
        "hcm.worker", "hf.discovery", "host", "host.deferred", "host.dns", "host.health", "host.health.grpc",
        "host.health.grpc.open", "host.health.http", "host.health.http.open", "host.health.open", "host.metadata", "host.metadata.distinct", "host.metadata.values",
        "host.outlier", "host.string_bytes", "host.weighted", "host.weighted.worker", "host.worker", "jwt.lists", "jwt.long_strings",
        "jwt.messages", "jwt.scalars", "jwt.string_bytes", "jwt.struct_values", "lb.least_request",
        "lb.least_request.worker", "lb.locality_weighted", "lb.maglev", "lb.maglev_bytes", "lb.maglev_bytes.eds", "lb.random", "lb.ring",
        "lb.ring_bytes", "lb.ring_bytes.eds", "lb.subset", "lb.subset.host", "lb.subset.host.worker", "lb.subset.worker", "listener",
        "listener.bound", "listener.bound.worker", "listener.lists", "listener.long_strings", "listener.messages",
        "listener.scalars", "listener.string_bytes", "listener.struct_values", "listener.udp", "listener.worker",
        "locality", "locality.worker", "log.file", "log.grpc", "log.lists", "log.long_strings", "log.messages",
        "log.scalars", "log.string_bytes", "log.struct_values", "lua.code_bytes", "outside.lua", "outside.lua_bytes",
        "outside.wasm", "priority", "priority.worker", "rbac.lists", "rbac.long_strings",
        "rbac.messages", "rbac.scalars", "rbac.string_bytes", "rbac.struct_values", "regex", "regex_steps",
        "resident.allocated", "resident.base", "resident.check", "resident.code_bytes", "resident.regex", "resident.worker", "route.direct_response", "route.filter_bytes", "route.hash",
        "route.header_addition", "route.header_removal", "route.header_matcher", "route.mirror", "route.other", "route.path",
        "route.prefix", "route.query_matcher", "route.rate_limit", "route.redirect", "route.regex", "route.retry", "route.retry.predicate",
        "route.weighted_cluster", "route_table", "route_table.inline", "scope", "secret", "secret.lists",
        "secret.long_strings", "secret.messages", "secret.scalars", "secret.static", "secret.static.string_bytes", "secret.string_bytes", "secret.struct_values", "stat",
        "stat.cluster", "stat.histogram", "stat.http", "stat.listener", "stat.reference", "stat.refused", "stat.token",
        "static.lists", "static.long_strings", "static.messages", "static.scalars", "static.string_bytes",
        "static.struct_values", "static.wire_bytes", "subscription.delta", "subscription.endpoints", "subscription.extensions", "subscription.file", "subscription.routes", "subscription.secrets", "subscription.stream", "tls.alpn",
        "tls.ca", "tls.ca.sds", "tls.ca_bytes.inline", "tls.ca_bytes.sds", "tls.certificate", "tls.certificate.rsa",
        "tls.certificate.sds", "tls.certificate_bytes.inline", "tls.certificate_bytes.sds", "tls.downstream", "tls.san",
        "tls.upstream", "tls.upstream.worker", "vhost", "vhost.domain", "vhost.domain_bytes", "vhost.lists", "vhost.long_strings",
        "vhost.messages", "vhost.scalars", "vhost.string_bytes", "vhost.struct_values", "vhost.virtual_cluster", "vhost.virtual_clusters", "wasm.code_bytes", "wasm.vm",
        "wasm.vm.code_bytes", "wasm.vm.code_bytes.worker", "wasm.vm.worker", "xds.ads", "xds.delta",
    ];

    /// The number of a name.
    ///
    /// # Panics
    /// When it is not listed; in a constant that is an error of compilation.
    pub const fn of(name: &str) -> Self {
        Self(position(Self::NAMES, name))
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A family of stats: a name of [`FamilyId::NAMES`], or the family of a measured HTTP filter by its number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FamilyId(pub(super) u16);

impl FamilyId {
    /// Every family that does not come from an extension's type.
    #[rustfmt::skip]
    pub const NAMES: &'static [&'static str] = &[
        "cluster", "cluster.cert", "cluster.eager", "cluster.eds", "cluster.health", "cluster.maglev", "cluster.match",
        "cluster.outlier", "cluster.ring", "cluster.subset", "cluster.tls", "cluster.track", "ecds", "http",
        "http.listener", "http.rds", "listener", "listener.cert", "listener.tls", "listener.worker", "sds", "server",
        "tcp", "vhost",
    ];

    /// The number of a name.
    ///
    /// # Panics
    /// When it is not listed; in a constant that is an error of compilation.
    pub const fn of(name: &str) -> Self {
        Self(position(Self::NAMES, name))
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

const fn position(names: &[&str], name: &str) -> u16 {
    let mut i = 0;
    while i < names.len() {
        if same(names[i].as_bytes(), name.as_bytes()) {
            return i as u16;
        }
        i += 1;
    }
    panic!("this name is not listed")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The term of a name, found while compiling.
macro_rules! t {
    ($name:expr) => {
        const { $crate::cost::envoy::Term::of($name) }
    };
}
/// The family of a name, found while compiling.
macro_rules! family {
    ($name:expr) => {
        const { $crate::cost::envoy::FamilyId::of($name) }
    };
}
pub(super) use {family, t};

/// Kinds of extensions that are priced by their type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// HTTP filters.
    Http,
    /// Network filters.
    Network,
    /// Listener filters.
    Listener,
    /// Access loggers.
    AccessLog,
    /// What routes and virtual hosts configure for HTTP filters.
    Route,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Http, Self::Network, Self::Listener, Self::AccessLog, Self::Route];

    /// What stands before the colon in a table's file.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Http => "hf",
            Self::Network => "nf",
            Self::Listener => "lf",
            Self::AccessLog => "al",
            Self::Route => "rf",
        }
    }

    /// Class and type of a term of a table's file.
    pub(super) fn split(term: &str) -> Option<(Self, &str)> {
        let (prefix, kind) = term.split_once(':')?;
        Some((Self::ALL.into_iter().find(|c| c.prefix() == prefix)?, kind))
    }
}

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit<'k> {
    /// What the table may have a price of.
    Term(Term),
    /// An extension that the table does not know, by its type.
    Unmeasured(Class, &'k str),
}

impl From<Term> for Unit<'_> {
    fn from(term: Term) -> Self {
        Self::Term(term)
    }
}
