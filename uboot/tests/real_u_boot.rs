//! The boot script, run by U-Boot itself, decides as the core does: on Debian's builds with the
//! two-file form, and on one with a redundant environment and the `hash` command.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod board;

use board::{Board, Kind, Root};
use gybe_core::boot::{BootState, Load, Trial};
use gybe_core::slot::{PerSlot, Slot};

/// What the core says of `load`, with these slots loadable.
fn booted(load: Load, loadable: PerSlot<bool>) -> Option<(Slot, bool)> {
    let mut slots = [Some(load.slot), load.otherwise].into_iter().flatten();
    slots.find(|slot| *loadable.of(*slot)).map(|slot| (slot, load.trial))
}

const LOADABLE: PerSlot<bool> = PerSlot { a: true, b: true };

fn states() -> Vec<BootState> {
    let goods = [[true, true], [true, false], [false, true], [false, false]];
    let mut states = vec![];
    for (order, [a, b]) in Slot::ALL.into_iter().flat_map(|slot| goods.map(|good| (slot, good))) {
        let idle = BootState { order, good: PerSlot { a, b }, trial: None, failed: None };
        states.push(idle);
        for (slot, tries_left) in Slot::ALL.into_iter().flat_map(|s| [0, 1, 7].map(|t| (s, t))) {
            if !idle.is_good(slot) {
                states.push(BootState { trial: Some(Trial { slot, tries_left }), ..idle });
            }
        }
    }
    states
}

#[test]
fn u_boot_decides_as_the_core_does_in_every_state() {
    for board in Board::all() {
        let older = Some(BootState::factory(Some(Slot::B)).arm(Slot::A, 5).unwrap());
        let older = board.copy(older.as_ref(), 0xff);
        for (state, number) in states().into_iter().zip(0_usize..) {
            let current = board.copy(Some(&state), 0x100);
            // The state in force is in the first and in the second copy by turns.
            let first = number.is_multiple_of(2);
            let copies = if first { [current, older.clone()] } else { [older.clone(), current] };
            let boot = state.boot();
            let did = board.run(&copies, LOADABLE, true);
            let expected = booted(boot.stored, LOADABLE);
            assert_eq!(did.booted, expected, "{} {state:?}\n{}", board.name, did.said);
            let (in_force, other) = if first { (0, 1) } else { (1, 0) };
            let is_as_before = |copy: usize| did.copies[copy] == copies[copy];
            assert!(is_as_before(in_force), "the copy in force was written: {state:?}");
            match boot.store {
                None => assert!(is_as_before(other), "something was written: {state:?}"),
                Some(next) => {
                    let after = board.kind.parse(&did.copies[other]);
                    let expected = (board.kind.stamp(0x101), Ok(Some(next)));
                    assert_eq!((after.stamp(), after.state()), expected, "{state:?}\n{}", did.said);
                }
            }
        }
    }
}

#[test]
fn u_boot_tries_nothing_that_it_cannot_count() {
    for board in Board::all() {
        for state in states().into_iter().filter(|s| s.order == Slot::A && s.trial.is_some()) {
            let copies = [board.copy(Some(&state), 1), board.copy(None, 0)];
            let did = board.run(&copies, LOADABLE, false);
            let expected = booted(state.boot().unstored, LOADABLE);
            assert_eq!(did.booted, expected, "{} {state:?}\n{}", board.name, did.said);
            assert!(did.copies == copies);
        }
    }
}

#[test]
fn a_slot_on_trial_does_not_stand_in_for_a_good_one_in_u_boot() {
    for board in Board::all() {
        let state = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
        let copies = [board.copy(Some(&state), 1), board.copy(None, 0)];
        let loadable = PerSlot { a: false, b: true };
        assert_eq!(booted(state.boot().unstored, loadable), None);
        let did = board.run(&copies, loadable, false);
        assert_eq!(did.booted, None, "{}\n{}", board.name, did.said);
    }
}

#[test]
fn u_boot_goes_on_to_the_other_slot_or_resets() {
    let good_a = BootState::factory(Some(Slot::A));
    let both = BootState { good: PerSlot { a: true, b: true }, ..good_a };
    let trial = good_a.arm(Slot::B, 2).unwrap();
    for board in Board::all() {
        for state in [good_a, BootState { order: Slot::B, ..both }, trial] {
            for [a, b] in [[false, true], [true, false], [false, false]] {
                let loadable = PerSlot { a, b };
                let copies = [board.copy(None, 0), board.copy(Some(&state), 1)];
                let did = board.run(&copies, loadable, true);
                let expected = booted(state.boot().stored, loadable);
                assert_eq!(did.booted, expected, "{} {state:?} {loadable:?}", board.name);
            }
        }
    }
}

#[test]
fn u_boot_names_the_root_by_its_partition_or_as_the_integrator_does() {
    for mut board in Board::all() {
        for root in [Root::Lost, Root::Named] {
            board.find_root(root);
            for order in Slot::ALL {
                let state = BootState::factory(Some(order));
                let copies = [board.copy(Some(&state), 1), board.copy(None, 0)];
                let did = board.run(&copies, LOADABLE, true);
                assert_eq!(did.booted, Some((order, false)), "{}\n{}", board.name, did.said);
            }
        }
    }
}

#[test]
fn u_boot_takes_a_whole_copy_or_starts_as_from_the_factory() {
    for board in Board::all() {
        let good_b = board.copy(Some(&BootState::factory(Some(Slot::B))), 9);
        let armed = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
        let mut torn = board.copy(Some(&armed), 10);
        let middle = torn.len() / 2;
        torn[middle] ^= 1;
        for (copies, expected) in [
            ([torn.clone(), good_b.clone()], Slot::B),
            ([good_b, torn.clone()], Slot::B),
            ([torn.clone(), torn], Slot::A),
            ([board.copy(None, 0), board.copy(None, 0)], Slot::A),
        ] {
            let did = board.run(&copies, LOADABLE, true);
            assert_eq!(did.booted, Some((expected, false)), "{}\n{}", board.name, did.said);
            assert!(did.copies == copies, "nothing was written");
        }
    }
}

#[test]
fn u_boot_with_the_hash_command_starts_nothing_damaged() {
    let good_a = BootState::factory(Some(Slot::A));
    let both = BootState { good: PerSlot { a: true, b: true }, ..good_a };
    for name in ["vmlinuz", "initrd.img"] {
        let mut board = Board::redundant();
        assert_eq!(board.kind, Kind::Redundant);
        let run = |board: &Board, state: &BootState| {
            let did = board.run(&[board.copy(Some(state), 1), board.copy(None, 0)], LOADABLE, true);
            let after = [0, 1].map(|copy| board.kind.parse(&did.copies[copy]).state());
            (did.booted, after)
        };
        board.flip(Slot::A, name);
        let (did, _) = run(&board, &both);
        assert_eq!(did, Some((Slot::B, false)), "{name}");
        board.flip(Slot::B, name);
        assert_eq!(run(&board, &both).0, None, "{name}");
        // On trial it costs a try, and no other slot is started before the board has reset.
        let armed = good_a.arm(Slot::B, 2).unwrap();
        let (did, after) = run(&board, &armed);
        assert_eq!(did, None, "{name}");
        assert_eq!(after[1], Ok(armed.boot().store), "{name}");
    }
}
