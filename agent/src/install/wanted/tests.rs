//! Recipes whose chunks lie all over the packs of several releases.

use gybe_core::chunk::{Anchor, TargetIndex};
use gybe_core::digest::Digest;
use gybe_core::recipe::{
    Chunk, Codec, Entry, FrameRecord, Part, RECORD_LEN_MAX, Record, encode_header,
};
use gybe_core::version::Version;
use serde_json::json;

use super::*;
use crate::install::recipe;

const RECORDS_PER_PAGE: usize = 89;
const FRAMES_PER_PAGE: usize = 100;
/// How many blocks each frame has, and each chunk is one.
const FRAME_BLOCKS: u16 = 200;

/// Pages in memory, and how many of them were read.
struct Memory<'m> {
    recipe: &'m [u8],
    reads: usize,
}

impl ReadRecipe for Memory<'_> {
    fn read_page(&mut self, at: u64, _: &Entry, page: &mut [u8]) -> Result<(), InstallError> {
        let at = usize::try_from(at).unwrap();
        page.copy_from_slice(&self.recipe[at..at + page.len()]);
        self.reads += 1;
        Ok(())
    }
}

/// A recipe of one target, whose chunks are stored where `stored` says: pack, frame, block.
struct Made {
    config: Vec<u8>,
    recipe: Vec<u8>,
    table_len: usize,
}

/// How long frame `number` is, stored.
fn stored_len(number: usize) -> u32 {
    1000 + u32::try_from(number % 7).unwrap()
}

impl Made {
    fn new(ids: &[u16], frames: usize, stored: &[(u16, u32, u16)]) -> Self {
        let (mut entries, mut pages) = (Vec::new(), Vec::new());
        let mut page = |part, first: usize, count: usize, base, bytes: Vec<u8>| {
            let (digest, len) = (Digest::of(&bytes), u16::try_from(bytes.len()).unwrap());
            let (first, count) = (first as u64, count as u64);
            entries.push(Entry { digest, part, len, first, count, base });
            pages.extend(bytes);
        };
        for (number, chunks) in stored.chunks(RECORDS_PER_PAGE).enumerate() {
            let bytes = chunks.iter().flat_map(|&stored| record(stored)).collect();
            let (part, first) = (Part::Target(TargetIndex(0)), number * RECORDS_PER_PAGE);
            page(part, first, chunks.len(), 0, bytes);
        }
        for &id in ids {
            let mut base = 0;
            for first in (0..frames).step_by(FRAMES_PER_PAGE) {
                let numbers = first..frames.min(first + FRAMES_PER_PAGE);
                let bytes = numbers.clone().flat_map(frame).collect();
                page(Part::Pack(PackId(id)), first, numbers.len(), base, bytes);
                base += numbers.map(|number| u64::from(stored_len(number))).sum::<u64>();
            }
        }
        let mut recipe = encode_header(u32::try_from(entries.len()).unwrap()).to_vec();
        recipe.extend(entries.iter().flat_map(Entry::encode));
        let table_len = recipe.len();
        recipe.extend(pages);
        let config = configure(ids, frames, stored.len(), &recipe[..table_len]);
        Self { config, recipe, table_len }
    }

    /// What is wanted for `missing`, and how many pages were read to know it.
    fn wanted(&self, missing: &mut Chunks) -> Result<(Vec<Wanted>, usize), InstallError> {
        self.wanted_within(missing, Reach::Any)
    }

    /// The same, as it is asked for from such a source.
    fn wanted_within(
        &self,
        missing: &mut Chunks,
        reach: Reach,
    ) -> Result<(Vec<Wanted>, usize), InstallError> {
        let config = Config::parse(&self.config, Version::ours()).unwrap();
        let (table, len) = (&self.recipe[..self.table_len], self.recipe.len() as u64);
        let table = recipe::table(&config, table, len)?;
        let mut memory = Memory { recipe: &self.recipe, reads: 0 };
        let mut wanted = Vec::new();
        each(&mut Recipe::new(table, &mut memory), &config, missing, reach, |frame| {
            wanted.push(frame);
            Ok(())
        })?;
        Ok((wanted, memory.reads))
    }
}

impl<R: ReadRecipe> ReadRecipe for &mut R {
    fn read_page(&mut self, at: u64, entry: &Entry, page: &mut [u8]) -> Result<(), InstallError> {
        R::read_page(self, at, entry, page)
    }
}

fn record((id, frame, block): (u16, u32, u16)) -> Vec<u8> {
    let digest = Digest::of(&[&frame.to_le_bytes()[..], &block.to_le_bytes()].concat());
    let stored = Stored { pack: PackId(id), frame: FrameIndex(frame), block };
    let chunk = Chunk { count: 1, digest, anchor: Anchor::of(&digest), stored };
    let mut room = [0; RECORD_LEN_MAX];
    let len = Record::Chunk(chunk).encode(&mut room).unwrap();
    room[..len].to_vec()
}

