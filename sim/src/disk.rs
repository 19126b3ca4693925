//! A disk that forgets what was not flushed.
//!
//! It makes these faults: a power cut at any operation; of the writes not yet flushed, each block is
//! kept, lost or torn at a 512-byte boundary, in any combination; unreadable blocks; flipped bits.
//! It does not make these: a write that goes to another place, or a flush that lies.

use std::collections::BTreeSet;

use gybe_core::block::{BLOCK_LEN, Block, BlockIndex, ReadBlocks, WriteBlocks};

use crate::power::Step;
use crate::{Power, PowerCut, Random};

/// Length of a sector, which reaches the medium whole or not at all.
const SECTOR_LEN: usize = 512;

/// One thing a disk was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Blocks were written.
    Write {
        /// The first of them.
        index: BlockIndex,
        /// How many.
        count: u64,
    },
    /// Everything written was made durable.
    Flush,
}

/// Why a fake disk did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FakeDiskError {
    /// The power is off.
    #[error("{0}")]
    Power(#[from] PowerCut),
    /// There is no such block.
    #[error("block {index} and {count} more lie beyond the {block_count} blocks of the disk")]
    OutOfRange {
        /// The first block asked for.
        index: BlockIndex,
        /// How many were asked for.
        count: u64,
        /// How many there are.
        block_count: u64,
    },
    /// A block that was made unreadable.
    #[error("block {index} cannot be read")]
    Unreadable {
        /// Which.
        index: BlockIndex,
    },
}

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct FakeDisk {
    power: Power,
    /// What is read: everything written, flushed or not.
    blocks: Vec<Block>,
    /// What the blocks written since the last flush held before, in order of writing.
    unflushed: Vec<(usize, Box<Block>)>,
    unreadable: BTreeSet<u64>,
    log: Vec<Op>,
}

impl FakeDisk {
    /// A disk of zeros.
    #[must_use]
    pub fn new(power: &Power, block_count: usize) -> Self {
        Self::from_blocks(power, vec![[0; BLOCK_LEN]; block_count])
    }

    /// A disk with this content.
    #[must_use]
    pub fn from_blocks(power: &Power, blocks: Vec<Block>) -> Self {
        let (unflushed, unreadable, log) = Default::default();
        Self { power: power.clone(), blocks, unflushed, unreadable, log }
    }

    /// What is on the disk, as a read sees it.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Everything the disk was told to do, whether or not the power lasted.
    #[must_use]
    pub fn log(&self) -> &[Op] {
        &self.log
    }

    /// How many block writes would be at risk if the power went off now.
    #[must_use]
    pub fn unflushed_count(&self) -> usize {
        self.unflushed.len()
    }

    /// Decides what the medium kept of the writes that were not flushed. Call it after
    /// [`Power::on`].
    pub fn power_on(&mut self, random: &mut Random) {
        // Undone from the last to the first, so that "before" is right for a block written twice.
        for (index, before) in std::mem::take(&mut self.unflushed).into_iter().rev() {
            let Some(block) = self.blocks.get_mut(index) else { continue };
            match random.below(3) {
                0 => {}
                1 => *block = *before,
                _ => {
                    let sectors = block.chunks_mut(SECTOR_LEN).zip(before.chunks(SECTOR_LEN));
                    for (sector, before) in sectors.filter(|_| random.flip()) {
                        sector.copy_from_slice(before);
                    }
                }
            }
        }
    }

    /// Flips one bit, counted from the start of the disk; nothing when there is no such bit.
    pub fn flip_bit(&mut self, bit: u64) {
        let place = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        if let Some(byte) = self.blocks.as_flattened_mut().get_mut(place) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Lets every later read of this block fail, until it is written.
    pub fn make_unreadable(&mut self, index: BlockIndex) {
        self.unreadable.insert(index.0);
    }

    fn range(
        &self,
        index: BlockIndex,
        count: usize,
    ) -> Result<std::ops::Range<usize>, FakeDiskError> {
        let start = usize::try_from(index.0).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(count)?));
        range.filter(|range| range.end <= self.blocks.len()).ok_or(FakeDiskError::OutOfRange {
            index,
            count: count.try_into().unwrap_or(u64::MAX),
            block_count: self.block_count(),
        })
    }
}

impl ReadBlocks for FakeDisk {
    type Error = FakeDiskError;

