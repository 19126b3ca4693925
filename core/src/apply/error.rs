//! Why an install in one call did not come to its end.

use crate::block::BlockIndex;
use crate::chunk::TargetIndex;
use crate::digest::Digest;
use crate::install::{BeginError, InstallError};
use crate::recipe::{FrameIndex, RecipeError};

/// Why an install did not begin or did not end. What was good before is good still. The causes are
/// those of the medium, the environment, the source and the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError<W, E, S, D> {
    /// It did not begin.
    #[error(transparent)]
    Begin(BeginError<W, E>),
    /// It did not begin because of the release, or did not end.
    #[error(transparent)]
    Fill(#[from] FillError<W, S, D>),
}

/// Why a slot is not filled. The causes are those of the medium, the source and the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError<W, S, D> {
    /// The slot cannot be written, or does not read back as it was signed.
    #[error(transparent)]
    Install(InstallError<W>),
    /// The recipe is not what was signed, or contradicts itself.
    #[error(transparent)]
    Recipe(RecipeError),
    /// There is too little memory to work in.
    #[error("workspace has {found} blocks, {needed} are needed")]
    Workspace {
        /// How many blocks it has.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A blob cannot be read.
    #[error("blob {blob}, byte {at}: {cause}")]
    Source {
        /// Which blob.
        blob: Digest,
        /// Where.
        at: u64,
        /// What the source said.
        cause: S,
    },
    /// A frame reaches beyond the end of its pack.
    #[error("frame {frame} ends at byte {end} of a pack of {len} bytes", frame = frame.0)]
    BeyondPack {
        /// The frame.
        frame: FrameIndex,
        /// Where it ends.
        end: u64,
        /// How long the pack is.
        len: u64,
    },
    /// A frame's stored bytes are not the signed ones. They were not decoded.
    #[error("frame {frame} is damaged: digest does not match", frame = frame.0)]
    Frame {
        /// The frame.
        frame: FrameIndex,
    },
    /// A frame does not begin as frames of packs do.
    #[error(
        "frame {frame} is no zstd frame that says its length and needs no dictionary",
        frame = frame.0
    )]
    FrameHeader {
        /// The frame.
        frame: FrameIndex,
    },
    /// A frame decodes to another length than its record says.
    #[error("frame {frame} decodes to {found} bytes, the recipe says {expected}", frame = frame.0)]
    DecodedLength {
        /// The frame.
        frame: FrameIndex,
        /// How long it says it is.
        found: u64,
        /// How long it must be.
        expected: u64,
    },
    /// A frame would need more memory than a decoder has.
    #[error("frame {frame} has a window of {found} bytes, limit {limit}", frame = frame.0)]
    Window {
        /// The frame.
        frame: FrameIndex,
        /// How long its window is.
        found: u64,
        /// How long it may be.
        limit: u64,
    },
    /// The decoder has no room for a frame's stored bytes.
    #[error("frame {frame} has {len} stored bytes, more than the decoder takes", frame = frame.0)]
    NoRoom {
        /// The frame.
        frame: FrameIndex,
        /// How many bytes it has.
        len: u32,
    },
    /// A frame cannot be decoded, although it is the signed one.
    #[error("frame {frame} cannot be decoded: {cause}", frame = frame.0)]
    Decode {
        /// The frame.
        frame: FrameIndex,
        /// What the decoder said.
        cause: D,
    },
    /// A frame does not hold the chunk that the recipe says. Nothing of it was written.
    #[error(
        "frame {frame} does not hold the chunk for block {start} of target {target}",
        frame = frame.0, target = target.0
    )]
    Chunk {
        /// Which target.
        target: TargetIndex,
        /// Where the chunk belongs.
        start: BlockIndex,
        /// The frame.
        frame: FrameIndex,
    },
    /// The source gave a block that is not the one it gave before. It was not written.
    #[error("block {index} of target {target} came differently the second time", target = target.0)]
    Changed {
        /// Which target.
        target: TargetIndex,
        /// Which block.
        index: BlockIndex,
    },
}
