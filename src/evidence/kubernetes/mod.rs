//! Kubernetes objects as `kubectl`, `oc adm must-gather`, `istioctl bug-report`, cilium's sysdump, velero and watches
//! write them: JSON or YAML, lists, single objects, several documents, events.
//!
//! Objects are cut apart first ([`cut`]) and then read in parallel, one at a time ([`wire`]); no file becomes a tree of
//! values. Kinds that tell nothing about proxies are counted.

mod cut;
mod wire;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::de::DeserializeOwned;

use super::config_dump;
use super::json::message::Refused;
use super::json::outline::Outline;
use super::json::{names, tally};
use crate::model::envoy::{Name, Proxy};
use crate::model::kubernetes::Kubernetes;
use crate::model::problem::{Loss, Problem};
use crate::model::source::{InputId, Span};
use cut::{Event, Form, Piece};
use wire::{Body, Source};

/// Problems of one kind listed one by one.
const LISTED: usize = 20;
/// Fields of one object listed one by one.
const LISTED_FIELDS: u32 = 3;
/// Objects longer than this are not read (etcd takes 1.5 MiB at most).
const MAX_OBJECT_BYTES: usize = 16 << 20;

/// One object as it was read.
#[derive(Debug)]
struct Object {
    /// Kind with its API group: `Service`, `Sidecar.networking.istio.io`.
    kind: Name,
    namespace: Name,
    name: Name,
    version: u64,
    /// Over all its keys and values.
    hash: u64,
    event: Option<Event>,
    input: InputId,
    line: u64,
    body: Option<Body>,
}

/// A sidecar as Istio 1.19 sends it to a mesh with one HTTP, one TCP and one undeclared port: the shapes to price a
/// workload of which there is no dump. Written by hand after Istio's own output, with names of no mesh.
pub fn istio_sidecar() -> Proxy {
    let text = include_bytes!("istio_sidecar.json");
    let (dumps, _) = config_dump::read_slice("istio", InputId(0), text, config_dump::Limits::default());
    dumps.dumps.into_iter().next().map(|(_, proxy)| proxy).unwrap_or_default()
}

/// What one document gave, to be joined by [`assemble`].
#[derive(Debug, Default)]
pub struct Objects {
    label: String,
    all: Vec<Object>,
    incomplete: bool,
}

/// How the note of a document begins of which some kinds tell nothing about proxies.
pub const COUNTED: &str = "counted only: ";

/// Kinds named in the note.
const NOTED_KINDS: usize = 4;

impl Objects {
    /// Which objects of the document are counted and used for nothing else; `None` when all are used.
    pub fn note(&self) -> Option<String> {
        let mut kinds: BTreeMap<&Name, u64> = BTreeMap::new();
        for o in self.all.iter().filter(|o| o.body.as_ref().is_none_or(|b| !b.used())) {
            *kinds.entry(&o.kind).or_default() += 1;
        }
        let more = kinds.len().saturating_sub(NOTED_KINDS);
        let mut names: Vec<String> = kinds.into_iter().take(NOTED_KINDS).map(|(k, n)| format!("{n} {k}")).collect();
        if more > 0 {
            names.push(format!("{more} more {}", if more == 1 { "kind" } else { "kinds" }));
        }
        (!names.is_empty()).then(|| format!("{COUNTED}{}", names.join(", ")))
    }
}

