//! The seam between what lays a target out and what cuts it into chunks.

use std::sync::Arc;

use gybe_core::block::BLOCK_LEN_U64;

use crate::content::Content;

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
}

/// Blocks that belong together: no chunk reaches across the end of an extent.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Where the bytes come from.
    pub source: Source,
    /// The longest chunk to cut from this extent, in blocks. What changes together may lie in
    /// long chunks; metadata, of which every release changes a little everywhere, in short ones.
    pub chunk_blocks_max: u32,
}

/// Where an extent's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of the image.
    Content(Content),
    /// Bytes that were made here.
    Bytes(Arc<[u8]>),
}

impl Source {
    /// Length in bytes, without the padding to a whole block.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Content(content) => content.len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
