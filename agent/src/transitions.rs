//! What became of releases on this device, told once: to a report, to the journal, to hooks.
//!
//! Transitions are not announced by whoever makes them: a power cut right after the boot environment
//! was written would swallow the word. They are *noticed*: what the device shows is compared with
//! what was told last, in every command that changes something, and in the daemon.
//!
//! ```text
//! boot environment, trailers, state ──▶ differs from what was told? ──▶ one write: told, and the ring
//!                                                                        └▶ journal, hooks   (once at most)
//!                                                                        └▶ report           (once at least)
//! ```
//!
//! A power cut before that write leaves it to be noticed by the next command; after it, the report is
//! in the ring and is posted. Hooks and journal then missed it. That a release is *updated to* is told
//! only when the environment says that its slot is Good, which is after its commit.

mod notice;
mod transition;

use serde::{Deserialize, Serialize};
use tracing::warn;

pub use notice::{Seen, noticed};
pub use transition::{Cost, Kind, Summary, Transition};

use crate::config::Telling;
use crate::device::clock;
use crate::device::this_boot::ThisBoot;
use crate::error::Error;
use crate::hooks;
use crate::install::Tally;
use crate::journal::{self, Priority};
use crate::metrics;
use crate::root::Root;
use crate::run::trouble::Class;
use crate::session::Session;
use crate::state::{self, DigestText, ReleaseName, State};
use crate::two_areas::{self, Content, FileError, Lock, TwoAreas};

/// Where they lie.
pub const FILE: &str = "/var/lib/gybe/transitions";
/// Length of one area, the most they can take.
pub const AREA_LEN: usize = 96 * 1024;
/// How many are kept; where reports cannot be posted the oldest is lost, and counted.
pub const RING_LEN_MAX: usize = 32;

/// What is kept of the transitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// What was told last.
    pub told: Told,
    /// How many transitions there were.
    pub count: u64,
    /// The number of the last one that was posted.
    pub posted: u64,
    /// How many were lost before they could be posted.
    pub dropped: u64,
    /// The last ones, oldest first.
    pub ring: Vec<Transition>,
}

/// What was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The release that was kept.
    pub kept: Option<ReleaseName>,
    /// The release that was armed, and how often it was armed again.
    pub armed: Option<(DigestText, u8)>,
    /// The release that fell back, and why.
    pub fell_back: Option<(DigestText, String)>,
}

impl Content for Kept {
    const FILE: &'static str = FILE;
    const NAME: &'static str = "gybe-transitions 1";
    const WHAT: &'static str = "what was told";
    const AREA_LEN: usize = AREA_LEN;
    const MODE: u32 = 0o644;
}

impl Kept {
    /// Adds `transition` as the newest, under its number. Of those that cannot be kept and were not
    /// posted `is_posting` says whether anybody misses them.
    fn push(&mut self, mut transition: Transition, is_posting: bool) -> Transition {
        self.count = self.count.saturating_add(1);
        transition.sequence = self.count;
        self.ring.push(transition.clone());
        let over = self.ring.len().saturating_sub(RING_LEN_MAX);
        for lost in self.ring.drain(..over) {
            if is_posting && lost.sequence > self.posted {
                self.dropped = self.dropped.saturating_add(1);
            }
        }
        transition
    }

    /// The oldest that was not posted.
    #[must_use]
    pub fn next_to_post(&self) -> Option<&Transition> {
        self.ring.iter().find(|transition| transition.sequence > self.posted)
    }

    /// How many wait to be posted.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ring.iter().filter(|transition| transition.sequence > self.posted).count()
    }
}

/// Reads what is kept. What cannot be read is nothing: it is told again.
#[must_use]
pub fn read_if_possible(root: &Root) -> Kept {
    two_areas::read(root).unwrap_or_else(|cause| {
        warn!(%cause, "what was told is not known");
        Kept::default()
    })
}

