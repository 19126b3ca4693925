//! How releases are taken without anybody asking, in words and as JSON.

use std::fmt;

use serde::Serialize;

use crate::root::Root;
use crate::run::Situation;
use crate::run::kept::{self, Moment, Trouble, Waiting};
use crate::run::machine::{Action, Rhythm};
use crate::transitions::{self, Transition};

/// How many of the last transitions are shown.
const TRANSITIONS_MAX: usize = 8;

/// What `gybe status` says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullStatus {
    /// When the tracked reference was last looked at.
    pub last_look: Option<Moment>,
    /// When that last went well.
    pub last_success: Option<Moment>,
    /// In how many seconds the daemon looks again, or looks whether it may reboot.
    pub next_in_s: Option<u64>,
    /// What is waited for.
    pub waits_for: Option<String>,
    /// What is wrong.
    pub trouble: Option<Trouble>,
    /// A release that is not taken or not armed yet.
    pub waiting: Option<Waiting>,
    /// What may still be fetched.
    pub budget: Option<Budget>,
    /// How many looks there were.
    pub looks: u64,
    /// How many bytes they fetched.
    pub fetched_bytes: u64,
    /// Reports that wait to be posted.
    pub reports_waiting: usize,
    /// Reports that were lost.
    pub reports_dropped: u64,
    /// The last transitions, newest first.
    pub transitions: Vec<Transition>,
}

/// What may still be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Of how many bytes in each period.
    pub bytes: u64,
    /// How many are left.
    pub left_bytes: u64,
    /// In how many seconds the next period begins.
    pub period_left_s: u64,
}

impl PullStatus {
    /// Looks at what is remembered below `root`, and at the device as far as that can be known.
    #[must_use]
    pub fn look(root: &Root) -> Self {
        let kept = kept::read_if_possible(root);
        let situation = Situation::see(root, &kept).ok();
        let next = situation.as_ref().map(|situation| {
            let (action, inhibitor) = situation.decide(root, Rhythm::Interval, &kept);
            match action {
                Action::Wait { for_s, why } => (for_s, situation.words(why, inhibitor)),
                Action::Look { .. } => (0, "the next look".to_owned()),
                Action::Reboot => (0, "the reboot".to_owned()),
            }
        });
        let budget = situation.as_ref().and_then(|situation| {
            let (bytes, period_s) = (situation.pull.budget_bytes?, situation.pull.budget_period_s);
            let now = situation.now.moment;
            let left_bytes = kept.left(bytes, period_s, now);
            Some(Budget { bytes, left_bytes, period_left_s: kept.period_left_s(period_s, now) })
        });
        let told = transitions::read_if_possible(root);
        let (next_in_s, waits_for) = next.unzip();
        Self {
            last_look: kept.last_look,
            last_success: kept.last_success,
            next_in_s,
            waits_for,
            trouble: kept.trouble,
            waiting: kept.waiting,
            budget,
            looks: kept.looks,
            fetched_bytes: kept.fetched_bytes,
            reports_waiting: told.waiting(),
            reports_dropped: told.dropped,
            transitions: told.ring.into_iter().rev().take(TRANSITIONS_MAX).collect(),
        }
    }
}

/// Says what a person should know; where nobody ever looked, nothing.
impl fmt::Display for PullStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Trouble { class, count, why, .. }) = &self.trouble {
            write!(f, "\ntrouble      {} ({count} in a row): {why}", class.word())?;
        }
        if let Some(Waiting { release, why, .. }) = &self.waiting {
            write!(f, "\nwaiting      {}: {why}", release.version)?;
        }
        if let Some(Budget { bytes, left_bytes, .. }) = &self.budget {
            write!(f, "\nbudget       {left_bytes} of {bytes} bytes left")?;
        }
        if self.reports_waiting > 0 || self.reports_dropped > 0 {
            let (waiting, dropped) = (self.reports_waiting, self.reports_dropped);
            write!(f, "\nreports      {waiting} wait for the endpoint, {dropped} were lost")?;
        }
        Ok(())
    }
}
