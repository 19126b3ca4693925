//! Reading past the page cache: what comes back is what the medium holds.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use gybe_core::block::BLOCK_LEN;

use super::aligned::{Aligned, is_aligned};

/// How much is read at once into memory that is not aligned, and the memory this costs: 256 KiB.
const BUFFER_BLOCKS: usize = 64;

/// A file opened with `O_DIRECT`, and the aligned buffer that reads into other memory need.
pub(super) struct Direct {
    file: File,
    buffer: Aligned,
}

impl Direct {
    /// Takes `file`, which was opened with `O_DIRECT`, if a first read of its `block_count` blocks
    /// works: some file systems take the flag and refuse the read.
    pub(super) fn new(file: File, block_count: u64) -> Option<Self> {
        let mut direct = Self { file, buffer: Aligned::new(BUFFER_BLOCKS) };
        if block_count > 0 {
            direct.read_exact_at(&mut [0; BLOCK_LEN], 0).ok()?;
        }
        Some(direct)
    }

    /// Fills `out`, a whole number of blocks, from `offset`.
    pub(super) fn read_exact_at(&mut self, out: &mut [u8], mut offset: u64) -> io::Result<()> {
        if is_aligned(out) {
            return self.file.read_exact_at(out, offset);
        }
        for part in out.chunks_mut(BUFFER_BLOCKS * BLOCK_LEN) {
            let buffer = self.buffer.blocks().as_flattened_mut().get_mut(..part.len());
            let Some(buffer) = buffer else { return Err(io::ErrorKind::InvalidInput.into()) };
            self.file.read_exact_at(buffer, offset)?;
            part.copy_from_slice(buffer);
            let Some(next) = u64::try_from(part.len()).ok().and_then(|len| offset.checked_add(len))
            else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            offset = next;
        }
        Ok(())
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.file).finish()
    }
}
