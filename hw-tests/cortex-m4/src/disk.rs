//! A partition in external RAM, on a power line that can be cut.

use core::cell::Cell;
use core::fmt;

use gybe_core::block::{Block, BlockIndex, ReadBlocks, WriteBlocks};

/// The power that both partitions share: how many blocks it still writes.
#[derive(Debug)]
pub(crate) struct Power(Cell<u32>);

impl Power {
    /// Power that goes off once so many blocks were written.
    pub(crate) const fn cut_after(blocks: u32) -> Self {
        Self(Cell::new(blocks))
    }

    fn is_off(&self) -> bool {
        self.0.get() == 0
    }

    /// Spends power on up to `count` blocks; says how many of them it lasts for.
    fn spend(&self, count: usize) -> usize {
        let left = self.0.get();
        let spent = u32::try_from(count).unwrap_or(u32::MAX).min(left);
        self.0.set(left - spent);
        usize::try_from(spent).unwrap_or(count)
    }
}

/// A partition.
pub(crate) struct Disk<'d> {
    pub(crate) blocks: &'d mut [Block],
    pub(crate) power: &'d Power,
}

/// Why a partition does not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskError {
    Power,
    Beyond,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Power => "the power is off",
            Self::Beyond => "beyond the end",
        })
    }
}

impl Disk<'_> {
    fn place(&mut self, index: BlockIndex, count: usize) -> Result<&mut [Block], DiskError> {
        let start = usize::try_from(index.0).map_err(|_| DiskError::Beyond)?;
        let blocks = self.blocks.get_mut(start..).and_then(|blocks| blocks.get_mut(..count));
        blocks.ok_or(DiskError::Beyond)
    }
}

impl ReadBlocks for Disk<'_> {
    type Error = DiskError;

    fn block_count(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap_or(u64::MAX)
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), DiskError> {
        if self.power.is_off() {
            return Err(DiskError::Power);
        }
        blocks.copy_from_slice(self.place(index, blocks.len())?);
        Ok(())
    }
}

impl WriteBlocks for Disk<'_> {
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> Result<(), DiskError> {
        let count = self.power.spend(blocks.len());
        let place = self.place(index, blocks.len())?;
        place.iter_mut().zip(blocks).take(count).for_each(|(to, from)| *to = *from);
        if count < blocks.len() { Err(DiskError::Power) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if self.power.is_off() { Err(DiskError::Power) } else { Ok(()) }
    }

    fn drop_caches(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
}
