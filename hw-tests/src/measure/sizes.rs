//! The release builds: makes them, and says how large they are.

use std::path::PathBuf;

use super::lab::{self, Lab};
use crate::{run, sample, tree};

/// Bytes of the stripped programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) agent: u64,
    pub(super) publish: u64,
}

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
    Ok(Sizes { agent: len("gybe")?, publish: len("gybe-publish")? })
}