fn frame(number: usize) -> [u8; 40] {
    let (stored_len, blocks) = (stored_len(number), u32::from(FRAME_BLOCKS));
    let digest = Digest::of(&number.to_le_bytes());
    FrameRecord { stored_len, blocks, codec: Codec::Zstd, digest }.encode().unwrap()
}

fn configure(ids: &[u16], frames: usize, blocks: usize, table: &[u8]) -> Vec<u8> {
    let hash = Digest::of(b"").hex().to_string();
    let packs: Vec<_> = ids.iter().map(|id| json!({ "id": id, "frames": frames })).collect();
    json!({
        "format": 1, "agentMin": "0.1.0", "loaderMin": 1, "architecture": "amd64",
        "hash": "sha256", "blockSize": 4096, "pageSize": 4096, "chunkSizeMax": 1 << 20,
        "frameSizeMax": 1 << 20, "windowSizeMax": 1 << 20, "packs": packs,
        "targets": [{ "name": "root", "size": blocks * 4096, "rootHash": hash, "tree": true }],
        "recipe": { "tableSize": table.len(), "tableDigest": Digest::of(table).to_string() },
    })
    .to_string()
    .into_bytes()
}

fn all(count: usize) -> Chunks {
    let mut missing = Chunks::default();
    (0..count).for_each(|number| missing.insert(number));
    missing
}

/// Pack, frame, and the blocks of the target that its chunks belong to.
fn shown(wanted: &[Wanted]) -> Vec<(usize, u32, Vec<u64>)> {
    let starts = |it: &Wanted| it.places.iter().map(|(place, _)| place.start.0).collect();
    wanted.iter().map(|it| (it.pack, it.frame.index.0, starts(it))).collect()
}

#[test]
fn a_frame_comes_once_with_everything_and_in_the_order_of_its_pack() {
    // Ids are not the order: that of the configuration is. Number 3 is not missing.
    let stored = [(7, 5, 0), (2, 9, 1), (7, 5, 9), (2, 0, 0), (7, 4, 3), (2, 9, 2), (7, 5, 0)];
    let made = Made::new(&[7, 2], 10, &stored);
    let mut missing = all(stored.len());
    missing.remove(3);
    let (wanted, _) = made.wanted(&mut missing).unwrap();
    let expected = [(0, 4, vec![4]), (0, 5, vec![0, 2, 6]), (1, 9, vec![1, 5])];
    assert_eq!(shown(&wanted), expected);
    assert_eq!(missing.len(), 0);
    let lies: Vec<_> = wanted.iter().map(|it| it.lies).collect();
    let (apart, behind) = (Lies::Apart { gap: 0 }, Lies::Behind { gap: 0 });
    assert_eq!(lies, [apart, behind, apart]);
    let blocks: Vec<_> = wanted[1].places.iter().map(|(_, block)| *block).collect();
    assert_eq!(blocks, [0, 9, 0]);
    assert_eq!(
        wanted[2].frame.offset,
        (0..9).map(|number| u64::from(stored_len(number))).sum::<u64>()
    );
}

#[test]
fn packs_of_many_releases_are_searched_in_few_walks_and_no_frame_comes_twice() {
    // Chunks that follow each other lie in other packs, and a frame is wanted from all over.
    let ids: Vec<u16> = (0..64).collect();
    let count = 40_000;
    let spread = |number: usize| {
        let at = number * 7919 % count;
        let (id, rest) = (u16::try_from(at % 64).unwrap(), at / 64);
        (id, u32::try_from(rest / 40).unwrap(), u16::try_from(rest % 40).unwrap())
    };
    let stored: Vec<_> = (0..count).map(spread).collect();
    let made = Made::new(&ids, 16, &stored);
    let (wanted, reads) = made.wanted(&mut all(count)).unwrap();
    assert_eq!(wanted.len(), 64 * 16);
    assert!(shown(&wanted).windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)));
    assert_eq!(wanted.iter().map(|it| it.places.len()).sum::<usize>(), count);
    assert_eq!(wanted.iter().filter(|it| it.lies == (Lies::Apart { gap: 0 })).count(), 64);
    // A last walk has what twice the table holds; before that each has at least a table less
    // one frame.
    let (pages, frame_pages) = (count.div_ceil(RECORDS_PER_PAGE), 64);
    // Pages of frames are read to know where parts end, and again to read the frames.
    let walks = 1 + (count - 2 * SORTED_MAX).div_ceil(SORTED_MAX - 40);
    assert!(
        reads <= walks * pages + 2 * (frame_pages + walks),
        "{reads} pages read, {walks} walks"
    );
}

