//! Which chunks are likely to be right in the inactive slot already: all of them after an
//! interrupted install of the same release, those at the same place after another one. This only
//! decides where it is worth looking; what is found there is hashed.

use std::path::PathBuf;

use gybe_core::chunk::Place;
use gybe_core::trailer::Trailer;
use tracing::info;

use super::held_recipe::HeldRecipe;
use super::lookup::digest_key;
use super::recipe::Numbered;
use super::{InstallError, Job};
use crate::device::partition::RunningPartition;

/// The most words of marks, 1 MiB of them: enough for a million chunks to be told from others.
const WORDS_MAX: usize = 1 << 17;

/// What the trailer of the inactive slot says before it is overwritten.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Whether the same release was being installed, or was installed.
    is_same: bool,
    /// The recipe, if it can be used.
    pub(super) recipe: Option<HeldRecipe>,
}

impl Before {
    /// Reads the trailer. Whatever is wrong with it only costs bytes later.
    pub(super) fn read(job: &Job<'_>, paths: &[PathBuf]) -> Result<Self, InstallError> {
        let Some(root) = paths.first() else { return Ok(Self::default()) };
        let mut medium = RunningPartition::open(root)?;
        let Ok(trailer) = Trailer::read(&mut medium) else { return Ok(Self::default()) };
        let is_same = trailer.release == job.release.manifest().digest;
        if is_same {
            info!(slot = %job.slot, "an install of this release was interrupted here, going on");
        }
        Ok(Self { is_same, recipe: HeldRecipe::read(root, &mut medium, &trailer) })
    }
}

/// Where to look before fetching.
#[derive(Debug)]
pub(super) enum Likely {
    /// Nowhere.
    Nothing,
    /// Everywhere: this release was being installed here.
    Everything,
    /// For chunks at places where the slot had them before.
    Before(Marks),
}

impl Likely {
    /// Where it is worth looking after what was there before.
    pub(super) fn find(before: &Before) -> Self {
        match &before.recipe {
            _ if before.is_same => Self::Everything,
            Some(held) => Self::Before(Marks::of(held)),
            None => Self::Nothing,
        }
    }

    /// Whether it is worth looking for this chunk.
    pub(super) fn has(&self, chunk: &Numbered) -> bool {
        // A target's first block is zero on the medium until the end.
        chunk.place.start.0 != 0
            && match self {
                Self::Nothing => false,
                Self::Everything => true,
                Self::Before(marks) => marks.has(&chunk.place),
            }
    }
}

/// Remembers chunks and their places without keeping them: a bit for each, which another chunk
/// may happen to share. That costs a look at the slot and no more.
///
/// The recipe itself cannot be kept for comparing: the new one is written over it.
#[derive(Debug)]
pub(super) struct Marks {
    words: Vec<u64>,
}

impl Marks {
    /// The chunks of a recipe, as far as it can be read.
    fn of(held: &HeldRecipe) -> Self {
        let mut marks = Self::with_room(held.chunks_max());
        if let Ok(mut recipe) = held.open() {
            recipe.walk_readable(|place| marks.insert(place));
        }
        marks
    }

    /// No marks, but room for those of `count` chunks: sixteen bits for each as long as that is
    /// within the limit, so that few are shared.
    fn with_room(count: usize) -> Self {
        Self { words: vec![0; (count / 4 + 1).min(WORDS_MAX)] }
    }

    fn insert(&mut self, place: &Place) {
        let (word, bit) = self.mark(place);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    fn has(&self, place: &Place) -> bool {
        let (word, bit) = self.mark(place);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The word and the bit in it that stand for a place. Digests are spread evenly, and the odd
    /// factors spread the places of one chunk.
    fn mark(&self, place: &Place) -> (usize, u64) {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let at = place.start.0.wrapping_mul(SPREAD);
        let of = u64::from(place.target.0).wrapping_mul(SPREAD.rotate_left(32));
        let hash = digest_key(&place.digest).wrapping_add(at).wrapping_add(of);
        let word = (hash >> 6) % (self.words.len() as u64).max(1);
        (usize::try_from(word).unwrap_or(0), 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use gybe_core::block::BlockIndex;
    use gybe_core::chunk::TargetIndex;
    use gybe_core::digest::Digest;

    use super::*;

    fn place(number: u32, target: u16, start: u64) -> Place {
        let (target, start) = (TargetIndex(target), BlockIndex(start));
        Place { target, start, count: 1, digest: Digest::of(&number.to_le_bytes()) }
    }

    #[test]
    fn what_was_marked_is_known_and_little_else() {
        let mut marks = Marks::with_room(1000);
        let places: Vec<_> = (0..1000).map(|number| place(number, 0, u64::from(number))).collect();
        places.iter().for_each(|place| marks.insert(place));
        assert!(places.iter().all(|place| marks.has(place)));
        let moved = (0..1000).map(|number| place(number, 0, u64::from(number) + 1));
        let elsewhere = (0..1000).map(|number| place(number, 1, u64::from(number)));
        let others = (1000..2000).map(|number| place(number, 0, u64::from(number)));
        let shared = moved.chain(elsewhere).chain(others).filter(|place| marks.has(place)).count();
        assert!(shared < 300, "{shared} of 3000 share a bit");
    }

    #[test]
    fn marks_have_their_limit() {
        assert_eq!(Marks::with_room(usize::MAX).words.len(), WORDS_MAX);
        assert!(!Marks::with_room(0).has(&place(1, 0, 1)));
    }
}
