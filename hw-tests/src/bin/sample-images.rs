//! Makes the sample images and prints the folder they lie in.

use std::process::ExitCode;

fn main() -> ExitCode {
    gybe_hw_tests::sample::main()
}
