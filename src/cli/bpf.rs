//! `meshdump bpf`: maps of a node, predictions for a grid of maps, and the allocators of data planes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::fail_on::FailOn;
use super::output::{self, Format, OutputArgs};
use super::{Exit, Failure};
use crate::cost::kernel::{Header, Profile, Version, grid};
use crate::evidence::{bpf_btf, bpf_grid, bpf_trace, bpftool};
use crate::findings::analysis::{Input, Tool};
use crate::findings::bpf::Options;
use crate::input::{self, Document, Limits};
use crate::model::bpf::BpfListing;
use crate::model::bpf_grid::Row;
use crate::model::problem::{Loss, Problem};
use crate::sim::bpf::Policy;
use crate::{findings, report};

const EXAMPLES: &str = "\
Examples:
  bpftool map show -j | meshdump bpf -                    every map once, what it really costs, whose it is
  meshdump bpf maps.json progs.json outer-dump.json       with programs, and inner maps by the outer map's dump
  meshdump bpf predict grid.csv --kernel 6.1              what a kernel would report for maps of these shapes
  meshdump bpf simulate trace.jsonl --policy kmesh-0.5 --policy kmesh-1.0";

/// Arguments of `meshdump bpf`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct BpfArgs {
    #[command(subcommand)]
    command: Option<BpfCommand>,
    /// Output of `bpftool map show -j`, `prog show -j`, `map dump -j` (also -p and plain text); several listings of maps
    /// are points in time; `-` is stdin
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Possible CPUs of the machine; solved from the maps when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8192))]
    cpus: Option<u32>,
    /// Kernel version of the machine; found from the maps when absent
    #[arg(long, value_name = "VERSION")]
    kernel: Option<Version>,
    /// The machine's /sys/kernel/btf/vmlinux, for exact structure sizes
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Every row, not the largest only
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    fail_on: FailOn,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum BpfCommand {
    /// Predict `bytes_memlock` for every row of a grid of maps, as CSV
    Predict(PredictArgs),
    /// Replay a trace of services or slots, or a recorded xDS stream, through data planes' map allocators
    Simulate(SimulateArgs),
}

#[derive(Debug, Args)]
struct SimulateArgs {
    /// JSON Lines: {"t": s, "services": n}, {"t": s, "slots_used": n}, {"t": s, "alloc": [..], "free": [..]}, or
    /// discovery responses; `-` is stdin
    trace: PathBuf,
    /// kmesh-0.2, kmesh-0.4, kmesh-0.5[:up=N,down=N,high=%,low=%], kmesh-1.0, geometric[:factor=N], lazy, no-prealloc;
    /// repeatable
    #[arg(long = "policy", value_name = "POLICY", default_value = "kmesh-0.5")]
    policies: Vec<Policy>,
    /// Kernel whose bytes_memlock is given
    #[arg(long, value_name = "VERSION", default_value = "6.1")]
    kernel: Version,
    /// Possible CPUs
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=8192))]
    cpus: u32,
    /// Slots one service takes in Kmesh: 20 to 24 for a headless service with one route, by its number of domains
    #[arg(long, value_name = "N[..M]", default_value = "20..24")]
    slots_per_service: SlotsPerService,
    #[command(flatten)]
    output: OutputArgs,
}

/// The least and the most slots a service takes.
#[derive(Debug, Clone, Copy)]
struct SlotsPerService(u64, u64);

impl std::str::FromStr for SlotsPerService {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse::<u64>().ok().filter(|n| (1..=10_000).contains(n));
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low <= high => Ok(Self(low, high)),
            _ => Err(format!("`{text}` is no number of slots; expected 22 or 20..24")),
        }
    }
}

#[derive(Debug, Args)]
struct PredictArgs {
    /// CSV with type,key,value,max_entries,flags,inserted,memlock,ncpus,note; `-` is stdin
    grid: PathBuf,
    /// Kernel version the maps are created on, like 6.1; what its remark says when absent
    #[arg(long, value_name = "VERSION")]
    kernel: Option<Version>,
    /// Possible CPUs, for rows that do not say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8192))]
    cpus: Option<u32>,
}

