//! The boot script, run by GRUB itself, decides as the core does.
//!
//! `grub-emu` is GRUB as a program of the host: its own script interpreter, file systems and
//! `save_env` on a disk image. Functions stand in for `linux` and `initrd`, which it has not in every
//! version, and say what would have been started. The versions that devices have are all run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use gybe_core::boot::{BootState, Failed, Load, Reason, TRIES_MAX, Trial};
use gybe_core::slot::{PerSlot, Slot};
use gybe_grub::Block;

mod disk;

use disk::{Case, Did, Disk, Root, SECTOR_LEN, every_grub};

fn block(state: &BootState) -> Block {
    Block::empty().with_state(state).unwrap()
}

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
        for (slot, tries_left) in Slot::ALL.into_iter().flat_map(|s| [0, 1, 3].map(|t| (s, t))) {
            if !idle.is_good(slot) {
                states.push(BootState { trial: Some(Trial { slot, tries_left }), ..idle });
            }
        }
    }
    states
}

#[test]
fn grub_decides_as_the_core_does_in_every_state() {
    every_grub(decides_as_the_core_does);
}

fn decides_as_the_core_does(disk: Disk) {
    let states = states();
    assert_eq!(states.len(), 32);
    for state in states {
        let before = block(&state);
        let safe = block(&BootState { trial: None, ..state });
        let boot = state.boot();
        for writable in [true, false] {
            // Without anything to write it makes no difference whether one could.
            if boot.store.is_none() && !writable {
                continue;
            }
            let case = Case {
                live: before.as_bytes(),
                safe: safe.as_bytes(),
                loadable: LOADABLE,
                writable,
                root: Root::There,
            };
            let (did, said) = disk.run(case);
            let (load, after) = match (writable, boot.store) {
                (true, Some(next)) => (boot.stored, block(&next)),
                (true, None) => (boot.stored, before.clone()),
                (false, _) => (boot.unstored, before.clone()),
            };
            let live = Block::parse(&did.live).unwrap();
            assert_eq!(did.booted, booted(load, LOADABLE), "{state:?} writable {writable}\n{said}");
            assert_eq!(live.state(), after.state(), "{state:?} writable {writable}\n{said}");
            assert_eq!(live.as_bytes()[SECTOR_LEN..], before.as_bytes()[SECTOR_LEN..]);
        }
    }
}

#[test]
fn a_slot_on_trial_does_not_stand_in_for_a_good_one_in_grub() {
    every_grub(does_not_stand_in);
}

fn does_not_stand_in(disk: Disk) {
    let state = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
    let live = block(&state);
    let loadable = PerSlot { a: false, b: true };
    assert_eq!(booted(state.boot().unstored, loadable), None);
    let case = Case {
        live: live.as_bytes(),
        safe: live.as_bytes(),
        loadable,
        writable: false,
        root: Root::There,
    };
    let (did, said) = disk.run(case);
    assert_eq!(did, Did { booted: None, live: live.as_bytes().to_vec() }, "{said}");
}

#[test]
fn grub_goes_on_to_the_other_slot_or_resets() {
    every_grub(goes_on);
}

fn goes_on(disk: Disk) {
    let good_a = BootState::factory(Some(Slot::A));
    let both = BootState { good: PerSlot { a: true, b: true }, ..good_a };
    let trial = good_a.arm(Slot::B, 2).unwrap();
    for state in [good_a, both, BootState { order: Slot::B, ..both }, trial] {
        let before = block(&state);
        let boot = state.boot();
        for [a, b] in [[false, true], [true, false], [false, false]] {
            let loadable = PerSlot { a, b };
            let case = Case {
                live: before.as_bytes(),
                safe: before.as_bytes(),
                loadable,
                writable: true,
                root: Root::There,
            };
            let (did, said) = disk.run(case);
            assert_eq!(did.booted, booted(boot.stored, loadable), "{state:?} {loadable:?}\n{said}");
        }
    }
}

#[test]
fn grub_takes_the_safe_file_and_no_trial_when_the_live_one_is_damaged() {
    every_grub(takes_the_safe_file);
}

