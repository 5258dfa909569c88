//! `-o FORMAT[=PATH]`, repeatable: data on stdout or in files, messages on stderr, broken pipes end quietly.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{Exit, Failure};

/// The formats a report can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, on a terminal or in a bug report.
    Text,
    /// The JSON contract.
    Json,
}

/// One `-o` value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// Format.
    pub format: Format,
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
            "text" | "table" => Format::Text,
            "json" => Format::Json,
            other => return Err(format!("unknown format `{other}`; known: text, json")),
        };
        Ok(Self { format, path })
    }
}

/// The output options every command shares.
#[derive(Debug, Clone, Default, Args)]
pub struct OutputArgs {
    /// Format, and file to write: text (default) or json; repeatable
    #[arg(short = 'o', long = "output", value_name = "FORMAT[=PATH]")]
    pub outputs: Vec<OutputSpec>,
    /// Width of text output in columns; the terminal's, or 100 when piped
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
            return Ok(vec![OutputSpec { format: Format::Text, path: None }]);
        }
        if self.outputs.iter().filter(|o| o.path.is_none()).count() > 1 {
            return Err(Failure::new(
                Exit::Usage,
                "at most one -o may go to stdout; give the others a path: -o json=report.json",
            ));
        }
        Ok(self.outputs.clone())
    }

    /// Writes every output asked for; `render` makes the text of one format.
    ///
    /// # Errors
    /// [`Exit::Output`] when a file or stdout cannot be written. A closed pipe is success.
    pub fn write(&self, mut render: impl FnMut(Format) -> String) -> Result<(), Failure> {
        for spec in self.specs()? {
            let mut text = render(spec.format);
            if !text.ends_with('\n') {
                text.push('\n');
            }
            match &spec.path {
                Some(path) => std::fs::write(path, &text)
                    .map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", path.display())))?,
                None => match std::io::stdout().lock().write_all(text.as_bytes()) {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
                    Err(e) => return Err(Failure::new(Exit::Output, format!("cannot write to stdout: {e}"))),
                },
            }
        }
        Ok(())
    }
}

/// Prints `error: MESSAGE` on stderr.
pub fn error_line(message: &str) {
    let _ = writeln!(anstream::stderr().lock(), "error: {message}");
}

/// Prints a note on stderr.
pub fn note_line(message: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{message}");
}
