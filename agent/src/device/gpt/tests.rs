//! Tables that `sfdisk` makes are read, and damaged ones are not.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// A disk in memory.
pub(crate) struct Bytes {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sector_len: u64,
}

impl ReadDisk for Bytes {
    fn sector_len(&self) -> u64 {
        self.sector_len
    }

    fn sectors(&self) -> u64 {
        self.bytes.len() as u64 / self.sector_len
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }
}

/// A disk of `len` bytes as `sfdisk` partitions it.
pub(crate) fn made_by_sfdisk(len: u64, script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(len).unwrap();
    fs::write(folder.path().join("script"), script).unwrap();
    let script = File::open(folder.path().join("script")).unwrap();
    let sfdisk = "/sbin/sfdisk";
    let made = Command::new(sfdisk).arg("--quiet").arg(&path).stdin(script).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = File::open(&path).unwrap();
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

pub(crate) const SCRIPT: &str = "label: gpt\n\
    label-id: 11111111-2222-3333-4444-555555555555\nfirst-lba: 2048\n\
    start=2048, size=2048, type=U, name=esp, uuid=aaaaaaaa-0000-0000-0000-000000000001\n\
    start=4096, size=4096, name=root_a, uuid=aaaaaaaa-0000-0000-0000-000000000002\n\
    start=8192, size=4096, name=state, uuid=aaaaaaaa-0000-0000-0000-000000000003\n";

#[test]
fn a_table_that_sfdisk_made_is_read() {
    let disk = Bytes { bytes: made_by_sfdisk(8 << 20, SCRIPT), sector_len: 512 };
    let table = Table::read_as_linux(&disk).unwrap();
    assert_eq!(table.header.disk.to_string(), "11111111-2222-3333-4444-555555555555");
    let labels: Vec<_> = table.entries.iter().filter(|it| it.is_used()).map(Entry::label).collect();
    assert_eq!(labels, ["esp", "root_a", "state"]);
    assert_eq!(table.entries[0].kind, Guid::ESP);
    let root = Guid::parse("AAAAAAAA-0000-0000-0000-000000000002").unwrap();
    assert_eq!(table.number_of(root), Some(2));
    assert_eq!((table.entries[1].first, table.entries[1].last), (4096, 8191));
    assert_eq!(table.number_of(Guid::parse(&root.to_string().replace('2', "3")).unwrap()), Some(3));
}

#[test]
fn what_is_encoded_is_what_sfdisk_wrote() {
    let disk = Bytes { bytes: made_by_sfdisk(8 << 20, SCRIPT), sector_len: 512 };
    let table = Table::read_as_linux(&disk).unwrap();
    assert_eq!(table.header.encode(512), disk.bytes[512..1024]);
    assert_eq!(table.encode_entries(), disk.bytes[1024..1024 + 128 * 128]);
}

#[test]
fn the_backup_stands_in_for_a_damaged_primary() {
    let mut disk = Bytes { bytes: made_by_sfdisk(8 << 20, SCRIPT), sector_len: 512 };
    let whole = Table::read_as_linux(&disk).unwrap();
    disk.bytes[520] ^= 1;
    let backup = Table::read_as_linux(&disk).unwrap();
    assert_eq!(backup.entries, whole.entries);
    let last = disk.bytes.len() - 512;
    disk.bytes[last] ^= 1;
    assert_eq!(Table::read_as_linux(&disk), None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_table_or_none(
        flips in prop::collection::vec((512usize..18_000, any::<u8>()), 1..40),
        sector_len in prop::sample::select(&SECTOR_LENS[..]),
    ) {
        let mut disk = Bytes { bytes: vec![0; 1 << 20], sector_len };
        disk.bytes[512..516].copy_from_slice(b"EFI ");
        for (at, byte) in flips {
            disk.bytes[at] = byte;
        }
        prop_assert_eq!(Table::read_as_linux(&disk), None);
    }

    #[test]
    fn a_guid_is_read_as_it_is_written(bytes: [u8; 16]) {
        let guid = Guid(bytes);
        prop_assert_eq!(Guid::parse(&guid.to_string()), Some(guid));
        prop_assert_eq!(Guid::parse(&guid.to_string().to_uppercase()), Some(guid));
    }
}

#[test]
fn what_is_no_guid_is_none() {
    for text in
        ["", "1", "aaaaaaaa-0000-0000-0000-00000000000", "aaaaaaaa-0000-0000-0000-+00000000001"]
    {
        assert_eq!(Guid::parse(text), None, "{text}");
    }
}