#[test]
fn a_frame_that_belongs_everywhere_comes_again_in_bounded_pieces() {
    let count = 2 * SORTED_MAX + 10;
    let mut stored = vec![(0, 3, 0); count];
    stored[count - 1] = (0, 1, 0);
    let made = Made::new(&[0], 5, &stored);
    let (wanted, _) = made.wanted(&mut all(count)).unwrap();
    let given = shown(&wanted);
    assert_eq!(given[0], (0, 1, vec![count as u64 - 1]));
    assert!(given[1..].iter().all(|(_, frame, _)| *frame == 3));
    assert!(given.iter().all(|(_, _, places)| places.len() <= PLACES_MAX));
    let mut places: Vec<u64> = given.into_iter().flat_map(|(_, _, places)| places).collect();
    places.sort_unstable();
    assert_eq!(places, (0..count as u64).collect::<Vec<_>>());
    let again = wanted.iter().filter(|it| it.lies == Lies::Again).count();
    assert_eq!(again, wanted.len() - 2);
    assert!(again <= count / PLACES_MAX + 1, "{again}");
}

#[test]
fn chunks_that_are_stored_nowhere_are_refused() {
    for (stored, part) in [
        ((9, 0, 0), "pack 9 has no frame 0"),
        ((0, 5, 0), "pack 0 has no frame 5"),
        ((0, 1, FRAME_BLOCKS), "reaches to block 201 of a frame of 200"),
    ] {
        let made = Made::new(&[0], 5, &[(0, 0, 0), stored]);
        let refused = made.wanted(&mut all(2)).unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn a_chunk_that_the_recipe_does_not_have_ends_the_search() {
    let made = Made::new(&[0], 5, &[(0, 0, 0)]);
    let refused = made.wanted(&mut all(2)).unwrap_err();
    assert!(matches!(refused, InstallError::RecipeChanged), "{refused}");
}

/// How each frame lies, and the part that it is in.
fn parts(wanted: &[Wanted]) -> Vec<(Lies, Range<u64>)> {
    wanted.iter().map(|it| (it.lies, it.part.clone())).collect()
}

#[test]
fn short_gaps_are_bridged_and_long_ones_are_not() {
    let stored = [(0, 1, 0), (0, 2, 0), (0, 4, 0), (0, 9, 0), (1, 9, 0)];
    let made = Made::new(&[0, 1], 10, &stored);
    let at = |frame| (0..frame).map(|number| u64::from(stored_len(number))).sum::<u64>();
    let gap_max = at(4) - at(3);
    let (wanted, _) =
        made.wanted_within(&mut all(stored.len()), Reach::Bridged { gap_max }).unwrap();
    let (near, far) = (at(1)..at(5), at(9)..at(10));
    let expected = [
        (Lies::Apart { gap: 0 }, near.clone()),
        (Lies::Behind { gap: 0 }, near.clone()),
        (Lies::Behind { gap: gap_max }, near),
        (Lies::Apart { gap: 0 }, far.clone()),
        (Lies::Apart { gap: 0 }, far),
    ];
    assert_eq!(parts(&wanted), expected);
    let (wanted, _) = made
        .wanted_within(&mut all(stored.len()), Reach::Bridged { gap_max: gap_max - 1 })
        .unwrap();
    assert_eq!(wanted.iter().filter(|it| matches!(it.lies, Lies::Apart { .. })).count(), 4);
}

#[test]
fn where_only_whole_packs_are_given_each_is_read_on_from_its_beginning() {
    let count = 2 * SORTED_MAX + 5;
    let frame_of = |number: usize| u32::try_from(2 + number / usize::from(FRAME_BLOCKS)).unwrap();
    let block_of = |number: usize| u16::try_from(number % usize::from(FRAME_BLOCKS)).unwrap();
    let mut stored: Vec<_> = (0..count).map(|it| (0, frame_of(it), block_of(it))).collect();
    stored.push((1, 3, 0));
    let frames = usize::try_from(frame_of(count)).unwrap() + 1;
    let made = Made::new(&[0, 1], frames, &stored);
    let (wanted, _) = made.wanted_within(&mut all(stored.len()), Reach::Whole).unwrap();
    let at = |frame| (0..frame).map(|number| u64::from(stored_len(number))).sum::<u64>();
    let begins: Vec<_> = wanted.iter().filter(|it| matches!(it.lies, Lies::Apart { .. })).collect();
    assert_eq!(begins.len(), 2, "once for each pack, however often the table is filled");
    assert_eq!((begins[0].lies, begins[0].part.start), (Lies::Apart { gap: at(2) }, 0));
    assert_eq!((begins[1].lies, begins[1].part.start), (Lies::Apart { gap: at(3) }, 0));
    let ends: Vec<_> = wanted.windows(2).filter(|it| it[0].part != it[1].part).collect();
    assert!(
        ends.iter()
            .any(|it| it[1].lies == Lies::Behind { gap: 0 } && it[1].part.start == it[0].part.end),
        "the next table goes on where the last one ended"
    );
}
