//! Claims about the transitions, one by one and over every state that can be reached.

use std::collections::HashSet;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;
use Slot::{A, B};

const GOOD_A: BootState =
    BootState { order: A, good: PerSlot { a: true, b: false }, trial: None, failed: None };
const BOTH_GOOD: BootState = BootState { good: PerSlot { a: true, b: true }, ..GOOD_A };

fn trial_of_b(tries_left: u8) -> BootState {
    BootState { trial: Some(Trial { slot: B, tries_left }), ..GOOD_A }
}

fn failed_b(reason: Reason) -> BootState {
    BootState { failed: Some(Failed { slot: B, reason }), ..GOOD_A }
}

#[test]
fn an_update_goes_from_good_through_trial_to_good() {
    let cleared = BootState::factory(Some(A)).clear(B, Some(A)).unwrap();
    assert_eq!(cleared, GOOD_A);
    let armed = cleared.arm(B, 3).unwrap();
    assert_eq!(armed, trial_of_b(3));
    assert_eq!(armed.slot_state(B), SlotState::Trial { tries_left: 3 });
    let committed = armed.commit(B).unwrap();
    assert_eq!(committed, BootState { order: B, ..BOTH_GOOD });
    assert_eq!(Slot::ALL.map(|slot| committed.slot_state(slot)), [SlotState::Good; 2]);
}

#[test]
fn a_device_is_provisioned_without_a_running_slot() {
    let armed = BootState::factory(None).clear(B, None).unwrap().arm(B, 2).unwrap();
    let nothing_good = PerSlot::default();
    let trial = Some(Trial { slot: B, tries_left: 2 });
    assert_eq!(armed, BootState { order: B, good: nothing_good, trial, failed: None });
    assert_eq!(armed.commit(B).unwrap(), BootState::factory(Some(B)));
}

#[test]
fn the_running_slot_cannot_be_cleared() {
    assert_eq!(BOTH_GOOD.clear(A, Some(A)), Err(TransitionError::Running { slot: A }));
}

#[test]
fn the_fallback_stays_while_the_running_slot_is_not_good() {
    let refused = Err(TransitionError::RunningNotGood { slot: B });
    assert_eq!(trial_of_b(1).clear(A, Some(B)), refused);
    assert_eq!(failed_b(Reason::Health).clear(A, Some(B)), refused);
}

#[test]
fn clearing_the_preferred_slot_prefers_the_other() {
    let after_fall_through = BOTH_GOOD.clear(A, Some(B)).unwrap();
    assert_eq!(after_fall_through, BootState::factory(Some(B)));
}

#[test]
fn clearing_ends_the_trial_and_forgets_the_failure_of_that_slot_only() {
    assert_eq!(trial_of_b(2).clear(B, Some(A)), Ok(GOOD_A));
    assert_eq!(failed_b(Reason::Verity).clear(B, Some(A)), Ok(GOOD_A));
    let failed_a = Some(Failed { slot: A, reason: Reason::Verity });
    let state = BootState { failed: failed_a, ..BootState::factory(Some(B)) };
    assert_eq!(state.clear(A, None).unwrap().failed, None);
    assert_eq!(state.clear(B, None).unwrap().failed, failed_a);
}

#[test]
fn only_a_slot_that_is_not_good_nor_on_trial_is_armed() {
    assert_eq!(BOTH_GOOD.arm(B, 3), Err(TransitionError::AlreadyGood { slot: B }));
    assert_eq!(trial_of_b(2).arm(B, 3), Err(TransitionError::OnTrial { slot: B }));
    assert_eq!(trial_of_b(2).arm(A, 3), Err(TransitionError::OnTrial { slot: B }));
    assert_eq!(failed_b(Reason::Tries).arm(B, 3), Ok(trial_of_b(3)));
}

#[test]
fn a_trial_has_one_to_seven_tries() {
    assert_eq!(GOOD_A.arm(B, 1), Ok(trial_of_b(1)));
    assert_eq!(GOOD_A.arm(B, 7), Ok(trial_of_b(7)));
    for found in [0, 8, 255] {
        assert_eq!(GOOD_A.arm(B, found), Err(TransitionError::Tries { found }));
    }
}

#[test]
fn a_commit_may_be_repeated_and_does_not_undo_a_rollback() {
    let committed = trial_of_b(0).commit(B).unwrap();
    assert_eq!(committed.commit(B), Ok(committed));
    let rolled_back = committed.rollback(B).unwrap();
    assert_eq!(rolled_back, BOTH_GOOD);
    assert_eq!(rolled_back.commit(B), Ok(rolled_back));
}

