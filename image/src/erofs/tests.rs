//! What the layout refuses, and where it puts things.

use super::*;
use crate::tree::{Device, Meta, Node};
use gybe_core::digest::Digest;

fn with(path: &[u8], meta: Meta, kind: Kind) -> Tree {
    let mut tree = Tree::new(Meta::implied());
    let id = tree.add(Node { meta, kind });
    tree.insert(tree.root(), path, id);
    tree
}

fn refusal(tree: &Tree) -> String {
    layout(tree).unwrap_err().to_string()
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content {
        layer: 0,
        len: bytes.len() as u64,
        digest: Digest::of(bytes),
        pieces: Vec::new(),
    })
}

#[test]
fn what_the_format_cannot_hold_is_refused_with_its_path_and_limit() {
    let meta = Meta::implied;
    let xattr = |name: &[u8], len: usize| Meta {
        xattrs: [(name.to_vec(), vec![0; len])].into(),
        ..Meta::implied()
    };
    let many = Meta {
        xattrs: (0..9).map(|i| (format!("user.{i}").into_bytes(), vec![0; 30_000])).collect(),
        ..Meta::implied()
    };
    let device = |major, minor| Kind::CharDevice(Device { major, minor });
    let name = [b'n'; 256];
    let long_xattr = [b"user.".as_slice(), &name].concat();
    for (tree, message) in [
        (with(b"a/b", meta(), Kind::Fifo), "/: name \"a/b\" cannot be stored in a directory"),
        (with(b"..", meta(), Kind::Fifo), "/: name \"..\" cannot be stored in a directory"),
        (with(b"", meta(), Kind::Fifo), "/: name \"\" cannot be stored in a directory"),
        (
            with(b"l\n", meta(), Kind::Symlink(vec![b'x'; 4096])),
            "/l\\n: symlink target has 4096 bytes, limit 4095, least 1",
        ),
        (
            with(b"l", meta(), Kind::Symlink(Vec::new())),
            "/l: symlink target has 0 bytes, limit 4095, least 1",
        ),
        (
            with(b"f", xattr(b"btrfs.compression", 1), Kind::Fifo),
            "/f: extended attribute \"btrfs.compression\" is of a namespace that EROFS cannot store",
        ),
        (
            with(b"f", xattr(b"user.", 1), Kind::Fifo),
            "/f: extended attribute \"user.\" has a name of 0 bytes behind its namespace, \
             limit 255, least 1",
        ),
        (
            with(b"f", xattr(b"user.v", 65536), Kind::Fifo),
            "/f: extended attribute \"user.v\" has a value of 65536 bytes, limit 65535",
        ),
        (with(b"f", many, Kind::Fifo), "/f: extended attributes take 270084 bytes, limit 262148"),
        (with(b"d", meta(), device(4096, 0)), "/d: device number 4096:0 is beyond 4095:1048575"),
        (
            with(b"d", meta(), device(0, 1 << 20)),
            "/d: device number 0:1048576 is beyond 4095:1048575",
        ),
    ] {
        assert_eq!(refusal(&tree), message);
    }
    let refused = refusal(&with(&name, meta(), Kind::Fifo));
    assert!(refused.ends_with("cannot be stored in a directory"), "{refused}");
    let refused = refusal(&with(b"f", xattr(&long_xattr, 1), Kind::Fifo));
    assert!(refused.contains("256 bytes behind its namespace, limit 255"), "{refused}");
}

#[test]
fn more_blocks_than_addresses_are_refused() {
    let huge = |len| {
        Kind::File(Content { layer: 0, len, digest: Digest::of(b"huge"), pieces: Vec::new() })
    };
    let refused = refusal(&with(b"f", Meta::implied(), huge(u64::MAX)));
    assert_eq!(
        refused,
        "root needs at least 4503599627370497 blocks of 4096 bytes, limit 4294967295"
    );
    // Room for the content, none for the metadata.
    let refused = refusal(&with(b"f", Meta::implied(), huge((BLOCKS_MAX - 1) * BLOCK_LEN_U64)));
    assert_eq!(refused, "root needs at least 4294967296 blocks of 4096 bytes, limit 4294967295");
    let fits = layout(&with(b"f", Meta::implied(), huge((BLOCKS_MAX - 2) * BLOCK_LEN_U64)));
    assert_eq!(fits.unwrap().extents.len(), 3);
}

#[test]
fn equal_contents_are_stored_once_and_empty_ones_never() {
    let mut tree = with(b"a", Meta::implied(), file(b"same"));
    for (name, kind) in
        [(b"b", file(b"other")), (b"c", file(b"same")), (b"d", file(b"")), (b"e", file(b"last"))]
    {
        let id = tree.add(Node { meta: Meta::implied(), kind });
        tree.insert(tree.root(), name, id);
    }
    let target = layout(&tree).unwrap();
    let contents: Vec<_> = target
        .extents
        .iter()
        .filter_map(|extent| match &extent.source {
            Source::Content(content) => Some(content.digest),
            Source::Bytes(_) | Source::Spooled(_) => None,
        })
        .collect();
    assert_eq!(contents, [b"same".as_slice(), b"other", b"last"].map(Digest::of));
    let chunks: Vec<_> = target.extents.iter().map(|extent| extent.chunk_blocks_max).collect();
    assert_eq!(chunks, [1, 64, 64, 64, 4]);
}

#[test]
fn heads_do_not_cross_the_end_of_a_block() {
    assert_eq!(inode::place(64, 64), 64);
    assert_eq!(inode::place(65, 64), 96);
    assert_eq!(inode::place(4032, 64), 4032);
    assert_eq!(inode::place(4032, 65), 4096);
    assert_eq!(inode::place(4033, 64), 4096);
    assert_eq!(inode::place(96, 5000), 4096);
    assert_eq!(inode::place(4096, 5000), 4096);
}
