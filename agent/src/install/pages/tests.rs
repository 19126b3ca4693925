//! Recipes that are brought into slots which hold others, overwriting what they are read from.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use gybe_core::chunk::{Anchor, TargetIndex};
use gybe_core::config::Config;
use gybe_core::recipe::{
    Chunk, FrameIndex, PackId, Part, RECORD_LEN_MAX, Record, Stored, encode_header,
};
use gybe_core::version::Version;
use gybe_oci::{Layout, LayoutReference, LayoutWriter, Source};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::device::partition::RunningPartition;
use crate::install::recipe;

const PARTITION_BLOCKS: u64 = 1200;

/// A recipe with a page for each of `pages`: what number it has, and of how many records it is.
struct Made {
    config: Vec<u8>,
    table: Vec<u8>,
    recipe: Vec<u8>,
    lens: Vec<u64>,
}

impl Made {
    fn new(pages: &[(u32, u8)]) -> Self {
        let (mut entries, mut bytes, mut first, mut lens) = (Vec::new(), Vec::new(), 0, Vec::new());
        for &(number, records) in pages {
            let page: Vec<u8> = (0..records).flat_map(|record| chunk(number, record)).collect();
            let len = u16::try_from(page.len()).unwrap();
            let (part, count) = (Part::Target(TargetIndex(0)), u64::from(records));
            entries.push(Entry { digest: Digest::of(&page), part, len, first, count, base: 0 });
            first += count;
            lens.push(u64::from(len));
            bytes.extend(page);
        }
        let mut table = encode_header(u32::try_from(entries.len()).unwrap()).to_vec();
        table.extend(entries.iter().flat_map(Entry::encode));
        let mut made =
            Self { config: Vec::new(), recipe: [&table[..], &bytes].concat(), table, lens };
        made.config = made.configure(first);
        made
    }

    fn configure(&self, blocks: u64) -> Vec<u8> {
        let hash = Digest::of(b"").hex().to_string();
        json!({
            "format": 1, "agentMin": "0.1.0", "loaderMin": 1, "architecture": "amd64",
            "hash": "sha256", "blockSize": 4096, "pageSize": 4096, "chunkSizeMax": 1 << 20,
            "frameSizeMax": 1 << 20, "windowSizeMax": 1 << 20, "packs": [],
            "targets": [{ "name": "root", "size": blocks * 4096, "rootHash": hash, "tree": true }],
            "recipe": {
                "tableSize": self.table.len(), "tableDigest": Digest::of(&self.table).to_string(),
            },
        })
        .to_string()
        .into_bytes()
    }

    /// Its trailer, with this much in front of the recipe.
    fn trailer(&self, signatures: &[u8]) -> Trailer {
        let of = |bytes: &[u8]| (bytes.len() as u64, Digest::of(bytes));
        let parts = [of(b"manifest"), of(&self.config), of(signatures), of(&self.recipe)];
        Trailer::plan(Digest::of(&self.config), parts, 0, PARTITION_BLOCKS).unwrap()
    }

    /// Everything of it that lies in a slot.
    fn hold(&self, slot: &Slots, name: &str, signatures: &[u8]) {
        let trailer = self.trailer(signatures);
        slot.begin(name, self, &trailer, signatures);
        slot.put(name, trailer.part(PartName::Recipe).start.0 * 4096, &self.recipe);
    }

    fn table_len(&self) -> u64 {
        self.table.len() as u64
    }
}

fn chunk(number: u32, record: u8) -> Vec<u8> {
    let digest = Digest::of(&[&number.to_le_bytes()[..], &[record]].concat());
    let stored = Stored { pack: PackId(0), frame: FrameIndex(0), block: 0 };
    let chunk = Chunk { count: 1, digest, anchor: Anchor::of(&digest), stored };
    let mut room = [0; RECORD_LEN_MAX];
    let len = Record::Chunk(chunk).encode(&mut room).unwrap();
    room[..len].to_vec()
}

/// Files that stand for the root partitions of two slots, and a source.
struct Slots {
    folder: tempfile::TempDir,
}

/// What bringing a recipe came to.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    bytes: u64,
    requests: u64,
}

