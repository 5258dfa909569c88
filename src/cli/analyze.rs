//! `meshdump analyze` and `meshdump ls`.

use std::path::PathBuf;

use clap::Args;

use super::fail_on::FailOn;
use super::output::{self, Format, OutputArgs};
use super::{Exit, Failure};
use crate::evidence::load::{self, Loaded, Recognised};
use crate::evidence::{config_dump, kubernetes};
use crate::findings::analysis::{Analysis, Input, Options, ProxyEvidence, analyze};
use crate::input::{self, Document};
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::report::{self, Export};

/// What to read, and within which limits.
#[derive(Debug, Clone, Args)]
pub(super) struct InputArgs {
    /// Dumps, bundles, directories; `-` is stdin
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) read: ReadArgs,
}

/// Within which limits to read.
#[derive(Debug, Clone, Args)]
pub(super) struct ReadArgs {
    /// Most bytes one input may inflate to
    #[arg(long, value_name = "SIZE", default_value = "4Gi", value_parser = output::parse_size)]
    max_bytes: u64,
    /// Resources longer than this are skipped with a message
    #[arg(long, value_name = "SIZE", default_value = "64Mi", value_parser = output::parse_size)]
    max_resource: u64,
    /// Exit with 3 when an input was only partly understood
    #[arg(long)]
    pub(super) strict: bool,
}

impl InputArgs {
    pub(super) fn load(&self, output: &OutputArgs) -> Loaded {
        self.with_documents(output).1
    }

    /// The documents too.
    pub(super) fn with_documents(&self, output: &OutputArgs) -> (Vec<Document>, Loaded) {
        self.read.load(&self.inputs, output)
    }
}

impl ReadArgs {
    /// The documents at `paths` and what they gave, read as far as `output` shows it.
    pub(super) fn load(&self, paths: &[PathBuf], output: &OutputArgs) -> (Vec<Document>, Loaded) {
        let limits = input::Limits { max_inflated_bytes: self.max_bytes, ..input::Limits::default() };
        let found = input::collect(paths, &limits);
        let mut loaded = self.load_documents(&found.documents, output);
        loaded.problems.splice(0..0, found.problems);
        for i in &loaded.inputs {
            output::detail_line(|| {
                let note = i.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
                let size = crate::model::size::size(i.stored_bytes);
                format!("read {} as {} ({size}){note}", report::clean(&i.label), i.kind)
            });
        }
        (found.documents, loaded)
    }

    /// What `documents` give, read as far as `output` shows it.
    pub(super) fn load_documents(&self, documents: &[Document], output: &OutputArgs) -> Loaded {
        let mut limits = config_dump::Limits {
            max_resource_bytes: usize::try_from(self.max_resource).unwrap_or(usize::MAX),
            ..config_dump::Limits::default()
        };
        if output.exports(Export::by_field) {
            limits.fields_from_bytes = 0;
        }
        load::load(documents, limits, output.wants(Format::Json))
    }
}

/// Arguments of `analyze`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump analyze config_dump.json.gz
  meshdump analyze bug-report.tar.gz --limit 512Mi
  meshdump analyze config_dump.json memory server_info stats.txt -o json=report.json
  curl -s localhost:15000/config_dump?include_eds | meshdump analyze -")]
pub(super) struct AnalyzeArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Memory limit to compare with: anonymous memory of Envoy alone, without the agent beside it; else the pod's, where
    /// a Kubernetes export tells
    #[arg(long, value_name = "SIZE", value_parser = output::parse_size)]
    limit: Option<u64>,
    /// List every resource and owner
    #[arg(long)]
    all: bool,
    /// Say what changes would save for proxies with more than 10000 resources too
    #[arg(long)]
    savings: bool,
    /// Worker threads, where the evidence does not tell
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: Option<u32>,
    #[command(flatten)]
    fail_on: FailOn,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `ls`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump ls bug-report.tar.gz
  meshdump ls . -o json")]
pub(super) struct LsArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The inputs as a report shows them.
pub(super) fn inputs(read: &[Recognised]) -> Vec<Input> {
    read.iter()
        .map(|i| Input {
            path: i.label.clone(),
            kind: i.kind.to_owned(),
            bytes: i.stored_bytes,
            sha256: i.sha256.clone(),
            proxy: None,
            note: i.note.clone(),
        })
        .collect()
}

pub(super) fn report(loaded: Loaded, options: &Options) -> Analysis {
    let inputs = inputs(&loaded.inputs);
    let evidence: Vec<ProxyEvidence> =
        loaded.proxies.into_iter().map(|(proxy, inputs)| ProxyEvidence { proxy, inputs }).collect();
    let out = analyze(&evidence, &loaded.bpf, loaded.kubernetes.as_ref(), inputs, &loaded.problems, options, version());
    // the process ends right after printing; giving back a hundred thousand small pieces first is time lost
    std::mem::forget(evidence);
    out
}