    fn block_count(&self) -> u64 {
        self.blocks.len().try_into().unwrap_or(u64::MAX)
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), FakeDiskError> {
        self.power.check()?;
        let range = self.range(index, blocks.len())?;
        let positions =
            index.0..index.0.saturating_add(blocks.len().try_into().unwrap_or(u64::MAX));
        if let Some(bad) = self.unreadable.range(positions).next() {
            return Err(FakeDiskError::Unreadable { index: BlockIndex(*bad) });
        }
        blocks.copy_from_slice(self.blocks.get(range).unwrap_or_default());
        Ok(())
    }
}

impl WriteBlocks for FakeDisk {
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> Result<(), FakeDiskError> {
        let range = self.range(index, blocks.len())?;
        let step = self.power.step();
        if let Step::Off(cut) = step {
            return Err(cut.into());
        }
        self.log.push(Op::Write { index, count: blocks.len().try_into().unwrap_or(u64::MAX) });
        let places = self.blocks.get_mut(range.clone()).unwrap_or_default();
        for ((place, content), at) in places.iter_mut().zip(blocks).zip(range) {
            self.unflushed.push((at, Box::new(std::mem::replace(place, *content))));
            self.unreadable.remove(&at.try_into().unwrap_or(u64::MAX));
        }
        if let Step::CutNow(cut) = step { Err(cut.into()) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), FakeDiskError> {
        match self.power.step() {
            Step::Off(cut) => return Err(cut.into()),
            Step::CutNow(cut) => {
                self.log.push(Op::Flush);
                return Err(cut.into());
            }
            Step::Done => self.log.push(Op::Flush),
        }
        self.unflushed.clear();
        Ok(())
    }

    fn drop_caches(&mut self) -> Result<(), FakeDiskError> {
        Ok(self.power.check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: Block = [1; BLOCK_LEN];

    #[test]
    fn what_was_flushed_is_kept_and_what_was_not_is_kept_lost_or_torn() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..64 {
            let power = Power::new();
            let mut disk = FakeDisk::new(&power, 2);
            disk.write(BlockIndex(0), &[ONES]).unwrap();
            disk.flush().unwrap();
            power.cut_at(power.op_count() + 1);
            disk.write(BlockIndex(1), &[ONES]).unwrap();
            assert_eq!(disk.flush(), Err(FakeDiskError::Power(PowerCut { at: 3 })));
            assert_eq!(disk.write(BlockIndex(0), &[ONES]), Err(PowerCut { at: 3 }.into()));
            power.on();
            disk.power_on(&mut Random::new(seed));
            assert_eq!(disk.blocks()[0], ONES, "seed {seed}");
            let kept = disk.blocks()[1].chunks(512).filter(|sector| sector[0] == 1).count();
            outcomes.insert(kept);
            assert_eq!(disk.unflushed_count(), 0);
        }
        assert!(outcomes.contains(&0) && outcomes.contains(&8) && outcomes.len() > 4);
    }

    #[test]
    fn a_block_written_twice_can_lose_both_writes() {
        let lost = (0..64).any(|seed| {
            let power = Power::new();
            let mut disk = FakeDisk::new(&power, 1);
            disk.write(BlockIndex(0), &[ONES]).unwrap();
            disk.write(BlockIndex(0), &[[2; BLOCK_LEN]]).unwrap();
            disk.power_on(&mut Random::new(seed));
            disk.blocks()[0] == [0; BLOCK_LEN]
        });
        assert!(lost);
    }

    #[test]
    fn what_lies_beyond_the_end_or_cannot_be_read_is_an_error() {
        let mut disk = FakeDisk::new(&Power::new(), 2);
        let mut buffer = [ONES; 2];
        let error = FakeDiskError::OutOfRange { index: BlockIndex(1), count: 2, block_count: 2 };
        assert_eq!(disk.read(BlockIndex(1), &mut buffer), Err(error));
        assert_eq!(disk.write(BlockIndex(1), &buffer), Err(error));
        disk.make_unreadable(BlockIndex(1));
        let error = FakeDiskError::Unreadable { index: BlockIndex(1) };
        assert_eq!(disk.read(BlockIndex(0), &mut buffer), Err(error));
        disk.write(BlockIndex(1), &[ONES]).unwrap();
        disk.read(BlockIndex(0), &mut buffer).unwrap();
        disk.flip_bit(4096 * 8);
        assert_eq!(disk.blocks()[1][0], 0);
        assert_eq!(disk.log(), [Op::Write { index: BlockIndex(1), count: 1 }]);
    }
}
