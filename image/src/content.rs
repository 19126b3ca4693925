//! Bytes of regular files: where they lie, and reading them without holding them in memory.

use std::cell::Cell;
use std::io;

use gybe_core::digest::Digest;

/// A part of a file's content that lies in one piece in an uncompressed layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the piece begins in the file, in bytes.
    pub at: u64,
    /// Where it begins in the layer, in bytes.
    pub from: u64,
    /// How many bytes it has.
    pub len: u64,
}

/// The content of a regular file. What no piece covers is zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Index of the layer that the pieces lie in, from 0, lowest first.
    pub layer: usize,
    /// Length in bytes.
    pub len: u64,
    /// Digest of all `len` bytes, holes included as zeros.
    pub digest: Digest,
    /// The pieces, ascending and without overlap.
    pub pieces: Vec<Piece>,
}

/// Reads contents from wherever the layers were put.
///
/// # Contract
/// May be called from several threads at once.
pub trait ReadContent: Sync {
    /// Fills `buffer` with the bytes that begin at `at` in `content`.
    ///
    /// # Errors
    /// What the medium says; reading beyond `content.len` is `UnexpectedEof`.
    fn read_at(&self, content: &Content, at: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Reads a content from front to end.
pub(crate) struct ContentReader<'a> {
    contents: &'a dyn ReadContent,
    content: &'a Content,
    at: u64,
    has_failed: Cell<bool>,
}

impl std::fmt::Debug for ContentReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentReader").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<'a> ContentReader<'a> {
    /// Begins at byte `at`.
    pub(crate) const fn new(contents: &'a dyn ReadContent, content: &'a Content, at: u64) -> Self {
        Self { contents, content, at, has_failed: Cell::new(false) }
    }

    /// Whether a read failed: then it is not the content that is wrong.
    pub(crate) const fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    /// Length of the whole content.
    pub(crate) const fn len(&self) -> u64 {
        self.content.len
    }

    /// The bytes from `at` on, zeros behind the end. Changes nothing.
    pub(crate) fn peek<const LEN: usize>(&self, at: u64) -> io::Result<[u8; LEN]> {
        let mut bytes = [0; LEN];
        let there = self.content.len.saturating_sub(at).min(LEN as u64);
        let (filled, _) = bytes.split_at_mut(usize::try_from(there).unwrap_or(0));
        self.read_at(at, filled)?;
        Ok(bytes)
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.contents.read_at(self.content, at, buffer).inspect_err(|_| self.has_failed.set(true))
    }
}

impl io::Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.content.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let (part, _) = buffer.split_at_mut(left.min(buffer.len()));
        self.read_at(self.at, part)?;
        self.at = self.at.saturating_add(part.len() as u64);
        Ok(part.len())
    }
}
