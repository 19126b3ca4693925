//! The running slot as a source: what it holds, and where.
//!
//! Its trailer's recipe says so. When the trailer is lost, or the slot was flashed by hand, its
//! hash tree still holds the leaf hash of every block, and a chunk's anchor finds the few places
//! where it may lie. Neither is believed: whatever is copied is hashed first.

use gybe_core::block::{BLOCK_LEN, Block, BlockIndex, ReadBlocks as _};
use gybe_core::chunk::{Anchor, ChunkHasher};
use gybe_core::digest::Digest;
use gybe_core::recipe::Chunk;
use gybe_core::trailer::Trailer;
use gybe_core::verity::{Geometry, HASHES_PER_BLOCK, superblock};
use tracing::{debug, warn};

use super::held_recipe::HeldRecipe;
use super::lookup::{Lookup, Pass, Spot, digest_key};
use super::{InstallError, Job};
use crate::config::SlotPaths;
use crate::device::partition::RunningPartition;

/// How many places of one anchor are looked at.
const CANDIDATES_MAX: usize = 8;

/// Where in an EROFS image its number of blocks stands: 36 bytes into the superblock, which
/// begins at byte 1024. Source: Linux `fs/erofs/erofs_fs.h`, struct `erofs_super_block`.
const EROFS_BLOCKS_AT: usize = 1024 + 36;
const EROFS_MAGIC_AT: usize = 1024;
const EROFS_MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();

/// The running slot, opened for reading.
#[derive(Debug)]
pub(super) struct Origin {
    media: Vec<RunningPartition>,
    index: Index,
}

#[derive(Debug)]
enum Index {
    /// There is no running slot, or it tells nothing.
    Nothing,
    /// The recipe in its trailer.
    Recipe(HeldRecipe),
    /// A hash tree behind `geometry.data_blocks()` blocks of the root target.
    Tree { geometry: Geometry },
}

impl Origin {
    /// Opens the running slot of `job` and finds out how to search it.
    pub(super) fn find(job: &Job<'_>) -> Result<Self, InstallError> {
        let Some((slot, paths)) = job.running else {
            return Ok(Self { media: Vec::new(), index: Index::Nothing });
        };
        let media = paths.all().map(|(_, path)| RunningPartition::open(path));
        let media = media.collect::<Result<_, _>>()?;
        let mut origin = Self { media, index: Index::Nothing };
        origin.index = match origin.recipe(paths) {
            Some(recipe) => Index::Recipe(recipe),
            None => match origin.tree() {
                Some(geometry) => {
                    warn!(%slot, "running slot has no usable trailer, searching its hash tree");
                    Index::Tree { geometry }
                }
                None => {
                    warn!(%slot, "running slot has neither trailer nor hash tree: all is fetched");
                    Index::Nothing
                }
            },
        };
        Ok(origin)
    }

    /// The recipe in the trailer, if all of it that is needed is whole.
    fn recipe(&mut self, paths: &SlotPaths) -> Option<HeldRecipe> {
        let root = self.media.first_mut()?;
        let trailer = Trailer::read(root).inspect_err(|cause| debug!(%cause, "no trailer")).ok()?;
        let held = HeldRecipe::read(&paths.root, root, &trailer)?;
        let config = held.config().ok()?;
        let names = config.targets.iter().map(|target| target.name);
        // The media are opened in this order.
        let in_order = names.zip(paths.all()).all(|(found, (expected, _))| found == expected);
        drop(config);
        in_order.then_some(held)
    }

    /// The recipe in the trailer, if there is one to be used.
    pub(super) const fn held(&self) -> Option<&HeldRecipe> {
        match &self.index {
            Index::Recipe(held) => Some(held),
            Index::Nothing | Index::Tree { .. } => None,
        }
    }

    /// The hash tree behind the root file system, if it is one of ours.
    fn tree(&mut self) -> Option<Geometry> {
        let root = self.media.first_mut()?;
        let mut first = [[0; BLOCK_LEN]];
        root.read(BlockIndex(0), &mut first).ok()?;
        let [first] = first;
        let word = |at: usize| first.get(at..)?.first_chunk::<4>().copied();
        if word(EROFS_MAGIC_AT)? != EROFS_MAGIC {
            return None;
        }
        let blocks = u32::from_le_bytes(word(EROFS_BLOCKS_AT)?);
        let geometry = Geometry::new(u64::from(blocks))?;
        let mut found = [[0; BLOCK_LEN]];
        root.read(BlockIndex(u64::from(blocks)), &mut found).ok()?;
        (found == [superblock(&geometry)]).then_some(geometry)
    }

    /// How many passes over the recipe are needed to look everything up in bounded memory.
    pub(super) fn passes(&self) -> u64 {
        match &self.index {
            Index::Nothing => 1,
            Index::Recipe(held) => Pass::needed(held.chunks_max()),
            Index::Tree { geometry } => {
                Pass::needed(usize::try_from(geometry.data_blocks()).unwrap_or(usize::MAX / 8))
            }
        }
    }

