//! Why a root cannot be opened, or not be made ready.

use std::io;
use std::path::PathBuf;

use super::arguments::ArgumentsError;
use super::candidates::Mismatch;
use crate::device::mapper::MapperError;

/// Why a root cannot be opened, or not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// Something cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is not known which root is meant.
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    /// The partition did not appear.
    #[error("no partition {name} within {seconds} s; {hint}")]
    NoPartition {
        /// How the command line calls it.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// What may be the cause.
        hint: &'static str,
    },
    /// No partition of that name has the root that was signed.
    #[error("no partition has the signed root: {last}")]
    Unlike {
        /// What is wrong with the last one that was looked at.
        last: Mismatch,
    },
    /// The kernel does not open it.
    #[error(transparent)]
    Mapper(#[from] MapperError),
    /// The folder that was named holds no root of a slot.
    #[error("{} is on no partition of a disk, so nothing of this device can be found", path.display())]
    NoDevice {
        /// The folder.
        path: PathBuf,
    },
    /// The command line does not say which slot was loaded.
    #[error("kernel command line: gybe.slot= is missing, so it is not known whose /etc this is")]
    NoSlot,
    /// A mount failed.
    #[error("cannot mount {what} at {}: {cause}{}", point.display(), Missing(what))]
    Mount {
        /// What.
        what: &'static str,
        /// Where.
        point: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Something cannot be written.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Write {
        /// What was done.
        doing: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl InitramfsError {
    /// Whether the slot, and not the machine around it, is to blame: another slot may be better.
    pub(super) const fn is_fault_of_the_slot(&self) -> bool {
        matches!(self, Self::Unlike { .. })
    }
}

/// The end of a message about a file system that the kernel does not know.
struct Missing<'a>(&'a str);

impl std::fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known =
            known.lines().any(|line| line.split_whitespace().next_back() == Some(self.0));
        if is_known || known.is_empty() {
            return Ok(());
        }
        write!(f, "; is the module {} in the initramfs?", self.0)
    }
}
