//! How a partition table is replaced so that no power cut leaves a disk without one.
//!
//! ```text
//! LBA 0   1        2 …        free         first partition …  state ──▶      │ end of the disk
//!    MBR │header│ entries │ · place B place A │                         │ entries │ header │
//!           4                   3                                            1        2
//! ```
//!
//! 1. and 2. The backup is written at the disk's end, and flushed. The primary table is the old one,
//!    and whole. If this overwrites the old backup, there is none for a moment; if it is written
//!    behind the old one, both are whole.
//! 3. The new entries are written where nothing refers to, and flushed.
//! 4. The primary header is written: one sector, which a disk writes whole or not at all. Before, it
//!    leads to the old entries, which nobody has touched; after, to the new ones, which are durable.
//! 5. The length in the protective MBR is corrected: one sector again, and no reader minds it.
//!
//! So the primary table is whole at every moment. It must be: Linux does not look for the backup
//! unless it is told `gpt` on its command line, and GRUB never does. The next replacement takes the
//! other of the two places. Where a board's firmware lies before the first MiB they are shorter.

use std::io;

use crate::device::gpt::{
    ENTRIES_MAX, ENTRY_LEN, Entry, Guid, Header, PRIMARY_LBA, ReadDisk, Table,
};

/// Partitions end at a multiple of this many bytes.
const ALIGNMENT: u64 = 1 << 20;
/// Where a protective MBR has the length of its only partition.
const MBR_LEN: std::ops::Range<usize> = 458..462;
/// What stands there for partition type and first sector.
const MBR_KIND_AT: usize = 450;
const MBR_KIND: u8 = 0xee;

/// Where new GUIDs come from.
pub struct Fresh<'a> {
    /// The GUID that the disk was given before; with it, nothing is given anew.
    pub known: Option<Guid>,
    /// Gives random bytes.
    pub random: &'a dyn Fn() -> io::Result<[u8; 16]>,
}

impl std::fmt::Debug for Fresh<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh").field("known", &self.known).finish_non_exhaustive()
    }
}

/// What is written, and what the state partition is then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The writes, in their order; none if the table is as it should be.
    pub steps: Vec<Step>,
    /// The disk's GUID.
    pub disk: Guid,
    /// The number of the state partition, as the kernel counts.
    pub index: u32,
    /// Its first sector.
    pub first: u64,
    /// Its last sector.
    pub last: u64,
}

impl Plan {
    /// The length of the state partition in bytes.
    #[must_use]
    pub const fn state_len(&self, sector_len: u64) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1).saturating_mul(sector_len)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes are written.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// What: whole sectors.
        bytes: Vec<u8>,
    },
    /// What was written is made durable.
    Flush,
}

/// Plans how the partition `label` of `disk` takes all that is behind it.
///
/// # Errors
/// [`PlanError`]: then the disk is not as a factory made it, and better left alone.
pub fn make<D: ReadDisk>(disk: &D, label: &str, fresh: &Fresh<'_>) -> Result<Plan, PlanError> {
    let sector_len = disk.sector_len();
    let last_lba = disk.sectors().checked_sub(1).ok_or(PlanError::NoTable)?;
    let old = Table::read_as_linux(disk).ok_or(PlanError::NoTable)?;
    let mut table = old.clone();
    let first_used = used(&old.entries).map(|entry| entry.first).min();
    let first_used = first_used.ok_or(PlanError::NoTable)?;
    let (place, size) = free_place(disk, &old, first_used)?;
    let count = size.saturating_mul(sector_len).checked_div(ENTRY_LEN as u64).unwrap_or(0);
    table.entries.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let last_usable = last_lba.checked_sub(size).and_then(|lba| lba.checked_sub(1));
    let last_usable = last_usable.ok_or(PlanError::NoTable)?;
    let end = used(&old.entries).map(|entry| entry.last).max().unwrap_or(0);
    if end > last_usable {
        return Err(PlanError::Shrunk { end, last: last_usable });
    }

    let mut labelled = table
        .entries
        .iter_mut()
        .zip(1u32..)
        .filter(|(entry, _)| entry.is_used() && entry.label() == label);
    let (Some((state, index)), None) = (labelled.next(), labelled.next()) else {
        return Err(PlanError::NoState { label: label.to_owned() });
    };
    if state.last != end {
        return Err(PlanError::NotLast { label: label.to_owned() });
    }
    let unit = ALIGNMENT.checked_div(sector_len).unwrap_or(1).max(1);
    let ends = last_usable.saturating_add(1);
    let aligned = ends.saturating_sub(ends.checked_rem(unit).unwrap_or(0)).saturating_sub(1);
    state.last = state.last.max(aligned);
    let (first, last) = (state.first, state.last);

    table.header.disk = rename(&mut table, fresh)?;
    table.header = Header {
        lba: PRIMARY_LBA,
        other_lba: last_lba,
        first_usable: first_used,
        last_usable,
        count: u32::try_from(table.entries.len()).unwrap_or(ENTRIES_MAX),
        entries_crc: crc32fast::hash(&table.encode_entries()),
        ..table.header
    };
    let is_done = Table::read(disk, PRIMARY_LBA).is_some_and(|primary| {
        let entries_lba = primary.header.entries_lba;
        primary == Table { header: Header { entries_lba, ..table.header }, ..table.clone() }
    });
    let steps = if is_done { Vec::new() } else { steps(disk, &table, place, size)? };
    Ok(Plan { steps, disk: table.header.disk, index, first, last })
}