/// Runs `meshdump bpf`.
pub(crate) fn run(args: &BpfArgs) -> Result<Exit, Failure> {
    match &args.command {
        Some(BpfCommand::Predict(args)) => predict(args),
        Some(BpfCommand::Simulate(args)) => simulate(args),
        None => maps(args),
    }
}

fn maps(args: &BpfArgs) -> Result<Exit, Failure> {
    if args.inputs.is_empty() {
        return Err(Failure::new(Exit::Usage, "name a file with the output of `bpftool map show -j`, or - for stdin"));
    }
    let mut points: Vec<BpfListing> = Vec::new();
    let mut problems = Vec::new();
    let mut inputs = Vec::new();
    let collected = input::collect(&args.inputs, &Limits::default());
    problems.extend(collected.problems.iter().cloned());
    for document in &collected.documents {
        // what lies in a folder or a bundle is taken by its content, what was named is taken at its word
        if !document.given() && !bpftool::looks_like(document.head()) {
            continue;
        }
        let (bytes, problem) = content(document);
        problems.extend(problem);
        let (listing, found) = bpftool::read(document.label(), &bytes);
        problems.extend(found);
        inputs.push(Input {
            path: document.label().to_owned(),
            kind: kind_of(&listing).to_owned(),
            bytes: document.stored_bytes(),
            sha256: document.sha256().to_owned(),
            proxy: None,
            note: None,
        });
        bpftool::join(&mut points, listing);
    }
    if inputs.is_empty() {
        let why = problems.first().map_or_else(|| "nothing here is output of bpftool".to_owned(), line);
        return Err(Failure::new(Exit::Input, why));
    }
    let nothing = points.iter().all(|p| p.maps.is_empty() && p.progs.is_empty() && p.sums.is_empty());
    if let Some(problem) = problems.iter().find(|p| nothing && p.loss != Loss::Nothing) {
        return Err(Failure::new(Exit::Input, line(problem)));
    }
    show(&problems);
    let sizes = match &args.btf {
        Some(path) => {
            let (label, bytes, input) = read(path)?;
            inputs.push(Input { kind: "btf".to_owned(), ..input });
            let names = Header::ALL.map(Header::struct_name);
            let (sizes, problems) = bpf_btf::read(&label, &bytes, &names);
            refuse_whole(&problems)?;
            let header = |name| Header::ALL.into_iter().find(|h| h.struct_name() == name);
            Some(sizes.into_iter().filter_map(|(name, bytes)| Some((header(name)?, bytes))).collect::<Vec<_>>())
        }
        None => None,
    };
    let options = Options { cpus: args.cpus, kernel: args.kernel, sizes: sizes.as_deref() };
    let report = findings::bpf::report(&points, options);
    args.output.write(|format, width| match format {
        Format::Text => report::bpf::text(&report, width, args.all),
        Format::Json => json(&inputs, &report),
    })?;
    Ok(args.fail_on.exit(Exit::Ok, &report.findings))
}

/// The envelope of the contract around a section's own keys.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct Envelope<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    tool: Tool,
    inputs: &'a [Input],
    #[serde(flatten)]
    section: &'a T,
}

fn json<T: Serialize>(inputs: &[Input], section: &T) -> String {
    let tool = Tool { version: env!("CARGO_PKG_VERSION"), cost_model: COST_MODEL.to_owned() };
    let envelope = Envelope { api_version: "meshdump/v1", kind: "bpf", tool, inputs, section };
    report::json::render(&envelope)
}

/// The version of the kernel formulas.
const COST_MODEL: &str = "bpf-1";

fn kind_of(listing: &BpfListing) -> &'static str {
    if !listing.maps.is_empty() {
        "bpf_maps"
    } else if !listing.progs.is_empty() {
        "bpf_progs"
    } else if !listing.dumps.is_empty() {
        "bpf_map_dump"
    } else if !listing.sums.is_empty() {
        "bpf_sums"
    } else {
        "unknown"
    }
}

