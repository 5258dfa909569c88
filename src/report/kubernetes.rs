//! The objects of a cluster, for people.

use std::fmt::Write as _;

use super::text::bold;
use super::words::{clean, count, wrap};
use crate::findings::kubernetes::KubernetesReport;

/// Kinds listed.
const TOP_KINDS: usize = 16;

/// What an export holds, in a few lines.
pub(super) fn section(out: &mut String, k: &KubernetesReport, width: usize) {
    let b = bold();
    let mut parts = Vec::new();
    let mut say = |n: u64, text: String| {
        if n > 0 {
            parts.push(text);
        }
    };
    say(
        k.services,
        format!("{} with {}", count(k.services, "service", "services"), count(k.service_ports, "port", "ports")),
    );
    say(k.endpoints, count(k.endpoints, "ready endpoint", "ready endpoints"));
    say(k.pods, count(k.pods, "pod", "pods"));
    say(k.workloads, count(k.workloads, "workload", "workloads"));
    say(k.sidecar_pods, count(k.sidecar_pods, "pod with a sidecar", "pods with a sidecar"));
    say(k.gateway_pods, count(k.gateway_pods, "gateway pod", "gateway pods"));
    say(k.knative_revisions, count(k.knative_revisions, "Knative revision", "Knative revisions"));
    if parts.is_empty() {
        parts.push("nothing that decides what a proxy holds".to_owned());
    }
    let _ = writeln!(out, "{b}KUBERNETES{b:#}  {}", wrap(&parts.join(", "), width.saturating_sub(12), 12));
    let kinds: Vec<String> =
        k.kinds.iter().take(TOP_KINDS).map(|c| format!("{} {}", c.count, clean(&c.kind))).collect();
    let more = k.kinds.len().saturating_sub(TOP_KINDS) as u64;
    let more = if more > 0 { format!(" [{}]", count(more, "other kind", "other kinds")) } else { String::new() };
    if !kinds.is_empty() {
        let _ = writeln!(out, "{}", wrap(&format!("kinds       {}{more}", kinds.join(", ")), width, 12));
    }
    if k.watch_events > 0 {
        let _ = writeln!(
            out,
            "watch       {}; the state after the last is shown",
            count(k.watch_events, "event", "events")
        );
    }
    if k.incomplete {
        let _ = writeln!(out, "            objects were lost while reading: the figures are lower bounds");
    }
    out.push('\n');
}