/// Changes what is kept.
///
/// # Errors
/// When it cannot be stored.
pub fn change<T>(root: &Root, change: impl FnOnce(&mut Kept) -> T) -> Result<T, FileError> {
    let mut file = TwoAreas::<Kept>::open(root, Lock::Wait)?;
    let mut kept = file.content().clone();
    let result = change(&mut kept);
    file.store(kept)?;
    Ok(result)
}

/// Tells what happened since it was last looked, of which `cost` is what this command spent. Nothing
/// here stops anything: what cannot be told is missed.
pub fn notice(session: &Session, state: &State, cost: Option<&Tally>) {
    // What is provisioned from another system has no story yet.
    let Some(running) = session.slots.running_slot() else { return };
    let kept = Some(running).filter(|&slot| session.boot.is_good(slot));
    let kept = kept.and_then(|slot| session.held.of(slot).as_ref().ok());
    let seen = Seen {
        kept: kept.map(|held| &held.name),
        armed: state.armed.as_ref().filter(|armed| session.boot.is_on_trial(armed.slot.into())),
        fell_back: state.last_fallback.as_ref(),
        evidence: &session.evidence,
    };
    // Most commands change nothing, and only read.
    let told = read_if_possible(&session.root).told;
    if noticed(&told, &seen).0 == told {
        return;
    }
    tell(&session.root, &session.config.telling, |kept| {
        let (told, mut transitions) = noticed(&kept.told, &seen);
        kept.told = told;
        if let Some(armed) = transitions.iter_mut().find(|it| it.transition == Kind::Armed) {
            armed.cost = cost.map(Cost::from);
        }
        transitions
    });
}

/// Tells what happened on the device below `root`, as [`notice`] does.
///
/// # Errors
/// When it is not known what the device is.
pub fn notice_below(root: &Root) -> Result<(), Error> {
    let session = Session::open(root)?;
    let state = session.reconcile(state::read_if_possible(root));
    notice(&session, &state, None);
    Ok(())
}

/// Tells that a release is proven and waits.
pub fn tell_proven(session: &Session, release: &ReleaseName, cost: Option<&Tally>) {
    let from = session.held_running().map(|held| held.name.clone());
    let mut transition = Transition::new(Kind::Proven);
    (transition.from, transition.to) = (from, Some(release.clone()));
    transition.cost = cost.map(Cost::from);
    tell(&session.root, &session.config.telling, |_| vec![transition]);
}

/// Tells what went wrong with a look, or with the release that it found.
pub fn tell_trouble(root: &Root, telling: &Telling, class: Class, why: &str) {
    let kind = if class == Class::Install { Kind::InstallFailed } else { Kind::Trouble };
    tell(root, telling, |kept| {
        let mut transition = Transition::new(kind).because(class.word(), why);
        transition.from.clone_from(&kept.told.kept);
        vec![transition]
    });
}

/// Stores what `transitions` gives, numbered, and then tells it.
fn tell(root: &Root, telling: &Telling, transitions: impl FnOnce(&mut Kept) -> Vec<Transition>) {
    let boot = ThisBoot::read(root);
    let time = clock::synchronised(root);
    let is_posting = telling.url.is_some();
    let stored = change(root, |kept| {
        let mut numbered = Vec::new();
        for mut transition in transitions(kept) {
            (transition.time, transition.boot) = (time, boot.id.clone());
            transition.uptime_s = boot.uptime_s;
            numbered.push(kept.push(transition, is_posting));
        }
        if !is_posting {
            // A report that nobody wanted is not posted when somebody does.
            kept.posted = kept.count;
        }
        numbered
    });
    let numbered = match stored {
        Ok(numbered) => numbered,
        Err(cause) => {
            warn!(%cause, "what happened is told later");
            return;
        }
    };
    for transition in &numbered {
        let is_bad =
            matches!(transition.transition, Kind::FellBack | Kind::InstallFailed | Kind::Trouble);
        let priority = if is_bad { Priority::Warning } else { Priority::Notice };
        journal::say(root, priority, &transition.to_string(), &transition.fields("GYBE_"));
        hooks::tell(root, telling, transition);
    }
    if !numbered.is_empty() {
        metrics::write(root, telling);
    }
}

#[cfg(test)]
mod tests;
