//! Single files of a sealed root, found as Linux would find them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use gybe_core::block::{Block, BlockIndex, ReadBlocks};
use gybe_core::digest::Digest;
use gybe_image::erofs::{self, ReadError, Reader};
use gybe_image::tree::Kind;
use proptest::prelude::*;

mod fixture;

use fixture::{Fixture, bytes, everything, meta};

struct Memory<'a>(&'a [u8]);

impl ReadBlocks for Memory<'_> {
    type Error = &'static str;

    fn block_count(&self) -> u64 {
        self.0.len() as u64 / 4096
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), &'static str> {
        let start = usize::try_from(index.0).map_err(|_| "beyond")?;
        let all = self.0.as_chunks::<4096>().0;
        let found = all.get(start..).and_then(|all| all.get(..blocks.len())).ok_or("beyond")?;
        blocks.copy_from_slice(found);
        Ok(())
    }
}

fn image(fixture: &Fixture) -> Vec<u8> {
    bytes(&erofs::layout(&fixture.tree).unwrap(), fixture)
}

#[test]
fn every_file_is_found_with_its_owner_and_its_bytes() {
    let fixture = everything();
    let image = image(&fixture);
    let mut reader = Reader::open(Memory(&image)).unwrap();
    let mut count = 0;
    for (path, entry) in fixture.seen() {
        let Ok(path) = std::str::from_utf8(&path) else { continue };
        if entry.target.is_some() || path.starts_with("usr/many/0") {
            continue;
        }
        let found = reader.find(path).unwrap().unwrap();
        assert_eq!(
            (u32::from(found.mode), found.uid, found.gid),
            (entry.mode, entry.uid, entry.gid)
        );
        let file = reader.file(path, 1 << 20).unwrap();
        assert_eq!(file.map(|(_, bytes)| Digest::of(&bytes)), entry.digest, "{path}");
        count += 1;
    }
    assert!(count > 2000, "{count}");
    for absent in ["usr/none", "etc/hostname/x", "usr/bin/sh", "usr/many/29999"] {
        assert_eq!(reader.find(absent).unwrap(), None, "{absent}");
    }
    let error = reader.file("usr/big", 700_000).unwrap_err();
    assert_eq!(error.to_string(), "usr/big has 700001 bytes, limit 700000");
}

#[test]
fn links_lead_where_they_would_lead_in_the_root_itself() {
    let mut fixture = Fixture::new();
    for path in ["a", "a/b", "c"] {
        fixture.directory(path);
    }
    fixture.file("a/file", b"found");
    let links: [(&str, &[u8]); 6] = [
        ("a/b/up", b"../file"),
        ("c/absolute", b"/a/./b//up"),
        ("c/out", b"../../../../a/file"),
        ("folder", b"c"),
        ("loop", b"loop"),
        ("lost", b"nowhere/else"),
    ];
    for (path, target) in links {
        fixture.add(path, meta(0o777), Kind::Symlink(target.to_vec()));
    }
    let image = image(&fixture);
    let mut reader = Reader::open(Memory(&image)).unwrap();
    for path in ["a/file", "/a/b/up", "c/absolute", "folder/out", "a/b/../file", "folder/../a/file"]
    {
        assert_eq!(reader.file(path, 5).unwrap().unwrap().1, b"found", "{path}");
    }
    assert_eq!(reader.find("lost").unwrap(), None);
    let error = reader.find("loop").unwrap_err();
    assert_eq!(error, ReadError::Loop { path: "loop".to_owned() });
    assert!(reader.find("").unwrap().unwrap().is_directory());
}

#[test]
fn what_is_no_root_of_ours_is_refused() {
    let mut image = image(&everything());
    let open = |image: &[u8]| Reader::open(Memory(image)).map(|_| ()).unwrap_err().to_string();
    assert_eq!(open(&[]), "cannot read block 0 of root: beyond");
    assert_eq!(open(&[0; 4096]), "root is no EROFS with blocks of 4096 bytes");
    image[1024 + 80] = 4;
    assert!(open(&image).contains("incompatible features 0x4"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_root_ends_in_an_answer(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut fixture = Fixture::new();
        fixture.directory("etc");
        fixture.file("etc/hostname", b"gybe\n");
        fixture.add("name", meta(0o777), Kind::Symlink(b"etc/hostname".to_vec()));
        let mut image = image(&fixture);
        let len = image.len();
        image[at.index(len)] = to;
        if let Ok(mut reader) = Reader::open(Memory(&image)) {
            let _ = reader.file("name", 100);
        }
    }
}
