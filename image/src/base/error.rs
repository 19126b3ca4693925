//! Why a release cannot be built on.

use std::io;

use gybe_core::digest::Digest;
use gybe_core::recipe::{FrameIndex, PackId, RecipeError};
use gybe_oci::{LayoutError, SourceError};

/// Why a release cannot be built on.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// It is not there, or a blob of it is missing or damaged.
    #[error("base: {0}")]
    Layout(#[from] LayoutError),
    /// It is in a registry, and cannot be had there.
    #[error("base: {0}")]
    Source(Box<SourceError>),
    /// What is there is no release.
    #[error("base is no release: {why}")]
    Manifest {
        /// Why.
        why: String,
    },
    /// Its configuration is refused.
    #[error("base: {why}")]
    Config {
        /// Why.
        why: String,
    },
    /// What its configuration says for sealers makes no sense.
    #[error("base: packs of the configuration: {why}")]
    History {
        /// Why.
        why: String,
    },
    /// Manifest and configuration do not agree.
    #[error("base: the manifest lists {listed} packs, the configuration {told}")]
    Packs {
        /// How many the manifest lists.
        listed: usize,
        /// How many the configuration has.
        told: usize,
    },
    /// Its recipe is refused.
    #[error("base: {0}")]
    Recipe(#[from] RecipeError),
    /// Its recipe is not as long as its table says.
    #[error("base: the recipe has {found} bytes, its table says otherwise")]
    RecipeLen {
        /// How long it is.
        found: u64,
    },
    /// A frame does not begin where the one before it ends.
    #[error(
        "base: frame {frame} of pack {pack} does not begin where the one before it ends",
        frame = frame.0,
        pack = pack.0
    )]
    FramePlace {
        /// The pack.
        pack: PackId,
        /// The frame.
        frame: FrameIndex,
    },
    /// A pack is not as long as its frames.
    #[error("base: pack {pack} has {found} bytes, its frames {expected}", pack = pack.0)]
    PackLen {
        /// The pack.
        pack: PackId,
        /// How long it is.
        found: u64,
        /// How long its frames are.
        expected: u64,
    },
    /// A pack that is to be used again is not what its digest says.
    #[error("base: pack {pack} is damaged: its digest is {found}, not {expected}", pack = pack.0)]
    PackDigest {
        /// The pack.
        pack: PackId,
        /// The digest of its bytes.
        found: Digest,
        /// The digest that names it.
        expected: Digest,
    },
    /// A pack cannot be read.
    #[error("base: pack {pack}: {cause}", pack = pack.0)]
    Read {
        /// The pack.
        pack: PackId,
        /// What the medium says.
        cause: io::Error,
    },
    /// A chunk refers to a frame that its pack does not have, or to blocks beyond it.
    #[error("base: frame {frame} of pack {pack} has no such chunk", frame = frame.0, pack = pack.0)]
    NoChunk {
        /// The pack.
        pack: PackId,
        /// The frame.
        frame: FrameIndex,
    },
    /// A frame is not what the recipe says.
    #[error("base: frame {frame} of pack {pack} is damaged", frame = frame.0, pack = pack.0)]
    Frame {
        /// The pack.
        pack: PackId,
        /// The frame.
        frame: FrameIndex,
    },
    /// Every number that a pack can have was used.
    #[error("base: all 65536 numbers of packs were used: seal without a base")]
    Numbers,
}

impl From<SourceError> for BaseError {
    fn from(cause: SourceError) -> Self {
        match cause {
            SourceError::Layout(cause) => Self::Layout(cause),
            other @ SourceError::Registry(_) => Self::Source(Box::new(other)),
        }
    }
}
