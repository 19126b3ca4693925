//! Trailers: found when whole, not found when anything is wrong.
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::block::memory::Memory;

const PART_BYTES: [&[u8]; PARTS] = [b"manifest", b"config", b"", &[7; 5000]];

/// A partition of 40 blocks, the first 10 in use, with a whole trailer.
fn partition() -> (Memory, Trailer) {
    let parts = PART_BYTES.map(|bytes| (bytes.len() as u64, Digest::of(bytes)));
    let mut trailer = Trailer::plan(Digest::of(b"release"), parts, 10, 40).unwrap();
    trailer.progress = Progress::Complete;
    let mut medium = Memory(vec![[0xaa; BLOCK_LEN]; 40]);
    for (name, bytes) in PartName::ALL.into_iter().zip(PART_BYTES) {
        let part = trailer.part(name);
        let room = &mut medium.0[part.start.0 as usize..][..part.blocks() as usize];
        room.as_flattened_mut()[..bytes.len()].copy_from_slice(bytes);
    }
    medium.0[39] = trailer.encode();
    (medium, trailer)
}

#[test]
fn a_whole_trailer_is_found_with_all_its_parts() {
    let (mut medium, trailer) = partition();
    assert_eq!(Trailer::read(&mut medium), Ok(trailer));
    for (name, bytes) in PartName::ALL.into_iter().zip(PART_BYTES) {
        let mut room = [[0; BLOCK_LEN]; 2];
        assert_eq!(trailer.read_part(&mut medium, name, &mut room), Ok(bytes));
        assert_eq!(trailer.check_part(&mut medium, name), Ok(()));
    }
    let mut room = [[0; BLOCK_LEN]];
    let short = trailer.read_part(&mut medium, PartName::Recipe, &mut room);
    let error = TrailerError::TooLong { part: PartName::Recipe, len: 5000, limit: 4096 };
    assert_eq!(short, Err(error));
}

#[test]
fn a_trailer_that_does_not_fit_is_not_planned() {
    let parts = PART_BYTES.map(|bytes| (bytes.len() as u64, Digest::of(bytes)));
    assert_eq!(Trailer::blocks_needed(parts.map(|(len, _)| len)), 5);
    assert!(Trailer::plan(Digest::of(b""), parts, 35, 40).is_some());
    assert!(Trailer::plan(Digest::of(b""), parts, 36, 40).is_none());
    assert!(Trailer::plan(Digest::of(b""), parts, 0, 3).is_none());
}

#[test]
fn damaged_parts_and_newer_footers_are_told_apart() {
    let (mut medium, trailer) = partition();
    medium.0[trailer.part(PartName::Config).start.0 as usize][0] ^= 1;
    let damaged = TrailerError::Damaged { part: PartName::Config };
    assert_eq!(trailer.check_part(&mut medium, PartName::Config), Err(damaged));
    medium.0[39][100] ^= 1;
    let damaged = TrailerError::Footer { index: BlockIndex(39) };
    assert_eq!(Trailer::read(&mut medium), Err(damaged));
    medium.0[39][8] = 2;
    assert_eq!(Trailer::read(&mut medium), Err(TrailerError::Version { found: 2 }));
    assert_eq!(Trailer::read(&mut Memory(vec![])), Err(TrailerError::Absent));
}

#[test]
fn signatures_are_read_back_until_one_is_cut_off() {
    let all = [
        Signature::Simple { payload: b"payload", signature: b"c2ln" },
        Signature::Bundle(b"{}"),
        Signature::Index(b"[]"),
        Signature::Simple { payload: b"", signature: b"" },
    ];
    let mut bytes = Vec::new();
    for signature in &all {
        encode_signature(signature, &mut |piece| bytes.extend_from_slice(piece));
    }
    assert_eq!(Signatures::new(&bytes).collect::<Vec<_>>(), all);
    bytes.pop();
    bytes.truncate(bytes.len() - 8);
    assert_eq!(Signatures::new(&bytes).collect::<Vec<_>>(), all[..3]);
}

proptest! {
    #[test]
    fn a_footer_with_any_bit_flipped_is_no_footer(at in 0usize..BLOCK_LEN * 8) {
        let (mut medium, _) = partition();
        medium.0[39][at / 8] ^= 1 << (at % 8);
        prop_assert!(Trailer::read(&mut medium).is_err());
    }

    #[test]
    fn any_bytes_are_signatures_or_none(bytes in proptest::collection::vec(0u8..5, 0..64)) {
        for signature in Signatures::new(&bytes) {
            let mut again = Vec::new();
            encode_signature(&signature, &mut |piece| again.extend_from_slice(piece));
            prop_assert!(again.len() <= bytes.len());
        }
    }
}
