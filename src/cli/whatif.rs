//! `meshdump whatif`: the same recording under other policies and settings.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::analyze::inputs;
use super::output::{Format, OutputArgs};
use super::replay::{Opened, RecordingArgs};
use super::whatif_content::{contents, recordings};
use super::whatif_watch::Watched;
use super::{Exit, Failure, whatif_scope};
use crate::evidence::watch::{self, Watch};
use crate::findings::analysis::Input;
use crate::findings::whatif::{
    Base, FIXES, Goal, MOST_DETAILED, SETTINGS, Scenario, WhatIfRun, logged, notes, over_lines, report, runs, search,
    side_by_side, sweep,
};
use crate::input::{self, Document};
use crate::model::problem::Loss;
use crate::model::source::InputId;
use crate::model::stream::{Event, Recording, Us, What};
use crate::report;
use crate::sim::control_plane::policy::{COMMON, NAMES};
use crate::sim::control_plane::{Policy, parse_duration};

const EXAMPLES: &str = "\
Examples:
  meshdump whatif stream.jsonl.gz --policy fixed-window:window=5s --policy at-most-k-draining:k=1
  meshdump whatif stream.jsonl.gz --server-info server_info.json --set drain-time=45s --fix reorder --together
  meshdump whatif stream.jsonl.gz --scenario 'debounce:quiet=1s + drain-time=60s + reorder'
  meshdump whatif stream.jsonl.gz --set scope=own-namespace --set scope=sidecar.yaml
  meshdump whatif stream.jsonl.gz --sweep debounce.quiet=0s..60s:5s
  meshdump whatif stream.jsonl.gz --search --max-staleness 10s";

/// Arguments of `meshdump whatif`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = EXAMPLES, after_long_help = after())]
pub(crate) struct WhatIfArgs {
    #[command(subcommand)]
    command: Option<WhatIfCommand>,
    #[command(flatten)]
    recording: RecordingArgs,
    /// A batching policy; each one is a scenario
    #[arg(long = "policy", value_name = "NAME[:KEY=VALUE,...]")]
    policies: Vec<String>,
    /// A setting: drain-time=45s, drain-strategy=immediate, envoy-version=1.14, concurrency=4 of Envoy;
    /// scope=own-namespace or scope=FILE with Sidecars of Istio; each one is a scenario
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// A fix of the configuration: reorder, sds, rds, merge-chains, delta, sotw; each one is a scenario
    #[arg(long = "fix", value_name = "FIX")]
    fixes: Vec<String>,
    /// Parts joined by +, as 'istio:after=1s + drain-time=45s + reorder': one scenario
    #[arg(long = "scenario", value_name = "PARTS")]
    scenarios: Vec<String>,
    /// JSON: [{"name": "calm", "parts": ["debounce:quiet=1s", "drain-time=45s"]}]
    #[arg(long, value_name = "FILE")]
    scenario_file: Option<PathBuf>,
    /// One more scenario with every --policy, --set and --fix together
    #[arg(long)]
    together: bool,
    /// A range of a parameter or setting: debounce.quiet=0s..60s:5s, drain-time=5s..60s:5s
    #[arg(long = "sweep", value_name = "WHAT=FROM..TO:STEP")]
    sweeps: Vec<String>,
    /// Look for the smallest peak, or with --limit for the smallest wait: a grid of policies and drain times, and what is
    /// near the best of it
    #[arg(long)]
    search: bool,
    /// The best scenario must not let changes wait longer (p99)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_staleness: Option<Us>,
    /// How long Envoy takes to answer, where the recording does not tell
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = parse_duration)]
    answer: Us,
    /// Over a Kubernetes watch: the version of Contour, contour-0.5 to contour, that the first run shows
    #[arg(long, value_name = "PRESET", default_value = "contour-0.13")]
    preset: Policy,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum WhatIfCommand {
    /// What each workload's proxy sees and costs, what a narrower scope saves, what growth costs
    Scope(whatif_scope::ScopeArgs),
}

fn after() -> String {
    let mut text = format!("{EXAMPLES}\n\nPolicies, with their parameters at the values they have when left out:\n");
    for (name, parameters) in NAMES {
        text.push_str(&format!("  {name:<20}{parameters}\n"));
    }
    text + &format!("  all of them take {COMMON}")
}

/// One scenario of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileScenario {
    name: Option<String>,
    parts: Vec<String>,
}

