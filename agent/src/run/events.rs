//! What the daemon does, as lines of JSON.

use serde::Serialize;

use super::kept::Outcome;
use crate::output;
use crate::state::ReleaseName;
use crate::transitions::Transition;

/// Version of the JSON form.
const VERSION: u8 = 1;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// The daemon is up.
    Started,
    /// It looked at the tracked reference.
    Look {
        /// What came of it: `nothing`, `waits`, `armed` or `trouble`.
        outcome: &'static str,
        /// The release that it is about.
        release: Option<&'a ReleaseName>,
        /// The class of trouble.
        class: Option<&'static str>,
        /// In words.
        why: String,
    },
    /// A release changed its state.
    Transition(&'a Transition),
    /// It waits.
    Wait {
        /// For so many seconds at most.
        for_s: u64,
        /// What for.
        why: &'a str,
    },
    /// It reboots.
    Reboot {
        /// Into which release.
        release: Option<&'a ReleaseName>,
    },
    /// The daemon ends.
    Stopping,
}

#[derive(Serialize)]
struct Line<'a> {
    version: u8,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl<'a> Event<'a> {
    /// What came of a look.
    #[must_use]
    pub fn look(outcome: &'a Outcome) -> Self {
        let (word, release, class) = match outcome {
            Outcome::Nothing(_) => ("nothing", None, None),
            Outcome::Waits(waiting) => ("waits", Some(&waiting.release), None),
            Outcome::Armed(release) => ("armed", Some(release), None),
            Outcome::Trouble(class, _) => ("trouble", None, Some(class.word())),
        };
        Self::Look { outcome: word, release, class, why: outcome.to_string() }
    }

    /// Prints it on a line.
    pub fn print(&self) {
        output::json(&Line { version: VERSION, event: self });
    }
}
