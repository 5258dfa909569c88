//! Bodies of a recording without some of their parts: virtual hosts of a route table, filter chains of a listener.
//!
//! As in [`super::rewrite`] it is the JSON that is changed, and then read as if it had been recorded so.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde_json::Value;

use super::Loaded;
use super::bodies::{Text, read};
use super::rewrite::{LISTENER, ROUTES, key_of};
use crate::model::envoy::Name;
use crate::model::stream::{Body, BodyId, Event, Recording, Resource, XdsType};

/// A recording to which bodies without some of their parts are added.
#[derive(Debug)]
pub struct Without<'a> {
    loaded: &'a Loaded,
    bodies: Vec<Body>,
    texts: Vec<Option<Text>>,
    /// What Envoy takes for equal is one body, also where another one was recorded as this one is now.
    known: HashMap<(XdsType, Name, u64), BodyId, FixedState>,
}

impl<'a> Without<'a> {
    /// Of `loaded`, which was read with its texts.
    pub fn new(loaded: &'a Loaded) -> Self {
        let mut texts = loaded.texts.clone();
        texts.resize(loaded.recording.bodies.len(), None);
        let mut known = HashMap::default();
        for (i, b) in loaded.recording.bodies.iter().enumerate() {
            if matches!(b.kind, XdsType::Listener | XdsType::RouteConfig) && b.resource != Resource::Opaque {
                known.entry((b.kind, b.name.clone(), b.hash)).or_insert(BodyId(i as u32));
            }
        }
        Self { loaded, bodies: loaded.recording.bodies.clone(), texts, known }
    }

    /// The route table or listener `id` of the recording without its virtual hosts or filter chains at `positions` (the
    /// default chain is the last), and its hash.
    ///
    /// # Errors
    /// One line: there is no JSON of it.
    pub fn cut(&mut self, id: BodyId, positions: &[usize]) -> Result<(BodyId, u64), String> {
        let body = self.loaded.recording.body(id);
        let (what, full, parts, keys, last) = match &body.resource {
            Resource::Listener(l) => {
                let chains = ["filter_chains", "filterChains"];
                ("listener", LISTENER, l.chains.len(), chains, ["default_filter_chain", "defaultFilterChain"])
            }
            Resource::RouteConfig(t) => {
                ("route table", ROUTES, t.virtual_hosts.len(), ["virtual_hosts", "virtualHosts"], ["", ""])
            }
            _ => return Err(format!("`{}` has no parts", body.name)),
        };
        let missing = || format!("the recording does not have {what} `{}` as JSON", body.name);
        let text = self.loaded.texts.get(id.0 as usize).and_then(Option::as_deref).ok_or_else(missing)?;
        let mut value: Value = serde_json::from_str(text).map_err(|_| missing())?;
        let object = value.as_object_mut().ok_or_else(missing)?;
        // under both spellings of a key stand two lists, and positions are of one
        if [keys, last].iter().any(|pair| pair.iter().all(|k| object.contains_key(*k))) {
            return Err(missing());
        }
        let default = key_of(object, last[0], last[1]).filter(|k| object[k.as_str()].is_object());
        let mut none = Vec::new();
        let list = match key_of(object, keys[0], keys[1]).and_then(|k| object.get_mut(&k)) {
            Some(list) => list.as_array_mut().ok_or_else(missing)?,
            None => &mut none,
        };
        let listed = list.len();
        if listed + usize::from(default.is_some()) != parts {
            return Err(missing());
        }
        let mut at = 0;
        list.retain(|_| {
            at += 1;
            positions.binary_search(&(at - 1)).is_err()
        });
        if let Some(key) = default.as_ref().filter(|_| positions.binary_search(&listed).is_ok()) {
            object.remove(key);
        }
        let text = value.to_string();
        let mut made = read(full, &body.name, text.as_bytes(), text.len() as u64, false, false).body;
        made.name = body.name.clone();
        let hash = made.hash;
        let next = BodyId(self.bodies.len() as u32);
        let found = *self.known.entry((body.kind, body.name.clone(), hash)).or_insert(next);
        if found == next {
            self.bodies.push(made);
            self.texts.push(Some(text.into()));
        }
        Ok((found, hash))
    }

    /// The recording with these events and this beginning.
    pub fn finish(self, events: Vec<Event>, base: Vec<BodyId>) -> Loaded {
        let before = &self.loaded.recording;
        let recording = Recording {
            events,
            bodies: self.bodies,
            base,
            times_assumed: before.times_assumed,
            bootstrap: before.bootstrap.clone(),
            static_resources: before.static_resources.clone(),
            server_info: before.server_info.clone(),
        };
        Loaded { recording, texts: self.texts, ..Loaded::default() }
    }
}
