//! The recipe: what every block of every target is, and where its data lies.
//!
//! A recipe is a table, then pages. The table's digest stands in the signed configuration, each
//! page's digest in the table: a page is verified before it is parsed, and one page at a time is
//! all that must be held. Pages hold lengths; positions stand in the table only, so that a page
//! keeps its bytes when what lies before it grows. The bytes are described in `docs/formats.md`.

mod frame;
mod frame_header;
mod record;
mod table;

pub use frame::{Codec, FRAME_BLOCKS_MAX, FRAME_LEN_MAX, FRAME_RECORD_LEN, Frame, FrameRecord};
pub use frame_header::{FrameHeader, WINDOW_LEN_MAX};
pub use record::{Chunk, RECORD_LEN_MAX, Record, Records, Stored};
pub use table::{Entry, HEADER_LEN, PAGES_MAX, Part, TABLE_LEN_MAX, Table, encode_header};

use crate::digest::Digest;

/// The most bytes a page may have.
pub const PAGE_LEN_MAX: usize = 4096;

/// Number of a pack: given once, never changed by later releases that refer to the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub u16);

/// Number of a frame in its pack, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameIndex(pub u32);

/// Why a recipe is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The table has another digest than the signed one.
    #[error("recipe: the table has digest {found}, the configuration says {expected}")]
    TableDigest {
        /// What the bytes have.
        found: Digest,
        /// What was signed.
        expected: Digest,
    },
    /// The table is shorter or longer than its header says, or begins with something else.
    #[error("recipe: {what}")]
    Table {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The table is written in a version we do not know.
    #[error("recipe: format version {found}, this gybe knows version 1")]
    Version {
        /// The version found.
        found: u16,
    },
    /// A limit is crossed.
    #[error("recipe: {found} {what}, limit {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A page's bytes are not the ones the table names.
    #[error("recipe page {page}: digest does not match")]
    PageDigest {
        /// Which page.
        page: u32,
    },
    /// A page does not begin where the one before it ended.
    #[error("recipe page {page}: begins at {found}, the one before ended at {expected}")]
    Gap {
        /// Which page.
        page: u32,
        /// Where it says it begins.
        found: u64,
        /// Where it should.
        expected: u64,
    },
    /// A page's records do not add up to what the table says.
    #[error("recipe page {page}: records cover {found}, the table says {expected}")]
    Cover {
        /// Which page.
        page: u32,
        /// What the records add up to.
        found: u64,
        /// What the table says.
        expected: u64,
    },
    /// The pages of a target or pack do not add up to its length.
    #[error("recipe: pages of {part} cover {found}, the configuration says {expected}")]
    Length {
        /// Which target or pack.
        part: Part,
        /// What the pages add up to.
        found: u64,
        /// What was signed.
        expected: u64,
    },
    /// A record is of a kind or has a value that we do not know.
    #[error("recipe page {page}, byte {at}: {what}")]
    Record {
        /// Which page.
        page: u32,
        /// Where in the page.
        at: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A chunk refers to a frame that its pack does not have.
    #[error("recipe: pack {pack} has no frame {frame}", pack = pack.0, frame = frame.0)]
    NoFrame {
        /// The pack.
        pack: PackId,
        /// The frame.
        frame: FrameIndex,
    },
    /// A chunk reaches beyond the end of its frame.
    #[error("recipe: a chunk reaches to block {end} of a frame of {blocks} blocks")]
    BeyondFrame {
        /// Where the chunk ends.
        end: u32,
        /// How long the frame is.
        blocks: u32,
    },
}

#[cfg(test)]
mod tests;
