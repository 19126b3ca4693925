//! Seals and signs releases on the build host.

use std::process::ExitCode;

use clap::Parser as _;
use gybe_publish::cli::Cli;
use gybe_publish::{output, run};

/// Exit codes: 0 done, 1 failed, 2 usage (from clap).
fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&*failure);
            ExitCode::FAILURE
        }
    }
}
