//! Reading a slot back from the medium, and what only that can make.

use core::slice;

use super::hashing::{HashPieces, InTurn, hash_in_place};
use super::{Inactive, Install, InstallError};
use crate::block::{Block, BlockIndex, ReadBlocks, WriteBlocks};
use crate::boot::{BootEnv, BootState, TransitionError};
use crate::chunk::TargetIndex;
use crate::digest::Digest;
use crate::release::Release;
use crate::slot::Slot;
use crate::trailer::{PartName, Progress};
use crate::verity::{
    Geometry, TreeBuilder, TreeError, check_stored, check_stored_in, fill_superblock,
};

/// A slot that was read back from its medium and is, byte for byte, what was signed.
///
/// ```compile_fail
/// # use gybe_core::{digest::Digest, install::Proven, slot::Slot};
/// let forged = Proven { slot: Slot::B, release: Digest::of(b"anything") };
/// ```
///
/// It is used once, to arm:
///
/// ```compile_fail
/// # use gybe_core::{boot::BootEnv, install::Proven};
/// fn twice<E: BootEnv>(proven: Proven, environment: &mut E) {
///     let _ = proven.arm(3, None, environment);
///     let _ = proven.arm(3, None, environment);
/// }
/// ```
#[derive(Debug)]
pub struct Proven {
    slot: Slot,
    release: Digest,
}

/// Why a proven slot is not armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmError<E> {
    /// The boot environment cannot be read or written.
    #[error("boot environment: {0}")]
    Environment(E),
    /// The boot environment says that this must not be.
    #[error(transparent)]
    Transition(TransitionError),
}

impl Proven {
    /// The slot.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// The digest of the manifest of the release that it holds.
    #[must_use]
    pub const fn release(&self) -> &Digest {
        &self.release
    }

    /// Opens a trial of the slot: the last write of an update, and one transition of the
    /// environment. A power cut during it leaves the slot Unbootable or on trial.
    ///
    /// # Errors
    /// [`ArmError`]; nothing is armed then.
    pub fn arm<E: BootEnv>(
        self,
        tries: u8,
        running: Option<Slot>,
        environment: &mut E,
    ) -> Result<BootState, ArmError<E::Error>> {
        let loaded = environment.load().map_err(ArmError::Environment)?;
        let state = loaded.state.unwrap_or_else(|| BootState::factory(running));
        let armed = state.arm(self.slot, tries).map_err(ArmError::Transition)?;
        environment.store(&armed).map_err(ArmError::Environment)?;
        Ok(armed)
    }
}

