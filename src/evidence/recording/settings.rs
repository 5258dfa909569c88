//! What Envoy ran with and what it held before the recording begins: `--server-info`, `--bootstrap`, `--base`.

use std::borrow::Cow;

use super::bodies::{self, Mention};
use super::documents::{self, next_object};
use super::timeline::Timeline;
use crate::evidence::config_dump::{self, ElementKind, ListField, ResourceKind, WireResource, pieces, read_piece};
use crate::evidence::envoy_admin::{server_info, utf8};
use crate::evidence::json::names::{self, empty};
use crate::evidence::json::outline::{Item, Outline};
use crate::evidence::json::skip::skip_space;
use crate::input::Document;
use crate::model::envoy::{Bootstrap, Name, ServerInfo};
use crate::model::problem::{Loss, Problem};
use crate::model::source::{InputId, Span};
use crate::model::stream::{BodyId, Us};

/// The document's bytes, as UTF-8.
pub(super) fn bytes<'a>(document: &'a Document, timeline: &mut Timeline) -> Cow<'a, [u8]> {
    let (bytes, end) = match document.open() {
        Ok(content) => content.read_all(),
        Err(e) => (Cow::Borrowed(&b""[..]), Err(e)),
    };
    if let Err(e) = end {
        timeline.problems.push(document.problem(&e));
    }
    match bytes {
        Cow::Borrowed(b) => utf8(b),
        Cow::Owned(b) => Cow::Owned(utf8(&b).into_owned()),
    }
}

/// `/server_info`.
pub(super) fn server(document: &Document, timeline: &mut Timeline) -> Option<ServerInfo> {
    let bytes = bytes(document, timeline);
    let (info, problems) = server_info::read(document.label(), &bytes);
    timeline.problems.extend(problems);
    info
}

fn get<'a>(object: &'a [u8], keys: [&str; 2]) -> Option<&'a [u8]> {
    let mut fields = Outline::new(object).into_iter().flatten();
    fields.find(|f| keys.iter().any(|k| k.as_bytes() == f.key)).map(|f| f.value)
}

/// The bootstrap message in `text`: of a config dump the one in its bootstrap section, else the document itself.
fn bootstrap_text<'a>(label: &str, text: &'a [u8], timeline: &mut Timeline) -> Option<&'a [u8]> {
    let start = skip_space(text);
    let object = text.get(start..).filter(|t| t.first() == Some(&b'{'));
    let own = ["node", "admin", "static_resources", "staticResources", "dynamic_resources", "dynamicResources"];
    if let Some(object) = object
        && Outline::new(object).into_iter().flatten().any(|f| own.iter().any(|k| k.as_bytes() == f.key))
    {
        return Some(object);
    }
    let (found, _) = pieces(label, text, config_dump::Limits::default());
    let piece = found.into_iter().find(|(kind, _)| *kind == ElementKind::Bootstrap);
    if piece.is_none() {
        timeline.problems.push(
            Problem::new(
                label,
                Loss::Whole,
                "no bootstrap in it: neither a config dump with its bootstrap section nor a bootstrap as JSON",
            )
            .hint("fetch /config_dump without a filter, or convert the bootstrap from YAML to JSON"),
        );
    }
    piece.map(|(_, range)| &text[range])
}

/// The bootstrap and its static resources, as bodies.
pub(super) fn bootstrap(
    document: &Document,
    input: InputId,
    timeline: &mut Timeline,
) -> Option<(Box<Bootstrap>, Vec<BodyId>)> {
    let label = document.label();
    let all = bytes(document, timeline);
    let text = bootstrap_text(label, &all, timeline)?;
    let at = |part: &[u8]| (part.as_ptr() as usize - all.as_ptr() as usize) as u64;
    let place = Span { input, offset_bytes: at(text), line: 0, len_bytes: text.len() as u64 };
    let read = read_piece(ElementKind::Bootstrap, &String::from_utf8_lossy(text), place, u64::MAX);
    let found = match read {
        Ok((found, _)) => found.into_iter().find_map(|r| match r {
            WireResource::Bootstrap(b) => {
                let (bootstrap, node) = *b;
                if timeline.node.is_none() && !node.id.is_empty() {
                    timeline.node = Some(node);
                }
                Some(Box::new(bootstrap))
            }
            _ => None,
        })?,
        Err(e) => {
            timeline
                .problems
                .push(Problem::new(label, Loss::Whole, format!("the bootstrap cannot be read: {e}")).at(at(text)));
            return None;
        }
    };
    let mut bodies = Vec::new();
    let resources = get(text, ["static_resources", "staticResources"]).unwrap_or_default();
    for (key, type_name) in [
        ("clusters", "envoy.config.cluster.v3.Cluster"),
        ("secrets", "envoy.extensions.transport_sockets.tls.v3.Secret"),
        ("listeners", "envoy.config.listener.v3.Listener"),
    ] {
        let list = get(resources, [key, key]).and_then(Outline::new);
        for element in list.into_iter().flatten().filter(|e| e.whole && e.value.first() == Some(&b'{')) {
            bodies.push(add(timeline, input, type_name, element.value, at(element.value)));
        }
    }
    Some((found, bodies))
}

