//! Frames: chunks in the order of their files, gathered to about a mebibyte and compressed.

use std::io;

use gybe_core::block::BLOCK_LEN;
use gybe_core::digest::Digest;
use gybe_core::recipe::{Codec, FRAME_BLOCKS_MAX, FrameRecord};

use crate::parallel;

/// How many frames are compressed in one go over all cores.
const BATCH: usize = 16;

/// A frame this long is ended where the next chunk changed apart from it. Longer ones would be a
/// little smaller (frames of 256 KiB take 3 % more than those of 1 MiB), but what a chain of releases
/// packs again of them grows faster than that.
const SHORT_LEN: usize = 128 << 10;

/// Gathers chunks to frames and writes the frames of one pack.
#[derive(Debug)]
pub(crate) struct Frames<W> {
    out: W,
    level: i32,
    open: Vec<u8>,
    closed: Vec<Vec<u8>>,
    records: Vec<FrameRecord>,
}

/// A place in a pack that is being written.
pub(crate) struct At {
    pub(crate) frame: usize,
    pub(crate) block: usize,
}

impl<W: io::Write> Frames<W> {
    pub(crate) fn new(out: W, level: i32) -> Self {
        Self { out, level, open: Vec::new(), closed: Vec::new(), records: Vec::new() }
    }

    /// Adds a chunk of whole blocks.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> io::Result<At> {
        if self.open.len() + chunk.len() > frame_len() {
            self.close()?;
        }
        let block = self.open.len() / BLOCK_LEN;
        self.open.extend_from_slice(chunk);
        Ok(At { frame: self.records.len() + self.closed.len(), block })
    }

    /// Ends the open frame if it is worth one.
    pub(crate) fn close_if_long(&mut self) -> io::Result<()> {
        if self.open.len() >= SHORT_LEN { self.close() } else { Ok(()) }
    }

    /// Ends the open frame, so that what comes next can be fetched without what came before.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if !self.open.is_empty() {
            self.closed.push(std::mem::take(&mut self.open));
        }
        if self.closed.len() >= BATCH { self.write() } else { Ok(()) }
    }

    /// Ends the open frame and writes all that wait; says how many frames there are, and how many
    /// bytes they have.
    pub(crate) fn flush(&mut self) -> io::Result<(usize, u64)> {
        self.close()?;
        self.write()?;
        let len = self.records.iter().map(|record| u64::from(record.stored_len)).sum();
        Ok((self.records.len(), len))
    }

    /// Ends the pack and gives its frames and what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<FrameRecord>, W)> {
        self.close()?;
        self.write()?;
        Ok((self.records, self.out))
    }

    fn write(&mut self) -> io::Result<()> {
        let level = self.level;
        for frame in parallel::map(&self.closed, |raw| compress(raw, level)) {
            let (record, bytes) = frame?;
            self.out.write_all(&bytes)?;
            self.records.push(record);
        }
        self.closed.clear();
        Ok(())
    }
}

fn frame_len() -> usize {
    usize::try_from(FRAME_BLOCKS_MAX).unwrap_or(usize::MAX).saturating_mul(BLOCK_LEN)
}

/// Compresses a frame; what does not shrink by a thirty-second is stored as it is.
fn compress(raw: &[u8], level: i32) -> io::Result<(FrameRecord, Vec<u8>)> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_contentsize(true)?;
    compressor.include_checksum(false)?;
    // 1 MiB: the window that every device can hold.
    compressor.window_log(20)?;
    let packed = compressor.compress(raw)?;
    let worth = packed.len() < raw.len() - raw.len() / 32;
    let (codec, bytes) = if worth { (Codec::Zstd, packed) } else { (Codec::Stored, raw.to_vec()) };
    let number = |len: usize| u32::try_from(len).map_err(io::Error::other);
    let record = FrameRecord {
        stored_len: number(bytes.len())?,
        blocks: number(raw.len() / BLOCK_LEN)?,
        codec,
        digest: Digest::of(&bytes),
    };
    Ok((record, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compressed_is_stored() {
        let mut noise = vec![0u8; 8 * BLOCK_LEN];
        let mut state = 1u64;
        for byte in &mut noise {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
        let (record, bytes) = compress(&noise, 3).unwrap();
        assert_eq!((record.codec, record.blocks, bytes), (Codec::Stored, 8, noise));
        let (record, bytes) = compress(&[b'a'; 4 * BLOCK_LEN], 3).unwrap();
        assert_eq!((record.codec, record.blocks), (Codec::Zstd, 4));
        assert_eq!(zstd::bulk::decompress(&bytes, 1 << 20).unwrap(), [b'a'; 4 * BLOCK_LEN]);
    }

    #[test]
    fn chunks_fill_frames_and_find_their_place() {
        let mut frames = Frames::new(Vec::new(), 1);
        let chunk = vec![7; 100 * BLOCK_LEN];
        let places: Vec<_> =
            (0..3).map(|_| frames.push(&chunk).unwrap()).map(|at| (at.frame, at.block)).collect();
        assert_eq!(places, [(0, 0), (0, 100), (1, 0)]);
        let (records, bytes) = frames.finish().unwrap();
        assert_eq!(records.iter().map(|record| record.blocks).collect::<Vec<_>>(), [200, 100]);
        let stored: u32 = records.iter().map(|record| record.stored_len).sum();
        assert_eq!(bytes.len(), stored as usize);
    }
}
