//! What is remembered of what the device shows.

use gybe_core::boot::Reason;
use gybe_core::digest::Digest;

use super::super::{DigestText, FailedRelease};
use super::*;
use crate::evidence::{Attempt, Reached, Trial};

static NOTHING: Evidence = Evidence { trials: Vec::new() };

fn release(version: &str) -> ReleaseName {
    let digest = DigestText(Digest::of(version.as_bytes()));
    ReleaseName { digest, version: version.to_owned() }
}

fn releases() -> PerSlot<Option<ReleaseName>> {
    PerSlot { a: Some(release("1")), b: Some(release("2")) }
}

fn armed() -> State {
    let (release, from) = (release("2"), Some(release("1")));
    let armed = Armed { slot: Slot::B.into(), release, from, tries: 3, rearmed: 0 };
    State { armed: Some(armed), ..State::default() }
}

fn seen<'a>(boot: &'a BootState, releases: &'a PerSlot<Option<ReleaseName>>) -> Seen<'a> {
    Seen { boot, running: Some(Slot::A), releases, evidence: &NOTHING }
}

#[test]
fn a_failed_trial_is_remembered_with_both_releases() {
    let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Health).unwrap();
    let state = reconcile(armed(), &seen(&boot, &releases()));
    let expected = Fallback {
        from: release("2"),
        to: Some(release("1")),
        slot: Slot::B.into(),
        reason: "health".to_owned(),
        tries: Some(3),
        rearmed: 0,
    };
    assert_eq!(state.last_fallback, Some(expected));
    assert_eq!(state.armed, None);
    assert_eq!(state.failure_of(Digest::of(b"2")).unwrap().reason, "health");
    assert_eq!(reconcile(state.clone(), &seen(&boot, &releases())), state);
}

fn tries_spent() -> BootState {
    BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Tries).unwrap()
}

/// What is known of the trial of release 2: one attempt, and its fault.
fn evidence(fault: Option<Fault>) -> Evidence {
    let attempt = Attempt {
        boot: None,
        uptime_s: 9,
        time: None,
        reached: Reached::Started,
        check: None,
        fault,
        output: None,
        kernel: None,
    };
    let trial = Trial::new(Slot::B, Some(release("2")), None);
    Evidence { trials: vec![Trial { attempts: vec![attempt], ..trial }] }
}

#[test]
fn spent_tries_without_a_fault_are_an_interruption() {
    let (boot, releases) = (tries_spent(), releases());
    for evidence in [&NOTHING, &evidence(None)] {
        let seen = Seen { evidence, ..seen(&boot, &releases) };
        let state = reconcile(armed(), &seen);
        assert_eq!(state.interrupted, armed().armed);
        assert_eq!((state.armed.clone(), state.failed.clone()), (None, vec![]));
        assert_eq!(state.last_fallback.as_ref().unwrap().reason, INTERRUPTED);
        assert_eq!(reconcile(state.clone(), &seen), state);
        // When its slot is cleared or armed, it waits no longer.
        let armed_again = boot.arm(Slot::B, 3).unwrap();
        assert_eq!(reconcile(state, &Seen { boot: &armed_again, ..seen }).interrupted, None);
    }
}

#[test]
fn a_fault_condemns_whenever_it_is_found() {
    let (boot, releases) = (tries_spent(), releases());
    let found = evidence(Some(Fault::Panic));
    let late = reconcile(armed(), &seen(&boot, &releases));
    for state in [armed(), late] {
        let seen = Seen { evidence: &found, ..seen(&boot, &releases) };
        let state = reconcile(state, &seen);
        assert_eq!(state.failure_of(Digest::of(b"2")).unwrap().reason, "panic");
        assert_eq!(state.last_fallback.as_ref().unwrap().reason, "panic");
        assert_eq!((state.armed.clone(), state.interrupted.clone()), (None, None));
        assert_eq!(reconcile(state.clone(), &seen), state);
    }
}

#[test]
fn a_release_is_armed_again_only_so_often() {
    let (boot, releases) = (tries_spent(), releases());
    let often = |rearmed| State {
        armed: armed().armed.map(|armed| Armed { rearmed, ..armed }),
        ..State::default()
    };
    for rearmed in 0..REARMED_MAX {
        assert!(reconcile(often(rearmed), &seen(&boot, &releases)).interrupted.is_some());
    }
    let state = reconcile(often(REARMED_MAX), &seen(&boot, &releases));
    assert_eq!(state.failure_of(Digest::of(b"2")).unwrap().reason, "tries");
    assert_eq!(state.last_fallback.unwrap().rearmed, REARMED_MAX);
    // Where nobody remembers how often, it is not armed for ever.
    let forgotten = reconcile(State::default(), &seen(&boot, &releases));
    assert_eq!(forgotten.failure_of(Digest::of(b"2")).unwrap().reason, "tries");
}

#[test]
fn a_lost_state_is_made_again_from_environment_and_trailers() {
    let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Health).unwrap();
    let state = reconcile(State::default(), &seen(&boot, &releases()));
    assert_eq!(state.last_fallback.unwrap().from, release("2"));
    assert_eq!(state.failed.len(), 1);
}

#[test]
fn a_committed_slot_that_was_damaged_is_not_the_fault_of_its_release() {
    let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Verity).unwrap();
    let state = reconcile(State::default(), &seen(&boot, &releases()));
    assert_eq!(state.last_fallback.as_ref().unwrap().reason, "verity");
    assert_eq!(state.failed, []);
    assert_eq!(reconcile(state.clone(), &seen(&boot, &releases())), state);
    // On trial it is.
    let state = reconcile(armed(), &seen(&boot, &releases()));
    assert_eq!(state.failure_of(Digest::of(b"2")).unwrap().reason, "verity");
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
    let boot = BootState::factory(Some(Slot::A)).fail(Slot::B, Reason::Health).unwrap();
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
