//! Blocks, and the two seams through which the core touches a medium.

use core::fmt;

#[cfg(test)]
pub(crate) mod memory;

/// Length of a block in bytes.
pub const BLOCK_LEN: usize = 4096;

/// Length of a block in bytes, for arithmetic on positions.
pub const BLOCK_LEN_U64: u64 = 4096;

/// The unit in which slots are read, hashed and written.
pub type Block = [u8; BLOCK_LEN];

/// Position of a block, counted from the start of a partition or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlockIndex(pub u64);

impl fmt::Display for BlockIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A medium that can be read by whole blocks. The running slot is only ever passed as one of
/// these: the type has no way to write.
///
/// # Contract
/// `read` fills all of `blocks` or returns an error; reading beyond `block_count` is an error.
pub trait ReadBlocks {
    /// What can go wrong with the medium.
    type Error: fmt::Debug + fmt::Display;

    /// How many whole blocks the medium has.
    fn block_count(&self) -> u64;

    /// Fills `blocks` with the blocks that begin at `index`.
    ///
    /// # Errors
    /// Whatever the medium says; the content of `blocks` is then unspecified.
    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), Self::Error>;
}

/// A medium that can also be written by whole blocks.
///
/// # Contract
/// What was written is durable only after `flush` returned `Ok`. Until then a power cut may keep,
/// lose or tear any of it, in any order.
pub trait WriteBlocks: ReadBlocks {
    /// Writes `blocks` beginning at `index`.
    ///
    /// # Errors
    /// Whatever the medium says; any part of `blocks` may then have been written.
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> Result<(), Self::Error>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// Whatever the medium says; nothing may then be taken as durable.
    fn flush(&mut self) -> Result<(), Self::Error>;

    /// Makes the following reads come from the medium and not from a cache of it.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn drop_caches(&mut self) -> Result<(), Self::Error>;
}
