//! GUID partition tables: read as Linux reads them, and encoded to be written.
//!
//! Source: UEFI specification 2.10, section 5.3, and Linux `block/partitions/efi.c`, read 2026-11.
//! All numbers are little-endian. Positions are in logical sectors of 512 or 4096 bytes.
//!
//! ```text
//! LBA 0    protective MBR
//!     1    primary header ──▶ entries, usually at LBA 2
//!     …    partitions
//!     last backup header ──▶ entries, usually just before it
//! ```

use std::fmt;

/// Which sector lengths there are.
pub const SECTOR_LENS: [u64; 2] = [512, 4096];
/// Most entries a table may have: what `sgdisk` and `sfdisk` make is 128.
pub const ENTRIES_MAX: u32 = 1024;
/// Length of an entry. The specification allows longer ones, and nobody makes them.
pub const ENTRY_LEN: usize = ENTRY_LEN_FIELD as usize;
const ENTRY_LEN_FIELD: u32 = 128;
/// The longest array of entries, in bytes.
pub const ENTRIES_LEN_MAX: u64 = 128 * 1024;
/// Where the primary header lies.
pub const PRIMARY_LBA: u64 = 1;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
const HEADER_LEN_FIELD: u32 = 92;
const HEADER_LEN: usize = HEADER_LEN_FIELD as usize;
const HEADER_CRC: std::ops::Range<usize> = 16..20;
const NAME: std::ops::Range<usize> = 56..128;

const _: () = assert!(ENTRIES_MAX as u64 * ENTRY_LEN as u64 == ENTRIES_LEN_MAX);

/// A GUID as it lies on the disk: the first three fields are little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

/// The order in which a GUID's bytes are written in text.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// The type of an entry that is not used.
    pub const UNUSED: Self = Self([0; 16]);
    /// The type of an EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
    pub const ESP: Self = Self([
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9,
        0x3b,
    ]);

    /// A GUID in text, with hyphens, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('-').map(str::len).collect();
        if parts != [8, 4, 4, 4, 12] {
            return None;
        }
        let hex: Vec<u8> = text.bytes().filter(|&byte| byte != b'-').collect();
        let mut guid = Self::default();
        for (pair, &at) in hex.chunks_exact(2).zip(&TEXT_ORDER) {
            let pair = std::str::from_utf8(pair).ok()?;
            let byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.contains('+'))?;
            *guid.0.get_mut(at)? = byte;
        }
        Some(guid)
    }

    /// A random GUID of version 4 from 16 random bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[7] = (bytes[7] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &at) in TEXT_ORDER.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(at).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}

/// A header, without what follows from where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where it lies.
    pub lba: u64,
    /// Where the other one lies.
    pub other_lba: u64,
    /// The first sector that a partition may have.
    pub first_usable: u64,
    /// The last one.
    pub last_usable: u64,
    /// The disk's own GUID.
    pub disk: Guid,
    /// Where the entries lie.
    pub entries_lba: u64,
    /// How many there are.
    pub count: u32,
    /// The CRC-32 of all of them.
    pub entries_crc: u32,
}

impl Header {
    /// Reads the header that lies at `lba`; `None` unless it is whole and says so of itself.
    #[must_use]
    pub fn decode(sector: &[u8], lba: u64) -> Option<Self> {
        let header = sector.get(..HEADER_LEN)?;
        let mut unsealed = header.to_vec();
        unsealed.get_mut(HEADER_CRC)?.fill(0);
        let right = header.starts_with(SIGNATURE)
            && u32_at(header, 8)? == REVISION
            && u32_at(header, 12)? == HEADER_LEN_FIELD
            && u32_at(header, HEADER_CRC.start)? == crc32fast::hash(&unsealed)
            && u64_at(header, 24)? == lba
            && u32_at(header, 84)? == ENTRY_LEN_FIELD
            && (1..=ENTRIES_MAX).contains(&u32_at(header, 80)?);
        if !right {
            return None;
        }
        Some(Self {
            lba,
            other_lba: u64_at(header, 32)?,
            first_usable: u64_at(header, 40)?,
            last_usable: u64_at(header, 48)?,
            disk: Guid(*header.get(56..)?.first_chunk()?),
            entries_lba: u64_at(header, 72)?,
            count: u32_at(header, 80)?,
            entries_crc: u32_at(header, 88)?,
        })
    }

