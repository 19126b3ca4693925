//! Files that were made here and are too long for memory.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::digest::{Digest, Hasher};

use crate::compressed::UnpackError;
use crate::spool::default_directory;

/// A part of a file that was made here, which has no name and vanishes with the program.
#[derive(Clone, Debug)]
pub struct Spooled {
    file: Arc<File>,
    at: u64,
    len: u64,
    /// Where it may be split, ascending, each at a block boundary of the file.
    splits: Arc<[u64]>,
}

impl Spooled {
    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` with the bytes that begin at `at`.
    ///
    /// # Errors
    /// What the medium says; reading beyond the end is `UnexpectedEof`.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64).filter(|&end| end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(buffer, self.at.saturating_add(at))
    }

    /// The parts that no chunk may reach across.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Self> {
        let end = self.at.saturating_add(self.len);
        let begins = std::iter::once(self.at).chain(self.splits.iter().copied());
        let ends = self.splits.iter().copied().chain(std::iter::once(end));
        begins.zip(ends).filter(|(begin, end)| begin < end).map(|(begin, end)| Self {
            file: Arc::clone(&self.file),
            at: begin,
            len: end.saturating_sub(begin),
            splits: Arc::from([]),
        })
    }
}

/// Writes a file that has no name, up to a limit.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    file: BufWriter<File>,
    hasher: Hasher,
    len: u64,
    limit: u64,
    splits: Vec<u64>,
}

impl SpoolWriter {
    /// Begins a file of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Result<Self, UnpackError> {
        let file = tempfile::tempfile_in(default_directory()).map_err(UnpackError::Spool)?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { file, hasher: Hasher::new(), len: 0, limit, splits: Vec::new() })
    }

    /// How many bytes there are.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Appends `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        let found = self.len.saturating_add(bytes.len() as u64);
        if found > self.limit {
            return Err(UnpackError::TooLong { found, limit: self.limit });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(UnpackError::Spool)?;
        self.len = found;
        Ok(())
    }

    /// Appends `count` zeros.
    pub(crate) fn zeros(&mut self, mut count: u64) -> Result<(), UnpackError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let len = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write(ZEROS.get(..len).unwrap_or(&ZEROS))?;
            count = count.saturating_sub(len as u64);
        }
        Ok(())
    }

    /// From here on chunks begin anew. Only at a block boundary.
    pub(crate) fn split(&mut self) {
        debug_assert!(self.len.is_multiple_of(BLOCK_LEN_U64));
        self.splits.push(self.len);
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Result<(Spooled, Digest), UnpackError> {
        let file = self.file.into_inner().map_err(|cause| UnpackError::Spool(cause.into()))?;
        let splits = Arc::from(self.splits);
        let spooled = Spooled { file: Arc::new(file), at: 0, len: self.len, splits };
        Ok((spooled, self.hasher.finish()))
    }
}
