//! `meshdump diff`.

use std::path::PathBuf;

use clap::Args;

use super::analyze::{ReadArgs, exit_code, inputs, nothing, say, version};
use super::output::{Format, OutputArgs};
use super::replay::Opened;
use super::{Exit, Failure};
use crate::evidence::compare;
use crate::evidence::load::Loaded;
use crate::evidence::recording::is_stream;
use crate::findings::analysis::{Tool, problem_report};
use crate::findings::bpf;
use crate::findings::diff::{self, Diff};
use crate::findings::diff_recording;
use crate::model::envoy::Proxy;
use crate::report;

/// Arguments of `diff`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump diff before.json.gz after.json.gz
  meshdump diff monday.tar.gz friday.tar.gz -o json=diff.json
  meshdump diff expected.json actual.json --exit-code
  meshdump diff maps-before.json maps-after.json
  meshdump diff before.jsonl.gz after.jsonl.gz                recordings, each played to a simulated Envoy")]
pub(super) struct DiffArgs {
    /// Dump, bundle, recording or output of bpftool, then
    #[arg(value_name = "A")]
    before: PathBuf,
    /// And now
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Exit with 1 when something differs
    #[arg(long)]
    exit_code: bool,
    /// Let order that means nothing to traffic count as a difference too
    #[arg(long)]
    order: bool,
    /// List every difference
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `meshdump diff`.
pub(super) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    let (before_documents, before) = args.read.load(std::slice::from_ref(&args.before), &args.output);
    let (after_documents, after) = args.read.load(std::slice::from_ref(&args.after), &args.output);
    let mut exit = Exit::Ok;
    let empty = |side: &Loaded| side.proxies.is_empty() && side.bpf.is_empty();
    if empty(&before) && empty(&after) && before_documents.iter().chain(&after_documents).any(is_stream) {
        let hash = args.output.wants(Format::Json);
        return recordings(args, &Opened::of(before_documents, hash)?, &Opened::of(after_documents, hash)?);
    }
    for side in [&before, &after] {
        if empty(side) {
            return Err(nothing(side));
        }
        say(side, &args.output);
        if exit_code(side, args.read.strict) != Exit::Ok {
            exit = Exit::Input;
        }
    }
    let mut paired = diff::pair(&proxies(&before), &proxies(&after));
    let maps = before.bpf.last().zip(after.bpf.last()).map(|(a, b)| bpf::changes(a, b));
    if paired.both.is_empty() && maps.is_none() {
        return Err(Failure::new(
            Exit::Input,
            "nothing of the one side is on the other: no proxy with the same node id or label, and no BPF maps on both",
        ));
    }
    let mut all = inputs(&before.inputs);
    let second = all.len();
    all.extend(inputs(&after.inputs));
    let mut out: Vec<diff::ProxyDiff> = Vec::new();
    for m in &mut paired.both {
        let (left, right) = m.ambiguous();
        m.resolve(&compare::hashes(&before_documents, &left), &compare::hashes(&after_documents, &right));
        let found = compare::changes(&before_documents, &after_documents, &m.places());
        out.push(diff::proxy(m, found, &all, second));
    }
    out.sort_by_key(|p| std::cmp::Reverse(p.memory.allocated.delta().unsigned_abs()));
    let no_order = |p: &diff::ProxyDiff| !args.order || p.resources.order_only.is_empty();
    let equal = paired.removed.is_empty()
        && paired.added.is_empty()
        && out.iter().all(|p| p.equal() && no_order(p))
        && maps.as_ref().is_none_or(|m| m.changed.is_empty());
    let value = Diff {
        api_version: "meshdump/v1",
        kind: "diff",
        tool: Tool {
            version: version(),
            cost_model: paired.both.first().map(|m| m.cost_model().to_owned()).unwrap_or_default(),
        },
        inputs: all,
        equal,
        proxies: out,
        proxies_removed: paired.removed,
        proxies_added: paired.added,
        bpf: maps,
        recording: None,
        problems: before.problems.iter().chain(&after.problems).map(problem_report).collect(),
    };
    args.output.write(|format, width| match format {
        Format::Text => report::diff::text(&value, width, args.full),
        Format::Json => report::json::render(&value),
    })?;
    Ok(if args.exit_code && !equal && exit == Exit::Ok { Exit::Gate } else { exit })
}

/// Two recordings, each played to a simulated Envoy.
fn recordings(args: &DiffArgs, before: &Opened, after: &Opened) -> Result<Exit, Failure> {
    let (a, b) = (before.replay(), after.replay());
    let found = diff_recording::recordings((&before.loaded.recording, &a), (&after.loaded.recording, &b));
    let equal = found.equal;
    let lost = a.problems.iter().chain(&b.problems).any(|p| p.loss == "whole");
    let value = Diff {
        api_version: "meshdump/v1",
        kind: "diff",
        tool: a.tool,
        inputs: a.inputs.into_iter().chain(b.inputs).collect(),
        equal,
        proxies: Vec::new(),
        proxies_removed: Vec::new(),
        proxies_added: Vec::new(),
        bpf: None,
        recording: Some(found),
        problems: a.problems.into_iter().chain(b.problems).collect(),
    };
    args.output.write(|format, width| match format {
        Format::Text => report::diff::text(&value, width, args.full),
        Format::Json => report::json::render(&value),
    })?;
    Ok(match (lost, args.exit_code && !equal) {
        (true, _) => Exit::Input,
        (false, true) => Exit::Gate,
        (false, false) => Exit::Ok,
    })
}

fn proxies(loaded: &Loaded) -> Vec<&Proxy> {
    loaded.proxies.iter().map(|p| &p.0).collect()
}
