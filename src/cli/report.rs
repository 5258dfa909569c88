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

fn unreadable(label: &str, why: String) -> Failure {
    Failure::new(Exit::Input, format!("{}: {why}", clean(label)))
}

/// The text of a document that is read as a whole.
///
/// # Errors
/// When it cannot be read, or is no UTF-8.
pub(super) fn text(document: &input::Document) -> Result<String, Failure> {
    let wrong = |e: &dyn std::fmt::Display| unreadable(document.label(), e.to_string());
    let (bytes, end) = document.open().map_err(|e| wrong(&e))?.read_all();
    end.map_err(|e| wrong(&e))?;
    String::from_utf8(bytes.into_owned()).map_err(|e| wrong(&e))
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
    if let Some(p) = inputs.problems.first() {
        return Err(unreadable(&p.label, p.what.clone()));
    }
    let mut reports = Vec::new();
    for document in &inputs.documents {
        reports.push(Document::read(&text(document)?).map_err(|e| unreadable(document.label(), e))?);
    }
    args.output.write_reports(&reports, |_: Format, _| String::new())?;
    Ok(Exit::Ok)
}
