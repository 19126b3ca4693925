//! Claims about one copy of an environment.

use std::vec;
use std::vec::Vec;

use gybe_core::boot::Trial;
use gybe_core::slot::Slot;
use proptest::prelude::*;

use super::*;

const LEN: usize = 512;

/// A copy with these entries, as U-Boot writes it.
pub(crate) fn copy_of(flags: Option<u8>, entries: &[u8]) -> Vec<u8> {
    let mut data = entries.to_vec();
    data.resize(LEN - 4 - usize::from(flags.is_some()), 0);
    let mut image = crc32fast::hash(&data).to_le_bytes().to_vec();
    image.extend(flags);
    image.extend(data);
    image
}

fn trial() -> BootState {
    let trial = Some(Trial { slot: Slot::B, tries_left: 3 });
    BootState { trial, ..BootState::factory(Some(Slot::A)) }
}

#[test]
fn a_state_is_written_behind_the_variables_of_others() {
    let old = copy_of(Some(9), b"bootcmd=run x\0bootdelay=2\0\0");
    let mut new = vec![0xaa; LEN];
    let image = Image::parse_redundant(&old).unwrap();
    image.write(Some(&trial()), Stamp::Flags(10), &mut new).unwrap();
    let entries = b"bootcmd=run x\0bootdelay=2\0gybe_order=a\0gybe_a=good\0gybe_b=bad\0gybe_try=b\0gybe_tries=3\0gybe_end=1\0\0";
    assert_eq!(new, copy_of(Some(10), entries));
}

#[test]
fn a_file_has_no_flags_and_carries_its_age() {
    let mut new = vec![0; LEN];
    let state = BootState::factory(Some(Slot::B));
    Image::empty_file().write(Some(&state), Stamp::Sequence(0x1a0), &mut new).unwrap();
    let entries = b"gybe_seq=1a0\0gybe_order=b\0gybe_a=bad\0gybe_b=good\0gybe_end=1\0\0";
    assert_eq!(new, copy_of(None, entries));
    let image = Image::parse_file(&new).unwrap();
    assert_eq!(image.stamp(), Stamp::Sequence(0x1a0));
    assert_eq!(image.state(), Ok(Some(state)));
}

#[test]
fn an_empty_environment_has_no_state() {
    for entries in [&b""[..], b"\0\0", b"bootdelay=2\0\0"] {
        let copy = copy_of(Some(0), entries);
        assert_eq!(Image::parse_redundant(&copy).unwrap().state(), Ok(None));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = copy_of(Some(1), b"gybe_order=a\0\0");
    for bit in 0..LEN * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // The checksum does not cover the flags: U-Boot's layout, not ours.
        if bit / 8 != 4 {
            assert!(Image::parse_redundant(&bad).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn what_is_too_short_or_never_ends_is_refused() {
    for len in 0..7 {
        let error = ImageError::Length { found: len, expected: 7 };
        assert_eq!(Image::parse_redundant(&vec![0; len]).unwrap_err(), error);
    }
    let endless = copy_of(None, &[b'x'; LEN - 4]);
    assert_eq!(Image::parse_file(&endless).unwrap_err(), ImageError::NoEndMark { len: LEN - 4 });
}

#[test]
fn a_repeated_variable_is_an_error() {
    let copy = copy_of(None, b"gybe_try=a\0gybe_end=1\0gybe_try=b\0\0");
    let error = ImageError::Duplicate { name: "gybe_try" };
    assert_eq!(Image::parse_file(&copy).unwrap().state(), Err(error));
}

#[test]
fn an_age_that_is_no_number_is_refused() {
    for entries in [&b"gybe_seq=x\0\0"[..], b"gybe_seq=100000000\0\0", b"gybe_seq=\0\0"] {
        assert_eq!(Image::parse_file(&copy_of(None, entries)).unwrap_err(), ImageError::Sequence);
    }
    assert_eq!(Stamp::Sequence(u32::MAX).next(), Err(ImageError::Sequence));
}

#[test]
fn a_full_environment_is_refused_with_both_numbers() {
    let mut entries = b"long=".to_vec();
    entries.resize(LEN - 6, b'y');
    let old = copy_of(None, &entries);
    let image = Image::parse_file(&old).unwrap();
    let written = image.write(Some(&trial()), Stamp::Sequence(1), &mut [0; LEN]);
    let ours =
        "gybe_seq=1\0gybe_order=a\0gybe_a=good\0gybe_b=bad\0gybe_try=b\0gybe_tries=3\0gybe_end=1\0";
    let needed = 4 + LEN - 6 + 1 + ours.len() + 1;
    assert_eq!(written, Err(ImageError::NoRoom { needed, limit: LEN }));
}

/// Measured with libubootenv 0.3.2, and the same as in U-Boot's `env/common.c`.
#[test]
fn of_two_copies_the_one_in_force_is_the_one_u_boot_takes() {
    for (first, second, in_force) in [
        (1, 2, 1),
        (2, 1, 0),
        (0, 1, 1),
        (1, 0, 0),
        (127, 128, 1),
        (128, 127, 0),
        (254, 255, 1),
        (255, 254, 0),
        (255, 0, 1),
        (0, 255, 0),
        (5, 5, 0),
        (0, 0, 0),
        (255, 255, 0),
        (1, 255, 1),
        (255, 1, 0),
        (0, 254, 1),
    ] {
        let first_in_force = Stamp::Flags(first).is_in_force_against(Stamp::Flags(second));
        assert_eq!(first_in_force, in_force == 0, "({first}, {second})");
    }
}

#[test]
fn numbers_are_written_as_setexpr_writes_them() {
    for (number, digits) in
        [(0, "0"), (9, "9"), (10, "a"), (0x1f00, "1f00"), (u32::MAX, "ffffffff")]
    {
        assert_eq!(hex(number, &mut [0; 8]), digits.as_bytes());
    }
}

proptest! {
    #[test]
    fn variables_of_others_are_kept_byte_for_byte(
        foreign in proptest::collection::vec(("[a-z]{1,9}", proptest::collection::vec(1_u8.., 0..20)), 0..9),
        flags in any::<u8>(),
    ) {
        let entries: Vec<u8> = foreign
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), b"=", value, b"\0"].concat())
            .collect();
        let old = copy_of(Some(flags), &entries);
        let mut new = vec![0; LEN];
        let stamp = Stamp::Flags(flags).next().unwrap();
        Image::parse_redundant(&old).unwrap().write(Some(&trial()), stamp, &mut new).unwrap();
        prop_assert!(new[5..].starts_with(&entries));
        let image = Image::parse_redundant(&new).unwrap();
        prop_assert_eq!(image.state(), Ok(Some(trial())));
        prop_assert_eq!(image.stamp(), stamp);
        let mut again = vec![0; LEN];
        image.write(None, Stamp::Flags(flags), &mut again).unwrap();
        prop_assert_eq!(again, old);
    }

    #[test]
    fn any_bytes_are_read_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..99)) {
        for copy in [copy_of(None, &noise), copy_of(Some(1), &noise)] {
            let _either = Image::parse_file(&copy).map(|image| image.state());
            let _either = Image::parse_redundant(&copy).map(|image| image.state());
        }
        let _refused = Image::parse_file(&noise);
    }
}