impl WhatIfArgs {
    fn scenarios(&self) -> Result<Vec<Scenario>, Failure> {
        let usage = |why: String| Failure::new(Exit::Usage, why);
        let wrong = |flag: &str, part: &str, known: &[&str]| {
            Err(usage(format!("{flag} {part}: expected one of {}", known.join(", "))))
        };
        for part in &self.settings {
            if !part.split_once('=').is_some_and(|(key, _)| SETTINGS.contains(&key.trim())) {
                return wrong("--set", part, &SETTINGS.map(|s| [s, "=VALUE"].concat()).each_ref().map(|s| &**s));
            }
        }
        for part in &self.fixes {
            if !FIXES.contains(&part.trim()) {
                return wrong("--fix", part, &FIXES);
            }
        }
        let given: Vec<&String> = self.policies.iter().chain(&self.settings).chain(&self.fixes).collect();
        let mut all = given.iter().map(|part| Scenario::parse(part)).collect::<Result<Vec<_>, _>>().map_err(usage)?;
        if self.together && !given.is_empty() {
            let mut one = Scenario::default();
            given.iter().try_for_each(|part| one.add(part)).map_err(|e| usage(format!("--together: {e}")))?;
            all.push(one);
        }
        for text in &self.scenarios {
            all.push(Scenario::parse(text).map_err(usage)?);
        }
        if let Some(path) = &self.scenario_file {
            all.extend(from_file(path)?);
        }
        for text in &self.sweeps {
            all.extend(sweep(text).map_err(usage)?);
        }
        if all.is_empty() && !self.search {
            return Err(usage("name a scenario: --policy, --set, --fix, --scenario, --sweep or --search".to_owned()));
        }
        Ok(all)
    }

    fn goal(&self) -> Goal {
        Goal { max_staleness: self.max_staleness, limit: self.recording.limit() }
    }

    /// Runs with their timelines, where somebody reads them and there are few.
    fn detail(&self, scenarios: &[Scenario]) -> bool {
        self.output.wants(Format::Json) && scenarios.len() < MOST_DETAILED && !self.search
    }

    /// What `attempt` makes of the scenarios, and with --search of a grid and of what lies near the best of that.
    fn tried<T>(
        &self,
        scenarios: &[Scenario],
        memory: bool,
        attempt: impl Fn(&[Scenario]) -> Result<(Vec<WhatIfRun>, T), Failure>,
    ) -> Result<(Vec<WhatIfRun>, T), Failure> {
        if !self.search {
            return attempt(scenarios);
        }
        let mut all = scenarios.to_vec();
        all.extend(
            search::grid(self.goal(), memory).into_iter().filter(|s| scenarios.iter().all(|g| g.name != s.name)),
        );
        let (mut runs, more) = attempt(&all)?;
        let mut finer = search::finer(&runs, self.goal(), memory);
        finer.retain(|s| all.iter().all(|a| a.name != s.name));
        if !finer.is_empty() {
            runs.extend(attempt(&finer)?.0.into_iter().skip(1));
            side_by_side(&mut runs);
        }
        Ok((runs, more))
    }
}

fn from_file(path: &PathBuf) -> Result<Vec<Scenario>, Failure> {
    let found = input::collect(std::slice::from_ref(path), &input::Limits::default());
    let unreadable = |why: String| Failure::new(Exit::Input, format!("{}: {why}", path.display()));
    let document = found.documents.first().ok_or_else(|| unreadable("cannot be read".to_owned()))?;
    let (bytes, whole) = document.open().map_err(|e| unreadable(e.to_string()))?.read_all();
    whole.map_err(|e| unreadable(e.to_string()))?;
    let list: Vec<FileScenario> = serde_json::from_slice(&bytes)
        .map_err(|e| unreadable(format!("{e}; expected [{{\"name\": …, \"parts\": [\"debounce:quiet=1s\", …]}}]")))?;
    let scenario = |s: FileScenario| {
        let mut made = Scenario::default();
        s.parts.iter().try_for_each(|p| made.add(p)).map_err(|e| Failure::new(Exit::Usage, e))?;
        if s.parts.is_empty() {
            return Err(Failure::new(Exit::Usage, format!("{}: a scenario without parts", path.display())));
        }
        made.name = s.name.unwrap_or(made.name);
        Ok(made)
    };
    list.into_iter().map(scenario).collect()
}

