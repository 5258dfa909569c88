//! `meshdump whatif`: the same evidence under another setting.

use clap::{Args, Subcommand};

use super::{Exit, Failure, whatif_scope};

/// Arguments of `whatif`.
#[derive(Debug, Clone, Args)]
pub(super) struct WhatifArgs {
    #[command(subcommand)]
    command: WhatifCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum WhatifCommand {
    /// What each workload's proxy sees and costs, what a narrower scope saves, what growth costs
    Scope(whatif_scope::ScopeArgs),
}

/// Runs `meshdump whatif`.
pub(super) fn run(args: &WhatifArgs) -> Result<Exit, Failure> {
    match &args.command {
        WhatifCommand::Scope(args) => whatif_scope::run(args),
    }
}
