//! Bringing what is remembered in line with what the device shows.

use gybe_core::boot::BootState;
use gybe_core::slot::{PerSlot, Slot};

use super::{FailedRelease, Fallback, ReleaseName, State};

/// What the device shows at the start of every command.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The boot environment.
    pub boot: &'a BootState,
    /// The slot that runs.
    pub running: Option<Slot>,
    /// What the slots' trailers say they hold.
    pub releases: &'a PerSlot<Option<ReleaseName>>,
}

/// What to remember from now on. The environment and the trailers are right; what was remembered
/// only adds what they have no room for. Doing it twice is doing it once.
#[must_use]
pub fn reconcile(mut state: State, seen: &Seen<'_>) -> State {
    if let Some(failed) = seen.boot.failed
        && let Some(from) = release_of(&state, seen, failed.slot)
    {
        let reason = failed.reason.word().to_owned();
        let armed = state.armed.take_if(|armed| armed.release == from);
        let known = state
            .last_fallback
            .as_ref()
            .is_some_and(|last| last.from == from && last.reason == reason);
        if armed.is_some() || !known {
            // A release that is given up while it runs leads to what boots next.
            let to = [seen.running, Some(seen.boot.order)];
            let to = to.into_iter().flatten().find(|&slot| slot != failed.slot);
            let to = to.and_then(|slot| seen.releases.of(slot).clone());
            state.remember(FailedRelease { release: from.clone(), reason: reason.clone() });
            let tries = armed.map(|armed| armed.tries);
            let slot = failed.slot.into();
            state.last_fallback = Some(Fallback { from, to, slot, reason, tries });
        }
    }
    // An armed release whose trial is over, one way or the other, has met its fate.
    state.armed.take_if(|armed| !seen.boot.is_on_trial(armed.slot.into()));
    state
}

/// What `slot` held when it failed: what was armed there, or else what its trailer says.
fn release_of(state: &State, seen: &Seen<'_>, slot: Slot) -> Option<ReleaseName> {
    let armed = state.armed.as_ref().filter(|armed| Slot::from(armed.slot) == slot);
    armed.map(|armed| armed.release.clone()).or_else(|| seen.releases.of(slot).clone())
}

#[cfg(test)]
mod tests {
    use gybe_core::boot::Reason;
    use gybe_core::digest::Digest;

    use super::super::{Armed, DigestText};
    use super::*;

    fn release(version: &str) -> ReleaseName {
        let digest = DigestText(Digest::of(version.as_bytes()));
        ReleaseName { digest, version: version.to_owned() }
    }

    fn releases() -> PerSlot<Option<ReleaseName>> {
        PerSlot { a: Some(release("1")), b: Some(release("2")) }
    }

    fn armed() -> State {
        let (release, from) = (release("2"), Some(release("1")));
        let armed = Armed { slot: Slot::B.into(), release, from, tries: 3 };
        State { armed: Some(armed), ..State::default() }
    }

    fn seen<'a>(boot: &'a BootState, releases: &'a PerSlot<Option<ReleaseName>>) -> Seen<'a> {
        Seen { boot, running: Some(Slot::A), releases }
    }

    #[test]
    fn a_failed_trial_is_remembered_with_both_releases() {
        let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Tries).unwrap();
        let state = reconcile(armed(), &seen(&boot, &releases()));
        let expected = Fallback {
            from: release("2"),
            to: Some(release("1")),
            slot: Slot::B.into(),
            reason: "tries".to_owned(),
            tries: Some(3),
        };
        assert_eq!(state.last_fallback, Some(expected));
        assert_eq!(state.armed, None);
        assert_eq!(state.failure_of(Digest::of(b"2")).unwrap().reason, "tries");
        assert_eq!(reconcile(state.clone(), &seen(&boot, &releases())), state);
    }

    #[test]
    fn a_lost_state_is_made_again_from_environment_and_trailers() {
        let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Verity).unwrap();
        let state = reconcile(State::default(), &seen(&boot, &releases()));
        assert_eq!(state.last_fallback.unwrap().from, release("2"));
        assert_eq!(state.failed.len(), 1);
    }

    #[test]
    fn a_failure_in_a_slot_without_a_name_is_not_invented() {
        let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Tries).unwrap();
        let empty = PerSlot { a: None, b: None };
        assert_eq!(reconcile(State::default(), &seen(&boot, &empty)), State::default());
    }

    #[test]
    fn an_open_trial_waits_and_a_commit_ends_it() {
        let trial = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
        assert_eq!(reconcile(armed(), &seen(&trial, &releases())), armed());
        let good = trial.commit(Slot::B).unwrap();
        assert_eq!(reconcile(armed(), &seen(&good, &releases())), State::default());
    }

    #[test]
    fn the_same_release_may_fail_twice() {
        let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Tries).unwrap();
        let once = reconcile(armed(), &seen(&boot, &releases()));
        let again = State { armed: armed().armed, ..once };
        let twice = reconcile(again, &seen(&boot, &releases()));
        assert_eq!(twice.failed.len(), 1);
        assert_eq!(twice.last_fallback.unwrap().tries, Some(3));
    }

    #[test]
    fn only_so_many_failures_are_remembered() {
        let mut state = State::default();
        for version in 0..20 {
            let release = release(&version.to_string());
            state.remember(FailedRelease { release, reason: "tries".to_owned() });
        }
        assert_eq!(state.failed.len(), super::super::FAILED_MAX);
        assert_eq!(state.failed.first().unwrap().release.version, "19");
        state.forgive(Digest::of(b"19"));
        assert_eq!(state.failed.first().unwrap().release.version, "18");
    }
}
