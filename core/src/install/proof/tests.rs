//! Reading back, with any buffer and whoever hashes.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::block::BLOCK_LEN;
use crate::block::memory::Memory;
use crate::install::Piece;

/// Hashes backwards and reads twice, or does nothing at all.
struct Odd {
    is_idle: bool,
}

impl HashPieces for Odd {
    fn hash(&mut self, pieces: &mut [Piece<'_>], meanwhile: &mut dyn FnMut()) {
        if !self.is_idle {
            meanwhile();
            pieces.iter_mut().rev().for_each(Piece::hash);
            meanwhile();
        }
    }
}

fn expected(blocks: &[Block]) -> (Digest, Vec<(u64, Block)>) {
    let geometry = Geometry::new(blocks.len() as u64).unwrap();
    let mut builder = TreeBuilder::new(geometry);
    let mut tree = Vec::new();
    let mut sink = |at, block: &Block| {
        tree.push((at, *block));
        Ok::<(), ()>(())
    };
    for block in blocks {
        builder.push(crate::verity::leaf(block), &mut sink).unwrap();
    }
    let root = builder.finish(&mut sink).unwrap();
    (root, tree)
}

fn found(
    blocks: &[Block],
    first: Option<&Block>,
    room: usize,
    hashers: &mut impl HashPieces,
) -> (Digest, Vec<(u64, Block)>) {
    let geometry = Geometry::new(blocks.len() as u64).unwrap();
    let read_back = ReadBack { target: TargetIndex(0), geometry, first };
    let mut medium = Memory(blocks.to_vec());
    let mut tree = Vec::new();
    let mut buffer = vec![[0; BLOCK_LEN]; room];
    let root = read_back.root_hash(&mut medium, &mut buffer, hashers, |_, at, block| {
        tree.push((at, *block));
        Ok(())
    });
    (root.unwrap(), tree)
}

#[test]
fn any_buffer_and_any_hashers_give_the_same_root_and_tree() {
    for count in [1_u32, 2, 3, 127, 128, 129, 300] {
        let mut blocks = vec![[0; BLOCK_LEN]; count as usize];
        for (block, number) in blocks.iter_mut().zip(0_u32..) {
            block[9..13].copy_from_slice(&number.to_le_bytes());
        }
        let expected = expected(&blocks);
        let first = blocks[0];
        let mut cleared = blocks.clone();
        cleared[0] = [0; BLOCK_LEN];
        let least = read_back_blocks([Geometry::new(u64::from(count)).unwrap()]);
        for room in [least, least + 1, least + 2, 20, 64, 400] {
            let at = (count, room);
            assert_eq!(found(&blocks, None, room, &mut InTurn), expected, "{at:?}");
            for is_idle in [true, false] {
                let found = found(&cleared, Some(&first), room, &mut Odd { is_idle });
                assert_eq!(found, expected, "{at:?}");
            }
        }
    }
}
