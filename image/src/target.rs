//! The seam between what lays a target out and what cuts it into chunks.

use std::collections::HashSet;
use std::sync::Arc;

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::digest::Digest;

use crate::content::Content;
use crate::spooled::Spooled;

/// The bytes of one partition, laid out but not yet read: a list of extents, one after the other.
#[derive(Clone, Debug)]
pub struct Target {
    /// `root`, `boot`, or a name of the board's.
    pub name: String,
    /// The extents in the order of their blocks. Each begins at a block boundary, and its last
    /// block is filled up with zeros.
    pub extents: Vec<Extent>,
}

impl Target {
    /// Length in blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.extents.iter().map(|extent| extent.source.len().div_ceil(BLOCK_LEN_U64)).sum()
    }

    /// Length in bytes, up to the end of the last extent.
    #[must_use]
    pub fn size(&self) -> u64 {
        let last = self.extents.last().map_or(0, |last| last.source.len());
        self.blocks().saturating_sub(last.div_ceil(BLOCK_LEN_U64)) * BLOCK_LEN_U64 + last
    }

    /// Cuts the last block off every file of the image whose digest is one of `digests`.
    pub(crate) fn set_tails_apart(&mut self, digests: &HashSet<Digest>) {
        for extent in &mut self.extents {
            if let Source::Content(content) = &extent.source
                && digests.contains(&content.digest)
            {
                extent.tail = Tail::Apart;
            }
        }
    }
}

/// Blocks that belong together: no chunk reaches across the end of an extent.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Where the bytes come from.
    pub source: Source,
    /// The longest chunk to cut from this extent, in blocks. What changes together may lie in
    /// long chunks; metadata, of which every release changes a little everywhere, in short ones.
    pub chunk_blocks_max: u32,
    /// What becomes of its last block, if that is not full.
    pub tail: Tail,
}

/// What becomes of the last block of an extent when it is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// It lies in a chunk with what is before it.
    Joined,
    /// It is a chunk of its own, so that the full blocks before it are the same chunks where the
    /// same bytes go on in another way.
    Apart,
}

/// Where an extent's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of the image.
    Content(Content),
    /// Bytes that were made here.
    Bytes(Arc<[u8]>),
    /// Bytes that were made here and are too many for memory.
    Spooled(Spooled),
}

impl Source {
    /// Length in bytes, without the padding to a whole block.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Content(content) => content.len,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Spooled(spooled) => spooled.len(),
        }
    }

    /// The parts that no chunk may reach across. All but the last are whole blocks.
    pub(crate) fn parts(self) -> Vec<Self> {
        match self {
            Self::Spooled(spooled) => spooled.parts().map(Self::Spooled).collect(),
            whole => vec![whole],
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
