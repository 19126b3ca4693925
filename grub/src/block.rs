//! The environment block that GRUB's `load_env` and `save_env` know.
//!
//! Source: GRUB 2.06, `grub-core/lib/envblk.c` and `include/grub/lib/envblk.h`, read 2026-11.
//!
//! ```text
//! # GRUB Environment Block\n      the header
//! name=value\n                    a backslash in a value escapes the next byte, a newline too
//! # anything\n                    a comment
//! ########…                       fills the block
//! ```

use core::fmt;
use core::ops::Range;

use gybe_core::boot::variables::{self, Notation, VariableError};
use gybe_core::boot::{BootState, Reason};

/// First line of every block.
const HEADER: &[u8] = b"# GRUB Environment Block\n";

/// Where the first sector ends. What lies before it reaches a medium whole or not at all.
const SECTOR_LEN: usize = 512;

/// Longest text of our own variables: names, `=`, newlines and the longest values. So much room
/// is kept, because the loader has to record a failure without moving anything beyond the end.
#[expect(clippy::indexing_slicing, reason = "the compiler checks it here")]
const OURS_LEN_MAX: usize = {
    let mut len = 0;
    let mut index = 0;
    while index < variables::NAMES.len() {
        len += variables::NAMES[index].len() + "=\n".len();
        index += 1;
    }
    len + "a".len() + 2 * "good".len() + "a".len() + 7 + (2 + Reason::LEN_MAX) + "1".len()
};

/// Where our variables end at the latest.
const OURS_END_MAX: usize = HEADER.len() + OURS_LEN_MAX;

const _: () = assert!(OURS_END_MAX <= SECTOR_LEN);

/// A GRUB environment block of 1024 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    bytes: [u8; Self::LEN],
}

/// Why bytes are not an environment block, or hold no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It has another length.
    #[error("environment block is {found} bytes or more, not {}", Block::LEN)]
    Length {
        /// How many bytes were found, at most one more than a block has.
        found: usize,
    },
    /// It does not begin with the header.
    #[error("environment block does not begin with `# GRUB Environment Block`")]
    Header,
    /// One of our variables is there twice.
    #[error("environment block has {name} twice")]
    Duplicate {
        /// Which.
        name: &'static str,
    },
    /// One of our variables ends beyond the first sector, where a write is not whole or nothing.
    #[error("environment block has {name} up to byte {end}, limit {SECTOR_LEN}")]
    BeyondSector {
        /// Which.
        name: &'static str,
        /// Where its line ends.
        end: usize,
    },
    /// The variables do not hold a state.
    #[error("environment block: {0}")]
    Variables(VariableError),
    /// The variables of others leave no room for ours.
    #[error("environment block would need {needed} bytes, limit {}", Block::LEN)]
    NoRoom {
        /// How many bytes all variables need.
        needed: usize,
    },
}

impl Block {
    /// Length of a block in bytes.
    pub const LEN: usize = 1024;

    /// A block without variables: what a factory image starts with.
    #[must_use]
    pub fn empty() -> Self {
        let mut bytes = [b'#'; Self::LEN];
        for (byte, header) in bytes.iter_mut().zip(HEADER) {
            *byte = *header;
        }
        Self { bytes }
    }

    /// A block from the whole content of its file.
    ///
    /// # Errors
    /// When `content` is not [`Block::LEN`] bytes long, or does not begin as a block does.
    pub fn parse(content: &[u8]) -> Result<Self, BlockError> {
        let bytes = content.try_into().map_err(|_| BlockError::Length { found: content.len() })?;
        if !content.starts_with(HEADER) {
            return Err(BlockError::Header);
        }
        Ok(Self { bytes })
    }

    /// The bytes to write.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }

