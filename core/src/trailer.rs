//! The trailer: what a slot says about itself, behind everything that is hashed.
//!
//! The last block of the root target's partition is the footer. It says which release the slot
//! holds and where that release's manifest, configuration, signatures and recipe lie, in the
//! blocks before it, each with its digest:
//!
//! ```text
//! │ target │ tree │   free   │ manifest │ configuration │ signatures │ recipe │ footer │
//! ```
//!
//! A footer that says *draft* is a hint that an install of that release was interrupted. It is
//! never believed: whatever it promises is hashed before it is used. All numbers are little-endian.

use core::slice;

use crate::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks};
use crate::digest::{Digest, Hasher};

mod signatures;

pub use signatures::{SIGNATURES_LEN_MAX, Signature, Signatures, encode as encode_signature};

const MAGIC: &[u8; 8] = b"GYBETRL\0";
const VERSION: u16 = 1;
const DRAFT: u8 = 1;
const COMPLETE: u8 = 2;
const RELEASE_AT: usize = 16;
const PARTS_AT: usize = 48;
const PART_LEN: usize = 48;
const SEAL_AT: usize = BLOCK_LEN - Digest::LEN;

/// How many parts a trailer has.
pub const PARTS: usize = 4;

/// One of the things that a trailer holds, in the order in which they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartName {
    /// The release's manifest.
    Manifest,
    /// Its configuration.
    Config,
    /// The signatures under which it was accepted.
    Signatures,
    /// Its recipe: the table and all pages.
    Recipe,
}

impl PartName {
    /// All parts in order.
    pub const ALL: [Self; PARTS] = [Self::Manifest, Self::Config, Self::Signatures, Self::Recipe];

    const fn index(self) -> usize {
        self as usize
    }
}

/// Where a part lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first block on the partition.
    pub start: BlockIndex,
    /// Its length in bytes; the last block is filled up with zeros.
    pub len: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl Part {
    /// How many blocks it takes.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.len.div_ceil(BLOCK_LEN_U64)
    }
}

/// How far the slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An install of the release began here.
    Draft,
    /// Everything was written.
    Complete,
}

/// A slot's trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// How far the slot has come.
    pub progress: Progress,
    /// The digest of the release's manifest.
    pub release: Digest,
    parts: [Part; PARTS],
}

/// Why a trailer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrailerError<E> {
    /// The partition has no block for a footer, or it cannot be read.
    #[error("cannot read trailer block {index}: {cause}")]
    Read {
        /// Which block.
        index: BlockIndex,
        /// What the medium said.
        cause: E,
    },
    /// The last block is not a footer.
    #[error("no trailer")]
    Absent,
    /// The last block was a footer once.
    #[error("trailer: the footer in block {index} is damaged")]
    Footer {
        /// Which block.
        index: BlockIndex,
    },
    /// It is a footer of a version that we do not know.
    #[error("trailer has format version {found}, this gybe knows version 1")]
    Version {
        /// The version found.
        found: u16,
    },
    /// A part is not the one that the footer names.
    #[error("trailer: the {part:?} part is damaged")]
    Damaged {
        /// Which part.
        part: PartName,
    },
    /// A part is longer than the room given for it.
    #[error("trailer: the {part:?} part has {len} bytes, limit {limit}")]
    TooLong {
        /// Which part.
        part: PartName,
        /// How long it is.
        len: u64,
        /// How long it may be.
        limit: u64,
    },
}

impl Trailer {
    /// A draft for a partition of `block_count` blocks whose first `taken` are in use; `None` when
    /// the parts do not fit behind them. `parts` gives length and digest of each, in order.
    #[must_use]
    pub fn plan(
        release: Digest,
        parts: [(u64, Digest); PARTS],
        taken: u64,
        block_count: u64,
    ) -> Option<Self> {
        let needed = Self::blocks_needed(parts.map(|(len, _)| len));
        let mut start = block_count.checked_sub(needed).filter(|start| *start >= taken)?;
        let parts = parts.map(|(len, digest)| {
            let part = Part { start: BlockIndex(start), len, digest };
            start = start.saturating_add(part.blocks());
            part
        });
        Some(Self { progress: Progress::Draft, release, parts })
    }

    /// How many blocks parts of these lengths and the footer take.
    #[must_use]
    pub fn blocks_needed(lens: [u64; PARTS]) -> u64 {
        lens.iter().fold(1, |sum, len| sum.saturating_add(len.div_ceil(BLOCK_LEN_U64)))
    }

    /// Where a part lies.
    #[must_use]
    pub fn part(&self, name: PartName) -> &Part {
        match self.parts.get(name.index()) {
            Some(part) => part,
            None => unreachable!("PartName has PARTS variants"),
        }
    }

    /// The footer's bytes.
    #[must_use]
    pub fn encode(&self) -> Block {
        let mut block = [0; BLOCK_LEN];
        self.encode_to(&mut block);
        block
    }

