//! The table of decisions, and what holds for every state that can be written down.

use proptest::prelude::*;

use super::*;
use crate::boot::TRIES_MAX;
use crate::slot::PerSlot;
use Slot::{A, B};

fn state(order: Slot, good: [bool; 2], trial: Option<(Slot, u8)>) -> BootState {
    let [a, b] = good;
    let trial = trial.map(|(slot, tries_left)| Trial { slot, tries_left });
    BootState { order, good: PerSlot { a, b }, trial, failed: None }
}

fn untried(slot: Slot, otherwise: Option<Slot>) -> Load {
    Load { slot, trial: false, otherwise }
}

#[test]
fn without_a_trial_nothing_is_written_and_good_comes_before_bad() {
    for (order, good, first) in [
        (A, [true, true], A),
        (B, [true, true], B),
        (A, [true, false], A),
        (B, [true, false], A),
        (A, [false, true], B),
        (B, [false, true], B),
        (A, [false, false], A),
        (B, [false, false], B),
    ] {
        let boot = state(order, good, None).boot();
        let load = untried(first, Some(!first));
        assert_eq!(boot, Boot { store: None, stored: load, unstored: load }, "{order} {good:?}");
    }
}

#[test]
fn a_try_is_spent_before_it_is_made() {
    let boot = state(A, [true, false], Some((B, 3))).boot();
    assert_eq!(boot.store, Some(state(A, [true, false], Some((B, 2)))));
    assert_eq!(boot.stored, Load { slot: B, trial: true, otherwise: None });
}

#[test]
fn the_last_try_leaves_none_and_is_still_made() {
    let boot = state(A, [true, false], Some((B, 1))).boot();
    assert_eq!(boot.store, Some(state(A, [true, false], Some((B, 0)))));
    assert_eq!(boot.stored.slot, B);
}

#[test]
fn a_try_that_cannot_be_counted_is_not_made() {
    let boot = state(A, [true, false], Some((B, 3))).boot();
    assert_eq!(boot.unstored, untried(A, None), "nor does the trial slot stand in for A");
}

#[test]
fn a_spent_trial_has_failed_whether_or_not_that_can_be_stored() {
    let before = state(A, [true, false], Some((B, 0)));
    let failed = Some(Failed { slot: B, reason: Reason::Tries });
    let load = untried(A, Some(B));
    let store = Some(BootState { trial: None, failed, ..before });
    assert_eq!(before.boot(), Boot { store, stored: load, unstored: load });
}

#[test]
fn when_nothing_is_good_even_a_trial_that_cannot_be_counted_is_better_than_nothing() {
    let boot = state(A, [false, false], Some((A, 3))).boot();
    assert_eq!(boot.unstored, untried(A, Some(B)));
}

prop_compose! {
    fn any_state()(
        order in any::<bool>(),
        good in any::<[bool; 2]>(),
        trial in proptest::option::of((any::<bool>(), 0..=TRIES_MAX)),
    ) -> BootState {
        let slot = |is_b| if is_b { B } else { A };
        state(slot(order), good, trial.map(|(is_b, tries)| (slot(is_b), tries)))
    }
}

proptest! {
    #[test]
    fn a_trial_ends_after_as_many_loads_as_it_had_tries(before in any_state()) {
        let tries = before.trial.map_or(0, |trial| trial.tries_left);
        let mut state = before;
        for left in (0..tries).rev() {
            let boot = state.boot();
            prop_assert!(boot.stored.trial);
            state = boot.store.unwrap();
            prop_assert_eq!(state.trial.unwrap().tries_left, left);
        }
        state = state.boot().store.unwrap_or(state);
        prop_assert_eq!(state.trial, None);
        prop_assert_eq!(state.boot().store, None);
    }

    #[test]
    fn what_is_not_a_counted_try_is_never_called_one(state in any_state()) {
        let boot = state.boot();
        prop_assert!(!boot.unstored.trial);
        prop_assert!(!boot.stored.trial || boot.store.is_some());
        if state.good.a || state.good.b {
            prop_assert!(state.is_good(boot.unstored.slot));
        }
    }

    #[test]
    fn the_loader_never_changes_which_slots_are_good(state in any_state()) {
        if let Some(next) = state.boot().store {
            prop_assert_eq!((next.good, next.order), (state.good, state.order));
        }
    }
}
