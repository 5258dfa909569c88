//! The calibration lab: starts a real Envoy on loopback, feeds it over ADS, measures what it holds.
//!
//! Nothing here is needed to analyse evidence; `meshdump calibrate` and the oracle tests use it. The lab opens
//! connections to 127.0.0.1 only, and ends only the processes it started.

pub mod accuracy;
mod ads;
pub mod codec;
pub mod design;
mod envoy;
pub mod fit;
pub mod mixes;
pub mod pairs;
pub mod proto;
pub mod random;
pub mod shapes;
pub mod transport;
mod workload;

pub use ads::{Ads, Seen};
pub use codec::{TYPE_PREFIX, any, resource_name};
pub use envoy::{EnvoyProcess, Launch, Reading, bootstrap, version};
pub use workload::{Measurement, Workload, read_text, write};

/// Why a run of the lab failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A resource could not be encoded.
    #[error("cannot encode a resource: {0}")]
    Resource(String),
    /// No Envoy has opened a discovery stream of the kind wanted.
    #[error("no discovery stream is open")]
    NoStream,
    /// Envoy did not behave as one.
    #[error("Envoy: {0}")]
    Envoy(String),
    /// Envoy rejected a discovery response.
    #[error("Envoy rejected {type_url}: {why}")]
    Rejected {
        /// Type of the response.
        type_url: String,
        /// Its reason.
        why: String,
    },
    /// Something did not happen in time.
    #[error("timed out waiting for {0}")]
    Timeout(String),
}

/// Short names of the resource types, as the lab's workloads use them.
pub mod types {
    /// Clusters.
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// Endpoints.
    pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// Listeners.
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// Route tables.
    pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// Secrets.
    pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    /// Extension configurations (ECDS).
    pub const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
}
