//! `meshdump check`.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::civil::Date;

use super::analyze::{self, InputArgs, exit_code, nothing, say};
use super::check_config::{self, Config};
use super::output::{self, Format, OutputArgs};
use super::replay::Opened;
use super::{Exit, Failure, replay};
use crate::evidence::load::Loaded;
use crate::evidence::recording::is_stream;
use crate::findings::analysis::Options;
use crate::findings::check::{Baseline, Budget, Today, check};
use crate::findings::replay::Replay;
use crate::input::{self, Document};
use crate::report::{self, clean};

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump check config_dump.json --update-baseline          remember what is
  meshdump check config_dump.json                            fails when it grew by more than 5 %, or drains more
  meshdump check new.json --baseline old.json                the same against another dump
  meshdump check bug-report.tar.gz --budget 'allocated <= 384Mi' --budget 'draining.listeners <= 50'
  meshdump check stream.jsonl.gz --limit 512Mi --budget 'replay.limit.pct <= 80%'
  meshdump check maps.json --budget 'bpf.memlock <= 200Mi'
  meshdump check dumps/ -o sarif=check.sarif -o junit=check.xml -o github

Budgets, groups, tolerance and suppressions stand in .meshdump.toml, found from the working folder upward.
Exit codes: 0 every gate holds, 1 one failed, whatever -o; 3 input or baseline missing")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    input: InputArgs,
    /// The configuration, instead of the .meshdump.toml found upward
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A baseline, or evidence to compare with; by default meshdump-baseline.json beside the configuration, when it is
    /// there
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the baseline instead of comparing with it
    #[arg(long)]
    update_baseline: bool,
    /// A budget besides those of the configuration: 'allocated <= 384Mi', 'resident.p99 < 1Gi'; repeatable
    #[arg(long, value_name = "BUDGET", value_parser = |text: &str| Budget::parse(text).map_err(check_config::budget_error))]
    budget: Vec<Budget>,
    /// How far numbers may exceed the baseline; 5% by default
    #[arg(long, value_name = "PERCENT", value_parser = check_config::percent)]
    tolerance: Option<f64>,
    /// The day that expiries of suppressions are compared with; by default that of SOURCE_DATE_EPOCH, or of the clock
    #[arg(long, value_name = "DATE")]
    today: Option<Date>,
    /// Memory limit that limit.pct is a share of; else the pod's, where a Kubernetes export tells
    #[arg(long, value_name = "SIZE", value_parser = output::parse_size)]
    limit: Option<u64>,
    /// Worker threads, where the evidence does not tell
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: Option<u32>,
    /// List every gate and place
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Where a baseline is when nothing says.
const BASELINE_NAME: &str = "meshdump-baseline.json";

/// Runs `meshdump check`.
pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    let (config_path, config) = args.configuration()?;
    let folder = config_path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let Config { mut gates, baseline } = config;
    gates.budgets.extend(args.budget.iter().cloned());
    gates.tolerance = args.tolerance.unwrap_or(gates.tolerance);
    gates.strict = args.input.read.strict;
    if gates.suppressions.iter().any(|s| s.until.is_some()) {
        gates.today = Some(args.today()?);
    }

    let (documents, loaded) = args.input.with_documents(&args.output);
    let replay = args.replay(documents, &loaded)?;
    if loaded.proxies.is_empty() && loaded.bpf.is_empty() && replay.is_none() {
        return Err(nothing(&loaded));
    }
    let exit = if replay.is_some() { Exit::Ok } else { exit_code(&loaded, args.input.read.strict) };
    if replay.is_none() {
        say(&loaded, &args.output);
    }
    let analysis = analyze::report(loaded, &args.options());

    let named = args.baseline.clone().or_else(|| baseline.map(|b| folder.join(b)));
    let path = named.clone().unwrap_or_else(|| folder.join(BASELINE_NAME));
    let before = if args.update_baseline {
        let text = report::json::render(&Baseline::of(&analysis, replay.as_ref()));
        output::save(&path, text.as_bytes())?;
        output::note_line(&format!("wrote the baseline {}", path.display()));
        None
    } else if named.is_some() || input::is_file(&path) {
        Some(args.read_baseline(&path)?)
    } else {
        None
    };
    if gates.budgets.is_empty() && before.is_none() && !args.update_baseline {
        gates.budgets.push(Budget::nothing_is_wrong());
    }
    let shown = |path: &Path| path.display().to_string();
    let before = before.as_ref().map(|b| (shown(&path), b));
    let value = check(
        &analysis,
        replay.as_ref(),
        &gates,
        config_path.as_deref().map(shown),
        before.as_ref().map(|(p, b)| (p.as_str(), *b)),
    );
    args.output.write(|format, width| match format {
        Format::Text => report::check::text(&value, width, args.full),
        Format::Json => report::json::render(&value),
    })?;
    Ok(if value.ok { exit } else { Exit::Gate })
}

