//! `meshdump redact`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use super::analyze::{self, ReadArgs, nothing, say, version};
use super::output::{self, OutputArgs};
use super::replay::Opened;
use super::{Exit, Failure};
use crate::evidence::load::Loaded;
use crate::evidence::recording;
use crate::evidence::redact::{KeySource, Redactor};
use crate::findings::analysis::{Options, Tool};
use crate::findings::numbers::{differences, numbers};
use crate::findings::redaction::{LeftOut, Redaction, Suspicious};
use crate::input::Document;
use crate::input::pack::{
    Archive, Compressed, Container, container, content_bytes, key_bytes, member_name, same_place,
};
use crate::report;

/// Arguments of `redact`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  meshdump redact bug-report.tar.gz --out shareable.tar.gz
  meshdump redact config_dump.json --out redacted.json --map keep-me-private.json
  meshdump redact recording.jsonl.gz --out redacted.jsonl.gz --key ~/.meshdump.key

The result has the same kind, layout and length; its analysis gives the same numbers, which is checked at the end.")]
pub(super) struct RedactArgs {
    /// Dump, bundle, folder or recording
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// Where to write it: a file, or a folder for a folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Write the table from pseudonyms to names here; keep it to yourself
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Bytes only you have, which decide the pseudonyms; by default the input itself does
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `meshdump redact`.
pub(super) fn run(args: &RedactArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    if same_place(&args.input, &args.out) {
        return Err(Failure::new(Exit::Usage, "--out is the input itself; give another path"));
    }
    let paths = std::slice::from_ref(&args.input);
    let (documents, loaded) = args.read.load(paths, &args.output);
    if documents.is_empty() {
        return Err(nothing(&loaded));
    }
    say(&loaded, &args.output);
    let key = match &args.key {
        Some(path) => Some(key_bytes(path).map_err(|e| Failure::new(Exit::Input, e))?),
        None => None,
    };
    let source = key.as_deref().map_or(KeySource::Content(&documents), KeySource::Secret);
    let mut redactor = Redactor::new(&source, args.map.is_some());
    let mut kept: Vec<&Document> = Vec::new();
    for d in &documents {
        match Redactor::accepts(d) {
            Ok(()) => kept.push(d),
            Err(why) if d.given() => {
                return Err(Failure::new(Exit::Input, format!("{}: {why}", report::clean(d.label()))));
            }
            Err(why) => redactor.left_out(d.label(), why),
        }
    }
    write(args, &documents, &kept, &mut redactor)?;
    let (done, map) = redactor.finish();
    if let Some(path) = &args.map {
        output::write_file(path, report::json::render(&map).as_bytes())?;
    }
    let left_out: Vec<LeftOut> =
        done.left_out.into_iter().map(|(path, why)| LeftOut { path, why: why.to_owned() }).collect();
    // what was left out takes no part in the comparison
    let rest: Vec<Document> = documents.into_iter().filter(|d| Redactor::accepts(d).is_ok()).collect();
    let before = if left_out.is_empty() { loaded } else { args.read.load_documents(&rest, &args.output) };
    let (written, after) = args.read.load(std::slice::from_ref(&args.out), &args.output);
    let (before, after) = (all_numbers(rest, before), all_numbers(written, after));
    let value = Redaction {
        api_version: "meshdump/v1",
        kind: "redact",
        tool: Tool { version: version(), cost_model: String::new() },
        input: args.input.to_string_lossy().into_owned(),
        out: args.out.to_string_lossy().into_owned(),
        key: if args.key.is_some() { "file" } else { "content" },
        secrets: done.secrets.into_iter().map(|(class, n)| (class.to_owned(), n)).collect(),
        secrets_inside: done.inside,
        names: done.names,
        addresses: done.addresses,
        suspects: done
            .suspects
            .into_iter()
            .map(|s| Suspicious { path: s.label, offset: s.offset, bytes: s.bytes as u64 })
            .collect(),
        suspects_omitted: done.suspects_omitted,
        left_out,
        numbers: before.len() as u64,
        identical: before == after,
        differences: differences(&before, &after, 10),
    };
    args.output.write(|format, _| match format {
        output::Format::Text => report::redaction::text(&value),
        output::Format::Json => report::json::render(&value),
    })?;
    Ok(if value.identical { Exit::Ok } else { Exit::Gate })
}

/// The numbers of an analysis; of a recording those of its replay, and how often what happened when.
fn all_numbers(documents: Vec<Document>, loaded: Loaded) -> BTreeMap<String, u64> {
    let recorded = loaded.proxies.is_empty() && documents.iter().any(recording::is_stream);
    match Opened::of(if recorded { documents } else { Vec::new() }, false) {
        Ok(opened) => {
            let mut all = numbers(&opened.replay());
            for event in &opened.loaded.recording.events {
                *all.entry(format!("events.{}", event.what.word())).or_default() += 1;
                // of times, any that is another one shows
                let times = all.entry(format!("times_us.{}", event.what.word())).or_default();
                *times = times.wrapping_mul(31).wrapping_add(event.t.0 as u64);
            }
            all
        }
        Err(_) => numbers(&analyze::report(loaded, &Options { all: true, ..Options::default() })),
    }
}

/// Writes the documents in the container they came in.
fn write(args: &RedactArgs, all: &[Document], kept: &[&Document], redactor: &mut Redactor) -> Result<(), Failure> {
    let failed = |e: std::io::Error| match e.kind() {
        // what is written so far cannot become the same kind
        ErrorKind::Unsupported => {
            output::discard(&args.out);
            Failure::new(Exit::Input, format!("{}: {e}", args.input.display()))
        }
        _ => Failure::new(Exit::Output, format!("cannot write {}: {e}", args.out.display())),
    };
    match container(&args.input, all) {
        Container::File => {
            let Some(d) = kept.first() else { return Ok(()) };
            let mut out = Compressed::new(output::create_file(&args.out)?, d.is_compressed());
            redactor.rewrite(d, &mut out).and_then(|()| out.finish()).map_err(failed)
        }
        Container::Folder => {
            for d in kept {
                let name = redactor.file_name(&member_name(&args.input, d));
                let mut out = Compressed::new(output::create_file(&args.out.join(name))?, d.is_compressed());
                redactor.rewrite(d, &mut out).and_then(|()| out.finish()).map_err(failed)?;
            }
            Ok(())
        }
        archive => {
            let mut out = Archive::new(output::create_file(&args.out)?, archive);
            for d in kept {
                let name = redactor.file_name(&member_name(&args.input, d));
                let bytes = content_bytes(d).map_err(failed)?;
                out.add(&name, bytes, |w| redactor.rewrite(d, w)).map_err(failed)?;
            }
            out.finish().map_err(failed)
        }
    }
}
