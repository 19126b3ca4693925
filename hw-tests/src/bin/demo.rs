//! `cargo demo`: seal, sign, install, boot, update, refuse, fall back.

use std::process::ExitCode;

fn main() -> ExitCode {
    gybe_hw_tests::demo::main(std::env::args().skip(1))
}
