//! Bringing what is remembered in line with what the device shows.

use gybe_core::boot::{BootState, Reason};
use gybe_core::slot::{PerSlot, Slot};

use super::{Armed, Fallback, INTERRUPTED, REARMED_MAX, ReleaseName, SlotText, State};
use crate::evidence::{Evidence, Fault};

/// What the device shows at the start of every command.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The boot environment.
    pub boot: &'a BootState,
    /// The slot that runs.
    pub running: Option<Slot>,
    /// What the slots' trailers say they hold.
    pub releases: &'a PerSlot<Option<ReleaseName>>,
    /// What happened in trials.
    pub evidence: &'a Evidence,
}

/// What to remember from now on. The environment and the trailers are right; what was remembered
/// only adds what they have no room for. Doing it twice is doing it once.
#[must_use]
pub fn reconcile(mut state: State, seen: &Seen<'_>) -> State {
    if let Some(failed) = seen.boot.failed
        && let Some(from) = release_of(&state, seen, failed.slot)
    {
        let armed = state.armed.take_if(|armed| armed.release == from);
        // Tries are spent in trials only, and those are armed: without that the story is known.
        let known = state.last_fallback.as_ref().is_some_and(|last| {
            last.from == from
                && (failed.reason == Reason::Tries || last.reason == failed.reason.word())
        });
        if armed.is_some() || !known {
            // A release that is given up while it runs leads to what boots next.
            let to = [seen.running, Some(seen.boot.order)];
            let to = to.into_iter().flatten().find(|&slot| slot != failed.slot);
            let to = to.and_then(|slot| seen.releases.of(slot).clone());
            let (tries, slot) = (armed.as_ref().map(|armed| armed.tries), failed.slot.into());
            let rearmed = armed.as_ref().map_or(0, |armed| armed.rearmed);
            let reason =
                match judge(failed.reason, armed.as_ref(), seen.evidence.fault_of(from.digest.0)) {
                    Verdict::Condemned(reason) => {
                        state.condemn(from.clone(), reason.clone());
                        reason
                    }
                    Verdict::Interrupted => {
                        state.interrupted = armed;
                        INTERRUPTED.to_owned()
                    }
                    Verdict::Damaged(reason) => reason,
                };
            state.last_fallback = Some(Fallback { from, to, slot, reason, tries, rearmed });
        }
    }
    // An armed release whose trial is over, one way or the other, has met its fate.
    state.armed.take_if(|armed| !seen.boot.is_on_trial(armed.slot.into()));
    // An interrupted one waits as long as its failure is recorded. Its fault may be found later.
    let is_recorded =
        |slot: SlotText| seen.boot.failed.is_some_and(|failed| failed.slot == Slot::from(slot));
    state.interrupted.take_if(|interrupted| !is_recorded(interrupted.slot));
    let fault = |waiting: &Armed| seen.evidence.fault_of(waiting.release.digest.0);
    if let Some(fault) = state.interrupted.as_ref().and_then(fault)
        && let Some(Armed { release, .. }) = state.interrupted.take()
    {
        state.condemn(release, fault.word().to_owned());
    }
    state
}

enum Verdict {
    /// It is not taken again, for this reason.
    Condemned(String),
    /// Nothing is known against it, so it may have met a power cut, or panicked where nobody saw.
    Interrupted,
    /// Its slot was damaged after it had been kept, which is no fault of its.
    Damaged(String),
}

/// Whether a release is to blame for what the boot environment recorded.
fn judge(recorded: Reason, armed: Option<&Armed>, fault: Option<Fault>) -> Verdict {
    match (recorded, fault, armed) {
        // All that the loader knows is that the tries are spent.
        (Reason::Tries, Some(fault), _) => Verdict::Condemned(fault.word().to_owned()),
        // Without a memory of how often it was armed that would never end.
        (Reason::Tries, None, Some(armed)) if armed.rearmed < REARMED_MAX => Verdict::Interrupted,
        // On trial it would have been armed: this was a committed slot that no longer proves.
        (Reason::Verity, None, None) => Verdict::Damaged(recorded.word().to_owned()),
        _ => Verdict::Condemned(recorded.word().to_owned()),
    }
}

/// What `slot` held when it failed: what was armed there, or else what its trailer says.
fn release_of(state: &State, seen: &Seen<'_>, slot: Slot) -> Option<ReleaseName> {
    let armed = state.armed.as_ref().filter(|armed| Slot::from(armed.slot) == slot);
    armed.map(|armed| armed.release.clone()).or_else(|| seen.releases.of(slot).clone())
}

#[cfg(test)]
mod tests;
