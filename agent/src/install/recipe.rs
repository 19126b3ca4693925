//! Walks a recipe page by page, wherever its bytes lie. One page is held at a time.

use std::ops::Range;

use gybe_core::block::{BLOCK_LEN, BlockIndex, ReadBlocks as _};
use gybe_core::chunk::{Place, TargetIndex};
use gybe_core::config::Config;
use gybe_core::recipe::{
    Chunk, Entry, Frame, FrameIndex, PAGE_LEN_MAX, PackId, Part, RECORD_LEN_MAX, RecipeError,
    Record, Table,
};
use gybe_core::trailer;

use super::{InstallError, bytes};
use crate::device::partition::RunningPartition;

/// Where the pages of a recipe can be read.
pub(super) trait ReadRecipe {
    /// Fills `page`, which is as long as `entry` says, with the page that begins at `at`. Nobody
    /// has checked what comes.
    fn read_page(&mut self, at: u64, entry: &Entry, page: &mut [u8]) -> Result<(), InstallError>;
}

/// The recipe in the trailer of a slot.
#[derive(Debug)]
pub(super) struct RecipePart {
    medium: RunningPartition,
    part: trailer::Part,
}

impl RecipePart {
    pub(super) const fn new(medium: RunningPartition, part: trailer::Part) -> Self {
        Self { medium, part }
    }

    /// Which bytes of the partition hold the `len` bytes of the recipe that begin at `at`.
    pub(super) const fn bytes(&self, at: u64, len: u64) -> Range<u64> {
        let start = bytes(self.part.start.0).saturating_add(at);
        start..start.saturating_add(len)
    }

    /// Fills `buffer` with the bytes of the recipe that begin at `at`.
    pub(super) fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), InstallError> {
        let mut at = at;
        let mut rest = buffer;
        while !rest.is_empty() {
            let block_len = BLOCK_LEN as u64;
            let mut block = [[0; BLOCK_LEN]];
            let index = BlockIndex(self.part.start.0 + at / block_len);
            if at >= self.part.len {
                return Err(InstallError::RecipeEnds);
            }
            self.medium.read(index, &mut block)?;
            let skip = usize::try_from(at % block_len).unwrap_or(0);
            let from = block.as_flattened().get(skip..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            rest = later;
            at += len as u64;
        }
        Ok(())
    }
}

impl ReadRecipe for RecipePart {
    fn read_page(&mut self, at: u64, _: &Entry, page: &mut [u8]) -> Result<(), InstallError> {
        self.read_at(at, page)
    }
}

/// A chunk of the recipe and its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    /// Its number, counted over all targets.
    pub(super) number: usize,
    /// Where it belongs.
    pub(super) place: Place,
    /// What it is, and where its data lies.
    pub(super) chunk: Chunk,
}

/// Part of a target.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A chunk.
    Chunk(Numbered),
    /// Zeros.
    Zeros { target: TargetIndex, start: BlockIndex, count: u32 },
}

/// A recipe whose table was checked.
#[derive(Debug)]
pub(super) struct Recipe<'t, S> {
    table: Table<'t>,
    source: S,
    page: Vec<u8>,
    /// The page of frames that was read last.
    frames: Option<(PackId, Vec<Frame>)>,
}

/// The table of the recipe that `config` names, if `bytes` are that and the recipe is `len` bytes
/// long.
pub(super) fn table<'t>(
    config: &Config<'_>,
    bytes: &'t [u8],
    len: u64,
) -> Result<Table<'t>, InstallError> {
    let table = Table::parse(bytes, &config.recipe.table_digest, config.parts())?;
    if table.recipe_len() != len {
        let what = "the recipe is not as long as its table says";
        return Err(RecipeError::Table { what }.into());
    }
    Ok(table)
}

impl<'t, S: ReadRecipe> Recipe<'t, S> {
    /// The recipe with this table, whose pages are in `source`.
    pub(super) const fn new(table: Table<'t>, source: S) -> Self {
        Self { table, source, page: Vec::new(), frames: None }
    }

