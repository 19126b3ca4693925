//! Claims about the block, and about what in it is not ours.

use std::format;
use std::string::String;
use std::vec::Vec;

use gybe_core::boot::{Failed, Trial};
use gybe_core::slot::Slot;
use proptest::prelude::*;

use super::*;

fn block(lines: &str) -> Block {
    let text = format!("# GRUB Environment Block\n{lines}");
    Block::parse(format!("{text:#<1024}").as_bytes()).unwrap()
}

fn text(block: &Block) -> &str {
    str::from_utf8(block.as_bytes()).unwrap()
}

const TRIAL: &str =
    "gybe_order=a\ngybe_a=good\ngybe_b=bad\ngybe_try=b\ngybe_tries=xxx\ngybe_failed=\ngybe_end=1\n";

fn trial() -> BootState {
    let trial = Some(Trial { slot: Slot::B, tries_left: 3 });
    BootState { trial, ..BootState::factory(Some(Slot::A)) }
}

#[test]
fn a_state_is_written_as_lines_and_fill() {
    let written = Block::empty().with_state(&trial()).unwrap();
    assert_eq!(text(&written), text(&block(TRIAL)));
    assert_eq!(written.state(), Ok(Some(trial())));
}

#[test]
fn lines_of_others_are_kept_byte_for_byte_behind_ours() {
    let foreign = "# WARNING: Do not edit\nsaved_entry=a\\\\b \\\nc\nkernelopts=root=x\n";
    let written = block(foreign).with_state(&trial()).unwrap();
    assert_eq!(text(&written), text(&block(&format!("{TRIAL}{foreign}"))));
    let again = written.with_state(&BootState::factory(Some(Slot::B))).unwrap();
    assert!(text(&again).contains(foreign), "{}", text(&again));
    assert_eq!(again.state(), Ok(Some(BootState::factory(Some(Slot::B)))));
}

#[test]
fn noise_in_the_second_sector_is_not_kept() {
    let state = trial();
    let mut bytes = *Block::empty().with_state(&state).unwrap().as_bytes();
    for (byte, noise) in bytes[512..].iter_mut().zip((0..=255).cycle()) {
        *byte = noise;
    }
    let ruined = Block::parse(&bytes).unwrap();
    assert_eq!(ruined.state(), Ok(Some(state)));
    assert_eq!(ruined.with_state(&state), Block::empty().with_state(&state));
}

#[test]
fn another_length_or_header_is_refused() {
    for (content, error) in [
        (&b""[..], BlockError::Length { found: 0 }),
        (&[b'#'; 512][..], BlockError::Length { found: 512 }),
        (&[b'#'; 1025][..], BlockError::Length { found: 1025 }),
        (&[0; 1024][..], BlockError::Header),
        (&[b'#'; 1024][..], BlockError::Header),
    ] {
        assert_eq!(Block::parse(content), Err(error));
    }
}

#[test]
fn a_block_without_our_variables_is_a_factory_one() {
    assert_eq!(Block::empty().state(), Ok(None));
    assert_eq!(block("saved_entry=0\n").state(), Ok(None));
}

#[test]
fn a_lost_sentinel_is_an_error() {
    let cut = TRIAL.strip_suffix("gybe_end=1\n").unwrap();
    assert_eq!(block(cut).state(), Err(BlockError::Variables(VariableError::NoEnd)));
}

#[test]
fn a_missing_goodness_is_an_error_and_not_bad() {
    let missing = TRIAL.replace("gybe_b=bad\n", "");
    let error = VariableError::Missing { name: "gybe_b" };
    assert_eq!(block(&missing).state(), Err(BlockError::Variables(error)));
}

#[test]
fn a_repeated_variable_is_an_error() {
    let twice = format!("{TRIAL}gybe_order=b\n");
    assert_eq!(block(&twice).state(), Err(BlockError::Duplicate { name: "gybe_order" }));
}

#[test]
fn a_state_beyond_the_first_sector_is_an_error() {
    let foreign = format!("long={}\n", "y".repeat(400));
    let found = block(&format!("{foreign}{TRIAL}")).state();
    assert_eq!(found, Err(BlockError::BeyondSector { name: "gybe_end", end: 517 }));
    let moved = block(&format!("{foreign}{TRIAL}")).with_state(&trial()).unwrap();
    assert_eq!(moved.state(), Ok(Some(trial())));
}

#[test]
fn a_full_block_is_refused_with_both_numbers() {
    let others = format!("long={}\n", "y".repeat(900));
    let needed = 25 + OURS_LEN_MAX + others.len();
    assert_eq!(block(&others).with_state(&trial()), Err(BlockError::NoRoom { needed }));
    assert_eq!(
        format!("{}", BlockError::NoRoom { needed }),
        "environment block would need 1040 bytes, limit 1024"
    );
    let fits = format!("long={}\n", "y".repeat(900 - (needed - 1024)));
    assert!(block(&fits).with_state(&trial()).is_ok());
}

#[test]
fn what_cannot_be_text_is_no_value() {
    let mut bytes = *block(TRIAL).as_bytes();
    let at = 25 + "gybe_order=".len();
    bytes[at] = 0xff;
    let error = VariableError::Value { name: "gybe_order" };
    assert_eq!(Block::parse(&bytes).unwrap().state(), Err(BlockError::Variables(error)));
}

prop_compose! {
    fn any_state()(
        good in any::<[bool; 2]>(),
        trial in proptest::option::of(0..=7_u8),
        failed in proptest::option::of("[a-z0-9-]{1,16}"),
    ) -> BootState {
        let [a, b] = good;
        BootState {
            order: Slot::A,
            good: gybe_core::slot::PerSlot { a, b },
            trial: trial.map(|tries_left| Trial { slot: Slot::B, tries_left }),
            failed: failed.map(|word| Failed {
                slot: Slot::B,
                reason: Reason::from_word(&word).unwrap(),
            }),
        }
    }
}

proptest! {
    #[test]
    fn every_state_fits_the_first_sector_and_others_stay(
        states in proptest::collection::vec(any_state(), 1..4),
        foreign in proptest::collection::vec("[a-z_]{1,8}=([a-z =#]|\\\\\\\\|\\\\\n){0,20}\n", 0..8),
    ) {
        let foreign: String = foreign.concat();
        let mut block = block(&foreign);
        for state in states {
            block = block.with_state(&state).unwrap();
            prop_assert_eq!(block.state(), Ok(Some(state)));
            prop_assert!(text(&block).contains(&foreign));
            let mut torn: Vec<u8> = block.as_bytes()[..512].to_vec();
            torn.resize(1024, b'#');
            prop_assert_eq!(Block::parse(&torn).unwrap().state(), Ok(Some(state)));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(noise in proptest::collection::vec(any::<u8>(), 999)) {
        let mut bytes = *Block::empty().as_bytes();
        bytes[25..].copy_from_slice(&noise);
        let block = Block::parse(&bytes).unwrap();
        let _either = block.state();
        if let Ok(written) = block.with_state(&trial()) {
            prop_assert_eq!(written.state(), Ok(Some(trial())));
        }
    }
}
