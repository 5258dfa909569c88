//! Listeners, routes, clusters and secrets as Contour writes them.

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::lab::shapes::{assignment, eds_cluster, filter, hcm, rds, rsa, vhost, with};
use crate::model::ingress::{Backend, Site};

pub(super) fn http(table: &str) -> Value {
    let log = filter(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        json!({"path": "/dev/stdout"}),
    );
    let gzip = filter(
        "envoy.filters.http.compressor",
        "envoy.extensions.filters.http.compressor.v3.Compressor",
        json!({"compressor_library": filter("gzip", "envoy.extensions.compression.gzip.compressor.v3.Gzip", json!({}))}),
    );
    let grpc_web =
        filter("envoy.filters.http.grpc_web", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", json!({}));
    hcm(
        table,
        rds(table),
        vec![gzip, grpc_web],
        json!({"access_log": [log], "use_remote_address": true, "normalize_path": true,
            "common_http_protocol_options": {"idle_timeout": "60s"}, "http_protocol_options": {"accept_http_10": true}}),
    )
}

pub(super) fn host(site: &Site) -> Value {
    let routes = site.backends.iter().map(|b| {
        json!({"match": {"prefix": b.path}, "route": {"cluster": cluster_name(b), "timeout": "15s",
        "retry_policy": {"retry_on": "5xx", "num_retries": 1}}})
    });
    vhost(&site.fqdn, &[site.fqdn.clone(), format!("{}:*", site.fqdn)], routes.collect())
}

pub(super) fn cluster(backend: &Backend) -> Value {
    with(
        eds_cluster(&cluster_name(backend)),
        json!({"alt_stat_name": format!("{}_{}", backend.service.replace('/', "_"), backend.port), "connect_timeout": "0.25s",
            "eds_cluster_config": {"service_name": service_name(backend)},
            "common_lb_config": {"healthy_panic_threshold": {}}}),
    )
}

pub(super) fn load(backend: &Backend, count: u32) -> Value {
    let seed = xxh3_64(backend.service.as_bytes()) as usize % 4000;
    assignment(&service_name(backend), seed, count as usize)
}

pub(super) fn cluster_name(backend: &Backend) -> String {
    let id = xxh3_64(format!("{}/{}", backend.service, backend.port).as_bytes());
    format!("{}/{}/{:010x}", backend.service, backend.port, id & 0xff_ffff_ffff)
}

pub(super) fn service_name(backend: &Backend) -> String {
    format!("{}/{}", backend.service, backend.port)
}

pub(super) fn secret_name(secret: &str) -> String {
    format!("{secret}/{:010x}", xxh3_64(secret.as_bytes()) & 0xff_ffff_ffff)
}

/// The lab's throw-away certificate. What stands before the PEM block is skipped by every reader of PEM, so that each
/// secret, and each version of it, has content of its own.
pub(super) fn certificate(secret: &str, content: u64) -> Value {
    let mut both = rsa();
    for part in ["certificate_chain", "private_key"] {
        let text = both[part]["inline_string"].as_str().unwrap_or("").to_owned();
        both[part]["inline_string"] = format!("{secret} {content:016x}\n{text}").into();
    }
    both
}
