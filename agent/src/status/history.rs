//! What happened in the last trial, in words.

use std::fmt;

use gybe_core::slot::Slot;

use super::Status;
use crate::evidence::{Attempt, Reached, Trial};
use crate::state::{CORRUPT, INTERRUPTED};

/// How many lines of what a check or the kernel said are shown; the JSON form has all that is kept.
const LINES_MAX: usize = 10;
/// Where the text of a line begins.
const INDENT: &str = "             ";

/// Shows how the device fell back, what is known of each attempt, and what follows from it.
pub(super) fn write(status: &Status, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(last) = &status.last_fallback else { return Ok(()) };
    let to = last.to.as_ref().map_or("an unknown release", |to| to.version.as_str());
    write!(f, "\nfell back    from {} to {to}: {}", last.from.version, last.reason)?;
    if let Some(tries) = last.tries {
        write!(f, " ({tries} tries given)")?;
    }
    let trial = status.trials.iter().find(|trial| trial.release.as_ref() == Some(&last.from));
    if let Some(trial) = trial {
        attempts(trial, f)?;
    }
    let follows = match (last.reason.as_str(), &status.interrupted) {
        (INTERRUPTED, Some(_)) => {
            "nothing was found wrong, which is how a power cut looks, and a panic that nothing \
             recorded:\n             it is armed again when the running system is healthy"
        }
        (CORRUPT, _) => "its slot was damaged since, so the next update writes it again",
        _ => return Ok(()),
    };
    write!(f, "\n{INDENT}{follows}")
}

fn attempts(trial: &Trial, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, attempt) in trial.attempts.iter().enumerate() {
        write!(f, "\nattempt {:<4} {}", index.saturating_add(1), Words(attempt))?;
    }
    let telling = trial.attempts.iter().rev().find(|attempt| attempt.fault.is_some());
    let Some(telling) = telling.or(trial.attempts.last()) else { return Ok(()) };
    for (who, said) in [("it said", &telling.output), ("the kernel", &telling.kernel)] {
        let lines: Vec<_> = said.iter().flat_map(|said| said.lines()).collect();
        let skipped = lines.len().saturating_sub(LINES_MAX);
        for (index, line) in lines.iter().skip(skipped).enumerate() {
            write!(f, "\n{:<12} {line}", if index == 0 { who } else { "" })?;
        }
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
