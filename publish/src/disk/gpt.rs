//! A GUID partition table: the protective MBR, both headers and both arrays of entries.
//!
//! Source: UEFI specification 2.10, sections 5.2 and 5.3.

use std::fmt;

use gybe_core::digest::{Digest, Hasher};

/// Length of a sector.
pub(super) const SECTOR_LEN: u64 = SECTOR as u64;
/// The same, for bytes in memory.
pub(super) const SECTOR: usize = 512;

/// What the table takes at the front: LBA 0 to 33.
pub(super) const TABLE_LEN: u64 = (2 + ENTRIES_SECTORS) * SECTOR_LEN;

/// Length of the array of entries.
pub(super) const ENTRIES_LEN: u64 = ENTRIES_SECTORS * SECTOR_LEN;

/// Everything in front of the first partition. What is behind the table stays free, so that a device can
/// put another array there and go over to it with one sector.
pub(super) const FRONT_LEN: u64 = 1 << 20;

/// What the second table takes at the end of the disk, filled up to a whole mebibyte.
pub(super) const BACK_LEN: u64 = 1 << 20;

const ENTRY_COUNT: u32 = 128;
const ENTRY_LEN: u32 = 128;
const ENTRIES_LBA: u64 = 2;
const ENTRIES_SECTORS: u64 = 32;
const HEADER_LEN: u32 = 92;
const NAME_LEN_MAX: usize = 36;

/// Length of the boot code in the first sector.
pub(super) const BOOT_CODE_LEN: usize = 440;

/// The loader of a legacy BIOS is to look here; U-Boot looks for its script in such a partition.
const BOOTABLE: u64 = 1 << 2;

/// A GUID, in the order of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guid(pub(super) [u8; 16]);

impl Guid {
    pub(super) const ESP: Self =
        Self(*b"\xc1\x2a\x73\x28\xf8\x1f\x11\xd2\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b");
    /// Its text is `!HahIdontNeedEFI`, in the order in which it is stored.
    pub(super) const BIOS_BOOT: Self =
        Self(*b"\x21\x68\x61\x48\x64\x49\x6e\x6f\x74\x4e\x65\x65\x64\x45\x46\x49");
    /// Nobody's to use.
    pub(super) const RESERVED: Self =
        Self(*b"\x8d\xa6\x33\x39\x00\x07\x60\xc0\xc4\x36\x08\x3a\xc8\x23\x09\x08");
    pub(super) const LINUX: Self =
        Self(*b"\x0f\xc6\x3d\xaf\x84\x83\x47\x72\x8e\x79\x3d\x69\xd8\x47\x7d\xe4");

    /// The same for the same release and name: a random one would make each disk another image. A
    /// GUID of version 8 (RFC 9562).
    pub(super) fn derived(release: &Digest, name: &str) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(b"gybe-disk-v1\0");
        hasher.update(release.as_bytes());
        hasher.update(name.as_bytes());
        let digest = hasher.finish();
        let mut bytes = *digest.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]);
        bytes[6] = 0x80 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Self(bytes)
    }

    /// The first three fields are stored as little-endian numbers.
    const fn stored(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.0;
        let [i, j, k, l, m, n, o, p] = rest;
        [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// A partition, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) kind: Guid,
    pub(super) guid: Guid,
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) bootable: bool,
}

/// What belongs to the front of a disk of `disk_len` bytes and what to its end, where it begins
/// `back.len()` bytes before the end. `boot_code` is what a legacy BIOS runs.
pub(super) fn tables(
    disk_len: u64,
    disk: Guid,
    entries: &[Entry],
    boot_code: &[u8; BOOT_CODE_LEN],
) -> (Vec<u8>, Vec<u8>) {
    let sectors = disk_len / SECTOR_LEN;
    let last = sectors.saturating_sub(1);
    let mut array: Vec<u8> = entries.iter().flat_map(stored).collect();
    array.resize((ENTRY_COUNT * ENTRY_LEN) as usize, 0);
    let back_at = last.saturating_sub(ENTRIES_SECTORS);
    // Firmware may lie in front of all that others may use.
    let first = entries.iter().map(|entry| entry.start).min().unwrap_or(FRONT_LEN).min(FRONT_LEN);
    let usable = (first / SECTOR_LEN, back_at.saturating_sub(1));
    let header = |own: u64, other: u64, entries_at: u64| {
        header([own, other, entries_at], usable, disk, &array)
    };
    let mut front = protective_mbr(sectors, boot_code);
    front.extend(header(1, last, ENTRIES_LBA));
    front.extend(&array);
    let back_header = header(last, 1, back_at);
    let mut back = array;
    back.extend(back_header);
    (front, back)
}

