//! Root layout v1, read back by a reader of its own, by `fsck.erofs` and by the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::process::Command;

use gybe_core::digest::Digest;
use gybe_image::erofs;
use gybe_image::tree::{Device, Kind, Meta};
use proptest::prelude::*;

mod fixture;

use fixture::reader::Image;
use fixture::seen::{assert_same, seen_in};
use fixture::{Fixture, Mount, bytes, everything, judge, may_mount, write_file};

#[test]
fn the_layout_has_not_changed() {
    let mut small = Fixture::new();
    small.directory("etc");
    small.file("etc/hostname", b"gybe\n");
    small.add("etc/link", fixture::meta(0o777), Kind::Symlink(b"hostname".to_vec()));
    for (what, fixture, digest) in [
        ("small", small, "sha256:b54f916804dcbd794a91077846b6c4c56c6456195a3b27608ef40ccb27622f0f"),
        (
            "everything",
            everything(),
            "sha256:a64a9cf929fe76dde5ee9f93653c7f7d631fe0b0491aa51d47d1301ab3593339",
        ),
    ] {
        let target = erofs::layout(&fixture.tree).unwrap();
        assert_eq!(Digest::of(&bytes(&target, &fixture)).to_string(), digest, "{what}");
    }
}

/// The example at the end of `docs/formats/root-layout.md`.
#[test]
fn the_example_of_the_specification_is_what_is_made() {
    let mut fixture = Fixture::new();
    fixture.file("a", b"hi");
    let image = bytes(&erofs::layout(&fixture.tree).unwrap(), &fixture);
    assert_eq!(image.len(), 3 * 4096);
    assert_eq!(image[4096..4099], *b"hi\0");
    let rows: [(usize, &[u8]); 10] = [
        (0x40, b"\x05\0\0\0\xed\x41\0\0\x28\0\0\0\0\0\0\0"),
        (0x50, b"\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0"),
        (0x60, b"\0\xf1\x53\x65\0\0\0\0\0\0\0\0\x02\0\0\0"),
        (0x80, b"\x02\0\0\0\0\0\0\0\x24\0\x02\0"),
        (0x8c, b"\x02\0\0\0\0\0\0\0\x25\0\x02\0"),
        (0x98, b"\x06\0\0\0\0\0\0\0\x27\0\x01\0"),
        (0xa4, b"...a"),
        (0xc0, b"\x01\0\0\0\xa4\x81\0\0\x02\0\0\0\0\0\0\0"),
        (0xd0, b"\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0"),
        (0xe0, b"\0\xf1\x53\x65\0\0\0\0\0\0\0\0\x01\0\0\0"),
    ];
    let mut expected = vec![0; 4096];
    for (at, row) in rows {
        expected[at..at + row.len()].copy_from_slice(row);
    }
    assert_eq!(image[8192..], expected);
}

#[test]
fn a_reader_sees_what_went_in() {
    let fixture = everything();
    let image = bytes(&erofs::layout(&fixture.tree).unwrap(), &fixture);
    let read = Image::new(&image);
    assert_eq!(u64::from(read.block_count) * 4096, image.len() as u64);
    assert_same("own reader", &read.seen(), &fixture.seen());
}

#[test]
fn fsck_accepts_it_and_its_checksum() {
    let fixture = everything();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.erofs");
    let target = erofs::layout(&fixture.tree).unwrap();
    write_file(&target, &fixture, &path);
    // Version 1.5 ends well whatever it finds wrong with the checksum, so what it says counts.
    let said = judge(Command::new("fsck.erofs").arg(&path));
    assert!(!said.contains("<E>"), "{said}");

    let mut image = bytes(&target, &fixture);
    image[1024 + 48] ^= 1;
    std::fs::write(&path, image).unwrap();
    let output = fixture::run(Command::new("fsck.erofs").arg(&path));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("superblock chksum doesn't match"), "{said}");
}

#[test]
fn the_kernel_shows_what_went_in() {
    if !may_mount() {
        return;
    }
    let fixture = everything();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.erofs");
    write_file(&erofs::layout(&fixture.tree).unwrap(), &fixture, &path);
    let mount = Mount::new(&path, "erofs", "");
    assert_same("kernel", &seen_in(mount.path()), &fixture.seen());
}

/// What is added to a tree: where, what, and with which attributes.
type Step = (prop::sample::Index, Vec<u8>, u8, Vec<u8>, Meta);

fn metas() -> impl Strategy<Value = Meta> {
    let namespace = prop::sample::select(vec!["user.", "trusted.", "security."]);
    let xattr = (namespace, "[a-z]{1,20}", prop::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(namespace, name, value)| (format!("{namespace}{name}").into_bytes(), value));
    let xattrs = prop::collection::btree_map(any::<u8>(), xattr, 0..3)
        .prop_map(|xattrs| xattrs.into_values().collect());
    let numbers = (0..0o10_000_u16, any::<u32>(), any::<u32>(), any::<i64>(), 0..1_000_000_000_u32);
    (numbers, xattrs).prop_map(|((mode, uid, gid, mtime_s, mtime_ns), xattrs)| Meta {
        mode,
        uid,
        gid,
        mtime_s,
        mtime_ns,
        xattrs,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = prop_oneof!["[!-.0-~]{1,8}", "[a-z]{200,255}"]
        .prop_map(String::into_bytes)
        .prop_filter("a name", |name| name != b"." && name != b"..");
    let bytes = prop::collection::vec(any::<u8>(), 1..5000);
    prop::collection::vec((any::<prop::sample::Index>(), names, 0..9_u8, bytes, metas()), 0..120)
}

fn grow(steps: &[Step]) -> Fixture {
    let mut fixture = Fixture::new();
    let mut directories = vec![Vec::new()];
    let mut nodes = Vec::new();
    for (at, name, kind, data, meta) in steps {
        let parent = at.get(&directories);
        let path =
            if parent.is_empty() { name.clone() } else { [parent, b"/".as_slice(), name].concat() };
        if fixture.tree.find(&path).is_some() {
            continue;
        }
        let number = u32::from(data[0]);
        let kind = match kind {
            0 | 1 => Kind::Directory([].into()),
            2 => Kind::Symlink(data[..data.len().min(4095)].to_vec()),
            3 => Kind::CharDevice(Device { major: number, minor: number * 4096 }),
            4 => Kind::Socket,
            5 if !nodes.is_empty() => {
                fixture.link(&path, *at.get(&nodes));
                continue;
            }
            6 => fixture.content(&data[..data.len() % 2]),
            _ => fixture.content(data),
        };
        let directory = matches!(kind, Kind::Directory(_));
        let id = fixture.add_bytes(&path, meta.clone(), kind);
        if directory { directories.push(path) } else { nodes.push(id) }
    }
    fixture
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_read_back_as_it_was(steps in steps()) {
        let fixture = grow(&steps);
        let target = erofs::layout(&fixture.tree).unwrap();
        let image = bytes(&target, &fixture);
        assert_same("own reader", &Image::new(&image).seen(), &fixture.seen());
        prop_assert_eq!(bytes(&erofs::layout(&fixture.tree).unwrap(), &fixture), image);
    }
}
