//! Brings one chunk to its place: left where it is right, copied from a stored frame, or decoded.

use core::slice;

use super::fill::{Fill, Outcome};
use super::{Decoder, FillError, Source};
use crate::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, WriteBlocks};
use crate::chunk::{Anchor, Checked, ChunkHasher, Learning, Place, known_blocks};
use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::recipe::{Chunk, Codec, Frame, FrameHeader, PackId, RecipeError, WINDOW_LEN_MAX};
use crate::verity::leaf;

impl<W: WriteBlocks, S: Source, D: Decoder> Fill<'_, '_, W, S, D> {
    /// Brings `chunk` to its `place`.
    pub(super) fn bring(&mut self, place: &Place, chunk: &Chunk) -> Outcome<(), W, S, D> {
        let count = u64::from(place.count);
        if self.is_right(place, chunk.anchor) {
            self.tally.skipped_blocks = self.tally.skipped_blocks.saturating_add(count);
            return Ok(());
        }
        let pack = chunk.stored.pack;
        let frame = self.frame(pack, chunk.stored.frame)?;
        let end = u32::from(chunk.stored.block).saturating_add(place.count);
        if end > frame.record.blocks {
            let blocks = frame.record.blocks;
            return Err(FillError::Recipe(RecipeError::BeyondFrame { end, blocks }));
        }
        let blob = self.pack(pack, &frame)?;
        let written = match frame.record.codec {
            Codec::Stored => {
                let skip = u64::from(chunk.stored.block).saturating_mul(BLOCK_LEN_U64);
                self.copy(place, &blob, &frame, frame.offset.saturating_add(skip))?;
                &mut self.tally.stored_blocks
            }
            Codec::Zstd => {
                if self.decoded != Some((pack, frame.index)) {
                    self.decode(pack, &blob, &frame)?;
                }
                self.take(place, &frame, usize::from(chunk.stored.block))?;
                &mut self.tally.decoded_blocks
            }
        };
        *written = written.saturating_add(count);
        Ok(())
    }

    /// Whether the slot has the chunk at its place already. Its anchor, a hint, spares reading the
    /// whole of one that is not there. What cannot be read is not right.
    fn is_right(&mut self, place: &Place, anchor: Anchor) -> bool {
        if place.start == BlockIndex(0) {
            // Zero on the medium whatever belongs there, and to be kept until the slot is proven.
            return false;
        }
        let mut hasher = ChunkHasher::new(place.count);
        for offset in 0..place.count {
            let index = place.start.0.saturating_add(u64::from(offset));
            let block = slice::from_mut(self.block);
            if self.install.read(place.target, BlockIndex(index), block).is_err() {
                return false;
            }
            let leaf = leaf(self.block);
            if offset == 0 && Anchor::of(&leaf) != anchor {
                return false;
            }
            hasher.push(&leaf);
        }
        hasher.finish() == place.digest
    }

    /// The blob of a pack, when all of `frame` lies in it.
    fn pack(&self, pack: PackId, frame: &Frame) -> Outcome<Descriptor, W, S, D> {
        let packs = self.release.config().packs.iter().zip(&self.release.manifest().packs);
        let blob = packs.into_iter().find(|(listed, _)| listed.id == pack).map(|(_, blob)| *blob);
        let absent = RecipeError::NoFrame { pack, frame: frame.index };
        let blob = blob.ok_or(FillError::Recipe(absent))?;
        let end = frame.offset.saturating_add(u64::from(frame.record.stored_len));
        if end > blob.len {
            return Err(FillError::BeyondPack { frame: frame.index, end, len: blob.len });
        }
        Ok(blob)
    }

    /// Copies a chunk from a stored frame, in which it begins at byte `at` of the pack: read once
    /// to know it, and once to write it.
    fn copy(
        &mut self,
        place: &Place,
        blob: &Descriptor,
        frame: &Frame,
        at: u64,
    ) -> Outcome<(), W, S, D> {
        if place.count == 1 {
            self.fetch(blob, at, BLOCK_LEN)?;
            let checked = Checked::new(*place, slice::from_ref(self.block));
            let checked = checked.ok_or(wrong_chunk::<W, S, D>(place, frame))?;
            return self.install.write(&checked).map_err(FillError::Install);
        }
        // Lent to what is known of the chunk, while its blocks go through the rest of us.
        let leaves = core::mem::take(&mut self.leaves);
        let copied = self.copy_known(leaves, place, blob, frame, at);
        self.leaves = leaves;
        copied
    }

