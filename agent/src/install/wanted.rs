//! Which frames are to be fetched, and what of each belongs where.
//!
//! Chunks that are missing come in the order of the targets, and their frames lie anywhere: in the
//! packs of several releases, each half dead, one frame wanted here and there again. So they are
//! sorted: frames come in the order in which they lie, each once with everything that is wanted of
//! it, and those that lie side by side can be read as one range. A recipe may have any number of
//! chunks; it is walked as often as its missing ones fill a table of bounded size.

use gybe_core::chunk::Place;
use gybe_core::config::Config;
use gybe_core::recipe::{Frame, FrameIndex, PackId, RecipeError, Stored};

use super::recipe::{Item, Numbered, ReadRecipe, Recipe};
use super::{Chunks, InstallError};

/// How many missing chunks are sorted at once; twice as many are held meanwhile, in 576 KiB.
const SORTED_MAX: usize = 1 << 12;

/// How many places are handed over with one frame. One that belongs to more is fetched again.
const PLACES_MAX: usize = 1 << 11;

/// A frame to be fetched, and what of it belongs where.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Number of the pack in the configuration.
    pub(super) pack: usize,
    /// The frame.
    pub(super) frame: Frame,
    /// The places, and where in the decoded frame their blocks begin.
    pub(super) places: Vec<(Place, usize)>,
    /// How it lies to the one before.
    pub(super) lies: Lies,
}

/// How a frame lies to the one that was wanted before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// Somewhere else: a range begins.
    Apart,
    /// Right behind it: the range goes on.
    Behind,
    /// It is the same again, which has more places than are handed over at once.
    Again,
}

/// A missing chunk.
#[derive(Clone, Copy, Debug)]
struct Missing {
    pack: usize,
    id: PackId,
    frame: FrameIndex,
    block: u16,
    number: usize,
    place: Place,
}

impl Missing {
    /// What missing chunks are sorted by: by frames as they lie, then by the order of the targets.
    const fn key(&self) -> (usize, u32, usize) {
        (self.pack, self.frame.0, self.number)
    }

    fn shares_frame(&self, other: &Self) -> bool {
        (self.pack, self.frame) == (other.pack, other.frame)
    }
}

/// Gives each frame that has something in `missing`, which is empty then.
pub(super) fn each<S: ReadRecipe>(
    recipe: &mut Recipe<'_, S>,
    config: &Config<'_>,
    missing: &mut Chunks,
    mut give: impl FnMut(Wanted) -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let mut last: Option<(usize, Frame)> = None;
    while missing.len() > 0 {
        let sorted = next(recipe, config, missing)?;
        if sorted.is_empty() {
            return Err(InstallError::RecipeChanged);
        }
        let frames = sorted.chunk_by(Missing::shares_frame);
        for chunks in frames.flat_map(|chunks| chunks.chunks(PLACES_MAX)) {
            let Some(&Missing { pack, id, frame, .. }) = chunks.first() else { continue };
            let frame = recipe.frame(id, frame)?;
            let mut places = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                missing.remove(chunk.number);
                places.push((chunk.place, fitting(chunk, &frame)?));
            }
            let lies = Lies::of(last.replace((pack, frame)), pack, &frame);
            give(Wanted { pack, frame, places, lies })?;
        }
    }
    Ok(())
}

impl Lies {
    fn of(last: Option<(usize, Frame)>, pack: usize, frame: &Frame) -> Self {
        match last {
            Some((before, last)) if before == pack => {
                let end = last.offset.saturating_add(u64::from(last.record.stored_len));
                match frame.offset {
                    _ if last.index == frame.index => Self::Again,
                    offset if offset == end => Self::Behind,
                    _ => Self::Apart,
                }
            }
            _ => Self::Apart,
        }
    }
}

/// The first of the missing chunks in the order of their frames: all that belong to some frames.
fn next<S: ReadRecipe>(
    recipe: &mut Recipe<'_, S>,
    config: &Config<'_>,
    missing: &Chunks,
) -> Result<Vec<Missing>, InstallError> {
    let mut first = Vec::new();
    let mut are_all = true;
    recipe.walk(|item| {
        let Item::Chunk(found) = item else { return Ok(()) };
        if !missing.contains(found.number) {
            return Ok(());
        }
        first.push(locate(&found, config)?);
        if first.len() == 2 * SORTED_MAX {
            first.select_nth_unstable_by_key(SORTED_MAX, Missing::key);
            first.truncate(SORTED_MAX);
            are_all = false;
        }
        Ok::<(), InstallError>(())
    })?;
    first.sort_unstable_by_key(Missing::key);
    if !are_all {
        first.truncate(SORTED_MAX);
        let Some(last) = first.last().copied() else { return Ok(first) };
        // More of the last frame may be missing: it waits, unless it is the only one.
        let whole = first.partition_point(|chunk| chunk.key() < (last.pack, last.frame.0, 0));
        first.truncate(if whole > 0 { whole } else { SORTED_MAX });
    }
    Ok(first)
}

fn locate(found: &Numbered, config: &Config<'_>) -> Result<Missing, InstallError> {
    let Stored { pack: id, frame, block } = found.chunk.stored;
    let pack = config.packs.iter().position(|pack| pack.id == id);
    let pack = pack.ok_or(RecipeError::NoFrame { pack: id, frame })?;
    Ok(Missing { pack, id, frame, block, number: found.number, place: found.place })
}

/// Where in the decoded frame a chunk begins, if it lies inside.
fn fitting(chunk: &Missing, frame: &Frame) -> Result<usize, InstallError> {
    let end = u32::from(chunk.block).saturating_add(chunk.place.count);
    let blocks = frame.record.blocks;
    if end > blocks {
        return Err(RecipeError::BeyondFrame { end, blocks }.into());
    }
    Ok(usize::from(chunk.block))
}

#[cfg(test)]
mod tests;
