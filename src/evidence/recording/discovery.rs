//! Discovery responses and requests in wire form (`envoy/service/discovery/v3/discovery.proto`, unchanged from v2).

use super::bodies::{self, Mention, Met};
use super::documents::Response;
use crate::evidence::config_dump::bare_type;
use crate::evidence::json::names::{self, empty};
use crate::evidence::protobuf::json;
use crate::evidence::protobuf::wire::{Fields, Value};
use crate::model::envoy::{Name, Node};

/// A request.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) delta: bool,
    pub(super) type_name: Option<Name>,
    pub(super) nonce: Option<Name>,
    pub(super) error: Option<Name>,
    pub(super) node: Option<Node>,
}

fn text(value: Value<'_>) -> String {
    String::from_utf8_lossy(value.bytes()).into_owned()
}

fn word(value: Value<'_>) -> Name {
    names::word(&text(value))
}

const PREFIX: &[u8] = b"type.googleapis.com/";

/// Reads a `DiscoveryRequest` or `DeltaDiscoveryRequest`: the type URL has another number in each.
pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let mut fields = Fields::new(bytes);
    let all: Vec<(u32, Value<'_>)> = fields.by_ref().collect();
    let url = |n| all.iter().find(|(number, v)| *number == n && v.bytes().starts_with(PREFIX)).map(|(_, v)| *v);
    let (delta, url) = match (url(4), url(2)) {
        (Some(u), _) => (false, u),
        (None, Some(u)) => (true, u),
        _ => return None,
    };
    let mut out = Request { delta, type_name: Some(names::word(bare_type(&text(url)))), ..Request::default() };
    let (node, nonce, error) = if delta { (1, 6, 7) } else { (2, 5, 6) };
    for (number, value) in all {
        if number == nonce {
            out.nonce = Some(word(value)).filter(|n| !n.is_empty());
        } else if number == error {
            let message = Fields::new(value.bytes()).find(|(n, _)| *n == 2).map_or_else(empty, |(_, v)| word(v));
            out.error = Some(message);
        } else if number == node {
            out.node = Some(read_node(value.bytes()));
        }
    }
    Some(out)
}

/// `Node`, as far as the model knows it.
fn read_node(bytes: &[u8]) -> Node {
    let mut out = Node::default();
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => out.id = word(value),
            2 => out.cluster = word(value),
            // user_agent_build_version.version
            8 => {
                let version = Fields::new(value.bytes()).find(|(n, _)| *n == 1).map_or(&[][..], |(_, v)| v.bytes());
                let mut parts = [0; 3];
                for (n, v) in Fields::new(version) {
                    if let Some(p) = parts.get_mut(n as usize - 1) {
                        *p = v.number();
                    }
                }
                out.envoy_version = format!("{}.{}.{}", parts[0], parts[1], parts[2]).into();
            }
            _ => {}
        }
    }
    out
}

/// An `Any`: type name and value.
fn any(bytes: &[u8]) -> (String, &[u8]) {
    let (mut name, mut inside) = (String::new(), &[][..]);
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => name = bare_type(&text(value)).to_owned(),
            2 => inside = value.bytes(),
            _ => {}
        }
    }
    (name, inside)
}

/// An element of `resources`.
struct Element<'a> {
    name: String,
    version: Name,
    body: Option<(String, &'a [u8])>,
    wrapped: bool,
}

fn wrapped(bytes: &[u8]) -> Element<'_> {
    let mut out = Element { name: String::new(), version: empty(), body: None, wrapped: true };
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => out.version = word(value),
            2 => out.body = Some(any(value.bytes())),
            3 => out.name = text(value),
            _ => {}
        }
    }
    out
}

/// An `Any`, or the `Resource` of the delta protocol (alone or in an `Any`).
fn element(bytes: &[u8]) -> Element<'_> {
    let plain = Fields::new(bytes).any(|(n, v)| n == 1 && v.bytes().starts_with(PREFIX));
    if !plain {
        return wrapped(bytes);
    }
    match any(bytes) {
        (name, inside) if name == "envoy.service.discovery.v3.Resource" => {
            Element { wrapped: false, ..wrapped(inside) }
        }
        body => Element { name: String::new(), version: empty(), body: Some(body), wrapped: false },
    }
}

/// Reads a `DiscoveryResponse` or `DeltaDiscoveryResponse`. `delta` says which, where the message itself does not.
/// Each body met is shown to `met`, with its bytes for a text.
pub(super) fn response(
    bytes: &[u8],
    offset_bytes: u64,
    delta: Option<bool>,
    met: &mut dyn FnMut(Met<'_>),
) -> Option<Response> {
    let mut out = Response {
        type_name: empty(),
        delta: false,
        version: empty(),
        nonce: empty(),
        resources: Vec::new(),
        removed: Vec::new(),
        bytes: bytes.len() as u64,
        bodiless: 0,
        content: 0,
    };
    let (mut elements, mut told) = (Vec::new(), None);
    let mut fields = Fields::new(bytes);
    for (number, value) in fields.by_ref() {
        match number {
            1 => out.version = word(value),
            2 => {
                let e = element(value.bytes());
                told = told.or(Some(e.wrapped));
                elements.push(e);
            }
            4 => out.type_name = names::word(bare_type(&text(value))),
            5 => out.nonce = word(value),
            // field 6 of the other form is `control_plane`, a message that begins with its first field
            6 if delta != Some(false) && told != Some(false) && !matches!(value.bytes().first(), None | Some(0x0a)) => {
                told = Some(true);
                let gone = word(value);
                out.content = out.content.rotate_left(5) ^ bodies::key("", &gone, b"") as u64;
                out.removed.push(gone);
            }
            _ => {}
        }
    }
    if !fields.whole() || out.type_name.is_empty() && elements.is_empty() {
        return None;
    }
    out.delta = delta.or(told).unwrap_or(false);
    for e in elements {
        let Some((type_name, body)) = e.body else {
            out.bodiless += 1;
            continue;
        };
        if out.type_name.is_empty() {
            out.type_name = names::word(&type_name);
        }
        let key = bodies::key(&type_name, &e.name, body);
        out.content = out.content.rotate_left(5) ^ (key as u64) ^ ((key >> 64) as u64);
        met(Met { key, type_name: &type_name, given_name: &e.name, text: body });
        out.resources.push((Mention { key, offset_bytes, len_bytes: body.len() as u64 }, e.version));
    }
    Some(out)
}

/// Reads a body in wire form.
pub(super) fn body(type_name: &str, given_name: &str, bytes: &[u8], keep: bool) -> bodies::Read {
    let text = json::of(type_name, bytes);
    bodies::read(type_name, given_name, text.as_bytes(), bytes.len() as u64, true, keep)
}