fn add(timeline: &mut Timeline, input: InputId, type_name: &str, text: &[u8], offset_bytes: u64) -> BodyId {
    let len_bytes = text.len() as u64;
    let mention = Mention { key: bodies::key(type_name, "", text), offset_bytes, len_bytes };
    let keep = timeline.keep_texts;
    timeline.bodies.add(input, mention, || bodies::read(type_name, "", text, len_bytes, false, keep))
}

/// What a dump shows as active, without what is static: the resources themselves, out of their wrappers.
pub(super) fn base(document: &Document, input: InputId, timeline: &mut Timeline) -> Vec<BodyId> {
    let all = bytes(document, timeline);
    let (found, problems) = pieces(document.label(), &all, config_dump::Limits::default());
    timeline.problems.extend(problems);
    let mut out = Vec::new();
    for (kind, range) in found {
        if let Some(Active { type_name, text, .. }) = active(kind, &all[range]) {
            let at = (text.as_ptr() as usize - all.as_ptr() as usize) as u64;
            out.push(add(timeline, input, type_name, text, at));
        }
    }
    if out.is_empty() {
        timeline.problems.push(
            Problem::new(document.label(), Loss::Whole, "no active dynamic resource in it")
                .hint("expected an Envoy /config_dump"),
        );
    }
    out
}

/// A dynamic resource in use.
pub(super) struct Active<'a> {
    pub(super) type_name: &'static str,
    /// Its JSON.
    pub(super) text: &'a [u8],
    /// When Envoy received it.
    pub(super) updated: Option<Us>,
    /// `version_info` of its wrapper.
    pub(super) version: Name,
}

/// The resource in an entry of a dump, when it is a dynamic one in use.
pub(super) fn active(kind: ElementKind, piece: &[u8]) -> Option<Active<'_>> {
    use ListField::*;
    const LISTENER: &str = "envoy.config.listener.v3.Listener";
    let (type_name, wrapper, keys) = match kind {
        ElementKind::Entry(DynamicListeners) => {
            (LISTENER, get(piece, ["active_state", "activeState"])?, ["listener", "listener"])
        }
        ElementKind::Entry(DynamicActiveListeners) => (LISTENER, piece, ["listener", "listener"]),
        ElementKind::Entry(DynamicActiveClusters) => ("envoy.config.cluster.v3.Cluster", piece, ["cluster", "cluster"]),
        ElementKind::Entry(DynamicRouteConfigs) => {
            ("envoy.config.route.v3.RouteConfiguration", piece, ["route_config", "routeConfig"])
        }
        ElementKind::Entry(DynamicEndpointConfigs) => {
            ("envoy.config.endpoint.v3.ClusterLoadAssignment", piece, ["endpoint_config", "endpointConfig"])
        }
        ElementKind::Entry(DynamicActiveSecrets) => {
            ("envoy.extensions.transport_sockets.tls.v3.Secret", piece, ["secret", "secret"])
        }
        ElementKind::Entry(EcdsFilters) => {
            ("envoy.config.core.v3.TypedExtensionConfig", piece, ["ecds_filter", "ecdsFilter"])
        }
        ElementKind::Resource(kind) => {
            let type_name = match kind {
                ResourceKind::Listener => LISTENER,
                ResourceKind::Cluster => "envoy.config.cluster.v3.Cluster",
                ResourceKind::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
                ResourceKind::ClusterLoadAssignment => "envoy.config.endpoint.v3.ClusterLoadAssignment",
                ResourceKind::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
                ResourceKind::ScopedRouteConfiguration => "envoy.config.route.v3.ScopedRouteConfiguration",
                ResourceKind::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
                ResourceKind::ClusterStatus => return None,
            };
            return Some(Active { type_name, text: piece, updated: None, version: empty() });
        }
        _ => return None,
    };
    let text = get(wrapper, keys).filter(|t| t.first() == Some(&b'{'))?;
    let updated = get(wrapper, ["last_updated", "lastUpdated"]).and_then(documents::time);
    let version = get(wrapper, ["version_info", "versionInfo"]).map(documents::text).unwrap_or_default();
    Some(Active { type_name, text, updated, version: names::word(&version) })
}

/// Whether the head of a document is that of discovery responses, however they are strung together.
pub(super) fn is_response(head: &[u8]) -> bool {
    let has = |f: Item<'_>| matches!(f.key, b"resources" | b"type_url" | b"typeUrl");
    let first = next_object(head, 0).0.and_then(|at| Outline::new(&head[at..]));
    first.into_iter().flatten().any(has)
}
