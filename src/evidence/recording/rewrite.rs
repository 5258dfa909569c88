//! The same recording with its listeners written in another way: certificates by SDS, route tables by RDS, one filter
//! chain for all names that are served alike.
//!
//! It is the JSON of each distinct listener that is changed, and then read as if it had been recorded so; a listener
//! whose JSON is not there cannot be rewritten. What is taken out of a listener is pushed after it, when Envoy does not
//! have it yet, under a name that stays the same when the content changes: that of the first content for certificates,
//! the table's own for routes, and one for each filter chain where these do not tell contents apart.

use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::fast::FixedState;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::Loaded;
use super::bodies::read;
use crate::evidence::json::names;
use crate::model::envoy::Name;
use crate::model::stream::{BodyId, Event, Push, Pushed, Recording, Rewrite, What, XdsType};

pub(super) const LISTENER: &str = "envoy.config.listener.v3.Listener";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";
pub(super) const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";

type Table<K, V> = HashMap<K, V, FixedState>;

/// What stands inline in a filter chain and may be a resource of its own.
struct Inline<'a> {
    kind: XdsType,
    /// Tells slots of one listener apart.
    chain: u64,
    value: &'a mut Value,
}

/// A name for what was inline, by listener, chain and place, and whether all slots of that name always agree.
#[derive(Default)]
struct Naming {
    of: Table<(XdsType, u64, usize), String>,
    split: HashSet<String, FixedState>,
}

/// Rewrites the listeners of `loaded`, which was read with its texts.
///
/// # Errors
/// One line that says why it cannot be done.
pub fn rewrite(loaded: &Loaded, how: Rewrite) -> Result<Recording, String> {
    let mut out = loaded.recording.clone();
    let mut pushed: Vec<BodyId> = Vec::new();
    for event in &out.events {
        if let What::Push(push) = &event.what {
            pushed.extend(push.resources.iter().map(|r| r.body).filter(|b| out.body(*b).kind == XdsType::Listener));
        }
    }
    pushed.sort_unstable_by_key(|b| b.0);
    pushed.dedup();
    if pushed.is_empty() {
        return Err("the recording has no listener".to_owned());
    }
    let mut bodies: Vec<(BodyId, Value)> = Vec::with_capacity(pushed.len());
    for id in pushed {
        let text = loaded.texts.get(id.0 as usize).and_then(Option::as_deref);
        let value = text.and_then(|t| serde_json::from_str(t).ok());
        let missing = || format!("the recording does not have listener `{}` as JSON", out.body(id).name);
        bodies.push((id, value.ok_or_else(missing)?));
    }
    let naming = names_of(&mut bodies, how);
    let mut changed = false;
    // what each listener needs besides, as bodies
    let mut needs: Table<BodyId, Vec<BodyId>> = Table::default();
    let mut known: Table<(XdsType, u64), BodyId> = Table::default();
    for (id, mut value) in bodies {
        let mut own = Vec::new();
        take_out(&mut value, how, &naming, &mut |kind, text| {
            let next = BodyId(out.bodies.len() as u32);
            let body = *known.entry((kind, xxh3_64(text.as_bytes()))).or_insert(next);
            if body == next {
                let full = if kind == XdsType::Secret { SECRET } else { ROUTES };
                out.bodies.push(read(full, "", text.as_bytes(), text.len() as u64, false, false).body);
            }
            own.push(body);
        });
        let merged = how.merge_chains && merge(&mut value);
        if own.is_empty() && !merged {
            continue;
        }
        changed = true;
        let text = value.to_string();
        let name = out.body(id).name.clone();
        let mut body = read(LISTENER, &name, text.as_bytes(), text.len() as u64, false, false).body;
        body.name = name;
        out.bodies[id.0 as usize] = body;
        needs.insert(id, own);
    }
    if !changed {
        let what = match (how.sds, how.rds, how.merge_chains) {
            (true, false, false) => "no filter chain has its certificate inline",
            (false, true, false) => "no filter chain has its route table inline",
            (false, false, true) => "no two filter chains of a listener are equal but for their server names",
            _ => "none of this applies to any listener",
        };
        return Err(what.to_owned());
    }
    push_needs(&mut out, &needs);
    Ok(out)
}

