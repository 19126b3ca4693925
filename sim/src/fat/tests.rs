//! What `mkfs.vfat` and `mcopy` write is found again.

use std::os::unix::fs::FileExt as _;
use std::process::Command;

use super::*;

const HOW: &str = "is missing; run: cargo full-test, which installs it";

#[test]
fn a_file_is_found_on_every_kind_of_fat() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fat.img");
    let content = folder.path().join("gybe.env");
    let bytes: Vec<u8> = (0..3000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&content, &bytes).unwrap();
    for (bits, blocks) in [("12", 1024), ("16", 20_000), ("32", 40_000)] {
        let _gone = std::fs::remove_file(&path);
        let mut mkfs = Command::new("mkfs.vfat");
        mkfs.args(["-C", "-F", bits, "-s", "1"]).arg(&path).arg(blocks.to_string());
        let made = mkfs.output().unwrap_or_else(|_| panic!("mkfs.vfat (dosfstools) {HOW}"));
        assert!(made.status.success(), "{made:?}");
        let mut mcopy = Command::new("mcopy");
        mcopy.arg("-i").arg(&path).arg(&content).arg("::gybe.env");
        let copied = mcopy.output().unwrap_or_else(|_| panic!("mcopy (mtools) {HOW}"));
        assert!(copied.status.success(), "{copied:?}");

        let image = File::open(&path).unwrap();
        let fat = Fat::open(&image).unwrap().unwrap();
        let place = fat.find(b"GYBE    ENV").unwrap().unwrap();
        let mut found = vec![0; usize::try_from(place.len).unwrap()];
        image.read_exact_at(&mut found, place.at).unwrap();
        assert_eq!(found, bytes, "FAT{bits}");
        assert_eq!(fat.find(b"VMLINUZ    ").unwrap(), None);
    }
}

#[test]
fn what_does_not_begin_with_a_boot_sector_is_no_fat() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zero.img");
    std::fs::write(&path, [0; 4096]).unwrap();
    assert!(Fat::open(&File::open(&path).unwrap()).unwrap().is_none());
    std::fs::write(&path, [0; 100]).unwrap();
    assert!(Fat::open(&File::open(&path).unwrap()).is_err());
}
