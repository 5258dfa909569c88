//! How control planes turn changes into pushes: a window that collects changes, gates that hold a finished batch back,
//! and the rule which types a batch is pushed for.
//!
//! Everything here is a function of event times in integer microseconds: [`batches`] gives the moments at which a window
//! closes, [`deliveries`] the pushes with the state they carry. Presets follow the control planes' own code; the sources
//! stand beside each one in [`policy`].

pub mod policy;

mod gate;
mod lines;
mod recorded;
mod staleness;
mod window;

use crate::model::stream::{Us, XdsType};

pub use gate::{Acknowledgements, Delivery, World, deliveries};
pub use lines::{Between, Line, Lines};
pub use policy::{Draining, Gate, Policy, Transport, Versioning, Window, parse_duration};
pub use recorded::Recorded;
pub(super) use recorded::wildcard;
pub use staleness::{percentile, waits};
pub use window::{Arrival, Batch, batches};

/// A set of xDS types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Types(u16);

impl Types {
    /// In the order in which control planes send them on one stream: CDS, EDS, LDS, RDS and what hangs on routes, SDS.
    pub const ORDER: [XdsType; 9] = [
        XdsType::Cluster,
        XdsType::Endpoints,
        XdsType::Listener,
        XdsType::RouteConfig,
        XdsType::ScopedRoutes,
        XdsType::VirtualHost,
        XdsType::Secret,
        XdsType::ExtensionConfig,
        XdsType::Other,
    ];

    /// No type.
    pub const NONE: Self = Self(0);

    /// One type.
    pub fn of(kind: XdsType) -> Self {
        Self(1 << slot(kind))
    }

    /// Whether `kind` is one of them.
    pub fn has(self, kind: XdsType) -> bool {
        self.0 & Self::of(kind).0 != 0
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All but one.
    #[must_use]
    pub fn without(self, kind: XdsType) -> Self {
        Self(self.0 & !Self::of(kind).0)
    }

    /// They are the types of [`Types::ORDER`] in that order.
    pub fn iter(self) -> impl Iterator<Item = XdsType> {
        Self::ORDER.into_iter().filter(move |k| self.has(*k))
    }
}

impl FromIterator<XdsType> for Types {
    fn from_iter<I: IntoIterator<Item = XdsType>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, |all, kind| all.and(Self::of(kind)))
    }
}

/// Position of a type in [`Types::ORDER`].
pub fn slot(kind: XdsType) -> usize {
    match kind {
        XdsType::Cluster => 0,
        XdsType::Endpoints => 1,
        XdsType::Listener => 2,
        XdsType::RouteConfig => 3,
        XdsType::ScopedRoutes => 4,
        XdsType::VirtualHost => 5,
        XdsType::Secret => 6,
        XdsType::ExtensionConfig => 7,
        XdsType::Other => 8,
    }
}

/// `t` plus a length of time.
fn after(t: Us, length: Us) -> Us {
    Us(t.0.saturating_add(length.0))
}