/// Pushes what was taken out of a listener after it, where the last push of that name said something else.
fn push_needs(out: &mut Recording, needs: &Table<BodyId, Vec<BodyId>>) {
    let mut sent: Table<(u32, XdsType, Name), BodyId> = Table::default();
    let mut events = Vec::with_capacity(out.events.len());
    for event in std::mem::take(&mut out.events) {
        let mut more: Vec<Event> = Vec::new();
        if let What::Push(push) = &event.what {
            for kind in [XdsType::RouteConfig, XdsType::Secret] {
                let mut resources = Vec::new();
                for body in push.resources.iter().filter_map(|r| needs.get(&r.body)).flatten() {
                    let found = &out.bodies[body.0 as usize];
                    let key = (event.stream, kind, found.name.clone());
                    if found.kind == kind && sent.insert(key, *body) != Some(*body) {
                        resources.push(Pushed { body: *body, version: push.version.clone() });
                    }
                }
                if resources.is_empty() {
                    continue;
                }
                let type_name = names::word(if kind == XdsType::Secret { SECRET } else { ROUTES });
                let bytes = resources.iter().map(|r| out.bodies[r.body.0 as usize].bytes).sum();
                let nonce = names::empty();
                let (version, delta, removed) = (push.version.clone(), push.delta, Vec::new());
                let what =
                    What::Push(Box::new(Push { kind, type_name, delta, version, nonce, resources, removed, bytes }));
                more.push(Event { what, ..event.clone() });
            }
        }
        events.push(event);
        events.append(&mut more);
    }
    out.events = events;
}

/// Either spelling of a key.
fn get<'a>(object: &'a Map<String, Value>, snake: &str, camel: &str) -> Option<&'a Value> {
    object.get(snake).or_else(|| object.get(camel))
}

/// The spelling that an object has of a key.
pub(super) fn key_of(object: &Map<String, Value>, snake: &str, camel: &str) -> Option<String> {
    [snake, camel].into_iter().find(|k| object.contains_key(*k)).map(str::to_owned)
}

/// The filter chains of a listener, the default one last.
fn chains(listener: &mut Value) -> Vec<&mut Value> {
    let Value::Object(listener) = listener else { return Vec::new() };
    let (mut list, mut last) = (Vec::new(), None);
    for (key, value) in listener.iter_mut() {
        match key.as_str() {
            "filter_chains" | "filterChains" => list.extend(value.as_array_mut().into_iter().flatten()),
            "default_filter_chain" | "defaultFilterChain" => last = Some(value),
            _ => {}
        }
    }
    list.extend(last);
    list
}

