//! A blob that was found: a part of an open file, or what a registry has under a digest.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use gybe_core::digest::Digest;

use crate::registry::{Body, Repository};

/// A blob. Its bytes are not checked: whoever reads them compares digests.
#[derive(Clone, Debug)]
pub struct Blob {
    place: Place,
    len: u64,
    digest: Digest,
}

#[derive(Clone, Debug)]
enum Place {
    /// Held open, from here on.
    File { file: Arc<File>, from: u64 },
    /// Asked for when it is read.
    Registry(Repository),
    /// It is not there.
    Nowhere,
}

impl Blob {
    /// A whole file that is no part of a layout, under the digest that its bytes should have.
    ///
    /// # Errors
    /// What the system says when it is asked for the length.
    pub fn of_file(file: File, digest: Digest) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::in_file(Arc::new(file), 0, len, digest))
    }

    /// So many bytes of a file, which `from + len` is within.
    pub(crate) const fn in_file(file: Arc<File>, from: u64, len: u64, digest: Digest) -> Self {
        Self { place: Place::File { file, from }, len, digest }
    }

    /// What a registry should have, as somebody else says.
    pub(crate) const fn in_registry(repository: Repository, len: u64, digest: Digest) -> Self {
        Self { place: Place::Registry(repository), len, digest }
    }

    /// A blob that is not there, of which nothing should be needed: reading it is an error.
    #[must_use]
    pub const fn absent(digest: Digest, len: u64) -> Self {
        Self { place: Place::Nowhere, len, digest }
    }

    /// Its length in bytes: as found where it is stored, or as it is announced for a registry.
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

    /// Fills `buffer` with the bytes that begin at `at`, in one request.
    ///
    /// # Errors
    /// What the medium or the registry says; reading beyond the end is `UnexpectedEof`.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64).filter(|&end| end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        match &self.place {
            // `at` is within `len`, and `from + len` is within the file.
            Place::File { file, from } => file.read_exact_at(buffer, from.saturating_add(at)),
            Place::Registry(_) | Place::Nowhere => {
                let mut reader = self.reader();
                reader.seek(at..end);
                reader.read_exact(buffer)
            }
        }
    }

    /// Reads it from its beginning.
    #[must_use]
    pub fn reader(&self) -> BlobReader {
        let from = match &self.place {
            Place::File { file, from } => From::File { file: Arc::clone(file), from: *from, at: 0 },
            Place::Registry(repository) => {
                From::Registry(Box::new(Body::new(repository, self.digest, self.len)))
            }
            Place::Nowhere => From::Nowhere,
        };
        BlobReader { from, end: self.len, len: self.len }
    }
}

/// Reads a [`Blob`] from its beginning to its end, or part by part.
#[derive(Debug)]
pub struct BlobReader {
    from: From,
    end: u64,
    len: u64,
}

#[derive(Debug)]
enum From {
    File { file: Arc<File>, from: u64, at: u64 },
    Registry(Box<Body>),
    Nowhere,
}

impl BlobReader {
    /// From here on reads `part`, to its end. A registry is asked for it in one request, and one
    /// that gives no parts is read on, if the part lies ahead.
    pub fn seek(&mut self, part: Range<u64>) {
        self.end = part.end.min(self.len);
        match &mut self.from {
            From::File { at, .. } => *at = part.start,
            From::Registry(body) => body.seek(part),
            From::Nowhere => {}
        }
    }

    /// Leaves out what comes before `at`, which is in the part.
    ///
    /// # Errors
    /// What the registry says.
    pub fn skip_to(&mut self, to: u64) -> io::Result<()> {
        match &mut self.from {
            From::File { at, .. } => *at = to,
            From::Registry(body) => body.skip_to(to).map_err(io::Error::other)?,
            From::Nowhere => {}
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (file, from, at) = match &mut self.from {
            From::Registry(body) => return body.read(buffer).map_err(io::Error::other),
            From::Nowhere => return Err(io::ErrorKind::NotFound.into()),
            From::File { file, from, at } => (file, from, at),
        };
        let left = usize::try_from(self.end.saturating_sub(*at)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..len) else { return Ok(0) };
        if len == 0 {
            return Ok(0);
        }
        let count = file.read_at(buffer, from.saturating_add(*at))?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *at = at.saturating_add(count as u64);
        Ok(count)
    }
}
