//! The dm-verity hash tree: built while data streams by, checked from the medium afterwards.
//!
//! ```text
//! target │ data blocks 0 … n-1 │ superblock │ top level … level 1 │ level 0 (leaf hashes) │
//! ```
//!
//! Every hash is SHA-256 over [`SALT`] and a block; 128 hashes fill a block of the level above;
//! the root hash is that of the only block of the top level. A target of one block has no levels:
//! its root hash is its leaf hash.
//!
//! Source: Linux `Documentation/admin-guide/device-mapper/verity.rst` and cryptsetup's
//! "DMVerity" page, hash type 1, read 2026-11. `veritysetup verify` is the judge in the tests.

mod builder;

pub use builder::{TreeBuilder, TreeError};

use core::slice;

use crate::block::{BLOCK_LEN, Block, BlockIndex, ReadBlocks};
use crate::digest::{Digest, Hasher};

/// The salt of every tree: SHA-256 of `gybe-verity-salt-v1`. It is fixed so that the same image
/// gives the same root hash everywhere, and so that a block's leaf hash can be looked up in the
/// tree of any other release.
pub const SALT: [u8; 32] = [
    0xc6, 0x31, 0x34, 0x07, 0x1b, 0x7a, 0x8f, 0xf4, 0x56, 0xc5, 0x53, 0x75, 0x09, 0xd1, 0x1a, 0xb6,
    0x9c, 0x8b, 0xf2, 0xc1, 0x2f, 0x3c, 0xe4, 0x0f, 0x8c, 0x5d, 0xeb, 0x08, 0x40, 0x37, 0x0f, 0x11,
];

/// The UUID in every superblock. It names nothing: slots are told apart by their devices.
const UUID: [u8; 16] = *b"gybe-verity-uuid";

/// How many hashes fill a block.
pub const HASHES_PER_BLOCK: usize = BLOCK_LEN / Digest::LEN;

/// [`HASHES_PER_BLOCK`] for arithmetic on positions.
const FAN_OUT: u64 = 128;

/// The most levels a tree may have: enough for 1 TiB of data.
pub const LEVELS_MAX: usize = 4;

/// The most data blocks a target may have.
pub const DATA_BLOCKS_MAX: u64 = 1 << 28;

const _: () = assert!(HASHES_PER_BLOCK as u64 == FAN_OUT);
const _: () = assert!(LEVELS_MAX == 4 && FAN_OUT.pow(4) == DATA_BLOCKS_MAX);

/// The leaf hash of a block.
#[must_use]
pub fn leaf(block: &Block) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&SALT);
    hasher.update(block);
    hasher.finish()
}

/// Where the levels of a tree lie, counted in blocks from the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    data_blocks: u64,
    /// Blocks in each level, level 0 first.
    lens: [u64; LEVELS_MAX],
    levels: usize,
}

impl Geometry {
    /// The geometry of the tree over `data_blocks` blocks; `None` for none or more than
    /// [`DATA_BLOCKS_MAX`].
    #[must_use]
    pub fn new(data_blocks: u64) -> Option<Self> {
        if data_blocks == 0 || data_blocks > DATA_BLOCKS_MAX {
            return None;
        }
        let mut lens = [0; LEVELS_MAX];
        let mut levels = 0usize;
        let mut below = data_blocks;
        for len in &mut lens {
            if below == 1 {
                break;
            }
            below = below.div_ceil(FAN_OUT);
            *len = below;
            levels = levels.saturating_add(1);
        }
        Some(Self { data_blocks, lens, levels })
    }

    /// How many blocks the data has.
    #[must_use]
    pub const fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// How many blocks the superblock and all levels take.
    #[must_use]
    pub fn tree_blocks(&self) -> u64 {
        self.lens.iter().fold(1, |sum, len| sum.saturating_add(*len))
    }

    /// How many levels there are.
    #[must_use]
    pub const fn levels(&self) -> usize {
        self.levels
    }

    /// How many blocks `level` has; none for a level that does not exist.
    #[must_use]
    pub fn level_blocks(&self, level: usize) -> u64 {
        self.lens.get(level).copied().unwrap_or(0)
    }