    fn copy_known(
        &mut self,
        leaves: &mut [Block],
        place: &Place,
        blob: &Descriptor,
        frame: &Frame,
        at: u64,
    ) -> Outcome<(), W, S, D> {
        let [found, needed] =
            [leaves.len(), known_blocks(place.count)].map(|blocks| blocks.saturating_add(2));
        let at = |offset: u32| at.saturating_add(u64::from(offset).saturating_mul(BLOCK_LEN_U64));
        let learning = Learning::new(*place, leaves);
        let mut learning = learning.ok_or(FillError::Workspace { found, needed })?;
        for offset in 0..place.count {
            self.fetch(blob, at(offset), BLOCK_LEN)?;
            learning.push(self.block);
        }
        let known = learning.finish().ok_or(wrong_chunk::<W, S, D>(place, frame))?;
        for offset in 0..place.count {
            self.fetch(blob, at(offset), BLOCK_LEN)?;
            let index = BlockIndex(place.start.0.saturating_add(u64::from(offset)));
            let changed = FillError::Changed { target: place.target, index };
            let checked = known.check(offset, self.block).ok_or(changed)?;
            self.install.write(&checked).map_err(FillError::Install)?;
        }
        Ok(())
    }

    /// Fetches a compressed frame, authenticates it, and only then has it decoded.
    fn decode(&mut self, pack: PackId, blob: &Descriptor, frame: &Frame) -> Outcome<(), W, S, D> {
        self.decoded = None;
        let (record, frame, at) = (&frame.record, frame.index, frame.offset);
        let len = usize::try_from(record.stored_len).unwrap_or(usize::MAX);
        let no_room = FillError::NoRoom { frame, len: record.stored_len };
        let stored = self.decoder.stored(len).filter(|room| room.len() == len).ok_or(no_room)?;
        let read = self.source.read(blob, at, stored);
        read.map_err(|cause| FillError::Source { blob: blob.digest, at, cause })?;
        if Digest::of(stored) != record.digest {
            return Err(FillError::Frame { frame });
        }
        let header = FrameHeader::parse(stored).ok_or(FillError::FrameHeader { frame })?;
        self.count_fetched(len);
        let (found, expected) =
            (header.content_len, u64::from(record.blocks).saturating_mul(BLOCK_LEN_U64));
        if found != expected {
            return Err(FillError::DecodedLength { frame, found, expected });
        }
        if header.window_len > WINDOW_LEN_MAX {
            let (found, limit) = (header.window_len, WINDOW_LEN_MAX);
            return Err(FillError::Window { frame, found, limit });
        }
        let count = usize::try_from(record.blocks).unwrap_or(usize::MAX);
        let decoded = self.decoder.decode(count);
        decoded.map_err(|cause| FillError::Decode { frame, cause })?;
        self.decoded = Some((pack, frame));
        Ok(())
    }

    /// Writes a chunk that begins at `block` of the frame that the decoder holds.
    fn take(&mut self, place: &Place, frame: &Frame, block: usize) -> Outcome<(), W, S, D> {
        let blocks = self.decoder.decoded().get(block..).unwrap_or_default();
        let count = usize::try_from(place.count).unwrap_or(usize::MAX);
        let checked = blocks.get(..count).and_then(|blocks| Checked::new(*place, blocks));
        let checked = checked.ok_or(wrong_chunk::<W, S, D>(place, frame))?;
        self.install.write(&checked).map_err(FillError::Install)
    }
}

fn wrong_chunk<W: WriteBlocks, S: Source, D: Decoder>(
    place: &Place,
    frame: &Frame,
) -> FillError<W::Error, S::Error, D::Error> {
    FillError::Chunk { target: place.target, start: place.start, frame: frame.index }
}