/// Over the events of Kubernetes watches, of which any policy can be tried.
fn over_watch(args: &WhatIfArgs, documents: &[Document], scenarios: &[Scenario]) -> Result<Exit, Failure> {
    if !args.preset.name.starts_with("contour") {
        let why = format!("--preset {}: expected a version of Contour, as contour-0.13", args.preset.name);
        return Err(Failure::new(Exit::Usage, why));
    }
    let (mut watch, mut problems) = (Watch::default(), Vec::new());
    for document in documents {
        let unreadable = |e: std::io::Error| Failure::new(Exit::Input, format!("{}: {e}", document.label()));
        let (bytes, whole) = document.open().map_err(unreadable)?.read_all();
        let (more, wrong) = watch::read(document.label(), &bytes);
        watch.join(more);
        problems.extend(wrong);
        problems.extend(whole.err().map(|e| document.problem(&e)));
    }
    if watch.changes.is_empty() {
        let why = problems
            .first()
            .map_or("no object was added, modified or deleted in it".to_owned(), |p| p.what.to_string());
        let label = documents.first().map_or("", |d| d.label());
        return Err(Failure::new(Exit::Input, format!("{label}: a watch without a change: {why}")));
    }
    let detail = args.detail(scenarios);
    let watched = Watched { watch: &watch, args: &args.recording, preset: &args.preset, answer: args.answer, detail };
    let done = args.tried(scenarios, true, |scenarios| watched.runs(scenarios))?;
    let mut notes = vec![format!(
        "the input is {} changes of Kubernetes objects, made into resources as {} makes them: any policy is exact, and \
         changes wait from the event on; Envoy answers after --answer",
        watch.changes.len(),
        args.preset.name
    )];
    notes.extend((watch.repeated > 0).then(|| {
        format!(
            "{} events repeat what was known, as a watch does that is started again: they count for nothing",
            watch.repeated
        )
    }));
    notes.extend(watch.times_assumed.then(|| "lines without t follow the line before by one second".to_owned()));
    let input = |document: &Document| Input {
        path: document.label().to_owned(),
        kind: "kubernetes_watch".to_owned(),
        bytes: document.stored_bytes(),
        sha256: document.sha256().to_owned(),
        proxy: None,
        note: None,
    };
    let inputs = documents.iter().map(input).collect();
    let recording = Recording {
        events: watch
            .changes
            .iter()
            .map(|c| Event { t: c.t, input: InputId(0), stream: 0, what: What::Connection(true) })
            .collect(),
        times_assumed: watch.times_assumed,
        ..Recording::default()
    };
    let whole = report(&recording, done, args.goal(), notes, inputs, &problems);
    args.output.write(|format, width| match format {
        Format::Json => report::json::render(&whole),
        _ => report::whatif::text(&whole, width),
    })?;
    Ok(Exit::Ok)
}

/// Runs `meshdump whatif`.
pub(crate) fn run(args: &WhatIfArgs) -> Result<Exit, Failure> {
    if let Some(WhatIfCommand::Scope(args)) = &args.command {
        return whatif_scope::run(args);
    }
    args.output.specs()?;
    let scenarios = args.scenarios()?;
    let found = args.recording.found();
    if !found.documents.is_empty() && found.documents.iter().all(|d| watch::looks_like(d.head())) {
        return over_watch(args, &found.documents, &scenarios);
    }
    let wants = args.output.wants(Format::Json);
    let opened = args.recording.read(found.documents, found.problems, wants, !contents(&scenarios).is_empty())?;
    let Opened { loaded, settings, envoy } = &opened;
    let events = &loaded.recording.events;
    let lines_only = !events.iter().any(|e| matches!(e.what, What::Push(_)))
        && events.iter().any(|e| matches!(e.what, What::Batch { .. }));
    let (done, notes) = if lines_only {
        let lines = logged(&loaded.recording).map_err(|e| Failure::new(Exit::Input, e))?;
        let (runs, notes) = args.tried(&scenarios, false, |scenarios| {
            over_lines(&lines, envoy, scenarios, args.answer).map_err(|e| Failure::new(Exit::Usage, e))
        })?;
        ((runs, String::new()), notes)
    } else {
        let (rewritten, said) = recordings(loaded, &scenarios)?;
        let base =
            Base { recording: &loaded.recording, rewritten: &rewritten, settings: *settings, envoy: envoy.clone() };
        let detail = args.detail(&scenarios);
        let done = args.tried(&scenarios, true, |scenarios| Ok(runs(&base, scenarios, args.answer, detail)))?;
        (done, notes(&loaded.recording, &scenarios, args.answer).into_iter().chain(said).collect())
    };
    let whole = report(&loaded.recording, done, args.goal(), notes, inputs(&loaded.inputs), &loaded.problems);
    args.output.write(|format, width| match format {
        Format::Json => report::json::render(&whole),
        _ => report::whatif::text(&whole, width),
    })?;
    let lost = loaded.problems.iter().any(|p| p.loss == Loss::Whole);
    Ok(if lost { Exit::Input } else { Exit::Ok })
}
