//! A blob that was found: a part of an open file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use gybe_core::digest::Digest;

/// A blob, held open. Its bytes are not checked: whoever reads them compares digests.
#[derive(Clone, Debug)]
pub struct Blob {
    pub(crate) file: Arc<File>,
    pub(crate) from: u64,
    pub(crate) len: u64,
    pub(crate) digest: Digest,
}

impl Blob {
    /// A whole file that is no part of a layout, under the digest that its bytes should have.
    ///
    /// # Errors
    /// What the system says when it is asked for the length.
    pub fn of_file(file: File, digest: Digest) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), from: 0, len, digest })
    }

    /// Its length in bytes, as found where it is stored.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest that its name claims.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Fills `buffer` with the bytes that begin at `at`.
    ///
    /// # Errors
    /// What the medium says; reading beyond the end is `UnexpectedEof`.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // `at` is within `len`, and `from + len` is within the file.
        self.file.read_exact_at(buffer, self.from.saturating_add(at))
    }

    /// Reads it from its beginning.
    #[must_use]
    pub fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), at: 0 }
    }
}

/// Reads a [`Blob`] from its beginning to its end.
#[derive(Clone, Debug)]
pub struct BlobReader {
    blob: Blob,
    at: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..len) else { return Ok(0) };
        if len == 0 {
            return Ok(0);
        }
        let count = self.blob.file.read_at(buffer, self.blob.from.saturating_add(self.at))?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}
