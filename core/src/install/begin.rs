//! The first steps: nothing is written before everything that can be known is checked, and the
//! environment is the first thing written.

use core::slice;

use heapless::Vec;

use super::{Inactive, Install, InstallError, Shape};
use crate::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, WriteBlocks};
use crate::boot::{BootEnv, BootState, TransitionError};
use crate::chunk::TargetIndex;
use crate::config::Target;
use crate::digest::Digest;
use crate::release::Release;
use crate::slot::Slot;
use crate::trailer::{PARTS, Trailer};
use crate::verity::Geometry;

/// Why an install does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError<W, E> {
    /// A partition is too small. Nothing was written.
    #[error(
        "slot too small: target {target} needs {needed} bytes, the partition has {found}",
        target = target.0
    )]
    TooSmall {
        /// Which target.
        target: TargetIndex,
        /// How many bytes it needs, with its tree and trailer.
        needed: u64,
        /// How many the partition has.
        found: u64,
    },
    /// The device has another number of partitions than the release has targets.
    #[error("release has {needed} targets, the configuration of this device {found}")]
    Targets {
        /// How many targets the release has.
        needed: usize,
        /// How many partitions were given.
        found: usize,
    },
    /// The boot environment cannot be read or written. The inactive slot was not touched.
    #[error("boot environment: {0}")]
    Environment(E),
    /// The boot environment says that this must not be. Nothing was written.
    #[error(transparent)]
    Transition(TransitionError),
    /// The slot is Unbootable now, and could not be written.
    #[error(transparent)]
    Install(InstallError<W>),
}

/// How many blocks the partition of `target` must have. The trailer's parts, given by their
/// lengths, lie behind the first target only.
#[must_use]
pub fn needed_blocks(index: usize, target: &Target<'_>, parts: [u64; PARTS]) -> u64 {
    let tree = match Geometry::new(target.blocks) {
        Some(geometry) if target.tree => geometry.tree_blocks(),
        _ => 0,
    };
    let trailer = if index == 0 { Trailer::blocks_needed(parts) } else { 0 };
    target.blocks.saturating_add(tree).saturating_add(trailer)
}

impl<'m, W: WriteBlocks> Install<'m, W> {
    /// Makes `slot` Unbootable, then unloadable. `targets` are its partitions in the order of the
    /// release's targets, `parts` the lengths and digests of the trailer's parts. `running` is
    /// `None` when the device is provisioned from another system.
    ///
    /// A power cut before the environment is stored leaves everything as it was. After that the
    /// slot is Unbootable, and stays so until it is armed.
    ///
    /// # Errors
    /// [`BeginError`] says which of them left something written.
    pub fn begin<E: BootEnv>(
        release: &Release<'_>,
        slot: Slot,
        running: Option<Slot>,
        targets: &'m mut [Inactive<W>],
        parts: [(u64, Digest); PARTS],
        environment: &mut E,
    ) -> Result<Self, BeginError<W::Error, E::Error>> {
        let mut room = [0; BLOCK_LEN];
        Self::begin_in(&mut room, release, slot, running, targets, parts, environment)
    }

    /// As [`Install::begin`], in memory that the caller lends.
    pub(crate) fn begin_in<E: BootEnv>(
        room: &mut Block,
        release: &Release<'_>,
        slot: Slot,
        running: Option<Slot>,
        targets: &'m mut [Inactive<W>],
        parts: [(u64, Digest); PARTS],
        environment: &mut E,
    ) -> Result<Self, BeginError<W::Error, E::Error>> {
        let shapes = fitting(release, targets, parts)?;
        let block_count = targets.first().map_or(0, |root| root.medium.block_count());
        let taken = shapes.first().map_or(u64::MAX, |root| {
            root.blocks.saturating_add(if root.tree { root.geometry.tree_blocks() } else { 0 })
        });
        let Some(trailer) = Trailer::plan(release.manifest().digest, parts, taken, block_count)
        else {
            unreachable!("fitting() found room for the trailer in the first target")
        };
        let loaded = environment.load().map_err(BeginError::Environment)?;
        let state = loaded.state.unwrap_or_else(|| BootState::factory(running));
        let cleared = state.clear(slot, running).map_err(BeginError::Transition)?;

        environment.store(&cleared).map_err(BeginError::Environment)?;
        targets.iter_mut().for_each(|inactive| inactive.first = None);
        let mut install = Self { slot, targets, shapes, trailer };
        install.disable(room).map_err(BeginError::Install)?;
        Ok(install)
    }

    /// Zeroes every target's first block, where file systems keep what makes them mountable, and
    /// leaves a draft trailer as a hint for the next attempt. `boot` comes first: a loader that has
    /// lost its environment must not find a kernel whose root is gone already.
    fn disable(&mut self, room: &mut Block) -> Result<(), InstallError<W::Error>> {
        room.fill(0);
        for target in self.boot_last().into_iter().rev() {
            self.put(target, BlockIndex(0), slice::from_ref(room))?;
            self.flush(target)?;
        }
        self.write_footer(room)?;
        self.flush(TargetIndex(0))
    }
}

/// Checks that everything fits before anything is written.
fn fitting<W: WriteBlocks, E>(
    release: &Release<'_>,
    targets: &[Inactive<W>],
    parts: [(u64, Digest); PARTS],
) -> Result<Vec<Shape, { crate::config::TARGETS_MAX }>, BeginError<W::Error, E>> {
    let config = release.config();
    if config.targets.len() != targets.len() {
        return Err(BeginError::Targets { needed: config.targets.len(), found: targets.len() });
    }
    let mut shapes = Vec::new();
    let partitions = targets.iter().zip(&config.targets).enumerate();
    for (at, (inactive, target)) in partitions {
        let needed = needed_blocks(at, target, parts.map(|(len, _)| len));
        let found = inactive.medium.block_count();
        let index = TargetIndex(u16::try_from(at).unwrap_or(u16::MAX));
        let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_LEN_U64);
        let too_small =
            BeginError::TooSmall { target: index, needed: bytes(needed), found: bytes(found) };
        let Some(geometry) = Geometry::new(target.blocks) else { return Err(too_small) };
        if found < needed {
            return Err(too_small);
        }
        let shape = Shape {
            blocks: target.blocks,
            root_hash: target.root_hash,
            geometry,
            tree: target.tree,
            boot: target.name == "boot",
        };
        shapes.push(shape).map_err(|_| too_small)?;
    }
    Ok(shapes)
}
