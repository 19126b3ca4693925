//! Decodes, hashes, writes and flushes what a release holds: the floor that installs are compared to.

use std::process::ExitCode;

fn main() -> ExitCode {
    gybe_hw_tests::measure::bare_loop(std::env::args().skip(1))
}
