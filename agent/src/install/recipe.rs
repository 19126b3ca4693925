//! Walks a recipe page by page, wherever its bytes lie. One page is held at a time.

use gybe_core::block::{BLOCK_LEN, BlockIndex, ReadBlocks as _};
use gybe_core::chunk::{Place, TargetIndex};
use gybe_core::config::Config;
use gybe_core::recipe::{
    Chunk, Entry, Frame, FrameIndex, PAGE_LEN_MAX, PackId, Part, RECORD_LEN_MAX, RecipeError,
    Record, Table,
};
use gybe_core::trailer;
use gybe_oci::Blob;

use super::InstallError;
use crate::device::partition::RunningPartition;

/// Where the bytes of a recipe can be read.
pub(super) trait ReadRecipe {
    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Fills `buffer` with the bytes that begin at `at`.
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), InstallError>;
}

impl ReadRecipe for Blob {
    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), InstallError> {
        let digest = self.digest();
        Self::read_at(self, at, buffer).map_err(|cause| InstallError::Source { digest, cause })
    }
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
}

impl ReadRecipe for RecipePart {
    fn len(&self) -> u64 {
        self.part.len
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), InstallError> {
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
    frames: Option<(u32, Vec<Frame>)>,
}

impl<'t, S: ReadRecipe> Recipe<'t, S> {
    /// The recipe that `config` names, whose table is `table`.
    pub(super) fn new(
        config: &Config<'_>,
        table: &'t [u8],
        source: S,
    ) -> Result<Self, InstallError> {
        let digest = config.recipe.table_digest;
        let table = Table::parse(table, &digest, config.parts())?;
        if table.recipe_len() != source.len() {
            let what = "the recipe is not as long as its table says";
            return Err(RecipeError::Table { what }.into());
        }
        Ok(Self { table, source, page: Vec::new(), frames: None })
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

    /// The next part after `cursor`.
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
        let absent = RecipeError::NoFrame { pack, frame };
        let (number, at, entry) = self.table.frame_page(pack, frame).ok_or(absent)?;
        if self.frames.as_ref().is_none_or(|(page, _)| *page != number) {
            self.read(at, &entry)?;
            let frames = entry.frames(number, &self.page)?.collect::<Result<_, _>>()?;
            self.frames = Some((number, frames));
        }
        let frames = self.frames.iter().flat_map(|(_, frames)| frames);
        let found = frames.copied().find(|found| found.index == frame);
        Ok(found.ok_or(absent)?)
    }

    fn read(&mut self, at: u64, entry: &Entry) -> Result<(), InstallError> {
        self.page.resize(usize::from(entry.len), 0);
        self.source.read_at(at, &mut self.page)
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
