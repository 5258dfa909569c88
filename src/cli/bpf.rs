//! `meshdump bpf`: maps of a node, predictions for a grid of maps, and the allocators of data planes.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::output::note_line;
use super::{Exit, Failure, Format, OutputArgs};
use crate::cost::kernel::{Version, grid};
use crate::evidence::{bpf_btf, bpf_grid, bpftool};
use crate::findings::bpf::Options;
use crate::model::bpf::BpfListing;
use crate::model::problem::{Loss, Problem};
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
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum BpfCommand {
    /// Predict `bytes_memlock` for every row of a grid of maps, as CSV
    Predict(PredictArgs),
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
    for path in &args.inputs {
        let bytes = read(path)?;
        let label = path.display().to_string();
        let (listing, found) = bpftool::read(&label, &bytes);
        problems.extend(found);
        inputs.push(Input { path: label, kind: kind_of(&listing), bytes: bytes.len() as u64, sha256: sha256(&bytes) });
        bpftool::join(&mut points, listing);
    }
    if points.iter().all(|p| p.maps.is_empty() && p.progs.is_empty() && p.sums.is_empty()) {
        if let Some(problem) = problems.iter().find(|p| p.loss != Loss::Nothing) {
            return Err(Failure::new(Exit::Input, line(problem)));
        }
    }
    show(&problems);
    let sizes = match &args.btf {
        Some(path) => {
            let (sizes, problems) = bpf_btf::read(&path.display().to_string(), &read(path)?);
            refuse_whole(&problems)?;
            Some(sizes)
        }
        None => None,
    };
    let options = Options { cpus: args.cpus, kernel: args.kernel, sizes: sizes.as_deref() };
    let report = findings::bpf::report(&points, options);
    let width = usize::from(args.output.width.unwrap_or(100));
    args.output.write(|format| match format {
        Format::Text => report::bpf::text(&report, width, args.all),
        Format::Json => json(&inputs, &report),
    })?;
    Ok(Exit::Ok)
}

/// One of `inputs[]` of the contract.
#[derive(Debug, Serialize)]
struct Input {
    path: String,
    kind: &'static str,
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Tool {
    version: &'static str,
    cost_model: &'static str,
}

/// The envelope of the contract around a section's own keys.
#[derive(Debug, Serialize)]
struct Envelope<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    tool: Tool,
    inputs: &'a [Input],
    #[serde(flatten)]
    section: &'a T,
}

fn json<T: Serialize>(inputs: &[Input], section: &T) -> String {
    let tool = Tool { version: env!("CARGO_PKG_VERSION"), cost_model: COST_MODEL };
    let envelope = Envelope { api_version: "meshdump/v1", kind: "bpf", tool, inputs, section };
    // plain data with string keys always serialises
    serde_json::to_string(&envelope).unwrap_or_default()
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

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn predict(args: &PredictArgs) -> Result<Exit, Failure> {
    let bytes = read(&args.grid)?;
    let label = args.grid.display().to_string();
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
    let rows: Vec<grid::Row> = grid.rows.iter().map(|r| r.row.clone()).collect();
    let predicted = grid::predict(version, &rows);
    let texts = grid.rows.iter().map(|r| r.text.each_ref().map(|t| &**t));
    let csv = report::bpf_csv::predictions(&bpf_grid::COLUMNS, texts, &predicted.rows);
    let mut out = std::io::stdout().lock();
    match out.write_all(csv.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            return Err(Failure::new(Exit::Output, format!("cannot write to stdout: {e}")));
        }
        _ => {}
    }
    note_line(&report::bpf_csv::fit_note(&predicted.fit));
    Ok(Exit::Ok)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(path).map(|read| bytes = read)
    };
    result.map_err(|e| Failure::new(Exit::Input, format!("cannot read {}: {e}", path.display())))?;
    Ok(bytes)
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
        note_line(&format!("warning: {}", line(problem)));
    }
    if problems.len() > MOST {
        note_line(&format!("warning: {} more of this kind", problems.len() - MOST));
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
