//! Everything that is decided on, as the device shows it.

use std::fmt;

use super::inhibit;
use super::kept::{Kept, Outcome};
use super::machine::{Action, Facts, Phase, Rhythm, Why, decide};
use super::powered::Now;
use crate::config::pull::Clock;
use crate::config::{Pull, Telling};
use crate::device::clock;
use crate::device::local_time::LocalTime;
use crate::error::Error;
use crate::root::Root;
use crate::seed;
use crate::session::Session;
use crate::state::{ReleaseName, State, read_if_possible};
use crate::window::Look;

/// What the device shows.
#[derive(Clone, Debug)]
pub struct Situation {
    /// What is configured about looks.
    pub pull: Pull,
    /// Who is told.
    pub telling: Telling,
    /// By every clock.
    pub now: Now,
    /// Whether a window is open.
    pub look: Look,
    /// In which phase of an update it is.
    pub phase: Phase,
    /// What is armed.
    pub armed: Option<ReleaseName>,
    /// The device's own number.
    pub spread: u64,
}

impl Situation {
    /// Looks at the device below `root`, of which `kept` is remembered.
    ///
    /// # Errors
    /// When it is not known what the device is, or what it boots.
    pub fn see(root: &Root, kept: &Kept) -> Result<Self, Error> {
        let session = Session::open(root)?;
        let state = session.reconcile(read_if_possible(root));
        let now = Now::read(root, &kept.powered);
        let (pull, telling) = (session.config.pull.clone(), session.config.telling.clone());
        let look = pull.windows.look(wall(&session).and_then(LocalTime::at));
        let phase = phase(&session, &state, kept, &now);
        let spread = seed::spread(root, &pull, &now.boot);
        let armed = state.armed.map(|armed| armed.release);
        Ok(Self { pull, telling, now, look, phase, armed, spread })
    }

    /// What to do next. Inhibitors are asked only where somebody could mind.
    #[must_use]
    pub fn decide(&self, root: &Root, rhythm: Rhythm, kept: &Kept) -> (Action, Option<String>) {
        let inhibitor = (self.phase == Phase::Armed).then(|| inhibit::held_by(root)).flatten();
        let facts = Facts {
            now: &self.now,
            rhythm,
            pull: &self.pull,
            kept,
            look: self.look,
            phase: self.phase,
            is_inhibited: inhibitor.is_some(),
            spread: self.spread,
        };
        (decide(&facts), inhibitor)
    }

    /// What is waited for, in words.
    #[must_use]
    pub fn words(&self, why: Why, inhibitor: Option<String>) -> String {
        match why {
            Why::Trial => "the end of the trial that runs".to_owned(),
            Why::Interval => "the next look".to_owned(),
            Why::Pause(class) => format!("the end of a pause, because of {}", class.word()),
            Why::Window => self.look.to_string(),
            Why::Inhibitor => format!("a reboot is held by {}", inhibitor.unwrap_or_default()),
        }
    }
}

/// Seconds since 1970, as far as they are believed about windows.
fn wall(session: &Session) -> Option<u64> {
    match session.config.pull.clock {
        Clock::Synchronised => clock::synchronised(&session.root),
        // A clock that is before the seal of what runs has lost its battery. What is not a time, as in
        // releases that count their sequence from 1, says nothing.
        Clock::Rtc => {
            let sealed = session.held_running().map_or(0, |held| held.sequence);
            clock::now().filter(|&now| now >= sealed)
        }
    }
}

/// Whether what runs is a trial.
#[must_use]
pub fn is_trial(session: &Session) -> bool {
    session.slots.running_slot().is_some_and(|running| !session.boot.is_good(running))
}

fn phase(session: &Session, state: &State, kept: &Kept, now: &Now) -> Phase {
    if is_trial(session) {
        return Phase::Trial;
    }
    let running = session.slots.running_slot();
    if session.boot.trial.is_none_or(|trial| Some(trial.slot) == running) {
        return Phase::Settled;
    }
    let is_ours = state.armed.as_ref().zip(kept.armed.as_ref()).is_some_and(|(armed, ours)| {
        armed.release.digest == ours.release && ours.boot == now.boot.id
    });
    if is_ours { Phase::Armed } else { Phase::ArmedElsewhere }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(why) => write!(f, "no update available: {why}"),
            Self::Waits(waiting) => write!(f, "{} waits: {}", waiting.release.version, waiting.why),
            Self::Armed(release) => {
                write!(f, "{} is armed: the next boot tries it", release.version)
            }
            Self::Trouble(class, why) => write!(f, "{}: {why}", class.word()),
        }
    }
}
