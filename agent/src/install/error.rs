//! Why an install did not come to its end.

use std::io;

use gybe_core::block::BlockIndex;
use gybe_core::chunk::TargetIndex;
use gybe_core::digest::Digest;
use gybe_core::install::{self, BeginError};
use gybe_core::recipe::RecipeError;
use gybe_core::release::Release;
use gybe_oci::SourceError;

use crate::device::partition::PartitionError;

/// Why an install did not begin or did not end. What was good before is good still.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A partition cannot be opened or read.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A slot's partition cannot be written, or does not give back what was written.
    #[error(transparent)]
    Slot(Box<install::InstallError<PartitionError>>),
    /// A partition is too small. Nothing was written.
    #[error(
        "slot too small: {target} needs {needed} bytes with hash tree and trailer, \
         the partition has {found}"
    )]
    TooSmall {
        /// Which target.
        target: String,
        /// How many bytes it needs.
        needed: u64,
        /// How many the partition has.
        found: u64,
    },
    /// More would be fetched than is allowed. Nothing was written.
    #[error("{needed} bytes would be fetched, and {left} are left of what is allowed")]
    Budget {
        /// How many would be.
        needed: u64,
        /// How many may be.
        left: u64,
    },
    /// The source lacks a pack that this device needs. Nothing was written.
    #[error("{name}: {digest} is missing, and this device needs it")]
    AbsentPack {
        /// The source.
        name: String,
        /// The pack.
        digest: Digest,
    },
    /// The boot environment is in the way, or the slot's state is.
    #[error("{why}")]
    Begin {
        /// Why, in the words of the boot environment.
        why: String,
    },
    /// A target for which the configuration has no partition.
    #[error("release has a target {name:?}, for which this device has no partition")]
    UnknownTarget {
        /// Its name.
        name: String,
    },
    /// A partition for which the release has no target.
    #[error("release has no target {name:?}, for which this device has a partition in each slot")]
    MissingTarget {
        /// Its name.
        name: &'static str,
    },
    /// There are more signatures than a trailer holds.
    #[error("signatures are {len} bytes, limit {limit}")]
    Signatures {
        /// How long they are.
        len: usize,
        /// How long they may be.
        limit: usize,
    },
    /// The source does not have a blob, or of another length.
    #[error(transparent)]
    Blob(#[from] SourceError),
    /// A blob cannot be read.
    #[error("blob {digest}: {cause}")]
    Source {
        /// Which blob.
        digest: Digest,
        /// What the source said.
        cause: io::Error,
    },
    /// The recipe is not what was signed, or contradicts itself.
    #[error("{cause}")]
    Recipe {
        /// What is wrong.
        cause: RecipeError,
    },
    /// The recipe's bytes have another digest than the signed one.
    #[error("recipe: digest does not match the manifest")]
    RecipeDigest,
    /// The recipe is shorter than it says.
    #[error("recipe ends early")]
    RecipeEnds,
    /// The recipe in the slot is another one than a moment ago.
    #[error("recipe: the slot gave other pages than before")]
    RecipeChanged,
    /// A frame's stored bytes are not the signed ones. They were not decoded.
    #[error("pack {pack}: frame {frame} is damaged: digest does not match")]
    Frame {
        /// The pack.
        pack: Digest,
        /// The frame.
        frame: u32,
    },
    /// The decoder cannot be set up.
    #[error("zstd: {cause}")]
    Decoder {
        /// What it said.
        cause: io::Error,
    },
    /// A frame cannot be decoded, although it is the signed one.
    #[error("frame {frame} cannot be decoded within its limits: {cause}")]
    Decode {
        /// The frame.
        frame: u32,
        /// What the decoder said.
        cause: io::Error,
    },
    /// A frame decodes to another length than its record says.
    #[error("frame {frame} decodes to {found} bytes, the recipe says {expected}")]
    DecodedLength {
        /// The frame.
        frame: u32,
        /// How long it is.
        found: u64,
        /// How long it must be.
        expected: u64,
    },
    /// A frame does not begin as frames of packs do.
    #[error("frame {frame} is no zstd frame that says its length and needs no dictionary")]
    FrameHeader {
        /// The frame.
        frame: u32,
    },
    /// A frame would need more memory than a decoder gives it.
    #[error("frame {frame} has a window of {found} bytes, limit {limit}")]
    Window {
        /// The frame.
        frame: u32,
        /// How long its window is.
        found: u64,
        /// How long it may be.
        limit: u64,
    },
    /// A frame does not hold the chunk that the recipe says. It was not written.
    #[error("frame {frame} does not hold the chunk for block {start}")]
    Chunk {
        /// Where the chunk belongs.
        start: BlockIndex,
        /// The frame.
        frame: u32,
    },
    /// One of our threads ended without saying why.
    #[error("a thread of the install ended unexpectedly")]
    ThreadEnded,
}

impl From<install::InstallError<PartitionError>> for InstallError {
    fn from(cause: install::InstallError<PartitionError>) -> Self {
        match cause {
            // The partition's own words name the device and the blocks.
            install::InstallError::Read { cause, .. }
            | install::InstallError::Write { cause, .. }
            | install::InstallError::Flush { cause, .. } => Self::Partition(cause),
            other => Self::Slot(Box::new(other)),
        }
    }
}

/// An error of beginning, with the target's name.
pub(super) fn begin<E: std::fmt::Display>(
    cause: BeginError<PartitionError, E>,
    release: &Release<'_>,
) -> InstallError {
    match cause {
        BeginError::TooSmall { target, needed, found } => {
            InstallError::TooSmall { target: name(target, release), needed, found }
        }
        BeginError::Install(cause) => cause.into(),
        other => InstallError::Begin { why: other.to_string() },
    }
}

fn name(target: TargetIndex, release: &Release<'_>) -> String {
    let target = release.config().targets.get(usize::from(target.0));
    target.map_or_else(String::new, |target| target.name.to_owned())
}
