//! Installs a release into the inactive slot, in the order that keeps the device bootable.
//!
//! What a power cut leaves behind, step by step. The running slot is never written.
//!
//! | cut during | environment | inactive slot | next boot |
//! |---|---|---|---|
//! | 1. [`Install::begin`]: environment stored | slot good, or unbootable | as it was | running slot |
//! | 2. first blocks zeroed, `boot`'s first of all | unbootable | loadable in no loader from here on | running slot |
//! | 3. [`Install::write`] … | unbootable | first blocks zero | running slot |
//! | 4. [`Install::prove`]: tree, trailer, read-back | unbootable | first blocks zero | running slot |
//! | 5. first blocks, `boot`'s last | unbootable | whole once `boot`'s is written | running slot |
//! | 6. [`Proven::arm`] | unbootable, or on trial | whole | running slot, or a counted trial |
//!
//! What a loader or kernel needs of a first block lies in one of its sectors, which reaches a medium
//! whole or not at all. An environment that is lost or lies can only choose among loadable slots: until step 5 ends the
//! inactive one is not loadable, and from then on every byte of it is known to be right.

mod begin;
mod error;
mod hashing;
mod proof;
mod write;

pub use begin::{BeginError, needed_blocks};
pub use error::InstallError;
pub use hashing::{HashPieces, InTurn, Piece};
pub use proof::{ArmError, Proven, prove_installed, read_back_blocks};

use crate::block::Block;
use crate::chunk::TargetIndex;
use crate::config::TARGETS_MAX;
use crate::digest::Digest;
use crate::slot::Slot;
use crate::trailer::Trailer;
use crate::verity::Geometry;
use heapless::Vec;

/// The partition of one target in the inactive slot, and the first block that is not written to it
/// before the slot is proven.
#[derive(Debug)]
pub struct Inactive<W> {
    medium: W,
    first: Option<Block>,
}

impl<W> Inactive<W> {
    /// The partition behind `medium`.
    #[must_use]
    pub const fn new(medium: W) -> Self {
        Self { medium, first: None }
    }
}

/// An install under way: the slot is Unbootable and its first blocks are zero.
#[derive(Debug)]
pub struct Install<'m, W> {
    slot: Slot,
    targets: &'m mut [Inactive<W>],
    shapes: Vec<Shape, TARGETS_MAX>,
    trailer: Trailer,
}

/// What the signed configuration says of a target.
#[derive(Clone, Copy, Debug)]
struct Shape {
    blocks: u64,
    root_hash: Digest,
    geometry: Geometry,
    /// Whether the tree is stored behind the blocks.
    tree: bool,
    /// Whether the loader reads this target first, so that its first block is written last.
    boot: bool,
}

impl<W> Install<'_, W> {
    /// The slot that is being installed.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Where the trailer's parts belong: the caller writes them with [`Install::write_part`].
    #[must_use]
    pub const fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// All targets, those that a loader reads last.
    fn boot_last(&self) -> Vec<TargetIndex, TARGETS_MAX> {
        let chosen = |boot: bool| {
            let shapes = (0u16..).map(TargetIndex).zip(&self.shapes);
            shapes.filter(move |(_, shape)| shape.boot == boot).map(|(target, _)| target)
        };
        chosen(false).chain(chosen(true)).collect()
    }

    fn target(&self, index: TargetIndex) -> Option<&Shape> {
        self.shapes.get(usize::from(index.0))
    }
}