fn used(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.is_used())
}

/// Gives every partition a GUID of its own, and the disk; but not the EFI system partition, which
/// the firmware may know by its GUID.
fn rename(table: &mut Table, fresh: &Fresh<'_>) -> Result<Guid, PlanError> {
    if fresh.known == Some(table.header.disk) {
        return Ok(table.header.disk);
    }
    let guid = || (fresh.random)().map(Guid::from_random);
    let random = |cause| PlanError::Random { cause };
    for entry in table.entries.iter_mut().filter(|it| it.is_used() && it.kind != Guid::ESP) {
        entry.guid = guid().map_err(random)?;
    }
    guid().map_err(random)
}

/// Where the new entries can lie, and how many sectors they take there: right before the first
/// partition, and not where the old ones do. Where a board's firmware leaves less room than they take,
/// there may be fewer, as long as none is lost that is used.
fn free_place<D: ReadDisk>(
    disk: &D,
    old: &Table,
    first_used: u64,
) -> Result<(u64, u64), PlanError> {
    let sector_len = disk.sector_len();
    let size = old.header.entries_sectors(sector_len);
    let current = match Table::read(disk, PRIMARY_LBA) {
        Some(primary) => {
            let begin = primary.header.entries_lba;
            begin..begin.saturating_add(primary.header.entries_sectors(sector_len))
        }
        // Nothing is referred to in front, so nothing there is in the way.
        None => 0..0,
    };
    let begin = PRIMARY_LBA.saturating_add(1);
    let overlaps = |place: u64| place < current.end && current.start < place.saturating_add(size);
    let places = [1, 2].map(|count| first_used.checked_sub(size.saturating_mul(count)));
    let whole = places.into_iter().flatten().find(|&it| it >= begin && !overlaps(it));
    let gaps = [current.end.max(begin)..first_used, begin..current.start.min(first_used)];
    let largest = gaps.into_iter().max_by_key(|gap| gap.end.saturating_sub(gap.start));
    let needed = old.entries.iter().rposition(Entry::is_used).map_or(0, |last| last + 1);
    let needed = (needed as u64).saturating_mul(ENTRY_LEN as u64).div_ceil(sector_len);
    let (place, size) = match (whole, largest) {
        (Some(place), _) => (place, size),
        (None, Some(gap)) if gap.end.saturating_sub(gap.start) >= needed => {
            (gap.start, gap.end.saturating_sub(gap.start).min(size))
        }
        _ => return Err(PlanError::NoRoom { first: first_used }),
    };
    let len = usize::try_from(size.saturating_mul(sector_len)).unwrap_or(0);
    let mut bytes = vec![0; len];
    let offset = place.saturating_mul(sector_len);
    disk.read_at(offset, &mut bytes).map_err(|cause| PlanError::Read { lba: place, cause })?;
    let is_ours = bytes.iter().all(|&byte| byte == 0) || are_entries_of(&bytes, old);
    if is_ours { Ok((place, size)) } else { Err(PlanError::InUse { lba: place, sectors: size }) }
}

