//! Tar files of every dialect, and those that are refused.

use std::collections::BTreeMap;
use std::io::Cursor;

use gybe_core::digest::Digest;
use proptest::prelude::*;

use super::build::{member, member_with, pax, tar};
use super::*;
use crate::content::Piece;
use crate::tree::{Device, Meta};

/// All members, and the digests of files.
fn read(bytes: &[u8]) -> Result<Vec<(Member, Option<Digest>)>, TarError> {
    let mut reader = Reader::new(Cursor::new(bytes), 1 << 30);
    let mut all = Vec::new();
    while let Some(member) = reader.next()? {
        let digest = match &member.kind {
            MemberKind::File { len, pieces } => Some(reader.digest(*len, pieces)?),
            _ => None,
        };
        all.push((member, digest));
    }
    Ok(all)
}

fn one(members: &[Vec<u8>]) -> Member {
    let all = read(&tar(members)).unwrap();
    assert_eq!(all.len(), 1);
    all.into_iter().next().unwrap().0
}

fn error(members: &[Vec<u8>]) -> String {
    read(&tar(members)).unwrap_err().to_string()
}

fn octal(at: usize, text: &'static str) -> impl FnOnce(&mut [u8; 512]) {
    move |header| header[at..at + text.len()].copy_from_slice(text.as_bytes())
}

#[test]
fn pax_replaces_what_the_header_cannot_hold() {
    let path = "d/".repeat(400) + "x";
    let records: [(&str, &[u8]); 7] = [
        ("path", path.as_bytes()),
        ("uid", b"4294967294"),
        ("gid", b"100000"),
        ("mtime", b"-1.25"),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=\0"),
        ("SCHILY.xattr.user.component", b"chunk"),
        ("LIBARCHIVE.xattr.user.b", b"QQ"),
    ];
    let found = one(&[pax(b'x', &records), member("short", b'0', "", b"")]);
    assert_eq!(found.path, path.as_bytes());
    let capability = (b"security.capability".to_vec(), b"\x01\0\0\x02\n=\0".to_vec());
    let expected = Meta {
        mode: 0o644,
        uid: 4_294_967_294,
        gid: 100_000,
        mtime_s: -2,
        mtime_ns: 750_000_000,
        xattrs: BTreeMap::from([capability]),
    };
    assert_eq!(found.meta, expected);
}

#[test]
fn a_global_header_changes_nothing() {
    let global = pax(b'g', &[("path", b"other"), ("comment", b"0123")]);
    assert_eq!(one(&[global, member("x", b'0', "", b"")]).path, b"x");
}

#[test]
fn an_empty_pax_value_leaves_the_header_alone() {
    let found = one(&[pax(b'x', &[("path", b""), ("mtime", b"")]), member("x", b'0', "", b"")]);
    assert_eq!((&*found.path, found.meta.mtime_s), (&b"x"[..], 0));
}

#[test]
fn gnu_long_names_and_links_are_put_together() {
    let name = "n".repeat(255);
    let link = "l".repeat(300);
    let long = |kind, text: &str| member("././@LongLink", kind, "", format!("{text}\0").as_bytes());
    let found = one(&[long(b'K', &link), long(b'L', &name), member("nnn", b'2', "lll", b"")]);
    assert_eq!(found.path, name.as_bytes());
    assert!(matches!(found.kind, MemberKind::Symlink(target) if target == link.as_bytes()));
    assert_eq!(found.meta.mode, 0o777);
}

#[test]
fn a_name_in_two_parts_is_put_together_unless_gnu_wrote_it() {
    let prefix = |magic: &'static str| {
        move |header: &mut [u8; 512]| {
            header[345..348].copy_from_slice(b"a/b");
            header[257..265].copy_from_slice(magic.as_bytes());
        }
    };
    let posix = one(&[member_with("x", b'0', "", b"", prefix("ustar\x0000"))]);
    assert_eq!(posix.path, b"a/b/x");
    let gnu = one(&[member_with("x", b'0', "", b"", prefix("ustar  \0"))]);
    assert_eq!(gnu.path, b"x");
}

#[test]
fn every_kind_of_member_is_told_apart() {
    let device = |header: &mut [u8; 512]| {
        header[329..337].copy_from_slice(b"0000377\0");
        header[337..345].copy_from_slice(&[0x80, 0, 0, 0, 0, 1, 0x11, 0x70]);
    };
    let kind = |bytes: Vec<u8>| format!("{:?}", one(&[bytes]).kind);
    let number = Device { major: 255, minor: 70_000 };
    let empty = format!("{:?}", MemberKind::File { len: 0, pieces: Vec::new() });
    assert_eq!(kind(member_with("x", b'3', "", b"", device)), format!("CharDevice({number:?})"));
    assert_eq!(kind(member_with("x", b'4', "", b"", device)), format!("BlockDevice({number:?})"));
    assert_eq!(kind(member("x", b'5', "", b"")), "Directory");
    assert_eq!(kind(member("x", b'6', "", b"")), "Fifo");
    assert_eq!(kind(member("x/", b'\0', "", b"")), "Directory");
    assert_eq!(kind(member("x", b'\0', "", b"")), empty);
    assert_eq!(kind(member("x", b'7', "", b"")), empty);
    assert!(kind(member("x", b'1', "y", b"")).starts_with("HardLink"));
    assert_eq!(error(&[member("x", b'V', "", b"")]), "unsupported entry type V");
}

