//! What came of a check of health, in words and as JSON; the last one is kept until the next boot.

use std::fmt;
use std::fs;
use std::io::Read as _;

use gybe_core::slot::Slot;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::checks::Checks;
use super::{Failure, Settled};
use crate::root::Root;
use crate::state::SlotText;

/// Where the last report of this boot is kept.
pub const FILE: &str = "/run/gybe/health.json";
/// The most that is read of it.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub version: u8,
    /// The slot that runs.
    pub slot: SlotText,
    /// Whether it was on trial.
    pub trial: bool,
    /// Which attempt of the trial this is, from 1.
    pub attempt: Option<u8>,
    /// Whether every required check passed, and on trial the slot was committed.
    pub healthy: bool,
    /// Whether the slot was committed by this.
    pub committed: bool,
    /// What failed.
    pub failure: Option<Failed>,
    /// Every check, in the order in which they came.
    pub checks: Vec<Checked>,
    /// The watchdog that was fed, or why there was none; only on trial.
    pub watchdog: Option<String>,
    /// Whether a reboot was asked for.
    pub reboot: bool,
    /// What became of a release that was interrupted.
    pub settled: Option<Settled>,
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The check, or the step of ours.
    pub check: String,
    /// The class of it; nothing where it says nothing about the release.
    pub reason: Option<String>,
    /// How it ended.
    pub why: String,
    /// The end of what it said.
    pub output: String,
}

/// One script that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Its file name.
    pub name: String,
    /// Its folder: `check/required.d`, `check/wanted.d`, `green.d` or `red.d`.
    pub folder: String,
    /// How it ended.
    pub result: Result,
    /// More exactly, if it did not pass.
    pub why: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Result {
    /// All is well.
    Passed,
    /// It is not.
    Failed,
    /// It did not end in time and was killed.
    Deadline,
    /// It could not be started.
    Unstarted,
    /// The configuration says not to run it.
    Disabled,
    /// Something before it failed.
    Skipped,
}

impl Report {
    pub(super) fn new(slot: Slot, checks: Checks<'_>, failure: Option<Failure>) -> Self {
        Self {
            version: 1,
            slot: slot.into(),
            trial: false,
            attempt: None,
            healthy: failure.is_none(),
            committed: false,
            failure: failure.map(Into::into),
            checks: checks.done,
            watchdog: None,
            reboot: false,
            settled: None,
        }
    }

    /// Keeps it until the next boot, for `gybe status`.
    pub(super) fn keep(&self, root: &Root) {
        let path = root.path(FILE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::from);
        let new = path.with_extension("new");
        let kept = text.and_then(|text| {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&new, text)?;
            fs::rename(&new, &path)
        });
        if let Err(cause) = kept {
            warn!(file = %path.display(), %cause, "gybe status will not show this");
        }
    }

    /// The last report of this boot below `root`.
    #[must_use]
    pub fn last(root: &Root) -> Option<Self> {
        let mut text = Vec::new();
        fs::File::open(root.path(FILE)).ok()?.take(FILE_LEN_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        let Failure { check, fault, why, output } = failure;
        Self { check, reason: fault.map(|fault| fault.word().to_owned()), why, output }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.why)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = Slot::from(self.slot);
        match (&self.failure, self.committed) {
            (None, true) => write!(f, "slot {slot} is healthy and committed")?,
            (None, false) => write!(f, "slot {slot} is healthy")?,
            (Some(failure), _) => write!(f, "slot {slot} is unhealthy: {failure}")?,
        }
        if let (Some(attempt), Some(_)) = (self.attempt, &self.failure) {
            write!(f, " (attempt {attempt})")?;
        }
        if let Some(settled) = &self.settled {
            write!(f, "\n{settled}")?;
        }
        Ok(())
    }
}
