//! The table of a recipe: a header, then one entry a page. All numbers are little-endian.
//!
//! ```text
//! header   "GYBERCP\0" │ version u16 │ entry length u16 │ page count u32            16 bytes
//! entry    digest 32 │ kind u8 │ 0 u8 │ part u16 │ length u16 │ 0 u16 │
//!          first u64 │ count u64 │ base u64                                         64 bytes
//! ```
//!
//! Pages of targets (kind 1) come first, in the order of the targets, then pages of packs (kind 2)
//! in the order of the packs. `first` and `count` are blocks of a target or frames of a pack;
//! `base` is where a pack page's first frame begins in the pack.

use core::fmt;

use super::frame::{FRAME_RECORD_LEN, Frame, FrameRecord};
use super::record::Records;
use super::{FrameIndex, PAGE_LEN_MAX, PackId, RecipeError};
use crate::chunk::TargetIndex;
use crate::digest::Digest;

const MAGIC: &[u8; 8] = b"GYBERCP\0";
const VERSION: u16 = 1;
const TARGET: u8 = 1;
const PACK: u8 = 2;

/// Length of the table's header in bytes.
pub const HEADER_LEN: usize = 16;
const ENTRY_LEN: usize = 64;

/// The most pages a recipe may have: enough for about 1.4 million chunks.
pub const PAGES_MAX: usize = 16_384;

/// The most bytes a table may have.
pub const TABLE_LEN_MAX: usize = HEADER_LEN + PAGES_MAX * ENTRY_LEN;

/// What a page describes a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Blocks of a target.
    Target(TargetIndex),
    /// Frames of a pack.
    Pack(PackId),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => write!(f, "target {}", target.0),
            Self::Pack(pack) => write!(f, "pack {}", pack.0),
        }
    }
}

/// One page of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it describes.
    pub part: Part,
    /// How many bytes it has, `1..=PAGE_LEN_MAX`.
    pub len: u16,
    /// The first block or frame it describes.
    pub first: u64,
    /// How many it describes, at least one.
    pub count: u64,
    /// For a pack's page, where its first frame begins in the pack; otherwise 0.
    pub base: u64,
}

/// The header of a table of `pages` pages.
#[must_use]
pub fn encode_header(pages: u32) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[10..12].copy_from_slice(&64u16.to_le_bytes());
    out[12..].copy_from_slice(&pages.to_le_bytes());
    out
}

impl Entry {
    /// The entry's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let (kind, part) = match self.part {
            Part::Target(target) => (TARGET, target.0),
            Part::Pack(pack) => (PACK, pack.0),
        };
        let mut out = [0; ENTRY_LEN];
        out[..32].copy_from_slice(self.digest.as_bytes());
        out[32] = kind;
        out[34..36].copy_from_slice(&part.to_le_bytes());
        out[36..38].copy_from_slice(&self.len.to_le_bytes());
        out[40..48].copy_from_slice(&self.first.to_le_bytes());
        out[48..56].copy_from_slice(&self.count.to_le_bytes());
        out[56..].copy_from_slice(&self.base.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; ENTRY_LEN]) -> Result<Self, &'static str> {
        let number = |at: usize| {
            let eight = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
            eight.map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        let [digest @ .., _, _, _, _, _, _, _, _] = bytes.first_chunk::<40>().ok_or("cut off")?;
        let part = u16::from_le_bytes([bytes[34], bytes[35]]);
        let part = match bytes[32] {
            TARGET => Part::Target(TargetIndex(part)),
            PACK => Part::Pack(PackId(part)),
            _ => return Err("a page of a kind that this gybe does not know"),
        };
        let len = u16::from_le_bytes([bytes[36], bytes[37]]);
        let entry = Self {
            digest: Digest::new(*digest),
            part,
            len,
            first: number(40),
            count: number(48),
            base: number(56),
        };
        match part {
            _ if [bytes[33], bytes[38], bytes[39]] != [0; 3] => Err("reserved bytes are used"),
            _ if len == 0 || usize::from(len) > PAGE_LEN_MAX => Err("a page length out of range"),
            _ if entry.count == 0 => Err("a page that describes nothing"),
            Part::Target(_) if entry.base != 0 => Err("a target's page with a place in a pack"),
            _ => Ok(entry),
        }
    }
}

/// A table whose digest was found right. Borrows its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    entries: &'a [[u8; ENTRY_LEN]],
    len: u64,
}