    /// The value of a variable as it stands in the block, escapes included.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.lines().find(|line| line.name == name.as_bytes()).map(|line| line.value)
    }

    /// The state that the block holds, or `None` when none was ever stored.
    ///
    /// # Errors
    /// When our variables are incomplete, impossible, repeated, or not within the first sector.
    pub fn state(&self) -> Result<Option<BootState>, BlockError> {
        for name in variables::NAMES {
            let mut lines = self.lines().filter(|line| line.name == name.as_bytes());
            if let Some(line) = lines.next()
                && line.place.end > SECTOR_LEN
            {
                return Err(BlockError::BeyondSector { name, end: line.place.end });
            }
            if lines.next().is_some() {
                return Err(BlockError::Duplicate { name });
            }
        }
        // What is not UTF-8 is no value of ours, and neither is the replacement character.
        let text = |value| core::str::from_utf8(value).unwrap_or("\u{fffd}");
        variables::decode(Notation::Unary, |name| self.value(name).map(text))
            .map_err(BlockError::Variables)
    }

    /// This block with `state` in it: our variables first, so that they stay within the first
    /// sector whatever GRUB or others do behind them; then every other line as it was.
    ///
    /// # Errors
    /// When the lines of others leave no room.
    pub fn with_state(&self, state: &BootState) -> Result<Self, BlockError> {
        let mut block = Self::empty();
        let mut end = HEADER.len();
        for variable in variables::encode(state, Notation::Unary) {
            let parts = [variable.name, "=", variable.value(), "\n"];
            for part in parts {
                end = block.put(end, part.as_bytes());
            }
        }
        let room_kept = OURS_END_MAX.saturating_sub(end);
        let ours = |line: &Line<'_>| variables::NAMES.iter().any(|n| n.as_bytes() == line.name);
        for line in self.lines().filter(|line| !ours(line)) {
            end = block.put(end, self.bytes.get(line.place).unwrap_or_default());
        }
        let needed = end.saturating_add(room_kept);
        if needed > Self::LEN {
            return Err(BlockError::NoRoom { needed });
        }
        Ok(block)
    }

    /// Copies `text` to `at` where there is room, and says where it ends, room or not.
    fn put(&mut self, at: usize, text: &[u8]) -> usize {
        let end = at.saturating_add(text.len());
        if let Some(place) = self.bytes.get_mut(at..end) {
            place.copy_from_slice(text);
        }
        end
    }

    /// Every line after the header, up to the fill or the first that is no line.
    fn lines(&self) -> Lines<'_> {
        Lines { bytes: &self.bytes, at: HEADER.len() }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fill_len = self.bytes.iter().rev().take_while(|byte| **byte == b'#').count();
        let text = self.bytes.get(..Self::LEN.saturating_sub(fill_len)).unwrap_or_default();
        write!(f, "Block(\"{}\" and {fill_len} #)", text.escape_ascii())
    }
}

/// A line of a block.
struct Line<'a> {
    /// The bytes before `=`; empty in a comment, which no variable's name is.
    name: &'a [u8],
    value: &'a [u8],
    /// The whole line, its newline included.
    place: Range<usize>,
}

struct Lines<'a> {
    bytes: &'a [u8; Block::LEN],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let comment = rest.starts_with(b"#");
        let len = line_len(rest, comment)?;
        let line =
            rest.get(..len).filter(|line| !comment || !line.iter().any(u8::is_ascii_control))?;
        let start = self.at;
        self.at = start.checked_add(len)?.checked_add(1)?;
        let (name, value) = if comment {
            (&[][..], line)
        } else {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            let name = line.get(..equals).filter(|name| is_name(name))?;
            (name, line.get(equals.checked_add(1)?..)?)
        };
        Some(Line { name, value, place: start..self.at })
    }
}

/// Whether `name` can be a variable's. A ruined sector is noise, which must not be kept as if it were
/// the variables of others: it would take the room of ours.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// How long the line at the start of `rest` is without its newline. `None`: it does not end.
fn line_len(rest: &[u8], comment: bool) -> Option<usize> {
    let mut escaped = false;
    rest.iter().position(|byte| {
        let ends = *byte == b'\n' && !escaped;
        escaped = !comment && *byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests;