impl Slots {
    fn new() -> Self {
        let slots = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["running", "inactive"] {
            File::create(slots.path(name)).unwrap().set_len(PARTITION_BLOCKS * 4096).unwrap();
        }
        slots
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// The footer and the small parts, as they are written before the recipe.
    fn begin(&self, name: &str, made: &Made, trailer: &Trailer, signatures: &[u8]) {
        let at = |part| trailer.part(part).start.0 * 4096;
        self.put(name, at(PartName::Manifest), b"manifest");
        self.put(name, at(PartName::Config), &made.config);
        self.put(name, at(PartName::Signatures), signatures);
        self.put(name, (PARTITION_BLOCKS - 1) * 4096, &trailer.encode());
    }

    fn held(&self, name: &str) -> Option<HeldRecipe> {
        let path = self.path(name);
        let mut medium = RunningPartition::open(&path).unwrap();
        let trailer = Trailer::read(&mut medium).ok()?;
        HeldRecipe::read(&path, &mut medium, &trailer)
    }

    /// Brings the recipe `new` to the inactive slot, or only looks what that would cost. Of what
    /// is written, only the first `room` bytes stay: then power is cut.
    fn bring(&self, new: &Made, writes: Writes) -> Result<Cost, InstallError> {
        let running = self.held("running");
        let inactive = self.held("inactive");
        let held = HeldRecipes { running: running.as_ref(), inactive: inactive.as_ref() };
        let config = Config::parse(&new.config, Version::ours()).unwrap();
        let mut source = source(self.folder.path(), &new.recipe);
        let mut tally = Tally::default();
        let bytes = read_table(&config.recipe, &mut source, held, &mut tally)?;
        let table = recipe::table(&config, &bytes, source.len())?;
        let mut pages = Pages::new(table, source, held)?;
        let trailer = new.trailer(b"new");
        if writes != Writes::Nothing {
            self.begin("inactive", new, &trailer, b"new");
        }
        let start = trailer.part(PartName::Recipe).start.0 * 4096;
        pages.bring(&bytes, &trailer, &mut tally, |offset, blocks| {
            let at = offset * 4096;
            let room = match writes {
                Writes::Nothing => 0,
                Writes::Everything => u64::MAX,
                Writes::Until(end) => end.saturating_sub(at),
            };
            let blocks = blocks.as_flattened();
            let len = usize::try_from(room).unwrap().min(blocks.len());
            self.put("inactive", start + at, &blocks[..len]);
            if len < blocks.len() && writes != Writes::Nothing {
                return Err(InstallError::ThreadEnded);
            }
            Ok(())
        })?;
        let cost = Cost { bytes: tally.fetched_bytes, requests: tally.requests };
        if writes == Writes::Everything {
            let held = self.held("inactive").expect("what was brought is a recipe");
            let mut found = vec![0; new.recipe.len()];
            held.part().unwrap().read_at(0, &mut found).unwrap();
            assert!(found == new.recipe, "the slot holds another recipe");
        }
        Ok(cost)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Nothing,
    Everything,
    Until(u64),
}

fn source(folder: &Path, recipe: &[u8]) -> Fetched {
    let writer = LayoutWriter::open(&folder.join("layout")).unwrap();
    let (digest, len) = writer.write_blob(recipe).unwrap();
    let reference: LayoutReference =
        format!("oci:{}", folder.join("layout").display()).parse().unwrap();
    let source = Source::Layout(Layout::open(&reference).unwrap());
    Fetched::new(source.blob_of_len(&digest, len).unwrap(), &source)
}

/// Full pages with these numbers.
fn full(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u8)> {
    numbers.into_iter().map(|number| (number, 89)).collect()
}

fn sum(made: &Made, pages: &[usize]) -> u64 {
    made.table_len() + pages.iter().map(|&page| made.lens[page]).sum::<u64>()
}

#[test]
fn without_a_recipe_in_a_slot_everything_is_fetched_in_two_requests() {
    let new = Made::new(&full(0..200));
    let cost = Slots::new().bring(&new, Writes::Everything).unwrap();
    assert_eq!(cost, Cost { bytes: new.recipe.len() as u64, requests: 2 });
}

#[test]
fn only_pages_that_changed_are_fetched_and_neighbours_together() {
    let slots = Slots::new();
    Made::new(&full(0..200)).hold(&slots, "running", b"");
    let mut pages = full(0..200);
    for (page, number) in [(3, 1003), (100, 1100), (101, 1101), (199, 1199)] {
        pages[page].0 = number;
    }
    let new = Made::new(&pages);
    let expected = Cost { bytes: sum(&new, &[3, 100, 101, 199]), requests: 1 + 3 };
    assert_eq!(slots.bring(&new, Writes::Nothing).unwrap(), expected);
    assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), expected);
}

#[test]
fn a_run_of_missing_pages_that_is_longer_than_a_batch_is_one_request() {
    let slots = Slots::new();
    Made::new(&full((0..10).chain(190..200))).hold(&slots, "running", b"");
    let new = Made::new(&full(0..200));
    let pages: Vec<usize> = (10..190).collect();
    let expected = Cost { bytes: sum(&new, &pages), requests: 2 };
    assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), expected);
}

#[test]
fn a_damaged_page_in_a_slot_is_fetched() {
    let slots = Slots::new();
    let old = Made::new(&full(0..200));
    old.hold(&slots, "running", b"");
    let start = old.trailer(b"").part(PartName::Recipe).start.0 * 4096;
    slots.put("running", start + old.table_len() + 50 * old.lens[0] + 7, b"\xff\x00\xff");
    let mut pages = full(0..200);
    pages[60].0 = 1060;
    let new = Made::new(&pages);
    let expected = Cost { bytes: sum(&new, &[50, 60]), requests: 3 };
    assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), expected);
    // The inactive slot has it now: even the table need not be fetched.
    assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), Cost { bytes: 0, requests: 0 });
}

