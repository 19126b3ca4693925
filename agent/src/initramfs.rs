//! What happens between the kernel and the real init: the root is opened and mounts are made.
//!
//! An initramfs runs `gybe initramfs open`, mounts `/dev/mapper/root`, and runs
//! `gybe initramfs mount DIR` on it. Both may be run again, and then do what is left to do.

pub mod arguments;
pub mod candidates;

mod error;
mod evidence;
mod failure;
mod kernel_log;
mod mount;
mod mounting;
mod open;
mod other_root;

pub use error::InitramfsError;
pub use mount::run as mount;
pub use open::run as open;

use std::path::Path;
use std::{fs, io};

use crate::device::cmdline;
use crate::root::Root;

/// What the root is called by the device mapper, as systemd calls it.
pub const ROOT: &str = "root";
/// What is left here tells the running system what happened before it began.
pub const NOTES: &str = "/run/gybe";
/// Names the disks among which the root was chosen, where there was a choice.
pub const AMBIGUOUS: &str = "/run/gybe/ambiguous";
/// Says why `/var` or `/etc` is in memory only.
pub const STATE_LOST: &str = "/run/gybe/state-lost";
/// Names what was changed in `/etc` and gave way to the image.
pub const ETC_CONFLICTS: &str = "/run/gybe/etc-conflicts";
/// Where the environment partition is mounted.
pub const ENVIRONMENT: &str = "/run/gybe/env";
/// The label of the environment partition.
pub const ENVIRONMENT_LABEL: &str = "gybe_env";
/// The label of the state partition.
pub const STATE_LABEL: &str = "state";

/// Reads the kernel command line.
fn command_line() -> Result<String, InitramfsError> {
    let path = Root::host().path(cmdline::FILE);
    let line = fs::read(&path).map_err(|cause| InitramfsError::Read { path, cause })?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Leaves a note for the running system. It is in memory, and gone with the next boot.
fn leave_note(path: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(NOTES)?;
    fs::write(Path::new(path), format!("{text}\n"))
}