fn predict(args: &PredictArgs) -> Result<Exit, Failure> {
    let (label, bytes, _) = read(&args.grid)?;
    let (mut grid, problems) = bpf_grid::read(&label, &bytes);
    refuse_whole(&problems)?;
    let version = match (args.kernel, &grid.release) {
        (Some(version), _) => version,
        (None, Some(release)) => release.parse().map_err(|e: String| Failure::new(Exit::Usage, e))?,
        (None, None) => {
            return Err(Failure::new(Exit::Usage, "the grid does not name its kernel; add --kernel VERSION"));
        }
    };
    for row in &mut grid.rows {
        row.row.cpus = row.row.cpus.or(args.cpus);
    }
    show(&problems);
    let rows: Vec<Row> = grid.rows.iter().map(|r| r.row.clone()).collect();
    let predicted = grid::predict(version, &rows);
    let texts = grid.rows.iter().map(|r| r.text.each_ref().map(|t| &**t));
    let csv = report::bpf_csv::predictions(&bpf_grid::COLUMNS, texts, &predicted.rows);
    output::print(&csv)?;
    output::note_line(&report::bpf_csv::fit_note(&predicted.fit));
    Ok(Exit::Ok)
}

fn simulate(args: &SimulateArgs) -> Result<Exit, Failure> {
    let (label, bytes, input) = read(&args.trace)?;
    let (trace, problems) = bpf_trace::read(&label, &bytes);
    refuse_whole(&problems)?;
    show(&problems);
    if trace.assumed_times {
        output::note_line("note: lines without t are taken one second after the line before");
    }
    let profile = Profile::builtin(args.kernel, args.cpus);
    let SlotsPerService(low, high) = args.slots_per_service;
    let simulation = findings::bpf::simulate(&trace.events, &trace.repeats, &args.policies, &profile, (low, high));
    let inputs = [Input { kind: "bpf_trace".to_owned(), ..input }];
    args.output.write(|format, width| match format {
        Format::Text => report::bpf_sim::text(&simulation, width),
        Format::Json => json(&inputs, &simulation),
    })?;
    Ok(Exit::Ok)
}

/// The one document a path names; exit 3 when it cannot be read.
fn read(path: &Path) -> Result<(String, Vec<u8>, Input), Failure> {
    let inputs = input::collect(&[path.to_owned()], &Limits::default());
    let Some(document) = inputs.documents.first() else {
        let why = inputs.problems.first().map_or_else(|| format!("cannot read {}", path.display()), line);
        return Err(Failure::new(Exit::Input, why));
    };
    show(&inputs.problems);
    let (bytes, problem) = content(document);
    if let Some(problem) = &problem {
        show(std::slice::from_ref(problem));
    }
    let bytes = bytes.into_owned();
    let input = Input {
        path: document.label().to_owned(),
        kind: String::new(),
        bytes: document.stored_bytes(),
        sha256: document.sha256().to_owned(),
        proxy: None,
        note: None,
    };
    Ok((document.label().to_owned(), bytes, input))
}

/// All bytes of a document, and what cut them short.
fn content(document: &Document) -> (Cow<'_, [u8]>, Option<Problem>) {
    match document.open() {
        Ok(content) => {
            let (bytes, end) = content.read_all();
            (bytes, end.err().map(|e| document.problem(&e)))
        }
        Err(e) => (Cow::Borrowed(&[]), Some(document.problem(&e))),
    }
}

/// Ends with exit 3 when a document was of no use.
fn refuse_whole(problems: &[Problem]) -> Result<(), Failure> {
    match problems.iter().find(|p| p.loss == Loss::Whole) {
        Some(problem) => Err(Failure::new(Exit::Input, line(problem))),
        None => Ok(()),
    }
}

fn show(problems: &[Problem]) {
    const MOST: usize = 10;
    for problem in problems.iter().take(MOST) {
        output::note_line(&format!("warning: {}", line(problem)));
    }
    if problems.len() > MOST {
        output::note_line(&format!("warning: {} more of this kind", problems.len() - MOST));
    }
}

fn line(problem: &Problem) -> String {
    let mut line = problem.label.clone();
    if let Some(number) = problem.line {
        line += &format!(", line {number}");
    } else if let Some(offset) = problem.offset_bytes {
        line += &format!(", byte {offset}");
    }
    line += &format!(": {}", problem.what);
    if !problem.hint.is_empty() {
        line += &format!("; {}", problem.hint);
    }
    line
}
