//! Is the system healthy? On trial the answer decides whether it is kept.
//!
//! ```text
//!            note: started ─▶ arm watchdog ─▶ required checks ─▶ wanted checks ─▶ commit ─▶ green
//! on trial                                        │ failed, or not in time           │ refused
//!                                                 ▼                                  ▼
//!            evidence stored ─▶ last try? environment: Failed ─▶ red ─▶ reboot
//!
//! else       required ─▶ wanted ─▶ green, or red and exit 1 ─▶ what was interrupted is armed again
//! ```
//!
//! A power cut on trial: before the evidence is stored the attempt counts as interrupted; after it, the
//! release is known to be at fault, whatever the environment says; after the environment was
//! written, the next boot loads the other slot. Every step may be done again.
//!
//! An unhealthy system that is not on trial keeps running: nobody knows a better one. It says so, runs
//! the red scripts, and `boot-complete.target` is not reached.

pub mod compat;
pub mod conf;
pub mod guard;
pub mod report;
pub mod run;
pub mod scripts;
pub mod watchdog;

mod checks;
mod settle;
mod trial;

use gybe_core::boot::SlotState;
use gybe_core::slot::Slot;
use tracing::{error, info, warn};

use crate::device::cmdline::CommandLine;
use crate::device::slots;
use crate::device::this_boot::ThisBoot;
use crate::error::Error;
use crate::evidence::{self, Attempt, Fault, Note, Reached, note_boot};
use crate::root::Root;
use crate::session::Session;
use checks::Checks;
pub use report::Report;
pub use settle::Settled;

/// One boot in which health is checked.
#[derive(Debug)]
struct Context {
    root: Root,
    line: CommandLine,
    boot: ThisBoot,
}

impl Context {
    fn new(root: &Root) -> Result<Self, Error> {
        let line = slots::command_line(root)?;
        Ok(Self { root: root.clone(), line, boot: ThisBoot::read(root) })
    }

    /// Whether this boot is a trial that is not known to be over. The kernel's command line says that it
    /// is one until the next boot.
    fn may_be_on_trial(&self) -> bool {
        let evidence = evidence::read_if_possible(&self.root);
        let last = evidence.trials.first().and_then(|trial| trial.attempts.last());
        let committed =
            |last: &Attempt| last.reached == Reached::Committed && last.is_of(&self.boot);
        let is_over = last.is_some_and(committed);
        self.line.trial && !is_over
    }

    /// Notes something of this attempt. What cannot be noted is missed later, and stops nothing now.
    fn note(&self, note: Note) {
        // Read anew: how long the machine runs changes.
        let boot = ThisBoot { id: self.boot.id.clone(), ..ThisBoot::read(&self.root) };
        if let Err(cause) = note_boot(&self.root, &boot, &self.line, note) {
            warn!(%cause, "there will be no evidence of this");
        }
    }
}

/// Checks the system below `root`, and does what follows.
///
/// # Errors
/// When it is not known what runs, so that nothing can be checked. On trial that was the end of the
/// attempt.
pub fn check(root: &Root) -> Result<Report, Error> {
    let context = Context::new(root)?;
    // Before anything that can fail: an attempt of which nothing is known is one that was interrupted.
    if context.may_be_on_trial() {
        context.note(Note::reached(Reached::Started));
    }
    let session = match Session::open(root) {
        Ok(session) => session,
        Err(cause) if context.may_be_on_trial() => {
            error!(%cause, "the trial is given up, because it cannot be checked");
            trial::without_a_session(&context, &cause)?;
            return Err(cause);
        }
        Err(cause) => return Err(cause),
    };
    let running = session.slots.running_slot().ok_or(Error::NoneRuns)?;
    let report = match (session.boot.slot_state(running), session.boot.trial) {
        (SlotState::Trial { .. }, Some(trial)) => trial::run(&context, session, trial)?,
        // The loader counted a try, and since then the environment was lost: nothing can be committed.
        (SlotState::Unbootable, _) if context.line.trial => trial::void(&context, running)?,
        _ => kept(&context, session, running),
    };
    report.keep(root);
    Ok(report)
}

/// The system is not on trial.
fn kept(context: &Context, session: Session, running: Slot) -> Report {
    let mut checks = Checks::new(context, &session.config.health, None, 1);
    let failure = checks.run(None, &mut |_| {});
    let is_good = session.boot.is_good(running);
    if let Some(failed) = session.boot.failed.filter(|failed| failed.slot != running) {
        // In greenboot's words, by which logs are searched.
        warn!(slot = %failed.slot, reason = %failed.reason, "FALLBACK BOOT DETECTED!");
    }
    drop(session);
    checks.colour(failure.is_none(), None);
    let mut report = Report::new(running, checks, failure);
    // An unhealthy system arms nothing: what is wrong with it may be wrong with any.
    if report.healthy && is_good {
        match settle::settle(context) {
            Ok(settled) => report.settled = settled,
            Err(cause) => warn!(%cause, "an interrupted release waits for the next boot"),
        }
    }
    match &report.failure {
        None => info!(slot = %running, "healthy"),
        Some(failure) => error!(slot = %running, %failure, "unhealthy, and it runs on"),
    }
    report
}

/// What was wrong, of which kind, and what was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    check: String,
    fault: Option<Fault>,
    why: String,
    output: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.check, self.why)
    }
}
