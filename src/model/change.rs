//! What differs between two versions of one resource.

use super::envoy::State;
use super::source::Span;

/// Which kind of entry of a dump stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// A listener in this state.
    Listener(State),
    /// A cluster.
    Cluster,
    /// A route table.
    RouteConfig,
    /// Endpoints.
    Endpoints,
    /// A secret.
    Secret,
    /// An ECDS resource.
    ExtensionConfig,
    /// Scoped routes.
    ScopedRoutes,
    /// The bootstrap without its static resources.
    Bootstrap,
    /// A section of a type that is not known.
    Other,
}

/// A resource in the input of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct At {
    /// What stands there.
    pub slot: Slot,
    /// Where.
    pub span: Span,
}

/// How a place differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, with another value.
    Changed,
    /// The same elements in another order, where order has a meaning.
    Reordered,
    /// The same elements in another order, where order has none for what the proxy does.
    OrderOnly,
}

impl ChangeKind {
    /// The lower-case word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Reordered => "reordered",
            Self::OrderOnly => "order_only",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// `virtual_hosts[web].routes[3].route.timeout`; empty for the resource itself.
    pub path: String,
    /// How.
    pub kind: ChangeKind,
    /// The value before, shortened; secrets by their length only. Empty where there is none.
    pub before: String,
    /// The value after.
    pub after: String,
}
