//! Packs targets: every chunk once, in frames, described by a recipe. What an earlier release has
//! packed is referred to.

mod again;
mod live;
mod repack;

use std::collections::{BTreeSet, HashMap};
use std::io;

use gybe_core::chunk::TargetIndex;
use gybe_core::digest::Digest;
use gybe_core::recipe::{Chunk, FrameIndex, FrameRecord, PackId, Record, Stored};
use gybe_core::verity::{Geometry, TreeBuilder, TreeError};

use crate::base::{Base, BaseError, BasePack, Group};
use crate::content::ReadContent;
use crate::cut::{Cut, What, cut};
use crate::frame::Frames;
use crate::pages::{Pages, PagesError, Recipe};
use crate::target::Target;
pub use repack::Reason;

/// Why targets cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Content could not be read or a pack not written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The recipe could not be written.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The earlier release cannot be built on.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A target is empty or longer than a device would accept.
    #[error("target {name}: {blocks} blocks, at least 1 and at most 268435456 are possible")]
    Length {
        /// Which target.
        name: String,
        /// How many blocks it has.
        blocks: u64,
    },
    /// There are more frames in a pack than can be numbered.
    #[error("a pack has too many frames")]
    Frames,
    /// A block of the tree was lost: a fault in this program.
    #[error("target {name}: {leaves} leaf hashes for {blocks} blocks")]
    Leaves {
        /// Which target.
        name: String,
        /// How many leaf hashes there were.
        leaves: u64,
        /// How many blocks it has.
        blocks: u64,
    },
}

/// A target whose data is in packs now.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its name.
    pub name: String,
    /// Its true length in bytes.
    pub size: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// The root hash of its hash tree.
    pub root_hash: Digest,
    records: Vec<Record>,
}

/// Packs what is new in the targets of one release into one new pack.
#[derive(Debug)]
pub struct Packer<'b, W> {
    base: Option<&'b Base>,
    pack: PackId,
    frames: Frames<W>,
    known: HashMap<Digest, Stored>,
    targets: Vec<Packed>,
    /// Whether something that the base has lies between the last new chunk and the next.
    apart: bool,
}

/// What came of packing.
#[derive(Debug)]
pub struct Done<'b, W> {
    /// The targets in order.
    pub targets: Vec<Packed>,
    /// The packs of earlier releases that are needed, in the order of the recipe.
    pub kept: Vec<&'b BasePack>,
    /// The new pack, behind them; without frames there is none.
    pub new: NewPack,
    /// The recipe.
    pub recipe: Recipe,
    /// Why data of earlier releases was packed again; empty if none was.
    pub repacked: Vec<Reason>,
    /// Where the blocks of the targets come from.
    pub shares: Shares,
    /// What the new pack was written to.
    pub out: W,
}

/// A pack that was written.
#[derive(Clone, Debug)]
pub struct NewPack {
    /// Its number.
    pub id: PackId,
    /// Its frames.
    pub frames: Vec<FrameRecord>,
    /// The same frames, by the release that first had what is in them; its own first.
    pub groups: Vec<Group>,
}

/// Where the blocks of all targets come from, zeros left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Blocks that no earlier release had.
    pub new_blocks: u64,
    /// Blocks in packs of earlier releases.
    pub reused_blocks: u64,
    /// Blocks of earlier releases that were packed again.
    pub repacked_blocks: u64,
}

impl<'b, W: io::Write> Packer<'b, W> {
    /// A packer that builds on `base`, if there is one, and writes what is new to `out`,
    /// compressed by zstd at `level`.
    ///
    /// # Errors
    /// [`PackError::Base`]: the base used up all numbers of packs.
    pub fn new(base: Option<&'b Base>, out: W, level: i32) -> Result<Self, PackError> {
        let pack = base.map_or(Ok(PackId(0)), Base::next_pack)?;
        let frames = Frames::new(out, level);
        let (known, targets) = (HashMap::new(), Vec::new());
        Ok(Self { base, pack, frames, known, targets, apart: false })
    }

    /// Reads a target once and packs it. `progress` is told how many blocks were done.
    ///
    /// # Errors
    /// [`PackError`]: its content cannot be read, or the pack not written.
    pub fn add(
        &mut self,
        target: &Target,
        content: &dyn ReadContent,
        progress: &mut dyn FnMut(u64),
    ) -> Result<&Packed, PackError> {
        let name = || target.name.clone();
        let blocks = target.blocks();
        let geometry =
            Geometry::new(blocks).ok_or_else(|| PackError::Length { name: name(), blocks })?;
        let mut tree = TreeBuilder::new(geometry);
        let mut sink = |_: u64, _: &_| Ok::<(), io::Error>(());
        let mut records = Vec::new();
        self.frames.close()?;
        cut(target, content, |part: Cut| -> Result<(), PackError> {
            for leaf in &part.leaves {
                tree.push(*leaf, &mut sink).map_err(|error| leaves(name(), error))?;
            }
            progress(part.leaves.len() as u64);
            let first = records.is_empty();
            let record = self.record(part)?;
            // What a target begins with is fetched again by every resumed install, because it is
            // written last: it gets a frame of its own.
            if first {
                self.frames.close()?;
            }
            match (records.last_mut(), record) {
                (Some(Record::Zeros { count }), Record::Zeros { count: more })
                    if count.checked_add(more).is_some() =>
                {
                    *count += more;
                }
                _ => records.push(record),
            }
            Ok(())
        })?;
        let root_hash = tree.finish(&mut sink).map_err(|error| leaves(name(), error))?;
        let size = target.size();
        self.targets.push(Packed { name: name(), size, blocks, root_hash, records });
        self.targets.last().ok_or(PackError::Frames)
    }

