//! Attributes as ostree writes them, and as it does not.

use proptest::prelude::*;

use super::*;
use crate::content::Content;
use crate::tree::{Kind, Meta};

/// What `ostree commit` (2022.7) keeps of a file with `security.capability` and `user.a`, made by
/// `setcap cap_net_raw+ep` and `setfattr -n user.a -v value`: `user.ostreemeta` from byte 12 on.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn golden() -> Vec<u8> {
    [b"security.capability\0", CAPABILITY, b"\x14user.a\0value\x07\x29\x36"].concat()
}

/// Serialises as GVariant does.
fn emit(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    /// With the offsets behind it, as wide as the whole then asks for.
    fn framed(mut bytes: Vec<u8>, offsets: &[usize]) -> Vec<u8> {
        let fits = |width: usize| super::width(bytes.len() + offsets.len() * width) <= width;
        let width = [1, 2, 4].into_iter().find(|width| fits(*width)).unwrap();
        for offset in offsets {
            bytes.extend_from_slice(&offset.to_le_bytes()[..width]);
        }
        bytes
    }
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        all.extend(framed([*name, b"\0", value].concat(), &[name.len() + 1]));
        ends.push(all.len());
    }
    framed(all, &ends)
}

#[test]
fn what_ostree_wrote_is_read() {
    let found = parse(&golden()).unwrap();
    let expected: [(&[u8], &[u8]); 2] =
        [(b"security.capability", CAPABILITY), (b"user.a", b"value")];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected.map(|(n, v)| (n.into(), v.into())));
    assert_eq!(emit(&expected), golden());
    assert_eq!(parse(b""), Some(Xattrs::new()));
}

#[test]
fn labels_and_hints_are_left_out_and_long_values_are_not() {
    let long = vec![b'v'; 60_000];
    let found = parse(&emit(&[
        (b"security.selinux", b"system_u:object_r:usr_t:s0"),
        (b"user.component", b"x"),
        (b"user.long", &long),
    ]));
    assert_eq!(found.unwrap().into_iter().collect::<Vec<_>>(), [(b"user.long".to_vec(), long)]);
}

#[test]
fn what_ostree_does_not_write_is_refused() {
    let name = [b'n'; XATTR_NAME_LEN_MAX + 1];
    for (wrong, why) in [
        (b"\xff".to_vec(), "an offset beyond the end"),
        (b"user.a\0v\x07\x05".to_vec(), "a part that ends before its offset"),
        (golden()[..50].to_vec(), "cut off"),
        (emit(&[(b"", b"v")]), "no name"),
        (emit(&[(&name, b"v")]), "a long name"),
        (emit(&[(b"a\0b", b"v")]), "a NUL"),
        (emit(&[(b"user.a", &[0; XATTR_VALUE_LEN_MAX + 1])]), "a long value"),
    ] {
        assert_eq!(parse(&wrong), None, "{why}");
    }
}

proptest! {
    #[test]
    fn any_attributes_are_read_back(
        pairs in prop::collection::btree_map("[a-z.]{1,40}", prop::collection::vec(any::<u8>(), 1..400), 0..6)
    ) {
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let found = parse(&emit(&pairs)).unwrap();
        prop_assert_eq!(found.len(), pairs.len());
        for (name, value) in pairs {
            prop_assert_eq!(found[name].as_slice(), value);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }
}

fn object(name: &str) -> Vec<u8> {
    format!("sysroot/ostree/repo/objects/ab/{name}").into_bytes()
}

fn file(path: Vec<u8>, mtime_s: i64) -> Entry {
    let content = Content {
        layer: 0,
        len: 0,
        digest: gybe_core::digest::Digest::of(b""),
        pieces: Vec::new(),
    };
    let meta = Meta { mtime_s, ..Meta::implied() };
    Entry { path, item: Item::Node(Node { meta, kind: Kind::File(content) }) }
}

fn link(path: Vec<u8>, to: Vec<u8>) -> Entry {
    Entry { path, item: Item::HardLink(to) }
}

#[test]
fn an_object_gets_its_attributes_however_they_are_linked() {
    let named = |entries: &[Entry], path: &[u8]| {
        let entry = entries.iter().find(|entry| entry.path == path).unwrap();
        let Item::Node(node) = &entry.item else { panic!("a link") };
        node.meta.xattrs.keys().cloned().collect::<Vec<_>>()
    };
    let mut objects = Objects::default();
    assert_eq!(objects.add(&object("shared.file-xattrs"), &golden()).unwrap(), 19 + 20 + 6 + 5);
    objects.add(&object("own.file-xattrs-link"), &emit(&[(b"user.own", b"o")])).unwrap();
    let mut kept = file(object("own.file"), 0);
    let Item::Node(node) = &mut kept.item else { panic!("a file") };
    node.meta.xattrs.insert(b"user.own".to_vec(), b"from its header".to_vec());
    let mut entries = vec![
        file(object("shared.file-xattrs"), 0),
        link(object("a.file-xattrs-link"), object("shared.file-xattrs")),
        file(object("a.file"), 0),
        link(object("b.file-xattrs-link"), object("shared.file-xattrs")),
        file(b"etc/b".to_vec(), 0),
        link(object("b.file"), b"etc/b".to_vec()),
        link(object("c.file-xattrs-link"), object("shared.file-xattrs")),
        // Somebody wrote to it.
        file(object("c.file"), 1_700_000_000),
        file(object("own.file-xattrs-link"), 0),
        kept,
    ];
    objects.apply(&mut entries);
    let both = [b"security.capability".to_vec(), b"user.a".to_vec()];
    assert_eq!(named(&entries, &object("a.file")), both);
    assert_eq!(named(&entries, b"etc/b"), both);
    assert!(named(&entries, &object("c.file")).is_empty());
    let Item::Node(node) = &entries[9].item else { panic!("a file") };
    assert_eq!(node.meta.xattrs[&b"user.own"[..]], b"from its header");
}
