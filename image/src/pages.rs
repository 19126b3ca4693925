//! Writes recipes: records into pages whose ends the content chooses, and the table over them.

use gybe_core::chunk::TargetIndex;
use gybe_core::digest::Digest;
use gybe_core::recipe::{
    Chunk, Entry, FRAME_RECORD_LEN, FrameRecord, PAGE_LEN_MAX, PAGES_MAX, PackId, Part,
    RECORD_LEN_MAX, Record, encode_header,
};

/// A page is not ended by its content before it is this long.
const PAGE_LEN_MIN: usize = 2048;

/// One record in this many ends a page: a change then moves the ends of few pages.
const END_EVERY: u8 = 16;

/// A recipe and the digest of its table.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The table, then all pages.
    pub bytes: Vec<u8>,
    /// How many bytes the table has.
    pub table_len: usize,
    /// The digest of the table.
    pub table_digest: Digest,
}

/// Why a recipe cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagesError {
    /// There are more pages than a device would accept.
    #[error("recipe has {found} pages, limit {PAGES_MAX}")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A number is out of the range that its field has.
    #[error("recipe: {what} is out of range")]
    Range {
        /// Which number.
        what: &'static str,
    },
}

/// Collects records and writes the recipe.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Pages {
    /// Adds the pages of a target.
    pub(crate) fn target(
        &mut self,
        target: TargetIndex,
        records: &[Record],
    ) -> Result<(), PagesError> {
        let mut page = Vec::with_capacity(PAGE_LEN_MAX);
        let (mut first, mut count) = (0, 0);
        for record in records {
            let mut bytes = [0; RECORD_LEN_MAX];
            let len = record.encode(&mut bytes).ok_or(PagesError::Range { what: "a record" })?;
            if page.len() + len > PAGE_LEN_MAX {
                self.page(Part::Target(target), &mut page, &mut first, &mut count, 0)?;
            }
            page.extend(bytes.iter().take(len));
            count += u64::from(record.count());
            if page.len() >= PAGE_LEN_MIN && ends_page(record) {
                self.page(Part::Target(target), &mut page, &mut first, &mut count, 0)?;
            }
        }
        self.page(Part::Target(target), &mut page, &mut first, &mut count, 0)
    }

    /// Adds the pages of a pack.
    pub(crate) fn pack(&mut self, pack: PackId, frames: &[FrameRecord]) -> Result<(), PagesError> {
        let (mut first, mut base) = (0, 0);
        for frames in frames.chunks(PAGE_LEN_MAX / FRAME_RECORD_LEN) {
            let mut page = Vec::with_capacity(PAGE_LEN_MAX);
            let mut len = 0;
            for frame in frames {
                page.extend(frame.encode().ok_or(PagesError::Range { what: "a frame" })?);
                len += u64::from(frame.stored_len);
            }
            let mut count = frames.len() as u64;
            self.page(Part::Pack(pack), &mut page, &mut first, &mut count, base)?;
            base += len;
        }
        Ok(())
    }

    /// Ends a page, if there is anything in it, and begins the next.
    fn page(
        &mut self,
        part: Part,
        page: &mut Vec<u8>,
        first: &mut u64,
        count: &mut u64,
        base: u64,
    ) -> Result<(), PagesError> {
        if page.is_empty() {
            return Ok(());
        }
        let len = u16::try_from(page.len()).map_err(|_| PagesError::Range { what: "a page" })?;
        let digest = Digest::of(page);
        self.entries.push(Entry { digest, part, len, first: *first, count: *count, base });
        self.bytes.append(page);
        *first += *count;
        *count = 0;
        Ok(())
    }

    /// The recipe.
    pub(crate) fn finish(self) -> Result<Recipe, PagesError> {
        let found = self.entries.len();
        let pages = u32::try_from(found).unwrap_or(u32::MAX);
        if found > PAGES_MAX {
            return Err(PagesError::TooMany { found });
        }
        let mut bytes = encode_header(pages).to_vec();
        bytes.extend(self.entries.iter().flat_map(Entry::encode));
        let (table_len, table_digest) = (bytes.len(), Digest::of(&bytes));
        bytes.extend(self.bytes);
        Ok(Recipe { bytes, table_len, table_digest })
    }
}

fn ends_page(record: &Record) -> bool {
    match record {
        Record::Chunk(Chunk { digest, .. }) => digest.as_bytes()[0] % END_EVERY == 0,
        Record::Zeros { .. } => false,
    }
}
