//! The pages of a new recipe: those that a slot's trailer has are read there, only the others from
//! the source. A page is known by its digest, whatever release it came with.
//!
//! The recipe is written into the trailer of the inactive slot, and pages may be read from the very
//! blocks that this overwrites:
//!
//! ```text
//! before  │ free          │ manifest … │ recipe that the slot held           │ footer │
//! while   │ free      │ manifest … │ new recipe ──▶│                         │ draft  │
//!                     written.start                written.end
//! ```
//!
//! What is written grows from `written.start` to `written.end`, and nothing behind that is touched.
//! A held page counts only if no byte of it lies in between, and a batch is read before any of it
//! is written. So pages may move to the front, stay where they are, as after an interrupted install
//! of the same release, or move back within a batch; the few that move farther are fetched. The
//! rule looks at positions only, so that a plan, which writes nothing, comes to the same pages.
//!
//! When power is cut in between, the footer says draft, and where the new recipe belongs there is
//! the front of it, torn anywhere, then what was there before. The next attempt looks for pages
//! under the new table, or finds none if not even that is whole; the pages of the old recipe are
//! forgotten. Either way each page is hashed before it counts, and the digest of the whole recipe
//! is compared at the end: an accident here costs bytes and is never believed.

use std::ops::Range;

use super::fetched::Fetched;
use super::held_recipe::HeldRecipe;
use super::lookup::{Lookup, Spot, digest_key};
use super::recipe::{ReadRecipe, RecipePart};
use super::tally::Tally;
use super::{InstallError, bytes};
use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::config::RecipeRef;
use gybe_core::digest::{Digest, Hasher};
use gybe_core::recipe::{Entry, PAGE_LEN_MAX, Table};
use gybe_core::trailer::{PartName, Trailer};

/// How many bytes are brought over at once: 64 full pages.
const BATCH_LEN: usize = 64 * BLOCK_LEN;

/// The recipes that the slots hold: the running slot's, and the one that the inactive slot held
/// until it is overwritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldRecipes<'a> {
    pub(super) running: Option<&'a HeldRecipe>,
    pub(super) inactive: Option<&'a HeldRecipe>,
}

impl<'a> HeldRecipes<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a HeldRecipe> {
        self.running.into_iter().chain(self.inactive)
    }

    /// The table with this digest: an interrupted install has it.
    fn table(&self, digest: &Digest) -> Option<Vec<u8>> {
        let found = self.iter().map(HeldRecipe::table_bytes).find(|it| Digest::of(it) == *digest);
        found.map(ToOwned::to_owned)
    }
}

/// Reads the table of the recipe in `source`, or where a slot has it. The digest is checked by
/// whoever parses it.
pub(super) fn read_table(
    config: &RecipeRef,
    source: &mut Fetched,
    held: HeldRecipes<'_>,
    tally: &mut Tally,
) -> Result<Vec<u8>, InstallError> {
    if let Some(table) = held.table(&config.table_digest) {
        return Ok(table);
    }
    let mut table = vec![0; config.table_size];
    let len = table.len() as u64;
    if source.len() < len {
        return Err(InstallError::RecipeEnds);
    }
    source.ask(std::iter::once(0..len));
    source.read(0, &mut table, tally)?;
    Ok(table)
}

/// Where the pages of a new recipe are.
#[derive(Debug)]
pub(super) struct Pages<'t> {
    table: Table<'t>,
    source: Fetched,
    held: Lookup,
    slots: Vec<Slot>,
}

/// A slot's recipe as a place to read from.
#[derive(Debug)]
struct Slot {
    recipe: RecipePart,
    /// Whether it lies where the new one is written to.
    is_inactive: bool,
}

impl<'t> Pages<'t> {
    /// The pages that `table` names, in `source` or in one of the slots.
    pub(super) fn new(
        table: Table<'t>,
        source: Fetched,
        held: HeldRecipes<'_>,
    ) -> Result<Self, InstallError> {
        let mut pages = Self { table, source, held: Lookup::default(), slots: Vec::new() };
        for (recipe, is_inactive) in [(held.running, false), (held.inactive, true)] {
            let Some(recipe) = recipe else { continue };
            let number = u16::try_from(pages.slots.len()).unwrap_or(u16::MAX);
            for (_, at, entry) in recipe.table()?.pages() {
                pages.held.push(digest_key(&entry.digest), Spot::new(number, at));
            }
            pages.slots.push(Slot { recipe: recipe.part()?, is_inactive });
        }
        pages.held.sort();
        Ok(pages)
    }

    /// Gives the whole recipe to `put`, as blocks that begin so many blocks into it, and counts in
    /// `tally` what was fetched for that. `trailer` says where they are written.
    ///
    /// # Errors
    /// [`InstallError`]: the source cannot be read, the recipe is not the signed one, or `put`
    /// says so.
    pub(super) fn bring(
        &mut self,
        table: &[u8],
        trailer: &Trailer,
        tally: &mut Tally,
        mut put: impl FnMut(u64, &[Block]) -> Result<(), InstallError>,
    ) -> Result<(), InstallError> {
        let part = trailer.part(PartName::Recipe);
        let start = bytes(part.start.0);
        let from = bytes(trailer.part(PartName::Manifest).start.0);
        let missing = self.missing(table.len(), from, start);
        self.source.ask(missing);
        let mut batch = Batch::new(from..start);
        batch.bytes.extend_from_slice(table);
        for (_, at, entry) in self.table.pages() {
            if batch.bytes.len() >= BATCH_LEN {
                self.fetch(&mut batch, tally)?;
                batch.give(start, false, &mut put)?;
            }
            let from = batch.bytes.len();
            batch.bytes.resize(from + usize::from(entry.len), 0);
            let page = batch.bytes.get_mut(from..).unwrap_or_default();
            if self.read_held(&entry, page, &batch.written) {
                self.fetch(&mut batch, tally)?;
            } else {
                batch.miss(at, u64::from(entry.len));
            }
        }
        self.fetch(&mut batch, tally)?;
        batch.give(start, true, &mut put)?;
        if batch.hasher.finish() == part.digest { Ok(()) } else { Err(InstallError::RecipeDigest) }
    }

