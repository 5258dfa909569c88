//! `meshdump whatif` over a Kubernetes watch: the objects' changes are the input of batching, and Contour's shapes are
//! what they become.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::replay::{Opened, RecordingArgs};
use super::{Exit, Failure};
use crate::evidence::watch::Watch;
use crate::findings::whatif::{Base, Made, Scenario, WhatIfRun, finish, settings_of, side_by_side};
use crate::generate::contour::{EMPTY_TABLES, FULL_TABLES, History, KIT_PUSHES, Part, Shape};
use crate::input;
use crate::model::stream::{Body, BodyId, Recording, Resource, Us, What, XdsType};
use crate::sim::control_plane::{Acknowledgements, Policy, Types};
use crate::sim::envoy::{Action, Prepared, Step, StepPush};

/// How a watch is turned into pushes.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    /// The changes.
    pub(super) watch: &'a Watch,
    /// What is known of Envoy.
    pub(super) args: &'a RecordingArgs,
    /// The version of Contour that the first run shows, and that scenarios change.
    pub(super) preset: &'a Policy,
    /// How long Envoy takes to answer.
    pub(super) answer: Us,
    /// Keep timelines.
    pub(super) detail: bool,
}

/// Chains over all listeners of a run, above which it is not simulated: they take about 30 bytes each.
const MOST_CHAINS: u64 = 60_000_000;

impl Watched<'_> {
    /// The first run is the preset as it is.
    pub(super) fn runs(&self, scenarios: &[Scenario]) -> Result<(Vec<WhatIfRun>, String), Failure> {
        let first = Scenario { name: self.preset.name.clone(), ..Scenario::default() };
        let mut model = String::new();
        let mut runs = Vec::new();
        for scenario in std::iter::once(&first).chain(scenarios) {
            if scenario.rewrite.rds {
                let why = format!("{}: Contour's routes come by RDS in all its versions", scenario.name);
                return Err(Failure::new(Exit::Usage, why));
            }
            if scenario.scope.is_some() {
                let why =
                    format!("{}: a scope is Istio's, and this watch becomes the stream of Contour", scenario.name);
                return Err(Failure::new(Exit::Usage, why));
            }
            if scenario.transport.is_some() {
                let why = format!("{}: Contour's stream is state of the world; a watch has no other", scenario.name);
                return Err(Failure::new(Exit::Usage, why));
            }
            runs.push(self.one(scenario, &mut model)?);
        }
        side_by_side(&mut runs);
        Ok((runs, model))
    }

    fn one(&self, scenario: &Scenario, model: &mut String) -> Result<WhatIfRun, Failure> {
        let shape = Shape::of(&self.preset.name);
        let shape = Shape {
            inline_certificates: shape.inline_certificates && !scenario.rewrite.sds,
            sorted: shape.sorted || scenario.reorder,
            looks_away: shape.looks_away,
            grouped: scenario.rewrite.merge_chains,
        };
        let history = History::new(shape, &self.watch.changes);
        let policy = scenario.policy.as_ref().unwrap_or(self.preset);
        // the kit depends on what is sent, and that on Envoy's drain time only: it is asked for with an empty kit first
        let drain = self.opened(&history, &[])?.settings.drain_time;
        let acks = Acknowledgements {
            latency: [self.answer; 9],
            fetch_timeout: Us(15_000_000),
            drain: scenario.drain_time.unwrap_or(drain),
        };
        let sent = history.deliveries(policy, &acks);
        let states: Vec<usize> =
            sent.iter().filter(|d| d.sent && d.kind == XdsType::Listener).map(|d| d.upto).collect();
        let Opened { loaded, settings, envoy } = self.opened(&history, &states)?;
        let mut recording = loaded.recording;
        recording.events.retain(|e| matches!(e.what, What::Push(_)));
        let base = Base { recording: &recording, rewritten: &[], settings, envoy };
        let settings = settings_of(&base, scenario, self.detail);
        let envoy = base.envoy;
        let mut prepared = Prepared::new(&recording, &settings);
        *model = prepared.cost_model();
        let kit = history.kit(&states).map_err(|e| Failure::new(Exit::Output, e.to_string()))?;
        let mut made = Maker { recording: &mut recording, prepared: &mut prepared, made: HashMap::new(), chains: 0 };
        let mut steps = Vec::with_capacity(sent.len() + 1);
        for d in sent.iter().filter(|d| d.sent) {
            let resources: Vec<BodyId> =
                history.parts(&kit, d.kind, d.upto).into_iter().map(|part| made.body(part)).collect();
            if made.chains > MOST_CHAINS {
                let why = format!(
                    "{}: more than {MOST_CHAINS} filter chains over all its pushes; take a smaller watch",
                    scenario.name
                );
                return Err(Failure::new(Exit::Usage, why));
            }
            let wire_bytes = resources.iter().map(|b| made.prepared.wire_bytes(*b)).sum();
            let push = StepPush {
                kind: d.kind,
                delta: false,
                version: d.upto.to_string().into(),
                resources,
                removed: Vec::new(),
                rejected: Vec::new(),
                wire_bytes,
            };
            // the kit's push of the same type says what the type is called
            let event = Types::ORDER.iter().position(|k| *k == d.kind).map_or(0, |at| [0, 1, 2, 3, 3, 3, 4, 4, 4][at]);
            steps.push(Step { t: d.t, event, action: Action::Push(Arc::new(push)) });
        }
        let end = self.watch.changes.last().map_or(Us(0), |c| c.t).max(steps.last().map_or(Us(0), |s| s.t));
        steps.push(Step { t: end, event: 0, action: Action::Nothing });
        let base = Base { recording: &recording, rewritten: &[], settings, envoy };
        let made = Made {
            recording: &recording,
            prepared: &prepared,
            steps: &steps,
            arrivals: history.arrivals(),
            sent: &sent,
            matters: &|kind, state| history.matters(kind, state),
            bound: None,
            connections: None,
        };
        Ok(finish(&base, scenario, policy, &settings, &made))
    }

    fn opened(&self, history: &History, states: &[usize]) -> Result<Opened, Failure> {
        let kit = history.kit(states).map_err(|e| Failure::new(Exit::Output, e.to_string()))?;
        self.args.read(vec![input::in_memory("watch", kit.recording)], Vec::new(), false, false)
    }
}