fn takes_the_safe_file(disk: Disk) {
    // A trial in it, which is not written there, would not be made either.
    let safe = block(&BootState::factory(Some(Slot::B)).arm(Slot::A, 3).unwrap());
    let armed = block(&BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap());
    let cut = |name: &str| {
        let mut bytes = *armed.as_bytes();
        let at = bytes.windows(name.len()).position(|found| found == name.as_bytes()).unwrap();
        bytes[at..].fill(b'#');
        bytes
    };
    let odd = |from: &str, to: &str| {
        let text = String::from_utf8(armed.as_bytes().to_vec()).unwrap().replacen(from, to, 1);
        <[u8; Block::LEN]>::try_from(text.as_bytes()).unwrap()
    };
    for live in [
        [0; Block::LEN],
        [b'#'; Block::LEN],
        *Block::empty().as_bytes(),
        cut("gybe_end"),
        cut("gybe_order"),
        odd("gybe_order=a", "gybe_order=c"),
        odd("gybe_tries=xxx", "gybe_tries=xyx"),
        odd(
            "gybe_tries=xxx\ngybe_failed=\ngybe_end=1\n#####",
            "gybe_tries=xxxxxxxx\ngybe_failed=\ngybe_end=1\n",
        ),
        odd("gybe_end=1", "gybe_end=2"),
    ] {
        // The agent sees it the same way.
        let read = Block::parse(&live).ok().and_then(|block| block.state().ok().flatten());
        assert_eq!(read, None);
        let case = Case {
            live: &live,
            safe: safe.as_bytes(),
            loadable: LOADABLE,
            writable: true,
            root: Root::There,
        };
        let (did, said) = disk.run(case);
        assert_eq!(did, Did { booted: Some((Slot::B, false)), live: live.to_vec() }, "{said}");
        let empty = Block::empty();
        let factory = Case { safe: empty.as_bytes(), ..case };
        assert_eq!(disk.run(factory).0.booted, Some((Slot::A, false)));
    }
}

#[test]
fn grub_does_not_load_a_kernel_with_another_digest() {
    every_grub(checks_the_digest);
}

fn checks_the_digest(mut disk: Disk) {
    let kernel = disk.bytes.windows(7).rposition(|found| found == b"vmlinuz");
    let places: Vec<usize> = (0..disk.bytes.len() - 10)
        .filter(|at| at % SECTOR_LEN == 0 && disk.bytes[*at..].starts_with(b"vmlinuz\0"))
        .collect();
    assert!(kernel.is_some() && places.len() == 2, "{places:?}");
    disk.bytes[places[0]] = b'V';
    let both =
        BootState { good: PerSlot { a: true, b: true }, ..BootState::factory(Some(Slot::A)) };
    let live = block(&both);
    let case = Case {
        live: live.as_bytes(),
        safe: live.as_bytes(),
        loadable: LOADABLE,
        writable: true,
        root: Root::There,
    };
    let (did, said) = disk.run(case);
    assert_eq!(did.booted, Some((Slot::B, false)), "{said}");
    assert_eq!(did.live, live.as_bytes(), "and nothing was written");
}

#[test]
fn grub_names_the_root_by_its_partition_or_as_the_integrator_does() {
    every_grub(names_the_root);
}

fn names_the_root(disk: Disk) {
    let safe = block(&BootState::factory(Some(Slot::A)));
    for (order, root) in
        Slot::ALL.into_iter().flat_map(|slot| [Root::Lost, Root::Named].map(|root| (slot, root)))
    {
        let live = block(&BootState::factory(Some(order)));
        let case = Case {
            live: live.as_bytes(),
            safe: safe.as_bytes(),
            loadable: LOADABLE,
            writable: true,
            root,
        };
        let (did, said) = disk.run(case);
        assert_eq!(did.booted, Some((order, false)), "{said}");
    }
}

#[test]
fn grub_counts_seven_tries_and_keeps_the_failure_of_another_version() {
    every_grub(counts);
}

fn counts(disk: Disk) {
    let mut state = BootState::factory(Some(Slot::A)).arm(Slot::B, TRIES_MAX).unwrap();
    let reason = Reason::from_word("thermal").unwrap();
    state.failed = Some(Failed { slot: Slot::B, reason });
    let safe = block(&BootState::factory(Some(Slot::A)));
    let mut live = block(&state);
    for left in (0..TRIES_MAX).rev() {
        let case = Case {
            live: live.as_bytes(),
            safe: safe.as_bytes(),
            loadable: LOADABLE,
            writable: true,
            root: Root::There,
        };
        let (did, said) = disk.run(case);
        assert_eq!(did.booted, Some((Slot::B, true)), "{said}");
        live = Block::parse(&did.live).unwrap();
        let trial = Some(Trial { slot: Slot::B, tries_left: left });
        assert_eq!(live.state(), Ok(Some(BootState { trial, ..state })));
    }
    let case = Case {
        live: live.as_bytes(),
        safe: safe.as_bytes(),
        loadable: LOADABLE,
        writable: true,
        root: Root::There,
    };
    let (did, _) = disk.run(case);
    assert_eq!(did.booted, Some((Slot::A, false)));
    let failed = Some(Failed { slot: Slot::B, reason: Reason::Tries });
    let after = Block::parse(&did.live).unwrap().state();
    assert_eq!(after, Ok(Some(BootState { trial: None, failed, ..state })));
}