    /// How many chunks there are at most.
    pub(super) fn chunks_max(&self) -> usize {
        self.table.page_count() * (PAGE_LEN_MAX / RECORD_LEN_MAX)
    }

    /// Gives every part of every target, in order, to `take`.
    pub(super) fn walk<E: From<InstallError>>(
        &mut self,
        mut take: impl FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = Cursor::default();
        while let Some(item) = self.next(&mut cursor)? {
            take(item)?;
        }
        Ok(())
    }

    /// Gives every chunk that can be read to `take`: pages that are damaged are passed over. Says
    /// how many those were.
    pub(super) fn walk_readable(&mut self, mut take: impl FnMut(&Place)) -> u64 {
        let mut cursor = Cursor::default();
        let mut damaged = 0;
        loop {
            match self.next(&mut cursor) {
                Ok(Some(Item::Chunk(found))) => take(&found.place),
                Ok(Some(Item::Zeros { .. })) => {}
                Ok(None) => return damaged,
                // The cursor stands behind the page already.
                Err(_) => damaged += 1,
            }
        }
    }

    /// The next part after `cursor`, which stands behind the page of it after an error.
    pub(super) fn next(&mut self, cursor: &mut Cursor) -> Result<Option<Item>, InstallError> {
        while cursor.items.is_empty() {
            let pages = self.table.pages().skip(cursor.page);
            let next = pages.take(1).next();
            let Some((number, at, entry)) = next else { return Ok(None) };
            let Part::Target(target) = entry.part else { return Ok(None) };
            cursor.page += 1;
            self.read(at, &entry)?;
            let mut start = entry.first;
            for record in entry.records(number, &self.page)? {
                let record = record?;
                let at = BlockIndex(start);
                start += u64::from(record.count());
                cursor.items.push_back(match record {
                    Record::Zeros { count } => Item::Zeros { target, start: at, count },
                    Record::Chunk(chunk) => {
                        let (count, digest) = (chunk.count, chunk.digest);
                        let place = Place { target, start: at, count, digest };
                        let number = cursor.chunks;
                        cursor.chunks += 1;
                        Item::Chunk(Numbered { number, place, chunk })
                    }
                });
            }
        }
        Ok(cursor.items.pop_front())
    }

    /// A frame's record and place.
    pub(super) fn frame(&mut self, pack: PackId, frame: FrameIndex) -> Result<Frame, InstallError> {
        if let Some(found) = self.frame_read_last(pack, frame) {
            return Ok(found);
        }
        let absent = RecipeError::NoFrame { pack, frame };
        let (number, at, entry) = self.table.frame_page(pack, frame).ok_or(absent)?;
        self.read(at, &entry)?;
        let frames = entry.frames(number, &self.page)?.collect::<Result<_, _>>()?;
        self.frames = Some((pack, frames));
        Ok(self.frame_read_last(pack, frame).ok_or(absent)?)
    }

    /// A frame, if it stands in the page that was read last.
    fn frame_read_last(&self, pack: PackId, frame: FrameIndex) -> Option<Frame> {
        let (_, frames) = self.frames.as_ref().filter(|(found, _)| *found == pack)?;
        let first = frames.first()?.index.0;
        let at = usize::try_from(frame.0.checked_sub(first)?).ok()?;
        frames.get(at).copied()
    }

    fn read(&mut self, at: u64, entry: &Entry) -> Result<(), InstallError> {
        self.page.resize(usize::from(entry.len), 0);
        self.source.read_page(at, entry, &mut self.page)
    }
}

/// A position in a recipe.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    page: usize,
    chunks: usize,
    items: std::collections::VecDeque<Item>,
}

impl From<RecipeError> for InstallError {
    fn from(cause: RecipeError) -> Self {
        Self::Recipe { cause }
    }
}