    /// The sector that holds it.
    #[must_use]
    pub fn encode(&self, sector_len: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend(SIGNATURE);
        header.extend(REVISION.to_le_bytes());
        header.extend(HEADER_LEN_FIELD.to_le_bytes());
        header.extend([0; 8]); // checksum, reserved
        for number in [self.lba, self.other_lba, self.first_usable, self.last_usable] {
            header.extend(number.to_le_bytes());
        }
        header.extend(self.disk.0);
        header.extend(self.entries_lba.to_le_bytes());
        header.extend(self.count.to_le_bytes());
        header.extend(ENTRY_LEN_FIELD.to_le_bytes());
        header.extend(self.entries_crc.to_le_bytes());
        let crc = crc32fast::hash(&header).to_le_bytes();
        if let Some(room) = header.get_mut(HEADER_CRC) {
            room.copy_from_slice(&crc);
        }
        header.resize(usize::try_from(sector_len).unwrap_or(HEADER_LEN), 0);
        header
    }

    /// How many sectors the entries take.
    #[must_use]
    pub fn entries_sectors(&self, sector_len: u64) -> u64 {
        u64::from(self.count).saturating_mul(ENTRY_LEN as u64).div_ceil(sector_len)
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub kind: Guid,
    /// Its own GUID: `PARTUUID`.
    pub guid: Guid,
    /// Its first sector.
    pub first: u64,
    /// Its last sector.
    pub last: u64,
    /// Flags, kept as they are.
    attributes: [u8; 8],
    /// Its label, kept as it is.
    name: [u8; 72],
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: Guid(*bytes.first_chunk()?),
            guid: Guid(*bytes.get(16..)?.first_chunk()?),
            first: u64_at(bytes, 32)?,
            last: u64_at(bytes, 40)?,
            attributes: *bytes.get(48..)?.first_chunk()?,
            name: *bytes.get(NAME)?.first_chunk()?,
        })
    }

    /// The entries in `bytes`, as far as they are whole.
    #[must_use]
    pub fn decode_all(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(ENTRY_LEN).filter_map(Self::decode).collect()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.kind.0);
        out.extend(self.guid.0);
        out.extend(self.first.to_le_bytes());
        out.extend(self.last.to_le_bytes());
        out.extend(self.attributes);
        out.extend(self.name);
    }

    /// Whether there is a partition.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.kind != Guid::UNUSED
    }

    /// Its label.
    #[must_use]
    pub fn label(&self) -> String {
        let units = self.name.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        let units = units.take_while(|&unit| unit != 0);
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

/// A whole table: a header, and its entries. Entry `n` is partition `n + 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The header it was read through.
    pub header: Header,
    /// All entries, used or not.
    pub entries: Vec<Entry>,
}

impl Table {
    /// Reads the table whose header lies at `lba`; `None` unless both are whole and lie on the disk.
    pub fn read<D: ReadDisk + ?Sized>(disk: &D, lba: u64) -> Option<Self> {
        let sector_len = disk.sector_len();
        let header = Header::decode(&read(disk, lba, sector_len)?, lba)?;
        let len = u64::from(header.count).checked_mul(ENTRY_LEN as u64)?;
        let last_lba = disk.sectors().checked_sub(1)?;
        // As Linux does: what reaches beyond the disk is no table of this disk.
        if header.last_usable > last_lba || header.first_usable > header.last_usable {
            return None;
        }
        let bytes = read(disk, header.entries_lba, len)?;
        if crc32fast::hash(&bytes) != header.entries_crc {
            return None;
        }
        let entries = bytes.chunks_exact(ENTRY_LEN).map(Entry::decode).collect::<Option<_>>()?;
        Some(Self { header, entries })
    }

    /// Reads the table as Linux does: the primary one, or else the backup at the end of the disk.
    pub fn read_as_linux<D: ReadDisk + ?Sized>(disk: &D) -> Option<Self> {
        let last = disk.sectors().checked_sub(1)?;
        Self::read(disk, PRIMARY_LBA).or_else(|| Self::read(disk, last))
    }

    /// The bytes of all entries.
    #[must_use]
    pub fn encode_entries(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in &self.entries {
            entry.encode(&mut bytes);
        }
        bytes
    }

    /// The number of the partition with this GUID, as the kernel counts.
    #[must_use]
    pub fn number_of(&self, guid: Guid) -> Option<u32> {
        let at = self.entries.iter().position(|it| it.is_used() && it.guid == guid)?;
        u32::try_from(at).ok()?.checked_add(1)
    }
}

/// A disk that can be read.
pub trait ReadDisk {
    /// Length of a logical sector.
    fn sector_len(&self) -> u64;
    /// How many there are.
    fn sectors(&self) -> u64;
    /// Fills `bytes` from `offset`, in bytes.
    ///
    /// # Errors
    /// What the medium says.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()>;
}

fn read<D: ReadDisk + ?Sized>(disk: &D, lba: u64, len: u64) -> Option<Vec<u8>> {
    let offset = lba.checked_mul(disk.sector_len())?;
    let end = offset.checked_add(len)?;
    if len > ENTRIES_LEN_MAX || end > disk.sectors().checked_mul(disk.sector_len())? {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    disk.read_at(offset, &mut bytes).ok()?;
    Some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(crate) mod tests;
