//! The binary `gybe`: parses what was typed, does it, and says how it ended.

use std::process::ExitCode;

use clap::Parser as _;
use gybe_agent::cli::Cli;
use gybe_agent::{output, verbs};

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::start_log();
    let exit = verbs::run(&cli).unwrap_or_else(|error| {
        output::error(&error, error.hint());
        error.exit()
    });
    ExitCode::from(exit.code(cli.global.reboot_exit_code))
}