    /// Whether a chunk belongs to `pass`.
    pub(super) fn belongs(&self, pass: Pass, chunk: &Chunk) -> bool {
        pass.has(self.key(chunk))
    }

    fn key(&self, chunk: &Chunk) -> u64 {
        match self.index {
            Index::Tree { .. } => anchor_key(chunk.anchor),
            _ => digest_key(&chunk.digest),
        }
    }

    /// Collects the places of everything that belongs to `pass`.
    pub(super) fn lookup(&mut self, pass: Pass) -> Result<Lookup, InstallError> {
        let mut lookup = Lookup::default();
        match &self.index {
            Index::Nothing => {}
            Index::Recipe(held) => {
                let damaged = held.open()?.walk_readable(|place| {
                    let key = digest_key(&place.digest);
                    if pass.has(key) {
                        lookup.push(key, Spot::new(place.target.0, place.start.0));
                    }
                });
                if damaged > 0 && pass.number == 0 {
                    // The others can still be used: all that is found is hashed before use.
                    warn!(damaged, "pages of the running slot's recipe are damaged");
                }
            }
            Index::Tree { geometry } => {
                let geometry = *geometry;
                self.leaves_of(&geometry, pass, &mut lookup)?;
            }
        }
        lookup.sort();
        Ok(lookup)
    }

    fn leaves_of(
        &mut self,
        geometry: &Geometry,
        pass: Pass,
        lookup: &mut Lookup,
    ) -> Result<(), InstallError> {
        let Some(root) = self.media.first_mut() else { return Ok(()) };
        let zeros = gybe_core::verity::leaf(&[0; BLOCK_LEN]);
        let start = geometry.data_blocks() + geometry.level_start(0);
        for block in 0..geometry.level_blocks(0) {
            let mut hashes = [[0; BLOCK_LEN]];
            root.read(BlockIndex(start + block), &mut hashes)?;
            let first = block * HASHES_PER_BLOCK as u64;
            for (index, hash) in (first..geometry.data_blocks()).zip(split(&hashes)) {
                let key = anchor_key(Anchor::of(&hash));
                if pass.has(key) && hash != zeros {
                    lookup.push(key, Spot::new(0, index));
                }
            }
        }
        Ok(())
    }

    /// Where the running slot seems to have a chunk.
    pub(super) fn find_chunk(&mut self, lookup: &Lookup, chunk: &Chunk) -> Option<Spot> {
        let key = self.key(chunk);
        match self.index {
            Index::Nothing => None,
            Index::Recipe(_) => lookup.find(key).next(),
            Index::Tree { geometry } => lookup
                .find(key)
                .take(CANDIDATES_MAX)
                .find(|spot| self.leaves_match(&geometry, spot.position(), chunk).unwrap_or(false)),
        }
    }

    /// Whether the leaf hashes from `start` on are those of the chunk.
    fn leaves_match(&mut self, geometry: &Geometry, start: u64, chunk: &Chunk) -> Option<bool> {
        let end = start.checked_add(u64::from(chunk.count))?;
        if end > geometry.data_blocks() {
            return Some(false);
        }
        let root = self.media.first_mut()?;
        let level = geometry.data_blocks() + geometry.level_start(0);
        let per_block = HASHES_PER_BLOCK as u64;
        let mut hasher = ChunkHasher::new(chunk.count);
        let mut at = start;
        while at < end {
            let mut hashes = [[0; BLOCK_LEN]];
            root.read(BlockIndex(level + at / per_block), &mut hashes).ok()?;
            let skip = usize::try_from(at % per_block).ok()?;
            for hash in split(&hashes).skip(skip) {
                if at < end {
                    hasher.push(&hash);
                    at += 1;
                }
            }
        }
        Some(hasher.finish() == chunk.digest)
    }

    /// Reads from the running slot; `false` when that is not possible.
    pub(super) fn read(&mut self, spot: Spot, blocks: &mut [Block]) -> bool {
        let Some(medium) = self.media.get_mut(spot.medium()) else { return false };
        let read = medium.read(BlockIndex(spot.position()), blocks);
        if let Err(cause) = &read {
            warn!(%cause, "running slot: cannot read, fetching instead");
        }
        read.is_ok()
    }
}

fn split(block: &[Block; 1]) -> impl Iterator<Item = Digest> {
    let (hashes, _) = block.as_flattened().as_chunks::<{ Digest::LEN }>();
    hashes.iter().map(|hash| Digest::new(*hash))
}

fn anchor_key(anchor: Anchor) -> u64 {
    let [a, b, c, d] = anchor.0;
    u64::from_be_bytes([a, b, c, d, 0, 0, 0, 0])
}
