//! Fills a slot: the trailer's parts, then every target, page by page.

use core::slice;

use super::{Decoder, Documents, FillError, Source, Tally};
use crate::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, WriteBlocks};
use crate::chunk::{Place, TargetIndex};
use crate::install::Install;
use crate::manifest::Descriptor;
use crate::recipe::{Frame, FrameIndex, PackId, Part, RecipeError, Record, Table};
use crate::release::Release;
use crate::trailer::PartName;

/// What filling a slot can come to.
pub(super) type Outcome<T, W, S, D> = Result<
    T,
    FillError<<W as crate::block::ReadBlocks>::Error, <S as Source>::Error, <D as Decoder>::Error>,
>;

/// A slot that is being filled.
pub(super) struct Fill<'f, 'm, W, S, D> {
    pub(super) install: &'f mut Install<'m, W>,
    pub(super) release: &'f Release<'f>,
    pub(super) table: Table<'f>,
    pub(super) source: &'f mut S,
    pub(super) decoder: &'f mut D,
    /// The block on its way.
    pub(super) block: &'f mut Block,
    /// Leaf hashes of the chunk on its way; never empty.
    pub(super) leaves: &'f mut [Block],
    /// The frame that was looked up last: chunks that follow each other lie in one.
    pub(super) found: Option<(PackId, Frame)>,
    /// The frame that the decoder holds.
    pub(super) decoded: Option<(PackId, FrameIndex)>,
    pub(super) tally: Tally,
}

impl<'f, 'm, W: WriteBlocks, S: Source, D: Decoder> Fill<'f, 'm, W, S, D> {
    pub(super) fn new(
        install: &'f mut Install<'m, W>,
        release: &'f Release<'f>,
        table: Table<'f>,
        source: &'f mut S,
        decoder: &'f mut D,
        block: &'f mut Block,
        leaves: &'f mut [Block],
    ) -> Self {
        let (found, decoded, tally) = (None, None, Tally::default());
        Self { install, release, table, source, decoder, block, leaves, found, decoded, tally }
    }

    pub(super) fn tally(self) -> Tally {
        self.tally
    }

    /// Writes the trailer's parts that are not there from an install before.
    pub(super) fn parts(&mut self, documents: &Documents<'_>) -> Outcome<(), W, S, D> {
        let small = [
            (PartName::Manifest, documents.manifest),
            (PartName::Config, documents.config),
            (PartName::Signatures, documents.signatures),
        ];
        for (name, bytes) in small {
            if self.has_part(name) {
                continue;
            }
            for (offset, piece) in (0u64..).zip(bytes.chunks(BLOCK_LEN)) {
                self.block.fill(0);
                self.block.get_mut(..piece.len()).unwrap_or_default().copy_from_slice(piece);
                self.write_part(name, offset)?;
            }
        }
        let recipe = self.release.manifest().recipe;
        if self.has_part(PartName::Recipe) {
            return Ok(());
        }
        for offset in 0..recipe.len.div_ceil(BLOCK_LEN_U64) {
            let at = offset.saturating_mul(BLOCK_LEN_U64);
            let len = recipe.len.saturating_sub(at).min(BLOCK_LEN_U64);
            self.block.fill(0);
            self.fetch(&recipe, at, usize::try_from(len).unwrap_or(BLOCK_LEN))?;
            self.write_part(PartName::Recipe, offset)?;
        }
        Ok(())
    }

    fn has_part(&mut self, name: PartName) -> bool {
        let trailer = *self.install.trailer();
        let medium = self.install.medium(TargetIndex(0), BlockIndex(0));
        medium.is_ok_and(|medium| trailer.check_part_in(self.block, medium, name).is_ok())
    }

    fn write_part(&mut self, name: PartName, offset: u64) -> Outcome<(), W, S, D> {
        let written = self.install.write_part(name, offset, slice::from_ref(self.block));
        written.map_err(FillError::Install)
    }