/// Calls `each` with everything inline in a listener that `how` takes out: the value is the object that holds it.
fn inlines(listener: &mut Value, how: Rewrite, each: &mut dyn FnMut(Inline<'_>)) {
    let name = listener.as_object().and_then(|l| l.get("name")).map(Value::to_string).unwrap_or_default();
    for chain in chains(listener) {
        let rule = chain.as_object().and_then(|c| get(c, "filter_chain_match", "filterChainMatch"));
        let id = xxh3_64(format!("{name} {}", rule.map(Value::to_string).unwrap_or_default()).as_bytes());
        visit(chain, how, id, each);
    }
}

fn visit(value: &mut Value, how: Rewrite, chain: u64, each: &mut dyn FnMut(Inline<'_>)) {
    if let Value::Object(object) = &*value {
        let filled = |v: Option<&Value>| v.and_then(Value::as_array).is_some_and(|a| !a.is_empty());
        let certificates = how.sds && filled(get(object, "tls_certificates", "tlsCertificates"));
        let manager = get(object, "http_filters", "httpFilters").or_else(|| get(object, "stat_prefix", "statPrefix"));
        let routes = how.rds && manager.is_some() && get(object, "route_config", "routeConfig").is_some();
        let kinds = [(certificates, XdsType::Secret), (routes, XdsType::RouteConfig)];
        for kind in kinds.into_iter().filter_map(|(there, kind)| there.then_some(kind)) {
            each(Inline { kind, chain, value: &mut *value });
        }
    }
    match value {
        Value::Object(object) => object.values_mut().for_each(|v| visit(v, how, chain, each)),
        Value::Array(list) => list.iter_mut().for_each(|v| visit(v, how, chain, each)),
        _ => {}
    }
}

/// The contents of an inline: each certificate, or the route table.
fn contents(inline: &Inline<'_>) -> Vec<Value> {
    let object = inline.value.as_object();
    let found = match inline.kind {
        XdsType::Secret => object.and_then(|o| get(o, "tls_certificates", "tlsCertificates")),
        _ => object.and_then(|o| get(o, "route_config", "routeConfig")),
    };
    match found {
        Some(Value::Array(list)) => list.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    }
}

fn names_of(bodies: &mut [(BodyId, Value)], how: Rewrite) -> Naming {
    let mut naming = Naming::default();
    // contents that a name ever had, by listener: listeners that do not move together cannot share it
    let mut ever: Table<(String, String), BTreeSet<u64>> = Table::default();
    for (_, listener) in bodies {
        let owner = listener.get("name").map(Value::to_string).unwrap_or_default();
        let mut here: Table<String, u64> = Table::default();
        inlines(listener, how, &mut |inline| {
            for (i, content) in contents(&inline).into_iter().enumerate() {
                let hash = xxh3_64(content.to_string().as_bytes());
                let name = naming.of.entry((inline.kind, inline.chain, i)).or_insert_with(|| {
                    let own = content.get("name").and_then(Value::as_str).unwrap_or_default();
                    match inline.kind {
                        XdsType::Secret => format!("certificate-{hash:016x}"),
                        _ if own.is_empty() => "routes".to_owned(),
                        _ => own.to_owned(),
                    }
                });
                ever.entry((name.clone(), owner.clone())).or_default().insert(hash);
                if *here.entry(name.clone()).or_insert(hash) != hash {
                    naming.split.insert(name.clone());
                }
            }
        });
    }
    let mut of: Table<&String, &BTreeSet<u64>> = Table::default();
    for ((name, _), contents) in &ever {
        if *of.entry(name).or_insert(contents) != contents {
            naming.split.insert(name.clone());
        }
    }
    naming
}

impl Naming {
    fn name(&self, kind: XdsType, chain: u64, i: usize) -> String {
        let name = self.of.get(&(kind, chain, i)).cloned().unwrap_or_default();
        if self.split.contains(&name) { format!("{name}-{chain:016x}") } else { name }
    }
}

/// Puts references where something was inline, and gives what it was to `each` as a resource.
fn take_out(listener: &mut Value, how: Rewrite, naming: &Naming, each: &mut dyn FnMut(XdsType, String)) {
    inlines(listener, how, &mut |inline| {
        let all = contents(&inline);
        let Inline { kind, chain, value: Value::Object(object) } = inline else { return };
        let source = json!({"ads": {}, "resource_api_version": "V3"});
        let mut references = Vec::new();
        for (i, mut content) in all.into_iter().enumerate() {
            let name = naming.name(kind, chain, i);
            if kind == XdsType::Secret {
                references.push(json!({"name": name, "sds_config": source}));
                each(kind, json!({"name": name, "tls_certificate": content}).to_string());
            } else {
                references.push(json!({"route_config_name": name, "config_source": source}));
                content["name"] = name.into();
                each(kind, content.to_string());
            }
        }
        if kind == XdsType::Secret {
            if let Some(key) = key_of(object, "tls_certificates", "tlsCertificates") {
                object.remove(&key);
            }
            let key = key_of(object, "tls_certificate_sds_secret_configs", "tlsCertificateSdsSecretConfigs");
            let list = object.entry(key.unwrap_or_else(|| "tls_certificate_sds_secret_configs".to_owned()));
            if let Value::Array(list) = list.or_insert_with(|| json!([])) {
                list.extend(references);
            }
        } else {
            if let Some(key) = key_of(object, "route_config", "routeConfig") {
                object.remove(&key);
            }
            object.extend(references.pop().map(|r| ("rds".to_owned(), r)));
        }
    });
}

/// Gives all server names whose chains are equal otherwise to the first of these; whether there were any.
fn merge(listener: &mut Value) -> bool {
    let Value::Object(listener) = listener else { return false };
    let Some(key) = key_of(listener, "filter_chains", "filterChains") else { return false };
    let Some(Value::Array(list)) = listener.get_mut(&key) else { return false };
    let before = list.len();
    let mut place: Table<String, usize> = Table::default();
    let mut merged: Vec<Value> = Vec::new();
    for mut chain in std::mem::take(list) {
        let Some(mut names) = take_names(&mut chain) else {
            merged.push(chain);
            continue;
        };
        let mut plain = chain.clone();
        if let Value::Object(chain) = &mut plain {
            chain.remove("name");
        }
        let last = merged.len();
        let at = *place.entry(plain.to_string()).or_insert(last);
        if at == last {
            if let Some(place) = names_in(&mut chain) {
                *place = names.into();
            }
            merged.push(chain);
        } else if let Some(Value::Array(all)) = names_in(&mut merged[at]) {
            all.append(&mut names);
        }
    }
    *list = merged;
    list.len() < before
}

/// The list of server names in a chain's match.
fn names_in(chain: &mut Value) -> Option<&mut Value> {
    let chain = chain.as_object_mut()?;
    let key = key_of(chain, "filter_chain_match", "filterChainMatch")?;
    let rule = chain.get_mut(&key)?.as_object_mut()?;
    let key = key_of(rule, "server_names", "serverNames")?;
    rule.get_mut(&key)
}

/// Takes the server names out of a chain's match and leaves an empty list; `None` for a chain that has none.
fn take_names(chain: &mut Value) -> Option<Vec<Value>> {
    let list = names_in(chain)?.as_array_mut()?;
    (!list.is_empty()).then(|| std::mem::take(list))
}
