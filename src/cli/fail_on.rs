//! `--fail-on`: the exit code by what was found, for scripts that want no budgets (those have `check`).

use clap::{Args, ValueEnum};

use super::{Exit, output};
use crate::findings::{Finding, Severity};

/// The option.
#[derive(Debug, Clone, Args)]
pub(super) struct FailOn {
    /// Exit with 1 when there is a finding of this severity or a worse one
    #[arg(long, value_name = "SEVERITY", value_enum, default_value = "never")]
    fail_on: Level,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Note,
    Never,
}

impl FailOn {
    /// The exit code of a run that would end with `ran`: an input that could not be read comes before a gate.
    pub(super) fn exit<'a>(&self, ran: Exit, findings: impl IntoIterator<Item = &'a Finding>) -> Exit {
        let least = match self.fail_on {
            Level::Error => Severity::Error,
            Level::Warn => Severity::Warn,
            Level::Note => Severity::Note,
            Level::Never => return ran,
        };
        // the worst is the smallest
        let n = findings.into_iter().filter(|f| f.severity <= least).count();
        if n == 0 {
            return ran;
        }
        let (one, or_worse) = (if n == 1 { "" } else { "s" }, if least == Severity::Error { "" } else { " or worse" });
        output::error_line(&format!("{n} finding{one} of severity {}{or_worse} (--fail-on)", least.as_str()));
        if ran == Exit::Ok { Exit::Gate } else { ran }
    }
}
