//! Packs targets: every chunk once, in frames, described by a recipe.

use std::collections::HashMap;
use std::io;

use gybe_core::chunk::TargetIndex;
use gybe_core::digest::Digest;
use gybe_core::recipe::{Chunk, FrameIndex, FrameRecord, PackId, Record, Stored};
use gybe_core::verity::{Geometry, TreeBuilder, TreeError};

use crate::content::ReadContent;
use crate::cut::{Cut, What, cut};
use crate::frame::Frames;
use crate::pages::{Pages, PagesError, Recipe};
use crate::target::Target;

/// Why targets cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Content could not be read or a pack not written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The recipe could not be written.
    #[error(transparent)]
    Pages(#[from] PagesError),
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

/// Packs the targets of one release into one new pack.
#[derive(Debug)]
pub struct Packer<W> {
    pack: PackId,
    frames: Frames<W>,
    known: HashMap<Digest, Stored>,
    targets: Vec<Packed>,
}

/// What came of packing.
#[derive(Debug)]
pub struct Done<W> {
    /// The targets in order.
    pub targets: Vec<Packed>,
    /// The frames of the new pack.
    pub frames: Vec<FrameRecord>,
    /// The recipe.
    pub recipe: Recipe,
    /// What the pack was written to.
    pub out: W,
}

impl<W: io::Write> Packer<W> {
    /// A packer that writes the pack numbered `pack` to `out`, compressed by zstd at `level`.
    pub fn new(pack: PackId, out: W, level: i32) -> Self {
        let frames = Frames::new(out, level);
        Self { pack, frames, known: HashMap::new(), targets: Vec::new() }
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
        let stored = match self.known.get(&digest) {
            Some(stored) => *stored,
            None => {
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

    /// Ends the pack and writes the recipe.
    ///
    /// # Errors
    /// [`PackError`]: the pack cannot be written, or the recipe is longer than it may be.
    pub fn finish(self) -> Result<Done<W>, PackError> {
        let (frames, out) = self.frames.finish()?;
        let mut pages = Pages::default();
        for (index, target) in (0u16..).zip(&self.targets) {
            pages.target(TargetIndex(index), &target.records)?;
        }
        pages.pack(self.pack, &frames)?;
        Ok(Done { targets: self.targets, frames, recipe: pages.finish()?, out })
    }
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
