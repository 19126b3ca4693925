//! Which frames are to be fetched, and what of each belongs where.
//!
//! Chunks that are missing come in the order of the targets, and their frames lie anywhere: in the
//! packs of several releases, each half dead, one frame wanted here and there again. So they are
//! sorted: frames come in the order in which they lie, each once with everything that is wanted of
//! it, and those that lie side by side, or nearly so where the source says what a gap may cost, are
//! read as one part. A recipe may have any number of chunks; it is walked as often as its missing
//! ones fill a table of bounded size, and each time parts begin anew.

use std::ops::Range;

use gybe_core::chunk::Place;
use gybe_core::config::Config;
use gybe_core::recipe::{Frame, FrameIndex, PackId, RecipeError, Stored};
use gybe_oci::Reach;

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
    /// The part of the pack that is asked for at once, from the first of its frames to the last.
    pub(super) part: Range<u64>,
}

/// How a frame lies to the one that was wanted before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// A part begins, and these bytes of it come before the frame.
    Apart {
        /// How many.
        gap: u64,
    },
    /// Further on in the same part, behind so many bytes that nobody wants.
    Behind {
        /// How many.
        gap: u64,
    },
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
    reach: Reach,
    mut give: impl FnMut(Wanted) -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let mut parts = Parts { reach, last: None, ends: Vec::new() };
    while missing.len() > 0 {
        let sorted = next(recipe, config, missing)?;
        if sorted.is_empty() {
            return Err(InstallError::RecipeChanged);
        }
        let frames = || sorted.chunk_by(Missing::shares_frame);
        parts.look_ahead(frames().filter_map(<[Missing]>::first), recipe)?;
        for chunks in frames().flat_map(|chunks| chunks.chunks(PLACES_MAX)) {
            let Some(&Missing { pack, id, frame, .. }) = chunks.first() else { continue };
            let frame = recipe.frame(id, frame)?;
            let mut places = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                missing.remove(chunk.number);
                places.push((chunk.place, fitting(chunk, &frame)?));
            }
            let (lies, part) = parts.next(pack, &frame);
            give(Wanted { pack, frame, places, lies, part })?;
        }
    }
    Ok(())
}

/// What of packs is asked for at once.
struct Parts {
    reach: Reach,
    /// Pack, frame and part of the frame before.
    last: Option<(usize, Frame, Range<u64>)>,
    /// Where the next parts end, the last one first, each with its pack and where it begins.
    ends: Vec<(usize, Range<u64>)>,
}

impl Parts {
    /// Makes parts of the frames that are sorted: a part's end must be known when it is asked for.
    fn look_ahead<'a, S: ReadRecipe>(
        &mut self,
        first: impl Iterator<Item = &'a Missing>,
        recipe: &mut Recipe<'_, S>,
    ) -> Result<(), InstallError> {
        let reach = self.reach;
        self.ends.clear();
        for chunk in first {
            let frame = recipe.frame(chunk.id, chunk.frame)?;
            let (start, end) = (frame.offset, end(&frame));
            match self.ends.last_mut() {
                Some((pack, part)) if *pack == chunk.pack && is_joined(reach, part.end, start) => {
                    part.end = end;
                }
                _ => self.ends.push((chunk.pack, start..end)),
            }
        }
        if self.reach == Reach::Whole {
            // Everything before a frame comes along, from where the last answer was left.
            for (pack, part) in &mut self.ends {
                let before = self.last.as_ref().filter(|(last, ..)| last == pack);
                part.start = before.map_or(0, |(_, frame, _)| end(frame));
            }
        }
        self.ends.reverse();
        Ok(())
    }

    fn next(&mut self, pack: usize, frame: &Frame) -> (Lies, Range<u64>) {
        let before = self.last.take().filter(|(last, ..)| *last == pack);
        if let Some((_, last, _)) = &before
            && last.index == frame.index
        {
            let part = frame.offset..end(frame);
            // It ends the part that it is in: what comes behind it is asked for anew.
            if let Some((_, rest)) = self.ends.last_mut() {
                rest.start = part.end;
            }
            self.last = Some((pack, *frame, part.clone()));
            return (Lies::Again, part);
        }
        let holds = |part: &Range<u64>| part.start <= frame.offset && end(frame) <= part.end;
        while self.ends.last().is_some_and(|(of, part)| *of != pack || !holds(part)) {
            self.ends.pop();
        }
        let part = self.ends.last().map_or(frame.offset..end(frame), |(_, part)| part.clone());
        let lies = match &before {
            Some((_, last, _)) if self.goes_on(last, frame, &part) => {
                Lies::Behind { gap: frame.offset.saturating_sub(end(last)) }
            }
            _ => Lies::Apart { gap: frame.offset.saturating_sub(part.start) },
        };
        self.last = Some((pack, *frame, part.clone()));
        (lies, part)
    }

    /// Whether `frame` is read on after `last`, without asking anew.
    fn goes_on(&self, last: &Frame, frame: &Frame, part: &Range<u64>) -> bool {
        match self.reach {
            // Reading on costs nothing, whatever part it is.
            Reach::Any => end(last) == frame.offset,
            Reach::Bridged { .. } => last.offset >= part.start && end(last) <= frame.offset,
            Reach::Whole => true,
        }
    }
}

/// Whether what begins at `start` is read with what ends at `end`.
const fn is_joined(reach: Reach, end: u64, start: u64) -> bool {
    let gap = start.saturating_sub(end);
    match reach {
        Reach::Any => gap == 0,
        Reach::Bridged { gap_max } => gap <= gap_max,
        Reach::Whole => true,
    }
}

/// Where a frame ends in its pack.
fn end(frame: &Frame) -> u64 {
    frame.offset.saturating_add(u64::from(frame.record.stored_len))
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
