//! `-o FORMAT[=PATH]`, repeatable: data on stdout or in files, messages on stderr, broken pipes end quietly.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use anstream::ColorChoice;
use clap::Args;

use super::{Exit, Failure, progress};
pub(super) use crate::model::size::parse as parse_size;
use crate::report::{Document, Export};

/// The formats that a command renders itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, on a terminal or in a bug report.
    Text,
    /// The JSON contract.
    Json,
}

/// What a command renders itself, and what is made of its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Text or JSON.
    Own(Format),
    /// Anything else.
    Made(Export),
}

/// One `-o` value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// Format.
    pub format: Wanted,
    /// File to write, or stdout.
    pub path: Option<PathBuf>,
}

impl FromStr for OutputSpec {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (format, path) = match s.split_once('=') {
            Some((f, p)) if !p.is_empty() => (f, Some(PathBuf::from(p))),
            Some((f, _)) => return Err(format!("`{f}=` needs a path after `=`")),
            None => (s, None),
        };
        let format = match format {
            "text" | "table" => Wanted::Own(Format::Text),
            "json" => Wanted::Own(Format::Json),
            "markdown" => Wanted::Made(Export::Markdown),
            other => match Export::ALL.iter().find(|(name, _)| *name == other) {
                Some((_, export)) => Wanted::Made(*export),
                None => {
                    let names = ["text", "json"].into_iter().chain(Export::ALL.iter().map(|(name, _)| *name));
                    return Err(unknown("format", other, names));
                }
            },
        };
        Ok(Self { format, path })
    }
}

/// The output options every command shares.
#[derive(Debug, Clone, Default, Args)]
pub struct OutputArgs {
    /// Format, and file to write: text (default), json, html, md, csv, ndjson, pprof, folded, folded-json,
    /// openmetrics, trace, sarif, junit or github; repeatable
    #[arg(short = 'o', long = "output", value_name = "FORMAT[=PATH]")]
    pub outputs: Vec<OutputSpec>,
    /// Width of text output in columns; the terminal's, or 120 when it is not known
    #[arg(long, value_name = "COLUMNS")]
    pub width: Option<u16>,
}

impl OutputArgs {
    /// The outputs asked for, `text` on stdout when there is none.
    ///
    /// # Errors
    /// When two of them want stdout.
    pub fn specs(&self) -> Result<Vec<OutputSpec>, Failure> {
        if self.outputs.is_empty() {
            return Ok(vec![OutputSpec { format: Wanted::Own(Format::Text), path: None }]);
        }
        if self.outputs.iter().filter(|o| o.path.is_none()).count() > 1 {
            return Err(Failure::new(
                Exit::Usage,
                "at most one -o may go to stdout; give the others a path: -o json=report.json",
            ));
        }
        Ok(self.outputs.clone())
    }

    /// Whether text goes to stdout, where the report itself shows what went wrong.
    pub(super) fn text_on_stdout(&self) -> bool {
        self.outputs.is_empty()
            || self.outputs.iter().any(|o| o.format == Wanted::Own(Format::Text) && o.path.is_none())
    }

    /// Some output is in `format`; JSON also when a format is wanted that is made of it.
    pub(super) fn wants(&self, format: Format) -> bool {
        self.outputs.iter().any(|o| o.format == Wanted::Own(format))
            || (format == Format::Json && self.exports(|_| true))
    }

    /// Some output is in a format made of the JSON for which `such` holds.
    pub(super) fn exports(&self, such: impl Fn(Export) -> bool) -> bool {
        self.outputs.iter().any(|o| matches!(o.format, Wanted::Made(export) if such(export)))
    }

    /// Columns of text output.
    fn width(&self) -> usize {
        let terminal = || terminal_size::terminal_size_of(std::io::stdout()).map(|(columns, _)| columns.0);
        usize::from(self.width.or_else(terminal).unwrap_or(120)).max(60)
    }