    fn record(&mut self, part: Cut) -> Result<Record, PackError> {
        let count = u32::try_from(part.leaves.len()).map_err(io::Error::other)?;
        let What::Chunk { digest, anchor, bytes } = part.what else {
            return Ok(Record::Zeros { count });
        };
        let earlier = self.base.and_then(|base| base.chunks.get(&digest));
        self.apart |= earlier.is_some();
        let stored = match earlier.or_else(|| self.known.get(&digest)) {
            Some(stored) => *stored,
            None => {
                // What changed in one piece will change in one piece again. Frames of what changed
                // apart would soon hold a little that is needed and much that is not.
                if std::mem::take(&mut self.apart) {
                    self.frames.close_if_long()?;
                }
                let at = self.frames.push(&bytes)?;
                let frame = FrameIndex(u32::try_from(at.frame).map_err(|_| PackError::Frames)?);
                let block = u16::try_from(at.block).map_err(|_| PackError::Frames)?;
                let stored = Stored { pack: self.pack, frame, block };
                self.known.insert(digest, stored);
                stored
            }
        };
        Ok(Record::Chunk(Chunk { count, digest, anchor, stored }))
    }

    /// Packs again what should be, ends the pack, and writes the recipe.
    ///
    /// # Errors
    /// [`PackError`]: the pack cannot be written, the base not read, or the recipe is longer than
    /// it may be.
    pub fn finish(mut self) -> Result<Done<'b, W>, PackError> {
        let (own_frames, own_len) = self.frames.flush()?;
        let mut groups = Vec::new();
        if own_frames > 0 {
            groups.push(Group { first: self.pack, frames: own_frames });
        }
        let mut repacked = Vec::new();
        if let Some(base) = self.base {
            let live = live::frames(base, &self.targets)?;
            let plan = repack::plan(&base.packs, &live, own_len);
            let again = again::pack(base, &live, &plan, self.pack, &mut self.frames)?;
            self.move_to(&again.moved);
            groups.extend(again.groups);
            repacked = plan.reasons;
        }
        let (frames, out) = self.frames.finish()?;
        let new = NewPack { id: self.pack, frames, groups };
        let (shares, used) = shares(&self.targets, new.id, own_frames);
        let earlier = self.base.map_or(&[][..], |base| &base.packs);
        let kept: Vec<&BasePack> = earlier.iter().filter(|pack| used.contains(&pack.id)).collect();

        let mut pages = Pages::default();
        for (index, target) in (0u16..).zip(&self.targets) {
            pages.target(TargetIndex(index), &target.records)?;
        }
        for pack in &kept {
            pages.pack(pack.id, &pack.frames)?;
        }
        pages.pack(new.id, &new.frames)?;
        let recipe = pages.finish()?;
        Ok(Done { targets: self.targets, kept, new, recipe, repacked, shares, out })
    }

    /// Points chunks that were packed again to where they lie now.
    fn move_to(&mut self, moved: &HashMap<Digest, Stored>) {
        for record in self.targets.iter_mut().flat_map(|target| &mut target.records) {
            if let Record::Chunk(chunk) = record
                && let Some(stored) = moved.get(&chunk.digest)
            {
                chunk.stored = *stored;
            }
        }
    }
}

/// Where the blocks of targets come from, and every pack that is used. The first `own_frames` of
/// the pack `new` hold what no earlier release had.
fn shares(targets: &[Packed], new: PackId, own_frames: usize) -> (Shares, BTreeSet<PackId>) {
    let mut shares = Shares::default();
    let mut used = BTreeSet::new();
    for record in targets.iter().flat_map(|target| &target.records) {
        let Record::Chunk(chunk) = record else { continue };
        used.insert(chunk.stored.pack);
        let own = usize::try_from(chunk.stored.frame.0).is_ok_and(|frame| frame < own_frames);
        let share = match chunk.stored.pack == new {
            false => &mut shares.reused_blocks,
            true if own => &mut shares.new_blocks,
            true => &mut shares.repacked_blocks,
        };
        *share += u64::from(chunk.count);
    }
    (shares, used)
}

fn leaves(name: String, error: TreeError<io::Error>) -> PackError {
    match error {
        TreeError::Sink(error) => error.into(),
        TreeError::Leaves { found, expected } => {
            PackError::Leaves { name, leaves: found, blocks: expected }
        }
    }
}

#[cfg(test)]
mod tests;
