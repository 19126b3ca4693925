//! `cargo measure`: writes docs/benchmarks.md from what this machine shows.

use std::process::ExitCode;

fn main() -> ExitCode {
    gybe_hw_tests::measure::main(std::env::args().skip(1))
}
