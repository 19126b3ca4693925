//! Bytes of regular files: where they lie, and reading them without holding them in memory.

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