/// Reads one document. Every object is read or is a problem of its own; what was whole before a break is kept.
pub fn read(label: &str, input: InputId, bytes: &[u8]) -> (Objects, Vec<Problem>) {
    let text = text(bytes);
    let mut problems = Vec::new();
    if let Cow::Owned(_) = &text {
        problems.push(Problem::new(label, Loss::Nothing, "not UTF-8; read with replacement characters where needed"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let cut = cut::cut(text);
    let read: Vec<(Option<Object>, Vec<Problem>)> = cut.pieces.par_iter().map(|p| object(label, input, p)).collect();
    let mut out = Objects { label: label.to_owned(), ..Objects::default() };
    let mut lost = 0_usize;
    for (object, wrong) in read {
        out.all.extend(object);
        for p in wrong {
            out.incomplete |= p.loss >= Loss::Resource;
            lost += 1;
            if lost <= LISTED {
                problems.push(p);
            }
        }
    }
    if lost > LISTED {
        let what = format!("{} more problems with objects of this file", lost - LISTED);
        problems.push(Problem::new(label, Loss::Resource, what));
    }
    let whole = out.all.len();
    for (offset, line, what) in cut.breaks {
        out.incomplete = true;
        let what = format!("{what}; {whole} objects were whole");
        problems.push(Problem { line: Some(line), ..Problem::new(label, Loss::Part, what).at(offset as u64) });
    }
    if out.all.is_empty() && problems.iter().all(|p| p.loss == Loss::Nothing) && !cut.pieces.is_empty() {
        problems.push(
            Problem::new(label, Loss::Whole, "no Kubernetes objects in it").hint("expected `kubectl get … -o json`"),
        );
    }
    (out, problems)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Cow::Owned(super::load::utf16(bytes).0);
    }
    String::from_utf8_lossy(bytes)
}

/// JSON text of one object.
struct Json<'a>(&'a str);
/// YAML text of one object.
struct Yaml<'a>(&'a str);

/// What went wrong: byte and line inside the object, and why.
#[derive(Debug)]
struct Wrong {
    line: u64,
    why: String,
}

fn yaml<W: DeserializeOwned>(text: &str) -> Result<W, serde_saphyr::Error> {
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = serde_saphyr::options::DuplicateKeyPolicy::LastWins;
    // a namespace may be called `n`
    options.strict_booleans = true;
    serde_saphyr::from_str_with_options(text, options)
}

/// What a reader says, without the place: that is given as the line of the document.
fn wrong(line: u64, said: &str) -> Wrong {
    let first = said.lines().next().unwrap_or("");
    Wrong { line, why: first.rsplit_once(" at line ").map_or(first, |(why, _)| why).to_owned() }
}

fn wrong_yaml(e: &serde_saphyr::Error) -> Wrong {
    wrong(e.location().map_or(1, |l| l.line()), &e.without_snippet().to_string())
}

/// YAML inside the value of `key` of the object `text`.
fn inner_yaml<W: DeserializeOwned + Default>(text: &str, key: &str, inner: &str) -> Result<W, Wrong> {
    let e = match yaml(inner) {
        Ok(w) => return Ok(w),
        Err(e) if tally::mismatch() => wrong_yaml(&e),
        Err(_) => return Ok(W::default()),
    };
    let stands = |l: &str| [format!("{key}:"), format!("\"{key}\"")].iter().any(|k| l.contains(k)) || l.ends_with(key);
    let (at, line) = text.lines().enumerate().find(|(_, l)| stands(l)).map_or((0, ""), |(i, l)| (i as u64, l));
    let block = line.trim_end().ends_with(['|', '-', '+', '>']);
    let line = at + 1 + if block { e.line } else { 0 };
    Err(Wrong { line, why: format!("line {} of the text in it: {}", e.line, e.why) })
}

impl Source for Json<'_> {
    type Error = Wrong;
    fn parse<W: DeserializeOwned + Default>(&self) -> Result<W, Wrong> {
        serde_json::from_str(self.0).map_err(|e| wrong(e.line() as u64, &e.to_string()))
    }
    fn inner_yaml<W: DeserializeOwned + Default>(&self, key: &str, text: &str) -> Result<W, Wrong> {
        inner_yaml(self.0, key, text)
    }
}

impl Source for Yaml<'_> {
    type Error = Wrong;
    fn parse<W: DeserializeOwned + Default>(&self) -> Result<W, Wrong> {
        yaml(self.0).map_err(|e| wrong_yaml(&e))
    }
    fn inner_yaml<W: DeserializeOwned + Default>(&self, key: &str, text: &str) -> Result<W, Wrong> {
        inner_yaml(self.0, key, text)
    }
}