    /// Makes `block` what [`Trailer::encode`] gives.
    pub(crate) fn encode_to(&self, block: &mut Block) {
        block.fill(0);
        block[..8].copy_from_slice(MAGIC);
        block[8..10].copy_from_slice(&VERSION.to_le_bytes());
        block[10] = match self.progress {
            Progress::Draft => DRAFT,
            Progress::Complete => COMPLETE,
        };
        block[12..16].copy_from_slice(&4u32.to_le_bytes());
        block[RELEASE_AT..PARTS_AT].copy_from_slice(self.release.as_bytes());
        let (rooms, _) = block[PARTS_AT..SEAL_AT].as_chunks_mut::<PART_LEN>();
        for (room, part) in rooms.iter_mut().zip(&self.parts) {
            room[..8].copy_from_slice(&part.start.0.to_le_bytes());
            room[8..16].copy_from_slice(&part.len.to_le_bytes());
            room[16..48].copy_from_slice(part.digest.as_bytes());
        }
        let seal = Digest::of(&block[..SEAL_AT]);
        block[SEAL_AT..].copy_from_slice(seal.as_bytes());
    }

    /// Reads a footer. `None` for anything that is not one of ours, whole and of a version we know.
    fn decode(block: &Block, block_count: u64) -> Option<Self> {
        let progress = match block[10] {
            DRAFT => Progress::Draft,
            COMPLETE => Progress::Complete,
            _ => return None,
        };
        let mut parts =
            [Part { start: BlockIndex(0), len: 0, digest: Digest::new([0; 32]) }; PARTS];
        let entries = block[PARTS_AT..SEAL_AT].chunks_exact(PART_LEN);
        for (part, entry) in parts.iter_mut().zip(entries) {
            let (start, rest) = entry.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first_chunk::<8>()?;
            *part = Part {
                start: BlockIndex(u64::from_le_bytes(*start)),
                len: u64::from_le_bytes(*len),
                digest: Digest::new(*rest.first_chunk()?),
            };
            let end = part.start.0.checked_add(part.blocks())?;
            if end >= block_count {
                return None;
            }
        }
        let release = Digest::new(*block[RELEASE_AT..].first_chunk()?);
        let trailer = Self { progress, release, parts };
        (trailer.encode() == *block).then_some(trailer)
    }

    /// Reads the trailer of a partition.
    ///
    /// # Errors
    /// [`TrailerError`]: there is none, it is damaged, or of an unknown version.
    pub fn read<R: ReadBlocks>(medium: &mut R) -> Result<Self, TrailerError<R::Error>> {
        let block_count = medium.block_count();
        let index = BlockIndex(block_count.checked_sub(1).ok_or(TrailerError::Absent)?);
        let mut block = [[0; BLOCK_LEN]];
        medium.read(index, &mut block).map_err(|cause| TrailerError::Read { index, cause })?;
        let [block] = block;
        if block[..8] != MAGIC[..] {
            return Err(TrailerError::Absent);
        }
        let found = u16::from_le_bytes([block[8], block[9]]);
        if found != VERSION {
            return Err(TrailerError::Version { found });
        }
        Self::decode(&block, block_count).ok_or(TrailerError::Footer { index })
    }

    /// Reads a part into the start of `room` and gives its bytes, after their digest was found
    /// right. `room` must have whole blocks for it.
    ///
    /// # Errors
    /// [`TrailerError`]: the part does not fit `room`, cannot be read, or is damaged.
    pub fn read_part<'r, R: ReadBlocks>(
        &self,
        medium: &mut R,
        name: PartName,
        room: &'r mut [Block],
    ) -> Result<&'r [u8], TrailerError<R::Error>> {
        let part = self.part(name);
        let limit = u64::try_from(room.len()).unwrap_or(u64::MAX).saturating_mul(BLOCK_LEN_U64);
        let too_long = TrailerError::TooLong { part: name, len: part.len, limit };
        let Ok(blocks) = usize::try_from(part.blocks()) else { return Err(too_long) };
        let Some(room) = room.get_mut(..blocks) else { return Err(too_long) };
        let index = part.start;
        medium.read(index, room).map_err(|cause| TrailerError::Read { index, cause })?;
        let len = usize::try_from(part.len).unwrap_or(usize::MAX);
        let bytes = room.as_flattened().get(..len).unwrap_or_default();
        let right = Digest::of(bytes) == part.digest;
        right.then_some(bytes).ok_or(TrailerError::Damaged { part: name })
    }

    /// Reads a part block by block and compares its digest, however long it is.
    ///
    /// # Errors
    /// [`TrailerError`]: the part cannot be read, or is damaged.
    pub fn check_part<R: ReadBlocks>(
        &self,
        medium: &mut R,
        name: PartName,
    ) -> Result<(), TrailerError<R::Error>> {
        self.check_part_in(&mut [0; BLOCK_LEN], medium, name)
    }

    /// As [`Trailer::check_part`], in memory that the caller lends.
    pub(crate) fn check_part_in<R: ReadBlocks>(
        &self,
        block: &mut Block,
        medium: &mut R,
        name: PartName,
    ) -> Result<(), TrailerError<R::Error>> {
        let part = self.part(name);
        let mut hasher = Hasher::new();
        let mut left = part.len;
        for offset in 0..part.blocks() {
            let index = BlockIndex(part.start.0.saturating_add(offset));
            let read = medium.read(index, slice::from_mut(block));
            read.map_err(|cause| TrailerError::Read { index, cause })?;
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_LEN);
            hasher.update(block.get(..len).unwrap_or_default());
            left = left.saturating_sub(BLOCK_LEN_U64);
        }
        let right = hasher.finish() == part.digest;
        right.then_some(()).ok_or(TrailerError::Damaged { part: name })
    }
}

#[cfg(test)]
mod tests;
