//! What the device remembers beside the slots: the tracked reference, and what failed.
//!
//! Everything that matters is in the boot environment and in the slots' trailers; this is a cache
//! of it and the evidence of the past. Losing it loses nothing that an update needs, so it never
//! stands in the way of one: a damaged file is an empty one, and says so.

mod file;
mod reconcile;

use std::fmt;
use std::str::FromStr;

use gybe_core::digest::{Digest, DigestError};
use gybe_core::slot::Slot;
use serde::{Deserialize, Serialize};

pub use file::{AREA_LEN, FILE, StateError, StateFile, read, read_if_possible};
pub use reconcile::{Seen, reconcile};

/// How many failed releases are remembered; the oldest is forgotten first.
pub const FAILED_MAX: usize = 16;
/// How often a release is armed again after its tries were spent though nothing was found wrong.
pub const REARMED_MAX: u8 = 2;
/// The reason of a fallback for which nothing was found to blame the release for.
pub const INTERRUPTED: &str = "interrupted";
/// The reason of a fallback from a slot that no longer holds what was signed.
pub const CORRUPT: &str = "corrupt";
/// Longest reference that is remembered, in bytes.
pub const REFERENCE_LEN_MAX: usize = 1024;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The reference that `switch` chose.
    pub reference: Option<String>,
    /// The release that was last armed, until its fate is known.
    pub armed: Option<Armed>,
    /// A release whose tries were spent though nothing was found wrong with it: it is armed again when
    /// the slot still holds it whole.
    pub interrupted: Option<Armed>,
    /// Releases that failed on this device, newest first: not taken again unless asked for.
    pub failed: Vec<FailedRelease>,
    /// The last time the device fell back.
    pub last_fallback: Option<Fallback>,
    /// The highest sequence of a downgrade that was made, 0 if none was.
    pub downgraded: u64,
}

impl State {
    /// What is remembered of the failure of `release`.
    #[must_use]
    pub fn failure_of(&self, release: Digest) -> Option<&FailedRelease> {
        self.failed.iter().find(|failed| failed.release.digest.0 == release)
    }

    /// Forgets that `release` failed, because someone asked for it again.
    pub fn forgive(&mut self, release: Digest) {
        self.failed.retain(|failed| failed.release.digest.0 != release);
    }

    /// Remembers that `release` failed by its own fault, and what the last fallback was about.
    pub fn condemn(&mut self, release: ReleaseName, reason: String) {
        if let Some(last) = self.last_fallback.as_mut().filter(|last| last.from == release) {
            last.reason.clone_from(&reason);
        }
        self.interrupted.take_if(|interrupted| interrupted.release == release);
        self.remember(FailedRelease { release, reason });
    }

    /// Remembers `failed`, as the newest.
    fn remember(&mut self, failed: FailedRelease) {
        self.forgive(failed.release.digest.0);
        self.failed.insert(0, failed);
        self.failed.truncate(FAILED_MAX);
    }
}

/// A release by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseName {
    /// The digest of its manifest.
    pub digest: DigestText,
    /// Its version, for people.
    pub version: String,
}

/// A release that was armed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Where it lies.
    pub slot: SlotText,
    /// Which one it is.
    pub release: ReleaseName,
    /// What ran when it was armed, if that is known.
    pub from: Option<ReleaseName>,
    /// How many tries it was given.
    pub tries: u8,
    /// How often it was armed again, because nothing was wrong with it when its tries were spent.
    #[serde(default)]
    pub rearmed: u8,
}

/// A release that failed on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRelease {
    /// Which one it is.
    pub release: ReleaseName,
    /// Why, in the boot environment's words.
    pub reason: String,
}

/// A fall back from one release to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// What was tried.
    pub from: ReleaseName,
    /// What runs instead, if that is known.
    pub to: Option<ReleaseName>,
    /// The slot that failed.
    pub slot: SlotText,
    /// Why: the boot environment's word, or what the evidence says more exactly; [`INTERRUPTED`] and
    /// [`CORRUPT`] are no fault of the release.
    pub reason: String,
    /// How many tries it was given, if that is known.
    pub tries: Option<u8>,
    /// How often it was armed again before.
    #[serde(default)]
    pub rearmed: u8,
}

/// A digest that is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DigestText(pub Digest);

impl TryFrom<String> for DigestText {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        Digest::from_str(&text).map(Self)
    }
}

impl From<DigestText> for String {
    fn from(digest: DigestText) -> Self {
        digest.0.to_string()
    }
}

impl fmt::Display for DigestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A slot that is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotText {
    /// Slot A.
    A,
    /// Slot B.
    B,
}

impl From<Slot> for SlotText {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::A => Self::A,
            Slot::B => Self::B,
        }
    }
}

impl From<SlotText> for Slot {
    fn from(slot: SlotText) -> Self {
        match slot {
            SlotText::A => Self::A,
            SlotText::B => Self::B,
        }
    }
}
