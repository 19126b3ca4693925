//! A medium in memory, for the tests of this package.

use std::vec::Vec;

use super::{Block, BlockIndex, ReadBlocks};

/// Blocks that can be read.
pub(crate) struct Memory(pub(crate) Vec<Block>);

impl ReadBlocks for Memory {
    type Error = &'static str;

    fn block_count(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), Self::Error> {
        let start = usize::try_from(index.0).map_err(|_| "beyond the end")?;
        blocks.copy_from_slice(self.0.get(start..start + blocks.len()).ok_or("beyond the end")?);
        Ok(())
    }
}
