//! What is unpacked, what is left and what is refused, on the smallest initramfs that shows it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::content::Piece;

/// One file, wherever its content says.
struct One(Vec<u8>);

impl ReadContent for One {
    fn read_at(&self, _: &Content, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = self.0.get(usize::try_from(at).unwrap()..).unwrap();
        io::Read::read_exact(&mut rest, buffer)
    }
}

fn outcome(bytes: &[u8], limit: u64) -> Result<Outcome, UnpackError> {
    let len = bytes.len() as u64;
    let pieces = vec![Piece { at: 0, from: 0, len }];
    let content = Content { layer: 0, len, digest: Digest::of(bytes), pieces };
    unpack(&One(bytes.to_vec()), &content, limit)
}

fn unpacked(bytes: &[u8]) -> (Vec<u8>, Unpacked) {
    match outcome(bytes, INITRAMFS_LEN_MAX).unwrap() {
        Outcome::Unpacked(unpacked) => {
            let mut all = vec![0; usize::try_from(unpacked.spooled.len()).unwrap()];
            unpacked.spooled.read_at(0, &mut all).unwrap();
            assert_eq!(unpacked.digest, Digest::of(&all));
            (all, unpacked)
        }
        Outcome::Left(reason) => panic!("left: {reason}"),
    }
}

fn reason(bytes: &[u8]) -> String {
    match outcome(bytes, INITRAMFS_LEN_MAX).unwrap() {
        Outcome::Left(reason) => reason.to_string(),
        Outcome::Unpacked(unpacked) => panic!("unpacked: {unpacked:?}"),
    }
}

fn refusal(bytes: &[u8], limit: u64) -> String {
    outcome(bytes, limit).unwrap_err().to_string()
}

