//! ECDSA signatures in DER, for curves of 256 bits.
//!
//! ```text
//! SEQUENCE { INTEGER r, INTEGER s }       each shortest, positive, of at most 33 bytes
//! ```
//!
//! Source: RFC 3279, section 2.2.3; X.690, sections 8.3 and 10.1. Every length fits the short form.
//! Written here, because a library for all of DER is larger than all it is needed for.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// Length of a number in bytes.
const NUMBER_LEN: usize = 32;

/// The numbers r and s, big-endian; `None` unless `der` is exactly their one encoding.
pub(super) fn numbers(der: &[u8]) -> Option<([u8; NUMBER_LEN], [u8; NUMBER_LEN])> {
    let (content, []) = value(der, SEQUENCE)? else { return None };
    let (r, rest) = value(content, INTEGER)?;
    let (s, []) = value(rest, INTEGER)? else { return None };
    Some((number(r)?, number(s)?))
}

/// The content of the value at the start of `bytes`, which must have this tag, and what follows it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let ([found, len], rest) = bytes.split_first_chunk::<2>()?;
    if *found != tag || *len >= 0x80 {
        return None;
    }
    rest.split_at_checked(usize::from(*len))
}

fn number(content: &[u8]) -> Option<[u8; NUMBER_LEN]> {
    let digits = match content {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => rest,
        // Nothing, negative, or longer than it must be. A lone 0 is no part of a signature.
        [] | [0 | 0x80.., ..] => return None,
        digits => digits,
    };
    let mut number = [0; NUMBER_LEN];
    let room = number.get_mut(NUMBER_LEN.checked_sub(digits.len())?..)?;
    room.copy_from_slice(digits);
    Some(number)
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
    use proptest::prelude::*;

    use super::numbers;

    /// What the library makes of it.
    fn library(der: &[u8]) -> Option<Signature> {
        Signature::from_der(der).ok()
    }

    fn ours(der: &[u8]) -> Option<Signature> {
        let (r, s) = numbers(der)?;
        Signature::from_scalars(r, s).ok()
    }

    #[test]
    fn numbers_of_every_length_are_read_in_their_one_encoding() {
        for (der, right) in [
            (&[0x30, 6, 2, 1, 1, 2, 1, 2][..], true),
            (&[0x30, 7, 2, 2, 0, 0x80, 2, 1, 2], true),
            (&[0x30, 7, 2, 2, 0, 0x7f, 2, 1, 2], false),
            (&[0x30, 6, 2, 1, 0x80, 2, 1, 2], false),
            (&[0x30, 6, 2, 1, 0, 2, 1, 2], false),
            (&[0x30, 5, 2, 0, 2, 1, 2], false),
            (&[0x30, 7, 2, 1, 1, 2, 1, 2, 0], false),
            (&[0x30, 6, 2, 1, 1, 2, 1, 2, 0], false),
            (&[0x30, 0x81, 6, 2, 1, 1, 2, 1, 2], false),
            (&[0x31, 6, 2, 1, 1, 2, 1, 2], false),
            (&[0x30, 3, 2, 1, 1], false),
            (&[], false),
        ] {
            assert_eq!(ours(der).is_some(), right, "{der:x?}");
            assert_eq!(ours(der), library(der), "{der:x?}");
        }
    }

    proptest! {
        #[test]
        fn the_library_agrees_on_signatures_and_on_what_is_none(
            message: [u8; 4], at in 0usize..72, value: u8, cut in 0usize..=72,
        ) {
            let key = SigningKey::from_slice(&[7; 32]).unwrap();
            let signature: Signature = key.sign(&message);
            let mut der = signature.to_der().as_bytes().to_vec();
            prop_assert_eq!(ours(&der), Some(signature));
            let at = at % der.len();
            der[at] = value;
            prop_assert_eq!(ours(&der), library(&der));
            der.truncate(cut);
            prop_assert_eq!(ours(&der), library(&der));
        }
    }
}
