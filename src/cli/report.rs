//! `meshdump report`: saved JSON reports in other formats.

use std::path::PathBuf;

use clap::Args;

use super::output::{Format, OutputArgs, Wanted};
use super::{Exit, Failure};
use crate::input::{self, Limits};
use crate::report::{Document, clean};

const EXAMPLES: &str = "\
Examples:
  meshdump report analysis.json -o html=mesh.html                  a page of what was analysed before
  meshdump report replay.json analysis.json -o html=mesh.html      several reports on one page, in this order
  meshdump report analysis.json -o md                              for an issue
  meshdump report replay.json -o trace=drains.json                 for Perfetto";

/// Arguments of `meshdump report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// Reports that a command wrote with `-o json` (add --all there for treemaps and every resource); `-` is stdin
    #[arg(value_name = "REPORT.json", required = true)]
    reports: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `meshdump report`.
pub(super) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    if args.output.outputs.is_empty() || args.output.outputs.iter().any(|o| matches!(o.format, Wanted::Own(_))) {
        return Err(Failure::new(
            Exit::Usage,
            "say which format, other than text and json: -o html=mesh.html, or -o md for an issue",
        ));
    }
    let inputs = input::collect(&args.reports, &Limits::default());
    let unreadable = |label: &str, why: String| Failure::new(Exit::Input, format!("{}: {why}", clean(label)));
    if let Some(p) = inputs.problems.first() {
        return Err(unreadable(&p.label, p.what.clone()));
    }
    let mut reports = Vec::new();
    for document in &inputs.documents {
        let content = document.open().map_err(|e| unreadable(document.label(), e.to_string()))?;
        let (bytes, end) = content.read_all();
        end.map_err(|e| unreadable(document.label(), e.to_string()))?;
        let text = std::str::from_utf8(&bytes).map_err(|e| unreadable(document.label(), e.to_string()))?;
        reports.push(Document::read(text).map_err(|e| unreadable(document.label(), e))?);
    }
    args.output.write_reports(&reports, |_: Format, _| String::new())?;
    Ok(Exit::Ok)
}
