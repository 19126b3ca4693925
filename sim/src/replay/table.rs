//! The partitions that a loader looks at, found by their names in a GUID partition table.
//!
//! Source: UEFI Specification 2.10, section 5.3. Tables with sectors of 512 bytes.

use std::io;

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::slot::{PerSlot, Slot};

use super::disk::{Disk, Part};
use crate::fat::ReadAt as _;

const SECTOR_LEN: u64 = 512;
const MAGIC: &[u8; 8] = b"EFI PART";
const ENTRY_LEN: usize = 128;
const NAME_AT: usize = 56;
const ENTRIES_MAX: u32 = 128;
const HEADER_LEN: usize = 92;
const HEADER_CRC: std::ops::Range<usize> = 16..20;
/// Where the first partition begins: the table and what takes its place lie before it.
pub(super) const TABLE_END: u64 = 1 << 20;

/// Why a disk has not the partitions of ours.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The disk cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// There is no table.
    #[error("has no GUID partition table with entries of 128 bytes")]
    NoTable,
    /// There is one, and it is not whole.
    #[error("has a damaged partition table")]
    Damaged,
    /// A partition is missing.
    #[error("has no partition {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A partition does not begin and end at a whole block.
    #[error("partition {name} does not begin and end at a multiple of 4096 bytes")]
    Crooked {
        /// Its name.
        name: String,
    },
}

/// Begin and length of a partition, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) len: u64,
}

impl Place {
    pub(super) fn on(self, disk: &Disk) -> Part<'_> {
        Part { disk, at: self.at, len: self.len }
    }
}

/// The partitions that decide what boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) environment: Place,
    pub(super) boot: PerSlot<Place>,
    pub(super) root: PerSlot<Place>,
}

impl Table {
    pub(super) fn read(disk: &Disk) -> Result<Self, TableError> {
        let whole = Part { disk, at: 0, len: disk.len()? };
        let mut header = [0; 512];
        whole.read_at(&mut header, SECTOR_LEN)?;
        let header = header.get(..HEADER_LEN).unwrap_or_default();
        let number = |at: usize| {
            header
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        // Of the first entry's place only the lower half: nobody puts it beyond 2 TiB.
        let (first, count, len) = (number(72), number(80), number(84));
        if !header.starts_with(MAGIC) || len != 128 || count > ENTRIES_MAX {
            return Err(TableError::NoTable);
        }
        let mut checked = header.to_vec();
        checked.get_mut(HEADER_CRC).into_iter().for_each(|crc| crc.fill(0));
        if crc32fast::hash(&checked) != number(HEADER_CRC.start) {
            return Err(TableError::Damaged);
        }
        let mut entries = vec![[0; ENTRY_LEN]; usize::try_from(count).unwrap_or(0)];
        whole.read_at(entries.as_flattened_mut(), u64::from(first).saturating_mul(SECTOR_LEN))?;
        if crc32fast::hash(entries.as_flattened()) != number(88) {
            return Err(TableError::Damaged);
        }
        let find = |name: String| {
            let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
            let is_it = |entry: &&[u8; ENTRY_LEN]| {
                entry.get(NAME_AT..).is_some_and(|found| found.starts_with(&wide))
            };
            match entries.iter().find(is_it).and_then(place) {
                None => Err(TableError::Missing { name }),
                Some(Place { at, len }) if at % BLOCK_LEN_U64 != 0 || len % BLOCK_LEN_U64 != 0 => {
                    Err(TableError::Crooked { name })
                }
                Some(place) => Ok(place),
            }
        };
        let per_slot = |name: &str| {
            let place = |slot: Slot| find(format!("{name}_{slot}"));
            Ok::<_, TableError>(PerSlot { a: place(Slot::A)?, b: place(Slot::B)? })
        };
        Ok(Self {
            environment: find("gybe_env".to_owned())?,
            boot: per_slot("boot")?,
            root: per_slot("root")?,
        })
    }
}

fn place(entry: &[u8; ENTRY_LEN]) -> Option<Place> {
    let number = |at: usize| Some(u64::from_le_bytes(*entry.get(at..)?.first_chunk()?));
    let (first, last) = (number(32)?, number(40)?);
    let count = last.checked_sub(first)?.checked_add(1)?;
    Some(Place { at: first.checked_mul(SECTOR_LEN)?, len: count.checked_mul(SECTOR_LEN)? })
}
