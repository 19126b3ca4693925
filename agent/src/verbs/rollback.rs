//! `gybe rollback`: back to the other slot, or away from what was armed.

use gybe_core::boot::BootState;
use gybe_core::slot::Slot;
use serde::Serialize;
use tracing::info;

use crate::cli::{Exit, Report};
use crate::error::Error;
use crate::output;
use crate::root::Root;
use crate::session::Session;
use crate::state::SlotText;

#[derive(Serialize)]
struct RolledBack {
    version: u8,
    done: Done,
    running: SlotText,
    next_boot: SlotText,
}

/// What a rollback came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    /// A release that was armed will not be tried.
    TrialCancelled,
    /// The release on trial is given up.
    TrialFailed,
    /// The other good slot is preferred from now on.
    Preferred,
    /// A rollback that waited for a reboot is taken back.
    TakenBack,
}

pub(super) fn run(root: &Root, report: Report) -> Result<Exit, Error> {
    let (mut session, mut memory) = Session::begin(root)?;
    let running = session.slots.running_slot().ok_or(Error::NoneRuns)?;
    let (boot, done) = roll_back(session.boot, running)?;
    session.store(boot)?;
    memory.update(|state| *state = session.reconcile(state.clone()));
    let next = boot.boot().stored.slot;
    info!(%running, %next, "rolled back");
    if report.json {
        let (running, next_boot) = (running.into(), next.into());
        output::json(&RolledBack { version: 1, done, running, next_boot });
    } else {
        output::data(match done {
            Done::TrialCancelled => format!("slot {} will not be tried", !running),
            Done::TrialFailed => format!("the trial of slot {running} is given up"),
            Done::Preferred => format!("slot {next} is preferred from now on"),
            Done::TakenBack => "the rollback that waited for a reboot is taken back".to_owned(),
        });
        output::data(format_args!("next boot: slot {next}"));
    }
    Ok(if next == running { Exit::Done } else { Exit::RebootNeeded })
}

fn roll_back(boot: BootState, running: Slot) -> Result<(BootState, Done), Error> {
    let other = !running;
    if boot.is_on_trial(other) {
        return Ok((boot.cancel_trial()?, Done::TrialCancelled));
    }
    if !boot.is_good(other) {
        return Err(Error::NoRollback { slot: other });
    }
    if boot.is_on_trial(running) {
        return Ok((boot.rollback(running)?, Done::TrialFailed));
    }
    if boot.order == other && boot.is_good(running) {
        return Ok((boot.prefer(running)?, Done::TakenBack));
    }
    Ok((boot.rollback(running)?, Done::Preferred))
}

#[cfg(test)]
mod tests {
    use gybe_core::boot::{Failed, Reason};

    use super::*;

    #[test]
    fn every_state_has_its_way_back() {
        let (a, b) = (Slot::A, Slot::B);
        let factory = BootState::factory(Some(a));
        assert!(matches!(roll_back(factory, a), Err(Error::NoRollback { slot: Slot::B })));

        let armed = factory.arm(b, 3).unwrap();
        assert_eq!(roll_back(armed, a).unwrap(), (factory, Done::TrialCancelled));

        let (given_up, done) = roll_back(armed, b).unwrap();
        assert_eq!((given_up.order, given_up.trial, done), (a, None, Done::TrialFailed));
        assert_eq!(given_up.failed, Some(Failed { slot: b, reason: Reason::Operator }));

        let both = armed.commit(b).unwrap();
        let (back, done) = roll_back(both, b).unwrap();
        assert_eq!((back.order, done), (a, Done::Preferred));
        assert_eq!(roll_back(back, b).unwrap(), (both, Done::TakenBack));
    }
}
