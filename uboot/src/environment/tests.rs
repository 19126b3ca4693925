//! Claims about the two copies, and which of them is written.

use std::format;
use std::vec;
use std::vec::Vec;

use Slot::{A, B};
use gybe_core::slot::Slot;

use super::*;
use crate::image::tests::copy_of;

const LEN: usize = 512;

struct File {
    content: Vec<u8>,
    writes: usize,
}

impl EnvFile for File {
    type Error = &'static str;

    fn read(&mut self, content: &mut [u8]) -> Result<usize, Self::Error> {
        let len = content.len().min(self.content.len());
        content[..len].copy_from_slice(&self.content[..len]);
        Ok(len)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), Self::Error> {
        self.content = content.to_vec();
        self.writes += 1;
        Ok(())
    }
}

fn redundant(copies: [Vec<u8>; 2]) -> Environment<File, Vec<u8>> {
    let files = copies.map(|content| File { content, writes: 0 });
    Environment::redundant(files, [vec![0; LEN], vec![0; LEN]])
}

fn files(copies: [Vec<u8>; 2]) -> Environment<File, Vec<u8>> {
    let files = copies.map(|content| File { content, writes: 0 });
    Environment::files(files, [vec![0; LEN], vec![0; LEN]])
}

const GOOD_A: &[u8] = b"x=1\0gybe_order=a\0gybe_a=good\0gybe_b=bad\0gybe_end=1\0";
const GOOD_B: &[u8] = b"x=2\0gybe_order=b\0gybe_a=bad\0gybe_b=good\0gybe_end=1\0";

fn good(slot: Slot) -> BootState {
    BootState::factory(Some(slot))
}

#[test]
fn every_transition_is_one_write_of_the_other_copy() {
    let mut environment = redundant([copy_of(Some(254), GOOD_A), copy_of(Some(253), GOOD_B)]);
    let mut state = good(A).arm(B, 3).unwrap();
    for (count, flags) in [(1, [254, 255]), (2, [0, 255]), (3, [0, 1]), (4, [2, 1])] {
        environment.store(&state).unwrap();
        let whole = Loaded { state: Some(state), health: Health::Whole };
        assert_eq!(environment.load(), Ok(whole));
        let copies = [&environment.first.file, &environment.second.file];
        assert_eq!(copies.map(|file| file.content[4]), flags);
        assert_eq!(copies.map(|file| file.writes).iter().sum::<usize>(), count);
        state = state.boot().store.unwrap_or(state);
    }
}

#[test]
fn the_variables_of_the_copy_in_force_are_kept() {
    let mut environment = redundant([copy_of(Some(1), GOOD_A), copy_of(Some(2), GOOD_B)]);
    environment.store(&good(A)).unwrap();
    let [first, second] = environment.into_files();
    let entries = [b"x=2\0".as_slice(), GOOD_A.strip_prefix(b"x=1\0").unwrap()].concat();
    assert_eq!(first.content, copy_of(Some(3), &entries));
    assert_eq!(second.content, copy_of(Some(2), GOOD_B));
}

#[test]
fn a_damaged_copy_is_reported_and_repaired_by_the_next_write() {
    for (copies, slot) in [
        ([copy_of(Some(1), GOOD_A), vec![0xff; LEN]], A),
        ([vec![0; LEN], copy_of(Some(1), GOOD_B)], B),
        ([copy_of(Some(9), GOOD_A)[..LEN - 1].to_vec(), copy_of(Some(1), GOOD_B)], B),
    ] {
        let mut environment = redundant(copies);
        let state = Some(good(slot));
        assert_eq!(environment.load(), Ok(Loaded { state, health: Health::CopyDamaged }));
        environment.store(&good(slot)).unwrap();
        assert_eq!(environment.load(), Ok(Loaded { state, health: Health::Whole }));
    }
}

#[test]
fn two_damaged_copies_are_an_error_and_nothing_is_written() {
    let mut environment = redundant([vec![0xff; LEN], vec![0; LEN - 1]]);
    let error = environment.load().unwrap_err();
    assert_eq!(environment.store(&good(A)), Err(error.clone()));
    assert_eq!(environment.format(), Err(error.clone()));
    let first = format!(
        "environment has checksum ffffffff and not {:08x}",
        crc32fast::hash(&[0xff; LEN - 5])
    );
    let second = "environment is 511 bytes, not 512";
    let text = format!("boot environment, first copy: {first}; second copy: {second}");
    assert_eq!(format!("{error}"), text);
    assert_eq!(environment.into_files().map(|file| file.writes), [0, 0]);
}

#[test]
fn an_environment_of_others_only_is_a_factory_one() {
    let mut environment = redundant([copy_of(Some(0), b"x=1\0"), copy_of(Some(1), b"x=1\0")]);
    assert_eq!(environment.load(), Ok(Loaded { state: None, health: Health::Whole }));
}

#[test]
fn a_state_that_is_there_is_not_written_again() {
    let mut environment = redundant([copy_of(Some(0), GOOD_B), copy_of(Some(1), GOOD_A)]);
    environment.store(&good(A)).unwrap();
    assert_eq!(environment.into_files().map(|file| file.writes), [0, 0]);
}

#[test]
fn an_impossible_state_is_an_error_until_another_is_stored() {
    let odd = b"gybe_order=c\0gybe_a=good\0gybe_b=bad\0gybe_end=1\0";
    let mut environment = redundant([copy_of(Some(0), odd), copy_of(Some(0), odd)]);
    let text = format!("{}", environment.load().unwrap_err());
    assert_eq!(text, "boot environment: gybe_order has no such value");
    environment.store(&good(B)).unwrap();
    assert_eq!(environment.load().unwrap().state, Some(good(B)));
}

#[test]
fn files_grow_older_by_their_sequence_and_begin_formatted() {
    let mut environment = files([vec![], vec![]]);
    assert!(environment.load().is_err());
    environment.format().unwrap();
    assert_eq!(environment.load(), Ok(Loaded { state: None, health: Health::Whole }));
    environment.store(&good(A)).unwrap();
    environment.store(&good(B)).unwrap();
    let [first, second] = environment.into_files();
    let entries =
        |sequence: &str, state: &[u8]| copy_of(None, &[sequence.as_bytes(), &state[4..]].concat());
    assert_eq!(first.content, entries("gybe_seq=2\0", GOOD_B));
    assert_eq!(second.content, entries("gybe_seq=1\0", GOOD_A));
}

#[test]
fn the_second_file_has_a_short_name() {
    let name = |name| {
        let (stem, two, extension) = second_file_name(name);
        format!("{stem}{two}{extension}")
    };
    assert_eq!(["gybe.env", "env", "a.b.env"].map(name), ["gybe2.env", "env2", "a.b2.env"]);
}
