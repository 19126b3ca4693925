//! Which chunks are likely to be right in the inactive slot already: all of them after an
//! interrupted install of the same release, those at the same place after another one. This only
//! decides where it is worth looking; what is found there is hashed.

use std::path::PathBuf;

use gybe_core::trailer::Trailer;
use tracing::{debug, info};

use super::held_recipe::HeldRecipe;
use super::recipe::{Cursor, Item, Numbered, ReadRecipe, Recipe};
use super::{Chunks, InstallError, Job};
use crate::device::partition::RunningPartition;

/// Where to look before fetching.
#[derive(Debug)]
pub(super) enum Likely {
    /// Nowhere.
    Nothing,
    /// Everywhere: this release was being installed here.
    Everything,
    /// At these chunks.
    Some(Chunks),
}

impl Likely {
    /// Reads the trailer that the inactive slot still has, and compares its recipe with the new
    /// one. Whatever goes wrong here only costs bytes later.
    pub(super) fn find<S: ReadRecipe>(
        job: &Job<'_>,
        paths: &[PathBuf],
        recipe: &mut Recipe<'_, S>,
    ) -> Result<Self, InstallError> {
        let Some(root) = paths.first() else { return Ok(Self::Nothing) };
        let mut medium = RunningPartition::open(root)?;
        let Ok(trailer) = Trailer::read(&mut medium) else { return Ok(Self::Nothing) };
        if trailer.release == job.release.manifest().digest {
            info!(slot = %job.slot, "an install of this release was interrupted here, going on");
            return Ok(Self::Everything);
        }
        let Some(held) = HeldRecipe::read(root, &mut medium, &trailer) else {
            return Ok(Self::Nothing);
        };
        let Ok(mut old) = held.open() else { return Ok(Self::Nothing) };
        let same = same_places(recipe, &mut old)?;
        debug!(chunks = same.len(), "chunks at the same place as before");
        Ok(Self::Some(same))
    }

    /// Whether it is worth looking for this chunk.
    pub(super) fn has(&self, chunk: &Numbered) -> bool {
        // A target's first block is zero on the medium until the end.
        chunk.place.start.0 != 0
            && match self {
                Self::Nothing => false,
                Self::Everything => true,
                Self::Some(chunks) => chunks.contains(chunk.number),
            }
    }
}

/// The chunks of `new` that `old` has at the same place.
fn same_places<S: ReadRecipe, O: ReadRecipe>(
    new: &mut Recipe<'_, S>,
    old: &mut Recipe<'_, O>,
) -> Result<Chunks, InstallError> {
    let mut same = Chunks::default();
    let mut cursor = Cursor::default();
    let mut before = next_chunk(old, &mut cursor);
    new.walk(|item| {
        let Item::Chunk(chunk) = item else { return Ok(()) };
        let at = (chunk.place.target, chunk.place.start);
        while let Some(found) = before
            && (found.place.target, found.place.start) < at
        {
            before = next_chunk(old, &mut cursor);
        }
        if before.is_some_and(|found| found.place == chunk.place) {
            same.insert(chunk.number);
        }
        Ok::<(), InstallError>(())
    })?;
    Ok(same)
}

/// The next chunk of the old recipe; none where it cannot be read.
fn next_chunk<O: ReadRecipe>(old: &mut Recipe<'_, O>, cursor: &mut Cursor) -> Option<Numbered> {
    loop {
        match old.next(cursor).ok()?? {
            Item::Chunk(chunk) => return Some(chunk),
            Item::Zeros { .. } => {}
        }
    }
}