/// `apiVersion`, `kind`, `metadata.namespace` and `metadata.name` of an object, without reading the rest.
#[derive(Debug, Default)]
struct Head<'a> {
    api: Cow<'a, str>,
    kind: Cow<'a, str>,
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    /// Keys of the object.
    keys: Vec<&'a str>,
}

fn head<'a>(p: &Piece<'a>) -> Head<'a> {
    let mut h = Head::default();
    let mut take = |key: &'a str, inside: Option<&str>, value: Cow<'a, str>| match (inside, key) {
        (None, "apiVersion") => h.api = value,
        (None, "kind") => h.kind = value,
        (Some("metadata"), "name") => h.name = value,
        (Some("metadata"), "namespace") => h.namespace = value,
        _ => {}
    };
    let mut keys = Vec::new();
    match p.form {
        Form::Json => {
            let text = |b: &'a [u8]| std::str::from_utf8(b).unwrap_or("");
            let value = |b: &'a [u8]| {
                let t = text(b);
                Cow::Borrowed(t.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(""))
            };
            for field in Outline::new(p.text.as_bytes()).into_iter().flatten() {
                keys.push(text(field.key));
                take(text(field.key), None, value(field.value));
                if field.key == b"metadata" {
                    for inner in Outline::new(field.value).into_iter().flatten() {
                        take(text(inner.key), Some("metadata"), value(inner.value));
                    }
                }
            }
        }
        Form::Yaml { dash } => {
            let (mut level, mut inside, mut inner_level) = (None, None, None);
            for (i, line) in p.text.lines().enumerate() {
                let mut spaces = line.len() - line.trim_start_matches(' ').len();
                let mut rest = &line[spaces..];
                if let (0, Some(dash)) = (i, dash) {
                    let after = &line[dash + 1..];
                    rest = after.trim_start_matches(' ');
                    spaces = line.len() - rest.len();
                }
                if rest.is_empty() || rest.starts_with('#') {
                    continue;
                }
                let Some((key, value)) = rest.split_once(':') else { continue };
                let value = Cow::Borrowed(value.trim().trim_matches(['"', '\'']));
                if spaces == *level.get_or_insert(spaces) {
                    keys.push(key);
                    inside = (value.is_empty()).then_some(key);
                    inner_level = None;
                    take(key, None, value);
                } else if inside == Some("metadata") && spaces == *inner_level.get_or_insert(spaces) {
                    take(key, inside, value);
                }
            }
        }
    }
    h.keys = keys;
    h
}

/// The kind of an object that does not say it, from the fields that only that kind has.
fn guess(keys: &[&str]) -> &'static str {
    let has = |k: &str| keys.contains(&k);
    if has("addressType") && has("endpoints") {
        "EndpointSlice"
    } else if has("subsets") {
        "Endpoints"
    } else {
        ""
    }
}

/// The API group that the kinds of the core and of `apps` have when a list without `apiVersion` holds them.
fn group_of<'a>(api: &'a str, kind: &str) -> &'a str {
    match api.rsplit_once('/') {
        Some((group, _)) => group,
        None if api.is_empty() => match kind {
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps",
            "EndpointSlice" => "discovery.k8s.io",
            _ => "",
        },
        None => "",
    }
}

/// `Service`, `Sidecar.networking.istio.io`: Kubernetes' own groups go without.
fn kind_name(group: &str, kind: &str) -> Name {
    if !group.contains('.') || (group.ends_with(".k8s.io") && group != "gateway.networking.k8s.io") {
        names::word(kind)
    } else {
        names::word(&format!("{kind}.{group}"))
    }
}

