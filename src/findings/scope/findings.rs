//! What a scope report comes to, with stable codes.

use std::collections::BTreeMap;

use super::value::{ScopeReport, WorkloadRow};
use crate::findings::catalog::Entry;
use crate::findings::{Evidence, Finding, Severity};
use crate::model::size::size;

/// MD32x, in order.
pub const CODES: &[Entry] = &[
    Entry {
        code: "MD321",
        title: "the scope takes away what is used",
        text: "Under the scope that was tried something loses its target: clusters that had traffic so far, routes that \
               keep only a part of their clusters, VirtualServices whose destination goes while their host stays, \
               ServiceEntries that are no longer known. Add these hosts to the egress of the Sidecar, or to exportTo. \
               Silence is no proof: a host without traffic so far may be called tomorrow.",
    },
    Entry {
        code: "MD322",
        title: "sidecars that see everything",
        text: "No Sidecar object applies to these workloads, so istiod sends them every service that is exported to their \
               namespace, and each new service of the mesh makes each of them larger. `--scope own-namespace` and \
               `--scope-from-traffic` say what a scope would save and break.",
    },
    Entry {
        code: "MD323",
        title: "revisions that no route leads to",
        text: "Knative keeps old revisions for rollbacks, and the Services of each are sent to every sidecar. What they \
               save is the price of a revision after a start, times the sidecars. `config-gc` decides how long they \
               stay; a Sidecar scope hides them from workloads that do not call them.",
    },
    Entry {
        code: "MD324",
        title: "growth reaches the memory limit",
        text: "At twice what is there now, or less, resident memory passes the limit that Envoy and its agent share. \
               The three numbers are for a proxy after a start, one that grew push by push, and one in which every \
               cluster was pushed anew once.",
    },
    Entry {
        code: "MD325",
        title: "the export and a dump disagree",
        text: "Istio's rules, applied to the export, give other clusters, listeners, route tables or virtual hosts than \
               the dump of the same workload holds: one of the two is older, the export lacks objects, or something \
               that the rules do not know (an EnvoyFilter, another control plane) changed what was sent.",
    },
    Entry {
        code: "MD326",
        title: "objects that say what cannot be",
        text: "Objects of the export contradict each other or name what is not there: endpoints of no Service, routes to a \
               host or subset that nothing has, egress hosts that Istio does not read, two Sidecars where one counts. The \
               rules were applied as Istio applies them; either the mesh has a mistake, or the export lacks objects. \
               Nothing is said of namespaces without a Service in the export.",
    },
];

const SHOWN: usize = 5;
/// Doubtful objects listed.
const SHOWN_DOUBTS: usize = 20;

