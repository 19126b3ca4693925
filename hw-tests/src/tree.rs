//! Where the source tree, its build output and the tools lie.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The folder of everything that is built: `$CARGO_TARGET_DIR`, or `target`.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The folder of tools that are newer than the host's: `$GYBE_TOOLS`, or `target/tools`.
pub(crate) fn tools() -> PathBuf {
    std::env::var_os("GYBE_TOOLS").map_or_else(|| target().join("tools"), PathBuf::from)
}

/// `PATH` with our tools first and the system folders last: Debian keeps `veritysetup`, `losetup`
/// and `mkfs.*` in folders that only root has in its path.
pub(crate) fn path() -> String {
    let given = std::env::var("PATH").unwrap_or_default();
    format!("{}:{given}:/usr/local/sbin:/usr/sbin:/sbin", tools().join("bin").display())
}
