//! Packed targets, taken apart again as a device would.
#![allow(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use std::sync::Arc;

use gybe_core::block::BLOCK_LEN;
use gybe_core::chunk::{Checked, Place, digest};
use gybe_core::recipe::{Codec, Part, Table};
use proptest::prelude::*;

use super::*;
use crate::content::Content;
use crate::target::{Extent, Source, Tail};

struct NoContent;

impl ReadContent for NoContent {
    fn read_at(&self, _: &Content, _: u64, _: &mut [u8]) -> io::Result<()> {
        unreachable!("these targets have no content of layers")
    }
}

fn target(name: &str, extents: &[(&[u8], u32)]) -> Target {
    let extents = extents
        .iter()
        .map(|(bytes, max)| Extent {
            source: Source::Bytes(Arc::from(*bytes)),
            chunk_blocks_max: *max,
            tail: Tail::Joined,
        })
        .collect();
    Target { name: name.into(), extents }
}

fn bytes_of(target: &Target) -> Vec<u8> {
    let mut bytes = Vec::new();
    for extent in &target.extents {
        let Source::Bytes(source) = &extent.source else { unreachable!("bytes only") };
        bytes.extend_from_slice(source);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
    }
    bytes
}

fn pack(targets: &[Target]) -> Done<'static, Vec<u8>> {
    let mut packer = Packer::new(None, Vec::new(), 3).unwrap();
    for target in targets {
        packer.add(target, &NoContent, &mut |_| {}).unwrap();
    }
    packer.finish().unwrap()
}

fn raw_frames(done: &Done<'_, Vec<u8>>) -> Vec<Vec<u8>> {
    let mut rest = &done.out[..];
    let mut frames = Vec::new();
    for frame in &done.new.frames {
        let (stored, after) = rest.split_at(frame.stored_len as usize);
        rest = after;
        assert_eq!(Digest::of(stored), frame.digest);
        let len = frame.blocks as usize * BLOCK_LEN;
        frames.push(match frame.codec {
            Codec::Stored => stored.to_vec(),
            Codec::Zstd => zstd::bulk::decompress(stored, len).unwrap(),
        });
        assert_eq!(frames.last().unwrap().len(), len);
    }
    assert!(rest.is_empty());
    frames
}

/// The bytes of every target, put together from recipe and frames.
fn unpack(done: &Done<'_, Vec<u8>>) -> Vec<Vec<u8>> {
    let recipe = &done.recipe;
    let targets = (0u16..)
        .zip(&done.targets)
        .map(|(index, target)| (Part::Target(TargetIndex(index)), target.blocks));
    // Targets of nothing but zeros make a pack without frames, which is no part of a recipe.
    let frames = done.new.frames.len() as u64;
    let pack = (frames > 0).then_some((Part::Pack(PackId(0)), frames));
    let parts = targets.chain(pack);
    let table = &recipe.bytes[..recipe.table_len];
    let table = Table::parse(table, &recipe.table_digest, parts).unwrap();
    assert_eq!(table.recipe_len(), recipe.bytes.len() as u64);
    let frames = raw_frames(done);
    let mut targets = vec![Vec::new(); done.targets.len()];
    for (number, at, entry) in table.pages() {
        let page = &recipe.bytes[at as usize..][..usize::from(entry.len)];
        let Part::Target(index) = entry.part else { continue };
        let out = &mut targets[usize::from(index.0)];
        for record in entry.records(number, page).unwrap() {
            match record.unwrap() {
                Record::Zeros { count } => out.extend(vec![0; count as usize * BLOCK_LEN]),
                Record::Chunk(chunk) => {
                    let frame = &frames[chunk.stored.frame.0 as usize];
                    let start = usize::from(chunk.stored.block) * BLOCK_LEN;
                    let bytes = &frame[start..][..chunk.count as usize * BLOCK_LEN];
                    let (blocks, _) = bytes.as_chunks();
                    let place = Place {
                        target: index,
                        start: gybe_core::block::BlockIndex((out.len() / BLOCK_LEN) as u64),
                        count: chunk.count,
                        digest: chunk.digest,
                    };
                    assert!(Checked::new(place, blocks).is_some(), "{place:?}");
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
    targets
}

#[test]
fn a_chunk_that_comes_twice_is_packed_once_and_first_blocks_stand_alone() {
    let file = [3u8; 3 * BLOCK_LEN];
    let root = target("root", &[(&[1; 4096], 1), (&file, 64), (&[2; 100], 64)]);
    let boot = target("boot", &[(&[9; 4096], 1), (&file, 64)]);
    let done = pack(&[root.clone(), boot.clone()]);
    let blocks: Vec<_> = done.new.frames.iter().map(|frame| frame.blocks).collect();
    assert_eq!(blocks, [1, 4, 1], "root's first, then file and tail, then boot's first");
    assert_eq!(unpack(&done), [bytes_of(&root), bytes_of(&boot)]);
    assert_eq!((done.targets[0].size, done.targets[0].blocks), (4 * 4096 + 100, 5));
}

#[test]
fn the_root_hash_is_that_of_the_padded_blocks() {
    let done = pack(&[target("root", &[(&[5; 10], 1)])]);
    let mut block = [0; BLOCK_LEN];
    block[..10].fill(5);
    assert_eq!(done.targets[0].root_hash, gybe_core::verity::leaf(&block));
    assert_eq!(done.new.frames.len(), 1);
    assert_ne!(digest(&[block]), done.targets[0].root_hash);
}

#[test]
fn an_empty_target_is_refused() {
    let mut packer = Packer::new(None, Vec::new(), 3).unwrap();
    let refused = packer.add(&target("root", &[]), &NoContent, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, PackError::Length { blocks: 0, .. }), "{refused}");
}

#[test]
fn a_small_change_changes_few_pages() {
    let files: Vec<Vec<u8>> = (0..2000u32).map(|seed| seed.to_le_bytes().repeat(50)).collect();
    let recipe = |files: &[Vec<u8>]| {
        let extents: Vec<_> = files.iter().map(|file| (&file[..], 64)).collect();
        let done = pack(&[target("root", &extents)]);
        let table = &done.recipe.bytes[..done.recipe.table_len];
        table[16..].as_chunks::<64>().0.iter().map(|entry| entry[..32].to_vec()).collect::<Vec<_>>()
    };
    let before = recipe(&files);
    let mut changed = files.clone();
    changed[500] = vec![0xcc; 9000];
    let after = recipe(&changed);
    let new = after.iter().filter(|digest| !before.contains(digest)).count();
    assert!(before.len() > 20, "{} pages", before.len());
    // Everything behind the change lies elsewhere in its frames, so this pins down what a rebase
    // on earlier packs improves: the pages before it stay.
    assert!(new < after.len(), "{new} of {} pages are new", after.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_packed_comes_out_again(
        extents in proptest::collection::vec(
            (proptest::collection::vec(0u8..3, 1..6), 1usize..40, 1u32..8), 1..6
        )
    ) {
        // Blocks of one value each, so that zeros and repetitions are common.
        let extents: Vec<(Vec<u8>, u32)> = extents
            .into_iter()
            .map(|(values, times, max)| {
                let block = |value: &u8| [*value; BLOCK_LEN];
                (values.iter().cycle().take(times).flat_map(block).collect(), max)
            })
            .collect();
        let borrowed: Vec<_> = extents.iter().map(|(bytes, max)| (&bytes[..], *max)).collect();
        let target = target("root", &borrowed);
        let done = pack(std::slice::from_ref(&target));
        prop_assert_eq!(unpack(&done), [bytes_of(&target)]);
    }
}