/// Runs `meshdump analyze`.
pub(super) fn run(args: &AnalyzeArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    let mut loaded = args.input.load(&args.output);
    if loaded.proxies.is_empty() && loaded.bpf.is_empty() && loaded.kubernetes.is_none() {
        return Err(nothing(&loaded));
    }
    let exit = exit_code(&loaded, args.input.read.strict);
    let unused: Vec<Problem> = loaded.inputs.iter().filter_map(unused).collect();
    loaded.problems.extend(unused);
    say(&loaded, &args.output);
    let options = Options {
        all: args.all || args.output.exports(Export::every_resource),
        treemap: args.all || args.output.exports(Export::treemap),
        savings: args.savings,
        limit_bytes: args.limit,
        concurrency: args.concurrency,
    };
    let mut analysis = report(loaded, &options);
    let of_bpf = analysis.bpf.iter().flat_map(|b| &b.findings);
    let exit = args.fail_on.exit(exit, analysis.findings.iter().chain(of_bpf));
    // what one output needs in full must not lengthen the others
    let full = args.output.exports(|_| true).then(|| report::json::render(&analysis));
    if !args.all {
        analysis.cut_to_top();
    }
    args.output.write_exports(full, |format, width| match format {
        Format::Text => report::text::analysis(&analysis, width),
        Format::Json => report::json::render(&analysis),
    })?;
    Ok(exit)
}

/// Runs `meshdump ls`.
pub(super) fn ls(args: &LsArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    let loaded = args.input.load(&args.output);
    let exit = exit_code(&loaded, args.input.read.strict);
    if loaded.inputs.is_empty() {
        return Err(nothing(&loaded));
    }
    say(&loaded, &args.output);
    let mut analysis = report(loaded, &Options::default());
    analysis.kind = "inputs";
    analysis.proxies.clear();
    analysis.findings.clear();
    analysis.fleet = None;
    analysis.bpf = None;
    analysis.kubernetes = None;
    args.output.write(|format, width| match format {
        Format::Text => report::text::inputs(&analysis, width),
        Format::Json => report::json::render(&analysis),
    })?;
    Ok(exit)
}

/// Something that the user named could not be used at all. What merely lies in a folder or bundle beside usable evidence
/// makes the report partial, not the run a failure.
fn fails(p: &Problem, loaded: &Loaded) -> bool {
    let named = |i: InputId| loaded.inputs.get(i.0 as usize).is_none_or(|input| input.given);
    p.loss == Loss::Whole && p.input.is_none_or(named)
}

pub(super) fn exit_code(loaded: &Loaded, strict: bool) -> Exit {
    let bad = |p: &Problem| fails(p, loaded) || (strict && p.loss > Loss::Nothing);
    if loaded.problems.iter().any(bad) { Exit::Input } else { Exit::Ok }
}

/// A file that was named on the command line and has no part in the answer must not go unnoticed.
fn unused(input: &Recognised) -> Option<Problem> {
    let used = |note: &&String| !note.starts_with(kubernetes::COUNTED);
    let note = input.note.as_ref().filter(used).filter(|_| input.given && input.kind != "empty")?;
    Some(Problem::new(&*input.label, Loss::Nothing, format!("not used (recognised as {}): {note}", input.kind)))
}

/// A problem in one line.
pub(super) fn line(p: &Problem) -> String {
    report::text::problem_line(&crate::findings::analysis::problem_report(p))
}

/// Says on stderr why the exit code is not 0, and what is missing where no report for people says so.
pub(super) fn say(loaded: &Loaded, output: &OutputArgs) {
    const SHOWN: usize = 20;
    let shown = |p: &&Problem| fails(p, loaded) || (p.loss > Loss::Nothing && !output.text_on_stdout());
    let list: Vec<&Problem> = loaded.problems.iter().filter(shown).collect();
    for p in list.iter().take(SHOWN) {
        if fails(p, loaded) { output::error_line(&line(p)) } else { output::warning_line(&line(p)) }
    }
    if list.len() > SHOWN {
        let more = list.len() - SHOWN;
        output::warning_line(&format!("[{more} {}] in the report", if more == 1 { "other" } else { "others" }));
    }
}

/// The one line that says why there is nothing to report.
pub(super) fn nothing(loaded: &Loaded) -> Failure {
    let worst = loaded.problems.iter().min_by_key(|p| std::cmp::Reverse(p.loss));
    if let Some(p) = worst.filter(|p| p.loss != Loss::Nothing) {
        return Failure::new(Exit::Input, line(p));
    }
    let message = match loaded.inputs.as_slice() {
        [] => "no input".to_owned(),
        [one] => {
            let note = one.note.as_deref().unwrap_or("not a dump by itself");
            format!(
                "{}: recognised as {}: {}; expected an Envoy config dump: fetch it from the admin port with \
                 `curl -s localhost:15000/config_dump?include_eds`",
                report::clean(&one.label),
                one.kind,
                report::clean(note)
            )
        }
        many => {
            let mut kinds: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
            many.iter().for_each(|i| *kinds.entry(i.kind).or_default() += 1);
            let list: Vec<String> = kinds.into_iter().map(|(k, n)| format!("{n} {k}")).collect();
            format!(
                "no Envoy config dump in {} inputs ({}); `meshdump ls` says more about each",
                many.len(),
                list.join(", ")
            )
        }
    };
    Failure::new(Exit::Input, message)
}