#[test]
fn links_and_directories_have_no_content_whatever_they_say() {
    for kind in [b'1', b'2', b'5', b'6'] {
        let first = member_with("x", kind, "y", b"", octal(124, "00000001000\0"));
        assert_eq!(read(&tar(&[first, member("z", b'0', "", b"")])).unwrap().len(), 2);
    }
}

#[test]
fn special_mode_bits_are_kept_and_file_types_dropped() {
    let found = one(&[member_with("x", b'0', "", b"", octal(100, "0107755\0"))]);
    assert_eq!(found.meta.mode, 0o7755);
}

#[test]
fn numbers_out_of_range_are_refused_with_both_numbers() {
    let minor = |header: &mut [u8; 512]| header[337..345].copy_from_slice(b"4000000\0");
    let uid = |header: &mut [u8; 512]| header[108..116].copy_from_slice(&[0xff; 8]);
    assert_eq!(
        error(&[member_with("x", b'3', "", b"", minor)]),
        "device minor is 1048576, limit 1048575"
    );
    assert_eq!(error(&[member_with("x", b'0', "", b"", uid)]), "uid is -1, limit 4294967294");
    assert_eq!(
        error(&[pax(b'x', &[("uid", b"4294967295")]), member("x", b'0', "", b"")]),
        "uid is 4294967295, limit 4294967294"
    );
    assert_eq!(
        error(&[pax(b'x', &[("size", b"-1")]), member("x", b'0', "", b"")]),
        "size in the extended header is -1, which is not valid"
    );
}

#[test]
fn what_cannot_be_an_attribute_or_link_is_refused() {
    let xattr = |name: &str, len: usize| {
        let key = format!("SCHILY.xattr.{name}");
        read(&tar(&[pax(b'x', &[(&key, &vec![7; len])]), member("x", b'0', "", b"")]))
            .map_err(|error| error.to_string())
            .map(|all| all.len())
    };
    assert_eq!(xattr(&"n".repeat(255), 65_536), Ok(1));
    assert!(xattr(&"n".repeat(256), 1).unwrap_err().starts_with("xattr name is 256 bytes"));
    assert!(xattr("", 1).unwrap_err().starts_with("xattr name is 0 bytes"));
    assert_eq!(xattr("n", 65_537).unwrap_err(), "xattr n is 65537 bytes, limit 65536");
    let link = |target: &str| {
        error(&[pax(b'x', &[("linkpath", target.as_bytes())]), member("x", b'2', "", b"")])
    };
    assert_eq!(link(""), "symlink target is 0 bytes, must be 1 to 4095");
    assert_eq!(link(&"l".repeat(4096)), "symlink target is 4096 bytes, must be 1 to 4095");
    assert_eq!(link("a\0b"), "path has a NUL");
}

#[test]
fn a_long_extended_header_is_refused_before_it_is_read() {
    let header = member_with("x", b'x', "", b"", octal(124, "77777777777\0"));
    assert_eq!(error(&[header]), "an extended header is 8589934591 bytes, limit 1048576");
}

#[test]
fn contents_are_bounded_with_their_holes() {
    let records: [(&str, &[u8]); 2] =
        [("GNU.sparse.size", b"9000000000000000000"), ("GNU.sparse.map", b"0,0")];
    assert_eq!(
        error(&[pax(b'x', &records), member("x", b'0', "", b"")]),
        "contents are 9000000000000000000 bytes and more, limit 1073741824"
    );
}

/// `abc` at 1 and `d` at 600 of 700 bytes.
fn assert_is_sparse(members: &[Vec<u8>], from: u64) {
    let mut whole = vec![0; 700];
    whole[1..4].copy_from_slice(b"abc");
    whole[600] = b'd';
    let after = member("after", b'0', "", b"x");
    let all = read(&tar(&[members.concat(), after])).unwrap();
    let [(sparse, digest), (after, _)] = all.as_slice() else { panic!("{all:?}") };
    let MemberKind::File { len: 700, pieces } = &sparse.kind else { panic!("{sparse:?}") };
    assert_eq!(pieces, &[Piece { at: 1, from, len: 3 }, Piece { at: 600, from: from + 3, len: 1 }]);
    assert_eq!((sparse.path.as_slice(), after.path.as_slice()), (&b"sparse"[..], &b"after"[..]));
    assert_eq!(*digest, Some(Digest::of(&whole)));
}

