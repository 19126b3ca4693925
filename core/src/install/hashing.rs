//! Hashing many blocks at once: the core knows no threads, but its caller may have some.

use heapless::Vec;

use crate::block::Block;
use crate::verity::leaf;

/// Into how many pieces blocks are divided, at most.
const PIECES_MAX: usize = 16;

/// Some of the blocks that were read back, to be hashed by whomever the caller has for that. What
/// comes out is the leaf hash of these very blocks: a caller can be slow, but it cannot lie.
#[derive(Debug)]
pub struct Piece<'b> {
    blocks: &'b mut [Block],
    is_hashed: bool,
}

impl Piece<'_> {
    /// Hashes the blocks. Doing so again changes nothing.
    pub fn hash(&mut self) {
        if self.is_hashed {
            return;
        }
        for block in &mut *self.blocks {
            let leaf = leaf(block);
            // The block is not needed any more, and its leaf hash needs a place.
            if let Some(place) = block.first_chunk_mut() {
                *place = *leaf.as_bytes();
            }
        }
        self.is_hashed = true;
    }
}

/// Has blocks hashed.
///
/// # Contract
/// `hash` calls [`Piece::hash`] of every piece, and `meanwhile`, which reads what is hashed next:
/// in any order, or at the same time. What it leaves out is made up for, one by one.
pub trait HashPieces {
    /// Has all `pieces` hashed and calls `meanwhile`.
    fn hash(&mut self, pieces: &mut [Piece<'_>], meanwhile: &mut dyn FnMut());
}

/// Does one thing after the other.
#[derive(Clone, Copy, Debug)]
pub struct InTurn;

impl HashPieces for InTurn {
    fn hash(&mut self, pieces: &mut [Piece<'_>], meanwhile: &mut dyn FnMut()) {
        pieces.iter_mut().for_each(Piece::hash);
        meanwhile();
    }
}

/// Puts into the front of each block its own leaf hash.
pub(super) fn hash_in_place(
    blocks: &mut [Block],
    hashers: &mut impl HashPieces,
    meanwhile: &mut dyn FnMut(),
) {
    let len = blocks.len().div_ceil(PIECES_MAX).max(1);
    let pieces = blocks.chunks_mut(len).map(|blocks| Piece { blocks, is_hashed: false });
    let mut pieces: Vec<_, PIECES_MAX> = pieces.collect();
    hashers.hash(&mut pieces, meanwhile);
    // Whatever the hashers made of it: what is compared has been hashed.
    pieces.iter_mut().for_each(Piece::hash);
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::block::BLOCK_LEN;

    /// Hashes only some pieces, one of them twice, or never reads.
    struct Lazy {
        every: usize,
        reads: usize,
    }

    impl HashPieces for Lazy {
        fn hash(&mut self, pieces: &mut [Piece<'_>], meanwhile: &mut dyn FnMut()) {
            (0..self.reads).for_each(|_| meanwhile());
            for piece in pieces.iter_mut().step_by(self.every) {
                piece.hash();
                piece.hash();
            }
        }
    }

    #[test]
    fn whatever_is_left_out_or_done_twice_the_hashes_are_those_of_the_blocks() {
        for count in [1, 2, 15, 16, 17, 100, 128] {
            let blocks: Vec<Block> = (0..count).map(|number| [number; BLOCK_LEN]).collect();
            for every in 1..4 {
                let mut hashed = blocks.clone();
                let mut calls = 0;
                let mut lazy = Lazy { every, reads: every };
                hash_in_place(&mut hashed, &mut lazy, &mut || calls += 1);
                for (hashed, block) in hashed.iter().zip(&blocks) {
                    assert_eq!(hashed[..32], leaf(block).as_bytes()[..], "{count}, {every}");
                }
                assert_eq!(calls, every);
            }
        }
    }
}
