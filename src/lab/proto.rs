//! The discovery messages of `envoy.service.discovery.v3`, reduced to the fields the lab reads or writes.
//!
//! Field numbers are those of `envoy/service/discovery/v3/discovery.proto` (Envoy 1.36; unchanged through 1.40).

use std::collections::HashMap;

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the message.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message in wire form.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: bytes::Bytes,
}

/// `google.rpc.Status`, as a rejection carries it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Status {
    /// gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Why.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `DiscoveryRequest`, state of the world.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryRequest {
    /// Last accepted version.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Names asked for; empty is the wildcard.
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    /// Type asked for.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Nonce of the response this answers.
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    /// Set when the response was rejected.
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `DiscoveryResponse`, state of the world.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DiscoveryResponse {
    /// Version of the whole answer.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// Type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated by the acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Type asked for.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names to add to the subscription.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names to drop from it.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// On the first request of a stream: what the client holds.
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: HashMap<String, String>,
    /// Nonce of the response this answers.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Set when the response was rejected.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// `Resource`, an element of a delta response.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Resource {
    /// Version of this resource.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The resource.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// For people only.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// Added and changed resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be repeated by the acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names of resources that are gone.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}
