//! A trace of what a data plane had to hold over time, and what of it exceeds the data plane's bounds.

/// Milliseconds of the trace's own clock.
pub type Ms = i64;

/// What happened at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// This many services exist.
    Services(u64),
    /// This many slots are in use, as the allocator's poll sees it.
    Used(u64),
    /// This many slots are in use after a push, which takes and gives them back one object after the other.
    Pushed(u64),
    /// These slots were taken and given back, by index.
    Slots {
        /// Taken.
        alloc: Vec<u32>,
        /// Given back, before the others are taken.
        free: Vec<u32>,
    },
}

/// One event of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub t: Ms,
    /// What.
    pub demand: Demand,
}

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
