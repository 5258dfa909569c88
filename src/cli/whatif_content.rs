//! The recordings that scenarios with another content are played over: under another scope, rewritten, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Exit, Failure, whatif_scope};
use crate::evidence::recording::{Loaded, Without, rewrite};
use crate::findings::scope::{Rule, in_recording};
use crate::findings::whatif::{Content, Scenario};
use crate::model::envoy::Name;
use crate::model::stream::Recording;

type Rewritten = Vec<(Content, Recording)>;

/// The contents that `scenarios` ask for besides the recorded one.
pub(super) fn contents(scenarios: &[Scenario]) -> BTreeSet<Content> {
    scenarios.iter().map(Scenario::content).filter(|c| *c != Content::default()).collect()
}

/// A recording for each of them, and what must be said of their scopes.
///
/// # Errors
/// When a scenario asks for what the recording does not allow.
pub(super) fn recordings(loaded: &Loaded, scenarios: &[Scenario]) -> Result<(Rewritten, Vec<String>), Failure> {
    let contents = contents(scenarios);
    let name = |asks: &dyn Fn(&Scenario) -> bool| scenarios.iter().find(|s| asks(s)).map_or("", |s| &s.name);
    let mut notes = Vec::new();
    let mut scoped: BTreeMap<&Name, Loaded> = BTreeMap::new();
    for scope in contents.iter().filter_map(|c| c.scope.as_ref()) {
        if !scoped.contains_key(scope) {
            let (under, said) = under(loaded, scope, name(&|s| s.scope.as_ref() == Some(scope)))?;
            scoped.insert(scope, under);
            notes.extend(said);
        }
    }
    let mut out = Vec::with_capacity(contents.len());
    for content in &contents {
        let from = content.scope.as_ref().and_then(|s| scoped.get(s)).unwrap_or(loaded);
        let recording = match content.rewrite.is_none() {
            true => from.recording.clone(),
            false => rewrite(from, content.rewrite)
                .map_err(|why| Failure::new(Exit::Usage, format!("{}: {why}", name(&|s| s.content() == *content))))?,
        };
        out.push((content.clone(), recording));
    }
    Ok((out, notes))
}

/// The recording under a scope, `own-namespace` or a file with Sidecars, that scenario `name` asks for first.
fn under(loaded: &Loaded, scope: &str, name: &str) -> Result<(Loaded, Vec<String>), Failure> {
    let rule = match scope {
        "own-namespace" => Rule::OwnNamespace,
        file => whatif_scope::sidecars(Path::new(file))?,
    };
    let mut without = Without::new(loaded);
    let called = format!("scope={scope}");
    let made = in_recording(&loaded.recording, &rule, &called, &mut |body, parts| without.cut(body, parts));
    let (made, notes) = made.map_err(|why| Failure::new(Exit::Usage, format!("{name}: {why}")))?;
    Ok((without.finish(made.events, made.base), notes))
}
