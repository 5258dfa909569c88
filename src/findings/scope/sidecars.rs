//! Objects that make a scope so, ready to apply.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Manifest, Outcome, Rule, Subject, World};
use crate::model::envoy::Name;
use crate::model::kubernetes::ProxyRole;

/// Labels that change with every rollout or replica, and so select nothing for long.
const PASSING: [&str; 6] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "rollouts-pod-template-hash",
];

pub(super) fn manifests(results: &[(&Subject<'_>, &Outcome)], world: &World<'_>) -> Vec<Manifest> {
    let (o, mesh) = (world.options, world.mesh.as_ref());
    let root: &str = mesh.map_or("istio-system", |m| &m.root);
    let mut out = Vec::new();
    match &o.rule {
        Rule::OwnNamespace => {
            let namespaces: BTreeSet<&Name> =
                results.iter().filter(|(s, _)| s.role == ProxyRole::Sidecar).map(|(s, _)| &s.namespace).collect();
            for ns in namespaces.into_iter().filter(|n| !n.is_empty()) {
                out.push(sidecar(ns, "default", None, &["./*".to_owned(), format!("{root}/*")]));
            }
        }
        Rule::FromTraffic => {
            for (s, outcome) in results.iter().filter(|(s, _)| s.role == ProxyRole::Sidecar) {
                let Some(hosts) = &outcome.used else { continue };
                let mut hosts: Vec<String> = hosts.iter().map(|h| h.to_string()).collect();
                hosts.push(format!("{root}/*"));
                hosts.sort();
                hosts.dedup();
                // the dump alone does not hold the pod's labels; Istio's own convention is `app`
                let labels: Vec<(String, String)> = match s.workload {
                    Some(w) => w
                        .labels
                        .iter()
                        .filter(|(k, _)| !PASSING.contains(&&**k) && !k.contains("istio.io/"))
                        .map(|(k, v)| (k.to_string(), v.to_string()))
                        .collect(),
                    None => vec![("app".to_owned(), s.name.to_string())],
                };
                out.push(sidecar(&s.namespace, &s.name, Some(&labels), &hosts));
            }
        }
        Rule::AsIs | Rule::Sidecars(_) => {}
    }
    let Some(mesh) = mesh else { return out };
    for e in &o.export_to {
        let is = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        let to: Vec<&str> = e.to.iter().map(|n| &**n).collect();
        for s in
            mesh.cluster.services.iter().filter(|s| is(&e.namespace, &s.meta.namespace) && is(&e.name, &s.meta.name))
        {
            let (ns, name) = (&*s.meta.namespace, &*s.meta.name);
            let yaml = format!(
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  namespace: {}\n  annotations:\n    \
                 networking.istio.io/exportTo: {}\n",
                quoted(name),
                quoted(ns),
                quoted(&to.join(","))
            );
            out.push(Manifest { kind: "Service", namespace: ns.to_owned(), name: name.to_owned(), yaml });
        }
    }
    out
}

fn sidecar(namespace: &str, name: &str, labels: Option<&[(String, String)]>, hosts: &[String]) -> Manifest {
    let mut yaml = format!(
        "apiVersion: networking.istio.io/v1beta1\nkind: Sidecar\nmetadata:\n  name: {}\n  namespace: {}\nspec:\n",
        quoted(name),
        quoted(namespace)
    );
    if let Some(labels) = labels {
        yaml.push_str("  workloadSelector:\n    labels:\n");
        for (k, v) in labels {
            let _ = writeln!(yaml, "      {}: {}", quoted(k), quoted(v));
        }
    }
    yaml.push_str("  egress:\n  - hosts:\n");
    for h in hosts {
        let _ = writeln!(yaml, "    - {}", quoted(h));
    }
    Manifest { kind: "Sidecar", namespace: namespace.to_owned(), name: name.to_owned(), yaml }
}

/// A YAML string: names come from the input and may hold anything, so they are always in double quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control()
                || ('\u{80}'..='\u{9f}').contains(&c)
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{200e}' | '\u{200f}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
