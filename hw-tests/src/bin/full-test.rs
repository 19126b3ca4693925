//! `cargo full-test`: everything that must hold, in one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    gybe_hw_tests::full_test::main(std::env::args().skip(1))
}
