//! Chunks that are too long to be held: their leaf hashes are held, and each block is known by its
//! own.
//!
//! A chunk has up to 1 MiB, its leaf hashes up to 8 KiB. Where the source can be read again, the
//! chunk is read twice: once to learn its leaf hashes, which its digest authenticates, and once to
//! be written, each block only if it still has its hash. So nothing is written before its digest
//! matched, whatever the source gives the second time.

use core::slice;

use super::{Checked, ChunkHasher, Place};
use crate::block::{Block, BlockIndex};
use crate::digest::Digest;
use crate::verity::{HASHES_PER_BLOCK, leaf};

/// How many blocks of memory the leaf hashes of a chunk of `count` blocks take.
#[must_use]
pub fn known_blocks(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).div_ceil(HASHES_PER_BLOCK)
}

/// Learns the leaf hashes of a chunk that is read block by block.
#[derive(Debug)]
pub struct Learning<'r> {
    place: Place,
    room: &'r mut [[u8; Digest::LEN]],
    seen: usize,
    hasher: ChunkHasher,
}

impl<'r> Learning<'r> {
    /// Begins with the chunk that belongs at `place`. `room` needs [`known_blocks`]; `None` when it
    /// has fewer.
    #[must_use]
    pub fn new(place: Place, room: &'r mut [Block]) -> Option<Self> {
        let hashes = room.as_flattened_mut().as_chunks_mut().0;
        let room = hashes.get_mut(..usize::try_from(place.count).ok()?)?;
        Some(Self { place, room, seen: 0, hasher: ChunkHasher::new(place.count) })
    }

    /// Takes the next block.
    pub fn push(&mut self, block: &Block) {
        let leaf = leaf(block);
        self.hasher.push(&leaf);
        if let Some(room) = self.room.get_mut(self.seen) {
            *room = *leaf.as_bytes();
        }
        self.seen = self.seen.saturating_add(1);
    }

    /// What was learned; `None` unless the blocks were those that belong at the place.
    #[must_use]
    pub fn finish(self) -> Option<Known<'r>> {
        let right = self.seen == self.room.len() && self.hasher.finish() == self.place.digest;
        right.then_some(Known { place: self.place, leaves: self.room })
    }
}

/// A chunk whose leaf hashes are known to be the right ones. Only [`Learning::finish`] makes one.
///
/// ```compile_fail
/// # use gybe_core::chunk::{Known, Place};
/// fn forge(place: Place, leaves: &[[u8; 32]]) -> Known<'_> {
///     Known { place, leaves }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Known<'l> {
    place: Place,
    leaves: &'l [[u8; Digest::LEN]],
}

impl Known<'_> {
    /// Where the chunk belongs.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Hashes `block`; `None` unless it is the one that belongs `offset` blocks into the chunk.
    #[must_use]
    pub fn check<'b>(&self, offset: u32, block: &'b Block) -> Option<Checked<'b>> {
        let expected = self.leaves.get(usize::try_from(offset).ok()?)?;
        let leaf = leaf(block);
        if leaf.as_bytes() != expected {
            return None;
        }
        let mut hasher = ChunkHasher::new(1);
        hasher.push(&leaf);
        let start = BlockIndex(self.place.start.0.checked_add(u64::from(offset))?);
        let place = Place { target: self.place.target, start, count: 1, digest: hasher.finish() };
        Some(Checked { place, blocks: slice::from_ref(block) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BLOCK_LEN;
    use crate::chunk::{TargetIndex, digest};

    const BLOCKS: [Block; 3] = [[1; BLOCK_LEN], [2; BLOCK_LEN], [3; BLOCK_LEN]];

    fn place() -> Place {
        let (target, start) = (TargetIndex(1), BlockIndex(40));
        Place { target, start, count: 3, digest: digest(&BLOCKS) }
    }

    fn learn<'r>(blocks: &[Block], room: &'r mut [Block]) -> Option<Known<'r>> {
        let mut learning = Learning::new(place(), room)?;
        blocks.iter().for_each(|block| learning.push(block));
        learning.finish()
    }

    #[test]
    fn a_block_of_a_known_chunk_is_written_only_where_it_belongs() {
        let mut room = [[0; BLOCK_LEN]];
        let known = learn(&BLOCKS, &mut room).unwrap();
        let second = known.check(1, &BLOCKS[1]).unwrap();
        assert_eq!(second.blocks(), &BLOCKS[1..2]);
        let expected = Place { start: BlockIndex(41), count: 1, ..place() };
        assert_eq!(*second.place(), Place { digest: digest(&BLOCKS[1..2]), ..expected });
        for (offset, block) in [(0, 1), (1, 0), (2, 1), (3, 0), (u32::MAX, 0)] {
            assert!(known.check(offset, &BLOCKS[block]).is_none(), "block {block} at {offset}");
        }
        let mut flipped = BLOCKS[1];
        flipped[4095] ^= 1;
        assert!(known.check(1, &flipped).is_none());
    }

    #[test]
    fn only_the_right_blocks_in_the_right_number_are_known() {
        let mut room = [[0; BLOCK_LEN]];
        for wrong in [&BLOCKS[..2], &[], &[BLOCKS[0], BLOCKS[2], BLOCKS[1]]] {
            assert!(learn(wrong, &mut room).is_none());
        }
        let more = [&BLOCKS[..], &BLOCKS[..1]].concat();
        assert!(learn(&more, &mut room).is_none());
    }

    #[test]
    fn the_longest_chunk_takes_two_blocks_of_memory() {
        assert_eq!([1, 128, 129, 256].map(known_blocks), [1, 1, 2, 2]);
        let longest = Place { count: 256, ..place() };
        let mut room = [[0; BLOCK_LEN]; 2];
        assert!(Learning::new(longest, &mut room).is_some());
        assert!(Learning::new(longest, &mut room[..1]).is_none());
    }
}