#[test]
fn sparse_files_of_every_version_are_read() {
    let pairs: [(&str, &[u8]); 8] = [
        ("GNU.sparse.size", b"700"),
        ("GNU.sparse.numblocks", b"3"),
        ("GNU.sparse.offset", b"1"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"600"),
        ("GNU.sparse.numbytes", b"1"),
        ("GNU.sparse.offset", b"700"),
        ("GNU.sparse.numbytes", b"0"),
    ];
    assert_is_sparse(&[pax(b'x', &pairs), member("sparse", b'0', "", b"abcd")], 1536);
    let map: [(&str, &[u8]); 3] = [
        ("GNU.sparse.size", b"700"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.map", b"1,3,600,1,700,0"),
    ];
    assert_is_sparse(&[pax(b'x', &map), member("GNUSparse.0/x", b'0', "", b"abcd")], 1536);
    let one: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.realsize", b"700"),
    ];
    let mut content = b"3\n1\n3\n600\n1\n700\n0\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"abcd");
    assert_is_sparse(&[pax(b'x', &one), member("GNUSparse.0/x", b'0', "", &content)], 2048);
}

fn old_entries(block: &mut [u8], entries: &[(u64, u64)]) {
    for (place, (at, len)) in block.chunks_mut(24).zip(entries) {
        place.copy_from_slice(format!("{at:011o}\0{len:011o}\0").as_bytes());
    }
}

#[test]
fn old_sparse_files_are_read_with_blocks_after_the_header() {
    let old = |more: bool| {
        move |header: &mut [u8; 512]| {
            header[257..265].copy_from_slice(b"ustar  \0");
            header[483..495].copy_from_slice(format!("{:011o}\0", 700).as_bytes());
            let entries: &[_] = match more {
                true => &[(1, 3), (4, 0), (5, 0), (6, 0)],
                false => &[(1, 3), (600, 1), (700, 0)],
            };
            old_entries(&mut header[386..482], entries);
            header[482] = u8::from(more);
        }
    };
    assert_is_sparse(&[member_with("sparse", b'S', "", b"abcd", old(false))], 512);
    let header = member_with("sparse", b'S', "", b"abcd", old(true));
    let (header, content) = header.split_at(512);
    let mut block = [0; 512];
    old_entries(&mut block[..504], &[(600, 1), (700, 0)]);
    assert_is_sparse(&[header.to_vec(), block.to_vec(), content.to_vec()], 1024);
}

#[test]
fn a_sparse_map_that_lies_is_refused() {
    let map = |map: &str| {
        let records: [(&str, &[u8]); 2] =
            [("GNU.sparse.size", b"700"), ("GNU.sparse.map", map.as_bytes())];
        error(&[pax(b'x', &records), member("x", b'0', "", b"abcd")])
    };
    let wrong = |why: &str| format!("the map of a sparse file is wrong: {why}");
    assert_eq!(map("1,3,2,1"), wrong("its parts overlap or are out of order"));
    assert_eq!(map("600,1,1,3"), wrong("its parts overlap or are out of order"));
    assert_eq!(map("1,3,700,1"), wrong("a part lies beyond the end of the file"));
    assert_eq!(map("1,18446744073709551615"), wrong("a part lies beyond the end of the file"));
    assert_eq!(map("1,5"), wrong("its parts are longer than what is stored"));
    assert_eq!(map("1,3"), wrong("its parts are shorter than what is stored"));
    assert_eq!(map("1,3,5"), wrong("an offset has no length"));
    assert!(map("1,x").ends_with("which is not valid"));
    let version: [(&str, &[u8]); 2] = [("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")];
    let bytes = [pax(b'x', &version), member("x", b'0', "", b"")];
    assert_eq!(error(&bytes), wrong("its version is unknown"));
}

#[test]
fn a_file_that_is_cut_off_is_refused_at_every_byte() {
    let whole = [pax(b'x', &[("path", b"x")]), member("y", b'0', "", &[7; 600])].concat();
    for len in 0..whole.len() {
        let found = read(&whole[..len]);
        // A file may end between members without blocks of zeros.
        assert_eq!(found.is_ok(), len == 0, "{len}: {found:?}");
    }
    assert_eq!(read(&whole).unwrap().len(), 1);
}

#[test]
fn after_zeros_nothing_but_zeros_may_follow() {
    let x = member("x", b'0', "", b"");
    let padded = [x.clone(), vec![0; 10_240]].concat();
    assert_eq!(read(&padded).unwrap().len(), 1);
    let hidden = [x.clone(), vec![0; 512], x].concat();
    assert_eq!(
        read(&hidden).unwrap_err().to_string(),
        "a member follows the end of the tar file, at 1024"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_it_panic(at in 0_usize..4096, with in any::<[u8; 3]>(), len in 0_usize..4096) {
        let map: [(&str, &[u8]); 3] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"700"),
        ];
        let mut bytes = tar(&[pax(b'x', &map), member("y", b'0', "", &[b'1'; 600])]);
        let at = at.min(bytes.len() - with.len());
        bytes[at..at + with.len()].copy_from_slice(&with);
        bytes.truncate(len);
        let _ = read(&bytes);
    }
}
