//! Which file system a stick has: only few are mounted, and none by guessing.
//!
//! Sources: Microsoft's FAT and exFAT specifications (boot sector); Linux
//! `Documentation/filesystems/ext4/super.rst`; ECMA-119, 8.1; read 2026-11.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// A file system that is mounted from a stick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// exFAT.
    ExFat,
    /// ext2, ext3 or ext4.
    Ext,
    /// ISO 9660.
    Iso,
}

/// Where ext has its magic number.
const EXT_MAGIC: (u64, [u8; 2]) = (1024 + 56, [0x53, 0xef]);
/// Where ISO 9660 has the name of its standard.
const ISO_MAGIC: (u64, [u8; 5]) = (16 * 2048 + 1, *b"CD001");
/// Where exFAT has its name.
const EXFAT_MAGIC: (u64, [u8; 8]) = (3, *b"EXFAT   ");
/// Where a boot sector ends.
const BOOT_MAGIC: (u64, [u8; 2]) = (510, [0x55, 0xaa]);
/// Where FAT12 and FAT16, and FAT32, have their names.
const FAT_MAGIC: [(u64, [u8; 3]); 2] = [(54, *b"FAT"), (82, *b"FAT")];

impl FileSystem {
    /// The file system on `device`, if it is one of these.
    ///
    /// # Errors
    /// What the medium says.
    pub fn of(device: &File) -> io::Result<Option<Self>> {
        if has(device, EXT_MAGIC)? {
            return Ok(Some(Self::Ext));
        }
        if has(device, BOOT_MAGIC)? {
            if has(device, EXFAT_MAGIC)? {
                return Ok(Some(Self::ExFat));
            }
            for magic in FAT_MAGIC {
                if has(device, magic)? {
                    return Ok(Some(Self::Fat));
                }
            }
        }
        Ok(has(device, ISO_MAGIC)?.then_some(Self::Iso))
    }

    /// What the kernel calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat => "vfat",
            Self::ExFat => "exfat",
            Self::Ext => "ext4",
            Self::Iso => "iso9660",
        }
    }

    /// How it is mounted, so that nothing is written to it: a journal is not replayed.
    #[must_use]
    pub const fn options(self) -> &'static str {
        match self {
            Self::Ext => "noload",
            Self::Fat | Self::ExFat | Self::Iso => "",
        }
    }
}

fn has<const LEN: usize>(device: &File, (at, magic): (u64, [u8; LEN])) -> io::Result<bool> {
    let mut found = [0; LEN];
    match device.read_exact_at(&mut found, at) {
        Ok(()) => Ok(found == magic),
        // A medium that is shorter has none.
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands where.
    type Marks<'m> = &'m [(u64, &'m [u8])];

    fn device(marks: Marks<'_>) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 * 1024).unwrap();
        for (at, bytes) in marks {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    #[test]
    fn a_file_system_is_known_by_its_magic_or_not_at_all() {
        let boot: (u64, &[u8]) = (510, &[0x55, 0xaa]);
        let cases: [(Marks<'_>, Option<FileSystem>); 8] = [
            (&[(1080, &[0x53, 0xef])], Some(FileSystem::Ext)),
            (&[boot, (3, b"EXFAT   ")], Some(FileSystem::ExFat)),
            (&[boot, (54, b"FAT16   ")], Some(FileSystem::Fat)),
            (&[boot, (82, b"FAT32   ")], Some(FileSystem::Fat)),
            (&[(32769, b"CD001")], Some(FileSystem::Iso)),
            // A partition table, and a name without the end of a boot sector.
            (&[boot], None),
            (&[(82, b"FAT32   ")], None),
            (&[], None),
        ];
        for (marks, expected) in cases {
            assert_eq!(FileSystem::of(&device(marks)).unwrap(), expected, "{marks:?}");
        }
        assert_eq!(FileSystem::of(&tempfile::tempfile().unwrap()).unwrap(), None);
    }
}
