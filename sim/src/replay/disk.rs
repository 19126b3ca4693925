//! A disk as it was, and what was written since: the image itself is only read.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks};

use crate::fat::ReadAt;

/// The image, and the blocks that differ from it.
pub(super) struct Disk {
    base: File,
    changed: HashMap<u64, Box<Block>>,
}

impl Disk {
    pub(super) fn new(base: File) -> Self {
        Self { base, changed: HashMap::new() }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.base.metadata()?.len())
    }

    /// Writes within one block.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let index = at / BLOCK_LEN_U64;
        let block = self.block(index)?;
        let mut block = Box::new(block);
        let within = usize::try_from(at % BLOCK_LEN_U64).unwrap_or(BLOCK_LEN);
        if let Some(place) = block.get_mut(within..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
        self.changed.insert(index, block);
        Ok(())
    }

    pub(super) fn zero(&mut self, at: u64, len: u64) -> io::Result<()> {
        let (mut at, end) = (at, at.saturating_add(len));
        while at < end {
            let next = (at / BLOCK_LEN_U64).saturating_add(1).saturating_mul(BLOCK_LEN_U64);
            let piece = usize::try_from(next.min(end) - at).unwrap_or(0);
            self.write(at, [0; BLOCK_LEN].get(..piece).unwrap_or_default())?;
            at = next;
        }
        Ok(())
    }

    fn block(&self, index: u64) -> io::Result<Block> {
        if let Some(block) = self.changed.get(&index) {
            return Ok(**block);
        }
        let mut block = [0; BLOCK_LEN];
        let mut len = 0;
        let at = index.saturating_mul(BLOCK_LEN_U64);
        // An image may end within a block.
        while let Some(rest) = block.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match self.base.read_at(rest, at.saturating_add(len as u64))? {
                0 => break,
                read => len += read,
            }
        }
        Ok(block)
    }
}

/// A partition of a disk, which begins and ends at a whole block.
#[derive(Clone, Copy)]
pub(super) struct Part<'d> {
    pub(super) disk: &'d Disk,
    pub(super) at: u64,
    pub(super) len: u64,
}

impl ReadAt for Part<'_> {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = at.saturating_add(done as u64);
            if at >= self.len {
                break;
            }
            let place = self.at.saturating_add(at);
            let block = self.disk.block(place / BLOCK_LEN_U64)?;
            let within = usize::try_from(place % BLOCK_LEN_U64).unwrap_or(BLOCK_LEN);
            let left = usize::try_from(self.len - at).unwrap_or(usize::MAX);
            let from = block.get(within..).unwrap_or_default();
            let len = rest.len().min(from.len()).min(left);
            for (byte, from) in rest.iter_mut().zip(from).take(len) {
                *byte = *from;
            }
            done += len;
        }
        Ok(done)
    }
}

impl ReadBlocks for Part<'_> {
    type Error = io::Error;

    fn block_count(&self) -> u64 {
        self.len / BLOCK_LEN_U64
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> io::Result<()> {
        let first = (self.at / BLOCK_LEN_U64).saturating_add(index.0);
        for (place, offset) in blocks.iter_mut().zip(0..) {
            if index.0.saturating_add(offset) >= self.block_count() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *place = self.disk.block(first.saturating_add(offset))?;
        }
        Ok(())
    }
}
