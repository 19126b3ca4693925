//! Records of a target's page: chunks and runs of zeros. All numbers are little-endian.
//!
//! ```text
//! chunk   1 │ count-1 u8 │ block in frame u16 │ pack u16 │ frame u32 │ anchor 4 │ digest 32
//! zeros   2 │ 0 u8       │ 0 u16              │ count u32
//! ```

use super::{FrameIndex, PackId, RecipeError};
use crate::chunk::{Anchor, CHUNK_BLOCKS_MAX};
use crate::digest::Digest;

const CHUNK: u8 = 1;
const ZEROS: u8 = 2;

/// The longest record in bytes.
pub const RECORD_LEN_MAX: usize = CHUNK_LEN;
const CHUNK_LEN: usize = 46;
const ZEROS_LEN: usize = 8;

const _: () = assert!(CHUNK_BLOCKS_MAX == 256, "count-1 fits a byte");

/// What the next blocks of a target are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Data.
    Chunk(Chunk),
    /// Zeros.
    Zeros {
        /// How many blocks, at least one.
        count: u32,
    },
}

/// A chunk and where its data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How many blocks, `1..=CHUNK_BLOCKS_MAX`.
    pub count: u32,
    /// The chunk's digest.
    pub digest: Digest,
    /// The beginning of its first block's leaf hash: a hint, believed by nobody.
    pub anchor: Anchor,
    /// Where the data lies.
    pub stored: Stored,
}

/// Where a chunk's data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// In which pack.
    pub pack: PackId,
    /// In which frame of it.
    pub frame: FrameIndex,
    /// From which block of the decoded frame on.
    pub block: u16,
}

impl Record {
    /// How many blocks of the target this describes.
    #[must_use]
    pub const fn count(&self) -> u32 {
        match self {
            Self::Chunk(chunk) => chunk.count,
            Self::Zeros { count } => *count,
        }
    }

    /// Writes the record to the start of `out` and says how long it is.
    ///
    /// `None` when `out` is shorter than [`RECORD_LEN_MAX`] or a count is out of range.
    #[must_use]
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Chunk(chunk) => {
                let count = u8::try_from(chunk.count.checked_sub(1)?).ok()?;
                let out = out.first_chunk_mut::<CHUNK_LEN>()?;
                out[0] = CHUNK;
                out[1] = count;
                out[2..4].copy_from_slice(&chunk.stored.block.to_le_bytes());
                out[4..6].copy_from_slice(&chunk.stored.pack.0.to_le_bytes());
                out[6..10].copy_from_slice(&chunk.stored.frame.0.to_le_bytes());
                out[10..14].copy_from_slice(&chunk.anchor.0);
                out[14..46].copy_from_slice(chunk.digest.as_bytes());
                Some(CHUNK_LEN)
            }
            Self::Zeros { count } => {
                let out = out.first_chunk_mut::<ZEROS_LEN>()?;
                out[..4].copy_from_slice(&[ZEROS, 0, 0, 0]);
                out[4..].copy_from_slice(&count.to_le_bytes());
                (*count > 0).then_some(ZEROS_LEN)
            }
        }
    }

    /// The record at the start of `bytes`, and its length.
    fn decode(bytes: &[u8]) -> Result<(Self, usize), &'static str> {
        match bytes.first() {
            Some(&CHUNK) => {
                let bytes = bytes.first_chunk::<CHUNK_LEN>().ok_or("a chunk record is cut off")?;
                let [_, count, b0, b1, p0, p1, f0, f1, f2, f3, a0, a1, a2, a3, digest @ ..] =
                    *bytes;
                let chunk = Chunk {
                    count: u32::from(count).saturating_add(1),
                    digest: Digest::new(digest),
                    anchor: Anchor([a0, a1, a2, a3]),
                    stored: Stored {
                        pack: PackId(u16::from_le_bytes([p0, p1])),
                        frame: FrameIndex(u32::from_le_bytes([f0, f1, f2, f3])),
                        block: u16::from_le_bytes([b0, b1]),
                    },
                };
                Ok((Self::Chunk(chunk), CHUNK_LEN))
            }
            Some(&ZEROS) => {
                let bytes = bytes.first_chunk::<ZEROS_LEN>().ok_or("a zero record is cut off")?;
                let [_, z0, z1, z2, count @ ..] = *bytes;
                match u32::from_le_bytes(count) {
                    _ if [z0, z1, z2] != [0; 3] => Err("reserved bytes of a zero record are used"),
                    0 => Err("a run of no zeros"),
                    count => Ok((Self::Zeros { count }, ZEROS_LEN)),
                }
            }
            Some(_) => Err("a record of a kind that this gybe does not know"),
            None => Err("no record"),
        }
    }
}

/// The records of one verified page of a target. Made by [`super::Entry::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    pub(super) page: u32,
    pub(super) rest: &'a [u8],
    pub(super) at: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecipeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Record::decode(self.rest) {
            Ok((record, len)) => {
                self.rest = self.rest.get(len..).unwrap_or_default();
                self.at = self.at.saturating_add(len);
                Some(Ok(record))
            }
            Err(what) => {
                self.rest = &[];
                let at = u32::try_from(self.at).unwrap_or(u32::MAX);
                Some(Err(RecipeError::Record { page: self.page, at, what }))
            }
        }
    }
}
