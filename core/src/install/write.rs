//! Writing: checked chunks, zeros, and the parts of the trailer. Nothing else reaches the slot.

use core::slice;

use super::{Install, InstallError};
use crate::block::{BLOCK_LEN, Block, BlockIndex, WriteBlocks};
use crate::chunk::{Checked, TargetIndex};
use crate::trailer::PartName;

/// How many blocks of zeros are compared and written at once.
const ZEROS: usize = 16;

impl<W: WriteBlocks> Install<'_, W> {
    /// Writes a chunk to its place. A target's first block is kept back until the slot is proven.
    ///
    /// # Errors
    /// [`InstallError`]: the place does not exist, or the medium refuses.
    pub fn write(&mut self, chunk: &Checked<'_>) -> Result<(), InstallError<W::Error>> {
        let place = chunk.place();
        self.write_blocks(place.target, place.start, chunk.blocks())
    }

    /// Fills blocks with zeros. Those that are zero already are only read.
    ///
    /// # Errors
    /// As [`Install::write`].
    pub fn zero(
        &mut self,
        target: TargetIndex,
        start: BlockIndex,
        count: u32,
    ) -> Result<u32, InstallError<W::Error>> {
        self.zero_in(&mut [[0; BLOCK_LEN]; ZEROS], target, start, count)
    }

    /// As [`Install::zero`], as many blocks at once as `room` has.
    pub(crate) fn zero_in(
        &mut self,
        room: &mut [Block],
        target: TargetIndex,
        start: BlockIndex,
        count: u32,
    ) -> Result<u32, InstallError<W::Error>> {
        let mut written = 0u32;
        let mut at = start.0;
        let end = at.saturating_add(u64::from(count));
        let step = room.len().max(1);
        while at < end {
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(step).min(step);
            let index = BlockIndex(at);
            let Some(found) = room.get_mut(..len) else {
                return Err(InstallError::Buffer { found: 0, needed: 1 });
            };
            let unreadable = self.medium(target, index)?.read(index, found).is_err();
            // The first block is zero on the medium whatever belongs there.
            if at == 0 || unreadable || found.as_flattened().iter().any(|byte| *byte != 0) {
                found.as_flattened_mut().fill(0);
                self.write_blocks(target, index, found)?;
                written = written.saturating_add(u32::try_from(len).unwrap_or(0));
            }
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        }
        Ok(written)
    }

    /// Reads what a partition holds, anything behind its target included.
    ///
    /// # Errors
    /// As [`Install::write`].
    pub fn read(
        &mut self,
        target: TargetIndex,
        index: BlockIndex,
        blocks: &mut [Block],
    ) -> Result<(), InstallError<W::Error>> {
        let read = self.medium(target, index)?.read(index, blocks);
        read.map_err(|cause| InstallError::Read { target, index, cause })
    }

    /// Writes whole blocks of a part of the trailer, beginning `offset` blocks into it.
    ///
    /// # Errors
    /// As [`Install::write`].
    pub fn write_part(
        &mut self,
        name: PartName,
        offset: u64,
        blocks: &[Block],
    ) -> Result<(), InstallError<W::Error>> {
        let part = *self.trailer.part(name);
        let end = offset.saturating_add(u64::try_from(blocks.len()).unwrap_or(u64::MAX));
        if end > part.blocks() {
            return Err(InstallError::BeyondPart { part: name, offset: part.blocks() });
        }
        self.put(TargetIndex(0), BlockIndex(part.start.0.saturating_add(offset)), blocks)
    }

    pub(super) fn write_footer(&mut self, room: &mut Block) -> Result<(), InstallError<W::Error>> {
        self.trailer.encode_to(room);
        let count = self.targets.first().map_or(0, |root| root.medium.block_count());
        self.put(TargetIndex(0), BlockIndex(count.saturating_sub(1)), slice::from_ref(room))
    }

    pub(super) fn flush(&mut self, target: TargetIndex) -> Result<(), InstallError<W::Error>> {
        let flushed = self.medium(target, BlockIndex(0))?.flush();
        flushed.map_err(|cause| InstallError::Flush { target, cause })
    }

    /// Writes blocks that belong to a target, but for its first.
    fn write_blocks(
        &mut self,
        target: TargetIndex,
        start: BlockIndex,
        blocks: &[Block],
    ) -> Result<(), InstallError<W::Error>> {
        let len = self.target(target).map_or(0, |shape| shape.blocks);
        let end = start.0.saturating_add(u64::try_from(blocks.len()).unwrap_or(u64::MAX));
        if end > len {
            return Err(InstallError::Beyond { target, index: BlockIndex(len) });
        }
        let (start, blocks) = match blocks {
            [first, rest @ ..] if start.0 == 0 => {
                if let Some(inactive) = self.targets.get_mut(usize::from(target.0)) {
                    inactive.first = Some(*first);
                }
                (BlockIndex(1), rest)
            }
            _ => (start, blocks),
        };
        if blocks.is_empty() { Ok(()) } else { self.put(target, start, blocks) }
    }

    pub(super) fn put(
        &mut self,
        target: TargetIndex,
        index: BlockIndex,
        blocks: &[Block],
    ) -> Result<(), InstallError<W::Error>> {
        let written = self.medium(target, index)?.write(index, blocks);
        written.map_err(|cause| InstallError::Write { target, index, cause })
    }

    pub(crate) fn medium(
        &mut self,
        target: TargetIndex,
        index: BlockIndex,
    ) -> Result<&mut W, InstallError<W::Error>> {
        let inactive = self.targets.get_mut(usize::from(target.0));
        inactive.map(|inactive| &mut inactive.medium).ok_or(InstallError::Beyond { target, index })
    }
}
