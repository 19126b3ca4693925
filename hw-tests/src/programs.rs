//! The programs under test, built as the workspace builds them.

use std::{io::IsTerminal as _, path::PathBuf};

use crate::{run, tree};

/// Builds every program and returns the folder they lie in.
///
/// # Errors
/// Why cargo did not build them.
pub fn build() -> Result<PathBuf, String> {
    let mut build = run::cargo();
    // All packages at once, so that features are what they are in tests and nothing is built twice.
    build.args(["build", "--workspace", "--bins", "--all-features"]);
    if !std::io::stderr().is_terminal() {
        build.arg("--quiet");
    }
    let status = build.status().map_err(|cause| format!("cannot run cargo: {cause}"))?;
    if status.success() {
        Ok(tree::target().join("debug"))
    } else {
        Err(format!("cargo build: {status}"))
    }
}