    /// Writes every output asked for; `render` makes the text of one format for a width in columns.
    ///
    /// # Errors
    /// [`Exit::Output`] when a file or stdout cannot be written. A closed pipe is success.
    pub fn write(&self, mut render: impl FnMut(Format, usize) -> String) -> Result<(), Failure> {
        let json = self.exports(|_| true).then(|| render(Format::Json, self.width()));
        self.write_exports(json, render)
    }

    /// [`Self::write`], with the JSON that other formats are made of given apart.
    pub(super) fn write_exports(
        &self,
        json: Option<String>,
        render: impl FnMut(Format, usize) -> String,
    ) -> Result<(), Failure> {
        let reports = match json {
            Some(json) => vec![Document::read(&json).map_err(|e| Failure::new(Exit::Output, e))?],
            None => Vec::new(),
        };
        self.write_reports(&reports, render)
    }

    /// Writes every output asked for: those made of JSON from `reports`, the others by `render`. Nothing is written when
    /// one of them cannot be made.
    pub(super) fn write_reports(
        &self,
        reports: &[Document],
        mut render: impl FnMut(Format, usize) -> String,
    ) -> Result<(), Failure> {
        let specs = self.specs()?;
        let mut made = Vec::with_capacity(specs.len());
        for spec in &specs {
            made.push(match spec.format {
                Wanted::Own(format) => self.text(spec, render(format, self.width())),
                Wanted::Made(export) if export.binary() && spec.path.is_none() && std::io::stdout().is_terminal() => {
                    return Err(Failure::new(Exit::Usage, "this format is binary; give it a path: -o FORMAT=PATH"));
                }
                Wanted::Made(export) => export.render(reports).map_err(|e| Failure::new(Exit::Usage, e))?,
            });
        }
        for (spec, bytes) in specs.iter().zip(made) {
            match &spec.path {
                Some(path) => save(path, &bytes)?,
                None => print(&bytes)?,
            }
        }
        Ok(())
    }

    /// Without styles where nobody sees them, and with a final newline.
    fn text(&self, spec: &OutputSpec, mut text: String) -> Vec<u8> {
        let styled = spec.path.is_none() && anstream::AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
        if !styled {
            text = anstream::adapter::strip_str(&text).to_string();
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.into_bytes()
    }
}

/// The one line about a value that is none of `known`, with the nearest of them.
pub(super) fn unknown<'a>(what: &str, given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known
        .iter()
        .map(|k| (strsim::jaro_winkler(&given.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let given = crate::report::clean(given);
    match near {
        Some((_, near)) => format!("unknown {what} `{given}`; did you mean `{near}`?"),
        None if known.len() > 20 => format!("unknown {what} `{given}`"),
        None => format!("unknown {what} `{given}`; known: {}", known.join(", ")),
    }
}

/// Lines of a file, or of stdout for `-`. A name ending in `.gz` is compressed, the same bytes each time.
pub(super) enum Lines {
    /// As they are.
    Plain(Box<dyn Write>),
    /// Compressed.
    Gzip(Box<flate2::write::GzEncoder<Box<dyn Write>>>),
}

impl Lines {
    /// Opens `path`; with `append` behind what is there, for gzip as a further member.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn create(path: &std::path::Path, append: bool) -> std::io::Result<Self> {
        let raw: Box<dyn Write> = if path.as_os_str() == "-" {
            Box::new(std::io::stdout().lock())
        } else {
            let mut options = std::fs::OpenOptions::new();
            options.create(true).write(true).append(append).truncate(!append);
            Box::new(options.open(path)?)
        };
        let raw: Box<dyn Write> = Box::new(std::io::BufWriter::with_capacity(1 << 16, raw));
        Ok(if path.extension().is_some_and(|e| e == "gz") {
            Self::Gzip(Box::new(flate2::GzBuilder::new().write(raw, flate2::Compression::default())))
        } else {
            Self::Plain(raw)
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn line(&mut self, text: &str) -> std::io::Result<()> {
        let out: &mut dyn Write = match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => &mut **out,
        };
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
        }
    }
}

/// 0 with `-q`, 2 with `-v`.
static TALK: AtomicU8 = AtomicU8::new(1);

/// Takes the options that all commands have.
pub(super) fn set_up(color: clap::ColorChoice, quiet: bool, verbose: bool) {
    match color {
        clap::ColorChoice::Always => ColorChoice::Always.write_global(),
        clap::ColorChoice::Never => ColorChoice::Never.write_global(),
        clap::ColorChoice::Auto => {}
    }
    TALK.store(if quiet { 0 } else { 1 + u8::from(verbose) }, Ordering::Relaxed);
}

/// Prints a line on stderr with `-v`.
pub(super) fn detail_line(message: impl FnOnce() -> String) {
    if TALK.load(Ordering::Relaxed) > 1 {
        progress::end();
        let _ = writeln!(anstream::stderr().lock(), "{}", message());
    }
}

/// Prints `warning: MESSAGE` on stderr, unless `-q` is given.
pub(super) fn warning_line(message: &str) {
    if TALK.load(Ordering::Relaxed) == 0 {
        return;
    }
    progress::end();
    let _ = writeln!(anstream::stderr().lock(), "warning: {message}");
}

/// Prints a line on stderr, without the control characters of whatever it quotes, unless `-q` is given.
pub(super) fn note_line(message: &str) {
    if TALK.load(Ordering::Relaxed) == 0 {
        return;
    }
    progress::end();
    let _ = writeln!(anstream::stderr().lock(), "{}", crate::report::clean(message));
}

/// Prints `error: MESSAGE` on stderr.
pub(super) fn error_line(message: &str) {
    progress::end();
    let _ = writeln!(anstream::stderr().lock(), "error: {message}");
}

/// Writes a file. Its folder must be there: a mistyped path makes no folders.
///
/// # Errors
/// [`Exit::Output`] when that cannot be done.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", path.display())))
}

/// Writes `text` to stdout. A closed pipe is success.
///
/// # Errors
/// [`Exit::Output`] when stdout cannot be written.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    progress::end();
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Failure::new(Exit::Output, format!("cannot write to stdout: {e}"))),
    }
}

