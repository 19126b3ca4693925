//! Chunks: runs of blocks that are recognised, copied and written as one.
//!
//! A chunk's digest is `SHA-256("gybe-chunk-v1\0" ‖ block count, u32 little-endian ‖ leaf hashes)`.
//! Each block is hashed once: the leaf hash serves the chunk, the hash tree and the root hash.

mod known;

pub use known::{Known, Learning, known_blocks};

use crate::block::{Block, BlockIndex};
use crate::digest::{Digest, Hasher};
use crate::verity::leaf;

/// What stands before the block count in a chunk's digest.
const DOMAIN: &[u8] = b"gybe-chunk-v1\0";

/// The most blocks a chunk may have: 1 MiB.
pub const CHUNK_BLOCKS_MAX: u32 = 256;

/// The first four bytes of a leaf hash, by which a chunk is looked for in a slot of which only
/// the hash tree is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anchor(pub [u8; 4]);

impl Anchor {
    /// The anchor of a chunk whose first block has this leaf hash.
    #[must_use]
    pub const fn of(leaf: &Digest) -> Self {
        let [a, b, c, d, ..] = *leaf.as_bytes();
        Self([a, b, c, d])
    }
}

/// Number of a target in its release, in the order of the release's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetIndex(pub u16);

/// Computes a chunk's digest from the leaf hashes of its blocks.
#[derive(Clone, Debug)]
pub struct ChunkHasher(Hasher);

impl ChunkHasher {
    /// A hasher for a chunk of `count` blocks.
    #[must_use]
    pub fn new(count: u32) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(DOMAIN);
        hasher.update(&count.to_le_bytes());
        Self(hasher)
    }

    /// Adds the leaf hash of the next block.
    pub fn push(&mut self, leaf: &Digest) {
        self.0.update(leaf.as_bytes());
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// The digest of a chunk that consists of `blocks`.
#[must_use]
pub fn digest(blocks: &[Block]) -> Digest {
    let mut hasher = ChunkHasher::new(u32::try_from(blocks.len()).unwrap_or(u32::MAX));
    for block in blocks {
        hasher.push(&leaf(block));
    }
    hasher.finish()
}

/// A place in a target and the digest of what belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which target.
    pub target: TargetIndex,
    /// Where the chunk begins, counted in blocks from the start of the target.
    pub start: BlockIndex,
    /// How many blocks it has.
    pub count: u32,
    /// The digest of those blocks.
    pub digest: Digest,
}

/// Blocks that are known to be the ones that belong at a place: the only thing besides zeros
/// that an install writes. Only [`Checked::new`] makes one, and [`Known::check`] for a block of a
/// chunk that is too long to be held.
///
/// ```compile_fail
/// # use gybe_core::chunk::{Checked, Place};
/// fn forge(place: Place, blocks: &[gybe_core::block::Block]) -> Checked<'_> {
///     Checked { place, blocks }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    place: Place,
    blocks: &'a [Block],
}

impl<'a> Checked<'a> {
    /// Hashes `blocks`; `None` unless they are what belongs at `place`.
    #[must_use]
    pub fn new(place: Place, blocks: &'a [Block]) -> Option<Self> {
        let counted = u32::try_from(blocks.len()) == Ok(place.count);
        (counted && digest(blocks) == place.digest).then_some(Self { place, blocks })
    }

    /// Where the blocks belong.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The blocks.
    #[must_use]
    pub const fn blocks(&self) -> &'a [Block] {
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BLOCK_LEN;

    #[test]
    fn only_the_right_blocks_in_the_right_number_pass() {
        let blocks = [[1; BLOCK_LEN], [2; BLOCK_LEN], [0; BLOCK_LEN]];
        let place = Place {
            target: TargetIndex(0),
            start: BlockIndex(7),
            count: 2,
            digest: digest(&blocks[..2]),
        };
        assert_eq!(Checked::new(place, &blocks[..2]).unwrap().blocks(), &blocks[..2]);
        assert!(Checked::new(place, &blocks).is_none());
        assert!(Checked::new(place, &blocks[1..]).is_none());
        assert!(Checked::new(place, &[]).is_none());
    }

    #[test]
    fn the_digest_is_the_documented_one() {
        let block = [[7; BLOCK_LEN]];
        let mut expected = Hasher::new();
        expected.update(b"gybe-chunk-v1\0\x01\0\0\0");
        expected.update(leaf(&block[0]).as_bytes());
        assert_eq!(digest(&block), expected.finish());
    }
}