fn protective_mbr(sectors: u64, boot_code: &[u8; BOOT_CODE_LEN]) -> Vec<u8> {
    let mut bytes = boot_code.to_vec();
    bytes.resize(446, 0);
    bytes.extend([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX).to_le_bytes());
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes
}

fn header(
    [own, other, entries_at]: [u64; 3],
    (first, last): (u64, u64),
    disk: Guid,
    array: &[u8],
) -> Vec<u8> {
    let fields = |checksum: u32| {
        let mut bytes = b"EFI PART\x00\x00\x01\x00".to_vec();
        bytes.extend(HEADER_LEN.to_le_bytes());
        bytes.extend(checksum.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(own.to_le_bytes());
        bytes.extend(other.to_le_bytes());
        bytes.extend(first.to_le_bytes());
        bytes.extend(last.to_le_bytes());
        bytes.extend(disk.stored());
        bytes.extend(entries_at.to_le_bytes());
        bytes.extend(ENTRY_COUNT.to_le_bytes());
        bytes.extend(ENTRY_LEN.to_le_bytes());
        bytes.extend(crc32fast::hash(array).to_le_bytes());
        bytes
    };
    let mut bytes = fields(crc32fast::hash(&fields(0)));
    bytes.resize(SECTOR, 0);
    bytes
}

fn stored(entry: &Entry) -> Vec<u8> {
    let mut bytes = entry.kind.stored().to_vec();
    bytes.extend(entry.guid.stored());
    bytes.extend((entry.start / SECTOR_LEN).to_le_bytes());
    let end = entry.start.saturating_add(entry.len).div_ceil(SECTOR_LEN);
    bytes.extend(end.saturating_sub(1).to_le_bytes());
    bytes.extend((if entry.bootable { BOOTABLE } else { 0 }).to_le_bytes());
    bytes.extend(entry.name.encode_utf16().take(NAME_LEN_MAX).flat_map(u16::to_le_bytes));
    bytes.resize(ENTRY_LEN as usize, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_stored_as_the_specification_has_it() {
        // UEFI specification 2.10, appendix A.
        assert_eq!(Guid::ESP.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(Guid::ESP.stored()[..8], *b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11");
        assert_eq!(Guid::BIOS_BOOT.stored(), *b"Hah!IdontNeedEFI");
    }

    #[test]
    fn another_release_or_name_is_another_guid() {
        let [one, two] = [&b"1"[..], b"2"].map(Digest::of);
        let guid = Guid::derived(&one, "state");
        assert_eq!(guid, Guid::derived(&one, "state"));
        assert_ne!(guid, Guid::derived(&two, "state"));
        assert_ne!(guid, Guid::derived(&one, "esp"));
        assert_eq!((guid.0[6] >> 4, guid.0[8] >> 6), (8, 2));
    }

    #[test]
    fn both_tables_have_the_same_entries_and_point_at_each_other() {
        let guid = Guid([1; 16]);
        let (start, len) = (FRONT_LEN, 1 << 20);
        let entry = Entry { name: "state", kind: Guid::LINUX, guid, start, len, bootable: true };
        let (front, back) = tables(4 << 20, guid, &[entry], &[0x90; BOOT_CODE_LEN]);
        assert_eq!((front.len(), back.len()), (34 * 512, 33 * 512));
        assert_eq!(front[1024..], back[..32 * 512]);
        let (first, last) = (&front[512..1024], &back[32 * 512..]);
        assert_eq!(first[24..40], [1_u64.to_le_bytes(), 8191_u64.to_le_bytes()].concat());
        assert_eq!(last[24..40], [8191_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
        assert_eq!(last[72..80], 8159_u64.to_le_bytes(), "its array lies in front of it");
        assert_eq!(front[1024 + 48..1024 + 56], 4_u64.to_le_bytes(), "bootable");
    }
}
