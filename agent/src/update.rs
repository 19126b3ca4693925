//! Whether a release that is offered is an update.

use std::fmt;

use gybe_core::digest::Digest;
use gybe_core::slot::Slot;

use crate::error::Error;
use crate::release::{Held, Offer};
use crate::session::Session;
use crate::state::{DigestText, ReleaseName, State};

/// Whether to take a release that failed on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failures {
    /// Not again: it would fail again.
    Respect,
    /// Again, because an operator asked for it.
    Retry,
}

/// What is known of a release before it is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: ReleaseName,
    /// Its sequence.
    pub sequence: u64,
    /// Whether signers allow it as a downgrade from what runs.
    pub downgrade: bool,
}

impl Candidate {
    /// What `offer` offers, if it is meant for this device and its terms are met.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not.
    pub fn read(session: &Session, offer: &Offer) -> Result<Self, Error> {
        let admission = session.admit(&offer.package, &offer.reference)?;
        let release = offer.open_release(&admission.policy)?;
        let manifest = release.manifest();
        let digest = DigestText(manifest.digest);
        let name = ReleaseName { digest, version: manifest.version.to_owned() };
        let downgrade = admission.downgrade.is_some();
        Ok(Self { name, sequence: manifest.sequence, downgrade })
    }
}

/// What to do about a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is newer than what runs.
    Update,
    /// It is armed already.
    Armed {
        /// Where it lies.
        slot: Slot,
    },
    /// It is not an update.
    None(Why),
}

/// Why a release is not an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It runs already.
    Running,
    /// What runs was sealed later.
    Older {
        /// Its sequence.
        found: u64,
        /// The sequence of what runs.
        running: u64,
    },
    /// It failed here before.
    Failed {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("it is running already"),
            Self::Older { found, running } => {
                write!(f, "its sequence {found} is not above {running}, which is running")
            }
            Self::Failed { reason } => write!(f, "it failed on this device before: {reason}"),
        }
    }
}

/// Decides on what a tracked reference offers. The sequence only goes forward, whatever a tag says.
#[must_use]
pub fn decide(
    session: &Session,
    state: &State,
    candidate: &Candidate,
    failures: Failures,
) -> Decision {
    let running = session.held_running();
    let digest: Digest = candidate.name.digest.0;
    if running.is_some_and(|held| held.name.digest.0 == digest) {
        return Decision::None(Why::Running);
    }
    for slot in Slot::ALL {
        let held = session.held.of(slot).as_ref().ok();
        if session.boot.is_on_trial(slot) && held.is_some_and(|it| it.name.digest.0 == digest) {
            return Decision::Armed { slot };
        }
    }
    let is_older = |held: &&Held| candidate.sequence <= held.sequence && !candidate.downgrade;
    if let Some(held) = running.filter(is_older) {
        let (found, running) = (candidate.sequence, held.sequence);
        return Decision::None(Why::Older { found, running });
    }
    match state.failure_of(digest) {
        Some(failed) if failures == Failures::Respect => {
            Decision::None(Why::Failed { reason: failed.reason.clone() })
        }
        _ => Decision::Update,
    }
}

/// The reference that is tracked: what `switch` chose, or else what the configuration says.
///
/// # Errors
/// [`Error::NoReference`].
pub fn reference(session: &Session, state: &State) -> Result<String, Error> {
    let chosen = state.reference.clone();
    chosen.or_else(|| session.config.reference.clone()).ok_or(Error::NoReference)
}