#[test]
fn a_failed_slot_is_not_committed_while_another_is_good() {
    let refused = Err(TransitionError::NotOnTrial { slot: B });
    assert_eq!(failed_b(Reason::Health).commit(B), refused);
    assert_eq!(failed_b(Reason::Health).adopt(B), BootState { order: B, ..BOTH_GOOD });
}

#[test]
fn what_runs_when_nothing_is_good_can_be_committed() {
    let spent = BootState { good: PerSlot::default(), ..failed_b(Reason::Tries) };
    assert_eq!(spent.commit(B), Ok(BootState::factory(Some(B))));
}

#[test]
fn a_failure_is_recorded_and_the_other_slot_preferred() {
    assert_eq!(trial_of_b(2).fail(B, Reason::Health), Ok(failed_b(Reason::Health)));
    let both_prefer_b = BootState { order: B, ..BOTH_GOOD };
    assert_eq!(both_prefer_b.fail(B, Reason::Verity), Ok(failed_b(Reason::Verity)));
    let reason = Reason::Verity;
    assert_eq!(failed_b(reason).slot_state(B), SlotState::Failed { reason });
}

#[test]
fn the_only_good_slot_does_not_fail() {
    assert_eq!(GOOD_A.fail(A, Reason::Verity), Err(TransitionError::LastGood { slot: A }));
    assert_eq!(trial_of_b(1).fail(A, Reason::Verity), Err(TransitionError::LastGood { slot: A }));
}

#[test]
fn a_rollback_goes_to_a_good_slot_or_is_refused() {
    assert_eq!(BOTH_GOOD.rollback(A), Ok(BootState { order: B, ..BOTH_GOOD }));
    assert_eq!(GOOD_A.rollback(A), Err(TransitionError::NotGood { slot: B }));
    assert_eq!(trial_of_b(3).rollback(A), Ok(GOOD_A), "a trial that waits is cancelled");
    assert_eq!(trial_of_b(0).rollback(B), Ok(failed_b(Reason::Operator)));
    let provisioned = BootState::factory(None).arm(A, 1).unwrap();
    assert_eq!(provisioned.rollback(A), Err(TransitionError::NotGood { slot: B }));
}

#[test]
fn a_cancelled_trial_can_be_armed_again() {
    assert_eq!(trial_of_b(3).cancel_trial().unwrap().arm(B, 3), Ok(trial_of_b(3)));
    assert_eq!(GOOD_A.cancel_trial(), Err(TransitionError::NoTrial));
}

#[test]
fn only_a_good_slot_is_preferred() {
    assert_eq!(BOTH_GOOD.prefer(B), Ok(BootState { order: B, ..BOTH_GOOD }));
    assert_eq!(GOOD_A.prefer(B), Err(TransitionError::NotGood { slot: B }));
}

/// Every state an agent can store while `running` runs.
fn steps(state: BootState, running: Slot) -> Vec<BootState> {
    let mut next = vec![state.adopt(running)];
    let mut add = |result: Result<BootState, TransitionError>| next.extend(result.ok());
    for slot in Slot::ALL {
        add(state.clear(slot, Some(running)));
        add(state.arm(slot, 2));
        add(state.fail(slot, Reason::Health));
        add(state.prefer(slot));
    }
    add(state.commit(running));
    add(state.cancel_trial());
    add(state.rollback(running));
    next
}

#[test]
fn no_sequence_of_agent_and_loader_steps_leaves_a_device_without_a_good_slot() {
    let mut seen = HashSet::new();
    let mut queue = vec![(BootState::factory(Some(A)), A), (BootState::factory(Some(B)), B)];
    while let Some((state, running)) = queue.pop() {
        let key: String = format!("{state:?} {running}");
        if !seen.insert(key) {
            continue;
        }
        assert!(Slot::ALL.iter().any(|slot| state.is_good(*slot)), "{state:?}");
        let good_preferred = state.is_good(state.order);
        assert!(good_preferred, "a slot that is not good is preferred: {state:?}");
        if let Some(trial) = state.trial {
            assert!(!state.is_good(trial.slot), "a good slot is on trial: {state:?}");
        }
        queue.extend(steps(state, running).into_iter().map(|next| (next, running)));
        let boot = state.boot();
        for (next, load) in [(boot.store.unwrap_or(state), boot.stored), (state, boot.unstored)] {
            assert!(
                load.trial == state.is_on_trial(load.slot)
                    && load.trial != state.is_good(load.slot)
            );
            queue.push((next, load.slot));
            queue.extend(load.otherwise.map(|slot| (next, slot)));
        }
    }
    assert!(seen.len() > 20, "only {} states were reached", seen.len());
}
