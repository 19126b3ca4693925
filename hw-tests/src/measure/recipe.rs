//! Reads a recipe as docs/formats.md describes it, independently of the code that wrote it: which
//! frames there are, and which of them a target needs.

use std::collections::{BTreeSet, HashMap};

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

/// What a recipe says about frames.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Every frame, pack by pack.
    pub(super) frames: Vec<Frame>,
    /// For each target the frames that it needs, as indexes into `frames`, in order, each once.
    pub(super) targets: Vec<Vec<usize>>,
}

impl Recipe {
    /// Reads a whole recipe; `packs` are the ids of the packs in the order of the manifest.
    ///
    /// # Errors
    /// It is not a recipe of version 1.
    pub(super) fn parse(bytes: &[u8], packs: &[u64]) -> Result<Self, String> {
        let wrong = || "the recipe is not as docs/formats.md says".to_owned();
        if bytes.get(..12) != Some(b"GYBERCP\0\x01\0\x40\0") {
            return Err(wrong());
        }
        let count = usize::try_from(number(bytes, 12, 4)).unwrap_or(0);
        let mut at = HEADER_LEN + count * ENTRY_LEN;
        let (mut frames, mut numbers) = (Vec::new(), HashMap::new());
        let mut wanted: Vec<Vec<(u64, u64)>> = Vec::new();
        for index in 0..count {
            let entry = HEADER_LEN + index * ENTRY_LEN;
            let field = |from: usize, len: usize| number(bytes, entry + from, len);
            let (kind, part, len) = (field(32, 1), field(34, 2), field(36, 2));
            let end = at + usize::try_from(len).unwrap_or(0);
            let page = bytes.get(at..end).ok_or_else(wrong)?;
            at = end;
            if kind == 1 {
                let target = usize::try_from(part).unwrap_or(0);
                wanted.resize(wanted.len().max(target + 1), Vec::new());
                wanted.get_mut(target).ok_or_else(wrong)?.extend(chunks(page));
                continue;
            }
            let pack = packs.iter().position(|id| *id == part).ok_or_else(wrong)?;
            let mut offset = field(56, 8);
            for (number_in_page, record) in page.chunks_exact(FRAME_LEN).enumerate() {
                let len = number(record, 0, 4);
                let blocks = number(record, 4, 2);
                let is_stored = number(record, 6, 1) == 0;
                numbers.insert((part, field(40, 8) + number_in_page as u64), frames.len());
                frames.push(Frame { pack, at: offset, len, blocks, is_stored });
                offset += len;
            }
        }
        let mut targets = Vec::new();
        for wanted in wanted {
            let found: Option<Vec<usize>> =
                wanted.iter().map(|frame| numbers.get(frame).copied()).collect();
            let mut found = found.ok_or_else(wrong)?;
            found.sort_unstable();
            found.dedup();
            targets.push(found);
        }
        Ok(Self { frames, targets })
    }

    /// Every frame that some target needs, in order, each once.
    pub(super) fn needed(&self) -> impl Iterator<Item = &Frame> {
        let needed: BTreeSet<usize> = self.targets.iter().flatten().copied().collect();
        needed.into_iter().filter_map(|at| self.frames.get(at))
    }

    /// The frames that only the target of this number needs.
    pub(super) fn only_in(&self, target: usize) -> Vec<Frame> {
        let others = |frame: &usize| {
            let mut others = self.targets.iter().enumerate().filter(|(index, _)| *index != target);
            others.any(|(_, needed)| needed.binary_search(frame).is_ok())
        };
        let needed = self.targets.get(target).into_iter().flatten();
        needed
            .filter(|frame| !others(frame))
            .filter_map(|at| self.frames.get(*at))
            .copied()
            .collect()
    }
}

/// Pack and frame of each chunk in a page.
fn chunks(page: &[u8]) -> Vec<(u64, u64)> {
    let (mut at, mut found) = (0, Vec::new());
    while at < page.len() {
        if number(page, at, 1) == 1 {
            found.push((number(page, at + 4, 2), number(page, at + 6, 4)));
            at += CHUNK_LEN;
        } else {
            at += ZEROS_LEN;
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

    fn chunk(pack: u16, frame: u32) -> Vec<u8> {
        let mut record = vec![1, 0, 0, 0];
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
        recipe.extend(entry(1, 0, root.len(), 0, 0));
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
        assert_eq!(recipe.targets, [vec![1, 3], vec![2, 3]]);
        assert_eq!(recipe.only_in(1), [recipe.frames[2]]);
        assert_eq!(recipe.needed().map(|frame| frame.at).collect::<Vec<_>>(), [100, 150, 0]);
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