/// A folder that a command fills; files ending in `.gz` are compressed, the same bytes each time.
#[derive(Debug)]
pub(super) struct OutputFolder {
    path: PathBuf,
    written: Vec<(String, u64)>,
}

impl OutputFolder {
    /// Makes the folder, unless it is there.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self { path: path.to_owned(), written: Vec::new() })
    }

    /// One line per file: its size and path.
    pub(super) fn summary(&self) -> String {
        let size = |bytes: u64| crate::model::size::size(bytes);
        self.written
            .iter()
            .map(|(name, bytes)| format!("{:>7}  {}\n", size(*bytes), self.path.join(name).display()))
            .collect()
    }
}

impl crate::generate::Folder for OutputFolder {
    fn file(&mut self, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
        let path = self.path.join(name);
        let mut out = BufWriter::with_capacity(1 << 18, std::fs::File::create(&path)?);
        if name.ends_with(".gz") {
            // the header has no time and no name, so equal content gives equal bytes
            let mut packed = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            let mut buffered = BufWriter::with_capacity(1 << 16, &mut packed);
            fill(&mut buffered)?;
            buffered.flush()?;
            drop(buffered);
            out = packed.finish()?;
        } else {
            fill(&mut out)?;
        }
        out.into_inner()?.metadata().map(|m| self.written.push((name.to_owned(), m.len())))
    }
}

/// A new file at `path`, in folders that are made where they are missing.
///
/// # Errors
/// [`Exit::Output`] when it cannot be made.
pub(super) fn create_file(path: &Path) -> Result<File, Failure> {
    let make = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::create(path)
    };
    make().map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", path.display())))
}

/// Takes away what was begun at `path` and cannot be finished.
pub(super) fn discard(path: &Path) {
    // a folder stays, with what is whole in it
    let _ = std::fs::remove_file(path);
}

/// Writes `bytes` to a file at `path`.
///
/// # Errors
/// [`Exit::Output`] when it cannot be written.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e| Failure::new(Exit::Output, format!("cannot write {}: {e}", path.display()));
    create_file(path)?.write_all(bytes).map_err(failed)
}
