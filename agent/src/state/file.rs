//! The state file: what is remembered, in a [`TwoAreas`] file.
//!
//! The lock on it is what keeps two programs from updating one device at once.

use tracing::warn;

use super::{REFERENCE_LEN_MAX, State};
use crate::root::Root;
use crate::two_areas::{self, Content, FileError, Lock, TwoAreas};

/// Where the state lies.
pub const FILE: &str = "/var/lib/gybe/state";
/// Length of one area, the most a state can take.
pub const AREA_LEN: usize = 32 * 1024;

impl Content for State {
    const FILE: &'static str = FILE;
    const NAME: &'static str = "gybe-state 1";
    const WHAT: &'static str = "state";
    const AREA_LEN: usize = AREA_LEN;
    const MODE: u32 = 0o644;
}

/// The state, held by one program.
#[derive(Debug)]
pub struct StateFile(TwoAreas<State>);

impl StateFile {
    /// Opens the state below `root` for an update, making it if it is not there.
    ///
    /// # Errors
    /// [`FileError::Held`] when another program updates the device, else what the system says.
    pub fn open(root: &Root) -> Result<Self, StateError> {
        Ok(Self(TwoAreas::open(root, Lock::Try)?))
    }

    /// What is remembered.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.0.content()
    }

    /// Remembers `state` instead. It is durable when this returns.
    ///
    /// # Errors
    /// When the state is too long, or what the system says; what was remembered before then holds.
    pub fn store(&mut self, state: State) -> Result<(), StateError> {
        if let Some(len) = state.reference.as_ref().map(String::len)
            && len > REFERENCE_LEN_MAX
        {
            return Err(StateError::Reference { len });
        }
        Ok(self.0.store(state)?)
    }
}

/// Reads the state below `root` without touching it. What is missing or damaged is empty.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(root: &Root) -> Result<State, StateError> {
    Ok(two_areas::read(root)?)
}

/// Reads the state below `root` as [`read`] does. One that cannot be read is an empty one: what it
/// holds helps to decide, and nothing is decided by its absence.
#[must_use]
pub fn read_if_possible(root: &Root) -> State {
    read(root).unwrap_or_else(|cause| {
        warn!(%cause, "so what failed before is not known");
        State::default()
    })
}

/// Why the state cannot be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The reference is too long.
    #[error("reference is {len} bytes, limit {REFERENCE_LEN_MAX}")]
    Reference {
        /// Its length.
        len: usize,
    },
}
