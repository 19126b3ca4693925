//! The disk as a sparse file that appears under its name only when it is whole.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks, WriteBlocks};
use gybe_image::target::{Source, Target};
use tempfile::NamedTempFile;

use super::gpt::Entry;

const ZEROS: Block = [0; BLOCK_LEN];

/// A disk that is being made. Whatever was not written is a hole.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) file: NamedTempFile,
}

impl Raw {
    /// An empty disk beside `output`.
    pub(super) fn new(output: &Path, len: u64) -> io::Result<Self> {
        let file = beside(output)?;
        file.as_file().set_len(len)?;
        Ok(Self { file })
    }

    /// A partition of it.
    pub(super) fn partition(&self, entry: &Entry) -> Partition<'_> {
        Partition { file: self.file.as_file(), start: entry.start, len: entry.len }
    }

    /// Writes bytes that lie in no partition.
    pub(super) fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.as_file().write_all_at(bytes, at)
    }

    /// Gives it its name, durably.
    pub(super) fn persist(self, output: &Path) -> io::Result<()> {
        persist(self.file, output)
    }
}

/// A file without a name of its own in the folder of `output`, with the permissions of a new file.
pub(super) fn beside(output: &Path) -> io::Result<NamedTempFile> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gybe-disk-").permissions(Permissions::from_mode(0o666));
    builder.tempfile_in(folder.unwrap_or(Path::new(".")))
}

/// Gives a file its name, durably.
pub(super) fn persist(file: NamedTempFile, output: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(output).map_err(|failed| failed.error)?;
    Ok(())
}

/// A partition of the disk. Cuts do not matter here: a disk that is not whole has no name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partition<'d> {
    file: &'d File,
    start: u64,
    len: u64,
}

impl Partition<'_> {
    /// Writes bytes at `at`, but for blocks of zeros: nothing was there before.
    pub(super) fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut at = self.start.saturating_add(at);
        for piece in bytes.chunks(BLOCK_LEN) {
            if piece.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(piece, at)?;
            }
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Writes a file system that was laid out in memory.
    pub(super) fn put_target(&self, target: &Target) -> io::Result<()> {
        let mut at = 0_u64;
        for extent in &target.extents {
            let Source::Bytes(bytes) = &extent.source else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            self.put(at, bytes)?;
            at = at.saturating_add(extent.source.len().next_multiple_of(BLOCK_LEN_U64));
        }
        Ok(())
    }

    fn place(&self, index: BlockIndex, blocks: &[Block]) -> io::Result<u64> {
        let count = blocks.len() as u64;
        let end = index.0.checked_add(count).filter(|end| *end <= self.block_count());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(self.start.saturating_add(index.0.saturating_mul(BLOCK_LEN_U64)))
    }
}

impl ReadBlocks for Partition<'_> {
    type Error = io::Error;

    fn block_count(&self) -> u64 {
        self.len / BLOCK_LEN_U64
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> io::Result<()> {
        let at = self.place(index, blocks)?;
        self.file.read_exact_at(blocks.as_flattened_mut(), at)
    }
}

impl WriteBlocks for Partition<'_> {
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> io::Result<()> {
        let mut at = self.place(index, blocks)?;
        for block in blocks {
            // A hole stays one.
            let is_hole = *block == ZEROS && {
                let mut found = ZEROS;
                self.file.read_exact_at(&mut found, at)?;
                found == ZEROS
            };
            if !is_hole {
                self.file.write_all_at(block, at)?;
            }
            at = at.saturating_add(BLOCK_LEN_U64);
        }
        Ok(())
    }

    /// The whole disk is made durable before it gets its name.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What is read back here comes out of the cache: the device reads its slots from the medium.
    fn drop_caches(&mut self) -> io::Result<()> {
        Ok(())
    }
}
