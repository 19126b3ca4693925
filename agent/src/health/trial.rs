//! A trial: its end, one way or the other.

use std::thread;
use std::time::{Duration, Instant};

use gybe_core::boot::{Reason, Trial};
use gybe_core::slot::Slot;
use tracing::{error, info, warn};

use super::checks::Checks;
use super::watchdog::Watchdog;
use super::{Context, Failure, Report};
use crate::commit::commit;
use crate::config::Config;
use crate::config::health::Health;
use crate::device::reboot::{Reboot, reboot};
use crate::error::Error;
use crate::evidence::{self, Fault, Note, Reached, kernel_log};
use crate::session::{Memory, Session};
use crate::state::{self, StateError};
use crate::two_areas::FileError;

/// How long another command at work is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Checks a trial, and keeps the slot or gives this attempt up.
pub(super) fn run(context: &Context, session: Session, trial: Trial) -> Result<Report, Error> {
    let health = session.config.health.clone();
    let (mut watchdog, watchdog_text) = match Watchdog::arm(&context.root, &health) {
        Ok(watchdog) => {
            let text = watchdog.path().display().to_string();
            (Some(watchdog), text)
        }
        Err(why) => {
            // Where systemd holds it that is as it should be, and elsewhere gybe doctor complains.
            info!(%why, "no watchdog is armed for this trial");
            (None, why.to_string())
        }
    };
    let held = session.held.of(trial.slot).as_ref().ok();
    let release = held.map(|held| held.name.clone());
    let note = Note { release, ..Note::reached(Reached::Started) };
    context.note(note);
    if let Err(cause) = evidence::look_back(&context.root, &context.boot, trial.slot) {
        warn!(%cause, "what ended the last attempt is not known");
    }
    let attempt = attempt(context, &session.config, trial);
    // The environment is read again when the checks are done: an operator may have been quicker.
    drop(session);
    let mut checks = Checks::new(context, &health, Some(trial.tries_left), attempt);
    let mut begins = |check: &str| {
        let check = Some(check.to_owned());
        context.note(Note { check, ..Note::reached(Reached::Checking) });
    };
    let mut failure = checks.run(watchdog.as_mut(), &mut begins);
    let mut committed = false;
    if failure.is_none() {
        context.note(Note::reached(Reached::Healthy));
        match keep(context, watchdog.as_mut()) {
            Ok(changed) => committed = changed,
            Err(cause) => failure = Some(not_kept(&cause)),
        }
    }
    if let Some(failure) = &failure {
        error!(slot = %trial.slot, attempt, %failure, "unhealthy, the attempt is given up");
        give_up(context, trial.slot, failure, watchdog.as_mut());
    } else {
        // The slot is Good: from here on nothing may reset the machine.
        if let Some(watchdog) = watchdog.take() {
            watchdog.stand_down();
        }
    }
    checks.colour(failure.is_none(), watchdog.as_mut());
    let must_reboot = failure.is_some();
    let mut report = Report::new(trial.slot, checks, failure);
    (report.trial, report.attempt, report.committed) = (true, Some(attempt), committed);
    report.watchdog = Some(watchdog_text);
    report.reboot = must_reboot;
    if must_reboot {
        report.keep(&context.root);
        restart(context, watchdog)?;
    }
    Ok(report)
}

/// Which attempt this is, from 1.
fn attempt(context: &Context, config: &Config, trial: Trial) -> u8 {
    let armed = state::read_if_possible(&context.root).armed;
    let tries = armed.map_or(config.tries, |armed| armed.tries);
    tries.saturating_sub(trial.tries_left).max(1)
}

/// Commits what runs, once no other command is at work.
fn keep(context: &Context, watchdog: Option<&mut Watchdog>) -> Result<bool, Error> {
    let (mut session, mut memory) = begin(context, watchdog)?;
    Ok(commit(&mut session, &mut memory)?.changed)
}

/// Waits for other commands to end, which is no reason to give a trial up.
fn begin(
    context: &Context,
    mut watchdog: Option<&mut Watchdog>,
) -> Result<(Session, Memory), Error> {
    let start = Instant::now();
    loop {
        match Session::begin(&context.root) {
            Err(Error::State(StateError::File(FileError::Held { .. })))
                if start.elapsed() < PATIENCE =>
            {
                if let Some(watchdog) = &mut watchdog {
                    watchdog.feed();
                }
                thread::sleep(PAUSE);
            }
            begun => return begun,
        }
    }
}

