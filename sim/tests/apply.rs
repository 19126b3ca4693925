//! An install in one call, in four blocks of memory: whole, cut off at every operation, and from a
//! source that lies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod fixture;
mod packed;

use gybe_core::apply::{Apply, Decoder, NoDecoder, Source, Tally, workspace_blocks};
use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::boot::{BootEnv, BootState};
use gybe_core::install::Inactive;
use gybe_core::slot::Slot;
use gybe_sim::{FakeDisk, FakeEnv, FakeFile, Power, Random};
use packed::{DECODED_BLOCKS, Lent, PARTITIONS, Packed, STORED_BLOCKS, ZERO_BLOCKS, Zstd};

/// The inactive slot and the environment of a device that runs from A.
struct Device {
    power: Power,
    disks: [FakeDisk; 2],
    file: FakeFile,
    workspace: usize,
}

impl Device {
    fn new(packed: &Packed) -> Self {
        let power = Power::new();
        let disks = PARTITIONS.map(|count| FakeDisk::new(&power, count));
        let file = FakeFile::new(&power, vec![]);
        Self { disks, file, power, workspace: workspace_blocks(packed.release.config()) }
    }

    fn apply<S: Source, D: Decoder>(
        &mut self,
        packed: &Packed,
        source: &mut S,
        decoder: &mut D,
    ) -> Result<Tally, String> {
        let mut workspace: Vec<Block> = vec![[0xee; BLOCK_LEN]; self.workspace];
        let mut environment = FakeEnv::new(self.file.clone());
        let mut targets = self.disks.each_mut().map(|disk| Inactive::new(Lent(disk)));
        let (release, documents) = (&packed.release, packed.documents());
        let apply = Apply { release, documents, source, decoder, workspace: &mut workspace };
        let applied = apply.run(Slot::B, Some(Slot::A), &mut targets, &mut environment);
        let (proven, tally) = applied.map_err(|error| error.to_string())?;
        let armed = proven.arm(3, Some(Slot::A), &mut environment);
        armed.map_err(|error| error.to_string())?;
        Ok(tally)
    }

    fn state(&self) -> BootState {
        let loaded = FakeEnv::new(self.file.clone()).load().unwrap();
        loaded.state.unwrap_or_else(|| BootState::factory(Some(Slot::A)))
    }

    #[track_caller]
    fn holds(&self, packed: &Packed) {
        for (disk, blocks) in self.disks.iter().zip(&packed.targets) {
            assert!(disk.blocks().starts_with(blocks));
        }
    }

    /// Whether every block of every target is the right one or zero.
    fn holds_nothing_wrong(&self, packed: &Packed) -> bool {
        self.disks.iter().zip(&packed.targets).all(|(disk, target)| {
            let mut blocks = disk.blocks().iter().zip(target);
            blocks.all(|(found, right)| found == right || *found == [0; BLOCK_LEN])
        })
    }
}

#[test]
fn a_release_is_installed_in_four_blocks_of_memory() {
    let packed = Packed::new(1);
    let mut device = Device::new(&packed);
    assert_eq!(
        device.workspace, 4,
        "two for a chunk's leaf hashes, one for a page, one for a block"
    );
    let mut decoder = Zstd::default();
    let tally = device.apply(&packed, &mut packed.source(), &mut decoder).unwrap();
    device.holds(&packed);
    let zstd = packed.pack.len() as u64 - STORED_BLOCKS * 4096;
    // Chunks of one block are read once, all others from stored frames twice.
    let twice = STORED_BLOCKS - 2;
    let expected = Tally {
        fetched_bytes: packed.recipe.len() as u64 + zstd + (STORED_BLOCKS + twice) * 4096,
        skipped_blocks: 0,
        zero_blocks: ZERO_BLOCKS,
        stored_blocks: STORED_BLOCKS,
        decoded_blocks: DECODED_BLOCKS,
    };
    assert_eq!(tally, expected);
    assert_eq!(decoder.count, 2, "a frame with two chunks is decoded once");
    assert_eq!(device.state().trial.unwrap().slot, Slot::B);
}

