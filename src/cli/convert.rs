//! `meshdump convert`.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::output::{self, Lines};
use super::{Exit, Failure};
use crate::evidence::recording::{self, Loaded, Options, WriteOptions};
use crate::findings::analysis::problem_report;
use crate::input;
use crate::model::problem::Loss;
use crate::model::stream::What;
use crate::report;

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The native format: each distinct body once, pushes as differences, logs and observations too
    Native,
    /// Discovery responses and acknowledgements, a line each, as any tool can read them
    Responses,
}

/// Arguments of `convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump convert tap_0.pb_length_delimited envoy.log --out rec.jsonl.gz
  meshdump convert dumps/*.json.gz stats/ --out rec.jsonl.gz          a series of dumps, what was observed beside it
  meshdump convert rec.jsonl.gz --to responses --out - | jq -c .type_url

Private keys, passwords and what secrets hold are never written: filler of their length stands there.")]
pub(super) struct ConvertArgs {
    /// Sources of one Envoy's run: tap, logs, config dumps, responses, stats, recordings; `-` is stdin
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// File to write, compressed when its name ends in .gz; `-` is stdout
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Form to write
    #[arg(long, value_enum, default_value = "native")]
    to: Form,
    /// Leave out all bodies; names, sizes and hashes stay
    #[arg(long)]
    strip: bool,
    /// Write behind what is in the file already
    #[arg(long)]
    append: bool,
    /// Time zone of logs that do not say: UTC, +09:00, Asia/Seoul
    #[arg(long, value_name = "ZONE", value_parser = recording::zone)]
    log_tz: Option<TimeZone>,
    /// Most bytes one input may inflate to
    #[arg(long, value_name = "SIZE", default_value = "4Gi", value_parser = output::parse_size)]
    max_bytes: u64,
    /// Exit with 3 when an input was only partly understood
    #[arg(long)]
    strict: bool,
}

/// Runs `meshdump convert`.
pub(super) fn run(args: &ConvertArgs) -> Result<Exit, Failure> {
    let limits = input::Limits { max_inflated_bytes: args.max_bytes, ..input::Limits::default() };
    let found = input::collect(&args.inputs, &limits);
    let options = Options { log_tz: args.log_tz.as_ref(), texts: true, ..Options::default() };
    let mut loaded = recording::read(&found.documents, &options);
    loaded.problems.splice(0..0, found.problems);
    const SHOWN: usize = 20;
    for p in loaded.problems.iter().take(SHOWN) {
        output::warning_line(&report::text::problem_line(&problem_report(p)));
    }
    if loaded.problems.len() > SHOWN {
        output::warning_line(&format!("{} more of this kind", loaded.problems.len() - SHOWN));
    }
    if loaded.recording.events.is_empty() {
        return Err(Failure::new(
            Exit::Input,
            "nothing in these inputs is a recording: expected an Envoy tap or log, discovery responses, or several config dumps",
        ));
    }
    let written = write(args, &loaded);
    match written {
        Ok(left_out) => {
            if left_out > 0 {
                output::warning_line(&format!(
                    "{left_out} events of logs and observations have no place among responses; --to native keeps them"
                ));
            }
            output::note_line(&summary(&loaded));
        }
        // the reader has seen enough
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
        Err(e) => return Err(Failure::new(Exit::Output, format!("cannot write {}: {e}", args.out.display()))),
    }
    let lost = loaded.problems.iter().any(|p| p.loss > Loss::Nothing);
    Ok(if args.strict && lost { Exit::Input } else { Exit::Ok })
}

fn write(args: &ConvertArgs, loaded: &Loaded) -> std::io::Result<u64> {
    let options = WriteOptions { strip: args.strip };
    let mut lines = Lines::create(&args.out, args.append)?;
    let left_out = match args.to {
        Form::Native => recording::write(loaded, options, |line| lines.line(line)).map(|()| 0)?,
        Form::Responses => recording::write_responses(loaded, options, |line| lines.line(line))?,
    };
    lines.finish()?;
    Ok(left_out)
}

fn summary(loaded: &Loaded) -> String {
    let r = &loaded.recording;
    let mut pushes = 0_u64;
    let mut resources = 0_u64;
    for e in &r.events {
        if let What::Push(p) = &e.what {
            pushes += 1;
            resources += p.resources.len() as u64;
        }
    }
    let count = |n: u64, one: &str, many: &str| match n {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    format!(
        "{} with {}, {} distinct; {}",
        count(pushes, "push", "pushes"),
        count(resources, "resource", "resources"),
        r.bodies.len(),
        count(r.events.len() as u64 - pushes, "other event", "other events"),
    )
}
