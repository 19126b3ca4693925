//! The log of a disk's writes, as dm-log-writes and QEMU's `blklogwrites` keep it.
//!
//! Sources: Linux `drivers/md/dm-log-writes.c`, QEMU `block/blklogwrites.c`. A superblock of one sector,
//! then entries: a sector that says what was done, and behind it what was written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const HEAD_LEN: usize = 32;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
const SECTOR_LENS: [u32; 4] = [512, 1024, 2048, 4096];

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It does not begin as a log does.
    #[error("is not a log of writes of version 1")]
    Magic,
    /// Its sectors have a length that no disk has.
    #[error("sectors have {found} bytes, not 512 to 4096")]
    SectorLen {
        /// How long they are said to be.
        found: u32,
    },
    /// An entry does not make sense.
    #[error("entry {index} has flags {flags:#x} and lies at sector {sector}, {count} long")]
    Entry {
        /// Which, counted from 0.
        index: u64,
        /// What it says it is.
        flags: u64,
        /// Where it begins.
        sector: u64,
        /// How many sectors it has.
        count: u64,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Data was written.
    Write,
    /// Data was given up; it reads as zeros or as before, and here as zeros.
    Discard,
    /// Nothing changed: a flush, or a mark.
    Nothing,
}

/// One thing that happened to the disk. Places and lengths are in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) at: u64,
    pub(super) len: u64,
    data_at: u64,
}

/// A log, read from its begin to its end.
pub(super) struct Log {
    file: File,
    sector_len: u64,
    count: u64,
    index: u64,
    at: u64,
}

impl Log {
    pub(super) fn open(file: File) -> Result<Self, LogError> {
        let mut head = [0; HEAD_LEN];
        file.read_exact_at(&mut head, 0)?;
        if number(&head, 0) != MAGIC || number(&head, 1) != VERSION {
            return Err(LogError::Magic);
        }
        let found = u32::try_from(number(&head, 3) & u64::from(u32::MAX)).unwrap_or(0);
        if !SECTOR_LENS.contains(&found) {
            return Err(LogError::SectorLen { found });
        }
        let sector_len = u64::from(found);
        Ok(Self { file, sector_len, count: number(&head, 2), index: 0, at: sector_len })
    }

    /// The next entry. The superblock's count is written now and then only, so that a machine that was
    /// killed leaves more: an entry behind it that is none, or lacks what it wrote, ends the log.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, LogError> {
        let mut head = [0; HEAD_LEN];
        match self.file.read_exact_at(&mut head, self.at) {
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [sector, count, flags] = [0, 1, 2].map(|index| number(&head, index));
        let is_empty = [sector, count, flags] == [0; 3];
        if self.index >= self.count && is_empty {
            return Ok(None);
        }
        let place = || {
            let (at, len) =
                (sector.checked_mul(self.sector_len)?, count.checked_mul(self.sector_len)?);
            let data_at = self.at.checked_add(self.sector_len)?;
            at.checked_add(len)?;
            Some((at, len, data_at, data_at.checked_add(len)?))
        };
        let known = flags & !(FLUSH | FUA | DISCARD | MARK) == 0;
        let Some((at, len, data_at, end)) = place().filter(|_| known) else {
            return Err(LogError::Entry { index: self.index, flags, sector, count });
        };
        self.index = self.index.saturating_add(1);
        let (kind, next) = match flags {
            flags if flags & MARK != 0 => (Kind::Nothing, end),
            flags if flags & DISCARD != 0 => (Kind::Discard, data_at),
            _ if len == 0 => (Kind::Nothing, data_at),
            _ => (Kind::Write, end),
        };
        if self.index > self.count && next > self.file.metadata()?.len() {
            return Ok(None);
        }
        self.at = next;
        Ok(Some(Entry { kind, at, len, data_at }))
    }

    /// What an entry wrote, from `offset` on.
    pub(super) fn read(
        &self,
        entry: &Entry,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), LogError> {
        Ok(self.file.read_exact_at(bytes, entry.data_at.saturating_add(offset))?)
    }
}

fn number(head: &[u8; HEAD_LEN], index: usize) -> u64 {
    let (numbers, _) = head.as_chunks();
    numbers.get(index).copied().map_or(0, u64::from_le_bytes)
}
