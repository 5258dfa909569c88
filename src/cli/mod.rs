//! The command line: opens the doors between the rooms and prints. Only this room prints.

mod analyze;
mod bpf;
mod calibrate;
mod check;
mod check_config;
mod convert;
mod diff;
mod fail_on;
mod generate;
mod output;
mod progress;
mod redact;
mod replay;
mod report;
mod tool;
mod whatif;
mod whatif_content;
mod whatif_scope;
mod whatif_watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use output::{Format, OutputArgs};

/// Exit codes (contract): the same for every `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Ran.
    Ok = 0,
    /// A gate failed.
    Gate = 1,
    /// Wrong usage.
    Usage = 2,
    /// Input missing, unreadable or not recognised.
    Input = 3,
    /// Output could not be written.
    Output = 4,
}

/// Why a command ended early; printed as one line on stderr.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What to print after `error: `.
    pub message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

const EXAMPLES: &str = "\
Examples:
  meshdump analyze config_dump.json.gz               what is in it, what it costs, what is leaking
  meshdump analyze bug-report.tar.gz --limit 512Mi   a whole bundle, against a memory limit
  kubectl exec POD -c istio-proxy -- pilot-agent request GET config_dump | meshdump analyze -

Exit codes: 0 ran, 1 a gate failed, 2 usage, 3 input missing or not recognised, 4 output not written";

#[derive(Debug, Parser)]
#[command(name = "meshdump", version, about = "Where the memory of a service mesh went, from the evidence you already have", after_long_help = EXAMPLES, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Colours: auto obeys NO_COLOR, CLICOLOR_FORCE and whether stdout is a terminal
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    color: ColorChoice,
    /// No warnings and no progress on stderr; errors stay
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say on stderr what was read as what, and how long it took
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is in the evidence, what it costs, what is leaking (start here)
    Analyze(analyze::AnalyzeArgs),
    /// What was recognised in the inputs, what was skipped and why
    Ls(analyze::LsArgs),
    /// The documentation of a finding code
    #[command(after_help = "Examples:
  meshdump explain MD302
  meshdump explain")]
    Explain {
        /// The code, as in MD302; lists all codes when left out
        code: Option<String>,
    },
    /// The same evidence under another setting: what each workload sees, what a narrower scope saves
    Whatif(Box<whatif::WhatIfArgs>),
    /// Where the memory of a node's BPF maps went, from `bpftool -j`
    Bpf(bpf::BpfArgs),
    /// Saved JSON reports as HTML, Markdown and other formats
    Report(report::ReportArgs),
    /// Make up inputs in the shapes of real control planes
    Generate(generate::GenerateArgs),
    /// What grew between two dumps or bundles, whose it is, and which resources changed
    Diff(diff::DiffArgs),
    /// Gates for CI: budgets, and growth against a baseline; exit 1 when one fails
    Check(Box<check::CheckArgs>),
    /// Play a recorded xDS stream against a simulated Envoy: what drains, what peaks, which push did it
    Replay(replay::ReplayArgs),
    /// Any recording of an xDS stream as one file, without secrets: tap, log, dumps, responses, stats
    Convert(convert::ConvertArgs),
    /// The same evidence with names, addresses and secrets replaced, safe to attach to an issue
    Redact(redact::RedactArgs),
    /// Measure an Envoy build on loopback and fit the price table to it
    Calibrate(calibrate::CalibrateArgs),
    /// The JSON Schema of a kind of report
    Schema(tool::SchemaArgs),
    /// Completions for a shell
    Completions(tool::CompletionsArgs),
    /// Manual pages
    Man(tool::ManArgs),
}

/// Runs the tool on `args` (with the program's name first) and returns the exit code of the contract:
/// 0 ran, 1 a gate failed, 2 usage, 3 input, 4 output.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let (cli, verb) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(e) => {
            // clap prints help and version on stdout with exit 0, errors on stderr with exit 2
            let code = e.exit_code();
            return match e.print() {
                Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => exit(Exit::Output),
                _ => ExitCode::from(code as u8),
            };
        }
    };
    output::set_up(cli.color, cli.quiet, cli.verbose);
    let since = std::time::Instant::now();
    if !cli.quiet {
        progress::start(verb);
    }
    let result = run(&cli.command, &args);
    progress::end();
    output::detail_line(|| format!("took {:.2} s", since.elapsed().as_secs_f64()));
    match result {
        Ok(code) => exit(code),
        Err(failure) => {
            output::error_line(&failure.message);
            exit(failure.exit)
        }
    }
}

/// The command line as it is called: kubectl finds plugins by the names of their files.
fn command(args: &[OsString]) -> clap::Command {
    let called = args.first().and_then(|a| std::path::Path::new(a).file_stem()).and_then(|s| s.to_str());
    match called {
        Some("kubectl-meshdump") => Cli::command().bin_name("kubectl meshdump"),
        _ => Cli::command().bin_name("meshdump"),
    }
}

/// The parsed arguments, and the command's name.
fn parse(args: &[OsString]) -> Result<(Cli, String), clap::Error> {
    let mut command = command(args);
    let matches = command.try_get_matches_from_mut(args)?;
    let verb = matches.subcommand_name().unwrap_or_default().to_owned();
    let cli = Cli::from_arg_matches(&matches).map_err(|e| e.format(&mut command))?;
    Ok((cli, verb))
}

fn run(wanted: &Command, args: &[OsString]) -> Result<Exit, Failure> {
    match wanted {
        Command::Analyze(args) => analyze::run(args),
        Command::Ls(args) => analyze::ls(args),
        Command::Explain { code } => tool::explain(code.as_deref()),
        Command::Whatif(args) => whatif::run(args),
        Command::Bpf(args) => bpf::run(args),
        Command::Report(args) => report::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Check(args) => check::run(args),
        Command::Redact(args) => redact::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Schema(args) => tool::schema(args),
        Command::Completions(which) => tool::completions(which, command(args)),
        Command::Man(which) => tool::man(which, command(args)),
    }
}

fn exit(code: Exit) -> ExitCode {
    ExitCode::from(code as u8)
}