fn finding(
    code: &'static str,
    severity: Severity,
    title: String,
    texts: Vec<String>,
    saved: u64,
    fix: &str,
) -> Finding {
    let plain = |text: String| Evidence { text, path: String::new(), offset: None, line: None };
    Finding {
        code,
        severity,
        proxy: String::new(),
        title,
        evidence_omitted: texts.len().saturating_sub(SHOWN) as u64,
        evidence: texts.into_iter().take(SHOWN).map(plain).collect(),
        saved_bytes: saved,
        fix: fix.to_owned(),
    }
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn label(w: &WorkloadRow) -> String {
    if w.namespace.is_empty() { w.name.to_string() } else { format!("{}/{}", w.namespace, w.name) }
}

/// The findings of a report, in the order of their codes.
pub(super) fn findings(r: &ScopeReport, mut doubts: Vec<Evidence>) -> Vec<Finding> {
    let mut out = Vec::new();
    if !r.breaks.is_empty() {
        // the report lists them one by one: here by kind and workload
        let mut kinds: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        r.breaks.iter().for_each(|b| *kinds.entry((b.kind, &b.workload)).or_default() += 1);
        let words = |kind: &str| match kind {
            "traffic" => ("cluster with traffic", "clusters with traffic"),
            "route" => ("route", "routes"),
            "virtual_service" => ("VirtualService", "VirtualServices"),
            _ => ("ServiceEntry", "ServiceEntries"),
        };
        let one = |((kind, workload), n)| format!("{workload}: {}", count(n, words(kind).0, words(kind).1));
        let texts = kinds.into_iter().map(one).collect();
        let n = r.breaks.len() as u64;
        let title = format!("the scope takes the target of {}", count(n, "thing", "things"));
        let fix = "add these hosts to the Sidecar's egress, or namespaces to exportTo, before it is applied";
        out.push(finding("MD321", Severity::Warn, title, texts, 0, fix));
    }
    let sidecars = || r.workloads.iter().filter(|w| w.role == "sidecar");
    let open: Vec<&WorkloadRow> = sidecars()
        .filter(|w| w.sidecar.is_none() && w.before.counts.outbound_clusters > 0 && r.scenario.is_none())
        .collect();
    if !open.is_empty() {
        let texts = open
            .iter()
            .map(|w| {
                let clusters = w.before.counts.outbound_clusters;
                format!("{} × {}: {} of services", label(w), w.replicas, count(clusters, "cluster", "clusters"))
            })
            .collect();
        let n = count(open.len() as u64, "workload", "workloads");
        let fix = "see what `--scope own-namespace` or `--scope-from-traffic` would save";
        out.push(finding("MD322", Severity::Note, format!("{n} without a Sidecar"), texts, 0, fix));
    }
    let revision = r.growth.iter().flat_map(|g| &g.units).find(|u| u.unit == super::Unit::Revision);
    if let Some(k) = r.knative.as_ref().filter(|k| !k.inactive.is_empty()) {
        let n = k.inactive.len() as u64;
        let each = revision.map_or(0, |u| u.resident.low);
        let proxies: u64 = sidecars().map(|w| u64::from(w.replicas)).sum();
        let texts = k.inactive.iter().map(|i| format!("{}/{} of {}", i.namespace, i.name, i.service)).collect();
        let title = format!(
            "{} that no route leads to, {} each in {}",
            count(n, "revision", "revisions"),
            size(each),
            count(proxies, "sidecar", "sidecars")
        );
        let fix = "shorter retention in config-gc, or a Sidecar scope";
        out.push(finding("MD323", Severity::Warn, title, texts, each * n * proxies, fix));
    }
    if let Some(g) = &r.growth {
        let near = g.units.iter().filter_map(|u| u.limit_at.filter(|at| at.count <= u.count * 2).map(|at| (u, at)));
        let texts: Vec<String> = near
            .map(|(u, at)| {
                let three = format!("{} after a start, {} grown, {} churned", at.high, at.count, at.low);
                format!("{}: {} now, the limit at {three}", u.unit.plural(), u.count)
            })
            .collect();
        if let (Some(limit), false) = (g.limit_bytes, texts.is_empty()) {
            let title = format!("{} comes to its limit of {} within twice its size", g.workload, size(limit));
            let fix = "a scope, or a higher limit before it is needed";
            out.push(finding("MD324", Severity::Warn, title, texts, 0, fix));
        }
    }
    let differ: Vec<&WorkloadRow> = r.workloads.iter().filter(|w| !w.differences.is_empty()).collect();
    if !differ.is_empty() {
        let one = |w: &&WorkloadRow| {
            let parts: Vec<String> = w
                .differences
                .iter()
                .map(|d| format!("{} {} in the dump, {} by the rules", d.kind, d.dump, d.expected))
                .collect();
            format!("{}: {}", label(w), parts.join("; "))
        };
        let title =
            format!("the export and the dump of {} disagree", count(differ.len() as u64, "workload", "workloads"));
        let fix = "fetch both at the same time; the report says which names differ";
        out.push(finding("MD325", Severity::Note, title, differ.iter().map(one).collect(), 0, fix));
    }
    if !doubts.is_empty() {
        let title =
            format!("{} of the export that cannot be as it stands", count(doubts.len() as u64, "thing", "things"));
        let fix = "correct the objects, or export all of them: what they name was not found";
        let omitted = doubts.len().saturating_sub(SHOWN_DOUBTS) as u64;
        doubts.truncate(SHOWN_DOUBTS);
        let f = finding("MD326", Severity::Note, title, Vec::new(), 0, fix);
        out.push(Finding { evidence: doubts, evidence_omitted: omitted, ..f });
    }
    out
}
