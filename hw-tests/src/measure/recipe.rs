//! Reads a recipe as docs/formats.md describes it, independently of the code that wrote it: which
//! frames there are, and which of them a target needs.

use std::collections::HashMap;

const HEADER_LEN: usize = 16;
const ENTRY_LEN: usize = 64;
const CHUNK_LEN: usize = 46;
const ZEROS_LEN: usize = 8;
const FRAME_LEN: usize = 40;

/// One frame of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Which pack of the release, in the order of the manifest.
    pub(super) pack: usize,
    pub(super) at: u64,
    pub(super) len: u64,
    pub(super) blocks: u64,
    pub(super) is_stored: bool,
}

/// Blocks of a frame, and where they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Index of the frame in [`Recipe::frames`].
    pub(super) frame: usize,
    /// The first block within the frame.
    pub(super) from: u64,
    pub(super) count: u64,
    pub(super) target: usize,
    /// The first block within the target.
    pub(super) at: u64,
}

/// What a recipe says about frames.
#[derive(Debug, Default)]
pub(super) struct Recipe {
    /// Every frame, pack by pack.
    pub(super) frames: Vec<Frame>,
    /// Every chunk, in the order of frames, and of targets within a frame.
    pub(super) chunks: Vec<Chunk>,
}

impl Recipe {
    /// Reads a whole recipe; `packs` are the ids of the packs in the order of the manifest.
    ///
    /// # Errors
    /// It is not a recipe of version 1.
    pub(super) fn parse(bytes: &[u8], packs: &[u64]) -> Result<Self, String> {
        Self::read(bytes, packs).ok_or_else(|| "a recipe that docs/formats.md does not know".into())
    }

    fn read(bytes: &[u8], packs: &[u64]) -> Option<Self> {
        if bytes.get(..12)? != b"GYBERCP\0\x01\0\x40\0" {
            return None;
        }
        let count = usize::try_from(number(bytes, 12, 4)).ok()?;
        let mut page_at = HEADER_LEN + count * ENTRY_LEN;
        let mut recipe = Self::default();
        let (mut indexes, mut wanted) = (HashMap::new(), Vec::new());
        for index in 0..count {
            let field =
                |at: usize, len: usize| number(bytes, HEADER_LEN + index * ENTRY_LEN + at, len);
            let (kind, part, first) = (field(32, 1), field(34, 2), field(40, 8));
            let end = page_at + usize::try_from(field(36, 2)).ok()?;
            let page = bytes.get(page_at..end)?;
            page_at = end;
            if kind == 1 {
                wanted.extend(chunks(page, usize::try_from(part).ok()?, first));
                continue;
            }
            let pack = packs.iter().position(|id| *id == part)?;
            let mut at = field(56, 8);
            for (number_in_page, record) in (0..).zip(page.chunks_exact(FRAME_LEN)) {
                let len = number(record, 0, 4);
                let (blocks, is_stored) = (number(record, 4, 2), number(record, 6, 1) == 0);
                indexes.insert((part, first + number_in_page), recipe.frames.len());
                recipe.frames.push(Frame { pack, at, len, blocks, is_stored });
                at += len;
            }
        }
        for (frame, chunk) in wanted {
            recipe.chunks.push(Chunk { frame: *indexes.get(&frame)?, ..chunk });
        }
        recipe.chunks.sort_by_key(|chunk| (chunk.frame, chunk.target, chunk.at));
        Some(recipe)
    }

    /// Every frame that some target needs, and its chunks.
    pub(super) fn needed(&self) -> impl Iterator<Item = (&Frame, &[Chunk])> {
        let groups = self.chunks.chunk_by(|one, next| one.frame == next.frame);
        groups.filter_map(|chunks| Some((self.frames.get(chunks.first()?.frame)?, chunks)))
    }

    /// The frames that only the target of this number needs.
    pub(super) fn only_in(&self, target: usize) -> Vec<Frame> {
        let only = |chunks: &[Chunk]| chunks.iter().all(|chunk| chunk.target == target);
        self.needed().filter(|(_, chunks)| only(chunks)).map(|(frame, _)| *frame).collect()
    }
}

