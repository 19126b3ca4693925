//! The two seams beside medium and environment: where bytes come from, and what decodes them.

use core::fmt;

use crate::block::Block;
use crate::manifest::Descriptor;

/// Where the blobs of a release can be read, at any place and again and again: a flash chip, a
/// stick, a server that gives ranges.
///
/// # Contract
/// `read` fills all of `buffer` or returns an error; reading beyond the blob's end is an error. It
/// need not check anything, nor give the same bytes twice: nothing that it gives is believed.
pub trait Source {
    /// What can go wrong.
    type Error: fmt::Debug + fmt::Display;

    /// Fills `buffer` with the bytes of `blob` that begin at `at`.
    ///
    /// # Errors
    /// Whatever the source says; the content of `buffer` is then unspecified.
    fn read(&mut self, blob: &Descriptor, at: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

/// Turns the stored bytes of a zstd frame into its blocks. It owns the memory for both, which may
/// be slow and large: 1 MiB each where a release uses its limits.
///
/// # Contract
/// `decode` takes what was last put into the room that `stored` gave. The caller authenticated it,
/// and found that its header says as many bytes as `count` blocks have.
pub trait Decoder {
    /// What can go wrong.
    type Error: fmt::Debug + fmt::Display;

    /// Room for `len` stored bytes; `None` when that is more than there is. What was decoded before
    /// is lost.
    fn stored(&mut self, len: usize) -> Option<&mut [u8]>;

    /// Decodes the stored bytes, which are exactly one zstd frame, into exactly `count` blocks.
    ///
    /// # Errors
    /// When there is no room for as many blocks, or the bytes do not decode to them.
    fn decode(&mut self, count: usize) -> Result<(), Self::Error>;

    /// The blocks that were decoded last.
    fn decoded(&self) -> &[Block];
}

/// The decoder of a device that takes no compressed frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDecoder;

/// This device takes no compressed frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this device takes no compressed frames")]
pub struct NoDecoderError;

impl Decoder for NoDecoder {
    type Error = NoDecoderError;

    fn stored(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }

    fn decode(&mut self, _: usize) -> Result<(), NoDecoderError> {
        Err(NoDecoderError)
    }

    fn decoded(&self) -> &[Block] {
        &[]
    }
}
