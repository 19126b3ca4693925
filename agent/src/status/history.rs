//! What happened in the last trial, in words.

use std::fmt;

use gybe_core::slot::Slot;
use serde::Serialize;

use super::Status;
use crate::evidence::{Attempt, Reached, Trial};
use crate::state::{CORRUPT, Fallback, INTERRUPTED};

/// How many lines of what a check or the kernel said are shown; the JSON form has all that is kept.
const LINES_MAX: usize = 10;
/// Where the text of a line begins.
const INDENT: &str = "             ";

/// A fallback, and what is known of the attempts before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FellBack {
    /// From what to what, and why.
    #[serde(flatten)]
    pub fallback: Fallback,
    /// Which of the attempts, from 1, says most about the reason: the last one with a fault.
    pub failed_attempt: Option<usize>,
    /// Every attempt, oldest first, of which something was kept.
    pub attempts: Vec<Attempt>,
}

impl FellBack {
    /// Finds the attempts in `trials`, which are ordered newest first.
    #[must_use]
    pub fn new(fallback: Fallback, trials: &[Trial]) -> Self {
        let trial = trials.iter().find(|trial| trial.release.as_ref() == Some(&fallback.from));
        let attempts = trial.map(|trial| trial.attempts.clone()).unwrap_or_default();
        let last = attempts.iter().rposition(|attempt| attempt.fault.is_some());
        let failed_attempt = last.map(|index| index.saturating_add(1));
        Self { fallback, failed_attempt, attempts }
    }

    fn telling(&self) -> Option<&Attempt> {
        let index = self.failed_attempt.unwrap_or(self.attempts.len()).checked_sub(1)?;
        self.attempts.get(index)
    }
}

/// Shows how the device fell back, what is known of each attempt, and what follows from it.
pub(super) fn write(status: &Status, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(last) = &status.last_fallback else { return Ok(()) };
    let Fallback { from, to, reason, tries, .. } = &last.fallback;
    let to = to.as_ref().map_or("an unknown release", |to| to.version.as_str());
    write!(f, "\nfell back    from {} to {to}: {reason}", from.version)?;
    if let Some(tries) = tries {
        write!(f, " ({tries} tries given)")?;
    }
    for (index, attempt) in last.attempts.iter().enumerate() {
        write!(f, "\nattempt {:<4} {}", index.saturating_add(1), Words(attempt))?;
    }
    if let Some(telling) = last.telling() {
        said("it said", telling.output.as_deref(), f)?;
        said("the kernel", telling.kernel.as_deref(), f)?;
    }
    let follows = match (reason.as_str(), &status.interrupted) {
        (INTERRUPTED, Some(_)) => {
            "nothing was found wrong, which is how a power cut looks, and a panic that nothing \
             recorded:\n             it is armed again when the running system is healthy"
        }
        (CORRUPT, _) => "its slot was damaged since, so the next update writes it again",
        _ => return Ok(()),
    };
    write!(f, "\n{INDENT}{follows}")
}

/// Shows the end of what somebody said.
fn said(who: &str, text: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let lines: Vec<_> = text.iter().flat_map(|text| text.lines()).collect();
    let skipped = lines.len().saturating_sub(LINES_MAX);
    for (index, line) in lines.iter().skip(skipped).enumerate() {
        write!(f, "\n{:<12} {line}", if index == 0 { who } else { "" })?;
    }
    Ok(())
}

/// One attempt in words.
struct Words<'a>(&'a Attempt);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(attempt) = self;
        let check = attempt.check.as_deref();
        match (attempt.fault, check) {
            (Some(fault), Some(check)) => return write!(f, "{}: {check}", fault.word()),
            (Some(fault), None) => return f.write_str(fault.word()),
            (None, _) => {}
        }
        match (attempt.reached, check) {
            (Reached::Kernel, _) => f.write_str("nothing was heard of it"),
            (Reached::Initramfs, _) => f.write_str("ended in the initramfs"),
            (Reached::Checking, Some(check)) => write!(f, "ended while {check} ran"),
            (Reached::Started | Reached::Checking, _) => f.write_str("ended before the checks did"),
            (Reached::Healthy, _) => f.write_str("healthy, and ended before it was committed"),
            (Reached::Committed, _) => f.write_str("committed"),
        }
    }
}

/// The health of what runs, in words.
pub(super) fn write_health(status: &Status, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for problem in &status.problems {
        write!(f, "\nproblem      {problem}")?;
    }
    let Some(health) = &status.health else { return Ok(()) };
    let slot = Slot::from(health.slot);
    match &health.failure {
        None => write!(f, "\nhealth       slot {slot} is healthy"),
        Some(failure) => write!(f, "\nhealth       slot {slot} is unhealthy: {failure}"),
    }
}