    /// Brings every target's blocks to their places.
    pub(super) fn targets(&mut self, page: &mut Block) -> Outcome<(), W, S, D> {
        for (number, at, entry) in self.table.pages() {
            let Part::Target(target) = entry.part else { break };
            let page = page.get_mut(..usize::from(entry.len)).unwrap_or_default();
            read_recipe(self.install, at, page, self.block)?;
            let mut start = BlockIndex(entry.first);
            for record in entry.records(number, page).map_err(FillError::Recipe)? {
                let record = record.map_err(FillError::Recipe)?;
                let count = record.count();
                match record {
                    Record::Zeros { .. } => self.zero(target, start, count)?,
                    Record::Chunk(chunk) => {
                        let place = Place { target, start, count, digest: chunk.digest };
                        self.bring(&place, &chunk)?;
                    }
                }
                start = BlockIndex(start.0.saturating_add(u64::from(count)));
            }
        }
        Ok(())
    }

    fn zero(&mut self, target: TargetIndex, start: BlockIndex, count: u32) -> Outcome<(), W, S, D> {
        let room = slice::from_mut(self.block);
        let zeroed = self.install.zero_in(room, target, start, count);
        zeroed.map_err(FillError::Install)?;
        self.tally.zero_blocks = self.tally.zero_blocks.saturating_add(u64::from(count));
        Ok(())
    }

    /// A frame's record and place.
    pub(super) fn frame(&mut self, pack: PackId, frame: FrameIndex) -> Outcome<Frame, W, S, D> {
        if let Some((in_pack, found)) = self.found
            && (in_pack, found.index) == (pack, frame)
        {
            return Ok(found);
        }
        let absent = FillError::Recipe(RecipeError::NoFrame { pack, frame });
        let Some((number, at, entry)) = self.table.frame_page(pack, frame) else {
            return Err(absent);
        };
        // No block is on its way yet, so there is room for the page.
        let page = self.block.get_mut(..usize::from(entry.len)).unwrap_or_default();
        let Some(scratch) = self.leaves.first_mut() else { return Err(absent) };
        read_recipe(self.install, at, page, scratch)?;
        for found in entry.frames(number, page).map_err(FillError::Recipe)? {
            let found = found.map_err(FillError::Recipe)?;
            if found.index == frame {
                self.found = Some((pack, found));
                return Ok(found);
            }
        }
        Err(absent)
    }

    /// Fetches the first `len` bytes of the block on its way.
    pub(super) fn fetch(&mut self, blob: &Descriptor, at: u64, len: usize) -> Outcome<(), W, S, D> {
        let buffer = self.block.get_mut(..len).unwrap_or_default();
        let read = self.source.read(blob, at, buffer);
        read.map_err(|cause| FillError::Source { blob: blob.digest, at, cause })?;
        self.count_fetched(len);
        Ok(())
    }

    pub(super) fn count_fetched(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.tally.fetched_bytes = self.tally.fetched_bytes.saturating_add(len);
    }
}

/// Fills `bytes` with those of the recipe that begin at `at`, as the slot's trailer has it.
fn read_recipe<W: WriteBlocks, S, D>(
    install: &mut Install<'_, W>,
    at: u64,
    bytes: &mut [u8],
    scratch: &mut Block,
) -> Result<(), FillError<W::Error, S, D>> {
    let part = *install.trailer().part(PartName::Recipe);
    let (mut at, mut rest) = (at, bytes);
    while !rest.is_empty() {
        if at >= part.len {
            return Err(FillError::Recipe(RecipeError::Table { what: "the recipe ends early" }));
        }
        let offset = at.checked_div(BLOCK_LEN_U64).unwrap_or(0);
        let index = BlockIndex(part.start.0.saturating_add(offset));
        let read = install.read(TargetIndex(0), index, slice::from_mut(scratch));
        read.map_err(FillError::Install)?;
        let skip = usize::try_from(at.checked_rem(BLOCK_LEN_U64).unwrap_or(0)).unwrap_or(0);
        let from = scratch.get(skip..).unwrap_or_default();
        let len = from.len().min(rest.len());
        let (now, later) = rest.split_at_mut(len);
        now.copy_from_slice(from.get(..len).unwrap_or_default());
        rest = later;
        at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    Ok(())
}
