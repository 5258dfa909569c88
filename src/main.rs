//! The `meshdump` binary: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    meshdump::cli::main(std::env::args_os())
}