    /// The pages that [`Pages::bring`] will not find in a slot: a registry is asked for several at
    /// once, and wants to know beforehand. It goes through the same steps, so it comes to the same.
    fn missing(&mut self, table_len: usize, from: u64, start: u64) -> Vec<Range<u64>> {
        let entries: Vec<_> = self.table.pages().collect();
        let mut page = Vec::with_capacity(PAGE_LEN_MAX);
        let mut missing: Vec<Range<u64>> = Vec::new();
        let (mut written, mut given, mut len) = (from..start, 0, table_len);
        for (_, at, entry) in entries {
            if len >= BATCH_LEN {
                given += len / BLOCK_LEN * BLOCK_LEN;
                len %= BLOCK_LEN;
                written.end = start + given as u64;
            }
            page.resize(usize::from(entry.len), 0);
            len += page.len();
            if !self.read_held(&entry, &mut page, &written) {
                let end = at + u64::from(entry.len);
                match missing.last_mut() {
                    Some(last) if last.end == at => last.end = end,
                    _ => missing.push(at..end),
                }
            }
        }
        missing
    }

    /// Fills `page` from a slot that has it at a place outside of `written`, if there is one.
    fn read_held(&mut self, entry: &Entry, page: &mut [u8], written: &Range<u64>) -> bool {
        let Self { held, slots, .. } = self;
        held.find(digest_key(&entry.digest)).any(|spot| {
            let Some(Slot { recipe, is_inactive }) = slots.get_mut(spot.medium()) else {
                return false;
            };
            let lies = recipe.bytes(spot.position(), u64::from(entry.len));
            let is_intact = lies.end <= written.start || written.end <= lies.start;
            (is_intact || !*is_inactive)
                && recipe.read_at(spot.position(), page).is_ok()
                && Digest::of(page) == entry.digest
        })
    }

    /// Reads what is missing of a batch.
    fn fetch(&mut self, batch: &mut Batch, tally: &mut Tally) -> Result<(), InstallError> {
        let missing = std::mem::replace(&mut batch.missing, 0..0);
        if missing.is_empty() {
            return Ok(());
        }
        let place = |at: u64| usize::try_from(at.saturating_sub(batch.at)).unwrap_or(usize::MAX);
        let room = batch.bytes.get_mut(place(missing.start)..place(missing.end));
        self.source.read(missing.start, room.unwrap_or_default(), tally)
    }
}

impl ReadRecipe for Pages<'_> {
    fn read_page(&mut self, at: u64, entry: &Entry, page: &mut [u8]) -> Result<(), InstallError> {
        if self.read_held(entry, page, &(0..0)) {
            return Ok(());
        }
        self.source.read_again(at, page)
    }
}

/// Bytes of the recipe on their way.
#[derive(Debug)]
struct Batch {
    /// Where in the recipe they begin: at a whole block.
    at: u64,
    bytes: Vec<u8>,
    /// Which bytes of the recipe are still to be fetched: the last of these.
    missing: Range<u64>,
    /// Which bytes of the partition have been overwritten.
    written: Range<u64>,
    hasher: Hasher,
}

impl Batch {
    fn new(written: Range<u64>) -> Self {
        let bytes = Vec::with_capacity(BATCH_LEN + PAGE_LEN_MAX);
        let hasher = Hasher::new();
        Self { at: 0, bytes, missing: 0..0, written, hasher }
    }

    /// The page that was added last is to be fetched, in one request with those before it.
    fn miss(&mut self, at: u64, len: u64) {
        if self.missing.is_empty() {
            self.missing.start = at;
        }
        self.missing.end = at + len;
    }

    /// Gives all whole blocks to `put`, and at the end the rest, filled up with zeros. `start` is
    /// where on the partition the recipe begins.
    fn give(
        &mut self,
        start: u64,
        is_last: bool,
        put: &mut impl FnMut(u64, &[Block]) -> Result<(), InstallError>,
    ) -> Result<(), InstallError> {
        let whole = self.bytes.len() / BLOCK_LEN * BLOCK_LEN;
        let len = if is_last { self.bytes.len() } else { whole };
        self.hasher.update(self.bytes.get(..len).unwrap_or_default());
        if is_last {
            self.bytes.resize(len.next_multiple_of(BLOCK_LEN), 0);
        }
        let (blocks, _) = self.bytes.as_chunks::<BLOCK_LEN>();
        put(self.at / BLOCK_LEN as u64, blocks)?;
        let given = blocks.as_flattened().len();
        self.bytes.drain(..given);
        self.at += given as u64;
        self.written.end = start + self.at;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