#[test]
fn an_install_cut_off_anywhere_goes_on_and_fetches_what_is_missing() {
    let packed = Packed::new(2);
    let whole = {
        let mut device = Device::new(&packed);
        let tally = device.apply(&packed, &mut packed.source(), &mut Zstd::default()).unwrap();
        (device.power.op_count(), tally)
    };
    let mut fewest = u64::MAX;
    for cut in 0..whole.0 {
        let mut device = Device::new(&packed);
        device.power.cut_at(cut);
        let error = device.apply(&packed, &mut packed.source(), &mut Zstd::default()).unwrap_err();
        assert!(error.contains("power was cut"), "cut {cut}: {error}");
        device.power.on();
        let mut random = Random::new(cut);
        device.disks.iter_mut().for_each(|disk| disk.power_on(&mut random));
        let state = device.state();
        assert!(state.good.a, "cut {cut}");
        assert!(device.holds_nothing_wrong(&packed) || state.trial.is_none(), "cut {cut}");
        let tally = device.apply(&packed, &mut packed.source(), &mut Zstd::default()).unwrap();
        device.holds(&packed);
        assert!(tally.fetched_bytes <= whole.1.fetched_bytes, "cut {cut}: {tally:?}");
        let blocks = tally.skipped_blocks + tally.stored_blocks + tally.decoded_blocks;
        assert_eq!(blocks, STORED_BLOCKS + DECODED_BLOCKS, "cut {cut}");
        fewest = fewest.min(tally.fetched_bytes);
    }
    // At the end all that is missing are the two first blocks.
    assert_eq!(fewest, 2 * 4096);
}

#[test]
fn a_source_that_ends_is_gone_on_with_where_it_ended() {
    let packed = Packed::new(3);
    let mut device = Device::new(&packed);
    let mut source = packed.source();
    // Behind the recipe, the first block and the chunk of 200 blocks, read twice.
    source.ends_at = 1 + 1 + 400;
    let error = device.apply(&packed, &mut source, &mut Zstd::default()).unwrap_err();
    assert!(error.ends_with("the source ended"), "{error}");
    assert_eq!(device.state().trial, None);
    let tally = device.apply(&packed, &mut packed.source(), &mut Zstd::default()).unwrap();
    assert_eq!(tally.skipped_blocks, 200);
    assert_eq!(tally.stored_blocks, STORED_BLOCKS - 200);
    device.holds(&packed);
}

#[test]
fn whatever_a_source_changes_nothing_wrong_is_written() {
    let packed = Packed::new(4);
    let mut counting = packed.source();
    let mut calm = Device::new(&packed);
    calm.apply(&packed, &mut counting, &mut Zstd::default()).unwrap();
    let mut said = std::collections::BTreeSet::new();
    for read in 0..counting.reads {
        let mut device = Device::new(&packed);
        let mut source = packed.source();
        source.flip_in = read;
        let error = device.apply(&packed, &mut source, &mut Zstd::default()).unwrap_err();
        assert!(device.holds_nothing_wrong(&packed), "read {read}: {error}");
        assert_eq!(device.state().trial, None, "read {read}: {error}");
        said.insert(error.split_whitespace().last().unwrap().to_owned());
    }
    // A page or table, a frame, a chunk known too late, a block that changed, a chunk of one block.
    let expected = ["match", "time", "1", "0"];
    assert!(expected.iter().all(|word| said.contains(*word)), "{said:?}");
}

#[test]
fn what_a_device_has_no_memory_for_is_refused_by_both_numbers() {
    let packed = Packed::new(5);
    let mut device = Device::new(&packed);
    device.workspace = 3;
    let error = device.apply(&packed, &mut packed.source(), &mut Zstd::default()).unwrap_err();
    assert_eq!(error, "workspace has 3 blocks, 4 are needed");
    assert_eq!(device.power.op_count(), 0, "something was written");
    device.workspace = 4;
    let error = device.apply(&packed, &mut packed.source(), &mut NoDecoder).unwrap_err();
    assert!(error.ends_with("stored bytes, more than the decoder takes"), "{error}");
    assert_eq!(device.state().trial, None);
}
