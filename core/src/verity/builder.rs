//! Builds a hash tree while leaf hashes stream by.

use super::{Geometry, HASHES_PER_BLOCK, LEVELS_MAX, leaf};
use crate::block::{BLOCK_LEN, Block};
use crate::digest::Digest;

/// Builds a tree from leaf hashes that arrive in order, holding one open block a level: its own,
/// or blocks that its caller lends.
#[derive(Debug)]
pub struct TreeBuilder<B = [Block; LEVELS_MAX]> {
    geometry: Geometry,
    blocks: B,
    open: [Open; LEVELS_MAX],
    /// The leaf of a target of one block, which has no level to put it in.
    only: Option<Digest>,
    seen: u64,
}

/// How far a level is.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// How many hashes its open block has.
    filled: usize,
    /// How many of its blocks are closed.
    done: u64,
}

/// Why a tree could not be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The sink refused a block.
    #[error("hash tree: {0}")]
    Sink(E),
    /// There were fewer or more leaves than data blocks.
    #[error("hash tree: {found} leaves for {expected} blocks")]
    Leaves {
        /// How many leaves came.
        found: u64,
        /// How many the geometry has.
        expected: u64,
    },
}

const EMPTY: Open = Open { filled: 0, done: 0 };

impl TreeBuilder {
    /// A builder that has seen no leaf.
    #[must_use]
    pub const fn new(geometry: Geometry) -> Self {
        let blocks = [[0; BLOCK_LEN]; LEVELS_MAX];
        Self { geometry, blocks, open: [EMPTY; LEVELS_MAX], only: None, seen: 0 }
    }
}

impl<'r> TreeBuilder<&'r mut [Block]> {
    /// A builder that has seen no leaf and whose open blocks lie in `room`, one a level; `None`
    /// when there are fewer. A small device holds a small tree so.
    #[must_use]
    pub fn in_room(geometry: Geometry, room: &'r mut [Block]) -> Option<Self> {
        let blocks = room.get_mut(..geometry.levels)?;
        blocks.as_flattened_mut().fill(0);
        Some(Self { geometry, blocks, open: [EMPTY; LEVELS_MAX], only: None, seen: 0 })
    }
}

impl<B: AsMut<[Block]>> TreeBuilder<B> {
    /// Adds the next leaf. `sink` receives each block that this fills, with its position counted
    /// in blocks from the superblock.
    ///
    /// # Errors
    /// What `sink` says, or [`TreeError::Leaves`] for one leaf too many.
    pub fn push<E>(
        &mut self,
        leaf: Digest,
        sink: &mut impl FnMut(u64, &Block) -> Result<(), E>,
    ) -> Result<(), TreeError<E>> {
        self.seen = self.seen.saturating_add(1);
        if self.seen > self.geometry.data_blocks {
            return Err(self.wrong_count());
        }
        if self.geometry.levels == 0 {
            self.only = Some(leaf);
            return Ok(());
        }
        self.add(0, leaf, sink).map(|_| ())
    }

    /// Closes the open blocks and gives the root hash.
    ///
    /// # Errors
    /// What `sink` says, or [`TreeError::Leaves`] when leaves are missing.
    pub fn finish<E>(
        mut self,
        sink: &mut impl FnMut(u64, &Block) -> Result<(), E>,
    ) -> Result<Digest, TreeError<E>> {
        if self.seen != self.geometry.data_blocks {
            return Err(self.wrong_count());
        }
        let mut top = self.only;
        for level in 0..self.geometry.levels {
            if self.open.get(level).is_some_and(|open| open.filled > 0) {
                top = self.close(level, sink)?.or(top);
            }
        }
        top.ok_or_else(|| self.wrong_count())
    }

    const fn wrong_count<E>(&self) -> TreeError<E> {
        TreeError::Leaves { found: self.seen, expected: self.geometry.data_blocks }
    }

    /// Puts `hash` into `level`, and closes that level's block when it is full. Not recursive:
    /// each round moves up one level.
    fn add<E>(
        &mut self,
        level: usize,
        hash: Digest,
        sink: &mut impl FnMut(u64, &Block) -> Result<(), E>,
    ) -> Result<Option<Digest>, TreeError<E>> {
        let mut carried = hash;
        for level in level..LEVELS_MAX {
            let blocks = self.blocks.as_mut().get_mut(level);
            let (Some(open), Some(block)) = (self.open.get_mut(level), blocks) else { break };
            if let Some(room) = block.as_chunks_mut::<{ Digest::LEN }>().0.get_mut(open.filled) {
                *room = *carried.as_bytes();
            }
            open.filled = open.filled.saturating_add(1);
            if open.filled < HASHES_PER_BLOCK {
                return Ok(None);
            }
            carried = self.emit(level, sink)?;
            if level.saturating_add(1) >= self.geometry.levels {
                self.only = Some(carried);
                return Ok(Some(carried));
            }
        }
        Ok(None)
    }

    /// Closes the part-filled block of `level` and carries its hash up. Gives the root hash when
    /// `level` is the top.
    fn close<E>(
        &mut self,
        level: usize,
        sink: &mut impl FnMut(u64, &Block) -> Result<(), E>,
    ) -> Result<Option<Digest>, TreeError<E>> {
        let hash = self.emit(level, sink)?;
        let above = level.saturating_add(1);
        if above >= self.geometry.levels {
            return Ok(Some(hash));
        }
        self.add(above, hash, sink)
    }

    fn emit<E>(
        &mut self,
        level: usize,
        sink: &mut impl FnMut(u64, &Block) -> Result<(), E>,
    ) -> Result<Digest, TreeError<E>> {
        let start = self.geometry.level_start(level);
        let blocks = self.blocks.as_mut().get_mut(level);
        let (Some(open), Some(block)) = (self.open.get_mut(level), blocks) else {
            unreachable!("level comes from the geometry, and every level of it has a block")
        };
        sink(start.saturating_add(open.done), block).map_err(TreeError::Sink)?;
        let hash = leaf(block);
        block.fill(0);
        *open = Open { filled: 0, done: open.done.saturating_add(1) };
        Ok(hash)
    }
}
