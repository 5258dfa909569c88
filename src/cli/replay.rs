//! `meshdump replay`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::analyze::inputs;
use super::fail_on::FailOn;
use super::output::{self, Format, OutputArgs};
use super::{Exit, Failure};
use crate::cost::envoy::Version;
use crate::evidence::recording::{self, Loaded};
use crate::findings::replay::{EnvoyReport, Origin, Played, Replay, replay};
use crate::input::{self, Document};
use crate::model::problem::{Loss, Problem};
use crate::model::stream::{Us, What};
use crate::report;
use crate::sim::envoy::{Prepared, Settings};

/// What was recorded, and what is known of the Envoy it was sent to; `replay` and `whatif` share it.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RecordingArgs {
    /// Recordings of one Envoy, merged by time; `-` is stdin
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    /// Its /server_info: version, workers, drain time
    #[arg(long, value_name = "FILE")]
    server_info: Option<PathBuf>,
    /// Its bootstrap as JSON, or a config dump, of which only the bootstrap counts: stats matcher, static resources
    #[arg(long, value_name = "FILE")]
    bootstrap: Option<PathBuf>,
    /// A config dump of what it held before the recording begins
    #[arg(long, value_name = "DUMP")]
    base: Option<PathBuf>,
    /// Time zone of logs that do not say: UTC, +09:00, Asia/Seoul
    #[arg(long, value_name = "ZONE", value_parser = recording::zone)]
    log_tz: Option<jiff::tz::TimeZone>,
    /// --drain-time-s of Envoy: 45s, 10m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    drain_time: Option<Us>,
    /// --drain-strategy of Envoy; it closes connections sooner or later, the drain takes the same time
    #[arg(long, value_name = "STRATEGY", value_parser = ["gradual", "immediate"])]
    drain_strategy: Option<String>,
    /// Worker threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: Option<u32>,
    /// Version of Envoy, like 1.40
    #[arg(long, value_name = "VERSION")]
    envoy_version: Option<String>,
    /// Memory limit to compare anonymous memory of Envoy with
    #[arg(long, value_name = "SIZE", value_parser = output::parse_size)]
    limit: Option<u64>,
}

/// Arguments of `replay`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump replay stream.jsonl.gz
  meshdump replay stream.jsonl --server-info server_info.json --bootstrap config_dump.json
  meshdump replay stream.jsonl --envoy-version 1.28 --drain-time 45s --concurrency 2 --limit 512Mi
  meshdump replay stream.jsonl -o json=replay.json")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    recording: RecordingArgs,
    #[command(flatten)]
    fail_on: FailOn,
    #[command(flatten)]
    output: OutputArgs,
}

/// `45s`, `10m`, `1h`, `500ms` or plain seconds.
///
/// # Errors
/// One line that says what was expected.
pub(super) fn parse_time(text: &str) -> Result<Us, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1e3,
        "" | "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        _ => return Err(format!("unknown unit `{unit}`; write it as 45s, 10m or 500ms")),
    };
    let value: f64 = number.parse().map_err(|_| "expected a time, as in 45s".to_owned())?;
    if value * factor > 1e15 {
        return Err("longer than thirty years".to_owned());
    }
    Ok(Us((value * factor).round() as i64))
}

/// A recording with everything that its replay needs.
pub(super) struct Opened {
    pub(super) loaded: Loaded,
    pub(super) settings: Settings,
    pub(super) envoy: EnvoyReport,
}

impl Opened {
    /// A recording of documents at hand, of an Envoy of which nothing else is known.
    ///
    /// # Errors
    /// When nothing in them was recorded.
    pub(super) fn of(documents: Vec<Document>, hash: bool) -> Result<Self, Failure> {
        RecordingArgs::default().read(documents, Vec::new(), hash, false)
    }

    /// The same with the memory limit and the worker threads, as far as they are known.
    ///
    /// # Errors
    /// When nothing in them was recorded.
    pub(super) fn within(
        documents: Vec<Document>,
        limit: Option<u64>,
        concurrency: Option<u32>,
    ) -> Result<Self, Failure> {
        RecordingArgs { limit, concurrency, ..RecordingArgs::default() }.read(documents, Vec::new(), true, false)
    }

    /// The report of its replay.
    pub(super) fn replay(&self) -> Replay {
        let Self { loaded, settings, envoy } = self;
        let prepared = Prepared::new(&loaded.recording, settings);
        let steps = prepared.steps(&loaded.recording);
        let run = prepared.run(&steps, settings);
        let played = Played { recording: &loaded.recording, prepared: &prepared, steps: &steps, settings, run: &run };
        replay(&played, envoy.clone(), inputs(&loaded.inputs), &loaded.problems, env!("CARGO_PKG_VERSION"))
    }
}

impl RecordingArgs {
    /// Reads the recording and settles what Envoy it was.
    pub(super) fn open(&self, hash: bool) -> Result<Opened, Failure> {
        let found = self.found();
        self.read(found.documents, found.problems, hash, false)
    }

    /// The memory limit, when given.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// What the paths lead to.
    pub(super) fn found(&self) -> input::Inputs {
        input::collect(&self.recordings, &input::Limits::default())
    }