/// Makes bodies out of parts of a kit.
struct Maker<'a> {
    recording: &'a mut Recording,
    prepared: &'a mut Prepared,
    /// Equal parts are one body, by their hash: Envoy before 1.12 knows a resource again by its bytes alone.
    made: HashMap<u128, BodyId>,
    chains: u64,
}

impl Maker<'_> {
    fn of_kit(&self, push: usize, at: u32) -> BodyId {
        debug_assert!(push < KIT_PUSHES);
        match &self.recording.events[push].what {
            What::Push(push) => push.resources[at as usize].body,
            _ => unreachable!("the kit has pushes only"),
        }
    }

    fn body(&mut self, part: Part) -> BodyId {
        if let Part::Whole(push, at) = part {
            return self.of_kit(push, at);
        }
        let mut hasher = Xxh3::new();
        part.hash(&mut hasher);
        let key = hasher.digest128();
        if let Some(known) = self.made.get(&key) {
            return *known;
        }
        let made = self.derive(part);
        self.made.insert(key, made);
        made
    }

    fn derive(&mut self, part: Part) -> BodyId {
        let (like, made) = match part {
            Part::Whole(push, at) => return self.of_kit(push, at),
            Part::Chains(push, at, members) => {
                self.chains += members.len() as u64;
                let kit = self.of_kit(push, at);
                (kit, self.prepared.derive_listener(kit, &members))
            }
            Part::Hosts(at, hosts, of, hash) => {
                let full = self.of_kit(FULL_TABLES, at);
                let empty = self.of_kit(EMPTY_TABLES, at);
                (full, self.prepared.derive_routes(empty, full, (hosts, of), hash))
            }
        };
        // the report looks bodies up by number
        let like = self.recording.body(like);
        let stub = Body {
            name: like.name.clone(),
            kind: like.kind,
            resource: Resource::Opaque,
            hash: 0,
            set_hash: 0,
            listener: None,
            outline: like.outline.clone(),
            bytes: 0,
            exact_wire: false,
            fetch_timeouts: like.fetch_timeouts.clone(),
            invalid: None,
        };
        self.recording.bodies.push(stub);
        debug_assert_eq!(self.recording.bodies.len() as u32, made.0 + 1);
        made
    }
}
