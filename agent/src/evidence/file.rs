//! The evidence file: a [`TwoAreas`] file of its own, so that a note in a trial waits for no update.

use tracing::warn;

use super::Evidence;
use crate::root::Root;
use crate::two_areas::{self, Content, FileError, Lock, TwoAreas};

/// Where the evidence lies.
pub const FILE: &str = "/var/lib/gybe/evidence";
/// Length of one area, the most that the evidence can take.
pub const AREA_LEN: usize = 64 * 1024;

impl Content for Evidence {
    const FILE: &'static str = FILE;
    const NAME: &'static str = "gybe-evidence 1";
    const WHAT: &'static str = "evidence of trials";
    const AREA_LEN: usize = AREA_LEN;
    /// The kernel's messages are not for everybody, nor what a check may say.
    const MODE: u32 = 0o600;
}

/// Changes the evidence below `root`, and gives what it is now. It is durable when this returns; a
/// power cut before leaves what was there. What is too much for the file is given up, oldest first.
///
/// # Errors
/// When the file cannot be read or written.
pub fn change(root: &Root, change: impl FnOnce(&mut Evidence)) -> Result<Evidence, FileError> {
    // Held for one write only, so waiting is short.
    let mut file = TwoAreas::<Evidence>::open(root, Lock::Wait)?;
    let mut evidence = file.content().clone();
    change(&mut evidence);
    loop {
        match file.store(evidence.clone()) {
            Err(FileError::Length { .. }) if evidence.shrink() => {}
            Err(cause) => return Err(cause),
            Ok(()) => return Ok(evidence),
        }
    }
}

/// Reads the evidence below `root` without touching it. What cannot be read is empty.
#[must_use]
pub fn read_if_possible(root: &Root) -> Evidence {
    two_areas::read(root).unwrap_or_else(|cause| {
        warn!(%cause, "so what happened in trials is not known");
        Evidence::default()
    })
}
