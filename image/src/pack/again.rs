//! Packs chunks of earlier releases again, grouped by the release that first had them: a device
//! that is between the two needs no frame of which it has everything.

use std::collections::HashMap;
use std::io;

use gybe_core::block::BLOCK_LEN;
use gybe_core::chunk;
use gybe_core::digest::Digest;
use gybe_core::recipe::{FrameIndex, PackId, Stored};

use super::PackError;
use super::live::LiveFrame;
use super::repack::Plan;
use crate::base::{Base, BaseError, Group};
use crate::frame::Frames;

/// The most groups of earlier releases in one pack; what is older than the newest of them is put
/// together.
const GROUPS_MAX: usize = 32;

/// Where chunks lie that were packed again, and how the frames were grouped.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub(super) moved: HashMap<Digest, Stored>,
    pub(super) groups: Vec<Group>,
}

/// Packs again what `plan` names of `live`, behind what `frames` has already.
pub(super) fn pack<W: io::Write>(
    base: &Base,
    live: &[LiveFrame],
    plan: &Plan,
    pack: PackId,
    frames: &mut Frames<W>,
) -> Result<Again, PackError> {
    let chosen = live.iter().filter(|frame| plan.frames.contains(&(frame.pack, frame.frame)));
    let mut chosen: Vec<(PackId, &LiveFrame)> =
        chosen.map(|frame| (first_of(base, frame), frame)).collect();
    merge_oldest(&mut chosen);
    // Stable: within a group, packs and frames stay in their order.
    chosen.sort_by_key(|(first, _)| *first);
    let mut again = Again::default();
    for group in chosen.chunk_by(|(one, _), (other, _)| one == other) {
        let (before, _) = frames.flush()?;
        for (_, frame) in group {
            copy(base, frame, pack, frames, &mut again.moved)?;
        }
        let (after, _) = frames.flush()?;
        let first = group.first().map_or(pack, |(first, _)| *first);
        again.groups.push(Group { first, frames: after.saturating_sub(before) });
    }
    Ok(again)
}

fn first_of(base: &Base, frame: &LiveFrame) -> PackId {
    base.pack(frame.pack).map_or(frame.pack, |(_, pack)| pack.first_of(frame.frame))
}

/// Puts the oldest groups together where there are too many, under the newest of them.
fn merge_oldest(chosen: &mut [(PackId, &LiveFrame)]) {
    let mut firsts: Vec<PackId> = chosen.iter().map(|(first, _)| *first).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let Some(oldest) = firsts.len().checked_sub(GROUPS_MAX).and_then(|at| firsts.get(at)) else {
        return;
    };
    chosen.iter_mut().for_each(|(first, _)| *first = (*first).max(*oldest));
}

/// Packs the needed chunks of one frame.
fn copy<W: io::Write>(
    base: &Base,
    frame: &LiveFrame,
    pack: PackId,
    frames: &mut Frames<W>,
    moved: &mut HashMap<Digest, Stored>,
) -> Result<(), PackError> {
    let absent = BaseError::NoChunk { pack: frame.pack, frame: frame.frame };
    let Some((_, from)) = base.pack(frame.pack) else { return Err(absent.into()) };
    let raw = from.decode(frame.frame)?;
    let (blocks, _) = raw.as_chunks::<BLOCK_LEN>();
    for (block, needed) in &frame.chunks {
        let count = usize::try_from(needed.count).unwrap_or(usize::MAX);
        let part = blocks.get(usize::from(*block)..).and_then(|blocks| blocks.get(..count));
        let Some(part) = part.filter(|part| chunk::digest(part) == needed.digest) else {
            let (pack, frame) = (frame.pack, frame.frame);
            return Err(BaseError::Frame { pack, frame }.into());
        };
        // What a target begins with has a frame of its own, as when it was new.
        if needed.begins {
            frames.close()?;
        }
        let at = frames.push(part.as_flattened())?;
        if needed.begins {
            frames.close()?;
        }
        let index = FrameIndex(u32::try_from(at.frame).map_err(|_| PackError::Frames)?);
        let block = u16::try_from(at.block).map_err(|_| PackError::Frames)?;
        moved.insert(needed.digest, Stored { pack, frame: index, block });
    }
    Ok(())
}
