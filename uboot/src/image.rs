//! One copy of a U-Boot environment, as it lies on a medium.
//!
//! Source: U-Boot 2025.01, `include/env_internal.h` (`env_t`) and `lib/hashtable.c`
//! (`hexport_r`, `himport_r`), read 2026-11.
//!
//! ```text
//! u32 LE  CRC-32 of everything behind this head
//! u8      flags, only in a redundant environment: the age of the copy
//! …       name=value\0 … name=value\0 \0, filled up to the length of the copy
//! ```

mod checksum;

use gybe_core::boot::BootState;
use gybe_core::boot::variables::{self, Notation, VariableError};

use checksum::crc32;

/// Variable with the age of a file, in the two-file form: a hexadecimal number that grows by one
/// with every write. Ours too, but not part of the state.
pub const SEQUENCE: &str = "gybe_seq";

/// Length of the checksum at the start.
const CRC_LEN: usize = 4;

/// How a copy says its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// A flags byte behind the checksum, which wraps: a redundant environment.
    Flags(u8),
    /// The variable [`SEQUENCE`]: one of two files, which stock U-Boot imports.
    Sequence(u32),
}

impl Stamp {
    /// The stamp of the copy that is written next.
    ///
    /// # Errors
    /// [`ImageError::Sequence`] after 4,294,967,295 writes.
    pub(crate) fn next(self) -> Result<Self, ImageError> {
        match self {
            Self::Flags(flags) => Ok(Self::Flags(flags.wrapping_add(1))),
            Self::Sequence(number) => {
                number.checked_add(1).map(Self::Sequence).ok_or(ImageError::Sequence)
            }
        }
    }

    /// Whether a copy with this stamp is the one in force, when the second copy has `second`. The
    /// rule for flags is that of U-Boot's `env/common.c`.
    pub(crate) fn is_in_force_against(self, second: Self) -> bool {
        match (self, second) {
            (Self::Flags(255), Self::Flags(0)) => false,
            (Self::Flags(0), Self::Flags(255)) => true,
            (Self::Flags(first), Self::Flags(second)) => first >= second,
            (Self::Sequence(first), Self::Sequence(second)) => first >= second,
            // Two copies of one environment have stamps of one kind.
            _ => true,
        }
    }
}

/// A copy of an environment whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    stamp: Stamp,
    entries: &'a [u8],
}

/// Why bytes are not a copy of an environment, or hold no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It is too short for anything.
    #[error("environment is {found} bytes, not {expected}")]
    Length {
        /// How many bytes there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The checksum is wrong.
    #[error("environment has checksum {found:08x} and not {expected:08x}")]
    Checksum {
        /// What stands at its start.
        found: u32,
        /// What was computed.
        expected: u32,
    },
    /// The variables do not end.
    #[error("environment has no end mark within its {len} bytes")]
    NoEndMark {
        /// Its length.
        len: usize,
    },
    /// One of our variables is there twice.
    #[error("environment has {name} twice")]
    Duplicate {
        /// Which.
        name: &'static str,
    },
    /// The age is not a hexadecimal number of 32 bits, or has reached its end.
    #[error("gybe_seq is not a hexadecimal number below ffffffff")]
    Sequence,
    /// The variables do not hold a state.
    #[error("environment: {0}")]
    Variables(VariableError),
    /// The variables of others leave no room for ours.
    #[error("environment would need {needed} bytes, limit {limit}")]
    NoRoom {
        /// How many bytes all variables need, with head and end mark.
        needed: usize,
        /// The length of the copy.
        limit: usize,
    },
}

impl<'a> Image<'a> {
    /// A copy of a redundant environment, which has a flags byte.
    ///
    /// # Errors
    /// When checksum or end mark are wrong.
    pub fn parse_redundant(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let (data, head_len) = (checked(bytes, CRC_LEN.saturating_add(1))?, CRC_LEN);
        let flags = bytes.get(head_len).copied().unwrap_or_default();
        Ok(Self { stamp: Stamp::Flags(flags), entries: entries(data)? })
    }

    /// One of two files, whose age is a variable; without it, the age is 0.
    ///
    /// # Errors
    /// When checksum, end mark or age are wrong.
    pub fn parse_file(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let entries = entries(checked(bytes, CRC_LEN)?)?;
        let image = Self { stamp: Stamp::Sequence(0), entries };
        let number = match image.value(SEQUENCE) {
            None => 0,
            Some(digits) => u32::from_str_radix(digits, 16).map_err(|_| ImageError::Sequence)?,
        };
        Ok(Self { stamp: Stamp::Sequence(number), ..image })
    }

    /// A copy without variables, older than any other.
    #[must_use]
    pub const fn empty_file() -> Self {
        Self { stamp: Stamp::Sequence(0), entries: &[] }
    }

