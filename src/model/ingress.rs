//! Kubernetes objects as an ingress controller looks at them, and how they change.

use super::stream::Us;

/// What a path of a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Path prefix.
    pub path: String,
    /// `namespace/service`.
    pub service: String,
    /// Port, by number or name.
    pub port: String,
}

/// A name that an Ingress serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// The name.
    pub fqdn: String,
    /// `namespace/name` of its certificate.
    pub secret: Option<String>,
    /// Its paths.
    pub backends: Vec<Backend>,
}

/// A Kubernetes object, as far as it matters here. Keys are `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// An Ingress with its names.
    Ingress(String, Vec<Site>),
    /// A TLS secret, with what tells its content apart.
    Secret(String, u64),
    /// A Service.
    Service(String),
    /// Endpoints: number of addresses.
    Endpoints(String, u32),
    /// Something that an ingress controller does not look at.
    Other,
}

/// An object was there from now on, or no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub t: Us,
    /// What; its content does not matter when it is gone.
    pub object: Object,
    /// `DELETED`.
    pub gone: bool,
}
