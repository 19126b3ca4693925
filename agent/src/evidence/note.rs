//! Noting what happens in a trial, as it happens.

use gybe_core::slot::Slot;

use super::{
    Attempt, CRASHES_MAX, Evidence, Fault, KERNEL_LEN_MAX, OUTPUT_LEN_MAX, Reached, Tail, Trial,
    change, crashes, watchdog_reset,
};
use crate::device::cmdline::CommandLine;
use crate::device::this_boot::ThisBoot;
use crate::root::Root;
use crate::state::ReleaseName;
use crate::two_areas::FileError;

/// What is to be noted of this boot. A later note takes nothing back: only what it has is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// How far it came.
    pub reached: Option<Reached>,
    /// The check that runs, or failed.
    pub check: Option<String>,
    /// What is wrong with the release.
    pub fault: Option<Fault>,
    /// What was said about it; its end is kept.
    pub output: Option<String>,
    /// The end of what the kernel said.
    pub kernel: Option<String>,
    /// What is tried, where the one who notes knows.
    pub release: Option<ReleaseName>,
}

impl Note {
    /// That this boot came so far.
    #[must_use]
    pub fn reached(reached: Reached) -> Self {
        Self { reached: Some(reached), ..Self::default() }
    }

    /// That the release has this fault, and what was said about it.
    #[must_use]
    pub fn fault(fault: Fault, output: impl Into<String>) -> Self {
        Self { fault: Some(fault), output: Some(output.into()), ..Self::default() }
    }
}

/// Notes something of this boot, if `line` says that it is a trial; else does nothing. `kept` is where
/// `/var/lib/gybe` lies: in an initramfs the folder where the root is mounted.
///
/// It is durable when this returns. A power cut before leaves the attempt as it was noted last.
///
/// # Errors
/// When the evidence cannot be stored, which is no reason not to go on.
pub fn note_boot(
    kept: &Root,
    boot: &ThisBoot,
    line: &CommandLine,
    note: Note,
) -> Result<(), FileError> {
    let (true, Some(slot)) = (line.trial, line.slot) else { return Ok(()) };
    change(kept, |evidence| {
        let trial = evidence.going_on(slot, line.root_hash, boot);
        if trial.release.is_none() {
            trial.release.clone_from(&note.release);
        }
        let attempt = trial.attempt(boot);
        (attempt.uptime_s, attempt.time) = (boot.uptime_s, boot.time);
        if let Some(reached) = note.reached {
            attempt.reached = attempt.reached.max(reached);
        }
        let bounded = |text: &str, limit| {
            let mut tail = Tail::new(limit);
            tail.push(text.as_bytes());
            Some(tail.text()).filter(|text| !text.is_empty())
        };
        if note.check.is_some() {
            attempt.check.clone_from(&note.check);
        }
        attempt.fault = note.fault.or(attempt.fault);
        if let Some(output) = &note.output {
            attempt.output = bounded(output, OUTPUT_LEN_MAX);
        }
        if let Some(kernel) = &note.kernel {
            attempt.kernel = bounded(kernel, KERNEL_LEN_MAX);
        }
    })?;
    Ok(())
}

/// Announces `trial`, just before it is armed, with the crashes that are nobody's fault. A power cut
/// after it leaves a trial without attempts, which says nothing.
///
/// # Errors
/// When the evidence cannot be stored, which is no reason not to arm.
pub fn begin_trial(root: &Root, mut trial: Trial) -> Result<(), FileError> {
    trial.known_crashes = crashes(root).into_iter().map(|crash| crash.id).collect();
    change(root, |evidence| evidence.begin(trial))?;
    Ok(())
}

/// Looks for what the last attempt in `slot` could not note itself: a panic in pstore, a reset by the
/// watchdog. To be called once a boot, before what happened is judged. `boot` is the boot that looks.
///
/// # Errors
/// When the evidence cannot be read or stored.
pub fn look_back(root: &Root, boot: &ThisBoot, slot: Slot) -> Result<Evidence, FileError> {
    let (mut found, was_reset) = (crashes(root), watchdog_reset(root));
    change(root, |evidence| {
        let newest = evidence.trials.first_mut();
        let Some(trial) = newest.filter(|trial| Slot::from(trial.slot) == slot) else { return };
        found.retain(|crash| !trial.known_crashes.contains(&crash.id));
        trial.known_crashes.extend(found.iter().map(|crash| crash.id.clone()));
        let spare = trial.known_crashes.len().saturating_sub(CRASHES_MAX);
        trial.known_crashes.drain(..spare);
        let (fault, kernel) = match found.into_iter().next() {
            Some(crash) => (Fault::Panic, Some(crash.text)),
            None if was_reset => (Fault::Watchdog, None),
            None => return,
        };
        let is_heard = !trial.attempts.is_empty();
        let mut latest_first = trial.attempts.iter_mut().rev();
        match latest_first.find(|attempt| !attempt.is_of(boot)) {
            // What it noted itself is nearer to the cause than how it ended.
            Some(attempt) if attempt.fault.is_none() && attempt.reached < Reached::Committed => {
                attempt.fault = Some(fault);
                attempt.kernel = kernel.or(attempt.kernel.take());
            }
            Some(attempt) => attempt.kernel = attempt.kernel.take().or(kernel),
            // Before the first attempt something else ran, and that may have hung while it ended.
            None if fault == Fault::Watchdog && is_heard => {}
            None => {
                let unheard = Attempt::new(&ThisBoot::default());
                trial.attempts.insert(0, Attempt { fault: Some(fault), kernel, ..unheard });
            }
        }
    })
}