fn object(label: &str, input: InputId, p: &Piece<'_>) -> (Option<Object>, Vec<Problem>) {
    let head = head(p);
    let api = if head.api.is_empty() { p.api } else { &head.api };
    let kind = match &*head.kind {
        "" if p.kind.is_empty() => guess(&head.keys),
        "" => p.kind,
        kind => kind,
    };
    let about = |namespace: &str, name: &str, what: String| {
        let slash = if namespace.is_empty() { "" } else { "/" };
        let named = format!("{} {namespace}{slash}{name}", if kind.is_empty() { "object" } else { kind });
        Problem {
            line: Some(p.line),
            ..Problem::new(label, Loss::Resource, format!("{}: {what}", named.trim_end())).at(p.offset as u64)
        }
    };
    let at = |what: String| about(&head.namespace, &head.name, what);
    let nothing = |problem: Problem| (None, vec![problem]);
    if p.event == Some(Event::Error) {
        return nothing(at("the watch ended with an error".to_owned()).hint("start the watch again and append"));
    }
    if !p.whole {
        return nothing(
            at("the file ends inside this object".to_owned()).hint("was the command that wrote it cut off?"),
        );
    }
    if kind.is_empty() {
        if head.keys.is_empty() && p.text.trim_matches(['{', '}', '-', ' ', '\n', '\r']).is_empty() {
            return (None, Vec::new());
        }
        return nothing(at("has no kind".to_owned()).hint("expected objects as `kubectl get … -o json` writes them"));
    }
    let group = group_of(api, kind);
    let mut object = Object {
        kind: kind_name(group, kind),
        namespace: names::word(&head.namespace),
        name: names::word(&head.name),
        version: 0,
        hash: 0,
        event: p.event,
        input,
        line: p.line,
        body: None,
    };
    if p.text.len() > MAX_OBJECT_BYTES {
        return nothing(at(format!("{} bytes long; objects over {MAX_OBJECT_BYTES} are not read", p.text.len())));
    }
    let text = match p.form {
        // the dash becomes part of the indentation: a mapping of its own
        Form::Yaml { dash: Some(dash) } => Cow::Owned([&p.text[..dash], " ", &p.text[dash + 1..]].concat()),
        Form::Yaml { dash: None } | Form::Json => Cow::Borrowed(p.text),
    };
    let parse = || match p.form {
        Form::Json => wire::read(&Json(&text), group, kind),
        Form::Yaml { .. } => wire::read(&Yaml(&text), group, kind),
    };
    let place = |w: &Wrong, problem: Problem| Problem { line: Some(p.line + w.line.saturating_sub(1)), ..problem };
    let (result, tally) = tally::scoped(parse);
    let body = match result {
        Ok(body) => body,
        Err(w) => return nothing(place(&w, at(w.why.clone()))),
    };
    let Some(mut body) = body else { return (Some(object), Vec::new()) };
    for meta in body.metas() {
        meta.span = Span { input, offset_bytes: p.offset as u64, line: p.line, len_bytes: p.text.len() as u64 };
        (object.namespace, object.name) = (meta.namespace.clone(), meta.name.clone());
        object.version = meta.resource_version;
    }
    let here = |w: &Wrong, what: String| place(w, about(&object.namespace, &object.name, what));
    let mut problems = doubtful_fields(tally.mismatches + tally.repeats, &parse, &here);
    if object.name.is_empty() {
        problems.push(at("has no metadata.name".to_owned()));
        return (None, problems);
    }
    object.hash = tally.hash;
    object.body = Some(body);
    (Some(object), problems)
}

/// Reads an object in which `all` values are not what its kind says once more for each of the first of them: what was
/// taken as absent, and what stands twice, with the line.
fn doubtful_fields(
    all: u32,
    parse: &dyn Fn() -> Result<Option<Body>, Wrong>,
    here: &dyn Fn(&Wrong, String) -> Problem,
) -> Vec<Problem> {
    let mut out = Vec::new();
    for nth in 0..all.min(LISTED_FIELDS) {
        let (result, path) = tally::strictly(nth, parse);
        let Err(w) = result else { break };
        let twice = w.why.ends_with(Refused::WHY);
        let (why, taken) =
            if twice { (Refused::WHY, "the last one is taken") } else { (w.why.as_str(), "taken as absent") };
        let p = here(&w, format!("{path} {why}; {taken}").trim_start().to_owned());
        out.push(if twice { Problem { loss: Loss::Nothing, ..p } } else { p });
    }
    if let (true, Some(last)) = (all > LISTED_FIELDS, out.last_mut()) {
        last.what = format!("{} [and {} more fields]", last.what, all - LISTED_FIELDS);
    }
    out
}

