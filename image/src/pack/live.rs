//! What a new release uses of the packs of earlier ones.

use std::collections::BTreeMap;

use gybe_core::digest::Digest;
use gybe_core::recipe::{FrameIndex, PackId, Record};

use super::Packed;
use crate::base::{Base, BaseError};

/// A frame of an earlier release that has something that is needed.
#[derive(Clone, Debug)]
pub(super) struct LiveFrame {
    pub(super) pack: PackId,
    pub(super) frame: FrameIndex,
    /// Its length in the pack.
    pub(super) stored_len: u64,
    /// Its length in blocks.
    pub(super) blocks: u64,
    /// The chunks in it that are needed, by their first block in the frame.
    pub(super) chunks: BTreeMap<u16, LiveChunk>,
}

/// A chunk that is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveChunk {
    pub(super) count: u32,
    pub(super) digest: Digest,
    /// Whether a target begins with it.
    pub(super) begins: bool,
}

impl LiveFrame {
    /// How many of its blocks are needed.
    pub(super) fn live_blocks(&self) -> u64 {
        let sum = self.chunks.values().map(|chunk| u64::from(chunk.count)).sum::<u64>();
        sum.min(self.blocks)
    }

    /// What the needed blocks take of its length, if all blocks take the same.
    pub(super) fn used_len(&self) -> u64 {
        (self.stored_len * self.live_blocks()).div_ceil(self.blocks.max(1))
    }
}

/// Collects the frames of `base` that have something of `targets`, in the order of packs and frames.
pub(super) fn frames(base: &Base, targets: &[Packed]) -> Result<Vec<LiveFrame>, BaseError> {
    let mut found: BTreeMap<(usize, FrameIndex), LiveFrame> = BTreeMap::new();
    for target in targets {
        for (at, record) in target.records.iter().enumerate() {
            let Record::Chunk(chunk) = record else { continue };
            let (pack, frame) = (chunk.stored.pack, chunk.stored.frame);
            let Some((place, of)) = base.pack(pack) else { continue };
            let absent = BaseError::NoChunk { pack, frame };
            let index = usize::try_from(frame.0).unwrap_or(usize::MAX);
            let Some(record) = of.frames.get(index) else { return Err(absent) };
            if u32::from(chunk.stored.block).saturating_add(chunk.count) > record.blocks {
                return Err(absent);
            }
            let live = found.entry((place, frame)).or_insert_with(|| LiveFrame {
                pack,
                frame,
                stored_len: u64::from(record.stored_len),
                blocks: u64::from(record.blocks),
                chunks: BTreeMap::new(),
            });
            let begins = at == 0;
            let needed = LiveChunk { count: chunk.count, digest: chunk.digest, begins };
            live.chunks.entry(chunk.stored.block).or_insert(needed).begins |= begins;
        }
    }
    Ok(found.into_values().collect())
}