impl<W: WriteBlocks> Install<'_, W> {
    /// Reads everything back, compares it with what was signed, and only then makes the slot
    /// loadable. `buffer` holds the open blocks of a hash tree, one a level, and what is read: it
    /// needs [`read_back_blocks`] of them, and more are faster.
    ///
    /// # Errors
    /// [`InstallError`]; the slot stays unloadable, or at worst is whole and not armed.
    pub fn prove(self, buffer: &mut [Block]) -> Result<Proven, InstallError<W::Error>> {
        self.prove_with(buffer, &mut InTurn)
    }

    /// As [`Install::prove`], with `hashers` that hash one half of what `buffer` holds while the
    /// other is read.
    ///
    /// # Errors
    /// As [`Install::prove`].
    pub fn prove_with(
        mut self,
        buffer: &mut [Block],
        hashers: &mut impl HashPieces,
    ) -> Result<Proven, InstallError<W::Error>> {
        let too_small = InstallError::Buffer {
            found: buffer.len(),
            needed: read_back_blocks(self.shapes.iter().map(|shape| shape.geometry)),
        };
        for target in self.indices() {
            self.flush(target)?;
        }
        for target in self.indices() {
            self.prove_target(target, buffer, hashers)?;
        }
        let Some(room) = buffer.first_chunk_mut::<2>() else { return Err(too_small) };
        self.trailer.progress = Progress::Complete;
        self.write_footer(&mut room[0])?;
        self.flush(TargetIndex(0))?;
        self.check_behind(room)?;

        for target in self.boot_last() {
            self.write_first(target, &mut room[0])?;
        }
        Ok(Proven { slot: self.slot, release: self.trailer.release })
    }

    fn indices(&self) -> impl Iterator<Item = TargetIndex> + use<W> {
        (0..u16::try_from(self.shapes.len()).unwrap_or(u16::MAX)).map(TargetIndex)
    }

    /// Hashes a target as the medium gives it, and writes its tree behind it.
    fn prove_target(
        &mut self,
        target: TargetIndex,
        buffer: &mut [Block],
        hashers: &mut impl HashPieces,
    ) -> Result<(), InstallError<W::Error>> {
        let at = usize::from(target.0);
        let index = BlockIndex(0);
        let beyond = InstallError::Beyond { target, index };
        let Some(shape) = self.shapes.get(at).copied() else { return Err(beyond) };
        let Some(Inactive { medium, first }) = self.targets.get_mut(at) else { return Err(beyond) };
        let Some(first) = first.as_ref() else {
            return Err(InstallError::FirstMissing { target });
        };
        let tree = BlockIndex(shape.blocks);
        medium.drop_caches().map_err(|cause| InstallError::Flush { target, cause })?;
        let read_back = ReadBack { target, geometry: shape.geometry, first: Some(first) };
        let found = read_back.root_hash(medium, buffer, hashers, {
            |medium: &mut W, offset, block: &Block| {
                if !shape.tree {
                    return Ok(());
                }
                let index = BlockIndex(tree.0.saturating_add(offset));
                let written = medium.write(index, slice::from_ref(block));
                written.map_err(|cause| InstallError::Write { target, index, cause })
            }
        })?;
        if found != shape.root_hash {
            return Err(InstallError::RootHash { target, found, expected: shape.root_hash });
        }
        if let (true, Some(room)) = (shape.tree, buffer.first_mut()) {
            fill_superblock(&shape.geometry, room);
            self.put(target, tree, slice::from_ref(room))?;
            self.flush(target)?;
        }
        Ok(())
    }

    /// Checks what lies behind the targets: the stored trees and the trailer.
    fn check_behind(&mut self, room: &mut [Block; 2]) -> Result<(), InstallError<W::Error>> {
        for target in self.indices() {
            let Some(shape) = self.target(target).copied() else { continue };
            let medium = self.medium(target, BlockIndex(0))?;
            medium.drop_caches().map_err(|cause| InstallError::Flush { target, cause })?;
            if shape.tree {
                let tree = BlockIndex(shape.blocks);
                check_stored_in(room, medium, tree, &shape.geometry, &shape.root_hash)
                    .map_err(InstallError::Tree)?;
            }
        }
        let trailer = self.trailer;
        let medium = self.medium(TargetIndex(0), BlockIndex(0))?;
        for part in PartName::ALL {
            trailer.check_part_in(&mut room[0], medium, part).map_err(InstallError::Trailer)?;
        }
        Ok(())
    }

    /// Writes the block that was kept back, and reads it again.
    fn write_first(
        &mut self,
        target: TargetIndex,
        found: &mut Block,
    ) -> Result<(), InstallError<W::Error>> {
        let index = BlockIndex(0);
        let inactive = self.targets.get_mut(usize::from(target.0));
        let Some(Inactive { medium, first: Some(first) }) = inactive else {
            return Err(InstallError::FirstMissing { target });
        };
        let write = medium.write(index, slice::from_ref(first));
        write.map_err(|cause| InstallError::Write { target, index, cause })?;
        medium.flush().map_err(|cause| InstallError::Flush { target, cause })?;
        medium.drop_caches().map_err(|cause| InstallError::Flush { target, cause })?;
        let read = medium.read(index, slice::from_mut(found));
        read.map_err(|cause| InstallError::Read { target, index, cause })?;
        if found == first { Ok(()) } else { Err(InstallError::FirstBlock { target }) }
    }
}

/// How many blocks of memory it takes to read back targets of these shapes, one block at a time:
/// one a level of the tallest hash tree, and one that is read. It is never less than two, in which
/// a stored tree is checked.
#[must_use]
pub fn read_back_blocks(shapes: impl IntoIterator<Item = Geometry>) -> usize {
    let levels = shapes.into_iter().map(|geometry| geometry.levels()).max().unwrap_or(0);
    levels.saturating_add(1).max(2)
}