/// A healthy system that is not kept. Only what the slot holds is the release's fault.
fn not_kept(cause: &Error) -> Failure {
    let fault = matches!(cause, Error::Commit(_)).then_some(Fault::Health);
    Failure { check: "commit".to_owned(), fault, why: cause.to_string(), output: cause.to_string() }
}

/// Stores the evidence; then, at the last try, that the slot has failed, so that the loader needs no
/// further boot to find out. Tries that are left are kept: the next attempt may succeed.
fn give_up(context: &Context, slot: Slot, failure: &Failure, watchdog: Option<&mut Watchdog>) {
    context.note(Note {
        check: Some(failure.check.clone()),
        fault: failure.fault,
        output: Some(format!("{}\n{}", failure.output, failure.why).trim().to_owned()),
        kernel: kernel_log(&context.root),
        ..Note::default()
    });
    let Some(fault) = failure.fault else { return };
    if let Err(cause) = fail_last_try(context, slot, fault, watchdog) {
        // The loader sees by itself that no try is left, and the evidence says why.
        warn!(%cause, "the boot environment does not say yet that the slot failed");
    }
}

fn fail_last_try(
    context: &Context,
    slot: Slot,
    fault: Fault,
    watchdog: Option<&mut Watchdog>,
) -> Result<(), Error> {
    let (mut session, mut memory) = begin(context, watchdog)?;
    let is_last = session.boot.trial.is_some_and(|it| it.slot == slot && it.tries_left == 0);
    if let (true, Some(reason)) = (is_last, Reason::from_word(fault.word())) {
        let failed = session.boot.fail(slot, reason)?;
        session.store(failed)?;
        info!(%slot, %reason, "the last try has failed");
        memory.update(|state| *state = session.reconcile(state.clone()));
    }
    Ok(())
}

/// Ends a trial that cannot even be looked at. What is wrong with its own files is its fault.
pub(super) fn without_a_session(context: &Context, cause: &Error) -> Result<(), Error> {
    let own = matches!(cause, Error::Config(_) | Error::Trust(_));
    let (check, why) = ("gybe health".to_owned(), cause.to_string());
    let fault = own.then_some(Fault::Health);
    let failure = Failure { check, fault, output: String::new(), why };
    if let Some(slot) = context.line.slot {
        give_up(context, slot, &failure, None);
    }
    Checks::new(context, &Health::default(), None, 1).colour(false, None);
    restart(context, None)
}

/// Ends a trial of which the environment does not know.
pub(super) fn void(context: &Context, running: Slot) -> Result<Report, Error> {
    let why = "the boot environment lost the trial, so it cannot be committed".to_owned();
    error!(slot = %running, "{why}");
    let check = "gybe health".to_owned();
    let failure = Failure { check, fault: None, output: String::new(), why };
    give_up(context, running, &failure, None);
    let mut checks = Checks::new(context, &Health::default(), None, 1);
    checks.colour(false, None);
    let mut report = Report::new(running, checks, Some(failure));
    (report.trial, report.reboot) = (true, true);
    report.keep(&context.root);
    restart(context, None)?;
    Ok(report)
}

/// Gives up the trial that runs, because `failure` was seen from outside of [`run`]; nothing is done if
/// it is over. What was noted of this boot before is nearer to the cause.
pub(super) fn end(context: &Context, failure: &Failure) -> Result<bool, Error> {
    if !context.may_be_on_trial() {
        return Ok(false);
    }
    let slot = match Session::open(&context.root) {
        Ok(session) => {
            let running = session.slots.running_slot();
            match running.filter(|&slot| session.boot.is_on_trial(slot)) {
                Some(slot) => slot,
                None => return Ok(false),
            }
        }
        Err(cause) => {
            without_a_session(context, &cause)?;
            return Ok(true);
        }
    };
    let known = evidence::read_if_possible(&context.root);
    let last = known.trials.first().and_then(|trial| trial.attempts.last());
    let has_fault = last.is_some_and(|last| last.is_of(&context.boot) && last.fault.is_some());
    if !has_fault {
        error!(%slot, %failure, "the attempt is given up");
        give_up(context, slot, failure, None);
    }
    restart(context, None)?;
    Ok(true)
}

fn restart(context: &Context, watchdog: Option<Watchdog>) -> Result<(), Error> {
    match reboot(&context.root) {
        Ok(Reboot::Comes | Reboot::BelowFolder) => {
            if let Some(watchdog) = watchdog {
                watchdog.leave();
            }
            Ok(())
        }
        // The watchdog is closed without a word, and does what we could not.
        Err(cause) => Err(Error::Reboot { cause }),
    }
}
