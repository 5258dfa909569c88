//! A trace of what a data plane had to hold over time, and what of it exceeds the data plane's bounds.

/// The largest of each thing a configuration repeats, with the name of the object it is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repeats {
    /// Listeners alive at once.
    pub listeners: u64,
    /// Clusters alive at once.
    pub clusters: u64,
    /// Route configurations alive at once.
    pub route_configs: u64,
    /// Virtual hosts of one route configuration.
    pub virtual_hosts: (u64, Box<str>),
    /// Routes of one virtual host.
    pub routes: (u64, Box<str>),
    /// Domains of one virtual host.
    pub domains: (u64, Box<str>),
    /// Filter chains of one listener.
    pub filter_chains: (u64, Box<str>),
    /// Filters of one chain.
    pub filters: (u64, Box<str>),
    /// Endpoints of one cluster.
    pub endpoints: (u64, Box<str>),
}

impl Repeats {
    /// Keeps the larger of two.
    pub fn most(slot: &mut (u64, Box<str>), n: u64, name: &str) {
        if n > slot.0 {
            *slot = (n, name.into());
        }
    }
}
