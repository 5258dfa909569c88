//! The recorded stream of a sidecar under another scope: which services the scope keeps for it, and what is said of the
//! result.

use super::keep::{Keep, ROOT, app, chosen, imported, namespaces, own_namespace};
use super::subjects::{namespace, role};
use super::{LISTED, Rule};
use crate::model::envoy::Owner;
use crate::model::kubernetes::ProxyRole;
use crate::model::stream::{Body, Recording, Resource, XdsType};
use crate::sim::scope::dress::outbound_parts;
use crate::sim::scope::stream::{Cut, Scoped, Tally, scoped};

/// The recording under `rule`, which the notes call `scope`. `cut` takes parts out of bodies.
///
/// # Errors
/// One line that says why it cannot be done.
pub fn in_recording<'c>(
    recording: &Recording,
    rule: &Rule,
    scope: &str,
    cut: &'c mut Cut<'c>,
) -> Result<(Scoped, Vec<String>), String> {
    let of_service = |b: &Body| b.kind == XdsType::Cluster && outbound_parts(&b.name).is_some();
    if !recording.bodies.iter().any(of_service) {
        return Err("the recording has no cluster of a service of Istio, `outbound|PORT|SUBSET|HOST`".to_owned());
    }
    let mut notes = Vec::new();
    let keep = keep_of(recording, rule, scope, &mut notes)?;
    let made = scoped(recording, &*keep, cut)?;
    notes.splice(0..0, said(&made.tally, scope));
    Ok((made, notes))
}

/// Whether the clusters of a service stay, as for a dump without an export.
fn keep_of<'r>(
    recording: &'r Recording,
    rule: &Rule,
    scope: &str,
    notes: &mut Vec<String>,
) -> Result<Keep<'r>, String> {
    let node = recording.server_info.as_ref().map(|i| i.node.clone()).unwrap_or_default();
    if role(&node.id) != ProxyRole::Sidecar {
        return Err(format!("the recording is of a gateway (node id `{}`), which no Sidecar narrows", node.id));
    }
    let own = Some(namespace(&node)).filter(|n| !n.is_empty()).ok_or_else(|| {
        "the namespace of the workload is not known: neither a request in the recording nor --server-info or --bootstrap \
         has a node id as `sidecar~IP~POD.NAMESPACE~DOMAIN`"
            .to_owned()
    })?;
    let known = namespaces(recording.bodies.iter().flat_map(clusters), None);
    match rule {
        Rule::OwnNamespace => Ok(own_namespace(known, own, ROOT.into())),
        Rule::Sidecars(all) => {
            let sidecar = chosen(all, ROOT, &own, &app(&node.workload))
                .ok_or_else(|| format!("no Sidecar in it is for namespace `{own}` or for all of {ROOT}"))?;
            if all.iter().any(|s| s.selector.is_some() && *s.meta.namespace == *own) {
                let name = match &*node.workload {
                    "" => "which nothing names here".to_owned(),
                    name => format!("here `{name}`"),
                };
                notes.push(format!(
                    "{scope}: a workloadSelector is matched against the label app alone, taken to be the workload's name, \
                     {name}; the Sidecar that applies is {}/{}",
                    sidecar.meta.namespace, sidecar.meta.name
                ));
            }
            Ok(imported(known, own, sidecar.egress.clone()))
        }
        Rule::AsIs | Rule::FromTraffic => Err("a recorded stream does not count requests".to_owned()),
    }
}

/// The clusters that a body is or names, with what it says of who owns them. A recording that begins in the middle names
/// more than it has.
fn clusters(body: &Body) -> Vec<(&str, Option<&Owner>)> {
    match (&body.resource, body.kind) {
        (Resource::Cluster(c), _) => vec![(&body.name, c.owner.as_deref())],
        (_, XdsType::Cluster | XdsType::Endpoints) => vec![(&body.name, None)],
        (Resource::RouteConfig(t), _) => {
            t.virtual_hosts.iter().flat_map(|v| &v.clusters).chain(&t.clusters).map(|c| (&**c, None)).collect()
        }
        (Resource::Listener(l), _) => {
            let filters = l.chains.iter().flat_map(|c| &c.filters);
            filters.flat_map(|f| &f.clusters).map(|c| (&**c, None)).collect()
        }
        _ => Vec::new(),
    }
}

/// What was taken out, in sentences.
fn said(tally: &Tally, scope: &str) -> Vec<String> {
    let Tally { clusters, virtual_hosts, unsent, besides, dangling } = tally;
    let mut first = format!(
        "{scope} keeps {} of {} outbound clusters and {} of {} virtual hosts of services; {unsent} of the recorded pushes \
         bring nothing that it keeps and are not sent, those that repeat what was sent stay",
        clusters[1], clusters[0], virtual_hosts[1], virtual_hosts[0]
    );
    if *besides > 0 {
        first.push_str(&format!(
            "; {besides} of LDS come besides, for route tables that gain their first or lose their last service"
        ));
    }
    let mut out = vec![first];
    if !dangling.is_empty() {
        let some = dangling.iter().take(LISTED).map(|(place, cluster)| format!("{place} to {cluster}"));
        let others = dangling.len().saturating_sub(LISTED);
        out.push(format!(
            "{scope}: what stays leads to what is gone: {}{}",
            some.collect::<Vec<_>>().join(", "),
            if others > 0 { format!(" [{others} others]") } else { String::new() }
        ));
    }
    out
}