    /// Where `level` begins, in blocks from the superblock.
    #[must_use]
    pub fn level_start(&self, level: usize) -> u64 {
        let above = self.lens.iter().skip(level.saturating_add(1));
        above.fold(1, |sum, len| sum.saturating_add(*len))
    }
}

/// The superblock that stands before the tree, as `veritysetup format` writes it.
#[must_use]
pub fn superblock(geometry: &Geometry) -> Block {
    let mut block = [0; BLOCK_LEN];
    fill_superblock(geometry, &mut block);
    block
}

/// Makes `block` what [`superblock`] gives.
pub(crate) fn fill_superblock(geometry: &Geometry, block: &mut Block) {
    block.fill(0);
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(room) = block.get_mut(at..at.saturating_add(bytes.len())) {
            room.copy_from_slice(bytes);
        }
    };
    put(0, b"verity\0\0");
    put(8, &1u32.to_le_bytes()); // superblock version
    put(12, &1u32.to_le_bytes()); // hash type: salt first
    put(16, &UUID);
    put(32, b"sha256");
    put(64, &4096u32.to_le_bytes()); // data block size
    put(68, &4096u32.to_le_bytes()); // hash block size
    put(72, &geometry.data_blocks.to_le_bytes());
    put(80, &32u16.to_le_bytes()); // salt size
    put(88, &SALT);
}

/// Why a stored tree is not the one with the expected root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredTreeError<E> {
    /// The medium could not be read.
    #[error("cannot read hash tree block {index}: {cause}")]
    Read {
        /// Which block of the medium.
        index: BlockIndex,
        /// What the medium said.
        cause: E,
    },
    /// A block of the tree does not have the hash that stands above it.
    #[error("hash tree block {index} is damaged")]
    Damaged {
        /// Which block of the medium.
        index: BlockIndex,
    },
}

/// Reads the tree whose superblock is block `at` of `medium` and checks every block of it
/// against the one above, and the top against `root`.
///
/// # Errors
/// [`StoredTreeError`] names the first block that is wrong.
pub fn check_stored<R: ReadBlocks>(
    medium: &mut R,
    at: BlockIndex,
    geometry: &Geometry,
    root: &Digest,
) -> Result<(), StoredTreeError<R::Error>> {
    check_stored_in(&mut [[0; BLOCK_LEN]; 2], medium, at, geometry, root)
}

/// As [`check_stored`], in memory that the caller lends.
pub(crate) fn check_stored_in<R: ReadBlocks>(
    room: &mut [Block; 2],
    medium: &mut R,
    at: BlockIndex,
    geometry: &Geometry,
    root: &Digest,
) -> Result<(), StoredTreeError<R::Error>> {
    let [block, parent] = room;
    let mut read = |offset: u64, block: &mut Block| {
        let index = BlockIndex(at.0.saturating_add(offset));
        let read = medium.read(index, slice::from_mut(block));
        read.map(|()| index).map_err(|cause| StoredTreeError::Read { index, cause })
    };
    let index = read(0, block)?;
    fill_superblock(geometry, parent);
    if block != parent {
        return Err(StoredTreeError::Damaged { index });
    }
    for level in (0..geometry.levels).rev() {
        let above = level.saturating_add(1);
        for position in 0..geometry.level_blocks(level) {
            let within = position.checked_rem(FAN_OUT).unwrap_or(0);
            if above < geometry.levels && within == 0 {
                let offset = position.checked_div(FAN_OUT).unwrap_or(0);
                read(geometry.level_start(above).saturating_add(offset), parent)?;
            }
            let expected = if above < geometry.levels {
                let hashes = parent.as_chunks::<{ Digest::LEN }>().0;
                usize::try_from(within).ok().and_then(|at| hashes.get(at)).copied()
            } else {
                Some(*root.as_bytes())
            };
            let index = read(geometry.level_start(level).saturating_add(position), block)?;
            if expected != Some(*leaf(block).as_bytes()) {
                return Err(StoredTreeError::Damaged { index });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