/// Proves a slot that holds `release` already, without writing to it: for arming later, and to
/// check a slot at rest. `media` are its partitions in the order of the release's targets, `buffer`
/// and `hashers` are as [`Install::prove_with`] needs them.
///
/// # Errors
/// [`InstallError`] names the first thing that is not as it was signed.
pub fn prove_installed<R: ReadBlocks>(
    release: &Release<'_>,
    slot: Slot,
    media: &mut [R],
    buffer: &mut [Block],
    hashers: &mut impl HashPieces,
) -> Result<Proven, InstallError<R::Error>> {
    let config = release.config();
    for (at, target) in config.targets.iter().enumerate() {
        let index = TargetIndex(u16::try_from(at).unwrap_or(u16::MAX));
        let beyond = InstallError::Beyond { target: index, index: BlockIndex(0) };
        let Some(medium) = media.get_mut(at) else { return Err(beyond) };
        let Some(geometry) = Geometry::new(target.blocks) else { return Err(beyond) };
        let read_back = ReadBack { target: index, geometry, first: None };
        let found = read_back.root_hash(medium, buffer, hashers, |_, _, _| Ok(()))?;
        if found != target.root_hash {
            let expected = target.root_hash;
            return Err(InstallError::RootHash { target: index, found, expected });
        }
        if target.tree {
            let tree = BlockIndex(target.blocks);
            check_stored(medium, tree, &geometry, &target.root_hash).map_err(InstallError::Tree)?;
        }
    }
    Ok(Proven { slot, release: release.manifest().digest })
}

/// What is read back.
struct ReadBack<'a> {
    target: TargetIndex,
    geometry: Geometry,
    /// What stands in for the first block, if that is not on the medium yet.
    first: Option<&'a Block>,
}

impl ReadBack<'_> {
    /// The root hash of what `medium` gives. `sink` receives each block of the tree.
    fn root_hash<R: ReadBlocks>(
        &self,
        medium: &mut R,
        buffer: &mut [Block],
        hashers: &mut impl HashPieces,
        mut sink: impl FnMut(&mut R, u64, &Block) -> Result<(), InstallError<R::Error>>,
    ) -> Result<Digest, InstallError<R::Error>> {
        let unwrap = |error| match error {
            TreeError::Sink(error) => error,
            TreeError::Leaves { .. } => {
                InstallError::Beyond { target: self.target, index: BlockIndex(0) }
            }
        };
        let (found, needed) = (buffer.len(), read_back_blocks([self.geometry]));
        let too_small = InstallError::Buffer { found, needed };
        let Some((open, room)) = buffer.split_at_mut_checked(self.geometry.levels()) else {
            return Err(too_small);
        };
        let Some(mut builder) = TreeBuilder::in_room(self.geometry, open) else {
            return Err(too_small);
        };
        if room.is_empty() {
            return Err(too_small);
        }
        // Of one block there is no other half: then nothing is read meanwhile.
        let (mut now, mut next) = room.split_at_mut(room.len().div_ceil(2));
        let mut at = 0u64;
        let mut len = self.read(medium, at, now)?;
        while let Some(blocks @ [_, ..]) = now.get_mut(..len) {
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            let mut ahead = None;
            let mut meanwhile = || ahead = Some(self.read(medium, at, next));
            hash_in_place(blocks, hashers, &mut meanwhile);
            let read = match ahead {
                Some(read) => read?,
                None => self.read(medium, at, next)?,
            };
            for leaf in blocks.iter().filter_map(|block| block.first_chunk()) {
                let mut sink = |at, block: &Block| sink(medium, at, block);
                builder.push(Digest::new(*leaf), &mut sink).map_err(unwrap)?;
            }
            if next.is_empty() {
                len = self.read(medium, at, now)?;
            } else {
                (now, next, len) = (next, now, read);
            }
        }
        builder.finish(&mut |at, block: &Block| sink(medium, at, block)).map_err(unwrap)
    }

    /// Fills `room` with the blocks from `at` on, as far as there are any, and says how many.
    fn read<R: ReadBlocks>(
        &self,
        medium: &mut R,
        at: u64,
        room: &mut [Block],
    ) -> Result<usize, InstallError<R::Error>> {
        let (target, index) = (self.target, BlockIndex(at));
        let left = self.geometry.data_blocks().saturating_sub(at);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
        let Some(blocks @ [_, ..]) = room.get_mut(..len) else { return Ok(0) };
        let read = medium.read(index, blocks);
        read.map_err(|cause| InstallError::Read { target, index, cause })?;
        if let (0, Some(first), [held, ..]) = (at, self.first, blocks) {
            *held = *first;
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