/// Whether `bytes` are entries of this disk, of a table before this one, cut short or whole: where
/// there is an entry it begins and is called as one of ours.
fn are_entries_of(bytes: &[u8], table: &Table) -> bool {
    let named = |entry: &Entry| (entry.first, entry.label());
    Entry::decode_all(bytes)
        .iter()
        .filter(|entry| entry.is_used())
        .all(|entry| used(&table.entries).any(|ours| named(ours) == named(entry)))
}

fn steps<D: ReadDisk>(
    disk: &D,
    table: &Table,
    place: u64,
    size: u64,
) -> Result<Vec<Step>, PlanError> {
    let sector_len = disk.sector_len();
    let mut entries = table.encode_entries();
    let len = usize::try_from(size.saturating_mul(sector_len)).unwrap_or(0);
    entries.resize(len.max(entries.len()), 0);
    let write = |lba: u64, bytes| Step::Write { offset: lba.saturating_mul(sector_len), bytes };
    let last_lba = table.header.other_lba;
    let backup_place = last_lba.saturating_sub(size);
    let primary = Header { entries_lba: place, ..table.header };
    let backup =
        Header { lba: last_lba, other_lba: PRIMARY_LBA, entries_lba: backup_place, ..table.header };
    let mut steps = vec![
        write(backup_place, entries.clone()),
        write(last_lba, backup.encode(sector_len)),
        Step::Flush,
        write(place, entries),
        Step::Flush,
        write(PRIMARY_LBA, primary.encode(sector_len)),
        Step::Flush,
    ];
    if let Some(mbr) = corrected_mbr(disk, last_lba)? {
        steps.extend([write(0, mbr), Step::Flush]);
    }
    Ok(steps)
}

/// The protective MBR with the length of this disk, if it has another.
fn corrected_mbr<D: ReadDisk>(disk: &D, last_lba: u64) -> Result<Option<Vec<u8>>, PlanError> {
    let mut mbr = vec![0; usize::try_from(disk.sector_len()).unwrap_or(0)];
    disk.read_at(0, &mut mbr).map_err(|cause| PlanError::Read { lba: 0, cause })?;
    let len = u32::try_from(last_lba).unwrap_or(u32::MAX).to_le_bytes();
    if mbr.get(MBR_KIND_AT) != Some(&MBR_KIND) || mbr.get(MBR_LEN) == Some(&len) {
        return Ok(None);
    }
    if let Some(room) = mbr.get_mut(MBR_LEN) {
        room.copy_from_slice(&len);
    }
    Ok(Some(mbr))
}

/// Why a table is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is none that is whole.
    #[error("the disk has no partition table that is whole")]
    NoTable,
    /// The partition is missing, or there twice.
    #[error("the disk has not exactly one partition {label}")]
    NoState {
        /// Its label.
        label: String,
    },
    /// Another partition is behind it.
    #[error("{label} is not the last partition of the disk")]
    NotLast {
        /// Its label.
        label: String,
    },
    /// The table was made for a longer disk.
    #[error("partitions end at sector {end}, but this disk has room up to {last}")]
    Shrunk {
        /// Where the last partition ends.
        end: u64,
        /// The last sector that it could have.
        last: u64,
    },
    /// There is no room for new entries.
    #[error(
        "no room for partition entries before sector {first}, where the first partition begins"
    )]
    NoRoom {
        /// Where it begins.
        first: u64,
    },
    /// Something lies there.
    #[error("sectors {lba} to {} before the first partition are in use", lba + sectors - 1)]
    InUse {
        /// The first of them.
        lba: u64,
        /// How many they are.
        sectors: u64,
    },
    /// Something cannot be read.
    #[error("cannot read sector {lba}: {cause}")]
    Read {
        /// Which.
        lba: u64,
        /// What the system says.
        cause: io::Error,
    },
    /// There are no random numbers.
    #[error("cannot get random bytes: {cause}")]
    Random {
        /// What the system says.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests;
