//! Resources as protojson to `google.protobuf.Any` in wire form, by descriptor.
//!
use std::sync::OnceLock;

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::Value;

use super::LabError;
use super::proto::Any;
use crate::evidence::protobuf::descriptors;

/// What every type URL begins with.
pub const TYPE_PREFIX: &str = "type.googleapis.com/";

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(descriptors().as_slice()).expect("the descriptors in the binary are a FileDescriptorSet")
    })
}

/// Encodes a resource written as protojson; its type is the `@type` of the object.
///
/// # Errors
/// [`LabError::Resource`] when `@type` is missing or unknown to the descriptors, or a field does not fit its type.
pub fn any(resource: &Value) -> Result<Any, LabError> {
    let type_url = resource
        .get("@type")
        .and_then(Value::as_str)
        .ok_or_else(|| LabError::Resource("a resource without \"@type\"".into()))?;
    let name = type_url.strip_prefix(TYPE_PREFIX).unwrap_or(type_url);
    let descriptor = pool()
        .get_message_by_name(name)
        .ok_or_else(|| LabError::Resource(format!("the descriptors do not know the type {name}")))?;
    let mut body = resource.clone();
    if let Some(object) = body.as_object_mut() {
        object.remove("@type");
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(descriptor, body, &options)
        .map_err(|e| LabError::Resource(format!("{name}: {e}")))?;
    Ok(Any { type_url: format!("{TYPE_PREFIX}{name}"), value: message.encode_to_vec().into() })
}

/// The name by which xDS knows a resource: `name`, or `cluster_name` of a `ClusterLoadAssignment`.
pub fn resource_name(resource: &Value) -> &str {
    ["name", "cluster_name", "clusterName"]
        .iter()
        .find_map(|key| resource.get(*key).and_then(Value::as_str))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_any_and_duration_are_encoded() {
        let any = any(&json!({
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "a", "connect_timeout": "5s",
            "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "b"}}
        }))
        .expect("a valid cluster");
        let at = |needle: &[u8]| any.value.windows(needle.len()).any(|w| w == needle);
        assert!(at(b"transport_sockets.tls.v3.UpstreamTlsContext") && at(&[0x22, 2, 8, 5]));
    }

    #[test]
    fn unknown_field_and_type_are_refused() {
        for bad in [
            json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "nonsense": 1}),
            json!({"@type": "type.googleapis.com/envoy.NoSuchThing"}),
            json!({"name": "untyped"}),
        ] {
            assert!(any(&bad).is_err(), "{bad}");
        }
    }
}
