//! Recipes: what is written is read back, and what lies is refused.
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::chunk::{Anchor, TargetIndex};

const ROOT: Part = Part::Target(TargetIndex(0));
const PACK: Part = Part::Pack(PackId(3));

fn records() -> Vec<Record> {
    let chunk = |seed: u8, count| {
        Record::Chunk(Chunk {
            count,
            digest: Digest::of(&[seed]),
            anchor: Anchor([seed; 4]),
            stored: Stored { pack: PackId(3), frame: FrameIndex(u32::from(seed)), block: 5 },
        })
    };
    [chunk(0, 1), Record::Zeros { count: 70_000 }, chunk(1, 256)].to_vec()
}

fn frames() -> Vec<FrameRecord> {
    let frame = |stored_len, blocks, codec| FrameRecord {
        stored_len,
        blocks,
        codec,
        digest: Digest::of(&[9]),
    };
    [frame(100, 1, Codec::Zstd), frame(8192, 2, Codec::Stored)].to_vec()
}

fn page_of(records: &[Record]) -> Vec<u8> {
    let mut page = Vec::new();
    for record in records {
        let mut bytes = [0; RECORD_LEN_MAX];
        let len = record.encode(&mut bytes).unwrap();
        page.extend_from_slice(&bytes[..len]);
    }
    page
}

/// A recipe of one target of 70,257 blocks in one page, and one pack of two frames.
struct Sample {
    entries: Vec<Entry>,
    pages: Vec<Vec<u8>>,
}

impl Sample {
    fn new() -> Self {
        let target = page_of(&records());
        let pack = frames().iter().flat_map(|frame| frame.encode().unwrap()).collect::<Vec<_>>();
        let entry = |part, page: &[u8], count| Entry {
            digest: Digest::of(page),
            part,
            len: page.len() as u16,
            first: 0,
            count,
            base: 0,
        };
        let entries = [entry(ROOT, &target, 70_257), entry(PACK, &pack, 2)].to_vec();
        Self { entries, pages: [target, pack].to_vec() }
    }

    fn table(&self) -> Vec<u8> {
        let mut table = encode_header(self.entries.len() as u32).to_vec();
        table.extend(self.entries.iter().flat_map(Entry::encode));
        table
    }

    fn error(&self) -> RecipeError {
        parse(&self.table()).unwrap_err()
    }
}

fn parse(table: &[u8]) -> Result<Table<'_>, RecipeError> {
    Table::parse(table, &Digest::of(table), [(ROOT, 70_257), (PACK, 2)])
}

#[test]
fn what_was_written_is_read_back() {
    let sample = Sample::new();
    let bytes = sample.table();
    let table = parse(&bytes).unwrap();
    let pages: Vec<_> = table.pages().collect();
    assert_eq!(pages[0], (0, 16 + 2 * 64, sample.entries[0]));
    assert_eq!(pages[1], (1, 16 + 2 * 64 + sample.pages[0].len() as u64, sample.entries[1]));
    let len = bytes.len() + sample.pages.iter().map(Vec::len).sum::<usize>();
    assert_eq!(table.recipe_len(), len as u64);
    let read: Result<Vec<_>, _> = pages[0].2.records(0, &sample.pages[0]).unwrap().collect();
    assert_eq!(read.unwrap(), records());
    let read: Result<Vec<_>, _> = pages[1].2.frames(1, &sample.pages[1]).unwrap().collect();
    let [first, second] = read.unwrap()[..] else { panic!("two frames") };
    assert_eq!((first.offset, first.record), (0, frames()[0]));
    assert_eq!((second.offset, second.record), (100, frames()[1]));
    assert_eq!(table.frame_page(PackId(3), FrameIndex(1)).unwrap().0, 1);
    assert_eq!(table.frame_page(PackId(3), FrameIndex(2)), None);
    assert_eq!(table.frame_page(PackId(0), FrameIndex(0)), None);
}

