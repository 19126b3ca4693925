//! Reads files from the root folder of a FAT, as far as a played loader needs it.
//!
//! Only what Gybe's own disks have: files with a short name, and each file in one piece.
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Length of a boot sector as far as it is looked at, and of a directory entry.
const BOOT_SECTOR_LEN: usize = 512;
const ENTRY_LEN: usize = 32;
/// How much of the root folder is searched.
const ROOT_LEN: usize = 4096;
/// Attributes of an entry that is a volume label or part of a long name.
const VOLUME: u8 = 0x08;

/// What a FAT lies in: a file, or a part of something.
pub(crate) trait ReadAt {
    /// Reads from `at` on until `bytes` is full or the image ends, and says how much that was.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, at)
    }
}

/// Where the pieces of a FAT lie, in bytes.
pub(crate) struct Fat<'a, I> {
    image: &'a I,
    root_at: u64,
    data_at: u64,
    cluster_len: u64,
}

/// A file's place in the image, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

impl<'a, I: ReadAt> Fat<'a, I> {
    /// The FAT in `image`, or `None` when it does not begin with a boot sector.
    pub(crate) fn open(image: &'a I) -> io::Result<Option<Self>> {
        let mut sector = [0; BOOT_SECTOR_LEN];
        if image.read_at(&mut sector, 0)? < sector.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self::parse(image, &sector))
    }

    fn parse(image: &'a I, sector: &[u8; BOOT_SECTOR_LEN]) -> Option<Self> {
        let [0xeb | 0xe9, .., 0x55, 0xaa] = *sector else { return None };
        let sector_len = u64::from(u16_at(sector, 11)?);
        let cluster_len = u64::from(*sector.get(13)?).checked_mul(sector_len)?;
        let table_at = u64::from(u16_at(sector, 14)?).checked_mul(sector_len)?;
        let table_count = u64::from(*sector.get(16)?);
        let root_len = u64::from(u16_at(sector, 17)?).checked_mul(ENTRY_LEN.try_into().ok()?)?;
        let table_len = match u16_at(sector, 22)? {
            0 => u64::from(u32_at(sector, 36)?),
            len => u64::from(len),
        };
        let tables_len = table_len.checked_mul(sector_len)?.checked_mul(table_count)?;
        let root_at = table_at.checked_add(tables_len)?;
        let data_at = root_at.checked_add(root_len.next_multiple_of(sector_len.max(1)))?;
        let fat = Self { image, root_at, data_at, cluster_len };
        if root_len != 0 {
            return Some(fat);
        }
        // FAT32 keeps its root folder among the files.
        let root_at = fat.cluster_at(u32_at(sector, 44)?)?;
        Some(Self { root_at, ..fat })
    }

    /// Where the file with this short name lies: 8 and 3 upper case letters, filled with spaces.
    pub(crate) fn find(&self, name: &[u8; 11]) -> io::Result<Option<Place>> {
        let mut root = [0; ROOT_LEN];
        let len = self.image.read_at(&mut root, self.root_at)?;
        let root = root.get(..len).unwrap_or_default();
        let mut entries = root.as_chunks::<ENTRY_LEN>().0.iter();
        let entry = entries.find(|entry| {
            entry.starts_with(name)
                && entry.get(11).is_some_and(|attribute| attribute & VOLUME == 0)
        });
        Ok(entry.and_then(|entry| {
            let (high, low) = (u16_at(entry, 20)?, u16_at(entry, 26)?);
            let at = self.cluster_at(u32::from(high) << 16 | u32::from(low))?;
            Some(Place { at, len: u64::from(u32_at(entry, 28)?) })
        }))
    }

    fn cluster_at(&self, cluster: u32) -> Option<u64> {
        let index = u64::from(cluster).checked_sub(2)?;
        index.checked_mul(self.cluster_len)?.checked_add(self.data_at)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