    /// Reads `documents` as the recording.
    /// `texts` keeps the JSON of bodies.
    pub(super) fn read(
        &self,
        documents: Vec<Document>,
        problems: Vec<Problem>,
        hash: bool,
        texts: bool,
    ) -> Result<Opened, Failure> {
        let limits = input::Limits::default();
        let one = |path: &Option<PathBuf>| path.as_deref().map(|p| document(p, &limits)).transpose();
        let (info, bootstrap, base) = (one(&self.server_info)?, one(&self.bootstrap)?, one(&self.base)?);
        let options = recording::Options {
            server_info: info.as_ref(),
            bootstrap: bootstrap.as_ref(),
            base: base.as_ref(),
            hash,
            log_tz: self.log_tz.as_ref(),
            texts,
        };
        let mut loaded = recording::read(&documents, &options);
        loaded.problems.splice(0..0, problems);
        let pushes = loaded.recording.events.iter().any(|e| matches!(e.what, What::Push(_)));
        if !pushes && loaded.recording.events.is_empty() {
            let worst = loaded.problems.iter().min_by_key(|p| std::cmp::Reverse(p.loss));
            let message = worst.filter(|p| p.loss != Loss::Nothing).map_or_else(
                || {
                    "no discovery response in the input; expected JSON Lines of responses, as in {\"t\": 1.5, \"type_url\": \
                     …, \"resources\": […]}"
                        .to_owned()
                },
                |p| report::text::problem_line(&crate::findings::analysis::problem_report(p)),
            );
            return Err(Failure::new(Exit::Input, message));
        }
        let (settings, envoy) = self.settings(&loaded)?;
        Ok(Opened { loaded, settings, envoy })
    }

    fn settings(&self, loaded: &Loaded) -> Result<(Settings, EnvoyReport), Failure> {
        let mut settings = Settings { limit: self.limit, ..Settings::default() };
        let info = loaded.recording.server_info.as_ref();
        let version_text;
        let version_from;
        match (&self.envoy_version, info.and_then(|i| Version::parse(&i.version).map(|v| (v, i)))) {
            (Some(text), _) => {
                settings.version = Version::parse(text).ok_or_else(|| {
                    Failure::new(Exit::Usage, format!("`{text}` is no version of Envoy; expected 1.40 or 1.40.0"))
                })?;
                (version_text, version_from) = (text.clone(), Origin::Given);
            }
            (None, Some((version, info))) => {
                settings.version = version;
                let short = info.version.split('/').find(|p| Version::parse(p).is_some()).unwrap_or_default();
                (version_text, version_from) = (short.to_owned(), Origin::Observed);
            }
            (None, None) => {
                let v = settings.version;
                (version_text, version_from) = (format!("{}.{}", v.major, v.minor), Origin::Assumed);
            }
        }
        let concurrency_from = match (self.concurrency, info.and_then(|i| i.concurrency)) {
            (Some(n), _) => {
                settings.concurrency = n;
                Origin::Given
            }
            (None, Some(n)) => {
                settings.concurrency = n.max(1);
                Origin::Observed
            }
            _ => Origin::Assumed,
        };
        let drain_time_from = match (self.drain_time, info.and_then(|i| i.drain_time_s)) {
            (Some(t), _) => {
                settings.drain_time = t;
                Origin::Given
            }
            (None, Some(s)) => {
                settings.drain_time = Us(i64::try_from(s.min(1 << 32)).unwrap_or(0) * 1_000_000);
                Origin::Observed
            }
            _ => Origin::Assumed,
        };
        let observed = info.map(|i| i.drain_strategy.to_ascii_lowercase()).filter(|s| !s.is_empty());
        let drain_strategy = self.drain_strategy.clone().or(observed).unwrap_or_else(|| "gradual".into());
        settings.workers_running = !loaded.recording.events.iter().any(|e| matches!(e.what, What::WorkersStart));
        let envoy = EnvoyReport {
            version: version_text,
            version_from,
            concurrency: settings.concurrency,
            concurrency_from,
            drain_time_from,
            drain_strategy,
            limit: self.limit,
        };
        Ok((settings, envoy))
    }
}

/// The one document at `path`.
pub(super) fn document(path: &Path, limits: &input::Limits) -> Result<Document, Failure> {
    let found = input::collect(&[path.to_owned()], limits);
    if let Some(p) = found.problems.first() {
        return Err(Failure::new(
            Exit::Input,
            report::text::problem_line(&crate::findings::analysis::problem_report(p)),
        ));
    }
    let mut documents = found.documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(Failure::new(Exit::Input, format!("{}: expected one file", path.display()))),
    }
}

/// Runs `meshdump replay`.
pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    let opened = args.recording.open(args.output.wants(Format::Json))?;
    let (whole, loaded) = (opened.replay(), &opened.loaded);
    args.output.write(|format, width| match format {
        Format::Json => report::json::render(&whole),
        _ => report::replay::text(&whole, width),
    })?;
    let lost = loaded.problems.iter().any(|p| p.loss == Loss::Whole);
    Ok(args.fail_on.exit(if lost { Exit::Input } else { Exit::Ok }, &whole.findings))
}
