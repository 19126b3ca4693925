//! Memory that a direct read can fill: its address is a multiple of a block's length.

use gybe_core::block::{BLOCK_LEN, Block};

/// Memory, position and length of a direct read are multiples of this.
pub(super) const ALIGNMENT: usize = BLOCK_LEN;

/// Blocks in memory, aligned so that direct reads need not copy.
#[derive(Debug)]
pub struct Aligned {
    memory: Vec<u8>,
    /// Where in `memory` the blocks begin.
    start: usize,
    len: usize,
}

impl Aligned {
    /// Room for `count` blocks of zeros. What is never used takes no memory.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let len = count.saturating_mul(BLOCK_LEN);
        let memory = vec![0; len.saturating_add(ALIGNMENT)];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, len }
    }

    /// The blocks.
    pub fn blocks(&mut self) -> &mut [Block] {
        let end = self.start.saturating_add(self.len);
        // An offset beyond the memory, which an allocator never gives, makes this no block at all.
        self.memory.get_mut(self.start..end).unwrap_or_default().as_chunks_mut().0
    }
}

/// Whether a direct read can fill `bytes` as they lie.
pub(super) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().align_offset(ALIGNMENT) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_begin_where_direct_reads_can() {
        for count in [0, 1, 64, 1000] {
            let mut aligned = Aligned::new(count);
            let blocks = aligned.blocks();
            assert_eq!(blocks.len(), count);
            assert!(count == 0 || is_aligned(blocks.as_flattened()));
            assert!(count == 0 || !is_aligned(&blocks.as_flattened()[1..]));
        }
    }
}
