//! The programs under test, built as the workspace builds them.

use std::{env, io::IsTerminal as _, path::PathBuf};

use crate::{run, tree};

/// Where programs lie that are to be tested instead of debug builds.
pub(crate) const FOLDER: &str = "GYBE_PROGRAMS";

/// Builds every program and returns the folder they lie in; where `GYBE_PROGRAMS` names one, nothing
/// is built.
///
/// # Errors
/// Why cargo did not build them.
pub fn build() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os(FOLDER) {
        return Ok(folder.into());
    }
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
