//! The command line: opens the doors between the rooms and prints. Only this room prints.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the tool on `args` (with the program's name first) and returns the exit code of the contract:
/// 0 ran, 1 a gate failed, 2 usage, 3 input, 4 output.
pub fn main(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::from(2)
}