/// The chunks in a page of a target whose first block is `at`, each with the pack's id and the
/// frame's number there.
fn chunks(page: &[u8], target: usize, mut at: u64) -> Vec<((u64, u64), Chunk)> {
    let (mut offset, mut found) = (0, Vec::new());
    while offset < page.len() {
        let field = |from: usize, len: usize| number(page, offset + from, len);
        if field(0, 1) == 1 {
            let (count, from) = (field(1, 1) + 1, field(2, 2));
            let chunk = Chunk { frame: 0, from, count, target, at };
            found.push(((field(4, 2), field(6, 4)), chunk));
            at += count;
            offset += CHUNK_LEN;
        } else {
            at += field(4, 4);
            offset += ZEROS_LEN;
        }
    }
    found
}

/// A little-endian number; bytes that are not there are zeros.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, part: u16, len: usize, first: u64, base: u64) -> Vec<u8> {
        let mut entry = vec![0; 32];
        entry.extend([kind, 0]);
        entry.extend(part.to_le_bytes());
        entry.extend(u16::try_from(len).unwrap().to_le_bytes());
        entry.extend([0, 0]);
        for number in [first, 0, base] {
            entry.extend(number.to_le_bytes());
        }
        entry
    }

    /// A chunk of three blocks, from the second of its frame on.
    fn chunk(pack: u16, frame: u32) -> Vec<u8> {
        let mut record = vec![1, 2, 1, 0];
        record.extend(pack.to_le_bytes());
        record.extend(frame.to_le_bytes());
        record.resize(CHUNK_LEN, 7);
        record
    }

    fn frame(len: u32, blocks: u16, codec: u8) -> Vec<u8> {
        let mut record = len.to_le_bytes().to_vec();
        record.extend(blocks.to_le_bytes());
        record.push(codec);
        record.resize(FRAME_LEN, 9);
        record
    }

    #[test]
    fn frames_and_who_needs_them_are_read_as_the_formats_say() {
        let zeros = vec![2, 0, 0, 0, 5, 0, 0, 0];
        let root = [chunk(7, 1), zeros, chunk(3, 0), chunk(7, 1)].concat();
        let boot = [chunk(7, 2), chunk(3, 0)].concat();
        let first = [frame(100, 4, 1), frame(50, 1, 0)].concat();
        let second = frame(30, 2, 1);
        let third = frame(8, 1, 1);
        let mut recipe = b"GYBERCP\0\x01\0\x40\0\x05\0\0\0".to_vec();
        recipe.extend(entry(1, 0, root.len(), 50, 0));
        recipe.extend(entry(1, 1, boot.len(), 0, 0));
        recipe.extend(entry(2, 7, first.len(), 0, 0));
        recipe.extend(entry(2, 7, second.len(), 2, 150));
        recipe.extend(entry(2, 3, third.len(), 0, 0));
        recipe.extend([root, boot, first, second, third].concat());
        let recipe = Recipe::parse(&recipe, &[3, 7]).unwrap();
        let frames: Vec<_> =
            recipe.frames.iter().map(|f| (f.pack, f.at, f.len, f.blocks)).collect();
        assert_eq!(frames, [(1, 0, 100, 4), (1, 100, 50, 1), (1, 150, 30, 2), (0, 0, 8, 1)]);
        assert!(recipe.frames[1].is_stored && !recipe.frames[0].is_stored);
        let chunk = |frame, target, at| Chunk { frame, from: 1, count: 3, target, at };
        let expected =
            [chunk(1, 0, 50), chunk(1, 0, 61), chunk(2, 1, 0), chunk(3, 0, 58), chunk(3, 1, 3)];
        assert_eq!(recipe.chunks, expected);
        let needed: Vec<_> =
            recipe.needed().map(|(frame, chunks)| (frame.at, chunks.len())).collect();
        assert_eq!(needed, [(100, 2), (150, 1), (0, 2)]);
        assert_eq!(recipe.only_in(1), [recipe.frames[2]]);
    }

    #[test]
    fn what_is_no_recipe_is_refused() {
        for bytes in
            [&b""[..], b"GYBERCP\0\x02\0\x40\0\0\0\0\0", b"GYBERCP\0\x01\0\x40\0\x01\0\0\0"]
        {
            assert!(Recipe::parse(bytes, &[]).is_err(), "{bytes:?}");
        }
    }
}
