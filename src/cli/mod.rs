//! The command line: opens the doors between the rooms and prints. Only this room prints.

mod analyze;
mod bpf;
mod calibrate;
mod diff;
mod generate;
mod output;
mod replay;
mod report;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is in the evidence, what it costs, what is leaking (start here)
    Analyze(analyze::AnalyzeArgs),
    /// What was recognised in the inputs, what was skipped and why
    Ls(analyze::LsArgs),
    /// The documentation of a finding code
    Explain {
        /// The code, as in MD302; lists all codes when left out
        code: Option<String>,
    },
    /// Where the memory of a node's BPF maps went, from `bpftool -j`
    Bpf(bpf::BpfArgs),
    /// Saved JSON reports as HTML, Markdown and other formats
    Report(report::ReportArgs),
    /// Make up inputs in the shapes of real control planes
    Generate(generate::GenerateArgs),
    /// What grew between two dumps or bundles, whose it is, and which resources changed
    Diff(diff::DiffArgs),
    /// Play a recorded xDS stream against a simulated Envoy: what drains, what peaks, which push did it
    Replay(replay::ReplayArgs),
    /// Measure an Envoy build on loopback and fit the price table to it
    Calibrate(calibrate::CalibrateArgs),
}

/// Runs the tool on `args` (with the program's name first) and returns the exit code of the contract:
/// 0 ran, 1 a gate failed, 2 usage, 3 input, 4 output.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // clap prints help and version on stdout with exit 0, errors on stderr with exit 2
            let code = e.exit_code();
            return match e.print() {
                Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => exit(Exit::Output),
                _ => ExitCode::from(code as u8),
            };
        }
    };
    let result: Result<Exit, Failure> = match &cli.command {
        Command::Analyze(args) => analyze::run(args),
        Command::Ls(args) => analyze::ls(args),
        Command::Explain { code } => explain(code.as_deref()),
        Command::Bpf(args) => bpf::run(args),
        Command::Report(args) => report::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Calibrate(args) => calibrate::run(args),
    };
    match result {
        Ok(code) => exit(code),
        Err(failure) => {
            output::error_line(&failure.message);
            exit(failure.exit)
        }
    }
}

fn exit(code: Exit) -> ExitCode {
    ExitCode::from(code as u8)
}

fn explain(code: Option<&str>) -> Result<Exit, Failure> {
    use crate::findings::catalog::{all, lookup};
    let mut text = String::new();
    match code {
        None => all().for_each(|e| text.push_str(&format!("{}  {}\n", e.code, e.title))),
        Some(code) => match lookup(code) {
            Some(e) => text = format!("{}  {}\n\n{}\n", e.code, e.title, crate::report::wrap(e.text, 100, 0)),
            None => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("no finding has the code `{code}`; `meshdump explain` lists them"),
                ));
            }
        },
    }
    output::print(&text)?;
    Ok(Exit::Ok)
}
