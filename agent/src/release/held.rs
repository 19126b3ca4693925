//! The release that a slot holds, as its trailer says.

use gybe_core::block::{BLOCK_LEN, BlockIndex, ReadBlocks};
use gybe_core::config::CONFIG_LEN_MAX;
use gybe_core::digest::Digest;
use gybe_core::manifest::{MANIFEST_LEN_MAX, Manifest, ManifestError};
use gybe_core::trailer::{PartName, Progress, SIGNATURES_LEN_MAX, Trailer, TrailerError};

use super::{Document, Package};
use crate::config::SlotPaths;
use crate::device::partition::{PartitionError, RunningPartition};
use crate::state::{DigestText, ReleaseName};

/// What a slot says that it holds. It was written by us, but it is believed only as far as its
/// signatures go: open the [`Package`] for anything that trust hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How far the install came.
    pub progress: Progress,
    /// Whether a loader can load it: the first blocks are there.
    pub is_loadable: bool,
    /// The release's name.
    pub name: ReleaseName,
    /// The root hash of its root file system.
    pub root_hash: Digest,
    /// Its sequence.
    pub sequence: u64,
    /// Its rollback index.
    pub rollback_index: u64,
    /// What decides whether it is believed.
    pub package: Package,
}

impl Held {
    /// Reads what the slot in `paths` says.
    ///
    /// # Errors
    /// [`HeldError`]: the slot says nothing, or nothing that makes sense.
    pub fn read(paths: &SlotPaths) -> Result<Self, HeldError> {
        let mut root = RunningPartition::open(&paths.root)?;
        let trailer = Trailer::read(&mut root)?;
        let mut part = |name, limit| read_part(&mut root, &trailer, name, limit);
        let manifest = part(PartName::Manifest, MANIFEST_LEN_MAX)?;
        let config = part(PartName::Config, CONFIG_LEN_MAX)?;
        let signatures = part(PartName::Signatures, SIGNATURES_LEN_MAX)?;
        let digest = Digest::of(&manifest);
        if digest != trailer.release {
            return Err(HeldError::OtherRelease { found: digest, expected: trailer.release });
        }
        let parsed = Manifest::parse(&manifest)?;
        let version = parsed.version.to_owned();
        let (documents, index) = Document::from_trailer(&signatures);
        let mut is_loadable = true;
        for (_, path) in paths.all() {
            is_loadable &= has_first_block(&mut RunningPartition::open(path)?)?;
        }
        Ok(Self {
            progress: trailer.progress,
            is_loadable,
            name: ReleaseName { digest: DigestText(digest), version },
            root_hash: parsed.root_hash,
            sequence: parsed.sequence,
            rollback_index: parsed.rollback_index,
            package: Package { digest, config, documents, index, manifest },
        })
    }

    /// Whether the slot was read back and found right when it was written.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.progress == Progress::Complete && self.is_loadable
    }
}

/// Whether the block is there that is written last of all.
fn has_first_block(medium: &mut RunningPartition) -> Result<bool, PartitionError> {
    let mut blocks = [[0; BLOCK_LEN]];
    medium.read(BlockIndex(0), &mut blocks)?;
    let [block] = blocks;
    Ok(block.iter().any(|&byte| byte != 0))
}

fn read_part(
    medium: &mut RunningPartition,
    trailer: &Trailer,
    name: PartName,
    limit: usize,
) -> Result<Vec<u8>, HeldError> {
    // Room for what the trailer says, but never for more than such a part may have.
    let part = trailer.part(name);
    let len = usize::try_from(part.len).unwrap_or(usize::MAX).min(limit);
    let mut room = vec![[0; BLOCK_LEN]; len.div_ceil(BLOCK_LEN)];
    Ok(trailer.read_part(medium, name, &mut room)?.to_owned())
}

/// Why it is not known what a slot holds.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// A partition cannot be read.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The trailer is missing or damaged.
    #[error(transparent)]
    Trailer(#[from] TrailerError<PartitionError>),
    /// The trailer holds another manifest than it names.
    #[error("trailer names the release {expected}, but holds {found}")]
    OtherRelease {
        /// What it holds.
        found: Digest,
        /// What it names.
        expected: Digest,
    },
    /// The manifest makes no sense.
    #[error("trailer: {0}")]
    Manifest(#[from] ManifestError),
}