#[test]
fn gaps_overlaps_and_wrong_lengths_are_refused() {
    let mut sample = Sample::new();
    sample.entries[0].first = 1;
    assert_eq!(sample.error(), RecipeError::Gap { page: 0, found: 1, expected: 0 });
    sample.entries[0].first = 0;
    sample.entries[0].count = 70_258;
    let beyond = RecipeError::Length { part: ROOT, found: 70_258, expected: 70_257 };
    assert_eq!(sample.error(), beyond);
    sample.entries.remove(0);
    let what = "pages of a part that is not next in the configuration";
    assert_eq!(sample.error(), RecipeError::Record { page: 0, at: 0, what });
    sample.entries.clear();
    assert_eq!(sample.error(), RecipeError::Length { part: ROOT, found: 0, expected: 70_257 });
}

#[test]
fn a_page_is_verified_before_it_is_parsed_and_must_cover_its_blocks() {
    let sample = Sample::new();
    let mut entry = sample.entries[0];
    let mut flipped = sample.pages[0].clone();
    flipped[20] ^= 1;
    assert_eq!(entry.records(0, &flipped).unwrap_err(), RecipeError::PageDigest { page: 0 });
    entry.count = 7;
    let cover = RecipeError::Cover { page: 0, found: 70_257, expected: 7 };
    assert_eq!(entry.records(0, &sample.pages[0]).unwrap_err(), cover);
    let mut entry = sample.entries[1];
    entry.count = 3;
    let cover = RecipeError::Cover { page: 1, found: 2, expected: 3 };
    assert_eq!(entry.frames(1, &sample.pages[1]).map(|_| ()).unwrap_err(), cover);
}

#[test]
fn unknown_versions_kinds_and_codecs_are_refused_by_name() {
    let mut table = Sample::new().table();
    table[8] = 2;
    assert_eq!(parse(&table).unwrap_err(), RecipeError::Version { found: 2 });
    let mut entry = Sample::new().entries[0];
    let page = [7u8, 0, 0, 0];
    entry.digest = Digest::of(&page);
    let what = "a record of a kind that this gybe does not know";
    let unknown = RecipeError::Record { page: 5, at: 0, what };
    assert_eq!(entry.records(5, &page).unwrap_err(), unknown);
    let mut frame = frames()[0].encode().unwrap();
    frame[6] = 2;
    let mut entry = Sample::new().entries[1];
    (entry.digest, entry.count) = (Digest::of(&frame), 1);
    let what = "a frame with a codec that this gybe does not know";
    let found = entry.frames(1, &frame).unwrap().next().unwrap().unwrap_err();
    assert_eq!(found, RecipeError::Record { page: 1, at: 0, what });
}

#[test]
fn frames_whose_lengths_lie_cannot_be_written_or_read() {
    for (stored_len, blocks, codec) in [
        (0, 1, Codec::Zstd),
        (10, 0, Codec::Zstd),
        (10, 257, Codec::Zstd),
        (4096, 1, Codec::Zstd),
        (4095, 1, Codec::Stored),
    ] {
        let frame = FrameRecord { stored_len, blocks, codec, digest: Digest::of(b"") };
        assert_eq!(frame.encode(), None, "{frame:?}");
    }
}

#[test]
fn another_table_than_the_signed_one_is_refused() {
    let table = Sample::new().table();
    let expected = Digest::of(b"signed");
    let found = Digest::of(&table);
    let refused = Table::parse(&table, &expected, []).unwrap_err();
    assert_eq!(refused, RecipeError::TableDigest { found, expected });
}

proptest! {
    #[test]
    fn a_mutated_table_or_page_never_panics(at in 0usize..200, value: u8, cut in 0usize..200) {
        let sample = Sample::new();
        let mut table = sample.table();
        let at = at % table.len();
        table[at] = value;
        table.truncate(cut.max(1));
        if let Ok(table) = parse(&table) {
            prop_assert!(table.pages().count() <= 2);
        }
        let mut page = sample.pages[0].clone();
        let at = at % page.len();
        page[at] = value;
        let mut entry = sample.entries[0];
        entry.digest = Digest::of(&page);
        if let Ok(records) = entry.records(0, &page) {
            let sum: u64 = records.map(|record| u64::from(record.unwrap().count())).sum();
            prop_assert_eq!(sum, entry.count);
        }
    }
}
