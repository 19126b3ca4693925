//! What becomes of a release whose tries were spent though nothing was found wrong with it.
//!
//! The loader cannot tell a power cut from a panic: it counts. So after the fallback the evidence is
//! completed with what pstore and the watchdog know. If there is a fault, the release is not taken
//! again. If there is none, and the slot still holds every byte that was signed, it is armed again, at
//! most [`REARMED_MAX`](crate::state::REARMED_MAX) times; the next boot, whenever it comes, tries it.
//!
//! A power cut before the release is remembered as armed again leaves it waiting; between that and
//! the environment it costs one of those times; after it, the release is on trial.

use std::fmt;

use gybe_core::install::Proven;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Context;
use crate::error::Error;
use crate::evidence;
use crate::session::{Memory, Session};
use crate::state::{self, Armed, CORRUPT, ReleaseName};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Settled {
    /// It is tried again at the next boot.
    Rearmed {
        /// Which one it is.
        release: ReleaseName,
        /// How often it was armed again, this time included.
        rearmed: u8,
    },
    /// It is to blame, and not taken again.
    Condemned {
        /// Which one it is.
        release: ReleaseName,
        /// Why.
        reason: String,
    },
    /// Its slot does not hold it any more: the next update writes it again.
    Corrupt {
        /// Which one it is.
        release: ReleaseName,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rearmed { release, rearmed } => {
                write!(
                    f,
                    "{} was interrupted, not at fault: armed again ({rearmed})",
                    release.version
                )
            }
            Self::Condemned { release, reason } => {
                write!(f, "{} failed by its own fault: {reason}", release.version)
            }
            Self::Corrupt { release, why } => {
                write!(f, "{} was interrupted, and its slot is damaged: {why}", release.version)
            }
        }
    }
}

/// Settles what is unsettled; a device without anything is not written to.
pub(super) fn settle(context: &Context) -> Result<Option<Settled>, Error> {
    let root = &context.root;
    let remembered = state::read_if_possible(root);
    let session = Session::open(root)?;
    let Some(failed) = session.boot.failed else { return Ok(None) };
    let waiting = remembered.armed.or(remembered.interrupted);
    let Some(waiting) = waiting.filter(|waiting| waiting.slot == failed.slot.into()) else {
        return Ok(None);
    };
    drop(session);
    if let Err(cause) = evidence::look_back(root, &context.boot, failed.slot) {
        warn!(%cause, "what ended the last attempt is not known");
    }
    // This judges, with the evidence as it is now.
    let (session, mut memory) = Session::begin(root)?;
    let release = waiting.release;
    if let Some(condemned) = memory.state().failure_of(release.digest.0) {
        let reason = condemned.reason.clone();
        return Ok(Some(Settled::Condemned { release, reason }));
    }
    let Some(interrupted) = memory.state().interrupted.clone() else { return Ok(None) };
    if session.boot.trial.is_some() {
        return Ok(None);
    }
    let settled = match prove(&session, &interrupted) {
        Ok(proven) => rearm(session, &mut memory, proven, interrupted)?,
        Err(cause) => {
            let why = cause.to_string();
            warn!(release = %release.digest, %why, "its slot is damaged, it must be written again");
            memory.update(|state| {
                state.interrupted = None;
                if let Some(last) = &mut state.last_fallback {
                    CORRUPT.clone_into(&mut last.reason);
                }
            });
            Settled::Corrupt { release, why }
        }
    };
    Ok(Some(settled))
}

/// Reads all of the slot back: it was left alone since, but its medium may have suffered with the rest.
fn prove(session: &Session, interrupted: &Armed) -> Result<Proven, Error> {
    let slot = interrupted.slot.into();
    session.prove_held(slot)
}

fn rearm(
    mut session: Session,
    memory: &mut Memory,
    proven: Proven,
    interrupted: Armed,
) -> Result<Settled, Error> {
    let rearmed = interrupted.rearmed.saturating_add(1);
    let (release, tries) = (interrupted.release.clone(), interrupted.tries);
    // Remembered first: what is not counted would never end.
    memory.insist(|state| {
        state.interrupted = None;
        state.armed = Some(Armed { rearmed, ..interrupted });
    })?;
    let running = session.slots.running_slot();
    session.boot = proven.arm(tries, running, &mut session.environment).map_err(Error::arm)?;
    info!(release = %release.digest, rearmed, "interrupted and not at fault, so armed again");
    Ok(Settled::Rearmed { release, rearmed })
}
