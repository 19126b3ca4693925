//! CRC-32 as zlib and U-Boot compute it, four bits at a time.
//!
//! A few KiB are summed a few times a year, and faster ways bring 16 KiB of tables, which a
//! microcontroller has no flash for. Source: RFC 1952, section 8.

const POLYNOMIAL: u32 = 0xedb8_8320;

/// What four bits that leave the register do to the rest of it.
const TABLE: [u32; 16] = table();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler checks it here"
)]
const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let (mut index, mut half) = (0, 0u32);
    while index < table.len() {
        let (mut register, mut bits) = (half, 0);
        while bits < 4 {
            let carry = register & 1;
            register = (register >> 1) ^ (POLYNOMIAL * carry);
            bits += 1;
        }
        table[index] = register;
        (index, half) = (index + 1, half + 1);
    }
    table
}

/// The checksum of `bytes`.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let halves = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
    !halves.fold(!0, |crc, half| {
        let index = (crc & 15) ^ u32::from(half);
        let found = usize::try_from(index).ok().and_then(|index| TABLE.get(index));
        (crc >> 4) ^ found.copied().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::crc32;

    #[test]
    fn the_checksum_of_the_check_string_is_the_one_in_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    proptest! {
        #[test]
        fn another_implementation_agrees(bytes: std::vec::Vec<u8>) {
            prop_assert_eq!(crc32(&bytes), crc32fast::hash(&bytes));
        }
    }
}
