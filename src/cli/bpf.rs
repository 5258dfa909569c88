//! `meshdump bpf`: maps of a node, predictions for a grid of maps, and the allocators of data planes.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::output::note_line;
use super::{Exit, Failure};
use crate::cost::kernel::{Version, grid};
use crate::evidence::bpf_grid;
use crate::model::problem::{Loss, Problem};
use crate::report;

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
        None => Err(Failure::new(Exit::Usage, "name a file with the output of `bpftool map show -j`, or - for stdin")),
    }
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