#[test]
fn a_recipe_of_a_version_that_we_do_not_know_is_passed_over() {
    let slots = Slots::new();
    let mut old = Made::new(&full(0..20));
    old.table[8] = 2;
    old.recipe[8] = 2;
    old.config = old.configure(20 * 89);
    old.hold(&slots, "running", b"");
    assert!(slots.held("running").is_none());
    let new = Made::new(&full(0..20));
    let expected = Cost { bytes: new.recipe.len() as u64, requests: 2 };
    assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), expected);
}

#[test]
fn a_page_of_the_inactive_slot_counts_until_it_is_overwritten() {
    // A hundred pages longer: all moves to the front, and nothing is lost. A hundred pages
    // shorter: all moves back, farther than a batch is long.
    let long = Made::new(&full((1000..1100).chain(0..200)));
    let short = Made::new(&full(0..200));
    let slots = Slots::new();
    short.hold(&slots, "inactive", b"");
    let fresh: Vec<usize> = (0..100).collect();
    let expected = Cost { bytes: sum(&long, &fresh), requests: 2 };
    assert_eq!(slots.bring(&long, Writes::Everything).unwrap(), expected);

    let longer = Made::new(&full((0..200).chain(2000..2100)));
    let slots = Slots::new();
    longer.hold(&slots, "inactive", b"");
    let cost = slots.bring(&short, Writes::Nothing).unwrap();
    // What lies in front of the new recipe is never overwritten, the rest sooner than read.
    assert!(cost.bytes > sum(&short, &[]) && cost.bytes < short.recipe.len() as u64, "{cost:?}");
    assert_eq!(slots.bring(&short, Writes::Everything).unwrap(), cost);
}

#[test]
fn a_recipe_that_was_cut_off_is_brought_to_its_end() {
    let old = full(0..200);
    let mut pages = full(5000..5010);
    pages.extend(full(5..200));
    let new = Made::new(&pages);
    let mut fetched = Vec::new();
    for end in [0, 1, 4096, 100_000, new.table_len() + 20, 300_001, 700_000] {
        let slots = Slots::new();
        Made::new(&old).hold(&slots, "inactive", b"a signature");
        assert!(slots.bring(&new, Writes::Until(end)).is_err(), "cut at {end}");
        let plan = slots.bring(&new, Writes::Nothing).unwrap();
        assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), plan, "cut at {end}");
        fetched.push(plan.bytes);
    }
    // Without its table nothing of it is found; what was written after that counts.
    assert_eq!(fetched[..3], [new.recipe.len() as u64; 3]);
    assert!(fetched[3] > fetched[5] && fetched[5] > fetched[6], "{fetched:?}");
    assert!(fetched[6] < 200_000, "{fetched:?}");
}

#[test]
fn a_recipe_that_is_not_the_signed_one_is_refused_at_its_end() {
    let slots = Slots::new();
    let made = Made::new(&full(0..3));
    let config = Config::parse(&made.config, Version::ours()).unwrap();
    let mut other = made.recipe.clone();
    *other.last_mut().unwrap() ^= 1;
    let source = source(slots.folder.path(), &other);
    let held = HeldRecipes { running: None, inactive: None };
    let table = recipe::table(&config, &made.table, source.len()).unwrap();
    let mut pages = Pages::new(table, source, held).unwrap();
    let mut tally = Tally::default();
    let trailer = made.trailer(b"");
    let ended = pages.bring(&made.table, &trailer, &mut tally, |_, _| Ok(()));
    assert!(matches!(ended, Err(InstallError::RecipeDigest)), "{ended:?}");
}

type Numbers = Vec<(u32, u8)>;

/// A recipe made from another by dropping, changing, moving and adding pages.
fn any_pair() -> impl Strategy<Value = (Numbers, Numbers)> {
    let old = prop::collection::vec((0..400_u32, 1..=89_u8), 1..250);
    (old, prop::collection::vec((0..5_u8, 0..400_u32, 1..=89_u8), 1..40)).prop_map(
        |(old, edits)| {
            let mut new = old.clone();
            for (kind, number, records) in edits {
                let at = usize::try_from(number).unwrap() % new.len().max(1);
                match kind {
                    0 if new.len() > 1 => drop(new.remove(at)),
                    1 => new.insert(at, (number + 1000, records)),
                    2 => new[at] = (number + 1000, records),
                    3 => new.rotate_left(at),
                    _ => new.extend_from_within(at..new.len().min(at + 9)),
                }
            }
            (old, new)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_recipe_is_brought_over_any_other_and_costs_what_was_planned(
        (old, new) in any_pair(),
        signatures in 0..9000_usize,
        cut in 0..900_000_u64,
    ) {
        let (old, new) = (Made::new(&old), Made::new(&new));
        let slots = Slots::new();
        old.hold(&slots, "inactive", &vec![7; signatures]);
        let plan = slots.bring(&new, Writes::Nothing).unwrap();
        prop_assert!(plan.bytes <= new.recipe.len() as u64);
        let first = slots.bring(&new, Writes::Until(cut));
        if let Ok(cost) = first {
            prop_assert_eq!(&cost, &plan);
        }
        let plan = slots.bring(&new, Writes::Nothing).unwrap();
        prop_assert_eq!(slots.bring(&new, Writes::Everything).unwrap(), plan);
    }
}