impl<'a> Table<'a> {
    /// Checks `bytes` against the signed `digest`, then that the pages of each part follow each
    /// other without gap or overlap, cover exactly what `parts` says, and stand in its order.
    ///
    /// # Errors
    /// [`RecipeError`] says what is wrong and where.
    pub fn parse(
        bytes: &'a [u8],
        digest: &Digest,
        parts: impl IntoIterator<Item = (Part, u64)>,
    ) -> Result<Self, RecipeError> {
        if bytes.len() > TABLE_LEN_MAX {
            let (found, limit) = (len_u64(bytes.len()), len_u64(TABLE_LEN_MAX));
            return Err(RecipeError::TooMany { what: "bytes of table", found, limit });
        }
        let found = Digest::of(bytes);
        if found != *digest {
            return Err(RecipeError::TableDigest { found, expected: *digest });
        }
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(RecipeError::Table { what: "the table has no header" });
        };
        let [magic @ .., v0, v1, _, _, _, _, _, _] = header;
        if magic != MAGIC {
            return Err(RecipeError::Table { what: "this is not a recipe" });
        }
        let version = u16::from_le_bytes([*v0, *v1]);
        if version != VERSION {
            return Err(RecipeError::Version { found: version });
        }
        let (entries, tail) = rest.as_chunks::<ENTRY_LEN>();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        if !tail.is_empty() || *header != encode_header(count) {
            return Err(RecipeError::Table { what: "the table is not as long as it says" });
        }
        let mut table = Self { entries, len: len_u64(bytes.len()) };
        table.check(parts.into_iter())?;
        Ok(table)
    }

    fn check(&mut self, mut parts: impl Iterator<Item = (Part, u64)>) -> Result<(), RecipeError> {
        let mut open: Option<(Part, u64)> = None;
        let mut covered = 0u64;
        let closed = |open: Option<(Part, u64)>, covered: u64| match open {
            Some((part, expected)) if covered != expected => {
                Err(RecipeError::Length { part, found: covered, expected })
            }
            _ => Ok(()),
        };
        for (page, bytes) in (0u32..).zip(self.entries) {
            let entry =
                Entry::decode(bytes).map_err(|what| RecipeError::Record { page, at: 0, what })?;
            if open.is_none_or(|(part, _)| part != entry.part) {
                closed(open, covered)?;
                open = parts.next();
                covered = 0;
                if open.is_none_or(|(part, _)| part != entry.part) {
                    let what = "pages of a part that is not next in the configuration";
                    return Err(RecipeError::Record { page, at: 0, what });
                }
            }
            if entry.first != covered {
                return Err(RecipeError::Gap { page, found: entry.first, expected: covered });
            }
            covered = covered.saturating_add(entry.count);
            self.len = self.len.saturating_add(u64::from(entry.len));
        }
        closed(open, covered)?;
        match parts.next() {
            Some((part, expected)) => Err(RecipeError::Length { part, found: 0, expected }),
            None => Ok(()),
        }
    }

    /// How many pages there are.
    #[must_use]
    pub const fn page_count(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes the whole recipe has: the table and all pages.
    #[must_use]
    pub const fn recipe_len(&self) -> u64 {
        self.len
    }

    /// The pages in order, each with its number and where it begins in the recipe.
    pub fn pages(&self) -> impl Iterator<Item = (u32, u64, Entry)> + 'a {
        let table_len = len_u64(self.entries.len().saturating_mul(ENTRY_LEN));
        let mut at = table_len.saturating_add(len_u64(HEADER_LEN));
        (0u32..).zip(self.entries).filter_map(move |(page, bytes)| {
            let entry = Entry::decode(bytes).ok()?;
            let here = at;
            at = at.saturating_add(u64::from(entry.len));
            Some((page, here, entry))
        })
    }

    /// The page that describes `frame` of `pack`.
    #[must_use]
    pub fn frame_page(&self, pack: PackId, frame: FrameIndex) -> Option<(u32, u64, Entry)> {
        let frame = u64::from(frame.0);
        self.pages().find(|(_, _, entry)| {
            entry.part == Part::Pack(pack)
                && frame.checked_sub(entry.first).is_some_and(|within| within < entry.count)
        })
    }
}

impl Entry {
    /// The records of this page of a target, after `bytes` were found to be the page.
    ///
    /// # Errors
    /// [`RecipeError::PageDigest`], or [`RecipeError::Cover`] when the records do not describe as
    /// many blocks as the table says: overlaps and gaps end here.
    pub fn records<'b>(&self, page: u32, bytes: &'b [u8]) -> Result<Records<'b>, RecipeError> {
        if Digest::of(bytes) != self.digest {
            return Err(RecipeError::PageDigest { page });
        }
        let records = Records { page, rest: bytes, at: 0 };
        let mut found = 0u64;
        for record in records.clone() {
            found = found.saturating_add(u64::from(record?.count()));
        }
        if found != self.count {
            return Err(RecipeError::Cover { page, found, expected: self.count });
        }
        Ok(records)
    }

    /// The frames of this page of a pack, after `bytes` were found to be the page.
    ///
    /// # Errors
    /// As [`Entry::records`].
    pub fn frames<'b>(
        &self,
        page: u32,
        bytes: &'b [u8],
    ) -> Result<impl Iterator<Item = Result<Frame, RecipeError>> + use<'b>, RecipeError> {
        if Digest::of(bytes) != self.digest {
            return Err(RecipeError::PageDigest { page });
        }
        let (records, tail) = bytes.as_chunks::<FRAME_RECORD_LEN>();
        if !tail.is_empty() || len_u64(records.len()) != self.count {
            let found = len_u64(records.len());
            return Err(RecipeError::Cover { page, found, expected: self.count });
        }
        let mut offset = self.base;
        let first = self.first;
        Ok((0u32..).zip(records).map(move |(at, bytes)| {
            let at_byte = at.saturating_mul(40);
            let record = FrameRecord::decode(bytes).map_err(|what| RecipeError::Record {
                page,
                at: at_byte,
                what,
            })?;
            let here = offset;
            offset = offset.saturating_add(u64::from(record.stored_len));
            let index = u32::try_from(first).unwrap_or(u32::MAX).saturating_add(at);
            Ok(Frame { index: FrameIndex(index), offset: here, record })
        }))
    }
}

fn len_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