/// One entry, filled up as cpio does.
fn entry(mode: u32, name: &str, body: &[u8]) -> Vec<u8> {
    let [body_len, name_len] = [body.len(), name.len() + 1].map(|len| u32::try_from(len).unwrap());
    let mut bytes = b"070701".to_vec();
    for field in [7, mode, 0, 0, 1, 0, body_len, 0, 0, 0, 0, name_len, 0] {
        write!(bytes, "{field:08x}").unwrap();
    }
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn file(name: &str, len: usize) -> Vec<u8> {
    entry(0o100_644, name, &name.as_bytes().repeat(len.div_ceil(name.len()))[..len])
}

fn trailer() -> Vec<u8> {
    entry(0, "TRAILER!!!", b"")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Name, and body, of every entry of a strict reader: no zeros but behind a trailer.
fn strict(mut bytes: &[u8]) -> Vec<(String, Vec<u8>, usize)> {
    let whole = bytes.len();
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(*bytes.first_chunk().unwrap()).unwrap();
        let name_end = HEADER_LEN + usize::try_from(header.name_len).unwrap();
        let name = std::ffi::CStr::from_bytes_until_nul(&bytes[HEADER_LEN..name_end]).unwrap();
        let body_at = name_end.next_multiple_of(4);
        let body_end = body_at + usize::try_from(header.body_len).unwrap();
        let at = whole - bytes.len() + body_at;
        found.push((name.to_str().unwrap().to_owned(), bytes[body_at..body_end].to_vec(), at));
        bytes = &bytes[body_end.next_multiple_of(4)..];
        if name == c"TRAILER!!!" {
            bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        }
    }
    found
}

#[test]
fn the_same_archives_come_out_in_the_same_order() {
    let early = [file("kernel/x86/microcode/GenuineIntel.bin", 9000), trailer(), vec![0; 300]];
    let early = early.concat();
    let first = [file("a", 10_000), entry(0o40_755, "d", b""), file("d/b", 5), trailer()].concat();
    let second = [file("c", 4096), trailer(), vec![0; 3]].concat();
    let third = file("d", 1);
    let padded = [vec![0; 8], second.clone()].concat();
    let packed = [early.clone(), zstd(&first), gzip(&padded), vec![0; 5], zstd(&third)].concat();
    let (bytes, found) = unpacked(&packed);
    assert_eq!(found.formats, [Format::Zstd, Format::Gzip, Format::Zstd]);
    assert!(bytes.starts_with(&early), "what is read early is as it was");
    let before: Vec<_> =
        [early, first, second, third].iter().flat_map(|part| strict(part)).collect();
    let plain = |entries: &[(String, Vec<u8>, usize)]| -> Vec<(String, Vec<u8>)> {
        entries.iter().map(|(name, body, _)| (name.clone(), body.clone())).collect()
    };
    assert_eq!(plain(&strict(&bytes)), plain(&before));
}

#[test]
fn bodies_of_a_block_or_more_begin_at_blocks_and_are_parts_of_their_own() {
    let names = ["a", "some/longer/name", "b", "c"];
    let lens = [10_000, 4096, 4095, 4097];
    let archive: Vec<u8> =
        names.iter().zip(lens).flat_map(|(name, len)| file(name, len)).chain(trailer()).collect();
    let (bytes, found) = unpacked(&archive);
    let entries = strict(&bytes);
    let places: Vec<_> = entries.iter().map(|(.., at)| at % 4096).collect();
    assert_eq!([places[0], places[1], places[3]], [0, 0, 0]);
    assert_ne!(places[2], 0);
    let moved = [&entries[0], &entries[1], &entries[3]];
    let digests = moved.iter().map(|(_, body, _)| Digest::of(body)).collect();
    assert_eq!(found.files, digests);
    // Before each body, each body's full blocks, and what is behind the last of them.
    let parts: Vec<_> = found.spooled.parts().map(|part| part.len()).collect();
    assert_eq!(parts[..5], [4096, 8192, 4096, 4096, 8192]);
    assert_eq!(parts[5], 4096);
    assert_eq!(parts.iter().sum::<u64>(), bytes.len() as u64);
}

#[test]
fn an_unpacked_initramfs_unpacks_to_itself() {
    let archive = [file("a", 10_000), file("b", 70_000), trailer(), vec![0; 100]].concat();
    let (once, _) = unpacked(&zstd(&archive));
    assert_eq!(unpacked(&once).0, once);
}

#[test]
fn the_agent_is_found_wherever_it_lies_and_nothing_else_is_taken_for_it() {
    let has_agent = |mode, name| unpacked(&entry(mode, name, b"x")).1.has_agent;
    for name in ["usr/bin/gybe", "./bin/gybe", "/sbin/gybe", "gybe", "usr/bin/gybe\0\0\0"] {
        assert!(has_agent(0o100_755, name), "{name:?}");
    }
    for name in ["usr/bin/gybe-publish", "usr/lib/gybe/config.toml", "notgybe", "x\0gybe"] {
        assert!(!has_agent(0o100_755, name), "{name:?}");
    }
    assert!(!has_agent(0o040_755, "usr/lib/gybe"), "a folder");
}

#[test]
fn what_is_no_initramfs_that_we_know_is_left_and_says_why() {
    let archive = [file("a", 10), trailer()].concat();
    let with = |more: &[u8]| [archive.as_slice(), more].concat();
    let at = archive.len();
    let unknown = |at| format!("byte {at} begins neither a cpio archive nor a compressed one");
    for (bytes, message) in [
        (b"noise".to_vec(), unknown(0)),
        (with(b"noise"), unknown(at)),
        (with(b"\0\0\x00070701"), unknown(at + 3)),
        ([gzip(&archive), b"noise".to_vec()].concat(), unknown(gzip(&archive).len())),
        (b"BZh91AY".to_vec(), "bzip2 at byte 0 is not unpacked".into()),
        (with(b"\x5d\0\0\x80\0"), format!("lzma at byte {at} is not unpacked")),
        (b"\x89LZO\0\x0d".to_vec(), "lzop at byte 0 is not unpacked".into()),
        (b"\x04\x22\x4d\x18ab".to_vec(), "lz4 with frames at byte 0 is not unpacked".into()),
        (gzip(b"noise"), "gzip stream at byte 0 holds more than cpio archives".into()),
        (
            with(&zstd(&gzip(&archive))),
            format!("zstd stream at byte {at} holds more than cpio archives"),
        ),
        (
            b"070707aaaaaa".repeat(20),
            "cpio entry at byte 0 has no header of the new ASCII format".into(),
        ),
        (archive[..at - 1].to_vec(), format!("cpio entry at byte {} is cut short", at - 124)),
        (gzip(&archive[..50]), "cpio entry at byte 0 is cut short".into()),
        (with(b"\0\0\0\0#BOOTCONFIG\n"), "it has a boot configuration behind it".into()),
        (
            [&[0x02, 0x21, 0x4c, 0x18], b"0707".as_slice(), &archive].concat(),
            "lz4 stream at byte 0 is not unpacked: a block of 925906736 bytes follows, limit \
             8421520"
                .into(),
        ),
    ] {
        assert_eq!(reason(&bytes), message);
    }
    let mut long = entry(0o100_644, "a", b"");
    long[94..102].copy_from_slice(b"00001001");
    assert!(reason(&long).starts_with("cpio entry at byte 0 has no name of 1 to 4096 bytes"));
    let mut open = entry(0o100_644, "a", b"");
    open[111] = b'a';
    assert!(reason(&open).starts_with("cpio entry at byte 0 has no name of 1 to 4096 bytes"));
}

#[test]
fn a_damaged_stream_is_refused_with_its_place() {
    let noise: Vec<u8> =
        (0..10_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let archive = [entry(0o100_644, "a", &noise), trailer()].concat();
    for (name, stream) in [("gzip", gzip(&archive)), ("zstd", zstd(&archive))] {
        let cut = [file("kernel/x", 3), stream[..stream.len() - 3].to_vec()].concat();
        let begin = format!("{name} stream at byte 124 is damaged: ");
        assert!(refusal(&cut, 1 << 20).starts_with(&begin), "{}", refusal(&cut, 1 << 20));
        let mut changed = stream;
        let middle = changed.len() / 2;
        changed[middle] ^= 0x40;
        let refused = refusal(&changed, 1 << 20);
        assert!(refused.starts_with(&format!("{name} stream at byte 0 is damaged: ")), "{refused}");
    }
}

#[test]
fn what_unpacks_to_too_much_is_refused_with_both_numbers() {
    let archive = [file("a", 10_000), trailer()].concat();
    let (bytes, _) = unpacked(&archive);
    let len = bytes.len() as u64;
    assert!(outcome(&gzip(&archive), len).is_ok());
    let refused = refusal(&gzip(&archive), len - 1);
    assert_eq!(refused, format!("unpacks to {len} bytes or more, limit {}", len - 1));
    // 64 MiB of zeros, whose name says nothing: a few kilobytes.
    let refused = refusal(&zstd(&vec![0; 64 << 20]), 1 << 20);
    assert!(refused.ends_with("bytes or more, limit 1048576"), "{refused}");
}

proptest! {
    #[test]
    fn any_archives_come_out_as_they_went_in(
        files in prop::collection::vec((1..300_usize, 0..20_000_usize), 1..12),
        split in 0..12_usize,
    ) {
        let entries: Vec<Vec<u8>> =
            files.iter().map(|(name, len)| file(&"n".repeat(*name), *len)).collect();
        let (first, second) = entries.split_at(split.min(entries.len()));
        let packed = [zstd(&first.concat()), gzip(&second.concat())].concat();
        let (bytes, found) = unpacked(&packed);
        let [before, after] = [&entries.concat(), &bytes].map(|bytes| strict(bytes));
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!((&before.0, &before.1), (&after.0, &after.1));
        }
        let whole = found.spooled.parts().filter(|part| part.len() % 4096 != 0).count();
        prop_assert!(whole <= 1, "only the last part may end inside a block");
    }
}
