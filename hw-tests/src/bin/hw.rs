//! `cargo hw`: the cases on real loaders and kernels.

use std::process::ExitCode;

fn main() -> ExitCode {
    gybe_hw_tests::hw::main(std::env::args().skip(1))
}
