//! The release builds: makes them, and says how large they are. The firmware's own test counts what
//! the core takes of a microcontroller.

use std::path::PathBuf;

use super::lab::{self, Lab};
use crate::{run, sample, tree};

/// Bytes of the stripped programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) agent: u64,
    pub(super) publish: u64,
    pub(super) firmware: Firmware,
}

/// Bytes of a Cortex-M4, as the test says them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Firmware {
    /// Without the decoder.
    pub(super) flash: u64,
    /// Variables and painted stack.
    pub(super) ram: u64,
    pub(super) decoder_flash: u64,
    pub(super) decoder_workspace: u64,
}

/// What counts them.
pub(super) const FIRMWARE_TEST: &str =
    "cargo test --package gybe-hw-tests --test cortex_m4 -- --nocapture";

/// Each on its own, so that no program has what only another one asked its libraries for.
const BUILDS: [[&str; 4]; 4] = [
    ["--package", "gybe-agent", "--bin", "gybe"],
    ["--package", "gybe-publish", "--bin", "gybe-publish"],
    ["--package", "gybe-sim", "--bin", "gybe-loader-player"],
    ["--package", "gybe-hw-tests", "--bin", "bare-loop"],
];

/// Builds the programs and gives their folder.
pub(super) fn build() -> Result<PathBuf, String> {
    for build in BUILDS {
        let mut cargo = run::cargo();
        cargo.args(["build", "--quiet", "--release", "--locked"]);
        sample::succeed(cargo.args(build))?;
    }
    Ok(tree::target().join("release"))
}

pub(super) fn run(lab: &Lab) -> Result<Sizes, String> {
    let len = |name: &str| lab::len(&lab.programs.join(name));
    Ok(Sizes { agent: len("gybe")?, publish: len("gybe-publish")?, firmware: firmware()? })
}

fn firmware() -> Result<Firmware, String> {
    let script = tree::root().join("hw-tests/tools/debian-rust.sh");
    sample::succeed(run::command("bash").arg(script).arg(tree::tools().join("debian-rust")))?;
    Firmware::read(&lab::test(FIRMWARE_TEST, None)?)
}

impl Firmware {
    /// Reads what the test prints.
    fn read(said: &str) -> Result<Self, String> {
        let number = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| format!("the test of the firmware says nothing of: {name}"))
        };
        Ok(Self {
            flash: number("flash, without the decoder")?,
            ram: number("RAM: variables and stack")?,
            decoder_flash: number("decoder, flash")?,
            decoder_workspace: number("decoder, workspace")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Firmware;

    #[test]
    fn the_test_of_the_firmware_is_read() {
        let said = "stack all 31040\n\n\
            flash, without the decoder     95306 bytes    93.1 KiB   limit     98304 bytes\n\
            RAM: variables and stack       31044 bytes    30.3 KiB   limit     32768 bytes\n\
            decoder, flash                 17076 bytes    16.7 KiB\n\
            decoder, workspace           1276248 bytes  1246.3 KiB\n";
        let expected = Firmware {
            flash: 95_306,
            ram: 31_044,
            decoder_flash: 17_076,
            decoder_workspace: 1_276_248,
        };
        assert_eq!(Firmware::read(said), Ok(expected));
        assert!(Firmware::read("test result: ok").is_err());
    }
}
