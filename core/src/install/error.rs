//! What can go wrong once an install has begun. The slot then stays Unbootable.

use crate::block::BlockIndex;
use crate::chunk::TargetIndex;
use crate::digest::Digest;
use crate::trailer::{PartName, TrailerError};
use crate::verity::StoredTreeError;

/// Why an install cannot go on, or a slot is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError<E> {
    /// The medium cannot be read.
    #[error("inactive slot, target {target}: cannot read block {index}: {cause}", target = target.0)]
    Read {
        /// Which target.
        target: TargetIndex,
        /// Which block.
        index: BlockIndex,
        /// What the medium said.
        cause: E,
    },
    /// The medium cannot be written.
    #[error("inactive slot, target {target}: cannot write block {index}: {cause}", target = target.0)]
    Write {
        /// Which target.
        target: TargetIndex,
        /// Which block.
        index: BlockIndex,
        /// What the medium said.
        cause: E,
    },
    /// The medium did not make durable what was written, or give up its caches.
    #[error("inactive slot, target {target}: cannot flush: {cause}", target = target.0)]
    Flush {
        /// Which target.
        target: TargetIndex,
        /// What the medium said.
        cause: E,
    },
    /// Blocks beyond the end of a target, or of a target that the release does not have.
    #[error("target {target} has no block {index}", target = target.0)]
    Beyond {
        /// Which target.
        target: TargetIndex,
        /// The first block that it does not have.
        index: BlockIndex,
    },
    /// Nothing was written for the first block of a target.
    #[error("target {target} is not complete: its first block is missing", target = target.0)]
    FirstMissing {
        /// Which target.
        target: TargetIndex,
    },
    /// Blocks beyond the end of a part of the trailer.
    #[error("trailer: the {part:?} part has no block {offset}")]
    BeyondPart {
        /// Which part.
        part: PartName,
        /// The first block that it does not have.
        offset: u64,
    },
    /// What the medium gives back is not what was signed.
    #[error(
        "target {target} reads back as root hash {found}, signed is {expected}",
        target = target.0, found = found.hex(), expected = expected.hex()
    )]
    RootHash {
        /// Which target.
        target: TargetIndex,
        /// The root hash of what was read.
        found: Digest,
        /// The signed one.
        expected: Digest,
    },
    /// The stored hash tree does not read back as it was written.
    #[error(transparent)]
    Tree(StoredTreeError<E>),
    /// The trailer does not read back as it was written.
    #[error(transparent)]
    Trailer(TrailerError<E>),
    /// The memory lent to read a slot back is too small.
    #[error("{found} blocks to read back in, {needed} are needed")]
    Buffer {
        /// How many blocks there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A first block does not read back as it was written.
    #[error("target {target}: the first block does not read back as written", target = target.0)]
    FirstBlock {
        /// Which target.
        target: TargetIndex,
    },
}