impl CheckArgs {
    fn options(&self) -> Options {
        Options { all: true, limit_bytes: self.limit, concurrency: self.concurrency, ..Options::default() }
    }

    /// The replay, where the evidence is a recording and nothing else.
    fn replay(&self, documents: Vec<Document>, loaded: &Loaded) -> Result<Option<Replay>, Failure> {
        if !loaded.proxies.is_empty() || !loaded.bpf.is_empty() || !documents.iter().any(is_stream) {
            return Ok(None);
        }
        Ok(Some(Opened::within(documents, self.limit, self.concurrency)?.replay()))
    }

    /// The configuration and where it is.
    fn configuration(&self) -> Result<(Option<PathBuf>, Config), Failure> {
        let Some(path) = self.config.clone().or_else(|| input::find_upward(check_config::NAME)) else {
            return Ok((None, check_config::read("").map_err(|e| Failure::new(Exit::Usage, e))?));
        };
        let document = replay::document(&path, &input::Limits::default())?;
        let config = check_config::read(&super::report::text(&document)?)
            .map_err(|e| Failure::new(Exit::Usage, format!("{}: {}", path.display(), clean(&e))))?;
        Ok((Some(path), config))
    }

    fn today(&self) -> Result<Today, Failure> {
        if let Some(date) = self.today {
            return Ok(Today { date, from: "flag" });
        }
        let utc = |time: jiff::Timestamp| time.to_zoned(jiff::tz::TimeZone::UTC).date();
        match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) if !text.is_empty() => {
                let time = text.parse().ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
                let time = time.ok_or_else(|| {
                    let why = format!("SOURCE_DATE_EPOCH is `{}`; expected seconds since 1970", clean(&text));
                    Failure::new(Exit::Usage, why)
                })?;
                Ok(Today { date: utc(time), from: "source_date_epoch" })
            }
            _ => Ok(Today { date: utc(jiff::Timestamp::now()), from: "clock" }),
        }
    }

    /// A baseline, or that of the evidence at `path`.
    fn read_baseline(&self, path: &Path) -> Result<Baseline, Failure> {
        let found = input::collect(&[path.to_owned()], &input::Limits::default());
        if let [document] = found.documents.as_slice()
            && Baseline::begins(document.head())
        {
            let text = super::report::text(document)?;
            return serde_json::from_str(&text).map_err(|e| {
                let why = format!("{}: the baseline is damaged: {e}; --update-baseline renews it", path.display());
                Failure::new(Exit::Input, clean(&why))
            });
        }
        let (documents, loaded) = self.input.read.load(&[path.to_owned()], &OutputArgs::default());
        let replay = self.replay(documents, &loaded)?;
        if loaded.proxies.is_empty() && loaded.bpf.is_empty() && replay.is_none() {
            let Failure { exit, message } = nothing(&loaded);
            let hint = "--update-baseline writes a baseline";
            return Err(Failure::new(exit, format!("no baseline: {message}; {hint}")));
        }
        if replay.is_none() {
            say(&loaded, &OutputArgs::default());
        }
        Ok(Baseline::of(&analyze::report(loaded, &self.options()), replay.as_ref()))
    }
}