/// Joins the documents of a run, in order. The same object twice counts once; where the two differ the newer
/// `resourceVersion` is taken, and the later one where that does not tell. `None` without any object.
pub fn assemble(documents: Vec<Objects>) -> (Option<Kubernetes>, Vec<Problem>) {
    if documents.is_empty() {
        return (None, Vec::new());
    }
    let mut out = Kubernetes { incomplete: documents.iter().any(|d| d.incomplete), ..Kubernetes::default() };
    let mut problems = Vec::new();
    let mut kept: HashMap<(Name, Name, Name), Object> = HashMap::new();
    let mut differing = 0_usize;
    for document in documents {
        for object in document.all {
            out.watch_events += u64::from(object.event.is_some());
            if object.body.is_none() {
                *out.kinds.entry(object.kind).or_default() += 1;
                continue;
            }
            let key = (object.kind.clone(), object.namespace.clone(), object.name.clone());
            if object.event == Some(Event::Deleted) {
                kept.remove(&key);
                continue;
            }
            let Some(before) = kept.get(&key) else {
                kept.insert(key, object);
                continue;
            };
            let contradicts = before.hash != object.hash && object.event.is_none() && before.event.is_none();
            if contradicts {
                differing += 1;
                if differing <= LISTED {
                    let older = before.version > object.version;
                    let what = format!(
                        "{} {}/{} also stands at line {}{} with other content; the {} is taken",
                        object.kind,
                        object.namespace,
                        object.name,
                        before.line,
                        if before.input == object.input { "" } else { " of an earlier file" },
                        if older { "earlier one (newer resourceVersion)" } else { "one here" },
                    );
                    let p = Problem::new(&*document.label, Loss::Nothing, what);
                    problems.push(Problem { line: Some(object.line), input: Some(object.input), ..p });
                }
            }
            if object.version >= before.version {
                kept.insert(key, object);
            }
        }
    }
    if differing > LISTED {
        let what = format!("{} more objects stand twice with other content", differing - LISTED);
        problems.push(Problem::new("", Loss::Nothing, what));
    }
    let mut all: Vec<((Name, Name, Name), Object)> = kept.into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, object) in all {
        *out.kinds.entry(object.kind).or_default() += 1;
        if let Some(body) = object.body {
            place(&mut out, body);
        }
    }
    (Some(out), problems)
}

fn place(out: &mut Kubernetes, body: Body) {
    match body {
        Body::Service(o) => out.services.push(o),
        Body::Endpoints(all) => out.endpoints.extend(all),
        Body::Pod(o) => out.pods.push(*o),
        Body::Namespace(m) => out.namespaces.push(m),
        Body::Workload(o) => out.workloads.push(o),
        Body::Sidecar(o) => out.sidecars.push(o),
        Body::VirtualService(o) => out.virtual_services.push(o),
        Body::DestinationRule(o) => out.destination_rules.push(o),
        Body::ServiceEntry(o) => out.service_entries.push(o),
        Body::Gateway(o) => out.gateways.push(o),
        Body::HttpRoute(o) => out.http_routes.push(o),
        Body::HttpProxy(o) => out.http_proxies.push(o),
        Body::MeshConfig(o) => out.mesh_configs.push(o),
        Body::RevisionGc(_, gc) => out.revision_gc = Some(gc),
        Body::ConfigMap(_) => {}
        Body::KnativeRoute(o) => out.knative_routes.push(o),
        Body::Revision(o) => out.revisions.push(o),
        Body::Osm(o) => out.osm_mesh_configs.push(o),
        Body::TrafficTarget(o) => out.traffic_targets.push(o),
        Body::HttpRouteGroup(o) => out.http_route_groups.push(o),
    }
}
