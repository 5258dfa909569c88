//! What differs between Envoy versions.

use crate::cost::envoy::Version;
use crate::model::stream::ListenerIdentity;

/// The behaviour of one version, as far as listeners, clusters and shared tables go.
///
/// File names are those of Envoy's sources; "since" means the first release with the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    minor: u32,
}

impl Rules {
    pub(super) fn new(version: Version) -> Self {
        Self { minor: version.minor }
    }

    /// Since 1.12 the contents of `Any` are hashed field by field; before, their bytes (`utility.cc`, `MessageUtil::hash`).
    pub(super) fn hashes_bytes(self) -> bool {
        self.minor < 12
    }

    /// Since 1.13 HTTP connection managers share one compiled table per RDS name (envoy#9209); before, each had its own.
    pub(super) fn routes_per_manager(self) -> bool {
        self.minor < 13
    }

    /// Since 1.15 filter chains are updated in place (`listener_impl.cc`, `supportUpdateFilterChain`).
    fn updates_in_place(self) -> bool {
        self.minor >= 15
    }

    /// Since 1.16 a listener that is still warming is removed when a state-of-the-world response leaves it out.
    pub(super) fn removes_warming(self) -> bool {
        self.minor >= 16
    }

    /// Since 1.16 going back to the active configuration while another one warms drops the warming one.
    pub(super) fn reverts_warming(self) -> bool {
        self.minor >= 16
    }

    /// Since 1.18 going back to the active configuration of a cluster while another one warms builds a third.
    pub(super) fn rebuilds_reverted_cluster(self) -> bool {
        self.minor >= 18
    }

    /// Since 1.19 the address of a listener may change under its name.
    pub(super) fn address_may_change(self) -> bool {
        self.minor >= 19
    }

    /// Since 1.36 the chains to drain are noted on the active generation while the new one is built (envoy#40121), so
    /// those of a build that never became active count too.
    pub(super) fn notes_drains_at_build(self) -> bool {
        self.minor >= 36
    }

    /// Up to 1.10 a name that is there twice rejects the whole response before anything is applied.
    pub(super) fn duplicate_rejects_all(self) -> bool {
        self.minor <= 10
    }

    /// Up to 1.9 the first bad listener ends the response.
    pub(super) fn stops_at_first_error(self) -> bool {
        self.minor <= 9
    }

    /// Since 1.13 the dump has one draining slot per name, which shows the oldest generation; before, it listed all.
    pub(super) fn one_draining_slot(self) -> bool {
        self.minor >= 13
    }

    /// Since 1.32 the last endpoints of a name are kept for a cluster that is built anew and times out (by default over
    /// ADS, `use_eds_cache_for_ads`).
    pub(super) fn caches_endpoints(self) -> bool {
        self.minor >= 32
    }

    /// Whether `new` can replace the chains of the active `old` in place, apart from workers having started.
    pub(super) fn in_place(self, old: &ListenerIdentity, new: &ListenerIdentity, udp: bool) -> bool {
        self.updates_in_place()
            && !(old.filter_chain_discovery || new.filter_chain_discovery)
            && !new.chain_hashes.is_empty()
            && old.use_proxy_proto == new.use_proxy_proto
            && old.rest_hash == new.rest_hash
            && (self.minor >= 18 || old.default_chain_hash == new.default_chain_hash)
            && (self.minor >= 22 || old.matcher_hash == new.matcher_hash)
            && (self.minor < 25 || old.reuse_port == new.reuse_port)
            // QUIC since 1.21, TCP only before
            && (!udp || self.minor >= 21)
            // the implicit TLS inspector must neither come nor go
            && (self.minor >= 20 || old.needs_tls_inspector == new.needs_tls_inspector)
    }
}
