//! What the tool says about itself: finding codes, shell completions, manual pages, JSON Schemas.

use std::path::PathBuf;

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use super::output::{self, unknown};
use super::{Exit, Failure, bpf};
use crate::findings::analysis::Analysis;
use crate::findings::bpf::{BpfReport, Simulation};
use crate::findings::catalog::{all, lookup};
use crate::findings::check::Check;
use crate::findings::diff::Diff;
use crate::findings::redaction::Redaction;
use crate::findings::replay::Replay;
use crate::findings::scope::ScopeReport;
use crate::findings::whatif::WhatIf;
use crate::report;

/// Runs `meshdump explain`.
pub(super) fn explain(code: Option<&str>) -> Result<Exit, Failure> {
    let mut text = String::new();
    match code {
        None => all().for_each(|e| text.push_str(&format!("{}  {}\n", e.code, e.title))),
        Some(code) => match lookup(code) {
            Some(e) => text = format!("{}  {}\n\n{}\n", e.code, e.title, report::wrap(e.text, 100, 0)),
            None => {
                let why = unknown("finding code", code, all().map(|e| e.code));
                return Err(Failure::new(Exit::Usage, format!("{why}\n`meshdump explain` lists all codes")));
            }
        },
    }
    output::print(&text)?;
    Ok(Exit::Ok)
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  meshdump completions bash > /etc/bash_completion.d/meshdump
  meshdump completions zsh > \"${fpath[1]}/_meshdump\"
  meshdump completions fish > ~/.config/fish/completions/meshdump.fish")]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

/// Runs `meshdump completions`.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    output::print(text)?;
    Ok(Exit::Ok)
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  meshdump man | man -l -
  meshdump man analyze | man -l -
  meshdump man --out share/man/man1")]
pub(super) struct ManArgs {
    /// The command whose page is printed; the tool's own when left out
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

/// A command's page in roff, with the name that its file has.
fn page(command: &Command) -> (String, Vec<u8>) {
    let mut roff = Vec::new();
    // writing to memory cannot fail
    let _ = clap_mangen::Man::new(command.clone()).render(&mut roff);
    (format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name())), roff)
}

fn pages(command: &Command, out: &mut Vec<(String, Vec<u8>)>) {
    out.push(page(command));
    command.get_subcommands().for_each(|inner| pages(inner, out));
}

/// Runs `meshdump man`.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<Exit, Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Some(dir) = &args.out {
        let mut all = Vec::new();
        pages(&command, &mut all);
        output::OutputFolder::create(dir)
            .map_err(|e| Failure::new(Exit::Output, format!("cannot make {}: {e}", dir.display())))?;
        for (name, roff) in &all {
            output::save(&dir.join(name), roff)?;
        }
        return Ok(Exit::Ok);
    }
    let mut at = &command;
    for word in &args.command {
        at = at.find_subcommand(word).ok_or_else(|| {
            Failure::new(Exit::Usage, unknown("command", word, at.get_subcommands().map(Command::get_name)))
        })?;
    }
    output::print(page(at).1)?;
    Ok(Exit::Ok)
}

/// Kinds of reports.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// `analyze`
    Analysis,
    /// `ls`
    Inputs,
    /// `bpf`
    Bpf,
    /// `bpf simulate`
    BpfSimulation,
    /// `check`
    Check,
    /// `diff`
    Diff,
    /// `redact`
    Redact,
    /// `replay`
    Replay,
    /// `whatif`
    Whatif,
    /// `whatif scope`
    WhatifScope,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  meshdump schema analysis > analysis.schema.json")]
pub(super) struct SchemaArgs {
    /// The kind of report
    #[arg(value_enum)]
    kind: Kind,
}

/// Runs `meshdump schema`.
pub(super) fn schema(args: &SchemaArgs) -> Result<Exit, Failure> {
    let schema = match args.kind {
        Kind::Analysis | Kind::Inputs => schema_of::<Analysis>(),
        Kind::Bpf => schema_of::<bpf::Envelope<'static, BpfReport>>(),
        Kind::Check => schema_of::<Check>(),
        Kind::Diff => schema_of::<Diff>(),
        Kind::Redact => schema_of::<Redaction>(),
        Kind::Replay => schema_of::<Replay>(),
        Kind::Whatif => schema_of::<WhatIf>(),
        Kind::WhatifScope => schema_of::<ScopeReport>(),
        Kind::BpfSimulation => schema_of::<bpf::Envelope<'static, Simulation>>(),
    };
    output::print(report::json::render(&schema))?;
    Ok(Exit::Ok)
}

/// The schema of what is written, not of what would be read.
fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
