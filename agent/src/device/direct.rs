//! Reading past the page cache: what comes back is what the medium holds.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use gybe_core::block::BLOCK_LEN;

/// Memory, position and length of a direct read are multiples of this.
const ALIGNMENT: usize = BLOCK_LEN;
/// How much is read at once, and the memory this costs: 256 KiB.
const BUFFER_LEN: usize = 64 * BLOCK_LEN;

/// A file opened with `O_DIRECT`, and the aligned buffer that needs.
pub(super) struct Direct {
    file: File,
    memory: Vec<u8>,
    /// Where in `memory` the aligned part begins.
    start: usize,
}

impl Direct {
    /// Takes `file`, which was opened with `O_DIRECT`, if a first read of its `block_count` blocks
    /// works: some file systems take the flag and refuse the read.
    pub(super) fn new(file: File, block_count: u64) -> Option<Self> {
        let memory = vec![0; BUFFER_LEN + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        let mut direct = Self { file, memory, start };
        if block_count > 0 {
            direct.read_exact_at(&mut [0; BLOCK_LEN], 0).ok()?;
        }
        Some(direct)
    }

    /// Fills `out`, a whole number of blocks, from `offset`.
    pub(super) fn read_exact_at(&mut self, out: &mut [u8], mut offset: u64) -> io::Result<()> {
        for part in out.chunks_mut(BUFFER_LEN) {
            let end = self.start.saturating_add(part.len());
            let Some(buffer) = self.memory.get_mut(self.start..end) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
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
