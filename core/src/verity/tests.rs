//! The streaming builder against a plain one, and what a damaged tree gives.
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use std::vec;
use std::vec::Vec;

use super::*;
use crate::block::memory::Memory;

/// A tree in memory: the data's leaves, then superblock and levels as they lie on the medium.
struct Built {
    geometry: Geometry,
    blocks: Vec<Block>,
    root: Digest,
}

fn build(leaves: &[Digest]) -> Built {
    let geometry = Geometry::new(leaves.len() as u64).unwrap();
    let mut blocks = vec![[0xee; BLOCK_LEN]; geometry.tree_blocks() as usize];
    blocks[0] = superblock(&geometry);
    let mut builder = TreeBuilder::new(geometry);
    let mut sink = |at: u64, block: &Block| {
        assert_eq!(blocks[at as usize], [0xee; BLOCK_LEN], "block {at} came twice");
        blocks[at as usize] = *block;
        Ok::<(), ()>(())
    };
    for leaf in leaves {
        builder.push(*leaf, &mut sink).unwrap();
    }
    let root = builder.finish(&mut sink).unwrap();
    Built { geometry, blocks, root }
}

/// Level by level over the complete list: slow, and short enough to be seen right.
fn plain_root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(HASHES_PER_BLOCK)
            .map(|hashes| {
                let mut block = [0; BLOCK_LEN];
                for (room, hash) in block.chunks_mut(32).zip(hashes) {
                    room.copy_from_slice(hash.as_bytes());
                }
                leaf(&block)
            })
            .collect();
    }
    level[0]
}

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|index| Digest::of(&index.to_le_bytes())).collect()
}

#[test]
fn the_builder_agrees_with_a_plain_tree_at_every_edge() {
    for count in [1, 2, 127, 128, 129, 255, 256, 257, 16_383, 16_384, 16_385, 20_000] {
        let leaves = leaves(count);
        let built = build(&leaves);
        assert_eq!(built.root, plain_root(&leaves), "{count} leaves");
        let mut medium = Memory(built.blocks);
        check_stored(&mut medium, BlockIndex(0), &built.geometry, &built.root).unwrap();
    }
}

#[test]
fn a_builder_in_lent_memory_builds_the_same_tree() {
    for count in [1, 2, 128, 129, 16_385] {
        let leaves = leaves(count);
        let built = build(&leaves);
        let levels = built.geometry.levels();
        let mut room = vec![[0xee; BLOCK_LEN]; levels];
        if let Some(few) = levels.checked_sub(1) {
            assert!(TreeBuilder::in_room(built.geometry, &mut room[..few]).is_none());
        }
        let mut builder = TreeBuilder::in_room(built.geometry, &mut room).unwrap();
        let mut sink = |at: u64, block: &Block| {
            if built.blocks[at as usize] == *block { Ok(()) } else { Err(at) }
        };
        for leaf in &leaves {
            builder.push(*leaf, &mut sink).unwrap();
        }
        assert_eq!(builder.finish(&mut sink), Ok(built.root), "{count} leaves");
    }
}

#[test]
fn every_damaged_block_of_a_stored_tree_is_found() {
    let built = build(&leaves(300));
    for index in 0..built.blocks.len() {
        let mut medium = Memory(built.blocks.clone());
        medium.0[index][17] ^= 1;
        let found = check_stored(&mut medium, BlockIndex(0), &built.geometry, &built.root);
        assert!(matches!(found, Err(StoredTreeError::Damaged { .. })), "block {index}: {found:?}");
    }
}

#[test]
fn leaves_too_few_or_too_many_are_refused() {
    let geometry = Geometry::new(2).unwrap();
    let mut sink = |_: u64, _: &Block| Ok::<(), ()>(());
    let mut builder = TreeBuilder::new(geometry);
    builder.push(Digest::of(b"0"), &mut sink).unwrap();
    let early = TreeBuilder::new(geometry).finish(&mut sink);
    assert_eq!(early, Err(TreeError::Leaves { found: 0, expected: 2 }));
    builder.push(Digest::of(b"1"), &mut sink).unwrap();
    let late = builder.push(Digest::of(b"2"), &mut sink);
    assert_eq!(late, Err(TreeError::Leaves { found: 3, expected: 2 }));
}

#[test]
fn a_target_has_between_one_and_the_most_blocks() {
    assert_eq!(Geometry::new(0), None);
    assert_eq!(Geometry::new(1).unwrap().tree_blocks(), 1);
    assert_eq!(Geometry::new(DATA_BLOCKS_MAX).unwrap().levels(), LEVELS_MAX);
    assert_eq!(Geometry::new(DATA_BLOCKS_MAX + 1), None);
}
