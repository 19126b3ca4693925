//! The FAT of the boot target, read back by dosfstools, mtools and GRUB.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gybe_core::digest::Digest;
use gybe_image::content::Content;
use gybe_image::fat::{self, File, SectorLen};
use gybe_image::target::{Source, Target};
use proptest::prelude::*;

mod fixture;

use fixture::{Fixture, bytes, judge, write_file};

fn file(path: &str, bytes: &[u8]) -> File {
    File { path: path.into(), source: Source::Bytes(Arc::from(bytes)) }
}

/// A file of `len` zeros, which no test has to hold in memory.
fn zeros(path: &str, len: u64) -> File {
    let content =
        Content { layer: fixture::ZEROS, len, digest: Digest::of(b""), pieces: Vec::new() };
    File { path: path.into(), source: Source::Content(content) }
}

/// What a boot target has: names of both kinds, a directory that needs several clusters.
fn files() -> Vec<File> {
    let mut files = vec![
        file("gybe.env", &[b'#'; 1024]),
        file("sha256.sum", b"sums"),
        file("initrd.img", &[b'i'; 10_000]),
        file("vmlinuz", &[b'v'; 4096]),
        file("empty", b""),
        file("dtb/broadcom/bcm2711-rpi-4-b.dtb", b"four"),
        file("dtb/broadcom/bcm2711-rpi-400.dtb", b"four hundred"),
        file("dtb/UPPER.DTB", b"upper"),
        file("dtb/overlays/Mixed Case.dtbo", b"mixed"),
    ];
    for i in 0..100 {
        let name = format!("dtb/many/a-rather-long-name-of-a-board-{i}.dtb");
        files.push(file(&name, format!("{i}").as_bytes()));
    }
    files
}

fn fsck(image: &Path) -> String {
    judge(Command::new("fsck.fat").args(["-n", "-v"]).arg(image))
}

/// Everything that mtools reads, in the order of the paths.
fn read(image: &Path) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut mcopy = Command::new("mcopy");
    mcopy.args(["-s", "-n", "-Q", "-i"]).arg(image).arg("::/").arg(folder.path());
    judge(mcopy.env("MTOOLS_SKIP_CHECK", "0"));
    let mut found = Vec::new();
    let mut open = vec![folder.path().to_owned()];
    while let Some(path) = open.pop() {
        for child in std::fs::read_dir(path).unwrap() {
            let child = child.unwrap().path();
            if child.is_dir() {
                open.push(child);
            } else {
                let name = child.strip_prefix(folder.path()).unwrap().to_str().unwrap();
                found.push((name.to_owned(), std::fs::read(&child).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn written(target: &Target) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    write_file(target, &Fixture::new(), image.path());
    image
}

fn expected(files: &[File]) -> Vec<(String, Vec<u8>)> {
    let mut expected: Vec<_> = files
        .iter()
        .map(|file| match &file.source {
            Source::Bytes(bytes) => (file.path.clone(), bytes.to_vec()),
            Source::Spooled(_) => unreachable!("no file here was unpacked"),
            Source::Content(content) => {
                (file.path.clone(), vec![0; usize::try_from(content.len).unwrap()])
            }
        })
        .collect();
    expected.sort();
    expected
}

#[test]
fn the_layout_has_not_changed() {
    for (sector, digest) in [
        (
            SectorLen::B512,
            "sha256:1a2defb4b99373917748b3790afad7f5811cdc54e599b112d51d5a788cc6d9c9",
        ),
        (
            SectorLen::B4096,
            "sha256:379035a0dbd297c7e16a424f2a7de229fe02219266f5253f2fd20df16efa5940",
        ),
    ] {
        let target = fat::layout("boot", files(), sector).unwrap();
        assert_eq!(Digest::of(&bytes(&target, &Fixture::new())).to_string(), digest, "{sector:?}");
    }
}

#[test]
fn dosfstools_and_mtools_read_what_went_in_at_every_width() {
    for (padding, kind) in [(0, "12 bits"), (20 << 20, "16 bits"), (260 << 20, "32 bits")] {
        for sector in [SectorLen::B512, SectorLen::B4096] {
            let mut files = files();
            if padding > 0 {
                files.insert(4, zeros("padding", padding));
            }
            let image = written(&fat::layout("boot", files.clone(), sector).unwrap());
            let said = fsck(image.path());
            assert!(said.contains(&format!("2 FATs, {}", kind.replace(" bits", " bit"))), "{said}");
            assert!(
                said.contains(&format!("{} bytes per logical sector", sector.bytes())),
                "{said}"
            );
            assert!(said.contains("4096 bytes per cluster"), "{said}");
            assert_eq!(read(image.path()), expected(&files), "{kind}, {sector:?}");
        }
    }
}

#[test]
fn every_file_lies_in_one_piece_from_a_block_on() {
    let target = fat::layout("boot", files(), SectorLen::B512).unwrap();
    let image = written(&target);
    for (path, clusters) in
        [("initrd.img", "<"), ("dtb/many/a-rather-long-name-of-a-board-7.dtb", "<")]
    {
        let said =
            judge(Command::new("mshowfat").arg("-i").arg(image.path()).arg(format!("::{path}")));
        assert_eq!(said.matches(clusters).count(), 1, "{said}");
    }
    let all = bytes(&target, &Fixture::new());
    let at = all.windows(4).position(|bytes| bytes == b"iiii").unwrap();
    assert_eq!(at % 4096, 0);
}

#[test]
fn grub_reads_what_went_in() {
    for padding in [0, 20 << 20, 260 << 20] {
        let mut files = files();
        if padding > 0 {
            files.insert(4, zeros("padding", padding));
        }
        let image = written(&fat::layout("boot", files, SectorLen::B512).unwrap());
        for (path, content) in [
            ("/sha256.sum", "sums"),
            ("/dtb/broadcom/bcm2711-rpi-400.dtb", "four hundred"),
            ("/dtb/overlays/Mixed Case.dtbo", "mixed"),
            ("/dtb/many/a-rather-long-name-of-a-board-99.dtb", "99"),
        ] {
            let path = format!("(loop0){path}");
            let said = judge(Command::new("grub-fstest").arg(image.path()).args(["cat", &path]));
            assert_eq!(said, content, "{path}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_files_are_read_back_as_they_were(
        wide in any::<bool>(),
        names in prop::collection::btree_map(
            // Names of directories have no dot, those of files end in one and a letter.
            prop_oneof!["[a-z]{1,4}/[a-zA-Z0-9_-]{1,30}\\.[a-z]{1,4}", "[a-z ]{0,9}[a-z]\\.[a-zA-Z]{1,3}"],
            prop::collection::vec(any::<u8>(), 0..9000),
            0..40,
        ),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        let files: Vec<_> = names
            .iter()
            .filter(|(name, _)| !name.starts_with(' ') && seen.insert(name.to_lowercase()))
            .map(|(name, bytes)| file(name, bytes))
            .collect();
        let sector = if wide { SectorLen::B4096 } else { SectorLen::B512 };
        let image = written(&fat::layout("boot", files.clone(), sector).unwrap());
        fsck(image.path());
        prop_assert_eq!(read(image.path()), expected(&files));
    }
}