    /// The age of the copy.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The value of a variable; one that is not UTF-8 reads as U+FFFD.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        let value = self.entries().find_map(|entry| value_of(entry, name))?;
        Some(core::str::from_utf8(value).unwrap_or("\u{fffd}"))
    }

    /// The state in this copy, or `None` when none was ever stored.
    ///
    /// # Errors
    /// When our variables are incomplete, impossible or repeated.
    pub fn state(&self) -> Result<Option<BootState>, ImageError> {
        for name in variables::NAMES {
            if self.entries().filter(|entry| value_of(entry, name).is_some()).nth(1).is_some() {
                return Err(ImageError::Duplicate { name });
            }
        }
        variables::decode(Notation::Digit, |name| self.value(name)).map_err(ImageError::Variables)
    }

    /// Writes to `out` a copy of all of its length, with `state`, `stamp` and every other variable
    /// of this one, byte for byte and in the same order. Without a state: only those.
    ///
    /// # Errors
    /// When there is no room; `out` is then unspecified.
    pub fn write(
        &self,
        state: Option<&BootState>,
        stamp: Stamp,
        out: &mut [u8],
    ) -> Result<(), ImageError> {
        let limit = out.len();
        out.fill(0);
        let mut end = CRC_LEN;
        if let Stamp::Flags(flags) = stamp {
            end = put(out, end, &[flags]);
        }
        let head_len = end;
        for entry in self.entries().filter(|entry| !is_ours(entry, stamp)) {
            end = put(out, end, entry);
            end = put(out, end, b"\0");
        }
        if let Stamp::Sequence(number) = stamp {
            let mut digits = [0; 8];
            for part in [SEQUENCE.as_bytes(), b"=", hex(number, &mut digits), b"\0"] {
                end = put(out, end, part);
            }
        }
        let ours = state.map(|state| variables::encode(state, Notation::Digit));
        let set = |variable: &&variables::Variable| !variable.value().is_empty();
        for variable in ours.iter().flatten().filter(set) {
            for part in [variable.name, "=", variable.value(), "\0"] {
                end = put(out, end, part.as_bytes());
            }
        }
        // An environment without variables ends with two zero bytes too.
        let end = end.max(head_len.saturating_add(1)).saturating_add(1);
        if end > limit {
            return Err(ImageError::NoRoom { needed: end, limit });
        }
        let crc = crc32(out.get(head_len..).unwrap_or_default());
        put(out, 0, &crc.to_le_bytes());
        Ok(())
    }

    /// Every `name=value`, without its zero byte.
    fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.entries.split(|byte| *byte == 0).filter(|entry| !entry.is_empty())
    }
}

/// What lies behind a head of `head_len` bytes, if the checksum at its start is right.
fn checked(bytes: &[u8], head_len: usize) -> Result<&[u8], ImageError> {
    let length = ImageError::Length { found: bytes.len(), expected: head_len.saturating_add(2) };
    let (crc, _) = bytes.split_first_chunk::<CRC_LEN>().ok_or(length)?;
    let data = bytes.get(head_len..).filter(|data| data.len() >= 2).ok_or(length)?;
    let (found, expected) = (u32::from_le_bytes(*crc), crc32(data));
    if found == expected { Ok(data) } else { Err(ImageError::Checksum { found, expected }) }
}

/// The part of `data` before its end mark: an empty entry.
fn entries(data: &[u8]) -> Result<&[u8], ImageError> {
    let end = data.windows(2).position(|pair| pair == [0, 0]);
    let end = if data.first() == Some(&0) { Some(0) } else { end };
    end.and_then(|end| data.get(..end)).ok_or(ImageError::NoEndMark { len: data.len() })
}

fn value_of<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn is_ours(entry: &[u8], stamp: Stamp) -> bool {
    let sequence = matches!(stamp, Stamp::Sequence(_)).then_some(SEQUENCE);
    variables::NAMES.into_iter().chain(sequence).any(|name| value_of(entry, name).is_some())
}

/// Copies `text` to `at` where there is room, and says where it ends, room or not.
fn put(out: &mut [u8], at: usize, text: &[u8]) -> usize {
    let end = at.saturating_add(text.len());
    if let Some(place) = out.get_mut(at..end) {
        place.copy_from_slice(text);
    }
    end
}

/// The digits of `number` as U-Boot's `setexpr` writes them: lower case, no leading zeros.
fn hex(number: u32, digits: &mut [u8; 8]) -> &[u8] {
    for (digit, shift) in digits.iter_mut().rev().zip((0_u32..).step_by(4)) {
        let nibble = number.checked_shr(shift).unwrap_or(0) & 0xf;
        *digit = char::from_digit(nibble, 16).map_or(b'0', |c| u8::try_from(c).unwrap_or(b'0'));
    }
    let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(7);
    digits.get(first..).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
